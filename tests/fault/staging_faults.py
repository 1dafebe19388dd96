"""File-system calls that fail on purpose, and a small restore to try them on.

The port hands every call to the real one, counts it, and at one number lets it fail, or "kills the
process": from then on every call raises, and what was open is closed as the system would do.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rehydrate.errors import RestoreError, StagingError
from rehydrate.ports import SystemFiles
from rehydrate.requests import Durability, Overwrite
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Found, Staging
from rehydrate.staging.table import Attributes, FileTable
from rehydrate.values import NO_OWNER

CHANGING = (
    "open", "pwrite", "ftruncate", "fallocate", "punch_hole", "rename", "rename_new", "link",
    "symlink", "unlink", "mkdir", "rmdir", "fchmod", "fchown", "lchown", "futime", "lutime",
    "fsetxattr", "fsync", "syncfs", "close",
)  # fmt: skip
LOOKING = (
    "open_beneath", "pread", "fstat", "lstat", "listdir", "readlink", "drop_cache", "seek_data",
    "seek_hole", "lock", "free_bytes",
)  # fmt: skip
ERRORS = (
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.EROFS, errno.EMFILE, errno.EACCES,
)  # fmt: skip


class Killed(BaseException):
    """The process is dead."""


class FaultyFiles(SystemFiles):
    """Counts calls; lets call number ``at`` fail (``error``), or kills ``before``, ``after`` or in
    the middle (``tear``) of it, or writes only half (``short``). Syncs cost nothing, as the power stays on."""

    def __init__(self, at: int = 0, *, error: int = 0, kill: str = "", forever: str = "") -> None:
        super().__init__()
        self.at = at
        self.error = error
        self.kill = kill
        self.forever = forever  # from call ``at`` on, every call of this name fails
        self.calls: list[str] = []
        self.open_now: set[int] = set()
        self.dead = False
        for name in CHANGING + LOOKING:
            setattr(self, name, self._wrap(name, getattr(self, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.dead:
                raise Killed
            self.calls.append(name)
            number = len(self.calls)
            if self.forever == name and number >= self.at:
                raise OSError(self.error, os.strerror(self.error))
            if number != self.at or self.forever:
                return self._run(name, real, *arguments, **named)
            if self.error:
                if name == "close":
                    self._run(name, real, *arguments, **named)
                raise OSError(self.error, os.strerror(self.error))
            if self.kill == "short" and name == "pwrite":
                fd, data, offset = arguments
                return real(fd, bytes(data)[: len(bytes(data)) // 2], offset)
            if self.kill == "tear" and name == "pwrite":
                fd, data, offset = arguments
                real(fd, bytes(data)[: len(bytes(data)) // 2], offset)
            elif self.kill == "after":
                self._run(name, real, *arguments, **named)
            self.dead = True
            raise Killed

        return call

    def _run(self, name: str, real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if name in ("fsync", "drop_cache"):
            return None
        if name == "syncfs":
            return True
        result = real(*arguments, **named)
        if name in ("open", "open_beneath"):
            self.open_now.add(result)
        elif name == "close":
            self.open_now.discard(arguments[0])
        return result

    def bury(self) -> None:
        """Close what the process left open."""
        for fd in self.open_now:
            os.close(fd)
        self.open_now.clear()


TIME = 1_600_000_000_000_000_123
PIECE = 8192
# path -> pieces of the new file; None is a hole, 0 a run of zeros
NEW: dict[bytes, list[bytes | int | None]] = {
    b"small": [b"new small"],
    b"old": [b"new over old"],
    b"d/e/small": [b"deep"],
    b"d/large": [b"A" * PIECE, None, b"B" * PIECE, 0, b"C" * PIECE],
    b"oldlarge": [b"D" * PIECE, b"E" * PIECE],
    b"d/empty": [],
}
OLD = {"old": b"what stood there", "oldlarge": b"old and large" * 999, "other": b"not ours"}
LINKS = {"link": b"d/large", "d/oldlink": b"../small"}
NAMES = list(NEW)


def content(path: bytes) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else bytes(PIECE) for piece in NEW[path])


def table() -> FileTable:
    count = len(NAMES)
    return FileTable(
        paths=NAMES,
        size=np.array([len(content(path)) for path in NAMES], np.int64),
        mode=np.array([0o644, 0o600, 0o444, 0o666, 0o640, 0o644], np.uint32),
        mtime_ns=np.full(count, TIME, np.int64),
        uid=np.full(count, NO_OWNER, np.uint32),
        gid=np.full(count, NO_OWNER, np.uint32),
        keys=[bytes([65 + number]) * 16 for number in range(count)],
        linked={0},
    )


def prepare(folder: Path) -> None:
    folder.mkdir()
    for name, data in OLD.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(5, 5))
    (folder / "d").mkdir()
    (folder / "d" / "oldlink").symlink_to("elsewhere")


class Restore:
    """What an engine does, on one page; errors are kept by name."""

    def __init__(self, folder: Path, files: SystemFiles, durability: Durability) -> None:
        self.errors: dict[str, RestoreError] = {}
        self.lost: list[str] = []
        self.written = 0
        self.found_staged = 0
        self.files = files
        self.folder = folder
        self.durability = durability

    def run(self) -> None:
        try:
            with TargetRoot(self.folder, files=self.files) as root:
                self._in(root)
        except RestoreError as error:
            self.errors["job"] = error

    def _in(self, root: TargetRoot) -> None:
        with Staging(
            root,
            "sweep",
            table(),
            durability=self.durability,
            overwrite=Overwrite.IF_CHANGED,
            max_open_files=1,
            checkpoint_bytes=PIECE,
        ) as staging:
            self._directory(staging, b"d", Attributes(0o750, TIME))
            examined = staging.examine(range(len(NAMES)))
            self.errors.update({str(n): error for n, error in examined.errors.items()})
            wanted = [n for n, f in enumerate(examined.found) if f in (Found.FRESH, 2)]
            resumed = self._take_over(staging, wanted)
            for number in wanted:
                self._file(staging, number, resumed)
            while staging.waiting:
                self._publish(staging)
            for name, text in LINKS.items():
                time = Attributes(mtime_ns=TIME)
                self._link(name, partial(staging.make_symlink, name.encode(), text, time))
            self._link("hard", lambda: staging.make_hard_link(0, b"hard"))
            for path, error, lost in staging.finish_directories():
                self.lost += lost
                if error is not None:
                    self.errors[os.fsdecode(path)] = error

    def _directory(self, staging: Staging, path: bytes, wanted: Attributes) -> None:
        try:
            staging.make_directory(path, wanted)
        except StagingError as error:
            self.errors[os.fsdecode(path)] = error

    def _take_over(self, staging: Staging, wanted: list[int]) -> dict[int, list[tuple[int, int]]]:
        resumed = {}
        for number, leftover in staging.leftovers().items():
            good = []
            data = content(NAMES[number])
            try:
                for begin, end in pieces(NAMES[number]):
                    inside = any(a <= begin and end <= b for a, b in leftover.ranges)
                    if inside and leftover.read(begin, end - begin) == data[begin:end]:
                        good.append((begin, end))
                if number not in wanted:
                    staging.discard(number)
                    continue
                staging.accept(number, good, **layout(NAMES[number]))
            except StagingError:
                staging.discard(number)
                continue
            resumed[number] = good
            self.found_staged += len(good)
        return resumed

    def _file(
        self, staging: Staging, number: int, resumed: dict[int, list[tuple[int, int]]]
    ) -> None:
        data = content(NAMES[number])
        try:
            if number not in resumed and len(NEW[NAMES[number]]) < 2:
                staging.write_whole(number, data)
                self.written += 1
            else:
                if number not in resumed:
                    staging.allocate(number, **layout(NAMES[number]))
                for begin, end in pieces(NAMES[number]):
                    if (begin, end) not in resumed.get(number, []):
                        staging.write_at(number, begin, data[begin:end])
                        self.written += 1
                staging.finish(number)
        except StagingError as error:
            staging.keep(number)
            self.errors[os.fsdecode(NAMES[number])] = error
        if number % 3 == 2 or staging.publish_due():
            self._publish(staging)

    def _publish(self, staging: Staging) -> None:
        for result in staging.publish():
            self.lost += result.lost
            if result.error is not None:
                self.errors[os.fsdecode(NAMES[result.number])] = result.error

    def _link(self, name: str, make: Callable[[], Any]) -> None:
        try:
            made = make()
        except StagingError as error:
            self.errors[name] = error
        else:
            self.lost += made.lost


def pieces(path: bytes) -> list[tuple[int, int]]:
    """Ranges of a file that have bytes to write."""
    begin, found = 0, []
    for piece in NEW[path]:
        end = begin + (len(piece) if isinstance(piece, bytes) else PIECE)
        if isinstance(piece, bytes):
            found.append((begin, end))
        begin = end
    return found


def layout(path: bytes) -> dict[str, list[tuple[int, int]]]:
    holes, zeros = [], []
    for index, piece in enumerate(NEW[path]):
        if piece is None:
            holes.append((index * PIECE, (index + 1) * PIECE))
        elif piece == 0:
            zeros.append((index * PIECE, (index + 1) * PIECE))
    return {"holes": holes, "zeros": zeros}


def check_whole(folder: Path) -> None:
    """Every target is the complete old one, the complete new one, or absent; nothing else is."""
    for path in NAMES:
        place = folder / os.fsdecode(path)
        if place.exists():
            allowed = {content(path), OLD.get(os.fsdecode(path), content(path))}
            assert place.read_bytes() in allowed, path
        else:
            assert os.fsdecode(path) not in OLD, f"{path!r} is gone"
    assert (folder / "other").read_bytes() == OLD["other"]
    for name, text in LINKS.items():
        place = folder / name
        if os.path.lexists(place):
            assert place.readlink() in (Path(os.fsdecode(text)), Path("elsewhere"))
    assert os.path.lexists(folder / "d" / "oldlink")
    if (folder / "hard").exists():
        assert (folder / "hard").read_bytes() == content(b"small")
    known = {os.fsdecode(path) for path in NAMES} | set(OLD) | set(LINKS) | {"hard"}
    for place in folder.rglob("*"):
        name = str(place.relative_to(folder))
        if not name.startswith(".rehydrate-") and not place.is_dir():
            assert name in known, f"{name} was left behind"


def check_new(folder: Path, forgiven: Collection[str] = ()) -> None:
    """Everything is new and complete, and nothing else is left; what was not ``forgiven`` (because
    it was reported) has its metadata, too."""
    check_whole(folder)
    modes = dict(zip(NAMES, table().mode.tolist(), strict=True))
    for path in NAMES:
        place = folder / os.fsdecode(path)
        assert place.read_bytes() == content(path), path
        found = place.stat()
        assert found.st_mtime_ns == TIME, path
        assert stat.S_IMODE(found.st_mode) == modes[path] or os.fsdecode(path) in forgiven, path
    assert (folder / "hard").stat().st_ino == (folder / "small").stat().st_ino
    assert stat.S_IMODE((folder / "d").stat().st_mode) == 0o750
    assert (folder / "d").stat().st_mtime_ns == TIME
    mode = stat.S_IMODE((folder / "d" / "e").stat().st_mode)
    assert mode == 0o777 & ~_umask() or "d/e" in forgiven
    for name, text in LINKS.items():
        assert (folder / name).readlink() == Path(os.fsdecode(text))
    assert not list(folder.glob(".rehydrate-*"))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
