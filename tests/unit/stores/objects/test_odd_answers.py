"""Answers that do not hold together, and names that are spelled in two ways."""

import pytest

from rehydrate import StoreError, StorePath
from rehydrate.stores.objects.archive import S3Archive, Stage
from rehydrate.stores.objects.client import Fetched
from rehydrate.stores.objects.store import ObjectStore
from tests.unit.stores.objects.service import Bucket, FaultProxy

PATH = StorePath("Data/1.c")
DATA = bytes(range(250)) * 40


def opened(bucket: Bucket, proxy: FaultProxy) -> ObjectStore:
    bucket.put(PATH, DATA)
    return ObjectStore(bucket.url, access=bucket.access(proxy.url))


def test_answer_with_fewer_bytes_than_it_tells_is_no_end_of_the_object(
    bucket: Bucket, proxy: FaultProxy
) -> None:
    store = opened(bucket, proxy)
    assert bytes(store.read_backup_file(PATH, 9_000, 5_000)) == DATA[9_000:]  # here it ends
    proxy.spoil = lambda _path, body: body[:100]
    with pytest.raises(StoreError) as caught:
        store.read_backup_file(PATH, 0, 1000)
    assert (caught.value.code, caught.value.retryable) == ("object.network", True)
    proxy.spoil = lambda _path, body: body
    assert bytes(store.read_backup_file(PATH, 0, 1000)) == DATA[:1000]


@pytest.mark.parametrize(
    "told", ["bytes 5-1004/10000", "bytes 0-499/10000", "bytes 0-1999/10000", "bytes */10000", "?"]
)
def test_answer_for_another_range_is_refused(bucket: Bucket, proxy: FaultProxy, told: str) -> None:
    store = opened(bucket, proxy)
    proxy.alter = lambda _method, _path, headers: headers.update({"Content-Range": told})
    with pytest.raises(StoreError):
        store.read_backup_file(PATH, 0, 1000)


def test_first_read_behind_the_end_tells_nothing_of_the_object() -> None:
    class Short:
        """Holds a hundred bytes."""

        def fetch(
            self, key: str, offset: int, size: int, *, version: str | None, tag: str
        ) -> Fetched:
            return Fetched(b"", tag) if offset >= 100 else Fetched(bytes(size), "tag")

        def size(self, key: str, *, version: str | None) -> int:
            return 100

        def sizes(self, folder: str) -> dict[str, int]:
            return {}

    store = ObjectStore(Short())
    assert bytes(store.read_backup_file(PATH, 100, 1)) == b""
    assert bytes(store.read_backup_file(PATH, 0, 1)) == b"\0"


@pytest.mark.parametrize("prefix", ["my backup", "my%20backup", "my%20backup/"])
def test_folder_of_a_url_is_the_same_for_reads_and_thaws(bucket: Bucket, prefix: str) -> None:
    bucket.client.put_object(
        Bucket=bucket.name, Key="my backup/x", Body=b"1", StorageClass="GLACIER"
    )
    url = f"s3://{bucket.name}/{prefix}"
    assert ObjectStore(url, access=bucket.access()).list_containers(StorePath("")) == ["x"]
    assert S3Archive(url, bucket.access()).state("x", None).stage is Stage.FROZEN


@pytest.mark.parametrize("name", ["a b", "ü", "a%20b", "100%", "a#b", "a?b", "[x]", "~", "a+b&c=d"])
def test_odd_names_are_the_same_for_reads_and_thaws(bucket: Bucket, name: str) -> None:
    bucket.put(name, b"x", kind="STANDARD_IA")
    store = ObjectStore(bucket.url, access=bucket.access())
    assert store.list_containers(StorePath("")) == [name]
    assert bytes(store.read_backup_file(StorePath(name), 0, 1)) == b"x"
    assert S3Archive(bucket.url, bucket.access()).state(name, None).storage_class == "STANDARD_IA"


def test_folder_with_a_name_that_cannot_be_read_is_told(bucket: Bucket) -> None:
    bucket.put("x\x01y", b"x")
    with pytest.raises(StoreError) as caught:
        ObjectStore(bucket.url, access=bucket.access()).list_containers(StorePath(""))
    assert (caught.value.code, caught.value.retryable) == ("object.name", False)
