"""Both cost models against single steps in plain numbers, and against published means."""

import itertools

import attrs
import numpy as np
import pytest

from rehydrate.errors import RequestError
from rehydrate.media.geometry import FORMATS, Ints, TapeGeometry, native_geometry
from rehydrate.media.locate import Regression, TapeModel, ahead_bytes, model_of
from tests.unit.media import oracle

LTO9 = FORMATS["LTO-9"]
GEOMETRY = native_geometry(LTO9)
MODEL = model_of(LTO9)
REGRESSION = Regression(half_m=GEOMETRY.length_m / 2, native_rate=MODEL.native_rate)
WRAP = 64_285_000_000


def addresses(count: int, geometry: TapeGeometry = GEOMETRY) -> Ints:
    return np.random.default_rng(3).integers(0, geometry.capacity, count)


SPOTS = [0, 1, 999, WRAP - 1, WRAP, WRAP + 10**9, 2 * WRAP, 2 * WRAP - 1, 69 * WRAP, 70 * WRAP,
         279 * WRAP, 280 * WRAP - 1, 32 * 10**9, 33 * 10**9, *addresses(20).tolist()]  # fmt: skip


def test_both_models_price_single_steps_as_the_plain_formula() -> None:
    zeros = np.zeros(len(SPOTS), np.int64)
    after = GEOMETRY.heads(zeros, np.array(SPOTS))
    before = GEOMETRY.heads(zeros, np.array(SPOTS), after=True)
    motion = MODEL.locate_seconds(before.column(), after)
    regression = REGRESSION.locate_seconds(before.column(), after)
    for one, other in itertools.product(range(len(SPOTS)), repeat=2):
        come = oracle.spot(LTO9, SPOTS[one], after=True)
        go = oracle.spot(LTO9, SPOTS[other])
        assert motion[one, other] == pytest.approx(oracle.motion(LTO9, MODEL, come, go), abs=1e-5)
        expected = oracle.regression(LTO9, REGRESSION, come, go, MODEL.native_rate)
        assert regression[one, other] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("name", "from_load", "between"), [("LTO-9", 48, 37), ("LTO-8", 62, 45)])
def test_mean_locates_are_the_published_ones(name: str, from_load: float, between: float) -> None:
    geometry, model = native_geometry(FORMATS[name]), model_of(FORMATS[name])
    zeros = np.zeros(4000, np.int64)
    heads = geometry.heads(zeros, addresses(4000, geometry))
    mean = model.locate_seconds(geometry.load_point(), heads).mean()
    assert mean == pytest.approx(from_load, abs=1.5)
    steps = model.locate_seconds(heads.take(slice(0, -1)), heads.take(slice(1, None)))
    assert steps.mean() == pytest.approx(between, abs=1.5)


@pytest.mark.parametrize(("name", "gigabytes"), [("LTO-9", 2.1), ("LTO-8", 2.8)])
def test_break_even_gap(name: str, gigabytes: float) -> None:
    tape = FORMATS[name]
    found = model_of(tape).break_even(native_geometry(tape))
    assert found / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_reading_always_wins_where_positioning_is_no_quicker() -> None:
    slow = attrs.evolve(MODEL, locate_speed=1.0)
    assert slow.break_even(GEOMETRY) == float("inf")


def test_a_short_step_over_the_middle_is_not_negative() -> None:
    middle = WRAP // 2
    zeros = np.zeros(1, np.int64)
    before = GEOMETRY.heads(zeros, np.array([middle - 1000]))
    after = GEOMETRY.heads(zeros, np.array([middle + 10**8]))
    assert REGRESSION.locate_seconds(before, after)[0] == 0


def test_gap_ahead_in_bytes_and_infinite_elsewhere() -> None:
    zeros = np.zeros(4, np.int64)
    before = GEOMETRY.heads(zeros, np.array([0, 500, 500, WRAP + 1000]))
    after = GEOMETRY.heads(zeros, np.array([10**9, 100, WRAP, WRAP + 10**9]))
    gaps = ahead_bytes(before, after)
    assert gaps[[0, 3]].tolist() == pytest.approx([1e9, 1e9], rel=1e-5)
    assert np.isinf(gaps[[1, 2]]).all()


def test_reads_turn_at_ends_of_wraps() -> None:
    seconds = MODEL.read_seconds(np.array([4e8, 4e8]), np.array([0.0, 2.0]))
    assert seconds.tolist() == [1.0, 1.0 + 2 * (3.5 + 1.0)]


def test_rewind_takes_longer_from_further_away() -> None:
    assert MODEL.rewind_seconds(np.array([0.0, 499.4])).tolist() == pytest.approx(
        [2.5, 55.07], 0.01
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_speeds_that_are_none(value: float) -> None:
    with pytest.raises(RequestError) as caught:
        TapeModel(native_rate=value, locate_speed=1.0, rewind_speed=1.0)
    assert caught.value.code == "tape.model"


def test_times_that_are_none() -> None:
    with pytest.raises(RequestError, match="turn_s"):
        TapeModel(native_rate=1.0, locate_speed=1.0, rewind_speed=1.0, turn_s=-1.0)
