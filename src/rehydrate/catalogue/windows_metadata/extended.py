"""Extended attributes of NTFS: the list that Windows and the file system keep."""

import struct
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError

__all__ = ["NEEDED", "ExtendedAttribute", "decode_extended", "encode_extended"]

NEEDED: Final = 0x80
"""FILE_NEED_EA: a program that does not understand the attribute must not open the file."""

_HEAD: Final = struct.Struct("<IBBH")


@attrs.frozen
class ExtendedAttribute:
    """One extended attribute.

    Attributes:
        name: Its name, 1 to 255 bytes in the code page of its writer; usually upper case.
        value: Its value.
        flags: 0 or :data:`NEEDED`.
    """

    name: bytes
    value: bytes
    flags: int = 0


def decode_extended(data: bytes) -> tuple[ExtendedAttribute, ...]:
    """Decode a list of FILE_FULL_EA_INFORMATION (MS-FSCC 2.4.15).

    The last entry says 0 as the distance to the next, or, as on disk, its own length.

    Args:
        data: The whole list.

    Returns:
        The attributes in their order.

    Raises:
        CorruptMetadataError: The list contradicts itself.
    """
    found = []
    place = 0
    while place < len(data):
        if len(data) - place < _HEAD.size:
            raise CorruptMetadataError(f"extended attributes end inside a header at {place}")
        distance, flags, name_size, value_size = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        end = start + name_size + 1 + value_size
        padded = end + -(end - place) % 4
        if not name_size or end > len(data) or data[start + name_size]:
            raise CorruptMetadataError(f"extended attribute at {place} has no valid name or size")
        following = place + distance if distance else len(data)
        if distance and following not in (padded, min(padded, len(data))):
            raise CorruptMetadataError(f"extended attribute at {place} has a wrong distance")
        if following > padded or any(data[end:following]):
            raise CorruptMetadataError(f"bytes between extended attributes at {end}")
        name = data[start : start + name_size]
        found.append(ExtendedAttribute(name, data[start + name_size + 1 : end], flags))
        place = following
    return tuple(found)


def encode_extended(attributes: tuple[ExtendedAttribute, ...]) -> bytes:
    """Encode a list as NTFS keeps it: every entry padded to 4 bytes, the last one, too, with its length.

    Args:
        attributes: What :func:`decode_extended` returned.
    """
    parts = []
    for each in attributes:
        body = each.name + b"\0" + each.value
        body += bytes(-(_HEAD.size + len(body)) % 4)
        size = _HEAD.size + len(body)
        parts.append(_HEAD.pack(size, each.flags, len(each.name), len(each.value)) + body)
    return b"".join(parts)
