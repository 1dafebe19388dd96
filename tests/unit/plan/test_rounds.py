import numpy as np
import pytest

from rehydrate.errors import LimitError
from rehydrate.plan import pieces
from rehydrate.plan.coalesce import Extents, accept_order
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan, plan_round
from rehydrate.values import MAX_OFFSET, ContainerExtent
from tests.unit.plan.oracle import check_round, needs_of

Given = list[tuple[int, int, int]]


def planned(
    needs: Needs, given: Given | None = None, *, max_gap: int = 0, max_read: int = 1000
) -> RoundPlan:
    """Plan and replay; ``given`` are container, start and end of each extent."""
    answer = None
    if given is not None:
        answer = [ContainerExtent(index=c, offset=s, length=e - s) for c, s, e in given]
    extents, missing = accept_order(answer, needs, containers=len(needs.containers))
    plan = plan_round(needs, extents, max_gap=max_gap, max_read=max_read)
    check_round(needs, extents, plan, set(missing.tolist()), (max_gap, max_read))
    for block in (1, 2, 3):
        small = plan_round(needs, extents, max_gap=max_gap, max_read=max_read, block=block)
        check_round(needs, extents, small, set(missing.tolist()), (max_gap, max_read))
    return plan


def reads(plan: RoundPlan) -> list[tuple[int, int]]:
    return list(zip(plan.read_offset.tolist(), plan.read_size.tolist(), strict=True))


def fragments(plan: RoundPlan) -> list[tuple[int, ...]]:
    columns = (
        plan.fragment_read,
        plan.fragment_need,
        plan.fragment_at,
        plan.fragment_size,
        plan.fragment_source,
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_nothing_needed_is_nothing_read() -> None:
    plan = planned(needs_of([], 0))
    assert plan.read_ptr.tolist() == [0]
    assert plan.need_ptr.tolist() == [0]
    assert plan.fragment_ptr().tolist() == [0]


@pytest.mark.parametrize(
    ("max_gap", "expected"),
    [
        pytest.param(0, [(10, 10), (25, 5), (31, 9)], id="no gap"),
        pytest.param(1, [(10, 10), (25, 15)], id="a gap of one"),
        pytest.param(4, [(10, 10), (25, 15)], id="one too small"),
        pytest.param(5, [(10, 30)], id="just enough"),
    ],
)
def test_neighbours_merge_across_small_gaps(max_gap: int, expected: list[tuple[int, int]]) -> None:
    needs = needs_of([(0, 10, 5), (0, 15, 5), (0, 25, 5), (0, 31, 9)], 1)
    plan = planned(needs, max_gap=max_gap)
    assert reads(plan) == expected
    assert plan.extent_needed.tolist() == [24]
    assert plan.need.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("max_read", "expected"),
    [
        pytest.param(30, [(0, 30)], id="exactly full"),
        pytest.param(29, [(0, 20), (20, 10)], id="cut at a record"),
        pytest.param(10, [(0, 10), (10, 10), (20, 10)], id="one record each"),
    ],
)
def test_reads_are_cut_between_records(max_read: int, expected: list[tuple[int, int]]) -> None:
    plan = planned(needs_of([(0, 0, 10), (0, 10, 10), (0, 20, 10)], 1), max_read=max_read)
    assert reads(plan) == expected
    assert fragments(plan) == []


def test_a_gap_counts_towards_the_size_of_a_read() -> None:
    needs = needs_of([(0, 0, 10), (0, 15, 10)], 1)
    assert reads(planned(needs, max_gap=5, max_read=25)) == [(0, 25)]
    assert reads(planned(needs, max_gap=5, max_read=24)) == [(0, 10), (15, 10)]


def test_a_record_larger_than_a_read_comes_in_fragments() -> None:
    plan = planned(needs_of([(0, 0, 5), (0, 5, 25), (0, 30, 5)], 1), max_read=10)
    assert reads(plan) == [(0, 5), (5, 10), (15, 10), (25, 10)]
    assert fragments(plan) == [(1, 1, 0, 10, 0), (2, 1, 10, 10, 0), (3, 1, 20, 5, 0)]
    assert plan.fragment_ptr().tolist() == [0, 0, 1, 2, 3]
    assert plan.need.tolist() == [0, 2]
    assert plan.need_ptr.tolist() == [0, 1, 1, 1, 2]


def test_a_record_that_straddles_extents_is_joined() -> None:
    needs = needs_of([(0, 0, 10), (0, 10, 10), (0, 20, 10)], 1)
    plan = planned(needs, [(0, 16, 40), (0, 0, 16)])
    assert plan.extent_start.tolist() == [16, 0]
    assert reads(plan) == [(16, 14), (0, 16)]
    assert fragments(plan) == [(0, 1, 6, 4, 0), (1, 1, 0, 6, 10)]
    assert plan.need.tolist() == [2, 0]


def test_a_record_may_straddle_many_extents() -> None:
    needs = needs_of([(0, 2, 10)], 1)
    plan = planned(needs, [(0, at, at + 3) for at in (9, 0, 6, 3)])
    assert reads(plan) == [(9, 3), (2, 1), (6, 3), (3, 3)]


def test_extents_keep_the_order_of_the_answer_across_containers() -> None:
    needs = needs_of([(0, 0, 10), (0, 50, 10), (1, 0, 10), (1, 50, 10)], 2)
    plan = planned(needs, [(1, 40, 99), (0, 0, 40), (0, 40, 99), (1, 0, 40)], max_gap=1000)
    assert plan.extent_container.tolist() == [1, 0, 0, 1]
    assert plan.need.tolist() == [3, 0, 1, 2]
    assert plan.read_ptr.tolist() == [0, 1, 2, 3, 4]


def test_a_byte_is_read_in_the_first_extent_that_holds_it() -> None:
    needs = needs_of([(0, 0, 10), (0, 10, 10), (0, 20, 10)], 1)
    plan = planned(needs, [(0, 10, 20), (0, 0, 99)], max_gap=1000)
    assert reads(plan) == [(10, 10), (0, 10), (20, 10)]
    assert plan.extent_start.tolist() == [10, 0]
    assert plan.extent_end.tolist() == [20, 99]
    assert plan.extent_needed.tolist() == [10, 20]


def test_extents_without_needs_are_left_out() -> None:
    needs = needs_of([(0, 5, 5), (0, 95, 5)], 1)
    plan = planned(needs, [(0, 0, 20), (0, 20, 90), (0, 90, 200)], max_gap=1000)
    assert plan.extent_start.tolist() == [0, 90]


def test_containers_without_extents_are_left_out() -> None:
    plan = planned(needs_of([(0, 5, 5), (1, 5, 5), (2, 5, 5)], 3), [(2, 0, 99), (1, 0, 99)])
    assert plan.extent_container.tolist() == [2, 1]
    assert plan.need.tolist() == [2, 1]


def test_overlapping_records_are_read_once_and_both_delivered() -> None:
    plan = planned(needs_of([(0, 0, 10), (0, 5, 10), (0, 6, 2), (0, 0, 10)], 1))
    assert reads(plan) == [(0, 15)]
    assert plan.need.tolist() == [0, 1, 2, 3]
    assert plan.extent_needed.tolist() == [15]


def test_overlapping_records_larger_than_a_read_come_in_fragments() -> None:
    plan = planned(needs_of([(0, 0, 30), (0, 5, 10), (0, 8, 2), (0, 29, 3)], 1), max_read=10)
    assert reads(plan) == [(0, 10), (10, 10), (20, 10), (30, 2)]
    assert plan.need.tolist() == [2]


def test_a_short_record_inside_a_long_one_does_not_end_it() -> None:
    plan = planned(needs_of([(0, 0, 30), (0, 2, 2), (0, 10, 5), (0, 31, 5)], 1))
    assert reads(plan) == [(0, 30), (31, 5)]


def test_overlapping_records_in_several_extents() -> None:
    needs = needs_of([(0, 0, 30), (0, 5, 10), (0, 12, 30), (0, 50, 5)], 1)
    planned(needs, [(0, 20, 60), (0, 10, 20), (0, 0, 14)], max_read=7)


@pytest.mark.parametrize("max_read", [1, 7, 2**31 - 1])
def test_records_at_the_end_of_the_largest_container(max_read: int) -> None:
    needs = needs_of([(0, 0, 3), (0, MAX_OFFSET - 20, 15), (0, MAX_OFFSET - 5, 5)], 1)
    plan = planned(needs, max_read=max_read, max_gap=2**70)
    assert plan.read_offset[-1] + plan.read_size[-1] == MAX_OFFSET
    planned(needs, [(0, MAX_OFFSET - 10, MAX_OFFSET), (0, 0, MAX_OFFSET - 10)], max_read=max_read)


def test_an_unbounded_gap_is_bounded_by_the_size_of_a_read() -> None:
    plan = planned(needs_of([(0, 0, 1), (0, 500, 1), (0, 2000, 1)], 1), max_gap=2**63)
    assert reads(plan) == [(0, 501), (2000, 1)]


def test_a_long_run_is_cut_as_one_by_one_merging_would() -> None:
    lengths = np.random.default_rng(3).integers(1, 40, 2000).tolist()
    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1])).tolist()
    pairs = list(zip(offsets, lengths, strict=True))
    needs = needs_of([(0, *pair) for pair in pairs] + [(1, *pair) for pair in pairs[:50]], 2)
    planned(needs, max_read=100)


@pytest.mark.parametrize(("max_gap", "max_read"), [(-1, 10), (0, 0), (0, 2**31), (0, -5)])
def test_limits_out_of_range_are_refused(max_gap: int, max_read: int) -> None:
    needs = needs_of([(0, 0, 1)], 1)
    extents, _ = accept_order(None, needs, containers=1)
    with pytest.raises(LimitError):
        plan_round(needs, extents, max_gap=max_gap, max_read=max_read)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([(0, 5, 50)], id="one extent"),
        pytest.param([(0, 0, 10), (0, 20, 50)], id="between two"),
        pytest.param([(0, 12, 20), (0, 20, 50)], id="before the first of two"),
        pytest.param([(0, 0, 10), (0, 10, 45)], id="behind the last of two"),
    ],
)
def test_extents_that_were_not_checked_are_noticed(given: Given) -> None:
    needs = needs_of([(0, 0, 20), (0, 40, 10)], 1)
    columns = np.array(given, np.int64).T
    extents = Extents(columns[0].astype(np.uint32), columns[1], columns[2])
    with pytest.raises(ValueError, match="leave out"):
        plan_round(needs, extents, max_gap=0, max_read=100)


def overlapping(count: int, extents: int) -> tuple[Needs, Extents]:
    needs = needs_of([(0, at, 1000) for at in range(count)], 1)
    cuts = [(0, at * 10, (at + 1) * 10) for at in range(extents)]
    answer = [ContainerExtent(index=c, offset=s, length=e - s) for c, s, e in cuts]
    answer.append(ContainerExtent(index=0, offset=extents * 10))
    return needs, accept_order(answer, needs, containers=1)[0]


def test_a_plan_out_of_proportion_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SPARE_FRAGMENTS", 100)
    needs, extents = overlapping(50, 80)
    with pytest.raises(LimitError, match="fragments"):
        plan_round(needs, extents, max_gap=0, max_read=2000)
    needs, extents = overlapping(50, 0)
    with pytest.raises(LimitError, match="fragments"):
        plan_round(needs, extents, max_gap=0, max_read=20)


def test_a_large_record_in_many_extents_is_not_out_of_proportion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "SPARE_FRAGMENTS", 0)
    needs = needs_of([(0, 0, 5000)], 1)
    planned(needs, [(0, at, at + 10) for at in range(0, 5000, 10)], max_read=3)
