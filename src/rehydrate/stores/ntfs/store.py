"""A chunk store on an NTFS volume, as the engine reads it."""

from rehydrate.errors import ContainerNotFoundError, FormatError, StoreError, StoreReadError
from rehydrate.stores.ntfs.contents import Content, OpenContents
from rehydrate.stores.ntfs.folders import SYSTEM_FOLDER, SystemFolder
from rehydrate.stores.ntfs.layout import ATTRIBUTE_DATA
from rehydrate.stores.ntfs.names import Fold
from rehydrate.stores.ntfs.records import Records
from rehydrate.values import FileExtent, StoreId, StorePath, store_folder

__all__ = ["NtfsStore"]


class NtfsStore:
    """Reads the containers of one chunk store.

    Implements :class:`~rehydrate.protocols.BackupStore` with ``list_containers``, the identity and
    read hints. Store paths are found without regard to case; paths outside the folder of the store
    are not found. All methods may be called from several threads.
    """

    max_gap = 64 << 10
    """Unneeded bytes that are cheaper to read than to skip."""
    max_read = 4 << 20
    """Largest sensible read in bytes."""

    def __init__(
        self, identity: StoreId, records: Records, system: SystemFolder, fold: Fold
    ) -> None:
        """Open nothing yet.

        Args:
            identity: Identity of the store.
            records: The file system.
            system: Finds what is in its system folder.
            fold: How names are compared.
        """
        self._identity = identity
        self._records = records
        self._system = system
        self._fold = fold
        self._folder = [fold(part) for part in store_folder(identity).split("/")]
        self._open = OpenContents()

    @property
    def store_id(self) -> StoreId:
        """Identity of the store: the GUID in the name of its folder."""
        return self._identity

    def exists(self) -> bool:
        """Return whether the volume has the folder of the store.

        Raises:
            StoreError: The image cannot be read.
            FormatError: The system folder is damaged.
        """
        record = self._system.find(store_folder(self._identity).split("/")[1:])
        return record is not None and record.directory

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes; fewer only where the container ends.

        Args:
            path: Store path of the container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such container.
            StoreReadError: It cannot be read.
        """
        try:
            content = self._content(path)
            length = min(size, content.size - offset)
            if content.attribute is None or length <= 0 or offset < 0:
                return b""
            place = FileExtent(offset, length)
            return self._records.read(content.record, content.attribute, place, path)
        except ContainerNotFoundError:
            raise
        except (StoreError, FormatError) as error:
            raise StoreReadError(
                error.message, container=path, offset=offset, length=size, hresult=error.hresult
            ) from error

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names in a folder, sorted; empty if there is no such folder.

        Args:
            folder: Store path of the folder.

        Raises:
            StoreError: The image cannot be read.
            FormatError: The folder is damaged.
        """
        parts = self._inside(folder)
        if parts is None:
            return []
        return sorted(name.name for name in self._system.folder(parts).values())

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a container in bytes.

        Args:
            path: Store path of the container.

        Raises:
            FileNotFoundError: There is no such container.
            StoreError: The image cannot be read.
            FormatError: It is damaged.
        """
        return self._content(path).size

    def _inside(self, path: str) -> list[str] | None:
        """Return the path from the system folder on; ``None`` = it is not of this store."""
        parts = path.rstrip("/").split("/")
        folded = [self._fold(part) for part in parts[: len(self._folder)]]
        return parts[1:] if folded == self._folder else None

    def _content(self, path: StorePath) -> Content:
        return self._open.get(path, lambda: self._opened(path))

    def _opened(self, path: StorePath) -> Content:
        parts = self._inside(path)
        record = None if parts is None else self._system.find(parts)
        if record is None or record.directory:
            raise ContainerNotFoundError(
                f"the volume has no container {path} below {SYSTEM_FOLDER}", container=path
            )
        return Content.of(self._records, record, record.find(ATTRIBUTE_DATA), path)
