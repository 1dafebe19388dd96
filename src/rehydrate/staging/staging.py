"""The face of staging: one job, one target root, from an empty workspace to published files.

``write_whole``, ``allocate``, ``write_at``, ``finish``, ``discard`` and ``keep`` may be called from
any thread: ``write_at`` and ``keep`` for one file at the same time, the others for one file by one
thread at a time. All other methods wait for each other. The order is: directories, ``examine``,
``leftovers``, then files with ``publish`` in between, links, ``finish_directories``, ``close``.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Self

from rehydrate.errors import PublishError
from rehydrate.ports import Clock, Files, SystemClock
from rehydrate.requests import Durability, Overwrite
from rehydrate.staging.batch import Published
from rehydrate.staging.directories import DirectoryResult
from rehydrate.staging.examine import Examined, Found
from rehydrate.staging.links import Linked, Outcome
from rehydrate.staging.parts import assemble
from rehydrate.staging.pieces import Ranges
from rehydrate.staging.policy import Policy
from rehydrate.staging.reader import FileReader
from rehydrate.staging.resume import StagedLeftover
from rehydrate.staging.root import TargetRoot
from rehydrate.staging.table import Attributes, FileTable
from rehydrate.staging.workspace import Workspace
from rehydrate.values import ReadableBuffer

__all__ = ["Found", "Linked", "Outcome", "Published", "StagedLeftover", "Staging"]

_NOTHING = Attributes()


class Staging:
    """The destination side of one job; a context manager."""

    def __init__(
        self,
        root: TargetRoot,
        job: str,
        table: FileTable,
        *,
        durability: Durability = Durability.BATCH,
        overwrite: Overwrite = Overwrite.IF_CHANGED,
        same_permissions: bool = False,
        sparse: bool = False,
        portable_names: bool = False,
        max_open_files: int = 256,
        checkpoint_bytes: int = 16 << 20,
        files: Files | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make or open the workspace of the job in the target and lock it.

        Args:
            root: The target root; it stays open.
            job: Name of the job, 1 to 64 of ``0-9a-z``; the same job finds what it left staged.
            table: The files of the job.
            durability: What has to be synced before a file is reported.
            overwrite: ``NEVER`` replaces nothing, even what came after :meth:`examine`.
            same_permissions: Also set setuid, setgid, sticky and ``security.*`` attributes.
            sparse: Turn runs of zeros into holes.
            portable_names: Existing 8.3 aliases block a file.
            max_open_files: Most descriptors of files that are written in pieces.
            checkpoint_bytes: Bytes written to a file between two hints for a resume.
            files: The file-system calls; ``None`` = those of the root.
            clock: Tells the age of a batch; ``None`` = the real one.

        Raises:
            StagingError: The workspace is in use, not ours, or cannot be made.
        """
        files = root.files if files is None else files
        policy = Policy(
            durability=durability,
            overwrite=overwrite,
            same_permissions=same_permissions,
            sparse=sparse,
            portable_names=portable_names,
            max_open_files=max_open_files,
            checkpoint_bytes=checkpoint_bytes,
        )
        clock = SystemClock() if clock is None else clock
        self._root = root
        self._tree = threading.RLock()
        self._workspace = workspace = Workspace(root.fd, job, files)
        try:
            self._parts = assemble(
                root, job, table, workspace=workspace, policy=policy, files=files, clock=clock
            )
        except BaseException as cause:
            workspace.close()
            if isinstance(cause, OSError):
                raise PublishError.of(cause, "make files in the target") from cause
            raise
        self._pieces = self._parts.pieces
        # Without a layer between: this one runs once for each small file.
        self._write_whole = self._parts.staged.write_whole

    def __enter__(self) -> Self:
        """Return the staging itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; see :meth:`close`."""
        self.close()

    @property
    def owners_not_applied(self) -> bool:
        """Whether an owner was left alone because the process may not give files away."""
        return self._parts.metadata.owners_not_applied

    @property
    def folds_names(self) -> bool:
        """Whether the target takes names that differ by case for one."""
        return self._parts.identity.folds_names

    @property
    def waiting(self) -> int:
        """Number of complete files that wait to be published."""
        return len(self._parts.staged.ready)

    def free_bytes(self) -> int:
        """Return the bytes that an ordinary user may still write; or raise PublishError."""
        return self._root.free_bytes()

    def spill(self) -> int:
        """Return the descriptor of a new file without a name; the caller closes it."""
        with self._tree:
            return self._workspace.spill()

    def examine(self, numbers: Sequence[int]) -> Examined:
        """Look at the targets of some files; those of one directory should be neighbours.

        Nothing is asked about directories that are missing or were made by this job.
        """
        with self._tree:
            return self._parts.examiner.examine(numbers)

    def open_target(self, number: int) -> FileReader | None:
        """Open what stands at a target to compare it; None: no file of that size to be read."""
        with self._tree:
            return self._parts.examiner.open_target(number)

    def leftovers(self) -> Mapping[int, StagedLeftover]:
        """Return what an earlier run of this job left staged, by file number.

        To be called once, after :meth:`examine`. Each one is to be hashed and then given to
        :meth:`accept` or :meth:`discard`. What cannot be used is removed.
        """
        with self._tree:
            return self._parts.resume.find()

    def accept(self, number: int, good: Ranges, *, holes: Ranges = (), zeros: Ranges = ()) -> None:
        """Go on with a leftover as with an allocated file.

        Args:
            number: The file.
            good: Ranges ``(begin, end)`` whose bytes were found right; the others are going to be
                written. A file that is complete goes straight to :meth:`finish`.
            holes: Ranges that are never written and stay unallocated.
            zeros: Ranges that are never written and read as zeros.

        Raises:
            StagingError: It cannot be used and is removed: the file starts afresh.
        """
        self._parts.resume.accept(number, good, holes=holes, zeros=zeros)

    def write_whole(self, number: int, data: ReadableBuffer) -> None:
        """Write all of a file and queue it; or raise StagingError and leave nothing of it."""
        self._write_whole(number, data)

    def allocate(self, number: int, *, holes: Ranges = (), zeros: Ranges = ()) -> None:
        """Begin a file that comes in pieces: make it, with its size and its space.

        Args:
            number: The file.
            holes: Ranges ``(begin, end)`` that are never written and stay unallocated; sorted and
                apart, as ``zeros``.
            zeros: Ranges that are never written and read as zeros; allocated unless ``sparse``.

        Raises:
            NoSpaceError: The target is full; what was allocated is given back.
            StagingError: The file could not be made.
        """
        self._pieces.allocate(number, holes=holes, zeros=zeros)

    def write_at(self, number: int, offset: int, data: ReadableBuffer) -> None:
        """Write a piece of an allocated or accepted file; StagingError leaves it staged."""
        self._pieces.write_at(number, offset, data)

    def finish(self, number: int) -> None:
        """Put the metadata on a file that has all its pieces, and queue it.

        Raises:
            DurabilityError: A write error was reported that may be its own; it is removed.
            StagingError: Its descriptor could not be opened again; it stays staged.
        """
        self._pieces.finish(number)

    def read_back(self, number: int) -> FileReader:
        """Open a queued file to verify it, before a ``publish`` takes it; or raise PublishError."""
        return self._parts.staged.read_back(number)

    def discard(self, number: int) -> None:
        """Remove a staged file that is of no use; no fault if there is none."""
        self._pieces.discard(number)
        self._parts.staged.discard(number)

    def keep(self, number: int) -> None:
        """Stop writing a file and leave what is there for the next run of the job."""
        self._pieces.keep(number)

    def publish_due(self) -> bool:
        """Tell whether :meth:`publish` should be called now; cheap."""
        return self._parts.publisher.due()

    def publish(self) -> list[Published]:
        """Put all queued files in place; with a durability, they survive power loss after that."""
        with self._tree:
            return self._parts.publisher.publish()

    def make_directory(self, path: bytes, wanted: Attributes = _NOTHING) -> Outcome:
        """Make a directory, with mode 0700 for now; see :meth:`finish_directories`.

        Args:
            path: Accepted relative path; empty = the target root itself.
            wanted: Its final metadata.

        Raises:
            StagingError: It could not be made; what stands there is intact.
        """
        with self._tree:
            return self._parts.directories.make(path, wanted)

    def make_symlink(self, path: bytes, text: bytes, wanted: Attributes = _NOTHING) -> Linked:
        """Make a symbolic link, whatever it says; whether it may be made is the caller's policy.

        Raises:
            StagingError: It could not be made; what stands there is intact.
        """
        with self._tree:
            return self._parts.linker.symlink(path, text, wanted)

    def make_hard_link(self, first: int, path: bytes) -> Linked:
        """Give a file that is in place a further name.

        Args:
            first: Number of the file; if it is in ``FileTable.linked``, nobody can slip in another
                file at its first name.
            path: Accepted relative path of the further name.

        Raises:
            TargetChangedError: What stands at the first name is not the file.
            StagingError: It could not be made; what stands there is intact.
        """
        with self._tree:
            return self._parts.linker.hard_link(first, path)

    def finish_directories(self) -> list[DirectoryResult]:
        """Give all directories their metadata, deepest first; return what there is to say."""
        with self._tree:
            return self._parts.directories.finish()

    def close(self) -> bool:
        """Close everything. What is staged and not published stays for the next run of the job.

        Returns:
            Whether the workspace is gone because nothing is staged.
        """
        with self._tree:
            self._pieces.close()
            self._parts.staged.close()
            self._parts.parents.close()
            gone = self._parts.homes.close()
            self._parts.directories.touch_root()
            return gone
