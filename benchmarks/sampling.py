"""Memory of a process and of all its descendants, sampled from outside.

The figure is the peak of ``RssAnon``: memory of its own, without mapped files. It comes from
``/proc``; where that is missing there is no figure.
"""

import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["MemorySampler", "anonymous_bytes", "descendants"]

PROC: Final = Path("/proc")
_INTERVAL: Final = 0.002


def anonymous_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the anonymous memory of one process; 0 if it has ended or nobody tells.

    Args:
        pid: Its number.
        proc: Where processes are described.
    """
    try:
        status = (proc / str(pid) / "status").read_bytes()
    except OSError:
        return 0
    at = status.find(b"RssAnon:")
    return int(status[at + 8 :].split(None, 1)[0]) * 1024 if at >= 0 else 0


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """Return a process and everything below it.

    Args:
        pid: Its number.
        proc: Where processes are described.
    """
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        for task in _tasks(proc / str(parent) / "task"):
            try:
                children = (task / "children").read_bytes()
            except OSError:
                continue
            waiting += [int(child) for child in children.split()]
    return found


def _tasks(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


class MemorySampler:
    """Watches a process from a thread of ours until the block is left."""

    def __init__(self, pid: int, *, proc: Path = PROC, interval: float = _INTERVAL) -> None:
        """Prepare to watch.

        Args:
            pid: Process whose whole family is watched.
            proc: Where processes are described.
            interval: Seconds between two looks.
        """
        self._pid, self._proc, self._interval = pid, proc, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0
        self.samples = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._interval)

    def look(self) -> None:
        """Take one sample."""
        family = descendants(self._pid, self._proc)
        self.peak = max(self.peak, sum(anonymous_bytes(pid, self._proc) for pid in family))
        self.samples += 1
