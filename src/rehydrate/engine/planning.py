"""Planning a restore without making it: what it would need, and in which order."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from rehydrate.chunks import ChunkTable
from rehydrate.engine.blocks import FragmentJoiner
from rehydrate.engine.calls import ObserverCalls, StoreCalls, store_for_plans
from rehydrate.engine.job import StoreJob
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.restore import Stores, store_of
from rehydrate.engine.scratch import BudgetedScratch, SpillFile
from rehydrate.engine.selection import group_by_store, take_requests
from rehydrate.engine.session import Session
from rehydrate.errors import RequestError, StoreError
from rehydrate.formats.detect import format_of
from rehydrate.plan.estimates import PlanEstimates
from rehydrate.plan.planner import Needs
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.plan.rounds import RoundPlan
from rehydrate.plan.sketch import PlanSketch, sketch_plan
from rehydrate.ports import SystemClock, SystemFiles
from rehydrate.requests import RestoreOptions, RestoreRequest

__all__ = ["SketchedPlan", "plan_restore", "sketch_restore"]

_DEFAULTS: Final = RestoreOptions()


@attrs.frozen(eq=False)
class SketchedPlan:
    """A plan, and a drawing of it.

    Attributes:
        plan: The plan.
        sketch: What is read for which file; ``None`` where no data is read, or none was asked for.
        estimates: What it is expected to take, where somebody who knows the media tells.
    """

    plan: ReadPlan
    sketch: PlanSketch | None = None
    estimates: PlanEstimates | None = None


def plan_restore(
    requests: Iterable[RestoreRequest],
    store: Stores,
    *,
    options: RestoreOptions = _DEFAULTS,
) -> ReadPlan:
    """Find out what a restore would need, without writing anything and without reading data.

    The stream maps are read, and the store is asked for its order of both phases. A store that has
    an attribute ``for_plans`` (one whose reads may cost money) is left alone, and that is asked.

    Args:
        requests: What would be restored; all of one store.
        store: As in :func:`restore_files`.
        options: As in :func:`restore_files`; targets are not looked at.

    Returns:
        The plan: containers, reads, bytes, order, space; it can be saved and executed later.

    Raises:
        RequestError: The requests contradict each other, or belong to several stores.
        RestoreError: A stub or a stream map cannot be used.
    """
    return _planned(requests, store, options, sketched=False).plan


def sketch_restore(
    requests: Iterable[RestoreRequest],
    store: Stores,
    *,
    options: RestoreOptions = _DEFAULTS,
) -> SketchedPlan:
    """Plan as :func:`plan_restore` does, and draw what the plan reads for which file.

    Args:
        requests: What would be restored; all of one store.
        store: As in :func:`restore_files`.
        options: As in :func:`restore_files`; targets are not looked at.

    Raises:
        RequestError: The requests contradict each other, or belong to several stores.
        RestoreError: A stub or a stream map cannot be used.
    """
    return _planned(requests, store, options, sketched=True)


def _planned(
    requests: Iterable[RestoreRequest], store: Stores, options: RestoreOptions, *, sketched: bool
) -> SketchedPlan:
    calls = ObserverCalls(None)
    taken = take_requests(requests, portable_names=options.portable_names)
    outcome = Outcome(taken.targets, calls)
    groups, others = group_by_store(taken.stubs)
    if len(groups) != 1 or others:
        raise RequestError("a plan needs stubs of exactly one store", code="plan.stores")
    ((owner, indexes),) = groups.items()
    found = store_of(owner, store, indexes, outcome, taken.stubs)
    if found is None:
        raise outcome.first_error or StoreError("the store of these stubs was not given")
    files = SystemFiles()
    with tempfile.TemporaryDirectory(prefix="rehydrate-plan-") as folder:

        def spill() -> int:
            fd, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
            return fd

        sketches: list[PlanSketch] = []
        scratch = BudgetedScratch(options.memory // 2, spill, files)

        def seen(
            needs: Needs, table: ChunkTable, plan: RoundPlan, targets: Sequence[bytes]
        ) -> None:
            sketches.append(sketch_plan(needs, table, plan, targets, scratch=scratch))

        session = Session(StoreCalls(store_for_plans(found)), options, calls, None, SystemClock())
        try:
            job = StoreJob(
                session,
                format_of(owner),
                taken,
                indexes,
                outcome=outcome,
                store=owner.store_id,
            )
            joiner = FragmentJoiner(options.memory // 8, lambda: SpillFile(spill(), files))
            made = job.plan(scratch, joiner, seen if sketched else None)
        finally:
            session.close()
    if outcome.first_error is not None:
        raise outcome.first_error
    return SketchedPlan(made, sketches[0] if sketches else None)
