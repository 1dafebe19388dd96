"""Reads ranges of extents from the volume in a drive, always forward.

Where a byte lies inside an extent is only known by reading from its beginning, as blocks may be
short; so a read goes on from where the last one ended. The record in hand is kept: extents that
share a block cost no way back.
"""

from typing import Final

import attrs

from rehydrate.errors import StoreReadError
from rehydrate.stores.ltfs.volume import LtfsVolume, TapeExtent
from rehydrate.stores.tape.drive import END_OF_DATA, TapePosition
from rehydrate.stores.tape.stream import Lost, RecordStream

__all__ = ["ExtentReader"]

_BEYOND: Final = "ltfs.extent"


@attrs.define
class _Cursor:
    """The record in hand. Raw bytes are counted from the beginning of block ``start``."""

    partition: int
    start: int
    block: int
    base: int  # raw offset of the record
    size: int  # its length; a lost one is taken as full, and digests tell if it was not
    data: bytes | Lost
    guessed: bool = False  # ``base`` was computed, not counted

    @property
    def end(self) -> int:
        return self.base + self.size


class ExtentReader:
    """Reads from one mounted volume; used by one thread."""

    def __init__(self, volume: LtfsVolume, stream: RecordStream) -> None:
        """Bind.

        Args:
            volume: The volume.
            stream: Records of the drive that holds it.
        """
        self._volume, self._stream = volume, stream
        self._block_size = volume.label.block_size
        self._cursor: _Cursor | None = None
        self._uneven: set[tuple[int, int]] = set()
        self._reached: dict[tuple[int, int], int] = {}

    def announce(self, extent: TapeExtent, first: int, end: int) -> None:
        """Go to a range and read ahead to its end.

        Args:
            extent: The extent.
            first: First byte in it.
            end: First byte behind the range.

        Raises:
            StoreError: The drive cannot go there.
        """
        self._go(extent, extent.skip + first, extent.skip + end)

    def read(self, extent: TapeExtent, first: int, size: int) -> bytes:
        """Return bytes of an extent.

        Args:
            extent: The extent.
            first: First byte in it.
            size: Number of bytes, all inside it.

        Raises:
            StoreError: A record was lost, or the extent is not on the volume.
        """
        raw, end = extent.skip + first, extent.skip + first + size
        cursor = self._go(extent, raw, end)
        pieces = []
        while raw < end:
            cursor = self._forward(extent, cursor, raw)
            if isinstance(cursor.data, Lost):
                raise cursor.data.error
            piece = cursor.data[raw - cursor.base : end - cursor.base]
            pieces.append(piece)
            raw += len(piece)
        if cursor.guessed:
            self._reached[extent.partition, extent.block] = end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Stop reading ahead and close the drive."""
        self._cursor = None
        self._stream.close()

    def _go(self, extent: TapeExtent, raw: int, end: int) -> _Cursor:
        """Make sure that reading on reaches the raw offset, with a locate only where one must be."""
        if raw < self._reached.get((extent.partition, extent.block), 0):
            self._uneven.add(
                (extent.partition, extent.block)
            )  # asked again: it may have been wrong
        known, at = self._in_hand(extent, raw), self._entry(extent, raw)
        if known is not None and at - known.end <= self._volume.read_through:
            if end > known.end:
                self._stream.begin(known.partition, known.block + 1, end - known.end)
            self._cursor = known
            return known
        number = at // self._block_size
        block, base = extent.block + number, number * self._block_size
        self._cursor = None
        self._approach(TapePosition(extent.partition, block), end - base)
        self._cursor = _Cursor(
            extent.partition, extent.block, block - 1, base, 0, b"", guessed=number > 0
        )
        return self._cursor

    def _in_hand(self, extent: TapeExtent, raw: int) -> _Cursor | None:
        """Return the cursor in terms of the extent, if reading on from it leads to the offset."""
        cursor = self._cursor
        if cursor is None or cursor.partition != extent.partition:
            return None
        if cursor.start == extent.block:
            doubtful = cursor.guessed and self._is_uneven(extent)
            return None if doubtful or cursor.base > raw else cursor
        if cursor.block == extent.block and cursor.size:
            return attrs.evolve(cursor, start=extent.block, base=0, guessed=False)
        return None

    def _is_uneven(self, extent: TapeExtent) -> bool:
        return (extent.partition, extent.block) in self._uneven

    def _entry(self, extent: TapeExtent, raw: int) -> int:
        """Return the raw offset where reading may begin: that of the extent, unless all is even."""
        return raw if self._volume.full_blocks and not self._is_uneven(extent) else 0

    def _approach(self, target: TapePosition, wanted: int) -> None:
        """Stand before a block: read through what lies before it if that is little."""
        here = self._stream.next_block
        if here is not None and here.partition == target.partition:
            between = target.block - here.block
            if 0 < between <= self._volume.read_through // self._block_size:
                self._stream.skip_to(target.block, wanted)
                return
        self._stream.begin(target.partition, target.block, wanted)

    def _forward(self, extent: TapeExtent, cursor: _Cursor, raw: int) -> _Cursor:
        """Take records until one holds the raw offset."""
        while cursor.end <= raw:
            self._note_uneven(extent, cursor)
            block, found = self._stream.take()
            if found is None or (isinstance(found, Lost) and found.error.code == END_OF_DATA):
                raise self._beyond(f"block {block} is not written, or a filemark")
            if isinstance(found, bytes) and not 0 < len(found) <= self._block_size:
                raise self._beyond(f"block {block} has {len(found)} bytes")
            size = len(found) if isinstance(found, bytes) else self._block_size
            cursor = attrs.evolve(cursor, block=block, base=cursor.end, size=size, data=found)
            self._cursor = cursor
        return cursor

    def _note_uneven(self, extent: TapeExtent, cursor: _Cursor) -> None:
        if 0 < cursor.size < self._block_size:
            self._uneven.add((extent.partition, extent.block))

    def _beyond(self, problem: str) -> StoreReadError:
        return StoreReadError(
            f"the volume {self._volume.name} does not hold what its index says: {problem}",
            code=_BEYOND,
            retryable=False,
        )
