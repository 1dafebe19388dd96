"""The work of ``rehydrate plan`` for a Windows volume: one plan for each chunk store."""

import json
from collections.abc import Mapping, Sequence

import attrs

from rehydrate.catalogue.windows import PLAIN_STORE
from rehydrate.cli.chosen import Wanted
from rehydrate.cli.exit_codes import OK, SOME_FAILED
from rehydrate.cli.failures import line_of, record_of
from rehydrate.cli.forecast import say_estimates, say_first_files
from rehydrate.cli.output import Json, document, say, tell
from rehydrate.cli.plan_output import (
    PlanOutput,
    estimates_record,
    file_records,
    made_plan,
    write_page,
)
from rehydrate.cli.planning import PLAN_NAME, say_plan, tell_unmatched
from rehydrate.cli.sizes import counted, size
from rehydrate.cli.sources import Selected, Source, tell_problems
from rehydrate.engine.planning import SketchedPlan
from rehydrate.errors import RequestError, RestoreError, StoreError
from rehydrate.formats.detect import owner_of
from rehydrate.plan.estimates import together
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions, RestoreRequest
from rehydrate.values import StoreId, store_folder

__all__ = ["show_volume_plan"]


@attrs.frozen(eq=False)
class _Planned:
    """What a chunk store is needed for.

    Attributes:
        store: Its identity.
        entries: Number of stubs.
        plan: The plan, or
        error: why there is none.
        ready: Bytes that come first, from media at hand; ``None`` = nobody tells.
    """

    store: StoreId
    entries: int
    plan: SketchedPlan | None = None
    error: RestoreError | None = None
    ready: int | None = None

    def as_record(self) -> dict[str, Json]:
        return {
            "store": str(self.store),
            "entries": self.entries,
            "plan": None if self.plan is None else json.loads(self.plan.plan.to_json()),
            "estimates": None if self.plan is None else estimates_record(self.plan),
            "error": None if self.error is None else record_of(self.error),
        }


@attrs.frozen(eq=False)
class _Parts:
    """Requests by what they need.

    Attributes:
        by_store: Stubs of each chunk store.
        plain: Entries that need none.
        plain_bytes: Bytes of those.
        others: Reparse points of other kinds, which are left alone.
    """

    by_store: Mapping[StoreId, Sequence[RestoreRequest]]
    plain: int
    plain_bytes: int
    others: int

    @classmethod
    def of(cls, chosen: Selected) -> "_Parts":
        by_store: dict[StoreId, list[RestoreRequest]] = {}
        plain = plain_bytes = others = 0
        for request in chosen.requests():
            owner = owner_of(request.stub)
            if owner is None:
                others += 1
            elif owner.store_id == PLAIN_STORE:
                plain += 1
                plain_bytes += sum(own.extent.length for own in request.own_data or ())
            else:
                by_store.setdefault(owner.store_id, []).append(request)
        return cls(by_store, plain, plain_bytes, others)


def show_volume_plan(source: Source, wanted: Wanted, output: PlanOutput, *, memory: int) -> int:
    """Plan a restore and show it.

    Args:
        source: The volume.
        wanted: What to restore.
        output: How to show it.
        memory: Budget in bytes.

    Returns:
        The exit code.
    """
    chosen = source.choose(wanted)
    if not chosen.paths:
        raise RequestError("there is nothing to plan: no entry was chosen")
    parts = _Parts.of(chosen)
    stores = source.stores(chosen.version)
    options = RestoreOptions(memory=memory)
    planned = [
        _planned(store, requests, stores, output, options)
        for store, requests in parts.by_store.items()
    ]
    known = [
        (str(each.store), each.plan.estimates)
        for each in planned
        if each.plan is not None and each.plan.estimates is not None
    ]
    whole = together(known)
    if output.as_json:
        content: dict[str, Json] = {
            "selection": attrs.evolve(wanted, version=chosen.version).as_record(),
            "entries": len(chosen.paths),
            "unmatched": list(chosen.unmatched),
            "plan": None,
            "plans": [each.as_record() for each in planned],
            "plain_entries": parts.plain,
            "plain_bytes": parts.plain_bytes,
            "other_reparse_points": parts.others,
            "problems": list(source.problems),
            "estimates": None if whole is None else whole.as_record(),
        }
        files = (
            record
            for each in planned
            if each.plan is not None
            for record in file_records(each.plan, each.ready)
        )
        document(PLAN_NAME, content, rows=("files", files))
    else:
        _say(chosen, parts, planned)
        if whole is not None and len(known) > 1:
            say()
            say(f"all {len(known):,} stores, one after the other:")
            say_estimates(whole)
    pages = {f"Store {each.store}": each.plan for each in planned if each.plan is not None}
    shown_as = attrs.evolve(wanted, version=chosen.version)
    write_page(output, pages, shown_as, entries=len(chosen.paths), whole=whole)
    for each in planned:
        if each.error is not None:
            tell(f"rehydrate: store {each.store}: {line_of(each.error)}")
    failed = any(each.error is not None for each in planned)
    unmatched, problems = tell_unmatched(chosen), tell_problems(source)
    return SOME_FAILED if failed or unmatched or problems else OK


def _planned(
    store: StoreId,
    requests: Sequence[RestoreRequest],
    stores: Mapping[StoreId, BackupStore],
    output: PlanOutput,
    options: RestoreOptions,
) -> _Planned:
    found = stores.get(store)
    if found is None:
        error: RestoreError = StoreError(
            f"it is not here, and {counted(len(requests), 'stub needs', 'stubs need')} it",
            code="store.other",
        )
        return _Planned(store, len(requests), error=error)
    try:
        plan = made_plan(requests, {store: found}, output, options)
    except RestoreError as raised:
        return _Planned(store, len(requests), error=raised)
    return _Planned(store, len(requests), plan, ready=output.ready_bytes)


def _say(chosen: Selected, parts: _Parts, planned: Sequence[_Planned]) -> None:
    say(f"version {chosen.version}: {counted(len(chosen.paths), 'entry', 'entries')}")
    if parts.plain:
        need = "needs" if parts.plain == 1 else "need"
        say(
            f"{counted(parts.plain, 'file or directory', 'files and directories')} {need} no store,"
            f" {size(parts.plain_bytes)}"
        )
    if parts.others:
        say(f"{counted(parts.others, 'other reparse point')} will be left out")
    for each in planned:
        if each.plan is not None:
            say()
            below = f"{store_folder(each.store)}/"
            say(f"store {each.store}: {counted(each.plan.plan.files, 'deduplicated file')}")
            say(f"containers in {below}")
            say_plan(each.plan.plan, below=below)
            if each.plan.estimates is not None:
                say_estimates(each.plan.estimates)
                say_first_files(each.plan, each.ready)
