"""``rehydrate plan``: what a restore would need."""

from pathlib import Path
from typing import Annotated, TypeAlias

from rehydrate.cli.declare import Option
from rehydrate.cli.parameters import (
    AsJson,
    Drives,
    Endpoint,
    Exclude,
    FilesFrom,
    MaxCost,
    Memory,
    Null,
    Partition,
    Patterns,
    PriceTable,
    Source,
    Stores,
    TapeFolder,
    Tapes,
    Thaw,
    ThawDays,
    Version,
)

__all__ = ["plan"]

_Save: TypeAlias = Annotated[
    Path | None,
    Option(
        "--save", metavar="FILE", text="Keep the plan for `restore --plan FILE`.", default=False
    ),
]
_Html: TypeAlias = Annotated[
    Path | None,
    Option(
        "--html",
        metavar="FILE",
        text="Write a page that shows the plan; it needs no network.",
        default=False,
    ),
]
_Media: TypeAlias = Annotated[
    Path | None,
    Option(
        "--media",
        metavar="FILE",
        text="On which volumes containers lie, as JSON: tells mounts, times, and orders compared.",
        default=False,
    ),
]
_AtHand: TypeAlias = Annotated[
    str | None,
    Option(
        "--at-hand",
        metavar="NAMES",
        text="Take these volumes of --media or --tapes first, and tell which files they are enough for;"
        " names with commas between.",
        default=False,
    ),
]


def plan(
    source: Source, patterns: Patterns = None, *,
    files_from: FilesFrom = None, null: Null = False, exclude: Exclude = None,
    version: Version = None, partition: Partition = None, stores: Stores = None,
    memory: Memory = 256 << 20, save: _Save = None, html: _Html = None,
    media: _Media = None, at_hand: _AtHand = None,
    tapes: Tapes = None, tape_folder: TapeFolder = None, drives: Drives = None,
    thaw: Thaw = None, max_cost: MaxCost = None, thaw_days: ThawDays = None,
    price_table: PriceTable = None, endpoint: Endpoint = None, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Show what a restore would read and write; reads no data.

    Stream maps are read, and the store is asked for its order. A Windows volume has a plan for each
    of its chunk stores.
    """
    from rehydrate.cli.chosen import Wanted
    from rehydrate.cli.forecast import forecast_of
    from rehydrate.cli.plan_output import PlanOutput
    from rehydrate.cli.planning import show_plan
    from rehydrate.cli.sources import RemoteOptions, TapeOptions, opened

    wanted = Wanted.of(patterns, files_from, exclude, version, null=null)
    remote = RemoteOptions(
        endpoint=endpoint,
        thaw=thaw,
        max_cost=max_cost,
        days=thaw_days,
        prices=price_table,
        pricing=True,
    )
    on_tape = TapeOptions.of(tapes, tape_folder, drives)
    with opened(source, partition, stores, remote=remote, tapes=on_tape) as found:
        output = PlanOutput(
            as_json=as_json,
            save=save,
            html=html,
            source=source,
            forecast=forecast_of(source, remote, media, at_hand, tapes=on_tape.of_source(found)),
        )
        return show_plan(found, wanted, output, memory=memory)
