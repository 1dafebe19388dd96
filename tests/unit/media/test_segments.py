"""Segments and the runs that read them."""

import numpy as np
import numpy.typing as npt
import pytest

from rehydrate.errors import RequestError
from rehydrate.media.geometry import native_geometry
from rehydrate.media.segments import Runs, Segments, logical_order, merge, places
from tests.unit.media.test_geometry import SMALL

GEOMETRY = native_geometry(SMALL, length_m=100.0)


def wanted(*ranges: tuple[int, int]) -> Segments:
    zeros = [0] * len(ranges)
    return Segments(zeros, zeros, [first for first, _ in ranges], [size for _, size in ranges])


def runs_of(segments: Segments, small: float = 0.0, large: float = 0.0, most: int = 99) -> Runs:
    order = logical_order(segments, np.arange(len(segments)))
    return merge(segments, order, GEOMETRY, small=small, large=large, most=most)


def test_overlapping_double_and_touching_segments_are_one_run() -> None:
    runs = runs_of(wanted((50, 5), (10, 10), (15, 10), (12, 2), (25, 5), (10, 10)))
    assert runs.member.tolist() == [1, 5, 3, 2, 4, 0]
    assert runs.member_ptr.tolist() == [0, 5, 6]
    assert runs.fresh.tolist() == [10, 0, 0, 5, 5, 5]
    assert runs.skipped.tolist() == [0] * 6
    assert runs.head.x.tolist() == pytest.approx([10, 50])
    assert runs.tail.x.tolist() == pytest.approx([30, 55])


def test_small_gaps_on_a_wrap_are_read_through_and_others_not() -> None:
    runs = runs_of(wanted((10, 5), (18, 2), (24, 1), (98, 1), (101, 1)), small=3)
    assert runs.member_ptr.tolist() == [0, 2, 3, 4, 5]
    assert runs.skipped.tolist() == [0, 3, 0, 0, 0]


def test_touching_segments_are_joined_across_the_end_of_a_wrap() -> None:
    runs = runs_of(wanted((90, 10), (100, 10), (105, 100)))
    assert runs.member_ptr.tolist() == [0, 3]
    assert runs.crossed.tolist() == [0, 0, 1]
    assert runs.tail.wrap.tolist() == [2]
    assert runs_of(wanted((90, 215))).crossed.tolist() == [3]
    assert runs_of(wanted((90, 15), (95, 15))).crossed.tolist() == [1, 0]


def test_smallest_gaps_are_closed_first_where_there_are_too_many_runs() -> None:
    ranges = wanted((0, 1), (11, 1), (17, 1), (37, 1), (46, 1))
    assert runs_of(ranges, large=30).member_ptr.tolist() == [0, 1, 2, 3, 4, 5]
    assert runs_of(ranges, large=30, most=4).member_ptr.tolist() == [0, 1, 3, 4, 5]
    assert runs_of(ranges, large=30, most=3).member_ptr.tolist() == [0, 1, 3, 5]
    assert runs_of(ranges, large=8.5, most=1).member_ptr.tolist() == [0, 1, 3, 5]
    assert runs_of(ranges, large=99, most=1).member_ptr.tolist() == [0, 5]


def test_mean_gap_counts_what_is_too_far_to_be_read() -> None:
    ranges = wanted((0, 1), (11, 1), (17, 1), (37, 1), (146, 1))
    assert runs_of(ranges, large=8).mean_gap == pytest.approx((10 + 19) / 2)
    assert runs_of(ranges, large=50).mean_gap == 0
    assert runs_of(wanted((0, 1), (150, 1))).mean_gap == float("inf")
    assert runs_of(wanted((0, 10), (10, 10))).mean_gap == float("inf")


def test_empty_segments_lie_at_their_start_even_at_the_end_of_the_tape() -> None:
    head, tail = places(wanted((10, 0), (800, 0), (20, 5)), np.arange(3), GEOMETRY)
    assert head.x.tolist() == [*tail.x.tolist()[:2], 20.0]
    assert head.x.tolist() == pytest.approx([10.0, 0.0, 20.0], abs=1e-9)
    runs = runs_of(wanted((30, 0), (10, 0)))
    assert runs.fresh.tolist() == [0, 0]
    assert len(runs) == 2


def test_partitions_never_share_a_run() -> None:
    segments = Segments([0, 0], [0, 1], [0, 5], [5, 5])
    geometry = native_geometry(SMALL, pairs=(1, 1))
    runs = merge(segments, np.arange(2), geometry, small=1e9, large=1e9, most=1)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(([0], [0], [0], [0, 1]), id="lengths differ"),
        pytest.param(([-2], [0], [0], [0]), id="volume"),
        pytest.param(([0], [-1], [0], [0]), id="partition"),
        pytest.param(([0], [0], [-2], [0]), id="start"),
        pytest.param(([0], [0], [0], [-1]), id="length"),
        pytest.param(([0], [0], [2**62], [2**62]), id="end"),
        pytest.param(([0], [0], np.array([2**63], np.uint64), [0]), id="unsigned"),
        pytest.param(([0], [0], [0.5], [0]), id="fraction"),
        pytest.param(([[0]], [[0]], [[0]], [[0]]), id="shape"),
    ],
)
def test_columns_that_are_no_segments(columns: tuple[npt.ArrayLike, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        Segments(*columns)
    assert caught.value.code == "tape.segments"
