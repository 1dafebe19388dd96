"""Progress on a terminal; nothing at all where stderr is none, and rich is not loaded then."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rehydrate.cli.output import shown
from rehydrate.cli.sizes import duration, size

__all__ = ["Bar", "Rate", "adder", "progress_bar", "without_bar"]

_WINDOW: Final = 5.0
_SLOPE: Final = 2
_ARROW: Final = "…"
_NOTE: Final = 40
_MINUTE: Final = 60


class _Drawn(Protocol):
    """A bar on the terminal."""

    def start(self) -> None:
        """Begin to draw."""
        ...

    def stop(self) -> None:
        """Take it off the terminal."""
        ...


_drawn_now: Final[list[_Drawn]] = []


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        """Start without any sample."""
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Note how far the work is.

        Args:
            now: Seconds of a clock that never goes back.
            done: Bytes done until then.
        """
        self._samples.append((now, done))
        while len(self._samples) > _SLOPE and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    @property
    def value(self) -> float:
        """Bytes a second; 0 if that is not known yet."""
        if len(self._samples) < _SLOPE:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0


class Bar(Protocol):
    """What the observers draw on."""

    def total(self, total: int | None) -> None:
        """Set how many bytes there are in all; ``None`` = nobody knows."""
        ...

    def show(self, what: str, done: int, note: str | bytes = "") -> None:
        """Draw.

        Args:
            what: What is going on, one or two words.
            done: Bytes done.
            note: The container or file in work.
        """
        ...

    def count(self, what: str, number: int) -> None:
        """Draw how many things were looked at, where nobody knows how many there are.

        Args:
            what: What is going on, a few words.
            number: How many.
        """
        ...


@contextmanager
def progress_bar() -> Iterator[Bar | None]:
    """Draw a line at the bottom of the terminal while the body runs.

    Yields:
        The bar; ``None`` where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[numbers]}"),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        expand=False,
    ) as drawn:
        task = drawn.add_task("", total=None, numbers="", note="")
        rate = Rate()
        known: int | None = None

        class OnTerminal:
            def total(self, total: int | None) -> None:
                nonlocal known
                known = total

            def show(self, what: str, done: int, note: str | bytes = "") -> None:
                rate.add(time.monotonic(), done)
                drawn.update(
                    task,
                    description=what,
                    total=known,
                    completed=done,
                    numbers=_numbers(done, known, rate.value),
                    note=_short(shown(note)),
                )
                drawn.refresh()

            def count(self, what: str, number: int) -> None:
                drawn.update(task, description=what, numbers=f"{number:,}")
                drawn.refresh()

        _drawn_now.append(drawn)
        try:
            yield OnTerminal()
        finally:
            _drawn_now.remove(drawn)


@contextmanager
def without_bar() -> Iterator[None]:
    """Take bars off the terminal while the body runs, which asks a person something."""
    taken = [*_drawn_now]
    for drawn in taken:
        drawn.stop()
    try:
        yield
    finally:
        for drawn in taken:
            drawn.start()


def adder(bar: Bar | None, what: str) -> Callable[[int], None]:
    """Return what takes the bytes done since the last call, and draws their sum.

    Args:
        bar: The bar, if there is one.
        what: What is going on, one or two words.
    """
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if bar is not None:
            bar.show(what, done)

    return add


def _numbers(done: int, total: int | None, rate: float) -> str:
    """Return ``63 %  1.2 of 1.9 GiB  412 MiB/s  2.1 s left``, as far as it is known."""
    parts = [size(done)]
    if total:
        parts = [f"{min(done * 100 // total, 100):3} %", f"{size(done)} of {size(total)}"]
    if rate:
        parts.append(f"{size(round(rate))}/s")
        if total and done < total:
            parts.append(f"{_time_left((total - done) / rate)} left")
    return "  ".join(parts)


def _time_left(seconds: float) -> str:
    """Return a guess, no more exact than it is."""
    return f"{max(round(seconds), 1)} s" if seconds < _MINUTE else duration(seconds)


def _short(text: str) -> str:
    """Return the end of a long path: that is the part that changes."""
    return text if len(text) <= _NOTE else _ARROW + text[1 - _NOTE :]
