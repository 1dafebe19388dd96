"""The tape driver, worked with a device that answers at the place of the system calls."""

import errno
import struct
from pathlib import Path

import attrs
import pytest

from rehydrate.errors import StoreReadError
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape import linux_st
from rehydrate.stores.tape.drive import END_OF_DATA, TapePosition
from rehydrate.stores.tape.linux_st import StDrive
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter


@attrs.define(eq=False)
class FakeDriver:
    """Does what the driver's documents say; the partition changes with the next seek."""

    tape: CountingDrive
    operations: list[tuple[int, int]] = attrs.field(factory=list)
    partition: int = 0
    at_end: bool = False
    broken: set[int] = attrs.field(factory=set)

    def ioctl(self, fd: int, request: int, buffer: bytearray, /) -> int:
        if request in self.broken:
            raise OSError(errno.EIO, "broken")
        if request == linux_st.MTIOCPOS:
            struct.pack_into("@l", buffer, 0, self.tape.position().block)
        elif request == linux_st.MTIOCGET:
            state = 0x08000000 if self.at_end else 0
            struct.pack_into("@5l2i", buffer, 0, 1, self.tape.at.partition, 0, state, 0, 0, 0)
        else:
            assert request == linux_st.MTIOCTOP
            self.operate(*struct.unpack("@hi", buffer))
        return 0

    def operate(self, operation: int, count: int) -> None:
        self.operations.append((operation, count))
        self.at_end = False
        try:
            match operation:
                case linux_st.MTSETPART:
                    self.partition = count
                case linux_st.MTSEEK:
                    self.tape.locate(self.partition, count)
                case linux_st.MTEOM:
                    self.tape.locate_end(self.partition)
                case linux_st.MTBSF:
                    self.tape.space_filemarks(-count)
                case linux_st.MTFSF:
                    self.tape.space_filemarks(count)
                case _:
                    assert operation in {linux_st.MTSETBLK, linux_st.MTSETDRVBUFFER}
        except StoreReadError as error:
            raise OSError(errno.EIO, "no such place") from error

    def read(self, fd: int, size: int, /) -> bytes:
        try:
            record = self.tape.read_record()
        except StoreReadError as error:
            if self.at_end:
                raise OSError(errno.EIO, "end of data") from error
            self.at_end = True
            return b""
        if record is not None and len(record) > size:
            raise OSError(errno.ENOMEM, "too large")
        return record or b""


def drive_of(tmp_path: Path, *, size: int = 4096) -> tuple[StDrive, FakeDriver]:
    made = VolumeWriter().add("one", b"1" * 10_000, sizes=(100,)).finish()
    (tmp_path / "nst").touch()
    driver = FakeDriver(CountingDrive(made.partitions))
    path = str(tmp_path / "nst")
    return StDrive(path, record_bytes=size, ioctl=driver.ioctl, read=driver.read), driver


def test_a_volume_is_read(tmp_path: Path) -> None:
    drive, driver = drive_of(tmp_path)
    found = LtfsVolume.read(drive)
    with LtfsStore([found], Library({"TAPE01": lambda: drive})) as store:
        assert store.read_backup_file(StorePath("one"), 90, 9_999) == b"1" * 9_910
    assert driver.operations[0] == (linux_st.MTSETBLK, 0)
    with drive:
        drive.locate(1, 3)
        assert drive.position() == TapePosition(1, 3)
        drive.space_filemarks(1)
        assert drive.position() == TapePosition(1, 4)


def test_the_end_of_data_is_told_from_a_filemark(tmp_path: Path) -> None:
    drive, driver = drive_of(tmp_path)
    drive.locate(1, 1)
    assert drive.read_record() is None
    drive.locate_end(1)
    for _ in range(2):  # an empty read, then an error
        with pytest.raises(StoreReadError) as caught:
            drive.read_record()
        assert caught.value.code == END_OF_DATA
    for partition, block in ((0, 1 << 31), (-1, 0), (256, 0)):
        with pytest.raises(StoreReadError) as caught:
            drive.locate(partition, block)
        assert caught.value.code == END_OF_DATA
    assert driver.tape.at.partition == 1


def test_failures_are_told(tmp_path: Path) -> None:
    drive, driver = drive_of(tmp_path)
    driver.tape.failing[TapePosition(0, 0)] = 1
    drive.locate(0, 0)
    with pytest.raises(StoreReadError, match="medium error") as caught:
        drive.read_record()
    assert caught.value.retryable
    with pytest.raises(StoreReadError, match="no such place"):
        drive.locate(0, 999)
    driver.broken = {linux_st.MTIOCPOS}
    with pytest.raises(StoreReadError, match="position"):
        drive.position()
    driver.broken = {linux_st.MTIOCGET}
    with pytest.raises(StoreReadError, match="state"):
        drive.position()


def test_records_that_are_too_long_are_refused(tmp_path: Path) -> None:
    drive, _ = drive_of(tmp_path, size=79)
    drive.locate(0, 0)
    with pytest.raises(StoreReadError, match="more than 79"):
        drive.read_record()


def test_a_driver_that_was_not_told_of_partitions_says_what_to_do(tmp_path: Path) -> None:
    def refuse(fd: int, request: int, buffer: bytearray, /) -> int:
        if struct.unpack("@hi", buffer)[0] == linux_st.MTSETPART:
            raise OSError(errno.EINVAL, "Invalid argument")
        return 0

    (tmp_path / "nst").touch()
    drive = StDrive(str(tmp_path / "nst"), ioctl=refuse)
    with pytest.raises(StoreReadError, match="set to partitions first"):
        drive.locate(1, 0)
    drive.close()


def test_the_driver_is_told_of_partitions_if_asked(tmp_path: Path) -> None:
    (tmp_path / "nst").touch()
    driver = FakeDriver(CountingDrive([]))
    StDrive(str(tmp_path / "nst"), prepare=True, ioctl=driver.ioctl).close()
    assert driver.operations == [(linux_st.MTSETDRVBUFFER, 0x30000C00), (linux_st.MTSETBLK, 0)]
    with pytest.raises(StoreReadError, match="cannot open"):
        StDrive(str(tmp_path / "none"))
