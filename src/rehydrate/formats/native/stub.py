"""Stubs: one entry of a version with its metadata and its map, or where its map is."""

import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from rehydrate.chunks import ROW_DTYPE, Bools, Ints, Rows
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
    MAX_PART_ROWS,
    MAX_PARTS,
    RECORD_SIZE,
    STUB_DTYPE,
    STUB_HEAD,
    STUB_INCONSISTENT,
    STUB_MAGIC,
    TIME_BIAS,
    crc64,
)
from rehydrate.formats.native.properties import Xattrs, encode_properties, parse_properties
from rehydrate.formats.walk import FILE, SYMLINK, Limits, StubTable
from rehydrate.values import MAX_OFFSET, StoreId

__all__ = ["NativeStub", "decode_stubs", "encode_stub", "parse_stub"]

_HEAD: Final = STUB_HEAD.size
ROW: Final = ROW_DTYPE.itemsize
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
    properties = encode_properties(stub.link_text, stub.xattrs)
    rows = stub.rows.tobytes()
    total = _HEAD + len(rows) + len(properties) + 8
    most = {MAP_NONE: 0, MAP_INLINE: MAX_INLINE_ROWS}.get(stub.map_kind, MAX_PARTS)
    if len(stub.rows) > most:
        raise LimitError(f"a stub with a map of kind {stub.map_kind} holds at most {most} rows")
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


def decode_stubs(stubs: Sequence[bytes], limits: Limits) -> StubTable:
    """Decode many stubs at once; see :meth:`StoreFormat.decode_stubs`."""
    count = len(stubs)
    lengths = np.fromiter(map(len, stubs), np.int64, count)
    starts = np.zeros(count, np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    # Padding lets the strided view below reach a short stub at the very end.
    joined = b"".join(stubs) + bytes(_HEAD)
    heads = _at(joined, starts, STUB_DTYPE)
    errors: dict[int, RestoreError] = {}
    _check_heads(heads, lengths, limits, errors)
    for index, stub in enumerate(stubs):
        if index not in errors and crc64(stub[:-8]) != int.from_bytes(stub[-8:], "little"):
            errors[index] = CorruptMetadataError("a stub fails its CRC-64", code="stub.crc")
    # From here on only what was proved is looked at: a bad stub has a head of zeros and no rows.
    _blank(heads, errors)
    in_parts = heads["map_kind"] == MAP_PARTS
    if in_parts.any():
        _check_parts(heads, *_rows(joined, starts, heads, in_parts), limits, errors)
        _blank(heads, errors)
    texts, xattrs = _find_properties(stubs, heads, errors)
    _blank(heads, errors)
    rows, row_ptr = _rows(joined, starts, heads, np.ones(count, np.bool_))
    return StubTable(
        errors=errors,
        kind=heads["kind"].copy(),
        size=heads["size"].astype(np.int64),
        mode=heads["mode"].copy(),
        uid=heads["uid"].copy(),
        gid=heads["gid"].copy(),
        mtime_ns=_unbias(heads["mtime"]),
        link_group=heads["link_group"].copy(),
        rows=rows,
        row_ptr=row_ptr,
        in_parts=heads["map_kind"] == MAP_PARTS,
        recall_sign=np.zeros(count, np.bool_),
        digests=heads["digest"].copy(),
        texts=texts,
        xattrs=xattrs,
        inconsistent=(heads["flags"] & STUB_INCONSISTENT) != 0,
    )


def _at(data: bytes, offsets: Ints, dtype: np.dtype[np.void]) -> Rows:
    """Gather structures at any byte offsets; a window of stride 1 makes it one fancy index."""
    windows: Rows = np.ndarray(
        (max(len(data) - dtype.itemsize + 1, 0),), dtype, buffer=data, strides=(1,)
    )
    return windows[offsets]


def _blank(heads: Rows, errors: Mapping[int, RestoreError]) -> None:
    if errors:
        nothing = np.zeros((), STUB_DTYPE)
        nothing["mtime"] = TIME_BIAS
        heads[list(errors)] = nothing


def _rows(joined: bytes, starts: Ints, heads: Rows, wanted: Bools) -> tuple[Rows, Ints]:
    """Return the rows of the wanted stubs, and where those of each stub begin."""
    counts = np.where(wanted, heads["rows"], 0).astype(np.int64)
    row_ptr = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(counts, out=row_ptr[1:])
    within = np.arange(row_ptr[-1]) - np.repeat(row_ptr[:-1], counts)
    return _at(joined, np.repeat(starts + _HEAD, counts) + within * ROW, ROW_DTYPE), row_ptr


def _find_properties(
    stubs: Sequence[bytes], heads: Rows, errors: dict[int, RestoreError]
) -> tuple[dict[int, bytes], dict[int, Xattrs]]:
    texts: dict[int, bytes] = {}
    xattrs: dict[int, Xattrs] = {}
    found = np.flatnonzero((heads["properties"] != 0) | (heads["kind"] == SYMLINK))
    row_counts, kinds = heads["rows"][found].tolist(), heads["kind"][found].tolist()
    for index, rows, kind in zip(found.tolist(), row_counts, kinds, strict=True):
        try:
            text, attributes = parse_properties(stubs[index][_HEAD + ROW * rows : -8])
            if (kind == SYMLINK) != bool(text):
                raise CorruptMetadataError("only a link has a link text", code="stub.link")
        except FormatError as error:
            errors[index] = error
            continue
        if text:
            texts[index] = text
        if attributes:
            xattrs[index] = attributes
    return texts, xattrs


def _unbias(
    times: np.ndarray[tuple[int], np.dtype[np.uint64]],
) -> Ints:
    return (times ^ np.uint64(TIME_BIAS)).view(np.int64)


def _check_heads(
    heads: Rows,
    lengths: Ints,
    limits: Limits,
    errors: dict[int, RestoreError],
) -> None:
    magic = np.frombuffer(STUB_MAGIC, "V4")[0]
    total = heads["total"].astype(np.int64)
    kinds, maps, rows = heads["kind"], heads["map_kind"], heads["rows"].astype(np.int64)
    properties = heads["properties"].astype(np.int64)
    wanted = _HEAD + rows * ROW + properties + 8
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
            | ((maps == MAP_PARTS) & ((rows == 0) | (rows > MAX_PARTS)))
            | ((kinds != FILE) & (maps != MAP_NONE))
            | ((maps == MAP_NONE) & (heads["size"] != 0))
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


def _check_parts(
    heads: Rows, rows: Rows, row_ptr: Ints, limits: Limits, errors: dict[int, RestoreError]
) -> None:
    """Check the rows that refer to stream-map records; those of stored chunks come later."""
    sizes = rows["length"].astype(np.int64) - RECORD_SIZE
    ends = rows["end"]
    firsts = row_ptr[:-1][np.diff(row_ptr) > 0]
    rising = np.ones(len(rows), np.bool_)
    rising[1:] = ends[1:] > ends[:-1]
    rising[firsts] = ends[firsts] > 0
    wrong = (
        ~rising
        | (rows["container"] == 0)
        | (rows["generation"] == 0)
        | (rows["local_id"] == 0)
        | (rows["offset"] > MAX_OFFSET - (MAX_PART_ROWS * ROW + RECORD_SIZE))
        | (sizes <= 0)
        | (sizes > MAX_PART_ROWS * ROW)
        | (sizes % ROW != 0)
    )
    stub_of_row = np.repeat(np.arange(len(heads)), np.diff(row_ptr))
    for index in sorted(set(stub_of_row[wrong].tolist())):
        errors.setdefault(
            index, CorruptMetadataError("a stub refers to no stream map", code="stub.part")
        )
    lasts = row_ptr[1:][np.diff(row_ptr) > 0] - 1
    for index in stub_of_row[lasts][ends[lasts] != heads["size"][stub_of_row[lasts]]].tolist():
        errors.setdefault(
            index,
            CorruptMetadataError("a stream map does not end at the file's size", code="map.size"),
        )
    map_sizes = np.zeros(len(heads), np.int64)
    np.add.at(map_sizes, stub_of_row, sizes)
    for index in np.flatnonzero(map_sizes > limits.map_size).tolist():
        errors.setdefault(
            index, LimitError(f"a stream map of {map_sizes[index]} bytes is above the limit")
        )


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


def store_key(stub: bytes) -> bytes | None:
    """Return the identity of the store that a native stub names; None if this is no native stub."""
    if len(stub) < _HEAD or stub[:4] != STUB_MAGIC:
        return None
    return stub[16:32]
