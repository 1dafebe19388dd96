"""What the catalogue needs of a store: reading, listing, sizes."""

from collections.abc import Sequence
from typing import Protocol

from rehydrate.errors import ContainerNotFoundError, CorruptMetadataError, StoreReadError
from rehydrate.values import ReadableBuffer, StorePath

__all__ = ["StoreReader", "read_exactly", "read_whole"]


class StoreReader(Protocol):
    """A store that can be looked into; :class:`~rehydrate.stores.directory.DirectoryStore` can."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """As in :class:`~rehydrate.protocols.BackupStore`."""
        ...

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """As in :class:`~rehydrate.protocols.ListsContainers`."""
        ...

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a file in bytes; ``FileNotFoundError`` if there is none."""
        ...


def read_exactly(store: StoreReader, path: StorePath, offset: int, size: int) -> bytes:
    """Read bytes of a file.

    Args:
        store: The store.
        path: The file.
        offset: First byte.
        size: Number of bytes.

    Raises:
        ContainerNotFoundError: There is no such file.
        StoreReadError: It cannot be read.
        CorruptMetadataError: It ends too early.
    """
    try:
        data = bytes(memoryview(store.read_backup_file(path, offset, size)))
    except FileNotFoundError as error:
        raise ContainerNotFoundError(f"{path} is not in the store", container=path) from error
    except OSError as error:
        raise StoreReadError(f"cannot read {path}: {error.strerror}", container=path) from error
    if len(data) < size:
        raise CorruptMetadataError(
            f"{path} ends too early", code="container.truncated", container=path, offset=offset
        )
    return data


def read_whole(store: StoreReader, path: StorePath, limit: int) -> bytes:
    """Read a whole file.

    Args:
        store: The store.
        path: The file.
        limit: Most bytes to accept.

    Raises:
        ContainerNotFoundError: There is no such file.
        StoreReadError: It cannot be read.
        CorruptMetadataError: It is larger than the limit.
    """
    try:
        size = store.size_of(path)
    except FileNotFoundError as error:
        raise ContainerNotFoundError(f"{path} is not in the store", container=path) from error
    except OSError as error:
        raise StoreReadError(f"cannot read {path}: {error.strerror}", container=path) from error
    if size > limit:
        raise CorruptMetadataError(f"{path} is larger than {limit} bytes", container=path)
    return read_exactly(store, path, 0, size) if size else b""
