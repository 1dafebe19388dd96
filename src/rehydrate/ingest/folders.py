"""The directories of one store as descriptors, and whole files written so that they survive."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import attrs

from rehydrate.errors import PublishError, StoreError
from rehydrate.formats.walk import DATA, STREAM
from rehydrate.ingest.containers import sync, write_all
from rehydrate.ports import Files
from rehydrate.stores.layout import (
    DATA_FOLDER,
    INDEX_FOLDER,
    STREAM_FOLDER,
    VERSIONS_FOLDER,
)
from rehydrate.values import ReadableBuffer

__all__ = ["Folders", "opened_folders", "put_file", "read_file", "remove_leftovers"]

_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
_BLOCK: Final = 4 << 20
LEFTOVER: Final = ".new"
"""Suffix of a file that is being written; its name begins with a dot, too."""


@attrs.frozen
class Folders:
    """Open directories of a store.

    Attributes:
        root: The store itself.
        data: Data containers.
        stream: Stream containers.
        versions: Manifests.
        index: What can be derived.
    """

    root: int
    data: int
    stream: int
    versions: int
    index: int

    def of(self, kind: str) -> int:
        """Return the folder of a kind of container."""
        return {DATA: self.data, STREAM: self.stream}[kind]


@contextmanager
def opened_folders(files: Files, root_fd: int, name: str) -> Iterator[Folders]:
    """Open the folders of a store.

    Args:
        files: File-system calls.
        root_fd: Directory of the store.
        name: How to call the store in messages.

    Raises:
        StoreError: A folder is missing and cannot be made.
    """
    with ExitStack() as stack:

        def opened(folder: str) -> int:
            path = os.fsencode(folder)
            try:
                try:
                    fd = files.open(path, _DIRECTORY | _NO_FOLLOW, dir_fd=root_fd)
                except FileNotFoundError:
                    files.mkdir(path, 0o755, root_fd)
                    sync(files, root_fd, name)
                    fd = files.open(path, _DIRECTORY | _NO_FOLLOW, dir_fd=root_fd)
            except OSError as error:
                raise StoreError(
                    f"cannot open {name}/{folder}: {error.strerror}", code="store.unwritable"
                ) from error
            stack.callback(files.close, fd)
            return fd

        yield Folders(
            root_fd,
            opened(DATA_FOLDER),
            opened(STREAM_FOLDER),
            opened(VERSIONS_FOLDER),
            opened(INDEX_FOLDER),
        )


def put_file(files: Files, folder_fd: int, name: str, *parts: ReadableBuffer) -> None:
    """Write a whole file under a temporary name and rename it into place, each step synced.

    Args:
        files: File-system calls.
        folder_fd: Folder of the file.
        name: Name of the file; an old one is replaced in one step.
        parts: Content, one part after the other.

    Raises:
        PublishError: A call failed; the old file is intact.
        DurabilityError: A sync failed.
    """
    final = os.fsencode(name)
    temporary = b"." + final + os.fsencode(LEFTOVER)
    try:
        fd = files.open(temporary, _NEW, 0o644, dir_fd=folder_fd)
    except OSError as error:
        raise PublishError.of(error, f"create {name}") from error
    try:
        offset = 0
        for part in parts:
            write_all(files, fd, part, offset)
            offset += memoryview(part).nbytes
        sync(files, fd, name)
    finally:
        files.close(fd)
    try:
        files.rename(temporary, final, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError as error:
        raise PublishError.of(error, f"publish {name}") from error
    sync(files, folder_fd, f"the folder of {name}")


def remove_leftovers(files: Files, folder_fd: int) -> None:
    """Remove temporary files that a killed run left.

    Raises:
        PublishError: One cannot be removed.
    """
    for name in files.listdir(folder_fd):
        if name.startswith(".") and name.endswith(LEFTOVER):
            try:
                files.unlink(os.fsencode(name), folder_fd)
            except OSError as error:
                raise PublishError.of(error, f"remove {name}") from error


def read_file(files: Files, folder_fd: int, name: str, limit: int) -> bytes:
    """Read a whole file.

    Args:
        files: File-system calls.
        folder_fd: Folder of the file.
        name: Name of the file.
        limit: Most bytes to accept.

    Raises:
        OSError: It cannot be read.
        StoreError: It is larger than the limit.
    """
    fd = files.open(os.fsencode(name), os.O_RDONLY | _NO_FOLLOW, dir_fd=folder_fd)
    try:
        size = files.fstat(fd).st_size
        if size > limit:
            raise StoreError(f"{name} is larger than {limit} bytes", code="store.file-size")
        parts, offset = [], 0
        while part := files.pread(fd, min(_BLOCK, size - offset) or 1, offset):
            parts.append(part)
            offset += len(part)
            if offset > limit:
                raise StoreError(f"{name} is larger than {limit} bytes", code="store.file-size")
        return b"".join(parts)
    finally:
        files.close(fd)
