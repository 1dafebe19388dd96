"""The log of a VHDX file: writes that a crash kept from their places, replayed in memory.

A file that was not closed in order (a host that lost power, a copy of a running machine) has a log
that must be replayed before anything else is read: without it tables are stale and wrong bytes come
back without an error. The file itself is never written to; the log's pages lie over it.

Source of all facts: Microsoft, "[MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format", section 2.3.
"""

import struct
from collections.abc import Iterator
from typing import Final

import anycrc
import attrs

from rehydrate.errors import CorruptMetadataError
from rehydrate.stores.images.bytesource import PAGE, ByteSource, OverlaySource
from rehydrate.values import MAX_OFFSET

__all__ = ["checked", "replayed"]

_LARGEST_LOG: Final = 64 << 20
"""Largest log that is read; the ones that Windows makes have 1 MiB."""
_OVERLAPS: Final = 4
"""How often the bytes of a log may be summed up: old and new entries may overlap, within reason."""
_ENTRY: Final = struct.Struct("<4sIIIQII16sQQ")  # 2.3.1.1 Entry Header
_DESCRIPTOR: Final = struct.Struct("<4s4s8sQQ")  # 2.3.1.2 and 2.3.1.3
_CRC32C: Final = anycrc.Model("CRC32-ISCSI")


def checked(block: bytes) -> bool:
    """Tell whether the CRC-32C at byte 4, taken over the block with zeros there, is right.

    Args:
        block: A header, a region table or a log entry, in full.
    """
    return _CRC32C.calc(block[:4] + bytes(4) + block[8:]) == int.from_bytes(block[4:8], "little")


@attrs.frozen
class _Entry:
    """One valid entry; positions are bytes from the start of the log."""

    start: int
    tail: int
    sequence: int
    descriptors: int
    flushed: int
    last: int
    block: bytes


def replayed(source: ByteSource, start: int, size: int, log_id: bytes, *, name: str) -> ByteSource:
    """Return the file as it is after its log was replayed.

    Args:
        source: The file.
        start: Where the log starts, from the current header.
        size: Size of the log in bytes.
        log_id: Identity of the log, from the current header; all zeros mean that it is empty.
        name: The file, for messages.

    Raises:
        CorruptMetadataError: There should be a log but no valid entries are in it, or an entry
            contradicts itself, or the file is shorter than the log says.
        StoreReadError: The file cannot be read.
    """
    if not any(log_id):
        return source
    if not 0 < size <= _LARGEST_LOG or size % PAGE or start + size > source.size:
        raise CorruptMetadataError(
            f"{name} says that its log is at {start}, {size} bytes, which cannot be",
            container=name,
            offset=start,
            length=size,
        )
    sequence = _active(source.read(start, size), log_id)
    if not sequence:
        raise CorruptMetadataError(
            f"{name} was not closed in order and its log has no valid entries",
            container=name,
            offset=start,
            length=size,
        )
    head = sequence[-1]
    if source.size < head.flushed or not source.size <= max(head.last, source.size) <= MAX_OFFSET:
        raise CorruptMetadataError(
            f"{name} has {source.size} bytes, but its log was written when it had {head.flushed}",
            container=name,
        )
    overlay = OverlaySource(source, max(source.size, head.last), name=name)
    for entry in sequence:
        _apply(overlay, entry, name)
    return overlay


def _active(log: bytes, log_id: bytes) -> list[_Entry]:
    """Return the entries to replay, oldest first: the run with the highest sequence number.

    A run consists of entries one after the other with consecutive numbers; it counts if the tail
    that its last entry names is one of its entries (2.3.3).
    """
    entries: list[_Entry] = []
    budget = len(log) * _OVERLAPS
    for start in range(0, len(log), PAGE):
        entry = _entry(log, start, log_id, budget)
        if entry is not None:
            budget -= len(entry.block)
            entries.append(entry)
    before = {((e.start + len(e.block)) % len(log), e.sequence + 1): e for e in entries}
    for head in sorted(entries, key=lambda entry: entry.sequence, reverse=True):
        run = [head]
        while run[-1].start != head.tail:
            previous = before.get((run[-1].start, run[-1].sequence))
            if previous is None:
                break
            run.append(previous)
        else:
            return run[::-1]
    return []


def _entry(log: bytes, start: int, log_id: bytes, budget: int) -> _Entry | None:
    signature, _, size, tail, sequence, count, _, owner, flushed, last = _ENTRY.unpack_from(
        log, start
    )
    if signature != b"loge" or owner != log_id or not sequence:
        return None
    if size % PAGE or not 0 < size <= min(len(log), budget) or tail % PAGE or tail >= len(log):
        return None
    if _ENTRY.size + count * _DESCRIPTOR.size > size:
        return None
    block = log[start : start + size]
    block += log[: size - len(block)]
    if not checked(block):
        return None
    return _Entry(start, tail, sequence, count, flushed, last, block)


def _apply(overlay: OverlaySource, entry: _Entry, name: str) -> None:
    head = _ENTRY.size + entry.descriptors * _DESCRIPTOR.size
    place = -(-head // PAGE) * PAGE
    for signature, trailing, leading, offset, sequence in _descriptors(entry):
        if offset % PAGE or sequence != entry.sequence:
            raise _contradiction(name, entry)
        if signature == b"zero":
            size = int.from_bytes(leading, "little")
            if size % PAGE or offset + size > overlay.size:
                raise _contradiction(name, entry)
            overlay.clear(offset, size)
            continue
        page = entry.block[place : place + PAGE]
        place += PAGE
        if signature != b"desc" or len(page) != PAGE or offset + PAGE > overlay.size:
            raise _contradiction(name, entry)
        number = page[4:8] + page[-4:]  # high half first, each half little-endian
        if page[:4] != b"data" or number != struct.pack("<II", *divmod(entry.sequence, 1 << 32)):
            raise _contradiction(name, entry)
        overlay.put(offset, leading + page[8:-4] + trailing)


def _descriptors(entry: _Entry) -> Iterator[tuple[bytes, bytes, bytes, int, int]]:
    for index in range(entry.descriptors):
        yield _DESCRIPTOR.unpack_from(entry.block, _ENTRY.size + index * _DESCRIPTOR.size)


def _contradiction(name: str, entry: _Entry) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"{name}: entry {entry.sequence} of its log contradicts itself", container=name
    )
