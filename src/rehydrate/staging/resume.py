"""Takes over what an earlier run of the job left staged.

Nothing found is trusted. A staged file counts as a file of ours only if it is regular, has one
name, belongs to us and has the right size; it is then synced, so that a write error of the earlier
run shows, and its cache is dropped, so that what is read comes from the disk. Which of its bytes
are right only the engine can tell, by hashing them. Everything else in the workspace is removed.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import attrs

from rehydrate.errors import PublishError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.hints import SUFFIX, data_ranges, merged, read_hint
from rehydrate.staging.homes import Homes
from rehydrate.staging.large_files import LargeFile
from rehydrate.staging.pieces import Pieces, Ranges
from rehydrate.staging.reader import read_fully
from rehydrate.staging.staged import StagedFiles
from rehydrate.staging.table import FileTable
from rehydrate.staging.workspace import NO_FOLLOW, Workspace, effective_user
from rehydrate.values import NO_OWNER

__all__ = ["Resume", "StagedLeftover"]

_FLAGS: Final = getattr(os, "O_NONBLOCK", 0) | NO_FOLLOW
_PIECE: Final = 1 << 20


@attrs.frozen(eq=False)
class StagedLeftover:
    """A staged file of an earlier run.

    Attributes:
        number: The file.
        size: Its size in bytes; that of the new file.
        ranges: Where bytes may have been written: half-open, sorted, apart. All else is missing.
    """

    number: int
    size: int
    ranges: tuple[tuple[int, int], ...]
    _pieces: Pieces
    _files: Files

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, from the disk; fewer at the end of the file.

        Raises:
            PublishError: They cannot be read; the file is good for nothing then.
        """
        try:
            large = self._pieces.large.borrow(self.number)
            try:
                return read_fully(self._files, large.fd, offset, size)
            finally:
                self._pieces.give_back(large)
        except OSError as cause:
            raise PublishError.of(cause, "read the staged file back") from cause


class Resume:
    """Finds, takes over and removes leftovers. Its owner calls one method at a time."""

    def __init__(
        self,
        *,
        table: FileTable,
        staged: StagedFiles,
        pieces: Pieces,
        homes: Homes,
        files: Files,
    ) -> None:
        """Keep what is needed.

        Args:
            table: The files of the job.
            staged: Knows where files are staged.
            pieces: Where leftovers go on growing.
            homes: The workspaces.
            files: The file-system calls.
        """
        self._table = table
        self._staged = staged
        self._pieces = pieces
        self._homes = homes
        self._files = files

    def find(self) -> Mapping[int, StagedLeftover]:
        """Return the usable staged files by number; remove all others."""
        found: dict[int, StagedLeftover] = {}
        workspaces = [workspace for workspace in self._homes.all() if workspace.leftovers]
        if not workspaces:
            return found
        table = self._table
        numbers = {table.staged_name(number): number for number in range(len(table))}
        for workspace in workspaces:
            names = [os.fsencode(name) for name in workspace.leftovers]
            workspace.leftovers = ()
            self._find_in(workspace, names, numbers, found)
        return found

    def _find_in(
        self,
        workspace: Workspace,
        names: list[bytes],
        numbers: Mapping[bytes, int],
        found: dict[int, StagedLeftover],
    ) -> None:
        useful = set()
        # Other names go first: a further name of a staged file must not count against it.
        for name in sorted(names, key=numbers.__contains__):
            if name in numbers:
                leftover = self._take_over(workspace, name, numbers[name])
                if leftover is None:
                    self._remove(workspace, name)
                else:
                    found[leftover.number] = leftover
                    useful.add(name + SUFFIX)
            elif name.removesuffix(SUFFIX) not in numbers:
                self._remove(workspace, name)
        for name in names:
            if name.endswith(SUFFIX) and name not in useful:
                self._remove(workspace, name)

    def accept(self, number: int, good: Ranges, *, holes: Ranges, zeros: Ranges) -> None:
        """Go on with a leftover.

        Args:
            number: The file.
            good: Ranges whose bytes were found right; the others are going to be written.
            holes: Ranges that are never written and stay unallocated.
            zeros: Ranges that are never written and read as zeros.

        Raises:
            StagingError: It cannot be used and is removed.
        """
        try:
            large = self._pieces.large.borrow(number)
            try:
                for begin, end in merged([*holes, *zeros]):
                    self._empty(large.fd, begin, end)
                self._pieces.lay_out(large.fd, number, holes=holes, zeros=zeros)
                large.ranges = merged(good)
            finally:
                self._pieces.give_back(large)
        except OSError as cause:
            self._pieces.discard(number)
            raise self._staged.failed(cause, number, "go on with the staged file") from cause

    def _take_over(self, workspace: Workspace, name: bytes, number: int) -> StagedLeftover | None:
        files = self._files
        if self._staged.homes.get(number, self._homes.main) is not workspace:
            return None
        fd = -1
        try:
            fd = self._open(workspace.fd, name)
            there = files.fstat(fd)
            size = self._staged.sizes[number]
            owners = {effective_user(), int(self._table.uid[number])} - {NO_OWNER}
            if (
                not stat.S_ISREG(there.st_mode)
                or there.st_uid not in owners
                or there.st_nlink != 1
                or there.st_size != size
            ):
                close_quietly(files, fd)
                return None
            files.fsync(fd)
            with suppress(OSError):
                files.drop_cache(fd)
            hint = read_hint(files, workspace.fd, name, there)
            ranges = data_ranges(files, fd, size) if hint is None else hint
        except OSError:
            close_quietly(files, fd)
            return None
        large = LargeFile(number, name, workspace.fd, fd)
        large.hinted = True  # there may be one that does not fit
        large.ranges = ranges
        self._pieces.large.add(large)
        return StagedLeftover(number, size, tuple(ranges), self._pieces, files)

    def _open(self, dir_fd: int, name: bytes) -> int:
        """Open for reading and writing, also what has its final mode already."""
        try:
            return self._files.open(name, os.O_RDWR | _FLAGS, dir_fd=dir_fd)
        except PermissionError:
            fd = self._files.open(name, os.O_RDONLY | _FLAGS, dir_fd=dir_fd)
        try:
            self._files.fchmod(fd, 0o600)
        finally:
            close_quietly(self._files, fd)
        return self._files.open(name, os.O_RDWR | _FLAGS, dir_fd=dir_fd)

    def _empty(self, fd: int, begin: int, end: int) -> None:
        """Make a range read as zeros, and make sure that it does."""
        self._files.punch_hole(fd, begin, end - begin)
        while begin < end:
            at = self._files.seek_data(fd, begin)
            if at is None or at >= end:
                return
            begin = min(end, max(at + 1, self._files.seek_hole(fd, at)))
            while at < begin:
                piece = read_fully(self._files, fd, at, min(_PIECE, begin - at))
                if not piece or any(piece):
                    raise OSError("there are bytes where none were ever written")
                at += len(piece)

    def _remove(self, workspace: Workspace, name: bytes) -> None:
        with suppress(OSError):
            self._files.unlink(name, workspace.fd)
