"""Phase one: from stubs to the rows of all files, reading stream maps where stubs refer to them."""

from collections.abc import Iterable, Mapping, Sequence

import attrs
import numpy as np

from rehydrate.chunks import HOLE, ROW_DTYPE, ChunkTable, Ints, Rows
from rehydrate.engine.blocks import FragmentJoiner, RecordConsumer
from rehydrate.engine.reads import Containers
from rehydrate.engine.records import Records
from rehydrate.engine.repair import repair
from rehydrate.engine.rounds import Round
from rehydrate.engine.session import Session
from rehydrate.errors import CorruptMetadataError, FormatError, LimitError, RestoreError
from rehydrate.formats.maps import check_maps
from rehydrate.formats.walk import STREAM, Limits, StoreFormat, StubTable
from rehydrate.plan.planner import find_needs
from rehydrate.values import ReadableBuffer

__all__ = ["StreamMaps", "read_stream_maps"]


@attrs.frozen(eq=False)
class StreamMaps:
    """The rows of all files of a job.

    Attributes:
        table: Rows by stub index; a stub that failed, or is no file, has none.
        errors: Why files have no rows, by stub index.
    """

    table: ChunkTable
    errors: Mapping[int, RestoreError]


class _MapSink:
    """Keeps the rows of each stream-map record."""

    def __init__(self, form: StoreFormat, count: int) -> None:
        self._format = form
        self.rows: list[Rows | None] = [None] * count
        self.errors: dict[int, RestoreError] = {}

    def open(self, numbers: Ints) -> "_MapTaker":
        return _MapTaker(self, numbers.tolist())

    def take(self, need: int, data: ReadableBuffer) -> None:
        try:
            # A copy, as the data may be a view of a buffer that is used again.
            self.rows[need] = self._format.decode_map(bytes(memoryview(data)))
        except FormatError as error:
            self.errors[need] = error


class _MapTaker:
    def __init__(self, sink: _MapSink, numbers: list[int]) -> None:
        self._sink, self._numbers = sink, numbers

    def put(self, position: int, data: ReadableBuffer) -> None:
        self._sink.take(self._numbers[position], data)

    def close(self) -> None:
        """Nothing is held back."""


def read_stream_maps(
    session: Session,
    form: StoreFormat,
    stubs: StubTable,
    wanted: Ints,
    *,
    joiner: FragmentJoiner,
    limits: Limits,
) -> StreamMaps:
    """Read and check the stream maps of some stubs.

    Args:
        session: The job.
        form: Format of all these stubs.
        stubs: The stubs.
        wanted: Indexes of the stubs whose rows are wanted, ascending.
        joiner: Joins records that come in fragments.
        limits: Largest numbers accepted.

    Returns:
        Rows of the wanted files.
    """
    count = len(stubs.kind)
    lengths = np.zeros(count, np.int64)
    lengths[wanted] = np.diff(stubs.row_ptr)[wanted]
    errors: dict[int, RestoreError] = {}
    chosen = np.repeat(lengths > 0, np.diff(stubs.row_ptr))
    in_parts = np.flatnonzero(stubs.in_parts & (lengths > 0))
    maps: Mapping[int, list[_Part]] = {}
    if len(in_parts):
        maps = _read_parts(
            session, form, stubs, lengths, errors=errors, joiner=joiner, limits=limits
        )
        rows, lengths = _merge(stubs, lengths, maps)
    else:
        rows = stubs.rows if bool(chosen.all()) else stubs.rows[chosen]
    table = ChunkTable(rows, _ptr(lengths))
    sizes = np.where(lengths > 0, stubs.size, 0)
    for file, error in check_maps(table, sizes, limits).items():
        errors.setdefault(file, _blame(error, maps.get(file, ()), limits))
    maps = {}  # the rows are in the table now
    # A file of some size without rows fails here, as its map ends at 0.
    for file in wanted[(lengths[wanted] == 0) & (stubs.size[wanted] > 0)].tolist():
        errors.setdefault(
            file, CorruptMetadataError("a stub has no stream map", code="map.missing")
        )
    return StreamMaps(_without(table, errors), errors)


def _ptr(lengths: Ints) -> Ints:
    ptr = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ptr[1:])
    return ptr


def _without(table: ChunkTable, errors: Mapping[int, RestoreError]) -> ChunkTable:
    """Return the table without the rows of files that failed."""
    if not errors:
        return table
    lengths = np.diff(table.row_ptr)
    keep = np.ones(table.files, np.bool_)
    keep[list(errors)] = False
    rows = table.rows[np.repeat(keep, lengths)]
    return ChunkTable(rows, _ptr(np.where(keep, lengths, 0)))


def _read_parts(
    session: Session,
    form: StoreFormat,
    stubs: StubTable,
    lengths: Ints,
    *,
    errors: dict[int, RestoreError],
    joiner: FragmentJoiner,
    limits: Limits,
) -> dict[int, list["_Part"]]:
    """Read the stream-map records of all files that have some; return the parts of each file."""
    per_stub = np.diff(stubs.row_ptr)
    is_part = np.repeat(stubs.in_parts & (lengths > 0), per_stub)
    parts = stubs.rows[is_part]
    sizes = parts["length"].astype(np.int64) - form.map_overhead
    files = np.repeat(np.arange(len(per_stub)), per_stub)[is_part]
    wrong = (sizes <= 0) | (sizes > limits.map_record) | (parts["container"] == 0)
    for file in sorted(set(files[wrong].tolist())):
        errors[file] = CorruptMetadataError("a stub refers to no stream map", code="map.part")
    totals = np.bincount(files, np.minimum(sizes, limits.map_record), len(per_stub))
    for file in np.flatnonzero(totals > limits.map_size).tolist():
        errors[file] = LimitError(f"the stream map of a file is above {limits.map_size} bytes")
    good = ~np.isin(files, list(errors))
    parts, sizes, files = parts[good], sizes[good], files[good]
    # Each part is a file of one row here: its logical size tells equal references apart.
    marked = parts.copy()
    marked["end"] = sizes
    table = ChunkTable(marked, np.arange(len(parts) + 1, dtype=np.int64))
    needs = find_needs(table, sort_key=lambda key: form.container_path(STREAM, *key))
    records = Records.of(form, STREAM, needs, marked, sizes)
    sink = _MapSink(form, len(needs))
    consumer = RecordConsumer(session, records, sink, joiner)
    containers = Containers(session.options.read_attempts)
    Round(session, "stream", needs, records.paths, containers=containers, consumer=consumer).run()
    joiner.forget()
    lost = repair(session, records, sink, consumer.failed, containers)
    need_of_part = np.zeros(len(parts), np.int64)
    need_of_part[needs.use_row] = np.repeat(np.arange(len(needs)), np.diff(needs.use_ptr))
    found = (
        _Part(sink.rows[need], records, need, error=lost.get(need) or sink.errors.get(need))
        for need in need_of_part.tolist()
    )
    return _join_parts(zip(files.tolist(), parts["end"].tolist(), found, strict=True), errors)


@attrs.frozen(eq=False)
class _Part:
    """One part of a file's stream map.

    Attributes:
        rows: Its rows; None if it was not read.
        records: The stream-map records of the job.
        need: Which of them it is.
        error: Why it has no rows.
    """

    rows: Rows | None
    records: Records
    need: int
    error: RestoreError | None

    def placed(self, error: RestoreError) -> RestoreError:
        """Return the error with the place of the record."""
        needs = self.records.needs
        return error.at(
            container=self.records.path(self.need),
            offset=int(needs.offset[self.need]),
            length=int(needs.length[self.need]),
        )


def _join_parts(
    parts: Iterable[tuple[int, int, _Part]], errors: dict[int, RestoreError]
) -> dict[int, list[_Part]]:
    """Collect the parts of each file; a part must end where its stub says.

    Args:
        parts: File, logical end by the stub, and part.
        errors: Gets the files that have a bad part.
    """
    maps: dict[int, list[_Part]] = {}
    for file, end, part in parts:
        error = part.error
        found = 0 if part.rows is None or not len(part.rows) else int(part.rows["end"][-1])
        if error is None and found != end:
            error = CorruptMetadataError(
                f"a part of a stream map ends at {found}, and by the stub at {end}",
                code="map.part",
            )
        if error is not None:
            errors.setdefault(file, part.placed(error))
        maps.setdefault(file, []).append(part)
    return {file: found for file, found in maps.items() if file not in errors}


def _blame(error: RestoreError, parts: Sequence[_Part], limits: Limits) -> RestoreError:
    """Return the error of a stream map with the place of the part that is at fault."""
    end = 0
    for part in parts:
        rows = part.rows
        if rows is None:
            break
        before = np.zeros(1 if end else 0, ROW_DTYPE)
        before["local_id"], before["end"] = HOLE, end
        with_start = np.concatenate([before, rows])
        end = int(rows["end"][-1])
        table = ChunkTable(with_start, np.array([0, len(with_start)], np.int64))
        if check_maps(table, np.array([end], np.uint64), limits):
            return part.placed(error)
    return error


def _merge(
    stubs: StubTable, lengths: Ints, maps: Mapping[int, Sequence[_Part]]
) -> tuple[Rows, Ints]:
    """Put inline rows and rows from stream maps in file order."""
    rows_of = {
        file: [part.rows for part in found if part.rows is not None] for file, found in maps.items()
    }
    merged = lengths.copy()
    merged[stubs.in_parts] = 0
    for file, found in rows_of.items():
        merged[file] = sum(len(rows) for rows in found)
    pieces: list[Rows] = []
    inline_from = 0
    for file in sorted(maps):
        pieces += [_inline(stubs, lengths, inline_from, file), *rows_of[file]]
        inline_from = file + 1
    pieces.append(_inline(stubs, lengths, inline_from, len(lengths)))
    return np.concatenate(pieces, dtype=ROW_DTYPE), merged


def _inline(stubs: StubTable, lengths: Ints, first: int, end: int) -> Rows:
    """Return the wanted inline rows of stubs ``[first, end)``."""
    rows = stubs.rows[stubs.row_ptr[first] : stubs.row_ptr[end]]
    wanted = (lengths[first:end] > 0) & ~stubs.in_parts[first:end]
    return rows[np.repeat(wanted, np.diff(stubs.row_ptr[first : end + 1]))]
