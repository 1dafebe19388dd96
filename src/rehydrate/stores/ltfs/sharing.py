"""Deals an order of tapes out to several drives, so that all of them are busy.

Volumes go to drives whole: a volume is only ever in one of them. The answer to the order callback
takes from the drives in turns, by the time at which each piece is predicted to be read; where times
are not known, those of a common drive are taken. Large pieces are cut into slices for that, since what reads them has
only a few reads in flight. Within a volume the order stays as it was.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.media.geometry import FORMATS, Floats, Ints
from rehydrate.media.locate import model_of
from rehydrate.media.ordering import Ordering, VolumeOrder
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN
from rehydrate.media.volumes import Mount, schedule, step_ends

__all__ = ["Shared", "Stay", "share"]

_NOMINAL: Final = model_of(FORMATS["LTO-8"])
"""Times of a drive where nothing is known of it; only the proportions count."""
_SLICE_BYTES: Final = 16 << 20
"""Bytes of a container that are taken from a drive at a turn: two of the largest reads."""
_MOST_SLICES: Final = 64  # of a container: the limit of the contract
_FEW_SLICES: Final = 1 << 19  # of an answer, or as many again as it has steps, if these are more


@attrs.frozen
class Stay:
    """One stay of a volume in a drive.

    Attributes:
        about: The volume's part of the order.
        drive: Number of the drive.
        wanted_s: When the drive is free for it; ``None`` = not known.
        ready_s: When reading begins; ``None`` = not known.
        done_s: When the last of it is read; ``None`` = not known.
        last: Number of its last slice.
    """

    about: VolumeOrder
    drive: int
    wanted_s: float | None
    ready_s: float | None
    done_s: float | None
    last: int


@attrs.frozen(eq=False)
class Shared:
    """An order for several drives, in slices of steps.

    Attributes:
        order: Steps, volume after volume, as they were ordered.
        step: The step of each slice, in the order of the answer.
        first: First byte of each slice, counted from the beginning of its step.
        end: First byte behind it; of no meaning for the last slice of a step.
        final: Whether it is the last slice of its step.
        mounts: Stays of volumes in drives, in the order in which they begin.
    """

    order: Ints
    step: Ints
    first: Ints
    end: Ints
    final: npt.NDArray[np.bool_]
    mounts: tuple[Stay, ...]


def share(
    ordering: Ordering,
    tapes: Mapping[int, Tape],
    wanted: Ints,
    container: Ints,
    *,
    drives: Mapping[int, int],
    count: int,
) -> Shared:
    """Deal an order out to drives.

    Args:
        ordering: The order.
        tapes: What is known of each volume.
        wanted: Bytes of each step.
        container: Container of each step, ascending.
        drives: Volumes that are in drives already, by drive.
        count: Number of drives.
    """
    order = ordering.order
    guessed = _guessed(ordering, wanted)
    if count > 1:
        guessed = attrs.evolve(guessed, volumes=_longest_first(guessed, drives))
        tapes = {at: attrs.evolve(tape, model=tape.model or _NOMINAL) for at, tape in tapes.items()}
    seats = [*drives, *(drive for drive in range(count) if drive not in drives)]
    mounts = schedule(guessed, tapes, drives=count, loaded=tuple(drives.values()))
    mounts = tuple(attrs.evolve(mount, drive=seats[mount.drive]) for mount in mounts)
    if len({mount.drive for mount in mounts}) <= 1:
        return _alone(ordering, mounts)
    slices = _slices(wanted[order], order, container)
    position = np.repeat(np.arange(len(order)), slices)
    within = np.arange(len(position)) - np.repeat(np.cumsum(slices) - slices, slices)
    pieces = slices[position]
    size = wanted[order][position] // pieces
    ends = _ends(guessed, mounts, position, (within + 1) / pieces)
    turn = np.lexsort((np.arange(len(position)), ends))
    place = np.empty(len(turn), np.int64)
    place[turn] = np.arange(len(turn))
    return Shared(
        order=order,
        step=order[position[turn]],
        first=(within * size)[turn],
        end=((within + 1) * size)[turn],
        final=(within + 1 == pieces)[turn],
        mounts=_stays(ordering, mounts, place[np.cumsum(slices) - 1]),
    )


def _alone(ordering: Ordering, mounts: Sequence[Mount]) -> Shared:
    """Return the order as it is: one drive reads all."""
    order = ordering.order
    zeros, final = np.zeros(1, np.int64), np.ones(1, np.bool_)
    return Shared(
        order=order,
        step=order,
        first=np.broadcast_to(zeros, order.shape),
        end=np.broadcast_to(zeros, order.shape),
        final=np.broadcast_to(final, order.shape),
        mounts=_stays(ordering, mounts, np.arange(len(order))),
    )


def _guessed(ordering: Ordering, wanted: Ints) -> Ordering:
    """Fill in times that are not known: reading at a common rate, no positioning."""
    nominal = wanted[ordering.order] / _NOMINAL.native_rate
    read = np.where(np.isnan(ordering.read_s), nominal, ordering.read_s)
    locate = np.nan_to_num(ordering.locate_s)
    volumes = []
    for about in ordering.volumes:
        steps = slice(about.first, about.first + about.count)
        read_s, locate_s = float(read[steps].sum()), float(locate[steps].sum())
        volumes.append(attrs.evolve(about, read_s=read_s, locate_s=locate_s))
    return attrs.evolve(ordering, read_s=read, locate_s=locate, volumes=tuple(volumes))


def _longest_first(ordering: Ordering, drives: Mapping[int, int]) -> tuple[VolumeOrder, ...]:
    loaded = set(drives.values())

    def key(about: VolumeOrder) -> tuple[bool, bool, float, int]:
        seconds = about.locate_s + about.read_s
        unknown = about.volume == UNKNOWN
        return unknown, about.volume not in loaded, -seconds, about.volume

    return tuple(sorted(ordering.volumes, key=key))


def _slices(wanted: Ints, order: Ints, container: Ints) -> Ints:
    """Return the number of slices of each step: enough, but bounded for containers and in all."""
    steps = np.bincount(container) if len(container) else np.zeros(0, np.int64)
    most = np.maximum(_MOST_SLICES // np.maximum(steps, 1), 1)[container[order]]
    size = max(_SLICE_BYTES, int(wanted.sum()) // max(_FEW_SLICES, len(order)))
    return np.clip(-(-wanted // size), 1, most).astype(np.int64)


def _ends(ordering: Ordering, mounts: Sequence[Mount], position: Ints, part: Floats) -> Floats:
    """Return when each slice is read, never before the one before it on its volume."""
    ends = step_ends(ordering, mounts)
    found = ends[position] - ordering.read_s[position] * (1 - part)
    for about in ordering.volumes:
        first, last = np.searchsorted(position, (about.first, about.first + about.count))
        found[first:last] = np.maximum.accumulate(found[first:last])
    return found


def _stays(ordering: Ordering, mounts: Sequence[Mount], last: Ints) -> tuple[Stay, ...]:
    """Return the stays with the times that are known, in the order in which they begin.

    Args:
        ordering: The order.
        mounts: The stays.
        last: Number of the last slice of each step.
    """
    known = {about.volume: about for about in ordering.volumes}
    told: dict[int, bool] = {}
    stays = []
    for mount in sorted(mounts, key=lambda mount: mount.wanted_s):
        about = known[mount.volume]
        times = not np.isnan(about.locate_s + about.read_s)
        before = told.get(mount.drive, True)
        told[mount.drive] = before and times
        stays.append(
            Stay(
                about, mount.drive, mount.wanted_s if before else None,
                mount.ready_s if before else None,
                mount.done_s if before and times else None,
                int(last[about.first + about.count - 1]),
            )
        )  # fmt: skip
    return tuple(stays)
