"""Applies indexes of changes (``ltfsincrementalindex``, LTFS 2.5) to the complete index before them.

An index of changes holds the paths to what changed: a file that is new or changed is given whole, a
directory that is new with all that is in it, and what is no more by its name and ``<deleted/>``.
INFERRED, as the text of the format was not at hand: what a directory without ``<contents>`` means,
that ``fileuid`` tells a changed node from one that was made anew, and that the pointers may name the
newest complete index or the index just before. So a chain is applied only if its pointers leave no
gap and nothing in it contradicts what it is applied to.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.stores.ltfs.table import (
    ROOT,
    Columns,
    Document,
    Index,
    IndexHead,
    Kind,
    Problem,
)

__all__ = ["MOST_CHANGES", "apply_changes", "before", "incomplete", "stands_at"]

MOST_CHANGES: Final = 1 << 22
"""Entries in all indexes of changes of a chain; applying them takes some 400 bytes for each."""
_NOWHERE: Final = -1
_DIRECTORIES: Final = (Kind.DIRECTORY, Kind.KNOWN_DIRECTORY, Kind.NO_DIRECTORY)
_GONE: Final = (Kind.NO_FILE, Kind.NO_DIRECTORY)
_MOST_NODES: Final = 2**31 - 2

Place = tuple[str, int]
Mask = npt.NDArray[np.bool_]


def before(head: IndexHead) -> Place:
    """Return where the index lies that an index of changes is to be applied to.

    It names the index of changes before it and a complete one, or the one just before it; the one
    that lies later on the tape counts.

    Args:
        head: What the index of changes says about itself.

    Raises:
        UnsupportedFormatError: With code ``"ltfs.incremental"`` if it names none, or none before it.
    """
    changes, full = head.previous_changes, head.previous
    place = full if changes is None else changes
    if changes is not None and full is not None and changes[0] == full[0]:
        place = max(changes, full)
    if place is None:
        raise incomplete(head, "it names none before it")
    if place[0] == head.location[0] and place[1] >= head.location[1]:
        raise incomplete(head, f"the one before it cannot be at {_shown(place)}, which is later")
    return place


def stands_at(head: IndexHead, place: Place) -> bool:
    """Return whether an index lies at a place, or is the copy of that one on the other partition.

    A copy names the original as the one before it. Were it newer than the original, then what
    changed since the original could still be applied to it: files are given whole.

    Args:
        head: What the index says about itself.
        place: Letter of the partition, and block.
    """
    return place == head.location or (
        not head.incremental and place == head.previous and place[0] != head.location[0]
    )


def incomplete(head: IndexHead, missing: str) -> UnsupportedFormatError:
    """Return the error for a chain with a gap.

    Args:
        head: The index of changes behind the gap.
        missing: What is missing.
    """
    return UnsupportedFormatError(
        f"the LTFS index of generation {head.generation} at {_shown(head.location)} holds changes "
        f"only, and the indexes before it are not complete: {missing}",
        code="ltfs.incremental",
    )


def apply_changes(base: Index, changes: Sequence[Document]) -> Index:
    """Apply indexes of changes to the complete index before them.

    Args:
        base: The complete index.
        changes: The indexes of changes after it, in the order of their generations.

    Returns:
        The index as it is after the last one; ``base`` itself if there is none.

    Raises:
        UnsupportedFormatError: With code ``"ltfs.incremental"`` if one is missing between them.
        CorruptMetadataError: With code ``"ltfs.identity"`` if they are of different volumes, or
            ``"ltfs.changes"`` if they contradict what they are applied to.
        LimitError: With code ``"ltfs.limit"`` if there are too many changes.
    """
    if not changes:
        return base
    _check_chain(base.head, [document.head for document in changes])
    entries = sum(len(document.columns.kind) for document in changes)
    if entries > MOST_CHANGES or len(base) + entries > _MOST_NODES:
        raise LimitError(f"{entries} entries of changes in LTFS indexes", code="ltfs.limit")
    merging = _Merging(base)
    for document in changes:
        merging.apply(document)
    last = changes[-1].head
    head = attrs.evolve(last, incremental=False, previous=base.head.location, previous_changes=None)
    return merging.merged(head, [base.columns, *(document.columns for document in changes)])


def _check_chain(base: IndexHead, heads: Sequence[IndexHead]) -> None:
    if base.incremental:
        raise incomplete(base, "the complete one is missing")
    for older, newer in pairwise((base, *heads)):
        if newer.volume_uuid != base.volume_uuid:
            raise CorruptMetadataError(
                f"an LTFS index of changes belongs to volume {newer.volume_uuid}, "
                f"not {base.volume_uuid}",
                code="ltfs.identity",
            )
        if not newer.incremental:
            raise incomplete(newer, "it is complete itself")
        place = before(newer)
        if not stands_at(older, place):
            raise incomplete(newer, f"it needs the one at {_shown(place)}; the one before it here "
                             f"is at {_shown(older.location)}")  # fmt: skip
        if newer.generation <= older.generation:
            raise incomplete(newer, f"the one before it is generation {older.generation}")
        passed = newer.previous_changes not in {None, place}  # changes before the complete one
        if passed and newer.generation != older.generation + 1:
            raise incomplete(newer, f"none names generation {newer.generation - 1}")
        full = newer.previous
        if full is not None and full != place and not stands_at(base, full):
            raise incomplete(newer, f"it names {_shown(full)} as the complete one, and not "
                             f"{_shown(base.location)}")  # fmt: skip


class _Merging:
    """A tree while changes are applied to it.

    Nodes have one numbering: those of the complete index first, then those of each index of changes,
    used or not. Only what changes is held in objects; the rest stays in its columns.
    """

    def __init__(self, base: Index) -> None:
        """Begin with the complete index."""
        self._base = base
        self._at: dict[tuple[int, bytes], int] = {}  # where it differs from the complete index
        self._gone = array("q")
        self._directory = array("i")  # of each node of the indexes of changes
        self._used = bytearray()
        self._kind = bytearray()
        self._uid = array("Q")
        self._known_uid: dict[int, int] = {}  # of nodes that had none

    def apply(self, document: Document) -> None:
        """Apply the next index of changes."""
        columns = document.columns
        count = len(columns.kind)
        self._kind += columns.kind.tobytes()
        self._uid.frombytes(
            (columns.uid if len(columns.uid) else np.zeros(count, np.uint64)).tobytes()
        )
        first = len(self._base) + len(self._used)
        self._used += bytes(count)
        inside = np.full(count, _NOWHERE, np.int32)
        inside[ROOT] = ROOT
        seen: set[tuple[bytes, bool]] = set()
        folder = ROOT
        directories = array("i", bytes(4 * count))
        for node, above, name in _in_order(columns):
            if above != folder:
                folder = above
                seen.clear()
            directories[node] = parent = int(inside[above])
            kind = int(columns.kind[node])
            key = name, kind in _GONE
            if key in seen:
                raise _contradiction(name, "it stands there twice in one index")
            if name:
                seen.add(key)
                inside[node] = self._apply(first + node, (parent, name), kind)
            elif kind not in {*_GONE, Kind.KNOWN_DIRECTORY}:
                self._used[first + node - len(self._base)] = True
                inside[node] = first + node
        self._directory += directories

    def _apply(self, node: int, place: tuple[int, bytes], kind: int) -> int:
        """Apply one entry; return the node of the directory that its entries go to."""
        found = self._find(place)
        alike = found is not None and self._same(found, node, place[1])
        if kind in _GONE:
            if found is None or not alike:
                raise _contradiction(place[1], "it is deleted, and was not there")
            self._gone.append(found)
            self._at[place] = _NOWHERE
            return _NOWHERE
        if found is not None:
            if alike and kind in _DIRECTORIES:
                if not self._uid_of(found):
                    self._known_uid[found] = self._uid_of(node)
                return found
            self._gone.append(found)
        if kind == Kind.KNOWN_DIRECTORY:
            raise _contradiction(
                place[1], "the directory was not there, and nothing says what is in it"
            )
        self._at[place] = node
        self._used[node - len(self._base)] = True
        return node

    def _find(self, place: tuple[int, bytes]) -> int | None:
        found = self._at.get(place)
        if found is None and place[0] < len(self._base):
            found = self._base.child(*place)
            if found is not None and self._base.columns.problem[found] == Problem.DOUBLE:
                raise _contradiction(place[1], "it stands in the complete index twice")
        return None if found == _NOWHERE else found

    def _same(self, found: int, node: int, name: bytes) -> bool:
        """Return whether an entry is about this node, and not about another one of its name."""
        one, other = self._uid_of(found), self._uid_of(node)
        if one and other and one != other:
            return False
        if (self._kind_of(found) in _DIRECTORIES) != (self._kind_of(node) in _DIRECTORIES):
            raise _contradiction(name, "it is a directory and a file")
        return True

    def _kind_of(self, node: int) -> int:
        size = len(self._base)
        return int(self._base.columns.kind[node]) if node < size else self._kind[node - size]

    def _uid_of(self, node: int) -> int:
        size, uids = len(self._base), self._base.columns.uid
        if node in self._known_uid:
            return self._known_uid[node]
        if node >= size:
            return self._uid[node - size]
        return int(uids[node]) if len(uids) else 0

    def merged(self, head: IndexHead, parts: Sequence[Columns]) -> Index:
        """Return the tree as it is now.

        Args:
            head: What the index is to say about itself.
            parts: Columns of the complete index and of those applied to it.
        """
        size = len(self._base)
        used = np.concatenate((np.ones(size, np.bool_), np.frombuffer(self._used, np.bool_)))
        used[np.frombuffer(self._gone, np.int64)] = False
        parent = np.concatenate((parts[0].parent, np.frombuffer(self._directory, np.int32)))
        keep = _reachable(used, parent)
        number = np.cumsum(keep, dtype=np.int32) - np.int32(1)
        uid = np.concatenate((
            parts[0].uid if len(parts[0].uid) else np.zeros(size, np.uint64),
            np.frombuffer(self._uid, np.uint64),
        ))  # fmt: skip
        for node, known in self._known_uid.items():
            uid[node] = known
        hashes = self._base.hashes[keep[:size]]
        _check_uids(uid[keep], len(hashes))
        columns = _joined(parts, keep)
        columns = attrs.evolve(columns, parent=number[parent[keep]], uid=uid[keep])
        return Index(head, columns, hashes=hashes)


def _in_order(columns: Columns) -> Iterator[tuple[int, int, bytes]]:
    """Yield node, directory and name: directories before what is in them, what is gone first."""
    order = np.lexsort((~np.isin(columns.kind, _GONE), columns.parent))
    for first in range(0, len(order), 1 << 16):
        nodes = order[first : first + (1 << 16)]
        begins, ends = columns.name_at[nodes].tolist(), columns.name_at[nodes + 1].tolist()
        rows = zip(nodes.tolist(), columns.parent[nodes].tolist(), begins, ends, strict=True)
        for node, above, begin, end in rows:
            if node != ROOT:
                yield node, above, bytes(columns.names[begin:end])


def _reachable(used: Mask, parent: npt.NDArray[np.int32]) -> Mask:
    """Return which nodes are used, and all directories above them."""
    reached = used.copy()
    above = parent
    while above.any():
        reached &= reached[above]
        above = above[above]
    return reached


def _check_uids(uid: npt.NDArray[np.uint64], old: int) -> None:
    """Refuse a node that was added while another one with its number is still there."""
    order = np.argsort(uid, kind="stable")
    ordered = uid[order]
    twice = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0) & (order[1:] >= old)
    if twice.any():
        raise CorruptMetadataError(
            f"LTFS indexes of changes contradict the ones before them: number "
            f"{ordered[1:][twice][0]} is at two paths",
            code="ltfs.changes",
        )


def _joined(parts: Sequence[Columns], keep: Mask) -> Columns:
    """Join the nodes that are kept; parents and numbers are left as they were."""
    names, chosen, first = list[bytes](), list[Columns](), 0
    for part in parts:
        count = len(part.kind)
        mine = keep[first : first + count]
        first += count
        letters, extents = np.diff(part.name_at), np.diff(part.extent_at)
        held = np.repeat(mine, extents)
        raw = np.frombuffer(part.names, np.uint8)[np.repeat(mine, letters)]
        names.append(raw.tobytes())
        chosen.append(
            Columns(
                parent=part.parent[mine],
                kind=part.kind[mine],
                length=part.length[mine],
                name_at=letters[mine],
                names=b"",
                extent_at=extents[mine],
                offset=part.offset[held],
                partition=part.partition[held],
                block=part.block[held],
                skip=part.skip[held],
                count=part.count[held],
                problem=part.problem[mine],
            )
        )
    return Columns(
        parent=np.concatenate([part.parent for part in chosen]),
        kind=np.concatenate([part.kind for part in chosen]),
        length=np.concatenate([part.length for part in chosen]),
        name_at=_starts([part.name_at for part in chosen]),
        names=b"".join(names),
        extent_at=_starts([part.extent_at for part in chosen]),
        offset=np.concatenate([part.offset for part in chosen]),
        partition=np.concatenate([part.partition for part in chosen]),
        block=np.concatenate([part.block for part in chosen]),
        skip=np.concatenate([part.skip for part in chosen]),
        count=np.concatenate([part.count for part in chosen]),
        problem=np.concatenate([part.problem for part in chosen]),
    )


def _starts(sizes: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(np.concatenate(list(sizes)))))


def _contradiction(name: bytes, problem: str) -> CorruptMetadataError:
    shown = name[:200].decode("utf-8", "replace")
    return CorruptMetadataError(
        f"an LTFS index of changes contradicts the ones before it at {shown!r}: {problem}",
        code="ltfs.changes",
    )


def _shown(place: Place) -> str:
    return f"{place[0]}:{place[1]}"
