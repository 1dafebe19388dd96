"""What a plan takes when containers lie in a directory and on tapes, as inventories tell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.cli.media_forecast import MediaForecast
from rehydrate.cli.plan_output import Forecast
from rehydrate.cli.sources import Source
from rehydrate.cli.tapes import TapedNative, TapedVolume, Tapes
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError, RestoreError
from rehydrate.media.media_file import GENERIC, MAX_PIECES, MediaFile, Piece, Volume
from rehydrate.plan.estimates import PlanEstimates
from rehydrate.plan.read_plan import PlannedRound, ReadPlan
from rehydrate.protocols import BackupStore
from rehydrate.stores.ltfs.beside import TapedStore
from rehydrate.stores.ltfs.catalogue import Part, lay_out
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import MAX_OFFSET, ContainerExtent, StoreId, StorePath

__all__ = ["TapeForecast", "media_of", "tape_forecast"]

_WORDS: Final = (
    ("of the media file", "of --tapes"),
    ("where the file gives partitions", "where the inventory has no ends of wraps"),
)


def tape_forecast(source: Source, at_hand: str | None) -> Forecast | None:
    """Return who knows about the tapes of a source; None if it has none.

    Args:
        source: The source.
        at_hand: Barcodes of volumes that are at hand, with commas between; ``None`` = all.

    Raises:
        RequestError: There is no inventory of a volume that was named.
    """
    if not isinstance(source, TapedNative | TapedVolume):
        return None
    tapes = source.tapes
    if at_hand is None:
        return TapeForecast(media_of(tapes), None)
    numbers = {each.volume.name: number for number, each in enumerate(tapes.inventories)}
    upper = {name.upper(): name for name in numbers}
    given = [name.strip() for name in at_hand.split(",") if name.strip()]
    names = [name if name in numbers else upper.get(name.upper(), name) for name in given]
    missing = [name for name in names if name not in numbers]
    if missing:
        raise RequestError(f"--at-hand: there is no inventory of {', '.join(missing)}")
    return TapeForecast(media_of(tapes), frozenset(numbers[name] for name in names))


def media_of(tapes: Tapes) -> MediaFile:
    """Return inventories as if a media file told the same.

    Args:
        tapes: The tapes.
    """
    volumes = tuple(
        Volume(
            name=each.volume.name,
            kind=each.generation or GENERIC,
            unit=each.volume.label.block_size,
            tape=each.volume.tape,
            loaded=False,
        )
        for each in tapes.inventories
    )
    return MediaFile(volumes=volumes, drives=tapes.drives, exact=_Places(tapes), patterns=())


class _Places(Mapping[str, tuple[Piece, ...]]):
    """The pieces of containers, looked up when somebody asks."""

    def __init__(self, tapes: Tapes) -> None:
        self._files = tapes.files
        self._volumes = {each.volume.name: each.volume for each in tapes.inventories}
        self._numbers = {name: number for number, name in enumerate(self._volumes)}

    def __getitem__(self, path: str) -> tuple[Piece, ...]:
        try:
            parts = lay_out(self._files.pieces(StorePath(path)), self._volumes)
        except RestoreError as error:
            raise KeyError(path) from error  # its read says what is wrong
        placed = [part for part in parts if part.extent is not None]
        if not placed:
            raise KeyError(path)
        return tuple(self._pieces(placed[:MAX_PIECES]))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _pieces(self, parts: Sequence[Part]) -> Iterator[Piece]:
        """Return pieces that follow each other: holes, and what is too much, go with those before."""
        for number, part in enumerate(parts):
            last = number + 1 == len(parts)
            if part.volume is not None and part.extent is not None:
                yield Piece(
                    offset=part.start if number else 0,
                    end=MAX_OFFSET if last else parts[number + 1].start,
                    volume=self._numbers[part.volume.name],
                    partition=part.extent.partition,
                    start=part.extent.block,
                )


class TapeForecast:
    """Implements :class:`~rehydrate.cli.plan_output.Forecast`: the directory first, then the tapes.

    What lies in the directory takes no time.
    """

    def __init__(self, media: MediaFile, at_hand: frozenset[int] | None) -> None:
        """Begin without a plan.

        Args:
            media: What lies where.
            at_hand: Numbers of the volumes that can be mounted; ``None`` = all.
        """
        self._inner = MediaForecast(media, at_hand)
        self._both: dict[StoreId, TapedStore] = {}
        self._here_bytes = 0

    def stores(self, stores: Mapping[StoreId, BackupStore], /) -> Mapping[StoreId, BackupStore]:
        """Return stores with the order of directory and tapes.

        Args:
            stores: The stores.
        """
        self._here_bytes = 0
        ordered = self._inner.stores(stores)
        taped = {owner: store for owner, store in stores.items() if isinstance(store, TapedStore)}
        self._both |= taped
        return {
            owner: _DirectoryFirst(store, taped[owner]) if owner in taped else store
            for owner, store in ordered.items()
        }

    @property
    def looks_first(self) -> bool:
        """A plan tells what is needed."""
        return True

    def learn(self, plan: ReadPlan, /) -> None:
        """Order what a plan needs of the tapes.

        Args:
            plan: A plan with another order.
        """
        self._inner.learn(self._taped(plan))

    @property
    def ready_bytes(self) -> int | None:
        """Bytes from the directory and the volumes at hand; they come first."""
        ready = self._inner.ready_bytes
        return None if ready is None else ready + self._here_bytes

    def estimates(self, found: SketchedPlan, /) -> PlanEstimates | None:
        """Tell what the plan takes.

        Args:
            found: The plan, with the order that was learned.
        """
        data = found.plan.round("data")
        taped = self._taped(found.plan)
        here = len(data.extents) - len(taped.round("data").extents)
        self._here_bytes = sum(extent.bytes_to_read for extent in data.extents[:here])
        sketch = found.sketch
        if sketch is not None:
            finish = np.where(sketch.finish < 0, sketch.finish, sketch.finish - self._here_bytes)
            first = (sketch.finish >= 0) & (finish < 0)
            sketch = attrs.evolve(sketch, finish=np.where(first, 0, finish))
        whole = self._inner.estimates(attrs.evolve(found, plan=taped, sketch=sketch))
        if whole is None:
            return PlanEstimates(notes=("no tape is needed: all of it is in the directory",))
        times = whole.extent_seconds
        if times and here:
            begin = whole.data_seconds or whole.begin_seconds
            whole = attrs.evolve(whole, extent_seconds=((begin, begin),) * here + times)
        notes = [*whole.notes]
        for words, ours in _WORDS:
            notes = [note.replace(words, ours) for note in notes]
        return attrs.evolve(whole, notes=tuple(notes))

    def _taped(self, plan: ReadPlan) -> ReadPlan:
        """Return a plan without what lies in the directory."""
        both = self._both.get(plan.store)
        if both is None:
            return plan
        return attrs.evolve(plan, rounds=tuple(_taped_round(each, both) for each in plan.rounds))


def _taped_round(planned: PlannedRound, both: TapedStore) -> PlannedRound:
    here = [both.here(path) for path in planned.containers]
    extents = tuple(extent for extent in planned.extents if not here[extent.container])
    return attrs.evolve(planned, extents=extents)


class _DirectoryFirst(Wrapper):
    """The store of a forecast, which orders tapes, with what is in the directory before them."""

    def __init__(self, store: BackupStore, both: TapedStore) -> None:
        super().__init__(store)
        self._both = both

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent] | None:
        here = [index for index, path in enumerate(containers) if self._both.here(path)]
        away = [index for index, path in enumerate(containers) if not self._both.here(path)]
        answer = super().order_containers_restore([containers[index] for index in away]) or ()
        return [
            *(ContainerExtent(index=index, offset=0, length=MAX_OFFSET) for index in here),
            *(
                ContainerExtent(index=away[one.index], offset=one.offset, length=one.length)
                for one in answer
            ),
        ]
