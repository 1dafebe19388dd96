"""Publishes staged files in batches: sync, rename, sync the directories, then report.

A file is reported only when all of that is behind it. One sync serves a whole batch; a sync that
fails poisons every file it was for, because the kernel reports a lost write once and shows the
unwritten bytes as if they were there: none of them is renamed, none is kept for a later run.
"""

import errno
import os
from binascii import hexlify
from collections.abc import Iterable
from typing import Final, NamedTuple

from rehydrate.errors import (
    DurabilityError,
    PublishError,
    RestoreError,
    StagingError,
    TargetChangedError,
    UnsafeTargetError,
)
from rehydrate.ports import Clock, Files
from rehydrate.requests import Durability, Overwrite, TargetIdentity
from rehydrate.staging.large_files import LargeFiles
from rehydrate.staging.paths import display
from rehydrate.staging.policy import Policy
from rehydrate.staging.root import Parents, blocked
from rehydrate.staging.staged import SYNC_TOGETHER_FROM, StagedFiles
from rehydrate.staging.table import FileTable
from rehydrate.staging.workspace import NO_FOLLOW, Workspace

__all__ = [
    "BATCH_BYTES",
    "BATCH_FILES",
    "BATCH_SECONDS",
    "DIRECTORIES_TOGETHER_FROM",
    "Published",
    "Publisher",
    "in_the_way",
]

BATCH_FILES: Final = 256
"""Files after which a batch is due."""
BATCH_BYTES: Final = 256 << 20
"""Bytes of large files after which a batch is due."""
BATCH_SECONDS: Final = 2.0
"""Age of the oldest waiting file after which a batch is due."""
DIRECTORIES_TOGETHER_FROM: Final = 4
"""Directories from which one sync of the file system beats a sync of each."""


class Published(NamedTuple):
    """What became of one file.

    Attributes:
        number: The file.
        error: Why it is not published, or which metadata it lacks, or why it may not survive
            power loss; ``None`` if there is nothing to say.
        lost: Names of metadata that could not be set.
        placed: Whether the new file is at its target.
    """

    number: int
    error: RestoreError | None = None
    lost: tuple[str, ...] = ()
    placed: bool = True


def in_the_way(cause: OSError, path: bytes, what: str) -> StagingError:
    """Say in one line why nothing can be put at a target.

    Args:
        cause: What the rename raised.
        path: The target.
        what: What was to be put there, ``"file"`` or ``"link"``.

    Returns:
        The error to raise ``from cause``.
    """
    if cause.errno in (errno.EISDIR, errno.ENOTEMPTY):
        return UnsafeTargetError(
            f"a directory stands where the {what} {display(path)!r} must go;"
            " remove it or choose another target",
            code="fs.is-directory",
            file=display(path),
        )
    if cause.errno == errno.EXDEV:
        return PublishError(
            f"{display(path)!r} lies on another file system than the target root;"
            " restore it with a target on that file system",
            code="fs.device",
            file=display(path),
        )
    error = PublishError.of(cause, f"put the {what} {display(path)!r} in place", file=display(path))
    if cause.errno == errno.EEXIST:
        error.code = "fs.exists"
    return error


def _changed(files: Files, name: bytes, parent_fd: int, expected: TargetIdentity) -> bool:
    """Whether something else stands at a target than the request was made for."""
    try:
        return TargetIdentity.of(files.lstat(name, parent_fd)) != expected
    except OSError:
        return True


class Publisher:
    """Takes complete staged files to their targets. Its owner calls one method at a time."""

    def __init__(
        self,
        *,
        table: FileTable,
        staged: StagedFiles,
        large: LargeFiles,
        parents: Parents,
        workspace: Workspace,
        policy: Policy,
        files: Files,
        clock: Clock,
    ) -> None:
        """Fix the policy.

        Args:
            table: The files of the job.
            staged: Where they are staged.
            large: Those that are still being written.
            parents: Finds and makes their directories.
            workspace: The workspace at the root.
            policy: The choices of the job.
            files: The file-system calls.
            clock: Tells the age of a batch.
        """
        self._table = table
        self._staged = staged
        self._large = large
        self._parents = parents
        self._workspace = workspace
        self._durability = policy.durability
        self._files = files
        self._clock = clock
        self._rename = files.rename_new if policy.overwrite is Overwrite.NEVER else files.rename
        self._since: float | None = None
        self._syncfs = policy.durability is not Durability.NONE

    def due(self) -> bool:
        """Tell whether a batch is full or old enough; cheap enough to ask after each file."""
        waiting = len(self._staged.ready)
        if not waiting:
            self._since = None
            return False
        if waiting >= BATCH_FILES or self._staged.ready_bytes >= BATCH_BYTES:
            return True
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= BATCH_SECONDS

    def publish(self) -> list[Published]:
        """Publish all that is ready.

        Returns:
            One entry for each file, failed ones first.
        """
        numbers = self._staged.take_ready()
        self._since = None
        results: list[Published] = []
        if self._durability is Durability.NONE:
            self._rename_all(numbers, results)
            return results
        for workspace, members in self._by_workspace(numbers):
            numbers = self._sync(workspace, members, results)
            directories = self._rename_all(numbers, results)
            directories |= self._parents.unsynced
            self._parents.unsynced.clear()
            failed = self.sync_directories(workspace, directories)
            if failed:
                results = [self._unsure(result, failed) for result in results]
        return results

    def sync_directories(
        self, workspace: Workspace, directories: Iterable[bytes]
    ) -> dict[bytes, OSError]:
        """Make the names in some directories survive power loss.

        Args:
            workspace: A workspace on their file system.
            directories: Relative paths.

        Returns:
            Those that failed, each with the reason.
        """
        wanted = sorted(directories, reverse=True)  # leaves before what holds them
        if len(wanted) >= DIRECTORIES_TOGETHER_FROM and self._durability is Durability.BATCH:
            try:
                if self._sync_file_system(workspace):
                    return {}
            except OSError as cause:
                self._poison()
                return dict.fromkeys(wanted, cause)
        failed = {}
        for path in wanted:
            try:
                self._files.fsync(self._parents.find(path))
            except OSError as cause:
                failed[path] = cause
        return failed

    def _by_workspace(self, numbers: list[int]) -> list[tuple[Workspace, list[int]]]:
        homes = self._staged.homes
        if not homes:
            return [(self._workspace, numbers)]
        groups: dict[int, tuple[Workspace, list[int]]] = {}
        for number in numbers:
            workspace = homes.get(number, self._workspace)
            groups.setdefault(workspace.fd, (workspace, []))[1].append(number)
        return list(groups.values())

    def _sync(
        self, workspace: Workspace, numbers: list[int], results: list[Published]
    ) -> list[int]:
        """Sync the bytes of staged files; return those that are safe."""
        many = len(numbers) >= SYNC_TOGETHER_FROM or self._large.evicted
        full = self._durability is Durability.FULL
        if many:
            try:
                if self._sync_file_system(workspace) and not full:
                    return self._release(numbers, results)
            except OSError as cause:
                self._poison()
                if not full:
                    results.extend(self._lose(number, cause) for number in numbers)
                    return []
        return self._sync_each(workspace, numbers, results)

    def _sync_each(
        self, workspace: Workspace, numbers: list[int], results: list[Published]
    ) -> list[int]:
        files = self._files
        safe = []
        for number in numbers:
            fd = self._staged.kept_open.pop(number, -1)
            try:
                if fd < 0:
                    name = self._table.staged_name(number)
                    fd = files.open(name, os.O_RDONLY | NO_FOLLOW, dir_fd=workspace.fd)
                try:
                    files.fsync(fd)
                finally:
                    files.close(fd)
            except OSError as cause:
                results.append(self._lose(number, cause))
            else:
                safe.append(number)
        return safe

    def _release(self, numbers: list[int], results: list[Published]) -> list[int]:
        """Close the descriptors that were kept; return the files for which that went well."""
        kept = self._staged.kept_open
        failed = set()
        for number in [number for number in numbers if number in kept]:
            try:
                self._files.close(kept.pop(number))
            except OSError as cause:
                results.append(self._lose(number, cause))
                failed.add(number)
        return [number for number in numbers if number not in failed] if failed else numbers

    def _sync_file_system(self, workspace: Workspace) -> bool:
        return self._syncfs and self._files.syncfs(workspace.fd)

    def _poison(self) -> None:
        """A file-system sync failed: whatever is staged may be what was lost.

        From now on each file is synced by itself: that reports what this sync did not single out,
        also for files that were written while it ran.
        """
        self._syncfs = False
        self._large.poison()

    def _lose(self, number: int, cause: OSError) -> Published:
        self._staged.discard(number)
        error = self._staged.not_durable(number, cause)
        error.__cause__ = cause
        return Published(number, error, (), placed=False)

    def _rename_all(self, numbers: list[int], results: list[Published]) -> set[bytes]:
        """Rename staged files to their targets; return the directories that changed."""
        table, staged, rename = self._table, self._staged, self._rename
        paths, keys, homes, lost = table.paths, table.keys, staged.homes, staged.lost
        replaces = table.replaces
        folder = self._workspace.fd
        changed: set[bytes] = set()
        current: bytes | None = None
        parent_fd = -1
        for number in numbers:
            path = paths[number]
            parent, _, name = path.rpartition(b"/")
            if parent != current:
                current = None
                try:
                    parent_fd = self._parents.make(parent)
                except OSError as cause:
                    error = blocked(cause, parent, file=path)
                    results.append(self._refuse(number, error, cause))
                    continue
                current = parent
                changed.add(parent)
            source = folder if number not in homes else homes[number].fd
            if number in replaces and _changed(self._files, name, parent_fd, replaces[number]):
                results.append(self._left_alone(number))
                continue
            try:
                rename(hexlify(keys[number]), name, src_dir_fd=source, dst_dir_fd=parent_fd)
            except OSError as cause:
                error = in_the_way(cause, path, "file")
                results.append(self._refuse(number, error, cause))
                continue
            if number in lost:
                names, failure = lost.pop(number)
                results.append(Published(number, failure, names))
            else:
                results.append(Published(number))
        return changed

    def _left_alone(self, number: int) -> Published:
        """Report a file whose target is another one by now; its new bytes are of no use."""
        self._staged.firsts.discard(number)
        self._staged.discard(number)
        label = self._table.label(number)
        text = f"{label!r} was changed since its stub was read, and is left as it is: ask again"
        return Published(number, TargetChangedError(text, file=label), (), placed=False)

    def _refuse(self, number: int, error: RestoreError, cause: OSError) -> Published:
        """Report a file that cannot be put in place; its bytes are good and stay staged."""
        error.__cause__ = cause
        error.resumable = error.code != "fs.exists"
        self._staged.firsts.discard(number)
        if not error.resumable:
            self._staged.discard(number)
        return Published(number, error, (), placed=False)

    def _unsure(self, result: Published, failed: dict[bytes, OSError]) -> Published:
        parent = self._table.paths[result.number].rpartition(b"/")[0]
        if parent not in failed or not result.placed:
            return result
        cause = failed[parent]
        label = self._table.label(result.number)
        error = DurabilityError(
            f"{label!r} is in place, but its directory could not be synced ({cause.strerror}):"
            " it may be gone after a power loss; restore it again",
            file=label,
            retryable=True,
        )
        error.__cause__ = cause
        return result._replace(error=error)
