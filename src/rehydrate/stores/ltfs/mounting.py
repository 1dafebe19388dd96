"""Which volume is in a drive, and how another one gets there."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from rehydrate.errors import NotReadyError, RestoreError, StoreError, StoreReadError
from rehydrate.ports import Clock
from rehydrate.stores.ltfs.ordering import Held, VolumeNeed
from rehydrate.stores.ltfs.reading import ExtentReader
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import (
    MountRequest,
    MountsVolumes,
    RecommendsOrder,
    Stretch,
    TapeDrive,
)
from rehydrate.stores.tape.stream import RecordStream

__all__ = ["Drive", "Refusals"]

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Mounted:
    volume: LtfsVolume
    device: TapeDrive
    stream: RecordStream
    reader: ExtentReader


@attrs.define(eq=False)
class Refusals:
    """Which volumes cannot be had at present; the drives of a store share it."""

    clock: Clock
    failed: dict[str, StoreError] = attrs.field(factory=dict)
    later: dict[str, float] = attrs.field(factory=dict)

    def check(self, volume: LtfsVolume) -> None:
        """Do not ask for a volume again that could not be had.

        Args:
            volume: The volume.

        Raises:
            NotReadyError: Its time has not come yet.
            StoreError: It could not be had.
        """
        failed = self.failed.get(volume.name)
        if failed is not None:
            raise failed
        left = self.left(volume.name)
        if left > 0:
            raise NotReadyError(f"the volume {volume.name} comes later", retry_after=left)

    def left(self, name: str) -> float:
        """Return the seconds until a volume may be asked for again; 0 = at once.

        Args:
            name: Its name.
        """
        if name not in self.later:
            return 0.0
        return max(self.later[name] - self.clock.monotonic(), 0.0)

    def knows(self, volume: LtfsVolume) -> bool:
        """Return whether :meth:`check` would refuse a volume.

        Args:
            volume: The volume.
        """
        return volume.name in self.failed or self.left(volume.name) > 0

    def postpone(self, volume: LtfsVolume, error: NotReadyError) -> None:
        """Keep when a volume may be asked for again."""
        pause = error.retry_after if math.isfinite(error.retry_after) else 0.0
        self.later[volume.name] = self.clock.monotonic() + pause


class Drive:
    """A drive of a store: at most one volume in it, changed as reads need it.

    Used by one thread.
    """

    def __init__(
        self, mounts: MountsVolumes, ring_bytes: int, refusals: Refusals, number: int = 0
    ) -> None:
        """Bind; nothing is mounted yet.

        Args:
            mounts: Puts volumes in.
            ring_bytes: Most bytes that are read ahead.
            refusals: Volumes that cannot be had.
            number: Number of the drive.
        """
        self._mounts, self._ring_bytes, self._number = mounts, ring_bytes, number
        self._refusals = refusals
        self._mounted: _Mounted | None = None
        self._needs: tuple[VolumeNeed, ...] = ()

    @property
    def volume(self) -> LtfsVolume | None:
        """The volume in the drive."""
        mounted = self._mounted
        return None if mounted is None else mounted.volume

    @property
    def held(self) -> Held | None:
        """The volume in the drive, and where its head is, as far as is known."""
        mounted = self._mounted
        if mounted is None:
            return None
        return Held(self._number, mounted.volume.name, mounted.stream.next_block)

    def expect(self, needs: Sequence[VolumeNeed]) -> None:
        """Learn what the round will want, so that requests can say how long and what comes then."""
        self._needs = tuple(need for need in needs if need.drive == self._number)

    def reader(self, volume: LtfsVolume) -> ExtentReader:
        """Return the reader of a volume, mounted if it is not.

        Args:
            volume: The volume.

        Raises:
            NotReadyError: Later.
            StoreError: It cannot be had, or another one came.
        """
        mounted = self._mounted
        if mounted is not None and mounted.volume is volume:
            return mounted.reader
        self._refusals.check(volume)
        self.close()
        device = self._mount(volume)
        if device is None:
            raise self._fail(volume, StoreReadError(
                f"the volume {volume.name} cannot be had", code="tape.refused", retryable=False
            ))  # fmt: skip
        try:
            volume.check_mounted(device)
        except NotReadyError as error:
            _give_back(device.close)
            self._refusals.postpone(volume, error)
            raise
        except (RestoreError, OSError) as error:
            _give_back(device.close)
            problem = error if isinstance(error, StoreError) else StoreReadError(str(error))
            raise self._fail(volume, problem) from error
        stream = RecordStream(device, ring_bytes=self._ring_bytes)
        self._mounted = _Mounted(volume, device, stream, ExtentReader(volume, stream))
        return self._mounted.reader

    def _mount(self, volume: LtfsVolume) -> TapeDrive | None:
        """Ask for a volume; one that comes later is not asked for again before its time."""
        try:
            return self._mounts.mount(self._request(volume))
        except NotReadyError as error:
            self._refusals.postpone(volume, error)
            raise

    def recommended(self, volume: LtfsVolume, stretches: Sequence[Stretch]) -> Sequence[int] | None:
        """Ask the drive for its order; ``None`` where it has none, or another volume is in it.

        Args:
            volume: The volume.
            stretches: What is wanted of it.
        """
        mounted = self._mounted
        if mounted is None or mounted.volume is not volume:
            return None
        if not isinstance(mounted.device, RecommendsOrder):
            return None
        mounted.stream.stop()
        try:
            return mounted.device.recommended_order(stretches)
        except (StoreError, OSError) as error:
            _LOG.warning("%s is ordered without its drive: %s", volume.name, error)
            return None

    def close(self) -> None:
        """Give the drive back."""
        mounted, self._mounted = self._mounted, None
        if mounted is not None:
            _give_back(mounted.reader.close)

    def _fail(self, volume: LtfsVolume, error: StoreError) -> StoreError:
        self._refusals.failed[volume.name] = error
        return error

    def _request(self, volume: LtfsVolume) -> MountRequest:
        names = [need.name for need in self._needs]
        place = names.index(volume.name) if volume.name in names else len(names)
        need = self._needs[place] if place < len(names) else None
        if need is None:
            return MountRequest(
                barcode=volume.name, reason="a container is read", containers=1,
                wanted_bytes=0, seconds=None, drive=self._number,
            )  # fmt: skip
        return MountRequest(
            barcode=volume.name,
            reason=f"containers wanted from it: {need.containers}, bytes: {need.wanted_bytes}",
            containers=need.containers,
            wanted_bytes=need.wanted_bytes,
            seconds=need.seconds,
            then=tuple(names[place + 1 :]),
            drive=self._number,
        )


def _give_back(close: Callable[[], None]) -> None:
    """Close a drive; what it says to that harms nobody."""
    try:
        close()
    except (StoreError, OSError) as error:
        _LOG.warning("a drive could not be closed: %s", error)
