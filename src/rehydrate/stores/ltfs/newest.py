"""Finds labels and the newest valid index on a tape.

An index lies between two filemarks. The newest one stands at the end of the index partition; after
a crash it may be at the end of the data partition instead, and what follows it there belongs to no
file. An index counts if it names this volume and the very place where it was found.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from rehydrate.errors import (
    CorruptMetadataError,
    RestoreError,
    StoreError,
    UnsupportedFormatError,
)
from rehydrate.stores.ltfs.index import IndexParser
from rehydrate.stores.ltfs.label import LARGEST_LABEL, LtfsLabel, parse_label, parse_vol1
from rehydrate.stores.ltfs.table import Index
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
    """Read the newest valid index of the volume.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        older: Take the newest complete index although a later one with changes only follows.

    Raises:
        CorruptMetadataError: With code ``"ltfs.index"`` (or that of what is wrong with the last
            candidate) if there is none.
        UnsupportedFormatError: With code ``"ltfs.incremental"`` if the newest one holds changes
            only, and ``older`` does not allow to go without them.
        StoreError: The drive can read neither partition.
    """
    drive = typed(drive)
    found: list[Index] = []
    problem: RestoreError | None = None
    for letter in labels.label.letters:
        try:
            found += _last_indexes(drive, labels, letter)
        except RestoreError as error:
            problem = problem or error
    complete = [index for index in found if not index.head.incremental]
    if not complete:
        raise problem or CorruptMetadataError("the tape holds no LTFS index", code="ltfs.index")
    best = max(complete, key=lambda index: index.head.generation)
    newest = max(index.head.generation for index in found)
    if newest > best.head.generation and not older:
        raise UnsupportedFormatError(
            f"the newest LTFS index (generation {newest}) holds changes only, which are not read; "
            f"the newest complete one is generation {best.head.generation}",
            code="ltfs.incremental",
        )
    return best


def older_indexes(drive: TapeDrive, labels: TapeLabels, newest: Index) -> Iterator[Index]:
    """Follow the back pointers from an index to the ones before it.

    Args:
        drive: The drive with the volume.
        labels: Its labels.
        newest: Where to begin; not returned itself.

    Raises:
        CorruptMetadataError: With code ``"ltfs.pointer"`` if generations or places do not descend,
            as in a circle, or what is pointed at is no index.
    """
    index = newest
    while index.head.previous is not None:
        letter, block = index.head.previous
        older = read_index_at(drive, labels, letter, block)
        copied = index.head.location[0] != letter  # both partitions get the last generation
        if older.head.generation - copied >= index.head.generation:
            raise _pointer(f"generation {older.head.generation} is said to be older than "
                           f"{index.head.generation}")  # fmt: skip
        yield older
        index = older


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
    if letter not in labels.numbers:
        raise _pointer(f"the volume has no partition {letter!r}")
    drive = typed(drive)
    drive.locate(labels.numbers[letter], block)
    parser = IndexParser()
    first = True
    while (record := drive.read_record()) is not None:
        if first and not record.lstrip().startswith(_XML):
            raise CorruptMetadataError("this is data and no LTFS index", code="ltfs.index")
        first = False
        parser.feed(record)
    index = parser.close()
    _check_place(index, labels, letter, block)
    return index


def _check_place(index: Index, labels: TapeLabels, letter: str, block: int) -> None:
    head, label = index.head, labels.label
    if head.volume_uuid != str(label.volume_uuid):
        raise CorruptMetadataError(
            f"the index belongs to volume {head.volume_uuid}, not {label.volume_uuid}",
            code="ltfs.identity",
        )
    if head.location != (letter, block):
        raise _pointer(f"an index at {letter}:{block} says that it is at {head.location}")
    if head.previous is None:
        return
    where, before = head.previous
    if where not in labels.numbers or (where == letter and before >= block):
        raise _pointer(f"the index at {letter}:{block} names {where}:{before} as the one before it")


def _last_indexes(drive: TapeDrive, labels: TapeLabels, letter: str) -> list[Index]:
    """Go back over filemarks to the newest complete index; return it with later ones of changes."""
    number, found = labels.numbers[letter], list[Index]()
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
            found.append(read_index_at(drive, labels, letter, mark.block + 1))
        except RestoreError as error:
            problem = problem or error
        else:
            if not found[-1].head.incremental:
                return found
        drive.locate(number, mark.block)
    if not found:
        raise problem or CorruptMetadataError("no index was found", code="ltfs.index")
    return found


def _pointer(problem: str) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"the LTFS index contradicts itself: {problem}", code="ltfs.pointer"
    )
