"""Where the plan's columns live: in memory, or wherever the caller puts them.

A plan of millions of references is a handful of long columns. Everything here fills them block by
block, so that ordinary memory is needed for one block only when the columns themselves are mapped
from a file. Columns are written once from front to back and never shrink.
"""

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "MEMORY", "Column", "MemoryScratch", "Scratch", "blocks"]

BLOCK: Final = 1 << 16
"""Rows handled at a time: 4 MiB of stream-map rows, which stay in the processor's cache."""

Scalar = TypeVar("Scalar", bound=np.generic)


class Scratch(Protocol):
    """Gives room for columns."""

    def array(self, dtype: type[Scalar], count: int, /) -> npt.NDArray[Scalar]:
        """Return a writable, C-contiguous column; its content is undefined.

        The count may be 0, and is often an upper bound: a page that is never written should cost
        nothing, which holds for ordinary large allocations and for sparse mapped files.

        Args:
            dtype: Scalar type of the column, such as ``numpy.int64``.
            count: Number of elements.
        """
        ...


class MemoryScratch:
    """Columns in ordinary memory."""

    def array(self, dtype: type[Scalar], count: int, /) -> npt.NDArray[Scalar]:
        """Return a new array; see :meth:`Scratch.array`."""
        return np.empty(count, dtype)


MEMORY: Final = MemoryScratch()


def blocks(count: int, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Cut ``[0, count)`` into consecutive half-open blocks.

    Args:
        count: Number of rows.
        size: Largest block, at least 1.

    Yields:
        ``(first, end)`` of each block.
    """
    for first in range(0, count, size):
        yield first, min(first + size, count)


class Column(Generic[Scalar]):
    """A column whose final length is not known while it is filled."""

    def __init__(self, scratch: Scratch, dtype: type[Scalar], capacity: int = BLOCK) -> None:
        """Start empty.

        Args:
            scratch: Where the elements live.
            dtype: Scalar type.
            capacity: Room at the start; an exact upper bound avoids every copy.
        """
        self._scratch = scratch
        self._dtype = dtype
        self._room = scratch.array(dtype, max(capacity, 1))
        self._length = 0

    def __len__(self) -> int:
        """Return the number of elements appended."""
        return self._length

    def append(self, values: npt.ArrayLike) -> None:
        """Put elements at the end; they are converted to the column's type.

        Args:
            values: A one-dimensional array or sequence.
        """
        more = np.asarray(values)
        end = self._length + len(more)
        if end > len(self._room):
            wider = self._scratch.array(self._dtype, max(end, 2 * len(self._room)))
            for first, stop in blocks(self._length):
                wider[first:stop] = self._room[first:stop]
            self._room = wider
        self._room[self._length : end] = more
        self._length = end

    def done(self) -> npt.NDArray[Scalar]:
        """Return what was appended, without a copy."""
        return self._room[: self._length]
