"""Security descriptors: self-relative bytes (MS-DTYP 2.4.6) to values, strictly."""

import struct
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError

__all__ = [
    "DACL_PRESENT",
    "HEADER_SIZE",
    "SACL_PRESENT",
    "Ace",
    "Acl",
    "SecurityDescriptor",
    "decode_descriptor",
]

HEADER_SIZE: Final = 20
"""Bytes before the parts of a descriptor."""
DACL_PRESENT: Final = 0x0004
SACL_PRESENT: Final = 0x0010
_SELF_RELATIVE: Final = 0x8000
"""Control bits (MS-DTYP 2.4.6)."""

_HEADER: Final = struct.Struct("<BBHIIII")
_ACL: Final = struct.Struct("<BBHHH")
_ACE: Final = struct.Struct("<BBH")
_ACL_REVISIONS: Final = (2, 4)
_SID_HEAD: Final = 8
"""Bytes of revision, count and authority."""
_MAX_SUB_AUTHORITIES: Final = 15
_PLAIN: Final = frozenset({0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E, 0x11, 0x12, 0x13})
"""Types with mask and SID (MS-DTYP 2.4.4.1)."""
_OBJECT: Final = frozenset({0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10})
"""Types with mask, flags, up to two GUIDs and SID."""
_GUID_SIZE: Final = 16
_LEAST_BODY: Final = 8
"""Bytes of a mask and of what follows: flags, or the beginning of a SID."""


@attrs.frozen(kw_only=True)
class Ace:
    """An access control entry.

    Attributes:
        kind: Its type (MS-DTYP 2.4.4.1).
        flags: Inheritance and audit flags.
        mask: Access mask; 0 for types that this package does not know.
        sid: Whom it is about, as text; empty for such types.
        object_type: GUID, little-endian, of the object or property, if there is one.
        inherited_type: GUID of the objects that inherit it, if there is one.
        rest: What follows: a condition, a claim, padding; everything for unknown types.
    """

    kind: int
    flags: int
    mask: int = 0
    sid: str = ""
    object_type: bytes | None = None
    inherited_type: bytes | None = None
    rest: bytes = b""


@attrs.frozen
class Acl:
    """A list of access control entries.

    Attributes:
        aces: The entries in their order.
    """

    aces: tuple[Ace, ...]


@attrs.frozen(kw_only=True)
class SecurityDescriptor:
    """A decoded descriptor.

    Attributes:
        control: Control bits.
        owner: SID as text, ``None`` = not there.
        group: SID of the primary group.
        dacl: Who may do what; ``None`` = not there, or there and null, as ``control`` says.
        sacl: What is audited, and labels; ``None`` likewise.
        size: Bytes from the beginning to the end of the last part.
    """

    control: int
    owner: str | None
    group: str | None
    dacl: Acl | None
    sacl: Acl | None
    size: int


def decode_descriptor(data: bytes) -> SecurityDescriptor:
    """Decode a self-relative security descriptor.

    Args:
        data: The descriptor; bytes after its last part are left alone.

    Returns:
        What it says.

    Raises:
        CorruptMetadataError: A part lies outside, or contradicts its own sizes.
    """
    if len(data) < HEADER_SIZE:
        raise CorruptMetadataError("the security descriptor is too short")
    revision, _, control, owner, group, sacl, dacl = _HEADER.unpack_from(data)
    if revision != 1 or not control & _SELF_RELATIVE:
        raise CorruptMetadataError("the security descriptor has an unknown revision or form")
    ends = [HEADER_SIZE]

    def sid_at(offset: int) -> str | None:
        if not offset:
            return None
        text, end = _sid(data, _inside(offset), len(data))
        ends.append(end)
        return text

    def acl_at(offset: int, present: int) -> Acl | None:
        if not (offset and control & present):
            return None
        acl, end = _acl(data, _inside(offset))
        ends.append(end)
        return acl

    return SecurityDescriptor(
        control=control,
        owner=sid_at(owner),
        group=sid_at(group),
        dacl=acl_at(dacl, DACL_PRESENT),
        sacl=acl_at(sacl, SACL_PRESENT),
        size=max(ends),
    )


def _inside(offset: int) -> int:
    if offset < HEADER_SIZE:
        raise CorruptMetadataError("a part of the security descriptor lies in its header")
    return offset


def _sid(data: bytes, place: int, end: int) -> tuple[str, int]:
    """Decode a SID (MS-DTYP 2.4.2.2) to text (2.4.2.1); returns the text and where it ends."""
    if end - place < _SID_HEAD:
        raise CorruptMetadataError("a SID lies outside of its structure")
    revision, count = data[place], data[place + 1]
    stop = place + _SID_HEAD + 4 * count
    if revision != 1 or count > _MAX_SUB_AUTHORITIES or stop > end:
        raise CorruptMetadataError("a SID has an unknown revision or a wrong count")
    authority = int.from_bytes(data[place + 2 : place + _SID_HEAD], "big")
    head = f"0x{authority:012X}" if authority >> 32 else str(authority)
    numbers = struct.unpack_from(f"<{count}I", data, place + _SID_HEAD)
    return "-".join(("S-1", head, *map(str, numbers))), stop


def _acl(data: bytes, place: int) -> tuple[Acl, int]:
    if len(data) - place < _ACL.size:
        raise CorruptMetadataError("an ACL lies outside of the security descriptor")
    revision, _, size, count, _ = _ACL.unpack_from(data, place)
    end = place + size
    if revision not in _ACL_REVISIONS or size < _ACL.size or end > len(data):
        raise CorruptMetadataError("an ACL has an unknown revision or a wrong size")
    aces = []
    at = place + _ACL.size
    for _ in range(count):
        if end - at < _ACE.size:
            raise CorruptMetadataError("an ACL holds fewer entries than it says")
        kind, flags, length = _ACE.unpack_from(data, at)
        if length < _ACE.size or length % 4 or at + length > end:
            raise CorruptMetadataError("an access control entry has a wrong size")
        aces.append(_ace(kind, flags, data[at + _ACE.size : at + length]))
        at += length
    return Acl(tuple(aces)), end


def _ace(kind: int, flags: int, body: bytes) -> Ace:
    if kind not in _PLAIN and kind not in _OBJECT:
        return Ace(kind=kind, flags=flags, rest=body)
    if len(body) < _LEAST_BODY:
        raise CorruptMetadataError("an access control entry is too short")
    (mask,) = struct.unpack_from("<I", body)
    at = 4
    guids: list[bytes | None] = [None, None]
    if kind in _OBJECT:
        (there,) = struct.unpack_from("<I", body, at)
        at += 4
        for number in range(2):
            if there >> number & 1:
                guids[number] = body[at : at + _GUID_SIZE]
                at += _GUID_SIZE
    sid, end = _sid(body, at, len(body))
    return Ace(
        kind=kind,
        flags=flags,
        mask=mask,
        sid=sid,
        object_type=guids[0],
        inherited_type=guids[1],
        rest=body[end:],
    )
