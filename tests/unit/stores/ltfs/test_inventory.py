"""Inventories: taken, saved, replaced, read again, and refused where they were changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from rehydrate.errors import RequestError, RestoreError, StoreReadError
from rehydrate.media.geometry import WrapEnd
from rehydrate.media.ordering import Kept
from rehydrate.stores.ltfs.documents import index_document, label_document
from rehydrate.stores.ltfs.index import parse_index
from rehydrate.stores.ltfs.inventory import Inventory, load_inventories, load_inventory
from rehydrate.stores.ltfs.label import parse_label
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.taking import (
    Taken,
    generation_of,
    save_inventory,
    take_from_drive,
    take_from_files,
    take_from_mount,
)
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountRequest, TapeDrive
from rehydrate.values import StorePath
from tests.ltfs_volume import SAMPLES, CountingDrive, VolumeWriter, sample

NAMES = ("plain", "a/b/deep & <odd>", "white \t space", "back\\slash", "line\nbreak", "caf\u00e9")


def written(**changes: Any) -> VolumeWriter:
    writer = VolumeWriter(**changes)
    for number, name in enumerate(NAMES):
        if name.isprintable():
            writer.add(name, bytes(5000 + number), sizes=(100,) * number)
    return writer.add("empty", b"").finish()


class TellingDrive(CountingDrive):
    """A drive that tells where wraps end."""

    def wrap_ends(self) -> tuple[WrapEnd, ...]:
        return WrapEnd(0, 0, 3), WrapEnd(2, 1, 9), WrapEnd(3, 1, 20)


def taken(
    writer: VolumeWriter,
    barcode: str | None = None,
    generation: str | None = None,
    *,
    native: bool = False,
) -> Taken:
    drive = CountingDrive(writer.partitions)
    return take_from_drive(drive, barcode, generation, native=native)


def same(one: LtfsVolume, other: LtfsVolume) -> bool:
    paths = {one.index.path(node) for node in one.index.files()}
    assert paths == {other.index.path(node) for node in other.index.files()}
    for path in paths:
        assert one.size_of(path) == other.size_of(path)
        assert one.extents(path) == other.extents(path)
    return one.label == other.label and one.index.head == other.index.head


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    writer = written()
    found = taken(writer)
    path = save_inventory(found, tmp_path / "new" / "inventories")
    assert path.name == "TAPE01.volume.json"
    (again,) = load_inventories(path.parent)
    volume = again.volume
    assert same(found.inventory.volume, volume)
    assert volume.written == {
        letter: len(items) for letter, items in zip("ab", writer.partitions, strict=True)
    }
    assert (volume.inner_barcode, again.generation, volume.tape.model) == ("TAPE01", "", None)
    assert volume.tape.unit_bytes == writer.block_size
    # The documents are those of the tape, byte by byte.
    index, label = (
        tmp_path / "new" / "inventories" / f"TAPE01.1.{kind}.xml" for kind in ("index", "label")
    )
    assert index.read_bytes() == b"".join(item for item in writer.partitions[0][5:] if item)
    assert label.read_bytes() == writer.label("a")
    volume.check_mounted(CountingDrive(writer.partitions))


def test_ends_of_wraps_make_the_geometry(tmp_path: Path) -> None:
    drive = TellingDrive(written().partitions)
    save_inventory(take_from_drive(drive, "TAPE01L9", None), tmp_path)
    (again,) = load_inventories(tmp_path)
    assert again.generation == "LTO-9"
    assert again.wrap_ends == drive.wrap_ends()
    assert again.volume.tape.geometry is not None
    assert again.volume.tape.geometry.reported
    assert again.volume.name == "TAPE01L9"
    assert again.volume.inner_barcode == "TAPE01"


@pytest.mark.parametrize("generation", ["LTO-5", "LTO-6", "LTO-7", "LTO-7M", "LTO-8", "LTO-9"])
def test_wraps_are_assumed_where_data_are_stored_at_native_size(
    generation: str, tmp_path: Path
) -> None:
    writer = written()
    save_inventory(taken(writer, None, generation, native=True), tmp_path)
    (said,) = load_inventories(tmp_path)
    label = written(compression="<compression>false</compression>")
    for found in (said.volume, taken(label, None, generation).inventory.volume):
        geometry = found.tape.geometry
        assert geometry is not None
        assert not geometry.reported


@pytest.mark.parametrize("text", ["<compression>true</compression>", "", "<compression/>"])
def test_wraps_are_not_assumed_where_drives_may_have_compressed(text: str, tmp_path: Path) -> None:
    """A plan by wraps of the wrong size may be worse than the order of the blocks."""
    save_inventory(taken(written(compression=text), None, "LTO-9"), tmp_path)
    (again,) = load_inventories(tmp_path)
    assert again.volume.tape.geometry is None
    assert again.volume.tape.model is not None, "times of reading are known all the same"
    store = LtfsStore([again.volume], Nobody())
    (need,) = store.volumes_needed([StorePath(NAMES[1])])
    assert (need.locate_s, need.kept) == (None, Kept.NO_GEOMETRY)
    assert need.read_s is not None


class Nobody:
    """Mounts nothing."""

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        raise AssertionError(wanted)


def test_wraps_of_some_generations_are_not_assumed() -> None:
    tape = taken(written(), None, "LTO-10", native=True).inventory.volume.tape
    assert tape.geometry is None
    assert tape.model is not None


def test_barcodes_tell_the_generation() -> None:
    assert generation_of("ABC123L8", None) == generation_of("abc123l8", None) == "LTO-8"
    assert generation_of("ABC123M8", None) == "LTO-7M"
    assert generation_of("ABC123L8", "LTO-9") == "LTO-9"
    assert generation_of("ABC123L8", "generic") == ""
    assert generation_of("XL8", None) == generation_of("ABC123ZZ", None) == ""


def test_newer_ones_replace_older_ones_and_not_the_other_way(tmp_path: Path) -> None:
    writer = written()
    old = taken(writer)
    save_inventory(old, tmp_path)
    writer.add("more", b"m").finish()
    save_inventory(taken(writer), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "TAPE01.2.index.xml", "TAPE01.2.label.xml", "TAPE01.volume.json",
    ]  # fmt: skip
    with pytest.raises(RequestError, match=r"newer inventory of TAPE01 .generation 2, this is 1."):
        save_inventory(old, tmp_path)
    save_inventory(taken(writer), tmp_path)  # the same again
    (again,) = load_inventories(tmp_path)
    assert again.volume.index.find("more") is not None


def test_what_a_drive_gave_is_not_replaced_by_what_a_mount_tells(tmp_path: Path) -> None:
    exact = taken(written())
    mount = attrs.evolve(exact, inventory=attrs.evolve(exact.inventory, mounted=True))
    save_inventory(mount, tmp_path)
    save_inventory(exact, tmp_path)
    with pytest.raises(RequestError, match="that a drive gave, which knows more"):
        save_inventory(mount, tmp_path)
    (found,) = load_inventories(tmp_path)
    assert not found.mounted


def test_other_volumes_are_not_replaced(tmp_path: Path) -> None:
    save_inventory(taken(written()), tmp_path)
    with pytest.raises(RequestError, match="another volume TAPE01: if the tape was formatted"):
        save_inventory(taken(written(number=2)), tmp_path)
    with pytest.raises(RequestError, match="already, as TAPE01: say --barcode TAPE01"):
        save_inventory(taken(written(), "OTHER"), tmp_path)
    with pytest.raises(RequestError, match="differ in case only are one; say --barcode TAPE01"):
        save_inventory(taken(written(number=2), "tape01"), tmp_path)
    save_inventory(taken(written(number=2), "OTHER"), tmp_path)
    assert [each.volume.name for each in load_inventories(tmp_path)] == ["OTHER", "TAPE01"]


def test_an_index_with_changes_behind_it_is_saved_as_one(tmp_path: Path) -> None:
    writer = written(version="2.5.0")
    block = writer.append("b", b"new")
    writer.generation += 1
    contents = (
        "<file><name>late</name><fileuid>77</fileuid><length>3</length><extentinfo><extent><fileoffset>0</fileoffset>"
        f"<partition>b</partition><startblock>{block}</startblock><byteoffset>0</byteoffset>"
        "<bytecount>3</bytecount></extent></extentinfo></file>"
    )
    writer.write_changes(contents)
    found = taken(writer)
    save_inventory(found, tmp_path)
    (again,) = load_inventories(tmp_path)
    assert again.volume.size_of("late") == 3
    assert same(found.inventory.volume, again.volume)
    numbers = [
        int(each.index.columns.uid[each.index.find("late") or 0])
        for each in (found.inventory.volume, again.volume)
    ]
    assert numbers == [77, 77], "changes that come later are applied by these numbers"


@pytest.mark.parametrize("name", SAMPLES)
def test_documents_of_the_real_volumes_can_be_written_again(name: str, tmp_path: Path) -> None:
    index = parse_index([sample(f"{name}.index.xml").read_bytes()])
    assert same(*(
        attrs.evolve(
            LtfsVolume.saved("T", sample(f"{name}.label.xml").read_bytes(), document)
        )
        for document in ([sample(f"{name}.index.xml").read_bytes()], index_document(index))
    ))  # fmt: skip
    found = take_from_files(
        sample(f"{name}.label.xml"), sample(f"{name}.index.xml"), "REAL01L8", None
    )
    save_inventory(found, tmp_path)
    (again,) = load_inventories(tmp_path)
    assert same(found.inventory.volume, again.volume)
    assert again.generation == "LTO-8"


def test_odd_names_come_back(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"x")
    folder = mounted(tmp_path / "tree")
    save_inventory(take_from_mount(folder, "MOUNT1", None), tmp_path / "inv")
    (again,) = load_inventories(tmp_path / "inv")
    assert {again.volume.index.path(node) for node in again.volume.index.files()} == set(NAMES)
    assert again.mounted
    assert again.volume.full_blocks


def test_labels_are_written_so_that_they_are_read() -> None:
    for text, known in (("true", True), ("False", False), ("yes", None)):
        writer = VolumeWriter(compression=f"<compression>{text}</compression>")
        label = parse_label(writer.label("b"))
        assert label.compressed is known
        assert parse_label(label_document(label)) == label


def mounted(folder: Path, **more: str) -> Path:
    """Give a directory the attributes of a mounted volume."""
    facts = {"volumeUUID": "44913bc2-d918-484c-add5-c6be1a9bd7e1", **more}
    try:
        for name, value in facts.items():
            os.setxattr(folder, f"user.ltfs.{name}", value.encode())
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for block, path in enumerate(files):
            os.setxattr(path, "user.ltfs.partition", b"b")
            os.setxattr(path, "user.ltfs.startblock", str(5 + block).encode())
    except OSError:
        pytest.skip(f"needs extended attributes of users in {folder}")
    return folder


def test_a_mounted_volume_tells_its_barcode_and_generation(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 3000)
    folder = mounted(tree, volumeSerial="MNT001", indexGeneration="7", volumeBlocksize="1024")
    found = take_from_mount(folder, None, "LTO-8")
    path = save_inventory(found, tmp_path / "inv")
    (again,) = load_inventories(tmp_path / "inv")
    assert path.name == "MNT001.volume.json"
    assert again.volume.index.head.generation == 7
    assert again.volume.label.block_size == 1024
    assert again.volume.extents("file")[0].blocks == 3
    os.removexattr(folder, "user.ltfs.volumeSerial")
    with pytest.raises(RequestError, match="the volume tells none: name one"):
        take_from_mount(folder, None, None)
    os.removexattr(folder, "user.ltfs.indexGeneration")
    with pytest.raises(RequestError, match="this is not known"):
        save_inventory(take_from_mount(folder, "MNT001", None), tmp_path / "inv")


@pytest.mark.parametrize("barcode", ["", "../up", "a b", "-x", "x" * 65, "{barcode}"])
def test_barcodes_that_are_no_names_of_files_are_refused(barcode: str) -> None:
    with pytest.raises(RequestError) as caught:
        taken(written(barcode="" if not barcode else "TAPE01"), barcode)
    assert caught.value.code == "tape.barcode"


def test_a_generation_that_is_not_known_is_refused() -> None:
    with pytest.raises(RequestError, match="there are LTO-5, ") as caught:
        taken(written(), None, "LTO-4")
    assert caught.value.code == "tape.generation"


def test_files_with_changes_only_are_refused(tmp_path: Path) -> None:
    writer = VolumeWriter(version="2.5.0").finish()
    (tmp_path / "label").write_bytes(writer.label("a"))
    (tmp_path / "index").write_bytes(writer.index(root="ltfsincrementalindex"))
    with pytest.raises(RestoreError) as caught:
        take_from_files(tmp_path / "label", tmp_path / "index", "TAPE01", None)
    assert caught.value.code == "ltfs.incremental"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreReadError, match="cannot save the inventory") as caught:
        save_inventory(taken(written()), tmp_path / "file")
    assert caught.value.code == "tape.inventory"


def test_a_drive_that_fails_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    writer = written()
    save_inventory(taken(writer), tmp_path)
    writer.add("more", b"m").finish()
    found = taken(writer)

    def failing() -> Any:
        yield b"<?xml"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_inventory(attrs.evolve(found, index=failing), tmp_path)
    (again,) = load_inventories(tmp_path)
    assert again.volume.index.head.generation == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def saved(folder: Path) -> Path:
    return save_inventory(
        take_from_drive(TellingDrive(written().partitions), "TAPE01L9", None), folder
    )


def test_directories_without_inventories_are_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no inventory: `rehydrate inventory"):
        load_inventories(tmp_path)
    with pytest.raises(RequestError, match="cannot read the inventories in"):
        load_inventories(tmp_path / "none")


def test_two_of_one_volume_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = json.loads(path.read_text()) | {"barcode": "TWIN"}
    (tmp_path / "TWIN.volume.json").write_text(json.dumps(content))
    with pytest.raises(RequestError, match="TAPE01L9 and TWIN are both volume") as caught:
        load_inventories(tmp_path)
    assert caught.value.code == "tape.volumes"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"version": 2},
        {"barcode": "OTHER"},
        {"barcode": 7},
        {"volume_uuid": "x"},
        {"volume_uuid": "00000000-0000-0000-0000-0000000000ff"},
        {"index_generation": 9},
        {"index_generation": -1},
        {"index_generation": True},
        {"label": "../label"},
        {"index": "/etc/passwd"},
        {"index": ""},
        {"partitions": {"a": 0}},
        {"partitions": {"a": 0, "b": 0}},
        {"partitions": {"a": 0, "c": 1}},
        {"partitions": {"aa": 0, "b": 1}},
        {"partitions": []},
        {"written": {"a": -1}},
        {"written": {"a": 1 << 60}},
        {"generation": "LTO-4"},
        {"wrap_ends": [[0, 0]]},
        {"wrap_ends": [[0, 0, -1]]},
        {"wrap_ends": [[0, 0, 5], [0, 0, 6]]},
        {"wrap_ends": [[0, 0, 1]] * 5000},
        {"wrap_ends": "x"},
        {"mounted": 1},
        {"native": 1},
        {"unknown": 1},
    ],
    ids=str,
)
def test_changed_inventories_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RestoreError) as caught:
        load_inventory(path)
    assert caught.value.code == "tape.inventory"


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def bomb(path: Path) -> None:
    path.write_bytes(b'<!DOCTYPE x [<!ENTITY a "b">]>' + path.read_bytes())


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 25)


@pytest.mark.parametrize("spoil", [gone, cut, bomb, pipe, endless])
@pytest.mark.parametrize(
    "name", ["TAPE01L9.volume.json", "TAPE01L9.1.index.xml", "TAPE01L9.1.label.xml"]
)
def test_spoilt_files_are_refused(spoil: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    spoil(tmp_path / name)
    with pytest.raises(RestoreError):
        load_inventories(tmp_path)


def test_errors_of_an_index_name_the_volume(tmp_path: Path) -> None:
    saved(tmp_path)
    cut(tmp_path / "TAPE01L9.1.index.xml")
    with pytest.raises(RestoreError, match="the inventory of TAPE01L9: "):
        load_inventories(tmp_path)


def test_the_identity_of_an_inventory_is_that_of_its_label() -> None:
    found = taken(written(number=5)).inventory
    assert isinstance(found, Inventory)
    assert found.volume.label.volume_uuid.int == 5
