"""The work of ``rehydrate info`` for a Windows volume."""

import re
from collections.abc import Iterator
from typing import Final

from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import document, say, shown, table, tell
from rehydrate.cli.sizes import counted, moment, size
from rehydrate.cli.volume_entries import tag_name, unix_ns
from rehydrate.cli.volume_facts import Report, StoreReport, report_on
from rehydrate.cli.volume_source import VolumeSource

__all__ = ["show_volume"]

_VERSIONS_SHOWN: Final = 10
_GENERATIONS_SHOWN: Final = 5
_FILETIME: Final = re.compile(r"1[0-9]{17}")
"""A FILETIME between 1917 and 2234; the settings name times such as ``changeTime``."""


def show_volume(
    source: VolumeSource, version: int | str | None, *, containers: bool, as_json: bool
) -> int:
    """Show what a volume is and what is on it.

    Args:
        source: The volume.
        version: Number or name of the version; ``None`` = the newest.
        containers: List each container.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    report = report_on(source, version)
    if as_json:
        document("info", report.as_record())
        return OK
    _say(_volume_lines(report))
    _say_partitions(report)
    for store in report.stores:
        say()
        _say(_store_lines(store))
        if containers and store.containers:
            _say_containers(store)
    if report.policy:
        say()
        say("policy")
        _say((f"  {shown(name)}", _value(value)) for name, value in sorted(report.policy.items()))
    for line in report.problems:
        tell(f"rehydrate: {shown(line)}")
    return OK


def _say(lines: Iterator[tuple[str, str]]) -> None:
    found = list(lines)
    width = max((len(name) for name, _ in found), default=0)
    for name, value in found:
        say(f"{name.ljust(width)}  {value}")


def _volume_lines(report: Report) -> Iterator[tuple[str, str]]:
    facts = report.facts
    yield "source", shown(f"{report.path}")
    yield "found", shown(facts.source)
    if facts.file_system or facts.size:
        yield "file system", f"{facts.file_system or '?'}, {size(facts.size)}"
    if facts.label:
        yield "label", shown(facts.label)
    if facts.serial:
        yield "serial", f"{facts.serial:016X}"
    if facts.snapshot:
        yield "shadow copy", shown(facts.snapshot)
    yield "version", f"{report.version} of {len(report.versions)}"
    if len(report.versions) > 1:
        for info in report.versions[-_VERSIONS_SHOWN:]:
            when = moment(info.created_ns) if info.created_ns else "-"
            yield f"  {info.number}", f"{when}  {shown(info.source)}"
    stubs = sum(report.formats.values())
    formats = ", ".join(f"{name}: {count:,}" for name, count in report.formats.items())
    yield "deduplicated", counted(stubs, "file") + (f" (stub format {formats})" if stubs else "")
    count, total = report.files
    yield "ordinary", f"{counted(count, 'file')}, {size(total)}"
    yield "directories", f"{report.directories:,}"
    if report.others:
        others = ", ".join(f"{tag_name(tag)}: {count:,}" for tag, count in report.others.items())
        yield "other reparse points", others


def _value(value: str) -> str:
    """Return a value of the settings, a time also as people read it."""
    filetime = int(value) if _FILETIME.fullmatch(value) else 0
    nanoseconds = unix_ns(filetime)
    return shown(value) + ("" if nanoseconds is None else f" ({moment(nanoseconds)})")


def _say_partitions(report: Report) -> None:
    if len(report.partitions) <= 1:
        return
    say()
    rows = [["partition", "file system", "start", "size", "kind", "name"]]
    rows += [
        [
            str(each.number),
            each.file_system or "?",
            f"{each.start:,}",
            size(each.size),
            each.kind,
            shown(each.name),
        ]
        for each in report.partitions
    ]
    for line in table(rows, right="r rr"):
        say(line)


def _store_lines(store: StoreReport) -> Iterator[tuple[str, str]]:
    yield "store", str(store.store)
    files = f"{counted(store.stubs, 'file')}, {size(store.logical_bytes)}"
    if not store.here:
        yield "missing", f"{files} need it: say where it is with --store DIR"
        return
    yield "holds", files
    for folder, (total, counts) in store.folders().items():
        listed = [f"{generation:#x}: {count:,}" for generation, count in sorted(counts.items())]
        if len(listed) > _GENERATIONS_SHOWN:
            listed[1 : 1 - _GENERATIONS_SHOWN] = ["..."]
        yield (
            folder,
            (
                f"{counted(sum(counts.values()), 'container')}, {size(total)}"
                f" (generation {', '.join(listed)})"
            ),
        )
    if store.other_bytes:
        yield "other files", size(store.other_bytes)
    saved = store.saved_bytes
    if saved is None:
        yield "found", "elsewhere, with --store"
    elif saved > 0:
        yield "saved", f"{size(saved)}, {saved * 100 // store.logical_bytes} % of its files"
    else:
        yield "saved", "nothing: its containers are larger than the files that need them"


def _say_containers(store: StoreReport) -> None:
    rows = [["container", "generation", "size"]]
    rows += [
        [f"{each.folder}/{each.number:08x}", f"{each.generation:#x}", f"{each.size:,}"]
        for each in store.containers
    ]
    for line in table(rows, right=" rr"):
        say(f"  {line}")
