"""A backup run: one source tree becomes one version of a store."""

import os
from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.errors import Cancelled, DurabilityError, LimitError
from rehydrate.formats.native.catalogue import Manifest
from rehydrate.ingest.blocks import Pipeline
from rehydrate.ingest.builds import FileBuild
from rehydrate.ingest.content import EntryReader
from rehydrate.ingest.cutting import Cutter
from rehydrate.ingest.index import LazyIndex
from rehydrate.ingest.parent import Finding, Kept, Parent, Shared, ToRead, compare
from rehydrate.ingest.report import (
    OptimizeObserver,
    OptimizeOptions,
    OptimizeProgress,
    OptimizeReport,
    Skipped,
)
from rehydrate.ingest.segments import SegmentWriter
from rehydrate.ingest.source import SourceTree, reason_of
from rehydrate.ingest.store import StoreWriter, World, opened_store
from rehydrate.ingest.suspicion import Suspicion, known_damage
from rehydrate.ingest.versions import source_name

__all__ = ["optimize"]

_SYNC_ATTEMPTS: Final = 3
_MOST_WAITING: Final = 16_384
"""Entries that may wait for bytes that are on their way."""
_MOST_JOBS: Final = 8
_EVENT_SECONDS: Final = 0.1
_FILE_TYPE: Final = 0o170000
_REGULAR: Final = 0o100000


def optimize(
    source: str | bytes | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    options: OptimizeOptions | None = None,
    observer: OptimizeObserver | None = None,
    world: World | None = None,
) -> OptimizeReport:
    """Store a source tree as a new version.

    The source is never changed. Entries that have not changed since the last version of the same
    source are taken over without opening them.

    Args:
        source: Directory (or single file) to store.
        store: Directory of an existing store.
        options: How to run.
        observer: Told how far the run is.
        world: The ports to use on the store.

    Returns:
        What was done, and what could not be done.

    Raises:
        StoreError: There is no such store or source, or another process writes to the store.
        FormatError: The store is damaged or newer than this release.
        PublishError: A write failed; what was published before is intact.
        DurabilityError: Syncs failed again and again.
        Cancelled: The token was used; a checkpoint was made and the next run goes on from it.
    """
    options = options or OptimizeOptions()
    world = world or World()
    abandoned: set[str] = set()
    for attempt in range(_SYNC_ATTEMPTS):
        try:
            with opened_store(store, world, abandoned) as writer:
                tree = SourceTree(source)
                try:
                    tree.exclude(store, "it is the store itself")
                    run = _Run(tree, writer, options, observer, source_name(source))
                    try:
                        return run.run()
                    finally:
                        run.close()
                finally:
                    tree.close()
        except DurabilityError as error:
            # What was written since the last checkpoint is unproven: it is stored again, elsewhere.
            if attempt == _SYNC_ATTEMPTS - 1:
                raise
            abandoned.add(error.container or "")
    msg = "no attempt was made"
    raise RuntimeError(msg)


class _Tally:
    """Counts files and their bytes, hard links once."""

    def __init__(self) -> None:
        self.files = 0
        self.logical_bytes = 0
        self._linked: set[tuple[int, int]] = set()

    def add(self, stats: npt.NDArray[np.void]) -> None:
        regular = stats[stats["mode"] & _FILE_TYPE == _REGULAR]
        self.files += len(regular)
        single = regular["nlink"] == 1
        self.logical_bytes += int(regular["size"][single].sum())
        for row in regular[~single]:
            self._add_linked((int(row["device"]), int(row["inode"])), int(row["size"]))

    def add_one(self, stats: np.void) -> None:
        """As :meth:`add` for one entry, without the cost of columns."""
        if stats["mode"] & _FILE_TYPE != _REGULAR:
            return
        self.files += 1
        if stats["nlink"] == 1:
            self.logical_bytes += int(stats["size"])
        else:
            self._add_linked((int(stats["device"]), int(stats["inode"])), int(stats["size"]))

    def _add_linked(self, key: tuple[int, int], size: int) -> None:
        if key not in self._linked:
            self._linked.add(key)
            self.logical_bytes += size


class _Run:
    """One attempt at one version."""

    def __init__(
        self,
        tree: SourceTree,
        store: StoreWriter,
        options: OptimizeOptions,
        observer: OptimizeObserver | None,
        source: bytes,
    ) -> None:
        self._tree = tree
        self._store = store
        self._options = options
        self._observer = observer
        self._source = source
        self._clock = store.world.clock
        self._created_ns = self._clock.time_ns()
        damaged = known_damage(store.world.files, store.folders)
        self._index = LazyIndex(store, damaged)
        self._pipeline = Pipeline(store, self._index.find, options.jobs or _processors())
        self._reader = EntryReader(
            tree,
            self._pipeline,
            Cutter(store.configuration.chunker),
            store.configuration.store,
            pause=self._pause,
        )
        manifests = _ancestors(store, source)
        self._number, self._parent_number = _numbers(store, manifests)
        self._parent = Parent(store, manifests, Suspicion(store, damaged))
        self._segments = SegmentWriter(store, self._parent.known())
        self._waiting: deque[tuple[bytes, bytes | FileBuild] | Shared] = deque()
        self._links: dict[tuple[int, int], FileBuild] = {}
        self._tally = _Tally()
        self._unchanged = 0
        self._done = 0
        self._checkpoints = 0
        self._skipped: list[Skipped] = []
        self._path = b""
        self._last_event = self._last_checkpoint = self._clock.monotonic()
        self._bytes_at_checkpoint = 0

    def close(self) -> None:
        """Stop the threads."""
        self._pipeline.close()

    def run(self) -> OptimizeReport:
        """Do it all."""
        for finding in compare(self._tree.batches(), self._parent):
            self._take(finding)
            self._settle()
            self._pause()
        self._pipeline.drain()
        self._settle()
        segments, first_paths = self._segments.finish()
        self._store.publish(self._manifest(segments, first_paths, partial=False))
        self._save_index()
        return self._report(len(segments))

    def _take(self, finding: Finding) -> None:
        if isinstance(finding, Shared):
            self._waiting.append(finding)
            self._tally.add(finding.stats)
            self._count_unchanged(len(finding.stats))
        elif isinstance(finding, Kept):
            self._waiting.append((finding.path, finding.stub))
            self._tally.add(finding.stats)
            self._count_unchanged(1)
        else:
            self._read(finding)

    def _count_unchanged(self, count: int) -> None:
        self._unchanged += count
        self._done += count

    def _read(self, finding: ToRead) -> None:
        self._path = finding.path
        self._done += 1
        stats = finding.stats
        key = (int(stats["device"]), int(stats["inode"]))
        build = self._links.get(key)
        try:
            entry = self._reader.read(finding.path, stats) if build is None else build
        except OSError as error:
            self._skipped.append(Skipped(finding.path, reason_of(error), failed=True))
            return
        except LimitError as error:
            self._skipped.append(Skipped(finding.path, error.message, failed=True))
            return
        if isinstance(entry, FileBuild) and int(stats["nlink"]) > 1:
            self._links[key] = entry
        self._tally.add_one(stats)
        self._waiting.append((finding.path, entry))

    def _settle(self) -> None:
        """Pass on the entries whose rows have all come, in order."""
        if len(self._waiting) > _MOST_WAITING:
            self._pipeline.drain()
        waiting = self._waiting
        while waiting:
            head = waiting[0]
            if isinstance(head, Shared):
                self._segments.reuse(head.segment)
            else:
                path, entry = head
                if isinstance(entry, FileBuild):
                    if not entry.ready:
                        return
                    entry = entry.finish(self._store)
                self._segments.add(path, entry)
            waiting.popleft()

    def _pause(self) -> None:
        """Between two entries: be cancelled, make a checkpoint, tell how far it is."""
        cancel = self._options.cancel
        if cancel is not None and cancel.cancelled:
            self._checkpoint()
            raise Cancelled("cancelled; what was stored stays, and the next run goes on from there")
        now = self._clock.monotonic()
        if (
            now - self._last_checkpoint >= self._options.checkpoint_seconds
            or self._reader.read_bytes - self._bytes_at_checkpoint >= self._options.checkpoint_bytes
            or len(self._pipeline.recent) >= self._options.checkpoint_chunks
        ):
            self._checkpoint()
        if self._observer is not None and now - self._last_event >= _EVENT_SECONDS:
            self._last_event = now
            self._observer.on_progress(
                OptimizeProgress(
                    files_done=self._done,
                    bytes_done=self._reader.read_bytes,
                    new_bytes=self._store.data_bytes,
                    path=self._path,
                )
            )

    def _checkpoint(self) -> None:
        self._pipeline.drain()
        self._settle()
        segments, first_paths = self._segments.snapshot()
        if len(segments):
            self._store.publish(self._manifest(segments, first_paths, partial=True))
            self._checkpoints += 1
        else:
            self._store.commit_data()
        self._save_index()
        self._last_checkpoint = self._clock.monotonic()
        self._bytes_at_checkpoint = self._reader.read_bytes

    def _manifest(
        self,
        segments: npt.NDArray[np.void],
        first_paths: tuple[bytes, ...],
        *,
        partial: bool,
    ) -> Manifest:
        return Manifest(
            version=self._number,
            created_ns=self._created_ns,
            parent=self._parent_number,
            source=self._source,
            entries=int(segments["end"][-1]) if len(segments) else 0,
            files=self._tally.files,
            logical_bytes=self._tally.logical_bytes,
            new_bytes=self._store.data_bytes,
            partial=partial,
            containers=(),
            segments=segments,
            first_paths=first_paths,
        )

    def _save_index(self) -> None:
        """Keep what this run committed, and free the memory for it."""
        self._index.save(self._pipeline.recent)
        self._pipeline.recent.clear()

    def _report(self, segments: int) -> OptimizeReport:
        skipped = [Skipped(*skip) for skip in self._tree.skipped] + self._skipped
        totals = self._pipeline.totals
        return OptimizeReport(
            version=self._number,
            entries=self._segments.entries,
            files=self._tally.files,
            unchanged=self._unchanged,
            logical_bytes=self._tally.logical_bytes,
            read_bytes=self._reader.read_bytes,
            new_bytes=self._store.data_bytes,
            new_chunks=totals.new_chunks,
            reused_bytes=totals.reused_bytes,
            zero_bytes=totals.zero_bytes,
            segments=segments,
            reused_segments=self._segments.shared,
            checkpoints=self._checkpoints,
            skipped=tuple(sorted(skipped, key=lambda skip: skip.path)),
            inconsistent=tuple(self._reader.inconsistent),
            left_attributes=self._reader.left_attributes,
            damaged_containers=self._store.found.damaged,
        )


def _ancestors(store: StoreWriter, source: bytes) -> list[Manifest]:
    """Return the newest version of a source; if it is partial, the one it was compared with too."""
    newest = store.versions.of_source(source)
    if newest is None:
        return []
    if not newest.partial or newest.parent is None:
        return [newest]
    before = store.versions.load(newest.parent)
    return [newest] if before is None else [newest, before]


def _numbers(store: StoreWriter, manifests: list[Manifest]) -> tuple[int, int | None]:
    """Return the number of this version and that of its parent; an unfinished run goes on."""
    newest = store.versions.newest
    if not manifests:
        return newest + 1, None
    last = manifests[0]
    if last.partial and last.version == newest:
        return newest, last.parent
    return newest + 1, last.version


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_JOBS)
    return min(os.cpu_count() or 1, _MOST_JOBS)
