"""Walking a container record by record, without doing I/O: what verification reads a store with.

The walk says which bytes it needs next (:meth:`RecordWalk.request`) and is given them
(:meth:`RecordWalk.feed`). It holds one block and one record, whatever the size of the container:
paddings are checked as they come, and no record is held that no reader would accept.
"""

from typing import Final

import attrs
import numpy as np

from rehydrate.errors import FormatError
from rehydrate.formats.windows.layout import (
    KIND_PADDING,
    RECORD_HEAD_SIZE,
    RECORD_MAGIC,
    STREAM_HEADER_SIZE,
    align,
    crc64,
)
from rehydrate.formats.windows.record import RecordHeader, parse_header

__all__ = ["BLOCK", "MAX_PAYLOAD", "FoundRecord", "RecordWalk", "WalkFault", "said"]

BLOCK: Final = 4 << 20
"""Bytes that the walk asks for at once."""
MAX_PAYLOAD: Final = 64 << 20
"""Largest payload that is held: the largest stream map that a restore accepts."""

_WORD: Final = np.dtype("<u8")
_MAGIC_WORD: Final = np.uint64(int.from_bytes(RECORD_MAGIC, "little"))
_MAGIC_BITS: Final = np.uint64(0xFFFFFFFF)
_SMALLEST_HEADER: Final = RECORD_HEAD_SIZE + 16
_LARGEST_HEADER: Final = 0x200
"""Largest header that is believed where a record was not expected."""
_EXTENSION: Final = slice(0x12, 0x14)
_NOTHING: Final = crc64(b"")
"""CRC-64 of nothing, and so of any run of zeros: the register starts from 0 (R19)."""


@attrs.frozen(eq=False)
class FoundRecord:
    """A record whose header is whole.

    Attributes:
        offset: First byte in the container.
        header: Its header.
        body: The whole record; the header alone of a padding, or where payloads were not asked for.
    """

    offset: int
    header: RecordHeader
    body: memoryview


@attrs.frozen(kw_only=True)
class WalkFault:
    """Something that is not as it must be.

    Attributes:
        check: Stable name of the check that failed, such as ``"record.header-crc"``.
        offset: First byte concerned, in the container.
        length: Bytes concerned; of a damaged header all up to the next record that was found.
        local_id: Number of the record; 0 = not known, or none.
        expected: What had to be there.
        found: What was there.
    """

    check: str
    offset: int
    length: int
    local_id: int = 0
    expected: str
    found: str


def said(error: FormatError) -> tuple[str, str]:
    """Return what an error expected, and what it found.

    Errors of the format that compare two values say ``...: expected A, found B``; of another one,
    all of its message is what was found.

    Args:
        error: The error.
    """
    _, mark, rest = error.message.partition(": expected ")
    expected, _, found = rest.partition(", found ")
    return (expected, found) if mark else ("", error.message)


class RecordWalk:
    """Walks the records of one container from front to back.

    The next record begins at the next multiple of 8 behind the one before (R19). Behind a damaged
    header the walk goes on at the next aligned place with the magic and the checksum of a record;
    if a payload that lies there holds a whole record itself, it is taken for one.

    ::

        while (asked := walk.request()) is not None:
            for event in walk.feed(read(*asked)): ...
    """

    def __init__(
        self,
        start: int,
        end: int,
        *,
        sure: int | None = None,
        payloads: bool = True,
        searching: bool = False,
    ) -> None:
        """Begin a walk.

        Args:
            start: First byte of the first record.
            end: End of the bytes to walk: valid data length, or less in a container cut off.
            sure: Where records may end: from there on the first thing that is no record ends the
                walk, and is no fault; ``None`` = ``end``. For containers whose newest header is
                damaged, as the older one says less than there is.
            payloads: Whether payloads are wanted, too.
            searching: Whether the place of the first record is not known: it is searched for.
        """
        self._at = self._base = align(start)
        self._end = end
        self._sure = end if sure is None else sure
        self._payloads = payloads
        self._searching = searching
        self._lost: WalkFault | None = None
        self._zeros = 0
        self._data = b""
        self._need = STREAM_HEADER_SIZE
        self._asked = 0

    def request(self) -> tuple[int, int] | None:
        """Return offset and size of the bytes to feed next; ``None`` = the walk is over."""
        have = len(self._data)
        offset = self._at + have
        if offset >= self._end:
            return None
        small = not (self._payloads or self._searching or self._zeros)
        size = max(self._need - have, 0 if small else BLOCK)
        self._asked = min(size, self._end - offset)
        return offset, self._asked

    def feed(self, block: bytes) -> list[FoundRecord | WalkFault]:
        """Take the bytes that were asked for; fewer mean that the container ends there.

        Args:
            block: The bytes.

        Returns:
            What they complete, in order; bodies share memory with ``block``.
        """
        self._data = self._data + block if self._data else block
        self._base = self._at
        if len(block) < self._asked:
            self._end = self._at + len(self._data)
        self._need = STREAM_HEADER_SIZE
        events: list[FoundRecord | WalkFault] = []
        while self._at < self._end and self._step(events):
            pass
        if self._lost is not None and self._at >= self._end:
            self._tell_lost(self._lost, events)
        self._data = self._data[self._at - self._base :]
        return events

    def _step(self, events: list[FoundRecord | WalkFault]) -> bool:
        """Go one record further; False = more bytes are needed, or there are none."""
        if self._zeros:
            return self._skip_zeros(events)
        if self._searching:
            return self._search(events)
        return self._take(events)

    def _window(self, size: int) -> memoryview | None:
        """Return the next ``size`` bytes, fewer at the end; ``None`` = they have to be asked for."""
        begin = self._at - self._base
        have = len(self._data) - begin
        if have < size and self._base + len(self._data) < self._end:
            self._need = size
            return None
        return memoryview(self._data)[max(begin, 0) : begin + size]

    def _head(self) -> memoryview | None:
        """Return the header at the place, as long as it says that it is; ``None`` as above."""
        head = self._window(_SMALLEST_HEADER)
        if head is None or bytes(head[: len(RECORD_MAGIC)]) != RECORD_MAGIC:
            return head
        return self._window(_SMALLEST_HEADER + int.from_bytes(head[_EXTENSION], "little"))

    def _take(self, events: list[FoundRecord | WalkFault]) -> bool:
        """Take the record that has to be here."""
        head = self._head()
        if head is None:
            return False
        try:
            header = parse_header(head)
        except FormatError as error:
            if len(head) < _SMALLEST_HEADER and not any(head):
                self._at = self._end  # no record fits here
                return False
            expected, found = said(error)
            return self._lose(error.code, expected, found, skip=8)
        end = self._at + header.size
        if end > self._end:
            return self._lose(
                "record.truncated",
                f"a record up to {end}",
                f"the end of the data at {self._end}",
                skip=align(header.header_size),
                local_id=header.local_id,
            )
        return self._record(header, head, events)

    def _lose(self, check: str, expected: str, found: str, *, skip: int, local_id: int = 0) -> bool:
        """Note that there is no whole record, and search for the next one."""
        if self._at >= self._sure:
            self._end = self._at
            return False
        self._lost = WalkFault(
            check=check,
            offset=self._at,
            length=0,
            local_id=local_id,
            expected=expected,
            found=found,
        )
        self._searching = True
        self._at += skip
        return True

    def _tell_lost(self, fault: WalkFault, events: list[FoundRecord | WalkFault]) -> None:
        """Tell what was damaged, now that it is known how far."""
        length = min(self._at, self._end) - fault.offset
        events.append(attrs.evolve(fault, length=length))
        self._lost = None

    def _record(
        self, header: RecordHeader, head: memoryview, events: list[FoundRecord | WalkFault]
    ) -> bool:
        """Take a record with a whole header that lies within the data."""
        at, size = self._at, header.size
        if header.kind == KIND_PADDING:
            events.append(FoundRecord(at, header, head))
            if header.payload_crc != _NOTHING:
                events.append(_wrong_padding(at, header))
            self._zeros = header.stored_size if self._payloads else 0
            self._at = at + header.header_size if self._zeros else align(at + size)
            return True
        if header.stored_size > MAX_PAYLOAD:
            events.append(_too_large(at, header))
        elif not self._payloads:
            events.append(FoundRecord(at, header, head))
        else:
            body = self._window(align(size))
            if body is None:
                return False
            events.append(FoundRecord(at, header, body[:size]))
            if any(body[size:]):
                events.append(_wrong_gap(at, header, bytes(body[size:])))
        self._at = align(at + size)
        return True

    def _skip_zeros(self, events: list[FoundRecord | WalkFault]) -> bool:
        """Check the payload of a padding as far as it is there."""
        view = memoryview(self._data)[self._at - self._base :][: self._zeros]
        if not view:
            return False
        piece = np.frombuffer(view, np.uint8)
        if piece.any():
            wrong = np.flatnonzero(piece)
            place, last = int(wrong[0]), int(wrong[-1])
            events.append(
                WalkFault(
                    check="padding.zeros",
                    offset=self._at + place,
                    length=last - place + 1,
                    expected="zeros",
                    found=f"0x{int(piece[place]):02X}",
                )
            )
        self._zeros -= len(piece)
        self._at += len(piece)
        if not self._zeros:
            self._at = align(self._at)
        return True

    def _search(self, events: list[FoundRecord | WalkFault]) -> bool:
        """Search for the next record."""
        start = self._at
        view = memoryview(self._data)[start - self._base :]
        words = np.frombuffer(view[: len(view) // 8 * 8], _WORD)
        for place in np.flatnonzero((words & _MAGIC_BITS) == _MAGIC_WORD).tolist():
            self._at = start + 8 * place
            head = self._head()
            if head is None:
                return False
            if self._is_header(head):
                self._searching = False
                if self._lost is not None:
                    self._tell_lost(self._lost, events)
                return True
        self._at = start + 8 * len(words)
        if self._base + len(self._data) >= self._end:
            self._at = self._end
        return False

    @staticmethod
    def _is_header(head: memoryview) -> bool:
        if len(head) > _LARGEST_HEADER:
            return False
        try:
            parse_header(head)
        except FormatError:
            return False
        return True


def _wrong_padding(at: int, header: RecordHeader) -> WalkFault:
    return WalkFault(
        check="record.payload-crc",
        offset=at,
        length=header.size,
        expected=f"0x{_NOTHING:016X}",
        found=f"0x{header.payload_crc:016X}",
    )


def _too_large(at: int, header: RecordHeader) -> WalkFault:
    return WalkFault(
        check="record.too-large",
        offset=at,
        length=header.size,
        local_id=header.local_id,
        expected=f"at most {MAX_PAYLOAD} bytes",
        found=str(header.stored_size),
    )


def _wrong_gap(at: int, header: RecordHeader, gap: bytes) -> WalkFault:
    return WalkFault(
        check="record.gap",
        offset=at + header.size,
        length=len(gap),
        local_id=header.local_id,
        expected="00" * len(gap),
        found=gap.hex(),
    )
