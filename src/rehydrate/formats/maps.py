"""Checks on the rows of stream maps: one pass over all files, no loop per chunk."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import HOLE, Bools, ChunkTable, Ints, Rows
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.walk import Limits
from rehydrate.values import MAX_OFFSET

__all__ = ["check_maps"]

Unsigned: TypeAlias = npt.NDArray[np.uint64]

_NO_DIGEST: Final = np.zeros((), "V32")
_FARTHEST: Final = np.uint64(MAX_OFFSET)
_MAX_OVERHEAD: Final = 64 << 10
_BLOCK: Final = 1 << 17
"""Rows that are checked at once, so that a million files take no more memory than one."""


def check_maps(
    table: ChunkTable, sizes: Ints, limits: Limits
) -> Mapping[int, CorruptMetadataError]:
    """Find the files whose rows cannot be trusted.

    The rows of a file must tile ``[0, size)``: each ends behind the one before, the last one ends
    at the size. Rows without stored bytes must be ZERO or HOLE with all other fields zero. Stored
    rows must lie below ``2**63``, decode to at most the chunk limit and not be longer than that by
    more than a header.

    Args:
        table: Rows of all files.
        sizes: Logical size of each file, bytes, shape ``(files,)``.
        limits: Largest numbers accepted.

    Returns:
        The error of each bad file, by file number.
    """
    errors: dict[int, CorruptMetadataError] = {}
    counts = np.diff(table.row_ptr)
    filled = np.flatnonzero(counts)
    firsts = table.row_ptr[filled]
    for begin in range(0, len(table.rows), _BLOCK):
        rows = table.rows[begin : begin + _BLOCK]
        starts = np.zeros(len(rows), np.uint64)
        starts[1:] = rows["end"][:-1]
        # The very first row has no row before it, but it begins a file as well.
        starts[0] = table.rows["end"][begin - 1]
        low, high = np.searchsorted(firsts, (begin, begin + len(rows)))
        starts[firsts[low:high] - begin] = 0
        for wrong, text, code in _faults(rows, starts, limits):
            bad_rows = np.flatnonzero(wrong) + begin
            bad_files = np.searchsorted(table.row_ptr, bad_rows, side="right") - 1
            for file in sorted(set(bad_files.tolist())):
                errors.setdefault(file, CorruptMetadataError(text, code=code))
    last = np.zeros(table.files, np.uint64)
    last[filled] = table.rows["end"][table.row_ptr[filled + 1] - 1]
    for file in np.flatnonzero(last != sizes.astype(np.uint64)).tolist():
        errors.setdefault(
            file,
            CorruptMetadataError("a stream map does not end at the file's size", code="map.size"),
        )
    return errors


def _faults(rows: Rows, starts: Unsigned, limits: Limits) -> Iterator[tuple[Bools, str, str]]:
    """Find rows that are wrong; unsigned numbers are compared first, as differences may wrap."""
    ends, lengths = rows["end"].copy(), rows["length"]
    # Beyond this a chunk has more header than any format.
    largest = limits.chunk_size + _MAX_OVERHEAD
    yield (
        (ends > _FARTHEST) | (ends <= starts),
        "the rows of a stream map overlap or go backwards",
        "map.order",
    )
    stored = rows["container"] != 0
    yield (
        stored & ((ends - starts > limits.chunk_size) | (lengths > largest)),
        f"a chunk of a stream map is larger than {limits.chunk_size} bytes",
        "map.chunk-size",
    )
    yield (
        stored & ((rows["offset"] > _FARTHEST - lengths) | (lengths == 0)),
        "a chunk of a stream map lies beyond any container",
        "map.offset",
    )
    numbers = np.flatnonzero(~stored)
    plain = rows[numbers]
    wrong = np.zeros(len(rows), np.bool_)
    wrong[numbers] = (
        (plain["local_id"] > HOLE)
        | (plain["generation"] != 0)
        | (plain["offset"] != 0)
        | (plain["length"] != 0)
        | (plain["digest"] != _NO_DIGEST)
    )
    yield wrong, "a row without stored bytes has fields that must be zero", "map.zero"
