"""Daemon threads of our own: a stuck callback must not keep the program from ending.

``ThreadPoolExecutor`` joins its threads at interpreter exit, so it is not used here.
"""

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias

__all__ = ["Submits", "TaskThreads"]

Task: TypeAlias = Callable[[], None]


class Submits(Protocol):
    """What the engine needs of an executor (``concurrent.futures.Executor`` fits)."""

    def submit(self, fn: Callable[[], None], /) -> object:
        """Run ``fn`` on another thread of this process."""
        ...


class TaskThreads:
    """A fixed number of daemon threads that run tasks in the order of submission.

    Tasks must not raise: whatever goes wrong is theirs to report.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start ``count`` threads; each sees a copy of the caller's context variables."""
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._work,),
                name=f"rehydrate-{name}-{number}",
                daemon=True,
            )
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Task, /) -> None:
        """Queue a task."""
        self._tasks.put(fn)

    def stop(self) -> None:
        """Let the threads end after the tasks that are queued; does not wait."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
