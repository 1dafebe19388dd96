"""What every wrapper around any store has in common: it declares and hands on what the store has.

A wrapper is a store itself, so that wrappers can be put around each other. What the store inside
does not have is answered as if the wrapper did not have it: no order, no preview, no names.
``concurrent_reads`` and ``read_backup_file_into`` are not handed on here, for a wrapper that is not
made for them must not promise them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar, cast

from rehydrate.protocols import DEFAULT_GAP, DEFAULT_READ, DEFAULT_TIMEOUT, BackupStore
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StoreId, StorePath

__all__ = ["Wrapper"]

T = TypeVar("T")


class Wrapper:
    """Hands everything on to the store inside; what is to be different is overridden.

    Implements :class:`~rehydrate.protocols.BackupStore` with order, preview and list. The store
    inside is not closed by the wrapper.
    """

    def __init__(self, store: BackupStore) -> None:
        """Wrap ``store``."""
        self._store = store

    def __enter__(self) -> Self:
        """Return the wrapper itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the wrapper."""
        self.close()

    def close(self) -> None:
        """End the wrapper; the store can go on being used."""

    @property
    def max_gap(self) -> int:
        """What the store declares, or what the engine assumes."""
        return cast("int", getattr(self._store, "max_gap", DEFAULT_GAP))

    @property
    def max_read(self) -> int:
        """What the store declares, or what the engine assumes."""
        return cast("int", getattr(self._store, "max_read", DEFAULT_READ))

    @property
    def read_timeout(self) -> float | None:
        """What the store declares, or the usual limit."""
        return cast("float | None", getattr(self._store, "read_timeout", DEFAULT_TIMEOUT))

    @property
    def store_id(self) -> StoreId | None:
        """What the store declares, if it does."""
        return cast("StoreId | None", getattr(self._store, "store_id", None))

    @property
    def for_plans(self) -> BackupStore | None:
        """What the store wants plans to call; it is not wrapped, for a plan must cost nothing."""
        return cast("BackupStore | None", getattr(self._store, "for_plans", None))

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read as the store does.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            Exception: Whatever the store raises.
        """
        return self._called(lambda: self._store.read_backup_file(path, offset, size))

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Hand the preview on, if the store takes previews.

        Args:
            path: The container.
            reads: Its reads.

        Raises:
            Exception: Whatever the store raises.
        """
        preview = getattr(self._store, "preview_container_read", None)
        if callable(preview):
            self._called(partial(preview, path, reads))

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent] | None:
        """Return the order of the store; ``None`` if it orders nothing.

        Args:
            containers: The distinct containers of the round.

        Raises:
            Exception: Whatever the store raises.
        """
        order = getattr(self._store, "order_containers_restore", None)
        if not callable(order):
            return None
        return cast("Sequence[ContainerExtent] | None", self._called(partial(order, containers)))

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """List a folder of the store; empty if it cannot list.

        Args:
            folder: Store path of the folder.

        Raises:
            Exception: Whatever the store raises.
        """
        names = getattr(self._store, "list_containers", None)
        if not callable(names):
            return ()
        return cast("Sequence[str]", self._called(partial(names, folder)))

    def _called(self, call: Callable[[], T]) -> T:
        """Make a call of the store; a wrapper that minds from where overrides this."""
        return call()
