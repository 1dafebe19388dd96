"""A backup run that is killed, loses power or meets a failing disk at each call that changes anything."""

import random
import shutil
from pathlib import Path

import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.verify import verify_store
from rehydrate.errors import DurabilityError, NoSpaceError, PublishError, StoreError
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import OptimizeOptions
from rehydrate.ingest.store import World, create_store
from rehydrate.stores.layout import ChunkerSettings
from tests.fault.broken_files import IO_ERROR, NO_SPACE, BrokenFiles, Killed, failing
from tests.unit.ingest.trees import of_tree, of_version

SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096)
OPTIONS = OptimizeOptions(jobs=1, checkpoint_bytes=12_000)


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree whose first state is version 1 of the store."""
    root = tmp_path / "source"
    root.mkdir()
    for number in range(4):
        (root / f"file{number}").write_bytes(noise(9000, number))
    return root


@pytest.fixture
def store(tmp_path: Path, source: Path) -> Path:
    path = tmp_path / "store"
    create_store(path, chunker=SMALL, capacity=40_000)
    optimize(source, path, options=OPTIONS)
    (source / "file1").write_bytes(noise(20_000, 11))
    (source / "new").write_bytes(noise(30_000, 12))
    (source / "file2").unlink()
    return path


def published(store: Path) -> list[int]:
    with NativeCatalogue.open(store) as catalogue:
        return [info.number for info in catalogue.versions() if not info.partial]


def calls_of_a_run(store: Path, source: Path, tmp_path: Path) -> list[str]:
    shutil.copytree(store, tmp_path / "counted")
    files = BrokenFiles()
    optimize(source, tmp_path / "counted", options=OPTIONS, world=World(files=files))
    shutil.rmtree(tmp_path / "counted")
    return files.calls


@pytest.mark.parametrize("power", ["stays", "cut", "torn"])
def test_every_moment_of_death_leaves_the_published_versions_and_a_store_that_goes_on(
    store: Path, source: Path, tmp_path: Path, power: str
) -> None:
    first = of_version(store, 1)
    calls = calls_of_a_run(store, source, tmp_path)
    assert len(calls) > 30
    broken = tmp_path / "broken"
    for at in range(1, len(calls) + 1):
        shutil.copytree(store, broken)
        files = BrokenFiles(at)
        with pytest.raises(Killed):
            optimize(source, broken, options=OPTIONS, world=World(files=files))
        if power != "stays":
            files.cut_power(None if power == "cut" else random.Random(at))
        where = f"call {at}, {calls[at - 1]}"
        assert of_version(broken, 1) == first, where
        assert published(broken) in ([1], [1, 2]), where
        if published(broken) == [1, 2]:
            assert of_version(broken, 2) == of_tree(source), where
        report = optimize(source, broken, options=OPTIONS)
        assert report.ok, where
        assert report.damaged_containers == (), where
        assert of_version(broken, report.version) == of_tree(source), where
        assert of_version(broken, 1) == first, where
        assert verify_store(broken, read_data=True).ok, where
        shutil.rmtree(broken)


def test_two_deaths_in_a_row_do_no_more_harm_than_one(
    store: Path, source: Path, tmp_path: Path
) -> None:
    first = of_version(store, 1)
    calls = calls_of_a_run(store, source, tmp_path)
    broken = tmp_path / "broken"
    generator = random.Random(5)
    for _ in range(12):
        shutil.copytree(store, broken)
        for _ in range(3):
            files = BrokenFiles(generator.randrange(1, len(calls)))
            try:
                optimize(source, broken, options=OPTIONS, world=World(files=files))
            except Killed:
                files.cut_power(generator)
        report = optimize(source, broken, options=OPTIONS)
        assert of_version(broken, report.version) == of_tree(source)
        assert of_version(broken, 1) == first
        assert verify_store(broken, read_data=True).ok
        shutil.rmtree(broken)


def test_a_failed_sync_is_survived_wherever_it_happens(
    store: Path, source: Path, tmp_path: Path
) -> None:
    first = of_version(store, 1)
    syncs = calls_of_a_run(store, source, tmp_path).count("fsync")
    broken = tmp_path / "broken"
    for number in range(1, syncs + 1):
        shutil.copytree(store, broken)
        files = BrokenFiles(errors=failing("fsync", number, IO_ERROR))
        report = optimize(source, broken, options=OPTIONS, world=World(files=files))
        files.cut_power()
        assert of_version(broken, report.version) == of_tree(source), number
        assert of_version(broken, 1) == first, number
        assert verify_store(broken, read_data=True).ok, number
        shutil.rmtree(broken)


def test_syncs_that_always_fail_end_the_run(store: Path, source: Path) -> None:
    first = of_version(store, 1)

    def fail(name: str) -> BaseException | None:
        return OSError(IO_ERROR, "Input/output error") if name == "fsync" else None

    with pytest.raises(DurabilityError, match="Input/output error"):
        optimize(source, store, options=OPTIONS, world=World(files=BrokenFiles(errors=fail)))
    assert of_version(store, 1) == first
    assert optimize(source, store, options=OPTIONS).ok
    assert verify_store(store, read_data=True).ok


@pytest.mark.parametrize("name", ["pwrite", "create", "rename", "ftruncate"])
def test_a_full_disk_is_one_clear_error_and_costs_no_version(
    store: Path, source: Path, tmp_path: Path, name: str
) -> None:
    first = of_version(store, 1)
    count = calls_of_a_run(store, source, tmp_path).count(name)
    broken = tmp_path / "broken"
    for number in range(1, count + 1):
        shutil.copytree(store, broken)
        files = BrokenFiles(errors=failing(name, number, NO_SPACE))
        if number == 1 and name in ("pwrite", "ftruncate"):
            # The content of the lock file is for messages; the lock itself needs no space.
            optimize(source, broken, options=OPTIONS, world=World(files=files))
            shutil.rmtree(broken)
            continue
        with pytest.raises((NoSpaceError, StoreError), match="No space left"):
            optimize(source, broken, options=OPTIONS, world=World(files=files))
        assert of_version(broken, 1) == first, number
        report = optimize(source, broken, options=OPTIONS)
        assert of_version(broken, report.version) == of_tree(source), number
        shutil.rmtree(broken)


def test_a_device_that_takes_nothing_is_an_error_and_no_endless_loop(
    store: Path, source: Path
) -> None:
    def nothing(_fd: int, _data: object, _offset: int) -> int:
        return 0

    files = BrokenFiles()
    vars(files)["pwrite"] = nothing
    with pytest.raises(PublishError, match="takes no more bytes"):
        optimize(source, store, options=OPTIONS, world=World(files=files))


@pytest.mark.parametrize("capacity", [1, 40_000])
def test_an_old_container_is_never_written_again(
    source: Path, tmp_path: Path, capacity: int
) -> None:
    """Sealed ones, and the committed part of the one that may be appended to."""
    store = tmp_path / "store"
    create_store(store, chunker=SMALL, capacity=capacity)
    optimize(source, store, options=OPTIONS)
    (source / "new").write_bytes(noise(30_000, 12))
    before = {path: path.read_bytes() for path in store.glob("*/*.rhc")}
    optimize(source, store, options=OPTIONS)
    sealed = 0
    for path, content in before.items():
        after = path.read_bytes()
        assert after[: len(content)] == content
        sealed += after == content
    assert sealed == len(before) if capacity == 1 else sealed >= 1
    assert verify_store(store, read_data=True).ok


def test_what_lies_behind_the_last_commit_is_cut_off(store: Path, source: Path) -> None:
    (container,) = (path for path in store.glob("Data/*") if path.stat().st_size < 40_000)
    committed = container.stat().st_size
    with container.open("ab") as stream:
        stream.write(b"RHR1" * 5000)
    shutil.rmtree(source)
    source.mkdir()
    optimize(source, store)
    assert container.stat().st_size == committed


def test_a_container_whose_sync_failed_is_not_appended_to_again(store: Path, source: Path) -> None:
    before = {path: path.read_bytes() for path in store.glob("Data/*")}
    seen: list[str] = []

    def fail_first_after_data(name: str) -> BaseException | None:
        seen.append(name)
        # The first write is the note in the lock file.
        if name == "fsync" and seen.count("pwrite") > 1 and "failed" not in seen:
            seen.append("failed")
            return OSError(IO_ERROR, "Input/output error")
        return None

    files = BrokenFiles(errors=fail_first_after_data)
    optimize(source, store, options=OPTIONS, world=World(files=files))
    assert seen[seen.index("failed") + 1] == "ftruncate"
    assert {path: path.read_bytes() for path in before} == before
