"""Stream maps as columns: which stored bytes make which range of which file, format-neutral.

One row of a stream map is 64 bytes (:data:`ROW_DTYPE`). The native format stores exactly this
layout, so that a map is read with one ``numpy.frombuffer``; other formats convert into it in one
vector operation. Rows of many files lie one after the other, and ``row_ptr`` says where each
file's rows begin.
"""

from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

__all__ = [
    "HOLE",
    "ROW_DTYPE",
    "ZERO",
    "Bools",
    "ChunkTable",
    "Ints",
    "Rows",
]

ROW_DTYPE: Final = np.dtype(
    [
        ("container", "<u4"),
        ("generation", "<u4"),
        ("offset", "<u8"),
        ("local_id", "<u4"),
        ("length", "<u4"),
        ("end", "<u8"),
        ("digest", "V32"),
    ]
)
"""One reference to a stored chunk.

``container``/``generation``: the container file; container 0 is no container (see below).
``offset``: first byte of the record in that container. ``local_id``: number of the record in its
container. ``length``: bytes to read at ``offset``, the record's header included and alignment
padding excluded. ``end``: logical end of this chunk in the whole file, exclusive; it begins where
the row before ends. ``digest``: digest of the logical bytes.

Rows with container 0 have no stored bytes; ``local_id`` then tells what they are:
:data:`ZERO` or :data:`HOLE`; all their other fields but ``end`` are zero.
"""

ZERO: Final = 0
"""``local_id`` of a run of zero bytes that was allocated at the source."""
HOLE: Final = 1
"""``local_id`` of a real hole (nothing allocated) at the source."""

Rows = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class ChunkTable:
    """The stream maps of many files, in file order.

    Attributes:
        rows: All rows (:data:`ROW_DTYPE`), shape ``(n,)``.
        row_ptr: Shape ``(files + 1,)``; the rows of file ``f`` are
            ``rows[row_ptr[f]:row_ptr[f + 1]]``. Each file's rows tile ``[0, size)``.
    """

    rows: Rows
    row_ptr: Ints

    @property
    def files(self) -> int:
        """Number of files."""
        return len(self.row_ptr) - 1

    def starts(self) -> Ints:
        """Return the logical start of each row in its file, shape ``(n,)``, int64."""
        starts = np.zeros(len(self.rows), np.int64)
        starts[1:] = self.rows["end"][:-1]
        firsts = self.row_ptr[:-1]
        starts[firsts[firsts < len(starts)]] = 0
        return starts

    def file_of_row(self) -> npt.NDArray[np.uint32]:
        """Return the file number of each row, shape ``(n,)``, uint32."""
        counts = np.diff(self.row_ptr)
        return np.repeat(np.arange(self.files, dtype=np.uint32), counts)

    def stored(self) -> Bools:
        """Return which rows have stored bytes (neither ZERO nor HOLE), shape ``(n,)``."""
        stored: Bools = self.rows["container"] != 0
        return stored
