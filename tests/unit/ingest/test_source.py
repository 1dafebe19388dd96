"""The source changes under the run, and records are larger than buffers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.catalogue.verify import verify_store
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.source import Batch, SourceTree
from rehydrate.ingest.store import create_store
from rehydrate.stores.layout import ChunkerSettings
from tests.unit.ingest.test_optimize import noise
from tests.unit.ingest.trees import of_tree, of_version

SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "dir").mkdir(parents=True)
    for name in ("a", "b", "c", "dir/d"):
        (root / name).write_bytes(name.encode() * 3000)
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", chunker=SMALL)
    return tmp_path / "store"


def swap_after_listing(source: Path, monkeypatch: pytest.MonkeyPatch, *steps: str) -> None:
    """Let things happen between the listing and the reading."""

    class Swapped(SourceTree):
        def batches(self) -> Iterator[Batch]:
            for batch in super().batches():
                for step in steps:
                    path = source / step.split(":")[1]
                    (source.parent / "other").write_bytes(b"another file")
                    if path.is_dir():
                        (path / "d").unlink()
                        path.rmdir()
                    else:
                        path.unlink()
                    if step.startswith("link:"):
                        path.symlink_to("/etc/passwd")
                    elif step.startswith("other:"):
                        (source.parent / "other").rename(path)
                    elif step.startswith("fifo:"):
                        os.mkfifo(path)
                yield batch

    monkeypatch.setattr("rehydrate.ingest.optimize.SourceTree", Swapped)


@pytest.mark.parametrize("how", ["gone", "link", "fifo"])
def test_a_name_that_is_exchanged_is_reported_and_never_followed(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before = of_tree(source)
    swap_after_listing(source, monkeypatch, f"{how}:b")
    report = optimize(source, store)
    assert [(skip.path, skip.failed) for skip in report.skipped] == [(b"b", True)]
    assert report.entries == 4
    monkeypatch.undo()
    found = of_version(store, 1)
    assert found == {path: entry for path, entry in before.items() if path != b"b"}


def test_a_file_that_is_saved_anew_is_stored_as_it_is_now(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_after_listing(source, monkeypatch, "other:b")
    assert optimize(source, store).ok
    monkeypatch.undo()
    assert of_version(store, 1) == of_tree(source)
    assert of_version(store, 1)[b"b"].content == b"another file"


def test_a_directory_that_became_a_link_is_not_entered(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir
    done: list[int] = []

    def scandir(fd: int) -> object:
        if not done:
            done.append(fd)
            (source / "dir").rename(source.parent / "moved")
            (source / "dir").symlink_to(source.parent / "moved")
            entries = list(real(fd))
            (source / "dir").unlink()
            (source.parent / "moved").rename(source / "dir")
            assert entries
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    report = optimize(source, store)
    assert report.ok
    assert of_version(store, 1) == of_tree(source)


def test_a_directory_elsewhere_is_not_taken_for_one_of_the_source(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    (source.parent / "evil").mkdir()
    (source.parent / "evil" / "secret").touch()

    def swapping(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == b"dir":
            return real(source.parent / "evil", flags, mode)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    report = optimize(source, store)
    monkeypatch.undo()
    assert report.ok
    assert of_version(store, 1) == of_tree(source)


def test_a_listing_that_fails_half_way_is_reported(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(fd: int) -> object:
        if Path(f"/proc/self/fd/{fd}").readlink().name == "dir":
            raise OSError(5, "Input/output error")
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    report = optimize(source, store)
    assert [(skip.path, skip.reason) for skip in report.skipped] == [
        (b"dir", "cannot list the directory: Input/output error")
    ]
    assert not report.ok


def test_noatime_is_given_up_where_it_is_not_permitted(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def strict(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_NOATIME:
            raise PermissionError(1, "Operation not permitted")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", strict)
    assert optimize(source, store).ok
    monkeypatch.undo()
    assert of_version(store, 1) == of_tree(source)


def test_a_system_without_preadv_reads_the_same(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "preadv")
    optimize(source, store)
    assert of_version(store, 1) == of_tree(source)


@pytest.mark.parametrize("size", [100, 3000, 4200])
def test_records_may_be_larger_than_the_write_buffer(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("rehydrate.ingest.containers._BUFFER", size)
    (source / "noise").write_bytes(noise(60_000))
    optimize(source, store)
    assert of_version(store, 1) == of_tree(source)
    assert verify_store(store, read_data=True).ok


def test_a_directory_deeper_than_descriptors_last(source: Path, store: Path) -> None:
    path = source
    for _ in range(300):
        path /= "deeper"
        path.mkdir()
    (path / "file").write_bytes(b"far down")
    report = optimize(source, store)
    assert report.ok
    assert of_version(store, 1) == of_tree(source)


def test_a_path_longer_than_the_system_opens_is_reported(source: Path, store: Path) -> None:
    fd = os.open(source, os.O_RDONLY)
    name = "x" * 250
    for _ in range(20):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    report = optimize(source, store)
    assert not report.ok
    assert report.skipped[0].reason == "cannot list the directory: File name too long"
