"""Stream maps read without the planner: an opinion of our own on what a restore needs."""

from collections.abc import Iterable

import attrs
import numpy as np

from rehydrate.chunks import Ints, Rows
from rehydrate.formats.native.layout import RECORD_SIZE
from rehydrate.formats.native.stub import decode_stubs
from rehydrate.formats.walk import Limits
from rehydrate.protocols import BackupStore
from rehydrate.values import StorePath

__all__ = ["Maps", "read_maps"]


@attrs.frozen(eq=False)
class Maps:
    """The rows of some files.

    Attributes:
        rows: Rows of all files, one file after the other.
        file: Index of the file of each row.
        sizes: Size of each file in bytes.
    """

    rows: Rows
    file: Ints
    sizes: Ints

    def distinct(self) -> Rows:
        """Return one row for each stored record, by container and offset."""
        stored = self.rows[self.rows["container"] != 0]
        places = stored[["container", "generation", "offset"]]
        _, first = np.unique(places, return_index=True)
        records: Rows = stored[first]
        return records

    def starts(self) -> Ints:
        """Return the offset in its file at which each row begins."""
        ends = self.rows["end"].astype(np.int64)
        starts = np.zeros(len(ends), np.int64)
        same = self.file[1:] == self.file[:-1]
        starts[1:][same] = ends[:-1][same]
        return starts


def read_maps(stubs: Iterable[bytes], store: BackupStore) -> Maps:
    """Read the maps of native stubs, one stream record after the other.

    Args:
        stubs: Stubs of a native store.
        store: Where their stream maps are.
    """
    table = decode_stubs(list(stubs), Limits())
    for error in table.errors.values():
        raise error
    parts: list[Rows] = []
    for index, in_parts in enumerate(table.in_parts.tolist()):
        rows = table.rows[table.row_ptr[index] : table.row_ptr[index + 1]]
        if in_parts:
            rows = np.concatenate([_part(row, store) for row in rows])
        parts.append(rows)
    counts = [len(rows) for rows in parts]
    return Maps(
        np.concatenate(parts),
        np.repeat(np.arange(len(parts)), counts),
        table.size,
    )


def _part(row: np.void, store: BackupStore) -> Rows:
    path = StorePath(f"Stream/{row['container']:08x}.{row['generation']:08x}.rhc")
    record = store.read_backup_file(path, int(row["offset"]), int(row["length"]))
    rows: Rows = np.frombuffer(memoryview(record)[RECORD_SIZE:], row.dtype)
    return rows
