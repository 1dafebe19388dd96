"""Orders without a solver: nearest next, then moves of stretches elsewhere, never turned round.

Prices are asymmetric, so that turning a stretch round would have to price it anew. What remains is
to cut the cycle at three places and exchange the two stretches between (Or 1976, without a limit
of the length): three old steps go, three new ones come. Candidates are the cheapest successors and
predecessors of each node only.
"""

from typing import Final

import numpy as np

from rehydrate.media.assignment import FORBIDDEN
from rehydrate.media.geometry import Floats, Ints

__all__ = ["cost_of_cycle", "improved", "nearest_next"]

NEIGHBOURS: Final = 10
CUTS: Final = 3
"""Steps that an exchange replaces; a cycle of so many nodes has no other that keeps directions."""
GAINED_S: Final = 1e-6
"""Least gain of a move in seconds; rounding is far below."""
BLOCK: Final = 1 << 14
"""Candidate steps that are priced at a time."""


def cost_of_cycle(prices: Floats, tour: Ints) -> float:
    """Return the price of a cycle.

    Args:
        prices: Shape ``(n, n)``.
        tour: Its nodes in order.
    """
    return float(prices[tour, np.roll(tour, -1)].sum())


def nearest_next(prices: Floats) -> Ints:
    """Return the cycle from node 0 that always takes the cheapest next one (SLTF).

    Args:
        prices: Shape ``(n, n)``; of equal ones the smaller number is taken.
    """
    count = len(prices)
    tour = np.zeros(count, np.int64)
    taken = np.zeros(count)
    taken[0] = FORBIDDEN
    row = np.empty(count)
    for place in range(1, count):
        np.add(prices[tour[place - 1]], taken, out=row)
        tour[place] = best = int(row.argmin())
        taken[best] = FORBIDDEN
    return tour


def improved(prices: Floats, tour: Ints, *, neighbours: int = NEIGHBOURS, rounds: int = 60) -> Ints:
    """Exchange neighbouring stretches of a cycle as long as it gets cheaper.

    Args:
        prices: Shape ``(n, n)``, the diagonal :data:`FORBIDDEN`.
        tour: A cycle of all nodes.
        neighbours: Cheapest successors and predecessors tried for each node.
        rounds: Most passes over all nodes.

    Returns:
        The nodes in the order of the new cycle, from the first node of ``tour``.
    """
    count = len(tour)
    if count <= CUTS:
        return tour
    kept = min(neighbours, count - 1)
    successors, predecessors = _cheapest(prices, kept), _cheapest(prices.T, kept)
    cycle = _Cycle(prices, tour.copy())
    for _ in range(rounds):
        moves = _moves(cycle, successors, predecessors)
        if not sum([cycle.exchange(move) for move in moves.tolist()]):
            break
    return np.roll(cycle.tour, -int(cycle.place[tour[0]]))


def _cheapest(prices: Floats, kept: int) -> Ints:
    """Return the columns with the smallest prices of each row; blocks keep the copies small."""
    found = np.empty((len(prices), kept), np.int64)
    step = max((1 << 20) // len(prices), 1)
    for first in range(0, len(prices), step):
        rows = np.ascontiguousarray(prices[first : first + step])
        found[first : first + step] = np.argpartition(rows, kept - 1, axis=1)[:, :kept]
    return found


class _Cycle:
    """A cycle that can be cut and joined.

    Attributes:
        prices: Prices of all steps.
        tour: Nodes in order.
        place: Where each node is in it.
        after: Its successor.
        before: Its predecessor, when :meth:`refresh` was called last.
        paid: Price of the step from it, at that time.
    """

    def __init__(self, prices: Floats, tour: Ints) -> None:
        self.prices = prices
        self.tour = tour
        self.place = np.empty_like(tour)
        self.place[tour] = np.arange(len(tour))
        self.after = np.empty_like(tour)
        self.after[tour] = np.roll(tour, -1)
        self.before = np.empty_like(tour)
        self.refresh()

    def refresh(self) -> None:
        """Bring what exchanges leave alone up to date."""
        self.before[self.after] = np.arange(len(self.tour))
        self.paid = self.prices[np.arange(len(self.tour)), self.after]

    def exchange(self, move: list[int]) -> bool:
        """Replace the steps a-a2, b-b2, c-c2 by a-b2, c-a2, b-c2, unless one is gone by now.

        The three must lie in this cyclic order; earlier exchanges may have changed that, too.
        """
        a, a2, b, b2, c, c2 = move
        after, place = self.after, self.place
        if after[a] != a2 or after[b] != b2 or after[c] != c2:
            return False
        at_a, at_b, at_c = int(place[a]), int(place[b]), int(place[c])
        low, middle, high = sorted((at_a, at_b, at_c))
        if (at_a, at_b, at_c) not in {
            (low, middle, high),
            (middle, high, low),
            (high, low, middle),
        }:
            return False
        stretch = self.tour[low + 1 : high + 1]
        stretch[:] = np.roll(stretch, low - middle)
        place[stretch] = np.arange(low + 1, high + 1)
        after[a], after[c], after[b] = b2, a2, c2
        return True


def _moves(cycle: _Cycle, successors: Ints, predecessors: Ints) -> Ints:
    """Return the exchanges that gain, the best of each first step, best first: shape (n, 6)."""
    cycle.refresh()
    count, kept = successors.shape
    node, joined = np.repeat(np.arange(count), kept), successors.ravel()
    alone = cycle.paid[node] - cycle.prices[node, joined]
    good = alone > GAINED_S
    node, joined, alone = node[good], joined[good], alone[good]
    tables, gains = [np.zeros((0, 2 * CUTS), np.int64)], [np.zeros(0)]
    for first in range(0, len(node), BLOCK):
        part = slice(first, first + BLOCK)
        table, gain = _thirds(cycle, predecessors, node[part], joined[part], alone[part])
        tables.append(table)
        gains.append(gain)
    order = np.argsort(-np.concatenate(gains), kind="stable")
    table = np.concatenate(tables)[order]
    _, heads = np.unique(table[:, 0], return_index=True)
    best: Ints = table[np.sort(heads)]
    return best


def _thirds(
    cycle: _Cycle, predecessors: Ints, a: Ints, b2: Ints, alone: Floats
) -> tuple[Ints, Floats]:
    """Choose the third cut for each first step, and keep the exchanges that gain."""
    count, prices, paid = len(cycle.tour), cycle.prices, cycle.paid
    a2, b = cycle.after[a], cycle.before[b2]
    c = predecessors[a2]
    c2 = cycle.after[c]
    to_b = (cycle.place[b] - cycle.place[a]) % count
    to_c = (cycle.place[c] - cycle.place[a][:, None]) % count
    gain = (alone + paid[b])[:, None] + paid[c] - prices[c, a2[:, None]] - prices[b[:, None], c2]
    gain[(to_c <= to_b[:, None]) | (to_b == 0)[:, None]] = -np.inf
    best = gain.argmax(axis=1)
    rows = np.arange(len(a))
    top: Floats = gain[rows, best]
    good = top > GAINED_S
    moves: Ints = np.stack((a, a2, b, b2, c[rows, best], c2[rows, best]), axis=1)[good]
    return moves, top[good]
