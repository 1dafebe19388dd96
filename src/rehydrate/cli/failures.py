"""Errors as one line each: the thing, what is wrong with it, what to do about it."""

import errno
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from rehydrate.cli.exit_codes import INTERRUPTED, SOME_FAILED, STORE_UNUSABLE, USAGE
from rehydrate.cli.output import Json, shown, tell
from rehydrate.errors import (
    Cancelled,
    ChunkMismatchError,
    ContainerNotFoundError,
    FormatError,
    LimitError,
    PublishError,
    RequestError,
    RestoreError,
    ShortReadError,
    StagingError,
    StoreError,
    UnsupportedFormatError,
)

__all__ = ["Failure", "collapse", "exit_code_of", "line_of", "record_of", "report"]

_CALLERS_FAULT: Final = ("plan.", "source.")
_FOREIGN: Final = ("image.", "volume.")
"""What is wrong with images and volumes, no command of ours puts right."""
_NOT_OF_THE_STORE: Final = ("ltfs.", "media.", "tape.", "thaw.")
"""Files beside a store, and volumes: where these are damaged, it need not be."""
_NAMES_SHOWN: Final = 3
_LINES_SHOWN: Final = 20

_BY_CODE: Final[Mapping[str, str]] = {
    "fs.failed": "see that the target can be written, then run the same command again",
    "fs.is-directory": "move the directory away or restore elsewhere",
    "link.first": "it is another name of a file that failed, too",
    "fs.sync": "the disk reported an error: look at the system log before you trust it",
    "plan.mismatch": "make the plan anew with `rehydrate plan --save`",
    "plan.version": "make the plan anew with `rehydrate plan --save`",
    "plan.corrupt": "make the plan anew with `rehydrate plan --save`",
    "store.other": "name the store that this version or stub belongs to (--store DIR for a Windows"
    " volume)",
    "object.archived": "say --thaw TIER (as in --thaw standard) to have archived data thawed;"
    " `rehydrate plan --thaw TIER` prices it",
    "media.file": "correct the file of --media",
    "thaw.prices": "correct the file of --price-table",
    "tape.refused": "run the same command again when it can be mounted",
    "store.unreadable": "see that you may read it",
    "store.exists": "name an empty directory",
}
_BY_ERRNO: Final[Mapping[int, str]] = {
    errno.EROFS: "it is read-only: choose another target",
    errno.EACCES: "you may not write there: choose another target or change its rights",
    errno.EPERM: "you may not do that there: choose another target",
    errno.EEXIST: "choose an empty directory",
    errno.ENOTDIR: "name a directory",
}
_BY_CLASS: Final = (
    (ContainerNotFoundError, "put it back from another copy of the store and run this again"),
    (ShortReadError, "the container is cut short: put back another copy of it"),
    (UnsupportedFormatError, "use a newer rehydrate"),
    (ChunkMismatchError, "the store is damaged: see `rehydrate verify --read-data`"),
    (FormatError, "the store is damaged: see `rehydrate verify`"),
    (StagingError, "choose another target, or change what stands there"),
)
_HAS_REMEDY: Final = ("`rehydrate", ": make room", "; remove it", "; wait", "use a newer")


def remedy_of(error: RestoreError) -> str:
    """Return what a person can do; empty where the message says it already."""
    if any(mark in error.message for mark in _HAS_REMEDY):
        return ""
    # A copy for another file keeps the cause, and not the number that the system gave.
    source = error if isinstance(error, PublishError) and error.errno else error.__cause__
    number = source.errno if isinstance(source, OSError) else None
    found = _BY_ERRNO.get(number or 0) or _BY_CODE.get(error.code)
    if found is not None:
        return found
    if error.code.startswith(_FOREIGN):
        return ""
    for kind, remedy in _BY_CLASS:
        if isinstance(error, kind):
            elsewhere = kind is FormatError and error.code.startswith(_NOT_OF_THE_STORE)
            return "" if elsewhere else remedy
    return ""


def line_of(error: RestoreError, *, file: str | None = None) -> str:
    """Return the error as one line.

    Args:
        error: The error.
        file: The file to name; ``None`` = the error's own.
    """
    file = error.file if file is None else file
    text = str(error)
    remedy = remedy_of(error)
    named = file and repr(file) not in text
    return shown((f"{file}: " if named else "") + text + (f" - {remedy}" if remedy else ""))


def exit_code_of(error: RestoreError) -> int:
    """Return the exit code of a command that an error ended."""
    if isinstance(error, Cancelled):
        return INTERRUPTED
    if isinstance(error, (RequestError, LimitError)) or error.code.startswith(_CALLERS_FAULT):
        return USAGE
    if isinstance(error, (StoreError, FormatError)):
        return STORE_UNUSABLE
    return SOME_FAILED


def record_of(error: RestoreError) -> dict[str, Json]:
    """Return the fields of an error for JSON, the remedy among them."""
    return {**error.as_record(), "remedy": remedy_of(error) or None}


@attrs.frozen
class Failure:
    """One thing that failed.

    Attributes:
        name: Path of the file.
        error: Why.
    """

    name: str
    error: RestoreError


@attrs.define
class _Group:
    first: Failure
    names: list[str]
    count: int = 0


def collapse(failures: Iterable[Failure]) -> list[str]:
    """Return one line for each kind of failure, with the first names and the count.

    Args:
        failures: Any number; only the first names of each kind are kept.
    """
    groups: dict[tuple[object, ...], _Group] = {}
    for failure in failures:
        error = failure.error
        text = error.message.replace(repr(failure.name), "the name")
        group = groups.setdefault((error.code, error.container, text), _Group(failure, []))
        group.count += 1
        if len(group.names) < _NAMES_SHOWN:
            group.names.append(failure.name)
    lines = []
    for group in groups.values():
        if group.count == 1:
            lines.append(line_of(group.first.error, file=group.first.name))
            continue
        more = group.count - len(group.names)
        names = ", ".join(map(shown, group.names)) + (f" and {more:,} more" if more else "")
        error = group.first.error.for_file("")
        error.offset = error.length = None
        error.message = error.message.replace(repr(group.first.name), "the name")
        lines.append(f"{group.count:,} files: {line_of(error)}: {names}")
    if len(lines) > _LINES_SHOWN:
        left = len(lines) - _LINES_SHOWN
        lines[_LINES_SHOWN:] = [f"... and {left:,} more kinds of failure; --json lists all"]
    return lines


def report(failures: Iterable[Failure]) -> None:
    """Print failures on stderr, equal ones together."""
    for line in collapse(failures):
        tell(f"rehydrate: {line}")
