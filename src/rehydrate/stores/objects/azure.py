"""Thaws of Azure: blobs of the archive tier are moved to the hot tier, where they stay.

Microsoft's own client makes the calls. A thaw is *Set Blob Tier* with a priority: the blob keeps
its name and its place, so that everything that names it still finds it. The other way, a copy into
another tier, needs another name, and is not offered.
"""

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Final, Protocol, TypeVar

import attrs

from rehydrate.errors import RequestError, StoreError, StoreReadError
from rehydrate.stores.objects.archive import ObjectState, Stage
from rehydrate.stores.objects.azure_settings import AzurePlace, azure_settings, place_of
from rehydrate.stores.objects.client import Access, scheme_of
from rehydrate.stores.objects.problems import ServiceAnswer, problem_of

__all__ = ["AzureArchive"]

T = TypeVar("T")

_PACKAGE: Final = (
    "thawing blobs of Azure needs the package azure-storage-blob:"
    " pip install 'rehydrate[thaw-azure]'"
)
_IDENTITY: Final = (
    "to thaw without a key, a token or a signature, Azure needs the package azure-identity:"
    " pip install azure-identity"
)
_TIER: Final = "azure-archive"
# Hot: reads cost nothing besides, and a blob may leave again at once. Cool bills 30 days at least.
_ARCHIVE, _WARM = "Archive", "Hot"
_PRIORITIES: Final = {"standard": "Standard", "high": "High"}
_BROKEN: Final = 502
_UNDER_WAY: Final = "BlobBeingRehydrated"
_CONNECT_SECONDS: Final = 20.0
_FAR: Final = 4_102_444_800  # the end of the century: how long a given token holds is not known
_LONGEST: Final = 200
_SILENT: Final = logging.NullHandler()
_YES: Final = frozenset({"1", "true", "yes"})
# Settings that are credentials by themselves, in the order in which obstore takes them.
_SECRETS: Final = {"token": "bearer_token", "account_key": "access_key", "sas_key": "sas_token"}


class _Properties(Protocol):
    """What the service says of a blob."""

    blob_tier: object
    archive_status: object
    size: object


class _Blob(Protocol):
    """The calls of one blob."""

    def get_blob_properties(self) -> _Properties:
        """Ask for its state."""
        ...

    def set_standard_blob_tier(self, tier: str, /, *, rehydrate_priority: str) -> object:
        """Move it to another tier."""
        ...


@attrs.frozen(repr=False)
class _Token:
    """A token that was given, as Microsoft's client asks for it."""

    text: str
    kind: Callable[[str, int], object]

    def get_token(self, *_scopes: str, **_more: object) -> object:
        """Return it."""
        return self.kind(self.text, _FAR)


class AzureArchive:
    """Archive calls of Azure Blob Storage.

    A thawed blob does not go back: it stays in the hot tier, and ``days`` means nothing but the price
    that was estimated. Leaving the archive tier before 180 days is charged by Azure.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        """Make a client; the service is not asked yet.

        Args:
            url: Container and prefix, such as ``az://container/prefix``.
            access: How to reach the service, as for the store.

        Raises:
            RequestError: The URL is none of Azure, or names no account.
            StoreReadError: The package azure-storage-blob is missing.
        """
        place = place_of(url) if scheme_of(url) == "az" else None
        if place is None:
            raise RequestError(
                f"only blobs of az://container/prefix can be thawed, not of {url}",
                code="thaw.service",
            )
        access = access or Access()
        settings = azure_settings(url, access.config())
        if not settings.get("account_name"):
            raise RequestError(
                f"no account is named for {url}: set AZURE_STORAGE_ACCOUNT_NAME", code="object.url"
            )
        blobs = _module("azure.storage.blob")
        # What Microsoft's packages say besides is for programs that listen, not for the terminal.
        logging.getLogger("azure").addHandler(_SILENT)
        errors = _module("azure.core.exceptions")
        self._refused: type[Exception] = errors.HttpResponseError
        self._failed: type[Exception] = errors.AzureError
        self._prefix = place.prefix
        try:
            self._blob = _container(blobs, place, settings, access)
        except (ValueError, TypeError) as error:
            raise RequestError(f"cannot open {url}: {error}", code="object.url") from error

    def state(self, key: str, version: str | None, /) -> ObjectState:
        """Ask by one HEAD request; see :meth:`~rehydrate.stores.objects.archive.Archive.state`."""
        found = self._called(lambda: self._of(key, version).get_blob_properties(), key)
        kind, pending = str(found.blob_tier or ""), str(found.archive_status or "")
        stage = Stage.READABLE
        if kind == _ARCHIVE:
            stage = Stage.THAWING if pending else Stage.FROZEN
        return ObjectState(
            stage=stage,
            storage_class=kind,
            tier=_TIER if kind == _ARCHIVE else "",
            size=found.size if isinstance(found.size, int) else 0,
        )

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        """Ask by one PUT request; see :meth:`~rehydrate.stores.objects.archive.Archive.thaw`."""
        del state, days  # the blob stays where it is moved to
        priority = _PRIORITIES.get(speed)
        if priority is None:
            raise StoreReadError(
                f"Azure thaws with priority standard or high, not {speed}",
                code="thaw.offer", container=key, retryable=False,
            )  # fmt: skip

        def ask() -> None:
            try:
                self._of(key, version).set_standard_blob_tier(_WARM, rehydrate_priority=priority)
            except self._refused as error:
                if _name(getattr(error, "error_code", "")) != _UNDER_WAY:
                    raise

        self._called(ask, key)

    def _of(self, key: str, version: str | None) -> _Blob:
        """Return the client of one blob; names that the HTTP client would change are refused."""
        if any(part in {"", ".", ".."} for part in key.split("/")):
            raise StoreReadError(
                f"{key!r} is no name of an object", code="object.name", container=key,
                retryable=False,
            )  # fmt: skip
        name = f"{self._prefix}/{key}" if self._prefix else key
        return self._blob(name, version)

    def _called(self, call: Callable[[], T], key: str) -> T:
        try:
            return call()
        except self._refused as error:
            raise _problem(error, key) from error
        except self._failed as error:
            raise StoreReadError(
                f"the service did not answer for {key} ({type(error).__name__})",
                code="object.network", container=key,
            ) from error  # fmt: skip
        except (ValueError, TypeError) as error:
            raise problem_of(ServiceAnswer(_BROKEN, "", "an answer that is none"), key) from error


def _problem(error: Exception, key: str) -> StoreError:
    status, code = getattr(error, "status_code", None), getattr(error, "error_code", None)
    if not isinstance(status, int):  # nothing was sent: there was nothing to sign with
        return StoreReadError(
            f"no credentials for {key} ({type(error).__name__})",
            code="object.credentials", container=key, retryable=False,
        )  # fmt: skip
    said = "".join(letter for letter in str(getattr(error, "reason", "")) if letter.isprintable())
    return problem_of(ServiceAnswer(status, _name(code), said[:_LONGEST]), key)


def _name(code: object) -> str:
    """Return a code of the service, which its client gives as a text or as an enumeration."""
    return str(getattr(code, "value", code) or "")


def _container(
    blobs: ModuleType, place: AzurePlace, settings: Mapping[str, str], access: Access
) -> Callable[[str, str | None], _Blob]:
    """Return what makes the client of a blob of a container."""
    account = settings["account_name"]
    kinds = ("retry_total", "retry_connect", "retry_read", "retry_status")
    retry = blobs.ExponentialRetry(
        initial_backoff=1,
        increment_base=2,
        random_jitter_range=1,
        **dict.fromkeys(kinds, _tries(access)),
    )
    service = blobs.BlobServiceClient(
        settings.get("endpoint") or f"https://{account}.blob.core.windows.net",
        credential=_credential(settings),
        retry_policy=retry,
        connection_timeout=min(_CONNECT_SECONDS, access.request_seconds),
        read_timeout=access.request_seconds,
    )
    container = service.get_container_client(place.container)
    make: Callable[..., _Blob] = container.get_blob_client
    return lambda name, version: make(name, version_id=version)


def _tries(access: Access) -> int:
    """Return the repetitions whose pauses (1, 3, 5, 9, ... seconds) end within the time for them."""
    tries, end = 0, 1.0
    while tries < access.retries and end <= access.retry_seconds:
        tries += 1
        end += 1 + 2.0**tries
    return tries


def _credential(settings: Mapping[str, str]) -> object:
    """Return what requests are signed with, chosen as obstore does; None = nothing."""
    if settings.get("skip_signature", "").lower() in _YES:
        return None
    wanted = settings.get("credential_type", "auto").lower()
    made = _module("azure.core.credentials")
    for name, kind in _SECRETS.items():
        text = settings.get(name)
        if not text or wanted not in {"auto", kind} or (name == "sas_key" and _known(settings)):
            continue
        if name == "token":
            return _Token(text, made.AccessToken)
        if name == "account_key":
            return made.AzureNamedKeyCredential(settings["account_name"], text)
        return made.AzureSasCredential(text)
    return _identity(settings)


def _known(settings: Mapping[str, str]) -> bool:
    """Tell whether an application is named with what it proves itself by."""
    proof = settings.get("client_secret") or settings.get("federated_token_file")
    return bool(proof and settings.get("client_id") and settings.get("tenant_id"))


def _identity(settings: Mapping[str, str]) -> object:
    identity = _module("azure.identity", _IDENTITY)
    tenant, client, secret = (
        settings.get(name) for name in ("tenant_id", "client_id", "client_secret")
    )
    if tenant and client and secret:
        return identity.ClientSecretCredential(tenant, client, secret)
    return identity.DefaultAzureCredential(managed_identity_client_id=client)


def _module(name: str, missing: str = _PACKAGE) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise StoreReadError(missing, code="object.package", retryable=False) from error
