"""Staging on real small file systems: full disks, mount points, a file-size limit."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rehydrate.errors import NoSpaceError, PublishError
from rehydrate.requests import Durability
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.staging.workspace import clean
from tests.unit.staging.jobs import names_in, staging_of, table_of

K = 1024


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A memory file system of 1 MiB, mounted below a target root."""
    place = tmp_path / "root" / "mnt"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here (needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("room", range(0, 1024, 96))
def test_full_disk_in_many_sizes(mount: Path, room: int) -> None:
    """Whatever there is room for: old or new or absent, and room again after ``clean``."""
    table = table_of({b"small": 64 * K, b"large": 256 * K, b"old": 128 * K, b"tiny": 1})
    (mount / "old").write_bytes(b"o" * 4 * K)
    filler = mount / "filler"
    filler.write_bytes(bytes(max(0, (1020 - room)) * K - 4 * K))
    with suppress(PublishError), staging_of(mount, table) as staging:
        for number in (0, 2, 3):
            with suppress(NoSpaceError):
                staging.write_whole(number, b"n" * int(table.size[number]))
        try:
            staging.allocate(1)
            staging.write_at(1, 0, b"n" * 256 * K)
            staging.finish(1)
        except NoSpaceError:
            staging.keep(1)
        staging.publish()
        staging.finish_directories()
    assert (mount / "old").read_bytes() in (b"o" * 4 * K, b"n" * 128 * K)
    for name, size in (("small", 64 * K), ("large", 256 * K), ("tiny", 1)):
        if (mount / name).exists():
            assert (mount / name).read_bytes() == b"n" * size
    filler.unlink()
    with TargetRoot(mount) as root:
        assert not clean(root).kept
    assert names_in(mount) <= {"small", "large", "old", "tiny"}


@pytest.mark.parametrize("durability", list(Durability), ids=lambda d: d.value)
def test_mount_point_below_the_root(mount: Path, durability: Durability) -> None:
    root = mount.parent
    table = table_of({b"mnt/a": 3, b"b": 3, b"mnt/d/c": 3})
    with staging_of(root, table, durability=durability) as staging:
        staging.examine(range(3))
        for number in range(3):
            staging.write_whole(number, b"abc")
        assert all(result.error is None for result in staging.publish())
        assert staging.finish_directories() == []
    assert names_in(root) == {"mnt", "mnt/a", "b", "mnt/d", "mnt/d/c"}


def test_file_size_limit_is_an_error_like_any_other(tmp_path: Path) -> None:
    """The limit is for the whole process, so it is set for a moment only."""
    table = table_of({b"large": 1 << 20, b"small": 3})
    with TargetRoot(tmp_path) as root, Staging(root, "test", table) as staging:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * K, before[1]))
        try:
            with pytest.raises(PublishError):
                staging.allocate(0)
            staging.write_whole(1, b"abc")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert staging.publish()[0].placed
    assert names_in(tmp_path) == {"small"}
