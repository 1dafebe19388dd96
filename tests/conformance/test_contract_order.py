"""CC-ORDER: the order call and its answer."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rehydrate.conformance.faults import READ
from rehydrate.errors import (
    ContainerNotFoundError,
    StoreContractError,
    StoreReadError,
)
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath
from tests.conformance.jobs import (
    MAPS,
    OLD,
    ONE,
    TWO,
    Fake,
    broken,
    one_container,
    ordered,
    prepare,
    run,
    two_containers,
    whole,
)

Containers = Sequence[StorePath]


def extent(index: int, offset: int, end: int) -> ContainerExtent:
    return ContainerExtent(index=index, offset=offset, length=end - offset)


@pytest.mark.rule("CC-ORDER-1")
def test_containers_come_once_each_sorted_and_cannot_be_changed(tmp_path: Path) -> None:
    world = two_containers()
    seen: list[Containers] = []

    def order(containers: Containers) -> None:
        seen.append(containers)
        with pytest.raises((TypeError, AttributeError)):
            containers[0] = StorePath("x")  # type: ignore[index] # tries what must not work

    job = run(world, tmp_path, ordered(world, order), requests=world.requests[::-1])
    assert job.report.ok
    assert [tuple(each) for each in seen] == [(MAPS,), (ONE, TWO)]


@pytest.mark.rule("CC-ORDER-2", "CC-ORDER-3")
def test_reads_follow_the_order_of_the_answer(tmp_path: Path) -> None:
    world = two_containers()
    second = world.data(1).refs[1].offset

    def order(containers: Containers) -> list[ContainerExtent]:
        if containers == (MAPS,):
            return whole(0)
        return [extent(0, second, MAX_OFFSET), *whole(1), extent(0, 0, second)]

    job = run(world, tmp_path, ordered(world, order))
    job.check()
    assert job.report.ok
    refs, others = world.data(1).refs, world.data(2).refs
    expected = [(ONE, ref.offset) for ref in refs[1:]] + [(TWO, ref.offset) for ref in others]
    expected.append((ONE, refs[0].offset))
    assert [(call.path, call.offset) for call in job.store.reads[1:]] == expected


@pytest.mark.rule("CC-ORDER-2")
def test_answer_may_be_a_generator_and_is_taken_over(tmp_path: Path) -> None:
    world = two_containers()
    kept: list[ContainerExtent] = []
    threads: set[int] = set()

    def order(containers: Containers) -> Iterator[ContainerExtent]:
        threads.add(threading.get_ident())
        yield from whole(*reversed(range(len(containers))))

    def listed(containers: Containers) -> list[ContainerExtent]:
        kept[:] = order(containers)
        return kept

    def preview(path: StorePath, reads: object) -> None:
        kept.clear()

    job = run(world, tmp_path / "a", ordered(world, order))
    assert job.report.ok
    assert threads == {call.thread for call in job.store.calls}
    store = Fake(ordered(world, listed), preview_container_read=preview)
    job = run(world, tmp_path / "b", store)
    job.check()
    assert [call.path for call in job.store.reads] == [MAPS] + [TWO] * 3 + [ONE] * 3


@pytest.mark.rule("CC-ORDER-2")
def test_extents_are_made_by_keyword() -> None:
    with pytest.raises(TypeError):
        ContainerExtent(0, 1, 2)  # type: ignore[call-arg] # tries what must not work


@pytest.mark.rule("CC-ORDER-4")
def test_end_beyond_the_largest_offset_is_cut(tmp_path: Path) -> None:
    world = one_container()
    cut = world.data().refs[2].offset
    answer = [
        ContainerExtent(index=0, offset=cut, length=MAX_OFFSET),
        ContainerExtent(index=0, offset=0, length=cut),
    ]
    job = run(world, tmp_path, ordered(world, lambda containers: answer))
    job.check()
    assert job.report.ok
    assert job.store.reads[0].offset == cut


@pytest.mark.rule("CC-ORDER-5", "CC-ORDER-10")
@pytest.mark.parametrize(
    "nothing",
    [
        pytest.param([], id="empty"),
        pytest.param([ContainerExtent(index=0, offset=5, length=0)], id="zero-lengths-only"),
        pytest.param(None, id="none"),
    ],
)
def test_nothing_leaves_the_order_to_the_engine(tmp_path: Path, nothing: object) -> None:
    world = two_containers()
    job = run(world, tmp_path, ordered(world, lambda containers: nothing))
    job.check()
    assert job.report.ok
    places = [(call.path or "", call.offset) for call in job.store.reads[1:]]
    assert places == sorted(places)


@pytest.mark.rule("CC-ORDER-10")
def test_not_implemented_leaves_the_order_to_the_engine(tmp_path: Path) -> None:
    world = two_containers()

    def order(containers: Containers) -> None:
        raise NotImplementedError

    job = run(world, tmp_path / "raises", ordered(world, order))
    assert job.report.ok
    missing = Fake(world.store(), order_containers_restore=None)
    assert run(world, tmp_path / "missing", missing).report.ok


@pytest.mark.rule("CC-ORDER-5")
def test_zero_lengths_between_others_are_ignored(tmp_path: Path) -> None:
    world = one_container()
    answer = [ContainerExtent(index=0, length=0), *whole(0), ContainerExtent(index=0, length=0)]
    job = run(world, tmp_path, ordered(world, lambda containers: answer))
    job.check()
    assert job.report.ok
    assert job.report.counters.previews == 1


class Sneaky(int):
    """An int that is none."""


@pytest.mark.rule("CC-ORDER-6")
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([ContainerExtent(index=2)], id="foreign"),
        pytest.param([ContainerExtent(index=-1)], id="negative-index"),
        pytest.param([ContainerExtent(index=0, offset=-1)], id="negative-offset"),
        pytest.param([ContainerExtent(index=0, length=-1)], id="negative-length"),
        pytest.param([ContainerExtent(index=0, offset=2**63)], id="offset-too-large"),
        pytest.param([ContainerExtent(index=0, length=2**63)], id="length-too-large"),
        pytest.param([ContainerExtent(index=True)], id="bool"),
        pytest.param([ContainerExtent(index=Sneaky(0))], id="subclass"),
        pytest.param([ContainerExtent(index=0, offset=1.0)], id="float"),  # type: ignore[arg-type] # on purpose
        pytest.param([(0, 0, 5)], id="tuple"),
        pytest.param(["x"], id="text"),
        pytest.param("Data", id="a-text"),
        pytest.param(7, id="no-iterable"),
    ],
)
def test_bad_answer_ends_the_job_before_any_read(tmp_path: Path, bad: object) -> None:
    world = two_containers()
    prepare(world, tmp_path)
    reads: list[StorePath] = []

    def order(containers: Containers) -> object:
        return whole(0) if containers == (MAPS,) else bad

    def read(path: StorePath, offset: int, size: int) -> bytes:
        reads.append(path)
        return world.files[path][offset : offset + size]

    with pytest.raises(StoreContractError):
        run(world, tmp_path, Fake(ordered(world, order), read_backup_file=read))
    assert reads == [MAPS]
    assert all((tmp_path / name).read_bytes() == OLD for name in world.expected)


@pytest.mark.rule("CC-ORDER-7")
def test_overlapping_bytes_are_read_in_the_first_extent_only(tmp_path: Path) -> None:
    world = one_container()
    refs = world.data().refs
    answer = [
        extent(0, refs[2].offset, refs[3].offset),
        *whole(0),
        extent(0, 0, refs[1].offset),
    ]
    job = run(world, tmp_path, ordered(world, lambda containers: answer))
    job.check()
    assert job.report.ok
    assert [call.offset for call in job.store.reads] == [refs[n].offset for n in (2, 0, 1, 3)]
    assert job.store.bytes_given == job.report.counters.bytes_needed


@pytest.mark.rule("CC-ORDER-8")
def test_container_without_extent_costs_its_files_only(tmp_path: Path) -> None:
    world = two_containers()

    def order(containers: Containers) -> list[ContainerExtent]:
        return whole(containers.index(ONE)) if ONE in containers else whole(0)

    job = run(world, tmp_path, ordered(world, order))
    job.check()
    assert job.failed() == {"two", "both", "mapped"}
    for name in job.failed():
        error = job.error_of(name)
        assert isinstance(error, ContainerNotFoundError)
        assert error.container == TWO
    assert TWO not in {call.path for call in job.store.reads}


@pytest.mark.rule("CC-ORDER-9")
@pytest.mark.parametrize("hole", ["front", "middle", "back"])
def test_partly_covered_container_ends_the_job_before_any_data_is_read(
    tmp_path: Path, hole: str
) -> None:
    world = one_container()
    ref = world.data().refs[1]
    middle = ref.offset + ref.length // 2
    answer = {
        "front": [extent(0, middle, MAX_OFFSET)],
        "middle": [extent(0, 0, middle), extent(0, middle + 1, MAX_OFFSET)],
        "back": [extent(0, 0, middle)],
    }[hole]
    prepare(world, tmp_path)
    store = Fake(ordered(world, lambda containers: answer), read_backup_file=_never)
    with pytest.raises(StoreContractError):
        run(world, tmp_path, store)
    assert all((tmp_path / name).read_bytes() == OLD for name in world.expected)


def _never(path: StorePath, offset: int, size: int) -> bytes:
    raise AssertionError((path, offset, size))


@pytest.mark.rule("CC-ORDER-9")
def test_extents_of_the_exact_size_of_each_container_are_fine_in_repairs(tmp_path: Path) -> None:
    world = two_containers()
    ref = world.data(1).refs[0]
    broken(world, ONE, ref.offset + ref.length - 1)
    copy = world.data(1).chunk(noise_of(world, "one"))
    good = world.data(1).committed()
    world.files[ONE] = world.files[ONE][: copy.offset] + good[copy.offset :]

    def exact(containers: Containers) -> list[ContainerExtent]:
        return [
            ContainerExtent(index=index, length=len(world.files[path]))
            for index, path in enumerate(containers)
        ]

    job = run(world, tmp_path, ordered(world, exact))
    job.check()
    assert job.report.ok, "the record walk did not find the second copy"
    ends = [call.offset + call.size for call in job.store.reads if call.path == ONE]
    assert max(ends) <= len(world.files[ONE])


def noise_of(world: object, name: str) -> bytes:
    data: bytes = world.expected[name]  # type: ignore[attr-defined] # a world
    return data


@pytest.mark.rule("CC-ORDER-11")
@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(lambda: itertools.repeat(ContainerExtent(index=0)), id="extents"),
        pytest.param(lambda: itertools.repeat(ContainerExtent(index=0, length=0)), id="zeros"),
    ],
)
def test_endless_answer_is_a_contract_error(
    tmp_path: Path, endless: Callable[[], Iterator[ContainerExtent]]
) -> None:
    world = one_container()
    with pytest.raises(StoreContractError, match="more than"):
        run(world, tmp_path, ordered(world, lambda containers: endless()))


@pytest.mark.rule("CC-ORDER-11")
def test_limit_counts_64_for_each_container_and_the_option(tmp_path: Path) -> None:
    world = one_container()
    for extra, good in ((64 + 5, True), (64 + 6, False)):
        answer = whole(*[0] * extra)
        store = ordered(world, lambda containers, answer=answer: answer)  # type: ignore[misc] # a default binds it
        if good:
            assert run(world, tmp_path, store, max_extents=5).report.ok
        else:
            with pytest.raises(StoreContractError):
                run(world, tmp_path, store, max_extents=5)


@pytest.mark.rule("CC-ORDER-12", "CC-ERR-4")
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "in-the-generator"])
def test_exception_from_the_order_call_fails_the_files_of_the_job(
    tmp_path: Path, *, late: bool
) -> None:
    world = two_containers()

    def answers(containers: Containers) -> Iterator[ContainerExtent]:
        yield from whole(0)
        raise ZeroDivisionError("no tape")

    def fails(containers: Containers) -> object:
        raise ZeroDivisionError("no tape")

    job = run(world, tmp_path, ordered(world, answers if late else fails))
    job.check()
    assert job.failed() == set(world.expected)
    error = job.error_of("one")
    assert isinstance(error, StoreReadError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert job.store.named(READ) == []


@pytest.mark.rule("CC-ORDER-12")
@pytest.mark.parametrize("error", [StopIteration(), FileNotFoundError("index"), KeyError("x")])
def test_any_exception_from_the_order_call_is_typed(tmp_path: Path, error: Exception) -> None:
    world = one_container()

    def fails(containers: Containers) -> object:
        raise error

    job = run(world, tmp_path, ordered(world, fails))
    job.check()
    found = job.error_of("f0")
    assert isinstance(found, StoreReadError)
    assert "None" not in str(found)
