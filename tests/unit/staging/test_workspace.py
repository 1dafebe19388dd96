"""The private directory: ours, locked, cleaned only when nobody uses it."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import PublishError, RequestError, StagingError, UnsafeTargetError
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.staging.workspace import Workspace, clean
from tests.unit.staging.jobs import WatchedFiles, names_in, staging_of, table_of

TABLE = table_of({b"file": 4})
WORK = ".rehydrate-test"


def leave(folder: Path) -> None:
    with staging_of(folder, TABLE) as staging:
        staging.write_whole(0, b"abcd")


def test_it_is_private_and_gone_when_nothing_is_staged(tmp_path: Path) -> None:
    with staging_of(tmp_path, TABLE) as staging:
        assert stat.S_IMODE((tmp_path / WORK).stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / WORK / "lock").stat().st_mode) == 0o600
        assert staging.close()
        assert staging.close()
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("times", [1, 2])
def test_it_goes_once_the_lock_is_closed(tmp_path: Path, times: int) -> None:
    # As on NFS and FUSE, where a file that is removed while it is open keeps a name.
    files = WatchedFiles()
    left = [errno.ENOTEMPTY] * times

    def refuses(real: Callable[[bytes, int], None], path: bytes, parent: int) -> None:
        if left:
            raise OSError(left.pop(), "not empty yet")
        real(path, parent)

    with staging_of(tmp_path, TABLE, files=files) as staging:
        files.instead["rmdir"] = refuses
        assert staging.close() == (times == 1)
    assert (names_in(tmp_path) == set()) == (times == 1)


@pytest.mark.parametrize("job", ["", "x" * 65, "a/b", "..", "A", "a-b"])
def test_name_of_a_job(tmp_path: Path, job: str) -> None:
    with TargetRoot(tmp_path) as root, pytest.raises(RequestError):
        Staging(root, job, TABLE)


def test_same_job_twice_at_once(tmp_path: Path) -> None:
    with staging_of(tmp_path, TABLE) as staging:
        with TargetRoot(tmp_path) as root, pytest.raises(StagingError) as caught:
            Staging(root, "test", TABLE)
        assert caught.value.code == "fs.busy"
        assert caught.value.retryable
        with TargetRoot(tmp_path) as root, Staging(root, "other", TABLE) as other:
            other.write_whole(0, b"abcd")
            other.publish()
        staging.write_whole(0, b"abcd")
        staging.publish()
    assert names_in(tmp_path) == {"file"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_workspace_of_another_user_is_refused(tmp_path: Path) -> None:
    leave(tmp_path)
    os.chown(tmp_path / WORK, 12345, -1)
    with TargetRoot(tmp_path) as root:
        with pytest.raises(UnsafeTargetError, match="user 12345"):
            Staging(root, "test", TABLE)
        assert "user 12345" in clean(root).kept[0][1]
    os.chown(tmp_path / WORK, os.geteuid(), -1)


def test_workspace_that_others_could_enter_is_refused(tmp_path: Path) -> None:
    leave(tmp_path)
    (tmp_path / WORK).chmod(0o711)
    with TargetRoot(tmp_path) as root:
        with pytest.raises(UnsafeTargetError, match="remove it"):
            Staging(root, "test", TABLE)
        assert len(clean(root).kept) == 1


@pytest.mark.parametrize("plant", ["link", "file"])
def test_something_else_with_its_name_is_refused(tmp_path: Path, plant: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "out"
    folder.mkdir()
    if plant == "link":
        (folder / WORK).symlink_to(outside)
    else:
        (folder / WORK).write_bytes(b"")
    with TargetRoot(folder) as root:
        with pytest.raises(UnsafeTargetError, match="no directory"):
            Staging(root, "test", TABLE)
        assert [name for name, _ in clean(root).kept] == [WORK]
    assert names_in(outside) == set()


def test_clean_removes_what_is_left_and_tells(tmp_path: Path) -> None:
    leave(tmp_path)
    (tmp_path / "mine").write_bytes(b"x")
    with TargetRoot(tmp_path) as root:
        assert clean(root).removed == (WORK,)
        assert clean(root) == type(clean(root))((), ())
    assert names_in(tmp_path) == {"mine"}


def test_clean_leaves_what_a_live_process_has(tmp_path: Path) -> None:
    with staging_of(tmp_path, TABLE) as staging, TargetRoot(tmp_path) as root:
        staging.write_whole(0, b"abcd")
        cleaned = clean(root)
        assert not cleaned.removed
        assert cleaned.kept[0][0] == WORK
        staging.publish()
    assert (tmp_path / "file").read_bytes() == b"abcd"


def test_clean_cannot_tell_without_locks(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    files.fail("lock", errno.ENOLCK)
    with TargetRoot(tmp_path, files=files) as root:
        assert len(clean(root).kept) == 1


def test_clean_of_something_that_vanishes(tmp_path: Path) -> None:
    leave(tmp_path)
    files = WatchedFiles()
    files.fail("open", errno.ENOENT, where=WORK.encode())
    with TargetRoot(tmp_path, files=files) as root:
        assert clean(root) == type(clean(root))((), ())
        files.fail("listdir")
        with pytest.raises(PublishError):
            clean(root)


def test_without_locks_a_restore_goes_on(tmp_path: Path) -> None:
    files = WatchedFiles()
    files.fail("lock", errno.ENOLCK)
    with staging_of(tmp_path, TABLE, files) as staging:
        staging.write_whole(0, b"abcd")
        assert staging.publish()[0].placed
    assert names_in(tmp_path) == {"file"}


def _remove_at(files: WatchedFiles, folder: Path, call: str, times: int) -> None:
    """Another process removes the workspace just before this call."""
    left = [times]

    def removed(real: Any, *arguments: Any, **named: Any) -> Any:
        if left[0] and (call == "lock" or arguments[0] == b"lock"):
            left[0] -= 1
            (folder / WORK / "lock").unlink(missing_ok=True)
            (folder / WORK).rmdir()
        return real(*arguments, **named)

    files.instead[call] = removed


@pytest.mark.parametrize("call", ["lock", "open"])
def test_workspace_removed_by_its_last_user_in_this_moment(tmp_path: Path, call: str) -> None:
    files = WatchedFiles()
    _remove_at(files, tmp_path, call, 2)
    with staging_of(tmp_path, TABLE, files) as staging:
        staging.write_whole(0, b"abcd")
        assert staging.publish()[0].placed


def test_workspace_that_vanishes_again_and_again(tmp_path: Path) -> None:
    files = WatchedFiles()
    _remove_at(files, tmp_path, "lock", 1000)
    with TargetRoot(tmp_path, files=files) as root, pytest.raises(StagingError, match="vanishes"):
        Staging(root, "test", TABLE)


@pytest.mark.parametrize("call", ["mkdir", "listdir", "fstat"])
def test_workspace_that_cannot_be_made(tmp_path: Path, call: str) -> None:
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root:
        files.fail(call, errno.EROFS)
        with pytest.raises(PublishError, match="private directory") as caught:
            Staging(root, "test", TABLE)
        assert caught.value.errno == errno.EROFS


def test_target_in_which_no_file_can_be_made(tmp_path: Path) -> None:
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root:
        files.fail("open", errno.EDQUOT, where=b"probe")
        with pytest.raises(PublishError, match="make files"):
            Staging(root, "test", TABLE)
    assert names_in(tmp_path) == set()


def test_names_that_fold_are_noticed(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, TABLE, files) as staging:
        assert not staging.folds_names
    files.instead["lstat"] = lambda real, name, fd: real(name.lower(), fd)
    with staging_of(tmp_path, TABLE, files) as staging:
        assert staging.folds_names


def test_spill_file_has_no_name(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, TABLE, files) as staging:
        one, other = staging.spill(), staging.spill()
        os.pwrite(one, b"x", 0)
        os.close(one)
        os.close(other)
        assert names_in(tmp_path) == {WORK, f"{WORK}/lock"}
        files.fail("open", errno.ENOSPC)
        with pytest.raises(PublishError, match="spill"):
            staging.spill()


def test_temporary_names_of_a_killed_run_are_removed_at_once(tmp_path: Path) -> None:
    leave(tmp_path)
    for name in ("link-1", "spill-1", "probe"):
        (tmp_path / WORK / name).write_bytes(b"x")
    with staging_of(tmp_path, TABLE):
        names = {path.name for path in (tmp_path / WORK).iterdir()}
        assert names == {"01" * 16, "lock"}


def test_places_are_kept_whole_behind_a_torn_one(tmp_path: Path) -> None:
    with TargetRoot(tmp_path) as root:
        with Workspace(root.fd, "test", root.files) as workspace:
            workspace.note(b"M", b"one")
            workspace.note(b"E", b"elsewhere")
            (tmp_path / WORK / "keep").write_bytes(b"")
        with (tmp_path / WORK / "places").open("ab") as stream:
            stream.write(b"Mtor")
        with Workspace(root.fd, "test", root.files) as workspace:
            assert workspace.places(b"M") == [b"one"]
            workspace.note(b"M", b"two")
            assert workspace.places(b"M") == [b"one", b"two"]
            assert workspace.places(b"E") == [b"elsewhere"]
        assert (tmp_path / WORK).exists()


def test_place_that_cannot_be_noted_is_no_fault(tmp_path: Path) -> None:
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root, Workspace(root.fd, "t", files) as workspace:
        files.fail("open", errno.ENOSPC)
        workspace.note(b"M", b"one")
        assert workspace.places(b"M") == []
        files.instead.clear()
        workspace.note(b"M", b"two")
        files.fail("pread")
        assert workspace.places(b"M") == []


def test_interrupt_while_it_is_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    files = WatchedFiles()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with TargetRoot(tmp_path, files=files) as root:
        before = len(list(Path("/proc/self/fd").iterdir()))
        files.instead["listdir"] = interrupt
        with pytest.raises(KeyboardInterrupt):
            Staging(root, "test", TABLE)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestRoot:
    """The target root."""

    def test_it_is_made_with_its_parents(self, tmp_path: Path) -> None:
        with TargetRoot(tmp_path / "a" / "b") as root:
            assert root.path == str(tmp_path / "a" / "b")
            assert root.free_bytes() > 0
            root.close()
        assert (tmp_path / "a" / "b").is_dir()

    def test_relative_path_is_taken_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with TargetRoot("out") as root, Staging(root, "test", TABLE) as staging:
            monkeypatch.chdir("/")
            staging.write_whole(0, b"abcd")
            staging.publish()
        assert names_in(tmp_path) == {"out", "out/file"}

    def test_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"")
        for path in (tmp_path / "f", tmp_path / "f" / "below"):
            with pytest.raises(PublishError, match="target directory"):
                TargetRoot(path)

    def test_failed_making_closes_what_was_open(self, tmp_path: Path) -> None:
        files = WatchedFiles()
        files.fail("mkdir", errno.EROFS)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(PublishError):
            TargetRoot(tmp_path / "a" / "b", files=files)
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_free_space_that_is_not_told(self, tmp_path: Path) -> None:
        files = WatchedFiles()
        files.fail("free_bytes")
        with staging_of(tmp_path, TABLE, files) as staging, pytest.raises(PublishError):
            staging.free_bytes()


def test_interrupt_while_the_parts_are_made_leaves_nothing(tmp_path: Path) -> None:
    files = WatchedFiles()

    def interrupt(real: Any, name: bytes, *rest: Any, **named: Any) -> int:
        if name == b"probe":
            raise KeyboardInterrupt
        fd: int = real(name, *rest, **named)
        return fd

    with TargetRoot(tmp_path, files=files) as root:
        files.instead["open"] = interrupt
        with pytest.raises(KeyboardInterrupt):
            Staging(root, "test", TABLE)
    assert names_in(tmp_path) == set()
