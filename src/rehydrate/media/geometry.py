"""Where a block lies on a serpentine tape: wrap, metres from the load point, direction.

A wrap is one pass of the head over the whole length. Even wraps run away from the load point, odd
ones back, so that the number order of blocks is the order of writing and not that of distance. A
partition is made of whole wrap pairs and numbers its blocks from 0.

The table :data:`FORMATS` holds published figures: IBM LTO SCSI reference GA32-0928 (partition
tables), IBM library documentation (drive performance), HPE LTO QuickSpecs (tracks and heads).
Numbers marked (m) are arithmetic or models, those marked (u) are commonly quoted and unconfirmed.
All of them are defaults: take wrap ends from the drive wherever it tells them.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import LimitError, RequestError
from rehydrate.values import MAX_OFFSET

__all__ = [
    "BANDS",
    "FORMATS",
    "USABLE_LENGTH",
    "Floats",
    "Heads",
    "Ints",
    "TapeFormat",
    "TapeGeometry",
    "WrapEnd",
    "native_geometry",
    "reported_geometry",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BANDS: Final = 4
"""Data bands between five servo bands; wraps fill one band, then the head steps to the next."""
USABLE_LENGTH: Final = 0.965
"""Part of the tape length that holds data (m)."""
MAX_WRAPS: Final = 4096
"""Most wraps that a geometry may have; more than ten times those of any drive."""
MAX_PARTITIONS: Final = 256


@attrs.frozen
class TapeFormat:
    """What a generation of tape looks like.

    Attributes:
        name: Name for people, such as ``"LTO-9"``.
        wraps: Number of wraps, or ``None`` where no source tells: the drive has to.
        pair_bytes: Native bytes of a wrap pair, the step of partitions; ``None`` as above.
        length_m: Length of the tape in metres.
        native_rate: Bytes a second of a full-height drive without compression.
        load_s: Seconds from the insertion to ready.
        unload_s: Seconds of an unload, after the rewind.
        locate_speed: Metres a second while positioning (u).
        rewind_speed: Metres a second while rewinding (m).
        guard_pairs: Wrap pairs lost between two partitions.
        max_partitions: Most partitions of a tape.
    """

    name: str
    wraps: int | None
    pair_bytes: int | None
    length_m: float
    native_rate: float
    load_s: float
    unload_s: float
    locate_speed: float
    rewind_speed: float
    guard_pairs: int = 1
    max_partitions: int = 4


def _table() -> dict[str, TapeFormat]:
    megabyte = 1e6
    rows = (
        # name, wraps, bytes of a pair, metres, MB/s, load, unload, locate (u), rewind (m)
        ("LTO-5", 80, 37_500_000_000, 846.0, 140, 12.0, 17.0, 8.0, 8.0, 1, 2),
        ("LTO-6", 136, 36_760_000_000, 846.0, 160, 12.0, 17.0, 8.0, 8.0, 1, 4),
        ("LTO-7", 112, 107_140_000_000, 960.0, 300, 15.0, 20.0, 8.5, 8.5, 1, 4),
        # Load and unload times of type M are those of LTO-7 (u).
        ("LTO-7M", 168, 107_140_000_000, 960.0, 300, 15.0, 20.0, 8.5, 8.5, 1, 4),
        ("LTO-8", 208, 115_380_000_000, 960.0, 360, 15.0, 24.0, 8.5, 8.5, 1, 4),
        # A tape of two partitions holds 17,742.7 GB: two pairs are lost.
        ("LTO-9", 280, 128_570_000_000, 1035.0, 400, 17.0, 30.0, 12.0, 9.5, 2, 4),
        # No source for wraps. Speeds from 65 and 73 s to the mean block, 62 and 75 s rewind (m).
        ("LTO-10", None, None, 1035.0, 400, 12.0, 27.0, 8.5, 8.5, 2, 4),
        ("LTO-10L", None, None, 1340.0, 400, 12.0, 27.0, 9.5, 9.0, 2, 4),
    )
    return {
        name: TapeFormat(
            name=name, wraps=wraps, pair_bytes=pair, length_m=length, native_rate=rate * megabyte,
            load_s=load, unload_s=unload, locate_speed=locate, rewind_speed=rewind,
            guard_pairs=guard, max_partitions=partitions,
        )
        for name, wraps, pair, length, rate, load, unload, locate, rewind, guard, partitions in rows
    }  # fmt: skip


FORMATS: Final[Mapping[str, TapeFormat]] = MappingProxyType(_table())
"""Known generations by name; ``LTO-7M`` is type M media, ``LTO-10L`` the 40 TB tape."""


@attrs.frozen
class WrapEnd:
    """One line of the drive's answer to READ END OF WRAP POSITION.

    Attributes:
        wrap: Number of the wrap on the tape, from 0, lost wraps between partitions included.
        partition: Partition that the wrap belongs to.
        last: Last logical object on the wrap.
    """

    wrap: int
    partition: int
    last: int


@attrs.frozen(eq=False)
class Heads:
    """Positions of the head, as columns of one shape.

    There may be millions: the columns are narrow, 18 bytes a position.

    Attributes:
        wrap: Wrap number.
        band: Band number.
        x: Metres from the load point.
        way: Direction of reading: +1 away from the load point, -1 back.
        metre_bytes: Bytes in a metre of the wrap.
    """

    wrap: npt.NDArray[np.int32]
    band: npt.NDArray[np.int8]
    x: Floats
    way: npt.NDArray[np.int8]
    metre_bytes: npt.NDArray[np.float32]

    def take(self, index: Ints | slice) -> "Heads":
        """Return some of the positions.

        Args:
            index: Which ones, as in numpy.
        """
        return Heads(
            self.wrap[index], self.band[index], self.x[index], self.way[index],
            self.metre_bytes[index],
        )  # fmt: skip

    def then(self, other: "Heads") -> "Heads":
        """Return these positions and then those of another.

        Args:
            other: Positions of the same tape.
        """
        return Heads(
            np.concatenate((self.wrap, other.wrap)),
            np.concatenate((self.band, other.band)),
            np.concatenate((self.x, other.x)),
            np.concatenate((self.way, other.way)),
            np.concatenate((self.metre_bytes, other.metre_bytes)),
        )

    def column(self) -> "Heads":
        """Return the positions as a column, shape ``(n, 1)``, to be paired with a row."""
        return self.take(np.arange(len(self.x))[:, None])


@attrs.frozen(eq=False)
class TapeGeometry:
    """Where the addresses of one tape lie.

    Addresses are bytes or blocks: whatever the segments count in. Those of a partition are
    ``[first[w], end[w])`` on its wraps ``w``, consecutive; lost wraps hold none.

    Attributes:
        length_m: Metres between the two ends of the data area.
        unit_bytes: Bytes of one address: 1, or the mean size of a block.
        wraps: Number of wraps of the tape; a band has a quarter of them.
        partition: Partition of each wrap that holds data, ascending.
        wrap: Number of each such wrap on the tape.
        first: First address on it.
        end: End of its addresses, exclusive.
        reported: The drive told the ends, so that compression does not matter.
    """

    length_m: float
    unit_bytes: float
    wraps: int
    partition: Ints
    wrap: Ints
    first: Ints
    end: Ints
    reported: bool

    @property
    def capacity(self) -> int:
        """Addresses of all partitions together."""
        return int((self.end - self.first).sum())

    def partition_end(self, partition: int) -> int:
        """Return the number of addresses of a partition, 0 if the tape has no such one.

        Args:
            partition: Number of the partition.
        """
        ends = self.end[self.partition == partition]
        return int(ends[-1]) if len(ends) else 0

    def rows(self, partition: Ints, address: Ints) -> Ints:
        """Find the wrap of each address, as an index into the columns of this value.

        Args:
            partition: Partition of each address.
            address: The addresses.

        Raises:
            LimitError: With code ``"tape.beyond-end"`` if one lies outside the tape.
        """
        found = np.full(len(address), -1, np.int64)
        for number in np.unique(partition).tolist():
            rows = np.flatnonzero(self.partition == number)
            chosen = np.flatnonzero(partition == number)
            wanted = address[chosen]
            if not len(rows) or wanted.max() >= self.end[rows[-1]] or wanted.min() < 0:
                raise LimitError(
                    f"a position in partition {number} lies beyond the end of the tape",
                    code="tape.beyond-end",
                )
            found[chosen] = rows[np.searchsorted(self.end[rows], wanted, side="right")]
        return found

    def heads(self, partition: Ints, address: Ints, *, after: bool = False) -> Heads:
        """Locate addresses.

        Args:
            partition: Partition of each address, shape ``(n,)``.
            address: The addresses.
            after: The position behind the address, on the same wrap, instead of before it.

        Raises:
            LimitError: With code ``"tape.beyond-end"`` if one lies outside the tape.
        """
        rows = self.rows(partition, address)
        size = self.end - self.first
        x = (address - self.first[rows] + int(after)) / size[rows]
        back = self.wrap[rows] % 2 == 1
        np.subtract(1.0, x, out=x, where=back)
        x *= self.length_m
        wrap = self.wrap.astype(np.int32)[rows]
        band = (self.wrap * BANDS // self.wraps).astype(np.int8)[rows]
        metre = (size * (self.unit_bytes / self.length_m)).astype(np.float32)[rows]
        return Heads(wrap, band, x, np.where(back, np.int8(-1), np.int8(1)), metre)

    def load_point(self) -> Heads:
        """Return the position after a load, shape ``(1,)``."""
        metre = (self.end[:1] - self.first[:1]) * (self.unit_bytes / self.length_m)
        return Heads(
            np.zeros(1, np.int32), np.zeros(1, np.int8), np.zeros(1), np.ones(1, np.int8),
            metre.astype(np.float32),
        )  # fmt: skip


def _geometry(
    length_m: float, unit_bytes: float, wraps: int, columns: Sequence[Ints], *, reported: bool
) -> TapeGeometry:
    if not (np.isfinite(length_m) and length_m > 0 and np.isfinite(unit_bytes) and unit_bytes > 0):
        raise RequestError("length and unit of a tape are positive numbers", code="tape.geometry")
    partition, wrap, first, end = columns
    return TapeGeometry(
        length_m=float(length_m), unit_bytes=float(unit_bytes), wraps=wraps, partition=partition,
        wrap=wrap, first=first, end=end, reported=reported,
    )  # fmt: skip


def native_geometry(
    tape: TapeFormat,
    *,
    pairs: Sequence[int] = (),
    guard_pairs: int | None = None,
    unit_bytes: float = 1.0,
    length_m: float | None = None,
) -> TapeGeometry:
    """Assume equal wraps of native size.

    Use it only for data that is known to be stored at native size (deduplicated containers,
    compressed or encrypted before): wraps that differ by 2 % cost most of the gain, by 10 % make
    a plan worse than the logical sort (m).

    Args:
        tape: Generation; one that tells its wraps.
        pairs: Wrap pairs of each partition; empty for one partition over the whole tape. The
            usual LTFS layout on LTO-8 is ``(1, 102)``.
        guard_pairs: Wrap pairs lost between two partitions; that of the generation if ``None``.
        unit_bytes: Bytes of one address; 1 counts in bytes.
        length_m: Metres of the data area; 96.5 % of the tape if ``None``.

    Raises:
        RequestError: With code ``"tape.geometry"`` if the partitions do not fit, the generation
            has no known wraps, or a wrap holds not a single unit.
    """
    if tape.wraps is None or tape.pair_bytes is None:
        raise RequestError(f"wraps of {tape.name} are not known; ask the drive for their ends",
                           code="tape.geometry")  # fmt: skip
    guard = tape.guard_pairs if guard_pairs is None else guard_pairs
    sizes = tuple(pairs) or (tape.wraps // 2,)
    taken = sum(sizes) + guard * (len(sizes) - 1)
    wrong = min(sizes) < 1 or guard < 0 or 2 * taken > tape.wraps
    if wrong or tape.wraps > MAX_WRAPS or len(sizes) > tape.max_partitions:
        raise RequestError(f"partitions of {sizes} wrap pairs do not fit on {tape.name}",
                           code="tape.geometry")  # fmt: skip
    wrap_units = tape.pair_bytes / 2 / unit_bytes if unit_bytes > 0 else 0.0
    if not 1 <= wrap_units < MAX_OFFSET / 2 / tape.wraps:
        raise RequestError("a wrap holds a positive number of units", code="tape.geometry")
    count = 2 * np.array(sizes, np.int64)
    partition = np.repeat(np.arange(len(sizes)), count)
    within = np.concatenate([np.arange(number) for number in count])
    start = np.concatenate(([0], np.cumsum(count + 2 * guard)[:-1]))
    edges = np.floor(np.arange(count.max() + 1) * wrap_units)
    edge = edges.astype(np.int64)
    return _geometry(
        tape.length_m * USABLE_LENGTH if length_m is None else length_m, unit_bytes, tape.wraps,
        (partition, start[partition] + within, edge[within], edge[within + 1]), reported=False,
    )  # fmt: skip


def reported_geometry(
    tape: TapeFormat,
    ends: Sequence[WrapEnd],
    *,
    unit_bytes: float,
    wraps: int | None = None,
    partly_written: Collection[int] = (),
    length_m: float | None = None,
) -> TapeGeometry:
    """Build the geometry from what the drive tells.

    A wrap on which writing stopped is taken to hold as many objects, were it full, as the mean of
    the full wraps of its partition, or what it holds if that is more. Where it is the first of its
    partition (an index partition is hardly ever full) the mean is that of all full wraps of the
    tape, and on an almost empty tape a wrap of native size.

    Args:
        tape: Generation.
        ends: The drive's answer in any order; each wrap at most once.
        unit_bytes: Mean bytes of a logical object (compression counts: use bytes as read).
        wraps: Wraps of the whole tape; those of the generation, else the highest one reported.
        partly_written: Partitions whose last reported wrap is written in part only.
        length_m: Metres of the data area; 96.5 % of the tape if ``None``.

    Raises:
        RequestError: With code ``"tape.geometry"`` if the ends contradict each other.
    """
    lines = sorted(ends, key=lambda end: (end.partition, end.wrap))
    numbers = [line.wrap for line in lines]
    highest = max(numbers, default=-1)
    total = max(wraps or tape.wraps or 0, highest + 1)
    usable = lines and min(numbers) >= 0 and total <= MAX_WRAPS
    if not usable or len(set(numbers)) != len(numbers) or numbers != sorted(numbers):
        raise RequestError("the drive's wraps are missing, double or out of order",
                           code="tape.geometry")  # fmt: skip
    partition = np.array([line.partition for line in lines], np.int64)
    last = [line.last for line in lines]
    if (
        min(last) < 0
        or max(last) >= MAX_OFFSET
        or not 0 <= partition[0] <= partition[-1] < MAX_PARTITIONS
    ):
        raise RequestError("the drive's end of a wrap is no block number", code="tape.geometry")
    end = np.array(last, np.int64) + 1
    new = np.concatenate(([True], partition[1:] != partition[:-1]))
    sized = unit_bytes >= 1  # not NaN
    native = int(tape.pair_bytes / 2 / unit_bytes) if tape.pair_bytes and sized else 0
    _last_wraps(partition, end, partly_written, native)
    first = np.where(new, 0, np.concatenate(([0], end[:-1])))
    if (end <= first).any():
        raise RequestError("the drive's ends of wraps do not ascend", code="tape.geometry")
    return _geometry(
        tape.length_m * USABLE_LENGTH if length_m is None else length_m, unit_bytes, total,
        (partition, np.array(numbers, np.int64), first, end), reported=True,
    )  # fmt: skip


def _last_wraps(partition: Ints, end: Ints, partly_written: Collection[int], native: int) -> None:
    """Give the partly written wrap of each partition the mean size of full ones."""
    lasts = {number: np.flatnonzero(partition == number) for number in partly_written}
    before = {number: int(end[rows[-2]]) for number, rows in lasts.items() if len(rows) > 1}
    full = sum(len(lasts[number]) - 1 for number in before)
    held = sum(before.values())
    for number in set(partition.tolist()) - set(lasts):
        rows = np.flatnonzero(partition == number)
        full += len(rows)
        held += int(end[rows[-1]])
    typical = held // full if full else native
    for number, rows in lasts.items():
        if len(rows) > 1:
            wrap_end = min(before[number] + before[number] // (len(rows) - 1), MAX_OFFSET)
            end[rows[-1]] = max(int(end[rows[-1]]), wrap_end)
        elif len(rows):
            end[rows[-1]] = max(int(end[rows[-1]]), typical)
