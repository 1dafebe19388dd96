"""A tape drive behind the tape driver of Linux (``/dev/nst*``), by MTIOCTOP and read.

Not run on a real drive: written from the driver's documents, and tested against a device that
answers at the place of the system calls. Numbers: the kernel's ``linux/mtio.h`` for 64-bit systems.
The driver must be told once that partitions and logical block numbers are wanted (booleans
``can-partitions`` and ``scsi2logical``), which needs its administrator: ``prepare=True`` does it.
"""

import errno
import os
import struct
from typing import Final, Protocol, Self

from rehydrate.stores.tape.drive import TapePosition, end_of_data, read_failed
from rehydrate.stores.tape.linux_sg import Ioctl, linux_ioctl

__all__ = ["ReadCall", "StDrive"]

MTIOCTOP: Final = 0x40086D01
MTIOCGET: Final = 0x80306D02
MTIOCPOS: Final = 0x80086D03
MTFSF: Final = 1
MTBSF: Final = 2
MTEOM: Final = 12
MTSETBLK: Final = 20
MTSEEK: Final = 22
MTSETDRVBUFFER: Final = 24
MTSETPART: Final = 33
_SET_BOOLEANS: Final = 0x30000000
_CAN_PARTITIONS: Final = 0x400
_LOGICAL_BLOCKS: Final = 0x800
_AT_END_OF_DATA: Final = 0x08000000  # GMT_EOD of mt_gstat
_PARTITION: Final = 0xFF  # of mt_resid
_OPERATION: Final = struct.Struct("@hi")
_STATUS: Final = struct.Struct("@5l2i")
_BLOCK: Final = struct.Struct("@l")
_MOST: Final = 2**31 - 1
_RECORD_BYTES: Final = 1 << 20


class ReadCall(Protocol):
    """The other system call, ``os.read`` by default."""

    def __call__(self, fd: int, size: int, /) -> bytes:
        """Read one record."""
        ...


class StDrive:
    """A :class:`~rehydrate.stores.tape.drive.TapeDrive` by the tape driver.

    Not run on a real drive.
    """

    def __init__(
        self,
        path: str,
        *,
        record_bytes: int = _RECORD_BYTES,
        prepare: bool = False,
        ioctl: Ioctl = linux_ioctl,
        read: ReadCall = os.read,
    ) -> None:
        """Open the device and set records of any length.

        Args:
            path: The device that does not rewind on close, such as ``/dev/nst0``.
            record_bytes: Largest record that is expected.
            prepare: Also tell the driver that partitions and logical block numbers are wanted.
            ioctl: The system call for operations.
            read: The system call for records.

        Raises:
            StoreReadError: It cannot be opened or set.
        """
        self._ioctl, self._read, self._record_bytes = ioctl, read, record_bytes
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise read_failed(f"cannot open {path}: {error.strerror}") from error
        if prepare:
            booleans = _SET_BOOLEANS | _CAN_PARTITIONS | _LOGICAL_BLOCKS
            self._operate(MTSETDRVBUFFER, booleans, "be set to partitions")
        self._operate(MTSETBLK, 0, "be set to records of any length")

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
        """Go to a block: the driver changes the partition with the seek that follows."""
        what = f"go to block {block} of partition {partition}"
        if not (0 <= partition <= _PARTITION and 0 <= block <= _MOST):
            raise end_of_data(f"cannot {what}: the driver has no such number")
        self._operate(MTSETPART, partition, what)
        self._operate(MTSEEK, block, what)

    def locate_end(self, partition: int, /) -> None:
        """Go to the end of data of a partition."""
        self.locate(partition, 0)
        self._operate(MTEOM, 1, f"go to the end of partition {partition}")

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks."""
        operation = MTFSF if count > 0 else MTBSF
        self._operate(operation, abs(count), f"go over {count} filemarks")

    def read_record(self) -> bytes | None:
        """Return the next record, or ``None`` for a filemark.

        The driver answers an empty read for a filemark and for the end of data; its status tells
        which. A record that is larger than asked for is an error (``ENOMEM``), never cut.
        """
        try:
            data = self._read(self._fd, self._record_bytes)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                text = f"a record has more than {self._record_bytes} bytes"
                raise read_failed(text) from error
            if error.errno != errno.ENOSPC and not self._at_end():
                raise read_failed(f"the drive cannot read a record: {error.strerror}") from error
            raise end_of_data("nothing is written here") from error
        if data:
            return data
        if self._at_end():
            raise end_of_data("nothing is written here")
        return None

    def position(self) -> TapePosition:
        """Return where the drive stands."""
        room = bytearray(_BLOCK.size)
        try:
            self._ioctl(self._fd, MTIOCPOS, room)
        except OSError as error:
            raise read_failed(f"the drive cannot tell the position: {error.strerror}") from error
        return TapePosition(self._status()[1] & _PARTITION, _BLOCK.unpack(room)[0])

    def _at_end(self) -> bool:
        return bool(self._status()[3] & _AT_END_OF_DATA)

    def _status(self) -> tuple[int, ...]:
        room = bytearray(_STATUS.size)
        try:
            self._ioctl(self._fd, MTIOCGET, room)
        except OSError as error:
            raise read_failed(f"the drive cannot tell its state: {error.strerror}") from error
        return _STATUS.unpack(room)

    def _operate(self, operation: int, count: int, what: str) -> None:
        try:
            self._ioctl(self._fd, MTIOCTOP, bytearray(_OPERATION.pack(operation, count)))
        except OSError as error:
            unset = operation == MTSETPART and error.errno == errno.EINVAL
            hint = "; the driver must be set to partitions first (prepare)" if unset else ""
            raise read_failed(f"the drive cannot {what}: {error.strerror}{hint}") from error
