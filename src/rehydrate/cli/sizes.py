"""Sizes, times and counts as people write and read them."""

import re
from typing import Final

from rehydrate import units
from rehydrate.units import counted, size

__all__ = ["counted", "duration", "moment", "parse_amount", "parse_size", "size"]

_SIZE: Final = re.compile(r"(\d{1,18})(?:\.(\d{1,6}))?\s*([KMGTP]?)(?:I?B)?", re.IGNORECASE)
_AMOUNT: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,6}))?")
_STEP: Final = 1024
_TEN: Final = 10


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


def duration(seconds: float) -> str:
    """Return a time that was measured: ``0.42 s``, and from 10 seconds on as everywhere."""
    return f"{seconds:.2f} s" if seconds < _TEN else units.duration(seconds)


def moment(nanoseconds: int) -> str:
    """Return a time as ``2025-03-04 17:05:09`` in the local zone, also far from today."""
    import time

    seconds = nanoseconds // 10**9
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"@{seconds}"
