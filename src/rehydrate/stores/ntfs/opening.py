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
from rehydrate.stores.ntfs.layout import BOOT_SIZE, MIRRORED, Boot, enlarged, read_boot
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
    for name, sector in _boot_sectors(source):
        try:
            boot = read_boot(sector)
            records, copied = _start(source, boot, sector)
        except FormatError as error:
            failure = failure or error
            if not _may_be_damaged(sector, error):
                break
            continue
        return records, [*name, *copied, *_cut_off(source, boot)]
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


def _boot_sectors(source: ByteSource) -> Iterator[tuple[list[str], bytes]]:
    """Yield the boot sector and what may be its copy, the last sector, with a remark on each."""
    if source.size < BOOT_SIZE:
        return
    yield [], source.read(0, BOOT_SIZE)
    remark = "the boot sector is damaged; its copy at the end of the volume is used"
    for size in (BOOT_SIZE, _LARGE_SECTOR):
        if source.size >= 2 * size:
            yield [remark], source.read(source.size - source.size % size - size, BOOT_SIZE)


def _start(source: ByteSource, boot: Boot, sector: bytes) -> tuple[Records, list[str]]:
    try:
        from rehydrate.stores.ntfs.tsk import Sleuth
    except ImportError as error:
        raise StoreError(
            "NTFS volumes need the package pytsk3: pip install 'rehydrate[windows]'",
            code="store.extra-missing",
        ) from error
    first = (0, enlarged(sector, boot))
    try:
        return Sleuth(source, boot, [first]), []
    except FormatError:
        # The library never looks at the copy of the first records.
        size = MIRRORED * boot.record
        if not 0 < boot.mirror <= source.size - size:
            raise
        copy = (boot.table, source.read(boot.mirror, size))
        remark = "the master file table is damaged; the copy of its first records is used"
        return Sleuth(source, boot, [first, copy]), [remark]


def _cut_off(source: ByteSource, boot: Boot) -> list[str]:
    if source.size >= boot.size:
        return []
    return [f"the image is cut off: it has {source.size} of the {boot.size} bytes of the volume"]
