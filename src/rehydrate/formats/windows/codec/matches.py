"""What the three codecs share: how a match is copied, and how damage is told."""

from typing import Final

from rehydrate.errors import ChunkMismatchError

__all__ = ["damaged", "repeat"]

CODE: Final = "chunk.compressed"
"""Code of the error of a chunk that does not decompress to its size."""

STRIDE: Final = 65536
"""Bytes that a repeated pattern is multiplied to, about."""


def damaged(codec: str, what: str, position: int, produced: int) -> ChunkMismatchError:
    """Make the error of compressed bytes that break their format.

    Args:
        codec: Name of the codec, for people.
        what: What is wrong.
        position: How many of the compressed bytes were read, about.
        produced: How many bytes had been decoded.

    Returns:
        The error, to be raised.
    """
    return ChunkMismatchError(
        f"{codec}: {what} (input byte {position}, output byte {produced})", code=CODE
    )


def repeat(out: bytearray, offset: int, length: int) -> None:
    """Append a match that overlaps itself: the last bytes, again and again.

    The pattern is multiplied, so that a run of any length costs a few copies and little room.

    Args:
        out: What was decoded so far, at least ``offset`` bytes.
        offset: Length of the pattern, 1 or more.
        length: Bytes to append.
    """
    pattern = out[-offset:]
    pattern *= min(length, STRIDE) // offset or 1
    stride = len(pattern)
    while length >= stride:
        out += pattern
        length -= stride
    out += pattern[:length]
