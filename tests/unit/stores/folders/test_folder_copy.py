"""Folder copies: what is a stub, what is own data of it, and what is left out."""

import os
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from rehydrate.errors import SessionError, StoreError, StoreReadError
from rehydrate.formats.detect import owner_of
from rehydrate.ports import SystemFiles
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.stores.ntfs_attributes import filetime
from rehydrate.stores.orphans import orphan_stubs
from rehydrate.stores.volume import Volume, VolumeEntry
from rehydrate.values import DEDUP_TAG, FILETIME_OF_1970, FileExtent, StoreId
from tests.windows_store.store import WindowsStore

STUB = struct.pack("<IHH", DEDUP_TAG, 4, 0) + b"stub"
OTHER = struct.pack("<IHH", 0xA000000C, 4, 0) + b"link"
BLOCK = 4096


def sparse(path: Path, size: int, data: Mapping[int, bytes] | None = None) -> None:
    with path.open("wb") as file:
        for offset, written in (data or {}).items():
            file.seek(offset)
            file.write(written)
        file.truncate(size)


def entries_of(root: Path, *prefixes: bytes) -> dict[bytes, VolumeEntry]:
    volume = FolderCopy(root)
    try:
        return {entry.path: entry for entry in volume.entries(prefixes)}
    finally:
        volume.close()


def own_ranges(root: Path, name: bytes) -> tuple[FileExtent, ...] | None:
    volume = FolderCopy(root)
    try:
        (entry,) = volume.entries([name])
        return volume.own_ranges(entry)
    finally:
        volume.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A place whose file system tells holes."""
    sparse(tmp_path / "probe", 1 << 20, {1 << 19: b"x"})
    with (tmp_path / "probe").open("rb") as file:
        told = os.lseek(file.fileno(), 0, os.SEEK_DATA) > 0
    if not told or (tmp_path / "probe").stat().st_blksize > BLOCK:
        pytest.skip("the file system for temporary files does not tell holes of 4096 bytes")
    (tmp_path / "probe").unlink()
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_files_directories_and_stubs_are_listed_in_tree_order(root: Path) -> None:
    (root / "b" / "deep").mkdir(parents=True)
    (root / "b" / "deep" / "x").write_bytes(b"12345")
    (root / "b.txt").write_bytes(b"plain")
    sparse(root / "a", 100_000)
    (root / "a.reparse").write_bytes(STUB)
    (root / "alone.reparse").write_bytes(STUB)
    (root / "System Volume Information").mkdir()
    volume = FolderCopy(root)
    checked: Volume = volume
    entries = list(checked.entries())
    assert [entry.path for entry in entries] == [
        b"a", b"alone", b"b", b"b/deep", b"b/deep/x", b"b.txt",
    ]  # fmt: skip
    by_path = {entry.path: entry for entry in entries}
    assert [by_path[path].reparse_tag for path in (b"a", b"alone", b"b.txt")] == [
        DEDUP_TAG, DEDUP_TAG, 0,
    ]  # fmt: skip
    assert [by_path[path].size for path in (b"a", b"alone", b"b", b"b.txt")] == [100_000, 0, 0, 5]
    assert by_path[b"b"].directory
    assert volume.reparse_data(by_path[b"a"]) == STUB
    assert volume.reparse_data(by_path[b"alone"]) == STUB
    with pytest.raises(StoreReadError):
        volume.reparse_data(by_path[b"b.txt"])
    assert volume.read(by_path[b"b/deep/x"], 1, 3) == b"234"
    assert (volume.facts.source, volume.case_table, volume.problems) == ("folder copy", None, ())
    volume.close()
    volume.close()
    with pytest.raises(SessionError):
        volume.read(by_path[b"b.txt"], 0, 1)


def test_times_and_links_are_those_of_the_file_system(root: Path) -> None:
    (root / "a").write_bytes(b"a")
    os.utime(root / "a", ns=(1_500_000_000_123_456_700, 1_600_000_000_765_432_100))
    (root / "b").hardlink_to(root / "a")
    (root / "c").write_bytes(b"c")
    found = entries_of(root)
    assert found[b"a"].accessed == FILETIME_OF_1970 + 15_000_000_001_234_567
    assert found[b"a"].modified == FILETIME_OF_1970 + 16_000_000_007_654_321
    assert found[b"a"].created == 0
    assert (filetime(0), filetime(-FILETIME_OF_1970 * 100 - 100)) == (
        FILETIME_OF_1970,
        0,
    )  # nothing before 1601
    assert (found[b"a"].links, found[b"c"].links) == (2, 1)
    assert found[b"a"].file_id == found[b"b"].file_id == (root / "a").stat().st_ino
    assert found[b"c"].file_id == 0
    assert found[b"a"].owner is None


@pytest.mark.parametrize(
    ("prefixes", "paths"),
    [
        ((b"a",), [b"a", b"a/b", b"a/b/c", b"a/d"]),
        ((b"a/b",), [b"a/b", b"a/b/c"]),
        ((b"a/b/c", b"ab"), [b"a/b/c", b"ab"]),
        ((b"/a/d/",), [b"a/d"]),
        ((b"stub",), [b"stub"]),
        ((b"stub.reparse",), []),
        ((b"A",), []),
        ((b"",), [b"a", b"a/b", b"a/b/c", b"a/d", b"ab", b"stub"]),
    ],
)
def test_prefixes_choose_paths_and_what_is_below(
    prefixes: tuple[bytes, ...], paths: list[bytes], root: Path
) -> None:
    (root / "a" / "b").mkdir(parents=True)
    for path in ("a/b/c", "a/d", "ab"):
        (root / path).write_bytes(b"")
    (root / "stub.reparse").write_bytes(STUB)
    assert list(entries_of(root, *prefixes)) == paths


def test_folders_that_are_not_asked_for_are_not_looked_at(root: Path) -> None:
    opened: list[bytes] = []

    class Recording(SystemFiles):
        def open_beneath(self, path: bytes, flags: int, dir_fd: int) -> int:
            opened.append(path)
            return super().open_beneath(path, flags, dir_fd)

    for path in ("a/b/c", "x/y"):
        (root / path).mkdir(parents=True)
    volume = FolderCopy(root, files=Recording())
    assert [entry.path for entry in volume.entries([b"a/b"])] == [b"a/b", b"a/b/c"]
    assert b"x" not in opened
    volume.close()


def test_names_that_are_no_text_are_kept(root: Path) -> None:
    name = b"caf\xe9 \xed\xa0\x80"
    (root / os.fsdecode(name)).write_bytes(b"x")
    volume = FolderCopy(root)
    (entry,) = volume.entries()
    assert entry.path == name
    assert volume.read(entry, 0, 1) == b"x"
    volume.close()


def test_links_and_pipes_are_left_out_and_told(root: Path) -> None:
    (root / "outside").symlink_to("/etc/passwd")
    (root / "folder").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "pipe.reparse")
    (root / "file").write_bytes(b"x")
    volume = FolderCopy(root)
    assert [entry.path for entry in volume.entries()] == [b"file"]
    list(volume.entries())
    assert sorted(volume.remarks) == [
        "folder is a link: left out",
        "outside is a link: left out",
        "pipe is no file or directory: left out",
        "pipe.reparse is no file or directory: left out",
    ]
    (link,) = entries_of(root, b"file").values()
    (root / "file").unlink()
    (root / "file").symlink_to("/etc/passwd")
    with pytest.raises(StoreReadError):
        volume.read(link, 0, 1)
    volume.close()


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(root: Path) -> None:
    class Refusing(SystemFiles):
        def open_beneath(self, path: bytes, flags: int, dir_fd: int) -> int:
            if path in (b"b", b"c.reparse"):
                raise PermissionError(13, "Permission denied")
            return super().open_beneath(path, flags, dir_fd)

        def lstat(self, path: bytes, dir_fd: int) -> os.stat_result:
            if path == b"gone":
                raise FileNotFoundError(2, "No such file")
            return super().lstat(path, dir_fd)

    for name in ("a", "b"):
        (root / name).mkdir()
    for name in ("c", "c.reparse", "gone", "z"):
        (root / name).write_bytes(b"12345678")
    volume = FolderCopy(root, files=Refusing())
    assert [entry.path for entry in volume.entries()] == [b"a", b"b", b"c", b"z"]
    assert len(volume.problems) == 3
    assert "cannot read b: Permission denied" in volume.problems
    volume.close()


def test_a_file_that_shrinks_is_told_with_its_place(root: Path) -> None:
    (root / "a").write_bytes(b"12345")
    volume = FolderCopy(root)
    (entry,) = volume.entries()
    for offset, size in ((3, 3), (9, 1), (0, 1 << 50), (1 << 63, 1)):
        with pytest.raises(StoreReadError) as caught:
            volume.read(entry, offset, size)
        assert (caught.value.file, caught.value.code) == ("a", "store.short-read")
    with pytest.raises(StoreReadError):
        volume.read(entry, 0, 1, "stream")
    (root / "a").unlink()
    with pytest.raises(StoreError):
        volume.read(entry, 0, 1)
    assert volume.own_ranges(entry) is None
    volume.close()


class TestSidecars:
    def test_of_another_tag_are_taken_if_they_are_whole(self, root: Path) -> None:
        (root / "link").write_bytes(b"")
        (root / "link.reparse").write_bytes(OTHER)
        assert entries_of(root)[b"link"].reparse_tag == 0xA000000C

    @pytest.mark.parametrize(
        "content",
        [b"", b"1234567", b"a text, no buffer", OTHER + b"more", OTHER[:-1], bytes(8)],
    )
    def test_that_hold_no_reparse_data_are_ordinary_files(self, content: bytes, root: Path) -> None:
        (root / "a").write_bytes(b"plain")
        (root / "a.reparse").write_bytes(content)
        volume = FolderCopy(root)
        found = {entry.path: entry.reparse_tag for entry in volume.entries()}
        assert found == {b"a": 0, b"a.reparse": 0}
        (problem,) = volume.remarks
        assert problem == "a.reparse holds no reparse data: taken as an ordinary file"
        volume.close()

    def test_of_damaged_stubs_are_sidecars_all_the_same(self, root: Path) -> None:
        (root / "a.reparse").write_bytes(STUB[:6])
        (root / "b.reparse").write_bytes(STUB + b"more")
        found = entries_of(root)
        assert list(found) == [b"a.reparse", b"b"]

    def test_are_found_in_any_spelling(self, root: Path) -> None:
        sparse(root / "a", 50_000)
        (root / "a.REPARSE").write_bytes(STUB)
        (root / "b.reparse").write_bytes(STUB)
        (root / "b.Reparse").write_bytes(OTHER)
        volume = FolderCopy(root)
        a, b, ordinary = volume.entries()
        assert [entry.path for entry in (a, b, ordinary)] == [b"a", b"b", b"b.Reparse"]
        assert volume.reparse_data(a) == STUB
        assert volume.reparse_data(b) == STUB
        (root / "a.REPARSE").write_bytes(OTHER)
        with pytest.raises(StoreReadError, match="no reparse data"):
            volume.reparse_data(a)
        (root / "a.REPARSE").write_bytes(STUB + bytes(1 << 17))
        with pytest.raises(StoreReadError, match="more than"):
            volume.reparse_data(a)
        volume.close()

    def test_nothing_but_a_suffix_is_a_name(self, root: Path) -> None:
        (root / ".reparse").write_bytes(STUB)
        assert list(entries_of(root)) == [b".reparse"]

    def test_of_one_name_serve_all_names_of_a_file(self, root: Path) -> None:
        (root / "d").mkdir()
        sparse(root / "d" / "a", 50_000, {8192: b"own" * 2000})
        (root / "d" / "a.reparse").write_bytes(STUB)
        (root / "b").hardlink_to(root / "d" / "a")
        (root / "plain").write_bytes(b"x")
        (root / "plain2").hardlink_to(root / "plain")
        volume = FolderCopy(root)
        found = {entry.path: entry for entry in volume.entries()}
        assert found[b"b"].reparse_tag == DEDUP_TAG
        assert volume.reparse_data(found[b"b"]) == STUB
        assert volume.own_ranges(found[b"b"]) == (FileExtent(8192, 8192),)
        assert found[b"b"].file_id == found[b"d/a"].file_id != 0
        assert found[b"plain2"].reparse_tag == 0
        volume.close()

    def test_that_differ_part_what_a_tool_has_made_one_file(self, root: Path) -> None:
        sparse(root / "a", 50_000)
        (root / "a.reparse").write_bytes(STUB)
        (root / "b").hardlink_to(root / "a")
        (root / "b.reparse").write_bytes(STUB[:-1] + b"B")
        (root / "c").hardlink_to(root / "a")
        volume = FolderCopy(root)
        found = {entry.path: entry for entry in volume.entries()}
        assert list(found) == [b"a", b"b"]
        assert [entry.file_id for entry in found.values()] == [0, 0]
        assert [entry.links for entry in found.values()] == [1, 1]
        assert volume.reparse_data(found[b"b"]) == STUB[:-1] + b"B"
        assert "c is one file with other stubs, and which is not told: left out" in volume.problems
        volume.close()


class TestOwnRangesOfAStub:
    @pytest.fixture(autouse=True)
    def stub(self, root: Path) -> None:
        (root / "a.reparse").write_bytes(STUB)

    def test_are_none_where_there_is_nothing_but_hole(self, root: Path) -> None:
        sparse(root / "a", 1 << 20)
        assert own_ranges(root, b"a") == ()

    def test_are_what_was_written(self, root: Path) -> None:
        sparse(root / "a", 1 << 20, {65536: b"x" * 5000, 1 << 19: b"y"})
        expected = (FileExtent(65536, 8192), FileExtent(1 << 19, BLOCK))
        assert own_ranges(root, b"a") == expected

    def test_end_with_the_file(self, root: Path) -> None:
        sparse(root / "a", 100_001, {98_304: b"tail"})
        assert own_ranges(root, b"a") == (FileExtent(98_304, 1697),)

    def test_are_unknown_without_a_file(self, root: Path) -> None:
        assert own_ranges(root, b"a") is None

    def test_are_unknown_of_an_empty_file(self, root: Path) -> None:
        sparse(root / "a", 0)
        assert own_ranges(root, b"a") is None

    @pytest.mark.parametrize("byte", [b"\0", b"x"])
    def test_are_unknown_where_everything_is_allocated(self, byte: bytes, root: Path) -> None:
        (root / "a").write_bytes(byte * 100_000)
        assert own_ranges(root, b"a") is None

    def test_are_unknown_where_one_holds_zeros(self, root: Path) -> None:
        sparse(root / "a", 1 << 20, {65536: b"x" * 5000, (1 << 20) - 1: b"\0"})
        assert own_ranges(root, b"a") is None
        sparse(root / "a", 1 << 20, {65536: bytes(100_000)})
        assert own_ranges(root, b"a") is None

    def test_are_unknown_where_ranges_may_have_grown(self, root: Path) -> None:
        class Coarse(SystemFiles):
            fstat = staticmethod(coarse)

        sparse(root / "a", 1 << 20, {65536: b"x" * 5000})
        volume = FolderCopy(root, files=Coarse())
        (entry,) = volume.entries()
        assert volume.own_ranges(entry) is None
        volume.close()

    def test_are_unknown_where_holes_are_not_told(self, root: Path) -> None:
        class NoHoles(SystemFiles):
            def seek_data(self, fd: int, offset: int) -> int | None:
                return offset

            def seek_hole(self, fd: int, offset: int) -> int:
                return os.fstat(fd).st_size

        sparse(root / "a", 1 << 20, {65536: b"x" * 5000})
        volume = FolderCopy(root, files=NoHoles())
        (entry,) = volume.entries()
        assert volume.own_ranges(entry) is None
        volume.close()


def coarse(fd: int) -> os.stat_result:
    """Status as a file system with large blocks gives it."""
    found = os.fstat(fd)
    return os.stat_result(tuple(found)[:10], {"st_blksize": 1 << 17})


def test_ranges_of_an_ordinary_file_are_what_the_file_system_says(root: Path) -> None:
    sparse(root / "holes", 1 << 20, {65536: b"x"})
    (root / "full").write_bytes(bytes(5000))
    (root / "empty").write_bytes(b"")
    (root / "folder").mkdir()
    (root / "folder.reparse").write_bytes(OTHER)
    assert own_ranges(root, b"holes") == (FileExtent(65536, BLOCK),)
    assert own_ranges(root, b"full") == (FileExtent(0, 5000),)
    assert own_ranges(root, b"empty") == ()
    assert own_ranges(root, b"folder") is None
    (root / "folder.reparse").unlink()
    assert own_ranges(root, b"folder") == ()


def test_chunk_stores_of_a_copy_are_found_and_read(root: Path) -> None:
    one, two = WindowsStore(), WindowsStore(uuid.UUID(int=7))
    for store in (one, two):
        store.add_file(b"data" * 20_000)
        store.write(root)
    volume = FolderCopy(root)
    found = {store.store: store for store in volume.chunk_stores()}
    assert list(found) == sorted({one.guid, two.guid})
    mapping = one.as_mapping()
    sizes = {str(file.path): file.size for file in found[one.guid].files}
    assert sizes.items() >= {path: len(data) for path, data in mapping.items()}.items()
    containers = volume.store(one.guid)
    for file in found[one.guid].files:
        if str(file.path) in mapping:
            assert containers.read_backup_file(file.path, 0, file.size) == mapping[str(file.path)]
    assert set(volume.settings()) == {"dedupConfig.01.xml", "dedupConfig.02.xml"}
    with pytest.raises(StoreError) as caught:
        volume.store(uuid.UUID(int=9))
    assert caught.value.code == "store.unknown"
    volume.close()
    with pytest.raises(SessionError):
        containers.read_backup_file(found[one.guid].files[0].path, 0, 1)
    with pytest.raises(SessionError):
        volume.store(one.guid)


def store_named(stub: bytes) -> StoreId | None:
    owner = owner_of(stub)
    return None if owner is None else owner.store_id


def test_stubs_without_their_store_are_grouped_by_it(root: Path) -> None:
    here, lost, gone = (WindowsStore(uuid.UUID(int=n)) for n in (1, 2, 3))
    for number, store in enumerate([here, lost, gone, lost]):
        stub = store.add_file(bytes([number]) * 40_000, stub="3.1").stub
        (root / f"{number}.bin.reparse").write_bytes(stub)
    here.write(root)
    (root / "bad.reparse").write_bytes(STUB)
    (root / "link.reparse").write_bytes(OTHER)
    (root / "plain").write_bytes(b"x")
    volume = FolderCopy(root)
    orphans = orphan_stubs(volume, store_named)
    assert {store: [entry.path for entry in found] for store, found in orphans.items()} == {
        lost.guid: [b"1.bin", b"3.bin"],
        gone.guid: [b"2.bin"],
    }
    assert list(orphan_stubs(volume, store_named, [b"2.bin"])) == [gone.guid]

    def refuse(_stub: bytes) -> StoreId | None:
        raise StoreReadError("cannot")

    assert orphan_stubs(volume, refuse) == {}
    volume.close()
    without = FolderCopy(root / "System Volume Information")
    assert len(orphan_stubs(without, store_named)) == 0
    without.close()
