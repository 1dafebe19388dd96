import numpy as np
import pytest

from rehydrate.plan.ranges import (
    Ranges,
    cover,
    first_owners,
    indexes,
    intersect,
    is_covered,
    merge,
    subtract,
)
from rehydrate.values import MAX_OFFSET

Pairs = list[tuple[int, int]]


def ranges(*pairs: tuple[int, int]) -> Ranges:
    columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return Ranges(columns[0], columns[1])


def pairs(found: Ranges) -> Pairs:
    return list(zip(found.start.tolist(), found.end.tolist(), strict=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(3, 3)], [], id="empty"),
        pytest.param([(0, 2), (2, 4)], [(0, 4)], id="touching"),
        pytest.param([(0, 9), (2, 4), (8, 12)], [(0, 12)], id="nested and overlapping"),
        pytest.param([(8, 9), (0, 1)], [(0, 1), (8, 9)], id="unsorted"),
        pytest.param([(5, MAX_OFFSET), (0, 1)], [(0, 1), (5, MAX_OFFSET)], id="to the end"),
    ],
)
def test_cover(given: Pairs, expected: Pairs) -> None:
    assert pairs(cover(ranges(*given))) == expected


def test_merge_joins_two_sets() -> None:
    assert pairs(merge(ranges((0, 3)), ranges((2, 5), (9, 10)))) == [(0, 5), (9, 10)]


def test_intersect_keeps_what_is_in_both() -> None:
    one, other = ranges((0, 10), (20, 30)), ranges((5, 6), (8, 22), (25, 40))
    assert pairs(intersect(one, other)) == [(5, 6), (8, 10), (20, 22), (25, 30)]
    assert pairs(intersect(one, ranges())) == []


def test_subtract_keeps_what_is_in_the_first_only() -> None:
    assert pairs(subtract(ranges((0, 10)), ranges((2, 4), (8, 20)))) == [(0, 2), (4, 8)]
    assert pairs(subtract(ranges((0, 10)), ranges((0, 10)))) == []
    assert pairs(subtract(ranges((0, MAX_OFFSET)), ranges((0, 1)))) == [(1, MAX_OFFSET)]
    assert pairs(subtract(ranges((7, 9)), ranges())) == [(7, 9)]


def test_is_covered_asks_for_every_byte() -> None:
    asked = ranges((0, 5), (4, 6), (9, 12), (11, 12), (30, 31), (5, 6))
    found = is_covered(asked, ranges((0, 5), (10, 12)))
    assert found.tolist() == [True, False, False, True, False, False]


def test_indexes_counts_up_in_each_range() -> None:
    assert indexes(np.array([3, 9, 0]), np.array([5, 9, 2])).tolist() == [3, 4, 0, 1]
    assert indexes(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([(0, 10), (0, 10)], [(0, 10, 0)], id="equal"),
        pytest.param(
            [(4, 6), (0, 10)], [(0, 4, 1), (4, 6, 0), (6, 10, 1)], id="hole in the second"
        ),
        pytest.param([(0, 10), (4, 6)], [(0, 10, 0)], id="inside the first"),
        pytest.param([(0, 2), (5, 7)], [(0, 2, 0), (5, 7, 1)], id="apart"),
        pytest.param([(0, 5), (5, 9)], [(0, 5, 0), (5, 9, 1)], id="touching"),
        pytest.param([(0, 8), (0, 4), (3, MAX_OFFSET)], [(0, 8, 0), (8, MAX_OFFSET, 2)], id="late"),
    ],
)
def test_each_byte_belongs_to_the_first_range_that_holds_it(
    given: Pairs, expected: list[tuple[int, int, int]]
) -> None:
    found, owners = first_owners(ranges(*given))
    assert [(*pair, owner) for pair, owner in zip(pairs(found), owners.tolist(), strict=True)] == (
        expected
    )
