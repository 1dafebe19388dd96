"""Stubs: reparse data of formats 1.2, 2.1 and 3.1, and the parts of the stream map they name."""

import struct
import uuid
import zlib
from collections.abc import Iterator
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.values import DEDUP_TAG, StoreId

__all__ = ["MapInfo", "WindowsStub", "parse_stub", "store_key"]

_FRAME: Final = struct.Struct("<IHHBBH")
"""Tag, length behind the first 8 bytes, 0, format major and minor, the same length (R12a)."""
_FRAME_SIZE: Final = 12
_BODY: Final = 8
"""Rows of format 2.1 count from here (H); so do the lengths of the frame."""
_SUM_SIZE: Final = 4

_MAP_INFO: Final = struct.Struct("<IIII4xIII32s")
"""LocalId, container, offset, generation, (1), size with smallest chunks, size of the map, 0, and 32
bytes that are a digest (1.2) or half a digest and the range of the part (2.1, 3.1) (R12a, P, M, W)."""
_MAP_INFO_SIZE: Final = 64
_RANGE: Final = struct.Struct("<16sQQ")
"""Half a digest, then the logical *end* and the logical *begin* of the part (P)."""

_FORMAT_1: Final = struct.Struct("<12xIQQ16sHHHHQ")
_FORMAT_1_SIZE: Final = 0x84
_ROW: Final = struct.Struct("<IHH")
_ROWS_AT: Final = 0x10
_ROW_STORE, _ROW_TIME, _ROW_MAPS, _ROW_BITMAP = 4, 5, 8, 9
_MOST_ROWS: Final = 64
_BLOCK: Final = struct.Struct("<4sIIHH")
_ELEMENT: Final = struct.Struct("<HHI")
_BLOCK_HEAD: Final = 0x10
_FE_STORE, _FE_TIME, _FE_SIZE, _FE_BITMAP, _FE_RECALL, _FE_MAPS = 2, 3, 4, 6, 7, 8
_RB_UNUSED: Final = 6
"""Empty in the one real dump (T): INFERRED to be where a recall bitmap would be."""
_DD_FIRST, _DD_MAPS = 1, 2
_U4: Final = struct.Struct("<I")
_U8: Final = struct.Struct("<Q")
_PAIR: Final = struct.Struct("<II")
_GUID_SIZE: Final = 16
_FORMATS: Final = {(1, 2), (2, 1), (3, 1)}


@attrs.frozen
class MapInfo:
    """One part of a stream map, as a stub names it.

    Attributes:
        local_id: Number of the record in its Stream container.
        container: Id of the container.
        offset: Where the record was when the stub was written.
        generation: Generation of the container then.
        size: Bytes of the map: 8 + 64 for each chunk.
        digest: Digest of the record; the second half is zero in formats 2.1 and 3.1.
        begin: First byte of the file that the part describes.
        end: End of it, exclusive.
    """

    local_id: int
    container: int
    offset: int
    generation: int
    size: int
    digest: bytes
    begin: int
    end: int


@attrs.frozen(kw_only=True)
class WindowsStub:
    """A decoded stub.

    Attributes:
        version: Format, major and minor.
        store: Identity of the chunk store.
        optimized: When the file was optimized, FILETIME.
        size: Bytes of the file that the store covers.
        stated_size: Size field of the stub, where the format has one; else ``size``.
        parts: Parts of the stream map in file order; they tile ``[0, size)``.
        recall_sign: Whether anything hints at a recall bitmap.
    """

    version: tuple[int, int]
    store: StoreId
    optimized: int
    size: int
    stated_size: int
    parts: tuple[MapInfo, ...]
    recall_sign: bool


def store_key(stub: bytes) -> bytes | None:
    """Return the identity of the store that a stub names; None if this is no stub of the format.

    A stub that is damaged where its identity stands has one of zeros, so that it is still told as
    a stub, and refused as such.
    """
    if len(stub) < _FRAME_SIZE or _U4.unpack_from(stub)[0] != DEDUP_TAG:
        return None
    try:
        body = _Reader(stub, 0, len(stub))
        raw = _STORE_OF.get(stub[8], _store_of_3)(body)
        return uuid.UUID(bytes_le=raw).bytes
    except CorruptMetadataError:
        return bytes(_GUID_SIZE)


def _store_of_1(body: "_Reader") -> bytes:
    return body.take(0x20, _GUID_SIZE)


def _store_of_2(body: "_Reader") -> bytes:
    return body.take(*_sized(_rows(body)[_ROW_STORE], _GUID_SIZE))


def _store_of_3(body: "_Reader") -> bytes:
    return _block(body, _FRAME_SIZE, b"FeRp").value(_FE_STORE, _GUID_SIZE)


_STORE_OF: Final = {1: _store_of_1, 2: _store_of_2}


def parse_stub(stub: bytes) -> WindowsStub:
    """Decode reparse data of tag 0x80000013.

    Args:
        stub: The whole reparse buffer, tag and length included; bytes behind its stated length are
            ignored, as drivers round the buffer up.

    Raises:
        CorruptMetadataError: A checksum, a length or a field makes no sense.
        UnsupportedFormatError: Another tag, or a format other than 1.2, 2.1 and 3.1.
    """
    if len(stub) < _FRAME_SIZE:
        raise CorruptMetadataError(f"a stub of {len(stub)} bytes has no head", code="stub.length")
    tag, length, _, major, minor, again = _FRAME.unpack_from(stub)
    if tag != DEDUP_TAG:
        raise UnsupportedFormatError(
            f"reparse tag 0x{tag:08X} is not that of deduplicated files", code="stub.tag"
        )
    total = _BODY + length
    if length != again or not _FRAME_SIZE + _SUM_SIZE <= total <= len(stub):
        raise CorruptMetadataError(
            f"the lengths of a stub do not fit: {length} and {again} of {len(stub)} bytes",
            code="stub.length",
        )
    expected = _U4.unpack_from(stub, total - _SUM_SIZE)[0]
    found = zlib.crc32(memoryview(stub)[_BODY : total - _SUM_SIZE])
    if expected != found:
        raise CorruptMetadataError(
            f"CRC-32 of a stub: expected 0x{expected:08X}, found 0x{found:08X}", code="stub.crc"
        )
    if (major, minor) not in _FORMATS:
        raise UnsupportedFormatError(
            f"stub format {major}.{minor} is not known; known are 1.2, 2.1 and 3.1",
            code="stub.format",
        )
    body = _Reader(stub, 0, total - _SUM_SIZE)
    decoded = (_format_1, _format_2, _format_3)[major - 1](body)
    _check_parts(decoded)
    return decoded


@attrs.frozen
class _Reader:
    """Takes bytes out of a part of the buffer, never from outside of it."""

    data: bytes
    start: int
    end: int

    def take(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at ``offset``, counted from the start of the part."""
        first = self.start + offset
        if first + size > self.end:
            raise CorruptMetadataError(
                f"a field of a stub lies outside: {size} bytes at {first} of {self.end}",
                code="stub.field",
            )
        return self.data[first : first + size]


def _format_1(body: _Reader) -> WindowsStub:
    head = body.take(0, _FORMAT_1_SIZE - _SUM_SIZE)
    _, size, _, store, maps_at, maps_size, _, bitmap_size, optimized = _FORMAT_1.unpack_from(head)
    if (maps_at, maps_size) != (_MAP_INFO_SIZE, _MAP_INFO_SIZE):
        raise UnsupportedFormatError(
            f"a stub of format 1.2 with {maps_size} bytes of stream map infos at {maps_at}",
            code="stub.layout",
        )
    local_id, container, offset, generation, _, map_size, _, digest = _MAP_INFO.unpack_from(
        head, maps_at
    )
    part = MapInfo(local_id, container, offset, generation, map_size, digest, 0, size)
    return WindowsStub(
        version=(1, 2),
        store=uuid.UUID(bytes_le=store),
        optimized=optimized,
        size=size,
        stated_size=size,
        parts=(part,),
        recall_sign=bitmap_size != 0,
    )


def _rows(body: _Reader) -> list[tuple[int, int]]:
    """Return offset (in the buffer) and size of each row of format 2.1; rows are positional (H)."""
    (count,) = _U4.unpack(body.take(_FRAME_SIZE, 4))
    if not _ROW_MAPS < count <= _MOST_ROWS:
        raise CorruptMetadataError(f"a stub of format 2.1 with {count} rows", code="stub.field")
    table = body.take(_ROWS_AT, _ROW.size * count)
    return [(_BODY + offset, size) for _, size, offset in _ROW.iter_unpack(table)]


def _format_2(body: _Reader) -> WindowsStub:
    rows = _rows(body)
    store = body.take(*_sized(rows[_ROW_STORE], _GUID_SIZE))
    (optimized,) = _U8.unpack(body.take(*_sized(rows[_ROW_TIME], _U8.size)))
    parts = _parts(body.take(*rows[_ROW_MAPS]))
    return WindowsStub(
        version=(2, 1),
        store=uuid.UUID(bytes_le=store),
        optimized=optimized,
        size=parts[-1].end,
        stated_size=parts[-1].end,
        parts=parts,
        recall_sign=len(rows) > _ROW_BITMAP and rows[_ROW_BITMAP][1] != 0,
    )


def _sized(row: tuple[int, int], size: int) -> tuple[int, int]:
    if row[1] != size:
        raise CorruptMetadataError(
            f"a field of a stub has {row[1]} bytes instead of {size}", code="stub.field"
        )
    return row


@attrs.frozen
class _Block:
    """A property block of format 3.1: values are found through its element table (T, M)."""

    reader: _Reader
    elements: tuple[tuple[int, int], ...]

    def value(self, index: int, size: int | None = None) -> bytes:
        """Return the value of an element; elements are positional."""
        if index >= len(self.elements):
            raise CorruptMetadataError(
                f"a property block of a stub has no element {index}", code="stub.block"
            )
        found, offset = self.elements[index]
        if size is not None and found != size:
            raise CorruptMetadataError(
                f"element {index} of a property block has {found} bytes instead of {size}",
                code="stub.block",
            )
        return self.reader.take(offset, found)

    def place(self, index: int) -> int:
        """Return where the value of an element begins in the buffer."""
        self.value(index)
        return self.reader.start + self.elements[index][1]


def _block(body: _Reader, at: int, magic: bytes, *, checked: bool = False) -> _Block:
    """Read the head and the element table of a block.

    Args:
        body: The part of the buffer that holds it.
        at: Where it begins in the buffer.
        magic: Its magic.
        checked: Also prove its CRC-32.
    """
    around = _Reader(body.data, at, body.end)
    found, crc, length, _, count = _BLOCK.unpack(around.take(0, _BLOCK.size))
    if found != magic or length < _BLOCK_HEAD:
        raise CorruptMetadataError(
            f"a stub has no property block {magic.decode()} at {at}", code="stub.block"
        )
    data = around.take(0, length)
    if checked and zlib.crc32(data[8:]) != crc:
        raise CorruptMetadataError(
            f"CRC-32 of property block {magic.decode()}: expected 0x{crc:08X}, found"
            f" 0x{zlib.crc32(data[8:]):08X}",
            code="stub.block-crc",
        )
    reader = _Reader(body.data, at, at + length)
    table = reader.take(_BLOCK_HEAD, _ELEMENT.size * count)
    elements = tuple((size, offset) for _, size, offset in _ELEMENT.iter_unpack(table))
    return _Block(reader, elements)


def _format_3(body: _Reader) -> WindowsStub:
    outer = _block(body, _FRAME_SIZE, b"FeRp", checked=True)
    inner = _block(outer.reader, outer.place(_FE_MAPS), b"DdRp", checked=True)
    parts = _parts(inner.value(_DD_MAPS))
    pair = _PAIR.unpack(inner.value(_DD_FIRST, _PAIR.size))
    if (parts[0].local_id, parts[0].container) != pair:
        raise CorruptMetadataError(
            "a stub names two different first stream maps", code="stub.first-map"
        )
    (stated,) = _U8.unpack(outer.value(_FE_SIZE, _U8.size))
    (optimized,) = _U8.unpack(outer.value(_FE_TIME, _U8.size))
    (bitmap,) = _U4.unpack(outer.value(_FE_BITMAP, _U4.size))
    recall = _block(outer.reader, outer.place(_FE_RECALL), b"RbRp").elements
    bitmap_size = recall[_RB_UNUSED][0] if len(recall) > _RB_UNUSED else 0
    return WindowsStub(
        version=(3, 1),
        store=uuid.UUID(bytes_le=outer.value(_FE_STORE, _GUID_SIZE)),
        optimized=optimized,
        size=parts[-1].end,
        stated_size=stated,
        parts=parts,
        recall_sign=bitmap != 0 or bitmap_size != 0 or stated > parts[-1].end,
    )


def _parts(array: bytes) -> tuple[MapInfo, ...]:
    """Return the stream map infos of formats 2.1 and 3.1, in file order."""
    if not array or len(array) % _MAP_INFO_SIZE:
        raise CorruptMetadataError(
            f"the stream map infos of a stub have {len(array)} bytes", code="stub.parts"
        )
    return tuple(sorted(_infos(array), key=lambda part: part.begin))


def _infos(array: bytes) -> Iterator[MapInfo]:
    for local_id, container, offset, generation, _, size, _, last in _MAP_INFO.iter_unpack(array):
        half, end, begin = _RANGE.unpack(last)
        digest = half + bytes(len(half))
        yield MapInfo(local_id, container, offset, generation, size, digest, begin, end)


def _check_parts(stub: WindowsStub) -> None:
    """Check that the parts follow each other from 0 on."""
    at = 0
    for part in stub.parts:
        if part.begin != at or part.end <= at:
            raise CorruptMetadataError(
                f"a part of a stream map covers {part.begin} to {part.end} where {at} is next",
                code="stub.parts",
            )
        if not part.container or not part.local_id:
            raise CorruptMetadataError("a stub refers to no stream map", code="stub.parts")
        at = part.end
