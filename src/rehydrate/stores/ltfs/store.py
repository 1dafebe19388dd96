"""A backup store over LTFS volumes: containers in pieces on tapes, read in the order of the tapes."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, Self

from rehydrate.errors import (
    ContainerNotFoundError,
    RequestError,
    RestoreError,
    StoreError,
    StoreReadError,
)
from rehydrate.media.ordering import OrderOptions
from rehydrate.ports import Clock, SystemClock
from rehydrate.stores.ltfs.catalogue import ContainerCatalogue, Part, WholeFiles, lay_out
from rehydrate.stores.ltfs.mounting import Drive
from rehydrate.stores.ltfs.ordering import TapeOrder, VolumeNeed, order_parts
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountsVolumes
from rehydrate.stores.tape.stream import RING_BYTES
from rehydrate.values import ContainerExtent, FileExtent, StorePath

__all__ = ["AtHand", "LtfsStore"]

_HOUR: Final = 3600.0
_MOST_LAID: Final = 1024  # containers whose parts are kept between reads


class LtfsStore:
    """Reads containers from LTFS volumes.

    Implements :class:`~rehydrate.BackupStore` with the order, the preview and the list of
    containers. One drive is used, by one thread. Volumes are mounted in previews; a volume that
    cannot be had fails only the files that need it.
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
        ring_bytes: int = RING_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """Bind; nothing is mounted yet.

        Args:
            volumes: The volumes, the preferred ones first.
            mounts: Puts volumes into the drive.
            catalogue: Where containers are; the files of the volumes by default.
            order: Choices for the order of reading.
            ring_bytes: Most bytes that are read ahead.
            clock: The clock; the real one by default.

        Raises:
            RequestError: With code ``"tape.volumes"`` if two volumes have the same name or the
                same identity: which of them is meant could not be told.
        """
        given = tuple(volumes)
        self._volumes = {volume.name: volume for volume in given}
        identities = {volume.label.volume_uuid: volume.name for volume in given}
        if len(self._volumes) != len(given) or len(identities) != len(given):
            raise RequestError(_twins(given), code="tape.volumes")
        self._catalogue = WholeFiles(given) if catalogue is None else catalogue
        self._options = order
        self._drive = Drive(mounts, ring_bytes, SystemClock() if clock is None else clock)
        self._laid: dict[StorePath, tuple[Part, ...] | StoreError] = {}

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the drive back."""
        self.close()

    def close(self) -> None:
        """Give the drive back; the volume stays in it."""
        self._drive.close()

    def ask_again(self) -> None:
        """Ask again for volumes that could not be had before."""
        self._drive.ask_again()

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return all parts of the containers in the order in which the tapes give them soonest.

        Containers that are not known, or damaged in an index, come last, so that their reads say
        what is wrong.

        Args:
            containers: The containers of the round.
        """
        made = self._order(containers)
        self._drive.expect(made.volumes)
        return made.extents

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Mount the volume, go to the first read, and begin to read ahead.

        Args:
            path: The container.
            reads: What is going to be read.

        Raises:
            NotReadyError: The volume comes later.
            StoreError: It cannot be had, or the drive cannot go there.
        """
        if not reads:
            return
        for part in _between(self._parts(path), reads[0].offset, reads[-1].end):
            wanted = [read for read in reads if read.offset < part.end and read.end > part.start]
            if part.volume is None or part.extent is None or not wanted:
                continue
            shift = part.first - part.start
            first = max(wanted[0].offset, part.start)
            end = min(_first_stretch(wanted, part.volume), part.end)
            self._drive.reader(part.volume).announce(part.extent, first + shift, end + shift)
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
        pieces = []
        for part in _between(self._parts(path), offset, offset + size):
            first, end = max(part.start, offset), min(part.end, offset + size)
            if part.volume is None:
                raise StoreReadError(
                    "the catalogue has no piece with these bytes", code="tape.catalogue",
                    container=path, offset=first, length=end - first, retryable=False,
                )  # fmt: skip
            if part.extent is None:
                pieces.append(bytes(end - first))
            else:
                reader = self._drive.reader(part.volume)
                pieces.append(
                    reader.read(part.extent, first + part.first - part.start, end - first)
                )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the containers in a folder, from the catalogue.

        Args:
            folder: Store path of the folder.
        """
        return self._catalogue.names(folder)

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
            parts = self._parts(container)
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
        return order_parts(
            (self._placed(path) for path in containers),
            self._volumes,
            loaded=self._drive.loaded,
            at=self._drive.at,
            options=self._options,
            recommends=self._drive.recommended,
        )

    def _placed(self, path: StorePath) -> tuple[Part, ...]:
        """Lay a container out for its order; there may be millions, so nothing is kept."""
        found = self._lay(path)
        return () if isinstance(found, StoreError) else found

    def _parts(self, path: StorePath) -> tuple[Part, ...]:
        found = self._laid.get(path)
        if found is None:
            if len(self._laid) >= _MOST_LAID:
                self._laid.clear()
            found = self._laid[path] = self._lay(path)
        if isinstance(found, StoreError):
            raise found
        return found

    def _lay(self, path: StorePath) -> tuple[Part, ...] | StoreError:
        pieces = self._catalogue.pieces(path)
        if not pieces:
            return ContainerNotFoundError(f"no volume has {path!r}", container=path)
        try:
            return lay_out(pieces, self._volumes)
        except StoreError as error:
            return error.at(container=path)
        except RestoreError as error:
            problem = StoreReadError(
                error.message, code=error.code, container=path, retryable=False
            )
            problem.__cause__ = error
            return problem


class AtHand:
    """A :class:`LtfsStore` with some of its volumes; the others are not asked for."""

    max_gap = LtfsStore.max_gap
    max_read = LtfsStore.max_read
    read_timeout = LtfsStore.read_timeout

    def __init__(self, store: LtfsStore, volumes: frozenset[str]) -> None:
        """Bind.

        Args:
            store: The store.
            volumes: Names of the volumes at hand.
        """
        self._store, self._volumes = store, volumes

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Order what is at hand; the other containers are left out, which fails their files.

        Args:
            containers: The containers of the round.
        """
        places = [at for at, path in enumerate(containers) if not self._missing(path)]
        answer = self._store.order_containers_restore([containers[at] for at in places])
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
        self._store.preview_container_read(path, reads)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Read; see :meth:`LtfsStore.read_backup_file`.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            ContainerNotFoundError: The container needs other volumes; they are named.
        """
        self._refuse(path)
        return self._store.read_backup_file(path, offset, size)

    def _missing(self, path: StorePath) -> tuple[str, ...]:
        missing = self._store.missing_volumes(path, self._volumes)
        return ("?",) if missing is None else missing

    def _refuse(self, path: StorePath) -> None:
        missing = self._missing(path)
        if missing:
            raise ContainerNotFoundError(
                f"{path} needs volumes that are not at hand: {', '.join(missing)}",
                code="tape.not-at-hand",
                container=path,
            )


def _first_stretch(reads: Sequence[FileExtent], volume: LtfsVolume) -> int:
    """Return the end of what is read in one go: all, unless gaps are located over."""
    end = reads[0].end
    for read in reads:
        if volume.full_blocks and read.offset - end > volume.read_through:
            break
        end = read.end
    return end


def _between(parts: Sequence[Part], offset: int, end: int) -> Iterator[Part]:
    """Return the parts that have bytes of a range."""
    at = max(bisect_right(parts, offset, key=attrgetter("start")) - 1, 0)
    while at < len(parts) and parts[at].start < end:
        if parts[at].end > offset:
            yield parts[at]
        at += 1


def _twins(volumes: Sequence[LtfsVolume]) -> str:
    """Say which two volumes are alike."""
    seen: dict[object, LtfsVolume] = {}
    for volume in volumes:
        for key in (volume.name, volume.label.volume_uuid):
            if key in seen:
                return f"{seen[key].name} and {volume.name} are both volume {key}"
            seen[key] = volume
    return "two volumes are alike"
