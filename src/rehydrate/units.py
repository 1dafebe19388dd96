"""Sizes, times and counts as people read them: in the command, and on the page of a plan."""

from typing import Final

__all__ = ["counted", "duration", "size"]

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP: Final = 1024
_TEN: Final = 10
_MINUTE: Final = 60
_HOUR: Final = 3600


def size(number: float) -> str:
    """Return a number of bytes with three digits and a unit, a power of 1024.

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
