"""The kit: our stores pass it, and stores broken on purpose do not."""

import contextlib
import inspect
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest

from rehydrate.conformance import MemoryStore, build_corpus
from rehydrate.conformance import kit as kit_module
from rehydrate.conformance.corpus import Corpus
from rehydrate.conformance.kit import StoreConformance
from rehydrate.errors import NotReadyError
from rehydrate.protocols import BackupStore
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import ContainerExtent, FileExtent, StorePath
from samples.counting_store import CountingStore
from samples.minimal_store import MinimalStore

Containers = Mapping[StorePath, bytes]


def write_out(containers: Containers, folder: Path) -> None:
    for path, data in containers.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


class OnDisk(StoreConformance):
    """A store over the files of a directory, whose path it keeps."""

    def opened(self, folder: Path) -> BackupStore:
        raise NotImplementedError

    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        write_out(containers, folder)
        self.folder = folder
        return self.opened(folder)

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        return (self.folder / path).read_bytes()

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        (self.folder / path).unlink()


class TestDirectoryStore(OnDisk):
    def opened(self, folder: Path) -> BackupStore:
        return DirectoryStore(folder)


class TestMinimalSample(OnDisk):
    def opened(self, folder: Path) -> BackupStore:
        return MinimalStore(folder)


class InMemory(StoreConformance):
    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        return MemoryStore(dict(containers))

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        assert isinstance(store, MemoryStore)
        return bytes(memoryview(store.containers[path]))

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        assert isinstance(store, MemoryStore)
        assert isinstance(store.containers, dict)
        del store.containers[path]


class TestMemoryStore(InMemory):
    pass


class TestCountingSample(InMemory):
    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        return CountingStore(dict(containers))

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        assert isinstance(store, CountingStore)
        return store.containers[path]

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        assert isinstance(store, CountingStore)
        del store.containers[path]


class Good(MemoryStore):
    """Everything that a store can have, done right; the broken ones change one thing."""

    concurrent_reads = 2
    max_gap = 4096
    max_read = 1 << 20
    read_timeout = 30.0

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        data = self.read_backup_file(path, offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        return [ContainerExtent(index=index) for index in reversed(range(len(containers)))]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Accept everything."""


class TestGood(InMemory):
    def make_store(self, containers: Containers, folder: Path) -> BackupStore:
        return Good(dict(containers))


class Shifted(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return super().read_backup_file(path, offset & ~1, size)


class SmallOffsets(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return super().read_backup_file(path, offset & 0xFFFF, size)


class Padded(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return super().read_backup_file(path, offset, size).ljust(size, b"\0")


class TooLong(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return super().read_backup_file(path, offset, size + 1)


class Empty(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return b"" if offset else super().read_backup_file(path, offset, size)


class Strided(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        data = super().read_backup_file(path, offset, size)
        doubled = bytes(byte for byte in data for _ in range(2))
        return memoryview(doubled)[::2]  # type: ignore[return-value] # wrong on purpose


class Sequential(Good):
    """Works from front to back only."""

    at = 0

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        offset = max(offset, self.at)
        self.at = offset
        return super().read_backup_file(path, offset, size)


class EmptyForMissing(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if path not in self.containers:
            return b""
        return super().read_backup_file(path, offset, size)


class WrongErrorForMissing(Good):
    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return bytes(memoryview(self.containers[path])[offset : offset + size])


class CachesForever(Good):
    """Keeps serving what was taken off the medium."""

    def __init__(self, containers: Containers) -> None:
        super().__init__(containers)
        self._kept = dict(containers)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if path not in self._kept:
            raise FileNotFoundError(path)
        return self._kept[path][offset : offset + size]


class CountsWrongly(Good):
    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        return super().read_backup_file_into(path, offset, buffer) + 1


class CountsNothing(Good):
    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        super().read_backup_file_into(path, offset, buffer)
        return None  # type: ignore[return-value] # wrong on purpose


class WritesBeyond(Good):
    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        count = super().read_backup_file_into(path, offset, buffer)
        return max(count - 1, 1)


class ForeignIndex(Good):
    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        return [ContainerExtent(index=index + 1) for index in range(len(containers))]


class KeepsIndexes(Good):
    """Answers with indexes into its own list."""

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        own = sorted(self.containers)
        return [ContainerExtent(index=own.index(path)) for path in containers]


class Tuples(Good):
    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        return [(index, 0, 2**63 - 1) for index in range(len(containers))]  # type: ignore[misc] # wrong on purpose


class HalfCovered(Good):
    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        return [ContainerExtent(index=0, offset=64)]


class NeverReady(Good):
    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        raise NotReadyError(retry_after=60)


class OddDelay(Good):
    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        raise NotReadyError(retry_after=-1)


class FullNames(Good):
    def list_containers(self, folder: StorePath, /) -> list[str]:
        return [f"{folder}/{name}" for name in super().list_containers(folder)]


class ForgetsNames(Good):
    def list_containers(self, folder: StorePath, /) -> list[str]:
        return super().list_containers(folder)[1:]


class NoConcurrency(Good):
    concurrent_reads = 0


class HugeReads(Good):
    max_read = 2**31


class NoTime(Good):
    read_timeout = -1.0


class OneBuffer(Good):
    """Mixes its callers up: one buffer for all threads."""

    concurrent_reads = 4

    def __init__(self, containers: Containers) -> None:
        super().__init__(containers)
        self._path, self._offset = StorePath(""), 0
        self._calls, self._both = count(), threading.Barrier(2)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self._path, self._offset = path, offset
        if next(self._calls) < 2:  # the first two callers meet, whatever the processors do
            self._both.wait(timeout=60)
        return super().read_backup_file(self._path, self._offset, size)


def fails(store: type[Good], name: str, folder: Path) -> bool:
    """Run one test of the kit against a store and tell whether it fails."""

    class Suite(InMemory):
        def make_store(self, containers: Containers, folder: Path) -> BackupStore:
            return store(dict(containers))

    suite, corpus = Suite(), build_corpus()
    given = {
        "store": suite.make_store(corpus.containers, folder),
        "corpus": corpus,
        "tmp_path": folder,
    }
    test = getattr(suite, name)
    wanted = {each: given[each] for each in inspect.signature(test).parameters}
    passed = False
    with contextlib.suppress(Exception, pytest.fail.Exception):
        test(**wanted)
        passed = True
    return not passed


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Shifted, "test_reads_give_the_bytes_of_the_container"),
        (SmallOffsets, "test_reads_give_the_bytes_of_the_container"),
        (Padded, "test_end_of_a_container_is_not_padded"),
        (TooLong, "test_answers_are_contiguous_and_never_too_long"),
        (Empty, "test_answers_are_contiguous_and_never_too_long"),
        (Strided, "test_answers_are_contiguous_and_never_too_long"),
        (Sequential, "test_answers_do_not_depend_on_the_order_of_reads"),
        (EmptyForMissing, "test_missing_container_is_file_not_found"),
        (WrongErrorForMissing, "test_missing_container_is_file_not_found"),
        (WrongErrorForMissing, "test_lost_container_costs_its_own_files_only"),
        (CachesForever, "test_lost_container_costs_its_own_files_only"),
        (CountsWrongly, "test_reading_into_a_buffer_gives_the_same_bytes"),
        (CountsNothing, "test_reading_into_a_buffer_gives_the_same_bytes"),
        (WritesBeyond, "test_reading_into_a_buffer_gives_the_same_bytes"),
        (ForeignIndex, "test_order_answers_are_extents_of_this_call"),
        (KeepsIndexes, "test_order_answers_are_extents_of_this_call"),
        (Tuples, "test_order_answers_are_extents_of_this_call"),
        (Tuples, "test_all_files_come_back"),
        (HalfCovered, "test_order_answers_are_extents_of_this_call"),
        (NeverReady, "test_preview_is_accepted"),
        (OddDelay, "test_preview_is_accepted"),
        (FullNames, "test_listing_has_the_names_of_a_folder"),
        (ForgetsNames, "test_listing_has_the_names_of_a_folder"),
        (NoConcurrency, "test_declared_numbers_are_in_range"),
        (HugeReads, "test_declared_numbers_are_in_range"),
        (NoTime, "test_declared_numbers_are_in_range"),
        (OneBuffer, "test_concurrent_reads_do_not_mix"),
    ],
)
def test_broken_store_fails_the_kit(store: type[Good], test: str, tmp_path: Path) -> None:
    assert fails(store, test, tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    assert not fails(Good, test, good)


def test_every_test_of_the_kit_has_a_store_that_it_fails() -> None:
    tests = {name for name in dir(StoreConformance) if name.startswith("test_")}
    (mark,) = test_broken_store_fails_the_kit.pytestmark  # type: ignore[attr-defined] # set by pytest
    proved = {test for _, test in mark.args[1]}
    assert tests - proved == {"test_medium_holds_the_corpus"}


@pytest.mark.parametrize("empty", ["corpus", "factory"])
def test_empty_corpus_and_forgetful_factory_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    corpus = build_corpus()
    if empty == "corpus":
        corpus = Corpus({}, (), {})
    store = MemoryStore({})
    suite = InMemory()
    with pytest.raises((AssertionError, KeyError)):
        suite.test_medium_holds_the_corpus(store, corpus)


def test_kit_needs_its_three_methods(tmp_path: Path) -> None:
    suite = StoreConformance()
    store = MemoryStore({})
    with pytest.raises(NotImplementedError):
        suite.make_store({}, tmp_path)
    with pytest.raises(NotImplementedError):
        suite.raw_get(store, StorePath("x"))
    with pytest.raises(NotImplementedError):
        suite.raw_remove(store, StorePath("x"))


def test_corpus_is_the_same_each_time() -> None:
    first, second = build_corpus(), build_corpus()
    assert first.containers == second.containers
    assert first.expected == second.expected
    assert len(first.containers) == 3
    assert kit_module.__doc__
