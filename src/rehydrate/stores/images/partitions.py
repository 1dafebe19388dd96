"""Partitions of a disk: MBR with logical drives, GPT with its spare table, or no table at all.

A parser of our own: the tables are a few bytes, their check sums (which tell a damaged table from a
good one) must be looked at, dynamic disks and pools must be refused by name, and reading a disk
that is hostile should not depend on C code. Sources: UEFI Specification 2.10, chapter 5; Microsoft,
"PARTITION_INFORMATION_GPT" and "Disk partition types".
"""

import struct
import uuid
import zlib
from collections.abc import Iterator
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.stores.images.bytesource import ByteSource, WindowSource

__all__ = ["Partition", "file_system_of", "partitions", "volume_source"]

_BOOT_SIGNATURE: Final = b"\x55\xaa"
_BOOT_SECTOR: Final = 512
_MBR_ENTRY: Final = struct.Struct("<B3xB3xII")
_MBR_TABLE: Final = 446
_MBR_SLOTS: Final = 4
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE: Final = 0xEE
_LDM: Final = 0x42
_MBR_NAMES: Final = {
    0x01: "FAT12",
    0x06: "FAT16",
    0x07: "NTFS, exFAT or ReFS",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x0E: "FAT16",
    0x27: "Windows recovery",
    0x83: "Linux",
    0xEF: "EFI system",
}
_MOST_LOGICAL: Final = 256
_SECTOR_SIZES: Final = (512, 4096)
_GPT: Final = struct.Struct("<8s4sII4xQQQQ16sQIII")
_GPT_SIGNATURE: Final = b"EFI PART"
_GPT_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_LARGEST_TABLE: Final = 4 << 20
_GPT_NAMES: Final = {
    uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"): "EFI system",
    uuid.UUID("E3C9E316-0B5C-4DB8-817D-F92DF00215AE"): "Microsoft reserved",
    uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"): "basic data",
    uuid.UUID("DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"): "Windows recovery",
    uuid.UUID("558D43C5-A1AC-43C0-AAC8-D1472B2923D1"): "storage replica",
}
_DYNAMIC: Final = {
    uuid.UUID("5808C8AA-7E8F-42E0-85D2-E1E90434CFB3"),  # LDM metadata
    uuid.UUID("AF9B60A0-1431-4F62-BC68-3311714A69AD"),  # LDM data
}
_POOL: Final = uuid.UUID("E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D")  # Storage Spaces
_NO_TYPE: Final = uuid.UUID(int=0)
_FILE_SYSTEMS: Final = (
    (3, b"NTFS    ", "NTFS"),
    (3, b"-FVE-FS-", "BitLocker"),
    (3, b"ReFS\0\0\0\0", "ReFS"),
    (3, b"EXFAT   ", "exFAT"),
    (82, b"FAT32   ", "FAT32"),
)
"""Place and bytes of the names in boot sectors. BitLocker To Go on FAT32 is told as FAT32."""


@attrs.frozen(kw_only=True)
class Partition:
    """One range of a disk that holds a volume.

    Attributes:
        number: From 1: the slot of the table, logical drives from 5 on; 1 where there is no table.
        start: First byte.
        size: Number of bytes; may reach beyond an image that was cut off.
        kind: ``"mbr 07"``, ``"gpt ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"`` or ``"whole image"``.
        name: The name out of a GPT, or else what the type says; may be empty.
        file_system: ``"NTFS"``, ``"ReFS"``, ``"FAT32"``, ``"exFAT"`` or ``"BitLocker"``, by the
            boot sector; ``None`` for all others.
    """

    number: int
    start: int
    size: int
    kind: str
    name: str
    file_system: str | None


def file_system_of(source: ByteSource, start: int = 0) -> str | None:
    """Tell the file system by the boot sector, without looking any deeper.

    Args:
        source: A disk or volume.
        start: First byte of the volume.

    Returns:
        See :class:`Partition`.

    Raises:
        StoreReadError: The boot sector cannot be read.
    """
    if start + _BOOT_SECTOR > source.size:
        return None
    sector = source.read(start, _BOOT_SECTOR)
    for place, name, file_system in _FILE_SYSTEMS:
        if sector[place : place + len(name)] == name:
            return file_system
    return None


def partitions(source: ByteSource) -> tuple[Partition, ...]:
    """List the partitions of a disk by their place in its table.

    Args:
        source: A disk, or one volume without a table.

    Returns:
        All partitions; one that is the whole source where there is no table.

    Raises:
        CorruptMetadataError: There is a table, but it contradicts itself or its spare is no better.
        UnsupportedFormatError: It is a dynamic disk (LDM) or part of a pool (Storage Spaces).
        StoreReadError: The disk cannot be read.
    """
    whole = Partition(
        number=1,
        start=0,
        size=source.size,
        kind="whole image",
        name="",
        file_system=file_system_of(source),
    )
    if whole.file_system is not None or source.size < _BOOT_SECTOR:
        return (whole,)
    sector = source.read(0, _BOOT_SECTOR)
    slots = _slots(sector) if sector[-2:] == _BOOT_SIGNATURE else []
    kinds = {kind for kind, _, _ in slots}
    if _PROTECTIVE in kinds or not kinds - {0}:
        found = _gpt(source)
        if found is not None:
            return found
        if _PROTECTIVE in kinds:
            raise CorruptMetadataError("neither of the two partition tables (GPT) is valid")
        return (whole,)
    if _LDM in kinds:
        raise _refused_dynamic()
    return tuple(_mbr(source, slots))


def volume_source(source: ByteSource, partition: Partition) -> ByteSource:
    """Return the bytes of one partition; closing them leaves the disk open.

    Args:
        source: The disk.
        partition: One of its partitions.

    Raises:
        StoreReadError: The partition reaches beyond the disk: the image is cut off.
    """
    return WindowSource(
        source, partition.start, partition.size, name=f"partition {partition.number}"
    )


def _refused_dynamic() -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "this is a dynamic disk (Logical Disk Manager); its volumes are not read"
    )


def _slots(sector: bytes) -> list[tuple[int, int, int]]:
    """Return type, first sector and number of sectors of each slot of an MBR; none if it is none.

    A boot sector of a file system has the same last two bytes; its bytes are no valid flags.
    """
    slots: list[tuple[int, int, int]] = []
    for index in range(_MBR_SLOTS):
        flag, kind, start, count = _MBR_ENTRY.unpack_from(
            sector, _MBR_TABLE + index * _MBR_ENTRY.size
        )
        if flag & 0x7F:
            return []
        slots.append((kind if count else 0, start, count))
    return slots


def _mbr(source: ByteSource, slots: list[tuple[int, int, int]]) -> Iterator[Partition]:
    sector = _sector_size(source, slots)
    for index, (kind, start, count) in enumerate(slots):
        if kind and kind not in _EXTENDED:
            yield _mbr_partition(source, index + 1, kind, (start * sector, count * sector))
    number = _MBR_SLOTS
    for kind, start, count in slots:
        if kind in _EXTENDED:
            for inner, place, size in _logical(source, start * sector, count * sector, sector):
                number += 1
                yield _mbr_partition(source, number, inner, (place, size))


def _mbr_partition(source: ByteSource, number: int, kind: int, place: tuple[int, int]) -> Partition:
    return Partition(
        number=number,
        start=place[0],
        size=place[1],
        kind=f"mbr {kind:02x}",
        name=_MBR_NAMES.get(kind, ""),
        file_system=file_system_of(source, place[0]),
    )


def _sector_size(source: ByteSource, slots: list[tuple[int, int, int]]) -> int:
    """An MBR does not say it: 4096 only if a file system shows up there and none at 512."""
    for kind, start, _ in slots:
        if kind and kind not in _EXTENDED:
            found = [file_system_of(source, start * size) is not None for size in _SECTOR_SIZES]
            if any(found):
                return _SECTOR_SIZES[found.index(True)]
    return _SECTOR_SIZES[0]


def _logical(
    source: ByteSource, start: int, size: int, sector: int
) -> Iterator[tuple[int, int, int]]:
    """Return type, first byte and size of each logical drive of an extended partition.

    Raises:
        CorruptMetadataError: The chain of tables leaves the disk, has a circle or is endless.
    """
    here, seen = start, set[int]()
    while True:
        if here in seen or len(seen) == _MOST_LOGICAL or here + _BOOT_SECTOR > source.size:
            raise CorruptMetadataError(
                f"the chain of logical drives is broken at byte {here}", offset=here
            )
        seen.add(here)
        table = source.read(here, _BOOT_SECTOR)
        if table[-2:] != _BOOT_SIGNATURE:
            raise CorruptMetadataError(
                f"there is no table of logical drives at byte {here}", offset=here
            )
        following = None
        for kind, first, count in _slots(table)[:2]:
            if kind in _EXTENDED:
                following = start + first * sector
            elif kind == _LDM:
                raise _refused_dynamic()
            elif kind:
                yield kind, here + first * sector, count * sector
        if following is None:
            return
        if following >= start + size:
            raise CorruptMetadataError(
                "a logical drive lies outside of its extended partition", offset=following
            )
        here = following


def _gpt(source: ByteSource) -> tuple[Partition, ...] | None:
    """Read the first GPT of which both check sums are right; ``None`` if there is none."""
    for sector in _SECTOR_SIZES:
        for place in (sector, source.size - source.size % sector - sector):
            entries = _gpt_entries(source, place, sector)
            if entries is not None:
                return tuple(_gpt_partitions(source, entries, sector))
    return None


def _gpt_entries(source: ByteSource, place: int, sector: int) -> list[bytes] | None:
    """Return the entries of the table whose header is at ``place``, or ``None`` if not valid."""
    if place < sector or place + sector > source.size:
        return None
    header = source.read(place, sector)
    fields = _GPT.unpack_from(header)
    signature, _, length, crc, own = fields[:5]
    table, count, size, table_crc = fields[9:]
    if (
        signature != _GPT_SIGNATURE
        or not _GPT.size <= length <= sector
        or own * sector != place
        or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != crc
        or size < _GPT_ENTRY.size
        or not 0 < count * size <= _LARGEST_TABLE
        or table * sector + count * size > source.size
    ):
        return None
    data = source.read(table * sector, count * size)
    if zlib.crc32(data) != table_crc:
        return None
    return [data[start : start + size] for start in range(0, len(data), size)]


def _gpt_partitions(source: ByteSource, entries: list[bytes], sector: int) -> Iterator[Partition]:
    for index, entry in enumerate(entries):
        raw, _, first, last, _, text = _GPT_ENTRY.unpack_from(entry)
        kind = uuid.UUID(bytes_le=raw)
        if kind == _NO_TYPE:
            continue
        if kind in _DYNAMIC:
            raise _refused_dynamic()
        if kind == _POOL:
            raise UnsupportedFormatError(
                "this disk is part of a storage pool (Storage Spaces); its volumes are not read"
            )
        if last < first:
            raise CorruptMetadataError(f"partition {index + 1} ends before it starts")
        name = text.decode("utf-16-le", "replace").partition("\0")[0]
        yield Partition(
            number=index + 1,
            start=first * sector,
            size=(last - first + 1) * sector,
            kind=f"gpt {kind}",
            name=name or _GPT_NAMES.get(kind, ""),
            file_system=file_system_of(source, first * sector),
        )
