"""Orders of segments: what is promised about them, and why a plan is kept or not."""

import itertools
import math
import tracemalloc
from collections.abc import Callable

import attrs
import numpy as np
import pytest

from rehydrate.errors import RequestError
from rehydrate.media import assignment, pricing
from rehydrate.media.geometry import FORMATS, native_geometry
from rehydrate.media.locate import Regression, model_of
from rehydrate.media.ordering import Kept, Method, Ordering, OrderOptions, order_segments
from rehydrate.media.pricing import Alternative, Tape
from rehydrate.media.segments import UNKNOWN, Segments
from tests.unit.media import oracle

LTO9 = FORMATS["LTO-9"]
GEOMETRY = native_geometry(LTO9)
MODEL = model_of(LTO9)
TAPE = Tape(MODEL, GEOMETRY)
GB = 10**9
SEARCH = OrderOptions(method=Method.SEARCH)


def scattered(count: int, seed: int = 1, size: int = GB) -> Segments:
    starts = np.random.default_rng(seed).choice(18_000 * GB // size - 10, count, replace=False)
    zeros = np.zeros(count, np.int64)
    return Segments(zeros, zeros, starts * size, np.full(count, size))


def walked(segments: Segments, order: list[int]) -> float:
    """Return the seconds of locates of an order, in plain numbers."""
    at, seconds = (0, 0.0, 1), 0.0
    for index in order:
        first = int(segments.start[index])
        seconds += oracle.motion(LTO9, MODEL, at, oracle.spot(LTO9, first))
        at = oracle.spot(LTO9, first + int(segments.length[index]) - 1, after=True)
    return seconds


def single(segments: Segments, options: OrderOptions | None = None) -> Ordering:
    return order_segments(segments, {0: TAPE}, options)


METHODS = [
    pytest.param(Method.SEARCH, id="search"),
    pytest.param(
        Method.ASSIGNMENT,
        id="assignment",
        marks=pytest.mark.skipif(assignment.solver() is None, reason="scipy is not installed"),
    ),
]


@pytest.mark.parametrize("method", METHODS)
def test_predicted_seconds_are_those_of_the_order_given(method: Method) -> None:
    segments = scattered(200)
    found = single(segments, OrderOptions(method=method))
    (about,) = found.volumes
    asked, logical, best = about.alternatives
    order = found.order.tolist()
    assert sorted(order) == list(range(200))
    assert [asked.name, logical.name, best.name] == ["as asked", "logical", "best"]
    assert found.locate_s.sum() == pytest.approx(walked(segments, order), abs=0.01)
    assert best.motion_s == pytest.approx(walked(segments, order), abs=0.01)
    assert asked.motion_s == pytest.approx(walked(segments, list(range(200))), abs=0.01)
    by_start = np.argsort(segments.start).tolist()
    assert logical.motion_s == pytest.approx(walked(segments, by_start), abs=0.01)
    assert about.read_s == pytest.approx(200 * 2.5, rel=0.05)
    assert about.kept is Kept.PLAN
    assert about.locate_s == pytest.approx(best.motion_s)
    assert found.alternatives == about.alternatives


def test_long_paths_are_priced_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = scattered(50)
    whole = single(segments, SEARCH)
    monkeypatch.setattr(pricing, "TABLE_CELLS", 7)
    cut = single(segments, SEARCH)
    assert cut.order.tolist() == whole.order.tolist()
    assert cut.locate_s.tolist() == pytest.approx(whole.locate_s.tolist())
    for one, other in zip(cut.alternatives, whole.alternatives, strict=True):
        assert one.motion_s == pytest.approx(other.motion_s)
        assert one.regression_s == pytest.approx(other.regression_s)


@pytest.mark.parametrize(
    ("motion", "regression", "wins"),
    [(1, 1, True), (2, 1, False), (1, 2, False), (3, 1, False), (1, 3, False)],
)
def test_an_order_wins_if_it_is_quicker_under_both_models(
    motion: float, regression: float, *, wins: bool
) -> None:
    assert Alternative("best", motion, regression).wins(Alternative("logical", 2, 2)) is wins


@pytest.mark.parametrize("method", METHODS)
def test_plan_is_near_the_bound_and_far_from_the_logical_sort(method: Method) -> None:
    found = single(scattered(300), OrderOptions(method=method)).volumes[0]
    assert found.bound_s is not None
    limit = {Method.ASSIGNMENT: 1.01, Method.SEARCH: 1.3}[method]
    assert found.bound_s <= found.alternatives[2].motion_s <= limit * found.bound_s
    assert found.alternatives[2].motion_s < 0.3 * found.alternatives[1].motion_s


@pytest.mark.parametrize("method", METHODS)
def test_the_same_columns_give_the_same_order(method: Method) -> None:
    options = OrderOptions(method=method)
    one, other = single(scattered(150), options), single(scattered(150), options)
    assert one.order.tolist() == other.order.tolist()


def test_order_does_not_depend_on_the_order_of_asking() -> None:
    segments = scattered(100)
    turned = Segments(*(column[::-1] for column in attrs.astuple(segments, recurse=False)))
    there = segments.start[single(segments, SEARCH).order]
    assert there.tolist() == turned.start[single(turned, SEARCH).order].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_windows_are_planned_one_after_the_other(method: Method) -> None:
    segments = scattered(120)
    found = single(segments, OrderOptions(method=method, window=40))
    rank = np.argsort(np.argsort(segments.start))[found.order]
    assert [sorted(rank[n : n + 40].tolist()) for n in (0, 40, 80)] == [
        list(range(40)), list(range(40, 80)), list(range(80, 120))
    ]  # fmt: skip
    assert found.volumes[0].kept is Kept.PLAN
    assert found.volumes[0].bound_s is None
    assert found.locate_s.sum() == pytest.approx(walked(segments, found.order.tolist()), abs=0.01)


def test_a_plan_that_loses_under_one_model_is_not_kept() -> None:
    segments = scattered(200)
    # A regression that minds nothing but changes of the wrap and steps back: nothing beats the
    # logical sort. Its numbers are powers of two, so that sums are exact.
    jealous = Regression(
        half_m=500, native_rate=1.0, base_s=4.0, wrap_s=2.0**20, back_s=2.0**20, band_s=0.0,
        half_s=0.0, way_s=0.0, step_s=0.0,
    )  # fmt: skip
    found = order_segments(segments, {0: attrs.evolve(TAPE, regression=jealous)}, SEARCH)
    (about,) = found.volumes
    assert about.kept is Kept.GUARD
    assert segments.start[found.order].tolist() == sorted(segments.start.tolist())
    assert about.alternatives[2].motion_s == about.alternatives[1].motion_s
    assert about.bound_s is not None


def test_the_mean_of_both_models_is_tried_where_one_alone_fails() -> None:
    segments = scattered(200)
    # The regression minds bands so much that a plan by motion, which does not, loses.
    banded = Regression(half_m=500, native_rate=4e8, band_s=1000.0)
    tape = Tape(attrs.evolve(MODEL, band_s=0.0), GEOMETRY, regression=banded)
    (about,) = order_segments(segments, {0: tape}, SEARCH).volumes
    assert about.kept is Kept.AVERAGE
    assert about.alternatives[2].wins(about.alternatives[1])


def test_close_segments_stay_in_logical_order() -> None:
    starts = np.random.default_rng(1).permutation(3000) * 10**9
    zeros = np.zeros(3000, np.int64)
    segments = Segments(zeros, zeros, starts, zeros + 10**8)
    found = single(segments)
    assert found.volumes[0].kept is Kept.DENSE
    assert segments.start[found.order].tolist() == sorted(starts.tolist())
    planned = single(segments, OrderOptions(dense=0, method=Method.SEARCH, window=200))
    assert planned.volumes[0].kept is not Kept.DENSE


def test_gaps_below_the_break_even_are_read_through_without_a_locate() -> None:
    starts = np.array([0, 1, 2, 3, 50]) * 10**9
    zeros = np.zeros(5, np.int64)
    found = single(Segments(zeros, zeros, starts, zeros + 10**8))
    assert found.order.tolist() == [0, 1, 2, 3, 4]
    assert found.run_first.tolist() == [0, 4]
    assert found.locate_s[1:4].tolist() == pytest.approx([9e8 / 4e8] * 3, rel=1e-5)


def test_overlaps_are_read_once_and_forward() -> None:
    segments = Segments(
        [0] * 4, [0] * 4, [10 * GB, 10 * GB, 11 * GB, 9 * GB], [4 * GB, GB, GB, 2 * GB]
    )
    found = single(segments)
    assert found.order.tolist() == [3, 1, 0, 2]
    assert found.run_first.tolist() == [0]
    assert found.read_s.tolist() == pytest.approx([5.0, 0.0, 7.5, 0.0])
    assert found.volumes[0].kept is Kept.SINGLE


def test_unknown_geometry_means_logical_order_without_prices() -> None:
    segments = Segments([0] * 3, [1, 0, 0], [5, 9, 7], [1, 1, 1])
    found = order_segments(segments, {})
    (about,) = found.volumes
    assert found.order.tolist() == [2, 1, 0]
    assert (about.kept, about.alternatives, about.bound_s) == (Kept.NO_GEOMETRY, (), None)
    assert np.isnan(found.locate_s).all()
    assert found.alternatives == ()
    timed = order_segments(segments, {0: Tape(MODEL, unit_bytes=4e8)})
    assert timed.read_s.tolist() == [1.0, 1.0, 1.0]


def test_segments_beyond_the_end_prove_the_geometry_wrong() -> None:
    segments = Segments([0] * 3, [0] * 3, [10**14, 10**12, 0], [1, 1, 1])
    found = single(segments)
    assert found.volumes[0].kept is Kept.CONTRADICTION
    assert found.order.tolist() == [2, 1, 0]


def test_unknown_places_come_last_as_asked_and_unknown_volumes_after_all() -> None:
    segments = Segments(
        [UNKNOWN, 0, 0, 1, 0, 0], [0] * 6, [7, UNKNOWN, 5 * GB, UNKNOWN, UNKNOWN, 0], [1] * 6
    )
    found = order_segments(segments, {0: TAPE})
    assert found.order.tolist() == [5, 2, 1, 4, 3, 0]
    assert [about.kept for about in found.volumes[1:]] == [Kept.NO_PLACE, Kept.NO_VOLUME]
    assert [about.unknown for about in found.volumes] == [2, 1, 0]
    assert found.mounts == 2
    assert found.mounts_asked == 3
    assert np.isnan(found.locate_s[2:]).all()


def test_nothing_wanted_is_an_empty_order() -> None:
    found = order_segments(Segments([], [], [], []), {})
    assert (len(found.order), found.volumes, found.mounts, found.mounts_asked) == (0, (), 0, 0)


def test_volumes_are_never_interleaved_and_loaded_ones_come_first() -> None:
    volume = np.tile([3, 1, 2], 20)
    base = scattered(60)
    segments = attrs.evolve(base, volume=volume, length=base.length // (4 - volume))
    tapes = dict.fromkeys((1, 2, 3), TAPE)
    found = order_segments(segments, tapes, SEARCH)
    assert [about.volume for about in found.volumes] == [1, 2, 3]
    assert (found.mounts, found.mounts_asked) == (3, 60)
    assert [key for key, _ in itertools.groupby(volume[found.order].tolist())] == [1, 2, 3]
    assert [about.first for about in found.volumes] == [0, 20, 40]
    loaded = order_segments(segments, tapes, attrs.evolve(SEARCH, loaded=(2,)))
    assert [about.volume for about in loaded.volumes] == [2, 1, 3]
    shared = order_segments(segments, tapes, attrs.evolve(SEARCH, drives=2))
    assert [about.volume for about in shared.volumes] == [3, 2, 1]
    total = sum(about.alternatives[1].motion_s for about in found.volumes)
    assert found.alternatives[1].motion_s == pytest.approx(total)


def test_the_head_may_be_anywhere_at_the_beginning() -> None:
    segments = Segments([0, 0], [0, 0], [1000 * GB, 9011 * GB], [GB, GB])
    near = order_segments(segments, {0: attrs.evolve(TAPE, at=(0, 9010 * GB))})
    assert near.locate_s[np.flatnonzero(near.order == 1)[0]] < 5
    full = attrs.evolve(TAPE, at=(0, GEOMETRY.partition_end(0)))
    assert order_segments(segments, {0: full}).volumes[0].kept is Kept.PLAN
    outside = order_segments(segments, {0: attrs.evolve(TAPE, at=(0, 10**15))})
    assert outside.volumes[0].kept is Kept.CONTRADICTION
    with pytest.raises(RequestError, match="no place"):
        attrs.evolve(TAPE, at=(0, 2**70))


def test_the_way_back_counts_for_each_volume_that_makes_room_for_another() -> None:
    one = scattered(30)
    volumes = np.repeat([1, 2, 3, UNKNOWN], 30)
    starts = np.tile(one.start, 4)
    segments = Segments(volumes, np.zeros(120, np.int64), starts, np.tile(one.length, 4))
    tapes = dict.fromkeys((1, 2, 3), TAPE)

    def counted(options: OrderOptions) -> list[int]:
        found = order_segments(segments, tapes, options)
        return [
            about.volume
            for about in found.volumes
            if about.alternatives and about.alternatives[2].motion_s > about.locate_s + 1
        ]

    assert counted(SEARCH) == [1, 2]
    assert counted(attrs.evolve(SEARCH, loaded=(3, 2))) == [3, 2]
    assert counted(attrs.evolve(SEARCH, rewind=False)) == []
    assert counted(attrs.evolve(SEARCH, rewind=True)) == [1, 2, 3]
    assert counted(attrs.evolve(SEARCH, drives=2)) == []


def test_the_way_back_counts_where_it_is_asked_for() -> None:
    segments = scattered(30)
    stay = single(segments, SEARCH)
    back = single(segments, attrs.evolve(SEARCH, rewind=True))
    assert back.volumes[0].alternatives[2].motion_s == pytest.approx(
        back.volumes[0].locate_s + back.volumes[0].rewind_s
    )
    there = stay.volumes[0].locate_s + stay.volumes[0].rewind_s
    assert back.volumes[0].alternatives[2].motion_s <= there * 1.02


def test_blocks_are_ordered_like_bytes() -> None:
    segments = scattered(60)
    unit = 10**6
    blocks = attrs.evolve(segments, start=segments.start // unit, length=segments.length // unit)
    geometry = native_geometry(LTO9, unit_bytes=unit)
    found = order_segments(blocks, {0: Tape(MODEL, geometry)}, SEARCH)
    assert found.order.tolist() == single(segments, SEARCH).order.tolist()
    assert found.read_s.sum() == pytest.approx(single(segments, SEARCH).read_s.sum(), rel=1e-3)


def test_logical_order_on_request() -> None:
    segments = scattered(50)
    found = single(segments, OrderOptions(method=Method.LOGICAL))
    assert found.volumes[0].kept is Kept.ASKED
    assert segments.start[found.order].tolist() == sorted(segments.start.tolist())
    assert not math.isnan(found.volumes[0].locate_s)


def test_assignment_by_name_without_scipy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "solver", lambda: None)
    with pytest.raises(RequestError, match=r"rehydrate\[tape\]") as caught:
        single(scattered(5), OrderOptions(method=Method.ASSIGNMENT))
    assert caught.value.code == "tape.no-solver"
    assert single(scattered(20)).volumes[0].kept is Kept.PLAN


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: OrderOptions(window=0), id="window"),
        pytest.param(lambda: OrderOptions(dense=-1.0), id="dense"),
        pytest.param(lambda: OrderOptions(drives=0), id="drives"),
        pytest.param(lambda: OrderOptions(read_through=float("nan")), id="gap"),
    ],
)
def test_options_without_meaning(make: Callable[[], OrderOptions]) -> None:
    with pytest.raises(RequestError) as caught:
        make()
    assert caught.value.code == "tape.options"


def test_geometry_without_times_is_refused() -> None:
    with pytest.raises(RequestError, match="model"):
        Tape(None, GEOMETRY)


def test_memory_stays_below_400_bytes_a_segment() -> None:
    count = 30_000
    starts = np.random.default_rng(2).integers(0, 17_000 * GB, count)
    zeros = np.zeros(count, np.int64)
    segments = Segments(zeros, zeros, starts, zeros + 10**6)
    # Commands that cost nothing, so that nothing is merged and all windows are planned.
    tape = Tape(attrs.evolve(MODEL, command_s=0.001), GEOMETRY)
    options = OrderOptions(method=Method.SEARCH, window=100, dense=0)
    tracemalloc.start()
    try:
        order_segments(segments, {0: tape}, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400 * count
