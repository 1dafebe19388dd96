"""One store's part of a restore: from stubs to published files.

The steps, in this order: stubs, targets, stream maps, what is staged already, the plan, space, the
data round, repair, own data of stubs, publishing, links, directories.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
from blake3 import blake3

from rehydrate.chunks import ChunkTable, Ints
from rehydrate.engine.blocks import FragmentJoiner
from rehydrate.engine.data import DataPhase, RowColumns, find_data_needs
from rehydrate.engine.entries import Entries, sort_entries
from rehydrate.engine.layout import FileLayout
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.reads import Containers
from rehydrate.engine.records import Records
from rehydrate.engine.rounds import Round
from rehydrate.engine.scratch import BudgetedScratch, SpillFile
from rehydrate.engine.selection import Requests
from rehydrate.engine.session import Session
from rehydrate.engine.streams import read_stream_maps
from rehydrate.engine.targets import Targets
from rehydrate.errors import RequestError, RestoreError
from rehydrate.formats.walk import DATA, Limits, StoreFormat, StubTable
from rehydrate.plan.columns import Scratch
from rehydrate.plan.footprint import unfinished_peak
from rehydrate.plan.planner import Needs
from rehydrate.plan.read_plan import ReadPlan, planned_round
from rehydrate.plan.rounds import RoundPlan
from rehydrate.ports import Clock, Files
from rehydrate.requests import Overwrite
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.values import ContainerExtent, StoreId, StorePath

__all__ = ["Seen", "StoreJob"]

_PLAN_SHARE: Final = 2  # the plan's columns take at most this part of the memory budget
_FRAGMENT_SHARE: Final = 8

Seen: TypeAlias = Callable[[Needs, ChunkTable, RoundPlan, Sequence[bytes]], None]


class StoreJob:
    """Restores the requests that belong to one store; see the module."""

    def __init__(
        self,
        session: Session,
        form: StoreFormat,
        requests: Requests,
        indexes: Sequence[int],
        *,
        outcome: Outcome,
        store: StoreId,
    ) -> None:
        """Decode the stubs and sort the entries; nothing is written or read."""
        self._session, self._format, self._requests = session, form, requests
        self._options = session.options
        self._indexes, self._outcome = indexes, outcome
        self._limits = Limits(
            file_size=self._options.max_file_size, chunk_size=self._options.max_chunk_size
        )
        self._stubs: StubTable = form.decode_stubs(
            [requests.stubs[index] for index in indexes], self._limits
        )
        self._entries: Entries = sort_entries(
            self._stubs,
            indexes,
            requests,
            self._options,
            outcome=outcome,
            has_recall=form.has_recall,
        )
        self._requests_of = self._entries.requests.tolist()
        outcome.sizes[self._entries.requests] = self._entries.table.size
        self._store = store
        keys = b"".join(sorted(self._entries.table.keys))
        self._fingerprint = blake3(store.bytes + keys).hexdigest()

    @property
    def name(self) -> str:
        """Name of the job, the same for the same requests: it names the workspace."""
        return self._fingerprint[:16]

    def plan(self, scratch: Scratch, joiner: FragmentJoiner, seen: Seen | None = None) -> ReadPlan:
        """Plan without a target: makes both order calls and the reads of the stream phase.

        Args:
            scratch: Where the plan's columns live.
            joiner: Joins stream-map records that come in fragments.
            seen: Is shown the data round, if there is one, while its columns live: the needs, the
                rows of all files, the reads, and the target of each file.
        """
        session, form = self._session, self._format
        everything = np.arange(len(self._requests_of), dtype=np.int64)
        table, numbers = self._read_maps(everything, joiner)
        layout = FileLayout(table, self._entries.table.size)
        needs = find_data_needs(form, table, None, scratch)
        records = Records.of(form, DATA, needs, table.rows, RowColumns.of(table, scratch).sizes)
        rounds = (
            [planned_round("stream", *session.plans["stream"])] if "stream" in session.plans else []
        )
        peak = 0
        if len(needs):
            consumer = _NothingRead()
            containers = Containers(self._options.read_attempts)
            plan = Round(
                session, "data", needs, records.paths, containers=containers, consumer=consumer
            ).plan()
            rounds.append(planned_round("data", records.paths, plan))
            peak = unfinished_peak(needs, table, plan, scratch=scratch)
            if seen is not None:
                targets = self._requests.targets
                seen(needs, table, plan, [targets[index] for index in self._requests_of])
        allocated = layout.allocated(numbers, sparse=self._options.sparse, block=1)
        return ReadPlan(
            store=self._store,
            fingerprint=self._fingerprint,
            rounds=tuple(rounds),
            files=len(numbers),
            logical_bytes=int(layout.sizes[numbers].sum()),
            allocated_bytes=allocated,
            unfinished_peak=min(peak, allocated),
        )

    def _preset(
        self, plan: ReadPlan | None, paths: Sequence[StorePath]
    ) -> list[ContainerExtent] | None:
        """Return the order of a plan that was made before, for the containers of this run."""
        if plan is None or not paths:
            return None
        if plan.fingerprint != self._fingerprint:
            raise RequestError(
                "the plan was made for other files: plan again", code="plan.mismatch"
            )
        planned = plan.round("data")
        index = {path: number for number, path in enumerate(paths)}
        order = [
            ContainerExtent(
                index=index[planned.containers[extent.index]],
                offset=extent.offset,
                length=extent.length,
            )
            for extent in planned.order()
            if planned.containers[extent.index] in index
        ]
        if len({extent.index for extent in order}) != len(paths):
            raise RequestError("the plan leaves out a container: plan again", code="plan.mismatch")
        return order

    def run(
        self, root: TargetRoot, files: Files, clock: Clock, plan: ReadPlan | None = None
    ) -> None:
        """Restore.

        Args:
            root: Where to.
            files: The file-system calls.
            clock: Time.
            plan: A plan of the same job, whose order is taken instead of asking the store.

        Raises:
            StoreContractError: The store broke the contract.
            NoSpaceError: The target is too small; nothing was written.
            Cancelled: The job was cancelled; what is staged is kept.
            SessionBusyError: This very job is running into this root.
        """
        options = self._options
        with (
            root.running(self.name),
            Staging(
                root,
                self.name,
                self._entries.table,
                durability=options.durability,
                overwrite=options.overwrite,
                same_permissions=options.same_permissions,
                sparse=options.sparse,
                portable_names=options.portable_names,
                max_open_files=options.max_open_files,
                checkpoint_bytes=options.checkpoint_bytes,
                files=files,
                clock=clock,
            ) as staging,
        ):
            self._run(staging, files, plan)

    def _run(self, staging: Staging, files: Files, plan: ReadPlan | None) -> None:
        options = self._options
        targets = Targets(
            self._stubs,
            self._entries,
            indexes=self._indexes,
            names=self._requests.targets,
            options=options,
            outcome=self._outcome,
        )
        numbers = targets.examine(staging)
        joiner = FragmentJoiner(
            options.memory // _FRAGMENT_SHARE, lambda: SpillFile(staging.spill(), files)
        )
        try:
            table, numbers = self._read_maps(numbers, joiner)
            if options.checksum and options.overwrite is Overwrite.IF_CHANGED:
                numbers = targets.compare(staging, self._format, table, numbers)
            scratch = BudgetedScratch(options.memory // _PLAN_SHARE, staging.spill, files)
            phase = DataPhase(
                self._session,
                self._format,
                staging,
                table=table,
                files=self._entries.table,
                requests_of=self._requests_of,
                own_data=self._requests.own_data,
                outcome=self._outcome,
            )
            phase.run(
                numbers,
                joiner,
                scratch,
                prepare=lambda: targets.make_directories(staging),
                order=lambda paths: self._preset(plan, paths),
            )
        except BaseException as error:
            # Tell the other threads before waiting for them.
            self._session.fail(error)
            raise
        finally:
            # No worker may write into a workspace that is being closed.
            self._session.drain()
            joiner.close()
        targets.make_links(staging)
        targets.finish_directories(staging)
        if staging.owners_not_applied:
            self._outcome.notices.append("owners were not applied: this needs privilege")

    def _read_maps(self, numbers: Ints, joiner: FragmentJoiner) -> tuple[ChunkTable, Ints]:
        """Return the rows of the files, by file number, and the files that have good ones."""
        entries = self._entries
        maps = read_stream_maps(
            self._session,
            self._format,
            self._stubs,
            entries.files[numbers],
            joiner=joiner,
            limits=self._limits,
        )
        for position, error in maps.errors.items():
            self._outcome.fail(self._indexes[position], error)
        counts = np.diff(maps.table.row_ptr)[entries.files]
        row_ptr = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=row_ptr[1:])
        if maps.errors:
            bad = np.isin(entries.files, np.fromiter(maps.errors, np.int64))
            numbers = numbers[~bad[numbers]]
        return ChunkTable(maps.table.rows, row_ptr), numbers


class _NothingRead:
    """The consumer of a round that is only planned."""

    inline = False

    def start(self, plan: RoundPlan) -> None:
        """Nothing starts."""

    def wants(self, read: int) -> bool:
        """Nothing is wanted."""
        del read
        return False

    def consume(self, batch: Sequence[tuple[int, memoryview]]) -> None:
        """Nothing comes."""

    def salvage(self, read: int, view: memoryview) -> None:
        """Nothing comes."""

    def lose(self, read: int, error: RestoreError) -> None:
        """Nothing is lost."""

    def lose_container(self, container: int, error: RestoreError) -> None:
        """The plan shows which containers have no extents."""
