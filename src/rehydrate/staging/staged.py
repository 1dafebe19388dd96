"""Staged files: their names, the writing of small ones in one go, the queue of complete ones.

A staged file lies in the workspace under a name made of its key. Bytes come here verified; a file
that is complete, with its metadata on it, goes to the queue of those that wait to be published.
What a failed write of a small file leaves behind is removed.
"""

import errno
import threading
from binascii import hexlify
from collections import deque
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.errors import DurabilityError, PublishError, StagingError
from rehydrate.ports import Files
from rehydrate.requests import Durability
from rehydrate.staging.descriptors import close_quietly
from rehydrate.staging.hints import SUFFIX
from rehydrate.staging.metadata import SPECIAL_BITS, Lost, MetadataWriter
from rehydrate.staging.policy import Policy
from rehydrate.staging.reader import FileReader, open_regular
from rehydrate.staging.table import FileTable, Numbers
from rehydrate.staging.workspace import CREATE, Identity, Workspace
from rehydrate.values import NO_MODE, NO_OWNER, NO_TIME, ReadableBuffer

__all__ = ["DEFAULT_FILE_MODE", "FIRST", "PRIVATE", "SYNC_TOGETHER_FROM", "StagedFiles"]

DEFAULT_FILE_MODE: Final = 0o666
FIRST: Final = b".first"
"""Ends the second name of a staged file that gets further names."""
PRIVATE: Final = 0o600
SYNC_TOGETHER_FROM: Final = 32
"""Files from which one sync of the file system beats a sync of each."""
# Descriptors kept for the sync of each file: they hear of every write error since their opening.
_KEEP_OPEN: Final = {
    Durability.NONE: 0,
    Durability.BATCH: SYNC_TOGETHER_FROM - 1,
    Durability.FULL: 256,
}


class StagedFiles:
    """The staged files of one job; safe for several threads, one at a time for each file.

    Attributes:
        ready: Numbers of complete files, oldest first; the publisher takes them from the left.
        ready_bytes: Bytes of the large ones among them.
        kept_open: Descriptors of complete files that are still to be synced, by number.
        lost: Metadata that could not be set, by number.
        firsts: Files that get further names and have a second one in the workspace for that.
        homes: Workspaces of files whose directory is on another file system, by number.
        sizes: Size of each file, as plain numbers.
        mtimes: Modification time of each file (ns), as plain numbers.
    """

    def __init__(
        self,
        *,
        table: FileTable,
        workspace: Workspace,
        metadata: MetadataWriter,
        identity: Identity,
        policy: Policy,
        files: Files,
    ) -> None:
        """Prepare the columns; nothing is written yet.

        Args:
            table: The files.
            workspace: Where they are staged.
            metadata: Puts metadata on those that need more than a mode and a time.
            identity: What a new file gets by itself.
            policy: The choices of the job.
            files: The file-system calls.
        """
        self._table = table
        self._metadata = metadata
        self._files = files
        self._keep_open = _KEEP_OPEN[policy.durability]
        self.ready: deque[int] = deque()
        self.ready_bytes = 0
        self._count = threading.Lock()
        self.kept_open: dict[int, int] = {}
        self.lost: dict[int, Lost] = {}
        self.firsts: set[int] = set()
        self.homes: dict[int, Workspace] = {}
        self.sizes = np.ascontiguousarray(table.size, np.int64).data
        self.mtimes = np.ascontiguousarray(table.mtime_ns, np.int64).data
        # For the hot path: columns that give plain ints, and bound methods.
        plain, modes = _plain_files(table, identity)
        self._plain = plain.tobytes()
        self._modes = modes.data
        self._keys = table.keys
        self._dir = workspace.fd
        self._open = files.open
        self._pwrite = files.pwrite
        self._futime = files.futime
        self._close = files.close
        self._enqueue = self.ready.append

    # Runs once for each small file: a call more here is a second more per hundred thousand files.
    def write_whole(self, number: int, data: ReadableBuffer) -> None:
        """Write a file that comes in one piece, with its metadata, and queue it.

        Args:
            number: The file.
            data: All its bytes.

        Raises:
            StagingError: It could not be written; nothing of it is left.
        """
        fd = -1
        try:
            name = hexlify(self._keys[number])
            folder = self.directory(number) if self.homes else self._dir
            try:
                fd = self._open(name, CREATE, self._modes[number], dir_fd=folder)
            except FileExistsError:  # of an earlier run, and nobody took it over
                self.remove(number)
                fd = self._open(name, CREATE, self._modes[number], dir_fd=folder)
            if self._pwrite(fd, data, 0) != self.sizes[number]:
                self._write_again(fd, number, data)
            if self._plain[number]:
                mtime = self.mtimes[number]
                self._futime(fd, mtime, mtime)
            else:
                self.dress(number, fd)
            if len(self.kept_open) < self._keep_open:
                self.kept_open[number] = fd
            else:
                done, fd = fd, -1
                self._close(done)
        except BaseException as cause:
            self.clear_away(number, fd)
            if isinstance(cause, OSError) and not isinstance(cause, StagingError):
                raise self.failed(cause, number, "write the staged file") from cause
            raise
        self._enqueue(number)

    def _write_again(self, fd: int, number: int, data: ReadableBuffer) -> None:
        """Tell a wrong size from a short write; after the latter write all of it."""
        view = memoryview(data).cast("B")
        if len(view) != self.sizes[number]:
            raise PublishError(
                f"the file has {self.sizes[number]} bytes, but {len(view)} came",
                code="fs.size",
                file=self._table.label(number),
            )
        self.write_on(fd, view, 0, 0)

    def write_on(self, fd: int, view: memoryview, offset: int, done: int) -> None:
        """Go on after a short write.

        Args:
            fd: The file.
            view: All bytes, one an item.
            offset: Where they begin in the file.
            done: How many of them are written.

        Raises:
            OSError: They cannot be written.
        """
        while done < len(view):
            count = self._pwrite(fd, view[done:], offset + done)
            if count <= 0:
                raise OSError(errno.EIO, "the file system wrote nothing")
            done += count

    def dress(self, number: int, fd: int) -> None:
        """Put the metadata on a complete file; what it lacks goes to :attr:`lost`.

        A file that gets further names is given one in the workspace now: from there nobody else
        can take it away. Comparing inode numbers later would prove nothing, they are used again.
        """
        table = self._table
        if number in table.linked:
            self._name_again(number)
        wanted = table.attributes(number)
        label = table.label(number)
        lost = self._metadata.apply(fd, wanted, default_mode=DEFAULT_FILE_MODE, label=label)
        if lost is not None:
            self.lost[number] = lost

    def _name_again(self, number: int) -> None:
        name, folder = self._table.staged_name(number), self.directory(number)
        with suppress(OSError):  # a file system without hard links, for one
            with suppress(FileNotFoundError):
                self._files.unlink(name + FIRST, folder)
            self._files.link(name, name + FIRST, src_dir_fd=folder, dst_dir_fd=folder)
            self.firsts.add(number)

    def complete(self, number: int, fd: int) -> None:
        """Queue a large file that is complete.

        Args:
            number: The file.
            fd: Its descriptor; closed here or kept until the sync.

        Raises:
            DurabilityError: Closing it reported a failed write; it is removed.
        """
        if len(self.kept_open) < self._keep_open:
            self.kept_open[number] = fd
        else:
            try:
                self._close(fd)
            except OSError as cause:
                self.clear_away(number, -1)
                raise self.not_durable(number, cause) from cause
        with self._count:
            self.ready_bytes += self.sizes[number]
        self._enqueue(number)

    def take_ready(self) -> list[int]:
        """Return the numbers in :attr:`ready` and empty it."""
        with self._count:
            self.ready_bytes = 0
        return [self.ready.popleft() for _ in range(len(self.ready))]

    def read_back(self, number: int) -> FileReader:
        """Open a complete file that is still staged.

        Raises:
            PublishError: It cannot be opened, or has the wrong size.
        """
        name, folder = self._table.staged_name(number), self.directory(number)
        try:
            reader = open_regular(self._files, name, folder, size=self.sizes[number])
        except OSError as cause:
            raise self.failed(cause, number, "open the staged file again") from cause
        if reader is None:
            raise PublishError("the staged file was changed", file=self._table.label(number))
        return reader

    def discard(self, number: int) -> None:
        """Remove a complete file; no fault if there is none.

        Args:
            number: The file; it does not wait to be published any more.
        """
        with suppress(ValueError):
            self.ready.remove(number)
        self.lost.pop(number, None)
        self.firsts.discard(number)
        self.clear_away(number, self.kept_open.pop(number, -1))

    def close(self) -> None:
        """Close every descriptor and remove the names that were for further names only."""
        for number in self.firsts:
            with suppress(OSError):
                name = self._table.staged_name(number) + FIRST
                self._files.unlink(name, self.directory(number))
        self.firsts.clear()
        close_quietly(self._files, *self.kept_open.values())
        self.kept_open.clear()

    def directory(self, number: int) -> int:
        """Return the descriptor of the workspace that the file is staged in."""
        return self.homes[number].fd if number in self.homes else self._dir

    def remove(self, number: int) -> None:
        """Remove what stands at the staged name; no fault if there is nothing.

        Raises:
            OSError: It cannot be removed.
        """
        with suppress(FileNotFoundError):
            self._files.unlink(self._table.staged_name(number), self.directory(number))

    def clear_away(self, number: int, fd: int) -> None:
        """Close a staged file (-1: it is closed) and remove it with its hint, as far as it goes."""
        close_quietly(self._files, fd)
        name, folder = self._table.staged_name(number), self.directory(number)
        for one in (name, name + SUFFIX, *([name + FIRST] if number in self._table.linked else [])):
            with suppress(OSError):
                self._files.unlink(one, folder)

    def failed(self, cause: OSError, number: int, doing: str) -> PublishError:
        """Return the error to raise for a failed call."""
        return PublishError.of(cause, doing, file=self._table.label(number))

    def not_durable(self, number: int, cause: OSError | None = None) -> DurabilityError:
        """Return the error of a file whose bytes may not have reached the disk."""
        reason = "a write to the disk failed" if cause is None else f"cannot sync: {cause.strerror}"
        label = self._table.label(number)
        return DurabilityError(f"{reason}; its staged file was removed", file=label, retryable=True)


def _plain_files(table: FileTable, identity: Identity) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Find the files that need nothing but the mode at creation and a time.

    Returns:
        Which files those are, and the mode to create each file with.
    """
    mode = np.asarray(table.mode, np.uint32)
    known = mode != NO_MODE
    wanted = np.where(known, mode & np.uint32(0o777), np.uint32(DEFAULT_FILE_MODE))
    plain = np.asarray(table.mtime_ns, np.int64) != NO_TIME
    plain &= ~known | (wanted & np.uint32(identity.umask) == 0)
    plain &= ~known | (mode & np.uint32(SPECIAL_BITS) == 0)
    for column, own in ((table.uid, identity.uid), (table.gid, identity.gid)):
        owner = np.asarray(column, np.uint32)
        plain &= (owner == NO_OWNER) | (owner == own)
    plain[[*table.xattrs, *table.linked]] = False
    create = np.where(plain, wanted, np.uint32(PRIVATE)).astype(np.uint32)
    return plain, create
