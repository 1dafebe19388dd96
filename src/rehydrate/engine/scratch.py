"""Room for plan columns: memory up to a budget, then unlinked files mapped from the workspace."""

import mmap
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rehydrate.errors import PublishError
from rehydrate.ports import Files

__all__ = ["BudgetedScratch", "SpillFile"]

Scalar = TypeVar("Scalar", bound=np.generic)


class SpillFile:
    """An unlinked file for what does not fit in memory; gone with the process."""

    def __init__(self, fd: int, files: Files) -> None:
        """Take over a descriptor of an unlinked file."""
        self._fd, self._files = fd, files

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of ``data`` at ``offset``.

        Raises:
            PublishError: No room, or the like.
        """
        done = 0
        try:
            while done < len(data):
                done += self._files.pwrite(self._fd, data[done:], offset + done)
        except OSError as error:
            raise PublishError.of(error, "write the spill file") from error

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at ``offset``; they were written before."""
        parts = []
        while size:
            part = self._files.pread(self._fd, size, offset)
            if not part:
                raise PublishError("the spill file is shorter than what was written to it")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the descriptor, which frees the space."""
        self._files.close(self._fd)


class BudgetedScratch:
    """Columns in memory until a budget is used up, then in mapped unlinked files."""

    def __init__(self, budget: int, spill: Callable[[], int], files: Files) -> None:
        """Allow ``budget`` bytes of memory; ``spill`` returns a new unlinked file's descriptor."""
        self._left, self._spill, self._files = budget, spill, files

    def array(self, dtype: type[Scalar], count: int, /) -> npt.NDArray[Scalar]:
        """Return a new array; see :class:`~rehydrate.plan.columns.Scratch`."""
        size = count * np.dtype(dtype).itemsize
        if size <= self._left:
            self._left -= size
            return np.empty(count, dtype)
        fd = self._spill()
        try:
            self._files.ftruncate(fd, size)
            mapped = mmap.mmap(fd, size)
        except OSError as error:
            raise PublishError.of(error, "map a spill file for the plan") from error
        finally:
            self._files.close(fd)
        return np.frombuffer(mapped, dtype, count)
