"""The work of ``rehydrate verify``."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rehydrate.catalogue.damage import VerifyReport
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.verify import verify_catalogue
from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.output import document, list_lines, say, shown, tell
from rehydrate.cli.progress import adder, progress_bar
from rehydrate.cli.remote import opened_either
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.cli.sources import may_be_native, only_for_windows
from rehydrate.cli.stores import StoreFacts
from rehydrate.errors import RestoreError

__all__ = ["verify_and_show"]


def verify_and_show(
    source: str,
    version: str | None,
    partition: str | None,
    stores: Sequence[Path] | None,
    *,
    read_data: bool,
    jobs: int,
    as_json: bool,
) -> int:
    """Verify a store and list what is damaged.

    Args:
        source: A native store, or what holds a Windows volume.
        version: Version of the volume; a native store is verified with all its versions.
        partition: Which partition or volume is meant.
        stores: Where else chunk stores are.
        read_data: Also read every record.
        jobs: Threads for that.
        as_json: Print a document instead of text.

    Returns:
        The exit code.
    """
    if may_be_native(source):
        only_for_windows({"--version": version, "--partition": partition, "--store": stores})
        return _verify_store(source, read_data=read_data, jobs=jobs, as_json=as_json)
    from rehydrate.cli.volume_source import opened_volume
    from rehydrate.cli.volume_verifying import verify_and_show_volume

    with opened_volume(Path(source), partition, stores or ()) as volume:
        return verify_and_show_volume(
            volume, version, read_data=read_data, jobs=jobs, as_json=as_json
        )


def _verify_store(store: str, *, read_data: bool, jobs: int, as_json: bool) -> int:
    started = time.monotonic()
    with opened_either(store) as (catalogue, place), progress_bar() as bar:
        if bar is not None and read_data:
            bar.total(_bytes_in(catalogue, place))
        report = verify_catalogue(
            catalogue, read_data=read_data, jobs=jobs, tell=adder(bar, "verifying")
        )
    seconds = time.monotonic() - started
    if report.damaged_records and isinstance(place, Path):
        _remember(place, report)
    if as_json:
        # Through text and back: the report promises plain values, and the types do not show it.
        plain = json.loads(json.dumps(report.as_record()))
        document("verify", {"seconds": round(seconds, 3), **plain})
    else:
        _say_report(report, seconds)
    return OK if report.ok else SOME_FAILED


def _remember(store: Path, report: VerifyReport) -> None:
    """Note what is damaged beside the index, so that the next optimize stores it anew."""
    from rehydrate.formats.native.container import parse_container_name
    from rehydrate.ingest.suspicion import note_damage

    places = []
    for record in report.damaged_records:
        key = parse_container_name(record.path.rpartition("/")[2])
        if key is not None:
            places.append((key[0], record.local_id))
    try:
        note_damage(store, places)
    except RestoreError as error:  # a store that cannot be written to can still be verified
        tell(f"rehydrate: the damage is not noted for the next optimize: {shown(str(error))}")


def _bytes_in(catalogue: NativeCatalogue, place: Path | str) -> int:
    facts = StoreFacts.of(catalogue, place)
    return facts.data_bytes + facts.stream_bytes


def _say_report(report: VerifyReport, seconds: float) -> None:
    for notice in report.notices:
        tell(f"rehydrate: {shown(notice)}")
    list_lines("damaged containers", [f"{c.path}: {c.reason}" for c in report.damaged_containers])
    list_lines(
        "damaged records",
        [
            f"{r.path} at {r.offset}, {r.length} bytes, number {r.local_id}: {r.reason}"
            for r in report.damaged_records
        ],
    )
    list_lines("damaged versions", [f"{v.version}: {v.reason}" for v in report.damaged_versions])
    list_lines(
        "damaged files",
        [f"version {f.version}: {os.fsdecode(f.path)}: {f.reason}" for f in report.damaged_files],
    )
    read = f", {size(report.bytes_read)} read and hashed" if report.read_data else ""
    say(
        f"{counted(report.versions, 'version')}, {counted(report.entries, 'entry', 'entries')},"
        f" {counted(report.containers, 'container')}, {counted(report.records, 'record')}{read}"
        f" in {duration(seconds)}"
    )
    if not report.ok:
        say(
            "damaged; put back other copies of the containers named, or run `rehydrate optimize`"
            " on the source again: it stores anew what is known to be damaged"
        )
    elif report.read_data:
        say("whole: every byte is what was stored")
    else:
        say("whole, as far as headers and references tell; --read-data also reads the chunks")
