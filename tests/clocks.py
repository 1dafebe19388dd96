"""A clock that only moves when it is told to, or when somebody sleeps by it."""


class HandClock:
    """Implements the clock of the ports.

    Attributes:
        now: Seconds; a test may set them.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
