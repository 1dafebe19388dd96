"""Thaws against a real S3 server: a restore waits for them, continues jobs, and never asks twice."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rehydrate import (
    FileStatus,
    NotReadyError,
    RequestError,
    RestoreReport,
    StoreError,
    StoreReadError,
    TargetRoot,
    plan_restore,
    restore_files,
)
from rehydrate.conformance import World
from rehydrate.media.tiers import ThawOptions
from rehydrate.stores.objects.archive import ObjectState, S3Archive, Stage
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.client import Access
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from rehydrate.values import StorePath
from tests.unit.stores.objects.service import KEYS, REGION, Answer, Bucket, FaultProxy

HERE = StorePath("Data/1.c")


def world_of(count: int = 3) -> World:
    world = World()
    for number in range(1, count + 1):
        parts = [[world.chunk(bytes([number, part]) * 4000, number)] for part in range(6)]
        world.mapped_file(f"file-{number}", parts, number=100)
    return world.seal()


def freeze(bucket: Bucket, world: World, warm: Sequence[str] = ()) -> None:
    for path, data in world.files.items():
        cold = path.startswith("Data") and path not in warm
        bucket.put(path, data, kind="GLACIER" if cold else "STANDARD")


def thawing(bucket: Bucket, proxy: FaultProxy, job: Path | None, **more: Any) -> ThawingStore:
    access = bucket.access(proxy.url)
    choice = None
    if job is not None:
        options = ThawOptions(**{"days": 2, **more})
        choice = ThawChoice(speed="standard", job=job, options=options, looks=(0.01, 0.02))
    archive = S3Archive(bucket.url, access)
    return ThawingStore(ObjectStore(bucket.url, access=access), archive, choice=choice)


def restored(world: World, store: ThawingStore, folder: Path) -> RestoreReport:
    folder.mkdir(exist_ok=True)
    with TargetRoot(folder) as target:
        report = restore_files(world.requests, store, target)
    for result in report.results:
        if result.status is FileStatus.RESTORED:
            assert (folder / result.target).read_bytes() == world.expected[result.target]
    return report


def test_restore_waits_for_the_thaw_of_the_needed_objects(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    freeze(bucket, world)
    bucket.put("Data/nobody needs this", b"x", kind="GLACIER")
    bucket.restore_takes(4)
    store = thawing(bucket, proxy, tmp_path / "job")
    restored(world, store, tmp_path / "out").raise_for_failures()
    assert proxy.count("POST", "restore") == 3
    job = json.loads((tmp_path / "job").read_text())
    assert sorted(job["objects"]) == sorted(p for p in world.files if p.startswith("Data"))
    assert {entry["speed"] for entry in job["objects"].values()} == {"standard"}


def test_nothing_is_thawed_without_a_choice(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    freeze(bucket, world, warm=[next(path for path in world.files if path.startswith("Data"))])
    report = restored(world, thawing(bucket, proxy, None), tmp_path / "out")
    assert proxy.count("POST") == 0
    assert [result.status.name for result in report.results] == ["RESTORED", "FAILED", "FAILED"]
    assert {result.error.code for result in report.results if result.error} == {"object.archived"}


def test_plan_and_quote_move_nothing(bucket: Bucket, proxy: FaultProxy, tmp_path: Path) -> None:
    world = world_of()
    freeze(bucket, world)
    store = thawing(bucket, proxy, tmp_path / "job")
    plan_restore(world.requests, store)
    paths = sorted(StorePath(path) for path in world.files)
    quote = store.quote([*paths, StorePath("Data/none")], speed="bulk")
    assert proxy.count("POST") == 0
    assert (quote.frozen, quote.readable, quote.unknown, quote.thawing) == (3, 1, 1, 0)
    assert quote.frozen_bytes == sum(
        len(world.files[path]) for path in paths if path.startswith("Data")
    )
    assert (quote.retrieval, quote.requests, quote.waves) == (0, 0, 1)
    assert quote.total == quote.kept > 0
    assert quote.seconds >= 43_200


def test_too_dear_a_thaw_is_not_asked_for(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    freeze(bucket, world)
    store = thawing(bucket, proxy, tmp_path / "job", max_cost=1)
    report = restored(world, store, tmp_path / "out")
    assert proxy.count("POST") == 0
    assert {result.error.code for result in report.results if result.error} == {"thaw.max-cost"}
    assert len(list(report.results)) == 3


def test_job_continues_after_a_restart_without_asking_again(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    freeze(bucket, world)
    bucket.restore_takes(1000)
    first = thawing(bucket, proxy, tmp_path / "job")
    paths = sorted(path for path in world.files if path.startswith("Data"))
    first.order_containers_restore(paths)
    with pytest.raises(NotReadyError):
        first.preview_container_read(paths[0], ())
    assert proxy.count("POST", "restore") == 3
    bucket.restore_takes(None)
    again = thawing(bucket, proxy, tmp_path / "job")
    restored(world, again, tmp_path / "out").raise_for_failures()
    assert proxy.count("POST", "restore") == 3


def test_copy_that_expires_while_it_is_read_is_thawed_again(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of(1)
    freeze(bucket, world)
    store = thawing(bucket, proxy, tmp_path / "job")
    gone = [Answer(403, "InvalidObjectState", "expired")]

    def fault(method: str, path: str) -> Answer | None:
        return gone.pop() if method == "GET" and "Data" in path and gone else None

    proxy.fault = fault
    restored(world, store, tmp_path / "out").raise_for_failures()
    assert not gone
    assert proxy.count("POST", "restore") == 2


def test_refused_thaw_costs_only_its_files(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    freeze(bucket, world)
    first = min(path for path in world.files if path.startswith("Data"))
    denied = Answer(403, "AccessDenied", "Access Denied")
    proxy.fault = lambda method, path: denied if method == "POST" and first in path else None
    report = restored(world, thawing(bucket, proxy, tmp_path / "job"), tmp_path / "out")
    assert [result.status.name for result in report.results] == ["FAILED", "RESTORED", "RESTORED"]
    error = next(iter(report.results)).error
    assert error is not None
    assert (error.code, error.retryable) == ("thaw.refused", False)


def test_state_of_an_object(bucket: Bucket, proxy: FaultProxy) -> None:
    archive = S3Archive(bucket.url, bucket.access(proxy.url))
    bucket.put(HERE, bytes(100))
    found = archive.state(HERE, None)
    assert found == ObjectState(stage=Stage.READABLE, size=100)
    bucket.put(HERE, bytes(100), kind="DEEP_ARCHIVE")
    bucket.restore_takes(2)
    frozen = archive.state(HERE, None)
    assert (frozen.stage, frozen.tier) == (Stage.FROZEN, "s3-deep-archive")
    archive.thaw(HERE, None, frozen, speed="bulk", days=3)
    assert archive.state(HERE, None).stage is Stage.THAWING
    bucket.restore_takes(None)
    thawed = archive.state(HERE, None)
    assert thawed.stage is Stage.READABLE
    assert thawed.expires_ns is not None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(Answer(409, "RestoreAlreadyInProgress", "x"), None, id="in-progress"),
        pytest.param(
            Answer(503, "GlacierExpeditedRetrievalNotAvailable", "x"), "thaw.capacity", id="full"
        ),
        pytest.param(Answer(403, "AccessDenied", "x"), "object.denied", id="denied"),
        pytest.param(Answer(503, "SlowDown", "x"), "object.throttled", id="slow"),
        pytest.param(Answer(404, "NoSuchKey", "x"), "store.container-missing", id="missing"),
    ],
)
def test_answers_to_a_request(
    bucket: Bucket, proxy: FaultProxy, answer: Answer, code: str | None
) -> None:
    proxy.fault = lambda _method, _path: answer
    archive = S3Archive(bucket.url, bucket.access(proxy.url, retries=0))
    state = ObjectState(stage=Stage.FROZEN)
    if code is None:
        archive.thaw(HERE, None, state, speed="expedited", days=1)
        return
    with pytest.raises(StoreError) as caught:
        archive.thaw(HERE, "v1", state, speed="expedited", days=1)
    assert caught.value.code == code


def test_archive_without_service_credentials_or_place(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = S3Archive(bucket.url, bucket.access("http://127.0.0.1:1", retries=0))
    with pytest.raises(StoreReadError) as caught:
        silent.state(HERE, None)
    assert caught.value.code == "object.network"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    with pytest.raises(StoreReadError) as caught:
        S3Archive(bucket.url, bucket.access(settings={}, retries=0)).state(HERE, None)
    assert caught.value.code == "object.credentials"
    for url in ("gs://bucket/x", "https://bucket.s3.eu-west-1.amazonaws.com/x"):
        with pytest.raises(RequestError):
            S3Archive(url)


def test_archived_object_of_intelligent_tiering_is_thawed_without_days(
    bucket: Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = S3Archive(bucket.url, bucket.access(proxy.url))
    said: dict[str, object] = {
        "StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "DEEP_ARCHIVE_ACCESS",
        "Restore": 'ongoing-request="false", expiry-date="some day"', "ContentLength": 7,
    }  # fmt: skip
    monkeypatch.setattr(archive, "_head", lambda **_: said)
    state = archive.state(HERE, None)
    assert (state.tier, state.stage, state.expires_ns) == ("s3-deep-archive", Stage.READABLE, None)
    asked: list[object] = []
    monkeypatch.setattr(archive, "_restore", lambda **given: asked.append(given["RestoreRequest"]))
    archive.thaw(HERE, None, state, speed="bulk", days=3)
    assert asked == [{"GlacierJobParameters": {"Tier": "Bulk"}}]


@pytest.mark.parametrize("spelling", ["aws_{}", "AWS_{}", "{}"])
def test_settings_are_known_by_all_names_that_the_reader_knows(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    bucket.put(HERE, b"content", kind="GLACIER")
    wanted = {**KEYS, "region": REGION, "session_token": "any"}
    settings = {spelling.format(name.upper() if "AWS" in spelling else name): value
                for name, value in wanted.items()}  # fmt: skip
    access = Access(endpoint=bucket.server, settings=settings, retries=0)
    assert ObjectStore(bucket.url, access=access).size_of(HERE) == 7
    assert S3Archive(bucket.url, access).state(HERE, None).size == 7


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(StoreReadError, match="rehydrate\\[thaw\\]"):
        S3Archive("s3://bucket/x")
