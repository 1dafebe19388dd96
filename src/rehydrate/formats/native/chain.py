"""The chain of commits in a container: which of its bytes are valid, and which records they hold.

Nothing here reads by itself: the caller gives a function that does.
"""

from collections.abc import Callable, Iterator
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from rehydrate.chunks import Ints
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.native.container import Commit, ContainerHeader, parse_commit
from rehydrate.formats.native.layout import (
    ALIGNMENT,
    COMMIT,
    HEADER_SIZE,
    KIND_COMMIT,
    PAGE,
    RECORD_MAGIC,
    RECORD_SIZE,
    align,
    crc64,
)
from rehydrate.formats.native.record import RecordHeader, parse_header

__all__ = [
    "RECORD_DTYPE",
    "ChainState",
    "ReadAt",
    "Stretch",
    "commit_before",
    "every_record",
    "follow_chain",
    "records_between",
]

_SCAN_BLOCK: Final = 1 << 20

ReadAt = Callable[[int, int], bytes]
"""``(offset, size)`` -> bytes; fewer where the container ends."""

RECORD_DTYPE: Final = np.dtype(
    [
        ("magic", "V4"),
        ("header_size", "<u2"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("compression", "u1"),
        ("cipher", "u1"),
        ("digest_kind", "u1"),
        ("key_slot", "u1"),
        ("local_id", "<u4"),
        ("stored_size", "<u4"),
        ("logical_size", "<u4"),
        ("digest", "V32"),
        ("payload_crc", "<u8"),
        ("check", "<u8"),
    ]
)
"""The fixed part of a record header as columns."""


@attrs.frozen
class ChainState:
    """Where a container stands after a commit.

    Attributes:
        end: Bytes up to the end of the commit; the next record begins here.
        sequence: Number of the commit; 0 before the first.
        records: Records so far, commits not counted.
        previous: Offset of the commit; 0 before the first.
        digest: What the commit says about the headers before it.
        sealed: The commit seals the container.
    """

    end: int = HEADER_SIZE
    sequence: int = 0
    records: int = 0
    previous: int = 0
    digest: bytes = bytes(32)
    sealed: bool = False

    @classmethod
    def after(cls, commit: Commit, offset: int) -> "ChainState":
        """Return the state after a commit record that stands at ``offset``."""
        return cls(
            commit.valid_length,
            commit.sequence,
            commit.records,
            offset,
            commit.digest,
            commit.sealed,
        )


@attrs.frozen(eq=False)
class Stretch:
    """The records between two commits.

    Attributes:
        state: State after the commit that ends the stretch.
        offsets: Offset of each record, commits not counted, int64.
        headers: Their headers (:data:`RECORD_DTYPE`).
    """

    state: ChainState
    offsets: Ints
    headers: npt.NDArray[np.void]


def follow_chain(
    read: ReadAt, container: ContainerHeader, start: ChainState, *, payloads: bool
) -> Iterator[Stretch]:
    """Walk from commit to commit and stop at the first thing that does not hold.

    Args:
        read: Reads the container.
        container: Its header.
        start: State to begin behind.
        payloads: Whether every payload must match its CRC-64 too.

    Yields:
        One stretch for each commit that holds.
    """
    state = start
    while True:
        try:
            stretch = _stretch(read, container, state, payloads=payloads)
        except CorruptMetadataError:
            return
        yield stretch
        state = stretch.state


def _stretch(
    read: ReadAt, container: ContainerHeader, state: ChainState, *, payloads: bool
) -> Stretch:
    offsets: list[int] = []
    fixed = bytearray()
    digest = blake3()
    offset = state.end
    while True:
        raw, header = _header_at(read, container, offset)
        if header.kind == KIND_COMMIT:
            payload = read(offset + header.header_size, header.stored_size)
            commit = parse_commit(header, payload, offset)
            _check_commit(container, state, commit, len(offsets), digest.digest())
            return Stretch(
                ChainState.after(commit, offset),
                np.array(offsets, np.int64),
                np.frombuffer(bytes(fixed), RECORD_DTYPE),
            )
        if payloads:
            payload = read(offset + header.header_size, header.stored_size)
            if len(payload) != header.stored_size or crc64(payload) != header.payload_crc:
                raise CorruptMetadataError("a record fails its CRC-64", code="record.crc")
        digest.update(raw)
        fixed += raw[:RECORD_SIZE]
        offsets.append(offset)
        offset += header.step


def _header_at(read: ReadAt, container: ContainerHeader, offset: int) -> tuple[bytes, RecordHeader]:
    raw = read(offset, RECORD_SIZE)
    size = int.from_bytes(raw[4:6], "little")
    if raw[:4] == RECORD_MAGIC and size > RECORD_SIZE:
        raw = read(offset, size)
    return raw, parse_header(raw, container.place(offset))


def _check_commit(
    container: ContainerHeader, state: ChainState, commit: Commit, records: int, digest: bytes
) -> None:
    if (
        commit.store != container.store
        or commit.container != container.container
        or commit.generation != container.generation
        or commit.sequence != state.sequence + 1
        or commit.previous != state.previous
        or commit.records != state.records + records
        or commit.digest != digest
    ):
        raise CorruptMetadataError(
            "a commit does not follow from the one before it", code="commit.chain"
        )


def commit_before(read: ReadAt, container: ContainerHeader, end: int) -> ChainState:
    """Find the commit record that ends at ``end`` without walking the container.

    Args:
        read: Reads the container.
        container: Its header.
        end: A multiple of 4096; the end of the header page is the state before the first commit.

    Raises:
        CorruptMetadataError: No commit ends there.
    """
    if end == HEADER_SIZE:
        return ChainState()
    # A commit record has at most a page of padding.
    start = max(end - PAGE - align(RECORD_SIZE + COMMIT.size), HEADER_SIZE)
    tail = read(start, end - start) if end % PAGE == 0 and end > HEADER_SIZE else b""
    position = tail.rfind(RECORD_MAGIC) if len(tail) == end - start else -1
    while position >= 0:
        offset = start + position
        try:
            header = parse_header(tail[position:], container.place(offset))
            if header.kind == KIND_COMMIT and offset + header.length == end:
                payload = tail[position + header.header_size :]
                return ChainState.after(parse_commit(header, payload, offset), offset)
        except CorruptMetadataError:
            pass  # the magic can occur by chance in what stands before the commit
        position = tail.rfind(RECORD_MAGIC, 0, position)
    raise CorruptMetadataError("no commit ends here", code="commit.missing")


def records_between(
    read: ReadAt, container: ContainerHeader, start: int, end: int
) -> tuple[Ints, npt.NDArray[np.void]]:
    """Return the records of a part that is known to be committed.

    Args:
        read: Reads the container.
        container: Its header.
        start: Offset of a record or end of a commit.
        end: End of a commit.

    Returns:
        Offsets and headers, commits not counted.

    Raises:
        CorruptMetadataError: A header in between is damaged.
    """
    offsets: list[int] = []
    fixed = bytearray()
    offset = start
    while offset < end:
        raw, header = _header_at(read, container, offset)
        if header.kind != KIND_COMMIT:
            fixed += raw[:RECORD_SIZE]
            offsets.append(offset)
        offset += header.step
    return np.array(offsets, np.int64), np.frombuffer(bytes(fixed), RECORD_DTYPE)


def every_record(
    read: ReadAt, container: ContainerHeader, size: int
) -> Iterator[tuple[int, RecordHeader]]:
    """Iterate all records whose header holds, commits included, past any damage between.

    A header's check covers its place, so whatever passes was written there on purpose.

    Args:
        read: Reads the container.
        container: Its header.
        size: Size of the file.

    Yields:
        Offset and header.
    """
    offset = HEADER_SIZE
    while offset < size:
        try:
            _, header = _header_at(read, container, offset)
        except CorruptMetadataError:
            offset = _next_magic(read, offset + ALIGNMENT, size)
            continue
        yield offset, header
        offset += header.step


def _next_magic(read: ReadAt, offset: int, size: int) -> int:
    """Return the next aligned place with the magic of a record, or ``size``."""
    while offset < size:
        block = read(offset, _SCAN_BLOCK + len(RECORD_MAGIC))
        if not block:
            return size
        position = block.find(RECORD_MAGIC)
        while position >= 0:
            if (offset + position) % ALIGNMENT == 0:
                return offset + position
            position = block.find(RECORD_MAGIC, position + 1)
        offset += _SCAN_BLOCK
    return size
