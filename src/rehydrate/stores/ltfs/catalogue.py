"""Which parts of which files on which volumes a container is made of, and where these lie.

A backup that was made in several runs has the beginning of a container on one volume and what was
appended, or written anew, on others. Where pieces overlap the later one counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from rehydrate.errors import RequestError, StoreReadError
from rehydrate.stores.ltfs.table import Kind
from rehydrate.stores.ltfs.volume import LtfsVolume, TapeExtent
from rehydrate.values import MAX_OFFSET, StorePath

__all__ = ["ContainerCatalogue", "Part", "Piece", "Pieces", "WholeFiles", "lay_out"]


@attrs.frozen
class Piece:
    """A range of a container that lies in a file on a volume.

    Attributes:
        volume: Name (barcode) of the volume.
        file: Path of the file on it.
        offset: First byte of the container that the piece holds.
        length: Number of bytes; ``None`` = to the end of the file.
        file_offset: Where the piece begins in the file.
    """

    volume: str
    file: str
    offset: int = 0
    length: int | None = None
    file_offset: int = 0

    def __attrs_post_init__(self) -> None:
        """Refuse ranges that are none.

        Raises:
            RequestError: With code ``"tape.piece"``.
        """
        least = min(self.offset, self.file_offset, self.length or 0)
        if least < 0 or self.offset + (self.length or 0) > MAX_OFFSET:
            raise RequestError("a piece of a container has no valid range", code="tape.piece")


class ContainerCatalogue(Protocol):
    """Knows where containers are; a vendor's own catalogue, or one of those below.

    Asked by one thread at a time, and again for containers that were asked for before. A
    :class:`~rehydrate.StoreError` costs the files of the container; any other exception may end the
    restore.
    """

    def pieces(self, path: StorePath, /) -> Sequence[Piece]:
        """Return the pieces of a container, older ones first; empty if it is not known.

        Where pieces overlap later ones count. Bytes before the end that no piece has cannot be read.

        Args:
            path: The container.
        """
        ...

    def names(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the containers in a folder of the store; asked in repairs only.

        Args:
            folder: Store path of the folder, without a slash at its end.
        """
        ...


class Pieces:
    """A catalogue in a mapping."""

    def __init__(self, pieces: Mapping[StorePath, Sequence[Piece]]) -> None:
        """Keep the mapping.

        Args:
            pieces: The pieces of each container, older ones first.
        """
        self._pieces = pieces

    def pieces(self, path: StorePath, /) -> Sequence[Piece]:
        """Return the pieces of a container; empty if it is not known.

        Args:
            path: The container.
        """
        return self._pieces.get(path, ())

    def names(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names in a folder, sorted.

        Args:
            folder: Store path of the folder.
        """
        parts = [path.rpartition("/") for path in self._pieces]
        return sorted(name for parent, _, name in parts if parent == folder)


class WholeFiles:
    """The indexes of the volumes as a catalogue: every file below a folder is a container.

    A file that is on several volumes is taken from the first one given.
    """

    def __init__(self, volumes: Iterable[LtfsVolume], folder: str = "") -> None:
        """Keep the volumes.

        Args:
            volumes: The volumes, the preferred ones first.
            folder: Folder on the volumes that store paths are relative to.
        """
        self._volumes = tuple(volumes)
        self._prefix = folder.strip("/") + "/" if folder.strip("/") else ""

    def pieces(self, path: StorePath, /) -> Sequence[Piece]:
        """Return the file as the only piece; empty if no volume has it.

        Args:
            path: The container.
        """
        wanted = self._prefix + path
        for volume in self._volumes:
            node = volume.index.find(wanted)
            if node is not None and volume.index.columns.kind[node] == Kind.FILE:
                return (Piece(volume.name, wanted),)
        return ()

    def names(self, folder: StorePath, /) -> Sequence[str]:
        """Return the names of the files in a folder of all volumes, sorted.

        Args:
            folder: Store path of the folder.
        """
        found: set[str] = set()
        for volume in self._volumes:
            index = volume.index
            node = index.find((self._prefix + folder).rstrip("/"))
            for child in () if node is None else index.children(node):
                if index.columns.kind[child] == Kind.FILE:
                    found.add(index.name(child))
        return sorted(found - {""})


@attrs.frozen
class Part:
    """A range of a container, and what its bytes are.

    Attributes:
        start: First byte in the container.
        end: First byte behind it.
        volume: The volume; ``None`` where the catalogue has nothing.
        extent: Where it lies; ``None`` = zeros (a hole of the file), or nothing without a volume.
        first: First byte in the extent.
    """

    start: int
    end: int
    volume: LtfsVolume | None = None
    extent: TapeExtent | None = None
    first: int = 0


def lay_out(pieces: Sequence[Piece], volumes: Mapping[str, LtfsVolume]) -> tuple[Part, ...]:
    """Resolve the pieces of a container to parts, ascending and without gaps from 0 on.

    Args:
        pieces: Its pieces, older ones first.
        volumes: The volumes by name.

    Raises:
        StoreReadError: With code ``"tape.catalogue"`` if a piece names an unknown volume or a
            range that its file does not have.
        RestoreError: A file is not on its volume, or its entry is damaged.
    """
    visible: list[tuple[int, int, Piece]] = []
    for piece in pieces:
        volume = volumes.get(piece.volume)
        if volume is None:
            raise _catalogue(f"names the volume {piece.volume!r}, which was not given")
        size = volume.size_of(piece.file)
        length = size - piece.file_offset if piece.length is None else piece.length
        if length < 0 or piece.file_offset + length > size:
            raise _catalogue(f"wants bytes behind the end of {piece.file!r} on {piece.volume}")
        if piece.offset + length > MAX_OFFSET:
            raise _catalogue("names a range beyond 2**63 - 1")
        if length:
            end = piece.offset + length
            visible = [*_without(visible, piece.offset, end), (piece.offset, end, piece)]
    parts: list[Part] = []
    at = 0
    for start, end, piece in sorted(visible, key=lambda item: item[0]):
        if start > at:
            parts.append(Part(at, start))
        parts += _parts(start, end, piece, volumes[piece.volume])
        at = end
    return tuple(parts)


def _without(
    ranges: Iterable[tuple[int, int, Piece]], start: int, end: int
) -> Iterable[tuple[int, int, Piece]]:
    """Cut a range out of all others."""
    for first, last, piece in ranges:
        if first < min(last, start):
            yield first, min(last, start), piece
        if max(first, end) < last:
            yield max(first, end), last, piece


def _parts(start: int, end: int, piece: Piece, volume: LtfsVolume) -> Iterable[Part]:
    """Cut a visible range along the extents of its file."""
    shift = piece.offset - piece.file_offset  # from the file to the container
    at = start
    for extent in volume.extents(piece.file):
        first = max(extent.offset + shift, at)
        last = min(extent.offset + extent.count + shift, end)
        if first >= last:
            continue
        if first > at:
            yield Part(at, first, volume)
        yield Part(first, last, volume, extent, first - shift - extent.offset)
        at = last
    if at < end:
        yield Part(at, end, volume)


def _catalogue(problem: str) -> StoreReadError:
    return StoreReadError(
        f"the catalogue of containers {problem}", code="tape.catalogue", retryable=False
    )
