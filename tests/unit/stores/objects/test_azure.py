"""Azure against Microsoft's emulator: ranges, refusals, and thaws that a restore waits for."""

import json
from pathlib import Path
from typing import Any

import pytest

from rehydrate import NotReadyError, StoreError, StoreReadError, TargetRoot, restore_files
from rehydrate.conformance import World
from rehydrate.media.tiers import ThawOptions
from rehydrate.stores.objects.archive import ObjectState, Stage
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.azure import AzureArchive
from rehydrate.stores.objects.client import Access
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from rehydrate.values import StorePath
from tests.unit.stores.objects.azure_service import ACCOUNT, KEY, BlobContainer, Pending
from tests.unit.stores.objects.service import Answer, FaultProxy
from tests.unit.stores.objects.test_thawing_loopback import restored, world_of

DATA = bytes(range(256)) * 40
HERE = StorePath("Data/1.c")
ODD = StorePath("System Volume Information/Dedup/{A-B}.ddp/Data/0 #%41?ä.ccc")
FROZEN = ObjectState(stage=Stage.FROZEN)


def cold(world: World) -> list[StorePath]:
    return sorted(StorePath(path) for path in world.files if path.startswith("Data"))


def thawing(
    blobs: BlobContainer, proxy: FaultProxy, job: Path | None, *, speed: str = "high", **more: Any
) -> ThawingStore:
    access, choice = blobs.access(proxy.url), None
    if job is not None:
        options = ThawOptions(**{"days": 2, **more})
        choice = ThawChoice(speed=speed, job=job, options=options, looks=(0.01, 0.02))
    archive = AzureArchive(blobs.url, access)
    return ThawingStore(ObjectStore(blobs.url, access=access), archive, choice=choice)


def refusal(store: ObjectStore, path: StorePath = HERE) -> StoreReadError:
    with pytest.raises(StoreReadError) as caught:
        store.read_backup_file(path, 0, 10)
    return caught.value


def asked_for(proxy: FaultProxy) -> int:
    return proxy.count("PUT", "comp=tier")


def test_ranges_names_and_sizes_of_blobs(blobs: BlobContainer) -> None:
    blobs.fill({HERE: DATA, StorePath("Data/2.c"): b"", ODD: b"odd"})
    store = ObjectStore(blobs.url, access=blobs.access())
    assert bytes(memoryview(store.read_backup_file(HERE, 5, 300))) == DATA[5:305]
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA) - 3, 9))) == DATA[-3:]
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA), 9))) == b""
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA) + 99, 9))) == b""
    assert bytes(memoryview(store.read_backup_file(ODD, 0, 9))) == b"odd"
    assert store.list_containers(StorePath("Data")) == ["1.c", "2.c"]
    assert store.list_containers(StorePath("Data/none")) == []
    assert store.size_of(HERE) == len(DATA)


def test_whole_restore_with_reads_in_parallel(blobs: BlobContainer, tmp_path: Path) -> None:
    world = world_of()
    blobs.fill(world.files)
    with TargetRoot(tmp_path) as target:
        store = ObjectStore(blobs.url, access=blobs.access())
        restore_files(world.requests, store, target).raise_for_failures()
    for name, content in world.expected.items():
        assert (tmp_path / name).read_bytes() == content


def test_missing_blobs_and_containers(blobs: BlobContainer) -> None:
    with pytest.raises(FileNotFoundError):
        ObjectStore(blobs.url, access=blobs.access()).read_backup_file(HERE, 0, 1)
    nowhere = "az://no-such-container/backup"
    store = ObjectStore(nowhere, access=blobs.access())
    assert (refusal(store).code, refusal(store).retryable) == ("object.bucket-missing", False)
    for url, code in ((blobs.url, "store.container-missing"), (nowhere, "object.bucket-missing")):
        archive = AzureArchive(url, blobs.access())
        with pytest.raises(StoreError) as caught:
            archive.state(HERE, None)
        assert caught.value.code == code
        with pytest.raises(StoreError) as caught:
            archive.thaw(HERE, None, FROZEN, speed="high", days=1)
        assert caught.value.code == code


def test_archived_blob_says_so(blobs: BlobContainer) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    store = ObjectStore(blobs.url, access=blobs.access())
    error = refusal(store)
    assert (error.code, error.container, error.hresult) == ("object.archived", HERE, 0x80070015)
    assert error.retryable
    assert store.size_of(HERE) == len(DATA)


def test_replaced_blob_is_told(blobs: BlobContainer) -> None:
    blobs.put(HERE, DATA)
    store = ObjectStore(blobs.url, access=blobs.access())
    store.read_backup_file(HERE, 0, 1)
    blobs.put(HERE, DATA[::-1])
    assert refusal(store).code == "object.changed"


def test_thaw_changes_nothing_that_a_reader_holds_on_to(blobs: BlobContainer) -> None:
    """A read after a thaw must not be taken for one of another blob."""
    blobs.put(HERE, DATA)
    access = blobs.access()
    store, archive = ObjectStore(blobs.url, access=access), AzureArchive(blobs.url, access)
    store.read_backup_file(HERE, 0, 1)
    blobs.client.get_blob_client(f"backup/{HERE}").set_standard_blob_tier("Archive")
    archive.thaw(HERE, None, archive.state(HERE, None), speed="high", days=1)
    assert bytes(memoryview(store.read_backup_file(HERE, 3, 4))) == DATA[3:7]


@pytest.mark.parametrize(
    "access",
    [
        pytest.param({"anonymous": True, "settings": {"account_name": ACCOUNT}}, id="anonymous"),
        pytest.param(
            {"settings": {"account_name": ACCOUNT, "account_key": "AAAA"}}, id="wrong key"
        ),
    ],
)
def test_who_is_not_known_is_refused(blobs: BlobContainer, access: dict[str, Any]) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    given = blobs.access(**access)
    error = refusal(ObjectStore(blobs.url, access=given))
    assert (error.code, error.retryable, error.hresult) == ("object.denied", False, 0x80070005)
    assert "requester" not in str(error)
    archive = AzureArchive(blobs.url, given)
    with pytest.raises(StoreReadError) as caught:
        archive.state(HERE, None)
    assert caught.value.code == "object.denied"
    with pytest.raises(StoreReadError) as caught:
        archive.thaw(HERE, None, FROZEN, speed="high", days=1)
    assert caught.value.code == "object.denied"
    assert blobs.tier(HERE) == "Archive"


def test_signature_that_may_read_does_not_thaw(blobs: BlobContainer) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    for permission, thawed in (("rl", False), ("rwl", True)):
        settings = {"account_name": ACCOUNT, "sas_key": blobs.signature(permission)}
        access = blobs.access(settings=settings)
        archive = AzureArchive(blobs.url, access)
        state = archive.state(HERE, None)
        assert (state.stage, state.size) == (Stage.FROZEN, len(DATA))
        if thawed:
            archive.thaw(HERE, None, state, speed="standard", days=1)
            store = ObjectStore(blobs.url, access=access)
            assert bytes(memoryview(store.read_backup_file(HERE, 3, 4))) == DATA[3:7]
        else:
            with pytest.raises(StoreReadError) as caught:
                archive.thaw(HERE, None, state, speed="standard", days=1)
            assert caught.value.code == "object.denied"


@pytest.mark.parametrize("path", [HERE, ODD], ids=["plain", "odd"])
def test_state_of_a_blob_on_its_way(
    blobs: BlobContainer, before_azure: FaultProxy, path: StorePath
) -> None:
    Pending(before_azure, looks=1)
    archive = AzureArchive(blobs.url, blobs.access(before_azure.url))
    blobs.put(path, bytes(100), kind="Cool")
    assert archive.state(path, None) == ObjectState(
        stage=Stage.READABLE, storage_class="Cool", size=100
    )
    blobs.put(path, bytes(100), kind="Archive")
    frozen = archive.state(path, None)
    assert (frozen.stage, frozen.tier, frozen.size) == (Stage.FROZEN, "azure-archive", 100)
    archive.thaw(path, None, frozen, speed="high", days=3)
    archive.thaw(path, None, frozen, speed="high", days=3)  # 409 BlobBeingRehydrated
    assert asked_for(before_azure) == 2
    assert before_azure.sent[-1]["x-ms-rehydrate-priority"] == "High"
    assert before_azure.sent[-1]["x-ms-access-tier"] == "Hot"
    store = ObjectStore(blobs.url, access=blobs.access(before_azure.url))
    assert refusal(store, path).code == "object.archived"
    pending = archive.state(path, None)
    assert (pending.stage, pending.tier) == (Stage.THAWING, "azure-archive")
    thawed = archive.state(path, None)
    assert (thawed.stage, thawed.storage_class, thawed.tier) == (Stage.READABLE, "Hot", "")
    assert thawed.expires_ns is None
    assert len(memoryview(store.read_backup_file(path, 0, 200))) == 100


def test_version_is_what_is_asked_about(blobs: BlobContainer, before_azure: FaultProxy) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    archive = AzureArchive(blobs.url, blobs.access(before_azure.url))
    version = "2026-01-02T03:04:05.0000000Z"
    archive.thaw(HERE, version, archive.state(HERE, version), speed="high", days=3)
    assert [method for method, path in before_azure.requests if "versionid=2026" in path] == [
        "HEAD",
        "PUT",
    ]


def test_restore_waits_for_the_thaw_of_the_needed_blobs(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    blobs.fill(world.files, cold=True)
    nobody = StorePath("Data/nobody needs this")
    blobs.put(nobody, b"x", kind="Archive")
    Pending(before_azure, looks=4)
    store = thawing(blobs, before_azure, tmp_path / "job")
    restored(world, store, tmp_path / "out").raise_for_failures()
    assert asked_for(before_azure) == len(cold(world)) == 3
    job = json.loads((tmp_path / "job").read_text())
    assert sorted(job["objects"]) == cold(world)
    assert {entry["progress"] for entry in job["objects"].values()} == {"ready"}
    assert {entry["expires_ns"] for entry in job["objects"].values()} == {None}
    assert {blobs.tier(path) for path in cold(world)} == {"Hot"}
    assert blobs.tier(nobody) == "Archive"


def test_nothing_is_thawed_without_a_choice_nor_by_a_quote(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    blobs.fill(world.files, cold=True)
    store = thawing(blobs, before_azure, None)
    quote = store.quote([*cold(world), HERE, StorePath("Data/none")], speed="standard")
    assert (quote.frozen, quote.unknown, quote.thawing, quote.waves) == (3, 2, 0, 1)
    assert quote.frozen_bytes == sum(len(world.files[path]) for path in cold(world))
    assert quote.requests == 1500  # half a dollar for a thousand
    assert quote.seconds >= 15 * 3600
    report = restored(world, store, tmp_path / "out")
    assert {result.error.code for result in report.results if result.error} == {"object.archived"}
    assert asked_for(before_azure) == 0
    assert {blobs.tier(path) for path in cold(world)} == {"Archive"}


def test_too_dear_a_thaw_is_not_asked_for(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    blobs.fill(world.files, cold=True)
    store = thawing(blobs, before_azure, tmp_path / "job", max_cost=1)
    report = restored(world, store, tmp_path / "out")
    assert asked_for(before_azure) == 0
    assert {result.error.code for result in report.results if result.error} == {"thaw.max-cost"}


def test_job_continues_after_a_restart_without_asking_again(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    blobs.fill(world.files, cold=True)
    pending = Pending(before_azure, looks=1000)
    first = thawing(blobs, before_azure, tmp_path / "job")
    first.order_containers_restore(cold(world))
    with pytest.raises(NotReadyError):
        first.preview_container_read(cold(world)[0], ())
    assert asked_for(before_azure) == 3
    pending.left = dict.fromkeys(pending.left, 2)
    again = thawing(blobs, before_azure, tmp_path / "job")
    restored(world, again, tmp_path / "out").raise_for_failures()
    assert asked_for(before_azure) == 3


def test_refused_thaw_costs_only_its_files(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    world = world_of()
    blobs.fill(world.files, cold=True)
    first = cold(world)[0]
    locked = Answer(409, "BlobImmutableDueToPolicy", "The blob is under a policy.")
    before_azure.fault = lambda method, path: locked if method == "PUT" and first in path else None
    report = restored(world, thawing(blobs, before_azure, tmp_path / "job"), tmp_path / "out")
    assert [result.status.name for result in report.results] == ["FAILED", "RESTORED", "RESTORED"]
    error = next(iter(report.results)).error
    assert error is not None
    assert (error.code, error.retryable) == ("thaw.refused", False)
    assert "BlobImmutableDueToPolicy" in str(error)


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        pytest.param(Answer(503, "ServerBusy", "x"), "throttled", True, id="busy"),
        pytest.param(Answer(429, "TooManyRequests", "x"), "throttled", True, id="too-many"),
        pytest.param(Answer(500, "InternalError", "x"), "server", True, id="server"),
        pytest.param(Answer(403, "AuthenticationFailed", "x"), "credentials", False, id="key"),
        pytest.param(
            Answer(401, "NoAuthenticationInformation", "x"), "credentials", False, id="none"
        ),
        pytest.param(
            Answer(403, "AuthorizationPermissionMismatch", "x"), "denied", False, id="role"
        ),
        pytest.param(Answer(409, "PublicAccessNotPermitted", "x"), "denied", False, id="public"),
        pytest.param(Answer(403, "KeyVaultEncryptionKeyNotFound", "x"), "kms", False, id="vault"),
        pytest.param(Answer(412, "LeaseIdMissing", "x"), "refused", False, id="leased"),
        pytest.param(Answer(409, "SnapshotsPresent", "x"), "refused", False, id="snapshots"),
        pytest.param(Answer(400, "InvalidHeaderValue", "x"), "refused", False, id="header"),
    ],
)
def test_refusals_have_errors_of_their_own(
    blobs: BlobContainer, before_azure: FaultProxy, answer: Answer, code: str, *, retryable: bool
) -> None:
    before_azure.fault = lambda _method, _path: answer
    access = blobs.access(before_azure.url)
    archive = AzureArchive(blobs.url, access)
    with pytest.raises(StoreReadError) as caught:
        archive.thaw(HERE, None, FROZEN, speed="standard", days=1)
    for error in (caught.value, refusal(ObjectStore(blobs.url, access=access))):
        assert (error.code, error.retryable) == (f"object.{code}", retryable)
        assert answer.code in str(error)
        assert KEY not in str(error)


def test_throttled_thaw_is_asked_for_again(
    blobs: BlobContainer, before_azure: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = pytest.importorskip("azure.storage.blob").ExponentialRetry
    monkeypatch.setattr(policies, "get_backoff_time", lambda *_: 0)
    blobs.put(HERE, DATA, kind="Archive")
    answers = [Answer(503, "ServerBusy")] * 5
    before_azure.fault = lambda _method, _path: answers.pop() if answers else None
    access = blobs.access(before_azure.url, retries=8)
    AzureArchive(blobs.url, access).thaw(HERE, None, FROZEN, speed="high", days=1)
    assert asked_for(before_azure) == 6
    assert blobs.tier(HERE) == "Hot"


def test_answer_that_is_none_is_an_error_of_the_server(
    blobs: BlobContainer, before_azure: FaultProxy
) -> None:
    blobs.put(HERE, DATA)

    def spoil(_method: str, _path: str, headers: dict[str, str]) -> None:
        headers["Last-Modified"] = "some day"

    before_azure.alter = spoil
    with pytest.raises(StoreReadError) as caught:
        AzureArchive(blobs.url, blobs.access(before_azure.url)).state(HERE, None)
    assert (caught.value.code, caught.value.retryable) == ("object.server", True)


def test_silent_service_is_a_network_error(blobs: BlobContainer) -> None:
    access = Access(
        endpoint="http://127.0.0.1:1/x",
        retries=0,
        settings={"account_name": ACCOUNT, "account_key": KEY},
    )
    with pytest.raises(StoreReadError) as caught:
        AzureArchive(blobs.url, access).state(HERE, None)
    assert caught.value.code == "object.network"
    unsigned = Access(
        endpoint="http://127.0.0.1:1/x",
        retries=0,
        settings={"account_name": ACCOUNT, "account_key": "abcde"},
    )
    with pytest.raises(StoreReadError) as caught:
        AzureArchive(blobs.url, unsigned).state(HERE, None)
    assert caught.value.code == "object.credentials"


def test_connection_string_reaches_both_clients(
    blobs: BlobContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    text = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={blobs.endpoint()};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    archive = AzureArchive(blobs.url)
    archive.thaw(HERE, None, archive.state(HERE, None), speed="high", days=1)
    store = ObjectStore(blobs.url)
    assert bytes(memoryview(store.read_backup_file(HERE, 3, 4))) == DATA[3:7]


def test_variables_of_the_environment_reach_both_clients(
    blobs: BlobContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_MASTER_KEY", KEY)
    monkeypatch.setenv("AZURE_ENDPOINT", blobs.endpoint())
    archive = AzureArchive(blobs.url)
    archive.thaw(HERE, None, archive.state(HERE, None), speed="high", days=1)
    store = ObjectStore(blobs.url)
    assert bytes(memoryview(store.read_backup_file(HERE, 3, 4))) == DATA[3:7]


def test_emulator_is_found_by_its_own_address(
    blobs: BlobContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(HERE, DATA, kind="Archive")
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", blobs.server)
    access = Access(settings={"use_emulator": True})
    archive = AzureArchive(blobs.url, access)
    archive.thaw(HERE, None, archive.state(HERE, None), speed="high", days=1)
    store = ObjectStore(blobs.url, access=access)
    assert bytes(memoryview(store.read_backup_file(HERE, 3, 4))) == DATA[3:7]
