"""Rows of stream maps against a check that was written the slow way."""

import random

import numpy as np
import pytest

from rehydrate.chunks import HOLE, ROW_DTYPE, ChunkTable, Rows
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats import maps
from rehydrate.formats.maps import check_maps
from rehydrate.formats.walk import Limits
from rehydrate.values import MAX_OFFSET
from tests.spec.small_store import hole_row, make_row, zero_row

LIMITS = Limits(chunk_size=1000)
OVERHEAD = 64 << 10


def chunk(end: int, **changes: int) -> Rows:
    fields = {"container": 1, "generation": 1, "offset": 4096, "local_id": 1, "length": 100}
    return make_row(end=end, digest=b"d" * 32, **{**fields, **changes})


def table_of(*files: list[Rows]) -> ChunkTable:
    rows = [row for file in files for row in file]
    ptr = np.cumsum([0, *map(len, files)])
    return ChunkTable(np.concatenate(rows) if rows else np.empty(0, ROW_DTYPE), ptr)


def codes(table: ChunkTable, *sizes: int) -> dict[int, str]:
    found = check_maps(table, np.array(sizes, np.int64), LIMITS)
    return {file: error.code for file, error in found.items()}


def is_right(rows: Rows, size: int) -> bool:
    """Decide about one file row by row."""
    begin = 0
    for row in rows:
        end = int(row["end"])
        if not begin < end <= MAX_OFFSET:
            return False
        offset, length = int(row["offset"]), int(row["length"])
        if row["container"]:
            if end - begin > LIMITS.chunk_size or not 0 < length <= LIMITS.chunk_size + OVERHEAD:
                return False
            if offset + length > MAX_OFFSET:
                return False
        elif (
            row["local_id"] > HOLE
            or row["generation"]
            or offset
            or length
            or any(row["digest"].tobytes())
        ):
            return False
        begin = end
    return begin == size


@pytest.mark.parametrize(
    ("rows", "size", "code"),
    [
        pytest.param([], 0, None, id="empty"),
        pytest.param([chunk(1000)], 1000, None, id="one"),
        pytest.param([chunk(1), zero_row(10**9), chunk(10**9 + 1)], 10**9 + 1, None, id="zeros"),
        pytest.param([hole_row(MAX_OFFSET)], MAX_OFFSET, None, id="largest hole"),
        pytest.param([chunk(10, length=1000 + OVERHEAD)], 10, None, id="longest record"),
        pytest.param([chunk(10, offset=MAX_OFFSET - 100)], 10, None, id="last offset"),
        pytest.param([], 1, "map.size", id="no rows"),
        pytest.param([chunk(10)], 11, "map.size", id="ends before the size"),
        pytest.param([chunk(10)], 9, "map.size", id="ends behind the size"),
        pytest.param([chunk(0)], 0, "map.order", id="no bytes"),
        pytest.param([chunk(10), chunk(10)], 10, "map.order", id="no bytes later"),
        pytest.param([chunk(10), chunk(5)], 5, "map.order", id="backwards"),
        pytest.param([hole_row(2**63)], 0, "map.order", id="2^63"),
        pytest.param([hole_row(2**64 - 1)], 0, "map.order", id="2^64 - 1"),
        pytest.param([hole_row(2**64 - 5), chunk(10)], 10, "map.order", id="wraps to the size"),
        pytest.param([hole_row(2**63), hole_row(2**63 + 5)], 0, "map.order", id="above 2^63"),
        pytest.param([chunk(1001)], 1001, "map.chunk-size", id="large chunk"),
        pytest.param([chunk(10), chunk(1011)], 1011, "map.chunk-size", id="large chunk later"),
        pytest.param([chunk(10, length=1001 + OVERHEAD)], 10, "map.chunk-size", id="long record"),
        pytest.param([chunk(10, length=2**32 - 1)], 10, "map.chunk-size", id="4 GiB"),
        pytest.param([chunk(10, length=0)], 10, "map.offset", id="no record"),
        pytest.param([chunk(10, offset=MAX_OFFSET - 99)], 10, "map.offset", id="offset"),
        pytest.param([chunk(10, offset=2**64 - 1)], 10, "map.offset", id="offset wraps"),
        pytest.param([make_row(end=10, local_id=2)], 10, "map.zero", id="unknown plain row"),
        pytest.param([make_row(end=10, generation=1)], 10, "map.zero", id="generation"),
        pytest.param([make_row(end=10, offset=1)], 10, "map.zero", id="zero with offset"),
        pytest.param([make_row(end=10, length=1)], 10, "map.zero", id="zero with length"),
        pytest.param([make_row(end=10, digest=b"\1" + bytes(31))], 10, "map.zero", id="digest"),
        pytest.param([make_row(end=10, digest=bytes(31) + b"\1")], 10, "map.zero", id="digest end"),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 1 << 17])
def test_rows(
    rows: list[Rows], size: int, code: str | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_BLOCK", block)
    table = table_of([chunk(7)], [], rows, [], [chunk(3), chunk(9)])
    expected = {} if code is None else {2: code}
    assert codes(table, 7, 0, size, 0, 9) == expected
    assert is_right(table.rows[1 : 1 + len(rows)], size) is (code is None)


def test_no_files() -> None:
    assert check_maps(table_of(), np.array([], np.int64), LIMITS) == {}


def test_an_error_is_that_of_its_file_among_empty_ones() -> None:
    table = table_of([], [], [chunk(5), chunk(4)], [], [chunk(2000)], [])
    assert codes(table, 0, 0, 4, 0, 2000, 1) == {2: "map.order", 4: "map.chunk-size", 5: "map.size"}


def test_error_says_what_is_wrong() -> None:
    (error,) = check_maps(table_of([chunk(2000)]), np.array([2000]), LIMITS).values()
    assert isinstance(error, CorruptMetadataError)
    assert "1000 bytes" in error.message


@pytest.mark.parametrize("seed", range(40))
def test_same_verdict_as_row_by_row(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_BLOCK", 13)
    source = random.Random(seed)
    numbers = [0, 1, 2, 9, 999, 1000, 1001, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
    files: list[list[Rows]] = []
    sizes: list[int] = []
    for _ in range(60):
        end = 0
        rows = []
        for _ in range(source.randrange(5)):
            end += source.randrange(1, 900)
            rows.append(source.choice([chunk, zero_row, hole_row])(end))
        if rows and source.random() < 0.7:
            row = source.choice(rows)
            name = source.choice(["container", "generation", "offset", "local_id", "length", "end"])
            top = 2 ** (8 * row.dtype[name].itemsize)
            row[name] = source.choice([n for n in numbers if n < top])
        files.append(rows)
        sizes.append(end if source.random() < 0.9 else source.choice(numbers[:-2]))
    table = table_of(*files)
    bad = check_maps(table, np.array(sizes, np.int64), LIMITS)
    for number, size in enumerate(sizes):
        rows_of_file = table.rows[table.row_ptr[number] : table.row_ptr[number + 1]]
        assert is_right(rows_of_file, size) is (number not in bad)
