"""Chunk stores on a real volume."""

import uuid
from functools import partial

import pytest

from rehydrate.errors import ContainerNotFoundError, SessionError, StoreError, StoreReadError
from rehydrate.protocols import BackupStore, DeclaresReadHints, DeclaresStore, ListsContainers
from rehydrate.stores.ntfs import NtfsVolume, contents
from rehydrate.values import StorePath, store_folder
from tests.unit.stores.ntfs.images import (
    HUGE,
    PIECES,
    STORE,
    MemorySource,
    attribute_at,
    noise,
    opened,
)

IDENTITY = uuid.UUID(STORE)
FOLDER = store_folder(IDENTITY)
FIRST = StorePath(f"{FOLDER}/Data/00000001.00000001.ccc")
SPARSE = StorePath(f"{FOLDER}/Data/00000002.00000001.ccc")


def test_stores_are_found_with_their_files(volume: NtfsVolume) -> None:
    other, store = volume.chunk_stores()
    assert other.store == uuid.UUID("00000000-0000-0000-0000-00000000000a")
    assert other.files == ()
    assert store.store == IDENTITY
    assert {file.path: file.size for file in store.files} == {
        FIRST: 200_000,
        SPARSE: HUGE,
        f"{FOLDER}/Stream/00010000.00000002.ccc": 5000,
        f"{FOLDER}/stamp.dat": 0,
    }
    assert list(store.files) == sorted(store.files, key=lambda file: file.path)


def test_a_store_declares_what_it_can(volume: NtfsVolume) -> None:
    store: BackupStore = volume.store(IDENTITY)
    assert isinstance(store, DeclaresStore)
    assert isinstance(store, DeclaresReadHints)
    assert isinstance(store, ListsContainers)
    assert store.store_id == IDENTITY
    assert 0 < store.max_gap < store.max_read


def test_an_unknown_store_is_refused(volume: NtfsVolume) -> None:
    with pytest.raises(StoreError, match="test image has no chunk store") as caught:
        volume.store(uuid.UUID(int=5))
    assert caught.value.code == "store.unknown"


def test_containers_are_read_to_their_end(volume: NtfsVolume) -> None:
    store = volume.store(IDENTITY)
    data = noise(4, 200_000)
    assert store.read_backup_file(FIRST, 0, 200_000) == data
    assert store.read_backup_file(FIRST, 123_456, 7) == data[123_456:123_463]
    assert store.read_backup_file(FIRST, 199_999, 1 << 31) == data[-1:]
    assert store.read_backup_file(FIRST, 200_000, 1) == b""
    assert store.read_backup_file(StorePath(f"{FOLDER}/stamp.dat"), 0, 9) == b""
    assert store.size_of(FIRST) == 200_000


def test_containers_are_found_without_regard_to_case(volume: NtfsVolume) -> None:
    store = volume.store(IDENTITY)
    for path in (FIRST.upper(), FIRST.lower()):
        assert store.read_backup_file(StorePath(path), 0, 5) == noise(4, 200_000)[:5]


def test_sparse_containers_are_right_across_holes_beyond_2_gib(volume: NtfsVolume) -> None:
    store = volume.store(IDENTITY)
    assert store.size_of(SPARSE) == HUGE
    for offset, size in PIECES:
        found = store.read_backup_file(SPARSE, offset - min(offset, 50), size + 100)
        before, after = min(offset, 50), 100 - min(offset, 50)
        assert found == bytes(before) + noise(offset & 255, size) + bytes(after)


@pytest.mark.parametrize(
    "path",
    [
        f"{FOLDER}/Data/00000001.00000009.ccc",
        f"{FOLDER}/Data",
        f"{FOLDER}/Data/00000001.00000001.ccc/x",
        f"{FOLDER}/None/x",
        "big.bin",
        "System Volume Information/Dedup/Settings/dedupConfig.01.xml",
        "",
    ],
)
def test_what_is_no_container_of_the_store_is_not_found(volume: NtfsVolume, path: str) -> None:
    store = volume.store(IDENTITY)
    with pytest.raises(FileNotFoundError) as caught:
        store.read_backup_file(StorePath(path), 0, 1)
    assert isinstance(caught.value, ContainerNotFoundError)
    assert caught.value.container == path


def test_folders_are_listed_and_missing_ones_are_empty(volume: NtfsVolume) -> None:
    store = volume.store(IDENTITY)
    assert store.list_containers(StorePath(f"{FOLDER.lower()}/data")) == [
        "00000001.00000001.ccc",
        "00000002.00000001.ccc",
    ]
    for missing in (f"{FOLDER}/Hotspot", f"{FOLDER}/stamp.dat", "System Volume Information"):
        assert store.list_containers(StorePath(missing)) == []


def test_containers_kept_open_are_bounded(volume: NtfsVolume) -> None:
    kept = contents.OpenContents(limit=1)
    for name in (FIRST, SPARSE, FIRST):
        record = volume._system.find(name.split("/")[1:])
        assert record is not None
        opened_as = contents.Content(record, None, ())
        assert kept.get(name, partial(lambda content: content, opened_as)) is opened_as
        assert list(kept._open) == [name]


def test_an_unreadable_place_names_container_and_offset(image: bytes) -> None:
    source = MemorySource(image)
    volume = opened(source)
    store = volume.store(IDENTITY)
    assert store.read_backup_file(FIRST, 0, 1) == noise(4, 200_000)[:1]
    at = image.index(noise(4, 200_000)[100_000:100_064])
    source.broken = range(at, at + 1)
    with pytest.raises(StoreReadError, match="the disk is broken") as caught:
        store.read_backup_file(FIRST, 90_000, 80_000)
    assert (caught.value.container, caught.value.offset) == (FIRST, 90_000)
    assert store.read_backup_file(FIRST, 190_000, 10) == noise(4, 200_000)[190_000:190_010]


def test_a_container_whose_clusters_leave_the_volume_is_damaged(image: bytes) -> None:
    data = bytearray(image)
    record = opened(image)._system.find(FIRST.split("/")[1:])
    assert record is not None
    header = attribute_at(data, record.number, 0x80)
    runs = header + int.from_bytes(data[header + 32 : header + 34], "little")
    assert data[runs] >> 4 == 2
    data[runs + 2 : runs + 4] = b"\xff\x7f"  # cluster 32767 of 8191
    volume = opened(data)
    with pytest.raises(StoreReadError, match="leaves the volume") as caught:
        volume.store(IDENTITY).read_backup_file(FIRST, 0, 1)
    assert caught.value.container == FIRST


def test_a_closed_volume_closes_its_stores(image: bytes) -> None:
    volume = opened(image)
    store = volume.store(IDENTITY)
    store.read_backup_file(FIRST, 0, 1)
    volume.close()
    with pytest.raises(SessionError, match="closed"):
        store.read_backup_file(FIRST, 0, 1)
