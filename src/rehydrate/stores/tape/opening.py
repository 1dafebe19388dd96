"""Opens what a person calls a drive: a device, a table of a tape in files, or a mounted volume."""

import enum
import os
import stat
from pathlib import Path
from typing import Final

from rehydrate.errors import RequestError
from rehydrate.stores.tape.drive import TapeDrive, read_failed
from rehydrate.stores.tape.image import TapeImage
from rehydrate.stores.tape.linux_sg import SgDrive
from rehydrate.stores.tape.linux_st import StDrive

__all__ = ["RECORDS_SUFFIX", "TABLE_SUFFIX", "DriveKind", "kind_of_drive", "open_drive"]

TABLE_SUFFIX: Final = ".json"
"""What the name of the table of a tape in files ends with."""
RECORDS_SUFFIX: Final = ".bin"
"""What stands in its place in the name of the file of records, beside the table."""
_ST_MAJOR: Final = 9
_SG_MAJOR: Final = 21
"""Numbers of the drivers ``st`` and ``sg`` (list of devices of the kernel of Linux)."""
_RECORD_BYTES: Final = 1 << 20


class DriveKind(enum.Enum):
    """What stands for a drive."""

    SG = "a SCSI generic device"
    ST = "a tape device"
    IMAGE = "a tape in files"
    MOUNT = "a directory where a volume is mounted"


def kind_of_drive(place: str) -> DriveKind:
    """Tell what stands for a drive.

    Devices are told by the number of their driver, directories by being some. Where nothing is
    (yet), the name tells: one that ends with ``.json`` is a tape in files, any other a directory.

    Args:
        place: Path of a device, a table or a directory.

    Raises:
        RequestError: With code ``"tape.drive"`` if it is something else.
    """
    try:
        status = Path(place).stat()
    except OSError:
        return DriveKind.IMAGE if place.endswith(TABLE_SUFFIX) else DriveKind.MOUNT
    if stat.S_ISDIR(status.st_mode):
        return DriveKind.MOUNT
    if stat.S_ISREG(status.st_mode) and Path(place).resolve().suffix == TABLE_SUFFIX:
        return DriveKind.IMAGE
    found = _DEVICES.get(_major(status.st_mode, status.st_rdev))
    if found is None:
        raise RequestError(
            f"{place} is no drive: name a SCSI generic device (/dev/sg3), a tape device"
            " (/dev/nst0), a directory where a volume is mounted, or the table of a tape in files"
            f" (NAME{TABLE_SUFFIX}, with NAME{RECORDS_SUFFIX} beside it)",
            code="tape.drive",
        )
    return found


_DEVICES: Final = {_ST_MAJOR: DriveKind.ST, _SG_MAJOR: DriveKind.SG}


def _major(mode: int, device: int) -> int:
    """Return the number of the driver; -1 = no device of characters."""
    return os.major(device) if stat.S_ISCHR(mode) and hasattr(os, "major") else -1


def open_drive(place: str, *, record_bytes: int = _RECORD_BYTES) -> TapeDrive:
    """Open a device or a tape in files; the latter is closed with the answer, too.

    The tape driver is told to use partitions and logical block numbers where this process may.

    Args:
        place: Path of the device or table. A link to a table is followed before the file of
            records is looked for beside it.
        record_bytes: Largest record that is expected.

    Raises:
        RequestError: With code ``"tape.drive"`` if it is neither.
        StoreReadError: It cannot be opened; nothing may be in it.
        CorruptMetadataError: The table is damaged.
    """
    kind = kind_of_drive(place)
    size = max(record_bytes, _RECORD_BYTES)
    if kind is DriveKind.SG:
        return SgDrive(place, record_bytes=size)
    if kind is DriveKind.ST:
        return StDrive(place, record_bytes=size, prepare=os.geteuid() == 0)
    if kind is DriveKind.MOUNT:
        raise RequestError(f"{place} is a directory and no device", code="tape.drive")
    table = Path(place).resolve()
    if not table.is_file():
        raise read_failed(f"nothing is in {place}")
    return TapeImage(table, table.with_suffix(RECORDS_SUFFIX))
