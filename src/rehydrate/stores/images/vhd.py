"""VHD files: fixed, dynamic and differencing, read without any library.

This layer is ours and not a binding's, because the binding was seen to take sectors of a differencing
file for its own that are the parent's: it looks at more than one bit of the sector bitmap.

Source of all facts: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0.
"""

import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.stores.images.bytesource import ByteSource, WindowSource, check_range

__all__ = ["COOKIE", "FOOTER_SIZE", "VhdSource", "open_vhd"]

COOKIE: Final = b"conectix"
FOOTER_SIZE: Final = 512

_SECTOR: Final = 512
_FOOTER: Final = struct.Struct(">8sIIQ16xQQ4xII16s")  # to the unique id; sums are of all 512 bytes
_FOOTER_SUM: Final = 64
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_HEADER: Final = struct.Struct(">8sQQIIII16s")
_HEADER_SIZE: Final = 1024
_HEADER_SUM: Final = 36
_HEADER_COOKIE: Final = b"cxsparse"
_PARENT_NAME: Final = slice(64, 576)
_LOCATORS: Final = 576
_LOCATOR: Final = struct.Struct(">4sII4xQ")
_MOST_LOCATORS: Final = 8
_NAMING: Final = (b"W2ru", b"W2ku")  # relative and absolute paths
_LONGEST_PATH: Final = 64 << 10
_MAJOR_VERSION: Final = 1
_LARGEST_BLOCK: Final = 256 << 20
_NO_BLOCK: Final = 0xFFFFFFFF
_BAT_PAGE: Final = 32 << 10
_MOST_PAGES: Final = 256


@attrs.frozen(kw_only=True)
class _Footer:
    kind: int
    size: int
    header: int
    identity: uuid.UUID


@attrs.frozen(kw_only=True)
class _Shape:
    """Where things are in a dynamic or differencing file; sizes in bytes."""

    size: int
    block: int
    bitmap: int
    table: int
    entries: int


class VhdSource:
    """The disk inside a VHD file that is not fixed."""

    def __init__(
        self,
        file: ByteSource,
        shape: _Shape,
        *,
        name: str,
        identity: uuid.UUID,
        parent: ByteSource | None,
    ) -> None:
        """Take the file and the parent over; both are closed with the disk.

        Args:
            file: The file.
            shape: Where things are in it.
            name: The file, for messages.
            identity: Its unique id, which children name.
            parent: Disk below, of a differencing file.
        """
        self._file = file
        self._shape = shape
        self._name = name
        self._parent = parent
        self._pages: dict[int, bytes] = {}
        self.identity = identity

    @property
    def size(self) -> int:
        """Number of bytes of the disk."""
        return self._shape.size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`~.bytesource.ByteSource`.

        Raises:
            StoreReadError: The range is outside, or bytes of the file cannot be read.
        """
        check_range(self._name, self.size, offset, size)
        pieces: list[bytes] = []
        while size:
            block, inside = divmod(offset, self._shape.block)
            length = min(size, self._shape.block - inside)
            entry = self._entry(block)
            if entry == _NO_BLOCK:
                pieces.append(self._below(offset, length))
            else:
                pieces += self._mixed(entry * _SECTOR, block * self._shape.block, inside, length)
            offset, size = offset + length, size - length
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _mixed(self, start: int, place: int, inside: int, length: int) -> list[bytes]:
        """Read from a block, whose bitmap says which sectors it has; the highest bit comes first.

        Args:
            start: Where the bitmap is in the file; the bytes follow it.
            place: Where the block is on the disk.
            inside: First byte, counted from the start of the block.
            length: Number of bytes, not beyond the block.
        """
        first, last = inside // _SECTOR, -(-(inside + length) // _SECTOR)
        low = first // 8
        bits = self._file.read(start + low, -(-last // 8) - low)
        pieces: list[bytes] = []
        number = first
        while number < last:
            own = _bit(bits, number - low * 8)
            until = number + 1
            while until < last and _bit(bits, until - low * 8) == own:
                until += 1
            begin, end = max(number * _SECTOR, inside), min(until * _SECTOR, inside + length)
            if own:
                data = self._file.read(start + self._shape.bitmap + begin, end - begin)
            else:
                data = self._below(place + begin, end - begin)
            pieces.append(data)
            number = until
        return pieces

    def _below(self, offset: int, length: int) -> bytes:
        """Read from the parent, which may be smaller; without one there are zeros."""
        if self._parent is None:
            return bytes(length)
        there = max(min(self._parent.size - offset, length), 0)
        return (self._parent.read(offset, there) if there else b"") + bytes(length - there)

    def _entry(self, block: int) -> int:
        """Return the entry of the block allocation table: a sector, or that there is none."""
        page, inside = divmod(block * 4, _BAT_PAGE)
        data = self._pages.get(page)
        if data is None:
            length = min(_BAT_PAGE, self._shape.entries * 4 - page * _BAT_PAGE)
            data = self._file.read(self._shape.table + page * _BAT_PAGE, length)
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._pages[page] = data
        return int.from_bytes(data[inside : inside + 4], "big")

    def close(self) -> None:
        """Close the file and its parents."""
        self._file.close()
        if self._parent is not None:
            self._parent.close()


class _FixedSource(WindowSource):
    """A fixed disk: the file without its footer."""

    def __init__(self, file: ByteSource, footer: _Footer, *, name: str) -> None:
        """Take the file over.

        Args:
            file: The file; closed with the disk.
            footer: Its footer.
            name: The file, for messages.
        """
        super().__init__(file, 0, footer.size, name=name)
        self._file = file
        self.identity = footer.identity

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _bit(bits: bytes, number: int) -> bool:
    return bool(bits[number // 8] & (0x80 >> number % 8))


def open_vhd(path: Path, file: ByteSource, open_parent: Callable[[str], ByteSource]) -> ByteSource:
    """Open a VHD file and its parents.

    Args:
        path: The file, for messages.
        file: Its bytes; closed with the result, but not if the call fails.
        open_parent: Opens the parent, given the path that the file gives for it.

    Raises:
        UnsupportedFormatError: Its version or kind is not known.
        CorruptMetadataError: It contradicts itself, or its parent was changed since.
        StoreReadError: It cannot be read.
    """
    name = str(path)
    footer = _footer(file, name)
    if footer.kind == _FIXED:
        if footer.size > file.size - FOOTER_SIZE:
            raise _broken(name, f"it is too short for its disk of {footer.size} bytes")
        return _FixedSource(file, footer, name=name)
    header = _checked(file, footer.header, _HEADER_SIZE, _HEADER_SUM)
    if header is None:
        raise _broken(name, "the header of its table is not valid")
    cookie, _, table, version, entries, block, _, parent_id = _HEADER.unpack_from(header)
    if cookie != _HEADER_COOKIE or version >> 16 != _MAJOR_VERSION:
        raise UnsupportedFormatError(f"{name} has a header of an unknown kind", container=name)
    if block % _SECTOR or block.bit_count() != 1 or block > _LARGEST_BLOCK:
        raise _broken(name, f"its blocks have {block} bytes")
    if entries * block < footer.size or table + entries * 4 > file.size:
        raise _broken(name, "its table of blocks is too small or outside of the file")
    bitmap = -(-block // _SECTOR // 8)
    shape = _Shape(
        size=footer.size,
        block=block,
        bitmap=-(-bitmap // _SECTOR) * _SECTOR,
        table=table,
        entries=entries,
    )
    parent = None
    if footer.kind == _DIFFERENCING:
        parent = open_parent(_parent_path(file, header))
        if getattr(parent, "identity", None) != uuid.UUID(bytes=parent_id):
            parent.close()
            raise CorruptMetadataError(
                f"{name}: its parent was changed since, or is another disk",
                code="image.parent-changed",
                container=name,
            )
    return VhdSource(file, shape, name=name, identity=footer.identity, parent=parent)


def _broken(name: str, what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"{name} is a broken VHD file: {what}", container=name)


def _checked(file: ByteSource, offset: int, size: int, place: int) -> bytes | None:
    """Return a footer or header if the sum at ``place`` is right: the complement of all bytes."""
    if offset + size > file.size:
        return None
    block = file.read(offset, size)
    total = sum(block) - sum(block[place : place + 4])
    return block if struct.pack(">I", ~total & 0xFFFFFFFF) == block[place : place + 4] else None


def _footer(file: ByteSource, name: str) -> _Footer:
    """Return the footer, or its copy at the start of the file where the footer is damaged."""
    for offset in (file.size - FOOTER_SIZE, 0):
        block = _checked(file, max(offset, 0), FOOTER_SIZE, _FOOTER_SUM)
        if block is not None and block.startswith(COOKIE):
            break
    else:
        raise _broken(name, "neither its footer nor the copy is valid")
    _, _, version, header, _, size, kind, _, identity = _FOOTER.unpack_from(block)
    if version >> 16 != _MAJOR_VERSION or kind not in {_FIXED, _DYNAMIC, _DIFFERENCING}:
        raise UnsupportedFormatError(
            f"{name} is VHD version {version >> 16} of kind {kind}; version 1 and kinds 2 to 4 "
            "are known",
            container=name,
        )
    return _Footer(kind=kind, size=size, header=header, identity=uuid.UUID(bytes=identity))


def _parent_path(file: ByteSource, header: bytes) -> str:
    """Return the path of the parent: a locator's, or else the name in the header."""
    found: dict[bytes, str] = {}
    for index in range(_MOST_LOCATORS):
        kind, _, length, offset = _LOCATOR.unpack_from(header, _LOCATORS + index * _LOCATOR.size)
        if kind in _NAMING and length <= _LONGEST_PATH and offset + length <= file.size:
            found[kind] = file.read(offset, length).decode("utf-16-le", "replace")
    named = header[_PARENT_NAME].decode("utf-16-be", "replace")
    paths = [*(found.get(kind, "") for kind in _NAMING), named]
    return next((path.rstrip("\0") for path in paths if path.rstrip("\0")), "")
