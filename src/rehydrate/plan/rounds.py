"""From needs and an accepted order to reads: merged, cut, and each needed byte exactly once.

A read lies within one extent, begins and ends with a needed byte, is at most ``max_read`` long and
holds every needed byte between its ends; two needs share a read when at most ``max_gap`` unneeded
bytes lie between them. Reads are cut between records. A record that cannot lie in one read, since
it straddles two extents, is larger than ``max_read``, or overlaps others into something larger,
comes in fragments.

The work is vectorised over many extents at a time. Loops in Python go over containers with several
extents, over batches, and over reads where a run of records is longer than ``max_read``.
"""

from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.errors import LimitError
from rehydrate.plan.coalesce import Extents
from rehydrate.plan.columns import BLOCK, MEMORY, Column, Scratch, blocks
from rehydrate.plan.pieces import Items, check_fragments, find_pieces, take_items
from rehydrate.plan.planner import Needs
from rehydrate.plan.ranges import indexes
from rehydrate.plan.reads import Reads, cut_reads

__all__ = ["RoundPlan", "plan_round"]

READ_LIMIT: Final = 2**31
"""COM passes sizes as 32-bit numbers; every read is smaller than this."""


@attrs.frozen(eq=False)
class RoundPlan:
    """The reads of a round.

    Attributes:
        extent_container: Container index of each extent that has reads, in reading order.
        extent_start: First byte of the extent, as the vendor gave it.
        extent_end: First byte behind it.
        extent_needed: Distinct needed bytes that are read in it.
        read_ptr: Shape ``(extents + 1,)``; the reads of extent ``i`` are
            ``[read_ptr[i], read_ptr[i + 1])``.
        read_offset: First byte of each read, ascending within the extent.
        read_size: Its bytes, 1 to ``max_read``.
        need_ptr: Shape ``(reads + 1,)``; the needs that lie completely in read ``i`` are
            ``need[need_ptr[i]:need_ptr[i + 1]]``.
        need: Needs, ascending within a read.
        fragment_read: The read that holds each fragment, ascending.
        fragment_need: The need it is a part of.
        fragment_at: Where it begins in the record of that need.
        fragment_size: Its bytes.
        fragment_source: Where it begins in the read.
    """

    extent_container: Ints
    extent_start: Ints
    extent_end: Ints
    extent_needed: Ints
    read_ptr: Ints
    read_offset: Ints
    read_size: Ints
    need_ptr: Ints
    need: Ints
    fragment_read: Ints
    fragment_need: Ints
    fragment_at: Ints
    fragment_size: Ints
    fragment_source: Ints

    def fragment_ptr(self) -> Ints:
        """Return where each read's fragments begin, shape ``(reads + 1,)``."""
        reads = np.arange(len(self.read_size) + 1)
        return np.searchsorted(self.fragment_read, reads).astype(np.int64)


def plan_round(
    needs: Needs,
    extents: Extents,
    *,
    max_gap: int,
    max_read: int,
    scratch: Scratch = MEMORY,
    block: int = BLOCK,
) -> RoundPlan:
    """Choose the reads of a round.

    Args:
        needs: What must be read; needs of containers without an extent are left out.
        extents: The order, from :func:`~rehydrate.plan.coalesce.accept_order`.
        max_gap: Most unneeded bytes that are read rather than skipped, at least 0.
        max_read: Largest read in bytes, ``1 <= max_read < 2**31``.
        scratch: Where the columns live.
        block: Needs handled at a time.

    Raises:
        LimitError: A limit is out of range, or overlapping records in a container with many
            extents would make a plan out of all proportion.
        ValueError: The extents leave out needed bytes of their containers: they were not checked.
    """
    if max_gap < 0 or not 1 <= max_read < READ_LIMIT:
        msg = f"max_gap is {max_gap} and max_read {max_read}: at least 0, and 1 to 2**31 - 1"
        raise LimitError(msg)
    pieces = find_pieces(needs, extents, block=block)
    writer = _Writer(needs, extents, scratch)
    begin = 0
    for end in pieces.batch_ends(block).tolist():
        items = take_items(needs, pieces, begin, end)
        reads = cut_reads(items, max_gap=max_gap, max_read=max_read)
        writer.append(items, reads, pieces.extent[reads.piece])
        begin = end
    return writer.plan()


class _Writer:
    """Collects the columns of a plan, batch by batch."""

    def __init__(self, needs: Needs, extents: Extents, scratch: Scratch) -> None:
        self._needs = needs
        self._extents = extents
        self._reads = np.zeros(len(extents), np.int64)
        self._needed = np.zeros(len(extents), np.int64)
        self._delivered = 0
        self._offset = Column(scratch, np.int64)
        self._size = Column(scratch, np.int64)
        self._need_end = Column(scratch, np.int64)
        self._need = Column(scratch, np.int64, len(needs))
        self._need_end.append([0])
        self._fragments = tuple(Column(scratch, np.int64) for _ in range(5))

    def append(self, items: Items, reads: Reads, extent: Ints) -> None:
        """Take the reads of a batch, given the extent of each."""
        before = len(self._offset)
        np.add.at(self._reads, extent, 1)
        np.add.at(self._needed, extent, reads.needed)
        self._offset.append(reads.start)
        self._size.append(reads.size)
        complete = items.whole & (reads.first == reads.last)
        counts = np.bincount(reads.first[complete], minlength=len(reads.size))
        self._need_end.append(len(self._need) + np.cumsum(counts))
        self._need.append(items.need[complete])
        self._delivered += int((items.end - items.start)[complete].sum())
        if not complete.all():
            self._append_fragments(items, reads, np.flatnonzero(~complete), before)

    def _append_fragments(self, items: Items, reads: Reads, cut: Ints, before: int) -> None:
        first, stop = reads.first[cut], reads.last[cut] + 1
        total = len(self._fragments[0]) + int((stop - first).sum())
        check_fragments(total, len(self._needs) + len(self._extents) + before + len(reads.size))
        read = indexes(first, stop)
        item = np.repeat(cut, stop - first)
        order = np.argsort(read, kind="stable")
        read, item = read[order], item[order]
        start = np.maximum(items.start[item], reads.start[read])
        end = np.minimum(items.end[item], reads.start[read] + reads.size[read])
        need = items.need[item]
        values = (
            before + read,
            need,
            start - self._needs.offset[need],
            end - start,
            start - reads.start[read],
        )
        for column, value in zip(self._fragments, values, strict=True):
            column.append(value)
        self._delivered += int((end - start).sum())

    def plan(self) -> RoundPlan:
        """Return the plan of all batches."""
        if self._delivered != self._wanted():
            msg = "the extents leave out needed bytes of their containers"
            raise ValueError(msg)
        kept = np.flatnonzero(self._reads)
        read_ptr = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(self._reads[kept], out=read_ptr[1:])
        fragments = (column.done() for column in self._fragments)
        return RoundPlan(
            self._extents.container[kept].astype(np.int64),
            self._extents.start[kept],
            self._extents.end[kept],
            self._needed[kept],
            read_ptr,
            self._offset.done(),
            self._size.done(),
            self._need_end.done(),
            self._need.done(),
            *fragments,
        )

    def _wanted(self) -> int:
        """Return the bytes of all needs in containers that have extents."""
        given = np.zeros(len(self._needs.containers), np.bool_)
        given[self._extents.container] = True
        total = 0
        for first, end in blocks(len(self._needs)):
            mine = given[self._needs.container[first:end]]
            total += int(self._needs.length[first:end][mine].sum(dtype=np.int64))
        return total
