"""Ranges that the stub itself holds: they win over the chunks, or the file fails."""

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from rehydrate.conformance import Gap, World
from rehydrate.errors import Cancelled, RequestError, StoreContractError, StoreReadError
from rehydrate.requests import OwnExtent, RestoreRequest
from rehydrate.results import FileStatus
from rehydrate.values import FileExtent, ReadableBuffer
from tests.conformance.jobs import ONE, Job, broken, noise, run

Read = Callable[[int, int], ReadableBuffer]


def own(offset: int, length: int, read: Read | None = None) -> OwnExtent:
    def newer(at: int, size: int) -> bytes:
        return b"N" * size

    return OwnExtent(FileExtent(offset, length), read or newer)


@pytest.fixture
def world() -> World:
    world = World()
    world.file("other", [world.chunk(noise(9))])
    world.file("f", [world.chunk(noise(1)), world.chunk(noise(2)), Gap(3000)])
    return world.seal()


def restore(world: World, out: Path, *extents: OwnExtent, size: int | None = None) -> Job:
    request = attrs.evolve(world.requests[1], own_data=extents, size=size)
    data = bytearray(world.expected["f"].ljust(size or 0, b"\0"))
    for extent in extents:
        if extent.extent.end <= len(data):
            data[extent.extent.offset : extent.extent.end] = b"N" * extent.extent.length
    world.expected["f"] = bytes(data)
    return run(world, out, requests=[world.requests[0], request])


def test_own_data_win_over_chunks(tmp_path: Path, world: World) -> None:
    job = restore(world, tmp_path, own(10, 20), own(990, 20), own(4000, 1000))
    job.check()
    assert job.report.ok
    assert job.report[1].recall is None


def test_known_to_be_none_is_the_plain_case(tmp_path: Path, world: World) -> None:
    job = restore(world, tmp_path)
    job.check()
    assert job.report.ok


def test_file_of_one_chunk_with_own_data(tmp_path: Path) -> None:
    world = World()
    world.file("other", [world.chunk(noise(9))])
    world.file("f", [world.chunk(noise(1))])
    job = restore(world, tmp_path, own(0, 5), own(995, 5))
    job.check()
    assert job.report.ok


def test_own_data_behind_the_end_of_the_map(tmp_path: Path, world: World) -> None:
    job = restore(world, tmp_path, own(6000, 1000), size=7000)
    job.check()
    assert job.report.ok
    assert job.report[1].size == 7000


def test_large_own_data_come_in_pieces(tmp_path: Path) -> None:
    world = World()
    world.file("other", [world.chunk(noise(9))])
    world.file("f", [world.chunk(noise(1)), Gap(3 << 20)])
    asked: list[tuple[int, int]] = []

    def read(offset: int, size: int) -> bytearray:
        asked.append((offset, size))
        return bytearray(b"N" * size)

    job = restore(world, tmp_path, own(1000, 3 << 20, read))
    job.check()
    assert job.report.ok
    assert asked == [(1000 + n * (1 << 20), 1 << 20) for n in range(3)]


def raising(error: Exception) -> Read:
    def read(offset: int, size: int) -> bytes:
        raise error

    return read


@pytest.mark.parametrize(
    ("extent", "error"),
    [
        pytest.param(own(0, 5, raising(OSError("x"))), StoreReadError, id="os-error"),
        pytest.param(own(0, 5, raising(StopIteration())), StoreReadError, id="stop-iteration"),
        pytest.param(own(0, 5, lambda at, size: b"abc"), StoreContractError, id="short"),
        pytest.param(own(0, 5, lambda at, size: b"abcdef"), StoreContractError, id="long"),
        pytest.param(own(0, 5, lambda at, size: None), StoreContractError, id="none"),  # type: ignore[arg-type,return-value] # wrong on purpose
        pytest.param(own(0, 5, lambda at, size: "abcde"), StoreContractError, id="text"),  # type: ignore[arg-type,return-value] # wrong on purpose
        pytest.param(
            own(0, 5, lambda at, size: memoryview(b"a.b.c.d.e.")[::2]),
            StoreContractError,
            id="strided",
        ),
        pytest.param(own(4990, 20), RequestError, id="behind-the-end"),
        pytest.param(own(2**62, 5), RequestError, id="far-behind-the-end"),
    ],
)
def test_own_data_that_cannot_be_had_fail_the_file(
    tmp_path: Path, world: World, extent: OwnExtent, error: type[Exception]
) -> None:
    job = restore(world, tmp_path, extent)
    job.check()
    assert job.failed() == {"f"}
    assert isinstance(job.error_of("f"), error)


def test_own_data_that_cancel_end_the_job(tmp_path: Path, world: World) -> None:
    job = restore(world, tmp_path, own(0, 5, raising(Cancelled())))
    job.check(cancelled=True)
    assert job.statuses()["f"] is FileStatus.CANCELLED


def test_own_data_of_a_file_that_failed_are_not_asked_for(tmp_path: Path, world: World) -> None:
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(offset)
        return bytes(size)

    broken(world, ONE, world.data().refs[1].offset + 100)
    job = restore(world, tmp_path, own(0, 5, read))
    job.check()
    assert job.failed() == {"f"}
    assert asked == []


def test_own_data_of_an_empty_file_fail_it(tmp_path: Path) -> None:
    world = World()
    world.file("other", [world.chunk(noise(9))])
    world.file("f", [])
    job = restore(world, tmp_path, own(0, 5))
    job.check()
    assert job.failed() == {"f"}


def test_request_keeps_its_extents() -> None:
    extent = own(0, 5)
    assert RestoreRequest(b"", "x", own_data=(extent,)).own_data == (extent,)
