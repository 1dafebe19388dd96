"""Google's XML interface, which a server of S3 answers as well: ranges, names, sizes, refusals."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate import StoreReadError, TargetRoot, restore_files
from rehydrate.stores.objects.client import Access
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.values import StorePath
from tests.unit.stores.objects.service import Answer, Bucket, FaultProxy
from tests.unit.stores.objects.test_thawing_loopback import world_of

DATA = random.Random(3).randbytes(9000)
HERE = StorePath("Data/1.c")
ODD = StorePath("System Volume Information/Dedup/{A-B}.ddp/Data/0 #%41?ä.ccc")


@pytest.fixture
def bucket(server: str) -> Iterator[Bucket]:
    """Return a bucket whose name is the same in an escaped URL, which this server does not undo."""
    bucket = Bucket(server, name=uuid.uuid4().hex)
    yield bucket
    bucket.client.close()


def opened(bucket: Bucket, server: str, *, anonymous: bool = False) -> ObjectStore:
    settings = {} if anonymous else {"bearer_token": "known"}
    access = Access(endpoint=server, anonymous=anonymous, retries=0, settings=settings)
    return ObjectStore(f"gs://{bucket.name}/backup", access=access)


def test_ranges_names_and_sizes(bucket: Bucket, server: str) -> None:
    bucket.fill({HERE: DATA, StorePath("Data/2.c"): b"", ODD: b"odd"})
    store = opened(bucket, server)
    assert bytes(memoryview(store.read_backup_file(HERE, 5, 300))) == DATA[5:305]
    assert bytes(memoryview(store.read_backup_file(HERE, len(DATA), 9))) == b""
    assert bytes(memoryview(store.read_backup_file(ODD, 0, 9))) == b"odd"
    assert store.list_containers(StorePath("Data")) == ["1.c", "2.c"]
    assert store.size_of(HERE) == len(DATA)
    with pytest.raises(FileNotFoundError):
        store.read_backup_file(StorePath("Data/none"), 0, 1)


def test_whole_restore(bucket: Bucket, server: str, tmp_path: Path) -> None:
    world = world_of()
    bucket.fill(world.files)
    with TargetRoot(tmp_path) as target:
        restore_files(world.requests, opened(bucket, server), target).raise_for_failures()
    for name, content in world.expected.items():
        assert (tmp_path / name).read_bytes() == content


def test_who_is_not_known_is_refused(bucket: Bucket, server: str) -> None:
    bucket.put(HERE, DATA)
    with pytest.raises(StoreReadError) as caught:
        opened(bucket, server, anonymous=True).read_backup_file(HERE, 0, 1)
    assert caught.value.code == "object.denied"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(400, "UserProjectMissing", "x"), "object.requester-pays"),
        (Answer(403, "AccessDenied", "x"), "object.denied"),
        (Answer(429, "TooManyRequests", "x"), "object.throttled"),
    ],
)
def test_refusals(bucket: Bucket, proxy: FaultProxy, answer: Answer, code: str) -> None:
    proxy.fault = lambda _method, _path: answer
    with pytest.raises(StoreReadError) as caught:
        opened(bucket, proxy.url).read_backup_file(HERE, 0, 1)
    assert caught.value.code == code
