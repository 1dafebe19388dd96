"""The target root, opened once, and the directories below it, reached by descriptors only.

After the root is open no path is resolved from the file system's top again. A link as a directory
component is an error: it is never followed, whoever put it there and whenever.
"""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from rehydrate.errors import PublishError, SessionBusyError, StagingError, UnsafeTargetError
from rehydrate.ports import Files, SystemFiles
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.paths import display

__all__ = ["DIRECTORY", "Parents", "TargetRoot", "blocked"]

DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_PRIVATE: Final = 0o700
_OPEN_DIRECTORIES: Final = 256


def blocked(cause: OSError, directory: bytes, *, file: bytes) -> StagingError:
    """Say in one line why a directory cannot be used.

    Args:
        cause: What opening or making it raised.
        directory: Relative path of the directory.
        file: Relative path of the file that needs it.

    Returns:
        The error to raise ``from cause``.
    """
    shown = display(directory) or "."
    if cause.errno in (errno.ELOOP, errno.EXDEV):
        return UnsafeTargetError(
            f"a symbolic link stands in the way to directory {shown!r} in the target;"
            " remove it or choose another target",
            code="link.component",
            file=display(file),
        )
    if cause.errno == errno.ENOTDIR:
        return UnsafeTargetError(
            f"a file or link stands where the directory {shown!r} must be;"
            " remove it or choose another target",
            code="fs.not-directory",
            file=display(file),
        )
    return PublishError.of(cause, f"use directory {shown!r} of the target", file=display(file))


class TargetRoot:
    """The directory that files are restored into; the only absolute path that is ever resolved.

    Attributes:
        path: The absolute path, for messages.
        fd: Its descriptor.
        files: The file-system calls in use.
    """

    def __init__(self, path: str | os.PathLike[str], *, files: Files | None = None) -> None:
        """Open the directory, making it and its parents where they are missing.

        Args:
            path: The directory. Links on the way to it are followed: this path is the caller's.
            files: The file-system calls to use; ``None`` = the real ones.

        Raises:
            PublishError: It cannot be opened or made.
        """
        self.path = os.path.abspath(path)  # noqa: PTH100 - links must stay unresolved
        self.files: Files = SystemFiles() if files is None else files
        self._guard = threading.Lock()
        self._jobs: set[str] = set()
        try:
            self.fd = self._open_or_make(os.fsencode(self.path))
        except OSError as cause:
            doing = f"open the target directory {self.path!r}"
            raise PublishError.of(cause, doing) from cause

    def _open_or_make(self, path: bytes) -> int:
        files = self.files
        try:
            return files.open(path, DIRECTORY)
        except FileNotFoundError:
            above, _, name = path.rpartition(b"/")
            parent = self._open_or_make(above or b"/")
        try:
            files.mkdir(name, 0o777, parent)
            fd = files.open(name, DIRECTORY, dir_fd=parent)
            files.fsync(parent)
        finally:
            close_quietly(files, parent)
        return fd

    def __enter__(self) -> Self:
        """Return the root itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor."""
        self.close()

    def close(self) -> None:
        """Close the descriptor; closing twice is no fault."""
        fd, self.fd = self.fd, -1
        close_quietly(self.files, fd)

    @contextmanager
    def running(self, job: str) -> Iterator[None]:
        """Mark a job as running into this root.

        Args:
            job: Name of the job.

        Raises:
            SessionBusyError: It is running already: a callback called back into its own restore,
                or two threads restore the same files.
        """
        with self._guard:
            if job in self._jobs:
                raise SessionBusyError("this restore is running already, into this very target")
            self._jobs.add(job)
        try:
            yield
        finally:
            with self._guard:
                self._jobs.discard(job)

    def holds(self, path: bytes) -> bool:
        """Tell whether something stands at a path; no link is followed on the way or at its end.

        Args:
            path: Accepted relative path.
        """
        directory, _, name = path.rpartition(b"/")
        try:
            parent = self.files.open_beneath(directory or b".", DIRECTORY, self.fd)
        except OSError:
            return False
        try:
            self.files.lstat(name, parent)
        except OSError:
            return False
        finally:
            close_quietly(self.files, parent)
        return True

    def free_bytes(self) -> int:
        """Return the bytes that an ordinary user may still write here.

        Raises:
            PublishError: The file system does not say.
        """
        try:
            return self.files.free_bytes(self.fd)
        except OSError as cause:
            raise PublishError.of(cause, "ask for the free space of the target") from cause


class Parents:
    """Descriptors of the directories below a root, the least recently used closed first.

    Not safe for several threads at once: its owner has the lock.

    Attributes:
        made: Paths of directories that this job made.
        unsynced: Paths of directories that hold a new directory and were not synced since.
    """

    def __init__(self, root: TargetRoot, files: Files, note: Callable[[bytes], None]) -> None:
        """Start without any open directory.

        Args:
            root: Where the paths begin.
            files: The file-system calls.
            note: Told each path that is about to be made, so that a later run can know.
        """
        self._root = root
        self._files = files
        self._note = note
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self.made: set[bytes] = set()
        self.unsynced: set[bytes] = set()

    def find(self, path: bytes) -> int:
        """Return the descriptor of an existing directory, valid until the next call.

        Args:
            path: Relative path; empty = the root.

        Raises:
            OSError: It is missing, no directory, or a link is on the way.
        """
        if not path:
            return self._root.fd
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        return self._keep(path, self._files.open_beneath(path, DIRECTORY, self._root.fd))

    def make(self, path: bytes) -> int:
        """Return the descriptor of a directory, made with mode 0700 where it is missing.

        Args:
            path: Relative path; empty = the root.

        Raises:
            OSError: It can neither be opened nor made.
        """
        above, _, name = path.rpartition(b"/")
        # What is not yet made below a directory of our making is not there: no need to look.
        if above not in self.made or path in self.made:
            try:
                return self.find(path)
            except FileNotFoundError:
                pass
        parent = self.make(above)
        self._note(path)  # before it is there: a kill in between must not hide it
        try:
            self._files.mkdir(name, _PRIVATE, parent)
        except FileExistsError:
            pass  # somebody else was faster; the open below looks at what it is
        else:
            self.made.add(path)
            self.unsynced.add(above)
        return self._keep(path, self._files.open(name, DIRECTORY | _NO_FOLLOW, dir_fd=parent))

    def _keep(self, path: bytes, fd: int) -> int:
        self._open[path] = fd
        if len(self._open) > _OPEN_DIRECTORIES:
            _, oldest = self._open.popitem(last=False)
            close_quietly(self._files, oldest)
        return fd

    def close(self) -> None:
        """Close all descriptors."""
        close_quietly(self._files, *self._open.values())
        self._open.clear()
