"""What a plan tells of archived objects: how many there are, what thawing them takes and costs."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import attrs

from rehydrate.cli.remote import USUAL_SPEED, access_of, table_of, thaw_options
from rehydrate.cli.sizes import counted, size
from rehydrate.cli.sources import RemoteOptions
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import LimitError, RequestError
from rehydrate.media.prices import PriceTable
from rehydrate.media.tiers import ThawOptions
from rehydrate.plan.estimates import PlanEstimates, PlannedMedium, Price
from rehydrate.plan.read_plan import PlannedContainer, ReadPlan
from rehydrate.plan.thaws import ComparedThaw
from rehydrate.protocols import BackupStore
from rehydrate.stores.objects.archive import Archive, ObjectState, Stage
from rehydrate.stores.objects.archives import REMARKS, archive_of, can_thaw
from rehydrate.stores.objects.quote import ThawQuote
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from rehydrate.values import StoreId, StorePath

__all__ = ["ThawForecast", "compare_thaws", "thaw_forecast"]


def thaw_forecast(url: str, options: RemoteOptions) -> "ThawForecast | None":
    """Return who prices the thaws of a store, or None where there is nothing to thaw.

    Args:
        url: The store.
        options: How it would be read.

    Raises:
        RequestError: Thawing was asked for, and objects of such a store are not thawed.
        StoreReadError: Thawing was asked for, and its package is missing.
    """
    if options.thaw is None and not can_thaw(url):
        return None
    access = access_of(url, options.endpoint, os.environ)
    return ThawForecast(_Remembering(archive_of(url, access)), options)


@attrs.frozen(eq=False)
class _Remembering:
    """Keeps what the service said of each object, so that it is asked once."""

    archive: Archive
    states: dict[str, ObjectState] = attrs.field(factory=dict)

    def state(self, key: str, version: str | None, /) -> ObjectState:
        """Ask, and keep the answer."""
        found = self.states[key] = self.archive.state(key, version)
        return found

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        """Refuse: a plan thaws nothing."""
        del version, state, speed, days
        raise RequestError(f"a plan does not thaw {key}")


class ThawForecast:
    """Implements :class:`~rehydrate.cli.plan_output.Forecast` for archived objects."""

    def __init__(self, archive: _Remembering, options: RemoteOptions) -> None:
        """Begin without knowledge.

        Args:
            archive: Knows the states of objects.
            options: How they would be thawed.
        """
        self._archive, self._options = archive, options
        self._store: ThawingStore | None = None

    def stores(self, stores: Mapping[StoreId, BackupStore]) -> Mapping[StoreId, BackupStore]:
        """Return the stores, so that they are asked for what is archived and put it last.

        Args:
            stores: The one store.
        """
        for owner, store in stores.items():
            if isinstance(store, ObjectStore):
                self._store = ThawingStore(store, self._archive)
                return {**stores, owner: self._store}
        return stores

    @property
    def looks_first(self) -> bool:
        """The order needs no plan."""
        return False

    def learn(self, plan: ReadPlan, /) -> None:
        """Learn nothing.

        Args:
            plan: A plan.
        """

    @property
    def ready_bytes(self) -> int | None:
        """Nothing is told of what is at hand."""
        return None

    def estimates(self, found: SketchedPlan) -> PlanEstimates | None:
        """Price the thaw of the objects that the data round needs.

        Args:
            found: The plan.

        Raises:
            LimitError: It costs more than it may.
            RequestError: The price table has no price for it.
        """
        if self._store is None:
            return None
        table, speed = table_of(self._options), self._options.thaw or USUAL_SPEED
        containers = found.plan.round("data").by_container()
        media = self._media(containers, table, speed)
        paths = [container.path for container in containers]
        options = thaw_options(self._options)
        quote = self._store.quote(paths, speed=speed, table=table, options=options)
        notes = (*_notes(quote, self._options), *self._remarks())
        known = self._archive.states
        states = [known[path] for path in paths if path in known]
        if not quote.frozen:
            return PlanEstimates(media=media, notes=notes)
        return PlanEstimates(
            media=media,
            thaws=tuple(compare_thaws(self._store, paths, states, (table, options), taken=speed)),
            ready_seconds=max((medium.ready_seconds or 0.0 for medium in media), default=0.0),
            total_seconds=float(quote.seconds),
            price=Price(micros=quote.total, currency=quote.currency),
            notes=notes,
        )

    def _media(
        self, containers: tuple[PlannedContainer, ...], table: PriceTable, speed: str
    ) -> tuple[PlannedMedium, ...]:
        groups: dict[tuple[str, str, str], list[PlannedContainer]] = {}
        for container in containers:
            groups.setdefault(self._group(container), []).append(container)
        media = []
        for (name, tier, kind), members in groups.items():
            ready = None
            if name == Stage.FROZEN:
                with suppress(RequestError):  # the quote tells
                    ready = float(table.offer(tier, speed).slow_s)
            medium = PlannedMedium(
                name=name,
                kind=tier or kind,
                containers=len(members),
                bytes_to_read=sum(member.bytes_to_read for member in members),
                ready_seconds=ready,
                note=kind if tier else "",
            )
            media.append(medium)
        return tuple(media)

    def _remarks(self) -> list[str]:
        states = self._archive.states.values()
        tiers = {state.tier for state in states if state.stage is Stage.FROZEN}
        return [REMARKS[tier] for tier in sorted(tiers & REMARKS.keys())]

    def _group(self, container: PlannedContainer) -> tuple[str, str, str]:
        state = self._archive.states.get(container.path)
        if state is None:
            return "unknown", "", ""
        return state.stage.value, state.tier, state.storage_class


def compare_thaws(
    store: ThawingStore,
    paths: list[StorePath],
    states: Iterable[ObjectState],
    terms: tuple[PriceTable, ThawOptions],
    *,
    taken: str,
) -> Iterator[ComparedThaw]:
    """Price each way that the table has for one of the archived objects.

    Args:
        store: Prices thaws.
        paths: The objects.
        states: Their states.
        terms: Prices, and how long copies are kept.
        taken: The way that is shown.

    Yields:
        One entry for each way, in the order of the table.
    """
    table, options = terms
    options = attrs.evolve(options, max_cost=None)
    frozen = [state for state in states if state.stage is Stage.FROZEN]
    tiers = {state.tier for state in frozen}
    speeds = [offer.speed for offer in table.offers if offer.thaws and offer.tier in tiers]
    for speed in dict.fromkeys(speeds):
        missing = tiers - {offer.tier for offer in table.offers if offer.speed == speed}
        problem = f"not for {', '.join(sorted(missing))}"
        try:
            quote = store.quote(paths, speed=speed, table=table, options=options)
        except (LimitError, RequestError) as error:
            yield ComparedThaw(
                speed=speed,
                objects=len(frozen),
                bytes=sum(state.size for state in frozen),
                problem=problem if missing else error.message,
            )
            continue
        yield ComparedThaw(
            speed=speed,
            objects=quote.frozen,
            bytes=quote.frozen_bytes,
            waves=quote.waves,
            quick_seconds=quote.quick_seconds,
            slow_seconds=quote.slow_seconds,
            total_seconds=quote.seconds,
            requests=quote.requests,
            retrieval=quote.retrieval,
            kept=quote.kept,
            price=quote.total,
            currency=quote.currency,
            taken=speed == taken,
        )


def _notes(quote: ThawQuote, options: RemoteOptions) -> list[str]:
    if not quote.frozen:
        return []
    parts = (quote.requests, quote.retrieval, quote.kept)
    requests, retrieval, kept = (Price(micros=part, currency=quote.currency) for part in parts)
    objects = counted(quote.frozen, "object")
    waves = counted(quote.waves, "wave")
    notes = [
        f"{objects} of {size(quote.frozen_bytes)} would be thawed whole, {quote.speed}, in {waves}",
        f"requests {requests}, bytes {retrieval}, copies {kept}",
    ]
    if options.prices is None:
        notes.append("prices are list prices that may have changed: see --price-table")
    if options.thaw is None:
        notes.append(f"nothing is thawed unless a restore is told to: --thaw {quote.speed}")
    return notes
