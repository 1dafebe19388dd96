"""Range algebra against sets of bytes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.plan.ranges import (
    Ranges,
    cover,
    first_owners,
    intersect,
    is_covered,
    merge,
    subtract,
)

Pairs = list[tuple[int, int]]

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=12).map(
    lambda found: [(start, start + size) for start, size in found]
)


def ranges(pairs: Pairs) -> Ranges:
    columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return Ranges(columns[0], columns[1])


def members(found: Ranges) -> set[int]:
    pairs = zip(found.start.tolist(), found.end.tolist(), strict=True)
    return {byte for start, end in pairs for byte in range(start, end)}


def check_cover(found: Ranges) -> None:
    assert (found.start < found.end).all()
    assert (found.end[:-1] < found.start[1:]).all()


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_ranges_behave_like_sets_of_bytes(left: Pairs, right: Pairs) -> None:
    one, other = cover(ranges(left)), cover(ranges(right))
    mine, theirs = members(ranges(left)), members(ranges(right))
    for found, expected in (
        (one, mine),
        (merge(ranges(left), ranges(right)), mine | theirs),
        (intersect(one, other), mine & theirs),
        (subtract(one, other), mine - theirs),
    ):
        check_cover(found)
        assert members(found) == expected


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_what_is_subtracted_and_what_is_shared_make_the_whole(left: Pairs, right: Pairs) -> None:
    one, other = cover(ranges(left)), cover(ranges(right))
    whole = merge(subtract(one, other), intersect(one, other))
    assert whole.start.tolist() == one.start.tolist()
    assert whole.end.tolist() == one.end.tolist()


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_covering_a_cover_changes_nothing(left: Pairs, right: Pairs) -> None:
    one = cover(ranges(left))
    assert cover(one).start.tolist() == one.start.tolist()
    assert members(merge(one, ranges(right))) == members(merge(ranges(right), one))


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_is_covered_asks_for_every_byte(left: Pairs, right: Pairs) -> None:
    asked = [pair for pair in left if pair[0] < pair[1]]
    held = members(ranges(right))
    found = is_covered(ranges(asked), cover(ranges(right))).tolist()
    assert found == [set(range(*pair)) <= held for pair in asked]


@settings(deadline=None)
@given(PAIRS)
def test_each_byte_has_its_first_owner(pairs: Pairs) -> None:
    given_pairs = [pair for pair in pairs if pair[0] < pair[1]]
    found, owners = first_owners(ranges(given_pairs))
    assert (found.end[:-1] <= found.start[1:]).all()
    got = {
        byte: owner
        for start, end, owner in zip(
            found.start.tolist(), found.end.tolist(), owners.tolist(), strict=True
        )
        for byte in range(start, end)
    }
    expected: dict[int, int] = {}
    for number, pair in enumerate(given_pairs):
        for byte in range(*pair):
            expected.setdefault(byte, number)
    assert got == expected
