"""What it costs to go from one place of a tape to another: both published models, in seconds.

:class:`TapeModel` is the model of motion: the head goes to the target along the tape, turns where
the direction changes, and steps between wraps and bands. :class:`Regression` is the linear
regression that the CERN Tape Archive publishes, fitted on LTO-7 type M media. Neither is the
truth: a plan is worth something where both agree (see :mod:`rehydrate.media.ordering`).

Both take positions that broadcast against each other, so that the same code prices a path (two
rows of one length) and a table of all pairs (a column against a row).
"""

from typing import Protocol

import attrs
import numpy as np

from rehydrate.errors import RequestError
from rehydrate.media.geometry import Floats, Heads, TapeFormat, TapeGeometry

__all__ = ["CostModel", "Regression", "TapeModel", "ahead_bytes", "model_of"]


class CostModel(Protocol):
    """Prices locates."""

    def locate_seconds(self, before: Heads, after: Heads, /) -> Floats:
        """Return the seconds from each position ``before`` to the matching one ``after``.

        Reading on to a target ahead on the same wrap is one of the ways, so that the price of a
        gap is never more than that of reading it.

        Args:
            before: Where the head is, with its direction.
            after: Where the next wanted byte is, with the direction in which it is read.
        """
        ...


def _positive(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise RequestError(f"{attribute.name} is {value}; it must be positive", code="tape.model")


def _time(_: object, attribute: "attrs.Attribute[float]", value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise RequestError(f"{attribute.name} is {value}, no time", code="tape.model")


@attrs.frozen
class TapeModel:
    """Times of a drive with a tape. All are options; the defaults are models (m) unless noted.

    With the defaults the mean locate from the load point is 48 s on LTO-9 (its vendor says 45) and
    62 s on LTO-8 (commonly quoted: 60); a random one takes 37 and 45 s.

    Attributes:
        native_rate: Bytes a second while reading.
        locate_speed: Metres a second while positioning: 8.5 on LTO-7 and LTO-8, 12 on full-height
            LTO-9 (u).
        rewind_speed: Metres a second while rewinding.
        command_s: Seconds that a locate takes before it moves.
        turn_s: Seconds to turn around.
        wrap_s: Seconds to step to another wrap.
        band_s: Seconds to step to another band, besides.
        run_up_m: Metres before the target at which the head begins to read.
        load_s: Seconds from the insertion of a volume to ready.
        unload_s: Seconds of an unload, without the rewind; 55 to 165 on recent drives where the
            tape has to be wound with even tension.
        change_s: Seconds in which a library (or a person) changes volumes, besides.
    """

    native_rate: float = attrs.field(validator=_positive)
    locate_speed: float = attrs.field(validator=_positive)
    rewind_speed: float = attrs.field(validator=_positive)
    command_s: float = attrs.field(default=2.5, validator=_time)
    turn_s: float = attrs.field(default=3.5, validator=_time)
    wrap_s: float = attrs.field(default=1.0, validator=_time)
    band_s: float = attrs.field(default=3.0, validator=_time)
    run_up_m: float = attrs.field(default=2.0, validator=_time)
    load_s: float = attrs.field(default=15.0, validator=_time)
    unload_s: float = attrs.field(default=25.0, validator=_time)
    change_s: float = attrs.field(default=0.0, validator=_time)

    def locate_seconds(self, before: Heads, after: Heads, /) -> Floats:
        """Return the seconds of locates by motion; see :meth:`CostModel.locate_seconds`.

        On the same wrap a target ahead is reached by reading on or by a hop, whatever is quicker.
        Else the head goes to the run-up before the target, and turns if the way there, or the
        direction of reading there, is not the one it had.
        """
        aim = after.x - after.way * self.run_up_m - before.x
        move = np.where(aim == 0, after.way, np.sign(aim))
        turns = (move != before.way).astype(np.float64) + (move != after.way)
        other = before.wrap != after.wrap
        seconds: Floats = (
            self.command_s
            + np.abs(aim) / self.locate_speed
            + self.turn_s * turns
            + self.wrap_s * other
            + self.band_s * (before.band != after.band)
        )
        gap = (after.x - before.x) * before.way
        on = ~other & (gap >= 0)
        read = gap * before.metre_bytes / self.native_rate
        hop = self.command_s + gap / self.locate_speed
        np.copyto(seconds, np.minimum(read, hop), where=on)
        return seconds

    def rewind_seconds(self, x: Floats) -> Floats:
        """Return the seconds to the load point.

        Args:
            x: Metres from it.
        """
        return self.command_s + x / self.rewind_speed

    def break_even(self, geometry: TapeGeometry) -> float:
        """Return the gap in bytes below which reading on is quicker than a hop.

        2.1 GB on LTO-9 and 2.8 GB on LTO-8 (m); infinite where positioning is no quicker than
        reading.

        Args:
            geometry: The tape; its mean wrap decides.
        """
        wraps = max(len(geometry.wrap), 1)
        metre_bytes = geometry.capacity * geometry.unit_bytes / wraps / geometry.length_m
        gained = metre_bytes / self.native_rate - 1 / self.locate_speed
        return self.command_s / gained * metre_bytes if gained > 0 else float("inf")

    def read_seconds(self, length: Floats, wraps: Floats) -> Floats:
        """Return the seconds of reads.

        Args:
            length: Bytes of each.
            wraps: Ends of wraps that each of them crosses; the head turns there.
        """
        return length / self.native_rate + wraps * (self.turn_s + self.wrap_s)


def model_of(tape: TapeFormat) -> TapeModel:
    """Return the default times of a generation.

    Args:
        tape: The generation; change single times with ``attrs.evolve``.
    """
    return TapeModel(
        native_rate=tape.native_rate,
        locate_speed=tape.locate_speed,
        rewind_speed=tape.rewind_speed,
        load_s=tape.load_s,
        unload_s=tape.unload_s,
    )


@attrs.frozen
class Regression:
    """The regression of the CERN Tape Archive (its software order of access; LTO-7 type M).

    Prices below 0, which a short step over the middle of the tape would have, are 0.

    Attributes:
        half_m: Metres from the load point to the middle of the tape.
        native_rate: Bytes a second while reading.
        base_s: Seconds of every locate.
        wrap_s: If the wrap differs.
        band_s: If the band differs.
        half_s: If the half of the tape differs.
        way_s: If the direction of reading differs.
        back_s: If the target is behind on the same wrap.
        step_s: For each longitudinal step of the drive.
        step_m: Metres of such a step (u).
    """

    half_m: float = attrs.field(validator=_positive)
    native_rate: float = attrs.field(validator=_positive)
    base_s: float = 4.29
    wrap_s: float = 6.69
    band_s: float = 3.20
    half_s: float = -6.04
    way_s: float = 5.22
    back_s: float = 11.32
    step_s: float = 0.0006192
    step_m: float = attrs.field(default=0.0052, validator=_positive)

    def locate_seconds(self, before: Heads, after: Heads, /) -> Floats:
        """Return the seconds of locates by regression; see :meth:`CostModel.locate_seconds`."""
        other = before.wrap != after.wrap
        gap = (after.x - before.x) * before.way
        seconds: Floats = (
            self.base_s
            + self.wrap_s * other
            + self.band_s * (before.band != after.band)
            + self.half_s * ((before.x > self.half_m) != (after.x > self.half_m))
            + self.way_s * (before.way != after.way)
            + self.back_s * (~other & (gap < 0))
            + self.step_s / self.step_m * np.abs(gap)
        )
        np.maximum(seconds, 0.0, out=seconds)
        read = gap * before.metre_bytes / self.native_rate
        np.minimum(seconds, read, out=seconds, where=~other & (gap >= 0))
        return seconds


def ahead_bytes(before: Heads, after: Heads) -> Floats:
    """Return the bytes between two positions on one wrap, infinite elsewhere or behind.

    Args:
        before: Where a read ends.
        after: Where the next begins.
    """
    gap = (after.x - before.x) * before.way
    on = (before.wrap == after.wrap) & (gap >= 0)
    return np.where(on, gap * before.metre_bytes, np.inf)
