"""Finish times of files and the peak of what is unfinished."""

import numpy as np
import numpy.typing as npt
import pytest

from rehydrate.errors import RequestError
from rehydrate.media.estimate import Uses, estimate, finish_times, unfinished_peak

USES = Uses([0, 1, 1, 2], [0, 0, 1, 1], [10, 20, 5, 7], 3)


def test_files_finish_with_their_last_extent() -> None:
    order, ends = np.array([1, 2, 0]), np.array([3.0, 4.0, 9.0])
    assert finish_times(USES, order, ends).tolist() == [9, 4, 0]
    assert finish_times(USES, order[:2], ends[:2]).tolist() == [float("inf"), 4, 0]


@pytest.mark.parametrize(
    ("order", "peak"),
    [([0, 1, 2], 35), ([1, 2, 0], 32), ([2, 1, 0], 32), ([0, 2, 1], 42), ([1, 2], 12), ([], 0)],
)
def test_peak_counts_what_has_come_for_files_that_miss_others(order: list[int], peak: int) -> None:
    assert unfinished_peak(USES, np.array(order, np.int64)) == peak


def test_huge_lengths_do_not_overflow() -> None:
    uses = Uses([0, 0, 0], [0, 1, 2], [2**62] * 3, 3)
    assert unfinished_peak(uses, np.array([0])) == 3 * 2**62


def test_estimate_tells_all_together() -> None:
    found = estimate(USES, np.array([1, 2]), np.array([3.0, 4.0]))
    assert found.finish_s.tolist() == [float("inf"), 4, 0]
    assert (found.total_s, found.peak_bytes, found.incomplete) == (4, 12, 1)


@pytest.mark.parametrize(("order", "ends"), [([0, 0], [1, 2]), ([0], [1, 2]), ([-1], [1])])
def test_orders_that_are_none(order: list[int], ends: list[float]) -> None:
    with pytest.raises(RequestError) as caught:
        estimate(USES, np.array(order), np.array(ends, np.float64))
    assert caught.value.code == "estimate.uses"


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(([0], [3], [1]), id="file"),
        pytest.param(([0], [0, 1], [1]), id="lengths differ"),
        pytest.param(([-1], [0], [1]), id="extent"),
        pytest.param(([0], [0], [0.5]), id="fraction"),
    ],
)
def test_uses_that_are_none(columns: tuple[npt.ArrayLike, ...]) -> None:
    extent, file, length = columns
    with pytest.raises(RequestError):
        Uses(extent, file, length, 3)
