"""File-system calls that break on purpose: killed at call n, out of space, syncs that fail.

What was not synced can be taken away, as a power cut does: written ranges become zeros, new names and
renames are undone.
"""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import attrs

from rehydrate.ports import SystemFiles
from rehydrate.values import ReadableBuffer

_PAGE = 4096


class Killed(BaseException):
    """The process ends here."""


def _path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


@attrs.define
class _Rename:
    source: Path
    target: Path
    old: bytes | None


class BrokenFiles(SystemFiles):
    """Counts the calls that change anything; ``at`` is the one that goes wrong, from 1."""

    def __init__(self, at: int = 0, *, errors: Callable[[str], BaseException | None] | None = None):
        super().__init__()
        self.at = at
        self.calls: list[str] = []
        self._error = errors
        self._ranges: dict[Path, list[tuple[int, int]]] = {}
        self._poisoned: dict[Path, list[tuple[int, int]]] = {}
        self._created: list[Path] = []
        self._renames: list[_Rename] = []
        for name in (
            "open",
            "pwrite",
            "ftruncate",
            "mkdir",
            "unlink",
            "rename",
            "fsync",
            "drop_cache",
        ):
            setattr(self, name, getattr(self, f"broken_{name}"))

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if self._error is not None:
            error = self._error(name)
            if error is not None:
                raise error
        elif self.at and len(self.calls) >= self.at:  # the dead do nothing more
            raise Killed

    def broken_open(
        self, path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        if flags & os.O_CREAT and dir_fd is not None:
            target = _path_of(dir_fd) / os.fsdecode(path)
            if not target.exists():
                self._count("create")
                self._created.append(target)
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def broken_pwrite(self, fd: int, data: ReadableBuffer, offset: int) -> int:
        """A killed write has written half."""
        view = memoryview(data)
        path = _path_of(fd)
        try:
            self._count("pwrite")
        except Killed:
            half = len(view) // 2
            if half:
                os.pwrite(fd, view[:half], offset)
                self._ranges.setdefault(path, []).append((offset, half))
            raise
        self._ranges.setdefault(path, []).append((offset, len(view)))
        return os.pwrite(fd, view, offset)

    def broken_ftruncate(self, fd: int, size: int) -> None:
        self._count("ftruncate")
        path = _path_of(fd)
        for ranges in (self._ranges, self._poisoned):
            ranges[path] = [found for found in ranges.get(path, []) if found[0] < size]
        os.ftruncate(fd, size)

    def broken_mkdir(self, path: bytes, mode: int, dir_fd: int) -> None:
        self._count("mkdir")
        os.mkdir(path, mode, dir_fd=dir_fd)

    def broken_unlink(self, path: bytes, dir_fd: int) -> None:
        self._count("unlink")
        gone = _path_of(dir_fd) / os.fsdecode(path)
        self._ranges.pop(gone, None)
        self._poisoned.pop(gone, None)
        os.unlink(path, dir_fd=dir_fd)

    def broken_rename(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._count("rename")
        source = _path_of(src_dir_fd) / os.fsdecode(src)
        target = _path_of(dst_dir_fd) / os.fsdecode(dst)
        old = target.read_bytes() if target.exists() else None
        source.rename(target)
        for ranges in (self._ranges, self._poisoned):
            if source in ranges:
                ranges[target] = ranges.pop(source)
        self._renames.append(_Rename(source, target, old))

    def broken_fsync(self, fd: int) -> None:
        """After a failed sync the pages still read as written, and no later sync writes them."""
        path = _path_of(fd)
        try:
            self._count("fsync")
        except OSError:
            self._poisoned.setdefault(path, []).extend(self._ranges.pop(path, []))
            raise
        self._ranges.pop(path, None)
        self._created = [found for found in self._created if found.parent != path]
        self._renames = [found for found in self._renames if found.target.parent != path]

    def broken_drop_cache(self, fd: int) -> None:
        """What no sync wrote is gone with the cache."""
        path = _path_of(fd)
        for offset, length in self._poisoned.pop(path, []):
            _clear(path, offset, offset + length)

    def cut_power(self, generator: random.Random | None = None) -> None:
        """Take away what was not synced: all of it, or some of the pages and of the names."""

        def lost() -> bool:
            return generator is None or generator.random() < 0.5

        written = [*self._ranges.items(), *self._poisoned.items()]
        pages = [
            (path, page, min(page + _PAGE, offset + length))
            for path, found in written
            for offset, length in found
            for page in range(offset, offset + length, _PAGE)
        ]
        for path, start, end in pages:
            if lost():
                _clear(path, start, end)
        undone = [rename for rename in reversed(self._renames) if lost()]
        for rename in undone:
            rename.target.rename(rename.source)
            if rename.old is not None:
                rename.target.write_bytes(rename.old)
        for path in self._created:
            if lost():
                path.unlink(missing_ok=True)


def _clear(path: Path, start: int, end: int) -> None:
    if path.is_file():
        with path.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(start)
            stream.write(bytes(max(min(end, size) - start, 0)))


def failing(name: str, number: int, code: int) -> Callable[[str], BaseException | None]:
    """Return what makes call ``number`` (from 1) of ``name`` fail with an error of the system."""
    seen = 0

    def decide(called: str) -> BaseException | None:
        nonlocal seen
        seen += called == name
        if called == name and seen == number:
            return OSError(code, os.strerror(code))
        return None

    return decide


NO_SPACE = errno.ENOSPC
IO_ERROR = errno.EIO
