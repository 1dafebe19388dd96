"""The work of ``rehydrate optimize``."""

import os
import shlex
import time
from pathlib import Path
from typing import Final

from rehydrate.cli.exit_codes import INTERRUPTED, OK, SOME_FAILED
from rehydrate.cli.failures import record_of
from rehydrate.cli.interrupt import cancelled_by_signals
from rehydrate.cli.output import Json, document, say, shown, tell
from rehydrate.cli.progress import Bar, progress_bar
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.errors import Cancelled, StoreError
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import OptimizeOptions, OptimizeProgress, OptimizeReport
from rehydrate.ingest.store import create_store
from rehydrate.stores.layout import CONFIGURATION_NAME, DATA_FOLDER, STREAM_FOLDER

__all__ = ["store_tree"]

_SHOWN: Final = 10


class _Watcher:
    """Draws a backup run."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def on_progress(self, progress: OptimizeProgress, /) -> None:
        what = counted(progress.files_done, "entry", "entries")
        self._bar.show(what, progress.bytes_done, progress.path)


def store_tree(source: Path, store: Path, *, jobs: int, as_json: bool) -> int:
    """Store a source tree as a new version and say what was done.

    Args:
        source: The tree.
        store: Directory of the store; made if it is missing or empty.
        jobs: Worker threads; 0 = one a processor.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    made = _made_if_missing(source, store)
    with cancelled_by_signals("what is stored is kept") as token, progress_bar() as bar:
        options = OptimizeOptions(jobs=jobs, cancel=token)
        watcher = None if bar is None else _Watcher(bar)
        try:
            report = optimize(source, store, options=options, observer=watcher)
        except Cancelled as error:
            return _interrupted(error, source, store, as_json=as_json)
    seconds = time.monotonic() - started
    _tell_what_is_missing(report)
    if as_json:
        document("optimize", _content(report, seconds, made=made))
    else:
        _say_what_was_done(report, store, seconds, made=made)
    return OK if report.ok else SOME_FAILED


def _made_if_missing(source: Path, store: Path) -> bool:
    """Make the store if there is none; return whether it was made."""
    try:
        source.stat()
    except OSError as error:
        raise StoreError(
            f"cannot read the source {source}: {error.strerror}", code="source.unreadable"
        ) from error
    if os.path.lexists(store / CONFIGURATION_NAME):
        return False
    for folder in (DATA_FOLDER, STREAM_FOLDER):
        if (store / folder).is_dir() and any((store / folder).iterdir()):
            return False  # the store lost its configuration; the run itself says what to do
    create_store(store)
    return True


def _interrupted(error: Cancelled, source: Path, store: Path, *, as_json: bool) -> int:
    again = shlex.join(["rehydrate", "optimize", str(source), str(store)])
    tell(f"rehydrate: interrupted; what was stored is kept. To go on: {shown(again)}")
    if as_json:
        document("error", {"exit_code": INTERRUPTED, "error": record_of(error), "resume": again})
    return INTERRUPTED


def _tell_what_is_missing(report: OptimizeReport) -> None:
    reasons: dict[tuple[str, bool], list[bytes]] = {}
    for skip in report.skipped:
        reasons.setdefault((skip.reason, skip.failed), []).append(skip.path)
    for (reason, failed), names in reasons.items():
        what = "not stored" if failed else "left out"
        _tell_names(f"{what}: {reason}", names)
    if report.inconsistent:
        _tell_names("changed while it was read, stored as it was last seen", report.inconsistent)
    for name, count in report.left_attributes.items():
        entries = counted(count, "entry", "entries")
        tell(f"rehydrate: attribute {shown(name)} is not stored ({entries})")
    for container in report.damaged_containers:
        tell(
            f"rehydrate: container {container} is damaged and was not used;"
            " what it held is stored again where it is met"
        )


def _tell_names(what: str, names: tuple[bytes, ...] | list[bytes]) -> None:
    listed = ", ".join(shown(name) or "." for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    tell(f"rehydrate: {what}: {listed}{more}")


def _say_what_was_done(report: OptimizeReport, store: Path, seconds: float, *, made: bool) -> None:
    if made:
        say(f"made the store {shown(str(store))}")
    say(
        f"version {report.version}: {counted(report.entries, 'entry', 'entries')},"
        f" {counted(report.files, 'file')}, {size(report.logical_bytes)}"
    )
    say(
        f"unchanged {report.unchanged:,}; read {size(report.read_bytes)},"
        f" found {size(report.reused_bytes)} in the store,"
        f" added {size(report.new_bytes)} in {counted(report.new_chunks, 'chunk')}"
    )
    say(f"took {duration(seconds)}")


def _content(report: OptimizeReport, seconds: float, *, made: bool) -> dict[str, Json]:
    return {
        "store_made": made,
        "seconds": round(seconds, 3),
        "store_version": report.version,
        "entries": report.entries,
        "files": report.files,
        "unchanged": report.unchanged,
        "logical_bytes": report.logical_bytes,
        "read_bytes": report.read_bytes,
        "new_bytes": report.new_bytes,
        "new_chunks": report.new_chunks,
        "reused_bytes": report.reused_bytes,
        "zero_bytes": report.zero_bytes,
        "segments": report.segments,
        "reused_segments": report.reused_segments,
        "checkpoints": report.checkpoints,
        "skipped": [
            {"path": os.fsdecode(skip.path), "reason": skip.reason, "failed": skip.failed}
            for skip in report.skipped
        ],
        "inconsistent": [os.fsdecode(path) for path in report.inconsistent],
        "left_attributes": {
            os.fsdecode(name): count for name, count in report.left_attributes.items()
        },
        "damaged_containers": list(report.damaged_containers),
    }
