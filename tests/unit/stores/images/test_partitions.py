import random
import struct
import subprocess
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    RestoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bytesource import FileSource
from rehydrate.stores.images.partitions import Partition, file_system_of, partitions, volume_source
from tests.unit.stores.images.disks import BASIC, MIB, SECTOR, Slot, boot_sector, mbr, with_gpt

ESP = uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[bytes | bytearray], tuple[Partition, ...]]:
    def run(disk: bytes | bytearray) -> tuple[Partition, ...]:
        path = tmp_path / "disk"
        path.write_bytes(disk)
        return partitions(FileSource(path))

    return run


Listed = Callable[[bytes | bytearray], tuple[Partition, ...]]


def gpt_disk(sector: int = SECTOR, entry: int = 128) -> bytearray:
    disk = bytearray(4 * MIB)
    first = MIB // sector
    slots = [
        Slot(first=first, last=first + 7, kind=ESP),
        None,
        Slot(first=2 * first, last=3 * first - 1, name="Data für alle"),
    ]
    with_gpt(disk, slots, sector=sector, entry=entry)
    disk[MIB : MIB + SECTOR] = boot_sector(b"FAT32   ")
    disk[2 * MIB : 2 * MIB + SECTOR] = boot_sector()
    return disk


def mbr_disk(sector: int = SECTOR) -> bytearray:
    """Two primary partitions and an extended one with two logical drives."""
    disk = bytearray(4 * MIB)
    unit = MIB // 2 // sector
    disk[:SECTOR] = mbr(
        (0x07, unit, unit), (0, 0, 0), (0x0F, 2 * unit, 5 * unit), (0x0C, 7 * unit, 8)
    )
    disk[MIB : MIB + SECTOR] = mbr((0x07, 16, unit - 16), (0x05, 2 * unit, unit))
    disk[2 * MIB : 2 * MIB + SECTOR] = mbr((0x83, 16, unit - 16))
    disk[MIB // 2 : MIB // 2 + SECTOR] = boot_sector()
    disk[MIB + 16 * sector : MIB + 16 * sector + SECTOR] = boot_sector(b"-FVE-FS-")
    return disk


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("entry", [128, 256])
def test_a_gpt_is_listed(sector: int, entry: int, listed: Listed) -> None:
    esp, data = listed(gpt_disk(sector, entry))
    assert esp == Partition(
        number=1,
        start=MIB,
        size=8 * sector,
        kind=f"gpt {ESP}",
        name="EFI system",
        file_system="FAT32",
    )
    assert data == Partition(
        number=3,
        start=2 * MIB,
        size=MIB,
        kind=f"gpt {BASIC}",
        name="Data für alle",
        file_system="NTFS",
    )


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_spare_gpt_is_used_where_the_first_is_damaged(sector: int, listed: Listed) -> None:
    good = gpt_disk(sector)
    expected = listed(good)
    for place in (sector, sector + 50, 2 * sector, 2 * sector + 40):
        bad = bytearray(good)
        bad[place] ^= 1
        assert listed(bad) == expected
    good[: MIB // 2] = bytes(MIB // 2)  # not even a protective MBR
    assert listed(good) == expected
    good[-sector + 20] ^= 1
    assert [each.kind for each in listed(good)] == ["whole image"]


def test_a_disk_without_any_valid_gpt_is_an_error(listed: Listed) -> None:
    disk = gpt_disk()
    disk[SECTOR + 20] ^= 1
    disk[-SECTOR + 20] ^= 1
    with pytest.raises(CorruptMetadataError, match="neither"):
        listed(disk)


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_mbr_is_listed_with_its_logical_drives(sector: int, listed: Listed) -> None:
    unit = MIB // 2
    found = [(each.number, each.start, each.size, each.kind) for each in listed(mbr_disk(sector))]
    assert found == [
        (1, unit, unit, "mbr 07"),
        (4, 7 * unit, 8 * sector, "mbr 0c"),
        (5, MIB + 16 * sector, unit - 16 * sector, "mbr 07"),
        (6, 2 * MIB + 16 * sector, unit - 16 * sector, "mbr 83"),
    ]
    assert [each.file_system for each in listed(mbr_disk(sector))] == [
        "NTFS", None, "BitLocker", None,
    ]  # fmt: skip
    assert listed(mbr_disk(sector))[0].name == "NTFS, exFAT or ReFS"


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_tables_of_sfdisk_are_listed_as_it_lists_them(
    label: str, tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("sfdisk")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    script = f"label: {label}\n,4M\n,6M\n"
    script += ",20M,E\n,2M\n,3M\n,4M\n" if label == "dos" else ",8M\n"
    subprocess.run(["sfdisk", str(path)], input=script, text=True, check=True, capture_output=True)
    dump = subprocess.run(["sfdisk", "-l", "-o", "start,sectors", "--bytes", str(path)], check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    rows = [line.split() for line in dump.splitlines()]
    expected = {
        (int(row[0]) * SECTOR, int(row[1]) * SECTOR)
        for row in rows
        if len(row) == 2 and row[0].isdigit() and int(row[1]) != 20 * MIB // SECTOR  # extended
    }
    found = partitions(FileSource(path))
    assert {(each.start, each.size) for each in found} == expected
    assert [each.number for each in found] == ([1, 2, 4, 5, 6] if label == "dos" else [1, 2, 3])


BOOT = {
    "NTFS": b"NTFS    ",
    "BitLocker": b"-FVE-FS-",
    "ReFS": b"ReFS\0\0\0\0",
    "exFAT": b"EXFAT   ",
    "FAT32": b"FAT32   ",
}


@pytest.mark.parametrize("file_system", BOOT)
def test_a_volume_without_a_table_is_one_partition(file_system: str, listed: Listed) -> None:
    volume = boot_sector(BOOT[file_system]) + bytes(9 * SECTOR)
    assert listed(volume) == (
        Partition(
            number=1,
            start=0,
            size=len(volume),
            kind="whole image",
            name="",
            file_system=file_system,
        ),
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 100, bytes(4096), b"\xff" * 510 + b"\x55\xaa", bytes(510) + b"\x55\xaa"],
    ids=["nothing", "less than a sector", "zeros", "no flags of an MBR", "an empty MBR"],
)
def test_what_is_no_table_is_one_partition_of_an_unknown_kind(
    content: bytes, listed: Listed
) -> None:
    (only,) = listed(content)
    assert (only.start, only.size, only.file_system) == (0, len(content), None)


def test_real_file_systems_are_told(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("mkntfs", "mkfs.fat", "mkfs.exfat")
    for command, expected in (
        (["mkntfs", "-qFf"], "NTFS"),
        (["mkfs.fat", "-F", "32"], "FAT32"),
        (["mkfs.exfat"], "exFAT"),
    ):
        path = tmp_path / expected
        with path.open("wb") as file:
            file.truncate(40 * MIB)
        subprocess.run([*command, str(path)], check=True, capture_output=True)
        assert [each.file_system for each in partitions(FileSource(path))] == [expected]


def test_dynamic_disks_and_pools_are_refused_by_name(listed: Listed) -> None:
    with pytest.raises(UnsupportedFormatError, match="dynamic disk"):
        listed(mbr((0x42, 63, 1000)) + bytes(MIB))
    chain = mbr_disk()
    chain[2 * MIB : 2 * MIB + SECTOR] = mbr((0x42, 16, 100))
    with pytest.raises(UnsupportedFormatError, match="dynamic disk"):
        listed(chain)
    for kind, name in (
        ("5808C8AA-7E8F-42E0-85D2-E1E90434CFB3", "dynamic disk"),
        ("AF9B60A0-1431-4F62-BC68-3311714A69AD", "dynamic disk"),
        ("E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D", "Storage Spaces"),
    ):
        disk = bytearray(MIB)
        with_gpt(disk, [Slot(first=64, last=100, kind=uuid.UUID(kind))])
        with pytest.raises(UnsupportedFormatError, match=name):
            listed(disk)


def test_broken_chains_of_logical_drives_are_refused(listed: Listed) -> None:
    circle = mbr_disk()
    circle[2 * MIB : 2 * MIB + SECTOR] = mbr((0x07, 16, 100), (0x05, 2 * 1024, 1024))
    nowhere = mbr_disk()
    nowhere[2 * MIB : 2 * MIB + SECTOR] = bytes(SECTOR)
    outside = mbr_disk()
    outside[2 * MIB : 2 * MIB + SECTOR] = mbr((0x07, 16, 100), (0x05, 2**31, 8))
    cut = mbr_disk()[: 2 * MIB + 100]
    long = bytearray(MIB)
    long[:SECTOR] = mbr((0x05, 1, 2000))
    for number in range(1, 600):
        long[number * SECTOR : (number + 1) * SECTOR] = mbr((0x07, 1, 1), (0x05, number, 1))
    for disk in (circle, nowhere, outside, cut, long):
        with pytest.raises(CorruptMetadataError) as caught:
            listed(disk)
        assert caught.value.offset is not None


def test_a_partition_that_ends_before_it_starts_is_refused(listed: Listed) -> None:
    disk = bytearray(MIB)
    with_gpt(disk, [Slot(first=100, last=98)])
    with pytest.raises(CorruptMetadataError, match="ends before"):
        listed(disk)


def test_hostile_numbers_in_a_gpt_end_in_its_spare_or_an_error(listed: Listed) -> None:
    good = gpt_disk()
    expected = listed(good)
    for place, width in ((12, 4), (24, 8), (72, 8), (80, 4), (84, 4)):
        for value in (0, 1, 2**31 - 1, 2**31, 2**32 - 1):
            bad = bytearray(good)
            for header in (SECTOR, len(bad) - SECTOR):
                bad[header + place : header + place + width] = value.to_bytes(width, "little")
                bad[header + 16 : header + 20] = bytes(4)
                length = struct.unpack_from("<I", bad, header + 12)[0]
                crc = zlib.crc32(bytes(bad[header : header + min(length, SECTOR)]))
                bad[header + 16 : header + 20] = struct.pack("<I", crc)
            try:
                assert listed(bad) == expected
            except CorruptMetadataError:
                continue


def test_no_flipped_byte_escapes_as_anything_but_a_typed_error(listed: Listed) -> None:
    chance = random.Random(11)
    for disk in (gpt_disk(), mbr_disk()):
        for _ in range(60):
            bad = bytearray(disk)
            for _ in range(3):
                place = chance.choice([chance.randrange(2048), MIB + chance.randrange(512)])
                bad[place] = chance.randrange(256)
            try:
                listed(bad[: chance.choice([len(bad), chance.randrange(len(bad))])])
            except RestoreError:
                continue


def test_a_volume_of_an_image_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(mbr_disk()[: MIB + 100_000])
    path.write_bytes(mbr((0x07, 16, 100), (0x07, 200, 10_000)) + bytes(MIB))
    source = FileSource(path)
    whole, cut = partitions(source)
    assert volume_source(source, whole).size == 100 * SECTOR
    with pytest.raises(StoreReadError, match="cut off"):
        volume_source(source, cut)
    assert file_system_of(source, 2**50) is None
