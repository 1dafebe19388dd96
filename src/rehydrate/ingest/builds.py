"""The map of one file while it grows, and the stub that comes of it."""

import struct
from typing import Final

import attrs
import numpy as np
from blake3 import blake3

from rehydrate.chunks import ROW_DTYPE, ZERO
from rehydrate.formats.native.layout import (
    KIND_STREAM_MAP,
    MAP_INLINE,
    MAP_NONE,
    MAP_PARTS,
    MAX_INLINE_ROWS,
    MAX_PART_ROWS,
)
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.store import StoreWriter

__all__ = ["FileBuild", "row_of"]

_ROW: Final = struct.Struct("<IIQIIQ32s")
_NO_DIGEST: Final = bytes(32)


def row_of(place: RecordPlace, end: int, digest: bytes) -> bytes:
    """Return a map row (:data:`~rehydrate.chunks.ROW_DTYPE`).

    Args:
        place: Where the record stands.
        end: Logical end.
        digest: Digest of the logical bytes.
    """
    return _ROW.pack(
        place.container,
        place.generation,
        place.offset,
        place.local_id,
        place.length,
        end,
        digest,
    )


@attrs.define(eq=False)
class FileBuild:
    """One file on its way: its rows come in order, but later than its bytes are read.

    Attributes:
        stub: The stub without size, map and digest.
        expected: Pieces that were handed to the pipeline; known when the file was read to its end.
        size: Bytes of the file, set with ``expected``.
        digest: Digest of the whole content if it is known otherwise than from a single chunk.
        encoded: The finished stub.
    """

    stub: NativeStub
    expected: int | None = None
    size: int = 0
    digest: bytes | None = None
    encoded: bytes | None = None
    _rows: list[bytes] = attrs.field(factory=list)
    _parts: list[bytes] = attrs.field(factory=list)
    _seen: int = 0
    _plain: tuple[int, int] | None = None
    _end: int = 0
    _single: bytes | None = None

    def add_chunk(self, place: RecordPlace, end: int, digest: bytes) -> None:
        """Add the next chunk."""
        self._plain = None
        self._single = digest if not self._seen else None
        self._seen += 1
        self._end = end
        self._rows.append(row_of(place, end, digest))

    def add_plain(self, kind: int, end: int) -> None:
        """Add a run without stored bytes; it joins one of the same kind before it.

        Args:
            kind: ZERO or HOLE.
            end: Logical end.
        """
        self._single = None
        self._seen += 1
        self._end = end
        if self._plain is not None and self._plain[0] == kind:
            self._rows.pop()
        self._plain = (kind, end)
        self._rows.append(_ROW.pack(0, 0, 0, kind, 0, end, _NO_DIGEST))

    @property
    def ready(self) -> bool:
        """Whether all rows have come."""
        return self._seen == self.expected

    def write_parts(self, store: StoreWriter) -> None:
        """Write full parts of a long map, so that its rows need no memory."""
        while len(self._rows) > MAX_PART_ROWS:
            self._write_part(store)

    def _write_part(self, store: StoreWriter) -> None:
        rows, self._rows = self._rows[:MAX_PART_ROWS], self._rows[MAX_PART_ROWS:]
        payload = b"".join(rows)
        end: int = _ROW.unpack(rows[-1])[5]
        digest = blake3(payload).digest()
        place = store.append_stream(KIND_STREAM_MAP, payload, digest)
        self._parts.append(row_of(place, end, digest))

    def finish(self, store: StoreWriter) -> bytes:
        """Write what is left of the map and return the stub; all rows have come."""
        if self.encoded is not None:
            return self.encoded
        map_kind, rows = MAP_NONE, self._rows
        if self._parts or len(rows) > MAX_INLINE_ROWS:
            while self._rows:
                self._write_part(store)
            map_kind, rows = MAP_PARTS, self._parts
        elif rows:
            map_kind = MAP_INLINE
        digest = self._single if self._single is not None else self.digest
        if digest is None and self._plain == (ZERO, self.size) and self._seen == 1:
            digest = blake3(bytes(self.size)).digest()
        self.encoded = encode_stub(
            attrs.evolve(
                self.stub,
                size=self.size,
                map_kind=map_kind,
                rows=np.frombuffer(b"".join(rows), ROW_DTYPE),
                digest=digest or _NO_DIGEST,
            )
        )
        self._rows, self._parts = [], []
        return self.encoded
