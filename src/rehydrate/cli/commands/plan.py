"""``rehydrate plan``: what a restore would need."""

from pathlib import Path
from typing import Annotated

from rehydrate.cli.declare import Option
from rehydrate.cli.parameters import (
    AsJson,
    Exclude,
    FilesFrom,
    Memory,
    Null,
    Patterns,
    Store,
    Version,
)

__all__ = ["plan"]


def plan(
    store: Store,
    patterns: Patterns = None,
    *,
    files_from: FilesFrom = None,
    null: Null = False,
    exclude: Exclude = None,
    version: Version = None,
    memory: Memory = 256 << 20,
    save: Annotated[
        Path | None,
        Option(
            "--save", metavar="FILE", text="Keep the plan for `restore --plan FILE`.",
            default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Show what a restore would read and write; reads no data.

    Stream maps are read, and the store is asked for its order.
    """
    from rehydrate.cli.chosen import Wanted
    from rehydrate.cli.planning import show_plan

    wanted = Wanted.of(patterns, files_from, exclude, version, null=null)
    return show_plan(store, wanted, memory=memory, save=save, as_json=as_json)
