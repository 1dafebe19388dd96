"""Assignment, patching, nearest next and exchanges against all orders of small problems."""

import itertools

import numpy as np
import pytest

from rehydrate.media import assignment, search
from rehydrate.media.geometry import Floats, Ints


def table(count: int, seed: int) -> Floats:
    prices = np.random.default_rng(seed).random((count, count))
    np.fill_diagonal(prices, assignment.FORBIDDEN)
    return prices


def best(prices: Floats) -> float:
    rest = range(1, len(prices))
    return min(
        search.cost_of_cycle(prices, np.array([0, *order]))
        for order in itertools.permutations(rest)
    )


def is_cycle(tour: Ints, count: int) -> bool:
    return tour[0] == 0 and sorted(tour.tolist()) == list(range(count))


def found_solver() -> assignment.Solver:
    solve = assignment.solver()
    if solve is None:
        pytest.skip("scipy is not installed")
    return solve


def test_a_missing_package_is_no_solver() -> None:
    assert assignment.solver("rehydrate_has_no_such_package.optimize") is None


@pytest.mark.parametrize("seed", range(8))
def test_assignment_is_a_bound_and_patching_is_near_the_best(seed: int) -> None:
    prices = table(7, seed)
    rows, columns = found_solver()(prices)
    bound = float(prices[rows, columns].sum())
    tour = search.improved(prices, assignment.patched(prices, columns))
    assert is_cycle(tour, 7)
    assert bound <= best(prices) + 1e-9
    assert search.cost_of_cycle(prices, tour) <= 1.3 * best(prices)
    assert assignment.cheapest_bound(prices) <= bound + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_patching_joins_many_cycles_where_it_costs_least(seed: int) -> None:
    count = 30
    prices = table(count, seed)
    follower = np.arange(count) ^ 1
    tour = assignment.patched(prices, follower)
    assert is_cycle(tour, count)
    pairs = prices[np.arange(count), follower].sum()
    assert search.cost_of_cycle(prices, tour) < pairs + 0.5 * count
    assert follower.tolist() == (np.arange(count) ^ 1).tolist()


def test_two_cycles_are_joined_at_the_cheapest_place() -> None:
    prices = np.full((6, 6), 10.0)
    follower = np.array([1, 2, 0, 4, 5, 3])
    prices[np.arange(6), follower] = 1.0
    prices[1, 5] = 2.0
    prices[4, 2] = 2.0
    assert assignment.patched(prices, follower).tolist() == [0, 1, 5, 3, 4, 2]


def test_one_cycle_is_left_alone() -> None:
    assert assignment.patched(table(4, 1), np.array([2, 0, 3, 1])).tolist() == [0, 2, 3, 1]


def test_nearest_next_takes_the_smaller_number_of_equal_ones() -> None:
    prices = np.array([[9e9, 2, 1, 1], [1, 9e9, 1, 1], [1, 5, 9e9, 4], [1, 3, 1, 9e9]])
    assert search.nearest_next(prices).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("seed", range(8))
def test_exchanges_never_make_it_dearer_and_come_near_the_best(seed: int) -> None:
    prices = table(8, seed)
    begin = np.arange(8)
    tour = search.improved(prices, begin)
    assert is_cycle(tour, 8)
    assert search.cost_of_cycle(prices, tour) <= search.cost_of_cycle(prices, begin)
    assert search.cost_of_cycle(prices, tour) <= 1.6 * best(prices)


def test_an_exchange_moves_a_stretch_of_any_length_without_turning_it() -> None:
    count = 40
    good = np.concatenate(([0], np.arange(20, 35), np.arange(1, 20), np.arange(35, 40)))
    prices = np.full((count, count), 5.0)
    prices[good, np.roll(good, -1)] = 1.0
    np.fill_diagonal(prices, assignment.FORBIDDEN)
    assert search.improved(prices, np.arange(count)).tolist() == good.tolist()


def test_larger_problems_are_improved_by_what_the_gains_say() -> None:
    prices = table(300, 5)
    begin = search.nearest_next(prices)
    tour = search.improved(prices, begin)
    assert is_cycle(tour, 300)
    assert search.cost_of_cycle(prices, tour) < 0.8 * search.cost_of_cycle(prices, begin)
    once = search.cost_of_cycle(prices, search.improved(prices, begin, rounds=1))
    assert search.cost_of_cycle(prices, tour) < once < search.cost_of_cycle(prices, begin)
    again = search.improved(prices, begin.copy())
    assert again.tolist() == tour.tolist()


def test_three_nodes_have_nothing_to_exchange() -> None:
    begin = np.array([0, 2, 1])
    assert search.improved(table(3, 1), begin) is begin
