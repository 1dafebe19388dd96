"""The work of ``rehydrate verify`` for a Windows volume."""

import json
import os
import time
from typing import Final

from rehydrate.catalogue.windows_damage import OrphanStubs, WindowsVerifyReport
from rehydrate.catalogue.windows_verify import bytes_to_verify, verify_volume
from rehydrate.cli.chosen import numbered
from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.output import document, list_lines, say, shown, tell
from rehydrate.cli.progress import adder, progress_bar
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.cli.sources import tell_problems
from rehydrate.cli.volume_source import VolumeSource, warn_if_slow
from rehydrate.values import STORES_FOLDER

__all__ = ["verify_and_show_volume"]

_PREFIX: Final = f"{STORES_FOLDER}/"


def verify_and_show_volume(
    source: VolumeSource, version: str | None, *, read_data: bool, jobs: int, as_json: bool
) -> int:
    """Verify the chunk stores of a volume and list what is damaged.

    Args:
        source: The volume.
        version: Number or name of the version; ``None`` = the newest.
        read_data: Also read every record.
        jobs: Threads for that.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    number = source.pick_version(numbered(version))
    source.fold(number)
    if read_data:
        warn_if_slow()
    with progress_bar() as bar:
        if bar is not None and read_data:
            bar.total(bytes_to_verify(source.catalogue, number))
        report = verify_volume(
            source.catalogue, number, read_data=read_data, jobs=jobs, tell=adder(bar, "verifying")
        )
    seconds = time.monotonic() - started
    problems = tell_problems(source)
    if as_json:
        # Through text and back: the report promises plain values, and the types do not show it.
        plain = json.loads(json.dumps(report.as_record()))
        plain["store_version"] = plain.pop("version")
        content = {"seconds": round(seconds, 3), **plain, "problems": list(source.problems)}
        document("verify", content)
    else:
        _say_report(report, seconds)
    return OK if report.ok and not problems else SOME_FAILED


def _say_report(report: WindowsVerifyReport, seconds: float) -> None:
    for notice in report.notices:
        tell(f"rehydrate: {shown(notice)}")
    list_lines("damage", [str(found).removeprefix(_PREFIX) for found in report.damage])
    list_lines(
        "broken files", [f"{os.fsdecode(file.path)}: {file.reason}" for file in report.files]
    )
    list_lines("stubs without their store", [_orphans(each) for each in report.orphans])
    counts = report.counts
    say(
        f"{counted(counts.stores, 'chunk store')}, {counted(counts.containers, 'container')},"
        f" {size(counts.bytes)}, {counted(counts.chunks, 'chunk')}"
        f" ({counts.compressed:,} compressed), {counted(counts.maps, 'stream map')}"
        f" in {duration(seconds)}"
    )
    say(
        f"records verified by digest {counts.by_digest:,}, by check sum {counts.by_checksum:,},"
        f" by header {counts.by_header:,}"
    )
    if counts.unreferenced_chunks or counts.unreferenced_maps:
        say(
            f"needed by no file: {counted(counts.unreferenced_chunks, 'chunk')},"
            f" {counted(counts.unreferenced_maps, 'stream map')}"
        )
    say(f"{counted(counts.files, 'deduplicated file')}, {counts.whole:,} of them whole")
    if not report.ok:
        say("damaged, or incomplete: the files that are named cannot be restored whole")
    elif report.read_data:
        say("whole: every byte is what was stored")
    else:
        say("whole, as far as headers and stream maps tell; --read-data also reads the chunks")


def _orphans(orphans: OrphanStubs) -> str:
    files = counted(len(orphans.files), "file")
    if orphans.elsewhere:
        return f"{orphans.store}: {files}; it was given with --store and is not verified here"
    return f"{orphans.store}: {files}; say where it is with --store DIR"
