"""Windows volumes at the command line, out of images: partitions, shadow copies, backups."""

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import attrs
import pytest

from tests.cli.stage import PROGRAM, called, program
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import (
    Entry,
    NeedsNtfs,
    folder_copy,
    ntfs_image,
    ntfs_mounted,
    partitioned,
)
from tests.windows_store.vss import BLOCK, FILETIME_OF_1970, Snapshot, with_snapshots

SIZE = 32 << 20
AREA = 24 << 20
SHADOW = UUID("a1b2c3d4-0000-4000-8000-00000000beef")
CREATED = FILETIME_OF_1970 + 1_600_000_000 * 10**7
WOF = b"\x17\x00\x00\x80\x04\x00\x00\x00abcd"
BACKUP = "Backup 2016-08-18 062200"
VOLUME = "3f2a9c10-1111-4222-8333-944455556666"


@attrs.frozen
class Volumes:
    """The images, and what must come out of them.

    Attributes:
        now: The volume as it stands, with a shadow copy inside.
        disk: A disk with two partitions, the second of which is the volume.
        want: Bytes by path.
        before: Bytes of the shadow copy by path.
    """

    now: Path
    disk: Path
    want: dict[str, bytes]
    before: dict[str, bytes]


def content(seed: int, size: int) -> bytes:
    return (bytes([seed]) * 300 + b"the sea and the shore ") * (size // 322 + 1)


def tree_of(store: WindowsStore, seed: int) -> list[Entry]:
    q1 = store.add_file(content(seed, 90_000), compression=2)
    q2 = store.add_file(content(seed + 1, 80_000), stub="2.1", parts=2, chunks=9000)
    docx = store.add_file(content(seed + 2, 70_000), stub="3.1")
    return [
        Entry("Shares/Finance/Q1.xlsx", file=q1.recalled({5000: b"NEW" * 100})),
        Entry("Shares/Finance/Q2.xlsx", file=q2),
        Entry("Shares/Finance/Übersicht.docx", file=docx, attributes=0x623),
        Entry(
            "Shares/notes.txt", data=b"the sea\n", streams={"Zone.Identifier": b"[ZoneTransfer]"}
        ),
        Entry("system.dll", reparse=WOF),
    ]


def contents(tree: list[Entry]) -> dict[str, bytes]:
    return {entry.path: entry.content for entry in tree if entry.reparse is None}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Volumes:
    root = tmp_path_factory.mktemp("images")
    stores = WindowsStore(generation=1), WindowsStore(generation=2)
    before, now = (tree_of(store, number * 10) for number, store in enumerate(stores))
    try:
        for name, tree, store in zip(("before", "now"), (before, now), stores, strict=True):
            ntfs_image(root / name, tree, store, label="DATA", size=SIZE)
        shadow = Snapshot(
            volume=(root / "before").read_bytes(),
            created=CREATED,
            identifier=SHADOW,
            set_identifier=UUID(int=7),
        )
        current = (root / "now").read_bytes()
        assert not any(current[AREA:-512]), "nothing lies where the shadow copy goes"
        assert AREA % BLOCK == 0
        (root / "volume.img").write_bytes(with_snapshots(current, [shadow], area=AREA))
        partitioned(root / "volume.img", root / "disk.img", before=1 << 20)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    return Volumes(root / "volume.img", root / "disk.img", contents(now), contents(before))


def same(out: Path, want: dict[str, bytes]) -> bool:
    found = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    return found == want


def test_restore_from_a_disk_without_regard_to_case(volumes: Volumes, tmp_path: Path) -> None:
    before = volumes.disk.stat()
    out = tmp_path / "out"
    done = program("restore", volumes.disk, "shares/FINANCE/**", r"SHARES\Notes.TXT", "-o", out)
    assert done.code == 0, done.err
    assert same(out, volumes.want), "with the spelling of the volume"
    assert volumes.disk.stat().st_mtime_ns == before.st_mtime_ns
    again = program("restore", volumes.disk, "shares/FINANCE/**", "-o", out, "--json").document
    assert set(again["counts"]) == {"skipped_same"}


def test_other_reparse_points_are_left_out_and_said(volumes: Volumes, tmp_path: Path) -> None:
    done = called("restore", volumes.disk, "-o", tmp_path / "out")
    assert done.code == 0
    assert same(tmp_path / "out", volumes.want)
    assert "1 not deduplicated" in done.out
    assert "rehydrate: left out: WOF 0x80000017 (1 entry)" in done.lines
    found = called("restore", volumes.disk, "system.dll", "-o", tmp_path / "o", "--json").document
    (result,) = found["results"]
    assert (result["status"], result["reparse_tag"]) == ("not_deduplicated", "0x80000017")
    assert "WOF 0x80000017" in called("ls", volumes.disk, "-l", "system.dll").out
    done = called("cat", volumes.disk, "system.dll")
    assert (done.code, "0x80000017" in done.lines[0]) == (2, True)


def test_a_shadow_copy_is_a_version_by_number_and_by_name(volumes: Volumes, tmp_path: Path) -> None:
    found = called("versions", volumes.disk, "--json").document["versions"]
    assert [version["number"] for version in found] == [1, 2]
    assert found[0]["created_ns"] == 1_600_000_000 * 10**9
    listed = called("versions", volumes.disk).out
    assert str(SHADOW) in listed
    names = "1", found[0]["source"], str(SHADOW), f"{{{str(SHADOW).upper()}}}"
    for number, name in enumerate(names):
        out = tmp_path / str(number)
        done = called("restore", volumes.disk, "Shares", "--version", name, "-o", out)
        assert done.code == 0, done.err
        assert same(out, volumes.before), "stub and store of the same moment"
    path = "Shares/Finance/Q1.xlsx"
    assert called("restore", volumes.disk, path, "-o", tmp_path / "now").code == 0
    assert (tmp_path / "now" / path).read_bytes() == volumes.want[path]
    info = called("info", volumes.disk, "--version", str(SHADOW), "--json").document
    assert info["volume"]["snapshot"] == str(SHADOW)
    assert {each["generation"] for each in info["stores"][0]["containers"]} == {1}


def test_info_of_a_disk(volumes: Volumes) -> None:
    done = called("info", volumes.disk)
    for text in (
        "raw image disk.img, partition 2",
        "NTFS, 32.0 MiB",
        "label                 DATA",
        "serial",
        "version               2 of 2",
        "3 files (stub format 1.2: 1, 2.1: 1, 3.1: 1)",
        "WOF 0x80000017: 1",
        "basic data",
        "(generation 0x2: 1)",
    ):
        assert text in done.out, text
    found = called("info", volumes.disk, "--json").document
    assert found["layer"] == "raw"
    assert [each["file_system"] for each in found["partitions"]] == [None, "NTFS"]
    assert found["volume"]["serial"]
    assert found["reparse_points"] == {"0x80000017": 1}


def test_ls_long_shows_attributes_owner_and_streams(volumes: Volumes) -> None:
    long = called("ls", volumes.disk, "-l").out.splitlines()
    (document,) = [line for line in long if line.endswith("Übersicht.docx")]
    assert document.startswith("-D RH-AP---  S-1-5-")
    (notes,) = [line for line in long if "notes.txt" in line]
    assert notes.endswith("(+1 streams)")
    entries = called("ls", volumes.disk, "shares/notes.txt", "--json").document["entries"]
    (entry,) = entries
    assert entry["path"] == "Shares/notes.txt"
    assert entry["streams"] == [{"name": "Zone.Identifier", "size": 14}]
    assert min(entry[f"{what}_ns"] for what in ("created", "accessed", "changed")) > 0


def test_a_partition_that_is_not_there_shows_the_table(volumes: Volumes) -> None:
    done = called("ls", volumes.disk, "--partition", "7")
    assert done.code == 2
    assert done.lines[0].split()[:3] == ["partition", "file", "system"]
    assert "NTFS" in done.lines[2]
    assert "has no partition 7" in done.lines[3]
    assert called("ls", volumes.disk, "--partition", "2").code == 0


def test_a_partition_without_a_volume_is_refused_by_name(volumes: Volumes) -> None:
    done = called("ls", volumes.disk, "--partition", "1")
    assert done.code == 3
    assert "no NTFS volume" in done.lines[0]


@pytest.mark.parametrize(
    ("place", "name", "text"),
    [(3, b"ReFS\0\0\0\0", "ReFS"), (3, b"-FVE-FS-", "BitLocker")],
    ids=["ReFS", "BitLocker"],
)
def test_other_file_systems_are_refused_by_name(
    tmp_path: Path, place: int, name: bytes, text: str
) -> None:
    data = bytearray(1 << 20)
    data[place : place + len(name)] = name
    data[510:512] = b"\x55\xaa"
    (tmp_path / "volume.img").write_bytes(data)
    done = called("restore", tmp_path / "volume.img", "-o", tmp_path / "out")
    assert done.code == 3
    (line,) = done.lines
    assert text in line
    assert "newer rehydrate" not in line


def test_cat_reads_a_stub_with_data_of_its_own(volumes: Volumes) -> None:
    path = "Shares/Finance/Q1.xlsx"
    line: list[str] = [*PROGRAM, "cat", os.fspath(volumes.disk), path, "--offset", "4K"]
    done = subprocess.run(line, capture_output=True, check=True)
    assert done.stdout == volumes.want[path][4096:]


@pytest.fixture(scope="module")
def backup(volumes: Volumes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("qemu-img") is None:
        pytest.skip("needs the program qemu-img")
    root = tmp_path_factory.mktemp("backup")
    folder = root / "WindowsImageBackup" / "FILESERVER" / BACKUP
    folder.mkdir(parents=True)
    command: list[str | Path] = [
        "qemu-img",
        "convert",
        "-O",
        "vhdx",
        volumes.disk,
        folder / f"{VOLUME}.vhdx",
    ]
    subprocess.run(command, check=True)
    return root


def test_a_backup_folder_lists_its_versions(backup: Path, volumes: Volumes, tmp_path: Path) -> None:
    for place in (backup, backup / "WindowsImageBackup"):
        done = called("versions", place)
        assert done.code == 0, done.err
        assert "08/18/2016-06:22" in done.out
    for number, name in enumerate(("1", "08/18/2016-06:22")):
        out = tmp_path / str(number)
        done = called("restore", backup, "shares", "--version", name, "-o", out)
        assert done.code == 0, done.err
        assert same(out, volumes.want)
    assert f"{VOLUME}.vhdx" in called("info", backup).out
    assert called("ls", backup, "--partition", VOLUME).code == 0
    done = called("ls", backup, "--partition", "other")
    assert done.code == 2
    assert f"{VOLUME}.vhdx" in done.lines[0]


def test_an_image_serves_orphans(volumes: Volumes, tmp_path: Path) -> None:
    store = WindowsStore(generation=2)
    tree = [entry for entry in tree_of(store, 10) if entry.file is not None]
    folder_copy(tmp_path / "copy", tree)
    out = tmp_path / "out"
    done = called("restore", tmp_path / "copy", "--store", volumes.disk, "-o", out)
    assert done.code == 0, done.err
    assert same(out, contents(tree))


def test_a_mounted_volume_is_read_and_written_as_one(volumes: Volumes, tmp_path: Path) -> None:
    mounted = tmp_path / "source.img"
    shutil.copyfile(volumes.now, mounted)
    target = tmp_path / "target.img"
    ntfs_image(target, [], size=16 << 20)
    with ntfs_mounted(mounted) as source, ntfs_mounted(target, "umask=077") as out:
        assert "mounted volume" in called("info", source).out
        words = ["Shares/Finance/Q2.xlsx", "Shares/notes.txt"]
        done = called("restore", source, *words, "-o", out / "back", "--json")
        assert done.document["counts"] == {"restored": 4}, done.err
        assert same(out / "back", {path: volumes.want[path] for path in words})
        assert "creation time" not in done.document["metadata_lost"]
        notes = out / "back" / "Shares" / "notes.txt"
        assert os.getxattr(notes, "user.Zone.Identifier") == b"[ZoneTransfer]"
