"""A thaw job on disk: what was asked for, when, at what price, and until when it can be read.

One JSON file, replaced as a whole, so that it is intact whenever the program dies. It is written
before the service is asked (``asking``) and after it answered. What it says is never trusted about
readiness: the service is asked again after a restart, which costs a HEAD request and thaws nothing.
"""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.stores.replacing import replace_file
from rehydrate.values import StorePath

__all__ = ["Asked", "Progress", "ThawJob"]

_FORMAT: Final = "rehydrate thaw job"
_VERSION: Final = 1
_LARGEST: Final = 1 << 30
_MOST: Final = 2**63
_MARK_BYTES: Final = 16
_BEGIN: Final = 1024  # bytes of a file in which its mark stands


class Progress(StrEnum):
    """What became of one request."""

    ASKING = "asking"
    ASKED = "asked"
    READY = "ready"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class Asked:
    """A thaw of one object.

    Attributes:
        progress: What became of it.
        speed: Way of the thaw.
        days: Days that the copy is kept.
        size: Bytes of the object.
        price: Estimated price of all requests for it, millionths of the currency of the price table.
        asked_ns: When it was asked for, nanoseconds since 1970.
        expires_ns: When the copy goes away; ``None`` = not known or never.
        version: Version of the object; ``None`` = the newest.
        paid: The part of ``price`` that was asked for before this request. Where a request is in
            doubt, and is made again, the rest of ``price`` is not counted twice.
    """

    progress: Progress
    speed: str
    days: int
    size: int
    price: int
    asked_ns: int
    expires_ns: int | None = None
    version: str | None = None
    paid: int = 0

    @property
    def sure(self) -> int:
        """What was paid for certain: a copy that expired is paid again."""
        return self.price if self.progress in {Progress.READY, Progress.ASKED} else self.paid


class ThawJob:
    """The requests of a job by store path; may be used from several threads."""

    def __init__(self, path: Path, url: str, currency: str = "") -> None:
        """Open the job, or begin one; nothing is written yet.

        Args:
            path: The file; its folder must exist.
            url: Which store it belongs to.
            currency: Currency of its prices.

        Raises:
            CorruptMetadataError: The file is no job, or one of another store or currency.
            StoreReadError: It cannot be read.
        """
        self._path, self._header = path, _Header(url.rstrip("/"), currency)
        self._lock = threading.Lock()
        self._saved: str | None = None  # the mark of the file that is known; empty = it has none
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST)
        except FileNotFoundError:
            self._asked: dict[StorePath, Asked] = {}
        except OSError as error:
            raise _cannot("read", path, error) from error
        else:
            self._saved, self._asked = _parse(text, self._header, path)

    def get(self, path: StorePath) -> Asked | None:
        """Return the request for an object, if there is one."""
        return self._asked.get(path)

    def __iter__(self) -> Iterator[tuple[StorePath, Asked]]:
        """Iterate the requests."""
        return iter(tuple(self._asked.items()))

    def put(self, changes: Mapping[StorePath, Asked]) -> None:
        """Take over requests and write the file, durably.

        Args:
            changes: New state of some objects.

        Raises:
            StoreReadError: The file cannot be written: nothing must be asked for then.
        """
        self.note(changes)
        self.write()

    def note(self, changes: Mapping[StorePath, Asked]) -> None:
        """Take over requests; written with the next of others.

        Args:
            changes: New state of some objects.
        """
        with self._lock:
            self._asked.update(changes)

    def write(self) -> None:
        """Write the file, durably.

        Raises:
            StoreReadError: The file cannot be written, or another program wrote it.
        """
        with self._lock:
            saved = secrets.token_hex(_MARK_BYTES)
            content = {
                "format": _FORMAT,
                "version": _VERSION,
                "saved": saved,
                "store": self._header.url,
                "currency": self._header.currency,
                "objects": {path: attrs.asdict(asked) for path, asked in self._asked.items()},
            }
            try:
                self._refuse_others()
                text = json.dumps(content, indent=1).encode()
                replace_file(self._path, [text], private=True)
            except OSError as error:
                raise _cannot("write", self._path, error) from error
            self._saved = saved

    def _refuse_others(self) -> None:
        """Refuse to write over what another program wrote: both would forget what the other spent."""
        try:
            with self._path.open("rb") as file:
                begin = file.read(_BEGIN)
        except FileNotFoundError:
            return  # what is known here is all of it
        if self._saved is None or self._saved.encode() not in begin:
            raise StoreReadError(
                f"another program uses the thaw job {self._path}", code="thaw.job", retryable=False
            )


@attrs.frozen
class _Header:
    """What a job belongs to; an empty currency is any."""

    url: str
    currency: str


def _cannot(do: str, path: Path, error: OSError) -> StoreReadError:
    return StoreReadError(
        f"cannot {do} the thaw job {path}: {error.strerror}", code="thaw.job", retryable=False
    )


def _parse(text: bytes, header: _Header, path: Path) -> tuple[str, dict[StorePath, Asked]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _corrupt(f"the thaw job {path} is damaged") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise _corrupt(f"{path} is no thaw job")
    if found.get("version") != _VERSION:
        raise _corrupt(f"the thaw job {path} is of another version")
    store, currency = found.get("store"), found.get("currency", "")
    if not isinstance(store, str) or store.rstrip("/") != header.url:
        raise _corrupt(f"the thaw job {path} belongs to another store")
    if header.currency and currency and currency != header.currency:
        raise _corrupt(f"the thaw job {path} counts in another currency than the price table")
    objects = found.get("objects")
    if not isinstance(objects, dict):
        raise _corrupt(f"the thaw job {path} is damaged")
    try:
        asked = {StorePath(name): _asked(entry) for name, entry in objects.items()}
        return _text(found.get("saved", "")), asked
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(f"the thaw job {path} is damaged") from error


def _asked(entry: Mapping[str, object]) -> Asked:
    return Asked(
        progress=Progress(_text(entry["progress"])),
        speed=_text(entry["speed"]),
        days=_number(entry["days"]),
        size=_number(entry["size"]),
        price=_number(entry["price"]),
        asked_ns=_number(entry["asked_ns"]),
        expires_ns=None if entry["expires_ns"] is None else _number(entry["expires_ns"]),
        version=None if entry["version"] is None else _text(entry["version"]),
        paid=_number(entry.get("paid", 0)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise TypeError
    return value


def _corrupt(message: str) -> CorruptMetadataError:
    return CorruptMetadataError(message, code="thaw.job")
