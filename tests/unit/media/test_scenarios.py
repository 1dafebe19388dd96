"""Random scenarios of every shape, priced once more in plain numbers: no order loses.

Beside what the benchmark of tape orders sweeps: several volumes, partitions, wraps of unequal size,
a head that stands anywhere, segments that overlap or are empty, small windows, and the way back.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
import pytest

from rehydrate.media import assignment
from rehydrate.media.geometry import (
    FORMATS,
    TapeFormat,
    TapeGeometry,
    WrapEnd,
    native_geometry,
    reported_geometry,
)
from rehydrate.media.locate import Regression, TapeModel, model_of
from rehydrate.media.ordering import Method, OrderOptions, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import Segments

Piece = tuple[int, int, int]
"""Partition, first address, number of addresses."""
METHODS: Final = (Method.SEARCH,) if assignment.solver() is None else (
    Method.ASSIGNMENT, Method.SEARCH,
)  # fmt: skip


@attrs.frozen
class Spot:
    wrap: int
    x: float
    way: int
    band: int
    metre: float


@attrs.frozen
class Walker:
    """Prices a path on one tape, step by step."""

    tape: TapeFormat
    geometry: TapeGeometry
    start: Spot

    @property
    def model(self) -> TapeModel:
        return model_of(self.tape)

    def steps(self, pieces: list[Piece]) -> Iterator[tuple[Spot, Spot]]:
        """Yield where the head is and where it goes; what was just read is not read again."""
        here, run = self.start, (-1, 0, 0)
        for partition, first, count in pieces:
            if partition != run[0] or not run[1] <= first <= run[2]:
                to = spot(self.geometry, partition, first)
                yield here, to
                here, run = to, (partition, first, first)
            if first + count > run[2]:
                here = spot(self.geometry, partition, first + count - 1, behind=1)
                run = (partition, run[1], first + count)
        yield here, attrs.evolve(here, x=0.0)

    def prices(self, pieces: list[Piece], *, rewind: bool) -> tuple[float, float]:
        *moves, (last, _) = self.steps(pieces)
        back = (self.model.command_s + last.x / self.model.rewind_speed) * rewind
        return (
            back + sum(self.motion(*move) for move in moves),
            back + sum(self.regression(*move) for move in moves),
        )

    def read_on(self, before: Spot, after: Spot) -> float:
        ahead = (after.x - before.x) * before.way
        if before.wrap != after.wrap or ahead < 0:
            return float("inf")
        return ahead * before.metre / self.model.native_rate

    def motion(self, before: Spot, after: Spot) -> float:
        model = self.model
        if self.read_on(before, after) < float("inf"):
            hop = model.command_s + abs(after.x - before.x) / model.locate_speed
            return min(hop, self.read_on(before, after))
        aim = after.x - after.way * model.run_up_m - before.x
        move = (aim > 0) - (aim < 0) or after.way
        turns = (move != before.way) + (move != after.way)
        seconds = model.command_s + abs(aim) / model.locate_speed + model.turn_s * turns
        seconds += model.wrap_s * (before.wrap != after.wrap)
        return seconds + model.band_s * (before.band != after.band)

    def regression(self, before: Spot, after: Spot) -> float:
        half = self.geometry.length_m / 2
        steps = Regression(half_m=half, native_rate=1.0).step_m
        same = before.wrap == after.wrap
        seconds = 4.29 + 6.69 * (not same) + 3.20 * (before.band != after.band)
        seconds -= 6.04 * ((before.x > half) != (after.x > half))
        seconds += 5.22 * (before.way != after.way)
        seconds += 11.32 * (same and (after.x - before.x) * before.way < 0)
        seconds += 0.0006192 * abs(after.x - before.x) / steps
        return min(max(seconds, 0.0), self.read_on(before, after))


def spot(geometry: TapeGeometry, partition: int, address: int, behind: int = 0) -> Spot:
    ends = geometry.end[geometry.partition == partition]
    row = int(np.flatnonzero(geometry.partition == partition)[np.searchsorted(ends, address + 1)])
    first, end, wrap = (int(col[row]) for col in (geometry.first, geometry.end, geometry.wrap))
    share = (address - first + behind) / (end - first)
    return Spot(
        wrap=wrap,
        x=geometry.length_m * (share if wrap % 2 == 0 else 1 - share),
        way=1 if wrap % 2 == 0 else -1,
        band=wrap * 4 // geometry.wraps,
        metre=(end - first) * geometry.unit_bytes / geometry.length_m,
    )


def some_tape(rng: np.random.Generator) -> tuple[TapeFormat, TapeGeometry]:
    tape = FORMATS[str(rng.choice(["LTO-5", "LTO-6", "LTO-7", "LTO-7M", "LTO-8", "LTO-9"]))]
    assert tape.wraps is not None
    assert tape.pair_bytes is not None
    unit = float(rng.choice([1.0, 524288.0]))
    if rng.random() < 0.4:
        small = int(rng.integers(1, tape.wraps // 4))
        pairs = (small, tape.wraps // 2 - small - tape.guard_pairs)
        return tape, native_geometry(tape, pairs=pairs, unit_bytes=unit)
    used = int(rng.integers(2, tape.wraps + 1))
    sizes = tape.pair_bytes / 2 / unit * rng.normal(1, float(rng.choice([0.001, 0.1])), used)
    ends = np.cumsum(np.maximum(sizes, 1000).astype(np.int64))
    lines = [WrapEnd(wrap, 0, int(end) - 1) for wrap, end in enumerate(ends)]
    return tape, reported_geometry(tape, lines, unit_bytes=unit)


def some_pieces(rng: np.random.Generator, geometry: TapeGeometry) -> list[Piece]:
    kind = str(rng.choice(["anywhere", "places", "stride", "ends", "side by side", "overlapping"]))
    unit, pieces = geometry.unit_bytes, []
    size = int(10 ** rng.uniform(4, 10.5) / unit) + 1
    spread, centres = 10 ** rng.uniform(7, 11) / unit, rng.random(int(rng.integers(1, 12)))
    for number in range(round(10 ** rng.uniform(0.3, 2.2))):
        partition = int(rng.choice(np.unique(geometry.partition)))
        end = geometry.partition_end(partition)
        row = int(rng.choice(np.flatnonzero(geometry.partition == partition)))
        first, last = int(geometry.first[row]), int(geometry.end[row])
        share = centres[0] + rng.normal(0, 0.01)
        drawn = {
            "anywhere": rng.random() * end,
            "places": rng.choice(centres) * end + rng.normal(0, spread),
            "stride": centres[0] * end + number * spread,
            "ends": rng.choice([first, last]) + rng.normal(0, 3e9 / unit),
            "side by side": first
            + (share if geometry.wrap[row] % 2 else 1 - share) * (last - first),
            "overlapping": centres[0] * end + rng.random() * size * 5,
        }[kind]
        begin = int(min(max(drawn, 0), end - 1))
        count = int(rng.integers(kind != "overlapping", size + 1))
        pieces.append((partition, begin, min(count, end - begin)))
    return [pieces[at] for at in rng.permutation(len(pieces))]


@pytest.mark.parametrize("part", range(4))
def test_no_scenario_of_any_shape_loses_a_hundredth(part: int) -> None:
    for seed in range(part * 30, part * 30 + 30):
        rng = np.random.default_rng([3, seed])
        walkers, tapes, rows = [], {}, []
        for volume in range(int(rng.choice([1, 1, 3]))):
            tape, geometry = some_tape(rng)
            at = None if rng.random() < 0.5 else (0, int(rng.random() * geometry.partition_end(0)))
            start = spot(geometry, *(at or (0, 0)))
            walkers.append(Walker(tape, geometry, start))
            tapes[volume] = Tape(model_of(tape), geometry, at=at)
            rows += [(volume, *piece) for piece in some_pieces(rng, geometry)]
        rows = [rows[at] for at in rng.permutation(len(rows))]
        options = OrderOptions(
            method=METHODS[seed % len(METHODS)],
            rewind=(None, True, False)[int(rng.integers(3))],
            loaded=(len(tapes) - 1,) * int(rng.integers(2)),
            window=int(rng.choice([7, 50, 3500])),
            dense=float(rng.choice([0, 1.4])),
        )
        found = order_segments(Segments(*np.array(rows).T), tapes, options)
        assert sorted(found.order.tolist()) == list(range(len(rows)))
        for about in found.volumes:
            steps = found.order[about.first : about.first + about.count].tolist()
            ours: list[Piece] = [rows[step][1:] for step in steps]
            walker = walkers[about.volume]
            back = about is not found.volumes[-1] if options.rewind is None else options.rewind
            planned = walker.prices(ours, rewind=back)
            logical = walker.prices(sorted(ours), rewind=back)
            for price, limit in zip(planned, logical, strict=True):
                assert price <= limit * 1.01 + 1e-3, (seed, about.kept)
            assert planned[0] <= about.alternatives[2].motion_s + 0.01
