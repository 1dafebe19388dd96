"""Layout of the native format: every number and structure of ``docs/reference/native-format.md``.

All integers are little-endian and unsigned. ``offset + length`` stays below ``2**63``.
"""

import struct
from typing import Final

import anycrc
import numpy as np

PAGE: Final = 4096
"""Commits end on a multiple of this, so that a torn sector cannot hit committed bytes."""
HEADER_SIZE: Final = PAGE
"""Bytes of the container header; the first record begins here."""
ALIGNMENT: Final = 8
"""Every record begins at a multiple of this."""

CONTAINER_MAGIC: Final = b"RHYDCONT"
TOMBSTONE_MAGIC: Final = b"RHYDTOMB"
RECORD_MAGIC: Final = b"RHR1"
STUB_MAGIC: Final = b"RHST"
SEGMENT_MAGIC: Final = b"RHSG"
MANIFEST_MAGIC: Final = b"RHMF"

FORMAT_VERSION: Final = 1

DATA_CONTAINER: Final = 1
STREAM_CONTAINER: Final = 2

KIND_CHUNK: Final = 1
KIND_STREAM_MAP: Final = 2
KIND_SEGMENT: Final = 3
KIND_MANIFEST: Final = 4
KIND_COMMIT: Final = 5

FLAG_SEALED: Final = 0x01
"""In a commit record: the container is sealed and never opened for writing again."""

COMPRESSION_NONE: Final = 0
COMPRESSION_ZSTD: Final = 1
DIGEST_NONE: Final = 0
DIGEST_BLAKE3: Final = 1
DIGEST_BLAKE3_KEYED: Final = 2

CONTAINER_HEADER: Final = struct.Struct("<8sHHI16sII16sQQQQQII")
"""magic, version, kind, header size, store id, container, generation, salt, compat, read-compat,
incompat, created (ns since 1970), capacity (bytes at which it is sealed), length of the
configuration, reserved. 104 bytes; the configuration (JSON, UTF-8) follows, then zeros."""
HEADER_DIGEST_AT: Final = PAGE - 32
"""BLAKE3 of the header page before it."""

RECORD: Final = struct.Struct("<4sHBBBBBBIII32sQQ")
"""magic, header size, kind, flags, compression, cipher, digest kind, key slot, local id, stored
size, logical size, digest, CRC-64 of the stored bytes, check. 72 bytes."""
RECORD_SIZE: Final = RECORD.size
CHECKED_SIZE: Final = RECORD_SIZE - 8
"""The check covers salt, container, generation, own offset and this much of the header."""
PLACE: Final = struct.Struct("<16sIIQ")
"""salt, container, generation, offset: what the check covers before the header."""

COMMIT: Final = struct.Struct("<16sIIQQQQ32s")
"""store id, container, generation, sequence, valid length, records, previous commit, BLAKE3 of the
record headers since then. 88 bytes at the start of a commit record's payload, then zeros."""

STUB_HEAD: Final = struct.Struct("<4sHHIBBH16sQIIIIQQQQQII32s")
"""See :data:`STUB_DTYPE`; 136 bytes."""
STUB_DTYPE: Final = np.dtype(
    [
        ("magic", "V4"),
        ("version", "<u2"),
        ("flags", "<u2"),
        ("total", "<u4"),
        ("kind", "u1"),
        ("map_kind", "u1"),
        ("rows", "<u2"),
        ("store", "V16"),
        ("size", "<u8"),
        ("mode", "<u4"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("nlink", "<u4"),
        ("mtime", "<u8"),
        ("ctime", "<u8"),
        ("device", "<u8"),
        ("inode", "<u8"),
        ("link_group", "<u8"),
        ("properties", "<u4"),
        ("reserved", "<u4"),
        ("digest", "V32"),
    ]
)
TIME_BIAS: Final = 1 << 63
"""Times are nanoseconds since 1970 plus this, so that earlier ones stay unsigned."""
STUB_INCONSISTENT: Final = 0x0001
"""Stub flag: the file changed while it was read."""
MAP_NONE: Final = 0
MAP_INLINE: Final = 1
MAP_PARTS: Final = 2
MAX_INLINE_ROWS: Final = 4
MAX_PART_ROWS: Final = 262_144
"""Rows in one stream-map record: 16 MiB."""
MAX_PARTS: Final = 8192
"""Stream-map records of one file."""
PROPERTY: Final = struct.Struct("<HHI")
"""type, flags (zero), length of the value; the value follows, padded with zeros to 8."""
PROPERTY_LINK_TEXT: Final = 1
PROPERTY_XATTRS: Final = 2
PROPERTY_MUST_KNOW: Final = 0x8000
"""Bit in a property's type: a reader that does not know it refuses the stub."""
XATTR: Final = struct.Struct("<HHI")
"""length of the name, zero, length of the value; name and value follow, not padded."""
MAX_XATTRS: Final = 1024
MAX_XATTR_NAME: Final = 255
MAX_XATTR_BYTES: Final = 64 << 10
"""Bytes of the value of an attributes property: all names and values with their heads."""
MAX_LINK_TEXT: Final = 32 << 10

SEGMENT: Final = struct.Struct("<4sHHIII")
"""magic, version, reserved, entries, bytes of paths, bytes of stubs. 20 bytes, then offsets."""
MAX_SEGMENT: Final = 64 << 10
"""Bytes of a segment with more than one entry."""
MAX_ENTRY_SEGMENT: Final = 1 << 20
"""Bytes of a segment with one entry."""
MAX_PATH: Final = 32 << 10
"""Bytes of the path of an entry."""

MANIFEST: Final = struct.Struct("<4sHHIIII")
"""magic, version, flags, bytes of JSON, segments, bytes of first paths, reserved. 24 bytes."""
MANIFEST_PARTIAL: Final = 0x0001

MAX_MANIFEST: Final = 64 << 20
"""Bytes of the payload of a manifest."""

TOMBSTONE_ENTRY: Final = struct.Struct("<IIQIIQ")
"""container, generation, offset, record length, local id in the new place, check. The check covers
the entry's own place (:data:`PLACE`, with the salt of the tombstone) and the fields before it."""
TOMBSTONE_CHECKED: Final = TOMBSTONE_ENTRY.size - 8

MAX_RECORD_SIZE: Final = 64 << 20
"""Stored bytes of one record, and its bytes after decoding."""
MAX_CONTAINER: Final = 4 << 30
"""Bytes of a container that a record walk looks at."""
MAX_ZSTD_WINDOW: Final = 8 << 20
"""Largest window of a zstd frame that is accepted."""

# CRC-64/NVME, check value of b"123456789" 0xAE8B14860A799888 (NVM Express NVM Command Set 1.0).
_CRC64: Final = anycrc.Model("CRC64-NVME")
crc64: Final = _CRC64.calc
"""CRC-64/NVME of a buffer; pass the value so far as second argument to go on."""


def align(offset: int, boundary: int = ALIGNMENT) -> int:
    """Return ``offset`` rounded up to a multiple of ``boundary`` (a power of two)."""
    return (offset + boundary - 1) & -boundary
