"""Bytes that can be read at any place: files, rows of files, windows, and views for C libraries.

A source has a fixed size; each read gives all the bytes asked for or a typed error. Reads may come
from several threads. Files are opened for reading only.
"""

import bisect
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.values import MAX_OFFSET

__all__ = [
    "MAX_READ",
    "PAGE",
    "ByteSource",
    "FileSource",
    "FileView",
    "OverlaySource",
    "RowSource",
    "WindowSource",
    "check_range",
]

MAX_READ: Final = 1 << 30
"""Largest number of bytes of one read: more is taken for a hostile number, not for a wish."""
PAGE: Final = 4096
"""Bytes that an overlay replaces at once."""
_READ_ONLY: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe must not stop us before it is refused
)


class ByteSource(Protocol):
    """Bytes ``[0, size)`` that do not change while they are read."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; may be called from several threads.

        Args:
            offset: First byte.
            size: Number of bytes; ``[offset, offset + size)`` lies inside ``[0, self.size)``.

        Raises:
            StoreReadError: The range is not inside, or the bytes cannot be read.
        """
        ...

    def close(self) -> None:
        """Give back what the source itself opened; reads fail afterwards. May be called again."""
        ...


def check_range(name: str, limit: int, offset: int, size: int) -> None:
    """Refuse a read that leaves a source or is larger than any sensible one.

    Args:
        name: What is read, for the message.
        limit: Size of the source in bytes.
        offset: First byte.
        size: Number of bytes.

    Raises:
        StoreReadError: ``[offset, offset + size)`` is not inside ``[0, limit)``, or ``size`` is
            above :data:`MAX_READ`.
    """
    if offset < 0 or size < 0 or offset + size > limit:
        raise StoreReadError(
            f"{name} has {limit} bytes; the read is not inside",
            container=name,
            offset=offset,
            length=size,
        )
    if size > MAX_READ:
        raise StoreReadError(
            f"{name}: no read may be larger than {MAX_READ} bytes",
            container=name,
            offset=offset,
            length=size,
        )


class FileSource:
    """One file or block device, opened for reading only."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Args:
            path: A regular file or a block device; links are followed, for the caller named it.

        Raises:
            ContainerNotFoundError: There is no such file.
            StoreReadError: It cannot be opened, or is neither file nor block device.
        """
        self.path = path
        self._name = str(path)
        self._lock = threading.Lock()
        try:
            self._fd = os.open(path, _READ_ONLY)
        except FileNotFoundError as error:
            raise ContainerNotFoundError(
                f"there is no file {path}", container=self._name
            ) from error
        except (OSError, ValueError) as error:
            raise StoreReadError(f"cannot open {path}: {error}", container=self._name) from error
        try:
            self._size = self._measure()
        except BaseException:
            self.close()
            raise

    def _measure(self) -> int:
        try:
            mode = os.fstat(self._fd).st_mode
            if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
                return os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise StoreReadError(
                f"cannot tell the size of {self.path}: {error}", container=self._name
            ) from error
        raise StoreReadError(
            f"{self.path} is neither a file nor a block device", container=self._name
        )

    def _read_at(self, size: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._fd, size, offset)
        with self._lock:  # Windows: no read may come between seek and read
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, size)

    @property
    def size(self) -> int:
        """Number of bytes when it was opened."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`ByteSource`.

        Raises:
            StoreReadError: The range is outside, or the file became shorter, or cannot be read.
        """
        check_range(self._name, self._size, offset, size)
        parts: list[bytes] = []
        got = 0
        try:
            while got < size:
                part = self._read_at(size - got, offset + got)
                if not part:
                    break
                parts.append(part)
                got += len(part)
        except (OSError, MemoryError) as error:
            raise StoreReadError(
                f"cannot read {self.path}: {error}",
                container=self._name,
                offset=offset + got,
                length=size - got,
            ) from error
        if got < size:
            raise StoreReadError(
                f"{self.path} ended before the read did",
                container=self._name,
                offset=offset + got,
                length=size - got,
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RowSource:
    """Several sources one after the other, such as the parts of a split image."""

    def __init__(self, parts: Sequence[ByteSource], *, name: str) -> None:
        """Take the parts over: they are closed with the row.

        Args:
            parts: At least one source.
            name: What the row is called in messages.
        """
        self._parts = tuple(parts)
        self._name = name
        self._ends: list[int] = []
        end = 0
        for part in self._parts:
            end += part.size
            self._ends.append(end)

    @property
    def size(self) -> int:
        """Sum of the sizes."""
        return self._ends[-1]

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`ByteSource`.

        Raises:
            StoreReadError: See :class:`ByteSource`.
        """
        check_range(self._name, self.size, offset, size)
        pieces: list[bytes] = []
        index = bisect.bisect_right(self._ends, offset)
        while size:
            start = self._ends[index - 1] if index else 0
            length = min(size, self._ends[index] - offset)
            pieces.append(self._parts[index].read(offset - start, length))
            offset, size, index = offset + length, size - length, index + 1
        return b"".join(pieces)

    def close(self) -> None:
        """Close all parts."""
        for part in self._parts:
            part.close()


class WindowSource:
    """A range of another source, which stays the caller's: closing the window leaves it open."""

    def __init__(self, source: ByteSource, start: int, size: int, *, name: str) -> None:
        """Look at ``[start, start + size)`` of ``source``.

        Args:
            source: What to look into.
            start: First byte of the window.
            size: Number of bytes.
            name: What the window is called in messages.

        Raises:
            StoreReadError: The range is not inside the source.
        """
        if start < 0 or not 0 <= size <= source.size - start:
            raise StoreReadError(
                f"{name} reaches beyond its image of {source.size} bytes: the image is cut off",
                container=name,
                offset=start,
                length=size,
            )
        self._source = source
        self._start = start
        self._size = size
        self._name = name

    @property
    def size(self) -> int:
        """Number of bytes of the window."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`ByteSource`.

        Raises:
            StoreReadError: See :class:`ByteSource`.
        """
        check_range(self._name, self._size, offset, size)
        return self._source.read(self._start + offset, size)

    def close(self) -> None:
        """Do nothing: the source below belongs to somebody else."""


class OverlaySource:
    """A source with some pages replaced; the size may be larger than what lies below."""

    def __init__(self, below: ByteSource, size: int, *, name: str) -> None:
        """Start without any replaced page.

        Args:
            below: What is read elsewhere; closed with the overlay.
            size: Size in bytes; bytes beyond ``below`` are zeros.
            name: What it is called in messages.
        """
        self._below = below
        self._size = size
        self._name = name
        self._pages: dict[int, bytes] = {}
        self._zeros: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._size

    def put(self, offset: int, page: bytes) -> None:
        """Replace one page of 4096 bytes.

        Args:
            offset: Where it starts, a multiple of 4096.
            page: The new bytes.
        """
        self._pages[offset] = page

    def clear(self, offset: int, size: int) -> None:
        """Make a range of whole pages zeros.

        Args:
            offset: Where it starts, a multiple of 4096.
            size: Number of bytes, a multiple of 4096.
        """
        for place in [place for place in self._pages if offset <= place < offset + size]:
            del self._pages[place]
        self._zeros.append((offset, offset + size))

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes; see :class:`ByteSource`.

        Raises:
            StoreReadError: See :class:`ByteSource`.
        """
        check_range(self._name, self._size, offset, size)
        end = offset + size
        there = max(min(end, self._below.size) - offset, 0)
        data = bytearray(self._below.read(offset, there) if there else b"")
        data += bytes(size - there)
        for start, stop in self._zeros:
            low, high = max(start, offset), min(stop, end)
            if low < high:
                data[low - offset : high - offset] = bytes(high - low)
        for place in self._touched(offset, end):
            low, high = max(place, offset), min(place + PAGE, end)
            data[low - offset : high - offset] = self._pages[place][low - place : high - place]
        return bytes(data)

    def _touched(self, offset: int, end: int) -> list[int]:
        first = offset - offset % PAGE
        if (end - first) // PAGE < len(self._pages):
            return [place for place in range(first, end, PAGE) if place in self._pages]
        return [place for place in self._pages if first <= place < end]

    def close(self) -> None:
        """Close what lies below."""
        self._below.close()


class FileView:
    """A source as the read-only file object that the libyal bindings take.

    The bindings turn an exception of this object into a text of their own; ``error`` keeps the
    first one, so that the caller can raise it instead.
    """

    def __init__(self, source: ByteSource) -> None:
        """Start at byte 0.

        Args:
            source: What to read.
        """
        self._source = source
        self._position = 0
        self._lock = threading.Lock()
        self.error: StoreReadError | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes from the current position on, and move it."""
        with self._lock:
            rest = max(self._source.size - self._position, 0)
            wanted = rest if size < 0 else min(size, rest)
            if not wanted:
                return b""
            try:
                data = self._source.read(self._position, wanted)
            except StoreReadError as error:
                self.error = self.error or error
                raise
            self._position += len(data)
            return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position and return it; a place beyond the end is allowed, as in a file.

        Raises:
            OSError: The place is before the start or not a file offset.
        """
        with self._lock:
            base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}
            place = base[whence] + offset
            if not 0 <= place <= MAX_OFFSET:
                raise OSError(f"no place {place} in a file")
            self._position = place
            return place

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def get_size(self) -> int:
        """Return the size in bytes."""
        return self._source.size
