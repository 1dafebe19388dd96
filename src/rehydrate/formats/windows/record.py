"""Chunk records: a checked header, and a payload that is plain or compressed."""

import hashlib
import struct
from typing import Final

import attrs

from rehydrate.errors import ChunkMismatchError, CorruptMetadataError, UnsupportedFormatError
from rehydrate.formats.walk import DATA
from rehydrate.formats.windows.codec.codec import decompress, decompress_strictly
from rehydrate.formats.windows.layout import (
    DATA_EXTENSION,
    DATA_HEADER_SIZE,
    KIND_DATA,
    KIND_HOTSPOT,
    KIND_STREAM,
    RECORD,
    RECORD_HEAD_SIZE,
    RECORD_MAGIC,
    STREAM_EXTENSION,
    STREAM_HEADER_SIZE,
    crc64,
    same_major,
)
from rehydrate.values import ReadableBuffer

__all__ = ["RecordHeader", "WindowsDecoder", "chunk_digest", "decode_copy", "parse_header"]

_DIGEST_SIZE: Final = 32
_HALF: Final = 16
_NO_HALF: Final = bytes(_HALF)
_SUM: Final = 8
_COMPRESSION: Final = slice(0x20, 0x24)
_DATA_HEADER: Final = struct.Struct("<4sBBHIIHH12xII32sQQ")
"""A whole header of a data record: what :func:`parse_header` finds, and compression (R19)."""
_USUAL: Final = (RECORD_MAGIC, 1, 3, 256 + 3)
"""How every record of real bytes begins."""


@attrs.frozen
class RecordHeader:
    """The fields of a record header that is whole.

    Attributes:
        local_id: Number in the container; 0 for padding.
        kind: One of the ``KIND_`` numbers, or one that is not known.
        header_size: Bytes before the payload.
        stored_size: Bytes of the payload.
        compression: Method of a data record: 0 plain, 1 LZNT1, 2 XPRESS, 3 XPRESS Huffman.
        digest: Last 32 bytes of the extension; empty if it has no room for them.
        payload_crc: CRC-64 of the payload as stored.
    """

    local_id: int
    kind: int
    header_size: int
    stored_size: int
    compression: int
    digest: bytes
    payload_crc: int

    @property
    def size(self) -> int:
        """Bytes of the whole record, without what aligns the next one."""
        return self.header_size + self.stored_size


def chunk_digest(data: ReadableBuffer) -> bytes:
    """Return the digest of a chunk: the first 32 bytes of SHA-512 of its logical bytes (R19)."""
    return hashlib.sha512(data).digest()[:_DIGEST_SIZE]


def parse_header(data: bytes | memoryview) -> RecordHeader:
    """Check and read a record header.

    Args:
        data: The record from its first byte on; the payload need not be there.

    Raises:
        CorruptMetadataError: It is no record, is cut off, or its CRC-64 is wrong.
        UnsupportedFormatError: Its major version is not known.
    """
    if len(data) < RECORD_HEAD_SIZE + 2 * _SUM or bytes(data[:4]) != RECORD_MAGIC:
        raise CorruptMetadataError("there is no chunk record here", code="record.magic")
    _, major, minor, check, local_id, stored, kind, extension, _ = RECORD.unpack_from(data)
    header_size = RECORD_HEAD_SIZE + extension + 2 * _SUM
    if header_size > len(data):
        raise CorruptMetadataError(
            f"a record header of {header_size} bytes is cut off at {len(data)}",
            code="record.header",
        )
    expected = int.from_bytes(data[header_size - _SUM : header_size], "little")
    found = crc64(data[: header_size - _SUM])
    if expected != found:
        raise CorruptMetadataError(
            f"CRC-64 of a record header: expected 0x{expected:016X}, found 0x{found:016X}",
            code="record.header-crc",
        )
    if not same_major(data, RECORD_MAGIC):
        raise UnsupportedFormatError(
            f"a record of version {major}.{minor}; known is 1.x", code="record.version"
        )
    if check != 256 * major + minor:
        raise CorruptMetadataError(
            f"the version check of a record is {check}", code="record.version-check"
        )
    ends = RECORD_HEAD_SIZE + extension
    return RecordHeader(
        local_id=local_id,
        kind=kind,
        header_size=header_size,
        stored_size=stored,
        compression=int.from_bytes(data[_COMPRESSION], "little") if extension else 0,
        digest=bytes(data[ends - _DIGEST_SIZE : ends]) if extension >= _DIGEST_SIZE else b"",
        payload_crc=int.from_bytes(data[ends : ends + _SUM], "little"),
    )


class WindowsDecoder:
    """Decodes records of one kind of container; see :class:`~rehydrate.formats.walk.RecordDecoder`."""

    def __init__(self, kind: str) -> None:
        """Decode the records of DATA or STREAM containers."""
        self._data = kind == DATA
        self._kind = KIND_DATA if self._data else KIND_STREAM
        self._header = DATA_HEADER_SIZE if self._data else STREAM_HEADER_SIZE
        self._extension = DATA_EXTENSION if self._data else STREAM_EXTENSION

    def decode(
        self, record: memoryview, local_id: int, logical_size: int, digest: bytes
    ) -> ReadableBuffer:
        """Check a record and return its logical bytes.

        Raises:
            CorruptMetadataError: The header is damaged.
            ChunkMismatchError: It is another record, or its bytes do not pass a check.
            UnsupportedFormatError: A version or a compression method that is not known.
        """
        if self._data and len(record) >= DATA_HEADER_SIZE:
            fields = _DATA_HEADER.unpack_from(record)
            compression, payload_crc, header_crc = fields[8], fields[11], fields[12]
            wanted = (*_USUAL, local_id, len(record) - DATA_HEADER_SIZE, KIND_DATA, DATA_EXTENSION)
            if (
                fields[:8] == wanted
                and fields[10] == digest
                and header_crc == crc64(record[: DATA_HEADER_SIZE - _SUM])
            ):
                payload = _checked(record[DATA_HEADER_SIZE:], payload_crc)
                return _chunk(payload, compression, logical_size, digest)
        # Anything unusual is looked at field by field, to say what it is.
        header = parse_header(record)
        if header.kind != self._kind or header.header_size != self._header:
            raise ChunkMismatchError(
                f"record kind: expected {self._kind} with a header of {self._header} bytes, found"
                f" {header.kind} with {header.header_size}",
                code="record.kind",
            )
        if header.local_id != local_id:
            raise ChunkMismatchError(
                f"LocalId: expected {local_id}, found {header.local_id}", code="record.local-id"
            )
        if header.size != len(record):
            raise ChunkMismatchError(
                f"stored size: expected {len(record) - self._header}, found {header.stored_size}",
                code="record.size",
            )
        if self._data:
            _same_digest(header.digest, digest, "record.digest")
            return _chunk(_payload(header, record), header.compression, logical_size, digest)
        return _map(header, record, logical_size, digest)


def _chunk(
    payload: memoryview, compression: int, logical_size: int, digest: bytes
) -> ReadableBuffer:
    """Return the verified logical bytes of a data record's payload."""
    data: ReadableBuffer = payload
    if len(payload) != logical_size:
        data = decompress(compression, payload, logical_size)
    found = chunk_digest(data)
    if found != digest and compression:
        # A fast decoder may be wrong without a word; the reference has the last one.
        data = decompress_strictly(compression, payload, logical_size)
        found = chunk_digest(data)
    _same_digest(found, digest, "chunk.digest")
    return data


def _map(
    header: RecordHeader, record: memoryview, logical_size: int, digest: bytes
) -> ReadableBuffer:
    """Return the payload of a stream-map record.

    How Windows computes its digest is not known: it is compared with that of the stub, not with the
    bytes. Stubs of formats 2.1 and 3.1 hold half of it, and zeros behind.
    """
    size = _HALF if digest[_HALF:] == _NO_HALF else _DIGEST_SIZE
    _same_digest(header.digest[:size], digest[:size], "record.digest")
    if header.stored_size != logical_size:
        raise ChunkMismatchError(
            f"size of a stream map: expected {logical_size}, found {header.stored_size}",
            code="record.size",
        )
    return _payload(header, record)


def _payload(header: RecordHeader, record: memoryview) -> memoryview:
    return _checked(record[header.header_size : header.size], header.payload_crc)


def _checked(payload: memoryview, expected: int) -> memoryview:
    found = crc64(payload)
    if found != expected:
        raise ChunkMismatchError(
            f"CRC-64 of a payload: expected 0x{expected:016X}, found 0x{found:016X}",
            code="record.payload-crc",
        )
    return payload


def _same_digest(found: bytes, expected: bytes, code: str) -> None:
    if found != expected:
        raise ChunkMismatchError(
            f"digest: expected {expected.hex()}, found {found.hex()}", code=code
        )


def decode_copy(
    record: memoryview, kind: str, logical_size: int, digest: bytes
) -> ReadableBuffer | None:
    """Return the logical bytes of a copy that was found elsewhere; None if it is none.

    Its LocalId and its stored size may differ; only the digest says what it is. A chunk is proved
    by its logical bytes, a stream map by its CRC-64 and the digest in its header.

    Args:
        record: The whole record.
        kind: DATA or STREAM.
        logical_size: Bytes that it must decode to.
        digest: Digest that it must have.
    """
    kinds = (KIND_DATA, KIND_HOTSPOT) if kind == DATA else (KIND_STREAM, KIND_HOTSPOT)
    try:
        header = parse_header(record)
        if header.kind not in kinds or header.size > len(record):
            return None
        whole = record[: header.size]
        if kind != DATA:
            return _map(header, whole, logical_size, digest)
        return _chunk(_payload(header, whole), header.compression, logical_size, digest)
    except (CorruptMetadataError, ChunkMismatchError, UnsupportedFormatError):
        return None
