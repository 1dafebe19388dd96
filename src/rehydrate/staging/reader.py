"""Reads files back: what stands at a target, and what is staged."""

import os
import stat
from typing import Final, Self

from rehydrate.errors import PublishError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.workspace import NO_FOLLOW

__all__ = ["FileReader", "open_regular", "read_fully"]

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
