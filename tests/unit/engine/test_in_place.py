"""Stubs are replaced where they stand, and nothing else is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate import (
    AtTarget,
    FileStatus,
    PublishError,
    StorePath,
    TargetChangedError,
    TargetRoot,
    UnsafeTargetError,
    restore_in_place,
)
from rehydrate.conformance.memory import MemoryStore
from rehydrate.conformance.world import World

CONTENT = b"restored where its stub stood " * 3000


class _WatchedStore(MemoryStore):
    """Calls a hook before each read."""

    hook: Callable[[], object] = staticmethod(lambda: None)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.hook()
        return super().read_backup_file(path, offset, size)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    world = World()
    stub = world.stub_of([world.chunk(CONTENT)], mode=0o600)
    (tmp_path / "stub").write_bytes(stub)
    (tmp_path / "stub").chmod(0o640)
    os.utime(tmp_path / "stub", ns=(1, 10**18))
    return world.seal()


def test_a_stub_becomes_its_file_with_the_metadata_of_the_stub_file(
    world: World, tmp_path: Path
) -> None:
    with TargetRoot(tmp_path) as root:
        report = restore_in_place(["stub"], world.store(), root)
    assert report.ok
    assert report[0].at_target is AtTarget.NEW
    status = (tmp_path / "stub").stat()
    assert (tmp_path / "stub").read_bytes() == CONTENT
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 10**18)


def test_what_is_no_stub_stays_and_what_is_missing_fails_alone(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("stub")
    paths: list[str | bytes] = ["plain", "missing", "folder", "link", "../x", b"stub"]
    with TargetRoot(tmp_path) as root:
        report = restore_in_place(paths, world.store(), root)
    assert [result.status for result in report.results] == [
        FileStatus.NOT_DEDUPLICATED,
        FileStatus.FAILED,
        FileStatus.FAILED,
        FileStatus.FAILED,
        FileStatus.FAILED,
        FileStatus.RESTORED,
    ]
    errors = [type(result.error) for result in report.results]
    assert errors[1:5] == [PublishError, PublishError, PublishError, UnsafeTargetError]
    assert (tmp_path / "plain").read_bytes() == b"plain"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("change", ["replaced", "touched", "removed"])
def test_a_stub_that_changes_meanwhile_is_left_alone(
    world: World, tmp_path: Path, change: str
) -> None:
    stub = tmp_path / "stub"

    def meddle() -> None:
        if change == "replaced":
            (tmp_path / "other").write_bytes(b"newer")
            (tmp_path / "other").replace(stub)
        elif change == "touched":
            os.utime(stub, ns=(1, 2))
        else:
            stub.unlink()

    store = _WatchedStore(world.files)
    store.hook = meddle
    with TargetRoot(tmp_path) as root:
        report = restore_in_place(["stub"], store, root)
    assert isinstance(report[0].error, TargetChangedError)
    assert report[0].status is FileStatus.FAILED
    assert stub.exists() is (change != "removed")
    if change == "replaced":
        assert stub.read_bytes() == b"newer"
    assert not list(tmp_path.glob(".*"))
