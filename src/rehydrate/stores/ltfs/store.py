"""A backup store over LTFS volumes: containers in pieces on tapes, read in the order of the tapes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Self

from rehydrate.errors import ContainerNotFoundError, RequestError, StoreError
from rehydrate.media.ordering import OrderOptions
from rehydrate.ports import Clock, SystemClock
from rehydrate.stores.ltfs.catalogue import ContainerCatalogue, Part, WholeFiles
from rehydrate.stores.ltfs.laying import Layouts
from rehydrate.stores.ltfs.mounting import Drive, Refusals
from rehydrate.stores.ltfs.ordering import Held, TapeOrder, VolumeNeed, order_parts
from rehydrate.stores.ltfs.several import Extent, Key, SeveralDrives
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountsVolumes
from rehydrate.stores.tape.stream import RING_BYTES
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StorePath

__all__ = ["AtHand", "LtfsStore"]

PATIENCE: Final = 300.0
"""Seconds for which a restore with several drives waits for a mount."""
_HOUR: Final = 3600.0
_MOST_DRIVES: Final = 64


class LtfsStore:
    """Reads containers from LTFS volumes.

    Implements :class:`~rehydrate.BackupStore` with the order, the preview and the list of
    containers. Volumes are mounted in previews; a volume that cannot be had fails only the files
    that need it. One drive is used, by one thread; or several, each by a thread of its own.
    """

    max_gap = 1 << 20
    """Unneeded bytes that are cheaper to read than to skip: they pass the head anyway."""
    max_read = 8 << 20
    """Largest sensible read in bytes."""
    read_timeout = _HOUR
    """Seconds for a read: a drive may wind the tape twice and try for minutes."""

    def __init__(
        self,
        volumes: Iterable[LtfsVolume],
        mounts: MountsVolumes,
        *,
        catalogue: ContainerCatalogue | None = None,
        order: OrderOptions | None = None,
        drives: int = 1,
        ring_bytes: int = RING_BYTES,
        patience: float = PATIENCE,
        loaded: Mapping[int, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Bind; nothing is mounted yet.

        Args:
            volumes: The volumes, the preferred ones first.
            mounts: Puts volumes into the drives.
            catalogue: Where containers are; the files of the volumes by default.
            order: Choices for the order of reading.
            drives: Drives that are used at a time, 1 to 64.
            ring_bytes: Most bytes that are read ahead by each drive.
            patience: Seconds for which a restore with several drives waits for a mount. Then the
                other drives go on, and this volume is read at the end of the round.
            loaded: Volumes that are in drives at the beginning, by number of the drive, from 0: they
                come first in orders.
            clock: The clock; the real one by default.

        Raises:
            RequestError: With code ``"tape.volumes"`` if two volumes have the same name or the
                same identity: which of them is meant could not be told; with code
                ``"tape.options"`` if the number of drives is out of range, or ``loaded`` names
                what is not there, or a volume twice.
        """
        if not 1 <= drives <= _MOST_DRIVES:
            raise RequestError(f"drives: 1 to {_MOST_DRIVES}, not {drives}", code="tape.options")
        given = tuple(volumes)
        self._volumes = {volume.name: volume for volume in given}
        identities = {volume.label.volume_uuid: volume.name for volume in given}
        if len(self._volumes) != len(given) or len(identities) != len(given):
            raise RequestError(_twins(given), code="tape.volumes")
        known = WholeFiles(given) if catalogue is None else catalogue
        self._layouts = Layouts(known, self._volumes)
        self._options = order
        self._drives = drives
        self._at_first = _held(loaded or {}, self._volumes, drives)
        self._refusals = Refusals(SystemClock() if clock is None else clock)
        self._drive = Drive(mounts, ring_bytes, self._refusals)
        self._several: SeveralDrives | None = None
        if drives > 1:
            self._several = SeveralDrives(
                mounts, self._volumes, self._refusals, drives=drives, ring_bytes=ring_bytes,
                patience=patience, fetch=self._layouts.read,
            )  # fmt: skip

    @property
    def concurrent_reads(self) -> int:
        """Reads that may be in flight at a time: 1 with one drive."""
        return 1 if self._several is None else self._several.in_flight

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the drives back."""
        self.close()

    def close(self) -> None:
        """Give the drives back; the volumes stay in them."""
        if self._several is not None:
            self._several.close()
        self._drive.close()

    def ask_again(self) -> None:
        """Ask again for volumes that could not be had before."""
        self._refusals.failed.clear()

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return all parts of the containers in the order in which the tapes give them soonest.

        Containers that are not known, or damaged in an index, come last, so that their reads say
        what is wrong. With several drives the answer takes from them in turns; within a volume the
        order is the same.

        Args:
            containers: The containers of the round.
        """
        made = self._order(containers)
        if self._several is None:
            self._drive.expect(made.volumes)
        else:
            self._several.expect(containers, made)
        return made.extents

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Mount the volume, go to the first read, and begin to read ahead.

        With several drives only the mount is waited for, and not without end; the drive does the
        rest by itself.

        Args:
            path: The container.
            reads: What is going to be read.

        Raises:
            NotReadyError: The volume comes later.
            StoreError: It cannot be had, or the drive cannot go there.
        """
        if not reads:
            return
        whole = (path, reads[0].offset, reads[-1].end - reads[0].offset)
        for part, _, _ in self._layouts.between(whole):
            wanted = [read for read in reads if read.offset < part.end and read.end > part.start]
            if part.volume is None or part.extent is None or not wanted:
                continue
            key = (path, reads[0].offset)
            go = partial(_announce, part, wanted, self._until(part, wanted, key))
            if self._several is None:
                go(self._drive)
                return
            places = [(path, read.offset, read.length) for read in reads]
            places = [at for at in places if self._layouts.volumes(at) == {part.volume}]
            self._several.preview(Extent(key, part.volume, go, places))
            return

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes; fewer only where the container ends.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            ContainerNotFoundError: No catalogue knows it, or it is not on its volume.
            StoreError: It cannot be read.
        """
        place, layouts = (path, offset, size), self._layouts
        volumes = set() if self._several is None else layouts.volumes(place)
        if self._several is None or not volumes:
            return layouts.read(self._drive, place)
        if len(volumes) == 1:
            return self._several.read(volumes.pop(), place)
        return b"".join(
            self.read_backup_file(path, first, end - first)
            for _, first, end in layouts.between(place)
        )

    def _until(self, part: Part, wanted: Sequence[FileExtent], key: Key) -> int:
        """Return where to stop reading ahead: at the last read that is not located for.

        If these reads take all of a slice, the next slice is read ahead, too: its reads are shown
        only when it is its drive's turn again.
        """
        end = _first_stretch(wanted, part.volume)
        cut = None if self._several is None else self._several.end_of(key)
        if cut is not None and end == wanted[-1].end and end + self.max_gap >= cut:
            return part.end
        return min(end, part.end)

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the containers in a folder, from the catalogue.

        Args:
            folder: Store path of the folder.
        """
        return self._layouts.names(folder)

    def volumes_needed(self, containers: Sequence[StorePath]) -> tuple[VolumeNeed, ...]:
        """Tell which volumes some containers need, in the order of mounts; nothing is mounted.

        Args:
            containers: The containers, such as those of a plan.
        """
        return self._order(containers).volumes

    def missing_volumes(
        self, container: StorePath, at_hand: Collection[str]
    ) -> tuple[str, ...] | None:
        """Tell which volumes a container needs besides those at hand.

        Args:
            container: The container.
            at_hand: Names of the volumes that can be mounted.

        Returns:
            Their names, sorted; ``None`` if the container cannot be had from any volumes.
        """
        try:
            parts = self._layouts.parts(container)
        except StoreError:
            return None
        if any(part.volume is None for part in parts):
            return None
        tapes = {part.volume.name for part in parts if part.volume and part.extent}
        return tuple(sorted(tapes - set(at_hand)))

    def at_hand(self, volumes: Collection[str]) -> "AtHand":
        """Return the store as if it had only some volumes: what can be restored from these?

        Plan or restore with the answer: files that need other volumes fail, all others do not.

        Args:
            volumes: Names of the volumes that can be mounted.

        Raises:
            RequestError: With code ``"tape.volumes"`` if one is not known.
        """
        unknown = sorted(set(volumes) - set(self._volumes))
        if unknown:
            raise RequestError(f"there is no volume {unknown[0]!r}", code="tape.volumes")
        return AtHand(self, frozenset(volumes))

    def _order(self, containers: Sequence[StorePath]) -> TapeOrder:
        drive, several = self._drive, self._several
        alone = () if drive.held is None else (drive.held,)
        held = alone if several is None else several.held()
        return order_parts(
            (self._layouts.placed(path) for path in containers),
            self._volumes,
            drives=self._drives,
            held=held or self._at_first,
            options=self._options,
            recommends=drive.recommended if several is None else several.recommended,
        )


class AtHand(Wrapper):
    """A :class:`LtfsStore` with some of its volumes; the others are not asked for."""

    def __init__(self, store: LtfsStore, volumes: frozenset[str]) -> None:
        """Bind.

        Args:
            store: The store.
            volumes: Names of the volumes at hand.
        """
        super().__init__(store)
        self._tapes, self._volumes = store, volumes
        self.concurrent_reads = store.concurrent_reads

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Order what is at hand; the other containers are left out, which fails their files.

        Args:
            containers: The containers of the round.
        """
        places = [at for at, path in enumerate(containers) if not self._missing(path)]
        answer = self._tapes.order_containers_restore([containers[at] for at in places])
        return [
            ContainerExtent(index=places[one.index], offset=one.offset, length=one.length)
            for one in answer
        ]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Prepare reads; see :meth:`LtfsStore.preview_container_read`.

        Args:
            path: The container.
            reads: What is going to be read.
        """
        self._refuse(path)
        super().preview_container_read(path, reads)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read; see :meth:`LtfsStore.read_backup_file`.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            ContainerNotFoundError: The container needs other volumes; they are named.
        """
        self._refuse(path)
        return super().read_backup_file(path, offset, size)

    def _missing(self, path: StorePath) -> tuple[str, ...]:
        missing = self._tapes.missing_volumes(path, self._volumes)
        return ("?",) if missing is None else missing

    def _refuse(self, path: StorePath) -> None:
        missing = self._missing(path)
        if missing:
            raise ContainerNotFoundError(
                f"{path} needs volumes that are not at hand: {', '.join(missing)}",
                code="tape.not-at-hand",
                container=path,
            )


def _held(loaded: Mapping[int, str], volumes: Collection[str], drives: int) -> tuple[Held, ...]:
    """Return what is in drives at the beginning; a volume can be in one only."""
    names = set(loaded.values())
    known = names <= set(volumes) and set(loaded) <= set(range(drives))
    if not known or len(names) != len(loaded):
        raise RequestError(
            "loaded: volumes and drives of this store, each once", code="tape.options"
        )
    return tuple(Held(number, name) for number, name in sorted(loaded.items()))


def _announce(part: Part, reads: Sequence[FileExtent], until: int, drive: Drive) -> None:
    """Let a drive go to the first of some reads and read ahead up to a byte of the container."""
    if part.volume is not None and part.extent is not None:
        shift = part.first - part.start
        first = max(reads[0].offset, part.start)
        drive.reader(part.volume).announce(part.extent, first + shift, until + shift)


def _first_stretch(reads: Sequence[FileExtent], volume: LtfsVolume | None) -> int:
    """Return the end of what is read in one go: all, unless gaps are located over."""
    end = reads[0].end
    for read in reads:
        if volume and volume.full_blocks and read.offset - end > volume.read_through:
            break
        end = read.end
    return end


def _twins(volumes: Sequence[LtfsVolume]) -> str:
    """Say which two volumes are alike."""
    seen: dict[object, LtfsVolume] = {}
    for volume in volumes:
        for key in (volume.name, volume.label.volume_uuid):
            if key in seen:
                return f"{seen[key].name} and {volume.name} are both volume {key}"
            seen[key] = volume
    return "two volumes are alike"
