"""Small native stores in memory, built record by record through the encoders of the format.

Nothing here is random: the same calls make the same bytes. It is meant for tests, so a container
may be given any number and generation, records may refer to anything, and nothing is checked.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Final, Self, TypeAlias, TypedDict, Unpack

import attrs
import numpy as np
import zstandard
from blake3 import blake3

from rehydrate.chunks import HOLE, ROW_DTYPE, ZERO, Rows
from rehydrate.conformance.memory import MemoryStore
from rehydrate.formats.native.container import (
    Commit,
    Configuration,
    ContainerHeader,
    container_path,
    encode_commit,
    encode_header,
)
from rehydrate.formats.native.layout import (
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    KIND_CHUNK,
    KIND_STREAM_MAP,
    MAP_INLINE,
    MAP_NONE,
    MAP_PARTS,
    TOMBSTONE_CHECKED,
    TOMBSTONE_ENTRY,
    align,
)
from rehydrate.formats.native.record import encode_record, place_check
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DATA, DIRECTORY, STREAM, SYMLINK, RecordRef
from rehydrate.requests import RestoreRequest
from rehydrate.values import StoreId, StorePath

__all__ = ["STORE", "ContainerBuilder", "Gap", "Piece", "StubFields", "World", "rows_of"]

STORE: Final = uuid.UUID("52454859-4452-4154-4500-000000000001")
"""Identity of the stores built here unless another one is given."""

_CREATED: Final = 1_600_000_000_000_000_000
_CAPACITY: Final = 1 << 20
_CONFIGURATION: Final[Configuration] = {"compression": {"name": "zstd", "level": 3}}


class StubFields(TypedDict, total=False):
    """Fields of a stub that a test may choose; see ``NativeStub``."""

    mode: int
    uid: int
    gid: int
    nlink: int
    mtime_ns: int
    link_group: int
    xattrs: tuple[tuple[bytes, bytes], ...]


@attrs.frozen
class Gap:
    """A range of a file without stored bytes.

    Attributes:
        size: Bytes.
        hole: Whether nothing was allocated there at the source; otherwise it is a run of zeros.
    """

    size: int
    hole: bool = False


Piece: TypeAlias = RecordRef | Gap


class ContainerBuilder:
    """One container that grows record by record.

    Attributes:
        header: Its header page as a value.
        data: Its bytes so far, without a commit.
        refs: Its records, in order.
    """

    def __init__(
        self,
        kind: str,
        number: int,
        generation: int = 1,
        *,
        store: StoreId = STORE,
        capacity: int = _CAPACITY,
    ) -> None:
        """Begin with the header page.

        Args:
            kind: ``DATA`` or ``STREAM``.
            number: Container id.
            generation: Its generation.
            store: Identity of the store.
            capacity: What the header says; it bounds how far a record walk looks.
        """
        salt = blake3(f"{kind} {number} {generation}".encode()).digest(16)
        self.header = ContainerHeader(
            kind=kind,
            store=store,
            container=number,
            generation=generation,
            salt=salt,
            created_ns=_CREATED,
            capacity=capacity,
            configuration=_CONFIGURATION,
        )
        self.data = bytearray(encode_header(self.header))
        self.refs: list[RecordRef] = []
        self._headers = b""

    @property
    def path(self) -> StorePath:
        """Store path of the container."""
        return container_path(self.header.kind, self.header.container, self.header.generation)

    def chunk(self, logical: bytes, *, compress: bool = False) -> RecordRef:
        """Append a file chunk.

        Args:
            logical: Its bytes.
            compress: Store a zstd frame.

        Returns:
            Where it is.
        """
        stored = zstandard.ZstdCompressor(3).compress(logical) if compress else logical
        compression = COMPRESSION_ZSTD if compress else COMPRESSION_NONE
        return self._add(KIND_CHUNK, logical, stored, compression)

    def map_part(self, rows: Rows) -> RecordRef:
        """Append a stream-map record."""
        payload = rows.tobytes()
        return self._add(KIND_STREAM_MAP, payload, payload, COMPRESSION_NONE)

    def pad(self, size: int) -> Self:
        """Append bytes that nobody needs (a multiple of 8 keeps records aligned)."""
        self.data += bytes(size)
        return self

    def _add(self, kind: int, logical: bytes, stored: bytes, compression: int) -> RecordRef:
        offset, digest = len(self.data), blake3(logical).digest()
        local_id = len(self.refs) + 1
        header = encode_record(
            self.header.place(offset),
            kind,
            local_id,
            stored,
            logical_size=len(logical),
            digest=digest,
            compression=compression,
        )
        record = header + stored
        self.data += record.ljust(align(len(record)), b"\0")
        self._headers += header
        ref = RecordRef(
            kind=self.header.kind,
            container=self.header.container,
            generation=self.header.generation,
            offset=offset,
            length=len(record),
            local_id=local_id,
            logical_size=len(logical),
            digest=digest,
        )
        self.refs.append(ref)
        return ref

    def committed(self) -> bytes:
        """Return the whole container, ended by a commit."""
        commit = Commit(
            store=self.header.store,
            container=self.header.container,
            generation=self.header.generation,
            sequence=1,
            valid_length=0,
            records=len(self.refs),
            previous=0,
            digest=blake3(self._headers).digest(),
        )
        return bytes(self.data) + encode_commit(self.header.place(len(self.data)), commit)

    def tombstone(self, moved: Sequence[RecordRef | None]) -> bytes:
        """Return the file that stands in the container's place after a compaction.

        Args:
            moved: New place of each record, by local id from 1; ``None`` = gone.
        """
        page = encode_header(attrs.evolve(self.header, tombstone=True))
        entries = b""
        for ref in moved:
            place = self.header.place(len(page) + len(entries))
            new = (
                (0, 0, 0, 0, 0)
                if ref is None
                else (ref.container, ref.generation, ref.offset, ref.length, ref.local_id)
            )
            checked = TOMBSTONE_ENTRY.pack(*new, 0)[:TOMBSTONE_CHECKED]
            entries += checked + place_check(place, checked).to_bytes(8, "little")
        return page + entries


def rows_of(pieces: Iterable[Piece], start: int = 0) -> Rows:
    """Return the rows of a stream map.

    Args:
        pieces: What the file, or a part of it, is made of.
        start: Where the first piece begins in the file.
    """
    listed = list(pieces)
    rows = np.zeros(len(listed), ROW_DTYPE)
    end = start
    for row, piece in zip(rows, listed, strict=True):
        if isinstance(piece, Gap):
            end += piece.size
            row["local_id"] = HOLE if piece.hole else ZERO
        else:
            end += piece.logical_size
            row["container"], row["generation"] = piece.container, piece.generation
            row["offset"], row["length"] = piece.offset, piece.length
            row["local_id"] = piece.local_id
            row["digest"] = np.frombuffer(piece.digest, "V32")[0]
        row["end"] = end
    return rows


class World:
    """A store and what its files must be after a restore.

    Attributes:
        files: Bytes of each container, by store path; tests change them to do damage.
        expected: Content of each regular file, by target.
        requests: One request for each file, directory and link, in the order they were added.
    """

    def __init__(self, store: StoreId = STORE) -> None:
        """Begin empty."""
        self.store_id = store
        self.files: dict[StorePath, bytes] = {}
        self.expected: dict[str, bytes] = {}
        self.requests: list[RestoreRequest] = []
        self._builders: dict[tuple[str, int, int], ContainerBuilder] = {}
        self._logical: dict[bytes, bytes] = {}

    def data(self, number: int = 1, generation: int = 1) -> ContainerBuilder:
        """Return a data container, new or begun."""
        return self._builder(DATA, number, generation)

    def stream(self, number: int = 100, generation: int = 1) -> ContainerBuilder:
        """Return a container of stream maps, new or begun."""
        return self._builder(STREAM, number, generation)

    def _builder(self, kind: str, number: int, generation: int) -> ContainerBuilder:
        key = (kind, number, generation)
        if key not in self._builders:
            self._builders[key] = ContainerBuilder(kind, number, generation, store=self.store_id)
        return self._builders[key]

    def chunk(self, logical: bytes, number: int = 1, *, compress: bool = False) -> RecordRef:
        """Append a chunk to a data container."""
        self._logical[blake3(logical).digest()] = logical
        return self.data(number).chunk(logical, compress=compress)

    def content_of(self, pieces: Iterable[Piece]) -> bytes:
        """Return the bytes of a file made of these pieces; chunks must come from :meth:`chunk`."""
        return b"".join(
            bytes(piece.size) if isinstance(piece, Gap) else self._logical[piece.digest]
            for piece in pieces
        )

    def stub_of(self, pieces: Sequence[Piece], **fields: Unpack[StubFields]) -> bytes:
        """Return a stub with an inline map (at most four pieces)."""
        content = self.content_of(pieces)
        return self._encode(
            NativeStub(
                store=self.store_id,
                size=len(content),
                digest=blake3(content).digest(),
                map_kind=MAP_INLINE if pieces else MAP_NONE,
                rows=rows_of(pieces),
            ),
            fields,
        )

    def stub_with_parts(
        self, parts: Sequence[Sequence[Piece]], number: int = 100, **fields: Unpack[StubFields]
    ) -> bytes:
        """Return a stub whose map lies in a stream container, one record for each part."""
        stream = self.stream(number)
        refs: list[RecordRef] = []
        ends: list[int] = []
        size = 0
        for pieces in parts:
            rows = rows_of(pieces, size)
            size = int(rows["end"][-1])
            refs.append(stream.map_part(rows))
            ends.append(size)
        rows = rows_of(refs)
        rows["end"] = ends
        content = self.content_of(piece for pieces in parts for piece in pieces)
        stub = NativeStub(
            store=self.store_id,
            size=size,
            digest=blake3(content).digest(),
            map_kind=MAP_PARTS,
            rows=rows,
        )
        return self._encode(stub, fields)

    def _encode(self, stub: NativeStub, fields: StubFields) -> bytes:
        return encode_stub(attrs.evolve(attrs.evolve(stub, mtime_ns=_CREATED), **fields))

    def file(
        self, target: str, pieces: Sequence[Piece], **fields: Unpack[StubFields]
    ) -> RestoreRequest:
        """Add a file with an inline map.

        Args:
            target: Relative target path.
            pieces: At most four.
            **fields: Fields of the stub.
        """
        self.expected[target] = self.content_of(pieces)
        return self._request(self.stub_of(pieces, **fields), target)

    def mapped_file(
        self,
        target: str,
        parts: Sequence[Sequence[Piece]],
        number: int = 100,
        **fields: Unpack[StubFields],
    ) -> RestoreRequest:
        """Add a file whose map lies in stream container ``number``."""
        self.expected[target] = self.content_of(piece for pieces in parts for piece in pieces)
        return self._request(self.stub_with_parts(parts, number, **fields), target)

    def directory(self, target: str, mode: int = 0o755) -> RestoreRequest:
        """Add a directory."""
        stub = NativeStub(store=self.store_id, kind=DIRECTORY, mode=mode, mtime_ns=_CREATED)
        return self._request(encode_stub(stub), target)

    def symlink(self, target: str, text: bytes) -> RestoreRequest:
        """Add a symbolic link."""
        stub = NativeStub(
            store=self.store_id, kind=SYMLINK, mode=0o777, mtime_ns=_CREATED, link_text=text
        )
        return self._request(encode_stub(stub), target)

    def _request(self, stub: bytes, target: str) -> RestoreRequest:
        request = RestoreRequest(stub, target)
        self.requests.append(request)
        return request

    def move(self, number: int = 1) -> list[RecordRef]:
        """Compact a data container: its records go to the next generation, a tombstone stays.

        Returns:
            The new places, by local id from 1.
        """
        old = self.data(number)
        new = self.data(number, old.header.generation + 1)
        # The new container is laid out differently, so that no old offset is right by chance.
        new.chunk(b"a record that was not there before")
        moved = [new.chunk(self._logical[ref.digest]) for ref in old.refs]
        self.seal()
        self.files[old.path] = old.tombstone(moved)
        return moved

    def seal(self) -> Self:
        """Write all containers as they are now into :attr:`files`."""
        for builder in self._builders.values():
            self.files[builder.path] = builder.committed()
        return self

    def store(self) -> MemoryStore:
        """Return a vendor's store over the containers; sealed first if nothing was written yet."""
        if not self.files:
            self.seal()
        return MemoryStore(self.files)
