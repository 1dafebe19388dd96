"""What comes out of a restore: one status for each request, a report, and events on the way."""

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import (
    DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS,
    DDP_E_UNEXPECTED,
    S_FALSE,
    S_OK,
    RestoreError,
)

__all__ = [
    "AtTarget",
    "FileFinished",
    "FileResult",
    "FileStatus",
    "JobStarted",
    "Notice",
    "Progress",
    "ReadCounters",
    "RestoreEvent",
    "RestoreReport",
    "RoundStarted",
    "Waiting",
]


class FileStatus(enum.IntEnum):
    """What became of one request."""

    RESTORED = 1
    """The file (directory, link) stands at its target, complete and verified."""
    SKIPPED_SAME = 2
    """What stands there is the same already."""
    SKIPPED_EXISTS = 3
    """Something stands there and the policy is to leave it."""
    NOT_DEDUPLICATED = 4
    """The bytes given as a stub are not a stub of a format that we know; left alone."""
    STORE_VERSION = 5
    """Restored as the chunk store has it, on request, although the stub may hold newer data."""
    DAMAGED_PARTIAL = 6
    """Only on request: what could be read was put beside the target under another name."""
    CANCELLED = 7
    """Not restored because the job was cancelled; what is staged is kept."""
    FAILED = 8
    """Not restored; ``error`` says why, and what stood at the target is intact."""
    SKIPPED_LINK = 9
    """A symbolic link, and the policy is not to create any."""


GOOD: Final = frozenset(
    {FileStatus.RESTORED, FileStatus.SKIPPED_SAME, FileStatus.SKIPPED_EXISTS,
     FileStatus.SKIPPED_LINK, FileStatus.NOT_DEDUPLICATED, FileStatus.STORE_VERSION}
)  # fmt: skip


class AtTarget(enum.Enum):
    """What is at the target name after the call."""

    NEW = "new"
    OLD = "old"
    STUB = "stub"
    ABSENT = "absent"


@attrs.frozen
class FileResult:
    """The outcome of one request.

    Attributes:
        index: Position of the request in the call, from 0.
        target: Relative target path; bytes that are no text are escaped (``surrogateescape``).
        status: What became of it.
        at_target: What is at the target name now.
        size: Logical size in bytes; 0 for anything that is not a regular file.
        error: Why it failed, or which metadata could not be set on a published file.
        recall: ``"unchecked"`` when it was unknown whether the stub held newer data, else ``None``.
        metadata_lost: Names of metadata that were recorded and are not on the restored file.
    """

    index: int
    target: str
    status: FileStatus
    at_target: AtTarget
    size: int
    error: RestoreError | None = None
    recall: str | None = None
    metadata_lost: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do for this request."""
        return self.status in GOOD and self.error is None

    @property
    def hresult(self) -> int:
        """Result code of the file, as ``FileResults`` of the COM call would have it.

        A file that was published without some of its metadata was restored: ``S_OK``.
        """
        if self.status is FileStatus.NOT_DEDUPLICATED:
            return S_FALSE
        if self.status in GOOD:
            return S_OK
        return DDP_E_UNEXPECTED if self.error is None else self.error.hresult


@attrs.frozen(kw_only=True)
class ReadCounters:
    """What a job asked of the store.

    Attributes:
        order_calls: Calls of ``order_containers_restore`` (made or stood in for).
        previews: Accepted previews.
        reads: Reads made, continuations and failed ones included.
        bytes_read: Bytes received in the data phase.
        bytes_needed: Distinct bytes of needed data records.
        metadata_bytes: Bytes received in the stream phase.
        repair_bytes: Bytes received in repair rounds.
        container_visits: Changes from one data container to another, the first included.
        containers: Distinct data containers read.
        bytes_resumed: Logical bytes found staged and verified, thus not asked for.
    """

    order_calls: int = 0
    previews: int = 0
    reads: int = 0
    bytes_read: int = 0
    bytes_needed: int = 0
    metadata_bytes: int = 0
    repair_bytes: int = 0
    container_visits: int = 0
    containers: int = 0
    bytes_resumed: int = 0

    @property
    def amplification(self) -> float:
        """Bytes received per distinct needed byte, data containers only; 1.0 for an empty job."""
        return self.bytes_read / self.bytes_needed if self.bytes_needed else 1.0


@attrs.frozen(eq=False)
class RestoreReport:
    """The outcome of a job, held as columns: no object per success.

    Attributes:
        targets: Relative target path of each request, as bytes.
        statuses: :class:`FileStatus` number of each request, shape ``(n,)``.
        at_targets: Index into ``list(AtTarget)`` of each request, shape ``(n,)``.
        sizes: Logical size in bytes of each request, shape ``(n,)``.
        errors: Error by request index: failures, and metadata that could not be set.
        lost: Names of metadata not kept, by request index.
        unchecked: Request indexes whose recall state was unknown.
        counters: What was asked of the store.
        notices: Things said once for the whole job, such as owners that were not applied.
    """

    targets: Sequence[bytes]
    statuses: npt.NDArray[np.uint8]
    at_targets: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    errors: Mapping[int, RestoreError]
    lost: Mapping[int, tuple[str, ...]] = attrs.field(factory=dict)
    unchecked: frozenset[int] = frozenset()
    counters: ReadCounters = ReadCounters()
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.targets)

    def __getitem__(self, index: int) -> FileResult:
        """Return the result of request ``index`` (0 to ``len - 1``)."""
        return FileResult(
            index=index,
            target=self.targets[index].decode("utf-8", "surrogateescape"),
            status=FileStatus(int(self.statuses[index])),
            at_target=list(AtTarget)[int(self.at_targets[index])],
            size=int(self.sizes[index]),
            error=self.errors.get(index),
            recall="unchecked" if index in self.unchecked else None,
            metadata_lost=self.lost.get(index, ()),
        )

    @property
    def results(self) -> Iterator[FileResult]:
        """One result for each request, in the caller's order, made as you go."""
        return (self[index] for index in range(len(self)))

    @property
    def failures(self) -> Iterator[FileResult]:
        """The results that are not ``ok``, in the caller's order."""
        bad = ~np.isin(self.statuses, [int(status) for status in GOOD])
        indexes = {int(index) for index in np.flatnonzero(bad)} | set(self.errors)
        return (self[index] for index in sorted(indexes))

    @property
    def counts(self) -> Mapping[FileStatus, int]:
        """Number of requests by status; statuses that do not occur are missing."""
        found = Counter(self.statuses.tolist())
        return {FileStatus(status): count for status, count in sorted(found.items())}

    @property
    def ok(self) -> bool:
        """Whether every request is restored or needed nothing, metadata included."""
        return not any(True for _ in self.failures)

    @property
    def hresult(self) -> int:
        """Overall result code, as the COM call would return it (call contract, CC-ERR)."""
        counts = self.counts
        total = len(self)
        bad = total - sum(count for status, count in counts.items() if status in GOOD)
        if total and counts.get(FileStatus.NOT_DEDUPLICATED, 0) == total:
            return S_FALSE
        if bad == 0:
            return S_OK
        if bad < total:
            return DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS
        first = next(iter(self.failures)).error
        return DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS if first is None else first.hresult

    def raise_for_failures(self) -> None:
        """Raise all failures at once.

        Raises:
            ExceptionGroup: Of :class:`~rehydrate.RestoreError`, one for each request not ok.
        """
        errors = [result.error for result in self.failures if result.error is not None]
        if errors:
            msg = f"{len(errors)} of {len(self)} files were not restored"
            raise ExceptionGroup(msg, errors)


@attrs.frozen
class JobStarted:
    """The plan is made; nothing of the data phase was read yet.

    Attributes:
        files: Files that need bytes.
        bytes_to_write: Logical bytes to write.
        bytes_to_read: Bytes that will be asked of data containers.
    """

    files: int
    bytes_to_write: int
    bytes_to_read: int


@attrs.frozen
class RoundStarted:
    """A round begins.

    Attributes:
        kind: ``"stream"``, ``"data"`` or ``"repair"``.
        containers: Distinct containers of the round.
        reads: Reads planned.
        bytes_to_read: Bytes of these reads.
    """

    kind: str
    containers: int
    reads: int
    bytes_to_read: int


@attrs.frozen
class Progress:
    """How far the job is; at most ten a second.

    Attributes:
        files_done: Files published, skipped or failed.
        bytes_written: Logical bytes verified and written.
        bytes_read: Bytes received from data containers.
        container: Store path of the container that is read now, or ``None``.
    """

    files_done: int
    bytes_written: int
    bytes_read: int
    container: str | None


@attrs.frozen
class FileFinished:
    """One request is decided.

    Attributes:
        index: Position of the request.
        target: Relative target path.
        status: What became of it.
        error: Why it failed, or ``None``.
    """

    index: int
    target: str
    status: FileStatus
    error: RestoreError | None


@attrs.frozen
class Waiting:
    """Nothing can be read now: all that is left of the round is not ready.

    Sent before each wait that is the first, or whose numbers are new, or a minute after the last.

    Attributes:
        waiting: Extents that are not ready.
        extents: Extents of the round.
        seconds: Until the next of them is asked about.
        message: What the store says of that one.
    """

    waiting: int
    extents: int
    seconds: float
    message: str


@attrs.frozen
class Notice:
    """Something worth knowing that is no failure.

    Attributes:
        message: One line for people.
    """

    message: str


RestoreEvent = JobStarted | RoundStarted | Progress | FileFinished | Waiting | Notice
