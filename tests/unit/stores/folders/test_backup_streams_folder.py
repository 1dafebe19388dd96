"""Folders in which every file is a backup stream, chunk stores included."""

import os
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    RestoreError,
    SessionError,
    StoreError,
    StoreReadError,
)
from rehydrate.protocols import (
    BackupStore,
    DeclaresReadHints,
    DeclaresStore,
    ListsContainers,
    PreviewsReads,
)
from rehydrate.stores import backup_streams_folder
from rehydrate.stores.backup_stream import (
    EA_DATA,
    REPARSE_DATA,
    SECURITY_DATA,
    BackupStream,
    BackupStreamWriter,
    ByteReader,
    parse_backup_stream,
    part_header,
)
from rehydrate.stores.backup_streams_folder import BackupStreamFolder, holds_backup_streams
from rehydrate.stores.volume import NamedStream, Volume, VolumeEntry
from rehydrate.values import DEDUP_TAG, FileExtent, StorePath
from tests.windows_store.store import WindowsStore

STUB = struct.pack("<IHH", DEDUP_TAG, 4, 0) + b"stub"
OWNER = bytes(4) + struct.pack("<I", 8) + bytes([1, 1, 0, 0, 0, 0, 0, 5]) + struct.pack("<I", 18)


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


def write(
    path: Path,
    data: bytes | None = None,
    *,
    ranges: list[FileExtent] | None = None,
    parts: dict[int, bytes] | None = None,
    streams: dict[str, bytes] | None = None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = BackupStreamWriter(file.write)
        for kind, payload in (parts or {}).items():
            writer.part(kind, payload)
        if data is not None:
            writer.data(len(data), reader(data), ranges=ranges)
        for name, payload in (streams or {}).items():
            writer.data(len(payload), reader(payload), name=name)


def back_up(store: WindowsStore, root: Path) -> None:
    """Write the containers of a store as backup streams, one of them sparse."""
    for number, (path, data) in enumerate(sorted(store.as_mapping().items())):
        ranges = [FileExtent(0, 64), FileExtent(4096, len(data) - 4096)] if number else None
        write(root / path, data, ranges=ranges)


def entries_of(volume: BackupStreamFolder, *prefixes: bytes) -> dict[bytes, VolumeEntry]:
    return {entry.path: entry for entry in volume.entries(prefixes)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(
        tmp_path / "Docs" / "all",
        b"hello world",
        parts={SECURITY_DATA: OWNER, EA_DATA: b"eas"},
        streams={"b": b"second", "a": b"first"},
    )
    own = bytes(65536) + b"own" * 100
    write(
        tmp_path / "stub",
        own + bytes(30_000),
        ranges=[FileExtent(65536, 300)],
        parts={REPARSE_DATA: STUB},
    )
    write(tmp_path / "empty")
    return tmp_path


def test_files_are_what_their_streams_say(root: Path) -> None:
    volume = BackupStreamFolder(root)
    checked: Volume = volume
    found = {entry.path: entry for entry in checked.entries()}
    assert list(found) == [b"Docs", b"Docs/all", b"empty", b"stub"]
    file = found[b"Docs/all"]
    assert (file.size, file.reparse_tag, file.owner) == (11, 0, "S-1-5-18")
    assert file.streams == (NamedStream("a", 5), NamedStream("b", 6))
    assert volume.read(file, 6, 5) == b"world"
    assert volume.read(file, 1, 4, "a") == b"irst"
    assert volume.security(file) == OWNER
    assert volume.extended_attributes(file) == b"eas"
    assert volume.own_ranges(file) == (FileExtent(0, 11),)
    assert volume.own_ranges(found[b"empty"]) == ()
    assert volume.own_ranges(found[b"Docs"]) == ()
    assert volume.security(found[b"Docs"]) is None
    assert volume.extended_attributes(found[b"Docs"]) is None
    assert (found[b"empty"].size, found[b"Docs"].directory) == (0, True)
    assert volume.facts.source == "folder of Win32 backup streams"
    assert (volume.case_table, volume.problems) == (None, ())
    volume.close()
    volume.close()
    with pytest.raises(SessionError):
        list(volume.entries()) or volume.read(file, 0, 1)


def test_own_data_of_a_stub_is_known_exactly(root: Path) -> None:
    write(root / "full", b"x" * 10, parts={REPARSE_DATA: STUB})
    write(root / "none", parts={REPARSE_DATA: STUB})
    write(root / "hole", bytes(50_000), ranges=[], parts={REPARSE_DATA: STUB})
    volume = BackupStreamFolder(root)
    found = entries_of(volume)
    stub = found[b"stub"]
    assert (stub.reparse_tag, stub.size) == (DEDUP_TAG, 95_836)
    assert volume.reparse_data(stub) == STUB
    assert volume.own_ranges(stub) == (FileExtent(65536, 300),)
    assert volume.read(stub, 65530, 12) == bytes(6) + b"ownown"
    assert volume.own_ranges(found[b"hole"]) == ()
    assert volume.own_ranges(found[b"full"]) is None
    assert volume.own_ranges(found[b"none"]) is None
    with pytest.raises(StoreReadError):
        volume.reparse_data(found[b"Docs/all"])
    volume.close()


def test_what_is_no_backup_stream_is_left_out_and_told(root: Path) -> None:
    (root / "raw.txt").write_bytes(b"some text that is no backup stream")
    (root / "link").symlink_to("stub")
    os.mkfifo(root / "pipe")
    volume = BackupStreamFolder(root)
    assert list(entries_of(volume)) == [b"Docs", b"Docs/all", b"empty", b"stub"]
    assert len(volume.problems) == 3
    assert any("raw.txt" in line and "backup stream" in line for line in volume.problems)
    assert list(entries_of(volume, b"Docs")) == [b"Docs", b"Docs/all"]
    volume.close()


def test_reads_that_cannot_be_right_are_refused(root: Path) -> None:
    volume = BackupStreamFolder(root)
    file = entries_of(volume)[b"Docs/all"]
    for offset, size, stream in ((5, 7, ""), (0, 6, "a"), (0, 1, "none")):
        with pytest.raises(StoreReadError) as caught:
            volume.read(file, offset, size, stream)
        assert caught.value.file == "Docs/all"
    volume.close()
    other = BackupStreamFolder(root)
    (root / "Docs" / "all").write_bytes(b"no stream any more")
    with pytest.raises(CorruptMetadataError) as wrong:
        other.read(file, 0, 1)
    assert wrong.value.file == "Docs/all"
    other.close()


def test_a_part_that_is_too_large_is_not_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_streams_folder, "_LARGEST_PART", 11)
    volume = BackupStreamFolder(root)
    assert list(entries_of(volume)) == [b"Docs", b"empty"]
    assert any("a part of kind 8 with 12 bytes" in line for line in volume.problems)
    volume.close()


def test_folders_that_cannot_be_read_are_told(root: Path) -> None:
    volume = BackupStreamFolder(root)
    paths = []
    for entry in volume.entries():
        paths.append(entry.path)
        if entry.path == b"Docs":
            (root / "Docs").rename(root / "Moved")
    assert paths == [b"Docs", b"empty", b"stub"]
    assert "Docs" in volume.problems[0]
    volume.close()


def test_containers_are_read_out_of_their_streams(tmp_path: Path) -> None:
    made = WindowsStore()
    made.add_file(os.urandom(300_000), chunks=50_000)
    back_up(made, tmp_path)
    (tmp_path / next(iter(made.as_mapping()))).with_name("raw").write_bytes(b"raw")
    volume = BackupStreamFolder(tmp_path)
    assert list(volume.entries()) == []
    (found,) = volume.chunk_stores()
    expected = {path: len(data) for path, data in made.as_mapping().items()}
    assert {file.path: file.size for file in found.files} == expected
    assert "raw" in volume.problems[0]
    with volume.store(made.guid) as store:
        required: BackupStore = store
        assert isinstance(required, ListsContainers | PreviewsReads)
        assert isinstance(store, DeclaresStore)
        assert isinstance(store, DeclaresReadHints)
        assert store.store_id == made.guid
        for path, data in made.as_mapping().items():
            spelt = StorePath(path.replace("/Data/", "/DATA/"))
            assert store.read_backup_file(spelt, 0, len(data)) == data
            assert store.read_backup_file(spelt, 4000, 500) == data[4000:4500]
            assert store.read_backup_file(spelt, len(data) - 5, 100) == data[-5:]
            assert store.read_backup_file(spelt, len(data), 1) == b""
            store.preview_container_read(spelt, [FileExtent(0, 200), FileExtent(5000, 9)])
        folder = StorePath(path.rpartition("/")[0])
        assert store.list_containers(folder) == sorted(
            name.rpartition("/")[2] for name in expected if name.startswith(folder)
        )
        missing = StorePath(f"{folder}/00000099.00000001.ccc")
        store.preview_container_read(missing, [FileExtent(0, 1)])
        with pytest.raises(FileNotFoundError):
            store.size_of(missing)
        with pytest.raises(CorruptMetadataError) as caught:
            store.size_of(StorePath(f"{next(iter(expected)).rpartition('/')[0]}/raw"))
        assert "raw" in (caught.value.container or "")
    with pytest.raises(StoreError) as unknown:
        volume.store(uuid.UUID(int=9))
    assert unknown.value.code == "store.unknown"
    last = volume.store(made.guid)
    volume.close()
    with pytest.raises(SessionError):
        last.read_backup_file(StorePath(path), 0, 10)


def test_a_container_without_data_is_empty(tmp_path: Path) -> None:
    made = WindowsStore()
    made.add_file(bytes(40_000))
    path = StorePath(next(iter(made.as_mapping())))
    write(tmp_path / path, parts={SECURITY_DATA: OWNER})
    volume = BackupStreamFolder(tmp_path)
    store = volume.store(made.guid)
    assert (store.size_of(path), store.read_backup_file(path, 0, 10)) == (0, b"")
    volume.close()


def test_settings_are_read_out_of_their_streams(tmp_path: Path) -> None:
    settings = tmp_path / "System Volume Information" / "Dedup" / "Settings"
    write(settings / "dedupConfig.01.xml", b"<root/>")
    write(settings / "empty.xml")
    (settings / "raw.xml").write_bytes(b"<root/>")
    write(settings / "hole.xml", b"")
    (settings / "large.xml").write_bytes(
        part_header(1, 0, attributes=8) + part_header(9, 8) + struct.pack("<Q", 1 << 40)
    )
    volume = BackupStreamFolder(tmp_path)
    assert volume.settings() == {
        "dedupConfig.01.xml": b"<root/>",
        "empty.xml": b"",
        "hole.xml": b"",
    }
    assert "raw.xml" in volume.problems[0]
    volume.close()


def test_places_of_parts_are_remembered_within_a_budget(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_streams_folder, "_CACHED_PARTS", 6)
    parses: list[int] = []

    def counting(read: ByteReader, size: int) -> BackupStream:
        parses.append(size)
        return parse_backup_stream(read, size)

    monkeypatch.setattr(backup_streams_folder, "parse_backup_stream", counting)
    volume = BackupStreamFolder(root)
    found = entries_of(volume)
    parses.clear()
    for _ in range(3):
        assert volume.read(found[b"stub"], 0, 1) == b"\0"
    assert parses == []
    assert volume.read(found[b"Docs/all"], 0, 1) == b"h"
    assert volume.read(found[b"stub"], 0, 1) == b"\0"
    assert len(parses) == 2
    volume.close()


class TestDetection:
    def test_tells_streams_from_other_files(self, root: Path) -> None:
        assert holds_backup_streams(root)
        (root / "Docs" / "deep").mkdir()
        (root / "Docs" / "deep" / "raw").write_bytes(b"Cthr" + bytes(100))
        assert not holds_backup_streams(root)

    def test_looks_at_the_first_files_only(self, root: Path) -> None:
        for number in range(20):
            write(root / f"a{number}", b"data")
        (root / "z").mkdir()
        (root / "z" / "raw").write_bytes(b"raw")
        assert holds_backup_streams(root)

    def test_needs_a_file_that_is_not_empty(self, tmp_path: Path) -> None:
        assert not holds_backup_streams(tmp_path)
        (tmp_path / "a").write_bytes(b"")
        assert not holds_backup_streams(tmp_path)
        (tmp_path / "b").write_bytes(part_header(99, 0))
        assert not holds_backup_streams(tmp_path)
        with pytest.raises(ContainerNotFoundError):
            holds_backup_streams(tmp_path / "missing")


def test_damage_anywhere_is_a_typed_error_or_told(root: Path) -> None:
    path = root / "Docs" / "all"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        volume = BackupStreamFolder(root)
        for entry in volume.entries([b"Docs/all"]):
            try:
                volume.read(entry, 0, min(entry.size, 1000))
                for stream in entry.streams:
                    volume.read(entry, 0, stream.size, stream.name)
            except RestoreError:
                continue
        volume.close()
