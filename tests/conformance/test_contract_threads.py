"""CC-THREAD: who calls when, what is held meanwhile, and calling back."""

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehydrate.conformance import RecordingStore, World
from rehydrate.conformance.faults import LIST, ORDER, PREVIEW, READ, READ_INTO, Call
from rehydrate.engine.restore import restore_files
from rehydrate.errors import SessionBusyError, StoreReadError
from rehydrate.requests import Durability, RestoreOptions
from rehydrate.staging.root import TargetRoot
from rehydrate.values import ContainerExtent, StorePath
from tests.conformance.jobs import (
    MAPS,
    ONE,
    TWO,
    Events,
    Fake,
    broken,
    noise,
    one_container,
    ordered,
    run,
    two_containers,
)

QUICK = RestoreOptions(jobs=1, durability=Durability.NONE)
PATIENCE = 20.0


def natural(containers: Sequence[StorePath]) -> list[ContainerExtent]:
    return [ContainerExtent(index=index) for index in range(len(containers))]


def nothing(path: StorePath, reads: object) -> None:
    """Accept every preview."""


def broken_world() -> World:
    world = two_containers()
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    return world


@pytest.mark.rule("CC-THREAD-1")
@pytest.mark.parametrize("jobs", [1, 4])
def test_all_calls_come_from_one_thread_that_is_not_the_callers(tmp_path: Path, jobs: int) -> None:
    world = broken_world()
    store = Fake(ordered(world, natural), preview_container_read=nothing)
    job = run(world, tmp_path, store, jobs=jobs)
    job.check()
    assert {call.name for call in job.store.calls} == {ORDER, PREVIEW, READ, LIST}
    (thread,) = {call.thread for call in job.store.calls}
    assert thread != threading.get_ident()
    assert job.store.most_in_flight == 1


@pytest.mark.rule("CC-THREAD-1")
def test_executor_never_makes_calls_of_the_store(tmp_path: Path) -> None:
    world = two_containers()
    names: set[str] = set()

    class Watching(Fake):
        concurrent_reads = 3

        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            names.add(threading.current_thread().name)
            return super().read_backup_file(path, offset, size)

    with ThreadPoolExecutor(2, thread_name_prefix="caller") as executor:
        job = run(world, tmp_path, Watching(world.store()), executor=executor)
    job.check()
    assert job.report.ok
    assert not [name for name in names if name.startswith("caller")]


def many_reads(count: int = 40) -> World:
    world = World()
    for number in range(count):
        world.file(f"f{number}", [world.chunk(noise(number, 3000), 1 + number % 2)])
        world.data(1 + number % 2).pad(8192)
    return world.seal()


class Parallel(Fake):
    """Serves several reads, and holds each until as many as can be are in flight."""

    def __init__(self, world: World, reads: int, expected: int) -> None:
        super().__init__(world.store())
        self.concurrent_reads = reads
        self._gate = threading.Barrier(expected)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self._gate.wait(PATIENCE)
        return super().read_backup_file(path, offset, size)


@pytest.mark.rule("CC-THREAD-2", "CC-THREAD-4")
@pytest.mark.parametrize("reads", [2, 4])
@pytest.mark.parametrize("own", [True, False], ids=["own-threads", "executor"])
@pytest.mark.parametrize("more", [3, -1], ids=["more-workers", "more-reads"])
def test_declared_number_of_reads_is_in_flight_and_not_more(
    tmp_path: Path, reads: int, more: int, *, own: bool
) -> None:
    world = many_reads()
    store = Parallel(world, reads, reads)
    with ThreadPoolExecutor(2) as pool:
        # The limit is the store's, whether there are more workers or fewer.
        job = run(world, tmp_path, store, jobs=reads + more, executor=None if own else pool)
    job.check()
    assert job.report.ok
    assert job.store.most_in_flight == reads


@pytest.mark.rule("CC-THREAD-2", "CC-THREAD-3")
@pytest.mark.parametrize("jobs", [1, 4])
def test_concurrent_reads_start_in_the_order_of_the_previews(tmp_path: Path, jobs: int) -> None:
    world = many_reads()
    flight = 4
    active = threading.Semaphore(1)

    def alone(name: str) -> Callable[..., object]:
        def call(*args: object) -> object:
            assert active.acquire(blocking=False), f"{name} overlaps another call"
            try:
                if name == ORDER:
                    return natural(args[0])[::-1]  # type: ignore[arg-type] # the containers
                return None
            finally:
                active.release()

        return call

    store = Fake(
        world.store(),
        concurrent_reads=flight,
        order_containers_restore=alone(ORDER),
        preview_container_read=alone(PREVIEW),
    )
    job = run(world, tmp_path, store, jobs=jobs)
    job.check()
    assert job.report.ok
    previewed: list[tuple[object, int]] = []
    started: list[tuple[object, int]] = []
    for call in job.store.calls:
        if call.name == PREVIEW:
            previewed += [(call.path, read.offset) for read in call.reads]
        elif call.name == READ:
            assert (call.path, call.offset) in previewed, "read before its preview"
            started.append((call.path, call.offset))
    assert [call.path for call in job.store.previews] == [TWO, ONE]
    assert sorted(started, key=str) == sorted(previewed, key=str)
    for number, place in enumerate(started):
        assert previewed.index(place) < number + flight
    assert job.store.most_in_flight <= flight


@pytest.mark.rule("CC-THREAD-2")
def test_one_declared_read_is_the_plain_case(tmp_path: Path) -> None:
    world = many_reads(8)
    job = run(world, tmp_path, Fake(world.store(), concurrent_reads=1), jobs=3)
    assert len({call.thread for call in job.store.calls}) == 1
    assert job.report.ok


@pytest.mark.rule("CC-THREAD-4")
@pytest.mark.parametrize("name", [ORDER, PREVIEW, READ, READ_INTO, LIST])
def test_no_lock_is_held_across_a_call(tmp_path: Path, name: str) -> None:
    """While a call lasts, another thread restores into the same target and looks at the events."""
    world = broken_world()
    other = one_container(2)
    events = Events()
    done: list[bool] = []
    with TargetRoot(tmp_path / "other") as root:

        def elsewhere() -> None:
            done.append(restore_files(other.requests, other.store(), root, options=QUICK).ok)

        def meanwhile(inner: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object) -> object:
                thread = threading.Thread(target=elsewhere)
                thread.start()
                thread.join(PATIENCE)
                assert not thread.is_alive()
                return inner(*args)

            return call

        def read_into(path: StorePath, offset: int, buffer: memoryview) -> int:
            data = world.files[path][offset : offset + len(buffer)]
            buffer[: len(data)] = data
            return len(data)

        plain = world.store()
        methods: dict[str, Callable[..., object]] = {
            ORDER: natural,
            PREVIEW: nothing,
            READ: plain.read_backup_file,
            LIST: plain.list_containers,
        }
        if name == READ_INTO:
            methods[READ_INTO] = read_into
        methods[name] = meanwhile(methods[name])
        job = run(world, tmp_path / "out", Fake(plain, **methods), observer=events)
        job.check()
    assert done
    assert all(done)


@pytest.mark.rule("CC-THREAD-5")
@pytest.mark.parametrize("reads", [1, 3])
@pytest.mark.parametrize("own", [True, False], ids=["own-threads", "executor"])
def test_context_variables_of_the_caller_are_visible(
    tmp_path: Path, reads: int, *, own: bool
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    world = broken_world()
    seen: set[tuple[str, str]] = set()

    class Watching(RecordingStore):
        def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
            seen.add((name, variable.get()))
            return super()._call(name, method, *args)

    inner = Fake(ordered(world, natural), preview_container_read=nothing, concurrent_reads=reads)
    token = variable.set("of the caller")
    try:
        with ThreadPoolExecutor(2) as pool:
            run(world, tmp_path, Watching(inner), executor=None if own else pool)
    finally:
        variable.reset(token)
    assert seen == {(name, "of the caller") for name in (ORDER, PREVIEW, READ, LIST)}


@pytest.mark.rule("CC-THREAD-7")
@pytest.mark.parametrize("name", [ORDER, PREVIEW, READ, LIST])
def test_calling_back_into_the_same_job_is_refused(tmp_path: Path, name: str) -> None:
    world = broken_world()
    refused: list[SessionBusyError] = []
    with TargetRoot(tmp_path) as root:
        plain = world.store()

        def again(inner: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object) -> object:
                with pytest.raises(SessionBusyError) as caught:
                    restore_files(world.requests, plain, root, options=QUICK)
                refused.append(caught.value)
                return inner(*args)

            return call

        methods: dict[str, Callable[..., object]] = {
            ORDER: natural,
            PREVIEW: nothing,
            READ: plain.read_backup_file,
            LIST: plain.list_containers,
        }
        methods[name] = again(methods[name])
        report = restore_files(world.requests, Fake(plain, **methods), root, options=QUICK)
        assert report.counts
        assert refused
        assert refused[0].code == "session.busy"
        # When the job is over, the same requests may run again.
        again_later = restore_files(world.requests, plain, root, options=QUICK)
        assert len(again_later) == len(world.requests)


@pytest.mark.rule("CC-THREAD-7", "CC-ERR-4")
def test_refusal_that_leaves_the_callback_costs_the_files_of_that_read_only(tmp_path: Path) -> None:
    world = one_container(3)
    bad = world.data().refs[1].offset
    with TargetRoot(tmp_path) as root:
        plain = world.store()

        def read(path: StorePath, offset: int, size: int) -> bytes:
            if offset == bad:
                restore_files(world.requests, plain, root, options=QUICK)
            return plain.read_backup_file(path, offset, size)

        store = Fake(plain, read_backup_file=read)
        report = restore_files(world.requests, store, root, options=QUICK)
    statuses = [result.ok for result in report.results]
    assert statuses in ([True, False, True], [True, True, True])
    for error in report.errors.values():
        assert isinstance(error, StoreReadError)
        assert isinstance(error.__cause__, SessionBusyError)


@pytest.mark.rule("CC-THREAD-8")
@pytest.mark.parametrize("same_root", [True, False], ids=["same-target", "other-target"])
def test_other_job_may_run_inside_a_callback(tmp_path: Path, *, same_root: bool) -> None:
    world, other = two_containers(), one_container(2)
    inner: list[bool] = []
    with TargetRoot(tmp_path / "a") as root, TargetRoot(tmp_path / "b") as second:

        def preview(path: StorePath, reads: object) -> None:
            where = root if same_root else second
            inner.append(restore_files(other.requests, other.store(), where, options=QUICK).ok)

        store = Fake(world.store(), preview_container_read=preview)
        report = restore_files(world.requests, store, root, options=QUICK)
        report.raise_for_failures()
    assert inner == [True, True, True]
    for name, data in world.expected.items():
        assert (tmp_path / "a" / name).read_bytes() == data
    for name, data in other.expected.items():
        assert (tmp_path / ("a" if same_root else "b") / name).read_bytes() == data


@pytest.mark.rule("CC-THREAD-8")
def test_same_requests_into_another_target_are_another_job(tmp_path: Path) -> None:
    world = one_container(2)
    with TargetRoot(tmp_path / "a") as root, TargetRoot(tmp_path / "b") as second:
        plain = world.store()
        inner: list[bool] = []

        def preview(path: StorePath, reads: object) -> None:
            inner.append(restore_files(world.requests, plain, second, options=QUICK).ok)

        store = Fake(plain, preview_container_read=preview)
        assert restore_files(world.requests, store, root, options=QUICK).ok
    assert inner == [True]


@pytest.mark.rule("CC-THREAD-6")
def test_own_buffer_of_the_store_is_free_at_the_next_call(tmp_path: Path) -> None:
    world = one_container(6)
    room = bytearray()
    calls: list[Call] = []

    def read(path: StorePath, offset: int, size: int) -> bytearray:
        room.clear()  # BufferError while somebody holds a view
        room.extend(world.files[path][offset : offset + size])
        calls.append(Call(READ, path))
        return room

    class Odd(Fake):
        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            return read(path, offset, size)  # type: ignore[return-value] # a bytearray will do

    job = run(world, tmp_path, Odd(world.store()), jobs=3)
    job.check()
    assert job.report.ok
    assert len(calls) == 6
    assert MAPS not in {call.path for call in calls}
