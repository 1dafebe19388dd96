"""A directory on a mounted volume, and volumes known from inventories that are read there."""

import errno
import os
import uuid
from pathlib import Path

import attrs
import pytest

from rehydrate.errors import RestoreError
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.ltfs.mounted import (
    MountedDrive,
    as_mounted,
    mount_identity,
    mounted_facts,
    tape_place,
)
from rehydrate.stores.ltfs.on_mount import OnMountedTape
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Extent, Library, VolumeWriter

PLACES = {"c": ("b", "9"), "a": ("b", "70"), "e": ("a", "80"), "d": ("b", "nonsense")}


def attribute(path: Path, name: str) -> bytes:
    if path.name not in PLACES or not name.startswith("user."):
        raise OSError(errno.ENODATA, "none")
    return PLACES[path.name][name.endswith("startblock")].encode()


def test_containers_come_as_they_lie_on_the_tape(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).write_bytes(name.encode())
    with DirectoryStore(tmp_path) as inside:
        store = OnMountedTape(inside, tmp_path, attribute=attribute)
        paths = [StorePath(name) for name in "abcde"]
        order = [paths[one.index] for one in store.order_containers_restore(paths)]
        assert order == ["e", "c", "a", "b", "d"]
        assert store.read_backup_file(StorePath("b"), 0, 1) == b"b"
        assert store.list_containers(StorePath(".")) == list("abcde")
    assert tape_place(tmp_path / "c", attribute) == (1, 9)


def test_a_volume_known_from_its_index_is_read_by_its_files(tmp_path: Path) -> None:
    """Extents in no order, holes and shared blocks do not matter: the mount knows them."""
    writer = VolumeWriter(block_size=1000)
    writer.add("s/late", b"L" * 2500).add("s/small", b"s" * 10, letter="a").add("other", b"o")
    block = writer.append("b", b"W" * 3000)
    writer.files["s/woven"] = (
        4000,
        [Extent(2000, "b", block, 0, 2000), Extent(0, "b", block + 1, 5, 900)],
    )
    writer.add("s/next", b"N" * 1500)  # begins inside what "woven" takes with its hole
    writer.files["s/bad"] = (1, [Extent(0, "b", 9, 0, 100)])
    writer.add("s/empty", b"").finish()
    volume = LtfsVolume.read(CountingDrive(writer.partitions))
    flat, places = as_mounted(volume, "s")
    assert [place.path for place in places] == ["s/small", "s/late", "s/woven", "s/next"]
    assert flat.label.volume_uuid == volume.label.volume_uuid
    contents = {
        "s/next": b"N" * 1500,
        "s/late": b"L" * 2500,
        "s/woven": bytes(range(250)) * 16,
        "s/small": b"s" * 10,
    }
    (tmp_path / "s").mkdir()
    for path, data in contents.items():
        (tmp_path / path).write_bytes(data)
    drive = MountedDrive(tmp_path, flat.label, places)
    with LtfsStore([flat], Library({"TAPE01": lambda: drive})) as store:
        for path, data in contents.items():
            assert store.read_backup_file(StorePath(path), 0, 9999) == data
    assert len(as_mounted(volume)[1]) == 5


def test_a_mount_tells_who_it_is_and_may_tell_more(tmp_path: Path) -> None:
    told = {"volumeUUID": str(uuid.UUID(int=7)), "volumeSerial": "ABC123 ", "volumeBlocksize": "1"}

    def read(_: Path, name: str) -> bytes:
        key = name.removeprefix("user.ltfs.")
        if key not in told:
            raise OSError(errno.ENODATA, "none")
        return told[key].encode()

    assert mount_identity(tmp_path, read).int == 7
    facts = mounted_facts(tmp_path, read)
    assert (facts.barcode, facts.block_size, facts.generation) == ("ABC123", 512 << 10, 0)
    told |= {"volumeBlocksize": "65536", "indexGeneration": "x"}
    facts = mounted_facts(tmp_path, read)
    assert (facts.block_size, facts.generation) == (65536, 0)
    told.clear()
    assert mounted_facts(tmp_path, read) == attrs.evolve(facts, barcode="", block_size=512 << 10)
    with pytest.raises(RestoreError, match="no LTFS volume is mounted in") as caught:
        mount_identity(tmp_path, read)
    assert caught.value.code == "ltfs.attributes"
    told["volumeUUID"] = "x"
    with pytest.raises(RestoreError):
        mount_identity(tmp_path, read)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    volume = LtfsVolume.read(CountingDrive(VolumeWriter().add("f", b"data").finish().partitions))
    flat, places = as_mounted(volume)
    os.mkfifo(tmp_path / "f")
    drive = MountedDrive(tmp_path, flat.label, places)
    drive.locate(1, places[0].block)
    with pytest.raises(OSError, match="seek"):
        drive.read_record()
    drive.close()
