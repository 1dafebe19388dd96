"""The tree of a volume, walked without recursion: neither depth nor a circle stops it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from rehydrate.errors import FormatError, StoreError
from rehydrate.stores.ntfs.details import Details
from rehydrate.stores.ntfs.folders import SYSTEM_FOLDER, Folders
from rehydrate.stores.ntfs.layout import FIRST_USER_RECORD, RECORD_ROOT, IndexName
from rehydrate.stores.ntfs.names import Chosen, Fold, as_path, chosen_by
from rehydrate.stores.ntfs.records import Record, Records
from rehydrate.stores.volume import FILE_ATTRIBUTE_DIRECTORY, VolumeEntry

__all__ = ["Tree"]

_MAX_PATH: Final = 3 * 32767
"""Bytes of the longest path: 32,767 UTF-16 units of up to 3 bytes."""
_ALL: Final = Chosen(whole=True)

Child = tuple[bytes, IndexName, Chosen]
"""A name in a directory: its bytes, where it leads to, and what is wanted of it."""


@attrs.frozen(eq=False)
class Tree:
    """Walks a volume.

    Attributes:
        records: The file system.
        folders: Lists its directories.
        details: Makes entries of records.
        fold: How names are compared.
        tell: Takes a line about each thing that cannot be read.
    """

    records: Records
    folders: Folders
    details: Details
    fold: Fold
    tell: Callable[[str], None]

    def entries(self, prefixes: Sequence[bytes]) -> Iterator[VolumeEntry]:
        """Iterate names; see :meth:`~rehydrate.stores.volume.Volume.entries`.

        Args:
            prefixes: Only these paths and what is below them; empty = everything.
        """
        root = self.records.record(RECORD_ROOT, "the root directory")
        seen = {RECORD_ROOT}
        levels = [(b"", self._children(root, b"", chosen_by(prefixes, self.fold)))]
        while levels:
            above, children = levels[-1]
            child = next(children, None)
            if child is None:
                levels.pop()
                continue
            part, name, wanted = child
            path = above + part
            record = self._record(path, name)
            if record is None or not self._is_new(record, path, seen):
                continue
            if wanted.whole:
                entry = self._entry(path, record)
                if entry is None:
                    continue
                yield entry
            if record.directory and (wanted.whole or wanted.below):
                levels.append((path + b"/", self._told_children(record, path + b"/", wanted)))

    def _told_children(self, record: Record, path: bytes, wanted: Chosen) -> Iterator[Child]:
        try:
            return self._children(record, path, wanted)
        except (StoreError, FormatError) as error:
            self.tell(f"{error}; what is below is left out")
            return iter(())

    def _children(self, record: Record, path: bytes, wanted: Chosen) -> Iterator[Child]:
        """Return what is wanted of a directory, sorted."""
        found: list[Child] = []
        for name in self.folders.names(record, _text(path) or "the root directory"):
            below = _ALL if wanted.whole else wanted.below.get(self.fold(name.name))
            if below is None or name.record < FIRST_USER_RECORD:
                continue
            if path or self.fold(name.name) != self.fold(SYSTEM_FOLDER):
                found.append((as_path(name.name), name, below))
        found.sort(key=lambda child: (child[0], child[1].record))
        return self._distinct(found, path)

    def _distinct(self, children: list[Child], path: bytes) -> Iterator[Child]:
        last = b""
        for child in children:
            if child[0] == last:
                self.tell(f"{_text(path + last)} is there twice; one of them is left out")
                continue
            last = child[0]
            yield child

    def _record(self, path: bytes, name: IndexName) -> Record | None:
        if len(path) > _MAX_PATH:
            self.tell(f"{_text(path[:80])}... is longer than any path; it is left out")
            return None
        try:
            return self.records.record(name.record, _text(path), name.sequence)
        except (StoreError, FormatError) as error:
            self.tell(f"{error}; it is left out")
            return None

    def _is_new(self, record: Record, path: bytes, seen: set[int]) -> bool:
        if not record.directory:
            return True
        if record.number in seen:
            self.tell(f"{_text(path)} is a directory that was met before; it is left out")
            return False
        seen.add(record.number)
        return True

    def _entry(self, path: bytes, record: Record) -> VolumeEntry | None:
        try:
            return self.details.entry(path, record, _text(path))
        except (StoreError, FormatError) as error:
            self.tell(f"{error}; it is left out")
        if not record.directory:
            return None
        return VolumeEntry(
            path=path,
            number=record.number,
            directory=True,
            size=0,
            attributes=FILE_ATTRIBUTE_DIRECTORY,
            file_id=record.sequence << 48 | record.number,
        )


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace").rstrip("/")
