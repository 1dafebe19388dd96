"""CC-SIZE: short answers, long ones, and objects of every kind that are or are not bytes."""

import array
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rehydrate.conformance import CuttingStore, World
from rehydrate.engine.blocks import RecordConsumer
from rehydrate.errors import ShortReadError, StoreContractError
from rehydrate.results import FileStatus
from rehydrate.values import StorePath
from tests.conformance.jobs import ONE, Fake, noise, one_container, run

Answer = Callable[[bytes], object]


def answering(world: World, answer: Answer, only: int | None = None) -> Fake:
    """Return a store whose answers are wrapped: all, or those of one record."""

    def read(path: StorePath, offset: int, size: int) -> object:
        data = world.files[path][offset : offset + size]
        if only is not None and offset != world.data().refs[only].offset:
            return data
        return answer(data)

    class Odd(Fake):
        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            return read(path, offset, size)  # type: ignore[return-value] # wrong on purpose

    return Odd(world.store())


def mapped(data: bytes) -> mmap.mmap:
    room = mmap.mmap(-1, len(data))
    room[:] = data
    return room


class Text(bytes):
    """A subclass that claims another length and other bytes."""

    __slots__ = ()

    def __len__(self) -> int:
        return 7

    def __getitem__(self, key: object) -> bytes:  # type: ignore[override] # lies
        return b"x"


@pytest.mark.rule("CC-SIZE-3")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(bytes, id="bytes"),
        pytest.param(Text, id="bytes-subclass"),
        pytest.param(bytearray, id="bytearray"),
        pytest.param(memoryview, id="read-only-view"),
        pytest.param(lambda data: memoryview(bytearray(data)), id="writable-view"),
        pytest.param(lambda data: memoryview(b"  " + data)[2:], id="view-of-a-part"),
        pytest.param(lambda data: array.array("I", data), id="array-of-words"),
        pytest.param(lambda data: np.frombuffer(data, np.uint8), id="numpy"),
        pytest.param(lambda data: np.frombuffer(data, np.uint8).reshape(4, -1), id="numpy-2d"),
        pytest.param(mapped, id="mmap"),
    ],
)
def test_any_contiguous_buffer_will_do(tmp_path: Path, answer: Answer) -> None:
    world = one_container()
    job = run(world, tmp_path, answering(world, answer))
    job.check()
    assert job.report.ok, job.report.errors


class Raises:
    """Looks like a buffer until one looks."""

    def __buffer__(self, flags: int) -> memoryview:
        raise ZeroDivisionError


@pytest.mark.rule("CC-SIZE-3")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda data: memoryview(data * 2)[::2], id="strided-view"),
        pytest.param(lambda data: np.asfortranarray(np.ones((8, 9), np.uint8)), id="fortran"),
        pytest.param(lambda data: None, id="none"),
        pytest.param(lambda data: "text", id="text"),
        pytest.param(lambda data: 5, id="number"),
        pytest.param(list, id="list-of-numbers"),
        pytest.param(lambda data: (byte for byte in data), id="generator"),
        pytest.param(lambda data: Raises(), id="raises"),
    ],
)
def test_anything_else_costs_the_files_of_the_read(tmp_path: Path, answer: Answer) -> None:
    world = one_container()
    job = run(world, tmp_path, answering(world, answer, only=1))
    job.check()
    assert job.failed() == {"f1"}
    error = job.error_of("f1")
    assert isinstance(error, StoreContractError)
    assert (error.container, error.offset) == (ONE, world.data().refs[1].offset)


@pytest.mark.rule("CC-SIZE-2")
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_too_many_bytes_cost_the_files_of_the_read(tmp_path: Path, kind: Answer) -> None:
    world = one_container()
    job = run(world, tmp_path, answering(world, lambda data: kind(data + b"!"), only=2))
    job.check()
    assert job.failed() == {"f2"}
    assert isinstance(job.error_of("f2"), StoreContractError)


@pytest.mark.rule("CC-SIZE-2", "CC-THREAD-6")
def test_refused_buffer_is_let_go(tmp_path: Path) -> None:
    world = one_container()
    room = bytearray()

    def answer(data: bytes) -> bytearray:
        room[:] = data + b"too long"  # BufferError if a view of it is still alive
        return room

    job = run(world, tmp_path, answering(world, answer))
    job.check()
    for name in job.failed():
        assert isinstance(job.error_of(name), StoreContractError)
    room[:] = b""


@pytest.mark.rule("CC-SIZE-1", "CC-READ-2")
@pytest.mark.parametrize("most", [300, 1071])
def test_short_answers_are_continued(tmp_path: Path, most: int) -> None:
    world = one_container()
    job = run(world, tmp_path, CuttingStore(world.store(), most))
    job.check()
    assert job.report.ok
    assert job.report.counters.bytes_read == job.store.bytes_given


@pytest.mark.rule("CC-SIZE-1")
def test_number_of_continuations_is_limited(tmp_path: Path) -> None:
    world = World()
    world.file("f", [world.chunk(noise(1, 40_000))])
    size = 40_072
    enough = size // (5 + size // 4096) + 1
    job = run(world, tmp_path / "enough", CuttingStore(world.store(), enough))
    job.check()
    assert job.report.ok
    job = run(world, tmp_path / "tiny", CuttingStore(world.store(), 100))
    job.check()
    assert not job.report.ok
    first = [call for call in job.store.reads if call.offset + call.size == 4096 + size]
    continued = 1 + 4 + size // 4096
    assert [call.offset for call in first[:continued]] == [4096 + 100 * n for n in range(continued)]
    error = job.error_of("f")
    assert isinstance(error, ShortReadError)
    assert (error.wanted, error.got) == (size, 100 * continued)
    assert error.retryable


@pytest.mark.rule("CC-SIZE-1")
@pytest.mark.parametrize("have", [0, 1, 500])
def test_empty_answer_ends_a_read(tmp_path: Path, have: int) -> None:
    world = one_container(2)
    start = world.data().refs[1].offset
    world.files[ONE] = world.files[ONE][: start + have]
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"f1"}
    error = job.error_of("f1")
    assert isinstance(error, ShortReadError)
    assert (error.offset, error.wanted, error.got) == (start, 1072, have)


class Reused:
    """A store that has one buffer and goes on writing into it after each return."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._room = bytearray(1 << 20)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> memoryview:
        self._room[:] = b"\xee" * len(self._room)
        self._room[:size] = self._world.files[path][offset : offset + size]
        return memoryview(self._room)[:size]


@pytest.mark.rule("CC-SIZE-4", "CC-THREAD-6")
@pytest.mark.parametrize("jobs", [1, 3])
def test_buffer_may_be_used_again_after_each_return(tmp_path: Path, jobs: int) -> None:
    world = World()
    for number in range(40):
        world.file(f"f{number}", [world.chunk(noise(number, 20_000))])
        world.data().pad(8192)
    world.seal()
    job = run(world, tmp_path, Reused(world), jobs=jobs)
    job.check()
    assert job.report.ok
    assert job.report.counters.repair_bytes == 0


@pytest.mark.rule("CC-SIZE-4")
def test_bytes_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = one_container()
    seen: list[object] = []
    given: list[bytes] = []

    def read(path: StorePath, offset: int, size: int) -> bytes:
        given.append(world.files[path][offset : offset + size])
        return given[-1]

    def spy(original: Callable[..., None]) -> Callable[..., None]:
        def consume(self: object, batch: Sequence[tuple[int, memoryview]]) -> None:
            seen.extend(view.obj for _, view in batch)
            original(self, batch)

        return consume

    monkeypatch.setattr(RecordConsumer, "consume", spy(RecordConsumer.consume))

    class Plain(Fake):
        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            return read(path, offset, size)

    job = run(world, tmp_path, Plain(world.store()))
    assert job.report.ok
    assert len(seen) == 4
    assert all(any(one is other for other in given) for one in seen)


@pytest.mark.rule("CC-SIZE-5")
def test_more_files_than_com_allows(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(b"tiny")
    for number in range(10_001):
        world.file(f"{number}", [chunk])
    job = run(world, tmp_path, old=False)
    assert job.report.counts == {FileStatus.RESTORED: 10_001}
    assert len(job.store.reads) == 1
