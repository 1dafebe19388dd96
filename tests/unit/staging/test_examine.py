"""What stands at the targets, asked as cheaply as can be."""

import errno
import os
from pathlib import Path

import pytest

from rehydrate.errors import PublishError, UnsafeTargetError
from rehydrate.staging.staging import Found
from rehydrate.staging.table import Attributes
from rehydrate.values import NO_TIME
from tests.unit.staging.jobs import TIME, WatchedFiles, staging_of, table_of


def put(path: Path, data: bytes, time: int = TIME) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(time, time))


def test_same_means_type_size_and_time_to_the_nanosecond(tmp_path: Path) -> None:
    put(tmp_path / "same", b"abc")
    put(tmp_path / "size", b"abcd")
    put(tmp_path / "time", b"abc", TIME + 1)
    put(tmp_path / "timeless", b"abc")
    (tmp_path / "link").symlink_to("same")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    names = [b"same", b"size", b"time", b"timeless", b"link", b"pipe", b"folder", b"new"]
    table = table_of(dict.fromkeys(names, 3), attributes={b"timeless": Attributes(0o644, NO_TIME)})
    with staging_of(tmp_path, table) as staging:
        examined = staging.examine(range(len(names)))
    other = Found.EXISTS_OTHER
    assert list(examined.found) == [
        Found.EXISTS_SAME, other, other, other, other, other, Found.BLOCKED, Found.FRESH,
    ]  # fmt: skip
    (error,) = examined.errors.values()
    assert isinstance(error, UnsafeTargetError)
    assert error.file == "folder"


def test_nothing_is_asked_below_missing_and_new_directories(tmp_path: Path) -> None:
    files = WatchedFiles()
    paths = {b"new/%d/%d" % (number // 10, number): 1 for number in range(100)}
    with staging_of(tmp_path, table_of(paths | {b"made/x": 1}), files) as staging:
        staging.make_directory(b"made")
        files.log.clear()
        examined = staging.examine(range(101))
        assert set(examined.found) == {Found.FRESH}
        assert files.names() == ["open_beneath"]


def test_link_in_the_way_blocks_everything_below_it(tmp_path: Path) -> None:
    (tmp_path / "d").symlink_to("/etc")
    (tmp_path / "file").write_bytes(b"")
    with staging_of(tmp_path, table_of({b"d/x": 1, b"d/e/x": 1, b"file/x": 1})) as staging:
        examined = staging.examine([0, 1, 2])
    assert list(examined.found) == [Found.BLOCKED] * 3
    assert [error.code for error in examined.errors.values()] == [
        "link.component",
        "link.component",
        "fs.not-directory",
    ]
    assert [error.file for error in examined.errors.values()] == ["d/x", "d/e/x", "file/x"]


@pytest.mark.parametrize("call", ["lstat", "open_beneath"])
def test_unreadable_place_blocks(tmp_path: Path, call: str) -> None:
    (tmp_path / "d").mkdir()
    files = WatchedFiles()
    with staging_of(tmp_path, table_of({b"d/x": 1}), files) as staging:
        files.fail(call, errno.EACCES)
        examined = staging.examine([0])
    assert isinstance(examined.errors[0], PublishError)


def test_directory_that_vanishes_meanwhile_blocks(tmp_path: Path) -> None:
    for number in range(260):
        (tmp_path / str(number)).mkdir()
    table = table_of({b"%d/x" % number: 1 for number in range(260)})
    with staging_of(tmp_path, table) as staging:
        staging.examine(range(260))
        (tmp_path / "0").rmdir()
        assert list(staging.examine([0]).found) == [Found.BLOCKED]


def test_short_alias_blocks_only_portable_names(tmp_path: Path) -> None:
    put(tmp_path / "PROGRA~1", b"x")
    for portable, expected in ((False, Found.EXISTS_OTHER), (True, Found.BLOCKED)):
        table = table_of({b"PROGRA~1": 5})
        with staging_of(tmp_path, table, portable_names=portable) as staging:
            examined = staging.examine([0])
            assert list(examined.found) == [expected]
            assert [error.code for error in examined.errors.values()] == ["name.alias"] * portable


def test_target_can_be_opened_to_compare(tmp_path: Path) -> None:
    put(tmp_path / "same", b"abc")
    put(tmp_path / "long", b"abcd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("same")
    table = table_of(dict.fromkeys([b"same", b"long", b"pipe", b"link", b"missing"], 3))
    files = WatchedFiles()
    with staging_of(tmp_path, table, files) as staging:
        reader = staging.open_target(0)
        assert reader is not None
        with reader:
            assert reader.read(1, 2) == b"bc"
        assert [staging.open_target(number) for number in range(1, 5)] == [None] * 4
        files.fail("fstat")
        assert staging.open_target(0) is None
