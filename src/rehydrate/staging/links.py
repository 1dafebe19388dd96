"""Makes symbolic links and further names of restored files, after all files are in place.

A link is made in the workspace, where nobody can put anything in its way, looked at there, and then
renamed to its target like a file. A rename between two names of one inode succeeds and does
nothing, so the name in the workspace is removed after every hard link.
"""

import enum
import errno
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from rehydrate.errors import RestoreError, StagingError, TargetChangedError
from rehydrate.ports import Files
from rehydrate.requests import Overwrite
from rehydrate.staging.batch import in_the_way
from rehydrate.staging.homes import Homes
from rehydrate.staging.metadata import MetadataWriter
from rehydrate.staging.paths import display
from rehydrate.staging.policy import Policy
from rehydrate.staging.root import Parents, blocked
from rehydrate.staging.staged import FIRST, StagedFiles
from rehydrate.staging.table import Attributes, FileTable
from rehydrate.staging.workspace import Workspace
from rehydrate.values import NO_TIME

__all__ = ["Linked", "Linker", "Outcome"]


class Outcome(enum.IntEnum):
    """What became of a link or a directory."""

    MADE = 0
    """It is there, new."""
    SAME = 1
    """It was there already."""
    EXISTS = 2
    """Something else stands there, and the policy is to leave it."""


class Linked(NamedTuple):
    """What became of a link.

    Attributes:
        outcome: See :class:`Outcome`.
        error: Which metadata could not be set, or ``None``.
        lost: Names of that metadata.
    """

    outcome: Outcome
    error: RestoreError | None = None
    lost: tuple[str, ...] = ()


class Linker:
    """Makes links. Its owner calls one method at a time."""

    def __init__(
        self,
        *,
        table: FileTable,
        staged: StagedFiles,
        parents: Parents,
        homes: Homes,
        metadata: MetadataWriter,
        policy: Policy,
        files: Files,
    ) -> None:
        """Keep what is needed.

        Args:
            table: The files of the job.
            staged: Knows the files that get further names.
            parents: Finds and makes directories.
            homes: The workspaces.
            metadata: Sets owner and time of symbolic links.
            policy: The choices of the job.
            files: The file-system calls.
        """
        self._table = table
        self._staged = staged
        self._parents = parents
        self._homes = homes
        self._metadata = metadata
        self._files = files
        self._overwrite = policy.overwrite
        self._made = 0

    def symlink(self, path: bytes, text: bytes, wanted: Attributes) -> Linked:
        """Make a symbolic link.

        Args:
            path: Where.
            text: What it says.
            wanted: Its owner and time.

        Raises:
            StagingError: It could not be made; what stood there is intact.
        """
        directory, _, name = path.rpartition(b"/")
        workspace, parent = self._enter(directory, path)
        try:
            there = self._lstat(name, parent)
            outcome = self._compare_symlink(there, name, parent, text, wanted.mtime_ns)
            if outcome is not Outcome.MADE:
                return Linked(outcome)
            temporary = self._temporary()
            self._files.symlink(text, temporary, workspace.fd)
            lost = self._metadata.apply_to_link(temporary, wanted, workspace.fd, display(path))
            self._put(workspace, temporary, name, parent)
        except OSError as cause:
            raise in_the_way(cause, path, "link") from cause
        self._parents.unsynced.add(directory)
        return (
            Linked(Outcome.MADE) if lost is None else Linked(Outcome.MADE, lost.error, lost.names)
        )

    def hard_link(self, first: int, path: bytes) -> Linked:
        """Give a published file a further name.

        Args:
            first: The file.
            path: The further name.

        Raises:
            TargetChangedError: What stands at the first name is not the file.
            StagingError: The link could not be made; what stood at ``path`` is intact.
        """
        directory, _, name = path.rpartition(b"/")
        workspace, parent = self._enter(directory, path)
        temporary = self._temporary()
        try:
            self._link(first, temporary, workspace)
            try:
                made = self._files.lstat(temporary, workspace.fd)
                there = self._lstat(name, parent := self._parents.find(directory))
                if there is not None:
                    if (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino):
                        return Linked(Outcome.SAME)
                    if self._overwrite is Overwrite.NEVER:
                        return Linked(Outcome.EXISTS)
                self._put(workspace, temporary, name, parent)
            finally:
                workspace.remove(temporary)
        except OSError as cause:
            raise in_the_way(cause, path, "link") from cause
        self._parents.unsynced.add(directory)
        return Linked(Outcome.MADE)

    def _enter(self, directory: bytes, path: bytes) -> tuple[Workspace, int]:
        place = self._homes.look(directory, self._parents)
        try:
            if place.cause is not None:
                raise place.cause
            return self._homes.workspace(place), self._parents.make(directory)
        except StagingError:
            raise
        except OSError as cause:
            raise blocked(cause, directory, file=path) from cause

    def _temporary(self) -> bytes:
        self._made += 1
        return b"link-%d" % self._made

    def _lstat(self, name: bytes, parent: int) -> os.stat_result | None:
        """Return what stands at a name, or None.

        Raises:
            OSError: It cannot be looked at, or it is a directory.
        """
        try:
            there = self._files.lstat(name, parent)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return there

    def _compare_symlink(
        self, there: os.stat_result | None, name: bytes, parent: int, text: bytes, mtime_ns: int
    ) -> Outcome:
        if there is None or self._overwrite is Overwrite.ALWAYS:
            return Outcome.MADE
        if self._overwrite is Overwrite.NEVER:
            return Outcome.EXISTS
        if (
            stat.S_ISLNK(there.st_mode)
            and there.st_size == len(text)
            and mtime_ns in (NO_TIME, there.st_mtime_ns)
            and self._files.readlink(name, parent) == text
        ):
            return Outcome.SAME
        return Outcome.MADE

    def _link(self, first: int, temporary: bytes, workspace: Workspace) -> None:
        """Make a further name of a restored file in the workspace, and make sure that it is one."""
        table, staged, files = self._table, self._staged, self._files
        if first in staged.firsts:
            folder = staged.directory(first)
            name = table.staged_name(first) + FIRST
            files.link(name, temporary, src_dir_fd=folder, dst_dir_fd=workspace.fd)
            return
        # Skipped as the same, or published by an earlier run.
        directory, _, name = table.paths[first].rpartition(b"/")
        parent = self._parents.find(directory)
        files.link(name, temporary, src_dir_fd=parent, dst_dir_fd=workspace.fd)
        made = files.lstat(temporary, workspace.fd)
        if stat.S_ISREG(made.st_mode) and made.st_size == staged.sizes[first]:
            return
        workspace.remove(temporary)
        label = table.label(first)
        raise TargetChangedError(
            f"{label!r} is not the file that was restored there; restore it again",
            file=label,
            retryable=True,
        )

    def _put(self, workspace: Workspace, temporary: bytes, name: bytes, parent: int) -> None:
        rename = (
            self._files.rename_new if self._overwrite is Overwrite.NEVER else self._files.rename
        )
        try:
            rename(temporary, name, src_dir_fd=workspace.fd, dst_dir_fd=parent)
        except OSError:
            with suppress(OSError):
                workspace.remove(temporary)
            raise
