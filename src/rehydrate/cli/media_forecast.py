"""What a plan takes when containers lie on the volumes that a media file names."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final, Self

import attrs
import numpy as np

from rehydrate.cli.sizes import counted
from rehydrate.engine.calls import store_for_plans
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError
from rehydrate.media.media_file import MediaFile, Piece, parse_media
from rehydrate.media.segments import UNKNOWN
from rehydrate.plan.estimates import PlanEstimates, after_each_other, few_names, mount_notes
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.plan.tape_rounds import Drives, PieceKey, TapeRound, order_round
from rehydrate.protocols import BackupStore
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import ContainerExtent, StoreId, StorePath

__all__ = ["MediaForecast"]

_LARGEST: Final = 256 << 20


class MediaForecast:
    """Implements :class:`~rehydrate.cli.plan_output.Forecast` for tapes.

    The order is that of what is needed, so a plan is made first to find that out.
    """

    def __init__(self, media: MediaFile, at_hand: frozenset[int] | None) -> None:
        """Begin without a plan.

        Args:
            media: What lies where.
            at_hand: Numbers of the volumes that can be mounted, besides those that are in a
                drive; ``None`` = all.
        """
        self._media = media
        loaded = tuple(n for n, volume in enumerate(media.volumes) if volume.loaded)
        self._at_hand = None if at_hand is None else at_hand | frozenset(loaded)
        self._names = {number: volume.name for number, volume in enumerate(media.volumes)}
        self._drives = Drives(holds=loaded, leave_s=(0.0,) * len(loaded))
        self._rounds: dict[str, TapeRound] = {}
        self._ranks: dict[PieceKey, int] = {}
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

        The plans of several stores follow each other as in a restore: what is in a drive at the
        end of one is there at the beginning of the next, and times go on.

        Args:
            stores: The stores.
        """
        self._rounds, self._ranks, self._ready = {}, {}, None
        return {owner: _Ordered(store, self) for owner, store in stores.items()}

    @property
    def looks_first(self) -> bool:
        """A plan tells what is needed."""
        return True

    def learn(self, plan: ReadPlan, /) -> None:
        """Order what a plan needs: stream maps, which are read first, then data.

        Args:
            plan: A plan with another order.
        """
        drives = self._drives
        for planned in plan.rounds:
            if planned.extents:
                found = order_round(planned, self._media, drives, self._at_hand)
                self._rounds[planned.kind], drives = found, found.after
                self._ranks |= zip(found.keys, found.rank.tolist(), strict=True)

    def estimates(self, found: SketchedPlan, /) -> PlanEstimates | None:
        """Tell what the plan takes.

        Args:
            found: The plan, with the order that was learned.
        """
        rounds = [
            (self._rounds[planned.kind], planned)
            for planned in found.plan.rounds
            if planned.kind in self._rounds
        ]
        if not rounds:
            return None
        begin_s = rounds[0][0].begin_s
        for mine, planned in rounds:
            self._drives = mine.after
            if planned.kind == "data" and self._at_hand is not None:
                sizes = mine.sizes(planned)
                self._ready = sum(sizes[number] for number in self._at_hand)
        parts = [mine.estimates(planned) for mine, planned in rounds]
        whole = attrs.evolve(after_each_other(parts), begin_seconds=begin_s)
        if self._at_hand is not None:
            here = {self._names[number] for number in self._at_hand}
            media = tuple(
                attrs.evolve(
                    medium,
                    at_hand=medium.name in here,
                    note="" if medium.name in here else "NOT AT HAND",
                )
                for medium in whole.media
            )
            whole = attrs.evolve(whole, media=media)
        notes = tuple(self._notes(found, [mine for mine, _ in rounds], whole))
        return attrs.evolve(whole, notes=(*whole.notes, *notes))

    def order(self, containers: Sequence[StorePath]) -> list[ContainerExtent]:
        """Return the order of a round: as learned, else by volume and place.

        Before anything was learned it is that of the containers, as if there were no volumes.

        Args:
            containers: The containers of the round.
        """
        learned, ranks = bool(self._rounds), self._ranks
        found: list[tuple[tuple[int, ...], ContainerExtent]] = []
        for index, path in enumerate(containers):
            for piece in self._media.pieces(path):
                rank = ranks.get((path, piece.offset))
                place = _logical(piece) if learned else ()
                key = (1, *place, index, piece.offset) if rank is None else (0, rank)
                extent = ContainerExtent(
                    index=index, offset=piece.offset, length=piece.end - piece.offset
                )
                found.append((key, extent))
        return [extent for _, extent in sorted(found, key=itemgetter(0))]

    @property
    def ready_bytes(self) -> int | None:
        """Bytes from the volumes at hand; they come first."""
        return self._ready

    def _notes(
        self, found: SketchedPlan, rounds: Sequence[TapeRound], whole: PlanEstimates
    ) -> Iterator[str]:
        asked = sum(mine.ordering.mounts_asked for mine in rounds)
        yield from mount_notes(whole.media, asked)
        for mine in rounds:
            if mine.homeless:
                maps = mine.kind == "stream"
                yield (
                    f"{counted(len(mine.homeless), 'container')}{' of stream maps' * maps} on no"
                    f" volume of the media file:{' read last, and' * (not maps)} not in the times"
                )
        names = {medium.name for medium in whole.media}
        drawn = [volume.tape.geometry for volume in self._media.volumes if volume.name in names]
        if any(geometry is not None and not geometry.reported for geometry in drawn):
            yield "wraps are assumed to be of native size where the file gives partitions"
        if any(medium.mounted for medium in whole.media):
            yield "until ready: what a drive takes to load; bringing and changing volumes is not in it"
        if whole.at_least:
            yield "times that are not known count nothing, so all others are lower bounds"
        if self._at_hand is not None:
            yield from self._notes_at_hand(found, rounds, self._at_hand)

    def _notes_at_hand(
        self, found: SketchedPlan, rounds: Sequence[TapeRound], at_hand: Collection[int]
    ) -> Iterator[str]:
        away = {
            mine.kind: few_names(
                [
                    self._names.get(number, "a volume not known")
                    for number in sorted(set(mine.segments.volume.tolist()) - set(at_hand))
                ]
            )
            for mine in rounds
        }
        if away.get("stream"):
            yield (
                f"stream maps lie on {away['stream']}, too: files with such maps cannot be restored"
                " without them"
            )
        if self._ready is not None and found.sketch is not None:
            finish = found.sketch.finish
            ready = int(np.count_nonzero((finish >= 0) & (finish <= self._ready)))
            rest = away.get("data")
            yield (
                f"{ready:,} of {counted(len(finish), 'file')} with data from the volumes at hand"
                + (f"; the others also need {rest}" if rest else "")
            )


def _logical(piece: Piece) -> tuple[int, int, int, int]:
    """Return what the logical order goes by; what is not known comes last."""
    return (piece.volume == UNKNOWN, piece.volume, piece.partition, piece.start)


class _Ordered(Wrapper):
    """What a plan calls of a store, with the order of a forecast."""

    def __init__(self, store: BackupStore, forecast: MediaForecast) -> None:
        super().__init__(store_for_plans(store))
        self._forecast = forecast

    @property
    def for_plans(self) -> None:
        """This is what plans call."""

    def order_containers_restore(self, containers: Sequence[StorePath], /) -> list[ContainerExtent]:
        """Return the order that the media want."""
        return self._forecast.order(containers)
