"""The work of ``rehydrate restore``."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from rehydrate.cli.chosen import Wanted
from rehydrate.cli.exit_codes import INTERRUPTED, OK, SOME_FAILED
from rehydrate.cli.failures import Failure, report
from rehydrate.cli.interrupt import cancelled_by_signals
from rehydrate.cli.output import Json, document, say, shown, tell
from rehydrate.cli.planning import load_plan, tell_unmatched
from rehydrate.cli.progress import progress_bar
from rehydrate.cli.records import counters_record, result_record
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.cli.sources import Selected, Source, tell_problems
from rehydrate.cli.thaw_desk import ThawDesk
from rehydrate.cli.watchers import watcher_of
from rehydrate.engine.restore import restore_files
from rehydrate.errors import RequestError
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions, RestoreRequest
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.paths import WORKSPACE_PREFIX, collision_key
from rehydrate.staging.root import TargetRoot
from rehydrate.values import StoreId

__all__ = ["job_beside", "restore_wanted", "what_is_wanted"]

_WORDS: Final = {
    FileStatus.RESTORED: "restored",
    FileStatus.SKIPPED_SAME: "the same already",
    FileStatus.SKIPPED_EXISTS: "left as they were",
    FileStatus.SKIPPED_LINK: "links left out",
    FileStatus.NOT_DEDUPLICATED: "not deduplicated",
    FileStatus.STORE_VERSION: "no stubs any more",
    FileStatus.DAMAGED_PARTIAL: "restored in part",
    FileStatus.CANCELLED: "not yet restored",
    FileStatus.FAILED: "failed",
}


def what_is_wanted(
    patterns: Sequence[str] | None,
    files_from: Path | None,
    excludes: Sequence[str] | None,
    version: str | None,
    *,
    null: bool,
    plan: Path | None,
) -> tuple[Wanted, ReadPlan | None]:
    """Take the choice from the arguments, or from a plan that was saved.

    Args:
        patterns: Arguments.
        files_from: File with a list.
        excludes: Patterns to leave out.
        version: Number or name of the version.
        null: Paths of the list end with a zero byte.
        plan: File of the plan.

    Raises:
        RequestError: Both are given, or a file cannot be read.
    """
    if plan is None:
        return Wanted.of(patterns, files_from, excludes, version, null=null), None
    if patterns or files_from or excludes or version:
        raise RequestError(
            "--plan says already what to restore: leave out patterns, --files-from, --exclude and"
            " --version"
        )
    return load_plan(plan)


def job_beside(out: Path) -> Path:
    """Return where the thaw job of a restore is kept: beside the target.

    Args:
        out: The target.
    """
    whole = out.resolve()
    return whole.with_name(f"{whole.name or 'root'}.thaw.json")


def restore_wanted(
    source: Source,
    wanted: Wanted,
    out: Path,
    options: RestoreOptions,
    *,
    plan: ReadPlan | None,
    metadata: str | None,
    as_json: bool,
) -> int:
    """Restore what is wanted and say what became of it.

    Args:
        source: What to restore from.
        wanted: What to restore.
        out: Where to.
        options: How.
        plan: A plan made before.
        metadata: Where Windows metadata goes; ``None`` = what suits the target.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    if plan is not None and source.windows:
        raise RequestError("--plan: plans of Windows volumes cannot be kept: leave it out")
    with cancelled_by_signals("what is verified is kept") as token:
        chosen = source.choose(wanted, out=out, cancel=token)
        unmatched = tell_unmatched(chosen)
        requests = _requests(source, chosen, out, metadata)
        options = attrs.evolve(options, cancel=token)
        done = _restored(source, chosen, requests, (out, options), plan=plan)
    seconds = time.monotonic() - started
    interrupted = FileStatus.CANCELLED in done.counts
    again = _command(wanted, chosen.version) if interrupted else None
    report(_failures(done))
    for notice in done.notices:
        tell(f"rehydrate: {shown(notice)}")
    left_out = tell_problems(source)
    good = done.ok and not unmatched and not left_out
    code = INTERRUPTED if interrupted else OK if good else SOME_FAILED
    lost = _lost_by_kind(done)
    tags: Mapping[int, int] = {}
    if source.windows:
        from rehydrate.cli.volume_results import left_alone, tell_results

        tags = left_alone(done, requests)
        tell_results(done, requests, lost)
    desk = _desk_of(source)
    if as_json:
        content = _content(done, chosen, out, seconds, code=code, again=again)
        content |= {"metadata_lost": lost, "problems": list(source.problems)}
        content["thaw"] = None if desk is None else desk.as_record()
        rows = (result_record(result, tags.get(result.index)) for result in done.results)
        document("restore", content, rows=("results", rows))
    else:
        _say_what_was_done(done, chosen, out, seconds)
        if desk is not None and desk.summary():
            say(desk.summary())
    if again is not None:
        tell(f"rehydrate: interrupted; to go on: {shown(again)}")
    return code


def _restored(
    source: Source,
    chosen: Selected,
    requests: list[RestoreRequest],
    where: tuple[Path, RestoreOptions],
    *,
    plan: ReadPlan | None,
) -> RestoreReport:
    """Restore.

    Raises:
        LimitError: A thaw costs more than it may: nothing was asked for and nothing written.
        RequestError: There is no price for it, or the plan is for something else.
    """
    out, options = where
    desk, made = _desk_of(source), not out.exists()
    if desk is not None:
        _check_store(plan, source, chosen.version)
        plan = None
    stores = source.stores(chosen.version)
    _announce(plan, stores)
    with TargetRoot(out) as target, progress_bar() as bar:
        if source.windows and _clash(chosen.paths) and not tells_case_apart(out):
            options = attrs.evolve(options, portable_names=True)
        done = restore_files(
            requests,
            stores,
            target,
            options=options,
            observer=watcher_of(bar, desk),
            plan=plan,
        )
    refusal = None if desk is None else desk.refusal
    if refusal is not None:
        if made:
            with suppress(OSError):
                out.rmdir()
        raise refusal
    return done


def _announce(plan: ReadPlan | None, stores: Mapping[StoreId, BackupStore]) -> None:
    """Tell a store that wants to know what a plan will read, as it is not asked for the order."""
    expect = None if plan is None else getattr(stores.get(plan.store), "expect", None)
    if plan is not None and callable(expect):
        expect(plan.round("data").containers)


def _desk_of(source: Source) -> ThawDesk | None:
    """Return who tells of thaws, where there may be any."""
    from rehydrate.cli.native_source import NativeSource

    return source.desk if isinstance(source, NativeSource) else None


def _check_store(plan: ReadPlan | None, source: Source, version: int) -> None:
    """Check a plan whose order is not taken: what is thawed, and when, decides the order.

    Raises:
        RequestError: The plan was made for another store.
    """
    if plan is not None and plan.store not in source.stores(version):
        raise RequestError("the plan was made for another store: plan again", code="plan.mismatch")


def _requests(
    source: Source, chosen: Selected, out: Path, metadata: str | None
) -> list[RestoreRequest]:
    """Return what to restore, before anything is written."""
    if source.windows and metadata is None:
        from rehydrate.catalogue.windows_metadata.forms import default_form

        metadata = default_form(out).value
    return list(chosen.requests(metadata))


def _clash(paths: Sequence[bytes]) -> bool:
    """Tell whether some names differ by no more than case."""
    return len({collision_key(path) for path in paths}) != len(paths)


def tells_case_apart(out: Path) -> bool:
    """Tell whether names that differ by case only can stand side by side in a directory.

    An empty directory is made and removed again; where that is not possible, it is assumed that
    they can, and the restore itself will find out.

    Args:
        out: The directory.
    """
    try:
        probe = tempfile.mkdtemp(prefix=os.fsdecode(WORKSPACE_PREFIX) + "case-", dir=out)
    except OSError:
        return True
    try:
        return not os.path.lexists(out / Path(probe).name.upper())
    finally:
        with suppress(OSError):
            Path(probe).rmdir()


def _lost_by_kind(done: RestoreReport) -> dict[str, int]:
    """Return how many files lost each kind of metadata."""
    kinds: dict[str, int] = {}
    for names in done.lost.values():
        for kind in {name.partition(" (")[0].partition(":")[0] for name in names}:
            kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items()))


def _failures(done: RestoreReport) -> Iterator[Failure]:
    """Return what failed, without the files that were only not reached."""
    for result in done.failures:
        if result.error is not None and result.status is not FileStatus.CANCELLED:
            yield Failure(result.target, result.error)


def _command(wanted: Wanted, version: int) -> str:
    """Return the command that goes on: the one that was given, with the version pinned."""
    words = ["rehydrate", *sys.argv[1:]]
    if wanted.version is None:
        words += ["--version", str(version)]
    return shlex.join(words)


def _say_what_was_done(done: RestoreReport, chosen: Selected, out: Path, seconds: float) -> None:
    counts = ", ".join(f"{count:,} {_WORDS[status]}" for status, count in done.counts.items())
    restored = done.statuses == FileStatus.RESTORED
    total = int(done.sizes[restored].sum())
    rate = f" ({size(round(total / seconds))}/s)" if total and seconds > 0 else ""
    say(f"version {chosen.version} into {shown(str(out))}: {counts or 'nothing to do'}")
    say(f"{size(total)} in {duration(seconds)}{rate}")
    counters = done.counters
    if counters.reads:
        say(
            f"read {size(counters.bytes_read)} of {counted(counters.containers, 'container')}"
            f" in {counted(counters.reads, 'read')}, amplification {counters.amplification:.3f}"
        )
    if counters.bytes_resumed:
        say(f"{size(counters.bytes_resumed)} were staged and verified already")


def _content(
    done: RestoreReport,
    chosen: Selected,
    out: Path,
    seconds: float,
    *,
    code: int,
    again: str | None,
) -> dict[str, Json]:
    counts: dict[str, Json] = {status.name.lower(): count for status, count in done.counts.items()}
    return {
        "exit_code": code,
        "store_version": chosen.version,
        "target": str(out),
        "seconds": round(seconds, 3),
        "counts": counts,
        "counters": counters_record(done.counters),
        "hresult": f"0x{done.hresult:08X}",
        "notices": list(done.notices),
        "unmatched": list(chosen.unmatched),
        "resume": again,
    }
