"""Sizes, times and counts as people write and read them."""

import re
from typing import Final

__all__ = ["counted", "duration", "moment", "parse_amount", "parse_size", "size"]

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,6}))?\s*([KMGTP]?)(?:I?B)?", re.IGNORECASE)
_AMOUNT: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?")
_STEP: Final = 1024
_TEN: Final = 10
_MINUTE: Final = 60
_HOUR: Final = 3600


def parse_size(text: str) -> int:
    """Read a size such as ``256M``, ``1.5GiB`` or ``4096``; units are powers of 1024.

    Args:
        text: What was typed.

    Returns:
        Bytes.

    Raises:
        ValueError: It is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no size: write bytes, or a number with K, M, G or T, such as 256M"
        raise ValueError(msg)
    whole, fraction, unit = found.groups()
    factor: int = _STEP ** " KMGTP".index(unit.upper() or " ")
    return int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def parse_amount(text: str) -> int:
    """Read an amount of money such as ``10`` or ``2.50``.

    Args:
        text: What was typed.

    Returns:
        Millionths of the unit.

    Raises:
        ValueError: It is no amount.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no amount: write a number such as 10 or 2.50"
        raise ValueError(msg)
    whole, fraction = found.groups()
    return int(whole) * 10**6 + int((fraction or "").ljust(6, "0"))


def size(number: int) -> str:
    """Return a number of bytes with three digits and a unit."""
    value = float(number)
    for unit in _UNITS:
        # 1023.95 would be shown as 1024.0 of the smaller unit.
        if value < _STEP - 0.05 or unit == _UNITS[-1]:
            break
        value /= _STEP
    else:
        unit = _UNITS[-1]
    if unit == "B":
        return f"{number} B"
    return f"{value:.2f} {unit}" if value < _TEN else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span: ``0.42 s``, ``12.3 s``, ``2 min 05 s``, ``3 h 07 min``."""
    if seconds < _TEN:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``1 file`` or ``1,204 files``."""
    name = thing if number == 1 else things or thing + "s"
    return f"{number:,} {name}"


def moment(nanoseconds: int) -> str:
    """Return a time as ``2025-03-04 17:05:09`` in the local zone, also far from today."""
    import time

    seconds = nanoseconds // 10**9
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"@{seconds}"
