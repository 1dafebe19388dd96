"""A vendor's catalogue on tape: two tapes, containers in pieces, the order by position.

    python samples/tape_order.py

A full backup lies on tape F1. Later an increment put the end of one container, and a new container,
on tape I1. The catalogue knows all pieces; the order callback returns them sorted by tape and block,
and a tape is mounted when the first of its pieces is previewed.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rehydrate import (
    ContainerExtent,
    FileExtent,
    RestoreOptions,
    RestoreReport,
    StorePath,
    TargetRoot,
    restore_files,
)
from rehydrate.conformance import World


class Piece(NamedTuple):
    """A row of the catalogue; sorting rows brings them in the order of the tapes."""

    tape: str
    block: int
    path: StorePath
    offset: int
    data: bytes


class TapeStore:
    """Implements the read, the order and the preview over a catalogue."""

    def __init__(self, catalogue: Sequence[Piece]) -> None:
        """Keep the catalogue."""
        self.catalogue = sorted(catalogue)
        self.tape = ""
        self.log: list[str] = []

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return the pieces of the wanted containers as they lie on the tapes."""
        return [
            ContainerExtent(
                index=containers.index(piece.path), offset=piece.offset, length=len(piece.data)
            )
            for piece in self.catalogue
            if piece.path in containers
        ]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """Mount the tape of the piece that holds the first read; a locate would follow."""
        piece = self.piece_at(path, reads[0].offset)
        if piece.tape != self.tape:
            self.tape = piece.tape
            self.log.append(f"mount {piece.tape}")
        self.log.append(f"locate {piece.tape}:{piece.block} for {path} from {piece.offset}")

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Read from the piece; a read never crosses the border of two extents."""
        piece = self.piece_at(path, offset)
        return piece.data[offset - piece.offset :][:size]

    def piece_at(self, path: StorePath, offset: int) -> Piece:
        """Find the piece with a byte."""
        for piece in self.catalogue:
            if piece.path == path and piece.offset <= offset < piece.offset + len(piece.data):
                return piece
        raise FileNotFoundError(path)


def example() -> tuple[World, list[Piece]]:
    """Make a store with three containers, and put them on two tapes."""
    world = World()
    chunks = [world.chunk(f"{n} ".encode() * 9000, 1 + n // 4) for n in range(12)]
    for number in range(4):
        world.mapped_file(f"file-{number}", [chunks[number::4]])
    world.seal()
    first, middle, last, maps = sorted(world.files)
    cut = len(world.files[middle]) // 2
    return (
        world,
        [
            Piece("F1", 5, middle, 0, world.files[middle][:cut]),  # not in the order of the paths
            Piece("F1", 90, first, 0, world.files[first]),
            Piece("I1", 7, middle, cut, world.files[middle][cut:]),
            Piece("I1", 40, last, 0, world.files[last]),
            Piece("I1", 80, maps, 0, world.files[maps]),
        ],
    )


def restore(world: World, store: TapeStore, out: Path) -> RestoreReport:
    """Restore everything and compare."""
    with TargetRoot(out) as target:
        report = restore_files(world.requests, store, target, options=RestoreOptions(jobs=1))
    for name, content in world.expected.items():
        if (out / name).read_bytes() != content:
            raise SystemExit(f"{name} is wrong")
    return report


if __name__ == "__main__":
    world, catalogue = example()
    store = TapeStore(catalogue)
    with tempfile.TemporaryDirectory() as folder:
        counters = restore(world, store, Path(folder)).counters
    print("\n".join(store.log))
    print(f"{counters.reads} reads, {sum(line.startswith('mount') for line in store.log)} mounts")
