"""The files of a job as columns: what staging knows about each file number."""

from binascii import hexlify
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.chunks import Ints
from rehydrate.requests import TargetIdentity
from rehydrate.staging.paths import display
from rehydrate.values import NO_MODE, NO_OWNER, NO_TIME

__all__ = [
    "Attributes",
    "FileTable",
    "Numbers",
    "Xattrs",
]

Xattrs = tuple[tuple[bytes, bytes], ...]
Numbers = npt.NDArray[np.uint32]


class Attributes(NamedTuple):
    """Metadata of one inode, with the ``NO_`` values where something is not known."""

    mode: int = NO_MODE
    mtime_ns: int = NO_TIME
    uid: int = NO_OWNER
    gid: int = NO_OWNER
    xattrs: Xattrs = ()


@attrs.frozen(eq=False, kw_only=True)
class FileTable:
    """The regular files of a job; the index into each column is the file's number.

    Attributes:
        paths: Relative target paths, accepted by :func:`~rehydrate.staging.paths.check_target`.
        size: Logical sizes in bytes.
        mode: Permission bits; :data:`NO_MODE` where unknown.
        mtime_ns: Modification times, nanoseconds since 1970; :data:`NO_TIME` where unknown.
        uid: Owners; :data:`NO_OWNER` where unknown.
        gid: Groups; :data:`NO_OWNER` where unknown.
        keys: 16 bytes for each file: a digest of target path, stub and all options that change
            bytes. It names the staged file, so that a later run finds it.
        xattrs: Extended attributes, only for files that have some.
        replaces: What must stand at the target when the file is published, only for files where
            that matters.
        linked: Numbers of files that get further names (hard links) in this job.
    """

    paths: Sequence[bytes]
    size: Ints
    mode: Numbers
    mtime_ns: Ints
    uid: Numbers
    gid: Numbers
    keys: Sequence[bytes]
    xattrs: Mapping[int, Xattrs] = attrs.field(factory=dict)
    replaces: Mapping[int, TargetIdentity] = attrs.field(factory=dict)
    linked: AbstractSet[int] = frozenset()

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def staged_name(self, number: int) -> bytes:
        """Return the name of the staged file of ``number`` in the workspace."""
        return hexlify(self.keys[number])

    def label(self, number: int) -> str:
        """Return the path of ``number`` as errors name it."""
        return display(self.paths[number])

    def attributes(self, number: int) -> Attributes:
        """Return the metadata of ``number``."""
        return Attributes(
            int(self.mode[number]),
            int(self.mtime_ns[number]),
            int(self.uid[number]),
            int(self.gid[number]),
            self.xattrs.get(number, ()),
        )
