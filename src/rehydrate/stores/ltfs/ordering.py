"""From the parts of containers to the order callback's answer, and to the list of volumes.

A part of a container that lies on tape is one step; holes go with the step before them. Steps are
ordered over all containers and volumes at once, by :mod:`rehydrate.media.ordering`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.media.ordering import OrderOptions, VolumeOrder, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.stores.ltfs.catalogue import Part
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import Stretch, TapePosition
from rehydrate.values import MAX_OFFSET, ContainerExtent

__all__ = ["Recommends", "TapeOrder", "VolumeNeed", "order_parts"]

_MOST_STEPS: Final = 64  # of a container, so that answers stay below the limit of the contract

Recommends = Callable[[LtfsVolume, Sequence[Stretch]], Sequence[int] | None]
"""Asks the drive that holds a volume for its order of stretches; ``None`` = no recommendation."""


@attrs.frozen
class VolumeNeed:
    """What is wanted of a volume.

    Attributes:
        name: Its barcode.
        containers: Containers that have bytes on it.
        wanted_bytes: These bytes, if the containers are read whole.
        locate_s: Predicted seconds of positioning; ``None`` = not known.
        read_s: Predicted seconds of reading; ``None`` = not known.
        kept: Why it is read in this order, for people.
    """

    name: str
    containers: int
    wanted_bytes: int
    locate_s: float | None
    read_s: float | None
    kept: str

    @property
    def seconds(self) -> float | None:
        """Predicted seconds in all."""
        if self.locate_s is None or self.read_s is None:
            return self.read_s
        return self.locate_s + self.read_s


@attrs.frozen
class TapeOrder:
    """The answer of the order callback, and what it means for people.

    Attributes:
        extents: The answer.
        volumes: Volumes in the order of their mounts.
    """

    extents: tuple[ContainerExtent, ...]
    volumes: tuple[VolumeNeed, ...]


@attrs.frozen
class _Step:
    """A range of a container that is read in one go; without a part it needs no tape."""

    container: int
    start: int
    end: int
    part: Part | None


def order_parts(
    containers: Sequence[Sequence[Part]],
    volumes: Mapping[str, LtfsVolume],
    *,
    loaded: str | None = None,
    at: TapePosition | None = None,
    options: OrderOptions | None = None,
    recommends: Recommends | None = None,
) -> TapeOrder:
    """Order all parts of some containers.

    Args:
        containers: The parts of each container; empty where nothing is known: it comes last.
        volumes: The volumes by name, in the order in which they are preferred.
        loaded: The volume in the drive; it comes first.
        at: Where its head is.
        options: Choices; which volumes are loaded is filled in here.
        recommends: Asks the drive where no geometry is known.
    """
    names = list(volumes)
    steps = [step for number, parts in enumerate(containers) for step in _steps(number, parts)]
    tapes = {
        number: _tape(volume, at if volume.name == loaded else None)
        for number, volume in enumerate(volumes.values())
    }
    chosen = attrs.evolve(
        options or OrderOptions(), loaded=() if loaded is None else (names.index(loaded),)
    )
    ordering = order_segments(_segments(steps, names), tapes, chosen)
    order = ordering.order.tolist()
    needs = []
    for about in ordering.volumes:
        taken = slice(about.first, about.first + about.count)
        if about.volume == UNKNOWN:
            continue
        name, kept = names[about.volume], str(about.kept)
        plain = math.isnan(about.locate_s)
        if plain and name == loaded and recommends is not None:
            advised = _advised(
                volumes[name], [steps[number] for number in order[taken]], recommends
            )
            if advised is not None:
                order[taken] = [order[about.first + number] for number in advised]
                kept = "as the drive recommends"
        needs.append(_need(name, [steps[number] for number in order[taken]], about, kept))
    answer = (
        ContainerExtent(index=step.container, offset=step.start, length=step.end - step.start)
        for step in (steps[number] for number in order)
    )
    return TapeOrder(tuple(answer), tuple(needs))


def _steps(container: int, parts: Sequence[Part]) -> list[_Step]:
    """Cut a container before each part on tape; the first step begins at 0, the last is endless."""
    on_tape = [part for part in parts if part.extent is not None]
    stride = -(-len(on_tape) // _MOST_STEPS) or 1
    heads: list[Part | None] = [*on_tape[::stride]] or [None]
    edges = [0, *(part.start for part in heads[1:] if part is not None), MAX_OFFSET]
    return [
        _Step(container, edges[number], edges[number + 1], head)
        for number, head in enumerate(heads)
    ]


def _stretch(step: _Step) -> Stretch:
    part = step.part
    if part is None or part.extent is None or part.volume is None:
        return Stretch(0, UNKNOWN, UNKNOWN)
    extent, size = part.extent, part.volume.label.block_size
    raw = extent.skip + part.first
    first = extent.block + raw // size
    last = extent.block + (raw + part.end - part.start - 1) // size
    return Stretch(extent.partition, first, last)


def _segments(steps: Sequence[_Step], names: Sequence[str]) -> Segments:
    stretches = [_stretch(step) for step in steps]
    numbers = {name: number for number, name in enumerate(names)}
    return Segments(
        volume=np.array([_volume(step, numbers) for step in steps], np.int64),
        partition=np.array([one.partition for one in stretches], np.int64),
        start=np.array([one.first for one in stretches], np.int64),
        length=np.array([one.last - one.first + 1 for one in stretches], np.int64),
    )


def _volume(step: _Step, numbers: Mapping[str, int]) -> int:
    part = step.part
    return UNKNOWN if part is None or part.volume is None else numbers[part.volume.name]


def _tape(volume: LtfsVolume, at: TapePosition | None) -> Tape:
    tape = attrs.evolve(volume.tape, unit_bytes=float(volume.label.block_size))
    if at is not None and tape.geometry is not None:
        return attrs.evolve(tape, at=(at.partition, at.block))
    return tape


def _advised(
    volume: LtfsVolume, steps: Sequence[_Step], recommends: Recommends
) -> Sequence[int] | None:
    """Ask the drive; what is no permutation is no advice."""
    order = recommends(volume, [_stretch(step) for step in steps])
    if order is None or sorted(order) != list(range(len(steps))):
        return None
    return order


def _need(name: str, steps: Sequence[_Step], about: VolumeOrder, kept: str) -> VolumeNeed:
    wanted = [step.part for step in steps if step.part is not None]
    return VolumeNeed(
        name=name,
        containers=len({step.container for step in steps}),
        wanted_bytes=sum(part.end - part.start for part in wanted),
        locate_s=None if math.isnan(about.locate_s) else about.locate_s,
        read_s=None if math.isnan(about.read_s) else about.read_s,
        kept=kept,
    )
