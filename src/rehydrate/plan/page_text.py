"""Text of the plan page: names nobody chose for it, coordinates, and data inside a script element."""

import html
import json
import re
from typing import Final

from rehydrate.plan.estimates import Record

__all__ = ["coordinate", "data_block", "escaped", "visible"]

# Controls, what changes the direction of text, what breaks lines, and bytes that are no text.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LONGEST: Final = 300
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)


def _code(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _ESCAPED_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def visible(name: str | bytes) -> str:
    """Return a name as one line of text, in which nothing is hidden and which is not too long.

    Args:
        name: Any path.
    """
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return _HIDDEN.sub(_code, text)


def escaped(text: str) -> str:
    """Return text for HTML, also within attributes.

    Args:
        text: Any text.
    """
    return html.escape(visible(text), quote=True)


def data_block(record: Record) -> str:
    """Return JSON that cannot end the script element around it.

    Args:
        record: The data.
    """
    found = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def coordinate(value: float) -> str:
    """Return a number for a drawing, short.

    Args:
        value: The number.
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")
