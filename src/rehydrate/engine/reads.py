"""Making the reads of a round: by whom, into which buffer, and when they are handed over.

The store's thread makes the reads itself, one after the other, and hands them over in batches, so
that many small reads cost one change of threads. A store that declares concurrent reads is read by
the workers if they are enough, else by threads for it: reads start in the order of the plan, with at
most so many in flight.
"""

import threading
from collections.abc import Callable, Container, Sequence
from typing import Final, Protocol

from rehydrate.engine.session import Gives, Session
from rehydrate.engine.threads import TaskThreads
from rehydrate.errors import ContainerNotFoundError, RestoreError, ShortReadError, StoreError
from rehydrate.plan.rounds import RoundPlan
from rehydrate.values import StorePath

__all__ = ["Consumer", "Containers", "Reads"]

# A batch is handed over from this size on; smaller ones would cost more in changes of threads
# than in decoding.
_BATCH_BYTES: Final = 512 << 10
_BATCH_READS: Final = 256


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

    def second_chance(self, among: Container[StorePath] | None = None) -> None:
        """Before repairs: ask each container that failed, and is there, once more.

        What stands in the place of a compacted container is short, so that reads of stale
        references fail; where its records are now stands in it.

        Args:
            among: Only these; ``None`` = all.
        """
        for path, error in list(self._given_up.items()):
            if not isinstance(error, ContainerNotFoundError) and (among is None or path in among):
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

    def consume(self, batch: Sequence[tuple[int, memoryview]]) -> None:
        """Take the bytes of some reads, in reading order; the views are reused after the return."""
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


class _Batch:
    """Reads that came into one buffer."""

    __slots__ = ("reads", "room", "used")

    def __init__(self, room: bytearray) -> None:
        self.room = room
        self.used = 0
        self.reads: list[tuple[int, memoryview]] = []


class Reads:
    """The reads of one round; see the module."""

    def __init__(
        self, session: Session, kind: str, containers: Containers, consumer: Consumer
    ) -> None:
        """Bind; nothing is read yet."""
        self._session, self._kind = session, kind
        self._containers, self._consumer = containers, consumer
        self._pending = 0
        self._in_flight = threading.Semaphore(session.calls.concurrent_reads)
        self._one_by_one = session.calls.concurrent_reads == 1 or consumer.inline
        self._batch: _Batch | None = None

    def all_consumed(self) -> bool:
        """Whether everything that was read is consumed."""
        return self._pending == 0

    def make(self, path: StorePath, plan: RoundPlan, read: int) -> None:
        """Make one read, or start it; on the store's thread."""
        offset, size = int(plan.read_offset[read]), int(plan.read_size[read])
        if self._one_by_one:
            self._read_into_batch(path, offset, size, read)
        else:
            self._start(path, offset, size, read)

    def _read_into_batch(self, path: StorePath, offset: int, size: int, read: int) -> None:
        session, batch = self._session, self._batch
        if batch is not None and batch.used + size > len(batch.room):
            self.hand_over_batch()
            batch = None
        if batch is None:
            batch = self._batch = _Batch(session.buffers.take(lambda: session.ended))
        view = self._read(path, offset, size, read, memoryview(batch.room)[batch.used :])
        if view is None:
            return
        if self._consumer.inline:
            self._consumer.consume([(read, view)])
            return
        batch.used += size
        batch.reads.append((read, view))
        if batch.used >= _BATCH_BYTES or len(batch.reads) >= _BATCH_READS:
            self.hand_over_batch()

    def hand_over_batch(self) -> None:
        """Hand over what was read and not handed over yet; on the store's thread."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if batch.reads:
            self._hand_over(
                lambda: self._consumer.consume(batch.reads), batch.room, self._session.buffers
            )
        else:
            self._session.buffers.give(batch.room)

    def _start(self, path: StorePath, offset: int, size: int, read: int) -> None:
        session = self._session
        room = session.budget.take(size, lambda: session.ended)
        while not self._in_flight.acquire(timeout=0.1):
            if session.ended:
                return

        def fetch() -> memoryview | None:
            try:
                return self._read(path, offset, size, read, memoryview(room))
            finally:
                self._in_flight.release()

        def consume(view: memoryview | None) -> None:
            if view is not None:
                self._consumer.consume([(read, view)])

        if session.readers is None:
            self._hand_over(lambda: consume(fetch()), room, session.budget)
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
                self._hand_over(lambda: consume(view), room, session.budget)
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                session.fail(error)
            finally:
                session.messages.put(self._one_done)

        readers.submit(run)

    def _hand_over(self, task: Callable[[], None], room: bytearray, pool: Gives) -> None:
        session = self._session
        with session.lock:
            self._pending += 1

        def run() -> None:
            try:
                if not session.ended:
                    task()
            finally:
                pool.give(room)
                session.messages.put(self._one_done)

        session.work(run)

    def _one_done(self) -> None:
        with self._session.lock:
            self._pending -= 1

    def _read(
        self, path: StorePath, offset: int, size: int, read: int, room: memoryview
    ) -> memoryview | None:
        session = self._session
        try:
            view = session.timed_read(lambda: session.calls.read(path, offset, size, room))
        except StoreError as error:
            problem = error.at(container=path, offset=offset, length=size)
            with session.lock:
                self._containers.failed(path, problem)
                self._count(error.got if isinstance(error, ShortReadError) else 0)
            if isinstance(error, ShortReadError) and error.got:
                self._consumer.salvage(read, room[: error.got])
            self._consumer.lose(read, problem)
            return None
        with session.lock:
            self._containers.worked(path)
            self._count(size)
        return view

    def _count(self, size: int) -> None:
        tally = self._session.tally
        if self._kind == "data":
            tally.bytes_read += size
        elif self._kind == "stream":
            tally.metadata_bytes += size
        else:
            tally.repair_bytes += size
