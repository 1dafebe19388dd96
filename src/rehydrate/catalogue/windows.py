"""The catalogue of volumes with deduplicated files: the tree itself is the catalogue.

Each version is a volume: the volume as it stands, and its shadow copies. Stub and chunk store are
always taken from the same one, as a store that went on since then may have dropped old chunks.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Self

import attrs
import numpy as np

from rehydrate.catalogue.windows_metadata import Kept, WindowsMetadata, keep
from rehydrate.chunks import HOLE, ROW_DTYPE, Rows
from rehydrate.errors import RequestError, RestoreError, StoreError
from rehydrate.formats.native.layout import MAP_INLINE, MAP_NONE
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DIRECTORY, FILE
from rehydrate.protocols import BackupStore, CatalogueEntry, VersionInfo
from rehydrate.requests import FileMetadata, OwnExtent, RestoreRequest
from rehydrate.stores.volume import Volume, VolumeEntry
from rehydrate.values import (
    DEDUP_TAG,
    NO_OWNER,
    NO_TIME,
    FileExtent,
    StoreId,
    StorePath,
)

__all__ = ["PLAIN_STORE", "EntryOnVolume", "VolumeCatalogue", "VolumeVersion"]

PLAIN_STORE: Final = uuid.UUID(int=0)
"""Store of entries that need none: everything they hold is their own data."""
_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755
_NO_STUB: Final = bytes(8)
_NO_XATTRS: Final[tuple[tuple[bytes, bytes], ...]] = ()


@attrs.frozen(kw_only=True)
class VolumeVersion:
    """A volume that can be opened.

    Attributes:
        name: What it is called, such as the version identifier of a backup, or of a shadow copy.
        created_ns: When it was made, nanoseconds since 1970; 0 = not known.
        open: Opens it; called at most once.
    """

    name: str
    created_ns: int
    open: Callable[[], Volume]


@attrs.frozen
class EntryOnVolume(CatalogueEntry):
    """A catalogue entry that remembers where it came from.

    Attributes:
        found: The entry as the volume lists it.
    """

    found: VolumeEntry = attrs.field(kw_only=True)

    @property
    def deduplicated(self) -> bool:
        """Whether it is a stub."""
        return self.found.reparse_tag == DEDUP_TAG


class VolumeCatalogue:
    """Implements :class:`~rehydrate.protocols.Catalogue` over volumes.

    Attributes:
        source: What was opened, for messages.
        warnings: What could not be read so far, one line each.
    """

    def __init__(
        self,
        versions: Sequence[VolumeVersion],
        *,
        source: str,
        stores: Mapping[StoreId, BackupStore] | None = None,
        closing: Callable[[], None] | None = None,
    ) -> None:
        """Bind volumes; nothing is opened yet.

        Args:
            versions: Oldest first.
            source: What was opened, for messages.
            stores: Chunk stores from elsewhere, for stubs whose store is not on their volume.
            closing: Called by :meth:`close` after the volumes are closed.
        """
        self._versions = tuple(versions)
        self._elsewhere = dict(stores or {})
        self._closing = closing
        self._volumes: dict[int, Volume] = {}
        self.source = source
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Return the catalogue itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close all volumes."""
        for volume in self._volumes.values():
            volume.close()
        self._volumes.clear()
        if self._closing is not None:
            self._closing()

    @property
    def store_id(self) -> StoreId:
        """Identity of the chunk store of the newest version.

        Raises:
            StoreError: Its volume has none, or several.
        """
        found = self.volume(len(self._versions)).chunk_stores()
        if len(found) != 1:
            raise StoreError(f"{self.source} has {len(found)} chunk stores", code="volume.no-store")
        return found[0].store

    def numbers(self) -> list[int]:
        """Return the numbers of all versions, oldest first."""
        return list(range(1, len(self._versions) + 1))

    def versions(self) -> list[VersionInfo]:
        """Return all versions, oldest first; their entries are not counted."""
        return [
            VersionInfo(
                number=number,
                created_ns=version.created_ns,
                parent=None,
                source=version.name.encode("utf-8", "surrogateescape"),
                entries=None,
                logical_bytes=None,
                partial=False,
            )
            for number, version in enumerate(self._versions, 1)
        ]

    def volume(self, version: int) -> Volume:
        """Return the volume of a version, opened.

        Args:
            version: Its number.

        Raises:
            RequestError: There is no such version.
            StoreError: It cannot be read.
            FormatError: It is no volume that we know.
        """
        if not 1 <= version <= len(self._versions):
            raise RequestError(
                f"there is no version {version} in {self.source} (there are: "
                f"{', '.join(map(str, self.numbers())) or 'none'})"
            )
        if version not in self._volumes:
            self._volumes[version] = self._versions[version - 1].open()
        return self._volumes[version]

    def entries(self, version: int, prefixes: Sequence[bytes] = ()) -> Iterator[EntryOnVolume]:
        """Iterate the entries of a version in tree order.

        The stub of a deduplicated file is its reparse data. Any other file or directory has a
        native stub whose content is one hole: its bytes come as own data. Other reparse points
        (links, cloud files) have their reparse data, which is no stub, and are left alone.

        Args:
            version: Number of the version.
            prefixes: Only these paths and everything below them; empty = everything.

        Raises:
            RequestError: There is no such version.
        """
        volume = self.volume(version)
        for found in volume.entries(prefixes):
            yield EntryOnVolume(found.path, self._stub(volume, found), found=found)

    def _stub(self, volume: Volume, found: VolumeEntry) -> bytes:
        if found.reparse_tag:
            try:
                return volume.reparse_data(found)
            except RestoreError as error:
                # It is listed all the same, and a restore of it fails.
                name = found.path.decode("utf-8", "replace")
                self.warnings.append(f"{name}: its reparse data cannot be read: {error.message}")
                return found.reparse_tag.to_bytes(4, "little") + _NO_STUB
        return _plain_stub(found)

    def stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return all chunk stores that stubs of a version can need: its own win.

        Args:
            version: Number of the version.
        """
        return {PLAIN_STORE: _NoStore(), **self._elsewhere, **self.volume_stores(version)}

    def volume_stores(self, version: int) -> Mapping[StoreId, BackupStore]:
        """Return the chunk stores on the volume of a version.

        Args:
            version: Number of the version.
        """
        volume = self.volume(version)
        return {found.store: volume.store(found.store) for found in volume.chunk_stores()}

    def requests(
        self,
        version: int,
        entries: Sequence[EntryOnVolume],
        form: WindowsMetadata = WindowsMetadata.NONE,
    ) -> Iterator[RestoreRequest]:
        """Turn entries into requests, with their own data and the metadata that they keep.

        Args:
            version: Number of the version that they are from.
            entries: What to restore.
            form: Where Windows metadata goes.
        """
        volume = self.volume(version)
        taken = {entry.path for entry in entries}
        for entry in entries:
            kept = keep(volume, entry.found, form)
            beside = {entry.path + suffix: content for suffix, content in kept.sidecars}
            clash = sorted(beside.keys() & taken)
            if clash:
                names = ", ".join(name.decode("utf-8", "replace") for name in clash)
                kept = attrs.evolve(kept, lost=(*kept.lost, f"sidecar ({names} is there)"))
            yield _request(volume, entry, kept)
            for path in sorted(beside.keys() - taken):
                yield _made_file(path, beside[path])
            taken |= beside.keys()


def _request(volume: Volume, entry: EntryOnVolume, kept: Kept) -> RestoreRequest:
    found = entry.found
    links = found.file_id if found.links > 1 and not found.directory else 0
    if entry.deduplicated or found.reparse_tag:
        return RestoreRequest(
            entry.stub,
            entry.path,
            size=found.size or None,  # a stub of no size is one whose size its source cannot tell
            metadata=attrs.evolve(kept.metadata, left_out=kept.lost),
            own_data=_own_data(volume, found),
            link_group=links,
        )
    return RestoreRequest(
        _plain_stub(found, kept.metadata),
        entry.path,
        metadata=FileMetadata(left_out=kept.lost),
        own_data=() if found.directory else _own_data(volume, found, plain=True),
        link_group=links,
    )


def _own_data(
    volume: Volume, found: VolumeEntry, *, plain: bool = False
) -> tuple[OwnExtent, ...] | None:
    """Return the ranges that the entry itself holds; a plain file whose ranges are not known has all."""
    ranges = volume.own_ranges(found)
    if ranges is None:
        if not plain:
            return None
        ranges = (FileExtent(offset=0, length=found.size),) if found.size else ()
    read = partial(volume.read, found)
    return tuple(OwnExtent(extent, read) for extent in ranges)


def _plain_stub(found: VolumeEntry, kept: FileMetadata | None = None) -> bytes:
    """Return a native stub for an entry that needs no chunk store."""
    mode = _DIRECTORY_MODE if found.directory else _FILE_MODE
    mtime_ns, xattrs = NO_TIME, _NO_XATTRS
    if kept is not None:
        mode = mode if kept.mode is None else kept.mode
        mtime_ns = NO_TIME if kept.mtime_ns is None else kept.mtime_ns
        xattrs = kept.xattrs or ()
    rows = _hole(0 if found.directory else found.size)
    return encode_stub(
        NativeStub(
            store=PLAIN_STORE,
            kind=DIRECTORY if found.directory else FILE,
            size=0 if found.directory else found.size,
            mode=mode,
            uid=NO_OWNER,
            gid=NO_OWNER,
            mtime_ns=mtime_ns,
            map_kind=MAP_INLINE if len(rows) else MAP_NONE,
            rows=rows,
            xattrs=xattrs,
        )
    )


def _hole(size: int) -> Rows:
    """Return the one row of a file that is a hole, or none."""
    rows: Rows = np.zeros(1 if size else 0, ROW_DTYPE)
    rows["local_id"], rows["end"] = HOLE, size
    return rows


def _made_file(path: bytes, content: bytes) -> RestoreRequest:
    """Return a request for a file that is not on the volume."""
    found = VolumeEntry(path=path, number=0, directory=False, size=len(content))
    extent = FileExtent(offset=0, length=len(content))
    own = OwnExtent(extent, lambda offset, size: content[offset : offset + size])
    return RestoreRequest(_plain_stub(found), path, own_data=(own,) if content else ())


class _NoStore:
    """The store of entries that need none; it is never read."""

    store_id = PLAIN_STORE

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Refuse."""
        del offset, size
        raise FileNotFoundError(path)
