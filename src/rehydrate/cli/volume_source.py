"""A Windows volume as a source of files, wherever it is: an image, a backup, a folder."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import attrs

from rehydrate.catalogue.casing import Casing, decode_name
from rehydrate.catalogue.opening import open_volumes
from rehydrate.catalogue.selection import Fold, Selection
from rehydrate.catalogue.windows import EntryOnVolume, VolumeCatalogue
from rehydrate.catalogue.windows_metadata.forms import WindowsMetadata
from rehydrate.cli.chosen import (
    Wanted,
    missing_above,
    nothing_matches,
    path_forms,
    unmatched_of,
)
from rehydrate.cli.native_source import ON_TAPE, lies_on_tape
from rehydrate.cli.output import shown, table, tell
from rehydrate.cli.progress import Bar, progress_bar
from rehydrate.cli.sizes import size
from rehydrate.cli.volume_entries import WindowsEntry
from rehydrate.engine.random_access import read_range
from rehydrate.errors import Cancelled, RequestError, RestoreError, StoreError
from rehydrate.formats.detect import owner_of
from rehydrate.formats.windows.codec.codec import fast_path
from rehydrate.protocols import BackupStore, VersionInfo
from rehydrate.requests import CancelToken, Recall, RestoreRequest
from rehydrate.values import StoreId

__all__ = ["ChosenOnVolume", "VolumeSource", "opened_volume"]

_BATCH: Final = 4096
_SHOWN_EVERY: Final = 512
_PIECE: Final = 1 << 20
_LOOKED_AT: Final = 100_000
_AMBIGUOUS: Final = "request.partition"
_T = TypeVar("_T")


@contextmanager
def opened_volume(
    path: Path, partition: str | None, stores: Sequence[Path]
) -> Iterator["VolumeSource"]:
    """Open what holds a Windows volume.

    Args:
        path: Where it is.
        partition: Which partition or volume of it.
        stores: Where else chunk stores are.

    Raises:
        StoreError: It cannot be read, it is nothing that we know, or a package is missing.
        FormatError: It is damaged, or of a kind that is not supported.
        RequestError: It is not clear which partition is meant.
    """
    try:
        catalogue = open_volumes(path, partition=partition, stores=stores)
    except RequestError as error:
        if error.code == _AMBIGUOUS and not path.is_dir():
            _tell_partitions(path)
        raise
    except RestoreError as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
        raise
    with catalogue:
        if not stores:
            _refuse_other_folders(path, catalogue)
        source = VolumeSource(catalogue, path)
        source.on_tape = path.is_dir() and lies_on_tape(path)
        yield source


def _tell_partitions(path: Path) -> None:
    """Show the partitions of an image on stderr, before the error that says what to do."""
    from rehydrate.stores.images.partitions import partitions
    from rehydrate.stores.images.source import open_image

    rows = [["partition", "file system", "size", "kind", "name"]]
    with open_image(path) as image:
        rows += [
            [
                str(found.number),
                found.file_system or "?",
                size(found.size),
                found.kind,
                shown(found.name),
            ]
            for found in partitions(image.source)
        ]
    for line in table(rows, right="r r"):
        tell(line)


def _refuse_other_folders(path: Path, catalogue: VolumeCatalogue) -> None:
    """Refuse a folder that shows no sign of a Windows volume: it would be copied as it is."""
    if not path.is_dir() or len(catalogue.numbers()) != 1:
        return
    volume = catalogue.volume(1)
    if volume.facts.source != "folder copy" or volume.chunk_stores() or volume.settings():
        return
    if any(entry.deduplicated for entry in islice(catalogue.entries(1), _LOOKED_AT)):
        return
    raise StoreError(
        f"{path} is no rehydrate store (it has no rehydrate-store.json) and no copy of a Windows"
        " volume: it has neither a chunk store nor stubs",
        code="store.unknown",
    )


@attrs.frozen(eq=False)
class _Batch:
    """Entries that follow each other."""

    entries: Sequence[EntryOnVolume]

    @property
    def paths(self) -> Sequence[bytes]:
        return [entry.path for entry in self.entries]

    def listed(self, indexes: Sequence[int], /) -> Iterator[WindowsEntry]:
        return (WindowsEntry(self.entries[index]) for index in indexes)


@attrs.frozen(eq=False)
class ChosenOnVolume:
    """Implements :class:`~rehydrate.cli.sources.Selected`.

    Attributes:
        version: Number of the version.
        entries: In tree order.
        unmatched: Patterns and paths that match nothing.
    """

    version: int
    entries: Sequence[EntryOnVolume]
    unmatched: tuple[str, ...]
    _catalogue: VolumeCatalogue
    _cancel: CancelToken | None = None

    @property
    def paths(self) -> Sequence[bytes]:
        """Their paths."""
        return [entry.path for entry in self.entries]

    def requests(self, metadata: str | None = None, /) -> Iterable[RestoreRequest]:
        """Return what to restore; progress is drawn, as descriptors and streams may be read."""
        form = WindowsMetadata.NONE if metadata is None else WindowsMetadata(metadata)
        if any(entry.deduplicated for entry in self.entries):
            warn_if_slow()
        with progress_bar() as bar:
            made = self._catalogue.requests(self.version, self.entries, form)
            yield from _counted(made, bar, "looking at files", self._cancel)


class VolumeSource:
    """Implements :class:`~rehydrate.cli.sources.Source` over volumes."""

    windows = True

    def __init__(self, catalogue: VolumeCatalogue, path: Path) -> None:
        """Bind a catalogue.

        Args:
            catalogue: The volumes.
            path: What was opened.

        Attributes:
            on_tape: It lies on a mounted LTFS volume, in whose order containers are read.
        """
        self.catalogue = catalogue
        self.path = path
        self.on_tape = False
        self._used: dict[int, Fold | None] = {}

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read so far, on the volumes that were used."""
        found = [line for number in self._used for line in self.catalogue.volume(number).problems]
        return list(dict.fromkeys([*found, *self.catalogue.warnings]))

    @property
    def remarks(self) -> Sequence[str]:
        """What else is worth knowing of the volumes that were used."""
        found = (line for number in self._used for line in self.catalogue.volume(number).remarks)
        return list(dict.fromkeys([*found, ON_TAPE] if self.on_tape else found))

    def versions(self) -> list[VersionInfo]:
        """Return shadow copies, backups and the volume as it stands."""
        return self.catalogue.versions()

    def pick_version(self, version: int | str | None) -> int:
        """Return the number of a version that is given by number or name; the newest otherwise.

        Raises:
            RequestError: There is no such version, or several have the name.
        """
        numbers = self.catalogue.numbers()
        if version is None and numbers:
            return numbers[-1]
        if isinstance(version, int) and version in numbers:
            return version
        names = {info.number: os.fsdecode(info.source) for info in self.versions()}
        found = _named(str(version), names)
        if len(found) == 1:
            return found[0]
        what = "several versions" if found else "no version"
        raise RequestError(
            f"{self.path} has {what} {str(version)!r}; `rehydrate versions {self.path}` lists them",
            code="request.version",
        )

    def stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return the chunk stores that stubs of a version can need."""
        found = self.catalogue.stores(version)
        if not self.on_tape:
            return found
        from rehydrate.stores.ltfs.on_mount import OnMountedTape

        return {owner: OnMountedTape(store, self.path) for owner, store in found.items()}

    def fold(self, version: int) -> Fold | None:
        """Return how the volume of a version compares names."""
        if version not in self._used:
            case_table = self.catalogue.volume(version).case_table
            self._used[version] = None if case_table is None else Casing(case_table).fold
        return self._used[version]

    def selection(self, version: int, wanted: Wanted) -> Selection:
        """Compile what is wanted."""
        return wanted.selection(windows=True, fold=self.fold(version))

    def unmatched(self, wanted: Wanted, missed: tuple[str, ...]) -> tuple[str, ...]:
        """Return what was given of what a selection missed."""
        return unmatched_of(wanted, missed, windows=True)

    def walk(
        self, version: int, prefixes: Sequence[bytes] = (), cancel: CancelToken | None = None
    ) -> Iterator[EntryOnVolume]:
        """Iterate entries and draw how far it is."""
        self.fold(version)
        with progress_bar() as bar:
            entries = self.catalogue.entries(version, prefixes)
            yield from _counted(entries, bar, "listing", cancel)

    def batches(self, version: int, prefixes: Sequence[bytes]) -> Iterator[_Batch]:
        """Iterate the entries of a version in tree order."""
        self.fold(version)
        entries = self.catalogue.entries(version, prefixes)
        while batch := list(islice(entries, _BATCH)):
            yield _Batch(batch)

    def choose(
        self, wanted: Wanted, *, out: Path | None = None, cancel: CancelToken | None = None
    ) -> ChosenOnVolume:
        """Find the entries that are wanted."""
        version = self.pick_version(wanted.version)
        if wanted.nothing:
            return ChosenOnVolume(version, [], (), self.catalogue, cancel)
        selection = self.selection(version, wanted)
        missed = {*selection.choose([]).unmatched}
        chosen: list[EntryOnVolume] = []
        directories: dict[bytes, EntryOnVolume] = {}
        total = 0
        entries = self.walk(version, selection.prefixes, cancel)
        while batch := list(islice(entries, _BATCH)):
            found = selection.choose([entry.path for entry in batch])
            missed.intersection_update(found.unmatched)
            chosen += [batch[index] for index in found.indexes.tolist()]
            directories |= {entry.path: entry for entry in batch if entry.found.directory}
            total += len(batch)
        unmatched = self.unmatched(wanted, tuple(missed))
        if not chosen and (unmatched or wanted.excludes):
            raise nothing_matches(version, unmatched)
        if out is not None and (selection.prefixes or len(chosen) != total):
            above = missing_above([entry.path for entry in chosen], out)
            chosen = [*self._directories(version, above, directories), *chosen]
        return ChosenOnVolume(version, chosen, unmatched, self.catalogue, cancel)

    def _directories(
        self, version: int, paths: Sequence[bytes], known: Mapping[bytes, EntryOnVolume]
    ) -> list[EntryOnVolume]:
        """Return the entries of some directories, from what was read already or one by one."""
        found = []
        for path in paths:
            entry = known.get(path) or next(self.catalogue.entries(version, [path]), None)
            if entry is not None and entry.path == path:
                found.append(entry)
        return found

    def read(
        self, version: int, path: bytes, offset: int, length: int, recall: Recall
    ) -> Iterator[bytes]:
        """Read a range of a file; an ordinary one straight from the volume."""
        entry = self._entry(version, path)
        found = entry.found
        name = os.fsdecode(entry.path)
        if not entry.deduplicated:
            if found.directory or found.reparse_tag:
                what = (
                    "a directory" if found.directory else f"a reparse point {found.reparse_tag:#x}"
                )
                raise RequestError(f"{shown(name)} is {what}: it has no bytes", code="request.kind")
            volume = self.catalogue.volume(version)
            end = min(found.size, offset + length)
            for at in range(offset, end, _PIECE):
                yield volume.read(found, at, min(_PIECE, end - at))
            return
        warn_if_slow()
        request = next(iter(self.catalogue.requests(version, [entry])))
        owner = owner_of(entry.stub)
        store = None if owner is None else self.stores(version).get(owner.store_id)
        if owner is None or store is None:
            raise StoreError(
                f"the stub belongs to store {owner and owner.store_id}, which is not here",
                code="store.other",
            ).at(file=name)
        try:
            yield from read_range(
                entry.stub,
                store,
                offset,
                length,
                size=request.size,
                own_data=request.own_data,
                recall=recall,
            )
        except RequestError as error:
            raise error.at(file=name) from None

    def _entry(self, version: int, path: bytes) -> EntryOnVolume:
        fold = self.fold(version) or str
        for form in (form.strip(b"/") for form in path_forms(path)):
            wanted = fold(decode_name(form))
            for entry in self.catalogue.entries(version, [form]):
                if fold(decode_name(entry.path)) == wanted:
                    return entry
                break  # the entry itself comes before what is below it
        raise RequestError(
            f"{shown(path)} is not in version {version}; `rehydrate ls {self.path}` lists what is"
        )


def _named(name: str, names: Mapping[int, str]) -> list[int]:
    """Return the versions that a name can mean: the whole name, or else its last words."""
    wanted = name.casefold().strip("{}")
    found = [number for number, text in names.items() if text.casefold() == wanted]
    return found or [
        number for number, text in names.items() if text.casefold().endswith(f" {wanted}")
    ]


def _counted(
    items: Iterable[_T], bar: Bar | None, what: str, cancel: CancelToken | None
) -> Iterator[_T]:
    """Pass items on, draw how many, and stop when asked to."""
    for count, item in enumerate(items, 1):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("stopped before anything was restored; run the same command again")
        if bar is not None and count % _SHOWN_EVERY == 0:
            bar.count(what, count)
        yield item


_warned: list[bool] = []


def warn_if_slow() -> None:
    """Say once that compressed chunks will be decoded without a fast library."""
    if not _warned and fast_path() is None:
        _warned.append(True)
        tell(
            "rehydrate: compressed chunks are decoded by the slow reference decoder;"
            " `pip install 'rehydrate[windows]'` brings a fast one"
        )
