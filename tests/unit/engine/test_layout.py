"""How files lie on the target, and which of their bytes stand there already."""

import numpy as np
import pytest

from rehydrate.chunks import ChunkTable
from rehydrate.conformance import Gap, World
from rehydrate.conformance.world import Piece, rows_of
from rehydrate.engine.layout import FileLayout, check_ranges, stored_rows
from rehydrate.errors import PublishError
from rehydrate.formats.native.format import NATIVE


def table_of(*files: list[Piece]) -> ChunkTable:
    rows = [rows_of(pieces) for pieces in files]
    ptr = np.cumsum([0, *(len(each) for each in rows)]).astype(np.int64)
    return ChunkTable(np.concatenate(rows), ptr)


@pytest.fixture
def world() -> World:
    return World()


def test_rows_without_stored_bytes_are_found(world: World) -> None:
    chunk = world.chunk(b"x" * 100)
    table = table_of(
        [chunk, Gap(50), Gap(4096, hole=True), chunk], [], [Gap(10_000, hole=True)], [chunk]
    )
    layout = FileLayout(table, np.array([4346, 0, 10_000, 300]))
    assert layout.rows.tolist() == [4, 0, 1, 1]
    assert layout.stored.tolist() == [2, 0, 0, 1]
    assert layout.holes(0) == [(150, 4246)]
    assert layout.zeros(0) == [(100, 150)]
    assert layout.holes(2) == [(0, 10_000)]
    assert layout.holes(1) == layout.zeros(1) == []
    assert layout.zeros(3) == [(100, 300)]
    assert layout.map_ends.tolist() == [4346, 0, 10_000, 100]


def test_allocated_bytes_are_whole_blocks_without_holes(world: World) -> None:
    chunk = world.chunk(b"x" * 100)
    table = table_of([chunk, Gap(8192), Gap(8192, hole=True)], [chunk])
    layout = FileLayout(table, np.array([16_484, 100]))
    both = np.array([0, 1])
    assert layout.allocated(both, sparse=False) == 12_288 + 4096
    assert layout.allocated(both, sparse=True) == 4096 + 4096
    assert layout.allocated(both, sparse=True, block=1) == 200
    assert layout.allocated(np.array([], np.int64), sparse=False) == 0


def test_chosen_rows_are_counted_by_file(world: World) -> None:
    chunk = world.chunk(b"x")
    table = table_of([chunk, chunk], [], [chunk, Gap(5), chunk])
    assert stored_rows(table, table.stored()).tolist() == [2, 0, 2]
    assert stored_rows(table, np.zeros(5, np.bool_)).tolist() == [0, 0, 0]


def content(world: World, pieces: list[Piece]) -> bytearray:
    return bytearray(world.content_of(pieces))


def test_ranges_are_checked_by_their_bytes(world: World) -> None:
    first, second = world.chunk(b"a" * 100), world.chunk(b"b" * 100)
    pieces: list[Piece] = [first, Gap(1 << 20), Gap(70_000), second, first]
    table = table_of([first], pieces)
    data = content(world, pieces)

    def read(offset: int, size: int) -> bytes:
        return bytes(data[offset : offset + size])

    def good(hints: list[tuple[int, int]] | None) -> list[bool]:
        found = check_ranges(NATIVE, table, 1, read, hints)
        assert found is not None
        return [bool(flag) for flag in found]

    assert good(None) == [True] * 5
    data[50] ^= 1
    data[(1 << 20) + 99] = 7
    assert good(None) == [False, False, True, True, True]
    size = len(data)
    assert good([(0, size)]) == [False, False, False, True, True]
    assert good([(size - 200, size - 50)]) == [False, False, False, True, False]
    assert good([(0, 10), (size - 100, size)]) == [False, False, False, False, True]
    assert good([]) == [False] * 5


def test_target_that_cannot_be_read_counts_as_unknown(world: World) -> None:
    def read(offset: int, size: int) -> bytes:
        raise PublishError("unreadable")

    table = table_of([world.chunk(b"a")])
    assert check_ranges(NATIVE, table, 0, read, None) is None
