"""The source tree: listed in tree order as columns, and read without leaving a trace.

Every open is checked against what the listing saw (device and inode): what stands there instead is
opened in a way that cannot leave the source, so links are never followed.
"""

import os
import stat
import struct
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import StoreError
from rehydrate.ports import SystemFiles

__all__ = ["STAT_DTYPE", "Batch", "SourceTree", "reason_of"]

_FIELDS: Final = attrgetter(
    "st_mode", "st_uid", "st_gid", "st_nlink", "st_dev", "st_ino", "st_size", "st_mtime_ns",
    "st_ctime_ns",
)  # fmt: skip
_ROW: Final = struct.Struct("<IIIIQQqqq")
STAT_DTYPE: Final = np.dtype(
    [
        ("mode", "<u4"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("nlink", "<u4"),
        ("device", "<u8"),
        ("inode", "<u8"),
        ("size", "<i8"),
        ("mtime", "<i8"),
        ("ctime", "<i8"),
    ]
)
"""What the listing knows of an entry; times are nanoseconds since 1970."""

BATCH: Final = 16_384
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0)
_KINDS_LEFT: Final = (
    (stat.S_ISFIFO, "a fifo is not stored"),
    (stat.S_ISSOCK, "a socket is not stored"),
    (stat.S_ISCHR, "a character device is not stored"),
    (stat.S_ISBLK, "a block device is not stored"),
)


@attrs.frozen(eq=False)
class Batch:
    """Entries in tree order.

    Attributes:
        paths: Relative paths.
        stats: Their columns (:data:`STAT_DTYPE`), same length.
    """

    paths: list[bytes]
    stats: npt.NDArray[np.void]


def reason_of(error: OSError) -> str:
    """Return what to tell people about a failed call on the source."""
    return error.strerror or str(error)


class SourceTree:
    """One source directory, or one file in it; see the module."""

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        """Open the source.

        Args:
            path: Directory or file.

        Raises:
            StoreError: It is not there or cannot be opened.
        """
        name = os.fsencode(path)
        self._system = SystemFiles()
        self._only: bytes | None = None
        try:
            if not stat.S_ISDIR(Path(os.fsdecode(name)).stat().st_mode):
                parent, self._only = os.path.split(os.path.realpath(name))
                name = parent
            self._root = os.open(name, _READ | _DIRECTORY)
        except OSError as error:
            raise StoreError(
                f"cannot read the source {os.fsdecode(name)}: {reason_of(error)}",
                code="source.unreadable",
            ) from error
        self.skipped: list[tuple[bytes, str, bool]] = []
        self.excluded: set[tuple[int, int]] = set()

    def close(self) -> None:
        """Close the root."""
        os.close(self._root)

    def exclude(self, path: str | os.PathLike[str], reason: str) -> None:
        """Leave out a directory wherever it occurs, and say so.

        Args:
            path: The directory.
            reason: Why, for people.
        """
        found = Path(path).stat()
        self.excluded.add((found.st_dev, found.st_ino))
        self._excluded_reason = reason

    def batches(self) -> Iterator[Batch]:
        """List the tree, parents before children, names of a directory in byte order."""
        paths: list[bytes] = []
        rows: list[bytes] = []
        stack = [self._walk(b"", self._list(b"", None))]
        while stack:
            for path, row, below in stack[-1]:
                paths.append(path)
                rows.append(row)
                if below:
                    stack.append(self._walk(path + b"/", self._list(path, row)))
                    break
            else:
                stack.pop()
            if len(paths) >= BATCH:
                yield _batch(paths, rows)
                paths, rows = [], []
        yield _batch(paths, rows)

    @staticmethod
    def _walk(
        prefix: bytes, listing: list[tuple[bytes, bytes, bool]]
    ) -> Iterator[tuple[bytes, bytes, bool]]:
        for name, row, below in listing:
            yield prefix + name, row, below

    def _list(self, path: bytes, row: bytes | None) -> list[tuple[bytes, bytes, bool]]:
        """Return name, row and whether to go below, sorted by name."""
        found: list[tuple[bytes, bytes, bool]] = []
        try:
            fd = self._open(path or b".", _READ | _DIRECTORY, row)
        except OSError as error:
            self.skipped.append((path, f"cannot list the directory: {reason_of(error)}", True))
            return found
        prefix = path + b"/" if path else b""
        encoding, handler = "utf-8", "surrogateescape"
        pack, fields, append = _ROW.pack, _FIELDS, found.append
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = entry.name.encode(encoding, handler)
                    try:
                        status = entry.stat(follow_symlinks=False)
                        packed = pack(*fields(status))
                    except (OSError, struct.error) as error:
                        reason = reason_of(error) if isinstance(error, OSError) else str(error)
                        self.skipped.append((prefix + name, reason, True))
                        continue
                    mode = status.st_mode
                    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                        append((name, packed, False))
                    elif stat.S_ISDIR(mode):
                        if (status.st_dev, status.st_ino) in self.excluded:
                            self.skipped.append((prefix + name, self._excluded_reason, False))
                        else:
                            append((name, packed, True))
                    else:
                        self.skipped.append((prefix + name, _kind_left(mode), False))
        except OSError as error:
            self.skipped.append((path, f"cannot list the directory: {reason_of(error)}", True))
        finally:
            os.close(fd)
        if not path and self._only is not None:
            found = [item for item in found if item[0] == self._only]
        found.sort()
        return found

    def _open(self, path: bytes, flags: int, row: bytes | None) -> int:
        try:
            fd = os.open(path, flags | _NOATIME, dir_fd=self._root)
        except PermissionError:  # O_NOATIME is for the owner only
            fd = os.open(path, flags, dir_fd=self._root)
        if row is not None:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != _ROW.unpack(row)[4:6]:
                # A file saved anew, or a directory above exchanged for a link to elsewhere: opened
                # again without following any link, it is something inside the source.
                os.close(fd)
                fd = self._system.open_beneath(path, flags, self._root)
        return fd

    def open_file(self, path: bytes, device: int, inode: int, *, directory: bool = False) -> int:
        """Open an entry for reading.

        Args:
            path: Relative path.
            device: Device number that the listing saw.
            inode: Inode number that the listing saw.
            directory: Whether it is a directory.

        Raises:
            OSError: It cannot be opened without following a link.
        """
        row = _ROW.pack(0, 0, 0, 0, device, inode, 0, 0, 0)
        return self._open(path, _READ | (_DIRECTORY if directory else 0), row)

    @staticmethod
    def close_file(fd: int) -> None:
        """Close what :meth:`open_file` gave."""
        os.close(fd)

    @staticmethod
    def status(fd: int) -> os.stat_result:
        """Return the status of an open file."""
        return os.fstat(fd)

    @staticmethod
    def read_into(fd: int, view: memoryview, offset: int) -> int:
        """Fill ``view`` from ``offset`` on; fewer bytes only where the file ends."""
        done = 0
        while done < len(view):
            if hasattr(os, "preadv"):
                got = os.preadv(fd, [view[done:]], offset + done)
            else:  # Windows, and macOS before 11
                data = SystemFiles().pread(fd, len(view) - done, offset + done)
                got = len(data)
                view[done : done + got] = data
            if not got:
                break
            done += got
        return done

    def data_extents(self, fd: int, size: int) -> Iterator[tuple[int, int]]:
        """Iterate the ranges of a file that have data; the rest are holes.

        Args:
            fd: The file.
            size: Its size.
        """
        position = 0
        while position < size:
            start = self._system.seek_data(fd, position)
            if start is None or start >= size:
                return
            end = min(self._system.seek_hole(fd, start), size)
            if end > start:
                yield start, end
            position = max(end, position + 1)

    def attributes(self, fd: int) -> list[tuple[bytes, bytes]]:
        """Return the extended attributes of an open entry."""
        return self._system.fgetxattrs(fd)

    def link_text(self, path: bytes) -> bytes:
        """Return the text of a symbolic link."""
        return os.readlink(path, dir_fd=self._root)


def _batch(paths: list[bytes], rows: list[bytes]) -> Batch:
    return Batch(paths, np.frombuffer(b"".join(rows), STAT_DTYPE))


def _kind_left(mode: int) -> str:
    for is_kind, reason in _KINDS_LEFT:
        if is_kind(mode):
            return reason
    return "a file of unknown kind is not stored"
