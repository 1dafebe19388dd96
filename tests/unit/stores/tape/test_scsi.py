"""Commands and answers of sequential devices, byte by byte."""

import pytest

from rehydrate.errors import CorruptMetadataError
from rehydrate.media.geometry import WrapEnd
from rehydrate.stores.tape import scsi
from rehydrate.stores.tape.drive import TapePosition

FIXED = bytes.fromhex("f0 00 a3 fffffff0 0a 00000000 0001 00 00 0000")


def test_commands_have_their_documented_bytes() -> None:
    assert scsi.encode_read(0x080001).hex(" ") == "08 00 08 00 01 00"
    assert scsi.encode_read(1 << 30)[2:5] == b"\xff\xff\xff"
    assert scsi.encode_space_filemarks(-1).hex(" ") == "11 01 ff ff ff 00"
    assert scsi.encode_space_filemarks(2).hex(" ") == "11 01 00 00 02 00"
    located = scsi.encode_locate(1, 0x0102030405060708).hex(" ")
    assert located == "92 02 00 01 01 02 03 04 05 06 07 08 00 00 00 00"
    assert scsi.encode_locate_end(1).hex(" ") == "92 1a 00 01" + " 00" * 12
    assert scsi.encode_read_position().hex(" ") == "34 06" + " 00" * 8
    assert scsi.encode_wrap_ends().hex(" ") == "a3 1f 45 02 00 00 00 00 c0 04 00 00"


def test_fixed_sense_is_read() -> None:
    sense = scsi.decode_sense(FIXED)
    assert (sense.key, sense.code, sense.residue) == (3, 1, -16)
    assert (sense.filemark, sense.end_of_medium, sense.wrong_length) == (True, False, True)
    assert str(sense) == "sense 3h/00h/01h"
    assert scsi.decode_sense(b"\x70" + FIXED[1:]).residue == 0


@pytest.mark.parametrize("raw", [b"\x71" + FIXED[1:], bytes.fromhex("73 01 0000 000000 00")])
def test_sense_about_a_command_before_says_nothing_of_this_one(raw: bytes) -> None:
    sense = scsi.decode_sense(raw)
    assert sense.deferred
    assert not sense.done
    assert not sense.recovered


def test_descriptor_sense_is_read() -> None:
    information = bytes((0, 10, 0x80, 0)) + (-5).to_bytes(8, "big", signed=True)
    head = bytes.fromhex("72 08 0005 000000 10")
    sense = scsi.decode_sense(head + information + bytes((4, 2, 0, 0xA0)))
    assert (sense.key, sense.code, sense.residue) == (8, 5, -5)
    assert (sense.filemark, sense.wrong_length, sense.end_of_data) == (True, True, True)
    other = bytes((9, 2, 0, 0))
    assert scsi.decode_sense(head + other).residue == 0
    assert scsi.decode_sense(head + information[:6]).residue == 0


@pytest.mark.parametrize("raw", [b"", b"\x70", b"\x72\0\0", b"\x00" * 32, FIXED[:13]])
def test_other_sense_has_no_meaning(raw: bytes) -> None:
    assert scsi.decode_sense(raw) == scsi.Sense(0, 0)


def test_positions_are_read() -> None:
    raw = bytes(4) + (1).to_bytes(4, "big") + (77).to_bytes(8, "big") + bytes(16)
    assert scsi.decode_long_position(raw) == TapePosition(1, 77)
    assert scsi.decode_long_position(b"\x04" + raw[1:]) is None
    with pytest.raises(CorruptMetadataError):
        scsi.decode_long_position(raw[:31])


def wraps(*rows: tuple[int, int, int, int]) -> bytes:
    body = b"".join(
        wrap.to_bytes(2, "big") + part.to_bytes(2, "big") + hole.to_bytes(2, "big")
        + last.to_bytes(6, "big")
        for wrap, part, hole, last in rows
    )  # fmt: skip
    return (len(body) + 2).to_bytes(2, "big") + bytes(2) + body


def test_ends_of_wraps_are_read() -> None:
    found = scsi.decode_wrap_ends(wraps((0, 0, 0, 100), (1, 1, 0, 5)) + bytes(50))
    assert found == [WrapEnd(0, 0, 100), WrapEnd(1, 1, 5)]


def test_wraps_that_hold_nothing_may_be_left_out() -> None:
    found = scsi.decode_wrap_ends(wraps((0, 0, 0, 12), (4, 1, 0, 900), (5, 1, 0, 1100)))
    assert found == [WrapEnd(0, 0, 12), WrapEnd(4, 1, 900), WrapEnd(5, 1, 1100)]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0\0\0\0", wraps((0, 0, 1, 5)), wraps((1, 0, 0, 5), (0, 0, 0, 9)), wraps((0, 0, 0, 5))[:-1],
     b"\0\x05\0\0\0\0\0"],
)  # fmt: skip
def test_what_is_no_such_list_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        scsi.decode_wrap_ends(raw)
    assert caught.value.code == "tape.answer"
