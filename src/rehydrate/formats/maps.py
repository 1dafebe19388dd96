"""Checks on the rows of stream maps: one pass over all files, no loop per chunk."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from rehydrate.chunks import HOLE, Bools, ChunkTable, Ints
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.walk import Limits
from rehydrate.values import MAX_OFFSET

__all__ = ["check_maps"]

_NO_DIGEST: Final = np.zeros((), "V32")


def check_maps(
    table: ChunkTable, sizes: Ints, limits: Limits
) -> Mapping[int, CorruptMetadataError]:
    """Find the files whose rows cannot be trusted.

    The rows of a file must tile ``[0, size)``: each ends behind the one before, the last one ends
    at the size. Rows without stored bytes must be ZERO or HOLE with all other fields zero. Stored
    rows must lie below ``2**63`` and decode to at most the chunk limit.

    Args:
        table: Rows of all files.
        sizes: Logical size of each file, bytes, shape ``(files,)``.
        limits: Largest numbers accepted.

    Returns:
        The error of each bad file, by file number.
    """
    rows = table.rows
    ends = rows["end"]
    logical = ends.astype(np.int64) - table.starts()
    stored = table.stored()
    plain = ~stored
    checks: tuple[tuple[Bools, str, str], ...] = (
        (
            (ends > MAX_OFFSET) | (logical <= 0),
            "the rows of a stream map overlap or go backwards",
            "map.order",
        ),
        (
            stored & (logical > limits.chunk_size),
            f"a chunk of a stream map is larger than {limits.chunk_size} bytes",
            "map.chunk-size",
        ),
        (
            stored & (rows["offset"] > np.uint64(MAX_OFFSET) - rows["length"])
            | stored & (rows["length"] == 0),
            "a chunk of a stream map lies beyond any container",
            "map.offset",
        ),
        (
            plain
            & (
                (rows["local_id"] > HOLE)
                | (rows["generation"] != 0)
                | (rows["offset"] != 0)
                | (rows["length"] != 0)
                | (rows["digest"] != _NO_DIGEST)
            ),
            "a row without stored bytes has fields that must be zero",
            "map.zero",
        ),
    )
    errors: dict[int, CorruptMetadataError] = {}
    for wrong, text, code in checks:
        bad_rows = np.flatnonzero(wrong)
        bad_files = np.unique(np.searchsorted(table.row_ptr, bad_rows, side="right") - 1)
        for file in bad_files.tolist():
            errors.setdefault(file, CorruptMetadataError(text, code=code))
    counts = np.diff(table.row_ptr)
    last = np.zeros(table.files, np.int64)
    filled = counts > 0
    last[filled] = ends[table.row_ptr[1:][filled] - 1].astype(np.int64)
    for file in np.flatnonzero(last != sizes).tolist():
        errors.setdefault(
            file,
            CorruptMetadataError("a stream map does not end at the file's size", code="map.size"),
        )
    return errors
