"""Parses the index of an LTFS volume as a stream into columns.

Formats 2.0 to 2.5 (SNIA LTFS format specification; 2.5 is ISO/IEC 20919:2021). The tape is not
to be trusted: see :mod:`rehydrate.stores.ltfs.xml`; numbers are checked, depth and names bounded.
What is wrong with the document refuses it; what is wrong with one file refuses that file.
"""

import re
from array import array
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.stores.ltfs.label import NEWEST, parse_uuid, parse_version
from rehydrate.stores.ltfs.table import Columns, Document, Index, IndexHead, Kind, Problem
from rehydrate.stores.ltfs.xml import XmlFeed
from rehydrate.values import MAX_OFFSET

__all__ = ["IndexParser", "parse_document", "parse_index"]

_OLDEST: Final = (2, 0)
_DEEPEST: Final = 1024  # elements; the deepest tree has half as many directories
_LONGEST_NAME: Final = 4096
_LONGEST_TEXT: Final = 65536
_MOST_NODES: Final = 2**31 - 2
_MOST_SKIP: Final = 2**32 - 1

_LEAF: Final = "leaf"
_SIGNS: Final = frozenset({"symlink", "deleted"})  # leaves of which only the presence counts
# Where an element may stand: context -> its elements -> the context inside; all others are skipped.
_INSIDE: Final[dict[str, dict[str, str]]] = {
    "": {"ltfsindex": "index", "ltfsincrementalindex": "index"},
    "index": {
        "creator": _LEAF,
        "volumeuuid": _LEAF,
        "generationnumber": _LEAF,
        "location": "location",
        "previousgenerationlocation": "previous",
        "directory": "directory",
    },
    "location": {"partition": _LEAF, "startblock": _LEAF},
    "previous": {"partition": _LEAF, "startblock": _LEAF},
    "directory": {"name": _LEAF, "fileuid": _LEAF, "contents": "contents"},
    "contents": {"directory": "directory", "file": "file"},
    "file": {
        "name": _LEAF,
        "fileuid": _LEAF,
        "length": _LEAF,
        "symlink": _LEAF,
        "extentinfo": "extentinfo",
    },
    "extentinfo": {"extent": "extent"},
    "extent": {
        "fileoffset": _LEAF,
        "partition": _LEAF,
        "startblock": _LEAF,
        "byteoffset": _LEAF,
        "bytecount": _LEAF,
    },
}
# What an index of changes (2.5) has besides. INFERRED: <deleted/> marks what is no more, and
# "previousincrementallocation" names the index of changes before; a complete index may carry it too,
# where it says nothing that is needed.
_INSIDE_CHANGES: Final[dict[str, dict[str, str]]] = {
    **_INSIDE,
    "index": {**_INSIDE["index"], "previousincrementallocation": "previous changes"},
    "previous changes": _INSIDE["previous"],
    "directory": {**_INSIDE["directory"], "deleted": _LEAF},
    "file": {**_INSIDE["file"], "deleted": _LEAF},
}
_MOST_UID: Final = 2**64 - 1
_UID: Final = re.compile("[0-9]{1,20}")
_DIGITS: Final = re.compile("[0-9]{1,19}")


def parse_index(pieces: Iterable[bytes]) -> Index:
    """Parse an index.

    Args:
        pieces: The document in pieces of any size.

    Raises:
        CorruptMetadataError: With code ``"ltfs.index"`` or ``"ltfs.entity"``.
        UnsupportedFormatError: With code ``"ltfs.version"``.
        LimitError: With code ``"ltfs.limit"``.
    """
    document = parse_document(pieces)
    return Index(document.head, document.columns)


def parse_document(pieces: Iterable[bytes]) -> Document:
    """Parse an index, complete or of changes, without making it searchable.

    Args:
        pieces: The document in pieces of any size.

    Raises:
        CorruptMetadataError: See :func:`parse_index`.
        UnsupportedFormatError: See there.
        LimitError: See there.
    """
    parser = IndexParser()
    for piece in pieces:
        parser.feed(piece)
    return parser.document()


@attrs.define(eq=False)
class _Growing:
    """Columns while they grow; ``q`` is 8 bytes, ``i`` and ``I`` are 4."""

    parent: "array[int]" = attrs.field(factory=lambda: array("i"))
    kind: bytearray = attrs.field(factory=bytearray)
    length: "array[int]" = attrs.field(factory=lambda: array("q"))
    name_at: "array[int]" = attrs.field(factory=lambda: array("q"))
    name_end: "array[int]" = attrs.field(factory=lambda: array("q"))
    names: bytearray = attrs.field(factory=bytearray)
    extent_at: "array[int]" = attrs.field(factory=lambda: array("q"))
    offset: "array[int]" = attrs.field(factory=lambda: array("q"))
    partition: bytearray = attrs.field(factory=bytearray)
    block: "array[int]" = attrs.field(factory=lambda: array("q"))
    skip: "array[int]" = attrs.field(factory=lambda: array("I"))
    count: "array[int]" = attrs.field(factory=lambda: array("q"))
    problem: bytearray = attrs.field(factory=bytearray)
    uid: "array[int]" = attrs.field(factory=lambda: array("Q"))


class IndexParser:
    """Takes the bytes of an index as they come from the tape."""

    def __init__(self) -> None:
        """Begin a document."""
        self._xml = XmlFeed(code="ltfs.index")
        self._xml.parser.StartElementHandler = self._start
        self._xml.parser.EndElementHandler = self._end
        self._xml.parser.CharacterDataHandler = self._text
        self._inside = _INSIDE
        self._contexts: list[str] = [""]
        self._values: list[dict[str, str]] = [{}]
        self._leaf: str | None = None
        self._pieces: list[str] = []
        self._text_size = 0
        self._skipped = 0
        self._directories: list[int] = []
        self._columns = _Growing()
        self._head: IndexHead | None = None
        self._version, self._incremental = (0, 0), False
        self._encoded = False
        self._places: dict[str, tuple[str, int]] = {}
        self._at_end: dict[str, Callable[[dict[str, str]], None]] = {
            "index": self._end_index,
            "location": lambda values: self._end_place("location", values),
            "previous": lambda values: self._end_place("previous", values),
            "previous changes": lambda values: self._end_place("previous changes", values),
            "directory": self._end_directory,
            "file": self._end_file,
            "extent": self._end_extent,
        }

    def feed(self, data: bytes) -> None:
        """Parse a piece.

        Args:
            data: The next bytes.

        Raises:
            CorruptMetadataError: See :func:`parse_index`.
            UnsupportedFormatError: See there.
            LimitError: See there.
        """
        self._xml.feed(data)

    def close(self) -> Index:
        """Return the index; the document must be complete.

        Raises:
            CorruptMetadataError: It is not.
        """
        document = self.document()
        return Index(document.head, document.columns)

    def document(self) -> Document:
        """Return the index as :meth:`close` does, but not searchable yet.

        Raises:
            CorruptMetadataError: It is not complete.
        """
        self._xml.close()
        if self._head is None:
            raise _wrong("is not complete")
        return Document(self._head, _finished(self._columns))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._skipped or self._leaf is not None:
            self._skip()
            return
        context = self._inside[self._contexts[-1]].get(tag)
        if context is None:
            if len(self._contexts) == 1:
                raise _wrong(f"is none: its root is {tag[:40]!r}")
            self._skip()
        elif context == _LEAF:
            self._leaf = tag
            if tag == "name":
                self._encoded = attributes.get("percentencoded", "").lower() in {"true", "1"}
        else:
            self._enter(context, tag, attributes)

    def _skip(self) -> None:
        self._skipped += 1
        if self._skipped > _DEEPEST:
            raise LimitError("the LTFS index is nested too deeply", code="ltfs.limit")

    def _enter(self, context: str, tag: str, attributes: dict[str, str]) -> None:
        if len(self._contexts) > _DEEPEST:
            raise LimitError("the LTFS index is nested too deeply", code="ltfs.limit")
        if context == "index":
            self._version = _version(attributes.get("version", ""))
            self._incremental = tag != "ltfsindex"
            self._inside = _INSIDE_CHANGES if self._incremental else _INSIDE
        elif context == "directory":
            if self._contexts[-1] == "index" and self._columns.kind:
                raise _wrong("has two roots")
            above = self._directories[-1] if self._directories else 0
            self._directories.append(self._node(above, Kind.DIRECTORY))
        elif context in {"location", "previous", "previous changes", "extentinfo", "contents"}:
            self._only_once(context)
        elif context == "file":
            self._node(self._directories[-1], Kind.FILE)
        self._contexts.append(context)
        self._values.append({})

    def _only_once(self, name: str) -> None:
        values = self._values[-1]
        if name in values:
            raise _wrong(f"repeats {name!r} in one element")
        values[name] = ""

    def _node(self, parent: int, kind: int) -> int:
        columns = self._columns
        number = len(columns.kind)
        if number >= _MOST_NODES:
            raise LimitError("the LTFS index has too many files", code="ltfs.limit")
        columns.parent.append(parent)
        columns.kind.append(kind)
        columns.length.append(0)
        columns.name_at.append(len(columns.names))
        columns.name_end.append(len(columns.names))
        columns.extent_at.append(len(columns.block))
        columns.problem.append(Problem.NONE)
        columns.uid.append(0)
        return number

    def _text(self, data: str) -> None:
        if self._leaf is None or self._skipped:
            return
        if self._leaf in _SIGNS:
            return
        self._text_size += len(data)
        if self._text_size > _LONGEST_TEXT:
            if self._leaf == "name":  # what was kept is too long already; it costs its file only
                return
            raise LimitError(f"the LTFS index has a {self._leaf} too long", code="ltfs.limit")
        self._pieces.append(data)

    def _end(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
        elif self._leaf is not None:
            self._only_once(tag)
            text = self._pieces[0] if len(self._pieces) == 1 else "".join(self._pieces)
            self._values[-1][tag] = text
            size, self._leaf, self._text_size = self._text_size, None, 0
            self._pieces.clear()
            if tag == "name":
                number = self._directories[-1] if self._contexts[-1] == "directory" else -1
                self._name(number, text if size <= _LONGEST_TEXT else "")
        else:
            act = self._at_end.get(self._contexts.pop())
            values = self._values.pop()
            if act is not None:
                act(values)

    def _end_index(self, values: dict[str, str]) -> None:
        if not self._columns.kind or "location" not in self._places:
            raise _wrong("has no directory or no location")
        location, previous = self._places["location"], self._places.get("previous")
        if previous == location and not self._incremental:
            raise CorruptMetadataError(
                "the LTFS index names itself as the one before it", code="ltfs.pointer"
            )
        identity = parse_uuid(_value(values, "volumeuuid").strip(), "ltfs.index")
        self._head = IndexHead(
            version=self._version,
            volume_uuid=str(identity),
            generation=_number(values, "generationnumber"),
            location=location,
            previous=previous,
            creator=values.get("creator", "").strip()[:1024],
            incremental=self._incremental,
            previous_changes=self._places.get("previous changes"),
        )

    def _end_place(self, name: str, values: dict[str, str]) -> None:
        self._places[name] = _letter(values), _number(values, "startblock")

    def _end_directory(self, values: dict[str, str]) -> None:
        _value(values, "name")
        node = self._directories.pop()
        self._columns.uid[node] = self._uid(values)
        if "deleted" in values:
            if "contents" in values or not self._directories:
                raise _wrong("holds a directory that is deleted and is not")
            self._columns.kind[node] = Kind.NO_DIRECTORY
        elif self._incremental and "contents" not in values and self._directories:
            self._columns.kind[node] = Kind.KNOWN_DIRECTORY

    def _name(self, node: int, text: str) -> None:
        """Keep the name of the node; one that is none makes the node bad and stays out."""
        columns = self._columns
        try:
            raw = unquote_to_bytes(text) if self._encoded else text.encode("utf-8")
            decoded = raw.decode("utf-8")
        except UnicodeError:
            raw, decoded = b"", ""
        node = len(columns.kind) - 1 if node < 0 else node
        bad = not raw or len(raw) > _LONGEST_NAME or decoded in {".", ".."}
        if bad or "/" in decoded or "\0" in decoded:
            columns.problem[node] = Problem.NAME
            raw = b""
        columns.name_at[node] = len(columns.names)
        columns.names += raw
        columns.name_end[node] = len(columns.names)

    def _end_file(self, values: dict[str, str]) -> None:
        columns = self._columns
        _value(values, "name")
        node = len(columns.kind) - 1
        columns.uid[node] = self._uid(values)
        if "deleted" in values:
            columns.kind[node] = Kind.NO_FILE
        elif "symlink" in values:
            columns.kind[node] = Kind.LINK
        else:
            columns.length[node] = _number(values, "length")

    def _uid(self, values: dict[str, str]) -> int:
        """Return the number of a node; where it decides nothing, one that is none is no harm."""
        text = values.get("fileuid", "0").strip()
        if _UID.fullmatch(text) and int(text) <= _MOST_UID:
            return int(text)
        if self._incremental:
            raise _wrong("has a fileuid that is no number of 64 bits")
        return 0

    def _end_extent(self, values: dict[str, str]) -> None:
        columns = self._columns
        offset, count = _number(values, "fileoffset"), _number(values, "bytecount")
        block, skip = _number(values, "startblock"), _number(values, "byteoffset")
        if offset > MAX_OFFSET - count or skip > _MOST_SKIP:
            raise _wrong("has an extent beyond 2**63 - 1")
        letter = _letter(values)
        if not count:
            return
        columns.offset.append(offset)
        columns.partition.append(ord(letter))
        columns.block.append(block)
        columns.skip.append(skip)
        columns.count.append(count)


def _finished(growing: _Growing) -> Columns:
    """Turn what grew into arrays, put extents of a file in order, and mark contradictions."""
    names_in_order, name_at = _packed_names(growing)
    columns = Columns(
        parent=np.frombuffer(growing.parent, np.int32),
        kind=np.frombuffer(growing.kind, np.uint8),
        length=np.frombuffer(growing.length, np.int64),
        name_at=name_at,
        names=names_in_order,
        extent_at=np.append(np.frombuffer(growing.extent_at, np.int64), len(growing.block)),
        offset=_array(growing.offset, np.int64),
        partition=np.frombuffer(growing.partition, np.uint8).copy(),
        block=_array(growing.block, np.int64),
        skip=np.frombuffer(growing.skip.tobytes(), np.uint32).copy(),
        count=_array(growing.count, np.int64),
        problem=np.frombuffer(growing.problem, np.uint8),
        uid=np.frombuffer(growing.uid, np.uint64),
    )
    _sort_extents(columns)
    return columns


def _array(
    values: "array[int]", kind: type[np.int64]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.frombuffer(values, kind)


def _packed_names(
    growing: _Growing,
) -> tuple[bytes | bytearray, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the names in the order of nodes; almost always they are in it already."""
    first = np.frombuffer(growing.name_at, np.int64)
    end = np.frombuffer(growing.name_end, np.int64)
    if (first[1:] == end[:-1]).all() and first[0] == 0:
        return growing.names, np.append(first, end[-1:])
    pieces = [bytes(growing.names[a:b]) for a, b in zip(first.tolist(), end.tolist(), strict=True)]
    at = np.concatenate(([0], np.cumsum(end - first)))
    return b"".join(pieces), at


def _sort_extents(columns: Columns) -> None:
    owner = np.repeat(np.arange(len(columns.kind)), np.diff(columns.extent_at))
    if not len(owner):
        return
    same = owner[1:] == owner[:-1]
    for node in np.unique(owner[1:][same & (columns.offset[1:] < columns.offset[:-1])]).tolist():
        part = slice(int(columns.extent_at[node]), int(columns.extent_at[node + 1]))
        order = np.argsort(columns.offset[part], kind="stable")
        for column in (
            columns.offset,
            columns.partition,
            columns.block,
            columns.skip,
            columns.count,
        ):
            column[part] = column[part][order]
    end = columns.offset + columns.count
    columns.problem[owner[end > columns.length[owner]]] = Problem.LENGTH
    overlap = same & (columns.offset[1:] < end[:-1])
    columns.problem[owner[1:][overlap]] = Problem.OVERLAP


def _version(text: str) -> tuple[int, int]:
    version = parse_version(text, "ltfs.index")
    if not _OLDEST <= version <= NEWEST:
        raise UnsupportedFormatError(
            f"the LTFS index has format {text[:40]}; known are 2.0 to 2.5", code="ltfs.version"
        )
    return version


def _value(values: dict[str, str], name: str) -> str:
    found = values.get(name)
    if found is None:
        raise _wrong(f"has an element without {name}")
    return found


def _number(values: dict[str, str], name: str) -> int:
    text = _value(values, name).strip()
    if not _DIGITS.fullmatch(text) or int(text) > MAX_OFFSET:
        raise _wrong(f"has a {name} that is no number of 63 bits")
    return int(text)


def _letter(values: dict[str, str]) -> str:
    text = _value(values, "partition").strip()
    if len(text) != 1 or not "a" <= text <= "z":
        raise _wrong("has a partition that is no letter")
    return text


def _wrong(problem: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the LTFS index {problem}", code="ltfs.index")
