"""``rehydrate restore``: files come out of a store."""

from pathlib import Path
from typing import Annotated, Literal

from rehydrate.cli.declare import Option
from rehydrate.cli.parameters import (
    AsJson,
    Exclude,
    FilesFrom,
    Jobs,
    Memory,
    Null,
    Out,
    Patterns,
    Store,
    Version,
)

__all__ = ["restore"]


def restore(
    store: Store,
    patterns: Patterns = None,
    *,
    out: Out,
    files_from: FilesFrom = None,
    null: Null = False,
    exclude: Exclude = None,
    version: Version = None,
    overwrite: Annotated[
        Literal["never", "if-changed", "always"],
        Option(
            "--overwrite",
            help="A target that exists: leave it; replace it unless type, size and time are equal;"
            " replace it."
        ),
    ] = "if-changed",
    checksum: Annotated[
        bool, Option("--checksum", help="With if-changed: compare all bytes, too.")
    ] = False,
    links: Annotated[
        Literal["verbatim", "safe", "skip"],
        Option(
            "--links",
            help="Symbolic links: make all as they were, only those that stay inside OUT, or none."
        ),
    ] = "verbatim",
    same_permissions: Annotated[
        bool,
        Option(
            "--same-permissions", help="Also setuid, setgid, sticky bits and capabilities."
        ),
    ] = False,
    sparse: Annotated[
        bool, Option("--sparse", help="Also turn stored runs of zeros into holes.")
    ] = False,
    durability: Annotated[
        Literal["full", "batch", "none"],
        Option("--durability", help="When files survive a power loss: each at once, in batches, later."),
    ] = "batch",
    jobs: Jobs = 0,
    memory: Memory = 256 << 20,
    plan: Annotated[
        Path | None,
        Option(
            "--plan", metavar="FILE", help="Restore what `plan --save` chose, in its order.",
            default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", "-n", help="Show what would be read; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Restore files from a store.

    What stands at the target is replaced in one step or not at all. After an interruption run the
    same command again: what is right is skipped, what was verified is not read again.
    """
    from rehydrate.cli.restoring import restore_wanted, what_is_wanted
    from rehydrate.requests import Durability, Links, Overwrite, RestoreOptions

    wanted, made_before = what_is_wanted(
        patterns, files_from, exclude, version, null=null, plan=plan
    )
    if dry_run:
        from rehydrate.cli.planning import show_plan

        return show_plan(store, wanted, memory=memory, save=None, as_json=as_json)
    options = RestoreOptions(
        overwrite=Overwrite(overwrite),
        checksum=checksum,
        links=Links(links),
        same_permissions=same_permissions,
        sparse=sparse,
        durability=Durability(durability),
        jobs=jobs,
        memory=memory,
    )
    return restore_wanted(store, wanted, out, options, plan=made_before, as_json=as_json)
