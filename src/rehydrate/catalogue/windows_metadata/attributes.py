"""What the plain fields of an entry mean: attributes as bits and names, times as numbers and text."""

from datetime import UTC, datetime, timedelta
from typing import Final

from rehydrate.stores.volume import (
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    VolumeEntry,
)
from rehydrate.values import FILETIME_OF_1970

__all__ = [
    "ARCHIVE",
    "COMPRESSED",
    "HIDDEN",
    "NOT_CONTENT_INDEXED",
    "SYSTEM",
    "TEMPORARY",
    "attribute_names",
    "mode_of",
    "nanoseconds",
    "ordinary_attributes",
    "utc_text",
]

HIDDEN: Final = 0x2
SYSTEM: Final = 0x4
ARCHIVE: Final = 0x20
NORMAL: Final = 0x80
TEMPORARY: Final = 0x100
COMPRESSED: Final = 0x800
OFFLINE: Final = 0x1000
NOT_CONTENT_INDEXED: Final = 0x2000
RECALL_ON_OPEN: Final = 0x40000
RECALL_ON_DATA_ACCESS: Final = 0x400000
"""File attributes (MS-FSCC 2.6)."""

_NAMES: Final = {
    FILE_ATTRIBUTE_READONLY: "READONLY",
    HIDDEN: "HIDDEN",
    SYSTEM: "SYSTEM",
    FILE_ATTRIBUTE_DIRECTORY: "DIRECTORY",
    ARCHIVE: "ARCHIVE",
    NORMAL: "NORMAL",
    TEMPORARY: "TEMPORARY",
    FILE_ATTRIBUTE_SPARSE_FILE: "SPARSE_FILE",
    FILE_ATTRIBUTE_REPARSE_POINT: "REPARSE_POINT",
    COMPRESSED: "COMPRESSED",
    OFFLINE: "OFFLINE",
    NOT_CONTENT_INDEXED: "NOT_CONTENT_INDEXED",
    0x4000: "ENCRYPTED",
    0x8000: "INTEGRITY_STREAM",
    0x20000: "NO_SCRUB_DATA",
    RECALL_ON_OPEN: "RECALL_ON_OPEN",
    0x80000: "PINNED",
    0x100000: "UNPINNED",
    RECALL_ON_DATA_ACCESS: "RECALL_ON_DATA_ACCESS",
}
_NOT_CARRIED: Final = (
    FILE_ATTRIBUTE_DIRECTORY
    | NORMAL
    | FILE_ATTRIBUTE_SPARSE_FILE
    | FILE_ATTRIBUTE_REPARSE_POINT
    | OFFLINE
    | RECALL_ON_OPEN
    | RECALL_ON_DATA_ACCESS
)
_WRITE_BITS: Final = 0o222


def ordinary_attributes(entry: VolumeEntry) -> int:
    """Return the attributes that the restored file should have.

    Without those that say what kind of entry it is, and without those of a stub: what is restored
    is whole, local and no reparse point. How sparse it is, its data decides.

    Args:
        entry: The entry.
    """
    return entry.attributes & ~_NOT_CARRIED


def attribute_names(bits: int) -> tuple[str, ...]:
    """Return the names of attributes, lowest bit first; bits without a name are hexadecimal.

    Args:
        bits: File attributes.
    """
    each = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return tuple(_NAMES.get(bit, f"0x{bit:X}") for bit in each)


def mode_of(entry: VolumeEntry) -> int:
    """Return the permission bits of a restored entry.

    READONLY takes the right to write from a file; on a directory it means nothing but a hint for
    the shell of Windows.

    Args:
        entry: The entry.
    """
    if entry.directory:
        return 0o755
    return 0o644 & ~_WRITE_BITS if entry.attributes & FILE_ATTRIBUTE_READONLY else 0o644


def nanoseconds(filetime: int) -> int | None:
    """Return a time as nanoseconds since 1970.

    Args:
        filetime: 100 ns since 1601; 0 = not known.

    Returns:
        ``None`` if it is not known or does not fit 64 bits (before 1677, after 2262).
    """
    value = (filetime - FILETIME_OF_1970) * 100
    return value if filetime and -(2**63) < value < 2**63 else None


def utc_text(filetime: int) -> str | None:
    """Return a time as ISO 8601 text with seven digits after the point.

    Args:
        filetime: 100 ns since 1601; 0 = not known.

    Returns:
        ``None`` if it is not known or after the year 9999.
    """
    seconds, rest = divmod(filetime, 10**7)
    try:
        moment = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:07d}Z" if filetime else None
