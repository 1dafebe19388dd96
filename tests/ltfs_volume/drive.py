"""A drive over records in memory, which counts locates and fails on demand."""

from collections.abc import Callable, Sequence

import attrs

from rehydrate.errors import StoreReadError
from rehydrate.stores.tape.drive import MountRequest, TapeDrive, TapePosition, end_of_data

__all__ = ["CountingDrive", "Library"]

Records = Sequence[Sequence[bytes | None]]


@attrs.define(eq=False)
class CountingDrive:
    """Implements the protocol of drives; ``None`` in a partition is a filemark."""

    partitions: Records
    at: TapePosition = attrs.field(factory=lambda: TapePosition(0, 0))
    locates: list[TapePosition] = attrs.field(factory=list)
    backward: list[tuple[TapePosition, TapePosition]] = attrs.field(factory=list)
    records: int = 0
    bytes_read: int = 0
    failing: dict[TapePosition, int] = attrs.field(factory=dict)
    closed: bool = False

    def locate(self, partition: int, block: int, /) -> None:
        target = TapePosition(partition, block)
        if not 0 <= block <= len(self._partition(partition)):
            raise end_of_data(f"{target} is not written")
        if target < self.at:
            self.backward.append((self.at, target))
        self.locates.append(target)
        self.at = target

    def locate_end(self, partition: int, /) -> None:
        self.at = TapePosition(partition, len(self._partition(partition)))

    def space_filemarks(self, count: int, /) -> None:
        items, block, left = self._partition(self.at.partition), self.at.block, abs(count)
        while left:
            block += -1 if count < 0 else 0
            if not 0 <= block < len(items):
                raise end_of_data("no such filemark")
            left -= items[block] is None
            block += 1 if count > 0 else 0
        self.at = attrs.evolve(self.at, block=block)

    def read_record(self) -> bytes | None:
        if self.closed:
            raise StoreReadError("the drive was closed")
        here, items = self.at, self._partition(self.at.partition)
        if here.block >= len(items):
            raise end_of_data("nothing is written here")
        if self.failing.get(here, 0):
            self.failing[here] -= 1
            raise OSError(5, "medium error")
        self.at = attrs.evolve(here, block=here.block + 1)
        record = items[here.block]
        self.records += 1
        self.bytes_read += len(record or b"")
        return record

    def position(self) -> TapePosition:
        return self.at

    def close(self) -> None:
        self.closed = True

    def forget(self) -> None:
        """Count from here on."""
        self.locates.clear()
        self.backward.clear()
        self.records = self.bytes_read = 0

    def _partition(self, number: int) -> Sequence[bytes | None]:
        if not 0 <= number < len(self.partitions):
            raise end_of_data(f"no partition {number}")
        return self.partitions[number]


@attrs.define(eq=False)
class Library:
    """Mounts volumes: each barcode has records, or what to do instead of a mount."""

    shelf: dict[str, Records | Callable[[], TapeDrive | None]]
    requests: list[MountRequest] = attrs.field(factory=list)
    drives: list[CountingDrive] = attrs.field(factory=list)
    failing: dict[TapePosition, int] = attrs.field(factory=dict)

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        self.requests.append(wanted)
        found = self.shelf[wanted.barcode]
        if callable(found):
            return found()
        self.drives.append(CountingDrive(found, failing=self.failing))
        return self.drives[-1]

    @property
    def names(self) -> list[str]:
        return [request.barcode for request in self.requests]
