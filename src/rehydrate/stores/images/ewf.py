"""EWF images (E01, and S01 of the older programs): every chunk is held against its check sum.

This layer is ours and not a binding's, because the binding gives zeros for a chunk whose check sum
is wrong and does not say so.

Source of all facts: the libewf project, "Expert Witness Compression Format specification".
"""

import bisect
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bytesource import ByteSource, FileSource, check_range
from rehydrate.values import MAX_OFFSET

__all__ = ["SIGNATURE", "SIGNATURE_2", "open_ewf"]

SIGNATURE: Final = b"EVF\x09\x0d\x0a\xff\x00"
SIGNATURE_2: Final = b"EVF2\x0d\x0a\x81\x00"

_HEAD: Final = struct.Struct("<8sBHH")
_SECTION: Final = struct.Struct("<16sQQ40sI")
_SUMMED: Final = 72  # bytes of a section's descriptor before its check sum
_VOLUMES: Final = frozenset({b"volume", b"disk", b"data"})
_VOLUME: Final = struct.Struct("<4xIIIQ")
_OLD_VOLUME: Final = struct.Struct("<4xIIII")
_OLD_VOLUME_SIZE: Final = 94
_VOLUME_SIZE: Final = 1052
_SET_ID: Final = slice(64, 80)
_TABLES: Final = frozenset({b"table", b"table2"})
_TABLE: Final = struct.Struct("<I4xQ4xI")
_MOST_ENTRIES: Final = 1 << 22
_COMPRESSED: Final = 1 << 31
_LARGEST_CHUNK: Final = 32 << 20
_MOST_SECTIONS: Final = 1 << 20
_NUMBERED: Final = 99  # segments with two digits; letters follow
_MOST_SEGMENTS: Final = _NUMBERED + 8 * 26 * 26  # S01 reaches SZZ to ZZZ
_KEPT_TABLES: Final = 64
_KEPT_CHUNKS: Final = 4 << 20
"""Bytes of decoded chunks that are kept for the next read."""


@attrs.frozen(kw_only=True)
class _Section:
    kind: bytes
    start: int
    end: int

    @property
    def data(self) -> int:
        return self.start + _SECTION.size


@attrs.frozen(kw_only=True)
class _Table:
    """Where the places of some chunks are written.

    Attributes:
        first: Number of the first chunk.
        count: Number of chunks.
        segment: Number of the segment, from 0.
        section: The table.
        spare: Its copy.
        end: Where the last chunk ends.
        mixed: The chunks follow in the same section, with no check sum before them (S01).
    """

    first: int
    count: int
    segment: int
    section: _Section
    spare: _Section | None
    end: int
    mixed: bool


@attrs.frozen(kw_only=True)
class _Volume:
    size: int
    chunk: int
    set_id: bytes


@attrs.define
class _Scan:
    """What the sections of the segments said so far."""

    volume: _Volume | None = None
    tables: list[_Table] = attrs.Factory(list)
    chunks: int = 0
    sectors: _Section | None = None


class _EwfSource:
    """The disk inside an EWF image."""

    def __init__(
        self, segments: list[ByteSource], scan: _Scan, volume: _Volume, *, name: str
    ) -> None:
        """Take the segments over; they are closed with the disk.

        Args:
            segments: All segments in order.
            scan: What their sections said.
            volume: Size and shape of the disk.
            name: The image, for messages.
        """
        self._segments = segments
        self._tables = scan.tables
        self._firsts = [table.first for table in scan.tables]
        self._volume = volume
        self._name = name
        self._entries: dict[int, tuple[int, bytes]] = {}
        self._chunks: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """Number of bytes of the disk."""
        return self._volume.size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`~.bytesource.ByteSource`.

        Raises:
            StoreReadError: The range is outside, bytes cannot be read, or a chunk is damaged
                (code ``"image.chunk"``).
            CorruptMetadataError: A table of chunks is damaged.
        """
        check_range(self._name, self.size, offset, size)
        pieces: list[bytes] = []
        while size:
            number, inside = divmod(offset, self._volume.chunk)
            piece = self._chunk(number)[inside : inside + size]
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _chunk(self, number: int) -> bytes:
        kept = self._chunks.get(number)
        if kept is not None:
            return kept
        length = min(self._volume.chunk, self.size - number * self._volume.chunk)
        segment, start, end, packed = self._place(number)
        stored = end - start
        if not 0 < stored <= 2 * self._volume.chunk + _VOLUME_SIZE:
            raise self._damaged(number, segment, f"it would have {stored} stored bytes")
        raw = self._segments[segment].read(start, stored)
        data = _inflated(raw, length) if packed else _summed(raw, length)
        if data is None:
            raise self._damaged(number, segment, "its check sum or its length is wrong")
        self._chunks[number] = data
        while len(self._chunks) * self._volume.chunk > _KEPT_CHUNKS and len(self._chunks) > 1:
            self._chunks.popitem(last=False)
        return data

    def _damaged(self, number: int, segment: int, what: str) -> StoreReadError:
        return StoreReadError(
            f"{self._name}: chunk {number} in segment {segment + 1} is damaged: {what}",
            code="image.chunk",
            container=self._name,
            offset=number * self._volume.chunk,
            length=self._volume.chunk,
        )

    def _place(self, number: int) -> tuple[int, int, int, bool]:
        """Return segment, first byte, end and whether it is packed, of a chunk."""
        which = bisect.bisect_right(self._firsts, number) - 1
        table = self._tables[which]
        base, entries = self._table(which)
        at = (number - table.first) * 4
        entry = int.from_bytes(entries[at : at + 4], "little")
        start = base + (entry & ~_COMPRESSED)
        end = table.end
        if number - table.first + 1 < table.count:
            end = base + (int.from_bytes(entries[at + 4 : at + 8], "little") & ~_COMPRESSED)
        packed = bool(entry & _COMPRESSED)
        if not packed:  # some writers leave a gap after a chunk that is not packed
            length = min(self._volume.chunk, self.size - number * self._volume.chunk)
            end = min(end, start + length + 4)
        return table.segment, start, end, packed

    def _table(self, which: int) -> tuple[int, bytes]:
        """Return base offset and entries of a table, or of its copy where it is damaged."""
        kept = self._entries.get(which)
        if kept is not None:
            return kept
        table = self._tables[which]
        for section in (table.section, table.spare):
            if section is None:
                continue
            found = _entries(self._segments[table.segment], section, summed=not table.mixed)
            if found is not None and len(found[1]) == table.count * 4:
                if len(self._entries) >= _KEPT_TABLES:
                    self._entries.clear()
                self._entries[which] = found
                return found
        raise CorruptMetadataError(
            f"{self._name}: a table of chunks in segment {table.segment + 1} is damaged",
            container=self._name,
            offset=table.section.start,
        )

    def close(self) -> None:
        """Close all segments."""
        for segment in self._segments:
            segment.close()


def _inflated(raw: bytes, length: int) -> bytes | None:
    """Unpack a chunk; the stream carries a check sum of its own."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(raw, length + 1)
    except zlib.error:
        return None
    return data if len(data) == length and stream.eof else None


def _summed(raw: bytes, length: int) -> bytes | None:
    data, crc = raw[:length], raw[length : length + 4]
    return data if struct.pack("<I", zlib.adler32(data)) == crc else None


def _entries(segment: ByteSource, section: _Section, *, summed: bool) -> tuple[int, bytes] | None:
    """Return base offset and entries of a table, or ``None`` if its check sums are wrong."""
    count = _table_count(segment, section)
    if count is None:
        return None
    head = segment.read(section.data, _TABLE.size)
    base = _TABLE.unpack(head)[1]
    start = section.data + _TABLE.size
    entries = segment.read(start, count * 4)
    if summed and start + len(entries) + 4 <= section.end:
        crc = int.from_bytes(segment.read(start + len(entries), 4), "little")
        if crc != zlib.adler32(entries):
            return None
    return base, entries


def _table_count(segment: ByteSource, section: _Section) -> int | None:
    """Return the number of entries of a table, or ``None`` if its header is damaged."""
    if section.data + _TABLE.size > section.end:
        return None
    head = segment.read(section.data, _TABLE.size)
    count, _, crc = _TABLE.unpack(head)
    fits = section.data + _TABLE.size + count * 4 <= section.end
    if crc != zlib.adler32(head[:-4]) or not fits or not 0 < count <= _MOST_ENTRIES:
        return None
    return int(count)


def open_ewf(path: Path, file: ByteSource) -> tuple[ByteSource, tuple[Path, ...]]:
    """Open an EWF image and its further segments, which lie beside it.

    Args:
        path: The first segment.
        file: Its bytes; closed with the result, but not if the call fails.

    Returns:
        The disk, and the paths of the further segments.

    Raises:
        ContainerNotFoundError: A segment is missing, or ``path`` is not the first one.
        CorruptMetadataError: A segment contradicts itself or the others.
        UnsupportedFormatError: It is an image of the second version (Ex01).
        StoreReadError: A segment cannot be read.
    """
    name = str(path)
    scan = _Scan()
    segments = [file]
    paths = [path]
    with ExitStack() as opened:
        while not _scan_segment(scan, segments[-1], len(segments), paths[-1]):
            if len(segments) == _MOST_SEGMENTS:
                raise CorruptMetadataError(f"{name} has too many segments", container=name)
            paths.append(_next_path(path, len(segments) + 1))
            extra = FileSource(paths[-1])
            opened.callback(extra.close)
            segments.append(extra)
        volume = scan.volume
        if volume is None or scan.chunks * volume.chunk < volume.size:
            raise CorruptMetadataError(
                f"{name} does not have all chunks of its disk", container=name
            )
        opened.pop_all()
    return _EwfSource(segments, scan, volume, name=name), tuple(paths[1:])


def _next_path(path: Path, number: int) -> Path:
    """Return the path of a segment: E01 to E99, then EAA, EAB … EZZ, FAA …."""
    last = path.suffix
    if len(last) != len(".E01"):
        raise ContainerNotFoundError(
            f"{path} has more segments, but its name does not say what they are called",
            container=str(path),
        )
    if number <= _NUMBERED:
        suffix = f"{last[:2]}{number:02}"
    else:
        first, rest = divmod(number - _NUMBERED - 1, 26 * 26)
        base = "A" if last[1].isupper() else "a"
        suffix = f".{chr(ord(last[1]) + first)}"
        suffix += "".join(chr(ord(base) + letter) for letter in divmod(rest, 26))
    found = path.with_suffix(suffix)
    if not found.exists():
        raise ContainerNotFoundError(f"segment {found} is missing", container=str(path))
    return found


def _scan_segment(scan: _Scan, segment: ByteSource, number: int, path: Path) -> bool:
    """Note the sections of one segment; tell whether it is the last one.

    Raises:
        ContainerNotFoundError: It is another segment than it should be.
        CorruptMetadataError: It is damaged or cut off.
        UnsupportedFormatError: It is of the second version.
    """
    head = segment.read(0, min(_HEAD.size, segment.size))
    if head.startswith(SIGNATURE_2):
        raise UnsupportedFormatError(
            f"{path} is an EWF image of version 2 (Ex01); only version 1 (E01) is read",
            container=str(path),
        )
    if len(head) < _HEAD.size or not head.startswith(SIGNATURE):
        raise _broken(path, 0)
    found = _HEAD.unpack(head)[2]
    if found != number:
        raise ContainerNotFoundError(
            f"{path} is segment {found} of an image, not {number}"
            + ("; name the first one" if number == 1 else ""),
            container=str(path),
        )
    scan.sectors = None
    for section in _sections(segment, path):
        if section.kind in _VOLUMES:
            _note_volume(scan, segment, section, path)
        elif section.kind == b"sectors":
            scan.sectors = section
        elif section.kind in _TABLES:
            _note_table(scan, segment, section, number - 1, path)
        elif section.kind == b"done":
            return True
    return False


def _sections(segment: ByteSource, path: Path) -> Iterator[_Section]:
    """Give all sections; ends after "next" or "done", of which one must come."""
    start = _HEAD.size
    for _ in range(_MOST_SECTIONS):
        if start + _SECTION.size > segment.size:
            break
        raw = segment.read(start, _SECTION.size)
        text, following, _, _, crc = _SECTION.unpack(raw)
        if crc != zlib.adler32(raw[:_SUMMED]):
            break
        kind = text.rstrip(b"\0")
        last = kind in {b"next", b"done"}
        end = start + _SECTION.size if last else following
        if not start + _SECTION.size <= end <= segment.size:
            break
        yield _Section(kind=kind, start=start, end=end)
        if last:
            return
        start = following
    raise _broken(path, start)


def _broken(path: Path, offset: int) -> CorruptMetadataError:
    return CorruptMetadataError(f"{path} is damaged or cut off", container=str(path), offset=offset)


def _note_volume(scan: _Scan, segment: ByteSource, section: _Section, path: Path) -> None:
    length = min(section.end - section.data, _VOLUME_SIZE)
    data = segment.read(section.data, length)
    if length not in {_VOLUME_SIZE, _OLD_VOLUME_SIZE} or zlib.adler32(data[:-4]) != int.from_bytes(
        data[-4:], "little"
    ):
        raise _broken(path, section.start)
    old = length == _OLD_VOLUME_SIZE
    _, per_chunk, sector, sectors = (_OLD_VOLUME if old else _VOLUME).unpack_from(data)
    volume = _Volume(
        size=sectors * sector,
        chunk=per_chunk * sector,
        set_id=bytes(16) if old else data[_SET_ID],
    )
    if not 0 < volume.chunk <= _LARGEST_CHUNK or not 0 <= volume.size <= MAX_OFFSET:
        raise _broken(path, section.start)
    if scan.volume is None:
        scan.volume = volume
    elif volume.set_id != scan.volume.set_id:
        raise CorruptMetadataError(
            f"{path} is a segment of another image", container=str(path), offset=section.start
        )


def _note_table(
    scan: _Scan, segment: ByteSource, section: _Section, number: int, path: Path
) -> None:
    count = _table_count(segment, section)
    if section.kind == b"table2" and scan.tables and scan.tables[-1].spare is None:
        table = scan.tables[-1]
        if table.segment == number and table.section.end == section.start:
            if table.count == 0 and count is not None:
                scan.chunks += count
                table = attrs.evolve(table, count=count)
            scan.tables[-1] = attrs.evolve(table, spare=section)
            return
    if count is None and section.kind == b"table2":
        raise _broken(path, section.start)
    scan.tables.append(
        _Table(
            first=scan.chunks,
            count=count or 0,
            segment=number,
            section=section,
            spare=None,
            end=section.end if scan.sectors is None else scan.sectors.end,
            mixed=scan.sectors is None,
        )
    )
    scan.chunks += count or 0
