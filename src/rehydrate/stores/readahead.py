"""Read-ahead around any store: what a preview shows is read by own threads before it is asked for.

The engine reads one extent after the other and decodes meanwhile; this keeps more reads in flight,
and keeps their bytes until they are asked for, within a budget. A store without concurrent reads
gets all its calls from one and the same thread, as the contract promises.
"""

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeAlias, TypeVar

import attrs

from rehydrate.errors import SessionError
from rehydrate.protocols import BackupStore
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import FileExtent, ReadableBuffer, StorePath

__all__ = ["AheadCounters", "ReadAhead"]

T = TypeVar("T")
Place: TypeAlias = tuple[StorePath, int, int]

_BUDGET: Final = 256 << 20


@attrs.frozen
class AheadCounters:
    """What the read-ahead did.

    Attributes:
        hits: Reads that were begun before they were asked for.
        misses: Reads that were not: not previewed, or left out for want of budget.
        dropped: Reads begun and never asked for.
        most_held: Most bytes held or on their way at one time.
    """

    hits: int = 0
    misses: int = 0
    dropped: int = 0
    most_held: int = 0


class _Threads:
    """Daemon threads that make calls; one stuck in a vendor's call does not keep the program."""

    def __init__(self, count: int) -> None:
        """Start ``count`` threads."""
        self.count = count
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(
                target=self._run, name=f"rehydrate-ahead-{number}", daemon=True
            ).start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Make a call on one of the threads, in the context of the caller."""
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(context.run(call))
            except BaseException as error:  # noqa: BLE001 - handed to who asked
                future.set_exception(error)

        self._calls.put(run)
        return future

    def stop(self) -> None:
        """Let the threads end after the calls that were submitted."""
        for _ in range(self.count):
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class ReadAhead(Wrapper):
    """Wraps a store; previews start its reads.

    Declarations, order and names are those of the store; what it does not have is answered as if the
    wrapper did not have it. Reads are to be made by one thread at a time, which is how the engine
    reads a store that declares no concurrency.
    """

    def __init__(
        self, store: BackupStore, *, budget: int = _BUDGET, threads: int | None = None
    ) -> None:
        """Wrap a store.

        Args:
            store: The store; not closed by the wrapper.
            budget: Bytes held or on their way at most (one read may be larger).
            threads: Reads in flight at most; by default what the store declares. With more than it
                declares the store breaks; with one, all its calls come from one thread.
        """
        super().__init__(store)
        declared = getattr(store, "concurrent_reads", None)
        self._threads = _Threads(threads or (declared if type(declared) is int else 1))
        self._budget = budget
        self._lock = threading.RLock()  # callbacks of futures may run at once
        self._begun: dict[Place, Future[ReadableBuffer]] = {}
        self._waiting: deque[Place] = deque()
        self._held = 0
        self._counters = AheadCounters()
        self._closed = False

    def close(self) -> None:
        """Drop what was not asked for and let the threads end; reads that run are not awaited."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._drop()
                self._threads.stop()

    @property
    def counters(self) -> AheadCounters:
        """What was done so far."""
        return self._counters

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Hand the preview on, then begin its reads as far as the budget goes.

        What the last preview began and nobody asked for is dropped.

        Args:
            path: The container.
            reads: Its reads.

        Raises:
            NotReadyError: Out of the store: nothing is begun.
        """
        with self._lock:
            self._drop()
        shown = tuple(reads)
        super().preview_container_read(path, shown)
        with self._lock:
            places = ((path, read.offset, read.length) for read in shown)
            self._waiting.extend(dict.fromkeys(places))  # one that is shown twice is begun once
            self._begin()

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Return what was read ahead, or read now.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.

        Raises:
            SessionError: The wrapper was closed.
            Exception: Whatever the store raised for these bytes, here and not earlier.
        """
        place = path, offset, size
        with self._lock:
            self._refuse_closed()
            future, counters = self._begun.pop(place, None), self._counters
            if future is None:
                self._counters = attrs.evolve(counters, misses=counters.misses + 1)
                future = self._submit(place)
            else:
                self._counters = attrs.evolve(counters, hits=counters.hits + 1)
        try:
            return future.result()
        finally:
            with self._lock:
                self._held -= size
                self._begin()

    def _submit(self, place: Place) -> "Future[ReadableBuffer]":
        path, offset, size = place
        if place in self._waiting:
            self._waiting.remove(place)
        self._held += size
        most = max(self._counters.most_held, self._held)
        self._counters = attrs.evolve(self._counters, most_held=most)
        return self._threads.submit(lambda: self._store.read_backup_file(path, offset, size))

    def _begin(self) -> None:
        """Begin waiting reads in order while there is room; under the lock."""
        while self._waiting and not self._closed:
            place = self._waiting[0]
            if self._held and self._held + place[2] > self._budget:
                return
            self._begun[place] = self._submit(place)

    def _drop(self) -> None:
        """Forget what nobody asked for; reads that run end unseen, and count until then."""
        self._waiting.clear()
        dropped = len(self._begun)
        self._counters = attrs.evolve(self._counters, dropped=self._counters.dropped + dropped)
        begun, self._begun = self._begun, {}
        for (_, _, size), future in begun.items():
            future.cancel()
            future.add_done_callback(partial(self._forget, size))

    def _forget(self, size: int, _: object) -> None:
        with self._lock:
            self._held -= size
            self._begin()

    def _called(self, call: Callable[[], T]) -> T:
        """Make a call of the store on the thread that it expects."""
        with self._lock:
            self._refuse_closed()
        return self._threads.submit(call).result() if self._threads.count == 1 else call()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SessionError("the read-ahead was closed")
