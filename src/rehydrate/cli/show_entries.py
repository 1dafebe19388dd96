"""The work of ``rehydrate ls``: entries as plain paths, in long form, as a tree, as JSON."""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from rehydrate.cli.chosen import Wanted
from rehydrate.cli.exit_codes import OK, SOME_FAILED, USAGE
from rehydrate.cli.output import Json, document, paths, say, shown, tell
from rehydrate.cli.sizes import moment, size
from rehydrate.cli.sources import Batch, Listed, Source, tell_problems
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK, Limits

__all__ = ["Entry", "Form", "entries_of", "list_entries"]

_KINDS: Final = {FILE: "file", DIRECTORY: "directory", SYMLINK: "link"}
_TYPES: Final = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK}


class Form:
    """How entries are shown."""

    PATHS: Final = "paths"
    NULL: Final = "null"
    LONG: Final = "long"
    TREE: Final = "tree"


@attrs.frozen
class Entry:
    """One entry, as far as it is shown.

    Attributes:
        path: Path in the version.
        kind: FILE, DIRECTORY or SYMLINK; 0 = its stub is damaged.
        size: Logical size in bytes.
        mode: Permission bits.
        uid: Owner.
        gid: Group.
        mtime_ns: Modification time.
        text: What a link says.
        link_group: Equal and not 0 for names of one inode.
        inconsistent: It changed while it was read.
    """

    path: bytes
    kind: int = 0
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    text: bytes = b""
    link_group: int = 0
    inconsistent: bool = False

    def as_record(self) -> dict[str, Json]:
        """Return the same for JSON."""
        return {
            "path": os.fsdecode(self.path),
            "kind": _KINDS.get(self.kind, "damaged"),
            "size": self.size,
            "mode": f"{self.mode:04o}",
            "uid": self.uid,
            "gid": self.gid,
            "mtime_ns": self.mtime_ns,
            "link": os.fsdecode(self.text) if self.kind == SYMLINK else None,
            "link_group": self.link_group or None,
            "inconsistent": self.inconsistent,
        }

    @property
    def note(self) -> str:
        """What stands behind its name in a tree."""
        return {
            FILE: f"  {size(self.size)}",
            DIRECTORY: "/",
            SYMLINK: f" -> {shown(self.text)}",
        }.get(self.kind, "  (damaged stub)")

    def long_line(self) -> str:
        """Return one line with everything that ``ls -l`` shows."""
        if not self.kind:
            return f"??????????  {'damaged stub':>45}  {shown(self.path)}"
        mode = stat.filemode(_TYPES[self.kind] | self.mode)
        owner = f"{self.uid}:{self.gid}"
        text = f" -> {shown(self.text)}" if self.kind == SYMLINK else ""
        mark = "  (changed while it was read)" if self.inconsistent else ""
        when = moment(self.mtime_ns)
        return f"{mode}  {owner:>11}  {self.size:>15,}  {when}  {shown(self.path)}{text}{mark}"


def entries_of(names: Sequence[bytes], stubs: Sequence[bytes]) -> Iterator[Entry]:
    """Describe entries by their native stubs.

    Args:
        names: Their paths.
        stubs: As many stubs.
    """
    table = NATIVE.decode_stubs(stubs, Limits())
    columns = zip(
        table.kind.tolist(),
        table.size.tolist(),
        table.mode.tolist(),
        table.uid.tolist(),
        table.gid.tolist(),
        table.mtime_ns.tolist(),
        table.link_group.tolist(),
        table.inconsistent.tolist(),
        strict=True,
    )
    for number, (path, row) in enumerate(zip(names, columns, strict=True)):
        if number in table.errors:
            yield Entry(path)
            continue
        kind, length, mode, uid, gid, mtime, group, changed = row
        text = table.texts.get(number, b"")
        yield Entry(path, kind, length, mode, uid, gid, mtime, text, group, changed)


class _Listing:
    """The chosen entries of a version, read in batches."""

    def __init__(self, source: Source, version: int, wanted: Wanted) -> None:
        self._source, self._version, self._wanted = source, version, wanted
        self.unmatched: tuple[str, ...] = ()
        self.count = 0

    def batches(self) -> Iterator[tuple[Batch, Sequence[int]]]:
        """Yield batches, and which of their entries are chosen."""
        if self._wanted.nothing:
            return
        selection = self._source.selection(self._version, self._wanted)
        missed = {*selection.choose([]).unmatched}
        for batch in self._source.batches(self._version, selection.prefixes):
            found = selection.choose(batch.paths)
            missed.intersection_update(found.unmatched)
            indexes = found.indexes.tolist()
            self.count += len(indexes)
            yield batch, indexes
        self.unmatched = self._source.unmatched(self._wanted, tuple(missed))

    def entries(self) -> Iterator[Listed]:
        """Yield entries with what is known of them."""
        for batch, indexes in self.batches():
            yield from batch.listed(indexes)

    def names(self) -> Iterator[list[bytes]]:
        """Yield paths, many at a time."""
        for batch, indexes in self.batches():
            yield [batch.paths[index] for index in indexes]


def list_entries(source: Source, wanted: Wanted, form: str, *, as_json: bool) -> int:
    """List the chosen entries of a version.

    Args:
        source: Where they are.
        wanted: Which entries.
        form: One of :class:`Form`.
        as_json: Print a document instead.

    Returns:
        The exit code.
    """
    version = source.pick_version(wanted.version)
    listing = _Listing(source, version, wanted)
    if as_json:
        document(
            "ls",
            {"store_version": version},
            rows=("entries", (entry.as_record() for entry in listing.entries())),
            after=lambda: {
                "unmatched": list(listing.unmatched),
                "problems": list(source.problems),
            },
        )
    elif form == Form.LONG:
        for entry in listing.entries():
            say(entry.long_line())
    elif form == Form.TREE:
        for line in tree_lines(list(listing.entries())):
            say(line)
    else:
        for names in listing.names():
            paths(names, end=b"\0" if form == Form.NULL else None)
    for pattern in listing.unmatched:
        tell(f"rehydrate: {shown(pattern)}: nothing in version {version} matches")
    problems = tell_problems(source)
    if listing.unmatched and not listing.count:
        return USAGE
    return SOME_FAILED if listing.unmatched or problems else OK


def tree_lines(entries: Sequence[Listed]) -> list[str]:
    """Draw entries as a tree, with the directories above them.

    Args:
        entries: In tree order.

    Returns:
        One line for each.
    """
    nodes: dict[bytes, Listed] = {}
    for entry in entries:
        parts = entry.path.split(b"/")
        for depth in range(1, len(parts)):
            above = b"/".join(parts[:depth])
            nodes.setdefault(above, Entry(above, DIRECTORY))
        nodes[entry.path] = entry
    ends: set[bytes] = set()
    seen: set[bytes] = set()
    for path in reversed(nodes):
        parent = path.rpartition(b"/")[0]
        if parent not in seen:
            seen.add(parent)
            ends.add(path)
    return [_tree_line(node, ends) for node in nodes.values()]


def _tree_line(node: Listed, ends: set[bytes]) -> str:
    parts = node.path.split(b"/")
    stem = "".join(
        "    " if b"/".join(parts[:depth]) in ends else "│   " for depth in range(1, len(parts))
    )
    branch = "└── " if node.path in ends else "├── "
    return f"{stem}{branch}{shown(parts[-1])}{node.note}"
