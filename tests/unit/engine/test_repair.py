"""Repair rounds over real containers: what is found again, what it costs, what stays lost."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate.conformance import MemoryStore, World
from rehydrate.conformance.faults import ORDER
from rehydrate.errors import ContainerNotFoundError, CorruptMetadataError, FormatError
from rehydrate.results import RoundStarted
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath
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
    whole,
)

NEW = StorePath("Data/00000001.00000002.rhc")


def with_second_copy(world: World, number: int) -> None:
    """Break a record and put a copy of it at the end of the container."""
    ref = world.data().refs[number]
    world.data().chunk(noise(number))
    world.seal()
    broken(world, ONE, ref.offset + ref.length - 1)


def test_second_copy_in_the_same_container_is_found(tmp_path: Path) -> None:
    world = one_container(3)
    with_second_copy(world, 1)
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok


@pytest.mark.parametrize("most", [64, 500, 4096])
def test_repair_reads_in_pieces_where_reads_are_small(tmp_path: Path, most: int) -> None:
    world = one_container(3)
    with_second_copy(world, 1)
    job = run(world, tmp_path, max_read=most, max_gap=0)
    job.check()
    assert job.report.ok
    assert max(call.size for call in job.store.reads) <= most


@pytest.mark.parametrize("most", [64, 500])
def test_stale_reference_where_reads_are_small(tmp_path: Path, most: int) -> None:
    world = one_container(3)
    world.move(1)
    job = run(world, tmp_path, max_read=most)
    job.check()
    assert job.report.ok


def test_walk_goes_over_many_pieces_and_stops_at_the_end(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(noise(1))
    world.file("f", [chunk])
    for number in range(2, 12):
        world.chunk(noise(number, 200_000))
    with_second_copy_of(world, chunk.offset + chunk.length - 1)
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    size = len(world.files[ONE])
    assert all(call.offset <= size for call in job.store.reads)
    assert job.store.bytes_given < 2 * size + 10_000


def with_second_copy_of(world: World, place: int) -> None:
    world.data().chunk(noise(1))
    world.seal()
    broken(world, ONE, place)


class Strict(MemoryStore):
    """Raises where a read goes beyond the end, as the contract allows."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        data = super().read_backup_file(path, offset, size)
        if len(data) < size:
            raise OSError(22, "beyond the end")
        return data


def test_store_that_raises_beyond_the_end_is_walked_up_to_there(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(noise(1))
    world.file("f", [chunk])
    world.data().chunk(noise(1))
    for number in range(2, 12):
        world.chunk(noise(number, 200_000))
    world.seal()
    broken(world, ONE, chunk.offset + chunk.length - 1)
    job = run(world, tmp_path, Strict(world.files))
    job.check()
    assert job.report.ok


def test_store_that_raises_beyond_the_end_tells_the_size_in_its_order(tmp_path: Path) -> None:
    world = one_container(3)
    with_second_copy(world, 2)

    def exact(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        return [
            ContainerExtent(index=index, length=len(world.files[path]))
            for index, path in enumerate(containers)
        ]

    job = run(world, tmp_path, Fake(Strict(world.files), order_containers_restore=exact))
    job.check()
    assert job.report.ok


def test_other_generation_for_a_store_that_raises_beyond_the_end(tmp_path: Path) -> None:
    world = one_container(3)
    world.move(1)
    for number in range(5):
        world.data(1, 2).chunk(noise(50 + number, 200_000))
    world.files[NEW] = world.data(1, 2).committed()
    job = run(world, tmp_path, Strict(world.files))
    job.check()
    assert job.report.ok


def test_walk_in_extents_that_come_in_another_order(tmp_path: Path) -> None:
    world = one_container(4)
    with_second_copy(world, 1)
    cut = 4096 + 2 * (1072 + 8192)

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        return [
            ContainerExtent(index=0, offset=cut, length=MAX_OFFSET),
            ContainerExtent(index=0, length=cut),
        ]

    job = run(world, tmp_path, ordered(world, order))
    job.check()
    assert job.report.ok


def test_container_left_out_in_the_repair_round_only(tmp_path: Path) -> None:
    world = two_containers()
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    broken(world, TWO, world.data(2).refs[0].offset + 90)
    calls = []

    def order(containers: Sequence[StorePath]) -> list[ContainerExtent]:
        calls.append(tuple(containers))
        left_out = len(calls) > 2 and TWO in containers and ONE in containers
        return whole(containers.index(ONE)) if left_out else whole(*range(len(containers)))

    job = run(world, tmp_path, ordered(world, order))
    job.check()
    assert job.failed() == {"one", "two", "mapped"}
    assert calls[2] == (ONE, TWO)
    assert all(TWO not in containers for containers in calls[3:])


def test_error_of_the_first_failure_is_the_one_reported(tmp_path: Path) -> None:
    world = one_container(2)
    broken(world, ONE, world.data().refs[0].offset + 90)
    job = run(world, tmp_path)
    error = job.error_of("f0")
    assert isinstance(error, FormatError)
    assert error.container == ONE
    assert error.offset == world.data().refs[0].offset
    assert error.file == "f0"
    assert error.resumable


@pytest.mark.parametrize("damage", ["header", "entry", "gone"])
def test_damaged_tombstone_leaves_the_listing(tmp_path: Path, damage: str) -> None:
    world = one_container(2)
    moved = world.move(1)
    if damage == "header":
        broken(world, ONE, 30)
    elif damage == "entry":
        broken(world, ONE, 4096 + 3)
        broken(world, ONE, 4096 + 40 + 3)
    else:
        world.files[ONE] = world.data().tombstone([None] * len(moved))
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert job.store.named("list_containers")


def test_tombstone_that_leads_nowhere(tmp_path: Path) -> None:
    world = one_container(2)
    world.move(1)
    del world.files[NEW]
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"f0", "f1"}
    assert len(job.store.named(ORDER)) <= 5


def test_tombstone_that_leads_to_itself(tmp_path: Path) -> None:
    world = one_container(2)
    world.files[ONE] = world.data().tombstone(world.data().refs)
    events = Events()
    job = run(world, tmp_path, observer=events)
    job.check()
    assert job.failed() == {"f0", "f1"}
    assert len(events.of(RoundStarted)) <= 1 + 4


def test_foreign_container_in_the_place(tmp_path: Path) -> None:
    world, other = one_container(2), World()
    other.chunk(b"something else entirely")
    other.seal()
    world.files[ONE] = other.files[ONE]
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"f0", "f1"}


def test_missing_container_is_said_even_if_a_listing_has_it(tmp_path: Path) -> None:
    world = one_container(2)
    store = Fake(
        MemoryStore({}), list_containers=lambda folder: ["00000001.00000001.rhc", "x", "..."]
    )
    job = run(world, tmp_path, store)
    job.check()
    assert isinstance(job.error_of("f0"), ContainerNotFoundError)
    assert not isinstance(job.error_of("f0"), CorruptMetadataError)


def test_one_repair_round_serves_all_lost_records(tmp_path: Path) -> None:
    world = one_container(30)
    good = world.files[ONE]
    for ref in world.data().refs:
        broken(world, ONE, ref.offset + 100)
    broken_bytes = world.files[ONE]
    rounds: list[int] = []

    def order(containers: Sequence[StorePath]) -> None:
        rounds.append(1)
        world.files[ONE] = broken_bytes if len(rounds) == 1 else good

    job = run(world, tmp_path, ordered(world, order))
    job.check()
    assert job.report.ok
    assert len(rounds) == 2
