"""The part of the plan page about files: when each begins and is finished, and what that takes."""

from typing import Final

import numpy as np

from rehydrate.plan.estimates import PlanEstimates, Record, seconds_at
from rehydrate.plan.page_lanes import colour_classes, column_width
from rehydrate.plan.page_text import coordinate, escaped, visible
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.plan.sketch import PlanSketch
from rehydrate.units import counted, duration, size

__all__ = ["draw_files", "draw_legend", "file_names", "shown_files"]

MOST_ROWS: Final = 400
WIDTH: Final = 1000
HEIGHT: Final = 100


def draw_legend(sketch: PlanSketch) -> str:
    """Return the groups as buttons.

    Args:
        sketch: The sketch.
    """
    buttons = []
    for number, (group, colour) in enumerate(
        zip(sketch.groups, colour_classes(sketch), strict=False)
    ):
        name = visible(group.name) or "/"
        rest = " (others)" if group.rest else ""
        files = "" if group.files == 1 and not rest else f"{counted(group.files, 'file')}, "
        buttons.append(
            f'<li><button type="button" aria-pressed="false" data-g="{number}">'
            f'<i class="key {colour}"></i><span class="what">{escaped(name)}{rest}</span>'
            f"<small>{files}{size(group.size)}</small></button></li>"
        )
    shared = len(sketch.groups)
    if (sketch.marks.group == shared).any():
        buttons.append(
            f'<li><button type="button" aria-pressed="false" data-g="{shared}">'
            '<i class="key cs"></i><span class="what">needed by several</span></button></li>'
        )
    return (
        '<ul class="legend" aria-label="Files by colour; press to see only one">'
        f"{''.join(buttons)}</ul>"
    )


def file_names(sketch: PlanSketch) -> Record:
    """Return the names of the files that marks tell, by number.

    Args:
        sketch: The sketch.
    """
    used = np.unique(sketch.marks.files).tolist()
    return {
        str(number): visible(sketch.names[number])
        for number in used
        if 0 <= number < len(sketch.names)
    }


def shown_files(sketch: PlanSketch) -> list[int]:
    """Return the files that have a line, the largest ones, in the order in which they are finished.

    Args:
        sketch: The sketch.
    """
    largest = np.argsort(-sketch.sizes, kind="stable")[:MOST_ROWS]
    return sorted(largest.tolist(), key=lambda n: (sketch.finish[n], sketch.names[n]))


def draw_files(plan: ReadPlan, sketch: PlanSketch, estimates: PlanEstimates | None) -> str:
    """Draw the files over the course of the restore.

    Args:
        plan: The plan.
        sketch: The sketch of its data round.
        estimates: What is expected of it.
    """
    total = max(plan.bytes_to_read, 1)
    shown = shown_files(sketch)
    seconds = None if estimates is None else seconds_at(plan, estimates, sketch.finish)
    colours = colour_classes(sketch)
    bars, rows = [], []
    for row, number in enumerate(shown):
        begin, finish = int(sketch.begin[number]), int(sketch.finish[number])
        name = visible(sketch.names[number])
        lost = finish < 0
        group = int(sketch.group[number])
        if not lost:
            left, right = (WIDTH * each / total for each in (begin, finish))
            bars.append(
                f'<path class="mark {colours[group]}" data-g="{group}" d="M{coordinate(left)}'
                f' {row * HEIGHT + 25}h{coordinate(max(right - left, 3.0))}v50H{coordinate(left)}z"/>'
            )
        when = "not complete" if lost else f"after {size(finish)}"
        expected = None if seconds is None or lost else seconds[number]
        if expected is not None:
            when = duration(expected)
        said = f"{name}, {size(int(sketch.sizes[number]))}, finished: {when}"
        rows.append(
            f'<div class="row" role="option" aria-selected="false" data-i="{row}"'
            f' aria-label="{escaped(said)}"><span class="name" title="{escaped(name)}"><bdi>'
            f'{escaped(name)}</bdi></span><span class="bar"></span>'
            f'<span class="num">{size(int(sketch.sizes[number]))}</span>'
            f'<span class="num{" bad" if lost else ""}">{when}</span></div>'
        )
    hidden = len(sketch.names) - len(shown)
    longest = max((len(visible(sketch.names[number])) for number in shown), default=0)
    more = (
        f'<ul class="notes"><li>{counted(hidden, "smaller file is", "smaller files are")} not in'
        " this list.</li></ul>"
        if hidden
        else ""
    )
    return (
        f"{_course(plan, sketch)}"
        f'<div class="files lanes" style="--name:{column_width(longest)}"><div class="scroll">'
        '<div class="head" aria-hidden="true"><span>file</span>'
        f'<span class="ticks"><span>start</span><span>{size(total)} read</span></span>'
        "<span>size</span><span>finished</span></div>"
        '<div class="rows" role="listbox" tabindex="0" data-chart="files"'
        ' aria-label="Files in the order in which they are finished">'
        f'<div class="over"><svg viewBox="0 0 {WIDTH} {max(len(shown), 1) * HEIGHT}"'
        f' preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg></div>'
        f"{''.join(rows)}</div></div></div>{more}"
    )


def _course(plan: ReadPlan, sketch: PlanSketch) -> str:
    """Draw the bytes that are begun and not finished."""
    levels = sketch.levels
    highest = max(levels, default=0.0)
    if not highest:
        return ""
    step = WIDTH / len(levels)
    line = "".join(
        f"V{coordinate(HEIGHT * (1 - level / highest))}H{coordinate(step * (at + 1))}"
        for at, level in enumerate(levels)
    )
    said = f"Unfinished bytes over the restore; at most {size(plan.unfinished_peak)}"
    return (
        f'<figure class="course"><figcaption>{escaped(said)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escaped(said)}"><path d="M0 {HEIGHT}{line}V{HEIGHT}z"/></svg></figure>'
    )
