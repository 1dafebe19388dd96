"""All stubs of a volume as columns: which stream maps each file needs, by store."""

import uuid
from array import array
from collections.abc import Set as AbstractSet
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.windows_damage import BrokenFile
from rehydrate.catalogue.windows_tables import WANTED_DTYPE, Words, digest_words, keys_of
from rehydrate.chunks import Ints, Rows
from rehydrate.errors import Cancelled, RestoreError
from rehydrate.formats.walk import Limits
from rehydrate.formats.windows.format import WINDOWS
from rehydrate.stores.volume import Volume
from rehydrate.values import DEDUP_TAG, StoreId

__all__ = ["NO_PARTS", "FilePaths", "Parts", "StubFiles", "read_stubs"]

_BATCH: Final = 1024
_NOTHING: Final = uuid.UUID(int=0)


class FilePaths:
    """Paths of files by number, in one run of bytes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._joined = bytearray()
        self._ends = array("q", [0])

    def add(self, path: bytes) -> int:
        """Take a path and return its number."""
        self._joined += path
        self._ends.append(len(self._joined))
        return len(self._ends) - 2

    def __getitem__(self, number: int) -> bytes:
        """Return the path of a file."""
        return bytes(self._joined[self._ends[number] : self._ends[number + 1]])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ends) - 1


@attrs.frozen(eq=False)
class Parts:
    """Parts of stream maps that the stubs of one store name, ascending by key.

    Attributes:
        wanted: The stream records (:data:`~rehydrate.catalogue.windows_tables.WANTED_DTYPE`).
        keys: Their keys.
        begin: First byte of the file that each part describes.
        end: End of it, exclusive.
        file: Number of the file.
        files: Number of distinct files.
    """

    wanted: Rows
    keys: Words
    begin: Ints
    end: Ints
    file: Ints
    files: int

    def of_record(self, key: int, digest: bytes) -> list[tuple[int, int]]:
        """Return the distinct ranges (begin, end) that stubs give to a stream record.

        Args:
            key: Key of the record.
            digest: Digest in its header; stubs may know the first half only.
        """
        low, high = np.searchsorted(self.keys, [np.uint64(key), np.uint64(key) + np.uint64(1)])
        words = digest_words(self.wanted[low:high])
        mine = np.frombuffer(digest, np.dtype("<u8"))
        same = (words[:, :2] == mine[:2]).all(axis=1)
        same &= (words[:, 2:] == mine[2:]).all(axis=1) | ~words[:, 2:].any(axis=1)
        here = np.flatnonzero(same) + low
        pairs = zip(self.begin[here].tolist(), self.end[here].tolist(), strict=True)
        return list(dict.fromkeys(pairs))


_NO_INTS: Final = np.zeros(0, np.int64)
NO_PARTS: Final = Parts(
    np.zeros(0, WANTED_DTYPE), np.zeros(0, np.uint64), _NO_INTS, _NO_INTS, _NO_INTS, 0
)
"""Of a store that no stub names."""


@attrs.define(eq=False)
class StubFiles:
    """What the stubs of a volume say.

    Attributes:
        paths: Paths of all stubs that can be used.
        parts: Their parts, by store.
        broken: Stubs that cannot be read, or make no sense.
        orphans: Numbers of stubs whose store is not there, by store.
    """

    paths: FilePaths = attrs.field(factory=FilePaths)
    parts: dict[StoreId, Parts] = attrs.field(factory=dict)
    broken: list[BrokenFile] = attrs.field(factory=list)
    orphans: dict[StoreId, list[int]] = attrs.field(factory=dict)


def read_stubs(volume: Volume, present: AbstractSet[StoreId], limits: Limits) -> StubFiles:
    """Read and decode all stubs of a volume.

    Args:
        volume: The volume.
        present: Chunk stores that are on it.
        limits: Largest numbers accepted.

    Returns:
        The stubs; damaged ones are among :attr:`StubFiles.broken`.
    """
    reading = _Reading(present, limits)
    for entry in volume.entries():
        if entry.reparse_tag != DEDUP_TAG:
            continue
        try:
            reading.take(entry.path, volume.reparse_data(entry))
        except Cancelled:
            raise
        except RestoreError as error:
            reading.refuse(entry.path, error)
    return reading.done()


class _Reading:
    def __init__(self, present: AbstractSet[StoreId], limits: Limits) -> None:
        self._present = present
        self._limits = limits
        self._batch: list[tuple[bytes, bytes]] = []
        self._columns: dict[StoreId, list[tuple[Rows, Ints, Ints, Ints]]] = {}
        self._found = StubFiles()

    def take(self, path: bytes, stub: bytes) -> None:
        self._batch.append((path, stub))
        if len(self._batch) >= _BATCH:
            self._decode()

    def refuse(self, path: bytes, error: RestoreError) -> None:
        broken = BrokenFile(path=path, check=error.code, reason=error.message)
        self._found.broken.append(broken)

    def done(self) -> StubFiles:
        self._decode()
        for store, columns in self._columns.items():
            wanted, begin, end, file = (
                np.concatenate(column) for column in zip(*columns, strict=True)
            )
            keys = keys_of(wanted)
            order = np.argsort(keys, kind="stable")
            files = len(np.unique(file))
            self._found.parts[store] = Parts(
                wanted[order], keys[order], begin[order], end[order], file[order], files
            )
        return self._found

    def _decode(self) -> None:
        """Decode a batch; the rows of all its stubs lie one after the other."""
        batch, self._batch = self._batch, []
        table = WINDOWS.decode_stubs([stub for _, stub in batch], self._limits)
        numbers = np.full(len(batch), -1, np.int64)
        owners: dict[StoreId, list[int]] = {}
        for index, (path, stub) in enumerate(batch):
            error = table.errors.get(index)
            if error is not None:
                self.refuse(path, error)
                continue
            store = uuid.UUID(bytes=WINDOWS.store_key(stub) or _NOTHING.bytes)
            numbers[index] = self._found.paths.add(path)
            if store in self._present:
                owners.setdefault(store, []).append(index)
            else:
                self._found.orphans.setdefault(store, []).append(int(numbers[index]))
        counts = np.diff(table.row_ptr)
        begins = np.zeros(len(table.rows), np.int64)
        begins[1:] = table.rows["end"][:-1]
        begins[table.row_ptr[:-1][counts > 0]] = 0
        stubs = np.repeat(np.arange(len(batch)), counts)
        for store, indices in owners.items():
            here = np.isin(stubs, indices)
            rows = table.rows[here]
            ends = rows["end"].astype(np.int64)
            self._columns.setdefault(store, []).append(
                (_wanted(rows), begins[here], ends, numbers[stubs[here]])
            )


def _wanted(rows: Rows) -> Rows:
    wanted: Rows = np.zeros(len(rows), WANTED_DTYPE)
    for name in ("container", "local_id", "generation", "offset", "length", "digest"):
        wanted[name] = rows[name]
    wanted["size"] = rows["length"] - np.uint32(WINDOWS.map_overhead)
    wanted["sure"] = wanted["live"] = 1
    return wanted
