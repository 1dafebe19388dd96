"""Walking the containers of a Windows store: every record checked, and kept as one row."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.windows_damage import Finding
from rehydrate.catalogue.windows_heads import (
    ContainerPlace,
    Head,
    PatientReader,
    look_at_head,
)
from rehydrate.catalogue.windows_tables import (
    BAD,
    BY_CHECKSUM,
    BY_DIGEST,
    BY_HEADER,
    HOTSPOT_FOLDER,
    RECORD_DTYPE,
    STREAM_FOLDER,
    Sizes,
)
from rehydrate.chunks import Bools, Ints, Rows
from rehydrate.errors import ChunkMismatchError, FormatError, StoreReadError
from rehydrate.formats.walk import DATA
from rehydrate.formats.windows.layout import (
    DATA_HEADER_SIZE,
    FIRST_RECORD,
    KIND_DATA,
    KIND_HOTSPOT,
    KIND_PADDING,
    KIND_STREAM,
    STREAM_HEADER_SIZE,
    crc64,
)
from rehydrate.formats.windows.record import WindowsDecoder, decode_copy
from rehydrate.formats.windows.walking import FoundRecord, RecordWalk, WalkFault, said
from rehydrate.protocols import BackupStore

__all__ = ["Seen", "Walker"]

_DIGEST: Final = 32
_HEADERS: Final = 512
"""Headers that are checked at once where payloads are not read."""
_MOST_ENTRIES: Final = 100
"""Wrong entries of a redirection table that are listed one by one."""
_KINDS: Final = {
    STREAM_FOLDER: (KIND_STREAM,),
    HOTSPOT_FOLDER: (KIND_DATA, KIND_HOTSPOT),
}
_KNOWN: Final = (KIND_DATA, KIND_STREAM, KIND_HOTSPOT)
_NO_SIZES: Final[tuple[tuple[int, bool], ...]] = ()

TakeMap = Callable[[ContainerPlace, FoundRecord], WalkFault | None]
"""Takes a stream map whose checksums are right; returns what is wrong with it."""


@attrs.define(eq=False, kw_only=True)
class Seen:
    """A container that was walked.

    Attributes:
        place: The container.
        head: What its first pages say; ``None`` = they cannot be read.
        records: Its records (:data:`RECORD_DTYPE`), ascending by offset.
        findings: All that is wrong.
        notices: What is worth knowing.
        end: End of what was walked, bytes.
        paddings: Padding records.
        others: Records of kinds that are not known.
        compressed: Compressed chunks.
    """

    place: ContainerPlace
    head: Head | None = None
    records: Rows = attrs.field(factory=lambda: np.zeros(0, RECORD_DTYPE))
    findings: list[Finding] = attrs.field(factory=list)
    notices: list[str] = attrs.field(factory=list)
    end: int = 0
    paddings: int = 0
    others: int = 0
    compressed: int = 0


_Checked = tuple[int, int, WalkFault | None]
"""State and logical size of a record, and what is wrong with it."""


class Walker:
    """Walks the containers of one store."""

    def __init__(
        self,
        store: BackupStore,
        executor: ThreadPoolExecutor,
        *,
        jobs: int,
        tell: Callable[[int], None],
    ) -> None:
        """Bind a store.

        Args:
            store: The store; it is read from the calling thread only.
            executor: Runs the checks of records.
            jobs: Its threads.
            tell: Called with the bytes of each stretch that was walked, from the calling thread.
        """
        self._store = store
        self._executor = executor
        self._ahead = 2 * jobs
        self._tell = tell

    def walk(
        self,
        place: ContainerPlace,
        *,
        sizes: Sizes | None = None,
        take_map: TakeMap | None = None,
        payloads: bool = True,
    ) -> Seen:
        """Walk a container up to its valid data length.

        Args:
            place: The container.
            sizes: Tells sizes of compressed chunks.
            take_map: Takes the stream maps.
            payloads: Whether to read payloads.
        """
        seen = Seen(place=place)
        reader = PatientReader(self._store, place)
        batches: list[Rows] = []
        try:
            seen.head = look_at_head(reader, place)
            for records, checked in self._checked(reader, seen, sizes, payloads=payloads):
                batches.append(_rows(place, records, checked))
                for number, (record, (_, _, fault)) in enumerate(
                    zip(records, checked, strict=True)
                ):
                    wrong = fault
                    if wrong is None and take_map is not None and record.header.kind == KIND_STREAM:
                        wrong = take_map(place, record)
                        if wrong is not None:
                            batches[-1]["state"][number] = BAD
                    if wrong is not None:
                        seen.findings.append(_finding(place, wrong))
        except StoreReadError:
            seen.notices.append(f"{place.path} was given up: too much of it cannot be read")
        if batches:
            seen.records = np.concatenate(batches)
        seen.findings = [
            *reader.findings,
            *(seen.head.findings if seen.head else ()),
            *seen.findings,
        ]
        _look_over(seen)
        return seen

    def _checked(
        self, reader: PatientReader, seen: Seen, sizes: Sizes | None, *, payloads: bool
    ) -> Iterator[tuple[Sequence[FoundRecord], Sequence[_Checked]]]:
        """Yield records with what their checks say, in order; reading runs a little ahead."""
        waiting: deque[tuple[Sequence[FoundRecord], Future[Sequence[_Checked]]]] = deque()
        for records in self._records(reader, seen, payloads=payloads):
            claims = [_NO_SIZES] * len(records)
            if sizes is not None:
                claims = sizes.find([_digest(record) for record in records])
            task = self._executor.submit(
                _check_all, seen.place.folder, records, claims, payloads=payloads
            )
            waiting.append((records, task))
            if len(waiting) > self._ahead:
                done, checks = waiting.popleft()
                yield done, checks.result()
        for done, checks in waiting:
            yield done, checks.result()

    def _records(
        self, reader: PatientReader, seen: Seen, *, payloads: bool
    ) -> Iterator[Sequence[FoundRecord]]:
        """Yield the records of each stretch that was read; paddings are counted only."""
        walk = _begin(seen, payloads=payloads)
        told = 0
        records: list[FoundRecord] = []
        while (asked := walk.request()) is not None:
            for event in walk.feed(reader.read(*asked)):
                if isinstance(event, WalkFault):
                    seen.findings.append(_finding(seen.place, event))
                elif event.header.kind == KIND_PADDING:
                    seen.paddings += 1
                else:
                    seen.others += event.header.kind not in _KNOWN
                    seen.compressed += _is_compressed(event)
                    records.append(event)
            if records and (payloads or len(records) >= _HEADERS):
                yield records
                records = []
            self._tell(sum(asked) - told)
            told = sum(asked)
        if records:
            yield records
        self._tell(max(seen.end - told, 0))


def _begin(seen: Seen, *, payloads: bool) -> RecordWalk:
    """Begin the walk of a container, and note how far it goes."""
    head, size = seen.head, seen.place.size
    if head is None or head.header is None:
        seen.end = size
        first = FIRST_RECORD if head is None else head.first
        return RecordWalk(first, size, payloads=payloads, searching=True)
    sure = min(head.header.valid_size, size)
    # Where a copy is damaged it may be the newest, and an older one tells an earlier end.
    seen.end = sure if head.whole else size
    return RecordWalk(head.first, seen.end, sure=sure, payloads=payloads)


def _is_compressed(record: FoundRecord) -> bool:
    return record.header.kind in (KIND_DATA, KIND_HOTSPOT) and record.header.compression != 0


def _digest(record: FoundRecord) -> bytes:
    return record.header.digest.ljust(_DIGEST, b"\0")


def _rows(
    place: ContainerPlace, records: Sequence[FoundRecord], checked: Sequence[_Checked]
) -> Rows:
    rows: Rows = np.zeros(len(records), RECORD_DTYPE)
    rows["folder"], rows["place"], rows["container"] = place.folder, place.number, place.container
    rows["state"] = [state for state, _, _ in checked]
    rows["logical"] = [logical for _, logical, _ in checked]
    rows["offset"] = [record.offset for record in records]
    rows["kind"] = [record.header.kind for record in records]
    rows["local_id"] = [record.header.local_id for record in records]
    rows["length"] = [record.header.size for record in records]
    rows["digest"] = np.frombuffer(b"".join(map(_digest, records)), "V32")
    return rows


def _check_all(
    folder: int,
    records: Sequence[FoundRecord],
    claims: Sequence[tuple[tuple[int, bool], ...]],
    *,
    payloads: bool,
) -> Sequence[_Checked]:
    """Check records; runs in any thread."""
    return [
        _check(folder, record, sizes, payloads=payloads)
        for record, sizes in zip(records, claims, strict=True)
    ]


def _check(
    folder: int, record: FoundRecord, sizes: tuple[tuple[int, bool], ...], *, payloads: bool
) -> _Checked:
    header = record.header
    if header.kind in _KNOWN:
        kinds = _KINDS.get(folder, (KIND_DATA,))
        size = STREAM_HEADER_SIZE if folder == STREAM_FOLDER else DATA_HEADER_SIZE
        if header.kind not in kinds or header.header_size != size:
            expected = f"{kinds[-1]} with a header of {size} bytes"
            found = f"{header.kind} with {header.header_size}"
            return BAD, 0, _fault(record, "record.kind", expected, found)
    if not payloads:
        return BY_HEADER, 0, None
    if header.kind in (KIND_DATA, KIND_HOTSPOT):
        return _check_chunk(record, sizes)
    return _check_sum(record)


def _check_sum(record: FoundRecord) -> _Checked:
    header = record.header
    found = crc64(record.body[header.header_size :])
    if found != header.payload_crc:
        values = f"0x{header.payload_crc:016X}", f"0x{found:016X}"
        return BAD, 0, _fault(record, "record.payload-crc", *values)
    return BY_CHECKSUM, header.stored_size if header.kind == KIND_STREAM else 0, None


def _check_chunk(record: FoundRecord, sizes: tuple[tuple[int, bool], ...]) -> _Checked:
    """Decode a chunk and compare its digest, with each size that it may have."""
    header, fault = record.header, None
    if not header.compression:
        sizes = ((header.stored_size, True),)
    for size, sure in sizes:
        try:
            _decode(record, size)
        except FormatError as error:
            if sure or not error.code.startswith("chunk."):
                fault = fault or _fault(record, error.code, *said(error))
        else:
            return BY_DIGEST, size, None
    return _check_sum(record) if fault is None else (BAD, 0, fault)


def _decode(record: FoundRecord, size: int) -> None:
    header = record.header
    if header.kind == KIND_DATA:
        WindowsDecoder(DATA).decode(record.body, header.local_id, size, header.digest)
    elif decode_copy(record.body, DATA, size, header.digest) is None:
        _, _, fault = _check_sum(record)
        if fault is not None:
            text = f"CRC-64 of a payload: expected {fault.expected}, found {fault.found}"
            raise ChunkMismatchError(text, code=fault.check)
        raise ChunkMismatchError("a copy of a chunk has other bytes than its digest says")


def _fault(record: FoundRecord, check: str, expected: str, found: str) -> WalkFault:
    return WalkFault(
        check=check,
        offset=record.offset,
        length=record.header.size,
        local_id=record.header.local_id,
        expected=expected,
        found=found,
    )


def _finding(place: ContainerPlace, fault: WalkFault) -> Finding:
    return Finding(container=place.path, **attrs.asdict(fault))


def _look_over(seen: Seen) -> None:
    """Compare the records of a container with each other, its header and its tables."""
    head, records = seen.head, seen.records
    if head is None:
        return
    seen.notices += head.notices
    numbers = records["local_id"]
    _, firsts = np.unique(numbers, return_index=True)
    again = np.ones(len(numbers), np.bool_)
    again[firsts] = False
    _tell_records(seen, again, "local-id.twice", "another number")
    if not any(len(table.entries) for _, table in head.tables):
        falls = np.zeros(len(numbers), np.bool_)
        falls[1:] = numbers[1:] < numbers[:-1]
        _tell_records(seen, falls & ~again, "local-id.order", "a higher number than before")
    if head.header is not None and head.whole:
        beyond = (numbers >= head.header.next_local_id) & ~again
        limit = f"1 to {head.header.next_local_id - 1}"
        _tell_records(seen, (beyond | (numbers == 0)) & ~again, "local-id.range", limit)
        if head.header.chunks != len(records) and not seen.findings:
            seen.notices.append(
                f"{seen.place.path}: its header counts {head.header.chunks} records, there are"
                f" {len(records)}"
            )
    _look_at_entries(seen, head)


def _tell_records(seen: Seen, which: Bools, check: str, expected: str) -> None:
    for record in seen.records[which]:
        seen.findings.append(
            Finding(
                check=check,
                container=seen.place.path,
                offset=int(record["offset"]),
                length=int(record["length"]),
                local_id=int(record["local_id"]),
                expected=expected,
                found=str(record["local_id"]),
            )
        )


def _is_told(seen: Seen, offsets: Ints) -> Bools:
    """Tell which places are cut off, or damaged as a finding tells already."""
    stretches = sorted(
        (finding.offset, finding.offset + finding.length) for finding in seen.findings
    )
    begins = np.array([-1, *(begin for begin, _ in stretches)], np.int64)
    ends = np.maximum.accumulate(np.array([-1, *(end for _, end in stretches)], np.int64))
    told: Bools = offsets < ends[np.searchsorted(begins, offsets, side="right") - 1]
    return told | (offsets >= seen.end)


def _look_at_entries(seen: Seen, head: Head) -> None:
    """Check that the entries of tables lead to their records."""
    offsets, numbers = seen.records["offset"], seen.records["local_id"]
    for at, table in head.tables:
        entries = table.entries
        places = np.searchsorted(offsets, entries["offset"])
        right = np.zeros(len(entries), np.bool_)
        within = np.flatnonzero(places < len(offsets))
        spots = places[within]
        right[within] = (offsets[spots] == entries["offset"][within]) & (
            numbers[spots] == entries["local_id"][within]
        )
        wrong = np.flatnonzero(~right)
        wrong = wrong[~_is_told(seen, entries["offset"][wrong].astype(np.int64))]
        for number in wrong[:_MOST_ENTRIES].tolist():
            local_id, offset = entries[number].tolist()
            seen.findings.append(
                Finding(
                    check="table.entry",
                    container=seen.place.path,
                    offset=at,
                    local_id=local_id,
                    expected=f"record {local_id} at {offset}",
                    found="none",
                )
            )
        if len(wrong) > _MOST_ENTRIES:
            seen.notices.append(
                f"{seen.place.path}: {len(wrong)} entries of the redirection table at {at} lead to"
                f" no such record; {_MOST_ENTRIES} are listed"
            )
