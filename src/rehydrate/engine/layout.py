"""How each file lies: holes, runs of zeros, bytes to allocate; and checks of bytes on the target."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import HOLE, ChunkTable, Ints
from rehydrate.errors import StagingError
from rehydrate.formats.walk import StoreFormat

__all__ = ["FileLayout", "check_ranges", "stored_rows"]

_BLOCK: Final = 4096
_PIECE: Final = 1 << 20
Ranges = list[tuple[int, int]]


class FileLayout:
    """The layout of all files of a job.

    Attributes:
        rows: Rows of each file.
        stored: Rows of each file that have stored bytes.
        sizes: Logical size of each file in bytes.
        map_ends: Where the map of each file ends; below the size only with recalled data.
    """

    def __init__(self, table: ChunkTable, sizes: Ints) -> None:
        """Find the rows without stored bytes."""
        self.sizes = sizes
        self.rows: Ints = np.diff(table.row_ptr)
        self.stored: Ints = stored_rows(table, table.stored())
        self.map_ends = np.zeros(table.files, np.int64)
        filled = self.rows > 0
        self.map_ends[filled] = table.rows["end"][table.row_ptr[1:][filled] - 1]
        self._holes: defaultdict[int, Ranges] = defaultdict(list)
        self._zeros: defaultdict[int, Ranges] = defaultdict(list)
        places = np.flatnonzero(table.rows["container"] == 0)
        if len(places):
            starts, ends = table.starts()[places], table.rows["end"][places]
            files = np.searchsorted(table.row_ptr, places, side="right") - 1
            kinds = table.rows["local_id"][places]
            for file, kind, start, end in zip(
                files.tolist(), kinds.tolist(), starts.tolist(), ends.tolist(), strict=True
            ):
                (self._holes if kind == HOLE else self._zeros)[file].append((start, end))

    def holes(self, number: int) -> Ranges:
        """Return the holes of a file, half-open, ascending."""
        return self._holes.get(number, [])

    def zeros(self, number: int) -> Ranges:
        """Return the runs of zeros of a file, and what lies behind the end of its map."""
        behind = (int(self.map_ends[number]), int(self.sizes[number]))
        return self._zeros.get(number, []) + ([behind] if behind[0] < behind[1] else [])

    def allocated(self, numbers: Ints, *, sparse: bool, block: int = _BLOCK) -> int:
        """Return the bytes that some files take on the target, in blocks of ``block`` bytes."""
        sizes = self.sizes.copy()
        for ranges in (self._holes, self._zeros) if sparse else (self._holes,):
            for file, found in ranges.items():
                sizes[file] -= sum(end - start for start, end in found)
        return int(((sizes[numbers] + block - 1) // block * block).sum())


def stored_rows(table: ChunkTable, chosen: npt.NDArray[np.bool_]) -> Ints:
    """Return how many of the chosen rows each file has, shape ``(files,)``."""
    count = np.zeros(len(table.rows) + 1, np.int64)
    np.cumsum(chosen, out=count[1:])
    return count[table.row_ptr[1:]] - count[table.row_ptr[:-1]]


def check_ranges(
    form: StoreFormat,
    table: ChunkTable,
    number: int,
    read: Callable[[int, int], bytes],
    hints: Sequence[tuple[int, int]] | None,
) -> npt.NDArray[np.bool_] | None:
    """Find the rows of a file whose bytes stand on the target already.

    Args:
        form: Gives the digest.
        table: Rows of all files.
        number: The file.
        read: Reads ``(offset, size)`` of what stands there.
        hints: Where bytes may be, half-open and ascending; None = everywhere.

    Returns:
        One flag for each row of the file; None if it cannot be read.
    """
    first, end = int(table.row_ptr[number]), int(table.row_ptr[number + 1])
    rows = table.rows[first:end]
    ends = rows["end"].astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    stored = rows["container"] != 0
    look = (
        np.ones(end - first, np.bool_) if hints is None else stored & _inside(starts, ends, hints)
    )
    good = np.zeros(end - first, np.bool_)
    digests = rows["digest"]
    try:
        for row in np.flatnonzero(look).tolist():
            start, stop = int(starts[row]), int(ends[row])
            if stored[row]:
                good[row] = form.digest(read(start, stop - start)) == digests[row].tobytes()
            else:
                good[row] = _all_zero(read, start, stop)
    except StagingError:
        return None
    return good


def _inside(starts: Ints, ends: Ints, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Return which half-open pieces lie inside one of the ranges (ascending, apart)."""
    if not ranges:
        return np.zeros(len(starts), np.bool_)
    columns = np.array(ranges, np.int64)
    before = np.searchsorted(columns[:, 0], starts, side="right") - 1
    inside: npt.NDArray[np.bool_] = (before >= 0) & (ends <= columns[before, 1])
    return inside


def _all_zero(read: Callable[[int, int], bytes], start: int, stop: int) -> bool:
    for at in range(start, stop, _PIECE):
        piece = read(at, min(_PIECE, stop - at))
        if piece.count(0) != len(piece):
            return False
    return True
