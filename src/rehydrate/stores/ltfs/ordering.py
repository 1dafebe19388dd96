"""From the parts of containers to the order callback's answer, and to the list of volumes.

A part of a container that lies on tape is one step; holes go with the step before them. Steps are
ordered over all containers and volumes at once, by :mod:`rehydrate.media.ordering`.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import attrs
import numpy as np

from rehydrate.media.geometry import Ints
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


@attrs.define(eq=False)
class _Steps:
    """Steps as columns, so that a million containers stay small; all are 8 bytes.

    A step is a range of a container that is read in one go; one without a volume needs no tape.
    """

    container: "array[int]" = attrs.field(factory=lambda: array("q"))
    begin: "array[int]" = attrs.field(factory=lambda: array("q"))
    end: "array[int]" = attrs.field(factory=lambda: array("q"))
    volume: "array[int]" = attrs.field(factory=lambda: array("q"))
    partition: "array[int]" = attrs.field(factory=lambda: array("q"))
    first: "array[int]" = attrs.field(factory=lambda: array("q"))
    count: "array[int]" = attrs.field(factory=lambda: array("q"))
    wanted: "array[int]" = attrs.field(factory=lambda: array("q"))

    def add(self, container: int, parts: Sequence[Part], numbers: Mapping[str, int]) -> None:
        """Cut a container before each part on tape; the first step begins at 0, the last is endless.

        Args:
            container: Its number.
            parts: Its parts.
            numbers: Numbers of the volumes.
        """
        on_tape = [part for part in parts if part.extent is not None]
        stride = -(-len(on_tape) // _MOST_STEPS) or 1
        heads = on_tape[::stride]
        edges = [0, *(part.start for part in heads[1:]), MAX_OFFSET]
        for at, (begin, end) in enumerate(pairwise(edges)):
            self.container.append(container)
            self.begin.append(begin)
            self.end.append(end)
            group = on_tape[at * stride : (at + 1) * stride]
            self.wanted.append(sum(part.end - part.start for part in group))
            self._place(heads[at] if heads else None, numbers)

    def _place(self, part: Part | None, numbers: Mapping[str, int]) -> None:
        if part is None or part.extent is None or part.volume is None:
            volume, partition, first, count = UNKNOWN, 0, UNKNOWN, 0
        else:
            extent, size = part.extent, part.volume.label.block_size
            raw = extent.skip + part.first
            volume, partition = numbers[part.volume.name], extent.partition
            first = extent.block + raw // size
            count = extent.block + (raw + part.end - part.start - 1) // size + 1 - first
        self.volume.append(volume)
        self.partition.append(partition)
        self.first.append(first)
        self.count.append(count)

    def segments(self) -> Segments:
        """Return what is to be ordered."""
        columns = (self.volume, self.partition, self.first, self.count)
        return Segments(*(np.array(column, np.int64) for column in columns))

    def stretch(self, step: int) -> Stretch:
        """Return the place of a step as drives name it."""
        first = self.first[step]
        return Stretch(self.partition[step], first, first + self.count[step] - 1)

    def extent(self, step: int) -> ContainerExtent:
        """Return a step as the order callback answers it."""
        begin = self.begin[step]
        length = self.end[step] - begin
        return ContainerExtent(index=self.container[step], offset=begin, length=length)


def order_parts(
    containers: Iterable[Sequence[Part]],
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
    numbers = {name: number for number, name in enumerate(names)}
    steps = _Steps()
    for container, parts in enumerate(containers):
        steps.add(container, parts, numbers)
    tapes = {
        number: _tape(volume, at if volume.name == loaded else None)
        for number, volume in enumerate(volumes.values())
    }
    chosen = attrs.evolve(
        options or OrderOptions(), loaded=() if loaded is None else (numbers[loaded],)
    )
    ordering = order_segments(steps.segments(), tapes, chosen)
    order = ordering.order
    needs = []
    for about in ordering.volumes:
        if about.volume == UNKNOWN:
            continue
        part = order[about.first : about.first + about.count]
        name, kept = names[about.volume], str(about.kept)
        if math.isnan(about.locate_s) and name == loaded and recommends is not None:
            advised = _advised(volumes[name], steps, part, recommends)
            if advised is not None:
                part[:] = part[advised]
                kept = "as the drive recommends"
        needs.append(_need(name, steps, part, about, kept))
    return TapeOrder(tuple(steps.extent(step) for step in order), tuple(needs))


def _tape(volume: LtfsVolume, at: TapePosition | None) -> Tape:
    tape = attrs.evolve(volume.tape, unit_bytes=float(volume.label.block_size))
    if at is not None and tape.geometry is not None:
        return attrs.evolve(tape, at=(at.partition, at.block))
    return tape


def _advised(
    volume: LtfsVolume, steps: _Steps, part: Ints, recommends: Recommends
) -> Sequence[int] | None:
    """Ask the drive; what is no permutation is no advice."""
    order = recommends(volume, [steps.stretch(step) for step in part])
    if order is None or sorted(order) != list(range(len(part))):
        return None
    return order


def _need(name: str, steps: _Steps, part: Ints, about: VolumeOrder, kept: str) -> VolumeNeed:
    return VolumeNeed(
        name=name,
        containers=len(np.unique(np.frombuffer(steps.container, np.int64)[part])),
        wanted_bytes=int(np.frombuffer(steps.wanted, np.int64)[part].sum()),
        locate_s=None if math.isnan(about.locate_s) else about.locate_s,
        read_s=None if math.isnan(about.read_s) else about.read_s,
        kept=kept,
    )
