import numpy as np

from rehydrate.plan.lanes import NOWHERE, ExtentColumns, Lanes, find_lanes
from rehydrate.values import MAX_OFFSET


def lanes_of(extents: list[tuple[int, int, int]], containers: int, most: int = 400) -> Lanes:
    columns = np.array(extents, np.int64).reshape(-1, 3).T.copy()
    return find_lanes(ExtentColumns(*columns), containers, most=most)


def test_no_extents_make_no_lanes() -> None:
    found = lanes_of([], 2)
    assert len(found) == 0
    assert found.lane.tolist() == [NOWHERE, NOWHERE]
    assert found.first.tolist() == [0]


def test_lanes_follow_the_first_read() -> None:
    found = lanes_of([(2, 10, 100), (0, 7, MAX_OFFSET), (2, 300, 500)], 3)
    assert found.order.tolist() == [2, 0]
    assert found.lane.tolist() == [1, NOWHERE, 0]
    assert found.size.tolist() == [500, 7]
    assert found.base.tolist() == [0, 0, 0]


def test_too_many_containers_share_lanes() -> None:
    found = lanes_of([(n, 10 + n, MAX_OFFSET) for n in (4, 3, 2, 1, 0)], 5, most=2)
    assert found.first.tolist() == [0, 3, 5]
    assert found.lane.tolist() == [1, 1, 0, 0, 0]
    assert found.size.tolist() == [14 + 13 + 12, 11 + 10]
    assert found.base.tolist() == [11, 0, 27, 14, 0]


def test_containers_of_the_largest_size_do_not_disturb_others() -> None:
    found = lanes_of([(0, MAX_OFFSET, MAX_OFFSET), (1, 5, 2**62)], 2)
    assert found.base.tolist() == [0, 0]
    assert found.size.tolist() == [float(MAX_OFFSET), 2.0**62]
