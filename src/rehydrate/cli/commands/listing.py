"""``rehydrate versions`` and ``rehydrate ls``: what a store holds."""

from typing import Annotated

from rehydrate.cli.declare import Option
from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import document, say, shown, table
from rehydrate.cli.parameters import AsJson, Exclude, Patterns, Store, Version
from rehydrate.cli.sizes import moment, size

__all__ = ["ls", "versions"]


def versions(store: Store, *, as_json: AsJson = False) -> int:
    """List the versions of a store, oldest first."""
    from rehydrate.cli.records import version_record
    from rehydrate.cli.stores import opened_catalogue

    with opened_catalogue(store) as catalogue:
        found = catalogue.versions()
    if as_json:
        document("versions", {"versions": [version_record(info) for info in found]})
        return OK
    rows = [["version", "time", "entries", "size", "source", ""]]
    rows += [
        [
            str(info.number),
            moment(info.created_ns),
            f"{info.entries:,}",
            size(info.logical_bytes),
            shown(info.source),
            "partial" if info.partial else "",
        ]
        for info in found
    ]
    for line in table(rows, right="r rr") if found else ["no versions yet"]:
        say(line)
    return OK


def ls(
    store: Store,
    patterns: Patterns = None,
    *,
    version: Version = None,
    exclude: Exclude = None,
    long: Annotated[bool, Option("--long", "-l", text="Show mode, owner, size and time.")] = False,
    tree: Annotated[bool, Option("--tree", text="Show as a tree.")] = False,
    null: Annotated[
        bool, Option("-0", "--null", text="End paths with a zero byte, as xargs -0 reads.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List the entries of a version.

    Plain paths can go into `restore --files-from -`.
    """
    from rehydrate.cli.chosen import Wanted
    from rehydrate.cli.show_entries import Form, list_entries

    wanted = Wanted.of(patterns, None, exclude, version, null=False)
    form = Form.TREE if tree else Form.LONG if long else Form.NULL if null else Form.PATHS
    return list_entries(store, wanted, form, as_json=as_json)
