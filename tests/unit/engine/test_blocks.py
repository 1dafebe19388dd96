"""Joining fragments, in memory and in the spill file."""

import itertools
import os
import random
import tempfile
from collections.abc import Iterator

import pytest

from rehydrate.engine.blocks import FragmentJoiner
from rehydrate.engine.scratch import SpillFile
from rehydrate.ports import SystemFiles


def spill_file() -> SpillFile:
    fd, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108 - a descriptor is at hand
    return SpillFile(fd, SystemFiles())


def forbidden() -> SpillFile:
    raise AssertionError("nothing may be spilled")


def fragments(record: bytes, cuts: list[int]) -> Iterator[tuple[int, memoryview]]:
    edges = [0, *sorted(set(cuts)), len(record)]
    for start, end in itertools.pairwise(edges):
        yield start, memoryview(record)[start:end]


@pytest.mark.parametrize("limit", [0, 40, 10**6])
def test_records_come_out_whole_whatever_the_order(limit: int) -> None:
    source = random.Random(7)
    records = [source.randbytes(size) for size in (1, 20, 33, 64, 100)]
    pieces = [
        (need, at, piece)
        for need, record in enumerate(records)
        for at, piece in fragments(record, [source.randrange(1, 100) % len(record) for _ in "123"])
        if len(piece)
    ]
    for _ in range(20):
        source.shuffle(pieces)
        joiner = FragmentJoiner(limit, spill_file if limit < 10**6 else forbidden)
        found = {}
        for need, at, piece in pieces:
            whole = joiner.add(need, len(records[need]), at, piece)
            if whole is not None:
                assert need not in found
                found[need] = bytes(whole)
        assert found == dict(enumerate(records))
        joiner.close()


def test_memory_that_is_free_again_is_used_again() -> None:
    joiner = FragmentJoiner(10, forbidden)
    for _ in range(5):
        assert joiner.add(0, 10, 0, memoryview(b"12345")) is None
        assert joiner.add(0, 10, 5, memoryview(b"67890")) == b"1234567890"


def test_what_is_not_whole_is_forgotten() -> None:
    joiner = FragmentJoiner(10, spill_file)
    joiner.add(0, 10, 0, memoryview(b"12345"))
    joiner.add(1, 99, 0, memoryview(b"spilled"))
    joiner.forget()
    assert joiner.add(0, 4, 0, memoryview(b"ab")) is None
    assert joiner.add(1, 8, 0, memoryview(b"ABCD")) is None
    assert joiner.add(0, 4, 2, memoryview(b"cd")) == b"abcd"
    assert joiner.add(1, 8, 4, memoryview(b"EFGH")) == b"ABCDEFGH"
    joiner.close()
