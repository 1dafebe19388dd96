"""The world as small protocols: file-system calls, the clock, the random source.

Rooms that write files take these as arguments, so that a test can count calls, fail call number n
or let time pass at will. The real forms hand over to the ``os`` functions without a layer between.
Paths are bytes relative to a directory descriptor; no call follows a link unless it says so.
"""

import ctypes
import errno
import os
import sys
import time
from typing import Final, Protocol

from rehydrate.values import ReadableBuffer

if sys.platform != "win32":
    import fcntl

__all__ = [
    "Clock",
    "Files",
    "RandomSource",
    "SystemClock",
    "SystemFiles",
    "SystemRandom",
    "large_attribute",
]


class Files(Protocol):
    """The file-system calls that staging and ingest make; each raises ``OSError`` like ``os``."""

    def open(self, path: bytes, flags: int, mode: int = ..., *, dir_fd: int | None = ...) -> int:
        """Open ``path`` below ``dir_fd``."""
        ...

    def open_beneath(self, path: bytes, flags: int, dir_fd: int) -> int:
        """Open ``path`` below ``dir_fd``; fail if any component is a link or leaves it."""
        ...

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        ...

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes at ``offset``."""
        ...

    def pwrite(self, fd: int, data: ReadableBuffer, offset: int) -> int:
        """Write at ``offset`` and return how many bytes were written (may be fewer)."""
        ...

    def fstat(self, fd: int) -> os.stat_result:
        """Return the status of an open file."""
        ...

    def lstat(self, path: bytes, dir_fd: int) -> os.stat_result:
        """Return the status of a name, links not followed."""
        ...

    def listdir(self, fd: int, /) -> list[str]:
        """Return the names in an open directory."""
        ...

    def readlink(self, path: bytes, dir_fd: int) -> bytes:
        """Return the text of a symbolic link."""
        ...

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the size of a file."""
        ...

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        """Allocate a range; a file system that cannot is not an error."""
        ...

    def punch_hole(self, fd: int, offset: int, size: int) -> None:
        """Give a range back to the file system where that is possible."""
        ...

    def drop_cache(self, fd: int) -> None:
        """Ask that cached pages of the file be dropped; a hint only."""
        ...

    def read_ahead(self, fd: int, offset: int, size: int) -> None:
        """Ask that a range be read soon; a hint only."""
        ...

    def fsync(self, fd: int) -> None:
        """Make file content, or a directory's names, survive power loss."""
        ...

    def syncfs(self, fd: int) -> bool:
        """Sync the whole file system of ``fd``; False where the system has no such call."""
        ...

    def rename(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Rename, replacing what stands at ``dst``."""
        ...

    def rename_new(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Rename; ``FileExistsError`` if ``dst`` exists."""
        ...

    def link(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """Make a hard link; links are not followed."""
        ...

    def symlink(self, text: bytes, dst: bytes, dir_fd: int) -> None:
        """Make a symbolic link."""
        ...

    def unlink(self, path: bytes, dir_fd: int) -> None:
        """Remove a name that is not a directory."""
        ...

    def mkdir(self, path: bytes, mode: int, dir_fd: int) -> None:
        """Make a directory."""
        ...

    def rmdir(self, path: bytes, dir_fd: int) -> None:
        """Remove an empty directory."""
        ...

    def fchmod(self, fd: int, mode: int) -> None:
        """Set permission bits."""
        ...

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        """Set the owner; -1 leaves a number alone."""
        ...

    def lchown(self, path: bytes, uid: int, gid: int, dir_fd: int) -> None:
        """Set the owner of a name, links not followed."""
        ...

    def futime(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        """Set times of an open file, nanoseconds since 1970."""
        ...

    def lutime(self, path: bytes, atime_ns: int, mtime_ns: int, dir_fd: int) -> None:
        """Set times of a name, links not followed."""
        ...

    def fsetxattr(self, fd: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute."""
        ...

    def fgetxattrs(self, fd: int) -> list[tuple[bytes, bytes]]:
        """Return all extended attributes; empty where there are none to be had."""
        ...

    def fgetxattr(self, fd: int, name: bytes) -> bytes | None:
        """Return one extended attribute; None where there is none to be had."""
        ...

    def seek_data(self, fd: int, offset: int) -> int | None:
        """Return the first offset at or behind ``offset`` with data; None if only hole is left."""
        ...

    def seek_hole(self, fd: int, offset: int) -> int:
        """Return the first hole at or behind ``offset``; the end of the file counts as one."""
        ...

    def lock(self, fd: int) -> bool:
        """Take an exclusive lock without waiting; False if another holds it.

        Raises:
            OSError: The file system has no locks.
        """
        ...

    def free_bytes(self, fd: int) -> int:
        """Return the bytes that an ordinary user may still allocate on the file system."""
        ...


class Clock(Protocol):
    """Time."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        ...

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class RandomSource(Protocol):
    """Randomness."""

    def bytes(self, count: int) -> bytes:
        """Return ``count`` unpredictable bytes."""
        ...


class SystemClock:
    """The real clock."""

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)
    sleep = staticmethod(time.sleep)


class SystemRandom:
    """The operating system's random source."""

    bytes = staticmethod(os.urandom)


_LIBC: Final = None if sys.platform == "win32" else ctypes.CDLL(None, use_errno=True)
# Numbers of the Linux system-call interface: linux/openat2.h, linux/fs.h, asm-generic/unistd.h.
_SYS_OPENAT2: Final = 437
_RESOLVE_BENEATH_NO_LINKS: Final = 0x08 | 0x04 | 0x02
_RENAME_NOREPLACE: Final = 1
_FALLOC_PUNCH_KEEP_SIZE: Final = 0x02 | 0x01
_NOT_THERE: Final = frozenset(
    {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENODEV}
)


def large_attribute(where: int | bytes, name: bytes) -> bytes:
    """Read an attribute of a descriptor, or of a path without following its last name.

    ``os.getxattr`` tries a small buffer first, and ntfs-3g says EIO instead of ERANGE to one that
    its reparse data do not fit. Raises OSError where a large buffer does not help.
    """
    room = ctypes.create_string_buffer(64 << 10)  # XATTR_SIZE_MAX of Linux
    read = getattr(_LIBC, "fgetxattr" if isinstance(where, int) else "lgetxattr", None)
    size = -1 if read is None else read(where, name, room, ctypes.c_size_t(len(room)))
    if size < 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO), os.fsdecode(name))
    return room.raw[:size]


class _OpenHow(ctypes.Structure):
    _fields_ = [  # type: ignore[mutable-override] # the base is typed for any kind of field
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


def _raise_errno(path: bytes) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def _has(name: str) -> bool:
    return _LIBC is not None and hasattr(_LIBC, name)


def _kernel() -> tuple[int, ...]:
    if sys.platform != "linux":
        return ()
    numbers = os.uname().release.split("-", 1)[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


class SystemFiles:
    """The real calls; those that a system lacks have the nearest fallback, said per method."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    fstat = staticmethod(os.fstat)
    ftruncate = staticmethod(os.ftruncate)
    rename = staticmethod(os.replace)
    if sys.platform != "win32":
        pread = staticmethod(os.pread)
        pwrite = staticmethod(os.pwrite)
        fchmod = staticmethod(os.fchmod)
        fchown = staticmethod(os.fchown)
    else:  # one handle for each thread, so a seek cannot be overtaken; not run

        def pread(self, fd: int, size: int, offset: int) -> bytes:
            """Seek, then read."""
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)

        def pwrite(self, fd: int, data: ReadableBuffer, offset: int) -> int:
            """Seek, then write."""
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

        def fchmod(self, fd: int, mode: int) -> None:
            """Windows has no permission bits on handles."""

        def fchown(self, fd: int, uid: int, gid: int) -> None:
            """Windows has no owner numbers."""

    def __init__(self) -> None:
        """Find out once which calls the system has."""
        self._openat2 = sys.platform == "linux" and _LIBC is not None
        self._renameat2 = _has("renameat2")
        self._syncfs = _has("syncfs") and _kernel() >= (5, 8)
        self._fallocate = _has("fallocate")

    def listdir(self, fd: int, /) -> list[str]:
        """``fdopendir`` and ``readdir``."""
        return os.listdir(fd)

    def open_beneath(self, path: bytes, flags: int, dir_fd: int) -> int:
        """``openat2`` with RESOLVE_BENEATH and NO_SYMLINKS; else one component after another."""
        if self._openat2 and _LIBC is not None:
            how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH_NO_LINKS)
            fd: int = _LIBC.syscall(
                _SYS_OPENAT2, dir_fd, path, ctypes.byref(how), ctypes.sizeof(how)
            )
            if fd >= 0:
                return fd
            if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
                _raise_errno(path)
            self._openat2 = False
        return self._open_by_component(path, flags, dir_fd)

    def _open_by_component(self, path: bytes, flags: int, dir_fd: int) -> int:
        current = os.dup(dir_fd)
        parts = path.split(b"/")
        if b".." in parts or path.startswith(b"/"):
            os.close(current)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(path))
        try:
            for part in parts[:-1]:
                below = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = below
            return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
        finally:
            os.close(current)

    def lstat(self, path: bytes, dir_fd: int) -> os.stat_result:
        """``fstatat`` without following links."""
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def readlink(self, path: bytes, dir_fd: int) -> bytes:
        """``readlinkat``."""
        return os.readlink(path, dir_fd=dir_fd)

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        """``posix_fallocate``; nothing where it is missing or the file system cannot."""
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(fd, offset, size)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise

    def punch_hole(self, fd: int, offset: int, size: int) -> None:
        """``fallocate`` with PUNCH_HOLE; nothing where it is missing."""
        if not self._fallocate or _LIBC is None:
            return
        failed = _LIBC.fallocate(
            fd, _FALLOC_PUNCH_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size)
        )
        if failed and ctypes.get_errno() not in _NOT_THERE:
            _raise_errno(b"")

    def drop_cache(self, fd: int) -> None:
        """``posix_fadvise(DONTNEED)`` where there is one."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read_ahead(self, fd: int, offset: int, size: int) -> None:
        """``posix_fadvise(WILLNEED)`` where there is one."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, offset, size, os.POSIX_FADV_WILLNEED)

    def fsync(self, fd: int) -> None:
        """``fsync``; on macOS F_FULLFSYNC, since fsync stops at the drive's cache there."""
        if sys.platform == "darwin":
            try:
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            except OSError as error:
                if error.errno not in _NOT_THERE | {errno.ENOTSUP}:
                    raise
            else:
                return
        os.fsync(fd)

    def syncfs(self, fd: int) -> bool:
        """``syncfs``; False below Linux 5.8, where it did not report write errors."""
        if not self._syncfs or _LIBC is None:
            return False
        if _LIBC.syncfs(fd):
            _raise_errno(b"")
        return True

    def rename_new(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """``renameat2(RENAME_NOREPLACE)``; else a hard link and an unlink."""
        if self._renameat2 and _LIBC is not None:
            if not _LIBC.renameat2(src_dir_fd, src, dst_dir_fd, dst, _RENAME_NOREPLACE):
                return
            if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
                _raise_errno(dst)
        self.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        os.unlink(src, dir_fd=src_dir_fd)

    def link(self, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        """``linkat`` without following links."""
        os.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)

    def symlink(self, text: bytes, dst: bytes, dir_fd: int) -> None:
        """``symlinkat``."""
        os.symlink(text, dst, dir_fd=dir_fd)

    def unlink(self, path: bytes, dir_fd: int) -> None:
        """``unlinkat``."""
        os.unlink(path, dir_fd=dir_fd)

    def mkdir(self, path: bytes, mode: int, dir_fd: int) -> None:
        """``mkdirat``."""
        os.mkdir(path, mode, dir_fd=dir_fd)

    def rmdir(self, path: bytes, dir_fd: int) -> None:
        """``unlinkat`` with AT_REMOVEDIR."""
        os.rmdir(path, dir_fd=dir_fd)

    def lchown(self, path: bytes, uid: int, gid: int, dir_fd: int) -> None:
        """``fchownat`` without following links; nothing on Windows."""
        if sys.platform != "win32":
            os.chown(path, uid, gid, dir_fd=dir_fd, follow_symlinks=False)

    def futime(self, fd: int, atime_ns: int, mtime_ns: int) -> None:
        """``futimens``."""
        os.utime(fd, ns=(atime_ns, mtime_ns))

    def lutime(self, path: bytes, atime_ns: int, mtime_ns: int, dir_fd: int) -> None:
        """``utimensat`` without following links."""
        os.utime(path, ns=(atime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)

    def fsetxattr(self, fd: int, name: bytes, value: bytes) -> None:
        """``fsetxattr``; ENOTSUP where Python has no such call."""
        if not hasattr(os, "setxattr"):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        os.setxattr(fd, name, value)

    def fgetxattrs(self, fd: int) -> list[tuple[bytes, bytes]]:
        """``flistxattr`` and ``fgetxattr``; empty where there are none."""
        if not hasattr(os, "listxattr"):
            return []
        try:
            names = os.listxattr(fd)
        except OSError as error:
            if error.errno in _NOT_THERE | {errno.ENOTSUP}:
                return []
            raise
        return [(os.fsencode(name), os.getxattr(fd, name)) for name in sorted(names)]

    def fgetxattr(self, fd: int, name: bytes) -> bytes | None:
        """``fgetxattr``; None where it is missing in any way."""
        if not hasattr(os, "getxattr"):
            return None
        try:
            return os.getxattr(fd, name)
        except OSError as error:
            if error.errno in _NOT_THERE | {errno.ENOTSUP, errno.ENODATA}:
                return None
            if error.errno == errno.EIO:
                return large_attribute(fd, name)
            raise

    def seek_data(self, fd: int, offset: int) -> int | None:
        """``lseek(SEEK_DATA)``; where there is none, everything is data."""
        if not hasattr(os, "SEEK_DATA"):
            return offset
        try:
            return os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def seek_hole(self, fd: int, offset: int) -> int:
        """``lseek(SEEK_HOLE)``; where there is none, the end of the file."""
        if not hasattr(os, "SEEK_HOLE"):
            return os.fstat(fd).st_size
        return os.lseek(fd, offset, os.SEEK_HOLE)

    def lock(self, fd: int) -> bool:
        """``flock`` without waiting."""
        if sys.platform == "win32":
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def free_bytes(self, fd: int) -> int:
        """``fstatvfs``: blocks for ordinary users."""
        found = os.fstatvfs(fd)
        return found.f_bavail * found.f_frsize
