"""What a command says where it meets archived objects that it does not thaw."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from rehydrate.cli.sizes import counted, size
from rehydrate.cli.thaw_desk import time_of
from rehydrate.errors import (
    CorruptMetadataError,
    LimitError,
    RequestError,
    StoreError,
    StoreReadError,
)
from rehydrate.media.prices import PriceTable
from rehydrate.media.tiers import ThawOptions
from rehydrate.stores.layout import DATA_FOLDER, STREAM_FOLDER
from rehydrate.stores.objects.archives import archive_of, can_thaw
from rehydrate.stores.objects.client import Access
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from rehydrate.values import StorePath

__all__ = ["explained"]

_ARCHIVED: Final = "object.archived"
_WHAT: Final = {STREAM_FOLDER: "entries and maps", DATA_FOLDER: "data"}
_MOST: Final = 10_000
"""No more objects are asked about for a message."""


@contextmanager
def explained(
    store: ObjectStore, access: Access, *, speed: str, table: PriceTable, options: ThawOptions
) -> Iterator[None]:
    """Let an error about an archived object say what is archived and what can be done.

    Args:
        store: The store.
        access: How it is reached.
        speed: Way of a thaw that is priced.
        table: Prices.
        options: Days of a thaw.

    Raises:
        StoreReadError: With the code that it had.
    """
    try:
        yield
    except StoreReadError as error:
        if not error.code.startswith(_ARCHIVED):
            raise
        folder = (error.container or "").partition("/")[0]
        message = (
            f"{error.container} is archived, and nothing of the store can be told without it: have"
            " the service make it readable, and run the same `rehydrate` command again"
        )
        if folder in _WHAT:
            found = ""
            with suppress(StoreError, RequestError, LimitError, CorruptMetadataError):
                found = _priced(store, access, folder, speed, (table, options))
            message = (
                f"{error.container} is archived, and only restores thaw{found}:"
                f" `rehydrate restore --thaw {speed}` thaws what it needs"
            )
        raise StoreReadError(
            message, code=error.code, container=error.container, retryable=False
        ) from error


def _priced(
    store: ObjectStore,
    access: Access,
    folder: str,
    speed: str,
    terms: tuple[PriceTable, ThawOptions],
) -> str:
    """Return how many of a folder are archived, and what thawing all of them takes."""
    names = store.list_containers(StorePath(folder))
    if len(names) > _MOST or not can_thaw(store.url):
        return ""
    table, options = terms
    paths = [StorePath(f"{folder}/{name}") for name in names]
    thawing = ThawingStore(store, archive_of(store.url, access))
    quote = thawing.quote(paths, speed=speed, table=table, options=options)
    told = (
        f" ({quote.frozen + quote.thawing:,} of {counted(len(names), 'container')} with"
        f" {_WHAT[folder]} are"
    )
    if quote.thawing:
        told += f", {quote.thawing:,} of these being thawed already"
    return (
        f"{told}; thawing all {size(quote.frozen_bytes)}, {speed}, costs {table.money(quote.total)}"
        f" and takes {time_of(quote)})"
    )
