"""Text of the plan page: names nobody chose for it, numbers, and data inside a script element."""

import html
import json
import re
from typing import Final

from rehydrate.plan.estimates import Record

__all__ = ["amount", "coordinate", "counted", "data_block", "duration", "escaped", "visible"]

# Controls, what changes the direction of text, what breaks lines, and bytes that are no text.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024
_TEN: Final = 10
_MINUTE: Final = 60
_HOUR: Final = 3600
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


def amount(number: float) -> str:
    """Return a number of bytes with three digits and a unit.

    Args:
        number: Bytes.
    """
    value = float(number)
    unit = _UNITS[0]
    for unit in _UNITS:
        # 1023.95 would be shown as 1024.0 of the smaller unit.
        if value < _STEP - 0.05 or unit == _UNITS[-1]:
            break
        value /= _STEP
    if unit == "B":
        return f"{value:.0f} B"
    return f"{value:.2f} {unit}" if value < _TEN else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span: ``4.2 s``, ``2 min 05 s``, ``3 h 07 min``.

    Args:
        seconds: Its length.
    """
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // _MINUTE:02} min"


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``1 file`` or ``1,204 files``.

    Args:
        number: How many.
        thing: One of them.
        things: Several of them.
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def coordinate(value: float) -> str:
    """Return a number for a drawing, short.

    Args:
        value: The number.
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")
