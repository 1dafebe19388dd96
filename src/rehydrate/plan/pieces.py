"""Which bytes each extent owns, and which needs have bytes there."""

from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import Bools, Ints
from rehydrate.errors import LimitError
from rehydrate.plan.coalesce import Extents
from rehydrate.plan.planner import Needs
from rehydrate.plan.ranges import Ranges, first_owners, indexes

__all__ = ["Items", "Pieces", "check_fragments", "find_pieces", "take_items"]

SPARE_FRAGMENTS: Final = 1 << 20


@attrs.frozen(eq=False)
class Pieces:
    """Disjoint parts of extents in the order in which they are read, those with needs only.

    Attributes:
        extent: Position of the extent, ascending.
        start: First byte, ascending within the extent.
        end: First byte behind.
        first: The needs that begin in piece ``i`` are ``[first[i], stop[i])``.
        stop: See there.
        guest_ptr: Shape ``(pieces + 1,)``; the needs that begin in an earlier piece of the
            container and reach into piece ``i`` are ``guest[guest_ptr[i]:guest_ptr[i + 1]]``.
        guest: Needs, ascending within a piece.
    """

    extent: Ints
    start: Ints
    end: Ints
    first: Ints
    stop: Ints
    guest_ptr: Ints
    guest: Ints

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.start)

    def batch_ends(self, size: int) -> Ints:
        """Return the ends of batches of pieces: up to ``size`` items each, but at least a piece."""
        ptr = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.stop - self.first + np.diff(self.guest_ptr), out=ptr[1:])
        ends = [0]
        while ends[-1] < len(self):
            room = int(np.searchsorted(ptr, ptr[ends[-1]] + size, side="right")) - 1
            ends.append(max(ends[-1] + 1, room))
        return np.array(ends[1:], np.int64)


@attrs.frozen(eq=False)
class Items:
    """Needs cut by pieces, in the order of the pieces and by start within a piece.

    Attributes:
        need: The need.
        piece: The piece.
        start: First byte of the need in the piece, as an offset in the container.
        end: First byte behind.
        whole: Whether the piece holds all of the need.
    """

    need: Ints
    piece: Ints
    start: Ints
    end: Ints
    whole: Bools


def check_fragments(count: int, base: int) -> None:
    """Refuse a plan whose size is out of proportion.

    Where records do not overlap, there are at most as many fragments as needs, pieces and reads
    together. Only many records that claim the same bytes, cut in many places, make more.

    Args:
        count: Number of fragments.
        base: Number of needs, pieces and reads.

    Raises:
        LimitError: There are far more.
    """
    if count > 4 * base + SPARE_FRAGMENTS:
        msg = f"overlapping records would have to be joined from {count} fragments"
        raise LimitError(msg, code="limit.fragments")


def find_pieces(needs: Needs, extents: Extents, *, block: int) -> Pieces:
    """Find the pieces of extents and the needs in them.

    Pieces with many needs are cut further, between records, so that the work can be done in
    batches; that costs one read in a block of needs.

    Args:
        needs: What must be read.
        extents: An accepted order.
        block: Needs in a piece above which it is cut, where records do not overlap.

    Raises:
        LimitError: See :func:`check_fragments`.
    """
    container, ranges, extent = _disjoint(extents)
    need_ptr = needs.container_ptr()
    first, stop = need_ptr[container], need_ptr[container + 1]
    guest_piece, guest = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    ptr = np.searchsorted(container, np.arange(len(needs.containers) + 1))
    fragments = 0
    for several in np.flatnonzero(np.diff(ptr) > 1).tolist():
        begin, end = ptr[several], ptr[several + 1]
        start = ranges.start[begin:end]
        low, high = need_ptr[several], need_ptr[several + 1]
        offset = needs.offset[low:high]
        first[begin:end] = low + np.searchsorted(offset, start)
        stop[begin : end - 1] = first[begin + 1 : end]
        home = np.searchsorted(start, offset, side="right") - 1
        behind = np.searchsorted(start, offset + needs.length[low:high], side="left")
        visits = behind - home - 1
        fragments += int(visits.sum())
        check_fragments(fragments, len(needs) + len(container))
        guest_piece.append(begin + indexes(home + 1, behind))
        guest.append(low + np.repeat(np.arange(high - low), visits))
    guest_ptr, guests = _visitors(guest_piece, guest, len(extent))
    pieces = Pieces(extent, ranges.start, ranges.end, first, stop, guest_ptr, guests)
    return _short(_ordered(pieces), needs, block)


def _visitors(guest_piece: list[Ints], guest: list[Ints], pieces: int) -> tuple[Ints, Ints]:
    piece, need = np.concatenate(guest_piece), np.concatenate(guest)
    order = np.lexsort((need, piece))
    ptr = np.searchsorted(piece[order], np.arange(pieces + 1)).astype(np.int64)
    return ptr, need[order]


def _disjoint(extents: Extents) -> tuple[Ints, Ranges, Ints]:
    """Return the disjoint parts by container and start, and the extent that owns each."""
    extent = np.lexsort((extents.start, extents.container))
    container = extents.container[extent].astype(np.int64)
    start, end = extents.start[extent], extents.end[extent]
    clash = (container[1:] == container[:-1]) & (start[1:] < end[:-1])
    if not clash.any():
        return container, Ranges(start, end), extent
    bad = np.unique(container[1:][clash])
    good = ~np.isin(container, bad)
    parts = [(container[good], start[good], end[good], extent[good])]
    for each in bad.tolist():
        mine = np.sort(extent[container == each])
        ranges, owner = first_owners(Ranges(extents.start[mine], extents.end[mine]))
        parts.append((np.full(len(owner), each), ranges.start, ranges.end, mine[owner]))
    container, start, end, extent = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((start, container))
    return container[order], Ranges(start[order], end[order]), extent[order]


def _ordered(pieces: Pieces) -> Pieces:
    """Return the pieces that have needs, in reading order."""
    guests = np.diff(pieces.guest_ptr)
    order = np.lexsort((pieces.start, pieces.extent))
    order = order[(pieces.stop > pieces.first)[order] | (guests > 0)[order]]
    ptr = np.zeros(len(order) + 1, np.int64)
    np.cumsum(guests[order], out=ptr[1:])
    visits = indexes(pieces.guest_ptr[:-1][order], pieces.guest_ptr[1:][order])
    return Pieces(
        extent=pieces.extent[order],
        start=pieces.start[order],
        end=pieces.end[order],
        first=pieces.first[order],
        stop=pieces.stop[order],
        guest_ptr=ptr,
        guest=pieces.guest[visits],
    )


def _short(pieces: Pieces, needs: Needs, block: int) -> Pieces:
    """Cut pieces with many needs between two records."""
    long = np.flatnonzero(pieces.stop - pieces.first > block)
    cuts = [
        (int(piece), cut) for piece in long for cut in _borders(pieces, needs, int(piece), block)
    ]
    if not cuts:
        return pieces
    whose, at = np.array(cuts, np.int64).T
    border = needs.offset[at]
    last = np.append(whose[1:] != whose[:-1], True)
    end = np.where(last, pieces.end[whose], np.append(border[1:], 0))
    stop = np.where(last, pieces.stop[whose], np.append(at[1:], 0))
    heads = np.flatnonzero(np.concatenate(([True], last[:-1])))
    old_end, old_stop = pieces.end.copy(), pieces.stop.copy()
    old_end[whose[heads]], old_stop[whose[heads]] = border[heads], at[heads]
    where = whose + 1
    return Pieces(
        extent=np.insert(pieces.extent, where, pieces.extent[whose]),
        start=np.insert(pieces.start, where, border),
        end=np.insert(old_end, where, end),
        first=np.insert(pieces.first, where, at),
        stop=np.insert(old_stop, where, stop),
        guest_ptr=np.insert(pieces.guest_ptr, where, pieces.guest_ptr[where]),
        guest=pieces.guest,
    )


def _borders(pieces: Pieces, needs: Needs, piece: int, block: int) -> list[int]:
    """Return needs, about a block apart, that begin where no need before them reaches."""
    guests = pieces.guest[pieces.guest_ptr[piece] : pieces.guest_ptr[piece + 1]]
    reach = int((needs.offset[guests] + needs.length[guests]).max(initial=0))
    first, stop = int(pieces.first[piece]), int(pieces.stop[piece])
    found = []
    for begin in range(first, stop, block):
        end = min(begin + block, stop)
        offset = needs.offset[begin:end]
        behind = np.append(reach, offset + needs.length[begin:end])
        reaches = np.maximum.accumulate(behind)
        free = np.flatnonzero(offset >= reaches[:-1])
        if begin > first and len(free):
            found.append(begin + int(free[0]))
        reach = int(reaches[-1])
    return found


def take_items(needs: Needs, pieces: Pieces, begin: int, end: int) -> Items:
    """Return the items of the pieces ``[begin, end)``.

    Args:
        needs: What must be read.
        pieces: All pieces.
        begin: First piece of the batch.
        end: Its end.
    """
    first, stop = pieces.first[begin:end], pieces.stop[begin:end]
    numbers = np.arange(begin, end)
    need = indexes(first, stop)
    piece = np.repeat(numbers, stop - first)
    guests = slice(pieces.guest_ptr[begin], pieces.guest_ptr[end])
    if guests.start < guests.stop:
        visits = np.repeat(numbers, np.diff(pieces.guest_ptr[begin : end + 1]))
        order = np.argsort(np.concatenate((visits, piece)), kind="stable")
        piece = np.concatenate((visits, piece))[order]
        need = np.concatenate((pieces.guest[guests], need))[order]
    offset = needs.offset[need]
    behind = offset + needs.length[need]
    start = np.maximum(offset, pieces.start[piece])
    stop = np.minimum(behind, pieces.end[piece])
    return Items(need, piece, start, stop, (start == offset) & (stop == behind))
