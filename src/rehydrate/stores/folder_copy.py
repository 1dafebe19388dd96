"""A copy of a volume in a folder of this machine, or an NTFS volume that is mounted there.

Files, directories and the containers of chunk stores are what they are. A stub is either

* a file whose reparse data the driver shows as extended attribute ``system.ntfs_reparse_data``
  (ntfs-3g; without its plugin for such files it shows the stub as a link, which is read all the
  same and never followed), or
* a *sidecar*: ``NAME.reparse`` holds the reparse data of ``NAME``, which is a sparse file, an empty
  one, or missing. A file is a sidecar if it begins with the tag of deduplicated files, or if all
  of it is one well-formed reparse buffer; it is then no file of the volume itself. A sidecar serves
  all names of a file with several names.

The size of a stub whose data file is missing, or that is shown as a link, is told as 0: not known.

**Own data of a stub** (:meth:`FolderCopy.own_ranges`) wins over the chunk store, so a range that a
copying tool made up would destroy good data. Hence a stub's own ranges are *unknown* (``None``)

* where its data file is missing or empty, or the driver shows no data of it (a link);
* on an NTFS mount, where drivers answer that everything is data;
* where the file system shares out more than 4096 bytes at once: a range may have grown;
* where the whole file is allocated: a tool wrote the holes as zeros, or holes cannot be told;
* where a range holds nothing but zeros: a tool may have made it, as some do at the end of a file.

Otherwise they are what the file system says (``SEEK_DATA``), and none at all is "known to be none".
One thing cannot be seen: a tool that turns zeros into holes loses recalled ranges of zeros.

On an NTFS mount of ntfs-3g, attributes, times, security and extended attributes come from its
``system.ntfs_*`` attributes, and alternate data streams from ``user.*`` where the volume is mounted
with ``streams_interface=xattr`` (at most 64 KiB of each; those of a stub shown as a link cannot be
had). Elsewhere times and links come from the file system, and the rest is not known. Unix links
are left out and told.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.ports import Files
from rehydrate.stores.chunk_folder import (
    ChunkFolder,
    find_chunk_stores,
    list_chunk_store,
    read_settings,
)
from rehydrate.stores.folder_places import (
    ALONE,
    BESIDE,
    LINK,
    PLAIN,
    SHARED,
    SHOWN,
    FolderPlaces,
    Place,
)
from rehydrate.stores.host_tree import Folder, Selection, inner_path, read_exactly, shown
from rehydrate.stores.host_volume import PRIVATE_FOLDER, HostVolume, walk
from rehydrate.stores.ntfs_attributes import DriverAttributes, filetime, owner_sid
from rehydrate.stores.sidecars import LARGEST_REPARSE_DATA, SUFFIX, partner_of, sidecars_first
from rehydrate.stores.volume import FILE_ATTRIBUTE_DIRECTORY, ChunkStore, VolumeEntry, VolumeFacts
from rehydrate.values import DEDUP_TAG, FileExtent

__all__ = ["FolderCopy"]

_BLOCK: Final = 4096
_PIECE: Final = 1 << 16
# Metadata files of NTFS, which drivers show on request.
_METADATA: Final = frozenset(
    b"$MFT $MFTMIRR $LOGFILE $VOLUME $ATTRDEF $BITMAP $BOOT $BADCLUS $SECURE $UPCASE "
    b"$EXTEND".split()
)


class FolderCopy(HostVolume[ChunkFolder]):
    """Implements :class:`~rehydrate.stores.volume.Volume` over a folder; see the module for rules.

    The case of names matters here, as nothing tells the table of the volume; only the names of
    chunk stores are found without regard to case.
    """

    def __init__(self, root: str | os.PathLike[str], *, files: Files | None = None) -> None:
        """Open the folder.

        Args:
            root: The root of the volume (or of the part of it that was copied).
            files: The file-system calls to make; the real ones by default.

        Raises:
            ContainerNotFoundError: There is no such folder.
            StoreReadError: It cannot be opened.
        """
        super().__init__(root, lambda folder: folder, files=files)
        with self._tree.folder(b"") as folder:
            self._driver = DriverAttributes.of(folder)
        self._places = FolderPlaces(self._tree, self._driver, self._tell, self._remark)

    @property
    def facts(self) -> VolumeFacts:
        """What the volume is."""
        if self._driver.name:
            return VolumeFacts(source=f"mounted volume ({self._driver.name})", file_system="NTFS")
        return VolumeFacts(source="folder copy")

    def entries(self, prefixes: Sequence[bytes] = ()) -> Iterator[VolumeEntry]:
        """Iterate names in tree order; see :class:`~rehydrate.stores.volume.Volume`.

        Args:
            prefixes: Only these paths and what is below them; empty = everything.
        """
        wanted = Selection(prefixes)
        return walk(
            wanted,
            lambda path: iter(self._level(path, wanted)),
            lambda entry: entry.directory and entry.number in (PLAIN, BESIDE),
        )

    def _level(self, path: bytes, wanted: Selection) -> list[VolumeEntry]:
        """Return the entries of one directory that are wanted or lead to wanted ones."""
        try:
            with self._tree.folder(path) as folder:
                names = [name for name in folder.names() if not self._is_private(path, name)]
                places = self._places.of(folder, path, names, wanted)
                return [self._entry(folder, path, place) for place in places]
        except (ContainerNotFoundError, StoreReadError) as error:
            self._tell(str(error))
            return []

    def _is_private(self, path: bytes, name: bytes) -> bool:
        upper = name.upper()
        return not path and (
            upper == PRIVATE_FOLDER or (bool(self._driver.name) and upper in _METADATA)
        )

    def _entry(self, folder: Folder, path: bytes, place: Place) -> VolumeEntry:
        status, driver = place.status, self._driver
        regular = stat.S_ISREG(status.st_mode)
        attributes = driver.attributes(folder, place.name)
        times = driver.times(folder, place.name) or (
            0,
            *(filetime(ns) for ns in (status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns)),
        )
        full = inner_path(path, place.name)
        streams, lost = driver.streams(folder, place.name)
        for stream in lost:
            self._remark(f"stream {stream!r} of {shown(full)} is too large for the driver to show")
        if place.kind == LINK and place.reparse_tag == DEDUP_TAG:
            self._remark("the driver does not show alternate data streams of deduplicated files")
        linked = place.linked and status.st_dev == self._tree.device and place.kind != ALONE
        linked = linked and status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
        return VolumeEntry(
            path=full,
            number=place.kind,
            directory=stat.S_ISDIR(status.st_mode) or bool(attributes & FILE_ATTRIBUTE_DIRECTORY),
            size=status.st_size if regular and place.kind != ALONE else 0,
            attributes=attributes,
            reparse_tag=place.reparse_tag,
            created=times[0],
            modified=times[1],
            accessed=times[2],
            changed=times[3],
            links=status.st_nlink if linked else 1,
            file_id=status.st_ino if linked else 0,
            owner=owner_sid(driver.security(folder, place.name) or b""),
            streams=tuple(streams),
        )

    def reparse_data(self, entry: VolumeEntry) -> bytes:
        """Return the whole reparse buffer.

        Raises:
            StoreError: The entry has none, or it cannot be read.
        """
        above, _, name = entry.path.rpartition(b"/")
        with self._tree.folder(above) as folder:
            if entry.number in (SHOWN, LINK):
                found = self._driver.reparse_data(folder, name)
                if found is not None:
                    return found
            elif entry.number == SHARED:
                status = folder.status(name)
                shared = self._places.shared.find(status.st_dev, status.st_ino)
                if shared is not None:
                    return shared.reparse_data
            elif entry.number in (BESIDE, ALONE):
                usual = self._sidecar(above, [name + SUFFIX], entry)
                found = usual or self._sidecar(above, folder.names(), entry)
                if found:
                    return found
        raise StoreReadError(f"{shown(entry.path)} has no reparse data", file=shown(entry.path))

    def _sidecar(self, above: bytes, names: Sequence[bytes], entry: VolumeEntry) -> bytes:
        """Return what the sidecar of an entry holds; empty if none of the names is it."""
        tag = entry.reparse_tag.to_bytes(4, "little")
        for name in sidecars_first(names):
            path = inner_path(above, name)
            if partner_of(path) == entry.path:
                with suppress(ContainerNotFoundError):
                    found = self._tree.read_small(path, LARGEST_REPARSE_DATA)
                    if found.startswith(tag):
                        return found
        return b""

    def own_ranges(self, entry: VolumeEntry) -> tuple[FileExtent, ...] | None:
        """Return the allocated ranges of the unnamed stream; see the module for the rules."""
        if entry.directory or entry.number in (ALONE, LINK):
            return None if entry.reparse_tag else ()
        try:
            with self._tree.file(entry.path) as fd:
                if not entry.reparse_tag:
                    return data_ranges(self._tree.files, fd, self._tree.files.fstat(fd).st_size)
                return None if self._driver.name else _stub_ranges(self._tree.files, fd, entry.path)
        except (ContainerNotFoundError, StoreReadError) as error:
            self._tell(str(error))
            return None

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        """Return exactly ``size`` bytes of a data stream; holes read as zeros.

        Raises:
            StoreError: They cannot be read.
        """
        if not stream:
            return self._tree.read(entry.path, offset, size)
        above, _, name = entry.path.rpartition(b"/")
        with self._tree.folder(above) as folder:
            found = self._driver.stream(folder, name, stream)
        if found is None or offset + size > len(found):
            raise StoreReadError(
                f"stream {stream!r} of {shown(entry.path)} cannot be read",
                file=shown(entry.path),
                offset=offset,
                length=size,
            )
        return found[offset : offset + size]

    def security(self, entry: VolumeEntry) -> bytes | None:
        """Return the security descriptor, if a driver tells it."""
        above, _, name = entry.path.rpartition(b"/")
        with self._tree.folder(above) as folder:
            return self._driver.security(folder, name)

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        """Return the extended attributes of NTFS, if a driver tells them."""
        above, _, name = entry.path.rpartition(b"/")
        with self._tree.folder(above) as folder:
            return self._driver.extended_attributes(folder, name)

    def chunk_stores(self) -> Sequence[ChunkStore]:
        """Return the chunk stores in the folder, sorted by identity; none is no fault."""
        found = find_chunk_stores(self._tree.path)
        return [list_chunk_store(identity, folder) for identity, folder in found]

    def settings(self) -> Mapping[str, bytes]:
        """Return the files of ``System Volume Information/Dedup/Settings``; see the protocol."""
        return read_settings(self._tree)


def data_ranges(files: Files, fd: int, size: int) -> tuple[FileExtent, ...]:
    """Return the ranges of an open file that the file system calls data, ascending.

    Args:
        files: The file-system calls.
        fd: The file.
        size: Its size; nothing behind it is looked at.

    Raises:
        OSError: The file system does not answer.
    """
    ranges: list[FileExtent] = []
    position = 0
    while position < size:
        begin = files.seek_data(fd, position)
        if begin is None or begin >= size:
            break
        position = min(files.seek_hole(fd, begin), size)
        ranges.append(FileExtent(begin, position - begin))
    return tuple(ranges)


def _stub_ranges(files: Files, fd: int, path: bytes) -> tuple[FileExtent, ...] | None:
    """Return the own ranges of a stub that is a file, where they can be believed."""
    status = files.fstat(fd)
    if getattr(status, "st_blksize", 2 * _BLOCK) > _BLOCK:
        return None
    ranges = data_ranges(files, fd, status.st_size)
    if sum(extent.length for extent in ranges) == status.st_size:  # an empty file, too
        return None
    return None if any(_is_zero(files, fd, extent, path) for extent in ranges) else ranges


def _is_zero(files: Files, fd: int, extent: FileExtent, path: bytes) -> bool:
    for offset in range(extent.offset, extent.end, _PIECE):
        size = min(_PIECE, extent.end - offset)
        if any(read_exactly(files, fd, offset, size, path)):
            return False
    return True
