"""Reparse buffers of deduplicated files, formats 1.2, 2.1 and 3.1: from field values to bytes.

Several values are not understood (see the page on the format); they are what real stubs hold
where that is known, and zero elsewhere.
"""

import struct
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tests.windows_store.structures import Reference, crc32

__all__ = [
    "DEDUP_TAG",
    "Element",
    "frame",
    "map_info",
    "property_block",
    "reparse_buffer",
    "smallest_chunks_map_size",
    "stub_1_2",
    "stub_2_1",
    "stub_3_1",
    "symlink_buffer",
]

DEDUP_TAG: Final = 0x80000013
SYMLINK_TAG: Final = 0xA000000C
FILE_TIME: Final = 0x01D7_CED0_0000_0000
"""A time for those who have none."""

_HEAD: Final = struct.Struct("<IHH")
_INFO: Final = struct.Struct("<IIIIIIII")
_RANGE: Final = struct.Struct("<QQ")
_ROW: Final = struct.Struct("<IHH")
_PAIR: Final = struct.Struct("<II")
_ELEMENT: Final = struct.Struct("<HHI")

Element = tuple[int, bytes]
"""Type and value of an element of a property block; type 0 is an empty element."""
EMPTY: Final[Element] = (0, b"")


def reparse_buffer(tag: int, data: bytes) -> bytes:
    """Return a reparse buffer of any vendor: tag, size of the data, zero, data."""
    return _HEAD.pack(tag, len(data), 0) + data


def symlink_buffer(target: str) -> bytes:
    """Return the reparse buffer of a relative symbolic link."""
    name = target.encode("utf-16-le")
    head = struct.pack("<HHHHI", len(name), len(name), 0, len(name), 1)
    return reparse_buffer(SYMLINK_TAG, head + name + name)


def frame(version: tuple[int, int], body: bytes) -> bytes:
    """Put the outer frame around the body of a stub: tag, both lengths, version, CRC-32.

    Args:
        version: Major and minor.
        body: From offset 0C up to the checksum.
    """
    inside = bytes(version) + struct.pack("<H", len(body) + 8) + body
    return reparse_buffer(DEDUP_TAG, inside + struct.pack("<I", crc32(inside)))


def smallest_chunks_map_size(size: int) -> int:
    """Return the size of the map of ``size`` bytes in chunks of 32 KiB, as stubs state it."""
    return 8 + 64 * -(-size // 32768)


def map_info(
    stream: Reference,
    *,
    begin: int | None = None,
    worst: int | None = None,
    one: int = 1,
) -> bytes:
    """Return a stream map info, 64 bytes.

    Args:
        stream: Where the stream map is; its ``size`` is that of the part.
        begin: Logical offset of the part, for formats 2.1 and 3.1; None is format 1.2.
        worst: Size of the map with smallest chunks; computed if None.
        one: A field that always holds 1.
    """
    worst = smallest_chunks_map_size(stream.size) if worst is None else worst
    fields = (stream.local_id, stream.container, stream.offset, stream.generation, one)
    head = _INFO.pack(*fields, worst, stream.stored, 0)
    if begin is None:
        return head + stream.digest
    return head + stream.digest[:16] + _RANGE.pack(begin + stream.size, begin)


def _infos(parts: Sequence[Reference], begin: int) -> bytes:
    infos = []
    for part in parts:
        infos.append(map_info(part, begin=begin))
        begin += part.size
    return b"".join(infos)


def stub_1_2(
    guid: UUID,
    stream: Reference,
    *,
    size: int | None = None,
    time: int = FILE_TIME,
    worst: int | None = None,
    trailing: bytes = b"",
) -> bytes:
    """Return a stub of format 1.2.

    Args:
        guid: The store.
        stream: The stream map.
        size: File size covered by the store; that of the map if None.
        time: Of optimization, as FILETIME.
        worst: As in `map_info`.
        trailing: More bytes in front of the checksum; real stubs have none.
    """
    size = stream.size if size is None else size
    body = struct.pack("<IQQ", 0, size, 0) + guid.bytes_le
    body += struct.pack("<HHHHQ", 0x40, 0x40, 0x40, 0, time)
    return frame((1, 2), body + map_info(stream, worst=worst) + trailing)


def stub_2_1(
    guid: UUID,
    parts: Sequence[Reference],
    *,
    size: int | None = None,
    begin: int = 0,
    time: int = FILE_TIME,
    key: bytes = bytes(32),
    trailing: bytes = b"",
) -> bytes:
    """Return a stub of format 2.1.

    Args:
        guid: The store.
        parts: Stream maps in order.
        size: File size; the sum of the parts if None.
        begin: Logical offset of the first part.
        time: Of optimization, as FILETIME.
        key: 32 bytes that nobody understands.
        trailing: As in `stub_1_2`.
    """
    size = begin + sum(part.size for part in parts) if size is None else size
    infos = _infos(parts, begin)
    placed = (  # row, type, value; in the order of the values
        (0, 4, struct.pack("<I", 1)),
        (1, 3, bytes(4)),
        (2, 3, bytes(4)),
        (3, 6, bytes(8)),
        (4, 9, guid.bytes_le),
        (5, 5, struct.pack("<Q", time)),
        (6, 6, struct.pack("<Q", size)),
        (8, 8, infos),
        (7, 10, key),
        (10, 5, bytes(8)),
    )
    rows = [bytes(_ROW.size)] * 11
    at = 0x08 + len(rows) * _ROW.size
    for row, kind, value in placed:
        rows[row] = _ROW.pack(kind, len(value), at)
        at += len(value)
    body = struct.pack("<I", len(rows)) + b"".join(rows)
    return frame((2, 1), body + b"".join(value for _, _, value in placed) + trailing)


def property_block(
    magic: bytes,
    elements: Sequence[Element],
    *,
    order: Sequence[int] = (),
    flags: int = 0,
    align: int = 1,
) -> bytes:
    """Return a property block with its CRC-32.

    Args:
        magic: ``FeRp``, ``RbRp`` or ``DdRp``.
        elements: Type and value of each.
        order: In which order the values are written; empty is that of the elements.
        flags: 0, and 2 in blocks of Cloud Files.
        align: Where values begin; 4 in blocks of Cloud Files.
    """
    at = 0x10 + len(elements) * _ELEMENT.size
    table = [bytes(_ELEMENT.size)] * len(elements)
    values = []
    for index in order or range(len(elements)):
        kind, value = elements[index]
        if kind:
            table[index] = _ELEMENT.pack(kind, len(value), at)
            values.append(value.ljust(-(-len(value) // align) * align, b"\0"))
            at += len(values[-1])
    body = struct.pack("<IHH", at, flags, len(elements)) + b"".join(table) + b"".join(values)
    return magic + struct.pack("<I", crc32(body)) + body


def stub_3_1(
    guid: UUID,
    parts: Sequence[Reference],
    *,
    size: int | None = None,
    begin: int = 0,
    time: int = FILE_TIME,
    file_id: UUID | None = None,
    short: bool = False,
    bitmap_kind: int = 0,
    trailing: bytes = b"",
) -> bytes:
    """Return a stub of format 3.1: ``FeRp`` with ``RbRp`` and ``DdRp`` in it.

    With one part it has 0x18C bytes, or 0x188 if ``short``: the fourth value of ``RbRp`` from the
    end, which is known by its place only, is left out then (inferred from the two sizes).

    Args:
        guid: The store.
        parts: Stream maps in order; real stubs with more than one were never seen.
        size: File size; the sum of the parts if None.
        begin: Logical offset of the first part.
        time: Of optimization, as FILETIME.
        file_id: The GUID in ``RbRp``.
        short: Write the shorter form.
        bitmap_kind: 0 normal, 1 snapshot, 2 file system.
        trailing: As in `stub_1_2`.
    """
    size = begin + sum(part.size for part in parts) if size is None else size
    first = _PAIR.pack(parts[0].local_id, parts[0].container)
    recall: list[Element] = [
        (0x0A, struct.pack("<I", 1)),
        (0x09, bytes(4)),
        (0x09, bytes(4)),
        (0x06, bytes(8)),
        (0x06, first),
        (0x0C, (UUID(int=guid.int ^ size) if file_id is None else file_id).bytes_le),
        EMPTY,
        EMPTY if short else (0x05, bytes(4)),
    ]
    dedup: list[Element] = [
        (0x0A, struct.pack("<I", 1)),
        (0x0E, first),
        (0x0D, _infos(parts, begin)),
    ]
    blocks = (
        property_block(b"RbRp", recall, order=(0, 4, 5, 7, 2, 1, 3)),
        property_block(b"DdRp", dedup),
    )
    elements: list[Element] = [
        (0x0A, struct.pack("<I", 1)),
        (0x0A, bytes(4)),
        (0x0C, guid.bytes_le),
        (0x0B, struct.pack("<Q", time)),
        (0x06, struct.pack("<Q", size)),
        (0x05, bytes(4)),
        (0x09, struct.pack("<I", bitmap_kind)),
        *((0x0D, block) for block in blocks),
    ]
    body = property_block(b"FeRp", elements, order=(1, 0, *range(2, 9)))
    return frame((3, 1), body + trailing)
