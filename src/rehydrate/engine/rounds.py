"""One round: one order call, then for each extent one preview and exactly the reads it showed."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, overload

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
from rehydrate.results import RoundStarted, Waiting
from rehydrate.values import ContainerExtent, FileExtent, StorePath

__all__ = ["Consumer", "Containers", "ReadsView", "Round", "ask_order"]

_TICK: Final = 0.1
_TELL_AGAIN: Final = 60.0


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


def ask_order(session: Session, paths: Sequence[StorePath]) -> list[ContainerExtent] | None:
    """Ask the store for the order of a round.

    Args:
        session: The job.
        paths: Store path of each container of the round, sorted.

    Returns:
        Its answer; ``None`` = the order is ours to choose.

    Raises:
        StoreError: The store failed.
        Cancelled: The job was cancelled.
    """
    most = 64 * len(paths) + session.options.max_extents
    answer = session.on_store_thread(lambda: session.calls.order(paths, most))
    session.tally.order_calls += 1
    return answer


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
        asked: bool = False,
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
            asked: The store was asked already: ``preset`` is what :func:`ask_order` returned.
            trim: Gives what is to be read, once the order is known, instead of the needs; these
                are then what the order answer must cover.
            max_read: Largest read of this round; ``None`` = that of the session.
            scratch: Where the columns of the plan live.
        """
        self._trim, self._max_read = trim, max_read or session.max_read
        self._preset, self._scratch = preset, scratch
        self._asked = asked or preset is not None
        self._session, self._kind, self._needs, self._paths = session, kind, needs, paths
        self._containers, self._consumer = containers, consumer
        self._reads = Reads(session, kind, containers, consumer)
        self._last_path: StorePath | None = None
        self._told = (-1, 0.0)

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
        answer = self._preset if self._asked else ask_order(session, self._paths)
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
        """On the store's thread: go through the extents.

        Those not ready go to the end; there the one that is due first comes first.
        """
        session, clock = self._session, self._session.clock
        count = len(plan.extent_container)
        fresh = deque(range(count))
        waiting: list[tuple[float, int, int, str]] = []
        turn = itertools.count()
        while (fresh or waiting) and not session.ended:
            if fresh:
                extent = fresh.popleft()
            else:
                due, _, extent, message = heapq.heappop(waiting)
                if not self._waited(due, len(waiting) + 1, count, message):
                    return
            try:
                self._read_extent(plan, extent)
            except NotReadyError as error:
                due = clock.monotonic() + error.retry_after
                heapq.heappush(waiting, (due, next(turn), extent, error.message))

    def _waited(self, due: float, waiting: int, count: int, message: str) -> bool:
        """Wait until a time; return whether the job goes on."""
        session, clock = self._session, self._session.clock
        now = clock.monotonic()
        before, when = self._told
        if now < due and (waiting != before or now - when >= _TELL_AGAIN):
            self._told = waiting, now
            event = Waiting(waiting, count, due - now, message)
            session.messages.put(lambda: session.observer(event))
        while (left := due - clock.monotonic()) > 0 and not session.ended:
            clock.sleep(min(left, _TICK))  # time goes on between two looks: look once
        return not session.ended

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
