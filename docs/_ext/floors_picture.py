"""Draw the floors of the package from the contract that the build enforces.

The directive ``floors-picture`` reads the contract ``floors`` of ``pyproject.toml`` and puts an SVG
picture into the page. A picture that is drawn from the contract cannot be out of date.
"""

import tomllib
from collections.abc import Sequence
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOM_WIDTH, ROOM_HEIGHT = 132, 34
GAP, MARGIN = 14, 30
STYLE = (
    "text{font:13px sans-serif;fill:currentColor}"
    "rect{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.55}"
    "line{stroke:currentColor;stroke-opacity:.7}polygon{fill:currentColor;fill-opacity:.7}"
)


def floors_of(pyproject: Path) -> list[list[str]]:
    """Read the floors from the contract.

    Args:
        pyproject: The file with the contract ``floors``.

    Returns:
        The rooms of each floor, the highest floor first.

    Raises:
        LookupError: There is no such contract.
    """
    with pyproject.open("rb") as stream:
        contracts = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["name"] == "floors":
            return [
                [room.strip().strip("()") for room in layer.split("|")]
                for layer in contract["layers"]
            ]
    raise LookupError(f"no contract named 'floors' in {pyproject}")


def picture(floors: Sequence[Sequence[str]]) -> str:
    """Draw the floors.

    Args:
        floors: The rooms of each floor, the highest floor first.

    Returns:
        An SVG element.
    """
    width = MARGIN * 2 + max(len(floor) for floor in floors) * (ROOM_WIDTH + GAP)
    height = len(floors) * (ROOM_HEIGHT + GAP) + GAP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}"'
            f' style="max-width:{width}px;width:100%" aria-label="Floors of the package">'
        ),
        f"<style>{STYLE}</style>",
        f'<line x1="{MARGIN // 2}" y1="{GAP}" x2="{MARGIN // 2}" y2="{height - GAP}"/>',
        (
            f'<polygon points="{MARGIN // 2},{height - 4} {MARGIN // 2 - 5},{height - GAP}'
            f' {MARGIN // 2 + 5},{height - GAP}"/>'
        ),
    ]
    for row, floor in enumerate(floors):
        top = GAP + row * (ROOM_HEIGHT + GAP)
        left = MARGIN + (width - 2 * MARGIN - len(floor) * (ROOM_WIDTH + GAP) + GAP) / 2
        middle = top + ROOM_HEIGHT / 2 + 5
        for room in floor:
            parts.append(
                f'<rect x="{left}" y="{top}" width="{ROOM_WIDTH}" height="{ROOM_HEIGHT}" rx="4"/>'
                f'<text x="{left + ROOM_WIDTH / 2}" y="{middle}" text-anchor="middle">'
                f"{escape(room)}</text>"
            )
            left += ROOM_WIDTH + GAP
    return "\n".join([*parts, "</svg>"])


class FloorsPicture(SphinxDirective):
    """The directive; it has no arguments."""

    def run(self) -> list[nodes.Node]:
        """Put the picture into the page.

        Returns:
            The picture; readers of other formats than HTML get the floors as text.
        """
        pyproject = Path(self.env.srcdir).parent / "pyproject.toml"
        self.env.note_dependency(str(pyproject))
        floors = floors_of(pyproject)
        text = "\n".join(" | ".join(floor) for floor in floors)
        fallback = nodes.literal_block(text, text)
        only = nodes.raw("", picture(floors), format="html")
        if self.env.app.builder.format == "html":
            return [only]
        return [fallback]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to sphinx.

    Args:
        app: The application.

    Returns:
        What sphinx wants to know about the extension.
    """
    app.add_directive("floors-picture", FloorsPicture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
