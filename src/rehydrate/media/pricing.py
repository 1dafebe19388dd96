"""What an order of one volume costs under both models, before anything moves."""

import math
from collections.abc import Iterator

import attrs
import numpy as np

from rehydrate.errors import RequestError
from rehydrate.media.assignment import FORBIDDEN
from rehydrate.media.geometry import Floats, Heads, Ints, TapeGeometry
from rehydrate.media.locate import Regression, TapeModel, ahead_bytes
from rehydrate.media.segments import Runs
from rehydrate.values import MAX_OFFSET

__all__ = ["NO_PRICE", "Alternative", "Prices", "Steps", "Tape", "steps"]

TABLE_CELLS = 1 << 17
"""Pairs that are priced at a time: a megabyte for each intermediate column."""


@attrs.frozen
class Alternative:
    """An order that was compared, and what it would take.

    Attributes:
        name: ``"as asked"``, ``"logical"`` or ``"best"``.
        motion_s: Seconds of locates (gaps read through included) by the model of motion.
        regression_s: The same by the regression.
    """

    name: str
    motion_s: float
    regression_s: float

    def wins(self, other: "Alternative") -> bool:
        """Return whether this one is quicker under both models.

        Args:
            other: The order to beat.
        """
        return self.motion_s < other.motion_s and self.regression_s < other.regression_s


NO_PRICE = math.nan
"""Seconds where the geometry or the times of a volume are not known."""


@attrs.frozen(eq=False)
class Tape:
    """A volume and the drive that reads it.

    Attributes:
        model: Times of the drive; ``None`` if not known.
        geometry: Where its addresses lie; ``None`` if not known: no planning then.
        regression: The other model; made from ``model`` and ``geometry`` if ``None``.
        at: Partition and address where the head is, the end of data included; ``None`` for the
            load point.
        unit_bytes: Bytes of an address where there is no geometry.
    """

    model: TapeModel | None = None
    geometry: TapeGeometry | None = None
    regression: Regression | None = None
    at: tuple[int, int] | None = None
    unit_bytes: float = 1.0

    def __attrs_post_init__(self) -> None:
        """Refuse a geometry without times, and a head at numbers that no tape has.

        Raises:
            RequestError: With code ``"tape.model"``.
        """
        if self.at is not None and not all(abs(number) <= MAX_OFFSET for number in self.at):
            raise RequestError("the head is at no place of a tape", code="tape.model")
        if self.geometry is not None and self.model is None:
            raise RequestError("a tape with geometry needs a model of its drive", code="tape.model")


@attrs.frozen(eq=False)
class Prices:
    """Prices locates between the runs of one volume.

    Attributes:
        motion: The model of motion.
        regression: The regression.
        begin: Where the head is, shape ``(1,)``.
        rewind: The way back to the load point counts at the end.
    """

    motion: TapeModel
    regression: Regression
    begin: Heads
    rewind: bool

    @classmethod
    def of(cls, model: TapeModel, geometry: TapeGeometry, tape: Tape, *, rewind: bool) -> "Prices":
        """Make the prices of a volume.

        Args:
            model: Times of its drive.
            geometry: Its geometry.
            tape: The rest.
            rewind: See the class.

        Raises:
            LimitError: With code ``"tape.beyond-end"`` if the head is outside the tape.
        """
        regression = tape.regression or Regression(
            half_m=geometry.length_m / 2, native_rate=model.native_rate
        )
        begin = geometry.load_point()
        if tape.at is not None:
            begin = _standing(geometry, *tape.at)
        return cls(motion=model, regression=regression, begin=begin, rewind=rewind)

    def path(self, head: Heads, tail: Heads) -> Iterator[tuple[slice, Heads, Heads]]:
        """Cut a path into blocks.

        Args:
            head: Where each read begins, in order.
            tail: Where each ends.

        Yields:
            Which reads; where the head is before each of them; where each begins.
        """
        before = self.begin
        for part in _blocks(len(head.x), TABLE_CELLS):
            ends = tail.take(part)
            yield part, before.then(ends.take(slice(0, -1))), head.take(part)
            before = ends.take(slice(-1, None))

    def alternative(self, name: str, head: Heads, tail: Heads, gaps_s: float) -> Alternative:
        """Price a path under both models.

        Args:
            name: Its name.
            head: Where each read begins, in order.
            tail: Where each ends.
            gaps_s: Seconds of gaps that are read through within the reads.
        """
        paid = gaps_s + (float(self.motion.rewind_seconds(tail.x[-1:])[0]) if self.rewind else 0.0)
        sums = [paid, paid]
        for _, before, after in self.path(head, tail):
            sums[0] += float(self.motion.locate_seconds(before, after).sum())
            sums[1] += float(self.regression.locate_seconds(before, after).sum())
        return Alternative(name, *sums)

    def table(self, runs: Runs, part: slice, begin: Heads, *, weight: float) -> Floats:
        """Return the prices of all pairs; row and column 0 are the beginning and the end.

        Args:
            runs: Runs of the volume.
            part: Which of them.
            begin: Where the head is before.
            weight: Weight of the regression, 0 to 1; the rest is that of motion.

        Returns:
            Shape ``(n + 1, n + 1)``: row is where the head comes from, column where it goes.
        """
        head = begin.then(runs.head.take(part))
        tail = begin.then(runs.tail.take(part))
        count = len(head.x)
        table = np.empty((count, count))
        for rows in _blocks(count, max(TABLE_CELLS // count, 1)):
            before = tail.take(rows).column()
            table[rows] = self.motion.locate_seconds(before, head)
            if weight > 0:
                table[rows] *= 1 - weight
                table[rows] += weight * self.regression.locate_seconds(before, head)
        table[:, 0] = self.motion.rewind_seconds(tail.x) if self.rewind else 0.0
        np.fill_diagonal(table, FORBIDDEN)
        return table


def _standing(geometry: TapeGeometry, partition: int, address: int) -> Heads:
    """Return where the head is before an address; at the end of data, behind the last one."""
    behind = 0 < address == geometry.partition_end(partition)
    place = np.array([partition], np.int64), np.array([address - behind], np.int64)
    return geometry.heads(*place, after=behind)


def _blocks(count: int, step: int) -> Iterator[slice]:
    for first in range(0, count, step):
        yield slice(first, min(first + step, count))


@attrs.frozen(eq=False)
class Steps:
    """The segments of a volume in the order of reading.

    Attributes:
        order: Segments, as indices of the whole list.
        begins: Steps that begin with a locate.
        locate_s: Seconds of positioning before each.
        read_s: Seconds of reading each.
    """

    order: Ints
    begins: Ints
    locate_s: Floats
    read_s: Floats


def steps(runs: Runs, sequence: Ints, prices: Prices, unit_bytes: float, gap: float) -> Steps:
    """Return the steps of an order of runs.

    Args:
        runs: Runs of the volume.
        sequence: Their order.
        prices: Prices of the volume.
        unit_bytes: Bytes of an address.
        gap: Bytes of a gap between two runs up to which it is read through.
    """
    counts = np.diff(runs.member_ptr)[sequence]
    begins = np.cumsum(counts) - counts
    rows = np.arange(len(runs.member)) + np.repeat(runs.member_ptr[sequence] - begins, counts)
    model = prices.motion
    locate = model.read_seconds(runs.skipped[rows] * unit_bytes, np.zeros(len(rows)))
    head, tail = runs.head.take(sequence), runs.tail.take(sequence)
    moves = np.empty(len(begins), np.bool_)
    for part, before, after in prices.path(head, tail):
        locate[begins[part]] = model.locate_seconds(before, after)
        moves[part] = ahead_bytes(before, after) > gap
    moves[0] = True
    read = model.read_seconds(runs.fresh[rows] * unit_bytes, runs.crossed[rows].astype(np.float64))
    return Steps(runs.member[rows], begins[moves], locate, read)
