"""Restoring files from a deduplicated store: the story on one page.

    stub -> stream map -> chunk table -> plan -> extents -> chunks -> staged files -> files

Requests are taken once. Their stubs say which store they belong to, and each store's files are one
job (:mod:`rehydrate.engine.job`): the stream maps are read in a first phase, the plan is made, the
data is read in a second phase, each with one order call and its repair rounds; chunks are decoded
and verified once and written to every place that wants them; complete files are published.

Promised: after any fault each target is the complete old file, the complete new file, or absent
with resumable bytes beside it. Not promised: that files are published in the order of the requests.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from rehydrate.engine.calls import ObserverCalls, StoreCalls, declared_store
from rehydrate.engine.job import StoreJob
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.selection import Requests, group_by_store, take_requests
from rehydrate.engine.session import Session, Tally
from rehydrate.engine.threads import Submits
from rehydrate.errors import (
    Cancelled,
    NoSpaceError,
    RequestError,
    RestoreError,
    SessionError,
    StoreContractError,
    StoreError,
    UnsafeTargetError,
)
from rehydrate.formats.detect import StubOwner, format_of
from rehydrate.formats.walk import Limits
from rehydrate.plan.read_plan import ReadPlan
from rehydrate.ports import SystemClock, SystemFiles
from rehydrate.protocols import BackupStore, RestoreObserver
from rehydrate.requests import RestoreOptions, RestoreRequest
from rehydrate.results import AtTarget, FileStatus, RestoreReport
from rehydrate.staging.paths import check_target
from rehydrate.staging.root import TargetRoot
from rehydrate.values import StoreId

__all__ = ["Stores", "restore_files", "store_of"]

Stores = BackupStore | Mapping[StoreId, BackupStore]
"""One store, or several by their identity."""

_DEFAULTS: Final = RestoreOptions()


def restore_files(
    requests: Iterable[RestoreRequest],
    store: Stores,
    target: TargetRoot,
    *,
    options: RestoreOptions = _DEFAULTS,
    observer: RestoreObserver | None = None,
    executor: Submits | None = None,
    plan: ReadPlan | None = None,
) -> RestoreReport:
    """Restore files; the counterpart of ``IDedupBackupSupport::RestoreFiles``.

    A failed file never stops the others, and never harms what stood at its target: do not delete
    the target of a failed file. Calling again with the same requests continues: what is right at
    the target is skipped, what is staged and verified is not asked of the store again.

    Args:
        requests: What to restore; consumed once. No two may have the same target.
        store: Reads containers; or several stores by the identity that stubs name.
        target: Where to; opened once, and everything is written below it.
        options: How.
        observer: Watches; its method is called on the calling thread.
        executor: Runs decoding and writing on threads of this process; ``None`` = our own daemon
            threads. The store is always called on threads of ours.
        plan: A plan made by :func:`plan_restore` for the same requests; its order is used.

    Returns:
        One result for each request, in order. A cancelled job returns, too.

    Raises:
        RequestError: The requests contradict each other.
        StoreContractError: The store broke the call contract in a way that concerns the whole job.
        NoSpaceError: The target is too small; nothing was read from data containers.
        SessionBusyError: These requests are being restored into this target already.
    """
    calls = ObserverCalls(observer)
    taken = take_requests(requests, portable_names=options.portable_names)
    left_out = {i: given.left_out for i, given in taken.metadata.items() if given.left_out}
    outcome = Outcome(taken.targets, calls, left_out)
    _refuse_unsafe(taken, outcome, options)
    groups, others = group_by_store(taken.stubs)
    for index in others:
        outcome.decide(index, FileStatus.NOT_DEDUPLICATED)
    total = Tally()
    cancelled = False
    clock, files = SystemClock(), SystemFiles()
    for owner, members in groups.items():
        indexes = outcome.alive(members)
        found = store_of(owner, store, indexes, outcome, taken.stubs)
        if found is None:
            continue
        session = Session(StoreCalls(found), options, calls, executor, clock)
        try:
            job = StoreJob(
                session,
                format_of(owner),
                taken,
                indexes,
                outcome=outcome,
                store=owner.store_id,
            )
            job.run(target, files, clock, plan)
        except Cancelled:
            cancelled = True
            break
        except (StoreContractError, NoSpaceError, RequestError, SessionError):
            raise
        except RestoreError as error:
            session.settle()  # what is published by now is no failure
            _fail_rest(indexes, outcome, error)
        except BaseException as error:
            session.fail(error)
            raise
        finally:
            session.settle()
            session.close()
            total.add(session.tally)
    _end(outcome, target, cancelled=cancelled)
    if calls.failure is not None:
        outcome.notices.append(f"the observer failed and was switched off: {calls.failure!r}")
    return outcome.report(total.frozen())


def _end(outcome: Outcome, target: TargetRoot, *, cancelled: bool) -> None:
    """Decide what is left, and find out what stands at targets that nobody looked at."""
    for index in outcome.undecided():
        if cancelled:
            outcome.decide(index, FileStatus.CANCELLED, Cancelled())
        else:
            fault = SessionError("the job forgot this file: a fault of ours", code="internal")
            outcome.fail(index, fault)
    for index in outcome.unknown_places():
        name = outcome.targets[index]
        with suppress(UnsafeTargetError):
            check_target(name)
            if target.holds(name):
                outcome.present(index, AtTarget.OLD)


def _refuse_unsafe(taken: Requests, outcome: Outcome, options: RestoreOptions) -> None:
    portable = options.portable_names
    for index, target in enumerate(taken.targets):
        try:
            check_target(target, portable_names=portable)
        except UnsafeTargetError as error:
            outcome.fail(index, error)


def store_of(
    owner: StubOwner,
    stores: Stores,
    indexes: Sequence[int],
    outcome: Outcome,
    stubs: Sequence[bytes],
) -> BackupStore | None:
    """Return the store that stubs belong to; without one their requests are decided.

    Args:
        owner: Format and store that the stubs name.
        stores: What the caller gave.
        indexes: Requests of these stubs.
        outcome: Where requests are decided.
        stubs: Stub of every request of the call.
    """
    wanted = owner.store_id
    if isinstance(stores, Mapping):
        found: BackupStore | None = stores.get(wanted)
        known = ", ".join(str(store) for store in stores if store.int) or "none"
    else:
        found = stores
        declared = declared_store(stores)
        known = str(declared)
        if declared is not None and declared != wanted:
            found = None
    if found is None:
        # Where the stub is damaged, so may be the identity that it names.
        table = format_of(owner).decode_stubs([stubs[index] for index in indexes], Limits())
        for position, fault in table.errors.items():
            _fail_rest([indexes[position]], outcome, fault)
        error = StoreError(
            f"the stub belongs to store {wanted}; given: {known}", code="store.other"
        )
        _fail_rest(indexes, outcome, error)
    return found


def _fail_rest(indexes: Sequence[int], outcome: Outcome, error: RestoreError) -> None:
    for index in indexes:
        if not outcome.is_decided(index):
            outcome.fail(index, error)
