"""Directories: private while they fill, finished the deepest first, also after a killed run."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import DurabilityError, PublishError, UnsafeTargetError
from rehydrate.requests import Overwrite
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Outcome, Staging
from rehydrate.staging.table import Attributes
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of

ONE = table_of({b"d/e/file": 1})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_is_private_until_all_is_in_place(tmp_path: Path) -> None:
    with staging_of(tmp_path, ONE) as staging:
        assert staging.make_directory(b"d", Attributes(0o555, TIME)) is Outcome.MADE
        assert staging.make_directory(b"d/e", Attributes(0o750, TIME + 1)) is Outcome.MADE
        assert mode_of(tmp_path / "d") == mode_of(tmp_path / "d" / "e") == 0o700
        staging.write_whole(0, b"x")
        staging.publish()
        assert staging.finish_directories() == []
    for path, mode, time in (("d", 0o555, TIME), ("d/e", 0o750, TIME + 1)):
        assert mode_of(tmp_path / path) == mode
        assert (tmp_path / path).stat().st_mtime_ns == time


def test_deepest_first(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, ONE, files) as staging:
        for path in (b"", b"a", b"a/b", b"a/b/c", b"z"):
            staging.make_directory(path, Attributes(0o755, TIME))
        files.log.clear()
        order = []

        def told(real: Any, fd: int, mode: int) -> None:
            order.append(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path))
            real(fd, mode)

        files.instead["fchmod"] = told
        staging.finish_directories()
    assert [str(path) for path in order] == ["a/b/c", "a/b", "a", "z", "."]


def test_directory_that_nobody_described_is_like_a_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with staging_of(tmp_path, ONE) as staging:
            staging.write_whole(0, b"x")
            staging.publish()
            assert mode_of(tmp_path / "d" / "e") == 0o700
            staging.finish_directories()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "d") == mode_of(tmp_path / "d" / "e") == 0o750


def test_existing_directory_gets_the_metadata_unless_never(tmp_path: Path) -> None:
    for overwrite in (Overwrite.NEVER, Overwrite.IF_CHANGED):
        (tmp_path / "d").mkdir(exist_ok=True, mode=0o755)
        with staging_of(tmp_path, ONE, overwrite=overwrite) as staging:
            outcome = staging.make_directory(b"d", Attributes(0o711, TIME))
            staging.finish_directories()
        never = overwrite is Overwrite.NEVER
        assert outcome is (Outcome.EXISTS if never else Outcome.SAME)
        assert mode_of(tmp_path / "d") == (0o755 if never else 0o711)
        assert ((tmp_path / "d").stat().st_mtime_ns == TIME) != never


@pytest.mark.parametrize("mode", [0o500, 0o755])
def test_existing_directory_without_a_known_mode_keeps_its_own(tmp_path: Path, mode: int) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(mode)
    with staging_of(tmp_path, ONE) as staging:
        staging.make_directory(b"d")
        assert mode_of(tmp_path / "d") & 0o700 == 0o700, "we must be able to write into it"
        staging.finish_directories()
    assert mode_of(tmp_path / "d") == mode


@pytest.mark.parametrize("described", [False, True])
def test_directories_of_a_killed_run_are_finished_by_the_next(
    tmp_path: Path, *, described: bool
) -> None:
    with staging_of(tmp_path, ONE) as staging:
        staging.write_whole(0, b"x")
        staging.publish()
        staging.allocate(0)  # something stays staged, so the workspace does
    assert mode_of(tmp_path / "d") == 0o700
    (tmp_path / "d" / "e" / "file").unlink()
    with staging_of(tmp_path, ONE, overwrite=Overwrite.NEVER) as staging:
        if described:
            assert staging.make_directory(b"d", Attributes(0o711, TIME)) is Outcome.MADE
        staging.leftovers()
        staging.discard(0)
        assert staging.finish_directories() == []
    assert mode_of(tmp_path / "d") == (0o711 if described else 0o755)
    assert mode_of(tmp_path / "d" / "e") == 0o755


def test_directory_of_a_killed_run_that_changed_since_is_left_alone(tmp_path: Path) -> None:
    with staging_of(tmp_path, ONE) as staging:
        staging.write_whole(0, b"x")
        staging.publish()
        staging.allocate(0)
    (tmp_path / "d").chmod(0o770)
    (tmp_path / "d" / "e" / "file").unlink()
    (tmp_path / "d" / "e").rmdir()
    with staging_of(tmp_path, ONE) as staging:
        assert staging.finish_directories() == []
    assert mode_of(tmp_path / "d") == 0o770


def test_time_of_the_root_survives_the_end_of_the_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with staging_of(folder, ONE) as staging:
        staging.make_directory(b"", Attributes(0o750, TIME))
        staging.write_whole(0, b"x")
        staging.publish()
        staging.finish_directories()
    assert folder.stat().st_mtime_ns == TIME
    assert mode_of(folder) == 0o750


def test_time_of_the_root_that_cannot_be_set_is_told(tmp_path: Path) -> None:
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root:
        staging = Staging(root, "test", ONE)
        staging.make_directory(b"", Attributes(0o750, TIME))
        files.fail("futime")
        with pytest.raises(PublishError):
            staging.close()


def test_file_or_link_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/etc")
    with staging_of(tmp_path, ONE) as staging:
        for path, code in (
            (b"file", "fs.not-directory"),
            (b"link", "link.component"),
            (b"link/below", "link.component"),
        ):
            with pytest.raises(UnsafeTargetError) as caught:
                staging.make_directory(path)
            assert caught.value.code == code
    assert names_in(tmp_path) == {"file", "link"}


def test_lost_metadata_and_vanished_directories_are_told(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"x/y": 1}), files) as staging:
        for path in (b"a", b"b", b"gone"):
            staging.make_directory(path, Attributes(0o755, TIME))
        for number in range(260):  # more than are kept open
            staging.make_directory(b"%d" % number, Attributes(0o755, TIME))
        (tmp_path / "gone").rmdir()
        files.fail("futime", errno.EPERM)
        results = {result.path: result for result in staging.finish_directories()}
        assert results[b"a"].lost == ("mtime",)
        assert isinstance(results[b"a"].error, PublishError)
        assert results[b"gone"].lost == ("mode", "mtime")
        files.instead.clear()


@pytest.mark.parametrize("count", [1, 8])
def test_failed_sync_of_directories_is_told(tmp_path: Path, count: int) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, ONE, files) as staging:
        for number in range(count):
            staging.make_directory(b"%d" % number)
        files.fail("fsync")
        files.fail("syncfs")
        results = staging.finish_directories()
        assert {result.path for result in results} == {b"", *(b"%d" % n for n in range(count))}
        assert all(isinstance(result.error, DurabilityError) for result in results)
        assert not any(result.lost for result in results)


def test_somebody_else_makes_the_directory_first(tmp_path: Path) -> None:
    files = WatchedFiles()

    def faster(real: Any, path: bytes, mode: int, dir_fd: int) -> None:
        if path == b"d":
            (tmp_path / "d").mkdir(mode=0o711)
        real(path, mode, dir_fd)

    files.instead["mkdir"] = faster
    with staging_of(tmp_path, ONE, files) as staging:
        staging.write_whole(0, b"x")
        assert staging.publish()[0].placed
        staging.finish_directories()
    assert mode_of(tmp_path / "d") == 0o711
