"""Puts mode, owner, times and extended attributes on open files and directories.

The order must not change: giving a file away clears setuid bits and capabilities, a user attribute
needs write permission, and the modification time is spoilt by nothing but comes last all the same.
A failure here never costs the file: it is published, and what it lacks is listed.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from rehydrate.errors import PublishError
from rehydrate.ports import Files
from rehydrate.staging.paths import display
from rehydrate.staging.table import Attributes, Xattrs
from rehydrate.staging.workspace import Identity
from rehydrate.values import NO_MODE, NO_OWNER, NO_TIME

__all__ = ["MAX_XATTRS", "MAX_XATTR_BYTES", "SPECIAL_BITS", "Lost", "MetadataWriter"]

MAX_XATTRS: Final = 1024
"""Most extended attributes of one inode."""
MAX_XATTR_BYTES: Final = 1 << 20
"""Most bytes of names and values of one inode."""
SPECIAL_BITS: Final = 0o7000
"""setuid, setgid and sticky: only with ``same_permissions``."""

_OF_NTFS: Final = frozenset(
    b"system.ntfs_" + name for name in (b"acl", b"attrib_be", b"crtime_be", b"times_be", b"ea")
)
"""What ntfs-3g takes for a file of a mounted NTFS volume. Reparse data are not among them: a restored
file is no stub."""
_BIT_NAMES: Final = ((0o4000, "setuid"), (0o2000, "setgid"), (0o1000, "sticky"))


class Lost(NamedTuple):
    """What could not be put on an inode.

    Attributes:
        names: Names of the metadata, such as ``mode`` or ``user.comment``.
        error: The last failure; ``None`` if a policy left it out.
    """

    names: tuple[str, ...]
    error: PublishError | None


class MetadataWriter:
    """Applies metadata under one policy.

    Attributes:
        owners_not_applied: Whether an owner was left alone for want of privilege.
    """

    def __init__(self, files: Files, identity: Identity, *, same_permissions: bool) -> None:
        """Fix the policy.

        Args:
            files: The file-system calls.
            identity: What new files get by themselves.
            same_permissions: Also set setuid, setgid, sticky and ``security.*`` attributes.
        """
        self._files = files
        self._identity = identity
        self._same_permissions = same_permissions
        self.owners_not_applied = False

    def apply(self, fd: int, wanted: Attributes, *, default_mode: int, label: str) -> Lost | None:
        """Put metadata on an open inode.

        Args:
            fd: The inode.
            wanted: Its metadata.
            default_mode: Mode where none is known, before the umask is taken away.
            label: Relative path, for the error.

        Returns:
            What could not be set, or ``None``.
        """
        lost: list[str] = []
        causes: list[OSError] = []

        def attempt(name: str, call: Callable[..., Any], *arguments: object) -> None:
            try:
                call(*arguments)
            except OSError as cause:
                lost.append(name)
                causes.append(cause)

        files = self._files
        uid, gid = self.owner(wanted)
        if (uid, gid) != (-1, -1):
            attempt("owner", files.fchown, fd, uid, gid)
        before, after = self._allowed(wanted.xattrs, lost)
        for name, value in before:
            attempt(display(name), files.fsetxattr, fd, name, value)
        attempt("mode", files.fchmod, fd, self._mode(wanted.mode, default_mode, lost))
        for name, value in after:
            attempt(display(name), files.fsetxattr, fd, name, value)
        if wanted.mtime_ns != NO_TIME:
            attempt("mtime", files.futime, fd, wanted.mtime_ns, wanted.mtime_ns)
        if not lost:
            return None
        if not causes:
            return Lost(tuple(lost), None)
        error = PublishError.of(causes[-1], f"set {', '.join(lost)}", file=label)
        error.code = "fs.metadata"
        error.__cause__ = causes[-1]
        return Lost(tuple(lost), error)

    def apply_to_link(
        self, name: bytes, wanted: Attributes, dir_fd: int, label: str
    ) -> Lost | None:
        """Put owner and time on a symbolic link; it has no mode and takes no attributes from us.

        Args:
            name: The link below ``dir_fd``.
            wanted: Its metadata.
            dir_fd: Descriptor of its directory.
            label: Relative path, for the error.

        Returns:
            What could not be set, or ``None``.
        """
        lost = [display(xattr) for xattr, _ in wanted.xattrs]
        error = None
        doing = "owner"
        try:
            uid, gid = self.owner(wanted)
            if (uid, gid) != (-1, -1):
                self._files.lchown(name, uid, gid, dir_fd)
            doing = "mtime"
            if wanted.mtime_ns != NO_TIME:
                self._files.lutime(name, wanted.mtime_ns, wanted.mtime_ns, dir_fd)
        except OSError as cause:
            lost.append(doing)
            error = PublishError.of(cause, f"set {doing}", file=label)
            error.code = "fs.metadata"
            error.__cause__ = cause
        return Lost(tuple(lost), error) if lost else None

    def owner(self, wanted: Attributes) -> tuple[int, int]:
        """Return the owner and group to set, -1 for what a file has right by itself."""
        me = self._identity
        uid = -1 if wanted.uid in (NO_OWNER, me.uid) else wanted.uid
        gid = -1 if wanted.gid in (NO_OWNER, me.gid) else wanted.gid
        if (uid, gid) != (-1, -1) and not me.privileged:
            self.owners_not_applied = True
            return -1, -1
        return uid, gid

    def _mode(self, mode: int, default: int, lost: list[str]) -> int:
        if mode == NO_MODE:
            return default & ~self._identity.umask
        if self._same_permissions:
            return mode & 0o7777
        lost.extend(name for bit, name in _BIT_NAMES if mode & bit)
        return mode & 0o777

    def _allowed(self, xattrs: Xattrs, lost: list[str]) -> tuple[Xattrs, Xattrs]:
        """Return the attributes to set before the mode, and those that it would spoil."""
        if len(xattrs) > MAX_XATTRS or sum(len(n) + len(v) for n, v in xattrs) > MAX_XATTR_BYTES:
            lost.append("xattrs")
            return (), ()
        prefixes = (b"user.", b"security.") if self._same_permissions else (b"user.",)
        before = tuple(pair for pair in xattrs if pair[0].startswith(prefixes))
        after = tuple(pair for pair in xattrs if pair[0] in _OF_NTFS)
        lost.extend(
            display(name)
            for name, _ in xattrs
            if not (name.startswith(prefixes) or name in _OF_NTFS)
        )
        return before, after
