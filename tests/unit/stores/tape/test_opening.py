"""What a person calls a drive."""

import os
import stat
from pathlib import Path

import pytest

from rehydrate.errors import RequestError, RestoreError, StoreReadError
from rehydrate.stores.tape import opening
from rehydrate.stores.tape.opening import DriveKind, kind_of_drive, open_drive
from tests.ltfs_volume import VolumeWriter
from tests.ltfs_volume.image import write_image


def device(monkeypatch: pytest.MonkeyPatch, major: int, mode: int = stat.S_IFCHR) -> None:
    status = os.stat_result((mode, *(0,) * 9), {"st_rdev": os.makedev(major, 128)})
    monkeypatch.setattr(Path, "stat", lambda *_, **__: status)


def test_devices_are_told_by_their_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, object, object]] = []

    def sg(path: str, *, record_bytes: int) -> str:
        opened.append((path, "sg", record_bytes))
        return "sg"

    def st(path: str, *, record_bytes: int, prepare: bool) -> str:
        opened.append((path, record_bytes, prepare))
        return "st"

    monkeypatch.setattr(opening, "SgDrive", sg)
    monkeypatch.setattr(opening, "StDrive", st)
    device(monkeypatch, 21)
    assert kind_of_drive("/dev/tape/by-id/x") is DriveKind.SG
    assert str(open_drive("/dev/tape/by-id/x", record_bytes=2 << 20)) == "sg"
    device(monkeypatch, 9)
    assert kind_of_drive("/dev/nst0") is DriveKind.ST
    assert str(open_drive("/dev/nst0", record_bytes=100)) == "st"
    assert opened == [
        ("/dev/tape/by-id/x", "sg", 2 << 20),
        ("/dev/nst0", 1 << 20, os.geteuid() == 0),
    ]
    for major, mode in ((1, stat.S_IFCHR), (21, stat.S_IFBLK)):
        device(monkeypatch, major, mode)
        with pytest.raises(RequestError, match="is no drive: name a SCSI generic device") as caught:
            kind_of_drive("/dev/null")
        assert caught.value.code == "tape.drive"


def test_tapes_in_files_are_found_behind_links(tmp_path: Path) -> None:
    table = write_image(VolumeWriter().finish().partitions, tmp_path / "TAPE01.json")
    drive = tmp_path / "drive.json"
    assert kind_of_drive(str(drive)) is DriveKind.IMAGE
    with pytest.raises(StoreReadError, match="nothing is in"):
        open_drive(str(drive))
    drive.symlink_to(table)
    assert kind_of_drive(str(drive)) is DriveKind.IMAGE
    found = open_drive(str(drive))
    assert (found.read_record() or b"")[:4] == b"VOL1"
    found.close()
    table.with_suffix(".bin").unlink()
    with pytest.raises(RestoreError, match="cannot open the tape image"):
        open_drive(str(drive))


def test_directories_are_mounts_and_other_files_nothing(tmp_path: Path) -> None:
    assert kind_of_drive(str(tmp_path)) is DriveKind.MOUNT
    assert kind_of_drive(str(tmp_path / "not-yet")) is DriveKind.MOUNT
    with pytest.raises(RequestError, match="is a directory and no device"):
        open_drive(str(tmp_path))
    (tmp_path / "file.txt").write_bytes(b"")
    with pytest.raises(RequestError, match="is no drive"):
        kind_of_drive(str(tmp_path / "file.txt"))
