"""Read-ahead: previewed reads are begun early, within the budget, and told in their own place."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate import (
    ContainerExtent,
    FileExtent,
    NotReadyError,
    RestoreOptions,
    SessionError,
    StorePath,
    TargetRoot,
    restore_files,
)
from rehydrate.conformance import MemoryStore, World
from rehydrate.conformance.world import STORE
from rehydrate.stores.readahead import ReadAhead

PATH = StorePath("one")
DATA = bytes(range(256))
READS = [FileExtent(offset, 16) for offset in range(0, 256, 32)]


class SlowStore:
    """Counts reads, notes threads, and can be held up."""

    max_gap = 7
    max_read = 4096
    read_timeout = 5.0
    store_id = STORE

    def __init__(self, concurrent_reads: int = 1) -> None:
        self.concurrent_reads = concurrent_reads
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.refuse: Exception | None = None

    def note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())

    def order_containers_restore(self, containers: Sequence[StorePath], /) -> list[ContainerExtent]:
        self.note("order")
        return [ContainerExtent(index=index) for index in range(len(containers))]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        self.note(f"preview {path}")
        if self.refuse is not None:
            raise self.refuse

    def list_containers(self, folder: StorePath, /) -> list[str]:
        self.note(f"list {folder}")
        return ["one"]

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.note(f"read {offset}")
        self.begun.release()
        if not self.go.wait(10):
            raise TimeoutError
        if offset == 96:
            raise OSError(5, "spoilt")
        return DATA[offset : offset + size]


def previewed(ahead: ReadAhead) -> None:
    ahead.preview_container_read(PATH, READS)


def test_reads_are_begun_by_the_preview_and_given_when_asked_for() -> None:
    store = SlowStore()
    with ReadAhead(store, budget=1 << 20) as ahead:
        previewed(ahead)
        for _ in READS:
            assert store.begun.acquire(timeout=10)  # all are read before one is asked for
        for read in READS:
            if read.offset != 96:
                got = ahead.read_backup_file(PATH, read.offset, read.length)
                assert got == DATA[read.offset : read.end]
        assert store.calls == ["preview one", *(f"read {read.offset}" for read in READS)]
        assert (ahead.counters.hits, ahead.counters.misses) == (7, 0)


def test_error_is_told_by_the_read_that_failed_and_by_no_other() -> None:
    with ReadAhead(SlowStore()) as ahead:
        previewed(ahead)
        assert ahead.read_backup_file(PATH, 64, 16) == DATA[64:80]
        with pytest.raises(OSError, match="spoilt"):
            ahead.read_backup_file(PATH, 96, 16)
        assert ahead.read_backup_file(PATH, 128, 16) == DATA[128:144]


def test_no_more_than_the_budget_is_held() -> None:
    store = SlowStore()
    with ReadAhead(store, budget=40) as ahead:
        previewed(ahead)
        for read in READS[:3]:
            ahead.read_backup_file(PATH, read.offset, read.length)
        assert ahead.counters.most_held <= 40
        assert len([call for call in store.calls if "read" in call]) <= 1 + 3 + 2


def test_read_larger_than_the_budget_is_made_alone() -> None:
    with ReadAhead(SlowStore(), budget=4) as ahead:
        previewed(ahead)
        assert ahead.read_backup_file(PATH, 0, 16) == DATA[:16]
        assert ahead.read_backup_file(PATH, 32, 16) == DATA[32:48]
        assert (ahead.counters.most_held, ahead.counters.hits) == (16, 2)


def test_reads_that_were_not_previewed_or_not_begun_are_made() -> None:
    with ReadAhead(SlowStore(), budget=16) as ahead:
        previewed(ahead)
        assert ahead.read_backup_file(PATH, 224, 16) == DATA[224:240]  # waits for the budget
        assert ahead.read_backup_file(PATH, 1, 5) == DATA[1:6]
        assert ahead.counters.misses == 2


def test_next_preview_drops_what_nobody_asked_for() -> None:
    store = SlowStore()
    store.go.clear()
    with ReadAhead(store, budget=32) as ahead:
        previewed(ahead)
        assert store.begun.acquire(timeout=10)  # one runs, one is begun, six wait
        thread = threading.Thread(target=previewed, args=(ahead,))
        thread.start()
        store.go.set()
        thread.join(10)
        assert ahead.counters.dropped == 2
        assert ahead.read_backup_file(PATH, 0, 16) == DATA[:16]
        assert ahead.read_backup_file(PATH, 32, 16) == DATA[32:48]
    assert [call for call in store.calls if call == "read 0"] == ["read 0", "read 0"]


def test_store_without_concurrency_is_called_by_one_thread() -> None:
    store = SlowStore()
    with ReadAhead(store) as ahead:
        answer = ahead.order_containers_restore([PATH])
        assert answer == [ContainerExtent(index=0)]
        previewed(ahead)
        ahead.read_backup_file(PATH, 0, 16)
        assert list(ahead.list_containers(StorePath("Data"))) == ["one"]
    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


def test_store_with_concurrency_has_several_reads_in_flight() -> None:
    store = SlowStore(concurrent_reads=4)
    store.go.clear()
    with ReadAhead(store) as ahead:
        previewed(ahead)
        for _ in range(4):
            assert store.begun.acquire(timeout=10)
        assert not store.begun.acquire(timeout=0)
        store.go.set()
        assert ahead.read_backup_file(PATH, 0, 16) == DATA[:16]


def test_container_that_is_not_ready_is_told_and_nothing_is_begun() -> None:
    store = SlowStore()
    store.refuse = NotReadyError(retry_after=3)
    with ReadAhead(store) as ahead:
        with pytest.raises(NotReadyError):
            previewed(ahead)
        assert ahead.read_backup_file(PATH, 0, 16) == DATA[:16]
        assert ahead.counters.misses == 1


def test_declarations_are_those_of_the_store() -> None:
    with ReadAhead(SlowStore()) as ahead:
        assert (ahead.max_gap, ahead.max_read, ahead.read_timeout) == (7, 4096, 5.0)
        assert ahead.store_id == STORE
    with ReadAhead(MemoryStore({PATH: DATA})) as ahead:
        assert (ahead.max_gap, ahead.max_read, ahead.read_timeout) == (4096, 8 << 20, 300.0)
        assert ahead.store_id is None
        assert ahead.order_containers_restore([PATH]) is None
        previewed(ahead)
        assert ahead.read_backup_file(PATH, 0, 16) == DATA[:16]


class Bare:
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return DATA[offset : offset + size]


def test_store_that_cannot_list_lists_nothing() -> None:
    with ReadAhead(Bare()) as ahead:
        assert list(ahead.list_containers(StorePath("Data"))) == []


def test_closed_wrapper_says_so() -> None:
    ahead = ReadAhead(SlowStore())
    previewed(ahead)
    ahead.close()
    ahead.close()
    with pytest.raises(SessionError):
        ahead.read_backup_file(PATH, 0, 16)
    with pytest.raises(SessionError):
        previewed(ahead)


def test_restore_through_read_ahead(tmp_path: Path) -> None:
    world = World()
    for number in (1, 2):
        parts = [[world.chunk(bytes([number, part]) * 3000, number)] for part in range(9)]
        world.mapped_file(f"file-{number}", parts, number=100 + number)
    world.seal()
    with ReadAhead(MemoryStore(world.files), budget=1 << 16) as ahead, TargetRoot(tmp_path) as to:
        options = RestoreOptions(max_gap=0, max_read=4096)
        restore_files(world.requests, ahead, to, options=options).raise_for_failures()
        assert ahead.counters.misses == 0
        assert ahead.counters.hits > 9
    for name, content in world.expected.items():
        assert (tmp_path / name).read_bytes() == content


def test_a_read_that_is_shown_twice_takes_its_room_once() -> None:
    store = SlowStore()
    with ReadAhead(store, budget=40) as ahead:
        for _ in range(4):  # what is left behind would fill the budget
            ahead.preview_container_read(PATH, [READS[0], READS[0], READS[1]])
            for read in (READS[0], READS[0], READS[1]):
                found = bytes(ahead.read_backup_file(PATH, read.offset, read.length))
                assert found == DATA[read.offset :][: read.length]
        assert (ahead.counters.hits, ahead.counters.misses) == (8, 4)
        assert ahead.counters.most_held <= 48
