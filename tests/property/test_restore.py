"""Random trees, containers, vendor orders and limits: always the same bytes."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.conformance import (
    CuttingStore,
    FailingStore,
    Gap,
    RecordingStore,
    ShufflingStore,
    World,
)
from rehydrate.conformance.world import Piece
from rehydrate.engine.planning import plan_restore
from rehydrate.engine.restore import restore_files
from rehydrate.errors import Cancelled
from rehydrate.protocols import BackupStore
from rehydrate.requests import Durability, RestoreOptions
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot

SIZES = st.one_of(st.integers(1, 40), st.integers(1000, 9000))


@contextmanager
def folder() -> Iterator[Path]:
    """An empty directory that is gone afterwards; hypothesis runs many examples in one test."""
    path = Path(tempfile.mkdtemp(prefix="rehydrate-property-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a store of up to three data containers and up to eight files."""
    world = World()
    chunks: list[Piece] = []
    for number in range(draw(st.integers(1, 10))):
        data = bytes([number, number ^ 0x5A]) * draw(SIZES)
        chunks.append(world.chunk(data, draw(st.integers(1, 3)), compress=draw(st.booleans())))
        world.data(draw(st.integers(1, 3))).pad(8 * draw(st.integers(0, 1200)))
    gaps = st.builds(Gap, st.integers(1, 20_000), st.booleans())
    piece = st.one_of(st.sampled_from(chunks), gaps)
    for number in range(draw(st.integers(1, 8))):
        target = "/".join(["d"] * draw(st.integers(0, 2)) + [f"f{number}"])
        if draw(st.booleans()):
            world.file(target, draw(st.lists(piece, max_size=4)))
        else:
            parts = draw(st.lists(st.lists(piece, min_size=1, max_size=6), min_size=1, max_size=3))
            world.mapped_file(target, parts, 100 + draw(st.integers(0, 1)))
    return world.seal()


options = st.builds(
    RestoreOptions,
    jobs=st.integers(1, 3),
    durability=st.just(Durability.NONE),
    sparse=st.booleans(),
    max_gap=st.sampled_from([None, 0, 100, 20_000]),
    max_read=st.sampled_from([None, 1, 77, 4096]),
    checkpoint_bytes=st.sampled_from([1, 16 << 20]),
)


def restore(world: World, store: BackupStore, out: Path, chosen: RestoreOptions) -> RestoreReport:
    with TargetRoot(out) as root:
        return restore_files(world.requests, store, root, options=chosen)


def assert_restored(world: World, out: Path) -> None:
    found = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    assert found == world.expected


@settings(max_examples=60, deadline=None)
@given(worlds(), options, st.integers(0, 2**32), st.sampled_from([1 << 16, 1 << 12]))
def test_any_order_gives_the_same_bytes(
    world: World, chosen: RestoreOptions, seed: int, span: int
) -> None:
    with folder() as out:
        store = RecordingStore(ShufflingStore(world.store(), seed, cuts=6, span=span))
        report = restore(world, store, out, chosen)
        report.raise_for_failures()
        assert_restored(world, out)
        counters = report.counters
        assert store.bytes_given == counters.bytes_read + counters.metadata_bytes
        assert len(store.reads) == counters.reads
        assert len(store.orders) <= 2
        if chosen.max_gap == 0:
            assert counters.bytes_read == counters.bytes_needed
        again = restore(world, store, out, chosen)
        assert set(again.counts) == {FileStatus.SKIPPED_SAME}


@settings(max_examples=40, deadline=None)
@given(worlds(), options, st.integers(4096, 9000), st.integers(0, 30))
def test_short_answers_and_a_failing_read_give_the_same_bytes(
    world: World, chosen: RestoreOptions, most: int, at: int
) -> None:
    with folder() as out:
        cut = CuttingStore(world.store(), most)
        store = FailingStore(cut, lambda: OSError("flaky"), at=at)
        restore(world, store, out, chosen).raise_for_failures()
        assert_restored(world, out)


@settings(max_examples=40, deadline=None)
@given(worlds(), options, st.integers(0, 40))
def test_cancelled_anywhere_and_called_again(world: World, chosen: RestoreOptions, at: int) -> None:
    with folder() as out:
        store = FailingStore(world.store(), Cancelled, at=at)
        report = restore(world, store, out, chosen)
        for result in report.results:
            path = out / result.target
            if result.status is FileStatus.RESTORED:
                assert path.read_bytes() == world.expected[result.target]
            else:
                assert result.status is FileStatus.CANCELLED
                assert not path.exists()
        restore(world, world.store(), out, chosen).raise_for_failures()
        assert_restored(world, out)


@settings(max_examples=40, deadline=None)
@given(worlds(), options, st.data())
def test_damage_costs_files_and_never_gives_wrong_bytes(
    world: World, chosen: RestoreOptions, data: st.DataObject
) -> None:
    paths: Sequence[str] = sorted(world.files)
    for _ in range(data.draw(st.integers(1, 6))):
        path = data.draw(st.sampled_from(paths))
        (key,) = (key for key in world.files if key == path)
        content = bytearray(world.files[key])
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        world.files[key] = bytes(content)
    with folder() as out:
        report = restore(world, world.store(), out, chosen)
        for result in report.results:
            path_there = out / result.target
            if result.status is FileStatus.RESTORED:
                assert path_there.read_bytes() == world.expected[result.target]
            else:
                assert result.status is FileStatus.FAILED
                assert not path_there.exists()


@settings(max_examples=30, deadline=None)
@given(worlds(), options, st.integers(0, 2**32))
def test_plan_tells_what_the_restore_reads(world: World, chosen: RestoreOptions, seed: int) -> None:
    plan = plan_restore(world.requests, ShufflingStore(world.store(), seed), options=chosen)
    with folder() as out:
        report = restore(world, ShufflingStore(world.store(), seed), out, chosen)
    report.raise_for_failures()
    assert plan.bytes_to_read == report.counters.bytes_read
    assert plan.bytes_needed == report.counters.bytes_needed
    assert plan.metadata_bytes == report.counters.metadata_bytes
    assert plan.totals()["reads"] == report.counters.reads
