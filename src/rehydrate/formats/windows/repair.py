"""Finding a record that is not (whole) at its place, and walking a container record by record."""

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError, FormatError
from rehydrate.formats.scan import Places, RecordFinder, RecordShape, Words
from rehydrate.formats.walk import DATA, Answer, ListFolder, Read, RecordRef, Scan, Walk
from rehydrate.formats.windows.container import (
    MAX_TABLE_SIZE,
    parse_container_header,
    parse_table,
    table_size,
)
from rehydrate.formats.windows.layout import (
    FIRST_RECORD,
    HEAD_SIZE,
    MAX_CONTAINER,
    RECORD_MAGIC,
    STREAM_HEADER_SIZE,
    TABLE_PLACE,
    align,
    container_path,
    parse_container_name,
)
from rehydrate.formats.windows.record import WindowsDecoder, decode_copy, parse_header
from rehydrate.values import StorePath

__all__ = ["finder", "repair"]

_SCAN_SLACK: Final = 128 << 20
_USUAL_SIZE: Final = 1 << 30
_MOST_GENERATIONS: Final = 8
"""A listing may be wrong or hostile, and each generation costs a walk of a whole container."""
_MOST_HOTSPOTS: Final = 16
_LARGEST_RECORD: Final = 64 << 20
_HOTSPOT: Final = "Hotspot"
"""Folder with copies of chunks that many files need; its containers are INFERRED to be like Data."""
_LARGEST_HEADER: Final = 0x200


@attrs.frozen
class _Head:
    """What the first pages of a container say about a record.

    Attributes:
        foreign: Whether its header belongs to another container.
        end: Where the valid data ends, bytes; 0 = not known.
        places: Offsets of the record by its redirection tables.
        tables: Ranges of tables that are not whole in the pages, ``(offset, size)``.
    """

    foreign: bool = False
    end: int = 0
    places: tuple[int, ...] = ()
    tables: tuple[tuple[int, int], ...] = ()


def repair(prefix: str, ref: RecordRef) -> Walk:
    """Look for a record in at most four rounds of reads.

    The folder is listed first: a compacted container has another generation in its name. Round 1
    reads the pages with container header and redirection tables, in the generation of the reference
    or else the newest one, and in the former the record at its hint once more. Round 2 reads tables
    that are larger than their page, round 3 the record where they say that it is, or else at its
    hint, and round 4 walks this container, other generations of it, and the copies of often used
    chunks; where a round is left, their first pages are read before.

    Args:
        prefix: Folder of the store.
        ref: The record.

    Returns:
        The walk; it returns the logical bytes.

    Raises:
        CorruptMetadataError: No good copy was found.
    """
    names, hot = yield (
        ListFolder(StorePath(f"{prefix}/{ref.kind}")),
        ListFolder(StorePath(f"{prefix}/{_HOTSPOT}")),
    )
    exact = container_path(prefix, ref.kind, ref.container, ref.generation)
    listed = _generations(prefix, names, ref)
    path = exact if exact in listed or not listed else listed[0]
    # In another generation the hint is stale for all records but those that did not move, and
    # their table lists them all: nothing is read in vain.
    hint = (Read(path, ref.offset, ref.length),)
    *again, page = yield (*(hint if path == exact else ()), Read(path, 0, HEAD_SIZE))
    data = _first(again, ref)
    if data is not None:
        return data
    head = _look(page, ref, ref.generation if path == exact else _generation(path))
    places = head.places
    if head.tables:
        tables = yield tuple(Read(path, offset, size) for offset, size in head.tables)
        places += tuple(p for table in tables for p in _in_table(table, ref.local_id))
    moved = dict.fromkeys(Read(path, place, ref.length) for place in places)
    looked = tuple(moved or hint) if path != exact else tuple(r for r in moved if r not in hint)
    data = _first((yield looked) if looked else (), ref)
    if data is not None:
        return data
    others = [other for other in listed if other != path][:_MOST_GENERATIONS]
    others += _hotspots(prefix, hot) if ref.kind == DATA else []
    ends = [] if head.foreign else [(path, head.end)]
    pages: Sequence[Answer] = [None] * len(others)
    if others and not (head.tables and looked):
        pages = yield tuple(Read(other, 0, HEAD_SIZE) for other in others)
    ends += [(other, _end(page)) for other, page in zip(others, pages, strict=True)]
    for answer in (yield tuple(_scans(ends, ref))):
        data = _copy(answer, ref)
        if data is not None:
            return data
    raise CorruptMetadataError("no good copy of a record was found", code="record.lost")


def _scans(ends: Sequence[tuple[StorePath, int]], ref: RecordRef) -> Iterator[Scan]:
    """Return what is walked, each container from its first record on.

    A container is walked up to the end that its header gives, and then on, as the header may be an
    older copy: two requests, since a store may refuse a read that reaches beyond the end.

    Args:
        ends: The containers, and where their valid data end, bytes; 0 = not known.
        ref: The record.
    """
    for path, end in ends:
        reach = max(ref.offset + ref.length, end, _USUAL_SIZE) + _SCAN_SLACK
        reach = min(reach, MAX_CONTAINER)
        start = FIRST_RECORD
        if start < end < reach:
            yield Scan(path, start, end, ref)
            start = align(end)
        yield Scan(path, start, reach, ref)


def _end(page: Answer) -> int:
    """Return where the valid data of a container end, by its first pages; 0 if they do not say."""
    try:
        return parse_container_header(page).valid_size if isinstance(page, bytes) else 0
    except CorruptMetadataError:
        return 0


def _accept(record: Answer, ref: RecordRef) -> bytes | None:
    """Return the logical bytes if the answer is the record with its LocalId."""
    if not isinstance(record, bytes):
        return None
    try:
        data = WindowsDecoder(ref.kind).decode(
            memoryview(record), ref.local_id, ref.logical_size, ref.digest
        )
    except FormatError:
        return None
    return bytes(data)


def _first(records: Sequence[Answer], ref: RecordRef) -> bytes | None:
    """Return the logical bytes of the first answer that is the record."""
    found = (_accept(record, ref) for record in records)
    return next((data for data in found if data is not None), None)


def _copy(record: Answer, ref: RecordRef) -> bytes | None:
    if not isinstance(record, bytes):
        return None
    data = decode_copy(memoryview(record), ref.kind, ref.logical_size, ref.digest)
    return None if data is None else bytes(data)


def _generation(path: StorePath) -> int:
    parsed = parse_container_name(path.rpartition("/")[2])
    return parsed[1] if parsed else 0


def _generations(prefix: str, names: Answer, ref: RecordRef) -> list[StorePath]:
    """Return the live containers with the id of the reference, newest first."""
    if not isinstance(names, tuple):
        return []
    parsed = {parse_container_name(name) for name in names}
    numbers = sorted(found[1] for found in parsed if found and found[0] == ref.container)
    return [container_path(prefix, ref.kind, ref.container, n) for n in reversed(numbers)]


def _hotspots(prefix: str, names: Answer) -> list[StorePath]:
    if not isinstance(names, tuple):
        return []
    parsed = sorted(found for found in map(parse_container_name, names) if found)
    return [container_path(prefix, _HOTSPOT, *found) for found in parsed[:_MOST_HOTSPOTS]]


def _look(page: Answer, ref: RecordRef, generation: int) -> _Head:
    """Read the header and the tables in the first pages of a container."""
    if not isinstance(page, bytes):
        return _Head()
    end, backup = 0, 0
    try:
        header = parse_container_header(page)
    except CorruptMetadataError:
        pass
    else:
        if (header.container, header.generation) != (ref.container, generation):
            return _Head(foreign=True)
        end, backup = header.valid_size, header.backup_table
    places: list[int] = []
    tables: list[tuple[int, int]] = []
    for place in dict.fromkeys((TABLE_PLACE, backup)):
        if place >= len(page):
            # Behind a primary table of more than a page, and as large as that.
            tables.append((place, min(place - TABLE_PLACE, MAX_TABLE_SIZE)))
        elif place >= TABLE_PLACE:
            _look_in(page[place:], place, ref.local_id, places, tables)
    return _Head(end=end, places=tuple(places), tables=tuple(tables))


def _look_in(
    data: bytes, place: int, local_id: int, places: list[int], tables: list[tuple[int, int]]
) -> None:
    """Look into a table that begins in the first pages, or note that it has to be read."""
    try:
        size = table_size(data)
    except CorruptMetadataError:
        return
    if size > len(data):
        tables.append((place, size))
    else:
        places.extend(_in_table(data, local_id))


def _in_table(table: Answer, local_id: int) -> list[int]:
    """Return where a table says that a record is; nothing if the table is of no use."""
    if not isinstance(table, bytes):
        return []
    try:
        place = parse_table(table).place(local_id)
    except CorruptMetadataError:
        return []
    return [] if place is None else [place]


def _digest_words(words: Words, places: Places) -> Words:
    """Return the first words of digests: they end a record's extension, whose size is at 0x12."""
    extensions = (words[places + 2] >> np.uint64(16)) & np.uint64(0xFFFF)
    found = places + (extensions // np.uint64(8)).astype(np.int64)
    picked: Words = words[np.minimum(found, len(words) - 1)]
    return picked


def _measure(data: bytes, place: int) -> tuple[bytes, int] | None:
    try:
        header = parse_header(data[place : place + _LARGEST_HEADER])
    except FormatError:
        return None
    return (header.digest[:16], header.size) if header.size <= _LARGEST_RECORD else None


_SHAPE: Final = RecordShape(
    magic=RECORD_MAGIC,
    header_size=STREAM_HEADER_SIZE,
    digest_words=_digest_words,
    measure=_measure,
    key=lambda ref: ref.digest[:16],
    accept=lambda record, ref: _copy(record, ref) is not None,
)


def finder(wanted: Sequence[RecordRef]) -> RecordFinder:
    """Return what finds records in a container that is fed from its first record on."""
    return RecordFinder(_SHAPE, wanted)
