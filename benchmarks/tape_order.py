"""Measure tape orders: against the bound, against the logical sort, their time and memory.

Run as ``python -m benchmarks.tape_order [--quick]``; it prints the tables of
``docs/explanation/tape-order.md``. Nothing is read from a tape: seconds of locates are those of the
cost models. The bound is made here, from the segments as they are and not from the runs that the
planner merges: the cheapest assignment of successors to all of them.
"""

import argparse
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np

from benchmarks.bench import Bench
from benchmarks.figures import Limit
from rehydrate.media import assignment
from rehydrate.media.geometry import FORMATS, Ints, native_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.ordering import Kept, Method, OrderOptions, VolumeOrder, order_segments
from rehydrate.media.pricing import Prices, Tape
from rehydrate.media.segments import Segments, logical_order, merge, places

__all__ = ["tape_order"]

GB: Final = 10**9
MB: Final = 10**6
SCENARIOS: Final = 10_000
LIMITS: Final = {
    (Method.ASSIGNMENT, "clustered"): Limit(1.01),
    (Method.ASSIGNMENT, "scattered"): Limit(1.01),
    (Method.SEARCH, "clustered"): Limit(1.30),
    (Method.SEARCH, "scattered"): Limit(1.10),
}
TINY_S: Final = 1e-3
PLANNED: Final = {Kept.PLAN, Kept.AVERAGE}


def tape_of(name: str) -> Tape:
    """Return a full tape of equal wraps with the default times."""
    return Tape(model_of(FORMATS[name]), native_geometry(FORMATS[name]))


def segments_of(starts: Ints, lengths: Ints) -> Segments:
    """Make segments of one volume."""
    zeros = np.zeros(len(starts), np.int64)
    return Segments(zeros, zeros, starts, lengths)


def scene(kind: str, count: int, capacity: int, rng: np.random.Generator) -> Segments:
    """Draw segments that do not overlap.

    Args:
        kind: ``uniform`` (1 GB anywhere), ``container-sized`` (1 GiB containers written one after
            the other), ``clustered`` (100 MB, twenty around each of some places, spread by 20 GB),
            ``small`` (up to 1 MB anywhere).
        count: Number of segments.
        capacity: Bytes of the tape.
        rng: Source of the drawing.
    """
    size = {"uniform": GB, "container-sized": 1 << 30, "clustered": 100 * MB, "small": MB}[kind]
    places_on_tape = capacity // size - 1
    if kind == "clustered":
        centres = rng.integers(0, places_on_tape, max(count // 20, 1))
        drawn = np.repeat(centres, 60) + np.rint(rng.normal(0, 200, 60 * len(centres)))
        slots = np.unique(np.clip(drawn, 0, places_on_tape).astype(np.int64))
        slots = rng.choice(slots, min(count, len(slots)), replace=False)
    else:
        slots = rng.choice(places_on_tape, count, replace=False)
    starts = slots * size
    lengths = rng.integers(1, size, len(slots)) if kind == "small" else np.full(len(slots), size)
    return segments_of(starts, lengths)


def bound_of(segments: Segments, tape: Tape) -> float | None:
    """Return the cheapest assignment of successors to all segments; ``None`` without scipy."""
    solve = assignment.solver()
    if solve is None or tape.geometry is None or tape.model is None:
        return None
    order = logical_order(segments, np.arange(len(segments)))
    runs = merge(segments, order, tape.geometry, small=-1, large=-1, most=len(order))
    prices = Prices.of(tape.model, tape.geometry, tape, rewind=False)
    table = prices.table(runs, slice(0, len(runs)), prices.begin, weight=0.0)
    return float(table[solve(table)].sum())


@attrs.frozen
class Quality:
    """One line of the first table: medians over the draws.

    Attributes:
        tape: Generation.
        kind: Kind of the scene.
        method: How it was planned.
        ratios: Locate time of each planned order by its bound.
        of_logical: Locate time by that of the logical sort, under the model of motion.
        of_logical_regression: The same under the regression.
        kept: Why orders were kept.
    """

    tape: str
    kind: str
    method: Method
    ratios: tuple[float, ...]
    of_logical: float
    of_logical_regression: float
    kept: Counter[Kept]

    @property
    def limit(self) -> Limit:
        """What the ratio must reach."""
        return LIMITS[self.method, "clustered" if self.kind == "clustered" else "scattered"]

    def row(self) -> str:
        """Return the line as Markdown."""
        shown = "- | -"
        if self.ratios:
            shown = f"{statistics.median(self.ratios):.4f} | {max(self.ratios):.4f}"
        apart = sum(count for kept, count in self.kept.items() if kept not in PLANNED)
        return (
            f"| {self.tape} | {self.kind} | {self.method} | {shown} | {self.limit.value:.2f} | "
            f"{self.of_logical:.2f} | {self.of_logical_regression:.2f} | {apart} |"
        )


def qualities(draws: int, count: int = 1000) -> Iterator[Quality]:
    """Plan the scenes of the reference model with every method."""
    for name in ("LTO-8", "LTO-9"):
        tape = tape_of(name)
        capacity = native_geometry(FORMATS[name]).capacity
        for kind in ("uniform", "container-sized", "clustered", "small"):
            scenes = [scene(kind, count, capacity, np.random.default_rng(n)) for n in range(draws)]
            bounds = [bound_of(segments, tape) for segments in scenes]
            for method in methods():
                yield _quality((name, kind, method), tape, scenes, bounds)


def methods() -> tuple[Method, ...]:
    """Return the methods that can be run here."""
    found = assignment.solver()
    return (Method.SEARCH,) if found is None else (Method.ASSIGNMENT, Method.SEARCH)


def _quality(
    names: tuple[str, str, Method], tape: Tape, scenes: list[Segments], bounds: list[float | None]
) -> Quality:
    options = OrderOptions(method=names[2])
    found = [order_segments(one, {0: tape}, options).volumes[0] for one in scenes]
    ratios = [
        volume.alternatives[2].motion_s / bound
        for volume, bound in zip(found, bounds, strict=True)
        if bound is not None and volume.kept in PLANNED
    ]
    logical = [_of_logical(volume) for volume in found]
    return Quality(
        *names,
        ratios=tuple(ratios),
        of_logical=statistics.median(motion for motion, _ in logical),
        of_logical_regression=statistics.median(regression for _, regression in logical),
        kept=Counter(volume.kept for volume in found),
    )


def _of_logical(volume: VolumeOrder) -> tuple[float, float]:
    _, logical, best = volume.alternatives
    return best.motion_s / logical.motion_s, best.regression_s / logical.regression_s


@attrs.frozen
class Sweep:
    """What became of many random scenarios.

    Attributes:
        worst_motion: Largest locate time by that of the logical sort, under the model of motion.
        worst_regression: The same under the regression.
        kept: Why orders were kept.
    """

    worst_motion: float
    worst_regression: float
    kept: Counter[Kept]


def random_scene(rng: np.random.Generator, capacity: int) -> Segments:
    """Draw a scenario: its density, sizes and clusters differ by orders of magnitude."""
    count = round(10 ** rng.uniform(0.3, 2.9))
    size = round(10 ** rng.uniform(5, 10.3))
    slots = capacity // size - 1
    spread = 10 ** rng.uniform(0, np.log10(slots))
    centres = rng.integers(0, slots, rng.integers(1, count, endpoint=True))
    drawn = rng.choice(centres, count) + np.rint(rng.normal(0, spread, count))
    chosen = rng.permutation(np.unique(np.clip(drawn, 0, slots).astype(np.int64)))
    return segments_of(chosen * size, rng.integers(1, size, len(chosen), endpoint=True))


def sweep(scenarios: int) -> Sweep:
    """Compare orders with the logical sort; both are priced here, segment by segment."""
    worst, kept = [0.0, 0.0], Counter[Kept]()
    names = [name for name, tape in FORMATS.items() if tape.wraps]
    for number in range(scenarios):
        rng = np.random.default_rng([7, number])
        tape = tape_of(str(rng.choice(names)))
        if tape.geometry is None or tape.model is None:
            continue
        segments = random_scene(rng, tape.geometry.capacity)
        options = OrderOptions(method=methods()[number % len(methods())])
        found = order_segments(segments, {0: tape}, options)
        kept[found.volumes[0].kept] += 1
        prices = Prices.of(tape.model, tape.geometry, tape, rewind=False)
        ours, theirs = (
            prices.alternative("", *places(segments, order, tape.geometry), 0.0)
            for order in (found.order, np.argsort(segments.start))
        )
        # A single segment at the load point costs nothing in any order.
        worst[0] = max(worst[0], ours.motion_s / max(theirs.motion_s, TINY_S))
        worst[1] = max(worst[1], ours.regression_s / max(theirs.regression_s, TINY_S))
    return Sweep(worst[0], worst[1], kept)


@attrs.frozen
class Timing:
    """One line of the table of times.

    Attributes:
        name: What is planned.
        segments: Number of segments.
        method: How.
        seconds: Of each run.
        kept: Why the order was kept.
        limit: Seconds to reach.
    """

    name: str
    segments: int
    method: Method
    seconds: tuple[float, ...]
    kept: Kept
    limit: float

    def row(self) -> str:
        """Return the line as Markdown."""
        low, high = min(self.seconds), max(self.seconds)
        return (
            f"| {self.name} | {self.segments:,} | {self.method} | "
            f"{statistics.median(self.seconds):.2f} ({low:.2f} - {high:.2f}) | {self.limit:g} | "
            f"{self.kept.name.lower()} |"
        )


def timings(runs: int) -> Iterator[Timing]:
    """Time the planning of a full LTO-9 tape, and of segments that nothing can be merged of."""
    tape = tape_of("LTO-9")
    capacity = native_geometry(FORMATS["LTO-9"]).capacity
    quick = attrs.evolve(model_of(FORMATS["LTO-9"]), command_s=0.1)
    nothing_merged = attrs.evolve(tape, model=quick)

    def drawn(kind: str, count: int) -> Segments:
        return scene(kind, count, capacity, np.random.default_rng(1))

    cases: list[tuple[str, Segments, Tape, float]] = [
        ("small, scattered", drawn("small", 1000), tape, 1),
        ("clustered", drawn("clustered", 1000), tape, 1),
        ("small, scattered", drawn("small", 10_000), tape, 60),
        ("clustered", drawn("clustered", 10_000), tape, 60),
        ("locates of 0.1 s, nothing merged", drawn("small", 10_000), nothing_merged, 60),
    ]
    for name, segments, on, limit in cases:
        for method in methods():
            options = OrderOptions(method=method)
            seconds, kept = [], Kept.GUARD
            for _ in range(runs):
                begin = time.perf_counter()
                kept = order_segments(segments, {0: on}, options).volumes[0].kept
                seconds.append(time.perf_counter() - begin)
            yield Timing(name, len(segments), method, tuple(seconds), kept, limit)


def bytes_per_segment(count: int) -> float:
    """Return the peak of memory for ordering so many segments on one LTO-9 tape."""
    tape = tape_of("LTO-9")
    rng = np.random.default_rng(1)
    starts = rng.integers(0, native_geometry(FORMATS["LTO-9"]).capacity - MB, count)
    segments = segments_of(starts, rng.integers(1, MB, count))
    tracemalloc.start()
    try:
        order_segments(segments, {0: tape})
        return tracemalloc.get_traced_memory()[1] / count
    finally:
        tracemalloc.stop()


def tape_order(bench: Bench) -> None:
    """Compare orders with the bound and the logical sort, and time the planning."""
    case = "tape-order"
    for quality in qualities(2 if bench.quick else 5):
        name = f"{quality.tape} {quality.kind}, {quality.method}: locates / bound"
        bench.add(case, name, "x", list(quality.ratios), limit=quality.limit)
    found = sweep(max(round(SCENARIOS * bench.scale), 100))
    note = f"{found.kept.total()} random scenarios"
    for model, worst in (("motion", found.worst_motion), ("regression", found.worst_regression)):
        name = f"worst order / logical sort, {model}"
        bench.add(case, name, "x", [worst], limit=Limit(1.01), note=note)
    for timing in timings(bench.pairs):
        name = f"{timing.segments} segments, {timing.name}, {timing.method}"
        bench.add(case, name, "s", list(timing.seconds), limit=Limit(timing.limit))
    most = bytes_per_segment(round(1_000_000 * bench.scale))
    bench.add(case, "memory for each segment", "B", [most], limit=Limit(400))


def _head(*names: str) -> str:
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _tables(*, quick: bool) -> Iterator[str]:
    yield _head("tape", "segments", "method", "locates / bound", "worst", "to reach",
               "/ logical", "/ logical, regression", "logical kept")  # fmt: skip
    for quality in qualities(2 if quick else 10):
        yield quality.row()
    found = sweep(SCENARIOS // 20 if quick else SCENARIOS)
    yield f"\n{found.kept.total():,} random scenarios, worst order by the logical sort: "
    yield f"{found.worst_motion:.4f} (motion), {found.worst_regression:.4f} (regression); kept: "
    yield ", ".join(f"{kept.name.lower()} {count}" for kept, count in found.kept.most_common())
    yield "\n" + _head("segments", "number", "method", "seconds (spread)", "to reach", "kept")
    for timing in timings(3):
        yield timing.row()
    yield f"\nA million segments on one tape: {bytes_per_segment(1_000_000):.0f} bytes for each."


def main(arguments: list[str] | None = None) -> int:
    """Print the tables.

    Args:
        arguments: Command line; see the module.

    Returns:
        The exit code: 0, whatever the figures are.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.tape_order", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a try: 2 draws, 500 scenarios")
    options = parser.parse_args(arguments)
    for line in _tables(quick=options.quick):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
