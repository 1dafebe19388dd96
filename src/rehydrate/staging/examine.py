"""Looks at what stands at the targets before anything is written."""

import enum
import errno
import os
import stat
from collections.abc import Sequence

import attrs

from rehydrate.errors import StagingError, UnsafeTargetError
from rehydrate.ports import Files
from rehydrate.staging.batch import in_the_way
from rehydrate.staging.homes import Homes, Place
from rehydrate.staging.paths import display, is_short_alias
from rehydrate.staging.policy import Policy
from rehydrate.staging.reader import FileReader, open_regular
from rehydrate.staging.root import Parents, blocked
from rehydrate.staging.staged import StagedFiles
from rehydrate.staging.table import FileTable
from rehydrate.values import NO_TIME

__all__ = ["Examined", "Examiner", "Found"]


class Found(enum.IntEnum):
    """What stands at a target."""

    FRESH = 0
    """Nothing."""
    EXISTS_SAME = 1
    """A regular file with the size and the modification time (ns) of the new one."""
    EXISTS_OTHER = 2
    """Something else that a file can replace."""
    BLOCKED = 3
    """Something that a file cannot replace, or no way to get there."""


@attrs.frozen(eq=False)
class Examined:
    """What was found.

    Attributes:
        found: :class:`Found` for each number asked for, in that order.
        errors: Why a file is blocked, by number.
    """

    found: bytearray
    errors: dict[int, StagingError]


class Examiner:
    """Looks at targets, each directory once. Its owner calls one method at a time."""

    def __init__(
        self,
        *,
        table: FileTable,
        staged: StagedFiles,
        parents: Parents,
        homes: Homes,
        policy: Policy,
        files: Files,
    ) -> None:
        """Keep what is needed to look.

        Args:
            table: The files of the job.
            staged: Told which files are staged on another file system.
            parents: Opens directories.
            homes: Knows directories and workspaces.
            policy: The choices of the job.
            files: The file-system calls.
        """
        self._table = table
        self._staged = staged
        self._parents = parents
        self._homes = homes
        self._files = files
        self._portable = policy.portable_names

    def examine(self, numbers: Sequence[int]) -> Examined:
        """Look at the targets of some files.

        Args:
            numbers: The files; those of one directory should be neighbours.
        """
        examined = Examined(bytearray(len(numbers)), {})
        found, errors = examined.found, examined.errors
        paths = self._table.paths
        main = self._homes.main.device
        current: bytes | None = None
        place, fd = self._enter(b"")
        for index, number in enumerate(numbers):
            path = paths[number]
            parent, _, name = path.rpartition(b"/")
            if parent != current:
                place, fd = self._enter(parent)
                current = parent
            try:
                if place.cause is not None:
                    raise blocked(place.cause, place.nearest, file=path) from place.cause
                if place.device != main:
                    self._staged.homes[number] = self._homes.workspace(place)
                if place.exists:
                    found[index] = self._classify(number, name, fd)
            except StagingError as error:
                found[index] = Found.BLOCKED
                errors[number] = error
        return examined

    def _enter(self, directory: bytes) -> tuple[Place, int]:
        place = self._homes.look(directory, self._parents)
        try:
            return place, self._parents.find(directory) if place.exists else -1
        except OSError as cause:
            return place._replace(cause=cause, nearest=directory), -1

    def _classify(self, number: int, name: bytes, fd: int) -> Found:
        path = self._table.paths[number]
        try:
            there = self._files.lstat(name, fd)
        except FileNotFoundError:
            return Found.FRESH
        except OSError as cause:
            raise blocked(cause, path.rpartition(b"/")[0], file=path) from cause
        if stat.S_ISDIR(there.st_mode):
            directory = IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            raise in_the_way(directory, path, "file")
        if self._portable and is_short_alias(name):
            raise UnsafeTargetError(
                f"{display(path)!r} exists and may be the short name of another file;"
                " remove it or choose another target",
                code="name.alias",
                file=display(path),
            )
        if (
            stat.S_ISREG(there.st_mode)
            and there.st_size == self._staged.sizes[number]
            and there.st_mtime_ns == self._staged.mtimes[number] != NO_TIME
        ):
            return Found.EXISTS_SAME
        return Found.EXISTS_OTHER

    def open_target(self, number: int) -> FileReader | None:
        """Open what stands at a target.

        Args:
            number: The file.

        Returns:
            A reader; ``None`` if it is no regular file of the right size or cannot be read.
        """
        parent, _, name = self._table.paths[number].rpartition(b"/")
        try:
            return open_regular(
                self._files, name, self._parents.find(parent), size=self._staged.sizes[number]
            )
        except OSError:
            return None
