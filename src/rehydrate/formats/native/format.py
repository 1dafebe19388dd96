"""The native format as the engine sees it."""

from collections.abc import Sequence

import numpy as np
from blake3 import blake3

from rehydrate.chunks import ROW_DTYPE, Rows
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.native.container import container_path
from rehydrate.formats.native.layout import KIND_CHUNK, KIND_STREAM_MAP, RECORD_SIZE
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.native.repair import finder, repair
from rehydrate.formats.native.stub import decode_stubs, store_key
from rehydrate.formats.scan import RecordFinder
from rehydrate.formats.walk import DATA, Limits, RecordDecoder, RecordRef, StubTable, Walk
from rehydrate.values import ReadableBuffer, StorePath

__all__ = ["NATIVE", "NativeFormat"]


class NativeFormat:
    """The native store format; see :class:`~rehydrate.formats.walk.StoreFormat`."""

    @property
    def name(self) -> str:
        """``"native"``."""
        return "native"

    def bound(self, store: bytes) -> "NativeFormat":
        """Return itself: a native container is found in the same place whatever its store."""
        del store
        return self

    @property
    def has_recall(self) -> bool:
        """False: a native stub holds no file data."""
        return False

    def digest(self, data: ReadableBuffer) -> bytes:
        """Return BLAKE3 of the bytes."""
        return blake3(data).digest()

    def store_key(self, stub: bytes) -> bytes | None:
        """Return the store that a native stub names."""
        return store_key(stub)

    def decode_stubs(self, stubs: Sequence[bytes], limits: Limits) -> StubTable:
        """Decode stubs into columns."""
        return decode_stubs(stubs, limits)

    def decode_map(self, payload: ReadableBuffer) -> Rows:
        """Return the rows of a stream-map record: its payload is the row table itself."""
        view = memoryview(payload)
        if len(view) % ROW_DTYPE.itemsize:
            raise CorruptMetadataError("a stream map is no multiple of 64 bytes", code="map.size")
        rows: Rows = np.frombuffer(view, ROW_DTYPE)
        return rows

    @property
    def map_overhead(self) -> int:
        """Size of a record header: stream maps are stored plain, without extension."""
        return RECORD_SIZE

    def container_path(self, kind: str, container: int, generation: int) -> StorePath:
        """Return the path of a container: its kind is its folder."""
        return container_path(kind, container, generation)

    def decoder(self, kind: str) -> RecordDecoder:
        """Return a decoder for chunks (DATA) or stream maps (STREAM)."""
        return NativeDecoder(KIND_CHUNK if kind == DATA else KIND_STREAM_MAP)

    def repair(self, ref: RecordRef) -> Walk:
        """Return the repair walk of a record."""
        return repair(ref)

    def scanner(self, path: StorePath, wanted: Sequence[RecordRef]) -> RecordFinder:
        """Return a scanner; a native container is walked the same way whatever its path."""
        del path
        return finder(wanted)


NATIVE = NativeFormat()
"""The one instance: the format has no state."""
