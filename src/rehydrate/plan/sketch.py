"""What of a plan people look at: which file needs which range, and when each file is finished.

A plan may have millions of reads; a sketch has a bounded number of marks. A mark is a stretch of a
container with bytes of one group of files. Where reads lie close together, a mark is exact at its
ends and says how much between them is needed.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import ChunkTable, Ints
from rehydrate.plan.columns import MEMORY, Scratch, blocks
from rehydrate.plan.footprint import (
    NEVER,
    FileTimes,
    allocated_sizes,
    file_times,
    unfinished_levels,
)
from rehydrate.plan.groups import FileGroup, group_files
from rehydrate.plan.lanes import ExtentColumns, Floats, Lanes, find_lanes
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan

__all__ = ["Marks", "PlanSketch", "sketch_plan"]

CELLS: Final = 24_576
"""Places for marks over all lanes."""
FEWEST_CELLS, MOST_CELLS = 48, 512
NAMED: Final = 1000
"""Files that marks name; the largest ones."""
FILES_PER_MARK: Final = 4
MOST_MARKS: Final = 40_000
"""Marks above which each place has one only."""
PENDING: Final = 1 << 20
LEVELS: Final = 400


@attrs.frozen(eq=False)
class Marks:
    """Needed stretches, by lane and start.

    Attributes:
        lane: Lane of each mark.
        start: First byte in the lane.
        end: First byte behind.
        group: Group of files; the number of groups where several groups need the bytes.
        needed: Needed bytes of the mark.
        files: Shape ``(marks, 4)``: up to four files, by number, -1 where there are fewer; the
            number of files stands for some that are too small to be named.
    """

    lane: Ints
    start: Floats
    end: Floats
    group: Ints
    needed: Ints
    files: Ints

    def take(self, chosen: Ints) -> "Marks":
        """Return some of the marks.

        Args:
            chosen: Which ones.
        """
        return Marks(*(getattr(self, name.name)[chosen] for name in attrs.fields(Marks)))


@attrs.frozen(eq=False)
class PlanSketch:
    """A plan's data round, drawn in bounded size.

    Times are bytes read, counted in reading order.

    Attributes:
        names: Path of each file.
        sizes: Bytes that each file occupies.
        begin: Bytes read before the first of each file's data, 0 where none is read.
        finish: Bytes read when the last has come; 0 where none is needed, -1 where the plan does
            not read all of it.
        groups: Files by colour.
        group: Group of each file.
        lanes: Where containers are drawn.
        marks: What is needed of them.
        levels: Most bytes of files begun and not finished, in equal steps of bytes read.
    """

    names: Sequence[bytes]
    sizes: Ints
    begin: Ints
    finish: Ints
    groups: tuple[FileGroup, ...]
    group: Ints
    lanes: Lanes
    marks: Marks
    levels: tuple[float, ...]


def sketch_plan(
    needs: Needs,
    table: ChunkTable,
    plan: RoundPlan,
    names: Sequence[bytes],
    *,
    scratch: Scratch = MEMORY,
) -> PlanSketch:
    """Sketch a data round.

    Args:
        needs: The needs of the plan.
        table: The table they were made from.
        plan: The reads.
        names: Path of each file of the table.
        scratch: Where the columns live.
    """
    last = plan.read_ptr[1:] - 1
    ends = plan.read_offset[last] + plan.read_size[last]
    extents = ExtentColumns(plan.extent_container, ends, plan.extent_end)
    lanes = find_lanes(extents, len(needs.containers))
    sizes = allocated_sizes(table)
    groups, group = group_files(names, sizes)
    times = file_times(needs, table, plan, scratch=scratch)
    begin, finish = _in_bytes(times, plan)
    marker = _Marker(table, lanes, group, len(groups), sizes)
    for first, end in blocks(len(needs)):
        marker.add(needs, first, end)
    return PlanSketch(
        names=names, sizes=sizes, begin=begin, finish=finish, groups=groups, group=group,
        lanes=lanes, marks=marker.marks(),
        levels=tuple(_levels(times, begin, finish, sizes, int(plan.read_size.sum())).tolist()),
    )  # fmt: skip


def _bytes_at(time: Ints, plan: RoundPlan, done: Ints, *, behind: bool) -> Ints:
    """Return the bytes read before the read of a time, or with it.

    Where several reads bring fragments only, a joined record may come with any of them: it begins
    with the first and ends with the last.
    """
    need = time // 2
    inside = np.searchsorted(plan.need_ptr, need, side="right") - 1
    joined = inside - 1 if behind else np.searchsorted(plan.need_ptr, need, side="left") - 1
    read = np.where(time % 2 == 1, inside, joined)
    found: Ints = done[np.clip(read, 0, len(done) - 2) + int(behind)]
    return found


def _done(plan: RoundPlan) -> Ints:
    done = np.zeros(len(plan.read_size) + 1, np.int64)
    np.cumsum(plan.read_size, out=done[1:])
    return done


def _in_bytes(times: FileTimes, plan: RoundPlan) -> tuple[Ints, Ints]:
    begin, finish = np.zeros(len(times.end), np.int64), np.zeros(len(times.end), np.int64)
    some = np.flatnonzero(times.end != NEVER)
    if len(some):
        done = _done(plan)
        begin[some] = _bytes_at(times.begin[some], plan, done, behind=False)
        finish[some] = _bytes_at(times.end[some], plan, done, behind=True)
    finish[times.lost] = -1
    return begin, finish


def _levels(times: FileTimes, begin: Ints, finish: Ints, sizes: Ints, whole: int) -> Floats:
    """Return the course of unfinished bytes: the highest of each step of the bytes read.

    A file counts from the beginning of the read that brings its first data to the end of the one
    that brings its last; the peak is that of the finer count by records.
    """
    kept = np.flatnonzero(finish > 0)
    found = np.zeros(LEVELS if len(kept) else 0)
    if not len(kept):
        return found
    size = sizes[kept]
    _, exact = unfinished_levels(times.begin[kept], times.end[kept], size)
    # Where one read ends and the next begins, files end before others begin.
    when, level = unfinished_levels(2 * begin[kept] + 1, 2 * finish[kept], size)
    step = np.minimum(when // 2 * (LEVELS / whole), LEVELS - 1).astype(np.int64)
    np.maximum.at(found, step, level.astype(np.float64))
    # What is unfinished when a step begins counts in it.
    before = np.searchsorted(step, np.arange(LEVELS), side="left") - 1
    found = np.maximum(found, np.where(before >= 0, level[before].astype(np.float64), 0.0))
    return np.minimum(found, float(exact.max()))


class _Marker:
    """Collects marks, block by block."""

    def __init__(
        self, table: ChunkTable, lanes: Lanes, group: Ints, groups: int, sizes: Ints
    ) -> None:
        self._row_ptr, self._lanes, self._group, self._groups = table.row_ptr, lanes, group, groups
        self._cells = max(FEWEST_CELLS, min(MOST_CELLS, CELLS // max(len(lanes), 1)))
        count = len(lanes) * self._cells * (groups + 1)
        self._start = np.full(count, np.inf)
        self._end = np.zeros(count)
        self._needed = np.zeros(count, np.int64)
        # Largest files first; all others have the rank behind them.
        self._named = np.argsort(-sizes, kind="stable")[:NAMED]
        self._rank = np.full(len(sizes), len(self._named), np.int64)
        self._rank[self._named] = np.arange(len(self._named))
        self._pairs = [np.zeros(0, np.int64)]
        self._pending = 0

    def add(self, needs: Needs, first: int, end: int) -> None:
        """Take the needs of a block."""
        uses = needs.use_row[needs.use_ptr[first] : needs.use_ptr[end]]
        file = np.searchsorted(self._row_ptr, uses, side="right") - 1
        heads = needs.use_ptr[first:end] - needs.use_ptr[first]
        group = self._group[file]
        low, high = np.minimum.reduceat(group, heads), np.maximum.reduceat(group, heads)
        container = needs.container[first:end]
        lane = self._lanes.lane[container]
        start = self._lanes.base[container] + needs.offset[first:end]
        part = start / self._lanes.size[lane] if len(self._lanes) else start
        cell = np.clip((part * self._cells).astype(np.int64), 0, self._cells - 1)
        key = (lane * self._cells + cell) * (self._groups + 1)
        key += np.where(low == high, low, self._groups)
        kept = lane >= 0
        length = needs.length[first:end].astype(np.int64)
        np.minimum.at(self._start, key[kept], start[kept])
        np.maximum.at(self._end, key[kept], (start + length)[kept])
        np.add.at(self._needed, key[kept], length[kept])
        counts = np.diff(needs.use_ptr[first : end + 1])
        pairs = np.repeat(key, counts) * (len(self._named) + 1) + self._rank[file]
        self._pairs.append(np.unique(pairs[np.repeat(kept, counts)]))
        self._pending += len(self._pairs[-1])
        if self._pending > PENDING:
            self._shorten()

    def _shorten(self) -> None:
        """Keep the largest files of each mark."""
        pairs = np.unique(np.concatenate(self._pairs))
        key = pairs // (len(self._named) + 1)
        heads = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))) if len(key) else key
        position = np.arange(len(key)) - np.repeat(heads, np.diff(np.append(heads, len(key))))
        self._pairs = [pairs[position < FILES_PER_MARK]]
        self._pending = 0

    def marks(self) -> Marks:
        """Return what was collected."""
        self._shorten()
        keys = np.flatnonzero(self._needed)
        rank = self._pairs[0] % (len(self._named) + 1)
        place = np.searchsorted(keys, self._pairs[0] // (len(self._named) + 1))
        heads = np.searchsorted(place, np.arange(len(keys)))
        files = np.full((len(keys), FILES_PER_MARK), -1, np.int64)
        numbers = np.append(self._named, len(self._rank))
        files[place, np.arange(len(place)) - heads[place]] = numbers[rank]
        lane = keys // (self._groups + 1) // self._cells
        start = self._start[keys]
        marks = Marks(
            lane, start, self._end[keys], keys % (self._groups + 1), self._needed[keys], files
        )
        if len(keys) > MOST_MARKS:
            marks = _one_for_each(keys // (self._groups + 1), marks)
        # Records that overlap count once at most.
        needed = np.minimum(marks.needed, (marks.end - marks.start).astype(np.int64))
        marks = attrs.evolve(marks, needed=needed)
        return _joined(marks.take(np.lexsort((marks.start, marks.lane))))


def _one_for_each(cell: Ints, marks: Marks) -> Marks:
    """Give each place one mark: of the group that needs most of it."""
    order = np.lexsort((-marks.needed, cell))
    cell, marks = cell[order], marks.take(order)
    heads = np.flatnonzero(np.concatenate(([True], cell[1:] != cell[:-1])))
    return attrs.evolve(
        marks.take(heads),
        start=np.minimum.reduceat(marks.start, heads),
        end=np.maximum.reduceat(marks.end, heads),
        needed=np.add.reduceat(marks.needed, heads),
    )


def _joined(marks: Marks) -> Marks:
    """Join marks that touch and tell the same."""
    if not len(marks.lane):
        return marks
    head = np.ones(len(marks.lane), np.bool_)
    head[1:] = (
        (marks.lane[1:] != marks.lane[:-1])
        | (marks.group[1:] != marks.group[:-1])
        | (marks.start[1:] != marks.end[:-1])
        | (marks.files[1:] != marks.files[:-1]).any(axis=1)
    )
    heads = np.flatnonzero(head)
    found = marks.take(heads)
    return attrs.evolve(
        found,
        end=np.maximum.reduceat(marks.end, heads),
        needed=np.add.reduceat(marks.needed, heads),
    )
