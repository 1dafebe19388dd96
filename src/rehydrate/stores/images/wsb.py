"""Windows Server Backup: which machines and versions a backup folder holds, and the volume inside.

The folder has the form ``WindowsImageBackup/<machine>/Backup YYYY-MM-DD HHMMSS/<volume>.vhdx``; the
time in the name is UTC. The catalogue beside it is Microsoft's own and is not read.

What cannot be reached from here: on a target that is a volume, Windows keeps only the newest version
as files; the older ones are shadow copies **of the target volume**. A copy of the folder does not
have them. An image of the target volume does: its snapshots (:mod:`~.shadows`) each hold the backup
folder as it was. The same is true of a whole disk given to the backup.
"""

import re
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import attrs

from rehydrate.errors import (
    ContainerNotFoundError,
    FormatError,
    RequestError,
    StoreError,
    StoreReadError,
)
from rehydrate.stores.images.partitions import Partition, partitions, volume_source
from rehydrate.stores.images.source import ByteSource, OpenedImage, open_image

__all__ = [
    "BackupDisk",
    "BackupVersion",
    "MachineBackup",
    "OpenedVolume",
    "find_backups",
    "open_version",
]

_ROOT: Final = "windowsimagebackup"
_VERSION: Final = re.compile(r"Backup [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{6}", re.IGNORECASE)
_DISKS: Final = frozenset({".vhd", ".vhdx"})
_NANOSECONDS: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class BackupDisk:
    """One virtual disk of a version; it holds one volume.

    Attributes:
        path: The VHD or VHDX file.
        volume_id: Identity of the volume, which is the name of the file; ``None`` for others, such
            as that of the EFI system partition.
        size: Size of the file in bytes.
    """

    path: Path
    volume_id: uuid.UUID | None
    size: int


@attrs.frozen(kw_only=True)
class BackupVersion:
    """One backup of a machine.

    Attributes:
        identifier: Version identifier as ``wbadmin get versions`` shows it,
            ``"MM/DD/YYYY-HH:MM"`` in UTC.
        created_ns: When, in nanoseconds since 1970.
        folder: Where it is.
        disks: Its virtual disks, by name.
    """

    identifier: str
    created_ns: int
    folder: Path
    disks: tuple[BackupDisk, ...]


@attrs.frozen(kw_only=True)
class MachineBackup:
    """All backups of one machine that a folder holds.

    Attributes:
        machine: Name of the machine.
        folder: Its folder.
        versions: The oldest first; at least one.
    """

    machine: str
    folder: Path
    versions: tuple[BackupVersion, ...]


@attrs.frozen(kw_only=True)
class OpenedVolume:
    """The volume inside a version; a context manager that closes it.

    Attributes:
        disk: The virtual disk that was chosen.
        image: The same, open.
        partition: The partition that was chosen.
        source: Bytes of the volume.
    """

    disk: BackupDisk
    image: OpenedImage
    partition: Partition
    source: ByteSource

    def __enter__(self) -> Self:
        """Return the volume itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the disk."""
        self.close()

    def close(self) -> None:
        """Close the disk."""
        self.image.close()


def find_backups(path: Path) -> tuple[MachineBackup, ...]:
    """List the machines and versions of a backup folder.

    Args:
        path: The ``WindowsImageBackup`` folder, the one above it, the one of a machine, or that of
            one version.

    Returns:
        One entry for each machine, by name; none where the folder is no backup at all.

    Raises:
        ContainerNotFoundError: There is no such folder.
        StoreReadError: A folder cannot be read.
    """
    path = path.absolute()
    if _VERSION.fullmatch(path.name):
        return _machine(path.parent, only=path)
    machine = _machine(path)
    if machine:
        return machine
    root = path
    if path.name.casefold() != _ROOT:
        root = next((each for each in _folders(path) if each.name.casefold() == _ROOT), path)
    return tuple(backup for folder in _folders(root) for backup in _machine(folder))


def _machine(folder: Path, only: Path | None = None) -> tuple[MachineBackup, ...]:
    """Return the backups in a machine's folder, as one entry or none."""
    folders = _folders(folder) if only is None else [only]
    versions = [version for each in folders for version in _version(each)]
    if not versions:
        return ()
    versions.sort(key=lambda version: version.created_ns)
    return (MachineBackup(machine=folder.name, folder=folder, versions=tuple(versions)),)


def _version(folder: Path) -> tuple[BackupVersion, ...]:
    """Return the version in a folder, as one entry or none."""
    if _VERSION.fullmatch(folder.name) is None:
        return ()
    try:
        made = datetime.strptime(f"{folder.name[len('Backup ') :]} +0000", "%Y-%m-%d %H%M%S %z")
    except ValueError:
        return ()
    version = BackupVersion(
        identifier=f"{made:%m/%d/%Y-%H:%M}",
        created_ns=int(made.timestamp()) * _NANOSECONDS,
        folder=folder,
        disks=tuple(_disks(folder)),
    )
    return (version,)


def _disks(folder: Path) -> list[BackupDisk]:
    found: list[BackupDisk] = []
    for entry in _entries(folder):
        if entry.suffix.casefold() not in _DISKS:
            continue
        try:
            volume_id = uuid.UUID(entry.stem)
        except ValueError:
            volume_id = None
        found.append(BackupDisk(path=entry, volume_id=volume_id, size=entry.stat().st_size))
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError as error:
        raise ContainerNotFoundError(f"there is no folder {folder}") from error
    except OSError as error:
        raise StoreReadError(f"cannot list {folder}: {error.strerror}") from error


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def open_version(
    version: BackupVersion,
    *,
    has_store: Callable[[ByteSource], bool],
    volume: str | None = None,
) -> OpenedVolume:
    """Open the volume of a version that is meant.

    That is the only NTFS volume with a chunk store, or else the only NTFS volume. Disks that cannot
    be opened do not matter while another one can.

    Args:
        version: Out of :func:`find_backups`.
        has_store: Tells whether the NTFS volume in a byte source has a chunk store.
        volume: Volume ID, or name of the file, where the choice is not clear.

    Raises:
        RequestError: Several volumes may be meant (the message lists them), or the one that was
            named is not there.
        StoreError: No disk can be opened; the error of the first one.
        FormatError: No disk can be opened; the error of the first one.
    """
    disks = [disk for disk in version.disks if volume is None or _is(disk, volume)]
    if not disks:
        raise RequestError(
            f"version {version.identifier} has no volume {volume or ''}; it has "
            + ", ".join(disk.path.name for disk in version.disks),
            code="request.volume",
        )
    images: list[OpenedImage] = []
    chosen = None
    try:
        found, broken = _candidates(disks, images)
        stores = [each for each in found if _holds(has_store, each.source)]
        meant = stores or found
        if not meant and broken:
            raise broken[0]
        if len(meant) != 1:
            raise RequestError(_choice(version, meant), code="request.volume")
        chosen = meant[0]
    finally:
        for image in images:
            if chosen is None or image is not chosen.image:
                image.close()
    return chosen


def _holds(has_store: Callable[[ByteSource], bool], source: ByteSource) -> bool:
    """Ask about one volume; a broken one has no store that could be used."""
    try:
        return has_store(source)
    except (StoreError, FormatError):
        return False


def _is(disk: BackupDisk, volume: str) -> bool:
    named = volume.casefold().strip("{}")
    return named in {disk.path.name.casefold(), disk.path.stem.casefold(), str(disk.volume_id)}


def _candidates(
    disks: list[BackupDisk], images: list[OpenedImage]
) -> tuple[list[OpenedVolume], list[StoreError | FormatError]]:
    """Return the NTFS volumes of all disks, and why some disks could not be opened.

    Args:
        disks: Where to look.
        images: Gets every image that was opened, whatever was in it.
    """
    found: list[OpenedVolume] = []
    broken: list[StoreError | FormatError] = []
    for disk in disks:
        try:
            image = open_image(disk.path)
            images.append(image)
            found += [
                OpenedVolume(
                    disk=disk,
                    image=image,
                    partition=partition,
                    source=volume_source(image.source, partition),
                )
                for partition in partitions(image.source)
                if partition.file_system == "NTFS"
            ]
        except (StoreError, FormatError) as error:
            broken.append(error)
    return found, broken


def _choice(version: BackupVersion, chosen: list[OpenedVolume]) -> str:
    if not chosen:
        return f"version {version.identifier} has no NTFS volume"
    names = ", ".join(f"{each.disk.path.name} ({each.partition.size} bytes)" for each in chosen)
    return f"version {version.identifier} has several volumes; name one of: {names}"
