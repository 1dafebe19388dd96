"""Large files: pieces in any order from any thread, holes, space, and what a failure keeps."""

import errno
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import DurabilityError, NoSpaceError, PublishError, StagingError
from rehydrate.ports import SystemFiles
from rehydrate.requests import Durability
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of

K = 1024


def layout_of(path: Path) -> list[tuple[int, int]]:
    """Ranges with data, as the file system tells them."""
    files, found = SystemFiles(), []
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)  # some file systems know holes only then
        at: int | None = 0
        while (at := files.seek_data(fd, at or 0)) is not None:
            end = files.seek_hole(fd, at)
            found.append((at, end))
            at = end
    finally:
        os.close(fd)
    return found


@pytest.mark.parametrize("sparse", [False, True], ids=["allocated", "sparse"])
def test_holes_come_back_as_holes_and_zeros_as_asked(tmp_path: Path, *, sparse: bool) -> None:
    size = 1024 * K
    with staging_of(tmp_path, table_of({b"file": size}), sparse=sparse) as staging:
        staging.allocate(
            0, holes=[(256 * K, 512 * K)], zeros=[(64 * K, 128 * K), (768 * K, 1024 * K)]
        )
        for begin, end in ((0, 64), (128, 256), (512, 768)):
            staging.write_at(0, begin * K, b"x" * (end - begin) * K)
        staging.finish(0)
        staging.publish()
    place = tmp_path / "file"
    assert place.stat().st_size == size
    data = place.read_bytes()
    assert data.count(b"x") == (64 + 128 + 256) * K
    assert data.count(b"\0") == size - data.count(b"x")
    allocated = place.stat().st_blocks * 512
    wanted = (64 + 128 + 256) * K if sparse else (64 + 128 + 256 + 64 + 256) * K
    assert abs(allocated - wanted) <= max(wanted // 20, 4 * 4 * K)
    assert not any(a < 500 * K < b for a, b in layout_of(place))


def test_file_of_one_hole_needs_no_piece(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of({b"file": 1 << 30})) as staging:
        staging.allocate(0, holes=[(0, 1 << 30)])
        staging.finish(0)
        staging.publish()
    found = (tmp_path / "file").stat()
    assert (found.st_size, found.st_mtime_ns) == (1 << 30, TIME)
    assert found.st_blocks <= 8


def test_pieces_in_any_order_from_many_threads_with_few_descriptors(tmp_path: Path) -> None:
    count, size, piece = 12, 64 * K, 4 * K
    table = table_of({b"d/%d" % number: size for number in range(count)})
    blocks = {
        (number, at): random.Random(number * size + at).randbytes(piece)
        for number in range(count)
        for at in range(0, size, piece)
    }
    order = list(blocks)
    random.Random(3).shuffle(order)
    files = WatchedFiles()
    with staging_of(tmp_path, table, files, max_open_files=2, checkpoint_bytes=8 * K) as staging:
        for number in range(count):
            staging.allocate(number)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: staging.write_at(key[0], key[1], blocks[key]), order))
        for number in range(count):
            staging.finish(number)
        assert all(result.error is None for result in staging.publish())
        assert "syncfs" in files.names(), "a descriptor was closed: only syncfs knows all errors"
    for number in range(count):
        expected = b"".join(blocks[number, at] for at in range(0, size, piece))
        assert (tmp_path / "d" / str(number)).read_bytes() == expected
    assert names_in(tmp_path) == {"d", *(f"d/{number}" for number in range(count))}


def test_descriptors_in_use_are_never_closed(tmp_path: Path) -> None:
    """Two writers hang in their writes while a third file needs a descriptor; limit is one."""
    files = WatchedFiles()
    table = table_of({b"0": 4, b"1": 4, b"2": 4})
    both, go = threading.Barrier(3), threading.Event()

    def slow(real: Any, fd: int, data: Any, offset: int) -> int:
        if bytes(data) == b"slow":
            both.wait(10)
            go.wait(10)
        written: int = real(fd, data, offset)
        return written

    files.instead["pwrite"] = slow
    with staging_of(tmp_path, table, files, max_open_files=1) as staging:
        for number in range(3):
            staging.allocate(number)
        with ThreadPoolExecutor(2) as pool:
            writes = [pool.submit(staging.write_at, number, 0, b"slow") for number in (0, 1)]
            both.wait(10)
            staging.write_at(2, 0, b"fast")
            go.set()
            for write in writes:
                write.result()
        for number in range(3):
            staging.finish(number)
        staging.publish()
    assert [(tmp_path / name).read_bytes() for name in "012"] == [b"slow", b"slow", b"fast"]


@pytest.mark.parametrize("end", ["keep", "discard"])
def test_file_stopped_while_somebody_writes_is_put_away_afterwards(
    tmp_path: Path, end: str
) -> None:
    files = WatchedFiles()
    inside, go = threading.Event(), threading.Event()

    def slow(real: Any, fd: int, data: Any, offset: int) -> int:
        if bytes(data) == b"slow":
            inside.set()
            go.wait(10)
            os.fstat(fd)  # the descriptor must still be open
        written: int = real(fd, data, offset)
        return written

    files.instead["pwrite"] = slow
    with staging_of(tmp_path, table_of({b"file": 8}), files) as staging:
        staging.allocate(0)
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(staging.write_at, 0, 0, b"slow")
            assert inside.wait(10)
            staging.keep(0) if end == "keep" else staging._pieces.discard(0)
            with pytest.raises(StagingError, match="not being written"):
                staging.write_at(0, 4, b"more")
            go.set()
            write.result()
    left = {Path(name).name for name in names_in(tmp_path)}
    assert ("01" * 16 in left) == (end == "keep")


def test_full_disk_at_allocation_gives_back_what_it_got(tmp_path: Path) -> None:
    files = WatchedFiles()

    def half(real: Any, fd: int, offset: int, size: int) -> None:
        real(fd, offset, size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.instead["fallocate"] = half
    with staging_of(tmp_path, table_of({b"file": 1 << 20}), files) as staging:
        files.log.clear()
        with pytest.raises(NoSpaceError):
            staging.allocate(0)
        names = files.names()
        assert names.index("ftruncate") < names.index("fallocate")
        assert ("ftruncate", 0) in [(name, args[-1]) for name, args in files.log]
    assert names_in(tmp_path) == set()


def test_interrupt_at_allocation_leaves_nothing(tmp_path: Path) -> None:
    files = WatchedFiles()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    files.instead["open"] = lambda real, name, *a, **k: (
        interrupt() if name == b"01" * 16 else real(name, *a, **k)
    )
    with (
        staging_of(tmp_path, table_of({b"file": 9}), files) as staging,
        pytest.raises(KeyboardInterrupt),
    ):
        staging.allocate(0)
    assert names_in(tmp_path) == set()


def test_failed_write_keeps_what_is_staged_for_the_next_run(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"file": 8 * K})
    with staging_of(tmp_path, table, files) as staging:
        staging.allocate(0)
        staging.write_at(0, 0, b"a" * 4 * K)
        files.fail("pwrite", errno.ENOSPC)
        with pytest.raises(NoSpaceError) as caught:
            staging.write_at(0, 4 * K, b"b" * 4 * K)
        assert caught.value.resumable
        files.instead.clear()
        staging.keep(0)
        staging.keep(0)
    with staging_of(tmp_path, table) as staging:
        leftover = staging.leftovers()[0]
        assert leftover.ranges == ((0, 4 * K),)
        staging.accept(0, [(0, 4 * K)])
        staging.write_at(0, 4 * K, b"b" * 4 * K)
        staging.finish(0)
        staging.publish()
    assert (tmp_path / "file").read_bytes() == b"a" * 4 * K + b"b" * 4 * K
    assert names_in(tmp_path) == {"file"}


@pytest.mark.parametrize("step", ["write_at", "finish"])
def test_interrupt_passes_and_the_file_stays(tmp_path: Path, step: str) -> None:
    files = WatchedFiles()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with staging_of(tmp_path, table_of({b"file": 4}), files) as staging:
        staging.allocate(0)
        staging.write_at(0, 0, b"abcd")
        files.instead["pwrite" if step == "write_at" else "futime"] = interrupt
        with pytest.raises(KeyboardInterrupt):
            staging.write_at(0, 0, b"abcd") if step == "write_at" else staging.finish(0)
        files.instead.clear()
        staging.finish(0)
        staging.publish()
    assert (tmp_path / "file").read_bytes() == b"abcd"


def test_descriptor_that_cannot_be_opened_again(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"a": 4, b"b": 4})
    with staging_of(tmp_path, table, files, max_open_files=1) as staging:
        staging.allocate(0)
        staging.allocate(1)
        files.fail("open", errno.EMFILE)
        with pytest.raises(PublishError, match="open the staged file again"):
            staging.write_at(0, 0, b"abcd")
        staging.keep(0)
        files.instead.clear()


def test_file_that_is_not_being_written(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of({b"file": 4})) as staging:
        with pytest.raises(StagingError) as caught:
            staging.write_at(0, 0, b"x")
        assert caught.value.code == "fs.state"
        with pytest.raises(StagingError, match="not being written"):
            staging.finish(0)


def test_close_error_of_an_evicted_descriptor_poisons_the_file(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"a": 4, b"b": 4})
    with staging_of(tmp_path, table, files, max_open_files=1) as staging:
        staging.allocate(0)
        staging.write_at(0, 0, b"abcd")
        files.instead["close"] = _eio
        staging.allocate(1)
        files.instead.clear()
        with pytest.raises(DurabilityError):
            staging.finish(0)
        staging.write_at(1, 0, b"abcd")
        staging.finish(1)
        assert [result.number for result in staging.publish()] == [1]
    assert names_in(tmp_path) == {"b"}


def _eio(real: Any, fd: int) -> None:
    real(fd)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_hint_is_written_at_each_checkpoint_and_gone_at_the_end(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of({b"file": 64 * K}), checkpoint_bytes=16 * K) as staging:
        hint = tmp_path / ".rehydrate-test" / ("01" * 16 + ".hint")
        staging.allocate(0)
        staging.write_at(0, 0, bytes(15 * K))
        assert not hint.exists()
        staging.write_at(0, 15 * K, bytes(K))
        assert hint.exists()
        staging.write_at(0, 16 * K, bytes(48 * K))
        staging.finish(0)
        assert not hint.exists()
        staging.publish()


@pytest.mark.parametrize("durability", list(Durability), ids=lambda d: d.value)
def test_unpublished_files_stay_for_the_next_run(tmp_path: Path, durability: Durability) -> None:
    table = table_of({b"small": 3, b"large": 4})
    with staging_of(tmp_path, table, durability=durability) as staging:
        staging.write_whole(0, b"abc")
        staging.allocate(1)
        staging.write_at(1, 0, b"abcd")
        staging.finish(1)
    with staging_of(tmp_path, table, durability=durability) as staging:
        found = staging.leftovers()
        assert {number: one.read(0, 9) for number, one in found.items()} == {0: b"abc", 1: b"abcd"}
        staging.discard(0)
        staging.accept(1, [(0, 4)])
        staging.finish(1)
        staging.publish()
    assert names_in(tmp_path) == {"large"}
