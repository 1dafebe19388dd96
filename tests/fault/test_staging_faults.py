"""Whatever call fails, and whenever the process dies: old, new or absent, and the next run ends it."""

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.requests import Durability
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.workspace import clean
from tests.fault.staging_faults import (
    CHANGING,
    ERRORS,
    NAMES,
    FaultyFiles,
    Killed,
    Restore,
    check_new,
    check_whole,
    content,
    prepare,
)

DURABILITIES = pytest.mark.parametrize("durability", list(Durability), ids=lambda d: d.value)


MEMORY = Path("/dev/shm")  # noqa: S108 - thousands of restores; a disk has nothing to add here


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Iterator[Path]]:
    """Fresh prepared folders, one after the other."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as base:

        def fresh() -> Iterator[Path]:
            for number in itertools.count():
                folder = Path(base) / str(number)
                prepare(folder)
                yield folder
                shutil.rmtree(folder)

        yield fresh()


def attempt(folder: Path, files: FaultyFiles, durability: Durability) -> Restore:
    restore = Restore(folder, files, durability)
    try:
        restore.run()
    except Killed:
        pass
    finally:
        files.bury()
    return restore


def calls_of(folder: Path, durability: Durability) -> list[str]:
    files = FaultyFiles()
    restore = attempt(folder, files, durability)
    assert not restore.errors
    check_new(folder)
    return files.calls


@DURABILITIES
def test_each_call_fails_once(folders: Iterator[Path], durability: Durability) -> None:
    count = len(calls_of(next(folders), durability))
    for error in ERRORS:
        for number in range(1, count + 1):
            folder = next(folders)
            files = FaultyFiles(number, error=error)
            restore = attempt(folder, files, durability)
            where = f"{os.strerror(error)} at call {number} ({files.calls[number - 1]})"
            check_whole(folder)
            if not restore.errors and not restore.lost:
                for path in NAMES:
                    found = (folder / os.fsdecode(path)).read_bytes()
                    assert found == content(path), f"{where}: reported as good, but {path!r}"
            again = attempt(folder, FaultyFiles(), durability)
            assert not again.errors, where
            check_new(folder, forgiven=restore.errors)


@DURABILITIES
@pytest.mark.parametrize("name", CHANGING)
def test_from_some_call_on_all_of_its_kind_fail(
    folders: Iterator[Path], durability: Durability, name: str
) -> None:
    calls = calls_of(next(folders), durability)
    numbers = [number for number, call in enumerate(calls, 1) if call == name]
    for number in numbers[:: max(1, len(numbers) // 6)]:
        folder = next(folders)
        files = FaultyFiles(number, error=ERRORS[1], forever=name)
        restore = attempt(folder, files, durability)
        check_whole(folder)
        again = attempt(folder, FaultyFiles(), durability)
        assert not again.errors, f"after {name} failed from call {number} on"
        check_new(folder, forgiven=restore.errors)


@DURABILITIES
@pytest.mark.parametrize("moment", ["before", "after", "tear"])
def test_killed_at_each_call(folders: Iterator[Path], durability: Durability, moment: str) -> None:
    calls = calls_of(next(folders), durability)
    for number, name in enumerate(calls, 1):
        if name not in CHANGING or (moment == "tear" and name != "pwrite"):
            continue
        folder = next(folders)
        attempt(folder, FaultyFiles(number, kill=moment), durability)
        check_whole(folder)
        again = attempt(folder, FaultyFiles(), durability)
        assert not again.errors, f"killed {moment} call {number} ({name})"
        check_new(folder)


def test_killed_and_the_resume_killed_too(folders: Iterator[Path]) -> None:
    calls = calls_of(next(folders), Durability.BATCH)
    chosen = random.Random(7)
    for _ in range(300):
        folder = next(folders)
        first, second = chosen.randint(1, len(calls)), chosen.randint(1, len(calls))
        attempt(folder, FaultyFiles(first, kill="after"), Durability.BATCH)
        attempt(folder, FaultyFiles(second, kill="before"), Durability.BATCH)
        check_whole(folder)
        again = attempt(folder, FaultyFiles(), Durability.BATCH)
        assert not again.errors, f"killed at call {first}, then at {second}"
        check_new(folder)


def test_a_resume_writes_only_what_was_not_staged(folders: Iterator[Path]) -> None:
    """Killed when all is staged and nothing published: nothing is written again."""
    calls = calls_of(next(folders), Durability.NONE)
    first_rename = calls.index("rename") + 1
    folder = next(folders)
    before = attempt(folder, FaultyFiles(first_rename, kill="before"), Durability.NONE)
    again = attempt(folder, FaultyFiles(), Durability.NONE)
    assert again.found_staged >= before.written > 0
    check_new(folder)


def test_clean_gives_everything_back_after_a_kill(folders: Iterator[Path]) -> None:
    calls = calls_of(next(folders), Durability.NONE)
    for number in range(1, len(calls) + 1, 3):
        folder = next(folders)
        attempt(folder, FaultyFiles(number, kill="before"), Durability.NONE)
        with TargetRoot(folder) as root:
            assert not clean(root).kept
        assert not list(folder.glob(".rehydrate-*"))
        check_whole(folder)


def test_a_short_write_is_continued(folders: Iterator[Path]) -> None:
    calls = calls_of(next(folders), Durability.BATCH)
    for number in [number for number, name in enumerate(calls, 1) if name == "pwrite"]:
        folder = next(folders)
        restore = attempt(folder, FaultyFiles(number, kill="short"), Durability.BATCH)
        assert not restore.errors
        check_new(folder)
