"""Numbers of the Windows format: magics, sizes, checksums, names.

Microsoft does not document the format. Marks such as "R19" name the real bytes or the public source
that a fact comes from; docs/reference/windows-format.md explains them and lists what is inferred.
"""

import re
import struct
from typing import Final

import anycrc
import numpy as np

from rehydrate.values import ReadableBuffer, StorePath

__all__ = [
    "CONTAINER_HEADER",
    "CONTAINER_HEADER_PLACES",
    "CONTAINER_MAGIC",
    "DATA_EXTENSION",
    "DATA_HEADER_SIZE",
    "ENTRY_DTYPE",
    "FIRST_RECORD",
    "HEAD_SIZE",
    "KIND_DATA",
    "KIND_HOTSPOT",
    "KIND_PADDING",
    "KIND_STREAM",
    "MAP_ENTRY_DTYPE",
    "MAP_HEAD_SIZE",
    "MAP_MAGIC",
    "MAX_CONTAINER",
    "RECORD",
    "RECORD_HEAD_SIZE",
    "RECORD_MAGIC",
    "STREAM_EXTENSION",
    "STREAM_HEADER_SIZE",
    "TABLE",
    "TABLE_HEAD_SIZE",
    "TABLE_MAGIC",
    "TABLE_PLACE",
    "align",
    "container_name",
    "container_path",
    "crc64",
    "parse_container_name",
    "same_major",
]

CONTAINER_MAGIC: Final = b"Cthr"
TABLE_MAGIC: Final = b"Rrtl"
RECORD_MAGIC: Final = b"Ckhr"
MAP_MAGIC: Final = b"Smap"

CONTAINER_HEADER: Final = struct.Struct("<4sBBHQIIIIIIQIIQ")
"""``Cthr``: head, sequence, container id, generation, chunks, next LocalId, valid data length, flags,
last append (FILETIME), place of the backup table, last reconciled LocalId, CRC-64 (R19)."""
CONTAINER_HEADER_PLACES: Final = (0, 0x1000, 0x2000)
"""Three copies that may differ: the valid one with the highest sequence counts (R19, INFERRED)."""
TABLE_PLACE: Final = 0x3000
"""Place of the primary redirection table (R19)."""
TABLE: Final = struct.Struct("<4sBBHIIQQ")
"""``Rrtl``: head, entries in use, entry size, CRC-64 of the entries, CRC-64 of what precedes (R19)."""
TABLE_HEAD_SIZE: Final = 0x20
ENTRY_DTYPE: Final = np.dtype([("local_id", "<u4"), ("offset", "<u4")])
"""Entry of a redirection table, ascending by LocalId (P)."""
FIRST_RECORD: Final = 0x5000
"""First record where both tables have one page (R19)."""
HEAD_SIZE: Final = FIRST_RECORD
"""Bytes that every container has before its first record."""
MAX_CONTAINER: Final = 1 << 32
"""Offsets have 32 bits."""

RECORD: Final = struct.Struct("<4sBBHIIHH12s")
"""``Ckhr``: head, LocalId, payload size, kind, extension size, three words that are always 8 (R19)."""
RECORD_HEAD_SIZE: Final = 0x20
"""Bytes of a record header before the extension; after it come two CRC-64."""
KIND_DATA: Final = 1
KIND_STREAM: Final = 2
KIND_HOTSPOT: Final = 3
"""INFERRED: the one number between those that were seen."""
KIND_PADDING: Final = 4
DATA_EXTENSION: Final = 0x28
STREAM_EXTENSION: Final = 0x38
DATA_HEADER_SIZE: Final = 0x58
STREAM_HEADER_SIZE: Final = 0x68

MAP_HEAD_SIZE: Final = 8
MAP_ENTRY_DTYPE: Final = np.dtype(
    [
        ("local_id", "<u4"),
        ("container", "<u4"),
        ("offset", "<u4"),
        ("generation", "<u4"),
        ("end", "<u8"),
        ("digest", "V32"),
        ("stored", "<u4"),
        ("zero", "<u4"),
    ]
)
"""Entry of a stream map; ``end`` is counted from the start of the file in every part (R12a, P)."""

_CRC64: Final = anycrc.Model("CRC64-NVME")
_FROM_ZERO: Final = 0xFFFFFFFFFFFFFFFF
"""Given as the sum so far, it cancels the start value of CRC-64/NVME."""
# Any case, and nothing behind: a container that is being made carries an extra suffix (E).
_NAME: Final = re.compile(r"([0-9a-f]{8})\.([0-9a-f]{8})\.ccc", re.IGNORECASE | re.ASCII)


def crc64(data: ReadableBuffer) -> int:
    """Return the CRC-64 of the containers: the polynomial of CRC-64/NVME, started from 0 (R19)."""
    return _CRC64.calc(data, _FROM_ZERO)


def align(offset: int) -> int:
    """Return the first place for a record at or behind an offset: records are 8-byte aligned."""
    return (offset + 7) & ~7


def same_major(head: bytes | memoryview, magic: bytes, major: int = 1) -> bool:
    """Tell whether a structure begins with its magic and a major version that is known.

    A newer minor version is accepted (no such bytes were ever seen).
    """
    return bytes(head[:4]) == magic and len(head) > MAP_HEAD_SIZE - 4 and head[4] == major


def container_name(container: int, generation: int) -> str:
    """Return the file name of a container (R12a, R19)."""
    return f"{container:08x}.{generation:08x}.ccc"


def container_path(prefix: str, kind: str, container: int, generation: int) -> StorePath:
    """Return the path of a container below the volume.

    Args:
        prefix: Folder of the store.
        kind: ``Data``, ``Stream`` or ``Hotspot``.
        container: Its id.
        generation: Its generation, an opaque number: larger is newer.
    """
    return StorePath(f"{prefix}/{kind}/{container_name(container, generation)}")


def parse_container_name(name: str) -> tuple[int, int] | None:
    """Return id and generation of a live container; ``None`` for any other file."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1], 16), int(found[2], 16))
