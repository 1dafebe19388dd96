"""Small jobs for the tests of staging, and file-system calls that can be watched and spoilt."""

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rehydrate.ports import SystemFiles
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.staging import Staging
from rehydrate.staging.table import Attributes, FileTable
from rehydrate.values import NO_MODE, NO_OWNER

TIME = 1_500_000_000_000_000_007
CALLS = (
    "open", "open_beneath", "close", "pread", "pwrite", "fstat", "lstat", "listdir", "readlink",
    "ftruncate", "fallocate", "punch_hole", "drop_cache", "fsync", "syncfs", "rename",
    "rename_new", "link", "symlink", "unlink", "mkdir", "rmdir", "fchmod", "fchown", "lchown",
    "futime", "lutime", "fsetxattr", "seek_data", "seek_hole", "lock", "free_bytes",
)  # fmt: skip


class WatchedFiles(SystemFiles):
    """The real calls, written down in ``log``; ``instead[name]`` replaces one: it is given the
    real call and the arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, tuple[Any, ...]]] = []
        self.instead: dict[str, Callable[..., Any]] = {}
        for name in CALLS:
            setattr(self, name, self._watch(name, getattr(self, name)))

    def _watch(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.log.append((name, arguments))
            replaced = self.instead.get(name)
            if replaced is not None:
                return replaced(real, *arguments, **named)
            return real(*arguments, **named)

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.log]

    def fail(self, name: str, number: int = errno.EIO, *, where: object = None) -> None:
        """Let a call fail, always or only with ``where`` among its arguments."""

        def failing(real: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            if where is None or where in arguments:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **named)

        self.instead[name] = failing


def table_of(
    files: Mapping[bytes, int],
    *,
    attributes: Mapping[bytes, Attributes] | None = None,
    linked: frozenset[int] = frozenset(),
) -> FileTable:
    """A job of these paths and sizes; mode 0644 and one time unless told otherwise."""
    given = attributes or {}
    wanted = [given.get(path, Attributes(0o644, TIME)) for path in files]
    return FileTable(
        paths=list(files),
        size=np.array(list(files.values()), np.int64),
        mode=np.array([one.mode for one in wanted], np.uint32),
        mtime_ns=np.array([one.mtime_ns for one in wanted], np.int64),
        uid=np.array([one.uid for one in wanted], np.uint32),
        gid=np.array([one.gid for one in wanted], np.uint32),
        keys=[
            bytes([n]) * 16 if n < 256 else n.to_bytes(16, "big") for n in range(1, len(files) + 1)
        ],
        xattrs={number: one.xattrs for number, one in enumerate(wanted) if one.xattrs},
        linked=linked,
    )


def staging_of(
    folder: Path, table: FileTable, files: SystemFiles | None = None, **options: Any
) -> AbstractContextManager[Staging]:
    """A staging of this job that closes its root, too."""

    @contextmanager
    def opened() -> Any:
        with (
            TargetRoot(folder, files=files) as root,
            Staging(root, "test", table, **options) as staging,
        ):
            yield staging

    return opened()


def names_in(folder: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


__all__ = ["NO_MODE", "NO_OWNER", "TIME", "Attributes", "WatchedFiles"]
