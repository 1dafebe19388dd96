"""A mount point below the target root: files for it are staged on its own file system.

The other file system is made up: everything below ``mnt`` has another device number, and a rename
from one to the other fails. ``tests/fault/test_staging_mounts.py`` has a real one.
"""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import PublishError
from rehydrate.requests import Durability
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Found, Outcome
from rehydrate.staging.table import Attributes
from rehydrate.staging.workspace import clean
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of

PATHS = {b"here": 4, b"mnt/there": 4, b"mnt/deep/new/there": 4, b"mnt/large": 4}


class TwoFileSystems(WatchedFiles):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / "mnt").mkdir(exist_ok=True)
        self.mount = str(folder / "mnt")
        self.instead["fstat"] = self._fstat
        self.instead["rename"] = self.instead["link"] = self._move

    def _inside(self, fd: int) -> bool:
        place = str(Path(f"/proc/self/fd/{fd}").readlink())
        return place == self.mount or place.startswith(self.mount + "/")

    def _fstat(self, real: Any, fd: int) -> os.stat_result:
        found = real(fd)
        device = found.st_dev + 99 if self._inside(fd) else found.st_dev
        return os.stat_result((*found[:2], device, *found[3:]))

    def _move(self, real: Any, *names: bytes, src_dir_fd: int, dst_dir_fd: int) -> None:
        if self._inside(src_dir_fd) != self._inside(dst_dir_fd):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


@pytest.mark.parametrize("durability", list(Durability), ids=lambda d: d.value)
def test_files_reach_both_file_systems(tmp_path: Path, durability: Durability) -> None:
    files = TwoFileSystems(tmp_path)
    table = table_of(PATHS, linked=frozenset({1}))
    with staging_of(tmp_path, table, files, durability=durability) as staging:
        staging.make_directory(b"mnt", Attributes(0o755, TIME))
        assert set(staging.examine(range(4)).found) == {Found.FRESH}
        for number in range(3):
            staging.write_whole(number, b"data")
        staging.allocate(3)
        staging.write_at(3, 0, b"data")
        staging.finish(3)
        results = staging.publish()
        assert [result for result in results if result.error is not None] == []
        assert staging.make_hard_link(1, b"mnt/second").outcome is Outcome.MADE
        assert staging.make_symlink(b"mnt/ln", b"there").outcome is Outcome.MADE
        with pytest.raises(PublishError) as caught:
            staging.make_hard_link(1, b"second")
        assert caught.value.code == "fs.device"
        assert staging.finish_directories() == []
    assert {name for name in names_in(tmp_path) if "rehydrate" in name} == set()
    for path in PATHS:
        assert (tmp_path / path.decode()).read_bytes() == b"data"
    assert (tmp_path / "mnt").stat().st_mtime_ns != 0


def leave(folder: Path) -> None:
    with staging_of(folder, table_of(PATHS), TwoFileSystems(folder)) as staging:
        staging.examine(range(4))
        for number in range(3):
            staging.write_whole(number, b"data")


def test_resume_finds_what_is_staged_on_both(tmp_path: Path) -> None:
    leave(tmp_path)
    with staging_of(tmp_path, table_of(PATHS), TwoFileSystems(tmp_path)) as staging:
        staging.examine(range(4))
        assert sorted(staging.leftovers()) == [0, 1, 2]
        for number in range(3):
            staging.accept(number, [(0, 4)])
            staging.finish(number)
        assert all(result.placed for result in staging.publish())
    assert {name for name in names_in(tmp_path) if "rehydrate" in name} == set()


def test_file_staged_on_the_wrong_file_system_is_removed(tmp_path: Path) -> None:
    """It was unmounted meanwhile: what lies at the root cannot be renamed to the mount."""
    leave(tmp_path)
    staged = "02" * 16
    (tmp_path / "mnt" / ".rehydrate-test" / staged).rename(tmp_path / ".rehydrate-test" / staged)
    with staging_of(tmp_path, table_of(PATHS), TwoFileSystems(tmp_path)) as staging:
        staging.examine(range(4))
        assert sorted(staging.leftovers()) == [0, 2]


def test_clean_finds_both(tmp_path: Path) -> None:
    leave(tmp_path)
    with TargetRoot(tmp_path, files=TwoFileSystems(tmp_path)) as root:
        cleaned = clean(root)
    assert sorted(cleaned.removed) == [".rehydrate-test", "mnt/.rehydrate-test"]
    assert not cleaned.kept
    assert names_in(tmp_path) == {"mnt"}


def test_other_file_system_that_cannot_be_written_blocks_its_files(tmp_path: Path) -> None:
    files = TwoFileSystems(tmp_path)
    with staging_of(tmp_path, table_of(PATHS), files) as staging:

        def refuse(real: Any, path: bytes, mode: int, dir_fd: int) -> None:
            if files._inside(dir_fd):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            real(path, mode, dir_fd)

        files.instead["mkdir"] = refuse
        examined = staging.examine(range(4))
        assert list(examined.found) == [Found.FRESH] + [Found.BLOCKED] * 3
        with pytest.raises(PublishError):
            staging.make_symlink(b"mnt/ln", b"x")
        staging.write_whole(0, b"data")
        assert staging.publish()[0].placed


def test_mount_point_that_cannot_be_opened_again_blocks(tmp_path: Path) -> None:
    files = TwoFileSystems(tmp_path)
    with staging_of(tmp_path, table_of(PATHS), files) as staging:
        opened = []

        def second_fails(real: Any, path: bytes, flags: int, dir_fd: int) -> int:
            opened.append(path)
            if opened.count(b"mnt") > 1:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            fd: int = real(path, flags, dir_fd)
            return fd

        files.instead["open_beneath"] = second_fails
        assert list(staging.examine([1]).found) == [Found.BLOCKED]


def test_unexamined_file_is_told_that_it_cannot_be_moved(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of(PATHS), TwoFileSystems(tmp_path)) as staging:
        staging.write_whole(1, b"data")
        (result,) = staging.publish()
        assert isinstance(result.error, PublishError)
        assert result.error.code == "fs.device"


def test_unmounted_place_of_an_earlier_run_is_no_fault(tmp_path: Path) -> None:
    leave(tmp_path)
    (tmp_path / "mnt").rename(tmp_path / "gone")
    with staging_of(tmp_path, table_of(PATHS)) as staging:
        assert list(staging.leftovers()) == [0]
