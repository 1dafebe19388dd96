"""XPRESS Huffman, LZ77 under a Huffman code ([MS-XCA] 2.1 and 2.2).

No stored chunk of this kind has been seen: that compression 3 of a record means XPRESS Huffman is
REPORTED (M) only. The text is cut into blocks of 64 KiB, each with a table of 512 code lengths of
four bits. Symbols 0 to 255 are literals; a higher one is a match: four bits the length, four bits
the width of its offset. Codes and offsets come from 16-bit words, most significant bit first; long
lengths are whole bytes between the words, so words must be taken exactly when the format says: two
at the start of a block, one more as soon as fewer than 16 bits are in hand.

A match may cross the end of its block; the next block then starts behind it. The end mark is
symbol 256 when the output is complete. What may follow the last byte: zero bits up to the end of
the words, or the end mark, in the same block or in one of its own. Anything else is damage.
"""

from typing import Final

import attrs

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec.matches import damaged, repeat

__all__ = ["decode"]

BLOCK: Final = 65536
TABLE_BYTES: Final = 256
LONGEST_CODE: Final = 15
CODES: Final = 1 << LONGEST_CODE
END_MARK: Final = 256
WORD: Final = 2
MARK_BLOCK: Final = TABLE_BYTES + 2 * WORD
"""Bytes of a block that holds the end mark alone."""
LONG_LENGTH: Final = 15 + 3
"""Length of a match whose four bits are all set: the true one follows in whole bytes."""
ESCAPE: Final = 255
"""Value of a length byte that says: the length follows as a word."""
LOW: Final = bytes(byte & 15 for byte in range(256))
HIGH: Final = bytes(byte >> 4 for byte in range(256))


@attrs.define
class _Bits:
    """Where the reading of a block stands.

    Attributes:
        table: For each 15 bits: symbol, times 16, plus the length of its code.
        pos: Next word or byte of the input.
        held: Bits in hand, the lowest ``spare + 15`` count.
        spare: Bits in hand, less 15; at least 1 between tokens.
    """

    table: list[int]
    pos: int
    held: int
    spare: int


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
    try:
        bits = None
        while len(out) < size:
            bits = _open(source, 0 if bits is None else bits.pos, len(out))
            _block(source, out, min(len(out) + BLOCK, size), size, bits)
        _close(source, bits, size)
    except IndexError:
        raise damaged("XPRESS Huffman", "ends too early", len(source), len(out)) from None
    return out


def _open(source: bytes, pos: int, at: int) -> _Bits:
    """Read the table of a block and the two words behind it.

    Args:
        source: The stored bytes.
        pos: Start of the block.
        at: Bytes decoded, for the error.
    """
    packed = source[pos : pos + TABLE_BYTES]
    if len(packed) < TABLE_BYTES:
        raise damaged("XPRESS Huffman", "ends in a table of code lengths", pos, at)
    lengths = bytearray(2 * TABLE_BYTES)
    lengths[::2] = packed.translate(LOW)
    lengths[1::2] = packed.translate(HIGH)
    counts = [lengths.count(width) for width in range(LONGEST_CODE + 1)]
    filled = sum(counts[width] << LONGEST_CODE - width for width in range(1, LONGEST_CODE + 1))
    if filled != CODES:
        what = f"code lengths make {filled} codes of {CODES}"
        raise damaged("XPRESS Huffman", what, pos, at)
    table: list[int] = []
    for width in range(1, LONGEST_CODE + 1):
        symbol = -1
        for _ in range(counts[width]):
            symbol = lengths.index(width, symbol + 1)
            table += [symbol << 4 | width] * (1 << LONGEST_CODE - width)
    pos += TABLE_BYTES
    held = _word(source, pos) << 16 | _word(source, pos + 2)
    return _Bits(table=table, pos=pos + 4, held=held, spare=32 - LONGEST_CODE)


def _word(source: bytes, pos: int) -> int:
    """Read a 16-bit word; an ``IndexError`` is its end."""
    return source[pos + 1] << 8 | source[pos]


def _block(source: bytes, out: bytearray, stop: int, size: int, bits: _Bits) -> None:
    """Decode the symbols of one block.

    Args:
        source: The stored bytes.
        out: Where to append.
        stop: Where the block ends in the output; a match may go beyond.
        size: Where the output ends.
        bits: Where the block starts in the input; moved to its end.
    """
    table, pos, held, spare = bits.table, bits.pos, bits.held, bits.spare
    append = out.append
    at = len(out)
    while at < stop:
        entry = table[held >> spare & 0x7FFF]
        spare -= entry & 15
        if spare < 1:
            held = (held & 0xFFFF) << 16 | source[pos + 1] << 8 | source[pos]
            pos += 2
            spare += 16
        if entry < END_MARK << 4:
            append(entry >> 4)
            at += 1
            continue
        length = (entry >> 4 & 15) + 3
        if length == LONG_LENGTH:
            length, pos = _long_length(source, pos, at)
        width = entry >> 8 & 15
        spare -= width
        offset = (held >> spare + 15 & (1 << width) - 1) + (1 << width)
        if spare < 1:
            held = (held & 0xFFFF) << 16 | source[pos + 1] << 8 | source[pos]
            pos += 2
            spare += 16
        if offset > at or length > size - at:
            raise _bad_match(offset, length, pos, at, size)
        if length <= offset:
            start = at - offset
            out += out[start : start + length]
        else:
            repeat(out, offset, length)
        at += length
    bits.pos, bits.held, bits.spare = pos, held, spare


def _long_length(source: bytes, pos: int, at: int) -> tuple[int, int]:
    """Read the bytes of a length of 18 or more.

    Args:
        source: The stored bytes.
        pos: Where they start.
        at: Bytes decoded, for the error.

    Returns:
        The length and the position behind its bytes.
    """
    byte = source[pos]
    if byte < ESCAPE:
        return byte + LONG_LENGTH, pos + 1
    value = _word(source, pos + 1)
    pos += 3
    if not value:
        value = _word(source, pos) | _word(source, pos + 2) << 16
        pos += 4
    if value < LONG_LENGTH - 3:
        raise damaged("XPRESS Huffman", f"length field {value} is below 15", pos, at)
    return value + 3, pos


def _bad_match(offset: int, length: int, pos: int, at: int, size: int) -> ChunkMismatchError:
    """Say which end of a match is out of bounds."""
    if offset > at:
        what = f"match reaches {offset - at} bytes before the start"
    else:
        what = f"match of {length} bytes where {size - at} are left"
    return damaged("XPRESS Huffman", what, pos, at)


def _close(source: bytes, bits: _Bits | None, size: int) -> None:
    """Check that nothing but an end mark follows the last byte.

    Args:
        source: The stored bytes.
        bits: Where the last block ended; ``None`` if there was none.
        size: Size of the chunk.
    """
    end = len(source)
    pos = 0
    if bits is not None:
        pos = bits.pos
        in_hand = bits.held & (1 << bits.spare + LONGEST_CODE) - 1
        if _behind_mark(bits) == end or (pos == end and not in_hand):
            return
    elif not end:
        return
    if end - pos != MARK_BLOCK or _behind_mark(_open(source, pos, size)) != end:
        what = f"{end - pos} bytes follow" if pos != end else "another symbol follows"
        raise damaged("XPRESS Huffman", f"{what} the last one that is due", pos, size)


def _behind_mark(bits: _Bits) -> int:
    """Return where the input goes on behind an end mark, or -1 if the next symbol is none."""
    entry = bits.table[bits.held >> bits.spare & CODES - 1]
    if entry >> 4 != END_MARK:
        return -1
    return bits.pos + (WORD if bits.spare <= entry & 15 else 0)
