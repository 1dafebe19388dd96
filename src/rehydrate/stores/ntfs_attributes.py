"""What NTFS drivers of Linux tell about a file in extended attributes.

Names and layouts are those that the manual of ntfs-3g describes ("system.ntfs_*"); the driver of
the kernel has a few of them. The ``_be`` forms are big-endian on every machine.
"""

import struct
from collections.abc import Sequence
from typing import Final

import attrs

from rehydrate.stores.host_tree import Folder
from rehydrate.stores.volume import NamedStream
from rehydrate.values import FILETIME_OF_1970

__all__ = ["REPARSE_DATA", "DriverAttributes", "filetime", "owner_sid"]

REPARSE_DATA: Final = "system.ntfs_reparse_data"
"""Whole reparse buffer, tag and length included."""

_ATTRIBUTES: Final = "system.ntfs_attrib_be"
_TIMES: Final = "system.ntfs_times_be"
_SECURITY: Final = ("system.ntfs_acl", "system.ntfs_security")
_EXTENDED: Final = "system.ntfs_ea"
_STREAM: Final = "user."
_SID_HEAD: Final = 8
_BITS: Final = struct.Struct(">I")
_FOUR_TIMES: Final = struct.Struct(">4Q")
_MAX_SUB_AUTHORITIES: Final = 15


def filetime(time_ns: int) -> int:
    """Return a time as FILETIME, cut at 1601, which means "not known".

    Args:
        time_ns: Nanoseconds since 1970.
    """
    return max(time_ns // 100 + FILETIME_OF_1970, 0)


def owner_sid(descriptor: bytes) -> str | None:
    """Return the owner in a self-relative security descriptor (MS-DTYP 2.4.6) as SID text.

    Args:
        descriptor: The descriptor; may be anything.

    Returns:
        ``S-1-5-...``; ``None`` if it has no owner, or makes no sense.
    """
    if len(descriptor) < _SID_HEAD:
        return None
    (begin,) = struct.unpack_from("<I", descriptor, 4)
    if not begin or begin + _SID_HEAD > len(descriptor):
        return None
    revision, count = descriptor[begin], descriptor[begin + 1]
    end = begin + _SID_HEAD + 4 * count
    if revision != 1 or count > _MAX_SUB_AUTHORITIES or end > len(descriptor):
        return None
    authority = int.from_bytes(descriptor[begin + 2 : begin + _SID_HEAD], "big")
    parts = struct.unpack_from(f"<{count}I", descriptor, begin + _SID_HEAD)
    return "-".join(["S-1", str(authority), *map(str, parts)])


@attrs.frozen
class DriverAttributes:
    """The driver that a folder is mounted with.

    Attributes:
        name: ``"ntfs-3g"``, ``"ntfs3"``, or empty: no driver of NTFS.
    """

    name: str

    @classmethod
    def of(cls, folder: Folder) -> "DriverAttributes":
        """Ask a directory of the volume.

        Args:
            folder: Any directory.
        """
        if folder.attribute(b".", _TIMES) is not None:
            return cls("ntfs-3g")
        return cls("ntfs3" if folder.attribute(b".", _ATTRIBUTES) is not None else "")

    def attributes(self, folder: Folder, name: bytes) -> int:
        """Return the file attributes of a name; 0 = not known."""
        found = folder.attribute(name, _ATTRIBUTES) if self.name else None
        return _BITS.unpack(found)[0] if found is not None and len(found) == _BITS.size else 0

    def times(self, folder: Folder, name: bytes) -> tuple[int, int, int, int] | None:
        """Return the times of creation, last write, last access and last change, FILETIME."""
        found = folder.attribute(name, _TIMES) if self.name else None
        if found is None or len(found) != _FOUR_TIMES.size:
            return None
        created, modified, accessed, changed = _FOUR_TIMES.unpack(found)
        return created, modified, accessed, changed

    def reparse_data(self, folder: Folder, name: bytes) -> bytes | None:
        """Return the reparse buffer of a name; ``None`` = it has none, or it is not shown."""
        return folder.attribute(name, REPARSE_DATA) if self.name else None

    def security(self, folder: Folder, name: bytes) -> bytes | None:
        """Return the self-relative security descriptor of a name."""
        if not self.name:
            return None
        found = (folder.attribute(name, attribute) for attribute in _SECURITY)
        return next((descriptor for descriptor in found if descriptor is not None), None)

    def extended_attributes(self, folder: Folder, name: bytes) -> bytes | None:
        """Return the FILE_FULL_EA_INFORMATION list of a name; ``None`` = none."""
        return folder.attribute(name, _EXTENDED) if self.name else None

    def streams(self, folder: Folder, name: bytes) -> tuple[list[NamedStream], Sequence[str]]:
        """Return the alternate streams of a name, and the names of those that cannot be read.

        Only ntfs-3g shows streams as ``user.*``; the driver of the kernel keeps other things there.
        """
        streams: list[NamedStream] = []
        lost: list[str] = []
        if self.name != "ntfs-3g":
            return streams, lost
        for attribute in folder.attribute_names(name):
            if attribute.startswith(_STREAM):
                stream = attribute.removeprefix(_STREAM)
                found = folder.attribute(name, attribute)
                if found is None:
                    lost.append(stream)
                else:
                    streams.append(NamedStream(stream, len(found)))
        return streams, lost

    def stream(self, folder: Folder, name: bytes, stream: str) -> bytes | None:
        """Return the content of an alternate stream; ``None`` if it cannot be had."""
        return folder.attribute(name, _STREAM + stream) if self.name == "ntfs-3g" else None
