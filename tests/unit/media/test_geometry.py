"""Geometry: where blocks lie, with partitions, and what the drive says."""

import numpy as np
import pytest

from rehydrate.errors import LimitError, RequestError
from rehydrate.media.geometry import (
    FORMATS,
    Heads,
    TapeFormat,
    TapeGeometry,
    WrapEnd,
    native_geometry,
    reported_geometry,
)

SMALL = TapeFormat(
    name="small", wraps=8, pair_bytes=200, length_m=100.0, native_rate=10.0, load_s=1.0,
    unload_s=1.0, locate_speed=20.0, rewind_speed=10.0,
)  # fmt: skip


def at(geometry: TapeGeometry, partition: int, *addresses: int, after: bool = False) -> Heads:
    count = len(addresses)
    return geometry.heads(np.full(count, partition), np.array(addresses), after=after)


def test_wraps_run_away_and_back() -> None:
    heads = at(native_geometry(SMALL, length_m=100.0), 0, 0, 99, 100, 199, 250)
    assert heads.wrap.tolist() == [0, 0, 1, 1, 2]
    assert heads.way.tolist() == [1, 1, -1, -1, 1]
    assert heads.x.tolist() == pytest.approx([0, 99, 100, 1, 50])
    assert heads.metre_bytes.tolist() == [1.0] * 5


def test_end_of_a_wrap_and_begin_of_the_next_are_one_place() -> None:
    geometry = native_geometry(SMALL)
    assert at(geometry, 0, 99, after=True).x[0] == pytest.approx(at(geometry, 0, 100).x[0])


def test_bands_are_quarters_of_the_wraps() -> None:
    heads = at(native_geometry(SMALL), 0, *range(0, 800, 100))
    assert heads.band.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_partitions_are_wrap_pairs_with_lost_ones_between() -> None:
    geometry = native_geometry(SMALL, pairs=(1, 2), length_m=100.0)
    assert geometry.wrap.tolist() == [0, 1, 4, 5, 6, 7]
    assert at(geometry, 1, 0, 399).wrap.tolist() == [4, 7]
    assert (geometry.partition_end(0), geometry.partition_end(1)) == (200, 400)
    assert geometry.partition_end(2) == 0
    assert geometry.capacity == 600


@pytest.mark.parametrize(
    ("name", "pairs", "gigabytes"),
    [("LTO-9", (1, 137), 17742.7), ("LTO-8", (1, 102), 11884.6), ("LTO-9", (), 18000)],
)
def test_capacity_is_the_published_one(name: str, pairs: tuple[int, ...], gigabytes: float) -> None:
    geometry = native_geometry(FORMATS[name], pairs=pairs)
    assert geometry.capacity / 1e9 == pytest.approx(gigabytes, rel=1e-3)


def test_blocks_instead_of_bytes() -> None:
    geometry = native_geometry(FORMATS["LTO-8"], unit_bytes=524288)
    assert geometry.capacity * 524288 == pytest.approx(12e12, rel=1e-3)
    assert at(geometry, 0, 0).metre_bytes[0] == pytest.approx(57.69e9 / 926.4, rel=1e-3)


@pytest.mark.parametrize(
    ("pairs", "guard", "code"),
    [((1, 3), None, "tape.geometry"), ((0, 1), None, "tape.geometry"),
     ((1, 1), -1, "tape.geometry"), ((1, 1, 1, 1, 1), 0, "tape.geometry")],
)  # fmt: skip
def test_partitions_that_do_not_fit(pairs: tuple[int, ...], guard: int | None, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        native_geometry(SMALL, pairs=pairs, guard_pairs=guard)
    assert caught.value.code == code


def test_lto_10_needs_the_drive() -> None:
    with pytest.raises(RequestError, match="ask the drive"):
        native_geometry(FORMATS["LTO-10"])
    ends = [WrapEnd(wrap, 0, 1000 * (wrap + 1) - 1) for wrap in range(8)]
    geometry = reported_geometry(FORMATS["LTO-10"], ends, unit_bytes=1e6)
    assert (geometry.wraps, geometry.capacity, geometry.reported) == (8, 8000, True)


@pytest.mark.parametrize("unit", [0.0, -1.0, 1e-300, 101.0, float("inf"), float("nan")])
def test_units_that_no_wrap_holds_a_number_of(unit: float) -> None:
    with pytest.raises(RequestError) as caught:
        native_geometry(SMALL, unit_bytes=unit)
    assert caught.value.code == "tape.geometry"


def test_the_estimate_of_a_wrap_stays_a_block_number() -> None:
    ends = [WrapEnd(0, 0, 2**62), WrapEnd(1, 0, 2**62 + 1)]
    found = reported_geometry(SMALL, ends, unit_bytes=1.0, partly_written=(0,))
    assert found.end.tolist() == [2**62 + 1, 2**63 - 1]


@pytest.mark.parametrize("length", [0.0, float("nan"), float("inf")])
def test_a_tape_without_length_is_refused(length: float) -> None:
    with pytest.raises(RequestError, match="positive"):
        native_geometry(SMALL, length_m=length)
    with pytest.raises(RequestError, match="positive"):
        reported_geometry(SMALL, [WrapEnd(0, 0, 9)], unit_bytes=length)


def test_reported_wraps_of_unequal_size() -> None:
    ends = [WrapEnd(4, 1, 79), WrapEnd(0, 0, 99), WrapEnd(1, 0, 189), WrapEnd(5, 1, 199)]
    geometry = reported_geometry(SMALL, ends, unit_bytes=2.0, length_m=100.0)
    heads = at(geometry, 0, 100, 189)
    assert heads.wrap.tolist() == [1, 1]
    assert heads.x.tolist() == pytest.approx([100, 100 / 90])
    assert heads.metre_bytes.tolist() == pytest.approx([1.8, 1.8])
    assert at(geometry, 1, 79, 80).wrap.tolist() == [4, 5]


def test_last_wrap_written_in_part_has_the_mean_of_the_others() -> None:
    ends = [WrapEnd(0, 0, 99), WrapEnd(1, 0, 189), WrapEnd(2, 0, 199)]
    whole = reported_geometry(SMALL, ends, unit_bytes=1.0)
    partly = reported_geometry(SMALL, ends, unit_bytes=1.0, partly_written=(0,))
    assert (whole.capacity, partly.capacity) == (200, 285)
    assert at(partly, 0, 199).x[0] < 10
    fuller = [*ends[:2], WrapEnd(2, 0, 399)]
    assert reported_geometry(SMALL, fuller, unit_bytes=1.0, partly_written=(0,)).capacity == 400


def test_first_wrap_of_a_partition_written_in_part_is_not_stretched_over_the_tape() -> None:
    index = [WrapEnd(0, 0, 9), WrapEnd(4, 1, 89), WrapEnd(5, 1, 159), WrapEnd(6, 1, 169)]
    volume = reported_geometry(SMALL, index, unit_bytes=1.0, partly_written=(0, 1))
    assert volume.end.tolist() == [80, 90, 160, 240]
    assert at(volume, 0, 9, after=True).x[0] == pytest.approx(96.5 / 8)
    others_full = reported_geometry(SMALL, index, unit_bytes=1.0, partly_written=(0,))
    assert others_full.end.tolist() == [56, 90, 160, 170]
    alone = [WrapEnd(0, 0, 9)]
    assert reported_geometry(SMALL, alone, unit_bytes=2.0, partly_written=(0,)).capacity == 50
    more = [WrapEnd(0, 0, 199)]
    assert reported_geometry(SMALL, more, unit_bytes=2.0, partly_written=(0,)).capacity == 200
    unknown = reported_geometry(FORMATS["LTO-10"], alone, unit_bytes=2.0, partly_written=(0, 7))
    assert unknown.capacity == 10


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param([], id="none"),
        pytest.param([WrapEnd(0, 0, 9), WrapEnd(0, 0, 19)], id="double"),
        pytest.param([WrapEnd(0, 0, 9), WrapEnd(1, 0, 9)], id="empty wrap"),
        pytest.param([WrapEnd(0, 0, 9), WrapEnd(1, 0, 5)], id="descending"),
        pytest.param([WrapEnd(-1, 0, 9)], id="negative wrap"),
        pytest.param([WrapEnd(0, 0, -1)], id="negative block"),
        pytest.param([WrapEnd(0, 0, 2**63 - 1)], id="huge block"),
        pytest.param([WrapEnd(1 << 40, 0, 9)], id="huge wrap"),
        pytest.param([WrapEnd(0, -1, 9)], id="negative partition"),
        pytest.param([WrapEnd(0, 256, 9)], id="huge partition"),
        pytest.param([WrapEnd(2, 0, 9), WrapEnd(0, 1, 9)], id="partitions out of order"),
    ],
)
def test_contradictory_ends_are_refused(ends: list[WrapEnd]) -> None:
    with pytest.raises(RequestError) as caught:
        reported_geometry(SMALL, ends, unit_bytes=1.0)
    assert caught.value.code == "tape.geometry"


@pytest.mark.parametrize(("partition", "address"), [(0, 800), (0, -1), (1, 0)])
def test_positions_outside_the_tape(partition: int, address: int) -> None:
    with pytest.raises(LimitError) as caught:
        at(native_geometry(SMALL), partition, address)
    assert caught.value.code == "tape.beyond-end"
