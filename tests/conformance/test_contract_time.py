"""CC-TIME: deadlines and cancelling. Nothing here sleeps: events say when to go on."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.conformance import FailingStore, World
from rehydrate.conformance.faults import LIST, ORDER, PREVIEW, READ
from rehydrate.engine import restore
from rehydrate.errors import (
    E_CANCELLED,
    Cancelled,
    NotReadyError,
    StoreContractError,
    StoreTimeoutError,
)
from rehydrate.requests import CancelToken
from rehydrate.results import FileFinished, FileStatus
from rehydrate.values import ContainerExtent, StorePath
from tests.conformance.jobs import (
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

PATIENCE = 20.0
SHORT = 0.05


class Stuck(Fake):
    """Its read of one place does not return until it is let go."""

    def __init__(self, world: World, at: int, **methods: object) -> None:
        super().__init__(world.store(), **methods)
        self.at = at
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.left = threading.Event()

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if offset == self.at:
            self.entered.set()
            self.let_go.wait(PATIENCE)
            self.left.set()
        return super().read_backup_file(path, offset, size)


@pytest.mark.rule("CC-TIME-3")
@pytest.mark.parametrize("concurrent", [1, 3])
def test_read_that_never_returns_ends_the_job(tmp_path: Path, concurrent: int) -> None:
    world = one_container(6)
    store = Stuck(world, world.data().refs[3].offset, concurrent_reads=concurrent)
    job = run(world, tmp_path, store, read_timeout=SHORT, jobs=concurrent)
    assert store.entered.is_set()
    assert not store.left.is_set()
    job.check()
    late = [result for result in job.report.results if result.status is FileStatus.FAILED]
    assert late
    for result in late:
        assert isinstance(result.error, StoreTimeoutError)
        assert result.error.retryable
    # A late answer is thrown away: nothing of it reaches a file, and nothing breaks.
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    store.let_go.set()
    assert store.left.wait(PATIENCE)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


@pytest.mark.rule("CC-TIME-3")
def test_overdue_read_is_seen_while_others_go_on(tmp_path: Path) -> None:
    world = World()
    for number in range(300):
        world.file(f"f{number}", [world.chunk(noise(number, 64))])
        world.data().pad(8192)
    world.seal()
    stuck = Stuck(world, world.data().refs[5].offset, concurrent_reads=3)
    ready = threading.Event()
    timer = threading.Timer(1.0, ready.set)
    timer.start()

    def read(path: StorePath, offset: int, size: int) -> bytes:
        if offset != stuck.at:
            ready.wait(0.02)  # the others take their time, so that messages never stop
        return stuck.read_backup_file(path, offset, size)

    store = Fake(world.store(), read_backup_file=read, concurrent_reads=3)
    events = Events()
    job = run(world, tmp_path, store, read_timeout=SHORT, jobs=3, observer=events)
    stuck.let_go.set()
    timer.cancel()
    job.check()
    assert job.failed()
    assert len(job.store.reads) < 200, "the deadline was looked at too late"


PROGRAM = """
import sys, threading
from rehydrate.conformance import World
from rehydrate import restore_files, TargetRoot, RestoreOptions

world = World()
world.file("f", [world.chunk(b"data")])

class Stuck:
    def read_backup_file(self, path, offset, size):
        threading.Event().wait()

with TargetRoot(sys.argv[1]) as root:
    report = restore_files(world.requests, Stuck(), root, options=RestoreOptions(read_timeout=0.05))
print(type(report[0].error).__name__)
"""


@pytest.mark.rule("CC-TIME-3")
def test_program_can_end_although_a_call_is_stuck(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "StoreTimeoutError"), done.stderr


@pytest.mark.rule("CC-TIME-1")
@pytest.mark.parametrize("name", [ORDER, PREVIEW])
def test_order_and_preview_have_no_deadline(tmp_path: Path, name: str) -> None:
    world = one_container(2)
    waited = threading.Event()

    def slow(*args: object) -> None:
        waited.wait(6 * SHORT)

    store = Fake(world.store(), **{name: slow})
    job = run(world, tmp_path, store, read_timeout=SHORT)
    job.check()
    assert job.report.ok


@pytest.mark.rule("CC-TIME-2")
@pytest.mark.parametrize(
    ("declared", "option", "late"),
    [
        pytest.param(SHORT, None, True, id="declared"),
        pytest.param(PATIENCE, SHORT, True, id="option-wins"),
        pytest.param(SHORT, PATIENCE, False, id="option-wins-up"),
        pytest.param(None, None, False, id="none"),
    ],
)
def test_store_and_caller_choose_the_deadline(
    tmp_path: Path, declared: float | None, option: float | None, *, late: bool
) -> None:
    world = one_container(2)
    store = Stuck(world, world.data().refs[0].offset, read_timeout=declared)
    timer = threading.Timer(PATIENCE if late else 6 * SHORT, store.let_go.set)
    timer.start()
    job = run(world, tmp_path, store, read_timeout=option)
    timer.cancel()
    store.let_go.set()
    job.check()
    assert job.report.ok is not late


@pytest.mark.rule("CC-TIME-2")
def test_default_is_300_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clock:
        time_ns = staticmethod(lambda: 0)

        def monotonic(self) -> float:
            return now[0]

        def sleep(self, seconds: float) -> None:
            now[0] += seconds

    monkeypatch.setattr(restore, "SystemClock", Clock)
    for passed, good in ((299.0, True), (301.0, False)):
        world = one_container(1)
        now[0] = 0.0
        stuck = Stuck(world, 4096)
        timer = threading.Timer(0.5 if good else PATIENCE, stuck.let_go.set)

        def read(path: StorePath, offset: int, size: int) -> bytes:
            now[0] = passed  # noqa: B023 - used in this turn
            timer.start()  # noqa: B023 - used in this turn
            return stuck.read_backup_file(path, offset, size)  # noqa: B023 - used in this turn

        job = run(world, tmp_path / str(passed), Fake(world.store(), read_backup_file=read))
        timer.cancel()
        stuck.let_go.set()
        assert job.report.ok is good


@pytest.mark.rule("CC-TIME-2", "CC-ERR-10")
@pytest.mark.parametrize("bad", [0, -1, "300", True, float("nan")])
def test_declared_deadline_must_be_a_positive_number(tmp_path: Path, bad: object) -> None:
    world = one_container(1)
    with pytest.raises(StoreContractError, match="read_timeout"):
        run(world, tmp_path, Fake(world.store(), read_timeout=bad))


def assert_resumes(world: World, out: Path) -> None:
    """The same call goes on: afterwards everything is there."""
    job = run(world, out, old=False)
    assert job.report.ok
    for name, data in world.expected.items():
        assert (out / name).read_bytes() == data


@pytest.mark.rule("CC-TIME-4")
@pytest.mark.parametrize("name", [ORDER, PREVIEW, READ, LIST])
@pytest.mark.parametrize("at", [0, 1])
def test_cancelled_out_of_any_callback_cancels_the_job(tmp_path: Path, name: str, at: int) -> None:
    world = two_containers()
    good = dict(world.files)
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    if name == LIST and at:
        at = 0
    store = Fake(
        ordered(world, lambda containers: None), preview_container_read=lambda path, reads: None
    )
    job = run(world, tmp_path, FailingStore(store, Cancelled, names=(name,), at=at))
    job.check(cancelled=True)
    cancelled = [r for r in job.report.results if r.status is FileStatus.CANCELLED]
    assert cancelled
    for result in cancelled:
        assert result.error is not None
        assert result.error.hresult == E_CANCELLED == 0x800704C7
        assert result.error.resumable
    world.files.update(good)
    assert_resumes(world, tmp_path)


@pytest.mark.rule("CC-TIME-4")
def test_cancelled_out_of_a_generator_of_extents(tmp_path: Path) -> None:
    world = one_container(2)

    def answer(containers: object) -> Iterator[ContainerExtent]:
        yield ContainerExtent(index=0)
        raise Cancelled

    job = run(world, tmp_path, ordered(world, answer))
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}
    assert job.report.hresult == E_CANCELLED


@pytest.mark.rule("CC-TIME-4")
@pytest.mark.parametrize("at", range(8))
def test_token_stops_the_job_at_any_read_and_what_is_published_stays(
    tmp_path: Path, at: int
) -> None:
    world = two_containers()
    token = CancelToken()

    class Cancelling(Fake):
        seen = 0

        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            if self.seen == at:
                token.cancel()
            self.seen += 1
            return super().read_backup_file(path, offset, size)

    job = run(world, tmp_path, Cancelling(world.store()), cancel=token)
    job.check(cancelled=True)
    assert set(job.report.counts) <= {FileStatus.CANCELLED, FileStatus.RESTORED}
    assert len(job.store.reads) <= at + 1
    assert_resumes(world, tmp_path)


@pytest.mark.rule("CC-TIME-4")
@pytest.mark.parametrize("name", [ORDER, PREVIEW])
def test_token_does_not_wait_for_a_mount(tmp_path: Path, name: str) -> None:
    world = one_container(2)
    token = CancelToken()
    mounted = threading.Event()

    def mount(*args: object) -> None:
        token.cancel()
        mounted.wait(PATIENCE)

    job = run(world, tmp_path, Fake(world.store(), **{name: mount}), cancel=token)
    assert not mounted.is_set()
    mounted.set()
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}
    assert job.store.reads == []


@pytest.mark.rule("CC-TIME-4")
def test_token_ends_the_wait_for_something_not_ready(tmp_path: Path) -> None:
    world = one_container(2)
    token = CancelToken()

    def preview(path: StorePath, reads: object) -> None:
        threading.Timer(SHORT, token.cancel).start()
        raise NotReadyError(retry_after=3600)

    job = run(world, tmp_path, Fake(world.store(), preview_container_read=preview), cancel=token)
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}


@pytest.mark.rule("CC-TIME-4")
def test_token_that_was_used_before_stops_at_once(tmp_path: Path) -> None:
    world = two_containers()
    token = CancelToken()
    token.cancel()
    job = run(world, tmp_path, cancel=token)
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}
    assert job.store.reads == []


@pytest.mark.rule("CC-TIME-4", "CC-READ-7")
def test_resume_does_not_read_again_what_is_staged(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number, 4000)) for number in range(12)]
    for _ in range(12):
        world.data().pad(8)
    world.mapped_file("large", [chunks])
    world.seal()
    token = CancelToken()
    events = Events()
    store = Fake(world.store(), max_gap=0, max_read=4096)
    asked: list[int] = []

    class Counting(Fake):
        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            if path.startswith("Data"):
                asked.append(offset)
                if len(asked) == 7:
                    token.cancel()
            return super().read_backup_file(path, offset, size)

    job = run(world, tmp_path, Counting(store), cancel=token, checkpoint_bytes=1, observer=events)
    job.check(cancelled=True)
    assert [event.status for event in events.of(FileFinished)] == [FileStatus.CANCELLED]
    first = len(asked)
    job = run(world, tmp_path, Counting(store), old=False)
    assert job.report.ok
    counters = job.report.counters
    assert counters.bytes_resumed >= 4000
    again = len(asked) - first
    assert again <= 12 - counters.bytes_resumed // 4000
    assert TWO not in {call.path for call in job.store.reads}
