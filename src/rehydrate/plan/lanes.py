"""Where containers are drawn: one lane each in the order of their first read, or several on one."""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Ints
from rehydrate.plan.read_plan import PlannedRound
from rehydrate.values import MAX_OFFSET

__all__ = ["MOST_LANES", "NOWHERE", "ExtentColumns", "Floats", "Lanes", "find_lanes"]

Floats = npt.NDArray[np.float64]

MOST_LANES: Final = 400
"""Lanes of a drawing; beyond, neighbours in reading order share one."""
NOWHERE: Final = -1


@attrs.frozen(eq=False)
class ExtentColumns:
    """Extents with reads, in reading order.

    Attributes:
        container: Index of the container.
        end: First byte behind the last read.
        stop: First byte behind the extent, as the vendor gave it.
    """

    container: Ints
    end: Ints
    stop: Ints

    @classmethod
    def of(cls, planned: PlannedRound) -> "ExtentColumns":
        """Take them out of a round.

        Args:
            planned: The round.
        """
        rows = [
            (each.container, each.end, min(each.offset + each.length, MAX_OFFSET))
            for each in planned.extents
        ]
        return cls(*np.array(rows, np.int64).reshape(-1, 3).T.copy())


@attrs.frozen(eq=False)
class Lanes:
    """Containers side by side.

    Positions are floating-point numbers: exact below 2**53, beyond any container that exists.

    Attributes:
        order: Containers with reads, by their first read.
        lane: Lane of each container of the round, or :data:`NOWHERE`.
        base: Where each container begins in its lane.
        span: Bytes of each container, as far as known: at least up to its last read.
        size: Bytes of each lane, at least 1.
        first: Shape ``(lanes + 1,)``; the containers of lane ``i`` are
            ``order[first[i]:first[i + 1]]``.
    """

    order: Ints
    lane: Ints
    base: Floats
    span: Floats
    size: Floats
    first: Ints

    def __len__(self) -> int:
        """Return the number of lanes."""
        return len(self.size)


def find_lanes(extents: ExtentColumns, containers: int, *, most: int = MOST_LANES) -> Lanes:
    """Give each container with reads its place in the drawing.

    Args:
        extents: What is read.
        containers: Number of containers of the round.
        most: Most lanes.
    """
    found, place = np.unique(extents.container, return_index=True)
    order = found[np.argsort(place)].astype(np.int64)
    # An extent up to the largest offset stands for all of a container, whose size is not known.
    stop = np.where(extents.stop < MAX_OFFSET, extents.stop, extents.end)
    span = np.zeros(containers)
    np.maximum.at(span, extents.container, stop.astype(np.float64))
    share = max(1, -(-len(order) // most))
    first = np.append(np.arange(0, len(order), share), len(order)).astype(np.int64)
    if not len(order):
        first = np.zeros(1, np.int64)
    lane = np.full(containers, NOWHERE, np.int64)
    lane[order] = np.arange(len(order)) // share
    ends = np.cumsum(span[order])
    starts = ends - span[order]
    base = np.zeros(containers)
    base[order] = starts - starts[first[:-1]].repeat(np.diff(first))
    if share == 1:
        base[:] = 0.0  # exact also where the sums are not
    size = np.zeros(len(first) - 1)
    np.add.at(size, lane[order], span[order])
    return Lanes(order, lane, base, span, np.maximum(size, 1.0), first)
