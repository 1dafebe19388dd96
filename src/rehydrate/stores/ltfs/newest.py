"""Finds labels and the newest valid index on a tape.

An index lies between two filemarks. The newest one stands at the end of the index partition; after
a crash it may be at the end of the data partition instead, and what follows it there belongs to no
file. An index counts if it names this volume and the very place where it was found. One that holds
changes only (LTFS 2.5) is applied to those before it, down to the complete one.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, LimitError, RestoreError, StoreError
from rehydrate.stores.ltfs.changes import (
    MOST_CHANGES,
    apply_changes,
    before,
    incomplete,
    stands_at,
)
from rehydrate.stores.ltfs.index import IndexParser
from rehydrate.stores.ltfs.label import LARGEST_LABEL, LtfsLabel, parse_label, parse_vol1
from rehydrate.stores.ltfs.table import Document, Index, IndexHead
from rehydrate.stores.tape.drive import TapeDrive
from rehydrate.stores.tape.typed import typed

__all__ = ["TapeLabels", "newest_index", "older_indexes", "read_index_at", "read_labels"]

_MOST_STEPS: Final = 64  # filemarks gone back over in search of an index
_PARTITIONS: Final = 2
_XML: Final = (
    b"<",
    b"\xef\xbb\xbf<",
    b"\xff\xfe",
    b"\xfe\xff",
)  # a document begins with one of them


@attrs.frozen
class TapeLabels:
    """What stands at the beginning of both partitions.

    Attributes:
        barcode: As written in the VOL1 label; may be empty.
        label: The LTFS label.
        numbers: Number of the partition of each letter.
    """

    barcode: str
    label: LtfsLabel
    numbers: Mapping[str, int]


def read_labels(drive: TapeDrive, *, both: bool = True) -> TapeLabels:
    """Read the labels.

    Args:
        drive: The drive with the volume.
        both: Also read that of the second partition; else its number follows from the first.

    Raises:
        CorruptMetadataError: With code ``"ltfs.label"``: no LTFS volume, or contradictions.
        StoreError: The drive cannot read them.
    """
    drive = typed(drive)
    barcode, label = _labels_of(drive, 0)
    other = label.letters[label.partition == label.letters[0]]
    if both:
        name, second = _labels_of(drive, 1)
        alike = attrs.evolve(second, partition=label.partition, creator=label.creator)
        if name != barcode or alike != label or second.partition != other:
            raise CorruptMetadataError(
                "the two partitions have labels of different volumes", code="ltfs.label"
            )
    return TapeLabels(barcode, label, {label.partition: 0, other: 1})


def _labels_of(drive: TapeDrive, partition: int) -> tuple[str, LtfsLabel]:
    drive.locate(partition, 0)
    barcode = parse_vol1(drive.read_record() or b"")
    if drive.read_record() is not None:
        raise CorruptMetadataError("no filemark follows the VOL1 label", code="ltfs.label")
    document = b""
    while len(document) <= LARGEST_LABEL:
        record = drive.read_record()
        if record is None:
            break
        document += record
    return barcode, parse_label(document)


def newest_index(drive: TapeDrive, labels: TapeLabels, *, older: bool = False) -> Index:
    """Read the newest valid index of the volume, with the changes since the newest complete one.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        older: Take the newest complete index where changes follow that cannot be applied.

    Raises:
        CorruptMetadataError: With code ``"ltfs.index"`` (or that of what is wrong with the last
            candidate) if there is none; with code ``"ltfs.changes"`` if the newest one holds
            changes only that contradict the indexes before it.
        UnsupportedFormatError: With code ``"ltfs.incremental"`` if the newest one holds changes
            only, and an index between it and the newest complete one is missing or damaged.
        LimitError: With code ``"ltfs.limit"`` if there are too many changes.
        StoreError: The drive can read neither partition.
    """
    drive = typed(drive)
    found = _last_indexes(drive, labels, complete=False)
    best = max(found, key=lambda index: (index.head.generation, not index.head.incremental))
    if best.head.incremental:
        try:
            return _with_changes(drive, labels, best, found)
        except RestoreError:
            if not older:
                raise
        found = _last_indexes(drive, labels, complete=True)
        best = max(found, key=lambda index: index.head.generation)
    return Index(best.head, best.columns)


def _with_changes(
    drive: TapeDrive, labels: TapeLabels, newest: Document, found: list[Document]
) -> Index:
    """Follow an index of changes back to the complete one; apply all of them to it.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        newest: The index of changes.
        found: Indexes that have been read already, which need not be read again.
    """
    chain, entries = [newest], 0
    while chain[-1].head.incremental:
        head = chain[-1].head
        entries += len(chain[-1].columns.kind)
        if entries > MOST_CHANGES:
            raise LimitError(f"{entries} entries of changes in LTFS indexes", code="ltfs.limit")
        place = before(head)
        known = [index for index in found if stands_at(index.head, place)]
        older = known[0] if known else _one_before(drive, labels, head)
        if older.head.generation >= head.generation:  # as in a circle over both partitions
            raise incomplete(head, f"the one before it is generation {older.head.generation}")
        chain.append(older)
    base, *changes = reversed(chain)
    for index in found:
        if base.head.generation < index.head.generation and not index.head.incremental:
            raise incomplete(
                newest.head,
                f"they leave out the complete one of generation {index.head.generation}",
            )
    return apply_changes(Index(base.head, base.columns), changes)


def _one_before(drive: TapeDrive, labels: TapeLabels, head: IndexHead) -> Document:
    """Read the index that one of changes is to be applied to."""
    letter, block = before(head)
    try:
        return _read_document(drive, labels, letter, block)
    except RestoreError as error:
        raise incomplete(head, f"{letter}:{block} cannot be read: {error.message}") from error


def older_indexes(drive: TapeDrive, labels: TapeLabels, newest: Index) -> Iterator[Index]:
    """Follow the back pointers from an index to the complete ones before it.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        newest: Where to begin; not returned itself.

    Raises:
        CorruptMetadataError: With code ``"ltfs.pointer"`` if generations or places do not descend,
            as in a circle, or what is pointed at is no index.
    """
    head, drive = newest.head, typed(drive)
    while (place := _previous(head)) is not None:
        letter, block = place
        older = _read_document(drive, labels, letter, block)
        # Both partitions get the last generation; only the copy may name one of its own.
        copied = head.location[0] != letter == labels.label.data_partition
        if older.head.generation - copied >= head.generation:
            raise _pointer(f"generation {older.head.generation} is said to be older than "
                           f"{head.generation}")  # fmt: skip
        head = older.head
        if not head.incremental:
            yield Index(head, older.columns)


def _previous(head: IndexHead) -> tuple[str, int] | None:
    return before(head) if head.incremental else head.previous


def read_index_at(drive: TapeDrive, labels: TapeLabels, letter: str, block: int) -> Index:
    """Read the index at a known place, and check that it belongs there.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        letter: The partition.
        block: First block of the index.

    Raises:
        CorruptMetadataError: It is none, of another volume, or names another place.
        StoreError: The drive cannot read it.
    """
    found = _read_document(typed(drive), labels, letter, block)
    return Index(found.head, found.columns)


def _read_document(drive: TapeDrive, labels: TapeLabels, letter: str, block: int) -> Document:
    if letter not in labels.numbers:
        raise _pointer(f"the volume has no partition {letter!r}")
    drive.locate(labels.numbers[letter], block)
    parser = IndexParser()
    first = True
    while (record := drive.read_record()) is not None:
        if first and not record.lstrip().startswith(_XML):
            raise CorruptMetadataError("this is data and no LTFS index", code="ltfs.index")
        first = False
        parser.feed(record)
    found = parser.document()
    _check_place(found.head, labels, letter, block)
    return found


def _check_place(head: IndexHead, labels: TapeLabels, letter: str, block: int) -> None:
    label = labels.label
    if head.volume_uuid != str(label.volume_uuid):
        raise CorruptMetadataError(
            f"the index belongs to volume {head.volume_uuid}, not {label.volume_uuid}",
            code="ltfs.identity",
        )
    if head.location != (letter, block):
        raise _pointer(f"an index at {letter}:{block} says that it is at {head.location}")
    if head.previous is None or head.incremental:  # what changes are applied to is checked then
        return
    where, previous = head.previous
    if where not in labels.numbers or (where == letter and previous >= block):
        raise _pointer(f"the index at {letter}:{block} names {where}:{previous} as the one before")


def _last_indexes(drive: TapeDrive, labels: TapeLabels, *, complete: bool) -> list[Document]:
    """Read the last valid index of each partition; one is enough."""
    found: list[Document] = []
    problem: RestoreError | None = None
    for letter in labels.label.letters:
        try:
            found.append(_last_index(drive, labels, letter, complete=complete))
        except RestoreError as error:
            problem = problem or error
    if not found:
        raise problem or CorruptMetadataError("the tape holds no LTFS index", code="ltfs.index")
    return found


def _last_index(drive: TapeDrive, labels: TapeLabels, letter: str, *, complete: bool) -> Document:
    """Go back over filemarks to the last valid index of a partition."""
    number = labels.numbers[letter]
    drive.locate_end(number)
    drive.space_filemarks(-1)
    problem: RestoreError | None = None
    for _ in range(_MOST_STEPS):
        try:
            drive.space_filemarks(-1)
            mark = drive.position()
        except StoreError as error:
            problem = problem or error
            break
        try:
            found = _read_document(drive, labels, letter, mark.block + 1)
        except RestoreError as error:
            problem = problem or error
        else:
            if not (complete and found.head.incremental):
                return found
        drive.locate(number, mark.block)
    raise problem or CorruptMetadataError("no index was found", code="ltfs.index")


def _pointer(problem: str) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"the LTFS index contradicts itself: {problem}", code="ltfs.pointer"
    )
