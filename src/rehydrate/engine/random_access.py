"""Reading a range of one file without restoring it: only the records that hold it are read.

Bytes come in the order of the file, each chunk verified before any byte of it is handed out. At
most one read and one chunk are held in memory. The store is called on the caller's thread; order
and preview calls are not made, as there is nothing to order.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import ROW_DTYPE, ChunkTable, Rows
from rehydrate.engine.calls import StoreCalls, declared_store
from rehydrate.engine.own_data import OWN_PIECE, read_own_data
from rehydrate.errors import (
    FormatError,
    RequestError,
    RestoreError,
    ShortReadError,
    StoreError,
)
from rehydrate.formats.detect import StubOwner, format_of, owner_of
from rehydrate.formats.maps import check_maps
from rehydrate.formats.walk import (
    DATA,
    FILE,
    STREAM,
    Answer,
    Limits,
    ListFolder,
    Read,
    RecordRef,
    Request,
    Scan,
    StoreFormat,
    StubTable,
)
from rehydrate.protocols import BackupStore
from rehydrate.requests import OwnExtent, Recall
from rehydrate.values import MAX_OFFSET, ReadableBuffer, StorePath

__all__ = ["read_range"]

_MOST_AT_ONCE: Final = 4 << 20
_SCAN_PIECE: Final = 256 << 10
_ZEROS: Final = bytes(1 << 20)


def read_range(
    stub: bytes,
    store: BackupStore,
    offset: int = 0,
    length: int = MAX_OFFSET,
    *,
    size: int | None = None,
    own_data: Sequence[OwnExtent] | None = None,
    recall: Recall = Recall.REFUSE,
    limits: Limits | None = None,
) -> Iterator[bytes]:
    """Read a range of the file that a stub stands for.

    Args:
        stub: The stub, as the catalogue or the backup holds it.
        store: Reads containers.
        offset: First byte of the file, at least 0; behind the end there is nothing.
        length: Number of bytes, at least 0; cut at the end of the file.
        size: Size of the stub's data stream, where the source of the stub knows it; what lies
            behind the end of the map and is no own data reads as zeros.
        own_data: Ranges that the stub itself holds, as in :class:`~rehydrate.RestoreRequest`.
        recall: What to do where the stub may hold newer data and ``own_data`` is not known.
        limits: Largest numbers accepted from the store.

    Yields:
        The bytes in order, in pieces of at most one chunk; zeros for holes.

    Raises:
        RequestError: The bytes are no stub, or that of no regular file; or the range is negative.
        StoreError: The store cannot give what is needed, or is another one.
        FormatError: What it gave is damaged, and there is no other copy.
    """
    if offset < 0 or length < 0:
        raise RequestError("a range begins at 0 or later and is not negative", code="request.range")
    limits = Limits() if limits is None else limits
    owner = owner_of(stub)
    if owner is None:
        raise RequestError("this is no stub of a format that is known", code="request.stub")
    _check_store(owner, store)
    reader = _RangeReader(format_of(owner), StoreCalls(store), limits)
    file = reader.open(stub, size)
    if file.recalled and own_data is None and recall is Recall.REFUSE:
        raise RequestError(
            "the stub may hold data newer than the chunk store: give own_data, or ask to ignore it",
            code="recall.unknown",
        )
    end = min(offset + length, file.size)
    for start, stop, own in _layers(own_data or (), offset, end):
        if own is None:
            yield from reader.read(file, start, min(stop, file.mapped))
            yield from _zeros(stop - max(start, file.mapped))
        else:
            for at in range(start, stop, OWN_PIECE):
                yield bytes(read_own_data(own, at, min(OWN_PIECE, stop - at)))


def _layers(
    own_data: Sequence[OwnExtent], offset: int, end: int
) -> Iterator[tuple[int, int, OwnExtent | None]]:
    """Cut ``[offset, end)`` into ranges that the stub holds itself and ranges that it does not."""
    at = offset
    for own in sorted(own_data, key=lambda own: own.extent.offset):
        first, last = max(own.extent.offset, at), min(own.extent.end, end)
        if first >= last:
            continue
        if at < first:
            yield at, first, None
        yield first, last, own
        at = last
    if at < end:
        yield at, end, None


def _check_store(owner: StubOwner, store: BackupStore) -> None:
    declared = declared_store(store)
    if declared is not None and declared != owner.store_id:
        raise StoreError(
            f"the stub belongs to store {owner.store_id}; given: {declared}", code="store.other"
        )


@attrs.frozen(eq=False)
class _OpenFile:
    """A stub that is decoded.

    Attributes:
        stubs: The table with the one stub.
        mapped: Where its map ends, bytes.
        size: Size of the file in bytes.
        recalled: Whether anything hints at data newer than the map.
    """

    stubs: StubTable
    mapped: int
    size: int
    recalled: bool


@attrs.frozen
class _Piece:
    """One stored record and what is wanted of its logical bytes."""

    ref: RecordRef
    first: int
    end: int


class _RangeReader:
    """Reads ranges of files of one store."""

    def __init__(self, form: StoreFormat, calls: StoreCalls, limits: Limits) -> None:
        self._format, self._calls, self._limits = form, calls, limits
        self._most = min(calls.max_read, _MOST_AT_ONCE)
        self._last_part: tuple[int, Rows] = -1, np.zeros(0, ROW_DTYPE)
        self._decode = {kind: form.decoder(kind).decode for kind in (DATA, STREAM)}

    def open(self, stub: bytes, size: int | None) -> _OpenFile:
        """Decode a stub.

        Args:
            stub: The stub.
            size: Size of its data stream, if known.
        """
        stubs = self._format.decode_stubs([stub], self._limits)
        for error in stubs.errors.values():
            raise error
        if int(stubs.kind[0]) != FILE:
            raise RequestError("only regular files have bytes to read", code="request.kind")
        mapped = int(stubs.size[0])
        size = mapped if size is None else size
        recalled = bool(stubs.recall_sign[0]) or size != mapped
        return _OpenFile(stubs, mapped, size, recalled)

    def read(self, file: _OpenFile, offset: int, end: int) -> Iterator[bytes]:
        """Yield the bytes ``[offset, end)`` of what the map of a file describes."""
        stubs = file.stubs
        if offset >= end:
            return
        if not stubs.in_parts[0]:
            self._check(stubs.rows, 0, file.mapped)
            yield from self._rows(stubs.rows, 0, offset, end)
            return
        ends = stubs.rows["end"].tolist()
        for number, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
            if start < end and offset < stop:
                rows = self._part(stubs.rows, number, start)
                yield from self._rows(rows, start, max(offset, start), min(end, stop))

    def _part(self, parts: Rows, number: int, start: int) -> Rows:
        """Return the rows of one record of a stream map, checked; the last one is kept."""
        if self._last_part[0] == number:
            return self._last_part[1]
        length = int(parts["length"][number])
        ref = self._ref(STREAM, parts, number, length - self._format.map_overhead)
        (data,) = self._records([ref])
        try:
            rows = self._format.decode_map(bytes(memoryview(data)))
            self._check(rows, start, int(parts["end"][number]))
        except FormatError as error:
            path = self._format.container_path(STREAM, ref.container, ref.generation)
            raise error.at(container=path, offset=ref.offset, length=ref.length) from None
        self._last_part = number, rows
        return rows

    def _check(self, rows: Rows, start: int, stop: int) -> None:
        """Check that rows tile ``[start, stop)``."""
        moved = rows.copy()
        moved["end"] -= np.uint64(start)
        table = ChunkTable(moved, np.array([0, len(moved)], np.int64))
        for error in check_maps(table, np.array([stop - start], np.int64), self._limits).values():
            raise error

    def _ref(self, kind: str, rows: Rows, number: int, logical_size: int) -> RecordRef:
        row = rows[number]
        return RecordRef(
            kind=kind,
            container=int(row["container"]),
            generation=int(row["generation"]),
            offset=int(row["offset"]),
            length=int(row["length"]),
            local_id=int(row["local_id"]),
            logical_size=logical_size,
            digest=row["digest"].tobytes(),
        )

    def _rows(self, rows: Rows, start: int, offset: int, end: int) -> Iterator[bytes]:
        """Yield what rows that begin at ``start`` hold of ``[offset, end)``."""
        ends = rows["end"].astype(np.int64)
        first = int(np.searchsorted(ends, offset, side="right"))
        last = int(np.searchsorted(ends, end, side="left"))
        at = start if first == 0 else int(ends[first - 1])
        run: list[_Piece] = []
        for number in range(first, last + 1):
            until = int(ends[number])
            low, high = max(offset - at, 0), min(end, until) - at
            if rows["container"][number]:
                piece = _Piece(self._ref(DATA, rows, number, until - at), low, high)
                if run and not self._fits(run, piece):
                    yield from self._read_run(run)
                    run = []
                run.append(piece)
            else:
                yield from self._read_run(run)
                run = []
                yield from _zeros(high - low)
            at = until
        yield from self._read_run(run)

    def _fits(self, run: Sequence[_Piece], piece: _Piece) -> bool:
        """Tell whether a record is read together with those before it."""
        first, before, ref = run[0].ref, run[-1].ref, piece.ref
        gap = ref.offset - (before.offset + before.length)
        return (
            (ref.container, ref.generation) == (before.container, before.generation)
            and 0 <= gap <= self._calls.max_gap
            and ref.offset + ref.length - first.offset <= self._most
        )

    def _read_run(self, run: Sequence[_Piece]) -> Iterator[bytes]:
        if not run:
            return
        decoded = self._records([piece.ref for piece in run])
        for piece, data in zip(run, decoded, strict=True):
            whole = piece.end - piece.first == piece.ref.logical_size
            if whole and isinstance(data, bytes):
                yield data
            else:
                yield bytes(memoryview(data)[piece.first : piece.end])

    def _records(self, refs: Sequence[RecordRef]) -> Iterator[ReadableBuffer]:
        """Yield the verified bytes of neighbouring records of one container."""
        first, last = refs[0], refs[-1]
        path = self._format.container_path(first.kind, first.container, first.generation)
        decode = self._decode[first.kind]
        view: memoryview | None = None
        failure: RestoreError | None = None
        try:
            size = last.offset + last.length - first.offset
            view = self._fetch(path, first.offset, size)
        except StoreError as error:
            failure = error
        for ref in refs:
            data: ReadableBuffer | None = None
            if view is not None:
                at = ref.offset - first.offset
                record = view[at : at + ref.length]
                try:
                    data = decode(record, ref.local_id, ref.logical_size, ref.digest)
                except FormatError as error:
                    failure = error.at(container=path, offset=ref.offset, length=ref.length)
            yield self._repaired(ref, failure) if data is None else data

    def _repaired(self, ref: RecordRef, failure: RestoreError | None) -> bytes:
        """Look for a record that was not whole at its place."""
        walk = self._format.repair(ref)
        try:
            requests = next(walk)
            while True:
                requests = walk.send([self._answer(request) for request in requests])
        except StopIteration as end:
            found: bytes = end.value
            return found
        except FormatError as lost:
            raise failure or lost from lost

    def _answer(self, request: Request) -> Answer:
        if isinstance(request, ListFolder):
            return self._calls.list_folder(request.folder)
        try:
            if isinstance(request, Read):
                return bytes(self._fetch(request.path, request.offset, request.size))
            return self._scan(request)
        except StoreError as error:
            return error

    def _scan(self, scan: Scan) -> Answer:
        """Walk a container until the record turns up or the container ends."""
        scanner = self._format.scanner(scan.path, [scan.ref])
        size = min(self._calls.max_read, _SCAN_PIECE)
        room = bytearray(size)
        for at in range(scan.start, scan.end, size):
            ended = False
            try:
                view = self._calls.read(scan.path, at, min(size, scan.end - at), room)
            except ShortReadError as short:
                view, ended = memoryview(room)[: short.got], True
            for _, record in scanner.feed(view):
                return record
            if ended:
                break
        return None

    def _fetch(self, path: StorePath, offset: int, size: int) -> memoryview:
        """Read any number of bytes in reads that suit the store."""
        most = self._calls.max_read
        if size <= most:
            return self._calls.read(path, offset, size, None)
        whole = bytearray(size)
        for at in range(0, size, most):
            part = min(most, size - at)
            whole[at : at + part] = self._calls.read(path, offset + at, part, None)
        return memoryview(whole)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS if count >= len(_ZEROS) else bytes(count)
        count -= len(_ZEROS)
