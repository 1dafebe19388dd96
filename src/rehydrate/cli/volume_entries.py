"""Entries of a Windows volume as ``rehydrate ls`` shows them."""

import os
from typing import Final

import attrs

from rehydrate.catalogue.windows import EntryOnVolume
from rehydrate.cli.output import Json, shown
from rehydrate.cli.sizes import moment, size
from rehydrate.formats.detect import owner_of
from rehydrate.values import DEDUP_TAG, FILETIME_OF_1970

__all__ = ["WindowsEntry", "attribute_letters", "tag_name", "unix_ns"]

_LETTERS: Final = (
    (0x1, "R"),
    (0x2, "H"),
    (0x4, "S"),
    (0x20, "A"),
    (0x200, "P"),
    (0x800, "C"),
    (0x1000, "O"),
    (0x4000, "E"),
)
"""File attributes (MS-FSCC 2.6) and their letters: as ``attrib`` has them; C = compressed,
E = encrypted, P = sparse, as Microsoft's ``dir`` and ``fsutil`` have no letters for them."""
_TAGS: Final = {
    DEDUP_TAG: "deduplicated",
    0xA0000003: "mount point",
    0xA000000C: "symbolic link",
    0x80000014: "NFS",
    0x80000017: "WOF",
    0x80000023: "AF_UNIX",
    0xA000001D: "LX symlink",
}
"""Tags (MS-FSCC 2.1.2.1) that people meet; those of cloud files have a byte that varies."""
_CLOUD: Final = 0x9000001A
_CLOUD_MASK: Final = 0xFFFF0FFF


def unix_ns(filetime: int) -> int | None:
    """Return a FILETIME as nanoseconds since 1970; ``None`` for 0, which is "not known"."""
    return (filetime - FILETIME_OF_1970) * 100 if filetime else None


def tag_name(tag: int) -> str:
    """Return what a reparse tag stands for, with its number."""
    name = "cloud file" if tag & _CLOUD_MASK == _CLOUD else _TAGS.get(tag, "reparse point")
    return f"{name} 0x{tag:08X}"


def attribute_letters(attributes: int) -> str:
    """Return attributes as letters in fixed columns."""
    return "".join(letter if attributes & bit else "-" for bit, letter in _LETTERS)


@attrs.frozen
class WindowsEntry:
    """Implements :class:`~rehydrate.cli.sources.Listed`."""

    entry: EntryOnVolume

    @property
    def path(self) -> bytes:
        """Path on the volume."""
        return self.entry.path

    @property
    def note(self) -> str:
        """What stands behind its name in a tree."""
        found = self.entry.found
        if self.entry.deduplicated:
            return f"  {size(found.size)} (D)"
        if found.reparse_tag:
            return f"  ({tag_name(found.reparse_tag)})"
        return "/" if found.directory else f"  {size(found.size)}"

    @property
    def kind(self) -> str:
        """``"file"``, ``"directory"`` or ``"reparse point"``; a stub is a file."""
        found = self.entry.found
        if found.reparse_tag and not self.entry.deduplicated:
            return "reparse point"
        return "directory" if found.directory else "file"

    def as_record(self) -> dict[str, Json]:
        """Return it for JSON."""
        found = self.entry.found
        owner = owner_of(self.entry.stub) if self.entry.deduplicated else None
        return {
            "path": os.fsdecode(found.path),
            "kind": self.kind,
            "size": found.size,
            "deduplicated": self.entry.deduplicated,
            "store": None if owner is None else str(owner.store_id),
            "reparse_tag": f"0x{found.reparse_tag:08X}" if found.reparse_tag else None,
            "attributes": f"0x{found.attributes:08X}" if found.attributes else None,
            "created_ns": unix_ns(found.created),
            "mtime_ns": unix_ns(found.modified),
            "accessed_ns": unix_ns(found.accessed),
            "changed_ns": unix_ns(found.changed),
            "owner": found.owner,
            "links": found.links,
            "link_group": found.file_id if found.links > 1 else None,
            "streams": [{"name": each.name, "size": each.size} for each in found.streams],
        }

    def long_line(self) -> str:
        """Return one line: kind, attributes, owner, size, time, path."""
        found = self.entry.found
        mark = {"directory": "d", "file": "-"}.get(self.kind, "r")
        mark += "D" if self.entry.deduplicated else "-"
        modified = unix_ns(found.modified)
        when = "-" if modified is None else moment(modified)
        tag = f"  ({tag_name(found.reparse_tag)})" if mark == "r-" else ""
        streams = f"  (+{len(found.streams)} streams)" if found.streams else ""
        return (
            f"{mark} {attribute_letters(found.attributes)}  {found.owner or '-':<12}"
            f"  {found.size:>15,}  {when:<19}  {shown(found.path)}{tag}{streams}"
        )
