"""Metadata as a Samba server with acl_xattr and streams_xattr finds it on its disk.

Where the facts come from: the layouts were compared with what Samba 4.17 itself writes and decodes
(its Python bindings), and a server of that release showed files made this way to its clients with
these attributes, creation time, descriptor, streams and extended attributes.

* ``user.DOSATTRIB``: version 3, which every release since 3.5 reads; later ones write 4 or 5.
* ``security.NTACL``: version 1. Versions 3 and 4 carry a hash of the POSIX ACL; a server that finds
  another one ignores the descriptor, and what owner and ids it will compute is not known here.
  Offsets inside of the descriptor count from the beginning of the value, not of the descriptor.
* ``user.DosStream.NAME:$DATA``: the stream and one zero byte.
* ``user.NAME``: an extended attribute (``ea support = yes``).
"""

import struct
from typing import Final

from rehydrate.catalogue.windows_metadata.attributes import (
    ARCHIVE,
    HIDDEN,
    SYSTEM,
    nanoseconds,
    ordinary_attributes,
)
from rehydrate.catalogue.windows_metadata.carried import MAX_VALUE, Carried
from rehydrate.catalogue.windows_metadata.descriptor import HEADER_SIZE, decode_descriptor
from rehydrate.catalogue.windows_metadata.extended import (
    NEEDED,
    ExtendedAttribute,
    decode_extended,
)
from rehydrate.errors import FormatError
from rehydrate.stores.volume import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, VolumeEntry

__all__ = ["DOS_ATTRIBUTES", "NT_ACL", "dos_attributes", "keep_samba", "nt_acl"]

DOS_ATTRIBUTES: Final = b"user.DOSATTRIB"
NT_ACL: Final = b"security.NTACL"
_STREAM: Final = b"user.DosStream."
_STREAM_TYPE: Final = b":$DATA"
_EXTENDED: Final = b"user."
_RESERVED: Final = (b"DOSATTRIB", b"DOSSTREAM.", b"SAMBA_PAI")
"""Beginnings of names in ``user.`` that mean something else to Samba; any case."""
_POSSIBLE: Final = FILE_ATTRIBUTE_READONLY | HIDDEN | SYSTEM | ARCHIVE
"""Attributes that a server shows again."""
_DOS_VERSION: Final = 3
_ATTRIBUTES_VALID: Final = 0x01
_CREATED_VALID: Final = 0x10
_NT_ACL_HEAD: Final = struct.pack("<HHI", 1, 1, 0x00020000)
"""Version, the same again as the arm of a union, and a pointer that is not null."""


def keep_samba(carried: Carried) -> None:
    """Keep what a Samba server finds again.

    Args:
        carried: The entry, and where to put what is kept.
    """
    _keep_security(carried)
    _keep_attributes(carried)
    _keep_extended(carried)
    _keep_streams(carried)
    entry = carried.entry
    if entry.modified and nanoseconds(entry.modified) is None:
        carried.lose("modification time", "outside of 1677 to 2262")
    if entry.accessed:
        carried.lose("access time")
    if entry.changed:
        carried.lose("change time")


def dos_attributes(attributes: int, created: int) -> bytes:
    """Return the value of ``user.DOSATTRIB``: a text for old readers, then NDR.

    Args:
        attributes: File attributes, DIRECTORY included.
        created: Creation time, FILETIME; 0 = not known.
    """
    head = _aligned(f"0x{attributes:x}".encode() + b"\0", 2)
    head = _aligned(head + struct.pack("<HH", _DOS_VERSION, _DOS_VERSION), 4)
    valid = _ATTRIBUTES_VALID | (_CREATED_VALID if created else 0)
    # Valid fields, attributes, size of extended attributes; size, allocated, created, changed. The
    # last four are not aligned to their size.
    return head + struct.pack("<IIIQQQQ", valid, attributes, 0, 0, 0, created, 0)


def nt_acl(descriptor: bytes) -> bytes:
    """Return the value of ``security.NTACL``.

    Args:
        descriptor: A self-relative descriptor that :func:`decode_descriptor` takes.
    """
    start = len(_NT_ACL_HEAD)
    fixed, *offsets = struct.unpack_from("<4s4I", descriptor)
    moved = [offset + start if offset else 0 for offset in offsets]
    return _NT_ACL_HEAD + struct.pack("<4s4I", fixed, *moved) + descriptor[HEADER_SIZE:]


def _aligned(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def _keep_security(carried: Carried) -> None:
    raw = carried.security()
    if raw is not None:
        try:
            carried.put("acl", NT_ACL, nt_acl(raw[: decode_descriptor(raw).size]))
        except FormatError as error:
            carried.lose("acl", error.message)
    if carried.entry.owner is not None and NT_ACL not in carried.xattrs:
        carried.lose("owner")


def _keep_attributes(carried: Carried) -> None:
    entry: VolumeEntry = carried.entry
    if not (entry.attributes or entry.created):
        return
    wanted = ordinary_attributes(entry)
    kind = FILE_ATTRIBUTE_DIRECTORY if entry.directory else 0
    value = dos_attributes(wanted & _POSSIBLE | kind, entry.created)
    carried.put("creation time", DOS_ATTRIBUTES, value)
    carried.lose_attributes(wanted & ~_POSSIBLE)


def _keep_extended(carried: Carried) -> None:
    raw = carried.extended_attributes()
    if raw is None:
        return
    try:
        found = decode_extended(raw)
    except FormatError as error:
        carried.lose("ea", error.message)
        return
    for each in found:
        _keep_one_extended(carried, each)


def _keep_one_extended(carried: Carried, each: ExtendedAttribute) -> None:
    what = f"ea:{each.name.decode('latin-1')}"
    if not each.name.isascii() or b"\0" in each.name or each.name.upper().startswith(_RESERVED):
        carried.lose(what, "Samba has no such name")
        return
    carried.put(what, _EXTENDED + each.name, each.value)
    if each.flags & NEEDED:
        carried.lose(what, "only the flag NEED_EA")


def _keep_streams(carried: Carried) -> None:
    for stream in carried.entry.streams:
        try:
            name = _STREAM + stream.name.encode("utf-8") + _STREAM_TYPE
        except UnicodeEncodeError:
            carried.lose(f"stream:{stream.name}", "its name is no valid text")
            continue
        data = carried.stream(stream, MAX_VALUE - 1)
        if data is not None:
            carried.put(f"stream:{stream.name}", name, data + b"\0")
