"""Formats: what was written comes back, and any bytes get an answer."""

from collections.abc import Callable

import numpy as np
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.chunks import ROW_DTYPE, ChunkTable, Rows
from rehydrate.errors import FormatError, LimitError
from rehydrate.formats.detect import owner_of
from rehydrate.formats.maps import check_maps
from rehydrate.formats.native import layout
from rehydrate.formats.native.catalogue import (
    Manifest,
    decode_manifest,
    decode_segment,
    encode_manifest,
    encode_segment,
    is_entry_path,
    seal_manifest,
    tree_key,
    unseal_manifest,
)
from rehydrate.formats.native.container import (
    ContainerHeader,
    encode_header,
    load_json,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.properties import encode_properties, parse_properties
from rehydrate.formats.native.record import NativeDecoder, Place, encode_record, parse_header
from rehydrate.formats.native.repair import finder
from rehydrate.formats.native.stub import NativeStub, decode_stubs, encode_stub, parse_stub
from rehydrate.formats.walk import DATA, DIRECTORY, FILE, STREAM, SYMLINK, Limits, RecordRef
from tests.spec import native_reader
from tests.spec.small_store import ContainerWriter

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
POSITIVE = st.integers(0, 2**63 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
DIGESTS = st.binary(min_size=32, max_size=32)
WITHOUT_NUL = st.binary(min_size=1, max_size=40).filter(lambda text: b"\0" not in text)
XATTRS = st.dictionaries(WITHOUT_NUL, st.binary(max_size=60), max_size=6).map(
    lambda found: tuple(found.items())
)
PATHS = st.lists(WITHOUT_NUL.filter(is_entry_path), unique=True, max_size=12).map(
    lambda found: sorted(found, key=tree_key)
)


@st.composite
def rows(draw: st.DrawFn, most: int = 4) -> Rows:
    """Draw rows of one file that tile it."""
    sizes = draw(st.lists(st.integers(1, 1 << 20), max_size=most))
    table = np.zeros(len(sizes), ROW_DTYPE)
    table["end"] = np.cumsum(sizes)
    for row in table:
        kind = draw(st.integers(0, 2))
        row["local_id"] = kind
        if kind == 2:
            row["container"] = draw(st.integers(1, 2**32 - 1))
            row["generation"] = draw(st.integers(1, 2**32 - 1))
            row["length"] = draw(st.integers(1, 1 << 20))
            row["offset"] = draw(st.integers(0, 2**63 - 1 - int(row["length"])))
            row["digest"] = np.frombuffer(draw(DIGESTS), "V32")[0]
    return table


@st.composite
def stubs(draw: st.DrawFn) -> NativeStub:
    """Draw a stub of any kind."""
    kind = draw(st.sampled_from([FILE, DIRECTORY, SYMLINK]))
    table = draw(rows()) if kind == FILE else np.empty(0, ROW_DTYPE)
    return NativeStub(
        store=draw(st.uuids()),
        kind=kind,
        size=int(table["end"][-1]) if len(table) else 0,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(U32),
        gid=draw(U32),
        nlink=draw(U32),
        mtime_ns=draw(TIMES),
        ctime_ns=draw(TIMES),
        device=draw(U64),
        inode=draw(U64),
        link_group=draw(U64),
        inconsistent=draw(st.booleans()),
        digest=draw(DIGESTS),
        map_kind=layout.MAP_INLINE if len(table) else layout.MAP_NONE,
        rows=table,
        link_text=draw(WITHOUT_NUL) if kind == SYMLINK else b"",
        xattrs=draw(XATTRS),
    )


def fields(stub: NativeStub) -> dict[str, object]:
    names = [name for name in NativeStub.__annotations__ if name != "rows"]
    return {name: getattr(stub, name) for name in names} | {"rows": stub.rows.tobytes()}


@settings(deadline=None)
@given(st.lists(stubs(), max_size=5))
def test_stubs_come_back_one_by_one_and_together(drawn: list[NativeStub]) -> None:
    encoded = [encode_stub(stub) for stub in drawn]
    for stub, data in zip(drawn, encoded, strict=True):
        assert fields(parse_stub(data)) == fields(stub)
        assert native_reader.read_stub(data)["mtime"] == stub.mtime_ns
    table = decode_stubs(encoded, Limits())
    assert not table.errors
    assert not check_maps(ChunkTable(table.rows, table.row_ptr), table.size, Limits())
    assert table.mtime_ns.tolist() == [stub.mtime_ns for stub in drawn]
    assert table.link_group.tolist() == [stub.link_group for stub in drawn]
    assert table.rows.tobytes() == b"".join(stub.rows.tobytes() for stub in drawn)


@given(WITHOUT_NUL | st.just(b""), XATTRS)
def test_properties_come_back(text: bytes, xattrs: tuple[tuple[bytes, bytes], ...]) -> None:
    assert parse_properties(encode_properties(text, xattrs)) == (text, xattrs)


@settings(deadline=None)
@given(PATHS, st.data())
def test_segment_comes_back(paths: list[bytes], data: st.DataObject) -> None:
    if not paths:
        return
    columns = data.draw(st.lists(st.binary(max_size=30), min_size=len(paths), max_size=len(paths)))
    payload = encode_segment(paths, columns)
    assert decode_segment(payload) == (paths, columns)
    assert native_reader.read_segment(payload) == dict(zip(paths, columns, strict=True))


@settings(deadline=None)
@given(PATHS, st.binary(max_size=40), POSITIVE, st.integers(0, 1))
def test_manifest_comes_back(paths: list[bytes], source: bytes, number: int, flag: int) -> None:
    segments = np.zeros(len(paths), ROW_DTYPE)
    segments["container"] = segments["generation"] = segments["local_id"] = 1
    segments["length"] = 100
    segments["end"] = np.arange(1, len(paths) + 1)
    manifest = Manifest(
        version=max(number, 1),
        created_ns=number,
        parent=None,
        source=source,
        entries=len(paths),
        files=number,
        logical_bytes=number,
        new_bytes=number,
        partial=flag == 1,
        containers=(),
        segments=segments,
        first_paths=tuple(paths),
    )
    payload = encode_manifest(manifest)
    found = decode_manifest(unseal_manifest(seal_manifest(payload)))
    assert (found.source, found.first_paths, found.partial) == (source, tuple(paths), flag == 1)
    assert encode_manifest(found) == payload


@settings(deadline=None)
@given(
    st.builds(
        ContainerHeader,
        kind=st.sampled_from([DATA, STREAM]),
        store=st.uuids(),
        container=st.integers(1, 2**32 - 1),
        generation=st.integers(1, 2**32 - 1),
        salt=st.binary(min_size=16, max_size=16),
        compat=U64,
        read_compat=U64,
        created_ns=U64,
        capacity=POSITIVE,
        configuration=st.dictionaries(
            st.text(max_size=8),
            st.text(max_size=8) | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1),
            max_size=4,
        ),
        tombstone=st.booleans(),
    )
)
def test_container_header_comes_back(header: ContainerHeader) -> None:
    page = encode_header(header)
    assert parse_container_header(page) == header
    assert native_reader.read_header(page)["configuration"] == header.configuration


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=2000), st.integers(0, 1), U32, U32, POSITIVE)
def test_record_comes_back(
    data: bytes,
    compression: int,
    container: int,
    local_id: int,
    offset: int,
) -> None:
    place = Place(b"0123456789abcdef", container, 1, offset)
    stored = zstandard.ZstdCompressor().compress(data) if compression else data
    digest = blake3(data).digest()
    header = encode_record(
        place,
        layout.KIND_CHUNK,
        max(local_id, 1),
        stored,
        logical_size=len(data),
        digest=digest,
        compression=compression,
    )
    assert parse_header(header, place).length == len(header) + len(stored)
    record = memoryview(header + stored)
    assert NativeDecoder().decode(record, max(local_id, 1), len(data), digest) == data


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6), st.data())
def test_scanner_finds_all_records_however_it_is_fed(
    texts: list[bytes], data: st.DataObject
) -> None:
    writer = ContainerWriter(DATA, 1)
    refs = [writer.add_chunk(text) for text in texts]
    rest = memoryview(bytes(writer.data[layout.HEADER_SIZE :]))
    scanner = finder(refs)
    found: list[int] = []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += [number for number, _ in scanner.feed(rest[:size])]
        rest = rest[size:]
    assert sorted(found) == list(range(len(texts)))


PARSERS: list[Callable[[bytes], object]] = [
    parse_stub,
    parse_properties,
    decode_segment,
    decode_manifest,
    lambda data: decode_manifest(unseal_manifest(seal_manifest(data))),
    lambda data: parse_container_header(data.ljust(4096, b"\0")),
    lambda data: parse_header(data, Place(bytes(16), 1, 1, 4096)),
    lambda data: load_json(data, "text"),
    lambda data: NativeDecoder().decode(memoryview(data), 1, 10, bytes(32)),
    NATIVE.decode_map,
]
MAGICS = [b"", b"RHST\1\0", b"RHSG\1\0\0\0", b"RHMF\1\0\0\0", b"RHYDCONT\1\0", b"RHR1\x48\0", b"{"]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_any_bytes_get_an_answer(magic: bytes, data: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(magic + data)
        except (FormatError, LimitError) as error:
            assert error.code  # noqa: PT017 - not being raised is fine, too
    owner_of(magic + data)
    finder([RecordRef(DATA, 1, 1, 0, 100, 1, 28, data[:32].ljust(32))]).feed(memoryview(data))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_stubs_together_have_the_errors_that_they_have_alone(drawn: list[bytes]) -> None:
    data = [b"RHST\1\0" + one for one in drawn]
    table = decode_stubs(data, Limits())
    alone = [decode_stubs([one], Limits()) for one in data]
    assert sorted(table.errors) == [number for number, one in enumerate(alone) if one.errors]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=640), st.lists(st.integers(0, 10), max_size=6), POSITIVE)
def test_any_rows_get_a_verdict(data: bytes, counts: list[int], size: int) -> None:
    table = NATIVE.decode_map(data[: len(data) // 64 * 64])
    ptr = np.minimum(np.cumsum([0, *counts, len(table)]), len(table))
    sizes = np.full(len(ptr) - 1, size)
    found = check_maps(ChunkTable(table, ptr), sizes, Limits())
    assert all(0 <= file < len(sizes) for file in found)


@given(st.text(max_size=24) | st.from_regex(r"[0-9a-f]{8}\.[0-9a-f]{8}\.rhc", fullmatch=True))
def test_any_name_gets_an_answer(name: str) -> None:
    found = parse_container_name(name)
    assert found is None or f"{found[0]:08x}.{found[1]:08x}.rhc" == name
