"""Builds complete deduplication stores of Windows, strict by the description of the format.

A store in memory, and the same as a folder::

    store = WindowsStore()
    report = store.add_file(data, stub="2.1", chunks=50_000, compression=XPRESS, parts=2)
    report.stub, report.size, report.data  # the reparse buffer, and what a restore must give
    store.as_mapping()  # store path -> bytes of the container
    store.write(volume)  # volume/System Volume Information/Dedup/ChunkStore/{GUID}.ddp/...

Maintenance leaves older references stale, as on Windows::

    store.compact("Data", 1, 0x10000)  # next generation: other offsets, a redirection table
    store.compact("Stream", 0x10000, 2, keep_old=True)  # both generations are there

Lower steps are public, so that a test can make what no Windows writes: `add_chunk`, `add_map`,
`make_stub`, `container` (see also `tests.windows_store.damage`).
"""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final
from uuid import UUID

import attrs

from tests.windows_store.containers import Container
from tests.windows_store.encoders import encode
from tests.windows_store.shelf import Shelf
from tests.windows_store.structures import (
    HOTSPOT,
    NONE,
    Reference,
    data_record,
    digest_of,
    smap_payload,
    stream_digest,
    stream_record,
)
from tests.windows_store.stubs import FILE_TIME, stub_1_2, stub_2_1, stub_3_1

__all__ = ["FORMATS", "Chunk", "File", "WindowsStore"]

FORMATS: Final = ("1.2", "2.1", "3.1")
DEFAULT_GUID: Final = UUID("0F5E3C2A-8B7D-4E61-9A20-6C1D2E3F4A5B")
CLUSTER: Final = 4096


@attrs.frozen(kw_only=True)
class Chunk:
    """A piece of a file, and how it is stored.

    Attributes:
        data: Its logical bytes.
        method: Compression; a chunk that gets no smaller is stored plain.
        stored: Its stored bytes if they were made already.
        second_word: As in `data_record`.
    """

    data: bytes
    method: int = NONE
    stored: bytes | None = None
    second_word: int | None = None


@attrs.frozen(kw_only=True)
class File:
    """A deduplicated file.

    Attributes:
        stub: Its reparse buffer.
        data: What a restore must give.
        chunks: Where its chunks were stored.
        maps: Where its stream maps were stored.
        own: Allocated ranges of the stub itself, (offset, bytes), newer than the chunks.
    """

    stub: bytes
    data: bytes
    chunks: tuple[Reference, ...]
    maps: tuple[Reference, ...]
    own: tuple[tuple[int, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Size of the unnamed stream."""
        return len(self.data)

    def recalled(self, writes: Mapping[int, bytes], *, size: int | None = None) -> "File":
        """Return the file after somebody wrote into it: a partial recall.

        Args:
            writes: New bytes by offset; ranges grow to whole clusters, as they do on Windows.
            size: New size; None is as far as the writes reach. The stub stays as it is.
        """
        ends = [self.size, *(offset + len(data) for offset, data in writes.items())]
        size = max(ends) if size is None else size
        data = bytearray(self.data[:size].ljust(size, b"\0"))
        grown = range(self.size // CLUSTER * CLUSTER, size, CLUSTER) if size > self.size else ()
        clusters = set(grown)
        for offset, written in writes.items():
            data[offset : offset + len(written)] = written
            begin = offset // CLUSTER * CLUSTER
            clusters.update(range(begin, offset + len(written), CLUSTER))
        runs: list[list[int]] = []
        for begin in sorted(clusters):
            end = min(begin + CLUSTER, size)
            if runs and runs[-1][1] == begin:
                runs[-1][1] = end
            else:
                runs.append([begin, end])
        own = tuple((begin, bytes(data[begin:end])) for begin, end in runs)
        return attrs.evolve(self, data=bytes(data), own=own)


class WindowsStore(Shelf):
    """A chunk store, built file by file; its containers are those of `Shelf`."""

    def __init__(
        self,
        guid: UUID = DEFAULT_GUID,
        *,
        generation: int = 1,
        data_limit: int = 1 << 30,
        stream_limit: int = 1 << 30,
        dedupe: bool = True,
    ) -> None:
        """Begin an empty store.

        Args:
            guid: Its name.
            generation: Generation of new containers.
            data_limit: How long a ``Data`` container gets before the next is begun.
            stream_limit: The same of ``Stream`` containers.
            dedupe: Store equal chunks once.
        """
        super().__init__(
            guid, generation=generation, data_limit=data_limit, stream_limit=stream_limit
        )
        self._known: dict[bytes, Reference] | None = {} if dedupe else None

    def add_file(
        self,
        data: bytes,
        *,
        stub: str = "1.2",
        chunks: int | Sequence[int] = 65536,
        compression: int | Sequence[int] = NONE,
        parts: int = 1,
        short: bool = False,
    ) -> File:
        """Store a file.

        Args:
            data: Its bytes.
            stub: Format of its stub.
            chunks: Size of all chunks but the last, or the size of each.
            compression: How all chunks are stored, or how each is (repeated from the start).
            parts: In how many stream maps; format 1.2 has one.
            short: As in `stub_3_1`.

        Raises:
            ValueError: Sizes that are not those of the file, or more parts than chunks.
        """
        methods = [compression] if isinstance(compression, int) else list(compression)
        pieces = [
            Chunk(data=data[begin:end], method=methods[number % len(methods)])
            for number, (begin, end) in enumerate(pairwise(_borders(len(data), chunks)))
        ]
        return self.add_chunks(pieces, stub=stub, parts=parts, short=short, data=data)

    def add_chunks(
        self,
        chunks: Iterable[Chunk],
        *,
        stub: str = "1.2",
        parts: int = 1,
        short: bool = False,
        data: bytes | None = None,
    ) -> File:
        """Store a file that is given as chunks; arguments as in `add_file`."""
        chunks = list(chunks)
        places = [self.add_chunk(chunk) for chunk in chunks]
        maps = []
        begin = 0
        for left, right in pairwise(len(places) * part // parts for part in range(parts + 1)):
            if left == right and parts > 1:
                raise ValueError(f"{len(places)} chunks in {parts} parts")
            size = sum(place.size for place in places[left:right])
            maps.append(self.add_map(smap_payload(places[left:right], begin=begin), size))
            begin += size
        return File(
            stub=self.make_stub(maps, stub, short=short),
            data=b"".join(chunk.data for chunk in chunks) if data is None else data,
            chunks=tuple(places),
            maps=tuple(maps),
        )

    def add_chunk(self, chunk: Chunk, *, again: bool = False) -> Reference:
        """Store a chunk unless the store has it, and return where it is.

        Args:
            chunk: The chunk.
            again: Store it even if it is there.
        """
        digest = digest_of(chunk.data)
        if self._known is not None and not again and digest in self._known:
            return self._known[digest]
        method, stored = chunk.method, chunk.stored
        if stored is None:
            stored = encode(method, chunk.data) if method else chunk.data
            if len(stored) >= len(chunk.data):
                method, stored = NONE, chunk.data
        container = self.container_for("Data", 0x58 + len(stored))
        local_id = container.take_local_id()
        record = data_record(
            local_id, stored, digest=digest, compression=method, second_word=chunk.second_word
        )
        offset = container.append(local_id, record)
        place = Reference(
            local_id,
            container.id,
            offset,
            container.generation,
            len(stored),
            digest,
            len(chunk.data),
        )
        if self._known is not None:
            self._known[digest] = place
        return place

    def add_map(self, payload: bytes, size: int, *, digest: bytes | None = None) -> Reference:
        """Store a stream map and return where it is.

        Args:
            payload: The map, see `smap_payload`.
            size: Logical bytes of its part.
            digest: Its digest; None makes one.
        """
        digest = stream_digest(payload) if digest is None else digest
        container = self.container_for("Stream", 0x68 + len(payload))
        local_id = container.take_local_id()
        offset = container.append(local_id, stream_record(local_id, payload, digest=digest))
        return Reference(
            local_id, container.id, offset, container.generation, len(payload), digest, size
        )

    def make_stub(
        self,
        maps: Sequence[Reference],
        stub: str,
        *,
        size: int | None = None,
        time: int = FILE_TIME,
        short: bool = False,
        trailing: bytes = b"",
    ) -> bytes:
        """Return a stub for stream maps.

        Args:
            maps: Where they are.
            stub: Format of the stub.
            size: Size of the file if not that of the maps.
            time: Of optimization, as FILETIME.
            short: As in `stub_3_1`.
            trailing: More bytes in front of the checksum.

        Raises:
            ValueError: No such format, or it has no room for these maps.
        """
        if stub == "1.2":
            (only,) = maps
            return stub_1_2(self.guid, only, size=size, time=time, trailing=trailing)
        if stub == "2.1":
            return stub_2_1(self.guid, maps, size=size, time=time, trailing=trailing)
        if stub == "3.1":
            return stub_3_1(self.guid, maps, size=size, time=time, short=short, trailing=trailing)
        raise ValueError(f"no stub format {stub}")

    def compact(
        self,
        folder: str,
        container_id: int,
        generation: int,
        *,
        drop: Collection[int] = (),
        order: Sequence[int] | None = None,
        keep_old: bool = False,
    ) -> Container:
        """Compact as `Shelf.compact`; files that are added later refer to the new places."""
        moved = super().compact(
            folder, container_id, generation, drop=drop, order=order, keep_old=keep_old
        )
        if folder == "Data" and self._known is not None:
            for digest, place in list(self._known.items()):
                if place.container == container_id and place.local_id in moved.spots:
                    self._known[digest] = self.now(folder, place)
                elif place.container == container_id:
                    del self._known[digest]
        return moved

    def add_hotspot(self, place: Reference, *, kind: int = HOTSPOT) -> Reference:
        """Copy a data chunk into ``Hotspot``, with the header of a data chunk (inferred).

        Args:
            place: Where the chunk is.
            kind: Kind of the copy; what Windows writes was never seen.
        """
        source = self.container("Data", place.container, place.generation)
        record = source.record(place.local_id)
        container = self.container_for("Hotspot", len(record))
        local_id = container.take_local_id()
        compression, second = struct.unpack_from("<II", record, 0x20)
        copy = data_record(
            local_id,
            record[0x58:],
            digest=place.digest,
            compression=compression,
            second_word=second,
            kind=kind,
        )
        offset = container.append(local_id, copy)
        return place._replace(
            local_id=local_id,
            container=container.id,
            offset=offset,
            generation=container.generation,
        )


def _borders(size: int, chunks: int | Sequence[int]) -> list[int]:
    if isinstance(chunks, int):
        return [*range(0, size, chunks), size]
    borders = [0, *accumulate(chunks)]
    if borders[-1] != size:
        raise ValueError(f"chunks of {borders[-1]} bytes for a file of {size}")
    return borders
