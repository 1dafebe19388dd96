"""The work of ``rehydrate plan``, ``restore --dry-run`` and ``restore --plan``."""

import json
from pathlib import Path
from typing import Any, Final

import attrs

from rehydrate.cli.chosen import Wanted
from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.forecast import say_estimates, say_first_files
from rehydrate.cli.output import Json, document, say, shown, table, tell
from rehydrate.cli.plan_output import (
    PlanOutput,
    estimates_record,
    file_records,
    made_plan,
    write_page,
)
from rehydrate.cli.sizes import counted, size
from rehydrate.cli.sources import Selected, Source
from rehydrate.cli.thaw_table import say_thaws
from rehydrate.errors import CorruptMetadataError, RequestError
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.requests import RestoreOptions

__all__ = ["PLAN_NAME", "PlanOutput", "load_plan", "say_plan", "show_plan", "tell_unmatched"]

PLAN_NAME: Final = "selected-plan"
"""Format of the document that shows or keeps a plan."""
_LARGEST: Final = 256 << 20
_ROWS: Final = 40


def show_plan(source: Source, wanted: Wanted, output: PlanOutput, *, memory: int) -> int:
    """Plan a restore and show it.

    Args:
        source: What to restore from.
        wanted: What to restore.
        output: How to show it.
        memory: Budget in bytes.

    Returns:
        The exit code.
    """
    if source.windows:
        from rehydrate.cli.volume_planning import show_volume_plan

        if output.save is not None:
            raise RequestError(
                "--save: plans of Windows volumes cannot be kept; what they show is in --json"
            )
        return show_volume_plan(source, wanted, output, memory=memory)
    chosen = source.choose(wanted)
    if not chosen.paths:
        raise RequestError("there is nothing to plan: no entry was chosen")
    found = made_plan(
        chosen.requests(), source.stores(chosen.version), output, RestoreOptions(memory=memory)
    )
    plan = found.plan
    wanted = attrs.evolve(wanted, version=chosen.version)
    content: dict[str, Json] = {
        "selection": wanted.as_record(),
        "entries": len(chosen.paths),
        "unmatched": list(chosen.unmatched),
        "plan": json.loads(plan.to_json()),
    }
    if output.save is not None:
        whole = {"format": f"rehydrate-{PLAN_NAME}", "version": 1, **content}
        output.save.write_text(json.dumps(whole) + "\n", encoding="utf-8")
    if output.as_json:
        content["estimates"] = estimates_record(found)
        document(PLAN_NAME, content, rows=("files", file_records(found, output.ready_bytes)))
    else:
        say(
            f"version {chosen.version}: {counted(len(chosen.paths), 'entry', 'entries')},"
            f" {counted(plan.files, 'file')}"
        )
        say_plan(plan)
        if found.estimates is not None:
            say_estimates(found.estimates)
            say_thaws(found.estimates.thaws)
            say_first_files(found, output.ready_bytes)
        if output.save is not None:
            say(f"saved in {shown(str(output.save))}")
    write_page(output, {"": found}, wanted, entries=len(chosen.paths))
    return SOME_FAILED if tell_unmatched(chosen) else OK


def tell_unmatched(chosen: Selected) -> bool:
    """Name what was asked for and is not there; return whether there is any."""
    for pattern in chosen.unmatched:
        tell(
            f"rehydrate: {shown(pattern)}: nothing in version {chosen.version} matches;"
            " `rehydrate ls` lists what is there"
        )
    return bool(chosen.unmatched)


def say_plan(plan: ReadPlan, *, below: str = "") -> None:
    """Print a plan: its containers, and what it comes to.

    Args:
        plan: The plan.
        below: What all containers begin with, to be left out.
    """
    rows = [["container", "extents", "reads", "to read", "needed"]]
    rows += [
        [
            shown(container.path.removeprefix(below)),
            f"{container.extents:,}",
            f"{container.reads:,}",
            size(container.bytes_to_read),
            size(container.bytes_needed),
        ]
        for planned in plan.rounds
        for container in planned.by_container()
    ]
    hidden = rows[_ROWS + 1 :]
    say()
    for line in table(rows[: _ROWS + 1], right=" rrrr"):
        say(line)
    if hidden:
        say(
            f"... and {counted(len(hidden), 'more container', 'more containers')}; --json lists all"
        )
    totals = plan.totals()
    data = plan.round("data")
    say()
    facts = [
        ["containers", f"{totals['containers']:,}"],
        ["reads", f"{totals['reads']:,}"],
        ["data to read", size(plan.bytes_to_read)],
        ["maps to read", size(plan.metadata_bytes)],
        ["amplification", f"{plan.amplification:.3f}"],
        ["container visits", f"{data.visits:,}"],
        ["files to write", size(plan.logical_bytes)],
        ["space needed", size(plan.allocated_bytes)],
        ["most unfinished at once", size(plan.unfinished_peak)],
    ]
    for line in table(facts, right=" r"):
        say(line)


def load_plan(path: Path) -> tuple[Wanted, ReadPlan]:
    """Read a plan that was saved.

    Args:
        path: The file.

    Returns:
        What it chose, and the plan.

    Raises:
        RequestError: The file cannot be read.
        CorruptMetadataError: It is no saved plan.
        UnsupportedFormatError: It is a plan of another version.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as error:
        raise RequestError(f"cannot read the plan {path}: {error.strerror}") from error
    try:
        found: Any = json.loads(text) if len(text) <= _LARGEST else None
        if found["format"] != f"rehydrate-{PLAN_NAME}" or found["version"] != 1:
            raise _no_plan(path)
        selection = found["selection"]
        paths = selection["paths"]
        wanted = Wanted(
            patterns=tuple(map(_text, selection["patterns"])),
            paths=None
            if paths is None
            else tuple(_text(path).encode("utf-8", "surrogateescape") for path in paths),
            excludes=tuple(map(_text, selection["excludes"])),
            version=int(selection["store_version"]),
        )
        return wanted, ReadPlan.from_json(json.dumps(found["plan"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _no_plan(path) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _no_plan(path: Path) -> CorruptMetadataError:
    return CorruptMetadataError(
        f"{path} is no plan that `rehydrate plan --save` wrote", code="plan.corrupt"
    )
