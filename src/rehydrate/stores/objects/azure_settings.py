"""What a store of Azure is called and how it is reached, for both clients that read and thaw.

obstore reads the variables ``AZURE_...`` of the environment by itself, but knows no connection
string; Microsoft's client takes each setting as an argument. The names here are those of obstore.
"""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from rehydrate.errors import RequestError

__all__ = ["AzurePlace", "azure_settings", "connection_settings", "place_of"]

_CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"
_YES: Final = frozenset({"1", "true", "yes"})
_FABRIC: Final = ".fabric.microsoft.com"
# Other names of a setting, as obstore takes them in settings and, in capitals, in the environment.
_NAMES: Final = {
    "account_name": ("azure_storage_account_name",),
    "account_key": (
        "access_key", "master_key", "azure_storage_account_key", "azure_storage_access_key",
        "azure_storage_master_key",
    ),
    "sas_key": ("sas_token", "azure_storage_sas_key", "azure_storage_sas_token"),
    "token": ("bearer_token", "azure_storage_token"),
    "endpoint": ("azure_storage_endpoint", "azure_endpoint"),
    "use_emulator": ("azure_storage_use_emulator",),
    "skip_signature": ("azure_skip_signature",),
    "credential_type": ("azure_credential_type",),
    "client_id": ("azure_storage_client_id", "azure_client_id"),
    "client_secret": ("azure_storage_client_secret", "azure_client_secret"),
    "tenant_id": (
        "authority_id", "azure_storage_tenant_id", "azure_storage_authority_id",
        "azure_tenant_id", "azure_authority_id",
    ),
    "federated_token_file": ("azure_federated_token_file",),
}  # fmt: skip
_USUAL: Final = {other: name for name, others in _NAMES.items() for other in (name, *others)}
# The emulator's account is the same everywhere, and no secret: Microsoft publishes it.
_EMULATOR: Final = {
    "account_name": "devstoreaccount1",
    "account_key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr"
    "/KBHBeksoGMGw==",
}
_EMULATOR_URL: Final = "http://127.0.0.1:10000"
_SUFFIX: Final = "core.windows.net"


@attrs.frozen
class AzurePlace:
    """Where a store is.

    Attributes:
        account: Storage account, if the URL names one; else empty.
        container: The container of blobs.
        prefix: Folder in it, without slashes around.
    """

    account: str
    container: str
    prefix: str


def place_of(url: str) -> AzurePlace | None:
    """Take a URL apart; None = a place that has no blobs of an archive tier.

    Args:
        url: Such as ``az://container/prefix``, ``abfss://container@account.dfs.core.windows.net/p``
            or ``https://account.blob.core.windows.net/container/prefix``.
    """
    place = urlsplit(url)
    container, named, host = place.netloc.rpartition("@")
    path = unquote(place.path).strip("/")
    account = host.partition(".")[0] if named else ""
    if place.scheme.startswith("http"):
        account = host.partition(".")[0]
        container, _, path = path.partition("/")
    elif not named:
        container = host
    if not container or host.endswith(_FABRIC):
        return None
    return AzurePlace(account, container, path.strip("/"))


def azure_settings(
    url: str, given: Mapping[str, str | bool], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return all settings by their usual names: those given, else those of the environment.

    Args:
        url: The store; the account that it names comes before that of the environment.
        given: Settings of obstore; they win.
        environ: Variables of the environment; the real ones by default.

    Raises:
        RequestError: The connection string is none.
    """
    there = os.environ if environ is None else environ
    found = {
        _USUAL[name.lower()]: value
        for name, value in there.items()
        if name.startswith("AZURE_") and name.lower() in _USUAL and value
    }
    found |= connection_settings(url, given, there)
    found |= _named(url) | _usual(given)
    if found.get("use_emulator", "").lower() in _YES:
        found = _emulator(there) | found
    return found


def connection_settings(
    url: str, given: Mapping[str, str | bool], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return what the connection string of the environment says, where no account is named else.

    Args:
        url: The store.
        given: Settings of obstore.
        environ: Variables of the environment; the real ones by default.

    Raises:
        RequestError: With code ``"object.url"``: it is no connection string.
    """
    there = os.environ if environ is None else environ
    text = there.get(_CONNECTION, "")
    named = "account_name" in _named(url) | _usual(given) or there.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not text or named:
        return {}
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part.strip())
    parts = {name.strip().lower(): value.strip() for name, value in parts.items()}
    if parts.get("usedevelopmentstorage", "").lower() in _YES:
        return _emulator(there)
    account, endpoint = parts.get("accountname", ""), parts.get("blobendpoint", "").rstrip("/")
    if not account:  # one with a signature names its account in the address only
        account = (urlsplit(endpoint).hostname or "").partition(".")[0]
    if not account:
        raise RequestError(f"{_CONNECTION} names no account", code="object.url")
    protocol, suffix = parts.get("defaultendpointsprotocol"), parts.get("endpointsuffix")
    if not endpoint and (protocol == "http" or suffix not in {None, _SUFFIX}):
        endpoint = f"{protocol or 'https'}://{account}.blob.{suffix or _SUFFIX}"
    found = {
        "account_name": account,
        "account_key": parts.get("accountkey", ""),
        "sas_key": parts.get("sharedaccesssignature", ""),
        "endpoint": endpoint,
    }
    return {name: value for name, value in found.items() if value}


def _named(url: str) -> dict[str, str]:
    place = place_of(url)
    return {"account_name": place.account} if place is not None and place.account else {}


def _usual(given: Mapping[str, str | bool]) -> dict[str, str]:
    return {
        _USUAL[name.lower()]: value if isinstance(value, str) else str(value).lower()
        for name, value in given.items()
        if name.lower() in _USUAL
    }


def _emulator(environ: Mapping[str, str]) -> dict[str, str]:
    address = environ.get("AZURITE_BLOB_STORAGE_URL") or _EMULATOR_URL
    account = _EMULATOR["account_name"]
    return {**_EMULATOR, "endpoint": f"{address.rstrip('/')}/{account}"}
