"""How a store of Azure is named and reached, and which services thaw: nothing is asked here."""

import logging
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from rehydrate import RequestError, StoreReadError
from rehydrate.stores.objects import azure
from rehydrate.stores.objects.archive import ObjectState, S3Archive, Stage
from rehydrate.stores.objects.archives import archive_of, can_thaw
from rehydrate.stores.objects.azure import AzureArchive
from rehydrate.stores.objects.azure_settings import (
    AzurePlace,
    azure_settings,
    connection_settings,
    place_of,
)
from rehydrate.stores.objects.client import Access
from tests.unit.stores.objects.azure_service import ACCOUNT, KEY, forget_azure

URL = "az://box/a/b"
KEYS = {"account_name": "them", "account_key": "AAAA"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_azure(monkeypatch)


@pytest.fixture
def blob_package() -> None:
    pytest.importorskip("azure.storage.blob", reason="needs the package azure-storage-blob")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("az://box", AzurePlace("", "box", "")),
        ("azure://box/a/b/", AzurePlace("", "box", "a/b")),
        ("abfs://box/a%20b", AzurePlace("", "box", "a b")),
        ("abfss://box@them.dfs.core.windows.net/a", AzurePlace("them", "box", "a")),
        ("https://them.blob.core.windows.net/box/a/b", AzurePlace("them", "box", "a/b")),
        ("https://them.blob.core.windows.net/", None),
        ("https://them.blob.fabric.microsoft.com/box", None),
        ("abfss://box@them.dfs.fabric.microsoft.com/a", None),
        ("az://", None),
    ],
)
def test_places(url: str, place: AzurePlace | None) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=them;AccountKey=AA==;EndpointSuffix=core.windows.net",
            {"account_name": "them", "account_key": "AA=="},
        ),
        (
            "AccountName=them;AccountKey=AA==;EndpointSuffix=core.example",
            {
                "account_name": "them", "account_key": "AA==",
                "endpoint": "https://them.blob.core.example",
            },
        ),
        (
            "DefaultEndpointsProtocol=http;AccountName=them;AccountKey=AA==",
            {
                "account_name": "them", "account_key": "AA==",
                "endpoint": "http://them.blob.core.windows.net",
            },
        ),
        (
            "BlobEndpoint=https://them.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x%3D",
            {
                "account_name": "them", "sas_key": "sv=1&sig=x%3D",
                "endpoint": "https://them.blob.core.windows.net",
            },
        ),
        (
            "UseDevelopmentStorage=true",
            {
                "account_name": ACCOUNT, "account_key": KEY,
                "endpoint": f"http://127.0.0.1:10000/{ACCOUNT}",
            },
        ),
        ("", {}),
    ],
)  # fmt: skip
def test_connection_strings(text: str, found: Mapping[str, str]) -> None:
    assert connection_settings(URL, {}, {"AZURE_STORAGE_CONNECTION_STRING": text}) == found


@pytest.mark.parametrize("text", ["rubbish", "AccountKey=AA==", ";;=;", "BlobEndpoint=:"])
def test_connection_string_without_account_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="names no account") as caught:
        connection_settings(URL, {}, {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert caught.value.code == "object.url"


def test_keys_of_one_account_are_not_used_for_another() -> None:
    string = {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=AA=="}
    assert connection_settings(URL, {"account_name": "them"}, string) == {}
    assert connection_settings("https://them.blob.core.windows.net/box", {}, string) == {}
    assert connection_settings(URL, {}, {**string, "AZURE_STORAGE_ACCOUNT_NAME": "them"}) == {}


def test_settings_come_before_the_url_and_the_url_before_the_environment() -> None:
    environ = {"AZURE_STORAGE_ACCOUNT_NAME": "env", "AZURE_STORAGE_SAS_TOKEN": "s", "AZURE_X": "y"}
    assert azure_settings(URL, {}, environ) == {"account_name": "env", "sas_key": "s"}
    named = "https://them.blob.core.windows.net/box"
    assert azure_settings(named, {}, environ)["account_name"] == "them"
    given = azure_settings(named, {"azure_storage_account_name": "given"}, environ)
    assert given["account_name"] == "given"
    assert azure_settings(URL, {"skip_signature": True, "other": "x"}, {}) == {
        "skip_signature": "true"
    }


def signed_with(**settings: str | bool) -> object:
    return azure._credential(azure_settings(URL, {"account_name": "them", **settings}))


@pytest.mark.usefixtures("blob_package")
def test_requests_are_signed_with_what_obstore_takes_first() -> None:
    every = {"token": "word", "account_key": "AAAA", "sas_key": "sig=x"}
    token = signed_with(**every)
    assert isinstance(token, azure._Token)
    assert "word" not in repr(token)
    found = token.get_token("https://storage.azure.com/.default")
    assert getattr(found, "token", None) == "word"
    del every["token"]
    assert type(signed_with(**every)).__name__ == "AzureNamedKeyCredential"
    assert type(signed_with(sas_key="sig=x")).__name__ == "AzureSasCredential"
    chosen = signed_with(**every, credential_type="sas_token")
    assert type(chosen).__name__ == "AzureSasCredential"
    assert signed_with(**every, skip_signature=True) is None


@pytest.mark.usefixtures("blob_package")
def test_identities_are_asked_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    identity: Any = SimpleNamespace(
        ClientSecretCredential=lambda *names: asked.append(names),
        DefaultAzureCredential=lambda **names: asked.append(names),
    )
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    application = {"tenant_id": "t", "client_id": "c", "client_secret": "s"}
    signed_with(**application, sas_key="x")
    signed_with(client_id="c")
    signed_with()
    signed_with(account_key="AAAA", credential_type="azure_cli")
    none = {"managed_identity_client_id": None}
    assert asked == [("t", "c", "s"), {"managed_identity_client_id": "c"}, none, none]
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(StoreReadError, match="azure-identity") as caught:
        signed_with()
    assert (caught.value.code, caught.value.retryable) == ("object.package", False)


@pytest.mark.parametrize(
    ("retries", "seconds", "tries"),
    [(0, 120, 0), (2, 120, 2), (8, 120, 6), (8, 0.5, 0), (8, 4, 2), (100, 1e9, 29)],
)
def test_repetitions_end_in_time(retries: int, seconds: float, tries: int) -> None:
    assert azure._tries(Access(retries=retries, retry_seconds=seconds)) == tries


@pytest.mark.parametrize("url", ["gs://box/a", "az://", "abfss://box@x.dfs.fabric.microsoft.com"])
def test_archive_of_another_service_is_refused(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        AzureArchive(url)
    assert caught.value.code == "thaw.service"


@pytest.mark.usefixtures("blob_package")
def test_archive_without_account_or_with_a_wrong_address_is_refused() -> None:
    with pytest.raises(RequestError, match="AZURE_STORAGE_ACCOUNT_NAME") as caught:
        AzureArchive(URL)
    assert caught.value.code == "object.url"
    with pytest.raises(RequestError) as caught:
        AzureArchive(URL, Access(endpoint="http://", settings=KEYS))
    assert caught.value.code == "object.url"


@pytest.mark.usefixtures("blob_package")
def test_packages_of_microsoft_do_not_write_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    AzureArchive(URL, Access(settings=KEYS))
    root = logging.getLogger()
    kept, root.handlers = root.handlers, []
    try:
        logging.getLogger("azure.identity").warning("a page of advice")
    finally:
        root.handlers = kept
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("blob_package")
@pytest.mark.parametrize("key", ["../other", "a/../../other/x", "a//b", "/a", "./a", ""])
def test_names_that_would_be_another_blob_are_refused(key: str) -> None:
    archive = AzureArchive(URL, Access(settings=KEYS, endpoint="http://127.0.0.1:1/x", retries=0))
    frozen = ObjectState(stage=Stage.FROZEN)
    with pytest.raises(StoreReadError) as caught:
        archive.thaw(key, None, frozen, speed="high", days=1)
    assert (caught.value.code, caught.value.retryable) == ("object.name", False)


@pytest.mark.usefixtures("blob_package")
def test_speed_that_azure_has_not_is_refused() -> None:
    archive = AzureArchive(URL, Access(settings=KEYS))
    with pytest.raises(StoreReadError, match="standard or high, not bulk") as caught:
        archive.thaw("a", None, ObjectState(stage=Stage.FROZEN), speed="bulk", days=1)
    assert caught.value.code == "thaw.offer"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.storage.blob", None)
    with pytest.raises(StoreReadError, match="rehydrate\\[thaw-azure\\]") as caught:
        AzureArchive(URL, Access(settings=KEYS))
    assert caught.value.code == "object.package"


@pytest.mark.usefixtures("blob_package")
def test_archive_is_chosen_by_the_url() -> None:
    assert isinstance(archive_of(URL, Access(settings=KEYS)), AzureArchive)
    pytest.importorskip("botocore", reason="needs the package botocore")
    assert isinstance(archive_of("s3://bucket/x", Access(region="eu-west-1")), S3Archive)
    assert can_thaw("s3://bucket/x")
    assert can_thaw(URL)
    assert can_thaw("https://them.blob.core.windows.net/box")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "needs no thaw"),
        ("file:///x", "only objects of s3://bucket/prefix and az://container/prefix"),
        ("https://example.org/x", "only objects of"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/x", "only objects of"),
        ("https://them.blob.fabric.microsoft.com/box", "only objects of"),
    ],
)
def test_stores_without_thaws(url: str, message: str) -> None:
    assert not can_thaw(url)
    with pytest.raises(RequestError, match=message) as caught:
        archive_of(url)
    assert caught.value.code == "thaw.service"


@pytest.mark.parametrize("missing", ["azure", "azure.storage.blob"])
def test_nothing_is_priced_without_the_package(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(
        "rehydrate.stores.objects.archives.find_spec",
        lambda name: None if name == missing else object(),
    )
    assert not can_thaw(URL)
