"""The calls of a service for archived objects: what state is one in, and thaw it.

S3's are made with botocore, which signs as the AWS command line does; obstore shows no storage class
and has no call to thaw. Azure's are in ``azure``; ``archives`` chooses. Another service needs another
class with the two methods of :class:`Archive`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import attrs

from rehydrate.errors import RequestError, StoreReadError
from rehydrate.stores.objects.client import Access, scheme_of
from rehydrate.stores.objects.problems import ServiceAnswer, problem_of

__all__ = ["CALLS_AT_ONCE", "Archive", "ObjectState", "S3Archive", "Stage"]

_PACKAGE: Final = "thawing needs the package botocore: pip install 'rehydrate[thaw]'"
_FLEXIBLE, _DEEP = "s3-glacier-flexible", "s3-deep-archive"
# Intelligent-Tiering bills thaws of its archive tiers less: the price is an upper bound for these.
_TIERS: Final = {
    "GLACIER": _FLEXIBLE,
    "DEEP_ARCHIVE": _DEEP,
    "ARCHIVE_ACCESS": _FLEXIBLE,
    "DEEP_ARCHIVE_ACCESS": _DEEP,
}
_TIERING: Final = "INTELLIGENT_TIERING"
_RESTORE: Final = re.compile(r'ongoing-request="(true|false)"(?:, *expiry-date="([^"]{1,64})")?')
_IN_PROGRESS: Final = "RestoreAlreadyInProgress"
_CAPACITY: Final = "GlacierExpeditedRetrievalNotAvailable"
_NS: Final = 1_000_000_000
_CONNECT_SECONDS: Final = 20.0
CALLS_AT_ONCE: Final = 16
"""Calls of an archive at the same time: with 16 of some 30 ms the service sees about 500 a second."""


class Stage(StrEnum):
    """How far an object is from being readable."""

    READABLE = "readable"
    FROZEN = "frozen"
    THAWING = "thawing"


@attrs.frozen(kw_only=True)
class ObjectState:
    """What the service says about one object.

    Attributes:
        stage: Whether it can be read.
        storage_class: Name of its storage class, as the service spells it; empty = its usual one.
        tier: Name of its archive tier in the price table; empty = it is in none.
        size: Its bytes.
        expires_ns: When the thawed copy goes away, nanoseconds since 1970; ``None`` = never.
    """

    stage: Stage
    storage_class: str = ""
    tier: str = ""
    size: int = 0
    expires_ns: int | None = None


class Archive(Protocol):
    """What thawing asks of a service; both calls may come from several threads.

    An object that is being thawed is looked at again by :meth:`state`, never by :meth:`thaw`.
    """

    def state(self, key: str, version: str | None, /) -> ObjectState:
        """Ask for the state of an object.

        Args:
            key: Path below the prefix of the store.
            version: Its version; ``None`` = the newest.

        Raises:
            ContainerNotFoundError: There is no such object or version.
            StoreReadError: The service refused. This and ``OSError`` leave what was known: an object
                of which nothing is known is read, and the read tells what is wrong.
        """
        ...

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        """Ask for a thaw, or for more days of a copy; asking again is no error.

        Args:
            key: As in :meth:`state`.
            version: As there.
            state: What :meth:`state` said.
            speed: Name of the way, as the price table has it: ``"standard"``.
            days: How long the copy is to be kept.

        Raises:
            StoreReadError: Refused; with code ``"thaw.capacity"`` if a cheaper tier may do. Any other
                exception counts as refused, too. Unless ``retryable`` is ``False`` it is asked again
                a few times.
        """
        ...


class S3Archive:
    """Archive calls of S3 and what speaks like it."""

    def __init__(self, url: str, access: Access | None = None) -> None:
        """Make a client; the service is not asked yet.

        Args:
            url: Bucket and prefix, such as ``s3://bucket/prefix``.
            access: How to reach the service, as for the store.

        Raises:
            RequestError: The URL is none of S3.
            StoreReadError: The package botocore is missing.
        """
        place = urlsplit(url)
        if scheme_of(url) != "s3" or not place.hostname or place.scheme.startswith("http"):
            raise RequestError(
                f"only objects of s3://bucket/prefix can be thawed, not of {url}",
                code="thaw.service",
            )
        self._bucket, self._prefix = place.netloc, unquote(place.path).strip("/")
        access = access or Access()
        endpoint = _setting(access, "endpoint", "endpoint_url") or access.endpoint
        self._payer = {"RequestPayer": "requester"} if access.requester_pays else {}
        core, unsigned = _module("botocore.session"), _module("botocore")
        setup = _module("botocore.config").Config(
            signature_version=unsigned.UNSIGNED if access.anonymous else None,
            retries={"max_attempts": access.retries, "mode": "adaptive"},
            max_pool_connections=CALLS_AT_ONCE,
            connect_timeout=min(_CONNECT_SECONDS, access.request_seconds),
            read_timeout=access.request_seconds,
            s3={"addressing_style": "path"} if endpoint else {},
        )
        session = core.Session(profile=access.profile or None)
        client = session.create_client(
            "s3",
            endpoint_url=endpoint,
            region_name=_setting(access, "region") or access.region,
            aws_access_key_id=_setting(access, "access_key_id"),
            aws_secret_access_key=_setting(access, "secret_access_key"),
            aws_session_token=_setting(access, "session_token", "token"),
            config=setup,
        )
        self._head: Callable[..., Mapping[str, object]] = client.head_object
        self._restore: Callable[..., object] = client.restore_object
        exceptions = _module("botocore.exceptions")
        self._refused: type[Exception] = exceptions.ClientError
        self._failed: type[Exception] = exceptions.BotoCoreError

    def state(self, key: str, version: str | None, /) -> ObjectState:
        """Ask by one HEAD request; see :meth:`Archive.state`."""
        answer = self._called(self._head, key, version, {})
        kind = str(answer.get("StorageClass", ""))
        size = answer.get("ContentLength")
        restore = _RESTORE.search(str(answer.get("Restore", "")))
        tier = _TIERS.get(kind) or _TIERS.get(str(answer.get("ArchiveStatus", "")), "")
        stage, expires = Stage.FROZEN if tier else Stage.READABLE, None
        if tier and restore is not None:
            stage = Stage.THAWING if restore[1] == "true" else Stage.READABLE
            expires = _when(restore[2])
        return ObjectState(
            stage=stage,
            storage_class=kind,
            tier=tier,
            size=size if isinstance(size, int) else 0,
            expires_ns=expires,
        )

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        """Ask by one POST request; see :meth:`Archive.thaw`."""
        asked: dict[str, object] = {"GlacierJobParameters": {"Tier": speed.title()}}
        if state.storage_class != _TIERING:  # such objects move back, and stay
            asked["Days"] = days
        self._called(self._restore, key, version, {"RestoreRequest": asked})

    def _called(
        self,
        call: Callable[..., object],
        key: str,
        version: str | None,
        more: Mapping[str, object],
    ) -> Mapping[str, object]:
        name = f"{self._prefix}/{key}" if self._prefix else key
        which = {} if version is None else {"VersionId": version}
        try:
            answer = call(Bucket=self._bucket, Key=name, **which, **self._payer, **more)
        except self._refused as error:
            found = _answer_of(error)
            if found.code == _IN_PROGRESS:
                return {}
            if found.code == _CAPACITY:
                raise StoreReadError(
                    "no capacity for this retrieval tier now", code="thaw.capacity", container=key
                ) from error
            raise problem_of(found, key) from error
        except self._failed as error:
            raise _problem_of_client(error, key) from error
        return answer if isinstance(answer, dict) else {}


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise StoreReadError(_PACKAGE, code="object.package", retryable=False) from error


def _answer_of(error: Exception) -> ServiceAnswer:
    response = getattr(error, "response", {})
    said = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    # A HEAD has no body: botocore takes the status for the code.
    return ServiceAnswer(int(status), "" if code.isdigit() else code, message[:200])


def _problem_of_client(error: Exception, key: str) -> StoreReadError:
    name = type(error).__name__
    if "Credential" in name or "Token" in name:
        return StoreReadError(
            f"no credentials for {key} ({name})", code="object.credentials", container=key,
            retryable=False,
        )  # fmt: skip
    return StoreReadError(
        f"the service did not answer for {key} ({name})", code="object.network", container=key
    )


def _when(text: str | None) -> int | None:
    """Return the time of an HTTP date in nanoseconds since 1970, None if it is none."""
    if text is None:
        return None
    try:
        moment: datetime = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * _NS)


def _setting(access: Access, *names: str) -> str | bool | None:
    """Return a setting under any of its names, with ``aws_`` before them or not, as obstore does."""
    found = {name.lower().removeprefix("aws_"): value for name, value in access.settings.items()}
    return next((found[name] for name in names if name in found), None)
