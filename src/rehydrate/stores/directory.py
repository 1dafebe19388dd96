"""A plain directory of containers as a backup store.

Names are resolved below the root that was opened once, links are never followed, and the number of
open containers is bounded. All methods may be called from several threads.
"""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import attrs

from rehydrate.errors import ContainerNotFoundError, SessionError, StoreReadError
from rehydrate.ports import Files, SystemFiles
from rehydrate.values import FileExtent, StorePath

__all__ = ["DirectoryStore"]

_MAX_OPEN: Final = 64
_READ_AHEAD: Final = 64 << 20
_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


@attrs.define(eq=False)
class _OpenContainer:
    """A descriptor that may be in use by several reads; closed by the last one if dropped."""

    fd: int
    users: int = 0
    dropped: bool = False


class DirectoryStore:
    """Reads containers below one directory.

    Implements :class:`~rehydrate.protocols.BackupStore` with ``read_backup_file_into``,
    ``preview_container_read`` (which starts the kernel's read-ahead), ``list_containers`` and read
    hints.
    """

    max_gap = 4096
    """Unneeded bytes that are cheaper to read than to skip."""
    max_read = 1 << 20
    """Largest sensible read in bytes."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_open: int = _MAX_OPEN,
        files: Files | None = None,
    ) -> None:
        """Open the root directory.

        Args:
            path: Directory that store paths are relative to.
            max_open: Containers held open at the same time, at least 1.
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such directory.
            StoreReadError: It cannot be opened.
        """
        self._files: Files = SystemFiles() if files is None else files
        self._max_open = max(max_open, 1)
        self._path = Path(path)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenContainer] = OrderedDict()
        flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._root = self._files.open(os.fsencode(path), flags)
        except FileNotFoundError as error:
            raise ContainerNotFoundError(f"there is no directory {self._path}") from error
        except OSError as error:
            raise StoreReadError(f"cannot open {self._path}: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """The directory, as it was given."""
        return self._path

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all descriptors."""
        self.close()

    def close(self) -> None:
        """Close all descriptors; those in use are closed when their read ends."""
        with self._lock:
            for container in self._open.values():
                self._drop(container)
            self._open.clear()
            if self._root >= 0:
                self._files.close(self._root)
            self._root = -1

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes; fewer only where the file ends.

        Args:
            path: Store path, relative to the root.
            offset: First byte.
            size: Number of bytes.

        Raises:
            FileNotFoundError: There is no such container.
            OSError: It cannot be read, or the path leaves the root or leads through a link.
        """
        with self._opened(path) as fd:
            data = self._files.pread(fd, size, offset)
            while data and len(data) < size:
                more = self._files.pread(fd, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
            return data

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Fill ``buffer``; see :meth:`read_backup_file`.

        Args:
            path: Store path, relative to the root.
            offset: First byte.
            buffer: Writable and contiguous.

        Returns:
            Bytes put in; fewer than all only where the file ends.
        """
        with self._opened(path) as fd:
            if not hasattr(os, "preadv"):  # Windows, and macOS before 11
                data = self._files.pread(fd, len(buffer), offset)
                buffer[: len(data)] = data
                return len(data)
            done = os.preadv(fd, [buffer], offset)
            while 0 < done < len(buffer):
                more = os.preadv(fd, [buffer[done:]], offset + done)
                if not more:
                    break
                done += more
            return done

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Start read-ahead, so that a disk has many requests at once although reads are made singly.

        Args:
            path: Store path, relative to the root.
            reads: What is going to be read; the first 64 MiB of it is announced.
        """
        left = _READ_AHEAD
        with suppress(OSError), self._opened(path) as fd:
            for extent in reads:
                if left <= 0:
                    return
                self._files.read_ahead(fd, extent.offset, extent.length)
                left -= extent.length

    def list_containers(self, folder: StorePath, /) -> list[str]:
        """Return the names in a folder, sorted; empty if there is no such folder.

        Args:
            folder: Store path of the folder.
        """
        try:
            with self._opened(folder, keep=False) as fd:
                return sorted(self._files.listdir(fd))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size_of(self, path: StorePath, /) -> int:
        """Return the size of a file in bytes.

        Args:
            path: Store path, relative to the root.

        Raises:
            FileNotFoundError: There is no such file.
        """
        with self._opened(path) as fd:
            return self._files.fstat(fd).st_size

    @contextmanager
    def _opened(self, path: StorePath, *, keep: bool = True) -> Iterator[int]:
        container = self._borrow(path, keep=keep)
        try:
            yield container.fd
        finally:
            with self._lock:
                container.users -= 1
                if container.dropped:
                    self._close_unused(container)

    def _borrow(self, path: StorePath, *, keep: bool) -> _OpenContainer:
        with self._lock:
            container = self._open.get(path)
            if container is None:
                if self._root < 0:
                    raise SessionError(f"the store {self._path} was closed")
                if not path or path.startswith("/"):
                    raise OSError(errno.EXDEV, "no path inside the store", path)
                fd = self._files.open_beneath(os.fsencode(path), _READ_ONLY, self._root)
                container = _OpenContainer(fd, dropped=not keep)
                if keep:
                    self._open[path] = container
            else:
                self._open.move_to_end(path)
            container.users += 1
            while len(self._open) > self._max_open:
                self._drop(self._open.popitem(last=False)[1])
            return container

    def _drop(self, container: _OpenContainer) -> None:
        container.dropped = True
        self._close_unused(container)

    def _close_unused(self, container: _OpenContainer) -> None:
        if not container.users and container.fd >= 0:
            self._files.close(container.fd)
            container.fd = -1
