"""CC-PHASE: phases, rounds, repair rounds, stale references."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate.conformance import FailingStore, World
from rehydrate.conformance.faults import LIST, ORDER
from rehydrate.formats.native.format import NativeFormat
from rehydrate.formats.walk import Read, RecordRef, Walk
from rehydrate.results import FileStatus, RoundStarted
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
    whole,
)


def natural(containers: Sequence[StorePath]) -> list[ContainerExtent]:
    return whole(*range(len(containers)))


@pytest.mark.rule("CC-PHASE-1", "CC-PHASE-3", "CC-PHASE-4", "CC-PHASE-6")
def test_undamaged_job_is_two_order_calls_and_nothing_comes_twice(tmp_path: Path) -> None:
    world = two_containers()
    inner = Fake(
        world.store(),
        order_containers_restore=natural,
        preview_container_read=lambda path, reads: None,
    )
    job = run(world, tmp_path, inner)
    job.check()
    assert job.report.ok
    assert job.store.orders == [(MAPS,), (ONE, TWO)]
    assert job.sequence == ["O", "P", "R", "O", "P", "R", "R", "R", "P", "R", "R", "R"]
    assert [call.path for call in job.store.reads] == [MAPS] + [ONE] * 3 + [TWO] * 3


@pytest.mark.rule("CC-PHASE-6")
def test_maps_inside_stubs_leave_one_order_call(tmp_path: Path) -> None:
    world = one_container()
    job = run(world, tmp_path, ordered(world, natural))
    assert job.store.orders == [(ONE,)]
    job.check()


@pytest.mark.rule("CC-PHASE-9")
def test_empty_request_and_files_without_bytes_make_no_call(tmp_path: Path) -> None:
    world = one_container()
    job = run(world, tmp_path, ordered(world, natural), requests=[])
    assert (job.store.calls, job.report.hresult, len(job.report)) == ([], 0, 0)
    world = World()
    world.file("empty", [])
    job = run(world, tmp_path, ordered(world, natural))
    assert job.store.calls == []
    job.check()


@pytest.mark.rule("CC-PHASE-2", "CC-PHASE-4")
def test_repairs_of_the_maps_end_before_the_data_phase(tmp_path: Path) -> None:
    world = two_containers()
    store = FailingStore(ordered(world, natural), lambda: OSError("once"), path=MAPS)
    job = run(world, tmp_path, store)
    job.check()
    assert job.report.ok
    assert job.store.orders == [(MAPS,), (MAPS,), (ONE, TWO)]


@pytest.mark.rule("CC-PHASE-5", "CC-READ-10")
def test_wrong_bytes_are_read_again_once_and_only_in_a_repair_round(tmp_path: Path) -> None:
    world = one_container(3)
    ref = world.data().refs[1]
    good = world.files[ONE]
    broken(world, ONE, ref.offset + ref.length - 1)
    reads = []

    def read(path: StorePath, offset: int, size: int) -> bytes:
        reads.append((offset, size))
        answer = world.files[path][offset : offset + size]
        if (offset, size) == (ref.offset, ref.length):
            world.files[ONE] = good
        return answer

    job = run(world, tmp_path, Fake(ordered(world, natural), read_backup_file=read))
    job.check()
    assert job.report.ok
    assert len(job.store.orders) == 2
    assert reads[:3] == [(each.offset, each.length) for each in world.data().refs]
    assert [place for place in reads[3:] if place[0] >= ref.offset] == [(ref.offset, ref.length)]
    assert job.report.counters.repair_bytes > 0


@pytest.mark.rule("CC-PHASE-5")
@pytest.mark.parametrize("reads", [1, 3])
def test_failed_read_is_not_repeated_in_its_round(tmp_path: Path, reads: int) -> None:
    world = one_container()
    store = FailingStore(Fake(world.store(), concurrent_reads=reads), lambda: OSError("once"))
    job = run(world, tmp_path, store)
    job.check()
    assert job.report.ok
    calls = job.store.reads
    assert sorted(call.offset for call in calls[:4]) == [ref.offset for ref in world.data().refs]
    failed = calls[0].offset
    assert [call.offset <= failed < call.offset + call.size for call in calls].count(True) == 2


@pytest.mark.rule("CC-PHASE-2", "CC-ERR-11")
def test_lost_record_costs_at_most_four_repair_rounds(tmp_path: Path) -> None:
    world = two_containers()
    for ref in world.data(1).refs:
        broken(world, ONE, ref.offset + ref.length - 1)
    events = Events()
    job = run(world, tmp_path, ordered(world, natural), observer=events)
    job.check()
    assert job.failed() == {"one", "both", "mapped"}
    kinds = [event.kind for event in events.of(RoundStarted)]
    assert kinds[:2] == ["stream", "data"]
    assert set(kinds[2:]) == {"repair"}
    assert 1 <= len(kinds) - 2 <= 4
    assert len(job.store.orders) == len(kinds)


@pytest.mark.rule("CC-PHASE-2")
def test_format_that_would_look_for_ever_gets_four_repair_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(self: NativeFormat, ref: RecordRef) -> Walk:
        while True:
            yield (Read(ONE, ref.offset, ref.length),)

    monkeypatch.setattr(NativeFormat, "repair", endless)
    world = one_container(2)
    broken(world, ONE, world.data().refs[1].offset + 90)
    job = run(world, tmp_path, ordered(world, natural))
    job.check()
    assert job.failed() == {"f1"}
    assert len(job.store.orders) == 1 + 4


@pytest.mark.rule("CC-PHASE-7", "CC-PHASE-2")
@pytest.mark.parametrize("count", [1, 3, 9])
def test_stale_references_are_followed_through_the_tombstone(tmp_path: Path, count: int) -> None:
    world = one_container(count)
    world.move(1)
    job = run(world, tmp_path, ordered(world, natural))
    job.check()
    assert job.report.ok
    new = StorePath("Data/00000001.00000002.rhc")
    assert job.store.orders == [(ONE,), (ONE,), (new,)]
    assert job.store.named(LIST) == []


@pytest.mark.rule("CC-PHASE-7")
def test_stale_reference_next_to_fresh_ones(tmp_path: Path) -> None:
    world = two_containers()
    world.move(2)
    job = run(world, tmp_path, ordered(world, natural))
    job.check()
    assert job.report.ok
    assert job.store.named(LIST) == []


@pytest.mark.rule("CC-PHASE-2")
def test_record_walk_finds_a_record_that_stands_elsewhere(tmp_path: Path) -> None:
    world = one_container(3)
    page, records = world.files[ONE][:4096], world.files[ONE][4096:]
    world.files[ONE] = page + bytes(800) + records
    job = run(world, tmp_path, ordered(world, natural))
    job.check()
    assert job.report.ok


@pytest.mark.rule("CC-PHASE-2", "CC-PATH-4")
def test_other_generation_is_found_through_the_listing(tmp_path: Path) -> None:
    world = one_container(3)
    world.move(1)
    del world.files[ONE]
    job = run(world, tmp_path, ordered(world, natural))
    job.check()
    assert job.report.ok
    assert [call.path for call in job.store.named(LIST)] == ["Data"]


@pytest.mark.rule("CC-PHASE-8")
def test_kinds_are_told_before_the_first_preview_and_divide_the_counters(tmp_path: Path) -> None:
    world = two_containers()
    broken(world, TWO, world.data(2).refs[0].offset + 90)
    events = Events()
    told: list[list[str]] = []

    def preview(path: StorePath, reads: object) -> None:
        told.append([event.kind for event in events.of(RoundStarted)])

    store = Fake(ordered(world, natural), preview_container_read=preview)
    job = run(world, tmp_path, store, observer=events)
    job.check()
    assert [kinds[-1] for kinds in told[:3]] == ["stream", "data", "data"]
    assert told[3][-1] == "repair"
    counters = job.report.counters
    assert counters.order_calls == len(job.store.named(ORDER))
    assert counters.previews == len(job.store.previews)
    by_path = dict.fromkeys((MAPS, ONE, TWO), 0)
    for call in job.store.reads:
        by_path[call.path or MAPS] += call.got
    assert counters.metadata_bytes == by_path[MAPS]
    assert counters.bytes_read == 3 * world.data(1).refs[0].length * 2
    assert counters.repair_bytes == by_path[TWO] - counters.bytes_read // 2
    assert counters.reads == len(job.store.reads)
    assert job.statuses()["one"] is FileStatus.RESTORED
    assert noise(0) == (tmp_path / "one").read_bytes()
