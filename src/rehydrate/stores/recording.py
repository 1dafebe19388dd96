"""The trace of a store: every call with its time, as JSON lines, to be looked at and played again.

A line is one call: ``call`` (``order``, ``preview``, ``read``, ``list``), its arguments, ``begin`` in
seconds since the trace began, ``seconds`` it took, and ``error`` if it raised. Bytes are not kept.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import attrs

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.ports import Clock, SystemClock
from rehydrate.protocols import BackupStore
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import ContainerExtent, FileExtent, ReadableBuffer, StorePath

__all__ = ["Recording", "TraceSummary", "replay_trace", "summarise_trace"]

_CALLS: Final = {name: name for name in ("order", "preview", "read", "list")}
_LONGEST_LINE: Final = 1 << 28


class Recording(Wrapper):
    """Wraps a store and writes down each call after it returned or raised.

    The wrapper declares what the store declares, and calls it on the thread that called the wrapper.
    """

    def __init__(self, store: BackupStore, path: Path, *, clock: Clock | None = None) -> None:
        """Begin a trace; a file that is there is overwritten.

        Args:
            store: The store; not closed by the wrapper.
            path: File of the trace.
            clock: Measures the calls; the real one by default.

        Raises:
            StoreReadError: The file cannot be written.
        """
        super().__init__(store)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._lock = threading.Lock()
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise StoreReadError(
                f"cannot write the trace {path}: {error.strerror}", code="trace.write"
            ) from error
        self._start = self._clock.monotonic()

    def close(self) -> None:
        """End the trace; the store can go on being used, unrecorded."""
        with self._lock:
            self._file.close()

    @property
    def concurrent_reads(self) -> int:
        """What the store declares, or what the engine assumes."""
        return cast("int", getattr(self._store, "concurrent_reads", 1))

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> ReadableBuffer:
        """Read and record.

        Args:
            path: The container.
            offset: First byte.
            size: Number of bytes.
        """
        with self._recorded("read", path=path, offset=offset, size=size) as line:
            data = super().read_backup_file(path, offset, size)
            line["got"] = memoryview(data).nbytes
            return data

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Record the preview and hand it on, if the store takes previews.

        Args:
            path: The container.
            reads: Its reads.
        """
        shown = [[read.offset, read.length] for read in reads]
        with self._recorded("preview", path=path, reads=shown):
            super().preview_container_read(path, reads)

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent] | None:
        """Record the containers and the answer, ``None`` if the store orders nothing.

        Args:
            containers: The distinct containers of the round.
        """
        with self._recorded("order", containers=list(containers)) as line:
            answer = super().order_containers_restore(containers)
            if answer is not None:
                answer = tuple(answer)
                line["answer"] = [[entry.index, entry.offset, entry.length] for entry in answer]
            return answer

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Record and list; empty if the store cannot list.

        Args:
            folder: Store path of the folder.
        """
        with self._recorded("list", folder=folder) as line:
            found = super().list_containers(folder)
            line["names"] = len(found)
            return found

    @contextmanager
    def _recorded(self, call: str, **arguments: object) -> Iterator[dict[str, object]]:
        begin = self._clock.monotonic()
        line: dict[str, object] = {"call": call, **arguments}
        try:
            yield line
        except BaseException as error:
            line["error"] = str(getattr(error, "code", type(error).__name__))
            raise
        finally:
            line["begin"] = round(begin - self._start, 6)
            line["seconds"] = round(self._clock.monotonic() - begin, 6)
            self._write(line)

    def _write(self, line: Mapping[str, object]) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(line) + "\n")


@attrs.frozen(kw_only=True)
class TraceSummary:
    """What a trace holds.

    Attributes:
        orders: Order calls.
        previews: Previews.
        reads: Reads.
        errors: Calls that raised.
        bytes_read: Bytes that came.
        read_seconds: Seconds of all reads added up; more than the time passed if they overlap.
        seconds: From the first call to the end of the last.
        containers: Distinct containers read.
        backward: Reads that begin before the end of the read before them in the same container.
        switches: How often another container was read than before.
    """

    orders: int = 0
    previews: int = 0
    reads: int = 0
    errors: int = 0
    bytes_read: int = 0
    read_seconds: float = 0.0
    seconds: float = 0.0
    containers: int = 0
    backward: int = 0
    switches: int = 0


def summarise_trace(path: Path) -> TraceSummary:
    """Return the figures of a trace; lines are in the order in which calls ended.

    Args:
        path: File of the trace.

    Raises:
        CorruptMetadataError: The file is no trace.
        StoreReadError: It cannot be read.
    """
    counts = dict.fromkeys(_CALLS, 0)
    errors = got = backward = switches = 0
    read_seconds = end = 0.0
    ends: dict[str, int] = {}
    last: str | None = None
    for line in _lines(path):
        counts[line.call] += 1
        errors += line.failed
        end = max(end, line.begin + line.seconds)
        if line.call == "read":
            got += line.got
            read_seconds += line.seconds
            backward += line.offset < ends.get(line.path, 0)
            switches += last is not None and last != line.path
            ends[line.path], last = line.offset + line.size, line.path
    return TraceSummary(
        orders=counts["order"],
        previews=counts["preview"],
        reads=counts["read"],
        errors=errors,
        bytes_read=got,
        read_seconds=read_seconds,
        seconds=end,
        containers=len(ends),
        backward=backward,
        switches=switches,
    )


def replay_trace(path: Path, store: BackupStore) -> int:
    """Make the reads and previews of a trace again, one after the other.

    Args:
        path: File of the trace.
        store: Any store with these containers; wrap it in a :class:`Recording` to compare.

    Returns:
        Bytes that came.

    Raises:
        CorruptMetadataError: The file is no trace.
        StoreReadError: It cannot be read.
        Exception: Whatever the store raises.
    """
    preview = getattr(store, "preview_container_read", None)
    came = 0
    for line in _lines(path):
        if line.failed:
            continue
        if line.call == "read":
            data = store.read_backup_file(StorePath(line.path), line.offset, line.size)
            came += memoryview(data).nbytes
        elif line.call == "preview" and callable(preview):
            preview(StorePath(line.path), line.reads)
    return came


@attrs.frozen(kw_only=True)
class _Line:
    """One call of a trace."""

    call: str
    path: str
    offset: int
    size: int
    got: int
    begin: float
    seconds: float
    failed: bool
    reads: tuple[FileExtent, ...]


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            number = 0
            while text := file.readline(_LONGEST_LINE):
                number += 1
                yield _line(text, number)
    except OSError as error:
        raise StoreReadError(
            f"cannot read the trace {path}: {error.strerror}", code="trace.read"
        ) from error


def _line(text: str, number: int) -> _Line:
    try:
        found = json.loads(text)
        return _Line(
            call=_CALLS[found["call"]],
            path=str(found.get("path", "")),
            offset=int(found.get("offset", 0)),
            size=int(found.get("size", 0)),
            got=int(found.get("got", 0)),
            begin=float(found["begin"]),
            seconds=float(found["seconds"]),
            failed="error" in found,
            reads=tuple(FileExtent(offset, length) for offset, length in found.get("reads", ())),
        )
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CorruptMetadataError(
            f"line {number} of the trace is damaged", code="trace.corrupt"
        ) from error
