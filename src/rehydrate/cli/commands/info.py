"""``rehydrate info``: what a store is and how large."""

from pathlib import Path
from typing import Annotated

from rehydrate.cli.declare import Option
from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import document, say, shown
from rehydrate.cli.parameters import AsJson, Partition, Source, Stores, Version
from rehydrate.cli.sizes import counted, moment, size

__all__ = ["info"]


def info(
    source: Source,
    *,
    version: Version = None,
    partition: Partition = None,
    stores: Stores = None,
    containers: Annotated[
        bool, Option("--containers", text="Of a Windows volume: list each container.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show what a store or volume is, how it was made and how large it is.

    A Windows volume is walked for that, so that files, stubs and what they save can be counted.
    """
    from rehydrate.cli.sources import may_be_native, only_for_windows

    if may_be_native(source):
        only_for_windows(
            {
                "--version": version,
                "--partition": partition,
                "--store": stores,
                "--containers": containers,
            }
        )
        return _show_store(source, as_json=as_json)
    from rehydrate.cli.chosen import numbered
    from rehydrate.cli.volume_info import show_volume
    from rehydrate.cli.volume_source import opened_volume

    with opened_volume(Path(source), partition, stores or ()) as volume:
        return show_volume(volume, numbered(version), containers=containers, as_json=as_json)


def _show_store(store: str, *, as_json: bool) -> int:
    from rehydrate.cli.remote import opened_either
    from rehydrate.cli.stores import StoreFacts

    with opened_either(store) as (catalogue, place):
        facts = StoreFacts.of(catalogue, place)
    if as_json:
        document("info", facts.as_record())
        return OK
    config, newest = facts.configuration, facts.newest
    chunker = config.chunker
    lines = {
        "store": str(config.store),
        "directory": shown(facts.path),
        "versions": counted(facts.versions, "version")
        + (f", newest {newest.number} of {moment(newest.created_ns)}" if newest else ""),
        "Data": f"{counted(facts.data_containers, 'container')}, {size(facts.data_bytes)}",
        "Stream": f"{counted(facts.stream_containers, 'container')}, {size(facts.stream_bytes)}",
        "compression": config.compression
        + (f" level {config.level}" if config.compression != "none" else ""),
        "chunks": f"{chunker.name} version {chunker.version}, {size(chunker.min_size)} to"
        f" {size(chunker.max_size)}, nominal {size(chunker.avg_size)}",
        "containers": f"sealed at {size(config.capacity)}",
    }
    if newest is not None:
        lines["newest holds"] = (
            f"{counted(newest.entries or 0, 'entry', 'entries')}, {size(newest.logical_bytes or 0)}"
            f" of {shown(newest.source)}"
        )
    width = max(map(len, lines))
    for name, value in lines.items():
        say(f"{name.ljust(width)}  {value}")
    return OK
