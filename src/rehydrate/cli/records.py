"""Values of the package as JSON records: one form for each, used by every command."""

import os

from rehydrate.cli.output import Json
from rehydrate.protocols import VersionInfo
from rehydrate.results import FileResult, ReadCounters

__all__ = ["counters_record", "result_record", "version_record"]


def version_record(info: VersionInfo) -> dict[str, Json]:
    """Return one version."""
    return {
        "number": info.number,
        "created_ns": info.created_ns,
        "parent": info.parent,
        "source": os.fsdecode(info.source),
        "entries": info.entries,
        "logical_bytes": info.logical_bytes,
        "partial": info.partial,
    }


def counters_record(counters: ReadCounters) -> dict[str, Json]:
    """Return what was asked of the store."""
    return {
        "order_calls": counters.order_calls,
        "previews": counters.previews,
        "reads": counters.reads,
        "bytes_read": counters.bytes_read,
        "bytes_needed": counters.bytes_needed,
        "metadata_bytes": counters.metadata_bytes,
        "repair_bytes": counters.repair_bytes,
        "container_visits": counters.container_visits,
        "containers": counters.containers,
        "bytes_resumed": counters.bytes_resumed,
        "amplification": round(counters.amplification, 6),
    }


def result_record(result: FileResult, tag: int | None = None) -> dict[str, Json]:
    """Return what became of one file.

    Args:
        result: The result.
        tag: Reparse tag of what was left alone.
    """
    from rehydrate.cli.failures import record_of

    return {
        "path": result.target,
        "status": result.status.name.lower(),
        "at_target": result.at_target.value,
        "size": result.size,
        "recall": result.recall,
        "metadata_lost": list(result.metadata_lost),
        "reparse_tag": None if tag is None else f"0x{tag:08X}",
        "error": None if result.error is None else record_of(result.error),
    }
