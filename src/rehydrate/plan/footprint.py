"""What the files of a job take at the target: their sizes, and how much of it is unfinished."""

from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import HOLE, Bools, ChunkTable, Ints
from rehydrate.plan.columns import BLOCK, MEMORY, Scratch, blocks
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan

__all__ = [
    "NEVER",
    "FileTimes",
    "allocated_sizes",
    "exact_sum",
    "file_times",
    "logical_sizes",
    "unfinished_levels",
    "unfinished_peak",
]

NEVER: Final = -1


@attrs.frozen(eq=False)
class FileTimes:
    """When each file begins and is finished, in the order of what a plan reads.

    The time of the need at ``i`` in :attr:`RoundPlan.need` is ``2 * i + 1``; that of a record that
    is joined from fragments is even: twice the number of needs that come before it.

    Attributes:
        begin: Time of the first chunk, or :data:`NEVER` without stored bytes that are read.
        end: Time of the last one, or :data:`NEVER`.
        lost: Whether the plan does not read all of it.
    """

    begin: Ints
    end: Ints
    lost: Bools


def exact_sum(column: Ints) -> int:
    """Return the sum of numbers of at least 0; it may be beyond 64 bits."""
    high = int((column >> 32).sum(dtype=np.int64))
    return (high << 32) + int((column & 0xFFFFFFFF).sum(dtype=np.int64))


def logical_sizes(table: ChunkTable) -> Ints:
    """Return the size of each file, shape ``(files,)``."""
    sizes = np.zeros(table.files, np.int64)
    filled = np.flatnonzero(np.diff(table.row_ptr))
    sizes[filled] = table.rows["end"][table.row_ptr[filled + 1] - 1]
    return sizes


def allocated_sizes(table: ChunkTable) -> Ints:
    """Return the size of each file without its recorded holes, shape ``(files,)``."""
    sizes = logical_sizes(table)
    first_rows = table.row_ptr[:-1]
    for begin, end in blocks(len(table.rows)):
        rows = table.rows[begin:end]
        holes = np.flatnonzero((rows["container"] == 0) & (rows["local_id"] == HOLE)) + begin
        file = np.searchsorted(table.row_ptr, holes, side="right") - 1
        ends = table.rows["end"][holes].astype(np.int64)
        starts = table.rows["end"][holes - 1].astype(np.int64)
        starts[first_rows[file] == holes] = 0
        np.subtract.at(sizes, file, ends - starts)
    return sizes


def unfinished_peak(
    needs: Needs, table: ChunkTable, plan: RoundPlan, *, scratch: Scratch = MEMORY
) -> int:
    """Return the most bytes of files begun and not finished at any moment.

    Reads are taken in the order of the plan, and the needs of a read in theirs; a record in
    fragments comes with its last fragment. A file counts with its allocated size from its first
    chunk to its last, both included. Files with a need that the plan does not read are left out:
    they fail before they begin.

    Args:
        needs: The needs of the plan.
        table: The table they were made from.
        plan: The reads.
        scratch: Where the columns live.
    """
    times = file_times(needs, table, plan, scratch=scratch)
    kept = (times.end != NEVER) & ~times.lost
    sizes = allocated_sizes(table)[kept]
    _, level = unfinished_levels(times.begin[kept], times.end[kept], sizes)
    return int(level.max(initial=0))


def file_times(
    needs: Needs, table: ChunkTable, plan: RoundPlan, *, scratch: Scratch = MEMORY
) -> FileTimes:
    """Find out when each file begins and is finished.

    Args:
        needs: The needs of the plan.
        table: The table they were made from.
        plan: The reads.
        scratch: Where the columns live.
    """
    time_of_row, lost = _row_times(needs, table, plan, scratch)
    found = FileTimes(
        np.full(table.files, NEVER), np.full(table.files, NEVER), np.zeros(table.files, np.bool_)
    )
    files = np.flatnonzero(np.diff(table.row_ptr))
    heads = table.row_ptr[:-1][files]
    if len(heads):
        found.end[files] = np.maximum.reduceat(time_of_row, heads)
        # As an unsigned number, NEVER is larger than every time.
        first = np.minimum.reduceat(time_of_row.view(np.uint64), heads)
        found.begin[files] = first.view(np.int64)
    found.lost[lost] = True
    return found


def unfinished_levels(begin: Ints, end: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Return the bytes of files begun and not finished after each beginning and each end.

    Args:
        begin: Time at which each file begins.
        end: Time at which it ends, that moment included.
        sizes: Its bytes.

    Returns:
        Times, ascending, and the level from each of them on; Python's integers where 64 bits are
        too few.
    """
    # A file that begins when another ends meets it: beginnings come before ends.
    order = np.argsort(np.concatenate((2 * begin, 2 * end + 1)), kind="stable")
    weights = sizes if exact_sum(sizes) < 2**63 else sizes.astype(object)
    level = np.cumsum(np.concatenate((weights, -weights))[order])
    return np.concatenate((begin, end))[order], level


def _row_times(
    needs: Needs, table: ChunkTable, plan: RoundPlan, scratch: Scratch
) -> tuple[Ints, Ints]:
    """Return when each row's chunk comes, or NEVER, and the files that miss one."""
    time_of_need = scratch.array(np.int64, len(needs))
    time_of_need.fill(NEVER)
    for begin, end in blocks(len(plan.need)):
        time_of_need[plan.need[begin:end]] = 2 * np.arange(begin, end) + 1
    joined = 2 * plan.need_ptr[plan.fragment_read + 1]
    np.maximum.at(time_of_need, plan.fragment_need, joined)
    time_of_row = scratch.array(np.int64, len(table.rows))
    time_of_row.fill(NEVER)
    lost = [np.zeros(0, np.int64)]
    for begin, end in blocks(len(needs), BLOCK):
        uses = needs.use_row[needs.use_ptr[begin] : needs.use_ptr[end]]
        times = np.repeat(time_of_need[begin:end], np.diff(needs.use_ptr[begin : end + 1]))
        time_of_row[uses] = times
        missing = np.sort(uses[times == NEVER])
        lost.append(np.searchsorted(table.row_ptr, missing, side="right") - 1)
    return time_of_row, np.unique(np.concatenate(lost))
