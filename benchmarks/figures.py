"""Figures: medians with their spread, pairwise ratios, and whether a target is met."""

import statistics
from collections.abc import Sequence
from typing import Final

import attrs

__all__ = ["Figure", "Limit", "differences", "figure_of", "markdown", "ratios"]

_COLUMNS: Final = ("case", "figure", "to reach", "median", "spread", "runs", "verdict")


@attrs.frozen
class Limit:
    """What a figure must reach.

    Attributes:
        value: The border, which itself is good enough.
        at_least: Whether larger is better.
    """

    value: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.value if self.at_least else value <= self.value


@attrs.frozen(kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        case: Name of the case.
        name: What is measured.
        unit: ``"x"`` for ratios, else of the value.
        values: One value of each run (pair), in order of time; empty if it could not be measured.
        limit: What to reach; ``None`` for figures that are only shown.
        note: Anything a reader should know.
    """

    case: str
    name: str
    unit: str
    values: tuple[float, ...]
    limit: Limit | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Median of the values."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """Smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """Largest value."""
        return max(self.values)

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, ``not run``, or nothing where there is no target.

        The median as printed decides: a figure that is printed as the target has reached it.
        """
        if not self.values:
            return "not run"
        if self.limit is None:
            return ""
        return "met" if self.limit.met_by(float(_digits(self.median))) else "MISSED"

    def as_json(self) -> dict[str, object]:
        """Return everything as JSON values."""
        found: dict[str, object] = {
            "case": self.case,
            "name": self.name,
            "unit": self.unit,
            "values": list(self.values),
            "verdict": self.verdict,
            "note": self.note,
        }
        if self.limit is not None:
            found["limit"] = {"value": self.limit.value, "at_least": self.limit.at_least}
        if self.values:
            found |= {"median": self.median, "low": self.low, "high": self.high}
        return found


def figure_of(
    case: str,
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    limit: Limit | None = None,
    note: str = "",
) -> Figure:
    """Return a figure; see :class:`Figure`."""
    return Figure(case=case, name=name, unit=unit, values=tuple(values), limit=limit, note=note)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each pair: runs that were made one after the other.

    Args:
        ours: One value of each round.
        theirs: The other value of the same rounds.

    Raises:
        ValueError: The rounds do not match.
    """
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def differences(
    ours: Sequence[float], theirs: Sequence[float], *, least: float = 0.0
) -> list[float]:
    """Return the difference of each pair, not below ``least``."""
    return [max(mine - other, least) for mine, other in zip(ours, theirs, strict=True)]


def _digits(value: float) -> str:
    """Return a value with as many digits as it deserves."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if value < 2 else f"{value:.2f}"


def _cells(figure: Figure) -> tuple[str, ...]:
    unit = figure.unit if figure.unit == "x" else f" {figure.unit}".rstrip()
    limit = figure.limit
    wanted = "" if limit is None else f"{'>=' if limit.at_least else '<='} {limit.value:g}{unit}"
    name = f"{figure.name} ({figure.note})" if figure.note else figure.name
    if not figure.values:
        return (figure.case, name, wanted, "", "", "0", figure.verdict)
    median = f"{_digits(figure.median)}{unit}"
    spread = f"{_digits(figure.low)} to {_digits(figure.high)}" if len(figure.values) > 1 else ""
    return (figure.case, name, wanted, median, spread, str(len(figure.values)), figure.verdict)


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table: Markdown that reads well on a terminal, too."""
    rows = [_COLUMNS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
