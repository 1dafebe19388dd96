"""Signals: the first one asks the running work to stop, the second one stops the process."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from rehydrate.cli.exit_codes import INTERRUPTED
from rehydrate.cli.output import tell
from rehydrate.requests import CancelToken

__all__ = ["cancelled_by_signals", "stop_asked"]

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_running: Final[list[CancelToken]] = []


def stop_asked() -> bool:
    """Tell whether a signal asked the running work to stop; for whatever waits for somebody."""
    return any(token.cancelled for token in _running)


@contextmanager
def cancelled_by_signals(what_is_kept: str) -> Iterator[CancelToken]:
    """Let signals cancel a token while the body runs.

    Args:
        what_is_kept: Said when the first signal comes, such as ``"what is verified is kept"``.

    Yields:
        The token to hand to the work.
    """
    token = CancelToken()

    def stop(number: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            # Not sys.exit: a worker stuck in a system call must not hold the process.
            os._exit(INTERRUPTED)
        token.cancel()
        name = signal.Signals(number).name
        below = "\n" if sys.stderr.isatty() else ""  # the terminal shows ^C where the cursor is
        tell(f"{below}rehydrate: {name}: stopping; {what_is_kept} (once more = stop at once)")

    ignored = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in _SIGNALS if number not in ignored}
    _running.append(token)
    try:
        yield token
    finally:
        _running.remove(token)
        for number, handler in before.items():
            signal.signal(number, handler)
