"""Planning a restore without making it: what it would need, and in which order."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rehydrate.engine.blocks import FragmentJoiner
from rehydrate.engine.calls import ObserverCalls, StoreCalls
from rehydrate.engine.job import StoreJob
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.restore import Stores, store_of
from rehydrate.engine.scratch import BudgetedScratch, SpillFile
from rehydrate.engine.selection import group_by_store, take_requests
from rehydrate.engine.session import Session
from rehydrate.errors import RequestError, StoreError
from rehydrate.formats.detect import format_of
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.ports import SystemClock, SystemFiles
from rehydrate.requests import RestoreOptions, RestoreRequest

__all__ = ["plan_restore"]

_DEFAULTS: Final = RestoreOptions()


def plan_restore(
    requests: Iterable[RestoreRequest],
    store: Stores,
    *,
    options: RestoreOptions = _DEFAULTS,
) -> ReadPlan:
    """Find out what a restore would need, without writing anything and without reading data.

    The stream maps are read, and the store is asked for its order of both phases.

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
    calls = ObserverCalls(None)
    taken = take_requests(requests, portable_names=options.portable_names)
    outcome = Outcome(taken.targets, calls)
    groups, others = group_by_store(taken.stubs)
    if len(groups) != 1 or others:
        raise RequestError("a plan needs stubs of exactly one store", code="plan.stores")
    ((owner, indexes),) = groups.items()
    found = store_of(owner, store, indexes, outcome)
    if found is None:
        raise outcome.first_error or StoreError("the store of these stubs was not given")
    files = SystemFiles()
    with tempfile.TemporaryDirectory(prefix="rehydrate-plan-") as folder:

        def spill() -> int:
            fd, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
            return fd

        session = Session(StoreCalls(found), options, calls, None, SystemClock())
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
            made = job.plan(BudgetedScratch(options.memory // 2, spill, files), joiner)
        finally:
            session.close()
    if outcome.first_error is not None:
        raise outcome.first_error
    return made
