"""What the volumes in a folder of this machine have in common: the tree, the stores, what is told.

:mod:`~rehydrate.stores.folder_copy` and :mod:`~rehydrate.stores.backup_streams_folder` differ in what
a file of the folder is; neither the walk nor the chunk stores depend on that.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from rehydrate.errors import StoreError
from rehydrate.ports import Files
from rehydrate.stores.chunk_folder import ChunkFolder, find_chunk_stores
from rehydrate.stores.host_tree import HostTree, Selection
from rehydrate.stores.volume import VolumeEntry
from rehydrate.values import StoreId

__all__ = ["PRIVATE_FOLDER", "HostVolume", "walk"]

PRIVATE_FOLDER: Final = b"SYSTEM VOLUME INFORMATION"
"""Folder at the root that is no part of the tree, in upper case."""


class _Closes(Protocol):
    def close(self) -> None: ...


S = TypeVar("S", bound=_Closes)


class HostVolume(Generic[S]):
    """A folder that stands for a volume; ``S`` is how its chunk stores are read.

    Gives a part of :class:`~rehydrate.stores.volume.Volume`; entries and their bytes are left to
    the class that inherits.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        reader: Callable[[ChunkFolder], S],
        *,
        files: Files | None = None,
    ) -> None:
        """Open the folder.

        Args:
            root: What stands for the root of the volume.
            reader: Makes a store out of its folder, and closes the folder with the store.
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such folder.
            StoreReadError: It cannot be opened.
        """
        self._tree = HostTree(root, files=files)
        self._reads = reader
        self._stores: list[S] = []
        self._lock = threading.Lock()
        self._problems: dict[str, None] = {}
        self._remarks: dict[str, None] = {}

    def close(self) -> None:
        """Close the folder and all stores that were opened."""
        with self._lock:
            stores, self._stores = self._stores, []
        for store in stores:
            store.close()
        self._tree.close()

    @property
    def case_table(self) -> npt.NDArray[np.uint16] | None:
        """Not known: names are compared exactly."""
        return None

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read so far, each said once."""
        with self._lock:
            return tuple(self._problems)

    @property
    def remarks(self) -> Sequence[str]:
        """What is worth knowing, each said once."""
        with self._lock:
            return tuple(self._remarks)

    def _tell(self, problem: str) -> None:
        with self._lock:
            self._problems[problem] = None

    def _remark(self, remark: str) -> None:
        with self._lock:
            self._remarks[remark] = None

    def store(self, identity: StoreId) -> S:
        """Return the chunk store with that identity; it is closed with the volume at the latest.

        Raises:
            StoreError: There is no such store (``code = "store.unknown"``).
        """
        self._tree.check_open()
        folder = dict(find_chunk_stores(self._tree.path)).get(identity)
        if folder is None:
            raise StoreError(
                f"there is no chunk store {identity} in {self._tree.path}", code="store.unknown"
            )
        store = self._reads(ChunkFolder(folder, identity, files=self._tree.files))
        with self._lock:
            self._stores.append(store)
        return store


def walk(
    wanted: Selection,
    level: Callable[[bytes], Iterator[VolumeEntry]],
    descends: Callable[[VolumeEntry], bool],
) -> Iterator[VolumeEntry]:
    """Iterate entries in tree order: parents before children.

    Args:
        wanted: Which entries are asked for.
        level: Gives the entries of a directory, sorted: those that are wanted or lead to such.
        descends: Whether there is something below an entry.
    """
    pending = [level(b"")]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        if wanted.holds(entry.path):
            yield entry
        if descends(entry):
            pending.append(level(entry.path))
