"""The vendor's answer to the order call, checked: which bytes are read in which order.

The answer is a hint from code that we do not control. It may change the speed of a job, never what
is read or how much memory is used; an answer that breaks the contract stops the job before any
data is read. Rules CC-ORDER of the call contract.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Ints
from rehydrate.errors import StoreContractError
from rehydrate.plan.planner import Needs
from rehydrate.plan.ranges import Ranges, cover, is_covered
from rehydrate.values import MAX_OFFSET, ContainerExtent

__all__ = ["EXTENTS_PER_CONTAINER", "Extents", "accept_order"]

EXTENTS_PER_CONTAINER: Final = 64
"""Extents accepted for each container, on top of ``max_extra`` for the answer."""


@attrs.frozen(eq=False)
class Extents:
    """An accepted order: container extents in the order in which they are read.

    Where extents of a container overlap, a byte belongs to the first of them.

    Attributes:
        container: Index of the container, as in :attr:`Needs.containers`.
        start: First byte.
        end: First byte behind, above ``start``.
    """

    container: npt.NDArray[np.uint32]
    start: Ints
    end: Ints

    def __len__(self) -> int:
        """Return the number of extents."""
        return len(self.start)


def accept_order(
    answer: Iterable[ContainerExtent] | None,
    needs: Needs,
    *,
    containers: int,
    max_extra: int = 10_000,
) -> tuple[Extents, Ints]:
    """Check the answer to an order call.

    ``None``, and an answer in which no extent has a byte, stand for our own order: containers as
    they were handed over, each as a whole. Exceptions out of the answer's own iterator pass
    unchanged.

    Args:
        answer: What the vendor returned; consumed at most once, and one element beyond the limit.
        needs: What must be read.
        containers: Number of containers handed to the vendor.
        max_extra: Extents accepted on top of 64 for each container.

    Returns:
        The accepted extents, and the containers (ascending) that the answer leaves out: these are
        unavailable, and their needs cannot be read.

    Raises:
        StoreContractError: Not an iterable of extents, too many of them, a value that is no plain
            int or is out of range, or extents that leave out a needed byte of their container.
    """
    extents = Extents(*_columns(answer, containers, max_extra))
    if not len(extents):
        everything = np.arange(containers, dtype=np.uint32)
        starts = np.zeros(containers, np.int64)
        return Extents(everything, starts, starts + MAX_OFFSET), np.zeros(0, np.int64)
    _check_coverage(extents, needs)
    missing = np.ones(containers, np.bool_)
    missing[extents.container] = False
    return extents, np.flatnonzero(missing)


def _columns(
    answer: Iterable[ContainerExtent] | None, containers: int, max_extra: int
) -> tuple[npt.NDArray[np.uint32], Ints, Ints]:
    index, start, end = array("I"), array("q"), array("q")
    limit = EXTENTS_PER_CONTAINER * containers + max_extra
    for number, extent in enumerate(_iterator(answer)):
        if number >= limit:
            msg = f"the order answer has more than {limit} extents"
            raise StoreContractError(msg, code="store.contract.order-length")
        container, offset, length = _checked(extent, number, containers)
        stop = min(offset + length, MAX_OFFSET)
        if offset < stop:
            index.append(container)
            start.append(offset)
            end.append(stop)
    return (
        np.array(index, np.uint32),
        np.array(start, np.int64),
        np.array(end, np.int64),
    )


def _iterator(answer: Iterable[ContainerExtent] | None) -> Iterator[object]:
    if answer is None:
        return iter(())
    try:
        return iter(answer)
    except TypeError as error:
        msg = f"the order answer is no iterable of extents but {type(answer).__name__}"
        raise StoreContractError(msg, code="store.contract.order-type") from error


def _checked(extent: object, number: int, containers: int) -> tuple[int, int, int]:
    """Return the values of an extent, each read exactly once."""
    if not isinstance(extent, ContainerExtent):
        msg = f"element {number} of the order answer is no ContainerExtent"
        raise StoreContractError(msg, code="store.contract.order-type")
    index, offset, length = extent.index, extent.offset, extent.length
    for name, value, end in (
        ("index", index, containers),
        ("offset", offset, MAX_OFFSET + 1),
        ("length", length, MAX_OFFSET + 1),
    ):
        # Not isinstance: a bool is an int, and a subclass may compare as it likes.
        if type(value) is not int:
            msg = f"extent {number} of the order answer: {name} is no int"
            raise StoreContractError(msg, code="store.contract.order-type")
        if not 0 <= value < end:
            msg = f"extent {number} of the order answer: {name} is {value}, below {end} is allowed"
            raise StoreContractError(msg, code="store.contract.order-range")
    return index, offset, length


def _check_coverage(extents: Extents, needs: Needs) -> None:
    """Raise unless each container that has extents has all of its needed bytes in them."""
    order = np.argsort(extents.container, kind="stable")
    ptr = np.searchsorted(extents.container[order], np.arange(len(needs.containers) + 1))
    whole = (extents.start == 0) & (extents.end == MAX_OFFSET)
    asked = np.unique(extents.container[~whole])
    need_ptr = needs.container_ptr()
    for container in asked[asked < len(needs.containers)].tolist():
        mine = order[ptr[container] : ptr[container + 1]]
        given = cover(Ranges(extents.start[mine], extents.end[mine]))
        first, end = need_ptr[container], need_ptr[container + 1]
        start = needs.offset[first:end]
        length = needs.length[first:end]
        covered = is_covered(Ranges(start, start + length), given)
        if not covered.all():
            worst = int(covered.argmin())
            identity, generation = needs.containers[container]
            msg = (
                f"the order answer covers container {identity} (generation {generation}), "
                "but not all of its needed bytes"
            )
            raise StoreContractError(
                msg,
                code="store.contract.order-gap",
                offset=int(start[worst]),
                length=int(length[worst]),
            )
