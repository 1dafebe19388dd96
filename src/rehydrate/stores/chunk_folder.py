"""A chunk store of Windows in plain files, and how to find one wherever a person points.

Windows matches names without regard to case and a copy may have changed the spelling of any of
them, so the spelling on disk is looked up where the exact name is not there.
"""

import os
import re
import stat
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from rehydrate.errors import ContainerNotFoundError, StoreError, StoreReadError
from rehydrate.ports import Files
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.host_tree import HostTree, inner_path
from rehydrate.stores.volume import ChunkStore, StoreFile
from rehydrate.values import STORES_FOLDER, FileExtent, StoreId, StorePath, store_folder

__all__ = ["ChunkFolder", "find_chunk_stores", "list_chunk_store", "read_settings"]

_STORE_NAME: Final = re.compile(
    r"\{([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}\.ddp", re.IGNORECASE
)
_CHAIN: Final = tuple(STORES_FOLDER.split("/"))
_PARTS: Final = {part.upper(): part for part in ("Data", "Stream", "Hotspot")}
_CONTAINERS: Final = frozenset({"DATA", "STREAM"})
_CONTAINER: Final = re.compile(r"[0-9a-f]{8}\.[0-9a-f]{8}\.ccc", re.IGNORECASE)
_DEEPEST: Final = 16
_SETTINGS: Final = tuple(part.encode() for part in (*_CHAIN[:-1], "Settings"))
_LARGEST_SETTING: Final = 1 << 20
_MOST_SETTINGS: Final = 64


class ChunkFolder:
    """Reads the containers of one chunk store out of its ``{GUID}.ddp`` folder.

    Takes store paths as :func:`~rehydrate.store_folder` spells them and finds files
    without regard to case. Implements :class:`~rehydrate.protocols.BackupStore` with all that
    :class:`~rehydrate.stores.directory.DirectoryStore` can, and declares the identity.
    """

    max_gap = DirectoryStore.max_gap
    max_read = DirectoryStore.max_read

    def __init__(
        self, path: str | os.PathLike[str], identity: StoreId, *, files: Files | None = None
    ) -> None:
        """Open the folder.

        Args:
            path: The folder of the store; its own name does not matter here.
            identity: Identity of the store.
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such folder.
            StoreReadError: It cannot be opened.
        """
        self._store = DirectoryStore(path, files=files)
        self._identity = identity
        self._prefix = f"{store_folder(identity)}/"
        self._lock = threading.Lock()
        self._spelt: dict[str, StorePath] = {}

    @property
    def store_id(self) -> StoreId:
        """Identity of the store."""
        return self._identity

    @property
    def path(self) -> Path:
        """The folder, as it was given."""
        return self._store.path

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all descriptors."""
        self.close()

    def close(self) -> None:
        """Close all descriptors."""
        self._store.close()

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes; see :meth:`DirectoryStore.read_backup_file`."""
        return self._store.read_backup_file(self._find(path), offset, size)

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Fill ``buffer``; see :meth:`DirectoryStore.read_backup_file_into`."""
        return self._store.read_backup_file_into(self._find(path), offset, buffer)

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Start read-ahead; see :meth:`DirectoryStore.preview_container_read`."""
        with suppress(OSError):
            self._store.preview_container_read(self._find(path), reads)

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names in a folder, sorted; empty if there is no such folder."""
        if f"{folder}/".upper() == self._prefix.upper():
            return self._names(StorePath("."))
        try:
            inner = self._inner(folder)
        except ContainerNotFoundError:
            return []
        return sorted({name for one in self._alike(inner) for name in self._names(one)})

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a file in bytes; see :meth:`DirectoryStore.size_of`."""
        return self._store.size_of(self._find(path))

    def _inner(self, path: StorePath) -> str:
        """Return the path below the folder of the store."""
        if path[: len(self._prefix)].upper() != self._prefix.upper():
            raise ContainerNotFoundError(
                f"{path} is no file of the chunk store {self._identity}", container=path
            )
        return path[len(self._prefix) :]

    def _find(self, path: StorePath) -> StorePath:
        """Return how a file is spelt on disk.

        Raises:
            FileNotFoundError: Nothing is like it.
        """
        inner = self._inner(path)
        with self._lock:
            known = self._spelt.get(inner)
        if known is not None:
            return known
        try:
            self._store.size_of(StorePath(inner))
        except FileNotFoundError:
            known = next(self._alike(inner), None)
            if known is None:
                raise
        else:
            known = StorePath(inner)
        with self._lock:
            self._spelt[inner] = known
        return known

    def _alike(self, inner: str) -> Iterator[StorePath]:
        """Find paths that differ by nothing but case, in order of their names."""
        found = [""]
        for part in inner.split("/"):  # the exact path was tried before
            found = [
                f"{above}/{name}" if above else name
                for above in found
                for name in self._names(StorePath(above or "."))
                if name.upper() == part.upper()
            ]
        return (StorePath(path) for path in found)

    def _names(self, folder: StorePath) -> list[str]:
        return self._store.list_containers(folder)


def find_chunk_stores(path: str | os.PathLike[str]) -> Sequence[tuple[StoreId, Path]]:
    """Find the chunk stores that a person means by a folder.

    Accepted are the root of a volume, its ``System Volume Information``, ``Dedup``, ``ChunkStore``,
    and the ``{GUID}.ddp`` folder of a store itself, in any case. Links on the way to ``path`` are
    followed, links below it are not.

    Args:
        path: The folder.

    Returns:
        Identity and folder of each store, sorted by identity; empty if there is none.

    Raises:
        ContainerNotFoundError: There is no such folder.
        StoreReadError: A folder on the way cannot be read.
        StoreError: The folder has containers and no name that says whose (``code =
            "store.unnamed"``), or two folders have one identity (``code = "store.twice"``).
    """
    given = Path(path)
    inside = _folders(given)
    for own in (given.absolute().name, given.resolve().name):
        identity = _identity(own)
        if identity is not None:
            return [(identity, given)]
    found = [given]
    for begin in range(len(_CHAIN), -1, -1):
        found = _below(given, _CHAIN[begin:])
        stores = [store for folder in found for store in _stores_in(folder)]
        if stores:
            return _distinct(stores)
    if any(_holds_containers(given / name) for name in inside if name.upper() in _CONTAINERS):
        raise StoreError(
            f"{given} has containers, but its name does not say of which store: call it "
            "{GUID}.ddp as it was on the volume, since stubs name their store by that",
            code="store.unnamed",
        )
    return []


def _holds_containers(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as found:
        return any(_CONTAINER.fullmatch(entry.name) for entry in found)
    return False


def _distinct(stores: list[tuple[StoreId, Path]]) -> list[tuple[StoreId, Path]]:
    known: dict[StoreId, Path] = {}
    for identity, folder in stores:
        if identity in known:
            raise StoreError(
                f"{known[identity]} and {folder} are both the chunk store {identity}",
                code="store.twice",
            )
        known[identity] = folder
    return sorted(known.items())


def _identity(name: str) -> StoreId | None:
    matched = _STORE_NAME.fullmatch(name)
    return uuid.UUID(matched[1]) if matched else None


def _below(folder: Path, chain: Sequence[str]) -> list[Path]:
    found = [folder]
    for part in chain:
        found = [
            above / name
            for above in found
            for name in _folders(above)
            if name.upper() == part.upper()
        ]
    return found


def _stores_in(folder: Path) -> Iterator[tuple[StoreId, Path]]:
    for name in _folders(folder):
        identity = _identity(name)
        if identity is not None:
            yield identity, folder / name


def _folders(folder: Path) -> list[str]:
    """Return the names of the directories in a folder, links left out, sorted."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError as error:
        raise ContainerNotFoundError(f"there is no folder {folder}") from error
    except OSError as error:
        raise StoreReadError(f"cannot read {folder}: {error.strerror}") from error


def list_chunk_store(identity: StoreId, folder: Path) -> ChunkStore:
    """List all files of a chunk store; links and what is no regular file are left out.

    Args:
        identity: Identity of the store.
        folder: Its folder.

    Raises:
        StoreReadError: A folder cannot be read.
    """
    files: list[StoreFile] = []
    pending = [(folder, str(store_folder(identity)), 0)]
    while pending:
        place, path, depth = pending.pop()
        try:
            with os.scandir(place) as found:
                for entry in found:
                    status = entry.stat(follow_symlinks=False)
                    name = entry.name if depth else _PARTS.get(entry.name.upper(), entry.name)
                    if stat.S_ISREG(status.st_mode):
                        files.append(StoreFile(StorePath(f"{path}/{name}"), status.st_size))
                    elif stat.S_ISDIR(status.st_mode) and depth < _DEEPEST:
                        pending.append((place / entry.name, f"{path}/{name}", depth + 1))
        except OSError as error:
            raise StoreReadError(f"cannot read {place}: {error.strerror}") from error
    return ChunkStore(identity, tuple(sorted(files, key=lambda file: file.path)))


def read_settings(tree: HostTree) -> dict[str, bytes]:
    """Return the files of ``System Volume Information/Dedup/Settings`` by name.

    Args:
        tree: The root of a volume; names are found without regard to case.

    Returns:
        At most 64 files of at most 1 MiB each; empty if there is no such folder.

    Raises:
        StoreReadError: A file or folder cannot be read.
    """
    path = b""
    for part in _SETTINGS:
        with tree.folder(path) as folder:
            alike = [name for name in folder.names() if name.upper() == part.upper()]
        if not alike:
            return {}
        path = inner_path(path, alike[0])
    found: dict[str, bytes] = {}
    with tree.folder(path) as folder:
        for name in folder.names():
            status = folder.status(name)
            if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_SETTING:
                found[os.fsdecode(name)] = tree.read(inner_path(path, name), 0, status.st_size)
            if len(found) == _MOST_SETTINGS:
                break
    return found
