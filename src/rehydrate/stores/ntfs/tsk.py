"""The Sleuth Kit's reader of NTFS behind typed calls: records, attributes, runs and bytes.

This is the one module that imports ``pytsk3``; it is imported late, for the package is optional.
The library is not safe for threads, so each call holds the lock of its volume. It believes much of
what it reads; so a short answer, a run list with gaps and a place outside are refused here.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

import pytsk3

from rehydrate.errors import (
    CorruptMetadataError,
    RestoreError,
    SessionError,
    StoreReadError,
)
from rehydrate.stores.images.bytesource import MAX_READ, ByteSource
from rehydrate.stores.ntfs.layout import (
    COMPRESSION_UNIT,
    RECORD_MAGIC,
    RECORD_TABLE,
    Boot,
)
from rehydrate.stores.ntfs.records import DAMAGED, Attribute, Patch, Record
from rehydrate.values import FileExtent

__all__ = ["Sleuth"]

_FILLER: Final = pytsk3.TSK_FS_ATTR_RUN_FLAG_FILLER
_HOLE: Final = pytsk3.TSK_FS_ATTR_RUN_FLAG_SPARSE
_RESIDENT: Final = pytsk3.TSK_FS_ATTR_RES
_COMPRESSED: Final = pytsk3.TSK_FS_ATTR_COMP
_ENCRYPTED: Final = pytsk3.TSK_FS_ATTR_ENC
_FAULTS: Final = (
    OSError,
    RuntimeError,
    ValueError,
    MemoryError,
    SystemError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
"""What the binding raises: its own OSError, and whatever its proxies make of odd numbers."""


class _Bridge(pytsk3.Img_Info):
    """A source as an image of the library; keeps the error that the library would turn to text."""

    def __init__(self, source: ByteSource, patches: Sequence[Patch]) -> None:
        """Show ``source`` with some bytes replaced."""
        self.source = source
        self.patches = patches
        self.error: RestoreError | None = None
        super().__init__("", pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def close(self) -> None:
        """Do nothing: the volume closes its source."""

    def get_size(self) -> int:
        """Return the bytes of the image."""
        return self.source.size

    def read(self, offset: int, size: int, /) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        size = min(size, self.source.size - offset)
        try:
            data = self.source.read(offset, size) if size > 0 else b""
        except RestoreError as error:
            self.error = self.error or error
            raise
        for start, patch in self.patches:
            begin, end = max(offset, start), min(offset + size, start + len(patch))
            if begin < end:
                middle = patch[begin - start : end - start]
                data = data[: begin - offset] + middle + data[end - offset :]
        return data


class _Call:
    """One call of the library: under the lock, and with its errors made ours."""

    __slots__ = ("_bridge", "_lock", "_what")

    def __init__(self, lock: threading.Lock, bridge: _Bridge, what: str) -> None:
        self._lock = lock
        self._bridge = bridge
        self._what = what

    def __enter__(self) -> None:
        self._lock.acquire()
        self._bridge.error = None

    def __exit__(self, _kind: object, fault: BaseException | None, _trace: object) -> None:
        cause = self._bridge.error
        self._lock.release()
        if isinstance(fault, RestoreError) or (fault and not isinstance(fault, _FAULTS)):
            return
        if cause is not None:  # the library may have answered all the same
            raise StoreReadError(
                f"cannot read {self._what}: {cause.message}",
                offset=cause.offset,
                length=cause.length,
            ) from cause
        if isinstance(fault, MemoryError):
            raise StoreReadError(f"no memory to read {self._what}") from fault
        if fault is not None:
            raise _damaged(self._what, str(fault).partition("\n")[0]) from fault


class Sleuth:
    """Implements :class:`~rehydrate.stores.ntfs.records.Records`, where the methods are described."""

    def __init__(self, source: ByteSource, boot: Boot, patches: Sequence[Patch]) -> None:
        """Open the file system.

        Args:
            source: Bytes of the volume.
            boot: What its boot sector says.
            patches: Places of the volume and the bytes to take for what stands there.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: The library finds no file system.
        """
        self.boot = boot
        self._lock = threading.Lock()
        self._bridge = _Bridge(source, patches)
        self._system: pytsk3.FS_Info | None = None
        with self._calling("the file system"):
            self._system = pytsk3.FS_Info(self._bridge, 0, pytsk3.TSK_FS_TYPE_NTFS)
            self._table = self._system.open_meta(RECORD_TABLE)

    def close(self) -> None:
        """Let the library's objects go; every later call is refused."""
        with self._lock:
            self._system = None

    def _calling(self, what: str) -> "_Call":
        return _Call(self._lock, self._bridge, what)

    def record(self, number: int, what: str, sequence: int = 0) -> Record:
        """Open a record that is in use."""
        with self._calling(what):
            system = self._opened()
            magic = self._table.read_random(number * self.boot.record, len(RECORD_MAGIC))
            if magic != RECORD_MAGIC:  # the library does not look
                raise _damaged(what, f"its record {number} is none")
            file = system.open_meta(number)
            meta = file.info.meta
            if meta is None or not int(meta.flags) & pytsk3.TSK_FS_META_FLAG_ALLOC:
                raise _damaged(what, f"its record {number} is not in use")
            if sequence and meta.seq != sequence:
                raise _damaged(what, f"its record {number} belongs to another file")
            return Record(
                number,
                meta.seq,
                int(meta.type) == pytsk3.TSK_FS_META_TYPE_DIR,
                tuple([_attribute(found.info) for found in file]),
                file,
            )

    def read(self, record: Record, attribute: Attribute, place: FileExtent, what: str) -> bytes:
        """Return exactly the bytes of a range of an attribute; holes are zeros."""
        if place.end > attribute.size or place.length > MAX_READ:
            raise StoreReadError(
                f"{what} has {attribute.size} bytes; the read is not inside",
                offset=place.offset,
                length=place.length,
            )
        if not place.length:
            return b""
        with self._calling(what):
            data = self._file(record).read_random(
                place.offset, place.length, attribute.kind, attribute.number
            )
        if len(data) != place.length:
            raise StoreReadError(
                f"{what} ends before its size says so", offset=place.offset, length=place.length
            )
        return data

    def value(self, record: Record, attribute: Attribute, limit: int, what: str) -> bytes:
        """Return a whole small attribute."""
        if attribute.size > limit:
            raise _damaged(what, f"attribute 0x{attribute.kind:X} claims {attribute.size} bytes")
        if not attribute.resident:
            self.ranges(record, attribute, what)
        return self.read(record, attribute, FileExtent(0, attribute.size), what)

    def ranges(self, record: Record, attribute: Attribute, what: str) -> tuple[FileExtent, ...]:
        """Return the allocated ranges of an attribute, ascending, merged and cut at its size."""
        if attribute.resident:
            return (FileExtent(0, attribute.size),) if attribute.size else ()
        unit = COMPRESSION_UNIT if attribute.compressed else 1
        held: list[tuple[int, int]] = []
        for first, last in self._allocated(record, attribute, what):
            start, end = first - first % unit, last + -last % unit
            if held and start <= held[-1][1]:
                start, end = held[-1][0], max(end, held.pop()[1])
            held.append((start, end))
        cluster, size = self.boot.cluster, attribute.size
        return tuple(
            FileExtent(start * cluster, min(end * cluster, size) - start * cluster)
            for start, end in held
            if start * cluster < size
        )

    def _allocated(self, record: Record, attribute: Attribute, what: str) -> list[tuple[int, int]]:
        """Return the runs on disk as half-open ranges of clusters of the attribute."""
        found: list[tuple[int, int]] = []
        covered, whole, clusters = 0, True, self.boot.size // self.boot.cluster
        with self._calling(what):
            for run in self._runs(record, attribute):
                flags = int(run.flags)
                whole = whole and run.offset == covered and run.len > 0 and not flags & _FILLER
                covered = run.offset + run.len
                if not flags & _HOLE:
                    whole = whole and run.addr + run.len <= clusters
                    found.append((run.offset, covered))
        if not whole or covered * self.boot.cluster < attribute.size:
            raise _damaged(what, "its list of clusters has a gap or leaves the volume")
        return found

    def _runs(self, record: Record, attribute: Attribute) -> Iterator[pytsk3.TSK_FS_ATTR_RUN]:
        for candidate in self._file(record):
            info = candidate.info
            if int(info.type) == attribute.kind and info.id == attribute.number:
                yield from candidate

    def _opened(self) -> pytsk3.FS_Info:
        if self._system is None:
            raise SessionError("the volume was closed")
        return self._system

    def _file(self, record: Record) -> pytsk3.File:
        self._opened()
        if not isinstance(record.file, pytsk3.File):
            raise TypeError("a record of another reader")
        return record.file


def _damaged(what: str, why: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"{what} is damaged: {why}", code=DAMAGED)


def _attribute(info: pytsk3.TSK_FS_ATTR) -> Attribute:
    flags = int(info.flags)
    if info.size < 0:
        raise ValueError(f"attribute 0x{int(info.type):X} claims {info.size} bytes")
    return Attribute(
        int(info.type),
        info.id,
        info.name or b"",
        info.size,
        bool(flags & _RESIDENT),
        bool(flags & _COMPRESSED),
        bool(flags & _ENCRYPTED),
    )
