"""A vendor's catalogue on tape: two tapes, containers in pieces, the order by position.

    python samples/tape_order.py

A full backup lies on tape F1, and an increment on tape I1: the end of a container, and a new one.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rehydrate import ContainerExtent, FileExtent, StorePath, TargetRoot, restore_files
from rehydrate.conformance import World


class Piece(NamedTuple):
    """A row of the catalogue; sorting rows brings them in the order of the tapes."""

    tape: str
    block: int
    path: StorePath
    offset: int
    data: bytes


class TapeStore:
    """Implements the order, the preview and the read over a catalogue."""

    def __init__(self, catalogue: Sequence[Piece]) -> None:
        """Keep the catalogue."""
        self.catalogue, self.log, self.tape = sorted(catalogue), list[str](), ""

    def order_containers_restore(self, paths: Sequence[StorePath], /) -> Sequence[ContainerExtent]:
        """Return the pieces as they lie on the tapes, those of the tape in the drive first."""
        wanted = {path: index for index, path in enumerate(paths)}
        return [
            ContainerExtent(index=wanted[one.path], offset=one.offset, length=len(one.data))
            for one in sorted(self.catalogue, key=lambda piece: piece.tape != self.tape)
            if one.path in wanted
        ]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Mount the tape of the piece that holds the first read; a locate would follow."""
        piece = self.piece_at(path, reads[0].offset)
        if self.tape != piece.tape:
            self.log.append(f"mount {piece.tape}")
        self.log.append(f"locate {piece.tape}:{piece.block} for {path} from {piece.offset}")
        self.tape = piece.tape

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Read from the piece; a read never crosses the border of two extents."""
        piece = self.piece_at(path, offset)
        return piece.data[offset - piece.offset :][:size]

    def piece_at(self, path: StorePath, offset: int) -> Piece:
        """Find the piece with a byte."""
        for one in self.catalogue:
            if one.path == path and 0 <= offset - one.offset < len(one.data):
                return one
        raise FileNotFoundError(path)


def example() -> tuple[World, list[Piece]]:
    """Make files in three containers and their maps in one, and put these on two tapes."""
    world = World()
    chunks = [world.chunk(f"{n} ".encode() * 9000, 1 + n // 4) for n in range(12)]
    for number in range(4):
        world.mapped_file(f"file-{number}", [chunks[number::4]])
    world.seal()
    first, middle, last, maps = sorted(world.files)
    cut = len(world.files[middle]) // 2
    pieces = [
        Piece("F1", 5, middle, 0, world.files[middle][:cut]),  # not in the order of the paths
        Piece("F1", 90, first, 0, world.files[first]),
        Piece("I1", 7, middle, cut, world.files[middle][cut:]),
        Piece("I1", 40, last, 0, world.files[last]),
        Piece("I1", 80, maps, 0, world.files[maps]),
    ]
    return world, pieces


if __name__ == "__main__":
    world, catalogue = example()
    store = TapeStore(catalogue)
    with tempfile.TemporaryDirectory() as folder:
        with TargetRoot(folder) as target:
            reads = restore_files(world.requests, store, target).counters.reads
        restored = {name: (Path(folder) / name).read_bytes() for name in world.expected}
    print("\n".join(store.log), f"\n{reads} reads, all right: {restored == world.expected}")
