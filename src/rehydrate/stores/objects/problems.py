"""What an object service answered, as one of our errors.

The clients give texts; what counts in them is the HTTP status and the code of the service
(``<Code>...</Code>`` of S3, Azure and the XML interface of Google). Texts of a service are shown
cut and without control characters; addresses with signatures never are.
"""

import re
from http import HTTPStatus
from typing import Final

import attrs

from rehydrate.errors import (
    E_ACCESSDENIED,
    E_NOT_READY,
    ContainerNotFoundError,
    StoreError,
    StoreReadError,
)

__all__ = ["ServiceAnswer", "problem_of"]

_STATUS: Final = re.compile(r"status code: (\d{3})|status: (\d{3}),")
_CODE: Final = re.compile(r"<Code>([\w.]{1,80})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,400})")
_TIER: Final = re.compile(r"<AccessTier>(\w{1,40})</AccessTier>")
_LONGEST: Final = 200

_THROTTLED: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
     "BandwidthLimitExceeded", "ServerBusy", "RequestThrottled"}
)  # fmt: skip
_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
_CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken",
     "TokenRefreshRequired", "AuthenticationFailed", "InvalidAuthenticationInfo",
     "NoAuthenticationInformation"}
)  # fmt: skip
_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect"}
)
_ARCHIVED: Final = frozenset({"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"})
# Of Azure; a 409 for a container that is not public, 403 else.
_NOT_ALLOWED: Final = frozenset(
    {"AuthorizationFailure", "AuthorizationPermissionMismatch", "AuthorizationProtocolMismatch",
     "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch",
     "AuthorizationSourceIPMismatch", "InsufficientAccountPermissions", "AccountIsDisabled",
     "PublicAccessNotPermitted"}
)  # fmt: skip
_KMS_CODES: Final = ("KMS.", "KeyVault")
_KMS_WORDS: Final = ("kms:", "customer master key", "kms key", "customerencryptionkey")


@attrs.frozen
class ServiceAnswer:
    """A refusal of a service.

    Attributes:
        status: HTTP status; 0 = there was no answer.
        code: Code of the service; empty if it gave none.
        message: Its sentence.
        tier: Archive access tier of Intelligent-Tiering, if it names one.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    tier: str = ""

    @classmethod
    def parse(cls, text: str) -> "ServiceAnswer":
        """Find the answer in the text of a client's exception.

        Args:
            text: Whatever the client said.
        """
        status = _STATUS.search(text)
        code, message, tier = (
            found[1] if (found := pattern.search(text)) else ""
            for pattern in (_CODE, _MESSAGE, _TIER)
        )
        number = 0 if status is None else int(status[1] or status[2])
        return cls(number, code, _plain(message), tier)

    @property
    def said(self) -> str:
        """The code and the sentence, for people."""
        named = self.code or (f"HTTP status {self.status}" if self.status else "no answer")
        return f"{named}: {self.message}" if self.message else named


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST].strip()


def problem_of(answer: ServiceAnswer, key: str) -> StoreError:
    """Return the error to raise.

    Args:
        answer: What the service said.
        key: Path of the object, as the store names it.

    Returns:
        A :class:`~rehydrate.ContainerNotFoundError` for an object or version that is not there, else
        a :class:`~rehydrate.StoreReadError`; codes are in ``docs/reference/thaw.md``.
    """
    for test in (_bucket, _missing, _archived, _throttled, _changed, _kms, _payer, _credentials):
        found = test(answer, key)
        if found is not None:
            return found
    return _any_other(answer, key)


def _bucket(answer: ServiceAnswer, key: str) -> StoreError | None:
    if answer.code not in _BUCKET:
        return None
    return _error(
        "bucket-missing", f"there is no such bucket ({answer.said})", key, retryable=False
    )


def _missing(answer: ServiceAnswer, key: str) -> StoreError | None:
    if answer.code == "NoSuchVersion":
        return ContainerNotFoundError(
            f"this version of {key} is gone", code="object.version-missing", container=key
        )
    if answer.status == HTTPStatus.NOT_FOUND or answer.code in {"NoSuchKey", "BlobNotFound"}:
        return ContainerNotFoundError(f"there is no object {key}", container=key)
    return None


def _archived(answer: ServiceAnswer, key: str) -> StoreError | None:
    if answer.code not in _ARCHIVED:
        return None
    if answer.tier:
        tier = answer.tier.replace("_", " ").lower()
        return _error(
            "archived-tiering",
            f"{key} is in the {tier} tier of Intelligent-Tiering and must be thawed before",
            key,
            hresult=E_NOT_READY,
        )
    return _error(
        "archived", f"{key} is in an archive tier and must be thawed before", key,
        hresult=E_NOT_READY,
    )  # fmt: skip


def _throttled(answer: ServiceAnswer, key: str) -> StoreError | None:
    if answer.code in _THROTTLED or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _error("throttled", f"too many requests ({answer.said})", key)
    return None


def _changed(answer: ServiceAnswer, key: str) -> StoreError | None:
    failed = answer.status == HTTPStatus.PRECONDITION_FAILED and not answer.code.startswith("Lease")
    if failed or answer.code == "PreconditionFailed":
        return _error("changed", f"{key} was replaced since its first read", key, retryable=False)
    return None


def _kms(answer: ServiceAnswer, key: str) -> StoreError | None:
    text = answer.message.lower()
    if answer.code.startswith(_KMS_CODES) or any(word in text for word in _KMS_WORDS):
        return _error(
            "kms", f"the key that {key} is encrypted with may not be used ({answer.said})", key,
            retryable=False, hresult=E_ACCESSDENIED,
        )  # fmt: skip
    return None


def _payer(answer: ServiceAnswer, key: str) -> StoreError | None:
    text = answer.message.lower()
    if answer.code == "UserProjectMissing" or "requester pays" in text or "requester-pays" in text:
        return _error(
            "requester-pays",
            f"whoever asks for {key} has to pay for it; say so with requester_pays",
            key, retryable=False, hresult=E_ACCESSDENIED,
        )  # fmt: skip
    return None


def _credentials(answer: ServiceAnswer, key: str) -> StoreError | None:
    if answer.code in _CREDENTIALS or answer.status == HTTPStatus.UNAUTHORIZED:
        return _error(
            "credentials", f"the service does not take the credentials ({answer.said})", key,
            retryable=False, hresult=E_ACCESSDENIED,
        )  # fmt: skip
    if answer.code in _REGION or answer.status == HTTPStatus.MOVED_PERMANENTLY:
        return _error(
            "region", f"the bucket is in another region ({answer.said})", key, retryable=False
        )
    return None


def _any_other(answer: ServiceAnswer, key: str) -> StoreError:
    if answer.code in _NOT_ALLOWED:
        return _error(
            "denied", f"the account does not allow it for {key} ({answer.said})", key,
            retryable=False, hresult=E_ACCESSDENIED,
        )  # fmt: skip
    if answer.status == HTTPStatus.FORBIDDEN:
        return _error(
            "denied",
            f"{key} may not be read ({answer.said}); a bucket whose requester pays says the same",
            key, retryable=False, hresult=E_ACCESSDENIED,
        )  # fmt: skip
    if not answer.status:
        return _error("network", f"the service did not answer for {key}", key)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _error("server", f"the service failed for {key} ({answer.said})", key)
    return _error("refused", f"the service refused {key} ({answer.said})", key, retryable=False)


def _error(
    code: str, message: str, key: str, *, retryable: bool = True, hresult: int | None = None
) -> StoreReadError:
    return StoreReadError(
        message, code=f"object.{code}", container=key, retryable=retryable, hresult=hresult
    )
