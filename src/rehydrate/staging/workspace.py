"""The private directory in which files grow until they are published, and the cleaning of old ones.

It is named after its job, has mode 0700, belongs to us, and lies on the file system of the targets,
so that publishing is a rename. All of this is checked on the open descriptor before anything is
made in it; nobody else can then put, swap or link anything there. This replaces the comparison of
descriptor and name before each rename (reliability.md section 3, step 8). A lock on a file in it
says that a live process uses it.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from typing import Final, Self

import attrs

from rehydrate.errors import PublishError, RequestError, StagingError, UnsafeTargetError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.paths import WORKSPACE_PREFIX, display
from rehydrate.staging.root import DIRECTORY, TargetRoot

__all__ = ["CREATE", "NO_FOLLOW", "Cleaned", "Identity", "Workspace", "clean"]

NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW
_LOCK: Final = b"lock"
_PLACES: Final = b"places"
_PROBE: Final = b"probe"
_OURS: Final = frozenset(["lock", "places", "probe"])
_TEMPORARY: Final = ("link-", "spill-")
_JOB: Final = re.compile(r"[0-9a-z]{1,64}")
_ATTEMPTS: Final = 8


def effective_user() -> int:
    """Return the number of the user that new files belong to; 0 where there are none."""
    ask = getattr(os, "geteuid", None)
    return 0 if ask is None else int(ask())


@attrs.frozen
class Identity:
    """What a new file in the workspace gets by itself.

    Attributes:
        uid: Owner.
        gid: Group.
        umask: Permission bits that are taken away.
        privileged: Whether the process may give files away.
        folds_names: Whether the file system takes ``A`` and ``a`` for the same name.
    """

    uid: int
    gid: int
    umask: int
    privileged: bool
    folds_names: bool


class Workspace:
    """One private directory, locked as long as it is open.

    Attributes:
        fd: Its descriptor, opened before anything is written: ``syncfs`` on it reports every
            write error from then on.
        device: Number of its file system.
        leftovers: Names found in it when it was opened.
    """

    def __init__(self, parent: int, job: str, files: Files) -> None:
        """Make or open the workspace of a job and lock it.

        Args:
            parent: Descriptor of the directory that it lies in.
            job: Name of the job: 1 to 64 of ``0-9a-z``.
            files: The file-system calls.

        Raises:
            RequestError: The name is not allowed.
            StagingError: Another process runs this job, or the directory is not ours.
            PublishError: The directory cannot be made.
        """
        if not _JOB.fullmatch(job):
            raise RequestError(f"a job is named by 1 to 64 of 0-9a-z, not {job!r}")
        self.name = WORKSPACE_PREFIX + job.encode("ascii")
        self._parent = parent
        self._files = files
        self.fd = self._lock = -1
        self._places_at = 0
        self._spills = 0
        try:
            self._open()
            self.device = files.fstat(self.fd).st_dev
            self.leftovers = self._look_around()
        except OSError as cause:
            self._shut()
            raise PublishError.of(cause, "make the private directory of the restore") from cause
        except BaseException:
            self._shut()
            raise

    def _open(self) -> None:
        for _ in range(_ATTEMPTS):
            with suppress(FileExistsError):
                self._files.mkdir(self.name, 0o700, self._parent)
            with suppress(FileNotFoundError):
                self.fd = _open_private(self._files, self.name, self._parent)
                self._lock = _take_lock(self._files, self.fd)
            if self._lock >= 0:
                return
            self._shut()  # its last user removed it in this moment
        raise StagingError("the private directory of the restore vanishes again and again")

    def _look_around(self) -> tuple[str, ...]:
        found = []
        for name in self._files.listdir(self.fd):
            if name.startswith(_TEMPORARY):
                self.remove(os.fsencode(name))
            elif name not in _OURS:
                found.append(name)
        return tuple(found)

    def __enter__(self) -> Self:
        """Return the workspace itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; see :meth:`close`."""
        self.close()

    def probe(self) -> Identity:
        """Find out what a new file gets by itself, by making one.

        Raises:
            OSError: No file can be made.
        """
        files = self._files
        self.remove(_PROBE)
        fd = files.open(_PROBE, CREATE, 0o777, dir_fd=self.fd)
        try:
            found = files.fstat(fd)
        finally:
            close_quietly(files, fd)
        try:
            files.lstat(_PROBE.upper(), self.fd)
            folds = True
        except FileNotFoundError:
            folds = False
        files.unlink(_PROBE, self.fd)
        return Identity(
            uid=found.st_uid,
            gid=found.st_gid,
            umask=0o777 & ~found.st_mode,
            privileged=hasattr(os, "geteuid") and effective_user() == 0,
            folds_names=folds,
        )

    def remove(self, name: bytes) -> None:
        """Remove a name in the workspace; no fault if it is not there.

        Raises:
            OSError: It is there and cannot be removed.
        """
        with suppress(FileNotFoundError):
            self._files.unlink(name, self.fd)

    def spill(self) -> int:
        """Return the descriptor of a new file without a name; the caller closes it.

        Raises:
            PublishError: It cannot be made.
        """
        self._spills += 1
        name = b"spill-%d" % self._spills
        try:
            self.remove(name)
            fd = self._files.open(name, CREATE, 0o600, dir_fd=self.fd)
            self._files.unlink(name, self.fd)
        except OSError as cause:
            raise PublishError.of(cause, "make a spill file in the target") from cause
        return fd

    def note(self, kind: bytes, path: bytes) -> None:
        """Write down a place that a later run of the job must know; a hint, so never a fault.

        Args:
            kind: One byte.
            path: Relative path of a directory.
        """
        record = kind + path + b"\0"
        flags = os.O_WRONLY | os.O_CREAT | NO_FOLLOW
        with suppress(OSError):
            fd = self._files.open(_PLACES, flags, 0o600, dir_fd=self.fd)
            try:
                self._places_at += self._files.pwrite(fd, record, self._places_at)
            finally:
                close_quietly(self._files, fd)

    def places(self, kind: bytes) -> list[bytes]:
        """Return the paths that were noted under ``kind``, by this run or an earlier one."""
        found = _read_places(self._files, self.fd)
        self._places_at = max(self._places_at, len(found))
        return _of_kind(found, kind)

    def close(self, *, keep: bool = False) -> bool:
        """Unlock and close; remove the directory if nothing is staged in it.

        Args:
            keep: Leave it in any case.

        Returns:
            Whether it is gone.
        """
        if self.fd < 0:
            return True
        emptied = False
        try:
            with suppress(OSError):
                if not keep and _OURS.issuperset(self._files.listdir(self.fd)):
                    emptied = True
                    _remove_directory(self._files, self.fd, self.name, self._parent)
                    return True
        finally:
            self._shut()
        if emptied:
            # NFS and FUSE keep an open file under another name: the lock has gone only now.
            with suppress(OSError):
                self._files.rmdir(self.name, self._parent)
                return True
        return False

    def _shut(self) -> None:
        lock, self._lock = self._lock, -1
        fd, self.fd = self.fd, -1
        close_quietly(self._files, lock, fd)


@attrs.frozen
class Cleaned:
    """What :func:`clean` did.

    Attributes:
        removed: Relative paths of the workspaces that are gone.
        kept: Relative paths of those that stay, each with the reason.
    """

    removed: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def clean(root: TargetRoot) -> Cleaned:
    """Remove the workspaces of interrupted jobs; what they held staged is lost.

    A workspace that a live process has locked, and one that is not ours, is left alone.

    Args:
        root: The target root.

    Raises:
        PublishError: The target root cannot be listed.
    """
    try:
        names = [os.fsencode(name) for name in sorted(root.files.listdir(root.fd))]
    except OSError as cause:
        raise PublishError.of(cause, "list the target directory") from cause
    removed: list[str] = []
    kept: list[tuple[str, str]] = []
    for name in names:
        if name.startswith(WORKSPACE_PREFIX):
            _clean_below(root, b"", name, removed, kept)
    return Cleaned(tuple(removed), tuple(kept))


def _clean_below(
    root: TargetRoot,
    directory: bytes,
    name: bytes,
    removed: list[str],
    kept: list[tuple[str, str]],
) -> None:
    shown = display(directory + b"/" + name if directory else name)
    files = root.files
    fd = lock = parent = -1
    try:
        parent = files.open_beneath(directory or b".", DIRECTORY, root.fd)
        fd = _open_private(files, name, parent)
        lock = _take_lock(files, fd, needed=True)
        for path in () if directory else _of_kind(_read_places(files, fd), b"E"):
            _clean_below(root, path, name, removed, kept)
        for entry in files.listdir(fd):
            if entry not in _OURS:
                files.unlink(os.fsencode(entry), fd)
        _remove_directory(files, fd, name, parent)
        removed.append(shown)
    except FileNotFoundError:
        pass  # gone already
    except (OSError, StagingError) as cause:
        kept.append((shown, str(cause)))
    finally:
        close_quietly(files, lock, fd, parent)


def _open_private(files: Files, name: bytes, parent: int) -> int:
    """Open a workspace and make sure that it is a directory of ours that nobody else can enter."""
    shown = display(name)
    try:
        fd = files.open(name, DIRECTORY | NO_FOLLOW, dir_fd=parent)
    except OSError as cause:
        if cause.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise UnsafeTargetError(
            f"{shown!r} in the target is no directory; remove it", code="fs.swap"
        ) from cause
    uid, mode = -1, 0
    try:
        found = files.fstat(fd)
        uid, mode = found.st_uid, stat.S_IMODE(found.st_mode)
    finally:
        private = uid == effective_user() and not mode & 0o077
        if not private:
            close_quietly(files, fd)
    if private:
        return fd
    raise UnsafeTargetError(
        f"{shown!r} in the target belongs to user {uid} with mode {mode:o}, so others may have"
        " changed what is staged; remove it, or, where the volume shows every file so, mount it with"
        " umask=077",
        code="fs.swap",
    )


def _take_lock(files: Files, fd: int, *, needed: bool = False) -> int:
    """Lock a workspace; -1 if it was removed in between.

    A file system without locks is no fault unless the lock is ``needed``: two runs of one job
    write the same bytes under the same names.
    """
    lock = files.open(_LOCK, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600, dir_fd=fd)
    try:
        try:
            locked = files.lock(lock)
        except OSError:
            if needed:
                raise
            locked = True
        if not locked:
            raise StagingError(
                "another process is restoring the same job into this target; wait for its end",
                code="fs.busy",
                retryable=True,
            )
        if files.fstat(lock).st_nlink:
            held, lock = lock, -1
            return held
        return -1
    finally:
        close_quietly(files, lock)


def _remove_directory(files: Files, fd: int, name: bytes, parent: int) -> None:
    """Remove our own files, the lock last, and the directory."""
    for ours in (_PROBE, _PLACES, _LOCK):
        with suppress(FileNotFoundError):
            files.unlink(ours, fd)
    files.rmdir(name, parent)


def _of_kind(places: bytes, kind: bytes) -> list[bytes]:
    return [record[1:] for record in places.split(b"\0") if record[:1] == kind]


def _read_places(files: Files, fd: int) -> bytes:
    """Return the places noted, without a last one that was cut short."""
    try:
        places = files.open(_PLACES, os.O_RDONLY | NO_FOLLOW, dir_fd=fd)
    except OSError:
        return b""
    try:
        found = files.pread(places, files.fstat(places).st_size, 0)
        return found[: found.rfind(b"\0") + 1]
    except OSError:
        return b""
    finally:
        close_quietly(files, places)
