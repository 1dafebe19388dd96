"""``rehydrate versions`` and ``rehydrate ls``: what a store holds."""

from typing import Annotated

from rehydrate.cli.declare import Option
from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import document, say, shown, table
from rehydrate.cli.parameters import (
    AsJson,
    Exclude,
    Partition,
    Patterns,
    Source,
    Stores,
    Version,
)
from rehydrate.cli.sizes import moment, size

__all__ = ["ls", "versions"]


def versions(source: Source, *, partition: Partition = None, as_json: AsJson = False) -> int:
    """List versions, oldest first.

    The versions of a Windows volume are its shadow copies or backups; the last one is the volume as
    it stands.
    """
    from rehydrate.cli.records import version_record
    from rehydrate.cli.sources import opened

    with opened(source, partition) as store:
        found = store.versions()
        windows = store.windows
    if as_json:
        document("versions", {"versions": [version_record(info) for info in found]})
        return OK
    if windows:
        rows = [["version", "time", "name"]]
        rows += [
            [
                str(info.number),
                moment(info.created_ns) if info.created_ns else "-",
                shown(info.source),
            ]
            for info in found
        ]
    else:
        rows = [["version", "time", "entries", "size", "source", ""]]
        rows += [
            [
                str(info.number),
                moment(info.created_ns),
                f"{info.entries or 0:,}",
                size(info.logical_bytes or 0),
                shown(info.source),
                "partial" if info.partial else "",
            ]
            for info in found
        ]
    for line in table(rows, right="r" if windows else "r rr") if found else ["no versions yet"]:
        say(line)
    return OK


def ls(
    source: Source,
    patterns: Patterns = None,
    *,
    version: Version = None,
    exclude: Exclude = None,
    partition: Partition = None,
    stores: Stores = None,
    long: Annotated[
        bool, Option("--long", "-l", text="Show mode or attributes, owner, size and time.")
    ] = False,
    tree: Annotated[bool, Option("--tree", text="Show as a tree.")] = False,
    null: Annotated[
        bool, Option("-0", "--null", text="End paths with a zero byte, as xargs -0 reads.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the entries of a version.

    Plain paths can go into `restore --files-from -`. In long form, D marks deduplicated files of a
    Windows volume.
    """
    from rehydrate.cli.chosen import Wanted
    from rehydrate.cli.show_entries import Form, list_entries
    from rehydrate.cli.sources import opened

    wanted = Wanted.of(patterns, None, exclude, version, null=False)
    form = Form.TREE if tree else Form.LONG if long else Form.NULL if null else Form.PATHS
    with opened(source, partition, stores) as found:
        return list_entries(found, wanted, form, as_json=as_json)
