"""The fingerprint of a job: equal when the same rows of the same store are wanted."""

from typing import Final

import blake3
import numpy as np

from rehydrate.chunks import Bools, ChunkTable
from rehydrate.values import StoreId

__all__ = ["job_fingerprint"]

CONTEXT: Final = b"rehydrate job 1\0"


def job_fingerprint(
    store: StoreId, table: ChunkTable, wanted: Bools | None = None, *, extra: bytes = b""
) -> str:
    """Return the fingerprint of a job.

    Args:
        store: Identity of the store.
        table: Stream maps of all files; the rows must be contiguous.
        wanted: Which rows are to be restored; ``None`` = all.
        extra: Whatever else makes the job what it is, such as a digest of targets and options.

    Returns:
        64 hexadecimal digits.
    """
    chosen = np.ones(len(table.rows), np.bool_) if wanted is None else wanted
    state = blake3.blake3(CONTEXT + store.bytes)
    parts = (
        table.row_ptr.astype("<i8").data.cast("B"),
        np.ascontiguousarray(table.rows).view("u1").data,
        np.packbits(chosen).data,
        memoryview(extra),
    )
    for part in parts:
        state.update(part.nbytes.to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()
