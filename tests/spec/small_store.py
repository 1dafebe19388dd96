"""A small store in memory, written with the encoders of the native format and nothing else."""

import uuid
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import zstandard
from blake3 import blake3

from rehydrate.chunks import HOLE, ROW_DTYPE, ZERO, Rows
from rehydrate.formats.native import layout
from rehydrate.formats.native.catalogue import (
    ContainerState,
    Manifest,
    encode_manifest,
    encode_segment,
    manifest_name,
    seal_manifest,
)
from rehydrate.formats.native.container import (
    Commit,
    Configuration,
    ContainerHeader,
    container_path,
    encode_commit,
    encode_header,
)
from rehydrate.formats.native.record import encode_record, place_check
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DATA, DIRECTORY, STREAM, SYMLINK, RecordRef
from rehydrate.stores.layout import StoreConfiguration

STORE = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
CONFIGURATION: Configuration = StoreConfiguration(store=STORE).as_mapping()
T0 = 1_700_000_000_000_000_000


def make_row(**fields: int | bytes) -> Rows:
    """Return one row; fields that are not given are zero."""
    row = np.zeros(1, ROW_DTYPE)
    for name, value in fields.items():
        row[name] = np.frombuffer(value, "V32") if isinstance(value, bytes) else value
    return row


def zero_row(end: int) -> Rows:
    return make_row(local_id=ZERO, end=end)


def hole_row(end: int) -> Rows:
    return make_row(local_id=HOLE, end=end)


def row_of(ref: RecordRef, end: int) -> Rows:
    return make_row(
        container=ref.container,
        generation=ref.generation,
        offset=ref.offset,
        local_id=ref.local_id,
        length=ref.length,
        end=end,
        digest=ref.digest,
    )


class ContainerWriter:
    """One container that grows by records and commits."""

    def __init__(self, kind: str, number: int, generation: int = 1, salt: bytes = b"") -> None:
        self.header = ContainerHeader(
            kind=kind,
            store=STORE,
            container=number,
            generation=generation,
            salt=salt or bytes(range(16 * number, 16 * number + 16)),
            created_ns=T0,
            capacity=1 << 30,
            configuration=CONFIGURATION,
        )
        self.data = bytearray(encode_header(self.header))
        self.headers = b""
        self.last_commit: Commit | None = None
        self.last_commit_at = 0
        self.records = 0

    @property
    def path(self) -> str:
        return container_path(self.header.kind, self.header.container, self.header.generation)

    def add(self, kind: int, logical: bytes, stored: bytes | None = None) -> RecordRef:
        """Append a record; ``stored`` is its zstd frame if it is compressed."""
        offset, digest = len(self.data), blake3(logical).digest()
        self.records += 1
        header = encode_record(
            self.header.place(offset),
            kind,
            self.records,
            logical if stored is None else stored,
            logical_size=len(logical),
            digest=digest,
            compression=layout.COMPRESSION_NONE if stored is None else layout.COMPRESSION_ZSTD,
        )
        record = header + (logical if stored is None else stored)
        self.headers += header
        self.data += record.ljust(layout.align(len(record)), b"\0")
        return RecordRef(
            kind=self.header.kind,
            container=self.header.container,
            generation=self.header.generation,
            offset=offset,
            length=len(record),
            local_id=self.records,
            logical_size=len(logical),
            digest=digest,
        )

    def add_chunk(self, logical: bytes, *, compress: bool = False) -> RecordRef:
        stored = zstandard.ZstdCompressor(3).compress(logical) if compress else None
        return self.add(layout.KIND_CHUNK, logical, stored)

    def commit(self, *, sealed: bool = False) -> ContainerState:
        place = self.header.place(len(self.data))
        commit = Commit(
            store=STORE,
            container=self.header.container,
            generation=self.header.generation,
            sequence=1 if self.last_commit is None else self.last_commit.sequence + 1,
            valid_length=0,
            records=self.records,
            previous=self.last_commit_at,
            digest=blake3(self.headers).digest(),
            sealed=sealed,
        )
        self.data += encode_commit(place, commit)
        self.last_commit, self.last_commit_at = commit, place.offset
        self.headers = b""
        return ContainerState(
            kind=self.header.kind,
            container=self.header.container,
            generation=self.header.generation,
            valid_length=len(self.data),
            sequence=commit.sequence,
            digest=commit.digest.hex(),
        )


def tombstone(header: ContainerHeader, moved: Sequence[RecordRef | None]) -> bytes:
    """Return a tombstone: for each local id of the old container, where its record is now."""
    page = encode_header(attrs.evolve(header, tombstone=True))
    entries = b""
    for ref in moved:
        numbers = (
            (0, 0, 0, 0, 0)
            if ref is None
            else (ref.container, ref.generation, ref.offset, ref.length, ref.local_id)
        )
        checked = layout.TOMBSTONE_ENTRY.pack(*numbers, 0)[: layout.TOMBSTONE_CHECKED]
        place = header.place(len(page) + len(entries))
        entries += checked + place_check(place, checked).to_bytes(8, "little")
    return page + entries


@attrs.frozen(eq=False)
class SmallStore:
    """The files of a store by path, and what its one version holds.

    ``content`` has the bytes of regular files, the texts of links, and None for directories.
    """

    files: dict[str, bytes]
    content: dict[bytes, bytes | None]
    stubs: dict[bytes, bytes]
    map_parts: tuple[RecordRef, ...]


def _chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def make_store(*, compress: bool = False) -> SmallStore:
    """Build a store with files of every kind of map, two containers and a manifest."""
    data, stream = ContainerWriter(DATA, 1), ContainerWriter(STREAM, 2)
    hello = data.add_chunk(b"hello, world\n", compress=compress)
    large = b"".join(bytes([number]) * 50 for number in range(12))
    large_refs = [data.add_chunk(chunk, compress=compress) for chunk in _chunks(large, 100)]
    states = [data.commit()]

    rows = [row_of(ref, 100 * (n + 1)) for n, ref in enumerate(large_refs)]
    parts = [
        stream.add(layout.KIND_STREAM_MAP, np.concatenate(rows[:4]).tobytes()),
        stream.add(layout.KIND_STREAM_MAP, np.concatenate([*rows[4:], hole_row(5000)]).tobytes()),
    ]
    part_rows = np.concatenate([row_of(parts[0], 400), row_of(parts[1], 5000)])
    file_digest = blake3(large.ljust(5000, b"\0")).digest()
    sparse = np.concatenate(
        [row_of(hello, 13), zero_row(4096), hole_row(8192), row_of(hello, 8205)]
    )
    hello_text = b"hello, world\n"
    content: dict[bytes, bytes | None] = {
        b"dir": None,
        b"dir/empty": b"",
        b"dir/hello": hello_text,
        b"dir/large": large.ljust(5000, b"\0"),
        b"dir.txt": hello_text,
        b"link": b"dir/hello",
        b"sparse": hello_text.ljust(8192, b"\0") + hello_text,
        b"\xff name that is no UTF-8": hello_text,
    }

    def stub(**fields: object) -> bytes:
        return encode_stub(NativeStub(store=STORE, mtime_ns=T0, ctime_ns=T0 + 1, **fields))  # type: ignore[arg-type] # fields of the stub, as a test writes them

    small = {
        "size": 13,
        "map_kind": layout.MAP_INLINE,
        "rows": row_of(hello, 13),
        "digest": hello.digest,
    }
    stubs = {
        b"dir": stub(kind=DIRECTORY, mode=0o755),
        b"dir/empty": stub(digest=blake3(b"").digest()),
        b"dir/hello": stub(**small, nlink=2, link_group=7, xattrs=((b"user.note", b"greeting"),)),
        b"dir/large": stub(
            size=5000, map_kind=layout.MAP_PARTS, rows=part_rows, digest=file_digest
        ),
        b"dir.txt": stub(**small, nlink=2, link_group=7, mode=0o4755, uid=1000, gid=100),
        b"link": stub(kind=SYMLINK, mode=0o777, link_text=b"dir/hello"),
        b"sparse": stub(size=8205, map_kind=layout.MAP_INLINE, rows=sparse),
        b"\xff name that is no UTF-8": stub(**small, inconsistent=True),
    }
    paths = list(stubs)
    segments, firsts, done = [], [], 0
    for group in (paths[:5], paths[5:]):
        payload = encode_segment(group, [stubs[path] for path in group])
        done += len(group)
        segments.append(row_of(stream.add(layout.KIND_SEGMENT, payload), done))
        firsts.append(group[0])
    manifest = Manifest(
        version=1,
        created_ns=T0,
        parent=None,
        source=b"/home/\xff",
        entries=len(paths),
        files=6,
        logical_bytes=5000 + 8205 + 13 + 13,
        new_bytes=len(data.data),
        partial=False,
        containers=(*states, stream.commit()),
        segments=np.concatenate(segments),
        first_paths=tuple(firsts),
    )
    payload = encode_manifest(manifest)
    stream.add(layout.KIND_MANIFEST, payload)
    stream.commit()
    files = {
        data.path: bytes(data.data),
        stream.path: bytes(stream.data),
        f"versions/{manifest_name(1)}": seal_manifest(payload),
    }
    return SmallStore(files, content, stubs, tuple(parts))
