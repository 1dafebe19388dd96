"""CC-READ: which reads are made, and which are not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate.conformance import FailingStore, RecordingStore, World
from rehydrate.conformance.faults import READ_INTO
from rehydrate.engine import job as job_module
from rehydrate.engine.planning import plan_restore
from rehydrate.errors import ContainerNotFoundError, StoreContractError, StoreReadError
from rehydrate.requests import RestoreOptions
from rehydrate.results import FileStatus, RoundStarted
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath
from tests.conformance.jobs import (
    FAR,
    MAPS,
    ONE,
    TWO,
    Events,
    Fake,
    Job,
    noise,
    one_container,
    ordered,
    run,
    two_containers,
)


def places(job: Job) -> list[tuple[int, int]]:
    return [(call.offset, call.size) for call in job.store.reads]


@pytest.mark.rule("CC-READ-1")
def test_reads_are_positive_and_inside_the_numbers(tmp_path: Path) -> None:
    job = run(two_containers(), tmp_path)
    assert all(offset >= 0 and size >= 1 for offset, size in places(job))
    assert all(offset + size <= MAX_OFFSET for offset, size in places(job))


@pytest.mark.rule("CC-READ-3", "CC-READ-6")
@pytest.mark.parametrize("declared", [1, 500, 1071])
def test_reads_are_cut_at_the_declared_size(tmp_path: Path, declared: int) -> None:
    world = one_container(2)
    store = Fake(world.store(), max_gap=0, max_read=declared)
    job = run(world, tmp_path, store)
    job.check()
    assert job.report.ok
    assert max(size for _, size in places(job)) == declared
    assert job.store.bytes_given == 2 * 1072


@pytest.mark.rule("CC-READ-3")
def test_default_read_is_8_mib_and_any_wish_stays_below_2_gib(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number, 1 << 20)) for number in range(10)]
    world.mapped_file("large", [chunks])
    job = run(world, tmp_path / "a", old=True)
    assert job.report.ok
    assert max(size for _, size in places(job)) > 7 << 20
    assert max(size for _, size in places(job)) <= 8 << 20
    for wish in (2**31, 2**40):
        job = run(world, tmp_path / str(wish), max_read=wish)
        assert job.report.ok
        assert max(size for _, size in places(job)) < 2**31


@pytest.mark.rule("CC-READ-4")
@pytest.mark.parametrize(
    ("hint", "option", "reads"),
    [
        pytest.param(None, None, 3, id="default-4096"),
        pytest.param(FAR, None, 1, id="declared"),
        pytest.param(FAR, 0, 3, id="option-wins"),
        pytest.param(0, FAR, 1, id="option-wins-up"),
    ],
)
def test_reads_are_merged_over_small_gaps(
    tmp_path: Path, hint: int | None, option: int | None, reads: int
) -> None:
    world = one_container(3)
    store = world.store() if hint is None else Fake(world.store(), max_gap=hint, max_read=1 << 20)
    job = run(world, tmp_path, store, max_gap=option)
    job.check()
    assert job.report.ok
    assert len(job.store.reads) == reads


@pytest.mark.rule("CC-READ-4")
def test_gap_of_4096_is_read_and_4097_is_not(tmp_path: Path) -> None:
    for gap, reads in ((4096, 1), (4104, 2)):
        world = World()
        first = world.chunk(noise(1))
        world.data().pad(gap)
        world.file("f", [first, world.chunk(noise(2))])
        assert len(run(world, tmp_path / str(gap)).store.reads) == reads


@pytest.mark.rule("CC-READ-5")
def test_reads_begin_and_end_with_needed_bytes(tmp_path: Path) -> None:
    world = two_containers()
    job = run(world, tmp_path)
    assert job.report.ok
    for call in job.store.reads:
        if call.path in (ONE, TWO):
            refs = world.data(1).refs if call.path == ONE else world.data(2).refs
            assert call.offset in {ref.offset for ref in refs}
            assert call.offset + call.size in {ref.offset + ref.length for ref in refs}


def slices(world: World, step: int) -> Fake:
    """Return a store that orders everything in small slices, last ones first."""

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        found = []
        for index, path in enumerate(containers):
            size = len(world.files[path])
            found += [
                ContainerExtent(index=index, offset=at, length=step)
                for at in reversed(range(0, size, step))
            ]
        return found

    return ordered(world, order)


@pytest.mark.rule("CC-READ-6", "CC-ORDER-3")
@pytest.mark.parametrize("step", [100, 512, 1024, 5000])
@pytest.mark.parametrize("spill", [False, True], ids=["memory", "spill-file"])
def test_records_that_straddle_extents_are_joined(
    tmp_path: Path, step: int, *, spill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spill:
        monkeypatch.setattr(job_module, "_FRAGMENT_SHARE", 1 << 60)
    world = two_containers()
    job = run(world, tmp_path, slices(world, step), max_extents=10**6)
    job.check()
    assert job.report.ok
    assert all(offset // step == (offset + size - 1) // step for offset, size in places(job))
    counters = job.report.counters
    assert counters.bytes_read == counters.bytes_needed == 6 * 1072
    assert counters.repair_bytes == 0


@pytest.mark.rule("CC-READ-6", "CC-PHASE-1")
def test_fragments_lost_in_the_first_phase_do_not_reach_into_the_second(tmp_path: Path) -> None:
    world = two_containers()
    chunk = world.chunk(noise(7, 3000), 1)
    world.mapped_file("late", [[chunk, chunk, chunk]])
    world.seal()
    # The last fragment of a map record never comes, so it stays half joined.
    last = world.stream().refs[0]
    edge = (last.offset // 64 + 1) * 64

    def read(path: StorePath, offset: int, size: int) -> bytes:
        if path == MAPS and offset <= edge - 1 < offset + size:
            raise OSError("unreadable")
        return world.files[path][offset : offset + size]

    store = Fake(slices(world, 64), read_backup_file=read)
    events = Events()
    job = run(world, tmp_path, store, max_extents=10**6, read_attempts=10**6, observer=events)
    job.check()
    assert job.failed() == {"mapped"}
    assert job.report.counts == {FileStatus.RESTORED: 4, FileStatus.FAILED: 1}
    kinds = [event.kind for event in events.of(RoundStarted)]
    assert kinds[-1] == "data", "fragments of the phases were mixed up"


@pytest.mark.rule("CC-READ-7")
def test_shared_chunk_is_read_once_for_all_files(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(noise(1))
    for number in range(50):
        world.file(f"f{number}", [chunk] * (1 + number % 4))
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert places(job) == [(chunk.offset, chunk.length)]


@pytest.mark.rule("CC-READ-8")
@pytest.mark.parametrize("attempts", [1, 3, 5])
def test_container_that_fails_again_and_again_is_given_up(tmp_path: Path, attempts: int) -> None:
    world = one_container(9)
    failing = FailingStore(world.store(), lambda: OSError("dead"), once=False)
    job = run(world, tmp_path, failing, read_attempts=attempts)
    job.check()
    assert job.failed() == set(world.expected)
    assert len(job.store.reads) == attempts + 1
    assert isinstance(job.error_of("f8"), StoreReadError)


@pytest.mark.rule("CC-READ-8")
def test_failures_that_are_not_in_a_row_do_not_count(tmp_path: Path) -> None:
    world = one_container(9)
    bad = {ref.offset for ref in world.data().refs[::2]}
    once: set[int] = set()

    def read(path: StorePath, offset: int, size: int) -> bytes:
        if offset in bad and offset not in once:
            once.add(offset)
            raise OSError("flaky")
        return world.files[path][offset : offset + size]

    job = run(world, tmp_path, Fake(world.store(), read_backup_file=read))
    job.check()
    assert job.report.ok


@pytest.mark.rule("CC-READ-8", "CC-ERR-1")
def test_missing_container_is_asked_once(tmp_path: Path) -> None:
    world = two_containers()
    del world.files[TWO]
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"two", "both", "mapped"}
    assert isinstance(job.error_of("two"), ContainerNotFoundError)
    assert [call.path for call in job.store.reads].count(TWO) == 1


def reading_into(world: World, **methods: object) -> Fake:
    def read(path: StorePath, offset: int, buffer: memoryview) -> int:
        assert not buffer.readonly
        assert buffer.c_contiguous
        assert buffer.format == "B"
        data = world.files[path][offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    return Fake(world.store(), **{"read_backup_file_into": read, **methods})


@pytest.mark.rule("CC-READ-9")
def test_buffers_are_filled_where_the_store_can(tmp_path: Path) -> None:
    world = two_containers()
    job = run(world, tmp_path, reading_into(world))
    job.check()
    assert job.report.ok
    assert {call.name for call in job.store.reads} == {READ_INTO}


@pytest.mark.rule("CC-READ-9", "CC-SIZE-1")
def test_short_count_is_continued(tmp_path: Path) -> None:
    world = one_container(2)

    def read(path: StorePath, offset: int, buffer: memoryview) -> int:
        count = min(300, len(buffer))
        buffer[:count] = world.files[path][offset : offset + count]
        return count

    job = run(world, tmp_path, reading_into(world, read_backup_file_into=read))
    job.check()
    assert job.report.ok
    assert places(job)[:4] == [(4096, 1072), (4396, 772), (4696, 472), (4996, 172)]


@pytest.mark.rule("CC-READ-9")
@pytest.mark.parametrize("count", [-1, 1073, True, None, 1.0, "5"])
def test_count_that_is_none_costs_the_files_of_the_read(tmp_path: Path, count: object) -> None:
    world = one_container(2)
    bad = world.data().refs[0]

    def read(path: StorePath, offset: int, buffer: memoryview) -> object:
        data = world.files[path][offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return count if offset == bad.offset else len(data)

    job = run(world, tmp_path, reading_into(world, read_backup_file_into=read))
    job.check()
    assert job.failed() == {"f0"}
    assert isinstance(job.error_of("f0"), StoreContractError)


@pytest.mark.rule("CC-READ-1", "CC-PHASE-3")
def test_planned_job_reads_what_the_plan_says(tmp_path: Path) -> None:
    world = two_containers()
    store = RecordingStore(ordered(world, lambda containers: None))
    plan = plan_restore(world.requests, store, options=RestoreOptions())
    assert {call.path for call in store.reads} == {MAPS}
    assert len(store.orders) == 2
    job = run(world, tmp_path)
    counters = job.report.counters
    assert plan.bytes_to_read == counters.bytes_read
    assert plan.metadata_bytes == counters.metadata_bytes
    assert plan.totals()["reads"] == counters.reads
