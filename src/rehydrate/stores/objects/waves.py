"""The waves of a thaw job as they go: asked for, looked after, renewed, given up.

A wave is asked for when the one before will have been read by the time that it is ready: by the
clock, not by the plan, since thaws are quicker or slower than the price table says. Nothing here
waits; who asks for an object that is not ready is told when to ask again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from rehydrate.errors import LimitError, NotReadyError, RequestError, StoreError, StoreReadError
from rehydrate.media.prices import Offer
from rehydrate.ports import Clock
from rehydrate.stores.objects.archive import Stage
from rehydrate.stores.objects.asking import CAPACITY, Asking
from rehydrate.stores.objects.quote import Outlook, plans_of
from rehydrate.stores.objects.survey import Survey
from rehydrate.values import StorePath

__all__ = ["Waves"]

_NS: Final = 1_000_000_000
_TRIES: Final = 5
_GROWTH: Final = 1.5
# Looks at an object begin after a twentieth of the longest thaw, and are never rarer than a tenth.
_FIRST_SHARE, _MOST_SHARE = 20, 10
_FIRST_LOOK, _MOST_LOOK = (15.0, 600.0), (60.0, 1800.0)


@attrs.define
class _Wave:
    """Objects that are asked for together."""

    paths: list[StorePath]
    offer: Offer
    lead_s: int
    price: int
    asked_s: float | None = None


@attrs.define
class _Look:
    """When an object is looked at next, and how long after that again."""

    next_s: float
    interval: float
    tries: int = 0


class Waves:
    """The waves of one job; used by one thread at a time."""

    def __init__(self, asking: Asking, survey: Survey, clock: Clock) -> None:
        """Begin without waves.

        Args:
            asking: Asks for thaws.
            survey: What is known of objects.
            clock: Time.
        """
        self._survey, self._clock = survey, clock
        self._choice = asking.choice
        self._asking = asking
        self._blocked: dict[StorePath, StoreError] = {}
        self._waves: list[_Wave] = []
        self._in_wave: set[StorePath] = set()
        self._read: set[StorePath] = set()
        self._again: set[StorePath] = set()
        self._looks: dict[StorePath, _Look] = {}

    def blocked(self, path: StorePath) -> StoreError | None:
        """Return why an object will not be thawed, or None.

        Args:
            path: The object.
        """
        return self._blocked.get(path)

    def enlist(self, paths: Sequence[StorePath]) -> None:
        """Put frozen objects into waves; nothing is asked for yet.

        Args:
            paths: Objects in the order of reading; those in a wave already are left out.
        """
        new = [
            path
            for path in dict.fromkeys(paths)
            if path not in self._in_wave and path not in self._blocked
        ]
        tiers: dict[str, list[StorePath]] = {}
        for path in new:
            tiers.setdefault(self._asking.tier(path), []).append(path)
        sizes = {
            tier: [self._asking.size(path) for path in column] for tier, column in tiers.items()
        }
        choice, options = self._choice, self._choice.options
        if options.max_cost is not None:
            left = max(options.max_cost - self.spent(new), 0)
            options = attrs.evolve(options, max_cost=left)
        try:
            plans = plans_of(sizes, choice.speed, choice.table, options)
        except (LimitError, RequestError) as error:
            self._block(new, error.code, error.message, retryable=False)
            return
        waves = [
            _Wave(
                tiers[tier][wave.first : wave.end],
                choice.table.offer(tier, choice.speed),
                wave.lead_s,
                wave.price.total,
            )
            for tier, plan in plans.items()
            for wave in plan.waves
        ]
        places = {path: place for place, path in enumerate(new)}
        self._waves += sorted(waves, key=lambda wave: places[wave.paths[0]])
        self._in_wave.update(new)
        for tier, plan in plans.items():
            if not plan.waves:
                why = f"the price table says that objects of {tier!r} need no thaw"
                self._block(tiers[tier], "thaw.offer", why, retryable=False)

    def await_readable(self, path: StorePath) -> None:
        """Return if an object can be read by now; ask for what is due.

        Args:
            path: An object that was enlisted, or that is being thawed.

        Raises:
            NotReadyError: It cannot be read yet.
            StoreReadError: It will not be: refused, too dear, or given up.
        """
        self._ask_for_waves()
        self._raise_blocked(path)
        now = self._now()
        look = self._looks.get(path)
        if look is None:
            first, _ = self._intervals(path)
            look = self._looks[path] = _Look(now + first, first)
        if now >= look.next_s:
            _, most = self._intervals(path)
            look.interval = min(look.interval * _GROWTH, most)
            look.next_s = now + look.interval
            if path in self._again:
                self._ask([path])
            elif self._survey.stage(path) is Stage.THAWING:
                self._survey.look((path,), again=True)
        if self._survey.stage(path) is Stage.READABLE:
            self._looks.pop(path, None)
            self._asking.note_ready(path)
            return
        self._give_up_late(path, now)
        self._raise_blocked(path)
        raise NotReadyError(f"{path} is being thawed", retry_after=max(look.next_s - now, 0.0))

    def reading(self, path: StorePath, needed: int) -> None:
        """Take notice that an object is read now, and renew its copy if that may take too long.

        Args:
            path: An object that can be read.
            needed: Bytes that will be read of it.
        """
        self._read.add(path)
        state, options = self._survey.state(path), self._choice.options
        if state is None or state.expires_ns is None:
            return
        left = state.expires_ns / _NS - self._now()
        if left < max(options.margin_s, 2 * needed / options.read_rate):
            self._asking.renew(path)

    def expired(self, path: StorePath) -> bool:
        """Take notice that an object is frozen, so that it may be enlisted again.

        Args:
            path: The object.

        Returns:
            Whether it had been thawed by this job.
        """
        self._in_wave.discard(path)
        self._read.discard(path)
        self._looks.pop(path, None)
        return self._asking.job.get(path) is not None

    def spent(self, paths: Sequence[StorePath]) -> int:
        """Return the estimated price of what the job asked for, or is about to, millionths.

        Args:
            paths: Objects that are going to be asked for.
        """
        due = sum(wave.price for wave in self._waves if wave.asked_s is None)
        return self._asking.spent(paths) + due

    def outlook(self, paths: Sequence[StorePath]) -> Outlook:
        """Tell how far the thaw of some objects is.

        Args:
            paths: Objects that could not be read at first.
        """
        open_ = [path for path in paths if path not in self._blocked]
        stages = Counter(self._survey.stage(path) for path in open_)
        due = [
            self._asking.due_ns(path) for path in open_ if self._survey.stage(path) is Stage.THAWING
        ]
        return Outlook(
            ready=stages[Stage.READABLE],
            thawing=stages[Stage.THAWING],
            later=stages[Stage.FROZEN],
            refused=len(paths) - len(open_),
            due_ns=max((moment for moment in due if moment is not None), default=None),
        )

    def _ask_for_waves(self) -> None:
        """Ask for the waves that are due: the first at once, others before the last is read."""
        for wave in [wave for wave in self._waves if wave.asked_s is None]:
            now = self._now()
            if now < self._free_at(now) - wave.lead_s:
                return
            wave.asked_s = now
            self._ask(wave.paths)

    def _free_at(self, now: float) -> float:
        """Return when everything that was asked for will have been read."""
        size, begin = 0, now
        done = self._read | self._blocked.keys()
        for wave in self._waves:
            if wave.asked_s is None:
                continue
            left = [path for path in wave.paths if path not in done]
            size += sum(map(self._asking.size, left))
            if any(self._survey.stage(path) is not Stage.READABLE for path in left):
                begin = max(begin, wave.asked_s + wave.offer.slow_s)
        return begin + size / self._choice.options.read_rate if size else now

    def _ask(self, paths: Sequence[StorePath]) -> None:
        for path, problem in self._asking.ask(paths).items():
            if problem is None:
                self._again.discard(path)
            else:
                self._refused(path, problem)

    def _refused(self, path: StorePath, error: StoreError) -> None:
        first, _ = self._intervals(path)
        look = self._looks.setdefault(path, _Look(self._now() + first, first))
        look.tries += 1
        if error.retryable and error.code != CAPACITY and look.tries < _TRIES:
            self._again.add(path)
            return
        self._again.discard(path)
        code = error.code if error.code.startswith("thaw.") else "thaw.refused"
        message = f"the thaw was refused: {error.message}"
        self._block([path], code, message, retryable=error.retryable)

    def _raise_blocked(self, path: StorePath) -> None:
        if path in self._blocked:
            raise self._blocked[path]

    def _intervals(self, path: StorePath) -> tuple[float, float]:
        """Return the seconds to the first look at an object, and between later ones at most."""
        if self._choice.looks is not None:
            return self._choice.looks
        slow = self._asking.slow_s(path)
        return _share(slow, _FIRST_SHARE, _FIRST_LOOK), _share(slow, _MOST_SHARE, _MOST_LOOK)

    def _give_up_late(self, path: StorePath, now: float) -> None:
        if self._survey.stage(path) is not Stage.THAWING:
            return
        asked = self._asking.job.get(path)
        limit = self._choice.patience * self._asking.slow_s(path)
        if asked is not None and now - asked.asked_ns / _NS > limit:
            message = f"the thaw is not done after {limit / 3600:.1f} hours"
            self._block([path], "thaw.late", message, retryable=True)

    def _block(
        self, paths: Sequence[StorePath], code: str, message: str, *, retryable: bool
    ) -> None:
        for path in paths:
            self._blocked[path] = StoreReadError(
                message, code=code, container=path, retryable=retryable
            )

    def _now(self) -> float:
        return self._clock.time_ns() / _NS


def _share(seconds: int, part: int, limits: tuple[float, float]) -> float:
    least, most = limits
    return min(max(seconds / part, least), most)
