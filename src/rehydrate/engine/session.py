"""One running job: its threads, its buffers, its end.

The caller's thread leads. Vendor calls run on one daemon thread (or, where the store declares
concurrent reads, reads run on the workers); decoding and writing run on workers. Whatever ends the
job early is kept here and raised on the caller's thread.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs

from rehydrate.engine.calls import ObserverCalls, StoreCalls
from rehydrate.engine.threads import Submits, TaskThreads
from rehydrate.errors import Cancelled, RestoreError, SessionError, StoreTimeoutError
from rehydrate.plan.rounds import RoundPlan
from rehydrate.ports import Clock
from rehydrate.requests import CancelToken, RestoreOptions
from rehydrate.results import ReadCounters
from rehydrate.values import StorePath

__all__ = ["BufferPool", "ByteBudget", "Gives", "Session"]

T = TypeVar("T")

_TICK = 0.1
_WORKER = "rehydrate-worker"
_MOST_JOBS = 8
_SHARE_OF_BUFFERS = 4  # buffers take at most this part of the memory budget


def _nothing() -> None:
    """Wake the caller's thread."""


class BufferPool:
    """A bounded number of equal buffers; who takes one waits until one is free."""

    def __init__(self, count: int, size: int) -> None:
        """Make room for ``count`` buffers of ``size`` bytes; each is made when first needed."""
        self._free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        self._size = size
        for _ in range(count):
            self._free.put(None)

    def take(self, ended: Callable[[], bool]) -> bytearray:
        """Return a buffer.

        Raises:
            Cancelled: The job ended while waiting.
        """
        while True:
            try:
                room = self._free.get(timeout=_TICK)
            except queue.Empty:
                if ended():
                    raise Cancelled from None
                continue
            return bytearray(self._size) if room is None else room

    def give(self, room: bytearray) -> None:
        """Put a buffer back."""
        self._free.put(room)


class ByteBudget:
    """Buffers of any size within a bound; who takes one waits until there is room for it."""

    def __init__(self, limit: int) -> None:
        """Make room for ``limit`` bytes; a single buffer may be larger."""
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    def take(self, size: int, ended: Callable[[], bool]) -> bytearray:
        """Return a buffer of ``size`` bytes.

        Raises:
            Cancelled: The job ended while waiting.
        """
        with self._changed:
            while self._used and self._used + size > self._limit:
                if not self._changed.wait(_TICK) and ended():
                    raise Cancelled
            self._used += size
        return bytearray(size)

    def give(self, room: bytearray) -> None:
        """Give a buffer back."""
        with self._changed:
            self._used -= len(room)
            self._changed.notify_all()


class Gives(Protocol):
    """Where a buffer goes back to."""

    def give(self, room: bytearray) -> None:
        """Take a buffer back."""
        ...


@attrs.define
class Tally:
    """Counters of a job while it runs; changed under the session's lock."""

    order_calls: int = 0
    previews: int = 0
    reads: int = 0
    bytes_read: int = 0
    bytes_needed: int = 0
    metadata_bytes: int = 0
    repair_bytes: int = 0
    container_visits: int = 0
    containers: int = 0
    bytes_resumed: int = 0

    def add(self, other: "Tally") -> None:
        """Add the counters of another store's job."""
        for name, value in attrs.asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def frozen(self) -> ReadCounters:
        """Return the counters as a value."""
        return ReadCounters(**attrs.asdict(self))


class Session:
    """The threads and limits of one job; see the module.

    Attributes:
        calls: The vendor's store.
        options: What the caller asked for.
        observer: The caller's observer.
        tally: Counters.
        lock: Guards the counters and other small shared state; never held across a vendor call.
        clock: Time.
        readers: Threads for concurrent reads where there are more of these than workers, or the
            workers are the caller's; else None.
        max_gap: Reads closer than this are merged, bytes.
        max_read: Largest read, bytes.
        jobs: Worker threads.
        container: The container that is read now.
        plans: Containers and reads of the last planned round of each kind.
        heartbeat: Called on the caller's thread whenever a message was handled.
    """

    def __init__(
        self,
        calls: StoreCalls,
        options: RestoreOptions,
        observer: ObserverCalls,
        executor: Submits | None,
        clock: Clock,
    ) -> None:
        """Start the threads."""
        self.calls, self.options, self.observer, self.clock = calls, options, observer, clock
        self.tally = Tally()
        self.lock = threading.Lock()
        self.max_gap = calls.max_gap if options.max_gap is None else options.max_gap
        self.max_read = calls.max_read if options.max_read is None else options.max_read
        self.jobs = options.jobs or min(os.cpu_count() or 1, _MOST_JOBS)
        self.deadline = calls.read_timeout if options.read_timeout is None else options.read_timeout
        room = options.memory // _SHARE_OF_BUFFERS
        self.max_read = max(min(self.max_read, room // 2), 1)
        count = max(2, min(room // self.max_read, self.jobs + max(calls.concurrent_reads, 2)))
        self.buffers = BufferPool(count, self.max_read)
        # Concurrent reads may be many and small: equal buffers would leave room for few of them.
        self.budget = ByteBudget(room)
        self.messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._token = options.cancel or CancelToken()
        self._failure: BaseException | None = None
        self._reading: dict[str, float] = {}
        self._pid = os.getpid()
        self.heartbeat: Callable[[], None] = _nothing
        self.container: StorePath | None = None
        self.plans: dict[str, tuple[Sequence[StorePath], RoundPlan]] = {}
        self._store_thread = TaskThreads(1, "store")
        self._workers = TaskThreads(self.jobs, "worker") if executor is None else None
        # A caller's executor never gets vendor calls, and workers that wait for a slow store do not
        # decode: concurrent reads have threads of their own, unless the workers are enough for both.
        most = calls.concurrent_reads
        shared = most == 1 or (executor is None and most <= self.jobs)
        self.readers = None if shared else TaskThreads(calls.concurrent_reads, "reader")
        self._active = 0
        self._submit = (self._workers or executor).submit  # type: ignore[union-attr] # one of them is there

    def close(self) -> None:
        """Let the threads end; those stuck in a vendor's call are left behind."""
        self.tally.reads = self.calls.reads_made
        self._store_thread.stop()
        for threads in (self._workers, self.readers):
            if threads is not None:
                threads.stop()

    @property
    def ended(self) -> bool:
        """Whether the job is to stop: cancelled or failed as a whole."""
        return self._failure is not None or self._token.cancelled

    def fail(self, error: BaseException) -> None:
        """End the job; the first reason counts."""
        with self.lock:
            if self._failure is None:
                self._failure = error

    def check(self) -> None:
        """Raise what ended the job, if it ended.

        Raises:
            Cancelled: By token or by a callback.
            BaseException: Whatever a callback raised that is not an ``Exception``.
        """
        if self._failure is not None:
            raise self._failure
        if self._token.cancelled:
            raise Cancelled

    def work(self, task: Callable[[], None]) -> None:
        """Run a task on a worker; what it raises ends the job."""
        with self.lock:
            self._active += 1
        try:
            self._submit(lambda: self._guarded(task))
        except Exception as cause:
            with self.lock:
                self._active -= 1
            raise SessionError(f"the executor took no task: {cause}") from cause

    def _guarded(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            self.fail(error)
        finally:
            with self.lock:
                self._active -= 1
                idle = not self._active
            if idle:
                self.messages.put(_nothing)

    def settle(self) -> None:
        """Handle the messages that are waiting."""
        while True:
            try:
                self.messages.get_nowait()()
            except queue.Empty:
                return

    def drain(self) -> None:
        """Wait until no worker is busy; those stuck in a vendor's read are left behind."""
        while self._active > sum(name.startswith(_WORKER) for name in self._reading):
            try:
                self.messages.get(timeout=_TICK)()
            except queue.Empty:
                continue

    def timed_read(self, read: Callable[[], T]) -> T:
        """Make one vendor read under the deadline that :meth:`wait` watches.

        Raises:
            Cancelled: The job has ended: a store is not called any more when the caller has gone on.
        """
        me = threading.current_thread().name
        self._reading[me] = self.clock.monotonic()  # before the look, so that the end sees it
        try:
            if self.ended:
                raise Cancelled
            return read()
        finally:
            self._reading.pop(me, None)

    def on_store_thread(self, task: Callable[[], T]) -> T:
        """Run a task on the store's thread while this thread handles messages.

        Args:
            task: Makes vendor calls.

        Returns:
            What the task returns.

        Raises:
            Cancelled: The job was cancelled meanwhile; the task may still be running.
            StoreTimeoutError: A read passed its deadline; the task is left behind.
            BaseException: Whatever the task raised.
        """
        if os.getpid() != self._pid:
            raise SessionError("a session cannot be used in a forked process", code="session.pid")
        result: list[T] = []
        done = threading.Event()

        def run() -> None:
            try:
                result.append(task())
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                self.fail(error)
            finally:
                self.messages.put(done.set)

        self._store_thread.submit(run)
        self.wait(done.is_set)
        self.check()
        return result[0]

    def wait(self, done: Callable[[], bool]) -> None:
        """Handle messages until ``done`` says so, the job ends or a read is overdue."""
        while not done():
            try:
                message = self.messages.get(timeout=_TICK)
            except queue.Empty:
                self._check_deadlines()
                if self.ended and not self._reading:
                    return
                continue
            message()
            self.heartbeat()
            self._check_deadlines()

    def _check_deadlines(self) -> None:
        if self.deadline is None:
            return
        now = self.clock.monotonic()
        if any(now - since > self.deadline for since in list(self._reading.values())):
            error = StoreTimeoutError(
                f"a read did not return within {self.deadline:g} seconds", retryable=True
            )
            self.fail(error)
            raise error

    @property
    def failure(self) -> RestoreError | None:
        """The error of ours that ended the job, if it was one."""
        return self._failure if isinstance(self._failure, RestoreError) else None
