"""The few calls of an object service that reading needs, and obstore behind them.

Retries after throttling, server errors and broken connections are made by obstore, with backoff;
what comes out of here is final and one of our errors.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from importlib import import_module
from types import ModuleType
from typing import Final, Protocol, TypeAlias, TypeVar

import attrs

from rehydrate.errors import RequestError, StoreError, StoreReadError
from rehydrate.stores.objects.azure_settings import azure_settings, connection_settings
from rehydrate.stores.objects.problems import ServiceAnswer, problem_of
from rehydrate.values import ReadableBuffer

__all__ = ["Access", "Fetched", "ObjectClient", "ObstoreClient", "open_client", "scheme_of"]

T = TypeVar("T")
Setting: TypeAlias = str | bool

_SCHEMES: Final = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "azure": "az", "adl": "az", "abfs": "az",
    "abfss": "az", "http": "http", "https": "http", "file": "file", "memory": "memory",
}  # fmt: skip
_AZURE_HOSTS: Final = (".core.windows.net", ".fabric.microsoft.com")
_S3_HOSTS: Final = (".amazonaws.com", ".r2.cloudflarestorage.com")
_BEHIND_END: Final = "StartTooLarge"
_WEAK: Final = "W/"
_BROKEN_OFF: Final = "fewer or more bytes than the answer told"
_PACKAGE: Final = "object stores need the package obstore: pip install 'rehydrate[object]'"
_SDK: Final = "profiles of the AWS SDK need the package boto3: pip install boto3"


@attrs.frozen(kw_only=True)
class Access:
    """How to reach a service. Without anything: its own address, credentials of the environment.

    Attributes:
        endpoint: Address of a service that is not the provider's own, such as
            ``http://127.0.0.1:9000``.
        region: Region of the bucket (S3).
        anonymous: Send no credentials.
        requester_pays: Agree to pay for requests and bytes (S3).
        profile: Take credentials from the AWS SDK (package boto3), by this profile; empty = its
            default chain: shared files, SSO, assumed roles.
        retries: Repetitions of a request after throttling or a server's error.
        retry_seconds: No repetition later than this after the first try.
        request_seconds: Longest time of one request.
        settings: Settings of obstore for this service, such as ``account_name``; they win.
    """

    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    requester_pays: bool = False
    profile: str | None = None
    retries: int = 8
    retry_seconds: float = 120.0
    request_seconds: float = 120.0
    settings: Mapping[str, Setting] = attrs.field(factory=dict)

    def config(self) -> dict[str, Setting]:
        """Return the settings of obstore."""
        found: dict[str, Setting] = {}
        if self.endpoint is not None:
            found["endpoint"] = self.endpoint
        if self.region is not None:
            found["region"] = self.region
        if self.anonymous:
            found["skip_signature"] = True
        if self.requester_pays:
            found["request_payer"] = True
        return found | dict(self.settings)


@attrs.frozen
class Fetched:
    """A range of an object.

    Attributes:
        data: Its bytes; fewer than asked for only where the object ends.
        tag: Entity tag of the object, which changes with its content; empty = none.
    """

    data: ReadableBuffer
    tag: str


class ObjectClient(Protocol):
    """What reading asks of a service; all calls may come from several threads."""

    def fetch(self, key: str, offset: int, size: int, *, version: str | None, tag: str) -> Fetched:
        """Get a range in one request.

        Args:
            key: Path of the object below the prefix of the store.
            offset: First byte.
            size: Number of bytes, at least 1.
            version: Version of the object; ``None`` = the newest.
            tag: Entity tag that the object must have; empty = any.

        Raises:
            ContainerNotFoundError: There is no such object or version.
            StoreReadError: Anything else; the code says what.
        """
        ...

    def size(self, key: str, *, version: str | None) -> int:
        """Return the bytes of an object.

        Args:
            key: As in :meth:`fetch`.
            version: As there.

        Raises:
            ContainerNotFoundError: There is no such object or version.
            StoreReadError: Anything else.
        """
        ...

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the objects directly below a folder: their names, sorted, and their bytes.

        Args:
            folder: Path below the prefix, without a slash at the end.

        Raises:
            StoreReadError: The service refused.
        """
        ...


def scheme_of(url: str) -> str:
    """Return the kind of service of a URL: ``s3``, ``gs``, ``az``, ``http``, ``file``, ``memory``.

    Args:
        url: Such as ``s3://bucket/prefix``.

    Raises:
        RequestError: With code ``"object.url"``.
    """
    scheme, separator, rest = url.partition("://")
    kind = _SCHEMES.get(scheme.lower()) if separator else None
    if kind is None:
        raise RequestError(
            f"no object store is named so: {url!r} (s3://, gs://, az://, https://, file://)",
            code="object.url",
        )
    host = rest.partition("/")[0]
    if kind == "http" and host.endswith(_AZURE_HOSTS):
        return "az"
    return "s3" if kind == "http" and host.endswith(_S3_HOSTS) else kind


def open_client(url: str, access: Access) -> ObjectClient:
    """Make a client; the service is not asked yet.

    Args:
        url: Bucket or folder, such as ``s3://bucket/prefix``.
        access: How to reach it.

    Raises:
        RequestError: The URL or a setting is wrong.
        StoreReadError: obstore is not installed.
    """
    kind = scheme_of(url)
    make: Callable[..., object] = _module("obstore.store", _PACKAGE).from_url
    refused: type[Exception] = _module("obstore.exceptions", _PACKAGE).BaseError
    options: dict[str, object] = {}
    config = access.config()
    address = access.endpoint or url
    if kind == "az":
        address = azure_settings(url, config).get("endpoint", url)
        config = {**connection_settings(url, config), **config}
    elif kind == "gs" and access.endpoint is not None:
        config["base_url"] = config.pop("endpoint")  # as obstore calls it there
    if kind not in {"file", "memory"}:
        plain = address.startswith("http://")
        options["client_options"] = {
            "allow_http": plain,
            "timeout": timedelta(seconds=access.request_seconds),
        }
        options["retry_config"] = {
            "max_retries": access.retries,
            "retry_timeout": timedelta(seconds=access.retry_seconds),
        }
    if kind in {"s3", "gs", "az"}:
        options["config"] = config or None
    if access.profile is not None:
        options["credential_provider"] = _provider(access.profile)
    try:
        return ObstoreClient(make(url, **options))
    except (refused, OSError, ValueError, TypeError) as error:
        line = str(error).partition("\n")[0]
        raise RequestError(f"cannot open {url}: {line}", code="object.url") from error


def _module(name: str, missing: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise StoreReadError(missing, code="object.package", retryable=False) from error


def _provider(profile: str) -> object:
    session = _module("boto3", _SDK).Session(profile_name=profile or None)
    return _module("obstore.auth.boto3", _SDK).Boto3CredentialProvider(session)


class _Answer(Protocol):
    """What obstore answers to a get."""

    meta: Mapping[str, object]

    def bytes(self) -> ReadableBuffer:
        """Return the body."""
        ...


class ObstoreClient:
    """Calls one store of obstore; see :class:`ObjectClient` for the methods."""

    def __init__(self, store: object) -> None:
        """Bind.

        Args:
            store: Any store of ``obstore.store``.
        """
        calls = _module("obstore", _PACKAGE)
        self._store = store
        self._get: Callable[..., _Answer] = calls.get
        self._head: Callable[..., Mapping[str, object]] = calls.head
        self._list: Callable[..., Mapping[str, Sequence[Mapping[str, object]]]]
        self._list = calls.list_with_delimiter
        exceptions = _module("obstore.exceptions", _PACKAGE)
        self._refused: type[Exception] = exceptions.BaseError
        self._precondition: type[Exception] = exceptions.PreconditionError
        self._invalid: type[Exception] = exceptions.InvalidPathError

    def fetch(self, key: str, offset: int, size: int, *, version: str | None, tag: str) -> Fetched:
        """Get a range."""
        options: dict[str, object] = {"range": (offset, offset + size)}
        if version is not None:
            options["version"] = version
        if tag and not tag.startswith(_WEAK):  # a weak one matches never (RFC 9110, 13.1.1)
            options["if_match"] = tag

        def call() -> Fetched:
            answer = self._get(self._store, key, options=options)
            data = answer.bytes()  # before the tag: the body may break off
            end = min(offset + size, _number(answer.meta))
            if memoryview(data).nbytes != end - offset:
                raise OSError(_BROKEN_OFF)
            return Fetched(data, str(answer.meta["e_tag"] or ""))

        return self._called(call, key, behind_end=Fetched(b"", tag))

    def size(self, key: str, *, version: str | None) -> int:
        """Return the bytes of an object."""
        if version is None:
            return self._called(lambda: _number(self._head(self._store, key)), key)
        options = {"version": version, "head": True}
        return self._called(lambda: _number(self._get(self._store, key, options=options).meta), key)

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the names and bytes of the objects directly below a folder."""
        found = self._called(lambda: self._list(self._store, folder or None)["objects"], folder)
        return dict(
            sorted((str(entry["path"]).rpartition("/")[2], _number(entry)) for entry in found)
        )

    def _called(self, call: Callable[[], T], key: str, *, behind_end: T | None = None) -> T:
        try:
            return call()
        except (self._refused, OSError, ValueError) as error:
            problem = self._problem(error, key)
            if problem is None and behind_end is not None:
                return behind_end
            raise problem or problem_of(
                ServiceAnswer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE), key
            ) from error

    def _problem(self, error: Exception, key: str) -> StoreError | None:
        """Return what an exception means; None = the range begins behind the end."""
        text = str(error)
        answer = ServiceAnswer.parse(text)
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or (
            not answer.status and _BEHIND_END in text
        ):
            return None
        if isinstance(error, self._precondition):
            answer = attrs.evolve(answer, status=HTTPStatus.PRECONDITION_FAILED)
        elif isinstance(error, FileNotFoundError):
            answer = attrs.evolve(answer, status=HTTPStatus.NOT_FOUND)
        elif isinstance(error, (ValueError, self._invalid)):
            return StoreReadError(
                f"{key!r} is no name of an object, or a folder with such names",
                code="object.name", container=key, retryable=False,
            )  # fmt: skip
        return problem_of(answer, key)


def _number(meta: Mapping[str, object]) -> int:
    size = meta["size"]
    return size if isinstance(size, int) else 0
