"""Finding a record that is not (whole) at its place, and walking a container record by record."""

from collections.abc import Sequence
from typing import Final

from rehydrate.errors import CorruptMetadataError, FormatError
from rehydrate.formats.native.container import (
    ContainerHeader,
    container_path,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.layout import (
    HEADER_SIZE,
    KIND_CHUNK,
    KIND_STREAM_MAP,
    MAX_CONTAINER,
    RECORD,
    RECORD_MAGIC,
    RECORD_SIZE,
    TOMBSTONE_CHECKED,
    TOMBSTONE_ENTRY,
)
from rehydrate.formats.native.record import NativeDecoder, place_check
from rehydrate.formats.scan import RecordFinder, RecordShape
from rehydrate.formats.walk import (
    DATA,
    Answer,
    ListFolder,
    Read,
    RecordRef,
    Scan,
    Walk,
)
from rehydrate.values import MAX_OFFSET, StorePath

__all__ = ["finder", "repair"]

# How far behind the place of the reference a record walk looks: a container is sealed soon after
# its capacity, and a record is at most 64 MiB.
_SCAN_SLACK: Final = 128 << 20
_MOST_GENERATIONS: Final = 8
"""A listing may be wrong or hostile, and each generation costs a walk of a whole container."""
_DIGEST_WORD: Final = 3
"""The digest of a record header begins three words behind the magic."""


def _decoder(ref: RecordRef) -> NativeDecoder:
    return NativeDecoder(KIND_CHUNK if ref.kind == DATA else KIND_STREAM_MAP)


def _accept(record: Answer, ref: RecordRef, local_id: int) -> bytes | None:
    """Return the logical bytes if the answer is the wanted record."""
    if not isinstance(record, bytes):
        return None
    try:
        data = _decoder(ref).decode(memoryview(record), local_id, ref.logical_size, ref.digest)
    except FormatError:
        return None
    return bytes(data)


def repair(ref: RecordRef) -> Walk:
    """Look for a record in at most four rounds.

    Round 1 reads the record again, and the container's header with the redirection entry of the
    record: a compacted container leaves a tombstone with one entry for each local id, so the entry
    is found without a search. Round 2 reads the record at its new place. Round 3 walks the
    container, or the one it moved to. Round 4 walks other generations of the container, if the store can list them.

    Args:
        ref: The record.

    Returns:
        The walk; it returns the logical bytes.

    Raises:
        CorruptMetadataError: No good copy was found.
    """
    path = container_path(ref.kind, ref.container, ref.generation)
    entry_at = HEADER_SIZE + TOMBSTONE_ENTRY.size * max(ref.local_id - 1, 0)
    again, page, entry = yield (
        Read(path, ref.offset, ref.length),
        Read(path, 0, HEADER_SIZE),
        Read(path, entry_at, TOMBSTONE_ENTRY.size),
    )
    data = _accept(again, ref, ref.local_id)
    if data is not None:
        return data
    header = _header(page, ref)
    walked = path
    moved = None if header is None else _moved_to(header, entry, entry_at, ref)
    if moved is not None:
        place, local_id = moved
        walked = place.path
        (record,) = yield (place,)
        data = _accept(record, ref, local_id)
        if data is not None:
            return data
    reach = max(ref.offset + ref.length, 0 if header is None else header.capacity)
    end = min(reach + _SCAN_SLACK, MAX_CONTAINER)
    found, names = yield (Scan(walked, HEADER_SIZE, end, ref), ListFolder(StorePath(ref.kind)))
    data = _accept_anywhere(found, ref)
    if data is not None:
        return data
    others = _other_generations(names, ref, {path, walked})
    if others:
        for answer in (yield tuple(Scan(other, HEADER_SIZE, end, ref) for other in others)):
            data = _accept_anywhere(answer, ref)
            if data is not None:
                return data
    raise CorruptMetadataError("no good copy of a record was found", code="record.lost")


def _header(answer: Answer, ref: RecordRef) -> ContainerHeader | None:
    if not isinstance(answer, bytes):
        return None
    try:
        header = parse_container_header(answer)
    except FormatError:
        return None
    ours = (header.container, header.generation) == (ref.container, ref.generation)
    return header if ours else None


def _moved_to(
    header: ContainerHeader, entry: Answer, entry_at: int, ref: RecordRef
) -> tuple[Read, int] | None:
    """Return where a tombstone says that the record is now, and its number there."""
    if not header.tombstone or not isinstance(entry, bytes):
        return None
    if len(entry) != TOMBSTONE_ENTRY.size:
        return None
    container, generation, offset, length, local_id, check = TOMBSTONE_ENTRY.unpack(entry)
    if check != place_check(header.place(entry_at), entry[:TOMBSTONE_CHECKED]):
        return None
    if not container or length != ref.length or offset > MAX_OFFSET - length:
        return None
    return Read(container_path(ref.kind, container, generation), offset, length), local_id


def _other_generations(names: Answer, ref: RecordRef, known: set[StorePath]) -> list[StorePath]:
    """Return the containers of the same id that are not known yet, newest first."""
    if not isinstance(names, tuple):
        return []
    parsed = {parse_container_name(name) for name in names}
    generations = sorted(found[1] for found in parsed if found and found[0] == ref.container)
    paths = (container_path(ref.kind, ref.container, number) for number in reversed(generations))
    return [path for path in paths if path not in known][:_MOST_GENERATIONS]


def _accept_anywhere(answer: Answer, ref: RecordRef) -> bytes | None:
    """As :func:`_accept`, for a copy that may carry another local id."""
    if not isinstance(answer, bytes) or len(answer) < RECORD_SIZE:
        return None
    return _accept(answer, ref, RECORD.unpack_from(answer)[8])


def _measure(data: bytes, place: int) -> tuple[tuple[bytes, int], int]:
    fields = RECORD.unpack_from(data, place)
    size = fields[1] + fields[9]
    return (fields[11], size), size


_SHAPE: Final = RecordShape(
    magic=RECORD_MAGIC,
    header_size=RECORD_SIZE,
    digest_words=lambda words, places: words[places + _DIGEST_WORD],
    measure=_measure,
    key=lambda ref: (ref.digest, ref.length),
    accept=lambda record, ref: _accept_anywhere(record, ref) is not None,
)


def finder(wanted: Sequence[RecordRef]) -> RecordFinder:
    """Return what finds records in a container that is fed from its first record on."""
    return RecordFinder(_SHAPE, wanted)
