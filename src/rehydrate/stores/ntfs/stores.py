"""Finds the chunk stores of a volume, and the settings of its deduplication."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from rehydrate.errors import FormatError, StoreError
from rehydrate.stores.ntfs.contents import Content
from rehydrate.stores.ntfs.folders import SYSTEM_FOLDER, SystemFolder
from rehydrate.stores.ntfs.layout import ATTRIBUTE_DATA
from rehydrate.stores.ntfs.records import Record, Records
from rehydrate.stores.volume import ChunkStore, StoreFile
from rehydrate.values import STORES_FOLDER, StoreId, StorePath, store_folder

__all__ = ["find_stores", "read_settings"]

_STORE_NAME: Final = re.compile(r"\{([0-9a-f-]{36})\}\.ddp", re.IGNORECASE | re.ASCII)
_STORES: Final = STORES_FOLDER.split("/")[1:]
_SETTINGS: Final = ("Dedup", "Settings")
_MAX_SETTING: Final = 1 << 20
_MAX_SETTINGS: Final = 64


@attrs.frozen(eq=False)
class _Finder:
    records: Records
    system: SystemFolder
    tell: Callable[[str], None]

    def children(self, parts: list[str]) -> Iterator[tuple[str, Record]]:
        """Yield the names in a folder, sorted, with their records; tell what cannot be read."""
        try:
            names = sorted(self.system.folder(parts).values(), key=lambda name: name.name)
        except (StoreError, FormatError) as error:
            self.tell(f"{error}; what is below is left out")
            return
        for name in names:
            what = "/".join([SYSTEM_FOLDER, *parts, name.name])
            try:
                yield name.name, self.records.record(name.record, what, name.sequence)
            except (StoreError, FormatError) as error:
                self.tell(f"{error}; it is left out")

    def files(self, parts: list[str]) -> Iterator[tuple[list[str], Record]]:
        """Yield all files below a folder with their paths from the system folder on."""
        waiting, seen = [parts], set[int]()
        while waiting:
            folder = waiting.pop()
            for name, record in self.children(folder):
                path = [*folder, name]
                if not record.directory:
                    yield path, record
                elif record.number not in seen:
                    seen.add(record.number)
                    waiting.append(path)
                else:
                    self.tell(f"{SYSTEM_FOLDER}/{'/'.join(path)} was met before; it is left out")


def find_stores(
    records: Records, system: SystemFolder, tell: Callable[[str], None]
) -> list[ChunkStore]:
    """Return the chunk stores of a volume, sorted by identity.

    Args:
        records: The file system.
        system: Finds what is in its system folder.
        tell: Takes a line about each thing that cannot be read.
    """
    finder = _Finder(records, system, tell)
    found: dict[StoreId, ChunkStore] = {}
    for name, record in finder.children(_STORES):
        match = _STORE_NAME.fullmatch(name)
        identity = _identity(match.group(1)) if match and record.directory else None
        if identity is None:
            continue
        files = [
            StoreFile(_store_path(identity, path), _size(record))
            for path, record in finder.files([*_STORES, name])
        ]
        files.sort(key=lambda file: file.path)
        found[identity] = ChunkStore(identity, tuple(files))
    return [found[identity] for identity in sorted(found)]


def read_settings(
    records: Records, system: SystemFolder, tell: Callable[[str], None]
) -> dict[str, bytes]:
    """Return the files of ``System Volume Information/Dedup/Settings`` by name.

    Args:
        records: The file system.
        system: Finds what is in its system folder.
        tell: Takes a line about each thing that cannot be read.
    """
    found: dict[str, bytes] = {}
    for name, record in _Finder(records, system, tell).children(list(_SETTINGS)):
        attribute = record.find(ATTRIBUTE_DATA)
        if record.directory or attribute is None or attribute.size > _MAX_SETTING:
            continue
        what = "/".join([SYSTEM_FOLDER, *_SETTINGS, name])
        try:
            Content.of(records, record, attribute, what)
            found[name] = records.value(record, attribute, _MAX_SETTING, what)
        except (StoreError, FormatError) as error:
            tell(f"{error}; it is left out")
        if len(found) == _MAX_SETTINGS:
            break
    return found


def _identity(text: str) -> StoreId | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _store_path(identity: StoreId, path: list[str]) -> StorePath:
    return StorePath("/".join([store_folder(identity), *path[len(_STORES) + 1 :]]))


def _size(record: Record) -> int:
    data = record.find(ATTRIBUTE_DATA)
    return 0 if data is None else data.size
