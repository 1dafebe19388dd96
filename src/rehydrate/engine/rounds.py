"""One round: one order call, then for each extent one preview and exactly the reads it showed."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, overload

import numpy as np

from rehydrate.engine.session import Session
from rehydrate.engine.threads import TaskThreads
from rehydrate.errors import (
    ContainerNotFoundError,
    NotReadyError,
    RestoreError,
    ShortReadError,
    StoreError,
)
from rehydrate.plan.coalesce import Extents, accept_order
from rehydrate.plan.columns import MEMORY, Scratch
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan, plan_round
from rehydrate.results import RoundStarted
from rehydrate.values import ContainerExtent, FileExtent, StorePath

__all__ = ["Consumer", "Containers", "ReadsView", "Round"]


class ReadsView(Sequence[FileExtent]):
    """The reads of one extent as a read-only sequence, without an object for each."""

    def __init__(self, plan: RoundPlan, first: int, end: int) -> None:
        """Show reads ``[first, end)`` of a plan."""
        self._plan, self._first, self._end = plan, first, end

    def __len__(self) -> int:
        """Return the number of reads."""
        return self._end - self._first

    @overload
    def __getitem__(self, index: int) -> FileExtent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileExtent]: ...
    def __getitem__(self, index: int | slice) -> FileExtent | Sequence[FileExtent]:
        """Return one read, or a tuple of them."""
        numbers = range(self._first, self._end)[index]
        if isinstance(numbers, range):
            return tuple(self._at(number) for number in numbers)
        return self._at(numbers)

    def __iter__(self) -> Iterator[FileExtent]:
        """Iterate the reads, ascending."""
        return (self._at(number) for number in range(self._first, self._end))

    def _at(self, number: int) -> FileExtent:
        return FileExtent(int(self._plan.read_offset[number]), int(self._plan.read_size[number]))


class Containers:
    """What the job has learnt about containers: those not to be asked again."""

    def __init__(self, attempts: int) -> None:
        """Give a container up after ``attempts`` failed reads in a row."""
        self._attempts = attempts
        self._failures: dict[StorePath, int] = {}
        self._given_up: dict[StorePath, RestoreError] = {}

    def given_up(self, path: StorePath) -> RestoreError | None:
        """Return why a container is not asked any more, or None."""
        return self._given_up.get(path)

    def give_up(self, path: StorePath, error: RestoreError) -> None:
        """Never ask this container again in this job."""
        self._given_up.setdefault(path, error)

    def second_chance(self) -> None:
        """Before repairs: ask each container that failed, and is there, once more.

        What stands in the place of a compacted container is short, so that reads of stale
        references fail; where its records are now stands in it.
        """
        for path, error in list(self._given_up.items()):
            if not isinstance(error, ContainerNotFoundError):
                del self._given_up[path]
                self._failures[path] = self._attempts - 1

    def failed(self, path: StorePath, error: RestoreError) -> None:
        """Count a failed read."""
        count = self._failures.get(path, 0) + 1
        self._failures[path] = count
        if isinstance(error, ContainerNotFoundError) or count >= self._attempts:
            self.give_up(path, error)

    def worked(self, path: StorePath) -> None:
        """Forget the failures of a container."""
        self._failures.pop(path, None)


class Consumer(Protocol):
    """Takes what a round reads; ``read`` is a read number of the round's plan."""

    def start(self, plan: RoundPlan) -> None:
        """The plan of the round is made; called before anything else, on the caller's thread."""
        ...

    def consume(self, read: int, view: memoryview) -> None:
        """Take the bytes of a read; ``view`` is reused after the return."""
        ...

    def lose(self, read: int, error: RestoreError) -> None:
        """Learn that a read failed."""
        ...

    def salvage(self, read: int, view: memoryview) -> None:
        """Take the bytes that a short read gave before it ended; ``lose`` follows."""
        ...

    def lose_container(self, container: int, error: RestoreError) -> None:
        """Learn that a container (index) is not available in this round."""
        ...

    @property
    def inline(self) -> bool:
        """Whether reads must be consumed in order on the store's thread."""
        ...

    def wants(self, read: int) -> bool:
        """Whether a read is still of use; a record walk stops at the end of its container."""
        ...


class Round:
    """One round of one phase; see the module."""

    def __init__(
        self,
        session: Session,
        kind: str,
        needs: Needs,
        paths: Sequence[StorePath],
        *,
        containers: Containers,
        consumer: Consumer,
        preset: list[ContainerExtent] | None = None,
        trim: Callable[[Extents], Needs] | None = None,
        max_read: int | None = None,
        scratch: Scratch = MEMORY,
    ) -> None:
        """Prepare; nothing is called yet.

        Args:
            session: The job.
            kind: ``"stream"``, ``"data"`` or ``"repair"``.
            needs: What to read.
            paths: Store path of each container of the needs, sorted.
            containers: What is known about containers.
            consumer: Takes the bytes.
            preset: An order that was accepted before, instead of asking the store.
            trim: Gives what is to be read, once the order is known, instead of the needs; these
                are then what the order answer must cover.
            max_read: Largest read of this round; ``None`` = that of the session.
            scratch: Where the columns of the plan live.
        """
        self._trim, self._max_read = trim, max_read or session.max_read
        self._preset, self._scratch = preset, scratch
        self._session, self._kind, self._needs, self._paths = session, kind, needs, paths
        self._containers, self._consumer = containers, consumer
        self._pending = 0
        self._in_flight = threading.Semaphore(session.calls.concurrent_reads)
        self._started = threading.Lock()
        self._last_path: StorePath | None = None

    def run(self) -> None:
        """Order, preview, read; returns when everything is consumed.

        Raises:
            StoreContractError: The order answer breaks the contract.
            Cancelled: The job was cancelled.
        """
        if not self._paths:
            return
        plan = self.plan()
        session = self._session
        self._consumer.start(plan)
        session.plans[self._kind] = (self._paths, plan)
        total = int(np.sum(plan.read_size, dtype=np.int64))
        session.observer(RoundStarted(self._kind, len(self._paths), len(plan.read_offset), total))
        session.on_store_thread(lambda: self._read_extents(plan))
        session.wait(lambda: self._pending == 0)
        session.check()

    def plan(self) -> RoundPlan:
        """Ask for the order and plan the reads, without making any."""
        session, options = self._session, self._session.options
        most = 64 * len(self._paths) + options.max_extents
        answer = self._preset
        if answer is None:
            answer = session.on_store_thread(lambda: session.calls.order(self._paths, most))
            session.tally.order_calls += 1
        extents, unavailable = accept_order(
            answer, self._needs, containers=len(self._paths), max_extra=options.max_extents
        )
        for container in unavailable.tolist():
            path = self._paths[container]
            error = ContainerNotFoundError(f"the store has no extent of {path}", container=path)
            self._containers.give_up(path, error)
            self._consumer.lose_container(container, error)
        needs = self._needs if self._trim is None else self._trim(extents)
        return plan_round(
            needs,
            extents,
            max_gap=session.max_gap,
            max_read=self._max_read,
            scratch=self._scratch,
        )

    def _read_extents(self, plan: RoundPlan) -> None:
        """On the store's thread: go through the extents; those not ready go to the end."""
        session, clock = self._session, self._session.clock
        waiting: deque[tuple[int, float]] = deque(
            (extent, 0.0) for extent in range(len(plan.extent_container))
        )
        while waiting and not session.ended:
            extent, not_before = waiting.popleft()
            while clock.monotonic() < not_before and not session.ended:
                clock.sleep(min(not_before - clock.monotonic(), 0.1))
            try:
                self._read_extent(plan, extent)
            except NotReadyError as error:
                waiting.append((extent, clock.monotonic() + error.retry_after))

    def _read_extent(self, plan: RoundPlan, extent: int) -> None:
        session = self._session
        first, end = int(plan.read_ptr[extent]), int(plan.read_ptr[extent + 1])
        container = int(plan.extent_container[extent])
        path = self._paths[container]
        lost = self._containers.given_up(path)
        if lost is None:
            problem = session.calls.preview(path, ReadsView(plan, first, end))
            session.tally.previews += 1
            if problem is not None:
                message = f"preview of {path}: {problem}"
                session.messages.put(lambda: session.observer.notice(message))
            if path != self._last_path and self._kind == "data":
                session.tally.container_visits += 1
            self._last_path = path
            session.container = path
        for read in range(first, end):
            if session.ended:
                return
            lost = self._containers.given_up(path)
            if lost is not None:
                self._consumer.lose(read, lost)
            elif self._consumer.wants(read):
                self._start_read(plan, path, read)

    def _start_read(self, plan: RoundPlan, path: StorePath, read: int) -> None:
        session = self._session
        room = session.buffers.take(lambda: session.ended)
        offset, size = int(plan.read_offset[read]), int(plan.read_size[read])
        if session.calls.concurrent_reads == 1 or self._consumer.inline:
            view = self._read(path, offset, size, read, room)
            if view is None:
                session.buffers.give(room)
            elif self._consumer.inline:
                self._consumer.consume(read, view)
                session.buffers.give(room)
            else:
                self._hand_over(lambda: self._consumer.consume(read, view), room)
            return
        while not self._in_flight.acquire(timeout=0.1):
            if session.ended:
                return

        def fetch() -> memoryview | None:
            try:
                return self._read(path, offset, size, read, room)
            finally:
                self._in_flight.release()

        def consume(view: memoryview | None) -> None:
            if view is not None:
                self._consumer.consume(read, view)

        if session.readers is None:
            self._hand_over(lambda: consume(fetch()), room)
        else:
            self._read_apart(session.readers, fetch, consume, room)

    def _read_apart(
        self,
        readers: TaskThreads,
        fetch: Callable[[], memoryview | None],
        consume: Callable[[memoryview | None], None],
        room: bytearray,
    ) -> None:
        """Read on one of our threads, then decode and write on the caller's executor."""
        session = self._session
        with session.lock:
            self._pending += 1

        def run() -> None:
            try:
                view = fetch()
                self._hand_over(lambda: consume(view), room)
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                session.fail(error)
            finally:
                session.messages.put(self._one_done)

        readers.submit(run)

    def _hand_over(self, task: Callable[[], None], room: bytearray) -> None:
        session = self._session
        with session.lock:
            self._pending += 1

        def run() -> None:
            try:
                if not session.ended:
                    task()
            finally:
                session.buffers.give(room)
                session.messages.put(self._one_done)

        session.work(run)

    def _one_done(self) -> None:
        with self._session.lock:
            self._pending -= 1

    def _read(
        self, path: StorePath, offset: int, size: int, read: int, room: bytearray
    ) -> memoryview | None:
        session = self._session
        try:
            view = session.timed_read(lambda: session.calls.read(path, offset, size, room))
        except StoreError as error:
            problem = error.at(container=path, offset=offset, length=size)
            with session.lock:
                self._containers.failed(path, problem)
                session.tally.reads += 1
            if isinstance(error, ShortReadError) and error.got:
                self._consumer.salvage(read, memoryview(room)[: error.got])
            self._consumer.lose(read, problem)
            return None
        with session.lock:
            self._containers.worked(path)
            self._count(size)
        return view

    def _count(self, size: int) -> None:
        tally = self._session.tally
        tally.reads += 1
        if self._kind == "data":
            tally.bytes_read += size
        elif self._kind == "stream":
            tally.metadata_bytes += size
        else:
            tally.repair_bytes += size
