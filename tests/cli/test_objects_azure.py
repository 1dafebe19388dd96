"""Stores in Azure by the command: read by URL, archived data priced and thawed, or refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.stores.objects import waves
from tests.cli.stage import called
from tests.unit.stores.objects.azure_service import (
    ACCOUNT,
    KEY,
    BlobContainer,
    Pending,
    azure_server,
    forget_azure,
    missing_for_azure,
)
from tests.unit.stores.objects.service import FaultProxy


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    missing = missing_for_azure()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with azure_server() as url:
        yield url


@pytest.fixture
def before_azure(azurite: str) -> Iterator[FaultProxy]:
    with FaultProxy(azurite) as proxy:
        yield proxy


@pytest.fixture
def blobs(
    before_azure: FaultProxy, azurite: str, made_once: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlobContainer]:
    """Return a container with the store, its data archived; the environment leads to the proxy."""
    forget_azure(monkeypatch)
    monkeypatch.setattr(waves, "_FIRST_LOOK", (0.05, 0.1))
    monkeypatch.setattr(waves, "_MOST_LOOK", (0.05, 0.1))
    blobs = BlobContainer(azurite)
    store = made_once / "store"
    for path in store.rglob("*"):
        if path.is_file():
            name = path.relative_to(store).as_posix()
            kind = "Archive" if name.startswith("Data/") else "Hot"
            blobs.put(name, path.read_bytes(), kind=kind)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", blobs.endpoint(before_azure.url))
    yield blobs
    blobs.close()


def test_a_plan_prices_the_thaw_and_asks_for_none(
    blobs: BlobContainer, before_azure: FaultProxy
) -> None:
    done = called("plan", blobs.url)
    assert done.code == 0, done.err
    assert "15 h 00 min" in done.out
    assert "thawed blobs stay in the hot tier" in done.out
    assert "before 180 days" in done.out
    found = called("plan", blobs.url, "--thaw", "high", "--json").document["estimates"]
    (medium,) = found["media"]
    assert (medium["name"], medium["kind"], medium["containers"]) == ("frozen", "azure-archive", 1)
    assert found["ready_seconds"] == 3600
    assert found["price"]["micros"] > 5000
    assert called("plan", blobs.url, "--thaw", "high", "--max-cost", "0.001").code == 2
    assert before_azure.count("PUT") == 0


def test_nothing_is_thawed_unasked(
    blobs: BlobContainer, before_azure: FaultProxy, tmp_path: Path
) -> None:
    done = called("restore", blobs.url, "-o", tmp_path / "out")
    assert done.code == 1
    assert "say --thaw TIER" in done.err
    assert before_azure.count("PUT") == 0


def test_a_restore_waits_for_blobs_on_their_way(
    blobs: BlobContainer, before_azure: FaultProxy, made_once: Path, tmp_path: Path
) -> None:
    Pending(before_azure, looks=3)
    out, job = tmp_path / "out", tmp_path / "out.thaw.json"
    done = called("restore", blobs.url, "-o", out, "--thaw", "high", "--max-cost", "1")
    assert done.code == 0, done.err
    assert (out / "copy.raw").read_bytes() == (made_once / "source" / "copy.raw").read_bytes()
    (asked,) = json.loads(job.read_text())["objects"].values()
    assert (asked["speed"], asked["progress"]) == ("high", "ready")
    assert before_azure.count("PUT", "comp=tier") == 1
    plan = called("plan", blobs.url, "--json").document["estimates"]
    assert [medium["name"] for medium in plan["media"]] == ["readable"]
    assert plan["price"] is None
    assert called("verify", blobs.url, "--read-data").code == 0


def test_google_is_said_to_need_no_thaw(tmp_path: Path) -> None:
    done = called("plan", "gs://bucket/x", "--thaw", "standard")
    assert (done.code, "gs://bucket/x needs no thaw" in done.err) == (2, True)
