"""Stubs of Windows: what is read from them, and what is refused with which code."""

import struct
import uuid
import zlib

import pytest

from rehydrate.errors import CorruptMetadataError, FormatError, LimitError, UnsupportedFormatError
from rehydrate.formats.detect import format_of, owner_of
from rehydrate.formats.walk import FILE, Limits
from rehydrate.formats.windows.format import WINDOWS, WindowsFormat
from rehydrate.formats.windows.stub import parse_stub, store_key
from rehydrate.values import MAX_OFFSET
from tests.windows_store.damage import reseal_stub, set_field
from tests.windows_store.structures import Reference
from tests.windows_store.stubs import (
    FILE_TIME,
    frame,
    property_block,
    stub_1_2,
    stub_2_1,
    stub_3_1,
    symlink_buffer,
)

GUID = uuid.UUID("0F5E3C2A-8B7D-4E61-9A20-6C1D2E3F4A5B")
DIGEST = bytes(range(32))
ONE = Reference(3, 0x10000, 0x5260, 7, 8 + 64 * 2, DIGEST, 90_593)
TWO = Reference(9, 0x20000, 0x6000, 1, 8 + 64, DIGEST[::-1], 50_000)
STUBS = {
    "1.2": stub_1_2(GUID, ONE),
    "2.1": stub_2_1(GUID, [ONE, TWO]),
    "3.1": stub_3_1(GUID, [ONE, TWO]),
    "3.1 short": stub_3_1(GUID, [ONE], short=True),
}
INFO = {"1.2": 0x40, "2.1": 0x9C, "3.1": 0x148}


def changed(stub: bytes, at: int, width: int, value: int) -> bytes:
    return reseal_stub(set_field(stub, (at, width), value))


def with_end(stub: bytes) -> bytes:
    """Set the lengths of a stub to those of its bytes, and its checksum."""
    size = (len(stub) - 8).to_bytes(2, "little")
    return reseal_stub(stub[:4] + size + stub[6:10] + size + stub[12:])


@pytest.mark.parametrize("name", STUBS)
def test_fields_of_all_formats(name: str) -> None:
    stub = parse_stub(STUBS[name])
    assert (".".join(map(str, stub.version)), stub.store) == (name[:3], GUID)
    assert stub.optimized == FILE_TIME
    assert not stub.recall_sign
    first = stub.parts[0]
    assert (first.local_id, first.container, first.offset) == ONE[:3]
    assert (first.generation, first.size) == (7, 136)
    assert (first.begin, first.end) == (0, 90_593)
    if name == "1.2":
        assert first.digest == DIGEST
    else:
        assert first.digest == DIGEST[:16] + bytes(16)
    if name in ("2.1", "3.1"):
        assert (stub.parts[1].begin, stub.parts[1].end) == (90_593, 140_593)
        assert stub.parts[1].container == 0x20000
    assert stub.size == stub.stated_size == stub.parts[-1].end


@pytest.mark.parametrize("name", STUBS)
def test_bytes_behind_the_stated_length_are_ignored(name: str) -> None:
    assert parse_stub(STUBS[name] + b"rounded up") == parse_stub(STUBS[name])
    assert store_key(STUBS[name] + b"rounded up") == GUID.bytes


@pytest.mark.parametrize("name", ["2.1", "3.1"])
def test_parts_are_put_in_file_order(name: str) -> None:
    stub = STUBS[name]
    at = INFO[name]
    first, second = stub[at : at + 64], stub[at + 64 : at + 128]
    swapped = stub[:at] + second + first + stub[at + 128 :]
    assert parse_stub(reseal_stub(swapped)).parts == parse_stub(stub).parts


BAD: list[tuple[str, bytes, str]] = [
    ("no head", STUBS["1.2"][:11], "stub.length"),
    ("tag", set_field(STUBS["1.2"], (0, 4), 0xA000000C), "stub.tag"),
    ("length", set_field(STUBS["1.2"], (4, 2), 0x7B), "stub.length"),
    ("second length", set_field(STUBS["1.2"], (10, 2), 0x7B), "stub.length"),
    ("cut off", STUBS["2.1"][:-1], "stub.length"),
    ("too short", frame((1, 2), b"")[:15], "stub.length"),
    ("checksum", STUBS["3.1"][:-1] + b"x", "stub.crc"),
    ("major", frame((4, 1), STUBS["1.2"][12:-4]), "stub.format"),
    ("minor", frame((1, 1), STUBS["1.2"][12:-4]), "stub.format"),
    ("1.2: empty", frame((1, 2), b""), "stub.field"),
    ("1.2: place of the map", changed(STUBS["1.2"], 0x30, 2, 0x3C), "stub.layout"),
    ("1.2: two maps", changed(STUBS["1.2"], 0x32, 2, 0x80), "stub.layout"),
    ("1.2: no size", changed(STUBS["1.2"], 0x10, 8, 0), "stub.parts"),
    ("2.1: no rows", changed(STUBS["2.1"], 0x0C, 4, 8), "stub.field"),
    ("2.1: rows", changed(STUBS["2.1"], 0x0C, 4, 65), "stub.field"),
    ("2.1: rows outside", changed(STUBS["2.1"], 0x0C, 4, 64), "stub.field"),
    ("2.1: guid of 15", changed(STUBS["2.1"], 0x34, 2, 15), "stub.field"),
    ("2.1: time of 4", changed(STUBS["2.1"], 0x3C, 2, 4), "stub.field"),
    ("2.1: no maps", changed(STUBS["2.1"], 0x54, 2, 0), "stub.parts"),
    ("2.1: odd maps", changed(STUBS["2.1"], 0x54, 2, 65), "stub.parts"),
    ("2.1: maps outside", changed(STUBS["2.1"], 0x56, 2, 0xFFFF), "stub.field"),
    ("2.1: a gap", changed(STUBS["2.1"], 0x9C + 64 + 0x38, 8, 90_594), "stub.parts"),
    ("2.1: an overlap", changed(STUBS["2.1"], 0x9C + 64 + 0x38, 8, 90_592), "stub.parts"),
    ("2.1: not from 0", changed(STUBS["2.1"], 0x9C + 0x38, 8, 1), "stub.parts"),
    ("2.1: empty part", changed(STUBS["2.1"], 0x9C + 64 + 0x30, 8, 90_593), "stub.parts"),
    ("2.1: container 0", changed(STUBS["2.1"], 0x9C + 4, 4, 0), "stub.parts"),
    ("1.2: LocalId 0", changed(STUBS["1.2"], 0x40, 4, 0), "stub.parts"),
    ("3.1: magic", changed(STUBS["3.1"], 0x0C, 4, 0), "stub.block"),
    ("3.1: block length", changed(STUBS["3.1"], 0x14, 4, 15), "stub.block"),
    ("3.1: block outside", changed(STUBS["3.1"], 0x14, 4, 0x200), "stub.field"),
    ("3.1: elements outside", changed(STUBS["3.1"], 0x1A, 2, 0xFFFF), "stub.field"),
    ("3.1: too few elements", changed(STUBS["3.1"], 0x1A, 2, 8), "stub.block"),
    ("3.1: size of 4", changed(STUBS["3.1"], 0x3E, 2, 4), "stub.block"),
    ("3.1: element outside", changed(STUBS["3.1"], 0x60, 4, 0x7FFFFFFF), "stub.field"),
    ("3.1: no RbRp", changed(STUBS["3.1"], 0x58, 4, 0), "stub.block"),
    ("3.1: first map", changed(STUBS["3.1"], INFO["3.1"], 4, 99), "stub.first-map"),
]


@pytest.mark.parametrize(("stub", "code"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_wrong_is_refused_by_name(stub: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_stub(stub)
    assert caught.value.code == code
    table = WINDOWS.decode_stubs([STUBS["1.2"], stub], Limits())
    assert {index: error.code for index, error in table.errors.items()} == {1: code}
    assert table.row_ptr.tolist() == [0, 1, 1]


def test_checksums_of_blocks_are_their_own() -> None:
    for magic in (b"FeRp", b"DdRp"):
        spoilt = bytearray(STUBS["3.1"])
        spoilt[spoilt.find(magic) + 4] ^= 1
        if magic == b"DdRp":  # also inside the outer block
            outer = bytes(spoilt)
            length = int.from_bytes(outer[0x14:0x18], "little")
            crc = zlib.crc32(outer[0x14 : 0x0C + length])
            spoilt[0x10:0x14] = crc.to_bytes(4, "little")
        end = len(spoilt) - 4
        spoilt[end:] = zlib.crc32(spoilt[8:end]).to_bytes(4, "little")
        with pytest.raises(
            CorruptMetadataError, match=f"CRC-32 of property block {magic.decode()}"
        ) as caught:
            parse_stub(bytes(spoilt))
        assert caught.value.code == "stub.block-crc"


def test_a_failure_says_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_stub(set_field(STUBS["1.2"], (0x80, 4), 5))
    assert "expected 0x00000005, found 0x" in str(caught.value)
    with pytest.raises(
        UnsupportedFormatError, match=r"4\.1 is not known; known are 1\.2, 2\.1 and 3\.1"
    ):
        parse_stub(frame((4, 1), STUBS["1.2"][12:-4]))


def test_signs_of_recalled_data() -> None:
    signs = {
        "1.2": changed(STUBS["1.2"], 0x36, 2, 8),
        "3.1": stub_3_1(GUID, [ONE], bitmap_kind=1),
        "grown": stub_3_1(GUID, [ONE], size=100_000),
    }
    for stub in signs.values():
        assert parse_stub(stub).recall_sign
    row = 0x10 + 8 * 9
    bitmap = set_field(STUBS["2.1"], (row + 4, 2), 8)
    assert parse_stub(reseal_stub(bitmap)).recall_sign
    assert not parse_stub(stub_3_1(GUID, [ONE], size=80_000)).recall_sign
    assert parse_stub(signs["grown"]).stated_size == 100_000


def test_format_2_1_with_nine_rows_has_no_bitmap() -> None:
    stub = changed(STUBS["2.1"], 0x0C, 4, 9)
    assert not parse_stub(stub).recall_sign


def test_recall_block_of_3_1_may_be_short_or_have_a_bitmap() -> None:
    short = changed(STUBS["3.1"], 0x94 + 0x0E, 2, 6)
    assert not parse_stub(short).recall_sign
    element = 0x94 + 0x10 + 8 * 6
    bitmap = set_field(STUBS["3.1"], (element + 2, 2), 4)
    assert parse_stub(reseal_stub(bitmap)).recall_sign


def test_the_store_of_a_stub() -> None:
    for stub in STUBS.values():
        assert store_key(stub) == GUID.bytes
        owner = owner_of(stub)
        assert owner is not None
        assert (owner.name, owner.store_id) == ("windows", GUID)
        path = format_of(owner).container_path("Data", 1, 0x10000)
        assert path == (
            "System Volume Information/Dedup/ChunkStore/"
            "{0F5E3C2A-8B7D-4E61-9A20-6C1D2E3F4A5B}.ddp/Data/00000001.00010000.ccc"
        )


def test_what_is_no_stub_has_no_store() -> None:
    for other in (b"", b"\x13\0\0\x80", symlink_buffer("there"), bytes(200)):
        assert store_key(other) is None
        assert owner_of(other) is None


def test_a_damaged_stub_is_still_a_stub() -> None:
    cut = struct.pack("<IHHBBH", 0x80000013, 4, 0, 1, 2, 4)
    for stub in (
        cut,
        cut[:8] + b"\2" + cut[9:],
        cut[:8] + b"\3" + cut[9:],
        cut[:8] + b"\x09" + cut[9:],
    ):
        assert store_key(stub + bytes(9)) == bytes(16)
    wrong = changed(STUBS["2.1"], 0x34, 2, 3)
    assert store_key(wrong) == bytes(16)


def test_stubs_become_columns() -> None:
    table = WindowsFormat(GUID.bytes).decode_stubs([STUBS["1.2"], b"", STUBS["2.1"]], Limits())
    assert set(table.errors) == {1}
    assert table.kind.tolist() == [FILE, 0, FILE]
    assert table.size.tolist() == [90_593, 0, 140_593]
    assert table.row_ptr.tolist() == [0, 1, 1, 3]
    assert table.in_parts.tolist() == [True, False, True]
    assert table.rows["length"].tolist() == [136 + 0x68, 136 + 0x68, 72 + 0x68]
    assert table.rows["end"].tolist() == [90_593, 90_593, 140_593]
    assert table.rows["digest"][0].tobytes() == DIGEST
    assert not table.recall_sign.any()
    none = WINDOWS.decode_stubs([], Limits())
    assert len(none.rows) == 0


@pytest.mark.parametrize(
    ("stub", "limits"),
    [
        (STUBS["1.2"], Limits(file_size=90_592)),
        (changed(STUBS["1.2"], 0x10, 8, MAX_OFFSET + 1), Limits(file_size=1 << 64)),
        (STUBS["2.1"], Limits(map_record=135)),
        (changed(STUBS["1.2"], 0x58, 4, 0xFFFFFFFF), Limits(map_record=1 << 40)),
    ],
)
def test_numbers_beyond_a_limit(stub: bytes, limits: Limits) -> None:
    error = WINDOWS.decode_stubs([stub], limits).errors[0]
    assert isinstance(error, LimitError)


def test_limits_are_inclusive() -> None:
    table = WINDOWS.decode_stubs([STUBS["1.2"]], Limits(file_size=90_593, map_record=136))
    assert not table.errors


def test_faces_of_the_format() -> None:
    assert WINDOWS.name == "windows"
    assert WINDOWS.has_recall
    assert WINDOWS.map_overhead == 0x68
    assert WINDOWS.digest(b"abc").hex().startswith("ddaf35a193617abacc417349ae204131")
    assert len(WINDOWS.digest(b"")) == 32


def test_a_block_of_another_kind_with_flags_is_read() -> None:
    # Cloud Files set flags in blocks of the same layout; nothing depends on them.
    block = property_block(b"FeRp", [(7, b"\1")], flags=2)
    with pytest.raises(CorruptMetadataError) as caught:
        parse_stub(frame((3, 1), block))
    assert caught.value.code == "stub.block"
    assert with_end(STUBS["1.2"]) == STUBS["1.2"]
