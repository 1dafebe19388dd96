"""A drive whose failures are ours, whatever the other one raises."""

import errno
from collections.abc import Callable

import pytest

from rehydrate.errors import StoreReadError
from rehydrate.stores.tape.drive import END_OF_DATA, READ_FAILED, TapeDrive, TapePosition
from rehydrate.stores.tape.typed import typed
from tests.ltfs_volume import CountingDrive, VolumeWriter


def pulled(*_: object) -> None:
    raise OSError(errno.EIO, "cable pulled")


class Broken(CountingDrive):
    def __getattribute__(self, name: str) -> object:
        known = {"locate", "locate_end", "space_filemarks", "read_record", "position", "close"}
        return pulled if name in known else super().__getattribute__(name)


def test_calls_reach_the_drive() -> None:
    drive = typed(CountingDrive(VolumeWriter().finish().partitions))
    assert typed(drive) is drive
    drive.locate(1, 1)
    assert drive.read_record() is None
    assert drive.position() == TapePosition(1, 2)
    drive.space_filemarks(-1)
    assert drive.position() == TapePosition(1, 1)
    drive.locate_end(1)
    with pytest.raises(StoreReadError) as caught:
        drive.read_record()
    assert caught.value.code == END_OF_DATA
    drive.close()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda drive: drive.locate(0, 0), id="locate"),
        pytest.param(lambda drive: drive.locate_end(0), id="end"),
        pytest.param(lambda drive: drive.space_filemarks(1), id="filemarks"),
        pytest.param(lambda drive: drive.read_record(), id="read"),
        pytest.param(lambda drive: drive.position(), id="position"),
        pytest.param(lambda drive: drive.close(), id="close"),
    ],
)
def test_failures_of_the_system_are_ours(call: Callable[[TapeDrive], object]) -> None:
    with pytest.raises(StoreReadError, match="cable pulled") as caught:
        call(typed(Broken([])))
    assert (caught.value.code, caught.value.retryable) == (READ_FAILED, True)
