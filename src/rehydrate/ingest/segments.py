"""Cutting the entries of a version into segments that later versions can share."""

import zlib
from collections.abc import Mapping
from typing import Final

import attrs
import numpy as np
from blake3 import blake3

from rehydrate.chunks import ROW_DTYPE, Bools, Rows
from rehydrate.formats.native.catalogue import SegmentColumns, encode_segment
from rehydrate.formats.native.layout import KIND_SEGMENT, MAX_SEGMENT, SEGMENT
from rehydrate.ingest.builds import row_of
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.store import StoreWriter

__all__ = ["ParentSegment", "SegmentWriter"]

_LEAST: Final = 16 << 10
"""Smallest segment that ends at a border, bytes."""
_BORDER: Final = 127
"""One path in 128 is a border: where it begins a segment in one version, it does in the next."""


@attrs.frozen(eq=False)
class ParentSegment:
    """A segment of the parent version.

    Attributes:
        place: Its record.
        digest: Its digest.
        columns: Its columns, verified.
        paths: Its paths; fewer than the columns have if it is not whole.
        whole: Whether it can be shared: no entry of it was left out.
        trusted_before: Entries changed (ctime, ns) at or behind this time are read again.
        first_key: Tree key of the first path.
        last_key: Tree key of the last path.
        store: Identity of the store, as stubs hold it.
        suspicious: Entries that refer to something damaged; ``None`` = none.
    """

    place: RecordPlace
    digest: bytes
    columns: SegmentColumns
    paths: list[bytes]
    whole: bool
    trusted_before: int
    first_key: bytes
    last_key: bytes
    store: np.void
    suspicious: Bools | None = None

    def stub(self, position: int) -> bytes:
        """Return the stub of the entry at ``position``."""
        columns = self.columns
        start = int(columns.stub_ends[position - 1]) if position else 0
        at = columns.stubs_at
        return columns.payload[at + start : at + int(columns.stub_ends[position])]


def _is_border(path: bytes) -> bool:
    return not zlib.crc32(path) & _BORDER


class SegmentWriter:
    """Takes entries in tree order and writes segments."""

    def __init__(self, store: StoreWriter, known: Mapping[bytes, RecordPlace]) -> None:
        """Begin a version.

        Args:
            store: Where new segments go.
            known: Segments of the parent version by digest.
        """
        self._store = store
        self._known = dict(known)
        self._paths: list[bytes] = []
        self._stubs: list[bytes] = []
        self._size = SEGMENT.size
        self._rows: list[bytes] = []
        self._first_paths: list[bytes] = []
        self._in_rows = 0
        self.shared = 0

    @property
    def entries(self) -> int:
        """Entries so far."""
        return self._in_rows + len(self._paths)

    def add(self, path: bytes, stub: bytes) -> None:
        """Add the next entry."""
        size = 8 + len(path) + len(stub)
        too_large = self._size + size > MAX_SEGMENT
        if self._paths and (too_large or (self._size >= _LEAST and _is_border(path))):
            self._cut()
        self._paths.append(path)
        self._stubs.append(stub)
        self._size += size

    def reuse(self, segment: ParentSegment) -> None:
        """Add all entries of a segment of the parent, by sharing it if cutting here is sensible."""
        if self._paths and (self._size >= _LEAST or _is_border(segment.paths[0])):
            self._cut()
        if self._paths:
            # A short segment before would stay short for ever: join, and share from the next on.
            for position, path in enumerate(segment.paths):
                self.add(path, segment.stub(position))
            return
        self._in_rows += len(segment.paths)
        self._rows.append(row_of(segment.place, self._in_rows, segment.digest))
        self._first_paths.append(segment.paths[0])
        self.shared += 1

    def _cut(self) -> None:
        place, digest = self._write()
        self._in_rows += len(self._paths)
        self._rows.append(row_of(place, self._in_rows, digest))
        self._first_paths.append(self._paths[0])
        self._paths, self._stubs, self._size = [], [], SEGMENT.size

    def _write(self) -> tuple[RecordPlace, bytes]:
        payload = encode_segment(self._paths, self._stubs)
        digest = blake3(payload).digest()
        place = self._known.get(digest)
        if place is None:
            place = self._store.append_stream(KIND_SEGMENT, payload, digest)
            self._known[digest] = place
        else:
            self.shared += 1
        return place, digest

    def finish(self) -> tuple[Rows, tuple[bytes, ...]]:
        """Write what is left and return all segments with their first paths."""
        if self._paths:
            self._cut()
        return self._table(self._rows), tuple(self._first_paths)

    def snapshot(self) -> tuple[Rows, tuple[bytes, ...]]:
        """Return the same for the entries so far; the segment in the making goes on."""
        if not self._paths:
            return self._table(self._rows), tuple(self._first_paths)
        shared = self.shared
        place, digest = self._write()
        self.shared = shared
        row = row_of(place, self.entries, digest)
        return self._table([*self._rows, row]), (*self._first_paths, self._paths[0])

    @staticmethod
    def _table(rows: list[bytes]) -> Rows:
        table: Rows = np.frombuffer(b"".join(rows), ROW_DTYPE)
        return table
