"""Plain XPRESS, the LZ77 variant without Huffman codes ([MS-XCA] 2.3 and 2.4).

Chunks of real stores use it; the real chunk in the test vectors decodes with this code. A flag word
of 32 bits, most significant first, says for each of the next tokens: 0 a literal byte, 1 a match.
There is no end mark, and an encoder fills unused flags with ones, so the size alone ends the text.

What may follow the last token: nothing, or, where the last token used up its flag word, one more
flag word (encoders lay it down before they know whether something follows). The values of unused
flags are not looked at. Anything else behind the last token is damage.
"""

from typing import Final

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec.matches import damaged, repeat

__all__ = ["decode"]

FLAG_BYTES: Final = 4
FLAG_BITS: Final = 32
LONG_LENGTH: Final = 7 + 3
"""Length of a match whose three bits are all set: the true one follows in other fields."""
LONG_NIBBLE: Final = 15
"""Value of a half byte that says: one more byte follows."""
ESCAPE: Final = 255
"""Value of that byte that says: the length follows as a word."""
LEAST_WORD: Final = 7 + LONG_NIBBLE
"""Smallest value of a 16-bit or 32-bit length; smaller ones are an error by [MS-XCA] 2.4."""


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
    end = len(source)
    pos = at = left = 0
    high = -1
    try:
        while at < size:
            flags = (
                source[pos + 3] << 24 | source[pos + 2] << 16 | source[pos + 1] << 8 | source[pos]
            )
            pos += FLAG_BYTES
            left = FLAG_BITS
            while True:
                run = left - flags.bit_length()
                if run:
                    out += source[pos : pos + run]
                    pos += run
                    at += run
                    left -= run
                if at >= size or not left:
                    break
                left -= 1
                flags ^= 1 << left
                word = source[pos + 1] << 8 | source[pos]
                pos += 2
                offset = (word >> 3) + 1
                length = (word & 7) + 3
                if length == LONG_LENGTH:
                    length, pos, high = _long_length(source, pos, high, at)
                if offset > at or length > size - at:
                    raise _bad_match(offset, length, pos, at, size)
                if length <= offset:
                    start = at - offset
                    out += out[start : start + length]
                else:
                    repeat(out, offset, length)
                at += length
    except IndexError:
        raise damaged("XPRESS", "ends in the middle of a token", end, at) from None
    beyond = max(at - size, 0)
    _close(pos=pos - beyond, left=left + beyond, size=size, end=end)
    return out


def _long_length(source: bytes, pos: int, high: int, at: int) -> tuple[int, int, int]:
    """Read the fields of a match of 10 bytes or more.

    Args:
        source: The stored bytes.
        pos: Where the fields start.
        high: The half of a byte that the last such match left over, or -1.
        at: Bytes decoded, for the error.

    Returns:
        The length, the position behind the fields, and the half that is left over now, or -1.
    """
    if high < 0:
        nibble = source[pos] & 15
        high = source[pos] >> 4
        pos += 1
    else:
        nibble = high
        high = -1
    if nibble < LONG_NIBBLE:
        return nibble + LONG_LENGTH, pos, high
    byte = source[pos]
    pos += 1
    if byte < ESCAPE:
        return byte + LEAST_WORD + 3, pos, high
    value = source[pos + 1] << 8 | source[pos]
    pos += 2
    if not value:
        value = source[pos + 3] << 24 | source[pos + 2] << 16 | source[pos + 1] << 8 | source[pos]
        pos += 4
    if value < LEAST_WORD:
        raise damaged("XPRESS", f"length field {value} is below {LEAST_WORD}", pos, at)
    return value + 3, pos, high


def _bad_match(offset: int, length: int, pos: int, at: int, size: int) -> ChunkMismatchError:
    """Say which end of a match is out of bounds."""
    if offset > at:
        return damaged("XPRESS", f"match reaches {offset - at} bytes before the start", pos, at)
    return damaged("XPRESS", f"match of {length} bytes where {size - at} are left", pos, at)


def _close(*, pos: int, left: int, size: int, end: int) -> None:
    """Check that the input ends where the output does.

    So it also follows that no literal was copied beyond ``size``: it would be a byte left over.

    Args:
        pos: Input bytes used for ``size`` bytes of output; beyond ``end`` if literals were missing.
        left: Flags of the last word that were not used.
        size: Size of the chunk.
        end: Length of the input.
    """
    if pos > end:
        raise damaged("XPRESS", "ends in the middle of a run of literals", end, size - pos + end)
    if pos != end and (left or end - pos != FLAG_BYTES):
        raise damaged("XPRESS", f"{end - pos} bytes follow the last token", pos, size)
