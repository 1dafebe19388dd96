"""CC-PATH and CC-FLAG: names of containers, several stores, listings, the forbidden flag."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.conformance import RecordingStore, World
from rehydrate.conformance.faults import LIST
from rehydrate.engine import calls
from rehydrate.engine.restore import restore_files
from rehydrate.errors import RequestError, StoreError
from rehydrate.requests import (
    DEDUP_RECONSTRUCT_OPTIMIZED,
    DEDUP_RECONSTRUCT_UNOPTIMIZED,
    RestoreOptions,
)
from rehydrate.results import FileStatus
from rehydrate.staging.root import TargetRoot
from rehydrate.values import StorePath, as_windows
from tests.conformance.jobs import (
    ONE,
    Fake,
    broken,
    noise,
    one_container,
    ordered,
    run,
    two_containers,
)

OTHER = uuid.UUID(int=77)


@pytest.mark.rule("CC-PATH-1")
def test_paths_are_relative_with_forward_slashes(tmp_path: Path) -> None:
    world = two_containers()
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    job = run(world, tmp_path, ordered(world, lambda containers: None))
    paths = {call.path for call in job.store.calls if call.path is not None}
    paths |= {path for call in job.store.calls for path in call.containers}
    assert len(paths) > 3
    for path in paths:
        assert re.fullmatch(r"[^/\\.:][^/\\:]*(/[^/\\:]+)*", path), path
        assert not {".", ".."} & set(path.split("/"))


def two_stores() -> tuple[World, World]:
    first, second = one_container(2), World(OTHER)
    for number in range(2):
        second.file(f"g{number}", [second.chunk(noise(900 + number))])
    return first, second.seal()


@pytest.mark.rule("CC-PATH-2")
def test_several_stores_are_chosen_by_the_identity_in_the_stub(tmp_path: Path) -> None:
    first, second = two_stores()
    one, two = RecordingStore(first.store()), RecordingStore(second.store())
    requests = [first.requests[0], second.requests[0], first.requests[1], second.requests[1]]
    with TargetRoot(tmp_path) as root:
        stores = {first.store_id: one, second.store_id: two}
        report = restore_files(requests, stores, root)
    report.raise_for_failures()
    assert [result.target for result in report.results] == ["f0", "g0", "f1", "g1"]
    for name, data in {**first.expected, **second.expected}.items():
        assert (tmp_path / name).read_bytes() == data
    assert 0 < two.bytes_given < 4096 + 2 * 1072
    assert one.bytes_given == 2 * 1072


@pytest.mark.rule("CC-PATH-2")
@pytest.mark.parametrize("mapping", [True, False], ids=["mapping", "declared"])
def test_stub_of_a_store_that_was_not_given(tmp_path: Path, *, mapping: bool) -> None:
    first, second = two_stores()
    one = RecordingStore(Fake(first.store(), store_id=first.store_id))
    with TargetRoot(tmp_path) as root:
        stores = {first.store_id: one} if mapping else one
        report = restore_files([*first.requests, *second.requests], stores, root)
    assert report.counts == {FileStatus.RESTORED: 2, FileStatus.FAILED: 2}
    error = report[2].error
    assert isinstance(error, StoreError)
    assert error.code == "store.other"
    assert str(OTHER) in str(error)
    assert str(first.store_id) in str(error)


@pytest.mark.rule("CC-PATH-2")
def test_store_that_declares_no_identity_is_asked(tmp_path: Path) -> None:
    world = one_container(1)
    assert run(world, tmp_path, Fake(world.store(), store_id=None)).report.ok


@pytest.mark.rule("CC-PATH-3")
def test_windows_form() -> None:
    path = StorePath("System Volume Information/Dedup/ChunkStore/{G}.ddp/Data/1.ccc")
    assert as_windows(path) == (
        "\\System Volume Information\\Dedup\\ChunkStore\\{G}.ddp\\Data\\1.ccc"
    )


@pytest.mark.rule("CC-PATH-4")
def test_undamaged_job_never_lists(tmp_path: Path) -> None:
    job = run(two_containers(), tmp_path)
    assert job.store.named(LIST) == []


def endless() -> Iterator[str]:
    while True:
        yield "00000001.00000002.rhc"


@pytest.mark.rule("CC-PATH-4")
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["../../etc/passwd", "/", "", "a/b", "00000001.00000009.rhc/.."], id="paths"),
        pytest.param([b"00000001.00000002.rhc", 5, None, object()], id="no-names"),
        pytest.param(5, id="no-iterable"),
        pytest.param(None, id="none"),
        pytest.param([f"00000001.{n:08x}.rhc" for n in range(2, 2000)], id="thousands"),
    ],
)
def test_listing_is_not_believed(tmp_path: Path, names: object) -> None:
    world = two_containers()
    del world.files[ONE]
    job = run(world, tmp_path, Fake(world.store(), list_containers=lambda folder: names))
    job.check()
    assert job.failed() == {"one", "both", "mapped"}
    asked = {call.path for call in job.store.reads}
    assert len(asked) < 20
    assert all(re.fullmatch(r"(Data|Stream)/[0-9a-f.]+rhc", path or "") for path in asked)


@pytest.mark.rule("CC-PATH-4")
def test_listing_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_NAMES", 10_000)  # a million takes the same way, and a minute
    world = two_containers()
    del world.files[ONE]
    job = run(world, tmp_path, Fake(world.store(), list_containers=lambda folder: endless()))
    job.check()
    assert job.failed() == {"one", "both", "mapped"}


@pytest.mark.rule("CC-PATH-4")
@pytest.mark.parametrize("error", [OSError("x"), StopIteration(), NotImplementedError()])
def test_listing_that_fails_counts_as_empty(tmp_path: Path, error: Exception) -> None:
    world = two_containers()
    del world.files[ONE]

    def listing(folder: StorePath) -> list[str]:
        raise error

    job = run(world, tmp_path, Fake(world.store(), list_containers=listing))
    job.check()
    assert job.failed() == {"one", "both", "mapped"}


@pytest.mark.rule("CC-FLAG-1")
def test_forbidden_flag_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="DEDUP_RECONSTRUCT_OPTIMIZED is reserved"):
        RestoreOptions(flags=DEDUP_RECONSTRUCT_OPTIMIZED)


@pytest.mark.rule("CC-FLAG-1")
@pytest.mark.parametrize("flags", [0, 3, -1, 2**32, None, "1"])
def test_only_the_allowed_flag_is_taken(flags: object) -> None:
    assert RestoreOptions().flags == DEDUP_RECONSTRUCT_UNOPTIMIZED == 1
    with pytest.raises(RequestError):
        RestoreOptions(flags=flags)  # type: ignore[arg-type] # no value of the flag
