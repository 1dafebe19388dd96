"""The part of the plan page about media: volumes in mount order, tapes drawn as they lie."""

from collections.abc import Mapping
from typing import Final

import attrs

from rehydrate.plan.estimates import PlanEstimates, Record, TapeDrawing
from rehydrate.plan.page_text import coordinate, escaped, visible
from rehydrate.units import counted, duration, size

__all__ = ["draw_media", "draw_orders", "draw_tape", "tape_record"]

WIDTH: Final = 1000
WRAP: Final = 10
MOST_NUMBERS: Final = 40
"""Passes that carry their number in the reading order."""
MOST_PASSES: Final = 5000
"""Passes of one tape that are drawn and told."""


def draw_media(estimates: PlanEstimates) -> str:
    """Return the media as a table, in mount order.

    Args:
        estimates: What is expected.
    """
    rows = "".join(
        f'<tr><td class="num">{number:,}</td><th scope="row">{escaped(medium.name)}</th>'
        f"<td>{escaped(medium.kind)}</td>"
        f'<td class="num">{medium.containers:,}</td>'
        f'<td class="num">{size(medium.bytes_to_read)}</td>'
        + "".join(
            f'<td class="num">{"" if seconds is None else duration(seconds)}</td>'
            for seconds in (medium.ready_seconds, medium.locate_seconds, medium.read_seconds)
        )
        + f"<td>{escaped(medium.note)}</td></tr>"
        for number, medium in enumerate(estimates.media, 1)
    )
    heads = ("", "medium", "kind", "containers", "to read", "until ready", "locate", "read", "note")
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="wide"><table class="media"><thead><tr>{top}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


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
    way, dots = [f"L0 {WRAP // 2}"], []
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
        f"Tape {visible(tape.name)}: {counted(len(tape.passes), 'stretch', 'stretches')} on"
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
