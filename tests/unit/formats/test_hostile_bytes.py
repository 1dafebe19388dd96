"""Every parser against every cut, every changed byte and every extreme number, raw and re-sealed.

A changed sample either is refused with an error of ours, or gives a value that does not contradict
itself; nothing else is raised, and no claim of the sample is believed when memory is asked for.
"""

import attrs
import numpy as np
import pytest
import zstandard
from blake3 import blake3

from rehydrate.chunks import ROW_DTYPE, ChunkTable, Rows
from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.maps import check_maps
from rehydrate.formats.native import layout
from rehydrate.formats.native.catalogue import (
    Manifest,
    decode_manifest,
    decode_segment,
    encode_manifest,
    encode_segment,
    seal_manifest,
    unseal_manifest,
)
from rehydrate.formats.native.container import (
    Commit,
    ContainerHeader,
    encode_header,
    parse_commit,
    parse_container_header,
)
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.record import (
    NativeDecoder,
    Place,
    RecordHeader,
    parse_header,
    place_check,
)
from rehydrate.formats.native.repair import finder, repair
from rehydrate.formats.native.stub import NativeStub, encode_stub, parse_stub
from rehydrate.formats.walk import DATA, Limits, Read, RecordRef, Scan
from rehydrate.values import MAX_OFFSET
from tests.spec.examples import make_examples
from tests.spec.small_store import ContainerWriter, hole_row, row_of, tombstone, zero_row
from tests.unit.formats.hostile import Parser, cut_short, fields_of, flipped, stretched, sweep

EXAMPLES = make_examples()
CONTAINER = ContainerWriter(DATA, 1).header
LIMITS = Limits()
AT = layout.HEADER_SIZE
TEXT = b"the quick brown fox jumps over the lazy dog. " * 4


def plain(data: bytes) -> bytes:
    """Re-seal what has no checksum of its own."""
    return data


def seal_page(page: bytes) -> bytes:
    return page[: layout.HEADER_DIGEST_AT] + blake3(page[: layout.HEADER_DIGEST_AT]).digest()


def settle_page(value: object, data: bytes) -> None:
    assert isinstance(value, ContainerHeader)
    assert parse_container_header(encode_header(value)) == value


def seal_header(data: bytes, offset: int = AT) -> bytes:
    """Recompute the check of a record."""
    if len(data) < layout.RECORD_SIZE:
        return data
    size = int.from_bytes(data[4:6], "little")
    checked = data[: layout.CHECKED_SIZE] + data[layout.RECORD_SIZE : size]
    check = place_check(CONTAINER.place(offset), checked).to_bytes(8, "little")
    return data[: layout.CHECKED_SIZE] + check + data[layout.RECORD_SIZE :]


def seal_record(data: bytes, offset: int = AT) -> bytes:
    """Recompute the CRC-64 of the payload and the check."""
    if len(data) < layout.RECORD_SIZE:
        return data
    size, stored = int.from_bytes(data[4:6], "little"), int.from_bytes(data[16:20], "little")
    crc = layout.crc64(data[size : size + stored]).to_bytes(8, "little")
    return seal_header(data[:56] + crc + data[64:], offset)


def parse_record(data: bytes) -> RecordHeader:
    return parse_header(data, CONTAINER.place(AT))


def settle_record(value: object, data: bytes) -> None:
    assert isinstance(value, RecordHeader)
    assert layout.RECORD_SIZE <= value.header_size <= len(data)
    assert max(value.stored_size, value.logical_size) <= layout.MAX_RECORD_SIZE
    assert value.step % 8 == 0
    assert value.step >= value.length


def parse_commit_record(data: bytes) -> Commit:
    offset = AT + 2 * 88
    header = parse_header(data, CONTAINER.place(offset))
    return parse_commit(header, data[header.header_size :], offset)


def settle_commit(value: object, data: bytes) -> None:
    assert isinstance(value, Commit)
    assert value.valid_length % layout.PAGE == 0
    assert value.previous < value.valid_length
    assert value.container
    assert value.generation
    assert value.sequence


def decode_record(data: bytes) -> bytes:
    """Decode as the engine does; the map row claims what the header of the sample does."""
    digest, logical_size = blake3(TEXT).digest(), len(TEXT)
    return bytes(NativeDecoder().decode(memoryview(data), 1, logical_size, digest))


def settle_decoded(value: object, data: bytes) -> None:
    assert value == TEXT


def seal_stub(data: bytes) -> bytes:
    if len(data) < layout.STUB_HEAD.size + 8:
        return data
    body = data[:8] + len(data).to_bytes(4, "little") + data[12:-8]
    return body + layout.crc64(body).to_bytes(8, "little")


def settle_stub(value: object, data: bytes) -> None:
    assert isinstance(value, NativeStub)
    again = encode_stub(value)
    assert encode_stub(parse_stub(again)) == again
    assert value.size <= LIMITS.file_size
    assert sum(len(name) + len(text) for name, text in value.xattrs) <= layout.MAX_XATTR_BYTES


def settle_segment(value: object, data: bytes) -> None:
    assert isinstance(value, tuple)
    assert encode_segment(*value) == data


def read_manifest(data: bytes) -> Manifest:
    return decode_manifest(unseal_manifest(data))


def settle_manifest(value: object, data: bytes) -> None:
    assert isinstance(value, Manifest)
    assert encode_manifest(decode_manifest(encode_manifest(value))) == encode_manifest(value)
    assert value.entries == (int(value.segments["end"][-1]) if len(value.segments) else 0)


def parse_rows(data: bytes) -> Rows:
    """Decode one stream map and judge its rows as those of a file of the sample's size."""
    rows = NATIVE.decode_map(data)
    table = ChunkTable(rows, np.array([0, len(rows)]))
    for error in check_maps(table, np.array([ROWS_END]), LIMITS).values():
        raise error
    return rows


def settle_rows(value: object, data: bytes) -> None:
    assert isinstance(value, np.ndarray)
    begin = 0
    for row in value:
        numbers = {name: int(row[name]) for name in ROW_DTYPE.names or () if name != "digest"}
        assert begin < numbers["end"] <= MAX_OFFSET
        if numbers["container"]:
            assert numbers["end"] - begin <= LIMITS.chunk_size
            assert numbers["offset"] + numbers["length"] <= MAX_OFFSET
            assert 0 < numbers["length"] <= LIMITS.chunk_size + (64 << 10)
        else:
            assert numbers["local_id"] < 2
            assert not numbers["generation"] + numbers["offset"] + numbers["length"]
            assert not any(row["digest"].tobytes())
        begin = numbers["end"]
    assert begin == ROWS_END


MOVED = RecordRef(
    kind=DATA,
    container=1,
    generation=1,
    offset=AT,
    length=85,
    local_id=1,
    logical_size=13,
    digest=bytes(32),
)


def follow_tombstone(data: bytes) -> tuple[object, ...]:
    """Let a repair walk follow the tombstone that these bytes are; return what it asks then."""
    walk = repair(MOVED)
    _, page, entry = next(walk)
    assert isinstance(page, Read)
    assert isinstance(entry, Read)
    answers = [data[read.offset : read.offset + read.size] for read in (page, entry)]
    return tuple(walk.send((b"", *answers)))


def settle_requests(value: object, data: bytes) -> None:
    assert isinstance(value, tuple)
    for request in value:
        if isinstance(request, Read):
            assert request.size == MOVED.length
            assert request.offset + request.size <= MAX_OFFSET
        if isinstance(request, Scan):
            assert request.end <= layout.MAX_CONTAINER


def seal_tombstone(data: bytes) -> bytes:
    if len(data) < AT + layout.TOMBSTONE_ENTRY.size:
        return data
    page, entry = seal_page(data[:AT]), data[AT : AT + layout.TOMBSTONE_CHECKED]
    salt, container = data[40:56], int.from_bytes(data[32:36], "little")
    place = Place(salt, container, int.from_bytes(data[36:40], "little"), AT)
    return page + entry + place_check(place, entry).to_bytes(8, "little") + data[AT + 32 :]


RECORDS = ContainerWriter(DATA, 1)
PLAIN_REF = RECORDS.add_chunk(TEXT)
RECORD = bytes(RECORDS.data[AT : AT + PLAIN_REF.length])
FRAMES = ContainerWriter(DATA, 1)
FRAME_REF = FRAMES.add_chunk(TEXT, compress=True)
FRAME = bytes(FRAMES.data[AT : AT + FRAME_REF.length])
MAP = np.concatenate(
    [row_of(PLAIN_REF, 180), zero_row(5000), hole_row(9000), row_of(FRAME_REF, 9180)]
)
ROWS_END = 9180
WITH_ROWS = encode_stub(
    attrs.evolve(
        parse_stub(EXAMPLES["stub-inline"]),
        size=ROWS_END,
        rows=MAP,
        xattrs=((b"user.a", b"1234567"), (b"user.b", b"")),
    )
)
_PROPERTY_AT = layout.STUB_HEAD.size + 4 * 64
MANIFEST_HEAD = fields_of(layout.MANIFEST)
ROW = [(0, 4), (4, 4), (8, 8), (16, 4), (20, 4), (24, 8)]
_ROWS_AT = layout.MANIFEST.size + int.from_bytes(EXAMPLES["manifest"][8:12], "little")
PARSERS = [
    Parser(
        "header-page",
        EXAMPLES["header"],
        parse_container_header,
        settle_page,
        seal_page,
        fields_of(layout.CONTAINER_HEADER),
    ),
    Parser(
        "record-header",
        RECORD[: layout.RECORD_SIZE],
        parse_record,
        settle_record,
        seal_header,
        fields_of(layout.RECORD),
    ),
    Parser(
        "commit",
        EXAMPLES["commit"],
        parse_commit_record,
        settle_commit,
        lambda data: seal_record(data, AT + 2 * 88),
        fields_of(layout.RECORD) + fields_of(layout.COMMIT, layout.RECORD_SIZE),
    ),
    Parser(
        "plain-record",
        RECORD,
        decode_record,
        settle_decoded,
        seal_record,
        fields_of(layout.RECORD),
        covered=False,
    ),
    Parser(
        "zstd-record",
        FRAME,
        decode_record,
        settle_decoded,
        seal_record,
        fields_of(layout.RECORD),
        covered=False,
    ),
    Parser(
        "inline-stub",
        WITH_ROWS,
        parse_stub,
        settle_stub,
        seal_stub,
        fields_of(layout.STUB_HEAD)
        + fields_of(layout.PROPERTY, _PROPERTY_AT)
        + fields_of(layout.XATTR, _PROPERTY_AT + layout.PROPERTY.size),
    ),
    Parser(
        "parts-stub",
        EXAMPLES["stub-parts"],
        parse_stub,
        settle_stub,
        seal_stub,
        fields_of(layout.STUB_HEAD) + [(layout.STUB_HEAD.size + at, size) for at, size in ROW],
    ),
    Parser(
        "link-stub",
        EXAMPLES["stub-link"],
        parse_stub,
        settle_stub,
        seal_stub,
        fields_of(layout.STUB_HEAD) + fields_of(layout.PROPERTY, layout.STUB_HEAD.size),
    ),
    Parser(
        "segment",
        EXAMPLES["segment"],
        decode_segment,
        settle_segment,
        plain,
        fields_of(layout.SEGMENT) + [(at, 4) for at in range(20, 36, 4)],
        covered=False,
    ),
    Parser(
        "manifest",
        EXAMPLES["manifest"],
        read_manifest,
        settle_manifest,
        lambda data: seal_manifest(data[:-32]),
        MANIFEST_HEAD + [(_ROWS_AT + at, size) for at, size in ROW] + [(_ROWS_AT + 64, 4)],
    ),
    Parser(
        "rows",
        MAP.tobytes(),
        parse_rows,
        settle_rows,
        plain,
        [(64 * number + at, size) for number in range(4) for at, size in ROW],
        covered=False,
    ),
    Parser(
        "tombstone",
        tombstone(CONTAINER, [attrs.evolve(PLAIN_REF, length=MOVED.length, generation=2)]),
        follow_tombstone,
        settle_requests,
        seal_tombstone,
        fields_of(layout.CONTAINER_HEADER) + fields_of(layout.TOMBSTONE_ENTRY, AT),
        covered=False,
    ),
]
each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


@each_parser
def test_sample_is_accepted_and_stays_the_same_when_sealed_again(parser: Parser) -> None:
    assert parser.answer(parser.sample)
    assert parser.reseal(parser.sample) == parser.sample


@each_parser
def test_each_cut(parser: Parser) -> None:
    accepted, asked = sweep(parser, cut_short(parser.sample))
    assert asked == len(parser.sample)
    assert accepted == 0 or not parser.covered
    sweep(parser, map(parser.reseal, cut_short(parser.sample)))


@pytest.mark.slow
@each_parser
def test_each_changed_byte(parser: Parser) -> None:
    accepted, asked = sweep(parser, flipped(parser.sample))
    assert asked == 3 * len(parser.sample)
    assert accepted == 0 or not parser.covered
    sweep(parser, map(parser.reseal, flipped(parser.sample)))


@each_parser
def test_each_extreme_number(parser: Parser) -> None:
    accepted, asked = sweep(parser, stretched(parser.sample, parser.fields))
    assert asked > 5 * len(parser.fields)
    assert accepted == 0 or not parser.covered
    sweep(parser, map(parser.reseal, stretched(parser.sample, parser.fields)))


@each_parser
def test_bytes_behind_the_end(parser: Parser) -> None:
    sweep(parser, (parser.reseal(parser.sample + bytes(n)) for n in (1, 7, 8, 64, 4096)))


SCANNED = bytes(RECORDS.data[AT:])
WANTED = [PLAIN_REF, attrs.evolve(PLAIN_REF, digest=bytes(32))]


def scan(data: bytes, block: int = 64) -> list[tuple[int, bytes]]:
    scanner = finder(WANTED)
    found: list[tuple[int, bytes]] = []
    for at in range(0, len(data), block):
        found += scanner.feed(memoryview(data[at : at + block]))
    return found


def settle_scan(value: object, data: bytes) -> None:
    assert isinstance(value, list)
    for number, record in value:
        assert number == 0
        local_id = int.from_bytes(record[12:16], "little")
        NativeDecoder().decode(memoryview(record), local_id, len(TEXT), PLAIN_REF.digest)


def test_scanner_gives_a_record_with_the_right_bytes_or_none() -> None:
    fields = fields_of(layout.RECORD)
    scanner = Parser("scanner", SCANNED, scan, settle_scan, seal_record, fields, covered=False)
    assert scan(SCANNED) == [(0, RECORD)]
    for samples in (cut_short(SCANNED), flipped(SCANNED), stretched(SCANNED, fields)):
        accepted, asked = sweep(scanner, samples)
        assert accepted == asked


def frame_of(data: bytes, *, write_content_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(3, write_content_size=write_content_size).compress(data)


SKIPPABLE = bytes.fromhex("502a4d18 04000000 61626364")
HUGE = frame_of(bytes(1 << 30))
# A single segment of a claimed size, one run-length block that makes 10 bytes, and it is the last.
CLAIMS = {
    "1 TiB": bytes.fromhex("28b52ffd e0 0000000000010000 530000 41"),
    "181 bytes": bytes.fromhex("28b52ffd 20 b5 530000 41"),
    "179 bytes": bytes.fromhex("28b52ffd 20 b3 530000 41"),
    "180 bytes and makes 10": bytes.fromhex("28b52ffd 20 b4 530000 41"),
    "180 bytes and makes 2 MiB": bytes.fromhex("28b52ffd 20 b4 030010 41"),
    "180 bytes with a window of 1 GiB": bytes.fromhex("28b52ffd 80 a0 b4000000 530000 41"),
    "a dictionary": bytes.fromhex("28b52ffd 21 07 b4 530000 41"),
}


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(frame_of(TEXT, write_content_size=False), id="no size"),
        pytest.param(frame_of(TEXT) + frame_of(TEXT), id="two frames"),
        pytest.param(frame_of(TEXT[:90]) + frame_of(TEXT[90:]), id="two halves"),
        pytest.param(frame_of(TEXT) + SKIPPABLE, id="skippable behind"),
        pytest.param(SKIPPABLE + frame_of(TEXT), id="skippable before"),
        pytest.param(SKIPPABLE, id="skippable only"),
        pytest.param(frame_of(TEXT) + b"\0", id="a byte behind"),
        pytest.param(frame_of(TEXT)[:-1], id="cut short"),
        pytest.param(frame_of(TEXT)[4:], id="no magic"),
        pytest.param(frame_of(TEXT[::-1]), id="other bytes"),
        pytest.param(HUGE, id="1 GiB of zeros"),
        *(pytest.param(frame, id=f"claims {claim}") for claim, frame in CLAIMS.items()),
    ],
)
def test_zstd_frame_that_lies_is_refused_in_little_memory(frame: bytes) -> None:
    writer = ContainerWriter(DATA, 1)
    ref = writer.add(layout.KIND_CHUNK, TEXT, frame)
    record = bytes(writer.data[AT : AT + ref.length])
    lies = Parser("zstd", record, decode_record, settle_decoded, plain, (), covered=False)
    accepted, _ = sweep(lies, [record])
    assert not accepted


def windowed(window: int) -> tuple[memoryview, bytes]:
    """Return a record with a frame of that window, and its digest."""
    # Content size in four bytes, a window, one run-length block of 180 times "A".
    frame = bytes.fromhex("28b52ffd 80") + bytes([window]) + bytes.fromhex("b4000000 a30500 41")
    assert zstandard.ZstdDecompressor().decompress(frame) == b"A" * 180
    writer = ContainerWriter(DATA, 1)
    ref = writer.add(layout.KIND_CHUNK, b"A" * 180, frame)
    return memoryview(bytes(writer.data[AT : AT + ref.length])), ref.digest


@pytest.mark.parametrize(
    "window", [pytest.param(0x70, id="16 MiB"), pytest.param(0x69, id="9 MiB")]
)
def test_zstd_window_that_the_binding_would_accept_is_refused(window: int) -> None:
    record, digest = windowed(window)
    with pytest.raises(ChunkMismatchError, match="too much memory"):
        NativeDecoder().decode(record, 1, 180, digest)


def test_largest_zstd_window_is_accepted() -> None:
    record, digest = windowed(0x68)
    assert NativeDecoder().decode(record, 1, 180, digest) == b"A" * 180


@pytest.mark.parametrize("level", [1, 19])
def test_zstd_window_as_large_as_its_content_is_accepted(level: int) -> None:
    data = bytes(9 << 20)
    writer = ContainerWriter(DATA, 1)
    ref = writer.add(layout.KIND_CHUNK, data, zstandard.ZstdCompressor(level).compress(data))
    record = memoryview(bytes(writer.data[AT : AT + ref.length]))
    assert NativeDecoder().decode(record, 1, len(data), ref.digest) == data
