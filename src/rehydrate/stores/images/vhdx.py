"""VHDX files: fixed, dynamic and differencing, the log replayed, read without any library.

This layer is ours and not a binding's, because the binding was seen to give wrong bytes without an
error: it does not replay the log, and in differencing files it takes blocks that are stated to be
zeros from the parent and reads the bitmap of blocks that have none from the file's header.

Source of all facts: Microsoft, "[MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format".
"""

import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.stores.images.bytesource import ByteSource, check_range
from rehydrate.stores.images.vhdxlog import checked, replayed

__all__ = ["SIGNATURE", "VhdxSource", "open_vhdx"]

SIGNATURE: Final = b"vhdxfile"  # 2.2.1

_HEADERS: Final = (64 << 10, 128 << 10)  # 2.2
_REGION_TABLES: Final = (192 << 10, 256 << 10)
_HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")  # 2.2.2
_HEADER_SIZE: Final = 4096
_REGION_TABLE_SIZE: Final = 64 << 10
_REGION: Final = struct.Struct("<16sQII")  # 2.2.3.2
_MOST_REGIONS: Final = 2047
_BAT: Final = uuid.UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
_METADATA: Final = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_ITEM: Final = struct.Struct("<16sIIII")  # 2.6.1.2
_MOST_ITEMS: Final = 2047
_LARGEST_ITEM: Final = 1 << 20
_FILE_PARAMETERS: Final = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_DISK_SIZE: Final = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
_SECTOR_SIZE: Final = uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
_PARENT_LOCATOR: Final = uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
_KNOWN_ITEMS: Final = {
    _FILE_PARAMETERS,
    _DISK_SIZE,
    _SECTOR_SIZE,
    _PARENT_LOCATOR,
    uuid.UUID("BECA12AB-B2E6-4523-93EF-C309E000C746"),  # page 83 data
    uuid.UUID("CDA348C7-445D-4471-9CC9-E9885251C556"),  # physical sector size
}
_REQUIRED: Final = 4
_HAS_PARENT: Final = 2
_LOCATOR_KIND: Final = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")  # 2.6.2.6.3
_LOCATOR_HEAD: Final = 20
_LOCATOR_ENTRY: Final = struct.Struct("<IIHH")
_LARGEST_DISK: Final = 64 << 40
_BITMAP_BITS: Final = 1 << 23  # sectors that one sector bitmap block describes
_NOT_PRESENT, _FULL, _PARTIAL = 0, 6, 7  # 2.5.1.1; all others read as zeros
_KNOWN_STATES: Final = {0, 1, 2, 3, _FULL, _PARTIAL}
_BAT_PAGE: Final = 32 << 10
_MOST_PAGES: Final = 256


@attrs.frozen(kw_only=True)
class _Header:
    sequence: int
    data_id: uuid.UUID
    log_id: bytes
    log_start: int
    log_size: int


@attrs.frozen(kw_only=True)
class _Shape:
    """What the metadata says of the disk; sizes in bytes."""

    size: int
    block: int
    sector: int
    parent: dict[str, str] | None


class VhdxSource:
    """The disk inside a VHDX file."""

    def __init__(
        self,
        file: ByteSource,
        shape: _Shape,
        bat: tuple[int, int],
        *,
        name: str,
        data_id: uuid.UUID,
        parent: ByteSource | None,
    ) -> None:
        """Take the file and the parent over; both are closed with the disk.

        Args:
            file: The file, its log replayed.
            shape: What the metadata says.
            bat: Start and size of the block allocation table in bytes.
            name: The file, for messages.
            data_id: Identity of the bytes inside, which children name.
            parent: Disk below, of a differencing file.
        """
        self._file = file
        self._shape = shape
        self._bat = bat
        self._name = name
        self._ratio = _BITMAP_BITS * shape.sector // shape.block
        self._parent = parent
        self._pages: dict[int, bytes] = {}
        self.data_id = data_id

    @property
    def size(self) -> int:
        """Number of bytes of the disk."""
        return self._shape.size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`~.bytesource.ByteSource`.

        Raises:
            StoreReadError: The range is outside, or bytes of the file cannot be read.
            CorruptMetadataError: The allocation table is broken there.
        """
        check_range(self._name, self.size, offset, size)
        pieces: list[bytes] = []
        while size:
            block, inside = divmod(offset, self._shape.block)
            length = min(size, self._shape.block - inside)
            pieces.append(self._read_block(block, inside, length))
            offset, size = offset + length, size - length
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_block(self, block: int, inside: int, length: int) -> bytes:
        chunk, place = divmod(block, self._ratio)
        state, start = self._entry(chunk * (self._ratio + 1) + place)
        if state == _FULL:
            return self._file.read(start + inside, length)
        if state == _PARTIAL and self._parent is not None:
            return self._read_mixed(
                chunk, place, (start, block * self._shape.block), inside, length
            )
        if state not in _KNOWN_STATES or state == _PARTIAL:
            raise CorruptMetadataError(
                f"{self._name}: block {block} has the unknown state {state}",
                container=self._name,
                offset=block * self._shape.block,
            )
        if state == _NOT_PRESENT and self._parent is not None:
            return _below(self._parent, block * self._shape.block + inside, length)
        return bytes(length)

    def _read_mixed(
        self, chunk: int, place: int, starts: tuple[int, int], inside: int, length: int
    ) -> bytes:
        """Read from a block of which the bitmap says, sector by sector, who has the bytes.

        Args:
            chunk: Number of the run of blocks that share one sector bitmap block.
            place: Number of the block in it.
            starts: Where the block is in the file, and on the disk.
            inside: First byte, counted from the start of the block.
            length: Number of bytes, not beyond the block.
        """
        sector = self._shape.sector
        state, bitmap = self._entry((chunk + 1) * (self._ratio + 1) - 1)
        if state != _FULL:
            raise CorruptMetadataError(
                f"{self._name}: the sector bitmap of a partial block is missing",
                container=self._name,
                offset=starts[1],
            )
        first, last = inside // sector, -(-(inside + length) // sector)
        bits_before = place * (self._shape.block // sector) + first
        low, high = bits_before // 8, -(-(bits_before + last - first) // 8)
        bits = int.from_bytes(self._file.read(bitmap + low, high - low), "little")
        bits >>= bits_before % 8
        pieces: list[bytes] = []
        number = first
        while number < last:
            own = bits >> (number - first) & 1
            until = number + 1
            while until < last and bits >> (until - first) & 1 == own:
                until += 1
            begin, end = max(number * sector, inside), min(until * sector, inside + length)
            pieces.append(
                self._file.read(starts[0] + begin, end - begin)
                if own or self._parent is None
                else _below(self._parent, starts[1] + begin, end - begin)
            )
            number = until
        return b"".join(pieces)

    def _entry(self, index: int) -> tuple[int, int]:
        """Return state and file offset out of one entry of the block allocation table (2.5)."""
        page, inside = divmod(index * 8, _BAT_PAGE)
        data = self._pages.get(page)
        if data is None:
            start, size = self._bat
            length = min(_BAT_PAGE, size - page * _BAT_PAGE)
            data = self._file.read(start + page * _BAT_PAGE, length)
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._pages[page] = data
        entry = int.from_bytes(data[inside : inside + 8], "little")
        return entry & 7, entry >> 20 << 20

    def close(self) -> None:
        """Close the file and its parents."""
        self._file.close()
        if self._parent is not None:
            self._parent.close()


def _below(parent: ByteSource, offset: int, length: int) -> bytes:
    """Read from a parent, which may be smaller than its child: zeros follow."""
    there = max(min(parent.size - offset, length), 0)
    return (parent.read(offset, there) if there else b"") + bytes(length - there)


def open_vhdx(path: Path, file: ByteSource, open_parent: Callable[[str], ByteSource]) -> VhdxSource:
    """Open a VHDX file and its parents.

    Args:
        path: The file, for messages.
        file: Its bytes; closed with the result, but not if the call fails.
        open_parent: Opens the parent, given the path that the file gives for it.

    Raises:
        UnsupportedFormatError: Its version, or a required part of it, is not known.
        CorruptMetadataError: It contradicts itself, or its parent was changed since.
        StoreReadError: It cannot be read.
    """
    name = str(path)
    header = _header(file, name)
    replay = replayed(file, header.log_start, header.log_size, header.log_id, name=name)
    regions = _regions(replay, name)
    shape = _shape(replay, regions[_METADATA], name)
    ratio = _BITMAP_BITS * shape.sector // shape.block
    blocks = -(-shape.size // shape.block)
    entries = blocks + (blocks - 1) // ratio
    if shape.parent is not None:
        entries = -(-blocks // ratio) * (ratio + 1)
    if entries * 8 > regions[_BAT][1]:
        raise _broken(name, f"its allocation table is too small for {shape.size} bytes")
    parent = None
    if shape.parent is not None:
        parent = _parent(shape.parent, open_parent, name)
    return VhdxSource(
        replay, shape, regions[_BAT], name=name, data_id=header.data_id, parent=parent
    )


def _broken(name: str, what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"{name} is a broken VHDX file: {what}", container=name)


def _some(file: ByteSource, offset: int, size: int) -> bytes:
    """Read; what lies beyond the end reads as nothing, so that the check sum refuses it."""
    return file.read(offset, size) if offset + size <= file.size else b""


def _header(file: ByteSource, name: str) -> _Header:
    valid: list[_Header] = []
    for offset in _HEADERS:
        block = _some(file, offset, _HEADER_SIZE)
        if block[:4] != b"head" or not checked(block):
            continue
        _, _, sequence, _, data_id, log_id, log_version, version, log_size, log_start = (
            _HEADER.unpack_from(block)
        )
        if version != 1 or (log_version and any(log_id)):
            raise UnsupportedFormatError(
                f"{name} is VHDX version {version} with a log of version {log_version}; "
                "1 and 0 are known",
                container=name,
            )
        valid.append(
            _Header(
                sequence=sequence,
                data_id=uuid.UUID(bytes_le=data_id),
                log_id=log_id,
                log_start=log_start,
                log_size=log_size,
            )
        )
    if not valid:
        raise _broken(name, "neither of its headers is valid")
    return max(valid, key=lambda header: header.sequence)


def _regions(file: ByteSource, name: str) -> dict[uuid.UUID, tuple[int, int]]:
    """Return start and size of each region, out of the first valid table (2.2.3)."""
    for offset in _REGION_TABLES:
        block = _some(file, offset, _REGION_TABLE_SIZE)
        if block[:4] == b"regi" and checked(block):
            break
    else:
        raise _broken(name, "neither of its region tables is valid")
    count = int.from_bytes(block[8:12], "little")
    if count > _MOST_REGIONS:
        raise _broken(name, f"it has {count} regions")
    regions: dict[uuid.UUID, tuple[int, int]] = {}
    for index in range(count):
        raw, start, size, flags = _REGION.unpack_from(block, 16 + index * _REGION.size)
        kind = uuid.UUID(bytes_le=raw)
        if kind not in {_BAT, _METADATA}:
            if flags & 1:
                raise UnsupportedFormatError(
                    f"{name} needs the unknown region {kind}", container=name
                )
            continue
        if kind in regions or start + size > file.size:
            raise _broken(name, f"its region {kind} is there twice, or beyond the end of the file")
        regions[kind] = (start, size)
    if len(regions) != len({_BAT, _METADATA}):
        raise _broken(name, "a region is missing")
    return regions


def _shape(file: ByteSource, region: tuple[int, int], name: str) -> _Shape:
    items = _items(file, region, name)
    try:
        block, flags = struct.unpack("<II", items[_FILE_PARAMETERS])
        (size,) = struct.unpack("<Q", items[_DISK_SIZE])
        (sector,) = struct.unpack("<I", items[_SECTOR_SIZE])
        parent = _locator(items[_PARENT_LOCATOR], name) if flags & _HAS_PARENT else None
    except (KeyError, struct.error) as error:
        raise _broken(name, "an item of its metadata is missing or has a wrong size") from error
    if block.bit_count() != 1 or not 1 << 20 <= block <= 256 << 20:
        raise _broken(name, f"its blocks have {block} bytes")
    if sector not in {512, 4096} or size % sector or not 0 < size <= _LARGEST_DISK:
        raise _broken(name, f"it claims {size} bytes in sectors of {sector}")
    return _Shape(size=size, block=block, sector=sector, parent=parent)


def _items(file: ByteSource, region: tuple[int, int], name: str) -> dict[uuid.UUID, bytes]:
    """Return the metadata items by their identity (2.6.1)."""
    start, length = region
    table = _some(file, start, min(_REGION_TABLE_SIZE, length))
    count = int.from_bytes(table[10:12], "little")
    if table[:8] != b"metadata" or count > _MOST_ITEMS or 32 + count * _ITEM.size > len(table):
        raise _broken(name, "its metadata table is not valid")
    items: dict[uuid.UUID, bytes] = {}
    for index in range(count):
        raw, offset, size, flags, _ = _ITEM.unpack_from(table, 32 + index * _ITEM.size)
        kind = uuid.UUID(bytes_le=raw)
        if kind not in _KNOWN_ITEMS:
            if flags & _REQUIRED:
                raise UnsupportedFormatError(
                    f"{name} needs the unknown metadata {kind}", container=name
                )
            continue
        if size > _LARGEST_ITEM or offset + size > length:
            raise _broken(name, f"its metadata {kind} is too large or outside of its region")
        items[kind] = file.read(start + offset, size)
    return items


def _locator(item: bytes, name: str) -> dict[str, str]:
    """Return the keys and values by which the parent is named (2.6.2.6)."""
    if len(item) < _LOCATOR_HEAD or uuid.UUID(bytes_le=item[:16]) != _LOCATOR_KIND:
        raise UnsupportedFormatError(
            f"{name} names its parent in a way that is not known", container=name
        )
    found: dict[str, str] = {}
    for index in range(int.from_bytes(item[18:20], "little")):
        where = _LOCATOR_ENTRY.unpack_from(item, _LOCATOR_HEAD + index * _LOCATOR_ENTRY.size)
        key_at, value_at, key_size, value_size = where
        key = item[key_at : key_at + key_size].decode("utf-16-le", "replace")
        found[key] = item[value_at : value_at + value_size].decode("utf-16-le", "replace")
    return found


def _parent(
    locator: dict[str, str], open_parent: Callable[[str], ByteSource], name: str
) -> ByteSource:
    named = next(
        (
            locator[key]
            for key in ("relative_path", "absolute_win32_path", "volume_path")
            if locator.get(key)
        ),
        None,
    )
    if named is None:
        raise _broken(name, "it has a parent, but does not say which")
    parent = open_parent(named)
    linked = {
        locator[key].strip("{}").casefold()
        for key in ("parent_linkage", "parent_linkage2")
        if key in locator
    }
    if isinstance(parent, VhdxSource) and str(parent.data_id) in linked:
        return parent
    parent.close()
    raise CorruptMetadataError(
        f"{name}: its parent {named!r} was changed since, or is another disk",
        code="image.parent-changed",
        container=name,
    )
