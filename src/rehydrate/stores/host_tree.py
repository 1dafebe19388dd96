"""A directory tree of this machine, read below a root that was opened once.

Names are bytes, no link is ever followed and nothing is written. Extended attributes are read by
name in an open directory, because drivers show some reparse points as links, which cannot be opened.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rehydrate.errors import ContainerNotFoundError, SessionError, StoreReadError
from rehydrate.ports import Files, SystemFiles, large_attribute

__all__ = ["Folder", "HostTree", "Selection", "inner_path", "read_exactly", "shown"]

_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_DESCRIPTORS: Final = b"/proc/self/fd/%d/"


def shown(path: bytes) -> str:
    """Return a path for people; bytes that are no text are escaped."""
    return path.decode("utf-8", "backslashreplace") or "."


def inner_path(folder: bytes, name: bytes) -> bytes:
    """Return the path of a name in a folder; the root is the empty path."""
    return folder + b"/" + name if folder else name


class Selection:
    """Which paths of a tree are asked for, compared byte by byte."""

    def __init__(self, prefixes: Sequence[bytes]) -> None:
        """Take paths that are wanted with all that is below them; none, or an empty one = all."""
        self._prefixes = tuple(prefix.strip(b"/") for prefix in prefixes)
        self._all = not self._prefixes or b"" in self._prefixes

    def holds(self, path: bytes) -> bool:
        """Tell whether a path is asked for."""
        return self._all or any(_is_below(path, prefix) for prefix in self._prefixes)

    def leads(self, path: bytes) -> bool:
        """Tell whether a path, or something below it, is asked for."""
        return self.holds(path) or any(_is_below(prefix, path) for prefix in self._prefixes)


def _is_below(path: bytes, above: bytes) -> bool:
    return path == above or path.startswith(above + b"/")


class Folder:
    """An open directory; valid inside :meth:`HostTree.folder`."""

    def __init__(self, fd: int, files: Files) -> None:
        """Use a descriptor of a directory; its owner closes it."""
        self._fd = fd
        self._files = files

    def names(self) -> list[bytes]:
        """Return the names in the directory, sorted.

        Raises:
            OSError: The directory cannot be read.
        """
        return sorted(os.fsencode(name) for name in self._files.listdir(self._fd))

    def status(self, name: bytes) -> os.stat_result:
        """Return the status of a name, links not followed.

        Raises:
            OSError: There is none.
        """
        return self._files.lstat(name, self._fd)

    def attribute(self, name: bytes, attribute: str) -> bytes | None:
        """Return an extended attribute of a name, links not followed; ``None`` if there is none.

        Args:
            name: Name in the directory.
            attribute: Name of the attribute with its namespace.
        """
        if not hasattr(os, "getxattr"):
            return None
        path = _DESCRIPTORS % self._fd + name
        try:
            return os.getxattr(path, attribute, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EIO:
                return None
        try:
            return large_attribute(path, os.fsencode(attribute))
        except OSError:
            return None

    def attribute_names(self, name: bytes) -> list[str]:
        """Return the names of all extended attributes of a name, sorted.

        Args:
            name: Name in the directory.
        """
        if not hasattr(os, "listxattr"):
            return []
        try:
            return sorted(os.listxattr(_DESCRIPTORS % self._fd + name, follow_symlinks=False))
        except OSError:
            return []


class HostTree:
    """A directory of this machine and what is below it. Safe for several threads."""

    def __init__(self, root: str | os.PathLike[str], *, files: Files | None = None) -> None:
        """Open the root.

        Args:
            root: A directory; links on the way to it are followed, none below it.
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such directory.
            StoreReadError: It cannot be opened.
        """
        self.path = Path(root)
        self.files: Files = SystemFiles() if files is None else files
        self._lock = threading.Lock()
        try:
            self._root = self.files.open(os.fsencode(root), _DIRECTORY)
        except FileNotFoundError as error:
            raise ContainerNotFoundError(f"there is no directory {self.path}") from error
        except OSError as error:
            raise StoreReadError(f"cannot open {self.path}: {error.strerror}") from error
        self.device = self.files.fstat(self._root).st_dev

    def close(self) -> None:
        """Close the root; closing twice is no fault."""
        with self._lock:
            fd, self._root = self._root, -1
        if fd >= 0:
            self.files.close(fd)

    def check_open(self) -> None:
        """Refuse what comes after the end.

        Raises:
            SessionError: The tree was closed.
        """
        if self._root < 0:
            raise SessionError(f"the folder {self.path} was closed")

    @contextmanager
    def folder(self, path: bytes) -> Iterator[Folder]:
        """Open a directory for the time of a ``with`` block.

        Args:
            path: Path below the root; empty = the root.

        Raises:
            StoreReadError: It cannot be opened or is no directory.
        """
        with self._opened(path or b".", _DIRECTORY) as fd:
            yield Folder(fd, self.files)

    @contextmanager
    def file(self, path: bytes) -> Iterator[int]:
        """Open a regular file for the time of a ``with`` block and give its descriptor.

        Args:
            path: Path below the root.

        Raises:
            StoreReadError: It cannot be opened, or is no regular file.
        """
        with self._opened(path, _READ_ONLY) as fd:
            if not stat.S_ISREG(self.files.fstat(fd).st_mode):
                raise StoreReadError(f"{shown(path)} is no regular file", file=shown(path))
            yield fd

    @contextmanager
    def _opened(self, path: bytes, flags: int) -> Iterator[int]:
        self.check_open()
        if b"\0" in path:
            raise ContainerNotFoundError(f"{shown(path)} is no path", file=shown(path))
        try:
            fd = self.files.open_beneath(path, flags, self._root)
        except FileNotFoundError as error:
            raise ContainerNotFoundError(
                f"there is no {shown(path)} in {self.path}", file=shown(path)
            ) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            yield fd
        except ContainerNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            self.files.close(fd)

    def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes of a regular file.

        Args:
            path: Path below the root.
            offset: First byte.
            size: Number of bytes.

        Raises:
            StoreReadError: It cannot be read, or ends before.
        """
        with self.file(path) as fd:
            return read_exactly(self.files, fd, offset, size, path)

    def read_small(self, path: bytes, limit: int) -> bytes:
        """Return a whole small file.

        Args:
            path: Path below the root.
            limit: Largest size accepted, bytes.

        Raises:
            StoreReadError: It cannot be read, or is larger.
        """
        with self.file(path) as fd:
            size = self.files.fstat(fd).st_size
            if size > limit:
                raise StoreReadError(
                    f"{shown(path)} has {size} bytes, more than {limit}", file=shown(path)
                )
            return read_exactly(self.files, fd, 0, size, path)


def read_exactly(files: Files, fd: int, offset: int, size: int, path: bytes) -> bytes:
    """Read a range of an open file.

    Args:
        files: The file-system calls.
        fd: The open file.
        offset: First byte.
        size: Number of bytes.
        path: Its path, for messages.

    Raises:
        StoreReadError: The file ends before the range does.
        OSError: It cannot be read.
    """
    end = files.fstat(fd).st_size
    found = b"" if offset + size > end else files.pread(fd, size, offset)
    while len(found) < size:
        more = files.pread(fd, size - len(found), offset + len(found)) if found else b""
        if not more:
            raise StoreReadError(
                f"{shown(path)} ends at byte {min(end, offset + len(found))}",
                code="store.short-read",
                file=shown(path),
                offset=offset,
                length=size,
            )
        found += more
    return found


def _unreadable(path: bytes, error: OSError) -> StoreReadError:
    return StoreReadError(f"cannot read {shown(path)}: {error.strerror}", file=shown(path))
