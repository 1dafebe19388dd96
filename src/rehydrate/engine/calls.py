"""The seam to foreign code: a vendor's store and observer, bound once and held to the contract.

Optional methods are looked for once. Every exception of a vendor becomes one of ours here, with
the original as its cause; every answer is checked here. Rule ids (CC-...) are those of the call
contract.
"""

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, ParamSpec, TypeAlias, TypeVar, cast

from rehydrate.errors import (
    Cancelled,
    ContainerNotFoundError,
    NotReadyError,
    RestoreError,
    ShortReadError,
    StoreContractError,
    StoreError,
    StoreReadError,
)
from rehydrate.protocols import (
    DEFAULT_GAP,
    DEFAULT_READ,
    DEFAULT_TIMEOUT,
    BackupStore,
    RestoreObserver,
)
from rehydrate.results import Notice, RestoreEvent
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StoreId, StorePath

__all__ = [
    "ObserverCalls",
    "StoreCalls",
    "attempt",
    "declared_store",
    "store_for_plans",
    "view_of",
]

P = ParamSpec("P")
T = TypeVar("T")

Room: TypeAlias = bytearray | memoryview
LARGEST_READ: Final = 2**31 - 1
MOST_CONCURRENT: Final = 64
MOST_NAMES: Final = 1_000_000


def attempt(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
    """Call foreign code; return its result or the exception that it raised.

    ``KeyboardInterrupt`` and other ``BaseException`` pass. This is the only place of the package
    that catches every exception.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the seam: foreign code may raise anything
        return error


def _vendor_error(error: Exception, doing: str, path: str | None) -> RestoreError:
    """Translate a vendor's exception; ``hresult`` and ``retryable`` stay (CC-ERR).

    Errors of the store's side pass unchanged. Others of ours do not: they may have come out of a
    job that the vendor runs inside its method, and say nothing about this one.
    """
    if isinstance(error, Cancelled):
        return error
    if isinstance(error, StoreError):
        # A vendor may raise one object again and again: its fields are filled in on a copy.
        own = error.for_file(error.file or "").with_traceback(error.__traceback__)
        own.file = error.file
        return own.at(container=path)
    if isinstance(error, FileNotFoundError) and path is not None:
        found: StoreError = ContainerNotFoundError(
            f"container {path} is not in the backup", container=path
        )
    else:
        found = StoreReadError(
            f"the store failed to {doing}: {type(error).__name__}: {error}", container=path
        )
    found.__cause__ = error
    hresult = getattr(error, "hresult", None)
    if type(hresult) is int:
        found.hresult = hresult
    found.retryable = getattr(error, "retryable", True) is True
    return found


def _found(store: object, name: str, default: object = None) -> object:
    """Return an attribute of a vendor's store, or the default.

    The protocols are not asked with ``isinstance``: what that finds in an object that hands
    attributes through (a wrapper) depends on the version of Python.

    Raises:
        StoreContractError: Getting it raised anything but AttributeError.
    """
    value = attempt(getattr, store, name, default)
    if isinstance(value, Exception):
        raise StoreContractError(
            f"{type(store).__name__}.{name} raised {type(value).__name__}: {value}"
        ) from value
    return value


def _method(store: object, name: str) -> Callable[..., object] | None:
    found = _found(store, name)
    return found if callable(found) else None


def _declared(store: object, name: str, *, default: int, low: int, high: int) -> int:
    value = _found(store, name)
    if value is None:
        return default
    if type(value) is not int or not low <= value <= high:
        raise StoreContractError(f"{name} must be an int from {low} to {high}, not {value!r}")
    return value


def _declared_timeout(store: object) -> float | None:
    value = _found(store, "read_timeout", DEFAULT_TIMEOUT)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return value
    raise StoreContractError(f"read_timeout must be above 0, not {value!r}")


def _delay(seconds: object) -> float:
    """Return a vendor's delay; what is no number to wait for counts as none."""
    if isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds > 0:
        return float(seconds)
    return 0.0


def view_of(answer: object) -> memoryview:
    """Return the bytes of any object with a contiguous buffer; others raise as they like."""
    view = memoryview(cast("ReadableBuffer", answer))
    if not view.c_contiguous:
        raise BufferError
    return view.cast("B")


def declared_store(store: object) -> StoreId | None:
    """Return the identity that a vendor's store declares, or None.

    Raises:
        StoreContractError: It declares something else.
    """
    value = _found(store, "store_id")
    if value is None or isinstance(value, StoreId):
        return value
    raise StoreContractError(f"store_id must be a UUID or None, not {value!r}")


def store_for_plans(store: BackupStore) -> BackupStore:
    """Return what a plan calls: ``for_plans`` of a store whose calls cost something, or the store.

    Raises:
        StoreContractError: Getting it raised anything but AttributeError.
    """
    found = _found(store, "for_plans")
    return store if found is None else cast("BackupStore", found)


class StoreCalls:
    """One vendor store, bound for one job.

    Attributes:
        concurrent_reads: Reads that may be in flight at once.
        max_gap: The store's hint, or 4096.
        max_read: The store's hint, or 8 MiB.
        read_timeout: Seconds for one read, or None for no limit.
        reads_made: Reads so far, continuations included.
    """

    def __init__(self, store: BackupStore) -> None:
        """Look for the optional methods and read the declarations.

        Raises:
            StoreContractError: ``read_backup_file`` is missing or a declaration is no number in
                range.
        """
        read = _method(store, "read_backup_file")
        if read is None:
            raise StoreContractError(f"{type(store).__name__} has no read_backup_file method")
        self._read = read
        self._read_into = _method(store, "read_backup_file_into")
        self._order = _method(store, "order_containers_restore")
        self._preview = _method(store, "preview_container_read")
        self._list = _method(store, "list_containers")
        self.concurrent_reads = _declared(
            store, "concurrent_reads", default=1, low=1, high=MOST_CONCURRENT
        )
        self.max_gap = _declared(store, "max_gap", default=DEFAULT_GAP, low=0, high=LARGEST_READ)
        self.max_read = _declared(store, "max_read", default=DEFAULT_READ, low=1, high=LARGEST_READ)
        self.read_timeout = _declared_timeout(store)
        self._count = threading.Lock()
        self.reads_made = 0

    @property
    def reads_into(self) -> bool:
        """Whether the store fills buffers of ours."""
        return self._read_into is not None

    def order(self, containers: Sequence[StorePath], most: int) -> list[ContainerExtent] | None:
        """Ask for the order of a round (CC-ORDER).

        Args:
            containers: Distinct paths, sorted.
            most: Entries accepted; one more is taken so that the plan sees the excess.

        Returns:
            The answer, taken over as a list, or None to choose ourselves.

        Raises:
            StoreError: The vendor failed.
            Cancelled: The vendor cancels the job.
        """
        if self._order is None:
            return None

        answer = attempt(self._order, tuple(containers))
        if answer is None or isinstance(answer, NotImplementedError):
            return None
        if isinstance(answer, Exception):
            raise _vendor_error(answer, "order containers", None)

        def take(answer: Iterable[ContainerExtent]) -> list[ContainerExtent]:
            return list(itertools.islice(iter(answer), most + 1))

        # The answer may be a generator: its code runs here, inside the seam, and is bounded.
        taken = attempt(take, cast("Iterable[ContainerExtent]", answer))
        if isinstance(taken, TypeError):
            raise StoreContractError(
                f"order_containers_restore returned {type(answer).__name__}, no sequence"
            ) from taken
        if isinstance(taken, Exception):
            raise _vendor_error(taken, "order containers", None)
        return taken

    def preview(self, path: StorePath, reads: Sequence[FileExtent]) -> RestoreError | None:
        """Preview the reads of one extent (CC-PREVIEW).

        Returns:
            None if accepted; the error to report where it is not fatal.

        Raises:
            NotReadyError: The extent has to wait.
            Cancelled: The vendor cancels the job.
        """
        if self._preview is None:
            return None
        answer = attempt(self._preview, path, reads)
        if isinstance(answer, NotReadyError):
            raise NotReadyError(answer.message, retry_after=_delay(answer.retry_after)) from answer
        if isinstance(answer, Cancelled):
            raise answer
        if isinstance(answer, NotImplementedError) or not isinstance(answer, Exception):
            return None
        return _vendor_error(answer, "take a preview", path)

    def read(self, path: StorePath, offset: int, size: int, room: Room | None) -> memoryview:
        """Read exactly ``size`` bytes, continuing short answers (CC-READ, CC-SIZE).

        Args:
            path: The container.
            offset: First byte.
            size: Bytes wanted.
            room: Buffer of at least ``size`` bytes for everything that is not immutable.

        Returns:
            The bytes; a view of ``room`` or of the vendor's own ``bytes``.

        Raises:
            StoreError: The vendor failed, or broke the contract.
            Cancelled: The vendor cancels the job.
        """
        first = self._read_some(path, offset, size, room, 0)
        if len(first) == size:
            return first
        target = memoryview(bytearray(size) if room is None else room)
        got = len(first)
        target[:got] = first
        most = 4 + size // 4096
        for _ in range(most):
            if not got:
                break
            piece = self._read_some(path, offset + got, size - got, target, got)
            if not len(piece):
                break
            target[got : got + len(piece)] = piece
            got += len(piece)
            if got == size:
                return target[:size]
        raise ShortReadError(
            f"the store gave {got} of {size} bytes", wanted=size, got=got, container=path,
            offset=offset,
        )  # fmt: skip

    def _read_some(
        self, path: StorePath, offset: int, size: int, room: Room | None, at: int
    ) -> memoryview:
        with self._count:
            self.reads_made += 1
        if self._read_into is not None and room is not None:
            view = memoryview(room)[at : at + size]
            count = attempt(self._read_into, path, offset, view)
            if isinstance(count, Exception):
                raise _vendor_error(count, "read", path)
            if type(count) is not int or not 0 <= count <= size:
                raise StoreContractError(
                    f"read_backup_file_into returned {count!r} for {size} bytes",
                    container=path,
                    offset=offset,
                )
            return view[:count]
        answer = attempt(self._read, path, offset, size)
        return self._checked(answer, path=path, offset=offset, size=size, room=room, at=at)

    def _checked(
        self,
        answer: object,
        *,
        path: StorePath,
        offset: int,
        size: int,
        room: Room | None,
        at: int,
    ) -> memoryview:
        if isinstance(answer, Exception):
            raise _vendor_error(answer, "read", path)
        if type(answer) is bytes and len(answer) <= size:
            return memoryview(answer)
        view = attempt(view_of, answer)
        if isinstance(view, Exception):
            raise StoreContractError(
                f"read_backup_file returned {type(answer).__name__}, no contiguous bytes",
                container=path,
                offset=offset,
            )
        # The vendor may go on writing into a mutable buffer: only our copy is hashed and written.
        # The view is let go at once, also by errors: while it lives, the vendor cannot resize.
        with view:
            count = len(view)
            if count > size:
                raise StoreContractError(
                    f"read_backup_file returned {count} bytes instead of {size}",
                    container=path,
                    offset=offset,
                )
            if room is None:
                return memoryview(bytes(view))
            room[at : at + count] = view
            return memoryview(room)[at : at + count]

    def list_folder(self, folder: StorePath) -> tuple[str, ...]:
        """Return the names in a folder, empty where the store cannot or will not list.

        Raises:
            Cancelled: The vendor cancels the job.
        """
        if self._list is None:
            return ()

        def ask(listing: Callable[..., object]) -> tuple[str, ...]:
            names = itertools.islice(iter(cast("Iterable[object]", listing(folder))), MOST_NAMES)
            return tuple(name for name in names if type(name) is str)

        names = attempt(ask, self._list)
        if isinstance(names, Cancelled):
            raise names
        return () if isinstance(names, Exception) else names


class ObserverCalls:
    """The caller's observer; an exception out of it disables it and is reported."""

    def __init__(self, observer: RestoreObserver | None) -> None:
        """Bind the observer, if there is one."""
        self._observer = observer
        self.failure: Exception | None = None

    @property
    def active(self) -> bool:
        """Whether somebody listens."""
        return self._observer is not None

    def __call__(self, event: RestoreEvent) -> None:
        """Pass on one event."""
        if self._observer is None:
            return
        answer = attempt(self._observer.on_event, event)
        if isinstance(answer, Exception):
            self._observer = None
            self.failure = answer

    def notice(self, message: str) -> None:
        """Pass on one line for people."""
        self(Notice(message))
