"""A directory of containers, with LTFS volumes for those that are not in it.

Also: which folder of the volumes the containers lie in, and which copy counts where several volumes
have one.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from rehydrate.errors import ContainerNotFoundError, RequestError
from rehydrate.stores.ltfs.catalogue import Piece
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.table import ROOT, Index, Kind
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import (
    MAX_OFFSET,
    STORES_FOLDER,
    ContainerExtent,
    FileExtent,
    ReadableBuffer,
    StoreId,
    StorePath,
)

__all__ = ["ContainerFolder", "CopiedFiles", "TapedStore", "container_folder", "windows_stores"]

_NATIVE: Final = ("Data", "Stream")
_NATIVE_SUFFIX: Final = ".rhc"
_WINDOWS: Final = re.compile(
    r"\{([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}\.ddp", re.IGNORECASE
)
_SHOWN: Final = 5


class ContainerFolder(Protocol):
    """The containers that lie in a directory; such as a ``DirectoryStore``."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """As in :class:`~rehydrate.protocols.BackupStore`."""
        ...

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """As in :class:`~rehydrate.protocols.PreviewsReads`."""
        ...

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """As in :class:`~rehydrate.protocols.ListsContainers`."""
        ...

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a file in bytes; ``FileNotFoundError`` if there is none."""
        ...


class CopiedFiles:
    """The files below a folder of the volumes as a catalogue of containers.

    Where several volumes have one, the longest counts, as containers only ever grow; of those that
    are equally long, the one on the first volume.
    """

    def __init__(
        self, volumes: Iterable[LtfsVolume], folder: str = "", *, any_case: bool = False
    ) -> None:
        """Keep the volumes.

        Args:
            volumes: The volumes, the preferred ones first.
            folder: Folder on the volumes that store paths are relative to.
            any_case: Upper and lower case of names do not matter, as on Windows.
        """
        self._volumes = tuple(volumes)
        self._prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        self._any_case = any_case
        self._folders: dict[tuple[int, str], Mapping[str, int]] = {}

    def pieces(self, path: StorePath, /) -> Sequence[Piece]:
        """Return the file as the only piece; empty if no volume has it."""
        best: tuple[int, Piece] | None = None
        for volume in self._volumes:
            node = self._find(volume, path)
            if node is None:
                continue
            length = volume.index.length(node)
            if best is None or length > best[0]:
                best = length, Piece(volume.name, volume.index.path(node))
        return () if best is None else (best[1],)

    def names(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the files in a folder of all volumes."""
        found: set[str] = set()
        for volume in self._volumes:
            index = volume.index
            node = self._folder(volume, self._prefix + folder)
            for child in () if node is None else index.children(node):
                if index.columns.kind[child] == Kind.FILE:
                    found.add(index.name(child))
        return sorted(found - {""})

    def size_of(self, path: StorePath, /) -> int | None:
        """Return the size of a file in bytes; ``None`` if no volume has it."""
        for piece in self.pieces(path):
            for volume in self._volumes:
                if volume.name == piece.volume:
                    return volume.size_of(piece.file)
        return None

    def _find(self, volume: LtfsVolume, path: str) -> int | None:
        index = volume.index
        node = index.find(self._prefix + path)
        if node is None and self._any_case:
            parent, _, name = (self._prefix + path).rpartition("/")
            above = self._folder(volume, parent)
            node = None if above is None else self._alike(volume, above).get(name.upper())
        return node if node is not None and index.columns.kind[node] == Kind.FILE else None

    def _folder(self, volume: LtfsVolume, path: str) -> int | None:
        node = volume.index.find(path.rstrip("/"))
        if node is not None or not self._any_case:
            return node
        node = ROOT
        for name in path.strip("/").split("/"):
            found = self._alike(volume, node).get(name.upper())
            if found is None:
                return None
            node = found
        return node

    def _alike(self, volume: LtfsVolume, folder: int) -> Mapping[str, int]:
        """Return what is in a directory by name, without regard to case."""
        key = folder, volume.name
        if key not in self._folders:
            index = volume.index
            self._folders[key] = {index.name(node).upper(): node for node in index.children(folder)}
        return self._folders[key]


class TapedStore:
    """Containers of a directory; those that are not in it come from tapes.

    Implements :class:`~rehydrate.BackupStore` with the order (the directory first, then the tapes),
    the preview and the list of containers; and what a catalogue needs to read itself.
    """

    max_gap = LtfsStore.max_gap
    max_read = LtfsStore.max_read
    read_timeout = LtfsStore.read_timeout

    def __init__(
        self, folder: ContainerFolder | None, files: CopiedFiles, tapes: LtfsStore
    ) -> None:
        """Bind; neither is closed by this.

        Args:
            folder: The containers at hand; ``None`` = none.
            files: The catalogue of the tapes.
            tapes: Reads them, by the same catalogue.
        """
        self._folder, self._files, self._tapes = folder, files, tapes
        self._names: dict[str, frozenset[str]] = {}
        self._expected: frozenset[StorePath] = frozenset()
        self.store_id: StoreId | None = getattr(folder, "store_id", None)
        self.concurrent_reads = tapes.concurrent_reads
        self._lock = threading.Lock()

    def expect(self, containers: Sequence[StorePath]) -> None:
        """Learn what a round will read that has an order of its own, so that nobody is asked for one.

        When the first of them is read, the tapes are told, so that requests for volumes can say how
        long and what comes then.

        Args:
            containers: The containers.
        """
        self._expected = frozenset(containers)

    def here(self, path: StorePath) -> bool:
        """Tell whether a container is in the directory.

        Args:
            path: The container.
        """
        if self._folder is None:
            return False
        parent, _, name = path.rpartition("/")
        if parent not in self._names:
            names = self._folder.list_containers(StorePath(parent or "."))
            self._names[parent] = frozenset(found.upper() for found in names)
        return name.upper() in self._names[parent]

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return the containers of the directory, and then those of the tapes in their order.

        Args:
            containers: The containers of the round.
        """
        first, others = [], []
        for index, path in enumerate(containers):
            if self.here(path):
                first.append(ContainerExtent(index=index, offset=0, length=MAX_OFFSET))
            else:
                others.append(index)
        answer = self._tapes.order_containers_restore([containers[index] for index in others])
        return first + [
            ContainerExtent(index=others[one.index], offset=one.offset, length=one.length)
            for one in answer
        ]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Prepare reads; a volume is mounted where one is needed.

        Args:
            path: The container.
            reads: What is going to be read.

        Raises:
            NotReadyError: The volume comes later.
            StoreError: It cannot be had, or the drive cannot go there.
        """
        if self._folder is not None and self.here(path):
            self._folder.preview_container_read(path, reads)
            return
        self._tell_tapes(path)
        self._tapes.preview_container_read(path, reads)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read from the directory, else from tape.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            ContainerNotFoundError: It is on no volume either.
            StoreError: It cannot be read.
        """
        if self._folder is not None and self.here(path):
            return self._folder.read_backup_file(path, offset, size)
        self._tell_tapes(path)
        return self._tapes.read_backup_file(path, offset, size)

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names in a folder, of the directory and of all volumes.

        Args:
            folder: Store path of the folder.
        """
        own = () if self._folder is None else self._folder.list_containers(folder)
        return sorted({*own, *self._tapes.list_containers(folder)})

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a file in bytes.

        Args:
            path: The file.

        Raises:
            ContainerNotFoundError: It is neither in the directory nor on a volume.
        """
        if self._folder is not None and self.here(path):
            return self._folder.size_of(path)
        size = self._files.size_of(path)
        if size is None:
            raise ContainerNotFoundError(
                f"{path} is neither in the directory nor on a volume", container=path
            )
        return size

    def _tell_tapes(self, path: StorePath) -> None:
        with self._lock:
            if path not in self._expected:
                return
            found = [each for each in self._expected if not self.here(each)]
            self._expected = frozenset()
        self._tapes.order_containers_restore(sorted(found))


def container_folder(
    volumes: Iterable[LtfsVolume], given: str | None, *, windows: bool = False
) -> str:
    """Find the folder on the volumes that store paths are relative to.

    Args:
        volumes: The volumes.
        given: What was said; ``None`` = the only one that holds containers.
        windows: Containers of a chunk store of Windows are meant, and not those of a native store.

    Raises:
        RequestError: With code ``"tape.folder"`` if there is none, or if several might be meant.
    """
    find = _windows_folders if windows else _native_folders
    found = sorted({folder for volume in volumes for folder in find(volume.index)})
    what = "a chunk store of Windows" if windows else "a native store (Data/*.rhc, Stream/*.rhc)"
    if given is not None:
        if given.strip("/") in found:
            return given.strip("/")
        where = f"in the folder {given!r} of any volume"
    elif len(found) == 1:
        return found[0]
    else:
        where = "on any volume"
    if not found:
        raise RequestError(f"there are no containers of {what} {where}", code="tape.folder")
    names = ", ".join(repr(folder or "/") for folder in found[:_SHOWN])
    more = ", ..." if len(found) > _SHOWN else ""
    begin = "" if given is None else f"there are no containers of {what} {where}; "
    raise RequestError(
        f"{begin}the volumes have containers of {what} in {names}{more}:"
        " say with --tape-folder which are meant",
        code="tape.folder",
    )


def windows_stores(volumes: Iterable[LtfsVolume], folder: str) -> frozenset[StoreId]:
    """Return the identities of the chunk stores of Windows that the volumes have.

    Args:
        volumes: The volumes.
        folder: Folder on them that store paths are relative to.
    """
    return frozenset(
        StoreId(matched[1])
        for volume in volumes
        for path, matched in _windows_places(volume.index)
        if path.upper() == folder.strip("/").upper()
    )


def _native_folders(index: Index) -> Iterable[str]:
    for node in _folders(index, lambda name: name in _NATIVE):
        names = (index.name(child) for child in index.children(node))
        if any(name.endswith(_NATIVE_SUFFIX) for name in names):
            yield index.path(node).rpartition("/")[0]


def _windows_folders(index: Index) -> Iterable[str]:
    return (path for path, _ in _windows_places(index))


def _windows_places(index: Index) -> Iterable[tuple[str, re.Match[str]]]:
    """Find the folders of chunk stores; return what is above them, with the identity."""
    below = f"/{STORES_FOLDER.upper()}"
    for node in _folders(index, lambda name: _WINDOWS.fullmatch(name) is not None):
        path, _, name = index.path(node).rpartition("/")
        matched = _WINDOWS.fullmatch(name)
        if matched is not None and f"/{path.upper()}".endswith(below):
            yield path[: max(len(path) - len(below), 0)], matched


def _folders(index: Index, wanted: Callable[[str], bool]) -> Iterable[int]:
    """Return the directories whose name is wanted."""
    for node in np.flatnonzero(index.columns.kind == Kind.DIRECTORY).tolist():
        if node != ROOT and wanted(index.name(node)):
            yield node
