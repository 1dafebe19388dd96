"""From the parts of containers to the order callback's answer, and to the list of volumes.

A part of a container that lies on tape is one step; holes go with the step before them. Steps are
ordered over all containers and volumes at once, by :mod:`rehydrate.media.ordering`, and with several
drives dealt out to these by :mod:`rehydrate.stores.ltfs.sharing`.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import attrs
import numpy as np

from rehydrate.media.geometry import Ints
from rehydrate.media.ordering import Ordering, OrderOptions, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.stores.ltfs.catalogue import Part
from rehydrate.stores.ltfs.sharing import Shared, Stay, share
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import Stretch, TapePosition
from rehydrate.values import MAX_OFFSET, ContainerExtent

__all__ = ["Held", "Recommends", "TapeOrder", "VolumeNeed", "order_parts"]

_BLOCK: Final = 4096  # extents that are made at a time
_MOST_STEPS: Final = 64  # of a container, so that answers stay below the limit of the contract

Recommends = Callable[[LtfsVolume, Sequence[Stretch]], Sequence[int] | None]
"""Asks the drive that holds a volume for its order of stretches; ``None`` = no recommendation."""


@attrs.frozen
class Held:
    """A volume that is in a drive already.

    Attributes:
        drive: Number of the drive.
        volume: Name of the volume.
        at: Where its head is, as far as is known.
    """

    drive: int
    volume: str
    at: TapePosition | None = None


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
        drive: The drive that it goes into, from 0.
        wanted_s: When that drive is free for it, in predicted seconds from the beginning; ``None``
            = not known, as for all volumes that come into a drive behind one of unknown times.
        ready_s: When it is mounted and reading begins; ``None`` = not known.
        done_s: When the last of it is read; ``None`` = not known.
        sure: Whether a container lies on it alone, so that it is mounted in any case.
    """

    name: str
    containers: int
    wanted_bytes: int
    locate_s: float | None
    read_s: float | None
    kept: str
    drive: int = 0
    wanted_s: float | None = None
    ready_s: float | None = None
    done_s: float | None = None
    sure: bool = False

    @property
    def seconds(self) -> float | None:
        """Predicted seconds of positioning and reading; of reading only where that is all that is known."""
        if self.locate_s is None or self.read_s is None:
            return self.read_s
        return self.locate_s + self.read_s


@attrs.frozen
class TapeOrder:
    """The answer of the order callback, and what it means for people.

    Attributes:
        extents: The answer.
        volumes: Volumes in the order of their mounts.
        ends: For each of the volumes, the number of its last extent in the answer.
    """

    extents: tuple[ContainerExtent, ...]
    volumes: tuple[VolumeNeed, ...]
    ends: tuple[int, ...]


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
    sure: set[int] = attrs.field(factory=set)

    def add(self, container: int, parts: Sequence[Part], numbers: Mapping[str, int]) -> None:
        """Cut a container before each part on tape; the first step begins at 0, the last is endless.

        Args:
            container: Its number.
            parts: Its parts.
            numbers: Numbers of the volumes.
        """
        on_tape = [part for part in parts if part.extent is not None]
        where = {numbers[part.volume.name] if part.volume else UNKNOWN for part in parts}
        if len(where) == 1 and len(on_tape) == len(parts):
            self.sure |= where
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

    def column(self, name: str) -> Ints:
        """Return one of the columns as an array.

        Args:
            name: Its name.
        """
        return np.array(getattr(self, name), np.int64)


def order_parts(
    containers: Iterable[Sequence[Part]],
    volumes: Mapping[str, LtfsVolume],
    *,
    drives: int = 1,
    held: Sequence[Held] = (),
    options: OrderOptions | None = None,
    recommends: Recommends | None = None,
) -> TapeOrder:
    """Order all parts of some containers.

    Args:
        containers: The parts of each container; empty where nothing is known: it comes last.
        volumes: The volumes by name, in the order in which they are preferred.
        drives: Drives that read at a time.
        held: What is in the drives; these volumes come first.
        options: Choices; drives, and which volumes are loaded, are filled in here.
        recommends: Asks the drive where no geometry is known, or one is only assumed: the drive
            knows its tape.
    """
    names = list(volumes)
    numbers = {name: number for number, name in enumerate(names)}
    steps = _Steps()
    for container, parts in enumerate(containers):
        steps.add(container, parts, numbers)
    places = {one.volume: one.at for one in held}
    tapes = {
        number: _tape(volume, places.get(volume.name))
        for number, volume in enumerate(volumes.values())
    }
    loaded = tuple(numbers[one.volume] for one in held)
    chosen = attrs.evolve(options or OrderOptions(), drives=drives, loaded=loaded)
    ordering = order_segments(steps.segments(), tapes, chosen)
    kept = {about.volume: str(about.kept) for about in ordering.volumes}
    if recommends is not None:
        for place, about in enumerate(ordering.volumes):
            if about.volume not in loaded or _is_reported(volumes[names[about.volume]]):
                continue
            part = ordering.order[about.first : about.first + about.count]
            advised = _advised(volumes[names[about.volume]], steps, part, recommends)
            if advised is not None:
                ordering = _as_advised(ordering, place, advised)
                kept[about.volume] = "as the drive recommends"
    sharing = share(
        ordering,
        tapes,
        steps.column("wanted"),
        steps.column("container"),
        drives=dict(zip((one.drive for one in held), loaded, strict=True)),
        count=drives,
    )
    return TapeOrder(
        _extents(sharing, steps),
        tuple(
            _need(names[mount.about.volume], steps, sharing, mount, kept[mount.about.volume])
            for mount in sharing.mounts
        ),
        tuple(mount.last for mount in sharing.mounts),
    )


def _extents(sharing: Shared, steps: _Steps) -> tuple[ContainerExtent, ...]:
    """Return the answer of the order callback: steps, or slices of them."""
    begin, end, container = (steps.column(name) for name in ("begin", "end", "container"))

    def block(part: slice) -> Iterator[ContainerExtent]:
        step = sharing.step[part]
        first = begin[step] + sharing.first[part]
        last = np.where(sharing.final[part], end[step], begin[step] + sharing.end[part])
        columns = (container[step].tolist(), first.tolist(), (last - first).tolist())
        for index, offset, length in zip(*columns, strict=True):
            yield ContainerExtent(index=index, offset=offset, length=length)

    blocks = range(0, len(sharing.step), _BLOCK)
    return tuple(one for at in blocks for one in block(slice(at, at + _BLOCK)))


def _tape(volume: LtfsVolume, at: TapePosition | None) -> Tape:
    tape = attrs.evolve(volume.tape, unit_bytes=float(volume.label.block_size))
    if at is not None and tape.geometry is not None:
        return attrs.evolve(tape, at=(at.partition, at.block))
    return tape


def _advised(
    volume: LtfsVolume, steps: _Steps, part: Ints, recommends: Recommends
) -> list[int] | None:
    """Ask the drive, in the logical order; what is no permutation is no advice."""
    stretches = [steps.stretch(step) for step in part]
    places = [(stretch.partition, stretch.first) for stretch in stretches]
    logical = sorted(range(len(part)), key=places.__getitem__)
    order = recommends(volume, [stretches[at] for at in logical])
    if order is None or sorted(order) != list(range(len(part))):
        return None
    return [logical[at] for at in order]


def _is_reported(volume: LtfsVolume) -> bool:
    """Return whether the drive told where wraps end."""
    return volume.tape.geometry is not None and volume.tape.geometry.reported


def _as_advised(ordering: Ordering, place: int, advised: Sequence[int]) -> Ordering:
    """Return an ordering with the order of the drive for a volume, whose locates nobody priced."""
    about = ordering.volumes[place]
    part = slice(about.first, about.first + about.count)
    order, read, locate = ordering.order.copy(), ordering.read_s.copy(), ordering.locate_s.copy()
    order[part], read[part], locate[part] = order[part][advised], read[part][advised], math.nan
    volumes = list(ordering.volumes)
    volumes[place] = attrs.evolve(about, locate_s=math.nan)
    return attrs.evolve(ordering, order=order, read_s=read, locate_s=locate, volumes=tuple(volumes))


def _need(name: str, steps: _Steps, sharing: Shared, mount: Stay, kept: str) -> VolumeNeed:
    about = mount.about
    part = sharing.order[about.first : about.first + about.count]
    return VolumeNeed(
        name=name,
        containers=len(np.unique(steps.column("container")[part])),
        wanted_bytes=int(steps.column("wanted")[part].sum()),
        locate_s=None if math.isnan(about.locate_s) else about.locate_s,
        read_s=None if math.isnan(about.read_s) else about.read_s,
        kept=kept,
        drive=mount.drive,
        wanted_s=mount.wanted_s,
        ready_s=mount.ready_s,
        done_s=mount.done_s,
        sure=about.volume in steps.sure,
    )
