"""A drive whose every failure is one of our errors."""

from collections.abc import Callable
from typing import TypeVar

from rehydrate.errors import RestoreError
from rehydrate.stores.tape.drive import TapeDrive, TapePosition, read_failed

__all__ = ["TypedDrive", "typed"]

T = TypeVar("T")


def typed(drive: TapeDrive) -> "TypedDrive":
    """Return the drive with whatever it raises turned into errors of ours; once is enough.

    Args:
        drive: The drive.
    """
    return drive if isinstance(drive, TypedDrive) else TypedDrive(drive)


class TypedDrive:
    """Calls another drive."""

    def __init__(self, drive: TapeDrive, *, system: bool = True) -> None:
        """Bind.

        Args:
            drive: The other drive.
            system: Errors of the system become ours, too; else they are passed on as they are.
        """
        self._drive, self._system = drive, system

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block."""
        what = f"go to block {block} of partition {partition}"
        self._call(lambda: self._drive.locate(partition, block), what)

    def locate_end(self, partition: int, /) -> None:
        """Go behind the last thing that is written in a partition."""
        what = f"go to the end of partition {partition}"
        self._call(lambda: self._drive.locate_end(partition), what)

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks."""
        self._call(lambda: self._drive.space_filemarks(count), f"go over {count} filemarks")

    def read_record(self) -> bytes | None:
        """Return the next record, or ``None`` for a filemark."""
        return self._call(self._drive.read_record, "read a record")

    def position(self) -> TapePosition:
        """Return where the drive stands."""
        return self._call(self._drive.position, "tell the position")

    def close(self) -> None:
        """Give the device back."""
        self._call(self._drive.close, "be closed")

    def _call(self, action: Callable[[], T], what: str) -> T:
        try:
            return action()
        except RestoreError:
            raise
        except OSError as error:
            if not self._system:
                raise
            raise read_failed(f"the drive cannot {what}: {error.strerror or error}") from error
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise read_failed(f"the drive cannot {what}: {why}") from error
