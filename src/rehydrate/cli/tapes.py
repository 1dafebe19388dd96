"""Sources whose containers lie on tapes: in part, or all of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol, cast

import attrs

from rehydrate.catalogue.opening import open_volumes
from rehydrate.cli.load_program import load_words
from rehydrate.cli.native_source import NativeSource
from rehydrate.cli.sources import Source, TapeOptions, is_native
from rehydrate.cli.stores import over_objects
from rehydrate.cli.tape_mounting import DriveMounts, NoMounts, place_in
from rehydrate.cli.volume_source import VolumeSource
from rehydrate.errors import RequestError
from rehydrate.protocols import BackupStore
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.ltfs.beside import (
    ContainerFolder,
    CopiedFiles,
    TapedStore,
    container_folder,
    windows_stores,
)
from rehydrate.stores.ltfs.inventory import Inventory, load_inventories
from rehydrate.stores.ltfs.mounted import MountedFile, as_mounted
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountsVolumes
from rehydrate.stores.tape.opening import DriveKind, kind_of_drive
from rehydrate.values import StoreId

__all__ = ["TapedNative", "TapedSource", "TapedVolume", "Tapes", "opened_taped"]

_SHOWN: Final = 5


@attrs.frozen(kw_only=True, eq=False)
class Tapes:
    """The tapes of a source.

    Attributes:
        inventories: What is known of the volumes, by ascending barcode.
        folder: Folder on them that store paths are relative to.
        files: Which containers lie on which volume.
        store: Reads them.
        drives: How many drives read at a time.
    """

    inventories: Sequence[Inventory]
    folder: str
    files: CopiedFiles
    store: LtfsStore
    drives: int


class TapedSource(Source, Protocol):
    """A source with tapes."""

    @property
    def tapes(self) -> Tapes:
        """Its tapes."""
        ...


@attrs.frozen(eq=False, kw_only=True)
class TapedNative(NativeSource):
    """A native store, some of whose containers lie on tapes.

    Attributes:
        tapes: The tapes.
        both: Reads directory and tapes.
    """

    tapes: Tapes
    both: TapedStore


class TapedVolume(VolumeSource):
    """A folder copy of a Windows volume, some of whose containers lie on tapes."""

    def __init__(self, source: VolumeSource, tapes: Tapes) -> None:
        """Bind.

        Args:
            source: The volume.
            tapes: The tapes.
        """
        super().__init__(source.catalogue, source.path)
        self.tapes = tapes
        self._both: dict[int, Mapping[StoreId, BackupStore]] = {}

    def stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return the chunk stores of the folder and of the tapes.

        Args:
            version: Number of the version.
        """
        if version not in self._both:
            own = super().stores(version)
            volumes = [each.volume for each in self.tapes.inventories]
            both: dict[StoreId, BackupStore] = {
                store: TapedStore(_folder(own.get(store)), self.tapes.files, self.tapes.store)
                for store in windows_stores(volumes, self.tapes.folder)
            }
            self._both[version] = {**own, **both}
        return self._both[version]


def _folder(store: BackupStore | None) -> ContainerFolder | None:
    """Return a store that can be listed; no other is put beside tapes."""
    wanted = ("preview_container_read", "list_containers", "size_of")
    return cast("ContainerFolder", store) if all(hasattr(store, name) for name in wanted) else None


@contextmanager
def opened_taped(
    path: Path, partition: str | None, stores: Sequence[Path], options: TapeOptions
) -> Iterator[TapedSource]:
    """Open a directory, and tapes for the containers that are not in it.

    Args:
        path: The directory of a native store, or a folder copy of a Windows volume.
        partition: Which partition of it, if it holds several.
        stores: Where else chunk stores are.
        options: The tapes.

    Raises:
        RequestError: There is no such directory or drive, or an inventory, or the folder on the
            volumes is not clear.
        StoreError: It cannot be read.
        FormatError: It is damaged, or of a kind that is not supported.
    """
    if not path.is_dir():
        raise RequestError(
            f"--tapes: {path} is no directory: name one with the configuration, the versions and"
            " the stream maps of the store, or a folder copy of a Windows volume",
            code="tape.source",
        )
    native = is_native(path)
    with ExitStack() as closing:
        tapes = _tapes(options, windows=not native)
        closing.callback(tapes.store.close)
        if native:
            store = closing.enter_context(DirectoryStore(path))
            both = TapedStore(store, tapes.files, tapes.store)
            catalogue = over_objects(both, str(path))
            yield TapedNative(catalogue=catalogue, path=path, tapes=tapes, both=both)
            return
        volumes = closing.enter_context(open_volumes(path, partition=partition, stores=stores))
        yield TapedVolume(VolumeSource(volumes, path), tapes)


def _tapes(options: TapeOptions, *, windows: bool) -> Tapes:
    inventories = load_inventories(options.inventories or Path())
    volumes = [each.volume for each in inventories]
    folder = container_folder(volumes, options.folder, windows=windows)
    mounts, volumes = _mounts(inventories, folder, options)
    files = CopiedFiles(volumes, folder, any_case=windows)
    drives = len(options.drives) or 1
    return Tapes(
        inventories=inventories,
        folder=folder,
        files=files,
        store=LtfsStore(
            volumes,
            mounts,
            catalogue=files,
            drives=drives,
            loaded=mounts.loaded() if isinstance(mounts, DriveMounts) else None,
        ),
        drives=drives,
    )


def _mounts(
    inventories: Sequence[Inventory], folder: str, options: TapeOptions
) -> tuple[MountsVolumes, list[LtfsVolume]]:
    """Return who mounts volumes, and the volumes as the drive shows them."""
    volumes = [each.volume for each in inventories]
    if not options.restores:
        return NoMounts(), volumes
    alone = [place for place in options.drives if place_in(place, "") == place]
    if len(set(alone)) != len(alone):
        raise RequestError("--drive: one drive was named twice", code="tape.drive")
    load = [] if options.load is None else load_words(options.load)
    kinds = {kind_of_drive(place_in(place, volumes[0].name)) for place in options.drives}
    files: dict[str, tuple[MountedFile, ...]] | None = None
    if kinds == {DriveKind.MOUNT}:
        flat = [as_mounted(volume, folder) for volume in volumes]
        volumes = [volume for volume, _ in flat]
        files = {volume.name: places for volume, places in flat}
    elif DriveKind.MOUNT in kinds:
        raise RequestError("--drive: either all are directories or none is", code="tape.drive")
    else:
        _refuse_mounted(inventories)
    mounts = DriveMounts(
        drives=options.drives,
        volumes={volume.name: volume for volume in volumes},
        load=load,
        files=None if files is None else files.__getitem__,
    )
    return mounts, volumes


def _refuse_mounted(inventories: Sequence[Inventory]) -> None:
    names = [each.volume.name for each in inventories if each.mounted]
    if names:
        more = ", ..." if len(names) > _SHOWN else ""
        raise RequestError(
            f"the inventory of {', '.join(names[:_SHOWN])}{more} was taken of a mounted volume, which"
            " does not tell where all pieces of a file lie: name the directory where it is mounted"
            " as --drive, or take the inventory from the drive",
            code="tape.inventory",
        )
