"""Items of a batch of pieces to reads: knots, atoms, reads.

A *knot* is a maximal run of items that overlap; records of an undamaged store do not, so that each
item is a knot. An *atom* is a knot, or a part of one that is larger than a read may be. A read is
a run of atoms of one piece.
"""

import attrs
import numpy as np

from rehydrate.chunks import Bools, Ints
from rehydrate.plan.pieces import Items
from rehydrate.plan.ranges import Ranges

__all__ = ["Reads", "cut_reads"]


@attrs.frozen(eq=False)
class Reads:
    """The reads of a batch, and where each item is.

    Attributes:
        piece: Piece of each read.
        start: First byte.
        size: Number of bytes.
        needed: Distinct needed bytes among them.
        first: Read that holds the first byte of each item.
        last: Read that holds its last byte.
    """

    piece: Ints
    start: Ints
    size: Ints
    needed: Ints
    first: Ints
    last: Ints


def cut_reads(items: Items, *, max_gap: int, max_read: int) -> Reads:
    """Make the reads for the items of a batch.

    Args:
        items: At least one.
        max_gap: Most unneeded bytes between two needs of one read.
        max_read: Largest read.
    """
    knot, knots = _knots(items)
    piece = items.piece[knot]
    number = np.repeat(np.arange(len(knot)), np.diff(knot, append=len(items.need)))
    parts = -((knots.start - knots.end) // max_read)
    if len(parts) == int(parts.sum()):
        atoms, first, last = knots, number, number
    else:
        base = np.cumsum(parts) - parts
        whose = np.repeat(np.arange(len(knot)), parts)
        start = knots.start[whose] + (np.arange(len(whose)) - base[whose]) * max_read
        atoms = Ranges(start, start + np.minimum(max_read, knots.end[whose] - start))
        piece = piece[whose]
        first = base[number] + (items.start - knots.start[number]) // max_read
        last = base[number] + (items.end - 1 - knots.start[number]) // max_read
    begins = _begins(piece, atoms, min(max_gap, max_read), max_read)
    heads = np.flatnonzero(begins)
    tails = np.append(heads[1:], len(begins)) - 1
    read = np.cumsum(begins) - 1
    return Reads(
        piece=piece[heads],
        start=atoms.start[heads],
        size=atoms.end[tails] - atoms.start[heads],
        needed=np.add.reduceat(atoms.end - atoms.start, heads),
        first=read[first],
        last=read[last],
    )


def _knots(items: Items) -> tuple[Ints, Ranges]:
    """Return the first item of each knot, and the bytes of each knot."""
    together = items.piece[1:] == items.piece[:-1]
    reach = items.end
    overlaps = together & (items.start[1:] < reach[:-1])
    if overlaps.any():
        reach = reach.copy()
        for piece in np.unique(items.piece[1:][overlaps]).tolist():
            begin, end = np.searchsorted(items.piece, (piece, piece + 1))
            np.maximum.accumulate(items.end[begin:end], out=reach[begin:end])
        overlaps = together & (items.start[1:] < reach[:-1])
    heads = np.flatnonzero(np.concatenate(([True], ~overlaps)))
    tails = np.append(heads[1:], len(reach)) - 1
    return heads, Ranges(items.start[heads], reach[tails])


def _begins(piece: Ints, atoms: Ranges, max_gap: int, max_read: int) -> Bools:
    """Tell which atoms begin a read."""
    begins = np.ones(len(piece), np.bool_)
    begins[1:] = piece[1:] != piece[:-1]
    begins[1:] |= atoms.start[1:] - atoms.end[:-1] > max_gap
    heads = np.flatnonzero(begins)
    stops = np.append(heads[1:], len(begins))
    long = np.flatnonzero(atoms.end[stops - 1] - atoms.start[heads] > max_read)
    if len(long):
        following = _following(begins, atoms, max_read)
        cuts = []
        for head, stop in zip(heads[long].tolist(), stops[long].tolist(), strict=True):
            at = following[head]
            while at < stop:
                cuts.append(at)
                at = following[at]
        begins[cuts] = True
    return begins


def _following(begins: Bools, atoms: Ranges, max_read: int) -> list[int]:
    """Return for each atom the first one that does not fit into a read that begins with it."""
    # One axis for all runs, further apart than a read is long. Sums of sizes and gaps, all of at
    # most max_read, cannot overflow; offsets would.
    size = atoms.end - atoms.start
    step = np.where(begins[1:], size[:-1] + max_read + 1, atoms.start[1:] - atoms.start[:-1])
    at = np.concatenate(([0], np.cumsum(step)))
    following: list[int] = np.searchsorted(at + size, at + max_read, side="right").tolist()
    return following
