"""The waves of a job in their order, and what of them is still to be read."""

from collections.abc import Iterator
from typing import Final

import attrs

from rehydrate.stores.objects.archive import Stage
from rehydrate.stores.objects.survey import Survey
from rehydrate.values import StorePath

__all__ = ["Lineup", "Wave"]

_ENDLESS: Final = float("inf")


@attrs.define(eq=False)
class Wave:
    """Objects that are asked for together; seconds count from 1970.

    Attributes:
        left: Bytes of the objects that were not read yet.
        slow_s: Seconds from the request until all can be read, at the latest.
        lead_s: Seconds before the end of the wave before at which they are asked for.
        price: What they cost, millionths.
        asked_s: When they were asked for; ``None`` = not yet.
    """

    left: dict[StorePath, int]
    slow_s: float
    lead_s: int = 0
    price: int = 0
    asked_s: float | None = None
    _bytes: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Sum up."""
        self._bytes = sum(self.left.values())

    @property
    def left_bytes(self) -> int:
        """Bytes of the objects that were not read yet, together."""
        return self._bytes

    def done(self, path: StorePath) -> None:
        """Take out an object.

        Args:
            path: The object.
        """
        self._bytes -= self.left.pop(path, 0)


class Lineup:
    """The waves of one job; used by one thread at a time.

    Whether another wave is due is asked at every preview, so nothing here goes through all objects
    for that.
    """

    def __init__(self, survey: Survey, read_rate: int) -> None:
        """Begin without waves.

        Args:
            survey: What is known of objects.
            read_rate: Bytes a second in which objects are read.
        """
        self._survey, self._read_rate = survey, read_rate
        self._waves: list[Wave] = []
        self._wave_of: dict[StorePath, Wave] = {}
        self._moved_s = 0.0

    def __contains__(self, path: StorePath) -> bool:
        """Tell whether an object is in a wave, and still to be read."""
        return path in self._wave_of

    def add(self, wave: Wave) -> None:
        """Append a wave.

        Args:
            wave: Its objects are in no other one.
        """
        self._waves.append(wave)
        self._wave_of |= dict.fromkeys(wave.left, wave)

    def done(self, path: StorePath) -> None:
        """Take notice that an object is read, or will not be.

        Args:
            path: The object.
        """
        wave = self._wave_of.pop(path, None)
        if wave is not None:
            wave.done(path)

    def moved(self, now: float, needed: int) -> None:
        """Take notice that the reader begins to read.

        Args:
            now: When.
            needed: Bytes that it reads.
        """
        self._moved_s = now + needed / self._read_rate

    def is_later(self, path: StorePath) -> bool:
        """Tell whether the wave of an object has not come.

        Args:
            path: The object.
        """
        wave = self._wave_of.get(path)
        return wave is not None and wave.asked_s is None

    def to_come(self) -> list[Wave]:
        """Return the waves that were not asked for."""
        return [wave for wave in self._waves if wave.asked_s is None]

    def unread(self) -> Iterator[StorePath]:
        """Iterate the objects that were asked for and not read."""
        for wave in self._waves:
            if wave.asked_s is not None:
                yield from wave.left

    def free_at(self, now: float) -> float:
        """Return when everything that was asked for will have been read.

        It is counted from when something was read last: objects that nobody wants any more do not
        put off the next wave for ever.

        Args:
            now: What time it is.
        """
        size, begin = 0, self._moved_s
        for wave in self._waves:
            if wave.asked_s is None or not wave.left:
                continue
            size += wave.left_bytes
            begin = max(begin, wave.asked_s)
            ready = wave.asked_s + wave.slow_s
            if ready > begin and any(
                self._survey.stage(path) is not Stage.READABLE for path in wave.left
            ):
                begin = ready
        return begin + size / self._read_rate if size else now

    def lasts_s(self, path: StorePath, now: float) -> float:
        """Return the seconds that a copy lasts; endless where there is none.

        Args:
            path: The object.
            now: What time it is.
        """
        state = self._survey.state(path)
        if state is None or state.expires_ns is None or state.stage is not Stage.READABLE:
            return _ENDLESS
        return state.expires_ns / 1_000_000_000 - now
