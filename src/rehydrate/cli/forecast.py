"""Who knows what a plan takes, and how that is shown as text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from rehydrate.cli.output import say, shown, table
from rehydrate.cli.plan_output import Forecast
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.cli.sources import RemoteOptions, Source, is_url
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError
from rehydrate.plan.estimates import DATA, PlanEstimates, PlannedMedium, seconds_at, short_stores
from rehydrate.plan.media_columns import LEAST_SECONDS, media_columns, short_time
from rehydrate.values import MAX_OFFSET

__all__ = ["forecast_of", "say_estimates", "say_first_files"]

_MEDIA: Final = 40
_FILES: Final = 20
_UNKNOWN: Final = "-"
"""Shorter times are not worth a number."""


def forecast_of(
    source: str,
    remote: RemoteOptions,
    media: Path | None = None,
    at_hand: str | None = None,
    *,
    tapes: Source | None = None,
) -> Forecast | None:
    """Return who knows about the media of a source, or None.

    Args:
        source: What is restored from.
        remote: How it is read, if it is a store of objects.
        media: File that says where containers lie.
        at_hand: Names of volumes that are at hand, with commas between.
        tapes: The source as it was opened, if it has tapes.

    Raises:
        RequestError: Options contradict each other, or thawing was asked for where objects are
            not thawed.
        CorruptMetadataError: The file is no media file.
        StoreReadError: Thawing was asked for, and a package is missing.
    """
    if media is not None and tapes is not None:
        raise RequestError("--media and --tapes both say what lies on which volume: leave one out")
    if media is not None:
        from rehydrate.cli.media_forecast import MediaForecast

        return MediaForecast.open(media, at_hand)
    if tapes is not None:
        from rehydrate.cli.tape_forecast import tape_forecast

        return tape_forecast(tapes, at_hand)
    if at_hand is not None:
        raise RequestError("--at-hand: say with --media FILE or --tapes DIR what lies where")
    if not is_url(source):
        return None
    from rehydrate.cli.thaw_pricing import thaw_forecast

    return thaw_forecast(source, remote)


def say_estimates(estimates: PlanEstimates) -> None:
    """Print what is expected of a plan.

    Args:
        estimates: What is known.
    """
    if estimates.media:
        say()
        rows, right = _media_rows(estimates.media)
        _say_table(rows[: _MEDIA + 1], right)
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
                short_time(order.other_seconds, _UNKNOWN),
                "taken" if order.taken else "",
            ]
            for order in estimates.orders
        ]
        _say_table(orders, " rr")
    least = "at least " if estimates.at_least else ""
    drives = max((medium.drive or 0 for medium in estimates.media), default=0)
    sums = f", sum of {drives} drives" if drives > 1 else ""
    times = {
        f"until media are ready{sums}": estimates.ready_seconds,
        f"positioning{sums}": estimates.locate_seconds,
        f"reading{sums}": estimates.read_seconds,
        f"rewinding and unloading{sums}": estimates.rewind_seconds,
        "all stream maps are read after": estimates.data_seconds,
        "everything is read after": estimates.total_seconds,
    }
    facts = [
        [name, f"{least}{duration(seconds)}"]
        for name, seconds in times.items()
        if seconds is not None and seconds >= LEAST_SECONDS
    ]
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
    known = (sketch.finish > 0) & (sketch.finish <= (MAX_OFFSET if ready is None else ready))
    come = [index for index in np.argsort(sketch.finish, kind="stable").tolist() if known[index]]
    if not come:
        return
    rows = [["file", "size", f"finished after{' at least' * estimates.at_least}"]]
    rows += [
        [
            shown(sketch.names[index]),
            size(int(sketch.sizes[index])),
            short_time(seconds[index], _UNKNOWN),
        ]
        for index in come[:_FILES]
    ]
    say()
    _say_table(rows, " rr")
    left = len(come) - len(rows) + 1
    if left:
        say(f"... and {counted(left, 'more file')}; --json lists all")


def _media_rows(media: Sequence[PlannedMedium]) -> tuple[list[list[str]], str]:
    """Return media as rows of a table, and which columns are numbers; without empty columns."""

    def words(medium: PlannedMedium) -> tuple[str, str]:
        # Where stores are listed together, each was told before how it is read.
        return medium.note, "" if medium.store else medium.order

    columns = [
        ("medium", False, [shown(medium.name) for medium in media]),
        ("kind", False, [shown(medium.kind) for medium in media]),
        ("store", False, short_stores(media)),
        *media_columns(media, _UNKNOWN),
        ("", False, [shown("; ".join(filter(None, words(medium)))) for medium in media]),
    ]
    empty = [{""}, {_UNKNOWN}, {DATA}]
    kept = [column for column in columns if set(column[2]) not in empty]
    rows = [[head for head, _, _ in kept]]
    rows += [list(row) for row in zip(*(cells for _, _, cells in kept), strict=True)]
    return rows, "".join("r" if number else " " for _, number, _ in kept)


def _say_table(rows: list[list[str]], right: str) -> None:
    for line in table(rows, right=right):
        say(line.rstrip())
