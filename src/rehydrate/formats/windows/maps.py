"""Stream maps: the payload of a stream record, as rows."""

import numpy as np

from rehydrate.chunks import ROW_DTYPE, Rows
from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.formats.windows.layout import (
    DATA_HEADER_SIZE,
    MAP_ENTRY_DTYPE,
    MAP_HEAD_SIZE,
    MAP_MAGIC,
    same_major,
)
from rehydrate.values import ReadableBuffer

__all__ = ["decode_map"]

_LARGEST_STORED = 0xFFFFFFFF - DATA_HEADER_SIZE


def decode_map(payload: ReadableBuffer) -> Rows:
    """Turn the payload of a stream record (``Smap``) into rows; one vector operation a column.

    Args:
        payload: Verified bytes.

    Raises:
        CorruptMetadataError: It is no stream map, or refers to container 0.
        UnsupportedFormatError: Its major version is not known.
    """
    view = memoryview(payload)
    if len(view) < MAP_HEAD_SIZE or bytes(view[: len(MAP_MAGIC)]) != MAP_MAGIC:
        raise CorruptMetadataError("a stream record holds no stream map", code="map.magic")
    if not same_major(view, MAP_MAGIC):
        raise UnsupportedFormatError(
            f"a stream map of version {view[4]}.{view[5]}; known is 1.x", code="map.version"
        )
    if (len(view) - MAP_HEAD_SIZE) % MAP_ENTRY_DTYPE.itemsize:
        raise CorruptMetadataError(
            f"a stream map of {len(view)} bytes is no head and entries of 64 bytes", code="map.size"
        )
    entries = np.frombuffer(view, MAP_ENTRY_DTYPE, offset=MAP_HEAD_SIZE)
    if not entries["container"].all():
        raise CorruptMetadataError("a stream map refers to container 0", code="map.container")
    stored = entries["stored"]
    if np.any(stored > _LARGEST_STORED):
        raise CorruptMetadataError("a chunk of a stream map is too large", code="map.chunk-size")
    rows: Rows = np.empty(len(entries), ROW_DTYPE)
    for name in ("container", "generation", "offset", "local_id", "end", "digest"):
        rows[name] = entries[name]
    rows["length"] = stored + np.uint32(DATA_HEADER_SIZE)
    return rows
