"""The trace: every call is written down, counted and can be made again."""

import json
from pathlib import Path

import pytest

from rehydrate import FileExtent, StorePath, StoreReadError, TargetRoot, restore_files
from rehydrate.conformance import MemoryStore
from rehydrate.errors import CorruptMetadataError
from rehydrate.protocols import BackupStore
from rehydrate.stores.recording import Recording, TraceSummary, replay_trace, summarise_trace
from samples.counting_store import CountingStore, example
from tests.clocks import HandClock

PATH = StorePath("one")


class Ticks(HandClock):
    """A clock that goes on by a second at each look."""

    def monotonic(self) -> float:
        self.sleep(1)
        return super().monotonic()


class Bare:
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if path != PATH:
            raise FileNotFoundError(path)
        return bytes(size)


def recorded(store: BackupStore, path: Path) -> Recording:
    return Recording(store, path, clock=Ticks())


def test_calls_of_a_restore_are_written_down(tmp_path: Path) -> None:
    world = example()
    store = CountingStore(world.files)
    trace, out = tmp_path / "trace", tmp_path / "out"
    out.mkdir()
    with Recording(store, trace) as recording, TargetRoot(out) as target:
        restore_files(world.requests, recording, target).raise_for_failures()
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [line["call"] for line in lines] == [call.split()[0] for call in store.calls]
    found = summarise_trace(trace)
    assert found.reads == sum(call.startswith("read") for call in store.calls)
    assert found.orders == sum(call.startswith("order") for call in store.calls)
    assert found.bytes_read == sum(line.get("got", 0) for line in lines)
    assert found.errors == 0


def test_figures_of_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    other = StorePath("two")
    with recorded(MemoryStore({PATH: bytes(100), other: bytes(100)}), trace) as recording:
        assert recording.order_containers_restore([PATH]) is None
        recording.preview_container_read(PATH, [FileExtent(0, 10)])
        recording.read_backup_file(PATH, 20, 10)
        recording.read_backup_file(PATH, 0, 10)
        recording.read_backup_file(other, 90, 20)
        with pytest.raises(FileNotFoundError):
            recording.read_backup_file(StorePath("none"), 0, 1)
        assert list(recording.list_containers(StorePath("x"))) == []
    recording.read_backup_file(PATH, 0, 1)  # not recorded any more
    assert summarise_trace(trace) == TraceSummary(
        orders=1, previews=1, reads=4, errors=1, bytes_read=30, read_seconds=4.0, seconds=14.0,
        containers=3, backward=1, switches=2,
    )  # fmt: skip


def test_trace_is_played_again(tmp_path: Path) -> None:
    trace, again = tmp_path / "trace", tmp_path / "again"
    store = CountingStore({PATH: bytes(100)})
    with Recording(store, trace) as recording:
        recording.preview_container_read(PATH, [FileExtent(5, 10)])
        recording.read_backup_file(PATH, 5, 10)
        with pytest.raises(FileNotFoundError):
            recording.read_backup_file(StorePath("none"), 0, 1)
    calls = list(store.calls)
    with Recording(store, again) as recording:
        assert replay_trace(trace, recording) == 10
    assert store.calls == calls * 2
    assert replay_trace(trace, Bare()) == 10  # a store without previews


def test_declarations_are_those_of_the_store(tmp_path: Path) -> None:
    with Recording(Bare(), tmp_path / "trace") as recording:
        assert recording.concurrent_reads == 1
        assert recording.max_gap == 4096
        assert recording.max_read == 8 << 20
        assert recording.read_timeout == 300.0
        assert recording.store_id is None
        assert list(recording.list_containers(StorePath("x"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "{", "[]", "7", '{"call": "eat", "begin": 0, "seconds": 0}', '{"call": "read"}',
        '{"call": "read", "begin": "x", "seconds": 0}', '{"call": [], "begin": 0, "seconds": 0}',
        '{"call": "read", "begin": 0, "seconds": 0, "offset": 1e999}',
        '{"call": "preview", "begin": 0, "seconds": 0, "reads": [[1]]}',
        '{"call": "preview", "begin": 0, "seconds": 0, "reads": [[-1, 5]]}', "[" * 99_999,
    ],
    ids=range(11),
)  # fmt: skip
def test_damaged_trace_is_refused(tmp_path: Path, line: str) -> None:
    trace = tmp_path / "trace"
    trace.write_text(f"{line}\n")
    with pytest.raises(CorruptMetadataError):
        summarise_trace(trace)


def test_trace_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(StoreReadError):
        summarise_trace(tmp_path / "none")
    with pytest.raises(StoreReadError):
        Recording(Bare(), tmp_path / "none" / "trace")
