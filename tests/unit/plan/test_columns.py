import numpy as np
import numpy.typing as npt
import pytest

from rehydrate.plan.columns import MEMORY, Column, MemoryScratch, Scalar, blocks


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        pytest.param(0, 3, [], id="nothing"),
        pytest.param(3, 3, [(0, 3)], id="one full block"),
        pytest.param(7, 3, [(0, 3), (3, 6), (6, 7)], id="a rest"),
    ],
)
def test_blocks_tile_the_rows(count: int, size: int, expected: list[tuple[int, int]]) -> None:
    assert list(blocks(count, size)) == expected


def test_memory_gives_columns_of_any_length() -> None:
    assert MEMORY.array(np.int64, 0).shape == (0,)
    assert MEMORY.array(np.uint32, 3).dtype == np.uint32


class CountingScratch(MemoryScratch):
    def __init__(self) -> None:
        self.counts: list[int] = []

    def array(self, dtype: type[Scalar], count: int, /) -> npt.NDArray[Scalar]:
        self.counts.append(count)
        return super().array(dtype, count)


def test_a_column_grows_and_keeps_what_it_has() -> None:
    column = Column(MEMORY, np.int64, 1)
    for number in range(100):
        column.append([number, -number])
    assert len(column) == 200
    assert column.done().tolist() == [sign * n for n in range(100) for sign in (1, -1)]


def test_a_column_doubles_so_that_copies_stay_linear() -> None:
    scratch = CountingScratch()
    column = Column(scratch, np.int64, 1)
    for number in range(1000):
        column.append([number])
    assert len(scratch.counts) == 11


def test_a_column_with_room_is_never_copied() -> None:
    scratch = CountingScratch()
    column = Column(scratch, np.int64, 10)
    column.append(np.arange(10))
    assert scratch.counts == [10]
    assert column.done().tolist() == list(range(10))


def test_an_empty_column_is_empty() -> None:
    assert Column(MEMORY, np.int64, 0).done().tolist() == []
