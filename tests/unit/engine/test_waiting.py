"""Extents that are not ready: which comes first, what is told, and what is asked before writing."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate import TargetRoot, Waiting
from rehydrate.conformance import RecordingStore, World
from rehydrate.engine import restore
from rehydrate.engine.planning import plan_restore
from rehydrate.errors import Cancelled, NotReadyError
from rehydrate.results import FileStatus
from rehydrate.values import ContainerExtent, FileExtent, StorePath
from tests.conformance.jobs import MAPS, ONE, TWO, Events, Fake, run, two_containers


class LeapingClock:
    """Sleeps at once, and stands still otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> LeapingClock:
    found = LeapingClock()
    monkeypatch.setattr(restore, "SystemClock", lambda: found)
    return found


def later(delays: dict[StorePath, list[float]], seen: list[StorePath]) -> Fake:
    """Return a store whose containers are ready after so many delays."""

    def preview(path: StorePath, reads: Sequence[FileExtent]) -> None:
        del reads
        seen.append(path)
        if delays.get(path):
            raise NotReadyError(f"{path} thaws", retry_after=delays[path].pop(0))

    return Fake(two_containers().store(), preview_container_read=preview)


def test_what_is_due_first_comes_first(tmp_path: Path) -> None:
    seen: list[StorePath] = []
    store = later({ONE: [20.0], TWO: [1.0, 1.0]}, seen)
    job = run(two_containers(), tmp_path, store)
    job.check()
    assert seen == [MAPS, ONE, TWO, TWO, TWO, ONE]


def test_waiting_is_told_where_it_changes_and_after_a_while(tmp_path: Path) -> None:
    events = Events()
    store = later({ONE: [20.0] * 8, TWO: [30.0]}, [])
    run(two_containers(), tmp_path, store, observer=events).check()
    told = events.of(Waiting)
    assert {event.extents for event in told} == {2}
    assert [event.waiting for event in told] == [2, 1, 1]  # the last a minute later
    assert told[0].message == f"{ONE} thaws"
    assert told[0].seconds == pytest.approx(20)


def test_nothing_is_told_where_nothing_waits(tmp_path: Path) -> None:
    events = Events()
    run(two_containers(), tmp_path, later({ONE: [0.0]}, []), observer=events).check()
    assert events.of(Waiting) == []


def test_time_that_passes_between_two_looks_is_no_reason_to_fail(
    tmp_path: Path, clock: LeapingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def running() -> float:
        clock.now += 0.02
        return clock.now

    def sleep(seconds: float) -> None:
        assert seconds >= 0, "systems refuse to sleep for less"

    monkeypatch.setattr(clock, "monotonic", running)
    monkeypatch.setattr(clock, "sleep", sleep)
    run(two_containers(), tmp_path, later({ONE: [0.09] * 9}, [])).check()


def test_order_is_asked_for_before_anything_is_written(tmp_path: Path) -> None:
    world = World()
    world.mapped_file("below/file", [[world.chunk(bytes(100), 1)]])
    world.directory("empty")
    world.file("zeros", [])
    world.seal()

    def names() -> set[str]:
        return {path.name for path in list(tmp_path.rglob("*"))}

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        if containers[0] != MAPS:
            assert not {"below", "empty", "zeros"} & names()
            raise Cancelled
        return [ContainerExtent(index=0)]

    store = Fake(world.store(), order_containers_restore=order)
    with TargetRoot(tmp_path) as target:
        report = restore.restore_files(world.requests, store, target)
    assert set(report.counts) == {FileStatus.CANCELLED}
    assert not {"below", "empty", "zeros"} & names()


def test_plan_calls_what_the_store_has_for_plans(tmp_path: Path) -> None:
    world = two_containers()
    plain = RecordingStore(world.store())

    dear = RecordingStore(world.store())
    store = Fake(dear, for_plans=plain)  # its own calls cost money
    assert plan_restore(world.requests, store).files == len(world.requests)
    assert (len(dear.calls), len(plain.reads)) == (0, 1)
    run(world, tmp_path, store).check()
    assert len(plain.reads) == 1
    assert dear.reads
