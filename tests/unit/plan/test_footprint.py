import numpy as np
import pytest

from rehydrate.chunks import ChunkTable
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.footprint import allocated_sizes, exact_sum, logical_sizes, unfinished_peak
from rehydrate.plan.planner import find_needs
from rehydrate.plan.rounds import plan_round
from rehydrate.values import MAX_OFFSET, ContainerExtent
from tests.unit.plan.oracle import Row, hole, table_of, zeros


def test_sums_beyond_64_bits_are_exact() -> None:
    assert exact_sum(np.full(5, MAX_OFFSET)) == 5 * MAX_OFFSET
    assert exact_sum(np.zeros(0, np.int64)) == 0


def test_holes_are_not_allocated() -> None:
    files = [[hole(5), Row(1, 8, size=10), zeros(3), hole(4)], [], [hole(7)], [Row(1, 8, size=1)]]
    assert logical_sizes(table_of(files)).tolist() == [22, 0, 7, 1]
    assert allocated_sizes(table_of(files)).tolist() == [13, 0, 0, 1]


def test_no_files_take_nothing() -> None:
    assert logical_sizes(table_of([])).tolist() == []
    assert allocated_sizes(table_of([[], []])).tolist() == [0, 0]


def peak(
    table: ChunkTable,
    answer: list[ContainerExtent] | None = None,
    *,
    wanted: list[bool] | None = None,
    max_read: int = 10,
) -> int:
    mask = None if wanted is None else np.array(wanted)
    needs = find_needs(table, mask)
    extents, _ = accept_order(answer, needs, containers=len(needs.containers))
    plan = plan_round(needs, extents, max_gap=0, max_read=max_read)
    return unfinished_peak(needs, table, plan)


A, B, C, D = (Row(1, offset) for offset in (0, 10, 20, 30))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param([], 0, id="no files"),
        pytest.param([[], [zeros(9)], [hole(9)]], 0, id="nothing to read"),
        pytest.param([[A], [B], [C]], 100, id="one after the other"),
        pytest.param([[A], [B], [A, B, C]], 400, id="each within the last"),
        pytest.param([[A, D], [B, C]], 400, id="one within the other"),
        pytest.param([[A, B], [B, C]], 400, id="both at one chunk"),
        pytest.param([[A, B], [C, D]], 200, id="apart"),
        pytest.param([[A], [A], [A]], 300, id="all at once"),
        pytest.param([[A, zeros(50), hole(1000), B], [C]], 250, id="holes take nothing"),
    ],
)
def test_files_count_from_their_first_chunk_to_their_last(
    files: list[list[Row]], expected: int
) -> None:
    assert peak(table_of(files)) == expected
    assert peak(table_of(files), max_read=1000) == expected


def test_the_order_of_reading_decides() -> None:
    table = table_of([[A, C], [B, D]])
    assert peak(table) == 400
    order = [(0, 10), (20, 30), (10, 20), (30, 40)]
    answer = [ContainerExtent(index=0, offset=s, length=e - s) for s, e in order]
    assert peak(table, answer) == 200


def test_a_record_in_fragments_comes_with_the_last() -> None:
    large = Row(1, 0, length=20)
    table = table_of([[large, Row(1, 20, length=5)], [Row(1, 30, length=5)]])
    assert peak(table) == 200
    cuts = [ContainerExtent(index=0, offset=5), ContainerExtent(index=0, length=5)]
    assert peak(table, cuts) == 300


def test_files_that_cannot_be_read_do_not_begin() -> None:
    table = table_of([[A, Row(2, 0)], [B], [Row(2, 0)]])
    assert peak(table, [ContainerExtent(index=0)]) == 100


def test_rows_that_are_not_wanted_do_not_count() -> None:
    table = table_of([[A, D], [B, C]])
    assert peak(table, wanted=[True, False, True, True]) == 200


def test_sizes_beyond_64_bits_add_up() -> None:
    table = table_of([[A, zeros(MAX_OFFSET - 100)] for _ in range(3)])
    assert peak(table) == 3 * MAX_OFFSET
