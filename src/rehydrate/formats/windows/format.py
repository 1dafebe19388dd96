"""The Windows format as the engine sees it."""

import uuid
from collections.abc import Sequence

import numpy as np

from rehydrate.chunks import ROW_DTYPE, Rows
from rehydrate.errors import LimitError, RestoreError
from rehydrate.formats.scan import RecordFinder
from rehydrate.formats.walk import FILE, Limits, RecordDecoder, RecordRef, StubTable, Walk
from rehydrate.formats.windows.layout import STREAM_HEADER_SIZE, container_path
from rehydrate.formats.windows.maps import decode_map
from rehydrate.formats.windows.record import WindowsDecoder, chunk_digest
from rehydrate.formats.windows.repair import finder, repair
from rehydrate.formats.windows.stub import MapInfo, WindowsStub, parse_stub, store_key
from rehydrate.values import (
    MAX_OFFSET,
    NO_MODE,
    NO_OWNER,
    NO_TIME,
    ReadableBuffer,
    StorePath,
    store_folder,
)

__all__ = ["WINDOWS", "WindowsFormat"]

_LARGEST_MAP = 0xFFFFFFFF - STREAM_HEADER_SIZE


class WindowsFormat:
    """Stubs 1.2, 2.1 and 3.1; see :class:`~rehydrate.formats.walk.StoreFormat`."""

    def __init__(self, store: bytes = bytes(16)) -> None:
        """Bind to the store with that identity, 16 bytes."""
        self._prefix = store_folder(uuid.UUID(bytes=store))

    def bound(self, store: bytes) -> "WindowsFormat":
        """Return the format for one store: its GUID is in the path of every container."""
        return WindowsFormat(store)

    @property
    def name(self) -> str:
        """``"windows"``."""
        return "windows"

    @property
    def has_recall(self) -> bool:
        """True: what was written after the optimization lies in the stub's own stream."""
        return True

    def digest(self, data: ReadableBuffer) -> bytes:
        """Return the first 32 bytes of SHA-512 of the bytes."""
        return chunk_digest(data)

    def store_key(self, stub: bytes) -> bytes | None:
        """Return the store that a stub names."""
        return store_key(stub)

    def decode_stubs(self, stubs: Sequence[bytes], limits: Limits) -> StubTable:
        """Decode stubs into columns: rows are the parts of their stream maps."""
        return _decode_stubs(stubs, limits)

    def decode_map(self, payload: ReadableBuffer) -> Rows:
        """Return the rows of a stream map."""
        return decode_map(payload)

    @property
    def map_overhead(self) -> int:
        """Bytes of the header of a stream record."""
        return STREAM_HEADER_SIZE

    def container_path(self, kind: str, container: int, generation: int) -> StorePath:
        """Return the path of a container below the volume."""
        return container_path(self._prefix, kind, container, generation)

    def decoder(self, kind: str) -> RecordDecoder:
        """Return a decoder for one kind of container."""
        return WindowsDecoder(kind)

    def repair(self, ref: RecordRef) -> Walk:
        """Return the repair walk of a record."""
        return repair(self._prefix, ref)

    def scanner(self, path: StorePath, wanted: Sequence[RecordRef]) -> RecordFinder:
        """Return a scanner; all containers are walked the same way."""
        del path
        return finder(wanted)


def _decode_stubs(stubs: Sequence[bytes], limits: Limits) -> StubTable:
    count = len(stubs)
    errors: dict[int, RestoreError] = {}
    size = np.zeros(count, np.int64)
    signs = np.zeros(count, np.bool_)
    row_ptr = np.zeros(count + 1, np.int64)
    parts: list[MapInfo] = []
    for index, data in enumerate(stubs):
        try:
            stub = _within(parse_stub(data), limits)
        except RestoreError as error:
            errors[index] = error
        else:
            size[index], signs[index] = stub.size, stub.recall_sign
            parts += stub.parts
        row_ptr[index + 1] = len(parts)
    in_parts = np.diff(row_ptr) > 0
    return StubTable(
        errors=errors,
        kind=np.where(in_parts, FILE, 0).astype(np.uint8),
        size=size,
        mode=np.full(count, NO_MODE, np.uint32),
        uid=np.full(count, NO_OWNER, np.uint32),
        gid=np.full(count, NO_OWNER, np.uint32),
        mtime_ns=np.full(count, NO_TIME, np.int64),
        link_group=np.zeros(count, np.uint64),
        rows=_rows(parts),
        row_ptr=row_ptr,
        in_parts=in_parts,
        recall_sign=signs,
        digests=np.zeros(count, "V32"),
        texts={},
        xattrs={},
        inconsistent=np.zeros(count, np.bool_),
    )


def _within(stub: WindowsStub, limits: Limits) -> WindowsStub:
    if stub.size > min(limits.file_size, MAX_OFFSET):
        raise LimitError(f"a stub of {stub.size} bytes is above the limit of {limits.file_size}")
    largest = max(part.size for part in stub.parts)
    if largest > min(limits.map_record, _LARGEST_MAP):
        raise LimitError(
            f"a stream map of {largest} bytes is above the limit of {limits.map_record}"
        )
    return stub


def _rows(parts: Sequence[MapInfo]) -> Rows:
    rows: Rows = np.zeros(len(parts), ROW_DTYPE)
    for name, field in (
        ("container", "container"),
        ("generation", "generation"),
        ("offset", "offset"),
        ("local_id", "local_id"),
        ("end", "end"),
    ):
        rows[name] = [getattr(part, field) for part in parts]
    rows["length"] = [part.size + STREAM_HEADER_SIZE for part in parts]
    rows["digest"] = np.frombuffer(b"".join(part.digest for part in parts), "V32")
    return rows


WINDOWS = WindowsFormat()
"""The format without a store; :meth:`WindowsFormat.bound` gives one that can name containers."""
