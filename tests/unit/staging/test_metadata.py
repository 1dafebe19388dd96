"""Metadata on open files: which, in which order, and what is lost without losing the file."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from rehydrate.errors import PublishError
from rehydrate.staging.metadata import MAX_XATTRS, Lost, MetadataWriter
from rehydrate.staging.table import Attributes, FileTable
from rehydrate.staging.workspace import Identity
from tests.unit.staging.jobs import TIME, WatchedFiles, staging_of, table_of


def apply(
    wanted: Attributes,
    *,
    same: bool = False,
    privileged: bool = True,
    files: WatchedFiles | None = None,
    fail: str = "",
) -> tuple[Lost | None, list[tuple[Any, ...]], MetadataWriter]:
    """Apply to a descriptor that does not exist; return what was asked of the system."""
    files = WatchedFiles() if files is None else files
    for name in ("fchown", "fchmod", "futime", "fsetxattr"):
        files.instead[name] = lambda *_: None
    if fail:
        files.fail(fail, errno.EPERM)
    identity = Identity(uid=10, gid=20, umask=0o022, privileged=privileged, folds_names=False)
    writer = MetadataWriter(files, identity, same_permissions=same)
    lost = writer.apply(99, wanted, default_mode=0o666, label="file")
    return lost, [(name, *arguments[1:]) for name, arguments in files.log], writer


def test_order_owner_attributes_mode_time() -> None:
    wanted = Attributes(0o640, TIME, 1, 2, ((b"user.a", b"x"),))
    lost, calls, _ = apply(wanted)
    assert lost is None
    assert calls == [
        ("fchown", 1, 2),
        ("fsetxattr", b"user.a", b"x"),
        ("fchmod", 0o640),
        ("futime", TIME, TIME),
    ]


def test_what_ntfs_keeps_comes_after_the_mode() -> None:
    xattrs = (
        (b"system.ntfs_acl", b"descriptor"),
        (b"user.a", b"x"),
        (b"system.ntfs_times_be", b"times"),
        (b"system.ntfs_reparse_data", b"a stub"),
        (b"system.posix_acl_access", b"other"),
    )
    lost, calls, _ = apply(Attributes(0o640, TIME, xattrs=xattrs))
    assert lost == Lost(("system.ntfs_reparse_data", "system.posix_acl_access"), None)
    assert calls == [
        ("fsetxattr", b"user.a", b"x"),
        ("fchmod", 0o640),
        ("fsetxattr", b"system.ntfs_acl", b"descriptor"),
        ("fsetxattr", b"system.ntfs_times_be", b"times"),
        ("futime", TIME, TIME),
    ]


def test_unknown_metadata_is_left_alone() -> None:
    assert apply(Attributes())[1] == [("fchmod", 0o644)]


@pytest.mark.parametrize(
    ("uid", "gid", "expected"),
    [(10, 20, None), (10, 21, (-1, 21)), (11, 20, (11, -1)), (0, 0, (0, 0))],
)
def test_owner_is_set_only_where_it_differs(
    uid: int, gid: int, expected: tuple[int, int] | None
) -> None:
    calls = apply(Attributes(0o644, TIME, uid, gid))[1]
    assert [call[1:] for call in calls if call[0] == "fchown"] == ([expected] if expected else [])


def test_owner_without_privilege_is_not_applied_and_said_once() -> None:
    lost, calls, writer = apply(Attributes(0o644, TIME, 11, 20), privileged=False)
    assert lost is None
    assert writer.owners_not_applied
    assert "fchown" not in [call[0] for call in calls]
    assert not apply(Attributes(0o644, TIME, 10, 20), privileged=False)[2].owners_not_applied


def test_special_bits_need_leave() -> None:
    lost, calls, _ = apply(Attributes(0o7755, TIME))
    assert ("fchmod", 0o755) in calls
    assert lost == Lost(("setuid", "setgid", "sticky"), None)
    lost, calls, _ = apply(Attributes(0o7755, TIME), same=True)
    assert ("fchmod", 0o7755) in calls
    assert lost is None


def test_attributes_need_leave() -> None:
    names = [b"user.a", b"security.capability", b"trusted.x", b"system.posix_acl_access", b"odd"]
    wanted = Attributes(0o644, TIME, xattrs=tuple((name, b"v") for name in names))
    lost, calls, _ = apply(wanted)
    assert [call[1] for call in calls if call[0] == "fsetxattr"] == [b"user.a"]
    assert lost == Lost(
        ("security.capability", "trusted.x", "system.posix_acl_access", "odd"), None
    )
    lost, calls, _ = apply(wanted, same=True)
    assert [call[1] for call in calls if call[0] == "fsetxattr"] == names[:2]


@pytest.mark.parametrize(
    "xattrs",
    [((b"user.a", b""),) * (MAX_XATTRS + 1), ((b"user.a", bytes(1 << 20)),)],
    ids=["count", "bytes"],
)
def test_attributes_are_capped(xattrs: tuple[tuple[bytes, bytes], ...]) -> None:
    lost, calls, _ = apply(Attributes(0o644, TIME, xattrs=xattrs))
    assert lost == Lost(("xattrs",), None)
    assert "fsetxattr" not in [call[0] for call in calls]


@pytest.mark.parametrize(
    ("fail", "name"),
    [("fchown", "owner"), ("fsetxattr", "user.a"), ("fchmod", "mode"), ("futime", "mtime")],
)
def test_one_failure_costs_only_itself(fail: str, name: str) -> None:
    wanted = Attributes(0o640, TIME, 1, 2, ((b"user.a", b"x"),))
    lost, calls, _ = apply(wanted, fail=fail)
    assert len(calls) == 4
    assert lost is not None
    assert lost.names == (name,)
    assert isinstance(lost.error, PublishError)
    assert (lost.error.code, lost.error.file) == ("fs.metadata", "file")
    assert name in str(lost.error)


def test_attributes_and_modes_reach_real_files(tmp_path: Path) -> None:
    wanted = Attributes(0o4711, TIME, xattrs=((b"user.a", b"\0\xff"), (b"trusted.b", b"x")))
    table: FileTable = table_of({b"f": 1, b"g": 1}, attributes={b"f": wanted, b"g": wanted})
    with staging_of(tmp_path, table, same_permissions=True) as staging:
        staging.write_whole(0, b"x")
        staging.allocate(1)
        staging.write_at(1, 0, b"x")
        staging.finish(1)
        results = staging.publish()
        assert not staging.owners_not_applied
    for name, result in zip(("f", "g"), results, strict=True):
        assert result.lost == ("trusted.b",)
        assert result.error is None
        place = tmp_path / name
        assert stat.S_IMODE(place.stat().st_mode) == 0o4711
        assert os.getxattr(place, "user.a") == b"\0\xff"
        assert os.listxattr(place) == ["user.a"]
        assert place.stat().st_mtime_ns == TIME


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_owners_reach_real_files_links_and_directories(tmp_path: Path) -> None:
    wanted = Attributes(0o644, TIME, 12345, 54321)
    with staging_of(tmp_path, table_of({b"f": 1}, attributes={b"f": wanted})) as staging:
        staging.make_directory(b"d", Attributes(0o755, TIME, 12345, 54321))
        staging.write_whole(0, b"x")
        staging.publish()
        staging.make_symlink(b"ln", b"f", wanted)
        staging.finish_directories()
    for name in ("f", "d", "ln"):
        found = (tmp_path / name).lstat()
        assert (found.st_uid, found.st_gid) == (12345, 54321)
