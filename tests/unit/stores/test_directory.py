import os
import threading
from pathlib import Path

import pytest

from rehydrate.errors import ContainerNotFoundError, SessionError, StoreReadError
from rehydrate.ports import SystemFiles
from rehydrate.protocols import (
    BackupStore,
    DeclaresReadHints,
    ListsContainers,
    PreviewsReads,
    ReadsInto,
)
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import FileExtent, StorePath

A = StorePath("Data/a")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data" / "a").write_bytes(bytes(range(200)))
    for number in range(10):
        (tmp_path / "Data" / f"n{number}").write_bytes(bytes([number]) * 10)
    return tmp_path


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_declares_all_abilities_of_a_directory(root: Path) -> None:
    with DirectoryStore(root) as store:
        required: BackupStore = store
        assert isinstance(required, ReadsInto | ListsContainers)
        assert isinstance(required, PreviewsReads)
        assert isinstance(store, DeclaresReadHints)
        assert (store.max_gap, store.max_read) == (4096, 1 << 20)
        assert store.path == root


def test_a_preview_announces_what_will_be_read_up_to_a_limit(root: Path) -> None:
    asked: list[tuple[int, int]] = []

    class Recording(SystemFiles):
        def read_ahead(self, fd: int, offset: int, size: int) -> None:
            asked.append((offset, size))
            super().read_ahead(fd, offset, size)

    with DirectoryStore(root, files=Recording()) as store:
        store.preview_container_read(A, [FileExtent(0, 3), FileExtent(5, 1 << 30)] * 9)
        store.preview_container_read(StorePath("Data/none"), [FileExtent(0, 3)])
    assert asked == [(0, 3), (5, 1 << 30)]


def test_reads_exactly_what_was_asked_and_less_only_at_the_end(root: Path) -> None:
    with DirectoryStore(root) as store:
        assert store.read_backup_file(A, 3, 5) == bytes([3, 4, 5, 6, 7])
        assert store.read_backup_file(A, 198, 5) == bytes([198, 199])
        assert store.read_backup_file(A, 500, 5) == b""
        buffer = bytearray(7)
        assert store.read_backup_file_into(A, 10, memoryview(buffer)) == 7
        assert buffer == bytes(range(10, 17))
        assert store.read_backup_file_into(A, 195, memoryview(buffer)) == 5
        assert store.read_backup_file_into(A, 200, memoryview(buffer)) == 0
        assert store.size_of(A) == 200


def test_reads_without_preadv(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    with DirectoryStore(root) as store:
        buffer = bytearray(7)
        assert store.read_backup_file_into(A, 195, memoryview(buffer)) == 5
        assert buffer[:5] == bytes(range(195, 200))


class ShortFiles(SystemFiles):
    """Gives at most three bytes a call."""

    @staticmethod
    def pread(fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, min(size, 3), offset)


def test_short_answers_of_the_system_are_continued(root: Path) -> None:
    with DirectoryStore(root, files=ShortFiles()) as store:
        assert store.read_backup_file(A, 0, 10) == bytes(range(10))
        assert store.read_backup_file(A, 196, 10) == bytes(range(196, 200))


def test_short_vector_reads_are_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, b, at: real(fd, [b[0][:3]], at))
    with DirectoryStore(root) as store:
        buffer = bytearray(10)
        assert store.read_backup_file_into(A, 0, memoryview(buffer)) == 10
        assert buffer == bytes(range(10))
        assert store.read_backup_file_into(A, 196, memoryview(buffer)) == 4


def test_lists_a_folder_and_nothing_where_there_is_none(root: Path) -> None:
    with DirectoryStore(root) as store:
        assert store.list_containers(StorePath("Data"))[:2] == ["a", "n0"]
        assert store.list_containers(StorePath("Stream")) == []
        assert store.list_containers(StorePath("Data/a")) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "Data/../../x", "", "link", "inner/a"])
def test_paths_that_leave_the_root_are_refused(root: Path, path: str) -> None:
    (root / "link").symlink_to("/etc/passwd")
    (root / "inner").symlink_to("Data")
    with DirectoryStore(root) as store, pytest.raises(OSError, match=path or "inside"):
        store.read_backup_file(StorePath(path), 0, 1)


def test_a_missing_container_is_a_file_not_found(root: Path) -> None:
    with DirectoryStore(root) as store, pytest.raises(FileNotFoundError):
        store.read_backup_file(StorePath("Data/zz"), 0, 1)


def test_a_missing_root_is_named(root: Path) -> None:
    with pytest.raises(ContainerNotFoundError, match="there is no directory"):
        DirectoryStore(root / "nowhere")
    with pytest.raises(StoreReadError, match="Not a directory"):
        DirectoryStore(root / "Data" / "a")


def test_descriptors_stay_bounded_and_are_all_closed(root: Path) -> None:
    before = open_descriptors()
    store = DirectoryStore(root, max_open=3)
    for number in [*range(10), *range(10)]:
        path = StorePath(f"Data/n{number}")
        assert store.read_backup_file(path, 0, 1) == bytes([number])
        assert open_descriptors() <= before + 1 + 3
    store.close()
    store.close()
    assert open_descriptors() == before
    with pytest.raises(SessionError):
        store.read_backup_file(A, 0, 1)


def test_an_eviction_waits_for_the_read_in_flight(root: Path) -> None:
    """With room for one descriptor, threads evict each other's containers all the time."""
    wrong: list[str] = []
    with DirectoryStore(root, max_open=1) as store:

        def read(first: int) -> None:
            for step in range(300):
                number = (first + step) % 10
                data = store.read_backup_file(StorePath(f"Data/n{number}"), 0, 10)
                if data != bytes([number]) * 10:
                    wrong.append(f"{number}: {data!r}")

        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
