"""Records: a checked header and a payload, plain or compressed."""

from typing import Final

import attrs
import zstandard
from blake3 import blake3

from rehydrate.errors import ChunkMismatchError, CorruptMetadataError, UnsupportedFormatError
from rehydrate.formats.native.layout import (
    ALIGNMENT,
    CHECKED_SIZE,
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    DIGEST_BLAKE3,
    DIGEST_NONE,
    FLAG_SEALED,
    KIND_CHUNK,
    KIND_COMMIT,
    KIND_MANIFEST,
    KIND_SEGMENT,
    KIND_STREAM_MAP,
    MAX_RECORD_SIZE,
    MAX_ZSTD_WINDOW,
    PLACE,
    RECORD,
    RECORD_MAGIC,
    RECORD_SIZE,
    crc64,
)
from rehydrate.values import ReadableBuffer

__all__ = ["NativeDecoder", "Place", "RecordHeader", "encode_record", "parse_header", "place_check"]

NO_DIGEST: Final = bytes(32)
_PLAIN_KINDS: Final = (KIND_STREAM_MAP, KIND_COMMIT)
_KNOWN_KINDS: Final = (KIND_CHUNK, KIND_SEGMENT, KIND_MANIFEST, *_PLAIN_KINDS)


@attrs.frozen
class Place:
    """Where a record stands; its check covers all of this.

    Attributes:
        salt: Random 16 bytes of the container.
        container: Container id.
        generation: Generation of the container.
        offset: First byte of the record in the container.
    """

    salt: bytes
    container: int
    generation: int
    offset: int

    def at(self, offset: int) -> "Place":
        """Return the same container at another offset."""
        return Place(self.salt, self.container, self.generation, offset)


@attrs.frozen
class RecordHeader:
    """The fields of a record header.

    Attributes:
        header_size: Bytes before the payload.
        kind: One of the ``KIND_`` numbers.
        flags: Bits by kind.
        compression: One of the ``COMPRESSION_`` numbers.
        cipher: 0; others are refused by name.
        digest_kind: One of the ``DIGEST_`` numbers.
        local_id: Number in the container, from 1; 0 for commits.
        stored_size: Payload bytes as stored.
        logical_size: Payload bytes after decoding.
        digest: Digest of the logical bytes.
        payload_crc: CRC-64 of the stored bytes.
        check: CRC-64 of the place and the header.
    """

    header_size: int
    kind: int
    flags: int
    compression: int
    cipher: int
    digest_kind: int
    local_id: int
    stored_size: int
    logical_size: int
    digest: bytes
    payload_crc: int
    check: int

    @property
    def length(self) -> int:
        """Bytes of header and payload, alignment apart."""
        return self.header_size + self.stored_size

    @property
    def step(self) -> int:
        """Bytes to the next record."""
        return (self.length + ALIGNMENT - 1) & -ALIGNMENT


def encode_record(
    place: Place,
    kind: int,
    local_id: int,
    stored: ReadableBuffer,
    *,
    logical_size: int,
    digest: bytes,
    compression: int = COMPRESSION_NONE,
    flags: int = 0,
) -> bytes:
    """Return the header of a record for its place; the stored bytes follow it.

    Args:
        place: Where the record will stand.
        kind: One of the ``KIND_`` numbers.
        local_id: Number in the container.
        stored: The payload as it will be stored.
        logical_size: Its size before compression, bytes.
        digest: BLAKE3 of the logical bytes; zeros for a commit.
        compression: How ``stored`` was made.
        flags: Bits by kind.
    """
    header = RECORD.pack(
        RECORD_MAGIC,
        RECORD_SIZE,
        kind,
        flags,
        compression,
        0,
        DIGEST_NONE if kind == KIND_COMMIT else DIGEST_BLAKE3,
        0,
        local_id,
        len(memoryview(stored)),
        logical_size,
        digest,
        crc64(stored),
        0,
    )[:CHECKED_SIZE]
    return header + place_check(place, header).to_bytes(8, "little")


def place_check(place: Place, data: bytes) -> int:
    """Return the CRC-64 that ties ``data`` to its place."""
    start = PLACE.pack(place.salt, place.container, place.generation, place.offset)
    return crc64(start + data)


def parse_header(data: ReadableBuffer, place: Place) -> RecordHeader:
    """Read a record header and prove that it belongs to its place.

    Args:
        data: At least the header, extension included.
        place: Where it was read.

    Raises:
        CorruptMetadataError: No record, or one that belongs elsewhere.
        UnsupportedFormatError: A cipher or compression that this release does not know.
    """
    view = memoryview(data)
    if len(view) < RECORD_SIZE:
        raise CorruptMetadataError("a record header is cut short", code="record.truncated")
    fields = RECORD.unpack_from(view)
    magic, header_size, kind, flags, compression, cipher, digest_kind, slot = fields[:8]
    local_id, stored_size, logical_size, digest, payload_crc, check = fields[8:]
    if magic != RECORD_MAGIC:
        raise CorruptMetadataError("there is no record here", code="record.magic")
    if header_size < RECORD_SIZE or header_size % ALIGNMENT or len(view) < header_size:
        raise CorruptMetadataError("a record header has a wrong size", code="record.header-size")
    extension = bytes(view[RECORD_SIZE:header_size])
    if check != place_check(place, bytes(view[:CHECKED_SIZE]) + extension):
        raise CorruptMetadataError("a record header fails its check", code="record.check")
    header = RecordHeader(
        header_size,
        kind,
        flags,
        compression,
        cipher,
        digest_kind,
        local_id,
        stored_size,
        logical_size,
        digest,
        payload_crc,
        check,
    )
    if stored_size > MAX_RECORD_SIZE or logical_size > MAX_RECORD_SIZE:
        raise CorruptMetadataError("a record is larger than allowed", code="record.size")
    # A walk steps over a kind that it does not know, so nothing more is asked of it.
    if kind in _KNOWN_KINDS:
        _check_fields(header, slot)
    return header


def _check_fields(header: RecordHeader, slot: int) -> None:
    """Refuse what this release cannot read, and what no writer makes."""
    is_commit = header.kind == KIND_COMMIT
    if header.cipher or slot or header.digest_kind > DIGEST_BLAKE3:
        raise UnsupportedFormatError(
            f"record uses cipher {header.cipher}, key slot {slot}, digest kind "
            f"{header.digest_kind}: encryption is not supported by this release"
        )
    if header.compression > COMPRESSION_ZSTD:
        raise UnsupportedFormatError(f"compression {header.compression} is not known")
    if header.flags & ~(FLAG_SEALED if is_commit else 0):
        raise UnsupportedFormatError(f"record flags {header.flags:#04x} are not known")
    plain = header.compression == COMPRESSION_NONE
    if (
        (plain and header.stored_size != header.logical_size)
        or (not plain and header.kind in _PLAIN_KINDS)
        or (header.digest_kind == DIGEST_NONE) != is_commit
        or (header.local_id == 0) != is_commit
        or (is_commit and header.digest != NO_DIGEST)
    ):
        raise CorruptMetadataError("a record header contradicts itself", code="record.fields")


class NativeDecoder:
    """Decodes and verifies records of one kind; belongs to one thread.

    The digest in the stream map proves the bytes, so the header's check and the CRC-64 are not
    computed here: they serve walks and ``verify``, where no digest is at hand. A header that lies
    leads to bytes that fail the digest.
    """

    def __init__(self, kind: int = KIND_CHUNK) -> None:
        """Make a decoder for records of ``kind``."""
        self._kind = kind
        self._decompress = zstandard.ZstdDecompressor().decompress
        self._frame_parameters = zstandard.get_frame_parameters
        self._unpack = RECORD.unpack_from

    def decode(
        self, record: memoryview, local_id: int, logical_size: int, digest: bytes
    ) -> ReadableBuffer:
        """Check a record and return its logical bytes; see :class:`RecordDecoder`."""
        if len(record) < RECORD_SIZE:
            raise CorruptMetadataError("a record is cut short", code="record.truncated")
        (magic, header_size, kind, _, compression, cipher, digest_kind, _,
         found_id, stored_size, found_size, found_digest, _, _) = self._unpack(record)  # fmt: skip
        if magic != RECORD_MAGIC:
            raise CorruptMetadataError("there is no record here", code="record.magic")
        if (
            found_id != local_id
            or kind != self._kind
            or found_size != logical_size
            or found_digest != digest
            or header_size + stored_size != len(record)
        ):
            raise CorruptMetadataError(
                "another record stands here than the stream map says", code="record.other"
            )
        if cipher or digest_kind != DIGEST_BLAKE3:
            raise UnsupportedFormatError(f"record uses cipher {cipher}, digest kind {digest_kind}")
        stored = record[header_size:]
        data: ReadableBuffer = stored
        if compression != COMPRESSION_NONE:
            data = self._inflate(stored, compression, logical_size)
        elif stored_size != logical_size:
            raise ChunkMismatchError("a plain chunk has another size", code="chunk.size")
        if blake3(data).digest() != digest:
            raise ChunkMismatchError("the digest of a chunk is wrong")
        return data

    def _inflate(self, stored: memoryview, compression: int, logical_size: int) -> bytes:
        if compression != COMPRESSION_ZSTD:
            raise UnsupportedFormatError(f"compression {compression} is not known")
        # The binding trusts the size in the frame and ignores its own limit then, so the frame is
        # asked first: it must state exactly the size that the stream map claims.
        try:
            frame = self._frame_parameters(stored)
            if frame.content_size != logical_size:
                raise ChunkMismatchError("a zstd frame states another size", code="zstd.frame")
            if frame.window_size > max(MAX_ZSTD_WINDOW, logical_size):
                raise ChunkMismatchError("a zstd frame needs too much memory", code="zstd.frame")
            # A frame that needs a dictionary fails here, and so does one with bytes behind it.
            return self._decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise ChunkMismatchError(f"zstd: {error}", code="zstd.frame") from error
