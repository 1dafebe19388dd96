"""Small files: written in one go, with their metadata, or nothing is left of them."""

import errno
import os
import stat
from pathlib import Path

import pytest

from rehydrate.errors import NoSpaceError, PublishError, StagingError
from rehydrate.requests import Durability
from rehydrate.staging.table import Attributes
from rehydrate.values import NO_MODE, NO_TIME
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of


def test_small_file_stands_complete_at_its_target(tmp_path: Path) -> None:
    table = table_of({b"a/b/file": 5, b"empty": 0})
    with staging_of(tmp_path / "out", table) as staging:
        staging.write_whole(0, b"hello")
        staging.write_whole(1, memoryview(b""))
        assert not (tmp_path / "out" / "a").exists()
        assert staging.waiting == 2
        assert sorted(staging.publish()) == [(0, None, (), True), (1, None, (), True)]
        assert staging.waiting == 0
    place = tmp_path / "out" / "a" / "b" / "file"
    assert place.read_bytes() == b"hello"
    assert place.stat().st_mtime_ns == TIME
    assert stat.S_IMODE(place.stat().st_mode) == 0o644
    assert names_in(tmp_path / "out") == {"a", "a/b", "a/b/file", "empty"}


def test_plain_small_file_takes_four_calls(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"file": 3})
    with staging_of(tmp_path, table, files, durability=Durability.NONE) as staging:
        files.log.clear()
        staging.write_whole(0, b"abc")
        assert files.names() == ["open", "pwrite", "futime", "close"]
        files.log.clear()
        staging.publish()
        assert files.names() == ["rename"]


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o444, 0o777, 0o666, 0o000, 0o755, 0o200])
def test_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    table = table_of({b"file": 1}, attributes={b"file": Attributes(mode, TIME)})
    before = os.umask(0o027)
    try:
        with staging_of(tmp_path, table) as staging:
            staging.write_whole(0, b"x")
            staging.publish()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_unknown_mode_and_time_are_those_of_a_new_file(tmp_path: Path) -> None:
    table = table_of(
        {b"one": 1, b"two": 1},
        attributes={b"one": Attributes(NO_MODE, NO_TIME), b"two": Attributes(NO_MODE, TIME)},
    )
    before = os.umask(0o027)
    try:
        with staging_of(tmp_path, table) as staging:
            staging.write_whole(0, b"x")
            staging.write_whole(1, b"x")
            staging.publish()
    finally:
        os.umask(before)
    for name in ("one", "two"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    assert (tmp_path / "one").stat().st_mtime_ns != TIME
    assert (tmp_path / "two").stat().st_mtime_ns == TIME


@pytest.mark.parametrize("data", [b"", b"ab", b"abcd"])
def test_wrong_number_of_bytes_is_refused(tmp_path: Path, data: bytes) -> None:
    with staging_of(tmp_path, table_of({b"file": 3})) as staging:
        with pytest.raises(PublishError, match="3 bytes") as caught:
            staging.write_whole(0, data)
        assert caught.value.code == "fs.size"
        assert staging.publish() == []
    assert names_in(tmp_path) == set()


def test_a_file_system_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 3}), files) as staging:
        files.instead["pwrite"] = lambda *_: 0
        with pytest.raises(PublishError, match="wrote nothing"):
            staging.write_whole(0, b"abc")
    assert names_in(tmp_path) == set()


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 3}), files) as staging:
        files.fail("pwrite", errno.EDQUOT)
        with pytest.raises(NoSpaceError) as caught:
            staging.write_whole(0, b"abc")
        assert caught.value.errno == errno.EDQUOT
        assert caught.value.file == "file"
        assert not caught.value.resumable
    assert names_in(tmp_path) == set()


def test_interrupt_leaves_nothing_and_passes(tmp_path: Path) -> None:
    files = WatchedFiles()

    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    with staging_of(tmp_path, table_of({b"file": 3}), files) as staging:
        files.instead["pwrite"] = interrupt
        with pytest.raises(KeyboardInterrupt):
            staging.write_whole(0, b"abc")
    assert names_in(tmp_path) == set()


def test_what_an_earlier_run_left_is_overwritten_if_nobody_took_it(tmp_path: Path) -> None:
    table = table_of({b"file": 3})
    with staging_of(tmp_path, table) as staging:
        staging.write_whole(0, b"old")
    assert any(name.startswith(".rehydrate-") for name in names_in(tmp_path))
    with staging_of(tmp_path, table) as staging:
        staging.write_whole(0, b"new")
        staging.publish()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == {"file"}


def test_complete_file_can_be_read_back_and_thrown_away(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 3, b"other": 2}), files) as staging:
        staging.write_whole(0, b"abc")
        staging.write_whole(1, b"xy")
        with staging.read_back(0) as reader:
            assert reader.read(0, 3) == b"abc"
            assert reader.read(1, 99) == b"bc"
            files.fail("pread")
            with pytest.raises(PublishError, match="read a file"):
                reader.read(0, 3)
        staging.discard(0)
        staging.discard(0)
        with pytest.raises(PublishError, match="open the staged file"):
            staging.read_back(0)
        assert [result.number for result in staging.publish()] == [1]
    assert names_in(tmp_path) == {"other"}


def test_staged_file_that_was_changed_is_noticed_when_read_back(tmp_path: Path) -> None:
    with staging_of(tmp_path, table_of({b"file": 3})) as staging:
        staging.write_whole(0, b"abc")
        (staged,) = (tmp_path / ".rehydrate-test").glob("0101*")
        staged.write_bytes(b"longer")
        with pytest.raises(PublishError, match="changed"):
            staging.read_back(0)


def test_short_reads_of_the_file_system_are_continued(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 6}), files) as staging:
        staging.write_whole(0, b"abcdef")
        files.instead["pread"] = lambda real, fd, size, offset: real(fd, min(size, 2), offset)
        with staging.read_back(0) as reader:
            assert reader.read(0, 6) == b"abcdef"
            assert reader.read(3, 6) == b"def"


def test_lost_metadata_is_listed_and_the_file_published(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"file": 3}, linked=frozenset({0})), files) as staging:
        files.fail("fchmod", errno.EPERM)
        staging.write_whole(0, b"abc")
        (result,) = staging.publish()
    assert result.placed
    assert result.lost == ("mode",)
    assert isinstance(result.error, StagingError)
    assert result.error.code == "fs.metadata"
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_failed_close_is_a_failed_write(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"file": 3, b"large": 3})
    with staging_of(tmp_path, table, files, durability=Durability.NONE) as staging:
        staging.allocate(1)
        staging.write_at(1, 0, b"abc")
        files.fail("close")
        with pytest.raises(PublishError):
            staging.write_whole(0, b"abc")
        with pytest.raises(StagingError):
            staging.finish(1)
        files.instead.clear()
        assert staging.publish() == []
    assert names_in(tmp_path) == set()
