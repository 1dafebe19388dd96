"""What the versions before know of a source, and which entries have not changed since.

The comparison works on columns, a segment at a time: a tree that has not changed costs no object
for an entry, and no segment of it is written again.
"""

import os
import stat
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import FormatError
from rehydrate.formats.native.catalogue import Manifest, segment_columns, tree_key
from rehydrate.formats.native.container import container_name
from rehydrate.formats.native.layout import (
    FORMAT_VERSION,
    KIND_SEGMENT,
    RECORD_SIZE,
    STUB_DTYPE,
    STUB_MAGIC,
    TIME_BIAS,
)
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.segments import ParentSegment
from rehydrate.ingest.source import STAT_DTYPE, Batch
from rehydrate.ingest.store import StoreWriter
from rehydrate.ingest.suspicion import Suspicion

__all__ = ["Kept", "Parent", "Shared", "ToRead", "compare"]

_SETTLING: Final = 2_000_000_000
"""Nanoseconds: a file changed this shortly before a scan may have changed after it unnoticed."""
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_MAGIC: Final = np.frombuffer(STUB_MAGIC, "V4")[0]
_NO_STATS: Final = np.empty(0, STAT_DTYPE)


@attrs.frozen(eq=False)
class Shared:
    """All entries of a segment are unchanged; ``stats`` is what the listing says of them."""

    segment: ParentSegment
    stats: npt.NDArray[np.void]


@attrs.frozen(eq=False)
class Kept:
    """An unchanged entry."""

    path: bytes
    stub: bytes
    stats: npt.NDArray[np.void]


@attrs.frozen(eq=False)
class ToRead:
    """A new or changed entry."""

    path: bytes
    stats: np.void


Finding: TypeAlias = Shared | Kept | ToRead


class Parent:
    """The segments of the version before; of an unfinished run, continued by those before it."""

    def __init__(
        self, store: StoreWriter, manifests: Sequence[Manifest], suspicion: Suspicion
    ) -> None:
        """Take one manifest, or a partial one and the version that its run was compared with.

        Args:
            store: The store.
            manifests: Newest first; empty for a first run.
            suspicion: Finds entries that refer to something damaged.
        """
        self._files = store.world.files
        self._folders = store.folders
        self._suspicion = suspicion
        self._store = np.frombuffer(store.configuration.store.bytes, "V16")[0]
        self._manifests = manifests
        self.damaged = 0

    def known(self) -> dict[bytes, RecordPlace]:
        """Return the places of all segments by digest."""
        found: dict[bytes, RecordPlace] = {}
        for manifest in self._manifests:
            for row in manifest.segments:
                found[row["digest"].tobytes()] = _place(row)
        return found

    def segments(self) -> Iterator[ParentSegment]:
        """Iterate the segments in tree order; damaged ones are left out and counted."""
        last_key = b""
        for manifest in self._manifests:
            firsts = [tree_key(path) for path in manifest.first_paths]
            begin = max(bisect_right(firsts, last_key) - 1, 0) if last_key else 0
            with ExitStack() as stack:
                descriptors: dict[int, int] = {}
                for number in range(begin, len(firsts)):
                    segment = self._read(manifest, number, last_key, stack, descriptors)
                    if segment is not None:
                        last_key = segment.last_key
                        yield segment

    def _read(
        self,
        manifest: Manifest,
        number: int,
        after: bytes,
        stack: ExitStack,
        descriptors: dict[int, int],
    ) -> ParentSegment | None:
        row = manifest.segments[number]
        place = _place(row)
        digest = row["digest"].tobytes()
        try:
            if place.container not in descriptors:
                name = os.fsencode(container_name(place.container, place.generation))
                fd = self._files.open(name, _FLAGS, dir_fd=self._folders.stream)
                stack.callback(self._files.close, fd)
                descriptors[place.container] = fd
            record = self._files.pread(descriptors[place.container], place.length, place.offset)
            payload = NativeDecoder(KIND_SEGMENT).decode(
                memoryview(record), place.local_id, place.length - RECORD_SIZE, digest
            )
            columns = segment_columns(bytes(payload))
        except (OSError, FormatError):
            self.damaged += 1
            return None
        paths = columns.paths()
        keys = [tree_key(path) for path in (paths[0], paths[-1])]
        if keys[1] <= after:
            return None
        return ParentSegment(
            place,
            digest,
            columns,
            paths,
            keys[0] > after,
            manifest.created_ns - _SETTLING,
            keys[0],
            keys[1],
            self._store,
            self._suspicion.entries(columns) if self._suspicion.any else None,
        )


def _place(row: np.void) -> RecordPlace:
    return RecordPlace(
        int(row["container"]),
        int(row["generation"]),
        int(row["offset"]),
        int(row["local_id"]),
        int(row["length"]),
    )


def compare(batches: Iterable[Batch], parent: Parent) -> Iterator[Finding]:
    """Decide for each entry of the source, in tree order, whether it must be read.

    Args:
        batches: The source.
        parent: What is known of it.

    Yields:
        One finding for an entry, or for a whole segment of unchanged ones.
    """
    segments = parent.segments()
    current = next(segments, None)
    done = b""
    paths: list[bytes] = []
    stats: npt.NDArray[np.void] = _NO_STATS
    for batch, final in _with_end(batches):
        paths += batch.paths
        stats = np.concatenate((stats, batch.stats)) if len(stats) else batch.stats
        keys = [tree_key(path) for path in paths]
        start = 0
        while current is not None:
            stop = bisect_right(keys, current.last_key, start)
            if stop == len(keys) and not final:
                break
            first = max(current.first_key, done)
            middle = bisect_left(keys, first, start) if current.whole else start
            yield from _all_new(paths, stats, start, middle)
            yield from _compared(paths, stats, middle, stop, current)
            start, done = stop, current.last_key
            current = next(segments, None)
        if current is None:
            yield from _all_new(paths, stats, start, len(paths))
            start = len(paths)
        paths, stats = paths[start:], stats[start:]


def _with_end(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    for batch in batches:
        yield batch, False
    yield Batch([], _NO_STATS), True


def _all_new(
    paths: list[bytes], stats: npt.NDArray[np.void], start: int, stop: int
) -> Iterator[Finding]:
    for position in range(start, stop):
        yield ToRead(paths[position], stats[position])


def _compared(
    paths: list[bytes],
    stats: npt.NDArray[np.void],
    start: int,
    stop: int,
    segment: ParentSegment,
) -> Iterator[Finding]:
    here, found = paths[start:stop], stats[start:stop]
    if here == segment.paths:
        same = _unchanged(found, segment, np.arange(len(here)))
        if segment.whole and same.all():
            yield Shared(segment, found)
            return
        positions = range(len(here))
        matched = same.tolist()
    else:
        by_path = {path: position for position, path in enumerate(segment.paths)}
        known = np.array([by_path.get(path, -1) for path in here], np.int64)
        same = np.zeros(len(here), np.bool_)
        both = np.flatnonzero(known >= 0)
        same[both] = _unchanged(found[both], segment, known[both])
        positions, matched = known.tolist(), same.tolist()
    for number, (path, position) in enumerate(zip(here, positions, strict=True)):
        if matched[number]:
            yield Kept(path, segment.stub(position), found[number : number + 1])
        else:
            yield ToRead(path, found[number])


def _unchanged(
    stats: npt.NDArray[np.void], segment: ParentSegment, positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Compare what is listed with the stubs at ``positions`` of a segment."""
    columns = segment.columns
    starts = np.concatenate((np.zeros(1, np.int64), columns.stub_ends[:-1])) + columns.stubs_at
    payload = columns.payload + bytes(STUB_DTYPE.itemsize)
    windows: npt.NDArray[np.void] = np.ndarray(
        (len(columns.payload),), STUB_DTYPE, buffer=payload, strides=(1,)
    )
    heads = windows[starts[positions]]
    kind = stats["mode"] & stat.S_IFMT(0o177777)
    kinds = np.where(kind == stat.S_IFDIR, DIRECTORY, np.where(kind == stat.S_IFLNK, SYMLINK, FILE))
    sizes = np.where(kinds == FILE, stats["size"], 0).astype(np.uint64)
    bias = np.uint64(TIME_BIAS)
    same: npt.NDArray[np.bool_] = (
        (heads["kind"] == kinds)
        & (heads["size"] == sizes)
        & (heads["mtime"] == stats["mtime"].view(np.uint64) ^ bias)
        & (heads["ctime"] == stats["ctime"].view(np.uint64) ^ bias)
        & (heads["device"] == stats["device"])
        & (heads["inode"] == stats["inode"])
        & (heads["flags"] == 0)
        # A stub that no reader would take must not be handed on.
        & (heads["magic"] == _MAGIC)
        & (heads["version"] == FORMAT_VERSION)
        & (heads["total"] == np.diff(columns.stub_ends, prepend=0)[positions])
        & (heads["store"] == segment.store)
        & (stats["ctime"] < segment.trusted_before)
    )
    if segment.suspicious is not None:
        same &= ~segment.suspicious[positions]
    return same
