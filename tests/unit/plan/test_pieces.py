import numpy as np
import pytest

from rehydrate.errors import LimitError
from rehydrate.plan import pieces
from rehydrate.plan.coalesce import accept_order
from rehydrate.plan.pieces import find_pieces, take_items
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import plan_round
from rehydrate.values import ContainerExtent
from tests.unit.plan.oracle import needs_of


def whole(needs: Needs, block: int) -> list[tuple[int, int]]:
    extents, _ = accept_order(None, needs, containers=len(needs.containers))
    found = find_pieces(needs, extents, block=block)
    return list(zip(found.first.tolist(), found.stop.tolist(), strict=True))


def test_a_piece_with_many_needs_is_cut_between_records() -> None:
    needs = needs_of([(0, at * 10, 10) for at in range(10)], 1)
    assert whole(needs, 10) == [(0, 10)]
    assert whole(needs, 4) == [(0, 4), (4, 8), (8, 10)]


def test_a_piece_is_not_cut_where_records_overlap() -> None:
    needs = needs_of([(0, 0, 55), *((0, at * 10, 10) for at in range(10))], 1)
    assert whole(needs, 4) == [(0, 7), (7, 8), (8, 11)]
    needs = needs_of([(0, at, 100) for at in range(10)], 1)
    assert whole(needs, 4) == [(0, 10)]


def test_a_piece_is_not_cut_before_its_guests_end() -> None:
    needs = needs_of([(0, 0, 75), *((0, at * 10, 10) for at in range(1, 10))], 1)
    answer = [ContainerExtent(index=0, length=5), ContainerExtent(index=0, offset=5)]
    extents, _ = accept_order(answer, needs, containers=1)
    found = find_pieces(needs, extents, block=2)
    assert found.start.tolist() == [0, 5, 80, 90]
    assert found.guest.tolist() == [0]
    assert found.guest_ptr.tolist() == [0, 0, 1, 1, 1]


def test_batches_hold_whole_pieces_up_to_a_size() -> None:
    needs = needs_of([(container, at, 1) for container in range(6) for at in range(3)], 6)
    extents, _ = accept_order(None, needs, containers=6)
    found = find_pieces(needs, extents, block=3)
    assert found.batch_ends(7).tolist() == [2, 4, 6]
    assert found.batch_ends(2).tolist() == [1, 2, 3, 4, 5, 6]
    assert (
        find_pieces(needs_of([], 0), accept_order(None, needs_of([], 0), containers=0)[0], block=3)
        .batch_ends(5)
        .tolist()
        == []
    )


def test_items_of_a_batch_come_by_piece_and_start() -> None:
    needs = needs_of([(0, 0, 10), (0, 4, 10), (0, 12, 4), (0, 16, 10)], 1)
    answer = [ContainerExtent(index=0, offset=5), ContainerExtent(index=0, length=5)]
    extents, _ = accept_order(answer, needs, containers=1)
    found = find_pieces(needs, extents, block=100)
    items = take_items(needs, found, 0, 2)
    assert items.need.tolist() == [0, 1, 2, 3, 0, 1]
    assert items.piece.tolist() == [0, 0, 0, 0, 1, 1]
    assert items.start.tolist() == [5, 5, 12, 16, 0, 4]
    assert items.end.tolist() == [10, 14, 16, 26, 5, 5]
    assert items.whole.tolist() == [False, False, True, True, False, False]


def test_batches_cost_at_most_one_read_in_a_block() -> None:
    needs = needs_of([(0, at, 1) for at in range(1000)], 1)
    extents, _ = accept_order(None, needs, containers=1)
    one = plan_round(needs, extents, max_gap=0, max_read=10_000)
    many = plan_round(needs, extents, max_gap=0, max_read=10_000, block=100)
    assert one.read_size.tolist() == [1000]
    assert many.read_size.tolist() == [100] * 10
    assert np.array_equal(one.need, many.need)


def test_guests_out_of_proportion_are_refused_before_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "SPARE_FRAGMENTS", 100)
    needs = needs_of([(0, at, 1000) for at in range(50)], 1)
    answer = [ContainerExtent(index=0, offset=at * 10, length=10) for at in range(80)]
    extents, _ = accept_order([*answer, ContainerExtent(index=0)], needs, containers=1)
    with pytest.raises(LimitError, match="fragments"):
        find_pieces(needs, extents, block=100)
