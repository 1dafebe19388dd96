import numpy as np
import pytest

from rehydrate.plan.columns import MEMORY
from rehydrate.plan.places import sort_places


def sorted_rows(places: list[list[int]], block: int = 1 << 16) -> list[list[int]]:
    """Sort rows 0, 1, 2, ... of each container; return them by container."""
    ptr = np.concatenate(([0], np.cumsum([len(each) for each in places]))).astype(np.int64)
    column = np.array([place for each in places for place in each], np.uint64)
    rows = np.arange(len(column), dtype=np.uint32)
    out = np.empty(len(column), np.uint32)
    sort_places(column, rows, ptr, out, scratch=MEMORY, block=block)
    return [out[ptr[at] : ptr[at + 1]].tolist() for at in range(len(places))]


def expected(places: list[list[int]]) -> list[list[int]]:
    base, result = 0, []
    for each in places:
        result.append([base + at for at in sorted(range(len(each)), key=each.__getitem__)])
        base += len(each)
    return result


GENERATOR = np.random.default_rng(5)
NARROW = GENERATOR.integers(0, 2**20, 300).tolist()
ALIGNED = (GENERATOR.integers(0, 2**40, 300) * 4096).tolist()
WIDE = GENERATOR.integers(0, 2**63 - 1, 300).tolist() * 2
EDGES = [2**63 - 1, 0, 2**63 - 2, 1, 2**32, 2**32 - 1, 2**63 - 1, 0]


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    "places",
    [
        pytest.param([], id="nothing"),
        pytest.param([[5]], id="one"),
        pytest.param([[5, 5, 5]], id="equal"),
        pytest.param([[0, 0], [0]], id="equal in two containers"),
        pytest.param([NARROW], id="narrow"),
        pytest.param([ALIGNED], id="aligned"),
        pytest.param([WIDE], id="wide"),
        pytest.param([EDGES], id="edges"),
        pytest.param([NARROW, ALIGNED, NARROW], id="several containers"),
        pytest.param([NARROW, WIDE, [3], EDGES], id="several containers, wide"),
    ],
)
def test_rows_are_sorted_by_place_and_stay_in_order(places: list[list[int]], block: int) -> None:
    assert sorted_rows(places, block) == expected(places)
