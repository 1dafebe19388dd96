"""Directories of a volume, read from their indexes, and the folder that Windows keeps for itself.

Only blocks of an index that its bitmap calls used are looked at, so names that were deleted never
show. A block that is damaged is told and left out; the other names of the directory remain.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rehydrate.errors import CorruptMetadataError, FormatError, StoreError
from rehydrate.stores.ntfs.layout import (
    ATTRIBUTE_BITMAP,
    ATTRIBUTE_INDEX_ALLOCATION,
    ATTRIBUTE_INDEX_ROOT,
    RECORD_ROOT,
    IndexName,
    block_names,
    root_names,
)
from rehydrate.stores.ntfs.names import Fold, is_component
from rehydrate.stores.ntfs.records import DAMAGED, Attribute, Record, Records
from rehydrate.values import FileExtent

__all__ = ["SYSTEM_FOLDER", "Folders", "SystemFolder"]

SYSTEM_FOLDER: Final = "System Volume Information"
_INDEX: Final = b"$I30"
_MAX_ROOT: Final = 64 << 10
_MAX_BITMAP: Final = 16 << 20
_PIECE: Final = 1 << 20
_CACHED: Final = 64


class Folders:
    """Lists directories."""

    def __init__(self, records: Records, tell: Callable[[str], None]) -> None:
        """Remember where to read.

        Args:
            records: The file system.
            tell: Takes a line about each part that cannot be read.
        """
        self._records = records
        self._tell = tell

    def names(self, record: Record, what: str) -> list[IndexName]:
        """Return the names in a directory, in no order, 8.3 forms left out.

        Args:
            record: The directory.
            what: Its path, for messages.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: It is no directory, or its index is damaged as a whole.
        """
        root = record.find(ATTRIBUTE_INDEX_ROOT, _INDEX)
        if root is None:
            raise CorruptMetadataError(f"{what} has no index of names", code=DAMAGED)
        try:
            size, found = root_names(
                self._records.value(record, root, _MAX_ROOT, what), record.number
            )
        except CorruptMetadataError as error:
            raise CorruptMetadataError(f"{what}: {error.message}", code=DAMAGED) from error
        rest = record.find(ATTRIBUTE_INDEX_ALLOCATION, _INDEX)
        if rest is not None:
            for block in self._blocks(record, rest, size, what):
                try:
                    found += block_names(block, record.number)
                except CorruptMetadataError as error:
                    self._tell(f"{what}: {error.message}; names in it are left out")
        return [name for name in found if self._is_usable(name, what)]

    def _is_usable(self, name: IndexName, what: str) -> bool:
        if is_component(name.name):
            return True
        if name.record != RECORD_ROOT:  # the root holds itself, as "."
            self._tell(f"{what}: a file named {name.name!r} is left out")
        return False

    def _blocks(self, record: Record, rest: Attribute, size: int, what: str) -> Iterator[bytes]:
        bitmap = record.find(ATTRIBUTE_BITMAP, _INDEX)
        held = self._records.ranges(record, rest, what)
        if bitmap is None or rest.size > self._records.boot.size:
            raise CorruptMetadataError(f"{what}: the index of names is damaged", code=DAMAGED)
        if held != ((FileExtent(0, rest.size),) if rest.size else ()):
            raise CorruptMetadataError(f"{what}: the index of names has holes", code=DAMAGED)
        used = self._records.value(record, bitmap, _MAX_BITMAP, what)
        step = max(_PIECE // size, 1)
        for first in range(0, min(rest.size // size, 8 * len(used)), step):
            wanted = [
                number
                for number in range(first, min(first + step, rest.size // size, 8 * len(used)))
                if used[number >> 3] >> (number & 7) & 1
            ]
            if not wanted:
                continue
            try:
                yield from self._piece(record, rest, wanted, size, what)
            except (StoreError, FormatError) as error:
                self._tell(f"{what}: {error}; names in it are left out")

    def _piece(
        self, record: Record, rest: Attribute, wanted: Sequence[int], size: int, what: str
    ) -> Iterator[bytes]:
        start, end = wanted[0] * size, (wanted[-1] + 1) * size
        piece = self._records.read(record, rest, FileExtent(start, end - start), what)
        for number in wanted:
            yield piece[number * size - start : (number + 1) * size - start]


class SystemFolder:
    """Finds what lies in ``System Volume Information``, without regard to case."""

    def __init__(self, records: Records, folders: Folders, fold: Fold) -> None:
        """Remember where to look; nothing is read yet.

        Args:
            records: The file system.
            folders: Lists its directories.
            fold: How names are compared.
        """
        self._records = records
        self._folders = folders
        self._fold = fold
        self._lock = threading.Lock()
        self._listed: OrderedDict[tuple[str, ...], Mapping[str, IndexName]] = OrderedDict()

    def folder(self, parts: Sequence[str]) -> Mapping[str, IndexName]:
        """Return the names in a folder by their folded form; empty if there is no such folder.

        Args:
            parts: Path from the system folder on; empty = that one.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: A folder on the way is damaged.
        """
        key = tuple(map(self._fold, parts))
        with self._lock:
            if key in self._listed:
                self._listed.move_to_end(key)
                return self._listed[key]
        listed = self._list(parts)
        with self._lock:
            self._listed[key] = listed
            if len(self._listed) > _CACHED:
                self._listed.popitem(last=False)
        return listed

    def find(self, parts: Sequence[str]) -> Record | None:
        """Return the record of a file or folder; ``None`` = there is none.

        Args:
            parts: Path from the system folder on; empty = that one.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: A folder on the way, or the record, is damaged.
        """
        what = "/".join([SYSTEM_FOLDER, *parts])
        if parts:
            name = self.folder(parts[:-1]).get(self._fold(parts[-1]))
        else:
            root = self._records.record(RECORD_ROOT, "the root directory")
            looked_for = self._fold(SYSTEM_FOLDER)
            names = self._folders.names(root, "the root directory")
            fitting = [name for name in names if self._fold(name.name) == looked_for]
            fitting.sort(key=lambda name: (name.name != SYSTEM_FOLDER, name.name))
            name = next(iter(fitting), None)
        return None if name is None else self._records.record(name.record, what, name.sequence)

    def _list(self, parts: Sequence[str]) -> Mapping[str, IndexName]:
        record = self.find(parts)
        if record is None or not record.directory:
            return {}
        names = self._folders.names(record, "/".join([SYSTEM_FOLDER, *parts]))
        return {self._fold(name.name): name for name in sorted(names, key=lambda name: name.name)}
