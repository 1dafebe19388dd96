"""Which entries of the version before refer to what is known to be damaged, and so are read again.

Storing their chunks again is what heals a store: the new version is whole, and chunks that are
stored once more serve every later version.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Bools, Rows
from rehydrate.errors import FormatError, RestoreError
from rehydrate.formats.native.catalogue import SegmentColumns
from rehydrate.formats.native.container import container_name
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.layout import RECORD_SIZE
from rehydrate.formats.walk import DATA, STREAM, Limits
from rehydrate.ingest.folders import Folders, opened_folders, put_file, read_file
from rehydrate.ingest.lock import locked
from rehydrate.ingest.store import StoreWriter, World, opened_root
from rehydrate.ports import Files

__all__ = ["Suspicion", "known_damage", "note_damage"]

_NAME: Final = "damaged"
_LARGEST: Final = 64 << 20
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

Places = frozenset[tuple[int, int]]
"""``(container, local id)`` of records."""


def note_damage(
    path: str | os.PathLike[str],
    records: Iterable[tuple[int, int]],
    *,
    world: World | None = None,
) -> None:
    """Remember damaged records, so that the next run stores their chunks again.

    Args:
        path: Directory of the store.
        records: Container and local id of each; replaces what was noted before.
        world: The ports to use.

    Raises:
        StoreError: There is no such directory, or it is locked.
        PublishError: The note cannot be written.
    """
    files = (world or World()).files
    text = json.dumps(sorted(set(records))).encode()
    with (
        opened_root(files, Path(path)) as root_fd,
        locked(files, root_fd, os.fspath(path)),
        opened_folders(files, root_fd, os.fspath(path)) as folders,
    ):
        put_file(files, folders.index, _NAME, text)


def known_damage(files: Files, folders: Folders) -> Places:
    """Return the damaged records that were noted; an unreadable note is as good as none."""
    try:
        found = json.loads(read_file(files, folders.index, _NAME, _LARGEST))
        return frozenset((int(container), int(local_id)) for container, local_id in found)
    except (OSError, ValueError, TypeError, RecursionError, RestoreError):
        return frozenset()


class Suspicion:
    """Looks for entries that need a damaged record or container."""

    def __init__(self, store: StoreWriter, damaged: Places) -> None:
        """Collect what is known to be damaged.

        Args:
            store: The store.
            damaged: Records that were noted.
        """
        self._files = store.world.files
        self._folders = store.folders
        known = {(state.kind, state.container) for state in store.states()}
        self._good = {
            kind: [number for which, number in known if which == kind] for kind in (DATA, STREAM)
        }
        self._keys = np.array([container << 32 | number for container, number in damaged], np.int64)
        self.any = bool(store.found.damaged or damaged)

    def entries(self, columns: SegmentColumns) -> Bools:
        """Tell which entries of a segment are to be read again."""
        table = NATIVE.decode_stubs(columns.stubs(), Limits())
        wrong: Bools = np.zeros(len(columns.stub_ends), np.bool_)
        wrong[list(table.errors)] = True
        for number in np.flatnonzero(np.diff(table.row_ptr)).tolist():
            rows = table.rows[table.row_ptr[number] : table.row_ptr[number + 1]]
            wrong[number] |= self._map_is_bad(rows, in_parts=bool(table.in_parts[number]))
        return wrong

    def _map_is_bad(self, rows: Rows, *, in_parts: bool) -> bool:
        if not in_parts:
            return self._chunks_are_bad(rows)
        if not np.isin(rows["container"], self._good[STREAM]).all():
            return True
        try:
            return any(self._chunks_are_bad(self._part(row)) for row in rows)
        except (OSError, FormatError):
            return True

    def _chunks_are_bad(self, rows: Rows) -> bool:
        stored = rows[rows["container"] != 0]
        keys: npt.NDArray[np.int64] = stored["container"].astype(np.int64) << 32
        keys |= stored["local_id"]
        good = np.isin(stored["container"], self._good[DATA]) & ~np.isin(keys, self._keys)
        return not good.all()

    def _part(self, row: np.void) -> Rows:
        length = int(row["length"])
        name = container_name(int(row["container"]), int(row["generation"]))
        fd = self._files.open(os.fsencode(name), _FLAGS, dir_fd=self._folders.stream)
        try:
            record = self._files.pread(fd, length, int(row["offset"]))
        finally:
            self._files.close(fd)
        payload = NATIVE.decoder(STREAM).decode(
            memoryview(record),
            int(row["local_id"]),
            length - RECORD_SIZE,
            row["digest"].tobytes(),
        )
        return NATIVE.decode_map(payload)
