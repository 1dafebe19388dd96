"""What a store format does for the engine, and how it asks for bytes without doing I/O.

A format interprets stubs, stream maps and records. Where reads depend on bytes just read (repair),
it is a *walk*: a generator that yields the requests of one round and is sent the answers.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Bools, Ints, Rows
from rehydrate.errors import RestoreError
from rehydrate.values import ReadableBuffer, StorePath

__all__ = [
    "DATA",
    "DIRECTORY",
    "FILE",
    "STREAM",
    "SYMLINK",
    "Answer",
    "Limits",
    "ListFolder",
    "Read",
    "RecordDecoder",
    "RecordRef",
    "RecordScanner",
    "Request",
    "Scan",
    "StoreFormat",
    "StubTable",
    "Walk",
]

DATA: Final = "Data"
"""Kind (and folder) of containers that hold file chunks."""
STREAM: Final = "Stream"
"""Kind (and folder) of containers that hold stream maps and the catalogue."""

FILE: Final = 1
DIRECTORY: Final = 2
SYMLINK: Final = 3


@attrs.frozen
class Limits:
    """Largest numbers accepted from a store; see :class:`~rehydrate.RestoreOptions`.

    Attributes:
        file_size: Logical size of a file, bytes.
        chunk_size: Logical size of a chunk, bytes.
        map_size: Stream maps of one file, bytes.
        map_record: Payload of one stream-map record, bytes.
    """

    file_size: int = 16 << 40
    chunk_size: int = 1 << 20
    map_size: int = 1 << 30
    map_record: int = 64 << 20


@attrs.frozen(eq=False)
class StubTable:
    """Stubs as columns; index = position in the sequence that was decoded.

    Attributes:
        errors: Stubs that cannot be used, by index; their columns hold zeros.
        kind: FILE, DIRECTORY or SYMLINK, uint8.
        size: Logical size in bytes, int64.
        mode: Permission bits, uint32.
        uid: Owner number, uint32.
        gid: Group number, uint32.
        mtime_ns: Modification time, nanoseconds since 1970, int64.
        link_group: Equal and not 0 for names of one inode, uint64.
        rows: Inline rows, or rows that refer to parts of the stream map
            (:data:`~rehydrate.chunks.ROW_DTYPE`; ``end`` = logical end of the part in the file).
        row_ptr: Rows of stub ``i`` are ``rows[row_ptr[i]:row_ptr[i + 1]]``, int64.
        in_parts: Which stubs' rows refer to stream-map records, bool.
        recall_sign: Which stubs hint at data newer than the chunk store, bool.
        digests: Digest of the whole content, V32; all zero = not recorded.
        texts: Text of symbolic links, by index.
        xattrs: Extended attributes, by index.
        inconsistent: Which files changed while they were read, bool.
    """

    errors: Mapping[int, RestoreError]
    kind: npt.NDArray[np.uint8]
    size: Ints
    mode: npt.NDArray[np.uint32]
    uid: npt.NDArray[np.uint32]
    gid: npt.NDArray[np.uint32]
    mtime_ns: Ints
    link_group: npt.NDArray[np.uint64]
    rows: Rows
    row_ptr: Ints
    in_parts: Bools
    recall_sign: Bools
    digests: npt.NDArray[np.void]
    texts: Mapping[int, bytes]
    xattrs: Mapping[int, tuple[tuple[bytes, bytes], ...]]
    inconsistent: Bools


@attrs.frozen
class RecordRef:
    """One stored record that a stub or a stream map refers to.

    Attributes:
        kind: DATA or STREAM.
        container: Container id.
        generation: Generation of the container when the reference was written.
        offset: First byte of the record at that time.
        length: Bytes of the record.
        local_id: Number of the record in its container.
        logical_size: Bytes after decoding.
        digest: Digest of the decoded bytes.
    """

    kind: str
    container: int
    generation: int
    offset: int
    length: int
    local_id: int
    logical_size: int
    digest: bytes


@attrs.frozen
class Read:
    """Ask for ``size`` bytes of a container; the answer is bytes or the error."""

    path: StorePath
    offset: int
    size: int


@attrs.frozen
class Scan:
    """Ask for a record walk of a container; the answer is the record that fits, or the error."""

    path: StorePath
    start: int
    end: int
    ref: RecordRef


@attrs.frozen
class ListFolder:
    """Ask for the names in a folder; the answer is a tuple of names, empty if unknown."""

    folder: StorePath


Request: TypeAlias = Read | Scan | ListFolder
Answer: TypeAlias = bytes | RestoreError | tuple[str, ...] | None
Walk: TypeAlias = Generator[Sequence[Request], Sequence[Answer], bytes]
"""Yields the requests of a round, is sent their answers, returns the decoded bytes."""


class RecordDecoder(Protocol):
    """Turns records into logical bytes; belongs to one thread."""

    def decode(
        self, record: memoryview, local_id: int, logical_size: int, digest: bytes
    ) -> ReadableBuffer:
        """Check a record and return its logical bytes.

        Args:
            record: Exactly the bytes of the reference.
            local_id: Number the record must carry.
            logical_size: Size the result must have, bytes.
            digest: Digest the result must have, 32 bytes.

        Returns:
            The logical bytes; may be a view of ``record``.

        Raises:
            FormatError: Anything does not fit; without place, the caller knows it.
        """
        ...


class RecordScanner(Protocol):
    """Finds records in a container that is fed to it from front to back."""

    def feed(self, block: memoryview) -> Sequence[tuple[int, bytes]]:
        """Take the next bytes.

        Args:
            block: The bytes that follow the ones fed before.

        Returns:
            ``(number, record bytes)`` for each wanted reference that was found in full.
        """
        ...


class StoreFormat(Protocol):
    """One store format: all that the engine knows about it."""

    @property
    def name(self) -> str:
        """Short name, such as ``"native"``."""
        ...

    def bound(self, store: bytes) -> "StoreFormat":
        """Return the format for one store: paths of containers may hold its identity, 16 bytes."""
        ...

    @property
    def has_recall(self) -> bool:
        """Whether stubs of this format can hold data newer than the chunk store."""
        ...

    def digest(self, data: ReadableBuffer) -> bytes:
        """Return the digest that stream maps of this format carry, 32 bytes."""
        ...

    def store_key(self, stub: bytes) -> bytes | None:
        """Return the 16 bytes of the store's identity; None if this is no stub of the format."""
        ...

    def decode_stubs(self, stubs: Sequence[bytes], limits: Limits) -> StubTable:
        """Decode stubs into columns; a bad stub becomes an entry in ``errors``."""
        ...

    def decode_map(self, payload: ReadableBuffer) -> Rows:
        """Decode the verified payload of one stream-map record into rows.

        Raises:
            CorruptMetadataError: The payload is no stream map.
        """
        ...

    @property
    def map_overhead(self) -> int:
        """Bytes of a stream-map record that are not payload; maps are stored plain."""
        ...

    def container_path(self, kind: str, container: int, generation: int) -> StorePath:
        """Return the path of a container."""
        ...

    def decoder(self, kind: str) -> RecordDecoder:
        """Return a new decoder for the records of one kind of container."""
        ...

    def repair(self, ref: RecordRef) -> Walk:
        """Return a walk that looks for a record that was not (whole) at its place."""
        ...

    def scanner(self, path: StorePath, wanted: Sequence[RecordRef]) -> RecordScanner:
        """Return a scanner for a container that is fed from its first record on."""
        ...
