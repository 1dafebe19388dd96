"""Whether two trees are the same, by means that share no code with what made them.

``diff -r`` compares the bytes; a walk with ``lstat`` compares types, modes, owners, times, links,
sizes and user attributes; holes are compared by what ``SEEK_DATA`` and ``SEEK_HOLE`` tell.
"""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["differing_bytes", "differing_holes", "differing_metadata", "hard_links"]

_BLOCK: Final = 4096
_SLACK: Final = 0.05


def differing_bytes(left: Path, right: Path) -> list[str]:
    """Return what ``diff -r`` finds, one line each."""
    found = subprocess.run(
        ["diff", "-r", "-q", "--no-dereference", left, right],
        capture_output=True,
        check=False,
        text=True,
    )
    return (found.stdout + found.stderr).splitlines()


def _names(root: Path) -> dict[str, os.stat_result]:
    return {str(path.relative_to(root)): path.lstat() for path in (root, *sorted(root.rglob("*")))}


def differing_metadata(left: Path, right: Path, *, owners: bool = True) -> list[str]:
    """Return differences of names, types, modes, owners, times, sizes, links, attributes.

    The roots themselves are not compared: a target exists before a restore.

    Args:
        left: A tree.
        right: The other one.
        owners: Whether owners must be equal.
    """
    ours, theirs = _names(left), _names(right)
    found = [f"only in one tree: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys() - {"."}):
        one, other = (_facts(root / name, tree[name], owners=owners)
                      for root, tree in ((left, ours), (right, theirs)))  # fmt: skip
        found += [
            f"{name}: {key} {one[key]} and {other[key]}" for key in one if one[key] != other[key]
        ]
    if hard_links(left) != hard_links(right):
        found.append("the groups of hard links differ")
    return found


def _facts(path: Path, status: os.stat_result, *, owners: bool) -> dict[str, object]:
    facts: dict[str, object] = {"type": stat.S_IFMT(status.st_mode)}
    if owners:
        facts["owner"] = (status.st_uid, status.st_gid)
    if stat.S_ISLNK(status.st_mode):
        return {**facts, "text": os.fsencode(path.readlink())}
    facts |= {"mode": stat.S_IMODE(status.st_mode), "mtime": status.st_mtime_ns}
    if stat.S_ISREG(status.st_mode):
        facts["size"] = status.st_size
    names = [name for name in os.listxattr(path) if name.startswith("user.")]
    facts["attributes"] = {name: os.getxattr(path, name) for name in names}
    return facts


def hard_links(root: Path) -> set[frozenset[str]]:
    """Return the groups of names that are one inode."""
    groups: dict[int, set[str]] = {}
    for name, status in _names(root).items():
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            groups.setdefault(status.st_ino, set()).add(name)
    return {frozenset(names) for names in groups.values()}


def differing_holes(left: Path, right: Path) -> list[str]:
    """Return the sparse files of the left tree whose holes are not the same in the right one.

    A hole may end one block or 5 % of its length early or late: file systems allocate in blocks.
    """
    found = []
    for path in sorted(left.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_blocks * 512 >= path.stat().st_size:
            continue
        holes = list(_holes(path))
        if holes and not _alike(holes, list(_holes(right / path.relative_to(left)))):
            found.append(str(path.relative_to(left)))
    return found


def _alike(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> bool:
    if len(ours) != len(theirs):
        return False
    return all(
        abs(mine - other) <= max(_BLOCK, _SLACK * (one[1] - one[0]))
        for one, two in zip(ours, theirs, strict=True)
        for mine, other in zip(one, two, strict=True)
    )


def _holes(path: Path) -> Iterator[tuple[int, int]]:
    """Return the holes of a file, beginnings and ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < size:
            begin = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            if begin >= size:
                return
            try:
                at = os.lseek(file.fileno(), begin, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                at = size
            yield begin, at
