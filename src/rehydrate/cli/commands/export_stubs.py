"""``rehydrate export-stubs``: the stubs of a version as files."""

from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.output import Json, document, say, shown, tell
from rehydrate.cli.parameters import AsJson, Exclude, Out, Patterns, Store, Version
from rehydrate.cli.sizes import counted

__all__ = ["export_stubs"]


def export_stubs(
    store: Store,
    patterns: Patterns = None,
    *,
    out: Out,
    exclude: Exclude = None,
    version: Version = None,
    as_json: AsJson = False,
) -> int:
    """Write stubs as files, for a restore in place.

    A stub holds a file's metadata and where its chunks are, and none of its data. Stub files are
    replaced by the files through the library call restore_in_place.
    """
    from rehydrate.catalogue.export import export_stubs as write_stubs
    from rehydrate.cli.chosen import Wanted, unmatched_of
    from rehydrate.cli.sources import local, only_native
    from rehydrate.cli.stores import opened_catalogue, pick_version

    place = local(store, "export-stubs")
    only_native(place, "its stubs are on the volume already")
    wanted = Wanted.of(patterns, None, exclude, version, null=False)
    with opened_catalogue(place) as catalogue:
        number = pick_version(catalogue, wanted.version)
        done = write_stubs(catalogue, number, out, selection=wanted.selection())
    unmatched = unmatched_of(wanted, done.unmatched)
    for pattern in unmatched:
        tell(f"rehydrate: {shown(pattern)}: nothing in version {number} matches")
    if as_json:
        content: dict[str, Json] = {
            "store_version": number,
            "target": str(out),
            "files": done.files,
            "directories": done.directories,
            "left": [path.decode("utf-8", "surrogateescape") for path in done.left],
            "unmatched": list(unmatched),
        }
        document("export-stubs", content)
    else:
        directories = counted(done.directories, "directory", "directories")
        say(f"version {number}: {counted(done.files, 'stub')} in {directories}")
        if done.left:
            say(f"left out: {counted(len(done.left), 'link')}, which have no stub file")
    return SOME_FAILED if unmatched else OK
