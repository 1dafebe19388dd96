"""Which thawed copies would vanish before they are read."""

from typing import Final

from rehydrate.media.tiers import DAY, ThawOptions
from rehydrate.stores.objects.archive import Stage
from rehydrate.stores.objects.job import ThawJob
from rehydrate.stores.objects.lineup import Lineup
from rehydrate.stores.objects.survey import Survey
from rehydrate.values import StorePath

__all__ = ["Endings"]

_NS: Final = 1_000_000_000
# Copies that nobody reads yet are looked over so often while their last hour runs.
_WATCHES: Final = 4


class Endings:
    """Watches the copies of one job; used by one thread at a time.

    A reader that is slower than assumed comes too late for the end of a wave. More days of a copy
    cost less than another thaw, and nobody waits for them.
    """

    def __init__(self, lineup: Lineup, survey: Survey, job: ThawJob, options: ThawOptions) -> None:
        """Bind.

        Args:
            lineup: What was asked for and is still to be read.
            survey: What is known of objects.
            job: When it was asked for.
            options: Days, margin and the rate of reading.
        """
        self._lineup, self._survey, self._job, self._options = lineup, survey, job, options
        self._next_s = 0.0

    def found(self, path: StorePath, needed: int, now: float) -> list[StorePath]:
        """Return the copies that need more days.

        Args:
            path: An object that is read now; it comes first.
            needed: Bytes that are read of it.
            now: What time it is.
        """
        options, margin = self._options, self._options.margin_s
        first = max(margin, 2 * needed / options.read_rate)
        ends = [path] if self._lineup.lasts_s(path, now) < first else []
        if not self._next_s - margin <= now < self._next_s:
            self._next_s = now + margin / _WATCHES
            ends += self._waiting(now)
        return ends

    def _waiting(self, now: float) -> list[StorePath]:
        """Return those that are still to be read and are in their last hour."""
        unread = list(self._lineup.unread())
        asked_before = now - self._options.days * DAY + 2 * self._options.margin_s
        unseen = [
            path
            for path in unread
            if self._survey.stage(path) is Stage.THAWING
            and (asked := self._job.get(path)) is not None
            and asked.asked_ns / _NS < asked_before
        ]
        self._survey.look(unseen, again=True)
        margin = self._options.margin_s
        return [path for path in unread if self._lineup.lasts_s(path, now) < margin]
