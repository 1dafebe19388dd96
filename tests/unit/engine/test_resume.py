"""Interrupted and called again: what is asked of the store twice, and what stands there."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rehydrate.conformance import CuttingStore, FailingStore, Gap, RecordingStore, World
from rehydrate.engine.restore import restore_files
from rehydrate.errors import Cancelled, StagingError
from rehydrate.requests import Durability, RestoreOptions
from rehydrate.results import FileStatus
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.values import ContainerExtent, StorePath
from tests.conformance.jobs import (
    OLD,
    ONE,
    Fake,
    broken,
    noise,
    ordered,
    prepare,
    run,
    two_containers,
)

CHUNK = 3000
RECORD = CHUNK + 72


def large_world(chunks: int = 20, files: int = 2) -> World:
    """Return a world with large files whose chunks are read one by one."""
    world = World()
    for number in range(files):
        pieces = [world.chunk(noise(100 * number + n, CHUNK)) for n in range(chunks)]
        world.mapped_file(f"large{number}", [[*pieces[:3], Gap(5000), *pieces[3:]]])
    world.file("small", [world.chunk(noise(7, 50))])
    return world.seal()


SMALL_READS: Any = {"max_gap": 0, "max_read": RECORD, "checkpoint_bytes": 1}


@pytest.mark.parametrize("kind", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize("at", range(1, 43, 3))
def test_interrupted_at_any_read_goes_on_where_it_stopped(
    tmp_path: Path, kind: type[BaseException], at: int
) -> None:
    world = large_world()
    prepare(world, tmp_path)
    first = RecordingStore(FailingStore(world.store(), kind, at=at, once=False))
    try:
        job = run(world, tmp_path, first, old=False, **SMALL_READS)
        job.check(cancelled=True)
    except KeyboardInterrupt:
        assert kind is KeyboardInterrupt
    for name, data in world.expected.items():
        assert (tmp_path / name).read_bytes() in (OLD, data)
    again = run(world, tmp_path, old=False, **SMALL_READS)
    assert again.report.ok
    for name, data in world.expected.items():
        assert (tmp_path / name).read_bytes() == data
    data_reads = [call for call in first.reads if call.path == ONE and call.got]
    staged = again.report.counters.bytes_resumed
    asked = sum(call.got for call in again.store.reads if call.path == ONE)
    published = sum(
        len(data)
        for name, data in world.expected.items()
        if again.statuses()[name] is FileStatus.SKIPPED_SAME
    )
    needed = 40 * RECORD + 122
    assert asked <= needed - staged, "staged bytes were asked for again"
    # What was read and is neither staged nor published was on its way: at most one batch.
    lost = sum(call.got - 72 for call in data_reads) - staged - published
    assert lost <= 2 << 20


def test_nothing_is_asked_again_when_all_but_the_end_was_done(tmp_path: Path) -> None:
    """One failing chunk: everything else is staged, and only that chunk is asked for later."""
    world = large_world(files=1)
    good = world.files[ONE]
    bad = world.data().refs[10]
    broken(world, ONE, bad.offset + 100)
    job = run(world, tmp_path, **SMALL_READS)
    job.check()
    assert job.failed() == {"large0"}
    assert job.report[0].error is not None
    assert job.report[0].error.resumable
    world.files[ONE] = good
    again = run(world, tmp_path, old=False, **SMALL_READS)
    assert again.report.ok
    assert again.report.counters.bytes_resumed == 19 * CHUNK
    assert [(c.offset, c.size) for c in again.store.reads if c.path == ONE] == [
        (bad.offset, bad.length)
    ]


def change_staged(out: Path, change: Callable[[bytearray], None]) -> None:
    (workspace,) = out.glob(".rehydrate-*")
    staged = [path for path in workspace.iterdir() if path.stat().st_size > 20 * CHUNK]
    assert len(staged) == 1
    data = bytearray(staged[0].read_bytes())
    change(data)
    staged[0].write_bytes(data)


def test_staged_bytes_that_changed_are_read_again(tmp_path: Path) -> None:
    world = large_world(files=1)
    good = world.files[ONE]
    bad = world.data().refs[10]
    broken(world, ONE, bad.offset + 100)
    run(world, tmp_path, **SMALL_READS)
    world.files[ONE] = good

    def flip(data: bytearray) -> None:
        data[5] ^= 1

    change_staged(tmp_path, flip)
    again = run(world, tmp_path, old=False, **SMALL_READS)
    assert again.report.ok
    assert (tmp_path / "large0").read_bytes() == world.expected["large0"]
    assert again.report.counters.bytes_resumed == 18 * CHUNK


def test_staged_file_that_is_all_wrong_starts_afresh(tmp_path: Path) -> None:
    world = large_world(files=1)
    good = world.files[ONE]
    broken(world, ONE, world.data().refs[10].offset + 100)
    run(world, tmp_path, **SMALL_READS)
    world.files[ONE] = good

    def wipe(data: bytearray) -> None:
        data[:] = b"\xee" * len(data)

    change_staged(tmp_path, wipe)
    again = run(world, tmp_path, old=False, **SMALL_READS)
    assert again.report.ok
    assert again.report.counters.bytes_resumed == 0
    assert (tmp_path / "large0").read_bytes() == world.expected["large0"]


def test_staged_file_that_cannot_be_taken_over_starts_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = large_world(files=1)
    good = world.files[ONE]
    broken(world, ONE, world.data().refs[10].offset + 100)
    run(world, tmp_path, **SMALL_READS)
    world.files[ONE] = good

    def refuse(self: Staging, number: int, *args: object, **kwargs: object) -> None:
        self.discard(number)
        raise StagingError("it vanished")

    monkeypatch.setattr(Staging, "accept", refuse)
    again = run(world, tmp_path, old=False, **SMALL_READS)
    assert again.report.ok
    assert again.report.counters.bytes_resumed == 0


def test_nothing_is_left_after_a_complete_run(tmp_path: Path) -> None:
    world = two_containers()
    assert run(world, tmp_path).report.ok
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(world.expected)


@pytest.mark.parametrize("seed", range(6))
def test_interrupted_again_and_again_comes_to_an_end(tmp_path: Path, seed: int) -> None:
    world = large_world(8)
    source = random.Random(seed)
    prepare(world, tmp_path)
    options = RestoreOptions(
        jobs=1 + seed % 3, durability=Durability.NONE, max_gap=0, max_read=RECORD,
        checkpoint_bytes=1,
    )  # fmt: skip
    reports = []
    for _ in range(12):
        store = FailingStore(world.store(), Cancelled, at=source.randrange(2, 9), once=False)
        with TargetRoot(tmp_path) as root:
            reports.append(restore_files(world.requests, store, root, options=options))
        for name, data in world.expected.items():
            assert (tmp_path / name).read_bytes() in (OLD, data)
    last = run(world, tmp_path, old=False)
    assert last.report.ok
    for name, data in world.expected.items():
        assert (tmp_path / name).read_bytes() == data


def test_cut_answers_and_a_vendor_order_change_nothing_of_a_resume(tmp_path: Path) -> None:
    world = large_world(files=1)
    bad = world.data().refs[10]
    good = world.files[ONE]
    broken(world, ONE, bad.offset + 100)

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        size = 5000
        return [
            ContainerExtent(index=index, offset=at, length=size)
            for index, path in enumerate(containers)
            for at in reversed(range(0, len(world.files[path]), size))
        ]

    job = run(world, tmp_path, CuttingStore(ordered(world, order), 1000), **SMALL_READS)
    job.check()
    assert job.failed() == {"large0"}
    world.files[ONE] = good
    again = run(world, tmp_path, Fake(ordered(world, order)), old=False, **SMALL_READS)
    assert again.report.ok
    assert again.report.counters.bytes_resumed == 19 * CHUNK
