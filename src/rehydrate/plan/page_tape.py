"""The part of the plan page about media: volumes in mount order, tapes drawn as they lie."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from rehydrate.plan.estimates import (
    DATA,
    MAPS,
    PlanEstimates,
    Record,
    TapeDrawing,
    short_stores,
)
from rehydrate.plan.media_columns import media_columns
from rehydrate.plan.page_text import coordinate, escaped, visible
from rehydrate.units import counted, duration

__all__ = ["draw_media", "draw_orders", "draw_tape", "shown_tapes", "tape_record"]

WIDTH: Final = 1000
WRAP: Final = 10
MOST_NUMBERS: Final = 40
"""Passes that carry their number in the reading order."""
MOST_PASSES: Final = 5000
"""Passes of one tape that are drawn and told."""
MOST_TAPES: Final = 60
"""Tapes that are drawn."""
ALL_PASSES: Final = 8000
"""Passes of all tapes together that are drawn and told."""
MOST_MEDIA: Final = 1000
"""Media that are listed."""


def draw_media(estimates: PlanEstimates) -> str:
    """Return the media as a table, in mount order.

    Args:
        estimates: What is expected.
    """
    media = estimates.media
    columns = [
        ("", True, [f"{number:,}" for number in range(1, len(media) + 1)]),
        ("medium", False, [escaped(medium.name) for medium in media]),
        ("kind", False, [escaped(medium.kind) for medium in media]),
        ("store", False, [escaped(store) for store in short_stores(media)]),
        *(
            (head, number, [escaped(cell) for cell in cells])
            for head, number, cells in media_columns(media, "")
        ),
        ("order", False, [escaped(medium.order.partition(":")[0]) for medium in media]),
        ("note", False, [escaped(medium.note) for medium in media]),
    ]
    # Columns that would say the same of all media, namely nothing, are left out.
    kept = [column for column in columns if set(column[2]) not in ({""}, {DATA})]
    shown = min(len(media), MOST_MEDIA)
    rows = "".join(
        f"<tr>{''.join(_cell(head, cells[row], number=number) for head, number, cells in kept)}</tr>"
        for row in range(shown)
    )
    top = "".join(f'<th scope="col"{" class=num" * number}>{head}</th>' for head, number, _ in kept)
    notes = sorted({escaped(medium.order) for medium in media if ":" in medium.order})
    if len(media) > shown:
        left = counted(len(media) - shown, "more medium is", "more media are")
        notes.append(f"{left} not in this list.")
    more = "".join(f"<li>{note}</li>" for note in notes)
    more = f'<ul class="notes">{more}</ul>' if more else ""
    return (
        f'<div class="wide"><table class="media"><thead><tr>{top}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _cell(head: str, text: str, *, number: bool) -> str:
    if head == "medium":
        return f'<th scope="row">{text}</th>'
    return f'<td class="num">{text}</td>' if number else f"<td>{text}</td>"


def draw_orders(estimates: PlanEstimates) -> str:
    """Return the orders compared, as bars.

    Args:
        estimates: What is expected.
    """
    longest = max((order.seconds for order in estimates.orders), default=0.0) or 1.0
    rows = []
    for order in estimates.orders:
        other = ""
        if order.other_seconds is not None:
            other = f" <small>(other model: {duration(order.other_seconds)})</small>"
        mine = " taken" if order.taken else ""
        note = '<em class="tag">taken</em>' if order.taken else ""
        rows.append(
            f'<li class="order{mine}"><span class="name">{escaped(order.name)} {note}</span>'
            '<svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect width="{coordinate(1000 * order.seconds / longest)}" height="10"/></svg>'
            f"<span>{duration(order.seconds)}{other}</span></li>"
        )
    return f'<ul class="orders">{"".join(rows)}</ul>'


def draw_tape(tape: TapeDrawing, number: int, colours: Mapping[int, str]) -> str:
    """Draw a tape: one line for each wrap, from the load point on the left.

    Args:
        tape: The tape.
        number: Its place in mount order.
        colours: Style class of containers; others are drawn in the colour of the page.
    """
    across = WIDTH / (tape.length_m or 1.0)
    units = max(tape.wraps, 1) * WRAP
    height = min(max(round(tape.wraps * 1.2), 120), 400)
    used = sorted({each.wrap for each in tape.passes})
    lines = "".join(f"M0 {wrap * WRAP + WRAP // 2}h{WIDTH}" for wrap in used)
    bands = []
    for band in range(0, tape.bands, 2):
        low, high = (tape.wraps * each // tape.bands for each in (band, band + 1))
        bands.append(f"M0 {low * WRAP}h{WIDTH}V{high * WRAP}H0z")
    drawn: dict[str, list[str]] = {}
    way, dots = [f"L{coordinate(tape.at_m * across)} {tape.at_wrap * WRAP + WRAP // 2}"], []
    for each in tape.passes[:MOST_PASSES]:
        y = each.wrap * WRAP + WRAP // 2
        left, right = coordinate(each.begin_m * across), coordinate(each.end_m * across)
        colour = colours.get(-1 if each.container is None else each.container, "cn")
        drawn.setdefault(colour, []).append(f"M{left} {y}H{right}")
        way.append(f"L{left} {y}H{right}")
        dots.append(f"M{left} {y}h0")
    paths = "".join(
        f'<path class="pass {colour}" d="{"".join(parts)}"/>' for colour, parts in drawn.items()
    )
    path = "".join(way).replace("L", "M", 1)
    numbers = "".join(
        f'<span class="nr{" low" if each.wrap * 12 < tape.wraps else ""}" style="left:{coordinate(each.begin_m * across / WIDTH * 100)}%;'
        f'top:{coordinate((each.wrap + 0.5) * 100 / max(tape.wraps, 1))}%">{place}</span>'
        for place, each in enumerate(tape.passes[:MOST_NUMBERS], 1)
    )
    labels = "".join(f"<span>band {band}</span>" for band in range(tape.bands))
    said = (
        f"Tape {visible(tape.name)}{', stream maps' * (tape.phase == MAPS)}:"
        f" {counted(len(tape.passes), 'stretch', 'stretches')} on"
        f" {counted(len(used), 'wrap')} of {tape.wraps:,}"
    )
    said += f"; {tape.left_out:,} more are not drawn" if tape.left_out else ""
    ends = "wrap ends from the drive" if tape.reported else "wrap ends assumed"
    return (
        f'<figure class="tape"><figcaption>{escaped(said)}; {ends}. Even wraps run to the right,'
        ' odd ones back.</figcaption><div class="reel" role="listbox" tabindex="0"'
        f' data-chart="tape" data-i="{number}" aria-label="{escaped(said)}">'
        f'<svg viewBox="0 0 {WIDTH} {units}" preserveAspectRatio="none" height="{height}"'
        f' aria-hidden="true"><path class="band" d="{"".join(bands)}"/>'
        f'<path class="wraps" d="{lines}"/><path class="way" d="{path}"/>{paths}'
        f'<path class="dots" d="{"".join(dots)}"/><path class="here" d=""/></svg>'
        f'<div class="bands" aria-hidden="true">{labels}</div>{numbers}</div>'
        '<div class="ticks" aria-hidden="true"><span>load point</span>'
        f"<span>{tape.length_m:,.0f} m</span></div></figure>"
    )


def shown_tapes(tapes: Sequence[TapeDrawing]) -> tuple[TapeDrawing, ...]:
    """Return the tapes that are drawn, with as many stretches as fit on the page.

    Args:
        tapes: All of them, in mount order.
    """
    shown = tapes[:MOST_TAPES]
    most = min(MOST_PASSES, ALL_PASSES // max(len(shown), 1))
    return tuple(
        attrs.evolve(
            tape,
            passes=tape.passes[:most],
            left_out=tape.left_out + max(len(tape.passes) - most, 0),
        )
        for tape in shown
    )


def tape_record(tape: TapeDrawing) -> Record:
    """Return what the script tells about a tape.

    Args:
        tape: The tape.
    """
    passes = [list(attrs.astuple(each)) for each in tape.passes[:MOST_PASSES]]
    return {
        "name": visible(tape.name),
        "length": tape.length_m,
        "wraps": tape.wraps,
        "passes": passes,
    }
