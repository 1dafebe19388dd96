"""Stream maps in, distinct stored records out: what must be read, once, and who wants it.

The rows of all files are split by container, each container's rows are sorted by offset, and equal
neighbours become one :class:`Needs` entry. Nothing is read here and no order is chosen; that is
done in :mod:`rehydrate.plan.coalesce` and :mod:`rehydrate.plan.rounds`.

Two rows mean the same record only if container, generation, offset, length, local id, digest *and*
logical size agree. A hostile stream map may claim the same place with another digest: that is a
need of its own, so that a wrong claim fails the file that makes it and no other. (Among more than
one block of rows with conflicting claims about a single place, equal ones are found block by
block; the worst that follows is that such a record is verified more than once.)

Ordinary memory is used for a few blocks of rows; the columns come from a
:class:`~rehydrate.plan.columns.Scratch`.
"""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Bools, ChunkTable, Ints
from rehydrate.errors import CorruptMetadataError
from rehydrate.plan.census import ContainerKey, Numbering, count_containers, stored_words
from rehydrate.plan.columns import BLOCK, MEMORY, Column, Scratch, blocks
from rehydrate.plan.places import Words, sort_places
from rehydrate.values import MAX_OFFSET

__all__ = ["Needs", "find_needs"]

RowNumbers = npt.NDArray[np.uint32] | npt.NDArray[np.int64]

# The eight 64-bit words of a row, see ROW_DTYPE; the last four are the digest.
CONTAINER, OFFSET, RECORD, END = range(4)
WORDS: Final = 8

# Eight comparisons of one byte each, looked at as one number.
SAME_PLACE: Final = np.array([1, 1, 0, 0, 0, 0, 0, 0], np.uint8).view(np.uint64)
SAME: Final = np.ones(WORDS, np.uint8).view(np.uint64)


@attrs.frozen(eq=False)
class Needs:
    """Distinct stored records, sorted by container and offset.

    Attributes:
        containers: ``(container id, generation)`` of each container, distinct, in the order in
            which they are handed to the store.
        container: Index into ``containers`` of each need, ascending.
        offset: First byte of the record in its container, ascending within the container.
        length: Bytes to read from there, at least 1.
        row: The lowest row of the table that wants the record.
        use_ptr: Shape ``(needs + 1,)``; the rows that want need ``i`` are
            ``use_row[use_ptr[i]:use_ptr[i + 1]]``.
        use_row: Rows of the table, ascending within a need.
    """

    containers: tuple[tuple[int, int], ...]
    container: npt.NDArray[np.uint32]
    offset: Ints
    length: npt.NDArray[np.uint32]
    row: Ints
    use_ptr: Ints
    use_row: RowNumbers

    def __len__(self) -> int:
        """Return the number of needs."""
        return len(self.offset)

    def container_ptr(self) -> Ints:
        """Return where each container's needs begin, shape ``(containers + 1,)``."""
        indexes = np.arange(len(self.containers) + 1, dtype=np.uint32)
        return np.searchsorted(self.container, indexes).astype(np.int64)


def find_needs(
    table: ChunkTable,
    wanted: Bools | None = None,
    *,
    sort_key: ContainerKey | None = None,
    scratch: Scratch = MEMORY,
    block: int = BLOCK,
) -> Needs:
    """Find the distinct stored records behind the rows of a table.

    Rows without stored bytes (container 0: zeros and holes) are left out.

    Args:
        table: Stream maps of all files; the rows must be contiguous.
        wanted: Which rows to restore, shape ``(rows,)``; ``None`` = all.
        sort_key: Gives the sort key, such as the store path, of a ``(container id, generation)``;
            called once for each; ``None`` = by number. Equal keys are ordered by number.
        scratch: Where the columns live.
        block: Rows handled at a time.

    Returns:
        The needs; their columns live in ``scratch``.

    Raises:
        CorruptMetadataError: A wanted row has no length or ends beyond ``MAX_OFFSET``. Formats
            check this, each file for itself; here it only stops the plan from going wrong.
    """
    words: Words = np.ascontiguousarray(table.rows).view("<u8").reshape(-1, WORDS)
    keys, counts = count_containers(words, wanted, block)
    numbering = Numbering(keys, sort_key)
    ptr = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(counts[numbering.order], out=ptr[1:])
    use_row = _sorted_rows(words, wanted, numbering, ptr, scratch=scratch, block=block)
    grouping = _Grouping(table, words, use_row, ptr, scratch)
    at = 0
    while at < len(use_row):
        at = grouping.take_block(at, min(at + block, len(use_row)))
    return grouping.needs(numbering.containers)


def _sorted_rows(
    words: Words,
    wanted: Bools | None,
    numbering: Numbering,
    ptr: Ints,
    *,
    scratch: Scratch,
    block: int,
) -> RowNumbers:
    """Return the wanted rows by container and offset; ascending where both are equal."""
    total = int(ptr[-1])
    kind = np.uint32 if len(words) <= np.iinfo(np.uint32).max else np.int64
    by_container = _room(scratch, kind, total)
    places = scratch.array(np.uint64, total)
    cursor = ptr[:-1].copy()
    for first, end in blocks(len(words), block):
        rows, chosen = stored_words(words, wanted, first, end)
        number = numbering.numbers(chosen[:, CONTAINER])
        order = numbering.sort(number)
        seats = _seats(number[order], cursor)
        by_container[seats] = rows[order]
        places[seats] = chosen[order, OFFSET]
    use_row = _room(scratch, kind, total)
    sort_places(places, by_container, ptr, use_row, scratch=scratch, block=block)
    return use_row


def _room(scratch: Scratch, kind: type[np.uint32] | type[np.int64], count: int) -> RowNumbers:
    return scratch.array(np.uint32, count) if kind is np.uint32 else scratch.array(np.int64, count)


def _seats(number: npt.NDArray[np.unsignedinteger], cursor: Ints) -> Ints:
    """Return the next free places of each container, for ascending container numbers."""
    if not len(number):
        return np.zeros(0, np.int64)
    heads = np.concatenate(([0], np.flatnonzero(number[1:] != number[:-1]) + 1))
    sizes = np.diff(heads, append=len(number))
    which = number[heads]
    seats: Ints = np.arange(len(number)) + np.repeat(cursor[which] - heads, sizes)
    cursor[which] += sizes
    return seats


class _Grouping:
    """Turns sorted rows into needs, block by block."""

    def __init__(
        self, table: ChunkTable, words: Words, use_row: RowNumbers, ptr: Ints, scratch: Scratch
    ) -> None:
        self._words = words
        # As opaque records, numpy gathers them whole, and without a copy if they are unaligned.
        self._records = words.view("V64").reshape(-1)
        self._use_row = use_row
        self._ptr = ptr
        self._first_of_file = _first_rows(table, scratch)
        most = len(use_row)
        self._container = Column(scratch, np.uint32, most)
        self._offset = Column(scratch, np.int64, most)
        self._length = Column(scratch, np.uint32, most)
        self._row = Column(scratch, np.int64, most)
        self._use_ptr = Column(scratch, np.int64, most + 1)
        self._last: Words = np.zeros(WORDS, np.uint64)

    def take_block(self, at: int, end: int) -> int:
        """Group the sorted rows from ``at`` on, to ``end`` at most; return where to go on."""
        rows = self._use_row[at:end].astype(np.int64)
        words = self._gather(rows)
        same = _compared(words)
        same_place = (same & SAME_PLACE) == SAME_PLACE
        if end < len(self._use_row):
            # End between two places, so that conflicting claims about one place stay together.
            cuts = np.flatnonzero(~same_place)
            if len(cuts):
                end = at + int(cuts[-1]) + 1
                rows, words = rows[: end - at], words[: end - at]
                same, same_place = same[: end - at - 1], same_place[: end - at - 1]
        if (same_place & (same != SAME)).any():
            order = _by_claim(words, same_place, same == SAME)
            rows, words = rows[order], words[order]
            self._use_row[at:end] = rows
            same = _compared(words)
        fresh = at == 0 or bool((words[0] != self._last).any())
        heads = np.flatnonzero(np.concatenate(([fresh], same != SAME)))
        self._last = words[-1].copy()
        self._append(at, heads, rows, words)
        return end

    def needs(self, containers: tuple[tuple[int, int], ...]) -> Needs:
        """Return what was grouped."""
        self._use_ptr.append([len(self._use_row)])
        return Needs(
            containers=containers,
            container=self._container.done(),
            offset=self._offset.done(),
            length=self._length.done(),
            row=self._row.done(),
            use_ptr=self._use_ptr.done(),
            use_row=self._use_row,
        )

    def _gather(self, rows: Ints) -> Words:
        """Return copies of the rows, the logical end replaced by the logical size."""
        words: Words = self._records.take(rows).view("<u8").reshape(-1, WORDS)
        starts = self._words[rows - 1, END]  # row 0 takes the last row, but is first of its file
        starts[self._first_of_file[rows]] = 0
        words[:, END] -= starts
        return words

    def _append(self, at: int, heads: Ints, rows: Ints, words: Words) -> None:
        offset, length = words[heads, OFFSET], words[heads, RECORD] >> np.uint64(32)
        _check_ranges(offset, length)
        # The containers of this block, and where each begins in it.
        first, last = np.searchsorted(self._ptr, (at, at + len(rows) - 1), side="right") - 1
        borders = np.searchsorted(heads, self._ptr[first : last + 1] - at)
        borders[0] = 0
        numbers = np.arange(first, last + 1)
        self._container.append(np.repeat(numbers, np.diff(borders, append=len(heads))))
        self._offset.append(offset)
        self._length.append(length)
        self._row.append(rows[heads])
        self._use_ptr.append(at + heads)


def _check_ranges(offset: Words, length: Words) -> None:
    wrong = (length == 0) | (offset > np.uint64(MAX_OFFSET) - length)
    if wrong.any():
        at = int(wrong.argmax())
        msg = "a stream map refers to bytes that no container can have"
        raise CorruptMetadataError(msg, offset=int(offset[at]), length=int(length[at]))


def _first_rows(table: ChunkTable, scratch: Scratch) -> Bools:
    total = len(table.rows)
    first = scratch.array(np.bool_, total)
    first[:] = False
    for begin, end in blocks(table.files):
        rows = table.row_ptr[begin:end]
        first[rows[rows < total]] = True
    return first


def _compared(words: Words) -> Words:
    """Return which words of each row equal those of the row before: one byte for each word."""
    equal: Bools = words[1:] == words[:-1]
    return equal.view(np.uint64).reshape(-1)


def _by_claim(words: Words, same_place: Bools, same: Bools) -> Ints:
    """Return an order in which equal claims about a place are neighbours, shortest first."""
    place = np.concatenate(([0], np.cumsum(~same_place)))
    disputed = np.zeros(int(place[-1]) + 1, np.bool_)
    disputed[place[1:][same_place & ~same]] = True
    members = np.flatnonzero(disputed[place])
    claims = words[members]
    columns = claims.T[:OFFSET:-1]
    order = np.arange(len(words))
    order[members] = members[np.lexsort([*columns, place[members]])]
    return order
