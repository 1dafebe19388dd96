"""What stands at a target is read without following a link and without waiting for a device."""

import errno
import os
from pathlib import Path

import pytest

from rehydrate.errors import PublishError, SessionBusyError
from rehydrate.staging.reader import open_standing
from rehydrate.staging.root import TargetRoot
from tests.unit.staging.jobs import WatchedFiles


def test_standing_file_gives_bytes_status_and_attributes(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"abc")
    os.setxattr(place, "user.b", b"2")
    os.setxattr(place, "user.a", b"1")
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root, open_standing(root, b"file") as standing:
        assert standing.read(0, 3) == b"abc"
        assert standing.status.st_ino == place.stat().st_ino
        assert standing.attribute(b"user.a") == b"1"
        assert standing.attribute(b"user.none") is None
        assert standing.attributes(b"user.") == ((b"user.a", b"1"), (b"user.b", b"2"))


@pytest.mark.parametrize("call", ["fgetxattr", "fgetxattrs"])
def test_unreadable_attributes_are_told(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(b"")
    with TargetRoot(tmp_path) as root, open_standing(root, b"file") as standing:
        monkeypatch.setattr(root.files, call, failing)
        with pytest.raises(PublishError, match="attribute"):
            standing.attribute(b"user.a") if call == "fgetxattr" else standing.attributes(b"")


def test_anything_but_a_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    with TargetRoot(tmp_path) as root:
        for path in (b"link", b"up/passwd", b"pipe", b"missing"):
            with pytest.raises(PublishError):
                open_standing(root, path)


def test_status_that_cannot_be_had_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = WatchedFiles()
    with TargetRoot(tmp_path, files=files) as root:
        before = len(list(Path("/proc/self/fd").iterdir()))
        files.fail("fstat")
        with pytest.raises(PublishError):
            open_standing(root, b"file")
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_root_tells_what_stands_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "up").symlink_to("/etc")
    with TargetRoot(tmp_path) as root:
        assert [root.holds(path) for path in (b"d", b"d/file", b"dangling")] == [True] * 3
        assert not any(root.holds(path) for path in (b"x", b"d/x", b"x/y", b"up/passwd"))


def test_job_runs_once_at_a_time(tmp_path: Path) -> None:
    with TargetRoot(tmp_path) as root:
        for _ in range(2):
            with (
                root.running("a"),
                root.running("b"),
                pytest.raises(SessionBusyError),
                root.running("a"),
            ):
                pass
