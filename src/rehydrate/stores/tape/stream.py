"""Reads records ahead of the consumer, so that the tape does not stop while he is busy.

A drive that has to wait for its host stops, backs up and starts again, which costs seconds for
every buffer. So a thread does nothing but read records into a ring that is bounded in bytes; the
consumer takes them out in order.
"""

import threading
from collections import deque
from typing import Final

import attrs

from rehydrate.errors import StoreError, StoreReadError
from rehydrate.stores.tape.drive import END_OF_DATA, TapeDrive, TapePosition, read_failed
from rehydrate.stores.tape.typed import TypedDrive

__all__ = ["RING_BYTES", "Lost", "RecordStream"]

RING_BYTES: Final = 400_000_000
"""A second of the fastest drives; only what was announced is ever read."""
_ATTEMPTS: Final = 3
_MOST_LOST: Final = 3  # records lost one after the other: then the drive is given up
_LEAST_HELD: Final = 64  # bytes that the smallest record, or a filemark, takes in the ring


@attrs.frozen
class Lost:
    """Stands for a record that could not be read."""

    error: StoreError


Found = bytes | Lost | None
"""A record, one that was lost, or a filemark."""


@attrs.define(eq=False)
class _Run:
    """Records that are read in one go; fields are changed under the lock of the stream."""

    partition: int
    block: int  # the next one for the consumer
    wanted: int  # bytes still to be read by the thread
    passing: int = 0  # blocks before this one are read through and do not count
    ring: deque[Found] = attrs.field(factory=deque)
    held: int = 0
    stop: bool = False
    done: bool = False
    broken: bool = False  # the position of the drive is not known any more
    thread: threading.Thread | None = None


class RecordStream:
    """Records of one drive in the order of the tape, read ahead by a thread of its own.

    All methods are called from one thread.
    """

    def __init__(
        self, drive: TapeDrive, *, ring_bytes: int = RING_BYTES, attempts: int = _ATTEMPTS
    ) -> None:
        """Bind; nothing is read yet.

        Args:
            drive: The drive; nobody else uses it until :meth:`close`.
            ring_bytes: Most bytes that are read ahead.
            attempts: How often a record is tried before it counts as lost.
        """
        self._drive = TypedDrive(drive, system=False)
        self._ring_bytes, self._attempts = ring_bytes, max(attempts, 1)
        self._changed = threading.Condition()
        self._run: _Run | None = None
        self._head: TapePosition | None = None

    @property
    def next_block(self) -> TapePosition | None:
        """What :meth:`take` returns next, as far as is known."""
        run = self._run
        return self._head if run is None else TapePosition(run.partition, run.block)

    def begin(self, partition: int, block: int, wanted: int) -> None:
        """Make a block the next one, and read ahead from there.

        A locate is made only if it is not the next one already.

        Args:
            partition: Number of the partition.
            block: Number of the block.
            wanted: Bytes that will be taken, as far as is known.

        Raises:
            StoreError: The drive cannot go there.
        """
        target = TapePosition(partition, block)
        run = self._run
        if run is not None and target == self.next_block and self._extended(run, wanted):
            return
        self.stop()
        if self._head != target:
            self._head = None
            self._locate(partition, block)
            self._head = target
        self._run = _Run(partition, block, wanted)
        self._start(self._run)

    def skip_to(self, block: int, wanted: int) -> None:
        """Read through the blocks before another one ahead, in the same partition.

        Args:
            block: The block to stand before; not behind the next one.
            wanted: Bytes that will be taken from there on.

        Raises:
            StoreError: The drive cannot go there.
        """
        run = self._run
        if run is not None and run.broken:
            self.begin(run.partition, block, wanted)
            return
        if run is None:
            here = self._head
            if here is None:
                raise StoreReadError("nothing was begun on the tape", code="tape.stream")
            run = self._run = _Run(here.partition, here.block, 0, done=True)
        with self._changed:
            run.passing = block
            ahead = list(run.ring)[max(block - run.block, 0) :]
            run.wanted = max(run.wanted, wanted - sum(_size(found) for found in ahead))
            self._changed.notify_all()
            if run.done and not run.broken:
                self._start(run)
        while run.block < block:
            if isinstance(self.take()[1], Lost):
                break  # nobody wants it; go there directly
        self.begin(run.partition, block, wanted)

    def take(self) -> tuple[int, Found]:
        """Return the next block and its number.

        Raises:
            StoreError: The data or the patience with the drive ended here.
        """
        run = self._run
        if run is None:
            raise StoreReadError("nothing was begun on the tape", code="tape.stream")
        with self._changed:
            if not run.ring and not run.broken:
                run.wanted = max(run.wanted, 1)  # more than was announced, it may be
                if run.done:
                    self._start(run)
            self._changed.wait_for(lambda: run.ring or run.done)
            if run.ring:
                found = run.ring.popleft()
                run.held -= _held(found)
                block, run.block = run.block, run.block + 1
                self._changed.notify_all()
                return block, found
        self.stop()
        raise read_failed("the drive was given up at this place")

    def stop(self) -> None:
        """Stop reading ahead; what was read and not taken is forgotten."""
        run, self._run = self._run, None
        if run is None:
            return
        with self._changed:
            run.stop = True
            self._changed.notify_all()
        if run.thread is not None:
            run.thread.join()
        ahead = TapePosition(run.partition, run.block + len(run.ring))
        self._head = None if run.broken else ahead

    def close(self) -> None:
        """Stop, and close the drive."""
        self.stop()
        self._drive.close()

    def _extended(self, run: _Run, wanted: int) -> bool:
        """Let a run go on from where it is; not possible where the drive was given up."""
        with self._changed:
            run.wanted = max(run.wanted, wanted - run.held)
            self._changed.notify_all()
            if run.done and not run.broken and run.wanted > 0:
                self._start(run)
            return bool(run.ring) or not run.broken

    def _locate(self, partition: int, block: int) -> None:
        for attempt in range(self._attempts):
            try:
                self._stand(partition, block)
            except (StoreError, OSError) as error:
                problem = _typed(error, "go to", partition, block)
                if problem.code == END_OF_DATA or attempt + 1 == self._attempts:
                    raise problem from error
            else:
                return

    def _stand(self, partition: int, block: int) -> None:
        """Go to a block, and make sure that the drive is there, if it can tell."""
        self._drive.locate(partition, block)
        try:
            here = self._drive.position()
        except (StoreError, OSError):
            return  # it cannot tell: what is read is proved by digests in any case
        if here != TapePosition(partition, block):
            raise read_failed(
                f"the drive was sent to block {block} of partition {partition} and stands before "
                f"block {here.block} of partition {here.partition}"
            )

    def _start(self, run: _Run) -> None:
        run.done = False
        run.thread = threading.Thread(
            target=self._fill, args=(run,), name="rehydrate-tape", daemon=True
        )
        run.thread.start()

    def _fill(self, run: _Run) -> None:
        """Read on until all that is wanted is in the ring; the thread's whole life."""
        lost, in_order = 0, False
        with self._changed:
            block = run.block + len(run.ring)
        try:
            while True:
                if not self._has_room(run, block):
                    in_order = True  # from here on the run may belong to the next thread
                    return
                found = self._record(run.partition, block)
                lost = lost + 1 if isinstance(found, Lost) else 0
                end = isinstance(found, Lost) and found.error.code == END_OF_DATA
                broken = end or lost == _MOST_LOST
                with self._changed:
                    run.ring.append(found)
                    run.held += _held(found)
                    if block >= run.passing:
                        run.wanted -= max(_size(found), 1)
                    run.broken = broken
                    self._changed.notify_all()
                block += 1
                if broken:
                    return
                if lost and not self._skipped(run, block):
                    return
        finally:
            if not in_order:
                with self._changed:
                    run.broken = run.done = True
                    self._changed.notify_all()

    def _has_room(self, run: _Run, block: int) -> bool:
        """Wait until the consumer has taken enough; tell whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: run.stop or run.held < self._ring_bytes)
            run.done = run.stop or (run.wanted <= 0 and block >= run.passing)
            return not run.done

    def _record(self, partition: int, block: int) -> Found:
        """Read one record; try again from a fresh locate where the drive fails."""
        problem: StoreError | None = None
        for _ in range(self._attempts):
            try:
                if problem is not None:
                    self._stand(partition, block)
                return self._drive.read_record()
            except (StoreError, OSError) as error:
                problem = _typed(error, "read", partition, block)
                if problem.code == END_OF_DATA:
                    break
        return Lost(problem or read_failed("no attempt was made"))

    def _skipped(self, run: _Run, block: int) -> bool:
        """Go behind a lost record; if that fails as well, the run is broken."""
        try:
            self._stand(run.partition, block)
        except (StoreError, OSError):
            with self._changed:
                run.broken = True
            return False
        return True


def _size(found: Found) -> int:
    return len(found) if isinstance(found, bytes) else 0


def _held(found: Found) -> int:
    """Return what it takes in the ring, so that a tape full of filemarks does not fill memory."""
    return max(_size(found), _LEAST_HELD)


def _typed(error: StoreError | OSError, doing: str, partition: int, block: int) -> StoreError:
    if isinstance(error, StoreError):
        return error
    problem = read_failed(f"cannot {doing} block {block} of partition {partition}: {error}")
    problem.__cause__ = error
    return problem
