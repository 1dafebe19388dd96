"""Blocks of source bytes on their way through hashing, looking up and compressing.

The thread of the run fills blocks and takes their results in the order in which they were filled;
worker threads do what needs time in between. So the store comes out the same with any number of
threads.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Final

import attrs
import zstandard
from blake3 import blake3

from rehydrate.chunks import HOLE, ZERO
from rehydrate.formats.native.layout import COMPRESSION_NONE, COMPRESSION_ZSTD
from rehydrate.ingest.builds import FileBuild
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.store import StoreWriter
from rehydrate.values import ReadableBuffer

__all__ = ["BLOCK_SIZE", "Pipeline", "Totals"]

BLOCK_SIZE: Final = 1 << 20
"""Small enough to stay in a cache while it is cut, hashed and compressed; larger for huge chunks."""
_MOST_PIECES: Final = 512
"""Pieces of a block; many small files in one block would make its results come late."""
_PROBE: Final = 4096
_PROBE_FROM: Final = 16 << 10
_HELPS: Final = 15 / 16
"""Compressed bytes must be below this share, or the chunk is kept plain and restores faster."""

Find = Callable[[Sequence[bytes]], list[RecordPlace | None]]


@attrs.define(eq=False)
class Totals:
    """What a run has done to bytes."""

    new_chunks: int = 0
    reused_bytes: int = 0
    zero_bytes: int = 0


@attrs.frozen(eq=False)
class _Packed:
    """Result for one block, one entry for each span.

    Attributes:
        digests: Digest of each; ``None`` for zeros.
        places: Where it is already, if it is.
        stored: Bytes to store if it is nowhere.
        compressions: How they were made.
    """

    digests: list[bytes | None]
    places: list[RecordPlace | None]
    stored: list[ReadableBuffer | None]
    compressions: list[int]


@attrs.define(eq=False)
class _Block:
    view: memoryview
    used: int = 0
    pieces: list[tuple[FileBuild, int, int, int]] = attrs.field(factory=list)
    future: Future[_Packed] | None = None


@lru_cache(maxsize=4096)
def _zero_digest(size: int) -> bytes:
    return blake3(bytes(size)).digest()


class _Packer:
    """The work on one block; called from worker threads, each with its own compressor."""

    def __init__(self, find: Find, recent: dict[bytes, RecordPlace], level: int | None) -> None:
        self._find = find
        self._recent = recent
        self._level = level
        self._local = threading.local()

    def pack(self, view: memoryview, spans: Sequence[tuple[int, int]]) -> _Packed:
        digests: list[bytes | None] = [blake3(view[a:b]).digest() for a, b in spans]
        for number, (start, stop) in enumerate(spans):
            ends = view[start] | view[stop - 1]
            if not ends and digests[number] == _zero_digest(stop - start):
                digests[number] = None
        places = [None if digest is None else self._recent.get(digest) for digest in digests]
        unknown = [
            (number, digest)
            for number, digest in enumerate(digests)
            if digest is not None and places[number] is None
        ]
        stored: list[ReadableBuffer | None] = [None] * len(spans)
        compressions = [COMPRESSION_NONE] * len(spans)
        seen: set[bytes] = set()
        for (number, digest), place in zip(
            unknown, self._find([digest for _, digest in unknown]), strict=True
        ):
            places[number] = place
            if place is None and digest not in seen:
                seen.add(digest)
                start, stop = spans[number]
                stored[number], compressions[number] = self._compress(view[start:stop])
        return _Packed(digests, places, stored, compressions)

    def _compress(self, data: memoryview) -> tuple[ReadableBuffer, int]:
        if self._level is None:
            return data, COMPRESSION_NONE
        local = self._local
        if not hasattr(local, "compress"):
            local.compress = zstandard.ZstdCompressor(level=self._level).compress
            local.probe = zstandard.ZstdCompressor(level=1).compress
            local.suspicious = False
        if local.suspicious and len(data) >= _PROBE_FROM:
            middle = len(data) // 2
            if len(local.probe(data[middle : middle + _PROBE])) > _PROBE * _HELPS:
                return data, COMPRESSION_NONE
        packed: bytes = local.compress(data)
        local.suspicious = len(packed) > len(data) * _HELPS
        return (data, COMPRESSION_NONE) if local.suspicious else (packed, COMPRESSION_ZSTD)


class Pipeline:
    """Takes pieces of files in order, stores what is new, and gives each file its rows."""

    def __init__(self, store: StoreWriter, find: Find, jobs: int) -> None:
        """Start the worker threads.

        Args:
            store: Where new chunks go.
            find: Looks up chunks in the index; called from worker threads.
            jobs: Number of worker threads.
        """
        self.recent: dict[bytes, RecordPlace] = {}
        self.totals = Totals()
        self._store = store
        compression = store.configuration.compression
        level = store.configuration.level if compression == "zstd" else None
        self._packer = _Packer(find, self.recent, level)
        self._executor = ThreadPoolExecutor(jobs, thread_name_prefix="ingest")
        self._in_flight: deque[_Block] = deque()
        self._free: list[memoryview] = []
        self._block_size = max(BLOCK_SIZE, 4 * store.configuration.chunker.max_size)
        self._may_allocate = jobs * 2 + 2
        self._current: _Block | None = None

    @property
    def _block(self) -> _Block:
        """The block that is being filled; a run that reads nothing never needs one."""
        if self._current is None:
            if not self._free and self._may_allocate:
                self._may_allocate -= 1
                self._free.append(memoryview(bytearray(self._block_size)))
            while not self._free:
                self._collect()
            self._current = _Block(self._free.pop())
        return self._current

    @property
    def room(self) -> int:
        """Bytes free in the current block."""
        if len(self._block.pieces) >= _MOST_PIECES:
            return 0
        return self._block_size - self._block.used

    def space(self) -> memoryview:
        """Return the free end of the current block; :meth:`advance` says how much was used."""
        return self._block.view[self._block.used :]

    def advance(self, size: int) -> None:
        """Take ``size`` bytes of :meth:`space`."""
        self._block.used += size

    def add_chunk(self, build: FileBuild, end: int, start: int, stop: int) -> None:
        """Add a chunk that lies at ``start`` to ``stop`` of :meth:`space`, before :meth:`advance`.

        Args:
            build: Its file.
            end: Logical end in the file.
            start: First byte.
            stop: First byte behind.
        """
        base = self._block.used
        self._block.pieces.append((build, end, base + start, base + stop))

    def add_hole(self, build: FileBuild, end: int) -> None:
        """Add a hole that ends at ``end`` of the file."""
        self._block.pieces.append((build, end, -1, -1))

    def submit(self) -> None:
        """Send the current block to the workers and begin another."""
        block = self._current
        if block is None:
            return
        if not block.pieces:
            block.used = 0
            return
        spans = [(start, stop) for _, _, start, stop in block.pieces if start >= 0]
        block.future = self._executor.submit(self._packer.pack, block.view, spans)
        self._in_flight.append(block)
        self._current = None

    def drain(self) -> None:
        """Finish everything that was added."""
        self.submit()
        while self._in_flight:
            self._collect()

    def close(self) -> None:
        """Stop the threads; what is in flight is dropped."""
        self._executor.shutdown(cancel_futures=True)

    def _collect(self) -> None:
        block = self._in_flight.popleft()
        if block.future is None:
            return
        packed = block.future.result()
        number = 0
        touched: dict[int, FileBuild] = {}
        for build, end, start, stop in block.pieces:
            touched[id(build)] = build
            if start < 0:
                build.add_plain(HOLE, end)
                continue
            self._settle(packed, number, build, end, stop - start)
            number += 1
        for build in touched.values():
            build.write_parts(self._store)
        self._free.append(block.view)

    def _settle(self, packed: _Packed, number: int, build: FileBuild, end: int, size: int) -> None:
        digest = packed.digests[number]
        if digest is None:
            self.totals.zero_bytes += size
            build.add_plain(ZERO, end)
            return
        # Another block may have stored the same chunk since the worker looked.
        place = packed.places[number] or self.recent.get(digest)
        stored = packed.stored[number]
        if place is None and stored is not None:
            place = self.recent[digest] = self._store.append_chunk(
                stored,
                logical_size=size,
                digest=digest,
                compression=packed.compressions[number],
            )
            self.totals.new_chunks += 1
        else:
            self.totals.reused_bytes += size
        if place is None:
            msg = "a chunk was neither found nor packed"
            raise RuntimeError(msg)
        build.add_chunk(place, end, digest)
