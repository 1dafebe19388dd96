"""Stubs: one entry of a version with its metadata and its map, or where its map is."""

import struct
import uuid
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import ROW_DTYPE, Rows
from rehydrate.errors import (
    CorruptMetadataError,
    FormatError,
    LimitError,
    RestoreError,
    UnsupportedFormatError,
)
from rehydrate.formats.native.layout import (
    FORMAT_VERSION,
    MAP_INLINE,
    MAP_NONE,
    MAP_PARTS,
    MAX_INLINE_ROWS,
    MAX_XATTRS,
    PROPERTY,
    PROPERTY_LINK_TEXT,
    PROPERTY_MUST_KNOW,
    PROPERTY_XATTRS,
    STUB_DTYPE,
    STUB_HEAD,
    STUB_INCONSISTENT,
    STUB_MAGIC,
    TIME_BIAS,
    XATTR,
    align,
    crc64,
)
from rehydrate.formats.walk import FILE, SYMLINK, Limits, StubTable
from rehydrate.values import MAX_OFFSET, StoreId

__all__ = ["NativeStub", "decode_stubs", "encode_stub", "parse_stub"]

Xattrs = tuple[tuple[bytes, bytes], ...]
_HEAD: Final = STUB_HEAD.size
_NO_ROWS: Final = np.empty(0, ROW_DTYPE)
_LARGEST_MODE: Final = 0o7777


@attrs.frozen(kw_only=True, eq=False)
class NativeStub:
    """One stub, field by field; the engine works on columns instead (:func:`decode_stubs`).

    Attributes:
        store: Identity of the store.
        kind: FILE, DIRECTORY or SYMLINK.
        size: Logical size in bytes (files only).
        mode: Permission bits.
        uid: Owner number.
        gid: Group number.
        nlink: Links of the inode at the source.
        mtime_ns: Modification time, nanoseconds since 1970.
        ctime_ns: Change time at the source; with device and inode tells an unchanged file.
        device: Device number at the source.
        inode: Inode number at the source.
        link_group: Equal and not 0 for names of one inode.
        inconsistent: The file changed while it was read.
        digest: BLAKE3 of the whole content; zeros for anything but files.
        map_kind: MAP_NONE, MAP_INLINE or MAP_PARTS.
        rows: Inline rows, or the stream-map records of the parts.
        link_text: Text of a symbolic link.
        xattrs: Extended attributes.
    """

    store: StoreId
    kind: int = FILE
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    nlink: int = 1
    mtime_ns: int = 0
    ctime_ns: int = 0
    device: int = 0
    inode: int = 0
    link_group: int = 0
    inconsistent: bool = False
    digest: bytes = bytes(32)
    map_kind: int = MAP_NONE
    rows: Rows = _NO_ROWS
    link_text: bytes = b""
    xattrs: Xattrs = ()


def encode_stub(stub: NativeStub) -> bytes:
    """Return the bytes of a stub.

    Raises:
        LimitError: More rows, attributes or bytes than the format can hold.
    """
    properties = b""
    if stub.link_text:
        properties += _property(PROPERTY_LINK_TEXT, stub.link_text)
    if stub.xattrs:
        properties += _property(PROPERTY_XATTRS, _encode_xattrs(stub.xattrs))
    rows = stub.rows.tobytes()
    total = _HEAD + len(rows) + len(properties) + 8
    if stub.map_kind == MAP_INLINE and len(stub.rows) > MAX_INLINE_ROWS:
        raise LimitError(f"a stub holds at most {MAX_INLINE_ROWS} rows")
    try:
        head = STUB_HEAD.pack(
            STUB_MAGIC,
            FORMAT_VERSION,
            STUB_INCONSISTENT if stub.inconsistent else 0,
            total,
            stub.kind,
            stub.map_kind,
            len(stub.rows),
            stub.store.bytes,
            stub.size,
            stub.mode,
            stub.uid,
            stub.gid,
            stub.nlink,
            stub.mtime_ns + TIME_BIAS,
            stub.ctime_ns + TIME_BIAS,
            stub.device,
            stub.inode,
            stub.link_group,
            len(properties),
            0,
            stub.digest,
        )
    except struct.error as error:
        raise LimitError(f"a stub cannot hold this entry: {error}") from error
    body = head + rows + properties
    return body + crc64(body).to_bytes(8, "little")


def _property(kind: int, value: bytes) -> bytes:
    return PROPERTY.pack(kind, 0, len(value)) + value.ljust(align(len(value)), b"\0")


def _encode_xattrs(xattrs: Xattrs) -> bytes:
    if len(xattrs) > MAX_XATTRS:
        raise LimitError(f"an entry has more than {MAX_XATTRS} extended attributes")
    parts = []
    for name, value in xattrs:
        parts += [XATTR.pack(len(name), 0, len(value)), name, value]
    return b"".join(parts)


def decode_stubs(stubs: Sequence[bytes], limits: Limits) -> StubTable:
    """Decode many stubs at once; see :meth:`StoreFormat.decode_stubs`."""
    count = len(stubs)
    lengths = np.fromiter(map(len, stubs), np.int64, count)
    starts = np.zeros(count, np.int64)
    np.cumsum(lengths[:-1], out=starts[1:] if count else starts)
    # Padding lets the strided view below reach a short stub at the very end.
    joined = b"".join(stubs) + bytes(_HEAD)
    heads = _at(joined, starts, STUB_DTYPE)
    errors: dict[int, RestoreError] = {}
    _check_heads(heads, lengths, stubs, limits, errors)
    good = np.ones(count, np.bool_)
    good[list(errors)] = False
    heads[~good] = np.zeros((), STUB_DTYPE)
    row_counts = np.where(good, heads["rows"], 0).astype(np.int64)
    row_ptr = np.zeros(count + 1, np.int64)
    np.cumsum(row_counts, out=row_ptr[1:])
    within = np.arange(row_ptr[-1]) - np.repeat(row_ptr[:-1], row_counts)
    row_at = np.repeat(starts + _HEAD, row_counts) + within * ROW_DTYPE.itemsize
    texts: dict[int, bytes] = {}
    xattrs: dict[int, Xattrs] = {}
    for index in np.flatnonzero((heads["properties"] != 0) | (heads["kind"] == SYMLINK)).tolist():
        try:
            text, found = _parse_properties(stubs[index], int(heads["rows"][index]))
            if (heads["kind"][index] == SYMLINK) != bool(text):
                raise CorruptMetadataError("only a link has a link text", code="stub.link")
        except FormatError as error:
            errors[index] = error
            continue
        if text:
            texts[index] = text
        if found:
            xattrs[index] = found
    return StubTable(
        errors=errors,
        kind=heads["kind"].copy(),
        size=heads["size"].astype(np.int64),
        mode=heads["mode"].copy(),
        uid=heads["uid"].copy(),
        gid=heads["gid"].copy(),
        mtime_ns=_unbias(heads["mtime"]),
        link_group=heads["link_group"].copy(),
        rows=_at(joined, row_at, ROW_DTYPE),
        row_ptr=row_ptr,
        in_parts=heads["map_kind"] == MAP_PARTS,
        recall_sign=np.zeros(count, np.bool_),
        digests=heads["digest"].copy(),
        texts=texts,
        xattrs=xattrs,
        inconsistent=(heads["flags"] & STUB_INCONSISTENT) != 0,
    )


def _at(
    data: bytes, offsets: np.ndarray[tuple[int], np.dtype[np.int64]], dtype: np.dtype[np.void]
) -> Rows:
    """Gather structures at any byte offsets; a window of stride 1 makes it one fancy index."""
    windows: Rows = np.ndarray(
        (max(len(data) - dtype.itemsize + 1, 0),), dtype, buffer=data, strides=(1,)
    )
    return windows[offsets]


def _unbias(
    times: np.ndarray[tuple[int], np.dtype[np.uint64]],
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return (times ^ np.uint64(TIME_BIAS)).view(np.int64)


def _check_heads(
    heads: Rows,
    lengths: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    stubs: Sequence[bytes],
    limits: Limits,
    errors: dict[int, RestoreError],
) -> None:
    magic = np.frombuffer(STUB_MAGIC, "V4")[0]
    total = heads["total"].astype(np.int64)
    kinds, maps, rows = heads["kind"], heads["map_kind"], heads["rows"].astype(np.int64)
    properties = heads["properties"].astype(np.int64)
    wanted = _HEAD + rows * ROW_DTYPE.itemsize + properties + 8
    plain = kinds != FILE
    checks = (
        ((lengths < _HEAD + 8) | (heads["magic"] != magic), "this is no native stub", "stub.magic"),
        (total != lengths, "a stub is cut short or has bytes behind its end", "stub.truncated"),
        (wanted != total, "the parts of a stub do not add up", "stub.parts"),
        (
            (kinds < FILE)
            | (kinds > SYMLINK)
            | (maps > MAP_PARTS)
            | ((maps == MAP_NONE) & (rows != 0))
            | ((maps == MAP_INLINE) & (rows > MAX_INLINE_ROWS))
            | (plain & ((maps != MAP_NONE) | (heads["size"] != 0)))
            | (~plain & (maps == MAP_NONE) & (heads["size"] != 0))
            | (heads["mode"] > _LARGEST_MODE)
            | (heads["reserved"] != 0)
            | ((heads["flags"] & ~np.uint16(STUB_INCONSISTENT)) != 0)
            | (heads["size"] > MAX_OFFSET),
            "a field of a stub is out of range",
            "stub.fields",
        ),
    )
    newer = heads["version"] != FORMAT_VERSION
    for index in np.flatnonzero(newer & ~checks[0][0]).tolist():
        errors[index] = UnsupportedFormatError(
            f"stub format {heads['version'][index]} is not known to this release"
        )
    for wrong, text, code in checks:
        for index in np.flatnonzero(wrong).tolist():
            errors.setdefault(index, CorruptMetadataError(text, code=code))
    for index in np.flatnonzero(heads["size"] > limits.file_size).tolist():
        errors.setdefault(
            index, LimitError(f"a file of {heads['size'][index]} bytes is above the limit")
        )
    for index, stub in enumerate(stubs):
        if index not in errors and crc64(stub[:-8]) != int.from_bytes(stub[-8:], "little"):
            errors[index] = CorruptMetadataError("a stub fails its CRC-64", code="stub.crc")


def _parse_properties(stub: bytes, rows: int) -> tuple[bytes, Xattrs]:
    """Return link text and extended attributes of a stub whose head was checked."""
    position = _HEAD + rows * ROW_DTYPE.itemsize
    end = len(stub) - 8
    text = b""
    xattrs: Xattrs = ()
    while position < end:
        if end - position < PROPERTY.size:
            raise CorruptMetadataError("a property is cut short", code="stub.property")
        kind, flags, length = PROPERTY.unpack_from(stub, position)
        position += PROPERTY.size
        if flags or length > end - position or align(length) > end - position:
            raise CorruptMetadataError("a property has a wrong length", code="stub.property")
        value = stub[position : position + length]
        if kind == PROPERTY_LINK_TEXT:
            text = value
        elif kind == PROPERTY_XATTRS:
            xattrs = _parse_xattrs(value)
        elif kind & PROPERTY_MUST_KNOW:
            raise UnsupportedFormatError(f"stub property {kind} is not known to this release")
        position += align(length)
    if b"\0" in text:
        raise CorruptMetadataError("a link text holds a zero byte", code="stub.link")
    return text, xattrs


def _parse_xattrs(value: bytes) -> Xattrs:
    found: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(value):
        if len(value) - position < XATTR.size:
            raise CorruptMetadataError("an attribute is cut short", code="stub.xattr")
        name_size, zero, size = XATTR.unpack_from(value, position)
        position += XATTR.size
        if zero or not name_size or name_size > len(value) - position:
            raise CorruptMetadataError("an attribute has a wrong name", code="stub.xattr")
        name = value[position : position + name_size]
        position += name_size
        if size > len(value) - position or b"\0" in name or len(found) >= MAX_XATTRS:
            raise CorruptMetadataError("an attribute has a wrong size", code="stub.xattr")
        found.append((name, value[position : position + size]))
        position += size
    return tuple(found)


def parse_stub(data: bytes, limits: Limits | None = None) -> NativeStub:
    """Read one stub whole, for tools and for the writing side.

    Raises:
        FormatError: The stub is damaged or of a newer format.
        LimitError: It claims more than the limits allow.
    """
    table = decode_stubs([data], limits or Limits())
    for error in table.errors.values():
        raise error
    fields = STUB_HEAD.unpack_from(data)
    return NativeStub(
        store=uuid.UUID(bytes=fields[7]),
        kind=fields[4],
        map_kind=fields[5],
        size=fields[8],
        mode=fields[9],
        uid=fields[10],
        gid=fields[11],
        nlink=fields[12],
        mtime_ns=fields[13] - TIME_BIAS,
        ctime_ns=fields[14] - TIME_BIAS,
        device=fields[15],
        inode=fields[16],
        link_group=fields[17],
        inconsistent=bool(fields[2] & STUB_INCONSISTENT),
        digest=fields[20],
        rows=table.rows,
        link_text=table.texts.get(0, b""),
        xattrs=table.xattrs.get(0, ()),
    )


def store_of(stub: bytes) -> StoreId | None:
    """Return the store that a native stub names; None if this is no native stub."""
    if len(stub) < _HEAD or stub[:4] != STUB_MAGIC:
        return None
    return uuid.UUID(bytes=bytes(stub[16:32]))
