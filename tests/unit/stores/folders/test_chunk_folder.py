"""Chunk stores in plain files: found wherever a person points, in any spelling, and read."""

import os
import uuid
from pathlib import Path

import pytest

from rehydrate.errors import ContainerNotFoundError, StoreError, StoreReadError
from rehydrate.protocols import (
    BackupStore,
    DeclaresReadHints,
    DeclaresStore,
    ListsContainers,
    PreviewsReads,
    ReadsInto,
)
from rehydrate.stores.chunk_folder import (
    ChunkFolder,
    find_chunk_stores,
    list_chunk_store,
    read_settings,
)
from rehydrate.stores.host_tree import HostTree
from rehydrate.values import FileExtent, StorePath, store_folder

ONE = uuid.UUID("0f5e3c2a-8b7d-4e61-9a20-6c1d2e3f4a5b")
TWO = uuid.UUID("ffffffff-8b7d-4e61-9a20-6c1d2e3f4a5b")
CONTAINER = "Data/00000001.00000001.ccc"
SPELT = ("System Volume Information", "Dedup", "ChunkStore")


def make_store(root: Path, identity: uuid.UUID = ONE, chain: tuple[str, ...] = SPELT) -> Path:
    folder = root.joinpath(*chain, f"{{{str(identity).upper()}}}.ddp")
    (folder / "Data").mkdir(parents=True)
    (folder / CONTAINER).write_bytes(bytes(range(200)))
    return folder


def path_of(inner: str, identity: uuid.UUID = ONE) -> StorePath:
    return StorePath(f"{store_folder(identity)}/{inner}")


@pytest.mark.parametrize("depth", range(5))
def test_a_store_is_found_from_every_level(depth: int, tmp_path: Path) -> None:
    folder = make_store(tmp_path)
    given = [*reversed(folder.parents), folder][-5:][depth]
    assert find_chunk_stores(given) == [(ONE, folder)]


@pytest.mark.parametrize(
    "chain",
    [
        ("SYSTEM VOLUME INFORMATION", "DEDUP", "CHUNKSTORE"),
        ("system volume information", "dedup", "chunkstore"),
    ],
)
def test_a_store_is_found_in_any_case(chain: tuple[str, ...], tmp_path: Path) -> None:
    folder = make_store(tmp_path, chain=chain)
    lower = folder.rename(folder.with_name(folder.name.lower()))
    assert find_chunk_stores(tmp_path) == [(ONE, lower)]
    assert find_chunk_stores(tmp_path / chain[0]) == [(ONE, lower)]
    assert find_chunk_stores(lower) == [(ONE, lower)]


def test_several_stores_are_found_in_order_of_identity(tmp_path: Path) -> None:
    two, one = make_store(tmp_path, TWO), make_store(tmp_path, ONE)
    (one.parent / "{not-a-guid}.ddp").mkdir()
    (one.parent / "notes.txt").write_bytes(b"")
    assert find_chunk_stores(tmp_path) == [(ONE, one), (TWO, two)]


def test_stores_in_folders_that_differ_by_case_are_all_found(tmp_path: Path) -> None:
    one = make_store(tmp_path, ONE)
    two = make_store(tmp_path, TWO, ("system volume information", "Dedup", "ChunkStore"))
    assert find_chunk_stores(tmp_path) == [(ONE, one), (TWO, two)]


def test_two_folders_of_one_identity_are_refused(tmp_path: Path) -> None:
    folder = make_store(tmp_path)
    folder.with_name(folder.name.lower()).mkdir()
    with pytest.raises(StoreError) as caught:
        find_chunk_stores(tmp_path)
    assert caught.value.code == "store.twice"


def test_no_store_is_no_fault_and_no_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert find_chunk_stores(tmp_path) == []
    with pytest.raises(ContainerNotFoundError):
        find_chunk_stores(tmp_path / "missing")
    with pytest.raises(StoreReadError):
        find_chunk_stores(tmp_path / "file")


@pytest.mark.parametrize("part", ["Data", "STREAM"])
def test_containers_without_a_name_that_says_whose_are_told(part: str, tmp_path: Path) -> None:
    (tmp_path / part).mkdir()
    (tmp_path / part / "anything.txt").write_bytes(b"")
    assert find_chunk_stores(tmp_path) == []  # a folder of that name says nothing
    (tmp_path / part / "0000000A.00000001.CCC").write_bytes(b"")
    with pytest.raises(StoreError, match=r"call it \{GUID\}\.ddp") as caught:
        find_chunk_stores(tmp_path)
    assert caught.value.code == "store.unnamed"


def test_links_lead_to_a_store_only_where_the_caller_made_them(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "real")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / SPELT[0]).symlink_to(tmp_path / "real" / SPELT[0])
    assert find_chunk_stores(tmp_path / "copy") == []
    (tmp_path / "link").symlink_to(folder)
    assert find_chunk_stores(tmp_path / "link") == [(ONE, tmp_path / "link")]


def test_a_container_is_read_as_the_contract_says(tmp_path: Path) -> None:
    with ChunkFolder(make_store(tmp_path), ONE) as store:
        required: BackupStore = store
        assert isinstance(required, ReadsInto | ListsContainers)
        assert isinstance(required, PreviewsReads)
        assert isinstance(store, DeclaresReadHints)
        assert isinstance(store, DeclaresStore)
        assert (store.store_id, store.path.name.upper()) == (ONE, f"{{{ONE}}}.DDP".upper())
        path = path_of(CONTAINER)
        assert store.read_backup_file(path, 3, 4) == bytes([3, 4, 5, 6])
        assert store.read_backup_file(path, 198, 9) == bytes([198, 199])
        buffer = bytearray(4)
        assert store.read_backup_file_into(path, 10, memoryview(buffer)) == 4
        assert buffer == bytes([10, 11, 12, 13])
        assert store.size_of(path) == 200
        store.preview_container_read(path, [FileExtent(0, 10)])
        store.preview_container_read(path_of("Data/missing"), [FileExtent(0, 10)])


def test_names_are_found_without_regard_to_case(tmp_path: Path) -> None:
    folder = make_store(tmp_path)
    (folder / "Data").rename(folder / "DATA")
    (folder / "DATA" / "00000001.00000001.ccc").rename(folder / "DATA" / "0000000A.00000001.CCC")
    (folder / "data").mkdir()
    (folder / "data" / "00000002.00000001.ccc").write_bytes(b"two")
    with ChunkFolder(folder, ONE) as store:
        for spelt in ("Data/0000000a.00000001.ccc", "DATA/0000000A.00000001.CCC"):
            assert store.read_backup_file(path_of(spelt), 1, 2) == b"\1\2"
        upper = StorePath(path_of("Data/0000000a.00000001.ccc").upper())
        assert store.size_of(upper) == 200
        assert store.size_of(upper) == 200  # known by now
        assert store.read_backup_file(path_of("Data/00000002.00000001.ccc"), 0, 9) == b"two"
        assert store.list_containers(path_of("Data")) == [
            "00000002.00000001.ccc",
            "0000000A.00000001.CCC",
        ]
        assert store.list_containers(store_folder(ONE)) == ["DATA", "data"]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with ChunkFolder(make_store(tmp_path), ONE) as store:
        for path in (
            path_of("Data/00000009.00000001.ccc"),
            path_of("Stream/00010000.00000001.ccc"),
            path_of(CONTAINER, TWO),
            StorePath("Data/x"),
            StorePath(""),
        ):
            with pytest.raises(FileNotFoundError):
                store.read_backup_file(path, 0, 1)
            assert store.list_containers(path) == []


def test_a_store_never_leads_out_of_its_folder(tmp_path: Path) -> None:
    folder = make_store(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "Data" / "link.ccc").symlink_to(tmp_path / "secret")
    with ChunkFolder(folder, ONE) as store:
        for inner in ("Data/link.ccc", "../../../../secret", "Data/../../x"):
            with pytest.raises(OSError, match=r".") as caught:
                store.read_backup_file(path_of(inner), 0, 6)
            assert not isinstance(caught.value, PermissionError)


def test_all_files_of_a_store_are_listed_in_canonical_spelling(tmp_path: Path) -> None:
    folder = make_store(tmp_path)
    (folder / "Data").rename(folder / "DATA")
    (folder / "STREAM").mkdir()
    (folder / "STREAM" / "00010000.00000001.ccc").write_bytes(b"12345")
    (folder / "stamp.dat").write_bytes(bytes(28))
    (folder / "COW" / "data").mkdir(parents=True)
    (folder / "COW" / "data" / "x").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "fifo")
    listed = list_chunk_store(ONE, folder)
    assert listed.store == ONE
    assert [(file.path, file.size) for file in listed.files] == [
        (path_of("COW/data/x"), 0),
        (path_of("Data/00000001.00000001.ccc"), 200),
        (path_of("Stream/00010000.00000001.ccc"), 5),
        (path_of("stamp.dat"), 28),
    ]
    with pytest.raises(StoreReadError):
        list_chunk_store(ONE, folder / "stamp.dat")


def test_settings_are_small_files_found_in_any_case(tmp_path: Path) -> None:
    tree = HostTree(tmp_path)
    assert read_settings(tree) == {}
    settings = tmp_path / "SYSTEM volume information" / "dedup" / "settings"
    settings.mkdir(parents=True)
    (settings / "dedupConfig.01.xml").write_bytes(b"<root/>")
    with (settings / "huge").open("wb") as file:
        file.truncate((1 << 20) + 1)
    (settings / "folder").mkdir()
    assert read_settings(tree) == {"dedupConfig.01.xml": b"<root/>"}
    for number in range(70):
        (settings / f"{number:03}").write_bytes(b"")
    assert len(read_settings(tree)) == 64
    tree.close()
