"""Writing one container: records, commits, syncs.

A writer never reads and never goes back. Nothing it wrote counts before :meth:`commit` and
:meth:`sync` have both returned.
"""

import os
from concurrent.futures import Executor, Future, wait
from typing import Final

import attrs
from blake3 import blake3

from rehydrate.errors import DurabilityError, PublishError
from rehydrate.formats.native.catalogue import ContainerState
from rehydrate.formats.native.chain import ChainState
from rehydrate.formats.native.container import (
    Commit,
    ContainerHeader,
    container_name,
    container_path,
    encode_commit,
    encode_header,
)
from rehydrate.formats.native.layout import (
    COMPRESSION_NONE,
    RECORD_SIZE,
    align,
)
from rehydrate.formats.native.record import encode_record
from rehydrate.ports import Files
from rehydrate.values import ReadableBuffer

__all__ = ["ContainerWriter", "RecordPlace", "create_container", "sync", "write_all"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FLAGS: Final = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_BUFFER: Final = 1 << 20


@attrs.frozen
class RecordPlace:
    """Where a record was put; the first fields of a map row."""

    container: int
    generation: int
    offset: int
    local_id: int
    length: int


def write_all(files: Files, fd: int, data: ReadableBuffer, offset: int) -> None:
    """Write everything at ``offset``, however few bytes a call takes.

    Raises:
        PublishError: A call failed, or took nothing.
    """
    view = memoryview(data)
    while view:
        try:
            done = files.pwrite(fd, view, offset)
        except OSError as error:
            raise PublishError.of(error, "write to the store") from error
        if done <= 0:
            raise PublishError("the store takes no more bytes")
        view, offset = view[done:], offset + done


def sync(files: Files, fd: int, what: str) -> None:
    """Sync a file or a directory.

    Raises:
        DurabilityError: It failed; what was written since the last sync may be lost.
    """
    try:
        files.fsync(fd)
    except OSError as error:
        raise DurabilityError(f"cannot sync {what}: {error.strerror}") from error


def create_container(files: Files, folder_fd: int, header: ContainerHeader) -> int:
    """Create the file of a container with its header, and make both survive.

    Args:
        files: File-system calls.
        folder_fd: Folder of its kind.
        header: What it says.

    Returns:
        A descriptor for writing.

    Raises:
        PublishError: A call failed.
        DurabilityError: A sync failed.
    """
    name = container_name(header.container, header.generation)
    try:
        fd = files.open(os.fsencode(name), _NEW | _FLAGS, 0o644, dir_fd=folder_fd)
    except OSError as error:
        raise PublishError.of(error, f"create container {name}") from error
    try:
        write_all(files, fd, encode_header(header), 0)
        sync(files, fd, name)
        sync(files, folder_fd, f"the folder of {name}")
    except BaseException as error:
        files.close(fd)
        if isinstance(error, DurabilityError):
            error.at(container=container_path(header.kind, header.container, header.generation))
        raise
    return fd


class ContainerWriter:
    """Appends to one container; belongs to one thread."""

    def __init__(
        self,
        files: Files,
        fd: int,
        header: ContainerHeader,
        state: ChainState | None = None,
        *,
        background: Executor | None = None,
    ) -> None:
        """Go on behind a commit.

        Args:
            files: File-system calls.
            fd: Descriptor for writing; the writer closes it.
            header: Header of the container.
            state: The last commit; ``None`` for a new container.
            background: Does the writing while the caller goes on; ``None`` = the caller does.
        """
        self._background = background
        self._writing: Future[None] | None = None
        self._files = files
        self._fd = fd
        self.header = header
        self.state = ChainState() if state is None else state
        self.synced = self.state
        # One buffer is filled while the other is written; fresh ones would cost a page fault a page.
        self._buffers = [memoryview(bytearray(_BUFFER)), memoryview(bytearray(_BUFFER))]
        self._used = 0
        self._flushed = self.state.end
        self._end = self.state.end
        self._records = self.state.records
        self._headers = blake3()
        self._place = header.place(0)

    @property
    def path(self) -> str:
        """Store path of the container."""
        return container_path(self.header.kind, self.header.container, self.header.generation)

    @property
    def end(self) -> int:
        """Where the next record goes."""
        return self._end

    @property
    def full(self) -> bool:
        """Whether the container has reached its capacity."""
        return self._end >= self.header.capacity

    @property
    def dirty(self) -> bool:
        """Whether there are records behind the last commit."""
        return self._end != self.state.end

    def append(
        self,
        kind: int,
        stored: ReadableBuffer,
        *,
        logical_size: int,
        digest: bytes,
        compression: int = COMPRESSION_NONE,
    ) -> RecordPlace:
        """Append a record.

        Args:
            kind: Kind of record.
            stored: Payload as stored; copied.
            logical_size: Size before compression, bytes.
            digest: BLAKE3 of the bytes before compression.
            compression: How ``stored`` was made.

        Returns:
            Where it stands.
        """
        offset = self._end
        self._records += 1
        header = encode_record(
            self._place.at(offset),
            kind,
            self._records,
            stored,
            logical_size=logical_size,
            digest=digest,
            compression=compression,
        )
        self._headers.update(header)
        length = RECORD_SIZE + len(memoryview(stored))
        self._put(header, stored, align(length) - length)
        self._end = offset + align(length)
        return RecordPlace(
            self.header.container, self.header.generation, offset, self._records, length
        )

    def _put(self, header: bytes, stored: ReadableBuffer, padding: int) -> None:
        data = memoryview(stored).cast("B")
        length = len(header) + len(data) + padding
        if self._used + length > _BUFFER:
            self.flush()
        if length > _BUFFER:
            self._wait()
            write_all(
                self._files, self._fd, b"".join((header, data, bytes(padding))), self._flushed
            )
            self._flushed += length
            return
        buffer, start = self._buffers[0], self._used
        middle = start + len(header)
        end = middle + len(data)
        buffer[start:middle] = header
        buffer[middle:end] = data
        buffer[end : end + padding] = bytes(padding)
        self._used = end + padding

    def flush(self) -> None:
        """Hand over everything for writing.

        Raises:
            PublishError: A write failed, this or the one before.
        """
        if not self._used:
            return
        self._wait()
        data, offset = self._buffers[0][: self._used], self._flushed
        self._buffers.reverse()
        self._flushed += self._used
        self._used = 0
        if self._background is None:
            write_all(self._files, self._fd, data, offset)
        else:
            self._writing = self._background.submit(write_all, self._files, self._fd, data, offset)

    def _wait(self) -> None:
        """Wait for the write under way; its failure is raised here."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def commit(self) -> None:
        """Write a commit record if anything came since the last one; sealed if full.

        Raises:
            PublishError: A write failed.
        """
        if not self.dirty:
            return
        header = self.header
        offset = self._end
        record = encode_commit(
            self._place.at(offset),
            Commit(
                store=header.store,
                container=header.container,
                generation=header.generation,
                sequence=self.state.sequence + 1,
                valid_length=0,
                records=self._records,
                previous=self.state.previous,
                digest=self._headers.digest(),
                sealed=self.full,
            ),
        )
        self._put(record, b"", 0)
        self._end += len(record)
        self.flush()
        self._wait()
        self.state = ChainState(
            self._end,
            self.state.sequence + 1,
            self._records,
            offset,
            self._headers.digest(),
            self.full,
        )
        self._headers = blake3()

    def sync(self) -> None:
        """Make everything up to the last commit survive.

        Raises:
            DurabilityError: It failed: the container was cut back to the last synced commit and
                must not be appended to any more.
        """
        if self.synced is self.state:
            return
        try:
            sync(self._files, self._fd, self.path)
        except DurabilityError as error:
            self._cut_back()
            error.at(container=self.path)
            raise
        self.synced = self.state

    def _cut_back(self) -> None:
        """Throw unproven pages away; if that fails too, the caller hears of the sync anyway."""
        try:
            self._files.ftruncate(self._fd, self.synced.end)
        except OSError as error:
            raise PublishError.of(error, f"cut {self.path} after a failed sync") from error

    def described(self) -> ContainerState:
        """Return the last commit as manifests name it."""
        return ContainerState(
            kind=self.header.kind,
            container=self.header.container,
            generation=self.header.generation,
            valid_length=self.state.end,
            sequence=self.state.sequence,
            digest=self.state.digest.hex(),
        )

    def close(self) -> None:
        """Close the descriptor; a write under way is waited for, what becomes of it is not asked."""
        if self._writing is not None:
            wait([self._writing])
        self._files.close(self._fd)
