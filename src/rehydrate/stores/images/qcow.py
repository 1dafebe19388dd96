"""QCOW2 files: the binding reads what a file holds itself; we say what comes from its backing file.

The binding alone would take clusters that are stated to be zeros from the backing file, and it
cannot read a raw backing file at all. So the table entry of each cluster is looked at here, and the
binding never learns of the backing file.

Source of all facts: QEMU, "docs/interop/qcow2.txt".
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.stores.images.bindings import ForeignOpen, LibrarySource, NeedsPackage
from rehydrate.stores.images.bytesource import (
    PAGE,
    ByteSource,
    FileView,
    OverlaySource,
    check_range,
)

__all__ = ["SIGNATURE", "open_qcow"]

SIGNATURE: Final = b"QFI\xfb"

_HEADER: Final = struct.Struct(">4sIQIIQIIQ")
_FEATURES: Final = {0: "dirty", 1: "corrupt", 2: "external data file", 3: "compression type"}
_ALLOWED_FEATURES: Final = 1  # the dirty bit is about reference counts, which a reader does not use
_OLD, _NEW = 2, 3  # versions
_CLUSTER_BITS: Final = range(9, 22)
_LARGEST_NAME: Final = 1023
_OFFSET: Final = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED: Final = 1 << 62
_BACKING_FORMAT: Final = 0xE2792ACA
_SMALLEST_LONG_HEADER: Final = 104
_KEPT_TABLES: Final = 32 << 20
"""Bytes of second-level tables that are kept in memory."""


@attrs.frozen(kw_only=True)
class _Header:
    backing: str
    backing_format: str
    cluster_bits: int
    size: int
    tables: int
    table_start: int


def open_qcow(
    path: Path, file: ByteSource, open_backing: Callable[[str, str], ByteSource]
) -> ByteSource:
    """Open a QCOW2 file (version 2 or 3) and its backing files.

    Args:
        path: The file, for messages.
        file: Its bytes; closed with the result, but not if the call fails.
        open_backing: Opens the backing file, given the path and the format (which may be empty)
            that the file gives for it.

    Raises:
        UnsupportedFormatError: It is encrypted, or uses a feature that is not known.
        CorruptMetadataError: It contradicts itself.
        StoreError: The binding is not installed, code ``"store.extra-missing"``.
        StoreReadError: It cannot be read.
    """
    name = str(path)
    header = _header(file, name)
    with NeedsPackage("libqcow-python"):
        import pyqcow
    view = FileView(_without_backing(file, name) if header.backing else file)
    handle = pyqcow.file()
    with ForeignOpen(name, "qcow2", [view]):
        handle.open_file_object(view)
        size = handle.get_media_size()
    own = LibrarySource(handle, size, name=name, views=[view], closes=[handle, file])
    if size != header.size:
        raise CorruptMetadataError(f"{name} has two sizes", container=name)
    if not header.backing:
        return own
    backing = open_backing(header.backing, header.backing_format)
    return _Overlay(own, file, header, backing, name=name)


def _header(file: ByteSource, name: str) -> _Header:
    if file.size < _SMALLEST_LONG_HEADER:
        raise CorruptMetadataError(f"{name} is a QCOW2 file without a header", container=name)
    head = file.read(0, _SMALLEST_LONG_HEADER)
    _, version, at, length, bits, size, crypt, tables, start = _HEADER.unpack_from(head)
    if version not in {_OLD, _NEW} or crypt:
        raise UnsupportedFormatError(
            f"{name} is QCOW version {version}, encryption {crypt}; "
            "2 and 3 are known, without encryption",
            container=name,
        )
    extensions = 72
    if version == _NEW:
        features = int.from_bytes(head[72:80], "big")
        if features & ~_ALLOWED_FEATURES:
            bit = (
                features & ~_ALLOWED_FEATURES & -(features & ~_ALLOWED_FEATURES)
            ).bit_length() - 1
            raise UnsupportedFormatError(
                f"{name} uses the QCOW2 feature {_FEATURES.get(bit, str(bit))!r}, which is not "
                "known; qemu-img convert takes it away",
                container=name,
            )
        extensions = int.from_bytes(head[100:104], "big")
    if bits not in _CLUSTER_BITS or at + length > file.size or length > _LARGEST_NAME:
        raise CorruptMetadataError(f"{name} has a broken QCOW2 header", container=name)
    if start + tables * 8 > file.size or size > tables << (2 * bits - 3):
        raise CorruptMetadataError(f"{name}: its table is outside of the file", container=name)
    return _Header(
        backing=file.read(at, length).decode("utf-8", "surrogateescape") if at else "",
        backing_format=_backing_format(file, extensions, at or 1 << bits),
        cluster_bits=bits,
        size=size,
        tables=tables,
        table_start=start,
    )


def _backing_format(file: ByteSource, start: int, end: int) -> str:
    """Return the format that a header extension names, or nothing."""
    while start + 8 <= min(end, file.size):
        kind, length = struct.unpack(">II", file.read(start, 8))
        if not kind or start + 8 + length > min(end, file.size):
            break
        if kind == _BACKING_FORMAT:
            return file.read(start + 8, length).decode("ascii", "replace")
        start += 8 + -(-length // 8) * 8
    return ""


def _without_backing(file: ByteSource, name: str) -> ByteSource:
    """Return the file as if it had no backing file, for the binding refuses to read it without."""
    alone = OverlaySource(file, file.size, name=name)
    page = file.read(0, min(file.size, PAGE))
    alone.put(0, page[:8] + bytes(12) + page[20:])
    return alone


class _Overlay:
    """A QCOW2 disk over its backing disk."""

    def __init__(
        self,
        own: ByteSource,
        file: ByteSource,
        header: _Header,
        backing: ByteSource,
        *,
        name: str,
    ) -> None:
        """Take everything over; all is closed with the disk.

        Args:
            own: The disk as the binding gives it, without a backing file.
            file: The file, for its tables.
            header: Its header.
            backing: The disk below.
            name: The file, for messages.
        """
        self._own = own
        self._file = file
        self._header = header
        self._backing = backing
        self._name = name
        self._tables: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Number of bytes of the disk."""
        return self._header.size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`~.bytesource.ByteSource`.

        Raises:
            StoreReadError: The range is outside, or bytes of a file cannot be read.
        """
        check_range(self._name, self.size, offset, size)
        cluster = 1 << self._header.cluster_bits
        pieces: list[bytes] = []
        while size:
            length = min(size, cluster - offset % cluster)
            entry = self._entry(offset // cluster)
            if entry & 1 and not entry & _COMPRESSED:
                pieces.append(bytes(length))
            elif entry & (_OFFSET | _COMPRESSED):
                pieces.append(self._own.read(offset, length))
            else:
                there = max(min(self._backing.size - offset, length), 0)
                pieces.append(self._backing.read(offset, there) if there else b"")
                pieces.append(bytes(length - there))
            offset, size = offset + length, size - length
        return b"".join(pieces)

    def _entry(self, cluster: int) -> int:
        """Return the entry of a cluster in its second-level table; 0 where there is no table."""
        bits = self._header.cluster_bits
        number, place = divmod(cluster, 1 << (bits - 3))
        table = self._tables.get(number)
        if table is None:
            raw = self._file.read(self._header.table_start + number * 8, 8)
            start = int.from_bytes(raw, "big") & _OFFSET
            table = self._file.read(start, 1 << bits) if start else bytes(1 << bits)
            if len(self._tables) >= max(_KEPT_TABLES >> bits, 1):
                self._tables.clear()
            self._tables[number] = table
        return int.from_bytes(table[place * 8 : place * 8 + 8], "big")

    def close(self) -> None:
        """Close the file and its backing files."""
        self._own.close()
        self._backing.close()
