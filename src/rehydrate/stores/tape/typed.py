"""A drive whose every failure is one of our errors."""

from collections.abc import Callable
from typing import TypeVar

from rehydrate.stores.tape.drive import TapeDrive, TapePosition, read_failed

__all__ = ["TypedDrive", "typed"]

T = TypeVar("T")


def typed(drive: TapeDrive) -> "TypedDrive":
    """Return the drive with ``OSError`` turned into errors of ours; once is enough.

    Args:
        drive: The drive.
    """
    return drive if isinstance(drive, TypedDrive) else TypedDrive(drive)


class TypedDrive:
    """Calls another drive."""

    def __init__(self, drive: TapeDrive) -> None:
        """Bind.

        Args:
            drive: The other drive.
        """
        self._drive = drive

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block."""
        what = f"go to block {block} of partition {partition}"
        _call(lambda: self._drive.locate(partition, block), what)

    def locate_end(self, partition: int, /) -> None:
        """Go behind the last thing that is written in a partition."""
        what = f"go to the end of partition {partition}"
        _call(lambda: self._drive.locate_end(partition), what)

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks."""
        _call(lambda: self._drive.space_filemarks(count), f"go over {count} filemarks")

    def read_record(self) -> bytes | None:
        """Return the next record, or ``None`` for a filemark."""
        return _call(self._drive.read_record, "read a record")

    def position(self) -> TapePosition:
        """Return where the drive stands."""
        return _call(self._drive.position, "tell the position")

    def close(self) -> None:
        """Give the device back."""
        _call(self._drive.close, "be closed")


def _call(action: Callable[[], T], what: str) -> T:
    try:
        return action()
    except OSError as error:
        raise read_failed(f"the drive cannot {what}: {error.strerror or error}") from error
