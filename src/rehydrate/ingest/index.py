"""Which chunks are in the store already: derived, checked, mapped, never an authority.

An index file covers some bytes of some data containers and holds their chunks sorted by digest, 48
bytes each, as columns. A store has a few such files; the newest place of a chunk wins. What no file
covers is read from the record headers of the containers.
"""

import mmap
import os
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.native.chain import records_between
from rehydrate.formats.native.container import container_name
from rehydrate.formats.native.layout import HEADER_SIZE, KIND_CHUNK
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.folders import Folders, put_file
from rehydrate.ingest.recovery import FoundContainer, reader_of, usable
from rehydrate.ingest.store import StoreWriter
from rehydrate.ports import Files
from rehydrate.values import StoreId

__all__ = ["ChunkIndex", "Cover", "IndexFile", "LazyIndex"]

MAGIC: Final = b"RHIDX001"
_HEAD: Final = struct.Struct("<8s16sQQ")
"""magic, store, chunks, covers; 40 bytes, then the covers, then the columns."""
_COVER: Final = struct.Struct("<IIQQ16s")
"""container, generation, start, end, salt of the container."""
_DIGEST: Final = 32
_KEY: Final = np.dtype("<u8")
_REST: Final = np.dtype("V24")
_PLACE: Final = np.dtype([("container", "<u4"), ("local_id", "<u4"), ("where", "<u8")])
"""``where``: offset / 8 in the low 40 bits, record length in the high 24."""
_OFFSET_BITS: Final = 40
_SUFFIX: Final = ".idx"
_MOST_FILES: Final = 8

PlacesByDigest = Mapping[bytes, RecordPlace]


@attrs.frozen
class Cover:
    """A part of a container that an index file describes.

    Attributes:
        container: Container id.
        generation: Generation.
        start: First byte.
        end: First byte behind; end of a commit.
        salt: Salt of the container.
    """

    container: int
    generation: int
    start: int
    end: int
    salt: bytes


@attrs.frozen(eq=False)
class _Columns:
    keys: npt.NDArray[np.uint64]
    rest: npt.NDArray[np.void]
    places: npt.NDArray[np.void]

    @classmethod
    def empty(cls) -> "_Columns":
        return cls(np.empty(0, _KEY), np.empty(0, _REST), np.empty(0, _PLACE))


def _sorted(columns: _Columns) -> _Columns:
    """Sort by key; among equal digests the later row comes first."""
    reverse = slice(None, None, -1)
    keys = columns.keys[reverse]
    order = np.argsort(keys, kind="stable")
    return _Columns(keys[order], columns.rest[reverse][order], columns.places[reverse][order])


def _joined(parts: Sequence[_Columns]) -> _Columns:
    return _Columns(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.rest for part in parts]),
        np.concatenate([part.places for part in parts]),
    )


def _columns_of(digests: bytes, places: npt.NDArray[np.void]) -> _Columns:
    table = np.frombuffer(digests, [("key", _KEY), ("rest", _REST)])
    return _Columns(table["key"].copy(), table["rest"].copy(), places)


class IndexFile:
    """One index file, mapped; its checksum was verified when it was opened."""

    def __init__(self, data: memoryview, store: StoreId) -> None:
        """Read a whole file.

        Args:
            data: The file.
            store: Identity of the store it must belong to.

        Raises:
            CorruptMetadataError: It is damaged or belongs elsewhere.
        """
        wrong = CorruptMetadataError("an index file is damaged", code="index.damaged")
        if len(data) < _HEAD.size + _DIGEST:
            raise wrong
        magic, owner, chunks, covers = _HEAD.unpack_from(data)
        columns_at = _HEAD.size + covers * _COVER.size
        size = columns_at + chunks * (_KEY.itemsize + _REST.itemsize + _PLACE.itemsize) + _DIGEST
        if magic != MAGIC or owner != store.bytes or size != len(data):
            raise wrong
        if blake3(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
            raise wrong
        self.covers = tuple(
            Cover(*_COVER.unpack_from(data, _HEAD.size + number * _COVER.size))
            for number in range(covers)
        )
        rest_at = columns_at + chunks * _KEY.itemsize
        places_at = rest_at + chunks * _REST.itemsize
        self.columns = _Columns(
            np.frombuffer(data, _KEY, chunks, columns_at),
            np.frombuffer(data, _REST, chunks, rest_at),
            np.frombuffer(data, _PLACE, chunks, places_at),
        )


def _encode(store: StoreId, covers: Sequence[Cover], columns: _Columns) -> list[bytes]:
    """Return the parts of an index file; the columns must be sorted."""
    head = _HEAD.pack(MAGIC, store.bytes, len(columns.keys), len(covers))
    head += b"".join(
        _COVER.pack(cover.container, cover.generation, cover.start, cover.end, cover.salt)
        for cover in covers
    )
    parts = [head, *(column.tobytes() for column in (columns.keys, columns.rest, columns.places))]
    digest = blake3()
    for part in parts:
        digest.update(part)
    return [*parts, digest.digest()]


class ChunkIndex:
    """All known chunks: index files, and what the headers of uncovered parts say."""

    def __init__(
        self,
        files: Files,
        folders: Folders,
        store: StoreId,
        containers: Mapping[int, FoundContainer],
        damaged: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        """Open the index of a store.

        Args:
            files: File-system calls.
            folders: Folders of the store.
            store: Identity of the store.
            containers: The data containers that can be trusted, by id.
            damaged: ``(container, local id)`` of records known to be damaged.
        """
        self._files = files
        self._folders = folders
        self._store = store
        self._containers = containers
        self._damaged = damaged
        self._generations = {number: found.generation for number, found in containers.items()}
        self._parts: list[_Columns] = []
        self._covered: dict[int, int] = {}
        self._unsaved: list[_Columns] = []
        self._saved_covers: list[Cover] = []
        self._names: list[str] = []
        self._next_name = 1
        self._load()
        self._read_uncovered()
        if self._unsaved:
            self._unsaved = [_sorted(_joined(self._unsaved))]

    def _load(self) -> None:
        for name in sorted(self._files.listdir(self._folders.index)):
            stem = name.removesuffix(_SUFFIX)
            if stem == name or not (stem.isascii() and stem.isdigit()):
                continue
            self._next_name = max(self._next_name, int(stem) + 1)
            found = self._open(name)
            if found is None or not all(map(self._holds, found.covers)):
                self._forget(name)
                continue
            self._names.append(name)
            self._parts.append(found.columns)
            self._saved_covers += found.covers
            for cover in found.covers:
                self._covered[cover.container] = max(
                    self._covered.get(cover.container, HEADER_SIZE), cover.end
                )

    def _holds(self, cover: Cover) -> bool:
        """Whether a cover still fits; covers of one container must follow each other."""
        container = self._containers.get(cover.container)
        return (
            container is not None
            and container.header is not None
            and container.generation == cover.generation
            and container.header.salt == cover.salt
            and container.state.end >= cover.end
            and self._covered.get(cover.container, HEADER_SIZE) == cover.start
        )

    def _open(self, name: str) -> IndexFile | None:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            fd = self._files.open(os.fsencode(name), flags, dir_fd=self._folders.index)
        except OSError:
            return None
        try:
            mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            return IndexFile(memoryview(mapped), self._store)
        except (OSError, ValueError, CorruptMetadataError):
            return None
        finally:
            self._files.close(fd)

    def _forget(self, name: str) -> None:
        try:
            self._files.unlink(os.fsencode(name), self._folders.index)
        except FileNotFoundError:
            return

    def _read_uncovered(self) -> None:
        for container in self._containers.values():
            start = self._covered.get(container.container, HEADER_SIZE)
            if container.header is None or start >= container.state.end:
                continue
            name = container_name(container.container, container.generation)
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
            fd = self._files.open(os.fsencode(name), flags, dir_fd=self._folders.data)
            try:
                offsets, headers = records_between(
                    reader_of(self._files, fd), container.header, start, container.state.end
                )
            except CorruptMetadataError:
                continue  # nothing of this part is reused
            finally:
                self._files.close(fd)
            self._unsaved.append(_from_headers(container.container, offsets, headers))

    def find(self, digests: Sequence[bytes]) -> list[RecordPlace | None]:
        """Look up many chunks at once.

        Args:
            digests: 32 bytes each.

        Returns:
            The place of each, or ``None``.
        """
        found: list[RecordPlace | None] = [None] * len(digests)
        if not digests:
            return found
        wanted = np.frombuffer(b"".join(digests), [("key", _KEY), ("rest", _REST)])
        order = np.argsort(wanted["key"])
        keys = wanted["key"][order]
        for part in (*self._parts, *self._unsaved):
            positions = np.searchsorted(part.keys, keys)
            inside = positions < len(part.keys)
            hits = np.flatnonzero(inside)
            hits = hits[part.keys[positions[hits]] == keys[hits]]
            for hit in hits.tolist():
                number = int(order[hit])
                place = self._exact(part, int(positions[hit]), digests[number])
                if place is not None:
                    found[number] = place
        return found

    def _exact(self, part: _Columns, position: int, digest: bytes) -> RecordPlace | None:
        key = part.keys[position]
        while position < len(part.keys) and part.keys[position] == key:
            row = part.places[position]
            container, local_id = int(row["container"]), int(row["local_id"])
            if (
                part.rest[position].tobytes() == digest[_KEY.itemsize :]
                and (container, local_id) not in self._damaged
            ):
                where = int(row["where"])
                return RecordPlace(
                    container,
                    self._generations[container],
                    (where & (1 << _OFFSET_BITS) - 1) << 3,
                    local_id,
                    where >> _OFFSET_BITS,
                )
            position += 1
        return None

    def save(self, chunks: PlacesByDigest, covered: Iterable[Cover]) -> None:
        """Write what is new as one more index file; merge the files when they become many.

        Args:
            chunks: Chunks that this run stored and committed since the last save.
            covered: All data containers with their committed ends; starts are filled in here.

        Raises:
            PublishError: A write failed.
            DurabilityError: A sync failed.
        """
        new = _from_run(chunks)
        covers = [
            attrs.evolve(cover, start=self._covered.get(cover.container, HEADER_SIZE))
            for cover in covered
            if cover.end > self._covered.get(cover.container, HEADER_SIZE)
        ]
        if not covers:
            return
        columns = _joined([*self._unsaved, new]) if self._unsaved else new
        merged = len(self._names) + 1 > _MOST_FILES
        if merged:
            columns = _joined([*self._parts, columns])
            covers = _merged(self._saved_covers, covers)
        name = f"{self._next_name:08d}{_SUFFIX}"
        self._next_name += 1
        columns = _sorted(columns)
        put_file(self._files, self._folders.index, name, *_encode(self._store, covers, columns))
        if merged:
            for old in self._names:
                self._forget(old)
            self._names, self._parts, self._saved_covers = [], [], []
        self._names.append(name)
        self._unsaved = []
        self._saved_covers += covers
        for cover in covers:
            self._covered[cover.container] = cover.end
            self._generations[cover.container] = cover.generation
        written = self._open(name)
        self._parts.append(columns if written is None else written.columns)


class LazyIndex:
    """The index of a store that is open for writing, read when the first chunk is looked up."""

    def __init__(self, store: StoreWriter, damaged: frozenset[tuple[int, int]]) -> None:
        """Remember the store, and ``(container, local id)`` of damaged records."""
        self._store = store
        self._damaged = damaged
        self._index: ChunkIndex | None = None
        self._lock = threading.Lock()

    def find(self, digests: Sequence[bytes]) -> list[RecordPlace | None]:
        """Look up many chunks; see :meth:`ChunkIndex.find`. Safe to call from any thread."""
        with self._lock:
            if self._index is None:
                store = self._store
                self._index = ChunkIndex(
                    store.world.files,
                    store.folders,
                    store.configuration.store,
                    usable(store.found.containers),
                    self._damaged,
                )
        return self._index.find(digests)

    def save(self, chunks: PlacesByDigest) -> None:
        """Keep the chunks of a run that are committed; nothing to do if none was looked up."""
        if self._index is not None:
            covers = [
                Cover(header.container, header.generation, 0, end, header.salt)
                for header, end in self._store.committed_data()
            ]
            self._index.save(chunks, covers)


def _merged(old: Sequence[Cover], new: Sequence[Cover]) -> list[Cover]:
    whole: dict[int, Cover] = {}
    for cover in (*old, *new):
        first = whole.get(cover.container, cover)
        whole[cover.container] = attrs.evolve(cover, start=first.start)
    return list(whole.values())


def _from_headers(
    container: int, offsets: npt.NDArray[np.int64], headers: npt.NDArray[np.void]
) -> _Columns:
    chunks = headers["kind"] == KIND_CHUNK
    headers, offsets = headers[chunks], offsets[chunks]
    if not len(headers):
        return _Columns.empty()
    places = np.zeros(len(headers), _PLACE)
    places["container"] = container
    places["local_id"] = headers["local_id"]
    lengths = headers["header_size"].astype(np.uint64) + headers["stored_size"]
    places["where"] = _where(offsets.astype(np.uint64), lengths)
    return _columns_of(headers["digest"].tobytes(), places)


def _where(
    offsets: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    where: npt.NDArray[np.uint64] = offsets >> np.uint64(3) | lengths << np.uint64(_OFFSET_BITS)
    return where


def _from_run(chunks: PlacesByDigest) -> _Columns:
    if not chunks:
        return _Columns.empty()
    count = len(chunks)
    found = chunks.values()
    places = np.zeros(count, _PLACE)
    places["container"] = np.fromiter((place.container for place in found), np.uint32, count)
    places["local_id"] = np.fromiter((place.local_id for place in found), np.uint32, count)
    places["where"] = _where(
        np.fromiter((place.offset for place in found), np.uint64, count),
        np.fromiter((place.length for place in found), np.uint64, count),
    )
    return _columns_of(b"".join(chunks), places)
