"""Trees of files, what changed between two of them, and both as an index says it."""

import random
from collections.abc import Mapping
from typing import Self

import attrs

from tests.ltfs_volume.writer import Extent

__all__ = ["Node", "changes_xml", "contents_xml", "gone_xml"]


@attrs.frozen
class Node:
    """A file (with its extents) or a directory (with its entries)."""

    uid: int
    extents: tuple[Extent, ...] = ()
    entries: Mapping[str, "Node"] | None = None

    @classmethod
    def file(cls, uid: int, block: int = 4, size: int = 10) -> Self:
        return cls(uid, (Extent(0, "b", block, 0, size),))

    @property
    def length(self) -> int:
        return sum(extent.count for extent in self.extents)

    def xml(self, name: str, *, uids: bool = True) -> str:
        """Return the whole of it."""
        kept = f"<name>{name}</name>" + f"<fileuid>{self.uid}</fileuid>" * uids
        if self.entries is not None:
            inside = contents_xml(self.entries, uids=uids)
            return f"<directory>{kept}<contents>{inside}</contents></directory>"
        extents = "".join(extent.xml() for extent in self.extents)
        return (
            f"<file>{kept}<length>{self.length}</length><extentinfo>{extents}</extentinfo></file>"
        )


def contents_xml(entries: Mapping[str, Node], *, uids: bool = True) -> str:
    """Return all entries of a directory."""
    return "".join(node.xml(name, uids=uids) for name, node in entries.items())


def gone_xml(name: str, node: Node) -> str:
    """Return the entry for what is no more."""
    tag = "file" if node.entries is None else "directory"
    return f"<{tag}><name>{name}</name><deleted/></{tag}>"


def changes_xml(
    old: Mapping[str, Node], new: Mapping[str, Node], *, uids: bool = True, seed: int = 0
) -> str:
    """Return what an index of changes says; what may be said in several ways is said by lot."""
    lot = random.Random(seed)
    found = [gone_xml(name, node) for name, node in old.items() if name not in new]
    for name, node in new.items():
        before = old.get(name)
        if before is None:
            found.append(node.xml(name, uids=uids))
        elif before.uid != node.uid:
            told = uids and before.uid != 0 and lot.random() < 0.5
            found += [] if told else [gone_xml(name, before)]
            found.append(node.xml(name, uids=uids))
        elif before.entries is not None and node.entries is not None:
            inside = changes_xml(before.entries, node.entries, uids=uids, seed=lot.getrandbits(32))
            shown = f"<name>{name}</name>"
            shown += f"<fileuid>{node.uid}</fileuid>" * (uids and lot.random() < 0.5)
            if inside or lot.random() < 0.2:
                found.append(f"<directory>{shown}<contents>{inside}</contents></directory>")
            elif lot.random() < 0.3:
                found.append(f"<directory>{shown}</directory>")
        elif before != node:
            found.append(node.xml(name, uids=uids))
    lot.shuffle(found)
    return "".join(found)
