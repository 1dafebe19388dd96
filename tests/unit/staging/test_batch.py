"""Publishing: the order of syncs and renames, what a failed sync costs, what stands in the way."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import (
    DurabilityError,
    NoSpaceError,
    PublishError,
    StagingError,
    UnsafeTargetError,
)
from rehydrate.requests import Durability, Overwrite
from rehydrate.staging import batch
from rehydrate.staging.table import FileTable
from tests.clocks import HandClock
from tests.unit.staging.jobs import WatchedFiles, names_in, staging_of, table_of

SYNCED = pytest.mark.parametrize("durability", [Durability.BATCH, Durability.FULL])


def name_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


class Disk:
    """Judges the order of calls as a power cut would: a rename counts only if the bytes were
    synced before it, a report only if the name was synced before it."""

    def __init__(self, files: WatchedFiles) -> None:
        self.files = files
        self.names: dict[int, str] = {}
        self.dirty: set[str] = set()
        self.unsynced_names: set[str] = set()
        self.faults: list[str] = []
        for name in ("open", "pwrite", "fsync", "syncfs", "rename", "mkdir"):
            files.instead[name] = getattr(self, "_" + name)

    def _open(self, real: Any, path: bytes, *rest: Any, **named: Any) -> int:
        fd: int = real(path, *rest, **named)
        self.names[fd] = name_of(fd)
        return fd

    def _pwrite(self, real: Any, fd: int, *rest: Any) -> int:
        name = name_of(fd)
        if not name.endswith("/places"):
            self.dirty.add(name)
        count: int = real(fd, *rest)
        return count

    def _fsync(self, real: Any, fd: int) -> None:
        name = name_of(fd)
        self.dirty.discard(name)
        self.unsynced_names = {one for one in self.unsynced_names if str(Path(one).parent) != name}

    def _syncfs(self, real: Any, fd: int) -> bool:
        self.dirty.clear()
        self.unsynced_names.clear()
        return True

    def _rename(self, real: Any, src: bytes, dst: bytes, **fds: int) -> None:
        source = name_of(fds["src_dir_fd"]) + "/" + src.decode()
        target = name_of(fds["dst_dir_fd"]) + "/" + dst.decode()
        if source in self.dirty:
            self.faults.append(f"{target} renamed before its bytes were synced")
        real(src, dst, **fds)
        self.unsynced_names.add(target)

    def _mkdir(self, real: Any, path: bytes, mode: int, dir_fd: int) -> None:
        real(path, mode, dir_fd)
        where = name_of(dir_fd)
        if not path.startswith(b".rehydrate-"):
            self.unsynced_names.add(f"{where}/{path.decode()}")


@SYNCED
@pytest.mark.parametrize("count", [1, 5, 31, 32, 100])
@pytest.mark.parametrize("syncfs", [True, False], ids=["syncfs", "no-syncfs"])
def test_bytes_before_names_and_names_before_the_report(
    tmp_path: Path, *, durability: Durability, count: int, syncfs: bool
) -> None:
    files = WatchedFiles()
    disk = Disk(files)
    if not syncfs:
        files.instead["syncfs"] = lambda *_: False
    table = table_of({b"%d/%d" % (number // 7, number): 1 for number in range(count)})
    with staging_of(tmp_path, table, files, durability=durability) as staging:
        for number in range(count):
            staging.write_whole(number, b"x")
        results = staging.publish()
        assert len(results) == count
        assert all(result.error is None for result in results)
        assert not disk.faults
        assert not disk.unsynced_names, "reported before the directories were synced"
        staging.finish_directories()


def test_large_batch_is_synced_as_a_whole(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"%d" % number: 1 for number in range(40)})
    with staging_of(tmp_path, table, files) as staging:
        for number in range(40):
            staging.write_whole(number, b"x")
        files.log.clear()
        staging.publish()
        assert files.names().count("syncfs") == 1
        assert files.names().count("fsync") == 1  # of the one directory


def test_nothing_is_synced_without_durability(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"d/%d" % number: 1 for number in range(40)})
    with staging_of(tmp_path, table, files, durability=Durability.NONE) as staging:
        for number in range(40):
            staging.write_whole(number, b"x")
        staging.publish()
        staging.finish_directories()
    assert not {"fsync", "syncfs"} & set(files.names())


def _fail_once(number: int = errno.EIO) -> Any:
    failed: list[int] = []

    def call(real: Any, *arguments: Any) -> Any:
        if not failed:
            failed.append(1)
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    return call


def test_failed_file_system_sync_poisons_the_whole_batch(tmp_path: Path) -> None:
    files = WatchedFiles()
    late = {b"late%d" % number: 1 for number in range(40)}
    table = table_of({b"%d" % number: 1 for number in range(40)} | {b"large": 2} | late)
    (tmp_path / "3").write_bytes(b"old")
    with staging_of(tmp_path, table, files) as staging:
        staging.allocate(40)
        staging.write_at(40, 0, b"xx")
        for number in range(40):
            staging.write_whole(number, b"x")
        files.instead["syncfs"] = _fail_once()
        results = staging.publish()
        assert len(results) == 40
        assert all(isinstance(result.error, DurabilityError) for result in results)
        assert not any(result.placed for result in results)
        with pytest.raises(DurabilityError):  # its bytes may be those that were lost
            staging.finish(40)
        for number in range(41, 81):
            staging.write_whole(number, b"y")
        files.log.clear()
        assert staging.publish() == [(number, None, (), True) for number in range(41, 81)]
        assert "syncfs" not in files.names(), "after a failure each file is synced by itself"
    assert names_in(tmp_path) == {"3", *(name.decode() for name in late)}
    assert (tmp_path / "3").read_bytes() == b"old"


def test_poisoned_file_is_not_kept_for_a_later_run(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"large": 2} | {b"%d" % number: 1 for number in range(32)})
    with staging_of(tmp_path, table, files) as staging:
        staging.allocate(0)
        staging.write_at(0, 0, b"xx")
        for number in range(1, 33):
            staging.write_whole(number, b"x")
        files.fail("syncfs")
        staging.publish()
    assert names_in(tmp_path) == set()


def test_full_durability_names_the_file_that_was_lost(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"%d" % number: 1 for number in range(40)})
    with staging_of(tmp_path, table, files, durability=Durability.FULL) as staging:
        for number in range(40):
            staging.write_whole(number, b"x")
        files.fail("syncfs")
        files.instead["fsync"] = _fail_once()
        results = staging.publish()
        bad = [result for result in results if result.error is not None]
        assert len(bad) == 1
        assert isinstance(bad[0].error, DurabilityError)
        assert sum(result.placed for result in results) == 39
    assert len(names_in(tmp_path)) == 39


def test_failed_sync_of_a_file_costs_this_file_only(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"a": 1, b"b": 1, b"c": 1}), files) as staging:
        for number in range(3):
            staging.write_whole(number, b"x")
        files.instead["fsync"] = _fail_once(errno.ENOSPC)
        results = staging.publish()
        assert isinstance(results[0].error, DurabilityError)
        assert [result.placed for result in results] == [False, True, True]
    assert names_in(tmp_path) == {"b", "c"}


def test_failed_close_of_a_kept_descriptor_costs_this_file_only(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"%d" % number: 1 for number in range(40)})

    def once(real: Any, fd: int) -> None:
        real(fd)
        files.instead.pop("close", None)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with staging_of(tmp_path, table, files) as staging:
        for number in range(40):
            staging.write_whole(number, b"x")
        files.instead["close"] = once
        results = staging.publish()
        assert [result.placed for result in results].count(False) == 1
    assert len(names_in(tmp_path)) == 39


@pytest.mark.parametrize("directories", [1, 6])
def test_failed_sync_of_a_directory_is_told_although_the_file_is_in_place(
    tmp_path: Path, directories: int
) -> None:
    files = WatchedFiles()
    table = table_of({b"d%d/f" % number: 1 for number in range(directories)})
    with staging_of(tmp_path, table, files) as staging:
        for number in range(directories):
            staging.make_directory(b"d%d" % number)
            staging.write_whole(number, b"x")
        files.fail("syncfs")
        syncs = 0

        def directories_fail(real: Any, fd: int) -> None:
            nonlocal syncs
            syncs += 1
            if syncs > directories:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        files.instead["fsync"] = directories_fail
        results = staging.publish()
        assert all(result.placed for result in results)
        assert all(isinstance(result.error, DurabilityError) for result in results)
        assert "in place" in str(results[0].error)
    assert (tmp_path / "d0" / "f").read_bytes() == b"x"


def test_failed_directory_sync_spares_files_elsewhere(tmp_path: Path) -> None:
    files = WatchedFiles()
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    table = table_of({b"good/f": 1, b"bad/f": 1})
    with staging_of(tmp_path, table, files) as staging:
        staging.write_whole(0, b"x")
        staging.write_whole(1, b"x")

        def bad_fails(real: Any, fd: int) -> None:
            if name_of(fd).endswith("bad"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        files.instead["fsync"] = bad_fails
        good, bad = staging.publish()
        assert good.error is None
        assert isinstance(bad.error, DurabilityError)


def test_batch_is_due_by_number_bytes_or_age(tmp_path: Path) -> None:
    clock = HandClock()
    count = batch.BATCH_FILES
    table = table_of({b"%d" % number: 0 for number in range(count)} | {b"huge": 1 << 40})
    with staging_of(tmp_path, table, clock=clock, durability=Durability.NONE) as staging:
        assert not staging.publish_due()
        clock.now += 1000
        staging.write_whole(0, b"")
        assert not staging.publish_due(), "its age is counted from here"
        clock.now += batch.BATCH_SECONDS / 2
        assert not staging.publish_due()
        clock.now += batch.BATCH_SECONDS / 2
        assert staging.publish_due()
        staging.publish()
        assert not staging.publish_due()
        for number in range(1, count):
            staging.write_whole(number, b"")
        assert not staging.publish_due()
        staging.allocate(count, holes=[(0, 1 << 40)])
        staging.finish(count)
        assert staging.publish_due()
        staging.publish()
        assert staging.publish() == []


def test_batch_is_due_at_its_number(tmp_path: Path) -> None:
    count = batch.BATCH_FILES
    table = table_of({b"%d" % number: 0 for number in range(count)})
    with staging_of(tmp_path, table, clock=HandClock(), durability=Durability.NONE) as staging:
        for number in range(count):
            assert not staging.publish_due()
            staging.write_whole(number, b"")
        assert staging.publish_due()


def _publish_one(
    folder: Path, table: FileTable, files: WatchedFiles | None = None, **options: Any
) -> StagingError:
    with staging_of(folder, table, files, **options) as staging:
        staging.write_whole(0, b"x")
        (result,) = staging.publish()
    assert not result.placed
    assert isinstance(result.error, StagingError)
    return result.error


def test_directory_where_a_file_must_go(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    error = _publish_one(tmp_path, table_of({b"f": 1}))
    assert isinstance(error, UnsafeTargetError)
    assert error.code == "fs.is-directory"
    assert error.resumable
    assert "remove it" in str(error)
    assert (tmp_path / "f").is_dir()


@pytest.mark.parametrize("depth", [1, 2])
def test_file_where_a_directory_must_go(tmp_path: Path, depth: int) -> None:
    (tmp_path / "d").write_bytes(b"file")
    error = _publish_one(tmp_path, table_of({b"/".join([b"d"] * depth) + b"/f": 1}))
    assert isinstance(error, UnsafeTargetError)
    assert error.code == "fs.not-directory"
    assert (tmp_path / "d").read_bytes() == b"file"


def test_link_where_a_directory_must_be_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "d").symlink_to(outside)
    error = _publish_one(folder, table_of({b"d/f": 1}))
    assert error.code == "link.component"
    assert names_in(outside) == set()


def test_link_at_the_target_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "f").symlink_to(outside)
    with staging_of(folder, table_of({b"f": 1})) as staging:
        staging.write_whole(0, b"x")
        assert staging.publish()[0].placed
    assert not (folder / "f").is_symlink()
    assert outside.read_bytes() == b"precious"


def test_never_replaces_nothing_even_what_came_late(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of({b"f": 1, b"g": 1}), overwrite=Overwrite.NEVER) as staging:
        assert list(staging.examine([0, 1]).found) == [0, 0]
        (tmp_path / "f").write_bytes(b"came late")
        staging.write_whole(0, b"x")
        staging.write_whole(1, b"x")
        bad, good = staging.publish()
        assert isinstance(bad.error, PublishError)
        assert bad.error.code == "fs.exists"
        assert not bad.error.resumable
        assert good.placed
    assert (tmp_path / "f").read_bytes() == b"came late"
    assert names_in(tmp_path) == {"f", "g"}


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, NoSpaceError, "fs.nospace"),
        (errno.EXDEV, PublishError, "fs.device"),
        (errno.EROFS, PublishError, "fs.failed"),
    ],
)
def test_failed_rename_keeps_the_staged_file(
    tmp_path: Path, number: int, kind: type[Exception], code: str
) -> None:
    files = WatchedFiles()
    (tmp_path / "f").write_bytes(b"old")
    files.fail("rename", number)
    error = _publish_one(tmp_path, table_of({b"f": 1}), files)
    assert isinstance(error, kind)
    assert error.code == code
    assert error.resumable
    assert error.__cause__ is not None
    assert (tmp_path / "f").read_bytes() == b"old"
    with staging_of(tmp_path, table_of({b"f": 1})) as staging:
        assert list(staging.leftovers()) == [0]


def test_parent_swapped_for_a_link_after_the_examination(tmp_path: Path) -> None:
    """The swapped directory is not entered: the descriptor still leads to the real one."""
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (folder / "d").mkdir(parents=True)
    with staging_of(folder, table_of({b"d/f": 1})) as staging:
        assert list(staging.examine([0]).found) == [0]
        (folder / "d").rename(folder / "moved")
        (folder / "d").symlink_to(outside)
        staging.write_whole(0, b"x")
        staging.publish()
    assert names_in(outside) == set()
    assert (folder / "moved" / "f").read_bytes() == b"x"
