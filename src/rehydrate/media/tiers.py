"""Thaw requests in waves: what is asked for when, when it is readable, and what it costs.

A thawed copy lives for the days that were paid, counted from when it was ready. The reader takes
copies as they become ready, so none waits longer than it takes to read the wave, however far apart
the first and the last become ready: a wave is as large as can be read in the days, or as the budget
allows, and where everything fits there is one wave. Copies of a later wave may be ready early,
while the wave before is still being read: there the time between the quickest and the slowest copy
counts. Waves follow the order of the plan. Times are whole seconds, money whole millionths: no
floats.
"""

import bisect
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import LimitError, RequestError
from rehydrate.media.geometry import Ints
from rehydrate.media.prices import Offer, PriceTable

__all__ = ["ThawOptions", "ThawPlan", "ThawPrice", "Wave", "price", "thaw_plan", "waves"]

DAY: Final = 86_400
HOUR: Final = 3600
MONTH_DAYS: Final = 30
THOUSAND: Final = 1000
MAX_OBJECT: Final = 1 << 50


@attrs.frozen
class ThawPrice:
    """What a thaw costs, in millionths of the table's currency, each part rounded up.

    Attributes:
        objects: Requests.
        billed_bytes: Bytes thawed, as billed.
        requests: Price of the requests.
        retrieval: Price of the bytes.
        kept: Price of the copies for the days asked.
    """

    objects: int
    billed_bytes: int
    requests: int
    retrieval: int
    kept: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.requests + self.retrieval + self.kept


@attrs.frozen
class ThawOptions:
    """Choices of a thaw.

    Attributes:
        days: Days for which copies are kept; three leave a restore that was interrupted on a
            Friday evening time until Monday.
        read_rate: Bytes a second in which thawed objects are read.
        margin_s: Seconds left free before a copy expires; looks for copies that are ready take
            up to half an hour each.
        wave_budget: Most millionths for one wave; ``None`` for no limit.
        max_cost: Most millionths for all; ``None`` for no limit.
    """

    days: int = 3
    read_rate: int = 100_000_000
    margin_s: int = 3600
    wave_budget: int | None = None
    max_cost: int | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse numbers without meaning.

        Raises:
            RequestError: With code ``"thaw.options"``.
        """
        limits = [limit for limit in (self.wave_budget, self.max_cost) if limit is not None]
        if self.days < 1 or self.read_rate < 1 or min([self.margin_s, *limits]) < 0:
            raise RequestError("days, rates and limits of a thaw are positive", code="thaw.options")


@attrs.frozen
class Wave:
    """Objects that are asked for together; seconds count from the beginning.

    Attributes:
        first: First object, in plan order.
        end: End of its objects, exclusive.
        stored_bytes: Their bytes.
        request_s: When they are asked for.
        ready_s: When all of them can be read, at the latest.
        read_s: When all of them have been read, if they are as late as that.
        expires_s: When the first copy may vanish, if it is ready at the earliest; it will have
            been read by then.
        lead_s: Seconds before the end of the wave before at which they are asked for.
        price: What the wave costs.
    """

    first: int
    end: int
    stored_bytes: int
    request_s: int
    ready_s: int
    read_s: int
    expires_s: int
    lead_s: int
    price: ThawPrice


@attrs.frozen
class ThawPlan:
    """All waves of a thaw.

    Attributes:
        waves: Waves in order; empty if nothing has to be thawed.
        price: Sum of their prices.
        seconds: Until the last byte is read.
    """

    waves: tuple[Wave, ...]
    price: ThawPrice
    seconds: int


def price(table: PriceTable, offer: Offer, objects: int, billed_bytes: int, days: int) -> ThawPrice:
    """Price a thaw.

    Args:
        table: Says what a gigabyte is.
        offer: The prices.
        objects: Number of objects.
        billed_bytes: Their bytes, each at least the minimum of the offer.
        days: Days for which copies are kept; nothing where there are none.
    """
    kept = billed_bytes * offer.kept_per_gigabyte_month * days if offer.thaws else 0
    return ThawPrice(
        objects=objects,
        billed_bytes=billed_bytes,
        requests=_up(objects * offer.per_thousand, THOUSAND),
        retrieval=_up(billed_bytes * offer.per_gigabyte, table.gigabyte),
        kept=_up(kept, table.gigabyte * MONTH_DAYS),
    )


def _up(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _sums(sizes: npt.ArrayLike, least: int) -> tuple[Ints, Ints]:
    column = np.asarray(sizes)
    whole = not column.size or np.issubdtype(column.dtype, np.integer)
    if column.ndim != 1 or not whole or column.min(initial=0) < 0:
        raise RequestError("sizes of objects are numbers of at least 0", code="thaw.options")
    if column.max(initial=0) > MAX_OBJECT:
        raise LimitError("an object is larger than a pebibyte", code="thaw.options")
    stored = column.astype(np.int64)
    if float(np.maximum(stored, least).sum(dtype=np.float64)) > 2.0**62:
        raise LimitError("the objects have too many bytes together", code="thaw.options")
    zero = np.zeros(1, np.int64)
    billed = np.maximum(stored, least)
    return np.append(zero, np.cumsum(stored)), np.append(zero, np.cumsum(billed))


def waves(
    sizes: npt.ArrayLike, table: PriceTable, offer: Offer, options: ThawOptions | None = None
) -> tuple[Wave, ...]:
    """Cut objects into waves.

    A wave is asked for so early that its last object is ready when the wave before has been read,
    and not so early that its first copy might vanish before it is read.

    Args:
        sizes: Bytes of the objects, in the order in which they are read.
        table: Prices.
        offer: The way to thaw.
        options: Choices.

    Raises:
        LimitError: With code ``"thaw.days"`` if an object cannot be read before its copy expires,
            ``"thaw.budget"`` if one is dearer than a wave may be.
    """
    chosen = options or ThawOptions()
    stored, billed = _sums(sizes, offer.minimum_bytes)
    if not offer.thaws:
        return ()
    found: list[Wave] = []
    first, free = 0, 0
    while first < len(stored) - 1:
        end = _end(first, stored, billed, (table, offer, chosen))
        size = int(stored[end] - stored[first])
        reading, slow = _up(size, chosen.read_rate), offer.slow_s + _delay(size, offer)
        lead = min(slow, offer.quick_s + _life(chosen) - reading)
        request = max(free - lead, 0)
        ready = request + slow
        free = max(free, ready) + reading
        cost = price(table, offer, end - first, int(billed[end] - billed[first]), chosen.days)
        expires = request + offer.quick_s + chosen.days * DAY
        found.append(Wave(first, end, size, request, ready, free, expires, lead, cost))
        first = end
    return tuple(found)


def _delay(size: int, offer: Offer) -> int:
    """Return the seconds by which a limit of bytes an hour delays the last object."""
    return _up(size * HOUR, offer.bytes_per_hour) if offer.bytes_per_hour else 0


def _life(options: ThawOptions) -> int:
    """Return the seconds in which a copy has to be read."""
    return options.days * DAY - options.margin_s


def _end(
    first: int, stored: Ints, billed: Ints, terms: tuple[PriceTable, Offer, ThawOptions]
) -> int:
    """Return the end of the largest wave from ``first`` that is read in time and in budget."""
    table, offer, options = terms

    def late(end: int) -> bool:
        return _up(int(stored[end] - stored[first]), options.read_rate) > _life(options)

    def early(end: int) -> bool:
        """Tell whether copies may wait too long for the end of the wave before."""
        size = int(stored[end] - stored[first])
        wait = offer.slow_s + _delay(size, offer) - offer.quick_s
        return _up(size, options.read_rate) + wait > _life(options)

    def dear(end: int) -> bool:
        size = int(billed[end] - billed[first])
        cost = price(table, offer, end - first, size, options.days)
        return options.wave_budget is not None and cost.total > options.wave_budget

    if late(first + 1):
        raise LimitError(f"object {first} cannot be read within the {options.days} days for which "
                         "its copy is kept", code="thaw.days")  # fmt: skip
    if dear(first + 1):
        raise LimitError(f"object {first} costs more than a wave may", code="thaw.budget")
    ends = range(first + 1, len(stored))
    largest = first + bisect.bisect_left(ends, 1, key=lambda end: int(late(end) or dear(end)))
    if not first:
        return largest
    # Nothing is read while a wave that must not be early is waited for: rather a smaller one.
    prompt = first + bisect.bisect_left(ends, 1, key=lambda end: int(early(end) or dear(end)))
    return prompt if prompt > first else largest


def thaw_plan(
    sizes: npt.ArrayLike, table: PriceTable, offer: Offer, options: ThawOptions | None = None
) -> ThawPlan:
    """Plan a thaw and refuse one that is too dear. Nothing is asked for here.

    Args:
        sizes: Bytes of the objects, in the order in which they are read.
        table: Prices.
        offer: The way to thaw.
        options: Choices.

    Raises:
        LimitError: With code ``"thaw.max-cost"`` if the sum is above ``max_cost``; the message
            tells both. See also :func:`waves`.
    """
    chosen = options or ThawOptions()
    found = waves(sizes, table, offer, chosen)
    stored, billed = _sums(sizes, offer.minimum_bytes)
    count = len(stored) - 1
    cost = price(table, offer, count, int(billed[-1]), chosen.days)
    if found:
        cost = _together([wave.price for wave in found])
    if chosen.max_cost is not None and cost.total > chosen.max_cost:
        raise LimitError(
            f"the thaw costs {table.money(cost.total)}, more than {table.money(chosen.max_cost)}",
            code="thaw.max-cost",
        )
    seconds = found[-1].read_s if found else _up(int(stored[-1]), chosen.read_rate)
    return ThawPlan(found, cost, seconds)


def _together(prices: Sequence[ThawPrice]) -> ThawPrice:
    columns = zip(*(attrs.astuple(one) for one in prices), strict=True)
    return ThawPrice(*(sum(column) for column in columns))
