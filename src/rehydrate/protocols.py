"""What others implement for us: the vendor's store, its optional abilities, and a catalogue.

A store implements :class:`BackupStore` and whichever of the other protocols it can. Nothing is
inherited and nothing imported from here; the engine asks once which methods are there. The rules
of every call, with an id each, are in the call contract (``docs/reference/call-contract.md``).
"""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol, runtime_checkable

import attrs

from rehydrate.results import RestoreEvent
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StoreId, StorePath

__all__ = [
    "BackupStore",
    "Catalogue",
    "CatalogueEntry",
    "DeclaresConcurrency",
    "DeclaresReadHints",
    "DeclaresStore",
    "DeclaresTimeouts",
    "ListsContainers",
    "OrdersContainers",
    "PreviewsReads",
    "ReadsInto",
    "RestoreObserver",
    "VersionInfo",
]

DEFAULT_GAP: Final = 4 << 10
"""``max_gap`` of a store that does not declare it, bytes (CC-READ-3)."""
DEFAULT_READ: Final = 8 << 20
"""``max_read`` of a store that does not declare it, bytes (CC-READ-4)."""
DEFAULT_TIMEOUT: Final = 300.0
"""``read_timeout`` of a store that does not declare it, seconds (CC-TIME-2)."""


class BackupStore(Protocol):
    """The one required ability: read bytes of a container from the backup medium.

    Mirrors ``IDedupReadFileCallback::ReadBackupFile``.
    """

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Return exactly ``size`` bytes of a container.

        Called once for each read of a preview, in the previewed order, from one and the same
        thread unless the store declares :attr:`DeclaresConcurrency.concurrent_reads`. May take up
        to the read timeout (300 s unless declared).

        Args:
            path: Store path of the container, relative to the volume of the stub.
            offset: First byte, ``0 <= offset < 2**63``.
            size: Number of bytes, ``1 <= size <= max_read < 2**31``.

        Returns:
            The bytes, as any C-contiguous object with the buffer protocol. ``bytes`` are used
            without a copy. Fewer than ``size`` bytes are taken as a short read and continued;
            the engine is done with the buffer before its next call on that thread.

        Raises:
            FileNotFoundError: The container is not in the backup; another generation is tried.
            rehydrate.NotReadyError: Not readable yet.
            rehydrate.Cancelled: Cancels the whole job.
            Exception: Anything else fails the files concerned; ``hresult`` and ``retryable``
                attributes of the exception are honoured.
        """
        ...


@runtime_checkable
class ReadsInto(Protocol):
    """Optional: read straight into a buffer of the engine, which saves one copy."""

    def read_backup_file_into(self, path: StorePath, offset: int, buffer: memoryview, /) -> int:
        """Fill ``buffer`` with the bytes from ``offset`` on.

        Args:
            path: As in :meth:`BackupStore.read_backup_file`.
            offset: As there.
            buffer: Writable, contiguous, 1 byte an item; must not be kept after the return.

        Returns:
            Number of bytes put in, ``1 <= n <= len(buffer)``; less than all is a short read.
        """
        ...


@runtime_checkable
class OrdersContainers(Protocol):
    """Optional: choose the order in which containers are read. ``OrderContainersRestore``."""

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent] | None:
        """Return the extents of the containers in the order that suits the medium.

        Called once for each round that reads anything: twice for an undamaged job. No deadline.

        Args:
            containers: The distinct containers of the round, sorted.

        Returns:
            Extents by ``index`` into ``containers``, any number for each container, in any order;
            ``None`` or nothing leaves the order (path, then offset) to the engine.
        """
        ...


@runtime_checkable
class PreviewsReads(Protocol):
    """Optional: learn all reads of an extent before the first one. ``PreviewContainerRead``."""

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Prepare for the reads: position, read ahead, thaw.

        Called exactly once for each ordered extent that has reads, before the first of them.
        No deadline.

        Args:
            path: The container.
            reads: All reads of the extent, merged and ascending; valid during the call.

        Raises:
            rehydrate.NotReadyError: The extent is moved to the end of the round and previewed
                again after ``retry_after`` seconds.
            rehydrate.Cancelled: Cancels the whole job.
            Exception: Anything else is reported and the reads are made all the same.
        """
        ...


@runtime_checkable
class ListsContainers(Protocol):
    """Optional: list a folder of the store; only to find another generation and to repair."""

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the files in ``folder``.

        Args:
            folder: Store path of a folder, without a slash at the end.

        Returns:
            Plain file names, in any order.
        """
        ...


@runtime_checkable
class DeclaresConcurrency(Protocol):
    """Optional: the store can serve several reads at once."""

    @property
    def concurrent_reads(self) -> int:
        """Most reads in flight at the same time, at least 1; asked once for each job."""
        ...


@runtime_checkable
class DeclaresTimeouts(Protocol):
    """Optional: how long one read may take on this medium."""

    @property
    def read_timeout(self) -> float | None:
        """Seconds for one read; ``None`` = no limit; asked once for each job."""
        ...


@runtime_checkable
class DeclaresReadHints(Protocol):
    """Optional: which reads suit the medium."""

    @property
    def max_gap(self) -> int:
        """Unneeded bytes that are cheaper to read than to skip; at least 0."""
        ...

    @property
    def max_read(self) -> int:
        """Largest sensible read in bytes, 1 to 2**31 - 1."""
        ...


@runtime_checkable
class DeclaresStore(Protocol):
    """Optional: which chunk store this is, so that stubs of another one are told at once."""

    @property
    def store_id(self) -> StoreId | None:
        """Identity of the store; None = not known."""
        ...


class RestoreObserver(Protocol):
    """Watches a restore; one method and many event types, so that events can grow."""

    def on_event(self, event: RestoreEvent, /) -> None:
        """Take notice of one event.

        Called from one engine thread, never under a lock, in causal order for each file. An
        exception out of it disables the observer for the rest of the job and is reported.
        """
        ...


@attrs.frozen(kw_only=True)
class VersionInfo:
    """One version (backup run) of a store.

    Attributes:
        number: Number of the version in its store, from 1.
        created_ns: Time of the run, nanoseconds since 1970.
        parent: Number of the version before it, or ``None``.
        source: What was backed up, as bytes of a path.
        entries: Number of entries; ``None`` = not counted.
        logical_bytes: Sum of the sizes of the regular files, hard links counted once; ``None`` =
            not counted.
        partial: Whether the run has not ended (yet): some of the source is missing.
    """

    number: int
    created_ns: int
    parent: int | None
    source: bytes
    entries: int | None
    logical_bytes: int | None
    partial: bool


@attrs.frozen
class CatalogueEntry:
    """One path of a version with its stub.

    Attributes:
        path: Relative path, ``/`` between components, bytes as the source had them.
        stub: The stub: what a :class:`~rehydrate.RestoreRequest` takes.
    """

    path: bytes
    stub: bytes


class Catalogue(Protocol):
    """Knows which files a backup holds."""

    @property
    def store_id(self) -> StoreId:
        """Identity of the chunk store that the stubs refer to."""
        ...

    def versions(self) -> Sequence[VersionInfo]:
        """Return all versions, oldest first."""
        ...

    def entries(self, version: int, prefixes: Sequence[bytes] = ()) -> Iterator[CatalogueEntry]:
        """Iterate the entries of a version in tree order (parents before children).

        Args:
            version: Number of the version.
            prefixes: Only these paths and everything below them; empty = everything. An
                implementation reads only the part of its catalogue that can hold them.

        Raises:
            RequestError: There is no such version.
        """
        ...
