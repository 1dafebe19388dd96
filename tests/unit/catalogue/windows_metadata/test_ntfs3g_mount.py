"""What is kept for ntfs-3g arrives on a real NTFS volume, and is there after the next mount."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehydrate.catalogue.windows_metadata import Kept, WindowsMetadata, default_form, keep
from tests.unit.catalogue.windows_metadata.volumes import (
    ACCESSED,
    CREATED,
    EVERYONE,
    MODIFIED,
    USER,
    ace,
    acl,
    descriptor,
    entry,
    full_ea,
    named,
    volume,
)

PROGRAMS = ("mkntfs", "ntfs-3g", "umount", "getfattr")


class Mounted:
    """An NTFS volume in a file; :meth:`again` forgets whatever driver and kernel remember."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def mount(self) -> bool:
        command = ["ntfs-3g", str(self.image), str(self.place)]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)

    def again(self) -> None:
        self.unmount()
        assert self.mount()


@pytest.fixture(scope="module")
def ntfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    folder = tmp_path_factory.mktemp("ntfs")
    found = Mounted(folder / "image", folder / "mnt")
    found.place.mkdir()
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if not all(shutil.which(program, path=search) for program in PROGRAMS):
        pytest.skip(f"one of {', '.join(PROGRAMS)} is not installed")
    with found.image.open("wb") as file:
        file.truncate(16 << 20)
    mkntfs = shutil.which("mkntfs", path=search)
    subprocess.run(
        [str(mkntfs), "-F", "-q", "-f", str(found.image)], check=True, capture_output=True
    )
    if not found.mount():
        pytest.skip("cannot mount an NTFS volume here (needs FUSE and its rights)")
    yield found
    found.unmount()


def put(place: Path, kept: Kept) -> None:
    """Do what staging does: attributes in their order, mode, time, then the final name."""
    staged = place.with_name("staged")
    if place.name.startswith("dir"):
        staged.mkdir()
        fd = os.open(staged, os.O_RDONLY)
    else:
        fd = os.open(staged, os.O_RDWR | os.O_CREAT)
        os.write(fd, b"data!")
    metadata = kept.metadata
    for name, value in metadata.xattrs or ():
        os.setxattr(fd, name, value)
    assert metadata.mode is not None
    assert metadata.mtime_ns is not None
    os.fchmod(fd, metadata.mode)
    os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))
    os.close(fd)
    staged.rename(place)


def get(place: Path, name: bytes) -> bytes:
    """Read an attribute with the right size at once: the driver says EIO to a short buffer."""
    command = ["getfattr", "--only-values", "--absolute-names", "-n", name.decode(), str(place)]
    return subprocess.run(command, check=True, capture_output=True).stdout


ALL: dict[str, Any] = {
    "attributes": 0x2527,
    "created": CREATED,
    "modified": MODIFIED,
    "accessed": ACCESSED,
    "reparse_tag": 0x80000013,
    "streams": named(**{"Zone.Identifier": 4, "empty": 0, "large": 65536, "\u4e2d:/%": 1}),
}
VOLUME = volume(
    descriptor=descriptor(
        sacl=acl(ace(2, 0xC0, 2, EVERYONE)),
        dacl=acl(*[ace(0, 0x13, 0x1200A9, USER)] * 900, ace(1, 0, 1, EVERYONE)),
    ),
    extended=full_ea(b"FIRST", b"abc") + full_ea(b"SECOND", bytes(5000), 0x80, last=True),
    streams={"Zone.Identifier": b"zone", "empty": b"", "large": b"L" * 65536, "\u4e2d:/%": b"1"},
)


def test_everything_is_there_after_the_next_mount(ntfs: Mounted) -> None:
    file = keep(VOLUME, entry(**ALL), WindowsMetadata.NTFS3G)
    folder = keep(
        VOLUME, entry(directory=True, **(ALL | {"attributes": 0x2937})), WindowsMetadata.NTFS3G
    )
    assert (file.lost, folder.lost) == ((), ())
    for name, kept in (("file", file), ("dir", folder)):
        put(ntfs.place / name, kept)
    ntfs.again()
    for name, kept in (("file", file), ("dir", folder)):
        found = ntfs.place / name
        expected = dict(kept.metadata.xattrs or ())
        assert len(expected) == 8
        times = get(found, b"system.ntfs_times_be")
        assert times[:24] == expected.pop(b"system.ntfs_times_be")
        attributes = int.from_bytes(get(found, b"system.ntfs_attrib_be"), "big")
        wanted = int.from_bytes(expected.pop(b"system.ntfs_attrib_be"), "big")
        assert attributes == wanted | (0x10 if name == "dir" else 0)
        assert found.stat().st_mtime_ns == kept.metadata.mtime_ns
        for attribute, value in expected.items():
            assert get(found, attribute) == value
    assert (ntfs.place / "file").read_bytes() == b"data!"


def test_creation_time_alone(ntfs: Mounted) -> None:
    kept = keep(volume(), entry(created=CREATED, attributes=0x80), WindowsMetadata.NTFS3G)
    assert kept.metadata.mtime_ns is None  # the driver would not take one any more
    file = ntfs.place / "created"
    file.write_bytes(b"")
    for name, value in kept.metadata.xattrs or ():
        os.setxattr(file, name, value)
    ntfs.again()
    assert int.from_bytes(get(file, b"system.ntfs_crtime_be"), "big") == CREATED
    # NORMAL, which is none: ARCHIVE, which new files have, is gone.
    assert get(file, b"system.ntfs_attrib_be") == b"\0\0\0\x80"


def test_volume_is_known_by_its_driver(ntfs: Mounted, tmp_path: Path) -> None:
    assert default_form(ntfs.place) is WindowsMetadata.NTFS3G
    assert default_form(ntfs.place / "not" / "yet") is WindowsMetadata.NTFS3G
