"""One S3 server for all tests; each test gets a bucket of its own and a proxy before the server."""

from collections.abc import Iterator

import pytest

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
