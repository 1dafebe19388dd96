"""One job's threads and buffers, how it ends, and what it waits for."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehydrate.conformance import MemoryStore
from rehydrate.engine.calls import ObserverCalls, StoreCalls
from rehydrate.engine.session import BufferPool, ByteBudget, Session, Tally
from rehydrate.engine.threads import Submits, TaskThreads
from rehydrate.errors import Cancelled, SessionError, StoreReadError, StoreTimeoutError
from rehydrate.ports import SystemClock
from rehydrate.requests import CancelToken, RestoreOptions

PATIENCE = 20.0


def make(executor: Submits | None = None, **options: object) -> Session:
    chosen = RestoreOptions(**{"jobs": 2, **options})  # type: ignore[arg-type] # options by name
    calls = StoreCalls(MemoryStore({}))
    return Session(calls, chosen, ObserverCalls(None), executor, SystemClock())


@pytest.fixture
def session() -> Iterator[Session]:
    found = make()
    yield found
    found.close()


def test_pool_gives_a_bounded_number_of_buffers() -> None:
    pool = BufferPool(2, 10)
    first, second = pool.take(lambda: False), pool.take(lambda: False)
    assert (len(first), len(second)) == (10, 10)
    with pytest.raises(Cancelled):
        pool.take(lambda: True)
    pool.give(first)
    assert pool.take(lambda: True) is first


def test_budget_gives_buffers_of_any_size_within_its_bound() -> None:
    budget = ByteBudget(100)
    small, large = budget.take(10, lambda: False), budget.take(90, lambda: False)
    assert (len(small), len(large)) == (10, 90)
    with pytest.raises(Cancelled):
        budget.take(1, lambda: True)
    budget.give(large)
    assert len(budget.take(85, lambda: False)) == 85
    assert len(ByteBudget(1).take(50, lambda: False)) == 50, "one buffer may be larger than all"


def test_budget_lets_in_who_waits(session: Session) -> None:
    budget = ByteBudget(10)
    held = budget.take(10, lambda: False)
    threading.Timer(0.05, budget.give, (held,)).start()
    assert len(budget.take(10, lambda: False)) == 10


def test_tallies_are_summed() -> None:
    total = Tally(reads=1)
    total.add(Tally(reads=2, bytes_read=5))
    assert (total.frozen().reads, total.frozen().bytes_read) == (3, 5)


def test_largest_read_fits_the_memory(session: Session) -> None:
    assert session.max_read <= 8 << 20
    small = make(memory=16 << 20, max_read=1 << 30)
    assert small.max_read == (16 << 20) // 8
    assert make(max_read=-5).max_read == 1
    assert make(jobs=0).jobs >= 1


def test_task_on_the_store_thread_gives_its_result(session: Session) -> None:
    threads = {session.on_store_thread(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


@pytest.mark.parametrize("error", [StoreReadError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_task_raises_comes_out_unchanged(session: Session, error: BaseException) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        session.on_store_thread(fails)
    assert caught.value is error
    assert session.ended
    with pytest.raises(type(error)):
        session.check()


def test_first_reason_counts(session: Session) -> None:
    first = StoreReadError("first")
    session.fail(first)
    session.fail(StoreReadError("second"))
    assert session.failure is first


def test_failure_that_is_none_of_ours_is_not_shown_as_one(session: Session) -> None:
    session.fail(KeyboardInterrupt())
    assert session.failure is None
    assert session.ended


def test_token_ends_the_session() -> None:
    token = CancelToken()
    session = make(cancel=token)
    session.check()
    token.cancel()
    assert session.ended
    with pytest.raises(Cancelled):
        session.check()


def test_forked_process_may_not_use_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(SessionError) as caught:
        session.on_store_thread(lambda: None)
    assert caught.value.code == "session.pid"


def test_failing_task_of_a_worker_ends_the_job(session: Session) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    session.work(fails)
    session.drain()
    with pytest.raises(ZeroDivisionError):
        session.check()


def test_drain_waits_for_workers_but_not_for_a_read_of_the_store_thread(session: Session) -> None:
    """A read that hangs on the store's thread must not count as a worker's."""
    stuck, busy, done = threading.Event(), threading.Event(), []
    entered = threading.Event()

    def reads() -> None:
        entered.set()
        stuck.wait(PATIENCE)

    session._store_thread.submit(lambda: session.timed_read(reads))
    assert entered.wait(PATIENCE)

    def works() -> None:
        busy.wait(PATIENCE)
        done.append(True)

    session.work(works)
    threading.Timer(0.3, busy.set).start()
    session.drain()
    assert done
    assert not stuck.is_set()
    stuck.set()


def test_drain_leaves_workers_behind_that_hang_in_a_read(session: Session) -> None:
    stuck, entered = threading.Event(), threading.Event()

    def reads() -> None:
        entered.set()
        stuck.wait(PATIENCE)

    session.work(lambda: session.timed_read(reads))
    assert entered.wait(PATIENCE)
    began = time.monotonic()
    session.drain()
    assert time.monotonic() - began < PATIENCE / 2
    stuck.set()


def test_overdue_read_is_an_error_of_the_session() -> None:
    session = make(read_timeout=0.05)
    stuck = threading.Event()
    with pytest.raises(StoreTimeoutError):
        session.on_store_thread(lambda: session.timed_read(lambda: stuck.wait(PATIENCE)))
    assert isinstance(session.failure, StoreTimeoutError)
    stuck.set()


class Refuses:
    def submit(self, fn: Callable[[], None], /) -> object:
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_executor_that_refuses_is_no_reason_to_wait() -> None:
    session = make(Refuses())
    with pytest.raises(SessionError, match="executor"):
        session.work(lambda: None)
    session.drain()


def test_tasks_of_an_executor_run() -> None:
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        session = make(pool)
        session.work(done.set)
        assert done.wait(PATIENCE)
        session.drain()
    session.close()


def test_messages_that_wait_are_handled(session: Session) -> None:
    seen: list[int] = []
    for number in range(3):
        session.messages.put(lambda number=number: seen.append(number))  # type: ignore[misc] # a default binds it
    session.settle()
    assert seen == [0, 1, 2]


def test_threads_run_tasks_in_order_and_stop() -> None:
    threads = TaskThreads(1, "test")
    seen: list[int] = []
    done = threading.Event()
    for number in range(5):
        threads.submit(lambda number=number: seen.append(number))  # type: ignore[misc] # a default binds it
    threads.submit(done.set)
    assert done.wait(PATIENCE)
    assert seen == [0, 1, 2, 3, 4]
    threads.stop()
    for thread in threads._threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert thread.daemon


def test_no_read_begins_when_the_job_has_ended(session: Session) -> None:
    """The caller has gone on, and may have closed the store."""
    assert session.timed_read(lambda: 5) == 5
    session.fail(StoreReadError("gone"))
    calls: list[int] = []
    with pytest.raises(Cancelled):
        session.timed_read(lambda: calls.append(1))
    assert not calls
