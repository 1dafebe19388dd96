"""The least vendor store there is: containers in a dict, nothing optional but a listing."""

from collections.abc import Mapping

from rehydrate.values import ReadableBuffer, StorePath

__all__ = ["MemoryStore"]


class MemoryStore:
    """Serves containers out of a mapping, which may change while the store is in use.

    Attributes:
        containers: Bytes of each container by store path.
    """

    def __init__(self, containers: Mapping[StorePath, ReadableBuffer]) -> None:
        """Serve ``containers``; the mapping is not copied."""
        self.containers = containers

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes; fewer only where the container ends.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such container.
        """
        try:
            data = self.containers[path]
        except KeyError:
            raise FileNotFoundError(path) from None
        return bytes(memoryview(data)[offset : offset + size])

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names in a folder.

        Args:
            folder: Store path of the folder.
        """
        start = folder + "/"
        return sorted(path[len(start) :] for path in self.containers if path.startswith(start))
