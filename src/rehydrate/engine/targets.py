"""The targets of a job: directories first, what stands there, links last."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from rehydrate.chunks import ChunkTable, Ints
from rehydrate.engine.entries import Entries
from rehydrate.engine.layout import check_ranges
from rehydrate.engine.outcome import Outcome
from rehydrate.errors import PublishError, RestoreError, StagingError, UnsafeTargetError
from rehydrate.formats.walk import StoreFormat, StubTable
from rehydrate.requests import Links, Overwrite, RestoreOptions
from rehydrate.results import AtTarget, FileStatus
from rehydrate.staging.examine import Found
from rehydrate.staging.links import Linked
from rehydrate.staging.links import Outcome as LinkOutcome
from rehydrate.staging.paths import stays_inside
from rehydrate.staging.staging import Staging
from rehydrate.staging.table import Attributes

__all__ = ["Targets"]

_LINK_STATUS: Final = {
    LinkOutcome.MADE: FileStatus.RESTORED,
    LinkOutcome.SAME: FileStatus.SKIPPED_SAME,
    LinkOutcome.EXISTS: FileStatus.SKIPPED_EXISTS,
}

_IN_PLACE: Final = frozenset(
    {
        FileStatus.RESTORED,
        FileStatus.STORE_VERSION,
        FileStatus.SKIPPED_SAME,
        FileStatus.SKIPPED_EXISTS,
    }
)


class Targets:
    """Everything about the targets of one job that is not file data."""

    def __init__(
        self,
        stubs: StubTable,
        entries: Entries,
        *,
        indexes: Sequence[int],
        names: Sequence[bytes],
        options: RestoreOptions,
        outcome: Outcome,
    ) -> None:
        """Bind; nothing is touched yet.

        Args:
            stubs: Decoded stubs of the job.
            entries: What each of them is.
            indexes: Request index of each stub.
            names: Target of each request of the call.
            options: What the caller asked for.
            outcome: Where requests are decided.
        """
        self._stubs, self._entries, self._indexes = stubs, entries, indexes
        self._names, self._options, self._outcome = names, options, outcome
        self._requests_of: list[int] = entries.requests.tolist()
        self._directories: dict[bytes, int] = {}
        self._standing: set[int] = set()

    def make_directories(self, staging: Staging) -> None:
        """Make all directories, private for now."""
        for position in self._entries.directories:
            index = self._indexes[position]
            path = self._names[index]
            try:
                made = staging.make_directory(path, self._attributes(position))
            except StagingError as error:
                self._outcome.fail(index, error)
            else:
                self._directories[path] = index
                if made is not LinkOutcome.MADE:
                    self._standing.add(index)
                    self._outcome.present(index, AtTarget.OLD)

    def _attributes(self, position: int) -> Attributes:
        stubs = self._stubs
        return Attributes(
            mode=int(stubs.mode[position]),
            mtime_ns=int(stubs.mtime_ns[position]),
            uid=int(stubs.uid[position]),
            gid=int(stubs.gid[position]),
            xattrs=stubs.xattrs.get(position, ()),
        )

    def finish_directories(self, staging: Staging) -> None:
        """Give directories their final metadata, deepest first."""
        for result in staging.finish_directories():
            index = self._directories.get(result.path)
            if index is not None:
                self._decide_directory(index, result.error, result.lost)
        for index in self._directories.values():
            self._decide_directory(index)

    def _decide_directory(
        self, index: int, error: RestoreError | None = None, lost: tuple[str, ...] = ()
    ) -> None:
        """Decide a directory that has its metadata; one that stood there counts as the same."""
        stood = index in self._standing
        status = FileStatus.SKIPPED_SAME if stood else FileStatus.RESTORED
        self._outcome.decide(index, status, error, lost)

    def examine(self, staging: Staging) -> Ints:
        """Decide what needs no bytes; return the file numbers that do, ascending."""
        options, outcome = self._options, self._outcome
        examined = staging.examine(range(len(self._requests_of)))
        outcome.looked_at(self._requests_of)
        found = np.frombuffer(bytes(examined.found), np.uint8)
        for number, error in examined.errors.items():
            outcome.fail(self._requests_of[number], error)
        for number in np.flatnonzero(found != Found.FRESH).tolist():
            outcome.present(self._requests_of[number], AtTarget.OLD)
        keep = found != Found.BLOCKED
        self._same = found == Found.EXISTS_SAME
        if options.overwrite is Overwrite.NEVER:
            self._skip(np.flatnonzero(keep & (found != Found.FRESH)), FileStatus.SKIPPED_EXISTS)
            keep &= found == Found.FRESH
        elif options.overwrite is Overwrite.IF_CHANGED and not options.checksum:
            self._skip(np.flatnonzero(self._same), FileStatus.SKIPPED_SAME)
            keep &= ~self._same
        return np.flatnonzero(keep)

    def compare(
        self, staging: Staging, form: StoreFormat, table: ChunkTable, numbers: Ints
    ) -> Ints:
        """With ``checksum``: drop the files whose bytes stand at the target already."""
        different = []
        for number in numbers.tolist():
            same = False
            reader = staging.open_target(number) if self._same[number] else None
            if reader is not None:
                with reader:
                    good = check_ranges(form, table, number, reader.read, None)
                same = good is not None and bool(good.all())
            if same:
                self._outcome.decide(self._requests_of[number], FileStatus.SKIPPED_SAME)
            else:
                different.append(number)
        return np.array(different, np.int64)

    def _skip(self, numbers: Ints, status: FileStatus) -> None:
        for number in numbers.tolist():
            self._outcome.decide(self._requests_of[number], status)

    def make_links(self, staging: Staging) -> None:
        """Make further names of files, then symbolic links: both after all files."""
        for position, number in self._entries.further.items():
            self._hard_link(staging, position, number)
        for position in self._entries.symlinks:
            self._symlink(staging, position)

    def _hard_link(self, staging: Staging, position: int, number: int) -> None:
        index, outcome = self._indexes[position], self._outcome
        outcome.sizes[index] = self._stubs.size[position]
        first = outcome.status(self._requests_of[number])
        if first == FileStatus.CANCELLED:
            return
        if first not in _IN_PLACE:
            outcome.fail(
                index,
                PublishError("the first name of the inode was not restored", code="link.first"),
            )
            return
        try:
            self._linked(index, staging.make_hard_link(number, self._names[index]))
        except StagingError as error:
            outcome.fail(index, error)

    def _symlink(self, staging: Staging, position: int) -> None:
        index, outcome = self._indexes[position], self._outcome
        name, text = self._names[index], self._stubs.texts[position]
        if self._options.links is Links.SKIP:
            outcome.decide(index, FileStatus.SKIPPED_LINK)
            return
        if self._options.links is Links.SAFE and not stays_inside(name, text):
            outcome.fail(
                index,
                UnsafeTargetError(
                    "the link leads out of the target directory", code="link.outside"
                ),
            )
            return
        try:
            linked = staging.make_symlink(name, text, self._attributes(position))
        except StagingError as error:
            outcome.fail(index, error)
        else:
            self._linked(index, linked)

    def _linked(self, index: int, linked: Linked) -> None:
        status = _LINK_STATUS[linked.outcome]
        if status is not FileStatus.RESTORED:
            self._outcome.present(index, AtTarget.OLD)
        self._outcome.decide(index, status, linked.error, linked.lost)
