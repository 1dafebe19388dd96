"""Cheapest successors for everyone, then one path: assignment and patching (Karp 1979).

The assignment is at once the lower bound of every order: no path can cost less than the cheapest
way to give each run a successor of its own. If prices depended on places along the tape only, this
would be the case of Gilmore and Gomory (1964), which patching solves exactly; wraps and turns
disturb that a little.

The solver is that of scipy, an optional package: :func:`solver` is the only place that asks for it.
"""

import importlib
from typing import Final, Protocol

import numpy as np

from rehydrate.media.geometry import Floats, Ints

__all__ = ["FORBIDDEN", "Solver", "cheapest_bound", "patched", "solver"]

FORBIDDEN: Final = 1e9
"""Seconds that stand for "never": a run that follows itself."""


class Solver(Protocol):
    """Solves the linear assignment problem; :func:`scipy.optimize.linear_sum_assignment`."""

    def __call__(self, prices: Floats, /) -> tuple[Ints, Ints]:
        """Return rows ``0 ... n - 1`` and the column of each, with the smallest sum of prices.

        Args:
            prices: Shape ``(n, n)``.
        """
        ...


def solver(module: str = "scipy.optimize") -> Solver | None:
    """Return scipy's solver, or ``None`` where it is not installed (``rehydrate[tape]``).

    Args:
        module: Where it is looked for.
    """
    try:
        found = importlib.import_module(module)
    except ImportError:
        return None
    solve: Solver = found.linear_sum_assignment
    return solve


def cheapest_bound(prices: Floats) -> float:
    """Return a lower bound that needs no solver: everyone's cheapest successor, or predecessor.

    Args:
        prices: Shape ``(n, n)``, the diagonal :data:`FORBIDDEN`.
    """
    return float(max(prices.min(axis=1).sum(), prices.min(axis=0).sum()))


def patched(prices: Floats, follower: Ints) -> Ints:
    """Join the cycles of an assignment to one, each time where the smallest is joined best.

    Args:
        prices: Shape ``(n, n)``; row, then column.
        follower: Successor of each node, a permutation without fixed points.

    Returns:
        The nodes in the order of the one cycle, from node 0.
    """
    after = follower.copy()
    cycles = _cycles(after)
    label = np.empty(len(after), np.int64)
    for number, cycle in enumerate(cycles):
        label[cycle] = number
    paid = prices[np.arange(len(after)), after]
    while len(cycles) > 1:
        smallest = min(range(len(cycles)), key=lambda number: (len(cycles[number]), number))
        inside = cycles[smallest]
        outside = np.flatnonzero(label != label[inside[0]])
        change = prices[inside[:, None], after[outside]] + prices[outside[:, None], after[inside]].T
        change -= paid[inside][:, None] + paid[outside]
        row, column = np.unravel_index(int(change.argmin()), change.shape)
        one, other = inside[row], outside[column]
        after[one], after[other] = after[other], after[one]
        paid[[one, other]] = prices[[one, other], after[[one, other]]]
        host = next(n for n, cycle in enumerate(cycles) if label[cycle[0]] == label[other])
        label[inside] = label[other]
        cycles[host] = np.concatenate((cycles[host], inside))
        cycles.pop(smallest)
    return _cycles(after)[0]


def _cycles(after: Ints) -> list[Ints]:
    """Return the cycles of a permutation, each from its smallest node, by that node."""
    successor = after.tolist()
    seen = [False] * len(successor)
    cycles = []
    for first in range(len(successor)):
        if not seen[first]:
            node, cycle = first, []
            while not seen[node]:
                seen[node] = True
                cycle.append(node)
                node = successor[node]
            cycles.append(np.array(cycle, np.int64))
    return cycles
