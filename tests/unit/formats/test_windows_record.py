"""Records, stream maps, container headers and redirection tables of Windows."""

import random
import zlib

import numpy as np
import pytest

from rehydrate.errors import (
    ChunkMismatchError,
    CorruptMetadataError,
    FormatError,
    UnsupportedFormatError,
)
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.formats.windows import layout
from rehydrate.formats.windows.codec import codec
from rehydrate.formats.windows.container import (
    MAX_TABLE_SIZE,
    parse_container_header,
    parse_table,
    table_size,
)
from rehydrate.formats.windows.format import WINDOWS
from rehydrate.formats.windows.maps import decode_map
from rehydrate.formats.windows.record import WindowsDecoder, decode_copy, parse_header
from tests.windows_store.damage import (
    RECORD_FIELDS,
    reseal_header,
    reseal_record,
    reseal_table,
    set_field,
)
from tests.windows_store.encoders import encode
from tests.windows_store.structures import (
    HOTSPOT,
    LZNT1,
    XPRESS,
    XPRESS_HUFFMAN,
    Reference,
    container_header,
    data_record,
    digest_of,
    padding_record,
    record,
    redirection_table,
    smap_payload,
    stream_digest,
    stream_record,
)
from tests.windows_store.structures import (
    STREAM as KIND_STREAM,
)

TEXT = b"the quick brown fox jumps over the lazy dog. " * 9
DIGEST = digest_of(TEXT)
PLAIN = data_record(7, TEXT, digest=DIGEST)
MAP = smap_payload([Reference(n, 1, 0x5000 * n, 1, 60, DIGEST, 100) for n in range(1, 4)])
MAP_DIGEST = stream_digest(MAP)
STREAMED = stream_record(5, MAP, digest=MAP_DIGEST)


def id_of(value: object) -> str:
    return f"{zlib.crc32(value):08x}" if isinstance(value, bytes) else str(value)


def changed(data: bytes, field: str, value: int) -> bytes:
    return reseal_record(set_field(data, RECORD_FIELDS[field], value))


def decode(
    data: bytes, *, local_id: int = 7, size: int = len(TEXT), digest: bytes = DIGEST
) -> bytes:
    return bytes(WindowsDecoder(DATA).decode(memoryview(data), local_id, size, digest))


def decode_stream(data: bytes, *, size: int = len(MAP), digest: bytes = MAP_DIGEST) -> bytes:
    return bytes(WINDOWS.decoder(STREAM).decode(memoryview(data), 5, size, digest))


def test_fields_of_a_header() -> None:
    header = parse_header(PLAIN)
    assert (header.local_id, header.kind, header.header_size) == (7, 1, 0x58)
    assert (header.stored_size, header.compression, header.digest) == (len(TEXT), 0, DIGEST)
    assert header.size == len(PLAIN)
    assert parse_header(STREAMED).digest == MAP_DIGEST
    padding = parse_header(padding_record(0x1000))
    assert (padding.local_id, padding.kind, padding.header_size) == (0, 4, 0x30)
    assert (padding.digest, padding.size) == (b"", 0x1000)
    odd = parse_header(record(9, 1, bytes(8), b"of a kind that is not known"))
    assert (odd.kind, odd.digest, odd.compression) == (9, b"", 0)


@pytest.mark.parametrize("method", [LZNT1, XPRESS, XPRESS_HUFFMAN])
def test_payloads_of_all_codecs(method: int) -> None:
    packed = encode(method, TEXT)
    assert decode(data_record(7, packed, digest=DIGEST, compression=method)) == TEXT
    assert decode(PLAIN) == TEXT
    assert decode_stream(STREAMED) == MAP


def test_half_a_digest_is_enough_for_stream_maps_and_nothing_less() -> None:
    half = MAP_DIGEST[:16] + bytes(16)
    assert decode_stream(STREAMED, digest=half) == MAP
    for wrong in (bytes(32), MAP_DIGEST[:15] + b"x" + bytes(16), MAP_DIGEST[:31] + b"x"):
        with pytest.raises(ChunkMismatchError) as caught:
            decode_stream(STREAMED, digest=wrong)
        assert caught.value.code == "record.digest"
    with pytest.raises(ChunkMismatchError):
        decode(PLAIN, digest=DIGEST[:16] + bytes(16))


WRONG: list[tuple[str, bytes, str]] = [
    ("cut", PLAIN[:0x2F], "record.magic"),
    ("magic", changed(PLAIN, "magic", 0x5A5A5A5A), "record.magic"),
    ("header cut", PLAIN[:0x57], "record.header"),
    ("extension", set_field(PLAIN, RECORD_FIELDS["extension"], 0xFFFF), "record.header"),
    ("header checksum", set_field(PLAIN, (0x50, 8), 1), "record.header-crc"),
    ("major", changed(PLAIN, "major", 2), "record.version"),
    ("version check", changed(PLAIN, "version", 1), "record.version-check"),
    ("kind", changed(PLAIN, "kind", KIND_STREAM), "record.kind"),
    ("hotspot at its place", changed(PLAIN, "kind", HOTSPOT), "record.kind"),
    ("other header", reseal_record(record(1, 7, bytes(32) + DIGEST, TEXT)), "record.kind"),
    ("LocalId", changed(PLAIN, "local_id", 8), "record.local-id"),
    ("stored size", changed(PLAIN, "stored", 404), "record.size"),
    ("longer", PLAIN + b"more", "record.size"),
    ("digest in the header", changed(PLAIN, "digest", 5), "record.digest"),
    ("payload", PLAIN[:-1] + b"!", "record.payload-crc"),
    ("payload, sealed", reseal_record(PLAIN[:-1] + b"!"), "chunk.digest"),
]


@pytest.mark.parametrize(
    ("data", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_is_wrong_is_refused_by_name(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(data)
    assert caught.value.code == code


def test_a_newer_minor_version_is_read() -> None:
    newer = set_field(set_field(PLAIN, RECORD_FIELDS["minor"], 9), RECORD_FIELDS["version"], 0x109)
    assert decode(reseal_record(newer)) == TEXT


def test_sizes_and_methods_of_chunks() -> None:
    packed = data_record(7, encode(XPRESS, TEXT), digest=DIGEST, compression=XPRESS)
    for size in (len(TEXT) - 1, len(TEXT) + 1, 1):
        with pytest.raises(FormatError):
            decode(packed, size=size)
    with pytest.raises(UnsupportedFormatError):
        decode(changed(packed, "compression", 4))
    with pytest.raises(FormatError):
        decode(changed(packed, "compression", 0))
    assert decode(data_record(7, TEXT, digest=DIGEST, compression=XPRESS)) == TEXT, "stored plain"
    assert decode(changed(packed, "second_word", 0xFFFFFFFF)) == TEXT, "a word nobody understands"


def test_plain_text_that_is_as_long_as_what_it_decodes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    # As many stored as logical bytes, and still compressed: only the digest can tell.
    data = random.Random(1).randbytes(40) + bytes(16)
    packed = encode(XPRESS, data)
    exact = data[: len(data)]
    while len(packed) != len(exact):
        exact += b"\0" if len(packed) > len(exact) else random.Random(len(exact)).randbytes(3)
        packed = encode(XPRESS, exact)
    stored = data_record(7, packed, digest=digest_of(exact), compression=XPRESS)
    assert decode(stored, size=len(exact), digest=digest_of(exact)) == exact


def test_the_reference_decoder_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = data_record(7, encode(XPRESS, TEXT), digest=DIGEST, compression=XPRESS)
    name = "rehydrate.formats.windows.record.decompress"
    monkeypatch.setattr(name, lambda method, data, size: bytes(size))
    assert decode(packed) == TEXT
    assert codec.decompress_strictly(XPRESS, encode(XPRESS, TEXT), len(TEXT)) == TEXT


def test_sizes_of_stream_maps() -> None:
    with pytest.raises(ChunkMismatchError) as caught:
        decode_stream(STREAMED, size=len(MAP) + 64)
    assert caught.value.code == "record.size"
    assert f"expected {len(MAP) + 64}, found {len(MAP)}" in str(caught.value)
    with pytest.raises(ChunkMismatchError) as caught:
        decode_stream(STREAMED[:-1] + b"x")
    assert caught.value.code == "record.payload-crc"


def test_copies_are_accepted_by_their_digest() -> None:
    moved = memoryview(data_record(99, encode(XPRESS, TEXT), digest=DIGEST, compression=XPRESS))
    assert decode_copy(moved, DATA, len(TEXT), DIGEST) == TEXT
    behind = memoryview(bytes(moved) + b"what follows")
    assert decode_copy(behind, DATA, len(TEXT), DIGEST) == TEXT
    hot = memoryview(data_record(1, TEXT, digest=DIGEST, kind=HOTSPOT))
    assert decode_copy(hot, DATA, len(TEXT), DIGEST) == TEXT
    assert decode_copy(memoryview(STREAMED), STREAM, len(MAP), MAP_DIGEST) == MAP
    for data, kind in [
        (STREAMED, DATA),
        (PLAIN, STREAM),
        (padding_record(0x100), DATA),
        (PLAIN[:-1], DATA),
        (reseal_record(PLAIN[:-1] + b"!"), DATA),
        (changed(PLAIN, "major", 2), DATA),
        (b"", DATA),
    ]:
        assert decode_copy(memoryview(data), kind, len(TEXT), DIGEST) is None


def test_rows_of_a_stream_map() -> None:
    rows = WINDOWS.decode_map(MAP)
    assert rows["local_id"].tolist() == [1, 2, 3]
    assert rows["offset"].tolist() == [0x5000, 0xA000, 0xF000]
    assert rows["length"].tolist() == [60 + 0x58] * 3
    assert rows["end"].tolist() == [100, 200, 300]
    assert {row.tobytes() for row in rows["digest"]} == {DIGEST}
    assert len(decode_map(memoryview(MAP)[:8])) == 0
    newer = MAP[:5] + b"\x09" + MAP[6:]
    assert np.array_equal(decode_map(newer), rows)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "map.magic"),
        (MAP[:7], "map.magic"),
        (b"Smas" + MAP[4:], "map.magic"),
        (MAP[:4] + b"\2" + MAP[5:], "map.version"),
        (MAP[:-1], "map.size"),
        (MAP[:8] + MAP[16:], "map.size"),
        (set_field(MAP, (8 + 64 + 4, 4), 0), "map.container"),
        (set_field(MAP, (8 + 0x38, 4), 0xFFFFFFFF - 0x57), "map.chunk-size"),
    ],
    ids=id_of,
)
def test_what_is_no_stream_map(payload: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_map(payload)
    assert caught.value.code == code


def test_the_largest_chunk_of_a_map_does_not_wrap() -> None:
    rows = decode_map(set_field(MAP, (8 + 0x38, 4), 0xFFFFFFFF - 0x58))
    assert rows["length"].tolist() == [0xFFFFFFFF, 60 + 0x58, 60 + 0x58]


def header(sequence: int, **fields: int) -> bytes:
    values = {
        "container_id": 1,
        "generation": 1,
        "chunk_count": 3,
        "next_local_id": 4,
        "valid_length": 0x9000,
        "appended": 5,
    }
    return container_header(sequence=sequence, **(values | fields))


def pages(*copies: bytes) -> bytes:
    return b"".join(copy.ljust(0x1000, b"\0") for copy in copies)


def test_the_newest_valid_copy_of_a_header_counts() -> None:
    old, new = header(1, chunk_count=1), header(2)
    for copies in ((old, new, new), (new, old, old), (b"", new, old), (old, b"", new)):
        found = parse_container_header(pages(*copies))
        assert (found.sequence, found.chunks, found.next_local_id) == (2, 3, 4)
        assert found.copies == sum(bool(copy) for copy in copies)
        assert (found.valid_size, found.appended, found.backup_table) == (0x9000, 5, 0x4000)
        assert (found.container, found.generation, found.flags) == (1, 1, 0)


def test_copies_that_are_damaged_do_not_count() -> None:
    newest = set_field(header(3), (0x20, 4), 1)
    major = reseal_header(set_field(header(4), (4, 1), 2))
    magic = reseal_header(set_field(header(5), (0, 4), 0x12345678))
    assert parse_container_header(pages(newest, header(1), major)).sequence == 1
    assert parse_container_header(pages(magic, header(2))).sequence == 2
    assert parse_container_header(header(6)).sequence == 6
    for data in (b"", header(1)[:0x3F], pages(newest, major, magic), bytes(0x3000)):
        with pytest.raises(CorruptMetadataError) as caught:
            parse_container_header(data)
        assert caught.value.code == "container.header"


ENTRIES = [(3, 0x5000), (7, 0x9000), (0xFFFFFFFF, 0x6000)]
TABLE = redirection_table(ENTRIES, pages=False)


def test_places_in_a_table() -> None:
    table = parse_table(TABLE.ljust(0x2000, b"\0"))
    assert [table.place(number) for number in (3, 7, 0xFFFFFFFF)] == [0x5000, 0x9000, 0x6000]
    assert [table.place(number) for number in (0, 1, 4, 8, 0xFFFFFFFE)] == [None] * 5
    assert parse_table(redirection_table([])).place(1) is None
    assert table_size(TABLE) == len(TABLE)
    wrong_sum = set_field(TABLE, (0x10, 8), 5)
    resealed = wrong_sum[:0x18] + layout.crc64(wrong_sum[:0x18]).to_bytes(8, "little")
    assert parse_table(resealed + TABLE[0x20:]).place(7) == 0x9000, "nobody saw that sum"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "table.magic"),
        (TABLE[:0x1F], "table.magic"),
        (b"Cthr" + TABLE[4:], "table.magic"),
        (reseal_table(set_field(TABLE, (4, 1), 3)), "table.magic"),
        (set_field(TABLE, (8, 4), 2), "table.crc"),
        (reseal_table(set_field(TABLE, (0x0C, 4), 16)), "table.entries"),
        (reseal_table(set_field(TABLE, (8, 4), 0xFFFFFFFF)), "table.entries"),
        (reseal_table(set_field(TABLE, (8, 4), (1 << 22) + 1)), "table.entries"),
        (reseal_table(set_field(TABLE, (8, 4), 1 << 22)), "table.size"),
        (TABLE[:-1], "table.size"),
        (reseal_table(set_field(TABLE, (0x28, 4), 3)), "table.order"),
        (reseal_table(set_field(TABLE, (0x28, 4), 2)), "table.order"),
    ],
    ids=id_of,
)
def test_what_is_no_table(data: bytes, code: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_table(data)
    assert caught.value.code == code


def test_sizes_of_tables_have_a_limit() -> None:
    assert MAX_TABLE_SIZE == 0x20 + 8 * (1 << 22)
    assert table_size(reseal_table(set_field(TABLE, (8, 4), 1 << 22))) == MAX_TABLE_SIZE


def test_names_of_containers() -> None:
    assert layout.container_name(3, 0x10000) == "00000003.00010000.ccc"
    assert layout.parse_container_name("0000000A.FFFFFFFF.CCC") == (10, 0xFFFFFFFF)
    for name in (
        "00000003.00010000.ccc.tmp",
        "00000003.00010000.ccc\n",
        " 00000003.00010000.ccc",
        "0000003.00010000.ccc",
        "00000001.00000001.delete.log",
        "0000000\u0663.00010000.ccc",
        "",
    ):
        assert layout.parse_container_name(name) is None


def test_checksum_and_alignment() -> None:
    assert layout.crc64(b"123456789") == 0x87FF3F9B2B57C87B
    assert layout.crc64(b"") == layout.crc64(bytes(99)) == 0xFFFFFFFFFFFFFFFF
    assert [layout.align(n) for n in (0, 1, 7, 8, 9)] == [0, 8, 8, 8, 16]
    assert not layout.same_major(b"Smap", b"Smap")
    assert layout.same_major(b"Smap\1", b"Smap")
