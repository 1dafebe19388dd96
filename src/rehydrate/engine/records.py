"""The records a phase needs: columns of the plan beside what proves each record."""

from collections.abc import Sequence
from typing import Protocol

import attrs
import numpy as np

from rehydrate.chunks import Ints, Rows
from rehydrate.formats.walk import RecordRef, StoreFormat
from rehydrate.plan.planner import Needs
from rehydrate.values import ReadableBuffer, StorePath

__all__ = ["Records", "Sink", "Taker"]


@attrs.frozen(eq=False)
class Records:
    """All records that one phase reads.

    Attributes:
        format: The format of the store.
        kind: DATA or STREAM.
        needs: Distinct records, sorted.
        rows: Rows of the table that the needs came from.
        sizes: Logical size of each row's record in bytes, shape ``(rows,)``.
        paths: Store path of each container of ``needs``.
    """

    format: StoreFormat
    kind: str
    needs: Needs
    rows: Rows
    sizes: Ints
    paths: Sequence[StorePath]

    @classmethod
    def of(cls, form: StoreFormat, kind: str, needs: Needs, rows: Rows, sizes: Ints) -> "Records":
        """Bind needs to their format."""
        paths = tuple(form.container_path(kind, *key) for key in needs.containers)
        return cls(form, kind, needs, rows, sizes, paths)

    def block(self, numbers: Ints) -> tuple[list[int], list[int], list[bytes]]:
        """Return local ids, logical sizes and digests of some needs, as lists for a hot loop."""
        rows = self.needs.row[numbers]
        found = self.rows[rows]
        return found["local_id"].tolist(), self.sizes[rows].tolist(), found["digest"].tolist()

    def ref(self, need: int) -> RecordRef:
        """Return one need as a value."""
        row = int(self.needs.row[need])
        fields = self.rows[row]
        return RecordRef(
            kind=self.kind,
            container=int(fields["container"]),
            generation=int(fields["generation"]),
            offset=int(fields["offset"]),
            length=int(fields["length"]),
            local_id=int(fields["local_id"]),
            logical_size=int(self.sizes[row]),
            digest=bytes(fields["digest"].tobytes()),
        )

    def path(self, need: int) -> StorePath:
        """Return the container of a need."""
        return self.paths[int(self.needs.container[need])]

    def bytes_needed(self) -> int:
        """Return the sum of the lengths of all needs."""
        return int(np.sum(self.needs.length, dtype=np.int64))


class Taker(Protocol):
    """Takes the records of one block, in any order, on one worker thread."""

    def put(self, position: int, data: ReadableBuffer) -> None:
        """Take verified logical bytes; ``position`` counts in the needs given to ``open``."""
        ...

    def close(self) -> None:
        """No more records come from this block."""
        ...


class Sink(Protocol):
    """Where verified records go."""

    def open(self, numbers: Ints) -> Taker:
        """Return a taker for these needs (need numbers, shape ``(n,)``)."""
        ...
