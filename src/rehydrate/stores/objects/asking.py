"""The requests of a thaw: what may be asked, what was, and what the job on disk says of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from rehydrate.errors import Cancelled, LimitError, RequestError, StoreError, StoreReadError
from rehydrate.media.prices import Offer, PriceTable, parse_table
from rehydrate.media.tiers import ThawOptions
from rehydrate.ports import Clock
from rehydrate.stores.objects.archive import Archive, ObjectState, Stage
from rehydrate.stores.objects.job import Asked, Progress, ThawJob
from rehydrate.stores.objects.quote import ThawQuote
from rehydrate.stores.objects.survey import Survey, at_once
from rehydrate.stores.objects.tariff import Tariff
from rehydrate.values import StorePath

__all__ = ["CAPACITY", "Approve", "Asking", "ThawChoice"]

CAPACITY: Final = "thaw.capacity"
Approve: TypeAlias = Callable[[Sequence[StorePath], ThawQuote | LimitError | RequestError], None]
"""Is shown the containers of a round and the price of thawing them, or why there is none."""
_NS: Final = 1_000_000_000
_HOUR: Final = 3600
# After these the service may have taken the request all the same.
_DOUBTFUL: Final = frozenset({"object.network", "object.server"})
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
        tariff: What objects cost.
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
        self.job = ThawJob(choice.job, url, choice.table.currency)
        self.tariff = Tariff(survey, choice.table, choice.options.days)
        self._archive, self._survey, self._clock = archive, survey, clock
        self._open = {path for path, asked in self.job if asked.progress is Progress.ASKED}
        # Bytes that are thawed by each way at once: some services thaw so many in an hour.
        self._queued: Counter[str] = Counter()
        for _, asked in self.job:
            if asked.progress in {Progress.ASKED, Progress.ASKING}:
                self._queued[asked.speed] += asked.size

    def ask(self, paths: Sequence[StorePath]) -> dict[StorePath, StoreError | None]:
        """Ask for the thaw of those objects that are frozen.

        Args:
            paths: Objects.

        Returns:
            What went wrong with each that was asked for; ``None`` = nothing.
        """
        frozen = [path for path in paths if self._survey.stage(path) is Stage.FROZEN]
        entries = self._entries(frozen)
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
                dearer = self.tariff.dearer(path, speed, entry.speed)
                changes[path] = attrs.evolve(
                    entry, progress=Progress.ASKED, speed=speed, price=entry.price + dearer
                )
                self._queued[speed] += entry.size
            else:
                price = entry.price if problem.code in _DOUBTFUL else entry.paid
                changes[path] = attrs.evolve(entry, progress=Progress.REFUSED, price=price)
        self.job.put(changes)
        self._open.update(path for path, problem in problems.items() if problem is None)
        return problems

    def renew(self, paths: Sequence[StorePath], spent: int) -> None:
        """Ask for more days of copies, as far as the limit of cost allows it.

        The job says so before the service is asked. Refusals do not matter.

        Args:
            paths: Objects that can be read.
            spent: What was asked for, or is about to be, millionths.
        """
        limit, speed = self.choice.options.max_cost, self.choice.speed
        before: dict[StorePath, Asked] = {}
        entries: dict[StorePath, Asked] = {}
        for path in dict.fromkeys(paths):
            cost = self.tariff.longer(path, speed)
            if cost is None:
                continue
            spent += cost
            if limit is not None and spent > limit:
                break
            before[path] = self.job.get(path) or self._thawed_by_others(path)
            entries[path] = attrs.evolve(before[path], price=before[path].price + cost)
        if not entries:
            return
        try:
            self.job.put(entries)
        except StoreReadError:
            return
        refusals = at_once(lambda path: self._thaw_by(path, speed), list(entries))
        refused = {
            path: problem for path, problem in zip(entries, refusals, strict=True) if problem
        }
        self._survey.look(entries.keys() - refused.keys(), again=True)
        self.job.note(
            {path: before[path] for path in refused if refused[path].code not in _DOUBTFUL}
        )
        for path in entries.keys() - refused.keys():
            self._note_ready(path)
        self._write()

    def _thawed_by_others(self, path: StorePath) -> Asked:
        return Asked(
            progress=Progress.READY,
            speed=self.choice.speed,
            days=self.choice.options.days,
            size=self.tariff.size(path),
            price=0,
            asked_ns=self._clock.time_ns(),
            version=self._survey.version_of(path),
        )

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
        if choice.fallback is None or self.tariff.offer(path, choice.fallback) is None:
            return False
        dearer = self.tariff.dearer(path, choice.fallback, choice.speed) > 0
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

    def note_ready(self, path: StorePath) -> None:
        """Let the job say that an object can be read; written with the next wave or the last object.

        Args:
            path: The object, asked for or not.
        """
        self._note_ready(path)
        if self.job.get(path) is not None and not self._open:
            self._write()

    def _note_ready(self, path: StorePath) -> None:
        asked, state = self.job.get(path), self._survey.state(path)
        if asked is not None:
            expires = None if state is None else state.expires_ns
            self.job.note({path: attrs.evolve(asked, progress=Progress.READY, expires_ns=expires)})
        self._open.discard(path)

    def _write(self) -> None:
        with suppress(StoreReadError):  # it would only say less than the service
            self.job.write()

    def spent(self, without: Sequence[StorePath]) -> int:
        """Return the estimated price of what was asked for, millionths.

        Args:
            without: Objects that are going to be asked for: what was refused or may have been
                about to be asked is not counted besides.
        """
        doubt = {Progress.ASKING, Progress.REFUSED}
        again = set(without)
        return sum(
            asked.paid if asked.progress in doubt and path in again else asked.price
            for path, asked in self.job
        )

    def _entries(self, paths: Sequence[StorePath]) -> dict[StorePath, Asked]:
        """Return what the job says before objects are asked for; their prices sum up to the plan's."""
        choice, now = self.choice, self._clock.time_ns()
        entries: dict[StorePath, Asked] = {}
        for path, cost in zip(paths, self.tariff.costs(paths, choice.speed), strict=True):
            before = self.job.get(path)
            paid = 0 if before is None else before.sure
            entries[path] = Asked(
                progress=Progress.ASKING,
                speed=choice.speed,
                days=choice.options.days,
                size=self.tariff.size(path),
                price=paid + cost,
                asked_ns=now,
                version=self._survey.version_of(path),
                paid=paid,
            )
        return entries

    def slow_s(self, path: StorePath) -> int:
        """Return how many seconds a thaw may take; it may have been asked for in another way.

        Args:
            path: The object.
        """
        asked = self.job.get(path)
        tier, speed = self.tariff.tier(path), None if asked is None else asked.speed
        times = {
            offer.speed: offer.slow_s + self._queue_s(offer)
            for offer in self.choice.table.offers
            if offer.tier == tier
        }
        return times.get(speed or self.choice.speed, max(times.values(), default=_LONGEST))

    def _queue_s(self, offer: Offer) -> int:
        rate = offer.bytes_per_hour
        return -(-self._queued[offer.speed] * _HOUR // rate) if rate else 0

    def due_ns(self, path: StorePath) -> int | None:
        """Return when an object can be read at the latest, nanoseconds since 1970.

        Args:
            path: The object.

        Returns:
            ``None`` if the job has not asked for it.
        """
        asked = self.job.get(path)
        return None if asked is None else asked.asked_ns + self.slow_s(path) * _NS
