"""Writes large files piece by piece, from any thread and in any order.

What a failure leaves behind is kept for the next run, with a hint where to look, unless its bytes
may not be on the disk.
"""

from collections.abc import Sequence
from contextlib import suppress

from rehydrate.errors import StagingError
from rehydrate.ports import Files
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.hints import SUFFIX, merged, write_hint
from rehydrate.staging.large_files import LargeFile, LargeFiles, PutAway
from rehydrate.staging.policy import Policy
from rehydrate.staging.staged import PRIVATE, StagedFiles
from rehydrate.staging.table import FileTable
from rehydrate.staging.workspace import CREATE
from rehydrate.values import ReadableBuffer

__all__ = ["Pieces", "Ranges"]

Ranges = Sequence[tuple[int, int]]
"""Half-open ranges of a file, ``(begin, end)``, sorted and apart."""


class Pieces:
    """The files of a job that come in pieces.

    Attributes:
        large: Their state and descriptors.
    """

    def __init__(
        self, *, table: FileTable, staged: StagedFiles, policy: Policy, files: Files
    ) -> None:
        """Keep what is needed.

        Args:
            table: The files of the job.
            staged: Takes those that are complete.
            policy: The choices of the job.
            files: The file-system calls.
        """
        self._table = table
        self._staged = staged
        self._files = files
        self._sparse = policy.sparse
        self._checkpoint = policy.checkpoint_bytes
        self._pwrite = files.pwrite
        self.large = LargeFiles(files, policy.max_open_files)

    def allocate(self, number: int, *, holes: Ranges, zeros: Ranges) -> None:
        """Create the staged file and get its space.

        Args:
            number: The file.
            holes: Ranges that are never written and stay unallocated.
            zeros: Ranges that are never written and read as zeros.

        Raises:
            NoSpaceError: The target is full; what was allocated is given back.
            StagingError: The file could not be made.
        """
        staged = self._staged
        name, folder = self._table.staged_name(number), staged.directory(number)
        fd = -1
        try:
            staged.remove(number)
            fd = self._files.open(name, CREATE, PRIVATE, dir_fd=folder)
            self.lay_out(fd, number, holes=holes, zeros=zeros)
        except BaseException as cause:
            if fd >= 0:
                with suppress(OSError):  # a failed allocation keeps what it got
                    self._files.ftruncate(fd, 0)
            staged.clear_away(number, fd)
            if isinstance(cause, OSError):
                raise staged.failed(cause, number, "allocate the staged file") from cause
            raise
        self.large.add(LargeFile(number, name, folder, fd))

    def lay_out(self, fd: int, number: int, *, holes: Ranges, zeros: Ranges) -> None:
        """Set the size of an open staged file and allocate what is to be allocated.

        Raises:
            OSError: No room, or the like.
        """
        size = self._staged.sizes[number]
        self._files.ftruncate(fd, size)
        at = 0
        for begin, end in sorted([*holes, *zeros]) if self._sparse else holes:
            if begin > at:
                self._files.fallocate(fd, at, begin - at)
            at = end
        if size > at:
            self._files.fallocate(fd, at, size - at)

    def write_at(self, number: int, offset: int, data: ReadableBuffer) -> None:
        """Write a piece.

        Args:
            number: The file.
            offset: Where the piece begins in the file.
            data: The piece.

        Raises:
            StagingError: It could not be written; what is staged stays.
        """
        large = self._borrow(number)
        view = memoryview(data)
        size = view.nbytes
        try:
            done = self._pwrite(large.fd, data, offset)
            if done != size:
                self._staged.write_on(large.fd, view.cast("B"), offset, done)
        except BaseException as cause:
            self.give_back(large)
            if isinstance(cause, OSError):
                error = self._staged.failed(cause, number, "write the staged file")
                error.resumable = True
                raise error from cause
            raise
        due = self.large.note(large, offset, offset + size, self._checkpoint)
        if due:
            self._hint(large)
        self.give_back(large)

    def finish(self, number: int) -> None:
        """Put the metadata on a file that has all its bytes, and queue it.

        Args:
            number: The file; it was allocated or taken over from an earlier run.

        Raises:
            DurabilityError: A write error was reported that may be its own; it is removed.
            StagingError: Its descriptor could not be opened again; it stays staged.
        """
        staged = self._staged
        large = self._borrow(number)
        try:
            staged.dress(number, large.fd)
        except BaseException:
            self.give_back(large)
            raise
        self.large.remove(number)
        if large.poisoned:
            staged.clear_away(number, large.fd)
            raise staged.not_durable(number)
        if large.hinted:
            with suppress(OSError):
                self._files.unlink(large.name + SUFFIX, large.dir_fd)
        staged.complete(number, large.fd)

    def keep(self, number: int) -> None:
        """Stop writing a file and leave what is there for a later run.

        Args:
            number: The file; nothing happens if it is not being written.
        """
        self._stop(number, self._leave)

    def discard(self, number: int) -> None:
        """Stop writing a file and remove it.

        Args:
            number: The file; nothing happens if it is not being written.
        """
        self._stop(number, self._drop)

    def close(self) -> None:
        """Close every descriptor; files that are being written get a last hint."""
        for number in self.large.numbers():
            self.keep(number)

    def give_back(self, large: LargeFile) -> None:
        """End a borrowing; the last one to have a file that was stopped puts it away."""
        last = self.large.give_back(large)
        if last is not None:
            last(large)

    def _borrow(self, number: int) -> LargeFile:
        try:
            return self.large.borrow(number)
        except KeyError:
            raise StagingError(
                "the file is not being written (any more)",
                code="fs.state",
                file=self._table.label(number),
            ) from None
        except OSError as cause:
            raise self._staged.failed(cause, number, "open the staged file again") from cause

    def _stop(self, number: int, put_away: PutAway) -> None:
        large = self.large.stop(number, put_away)
        if large is not None:
            put_away(large)

    def _hint(self, large: LargeFile) -> None:
        large.hinted = True
        write_hint(self._files, large.dir_fd, large.name, large.fd, merged(large.ranges))

    def _leave(self, large: LargeFile) -> None:
        if large.poisoned:
            self._drop(large)
        elif large.fd >= 0:
            self._hint(large)
            close_quietly(self._files, large.fd)

    def _drop(self, large: LargeFile) -> None:
        self._staged.clear_away(large.number, large.fd)
