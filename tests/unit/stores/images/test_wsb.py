import os
import uuid
from pathlib import Path

import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    RequestError,
    StoreReadError,
)
from rehydrate.stores.images.source import ByteSource
from rehydrate.stores.images.wsb import BackupVersion, find_backups, open_version
from tests.unit.stores.images.disks import MIB, SECTOR, Block, Vhdx, boot_sector, mbr

DATA = uuid.UUID("11111111-2222-3333-4444-555555555555")
SYSTEM = uuid.UUID("99999999-2222-3333-4444-555555555555")


def disk(path: Path, *, store: bool = False, file_system: bytes = b"NTFS    ") -> None:
    """A VHDX as the backup makes it: one partition, one volume."""
    content = bytearray(MIB)
    content[:SECTOR] = mbr((0x07, 128, 1000))
    content[128 * SECTOR : 129 * SECTOR] = boot_sector(file_system)
    if store:
        content[130 * SECTOR : 130 * SECTOR + 5] = b"Dedup"
    Vhdx(size=MIB, blocks={0: Block(state="full", data=bytes(content))}).write(path)


def has_store(source: ByteSource) -> bool:
    return source.read(2 * SECTOR, 5) == b"Dedup"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the backup of two machines leaves behind."""
    folder = tmp_path / "WindowsImageBackup"
    for machine, times in (
        ("FILES01", ("2023-12-31 235901", "2024-01-31 140500")),
        ("DC", ("2022-05-06 070809",)),
    ):
        (folder / machine / "Catalog").mkdir(parents=True)
        (folder / machine / "Catalog" / "GlobalCatalog").write_bytes(b"x")
        (folder / machine / "SPPMetadataCache").mkdir()
        (folder / machine / "MediaId").write_bytes(b"x")
        for time in times:
            backup = folder / machine / f"Backup {time}"
            backup.mkdir()
            (backup / "BackupSpecs.xml").write_text("<x/>")
            (backup / f"{uuid.uuid4()}_Components.xml").write_text("<x/>")
            disk(backup / "Esp.vhdx", file_system=b"FAT32   ")
            disk(backup / f"{SYSTEM}.vhdx")
            disk(backup / f"{str(DATA).upper()}.VHDX", store=True)
    (folder / "Logs").mkdir()
    (folder / "FILES01" / "Backup of something").mkdir()
    (folder / "FILES01" / "Backup 2024-13-31 140500").mkdir()
    (folder / "readme.txt").write_text("x")
    return folder


def newest(root: Path) -> BackupVersion:
    (backup,) = find_backups(root / "FILES01")
    return backup.versions[-1]


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("above", [".", ".."])
def test_machines_and_versions_are_listed(above: str, root: Path) -> None:
    machines = find_backups(Path(os.path.normpath(root / above)))
    assert [
        (each.machine, [version.identifier for version in each.versions]) for each in machines
    ] == [("DC", ["05/06/2022-07:08"]), ("FILES01", ["12/31/2023-23:59", "01/31/2024-14:05"])]
    newest = machines[1].versions[1]
    assert newest.created_ns == 1_706_709_900_000_000_000
    assert newest.folder == root / "FILES01" / "Backup 2024-01-31 140500"
    assert [(each.path.name, each.volume_id) for each in newest.disks] == [
        (f"{DATA}.VHDX", DATA),
        (f"{SYSTEM}.vhdx", SYSTEM),
        ("Esp.vhdx", None),
    ]
    assert all(each.size == each.path.stat().st_size for each in newest.disks)


def test_the_folder_of_a_machine_and_of_a_version_are_accepted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = find_backups(root / "FILES01")
    assert len(one.versions) == 2
    (only,) = find_backups(root / "FILES01" / "Backup 2023-12-31 235901")
    assert (only.machine, [each.identifier for each in only.versions]) == (
        "FILES01",
        ["12/31/2023-23:59"],
    )
    monkeypatch.chdir(root / "FILES01")
    assert find_backups(Path()) == (one,)


def test_what_is_no_backup_has_none(root: Path, tmp_path: Path) -> None:
    assert find_backups(root / "Logs") == ()
    assert find_backups(root / "FILES01" / "Backup 2024-13-31 140500") == ()
    (tmp_path / "file").touch()
    with pytest.raises(ContainerNotFoundError):
        find_backups(tmp_path / "none")
    with pytest.raises(StoreReadError):
        find_backups(tmp_path / "file")


def test_the_volume_with_a_store_is_opened(root: Path) -> None:
    before = open_descriptors()
    with open_version(newest(root), has_store=has_store) as opened:
        assert opened.disk.volume_id == DATA
        assert opened.image.layer == "vhdx"
        assert opened.source.size == 1000 * SECTOR == opened.partition.size
        assert has_store(opened.source)
        assert open_descriptors() == before + 1
    assert open_descriptors() == before


def test_the_only_ntfs_volume_is_opened_where_none_has_a_store(root: Path) -> None:
    (root / "FILES01" / "Backup 2024-01-31 140500" / f"{DATA}.VHDX").unlink()
    with open_version(newest(root), has_store=has_store) as opened:
        assert opened.disk.volume_id == SYSTEM


@pytest.mark.parametrize(
    "name", [str(SYSTEM), f"{{{str(SYSTEM).upper()}}}", f"{SYSTEM}.vhdx"], ids=str
)
def test_a_volume_can_be_named(name: str, root: Path) -> None:
    with open_version(newest(root), has_store=has_store, volume=name) as opened:
        assert opened.disk.volume_id == SYSTEM


def test_an_unclear_choice_lists_what_there_is(root: Path) -> None:
    before = open_descriptors()
    with pytest.raises(RequestError, match="name one of") as caught:
        open_version(newest(root), has_store=lambda _: False)
    assert str(SYSTEM) in str(caught.value)
    assert f"{DATA}.VHDX (512000 bytes)" in str(caught.value)
    assert caught.value.code == "request.volume"
    with pytest.raises(RequestError, match="has no volume D:"):
        open_version(newest(root), has_store=has_store, volume="D:")
    with pytest.raises(RequestError, match="no NTFS volume"):
        open_version(newest(root), has_store=has_store, volume="Esp")
    assert open_descriptors() == before


def test_a_broken_disk_matters_only_where_no_other_can_be_opened(root: Path) -> None:
    folder = root / "FILES01" / "Backup 2024-01-31 140500"
    for name in (f"{SYSTEM}.vhdx", "Esp.vhdx"):
        (folder / name).write_bytes(b"vhdxfile" + bytes(5000))
    with open_version(newest(root), has_store=has_store) as opened:
        assert opened.disk.volume_id == DATA
    (folder / f"{DATA}.VHDX").write_bytes(b"vhdxfile")
    before = open_descriptors()
    with pytest.raises(CorruptMetadataError, match="VHDX"):
        open_version(newest(root), has_store=has_store)
    assert open_descriptors() == before


def test_a_volume_that_cannot_be_asked_has_no_store(root: Path) -> None:
    def failing(source: ByteSource) -> bool:
        if has_store(source):
            return True
        raise CorruptMetadataError("no file system")

    with open_version(newest(root), has_store=failing) as opened:
        assert opened.disk.volume_id == DATA


def test_a_mistake_of_the_caller_closes_everything(root: Path) -> None:
    def failing(source: ByteSource) -> bool:
        raise ZeroDivisionError

    before = open_descriptors()
    with pytest.raises(ZeroDivisionError):
        open_version(newest(root), has_store=failing)
    assert open_descriptors() == before
