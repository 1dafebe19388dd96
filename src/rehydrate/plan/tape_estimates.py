"""From the order of segments on tapes to what a plan shows of it: media, orders, drawings, times."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.errors import LimitError
from rehydrate.media.geometry import BANDS, TapeGeometry
from rehydrate.media.ordering import Ordering, VolumeOrder
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import Mount, step_ends
from rehydrate.plan.estimates import (
    DATA,
    ComparedOrder,
    PlanEstimates,
    PlannedMedium,
    TapeDrawing,
    TapePass,
)
from rehydrate.plan.ranges import indexes

__all__ = ["MOST_PASSES", "estimate_tapes"]

MOST_PASSES: Final = 5000
"""Stretches of a tape that are kept for its drawing."""


def estimate_tapes(
    segments: Segments,
    ordering: Ordering,
    mounts: Sequence[Mount],
    *,
    tapes: Mapping[int, Tape],
    names: Mapping[int, str],
    kinds: Mapping[int, str] | None = None,
    containers: Ints | None = None,
    steps: Ints | None = None,
    phase: str = DATA,
    drives: int = 1,
    loaded: Collection[int] = (),
) -> PlanEstimates:
    """Tell what reading segments from tapes takes.

    What is not known counts nothing; where that is so, times are said to be lower bounds.

    Args:
        segments: What is wanted.
        ordering: Their order.
        mounts: What :func:`~rehydrate.media.volumes.schedule` made of it.
        tapes: What is known of each volume.
        names: Barcode of each volume; its number where there is none.
        kinds: Kind of each volume, such as ``"LTO-9"``.
        containers: Container of each segment, as an index into the containers of the data round.
        steps: Step of the ordering at which each extent of the data round is read; without it
            nothing is told about the times of files.
        phase: What is read: ``"maps"`` or ``"data"``.
        drives: Drives that read at a time.
        loaded: Volumes that need no mount.
    """
    parts = {part.volume: part for part in ordering.volumes}
    media, drawings = [], []
    for mount in mounts:
        part, tape = parts[mount.volume], tapes.get(mount.volume, Tape())
        name = names.get(mount.volume, str(mount.volume))
        mine = ordering.order[part.first : part.first + part.count]
        unit = tape.unit_bytes if tape.geometry is None else tape.geometry.unit_bytes
        media.append(
            PlannedMedium(
                name=name, kind=(kinds or {}).get(mount.volume, ""), phase=phase,
                drive=mount.drive + 1 if drives > 1 else None,
                mounted=mount.volume not in loaded, wanted_seconds=mount.wanted_s,
                containers=0 if containers is None else len(np.unique(containers[mine])),
                bytes_to_read=round(float(segments.length[mine].sum(dtype=np.float64)) * unit),
                ready_seconds=None if tape.model is None else mount.ready_s - mount.wanted_s,
                locate_seconds=_known(part.locate_s), read_seconds=_known(part.read_s),
                rewind_seconds=None if tape.model is None else mount.free_s - mount.done_s,
                order=part.kept.value,
            )
        )  # fmt: skip
        if tape.geometry is not None:
            wrap, metres = _head(tape.geometry, tape.at)
            drawings += [
                attrs.evolve(drawing, phase=phase, at_wrap=wrap, at_m=metres)
                for drawing in _drawing(
                    segments, ordering, part, tape.geometry, name=name, containers=containers
                )
            ]
    timed = {volume for volume in parts if tapes.get(volume, Tape()).model is not None}
    done = [mount.done_s for mount in mounts if mount.volume in timed]
    return PlanEstimates(
        media=tuple(media),
        orders=_compared(ordering),
        tapes=tuple(drawings),
        ready_seconds=_sum([medium.ready_seconds for medium in media]),
        locate_seconds=_sum([medium.locate_seconds for medium in media]),
        read_seconds=_sum([medium.read_seconds for medium in media]),
        rewind_seconds=_sum([medium.rewind_seconds for medium in media]),
        total_seconds=max(done, default=None),
        at_least=_lower_bound(ordering),
        extent_seconds=_extent_seconds(ordering, mounts, steps, timed),
    )  # fmt: skip


def _compared(ordering: Ordering) -> tuple[ComparedOrder, ...]:
    return tuple(
        ComparedOrder(
            name=each.name,
            seconds=each.motion_s,
            other_seconds=_known(each.regression_s),
            taken=each.name == "best",
        )
        for each in ordering.alternatives
        if math.isfinite(each.motion_s)
    )


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _sum(seconds: Sequence[float | None]) -> float | None:
    """Return the sum, or ``None`` if a part of it, or all, is not known."""
    known = [each for each in seconds if each is not None]
    return math.fsum(known) if len(known) == len(seconds) > 0 else None


def _lower_bound(ordering: Ordering) -> bool:
    """Tell whether the time of some step on a volume is not known."""
    known = np.isfinite(ordering.locate_s) & np.isfinite(ordering.read_s)
    return any(
        not known[part.first : part.first + part.count].all()
        for part in ordering.volumes
        if part.volume != UNKNOWN
    )


def _extent_seconds(
    ordering: Ordering, mounts: Sequence[Mount], steps: Ints | None, timed: Collection[int]
) -> tuple[tuple[float, float], ...]:
    if steps is None:
        return ()
    ends = step_ends(ordering, mounts)
    for part in ordering.volumes:
        if part.volume not in timed:
            ends[part.first : part.first + part.count] = np.nan
    ends[~np.isfinite(ends)] = np.nan
    begins = ends[steps] - np.nan_to_num(ordering.read_s[steps])
    return tuple(zip(begins.tolist(), ends[steps].tolist(), strict=True))


def _head(geometry: TapeGeometry, at: tuple[int, int] | None) -> tuple[int, float]:
    """Return the wrap on which the head is, and its metres from the load point."""
    if at is None:
        return 0, 0.0
    try:
        head = geometry.heads(*(np.array([number], np.int64) for number in at))
    except LimitError:
        return 0, 0.0
    return int(head.wrap[0]), float(np.clip(head.x[0], 0.0, geometry.length_m))


def _drawing(
    segments: Segments,
    ordering: Ordering,
    part: VolumeOrder,
    geometry: TapeGeometry,
    *,
    name: str,
    containers: Ints | None,
) -> list[TapeDrawing]:
    """Draw a volume; one whose segments contradict its geometry is not the one known."""
    steps = np.arange(part.first, part.first + part.count)
    mine = ordering.order[steps]
    drawn = (segments.start[mine] != UNKNOWN) & (segments.length[mine] > 0)
    chosen, mine = steps[drawn][:MOST_PASSES], mine[drawn][:MOST_PASSES]
    partition, start = segments.partition[mine], segments.start[mine]
    end = start + segments.length[mine]
    try:
        rows, last = geometry.rows(partition, start), geometry.rows(partition, end - 1)
    except LimitError:
        return []
    # A segment is one stretch on each wrap that it touches.
    row = indexes(rows, last + 1)[:MOST_PASSES]
    which = np.repeat(np.arange(len(mine)), last - rows + 1)[:MOST_PASSES]
    first, stop = geometry.first[row], geometry.end[row]
    size = (stop - first) / geometry.length_m
    begin_m = (np.maximum(start[which], first) - first) / size
    end_m = (np.minimum(end[which], stop) - first) / size
    back = geometry.wrap[row] % 2 == 1
    metres = [
        np.clip(np.where(back, geometry.length_m - x, x), 0.0, geometry.length_m).tolist()
        for x in (begin_m, end_m)
    ]
    fresh = np.concatenate(([True], which[1:] != which[:-1]))[: len(which)]
    seconds = np.where(fresh, ordering.locate_s[chosen][which], 0.0).tolist()
    owner = [None] * len(which) if containers is None else containers[mine][which].tolist()
    passes = zip(geometry.wrap[row].tolist(), *metres, owner, seconds, strict=True)
    return [
        TapeDrawing(
            name=name, length_m=geometry.length_m, wraps=geometry.wraps, bands=BANDS,
            passes=tuple(
                TapePass(wrap=wrap, begin_m=x, end_m=y, container=box, seconds=_known(wait))
                for wrap, x, y, box, wait in passes
            ),
            left_out=int(drawn.sum()) - len(np.unique(which)),
            reported=geometry.reported,
        )
    ]  # fmt: skip
