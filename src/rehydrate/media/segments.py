"""Wanted segments of volumes as columns, and the runs that read them without a locate between.

A run is a piece of one partition that is read forward in one go: segments that overlap, touch, or
lie so close on one wrap that reading the gap is quicker than a locate. Whatever is planned later
moves whole runs, so that no segment is ever entered from behind or read twice.
"""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import RequestError
from rehydrate.media.geometry import Floats, Heads, Ints, TapeGeometry
from rehydrate.media.locate import ahead_bytes

__all__ = ["UNKNOWN", "Runs", "Segments", "logical_order", "merge", "places", "reach"]

UNKNOWN: Final = -1
"""Volume or start that the catalogue does not know."""


def _column(values: npt.ArrayLike) -> Ints:
    column = np.asarray(values)
    if column.size == 0:
        column = column.astype(np.int64)
    if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
        raise RequestError("columns of segments are whole numbers", code="tape.segments")
    if np.issubdtype(column.dtype, np.unsignedinteger) and column.max(initial=0) >= 2**63:
        raise RequestError("a segment ends beyond 2**63 - 1", code="tape.segments")
    return column.astype(np.int64, copy=False)


@attrs.frozen(eq=False)
class Segments:
    """What is wanted, in the order in which it was asked for.

    Attributes:
        volume: Number of the volume of each segment, or :data:`UNKNOWN`.
        partition: Its partition.
        start: First address (byte or block) in the partition, or :data:`UNKNOWN`.
        length: Number of addresses; ``[start, start + length)``. May be 0.
    """

    volume: Ints = attrs.field(converter=_column)
    partition: Ints = attrs.field(converter=_column)
    start: Ints = attrs.field(converter=_column)
    length: Ints = attrs.field(converter=_column)

    def __attrs_post_init__(self) -> None:
        """Refuse columns that are no segments.

        Raises:
            RequestError: With code ``"tape.segments"``.
        """
        if len({len(self.volume), len(self.partition), len(self.start), len(self.length)}) != 1:
            raise RequestError("columns of segments differ in length", code="tape.segments")
        lowest = min(self.volume.min(initial=0), self.start.min(initial=0))
        if lowest < UNKNOWN or min(self.partition.min(initial=0), self.length.min(initial=0)) < 0:
            raise RequestError("a segment has a negative place or length", code="tape.segments")
        if ((2**63 - 1 - np.maximum(self.start, 0)) < self.length).any():
            raise RequestError("a segment ends beyond 2**63 - 1", code="tape.segments")

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.volume)


@attrs.frozen(eq=False)
class Runs:
    """Runs of one volume in logical order.

    Attributes:
        member: Segments in logical order, as indices of the whole list.
        member_ptr: Shape ``(runs + 1,)``; run ``r`` has ``member[member_ptr[r]:...]``.
        head: Position of the first byte of each run.
        tail: Position behind its last byte, on the wrap of that byte.
        skipped: Addresses that are read through before each member; 0 where a run begins.
        fresh: Addresses of each member that no member before it has.
        crossed: Ends of wraps within those.
        mean_gap: Mean bytes of the gaps on one wrap that are too large to be read through,
            infinite if segments never follow each other on a wrap, 0 if all gaps are small.
    """

    member: Ints
    member_ptr: Ints
    head: Heads
    tail: Heads
    skipped: Ints
    fresh: Ints
    crossed: Ints
    mean_gap: float

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.member_ptr) - 1


def logical_order(segments: Segments, chosen: Ints) -> Ints:
    """Sort segments of one volume by partition and start; a tie keeps the order of asking.

    Args:
        segments: All segments.
        chosen: Those to sort, ascending indices.
    """
    keys = (segments.length[chosen], segments.start[chosen], segments.partition[chosen])
    order: Ints = chosen[np.lexsort(keys)]
    return order


def reach(segments: Segments, order: Ints) -> Ints:
    """Return the furthest end up to each segment in its partition.

    Args:
        segments: All segments.
        order: Segments of one volume in logical order.
    """
    ends = segments.start[order] + segments.length[order]
    partition = segments.partition[order]
    edges = np.flatnonzero(np.diff(partition)) + 1
    parts = [np.maximum.accumulate(part) for part in np.split(ends, edges)]
    return np.concatenate(parts)


def places(
    segments: Segments, chosen: Ints, geometry: TapeGeometry, end: Ints | None = None
) -> tuple[Heads, Heads]:
    """Locate segments: their first bytes, and behind their last ones.

    An empty segment lies at its start; at the end of a partition it lies behind the last address.

    Args:
        segments: All segments.
        chosen: Which of them, of one volume.
        geometry: Its tape.
        end: Ends to take instead of the segments' own.

    Raises:
        LimitError: With code ``"tape.beyond-end"`` if one lies outside the tape.
    """
    partition, start = segments.partition[chosen], segments.start[chosen]
    ends = start + segments.length[chosen] if end is None else end
    empty = ends == start
    last = np.where(empty, start, ends - 1)
    if not empty.any():
        return geometry.heads(partition, start), geometry.heads(partition, last, after=True)
    behind = np.zeros(len(start), np.bool_)
    for number in np.unique(partition[empty]).tolist():
        behind |= empty & (partition == number) & (start == geometry.partition_end(number))
    behind &= start > 0
    head = geometry.heads(partition, start - behind)
    tail = geometry.heads(partition, last - behind, after=True)
    np.copyto(head.x, tail.x, where=behind)
    np.copyto(tail.x, head.x, where=empty)
    return head, tail


def merge(
    segments: Segments,
    order: Ints,
    geometry: TapeGeometry,
    *,
    small: float,
    large: float,
    most: int,
) -> Runs:
    """Join segments to runs.

    Args:
        segments: All segments.
        order: Segments of one volume in logical order.
        geometry: Its tape.
        small: Gaps on one wrap up to so many bytes are read through.
        large: If too many runs remain, the smallest gaps up to so many bytes are, too.
        most: So many runs are not too many.

    Raises:
        LimitError: With code ``"tape.beyond-end"`` if one lies outside the tape.
    """
    start, partition = segments.start[order], segments.partition[order]
    furthest = np.maximum(reach(segments, order), start)
    head, own_tail = places(segments, order, geometry)
    tail = places(segments, order, geometry, furthest)[1]
    same = partition[1:] == partition[:-1]
    near = same & (start[1:] <= furthest[:-1])
    gaps = ahead_bytes(tail.take(slice(0, -1)), head.take(slice(1, None)))
    gaps[near | ~same] = np.inf
    near |= gaps <= min(_limit(gaps, len(order) - int(near.sum()) - most, small), max(large, small))
    first = np.concatenate(([0], np.flatnonzero(~near) + 1))
    last = np.append(first[1:], len(order)) - 1
    came_from = head.wrap.copy()
    begin = start.copy()
    begin[1:][near] = np.maximum(start[1:], furthest[:-1])[near]
    overlaps = np.flatnonzero(begin > start)
    came_from[overlaps] = tail.wrap[overlaps - 1]
    skipped = np.zeros_like(start)
    skipped[1:][near] = np.maximum(start[1:] - furthest[:-1], 0)[near]
    fresh = np.maximum(start + segments.length[order] - begin, 0)
    return Runs(
        member=order,
        member_ptr=np.append(first, len(order)),
        head=head.take(first),
        tail=tail.take(last),
        skipped=skipped,
        fresh=fresh,
        crossed=np.where(fresh > 0, own_tail.wrap - came_from, 0),
        mean_gap=_mean(gaps, large),
    )


def _limit(gaps: Floats, surplus: int, small: float) -> float:
    """Return the gap up to which gaps are closed so that ``surplus`` runs fewer remain."""
    count = min(surplus, len(gaps))
    return small if count <= 0 else max(small, float(np.partition(gaps, count - 1)[count - 1]))


def _mean(gaps: Floats, large: float) -> float:
    on = np.isfinite(gaps)
    wide = gaps[on & (gaps > large)]
    if len(wide):
        return float(wide.mean())
    return 0.0 if on.any() else float("inf")
