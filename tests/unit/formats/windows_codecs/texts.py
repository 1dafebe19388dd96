"""Texts of many shapes, the decoders by name, and a call that turns refusal into ``None``."""

import random
from collections.abc import Callable
from typing import Final

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec import huffman, lznt1, xpress

type_of_decoder = Callable[[bytes, int], bytes | bytearray]

REFERENCE: Final[dict[int, type_of_decoder]] = {
    1: lznt1.decode,
    2: xpress.decode,
    3: huffman.decode,
}
IDS: Final = ["lznt1", "xpress", "huffman"]

WORDS: Final = (b"the ", b"quick ", bytes(7), b"\xff\xfe", b"0123456789" * 4)


def text(rng: random.Random) -> bytes:
    """Make a text of one of six shapes: noise, few letters, a run, a pattern, words, a gap."""
    size = rng.randrange(1, 400)
    match rng.randrange(6):
        case 0:
            return rng.randbytes(size)
        case 1:
            return bytes(rng.choice(b"abcd ") for _ in range(size))
        case 2:
            return rng.randbytes(1) * rng.choice((size, 4096, 4097, 8192, 30000))
        case 3:
            return rng.randbytes(size % 40 + 1) * rng.randrange(1, 60)
        case 4:
            return b"".join(rng.choice(WORDS) for _ in range(size))
        case _:
            return rng.randbytes(size) + bytes(10 * size) + rng.randbytes(9)


def answer(decode: type_of_decoder, stored: bytes, size: int) -> bytes | None:
    """Decode; ``None`` where the bytes are refused with the error that callers expect."""
    try:
        return bytes(decode(stored, size))
    except ChunkMismatchError:
        return None
