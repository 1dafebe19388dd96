"""What a caller asks of a backup run, hears during it and gets from it."""

from collections.abc import Mapping
from typing import Protocol

import attrs

from rehydrate.requests import CancelToken

__all__ = [
    "OptimizeObserver",
    "OptimizeOptions",
    "OptimizeProgress",
    "OptimizeReport",
    "Skipped",
]


@attrs.frozen(kw_only=True)
class OptimizeOptions:
    """How to run; the defaults are what the command line uses.

    Attributes:
        jobs: Threads that hash and compress; 0 = one for each processor, at most 8.
        checkpoint_bytes: Source bytes between two checkpoints.
        checkpoint_seconds: Seconds between two checkpoints.
        checkpoint_chunks: New chunks between two checkpoints; bounds the memory of the run.
        cancel: Token that stops the run; what is stored stays, and the next run goes on from there.
    """

    jobs: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    checkpoint_bytes: int = attrs.field(default=4 << 30, validator=attrs.validators.ge(1))
    checkpoint_seconds: float = 60.0
    checkpoint_chunks: int = attrs.field(default=400_000, validator=attrs.validators.ge(1))
    cancel: CancelToken | None = None


@attrs.frozen(kw_only=True)
class OptimizeProgress:
    """How far a run is; at most ten a second.

    Attributes:
        files_done: Entries decided, unchanged ones included.
        bytes_done: Source bytes read.
        new_bytes: Bytes added to data containers.
        path: Source path that is read now.
    """

    files_done: int
    bytes_done: int
    new_bytes: int
    path: bytes


class OptimizeObserver(Protocol):
    """Watches a run."""

    def on_progress(self, progress: OptimizeProgress, /) -> None:
        """Take notice; called from the thread of the run. An exception ends the run."""
        ...


@attrs.frozen
class Skipped:
    """A path of the source that is not (whole) in the version.

    Attributes:
        path: Path relative to the source.
        reason: Why, for people.
        failed: Whether it should have been possible: unreadable, as against a kind of file that
            is not stored.
    """

    path: bytes
    reason: str
    failed: bool


@attrs.frozen(kw_only=True)
class OptimizeReport:
    """The outcome of a run.

    Attributes:
        version: Number of the version.
        entries: Entries in the version.
        files: Regular files among them.
        unchanged: Entries taken over from the parent version without opening the file.
        logical_bytes: Sum of the sizes of files, hard links counted once.
        read_bytes: Source bytes read.
        new_bytes: Bytes added to data containers, headers included.
        new_chunks: Chunks stored.
        reused_bytes: Logical bytes read and found in the store.
        zero_bytes: Logical bytes in runs of zeros and in holes: neither stored nor reused.
        segments: Catalogue segments of the version.
        reused_segments: Those shared with the parent version.
        checkpoints: Partial versions published on the way.
        skipped: What is missing and why, in source order.
        inconsistent: Files that changed each time they were read.
        left_attributes: Extended attributes that are not stored, by name: count of entries.
        damaged_containers: Containers found damaged and not used any more.
    """

    version: int
    entries: int
    files: int
    unchanged: int
    logical_bytes: int
    read_bytes: int
    new_bytes: int
    new_chunks: int
    reused_bytes: int
    zero_bytes: int
    segments: int
    reused_segments: int
    checkpoints: int
    skipped: tuple[Skipped, ...]
    inconsistent: tuple[bytes, ...]
    left_attributes: Mapping[bytes, int]
    damaged_containers: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that can be stored is stored as it was at one moment."""
        return not self.inconsistent and not any(skip.failed for skip in self.skipped)
