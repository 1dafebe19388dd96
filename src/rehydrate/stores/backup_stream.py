"""The Win32 backup stream: what ``BackupRead`` gives for a file, and ``BackupWrite`` takes.

A file is a sequence of parts, each with a WIN32_STREAM_ID in front (Windows SDK, ``winbase.h``, all
little-endian): id (32 bits), attributes (32), size of the data (64), size of the name in bytes (32),
the name in UTF-16, the data. A sparse stream has no data of its own: SPARSE_BLOCK parts follow, each
a 64-bit offset in the stream and the bytes that belong there; what no block covers is a hole. The
end of a stream that ends with a hole is told by a block without bytes at the end: INFERRED, so the
reader takes the largest end of all blocks, however it came about.

Nothing is kept in memory but the places of the parts. Parts of unknown kind are kept as they are.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from rehydrate.errors import CorruptMetadataError, LimitError
from rehydrate.values import MAX_OFFSET, FileExtent

__all__ = [
    "ALTERNATE_DATA",
    "CONTAINS_PROPERTIES",
    "CONTAINS_SECURITY",
    "DATA",
    "EA_DATA",
    "GHOSTED_FILE_EXTENTS",
    "KNOWN_KINDS",
    "LINK",
    "MODIFIED_WHEN_READ",
    "OBJECT_ID",
    "PROPERTY_DATA",
    "REPARSE_DATA",
    "SECURITY_DATA",
    "SPARSE",
    "SPARSE_BLOCK",
    "TXFS_DATA",
    "BackupStream",
    "BackupStreamWriter",
    "BlockAt",
    "ByteReader",
    "DataStream",
    "StreamPart",
    "alternate_name",
    "parse_backup_stream",
    "part_header",
]

DATA: Final = 1
"""The unnamed data stream."""
EA_DATA: Final = 2
"""Extended attributes, a FILE_FULL_EA_INFORMATION list."""
SECURITY_DATA: Final = 3
"""The self-relative security descriptor."""
ALTERNATE_DATA: Final = 4
"""An alternate data stream, with a name such as ``:name:$DATA``."""
LINK: Final = 5
"""A hard link."""
PROPERTY_DATA: Final = 6
"""Properties."""
OBJECT_ID: Final = 7
"""The object id of NTFS."""
REPARSE_DATA: Final = 8
"""The whole reparse buffer, tag and length included."""
SPARSE_BLOCK: Final = 9
"""A range of the sparse stream before it: 64-bit offset, bytes."""
TXFS_DATA: Final = 10
"""Data of transactional NTFS."""
GHOSTED_FILE_EXTENTS: Final = 11
"""Extents of a file whose bytes are elsewhere."""

KNOWN_KINDS: Final = range(DATA, GHOSTED_FILE_EXTENTS + 1)
"""Kinds of parts that have a name here."""

MODIFIED_WHEN_READ: Final = 1
"""Attribute of a part: the bytes are made when they are read."""
CONTAINS_SECURITY: Final = 2
"""Attribute of a part: it holds security information."""
CONTAINS_PROPERTIES: Final = 4
"""Attribute of a part: it holds properties."""
SPARSE: Final = 8
"""Attribute of a data stream: SPARSE_BLOCK parts follow."""

ByteReader: TypeAlias = Callable[[int, int], bytes]
"""Called with ``(offset, size)``; returns exactly ``size`` bytes or raises."""

_HEADER: Final = struct.Struct("<IIQI")
_OFFSET: Final = struct.Struct("<Q")
_MAX_NAME: Final = 0xFFFF
_MAX_PARTS: Final = 1 << 20
_PIECE: Final = 1 << 20
_TYPE: Final = ":$DATA"
# What a file has once; of alternate data streams, one of each name.
_ONCE: Final = frozenset({DATA, EA_DATA, SECURITY_DATA, ALTERNATE_DATA, OBJECT_ID, REPARSE_DATA})


@attrs.frozen(kw_only=True)
class StreamPart:
    """One part of a backup stream.

    Attributes:
        kind: What it is, such as :data:`REPARSE_DATA`; may be a number that nobody knows.
        attributes: Bits such as :data:`SPARSE`.
        name: Name as it is stored, ``:name:$DATA``; unpaired surrogates are kept.
        offset: First byte of its data in the backup stream.
        size: Bytes of its data; a sparse block has its offset in the first 8.
    """

    kind: int
    attributes: int
    name: str
    offset: int
    size: int


@attrs.frozen
class BlockAt:
    """A range of a data stream and where its bytes are.

    Attributes:
        extent: The range in the data stream.
        at: First of its bytes in the backup stream.
    """

    extent: FileExtent
    at: int


@attrs.frozen(kw_only=True)
class DataStream:
    """A data stream of the file.

    Attributes:
        name: Name without colons and type; empty = the unnamed one.
        sparse: Whether it is told as blocks, so that its ranges are those of the file.
        size: Bytes.
        blocks: What is not hole, ascending and apart.
    """

    name: str
    sparse: bool
    size: int
    blocks: tuple[BlockAt, ...]
    _begins: list[int] = attrs.field(init=False, eq=False, repr=False)

    @_begins.default
    def _first_bytes(self) -> list[int]:
        return [block.extent.offset for block in self.blocks]

    def pieces(self, offset: int, size: int) -> Iterator[BlockAt]:
        """Iterate what a range of the stream holds, holes left out, ascending.

        Args:
            offset: First byte of the stream.
            size: Number of bytes.
        """
        end = offset + size
        for index in range(max(bisect_right(self._begins, offset) - 1, 0), len(self.blocks)):
            block = self.blocks[index]
            if block.extent.offset >= end:
                return
            begin = max(block.extent.offset, offset)
            length = min(block.extent.end, end) - begin
            if length > 0:
                yield BlockAt(FileExtent(begin, length), block.at + begin - block.extent.offset)

    def read(self, read: ByteReader, offset: int, size: int) -> bytes:
        """Return the bytes of a range, cut at the end of the stream; holes are zeros.

        Args:
            read: Reads the backup stream.
            offset: First byte of the data stream.
            size: Number of bytes.

        Raises:
            RestoreError: As ``read``; or fewer bytes came (``code = "backup.truncated"``).
        """
        size = max(min(size, self.size - offset), 0)
        pieces = list(self.pieces(offset, size))
        if len(pieces) == 1 and pieces[0].extent.length == size:
            return _exactly(read, pieces[0].at, size)
        found = bytearray(size)
        for piece in pieces:
            begin = piece.extent.offset - offset
            found[begin : begin + piece.extent.length] = _exactly(
                read, piece.at, piece.extent.length
            )
        return bytes(found)


@attrs.frozen
class BackupStream:
    """A file as a backup stream: where everything is.

    Attributes:
        parts: All parts, in order.
        data: The unnamed data stream; ``None`` if there is none.
        alternates: The alternate data streams, in order.
    """

    parts: tuple[StreamPart, ...]
    data: DataStream | None
    alternates: tuple[DataStream, ...]

    def part(self, kind: int) -> StreamPart | None:
        """Return the part of a kind that a file has once, such as :data:`REPARSE_DATA`."""
        return next((part for part in self.parts if part.kind == kind), None)

    def alternate(self, name: str) -> DataStream | None:
        """Return an alternate data stream by its plain name."""
        return next((stream for stream in self.alternates if stream.name == name), None)


def alternate_name(stored: str) -> str | None:
    """Return the plain name of an alternate data stream; ``None`` if it is none.

    Args:
        stored: Such as ``:Zone.Identifier:$DATA``.
    """
    if not stored.startswith(":") or stored[-len(_TYPE) :].upper() != _TYPE:
        return None
    return stored[1 : -len(_TYPE)] or None


def parse_backup_stream(read: ByteReader, size: int) -> BackupStream:
    """Find the parts of a backup stream.

    Args:
        read: Reads the backup stream; asked for headers and names only.
        size: Bytes of the whole stream.

    Raises:
        CorruptMetadataError: It is no backup stream (``code = "backup.truncated"``,
            ``"backup.name"``, ``"backup.twice"``, ``"backup.block"``).
        LimitError: It has more than 1,048,576 parts (``code = "backup.parts"``).
        RestoreError: As ``read``.
    """
    parts: list[StreamPart] = []
    streams: list[_Building] = []
    seen: set[tuple[int, str]] = set()
    position = 0
    while position < size:
        if len(parts) == _MAX_PARTS:
            raise LimitError(f"a backup stream of over {_MAX_PARTS} parts", code="backup.parts")
        part = _part_at(read, position, size)
        parts.append(part)
        if part.kind in _ONCE:
            key = part.kind, part.name if part.kind == ALTERNATE_DATA else ""
            if key in seen:
                raise _wrong(position, "twice", f"a second part of kind {part.kind}")
            seen.add(key)
        if part.kind in (DATA, ALTERNATE_DATA):
            streams.append(_Building(part))
        elif part.kind == SPARSE_BLOCK:
            if not streams:
                raise _wrong(position, "block", "a sparse block in front of all streams")
            streams[-1].add(part, read)
        position = part.offset + part.size
    data = next((one.finished("") for one in streams if one.part.kind == DATA), None)
    named = ((one, alternate_name(one.part.name)) for one in streams)
    alternates = (
        one.finished(name)
        for one, name in named
        if one.part.kind == ALTERNATE_DATA and name is not None
    )
    return BackupStream(tuple(parts), data, tuple(alternates))


class _Building:
    """A data stream whose blocks are still coming."""

    def __init__(self, part: StreamPart) -> None:
        self.part = part
        self._end = part.size
        self._blocks: list[BlockAt] = []
        if part.size:
            self._blocks.append(BlockAt(FileExtent(0, part.size), part.offset))

    def add(self, part: StreamPart, read: ByteReader) -> None:
        """Take the next sparse block."""
        at = part.offset
        if not self.part.attributes & SPARSE:
            raise _wrong(at, "block", "a sparse block of a stream that is not sparse")
        if part.size < _OFFSET.size:
            raise _wrong(at, "block", f"a sparse block of {part.size} bytes")
        (offset,) = _OFFSET.unpack(_exactly(read, at, _OFFSET.size))
        length = part.size - _OFFSET.size
        if offset < self._end:
            raise _wrong(at, "block", f"a sparse block at {offset}, before {self._end}")
        if offset + length > MAX_OFFSET:
            raise _wrong(at, "block", f"a sparse block that ends at {offset + length}")
        if length:
            self._blocks.append(BlockAt(FileExtent(offset, length), at + _OFFSET.size))
        self._end = offset + length

    def finished(self, name: str) -> DataStream:
        """Return the stream."""
        return DataStream(
            name=name,
            sparse=bool(self.part.attributes & SPARSE),
            size=self._end,
            blocks=tuple(self._blocks),
        )


def _part_at(read: ByteReader, position: int, end: int) -> StreamPart:
    """Read the header of a part."""
    if end - position < _HEADER.size:
        raise _wrong(position, "truncated", f"{end - position} bytes are no header")
    head = _exactly(read, position, _HEADER.size)
    kind, attributes, size, name_size = _HEADER.unpack(head)
    if name_size > _MAX_NAME or name_size % 2:
        raise _wrong(position, "name", f"a name of {name_size} bytes")
    begin = position + _HEADER.size + name_size
    if size > end - begin:
        raise _wrong(position, "truncated", f"a part of {size} bytes, {max(end - begin, 0)} left")
    raw = _exactly(read, position + _HEADER.size, name_size) if name_size else b""
    name = raw.decode("utf-16-le", "surrogatepass")
    return StreamPart(kind=kind, attributes=attributes, name=name, offset=begin, size=size)


def _exactly(read: ByteReader, offset: int, size: int) -> bytes:
    found = read(offset, size)
    if len(found) != size:
        raise _wrong(offset, "truncated", f"{len(found)} bytes came of {size}")
    return found


def _wrong(offset: int, code: str, what: str) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"no valid backup stream: {what}", code=f"backup.{code}", offset=offset
    )


def part_header(kind: int, size: int, *, attributes: int = 0, name: str = "") -> bytes:
    """Return the WIN32_STREAM_ID of a part.

    Args:
        kind: What it is.
        size: Bytes of data that follow.
        attributes: Bits such as :data:`SPARSE`.
        name: Name as it is stored.
    """
    raw = name.encode("utf-16-le", "surrogatepass")
    return _HEADER.pack(kind, attributes, size, len(raw)) + raw


class BackupStreamWriter:
    """Writes a file as a backup stream, part by part, without holding its data."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """Write with ``write``, which takes all bytes that it is given."""
        self._write = write

    def part(self, kind: int, data: bytes, *, attributes: int = 0, name: str = "") -> None:
        """Write a whole part.

        Args:
            kind: What it is.
            data: Its data.
            attributes: Bits such as :data:`CONTAINS_SECURITY`.
            name: Name as it is stored.
        """
        self._write(part_header(kind, len(data), attributes=attributes, name=name) + data)

    def data(
        self,
        size: int,
        read: ByteReader,
        *,
        ranges: Sequence[FileExtent] | None = None,
        name: str = "",
    ) -> None:
        """Write a data stream.

        Args:
            size: Its bytes.
            read: Reads them.
            ranges: What is not hole, ascending and apart: the stream is written as a sparse one.
            name: Plain name of an alternate stream; empty = the unnamed one.
        """
        kind = ALTERNATE_DATA if name else DATA
        stored = f":{name}{_TYPE}" if name else ""
        if ranges is None:
            self._write(part_header(kind, size, name=stored))
            self._copy(FileExtent(0, size), read)
            return
        self._write(part_header(kind, 0, attributes=SPARSE, name=stored))
        for extent in ranges:
            self._block(extent)
            self._copy(extent, read)
        if not ranges or ranges[-1].end < size:
            self._block(FileExtent(size, 0))

    def _block(self, extent: FileExtent) -> None:
        header = part_header(SPARSE_BLOCK, _OFFSET.size + extent.length, attributes=SPARSE)
        self._write(header + _OFFSET.pack(extent.offset))

    def _copy(self, extent: FileExtent, read: ByteReader) -> None:
        for offset in range(extent.offset, extent.end, _PIECE):
            self._write(read(offset, min(_PIECE, extent.end - offset)))
