"""Opening a store for reading: its containers and its catalogue."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import attrs
import numpy as np

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.reading import StoreReader
from rehydrate.cli.output import Json
from rehydrate.cli.records import version_record
from rehydrate.errors import RequestError, RestoreError
from rehydrate.protocols import VersionInfo
from rehydrate.stores.layout import DATA_FOLDER, STREAM_FOLDER, StoreConfiguration
from rehydrate.values import StorePath

__all__ = ["StoreFacts", "opened_catalogue", "over_objects", "pick_version"]

_SEGMENTS_KEPT: Final = 256
"""Of at most 64 KiB each."""


class _RememberingCatalogue(NativeCatalogue):
    """Keeps the last segments: a selection and the directories above it lie in the same ones."""

    def segment(self, row: np.void) -> tuple[list[bytes], list[bytes]]:
        """Return the paths and stubs of a segment."""
        kept: dict[bytes, tuple[list[bytes], list[bytes]]] = vars(self).setdefault("_kept", {})
        key = row.tobytes()
        if key not in kept:
            if len(kept) >= _SEGMENTS_KEPT:
                del kept[next(iter(kept))]
            kept[key] = super().segment(row)
        return kept[key]


@contextmanager
def opened_catalogue(store: Path) -> Iterator[NativeCatalogue]:
    """Open a store.

    Args:
        store: Its directory.

    Raises:
        StoreError: There is no such store.
        FormatError: Its configuration is damaged or newer than this release.
    """
    try:
        catalogue = _RememberingCatalogue.open(store)
    except RestoreError as error:
        if str(store) not in error.message:
            error.message = f"{store}: {error.message}"
        raise
    with catalogue:
        yield catalogue


def over_objects(store: StoreReader, url: str) -> NativeCatalogue:
    """Return the catalogue of a store of objects.

    Args:
        store: Reads the objects.
        url: Its URL.

    Raises:
        StoreError: There is no such store, or it cannot be read.
        FormatError: Its configuration is damaged or newer than this release.
    """
    return _RememberingCatalogue.over(store, url)


def pick_version(catalogue: NativeCatalogue, number: int | str | None) -> int:
    """Return the version that is meant: the newest whole one, unless a number is given.

    Args:
        catalogue: The store.
        number: What was asked for.

    Raises:
        RequestError: There is no such version.
    """
    if isinstance(number, str):
        raise RequestError(f"{number!r} is no version: those of a native store have numbers")
    if number is not None:
        return catalogue.manifest(number).version
    numbers = catalogue.numbers()
    for candidate in reversed(numbers):
        if not catalogue.manifest(candidate).partial:
            return candidate
    if numbers:
        raise RequestError(
            f"the store has only the partial version {numbers[-1]}: the run that makes it has not"
            f" ended; say --version {numbers[-1]} to take what is there"
        )
    raise RequestError("the store has no version yet; `rehydrate optimize` makes one")


@attrs.frozen(kw_only=True)
class StoreFacts:
    """What ``rehydrate info`` shows.

    Attributes:
        path: Directory or URL of the store.
        configuration: What it was created with.
        versions: Number of versions.
        newest: The newest version.
        data_containers: Number of Data containers.
        data_bytes: Their sizes together.
        stream_containers: Number of Stream containers.
        stream_bytes: Their sizes together.
    """

    path: str
    configuration: StoreConfiguration
    versions: int
    newest: VersionInfo | None
    data_containers: int
    data_bytes: int
    stream_containers: int
    stream_bytes: int

    @classmethod
    def of(cls, catalogue: NativeCatalogue, path: Path | str) -> Self:
        """Look at a store: its directory or, if it is named by a string, its objects."""
        versions = catalogue.versions()
        folders = (DATA_FOLDER, STREAM_FOLDER)
        if isinstance(path, str):
            data, stream = (object_sizes(catalogue, folder) for folder in folders)
        else:
            data, stream = (_sizes(path / folder) for folder in folders)
        return cls(
            path=path if isinstance(path, str) else str(path.resolve()),
            configuration=catalogue.configuration,
            versions=len(versions),
            newest=versions[-1] if versions else None,
            data_containers=len(data),
            data_bytes=sum(data),
            stream_containers=len(stream),
            stream_bytes=sum(stream),
        )

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        newest = None if self.newest is None else version_record(self.newest)
        return {
            "directory": self.path,
            "configuration": self.configuration.as_mapping(),
            "versions": self.versions,
            "newest": newest,
            "containers": {
                "Data": {"count": self.data_containers, "bytes": self.data_bytes},
                "Stream": {"count": self.stream_containers, "bytes": self.stream_bytes},
            },
        }


def object_sizes(catalogue: NativeCatalogue, folder: str) -> list[int]:
    """Return the sizes of the objects in a folder, as its listing tells them.

    Args:
        catalogue: The store.
        folder: Name of the folder.

    Raises:
        StoreError: The service refused.
    """
    names = catalogue.store.list_containers(StorePath(folder))
    return [catalogue.store.size_of(StorePath(f"{folder}/{name}")) for name in names]


def _sizes(folder: Path) -> list[int]:
    try:
        return [entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()]
    except FileNotFoundError:
        return []
