"""Many files in a few groups that people recognise: by directory, the largest ones apart."""

import heapq
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import attrs
import numpy as np

from rehydrate.chunks import Ints

__all__ = ["COLOURS", "FileGroup", "group_files"]

COLOURS: Final = 12
"""Groups that can be told apart by colour."""
NOTEWORTHY: Final = 0.05
"""Part of all bytes from which a file or directory gets a group of its own out of a larger one."""
ONE_CHILD: Final = 2
"""Edges of a directory with one entry."""
SLASH: Final = b"/"


@attrs.frozen(kw_only=True)
class FileGroup:
    """Files that are shown in one colour.

    Attributes:
        name: Path of the file, or the directory with a slash at its end; empty for the root.
        files: Number of files.
        size: Bytes of them.
        rest: Whether other groups hold a part of the directory.
        colour: Number of the colour, below :data:`COLOURS`: the same name gets the same colour in
            another plan, as far as others do not take it.
    """

    name: bytes
    files: int
    size: int
    rest: bool
    colour: int


@attrs.frozen(eq=False)
class _Node:
    """A stretch of the sorted names, or what is left of it."""

    prefix: bytes
    ranges: tuple[tuple[int, int], ...]
    rest: bool = False

    @property
    def count(self) -> int:
        return sum(end - first for first, end in self.ranges)


def group_files(names: Sequence[bytes], sizes: Ints) -> tuple[tuple[FileGroup, ...], Ints]:
    """Divide files into at most :data:`COLOURS` groups.

    Up to that many files have a group each. Beyond, the largest directory is divided further as
    long as there is room.

    Args:
        names: Paths with slashes; any bytes but zeros, which no path has (with them, groups may
            have the name of another directory).
        sizes: Bytes of each file.

    Returns:
        The groups by name, and the group of each file.
    """
    # With the lowest byte for a slash, what is below a directory stands together.
    order = sorted(range(len(names)), key=lambda index: names[index].replace(SLASH, b"\0"))
    ordered = [names[index] for index in order]
    weights = np.zeros(len(names) + 1)
    np.cumsum(sizes[np.array(order, np.int64)], out=weights[1:], dtype=np.float64)
    nodes = _divided(ordered, weights)
    nodes.sort(key=lambda node: (node.prefix, node.ranges))
    group = np.zeros(len(names), np.int64)
    positions = np.array(order, np.int64)
    for number, node in enumerate(nodes):
        for first, end in node.ranges:
            group[positions[first:end]] = number
    found = tuple(
        FileGroup(
            name=node.prefix, files=node.count, size=int(_weight(node, weights)), rest=node.rest,
            colour=colour,
        )
        for node, colour in zip(nodes, _colours([node.prefix for node in nodes]), strict=True)
    )  # fmt: skip
    return found, group


def _divided(names: Sequence[bytes], weights: "np.typing.NDArray[np.float64]") -> list[_Node]:
    if len(names) <= COLOURS:
        return [_Node(name, ((at, at + 1),)) for at, name in enumerate(names)]
    whole = _Node(b"", ((0, len(names)),))
    waiting = [(-float(weights[-1]), 0, whole)]
    done: list[_Node] = []
    serial = 0
    while waiting:
        _, _, node = heapq.heappop(waiting)
        room = COLOURS - len(waiting) - len(done)
        depth, edges = _edges(names, node)
        if len(edges) <= ONE_CHILD:
            done.append(node)
            continue
        chosen = np.arange(len(edges) - 1)
        if len(chosen) > room:
            each = np.diff(weights[edges])
            chosen = np.argsort(-each, kind="stable")[: room - 1]
            chosen = np.sort(chosen[each[chosen] >= NOTEWORTHY * weights[-1]])
        children = [_child(names, depth, edges[at], edges[at + 1]) for at in chosen.tolist()]
        if len(children) < len(edges) - 1:
            done.append(_without(node, children))
        for child in children:
            serial += 1
            if child.count == 1:
                done.append(child)
            else:
                heapq.heappush(waiting, (-_weight(child, weights), serial, child))
    return done


def _edges(names: Sequence[bytes], node: _Node) -> tuple[int, list[int]]:
    """Return how deep all of a node has one path, and where what is directly below begins; the end.

    A file and what seems to be below it, which is no tree, count as one.
    """
    ((first, end),) = node.ranges
    low, high = names[first].split(SLASH), names[end - 1].split(SLASH)
    depth = 0
    while depth < min(len(low), len(high)) - 1 and low[depth] == high[depth]:
        depth += 1
    edges = []
    before: list[bytes] | None = None
    for at in range(first, end):
        parts = names[at].split(SLASH, depth + 1)[: depth + 1]
        if parts != before:
            edges.append(at)
            before = parts
    return depth, [*edges, end]


def _child(names: Sequence[bytes], depth: int, first: int, end: int) -> _Node:
    name = names[first]
    if end - first > 1:
        parts = name.split(SLASH)
        # Where a file stands before what seems to be below it, only the directory is above both.
        above = parts[:depth] if len(parts) == depth + 1 else parts[: depth + 1]
        name = b"".join(part + SLASH for part in above)
    return _Node(name, ((first, end),))


def _without(node: _Node, children: Sequence[_Node]) -> _Node:
    ((first, end),) = node.ranges
    ranges = []
    for low, high in sorted(child.ranges[0] for child in children):
        ranges.append((first, low))
        first = high
    ranges.append((first, end))
    kept = tuple((low, high) for low, high in ranges if low < high)
    return _Node(node.prefix, kept, rest=bool(children))


def _weight(node: _Node, weights: "np.typing.NDArray[np.float64]") -> float:
    return float(sum(weights[end] - weights[first] for first, end in node.ranges))


def _colours(names: Sequence[bytes]) -> list[int]:
    free = [True] * COLOURS
    found = []
    for name in names:
        colour = crc32(name) % COLOURS
        while not free[colour]:
            colour = (colour + 1) % COLOURS
        free[colour] = False
        found.append(colour)
    return found
