"""Writes shadow copies into the image of a volume, as the Windows provider lays them out.

The layout is that of the libvshadow documentation ("Volume Shadow Snapshot (VSS) format"): a header
at 0x1e00, a catalogue, and for each snapshot a header, lists of blocks and the older blocks
themselves. Bitmaps and range lists are left out: a reader needs neither to find the older bytes.
"""

import struct
import uuid
from collections.abc import Sequence
from typing import Final

import attrs

BLOCK: Final = 0x4000
HEADER: Final = 0x1E00
FILETIME_OF_1970: Final = 116_444_736_000_000_000

_PROVIDER: Final = uuid.UUID("3808876b-c176-4e48-b7ae-04046e6cc752").bytes_le
_SYSTEM_PROVIDER: Final = 1
_PER_LIST: Final = (BLOCK - 128) // 32


@attrs.frozen(kw_only=True)
class Snapshot:
    """One shadow copy to write.

    Attributes:
        volume: The whole volume as it was.
        created: FILETIME.
        identifier: Shadow copy ID.
        set_identifier: ID of its set.
        elsewhere: Its data would be on another volume: only the catalogue names it.
    """

    volume: bytes
    created: int
    identifier: uuid.UUID
    set_identifier: uuid.UUID
    elsewhere: bool = False


class _Area:
    """Hands out blocks of the part of the volume that no file uses."""

    def __init__(self, volume: bytearray, start: int) -> None:
        if start % BLOCK:
            raise ValueError("blocks are aligned")
        self._volume = volume
        self._next = start

    def take(self) -> int:
        place, self._next = self._next, self._next + BLOCK
        if self._next > len(self._volume):
            raise ValueError("the volume has no room for its snapshots")
        return place

    def put(self, place: int, data: bytes) -> None:
        self._volume[place : place + BLOCK] = data.ljust(BLOCK, b"\0")


def with_snapshots(current: bytes, snapshots: Sequence[Snapshot], *, area: int) -> bytes:
    """Return the volume with shadow copies inside.

    Args:
        current: The volume as it is now.
        snapshots: How it was, the oldest first.
        area: First byte of a range, up to the end of the volume less one sector, that no state of
            the volume uses; a multiple of :data:`BLOCK`. Inside it the snapshots show what they
            need for themselves.
    """
    volume = bytearray(current)
    free = _Area(volume, area)
    catalogue = free.take()
    entries = b""
    newer = [*(snapshot.volume for snapshot in snapshots[1:]), current]
    for index, (snapshot, after) in enumerate(zip(snapshots, newer, strict=True)):
        store = uuid.uuid5(uuid.NAMESPACE_OID, str(index)).bytes_le
        entries += struct.pack(
            "<QQ16sQQQ72x", 2, len(current), store, index + 1, 0x40, snapshot.created
        )
        if snapshot.elsewhere:
            continue
        header, first_list = _write_store(free, snapshot, after, area)
        entries += struct.pack(
            "<QQ16sQQQQQQQ40x", 3, first_list, store, header, 0, 0, 0, BLOCK, 0, index
        )
    if len(entries) > BLOCK - 128:
        raise ValueError("too many snapshots for one block of the catalogue")
    free.put(catalogue, _block_head(2, catalogue) + entries)
    volume[HEADER : HEADER + 512] = struct.pack(
        "<16sIIQQQQQ16s16sI412x", _PROVIDER, 1, 1, HEADER, 0, 0, catalogue, 0, bytes(16),
        bytes(16), 0,
    )  # fmt: skip
    return bytes(volume)


def _write_store(free: _Area, snapshot: Snapshot, after: bytes, area: int) -> tuple[int, int]:
    header = free.take()
    name = "FILESERVER".encode("utf-16-le")
    free.put(
        header,
        _block_head(4, header)
        + struct.pack(
            "<16s16s16sIIII",
            bytes(16),
            snapshot.identifier.bytes_le,
            snapshot.set_identifier.bytes_le,
            0xD,
            _SYSTEM_PROVIDER,
            0x0042_0009,
            0,
        )
        + (struct.pack("<H", len(name)) + name) * 2,
    )
    changed = [
        place
        for place in range(0, area, BLOCK)
        if snapshot.volume[place : place + BLOCK] != after[place : place + BLOCK]
    ]
    lists = [changed[at : at + _PER_LIST] for at in range(0, len(changed), _PER_LIST)] or [[]]
    places = [free.take() for _ in lists]
    for number, (place, blocks) in enumerate(zip(places, lists, strict=True)):
        following = places[number + 1] if number + 1 < len(places) else 0
        rows = b""
        for original in blocks:
            kept = free.take()
            free.put(kept, snapshot.volume[original : original + BLOCK])
            rows += struct.pack("<QQQII", original, kept - header, kept, 0, 0)
        free.put(place, _block_head(3, place, relative=place - header, following=following) + rows)
    return header, places[0]


def _block_head(kind: int, place: int, *, relative: int = 0, following: int = 0) -> bytes:
    return struct.pack("<16sIIQQQ80x", _PROVIDER, 1, kind, relative, place, following)
