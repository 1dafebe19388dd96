"""Directory trees of this machine: every failure is ours, and nothing leads out."""

import os
from pathlib import Path

import pytest

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.ports import SystemFiles
from rehydrate.stores.host_tree import HostTree, shown


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_root_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ContainerNotFoundError, match="there is no directory"):
        HostTree(tmp_path / "missing")
    with pytest.raises(StoreReadError, match="cannot open"):
        HostTree(tmp_path / "file")


def test_paths_that_lead_out_or_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_bytes(b"secret")
    (tmp_path / "in" / "a").write_bytes(b"data")
    (tmp_path / "in" / "link").symlink_to("../out")
    (tmp_path / "in" / "folder").symlink_to("..")
    tree = HostTree(tmp_path / "in")
    for path in (b"../out", b"link", b"folder/out", b"/etc/passwd", b"a\0b", b"missing"):
        with pytest.raises((StoreReadError, ContainerNotFoundError)):
            tree.read(path, 0, 1)
    with pytest.raises(StoreReadError, match="no regular file"):
        tree.read(b".", 0, 1)
    tree.close()


def test_failures_are_ours_wherever_they_come(tmp_path: Path) -> None:
    class Failing(SystemFiles):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            raise OSError(5, "Input/output error")

        def listdir(self, fd: int, /) -> list[str]:
            raise OSError(5, "Input/output error")

    (tmp_path / "a").write_bytes(b"data")
    tree = HostTree(tmp_path, files=Failing())
    with pytest.raises(StoreReadError, match="cannot read a: Input/output error") as caught:
        tree.read(b"a", 0, 1)
    assert caught.value.file == "a"
    with pytest.raises(StoreReadError, match="cannot read"), tree.folder(b"") as folder:
        folder.names()
    with pytest.raises(ContainerNotFoundError), tree.folder(b""), tree.file(b"none"):
        pass
    tree.close()


def test_short_reads_are_continued_and_their_end_is_told(tmp_path: Path) -> None:
    class Short(SystemFiles):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            return os.pread(fd, min(size, 2), offset) if offset < 6 else b""

    (tmp_path / "a").write_bytes(b"12345678")
    tree = HostTree(tmp_path, files=Short())
    assert tree.read(b"a", 1, 5) == b"23456"
    with pytest.raises(StoreReadError, match="a ends at byte 6"):
        tree.read(b"a", 0, 8)
    assert tree.read(b"a", 8, 0) == b""
    tree.close()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    before = open_descriptors()
    tree = HostTree(tmp_path)
    for path in (b"a", b"none"):
        with pytest.raises((StoreReadError, ContainerNotFoundError)):
            tree.read(path, 2, 9)
    tree.close()
    tree.close()
    assert open_descriptors() == before


def test_paths_for_people() -> None:
    assert [shown(path) for path in (b"", b"caf\xc3\xa9", b"\xff")] == [".", "caf\xe9", "\\xff"]
