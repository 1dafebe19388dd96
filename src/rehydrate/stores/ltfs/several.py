"""Several drives at once: which volume goes where, what waits for a mount, and what is mounted ahead.

Each drive works by itself (:mod:`rehydrate.stores.ltfs.working`); a preview only hands its reads to
the drive of their volume. It waits for a mount, but not for long: then its extents are put off to
the end of the round, in their order, and the other drives go on. A volume that is certainly needed
is mounted as soon as its drive is done with the one before.
"""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from itertools import count
from types import NoneType
from typing import Final, NoReturn

import attrs
import numpy as np

from rehydrate.errors import Cancelled, NotReadyError
from rehydrate.stores.ltfs.mounting import Drive, Refusals
from rehydrate.stores.ltfs.ordering import Held, TapeOrder, VolumeNeed
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.ltfs.working import Place, WorkingDrive
from rehydrate.stores.tape.drive import MountsVolumes, Stretch
from rehydrate.values import ContainerExtent, StorePath

__all__ = ["Extent", "SeveralDrives"]

_EACH: Final = 4  # reads in flight for each drive
_MOST_IN_FLIGHT: Final = 64  # what the engine takes
_LEAST_WAIT: Final = 0.05  # seconds, so that asking again and again costs nothing

Key = tuple[StorePath, int]
"""A previewed extent: container, first byte that is read."""


@attrs.frozen
class Extent:
    """What a preview hands to a drive.

    Attributes:
        key: Which extent it is.
        volume: The volume that it lies on.
        go: Goes to its first read, and reads ahead.
        places: Those of its reads that lie on the volume as a whole.
    """

    key: Key
    volume: LtfsVolume
    go: Callable[[Drive], None]
    places: Sequence[Place]


@attrs.define
class _Later:
    """An extent that was put off: at which previews it was seen last, and before."""

    last: int
    before: int


@attrs.define(eq=False)
class _Round:
    """What the last order call told.

    Attributes:
        places: Where extents are in the answer.
        plans: For each drive the volumes that it will hold, and the last extent of each.
        high: Number of the furthest extent that was previewed.
    """

    places: "_Places"
    plans: list[deque[tuple[VolumeNeed, int]]]
    high: int = -1


class SeveralDrives:
    """The drives of a store that has more than one."""

    def __init__(
        self,
        mounts: MountsVolumes,
        volumes: dict[str, LtfsVolume],
        refusals: Refusals,
        *,
        drives: int,
        ring_bytes: int,
        patience: float,
        fetch: Callable[[Drive, Place], bytes],
    ) -> None:
        """Bind; nothing is mounted yet.

        Args:
            mounts: Puts volumes in.
            volumes: The volumes by name.
            refusals: Volumes that cannot be had.
            drives: Number of drives.
            ring_bytes: Most bytes that each drive reads ahead.
            patience: Seconds that a preview waits for a mount.
            fetch: Makes a read by a drive that has the volume.
        """
        self._mounts, self._volumes, self._refusals = mounts, volumes, refusals
        self._count, self._ring_bytes, self._fetch = drives, ring_bytes, fetch
        self._patience = max(patience, _LEAST_WAIT)
        self._lock = threading.Lock()
        self._working = self._fresh()
        self._home: dict[str, int] = {}
        self._used = [0] * drives
        self._round: _Round | None = None
        self._ticks = count(1)
        self._later: dict[str, dict[Key, _Later]] = {}
        self._tried: set[str] = set()
        self._ended: BaseException | None = None

    @property
    def in_flight(self) -> int:
        """Reads that may be in flight at a time."""
        return min(_EACH * self._count, _MOST_IN_FLIGHT)

    def held(self) -> tuple[Held, ...]:
        """Return what is in the drives, or on its way there."""
        found = []
        for number, working in enumerate(self._working):
            target, held = working.target, working.drive.held
            if held is not None and target is not None and held.volume == target.name:
                found.append(held)
            elif target is not None:
                found.append(Held(number, target.name))
        return tuple(found)

    def expect(self, paths: Sequence[StorePath], order: TapeOrder) -> None:
        """Learn the order of a round; what is left of the one before is dropped.

        Args:
            paths: Its containers.
            order: The answer.
        """
        plans: list[deque[tuple[VolumeNeed, int]]] = [deque() for _ in range(self._count)]
        for need, last in zip(order.volumes, order.ends, strict=True):
            plans[need.drive].append((need, last))
        with self._lock:
            self._round = _Round(_Places(paths, order.extents), plans)
            self._home = {need.name: need.drive for need in order.volumes}
            self._later.clear()
            self._tried.clear()
            self._ended = None
        for working in self._working:
            working.forget()
            working.drive.expect(order.volumes)

    def end_of(self, key: Key) -> int | None:
        """Return where the extent of the answer ends that a preview shows; ``None`` = not known.

        Args:
            key: Container and first byte that is read.
        """
        found = None if self._round is None else self._round.places.find(key)
        return None if found is None else found[1]

    def preview(self, extent: Extent) -> None:
        """Hand an extent to its drive, once its volume is in it.

        Args:
            extent: The extent.

        Raises:
            NotReadyError: Its turn comes later.
            StoreError: Its volume cannot be had.
        """
        drives = self._checked()
        for one in drives:
            one.all_begun()
        self._mount_ahead(extent.key, drives)
        working = self._seat(extent.volume, drives)
        self._await_turn(extent, working)
        try:
            self._refusals.check(extent.volume)
            self._await_mount(working.mount(extent.volume), extent.volume)
        except NotReadyError as error:
            self._put_off(extent, error.message, error.retry_after)
        self._later.get(extent.volume.name, {}).pop(extent.key, None)
        drive = working.drive
        working.visit(
            lambda: extent.go(drive), extent.places, lambda place: self._fetch(drive, place)
        )

    def read(self, volume: LtfsVolume, place: Place) -> bytes:
        """Return the bytes of a read.

        Args:
            volume: The volume that it lies on.
            place: The read.

        Raises:
            StoreError: It cannot be read.
        """
        drives = self._checked()
        if volume.name in self._refusals.failed:
            self._refusals.check(volume)
        working = self._seat(volume, drives)
        drive = working.drive
        return working.read(place, lambda place: self._fetch(drive, place))

    def recommended(self, volume: LtfsVolume, stretches: Sequence[Stretch]) -> Sequence[int] | None:
        """Ask the drive that has a volume for its order, if it is doing nothing else.

        Args:
            volume: The volume.
            stretches: What is wanted of it.
        """
        for working in self._working:
            if working.idle and working.drive.volume is volume:
                return working.drive.recommended(volume, stretches)
        return None

    def close(self) -> None:
        """Give the drives back; the volumes stay where they are."""
        with self._lock:
            self._home |= {one.volume: one.drive for one in self.held()}
            working, self._working = self._working, self._fresh()
        for one in working:
            one.close()

    def _fresh(self) -> list[WorkingDrive]:
        return [
            WorkingDrive(
                Drive(self._mounts, self._ring_bytes, self._refusals, number),
                in_flight=self.in_flight,
                name=f"rehydrate-drive-{number}",
            )
            for number in range(self._count)
        ]

    def _checked(self) -> list[WorkingDrive]:
        """Raise what ended a mount that nobody waits for, such as a cancellation.

        Returns:
            The drives of this call: one that nobody waits for any more must not begin anything
            with those that come after a close.
        """
        with self._lock:
            ended, self._ended = self._ended, None
            drives = self._working
        if ended is not None:
            raise ended
        return drives

    def _seat(self, volume: LtfsVolume, drives: Sequence[WorkingDrive]) -> WorkingDrive:
        """Return the drive of a volume: that of the order, else where it is, else the oldest."""
        with self._lock:
            number = self._home.get(volume.name)
            if number is None:
                number = min(
                    range(self._count),
                    key=lambda seat: (
                        not drives[seat].has(volume),
                        drives[seat].target is not None,
                        self._used[seat],
                    ),
                )
            self._used[number] = next(self._ticks)
            return drives[number]

    def _await_turn(self, extent: Extent, working: WorkingDrive) -> None:
        """Put an extent off while others of its volume wait, or others of the one in its drive.

        Those that the engine has given up never come again: that is known when the extent itself
        was seen twice since.
        """
        target = working.target
        me = self._later.get(extent.volume.name, {}).get(extent.key)
        for name in {extent.volume.name, extent.volume.name if target is None else target.name}:
            waiting = self._later.get(name)
            while waiting:
                first = next(iter(waiting))
                if first == extent.key:
                    break
                if me is None or waiting[first].last >= me.before:
                    left = self._refusals.left(name)
                    self._put_off(extent, f"the volume {name} is waited for", left)
                del waiting[first]

    def _put_off(self, extent: Extent, message: str, seconds: float) -> NoReturn:
        waiting = self._later.setdefault(extent.volume.name, {})
        now, me = next(self._ticks), waiting.get(extent.key)
        if me is None:
            waiting[extent.key] = _Later(now, 0)
        else:
            me.last, me.before = now, me.last
        raise NotReadyError(message, retry_after=seconds)

    def _await_mount(self, mounted: "Future[None]", volume: LtfsVolume) -> None:
        wait((mounted,), self._patience)
        if not mounted.done():
            raise NotReadyError(f"the volume {volume.name} is being mounted")
        mounted.result()

    def _mount_ahead(self, key: Key, drives: Sequence[WorkingDrive]) -> None:
        """Mount what is certainly needed next where a drive is done with its volume."""
        at, found = self._round, None if self._round is None else self._round.places.find(key)
        if at is None or found is None:
            with self._lock:  # another order is read than the one that was answered last
                self._round = None
                self._home.clear()
            return
        at.high = max(at.high, found[0])
        for working, plan in zip(drives, at.plans, strict=True):
            while plan and plan[0][1] < at.high:
                plan.popleft()
            need = plan[0][0] if plan else None
            if need is None or not need.sure or need.name in self._tried:
                continue
            target = working.target
            volume = self._volumes[need.name]
            if target is volume or (target is not None and self._later.get(target.name)):
                continue
            self._tried.add(need.name)
            if not self._refusals.knows(volume):
                working.mount(volume).add_done_callback(self._note)

    def _note(self, mounted: "Future[None]") -> None:
        error = mounted.exception()
        if isinstance(error, Cancelled) or not isinstance(error, (Exception, NoneType)):
            with self._lock:
                self._ended = error


class _Places:
    """Finds the extents of an answer by container and byte, in a few columns."""

    def __init__(self, paths: Sequence[StorePath], extents: Sequence[ContainerExtent]) -> None:
        """Sort both."""
        order = sorted(range(len(paths)), key=paths.__getitem__)
        self._paths = [paths[number] for number in order]
        turn = np.empty(len(paths), np.int64)
        turn[order] = np.arange(len(paths))
        container = turn[np.fromiter((one.index for one in extents), np.int64, len(extents))]
        begin = np.fromiter((one.offset for one in extents), np.int64, len(extents))
        end = np.fromiter((one.offset + one.length for one in extents), np.int64, len(extents))
        self._rank = np.lexsort((begin, container))
        self._begin, self._end = begin[self._rank], end[self._rank]
        self._ptr = np.searchsorted(container[self._rank], np.arange(len(paths) + 1))

    def find(self, key: Key) -> tuple[int, int] | None:
        """Return the number of the extent that holds a byte, and its end; ``None`` = none does.

        Args:
            key: Container and byte.
        """
        path, offset = key
        number = bisect_left(self._paths, path)
        if number == len(self._paths) or self._paths[number] != path:
            return None
        first, last = self._ptr[number : number + 2].tolist()
        at = first + int(np.searchsorted(self._begin[first:last], offset, "right")) - 1
        if at < first:
            return None
        return int(self._rank[at]), int(self._end[at])
