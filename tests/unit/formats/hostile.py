"""Ways to damage bytes, and a check that a parser answers all of them as it should."""

import struct
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from rehydrate.errors import FormatError, LimitError

BUDGET = 4 << 20
"""Bytes that parsing a small sample may take, whatever the sample claims."""

_NUMBERS = {"B": 1, "H": 2, "I": 4, "Q": 8}


def extremes(width: int, size: int) -> list[int]:
    """Return the numbers that break parsers, as far as they fit into ``width`` bytes."""
    powers = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
    near = (size - 1, size, size + 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1))
    return sorted({n for n in (*powers, *near) if 0 <= n < 2 ** (8 * width)})


def fields_of(layout: struct.Struct, at: int = 0) -> list[tuple[int, int]]:
    """Return offset and width of each number of a structure that begins at ``at``."""
    fields = []
    count = ""
    for code in layout.format.lstrip("<"):
        if code.isdigit():
            count += code
        elif code in _NUMBERS:
            fields.append((at, _NUMBERS[code]))
            at += _NUMBERS[code]
        else:
            at += int(count)
            count = ""
    return fields


@attrs.frozen
class Parser:
    """One parser with a good sample.

    Attributes:
        name: For test ids.
        sample: Bytes that it accepts.
        parse: The parser.
        settle: Fails if a value that was returned for these bytes contradicts itself.
        reseal: Recomputes all checks.
        fields: Offset and width of each number in the sample.
        covered: Whether a checksum covers each byte, so that no raw change is accepted.
    """

    name: str
    sample: bytes
    parse: Callable[[bytes], object]
    settle: Callable[[object, bytes], None]
    reseal: Callable[[bytes], bytes]
    fields: Sequence[tuple[int, int]]
    covered: bool = True

    def answer(self, data: bytes) -> bool:
        """Return whether the bytes were accepted; fails on anything but an answer."""
        try:
            value = self.parse(data)
        except (FormatError, LimitError) as found:
            error = found
        else:
            self.settle(value, data)
            return True
        assert error.message
        assert error.code
        return False


def cut_short(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


def flipped(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        for bits in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= bits
            yield bytes(changed)


def stretched(data: bytes, fields: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    for at, width in fields:
        for number in extremes(width, len(data)):
            changed = bytearray(data)
            changed[at : at + width] = number.to_bytes(width, "little")
            if changed != data:
                yield bytes(changed)


def sweep(parser: Parser, samples: Iterable[bytes]) -> tuple[int, int]:
    """Ask the parser about all samples; return how many it accepted and how many there were."""
    accepted = asked = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for data in samples:
            accepted += parser.answer(data)
            asked += 1
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < BUDGET
    return accepted, asked
