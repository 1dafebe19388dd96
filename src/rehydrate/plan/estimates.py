"""What a plan is expected to take: media in mount order, times, price, orders compared.

Nothing here is computed from a :class:`~rehydrate.plan.read_plan.ReadPlan` alone: whoever knows the
medium fills in what it knows, and everything may be missing. The page and the JSON show what is
there.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

import attrs
import numpy as np

from rehydrate.chunks import Ints
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.plan.thaws import ComparedThaw

__all__ = [
    "DATA",
    "MAPS",
    "ComparedOrder",
    "PlanEstimates",
    "PlannedMedium",
    "Price",
    "Record",
    "TapeDrawing",
    "TapePass",
    "after_each_other",
    "few_names",
    "mount_notes",
    "seconds_at",
    "short_stores",
    "together",
]

Record: TypeAlias = "Mapping[str, Record] | Sequence[Record] | str | float | int | bool | None"
"""What a JSON document may hold."""

MAPS, DATA = "maps", "data"
"""What is read of a medium: stream maps come first."""
MICRO: Final = 1_000_000
MOST_WRAPS: Final = 10_000
_NAMED: Final = 8
_SHORT: Final = 8


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
    """One stay of a volume in a drive, or a set of objects.

    A volume has one for each time that it is wanted: for stream maps, for data, for each store.

    Attributes:
        name: Barcode, or what else people call it.
        kind: Such as ``"LTO-9"`` or ``"DEEP_ARCHIVE"``.
        phase: What is read: ``"maps"`` first, then ``"data"``.
        store: Chunk store that wants it, where a restore reads from several.
        drive: Number of the drive, from 1; ``None`` = there are no drives, or not known.
        mounted: Whether it has to be mounted; it is in the drive already if not. ``None`` = it is
            nothing that is mounted.
        at_hand: Whether it can be had without fetching it; ``None`` = not asked.
        wanted_seconds: When it is wanted, from the start of the restore.
        containers: Containers with reads on it.
        bytes_to_read: Bytes of all reads on it.
        ready_seconds: Until it can be read: mounting, or thawing.
        locate_seconds: Positioning.
        read_seconds: Reading.
        rewind_seconds: Going back to the load point and unloading, where another volume is wanted
            in the drive afterwards.
        order: Why it is read in its order.
        note: What else the operator should know, such as where it is.
    """

    name: str
    kind: str = ""
    phase: str = attrs.field(default=DATA, validator=attrs.validators.in_((MAPS, DATA)))
    store: str = ""
    drive: int | None = attrs.field(default=None, validator=attrs.validators.optional(_count))
    mounted: bool | None = None
    at_hand: bool | None = None
    wanted_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    containers: int = attrs.field(default=0, validator=_count)
    bytes_to_read: int = attrs.field(default=0, validator=_count)
    ready_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    locate_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    read_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    rewind_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    order: str = ""
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
        phase: What is read: ``"maps"`` or ``"data"``.
        length_m: Metres between the ends of the data area.
        wraps: Wraps of the whole tape, at most 10,000.
        bands: Data bands that the wraps fill one after the other.
        at_wrap: Wrap on which the head is at first.
        at_m: Where it is, in metres from the load point.
        passes: What is read, in reading order.
        left_out: Further segments of the tape, which are not drawn.
        reported: The drive told where wraps end; else their sizes are assumed.
    """

    name: str
    phase: str = attrs.field(default=DATA, validator=attrs.validators.in_((MAPS, DATA)))
    length_m: float = attrs.field(validator=_time)
    wraps: int = attrs.field(validator=[_count, attrs.validators.le(MOST_WRAPS)])
    bands: int = attrs.field(default=4, validator=[_count, attrs.validators.ge(1)])
    at_wrap: int = attrs.field(default=0, validator=_count)
    at_m: float = attrs.field(default=0.0, validator=_time)
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
        thaws: Ways to thaw compared.
        tapes: Volumes with a known geometry, in mount order.
        ready_seconds: Waiting for media: mounts, thaws.
        locate_seconds: Positioning.
        read_seconds: Reading.
        rewind_seconds: Going back to load points and unloading. These four are sums over all
            drives.
        total_seconds: From the start of the restore to the last byte.
        begin_seconds: When the first medium is wanted: stores are restored one after the other.
        data_seconds: When all stream maps are read, and the first medium with data is wanted.
        at_least: Something is not known and counts nothing: all times are lower bounds.
        price: What the reads cost.
        extent_seconds: Begin and end of each extent of the data round, in reading order, in
            seconds from the start of the restore; NaN where not known. Where several drives read
            at a time, extents are in the order of their ends.
        notes: What the numbers rest on, one sentence each.
    """

    media: tuple[PlannedMedium, ...] = ()
    orders: tuple[ComparedOrder, ...] = ()
    thaws: tuple[ComparedThaw, ...] = ()
    tapes: tuple[TapeDrawing, ...] = ()
    ready_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    locate_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    read_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    rewind_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    total_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    begin_seconds: float = attrs.field(default=0.0, validator=_time)
    data_seconds: float | None = attrs.field(default=None, validator=_maybe_time)
    at_least: bool = False
    price: Price | None = None
    extent_seconds: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    def as_record(self) -> Record:
        """Return everything but the drawings, for JSON; what is not known is ``None``."""
        volumes = all(medium.mounted is not None for medium in self.media)
        return {
            "media": [attrs.asdict(medium) for medium in self.media],
            "orders": [attrs.asdict(order) for order in self.orders],
            "thaws": [attrs.asdict(thaw) for thaw in self.thaws],
            "ready_seconds": self.ready_seconds,
            "locate_seconds": self.locate_seconds,
            "read_seconds": self.read_seconds,
            "rewind_seconds": self.rewind_seconds,
            "total_seconds": self.total_seconds,
            "begin_seconds": self.begin_seconds,
            "data_seconds": self.data_seconds,
            "at_least": self.at_least,
            "volumes": len({medium.name for medium in self.media}) if volumes else None,
            "mounts": sum(medium.mounted is True for medium in self.media) if volumes else None,
            "price": None if self.price is None else attrs.asdict(self.price),
            "notes": list(self.notes),
        }


def after_each_other(rounds: Sequence[PlanEstimates]) -> PlanEstimates:
    """Join what is expected of the rounds of one plan; rounds without media take no time.

    Args:
        rounds: At least one; times of each are from the start of the restore. That with data, if
            there is one, comes last.
    """
    last = rounds[-1]
    ends = [found.total_seconds for found in rounds if found.total_seconds is not None]
    return attrs.evolve(
        last,
        media=tuple(medium for found in rounds for medium in found.media),
        orders=_orders([found.orders for found in rounds if found.orders]),
        tapes=tuple(tape for found in rounds for tape in found.tapes),
        ready_seconds=_sum(found.ready_seconds for found in rounds if found.media),
        locate_seconds=_sum(found.locate_seconds for found in rounds if found.media),
        read_seconds=_sum(found.read_seconds for found in rounds if found.media),
        rewind_seconds=_sum(found.rewind_seconds for found in rounds if found.media),
        total_seconds=max(ends, default=None),
        data_seconds=rounds[-2].total_seconds if len(rounds) > 1 else last.data_seconds,
        at_least=any(found.at_least for found in rounds),
        notes=tuple(dict.fromkeys(note for found in rounds for note in found.notes)),
    )


def _orders(rounds: Sequence[Sequence[ComparedOrder]]) -> tuple[ComparedOrder, ...]:
    """Return the sums of orders of the same names."""
    return tuple(
        attrs.evolve(
            same[-1],
            seconds=math.fsum(order.seconds for order in same),
            other_seconds=_sum(order.other_seconds for order in same),
        )
        for same in zip(*rounds, strict=False)
    )


def together(parts: Sequence[tuple[str, PlanEstimates]]) -> PlanEstimates | None:
    """Join what is expected of the plans of several stores, which are restored one by one.

    Args:
        parts: Name of each store, and what is expected of its plan, in the order of the restore.

    Returns:
        Media of all; sums of waits, positioning and reading; the end of the last. Without drawings
        and times of extents. ``None`` if there is nothing to join.
    """
    if not parts:
        return None
    every = [found for _, found in parts]
    media = tuple(
        attrs.evolve(medium, store=name) for name, found in parts for medium in found.media
    )
    prices = [found.price for found in every if found.price is not None]
    price = None
    if len(prices) == len(every) and len({each.currency for each in prices}) == 1:
        price = attrs.evolve(prices[0], micros=sum(each.micros for each in prices))
    return attrs.evolve(
        after_each_other(every),
        media=media,
        tapes=(),
        extent_seconds=(),
        data_seconds=None,
        begin_seconds=every[0].begin_seconds,
        price=price,
        notes=mount_notes(media),
    )


def short_stores(media: Sequence[PlannedMedium]) -> list[str]:
    """Return the beginning of the store of each medium, as long as stores can be told apart by it.

    Args:
        media: The media.
    """
    names = {medium.store for medium in media}
    short = len({name[:_SHORT] for name in names}) == len(names)
    return [medium.store[:_SHORT] if short else medium.store for medium in media]


def few_names(names: Sequence[str]) -> str:
    """Return names with commas between, and how many more there are.

    Args:
        names: The names.
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def mount_notes(media: Sequence[PlannedMedium], asked: int | None = None) -> tuple[str, ...]:
    """Return what there is to say about mounts; nothing where nothing is mounted.

    Args:
        media: The media in mount order.
        asked: Mounts if everything were read as it was asked for.
    """
    stays = Counter(medium.name for medium in media if medium.mounted)
    volumes = len({medium.name for medium in media if medium.mounted is not None})
    if not volumes:
        return ()
    mounts = stays.total()
    text = (
        f"{volumes:,} volume{'' if volumes == 1 else 's'} needed,"
        f" {mounts:,} mount{'' if mounts == 1 else 's'}"
    )
    notes = [text if asked is None else f"{text} ({asked:,} as asked)"]
    again = [name for name, times in stays.items() if times > 1]
    if again:
        notes.append(f"mounted more than once: {few_names(again)}")
    return tuple(notes)


def _sum(values: Iterable[float | None]) -> float | None:
    """Return the sum, or ``None`` if a part of it, or all, is not known."""
    every = list(values)
    known = [each for each in every if each is not None]
    return math.fsum(known) if len(known) == len(every) > 0 else None


def seconds_at(plan: ReadPlan, estimates: PlanEstimates, read: Ints) -> list[float | None] | None:
    """Predict when a number of bytes will have been read.

    Where several drives read at a time, what comes before in the reading order is done as well.

    Args:
        plan: The plan.
        estimates: What is expected of it.
        read: Bytes of the data round, counted in reading order, shape ``(n,)``.

    Returns:
        Seconds from the start of the restore; for 0 bytes those after which all maps are read.
        ``None`` for each that is not known, and for all where no times of extents are known.
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
    done = np.fmax.accumulate(np.concatenate(([-np.inf], times[:-1, 1])))[which]
    begin = estimates.begin_seconds if estimates.data_seconds is None else estimates.data_seconds
    found = np.where(read > 0, np.maximum(seconds, done), begin)
    return [
        each if known else None
        for each, known in zip(found.tolist(), np.isfinite(found).tolist(), strict=True)
    ]
