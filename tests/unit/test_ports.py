"""The real file-system calls, and their fallbacks."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.ports import SystemClock, SystemFiles, SystemRandom

FILES = SystemFiles()


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"content")
    (tmp_path / "out").symlink_to("/")
    (tmp_path / "in").symlink_to("a")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def _without_openat2() -> SystemFiles:
    files = SystemFiles()
    files._openat2 = False
    return files


BOTH = pytest.mark.parametrize(
    "files", [FILES, _without_openat2()], ids=["openat2", "by component"]
)


@BOTH
def test_open_beneath_reads_below_the_root(files: SystemFiles, root: int) -> None:
    fd = files.open_beneath(b"a/b/f", os.O_RDONLY, root)
    assert files.pread(fd, 100, 3) == b"tent"
    files.close(fd)


@BOTH
@pytest.mark.parametrize("path", [b"../x", b"/etc/hostname", b"a/../../x"])
def test_open_beneath_never_leaves_the_root(files: SystemFiles, root: int, path: bytes) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        files.open_beneath(path, os.O_RDONLY, root)


@BOTH
@pytest.mark.parametrize("path", [b"out/etc", b"in/b", b"in"])
def test_open_beneath_follows_no_link(files: SystemFiles, root: int, path: bytes) -> None:
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        files.open_beneath(path, os.O_RDONLY, root)


@BOTH
def test_open_beneath_says_what_is_missing(files: SystemFiles, root: int) -> None:
    with pytest.raises(FileNotFoundError):
        files.open_beneath(b"a/none", os.O_RDONLY, root)


@pytest.mark.parametrize("native", [True, False], ids=["renameat2", "link and unlink"])
def test_rename_new_replaces_nothing(root: int, tmp_path: Path, *, native: bool) -> None:
    files = SystemFiles()
    files._renameat2 = native and files._renameat2
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    with pytest.raises(FileExistsError):
        files.rename_new(b"one", b"two", src_dir_fd=root, dst_dir_fd=root)
    files.rename_new(b"one", b"three", src_dir_fd=root, dst_dir_fd=root)
    assert (tmp_path / "three").read_bytes() == b"1"
    assert (tmp_path / "two").read_bytes() == b"2"
    assert not (tmp_path / "one").exists()


def test_holes_are_found_and_made(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "sparse", os.O_RDWR | os.O_CREAT)
    FILES.ftruncate(fd, 1 << 20)
    FILES.fallocate(fd, 0, 64 << 10)
    assert FILES.pwrite(fd, b"x" * 4096, 512 << 10) == 4096
    if FILES.seek_hole(fd, 600 << 10) == 1 << 20:
        os.close(fd)
        pytest.skip("this file system knows no holes")
    assert FILES.seek_data(fd, 100 << 10) == 512 << 10
    assert FILES.seek_data(fd, 600 << 10) is None
    FILES.punch_hole(fd, 512 << 10, 4096)
    assert FILES.seek_data(fd, 100 << 10) is None
    FILES.drop_cache(fd)
    os.close(fd)


def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    one = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    two = os.open(tmp_path / "lock", os.O_RDWR)
    assert FILES.lock(one)
    assert not FILES.lock(two)
    os.close(one)
    assert FILES.lock(two)
    os.close(two)


def test_links_times_and_names(root: int, tmp_path: Path) -> None:
    FILES.symlink(b"text", b"l", root)
    FILES.lutime(b"l", 1, 5 * 10**18, root)
    assert FILES.readlink(b"l", root) == b"text"
    assert FILES.lstat(b"l", root).st_mtime_ns == 5 * 10**18
    FILES.link(b"a/b/f", b"hard", src_dir_fd=root, dst_dir_fd=root)
    assert FILES.lstat(b"hard", root).st_nlink == 2
    FILES.unlink(b"hard", root)
    FILES.mkdir(b"new", 0o700, root)
    FILES.rmdir(b"new", root)
    FILES.lchown(b"l", -1, -1, root)
    assert "new" not in FILES.listdir(root)
    assert FILES.free_bytes(root) > 0
    assert (tmp_path / "l").is_symlink()


def test_syncs(root: int) -> None:
    FILES.fsync(root)
    assert FILES.syncfs(root) is (sys.platform == "linux")


def test_attributes_come_back_sorted(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    try:
        FILES.fsetxattr(fd, b"user.b", b"2")
        FILES.fsetxattr(fd, b"user.a", b"1")
    except OSError:
        os.close(fd)
        pytest.skip("this file system has no user attributes")
    assert FILES.fgetxattrs(fd) == [(b"user.a", b"1"), (b"user.b", b"2")]
    os.close(fd)


def test_clock_and_randomness() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.time_ns() > 10**18
    clock.sleep(0)
    assert len(SystemRandom().bytes(16)) == 16
