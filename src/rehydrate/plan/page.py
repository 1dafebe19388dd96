"""A plan as one page: which containers, how much of each, in which order; no network is needed.

The page is a text in HTML with its own drawings (SVG), style and script. Its content security
policy allows this very script and nothing else, so that no name in a store can run or fetch
anything. It looks the same without the script, which only tells more about what is pointed at.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

import attrs

from rehydrate.plan.estimates import PlanEstimates, Record, seconds_at
from rehydrate.plan.page_files import draw_files, draw_legend, file_names, shown_files
from rehydrate.plan.page_lanes import colour_classes, draw_lanes
from rehydrate.plan.page_script import SCRIPT
from rehydrate.plan.page_style import STYLE
from rehydrate.plan.page_tape import (
    draw_media,
    draw_orders,
    draw_tape,
    shown_tapes,
    tape_record,
)
from rehydrate.plan.page_text import data_block, escaped, visible
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.plan.sketch import PlanSketch
from rehydrate.units import counted, duration, size

__all__ = ["PagePart", "plan_page"]

_MISSING_SHOWN: Final = 20
_SEVERAL: Final = 2
_HASH: Final = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; script-src 'sha256-{_HASH}'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'"
)
_DATA_LEAD: Final = (
    "Each bar is a container from its first byte on. In colour: what is needed of it, as high as"
    " the part that is needed. Pale: from the first read of a step to its last. The line below is"
    " the way of the reads, and each dot the beginning of a step; dashes lead back to containers"
    " that are visited again, or out of turn."
)
_SWITCH: Final = (
    '<label class="tools"><input type="checkbox" checked> show the reading order</label>'
)
_ROUNDS: Final = {
    "data": ("Containers in reading order", _DATA_LEAD),
    "stream": ("Stream maps", "Read first: they say which data belong to which file."),
}


@attrs.frozen(kw_only=True, eq=False)
class PagePart:
    """One plan on the page.

    Attributes:
        plan: The plan.
        sketch: What is read for which file; without it, ranges have no files.
        estimates: What is expected of it.
        heading: What stands above it; empty for the only plan.
    """

    plan: ReadPlan
    sketch: PlanSketch | None = None
    estimates: PlanEstimates | None = None
    heading: str = ""


def plan_page(
    parts: Sequence[PagePart],
    *,
    title: str = "Restore plan",
    facts: Sequence[tuple[str, str]] = (),
    whole: PlanEstimates | None = None,
) -> str:
    """Return a page about plans; equal arguments give equal pages.

    Large plans are shown with fewer details: the page stays below 5 MB.

    Args:
        parts: The plans.
        title: Title of the page.
        facts: What else stands in its head: names and values.
        whole: What is expected of several plans together; their media stand there then, in one
            list.

    Raises:
        ValueError: A sketch belongs to another plan.
    """
    if len(parts) < _SEVERAL:
        whole = None
    drawn = [_part(part, number, listed=whole is None) for number, part in enumerate(parts)]
    head = "".join(f"<li>{escaped(name)} <b>{escaped(value)}</b></li>" for name, value in facts)
    body = (
        _whole(whole) + "".join(markup for markup, _ in drawn)
        or "<p>There is nothing to restore.</p>"
    )
    data = data_block({"parts": [record for _, record in drawn]})
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>\n<body>"
        f'<header><h1>{escaped(title)}</h1><ul class="facts">{head}</ul></header>\n'
        f"<main>{body}</main>\n"
        "<footer><p>Tab goes from chart to chart. Up and down choose a container or a file, left"
        " and right a stretch; the details tell about it.</p></footer>\n"
        f'<script type="application/json" id="plan-data">{data}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _whole(estimates: PlanEstimates | None) -> str:
    """Return what is expected of all plans."""
    if estimates is None:
        return ""
    tiles = _grid(_expected_tiles(estimates))
    heading = "<h2>All stores, one after the other</h2>"
    return f"{heading}{tiles}{''.join(_expected(estimates, listed=True))}"


def _part(part: PagePart, number: int, *, listed: bool) -> tuple[str, Record]:
    plan, sketch, estimates = part.plan, part.sketch, part.estimates
    cards = [_missing(plan, sketch)]
    record: dict[str, Record] = {"groups": [], "files": {}, "tapes": [], "times": []}
    if estimates is not None:
        cards += _expected(estimates, listed=listed)
    rounds: list[Record] = []
    for planned in sorted(plan.rounds, key=lambda each: each.kind != "data"):
        if not planned.extents:
            continue
        mine = sketch if planned.kind == "data" else None
        drawing = draw_lanes(planned, mine, len(rounds))
        rounds.append(drawing.record)
        heading, lead = _ROUNDS[planned.kind]
        legend = "" if mine is None else draw_legend(mine)
        tools = _SWITCH if planned.kind == "data" else ""
        cards.append(_card(heading, f'<p class="lead">{lead}</p>{legend}{drawing.markup}', tools))
        if planned.kind == "data" and estimates is not None and estimates.tapes:
            cards.append(_tapes(plan, sketch, estimates))
    if sketch is not None:
        cards.append(_card("Files in the order in which they are finished",
                           draw_files(plan, sketch, estimates)))  # fmt: skip
        record |= {
            "groups": [
                {"name": visible(group.name) or "/", "colour": colour}
                for group, colour in zip(sketch.groups, colour_classes(sketch), strict=False)
            ],
            "files": file_names(sketch),
            "times": _times(plan, sketch, estimates),
        }
    if estimates is not None:
        record["tapes"] = [tape_record(tape) for tape in shown_tapes(estimates.tapes)]
        record["containers"] = _named_on_tape(plan, estimates)
    record |= {"rounds": rounds, "total": plan.bytes_to_read}
    heading = f"<h2>{escaped(part.heading)}</h2>" if part.heading else ""
    markup = (
        f'{heading}{_tiles(part)}<section class="part" data-part="{number}"'
        f' aria-label="{escaped(part.heading or "Plan")}"><div class="main">{"".join(cards)}</div>'
        '<aside class="details card" role="region" aria-label="Details" aria-live="polite">'
        '<h3>Details</h3><p class="hint">Point at a bar, or go to a chart with Tab and use the'
        " arrow keys.</p></aside></section>"
    )
    return markup, record


def _card(heading: str, body: str, tools: str = "") -> str:
    return f'<section class="card">{tools}<h3>{escaped(heading)}</h3>{body}</section>'


def _tiles(part: PagePart) -> str:
    plan, estimates = part.plan, part.estimates or PlanEstimates()
    data = plan.round("data")
    known = sum(container.extents > 0 for container in data.by_container())
    tiles = [
        ("containers", f"{known:,}", counted(data.visits, "visit")),
        ("data to read", size(plan.bytes_to_read),
         f"{size(plan.bytes_needed)} needed, amplification {plan.amplification:.3f}"),
        ("reads", f"{data.reads:,}", counted(len(data.extents), "extent")),
        ("stream maps", size(plan.metadata_bytes), counted(plan.round("stream").reads, "read")),
        ("files", f"{plan.files:,}", size(plan.logical_bytes)),
        ("space needed", size(plan.allocated_bytes), "at the target"),
        ("unfinished at once", size(plan.unfinished_peak), "at most"),
    ]  # fmt: skip
    return _grid([*_expected_tiles(estimates), *tiles])


def _expected_tiles(estimates: PlanEstimates) -> list[tuple[str, str, str]]:
    tiles = []
    mounts = sum(medium.mounted is True for medium in estimates.media)
    volumes = {medium.name for medium in estimates.media if medium.mounted is not None}
    if volumes:
        tiles.append(("volumes", f"{len(volumes):,}", counted(mounts, "mount")))
    if estimates.total_seconds is not None:
        least = "at least " if estimates.at_least else ""
        value = f"{least}{duration(estimates.total_seconds)}"
        more = _spent(estimates)
        if estimates.begin_seconds:
            more = f"begins after {duration(estimates.begin_seconds)}; {more}"
        name = "finished after" if estimates.begin_seconds else "expected time"
        tiles.append((name, value, more))
    if estimates.price is not None:
        tiles.append(("price", str(estimates.price), ""))
    return tiles


def _grid(tiles: Sequence[tuple[str, str, str]]) -> str:
    inner = "".join(
        f"<div><dt>{name}</dt><dd>{escaped(value)}<small>{escaped(more)}</small></dd></div>"
        for name, value, more in tiles
    )
    return f'<dl class="tiles">{inner}</dl>'


def _spent(estimates: PlanEstimates) -> str:
    parts = (
        ("waiting", estimates.ready_seconds),
        ("locating", estimates.locate_seconds),
        ("reading", estimates.read_seconds),
        ("rewinding", estimates.rewind_seconds),
    )
    drives = max((medium.drive or 0 for medium in estimates.media), default=0)
    sums = f"; sums of {drives} drives" if drives > 1 else ""
    said = ", ".join(f"{name} {duration(value)}" for name, value in parts if value is not None)
    return said and said + sums


def _missing(plan: ReadPlan, sketch: PlanSketch | None) -> str:
    """Tell which containers the store does not offer, and how many files miss them."""
    missing = [each.path for planned in plan.rounds for each in planned.by_container()
               if not each.extents]  # fmt: skip
    if not missing:
        return ""
    files = ""
    if sketch is not None:
        lost = int((sketch.finish < 0).sum())
        files = f" Without them {counted(lost, 'file')} cannot be restored."
    more = len(missing) - _MISSING_SHOWN
    names = "".join(f"<li>{escaped(path)}</li>" for path in missing[:_MISSING_SHOWN])
    names += f"<li>and {counted(more, 'more', 'more')}</li>" if more > 0 else ""
    return (
        f'<section class="card alert" role="alert"><h3>{counted(len(missing), "container")} not'
        f" offered by the store</h3>{files}<ul>{names}</ul></section>"
    )


def _expected(estimates: PlanEstimates, *, listed: bool) -> list[str]:
    cards = []
    if estimates.media and listed:
        cards.append(_card("Media in mount order", draw_media(estimates)))
    if estimates.orders:
        cards.append(_card("Orders compared: time to locate", draw_orders(estimates)))
    if estimates.notes:
        notes = "".join(f"<li>{escaped(note)}</li>" for note in estimates.notes)
        cards.append(f'<ul class="notes above">{notes}</ul>')
    return cards


def _tapes(plan: ReadPlan, sketch: PlanSketch | None, estimates: PlanEstimates) -> str:
    colours = {} if sketch is None else _container_colours(plan, sketch)
    shown = shown_tapes(estimates.tapes)
    drawn = [draw_tape(tape, number, colours) for number, tape in enumerate(shown)]
    left = len(estimates.tapes) - len(shown)
    if left:
        more = counted(left, "more tape is", "more tapes are")
        drawn.append(f'<ul class="notes"><li>{more} not drawn.</li></ul>')
    return _card("Tapes as they lie", "".join(drawn))


def _container_colours(plan: ReadPlan, sketch: PlanSketch) -> dict[int, str]:
    """Return the colour of the files that need most of each container."""
    most: dict[int, tuple[int, int]] = {}
    marks = sketch.marks
    sums: dict[tuple[int, int], int] = {}
    for lane, group, needed in zip(
        marks.lane.tolist(), marks.group.tolist(), marks.needed.tolist(), strict=True
    ):
        total = sums[lane, group] = sums.get((lane, group), 0) + needed
        most[lane] = max(most.get(lane, (0, 0)), (total, group))
    classes = colour_classes(sketch)
    lanes = sketch.lanes.lane.tolist()
    return {
        container: classes[most[lanes[container]][1]]
        for container in range(len(plan.round("data").containers))
        if lanes[container] in most
    }


def _named_on_tape(plan: ReadPlan, estimates: PlanEstimates) -> Record:
    names = plan.round("data").containers
    used = {each.container for tape in shown_tapes(estimates.tapes) for each in tape.passes}
    return {
        str(index): visible(names[index])
        for index in sorted(number for number in used if number is not None)
        if index < len(names)
    }


def _times(plan: ReadPlan, sketch: PlanSketch, estimates: PlanEstimates | None) -> Record:
    seconds = None if estimates is None else seconds_at(plan, estimates, sketch.finish)
    return [
        [
            visible(sketch.names[number]),
            int(sketch.sizes[number]),
            int(sketch.begin[number]),
            int(sketch.finish[number]),
            int(sketch.group[number]),
            _said(None if seconds is None or sketch.finish[number] < 0 else seconds[number]),
        ]
        for number in shown_files(sketch)
    ]


def _said(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
