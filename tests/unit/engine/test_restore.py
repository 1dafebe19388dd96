"""A whole call: statuses, policies, links, directories, plans, observers, executors."""

import os
import stat
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from rehydrate.conformance import Gap, RecordingStore, World
from rehydrate.engine import data as data_module
from rehydrate.engine.blocks import RecordConsumer
from rehydrate.engine.planning import plan_restore
from rehydrate.engine.restore import restore_files
from rehydrate.errors import (
    Cancelled,
    CorruptMetadataError,
    PublishError,
    RequestError,
    SessionError,
    StoreError,
    UnsafeTargetError,
)
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.protocols import BackupStore
from rehydrate.requests import (
    Durability,
    FileMetadata,
    Links,
    Overwrite,
    RestoreOptions,
    RestoreRequest,
)
from rehydrate.results import (
    AtTarget,
    FileFinished,
    FileStatus,
    JobStarted,
    Notice,
    Progress,
    RestoreEvent,
    RoundStarted,
)
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.values import ContainerExtent, StoreId, StorePath
from tests.conformance.jobs import (
    OLD,
    ONE,
    TWO,
    Events,
    Fake,
    broken,
    noise,
    one_container,
    ordered,
    prepare,
    run,
    two_containers,
    whole,
)

QUICK = RestoreOptions(jobs=1, durability=Durability.NONE)


@pytest.mark.parametrize("durability", list(Durability))
@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_files_are_the_same_with_any_number_of_workers(
    tmp_path: Path, durability: Durability, jobs: int
) -> None:
    world = two_containers()
    world.file("empty", [])
    world.file("sparse", [Gap(100_000, hole=True), world.data(1).refs[0], Gap(9000)])
    world.seal()
    job = run(world, tmp_path, durability=durability, jobs=jobs)
    job.check()
    assert job.report.ok
    assert (tmp_path / "sparse").stat().st_blocks * 512 < 60_000


@pytest.mark.parametrize("jobs", [1, 3])
def test_executor_of_the_caller_does_the_work(tmp_path: Path, jobs: int) -> None:
    world = two_containers()
    with ThreadPoolExecutor(jobs) as pool:
        job = run(world, tmp_path, executor=pool)
        assert pool.submit(int, "5").result() == 5, "the caller's executor is still the caller's"
    job.check()
    assert job.report.ok


def test_executor_that_is_shut_down_is_a_typed_error(tmp_path: Path) -> None:
    world = two_containers()
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    prepare(world, tmp_path)
    with pytest.raises(SessionError):
        run(world, tmp_path, executor=pool)
    assert (tmp_path / "one").read_bytes() == OLD


def test_same_target_twice_is_an_error_before_any_call(tmp_path: Path) -> None:
    world = one_container(2)
    store = RecordingStore(world.store())
    requests = [world.requests[0], attrs.evolve(world.requests[1], target=b"f0")]
    with TargetRoot(tmp_path) as root, pytest.raises(RequestError) as caught:
        restore_files(requests, store, root)
    assert caught.value.code == "request.same-target"
    assert store.calls == []


def test_same_target_by_another_spelling_on_portable_targets(tmp_path: Path) -> None:
    world = one_container(2)
    requests = [world.requests[0], attrs.evolve(world.requests[1], target="F0")]
    with TargetRoot(tmp_path) as root:
        with pytest.raises(RequestError):
            restore_files(
                requests, world.store(), root, options=attrs.evolve(QUICK, portable_names=True)
            )
        assert restore_files(requests, world.store(), root, options=QUICK).ok


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    with TargetRoot(tmp_path) as root, pytest.raises(RequestError, match="element 0"):
        restore_files([b"stub"], one_container().store(), root)  # type: ignore[list-item] # wrong on purpose


def test_requests_are_consumed_once(tmp_path: Path) -> None:
    world = one_container(3)
    source = iter(world.requests)
    with TargetRoot(tmp_path) as root:
        report = restore_files(source, world.store(), root, options=QUICK)
    assert len(report) == 3
    assert next(source, None) is None


@pytest.mark.parametrize("target", ["../x", "/etc/x", "a/../../x", "", ".", "a//b", b"a\0b", "a/"])
def test_unsafe_target_fails_alone(tmp_path: Path, target: str) -> None:
    world = one_container(2)
    requests = [attrs.evolve(world.requests[0], target=target), world.requests[1]]
    out = tmp_path / "out"
    job = run(world, out, requests=requests, old=False)
    assert job.report[0].status is FileStatus.FAILED
    assert isinstance(job.report[0].error, UnsafeTargetError)
    assert job.report[1].ok
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["f1", "out"]


def test_text_names_with_surrogates_of_both_kinds(tmp_path: Path) -> None:
    world = one_container(2)
    requests = [
        attrs.evolve(world.requests[0], target="\udcff"),
        attrs.evolve(world.requests[1], target="\ud800"),
    ]
    job = run(world, tmp_path, requests=requests, old=False)
    assert job.report.ok
    assert sorted(os.fsencode(path.name) for path in tmp_path.iterdir()) == [
        b"\xed\xa0\x80",
        b"\xff",
    ]


@pytest.mark.parametrize(
    ("policy", "again", "changed"),
    [
        (Overwrite.NEVER, FileStatus.SKIPPED_EXISTS, FileStatus.SKIPPED_EXISTS),
        (Overwrite.IF_CHANGED, FileStatus.SKIPPED_SAME, FileStatus.RESTORED),
        (Overwrite.ALWAYS, FileStatus.RESTORED, FileStatus.RESTORED),
    ],
)
def test_overwrite_policy(
    tmp_path: Path, policy: Overwrite, again: FileStatus, changed: FileStatus
) -> None:
    world = one_container(2)
    assert run(world, tmp_path, old=False).report.ok
    (tmp_path / "f1").write_bytes(OLD)
    job = run(world, tmp_path, old=False, overwrite=policy)
    assert [result.status for result in job.report.results] == [again, changed]
    places = [result.at_target for result in job.report.results]
    assert places[0] is (AtTarget.NEW if again is FileStatus.RESTORED else AtTarget.OLD)
    assert (tmp_path / "f0").read_bytes() == world.expected["f0"]
    kept = changed is FileStatus.SKIPPED_EXISTS
    assert (tmp_path / "f1").read_bytes() == (OLD if kept else world.expected["f1"])


def test_checksum_looks_at_every_byte(tmp_path: Path) -> None:
    world = two_containers()
    world.file("sparse", [Gap(10_000, hole=True), world.data(1).refs[0], Gap(5000)])
    world.seal()
    assert run(world, tmp_path, old=False).report.ok
    times = (tmp_path / "both").stat()
    data = bytearray(world.expected["both"])
    data[-1] ^= 1
    (tmp_path / "both").write_bytes(data)
    os.utime(tmp_path / "both", ns=(times.st_atime_ns, times.st_mtime_ns))
    plain = run(world, tmp_path, old=False)
    assert plain.report.counts == {FileStatus.SKIPPED_SAME: 5}
    job = run(world, tmp_path, old=False, checksum=True)
    assert job.statuses()["both"] is FileStatus.RESTORED
    assert job.report.counts == {FileStatus.SKIPPED_SAME: 4, FileStatus.RESTORED: 1}
    assert (tmp_path / "both").read_bytes() == world.expected["both"]


def test_directories_get_their_metadata_last(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(b"data")
    world.directory("d", 0o500)
    world.directory("d/e", 0o711)
    world.file("d/e/f", [chunk], mode=0o640)
    job = run(world, tmp_path, old=False)
    assert job.report.ok
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o500
    assert stat.S_IMODE((tmp_path / "d" / "e").stat().st_mode) == 0o711
    assert stat.S_IMODE((tmp_path / "d" / "e" / "f").stat().st_mode) == 0o640
    assert (tmp_path / "d").stat().st_mtime_ns == (tmp_path / "d/e/f").stat().st_mtime_ns
    (tmp_path / "d").chmod(0o700)


def test_directory_that_cannot_be_made_fails_with_what_is_in_it(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(b"data")
    world.directory("d")
    world.file("d/f", [chunk])
    world.file("g", [chunk])
    (tmp_path / "d").write_bytes(OLD)
    job = run(world, tmp_path, old=False)
    assert job.failed() == {"d", "d/f"}
    assert job.report[0].at_target is AtTarget.OLD
    assert (tmp_path / "d").read_bytes() == OLD
    assert (tmp_path / "g").read_bytes() == b"data"


def test_directory_where_a_file_must_go(tmp_path: Path) -> None:
    world = one_container(2)
    (tmp_path / "f0").mkdir(parents=True)
    job = run(world, tmp_path, old=False)
    assert job.failed() == {"f0"}
    assert job.report[0].at_target is AtTarget.OLD
    assert (tmp_path / "f0").is_dir()


@pytest.mark.parametrize(
    ("links", "inside", "outside"),
    [
        (Links.SKIP, FileStatus.SKIPPED_LINK, FileStatus.SKIPPED_LINK),
        (Links.SAFE, FileStatus.RESTORED, FileStatus.FAILED),
        (Links.VERBATIM, FileStatus.RESTORED, FileStatus.RESTORED),
    ],
)
def test_policy_of_symbolic_links(
    tmp_path: Path, links: Links, inside: FileStatus, outside: FileStatus
) -> None:
    world = World()
    world.file("f", [world.chunk(b"data")])
    world.symlink("in", b"f")
    world.symlink("out", b"../outside")
    job = run(world, tmp_path, old=False, links=links)
    statuses = job.statuses()
    assert (statuses["in"], statuses["out"]) == (inside, outside)
    for name, status in (("in", inside), ("out", outside)):
        assert (tmp_path / name).is_symlink() is (status is FileStatus.RESTORED)
    again = run(world, tmp_path, old=False, links=links).statuses()
    same = FileStatus.SKIPPED_SAME
    assert again["in"] is (same if inside is FileStatus.RESTORED else inside)


def test_symbolic_link_that_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    world = World()
    world.file("f", [world.chunk(b"data")])
    world.symlink("l", b"f")
    (tmp_path / "l").mkdir()
    job = run(world, tmp_path, old=False, links=Links.VERBATIM)
    assert job.failed() == {"l"}
    assert job.report[1].at_target is AtTarget.OLD


def linked_world() -> World:
    world = World()
    chunk = world.chunk(noise(1))
    for name in ("a", "b", "c"):
        world.file(name, [chunk], link_group=9, nlink=3)
    return world.seal()


def test_names_of_one_inode_become_one_inode(tmp_path: Path) -> None:
    world = linked_world()
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert len({(tmp_path / name).stat().st_ino for name in "abc"}) == 1
    again = run(world, tmp_path, old=False)
    assert set(again.report.counts) == {FileStatus.SKIPPED_SAME}


def test_further_names_fail_with_the_first(tmp_path: Path) -> None:
    world = linked_world()
    broken(world, ONE, world.data().refs[0].offset + 100)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"a", "b", "c"}
    error = job.error_of("b")
    assert isinstance(error, PublishError)
    assert error.code == "link.first"


def test_further_name_that_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    world = linked_world()
    (tmp_path / "b").mkdir()
    job = run(world, tmp_path, old=False)
    assert job.failed() == {"b"}
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "c").stat().st_ino


def test_partial_group_restores_its_first_name_as_data(tmp_path: Path) -> None:
    world = linked_world()
    job = run(world, tmp_path, requests=world.requests[1:], old=False)
    assert job.report.ok
    assert (tmp_path / "b").read_bytes() == world.expected["b"]
    assert not (tmp_path / "a").exists()


def test_cancelled_first_name_cancels_the_others(tmp_path: Path) -> None:
    world = linked_world()

    def read(path: StorePath, offset: int, size: int) -> bytes:
        raise Cancelled

    job = run(world, tmp_path, Fake(world.store(), read_backup_file=read))
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}


def test_metadata_of_the_request_wins(tmp_path: Path) -> None:
    world = one_container(2)
    given = FileMetadata(mode=0o600, mtime_ns=1_500_000_000_000_000_007)
    requests = [attrs.evolve(world.requests[0], metadata=given), world.requests[1]]
    assert run(world, tmp_path, requests=requests, old=False).report.ok
    found = (tmp_path / "f0").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o600, 1_500_000_000_000_000_007)
    assert stat.S_IMODE((tmp_path / "f1").stat().st_mode) == 0o644


def test_several_stores_where_one_is_cancelled(tmp_path: Path) -> None:
    first = one_container(2)
    second = World(uuid.UUID(int=5))
    second.file("g", [second.chunk(b"other store")])

    def order(containers: Sequence[StorePath]) -> None:
        raise Cancelled

    with TargetRoot(tmp_path) as root:
        stores: dict[StoreId, BackupStore] = {
            first.store_id: ordered(first, order),
            second.store_id: second.store(),
        }
        report = restore_files([*first.requests, *second.requests], stores, root, options=QUICK)
    assert set(report.counts) == {FileStatus.CANCELLED}


def test_store_that_fails_does_not_stop_the_next_one(tmp_path: Path) -> None:
    first = one_container(2)
    second = World(uuid.UUID(int=5))
    second.file("g", [second.chunk(b"other store")])

    def order(containers: Sequence[StorePath]) -> None:
        raise OSError("no tape")

    with TargetRoot(tmp_path) as root:
        stores: dict[StoreId, BackupStore] = {
            first.store_id: ordered(first, order),
            second.store_id: second.store(),
        }
        report = restore_files([*first.requests, *second.requests], stores, root, options=QUICK)
    assert report.counts == {FileStatus.FAILED: 2, FileStatus.RESTORED: 1}
    assert (tmp_path / "g").read_bytes() == b"other store"


def test_file_that_the_engine_forgets_is_a_failure_and_no_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = one_container(2)
    monkeypatch.setattr(RecordConsumer, "consume", lambda self, *args: None)
    job = run(world, tmp_path)
    assert job.report.counts == {FileStatus.FAILED: 2}
    error = job.error_of("f0")
    assert isinstance(error, SessionError)
    assert error.code == "internal"
    assert (tmp_path / "f0").read_bytes() == OLD


def test_read_only_target_fails_every_file_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = one_container(2)

    def refused(*args: object, **kwargs: object) -> None:
        raise PublishError("cannot make the private directory of the restore: Read-only")

    monkeypatch.setattr(Staging, "__init__", refused)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"f0", "f1"}
    assert job.store.calls == []


def test_failing_write_costs_its_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_containers()
    whole_write, write_at = Staging.write_whole, Staging.write_at

    def failing_whole(self: Staging, number: int, data: bytes) -> None:
        if number == 0:
            raise PublishError("disk")
        whole_write(self, number, data)

    def failing_at(self: Staging, number: int, offset: int, data: bytes) -> None:
        if number == 2 and offset:
            raise PublishError("disk")
        write_at(self, number, offset, data)

    monkeypatch.setattr(Staging, "write_whole", failing_whole)
    monkeypatch.setattr(Staging, "write_at", failing_at)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"one", "both"}


def test_failing_finish_and_allocation_cost_their_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_containers()
    world.file("zeros", [Gap(5000)])
    world.file("empty", [])
    finish, write_whole = Staging.finish, Staging.write_whole

    def failing(self: Staging, number: int) -> None:
        if number == 2:
            raise PublishError("disk")
        finish(self, number)

    def failing_empty(self: Staging, number: int, data: bytes) -> None:
        if not data:
            raise PublishError("disk")
        write_whole(self, number, data)

    monkeypatch.setattr(Staging, "finish", failing)
    monkeypatch.setattr(Staging, "write_whole", failing_empty)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"both", "empty"}


def test_failing_layout_costs_its_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_containers()
    world.file("zeros", [Gap(5000)])
    allocate = Staging.allocate

    def failing(self: Staging, number: int, **ranges: object) -> None:
        if number in (2, 4):
            raise PublishError("disk")
        allocate(self, number, **ranges)  # type: ignore[arg-type] # handed through

    monkeypatch.setattr(Staging, "allocate", failing)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"both", "zeros"}


def test_observer_hears_of_everything_in_causal_order(tmp_path: Path) -> None:
    world = two_containers()
    events = Events()
    broken(world, TWO, world.data(2).refs[0].offset + 90)
    job = run(world, tmp_path, observer=events)
    kinds = [type(event) for event in events.seen]
    assert kinds[0] is RoundStarted
    assert kinds.index(JobStarted) < kinds.index(FileFinished)
    (started,) = events.of(JobStarted)
    assert (started.files, started.bytes_to_write) == (4, 7000)
    assert started.bytes_to_read == job.report.counters.bytes_needed
    finished = {event.target: event.status for event in events.of(FileFinished)}
    assert finished == job.statuses()
    assert len(events.of(FileFinished)) == 4


def test_progress_is_told_at_most_ten_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = one_container(6)
    events = Events()
    assert run(world, tmp_path / "a", observer=events).report.ok
    assert len(events.of(Progress)) <= 3
    monkeypatch.setattr(data_module, "_PROGRESS_SECONDS", 0.0)
    events = Events()
    assert run(world, tmp_path / "b", observer=events).report.ok
    told = events.of(Progress)
    assert told
    assert [event.bytes_written for event in told] == sorted(event.bytes_written for event in told)
    assert {event.container for event in told} <= {ONE, None}


def test_observer_that_fails_is_switched_off_and_reported(tmp_path: Path) -> None:
    class Fails:
        seen = 0

        def on_event(self, event: RestoreEvent, /) -> None:
            self.seen += 1
            raise ValueError("broken display")

    observer = Fails()
    job = run(one_container(), tmp_path, observer=observer)
    job.check()
    assert job.report.ok
    assert observer.seen == 1
    assert any("broken display" in notice for notice in job.report.notices)


def test_interrupt_out_of_an_observer_comes_out(tmp_path: Path) -> None:
    class Interrupts:
        def on_event(self, event: RestoreEvent, /) -> None:
            if isinstance(event, JobStarted | FileFinished):
                raise KeyboardInterrupt

    world = one_container()
    prepare(world, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path, observer=Interrupts())
    assert run(world, tmp_path, old=False).report.ok


def test_plan_says_what_the_restore_then_does(tmp_path: Path) -> None:
    world = two_containers()
    world.file("hole", [Gap(8192, hole=True), world.data(1).refs[0]])
    world.seal()
    store = RecordingStore(world.store())
    plan = plan_restore(world.requests, store)
    assert (plan.files, plan.logical_bytes) == (5, 7000 + 9192)
    assert plan.allocated_bytes == 7000 + 1000
    assert plan.unfinished_peak > 0
    job = run(world, tmp_path)
    assert plan.bytes_needed == job.report.counters.bytes_needed
    assert plan.bytes_to_read == job.report.counters.bytes_read
    assert [each.path for each in plan.round("data").by_container()] == [ONE, TWO]


def backwards(containers: Sequence[StorePath]) -> list[ContainerExtent]:
    return whole(*reversed(range(len(containers))))


def restore_planned(
    world: World, out: Path, plan: ReadPlan, requests: Sequence[RestoreRequest] | None = None
) -> RecordingStore:
    recording = RecordingStore(Fake(world.store(), order_containers_restore=lambda names: None))
    with TargetRoot(out) as root:
        report = restore_files(
            requests or world.requests, recording, root, options=QUICK, plan=plan
        )
    report.raise_for_failures()
    return recording


def test_saved_plan_gives_its_order_to_the_restore(tmp_path: Path) -> None:
    world = two_containers()
    plan = plan_restore(world.requests, ordered(world, backwards))
    plan = ReadPlan.from_json(plan.to_json())
    recording = restore_planned(world, tmp_path, plan)
    assert [call.path for call in recording.reads][1:] == [TWO] * 3 + [ONE] * 3
    assert len(recording.orders) == 1, "only the maps are ordered anew"


def test_plan_of_other_files_is_refused(tmp_path: Path) -> None:
    world = two_containers()
    plan = plan_restore(world.requests[:2], world.store())
    with pytest.raises(RequestError) as caught:
        restore_planned(world, tmp_path, plan)
    assert caught.value.code == "plan.mismatch"


def test_plan_that_leaves_out_a_container_is_refused(tmp_path: Path) -> None:
    world = two_containers()
    plan = plan_restore(world.requests, world.store())
    planned = plan.round("data")
    less = attrs.evolve(planned, extents=planned.extents[:1])
    plan = attrs.evolve(plan, rounds=(plan.round("stream"), less))
    with pytest.raises(RequestError) as caught:
        restore_planned(world, tmp_path, plan)
    assert caught.value.code == "plan.mismatch"


def test_plan_without_stubs_or_of_two_stores_is_refused() -> None:
    world = one_container(1)
    other = World(uuid.UUID(int=5))
    other.file("g", [other.chunk(b"x")])
    for requests in ([], [RestoreRequest(b"plain", "p")], [*world.requests, *other.requests]):
        with pytest.raises(RequestError) as caught:
            plan_restore(requests, world.store())
        assert caught.value.code == "plan.stores"


def test_plan_for_a_store_that_was_not_given() -> None:
    world = one_container(1)
    with pytest.raises(StoreError) as caught:
        plan_restore(world.requests, {uuid.UUID(int=5): world.store()})
    assert caught.value.code == "store.other"


def test_plan_with_a_bad_stub_is_an_error() -> None:
    world = one_container(1)
    stub = bytearray(world.requests[0].stub)
    stub[-1] ^= 1
    with pytest.raises(CorruptMetadataError):
        plan_restore([RestoreRequest(bytes(stub), "x")], world.store())


def test_plan_of_nothing_to_read() -> None:
    world = World()
    world.file("empty", [])
    plan = plan_restore(world.requests, world.store())
    assert (plan.bytes_to_read, plan.rounds, plan.files) == (0, (), 1)


def test_plan_with_little_memory_spills(tmp_path: Path) -> None:
    world = two_containers()

    def slices(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        return [
            ContainerExtent(index=index, offset=at, length=100)
            for index, path in enumerate(containers)
            for at in range(0, len(world.files[path]), 100)
        ]

    store = ordered(world, slices)
    options = RestoreOptions(memory=16 << 20, max_extents=10**6)
    plan = plan_restore(world.requests, store, options=options)
    assert plan.bytes_to_read == 6 * 1072


def test_notice_of_a_preview_is_passed_on(tmp_path: Path) -> None:
    world = one_container(1)
    events = Events()

    def preview(path: StorePath, reads: object) -> None:
        raise OSError("drive")

    store = Fake(world.store(), preview_container_read=preview)
    assert run(world, tmp_path, store, observer=events).report.ok
    assert ["drive" in notice.message for notice in events.of(Notice)] == [True]
