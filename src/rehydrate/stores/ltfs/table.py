"""The content of an LTFS index as columns: nodes of the tree, their names, and the extents.

A file costs 38 bytes and its name, an extent 29 bytes, finding by path 20 bytes a node; so an
index of a gigabyte stays far below its own size in memory.
"""

import hashlib
import unicodedata
from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import CorruptMetadataError

__all__ = ["ROOT", "Columns", "Document", "Extents", "Index", "IndexHead", "Kind", "Problem"]

Ints = npt.NDArray[np.int64]
ROOT: Final = 0
"""Number of the root directory."""


class Kind:
    """Kinds of nodes, as they stand in the column."""

    DIRECTORY: Final = 0
    FILE: Final = 1
    LINK: Final = 2
    NO_FILE: Final = 3
    """Only in an index of changes: the file or link of this name is no more."""
    NO_DIRECTORY: Final = 4
    """Only in an index of changes: the directory of this name is no more."""
    KNOWN_DIRECTORY: Final = 5
    """Only in an index of changes: a directory from before, and nothing changed in it."""


class Problem:
    """What is wrong with a node, as it stands in the column; the other files are not touched."""

    NONE: Final = 0
    NAME: Final = 1
    OVERLAP: Final = 2
    LENGTH: Final = 3
    DOUBLE: Final = 4
    TEXTS: Final = {
        NAME: "its name is none",
        OVERLAP: "its extents overlap",
        LENGTH: "its extents reach beyond its length",
        DOUBLE: "its path stands in the index twice",
    }


@attrs.frozen(kw_only=True)
class IndexHead:
    """What an index says about itself.

    Attributes:
        version: Version of the format, major and minor.
        volume_uuid: Identity of the volume, as text.
        generation: Number of the index; each newer one has a higher number.
        location: Letter of the partition, and block: where this index lies.
        previous: Where the one before it lies, or ``None``.
        creator: Program that wrote it.
        incremental: It holds changes only.
        previous_changes: Where the index of changes before this one lies, or ``None``; only an
            index of changes says so here.
    """

    version: tuple[int, int]
    volume_uuid: str
    generation: int
    location: tuple[str, int]
    previous: tuple[str, int] | None
    creator: str = ""
    incremental: bool = False
    previous_changes: tuple[str, int] | None = None


@attrs.frozen(eq=False, kw_only=True)
class Columns:
    """The columns; nodes are numbered in the order of the document, parents before children.

    Attributes:
        parent: Node of the directory, shape ``(nodes,)``; the root is its own.
        kind: One of :class:`Kind`.
        length: Size of the file in bytes.
        name_at: First byte of each name, shape ``(nodes + 1,)``.
        names: The names, UTF-8, one after the other.
        extent_at: First extent of each node, shape ``(nodes + 1,)``.
        offset: First byte of the file that each extent holds, ascending for a file.
        partition: Its partition, as the code of the letter.
        block: First block.
        skip: Bytes to skip in it.
        count: Length of the extent in bytes.
        problem: One of :class:`Problem` for each node.
        uid: Number of each node that is unique on the volume (``fileuid``), 0 = not known; empty =
            none is known.
    """

    parent: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    length: Ints
    name_at: Ints
    names: bytes | bytearray
    extent_at: Ints
    offset: Ints
    partition: npt.NDArray[np.uint8]
    block: Ints
    skip: npt.NDArray[np.uint32]
    count: Ints
    problem: npt.NDArray[np.uint8]
    uid: npt.NDArray[np.uint64] = attrs.field(factory=lambda: np.zeros(0, np.uint64))

    @property
    def nbytes(self) -> int:
        """Bytes of all columns together."""
        arrays = attrs.astuple(self, recurse=False)
        return sum(len(a) if isinstance(a, bytes | bytearray) else a.nbytes for a in arrays)


@attrs.frozen(eq=False)
class Document:
    """An index as it stands on the tape, complete or of changes; its files cannot be found yet.

    Attributes:
        head: What it says about itself.
        columns: Its content.
    """

    head: IndexHead
    columns: Columns


@attrs.frozen
class Extents:
    """The extents of one file, by ascending offset; columns of equal length.

    Attributes:
        offset: First byte of the file that each holds.
        partition: Letters of the partitions.
        block: First blocks.
        skip: Bytes to skip in the first block.
        count: Lengths in bytes.
    """

    offset: tuple[int, ...]
    partition: str
    block: tuple[int, ...]
    skip: tuple[int, ...]
    count: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of extents."""
        return len(self.offset)


class Index:
    """An index in memory: files by path, and where they lie."""

    def __init__(
        self,
        head: IndexHead,
        columns: Columns,
        *,
        hashes: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        """Make the table of paths.

        Args:
            head: What the index says about itself.
            columns: Its content.
            hashes: Hashes of the paths of the first nodes, where they are known from another index.
        """
        self.head = head
        self.columns = columns
        self._hash = _hashes(columns, hashes)
        self._by_hash = np.argsort(self._hash, kind="stable").astype(np.int32)
        self._sorted = self._hash[self._by_hash]
        self._mark_doubles()
        self._children: tuple[npt.NDArray[np.int32], Ints] | None = None

    def __len__(self) -> int:
        """Return the number of nodes, directories included."""
        return len(self.columns.kind)

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """A hash of the path of each node."""
        return self._hash

    @property
    def nbytes(self) -> int:
        """Bytes of all columns, those of finding included."""
        return self.columns.nbytes + self._hash.nbytes + self._by_hash.nbytes + self._sorted.nbytes

    def name(self, node: int) -> str:
        """Return the name of a node; empty for the root and for names that are none."""
        columns = self.columns
        first, end = int(columns.name_at[node]), int(columns.name_at[node + 1])
        return (
            ""
            if node == ROOT
            else bytes(columns.names[first:end]).decode("utf-8", "surrogateescape")
        )

    def path(self, node: int) -> str:
        """Return the path of a node from the root, without a leading slash."""
        parts = []
        while node != ROOT:
            parts.append(self.name(node))
            node = int(self.columns.parent[node])
        return "/".join(reversed(parts))

    def find(self, path: str) -> int | None:
        """Return the node of a path, or ``None`` if there is none.

        LTFS keeps names in the normal form NFC; a path that is not found as it is given is looked
        for in that form. Upper and lower case are different names.

        Args:
            path: Path from the root, without a leading slash; empty for the root.
        """
        found = self._find(path)
        if found is None and not path.isascii():
            composed = unicodedata.normalize("NFC", path)
            found = None if composed == path else self._find(composed)
        return found

    def _find(self, path: str) -> int | None:
        node = ROOT
        for name in path.split("/") if path else ():
            try:
                found = self.child(node, name.encode("utf-8", "surrogateescape"))
            except UnicodeEncodeError:
                found = None
            if found is None:
                return None
            node = found
        return node

    def files(self) -> Iterator[int]:
        """Iterate the nodes of all regular files, damaged entries included."""
        for node in np.flatnonzero(self.columns.kind == Kind.FILE):
            yield int(node)

    def children(self, node: int) -> Iterator[int]:
        """Iterate the nodes in a directory."""
        if self._children is None:
            parent = self.columns.parent
            order = np.argsort(parent, kind="stable").astype(np.int32)
            edges = np.searchsorted(parent[order], np.arange(len(self) + 1))
            self._children = order, edges
        order, edges = self._children
        for child in order[edges[node] : edges[node + 1]].tolist():
            if child != ROOT:
                yield child

    def length(self, node: int) -> int:
        """Return the size of a file in bytes."""
        return int(self.columns.length[node])

    def extents(self, node: int) -> Extents:
        """Return the extents of a file.

        Args:
            node: Node of the file.

        Raises:
            CorruptMetadataError: With code ``"ltfs.file"`` if its entry contradicts itself.
        """
        self.check(node)
        columns = self.columns
        part = slice(int(columns.extent_at[node]), int(columns.extent_at[node + 1]))
        return Extents(
            tuple(columns.offset[part].tolist()),
            columns.partition[part].tobytes().decode("ascii"),
            tuple(columns.block[part].tolist()),
            tuple(columns.skip[part].tolist()),
            tuple(columns.count[part].tolist()),
        )

    def check(self, node: int) -> None:
        """Refuse a node whose entry contradicts itself, or that is no regular file.

        Raises:
            CorruptMetadataError: With code ``"ltfs.file"``.
        """
        problem = Problem.TEXTS.get(int(self.columns.problem[node]))
        if self.columns.kind[node] != Kind.FILE:
            problem = "it is no regular file"
        if problem is not None:
            raise CorruptMetadataError(
                f"the LTFS index has no valid entry for {self.path(node)!r}: {problem}",
                code="ltfs.file",
            )

    def child(self, parent: int, name: bytes) -> int | None:
        """Return the node of a name in a directory, or ``None`` if there is none.

        Args:
            parent: Node of the directory.
            name: The name in UTF-8.
        """
        if not name:
            return None
        wanted = _child_hash(int(self._hash[parent]), name)
        first = int(np.searchsorted(self._sorted, np.uint64(wanted)))
        columns = self.columns
        while first < len(self) and int(self._sorted[first]) == wanted:
            node = int(self._by_hash[first])
            begin, end = int(columns.name_at[node]), int(columns.name_at[node + 1])
            if (
                node != ROOT
                and int(columns.parent[node]) == parent
                and columns.names[begin:end] == name
            ):
                return node
            first += 1
        return None

    def _mark_doubles(self) -> None:
        """Mark paths that stand in the index twice: which one counts is not known."""
        columns = self.columns
        for at in np.flatnonzero(self._sorted[1:] == self._sorted[:-1]).tolist():
            one, other = int(self._by_hash[at]), int(self._by_hash[at + 1])
            name = self.name(one)
            if name and ROOT not in {one, other} and name == self.name(other):
                columns.problem[[one, other]] = np.maximum(
                    columns.problem[[one, other]], Problem.DOUBLE
                )


def _child_hash(parent: int, name: bytes) -> int:
    raw = parent.to_bytes(8, "big") + name
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")


def _hashes(columns: Columns, known: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.uint64]:
    """Hash every path: a name with the hash of the directory before it."""
    count = len(columns.kind)
    hashes = np.zeros(count, np.uint64)
    begin = 0 if known is None else len(known)
    hashes[:begin] = 0 if known is None else known
    names, parent, name_at = columns.names, columns.parent, columns.name_at
    for first in range(begin, count, 1 << 16):
        last = min(first + (1 << 16), count)
        starts = name_at[first : last + 1].tolist()
        for node, above in enumerate(parent[first:last].tolist(), first):
            name = bytes(names[starts[node - first] : starts[node - first + 1]])
            hashes[node] = _child_hash(int(hashes[above]), name) if node else 0
    return hashes
