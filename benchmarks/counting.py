"""A store that counts what is asked of it, from outside the engine; and what had to be asked."""

import threading
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from benchmarks.maps import read_maps
from rehydrate.protocols import BackupStore
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import StorePath

__all__ = ["Counted", "CountingStore", "needed_records"]

_DATA: Final = "Data/"


@attrs.frozen(kw_only=True)
class Counted:
    """What was asked.

    Attributes:
        reads: Reads of all containers.
        data_bytes: Bytes given out of data containers.
        other_bytes: Bytes given out of other containers.
        again: Bytes of data containers that were given out before.
        visits: Changes from one data container to another, the first included.
        containers: Distinct data containers.
        media: Distinct containers of both kinds.
    """

    reads: int
    data_bytes: int
    other_bytes: int
    again: int
    visits: int
    containers: int
    media: int


class CountingStore:
    """A directory store that writes down every read, in the order in which they start."""

    def __init__(self, inner: DirectoryStore) -> None:
        """Wrap a store.

        Args:
            inner: Does the reading.
        """
        self._inner = inner
        self._lock = threading.Lock()
        self._seen: list[tuple[str, int, int]] = []
        # Whatever else the store offers or declares must be seen on the wrapper as well.
        for name in dir(inner):
            if not name.startswith("_") and not hasattr(self, name):
                setattr(self, name, getattr(inner, name))

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Read, and count what is given out."""
        place = self._begin(path, offset)
        data = self._inner.read_backup_file(path, offset, size)
        self._seen[place] = (path, offset, len(data))
        return data

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Read into a buffer, and count what is given out."""
        place = self._begin(path, offset)
        count = self._inner.read_backup_file_into(path, offset, buffer)
        self._seen[place] = (path, offset, count)
        return count

    def _begin(self, path: str, offset: int) -> int:
        with self._lock:
            self._seen.append((path, offset, 0))
            return len(self._seen) - 1

    def counted(self) -> Counted:
        """Return the counts so far."""
        data = [read for read in self._seen if read[0].startswith(_DATA)]
        given = sum(size for _, _, size in data)
        paths = [path for path, _, _ in data]
        visits = sum(
            1 for number, path in enumerate(paths) if not number or path != paths[number - 1]
        )
        return Counted(
            reads=len(self._seen),
            data_bytes=given,
            other_bytes=sum(size for _, _, size in self._seen) - given,
            again=given - _union(data),
            visits=visits,
            containers=len(set(paths)),
            media=len({path for path, _, _ in self._seen}),
        )


def _union(reads: Sequence[tuple[str, int, int]]) -> int:
    """Return the number of distinct bytes."""
    total, here, end = 0, "", 0
    for path, offset, size in sorted(reads):
        if path != here:
            here, end = path, 0
        total += max(offset + size - max(end, offset), 0)
        end = max(end, offset + size)
    return total


def needed_records(stubs: Iterable[bytes], store: BackupStore) -> int:
    """Return the bytes of the distinct records that stubs need, found without the planner.

    Args:
        stubs: Stubs of a native store.
        store: Where their stream maps are.
    """
    return int(read_maps(stubs, store).distinct()["length"].sum(dtype="i8"))
