"""Who knows what a plan takes, and how that is shown as text."""

from pathlib import Path
from typing import Final

import numpy as np

from rehydrate.cli.output import say, shown, table
from rehydrate.cli.plan_output import Forecast
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.cli.sources import RemoteOptions, is_url
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError
from rehydrate.plan.estimates import PlanEstimates, seconds_at
from rehydrate.values import MAX_OFFSET

__all__ = ["forecast_of", "say_estimates", "say_first_files"]

_MEDIA: Final = 40
_FILES: Final = 20


def forecast_of(
    source: str, remote: RemoteOptions, media: Path | None = None, at_hand: str | None = None
) -> Forecast | None:
    """Return who knows about the media of a source, or None.

    Args:
        source: What is restored from.
        remote: How it is read, if it is a store of objects.
        media: File that says where containers lie.
        at_hand: Names of volumes that are at hand, with commas between.

    Raises:
        RequestError: Options contradict each other, or thawing was asked for where objects are
            not thawed.
        CorruptMetadataError: The file is no media file.
        StoreReadError: Thawing was asked for, and a package is missing.
    """
    if media is not None:
        from rehydrate.cli.media_forecast import MediaForecast

        return MediaForecast.open(media, at_hand)
    if at_hand is not None:
        raise RequestError("--at-hand: say with --media FILE what lies on which volume")
    if not is_url(source):
        return None
    from rehydrate.cli.thaw_pricing import thaw_forecast

    return thaw_forecast(source, remote)


def say_estimates(estimates: PlanEstimates) -> None:
    """Print what is expected of a plan.

    Args:
        estimates: What is known.
    """
    rows = [["medium", "kind", "containers", "to read", "ready", "locate", "read", ""]]
    rows += [
        [
            shown(medium.name),
            shown(medium.kind),
            f"{medium.containers:,}",
            size(medium.bytes_to_read),
            _time(medium.ready_seconds),
            _time(medium.locate_seconds),
            _time(medium.read_seconds),
            shown(medium.note),
        ]
        for medium in estimates.media
    ]
    if estimates.media:
        say()
        _say_table(rows[: _MEDIA + 1], "  rrrrr")
        if len(rows) > _MEDIA + 1:
            left = counted(len(rows) - _MEDIA - 1, "more medium", "more media")
            say(f"... and {left}; --json lists all")
    if estimates.orders:
        say()
        orders = [["order", "locate", "second model", ""]]
        orders += [
            [
                order.name,
                duration(order.seconds),
                _time(order.other_seconds),
                "taken" if order.taken else "",
            ]
            for order in estimates.orders
        ]
        _say_table(orders, " rr")
    times = {
        "until media are ready": estimates.ready_seconds,
        "positioning": estimates.locate_seconds,
        "reading": estimates.read_seconds,
        "everything is read after": estimates.total_seconds,
    }
    facts = [[name, duration(seconds)] for name, seconds in times.items() if seconds is not None]
    if estimates.price is not None:
        facts.append(["price", str(estimates.price)])
    if facts:
        say()
        _say_table(facts, " r")
    for note in estimates.notes:
        say(f"- {shown(note)}")


def say_first_files(found: SketchedPlan, ready: int | None) -> None:
    """Print when the first files are finished, if that is known.

    Args:
        found: The plan.
        ready: Bytes that come from media at hand; only files that need no others are told.
    """
    sketch, estimates = found.sketch, found.estimates
    if sketch is None or estimates is None:
        return
    seconds = seconds_at(found.plan, estimates, sketch.finish)
    if seconds is None:
        return
    known = (sketch.finish >= 0) & (sketch.finish <= (MAX_OFFSET if ready is None else ready))
    come = [index for index in np.argsort(sketch.finish, kind="stable").tolist() if known[index]]
    if not come:
        return
    rows = [["file", "size", "finished after"]]
    rows += [
        [shown(sketch.names[index]), size(int(sketch.sizes[index])), duration(seconds[index])]
        for index in come[:_FILES]
    ]
    say()
    _say_table(rows, " rr")
    left = len(come) - len(rows) + 1
    if left:
        say(f"... and {counted(left, 'more file')}; --json lists all")


def _say_table(rows: list[list[str]], right: str) -> None:
    for line in table(rows, right=right):
        say(line.rstrip())


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
