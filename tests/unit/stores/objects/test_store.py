"""The store against a real server: ranges, versions, and every refusal as an error of its own."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from rehydrate import (
    ContainerNotFoundError,
    FileStatus,
    RequestError,
    RestoreOptions,
    RestoreRequest,
    StoreReadError,
    TargetRoot,
    restore_files,
)
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.conformance import World
from rehydrate.errors import CorruptMetadataError
from rehydrate.stores.objects.client import Access, Fetched, scheme_of
from rehydrate.stores.objects.link import LINKS, Link, measure
from rehydrate.stores.objects.store import ObjectStore, versions_of
from rehydrate.values import StorePath
from tests.unit.stores.objects.service import Answer, Bucket, FaultProxy

pytest.importorskip("obstore")

DATA = bytes(range(256)) * 40
HERE = StorePath("Data/1.c")


def opened(bucket: Bucket, endpoint: str | None = None, **more: object) -> ObjectStore:
    return ObjectStore(bucket.url, access=bucket.access(endpoint, **more))


def refusal(store: ObjectStore, path: str = HERE) -> StoreReadError:
    with pytest.raises(StoreReadError) as caught:
        store.read_backup_file(StorePath(path), 0, 10)
    return caught.value


def small_world() -> World:
    world = World()
    for number in (1, 2):
        parts = [[world.chunk(bytes([number, part]) * 4000, number)] for part in range(12)]
        world.mapped_file(f"file-{number}", parts, number=100 + number)
    return world.seal()


def test_ranges_names_and_sizes_of_objects(bucket: Bucket) -> None:
    odd = StorePath("System Volume Information/Dedup/{A-B}.ddp/Data/0 #%41?ä.ccc")
    bucket.fill({HERE: DATA, StorePath("Data/2.c"): b"", odd: b"odd"})
    store = opened(bucket)
    assert bytes(memoryview(store.read_backup_file(HERE, 5, 300))) == DATA[5:305]
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA) - 3, 9))) == DATA[-3:]
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA), 9))) == b""
    assert bytes(memoryview(store.read_backup_file(odd, 0, 9))) == b"odd"
    room = bytearray(8)
    assert store.read_backup_file_into(HERE, len(DATA) - 4, memoryview(room)) == 4
    assert bytes(room) == DATA[-4:] + bytes(4)
    assert store.list_containers(StorePath("Data")) == ["1.c", "2.c"]
    assert store.list_containers(StorePath("Data/none")) == []
    assert store.size_of(HERE) == len(DATA)
    assert (store.traffic.requests, store.traffic.received) == (5, 300 + 3 + 3 + 4)


def test_restore_with_reads_in_parallel(bucket: Bucket, tmp_path: Path) -> None:
    world = small_world()
    bucket.fill(world.files)
    with TargetRoot(tmp_path) as target:
        report = restore_files(world.requests, opened(bucket), target)
    report.raise_for_failures()
    for name, content in world.expected.items():
        assert (tmp_path / name).read_bytes() == content


def test_missing_object_is_file_not_found_and_missing_bucket_is_not(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        opened(bucket).read_backup_file(HERE, 0, 1)
    assert isinstance(caught.value, ContainerNotFoundError)
    store = ObjectStore("s3://no-such-bucket-anywhere/x", access=bucket.access())
    error = refusal(store)
    assert (error.code, error.retryable) == ("object.bucket-missing", False)


def test_versions_of_a_manifest_are_read(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    old = bucket.put(HERE, b"old bytes")
    bucket.put(HERE, b"new")
    store = ObjectStore(
        bucket.url, access=bucket.access(), versions=versions_of(f'{{"{HERE}": "{old}"}}')
    )
    assert bytes(memoryview(store.read_backup_file(HERE, 0, 20))) == b"old bytes"
    assert store.size_of(HERE) == 9
    assert store.version_of(HERE) == old
    gone = ObjectStore(bucket.url, access=bucket.access(), versions={HERE: "no-such-version"})
    with pytest.raises(ContainerNotFoundError) as caught:
        gone.read_backup_file(HERE, 0, 1)
    assert caught.value.code == "object.version-missing"


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[" * 100_000])
def test_damaged_manifest_is_refused(text: str) -> None:
    with pytest.raises(CorruptMetadataError):
        versions_of(text)


def test_object_replaced_since_its_first_read_is_refused(bucket: Bucket) -> None:
    bucket.put(HERE, DATA)
    store = opened(bucket)
    store.read_backup_file(HERE, 0, 10)
    bucket.put(HERE, DATA[::-1])
    assert (refusal(store).code, refusal(store).retryable) == ("object.changed", False)


def test_weak_tags_are_compared_here_and_not_by_the_service(
    bucket: Bucket, proxy: FaultProxy
) -> None:
    def weaken(_method: str, _path: str, headers: dict[str, str]) -> None:
        headers["Etag"] = "W/" + headers.get("Etag", '"none"')

    proxy.alter = weaken
    bucket.put(HERE, DATA)
    store = opened(bucket, proxy.url)
    for offset in (0, 10):
        assert bytes(store.read_backup_file(HERE, offset, 10)) == DATA[offset : offset + 10]
    assert not any("if-match" in headers for headers in proxy.sent)
    bucket.put(HERE, DATA[::-1])
    assert refusal(store).code == "object.changed"


def test_archived_object_says_so(bucket: Bucket) -> None:
    bucket.put(HERE, DATA, kind="GLACIER")
    error = refusal(opened(bucket))
    assert (error.code, error.container, error.hresult) == ("object.archived", HERE, 0x80070015)


KMS = "User: arn:x is not authorized to perform: kms:Decrypt on this resource"


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        pytest.param(Answer(403, "AccessDenied", "Access Denied"), "denied", False, id="denied"),
        pytest.param(Answer(403, "AccessDenied", KMS), "kms", False, id="kms"),
        pytest.param(Answer(400, "KMS.DisabledException", "off"), "kms", False, id="kms-disabled"),
        pytest.param(
            Answer(403, "AccessDenied", "This is a Requester Pays bucket"), "requester-pays",
            False, id="payer",
        ),
        pytest.param(Answer(400, "UserProjectMissing", "x"), "requester-pays", False, id="project"),
        pytest.param(
            Answer(403, "InvalidObjectState", "x", "<AccessTier>ARCHIVE_ACCESS</AccessTier>"),
            "archived-tiering", True, id="tiering",
        ),
        pytest.param(Answer(409, "BlobArchived", "x"), "archived", True, id="azure-archived"),
        pytest.param(Answer(503, "SlowDown", "slow"), "throttled", True, id="slow-down"),
        pytest.param(Answer(429, "", ""), "throttled", True, id="too-many"),
        pytest.param(Answer(500, "InternalError", "x"), "server", True, id="server"),
        pytest.param(Answer(403, "ExpiredToken", "x"), "credentials", False, id="token"),
        pytest.param(Answer(401, "", ""), "credentials", False, id="unauthorized"),
        pytest.param(Answer(400, "AuthorizationHeaderMalformed", "x"), "region", False, id="region"),
        pytest.param(Answer(418, "Teapot", "x"), "refused", False, id="other"),
    ],
)  # fmt: skip
def test_refusals_have_errors_of_their_own(
    bucket: Bucket, proxy: FaultProxy, answer: Answer, code: str, *, retryable: bool
) -> None:
    proxy.fault = lambda _method, _path: answer
    error = refusal(opened(bucket, proxy.url, retries=0))
    assert (error.code, error.retryable) == (f"object.{code}", retryable)
    assert "Signature" not in str(error)


def test_throttling_and_server_errors_are_tried_again(bucket: Bucket, proxy: FaultProxy) -> None:
    bucket.put(HERE, DATA)
    answers = [Answer(503, "SlowDown"), Answer(500, "InternalError"), Answer(429)]
    proxy.fault = lambda _method, _path: answers.pop() if answers else None
    store = opened(bucket, proxy.url, retries=3)
    assert bytes(memoryview(store.read_backup_file(HERE, 1, 9))) == DATA[1:10]
    assert proxy.count("GET") == 4


def test_broken_off_body_is_no_short_object(bucket: Bucket, proxy: FaultProxy) -> None:
    bucket.put(HERE, DATA)
    answers = [Answer(cut=100)]
    proxy.fault = lambda _method, _path: answers.pop() if answers else None
    store = opened(bucket, proxy.url)
    assert bytes(memoryview(store.read_backup_file(HERE, 0, 9000))) == DATA[:9000]


def test_silent_service_is_a_network_error(bucket: Bucket) -> None:
    store = ObjectStore(bucket.url, access=bucket.access("http://127.0.0.1:1", retries=0))
    assert refusal(store).code == "object.network"


def test_spoilt_bytes_cost_only_their_file(
    bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    world = small_world()
    bucket.fill(world.files)
    chunk = bytes([1, 5]) * 9  # in the first file only
    proxy.spoil = lambda _path, body: body.replace(chunk, bytes(18))
    with TargetRoot(tmp_path) as target:
        report = restore_files(world.requests, opened(bucket, proxy.url), target)
    found = {result.target: result for result in report.results}
    assert found["file-2"].status is FileStatus.RESTORED
    assert found["file-1"].error is not None
    assert found["file-1"].error.code == "chunk.digest"


def test_object_gone_costs_only_its_files(bucket: Bucket, tmp_path: Path) -> None:
    world = small_world()
    bucket.fill(world.files)
    bucket.delete(next(path for path in sorted(world.files) if path.startswith("Data")))
    with TargetRoot(tmp_path) as target:
        report = restore_files(
            world.requests, opened(bucket), target, options=RestoreOptions(jobs=2)
        )
    assert [result.status for result in report.results] == [FileStatus.FAILED, FileStatus.RESTORED]
    assert isinstance(next(iter(report.results)).error, ContainerNotFoundError)


def test_requester_pays_is_sent(bucket: Bucket, proxy: FaultProxy) -> None:
    bucket.put(HERE, DATA)
    opened(bucket, proxy.url, requester_pays=True).read_backup_file(HERE, 0, 1)
    assert proxy.payers == ["requester"]


def test_local_folder_and_profile_of_the_sdk(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Data").mkdir()
    (tmp_path / HERE).write_bytes(DATA)
    local = ObjectStore(tmp_path.as_uri())
    assert bytes(memoryview(local.read_backup_file(HERE, 3, 4))) == DATA[3:7]
    assert bytes(memoryview(local.read_backup_file(HERE, len(DATA) + 1, 4))) == b""
    assert local.list_containers(StorePath("Data")) == ["1.c"]
    assert local.max_gap == 4000
    (tmp_path / "credentials").write_text(
        "[them]\naws_access_key_id = a\naws_secret_access_key = b\n", encoding="utf-8"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    bucket.put(HERE, DATA)
    store = opened(bucket, profile="them", settings={})
    assert bytes(memoryview(store.read_backup_file(HERE, 0, 4))) == DATA[:4]


def test_names_that_no_service_takes_are_refused(tmp_path: Path) -> None:
    assert refusal(ObjectStore(tmp_path.as_uri()), "../x").code == "object.name"


@pytest.mark.parametrize("url", ["ftp://x/y", "bucket", "s3://", "az://container/x"])
def test_url_of_no_service_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        ObjectStore(url)
    assert caught.value.code == "object.url"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://account.blob.core.windows.net/container", "az"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/x", "s3"),
        ("https://example.org/x", "http"),
        ("gs://bucket", "gs"),
    ],
)
def test_kind_of_service(url: str, kind: str) -> None:
    assert scheme_of(url) == kind


def test_other_services_open_without_being_asked() -> None:
    assert ObjectStore("gs://bucket/x", access=Access(anonymous=True)).max_gap == 2_000_000
    azure = ObjectStore(
        "az://container/x", access=Access(settings={"account_name": "them"}, anonymous=True)
    )
    assert azure.concurrent_reads == 16
    assert ObjectStore("https://example.org/x").link == LINKS["http"]


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StoreReadError, match="rehydrate\\[object\\]"):
        ObjectStore("s3://bucket/x")


def test_link_is_measured_by_a_few_requests(bucket: Bucket) -> None:
    bucket.put(HERE, DATA)
    store = opened(bucket)
    link = store.measure(HERE)
    assert store.link is link
    assert store.traffic.requests == 6
    assert store.max_gap == link.max_gap


def test_gap_is_latency_times_bandwidth() -> None:
    now = [0.0]

    def fetch(_offset: int, length: int) -> bytes:
        now[0] += 0.02 + (length - 1) / 1e6
        return b""

    link = measure(fetch, 1 << 20, monotonic=lambda: now[0])
    assert link.latency == pytest.approx(0.02)
    assert link.max_gap == pytest.approx(20_000, rel=0.01)
    with pytest.raises(RequestError):
        measure(fetch, 0)


@pytest.mark.parametrize(
    ("latency", "bandwidth", "connections"),
    [(-1, 1, 1), (float("nan"), 1, 1), (0, 0, 1), (0, float("inf"), 1), (0, 1, 0), (0, 1, 65)],
)
def test_links_that_are_none_are_refused(
    latency: float, bandwidth: float, connections: int
) -> None:
    with pytest.raises(RequestError):
        Link(latency=latency, bandwidth=bandwidth, connections=connections)


def test_two_first_reads_that_see_two_objects_are_told_apart() -> None:
    class Changing:
        """Another object takes the place of the first between two answers."""

        tags = iter(("one", "two"))

        def fetch(
            self, key: str, offset: int, size: int, *, version: str | None, tag: str
        ) -> Fetched:
            return Fetched(bytes(size), next(self.tags))

        def size(self, key: str, *, version: str | None) -> int:
            return 0

        def sizes(self, folder: str) -> dict[str, int]:
            return {}

    store = ObjectStore(Changing())
    store.read_backup_file(HERE, 0, 1)
    assert refusal(store).code == "object.changed"


def test_whole_store_is_opened_and_restored_out_of_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    source, made, out = tmp_path / "source", tmp_path / "store", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    (source / "file").write_bytes(random.Random(1).randbytes(300_000))
    program = [sys.executable, "-m", "rehydrate.cli"]
    subprocess.run([*program, "optimize", str(source), str(made)], check=True, capture_output=True)
    for path in made.rglob("*"):
        if path.is_file():
            bucket.put(path.relative_to(made).as_posix(), path.read_bytes())
    catalogue = NativeCatalogue.over(opened(bucket), bucket.url)
    requests = [
        RestoreRequest(target=os.fsdecode(entry.path), stub=entry.stub)
        for entry in catalogue.entries(1)
    ]
    with TargetRoot(out) as target:
        restore_files(requests, opened(bucket), target).raise_for_failures()
    assert (out / "file").read_bytes() == (source / "file").read_bytes()


def test_sizes_are_those_of_the_listing_but_of_named_versions(
    bucket: Bucket, proxy: FaultProxy
) -> None:
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    path = StorePath("Data/1.c")
    old = bucket.put(path, bytes(10))
    assert old is not None
    bucket.put(path, bytes(20))
    access = bucket.access(proxy.url)
    store = ObjectStore(bucket.url, access=access)
    assert store.size_of(path) == 20
    assert proxy.count("HEAD") == 1
    assert store.list_containers(StorePath("Data")) == ["1.c"]
    assert store.size_of(path) == 20
    assert proxy.count("HEAD") == 1
    before = ObjectStore(bucket.url, access=access, versions={path: old})
    before.list_containers(StorePath("Data"))
    assert before.size_of(path) == 10
