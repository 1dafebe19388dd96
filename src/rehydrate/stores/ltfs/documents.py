"""Writes labels and indexes of LTFS as XML, where there is none that could be kept as it was read.

They hold what a restore needs (identity, partitions, size of blocks; names, lengths, extents) and
nothing else, and are read by the same parsers as those from tapes.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote_from_bytes
from xml.sax.saxutils import escape

from rehydrate.stores.ltfs.label import LtfsLabel
from rehydrate.stores.ltfs.table import ROOT, Index, Kind, Problem

__all__ = ["index_document", "label_document"]

_HEADING: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_PIECE: Final = 1 << 16


def label_document(label: LtfsLabel) -> bytes:
    """Return a label as XML.

    Args:
        label: The label.
    """
    known = label.compressed is not None
    compression = f"<compression>{str(label.compressed).lower()}</compression>" if known else ""
    return (
        f'{_HEADING}<ltfslabel version="2.4.0"><creator>{_text(label.creator)}</creator>'
        f"<volumeuuid>{label.volume_uuid}</volumeuuid>"
        f"<location><partition>{label.partition}</partition></location><partitions>"
        f"<index>{label.index_partition}</index><data>{label.data_partition}</data></partitions>"
        f"<blocksize>{label.block_size}</blocksize>{compression}</ltfslabel>\n"
    ).encode()


def index_document(index: Index) -> Iterator[bytes]:
    """Return an index as XML.

    Names that are none stay out, and what lies below them; links, too.

    Args:
        index: The index.

    Yields:
        The document in pieces.
    """
    lines: list[str] = []
    size = 0
    for line in _lines(index):
        lines.append(line)
        size += len(line)
        if size >= _PIECE:
            yield "".join(lines).encode()
            lines, size = [], 0
    yield "".join(lines).encode()


def _lines(index: Index) -> Iterator[str]:
    head = index.head
    yield (
        f'{_HEADING}<ltfsindex version="{head.version[0]}.{head.version[1]}.0">\n'
        f"<creator>{_text(head.creator)}</creator><volumeuuid>{head.volume_uuid}</volumeuuid>"
        f"<generationnumber>{head.generation}</generationnumber>{_place('location', head.location)}"
    )
    if head.previous is not None:
        yield _place("previousgenerationlocation", head.previous)
    yield "\n<directory><name>/</name><contents>\n"
    yield from _below(index)
    yield "</contents></directory>\n</ltfsindex>\n"


def _below(index: Index) -> Iterator[str]:
    """Go through the tree; its depth is not that of calls."""
    columns = index.columns
    open_folders = [index.children(ROOT)]
    while open_folders:
        node = next(open_folders[-1], None)
        if node is None:
            open_folders.pop()
            if open_folders:
                yield "</contents></directory>\n"
        elif columns.problem[node] == Problem.NAME or not index.name(node):
            continue
        elif columns.kind[node] == Kind.DIRECTORY:
            yield f"<directory>{_name(index.name(node))}{_uid(index, node)}<contents>\n"
            open_folders.append(index.children(node))
        elif columns.kind[node] == Kind.FILE:
            yield (
                f"<file>{_name(index.name(node))}{_uid(index, node)}<length>{index.length(node)}</length>"
                f"<extentinfo>{''.join(_extents(index, node))}</extentinfo></file>\n"
            )


def _uid(index: Index, node: int) -> str:
    """Return the number of a node, without which changes could not be applied later."""
    uid = int(index.columns.uid[node]) if len(index.columns.uid) else 0
    return f"<fileuid>{uid}</fileuid>" if uid else ""


def _extents(index: Index, node: int) -> Iterator[str]:
    columns = index.columns
    for at in range(int(columns.extent_at[node]), int(columns.extent_at[node + 1])):
        yield (
            f"<extent><fileoffset>{columns.offset[at]}</fileoffset>"
            f"<partition>{chr(columns.partition[at])}</partition>"
            f"<startblock>{columns.block[at]}</startblock>"
            f"<byteoffset>{columns.skip[at]}</byteoffset>"
            f"<bytecount>{columns.count[at]}</bytecount></extent>"
        )


def _place(name: str, place: tuple[str, int]) -> str:
    letter, block = place
    return f"<{name}><partition>{letter}</partition><startblock>{block}</startblock></{name}>"


def _name(name: str) -> str:
    if name.isprintable():
        return f"<name>{escape(name)}</name>"
    raw = name.encode("utf-8", "surrogateescape")
    return f'<name percentencoded="true">{quote_from_bytes(raw)}</name>'


def _text(text: str) -> str:
    """Return a text for people; what cannot be printed stays out."""
    return escape("".join(letter for letter in text if letter.isprintable()))
