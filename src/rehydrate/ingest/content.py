"""Reading entries of the source: metadata into stubs, bytes into the pipeline."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
from blake3 import blake3

from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK
from rehydrate.ingest.blocks import Pipeline
from rehydrate.ingest.builds import FileBuild
from rehydrate.ingest.cutting import Cutter
from rehydrate.ingest.source import SourceTree
from rehydrate.values import StoreId

__all__ = ["EntryReader"]

_RETRIES: Final = 2
_SMALL_ROOM: Final = 256 << 10
"""A large file is begun in a new block if less than this is left in the current one."""
_MOST_HASHED_HOLE: Final = 1 << 30
"""Bytes of holes that are hashed for the digest of a file; with more it has none."""
_BLOCK_UNIT: Final = 512
_LARGEST_COUNT: Final = 0xFFFF_FFFF
_ZEROS: Final = bytes(1 << 20)
_USER: Final = b"user."

Xattrs = tuple[tuple[bytes, bytes], ...]


class EntryReader:
    """Turns listed entries into stubs; the rows of files come later, through the pipeline."""

    def __init__(
        self,
        source: SourceTree,
        pipeline: Pipeline,
        cutter: Cutter,
        store: StoreId,
        *,
        pause: Callable[[], None],
    ) -> None:
        """Read entries of ``source``.

        Args:
            source: The source.
            pipeline: Takes the bytes.
            cutter: Cuts them.
            store: Identity that stubs carry.
            pause: Called between two blocks of a large file; may raise to end the run.
        """
        self.pause = pause
        self.source = source
        self.pipeline = pipeline
        self.cutter = cutter
        self._store = store
        self.read_bytes = 0
        self.left_attributes: Counter[bytes] = Counter()
        self.inconsistent: list[bytes] = []

    def read(self, path: bytes, stats: np.void) -> bytes | FileBuild:
        """Read an entry.

        Args:
            path: Its path.
            stats: What the listing says (:data:`~rehydrate.ingest.source.STAT_DTYPE`).

        Returns:
            The stub, or for a file the build that becomes one.

        Raises:
            OSError: It cannot be read.
            LimitError: A stub cannot hold it.
        """
        mode = int(stats["mode"])
        if stat.S_ISLNK(mode):
            stub = self._from_listing(SYMLINK, stats, link_text=self.source.link_text(path))
            return encode_stub(stub)
        if stat.S_ISDIR(mode):
            return encode_stub(self._directory(path, stats))
        return self._file(path, stats)

    def _from_listing(
        self, kind: int, stats: np.void, *, link_text: bytes = b"", xattrs: Xattrs = ()
    ) -> NativeStub:
        return NativeStub(
            store=self._store,
            kind=kind,
            mode=stat.S_IMODE(int(stats["mode"])),
            uid=int(stats["uid"]),
            gid=int(stats["gid"]),
            nlink=int(stats["nlink"]),
            mtime_ns=int(stats["mtime"]),
            ctime_ns=int(stats["ctime"]),
            device=int(stats["device"]),
            inode=int(stats["inode"]),
            link_text=link_text,
            xattrs=xattrs,
        )

    def _directory(self, path: bytes, stats: np.void) -> NativeStub:
        xattrs: Xattrs = ()
        try:
            fd = self.source.open_file(
                path, int(stats["device"]), int(stats["inode"]), directory=True
            )
        except PermissionError:
            pass  # the listing has reported it; its metadata are kept all the same
        else:
            try:
                xattrs = self._attributes(fd)
            finally:
                self.source.close_file(fd)
        return self._from_listing(DIRECTORY, stats, xattrs=xattrs)

    def _attributes(self, fd: int) -> Xattrs:
        found = self.source.attributes(fd)
        self.left_attributes.update(name for name, _ in found if not name.startswith(_USER))
        return tuple(item for item in found if item[0].startswith(_USER))

    def _file(self, path: bytes, stats: np.void) -> FileBuild:
        fd = self.source.open_file(path, int(stats["device"]), int(stats["inode"]))
        try:
            before = self.source.status(fd)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ESTALE, "it is no regular file any more")
            build = self._attempt(fd, before)
            for _ in range(_RETRIES):
                after = self.source.status(fd)
                if _same(before, after):
                    return build
                before = after
                build = self._attempt(fd, before)
            if not _same(before, self.source.status(fd)):
                build.stub = attrs.evolve(build.stub, inconsistent=True)
                self.inconsistent.append(path)
            return build
        finally:
            self.source.close_file(fd)

    def _attempt(self, fd: int, status: os.stat_result) -> FileBuild:
        xattrs = self._attributes(fd)
        build = FileBuild(self._stub(status, xattrs))
        if xattrs:
            encode_stub(build.stub)  # too many or too large: better now than when it is finished
        self._content(fd, build, status)
        return build

    def _stub(self, status: os.stat_result, xattrs: Xattrs) -> NativeStub:
        group = 0
        if status.st_nlink > 1:
            key = b"%d %d" % (status.st_dev, status.st_ino)
            group = int.from_bytes(blake3(key).digest(8), "little") | 1
        return NativeStub(
            store=self._store,
            kind=FILE,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            nlink=min(status.st_nlink, _LARGEST_COUNT),
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            device=status.st_dev,
            inode=status.st_ino,
            link_group=group,
            xattrs=xattrs,
        )

    def _content(self, fd: int, build: FileBuild, status: os.stat_result) -> None:
        size = status.st_size
        sparse = getattr(status, "st_blocks", 0) * _BLOCK_UNIT < size
        extents = self.source.data_extents(fd, size) if sparse else [(0, size)]
        # The digest of a single chunk is that of the file, and a worker computes it.
        single = not sparse and 0 < size <= self.cutter.min_size
        reading = _Reading(self, build, fd, single=single)
        position = 0
        for start, end in extents:
            if start > position:
                reading.hole(start)
            position = reading.data(start, end) if end > start else end
            if position < end:
                break  # cut short while it was read; the caller notices
        else:
            if position < size:
                reading.hole(size)
        reading.finish()


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


class _Reading:
    """One pass over one file."""

    def __init__(self, reader: EntryReader, build: FileBuild, fd: int, *, single: bool) -> None:
        self._reader = reader
        self._source = reader.source
        self._pipeline = reader.pipeline
        self._cutter = reader.cutter
        self._single = single
        self._build = build
        self._fd = fd
        self._position = 0
        self._pieces = 0
        self._digest = blake3()
        self._hashed_hole = 0

    def hole(self, end: int) -> None:
        """Add a hole up to ``end``."""
        left = end - self._position
        self._hashed_hole += left
        if self._hashed_hole <= _MOST_HASHED_HOLE:
            while left:
                step = min(left, len(_ZEROS))
                self._digest.update(memoryview(_ZEROS)[:step])
                left -= step
        self._pipeline.add_hole(self._build, end)
        self._pieces += 1
        self._position = end

    def data(self, start: int, end: int) -> int:
        """Read a range that has data, and return how far it went."""
        pipeline = self._pipeline
        carried = b""
        self._position = start
        if pipeline.room < min(end - start, _SMALL_ROOM):
            pipeline.submit()
        while self._position < end:
            if not pipeline.room:
                pipeline.submit()
            space = pipeline.space()
            head = len(carried)
            space[:head] = carried
            wanted = min(end - self._position, len(space) - head)
            got = self._source.read_into(self._fd, space[head : head + wanted], self._position)
            if not self._single:
                self._digest.update(space[head : head + got])
            base = self._position - head
            self._position += got
            self._reader.read_bytes += got
            last = got < wanted or self._position == end
            used = self._cut(space[: head + got], base, last=last)
            carried = bytes(space[used : head + got])
            pipeline.advance(used)
            if got < wanted:
                break
            if not last:
                pipeline.submit()
                self._reader.pause()
        return self._position

    def _cut(self, data: memoryview, base: int, *, last: bool) -> int:
        used = 0
        for start, stop in self._cutter.cut(data, last=last):
            self._pipeline.add_chunk(self._build, base + stop, start, stop)
            self._pieces += 1
            used = stop
        return used

    def finish(self) -> None:
        """Tell the build how much is coming."""
        self._build.size = self._position
        self._build.expected = self._pieces
        if not self._single and self._hashed_hole <= _MOST_HASHED_HOLE:
            self._build.digest = self._digest.digest()
