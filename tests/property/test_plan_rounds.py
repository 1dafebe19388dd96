"""Any needs and any order of the vendor: each needed byte once, in its extent, within limits."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.errors import StoreContractError
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.rounds import plan_round
from rehydrate.values import MAX_OFFSET, ContainerExtent
from tests.unit.plan.oracle import check_round, greedy_reads, needs_of

Record = tuple[int, int, int]
CONTAINERS = 3

GAPS = st.sampled_from((0, 1, 2, 5, 100))
SIZES = st.sampled_from((1, 3, 7, 8, 20, 64, 1000))
BLOCKS = st.sampled_from((1, 2, 3, 1 << 16))


@st.composite
def chained(draw: st.DrawFn) -> list[Record]:
    """Records as an undamaged store has them: one behind the other."""
    records = []
    for container in range(CONTAINERS):
        at = 0
        for gap, length in draw(
            st.lists(st.tuples(st.integers(0, 6), st.integers(1, 12)), max_size=8)
        ):
            records.append((container, at + gap, length))
            at += gap + length
    return records


OVERLAPPING = st.lists(
    st.tuples(st.integers(0, CONTAINERS - 1), st.integers(0, 60), st.integers(1, 25)),
    max_size=14,
)
RECORDS = st.one_of(chained(), OVERLAPPING)


@st.composite
def orders(draw: st.DrawFn) -> list[ContainerExtent]:
    """Extents that cover every container they mention, cut anywhere, overlapping, shuffled."""
    found = []
    for container in draw(st.sets(st.integers(0, CONTAINERS - 1), min_size=1)):
        cuts = sorted(draw(st.sets(st.integers(1, 90), max_size=4)))
        for start, end in zip([0, *cuts], [*cuts, MAX_OFFSET], strict=True):
            extra = draw(st.integers(0, 9))
            length = min(end - start + extra, MAX_OFFSET)
            found.append(ContainerExtent(index=container, offset=start, length=length))
        found.extend(
            ContainerExtent(index=container, offset=offset, length=length)
            for offset, length in draw(
                st.lists(st.tuples(st.integers(0, 80), st.integers(0, 30)), max_size=2)
            )
        )
    return draw(st.permutations(found))


@settings(deadline=None, max_examples=300)
@given(RECORDS, st.one_of(st.none(), orders()), GAPS, SIZES, BLOCKS)
def test_any_order_reads_each_needed_byte_once_and_inside_its_extent(
    records: list[Record],
    answer: list[ContainerExtent] | None,
    max_gap: int,
    max_read: int,
    block: int,
) -> None:
    needs = needs_of(records, CONTAINERS)
    extents, missing = accept_order(answer, needs, containers=CONTAINERS)
    plan = plan_round(needs, extents, max_gap=max_gap, max_read=max_read, block=block)
    # A repeated extent owns nothing; the replay looks extents up by their values.
    check_round(needs, extents, plan, set(missing.tolist()), (max_gap, max_read))


@settings(deadline=None)
@given(chained(), GAPS, SIZES)
def test_reads_are_those_of_merging_one_by_one(
    records: list[Record], max_gap: int, max_read: int
) -> None:
    needs = needs_of(records, CONTAINERS)
    extents, _ = accept_order(None, needs, containers=CONTAINERS)
    plan = plan_round(needs, extents, max_gap=max_gap, max_read=max_read)
    expected = []
    for container in range(CONTAINERS):
        mine = [(offset, length) for where, offset, length in records if where == container]
        expected += greedy_reads(mine, max_gap, max_read)
    got = list(zip(plan.read_offset.tolist(), plan.read_size.tolist(), strict=True))
    assert got == expected


@settings(deadline=None)
@given(RECORDS, GAPS, SIZES)
def test_a_larger_gap_never_makes_more_reads(
    records: list[Record], max_gap: int, max_read: int
) -> None:
    needs = needs_of(records, CONTAINERS)
    extents, _ = accept_order(None, needs, containers=CONTAINERS)
    counts = [
        len(plan_round(needs, extents, max_gap=gap, max_read=max_read).read_size)
        for gap in (0, max_gap, 10**9)
    ]
    assert counts == sorted(counts, reverse=True)


@settings(deadline=None)
@given(RECORDS, st.lists(st.tuples(st.integers(0, 2), st.integers(0, 70), st.integers(0, 40))))
def test_an_answer_is_refused_exactly_when_it_leaves_out_a_needed_byte(
    records: list[Record], parts: list[tuple[int, int, int]]
) -> None:
    needs = needs_of(records, CONTAINERS)
    answer = [ContainerExtent(index=c, offset=s, length=n) for c, s, n in parts]
    given_bytes = {(c, byte) for c, s, n in parts for byte in range(s, s + n)}
    named = {c for c, _, n in parts if n}
    needed = {(c, byte) for c, s, n in records for byte in range(s, s + n)}
    if {place for place in needed if place[0] in named} <= given_bytes:
        extents, missing = accept_order(answer, needs, containers=CONTAINERS)
        assert set(missing.tolist()) == (set(range(CONTAINERS)) - named if named else set())
        plan = plan_round(needs, extents, max_gap=3, max_read=20)
        check_round(needs, extents, plan, set(missing.tolist()), (3, 20))
    else:
        with pytest.raises(StoreContractError):
            accept_order(answer, needs, containers=CONTAINERS)


@settings(deadline=None)
@given(chained(), st.randoms(use_true_random=False))
def test_the_order_of_whole_containers_changes_no_read(
    records: list[Record], chance: random.Random
) -> None:
    needs = needs_of(records, CONTAINERS)
    order = list(range(CONTAINERS))
    chance.shuffle(order)
    answer = [ContainerExtent(index=container) for container in order]
    found = []
    for given_answer in (None, answer):
        extents, _ = accept_order(given_answer, needs, containers=CONTAINERS)
        plan = plan_round(needs, extents, max_gap=2, max_read=20)
        whose = plan.extent_container.repeat(plan.read_ptr[1:] - plan.read_ptr[:-1])
        columns = (whose, plan.read_offset, plan.read_size)
        found.append(sorted(zip(*(column.tolist() for column in columns), strict=True)))
    assert found[0] == found[1]
