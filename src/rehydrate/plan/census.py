"""Which containers the rows refer to, how often, and which number each container gets."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Bools, Ints
from rehydrate.plan.columns import blocks
from rehydrate.plan.places import Words

__all__ = ["ContainerKey", "Numbering", "count_containers", "stored_words"]

ContainerKey = Callable[[tuple[int, int]], str]
"""Sort key of a ``(container id, generation)``."""

Numbers = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

LOW_HALF: Final = np.uint64(0xFFFFFFFF)
"""The container id is the low half of a row's first word, the generation the high half."""
RADIX: Final = 1 << 16
"""numpy sorts indexes of 16-bit numbers by radix: 10 times as fast as of wider ones."""
TABLE_LIMIT: Final = 1 << 20
"""Largest table that translates containers into numbers: 4 MiB."""


def stored_words(words: Words, wanted: Bools | None, first: int, end: int) -> tuple[Ints, Words]:
    """Select the rows of a block that are wanted and have stored bytes.

    Args:
        words: All rows as 64-bit words, shape ``(n, 8)``.
        wanted: Mask over all rows, or ``None``.
        first: First row of the block.
        end: Its end.

    Returns:
        The numbers of the rows, and their words.
    """
    block = words[first:end]
    chosen = (block[:, 0] & LOW_HALF) != 0
    if wanted is not None:
        chosen &= wanted[first:end]
    if chosen.all():
        return np.arange(first, end), block
    rows = np.flatnonzero(chosen)
    return rows + first, block[rows]


def count_containers(words: Words, wanted: Bools | None, block: int) -> tuple[Words, Ints]:
    """Count the references to each container.

    Args:
        words: All rows as 64-bit words, shape ``(n, 8)``.
        wanted: Mask over all rows, or ``None``.
        block: Rows handled at a time.

    Returns:
        The distinct first words of the chosen rows, ascending, and the number of rows with each.
    """
    keys = [np.zeros(0, np.uint64)]
    counts = [np.zeros(0, np.int64)]
    pending = 0
    for first, end in blocks(len(words), block):
        _, chosen = stored_words(words, wanted, first, end)
        found, times = np.unique(chosen[:, 0], return_counts=True)
        keys.append(found)
        counts.append(times)
        pending += len(found)
        if pending > len(keys[0]) + block:
            keys, counts = _merged(keys, counts)
            pending = 0
    keys, counts = _merged(keys, counts)
    return keys[0], counts[0]


def _merged(keys: list[Words], counts: list[Ints]) -> tuple[list[Words], list[Ints]]:
    distinct, where = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, where, np.concatenate(counts))
    return [distinct], [total]


class Numbering:
    """Gives each container its position in the sorted list of containers.

    Attributes:
        containers: ``(container id, generation)`` in that order.
        order: Index into the keys of each position.
    """

    def __init__(self, keys: Words, sort_key: ContainerKey | None) -> None:
        """Sort the containers.

        Args:
            keys: Distinct first words of rows, ascending.
            sort_key: See :func:`~rehydrate.plan.planner.find_needs`.
        """
        ids = (keys & LOW_HALF).tolist()
        generations = (keys >> np.uint64(32)).tolist()
        pairs = list(zip(ids, generations, strict=True))
        order = sorted(range(len(pairs)), key=pairs.__getitem__)
        if sort_key is not None:
            names = [sort_key(pair) for pair in pairs]
            order.sort(key=names.__getitem__)
        self.containers: tuple[tuple[int, int], ...] = tuple(pairs[index] for index in order)
        self.order: Ints = np.array(order, np.int64)
        self._keys = keys
        self._number = _numbers(len(pairs), below=len(pairs))
        self._number[self.order] = np.arange(len(pairs))
        self._lowest_id = np.uint64(min(ids, default=0))
        self._lowest_generation = np.uint64(min(generations, default=0))
        self._generations = np.uint64(max(generations, default=0) - min(generations, default=0) + 1)
        span = (max(ids, default=0) - min(ids, default=0) + 1) * int(self._generations)
        self._table = _numbers(span if span <= TABLE_LIMIT else 0, below=len(pairs))
        if len(self._table):
            self._table[self._codes(keys)] = self._number

    def numbers(self, first_words: Words) -> Numbers:
        """Return the position of each row's container.

        Args:
            first_words: First words of rows.

        Returns:
            Positions, 16 bits wide where that is enough.
        """
        if len(self._table):
            return self._table[self._codes(first_words)]
        return self._number[np.searchsorted(self._keys, first_words)]

    def sort(self, number: Numbers) -> Ints:
        """Return the order that sorts positions, keeping the order of equal ones.

        Args:
            number: What :meth:`numbers` returned.
        """
        low = np.argsort(number.astype(np.uint16), kind="stable")
        if number.dtype == np.uint16:
            return low
        high = (number >> np.uint32(16)).astype(np.uint16)
        return low[np.argsort(high[low], kind="stable")]

    def _codes(self, first_words: Words) -> Words:
        codes = (first_words & LOW_HALF) - self._lowest_id
        if self._generations > 1:
            codes *= self._generations
            codes += (first_words >> np.uint64(32)) - self._lowest_generation
        return codes


def _numbers(count: int, *, below: int) -> Numbers:
    return np.zeros(count, np.uint16) if below <= RADIX else np.zeros(count, np.uint32)
