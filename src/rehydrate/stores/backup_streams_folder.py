"""A backup of a volume in which every file is one Win32 backup stream.

Files keep their names: ``Docs/a.txt`` in the folder is the backup stream of that file, and the
containers of the chunk store are backup streams, too. Directories are directories. A file that is no
backup stream is left out and told. A backup stream holds no times, no attributes and no number of
names; these are not known. Own data of a stub is known exactly from its sparse blocks; if its data
stream is missing (the size is then told as 0), or is not a sparse one although the file has reparse
data, it is unknown.
"""

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, Self

from rehydrate.errors import ContainerNotFoundError, RestoreError, StoreReadError
from rehydrate.ports import Files
from rehydrate.stores.backup_stream import (
    EA_DATA,
    KNOWN_KINDS,
    REPARSE_DATA,
    SECURITY_DATA,
    BackupStream,
    ByteReader,
    DataStream,
    parse_backup_stream,
)
from rehydrate.stores.chunk_folder import (
    ChunkFolder,
    find_chunk_stores,
    list_chunk_store,
    read_settings,
)
from rehydrate.stores.host_tree import HostTree, Selection, inner_path, read_exactly, shown
from rehydrate.stores.host_volume import PRIVATE_FOLDER, HostVolume, walk
from rehydrate.stores.ntfs_attributes import owner_sid
from rehydrate.stores.volume import (
    ChunkStore,
    NamedStream,
    StoreFile,
    VolumeEntry,
    VolumeFacts,
)
from rehydrate.values import FileExtent, StoreId, StorePath

__all__ = ["BackedUpStore", "BackupStreamFolder", "holds_backup_streams"]

_CACHED_PARTS: Final = 1 << 18
_LARGEST_PART: Final = 1 << 20
_TAG: Final = 4
_LOOKED_AT: Final = 16
_FOLDERS_LOOKED_AT: Final = 1024


class _Parsed:
    """Remembers where the parts of files are, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes | str, BackupStream] = OrderedDict()
        self._parts = 0

    def find(self, key: bytes | str) -> BackupStream | None:
        """Return what is known of a file."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def keep(self, key: bytes | str, stream: BackupStream) -> BackupStream:
        """Remember a file, and return it."""
        with self._lock:
            if key not in self._known:
                self._known[key] = stream
                self._parts += len(stream.parts) + 1
            while self._parts > _CACHED_PARTS and len(self._known) > 1:
                self._parts -= len(self._known.popitem(last=False)[1].parts) + 1
            return stream


class BackedUpStore:
    """Reads the containers of a chunk store out of their backup streams.

    Takes store paths as :class:`~rehydrate.stores.chunk_folder.ChunkFolder` does.
    """

    max_gap = ChunkFolder.max_gap
    max_read = ChunkFolder.max_read

    def __init__(self, inner: ChunkFolder) -> None:
        """Read the backup streams in ``inner``, and close it in the end."""
        self._inner = inner
        self._parsed = _Parsed()

    @property
    def store_id(self) -> StoreId:
        """Identity of the store."""
        return self._inner.store_id

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all descriptors."""
        self.close()

    def close(self) -> None:
        """Close all descriptors."""
        self._inner.close()

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes of a container; fewer only where it ends.

        Args:
            path: Store path.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such container.
            FormatError: It is no backup stream.
            OSError: It cannot be read.
        """
        return self._data(path).read(self._reader(path), offset, size)

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Start read-ahead of what is going to be read; see the same of ``DirectoryStore``."""
        try:
            data = self._data(path)
        except (RestoreError, OSError):
            return  # the reads will say so
        pieces = (piece for read in reads for piece in data.pieces(read.offset, read.length))
        there = [FileExtent(piece.at, piece.extent.length) for piece in pieces]
        self._inner.preview_container_read(path, there)

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names in a folder, sorted; empty if there is no such folder."""
        return self._inner.list_containers(folder)

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a container in bytes.

        Raises:
            FileNotFoundError: There is no such container.
            FormatError: It is no backup stream.
        """
        return self._data(path).size

    def _reader(self, path: StorePath) -> ByteReader:
        return lambda offset, size: self._inner.read_backup_file(path, offset, size)

    def _data(self, path: StorePath) -> DataStream:
        stream = self._parsed.find(path)
        if stream is None:
            try:
                found = parse_backup_stream(self._reader(path), self._inner.size_of(path))
            except RestoreError as error:
                raise error.at(container=path) from None
            stream = self._parsed.keep(path, found)
        return _EMPTY if stream.data is None else stream.data


_EMPTY: Final = DataStream(name="", sparse=False, size=0, blocks=())


class BackupStreamFolder(HostVolume[BackedUpStore]):
    """Implements :class:`~rehydrate.stores.volume.Volume` over a folder of backup streams."""

    def __init__(self, root: str | os.PathLike[str], *, files: Files | None = None) -> None:
        """Open the folder.

        Args:
            root: What stands for the root of the volume.
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such folder.
            StoreReadError: It cannot be opened.
        """
        super().__init__(root, BackedUpStore, files=files)
        self._parsed = _Parsed()

    @property
    def facts(self) -> VolumeFacts:
        """What the volume is."""
        return VolumeFacts(source="folder of Win32 backup streams")

    def entries(self, prefixes: Sequence[bytes] = ()) -> Iterator[VolumeEntry]:
        """Iterate names in tree order; see :class:`~rehydrate.stores.volume.Volume`.

        Args:
            prefixes: Only these paths and what is below them; empty = everything.
        """
        wanted = Selection(prefixes)
        return walk(wanted, lambda path: self._level(path, wanted), lambda entry: entry.directory)

    def _level(self, path: bytes, wanted: Selection) -> Iterator[VolumeEntry]:
        try:
            with self._tree.folder(path) as folder:
                found = [(name, folder.status(name)) for name in folder.names()]
        except (ContainerNotFoundError, StoreReadError) as error:
            self._tell(str(error))
            return
        for name, status in found:
            full = inner_path(path, name)
            if not wanted.leads(full) or (not path and name.upper() == PRIVATE_FOLDER):
                continue
            if stat.S_ISDIR(status.st_mode):
                yield VolumeEntry(path=full, number=0, directory=True, size=0)
            elif stat.S_ISREG(status.st_mode):
                try:
                    yield self._entry(full)
                except RestoreError as error:
                    self._tell(f"{shown(full)}: {error}")
            else:
                self._tell(f"{shown(full)} is no file or directory: left out")

    def _entry(self, path: bytes) -> VolumeEntry:
        stream = self._stream(path)
        alternates = (NamedStream(one.name, one.size) for one in stream.alternates)
        reparse = self._part(path, REPARSE_DATA) or b""
        return VolumeEntry(
            path=path,
            number=0,
            directory=False,
            size=0 if stream.data is None else stream.data.size,
            reparse_tag=int.from_bytes(reparse[:_TAG], "little"),
            owner=owner_sid(self._part(path, SECURITY_DATA) or b""),
            streams=tuple(sorted(alternates, key=lambda one: one.name)),
        )

    def _stream(self, path: bytes) -> BackupStream:
        known = self._parsed.find(path)
        if known is not None:
            return known
        with self._tree.file(path) as fd:
            size = self._tree.files.fstat(fd).st_size
            try:
                found = parse_backup_stream(self._reader(fd, path), size)
            except RestoreError as error:
                raise error.at(file=shown(path)) from None
        return self._parsed.keep(path, found)

    def _reader(self, fd: int, path: bytes) -> ByteReader:
        return lambda offset, size: read_exactly(self._tree.files, fd, offset, size, path)

    def _part(self, path: bytes, kind: int) -> bytes | None:
        """Return a small part of a file; ``None`` if it has none."""
        part = self._stream(path).part(kind)
        if part is None:
            return None
        if part.size > _LARGEST_PART:
            raise StoreReadError(
                f"a part of kind {kind} with {part.size} bytes in {shown(path)}",
                code="backup.part-size",
                file=shown(path),
            )
        return self._tree.read(path, part.offset, part.size)

    def reparse_data(self, entry: VolumeEntry) -> bytes:
        """Return the whole reparse buffer.

        Raises:
            StoreError: The file has none, or it cannot be read.
        """
        found = self._part(entry.path, REPARSE_DATA)
        if found is None:
            name = shown(entry.path)
            raise StoreReadError(f"{name} has no reparse data", file=name)
        return found

    def own_ranges(self, entry: VolumeEntry) -> tuple[FileExtent, ...] | None:
        """Return the ranges of the unnamed stream that are not hole; see the module."""
        if entry.directory:
            return ()
        data = self._stream(entry.path).data
        if entry.reparse_tag and (data is None or not data.sparse):
            return None
        return () if data is None else tuple(block.extent for block in data.blocks)

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        """Return exactly ``size`` bytes of a data stream; holes read as zeros.

        Raises:
            StoreError: They cannot be read.
            FormatError: The file is no backup stream.
        """
        found = self._stream(entry.path)
        data = found.alternate(stream) if stream else found.data or _EMPTY
        if data is None or offset + size > data.size:
            what = f"stream {stream!r} of {shown(entry.path)}" if stream else shown(entry.path)
            raise StoreReadError(
                f"{what} has no bytes {offset} to {offset + size}",
                code="store.short-read",
                file=shown(entry.path),
                offset=offset,
                length=size,
            )
        with self._tree.file(entry.path) as fd:
            return data.read(self._reader(fd, entry.path), offset, size)

    def security(self, entry: VolumeEntry) -> bytes | None:
        """Return the security descriptor as it is in the backup stream."""
        return None if entry.directory else self._part(entry.path, SECURITY_DATA)

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        """Return the extended attributes as they are in the backup stream."""
        return None if entry.directory else self._part(entry.path, EA_DATA)

    def chunk_stores(self) -> Sequence[ChunkStore]:
        """Return the chunk stores in the folder, sorted by identity; sizes are those of the data.

        Files that are no backup streams are left out and told.
        """
        return [
            self._chunk_store(list_chunk_store(identity, folder), folder)
            for identity, folder in find_chunk_stores(self._tree.path)
        ]

    def _chunk_store(self, listed: ChunkStore, folder: Path) -> ChunkStore:
        files: list[StoreFile] = []
        with BackedUpStore(ChunkFolder(folder, listed.store, files=self._tree.files)) as store:
            for file in listed.files:
                try:
                    files.append(StoreFile(file.path, store.size_of(file.path)))
                except (RestoreError, OSError) as error:
                    self._tell(f"{file.path}: {error}")
        return ChunkStore(listed.store, tuple(files))

    def settings(self) -> Mapping[str, bytes]:
        """Return the files of ``System Volume Information/Dedup/Settings``; see the protocol."""
        found: dict[str, bytes] = {}
        for name, raw in read_settings(self._tree).items():
            read = _in_memory(raw)
            try:
                data = parse_backup_stream(read, len(raw)).data or _EMPTY
                if data.size <= _LARGEST_PART:
                    found[name] = data.read(read, 0, data.size)
            except RestoreError as error:
                self._tell(f"{name}: {error}")
        return found


def _in_memory(raw: bytes) -> ByteReader:
    return lambda offset, size: raw[offset : offset + size]


def holds_backup_streams(root: str | os.PathLike[str]) -> bool:
    """Tell whether the files of a folder are backup streams: the first 16 that are not empty.

    Args:
        root: The folder.

    Raises:
        ContainerNotFoundError: There is no such folder.
        StoreReadError: It cannot be opened.
    """
    tree = HostTree(root)
    try:
        answers = list(islice(_answers(tree), _LOOKED_AT))
    finally:
        tree.close()
    return bool(answers) and all(answers)


def _answers(tree: HostTree) -> Iterator[bool]:
    """Look into files, breadth first."""
    pending = [b""]
    for path in pending:  # grows on the way
        with suppress(StoreReadError, ContainerNotFoundError), tree.folder(path) as folder:
            for name in folder.names():
                status = folder.status(name)
                full = inner_path(path, name)
                if stat.S_ISDIR(status.st_mode) and len(pending) < _FOLDERS_LOOKED_AT:
                    pending.append(full)
                elif stat.S_ISREG(status.st_mode) and status.st_size:
                    yield _is_backup_stream(tree, full, status.st_size)


def _is_backup_stream(tree: HostTree, path: bytes, size: int) -> bool:
    try:
        with tree.file(path) as fd:
            found = parse_backup_stream(
                lambda offset, length: read_exactly(tree.files, fd, offset, length, path), size
            )
    except RestoreError:
        return False
    return found.parts[0].kind in KNOWN_KINDS
