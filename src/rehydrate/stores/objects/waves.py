"""The waves of a thaw job as they go: asked for, looked after, renewed, given up.

A wave is asked for when the one before will have been read by the time that it is ready: by the
clock, not by the plan, since thaws are quicker or slower than the price table says. Nothing here
waits; who asks for an object that is not ready is told when to ask again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from rehydrate.errors import NotReadyError, StoreError, StoreReadError
from rehydrate.media.tiers import DAY
from rehydrate.ports import Clock
from rehydrate.stores.objects.archive import Stage
from rehydrate.stores.objects.asking import CAPACITY, Asking
from rehydrate.stores.objects.endings import Endings
from rehydrate.stores.objects.enlisting import waves_of
from rehydrate.stores.objects.job import Progress
from rehydrate.stores.objects.lineup import Lineup, Wave
from rehydrate.stores.objects.quote import Outlook
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
        self._lineup = Lineup(survey, self._choice.options.read_rate)
        self._in_wave: set[StorePath] = set()
        self._read: set[StorePath] = set()
        self._again: set[StorePath] = set()
        self._looks: dict[StorePath, _Look] = {}
        self._endings = Endings(self._lineup, survey, asking.job, self._choice.options)

    def blocked(self, path: StorePath) -> StoreError | None:
        """Return why an object will not be thawed, or None.

        Args:
            path: The object.
        """
        return self._blocked.get(path)

    def enlist(self, paths: Sequence[StorePath]) -> None:
        """Put frozen objects into waves; nothing is asked for yet.

        Args:
            paths: Objects in the order of reading; those in a wave already are left out. Those that
                were thawed before count as a wave that was asked for: they are read first.
        """
        new: list[StorePath] = []
        before: dict[Stage, list[StorePath]] = {Stage.READABLE: [], Stage.THAWING: []}
        for path in dict.fromkeys(paths):
            if path in self._lineup or path in self._blocked:
                continue
            stage = self._survey.stage(path)
            if stage is Stage.FROZEN:
                if path not in self._in_wave:
                    new.append(path)
            elif self._asking.tariff.tier(path) and path not in self._read:
                before[stage].append(path)
        self._carry(before)
        if new:
            self._enlist(new)

    def _carry(self, before: Mapping[Stage, Sequence[StorePath]]) -> None:
        """Take over what an earlier run, or somebody else, asked for."""
        now = self._now()
        for stage, paths in before.items():
            due = [self._asking.due_ns(path) or 0 for path in paths if stage is Stage.THAWING]
            slow = max(max(due, default=0) / _NS - now, 0.0)
            if paths:
                sizes = {path: self._asking.tariff.size(path) for path in paths}
                self._lineup.add(Wave(sizes, slow, asked_s=now))

    def _enlist(self, new: Sequence[StorePath]) -> None:
        options = self._choice.options
        if options.max_cost is not None:
            options = attrs.evolve(options, max_cost=max(options.max_cost - self.spent(new), 0))
        waves, problems = waves_of(new, self._choice.speed, self._asking.tariff, options)
        for wave in waves:
            self._in_wave.update(wave.left)
            self._lineup.add(wave)
        for path, problem in problems.items():
            self._block(path, problem.code, problem.message, retryable=False)

    def await_readable(self, path: StorePath) -> None:
        """Return if an object can be read by now; ask for what is due.

        Args:
            path: An object that was enlisted, or that is being thawed.

        Raises:
            NotReadyError: It cannot be read yet.
            StoreReadError: It will not be: refused, too dear, or given up.
        """
        if self._vanished(path):
            self.expired(path)
            self.enlist((path,))
        self._ask_for_waves()
        if path in self._blocked:
            raise self._blocked[path]
        now = self._now()
        look = self._looks.get(path)
        if look is None:
            look = self._looks[path] = self._first_look(path)
        look.next_s = min(look.next_s, now + look.interval)  # clocks are set back
        if path in self._again:
            self._ask_again(path, now)
        elif now >= look.next_s or self._late(path, now):
            self._put_off(path, look, now)
            if not self._lineup.is_later(path):
                self._survey.look((path,), again=True)
        if self._survey.stage(path) is Stage.READABLE:
            self._looks.pop(path, None)
            self._asking.note_ready(path)
            return
        if self._late(path, now) and not self._vanished(path):
            self._give_up_late(path)
        if path in self._blocked:
            raise self._blocked[path]
        raise NotReadyError(f"{path} is being thawed", retry_after=max(look.next_s - now, 0.0))

    def _first_look(self, path: StorePath) -> _Look:
        return _Look(self._now() + (first := self._intervals(path)[0]), first)

    def _put_off(self, path: StorePath, look: _Look, now: float) -> None:
        _, most = self._intervals(path)
        look.interval = min(look.interval * _GROWTH, most)
        look.next_s = now + look.interval

    def _ask_again(self, path: StorePath, now: float) -> None:
        """Ask again for all that was refused for now: together, since the job is saved each time."""
        if now < self._looks[path].next_s:
            return
        due = [other for other in self._again if now >= self._looks[other].next_s]
        for other in due:
            self._put_off(other, self._looks[other], now)
        self._ask(due)

    def _vanished(self, path: StorePath) -> bool:
        """Tell whether an object is frozen although it was thawed: its copy expired unread."""
        if self._survey.stage(path) is not Stage.FROZEN or path in self._again:
            return False
        if self._lineup.is_later(path) or path not in self._lineup:
            return False
        asked = self._asking.job.get(path)
        if asked is None or asked.progress is not Progress.ASKED:
            return asked is None or asked.progress is Progress.READY
        return self._now() - asked.asked_ns / _NS >= asked.days * DAY

    def reading(self, path: StorePath, needed: int) -> None:
        """Take notice that an object is read now; renew copies that may not last until they are read.

        Args:
            path: An object that can be read.
            needed: Bytes that will be read of it.
        """
        now = self._now()
        self._lineup.done(path)
        self._read.add(path)
        self._lineup.moved(now, needed)
        if ends := self._endings.found(path, needed, now):
            self._asking.renew(ends, self.spent(()))

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
        self._lineup.done(path)
        return self._asking.job.get(path) is not None

    def spent(self, paths: Sequence[StorePath]) -> int:
        """Return the estimated price of what the job asked for, or is about to, millionths.

        Args:
            paths: Objects that are going to be asked for.
        """
        due = sum(wave.price for wave in self._lineup.to_come())
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
        for wave in self._lineup.to_come():
            now = self._now()
            if now < self._lineup.free_at(now) - wave.lead_s:
                return
            wave.asked_s = now
            self._ask(list(wave.left))

    def _ask(self, paths: Sequence[StorePath]) -> None:
        for path, problem in self._asking.ask(paths).items():
            if problem is None:
                self._again.discard(path)
            else:
                self._refused(path, problem)

    def _refused(self, path: StorePath, error: StoreError) -> None:
        look = self._looks.setdefault(path, self._first_look(path))
        look.tries += 1
        if error.retryable and error.code != CAPACITY and look.tries < _TRIES:
            self._again.add(path)
            return
        self._again.discard(path)
        code = error.code if error.code.startswith("thaw.") else "thaw.refused"
        message = f"the thaw was refused: {error.message}"
        self._block(path, code, message, retryable=error.retryable)

    def _intervals(self, path: StorePath) -> tuple[float, float]:
        """Return the seconds to the first look at an object, and between later ones at most."""
        if self._choice.looks is not None:
            return self._choice.looks
        slow = self._asking.slow_s(path)
        return _share(slow, _FIRST_SHARE, _FIRST_LOOK), _share(slow, _MOST_SHARE, _MOST_LOOK)

    def _late(self, path: StorePath, now: float) -> bool:
        """Tell whether a thaw takes so long that nobody believes in it; those of others may."""
        asked = self._asking.job.get(path)
        if asked is None or asked.progress is not Progress.ASKED or self._lineup.is_later(path):
            return False
        return now - asked.asked_ns / _NS > self._choice.patience * self._asking.slow_s(path)

    def _give_up_late(self, path: StorePath) -> None:
        hours = self._choice.patience * self._asking.slow_s(path) / 3600
        self._block(
            path, "thaw.late", f"the thaw is not done after {hours:.1f} hours", retryable=True
        )

    def _block(self, path: StorePath, code: str, message: str, *, retryable: bool) -> None:
        self._blocked[path] = StoreReadError(
            message, code=code, container=path, retryable=retryable
        )
        self._lineup.done(path)

    def _now(self) -> float:
        return self._clock.time_ns() / _NS


def _share(seconds: int, part: int, limits: tuple[float, float]) -> float:
    least, most = limits
    return min(max(seconds / part, least), most)
