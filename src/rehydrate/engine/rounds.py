"""One round: one order call, then for each extent one preview and exactly the reads it showed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np

from rehydrate.engine.reads import Consumer, Containers, Reads
from rehydrate.engine.session import Session
from rehydrate.errors import (
    ContainerNotFoundError,
    NotReadyError,
)
from rehydrate.plan.coalesce import Extents, accept_order
from rehydrate.plan.columns import MEMORY, Scratch
from rehydrate.plan.planner import Needs
from rehydrate.plan.rounds import RoundPlan, plan_round
from rehydrate.results import RoundStarted
from rehydrate.values import ContainerExtent, FileExtent, StorePath

__all__ = ["Consumer", "Containers", "ReadsView", "Round"]


class ReadsView(Sequence[FileExtent]):
    """The reads of one extent as a read-only sequence, without an object for each."""

    def __init__(self, plan: RoundPlan, first: int, end: int) -> None:
        """Show reads ``[first, end)`` of a plan."""
        self._plan, self._first, self._end = plan, first, end

    def __len__(self) -> int:
        """Return the number of reads."""
        return self._end - self._first

    @overload
    def __getitem__(self, index: int) -> FileExtent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileExtent]: ...
    def __getitem__(self, index: int | slice) -> FileExtent | Sequence[FileExtent]:
        """Return one read, or a tuple of them."""
        numbers = range(self._first, self._end)[index]
        if isinstance(numbers, range):
            return tuple(self._at(number) for number in numbers)
        return self._at(numbers)

    def __iter__(self) -> Iterator[FileExtent]:
        """Iterate the reads, ascending."""
        return (self._at(number) for number in range(self._first, self._end))

    def _at(self, number: int) -> FileExtent:
        return FileExtent(int(self._plan.read_offset[number]), int(self._plan.read_size[number]))


class Round:
    """One round of one phase; see the module."""

    def __init__(
        self,
        session: Session,
        kind: str,
        needs: Needs,
        paths: Sequence[StorePath],
        *,
        containers: Containers,
        consumer: Consumer,
        preset: list[ContainerExtent] | None = None,
        trim: Callable[[Extents], Needs] | None = None,
        max_read: int | None = None,
        scratch: Scratch = MEMORY,
    ) -> None:
        """Prepare; nothing is called yet.

        Args:
            session: The job.
            kind: ``"stream"``, ``"data"`` or ``"repair"``.
            needs: What to read.
            paths: Store path of each container of the needs, sorted.
            containers: What is known about containers.
            consumer: Takes the bytes.
            preset: An order that was accepted before, instead of asking the store.
            trim: Gives what is to be read, once the order is known, instead of the needs; these
                are then what the order answer must cover.
            max_read: Largest read of this round; ``None`` = that of the session.
            scratch: Where the columns of the plan live.
        """
        self._trim, self._max_read = trim, max_read or session.max_read
        self._preset, self._scratch = preset, scratch
        self._session, self._kind, self._needs, self._paths = session, kind, needs, paths
        self._containers, self._consumer = containers, consumer
        self._reads = Reads(session, kind, containers, consumer)
        self._last_path: StorePath | None = None

    def run(self) -> None:
        """Order, preview, read; returns when everything is consumed.

        Raises:
            StoreContractError: The order answer breaks the contract.
            Cancelled: The job was cancelled.
        """
        if not self._paths:
            return
        plan = self.plan()
        session = self._session
        self._consumer.start(plan)
        session.plans[self._kind] = (self._paths, plan)
        total = int(np.sum(plan.read_size, dtype=np.int64))
        session.observer(RoundStarted(self._kind, len(self._paths), len(plan.read_offset), total))
        session.on_store_thread(lambda: self._read_extents(plan))
        session.wait(self._reads.all_consumed)
        session.check()

    def plan(self) -> RoundPlan:
        """Ask for the order and plan the reads, without making any."""
        session, options = self._session, self._session.options
        most = 64 * len(self._paths) + options.max_extents
        answer = self._preset
        if answer is None:
            answer = session.on_store_thread(lambda: session.calls.order(self._paths, most))
            session.tally.order_calls += 1
        extents, unavailable = accept_order(
            answer, self._needs, containers=len(self._paths), max_extra=options.max_extents
        )
        for container in unavailable.tolist():
            path = self._paths[container]
            error = ContainerNotFoundError(f"the store has no extent of {path}", container=path)
            self._containers.give_up(path, error)
            self._consumer.lose_container(container, error)
        needs = self._needs if self._trim is None else self._trim(extents)
        return plan_round(
            needs,
            extents,
            max_gap=session.max_gap,
            max_read=self._max_read,
            scratch=self._scratch,
        )

    def _read_extents(self, plan: RoundPlan) -> None:
        """On the store's thread: go through the extents; those not ready go to the end."""
        session, clock = self._session, self._session.clock
        waiting: deque[tuple[int, float]] = deque(
            (extent, 0.0) for extent in range(len(plan.extent_container))
        )
        while waiting and not session.ended:
            extent, not_before = waiting.popleft()
            while clock.monotonic() < not_before and not session.ended:
                clock.sleep(min(not_before - clock.monotonic(), 0.1))
            try:
                self._read_extent(plan, extent)
            except NotReadyError as error:
                waiting.append((extent, clock.monotonic() + error.retry_after))

    def _read_extent(self, plan: RoundPlan, extent: int) -> None:
        session = self._session
        first, end = int(plan.read_ptr[extent]), int(plan.read_ptr[extent + 1])
        container = int(plan.extent_container[extent])
        path = self._paths[container]
        lost = self._containers.given_up(path)
        if lost is None:
            problem = session.calls.preview(path, ReadsView(plan, first, end))
            session.tally.previews += 1
            if problem is not None:
                message = f"preview of {path}: {problem}"
                session.messages.put(lambda: session.observer.notice(message))
            if path != self._last_path and self._kind == "data":
                session.tally.container_visits += 1
            self._last_path = path
            session.container = path
        for read in range(first, end):
            if session.ended:
                break
            lost = self._containers.given_up(path)
            if lost is not None:
                self._consumer.lose(read, lost)
            elif self._consumer.wants(read):
                self._reads.make(path, plan, read)
        self._reads.hand_over_batch()
