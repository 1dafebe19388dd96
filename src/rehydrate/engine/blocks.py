"""From the bytes of a read to verified records: cut, join, decode, pass on."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from rehydrate.chunks import Ints
from rehydrate.engine.records import Records, Sink
from rehydrate.engine.scratch import SpillFile
from rehydrate.engine.session import Session
from rehydrate.errors import FormatError, RestoreError
from rehydrate.formats.walk import RecordDecoder
from rehydrate.plan.rounds import RoundPlan

__all__ = ["FragmentJoiner", "RecordConsumer"]


class FragmentJoiner:
    """Joins records that come in fragments: in memory up to a limit, then in a spill file."""

    def __init__(self, limit: int, spill: Callable[[], SpillFile]) -> None:
        """Keep at most ``limit`` bytes in memory; ``spill`` makes the file when first needed."""
        self._limit, self._make_spill = limit, spill
        self._lock = threading.Lock()
        self._held = 0
        self._buffers: dict[int, bytearray] = {}
        self._spilled: dict[int, int] = {}
        self._missing: dict[int, int] = {}
        self._spill: SpillFile | None = None
        self._spill_end = 0

    def add(self, need: int, length: int, at: int, piece: memoryview) -> bytes | bytearray | None:
        """Take one fragment.

        Args:
            need: The record it belongs to.
            length: Length of the whole record, bytes.
            at: Place of the fragment in the record.
            piece: Its bytes; fragments of a record neither overlap nor leave gaps.

        Returns:
            The whole record if this was the last fragment, else None.
        """
        with self._lock:
            if need not in self._missing:
                self._begin(need, length)
            if need in self._buffers:
                self._buffers[need][at : at + len(piece)] = piece
            elif self._spill is not None:
                self._spill.write(self._spilled[need] + at, piece)
            self._missing[need] -= len(piece)
            return None if self._missing[need] else self._finish(need, length)

    def _begin(self, need: int, length: int) -> None:
        self._missing[need] = length
        if self._held + length <= self._limit:
            self._held += length
            self._buffers[need] = bytearray(length)
            return
        if self._spill is None:
            self._spill = self._make_spill()
        self._spilled[need] = self._spill_end
        self._spill_end += length

    def _finish(self, need: int, length: int) -> bytes | bytearray:
        del self._missing[need]
        if need in self._buffers:
            self._held -= length
            return self._buffers.pop(need)
        assert self._spill is not None  # noqa: S101 - a record is held or spilled
        return self._spill.read(self._spilled.pop(need), length)

    def forget(self) -> None:
        """Drop what is not whole: the phase is over, and the next one has other records."""
        self._held = self._spill_end = 0
        for held in (self._buffers, self._spilled, self._missing):
            held.clear()

    def close(self) -> None:
        """Let go of the spill file."""
        if self._spill is not None:
            self._spill.close()


class RecordConsumer:
    """The consumer of a planned round: decodes every record of a read once and passes it on.

    Attributes:
        failed: Needs that did not come out right, with the reason; input of the repair rounds.
    """

    inline = False

    def __init__(
        self, session: Session, records: Records, sink: Sink, joiner: FragmentJoiner
    ) -> None:
        """Bind; :meth:`start` gives the plan."""
        self._session, self._records, self._sink = session, records, sink
        self._joiner = joiner
        self._local = threading.local()
        self.failed: dict[int, RestoreError] = {}

    def start(self, plan: RoundPlan) -> None:
        """Keep the plan of the round."""
        self._plan = plan
        self._fragment_ptr = plan.fragment_ptr()

    def wants(self, read: int) -> bool:
        """Every read of the plan is wanted."""
        del read
        return True

    def _decoder(self) -> RecordDecoder:
        decoder: RecordDecoder | None = getattr(self._local, "decoder", None)
        if decoder is None:
            decoder = self._records.format.decoder(self._records.kind)
            self._local.decoder = decoder
        return decoder

    def consume(self, batch: Sequence[tuple[int, memoryview]]) -> None:
        """Decode the records that lie in these reads, on a worker."""
        first, last = batch[0][0], batch[-1][0]
        if last - first + 1 == len(batch):
            self._consume_run(first, [view for _, view in batch])
        else:  # a read between them failed
            for read, view in batch:
                self._consume_run(read, [view])

    def _consume_run(self, first: int, views: list[memoryview]) -> None:
        """Decode the records of consecutive reads from ``first`` on."""
        plan, needs, end = self._plan, self._records.needs, first + len(views)
        ptr = plan.need_ptr[first : end + 1]
        numbers = plan.need[int(ptr[0]) : int(ptr[-1])]
        if len(numbers):
            slots = np.repeat(np.arange(len(views)), np.diff(ptr))
            starts = needs.offset[numbers] - plan.read_offset[first:end][slots]
            ends = starts + needs.length[numbers]
            places = zip(slots.tolist(), starts.tolist(), ends.tolist(), strict=True)
            self._decode(numbers, [views[slot][start:stop] for slot, start, stop in places])
        for fragment in range(int(self._fragment_ptr[first]), int(self._fragment_ptr[end])):
            self._take_fragment(fragment, views[int(plan.fragment_read[fragment]) - first])

    def _take_fragment(self, fragment: int, view: memoryview) -> None:
        plan = self._plan
        need = int(plan.fragment_need[fragment])
        source, size = int(plan.fragment_source[fragment]), int(plan.fragment_size[fragment])
        whole = self._joiner.add(
            need,
            int(self._records.needs.length[need]),
            int(plan.fragment_at[fragment]),
            view[source : source + size],
        )
        if whole is not None:
            self._decode(np.array([need]), [memoryview(whole)])

    def _decode(self, numbers: Ints, views: list[memoryview]) -> None:
        decode = self._decoder().decode
        taker = self._sink.open(numbers)
        put = taker.put
        local_ids, sizes, digests = self._records.block(numbers)
        position = 0
        try:
            for record, local_id, size, digest in zip(
                views, local_ids, sizes, digests, strict=True
            ):
                try:
                    data = decode(record, local_id, size, digest)
                except FormatError as error:
                    self._lose_need(int(numbers[position]), error)
                else:
                    put(position, data)
                position += 1
        finally:
            taker.close()

    def _lose_need(self, need: int, error: RestoreError) -> None:
        records = self._records
        error.at(
            container=records.path(need),
            offset=int(records.needs.offset[need]),
            length=int(records.needs.length[need]),
        )
        with self._session.lock:
            self.failed.setdefault(need, error)

    def lose(self, read: int, error: RestoreError) -> None:
        """Mark all records of a failed read, whole ones and fragments."""
        plan = self._plan
        whole = plan.need[int(plan.need_ptr[read]) : int(plan.need_ptr[read + 1])]
        first, end = int(self._fragment_ptr[read]), int(self._fragment_ptr[read + 1])
        with self._session.lock:
            for need in [*whole.tolist(), *plan.fragment_need[first:end].tolist()]:
                self.failed.setdefault(need, error)

    def salvage(self, read: int, view: memoryview) -> None:
        """A short read is read again in a repair round, whole."""

    def lose_container(self, container: int, error: RestoreError) -> None:
        """Mark all records of a container that the order answer left out."""
        ptr = self._records.needs.container_ptr()
        for need in range(int(ptr[container]), int(ptr[container + 1])):
            self.failed.setdefault(need, error)
