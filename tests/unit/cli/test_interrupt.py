import os
import signal

import pytest

from rehydrate.cli.interrupt import cancelled_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_cancels_and_says_what_is_kept(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with cancelled_by_signals("all is kept") as token:
        states = [token.cancelled]
        signal.raise_signal(number)
        states.append(token.cancelled)
    assert states == [False, True]
    assert signal.getsignal(number) is before
    assert f"{number.name}: stopping; all is kept" in capsys.readouterr().err


def test_the_second_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    with cancelled_by_signals("all is kept"):
        signal.raise_signal(signal.SIGINT)
        assert ended == []
        os.kill(os.getpid(), signal.SIGINT)
    assert ended == [130]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancelled_by_signals("all is kept") as token:
            signal.raise_signal(signal.SIGHUP)
            assert not token.cancelled
    finally:
        signal.signal(signal.SIGHUP, before)
