"""Opening whatever holds a deduplicated volume: images, backups, folder copies, by what they are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from rehydrate.catalogue.windows import VolumeCatalogue, VolumeVersion
from rehydrate.errors import (
    FormatError,
    RequestError,
    StoreError,
    UnsupportedFormatError,
)
from rehydrate.protocols import BackupStore
from rehydrate.stores.backup_streams_folder import BackupStreamFolder, holds_backup_streams
from rehydrate.stores.chunk_folder import ChunkFolder, find_chunk_stores
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.stores.images.partitions import Partition, partitions, volume_source
from rehydrate.stores.images.shadows import Shadow, shadow_source, snapshots
from rehydrate.stores.images.source import ByteSource, open_image
from rehydrate.stores.images.wsb import BackupVersion, MachineBackup, find_backups, open_version
from rehydrate.stores.ntfs.volume import NtfsVolume
from rehydrate.stores.volume import Volume
from rehydrate.values import StoreId

__all__ = ["has_chunk_store", "open_volumes"]

_NTFS: Final = "NTFS"
_REFUSED: Final = {"ReFS": "volume.refs", "BitLocker": "volume.bitlocker"}


def open_volumes(
    path: Path, *, partition: int | str | None = None, stores: Iterable[Path] = ()
) -> VolumeCatalogue:
    """Open a volume image, a Windows Server Backup folder, a folder copy or a set of backup streams.

    Everything is opened read-only. Shadow copies inside an image become versions; the volume as it
    stands is the newest one.

    Args:
        path: What to open.
        partition: Number (from 1) or name of the partition; of a Windows Server Backup, volume ID or
            file name of the virtual disk. ``None`` = the only volume with a chunk store, or else the
            only NTFS volume.
        stores: More places with chunk stores, for stubs that were copied without theirs: a folder of
            a store, or anything else that this function opens.

    Returns:
        The catalogue; to be closed.

    Raises:
        StoreError: It cannot be read, or an optional package is missing.
        FormatError: It is damaged, or a kind of volume that is not supported.
        RequestError: It is not clear which partition is meant.
    """
    opened = ExitStack()
    try:
        elsewhere: dict[StoreId, BackupStore] = {}
        for place in stores:
            elsewhere |= _stores_at(place, opened)
        versions = _versions(path, partition, opened)
    except BaseException:
        opened.close()
        raise
    return VolumeCatalogue(versions, source=str(path), stores=elsewhere, closing=opened.close)


def _stores_at(path: Path, opened: ExitStack) -> Mapping[StoreId, BackupStore]:
    """Return the chunk stores in a folder, or on the volume that something holds."""
    if path.is_dir():
        found = find_chunk_stores(path)
        if found:
            kept = {identity: ChunkFolder(folder, identity) for identity, folder in found}
            for store in kept.values():
                opened.callback(store.close)
            return dict(kept)
    catalogue = opened.enter_context(open_volumes(path))
    newest = catalogue.numbers()[-1]
    stores = catalogue.volume_stores(newest)
    if not stores:
        raise StoreError(f"there is no chunk store in {path}", code="volume.no-store")
    return stores


def _versions(path: Path, partition: int | str | None, opened: ExitStack) -> list[VolumeVersion]:
    if not path.exists():
        raise StoreError(f"{path} does not exist", code="store.unknown")
    if not path.is_dir():
        return _image_versions(path, partition, opened)
    backups = find_backups(path)
    if backups:
        return _backup_versions(backups, partition, opened)
    if partition is not None:
        raise RequestError(f"{path} is a folder: it has no partitions", code="request.partition")
    kind = BackupStreamFolder if holds_backup_streams(path) else FolderCopy
    return [_version(path.name, path.stat().st_mtime_ns, partial(kind, path))]


def _version(name: str, created_ns: int, opens: Callable[[], Volume]) -> VolumeVersion:
    return VolumeVersion(name=name, created_ns=created_ns, open=opens)


def _image_versions(
    path: Path, partition: int | str | None, opened: ExitStack
) -> list[VolumeVersion]:
    image = opened.enter_context(open_image(path))
    found = partitions(image.source)
    chosen = _chosen(found, image.source, partition, path)
    source = volume_source(image.source, chosen)
    where = f"{image.layer} image {path.name}"
    if len(found) > 1 or chosen.kind:
        where += f", partition {chosen.number}"
    return _with_shadows(source, where, path.name, path.stat().st_mtime_ns)


def _with_shadows(
    source: ByteSource, where: str, name: str, created_ns: int
) -> list[VolumeVersion]:
    """Return the shadow copies of a volume, oldest first, and the volume itself."""
    versions = [
        _version(
            f"shadow copy {shadow.identifier}",
            shadow.created_ns,
            partial(_open_shadow, source, shadow, where),
        )
        for shadow in snapshots(source)
    ]
    return [*versions, _version(name, created_ns, partial(NtfsVolume, source, described=where))]


def _open_shadow(source: ByteSource, shadow: Shadow, where: str) -> Volume:
    return NtfsVolume(
        shadow_source(source, shadow.number), described=where, snapshot=str(shadow.identifier)
    )


def _chosen(
    found: Sequence[Partition], source: ByteSource, partition: int | str | None, path: Path
) -> Partition:
    """Return the partition that is meant."""
    if partition is not None:
        for each in found:
            if str(partition) in (str(each.number), each.name):
                return each
        raise RequestError(
            f"{path} has no partition {partition}; it has {_listed(found)}",
            code="request.partition",
        )
    candidates = [each for each in found if each.file_system == _NTFS]
    if len(candidates) > 1:
        with_store = [e for e in candidates if has_chunk_store(volume_source(source, e))]
        candidates = with_store or candidates
    if len(candidates) == 1:
        return candidates[0]
    if len(found) == 1:
        return found[0]  # its adapter refuses it by name
    for each in found if not candidates else ():
        if each.file_system in _REFUSED:
            raise UnsupportedFormatError(
                f"{path} has no NTFS volume; partition {each.number} is {each.file_system}, which"
                " is not supported",
                code=_REFUSED[each.file_system],
            )
    raise RequestError(
        f"say which partition of {path} is meant: it has {_listed(found)}",
        code="request.partition",
    )


def _listed(found: Sequence[Partition]) -> str:
    return (
        "; ".join(
            f"{each.number}: {each.file_system or each.kind or 'unknown'}"
            f"{f' {each.name!r}' if each.name else ''}, {each.size:,} bytes"
            for each in found
        )
        or "none"
    )


def has_chunk_store(source: ByteSource) -> bool:
    """Tell whether an NTFS volume has a chunk store; one that cannot be read has none.

    Args:
        source: Bytes of the volume; not closed.
    """
    try:
        return bool(NtfsVolume(source, described="a volume").chunk_stores())
    except (StoreError, FormatError):
        return False


def _backup_versions(
    backups: Sequence[MachineBackup], volume: int | str | None, opened: ExitStack
) -> list[VolumeVersion]:
    """Return the versions of Windows Server Backup, of all machines, oldest first."""
    several = len(backups) > 1
    versions = [
        _version(
            f"{backup.machine} {version.identifier}" if several else version.identifier,
            version.created_ns,
            partial(_open_backup, version, volume, opened),
        )
        for backup in backups
        for version in backup.versions
    ]
    return sorted(versions, key=lambda version: version.created_ns)


def _open_backup(version: BackupVersion, volume: int | str | None, opened: ExitStack) -> Volume:
    found = open_version(
        version, has_store=has_chunk_store, volume=None if volume is None else str(volume)
    )
    opened.enter_context(found)
    where = f"Windows Server Backup {version.identifier}, {found.disk.path.name}"
    return NtfsVolume(found.source, described=where)
