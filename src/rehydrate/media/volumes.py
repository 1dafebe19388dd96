"""Which volume goes into which drive when, what is ready when, and what needs no further mount."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import RequestError
from rehydrate.media.geometry import Floats, Ints
from rehydrate.media.ordering import Ordering
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments, logical_order

__all__ = ["Mount", "batches", "complete_files", "schedule", "step_ends"]


MAX_DRIVES: Final = 10_000


@attrs.frozen
class Mount:
    """One stay of a volume in a drive.

    Times are seconds from the beginning of the restore. What is not known counts nothing, so that
    they are lower bounds where the geometry or the model of a volume is missing.

    Attributes:
        volume: Number of the volume.
        drive: Number of the drive, from 0.
        wanted_s: When the volume is wanted: the drive is free then.
        ready_s: When reading begins.
        done_s: When the last of its segments is read.
        free_s: When it is rewound and unloaded; ``done_s`` for the last volume of a drive.
    """

    volume: int
    drive: int
    wanted_s: float
    ready_s: float
    done_s: float
    free_s: float

    @property
    def needed_s(self) -> float:
        """Seconds for which the volume is needed, from wanted to free."""
        return self.free_s - self.wanted_s


def schedule(
    ordering: Ordering,
    tapes: Mapping[int, Tape],
    *,
    drives: int = 1,
    loaded: Sequence[int] = (),
    leave_s: Sequence[float] = (),
) -> tuple[Mount, ...]:
    """Give volumes to drives: each volume once, the next one to the drive that is free first.

    Args:
        ordering: The order; with several drives it has the longest volumes first, which keeps the
            last drive from working alone for long.
        tapes: What is known of each volume.
        drives: Drives that read at a time.
        loaded: Volumes in drives at the beginning, by drive; they need no load.
        leave_s: Seconds of the way back to the load point for each of them, where they were read
            before.

    Raises:
        RequestError: With code ``"tape.options"`` if there are more volumes loaded than drives.
    """
    if not 1 <= drives <= MAX_DRIVES or len(loaded) > drives or len(set(loaded)) != len(loaded):
        raise RequestError("drives and the volumes in them do not match", code="tape.options")
    free, holds = [0.0] * drives, [*loaded, *[UNKNOWN] * (drives - len(loaded))]
    used = [False] * drives
    mounts: list[Mount] = []
    for part in ordering.volumes:
        if part.volume == UNKNOWN:
            continue
        drive = _drive(part.volume, free, holds)
        model = tapes.get(part.volume, Tape()).model
        wanted = free[drive]
        in_place = holds[drive] == part.volume and not used[drive]
        load = 0.0 if model is None or in_place else model.load_s + model.change_s
        if holds[drive] != UNKNOWN and not in_place and not used[drive]:
            load += _known(model.unload_s if model else 0.0)
            load += leave_s[drive] if drive < len(leave_s) else 0.0
        ready = wanted + load
        done = ready + _known(part.locate_s) + _known(part.read_s)
        free[drive] = done + _known(part.rewind_s) + (model.unload_s if model else 0.0)
        holds[drive], used[drive] = part.volume, True
        mounts.append(Mount(part.volume, drive, wanted, ready, done, free[drive]))
    last = {mount.drive: place for place, mount in enumerate(mounts)}
    return tuple(
        attrs.evolve(mount, free_s=mount.done_s) if last[mount.drive] == place else mount
        for place, mount in enumerate(mounts)
    )


def _drive(volume: int, free: list[float], holds: list[int]) -> int:
    """Choose the drive that holds the volume, else the one free first; empty ones before full."""
    if volume in holds:
        return holds.index(volume)
    return min(range(len(free)), key=lambda drive: (free[drive], holds[drive] != UNKNOWN, drive))


def _known(seconds: float) -> float:
    return 0.0 if np.isnan(seconds) else seconds


def step_ends(ordering: Ordering, mounts: Sequence[Mount]) -> Floats:
    """Return when each step is done, in seconds from the beginning.

    Args:
        ordering: The order.
        mounts: What :func:`schedule` made of it. Steps without a mount (their volume is not
            known, or could not be mounted) are never done: infinite.
    """
    ready = {mount.volume: mount.ready_s for mount in mounts}
    each = np.nan_to_num(ordering.locate_s) + np.nan_to_num(ordering.read_s)
    ends = np.empty(len(each))
    for part in ordering.volumes:
        steps = slice(part.first, part.first + part.count)
        ends[steps] = ready.get(part.volume, np.inf) + np.cumsum(each[steps])
    return ends


def batches(segments: Segments, most: int) -> Iterator[Ints]:
    """Cut the logically sorted list of each volume for a drive that orders by itself.

    A list cut as asked can be worse than no order at all: each batch would go over the whole tape.

    Args:
        segments: What is wanted; those without a volume or a place are left out.
        most: Most segments that a drive takes at a time (its limits page tells).

    Yields:
        Segments of one batch, at most ``most``, of one volume, in logical order. Batches of one
        volume have about the same size.

    Raises:
        RequestError: With code ``"tape.options"`` if ``most`` is not positive.
    """
    if most < 1:
        raise RequestError("a drive takes at least one segment", code="tape.options")
    placed = np.flatnonzero((segments.volume != UNKNOWN) & (segments.start != UNKNOWN))
    for volume in np.unique(segments.volume[placed]).tolist():
        order = logical_order(segments, placed[segments.volume[placed] == volume])
        yield from np.array_split(order, -(-len(order) // most))


def complete_files(
    files: int, file: Ints, volume: Ints, at_hand: Collection[int]
) -> npt.NDArray[np.bool_]:
    """Tell which files can be restored from the volumes at hand alone.

    Args:
        files: Number of files.
        file: File of each need.
        volume: Volume that the need lies on; one that is not known is never at hand.
        at_hand: Volumes that can be mounted.

    Returns:
        Shape ``(files,)``; files without needs are complete.
    """
    complete = np.ones(files, np.bool_)
    wanted = np.array(sorted(set(at_hand) - {UNKNOWN}), np.int64)
    complete[file[~np.isin(volume, wanted)]] = False
    return complete
