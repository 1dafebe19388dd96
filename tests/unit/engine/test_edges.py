"""Rare turns of a whole job, each brought about through the parts around it."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
import pytest

from rehydrate.conformance import FailingStore, World
from rehydrate.conformance.faults import PREVIEW
from rehydrate.engine import reads, restore
from rehydrate.engine.streams import _MapSink
from rehydrate.errors import CorruptMetadataError, PublishError
from rehydrate.formats.native.format import NATIVE, NativeFormat
from rehydrate.formats.walk import Limits, StubTable
from rehydrate.requests import CancelToken, Recall
from rehydrate.results import FileFinished, FileStatus, RestoreEvent
from rehydrate.staging.directories import DirectoryResult
from rehydrate.staging.staging import Staging
from rehydrate.values import StorePath
from tests.conformance.jobs import (
    ONE,
    Events,
    Fake,
    broken,
    noise,
    one_container,
    run,
    two_containers,
)

PATIENCE = 20.0


def test_map_that_is_no_multiple_of_a_row() -> None:
    sink = _MapSink(NATIVE, 2)
    taker = sink.open(np.array([1]))
    taker.put(0, bytes(65))
    taker.close()
    assert isinstance(sink.errors[1], CorruptMetadataError)
    assert sink.rows == [None, None]


def test_owner_that_cannot_be_given_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Staging, "owners_not_applied", True)
    job = run(one_container(), tmp_path)
    assert [notice for notice in job.report.notices if "owners" in notice] == [
        "owners were not applied: this needs privilege"
    ]


def test_directory_whose_metadata_cannot_be_set_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.directory("d")
    world.file("d/f", [world.chunk(b"x")])
    results = [
        DirectoryResult(b"d", PublishError("cannot set the mode"), ("mode",)),
        DirectoryResult(b"not asked for", None, ()),
    ]
    monkeypatch.setattr(Staging, "finish_directories", lambda self: results)
    job = run(world, tmp_path, old=False)
    assert job.report[0].status is FileStatus.RESTORED
    assert job.report[0].metadata_lost == ("mode",)
    assert not job.report.ok


class Recalls(NativeFormat):
    """The native format with stubs that hint at newer data."""

    @property
    def has_recall(self) -> bool:
        return True

    def decode_stubs(self, stubs: Sequence[bytes], limits: Limits) -> StubTable:
        table = super().decode_stubs(stubs, limits)
        return attrs.evolve(table, recall_sign=np.ones(len(stubs), np.bool_))


def test_version_of_the_store_is_a_status_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "format_of", lambda owner: Recalls())
    world = World()
    chunk = world.chunk(noise(1))
    for name in ("a", "b"):
        world.file(name, [chunk], link_group=5)
    refused = run(world, tmp_path / "refused")
    refused.check()
    assert refused.failed() == {"a", "b"}
    job = run(world, tmp_path / "taken", recall=Recall.IGNORE)
    assert job.statuses()["a"] is FileStatus.STORE_VERSION
    assert job.report.ok
    for name in ("a", "b"):
        assert (tmp_path / "taken" / name).read_bytes() == world.expected[name]


@pytest.mark.parametrize("executor", [True, False])
def test_token_while_all_concurrent_reads_are_in_flight(tmp_path: Path, *, executor: bool) -> None:
    world = one_container(12)
    token = CancelToken()
    gate = threading.Barrier(2)

    def read(path: StorePath, offset: int, size: int) -> bytes:
        gate.wait(PATIENCE)
        token.cancel()
        threading.Event().wait(0.25)
        return world.files[path][offset : offset + size]

    store = Fake(world.store(), read_backup_file=read, concurrent_reads=2)
    with ThreadPoolExecutor(1) as pool:
        job = run(world, tmp_path, store, cancel=token, jobs=2, executor=pool if executor else None)
    job.check(cancelled=True)
    assert set(job.report.counts) == {FileStatus.CANCELLED}
    assert len(job.store.reads) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_out_of_a_read_beside_an_executor(tmp_path: Path, kind: type[BaseException]) -> None:
    world = two_containers()
    store = FailingStore(Fake(world.store(), concurrent_reads=2), kind, at=3)
    with ThreadPoolExecutor(2) as pool, pytest.raises(kind):
        run(world, tmp_path, store, executor=pool)
    assert run(world, tmp_path, old=False).report.ok


def test_file_that_is_published_when_the_job_fails_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message about a published file may wait behind the error that ends the job."""
    world = one_container(60)
    due = Staging.publish_due
    monkeypatch.setattr(Staging, "publish_due", lambda self: due(self) or self.waiting > 0)
    place = world.data().refs[50].offset
    stuck, entered = threading.Event(), threading.Event()

    def read(path: StorePath, offset: int, size: int) -> bytes:
        if offset == place:
            entered.set()
            stuck.wait(PATIENCE)
        return world.files[path][offset : offset + size]

    class Slow(Events):
        """Holds the caller's thread until the read is overdue and messages have piled up."""

        def on_event(self, event: RestoreEvent, /) -> None:
            if isinstance(event, FileFinished) and not entered.is_set():
                entered.wait(PATIENCE)
                threading.Event().wait(0.4)

    store = Fake(world.store(), read_backup_file=read, max_gap=0, max_read=1072)
    monkeypatch.setattr(reads, "_BATCH_READS", 1)
    job = run(world, tmp_path, store, read_timeout=0.2, observer=Slow())
    assert FileStatus.RESTORED in job.report.counts
    stuck.set()
    job.check()
    for result in job.report.results:
        new = (tmp_path / result.target).read_bytes() == world.expected[result.target]
        assert new is (result.status is FileStatus.RESTORED)


def test_failing_layout_of_a_file_with_own_data_and_of_resumed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_containers()
    good = world.files[ONE]
    broken(world, ONE, world.data(1).refs[1].offset + 90)
    assert run(world, tmp_path, checkpoint_bytes=1).failed() == {"both"}
    world.files[ONE] = good
    write_at = Staging.write_at

    def failing(self: Staging, number: int, offset: int, data: bytes) -> None:
        raise PublishError("disk")

    monkeypatch.setattr(Staging, "write_at", failing)
    job = run(world, tmp_path, old=False)
    assert "both" in job.failed()
    monkeypatch.setattr(Staging, "write_at", write_at)
    assert run(world, tmp_path, old=False).report.ok


def test_preview_may_fail_in_every_round(tmp_path: Path) -> None:
    world = two_containers()
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    events = Events()
    store = Fake(world.store(), preview_container_read=lambda path, reads: None)
    failing = FailingStore(store, lambda: OSError("drive"), names=(PREVIEW,), once=False)
    job = run(world, tmp_path, failing, observer=events)
    job.check()
    assert job.failed() == {"one", "mapped"}


def test_callback_that_changes_the_working_directory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_containers()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def preview(path: StorePath, reads: object) -> None:
        monkeypatch.chdir(tmp_path / "elsewhere")

    job = run(world, Path("out"), Fake(world.store(), preview_container_read=preview))
    assert job.report.ok
    for name, data in world.expected.items():
        assert (tmp_path / "here" / "out" / name).read_bytes() == data
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_observer_is_called_on_the_callers_thread_and_may_look_at_anything(
    tmp_path: Path,
) -> None:
    world, other = two_containers(), one_container(2)
    threads: set[int] = set()
    inner: list[bool] = []

    class Curious:
        def on_event(self, event: RestoreEvent, /) -> None:
            threads.add(threading.get_ident())
            if not inner:
                inner.append(True)
                inner.append(run(other, tmp_path / "inner").report.ok)

    job = run(world, tmp_path / "out", observer=Curious(), jobs=3)
    job.check()
    assert job.report.ok
    assert threads == {threading.get_ident()}
    assert inner == [True, True]


def test_errors_in_the_report_hold_no_frames_of_the_engine(tmp_path: Path) -> None:
    """Errors that go into the report do not keep the buffers of the job alive."""
    world = one_container(3)
    job = run(world, tmp_path, FailingStore(world.store(), lambda: OSError("x"), once=False))
    for error in job.report.errors.values():
        assert error.__traceback__ is None
