"""Tells whether bytes are an NTFS volume, and opens it, by the copy of the boot sector if need be."""

from collections.abc import Iterator
from typing import Final

from rehydrate.errors import (
    CorruptMetadataError,
    FormatError,
    StoreError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bytesource import ByteSource
from rehydrate.stores.ntfs.layout import BOOT_SIZE, Boot, read_boot
from rehydrate.stores.ntfs.records import DAMAGED, Records

__all__ = ["open_records"]

_SIGNATURE: Final = b"\x55\xaa"
_LARGE_SECTOR: Final = 4096


def open_records(source: ByteSource, described: str) -> tuple[Records, list[str]]:
    """Open an NTFS file system.

    Args:
        source: Bytes of the volume.
        described: What it is, for messages.

    Returns:
        The file system, and what is wrong with it although it could be opened.

    Raises:
        UnsupportedFormatError: It is no NTFS: ReFS (``code = "volume.refs"``), BitLocker
            (``"volume.bitlocker"``) or anything else (``"volume.file-system"``).
        CorruptMetadataError: It is damaged (``code = "volume.damaged"``).
        StoreReadError: The image cannot be read.
        StoreError: ``pytsk3`` is not installed (``code = "store.extra-missing"``).
    """
    failure: FormatError | None = None
    for sector in _boot_sectors(source):
        try:
            boot = read_boot(sector)
            records = _start(source, boot, sector)
        except FormatError as error:
            failure = failure or error
            if not _may_be_damaged(sector, error):
                break
            continue
        return records, _remarks(source, boot, failure)
    if failure is None or isinstance(failure, UnsupportedFormatError):
        code = "volume.file-system" if failure is None else failure.code
        message = "it is empty" if failure is None else failure.message
        raise UnsupportedFormatError(f"{described}: {message}", code=code) from failure
    raise CorruptMetadataError(f"{described}: {failure.message}", code=DAMAGED) from failure


def _may_be_damaged(sector: bytes, error: FormatError) -> bool:
    """Return whether the copy of the boot sector is worth a look, and not of a former volume."""
    if isinstance(error, UnsupportedFormatError):
        return error.code == "volume.file-system" and sector[-2:] != _SIGNATURE
    return True


def _boot_sectors(source: ByteSource) -> Iterator[bytes]:
    """Yield the boot sector and what may be its copy: the last sector of the partition."""
    if source.size < BOOT_SIZE:
        return
    yield source.read(0, BOOT_SIZE)
    whole = source.size - source.size % BOOT_SIZE
    yield source.read(whole - BOOT_SIZE, BOOT_SIZE)
    if whole >= _LARGE_SECTOR:
        yield source.read(whole - whole % _LARGE_SECTOR - _LARGE_SECTOR, BOOT_SIZE)


def _start(source: ByteSource, boot: Boot, sector: bytes) -> Records:
    try:
        from rehydrate.stores.ntfs.tsk import Sleuth
    except ImportError as error:
        raise StoreError(
            "NTFS volumes need the package pytsk3: pip install 'rehydrate[windows]'",
            code="store.extra-missing",
        ) from error
    return Sleuth(source, boot, sector)


def _remarks(source: ByteSource, boot: Boot, failure: FormatError | None) -> list[str]:
    remarks = []
    if failure is not None:
        remarks.append("the boot sector is damaged; its copy at the end of the volume is used")
    if source.size < boot.size:
        remarks.append(
            f"the image is cut off: it has {source.size} of the {boot.size} bytes of the volume"
        )
    return remarks
