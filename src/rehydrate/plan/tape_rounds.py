"""The rounds of a plan whose containers lie on volumes: their order, their mounts, their times.

A restore reads all stream maps before any data, and one chunk store after the other. Each round has
an order of its own, so a volume with maps and data is wanted twice; what is in a drive when a round
ends is there when the next one begins.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.media.geometry import Floats
from rehydrate.media.media_file import MediaFile, Piece
from rehydrate.media.ordering import Ordering, OrderOptions, VolumeOrder, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import Mount, schedule, step_ends
from rehydrate.plan.estimates import DATA, MAPS, PlanEstimates
from rehydrate.plan.read_plan import PlannedRound
from rehydrate.plan.tape_estimates import estimate_tapes
from rehydrate.values import MAX_OFFSET, StorePath

__all__ = ["Drives", "PieceKey", "TapeRound", "order_round"]

PieceKey: TypeAlias = tuple[StorePath, int]
"""A container and the first byte of a piece of it."""

_PHASES: Final = {"stream": MAPS, "data": DATA}


@attrs.frozen(eq=False)
class Drives:
    """The drives at a moment of the restore.

    Attributes:
        now_s: Seconds since the start.
        holds: Volumes in the drives, by drive; drives behind these are empty.
        leave_s: Seconds of the way back to the load point, by drive.
        heads: Partition and address of the head, by volume, where they are known.
    """

    now_s: float = 0.0
    holds: tuple[int, ...] = ()
    leave_s: tuple[float, ...] = ()
    heads: Mapping[int, tuple[int, int]] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class _Places:
    """The pieces of the containers of a round, by container and offset."""

    pieces: Sequence[Piece]
    owner: Ints
    offset: Ints

    @classmethod
    def of(cls, planned: PlannedRound, media: MediaFile) -> "_Places":
        """Look containers up.

        Args:
            planned: The round.
            media: What lies where.
        """
        each = [media.pieces(path) for path in planned.containers]
        pieces = [piece for found in each for piece in found]
        owner = np.repeat(np.arange(len(each)), np.array([len(found) for found in each], np.int64))
        return cls(pieces, owner, np.array([piece.offset for piece in pieces], np.int64))

    def find(self, container: Ints, offset: Ints) -> Ints:
        """Return the piece that holds each byte.

        Args:
            container: Index of its container.
            offset: The byte.
        """
        values, rank = np.unique(np.concatenate((self.offset, offset)), return_inverse=True)
        width, count = max(len(values), 1), len(self.offset)
        keys = self.owner * width + rank[:count]
        found: Ints = np.searchsorted(keys, container * width + rank[count:], side="right") - 1
        return found

    def segments(self, used: Ints, low: Ints, high: Ints, media: MediaFile) -> Segments:
        """Return the needed parts of some pieces.

        Args:
            used: The pieces.
            low: First needed byte of each, in the container.
            high: First byte behind.
            media: The volumes.
        """
        chosen = [self.pieces[piece] for piece in used.tolist()]
        rows = [(piece.volume, piece.partition, piece.start) for piece in chosen]
        volume, partition, start = np.array(rows, np.int64).reshape(-1, 3).T
        # Numbers of volumes end with that of none, whose addresses are bytes.
        unit = np.array([*(each.unit for each in media.volumes), 1], np.int64)[volume]
        offset = self.offset[used]
        begin, stop = (low - offset) // unit, -(-(high - offset) // unit)
        # What would end beyond all addresses is beyond the end of any tape, too.
        place = np.minimum(start, MAX_OFFSET - stop) + begin
        known = (start != UNKNOWN) & (volume != UNKNOWN)
        return Segments(volume, partition, np.where(known, place, UNKNOWN), stop - begin)


@attrs.frozen(eq=False)
class TapeRound:
    """A round that is ordered; its elements are the pieces that are needed.

    Attributes:
        kind: ``"stream"`` or ``"data"``.
        begin_s: When it begins, in seconds from the start of the restore.
        segments: What is needed of each piece.
        ordering: Their order, volume after volume.
        mounts: Stays in drives, in seconds from the start of the restore.
        rank: Place of each piece in the order of reading. With several drives that is the order of
            the ends of reading, so that all of them have something to do.
        keys: Which pieces they are.
        before: The drives at the beginning.
        after: The drives at the end.
    """

    kind: str
    begin_s: float
    segments: Segments
    ordering: Ordering
    mounts: tuple[Mount, ...]
    rank: Ints
    keys: Sequence[PieceKey]
    before: Drives
    after: Drives
    _media: MediaFile
    _tapes: Mapping[int, Tape]
    _places: _Places
    _used: Ints

    @property
    def homeless(self) -> set[StorePath]:
        """Containers with a needed piece on no volume."""
        lost = np.flatnonzero(self.segments.volume == UNKNOWN)
        return {self.keys[piece][0] for piece in lost.tolist()}

    def sizes(self, planned: PlannedRound) -> Mapping[int, int]:
        """Return the bytes that are read from each volume.

        Args:
            planned: The round, with the order that was found.
        """
        volume = self.segments.volume[self._elements(planned)] - UNKNOWN
        sums = np.zeros(len(self._media.volumes) + 1, np.int64)
        np.add.at(sums, volume, _columns(planned)[3])
        return {index + UNKNOWN: total for index, total in enumerate(sums.tolist())}

    def estimates(self, planned: PlannedRound) -> PlanEstimates:
        """Tell what the round takes.

        Args:
            planned: The round, with the order that was found.
        """
        media, ordering = self._media, self.ordering
        step = np.empty(len(ordering.order), np.int64)
        step[ordering.order] = np.arange(len(step))
        data = self.kind == "data"
        found = estimate_tapes(
            self.segments,
            ordering,
            self.mounts,
            tapes=self._tapes,
            names={number: volume.name for number, volume in enumerate(media.volumes)},
            kinds={number: volume.kind for number, volume in enumerate(media.volumes)},
            containers=self._places.owner[self._used] if data else None,
            steps=step[self._elements(planned)] if data else None,
            phase=_PHASES[self.kind],
            drives=media.drives,
            loaded=self.before.holds,
        )
        sizes, boxes = self.sizes(planned), self._places.owner[self._used]
        counts = {
            part.volume: len(np.unique(boxes[ordering.order[part.first : part.first + part.count]]))
            for part in ordering.volumes
        }
        return attrs.evolve(
            found,
            media=tuple(
                attrs.evolve(
                    medium,
                    bytes_to_read=sizes[mount.volume],
                    containers=counts[mount.volume],
                )
                for medium, mount in zip(found.media, self.mounts, strict=True)
            ),
        )

    def _elements(self, planned: PlannedRound) -> Ints:
        container, first, _, _ = _columns(planned)
        found: Ints = np.searchsorted(self._used, self._places.find(container, first))
        return found


def order_round(
    planned: PlannedRound, media: MediaFile, drives: Drives, at_hand: Collection[int] | None
) -> TapeRound:
    """Order what a round needs: from the first needed byte of a piece to the last.

    Args:
        planned: The round, with any order.
        media: What lies where.
        drives: The drives when it begins.
        at_hand: Volumes that come before others; ``None`` = all are alike.
    """
    places = _Places.of(planned, media)
    container, first, end, _ = _columns(planned)
    piece = places.find(container, first)
    used, element = np.unique(piece, return_inverse=True)
    low, high = np.full(len(used), MAX_OFFSET), np.zeros(len(used), np.int64)
    np.minimum.at(low, element, first)
    np.maximum.at(high, element, end)
    segments = places.segments(used, low, high, media)
    tapes = {
        number: attrs.evolve(volume.tape, at=drives.heads.get(number))
        for number, volume in enumerate(media.volumes)
    }
    wanted = set(segments.volume.tolist())
    ordering = order_segments(
        segments,
        tapes,
        OrderOptions(
            drives=media.drives,
            loaded=tuple(volume for volume in drives.holds if volume in wanted),
        ),
    )
    stages = _stages(ordering, at_hand)
    mounts, after = _mounted(ordering, stages, tapes, media.drives, drives)
    return TapeRound(
        kind=planned.kind,
        begin_s=drives.now_s,
        segments=segments,
        ordering=ordering,
        mounts=mounts,
        rank=_ranks(ordering, stages, mounts, media.drives),
        keys=[
            (planned.containers[box], offset)
            for box, offset in zip(
                places.owner[used].tolist(), places.offset[used].tolist(), strict=True
            )
        ],
        before=drives,
        after=attrs.evolve(after, heads=_heads(after, segments, ordering, tapes)),
        media=media,
        tapes=tapes,
        places=places,
        used=used,
    )


def _columns(planned: PlannedRound) -> tuple[Ints, Ints, Ints, Ints]:
    """Return container, first byte, end and bytes to read of each extent."""
    rows = [(each.container, each.first, each.end, each.bytes_to_read) for each in planned.extents]
    container, first, end, size = np.array(rows, np.int64).reshape(-1, 4).T
    return container, first, end, size


def _stages(
    ordering: Ordering, at_hand: Collection[int] | None
) -> tuple[tuple[VolumeOrder, ...], ...]:
    """Return what is at hand, what is not, and what lies on no volume."""
    known = [part for part in ordering.volumes if part.volume != UNKNOWN]
    here = [part for part in known if at_hand is None or part.volume in at_hand]
    away = [part for part in known if not (at_hand is None or part.volume in at_hand)]
    lost = [part for part in ordering.volumes if part.volume == UNKNOWN]
    return tuple(here), tuple(away), tuple(lost)


def _mounted(
    ordering: Ordering,
    stages: Sequence[Sequence[VolumeOrder]],
    tapes: Mapping[int, Tape],
    count: int,
    drives: Drives,
) -> tuple[tuple[Mount, ...], Drives]:
    """Give volumes to drives, stage after stage."""
    mounts: list[Mount] = []
    back = {part.volume: float(np.nan_to_num(part.rewind_s)) for part in ordering.volumes}
    for stage in stages:
        part = attrs.evolve(ordering, volumes=tuple(stage))
        found = schedule(part, tapes, drives=count, loaded=drives.holds, leave_s=drives.leave_s)
        now = drives.now_s
        mounts += [
            Mount(
                volume=mount.volume,
                drive=mount.drive,
                wanted_s=now + mount.wanted_s,
                ready_s=now + mount.ready_s,
                done_s=now + mount.done_s,
                free_s=now + mount.free_s,
            )
            for mount in found
        ]
        last = {mount.drive: mount.volume for mount in found}
        holds = [*drives.holds, *[UNKNOWN] * (count - len(drives.holds))]
        leave = [*drives.leave_s, *[0.0] * (count - len(drives.leave_s))]
        for drive, volume in last.items():
            holds[drive], leave[drive] = volume, back[volume]
        full = sum(volume != UNKNOWN for volume in holds)
        drives = Drives(
            now_s=now + max((mount.done_s for mount in found), default=0.0),
            holds=tuple(holds[:full]),
            leave_s=tuple(leave[:full]),
            heads=drives.heads,
        )
    return tuple(mounts), drives


def _heads(
    after: Drives, segments: Segments, ordering: Ordering, tapes: Mapping[int, Tape]
) -> Mapping[int, tuple[int, int]]:
    """Return where heads are, of volumes that are still in drives."""
    heads = {volume: head for volume, head in after.heads.items() if volume in after.holds}
    for part in ordering.volumes:
        if part.volume not in after.holds or tapes[part.volume].geometry is None:
            continue
        mine = ordering.order[part.first : part.first + part.count]
        placed = mine[(segments.start[mine] != UNKNOWN) & (segments.length[mine] > 0)]
        if len(placed) and np.isfinite(part.locate_s):
            last = placed[-1]
            address = segments.start[last] + segments.length[last] - 1
            heads[part.volume] = int(segments.partition[last]), int(address)
    return heads


def _ranks(
    ordering: Ordering,
    stages: Sequence[Sequence[VolumeOrder]],
    mounts: Sequence[Mount],
    drives: int,
) -> Ints:
    steps = np.arange(len(ordering.order))
    stage = np.zeros(len(steps), np.int64)
    for number, parts in enumerate(stages):
        for part in parts:
            stage[part.first : part.first + part.count] = number
    ends: Floats = step_ends(ordering, mounts) if drives > 1 else steps.astype(np.float64)
    rank = np.empty(len(steps), np.int64)
    rank[ordering.order[np.lexsort((steps, ends, stage))]] = steps
    return rank
