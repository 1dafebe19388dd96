"""A volume that the operating system has mounted."""

import errno
import os
from pathlib import Path

import pytest

from rehydrate.errors import CorruptMetadataError, StoreError, StoreReadError
from rehydrate.stores.ltfs.mounted import MountedDrive, mounted_volume
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition
from rehydrate.values import StorePath
from tests.ltfs_volume import Library

UUID = "44913bc2-d918-484c-add5-c6be1a9bd7e1"
FILES = {
    "c/late": (b"L" * 5000, "b", "90"),
    "c/early": (b"E" * 3000, "b", "7"),
    "c/woven": (b"W" * 2500, "b", "8"),  # begins inside what "early" seems to take
    "small": (b"s", "a", "5"),
}


def make(folder: Path, **changes: str) -> tuple[LtfsVolume, MountedDrive]:
    for name, (data, _, _) in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty").write_bytes(b"")
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to("small")

    def attribute(path: Path, name: str) -> bytes:
        prefix = changes.get("prefix", "user.")
        if not name.startswith(f"{prefix}ltfs."):
            raise OSError(errno.ENODATA, "no such attribute")
        key = name.rpartition(".")[2]
        if key == "volumeUUID":
            return changes.get(key, UUID).encode() + b"\0"
        _, letter, block = FILES[path.relative_to(folder).as_posix()]
        return {"partition": letter, "startblock": changes.get("startblock", block)}[key].encode()

    return mounted_volume(folder, "TAPE01", block_size=1000, attribute=attribute)


@pytest.mark.parametrize("prefix", ["user.", ""])
def test_files_are_read_in_the_order_of_the_tape(tmp_path: Path, prefix: str) -> None:
    volume, drive = make(tmp_path, prefix=prefix)
    paths = [StorePath(name) for name in FILES]
    with LtfsStore([volume], Library({"TAPE01": lambda: drive})) as store:
        answer = store.order_containers_restore([*paths, StorePath("empty")])
        ordered = [paths[one.index] for one in answer if one.index < len(paths)]
        assert ordered == ["small", "c/early", "c/woven", "c/late"]
        for path in paths:
            data = FILES[path][0]
            assert store.read_backup_file(path, 0, 10_000) == data
            assert store.read_backup_file(path, len(data) - 1, 1) == data[-1:]
            assert store.read_backup_file(path, 0, 1) == data[:1]
    assert [extent.block for extent in volume.extents("c/woven")] == [10]


def test_another_volume_in_its_place_is_told(tmp_path: Path) -> None:
    volume, _ = make(tmp_path)
    _, other = make(tmp_path, volumeUUID=UUID.replace("4", "5"))
    with LtfsStore([volume], Library({"TAPE01": lambda: other})) as store:
        with pytest.raises(StoreError) as caught:
            store.read_backup_file(StorePath("small"), 0, 1)
        assert caught.value.code == "tape.wrong-volume"


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    volume, drive = make(tmp_path)
    os.truncate(tmp_path / "c" / "late", 1500)
    with LtfsStore([volume], Library({"TAPE01": lambda: drive})) as store:
        with pytest.raises(StoreReadError) as caught:
            store.read_backup_file(StorePath("c/late"), 0, 5000)
        assert caught.value.code == "ltfs.extent"
    (tmp_path / "small").unlink()
    with LtfsStore([volume], Library({"TAPE01": lambda: drive})) as store:
        with pytest.raises(StoreReadError) as caught:
            store.read_backup_file(StorePath("small"), 0, 1)
        assert caught.value.code == "tape.read"


def test_a_folder_that_is_no_mount_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreReadError, match="cannot read the LTFS mount"):
        mounted_volume(tmp_path, "TAPE01")
    with pytest.raises(CorruptMetadataError) as caught:
        make(tmp_path, volumeUUID="none")
    assert caught.value.code == "ltfs.attributes"
    for block in ("", "-1", "x", "9" * 15, "9" * 16):
        with pytest.raises(CorruptMetadataError) as caught:
            make(tmp_path, startblock=block)
        assert caught.value.code == "ltfs.attributes"


def test_the_drive_knows_ends_and_no_filemarks(tmp_path: Path) -> None:
    _, drive = make(tmp_path)
    drive.locate_end(1)
    assert drive.position() == TapePosition(1, 95)
    with pytest.raises(StoreReadError):
        drive.read_record()
    drive.locate(1, 0)
    with pytest.raises(StoreReadError):
        drive.read_record()
    with pytest.raises(StoreReadError):
        drive.locate(2, 0)
    with pytest.raises(StoreReadError):
        drive.space_filemarks(1)
