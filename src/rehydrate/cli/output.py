"""Everything that is written for people and programs: stdout for results, stderr for the rest."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

__all__ = [
    "Json",
    "document",
    "hide_broken_pipe",
    "list_lines",
    "paths",
    "say",
    "shown",
    "table",
    "tell",
]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a JSON document may hold."""

# C0 and C1 controls, DEL, and what changes the direction of text: a name must not move the cursor,
# and must not look like another name.
_UNSHOWABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINES: Final = 50
_BYTES: Final = range(0x100)
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _ESCAPED_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code in _BYTES else f"\\u{code:04x}"


def shown(path: str | bytes) -> str:
    """Return a path as one line of text that is safe on a terminal.

    Args:
        path: Any path; text may hold escaped bytes.
    """
    text = path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")
    return _UNSHOWABLE.sub(_escape, text)


def say(text: str = "") -> None:
    """Print a line of the result."""
    print(text)


def tell(text: str) -> None:
    """Print a line beside the result."""
    print(text, file=sys.stderr, flush=True)


def paths(names: Sequence[bytes], *, end: bytes | None) -> None:
    """Print paths: as they are for programs, escaped for a terminal.

    Args:
        names: The paths.
        end: What ends each; ``None`` = a line break, and whatever suits the reader.
    """
    if end is None and sys.stdout.isatty():
        sys.stdout.write("".join(f"{shown(name)}\n" for name in names))
        return
    sys.stdout.flush()
    end = b"\n" if end is None else end
    sys.stdout.buffer.write(b"".join(name + end for name in names))


def document(
    name: str,
    content: Mapping[str, Json],
    *,
    rows: "tuple[str, Iterable[Json]] | None" = None,
    after: "Callable[[], Mapping[str, Json]]" = dict,
) -> None:
    """Print the one JSON document of a command.

    Args:
        name: What it is: the format is ``rehydrate-`` and this.
        content: The keys after ``format`` and ``version``.
        rows: A further key with a list that may be long; it is printed while it is made.
        after: Asked for the keys that come after the rows.
    """
    import json

    whole = {"format": f"rehydrate-{name}", "version": 1, **content}
    text = json.dumps(whole, indent=2 if sys.stdout.isatty() else None)
    if rows is None:
        print(text)
        return
    key, values = rows
    write = sys.stdout.write
    write(f"{text.removesuffix('}').rstrip()}, {json.dumps(key)}: [")
    separator = "\n"
    for value in values:
        write(separator + json.dumps(value))
        separator = ",\n"
    write("]")
    for key, value in after().items():
        write(f",\n{json.dumps(key)}: {json.dumps(value)}")
    write("}\n")


def table(rows: Sequence[Sequence[str]], *, right: str = "") -> list[str]:
    """Lay out rows in columns.

    Args:
        rows: Equally long rows; the first is the heading.
        right: One character a column: ``r`` = to the right, anything else = to the left.

    Returns:
        One line for each row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = right.ljust(len(widths))
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def list_lines(what: str, lines: Sequence[str]) -> None:
    """Print a heading and lines below it, not more than a person reads.

    Args:
        what: The heading; nothing at all is printed where there are no lines.
        lines: The lines; made safe here.
    """
    if not lines:
        return
    say(f"{what} ({len(lines):,}):")
    for line in lines[:_LINES]:
        say(f"  {shown(line)}")
    if len(lines) > _LINES:
        say(f"  ... and {len(lines) - _LINES:,} more; --json lists all")


def hide_broken_pipe() -> None:
    """Send what is still to be printed nowhere, so that no complaint follows at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
