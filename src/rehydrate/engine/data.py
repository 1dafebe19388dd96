"""Phase two of a job: plan, space, the data round, repair, the stub's own data, publishing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import ChunkTable, Ints
from rehydrate.engine.blocks import FragmentJoiner, RecordConsumer
from rehydrate.engine.layout import FileLayout, check_ranges, stored_rows
from rehydrate.engine.outcome import Outcome
from rehydrate.engine.reads import Containers
from rehydrate.engine.rebuild import DataSink, FileStates, write_own_extent
from rehydrate.engine.records import Records
from rehydrate.engine.repair import repair
from rehydrate.engine.rounds import Round, ask_order
from rehydrate.engine.session import Session
from rehydrate.errors import Cancelled, NoSpaceError, RestoreError, StagingError
from rehydrate.formats.walk import DATA, StoreFormat
from rehydrate.plan.columns import Scratch, blocks
from rehydrate.plan.planner import Needs, find_needs
from rehydrate.requests import OwnExtent
from rehydrate.results import FileStatus, JobStarted, Progress
from rehydrate.staging.batch import Published
from rehydrate.staging.staging import Staging
from rehydrate.staging.table import FileTable
from rehydrate.values import ContainerExtent, StorePath

__all__ = ["DataPhase", "RowColumns", "find_data_needs"]

_PROGRESS_SECONDS: Final = 0.1
Order: TypeAlias = Callable[[Sequence[StorePath]], list[ContainerExtent] | None]


def find_data_needs(
    form: StoreFormat, table: ChunkTable, wanted: npt.NDArray[np.bool_] | None, scratch: Scratch
) -> Needs:
    """Return the distinct chunks behind the wanted rows, containers sorted by path."""
    return find_needs(
        table, wanted, sort_key=lambda key: form.container_path(DATA, *key), scratch=scratch
    )


@attrs.frozen(eq=False)
class RowColumns:
    """Columns of all rows of a job, in scratch.

    Attributes:
        starts: Logical start in the file, bytes.
        sizes: Logical size, bytes.
        files: File number.
    """

    starts: Ints
    sizes: Ints
    files: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, table: ChunkTable, scratch: Scratch) -> "RowColumns":
        """Compute the columns block by block, so that memory is needed for one block only."""
        count = len(table.rows)
        columns = cls(
            scratch.array(np.int64, count),
            scratch.array(np.int64, count),
            scratch.array(np.uint32, count),
        )
        begins = table.row_ptr[:-1]
        for first, end in blocks(count):
            numbers = np.arange(first, end)
            files = np.searchsorted(table.row_ptr, numbers, side="right") - 1
            ends = table.rows["end"][first:end].astype(np.int64)
            before = table.rows["end"][first - 1] if first else 0
            starts = np.concatenate([np.array([before], np.int64), ends[:-1]])
            starts[begins[files] == numbers] = 0
            columns.starts[first:end] = starts
            columns.sizes[first:end] = ends - starts
            columns.files[first:end] = files
        return columns


class DataPhase:
    """The data phase of one job."""

    def __init__(
        self,
        session: Session,
        form: StoreFormat,
        staging: Staging,
        *,
        table: ChunkTable,
        files: FileTable,
        requests_of: Sequence[int],
        own_data: Mapping[int, Sequence[OwnExtent]],
        outcome: Outcome,
    ) -> None:
        """Bind; nothing is read yet.

        Args:
            session: The job.
            form: Format of the store.
            staging: The destination.
            table: Rows by file number.
            files: The files.
            requests_of: Request index of each file number.
            own_data: Own ranges of stubs, by request index.
            outcome: Where requests are decided.
        """
        self._session, self._format, self._staging = session, form, staging
        self._options = session.options
        self._table, self._files = table, files
        self._requests_of, self._own_data, self._outcome = requests_of, own_data, outcome
        self._layout = FileLayout(table, files.size)

    def run(
        self,
        numbers: Ints,
        joiner: FragmentJoiner,
        scratch: Scratch,
        *,
        prepare: Callable[[], None],
        order: Order,
    ) -> None:
        """Read, write and publish.

        Args:
            numbers: The files to restore, ascending.
            joiner: Joins records that come in fragments.
            scratch: Where the plan's columns live.
            prepare: Called once it is known that there is room, before anything is written.
            order: Gives an order accepted before for some containers, or None.

        Raises:
            NoSpaceError: The target is too small; nothing was read.
            StoreContractError: The order answer breaks the contract.
            Cancelled: The job was cancelled.
        """
        session, staging, table = self._session, self._staging, self._table
        wanted = np.zeros(table.files, np.bool_)
        wanted[numbers] = True
        rows_wanted = np.repeat(wanted, np.diff(table.row_ptr))
        resumed = self._resume(wanted, rows_wanted)
        chosen = None if bool(rows_wanted.all()) else rows_wanted
        needs = find_data_needs(self._format, table, chosen, scratch)
        columns = RowColumns.of(table, scratch)
        records = Records.of(self._format, DATA, needs, table.rows, columns.sizes)
        session.tally.bytes_needed += records.bytes_needed()
        session.tally.containers += len(needs.containers)
        self._check_space(numbers, resumed)
        answer = order(records.paths)
        asked = answer is None and bool(records.paths)
        if asked:  # before anything is written: the store may refuse, for its price
            answer = ask_order(session, records.paths)
        prepare()
        states = self._file_states(wanted, rows_wanted, resumed)
        sink = DataSink(
            session=session,
            staging=staging,
            states=states,
            needs=needs,
            starts=columns.starts,
            file_of_row=columns.files,
            published=self._published,
            layout=self._layout,
        )
        _start_progress(session, self._outcome, states)
        session.observer(
            JobStarted(
                len(numbers),
                int(records.sizes[rows_wanted & table.stored()].sum()),
                records.bytes_needed(),
            )
        )
        self._lay_out(sink, numbers, resumed)
        consumer = RecordConsumer(session, records, sink, joiner)
        self._fail_lost(sink, self._read(records, consumer, sink, (asked, answer), scratch))
        self._write_own_data(sink)
        sink.publish()
        session.settle()
        for number, error in states.errors.items():
            self._outcome.fail(self._requests_of[number], error)

    def _read(
        self,
        records: Records,
        consumer: RecordConsumer,
        sink: DataSink,
        order: tuple[bool, list[ContainerExtent] | None],
        scratch: Scratch,
    ) -> Mapping[int, RestoreError]:
        """Make the planned round and the repair rounds; return the needs that stay lost."""
        containers = Containers(self._options.read_attempts)
        Round(
            self._session,
            "data",
            records.needs,
            records.paths,
            containers=containers,
            consumer=consumer,
            preset=order[1],
            asked=order[0],
            scratch=scratch,
        ).run()
        return repair(self._session, records, sink, consumer.failed, containers)

    def _resume(
        self, wanted: npt.NDArray[np.bool_], rows_wanted: npt.NDArray[np.bool_]
    ) -> set[int]:
        """Accept what an earlier run staged and what hashes right; return those files."""
        staging, table, layout = self._staging, self._table, self._layout
        resumed: set[int] = set()
        leftovers = staging.leftovers()
        if not leftovers:
            return resumed
        starts, ends = table.starts(), table.rows["end"]
        for number, leftover in leftovers.items():
            good = None
            if wanted[number] and layout.rows[number]:
                good = check_ranges(self._format, table, number, leftover.read, leftover.ranges)
            if good is None or not good.any():
                staging.discard(number)
                continue
            first = int(table.row_ptr[number])
            places = first + np.flatnonzero(good)
            places = places[table.rows["container"][places] != 0]
            ranges = list(zip(starts[places].tolist(), ends[places].tolist(), strict=True))
            holes, zeros = layout.holes(number), layout.zeros(number)
            try:
                staging.accept(number, ranges, holes=holes, zeros=zeros)
            except StagingError:
                continue
            rows_wanted[places] = False
            resumed.add(number)
            size = sum(end - start for start, end in ranges)
            self._session.tally.bytes_resumed += size
        return resumed

    def _check_space(self, numbers: Ints, resumed: set[int]) -> None:
        """Refuse a job that cannot fit before the first data read."""
        sparse = self._options.sparse
        fresh = numbers[~np.isin(numbers, list(resumed))] if resumed else numbers
        needed = self._layout.allocated(fresh, sparse=sparse)
        free = self._staging.free_bytes()
        if needed > free:
            raise NoSpaceError(
                f"the restore needs {needed} bytes and the target has {free} free: make room, or "
                "restore less at a time",
                code="fs.nospace",
            )

    def _file_states(
        self,
        wanted: npt.NDArray[np.bool_],
        rows_wanted: npt.NDArray[np.bool_],
        resumed: set[int],
    ) -> FileStates:
        table, layout = self._table, self._layout
        remaining = stored_rows(table, rows_wanted & table.stored())
        own = self._own_data
        held = frozenset(
            number
            for number, index in enumerate(self._requests_of)
            if wanted[number] and own and own.get(index)
        )
        whole = (layout.rows == 1) & (layout.stored == 1) & (layout.map_ends == layout.sizes)
        whole[list(held | resumed)] = False
        self._remaining = remaining
        return FileStates(whole.astype(np.uint8), remaining, held)

    def _lay_out(self, sink: DataSink, numbers: Ints, resumed: set[int]) -> None:
        """Finish the files that need no bytes."""
        states = sink.states
        for number in resumed:
            states.begun[number] = 1
        without_bytes = numbers[self._remaining[numbers] == 0]
        for number in without_bytes.tolist():
            try:
                if not self._layout.sizes[number]:
                    sink.staging.write_whole(number, b"")
                    continue
                if not states.begun[number]:
                    sink.begin(number)
            except StagingError as error:
                sink.fail(number, error)
            else:
                sink.finish([number])
        sink.finish(())

    def _fail_lost(self, sink: DataSink, lost: Mapping[int, RestoreError]) -> None:
        needs = sink.needs
        for need, error in lost.items():
            rows = needs.use_row[int(needs.use_ptr[need]) : int(needs.use_ptr[need + 1])]
            for number in np.unique(sink.file_of_row[rows]).tolist():
                error.resumable = True
                sink.fail(number, error.for_file(self._files.label(number)))

    def _write_own_data(self, sink: DataSink) -> None:
        """Write what the stub itself holds, last, so that it wins over the chunks."""
        for number in sorted(sink.states.held):
            if sink.states.dead[number] or sink.states.remaining[number]:
                continue
            own = self._own_data[self._requests_of[number]]
            try:
                if not sink.states.begun[number]:
                    sink.begin(number)
                for extent in own:
                    write_own_extent(sink.staging, number, extent)
                sink.staging.finish(number)
            except Cancelled:
                raise
            except RestoreError as error:
                sink.fail(number, error)

    def _published(self, outcomes: Sequence[Published]) -> None:
        requests_of = self._requests_of
        self._outcome.restored(
            [requests_of[r.number] for r in outcomes if r.placed and not (r.error or r.lost)]
        )
        for result in outcomes:
            if result.placed and not (result.error or result.lost):
                continue
            index = requests_of[result.number]
            if result.placed:
                self._outcome.decide(index, FileStatus.RESTORED, result.error, result.lost)
            elif result.error is not None:
                self._outcome.fail(index, result.error)


def _start_progress(session: Session, outcome: Outcome, states: FileStates) -> None:
    """Tell the observer how far the job is, at most ten times a second."""
    clock = session.clock
    if not session.observer.active:
        return
    last = clock.monotonic()

    def heartbeat() -> None:
        nonlocal last
        now = clock.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            read, container = session.tally.bytes_read, session.container
            session.observer(Progress(outcome.decided, states.bytes_written, read, container))

    session.heartbeat = heartbeat
