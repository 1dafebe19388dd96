"""The bounded number of descriptors for files that are written piece by piece.

Any number of threads may write to any files at once. A descriptor is borrowed for one write and
never closed while somebody has it; the least recently used idle one is closed when too many are
open. A file that is stopped while somebody writes to it is put away by the last who has it.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from rehydrate.ports import Files
from rehydrate.staging.hints import merged
from rehydrate.staging.workspace import NO_FOLLOW

__all__ = ["LargeFile", "LargeFiles", "PutAway"]

_REOPEN: Final = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | NO_FOLLOW


class LargeFile:
    """State of one staged file that is being written.

    Attributes:
        number: File number.
        name: Its name in the workspace.
        dir_fd: Descriptor of the workspace.
        fd: Its descriptor; -1 while it is closed.
        users: Threads that have borrowed it.
        ranges: Pieces written, ``(begin, end)``, in no order.
        unhinted: Bytes written since the last hint was due.
        hinted: Whether there is a hint.
        poisoned: Whether a write error was reported that may be its own.
        put_away: What the last one to give it back has to do.
    """

    __slots__ = (
        "dir_fd",
        "fd",
        "hinted",
        "name",
        "number",
        "poisoned",
        "put_away",
        "ranges",
        "unhinted",
        "users",
    )

    def __init__(self, number: int, name: bytes, dir_fd: int, fd: int) -> None:
        """Take over an open descriptor."""
        self.number = number
        self.name = name
        self.dir_fd = dir_fd
        self.fd = fd
        self.users = 0
        self.ranges: list[tuple[int, int]] = []
        self.unhinted = 0
        self.hinted = False
        self.poisoned = False
        self.put_away: PutAway | None = None


PutAway = Callable[[LargeFile], None]


class LargeFiles:
    """All files that are being written piece by piece.

    Attributes:
        evicted: Whether a descriptor was ever closed between two writes. From then on only the
            workspace's descriptor is sure to hear of every write error.
    """

    def __init__(self, files: Files, limit: int) -> None:
        """Start without any.

        Args:
            files: The file-system calls.
            limit: Most descriptors open at the same time, as long as fewer threads write.
        """
        self._files = files
        self._limit = limit
        self._lock = threading.Lock()
        self._all: dict[int, LargeFile] = {}
        self._open: OrderedDict[int, LargeFile] = OrderedDict()
        self.evicted = False

    def numbers(self) -> list[int]:
        """Return the numbers of the files."""
        with self._lock:
            return list(self._all)

    def add(self, large: LargeFile) -> None:
        """Take over a file with an open descriptor."""
        with self._lock:
            self._all[large.number] = large
            self._open[large.number] = large
            self._make_room()

    def borrow(self, number: int) -> LargeFile:
        """Return a file with a descriptor that stays open until :meth:`give_back`.

        Raises:
            KeyError: The file is not being written.
            OSError: It cannot be opened again.
        """
        with self._lock:
            large = self._all[number]
            if large.fd >= 0:
                self._open.move_to_end(number)
            else:
                large.fd = self._files.open(large.name, _REOPEN, dir_fd=large.dir_fd)
                self._open[number] = large
            large.users += 1
            if len(self._open) > self._limit:
                self._make_room()
        return large

    def give_back(self, large: LargeFile) -> PutAway | None:
        """End a :meth:`borrow`.

        Returns:
            What the caller has to do with the file, if it was stopped meanwhile.
        """
        with self._lock:
            large.users -= 1
            return None if large.users else large.put_away

    def note(self, large: LargeFile, begin: int, end: int, checkpoint: int) -> bool:
        """Note a range that was written.

        Returns:
            Whether ``checkpoint`` bytes came together since the last time.
        """
        with self._lock:
            large.ranges.append((begin, end))
            large.unhinted += end - begin
            if large.unhinted < checkpoint:
                return False
            large.unhinted = 0
            large.ranges = merged(large.ranges)
            return True

    def remove(self, number: int) -> None:
        """Let go of a borrowed file; its descriptor is the caller's now."""
        with self._lock:
            del self._all[number]
            del self._open[number]

    def stop(self, number: int, put_away: PutAway) -> LargeFile | None:
        """Let go of a file, whoever has it; nobody can borrow it from now on.

        Args:
            number: The file.
            put_away: What is to be done with it when nobody has it any more.

        Returns:
            The file if that is now, and the caller's duty; ``None`` if it is the duty of the last
            who has it, or if the file is not being written.
        """
        with self._lock:
            large = self._all.pop(number, None)
            if large is None:
                return None
            self._open.pop(number, None)
            if large.users:
                large.put_away = put_away
                return None
            return large

    def poison(self) -> None:
        """Mark all files: a write error was reported that may belong to any of them."""
        with self._lock:
            for large in self._all.values():
                large.poisoned = True

    def _make_room(self) -> None:
        while len(self._open) > self._limit:
            large = next((large for large in self._open.values() if not large.users), None)
            if large is None:
                return
            del self._open[large.number]
            fd, large.fd = large.fd, -1
            self.evicted = True
            try:
                self._files.close(fd)
            except OSError:  # what close reports is a failed write
                large.poisoned = True
