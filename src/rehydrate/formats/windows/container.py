"""Container files: their header copies and redirection tables."""

from functools import lru_cache
from typing import Final

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.windows.layout import (
    CONTAINER_HEADER,
    CONTAINER_HEADER_PLACES,
    CONTAINER_MAGIC,
    ENTRY_DTYPE,
    TABLE,
    TABLE_HEAD_SIZE,
    TABLE_MAGIC,
    crc64,
    same_major,
)

__all__ = [
    "MAX_TABLE_SIZE",
    "ContainerHeader",
    "RedirectionTable",
    "parse_container_header",
    "parse_table",
    "table_size",
]

_SUM: Final = 8
_SEQUENCE: Final = 4
"""Position of the update sequence number among the fields."""
_MOST_ENTRIES: Final = 1 << 22
MAX_TABLE_SIZE: Final = TABLE_HEAD_SIZE + ENTRY_DTYPE.itemsize * _MOST_ENTRIES
"""Largest redirection table that is read, bytes."""


@attrs.frozen
class ContainerHeader:
    """The newest valid copy of a container header.

    Attributes:
        sequence: Update sequence number of the copy.
        container: Container id.
        generation: Generation, an opaque number.
        chunks: Records in the container, padding not counted.
        next_local_id: LocalId that the next record will get.
        valid_size: Valid data length in bytes; the file may be longer.
        flags: 0 in all real bytes.
        appended: Time of the last append, FILETIME.
        backup_table: Place of the backup redirection table.
        copies: Number of valid copies, 1 to 3.
    """

    sequence: int
    container: int
    generation: int
    chunks: int
    next_local_id: int
    valid_size: int
    flags: int
    appended: int
    backup_table: int
    copies: int


@lru_cache(maxsize=16)
def parse_container_header(head: bytes) -> ContainerHeader:
    """Read the newest valid copy of a container header.

    Args:
        head: The container from its first byte on, three pages or more.

    Raises:
        CorruptMetadataError: No copy is valid.
    """
    valid = []
    for place in CONTAINER_HEADER_PLACES:
        copy = head[place : place + CONTAINER_HEADER.size]
        if len(copy) < CONTAINER_HEADER.size or not same_major(copy, CONTAINER_MAGIC):
            continue
        fields = CONTAINER_HEADER.unpack(copy)
        if fields[-1] == crc64(copy[:-_SUM]):
            valid.append(fields)
    if not valid:
        raise CorruptMetadataError(
            "none of the three headers of a container is valid", code="container.header"
        )
    newest = max(valid, key=lambda fields: fields[_SEQUENCE])
    _, _, _, _, sequence, container, generation, chunks, following, size, flags, appended, *rest = (
        newest
    )
    return ContainerHeader(
        sequence=sequence,
        container=container,
        generation=generation,
        chunks=chunks,
        next_local_id=following,
        valid_size=size,
        flags=flags,
        appended=appended,
        backup_table=rest[0],
        copies=len(valid),
    )


@attrs.frozen(eq=False)
class RedirectionTable:
    """Where records are that were moved: LocalId to offset, in the same container.

    Attributes:
        entries: Shape ``(n,)``, ascending by LocalId.
    """

    entries: np.ndarray[tuple[int], np.dtype[np.void]]

    def place(self, local_id: int) -> int | None:
        """Return the offset of a record; None if the table does not list it."""
        at = int(np.searchsorted(self.entries["local_id"], local_id))
        if at < len(self.entries) and int(self.entries["local_id"][at]) == local_id:
            return int(self.entries["offset"][at])
        return None


def table_size(head: bytes) -> int:
    """Return the bytes of a redirection table whose head is valid.

    Args:
        head: The table from its first byte on.

    Raises:
        CorruptMetadataError: The head is damaged.
    """
    if len(head) < TABLE_HEAD_SIZE or not same_major(head, TABLE_MAGIC):
        raise CorruptMetadataError("there is no redirection table here", code="table.magic")
    *_, count, entry_size, _, check = TABLE.unpack_from(head)
    found = crc64(head[: TABLE_HEAD_SIZE - _SUM])
    if found != check:
        raise CorruptMetadataError(
            f"CRC-64 of a redirection table: expected 0x{check:016X}, found 0x{found:016X}",
            code="table.crc",
        )
    if entry_size != ENTRY_DTYPE.itemsize or count > _MOST_ENTRIES:
        raise CorruptMetadataError(
            f"a redirection table of {count} entries of {entry_size} bytes", code="table.entries"
        )
    return TABLE_HEAD_SIZE + ENTRY_DTYPE.itemsize * int(count)


@lru_cache(maxsize=4)
def parse_table(data: bytes) -> RedirectionTable:
    """Read a redirection table.

    The CRC-64 of the entries is not held against it, as no table with entries was ever seen in real
    bytes: whoever follows an entry checks the record that it leads to.

    Args:
        data: The table from its first byte on; what lies behind it is ignored.

    Raises:
        CorruptMetadataError: It is damaged, cut off, or does not ascend.
    """
    size = table_size(data[:TABLE_HEAD_SIZE])
    if size > len(data):
        raise CorruptMetadataError(
            f"a redirection table of {size} bytes is cut off at {len(data)}", code="table.size"
        )
    entries = np.frombuffer(data[TABLE_HEAD_SIZE:size], ENTRY_DTYPE)
    numbers = entries["local_id"]
    if np.any(numbers[1:] <= numbers[:-1]):
        raise CorruptMetadataError(
            "the entries of a redirection table do not ascend", code="table.order"
        )
    return RedirectionTable(entries)
