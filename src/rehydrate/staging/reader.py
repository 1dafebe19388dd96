"""Reads files back: what stands at a target, and what is staged."""

import os
import stat
from typing import Final, Self

from rehydrate.errors import PublishError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.paths import display
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.workspace import NO_FOLLOW

__all__ = ["FileReader", "StandingFile", "open_regular", "open_standing", "read_fully"]

_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | NO_FOLLOW


def read_fully(files: Files, fd: int, offset: int, size: int) -> bytes:
    """Return ``size`` bytes of a file from ``offset``; fewer at its end.

    Raises:
        OSError: The file cannot be read.
    """
    piece = files.pread(fd, size, offset)
    if len(piece) == size:
        return piece
    pieces = [piece]
    left = size - len(piece)
    while left and piece:
        piece = files.pread(fd, left, offset + size - left)
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class FileReader:
    """An open file; a context manager."""

    def __init__(self, fd: int, files: Files) -> None:
        """Take over a descriptor."""
        self._fd = fd
        self._files = files

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        close_quietly(self._files, self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``; fewer at the end of the file.

        Raises:
            PublishError: The file cannot be read.
        """
        try:
            return read_fully(self._files, self._fd, offset, size)
        except OSError as cause:
            raise PublishError.of(cause, "read a file of the target back") from cause


def open_regular(files: Files, name: bytes, dir_fd: int, *, size: int) -> FileReader | None:
    """Open a regular file, links not followed and devices not waited for.

    Args:
        files: The file-system calls.
        name: Its name.
        dir_fd: Descriptor of its directory.
        size: The size that it must have.

    Returns:
        The reader; ``None`` if it is something else.

    Raises:
        OSError: It cannot be opened.
    """
    fd = files.open(name, _READ, dir_fd=dir_fd)
    try:
        there = files.fstat(fd)
    except BaseException:
        close_quietly(files, fd)
        raise
    if stat.S_ISREG(there.st_mode) and there.st_size == size:
        return FileReader(fd, files)
    close_quietly(files, fd)
    return None


class StandingFile(FileReader):
    """What stands at a target, open for reading; a context manager.

    Attributes:
        status: Its status when it was opened.
    """

    def __init__(self, fd: int, files: Files, status: os.stat_result) -> None:
        """Take over a descriptor."""
        super().__init__(fd, files)
        self.status = status

    def attribute(self, name: bytes) -> bytes | None:
        """Return an extended attribute, or None.

        Raises:
            PublishError: It cannot be read.
        """
        try:
            return self._files.fgetxattr(self._fd, name)
        except OSError as cause:
            raise PublishError.of(cause, "read an attribute of a file of the target") from cause

    def attributes(self, prefix: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Return the extended attributes whose names begin with ``prefix``, sorted.

        Raises:
            PublishError: They cannot be read.
        """
        try:
            found = self._files.fgetxattrs(self._fd)
        except OSError as cause:
            raise PublishError.of(cause, "read the attributes of a file of the target") from cause
        return tuple(pair for pair in found if pair[0].startswith(prefix))


def open_standing(target: TargetRoot, path: bytes) -> StandingFile:
    """Open the regular file that stands at a target; no link is followed on the way.

    Args:
        target: The target root.
        path: Accepted relative path.

    Raises:
        PublishError: There is none, or it cannot be opened.
    """
    files = target.files
    try:
        fd = files.open_beneath(path, _READ, target.fd)
        try:
            status = files.fstat(fd)
        except BaseException:
            close_quietly(files, fd)
            raise
    except OSError as cause:
        raise PublishError.of(cause, "open the stub", file=display(path)) from cause
    if not stat.S_ISREG(status.st_mode):
        close_quietly(files, fd)
        raise PublishError("what stands there is no regular file", file=display(path))
    return StandingFile(fd, files, status)
