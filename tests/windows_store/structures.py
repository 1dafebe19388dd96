"""Containers of a Windows deduplication store: from field values to bytes, and strict.

Written from the description of the format alone; nothing of ``rehydrate`` is imported, so that
reader and writer check each other. Offsets are bytes, sums are little-endian.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import anycrc
import numpy as np
import numpy.typing as npt

__all__ = [
    "CTHR",
    "DATA",
    "EMPTY_CRC",
    "HOTSPOT",
    "LZNT1",
    "NONE",
    "PADDING",
    "PAGE",
    "RECORD_DATA",
    "RECORD_PADDING",
    "RECORD_STREAM",
    "RRTL",
    "SMAP_DTYPE",
    "STREAM",
    "TABLE_AT",
    "XPRESS",
    "XPRESS_HUFFMAN",
    "Reference",
    "container_header",
    "crc32",
    "crc64",
    "data_record",
    "digest_of",
    "padding_header",
    "padding_record",
    "record",
    "redirection_table",
    "smap_payload",
    "stream_digest",
    "stream_record",
    "table_size",
]

PAGE: Final = 0x1000
TABLE_AT: Final = 0x3000
"""Where the primary redirection table begins: after three pages of ``Cthr``."""

DATA, STREAM, HOTSPOT, PADDING = 1, 2, 3, 4
"""Kinds of records; 3 for hotspot chunks is inferred and was never seen."""
NONE, LZNT1, XPRESS, XPRESS_HUFFMAN = 0, 1, 2, 3
"""Values of the compression field."""

RECORD_DATA, RECORD_STREAM, RECORD_PADDING = 0x58, 0x68, 0x30
"""Sizes of record headers."""
EMPTY_CRC: Final = 0xFFFF_FFFF_FFFF_FFFF
"""CRC-64 of nothing, and of any run of zeros."""

RECORD_VERSION, TABLE_VERSION = (1, 3), (1, 3)
MAP_VERSION, HEADER_VERSION = (1, 4), (1, 4)

CTHR: Final = struct.Struct("<8sQIIIIIIQII")
RRTL: Final = struct.Struct("<8sIIQ")
_RECORD: Final = struct.Struct("<8sIIHH3I")
_WORD: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<II")
_PAIR: Final = struct.Struct("<II")
_EIGHTS: Final = (8, 8, 8)

SMAP_DTYPE: Final = np.dtype(
    [
        ("local_id", "<u4"),
        ("container", "<u4"),
        ("offset", "<u4"),
        ("generation", "<u4"),
        ("end", "<u8"),
        ("digest", "u1", (32,)),
        ("stored", "<u4"),
        ("zero", "<u4"),
    ]
)
"""One entry of a stream map, 64 bytes."""

_CRC64: Final = anycrc.CRC(
    64, 0xAD93D23594C93659, init=0, refin=True, refout=True, xorout=EMPTY_CRC
)


def crc64(data: bytes | bytearray | memoryview) -> int:
    """Return the CRC-64 of containers: NVMe's polynomial, begun at zero, inverted at the end."""
    return _CRC64.calc(data)


def crc32(data: bytes | bytearray | memoryview) -> int:
    """Return the CRC-32 of reparse buffers, that of zlib."""
    return zlib.crc32(data)


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest of a data chunk: half of the SHA-512 of its logical bytes."""
    return hashlib.sha512(data).digest()[:32]


def stream_digest(payload: bytes) -> bytes:
    """Return a digest for a stream map; what the real one is made of is not known."""
    return hashlib.sha512(b"stream map" + payload).digest()[:32]


def _common(magic: bytes, version: tuple[int, int]) -> bytes:
    major, minor = version
    return magic + bytes((major, minor, minor, major))


def container_header(
    *,
    container_id: int,
    generation: int,
    sequence: int,
    chunk_count: int,
    next_local_id: int,
    valid_length: int,
    appended: int,
    backup_at: int = TABLE_AT + PAGE,
    flags: int = 0,
    reconciled: int = 0,
) -> bytes:
    """Return a ``Cthr``.

    Args:
        container_id: First half of the name of the file.
        generation: Second half.
        sequence: Update sequence number; the valid copy with the highest one counts.
        chunk_count: Records without paddings.
        next_local_id: That of the next record.
        valid_length: Bytes in use.
        appended: Time of the last append, as FILETIME.
        backup_at: Offset of the second redirection table.
        flags: Unknown, zero.
        reconciled: Unknown, zero.

    Returns:
        0x40 bytes, sealed.
    """
    body = CTHR.pack(
        _common(b"Cthr", HEADER_VERSION),
        sequence,
        container_id,
        generation,
        chunk_count,
        next_local_id,
        valid_length,
        flags,
        appended,
        backup_at,
        reconciled,
    )
    return body + _WORD.pack(crc64(body))


def table_size(count: int) -> int:
    """Return how many bytes a redirection table takes: full pages, 508 entries in the first."""
    return -(-(RRTL.size + 8 + 8 * count) // PAGE) * PAGE


def redirection_table(entries: Iterable[tuple[int, int]], *, pages: bool = True) -> bytes:
    """Return an ``Rrtl``.

    Args:
        entries: (LocalId, offset) in ascending order.
        pages: Fill up to the page with zeros.

    Raises:
        ValueError: The entries are out of order.
    """
    listed = list(entries)
    if any(left[0] >= right[0] for left, right in pairwise(listed)):
        raise ValueError("a redirection table ascends")
    body = b"".join(_ENTRY.pack(*entry) for entry in listed)
    head = RRTL.pack(_common(b"Rrtl", TABLE_VERSION), len(listed), _ENTRY.size, crc64(body))
    table = head + _WORD.pack(crc64(head)) + body
    return table.ljust(table_size(len(listed)), b"\0") if pages else table


def record(
    kind: int,
    local_id: int,
    extension: bytes,
    payload: bytes | bytearray | memoryview,
    *,
    payload_crc: int | None = None,
    stored: int | None = None,
) -> bytes:
    """Return a record of any kind: its header and its payload, not aligned.

    Args:
        kind: The kind.
        local_id: Number in the container, 0 for a padding.
        extension: What is between the fixed fields and the two checksums.
        payload: The stored bytes; empty if the two sums say more than is there.
        payload_crc: CRC-64 of a payload that is not given.
        stored: Size of a payload that is not given.
    """
    size = len(payload) if stored is None else stored
    checksum = crc64(payload) if payload_crc is None else payload_crc
    common = _common(b"Ckhr", RECORD_VERSION)
    head = _RECORD.pack(common, local_id, size, kind, len(extension), *_EIGHTS)
    head += extension + _WORD.pack(checksum)
    return b"".join((head, _WORD.pack(crc64(head)), payload))


def data_record(
    local_id: int,
    payload: bytes | bytearray | memoryview,
    *,
    digest: bytes,
    compression: int = NONE,
    second_word: int | None = None,
    kind: int = DATA,
    payload_crc: int | None = None,
    stored: int | None = None,
) -> bytes:
    """Return the record of a data chunk.

    Args:
        local_id: Number in the container.
        payload: The stored bytes.
        digest: 32 bytes, of the logical bytes.
        compression: How they are stored.
        second_word: The word behind; None is what a Server 2019 writes: 2 if compressed.
        kind: 1, or 3 for a hotspot chunk.
        payload_crc: As in `record`.
        stored: As in `record`.
    """
    _check_digest(digest)
    second = (2 if compression else 0) if second_word is None else second_word
    extension = _PAIR.pack(compression, second) + digest
    return record(kind, local_id, extension, payload, payload_crc=payload_crc, stored=stored)


def stream_record(
    local_id: int,
    payload: bytes,
    *,
    digest: bytes,
    payload_crc: int | None = None,
    stored: int | None = None,
) -> bytes:
    """Return the record of a stream map; arguments as in `data_record`."""
    _check_digest(digest)
    extension = bytes(24) + digest
    return record(STREAM, local_id, extension, payload, payload_crc=payload_crc, stored=stored)


def padding_record(size: int) -> bytes:
    """Return a padding of ``size`` bytes with its header.

    Raises:
        ValueError: A header does not fit.
    """
    return padding_header(size).ljust(size, b"\0")


def padding_header(size: int) -> bytes:
    """Return the header of a padding of ``size`` bytes; the rest of it is zeros.

    Raises:
        ValueError: A header does not fit, or the size is no 32-bit number.
    """
    if not RECORD_PADDING <= size < 1 << 32:
        raise ValueError(f"a padding of {size} bytes")
    stored = size - RECORD_PADDING
    return record(PADDING, 0, b"", b"", payload_crc=EMPTY_CRC, stored=stored)


class Reference(NamedTuple):
    """What a stream map says about a chunk, or a stub about a stream map.

    Attributes:
        local_id: Number in the container.
        container: Id of the container.
        offset: Where its record begins in that generation.
        generation: Generation of the container when this was written.
        stored: Bytes of payload.
        digest: 32 bytes.
        size: Logical bytes; of a stream map those of the part.
    """

    local_id: int
    container: int
    offset: int
    generation: int
    stored: int
    digest: bytes
    size: int


def smap_payload(
    chunks: Sequence[Reference], *, begin: int = 0, ends: Sequence[int] | None = None
) -> bytes:
    """Return a stream map.

    Args:
        chunks: Its chunks in order.
        begin: Logical offset of the first in the file.
        ends: Logical end of each if not where their sizes put it.
    """
    table: npt.NDArray[np.void] = np.zeros(len(chunks), SMAP_DTYPE)
    if chunks:
        numbers = np.array(
            [(c.local_id, c.container, c.offset, c.generation, c.stored, c.size) for c in chunks],
            np.uint64,
        )
        fields = ("local_id", "container", "offset", "generation", "stored")
        for column, field in enumerate(fields):
            table[field] = numbers[:, column]
        table["end"] = np.cumsum(numbers[:, 5], dtype=np.uint64) + np.uint64(begin)
        if ends is not None:
            table["end"] = ends
        digests = b"".join(chunk.digest for chunk in chunks)
        table["digest"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
    return _common(b"Smap", MAP_VERSION) + table.tobytes()


def _check_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise ValueError("a digest has 32 bytes")
