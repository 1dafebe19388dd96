"""The manifests of a store, newest first, read only as far as needed."""

import os
from collections.abc import Iterator
from typing import Final

from rehydrate.errors import RestoreError, StoreReadError
from rehydrate.formats.native.catalogue import (
    Manifest,
    decode_manifest,
    manifest_name,
    unseal_manifest,
)
from rehydrate.formats.native.layout import MAX_RECORD_SIZE
from rehydrate.ingest.folders import Folders, read_file
from rehydrate.ports import Files

__all__ = ["Versions"]

_SUFFIX: Final = ".rhm"


class Versions:
    """Reads manifests; what cannot be read is remembered by name, never removed."""

    def __init__(self, files: Files, folders: Folders) -> None:
        """List the versions."""
        self._files = files
        self._folder = folders.versions
        names = files.listdir(folders.versions)
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        self.numbers = sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())
        self.unreadable: dict[int, str] = {}
        self._loaded: dict[int, Manifest | None] = {}

    def load(self, number: int) -> Manifest | None:
        """Return a manifest, or ``None`` if it cannot be read."""
        if number not in self._loaded:
            self._loaded[number] = self._read(number)
        return self._loaded[number]

    def _read(self, number: int) -> Manifest | None:
        name = manifest_name(number)
        try:
            data = read_file(self._files, self._folder, name, MAX_RECORD_SIZE)
            manifest = decode_manifest(unseal_manifest(data))
        except OSError as error:
            raise StoreReadError(f"cannot read {name}: {error.strerror}") from error
        except RestoreError as error:
            self.unreadable[number] = str(error)
            return None
        if manifest.version != number:
            self.unreadable[number] = f"{name} is that of version {manifest.version}"
            return None
        return manifest

    def newest_first(self) -> Iterator[Manifest]:
        """Iterate the readable manifests, newest first."""
        for number in reversed(self.numbers):
            manifest = self.load(number)
            if manifest is not None:
                yield manifest

    @property
    def newest(self) -> int:
        """The greatest number in use; 0 if there is none."""
        return self.numbers[-1] if self.numbers else 0

    def of_source(self, source: bytes) -> Manifest | None:
        """Return the newest version of a source."""
        for manifest in self.newest_first():
            if manifest.source == source:
                return manifest
        return None


def source_name(path: str | bytes | os.PathLike[str]) -> bytes:
    """Return how versions name a source: its absolute path."""
    return os.path.realpath(os.fsencode(path))
