"""Drive-side ordering at byte level: GENERATE and RECEIVE RECOMMENDED ACCESS ORDER.

Only bytes are made and read here; whoever owns the device sends them. IBM enterprise drives since
the TS1140 and full-height LTO drives since LTO-9 offer the commands; others reject them, which
means "not offered" and is no error.

Layouts, all big-endian: IBM LTO SCSI reference GA32-0928-06, chapter 4.6; two public
implementations (CERN CTA, the LTFS reference implementation) agree on them. Not confirmed, and so
not read: the geometry that other types than 0 append to a descriptor, and where the estimated
times stand. Descriptors are walked by their own length; what follows byte 31 stays bytes.

A list describes the moment it was made: any other positioning invalidates it, and the drive does
not tell.
"""

import enum
import struct
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError, LimitError, RequestError
from rehydrate.media.geometry import Ints

__all__ = [
    "DEFAULT_SEGMENTS",
    "UNLOAD",
    "AccessOrder",
    "DataSegment",
    "Process",
    "RaoLimits",
    "answer_length",
    "decode_answer",
    "decode_limits",
    "decode_parameter_list",
    "encode_parameter_list",
    "generate_command",
    "name_of",
    "permutation",
    "pinned_start",
    "receive_command",
]

MAINTENANCE_IN: Final = 0xA3
MAINTENANCE_OUT: Final = 0xA4
SERVICE_ACTION: Final = 0x1D
RETURN_LIMITS: Final = 0x80
"""Bit 7 of byte 1 of RECEIVE: return the limits page instead of the list."""

DEFAULT_SEGMENTS: Final = 2730
"""Published maximum of segments in a list; ask the drive instead."""
MAX_SEGMENTS: Final = 0xFFFF
MAX_LENGTH: Final = 0xFFFFFFFF
MAX_LIST: Final = 1 << 26
NAME_BYTES: Final = 10
START: Final = b"start"
"""Name of the segment that pins the start."""
THREE_BITS: Final = 0b111

RECEIVE: Final = struct.Struct(">BBIIBB")
GENERATE: Final = struct.Struct(">BBBBHIBB")
LIMITS: Final = struct.Struct(">HH")
LIST_HEADER: Final = struct.Struct(">II")
"""Of the parameter list: reserved, length of the descriptors."""
ANSWER_HEADER: Final = struct.Struct(">BBHI")
"""Process, status, reserved, length of the descriptors."""
DESCRIPTOR: Final = struct.Struct(">H3x10sBQQ")
DESCRIPTOR_REST: Final = DESCRIPTOR.size - 2
"""Length field of a descriptor of type 0: 1Eh."""


class Process(enum.IntEnum):
    """What GENERATE shall do with the list."""

    ESTIMATE = 1
    """Estimate the locates in the given order and leave it alone: what does *my* order cost?"""
    REORDER = 2
    """Bring the segments in the recommended order."""


@attrs.frozen
class RaoLimits:
    """The limits page.

    Attributes:
        segments: Most segments of a list.
        descriptor_bytes: Bytes of the largest descriptor.
    """

    segments: int
    descriptor_bytes: int


def _in_bits(bits: int) -> "attrs._ValidatorType[int]":
    def check(_: object, attribute: "attrs.Attribute[int]", value: int) -> None:
        if not 0 <= value < 1 << bits:
            raise RequestError(f"{attribute.name} {value} of a segment does not fit in {bits} bits",
                               code="rao.segment")  # fmt: skip

    return check


@attrs.frozen
class DataSegment:
    """A user data segment.

    Attributes:
        name: Up to 10 bytes that come back as they are, zeros at the end aside.
        partition: Its partition.
        first: First logical object.
        last: Last logical object, inclusive.
    """

    name: bytes
    partition: int = attrs.field(validator=_in_bits(8))
    first: int = attrs.field(validator=_in_bits(64))
    last: int = attrs.field(validator=_in_bits(64))

    def __attrs_post_init__(self) -> None:
        """Refuse what the layout cannot hold.

        Raises:
            RequestError: With code ``"rao.segment"``.
        """
        if len(self.name) > NAME_BYTES or self.name.endswith(b"\0"):
            raise RequestError("a segment's name has at most 10 bytes and ends without zeros",
                               code="rao.segment")  # fmt: skip
        if self.last < self.first:
            raise RequestError("a segment ends before it begins", code="rao.segment")


UNLOAD: Final = DataSegment(b"", 0, 0, 0)
"""As the last one of a list: then unload, so that the drive thinks of the way back."""


def pinned_start(partition: int, at: int) -> DataSegment:
    """Return the first segment of a list that begins where the head is.

    Args:
        partition: Partition of the position.
        at: Logical object there.
    """
    return DataSegment(START, partition, at, at)


def name_of(index: int) -> bytes:
    """Return a name that sorts and comes back: ten digits.

    Args:
        index: Number of the segment.
    """
    return b"%010d" % index


def receive_command(
    allocation: int, *, offset: int = 0, limits: bool = False, segment_type: int = 0
) -> bytes:
    """Return the 12 bytes of RECEIVE RECOMMENDED ACCESS ORDER.

    Args:
        allocation: Bytes that the answer may have.
        offset: Byte of the list at which the answer begins: long lists come in portions.
        limits: Ask for the limits page instead.
        segment_type: Type of the descriptors; 0 is without geometry.

    Raises:
        RequestError: With code ``"rao.command"`` if a number does not fit.
    """
    if max(allocation, offset) > MAX_LENGTH or min(allocation, offset) < 0:
        raise RequestError("lengths of a list have 32 bits", code="rao.command")
    action = SERVICE_ACTION | (RETURN_LIMITS if limits else 0)
    return RECEIVE.pack(MAINTENANCE_IN, action, offset, allocation, _bits(segment_type), 0)


def generate_command(process: Process, length: int, *, segment_type: int = 0) -> bytes:
    """Return the 12 bytes of GENERATE RECOMMENDED ACCESS ORDER.

    Args:
        process: What to do.
        length: Bytes of the parameter list that follows.
        segment_type: Type of the descriptors in the answer; 0 is without geometry.

    Raises:
        RequestError: With code ``"rao.command"`` if a number does not fit.
    """
    if not 0 <= length <= MAX_LENGTH:
        raise RequestError("lengths of a list have 32 bits", code="rao.command")
    kind = _bits(segment_type)
    return GENERATE.pack(MAINTENANCE_OUT, SERVICE_ACTION, int(process), kind, 0, length, 0, 0)


def _bits(segment_type: int) -> int:
    if not 0 <= segment_type <= THREE_BITS:
        raise RequestError("a type of segments has 3 bits", code="rao.command")
    return segment_type


def decode_limits(page: bytes) -> RaoLimits:
    """Read the limits page.

    Args:
        page: The answer to RECEIVE with the limits bit.

    Raises:
        CorruptMetadataError: With code ``"rao.limits"``.
    """
    if len(page) < LIMITS.size:
        raise CorruptMetadataError("the limits page is cut short", code="rao.limits",
                                   length=len(page))  # fmt: skip
    segments, size = LIMITS.unpack_from(page)
    if segments == 0 or size < DESCRIPTOR.size:
        raise CorruptMetadataError(
            f"limits of {segments} segments and {size} bytes make no sense", code="rao.limits"
        )
    return RaoLimits(segments, size)


def encode_parameter_list(
    segments: Sequence[DataSegment], limits: RaoLimits | None = None
) -> bytes:
    """Return the parameter list of GENERATE.

    Args:
        segments: The segments, fixed points included.
        limits: What the drive said.

    Raises:
        LimitError: With code ``"rao.too-many"`` if there are more segments than the drive takes.
    """
    most = MAX_SEGMENTS if limits is None else limits.segments
    if len(segments) > most:
        raise LimitError(f"{len(segments)} segments, the drive takes {most}", code="rao.too-many")
    packed = [
        DESCRIPTOR.pack(DESCRIPTOR_REST, one.name, one.partition, one.first, one.last)
        for one in segments
    ]
    return LIST_HEADER.pack(0, len(packed) * DESCRIPTOR.size) + b"".join(packed)


def decode_parameter_list(data: bytes) -> tuple[DataSegment, ...]:
    """Read a parameter list, as a drive would.

    Args:
        data: Exactly one list.

    Raises:
        CorruptMetadataError: With code ``"rao.list"``.
    """
    if len(data) < LIST_HEADER.size:
        raise _broken("is cut short", len(data))
    reserved, length = LIST_HEADER.unpack_from(data)
    if reserved:
        raise _broken("has reserved bits set", 0)
    return tuple(one for one, _ in _descriptors(data, LIST_HEADER.size, length))


@attrs.frozen
class AccessOrder:
    """The drive's answer.

    Attributes:
        process: What it did.
        status: Its status, 3 bits; their meaning is the drive's.
        segments: The segments in the recommended order.
        behind: What stands behind byte 31 of each descriptor, as bytes: geometry or times, where a
            drive gives them.
    """

    process: Process
    status: int
    segments: tuple[DataSegment, ...]
    behind: tuple[bytes, ...] = ()


def answer_length(head: bytes) -> int:
    """Return the bytes of the whole list, from its first 8.

    Args:
        head: The beginning of the answer.

    Raises:
        CorruptMetadataError: With code ``"rao.list"`` if it is too short, or announces more than
            64 MiB, a thousand times what drives take.
    """
    if len(head) < ANSWER_HEADER.size:
        raise _broken("is cut short", len(head))
    length: int = ANSWER_HEADER.unpack_from(head)[3]
    if length > MAX_LIST:
        raise _broken(f"announces {length} bytes", 4)
    return ANSWER_HEADER.size + length


def decode_answer(data: bytes) -> AccessOrder:
    """Read the list that RECEIVE returned, its portions joined.

    Args:
        data: Exactly one list; see :func:`answer_length`.

    Raises:
        CorruptMetadataError: With code ``"rao.list"``.
    """
    length = answer_length(data) - ANSWER_HEADER.size
    process, status, _, _ = ANSWER_HEADER.unpack_from(data)
    done = process & THREE_BITS
    if done not in set(Process):
        raise _broken(f"has process {done}", 0)
    found = _descriptors(data, ANSWER_HEADER.size, length)
    segments, behind = (tuple(column) for column in zip(*found, strict=True)) if found else ((), ())
    return AccessOrder(Process(done), status & THREE_BITS, segments, behind)


def _descriptors(data: bytes, at: int, length: int) -> list[tuple[DataSegment, bytes]]:
    if len(data) != at + length:
        raise _broken(f"announces {length} bytes of descriptors and has {len(data) - at}", at)
    found: list[tuple[DataSegment, bytes]] = []
    while at < len(data):
        if len(data) - at < DESCRIPTOR.size:
            raise _broken("ends within a descriptor", at)
        rest, name, partition, first, last = DESCRIPTOR.unpack_from(data, at)
        if rest < DESCRIPTOR_REST or at + 2 + rest > len(data):
            raise _broken(f"has a descriptor of {rest + 2} bytes", at)
        if last < first:
            raise _broken("has a segment that ends before it begins", at)
        segment = DataSegment(name.rstrip(b"\0"), partition, first, last)
        found.append((segment, data[at + DESCRIPTOR.size : at + 2 + rest]))
        at += 2 + rest
    return found


def _broken(what: str, at: int) -> CorruptMetadataError:
    return CorruptMetadataError(f"the list of the drive {what}", code="rao.list", offset=at)


def permutation(answer: AccessOrder, sent: Sequence[DataSegment]) -> Ints:
    """Match the answer with what was sent: the drive must return every segment once, unchanged.

    Args:
        answer: The drive's list.
        sent: Segments of the parameter list, names distinct. A last :data:`UNLOAD`, and a first
            segment that only pins the start, may be missing in the answer.

    Returns:
        Indices into ``sent`` in the recommended order; that of an :data:`UNLOAD` is left out.

    Raises:
        CorruptMetadataError: With code ``"rao.answer"`` if segments are missing, double, foreign
            or changed: such an order must not be followed.
        RequestError: With code ``"rao.segment"`` if names that were sent are not distinct.
    """
    wanted = {one.name: place for place, one in enumerate(sent) if one != UNLOAD}
    if len(wanted) != sum(one != UNLOAD for one in sent):
        raise RequestError("names of segments are not distinct", code="rao.segment")
    order = []
    for one in answer.segments:
        place = wanted.pop(one.name, None) if one != UNLOAD else None
        if place is not None and sent[place] == one:
            order.append(place)
        elif one != UNLOAD or UNLOAD not in sent:
            raise CorruptMetadataError(f"the drive returned segment {one.name!r}, which was not "
                                       "sent so, or twice", code="rao.answer")  # fmt: skip
    if sent and sent[0].name == START:
        wanted.pop(START, None)
    if wanted:
        raise CorruptMetadataError(f"the drive left out {len(wanted)} segments", code="rao.answer")
    return np.array(order, np.int64)
