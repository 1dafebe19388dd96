"""The main drawing of the plan page: containers as bars in the order in which they are read."""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.plan.estimates import Record
from rehydrate.plan.lanes import ExtentColumns, Floats, Lanes, find_lanes
from rehydrate.plan.page_text import coordinate, escaped, visible
from rehydrate.plan.read_plan import PlannedRound
from rehydrate.plan.sketch import Marks, PlanSketch
from rehydrate.units import counted, size

__all__ = ["LaneDrawing", "colour_classes", "column_width", "draw_lanes"]

WIDTH: Final = 1000
"""Width of the drawing in its own units; it is stretched to what the page has."""
ROW: Final = 100
BAR_TOP, BAR_HEIGHT = 22, 56
MOST_STEPS: Final = 1500
"""Steps of the reading order that are drawn and told."""
DENSE: Final = 40
"""Lanes above which they are lower."""
SHOWN_STEPS: Final = 3
LEAST_HEIGHT: Final = 0.3
TICKS: Final = 5


@attrs.frozen(eq=False)
class _Steps:
    """The reading order: extents, or runs of them in one lane where they are too many."""

    lane: Ints
    start: Floats
    end: Floats
    extents: Ints
    reads: Ints
    needed: Ints
    to_read: Ints

    def __len__(self) -> int:
        return len(self.lane)

    def take(self, end: int) -> "_Steps":
        return _Steps(*(getattr(self, name.name)[:end] for name in attrs.fields(_Steps)))


@attrs.frozen(eq=False)
class LaneDrawing:
    """A round, drawn.

    Attributes:
        markup: HTML.
        record: What the script tells about it.
    """

    markup: str
    record: Record


def draw_lanes(planned: PlannedRound, sketch: PlanSketch | None, number: int) -> LaneDrawing:
    """Draw a round.

    Args:
        planned: The round.
        sketch: What is read for which file, if this is known.
        number: Where the script finds its record.

    Raises:
        ValueError: The sketch belongs to another plan.
    """
    if sketch is None:
        lanes = find_lanes(ExtentColumns.of(planned), len(planned.containers))
    else:
        lanes = sketch.lanes
    order = list(dict.fromkeys(extent.container for extent in planned.extents))
    if lanes.order.tolist() != order or len(lanes.lane) != len(planned.containers):
        msg = "the sketch was made of another plan"
        raise ValueError(msg)
    below = _common_folder(planned.containers)
    names = [visible(path.removeprefix(below)) for path in planned.containers]
    steps = _steps(planned, lanes)
    drawing = _Drawing(lanes, names, steps, sketch)
    notes = [f"All paths begin with {below}"] if below else []
    if len(steps) > MOST_STEPS:
        notes.append(f"Only the first {MOST_STEPS:,} steps of the reading order are drawn")
    if len(lanes.order) > len(lanes):
        notes.append(
            "Containers that follow each other share a bar: there are too many for one each"
        )
    caption = "".join(f"<li>{escaped(note)}.</li>" for note in notes)
    markup = drawing.markup(planned.kind, number) + (
        f'<ul class="notes">{caption}</ul>' if notes else ""
    )
    return LaneDrawing(markup, drawing.record())


def colour_classes(sketch: PlanSketch) -> list[str]:
    """Return the style class of each group, and behind them that of what several groups need.

    Args:
        sketch: The sketch.
    """
    return [*(f"c{group.colour}" for group in sketch.groups), "cs"]


def column_width(longest: int) -> str:
    """Return the width of a column of names.

    Args:
        longest: Characters of the longest.
    """
    return f"{coordinate(0.56 * min(max(longest, 8), 40) + 0.5)}rem"


def _common_folder(paths: Sequence[str]) -> str:
    low, high = min(paths, default=""), max(paths, default="")
    same = 0
    while same < min(len(low), len(high)) and low[same] == high[same]:
        same += 1
    return low[: low.rfind("/", 0, same) + 1]


def _steps(planned: PlannedRound, lanes: Lanes) -> _Steps:
    rows = [
        (each.container, each.first, each.end, 1, each.reads, each.bytes_needed, each.bytes_to_read)
        for each in planned.extents
    ]
    container, first, end, *sums = np.array(rows, np.int64).reshape(-1, 7).T.copy()
    base = lanes.base[container]
    steps = _Steps(lanes.lane[container], base + first, base + end, *sums)
    if len(steps) <= MOST_STEPS:
        return steps
    heads = np.flatnonzero(np.concatenate(([True], steps.lane[1:] != steps.lane[:-1])))
    return _Steps(
        steps.lane[heads],
        np.minimum.reduceat(steps.start, heads),
        np.maximum.reduceat(steps.end, heads),
        *(np.add.reduceat(column, heads) for column in sums),
    )


class _Drawing:
    """Draws lanes, and tells about them."""

    def __init__(
        self,
        lanes: Lanes,
        names: Sequence[str],
        all_steps: _Steps,
        sketch: PlanSketch | None,
    ) -> None:
        self.steps = all_steps.take(MOST_STEPS)
        self._lanes, self._names, self._all_steps = lanes, names, all_steps
        self._marks = None if sketch is None else sketch.marks
        self._colours = [] if sketch is None else colour_classes(sketch)
        self._widest = float(lanes.size.max(initial=1.0))
        self._scale = WIDTH / self._widest
        self._mine: list[list[int]] = [[] for _ in range(len(lanes))]
        for step, lane in enumerate(self.steps.lane.tolist()):
            self._mine[lane].append(step)
        columns = (all_steps.reads, all_steps.needed, all_steps.to_read)
        self._sums = np.zeros((len(columns), len(lanes)), np.int64)
        for row, column in zip(self._sums, columns, strict=True):
            np.add.at(row, all_steps.lane, column)

    def record(self) -> Record:
        """Return what the script tells about lanes, marks and steps."""
        lanes: list[Record] = []
        marks = self._mark_records()
        for lane in range(len(self._lanes)):
            reads, needed, to_read = self._sums[:, lane].tolist()
            lanes.append(
                {
                    "names": list(self._named(lane)),
                    "containers": int(self._lanes.first[lane + 1] - self._lanes.first[lane]),
                    "size": float(self._lanes.size[lane]),
                    "reads": reads,
                    "needed": needed,
                    "toRead": to_read,
                    "steps": self._mine[lane],
                    "marks": marks[lane],
                }
            )
        columns = attrs.astuple(self.steps, recurse=False)
        steps = zip(*(column.tolist() for column in columns), strict=True)
        return {"widest": self._widest, "lanes": lanes, "steps": [list(step) for step in steps]}

    def _mark_records(self) -> list[list[Record]]:
        found: list[list[Record]] = [[] for _ in range(len(self._lanes))]
        if self._marks is None:
            return found
        columns = attrs.astuple(self._marks, recurse=False)
        for lane, start, end, group, needed, files in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            found[lane].append([start, end, group, needed, [file for file in files if file >= 0]])
        return found

    def markup(self, kind: str, number: int) -> str:
        count = len(self._lanes)
        label = f"Containers of the {kind} round, in reading order"
        ticks = "".join(
            f"<span>{size(self._widest * tick / (TICKS - 1))}</span>" for tick in range(TICKS)
        )
        dense = " dense" if count > DENSE else ""
        scroll = ' class="scroll"' if count > DENSE else ""
        longest = max(map(len, self._names), default=0)
        return (
            f'<div class="lanes{dense}" style="--name:{column_width(longest)}"><div{scroll}>'
            '<div class="head" aria-hidden="true"><span>order</span><span>container</span>'
            f'<span class="ticks">{ticks}</span>'
            "<span>needed</span><span>to read</span><span>reads</span></div>"
            f'<div class="rows" role="listbox" tabindex="0" data-chart="lanes" data-i="{number}" aria-label="{label}">'
            f'<div class="over"><svg viewBox="0 0 {WIDTH} {count * ROW}" preserveAspectRatio="none"'
            f' aria-hidden="true">{self._bars()}{self._way()}</svg></div>'
            f"{''.join(self._row(lane) for lane in range(count))}</div></div></div>"
        )

    def _bars(self) -> str:
        x = [coordinate(float(size) * self._scale) for size in self._lanes.size]
        tracks = "".join(
            f"M0 {lane * ROW + BAR_TOP}h{width}v{BAR_HEIGHT}h-{width}z"
            for lane, width in enumerate(x)
        )
        parts = [
            f'<path class="track" d="{tracks}"/>',
            f'<path class="ext" d="{self._reached()}"/>',
        ]
        if self._marks is not None:
            parts += self._mark_paths(self._marks)
        return "".join(parts)

    def _reached(self) -> str:
        """Return what the reads span, as a path; what lies too close to be told apart is joined."""
        steps, scale = self._all_steps, self._scale
        shift = steps.lane * (3.0 * WIDTH)
        left, right = steps.start * scale + shift, steps.end * scale + shift
        order = np.argsort(left, kind="stable")
        left, reach = left[order], np.maximum.accumulate(right[order])
        heads = np.flatnonzero(np.concatenate(([True], left[1:] > reach[:-1] + 1.0))[: len(left)])
        tails = np.append(heads[1:], len(left)) - 1
        return "".join(
            _box(a - s, b - s, int(lane) * ROW + BAR_TOP, BAR_HEIGHT)
            for a, b, s, lane in zip(
                left[heads].tolist(), reach[tails].tolist(), shift[order][heads].tolist(),
                steps.lane[order][heads].tolist(), strict=True,
            )
        )  # fmt: skip

    def _mark_paths(self, marks: Marks) -> list[str]:
        paths: dict[int, list[str]] = {}
        width = np.maximum((marks.end - marks.start) * self._scale, 1.0)
        share = np.clip(marks.needed / np.maximum(marks.end - marks.start, 1.0), 0.0, 1.0)
        height = BAR_HEIGHT * (LEAST_HEIGHT + (1 - LEAST_HEIGHT) * share)
        top = marks.lane * ROW + BAR_TOP + BAR_HEIGHT - height
        columns = (marks.group, marks.start * self._scale, width, top, height)
        for group, x, wide, y, high in zip(*(each.tolist() for each in columns), strict=True):
            paths.setdefault(group, []).append(_box(x, x + wide, y, high))
        return [
            f'<path class="mark {self._colours[group]}" data-g="{group}" d="{"".join(boxes)}"/>'
            for group, boxes in sorted(paths.items())
        ]

    def _way(self) -> str:
        """Return the reading order as a line under the bars, with a dot where each step begins."""
        columns = (self.steps.lane, self.steps.start * self._scale, self.steps.end * self._scale)
        reads, hops, dots = [], [], []
        before, here = None, ""
        for lane, start, end in zip(*(column.tolist() for column in columns), strict=True):
            y = lane * ROW + BAR_TOP + BAR_HEIGHT + 10
            # Going on to the next lane is what the eye does anyway.
            if before is not None and lane != before + 1:
                hops.append(f"{here}L{coordinate(start)} {y}")
            reads.append(f"M{coordinate(start)} {y}H{coordinate(end)}")
            dots.append(f"M{coordinate(start)} {y}h0")
            before, here = lane, f"M{coordinate(end)} {y}"
        paths = {"hops": hops, "way": reads, "dots": dots}
        return "".join(f'<path class="{name}" d="{"".join(d)}"/>' for name, d in paths.items())

    def _row(self, lane: int) -> str:
        mine = self._mine[lane]
        sums = self._sums[:, lane].tolist()
        first, last = self._named(lane)
        name = first if first == last else f"{first} … {last}"
        places = ", ".join(f"{step + 1:,}" for step in mine[:SHOWN_STEPS])
        places += " …" if len(mine) > SHOWN_STEPS else ""
        said = (
            f"{name}, read at {places or 'a later place'}, {size(sums[1])} needed,"
            f" {size(sums[2])} to read in {counted(sums[0], 'read')}"
        )
        return (
            f'<div class="row" role="option" aria-selected="false" data-i="{lane}"'
            f' aria-label="{escaped(said)}"><span class="no">{places}</span>'
            f'<span class="name" title="{escaped(name)}"><bdi>{escaped(name)}</bdi></span>'
            f'<span class="bar"></span><span class="num">{size(sums[1])}</span>'
            f'<span class="num">{size(sums[2])}</span><span class="num">{sums[0]:,}</span></div>'
        )

    def _named(self, lane: int) -> tuple[str, str]:
        inside = self._lanes.order[self._lanes.first[lane] : self._lanes.first[lane + 1]]
        return self._names[int(inside[0])], self._names[int(inside[-1])]


def _box(left: float, right: float, top: float, height: float) -> str:
    wide, high = coordinate(max(right - left, 0.5)), coordinate(height)
    return f"M{coordinate(left)} {coordinate(top)}h{wide}v{high}h-{wide}z"
