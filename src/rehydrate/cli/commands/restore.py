"""``rehydrate restore``: files come out of a store."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from rehydrate.cli.declare import Option
from rehydrate.cli.parameters import (
    AsJson,
    Drives,
    Endpoint,
    Exclude,
    FilesFrom,
    Jobs,
    Load,
    MaxCost,
    Memory,
    Null,
    Out,
    Partition,
    Patterns,
    PriceTable,
    Recall,
    Source,
    Stores,
    TapeFolder,
    Tapes,
    Thaw,
    ThawDays,
    Version,
)

__all__ = ["restore"]

_Overwrite: TypeAlias = Annotated[
    Literal["never", "if-changed", "always"],
    Option(
        "--overwrite",
        text="A target that exists: leave it; replace it unless type, size and time are equal;"
        " replace it.",
    ),
]
_Checksum: TypeAlias = Annotated[
    bool, Option("--checksum", text="With if-changed: compare all bytes, too.")
]
_Links: TypeAlias = Annotated[
    Literal["verbatim", "safe", "skip"],
    Option(
        "--links",
        text="Symbolic links: make all as they were, only those that stay inside OUT, or none.",
    ),
]
_SamePermissions: TypeAlias = Annotated[
    bool, Option("--same-permissions", text="Also setuid, setgid, sticky bits and capabilities.")
]
_Sparse: TypeAlias = Annotated[
    bool, Option("--sparse", text="Also turn stored runs of zeros into holes.")
]
_Durability: TypeAlias = Annotated[
    Literal["full", "batch", "none"],
    Option(
        "--durability", text="When files survive a power loss: each at once, in batches, later."
    ),
]
_Plan: TypeAlias = Annotated[
    Path | None,
    Option(
        "--plan",
        metavar="FILE",
        text="Restore what `plan --save` chose, in its order.",
        default=False,
    ),
]
_WindowsMetadata: TypeAlias = Annotated[
    Literal["ntfs3g", "samba", "sidecar", "none"] | None,
    Option(
        "--windows-metadata",
        text="Where ACLs, streams and times of a Windows volume go: as ntfs-3g or Samba keep them,"
        " into files beside, or nowhere; whatever suits OUT otherwise. What is lost is listed.",
        default=False,
    ),
]
_ThawJob: TypeAlias = Annotated[
    Path | None,
    Option(
        "--thaw-job",
        metavar="FILE",
        text="What was thawed already; the same file goes on with it. OUT.thaw.json otherwise.",
        default=False,
    ),
]
_DryRun: TypeAlias = Annotated[
    bool, Option("--dry-run", "-n", text="Show what would be read; write nothing.")
]


def restore(
    source: Source, patterns: Patterns = None, *, out: Out,
    files_from: FilesFrom = None, null: Null = False, exclude: Exclude = None,
    version: Version = None, partition: Partition = None, stores: Stores = None,
    overwrite: _Overwrite = "if-changed", checksum: _Checksum = False, links: _Links = "verbatim",
    same_permissions: _SamePermissions = False, sparse: _Sparse = False,
    durability: _Durability = "batch", windows_metadata: _WindowsMetadata = None,
    recall: Recall = "refuse", jobs: Jobs = 0, memory: Memory = 256 << 20, plan: _Plan = None,
    thaw: Thaw = None, max_cost: MaxCost = None, thaw_days: ThawDays = None,
    price_table: PriceTable = None, thaw_job: _ThawJob = None, endpoint: Endpoint = None,
    tapes: Tapes = None, tape_folder: TapeFolder = None, drives: Drives = None, load: Load = None,
    dry_run: _DryRun = False, as_json: AsJson = False,
) -> int:  # fmt: skip
    """Restore files from a store or a Windows volume.

    What stands at the target is replaced in one step or not at all. After an interruption run the
    same command again: what is right is skipped, what was verified is not read again.
    """
    from rehydrate.cli.restoring import job_beside, restore_wanted, what_is_wanted
    from rehydrate.cli.sources import RemoteOptions, TapeOptions, only_for_windows, opened
    from rehydrate.requests import Durability, Links, Overwrite, RestoreOptions
    from rehydrate.requests import Recall as RecallPolicy

    wanted, made_before = what_is_wanted(
        patterns, files_from, exclude, version, null=null, plan=plan
    )
    remote = RemoteOptions(
        endpoint=endpoint,
        thaw=thaw,
        max_cost=max_cost,
        days=thaw_days,
        prices=price_table,
        job=job_beside(out) if thaw_job is None else thaw_job,
        pricing=dry_run,
    )
    on_tape = TapeOptions.of(tapes, tape_folder, drives, load, restores=not dry_run)
    with opened(source, partition, stores, remote=remote, tapes=on_tape) as found:
        if not found.windows:
            only_for_windows({"--windows-metadata": windows_metadata})
        if dry_run:
            from rehydrate.cli.forecast import forecast_of
            from rehydrate.cli.planning import PlanOutput, show_plan

            output = PlanOutput(
                as_json=as_json,
                forecast=forecast_of(source, remote, tapes=on_tape.of_source(found)),
            )
            return show_plan(found, wanted, output, memory=memory)
        options = RestoreOptions(
            overwrite=Overwrite(overwrite), checksum=checksum, links=Links(links),
            same_permissions=same_permissions, sparse=sparse, recall=RecallPolicy(recall),
            durability=Durability(durability), jobs=jobs, memory=memory,
        )  # fmt: skip
        return restore_wanted(
            found,
            wanted,
            out,
            options,
            plan=made_before,
            metadata=windows_metadata,
            as_json=as_json,
        )
