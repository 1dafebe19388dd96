"""The columns about media that the page of a plan and its text have in common."""

from collections.abc import Sequence
from typing import Final

from rehydrate.plan.estimates import PlannedMedium
from rehydrate.units import duration, size

__all__ = ["LEAST_SECONDS", "Column", "media_columns", "short_time"]

Column = tuple[str, bool, list[str]]
"""Heading, whether its cells are numbers, and a cell for each medium."""
LEAST_SECONDS: Final = 0.05
"""Shorter times are not told as a number."""


def media_columns(media: Sequence[PlannedMedium], blank: str) -> list[Column]:
    """Return what is read of media, when, and how long it takes.

    Args:
        media: The media, in mount order.
        blank: What stands for a time that is not known.
    """
    return [
        ("for", False, [medium.phase for medium in media]),
        ("drive", True, ["" if medium.drive is None else f"{medium.drive:,}" for medium in media]),
        ("containers", True, [f"{medium.containers:,}" for medium in media]),
        ("to read", True, [size(medium.bytes_to_read) for medium in media]),
        ("wanted", True, [_wanted(medium, blank) for medium in media]),
        ("until ready", True, [_ready(medium, blank) for medium in media]),
        ("locate", True, [short_time(medium.locate_seconds, blank) for medium in media]),
        ("read", True, [short_time(medium.read_seconds, blank) for medium in media]),
        ("rewind", True, [short_time(medium.rewind_seconds or None, blank) for medium in media]),
    ]


def short_time(seconds: float | None, blank: str) -> str:
    """Return a time; one that is too short to matter is told as such.

    Args:
        seconds: The time; ``None`` = not known.
        blank: What stands for that.
    """
    if seconds is None:
        return blank
    return "< 0.1 s" if 0 < seconds < LEAST_SECONDS else duration(seconds)


def _wanted(medium: PlannedMedium, blank: str) -> str:
    if medium.wanted_seconds is None:
        return blank
    return f"after {duration(medium.wanted_seconds)}" if medium.wanted_seconds else "at once"


def _ready(medium: PlannedMedium, blank: str) -> str:
    return "in the drive" if medium.mounted is False else short_time(medium.ready_seconds, blank)
