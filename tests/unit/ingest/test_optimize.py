"""Whole runs: a tree goes in, and a plain reader gets the same tree out of the version."""

import os
import random
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.chunks import ZERO
from rehydrate.errors import Cancelled, StoreError, UnsupportedFormatError
from rehydrate.formats.native.layout import MAP_PARTS
from rehydrate.formats.native.stub import parse_stub
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import OptimizeOptions, OptimizeProgress, OptimizeReport
from rehydrate.ingest.source import SourceTree
from rehydrate.ingest.store import World, create_store
from rehydrate.ports import SystemClock
from rehydrate.requests import CancelToken
from rehydrate.stores.layout import ChunkerSettings
from tests.unit.ingest.trees import holes_of, of_tree, of_version, rows_of

SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class LateClock(SystemClock):
    """Ten seconds ahead: what was written just now is then old enough to be trusted."""

    @staticmethod
    def time_ns() -> int:
        return time.time_ns() + 10_000_000_000


LATER = World(clock=LateClock())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "big").write_bytes(noise(50_000))
    (root / "copy").write_bytes(noise(50_000))
    (root / "empty").touch()
    (root / "small").write_bytes(b"hello\n")
    (root / "text").write_bytes(b"a line of text\n" * 5000)
    (root / "zeros").write_bytes(bytes(10_000) + b"x" + bytes(20_000))
    (root / "dir").mkdir(mode=0o711)
    (root / "dir" / "inner").mkdir()
    (root / "dir" / "inner" / "file").write_bytes(noise(3000, 1))
    (root / "dir.txt").write_bytes(b"sorts behind what is in dir")
    os.link(root / "big", root / "dir" / "linked")
    (root / "link").symlink_to("dir/../nowhere \udcff")
    (root / "odd \n\udcfe name").write_bytes(b"odd")
    os.setxattr(root / "small", "user.colour", b"blue")
    os.setxattr(root / "dir", "user.shape", b"\0\1")
    os.utime(root / "small", ns=(1, -1_234_567_891))
    (root / "small").chmod(0o640)
    with (root / "sparse").open("wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(300 << 10)
        stream.write(noise(5000, 2))
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", chunker=SMALL)
    return tmp_path / "store"


def test_a_version_holds_what_the_source_holds(source: Path, store: Path) -> None:
    report = optimize(source, store)
    assert report.ok
    assert (report.version, report.skipped, report.inconsistent) == (1, (), ())
    assert of_version(store, 1) == of_tree(source)
    with NativeCatalogue.open(store) as catalogue:
        (info,) = catalogue.versions()
    assert info.entries == report.entries == len(of_tree(source))
    sizes = 50_000 * 2 + 6 + 75_000 + 30_001 + 3000 + 27 + 3 + (1 << 20)
    assert info.logical_bytes == report.logical_bytes == sizes
    assert report.reused_bytes >= 49_000
    assert info.source == os.fsencode(source.resolve())
    assert not info.partial


def test_entries_come_in_tree_order(source: Path, store: Path) -> None:
    optimize(source, store)
    with NativeCatalogue.open(store) as catalogue:
        paths = [entry.path for entry in catalogue.entries(1)]
    assert paths == sorted(paths, key=lambda path: path.split(b"/"))
    assert paths.index(b"dir/inner/file") < paths.index(b"dir.txt")


def test_holes_and_zeros_are_told_apart(source: Path, store: Path) -> None:
    report = optimize(source, store)
    with NativeCatalogue.open(store) as catalogue:
        stubs = {entry.path: parse_stub(entry.stub) for entry in catalogue.entries(1)}
    block = os.statvfs(source).f_bsize
    (first, second) = holes_of(store, stubs[b"sparse"])
    assert first[0] == 0
    assert (300 << 10) - block <= first[1] <= 300 << 10
    assert second[1] == 1 << 20
    assert second[0] - (300 << 10) - 5000 < block
    assert holes_of(store, stubs[b"zeros"]) == []
    zero_rows = [row for row in rows_of(store, stubs[b"zeros"]) if not row["container"]]
    assert zero_rows
    assert all(row["local_id"] == ZERO for row in zero_rows)
    assert report.zero_bytes >= 20_000


def test_an_unchanged_tree_is_taken_over_without_opening_a_file(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize(source, store, world=LATER)

    def no_open(*_: object, **__: object) -> int:
        pytest.fail("a file was opened")

    monkeypatch.setattr(SourceTree, "open_file", no_open)
    report = optimize(source, store)
    assert report.version == 2
    assert report.unchanged == report.entries == len(of_tree(source))
    assert (report.read_bytes, report.new_bytes) == (0, 0)
    assert report.segments == report.reused_segments == 1
    assert of_version(store, 2) == of_tree(source)


def test_a_file_changed_just_before_the_scan_is_read_again(source: Path, store: Path) -> None:
    """Within the resolution of the clock, a second change could leave no trace in the times."""
    optimize(source, store)
    report = optimize(source, store)
    assert report.unchanged == 0
    assert report.new_bytes == 0


def test_changes_are_found_one_by_one(source: Path, store: Path) -> None:
    optimize(source, store, world=LATER)
    (source / "new").write_bytes(b"new")
    (source / "dir" / "inner" / "file").write_bytes(noise(3000, 9))
    (source / "text").unlink()
    (source / "link").unlink()
    (source / "link").symlink_to("elsewhere")
    (source / "small").chmod(0o600)
    report = optimize(source, store)
    assert of_version(store, 2) == of_tree(source)
    assert of_version(store, 1) != of_tree(source)
    changed = 4 + 1  # new, file, link, small; and the directory that lost nothing keeps its times
    assert report.entries - report.unchanged in (changed - 1, changed)


def test_a_replaced_file_of_equal_size_and_time_is_noticed(source: Path, store: Path) -> None:
    optimize(source, store, world=LATER)
    status = (source / "small").stat()
    (source / "other").write_bytes(b"jello\n")
    (source / "other").chmod(0o640)
    os.setxattr(source / "other", "user.colour", b"blue")
    os.utime(source / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (source / "other").rename(source / "small")
    optimize(source, store)
    assert of_version(store, 2)[b"small"].content == b"jello\n"


def test_the_source_is_left_without_a_trace(source: Path, store: Path) -> None:
    def traces() -> dict[Path, tuple[int, ...]]:
        found: dict[Path, tuple[int, ...]] = {}
        for path in [source, *source.rglob("*")]:
            status = path.lstat()
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[path] = (*times, status.st_atime_ns if not path.is_symlink() else 0)
        return found

    before = traces()
    time.sleep(0.01)
    optimize(source, store)
    assert traces() == before


def test_what_cannot_be_stored_is_reported(source: Path, store: Path) -> None:
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fsencode(source / "sock"))
        report = optimize(source, store)
    assert report.ok
    reasons = {skip.path: (skip.reason, skip.failed) for skip in report.skipped}
    assert reasons == {
        b"fifo": ("a fifo is not stored", False),
        b"sock": ("a socket is not stored", False),
    }


def test_what_is_unreadable_is_reported_as_failed(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: bytes, flags: int, *args: Any, **options: Any) -> int:
        if path in (b"small", b"dir/inner"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    report = optimize(source, store)
    assert not report.ok
    assert [(skip.path, skip.failed) for skip in report.skipped] == [
        (b"dir/inner", True),
        (b"small", True),
    ]
    monkeypatch.undo()
    found = of_version(store, 1)
    assert b"small" not in found
    assert b"dir/inner" in found
    assert b"dir/inner/file" not in found


def test_a_store_inside_its_source_does_not_swallow_itself(source: Path) -> None:
    create_store(source / "backup")
    report = optimize(source, source / "backup")
    assert [skip.path for skip in report.skipped] == [b"backup"]
    assert report.ok
    assert not any(path.startswith(b"backup") for path in of_version(source / "backup", 1))


def test_a_single_file_can_be_the_source(source: Path, store: Path) -> None:
    report = optimize(source / "small", store)
    assert report.entries == 1
    assert of_version(store, 1)[b"small"].content == b"hello\n"


def test_a_missing_source_or_store_is_named(source: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read the source .*nowhere"):
        optimize(source / "nowhere", store)
    with pytest.raises(StoreError, match="does not exist"):
        optimize(source, tmp_path / "no-store")


class Growing(SourceTree):
    """A file grows each time it was read, up to a number of times."""

    times = 0
    watched = -1
    victim = b"small"
    target = Path()

    def open_file(self, path: bytes, device: int, inode: int, *, directory: bool = False) -> int:
        fd = super().open_file(path, device, inode, directory=directory)
        Growing.watched = fd if path == self.victim else -1
        return fd

    @staticmethod
    def read_into(fd: int, view: memoryview, offset: int) -> int:
        got = SourceTree.read_into(fd, view, offset)
        if fd == Growing.watched and Growing.times:
            Growing.times -= 1
            with Growing.target.open("ab") as stream:
                stream.write(b"more\n")
        return got


@pytest.mark.parametrize("times", [2, 3, 9])
def test_a_file_that_changes_while_it_is_read_is_read_at_most_three_times(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    inconsistent = times > 2
    monkeypatch.setattr(Growing, "times", times)
    monkeypatch.setattr(Growing, "target", source / "small")
    monkeypatch.setattr("rehydrate.ingest.optimize.SourceTree", Growing)
    report = optimize(source, store)
    assert report.inconsistent == ((b"small",) if inconsistent else ())
    assert report.ok is not inconsistent
    lines = of_version(store, 1)[b"small"].content.splitlines()
    assert lines == [b"hello"] + [b"more"] * 2
    with NativeCatalogue.open(store) as catalogue:
        stubs = {entry.path: parse_stub(entry.stub) for entry in catalogue.entries(1)}
    assert stubs[b"small"].inconsistent is inconsistent
    monkeypatch.undo()
    if inconsistent:
        optimize(source, store)
        assert of_version(store, 2)[b"small"] == of_tree(source)[b"small"]


def test_a_file_that_shrinks_while_it_is_read_is_stored_as_far_as_it_went(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shrinking(SourceTree):
        @staticmethod
        def read_into(fd: int, view: memoryview, offset: int) -> int:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            if path.name == "text":
                with path.open("r+b") as stream:
                    stream.truncate(path.stat().st_size - 100)
            return SourceTree.read_into(fd, view, offset)

    monkeypatch.setattr("rehydrate.ingest.optimize.SourceTree", Shrinking)
    report = optimize(source, store)
    assert report.inconsistent == (b"text",)
    content = of_version(store, 1)[b"text"].content
    assert content == (b"a line of text\n" * 5000)[: len(content)]
    assert len(content) == 75_000 - 300


class Watcher:
    def __init__(self, token: CancelToken | None = None) -> None:
        self.seen: list[OptimizeProgress] = []
        self.token = token

    def on_progress(self, progress: OptimizeProgress, /) -> None:
        self.seen.append(progress)
        if self.token is not None:
            self.token.cancel()


def test_progress_goes_up_and_names_the_path(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.optimize._EVENT_SECONDS", 0.0)
    watcher = Watcher()
    report = optimize(source, store, observer=watcher)
    assert [item.files_done for item in watcher.seen] == list(range(1, report.entries + 1))
    assert watcher.seen[-1].bytes_done <= report.read_bytes
    assert watcher.seen[0].path == b"big"


def test_a_cancelled_run_leaves_a_partial_version_that_the_next_run_completes(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.optimize._EVENT_SECONDS", 0.0)
    token = CancelToken()
    options = OptimizeOptions(cancel=token)
    with pytest.raises(Cancelled):
        optimize(source, store, options=options, observer=Watcher(token), world=LATER)
    with NativeCatalogue.open(store) as catalogue:
        (partial,) = catalogue.versions()
    assert (partial.number, partial.partial, partial.entries) == (1, True, 2)
    report = optimize(source, store)
    assert report.version == 1
    assert report.unchanged == 2
    with NativeCatalogue.open(store) as catalogue:
        (whole,) = catalogue.versions()
    assert not whole.partial
    assert of_version(store, 1) == of_tree(source)


def test_a_cancelled_second_run_still_compares_with_the_first(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.optimize._EVENT_SECONDS", 0.0)
    optimize(source, store, world=LATER)
    (source / "dir" / "inner" / "another").write_bytes(b"x")
    token = CancelToken()
    options = OptimizeOptions(cancel=token)
    with pytest.raises(Cancelled):
        optimize(source, store, options=options, observer=Watcher(token), world=LATER)
    report = optimize(source, store)
    assert (report.version, report.entries - report.unchanged) == (2, 2)
    assert of_version(store, 2) == of_tree(source)
    with NativeCatalogue.open(store) as catalogue:
        assert [info.parent for info in catalogue.versions()] == [None, 1]


def test_checkpoints_do_not_change_the_result(source: Path, store: Path, tmp_path: Path) -> None:
    often = OptimizeOptions(checkpoint_bytes=1, checkpoint_chunks=1, jobs=1)
    report = optimize(source, store, options=often)
    assert report.checkpoints > 5
    assert of_version(store, 1) == of_tree(source)
    create_store(tmp_path / "other", chunker=SMALL)
    assert optimize(source, tmp_path / "other").new_chunks == report.new_chunks


def test_small_containers_are_sealed_and_the_next_run_begins_new_ones(
    source: Path, tmp_path: Path
) -> None:
    store = tmp_path / "tiny"
    create_store(store, chunker=SMALL, capacity=20_000)
    optimize(source, store)
    before = {path: path.read_bytes() for path in sorted((store / "Data").iterdir())}
    assert len(before) > 3
    assert of_version(store, 1) == of_tree(source)
    (source / "more").write_bytes(noise(60_000, 5))
    report = optimize(source, store)
    assert of_version(store, 2) == of_tree(source)
    assert report.new_bytes < 70_000
    sealed = list(before)[:-1]
    assert all(path.read_bytes() == before[path] for path in sealed)
    names = [path.name[:8] for kind in ("Data", "Stream") for path in (store / kind).iterdir()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_the_store_comes_out_the_same_with_any_number_of_threads(
    source: Path, tmp_path: Path, jobs: int
) -> None:
    reports: list[OptimizeReport] = []
    for name, number in (("one", 1), ("many", jobs)):
        create_store(tmp_path / name, chunker=SMALL)
        reports.append(optimize(source, tmp_path / name, options=OptimizeOptions(jobs=number)))
    assert reports[0] == reports[1]


def test_a_store_without_compression_holds_the_same(source: Path, tmp_path: Path) -> None:
    create_store(tmp_path / "plain", chunker=SMALL, compression="none")
    optimize(source, tmp_path / "plain")
    assert of_version(tmp_path / "plain", 1) == of_tree(source)


def test_two_sources_in_one_store_do_not_get_mixed_up(
    source: Path, store: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "big").write_bytes(noise(50_000))
    first = optimize(source, store)
    second = optimize(other, store)
    assert second.new_bytes == 0
    optimize(source, store, world=LATER)
    report = optimize(source, store)
    assert report.unchanged == first.entries
    assert of_version(store, 2) == of_tree(other)
    assert of_version(store, 4) == of_tree(source)


def test_long_maps_go_into_parts(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.builds.MAX_PART_ROWS", 8)
    monkeypatch.setattr("rehydrate.ingest.blocks.BLOCK_SIZE", 64 << 10)
    source = tmp_path / "long"
    source.mkdir()
    (source / "file").write_bytes(noise(200_000))
    optimize(source, store)
    with NativeCatalogue.open(store) as catalogue:
        (entry,) = catalogue.entries(1)
    stub = parse_stub(entry.stub)
    assert stub.map_kind == MAP_PARTS
    assert len(stub.rows) > 4
    assert of_version(store, 1) == of_tree(source)


def test_a_file_of_four_chunks_has_its_map_inline(tmp_path: Path) -> None:
    source = tmp_path / "four"
    source.mkdir()
    (source / "zeros").write_bytes(b"x" * 4096 + bytes(4096 * 9))
    create_store(tmp_path / "store", chunker=SMALL)
    optimize(source, tmp_path / "store")
    with NativeCatalogue.open(tmp_path / "store") as catalogue:
        (entry,) = catalogue.entries(1)
    assert len(parse_stub(entry.stub).rows) <= 4


def test_a_store_cut_by_an_unknown_chunker_is_refused(source: Path, tmp_path: Path) -> None:
    for number, settings in enumerate(
        [
            ChunkerSettings(name="rabin"),
            ChunkerSettings(version=2),
            ChunkerSettings(normalisation=9),
            ChunkerSettings(avg_size=1),
            ChunkerSettings(max_size=16 << 20),
        ]
    ):
        create_store(tmp_path / f"store{number}", chunker=settings)
        with pytest.raises(UnsupportedFormatError, match=r"chunker|cut"):
            optimize(source, tmp_path / f"store{number}")


def test_attributes_that_are_not_stored_are_counted(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        SourceTree,
        "attributes",
        lambda self, fd: [(b"security.selinux", b"x"), (b"user.a", b"1")],
    )
    report = optimize(source, store)
    assert report.left_attributes[b"security.selinux"] > 3
    assert of_version(store, 1)[b"big"].xattrs == ((b"user.a", b"1"),)


def test_an_entry_that_no_stub_can_hold_is_reported(
    source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [(b"user.%d" % number, b"") for number in range(2000)]
    monkeypatch.setattr(SourceTree, "attributes", lambda self, fd: many)
    report = optimize(source / "small", store)
    assert [(skip.path, skip.failed) for skip in report.skipped] == [(b"small", True)]
    assert "attributes" in report.skipped[0].reason


def test_no_mode_bit_of_a_file_is_lost(source: Path, store: Path) -> None:
    (source / "small").chmod(0o6755)
    (source / "dir").chmod(0o1777)
    optimize(source, store)
    found = of_version(store, 1)
    assert found[b"small"].mode == 0o6755
    assert found[b"dir"].mode == 0o1777 == stat.S_IMODE((source / "dir").stat().st_mode)


@pytest.fixture
def one_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A single file of many blocks."""
    monkeypatch.setattr("rehydrate.ingest.blocks.BLOCK_SIZE", 16 << 10)
    source = tmp_path / "large"
    source.mkdir()
    (source / "file").write_bytes(noise(400_000))
    return source


def test_checkpoints_happen_inside_a_large_file(one_large: Path, store: Path) -> None:
    report = optimize(one_large, store, options=OptimizeOptions(checkpoint_bytes=50_000))
    assert of_version(store, 1) == of_tree(one_large)
    assert len(list((store / "index").iterdir())) >= 7
    assert report.checkpoints == 0


def test_a_run_cancelled_inside_a_large_file_repeats_no_stored_chunk(
    one_large: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.ingest.optimize._EVENT_SECONDS", 0.0)

    class Impatient(Watcher):
        def on_progress(self, progress: OptimizeProgress, /) -> None:
            if progress.bytes_done > 200_000:
                super().on_progress(progress)

    token = CancelToken()
    with pytest.raises(Cancelled):
        optimize(one_large, store, options=OptimizeOptions(cancel=token), observer=Impatient(token))
    with NativeCatalogue.open(store) as catalogue:
        assert catalogue.versions() == []
    report = optimize(one_large, store)
    assert report.reused_bytes > 190_000
    assert report.new_bytes < 220_000
    assert of_version(store, 1) == of_tree(one_large)


def test_chunks_larger_than_a_block_are_cut_all_the_same(tmp_path: Path) -> None:
    source = tmp_path / "wide"
    source.mkdir()
    (source / "file").write_bytes(noise(9 << 20))
    wide = ChunkerSettings(min_size=512 << 10, avg_size=1 << 20, max_size=2 << 20)
    create_store(tmp_path / "store", chunker=wide)
    optimize(source, tmp_path / "store")
    assert of_version(tmp_path / "store", 1) == of_tree(source)
