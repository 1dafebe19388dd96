"""Wrappers around a store: record its calls, fail some of them, cut answers, shuffle orders.

A wrapper has exactly the optional methods and declarations of the store inside, so that putting it
around a store changes nothing but what it is there for. The counters of a :class:`RecordingStore`
are what a store really saw, independent of the engine's own figures.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

import attrs

from rehydrate.protocols import BackupStore
from rehydrate.values import MAX_OFFSET, ContainerExtent, FileExtent, ReadableBuffer, StorePath

__all__ = ["CALLS", "Call", "CuttingStore", "FailingStore", "RecordingStore", "ShufflingStore"]

READ: Final = "read_backup_file"
READ_INTO: Final = "read_backup_file_into"
ORDER: Final = "order_containers_restore"
PREVIEW: Final = "preview_container_read"
LIST: Final = "list_containers"
CALLS: Final = (READ, READ_INTO, ORDER, PREVIEW, LIST)
"""Names of all methods that the engine calls."""


@attrs.frozen
class Call:
    """One call of the engine.

    Attributes:
        name: Name of the method.
        path: The container or folder; ``None`` for an order call.
        offset: First byte of a read, else 0.
        size: Bytes asked for in a read, else 0.
        got: Bytes that a read gave, 0 if it raised.
        containers: Argument of an order call.
        reads: Argument of a preview.
        thread: Identity of the calling thread.
    """

    name: str
    path: StorePath | None = None
    offset: int = 0
    size: int = 0
    got: int = 0
    containers: tuple[StorePath, ...] = ()
    reads: tuple[FileExtent, ...] = ()
    thread: int = 0


class _Wrapper:
    """Hands everything to the store inside; methods of the call contract go through ``_call``."""

    def __init__(self, inner: BackupStore) -> None:
        self._inner = inner

    def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
        raise NotImplementedError

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read through the wrapper."""
        answer = self._call(READ, self._inner.read_backup_file, path, offset, size)
        return cast("ReadableBuffer", answer)

    def __getattr__(self, name: str) -> object:
        """Return what the store inside has, wrapped if the engine calls it."""
        found = getattr(self._inner, name)
        if name not in CALLS or not callable(found):
            return found
        return lambda *args: self._call(name, found, *args)


class RecordingStore(_Wrapper):
    """Records every call.

    Attributes:
        calls: The calls in the order in which they began; reads get ``got`` when they return.
        most_in_flight: Most calls that were in flight at the same time.
    """

    def __init__(self, inner: BackupStore) -> None:
        """Watch ``inner``."""
        super().__init__(inner)
        self.calls: list[Call] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._lock = threading.Lock()

    def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
        with self._lock:
            at = len(self.calls)
            self.calls.append(_describe(name, args))
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        got = 0
        try:
            answer = method(*args)
            got = _bytes_in(answer)
            return answer
        finally:
            with self._lock:
                self._in_flight -= 1
                self.calls[at] = attrs.evolve(self.calls[at], got=got)

    def named(self, *names: str) -> list[Call]:
        """Return the calls of some methods."""
        return [call for call in self.calls if call.name in names]

    @property
    def orders(self) -> list[tuple[StorePath, ...]]:
        """The argument of each order call."""
        return [call.containers for call in self.named(ORDER)]

    @property
    def previews(self) -> list[Call]:
        """The previews."""
        return self.named(PREVIEW)

    @property
    def reads(self) -> list[Call]:
        """The reads, into buffers or not."""
        return self.named(READ, READ_INTO)

    @property
    def bytes_given(self) -> int:
        """Sum of what all reads gave."""
        return sum(call.got for call in self.reads)


def _bytes_in(answer: object) -> int:
    """Return how many bytes a read gave; an answer that is wrong is the engine's to judge."""
    if type(answer) is int:
        return answer
    with contextlib.suppress(Exception), memoryview(cast("ReadableBuffer", answer)) as view:
        return view.nbytes
    return 0


def _describe(name: str, args: Sequence[object]) -> Call:
    thread = threading.get_ident()
    if name == ORDER:
        return Call(name, containers=tuple(cast("Sequence[StorePath]", args[0])), thread=thread)
    path = cast("StorePath", args[0])
    if name == PREVIEW:
        return Call(name, path, reads=tuple(cast("Sequence[FileExtent]", args[1])), thread=thread)
    if name == LIST:
        return Call(name, path, thread=thread)
    offset = cast("int", args[1])
    size = cast("int", args[2]) if name == READ else len(cast("memoryview", args[2]))
    return Call(name, path, offset, size, thread=thread)


class FailingStore(_Wrapper):
    """Raises at call number ``at`` of some methods, once or from then on.

    Attributes:
        seen: Calls of these methods so far.
    """

    def __init__(
        self,
        inner: BackupStore,
        error: Callable[[], BaseException],
        *,
        at: int = 0,
        once: bool = True,
        names: Sequence[str] = (READ, READ_INTO),
        path: StorePath | None = None,
    ) -> None:
        """Prepare the fault.

        Args:
            inner: The store.
            error: Makes the exception; called for each failure.
            at: Number of the first call that fails, from 0.
            once: Fail only that call; otherwise all from then on.
            names: Methods that are counted.
            path: Count only calls for this container.
        """
        super().__init__(inner)
        self._error, self._at, self._once = error, at, once
        self._names, self._path = names, path
        self._lock = threading.Lock()
        self.seen = 0

    def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
        if name in self._names and (self._path is None or args[0] == self._path):
            with self._lock:
                number = self.seen
                self.seen += 1
            if number == self._at or (number > self._at and not self._once):
                raise self._error()
        return method(*args)


class CuttingStore(_Wrapper):
    """Gives at most ``most`` bytes in one answer: short, but in progress."""

    def __init__(self, inner: BackupStore, most: int) -> None:
        """Cut the answers of ``inner`` at ``most`` bytes, at least 1."""
        super().__init__(inner)
        self._most = most

    def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
        if name == READ:
            path, offset, size = args
            return method(path, offset, min(cast("int", size), self._most))
        if name == READ_INTO:
            path, offset, buffer = args
            return method(path, offset, cast("memoryview", buffer)[: self._most])
        return method(*args)


class ShufflingStore(_Wrapper):
    """Answers order calls with extents in a random order, containers cut into random pieces."""

    def __init__(
        self, inner: BackupStore, seed: int, *, cuts: int = 3, span: int = 1 << 16
    ) -> None:
        """Shuffle.

        Args:
            inner: The store; its own order is not asked for.
            seed: Decides everything.
            cuts: Most cuts in one container.
            span: Cuts lie below this offset.
        """
        super().__init__(inner)
        self._random = random.Random(seed)  # noqa: S311 - test data needs a seed, not secrecy
        self._cuts, self._span = cuts, span

    def _call(self, name: str, method: Callable[..., object], *args: object) -> object:
        del name
        return method(*args)

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return all containers in pieces, shuffled."""
        extents = [
            ContainerExtent(index=index, offset=start, length=end - start)
            for index in range(len(containers))
            for start, end in self._pieces()
        ]
        self._random.shuffle(extents)
        return extents

    def _pieces(self) -> Iterator[tuple[int, int]]:
        count = self._random.randint(0, self._cuts)
        cuts = sorted({self._random.randrange(1, self._span) for _ in range(count)})
        return zip([0, *cuts], [*cuts, MAX_OFFSET], strict=True)
