"""Makes directories early and gives them their metadata late.

A directory is made with mode 0700, whatever its final mode, and gets mode, owner and time when all
that goes into it is in place, the deepest first. Directories that nobody described get the mode of
a new directory. What an earlier, killed run made is finished, too.
"""

from typing import Final, NamedTuple

from rehydrate.errors import DurabilityError, RestoreError
from rehydrate.ports import Files
from rehydrate.requests import Durability, Overwrite
from rehydrate.staging.batch import Publisher
from rehydrate.staging.homes import Homes
from rehydrate.staging.links import Outcome
from rehydrate.staging.metadata import MetadataWriter
from rehydrate.staging.paths import display
from rehydrate.staging.policy import Policy
from rehydrate.staging.root import Parents, TargetRoot, blocked
from rehydrate.staging.table import Attributes
from rehydrate.staging.workspace import effective_user
from rehydrate.values import NO_MODE, NO_TIME

__all__ = ["DEFAULT_DIRECTORY_MODE", "Directories", "DirectoryResult"]

DEFAULT_DIRECTORY_MODE: Final = 0o777
_OWNER_ALL: Final = 0o700


class DirectoryResult(NamedTuple):
    """What there is to say about a directory.

    Attributes:
        path: Relative path; empty = the target root.
        error: What failed, or ``None``.
        lost: Names of metadata that could not be set.
    """

    path: bytes
    error: RestoreError | None
    lost: tuple[str, ...]


class Directories:
    """The directories of a job. Its owner calls one method at a time."""

    def __init__(
        self,
        *,
        root: TargetRoot,
        parents: Parents,
        homes: Homes,
        metadata: MetadataWriter,
        publisher: Publisher,
        policy: Policy,
        files: Files,
    ) -> None:
        """Keep what is needed.

        Args:
            root: The target root.
            parents: Finds and makes directories.
            homes: The workspaces; the main one remembers what an earlier run made.
            metadata: Puts metadata on directories.
            publisher: Syncs them.
            policy: The choices of the job; ``NEVER`` leaves existing directories alone.
            files: The file-system calls.
        """
        self._root = root
        self._parents = parents
        self._homes = homes
        self._metadata = metadata
        self._publisher = publisher
        self._files = files
        self._durability = policy.durability
        self._overwrite = policy.overwrite
        self._made_before = frozenset(homes.main.places(b"M"))
        self._described: dict[bytes, Attributes] = {}

    def make(self, path: bytes, wanted: Attributes) -> Outcome:
        """Make a directory and remember its metadata.

        Args:
            path: Relative path; empty = the target root.
            wanted: Its metadata.

        Raises:
            StagingError: It could not be made; what stands there is intact.
        """
        existed = path not in self._made_before and path not in self._parents.made
        try:
            fd = self._parents.make(path)
            existed = existed and path not in self._parents.made
            if existed and self._overwrite is Overwrite.NEVER:
                return Outcome.EXISTS
            if existed:
                wanted = self._open_up(fd, wanted)
        except OSError as cause:
            raise blocked(cause, path, file=path) from cause
        self._described[path] = wanted
        return Outcome.SAME if existed else Outcome.MADE

    def _open_up(self, fd: int, wanted: Attributes) -> Attributes:
        """Let ourselves write into a directory of ours until it gets its final mode."""
        there = self._files.fstat(fd)
        mode = there.st_mode & 0o7777
        if there.st_uid == effective_user() and mode & _OWNER_ALL != _OWNER_ALL:
            self._files.fchmod(fd, mode | _OWNER_ALL)
        return wanted._replace(mode=mode) if wanted.mode == NO_MODE else wanted

    def finish(self) -> list[DirectoryResult]:
        """Give all directories their metadata and sync what is not synced yet.

        Returns:
            Only directories that there is something to say about.
        """
        described = dict.fromkeys(self._made_before | self._parents.made, Attributes())
        described.update(self._described)
        results = []
        finished = set(self._parents.unsynced)
        for path in sorted(described, key=lambda path: (-path.count(b"/"), path == b"", path)):
            result = self._finish(path, described[path], finished)
            if result is not None:
                results.append(result)
        if self._durability is not Durability.NONE:
            results.extend(self._sync(finished))
        self._parents.unsynced.clear()
        return results

    def touch_root(self) -> None:
        """Set the time of the root again, after the workspace in it is gone.

        Raises:
            StagingError: It cannot be set.
        """
        wanted = self._described.get(b"", Attributes())
        if wanted.mtime_ns == NO_TIME:
            return
        try:
            self._files.futime(self._root.fd, wanted.mtime_ns, wanted.mtime_ns)
        except OSError as cause:
            raise blocked(cause, b"", file=b"") from cause

    def _finish(
        self, path: bytes, wanted: Attributes, finished: set[bytes]
    ) -> DirectoryResult | None:
        sure = path in self._described or path in self._parents.made
        try:
            fd = self._parents.find(path)
            if not sure and not self._as_we_make_it(fd):
                return None
        except OSError as cause:
            if not sure:  # an earlier run wanted to make it
                return None
            return DirectoryResult(path, blocked(cause, path, file=path), ("mode", "mtime"))
        finished.add(path)
        lost = self._metadata.apply(
            fd, wanted, default_mode=DEFAULT_DIRECTORY_MODE, label=display(path) or "."
        )
        return None if lost is None else DirectoryResult(path, lost.error, lost.names)

    def _as_we_make_it(self, fd: int) -> bool:
        there = self._files.fstat(fd)
        return there.st_uid == effective_user() and there.st_mode & 0o7777 == _OWNER_ALL

    def _sync(self, paths: set[bytes]) -> list[DirectoryResult]:
        results = []
        for workspace in self._homes.all():
            on_it = [
                path
                for path in paths
                if self._homes.look(path, self._parents).device == workspace.device
            ]
            failed = self._publisher.sync_directories(workspace, on_it)
            for path, cause in failed.items():
                error = DurabilityError(
                    f"directory {display(path) or '.'!r} could not be synced ({cause.strerror}):"
                    " what was put into it may be gone after a power loss; restore it again",
                    file=display(path),
                    retryable=True,
                )
                error.__cause__ = cause
                results.append(DirectoryResult(path, error, ()))
        return results
