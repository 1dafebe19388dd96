"""``rehydrate info``: what a store is and how large."""

from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import document, say, shown
from rehydrate.cli.parameters import AsJson, Store
from rehydrate.cli.sizes import counted, moment, size

__all__ = ["info"]


def info(store: Store, *, as_json: AsJson = False) -> int:
    """Show what a store is, how it was made and how large it is."""
    from rehydrate.cli.stores import StoreFacts, opened_catalogue

    with opened_catalogue(store) as catalogue:
        facts = StoreFacts.of(catalogue, store)
    if as_json:
        document("info", facts.as_record())
        return OK
    config, newest = facts.configuration, facts.newest
    chunker = config.chunker
    lines = {
        "store": str(config.store),
        "directory": shown(str(facts.path)),
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
            f"{counted(newest.entries, 'entry', 'entries')}, {size(newest.logical_bytes)}"
            f" of {shown(newest.source)}"
        )
    width = max(map(len, lines))
    for name, value in lines.items():
        say(f"{name.ljust(width)}  {value}")
    return OK
