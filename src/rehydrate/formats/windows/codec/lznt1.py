"""LZNT1, the codec of NTFS compression ([MS-XCA] 2.5).

No stored chunk of this kind has been seen: that compression 1 of a record means LZNT1 is REPORTED
(M) only. The text is cut into pieces of 4096 bytes, each with a header: bits 0..11 the size of the
piece's body less 1, bits 12..14 the number 3, bit 15 whether it is compressed. In a compressed
piece a flag byte, least significant bit first, says for each of the next tokens: 0 a literal byte,
1 a match of two bytes; how many of its bits are the offset grows with the place in the piece.

Only the last piece may be shorter than 4096 bytes. What may follow it: nothing, or the end mark of
two zero bytes. Anything else behind it is damage.
"""

from typing import Final

from rehydrate.formats.windows.codec.matches import damaged, repeat

__all__ = ["decode"]

PIECE: Final = 4096
SIGNATURE: Final = 3
COMPRESSED: Final = 0x8000
END_MARK: Final = b"\0\0"
BITS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
LENGTH_BITS: Final = bytes(16 - max(4, (at - 1).bit_length()) for at in range(1, PIECE + 1))
"""Bits of the length in a match at each place of a piece, less one; the rest is the offset."""


def decode(data: bytes | bytearray | memoryview, size: int) -> bytearray:
    """Decompress one chunk.

    Args:
        data: The stored bytes, exactly those of the chunk.
        size: Size of the chunk in bytes.

    Returns:
        Exactly ``size`` bytes.

    Raises:
        ChunkMismatchError: The bytes break the format, or give more or less than ``size``; the code
            is ``chunk.compressed``.
    """
    source = bytes(data)
    out = bytearray()
    pos = 0
    while len(out) < size:
        start = len(out)
        header = int.from_bytes(source[pos : pos + 2], "little")
        stop = pos + 3 + (header & 0xFFF)
        if stop > len(source):
            raise damaged("LZNT1", "ends in the middle of a piece", len(source), start)
        if header >> 12 & 7 != SIGNATURE:
            raise damaged("LZNT1", f"no piece starts with {header:#06x}", pos, start)
        room = min(PIECE, size - start)
        if header & COMPRESSED:
            _piece(source[pos + 2 : stop], out, room, pos + 2)
        else:
            out += source[pos + 2 : stop]
        if len(out) - start != room:
            what = f"piece gives {len(out) - start} bytes where {room} are due"
            raise damaged("LZNT1", what, pos, start)
        pos = stop
    if source[pos:] not in (b"", END_MARK):
        raise damaged("LZNT1", f"{len(source) - pos} bytes follow the last piece", pos, size)
    return out


def _piece(body: bytes, out: bytearray, room: int, place: int) -> None:
    """Decompress one piece.

    Args:
        body: Its bytes, without the header.
        out: Where to append; matches reach back to its present end only.
        room: Bytes that the piece may give; matches do not go beyond, literals can.
        place: Where ``body`` starts in the input, for errors.
    """
    start = len(out)
    end = len(body)
    pos = 0
    while pos < end:
        flags = body[pos]
        pos += 1
        if not flags:
            out += body[pos : pos + 8]
            pos += 8
            continue
        for bit in BITS:
            if pos >= end:
                break
            if not flags & bit:
                out.append(body[pos])
                pos += 1
                continue
            word = int.from_bytes(body[pos : pos + 2], "little")
            pos += 2
            at = len(out) - start
            if not 0 < at < room or pos > end:
                raise damaged("LZNT1", "match without a place", place + pos, start + at)
            shift = LENGTH_BITS[at - 1]
            offset = (word >> shift) + 1
            length = (word & (1 << shift) - 1) + 3
            if offset > at or length > room - at:
                what = f"match of {length} bytes from {offset} back, at {at} of {room}"
                raise damaged("LZNT1", what, place + pos, start + at)
            if length <= offset:
                out += out[-offset : length - offset or None]
            else:
                repeat(out, offset, length)
