"""The exception tree: every failure is one of these, and its branch names the guilty side.

An error carries fields, not only text, so that a program can act on it. Whatever is raised, the
file that stood at the target before the call is intact; ``resumable`` says whether staged bytes
were kept and a second call continues from them.
"""

import errno as error_numbers
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Self

__all__ = [
    "DDP_E_FILE_CORRUPT",
    "DDP_E_FILE_SYSTEM_CORRUPT",
    "DDP_E_INVALID_DATA",
    "DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS",
    "DDP_E_NOT_FOUND",
    "DDP_E_PATH_NOT_FOUND",
    "DDP_E_UNEXPECTED",
    "DDP_E_VOLUME_DEDUP_DISABLED",
    "DDP_E_VOLUME_UNSUPPORTED",
    "E_ACCESSDENIED",
    "E_CANCELLED",
    "E_DISK_FULL",
    "E_INVALIDARG",
    "E_NOT_READY",
    "E_TIMEOUT",
    "E_WRITE_FAULT",
    "HRESULT_OF_CODE",
    "S_FALSE",
    "S_OK",
    "Cancelled",
    "ChunkMismatchError",
    "ContainerNotFoundError",
    "CorruptMetadataError",
    "DurabilityError",
    "FormatError",
    "LimitError",
    "NoSpaceError",
    "NotReadyError",
    "PublishError",
    "RequestError",
    "RestoreError",
    "SessionBusyError",
    "SessionError",
    "ShortReadError",
    "StagingError",
    "StoreContractError",
    "StoreError",
    "StoreLockedError",
    "StoreReadError",
    "StoreTimeoutError",
    "TargetChangedError",
    "UnsafeTargetError",
    "UnsupportedFormatError",
]

# Result codes of the COM pair (Microsoft, "Data Deduplication Backup/Restore API", RestoreFiles),
# kept so that a port can pass them on unchanged. docs/reference/com-parity.md says when each of
# them comes out, and a test holds the page to this module.
S_OK: Final = 0
S_FALSE: Final = 1
DDP_E_NOT_FOUND: Final = 0x80565301
DDP_E_PATH_NOT_FOUND: Final = 0x80565304
DDP_E_VOLUME_UNSUPPORTED: Final = 0x8056530B
DDP_E_UNEXPECTED: Final = 0x8056530C
DDP_E_FILE_SYSTEM_CORRUPT: Final = 0x8056530E
DDP_E_INVALID_DATA: Final = 0x8056531D
DDP_E_VOLUME_DEDUP_DISABLED: Final = 0x80565323
DDP_E_FILE_CORRUPT: Final = 0x80565355
DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS: Final = 0x80565356
# Errors of Windows itself, 0x80070000 + number (MS-ERREF 2.1 and 2.2), where the API has no code.
E_ACCESSDENIED: Final = 0x80070005
E_NOT_READY: Final = 0x80070015
E_WRITE_FAULT: Final = 0x8007001D
E_INVALIDARG: Final = 0x80070057
E_DISK_FULL: Final = 0x80070070
E_CANCELLED: Final = 0x800704C7
E_TIMEOUT: Final = 0x800705B4

HRESULT_OF_CODE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "store.other": DDP_E_NOT_FOUND,
        "store.unknown": DDP_E_NOT_FOUND,
        "volume.bitlocker": DDP_E_VOLUME_UNSUPPORTED,
        "volume.damaged": DDP_E_FILE_SYSTEM_CORRUPT,
        "volume.file-system": DDP_E_VOLUME_UNSUPPORTED,
        "volume.no-store": DDP_E_VOLUME_DEDUP_DISABLED,
        "volume.refs": DDP_E_VOLUME_UNSUPPORTED,
    }
)
"""Result codes of failures whose ``code`` says more than their class does."""


class RestoreError(Exception):
    """Base of every error that this package raises; never raised itself.

    Attributes:
        message: One line for people, without file contents and without keys.
        code: Stable name of the failure, for programs, such as ``"chunk.digest"``.
        phase: Where it happened: ``"request"``, ``"stream"``, ``"data"``, ``"repair"``,
            ``"publish"``, or ``None`` outside a restore.
        file: Target path (relative) that the error belongs to, if one file is meant.
        container: Store path of the container concerned.
        offset: Byte offset in that container.
        length: Number of bytes concerned, from ``offset``.
        retryable: The same call may succeed later without any change by the caller.
        resumable: Staged bytes were kept; the same restore continues from them.
        hresult: Result code of the COM interface that matches best: the one given, else the one
            of ``code``, else the one of the class.
    """

    default_code: ClassVar[str] = "error"
    default_hresult: ClassVar[int] = DDP_E_UNEXPECTED

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        phase: str | None = None,
        file: str | None = None,
        container: str | None = None,
        offset: int | None = None,
        length: int | None = None,
        retryable: bool = False,
        resumable: bool = False,
        hresult: int | None = None,
    ) -> None:
        """Keep the evidence; see the class for the meaning of each field."""
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.phase = phase
        self.file = file
        self.container = container
        self.offset = offset
        self.length = length
        self.retryable = retryable
        self.resumable = resumable
        known = HRESULT_OF_CODE.get(self.code, self.default_hresult)
        self.hresult = known if hresult is None else hresult

    def __str__(self) -> str:
        """Return the message with the place in the store, if there is one."""
        place = []
        if self.container is not None and self.container not in self.message:
            place.append(f"container {self.container}")
        if self.offset is not None:
            place.append(f"offset {self.offset}")
        if self.length is not None:
            place.append(f"length {self.length}")
        return f"{self.message} ({', '.join(place)})" if place else self.message

    def at(
        self,
        *,
        phase: str | None = None,
        file: str | None = None,
        container: str | None = None,
        offset: int | None = None,
        length: int | None = None,
    ) -> Self:
        """Fill in the places that are not yet known and return the same error.

        Args:
            phase: See the class.
            file: See the class.
            container: See the class.
            offset: See the class.
            length: See the class.

        Returns:
            This very error; fields that were set before are left alone.
        """
        self.phase = phase if self.phase is None else self.phase
        self.file = file if self.file is None else self.file
        self.container = container if self.container is None else self.container
        self.offset = offset if self.offset is None else self.offset
        self.length = length if self.length is None else self.length
        return self

    def for_file(self, file: str) -> Self:
        """Return a copy of the error for one of the files that it touches.

        Args:
            file: Relative target path.
        """
        copied = type(self).__new__(type(self))
        copied.args = self.args
        copied.__dict__.update(self.__dict__)
        copied.__cause__ = self.__cause__
        copied.file = file
        return copied

    def as_record(self) -> dict[str, str | int | bool | None]:
        """Return the fields as a flat mapping, as ``--json`` prints them."""
        return {
            "type": type(self).__name__,
            "code": self.code,
            "message": self.message,
            "phase": self.phase,
            "file": self.file,
            "container": self.container,
            "offset": self.offset,
            "length": self.length,
            "retryable": self.retryable,
            "resumable": self.resumable,
            "hresult": f"0x{self.hresult:08X}",
        }


class StoreError(RestoreError):
    """The vendor's side: the store did not give what was asked."""

    default_code = "store"
    default_hresult = DDP_E_UNEXPECTED


class ContainerNotFoundError(StoreError, FileNotFoundError):
    """A container (or any generation of it) is not in the store."""

    default_code = "store.container-missing"
    default_hresult = DDP_E_PATH_NOT_FOUND


class ShortReadError(StoreError):
    """A read ended before all bytes came, continuations included.

    Attributes:
        wanted: Bytes asked for.
        got: Bytes received.
    """

    default_code = "store.short-read"
    default_hresult = DDP_E_INVALID_DATA

    def __init__(self, message: str, *, wanted: int, got: int, container: str, offset: int) -> None:
        """Keep both counts beside the place."""
        super().__init__(message, container=container, offset=offset, length=wanted, retryable=True)
        self.wanted = wanted
        self.got = got


class StoreReadError(StoreError):
    """Any exception out of a vendor's read that has no meaning of its own; it is the cause."""

    default_code = "store.read"


class StoreContractError(StoreError):
    """The adapter broke the call contract: wrong types, extents out of range, too many bytes."""

    default_code = "store.contract"
    default_hresult = E_INVALIDARG


class StoreTimeoutError(StoreError):
    """A vendor call did not return before its deadline; the session is over."""

    default_code = "store.timeout"
    default_hresult = E_TIMEOUT


class NotReadyError(StoreError):
    """Raised by a vendor: these bytes are not readable yet (thaw, mount); ask again later.

    Attributes:
        retry_after: Seconds after which to ask again.
    """

    default_code = "store.not-ready"
    default_hresult = E_NOT_READY

    def __init__(self, message: str = "not ready", *, retry_after: float = 0.0) -> None:
        """Keep the delay in seconds."""
        super().__init__(message, retryable=True)
        self.retry_after = retry_after


class StoreLockedError(StoreError):
    """Another process writes to this store; the message names it."""

    default_code = "store.locked"
    default_hresult = E_ACCESSDENIED


class FormatError(RestoreError):
    """The stored bytes are at fault."""

    default_code = "format"
    default_hresult = DDP_E_FILE_CORRUPT


class UnsupportedFormatError(FormatError):
    """A version, codec or feature that this release does not know; the message names it."""

    default_code = "format.unsupported"
    default_hresult = DDP_E_INVALID_DATA


class CorruptMetadataError(FormatError):
    """A structure contradicts its own checks, its limits or its neighbours."""

    default_code = "format.corrupt"


class ChunkMismatchError(FormatError):
    """A chunk's size or digest differs from what the stream map says, after decoding."""

    default_code = "chunk.digest"


class StagingError(RestoreError):
    """The destination's side."""

    default_code = "fs"
    default_hresult = E_ACCESSDENIED


class UnsafeTargetError(StagingError):
    """A target name that could leave the target directory, or that the target cannot hold."""

    default_code = "name.unsafe"
    default_hresult = E_INVALIDARG


class TargetChangedError(StagingError):
    """What stands at the target is not what the request was made for."""

    default_code = "fs.changed"


class PublishError(StagingError, OSError):
    """A file-system call of staging or publishing failed; ``errno`` is kept.

    Attributes:
        errno: The operating system's number, or ``None``.
    """

    default_code = "fs.failed"

    def for_file(self, file: str) -> Self:
        """Return a copy; the number and its text are no ordinary attributes of an ``OSError``."""
        copied = super().for_file(file)
        copied.errno, copied.strerror = self.errno, self.strerror
        return copied

    @classmethod
    def of(cls, cause: OSError, doing: str, *, file: str | None = None) -> "PublishError":
        """Wrap an operating-system error.

        Args:
            cause: What the call raised.
            doing: What was being done, as a verb phrase ("write the staged file").
            file: Relative target path.

        Returns:
            The error to raise ``from cause``; disk-full comes back as :class:`NoSpaceError`.
        """
        kind = NoSpaceError if cause.errno in (error_numbers.ENOSPC, error_numbers.EDQUOT) else cls
        hresult = E_WRITE_FAULT if cause.errno == error_numbers.EIO else None
        error = kind(f"cannot {doing}: {cause.strerror or cause}", file=file, hresult=hresult)
        error.errno = cause.errno
        error.strerror = cause.strerror
        return error


class NoSpaceError(PublishError):
    """The target file system (or the caller's quota) has no room."""

    default_code = "fs.nospace"
    default_hresult = E_DISK_FULL


class DurabilityError(StagingError):
    """A sync failed: the bytes may be lost although they can still be read; staging was removed."""

    default_code = "fs.sync"
    default_hresult = E_WRITE_FAULT


class LimitError(RestoreError, ValueError):
    """A number is beyond a limit: asked by the caller or claimed by the store."""

    default_code = "limit"
    default_hresult = E_INVALIDARG


class RequestError(RestoreError, ValueError):
    """The call itself is wrong: two requests for one target, a path that is no path."""

    default_code = "request"
    default_hresult = E_INVALIDARG


class SessionError(RestoreError):
    """A session was used after its end or from another process."""

    default_code = "session"


class SessionBusyError(SessionError):
    """A callback called back into the session that is calling it."""

    default_code = "session.busy"


class Cancelled(RestoreError):  # noqa: N818 - the word of the call contract
    """The restore was cancelled; published files stay, staged bytes are kept."""

    default_code = "cancelled"
    default_hresult = E_CANCELLED

    def __init__(self, message: str = "cancelled", *, file: str | None = None) -> None:
        """A cancelled restore is always resumable."""
        super().__init__(message, file=file, retryable=True, resumable=True)
