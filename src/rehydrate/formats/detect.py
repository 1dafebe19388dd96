"""Which format a stub belongs to: the one list of all formats."""

import uuid
from typing import Final, NamedTuple

from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.walk import StoreFormat
from rehydrate.formats.windows.format import WINDOWS
from rehydrate.values import StoreId

__all__ = ["FORMATS", "StubOwner", "format_of", "owner_of"]

FORMATS: Final[tuple[StoreFormat, ...]] = (NATIVE, WINDOWS)
"""All formats that are known, in the order in which they are asked."""


class StubOwner(NamedTuple):
    """The format and the store of a stub.

    Attributes:
        name: Name of the format.
        store: Identity of the store, 16 bytes.
    """

    name: str
    store: bytes

    @property
    def store_id(self) -> StoreId:
        """The identity as a UUID."""
        return uuid.UUID(bytes=self.store)


def owner_of(stub: bytes) -> StubOwner | None:
    """Return the format and store of a stub; None if it is no stub of any format."""
    for form in FORMATS:
        store = form.store_key(stub)
        if store is not None:
            return StubOwner(form.name, store)
    return None


def format_of(owner: StubOwner) -> StoreFormat:
    """Return the format of a stub, bound to its store.

    Raises:
        KeyError: There is no format of that name.
    """
    return {form.name: form for form in FORMATS}[owner.name].bound(owner.store)
