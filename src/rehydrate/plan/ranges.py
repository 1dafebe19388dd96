"""Algebra on half-open byte ranges in sorted columns.

A *cover* is a set of bytes as ascending ranges that neither overlap nor touch and are not empty.
All columns are int64; ranges lie in ``[0, MAX_OFFSET)``.
"""

import heapq
import itertools

import attrs
import numpy as np

from rehydrate.chunks import Bools, Ints
from rehydrate.values import MAX_OFFSET

__all__ = [
    "Ranges",
    "cover",
    "first_owners",
    "indexes",
    "intersect",
    "is_covered",
    "merge",
    "subtract",
]


@attrs.frozen(eq=False)
class Ranges:
    """Ranges as two columns.

    Attributes:
        start: First byte of each.
        end: First byte behind each.
    """

    start: Ints
    end: Ints


def cover(ranges: Ranges) -> Ranges:
    """Return the bytes that lie in any of the ranges, as a cover.

    Args:
        ranges: In any order; they may overlap, touch and be empty.
    """
    kept = np.flatnonzero(ranges.start < ranges.end)
    order = kept[np.argsort(ranges.start[kept], kind="stable")]
    start = ranges.start[order]
    reach = np.maximum.accumulate(ranges.end[order])
    heads = np.ones(len(start), np.bool_)
    heads[1:] = start[1:] > reach[:-1]
    tails = np.ones(len(start), np.bool_)
    tails[:-1] = heads[1:]
    return Ranges(start[heads], reach[tails])


def merge(one: Ranges, other: Ranges) -> Ranges:
    """Return the bytes in either of two sets of ranges, as a cover."""
    start = np.concatenate((one.start, other.start))
    return cover(Ranges(start, np.concatenate((one.end, other.end))))


def intersect(one: Ranges, other: Ranges) -> Ranges:
    """Return the bytes in both of two covers, as a cover."""
    first = np.searchsorted(other.end, one.start, side="right")
    last = np.searchsorted(other.start, one.end, side="left")
    left = np.repeat(np.arange(len(one.start)), last - first)
    right = indexes(first, last)
    start = np.maximum(one.start[left], other.start[right])
    return Ranges(start, np.minimum(one.end[left], other.end[right]))


def subtract(one: Ranges, other: Ranges) -> Ranges:
    """Return the bytes of a cover that are not in another, as a cover."""
    start = np.concatenate((np.zeros(1, np.int64), other.end))
    end = np.append(other.start, MAX_OFFSET)
    kept = start < end
    return intersect(one, Ranges(start[kept], end[kept]))


def is_covered(ranges: Ranges, by: Ranges) -> Bools:
    """Tell for each range whether all of its bytes lie in a cover.

    Args:
        ranges: Not empty ones, in any order.
        by: A cover.
    """
    holder = np.searchsorted(by.end, ranges.start, side="right")
    inside = holder < len(by.start)
    found = holder[inside]
    inside[inside] = (by.start[found] <= ranges.start[inside]) & (
        ranges.end[inside] <= by.end[found]
    )
    return inside


def indexes(first: Ints, end: Ints) -> Ints:
    """Return ``[first[0] .. end[0]), [first[1] .. end[1]), ...`` as one column."""
    sizes = end - first
    stops = np.cumsum(sizes)
    total = int(stops[-1]) if len(stops) else 0
    found: Ints = np.arange(total) + np.repeat(first - (stops - sizes), sizes)
    return found


def first_owners(ranges: Ranges) -> tuple[Ranges, Ints]:
    """Cut overlapping ranges so that each byte belongs to the first range that holds it.

    Args:
        ranges: Not empty, in order of precedence.

    Returns:
        Disjoint ranges, ascending, and for each the position of its owner in the argument.
        Neighbours that touch have different owners.
    """
    starts, ends = ranges.start.tolist(), ranges.end.tolist()
    arriving = sorted(range(len(starts)), key=starts.__getitem__, reverse=True)
    borders = sorted({*starts, *ends})
    waiting: list[int] = []
    pieces: list[tuple[int, int, int]] = []
    for begin, end in itertools.pairwise(borders):
        while arriving and starts[arriving[-1]] <= begin:
            heapq.heappush(waiting, arriving.pop())
        while waiting and ends[waiting[0]] <= begin:
            heapq.heappop(waiting)
        if not waiting:
            continue
        owner = waiting[0]
        if pieces and pieces[-1][1:] == (begin, owner):
            pieces[-1] = (pieces[-1][0], end, owner)
        else:
            pieces.append((begin, end, owner))
    start, stop, owners = np.array(pieces, np.int64).reshape(-1, 3).T
    return Ranges(start, stop), owners
