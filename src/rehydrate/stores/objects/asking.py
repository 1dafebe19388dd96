"""The requests of a thaw: what may be asked, what was, and what the job on disk says of it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from rehydrate.errors import Cancelled, LimitError, RequestError, StoreError, StoreReadError
from rehydrate.media.prices import Offer, PriceTable, parse_table
from rehydrate.media.tiers import ThawOptions, price
from rehydrate.ports import Clock
from rehydrate.stores.objects.archive import Archive, ObjectState, Stage
from rehydrate.stores.objects.job import Asked, Progress, ThawJob
from rehydrate.stores.objects.quote import ThawQuote
from rehydrate.stores.objects.survey import Survey, at_once
from rehydrate.values import StorePath

__all__ = ["CAPACITY", "Approve", "Asking", "ThawChoice"]

CAPACITY: Final = "thaw.capacity"
Approve: TypeAlias = Callable[[Sequence[StorePath], ThawQuote | LimitError | RequestError], None]
"""Is shown the containers of a round and the price of thawing them, or why there is none."""
_NS: Final = 1_000_000_000
_LONGEST: Final = 172_800  # seconds of the slowest thaw that any service names


@attrs.frozen(kw_only=True)
class ThawChoice:
    """What may be asked of the archive. Without one nothing is thawed.

    Attributes:
        speed: Way of the thaw, as the price table has it: ``"expedited"``, ``"standard"``,
            ``"bulk"``.
        job: File that the job is kept in; the same file continues the job after a restart.
        options: Days, rates and limits of cost. ``max_cost`` is for everything in the job file.
        table: Prices and times.
        fallback: Way to take where the service has no capacity for ``speed``; ``None`` = none.
        looks: Seconds from a request to the first look at an object, and between later ones at most;
            ``None`` = by the times of the table.
        patience: A thaw that takes so many times the longest time of the table is given up.
        approve: Called when the containers of a round are known, before anything of them is asked
            for and, in the first round of the data, before anything is written; on the thread of
            the store's calls. It may raise :class:`~rehydrate.Cancelled`: then nothing more is
            asked for. It is not bound to ``max_cost``, and cannot lift it.
    """

    speed: str
    job: Path
    options: ThawOptions = attrs.field(factory=ThawOptions)
    table: PriceTable = attrs.field(factory=parse_table)
    fallback: str | None = "standard"
    looks: tuple[float, float] | None = None
    patience: float = 2.0
    approve: Approve | None = None


class Asking:
    """Asks for thaws of one job; used by one thread at a time.

    Attributes:
        choice: What may be asked.
        job: What was asked for, on disk.
    """

    def __init__(
        self, archive: Archive, survey: Survey, choice: ThawChoice, url: str, clock: Clock
    ) -> None:
        """Open the job file.

        Args:
            archive: Whom to ask.
            survey: What is known of objects.
            choice: What may be asked.
            url: Which store the job belongs to.
            clock: Time.

        Raises:
            CorruptMetadataError: The file is no job, or one of another store.
            StoreReadError: It cannot be read.
        """
        self.choice = choice
        self.job = ThawJob(choice.job, url)
        self._archive, self._survey, self._clock = archive, survey, clock
        self._open = {path for path, asked in self.job if asked.progress is Progress.ASKED}

    def ask(self, paths: Sequence[StorePath]) -> dict[StorePath, StoreError | None]:
        """Ask for the thaw of those objects that are frozen.

        Args:
            paths: Objects.

        Returns:
            What went wrong with each that was asked for; ``None`` = nothing.
        """
        frozen = [path for path in paths if self._survey.stage(path) is Stage.FROZEN]
        entries = {path: self._entry(path) for path in frozen}
        try:
            self.job.put(entries)
        except StoreReadError as error:
            return dict.fromkeys(frozen, error)
        problems: dict[StorePath, StoreError | None] = {}
        changes: dict[StorePath, Asked] = {}
        for path, (speed, problem) in zip(frozen, at_once(self._thaw, frozen), strict=True):
            problems[path] = problem
            entry = entries[path]
            if problem is None:
                self._survey.turned(path, Stage.THAWING)
                dearer = self._cost(path, speed) - self._cost(path, entry.speed)
                changes[path] = attrs.evolve(
                    entry, progress=Progress.ASKED, speed=speed, price=entry.price + dearer
                )
            else:
                changes[path] = attrs.evolve(entry, progress=Progress.REFUSED)
        self.job.put(changes)
        self._open.update(path for path, problem in problems.items() if problem is None)
        return problems

    def renew(self, path: StorePath) -> None:
        """Ask for more days of a copy, if the limit of cost allows it; refusals do not matter.

        Args:
            path: The object.
        """
        table, options = self.choice.table, self.choice.options
        offer = self._offer(path, self.choice.speed)
        if offer is None:
            return
        cost = price(table, offer, 1, 0, options.days).total
        cost += price(table, offer, 0, self.size(path), options.days).kept
        if options.max_cost is not None and self.spent(()) + cost > options.max_cost:
            return
        if self._thaw_by(path, self.choice.speed) is None:
            self._survey.look((path,), again=True)
            self.note_ready(path, more=cost)

    def _thaw(self, path: StorePath) -> tuple[str, StoreError | None]:
        """Ask for one object; return the way that was taken and what went wrong."""
        choice = self.choice
        refused = self._thaw_by(path, choice.speed)
        if refused is None or refused.code != CAPACITY or not self._may_fall_back(path):
            return choice.speed, refused
        fallback = choice.fallback or choice.speed
        return fallback, self._thaw_by(path, fallback)

    def _may_fall_back(self, path: StorePath) -> bool:
        """Tell whether there is another way, with a price, that cannot break the limit of cost."""
        choice = self.choice
        if choice.fallback is None or self._offer(path, choice.fallback) is None:
            return False
        dearer = self._cost(path, choice.fallback) > self._cost(path, choice.speed)
        return choice.options.max_cost is None or not dearer

    def _thaw_by(self, path: StorePath, speed: str) -> StoreError | None:
        try:
            self._call_thaw(path, speed)
        except StoreError as error:
            return error
        return None

    def _call_thaw(self, path: StorePath, speed: str) -> None:
        """Ask the service; whatever an archive of a vendor raises is a refusal, not a thaw begun.

        Raises:
            StoreError: Refused.
            Cancelled: As it came.
        """
        state = self._survey.state(path) or ObjectState(stage=Stage.FROZEN)
        version, days = self._survey.version_of(path), self.choice.options.days
        try:
            self._archive.thaw(path, version, state, speed=speed, days=days)
        except (StoreError, Cancelled):
            raise
        except Exception as error:
            raise StoreReadError(
                f"{type(error).__name__}: {error}",
                code="thaw.refused",
                container=path,
                retryable=getattr(error, "retryable", True) is not False,
            ) from error

    def note_ready(self, path: StorePath, *, more: int = 0) -> None:
        """Let the job say that an object can be read; written with the next wave or the last object.

        Args:
            path: The object, asked for or not.
            more: What was paid for it besides, millionths.
        """
        asked, state = self.job.get(path), self._survey.state(path)
        if asked is not None:
            expires = None if state is None else state.expires_ns
            changed = attrs.evolve(
                asked, progress=Progress.READY, expires_ns=expires, price=asked.price + more
            )
            self.job.note({path: changed})
        self._open.discard(path)
        if asked is not None and not self._open:
            with suppress(StoreReadError):  # it would only say less than the service
                self.job.write()

    def spent(self, without: Sequence[StorePath]) -> int:
        """Return the estimated price of what was asked for, millionths.

        Args:
            without: Objects that are going to be asked for, and may have been about to be.
        """
        doubtful = {path for path in without if self._progress(path) is Progress.ASKING}
        return sum(asked.price for path, asked in self.job if path not in doubtful)

    def _progress(self, path: StorePath) -> Progress | None:
        asked = self.job.get(path)
        return None if asked is None else asked.progress

    def _entry(self, path: StorePath) -> Asked:
        before = self.job.get(path)
        paid = 0  # a copy that expired is paid again
        if before is not None and before.progress in {Progress.READY, Progress.ASKED}:
            paid = before.price
        return Asked(
            progress=Progress.ASKING,
            speed=self.choice.speed,
            days=self.choice.options.days,
            size=self.size(path),
            price=paid + self._cost(path, self.choice.speed),
            asked_ns=self._clock.time_ns(),
            version=self._survey.version_of(path),
        )

    def _cost(self, path: StorePath, speed: str) -> int:
        table = self.choice.table
        offer = table.offer(self.tier(path), speed)
        size = max(self.size(path), offer.minimum_bytes)
        return price(table, offer, 1, size, self.choice.options.days).total

    def _offer(self, path: StorePath, speed: str) -> Offer | None:
        """Return a way for an object; None where the table has none."""
        wanted = self.tier(path), speed
        offers = self.choice.table.offers
        return next((offer for offer in offers if (offer.tier, offer.speed) == wanted), None)

    def slow_s(self, path: StorePath) -> int:
        """Return how many seconds a thaw may take; it may have been asked for in another way.

        Args:
            path: The object.
        """
        asked = self.job.get(path)
        tier, speed = self.tier(path), None if asked is None else asked.speed
        times = {
            offer.speed: offer.slow_s for offer in self.choice.table.offers if offer.tier == tier
        }
        return times.get(speed or self.choice.speed, max(times.values(), default=_LONGEST))

    def due_ns(self, path: StorePath) -> int | None:
        """Return when an object can be read at the latest, nanoseconds since 1970.

        Args:
            path: The object.

        Returns:
            ``None`` if the job has not asked for it.
        """
        asked = self.job.get(path)
        return None if asked is None else asked.asked_ns + self.slow_s(path) * _NS

    def tier(self, path: StorePath) -> str:
        """Return the archive tier of an object, as the price table names it; empty = none.

        Args:
            path: The object.
        """
        state = self._survey.state(path)
        return "" if state is None else state.tier

    def size(self, path: StorePath) -> int:
        """Return the bytes of an object; 0 = not known.

        Args:
            path: The object.
        """
        state = self._survey.state(path)
        return 0 if state is None else state.size
