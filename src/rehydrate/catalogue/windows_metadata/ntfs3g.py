"""Metadata as extended attributes that the driver ntfs-3g takes on a mounted NTFS volume.

The names and the layout of their values are those of the driver, tried out on one (2022.10):
``system.ntfs_acl`` a self-relative descriptor with owner and group and nothing behind it,
``system.ntfs_attrib_be`` 4 bytes, ``system.ntfs_crtime_be`` and ``system.ntfs_times_be`` FILETIMEs,
all big-endian, ``system.ntfs_ea`` the list as on disk, and streams as ``user.NAME`` (with its
default, ``streams_interface=xattr``).
"""

import struct
from typing import Final

from rehydrate.catalogue.windows_metadata.attributes import (
    ARCHIVE,
    COMPRESSED,
    HIDDEN,
    NOT_CONTENT_INDEXED,
    SYSTEM,
    TEMPORARY,
    nanoseconds,
    ordinary_attributes,
)
from rehydrate.catalogue.windows_metadata.carried import MAX_VALUE, Carried
from rehydrate.catalogue.windows_metadata.descriptor import decode_descriptor
from rehydrate.catalogue.windows_metadata.extended import decode_extended, encode_extended
from rehydrate.errors import FormatError
from rehydrate.stores.volume import FILE_ATTRIBUTE_READONLY

__all__ = ["ACL", "ATTRIBUTES", "CREATED", "EXTENDED", "TIMES", "keep_ntfs3g"]

ACL: Final = b"system.ntfs_acl"
ATTRIBUTES: Final = b"system.ntfs_attrib_be"
CREATED: Final = b"system.ntfs_crtime_be"
TIMES: Final = b"system.ntfs_times_be"
EXTENDED: Final = b"system.ntfs_ea"
_STREAM: Final = b"user."

_FILE_ATTRIBUTES: Final = (
    FILE_ATTRIBUTE_READONLY | HIDDEN | SYSTEM | ARCHIVE | TEMPORARY | NOT_CONTENT_INDEXED
)
_DIRECTORY_ATTRIBUTES: Final = _FILE_ATTRIBUTES | COMPRESSED
"""What the driver changes; the rest of a value it leaves as it is."""


def keep_ntfs3g(carried: Carried) -> None:
    """Keep what ntfs-3g can take.

    Times come last: once they are set, the driver leaves them alone while it holds the file.

    Args:
        carried: The entry, and where to put what is kept.
    """
    _keep_security(carried)
    _keep_extended(carried)
    _keep_streams(carried)
    _keep_attributes(carried)
    _keep_times(carried)


def _keep_security(carried: Carried) -> None:
    entry = carried.entry
    raw = carried.security()
    if raw is not None:
        try:
            descriptor = decode_descriptor(raw)
        except FormatError as error:
            carried.lose("acl", error.message)
        else:
            if descriptor.owner is None or descriptor.group is None:
                carried.lose("acl", "without owner or group")
            else:
                carried.put("acl", ACL, raw[: descriptor.size])
    if entry.owner is not None and ACL not in carried.xattrs:
        carried.lose("owner")


def _keep_extended(carried: Carried) -> None:
    raw = carried.extended_attributes()
    if raw is None:
        return
    try:
        carried.put("ea", EXTENDED, encode_extended(decode_extended(raw)))
    except FormatError as error:
        carried.lose("ea", error.message)


def _keep_streams(carried: Carried) -> None:
    for stream in carried.entry.streams:
        try:
            name = _STREAM + stream.name.encode("utf-8")
        except UnicodeEncodeError:
            carried.lose(f"stream:{stream.name}", "its name is no valid text")
            continue
        data = carried.stream(stream, MAX_VALUE)
        if data is not None:
            carried.put(f"stream:{stream.name}", name, data)


def _keep_attributes(carried: Carried) -> None:
    entry = carried.entry
    if not entry.attributes:
        return
    wanted = ordinary_attributes(entry)
    possible = _DIRECTORY_ATTRIBUTES if entry.directory else _FILE_ATTRIBUTES
    carried.put("attributes", ATTRIBUTES, struct.pack(">I", wanted & possible))
    carried.lose_attributes(wanted & ~possible)


def _keep_times(carried: Carried) -> None:
    entry = carried.entry
    if entry.created and entry.modified:
        times = [entry.created, entry.modified]
        if entry.accessed:
            times.append(entry.accessed)
        carried.put("creation time", TIMES, struct.pack(f">{len(times)}Q", *times))
    else:
        if entry.created:
            carried.put("creation time", CREATED, struct.pack(">Q", entry.created))
        if entry.accessed:
            carried.lose("access time")
        if entry.modified and nanoseconds(entry.modified) is None:
            carried.lose("modification time", "outside of 1677 to 2262")
    if entry.changed:
        carried.lose("change time")
