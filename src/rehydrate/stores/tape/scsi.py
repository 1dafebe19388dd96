"""SCSI commands of sequential devices as bytes, and what their answers mean; no device in here.

Layouts: SCSI Stream Commands (SSC-4) for READ(6), SPACE(6), LOCATE(16) and READ POSITION, SCSI
Primary Commands (SPC-4) for sense data. READ END OF WRAP POSITION is a maintenance service action
of IBM LTO drives (A3h / 1Fh, qualifier 45h); its answer is INFERRED and taken only if it fits.
"""

import struct
from collections.abc import Sequence
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError
from rehydrate.media.geometry import WrapEnd
from rehydrate.stores.tape.drive import TapePosition

__all__ = [
    "LONG_POSITION_BYTES",
    "MOST_READ",
    "WRAP_ANSWER_BYTES",
    "Sense",
    "decode_long_position",
    "decode_sense",
    "decode_wrap_ends",
    "encode_locate",
    "encode_locate_end",
    "encode_read",
    "encode_read_position",
    "encode_space_filemarks",
    "encode_wrap_ends",
]

LONG_POSITION_BYTES: Final = 32
_WRAP_HEADER: Final = 4
WRAP_ANSWER_BYTES: Final = _WRAP_HEADER + 12 * 4096
MOST_READ: Final = (1 << 24) - 1
"""Largest record that READ(6) asks for."""
_NOT_READY: Final = 2
_LOADING: Final = frozenset({0x0401, 0x0407})  # becoming ready, operation in progress
_BLANK_CHECK: Final = 8
_ILLEGAL_REQUEST: Final = 5
_DONE: Final = frozenset({0, 1})  # no sense, recovered error
_RECOVERED: Final = 1
_FIXED_BYTES: Final = 14  # up to the additional sense code
_DESCRIPTOR_AT: Final = 8
_INFORMATION: Final = (0, 12)  # type and length of a descriptor
_STREAM_FLAGS: Final = (4, 4)
_UNIT_ATTENTION: Final = 6
_MEDIUM_CHANGED: Final = 0x28
_DEFERRED: Final = frozenset({0x71, 0x73})


@attrs.frozen
class Sense:
    """Why a command did not end as asked.

    Attributes:
        key: Sense key.
        code: Additional sense code and its qualifier, as one number.
        filemark: A filemark was met.
        end_of_medium: The end of the medium was met.
        wrong_length: The record is not as long as asked for.
        residue: Asked minus actual length, negative for longer records; 0 if not told.
        deferred: It is about a command before; this one was not done.
    """

    key: int
    code: int
    filemark: bool = False
    end_of_medium: bool = False
    wrong_length: bool = False
    residue: int = 0
    deferred: bool = False

    @property
    def end_of_data(self) -> bool:
        """Nothing is written here."""
        return self.key == _BLANK_CHECK

    @property
    def recovered(self) -> bool:
        """The command was done all the same, and there is nothing else to tell."""
        return self.key == _RECOVERED and self.done and not self.filemark and not self.wrong_length

    @property
    def done(self) -> bool:
        """The command was done; the flags tell how it went."""
        return self.key in _DONE and not self.deferred

    @property
    def attention(self) -> bool:
        """The drive tells that something changed, and did not do the command."""
        return self.key == _UNIT_ATTENTION

    @property
    def volume_changed(self) -> bool:
        """The drive tells that another volume may be in it."""
        return self.attention and self.code >> 8 == _MEDIUM_CHANGED

    @property
    def loading(self) -> bool:
        """The drive is about to be ready, or busy with the volume, and says so."""
        return self.key == _NOT_READY and self.code in _LOADING

    @property
    def not_offered(self) -> bool:
        """The drive does not know the command."""
        return self.key == _ILLEGAL_REQUEST

    def __str__(self) -> str:
        """Return the numbers as manuals print them."""
        return f"sense {self.key:X}h/{self.code >> 8:02X}h/{self.code & 0xFF:02X}h"


def decode_sense(raw: bytes) -> Sense:
    """Read sense data of the fixed or the descriptor form; anything else is sense of no meaning.

    Args:
        raw: The sense buffer.
    """
    kind = raw[0] & 0x7F if raw else 0
    if kind in {0x70, 0x71} and len(raw) >= _FIXED_BYTES:
        flags = raw[2]
        residue = struct.unpack_from(">i", raw, 3)[0] if raw[0] & 0x80 else 0
        code = struct.unpack_from(">H", raw, 12)[0]
        return _sense(flags & 0xF, code, flags, residue, deferred=kind in _DEFERRED)
    if kind in {0x72, 0x73} and len(raw) >= _DESCRIPTOR_AT:
        flags, residue = _descriptors(raw)
        code = struct.unpack_from(">H", raw, 2)[0]
        return _sense(raw[1] & 0xF, code, flags, residue, deferred=kind in _DEFERRED)
    return Sense(0, 0)


def _sense(key: int, code: int, flags: int, residue: int, *, deferred: bool) -> Sense:
    mark, end, wrong = (bool(flags & bit) for bit in (0x80, 0x40, 0x20))
    return Sense(key, code, mark, end, wrong, residue, deferred)


def _descriptors(raw: bytes) -> tuple[int, int]:
    """Return the stream flags and the information of the descriptor form."""
    at, flags, residue = _DESCRIPTOR_AT, 0, 0
    while at + 2 <= len(raw) and raw[at + 1]:
        kind, size = raw[at], 2 + raw[at + 1]
        if at + size > len(raw):
            break
        if (kind, size) == _INFORMATION:
            residue = struct.unpack_from(">q", raw, at + 4)[0]
        elif (kind, size) == _STREAM_FLAGS:
            flags = raw[at + 3]
        at += size
    return flags, residue


def encode_read(size: int) -> bytes:
    """Return READ(6) for one record of up to ``size`` bytes; others are told by the sense data.

    Args:
        size: Bytes, below 16 MiB.
    """
    return bytes((0x08, 0)) + min(size, MOST_READ).to_bytes(3, "big") + b"\0"


def encode_space_filemarks(count: int) -> bytes:
    """Return SPACE(6) over filemarks.

    Args:
        count: How many, negative for backwards.
    """
    return bytes((0x11, 1)) + count.to_bytes(3, "big", signed=True) + b"\0"


def encode_locate(partition: int, block: int) -> bytes:
    """Return LOCATE(16) to a logical object, with a change of partition.

    Args:
        partition: Number of the partition.
        block: Number of the object.
    """
    return struct.pack(">BBBBQHBB", 0x92, 0x02, 0, partition, block, 0, 0, 0)


def encode_locate_end(partition: int) -> bytes:
    """Return LOCATE(16) to the end of data.

    Args:
        partition: Number of the partition.
    """
    return struct.pack(">BBBBQHBB", 0x92, 0x02 | 3 << 3, 0, partition, 0, 0, 0, 0)


def encode_read_position() -> bytes:
    """Return READ POSITION, long form."""
    return bytes((0x34, 0x06)) + bytes(8)


def decode_long_position(raw: bytes) -> TapePosition | None:
    """Read the long form of READ POSITION; ``None`` where the drive does not know the number.

    Args:
        raw: The answer.

    Raises:
        CorruptMetadataError: With code ``"tape.answer"`` if it is too short.
    """
    if len(raw) < LONG_POSITION_BYTES:
        raise CorruptMetadataError("the drive's position is cut short", code="tape.answer")
    if raw[0] & 0x04:
        return None
    return TapePosition(*struct.unpack_from(">IQ", raw, 4))


def encode_wrap_ends() -> bytes:
    """Return READ END OF WRAP POSITION for all wraps."""
    return struct.pack(">BBBBHIBB", 0xA3, 0x1F, 0x45, 0x02, 0, WRAP_ANSWER_BYTES, 0, 0)


def decode_wrap_ends(raw: bytes) -> Sequence[WrapEnd]:
    """Read the ends of all wraps: a 4-byte header, then 12 bytes for each wrap.

    INFERRED: number of the wrap (2), partition (2), reserved (2), last logical object (6). Wraps
    may be left out: those lost between partitions, and those on which nothing is written.

    Args:
        raw: The answer.

    Raises:
        CorruptMetadataError: With code ``"tape.answer"`` if it does not fit this layout.
    """
    size = struct.unpack_from(">H", raw)[0] + 2 if len(raw) >= _WRAP_HEADER else 0
    if not _WRAP_HEADER <= size <= len(raw) or (size - _WRAP_HEADER) % 12:
        raise CorruptMetadataError("the drive's ends of wraps are no such list", code="tape.answer")
    ends: list[WrapEnd] = []
    for at in range(_WRAP_HEADER, size, 12):
        wrap, partition, reserved = struct.unpack_from(">HHH", raw, at)
        if reserved or (ends and wrap <= ends[-1].wrap):
            raise CorruptMetadataError("the drive's wraps are out of order", code="tape.answer")
        ends.append(WrapEnd(wrap, partition, int.from_bytes(raw[at + 6 : at + 12], "big")))
    return ends
