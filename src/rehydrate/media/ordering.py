"""The order in which the segments of tapes are read soonest, and what it was compared with.

Order changes the time of locates only, never that of reading. Within a volume the plan is made by
assignment and patching where scipy is installed, else by nearest-next and exchange of stretches;
it is kept only if it beats the logical sort under both cost models. If it does not, plans on means
of both price tables are tried; if they fail too, the logical sort stays. It stays as well
where the geometry is not known, or contradicts the segments, or they lie so close together that
nothing can be won. The same columns always give the same order.
"""

import enum
import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.errors import LimitError, RequestError
from rehydrate.media import assignment, search
from rehydrate.media.geometry import Floats, Ints, TapeGeometry
from rehydrate.media.locate import TapeModel
from rehydrate.media.pricing import NO_PRICE, Alternative, Prices, Tape, steps
from rehydrate.media.segments import UNKNOWN, Runs, Segments, logical_order, merge, places

__all__ = [
    "Kept",
    "Method",
    "OrderOptions",
    "Ordering",
    "VolumeOrder",
    "order_segments",
]


SURELY_READ: Final = 0.1
"""Part of the break-even gap below which segments are never taken apart."""


WEIGHTS: Final = (0.0, 0.5, 0.75)
"""Weights of the regression in the price tables that are tried one after the other."""


class Method(enum.StrEnum):
    """How runs are ordered within a volume."""

    AUTO = "auto"
    """Assignment where scipy is installed, else search."""
    ASSIGNMENT = "assignment"
    """Assignment and patching; an error without scipy."""
    SEARCH = "search"
    """Nearest next, then exchange of stretches."""
    LOGICAL = "logical"
    """Partition and block number."""


class Kept(enum.StrEnum):
    """Why a volume has the order that it has; the text is for people."""

    PLAN = "plan: quicker than the logical sort under both models"
    AVERAGE = "plan on a mean of both models: quicker than the logical sort under each"
    GUARD = "logical sort: no plan was quicker under both models"
    DENSE = "logical sort: the segments lie close together"
    SINGLE = "logical sort: all is read in one go"
    ASKED = "logical sort: asked for"
    NO_GEOMETRY = "logical sort: the geometry of the tape is not known"
    CONTRADICTION = (
        "logical sort: segments lie beyond the end of the tape, so it is not the tape known"
    )
    NO_PLACE = "as asked: no place on the volume is known"
    NO_VOLUME = "as asked: the volume is not known"


@attrs.frozen
class OrderOptions:
    """Choices for :func:`order_segments`.

    Attributes:
        method: How runs are ordered.
        read_through: Gaps up to so many bytes on one wrap are always read. ``None`` for a tenth
            of the break-even of the tape's model (2 to 3 GB), from where to there the plan
            decides, unless there are more runs than fit into a window.
        dense: Where the mean gap between runs on a wrap is below this many times the break-even,
            the logical sort stays (on evenly scattered segments: where their mean distance is
            below 0.4 times the break-even); 0 always plans.
        window: Most runs planned together; more are cut in logical order. Tables take
            ``8 * window ** 2`` bytes, half as much again while they are made.
        rewind: The way back to the load point counts, as before an unload. ``None``: where one
            drive reads several volumes, for each but the last; else for none, as with several
            drives it is not known before which volumes are the last ones.
        drives: Drives that read at a time; with several the longest volume comes first.
        loaded: Volumes that are in drives already; they come first, in this order.
    """

    method: Method = Method.AUTO
    read_through: float | None = None
    dense: float = 1.4
    window: int = 3500
    rewind: bool | None = None
    drives: int = 1
    loaded: Sequence[int] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse numbers without meaning.

        Raises:
            RequestError: With code ``"tape.options"``.
        """
        gap = 0.0 if self.read_through is None else self.read_through
        if not (gap >= 0 and self.dense >= 0 and self.window >= 1 and self.drives >= 1):
            raise RequestError("options of a tape order are out of range", code="tape.options")


@attrs.frozen
class VolumeOrder:
    """The part of an order that lies on one volume.

    Attributes:
        volume: Its number; :data:`~rehydrate.media.segments.UNKNOWN` for segments without one.
        first: Its first step.
        count: Number of its steps.
        kept: Why it has this order.
        alternatives: The orders compared: as asked, logical, best (the order taken), with the way
            back to the load point where it counts. Empty where nothing can be priced.
        bound_s: Seconds that no order of the runs can beat by the model of motion: the cheapest
            assignment of successors; without scipy the cheapest successor of each, which is lower.
            ``None`` if none was computed.
        locate_s: Predicted seconds of positioning, without a rewind.
        read_s: Predicted seconds of reading.
        rewind_s: Predicted seconds of the way back to the load point after it.
        unknown: Segments without a known place; they come last, as asked.
    """

    volume: int
    first: int
    count: int
    kept: Kept
    alternatives: tuple[Alternative, ...] = ()
    bound_s: float | None = None
    locate_s: float = NO_PRICE
    read_s: float = NO_PRICE
    rewind_s: float = NO_PRICE
    unknown: int = 0


@attrs.frozen(eq=False)
class Ordering:
    """The order of all segments, volume after volume.

    Attributes:
        order: Segments in the order of reading, a permutation.
        run_first: Steps that begin with a locate; those between read on.
        locate_s: Predicted seconds of positioning before each step, by the model of motion; gaps
            that are read through are in it. NaN where not known.
        read_s: Predicted seconds of reading each step; bytes read before count nothing.
        volumes: One element for each volume, in order; each volume comes once.
        alternatives: Sums over the volumes that could be priced: as asked (one volume after the
            other), logical, best.
        mounts: Mounts of this order.
        mounts_asked: Mounts if the segments were read as asked by one drive.
    """

    order: Ints
    run_first: Ints
    locate_s: Floats
    read_s: Floats
    volumes: tuple[VolumeOrder, ...]
    alternatives: tuple[Alternative, ...]
    mounts: int
    mounts_asked: int


@attrs.frozen(eq=False)
class _Part:
    """The steps of one volume before volumes are put in order."""

    about: VolumeOrder
    order: Ints
    run_first: Ints
    locate_s: Floats
    read_s: Floats


def order_segments(
    segments: Segments, tapes: Mapping[int, Tape], options: OrderOptions | None = None
) -> Ordering:
    """Order segments so that tapes spend the least time on positioning.

    Memory is bounded: a few columns of the segments, and the table of one window.

    Args:
        segments: What is wanted.
        tapes: What is known of each volume; volumes that are left out are sorted logically.
        options: Choices.

    Raises:
        RequestError: With code ``"tape.no-solver"`` if the assignment was asked for by name and
            scipy is not installed.
    """
    chosen = options or OrderOptions()
    solve = None if chosen.method in {Method.SEARCH, Method.LOGICAL} else assignment.solver()
    if chosen.method is Method.ASSIGNMENT and solve is None:
        raise RequestError("ordering by assignment needs scipy: pip install 'rehydrate[tape]'",
                           code="tape.no-solver")  # fmt: skip
    by_volume = np.argsort(segments.volume, kind="stable")
    edges = np.flatnonzero(np.diff(segments.volume[by_volume])) + 1
    groups = np.split(by_volume, edges) if len(by_volume) else []
    numbers = [int(segments.volume[group[0]]) for group in groups]
    planner = _Planner(segments, chosen, solve, _rewound(numbers, chosen))
    parts = [
        planner.part(number, group, tapes.get(number, Tape()))
        for number, group in zip(numbers, groups, strict=True)
    ]
    asked = segments.volume[segments.volume != UNKNOWN]
    changes = int(np.count_nonzero(np.diff(asked))) + (len(asked) > 0)
    return _joined(_mount_order(parts, chosen), changes)


def _rewound(numbers: Sequence[int], options: OrderOptions) -> frozenset[int]:
    """Return the volumes whose way back to the load point counts."""
    if options.rewind is not None:
        return frozenset(numbers if options.rewind else ())
    known = [number for number in numbers if number != UNKNOWN]
    one_by_one = sorted(known, key=lambda number: _mount_key(number, 0.0, options))
    return frozenset(one_by_one[:-1] if options.drives == 1 else ())


def _mount_order(parts: list[_Part], options: OrderOptions) -> list[_Part]:
    """Put volumes in order: loaded ones, the longest first if drives share the work, unknown."""

    def key(part: _Part) -> tuple[bool, int, float, int]:
        about = part.about
        seconds = float(np.nansum([about.locate_s, about.read_s])) if options.drives > 1 else 0.0
        return _mount_key(about.volume, seconds, options)

    return sorted(parts, key=key)


def _mount_key(volume: int, seconds: float, options: OrderOptions) -> tuple[bool, int, float, int]:
    loaded = (place for place, number in enumerate(options.loaded) if number == volume)
    return volume == UNKNOWN, next(loaded, len(options.loaded)), -seconds, volume


def _joined(parts: list[_Part], mounts_asked: int) -> Ordering:
    volumes, first = [], 0
    for part in parts:
        volumes.append(attrs.evolve(part.about, first=first))
        first += part.about.count
    priced = [volume.alternatives for volume in volumes if volume.alternatives]
    totals = tuple(
        Alternative(
            same[0].name,
            sum(one.motion_s for one in same),
            sum(one.regression_s for one in same),
        )
        for same in zip(*priced, strict=True)
    )
    ints, floats = [np.zeros(0, np.int64)], [np.zeros(0)]
    return Ordering(
        order=np.concatenate(ints + [part.order for part in parts]),
        run_first=np.concatenate(
            ints
            + [part.run_first + about.first for part, about in zip(parts, volumes, strict=True)]
        ),
        locate_s=np.concatenate(floats + [part.locate_s for part in parts]),
        read_s=np.concatenate(floats + [part.read_s for part in parts]),
        volumes=tuple(volumes),
        alternatives=totals,
        mounts=sum(volume.volume != UNKNOWN for volume in volumes),
        mounts_asked=mounts_asked,
    )


@attrs.frozen(eq=False)
class _Planner:
    """Orders the segments of one volume after the other."""

    segments: Segments
    options: OrderOptions
    solve: assignment.Solver | None
    rewound: frozenset[int]

    def part(self, volume: int, group: Ints, tape: Tape) -> _Part:
        """Order the segments of a volume; those without a place come last, as asked."""
        if volume == UNKNOWN:
            return self._unplanned(volume, group, group[:0], Tape(), Kept.NO_VOLUME)
        known = self.segments.start[group] != UNKNOWN
        placed, lost = group[known], group[~known]
        order = logical_order(self.segments, placed)
        if not len(placed):
            return self._unplanned(volume, order, lost, tape, Kept.NO_PLACE)
        if tape.geometry is None or tape.model is None:
            return self._unplanned(volume, order, lost, tape, Kept.NO_GEOMETRY)
        try:
            return self._planned(volume, order, lost, tape, (tape.model, tape.geometry))
        except LimitError:
            return self._unplanned(volume, order, lost, tape, Kept.CONTRADICTION)

    def _unplanned(self, volume: int, order: Ints, lost: Ints, tape: Tape, kept: Kept) -> _Part:
        every = np.concatenate((order, lost))
        read = np.full(len(every), NO_PRICE)
        if tape.model is not None:
            unit = tape.unit_bytes if tape.geometry is None else tape.geometry.unit_bytes
            length: Floats = self.segments.length[every] * np.float64(unit)
            read = tape.model.read_seconds(length, np.zeros(len(every)))
        about = VolumeOrder(
            volume=volume, first=0, count=len(every), kept=kept, read_s=float(read.sum()),
            unknown=len(lost),
        )  # fmt: skip
        locate = np.full(len(every), NO_PRICE)
        return _Part(about, every, np.arange(len(every)), locate, read)

    def _planned(
        self,
        volume: int,
        order: Ints,
        lost: Ints,
        tape: Tape,
        known: tuple[TapeModel, TapeGeometry],
    ) -> _Part:
        segments, options = self.segments, self.options
        model, geometry = known
        prices = Prices.of(model, geometry, tape, rewind=volume in self.rewound)
        compared = [prices.alternative("as asked", *places(segments, np.sort(order), geometry), 0)]
        even = model.break_even(geometry)
        small = SURELY_READ * even if options.read_through is None else options.read_through
        runs = merge(segments, order, geometry, small=small, large=even, most=options.window)
        gaps_s = float(runs.skipped.sum(dtype=np.float64)) * geometry.unit_bytes / model.native_rate
        compared.append(prices.alternative("logical", runs.head, runs.tail, gaps_s))
        sequence, kept, bound = self._sequence(runs, prices, even, compared[1], gaps_s)
        head, tail = runs.head.take(sequence), runs.tail.take(sequence)
        compared.append(prices.alternative("best", head, tail, gaps_s))
        found = steps(runs, sequence, prices, geometry.unit_bytes, max(small, even))
        last = self._unplanned(volume, lost, lost[:0], tape, kept)
        about = VolumeOrder(
            volume=volume, first=0, count=len(order) + len(lost), kept=kept,
            alternatives=tuple(compared), bound_s=bound, locate_s=float(found.locate_s.sum()),
            read_s=float(found.read_s.sum() + last.read_s.sum()), unknown=len(lost),
            rewind_s=float(model.rewind_seconds(tail.x[-1:])[0]),
        )  # fmt: skip
        return _Part(
            about,
            np.concatenate((found.order, lost)),
            np.concatenate((found.begins, last.run_first + len(order))),
            np.concatenate((found.locate_s, last.locate_s)),
            np.concatenate((found.read_s, last.read_s)),
        )

    def _sequence(
        self, runs: Runs, prices: Prices, even: float, logical: Alternative, gaps_s: float
    ) -> tuple[Ints, Kept, float | None]:
        """Choose the order of runs: the first plan that passes the guard, else the logical sort."""
        same = np.arange(len(runs))
        if self.options.method is Method.LOGICAL or len(runs) == 1:
            return same, Kept.SINGLE if len(runs) == 1 else Kept.ASKED, None
        if runs.mean_gap < self.options.dense * even:
            return same, Kept.DENSE, None
        bound = None
        for weight in WEIGHTS:
            sequence, floor = self._plan(runs, prices, weight=weight)
            if weight == 0 and floor is not None:
                bound = floor + gaps_s
            head, tail = runs.head.take(sequence), runs.tail.take(sequence)
            if prices.alternative("best", head, tail, gaps_s).wins(logical):
                return sequence, Kept.AVERAGE if weight else Kept.PLAN, bound
        return same, Kept.GUARD, bound

    def _plan(self, runs: Runs, prices: Prices, *, weight: float) -> tuple[Ints, float | None]:
        """Order the runs window by window, each from where the one before ends."""
        count = len(runs)
        windows = -(-count // self.options.window)
        edges = [count * number // windows for number in range(windows + 1)]
        begin, parts, bound = prices.begin, [], None
        for first, end in itertools.pairwise(edges):
            table = prices.table(runs, slice(first, end), begin, weight=weight)
            tour, bound = self._tour(table)
            parts.append(tour[1:] - 1 + first)
            begin = runs.tail.take(parts[-1][-1:])
        return np.concatenate(parts), bound if windows == 1 else None

    def _tour(self, table: Floats) -> tuple[Ints, float]:
        if self.solve is None:
            near = search.improved(table, search.nearest_next(table))
            return near, assignment.cheapest_bound(table)
        rows, columns = self.solve(table)
        bound = float(table[rows, columns].sum())
        return search.improved(table, assignment.patched(table, columns)), bound
