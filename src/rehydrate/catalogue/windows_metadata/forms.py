"""The forms in which Windows metadata can be kept off Windows, and the choice between them."""

import enum
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rehydrate.catalogue.windows_metadata.attributes import (
    ARCHIVE,
    mode_of,
    nanoseconds,
    ordinary_attributes,
)
from rehydrate.catalogue.windows_metadata.carried import Carried, Kept
from rehydrate.catalogue.windows_metadata.ntfs3g import TIMES, keep_ntfs3g
from rehydrate.catalogue.windows_metadata.samba import keep_samba
from rehydrate.catalogue.windows_metadata.sidecar import fits, keep_sidecar
from rehydrate.requests import FileMetadata
from rehydrate.stores.volume import FILE_ATTRIBUTE_READONLY, Volume, VolumeEntry
from rehydrate.values import DEDUP_TAG

__all__ = ["WindowsMetadata", "default_form", "keep"]

_GETXATTR: Final[Callable[[Path, str], bytes] | None] = getattr(os, "getxattr", None)


class WindowsMetadata(enum.Enum):
    """Where ACLs, alternate data streams, attributes and Windows times go."""

    NTFS3G = "ntfs3g"
    """Into the NTFS volume that is restored to, mounted with ntfs-3g."""
    SAMBA = "samba"
    """Into extended attributes that a Samba server understands."""
    SIDECAR = "sidecar"
    """Into files beside each restored one."""
    NONE = "none"
    """Nowhere; only read-only and the modification time are kept."""


def keep(volume: Volume, entry: VolumeEntry, form: WindowsMetadata) -> Kept:
    """Turn the Windows metadata of an entry into what a target can hold.

    Reparse data and the attributes of a stub (SPARSE, OFFLINE, REPARSE_POINT, RECALL) do not belong
    to the restored file; they are neither kept nor lost. What cannot be read or decoded is lost, or
    kept as it is where the form allows it, and never costs the file.

    Args:
        volume: Where the entry lies.
        entry: The entry.
        form: Where its metadata go.

    Returns:
        Metadata for the restored file, files beside it, and the names of what is lost.
    """
    carried = Carried(volume, entry)
    if entry.reparse_tag not in {0, DEDUP_TAG}:
        carried.lose("reparse point", f"tag 0x{entry.reparse_tag:08X}")
    if form is WindowsMetadata.SIDECAR and not fits(entry):
        carried.lose("sidecar", "the name is too long")
        form = WindowsMetadata.NONE
    _KEEPERS[form](carried)
    metadata = FileMetadata(
        mode=mode_of(entry),
        mtime_ns=nanoseconds(entry.modified),
        xattrs=tuple(carried.xattrs.items()),
    )
    return Kept(metadata, carried.lost, tuple(carried.sidecars))


def default_form(
    target: Path,
    getxattr: Callable[[Path, str], bytes] | None = _GETXATTR,
) -> WindowsMetadata:
    """Return the form to use when nobody says one.

    The probe is the smallest attribute that ntfs-3g has and the kernel's own driver has not: asked
    with a short buffer for a long one, such as an ACL, ntfs-3g answers EIO.

    Args:
        target: Directory that is restored to; it need not exist yet.
        getxattr: Reads an extended attribute; ``None`` = the system has none.

    Returns:
        :attr:`WindowsMetadata.NTFS3G` on a volume mounted with ntfs-3g, else ``NONE``.
    """
    if getxattr is None:
        return WindowsMetadata.NONE
    for place in (target, *target.absolute().parents):
        try:
            getxattr(place, TIMES.decode())
        except FileNotFoundError:
            continue
        except OSError:
            break
        return WindowsMetadata.NTFS3G
    return WindowsMetadata.NONE


def _keep_nothing(carried: Carried) -> None:
    entry = carried.entry
    if carried.security() is not None:
        carried.lose("acl")
    if entry.owner is not None:
        carried.lose("owner")
    carried_by_mode = 0 if entry.directory else FILE_ATTRIBUTE_READONLY
    carried.lose_attributes(ordinary_attributes(entry) & ~ARCHIVE & ~carried_by_mode)
    if carried.extended_attributes() is not None:
        carried.lose("ea")
    for stream in entry.streams:
        carried.lose(f"stream:{stream.name}")
    if entry.modified and nanoseconds(entry.modified) is None:
        carried.lose("modification time", "outside of 1677 to 2262")
    for name, time in (
        ("creation time", entry.created),
        ("access time", entry.accessed),
        ("change time", entry.changed),
    ):
        if time:
            carried.lose(name)


_KEEPERS: Final[dict[WindowsMetadata, Callable[[Carried], None]]] = {
    WindowsMetadata.NTFS3G: keep_ntfs3g,
    WindowsMetadata.SAMBA: keep_samba,
    WindowsMetadata.SIDECAR: keep_sidecar,
    WindowsMetadata.NONE: _keep_nothing,
}
