"""Columns in memory and in mapped files; the spill file."""

import errno
import os
import tempfile

import numpy as np
import pytest

from rehydrate.engine.scratch import BudgetedScratch, SpillFile
from rehydrate.errors import NoSpaceError, PublishError
from rehydrate.ports import SystemFiles
from rehydrate.values import ReadableBuffer


def spill() -> int:
    fd, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108 - a descriptor is at hand
    return fd


class Full(SystemFiles):
    """A disk that is full, or writes little at a time."""

    def __init__(self, most: int = 3) -> None:
        super().__init__()
        self.most = most

    def pwrite(self, fd: int, data: ReadableBuffer, offset: int) -> int:
        if not self.most:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(fd, memoryview(data)[: self.most], offset)

    def ftruncate(self, fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")


def test_short_writes_are_continued() -> None:
    file = SpillFile(spill(), Full())
    file.write(5, memoryview(b"0123456789"))
    assert file.read(5, 10) == b"0123456789"
    assert file.read(7, 3) == b"234"
    file.close()


def test_full_disk_is_typed() -> None:
    with pytest.raises(NoSpaceError):
        SpillFile(spill(), Full(0)).write(0, memoryview(b"x"))


def test_reading_behind_the_end_is_typed() -> None:
    with pytest.raises(PublishError, match="shorter"):
        SpillFile(spill(), SystemFiles()).read(0, 1)


def test_columns_beyond_the_budget_are_mapped() -> None:
    made = []

    def counted() -> int:
        made.append(1)
        return spill()

    scratch = BudgetedScratch(100, counted, SystemFiles())
    small = scratch.array(np.int64, 10)
    assert not made
    large = scratch.array(np.uint32, 1000)
    assert len(made) == 1
    large[:] = np.arange(1000)
    assert large.sum() == 499_500
    assert large.flags.writeable
    small[:] = 1
    assert scratch.array(np.uint8, 20).size == 20
    assert len(made) == 1


def test_column_that_finds_no_room_is_typed() -> None:
    scratch = BudgetedScratch(0, spill, Full())
    with pytest.raises(PublishError, match="plan"):
        scratch.array(np.int64, 10)
