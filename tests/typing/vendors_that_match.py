"""Vendor classes as different as vendors are; each must match, so mypy must find nothing here.

Nothing in this file is run. Assigning an object to a variable of a Protocol is the check.
"""

import mmap
from collections.abc import Sequence

from rehydrate import (
    BackupStore,
    ContainerExtent,
    DeclaresConcurrency,
    DeclaresReadHints,
    DeclaresTimeouts,
    FileExtent,
    ListsContainers,
    OrdersContainers,
    PreviewsReads,
    ReadableBuffer,
    ReadsInto,
    RestoreEvent,
    RestoreObserver,
    StorePath,
)


class Least:
    """The one required method, with bytes."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return bytes(size)


class OwnNames:
    """Parameters under the vendor's own names, usable as keywords for himself."""

    def read_backup_file(self, container: str, start: int, count: int) -> bytearray:
        return bytearray(count)


class GivesViews:
    """Any object with the buffer protocol will do."""

    def read_backup_file(self, path: str, offset: int, size: int) -> memoryview:
        return memoryview(bytes(size))


class GivesMappings:
    """A mapped file has the buffer protocol as well."""

    def read_backup_file(self, path: str, offset: int, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size)


class WiderThanAsked:
    """More parameters are fine if they have defaults; wider types are, too."""

    def read_backup_file(
        self, path: str, offset: float, size: int, *, retries: int = 3
    ) -> ReadableBuffer:
        return bytes(size)


class Everything:
    """Every ability at once; the declarations as plain attributes."""

    concurrent_reads: int = 4
    read_timeout: float | None = None
    max_gap: int = 1 << 20
    max_read: int = 8 << 20

    def read_backup_file(self, path: str, offset: int, size: int) -> bytes:
        return bytes(size)

    def read_backup_file_into(self, path: str, offset: int, buffer: memoryview) -> int:
        return len(buffer)

    def order_containers_restore(self, containers: Sequence[StorePath]) -> list[ContainerExtent]:
        return [ContainerExtent(index=index) for index in range(len(containers))]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent]) -> None:
        sum(read.length for read in reads)

    def list_containers(self, folder: str) -> list[str]:
        return []

    def on_event(self, event: RestoreEvent) -> None:
        pass


class DeclaresWithProperties:
    """The declarations as properties."""

    @property
    def concurrent_reads(self) -> int:
        return 1

    @property
    def read_timeout(self) -> float:
        return 30.0


class LeavesTheOrderToUs:
    """An order call may give nothing."""

    def order_containers_restore(self, containers: Sequence[StorePath]) -> None:
        return None


class OrdersWithTuples:
    """Any sequence is an answer; any supertype is a parameter."""

    def order_containers_restore(
        self, containers: Sequence[str]
    ) -> tuple[ContainerExtent, ...] | None:
        return None if not containers else (ContainerExtent(index=0),)


class Delegates:
    """Wraps another store; abilities come from inside."""

    def __init__(self, inner: BackupStore) -> None:
        self._inner = inner
        self.read_backup_file = inner.read_backup_file


stores: list[BackupStore] = [
    Least(),
    OwnNames(),
    GivesViews(),
    GivesMappings(),
    WiderThanAsked(),
    Everything(),
    Delegates(Least()),
]
orders: list[OrdersContainers] = [Everything(), LeavesTheOrderToUs(), OrdersWithTuples()]
previews: PreviewsReads = Everything()
lists: ListsContainers = Everything()
into: ReadsInto = Everything()
concurrency: list[DeclaresConcurrency] = [Everything(), DeclaresWithProperties()]
timeouts: list[DeclaresTimeouts] = [Everything(), DeclaresWithProperties()]
hints: DeclaresReadHints = Everything()
observer: RestoreObserver = Everything()
