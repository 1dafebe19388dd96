"""Phase two: verified chunks go to every place that wants them; complete files are published."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Ints
from rehydrate.engine.layout import FileLayout
from rehydrate.engine.own_data import OWN_PIECE, read_own_data
from rehydrate.engine.session import Session
from rehydrate.errors import (
    RestoreError,
    StagingError,
)
from rehydrate.plan.planner import Needs
from rehydrate.requests import OwnExtent
from rehydrate.staging.batch import Published
from rehydrate.staging.staging import Staging
from rehydrate.values import ReadableBuffer

__all__ = ["DataSink", "FileStates", "write_own_extent"]

# Below this mean chunk size a block is nothing but short calls that hand the interpreter lock to
# and fro; one worker at a time does such blocks, while the others do blocks of large chunks.
_TINY: Final = 16 << 10


class FileStates:
    """What is still to come for each file of a job.

    Attributes:
        whole: 1 where a file consists of one chunk and is written in one go.
        remaining: Rows still to be written, by file number.
        begun: 1 where a file that comes in pieces is laid out in the staging area.
        dead: 1 where a file failed: nothing more is written to it.
        held: Files that are finished later by the caller's thread.
        errors: Why files failed, by file number.
        bytes_written: Logical bytes written so far.
    """

    def __init__(self, whole: npt.NDArray[np.uint8], remaining: Ints, held: frozenset[int]) -> None:
        """Start with everything still to come."""
        self.whole = whole.tobytes()
        self.remaining: list[int] = remaining.tolist()
        self.begun = bytearray(len(whole))
        self.dead = bytearray(len(whole))
        self.held = held
        self.errors: dict[int, RestoreError] = {}
        self.bytes_written = 0
        self.lock = threading.Lock()

    def fail(self, number: int, error: RestoreError) -> bool:
        """Mark a file as failed; return whether it was alive until now."""
        with self.lock:
            alive = not self.dead[number]
            self.dead[number] = 1
            if alive:
                self.errors[number] = error
            return alive

    def done(self, numbers: Sequence[int], size: int) -> list[int]:
        """Count written rows, and return the files that are complete by that."""
        complete = []
        remaining = self.remaining
        with self.lock:
            self.bytes_written += size
            for number in numbers:
                remaining[number] -= 1
                if not remaining[number] and not self.dead[number]:
                    complete.append(number)
        return complete


@attrs.frozen(eq=False)
class DataSink:
    """Writes verified chunks into staged files.

    Attributes:
        session: The job.
        staging: The destination.
        states: What is still to come.
        needs: The records of the phase.
        starts: Logical start of each row in its file, bytes.
        file_of_row: File number of each row.
        published: Told on the caller's thread what was published.
        layout: How the files lie.
        laying: Held while a file is laid out.
        lane: Held by the worker that writes small chunks.
    """

    session: Session
    staging: Staging
    states: FileStates
    needs: Needs
    starts: Ints
    file_of_row: npt.NDArray[np.uint32]
    published: Callable[[Sequence[Published]], None]
    layout: FileLayout
    laying: threading.Lock = attrs.field(factory=threading.Lock)
    lane: threading.Lock = attrs.field(factory=threading.Lock)

    def open(self, numbers: Ints) -> "_BlockTaker":
        """Return a taker that knows every place that wants these records."""
        ptr = self.needs.use_ptr
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            cuts = ptr[first : last + 2]
            rows = self.needs.use_row[int(cuts[0]) : int(cuts[-1])]
            cuts = cuts - cuts[0]
        else:
            counts = ptr[numbers + 1] - ptr[numbers]
            cuts = np.zeros(len(numbers) + 1, np.int64)
            np.cumsum(counts, out=cuts[1:])
            within = np.arange(cuts[-1]) - np.repeat(cuts[:-1], counts)
            rows = self.needs.use_row[np.repeat(ptr[numbers], counts) + within]
        tiny = int(self.needs.length[numbers].sum()) < _TINY * len(numbers)
        return _BlockTaker(
            self,
            cuts.tolist(),
            self.file_of_row[rows].tolist(),
            self.starts[rows].tolist(),
            tiny=tiny,
        )

    def begin(self, number: int) -> None:
        """Lay out a file that comes in pieces, once, by the worker that has its first piece.

        Raises:
            StagingError: No room, or the like.
        """
        with self.laying:
            if not self.states.begun[number]:
                holes, zeros = self.layout.holes(number), self.layout.zeros(number)
                self.staging.allocate(number, holes=holes, zeros=zeros)
                self.states.begun[number] = 1

    def finish(self, numbers: Sequence[int]) -> None:
        """Finish complete files, and publish if a batch is due."""
        staging, states = self.staging, self.states
        for number in numbers:
            if number in states.held:
                continue
            try:
                staging.finish(number)
            except StagingError as error:
                self.fail(number, error)
        if staging.publish_due():
            self.publish()

    def publish(self) -> None:
        """Publish what is ready; the outcome goes to the caller's thread."""
        outcomes = self.staging.publish()
        if outcomes:
            self.session.messages.put(lambda: self.published(outcomes))

    def fail(self, number: int, error: RestoreError) -> None:
        """Stop writing a file; what is staged is kept for a later run if it is good."""
        if self.states.fail(number, error):
            self.staging.keep(number)


class _BlockTaker:
    """Writes the chunks of one block."""

    __slots__ = ("_cuts", "_done", "_files", "_sink", "_size", "_starts", "_tiny")

    def __init__(
        self,
        sink: DataSink,
        cuts: list[int],
        files: list[int],
        starts: list[int],
        *,
        tiny: bool,
    ) -> None:
        self._sink, self._cuts, self._files, self._starts = sink, cuts, files, starts
        self._done: list[int] = []
        self._size = 0
        self._tiny = tiny
        if tiny:
            sink.lane.acquire()

    def put(self, position: int, data: ReadableBuffer) -> None:
        """Write one chunk to every place that wants it."""
        sink, files, starts = self._sink, self._files, self._starts
        states, staging = sink.states, sink.staging
        size = len(memoryview(data))
        for use in range(self._cuts[position], self._cuts[position + 1]):
            number = files[use]
            if states.dead[number]:
                continue
            try:
                if states.whole[number]:
                    staging.write_whole(number, data)
                else:
                    if not states.begun[number]:
                        sink.begin(number)
                    staging.write_at(number, starts[use], data)
                    self._done.append(number)
            except StagingError as error:
                sink.fail(number, error)
            else:
                self._size += size

    def close(self) -> None:
        """Count what was written and finish the files that are complete."""
        try:
            sink = self._sink
            sink.finish(sink.states.done(self._done, self._size))
        finally:
            if self._tiny:
                self._sink.lane.release()


def write_own_extent(staging: Staging, number: int, own: OwnExtent) -> None:
    """Write a range that the stub itself holds.

    Raises:
        Cancelled: The caller's method cancels the job.
        RestoreError: It could not be read or written.
    """
    at, end = own.extent.offset, own.extent.end
    while at < end:
        size = min(OWN_PIECE, end - at)
        staging.write_at(number, at, read_own_data(own, at, size))
        at += size
