"""A tape that lies in two files: its records back to back, and a table of them.

The table is a JSON list with one object for each record and filemark: ``partition`` (a letter),
``block`` (counted from 0 in each partition), ``kind`` (``"record"`` or ``"filemark"``), ``length``
and ``at`` (bytes and offset in the file of records).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import attrs

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.ports import Files, SystemFiles
from rehydrate.stores.tape.drive import TapePosition, end_of_data, read_failed
from rehydrate.values import MAX_OFFSET

__all__ = ["TapeImage"]

_LARGEST_TABLE: Final = 1 << 30
_LARGEST_RECORD: Final = 1 << 24
"""One byte more than a drive can read at a time: READ(6) has 24 bits for the length."""
_FILEMARK: Final = -1


@attrs.frozen
class _Item:
    """One record (``length`` at least 0) or a filemark."""

    at: int
    length: int


class TapeImage:
    """A :class:`~rehydrate.stores.tape.drive.TapeDrive` over the files of a tape image."""

    def __init__(
        self, table: Path, records: Path, *, letters: str = "ab", files: Files | None = None
    ) -> None:
        """Open the image.

        Args:
            table: The JSON file.
            records: The file of records.
            letters: Names of the partitions in the table, in the order of their numbers.
            files: The file-system calls to make; the real ones by default.

        Raises:
            CorruptMetadataError: With code ``"tape.image"`` if the table is none.
            StoreReadError: A file cannot be read.
        """
        self._files: Files = SystemFiles() if files is None else files
        try:
            with table.open("rb") as file:
                self._items = _items(file.read(_LARGEST_TABLE), letters)
            flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._fd = self._files.open(os.fsencode(records), flags)
        except OSError as error:
            raise StoreReadError(f"cannot open the tape image: {error}") from error
        self._at = TapePosition(0, 0)

    def __enter__(self) -> Self:
        """Return the drive itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            self._files.close(self._fd)
        self._fd = -1

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block; one behind the last is allowed."""
        if not 0 <= block <= len(self._partition(partition)):
            raise end_of_data(f"block {block} of partition {partition} is not written")
        self._at = TapePosition(partition, block)

    def locate_end(self, partition: int, /) -> None:
        """Go behind the last record of a partition."""
        self._at = TapePosition(partition, len(self._partition(partition)))

    def space_filemarks(self, count: int, /) -> None:
        """Go over filemarks."""
        items, block = self._partition(self._at.partition), self._at.block
        step = 1 if count > 0 else -1
        for _ in range(abs(count)):
            block += min(step, 0)
            while 0 <= block < len(items) and items[block].length != _FILEMARK:
                block += step
            if not 0 <= block < len(items):
                raise end_of_data("there are not so many filemarks")
            block += max(step, 0)
        self._at = attrs.evolve(self._at, block=block)

    def read_record(self) -> bytes | None:
        """Return the next record, or ``None`` for a filemark."""
        items = self._partition(self._at.partition)
        if self._at.block >= len(items):
            raise end_of_data(f"nothing is written behind block {len(items)}")
        item = items[self._at.block]
        self._at = attrs.evolve(self._at, block=self._at.block + 1)
        if item.length == _FILEMARK:
            return None
        try:
            data = self._files.pread(self._fd, item.length, item.at)
        except OSError as error:
            raise read_failed(f"cannot read the file of records: {error}") from error
        if len(data) != item.length:
            raise StoreReadError("the file of records is too short", code="tape.image")
        return data

    def position(self) -> TapePosition:
        """Return where the drive stands."""
        return self._at

    def _partition(self, number: int) -> list[_Item]:
        if not 0 <= number < len(self._items):
            raise end_of_data(f"the tape has no partition {number}")
        return self._items[number]


def _items(raw: bytes, letters: str) -> list[list[_Item]]:
    """Read the table; each partition must be complete and in order."""
    found: list[list[_Item]] = [[] for _ in letters]
    try:
        rows = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _wrong("is no JSON") from error
    if not isinstance(rows, list):
        raise _wrong("is no list")
    for row in rows:
        if not isinstance(row, dict):
            raise _wrong("has a row that is no object")
        letter = row.get("partition")
        if not isinstance(letter, str) or len(letter) != 1 or letter not in letters:
            raise _wrong("names an unknown partition")
        items = found[letters.index(letter)]
        kind = row.get("kind")
        if _number(row, "block") != len(items) or kind not in (
            "record",
            "filemark",
        ):  # may be a list
            raise _wrong("has a row out of order or of unknown kind")
        length = _FILEMARK if kind == "filemark" else _number(row, "length")
        if length >= _LARGEST_RECORD:
            raise _wrong(f"has a record of {length} bytes")
        items.append(_Item(_number(row, "at"), length))
    return found


def _number(row: Mapping[str, object], name: str) -> int:
    value = row.get(name)
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise _wrong(f"has no valid {name!r}")
    return value


def _wrong(problem: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the table of the tape image {problem}", code="tape.image")
