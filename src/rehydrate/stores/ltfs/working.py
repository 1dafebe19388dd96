"""A drive that works by itself: a thread that mounts, winds and reads in the order of the previews.

Whoever reads only waits for results. The engine starts reads in the order of the previews, but its
threads may arrive in another one, and reads that are not wanted any more never arrive. So the
thread does not follow the arrivals: it makes the reads as they were previewed, keeps what was not
asked for yet, and leaves out what cannot be asked for any more. Nothing ever waits for a read
that might not come.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from rehydrate.errors import StoreError, StoreReadError
from rehydrate.stores.ltfs.mounting import Drive
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import StorePath

__all__ = ["Place", "WorkingDrive"]

T = TypeVar("T")

Place: TypeAlias = tuple[StorePath, int, int]
"""A read: container, first byte, size."""
_AHEAD: Final = 2  # reads that are made before it is known that they have begun


@attrs.define(eq=False)
class _Call(Generic[T]):
    """Something to do, and who waits for it; in the context of who asked."""

    work: Callable[[], T]
    future: "Future[T]" = attrs.field(factory=Future)
    context: contextvars.Context = attrs.field(factory=contextvars.copy_context)

    def make(self) -> None:
        try:
            self.future.set_result(self.context.run(self.work))
        except BaseException as error:  # noqa: BLE001 - handed to who asked
            self.future.set_exception(error)


@attrs.define(eq=False)
class _Mount:
    volume: LtfsVolume
    call: _Call[None]


@attrs.define(eq=False)
class _Read:
    number: int
    place: Place
    call: _Call[bytes]
    claimed: bool = False
    dropped: bool = False


@attrs.define(eq=False)
class _Visit:
    """An extent that was previewed: where to go, and what to read there."""

    go: Callable[[], None]
    reads: deque[_Read]
    went: bool = False
    failed: bool = False


class WorkingDrive:
    """A drive and its thread; all methods may be called from any thread."""

    def __init__(self, drive: Drive, *, in_flight: int, name: str) -> None:
        """Bind; the thread begins with the first thing to do.

        Args:
            drive: The drive; nobody else uses it.
            in_flight: Most reads that are asked for at a time.
            name: Name of the thread.
        """
        self._drive, self._in_flight, self._name = drive, in_flight, name
        self._changed = threading.Condition()
        self._agenda: deque[_Visit | _Mount] = deque()
        self._urgent: deque[_Call[bytes]] = deque()
        self._mounts: deque[_Mount] = deque()  # those to come, and the one that is made
        self._planned: dict[Place, _Read] = {}
        self._coming: deque[_Read] = deque()  # planned, and not known to have begun
        self._open: dict[int, _Read] = {}  # begun, and not asked for yet
        self._count = self._horizon = 0  # reads planned, and those that have begun of them
        self._thread: threading.Thread | None = None
        self._mounting = self._busy = self._stopped = False

    @property
    def drive(self) -> Drive:
        """The drive."""
        return self._drive

    @property
    def target(self) -> LtfsVolume | None:
        """The volume that will be in the drive when everything so far is done."""
        with self._changed:
            return self._mounts[-1].volume if self._mounts else self._drive.volume

    def has(self, volume: LtfsVolume) -> bool:
        """Return whether a volume is in the drive, or will be.

        Args:
            volume: The volume.
        """
        with self._changed:
            return self._drive.volume is volume or any(
                mount.volume is volume for mount in self._mounts
            )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do, so that the drive may be asked something."""
        with self._changed:
            return not (self._agenda or self._urgent or self._mounts or self._busy)

    def mount(self, volume: LtfsVolume) -> "Future[None]":
        """Have a volume mounted when everything before is done.

        Args:
            volume: The volume.

        Returns:
            Done when it is mounted, or cannot be had.
        """
        with self._changed:
            if self._mounts and self._mounts[-1].volume is volume:
                return self._mounts[-1].call.future
            mount = _Mount(volume, _Call(partial(self._put_in, volume)))
            future = mount.call.future
            if self._stopped:
                future.set_exception(_closed())
            elif not self._mounts and self._drive.volume is volume:
                future.set_result(None)
            else:
                self._mounts.append(mount)
                self._agenda.append(mount)
                self._wake()
        return future

    def visit(
        self,
        go: Callable[[], None],
        places: Sequence[Place],
        fetch: Callable[[Place], bytes],
    ) -> None:
        """Take an extent over: go there, and read, when everything before is done.

        Args:
            go: Goes there; what it raises is of no interest, as the reads say it again.
            places: Its reads.
            fetch: Makes a read.
        """
        with self._changed:
            reads = [
                _Read(self._count + at, place, _Call(partial(fetch, place)))
                for at, place in enumerate(places)
            ]
            self._count += len(reads)
            self._agenda.append(_Visit(go, deque(reads)))
            self._coming.extend(reads)
            self._planned.update((read.place, read) for read in reads)
            self._wake()

    def all_begun(self) -> None:
        """Learn that all reads of the visits so far have begun, or will never be asked for."""
        with self._changed:
            self._begun(self._count)

    def read(self, place: Place, fetch: Callable[[Place], bytes]) -> bytes:
        """Return the bytes of a read; one that no visit announced is made next.

        Args:
            place: The read.
            fetch: Makes it.

        Raises:
            StoreError: It cannot be read, or the store was closed meanwhile.
        """
        with self._changed:
            if self._stopped:
                raise _closed()
            planned = self._planned.pop(place, None)
            if planned is None:
                call = _Call(partial(fetch, place))
                self._urgent.append(call)
            else:
                planned.claimed = True
                self._open.pop(planned.number, None)
                call = planned.call
                self._begun(planned.number + 1)
            self._wake()
        return call.future.result()

    def forget(self) -> None:
        """Drop the visits so far: another round begins, and nobody waits for their reads."""
        with self._changed:
            visits = [item for item in self._agenda if isinstance(item, _Visit)]
            self._agenda = deque(item for item in self._agenda if isinstance(item, _Mount))
            self._planned.clear()
            self._coming.clear()
            self._open.clear()
            self._horizon = self._count
        for read in (read for visit in visits for read in visit.reads):
            if read.claimed:  # by a job that was cancelled
                read.call.future.set_exception(_closed())

    def close(self) -> None:
        """Give the drive back when it is done with what it does; a mount is not waited for."""
        with self._changed:
            self._stopped = True
            waiting: list[Future[bytes] | Future[None]] = []
            waiting += [call.future for call in self._urgent]
            for item in self._agenda:
                if isinstance(item, _Mount):
                    waiting.append(item.call.future)
                else:
                    waiting += [read.call.future for read in item.reads]
            self._agenda.clear()
            self._urgent.clear()
            thread = None if self._mounting else self._thread
            if self._thread is None:
                self._drive.close()
            self._changed.notify_all()
        for future in waiting:
            future.set_exception(_closed())
        if thread is not None:
            thread.join()

    def _begun(self, count: int) -> None:
        """Drop what cannot be asked for any more.

        Reads begin in order, and only so many are in flight: of those that have begun and were not
        asked for, all but so many never will be.
        """
        self._horizon = max(self._horizon, count)
        while self._coming and self._coming[0].number < self._horizon:
            read = self._coming.popleft()
            if not read.claimed:
                self._open[read.number] = read
        while len(self._open) > self._in_flight:
            self._drop(self._open[next(iter(self._open))])
        self._changed.notify_all()

    def _drop(self, read: _Read) -> None:
        read.dropped = True
        self._open.pop(read.number, None)
        if self._planned.get(read.place) is read:
            del self._planned[read.place]

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
        self._drive.close()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; ``None`` = no more."""
        with self._changed:
            while not self._stopped:
                work = self._urgent.popleft().make if self._urgent else self._on_agenda()
                self._busy = work is not None
                if work is not None:
                    return work
                self._changed.wait()
        return None

    def _on_agenda(self) -> Callable[[], None] | None:
        while self._agenda:
            item = self._agenda[0]
            if isinstance(item, _Mount):
                self._agenda.popleft()
                self._mounting = True
                return partial(self._mount, item)
            found = self._of_visit(item)
            if found is not None or item.reads:
                return found
            self._agenda.popleft()
        return None

    def _of_visit(self, visit: _Visit) -> Callable[[], None] | None:
        """Return what a visit wants next; ``None`` = nothing now, or no more."""
        while visit.reads:
            read = visit.reads[0]
            begun = read.number < self._horizon
            if visit.failed and begun and not read.claimed:
                self._drop(read)  # it may not come, and reading what is bad takes minutes
            if read.dropped:
                visit.reads.popleft()
                continue
            if not visit.went:
                visit.went = True
                return partial(_go, visit.go)
            if not begun and (visit.failed or read.number >= self._horizon + _AHEAD):
                return None
            visit.reads.popleft()
            return partial(_make, visit, read)
        return None

    def _put_in(self, volume: LtfsVolume) -> None:
        self._drive.reader(volume)

    def _mount(self, mount: _Mount) -> None:
        mount.call.make()
        with self._changed:
            self._mounts.remove(mount)
            self._mounting = False


def _closed() -> StoreReadError:
    return StoreReadError("the store was closed", code="tape.closed", retryable=False)


def _go(go: Callable[[], None]) -> None:
    call: _Call[None] = _Call(go)
    call.make()


def _make(visit: _Visit, read: _Read) -> None:
    read.call.make()
    visit.failed = visit.failed or isinstance(read.call.future.exception(), StoreError)
