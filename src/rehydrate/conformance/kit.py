"""The conformance kit: what a vendor's store must do, as tests to subclass.

Install ``rehydrate[conformance]``, subclass :class:`StoreConformance` in a test module, implement
its three methods and run pytest. Each test names the rules of the call contract that it checks.
"""

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from rehydrate.conformance.corpus import Corpus, build_corpus
from rehydrate.conformance.faults import ORDER, RecordingStore
from rehydrate.engine.restore import restore_files
from rehydrate.errors import ContainerNotFoundError, NotReadyError
from rehydrate.protocols import (
    BackupStore,
    DeclaresConcurrency,
    DeclaresReadHints,
    DeclaresTimeouts,
    ListsContainers,
    OrdersContainers,
    PreviewsReads,
    ReadsInto,
)
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.values import MAX_OFFSET, ContainerExtent, FileExtent, StorePath

__all__ = ["StoreConformance"]

_TRIES: Final = 100
_THREADS: Final = 8
_LARGEST_READ: Final = 2**31 - 1
_PHASES: Final = 2


class StoreConformance:
    """Tests of one vendor's store; see the module.

    A test gets a fresh store from :meth:`make_store` and an empty directory from pytest.
    """

    def make_store(self, containers: Mapping[StorePath, bytes], folder: Path) -> BackupStore:
        """Return a store of the vendor's kind that holds exactly these containers.

        Args:
            containers: Bytes of each container, by store path.
            folder: An empty directory to put them in, for those who need one.
        """
        raise NotImplementedError

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        """Return the bytes of a container without using the store's methods under test.

        Args:
            store: What :meth:`make_store` returned.
            path: A container that is there.
        """
        raise NotImplementedError

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        """Take a container off the medium without using the store's methods under test.

        Args:
            store: What :meth:`make_store` returned.
            path: A container that is there.
        """
        raise NotImplementedError

    @pytest.fixture
    def corpus(self) -> Corpus:
        """The containers and what comes out of them."""
        return build_corpus()

    @pytest.fixture
    def store(self, corpus: Corpus, tmp_path: Path) -> BackupStore:
        """The store under test, over the corpus."""
        folder = tmp_path / "medium"
        folder.mkdir()
        return self.make_store(corpus.containers, folder)

    def test_medium_holds_the_corpus(self, store: BackupStore, corpus: Corpus) -> None:
        """An empty corpus, or a factory that drops containers, would make every test pass."""
        assert corpus.containers, "the corpus is empty"
        assert corpus.requests, "the corpus has no files"
        for path, data in corpus.containers.items():
            assert self.raw_get(store, path) == data, f"{path} is not on the medium as given"

    def test_reads_give_the_bytes_of_the_container(
        self, store: BackupStore, corpus: Corpus
    ) -> None:
        """CC-READ-1, CC-SIZE-1: exactly these bytes, wherever they lie, or a short answer."""
        for path, data in corpus.containers.items():
            for offset, size in _ranges(len(data)):
                assert _read_all(store, path, offset, size) == data[offset : offset + size], (
                    f"{path}: wrong bytes at {offset}, {size} asked"
                )

    def test_answers_are_contiguous_and_never_too_long(
        self, store: BackupStore, corpus: Corpus
    ) -> None:
        """CC-SIZE-2, CC-SIZE-3: a C-contiguous bytes-like object of at most ``size`` bytes."""
        for path, data in corpus.containers.items():
            for offset, size in _ranges(len(data)):
                view = memoryview(store.read_backup_file(path, offset, size))
                assert view.c_contiguous, "the answer is not contiguous"
                assert view.nbytes <= size, f"{view.nbytes} bytes for {size}"
                assert view.nbytes, "an empty answer inside the container"

    def test_end_of_a_container_is_not_padded(self, store: BackupStore, corpus: Corpus) -> None:
        """CC-SIZE-1: beyond the end come fewer bytes, none, or an exception; never others."""
        for path, data in corpus.containers.items():
            with contextlib.suppress(Exception):
                view = memoryview(store.read_backup_file(path, len(data) - 5, 4096))
                assert_prefix(bytes(view), data[-5:])
            with contextlib.suppress(Exception):
                view = memoryview(store.read_backup_file(path, len(data) + 4096, 64))
                assert_prefix(bytes(view), b"")

    def test_answers_do_not_depend_on_the_order_of_reads(
        self, store: BackupStore, corpus: Corpus
    ) -> None:
        """CC-READ-2: repairs go back, and containers are read in turns."""
        source = random.Random(1)  # noqa: S311 - test data needs a seed, not secrecy
        paths = list(corpus.containers)
        for _ in range(_TRIES):
            path = source.choice(paths)
            data = corpus.containers[path]
            offset = source.randrange(len(data))
            size = source.randint(1, min(len(data) - offset, 100_000))
            assert _read_all(store, path, offset, size) == data[offset : offset + size]

    def test_missing_container_is_file_not_found(self, store: BackupStore, corpus: Corpus) -> None:
        """CC-ERR-1: the engine looks for another generation only after this exception."""
        path = next(iter(corpus.containers))
        self.raw_remove(store, path)
        with pytest.raises((FileNotFoundError, ContainerNotFoundError)):
            store.read_backup_file(path, 0, 16)
        with pytest.raises((FileNotFoundError, ContainerNotFoundError)):
            store.read_backup_file(StorePath("Data/no such container"), 0, 16)

    def test_reading_into_a_buffer_gives_the_same_bytes(
        self, store: BackupStore, corpus: Corpus
    ) -> None:
        """CC-READ-9: the optional method fills the front of the buffer and counts it."""
        if not isinstance(store, ReadsInto):
            return
        for path, data in corpus.containers.items():
            for offset, size in _ranges(len(data)):
                room = bytearray(b"\xa5" * size)
                count = store.read_backup_file_into(path, offset, memoryview(room))
                assert type(count) is int, f"{count!r} is no count"
                assert 1 <= count <= size, f"{count} bytes for {size}"
                assert room[:count] == data[offset : offset + count], "other bytes than counted"
                assert room[count:] == b"\xa5" * (size - count), "bytes behind the count changed"

    def test_order_answers_are_extents_of_this_call(
        self, store: BackupStore, corpus: Corpus
    ) -> None:
        """CC-ORDER-4 to CC-ORDER-8: plain numbers, indexes into the argument, nothing half."""
        if not isinstance(store, OrdersContainers):
            return
        paths = tuple(sorted(corpus.containers))
        for containers in (paths, paths[1:], paths[-1:]):
            try:
                answer = store.order_containers_restore(containers)
            except NotImplementedError:
                continue
            if not answer:
                continue
            covered: dict[int, list[tuple[int, int]]] = {}
            for extent in answer:
                _check_extent(extent, len(containers))
                if extent.length:
                    end = min(extent.offset + extent.length, MAX_OFFSET)
                    covered.setdefault(extent.index, []).append((extent.offset, end))
            for index, ranges in covered.items():
                whole = len(corpus.containers[containers[index]])
                assert _reaches(ranges) >= whole, f"{containers[index]} is covered in part only"

    def test_preview_is_accepted(self, store: BackupStore, corpus: Corpus) -> None:
        """CC-PREVIEW-1: at once, or after some NotReadyError."""
        if not isinstance(store, PreviewsReads):
            return
        for path, data in corpus.containers.items():
            reads = [FileExtent(offset, size) for offset, size in ((0, 64), (4096, 100))]
            assert reads[-1].end <= len(data)
            for _ in range(_TRIES):
                try:
                    store.preview_container_read(path, tuple(reads))
                except NotReadyError as error:
                    if not 0 <= error.retry_after < float("inf"):
                        pytest.fail(f"retry_after is {error.retry_after!r}")
                else:
                    break
            else:
                pytest.fail(f"{path} never became ready")

    def test_listing_has_the_names_of_a_folder(self, store: BackupStore, corpus: Corpus) -> None:
        """CC-PATH-4: plain names, without the folder."""
        if not isinstance(store, ListsContainers):
            return
        for folder in {path.rpartition("/")[0] for path in corpus.containers}:
            names = list(store.list_containers(StorePath(folder)))
            assert all(type(name) is str and "/" not in name for name in names)
            for path in corpus.containers:
                if path.rpartition("/")[0] == folder:
                    assert path.rpartition("/")[2] in names, f"{path} is not listed"

    def test_declared_numbers_are_in_range(self, store: BackupStore) -> None:
        """CC-THREAD-2, CC-TIME-2, CC-READ-4: what a store declares is checked once."""
        if isinstance(store, DeclaresConcurrency):
            assert type(store.concurrent_reads) is int
            assert store.concurrent_reads >= 1
        if isinstance(store, DeclaresReadHints):
            assert type(store.max_gap) is int
            assert type(store.max_read) is int
            assert store.max_gap >= 0
            assert 1 <= store.max_read <= _LARGEST_READ
        if isinstance(store, DeclaresTimeouts):
            assert store.read_timeout is None or store.read_timeout > 0

    def test_concurrent_reads_do_not_mix(self, store: BackupStore, corpus: Corpus) -> None:
        """CC-THREAD-2: a store that declares concurrency is called from several threads."""
        if not isinstance(store, DeclaresConcurrency) or store.concurrent_reads == 1:
            return
        wrong: list[str] = []

        def read(seed: int) -> None:
            source = random.Random(seed)  # noqa: S311 - test data needs a seed, not secrecy
            for _ in range(_TRIES):
                path, data = source.choice(list(corpus.containers.items()))
                offset = source.randrange(len(data) - 1)
                size = source.randint(1, min(len(data) - offset, 20_000))
                if _read_all(store, path, offset, size) != data[offset : offset + size]:
                    wrong.append(f"{path} at {offset}")

        threads = [
            threading.Thread(target=read, args=(seed,))
            for seed in range(min(store.concurrent_reads, _THREADS))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_all_files_come_back(self, store: BackupStore, corpus: Corpus, tmp_path: Path) -> None:
        """CC-PHASE-4, CC-ORDER-1: everything is restored with at most two order calls."""
        recording = RecordingStore(store)
        report = _restore(recording, corpus, tmp_path / "out")
        report.raise_for_failures()
        assert _tree(tmp_path / "out") == corpus.expected
        assert len(recording.named(ORDER)) <= _PHASES
        counters = report.counters
        assert recording.bytes_given == counters.bytes_read + counters.metadata_bytes
        assert len(recording.reads) == counters.reads

    def test_lost_container_costs_its_own_files_only(
        self, store: BackupStore, corpus: Corpus, tmp_path: Path
    ) -> None:
        """CC-ERR-1: files of the lost container fail, typed; what stood there stays."""
        lost = max(path for path in corpus.containers if path.startswith("Data/"))
        self.raw_remove(store, lost)
        out = tmp_path / "out"
        out.mkdir()
        report = _restore(store, corpus, out)
        failed = [result for result in report.results if result.status is FileStatus.FAILED]
        assert failed
        assert len(failed) < len(corpus.requests)
        for result in failed:
            assert isinstance(result.error, ContainerNotFoundError)
            assert result.error.container == lost
            assert not (out / result.target).exists()
        good = {name: data for name, data in corpus.expected.items() if (out / name).exists()}
        assert _tree(out) == good
        assert len(good) + len(failed) == len(corpus.requests)


def assert_prefix(found: bytes, wanted: bytes) -> None:
    """Fail unless ``found`` begins like ``wanted`` and is not longer.

    A failure is no ``Exception`` here, so that a block that lets a store raise whatever it likes
    does not swallow it.
    """
    if not wanted.startswith(found):
        pytest.fail(f"{len(found)} bytes at the end of a container, {len(wanted)} are there")


def _ranges(size: int) -> Iterator[tuple[int, int]]:
    yield 0, 1
    yield 0, 4096
    yield size - 1, 1
    yield size // 2, min(1000, size - size // 2)
    yield 4095, 2
    yield 0, size


def _read_all(store: BackupStore, path: StorePath, offset: int, size: int) -> bytes:
    """Read as the engine does: short answers are continued."""
    parts: list[bytes] = []
    got = 0
    while got < size:
        part = bytes(memoryview(store.read_backup_file(path, offset + got, size - got)))
        assert part, f"nothing came at {offset + got} of {path}"
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def _check_extent(extent: object, containers: int) -> None:
    assert isinstance(extent, ContainerExtent), f"{extent!r} is no ContainerExtent"
    for value in (extent.index, extent.offset, extent.length):
        assert type(value) is int, f"{value!r} is no plain int"
        assert 0 <= value <= MAX_OFFSET, f"{value} is out of range"
    assert extent.index < containers, f"there is no container {extent.index} in this call"


def _reaches(ranges: list[tuple[int, int]]) -> int:
    """Return how far some ranges cover from 0 on without a gap."""
    reach = 0
    for start, end in sorted(ranges):
        if start > reach:
            break
        reach = max(reach, end)
    return reach


def _restore(store: BackupStore, corpus: Corpus, out: Path) -> RestoreReport:
    with TargetRoot(out) as root:
        return restore_files(corpus.requests, store, root)


def _tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder by their bytes, without what waits for a resume."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".rehydrate-")
    }
