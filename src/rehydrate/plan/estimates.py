"""What a plan is expected to take: media in mount order, times, price, orders compared.

Nothing here is computed from a :class:`~rehydrate.plan.read_plan.ReadPlan` alone: whoever knows the
medium fills in what it knows, and everything may be missing. The page and the JSON show what is
there.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.plan.read_plan import ReadPlan

__all__ = [
    "ComparedOrder",
    "PlanEstimates",
    "PlannedMedium",
    "Price",
    "Record",
    "TapeDrawing",
    "TapePass",
    "seconds_at",
]

Record: TypeAlias = "Mapping[str, Record] | Sequence[Record] | str | float | int | bool | None"
"""What a JSON document may hold."""

MICRO: Final = 1_000_000
MOST_WRAPS: Final = 10_000


def _time(_instance: object, attribute: "attrs.Attribute[float]", value: object) -> None:
    if type(value) not in {int, float} or not 0 <= float(str(value)) < math.inf:
        msg = f"{attribute.name} must be a finite number of at least 0, not {value!r}"
        raise ValueError(msg)


_maybe_time: Final = attrs.validators.optional(_time)


def _count(_instance: object, attribute: "attrs.Attribute[int]", value: object) -> None:
    if type(value) is not int or value < 0:
        msg = f"{attribute.name} must be an int of at least 0, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class PlannedMedium:
    """A volume, or a set of objects, that is needed.

    Attributes:
        name: Barcode, or what else people call it.
        kind: Such as ``"LTO-9"`` or ``"DEEP_ARCHIVE"``.
        containers: Containers with reads on it.
        bytes_to_read: Bytes of all reads on it.
        ready_seconds: Until it can be read: mounting, or thawing.
        locate_seconds: Positioning.
        read_seconds: Reading.
        note: What else the operator should know, such as where it is.
    """

    name: str
    kind: str = ""
    containers: int = attrs.field(default=0, validator=_count)
    bytes_to_read: int = attrs.field(default=0, validator=_count)
    ready_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    locate_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    read_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    note: str = ""


@attrs.frozen(kw_only=True)
class ComparedOrder:
    """An order that was priced.

    Attributes:
        name: Such as ``"as asked"``, ``"logical"`` or ``"best"``.
        seconds: Predicted positioning under the first model.
        other_seconds: The same under a second model.
        taken: Whether the plan has this order.
    """

    name: str
    seconds: float = attrs.field(validator=_time)
    other_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    taken: bool = False


@attrs.frozen(kw_only=True)
class Price:
    """An amount of money, exact.

    Attributes:
        micros: Millionths of the currency's unit.
        currency: Such as ``"USD"``.
    """

    micros: int = attrs.field(validator=_count)
    currency: str

    def __str__(self) -> str:
        """Return the amount with at least two digits behind the point, such as ``1.0435 USD``."""
        amount = (Decimal(self.micros) / MICRO).normalize()
        digits = max(2, -int(amount.as_tuple().exponent))
        return f"{amount:,.{digits}f} {self.currency}"


@attrs.frozen(kw_only=True)
class TapePass:
    """A stretch of one wrap that is read without stopping.

    Attributes:
        wrap: Number of the wrap, from 0.
        begin_m: Where reading begins, in metres from the load point.
        end_m: Where it ends; less than ``begin_m`` on wraps that run back.
        container: Index into the containers of the data round; ``None`` = unknown.
        seconds: Predicted time to get there; ``None`` = unknown.
    """

    wrap: int = attrs.field(validator=_count)
    begin_m: float = attrs.field(validator=_time)
    end_m: float = attrs.field(validator=_time)
    container: int | None = None
    seconds: float | None = attrs.field(default=None, validator=_maybe_time)


@attrs.frozen(kw_only=True)
class TapeDrawing:
    """One volume as it lies in the drive.

    Attributes:
        name: Barcode.
        length_m: Metres between the ends of the data area.
        wraps: Wraps of the whole tape, at most 10,000.
        bands: Data bands that the wraps fill one after the other.
        passes: What is read, in reading order.
        left_out: Further segments of the tape, which are not drawn.
        reported: The drive told where wraps end; else their sizes are assumed.
    """

    name: str
    length_m: float = attrs.field(validator=_time)
    wraps: int = attrs.field(validator=[_count, attrs.validators.le(MOST_WRAPS)])
    bands: int = attrs.field(default=4, validator=[_count, attrs.validators.ge(1)])
    passes: tuple[TapePass, ...] = ()
    left_out: int = attrs.field(default=0, validator=_count)
    reported: bool = False

    def __attrs_post_init__(self) -> None:
        """Check that what is read lies on the tape."""
        for each in self.passes:
            if each.wrap >= self.wraps or max(each.begin_m, each.end_m) > self.length_m:
                msg = f"a pass lies outside the tape: {each}"
                raise ValueError(msg)


@attrs.frozen(kw_only=True)
class PlanEstimates:
    """What is expected; each part may be missing.

    Attributes:
        media: Media in the order in which they are mounted, or asked for.
        orders: Orders compared.
        tapes: Volumes with a known geometry, in mount order.
        ready_seconds: Waiting for media: mounts, thaws.
        locate_seconds: Positioning.
        read_seconds: Reading.
        total_seconds: From the start to the last byte.
        price: What the reads cost.
        extent_seconds: Begin and end of each extent of the data round, in reading order, in
            seconds from the start.
        notes: What the numbers rest on, one sentence each.
    """

    media: tuple[PlannedMedium, ...] = ()
    orders: tuple[ComparedOrder, ...] = ()
    tapes: tuple[TapeDrawing, ...] = ()
    ready_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    locate_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    read_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    total_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    price: Price | None = None
    extent_seconds: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    def as_record(self) -> Record:
        """Return everything but the drawings, for JSON; what is not known is ``None``."""
        return {
            "media": [attrs.asdict(medium) for medium in self.media],
            "orders": [attrs.asdict(order) for order in self.orders],
            "ready_seconds": self.ready_seconds,
            "locate_seconds": self.locate_seconds,
            "read_seconds": self.read_seconds,
            "total_seconds": self.total_seconds,
            "price": None if self.price is None else attrs.asdict(self.price),
            "notes": list(self.notes),
        }


def seconds_at(plan: ReadPlan, estimates: PlanEstimates, read: Ints) -> list[float] | None:
    """Predict when a number of bytes will have been read.

    Args:
        plan: The plan.
        estimates: What is expected of it.
        read: Bytes of the data round, counted in reading order, shape ``(n,)``.

    Returns:
        Seconds from the start; ``None`` where the times of extents are not known.
    """
    extents = plan.round("data").extents
    times = np.array(estimates.extent_seconds, np.float64).reshape(-1, 2)
    if not len(extents) or len(times) != len(extents):
        return None
    sizes = np.array([extent.bytes_to_read for extent in extents], np.float64)
    ends = np.cumsum(sizes)
    which = np.minimum(np.searchsorted(ends, read, side="left"), len(ends) - 1)
    part = np.clip((read - (ends - sizes)[which]) / sizes[which], 0, 1)
    seconds = times[which, 0] + part * (times[which, 1] - times[which, 0])
    found: list[float] = np.where(read > 0, seconds, 0.0).tolist()
    return found
