"""Lays a tree of files and stubs out as a volume: a folder copy, or a real NTFS image.

::

    store = WindowsStore()
    tree = [Entry("Docs/report.bin", file=store.add_file(data)), Entry("plain.txt", data=b"...")]
    folder_copy(folder, tree, store)  # stubs are sparse files with a NAME.reparse beside them
    ntfs_image(folder / "volume.img", tree, store)  # needs mkntfs, ntfs-3g, root and /dev/fuse
    partitioned(folder / "volume.img", folder / "disk.img", scheme="gpt")
"""

import ctypes
import os
import select
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from tests.windows_store.shelf import Shelf
from tests.windows_store.store import File

__all__ = [
    "ATTRIBUTES",
    "DISK_START",
    "SECURITY",
    "STUB_ATTRIBUTES",
    "Entry",
    "NeedsNtfs",
    "Times",
    "folder_copy",
    "needs_ntfs",
    "ntfs_image",
    "ntfs_mounted",
    "partitioned",
    "reparse_data",
    "security_of",
]

ARCHIVE: Final = 0x20
STUB_ATTRIBUTES: Final = 0x620
"""Attributes of a stub: archive, sparse, reparse point."""
ATTRIBUTES, TIMES, REPARSE = "system.ntfs_attrib", "system.ntfs_times", "system.ntfs_reparse_data"
SECURITY: Final = "system.ntfs_acl"
"""Extended attributes of ntfs-3g."""
DISK_START: Final = 1 << 20
"""Where the volume begins in a partitioned disk."""

Times = tuple[int, int, int, int]
"""FILETIMEs: created, modified, accessed, changed; ntfs-3g cannot set the last one."""


class NeedsNtfs(Exception):  # noqa: N818 - a reason to skip a test, not an error
    """No NTFS image can be made here; the text says what is missing."""


@attrs.frozen(kw_only=True)
class Entry:
    """One name in a volume: a directory, a plain file, a stub, or another name of a file.

    Attributes:
        path: Relative, with forward slashes; parents are made.
        data: Bytes of a plain file.
        file: A deduplicated file.
        directory: Whether it is a directory.
        link_to: Path of an earlier entry that this is another name of.
        reparse: Another reparse buffer; that of ``file`` if None.
        streams: Alternate data streams by name.
        attributes: NTFS attributes, None for the usual ones.
        times: Its times, None for those of now.
        security: Its security descriptor in self-relative form, None for what the driver gives.
    """

    path: str = attrs.field(kw_only=False)
    data: bytes = b""
    file: File | None = None
    directory: bool = False
    link_to: str | None = None
    reparse: bytes | None = None
    streams: Mapping[str, bytes] = attrs.field(factory=dict)
    attributes: int | None = None
    times: Times | None = None
    security: bytes | None = None

    @property
    def stub(self) -> bytes | None:
        """Its reparse buffer."""
        if self.reparse is None and self.file is not None:
            return self.file.stub
        return self.reparse

    @property
    def content(self) -> bytes:
        """What a restore must give."""
        return self.data if self.file is None else self.file.data


def security_of(owner: Sequence[int], *, authority: int = 5) -> bytes:
    """Return a security descriptor that says little more than who owns a file.

    Args:
        owner: Numbers of the owner's SID behind the authority, as in ``S-1-5-21-1-2-3-1000``.
        authority: The authority.
    """
    sid = bytes((1, len(owner))) + authority.to_bytes(6, "big")
    sid += struct.pack(f"<{len(owner)}I", *owner)
    everyone = struct.pack("<BB6BI", 1, 1, 0, 0, 0, 0, 0, 1, 0)
    ace = struct.pack("<BBHI", 0, 0, 8 + len(everyone), 0x1F01FF) + everyone
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(ace), 1, 0) + ace
    at = 20 + len(acl)
    return struct.pack("<BBHIIII", 1, 0, 0x8004, at, at + len(sid), 0, 20) + acl + sid + sid


def folder_copy(
    root: Path,
    tree: Sequence[Entry],
    *stores: Shelf,
    sidecar: str = ".reparse",
    filled: bool = False,
) -> None:
    """Lay a tree out as a folder copy of a volume.

    Streams and attributes are lost on the way, as a copy loses them.

    Args:
        root: The folder; made if missing.
        tree: Its entries.
        stores: Chunk stores to write beside them.
        sidecar: What is put behind the name of a stub to name the file with its buffer.
        filled: Write zeros where a stub has holes, as a careless copy does.
    """
    root.mkdir(parents=True, exist_ok=True)
    for entry in tree:
        path = root / entry.path
        _write_content(path, root, entry, filled=filled)
        if entry.stub is not None and entry.link_to is None:
            path.with_name(path.name + sidecar).write_bytes(entry.stub)
    for entry in tree:
        if entry.times is not None and entry.link_to is None:
            _, modified, accessed, _ = entry.times
            os.utime(root / entry.path, ns=(_unix_ns(accessed), _unix_ns(modified)))
    for store in stores:
        store.write(root)


def needs_ntfs() -> None:
    """Do nothing where NTFS images can be made.

    Raises:
        NeedsNtfs: Something is missing.
    """
    for program in ("mkntfs", "ntfs-3g", "fusermount"):
        if _program(program) is None:
            raise NeedsNtfs(f"needs the program {program}")
    if os.geteuid():
        raise NeedsNtfs("needs root, to mount")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise NeedsNtfs("needs /dev/fuse")


def ntfs_image(
    path: Path,
    tree: Sequence[Entry],
    *stores: Shelf,
    size: int = 64 << 20,
    cluster: int = 4096,
    label: str = "",
) -> None:
    """Make an NTFS volume with a tree and chunk stores in it.

    Args:
        path: File to make; it is sparse.
        tree: What is in the volume.
        stores: Chunk stores to write.
        size: Bytes of the volume.
        cluster: Bytes of a cluster.
        label: Label of the volume.

    Raises:
        NeedsNtfs: That cannot be done here.
    """
    needs_ntfs()
    with path.open("wb") as file:
        file.truncate(size)
    options = ["-F", "-Q", "-q", "-p", "0", "-H", "255", "-S", "63", "-c", str(cluster)]
    _run("mkntfs", *options, "-L", label, str(path))
    with ntfs_mounted(path) as root:
        for entry in tree:
            _write_content(root / entry.path, root, entry, filled=False)
            for name, data in entry.streams.items():
                os.setxattr(root / entry.path, f"user.{name}", data)
        for store in stores:
            store.write(root)
        for entry in tree:
            if entry.link_to is None:
                _write_metadata(root / entry.path, entry)


@contextmanager
def ntfs_mounted(image: Path, *options: str) -> Iterator[Path]:
    """Mount an image with ntfs-3g while the block runs; alternate streams are ``user.`` attributes.

    Args:
        image: The volume.
        options: More options of ntfs-3g.

    Raises:
        NeedsNtfs: That cannot be done here.
    """
    needs_ntfs()
    root = image.with_name(image.name + ".mounted")
    root.mkdir()
    try:
        given = ",".join(("streams_interface=xattr", *options))
        _run("ntfs-3g", "-o", given, str(image), str(root))
        try:
            yield root
        finally:
            _unmount(root)
    finally:
        root.rmdir()


def reparse_data(path: Path) -> bytes:
    """Return the reparse buffer of a path in a mounted volume.

    `os.getxattr` cannot: it tries 128 bytes first, and ntfs-3g says EIO, not ERANGE, to a buffer
    that is too small.

    Raises:
        OSError: There is none.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(16 << 10)
    size = libc.lgetxattr(os.fsencode(path), REPARSE.encode(), buffer, len(buffer))
    if size < 0:
        raise OSError(ctypes.get_errno(), "no reparse data", str(path))
    return buffer.raw[:size]


def partitioned(volume: Path, disk: Path, *, scheme: str = "gpt", before: int = 0) -> int:
    """Put a volume into a disk image with a partition table.

    Args:
        volume: The volume.
        disk: The image to make.
        scheme: ``"gpt"`` or ``"dos"`` (MBR).
        before: Bytes of an empty partition in front, a multiple of 1 MiB; 0 is none.

    Returns:
        Offset of the volume in the disk.

    Raises:
        NeedsNtfs: There is no sfdisk.
    """
    if _program("sfdisk") is None:
        raise NeedsNtfs("needs the program sfdisk")
    start, size = DISK_START + before, volume.stat().st_size
    with disk.open("wb") as file:
        file.truncate(start + -(-size // 512) * 512 + DISK_START)
    kind = {"gpt": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "dos": "7"}[scheme]
    lines = [f"label: {scheme}"]
    if before:
        lines.append(f"start={DISK_START // 512}, size={before // 512}")
    lines.append(f"start={start // 512}, size={-(-size // 512)}, type={kind}")
    _run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", str(disk), text="\n".join(lines))
    with volume.open("rb") as source, disk.open("r+b") as target:
        _copy_data(source.fileno(), target.fileno(), size, start)
    return start


def _copy_data(source: int, target: int, size: int, shift: int) -> None:
    """Copy what is no hole."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
        except OSError:
            return
        at = min(os.lseek(source, begin, os.SEEK_HOLE), begin + (8 << 20))
        os.pwrite(target, os.pread(source, at - begin, begin), shift + begin)


def _write_content(path: Path, root: Path, entry: Entry, *, filled: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.directory:
        path.mkdir(exist_ok=True)
    elif entry.link_to is not None:
        path.hardlink_to(root / entry.link_to)
    elif entry.file is None:
        path.write_bytes(entry.data)
    else:
        with path.open("wb") as file:
            if filled:
                file.write(bytes(entry.file.size))
            for offset, data in entry.file.own:
                file.seek(offset)
                file.write(data)
            file.truncate(entry.file.size)


def _write_metadata(path: Path, entry: Entry) -> None:
    """Put reparse data, attributes and times on an entry, in the order that keeps each."""
    if entry.stub is not None:
        os.setxattr(path, REPARSE, entry.stub, follow_symlinks=False)
    attributes = entry.attributes
    if attributes is None and not entry.directory:
        attributes = ARCHIVE if entry.file is None else STUB_ATTRIBUTES
    if attributes is not None:
        os.setxattr(path, ATTRIBUTES, struct.pack("<I", attributes), follow_symlinks=False)
    if entry.security is not None:
        os.setxattr(path, SECURITY, entry.security, follow_symlinks=False)
    if entry.times is not None:
        os.setxattr(path, TIMES, struct.pack("<4Q", *entry.times), follow_symlinks=False)


def _unmount(root: Path) -> None:
    """Unmount and wait until the driver has ended: it writes its last blocks after the unmount."""
    needle = b"\0" + os.fsencode(root) + b"\0"
    drivers = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if needle in (process / "cmdline").read_bytes():
                drivers.append(os.pidfd_open(int(process.name)))
    _run("fusermount", "-u", str(root))
    for driver in drivers:
        waiting = select.poll()
        waiting.register(driver, select.POLLIN)
        waiting.poll(60_000)
        os.close(driver)


def _unix_ns(filetime: int) -> int:
    return (filetime - 116_444_736_000_000_000) * 100


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin:/usr/local/sbin")


def _run(program: str, *arguments: str, text: str = "") -> None:
    found = _program(program) or program
    done = subprocess.run(
        [found, *arguments], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NeedsNtfs(f"{program} fails here: {done.stderr.strip()[-300:]}")
