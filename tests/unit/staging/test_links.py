"""Links: made aside and renamed, replaced like files, hard links only to what was restored."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import PublishError, StagingError, TargetChangedError, UnsafeTargetError
from rehydrate.requests import Durability, Overwrite
from rehydrate.staging.staging import Outcome
from rehydrate.staging.table import Attributes
from tests.unit.staging.jobs import TIME, WatchedFiles, names_in, staging_of, table_of

EMPTY = table_of({})


def test_symlink_says_what_it_said_and_has_its_time(tmp_path: Path) -> None:
    with staging_of(tmp_path, EMPTY) as staging:
        made = staging.make_symlink(b"d/ln", b"../\xff no/where", Attributes(mtime_ns=TIME))
        assert made == (Outcome.MADE, None, ())
        staging.finish_directories()
    assert os.fsencode((tmp_path / "d" / "ln").readlink()) == b"../\xff no/where"
    assert (tmp_path / "d" / "ln").lstat().st_mtime_ns == TIME
    assert names_in(tmp_path) == {"d", "d/ln"}


@pytest.mark.parametrize(
    ("overwrite", "expected"),
    [
        (Overwrite.NEVER, [Outcome.EXISTS] * 4),
        (Overwrite.IF_CHANGED, [Outcome.SAME] + [Outcome.MADE] * 3),
        (Overwrite.ALWAYS, [Outcome.MADE] * 4),
    ],
)
def test_symlink_over_something(
    tmp_path: Path, overwrite: Overwrite, expected: list[Outcome]
) -> None:
    for name, text in ((b"same", "abc"), (b"text", "xyz"), (b"time", "abc")):
        place = tmp_path / name.decode()
        place.symlink_to(text)
        time = TIME + 1 if name == b"time" else TIME
        os.utime(place, ns=(time, time), follow_symlinks=False)
    (tmp_path / "file").write_bytes(b"old")
    wanted = Attributes(mtime_ns=TIME)
    with staging_of(tmp_path, EMPTY, overwrite=overwrite) as staging:
        names = (b"same", b"text", b"time", b"file")
        found = [staging.make_symlink(name, b"abc", wanted).outcome for name in names]
    assert found == expected
    if overwrite is Overwrite.NEVER:
        assert (tmp_path / "file").read_bytes() == b"old"
    else:
        assert all((tmp_path / name.decode()).readlink() == Path("abc") for name in names)


def test_directory_is_never_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    table = table_of({b"f": 1})
    with staging_of(tmp_path, table) as staging:
        staging.write_whole(0, b"x")
        staging.publish()
        with pytest.raises(UnsafeTargetError) as caught:
            staging.make_symlink(b"d", b"x")
        assert caught.value.code == "fs.is-directory"
        with pytest.raises(UnsafeTargetError, match="a directory stands"):
            staging.make_hard_link(0, b"d")
    assert names_in(tmp_path) == {"d", "f"}


def test_link_below_a_link_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ln").symlink_to("/etc")
    with staging_of(tmp_path, EMPTY) as staging, pytest.raises(UnsafeTargetError) as caught:
        staging.make_symlink(b"ln/x", b"y")
    assert caught.value.code == "link.component"


def test_lost_metadata_of_a_symlink_is_listed(tmp_path: Path) -> None:
    files = WatchedFiles()
    files.fail("lutime", errno.EPERM)
    with staging_of(tmp_path, EMPTY, files) as staging:
        wanted = Attributes(mtime_ns=TIME, xattrs=((b"user.x", b"y"),))
        made = staging.make_symlink(b"ln", b"x", wanted)
        assert made.lost == ("user.x", "mtime")
        assert isinstance(made.error, PublishError)
        without = staging.make_symlink(b"ln2", b"x", Attributes(xattrs=((b"user.x", b"y"),)))
        assert (without.lost, without.error) == (("user.x",), None)


@pytest.mark.parametrize("call", ["symlink", "rename"])
def test_failed_symlink_leaves_nothing(tmp_path: Path, call: str) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, EMPTY, files) as staging:
        files.fail(call, errno.ENOSPC)
        with pytest.raises(PublishError):
            staging.make_symlink(b"ln", b"x")
    assert names_in(tmp_path) == set()


def test_never_does_not_replace_what_came_late(tmp_path: Path) -> None:
    files = WatchedFiles()
    with staging_of(tmp_path, EMPTY, files, overwrite=Overwrite.NEVER) as staging:

        def late(real: Any, *arguments: Any, **named: Any) -> None:
            (tmp_path / "ln").write_bytes(b"late")
            real(*arguments, **named)

        files.instead["symlink"] = late
        with pytest.raises(StagingError) as caught:
            staging.make_symlink(b"ln", b"x")
        assert caught.value.code == "fs.exists"
    assert (tmp_path / "ln").read_bytes() == b"late"
    assert names_in(tmp_path) == {"ln"}


def linked(folder: Path, path: bytes, **options: Any) -> Any:
    table = table_of({b"d/first": 3}, linked=frozenset({0}))
    with staging_of(folder, table, **options) as staging:
        staging.write_whole(0, b"abc")
        staging.publish()
        made = staging.make_hard_link(0, path)
        staging.finish_directories()
        return made


def test_hard_link_is_one_inode(tmp_path: Path) -> None:
    assert linked(tmp_path, b"e/second").outcome is Outcome.MADE
    one, other = (tmp_path / "d" / "first").stat(), (tmp_path / "e" / "second").stat()
    assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)
    assert names_in(tmp_path) == {"d", "d/first", "e", "e/second"}


def test_rename_between_two_names_of_one_inode_leaves_nothing(tmp_path: Path) -> None:
    """The trap: such a rename succeeds, does nothing, and the name in the workspace stays."""
    table = table_of({b"first": 3}, linked=frozenset({0}))
    files = WatchedFiles()
    with staging_of(tmp_path, table, files) as staging:
        staging.write_whole(0, b"abc")
        staging.publish()

        def race(real: Any, *arguments: Any, **named: Any) -> None:
            os.link(tmp_path / "first", tmp_path / "second")
            real(*arguments, **named)

        files.instead["rename"] = race
        assert staging.make_hard_link(0, b"second").outcome is Outcome.MADE
        files.instead.clear()
        assert staging.make_hard_link(0, b"second").outcome is Outcome.SAME
    assert (tmp_path / "first").stat().st_nlink == 2
    assert names_in(tmp_path) == {"first", "second"}


def test_hard_link_replaces_an_old_file_unless_never(tmp_path: Path) -> None:
    (tmp_path / "second").write_bytes(b"old")
    assert linked(tmp_path, b"second", overwrite=Overwrite.NEVER).outcome is Outcome.EXISTS
    assert (tmp_path / "second").read_bytes() == b"old"
    assert linked(tmp_path, b"second", overwrite=Overwrite.ALWAYS).outcome is Outcome.MADE
    assert (tmp_path / "second").read_bytes() == b"abc"


def test_file_slipped_in_at_the_first_name_is_not_linked(tmp_path: Path) -> None:
    """It gets the inode number of the removed file on some file systems: numbers prove nothing."""
    table = table_of({b"first": 3}, linked=frozenset({0}))
    with staging_of(tmp_path, table) as staging:
        staging.write_whole(0, b"abc")
        staging.publish()
        (tmp_path / "first").unlink()
        (tmp_path / "first").write_bytes(b"xyz")
        assert staging.make_hard_link(0, b"second").outcome is Outcome.MADE
        (tmp_path / "first").unlink()
        (tmp_path / "first").symlink_to("/etc/passwd")
        assert staging.make_hard_link(0, b"third").outcome is Outcome.MADE
    assert (tmp_path / "second").read_bytes() == (tmp_path / "third").read_bytes() == b"abc"
    assert names_in(tmp_path) == {"first", "second", "third"}


def test_without_hard_links_in_the_workspace_the_first_name_serves(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"first": 3}, linked=frozenset({0}))
    with staging_of(tmp_path, table, files) as staging:
        files.fail("link", errno.EPERM)
        staging.write_whole(0, b"abc")
        files.instead.clear()
        staging.publish()
        assert staging.make_hard_link(0, b"second").outcome is Outcome.MADE
    assert (tmp_path / "first").stat().st_nlink == 2


def test_second_name_in_the_workspace_does_not_spoil_a_resume(tmp_path: Path) -> None:
    table = table_of({b"first": 3}, linked=frozenset({0}))
    work = tmp_path / ".rehydrate-test"
    with staging_of(tmp_path, table) as staging:
        staging.write_whole(0, b"abc")
    os.link(work / ("01" * 16), work / ("01" * 16 + ".first"))
    with staging_of(tmp_path, table) as staging:
        assert list(staging.leftovers()) == [0]
        staging.accept(0, [(0, 3)])
        staging.finish(0)
        staging.publish()
        assert staging.make_hard_link(0, b"second").outcome is Outcome.MADE
    assert (tmp_path / "first").stat().st_nlink == 2
    assert names_in(tmp_path) == {"first", "second"}


def test_skipped_file_can_be_linked_if_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"abc")
    (tmp_path / "wrong").write_bytes(b"abcd")
    (tmp_path / "link").symlink_to("abc")
    table = table_of({b"first": 3, b"wrong": 3, b"link": 3, b"missing": 3})
    with staging_of(tmp_path, table, durability=Durability.NONE) as staging:
        assert staging.make_hard_link(0, b"second").outcome is Outcome.MADE
        for number in (1, 2):
            with pytest.raises(TargetChangedError):
                staging.make_hard_link(number, b"third")
        with pytest.raises(PublishError):
            staging.make_hard_link(3, b"third")
    assert names_in(tmp_path) == {"first", "wrong", "link", "second"}


def test_hard_link_that_is_not_possible_is_told(tmp_path: Path) -> None:
    files = WatchedFiles()
    table = table_of({b"first": 1})
    with staging_of(tmp_path, table, files) as staging:
        staging.write_whole(0, b"x")
        staging.publish()
        files.fail("link", errno.EMLINK)
        with pytest.raises(PublishError) as caught:
            staging.make_hard_link(0, b"second")
        assert caught.value.errno == errno.EMLINK
        files.fail("link", errno.EXDEV)
        with pytest.raises(PublishError) as caught:
            staging.make_hard_link(0, b"second")
        assert caught.value.code == "fs.device"
