"""Any table of references against a dict."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.plan.planner import find_needs
from rehydrate.values import MAX_OFFSET
from tests.unit.plan.oracle import Row, check_needs, hole, table_of, zeros

OFFSETS = st.one_of(
    st.sampled_from((0, 8, 16, 2**31, 2**32 - 8, 2**40, MAX_OFFSET - 50, MAX_OFFSET - 20)),
    st.integers(0, MAX_OFFSET - 20),
)
STORED = st.builds(
    Row,
    container=st.sampled_from((1, 2, 3, 70_000, 2**32 - 1)),
    generation=st.sampled_from((0, 0, 1, 2**32 - 1)),
    offset=OFFSETS,
    length=st.sampled_from((1, 10, 20)),
    size=st.sampled_from((1, 100)),
    local_id=st.sampled_from((0, 2**32 - 1)),
    digest=st.sampled_from((0, 0, 1)),
)
ROWS = st.one_of(STORED, STORED, st.builds(zeros, st.just(5)), st.builds(hole, st.just(5)))


@st.composite
def files_with_repeats(draw: st.DrawFn) -> list[list[Row]]:
    """Files whose rows come from a small pool, so that most are wanted several times."""
    pool = draw(st.lists(ROWS, min_size=1, max_size=8))
    return draw(st.lists(st.lists(st.sampled_from(pool), max_size=8), max_size=8))


@settings(deadline=None)
@given(files_with_repeats(), st.randoms(use_true_random=False), st.sampled_from((None, 0.6)))
def test_needs_are_those_of_a_dict(
    files: list[list[Row]], chance: random.Random, share: float | None
) -> None:
    table = table_of(files)
    wanted = None
    if share is not None:
        wanted = np.array([chance.random() < share for _ in table.rows], np.bool_)
    needs = find_needs(table, wanted, sort_key=lambda pair: str(pair[0] % 7))
    check_needs(table, wanted, needs)
    keys = [(str(pair[0] % 7), pair) for pair in needs.containers]
    assert keys == sorted(keys)


@settings(deadline=None)
@given(files_with_repeats(), st.integers(1, 9))
def test_small_blocks_lose_and_invent_nothing(files: list[list[Row]], block: int) -> None:
    table = table_of(files)
    needs = find_needs(table, block=block)
    whole = find_needs(table)
    assert sorted(needs.use_row.tolist()) == sorted(whole.use_row.tolist())
    assert needs.containers == whole.containers
    rows = table.rows
    for index in range(len(needs)):
        uses = needs.use_row[needs.use_ptr[index] : needs.use_ptr[index + 1]]
        assert len({rows[use]["digest"].tobytes() for use in uses}) == 1
        assert set(rows[uses]["offset"].tolist()) == {needs.offset[index]}


@settings(deadline=None)
@given(files_with_repeats())
def test_planning_twice_gives_the_same(files: list[list[Row]]) -> None:
    one, other = find_needs(table_of(files)), find_needs(table_of(files))
    for name in ("container", "offset", "length", "row", "use_ptr", "use_row"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
