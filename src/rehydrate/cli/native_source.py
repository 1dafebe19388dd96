"""A native store as a source of files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.selection import Selection
from rehydrate.cli.chosen import Chosen, Wanted, choose, unmatched_of
from rehydrate.cli.output import shown
from rehydrate.cli.show_entries import Entry, entries_of
from rehydrate.cli.stores import opened_catalogue, pick_version
from rehydrate.cli.thaw_desk import ThawDesk
from rehydrate.engine.random_access import read_range
from rehydrate.errors import RequestError
from rehydrate.formats.native.container import container_path
from rehydrate.formats.walk import STREAM
from rehydrate.protocols import BackupStore, VersionInfo
from rehydrate.requests import CancelToken, Recall
from rehydrate.values import StoreId

__all__ = ["ON_TAPE", "NativeSource", "lies_on_tape", "opened_store"]

ON_TAPE: Final = "it lies on an LTFS volume: containers are read as they lie on the tape"
_ON_TAPE: Final = "user.ltfs.volumeUUID"
_BATCH: Final = 4096


@contextmanager
def opened_store(path: Path) -> Iterator["NativeSource"]:
    """Open a store.

    Args:
        path: Its directory.

    Raises:
        StoreError: There is no such store.
        FormatError: Its configuration is damaged or newer than this release.
    """
    with opened_catalogue(path) as catalogue:
        if not lies_on_tape(path):
            yield NativeSource(catalogue, path)
            return
        from rehydrate.stores.ltfs.on_mount import OnMountedTape

        containers = OnMountedTape(catalogue.store, path)
        yield NativeSource(catalogue, path, containers, remarks=(ON_TAPE,))


def lies_on_tape(path: Path) -> bool:
    """Tell whether a directory is, or is in, a mounted LTFS volume: its root has an attribute.

    Args:
        path: The directory.
    """
    if not hasattr(os, "getxattr"):
        return False
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        with suppress(OSError):
            os.getxattr(folder, _ON_TAPE)
            return True
        if os.path.ismount(folder):
            break
    return False


@attrs.frozen(eq=False)
class _Batch:
    """Entries that follow each other."""

    paths: Sequence[bytes]
    stubs: Sequence[bytes]

    def listed(self, indexes: Sequence[int], /) -> Iterator[Entry]:
        return entries_of(
            [self.paths[index] for index in indexes], [self.stubs[index] for index in indexes]
        )


@attrs.frozen(eq=False)
class NativeSource:
    """Implements :class:`~rehydrate.cli.sources.Source`.

    Attributes:
        catalogue: The store.
        path: Its directory or URL.
        containers: What restores read from; ``None`` = what the catalogue reads from.
        desk: Tells what a restore thaws; ``None`` = it thaws nothing.
    """

    catalogue: NativeCatalogue
    path: Path | str
    containers: BackupStore | None = None
    desk: ThawDesk | None = None
    windows: bool = False
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def versions(self) -> list[VersionInfo]:
        """Return all versions, oldest first."""
        return self.catalogue.versions()

    def pick_version(self, version: int | str | None) -> int:
        """Return the number of the version that is meant."""
        return pick_version(self.catalogue, version)

    def stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return the one store."""
        del version
        return {self.catalogue.store_id: self.containers or self.catalogue.store}

    def selection(self, version: int, wanted: Wanted) -> Selection:
        """Compile what is wanted."""
        del version
        return wanted.selection()

    def unmatched(self, wanted: Wanted, missed: tuple[str, ...]) -> tuple[str, ...]:
        """Return what was given of what a selection missed."""
        return unmatched_of(wanted, missed)

    def batches(self, version: int, prefixes: Sequence[bytes]) -> Iterator[_Batch]:
        """Iterate the entries of a version in tree order."""
        entries = self.catalogue.entries(version, prefixes)
        while batch := list(islice(entries, _BATCH)):
            yield _Batch([entry.path for entry in batch], [entry.stub for entry in batch])

    def choose(
        self, wanted: Wanted, *, out: Path | None = None, cancel: CancelToken | None = None
    ) -> Chosen:
        """Find the entries that are wanted; that takes time only where they have to be thawed."""
        if self.desk is not None:
            manifest = self.catalogue.manifest(self.pick_version(wanted.version))
            places = np.unique(manifest.segments[["container", "generation"]]).tolist()
            self.desk.thaw_first([container_path(STREAM, *place) for place in places], cancel)
        return choose(self.catalogue, wanted, out=out)

    def read(
        self, version: int, path: bytes, offset: int, length: int, recall: Recall
    ) -> Iterator[bytes]:
        """Read a range of a file."""
        entries = self.catalogue.entries(version, [path])
        found = next((entry for entry in entries if entry.path == path), None)
        if found is None:
            raise RequestError(
                f"{shown(path)} is not in version {version};"
                f" `rehydrate ls {self.path}` lists what is"
            )
        try:
            yield from read_range(found.stub, self.catalogue.store, offset, length, recall=recall)
        except RequestError as error:
            raise error.at(file=os.fsdecode(path)) from None
