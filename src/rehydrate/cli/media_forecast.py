"""What a plan takes when containers lie on the volumes that a media file names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs
import numpy as np

from rehydrate.cli.sizes import counted
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError
from rehydrate.media.media_file import MediaFile, Piece, parse_media
from rehydrate.media.ordering import Ordering, OrderOptions, order_segments
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import schedule
from rehydrate.plan.estimates import PlanEstimates, PlannedMedium
from rehydrate.plan.read_plan import PlannedExtent, PlannedRound, ReadPlan
from rehydrate.plan.tape_estimates import estimate_tapes
from rehydrate.protocols import BackupStore
from rehydrate.values import ContainerExtent, ReadableBuffer, StoreId, StorePath

__all__ = ["MediaForecast"]

_LARGEST: Final = 256 << 20
_Key = tuple[StorePath, int]


@attrs.define(eq=False)
class _Needs:
    """What the data round reads: one element for each piece of a container."""

    keys: list[_Key]
    pieces: list[Piece]
    segments: Segments
    ordering: Ordering

    def ranks(self) -> dict[_Key, int]:
        """Return the step at which each piece is read."""
        return {self.keys[number]: step for step, number in enumerate(self.ordering.order.tolist())}


class MediaForecast:
    """Implements :class:`~rehydrate.cli.plan_output.Forecast` for tapes.

    The order is that of what is needed, so a plan is made first to find that out.
    """

    def __init__(self, media: MediaFile, at_hand: frozenset[int] | None) -> None:
        """Begin without a plan.

        Args:
            media: What lies where.
            at_hand: Numbers of the volumes that can be mounted; ``None`` = all.
        """
        self._media, self._at_hand = media, at_hand
        self._tapes = {number: volume.tape for number, volume in enumerate(media.volumes)}
        self._names = {number: volume.name for number, volume in enumerate(media.volumes)}
        self._loaded = tuple(n for n, volume in enumerate(media.volumes) if volume.loaded)
        self._needs: _Needs | None = None
        self._ready: int | None = None

    @classmethod
    def open(cls, path: Path, at_hand: str | None) -> Self:
        """Read a media file.

        Args:
            path: The file.
            at_hand: Names of volumes that are at hand, with commas between; ``None`` = all.

        Raises:
            RequestError: The file cannot be read, or a name is not in it.
            CorruptMetadataError: It is no media file.
        """
        try:
            with path.open("rb") as stream:
                text = stream.read(_LARGEST + 1)
        except OSError as error:
            raise RequestError(f"cannot read the media file {path}: {error.strerror}") from error
        if len(text) > _LARGEST:
            raise RequestError(f"the media file {path} is larger than {_LARGEST} bytes")
        media = parse_media(text.decode("utf-8", "replace"))
        if at_hand is None:
            return cls(media, None)
        numbers = {volume.name: number for number, volume in enumerate(media.volumes)}
        names = [name.strip() for name in at_hand.split(",") if name.strip()]
        missing = [name for name in names if name not in numbers]
        if missing:
            raise RequestError(f"--at-hand: {path} has no volume {', '.join(missing)}")
        return cls(media, frozenset(numbers[name] for name in names))

    def stores(self, stores: Mapping[StoreId, BackupStore], /) -> Mapping[StoreId, BackupStore]:
        """Return stores with the order of the volumes.

        Args:
            stores: The stores.
        """
        self._needs = self._ready = None
        return {owner: _Ordered(store, self) for owner, store in stores.items()}

    @property
    def looks_first(self) -> bool:
        """A plan tells what is needed."""
        return True

    def learn(self, plan: ReadPlan, /) -> None:
        """Order what a plan needs.

        Args:
            plan: A plan with another order.
        """
        planned = plan.round("data")
        spans: dict[_Key, tuple[Piece, int, int]] = {}
        for extent in planned.extents:
            key, piece = self._place(planned, extent)
            _, first, end = spans.get(key, (piece, extent.first, extent.end))
            spans[key] = piece, min(first, extent.first), max(end, extent.end)
        rows = [self._segment(*span) for span in spans.values()]
        columns = np.array(rows, np.int64).reshape(-1, 4).T
        segments = Segments(*columns)
        wanted = {piece.volume: None for piece, _, _ in spans.values()}
        before = [*self._loaded, *sorted(self._at_hand or ())]
        options = OrderOptions(
            drives=self._media.drives,
            loaded=tuple(number for number in dict.fromkeys(before) if number in wanted),
        )
        self._needs = _Needs(
            keys=list(spans),
            pieces=[piece for piece, _, _ in spans.values()],
            segments=segments,
            ordering=order_segments(segments, self._tapes, options),
        )

    def estimates(self, found: SketchedPlan, /) -> PlanEstimates | None:
        """Tell what the plan takes.

        Args:
            found: The plan, with the order that was learned.
        """
        needs = self._needs
        if needs is None:
            return None
        planned = found.plan.round("data")
        ranks = needs.ranks()
        indexes = {path: index for index, path in enumerate(planned.containers)}
        mounts = schedule(
            needs.ordering, self._tapes, drives=self._media.drives, loaded=self._loaded
        )
        places = [self._place(planned, extent) for extent in planned.extents]
        estimates = estimate_tapes(
            needs.segments,
            needs.ordering,
            mounts,
            tapes=self._tapes,
            names=self._names,
            kinds={number: volume.kind for number, volume in enumerate(self._media.volumes)},
            containers=np.array([indexes[path] for path, _ in needs.keys], np.int64),
            steps=np.array([ranks[key] for key, _ in places], np.int64),
        )
        sizes: dict[int, int] = {}
        for extent, (_, piece) in zip(planned.extents, places, strict=True):
            sizes[piece.volume] = sizes.get(piece.volume, 0) + extent.bytes_to_read
        if self._at_hand is not None:
            self._ready = sum(sizes.get(number, 0) for number in self._at_hand)
        media = tuple(
            attrs.evolve(
                medium,
                bytes_to_read=sizes[mount.volume],
                note=medium.note if self._here(mount.volume) else f"NOT AT HAND; {medium.note}",
            )
            for medium, mount in zip(estimates.media, mounts, strict=True)
        )
        notes = tuple(self._notes(found, needs, media))
        return attrs.evolve(estimates, media=media, notes=(*estimates.notes, *notes))

    def order(self, containers: Sequence[StorePath]) -> list[ContainerExtent]:
        """Return the order of a round: as learned, else by volume and place.

        Before anything was learned it is that of the containers, as if there were no volumes.

        Args:
            containers: The containers of the round.
        """
        needs = self._needs
        ranks = {} if needs is None else needs.ranks()
        found: list[tuple[tuple[int, ...], ContainerExtent]] = []
        for index, path in enumerate(containers):
            for piece in self._media.pieces(path):
                rank = ranks.get((path, piece.offset))
                place = () if needs is None else _logical(piece)
                key = (1, *place, index, piece.offset) if rank is None else (0, rank)
                extent = ContainerExtent(
                    index=index, offset=piece.offset, length=piece.end - piece.offset
                )
                found.append((key, extent))
        return [extent for _, extent in sorted(found, key=lambda pair: pair[0])]

    @property
    def ready_bytes(self) -> int | None:
        """Bytes from the volumes at hand; they come first."""
        return self._ready

    def _here(self, volume: int) -> bool:
        return self._at_hand is None or volume in self._at_hand

    def _place(self, planned: PlannedRound, extent: PlannedExtent) -> tuple[_Key, Piece]:
        path = planned.containers[extent.container]
        piece = self._media.piece_at(path, extent.first)
        return (path, piece.offset), piece

    def _segment(self, piece: Piece, first: int, end: int) -> tuple[int, int, int, int]:
        """Return volume, partition, address and number of addresses of a part of a piece."""
        if piece.volume == UNKNOWN:
            return UNKNOWN, 0, UNKNOWN, end - first
        unit = self._media.volumes[piece.volume].unit
        begin, stop = (first - piece.offset) // unit, -(-(end - piece.offset) // unit)
        start = UNKNOWN if piece.start == UNKNOWN else piece.start + begin
        return piece.volume, piece.partition, start, stop - begin

    def _notes(
        self, found: SketchedPlan, needs: _Needs, media: Sequence[PlannedMedium]
    ) -> list[str]:
        ordering = needs.ordering
        mounts = counted(ordering.mounts, "mount")
        notes = [
            f"{counted(len(media), 'volume')} needed, {mounts} ({ordering.mounts_asked:,} as asked)"
        ]
        homeless = len({key[0] for key, piece in zip(needs.keys, needs.pieces, strict=True)
                        if piece.volume == UNKNOWN})  # fmt: skip
        if homeless:
            notes.append(
                f"{counted(homeless, 'container')} on no volume of the media file: read last, and"
                " not in the times"
            )
        maps = [piece.volume for path in found.plan.round("stream").containers
                for piece in self._media.pieces(path) if piece.volume != UNKNOWN]  # fmt: skip
        if maps:
            homes = ", ".join(self._names[number] for number in sorted(set(maps)))
            notes.append(f"stream maps come first and lie on {homes}: not in the times")
        names = {medium.name for medium in media}
        drawn = [volume.tape.geometry for volume in self._media.volumes if volume.name in names]
        if any(geometry is not None and not geometry.reported for geometry in drawn):
            notes.append("wraps are assumed to be of native size where the file has no wrap_ends")
        if self._ready is not None and found.sketch is not None:
            finish = found.sketch.finish
            ready = int(np.count_nonzero((finish >= 0) & (finish <= self._ready)))
            others = {piece.volume for piece in needs.pieces if not self._here(piece.volume)}
            rest = ", ".join(self._names.get(n, "a volume not known") for n in sorted(others))
            notes.append(
                f"{ready:,} of {counted(len(finish), 'file')} with data from the volumes at hand"
                + (f"; the others also need {rest}" if rest else "")
            )
        return notes


def _logical(piece: Piece) -> tuple[int, int, int, int]:
    """Return what the logical order goes by; what is not known comes last."""
    return (piece.volume == UNKNOWN, piece.volume, piece.partition, piece.start)


class _Ordered:
    """A store with the order of a forecast; all else is the store's."""

    def __init__(self, store: BackupStore, forecast: MediaForecast) -> None:
        self._store, self._forecast = store, forecast

    def __getattr__(self, name: str) -> object:
        """Return what the store has; the engine asks by name."""
        found: object = getattr(self._store, name)
        return found

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read as the store does."""
        return self._store.read_backup_file(path, offset, size)

    def order_containers_restore(self, containers: Sequence[StorePath], /) -> list[ContainerExtent]:
        """Return the order that the media want."""
        return self._forecast.order(containers)
