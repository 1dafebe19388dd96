"""The catalogue of a native store: versions and their entries, read no further than needed."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, Self

import numpy as np

from rehydrate.catalogue.reading import StoreReader, read_exactly, read_whole
from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    FormatError,
    RequestError,
    StoreError,
)
from rehydrate.formats.native.catalogue import (
    Manifest,
    decode_manifest,
    decode_segment,
    manifest_name,
    tree_key,
    unseal_manifest,
)
from rehydrate.formats.native.container import container_path
from rehydrate.formats.native.layout import KIND_SEGMENT, MAX_MANIFEST, RECORD_SIZE
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.walk import STREAM
from rehydrate.protocols import CatalogueEntry, VersionInfo
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.layout import (
    CONFIGURATION_NAME,
    LARGEST_CONFIGURATION,
    VERSIONS_FOLDER,
    StoreConfiguration,
    parse_configuration,
    read_configuration,
)
from rehydrate.values import StoreId, StorePath

__all__ = ["NativeCatalogue"]

_SUFFIX: Final = ".rhm"
_DIGEST_SIZE: Final = 32


class NativeCatalogue:
    """Implements :class:`~rehydrate.protocols.Catalogue` over a store directory or reader.

    Manifests are kept once read; segments are not.
    """

    def __init__(self, store: StoreReader, configuration: StoreConfiguration) -> None:
        """Look into a store; see :meth:`open` for a directory.

        Args:
            store: Reads its files.
            configuration: Its configuration.
        """
        self._store = store
        self._configuration = configuration
        self._decoder = NativeDecoder(KIND_SEGMENT)
        self._manifests: dict[int, Manifest] = {}
        self._owned: DirectoryStore | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the store in a directory.

        Args:
            path: The directory.

        Raises:
            StoreError: There is no such store.
            FormatError: Its configuration is damaged or newer than this release.
        """
        configuration = read_configuration(path)
        store = DirectoryStore(path)
        catalogue = cls(store, configuration)
        catalogue._owned = store
        return catalogue

    @classmethod
    def over(cls, store: StoreReader, name: str) -> Self:
        """Look into a store that is no directory.

        Args:
            store: Reads its files.
            name: What people call it, for messages.

        Raises:
            StoreError: There is no such store, or its configuration cannot be read.
            FormatError: Its configuration is damaged or newer than this release.
        """
        try:
            text = read_whole(store, StorePath(CONFIGURATION_NAME), LARGEST_CONFIGURATION)
        except ContainerNotFoundError as error:
            raise StoreError(
                f"{name} is no rehydrate store: it has no {CONFIGURATION_NAME}",
                code="store.unknown",
            ) from error
        return cls(store, parse_configuration(text, name))

    def close(self) -> None:
        """Close the directory if :meth:`open` opened it."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        """Return the catalogue itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def store_id(self) -> StoreId:
        """Identity of the chunk store."""
        return self._configuration.store

    @property
    def configuration(self) -> StoreConfiguration:
        """What the store was created with."""
        return self._configuration

    @property
    def store(self) -> StoreReader:
        """The store that is read."""
        return self._store

    def numbers(self) -> list[int]:
        """Return the numbers of all versions, oldest first."""
        names = self._store.list_containers(StorePath(VERSIONS_FOLDER))
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def versions(self) -> list[VersionInfo]:
        """Return all versions, oldest first.

        Raises:
            FormatError: A manifest is damaged; `rehydrate rebuild` makes it again.
        """
        return [_info(self.manifest(number)) for number in self.numbers()]

    def manifest(self, version: int) -> Manifest:
        """Return the manifest of a version.

        Args:
            version: Its number.

        Raises:
            RequestError: There is no such version.
            FormatError: The manifest is damaged.
        """
        if version not in self._manifests:
            if version not in self.numbers():
                known = ", ".join(map(str, self.numbers())) or "none"
                raise RequestError(
                    f"there is no version {version} in this store (there are: {known})"
                )
            path = StorePath(f"{VERSIONS_FOLDER}/{manifest_name(version)}")
            try:
                data = read_whole(self._store, path, MAX_MANIFEST + _DIGEST_SIZE)
                manifest = decode_manifest(unseal_manifest(data))
            except FormatError as error:
                error.at(container=path)
                raise
            if manifest.version != version:
                raise CorruptMetadataError(
                    f"the manifest is that of version {manifest.version}", container=path
                )
            self._manifests[version] = manifest
        return self._manifests[version]

    def entries(self, version: int, prefixes: Sequence[bytes] = ()) -> Iterator[CatalogueEntry]:
        """Iterate the entries of a version in tree order.

        Args:
            version: Number of the version.
            prefixes: Only these paths and everything below them; empty = everything.

        Raises:
            RequestError: There is no such version.
            FormatError: A segment is damaged.
            StoreError: A segment cannot be read.
        """
        manifest = self.manifest(version)
        ranges = _ranges(prefixes)
        for number in _segments_of(manifest, ranges):
            for path, stub in zip(*self._inside(manifest, number, ranges), strict=True):
                yield CatalogueEntry(path, stub)

    def stubs(
        self, version: int, prefixes: Sequence[bytes] = ()
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the paths and the stubs of a version as two lists; see :meth:`entries`.

        Args:
            version: Number of the version.
            prefixes: Only these paths and everything below them; empty = everything.

        Raises:
            RequestError: There is no such version.
            FormatError: A segment is damaged.
            StoreError: A segment cannot be read.
        """
        manifest = self.manifest(version)
        ranges = _ranges(prefixes)
        all_paths: list[bytes] = []
        all_stubs: list[bytes] = []
        for number in _segments_of(manifest, ranges):
            paths, stubs = self._inside(manifest, number, ranges)
            all_paths += paths
            all_stubs += stubs
        return all_paths, all_stubs

    def _inside(
        self, manifest: Manifest, number: int, ranges: "_Ranges"
    ) -> tuple[list[bytes], list[bytes]]:
        paths, stubs = self.segment(manifest.segments[number])
        if not ranges:
            return paths, stubs
        keys = [tree_key(path) for path in paths]
        cuts = [
            (bisect_left(keys, start), bisect_left(keys, end))
            for start, end in ranges
            if start <= keys[-1] and end > keys[0]
        ]
        if cuts == [(0, len(keys))]:
            return paths, stubs
        return (
            [path for start, end in cuts for path in paths[start:end]],
            [stub for start, end in cuts for stub in stubs[start:end]],
        )

    def segment(self, row: np.void) -> tuple[list[bytes], list[bytes]]:
        """Return the paths and stubs of a segment.

        Args:
            row: A row of :attr:`Manifest.segments`.

        Raises:
            FormatError: It is damaged.
            StoreError: It cannot be read.
        """
        container, length = int(row["container"]), int(row["length"])
        path = container_path(STREAM, container, int(row["generation"]))
        offset = int(row["offset"])
        record = read_exactly(self._store, path, offset, length)
        try:
            payload = self._decoder.decode(
                memoryview(record),
                int(row["local_id"]),
                length - RECORD_SIZE,
                row["digest"].tobytes(),
            )
            return decode_segment(bytes(memoryview(payload)))
        except FormatError as error:
            error.at(container=path, offset=offset, length=length)
            raise


_Ranges = list[tuple[bytes, bytes]]


def _ranges(prefixes: Sequence[bytes]) -> _Ranges:
    """Return the ranges of tree keys below the prefixes, sorted and without overlap."""
    ranges: _Ranges = []
    for key in sorted({tree_key(prefix.strip(b"/")) for prefix in prefixes}):
        if not key:
            return []
        # What is below a path continues its key with a zero byte; 1 is greater and not part of it.
        if not ranges or key >= ranges[-1][1]:
            ranges.append((key, key + b"\1"))
    return ranges


def _segments_of(manifest: Manifest, ranges: _Ranges) -> Sequence[int]:
    """Return the numbers of the segments that can hold entries in the ranges."""
    firsts = [tree_key(path) for path in manifest.first_paths]
    if not ranges:
        return range(len(firsts))
    wanted: dict[int, None] = {}
    for start, end in ranges:
        first = max(bisect_right(firsts, start) - 1, 0)
        wanted.update(dict.fromkeys(range(first, bisect_left(firsts, end))))
    return list(wanted)


def _info(manifest: Manifest) -> VersionInfo:
    return VersionInfo(
        number=manifest.version,
        created_ns=manifest.created_ns,
        parent=manifest.parent,
        source=manifest.source,
        entries=manifest.entries,
        logical_bytes=manifest.logical_bytes,
        partial=manifest.partial,
    )
