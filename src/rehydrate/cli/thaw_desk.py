"""What a restore that thaws tells: the price before anything is asked for, and how far it is.

One desk belongs to one restore. The store shows it the price of each round before it asks the service
for anything: the rounds of the restore itself are refused as a whole where they cost more than they
may. What repairs need besides is thawed within what is left of the limit, and fails alone otherwise.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from rehydrate.cli.output import Json, shown, tell
from rehydrate.cli.sizes import counted, duration, moment, size
from rehydrate.errors import Cancelled, LimitError, NotReadyError, RequestError, RestoreError
from rehydrate.media.prices import PriceTable
from rehydrate.requests import CancelToken
from rehydrate.results import Waiting
from rehydrate.stores.objects.quote import Outlook, ThawQuote
from rehydrate.values import FileExtent, StorePath

__all__ = ["ThawDesk", "time_of"]

_CHANGED: Final = 300.0
_UNCHANGED: Final = 3600.0
_TICK: Final = 0.1
_MAPS: Final = "Stream"


class Thaws(Protocol):
    """A store that thaws."""

    def order_containers_restore(self, containers: Sequence[StorePath], /) -> object:
        """Look at the containers of a round, and have their price approved."""
        ...

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Return if an object can be read; ask for thaws that are due."""
        ...

    def outlook(self) -> Outlook | None:
        """Tell how far the thaw of the round is that was ordered last."""
        ...

    @property
    def spent(self) -> int:
        """What the job asked for, millionths, by the price table."""
        ...


class ThawDesk:
    """See the module; :meth:`approve` is called on the thread of the store, the rest is not.

    Attributes:
        refusal: Why the restore was refused: it costs more than it may, or there is no price for
            it; ``None`` = it was not. Nothing was asked for in the round that was refused.
    """

    def __init__(
        self,
        job: Path,
        table: PriceTable,
        limit: int | None,
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        """Begin.

        Args:
            job: File of the thaw job.
            table: Prices.
            limit: Most millionths for everything in the job; ``None`` = no limit.
            remarks: What else a thaw means, by archive tier.
        """
        self._remarks = remarks or {}
        self._job, self._table, self._limit = job, table, limit
        self._folders: set[str] = set()
        self.refusal: RestoreError | None = None
        self._quotes: list[ThawQuote] = []
        self._store: Thaws | None = None
        self._last: tuple[float, int] | None = None

    def watch(self, store: Thaws) -> None:
        """Take the store that thaws.

        Args:
            store: The store.
        """
        self._store = store

    def approve(
        self, containers: Sequence[StorePath], found: ThawQuote | LimitError | RequestError
    ) -> None:
        """Tell the price of a round, or refuse it.

        Args:
            containers: Containers of the round.
            found: What the thaw of the frozen ones costs, or why there is no price.

        Raises:
            Cancelled: It costs too much, or cannot be thawed so; :attr:`refusal` says why.
        """
        self._last = None
        folders = {path.partition("/")[0] for path in containers}
        repair = folders <= self._folders
        self._folders |= folders
        problem = self._too_dear(found) if isinstance(found, ThawQuote) else found
        if isinstance(found, ThawQuote) and problem is None:
            self._tell_price(found, folders, repair=repair)
            return
        if not repair:
            self.refusal = problem
            raise Cancelled
        tell(f"rehydrate: repairs need archived objects that are not thawed: {problem}")

    def _too_dear(self, quote: ThawQuote) -> RestoreError | None:
        if self._limit is None or not quote.frozen or quote.spent + quote.total <= self._limit:
            return None
        money = self._table.money
        before, end = "", "nothing was asked for, and nothing written"
        if quote.spent:
            before = f" besides {money(quote.spent)} spent before by {self._job}"
            end = "nothing more was asked for"
        return LimitError(
            f"the thaw of {_objects(quote)} costs {money(quote.total)}{before}, more than"
            f" --max-cost {money(self._limit)}: {end}",
            code="thaw.max-cost",
        )

    def _tell_price(self, quote: ThawQuote, folders: set[str], *, repair: bool) -> None:
        if quote.thawing:
            tell(f"rehydrate: asked for before, and nothing to pay: {_count(quote.thawing)}")
        if quote.unknown:
            tell(
                f"rehydrate: the service says nothing of {_count(quote.unknown)}: what they may cost is"
                " not in the price, and reads will tell why"
            )
        if not quote.frozen:
            return
        self._quotes.append(quote)
        money, why = self._table.money, "repairs need the " if repair else ""
        parts = (
            f"requests {money(quote.requests)}, bytes {money(quote.retrieval)},"
            f" copies {money(quote.kept)}"
        )
        waves = "" if quote.waves == 1 else f", in {quote.waves:,} waves"
        tell(
            f"rehydrate: {why}thaw of {_objects(quote)}, {quote.speed}{waves}:"
            f" {money(quote.total)} ({parts}), readable after {time_of(quote)}"
        )
        if quote.spent:
            tell(f"rehydrate: {money(quote.spent)} were spent before by {shown(str(self._job))}")
        for tier in sorted(self._remarks.keys() & quote.tiers):
            tell(f"rehydrate: {self._remarks[tier]}")
        if folders == {_MAPS}:
            tell(
                "rehydrate: these hold entries and maps; what the data costs is known when they are read"
            )

    def thaw_first(self, containers: Sequence[StorePath], cancel: CancelToken | None) -> None:
        """Thaw what the entries of a version are read from, and wait for it.

        Args:
            containers: These containers.
            cancel: Stops the waiting.

        Raises:
            LimitError: It costs more than it may.
            RequestError: There is no price for it.
            StoreReadError: The service refused.
            Cancelled: It was stopped.
        """
        store = self._store
        if store is None:
            return
        try:
            store.order_containers_restore(containers)
        except Cancelled:
            raise self.refusal or Cancelled() from None
        self._folders.clear()  # the maps themselves have a round of their own
        waiting = list(containers)
        while waiting:
            waiting, seconds, message = _not_ready(store, waiting)
            if waiting:
                self.waits(Waiting(len(waiting), len(containers), seconds, message))
            end = time.monotonic() + seconds
            while waiting and (left := end - time.monotonic()) > 0:
                if cancel is not None and cancel.cancelled:
                    raise Cancelled("interrupted; the thaw goes on, run the same command again")
                time.sleep(min(left, _TICK))

    def waits(self, event: Waiting) -> str:
        """Tell that nothing can be read now: at first, where objects became ready, each hour.

        Args:
            event: What the engine says.

        Returns:
            A few words for a progress bar.
        """
        outlook = None if self._store is None else self._store.outlook()
        if outlook is None:
            return "waiting for a thaw"
        total = outlook.ready + outlook.thawing + outlook.later
        now = time.monotonic()
        if self._last is None:
            self._tell_of_wait(outlook)
            self._last = now, outlook.ready
        since, ready = self._last
        if now - since >= (_UNCHANGED if ready == outlook.ready else _CHANGED):
            self._last = now, outlook.ready
            tell(
                f"rehydrate: {outlook.ready:,} of {_count(total)} thawed; the next look is in"
                f" {duration(event.seconds)}"
            )
        return f"waiting for the thaw: {outlook.ready:,} of {total:,} ready"

    def _tell_of_wait(self, outlook: Outlook) -> None:
        due = f"by {moment(outlook.due_ns)} at the latest" if outlook.due_ns else "at some time"
        later = f", and then {outlook.later:,} more are asked for" if outlook.later else ""
        tell(
            f"rehydrate: waiting for the thaw of {_count(outlook.thawing)}, ready {due}{later};"
            f" interrupt it if you like: the same command goes on from {shown(str(self._job))}"
        )

    @property
    def _spent(self) -> int:
        return 0 if self._store is None else self._store.spent

    def summary(self) -> str:
        """Return one line about what was paid; empty if nothing was."""
        if not self._spent:
            return ""
        money = self._table.money(self._spent)
        return f"thaws cost {money} by the price table; {shown(str(self._job))} lists them"

    def as_record(self) -> dict[str, Json]:
        """Return what was thawed, for JSON: one object for each round with a price."""
        return {
            "job": str(self._job),
            "currency": self._table.currency,
            "max_cost": self._limit,
            "spent": self._spent,
            "rounds": [
                {
                    "speed": quote.speed,
                    "objects": quote.frozen,
                    "bytes": quote.frozen_bytes,
                    "thawing_before": quote.thawing,
                    "waves": quote.waves,
                    "quick_seconds": quote.quick_seconds,
                    "slow_seconds": quote.slow_seconds,
                    "requests": quote.requests,
                    "retrieval": quote.retrieval,
                    "kept": quote.kept,
                    "price": quote.total,
                    "spent_before": quote.spent,
                }
                for quote in self._quotes
            ],
        }


def time_of(quote: ThawQuote) -> str:
    """Return how long a thaw takes, as ``3 h 00 min to 5 h 00 min`` or ``up to 12 h 00 min``.

    Args:
        quote: What was told of it.
    """
    slow = duration(quote.slow_seconds)
    return f"{duration(quote.quick_seconds)} to {slow}" if quote.quick_seconds else f"up to {slow}"


def _objects(quote: ThawQuote) -> str:
    return f"{_count(quote.frozen)} of {size(quote.frozen_bytes)}"


def _count(number: int) -> str:
    return counted(number, "object")


def _not_ready(store: Thaws, containers: Sequence[StorePath]) -> tuple[list[StorePath], float, str]:
    """Return which cannot be read yet, when to look again, and what the store says."""
    waiting: list[StorePath] = []
    seconds, message = 0.0, ""
    for path in containers:
        try:
            store.preview_container_read(path, ())
        except NotReadyError as error:
            if not waiting or error.retry_after < seconds:
                seconds, message = error.retry_after, error.message
            waiting.append(path)
    return waiting, seconds, message
