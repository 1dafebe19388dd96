"""Finding a record that is not (whole) at its place, and walking a container record by record."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rehydrate.errors import CorruptMetadataError, FormatError, RestoreError
from rehydrate.formats.native.container import (
    ContainerHeader,
    container_path,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.layout import (
    ALIGNMENT,
    HEADER_SIZE,
    KIND_CHUNK,
    KIND_STREAM_MAP,
    RECORD,
    RECORD_MAGIC,
    RECORD_SIZE,
    TOMBSTONE_ENTRY,
)
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.walk import (
    DATA,
    Answer,
    ListFolder,
    Read,
    RecordRef,
    Scan,
    Walk,
)
from rehydrate.values import StorePath

__all__ = ["NativeScanner", "repair"]

# How far behind the place of the reference a record walk looks: a container is sealed soon after
# its capacity, and a record is at most 64 MiB.
_SCAN_SLACK: Final = 128 << 20


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
    container. Round 4 walks other generations of the container, if the store can list them.

    Args:
        ref: The record.

    Returns:
        The walk; it returns the logical bytes.

    Raises:
        CorruptMetadataError: No good copy was found.
    """
    path = container_path(ref.kind, ref.container, ref.generation)
    entry_at = HEADER_SIZE + TOMBSTONE_ENTRY.size * max(ref.local_id - 1, 0)
    again, header_page, entry = yield (
        Read(path, ref.offset, ref.length),
        Read(path, 0, HEADER_SIZE),
        Read(path, entry_at, TOMBSTONE_ENTRY.size),
    )
    data = _accept(again, ref, ref.local_id)
    if data is not None:
        return data
    header = _header(header_page)
    moved = _moved_to(header, entry, ref)
    if moved is not None:
        place, local_id = moved
        (record,) = yield (place,)
        data = _accept(record, ref, local_id)
        if data is not None:
            return data
    folder = StorePath(ref.kind)
    reach = ref.offset + ref.length + _SCAN_SLACK if header is None else header.capacity
    end = max(reach, ref.offset + ref.length) + _SCAN_SLACK
    found, names = yield (Scan(path, HEADER_SIZE, end, ref), ListFolder(folder))
    data = _accept(found, ref, ref.local_id)
    if data is not None:
        return data
    others = _other_generations(names, ref)
    if others:
        for answer in (yield tuple(Scan(other, HEADER_SIZE, end, ref) for other in others)):
            data = _accept_anywhere(answer, ref)
            if data is not None:
                return data
    raise CorruptMetadataError("no good copy of a record was found", code="record.lost")


def _header(answer: Answer) -> ContainerHeader | None:
    if not isinstance(answer, bytes):
        return None
    try:
        return parse_container_header(answer)
    except RestoreError:
        return None


def _moved_to(
    header: ContainerHeader | None, entry: Answer, ref: RecordRef
) -> tuple[Read, int] | None:
    if header is None or not header.tombstone or not isinstance(entry, bytes):
        return None
    container, generation, offset, length, local_id, reserved = TOMBSTONE_ENTRY.unpack(entry)
    if not container or reserved or length != ref.length:
        return None
    return Read(container_path(ref.kind, container, generation), offset, length), local_id


def _other_generations(names: Answer, ref: RecordRef) -> list[StorePath]:
    """Return the containers of the same id, newest first."""
    if not isinstance(names, tuple):
        return []
    parsed = (parse_container_name(name) for name in names)
    generations = {found[1] for found in parsed if found and found[0] == ref.container}
    generations.discard(ref.generation)
    return [
        container_path(ref.kind, ref.container, generation)
        for generation in sorted(generations, reverse=True)
    ]


def _accept_anywhere(answer: Answer, ref: RecordRef) -> bytes | None:
    """As :func:`_accept`, for a copy that may carry another local id."""
    if not isinstance(answer, bytes) or len(answer) < RECORD_SIZE:
        return None
    return _accept(answer, ref, RECORD.unpack_from(answer)[8])


class NativeScanner:
    """Looks for records with a wanted digest, from the front of a container to its end.

    Every aligned place with the magic of a record is looked at, so that a damaged header between
    costs nothing but its own record. Only the digest decides: the record may have moved.
    """

    def __init__(self, wanted: Sequence[RecordRef]) -> None:
        """Look for ``wanted``; answers carry positions in it."""
        self._wanted: dict[tuple[bytes, int], list[int]] = defaultdict(list)
        for number, ref in enumerate(wanted):
            self._wanted[ref.digest, ref.length].append(number)
        self._left = bytearray()
        self._base = 0

    def feed(self, block: memoryview) -> list[tuple[int, bytes]]:
        """Take the next bytes; see :class:`RecordScanner`."""
        self._left += block
        left, found, position = self._left, [], 0
        while True:
            position = left.find(RECORD_MAGIC, position)
            if position < 0 or len(left) - position < RECORD_SIZE:
                break
            # Feeding begins at the first record, so places are aligned from there.
            aligned = not (self._base + position) % ALIGNMENT
            fields = RECORD.unpack_from(left, position)
            length = fields[1] + fields[9]
            numbers = self._wanted.get((fields[11], length), ()) if aligned else ()
            if numbers and len(left) - position < length:
                break
            record = bytes(left[position : position + length]) if numbers else b""
            found += [(number, record) for number in numbers]
            position += 1
        keep = max(len(left) - len(RECORD_MAGIC) + 1, 0) if position < 0 else position
        self._base += keep
        del left[:keep]
        return found
