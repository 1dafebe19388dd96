"""What a caller asks for: files to restore, where their stubs are, and how to go about it."""

import enum
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from rehydrate.errors import RequestError
from rehydrate.values import FileExtent, ReadableBuffer

__all__ = [
    "DEDUP_RECONSTRUCT_OPTIMIZED",
    "DEDUP_RECONSTRUCT_UNOPTIMIZED",
    "CancelToken",
    "Durability",
    "FileMetadata",
    "Links",
    "Overwrite",
    "OwnExtent",
    "Recall",
    "RestoreOptions",
    "RestoreRequest",
    "TargetIdentity",
]


# Values of the COM call's parameter (Microsoft, ddpbackup.h, DEDUP_BACKUP_SUPPORT_PARAM_TYPE).
DEDUP_RECONSTRUCT_UNOPTIMIZED: Final = 1
DEDUP_RECONSTRUCT_OPTIMIZED: Final = 2


class Overwrite(enum.Enum):
    """What to do where a target exists already."""

    NEVER = "never"
    """Leave it: the file is SKIPPED_EXISTS."""
    IF_CHANGED = "if-changed"
    """Leave it when type, size and modification time (ns) are equal: SKIPPED_SAME."""
    ALWAYS = "always"
    """Replace it in one atomic step."""


class Durability(enum.Enum):
    """When a published file is safe from power loss; every level is safe from a killed process."""

    FULL = "full"
    """Before the call reports the file: data, name and directory are synced."""
    BATCH = "batch"
    """As FULL, with one file-system sync for a whole batch of files."""
    NONE = "none"
    """Whenever the operating system gets to it."""


class Links(enum.Enum):
    """What to do with symbolic links."""

    SKIP = "skip"
    """Do not create them (the default of the library)."""
    SAFE = "safe"
    """Create those whose target stays inside the target directory, judged by the text alone."""
    VERBATIM = "verbatim"
    """Create all, exactly as recorded; they are made last and never followed."""


class Recall(enum.Enum):
    """What to do when it is unknown whether the stub holds newer bytes than the chunk store."""

    REFUSE = "refuse"
    """Fail the file when anything hints at recalled data; the default."""
    IGNORE = "ignore"
    """Take the bytes of the chunk store; the result says ``recall = "unchecked"``."""


class CancelToken:
    """Asks a running restore to stop; safe to call from any thread and from signal handlers."""

    def __init__(self) -> None:
        """Start in the state "not cancelled"."""
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask; the restore stops between two chunks and keeps what is staged."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._event.is_set()


@attrs.frozen
class OwnExtent:
    """A range of the file that the stub itself holds: newer than the chunk store.

    Attributes:
        extent: The range in the file, bytes.
        read: Called with ``(offset, size)`` in the file; returns exactly ``size`` bytes. Called on
            the engine's thread after all chunks of the file are written.
    """

    extent: FileExtent
    read: Callable[[int, int], ReadableBuffer]


@attrs.frozen(kw_only=True)
class FileMetadata:
    """Metadata to put on a restored file instead of the stub's; ``None`` leaves a field alone.

    Attributes:
        mode: Permission bits, ``0o0000`` to ``0o7777``.
        mtime_ns: Modification time, nanoseconds since 1970.
        uid: Owner number.
        gid: Group number.
        xattrs: Extended attributes, ``(name, value)``; ``None`` = those of the stub.
        left_out: Names of metadata that the source has and that this cannot carry; they are listed
            in :attr:`FileResult.metadata_lost <rehydrate.FileResult>` of a restored file.
    """

    mode: int | None = None
    mtime_ns: int | None = None
    uid: int | None = None
    gid: int | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] | None = None
    left_out: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class TargetIdentity:
    """What stands at a target, so that it can be recognised later.

    Attributes:
        device: Device number.
        inode: Inode number.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since 1970.
        ctime_ns: Change time, nanoseconds since 1970.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "TargetIdentity":
        """Return the identity that a status shows."""
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )


@attrs.frozen
class RestoreRequest:
    """One file to restore.

    Attributes:
        stub: The stub as bytes, as the backup holds it; never re-read from the target.
        target: Path relative to the target root, ``/`` between components; ``bytes`` where the
            name is no valid text.
        size: Size of the stub's data stream in bytes, where the source of the stub knows it.
        metadata: Wins over what stands in place and over the stub.
        own_data: The stub's own allocated ranges: ``None`` = unknown, ``()`` = known to be none.
        replaces: What must stand at the target when the file is published, else it fails with
            :class:`~rehydrate.TargetChangedError`; ``None`` = no matter what.
        link_group: Equal and not 0 for requests that are names of one file (hard links), where the
            stub does not say so itself; they become names of one file again.
    """

    stub: bytes
    target: str | bytes
    size: int | None = None
    metadata: FileMetadata | None = None
    own_data: Sequence[OwnExtent] | None = None
    replaces: TargetIdentity | None = None
    link_group: int = 0


@attrs.frozen(kw_only=True)
class RestoreOptions:
    """How to restore; the defaults are what the command line uses, links apart.

    Attributes:
        overwrite: Policy for targets that exist.
        checksum: With ``Overwrite.IF_CHANGED``: also compare every byte that stands there.
        durability: When results survive power loss.
        links: Policy for symbolic links.
        same_permissions: Also set setuid, setgid and sticky bits and ``security.*`` attributes.
        sparse: Turn recorded runs of zeros into holes; recorded holes always come back as holes.
        recall: Policy for stubs that may hold newer data.
        portable_names: Refuse names that some operating system could not hold.
        jobs: Number of worker threads, at least 1; 0 = one for each processor, at most 8.
        memory: Budget in bytes for buffers and plan columns; beyond it columns go to disk.
        max_gap: Merge two reads when at most this many unneeded bytes lie between them;
            ``None`` = the store's hint, else 4096.
        max_read: Largest read in bytes, below 2**31; ``None`` = the store's hint, else 8 MiB.
        max_extents: Extents accepted in an order answer, on top of 64 for each container.
        read_timeout: Seconds that one read may take; ``None`` = what the store declares, else 300.
        read_attempts: Consecutive failed reads after which a container is given up for this job.
        max_file_size: Largest logical size of one file in bytes.
        max_chunk_size: Largest chunk in bytes after decoding.
        max_open_files: Staged files held open at the same time.
        checkpoint_bytes: Bytes written to a file between two hints for a resume.
        cancel: Token that stops the restore.
        flags: Parameter of the COM call, kept for ports: 1, ``DEDUP_RECONSTRUCT_UNOPTIMIZED``, and
            nothing else.
    """

    overwrite: Overwrite = Overwrite.IF_CHANGED
    checksum: bool = False
    durability: Durability = Durability.BATCH
    links: Links = Links.SKIP
    same_permissions: bool = False
    sparse: bool = False
    recall: Recall = Recall.REFUSE
    portable_names: bool = False
    jobs: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    memory: int = attrs.field(default=256 << 20, validator=attrs.validators.ge(16 << 20))
    max_gap: int | None = None
    max_read: int | None = None
    max_extents: int = 10_000
    read_timeout: float | None = None
    read_attempts: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    max_file_size: int = 16 << 40
    max_chunk_size: int = 1 << 20
    max_open_files: int = attrs.field(default=256, validator=attrs.validators.ge(1))
    checkpoint_bytes: int = 16 << 20
    cancel: CancelToken | None = None
    flags: int = attrs.field(default=DEDUP_RECONSTRUCT_UNOPTIMIZED)

    @flags.validator
    def _check_flags(self, _attribute: object, value: object) -> None:
        if value == DEDUP_RECONSTRUCT_OPTIMIZED:
            raise RequestError("DEDUP_RECONSTRUCT_OPTIMIZED is reserved: files are restored whole")
        if value != DEDUP_RECONSTRUCT_UNOPTIMIZED:
            raise RequestError(f"flags must be DEDUP_RECONSTRUCT_UNOPTIMIZED (1), not {value!r}")
