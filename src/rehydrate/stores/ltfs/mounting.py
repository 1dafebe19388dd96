"""Which volume is in the drive, and how another one gets there."""

import logging
import math
from collections.abc import Sequence
from typing import Final

import attrs

from rehydrate.errors import NotReadyError, RestoreError, StoreError, StoreReadError
from rehydrate.ports import Clock
from rehydrate.stores.ltfs.ordering import VolumeNeed
from rehydrate.stores.ltfs.reading import ExtentReader
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import (
    MountRequest,
    MountsVolumes,
    RecommendsOrder,
    Stretch,
    TapeDrive,
    TapePosition,
)
from rehydrate.stores.tape.stream import RecordStream

__all__ = ["Drive"]

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Mounted:
    volume: LtfsVolume
    device: TapeDrive
    stream: RecordStream
    reader: ExtentReader


class Drive:
    """The one drive of a store: at most one volume in it, changed as reads need it."""

    def __init__(self, mounts: MountsVolumes, ring_bytes: int, clock: Clock) -> None:
        """Bind; nothing is mounted yet.

        Args:
            mounts: Puts volumes in.
            ring_bytes: Most bytes that are read ahead.
            clock: Tells when a volume that comes later may be asked for again.
        """
        self._mounts, self._ring_bytes, self._clock = mounts, ring_bytes, clock
        self._later: dict[str, float] = {}
        self._mounted: _Mounted | None = None
        self._failed: dict[str, StoreError] = {}
        self._needs: tuple[VolumeNeed, ...] = ()

    @property
    def loaded(self) -> str | None:
        """Name of the volume in the drive."""
        return None if self._mounted is None else self._mounted.volume.name

    @property
    def at(self) -> TapePosition | None:
        """Where its head is, as far as is known."""
        return None if self._mounted is None else self._mounted.stream.next_block

    def expect(self, needs: Sequence[VolumeNeed]) -> None:
        """Learn what the round will want, so that requests can say how long and what comes then."""
        self._needs = tuple(needs)

    def ask_again(self) -> None:
        """Forget which volumes could not be had."""
        self._failed.clear()

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
        if volume.name in self._failed:
            raise self._failed[volume.name]
        device = self._mount(volume)
        if device is None:
            raise self._fail(volume, StoreReadError(
                f"the volume {volume.name} cannot be had", code="tape.refused", retryable=False
            ))  # fmt: skip
        try:
            volume.check_mounted(device)
        except RestoreError as error:
            device.close()
            problem = error if isinstance(error, StoreError) else StoreReadError(error.message)
            raise self._fail(volume, problem) from error
        stream = RecordStream(device, ring_bytes=self._ring_bytes)
        self._mounted = _Mounted(volume, device, stream, ExtentReader(volume, stream))
        return self._mounted.reader

    def _mount(self, volume: LtfsVolume) -> TapeDrive | None:
        """Ask for a volume; one that comes later is not asked for again before its time."""
        left = self._later.get(volume.name, 0.0) - self._clock.monotonic()
        if volume.name in self._later and left > 0:
            raise NotReadyError(f"the volume {volume.name} comes later", retry_after=left)
        self.close()
        try:
            return self._mounts.mount(self._request(volume))
        except NotReadyError as error:
            pause = error.retry_after if math.isfinite(error.retry_after) else 0.0
            self._later[volume.name] = self._clock.monotonic() + pause
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
            mounted.reader.close()

    def _fail(self, volume: LtfsVolume, error: StoreError) -> StoreError:
        self._failed[volume.name] = error
        return error

    def _request(self, volume: LtfsVolume) -> MountRequest:
        names = [need.name for need in self._needs]
        place = names.index(volume.name) if volume.name in names else len(names)
        need = self._needs[place] if place < len(names) else None
        if need is None:
            return MountRequest(
                barcode=volume.name, reason="a container is read", containers=1,
                wanted_bytes=0, seconds=None,
            )  # fmt: skip
        return MountRequest(
            barcode=volume.name,
            reason=f"containers wanted from it: {need.containers}, bytes: {need.wanted_bytes}",
            containers=need.containers,
            wanted_bytes=need.wanted_bytes,
            seconds=need.seconds,
            then=tuple(names[place + 1 :]),
        )
