"""One server of each kind for all tests; each test has a bucket of its own and a proxy before it."""

from collections.abc import Iterator

import pytest

from tests.unit.stores.objects.azure_service import (
    BlobContainer,
    azure_server,
    forget_azure,
    missing_for_azure,
)
from tests.unit.stores.objects.service import Bucket, FaultProxy, missing_packages, s3_server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    missing = missing_packages()
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}")
    with s3_server() as url:
        yield url


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
    missing = missing_for_azure()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with azure_server() as url:
        yield url


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
