"""A tape drive behind the generic SCSI device of Linux (``/dev/sg*``), by SG_IO.

Not run on a real drive: written from the documents, and tested against a device that answers at
the place of the ioctl. Structures: ``sg_io_hdr_t`` of the kernel's ``scsi/sg.h``, interface "S".
"""

import ctypes
import errno
import logging
import os
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, Protocol, Self

import attrs

from rehydrate.errors import NotReadyError, RestoreError, StoreError, StoreReadError
from rehydrate.media import rao
from rehydrate.media.geometry import WrapEnd
from rehydrate.stores.tape import scsi
from rehydrate.stores.tape.drive import Stretch, TapePosition, end_of_data, read_failed
from rehydrate.stores.tape.drive_orders import LIST_BYTES, DriveOrders

__all__ = ["SG_HEADER", "Ioctl", "SgDrive", "linux_ioctl"]

_LOG: Final = logging.getLogger(__name__)
SG_IO: Final = 0x2285
SG_HEADER: Final = struct.Struct("@iiBBHIPPPIIiPBBBBHHiII0P")
"""``sg_io_hdr_t``: interface, direction, lengths of command and sense, count of vectors, length of
data; addresses of data, command and sense; time-out, flags, id, the user's pointer; and the answer:
status, masked and message status, sense written, host and driver status, residue, time, info."""
_TO_DEVICE: Final = -2
_FROM_DEVICE: Final = -3
_NO_DATA: Final = -1
_SENSE_BYTES: Final = 252
_CHECK_CONDITION: Final = 0x02
_DRIVER_SENSE: Final = 0x08
_BUSY: Final = frozenset({0x08, 0x28})  # BUSY, TASK SET FULL
_MINUTE_MS: Final = 60_000
_RECORD_BYTES: Final = 1 << 20
_LOADING_SECONDS: Final = 5.0
_ATTENTIONS: Final = 3  # a drive tells of a new volume by refusing a command once


class Ioctl(Protocol):
    """The one system call that drives are worked with, ``fcntl.ioctl`` by default."""

    def __call__(self, fd: int, request: int, buffer: bytearray, /) -> int:
        """Make the call; ``buffer`` is changed in place."""
        ...


def linux_ioctl(fd: int, request: int, buffer: bytearray, /) -> int:
    """Make the call on systems that have it.

    Raises:
        OSError: It failed, or the system has none.
    """
    try:
        call: Callable[[int, int, bytearray], int] = import_module("fcntl").ioctl
    except ImportError as error:
        raise OSError(errno.ENOSYS, "this system has no tape ioctls") from error
    return call(fd, request, buffer)


@attrs.frozen
class _Answer:
    """What came back: the data, and the sense if there was some."""

    data: bytes
    sense: scsi.Sense | None


class SgDrive:
    """A :class:`~rehydrate.stores.tape.drive.TapeDrive` by SCSI commands.

    Not run on a real drive.
    """

    def __init__(
        self,
        path: str,
        *,
        record_bytes: int = _RECORD_BYTES,
        timeout_minutes: int = 40,
        ioctl: Ioctl = linux_ioctl,
    ) -> None:
        """Open the device.

        Args:
            path: The device, such as ``/dev/sg3``.
            record_bytes: Largest record that is expected; drives read no more than 16 MiB - 1.
            timeout_minutes: How long one command may take; new media may need up to two hours at
                their first load.
            ioctl: The system call.

        Raises:
            StoreReadError: It cannot be opened.
        """
        self._ioctl = ioctl
        self._timeout = timeout_minutes * _MINUTE_MS
        self._record_bytes = min(record_bytes, scsi.MOST_READ)
        self._room = ctypes.create_string_buffer(max(self._record_bytes, LIST_BYTES))
        self._settled = False  # it has done a command, so that its volume is the one wanted
        self._changed = False
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            self._fd = os.open(path, flags)
        except OSError as error:
            raise read_failed(f"cannot open {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Return the drive itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the device."""
        self.close()

    def close(self) -> None:
        """Close the device."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block by LOCATE(16)."""
        what = f"go to block {block} of partition {partition}"
        if not (0 <= partition < 1 << 8 and 0 <= block < 1 << 64):
            raise end_of_data(f"cannot {what}: there is none")
        self._done(scsi.encode_locate(partition, block), what)

    def locate_end(self, partition: int, /) -> None:
        """Go to the end of data by LOCATE(16)."""
        self._done(scsi.encode_locate_end(partition), f"go to the end of partition {partition}")

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks by SPACE(6)."""
        self._done(scsi.encode_space_filemarks(count), f"go over {count} filemarks", absolute=False)

    def read_record(self) -> bytes | None:
        """Return the next record by READ(6), or ``None`` for a filemark.

        The length is asked for exactly, so that a record that is too long is not cut in silence:
        shorter and longer ones come back with sense data, which tells the difference.
        """
        asked, what = self._record_bytes, "read a record"
        answer = self._command(scsi.encode_read(asked), asked, what)
        sense = answer.sense
        if sense is None:
            return answer.data
        if not sense.done:
            raise _failure(what, sense)
        if sense.filemark:
            return None
        if sense.wrong_length and sense.residue:
            if sense.residue < 0:
                raise read_failed(f"a record has {asked - sense.residue} bytes, more than {asked}")
            return answer.data[: asked - min(sense.residue, asked)]
        if sense.end_of_medium and not sense.wrong_length:  # the record came; the end is near
            return answer.data
        raise _failure(what, sense)

    def position(self) -> TapePosition:
        """Return where the drive stands, by READ POSITION in its long form."""
        size, what = scsi.LONG_POSITION_BYTES, "tell the position"
        answer = self._told(scsi.encode_read_position(), size, what)
        if answer is None:
            raise read_failed(f"the drive cannot {what}: it does not know the command")
        found = scsi.decode_long_position(answer)
        if found is None:
            raise read_failed("the drive does not know its position")
        return found

    def wrap_ends(self) -> Sequence[WrapEnd]:
        """Return the last block of each wrap; empty where the drive does not tell."""
        size, what = scsi.WRAP_ANSWER_BYTES, "tell the ends of wraps"
        answer = self._told(scsi.encode_wrap_ends(), size, what)
        return () if answer is None else scsi.decode_wrap_ends(answer)

    def recommended_order(self, stretches: Sequence[Stretch], /) -> Sequence[int] | None:
        """Return the order that the drive recommends, from where it stands.

        Lists that are longer than the drive takes are cut in the order given, which is that of
        the tape. Drives without the command, and lists that contradict what was sent, give none;
        the latter is logged.

        Args:
            stretches: What is wanted, sorted by partition and block.
        """
        try:
            return DriveOrders(self._told).recommended(self.position(), stretches)
        except RestoreError as error:
            _LOG.warning("the drive gives no order that can be used: %s", error)
            return None

    def estimated_order(self, stretches: Sequence[Stretch], /) -> rao.AccessOrder | None:
        """Let the drive estimate the locates of an order as it is: what does it cost?

        Nothing moves. Where the drive puts its times is not documented: they are in ``behind`` as
        bytes, if anywhere.

        Args:
            stretches: The order to estimate, from where the drive stands; no more than it takes.

        Returns:
            The answer of the drive; ``None`` if it does not offer this.

        Raises:
            LimitError: With code ``"rao.too-many"`` if it does not take so many.
            CorruptMetadataError: Its answer is none.
            StoreReadError: It cannot do it.
        """
        return DriveOrders(self._told).estimated(self.position(), stretches)

    def _done(self, cdb: bytes, what: str, *, absolute: bool = True) -> None:
        """Make a command without data; one that is relative to the position is not repeated."""
        answer = self._command(cdb, 0, what)
        for _ in range(_ATTENTIONS if absolute else 0):
            if answer.sense is None or not answer.sense.attention:
                break
            answer = self._command(cdb, 0, what)
        if answer.sense is not None:
            raise _failure(what, answer.sense)

    def _told(self, cdb: bytes, receive: int, what: str, send: bytes = b"") -> bytes | None:
        """Make a command that moves nothing; ``None`` if the drive does not know it."""
        answer = self._command(cdb, receive, what, send)
        for _ in range(_ATTENTIONS):
            if answer.sense is None or not answer.sense.attention:
                break
            answer = self._command(cdb, receive, what, send)
        if answer.sense is None:
            return answer.data
        if answer.sense.not_offered:
            return None
        raise _failure(what, answer.sense)

    def _command(self, cdb: bytes, receive: int, what: str, send: bytes = b"") -> _Answer:
        """Make one command; every failure but a check condition is raised here.

        A drive tells once that its volume may be another one. At the beginning that is the one that
        was just put in; later nothing is read from it any more.
        """
        if self._changed:
            raise _changed(what)
        command = ctypes.create_string_buffer(cdb, len(cdb))
        sense = ctypes.create_string_buffer(_SENSE_BYTES)
        data = ctypes.create_string_buffer(send, len(send)) if send else self._room
        way = _TO_DEVICE if send else _FROM_DEVICE if receive else _NO_DATA
        size = len(send) or receive
        raw = bytearray(SG_HEADER.pack(
            ord("S"), way, len(cdb), _SENSE_BYTES, 0, size, ctypes.addressof(data) if size else 0,
            ctypes.addressof(command), ctypes.addressof(sense), self._timeout, *(0,) * 12,
        ))  # fmt: skip
        try:
            self._ioctl(self._fd, SG_IO, raw)
        except OSError as error:
            raise read_failed(f"the drive cannot {what}: {error.strerror}") from error
        status, _, _, sensed, host, driver, residue, _, _ = SG_HEADER.unpack(raw)[13:]
        if status in _BUSY or host or driver & 0xF not in {0, _DRIVER_SENSE}:
            raise read_failed(f"the drive cannot {what}: status {status:02X}h, host {host:X}h, "
                              f"driver {driver:X}h")  # fmt: skip
        if status & 0x3E == _CHECK_CONDITION:
            found = scsi.decode_sense(sense.raw[:sensed])
            if not found.recovered:
                if found.volume_changed and self._settled:
                    self._changed = True
                    raise _changed(what)
                return _Answer(ctypes.string_at(self._room, receive), found)
        elif status:
            raise read_failed(f"the drive cannot {what}: status {status:02X}h")
        self._settled = True
        came = max(receive - max(residue, 0), 0)
        return _Answer(ctypes.string_at(self._room, came), None)


def _failure(what: str, sense: scsi.Sense) -> StoreError:
    message = f"the drive cannot {what}: {sense}"
    if sense.loading:
        return NotReadyError(f"{message}, it is about to be ready", retry_after=_LOADING_SECONDS)
    return end_of_data(message) if sense.end_of_data else read_failed(message)


def _changed(what: str) -> StoreReadError:
    return StoreReadError(
        f"the drive cannot {what}: its volume was changed meanwhile",
        code="tape.wrong-volume",
        retryable=False,
    )
