import io
import sys

import pytest

from rehydrate.cli.progress import Rate, adder, progress_bar
from rehydrate.cli.watchers import RestoreWatcher
from rehydrate.results import JobStarted, Progress, RoundStarted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Noted:
    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.shown: list[tuple[str, int, str | bytes]] = []

    def total(self, total: int | None) -> None:
        self.totals.append(total)

    def show(self, what: str, done: int, note: str | bytes = "") -> None:
        self.shown.append((what, done, note))

    def count(self, what: str, number: int) -> None:
        raise AssertionError("a restore knows its bytes")


def test_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.value == 0
    for second in range(20):
        rate.add(float(second), second * 100 if second < 10 else 1000 + (second - 10) * 500)
    assert rate.value == pytest.approx(500)


def test_nothing_is_drawn_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar() as bar:
        assert bar is None


def test_parts_are_added_up() -> None:
    noted = Noted()
    for bar in (noted, None):
        add = adder(bar, "verifying")
        add(3)
        add(4)
    assert noted.shown == [("verifying", 3, ""), ("verifying", 7, "")]


def test_a_terminal_sees_bytes_rate_time_left_and_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with progress_bar() as bar:
        assert bar is not None
        bar.total(100 << 20)
        bar.show("restoring", 10 << 20, "Data/1")
        bar.show("restoring", 30 << 20, "\x1b[31m" + "long/" * 20 + "Data/2")
    text = terminal.getvalue()
    for part in ("restoring", "30 %", "30.0 MiB of 100.0 MiB", "MiB/s", "s left", "Data/2"):
        assert part in text
    assert "\x1b[31m" not in text.replace("\x1b[31mlong", "")


def test_a_terminal_sees_how_many_things_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as bar:
        assert bar is not None
        bar.count("listing", 1_048_576)
    assert "listing" in terminal.getvalue()
    assert "1,048,576" in terminal.getvalue()


def test_the_watcher_draws_what_the_engine_tells() -> None:
    bar = Noted()
    watcher = RestoreWatcher(bar)
    watcher.on_event(RoundStarted("stream", 1, 2, 3))
    watcher.on_event(JobStarted(5, 1000, 500))
    watcher.on_event(RoundStarted("data", 1, 2, 3))
    watcher.on_event(Progress(1, 400, 200, "Data/1"))
    watcher.on_event(RoundStarted("repair", 1, 2, 3))
    assert bar.totals == [1000]
    assert bar.shown == [
        ("reading maps", 0, ""),
        ("restoring", 0, ""),
        ("restoring", 400, "Data/1"),
        ("repairing", 400, ""),
    ]
