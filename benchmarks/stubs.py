"""The stubs of a store, in memory: what a caller of the library hands to the engine."""

import struct
from pathlib import Path
from typing import Final, TypeAlias

from rehydrate.catalogue.native import NativeCatalogue

__all__ = ["Entries", "stubs_of", "write_stub_list"]

Entries: TypeAlias = list[tuple[bytes, bytes]]
"""Path and stub of each entry, in tree order."""

_STUB_LIST: Final = "stubs.list"
_ENTRY: Final = struct.Struct("<II")


def write_stub_list(folder: Path, entries: Entries) -> None:
    """Write the list that takes the place of a catalogue in a quick store.

    Args:
        folder: Directory of the store.
        entries: Path and stub of each entry.
    """
    with (folder / _STUB_LIST).open("xb") as listing:
        for name, stub in entries:
            listing.write(_ENTRY.pack(len(name), len(stub)) + name + stub)


def stubs_of(folder: Path) -> Entries:
    """Return all entries of the newest version of a store, or of a quick store.

    Args:
        folder: Directory of the store.
    """
    if not (folder / _STUB_LIST).exists():
        with NativeCatalogue.open(folder) as catalogue:
            newest = catalogue.versions()[-1].number
            return [(entry.path, entry.stub) for entry in catalogue.entries(newest)]
    data = (folder / _STUB_LIST).read_bytes()
    found, at = [], 0
    while at < len(data):
        name, stub = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        found.append((data[at : at + name], data[at + name : at + name + stub]))
        at += name + stub
    return found
