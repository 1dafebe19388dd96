"""One server of each kind for all tests; each test has a bucket of its own and a proxy before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.stores.objects.azure_service import (
    BlobContainer,
    azure_server,
    forget_azure,
    missing_for_azure,
)
from tests.unit.stores.objects.service import (
    Bucket,
    FaultProxy,
    missing_packages,
    s3_server,
    server_or_skip,
)
from tests.unit.stores.objects.thaws import FakeClock, FakeService


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    yield from server_or_skip(missing_packages(), s3_server)


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    bucket = Bucket(server)
    yield bucket
    bucket.restore_takes(None)
    bucket.client.close()


@pytest.fixture
def proxy(server: str) -> Iterator[FaultProxy]:
    with FaultProxy(server) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    yield from server_or_skip(missing_for_azure(), azure_server)


@pytest.fixture
def blobs(azurite: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlobContainer]:
    forget_azure(monkeypatch)
    container = BlobContainer(azurite)
    yield container
    container.close()


@pytest.fixture
def before_azure(azurite: str) -> Iterator[FaultProxy]:
    with FaultProxy(azurite) as proxy:
        yield proxy


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def service(clock: FakeClock) -> FakeService:
    return FakeService(clock)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job"
