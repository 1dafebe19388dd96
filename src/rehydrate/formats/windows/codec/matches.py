"""What the three codecs share: how a match is copied, and how damage is told."""

from rehydrate.errors import ChunkMismatchError

__all__ = ["damaged", "repeat"]

CODE = "chunk.compressed"
"""Code of the error of a chunk that does not decompress to its size."""


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

    The pattern is multiplied, so a run of any length costs one copy.

    Args:
        out: What was decoded so far, at least ``offset`` bytes.
        offset: Length of the pattern, 1 or more.
        length: Bytes to append.
    """
    pattern = out[-offset:]
    pattern *= length // offset
    out += pattern
    out += pattern[: length % offset]
