"""Sorts the references of each container by offset, in place, with packed keys.

A vectorised sort of plain 64-bit integers is several times faster than any sort that also moves an
index. So the offset and the position of the reference in its container are packed into one
integer. Offsets that leave too few bits are sorted in two steps, low part first.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Ints
from rehydrate.plan.columns import Scratch, blocks

__all__ = ["Words", "sort_places"]

Words = npt.NDArray[np.uint64]
RowNumbers = npt.NDArray[np.uint32] | npt.NDArray[np.int64]

KEY_BITS: Final = 64


def sort_places(
    places: Words,
    rows: RowNumbers,
    ptr: Ints,
    out: RowNumbers,
    *,
    scratch: Scratch,
    block: int,
) -> None:
    """Sort references by place within each container.

    Args:
        places: Offsets, those of a container side by side; used as working memory.
        rows: The row of each reference.
        ptr: Where each container's references begin, shape ``(containers + 1,)``.
        out: Receives the rows: by offset in each container, in the order of ``rows`` where offsets
            are equal.
        scratch: Where long working columns live.
        block: References handled at a time where a copy is needed.
    """
    first = 0
    while first < len(ptr) - 1:
        # Containers with few references are sorted together, up to a block of them.
        room = int(np.searchsorted(ptr, ptr[first] + block, side="right")) - 1
        last = max(first + 1, room)
        _sort_batch(places, rows, ptr[first : last + 1], out, scratch=scratch, block=block)
        first = last


def _sort_batch(
    places: Words, rows: RowNumbers, ptr: Ints, out: RowNumbers, *, scratch: Scratch, block: int
) -> None:
    begin, end = int(ptr[0]), int(ptr[-1])
    key, batch, result = places[begin:end], rows[begin:end], out[begin:end]
    key -= key.min()
    spread = int(np.bitwise_or.reduce(key))
    alignment = (spread & -spread).bit_length() - 1 if spread else 0
    key >>= np.uint64(alignment)
    place_bits = (spread >> alignment).bit_length()
    seat_bits = (len(key) - 1).bit_length()
    group_bits = (len(ptr) - 2).bit_length()
    if place_bits + seat_bits + group_bits <= KEY_BITS:
        if group_bits:
            groups = np.arange(len(ptr) - 1, dtype=np.uint64) << np.uint64(place_bits)
            key |= np.repeat(groups, np.diff(ptr))
        _pack(key, key, seat_bits, block)
        key.sort()
        for first, stop in blocks(len(key), block):
            result[first:stop] = batch[_seats(key[first:stop], seat_bits)]
    elif group_bits:
        for one in range(len(ptr) - 1):
            _sort_batch(places, rows, ptr[one : one + 2], out, scratch=scratch, block=block)
    else:
        _sort_wide(key, batch, result, scratch=scratch, block=block)


def _sort_wide(
    place: Words, rows: RowNumbers, out: RowNumbers, *, scratch: Scratch, block: int
) -> None:
    """Sort by the bits that fit beside a seat, then, keeping that order, by the bits above."""
    seat_bits = (len(place) - 1).bit_length()
    low_bits = KEY_BITS - seat_bits
    low = scratch.array(np.uint64, len(place))
    _pack(place, low, seat_bits, block)
    low.sort()
    high = scratch.array(np.uint64, len(place))
    for first, stop in blocks(len(place), block):
        high[first:stop] = place[_seats(low[first:stop], seat_bits)] >> np.uint64(low_bits)
    _pack(high, high, seat_bits, block)
    high.sort()
    for first, stop in blocks(len(place), block):
        ranks = _seats(high[first:stop], seat_bits)
        out[first:stop] = rows[_seats(low[ranks], seat_bits)]


def _pack(place: Words, key: Words, seat_bits: int, block: int) -> None:
    """Put the place above the number of the seat; bits that do not fit are lost."""
    for first, stop in blocks(len(place), block):
        seats = np.arange(first, stop, dtype=np.uint64)
        np.left_shift(place[first:stop], np.uint64(seat_bits), out=key[first:stop])
        key[first:stop] |= seats


def _seats(key: Words, seat_bits: int) -> Ints:
    return (key & np.uint64((1 << seat_bits) - 1)).astype(np.int64)
