"""CC-PREVIEW: what is shown before an extent is read."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate.conformance import CuttingStore, FailingStore
from rehydrate.conformance.faults import PREVIEW, READ
from rehydrate.errors import Cancelled, NotReadyError, StoreTimeoutError
from rehydrate.results import FileStatus, Notice
from rehydrate.values import MAX_OFFSET, ContainerExtent, FileExtent, StorePath
from tests.conformance.jobs import (
    MAPS,
    ONE,
    TWO,
    Events,
    Fake,
    one_container,
    ordered,
    run,
    two_containers,
)

Reads = Sequence[FileExtent]


def nothing(path: StorePath, reads: Reads) -> None:
    """Accept every preview."""


@pytest.mark.rule("CC-PREVIEW-1", "CC-PREVIEW-2", "CC-READ-1")
def test_each_extent_with_reads_has_one_preview_that_shows_exactly_its_reads(
    tmp_path: Path,
) -> None:
    world = two_containers()
    cut = world.data(1).refs[1].offset

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        first = [
            ContainerExtent(index=0, offset=cut, length=MAX_OFFSET),
            ContainerExtent(index=0, offset=cut + 5, length=1),  # all of it is in the first one
            ContainerExtent(index=0, offset=0, length=cut),
        ]
        others = range(1, len(containers))
        return first + [ContainerExtent(index=index) for index in others]

    store = Fake(ordered(world, order), preview_container_read=nothing)
    job = run(world, tmp_path, store)
    job.check()
    assert job.report.ok
    assert [call.path for call in job.store.previews] == [MAPS, ONE, ONE, TWO]
    made: list[list[tuple[object, int, int]]] = []
    shown: list[list[tuple[object, int, int]]] = []
    for call in job.store.calls:
        if call.name == PREVIEW:
            shown.append([(call.path, read.offset, read.length) for read in call.reads])
            made.append([])
        elif call.name == READ:
            made[-1].append((call.path, call.offset, call.size))
    assert made == shown
    for reads in shown:
        places = [(start, start + size) for _, start, size in reads]
        assert places == sorted(places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))
    assert job.report.counters.previews == 4


@pytest.mark.rule("CC-PREVIEW-3")
def test_reads_are_a_read_only_sequence(tmp_path: Path) -> None:
    world = one_container()
    seen = []

    def preview(path: StorePath, reads: Reads) -> None:
        seen.append(path)
        assert isinstance(reads, Sequence)
        assert len(reads) == 4
        assert list(reads) == [reads[n] for n in range(4)] == list(reads[:])
        assert reads[-1] == reads[3]
        assert list(reads[1:3]) == [reads[1], reads[2]]
        assert reads[0] in reads
        with pytest.raises(IndexError):
            reads[4]
        with pytest.raises(TypeError):
            reads[0] = reads[1]  # type: ignore[index] # tries what must not work
        with pytest.raises(AttributeError):
            reads[0].offset = 7  # type: ignore[misc] # tries what must not work

    job = run(world, tmp_path, Fake(world.store(), preview_container_read=preview))
    assert job.report.ok
    assert seen == [ONE]


@pytest.mark.rule("CC-PREVIEW-4")
def test_extent_that_is_not_ready_goes_to_the_end_of_the_round(tmp_path: Path) -> None:
    world = two_containers()
    store = Fake(world.store(), preview_container_read=nothing)
    failing = FailingStore(store, NotReadyError, names=(PREVIEW,), path=ONE)
    job = run(world, tmp_path, failing)
    job.check()
    assert job.report.ok
    assert [call.path for call in job.store.previews] == [MAPS, ONE, TWO, ONE]
    assert [call.path for call in job.store.reads] == [MAPS, TWO, TWO, TWO, ONE, ONE, ONE]
    assert job.report.counters.previews == 3
    assert job.report.counters.order_calls == 2


@pytest.mark.rule("CC-PREVIEW-4")
@pytest.mark.parametrize("delay", [float("nan"), float("inf"), -5.0, "soon", None, True])
def test_senseless_delay_counts_as_none(tmp_path: Path, delay: float) -> None:
    world = one_container()

    def error() -> NotReadyError:
        return NotReadyError(retry_after=delay)

    store = Fake(world.store(), preview_container_read=nothing)
    job = run(world, tmp_path, FailingStore(store, error, names=(PREVIEW,)))
    job.check()
    assert job.report.ok


@pytest.mark.rule("CC-PREVIEW-4")
def test_extent_is_not_previewed_again_before_its_time(tmp_path: Path) -> None:
    world = one_container()
    store = Fake(world.store(), preview_container_read=nothing)
    events = Events()
    times: list[float] = []

    class Watching(FailingStore):
        def _call(self, name: str, method: object, *args: object) -> object:
            if name == PREVIEW:
                times.append(time.monotonic())
            return super()._call(name, method, *args)  # type: ignore[arg-type] # handed through

    def error() -> NotReadyError:
        return NotReadyError(retry_after=0.05)

    job = run(world, tmp_path, Watching(store, error, names=(PREVIEW,)), observer=events)
    assert job.report.ok
    assert times[1] - times[0] >= 0.05
    assert events.of(Notice) == []


@pytest.mark.rule("CC-PREVIEW-5", "CC-TIME-4")
def test_cancelled_out_of_a_preview_cancels_the_job(tmp_path: Path) -> None:
    world = two_containers()
    store = Fake(world.store(), preview_container_read=nothing)
    job = run(world, tmp_path, FailingStore(store, Cancelled, names=(PREVIEW,), path=TWO))
    job.check(cancelled=True)
    assert job.statuses()["two"] is FileStatus.CANCELLED
    assert {call.path for call in job.store.reads} <= {MAPS, ONE}


@pytest.mark.rule("CC-PREVIEW-5")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError("drive"), id="os-error"),
        pytest.param(StopIteration(), id="stop-iteration"),
        pytest.param(FileNotFoundError("gone"), id="not-found"),
        pytest.param(StoreTimeoutError("late"), id="ours"),
    ],
)
def test_other_errors_are_reported_and_not_fatal(tmp_path: Path, error: Exception) -> None:
    world = one_container()
    store = Fake(world.store(), preview_container_read=nothing)
    events = Events()
    failing = FailingStore(store, lambda: error, names=(PREVIEW,))
    job = run(world, tmp_path, failing, observer=events)
    job.check()
    assert job.report.ok
    (notice,) = events.of(Notice)
    assert ONE in notice.message


@pytest.mark.rule("CC-PREVIEW-5")
def test_not_implemented_preview_is_not_worth_a_notice(tmp_path: Path) -> None:
    world = one_container()
    store = Fake(world.store(), preview_container_read=nothing)
    events = Events()
    failing = FailingStore(store, NotImplementedError, names=(PREVIEW,), once=False)
    assert run(world, tmp_path, failing, observer=events).report.ok
    assert events.of(Notice) == []


@pytest.mark.rule("CC-PREVIEW-1", "CC-READ-8")
def test_container_given_up_has_no_more_previews(tmp_path: Path) -> None:
    world = one_container(6)
    cut = world.data().refs[3].offset
    answer = [
        ContainerExtent(index=0, length=cut),
        ContainerExtent(index=0, offset=cut, length=MAX_OFFSET),
    ]
    store = Fake(
        ordered(world, lambda containers: answer if len(containers) else None),
        preview_container_read=nothing,
    )
    failing = FailingStore(store, lambda: OSError("dead"), once=False)
    job = run(world, tmp_path, failing)
    job.check()
    assert job.failed() == set(world.expected)
    assert len(job.store.reads) == 3 + 1
    assert len(job.store.previews) == 1 + 1


@pytest.mark.rule("CC-READ-2")
def test_continuations_have_no_preview_of_their_own(tmp_path: Path) -> None:
    world = one_container(2)
    store = Fake(world.store(), preview_container_read=nothing)
    job = run(world, tmp_path, CuttingStore(store, 500))
    job.check()
    assert job.report.ok
    assert len(job.store.previews) == 1
    for ref in world.data().refs:
        mine = [call for call in job.store.reads if ref.offset <= call.offset < ref.offset + 1072]
        assert [(call.offset, call.size) for call in mine] == [
            (ref.offset, 1072),
            (ref.offset + 500, 572),
            (ref.offset + 1000, 72),
        ]
