"""Stream maps: inline and in parts, shared and split, and hostile ones that cost one file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rehydrate.chunks import Rows
from rehydrate.conformance import Gap, World
from rehydrate.conformance.world import STORE, rows_of
from rehydrate.errors import FormatError, LimitError, RestoreError
from rehydrate.formats.native.layout import MAP_INLINE, MAP_PARTS
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.requests import RestoreRequest
from rehydrate.values import StorePath
from tests.conformance.jobs import MAPS, Fake, broken, noise, run


def test_inline_maps_and_maps_in_parts_keep_the_order_of_the_files(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number)) for number in range(6)]
    world.file("a", chunks[:2])
    world.mapped_file("b", [chunks[:3], chunks[3:]])
    world.file("c", [])
    world.mapped_file("d", [chunks[4:], [Gap(5000), chunks[0]]])
    world.file("e", [chunks[5], Gap(4096, hole=True)])
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok


def test_part_that_two_files_share_is_read_once(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number)) for number in range(5)]
    world.mapped_file("a", [chunks])
    stub = world.requests[0].stub
    world.expected["b"] = world.expected["a"]
    world.requests.append(RestoreRequest(stub, "b"))
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert [call.path for call in job.store.reads].count(MAPS) == 1


def with_rows(world: World, change: Callable[[Rows], object]) -> World:
    """Return a world with a good file, and one whose map was changed and sealed again."""
    chunks = [world.chunk(noise(number)) for number in range(5)]
    world.file("good", chunks[:3])
    rows = rows_of(chunks)
    changed = change(rows)
    rows = changed if isinstance(changed, np.ndarray) else rows
    part = rows_of([world.stream().map_part(rows)])
    part["end"] = 5000
    stub = NativeStub(store=STORE, size=5000, map_kind=MAP_PARTS, rows=part)
    world.expected["bad"] = b""
    world.requests.append(RestoreRequest(encode_stub(stub), "bad"))
    return world


def setting(field: str, row: int, value: int | bytes) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[field][row] = np.frombuffer(value, "V32")[0] if isinstance(value, bytes) else value

    return change


LARGEST = 2**64 - 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(setting("end", 1, 500), id="goes-backwards"),
        pytest.param(setting("end", 1, 1000), id="empty-row"),
        pytest.param(setting("end", 4, 4999), id="ends-early"),
        pytest.param(setting("end", 4, 5001), id="ends-late"),
        pytest.param(setting("end", 4, LARGEST), id="end-largest"),
        pytest.param(setting("end", 4, 2**63), id="end-sign-bit"),
        pytest.param(setting("offset", 2, LARGEST), id="offset-largest"),
        pytest.param(setting("offset", 2, 2**63 - 1), id="offset-at-the-end"),
        pytest.param(setting("offset", 2, 2**63 - 1072), id="offset-far"),
        pytest.param(setting("length", 2, 0), id="length-zero"),
        pytest.param(setting("length", 2, 1), id="length-one"),
        pytest.param(setting("length", 2, 2**32 - 1), id="length-largest"),
        pytest.param(setting("container", 2, 0), id="no-container"),
        pytest.param(setting("container", 2, 2**32 - 1), id="other-container"),
        pytest.param(setting("digest", 2, bytes(32)), id="other-digest"),
        pytest.param(lambda rows: rows[:0], id="no-rows"),
        pytest.param(lambda rows: rows[:-1], id="a-row-less"),
        pytest.param(lambda rows: np.concatenate([rows, rows]), id="twice"),
        pytest.param(lambda rows: rows[::-1].copy(), id="reversed"),
    ],
)
def test_hostile_map_costs_its_file_only(tmp_path: Path, change: Callable[[Rows], object]) -> None:
    world = with_rows(World(), change)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"bad"}
    assert isinstance(job.error_of("bad"), RestoreError)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(setting("offset", 2, 0), id="offset-in-the-header"),
        pytest.param(setting("generation", 2, 0), id="no-generation"),
        pytest.param(setting("generation", 2, 2**32 - 1), id="other-generation"),
        pytest.param(setting("local_id", 2, 2**32 - 1), id="other-number"),
    ],
)
def test_wrong_place_with_a_right_digest_is_repaired(
    tmp_path: Path, change: Callable[[Rows], object]
) -> None:
    world = with_rows(World(), change)
    world.expected["bad"] = b"".join(noise(number) for number in range(5))
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert job.report.counters.repair_bytes


def test_hostile_map_that_wants_the_bytes_of_another_file(tmp_path: Path) -> None:
    """The same place with another digest is a need of its own; the good file is not harmed."""
    world = with_rows(World(), setting("digest", 0, b"\1" * 32))
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"bad"}


def test_many_rows_over_one_chunk_are_legal(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(b"again " * 10)
    world.mapped_file("f", [[chunk] * 20_000])
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert job.report.counters.bytes_read == chunk.length


def stub_with(rows: Rows, size: int) -> bytes:
    return encode_stub(NativeStub(store=STORE, size=size, map_kind=MAP_PARTS, rows=rows))


def test_part_that_ends_elsewhere_than_the_stub_says(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number)) for number in range(4)]
    world.file("good", chunks[:1])
    first, second = (world.stream().map_part(rows_of(chunks[n : n + 2])) for n in (0, 2))
    rows = rows_of([first, second])
    rows["end"] = [2000, 4000]
    world.expected["bad"] = b""
    world.requests.append(RestoreRequest(stub_with(rows, 4000), "bad"))
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"bad"}
    error = job.error_of("bad")
    assert isinstance(error, FormatError)
    assert error.code == "map.part"


def test_part_that_is_a_data_record(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(noise(1, 640))
    world.file("good", [chunk])
    part = rows_of([chunk])
    part["end"] = 640
    world.expected["bad"] = b""
    world.requests.append(RestoreRequest(stub_with(part, 640), "bad"))
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"bad"}


def test_lost_part_costs_the_files_that_share_it(tmp_path: Path) -> None:
    world = World()
    chunks = [world.chunk(noise(number)) for number in range(5)]
    world.mapped_file("a", [chunks])
    world.expected["b"] = world.expected["a"]
    world.requests.append(RestoreRequest(world.requests[0].stub, "b"))
    world.mapped_file("c", [chunks[1:]])
    world.seal()
    broken(world, MAPS, world.stream().refs[0].offset + 100)
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"a", "b"}


def test_inline_map_without_rows_fails_its_file(tmp_path: Path) -> None:
    world = World()
    world.file("good", [world.chunk(b"x")])
    stub = NativeStub(store=STORE, size=5, map_kind=MAP_INLINE)
    world.expected["bad"] = b""
    world.requests.append(RestoreRequest(encode_stub(stub), "bad"))
    job = run(world, tmp_path)
    job.check()
    assert job.failed() == {"bad"}


def test_limits_of_the_options_hold(tmp_path: Path) -> None:
    world = World()
    world.file("small", [world.chunk(b"x" * 100)])
    world.file("large", [world.chunk(b"y" * 5000)])
    job = run(world, tmp_path / "file", max_file_size=4999)
    job.check()
    assert job.failed() == {"large"}
    assert isinstance(job.error_of("large"), LimitError)
    job = run(world, tmp_path / "chunk", max_chunk_size=4999)
    job.check()
    assert job.failed() == {"large"}


def test_sparse_giant_needs_no_bytes_and_no_time(tmp_path: Path) -> None:
    world = World()
    rows = rows_of([Gap(1 << 43, hole=True)])
    stub = NativeStub(store=STORE, size=1 << 43, map_kind=MAP_INLINE, rows=rows)
    requests = [RestoreRequest(encode_stub(stub), "giant")]
    job = run(world, tmp_path, requests=requests)
    assert job.store.calls == []
    if job.report.ok:  # a file system may hold no file of 8 TiB
        assert (tmp_path / "giant").stat().st_size == 1 << 43
        assert (tmp_path / "giant").stat().st_blocks < 100
    else:
        assert isinstance(job.report[0].error, RestoreError)


def test_allocated_giant_is_refused_before_any_read(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(b"x")
    rows = rows_of([chunk, Gap(1 << 43)])
    stub = NativeStub(store=STORE, size=1 + (1 << 43), map_kind=MAP_INLINE, rows=rows)
    read: list[StorePath] = []

    def note(path: StorePath, offset: int, size: int) -> bytes:
        read.append(path)
        return world.files[path][offset : offset + size]

    store = Fake(world.store(), read_backup_file=note)
    requests = [RestoreRequest(encode_stub(stub), "giant")]
    with pytest.raises(RestoreError) as caught:
        run(world, tmp_path, store, requests=requests)
    assert caught.value.code == "fs.nospace"
    assert read == []
