"""What a restore finds in archive tiers and what thawing it takes, before anything is asked for."""

from collections.abc import Mapping, Sequence

import attrs

from rehydrate.errors import LimitError, RequestError, RestoreError
from rehydrate.media.prices import PriceTable
from rehydrate.media.tiers import ThawOptions, ThawPlan, thaw_plan
from rehydrate.values import StorePath

__all__ = ["Outlook", "ThawQuote", "plans_of", "quote_of", "split_off"]


@attrs.frozen(kw_only=True)
class ThawQuote:
    """The price and the time of a thaw.

    Attributes:
        speed: Way of the thaw.
        readable: Objects that can be read now.
        thawing: Objects whose thaw was asked for before.
        frozen: Objects to be thawed.
        unknown: Objects that the service says nothing about (missing, or not allowed).
        frozen_bytes: Bytes to be thawed: whole objects.
        waves: Requests go out in so many waves.
        seconds: Until the last byte is read, at the latest, as the table has it.
        requests: Price of the requests, millionths.
        retrieval: Price of the bytes, millionths.
        kept: Price of keeping the copies, millionths.
        currency: Currency of the prices.
        quick_seconds: Until the first object can be read, at the earliest.
        slow_seconds: Until the objects of the first waves can be read, at the latest.
        spent: What the job asked for before, millionths; a limit is for this, too.
        tiers: Archive tiers of the frozen objects, as the price table names them.
    """

    speed: str
    readable: int
    thawing: int
    frozen: int
    unknown: int
    frozen_bytes: int
    waves: int
    seconds: int
    requests: int
    retrieval: int
    kept: int
    currency: str
    quick_seconds: int = 0
    slow_seconds: int = 0
    spent: int = 0
    tiers: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All prices together, millionths."""
        return self.requests + self.retrieval + self.kept


@attrs.frozen(kw_only=True)
class Outlook:
    """How far the thaw of a round is; objects that could be read from the start are not counted.

    Attributes:
        ready: Objects that can be read by now.
        thawing: Objects that are being thawed.
        later: Objects that are asked for later, when the ones before were read.
        refused: Objects that will not be thawed.
        due_ns: When those that are being thawed can be read at the latest, nanoseconds since 1970;
            ``None`` = none is, or all were asked for by somebody else.
    """

    ready: int
    thawing: int
    later: int
    refused: int
    due_ns: int | None


def plans_of(
    sizes: Mapping[str, Sequence[int]], speed: str, table: PriceTable, options: ThawOptions
) -> dict[str, ThawPlan]:
    """Plan the waves of each archive tier.

    Args:
        sizes: Bytes of the objects of each tier, in the order of reading.
        speed: Way of the thaw.
        table: Prices.
        options: Choices; ``max_cost`` is for all tiers together.

    Raises:
        LimitError: It costs too much, or an object cannot be read within the days.
        RequestError: The table has no price for this.
    """
    free = attrs.evolve(options, max_cost=None)
    plans = {
        tier: thaw_plan(column, table, table.offer(tier, speed), free)
        for tier, column in sizes.items()
    }
    total = sum(plan.price.total for plan in plans.values())
    if options.max_cost is not None and total > options.max_cost:
        raise LimitError(
            f"the thaw costs {table.money(total)}, more than {table.money(options.max_cost)}",
            code="thaw.max-cost",
        )
    return plans


def split_off(
    sizes: Mapping[str, Mapping[StorePath, int]],
    speed: str,
    table: PriceTable,
    options: ThawOptions,
) -> tuple[dict[str, dict[StorePath, int]], dict[StorePath, RestoreError]]:
    """Separate the objects that cannot be thawed in any case, so that they cost no others.

    Args:
        sizes: Bytes of the objects of each tier.
        speed: Way of the thaw.
        table: Prices.
        options: Choices; ``max_cost`` does not count here.

    Returns:
        The sizes of the others, and why each is not among them.
    """
    free = attrs.evolve(options, max_cost=None)
    possible: dict[str, dict[StorePath, int]] = {}
    problems: dict[StorePath, RestoreError] = {}

    def halve(tier: str, paths: list[StorePath]) -> None:
        column = {path: sizes[tier][path] for path in paths}
        try:
            plans_of({tier: list(column.values())}, speed, table, free)
        except (LimitError, RequestError) as error:
            if len(paths) == 1 or isinstance(error, RequestError):
                problems.update(dict.fromkeys(paths, error))
                return
            halve(tier, paths[: len(paths) // 2])
            halve(tier, paths[len(paths) // 2 :])
        else:
            possible.setdefault(tier, {}).update(column)

    for tier, column in sizes.items():
        halve(tier, list(column))
    return possible, problems


def quote_of(
    plans: Mapping[str, ThawPlan],
    *,
    speed: str,
    table: PriceTable,
    counts: Mapping[str, int],
    frozen_bytes: int,
    spent: int = 0,
) -> ThawQuote:
    """Sum up plans.

    Args:
        plans: Plan of each archive tier.
        speed: Way of the thaw.
        table: Prices.
        counts: Objects by ``"readable"``, ``"thawing"``, ``"frozen"`` and ``"unknown"``.
        frozen_bytes: Bytes to be thawed.
        spent: What was asked for before, millionths.
    """
    offers = [table.offer(tier, speed) for tier in plans]
    prices = [plan.price for plan in plans.values()]
    return ThawQuote(
        speed=speed,
        readable=counts.get("readable", 0),
        thawing=counts.get("thawing", 0),
        frozen=counts.get("frozen", 0),
        unknown=counts.get("unknown", 0),
        frozen_bytes=frozen_bytes,
        waves=sum(len(plan.waves) for plan in plans.values()),
        seconds=max((plan.seconds for plan in plans.values()), default=0),
        requests=sum(price.requests for price in prices),
        retrieval=sum(price.retrieval for price in prices),
        kept=sum(price.kept for price in prices),
        currency=table.currency,
        quick_seconds=min((offer.quick_s for offer in offers), default=0),
        slow_seconds=max(
            (plan.waves[0].ready_s for plan in plans.values() if plan.waves), default=0
        ),
        spent=spent,
        tiers=tuple(sorted(plans)),
    )
