"""What an earlier run left is taken over only if it is ours; its bytes only if somebody checked."""

import errno
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import PublishError, StagingError
from rehydrate.staging.hints import SUFFIX, read_hint, write_hint
from rehydrate.staging.table import Attributes
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of

K = 1024
NAME = "01" * 16
WORK = ".rehydrate-test"


def leave(folder: Path, size: int = 16 * K, written: int = 8 * K) -> Path:
    """Leave a partly written file staged; return its path."""
    with staging_of(folder, table_of({b"file": size})) as staging:
        staging.allocate(0)
        staging.write_at(0, 0, b"a" * written)
        staging.keep(0)
    return folder / WORK / NAME


def leftovers(folder: Path, files: WatchedFiles | None = None, size: int = 16 * K) -> list[Any]:
    with staging_of(folder, table_of({b"file": size}), files) as staging:
        return [(one.number, one.size, one.ranges) for one in staging.leftovers().values()]


def test_hint_tells_where_to_look(tmp_path: Path) -> None:
    leave(tmp_path)
    assert leftovers(tmp_path) == [(0, 16 * K, ((0, 8 * K),))]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda hint: hint.unlink(),
        lambda hint: hint.write_bytes(b""),
        lambda hint: hint.write_bytes(hint.read_bytes()[:-1]),
        lambda hint: hint.write_bytes(b"X" + hint.read_bytes()[1:]),
        lambda hint: hint.write_bytes(hint.read_bytes().replace(b"\0\x20\0", b"\0\x10\0")),
        lambda hint: hint.write_bytes(hint.read_bytes() + b"more"),
    ],
    ids=["missing", "empty", "cut", "magic", "range", "longer"],
)
def test_without_a_good_hint_all_that_is_there_is_looked_at(tmp_path: Path, spoil: Any) -> None:
    staged = leave(tmp_path)
    spoil(staged.with_name(NAME + ".hint"))
    with staged.open("rb") as stream:
        os.fsync(stream.fileno())
    ((_, _, ranges),) = leftovers(tmp_path)
    assert ranges[0][0] == 0
    assert ranges[-1][1] >= 8 * K


def test_file_is_synced_and_its_cache_dropped_before_it_is_read(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 16 * K}), files) as staging:
        files.log.clear()
        leftover = staging.leftovers()[0]
        leftover.read(0, 10)
        names = files.names()
        assert names.index("fsync") < names.index("drop_cache")
        assert names.index("drop_cache") < len(names) - 1 == names.index("pread", -1)
        files.fail("pread")
        with pytest.raises(PublishError):
            leftover.read(0, 10)


def test_hint_about_another_file_does_not_count(tmp_path: Path) -> None:
    """Same name, same size, other inode: a copy of the workspace."""
    staged = leave(tmp_path)
    copy = staged.with_name("copy")
    copy.write_bytes(bytes(16 * K))
    copy.chmod(0o600)
    copy.rename(staged)
    ((_, _, ranges),) = leftovers(tmp_path)
    assert ranges == ((0, 16 * K),)


def test_file_that_fails_its_sync_is_not_taken(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    files.fail("fsync")
    assert leftovers(tmp_path, files) == []
    assert names_in(tmp_path) == set()


def test_cache_that_cannot_be_dropped_is_no_fault(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    files.fail("drop_cache")
    assert len(leftovers(tmp_path, files)) == 1


def _link(staged: Path) -> None:
    staged.unlink()
    staged.symlink_to("/etc/passwd")


def _link_to_alike(staged: Path) -> None:
    alike = staged.parent.parent / "alike"
    staged.rename(alike)
    staged.symlink_to(alike)


def _pipe(staged: Path) -> None:
    staged.unlink()
    os.mkfifo(staged)


def _folder(staged: Path) -> None:
    staged.unlink()
    staged.mkdir()


def _hard_link(staged: Path) -> None:
    os.link(staged, staged.parent.parent / "second")


def _other_size(staged: Path) -> None:
    os.truncate(staged, 5)


def _other_user(staged: Path) -> None:
    os.chown(staged, 12345, -1)


PLANTS = [_link, _link_to_alike, _pipe, _hard_link, _other_size]


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_file_is_removed_and_nothing_else(tmp_path: Path, plant: Any) -> None:
    plant(leave(tmp_path))
    passwd = Path("/etc/passwd").read_bytes()
    assert leftovers(tmp_path) == []
    assert names_in(tmp_path) <= {"second", "alike"}
    assert Path("/etc/passwd").read_bytes() == passwd


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_file_of_another_user_is_removed(tmp_path: Path) -> None:
    _other_user(leave(tmp_path))
    assert leftovers(tmp_path) == []


def test_file_that_has_its_final_owner_already_is_ours(tmp_path: Path) -> None:
    staged = leave(tmp_path)
    files = WatchedFiles()
    other = staged.stat().st_uid + 7
    table = table_of({b"file": 16 * K}, attributes={b"file": Attributes(0o644, TIME, uid=other)})

    def given(real: Any, fd: int) -> os.stat_result:
        found: os.stat_result = real(fd)
        if stat.S_ISREG(found.st_mode) and found.st_size == 16 * K:
            return os.stat_result([*found[:4], other, *found[5:]])
        return found

    with staging_of(tmp_path, table, files) as staging:
        files.instead["fstat"] = given
        assert list(staging.leftovers()) == [0]


def test_directory_in_the_place_of_a_file_stays_and_stops_nothing(tmp_path: Path) -> None:
    _folder(leave(tmp_path))
    assert leftovers(tmp_path) == []
    assert f"{WORK}/{NAME}" in names_in(tmp_path)


def test_files_of_other_content_and_foreign_names_are_removed(tmp_path: Path) -> None:
    leave(tmp_path)
    work = tmp_path / WORK
    for name in ("ff" * 16, "ff" * 16 + ".hint", "link-1", "spill-3", "anything"):
        (work / name).write_bytes(b"x")
    with staging_of(tmp_path, table_of({b"file": 16 * K})) as staging:
        assert list(staging.leftovers()) == [0]
        assert {path.name for path in work.iterdir()} == {NAME, NAME + ".hint", "lock"}


def test_file_with_its_final_mode_is_opened_all_the_same(tmp_path: Path) -> None:
    """Without privilege a file that has mode 0444 already cannot be opened for writing."""
    leave(tmp_path).chmod(0o444)
    files = WatchedFiles()
    refused: list[int] = []

    def refuse_writing(real: Any, name: bytes, flags: int, *rest: Any, **named: Any) -> int:
        if name == NAME.encode() and flags & os.O_RDWR and not refused:
            refused.append(1)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        fd: int = real(name, flags, *rest, **named)
        return fd

    files.instead["open"] = refuse_writing
    assert len(leftovers(tmp_path, files)) == 1
    assert stat.S_IMODE((tmp_path / WORK / NAME).stat().st_mode) == 0o600


def test_file_that_cannot_even_be_read_is_removed(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 16 * K}), files) as staging:
        files.fail("open", errno.EACCES, where=NAME.encode())
        assert not staging.leftovers()
    assert names_in(tmp_path) == set()


def test_garbage_in_a_hole_does_not_come_back(tmp_path: Path) -> None:
    staged = leave(tmp_path)
    with staged.open("r+b") as stream:
        stream.seek(8 * K)
        stream.write(b"garbage " * K)
    with staging_of(tmp_path, table_of({b"file": 16 * K})) as staging:
        staging.leftovers()
        staging.accept(0, [(0, 8 * K)], holes=[(8 * K, 12 * K)], zeros=[(12 * K, 16 * K)])
        staging.finish(0)
        staging.publish()
    assert (tmp_path / "file").read_bytes() == b"a" * 8 * K + bytes(8 * K)


@pytest.mark.parametrize("dirty", [True, False])
def test_without_punching_a_dirty_hole_costs_the_file(tmp_path: Path, *, dirty: bool) -> None:
    staged = leave(tmp_path)
    with staged.open("r+b") as stream:
        stream.seek(8 * K)
        stream.write((b"\0\1" if dirty else b"\0\0") * 4 * K)
    files = WatchedFiles()
    files.instead["punch_hole"] = lambda *_: None
    with staging_of(tmp_path, table_of({b"file": 16 * K}), files) as staging:
        staging.leftovers()
        if not dirty:
            staging.accept(0, [(0, 8 * K)], holes=[(8 * K, 16 * K)])
            staging.discard(0)
            return
        with pytest.raises(StagingError):
            staging.accept(0, [(0, 8 * K)], holes=[(8 * K, 16 * K)])
        staging.allocate(0, holes=[(0, 16 * K)])
        staging.finish(0)
        staging.publish()
    assert (tmp_path / "file").read_bytes() == bytes(16 * K)


def test_file_cut_short_while_its_holes_are_checked_is_given_up(tmp_path: Path) -> None:
    staged = leave(tmp_path, written=16 * K)
    files = WatchedFiles()
    files.instead["punch_hole"] = lambda *_: None
    files.instead["pread"] = lambda *_: b""
    with staging_of(tmp_path, table_of({b"file": 16 * K}), files) as staging:
        staging.leftovers()
        with pytest.raises(StagingError):
            staging.accept(0, [], holes=[(8 * K, 16 * K)])
    assert not staged.exists()


class TestHints:
    """Reading back what was written, and nothing else."""

    def given(self, folder: Path, ranges: list[tuple[int, int]]) -> list[tuple[int, int]] | None:
        files = WatchedFiles()
        fd = os.open(folder / "file", os.O_RDWR | os.O_CREAT)
        folder_fd = os.open(folder, os.O_RDONLY)
        try:
            os.ftruncate(fd, 100)
            write_hint(files, folder_fd, b"n" * 32, fd, ranges)
            return read_hint(files, folder_fd, b"n" * 32, os.fstat(fd))
        finally:
            os.close(fd)
            os.close(folder_fd)

    def test_ranges_come_back_merged(self, tmp_path: Path) -> None:
        assert self.given(tmp_path, [(50, 60), (0, 10), (10, 20)]) == [(0, 20), (50, 60)]
        assert self.given(tmp_path, []) == []

    def test_ranges_outside_the_file_do_not_count(self, tmp_path: Path) -> None:
        assert self.given(tmp_path, [(0, 101)]) is None

    def test_impossible_range_does_not_count(self, tmp_path: Path) -> None:
        assert self.given(tmp_path, [(60, 50)]) is None

    def test_number_of_ranges_must_fit(self, tmp_path: Path) -> None:
        self.given(tmp_path, [(0, 1)])
        place = tmp_path / os.fsdecode(b"n" * 32 + SUFFIX)
        body = place.read_bytes()[:-4] + bytes(16)
        place.write_bytes(body + struct.pack("<I", zlib.crc32(body)))
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            found = (tmp_path / "file").stat()
            assert read_hint(WatchedFiles(), fd, b"n" * 32, found) is None
        finally:
            os.close(fd)
