"""The table of ways to thaw what a plan needs."""

from collections.abc import Sequence

from rehydrate.cli.output import say, shown, table
from rehydrate.cli.sizes import duration
from rehydrate.plan.estimates import Price
from rehydrate.plan.thaws import ComparedThaw

__all__ = ["say_thaws"]


def say_thaws(thaws: Sequence[ComparedThaw]) -> None:
    """Print ways to thaw beside each other.

    Args:
        thaws: The ways; nothing is printed where there is none.
    """
    if not thaws:
        return
    rows = [["thaw", "price", "first after", "all after", "read after", "waves", ""]]
    for thaw in thaws:
        price = "-"
        if thaw.price is not None:
            price = str(Price(micros=thaw.price, currency=thaw.currency))
        times = [
            _time(part) for part in (thaw.quick_seconds, thaw.slow_seconds, thaw.total_seconds)
        ]
        note = "taken" if thaw.taken else thaw.problem
        rows.append([thaw.speed, price, *times, f"{thaw.waves or '-'}", note])
    say()
    for line in table(rows, right=" rrrrr"):
        say(shown(line))


def _time(seconds: int | None) -> str:
    return duration(seconds) if seconds else "-"
