"""Reading what a stub itself holds, as its source gives it."""

from typing import Final

from rehydrate.engine.calls import attempt, view_of
from rehydrate.errors import Cancelled, StoreContractError, StoreReadError
from rehydrate.requests import OwnExtent

__all__ = ["OWN_PIECE", "read_own_data"]

OWN_PIECE: Final = 1 << 20
"""Most bytes that are asked for at once."""


def read_own_data(own: OwnExtent, offset: int, size: int) -> memoryview:
    """Return bytes of a range that the stub itself holds.

    Args:
        own: The range.
        offset: First byte, in the file.
        size: Number of bytes.

    Raises:
        Cancelled: The caller's method cancels the job.
        StoreReadError: It failed.
        StoreContractError: It gave something else than so many bytes.
    """
    data = attempt(own.read, offset, size)
    if isinstance(data, Cancelled):
        raise data
    if isinstance(data, Exception):
        raise StoreReadError(f"the stub's own data cannot be read: {data}") from data
    view = attempt(view_of, data)
    if isinstance(view, Exception) or len(view) != size:
        raise StoreContractError(f"own data must be {size} contiguous bytes at {offset}")
    return view
