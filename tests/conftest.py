"""What all tests need: signals that arrive."""

import signal


def pytest_configure() -> None:
    """Undo ignored signals: a shell starts background jobs with them, and children inherit it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)
