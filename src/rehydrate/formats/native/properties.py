"""Properties of a stub: what not every entry has, each behind a type and a length."""

from typing import Final, TypeAlias

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.formats.native.layout import (
    MAX_LINK_TEXT,
    MAX_XATTR_BYTES,
    MAX_XATTR_NAME,
    MAX_XATTRS,
    PROPERTY,
    PROPERTY_LINK_TEXT,
    PROPERTY_MUST_KNOW,
    PROPERTY_XATTRS,
    XATTR,
    align,
)

__all__ = ["Xattrs", "encode_properties", "parse_properties"]

Xattrs: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Extended attributes: name and value of each."""

_HEAD: Final = PROPERTY.size


def encode_properties(link_text: bytes, xattrs: Xattrs) -> bytes:
    """Return the properties of a stub, one after the other.

    Args:
        link_text: Text of a symbolic link, empty for anything else.
        xattrs: Extended attributes.

    Raises:
        LimitError: More attributes or bytes than a reader accepts.
    """
    encoded = b""
    if link_text:
        if len(link_text) > MAX_LINK_TEXT:
            raise LimitError(f"the text of a link is longer than {MAX_LINK_TEXT} bytes")
        encoded += _property(PROPERTY_LINK_TEXT, link_text)
    if xattrs:
        encoded += _property(PROPERTY_XATTRS, _encode_xattrs(xattrs))
    return encoded


def _property(kind: int, value: bytes) -> bytes:
    return PROPERTY.pack(kind, 0, len(value)) + value.ljust(align(len(value)), b"\0")


def _encode_xattrs(xattrs: Xattrs) -> bytes:
    parts = []
    for name, value in xattrs:
        if not 0 < len(name) <= MAX_XATTR_NAME:
            raise LimitError("the name of an extended attribute is empty or too long")
        parts.append(XATTR.pack(len(name), 0, len(value)) + name + value)
    encoded = b"".join(parts)
    if len(parts) > MAX_XATTRS or len(encoded) > MAX_XATTR_BYTES:
        raise LimitError(
            f"an entry has more than {MAX_XATTRS} extended attributes or more than "
            f"{MAX_XATTR_BYTES} bytes of them"
        )
    return encoded


def parse_properties(data: bytes) -> tuple[bytes, Xattrs]:
    """Return link text (may be empty) and extended attributes of a stub.

    Args:
        data: All properties.

    Raises:
        CorruptMetadataError: They contradict themselves or a limit.
        UnsupportedFormatError: One of a type that a reader must know, and this one does not.
    """
    found: dict[int, bytes] = {}
    position, size = 0, len(data)
    while position < size:
        if size - position < _HEAD:
            raise CorruptMetadataError("a property is cut short", code="stub.property")
        kind, flags, length = PROPERTY.unpack_from(data, position)
        position += _HEAD
        end = align(length)
        padding = data[position + length : position + end]
        if flags or end > size - position or any(padding) or kind in found:
            raise CorruptMetadataError(
                "a property has a wrong length or comes twice", code="stub.property"
            )
        if kind & PROPERTY_MUST_KNOW:
            raise UnsupportedFormatError(f"stub property {kind} is not known to this release")
        found[kind] = data[position : position + length]
        position += end
    text = found.get(PROPERTY_LINK_TEXT, b"")
    if b"\0" in text or len(text) > MAX_LINK_TEXT:
        raise CorruptMetadataError("a link text is no link text", code="stub.link")
    return text, _parse_xattrs(found.get(PROPERTY_XATTRS, b""))


def _parse_xattrs(value: bytes) -> Xattrs:
    if len(value) > MAX_XATTR_BYTES:
        raise CorruptMetadataError("the attributes of a stub are too long", code="stub.xattr")
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(value):
        if len(value) - position < XATTR.size:
            raise CorruptMetadataError("an attribute is cut short", code="stub.xattr")
        name_size, zero, size = XATTR.unpack_from(value, position)
        position += XATTR.size
        name = value[position : position + name_size]
        position += name_size
        if zero or not 0 < name_size <= MAX_XATTR_NAME or b"\0" in name or name in found:
            raise CorruptMetadataError("an attribute has a wrong name", code="stub.xattr")
        if size > len(value) - position or len(found) >= MAX_XATTRS:
            raise CorruptMetadataError("an attribute has a wrong size", code="stub.xattr")
        found[name] = value[position : position + size]
        position += size
    return tuple(found.items())
