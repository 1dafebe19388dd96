"""Random scenes: orders are permutations, their prices hold, and the guard never lets one lose."""

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.media.geometry import FORMATS, native_geometry
from rehydrate.media.locate import Regression, model_of
from rehydrate.media.ordering import Method, OrderOptions, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from tests.unit.media import oracle

NAMES = ["LTO-5", "LTO-6", "LTO-7", "LTO-7M", "LTO-8", "LTO-9"]
SIZES = [10**6, 10**8, 10**9, 10**10]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[str, Segments]:
    """Draw segments of one volume: scattered, in clusters, in a small part, or side by side."""
    name = draw(st.sampled_from(NAMES))
    capacity = native_geometry(FORMATS[name]).capacity
    count = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from(SIZES))
    centres = rng.integers(0, capacity, draw(st.integers(1, count)))
    spread = draw(st.sampled_from([10**9, 10**10, 10**11, capacity]))
    starts = rng.choice(centres, count) + rng.integers(-spread, spread + 1, count)
    starts = np.clip(starts, 0, capacity - size)
    lengths = rng.integers(0, size, count, endpoint=True)
    zeros = np.zeros(count, np.int64)
    return name, Segments(zeros, zeros, starts, lengths)


def priced(name: str, segments: Segments, order: list[int]) -> tuple[float, float]:
    """Price reading forward through an order; bytes that were just read are not read again."""
    tape, model = FORMATS[name], model_of(FORMATS[name])
    regression = Regression(half_m=tape.length_m * 0.965 / 2, native_rate=model.native_rate)
    at, reach, sums = (0, 0.0, 1), -1, [0.0, 0.0]
    for index in order:
        first = int(segments.start[index])
        end = first + int(segments.length[index])
        if not reach >= first >= reach - 2 * max(SIZES):
            go = oracle.spot(tape, first)
            sums[0] += oracle.motion(tape, model, at, go)
            sums[1] += oracle.regression(tape, regression, at, go, model.native_rate)
            reach = first
        if end > reach or end == first:
            at = oracle.spot(tape, end - 1, after=True) if end > first else oracle.spot(tape, first)
        reach = max(reach, end)
    return sums[0], sums[1]


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from([Method.AUTO, Method.SEARCH]), st.sampled_from([0.0, 1.4]))
def test_no_order_is_worse_than_the_logical_sort(
    scene: tuple[str, Segments], method: Method, dense: float
) -> None:
    name, segments = scene
    tape = Tape(model_of(FORMATS[name]), native_geometry(FORMATS[name]))
    options = OrderOptions(method=method, dense=dense)
    found = order_segments(segments, {0: tape}, options)
    order = found.order.tolist()
    assert sorted(order) == list(range(len(segments)))
    logical = np.lexsort((segments.length, segments.start)).tolist()
    ours, theirs = priced(name, segments, order), priced(name, segments, logical)
    assert ours[0] <= 1.01 * theirs[0] + 0.01
    assert ours[1] <= 1.01 * theirs[1] + 0.01
    again = order_segments(segments, {0: tape}, options)
    assert again.order.tolist() == order


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-1, 2), st.integers(0, 1), st.integers(-1, 10**13), st.integers(0, 10**11)
        ),
        max_size=40,
    ),
    st.sampled_from([1, 7, 3500]),
)
def test_every_list_comes_back_as_a_permutation_and_volumes_stay_together(
    rows: list[tuple[int, int, int, int]], window: int
) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    volume, partition, start, length = columns or [np.zeros(0, np.int64)] * 4
    segments = Segments(volume, partition, start, length)
    geometry = native_geometry(FORMATS["LTO-8"], pairs=(40, 63))
    tape = Tape(model_of(FORMATS["LTO-8"]), geometry)
    options = OrderOptions(method=Method.SEARCH, window=window, dense=0)
    found = order_segments(segments, {0: tape, 1: attrs.evolve(tape, geometry=None)}, options)
    assert sorted(found.order.tolist()) == list(range(len(rows)))
    inside = volume[found.order]
    assert int(np.count_nonzero(np.diff(inside))) == max(len(np.unique(inside)) - 1, 0)
    # With one drive every volume but the last makes room for the next one, and is rewound for that.
    leaving = [about.volume for about in found.volumes if about.volume != UNKNOWN][:-1]
    for about in found.volumes:
        steps = slice(about.first, about.first + about.count)
        assert (inside[steps] == about.volume).all()
        placed = start[found.order[steps]] != UNKNOWN
        if about.volume != UNKNOWN:
            assert placed.tolist() == sorted(placed.tolist(), reverse=True)
            assert about.unknown == np.count_nonzero(~placed)
        if about.alternatives:
            logical, best = about.alternatives[1:]
            assert best.motion_s <= logical.motion_s
            assert best.regression_s <= logical.regression_s
            back = about.rewind_s if about.volume in leaving else 0.0
            assert about.locate_s + back == pytest.approx(best.motion_s)
