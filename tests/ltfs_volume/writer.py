"""Writes LTFS volumes of two partitions as lists of records."""

import uuid
from collections.abc import Sequence
from xml.sax.saxutils import escape

import attrs

__all__ = ["Extent", "VolumeWriter"]

LETTERS = "ab"


@attrs.frozen
class Extent:
    """An extent as the index names it."""

    offset: int
    partition: str
    block: int
    skip: int
    count: int

    def xml(self) -> str:
        return (
            f"<extent><fileoffset>{self.offset}</fileoffset><partition>{self.partition}</partition>"
            f"<startblock>{self.block}</startblock><byteoffset>{self.skip}</byteoffset>"
            f"<bytecount>{self.count}</bytecount></extent>"
        )


@attrs.define(eq=False)
class VolumeWriter:
    """A volume that is being written."""

    number: int = 1
    barcode: str = "TAPE01"
    block_size: int = 4096
    version: str = "2.4.0"
    partitions: list[list[bytes | None]] = attrs.field(init=False)
    files: dict[str, tuple[int, list[Extent]]] = attrs.field(factory=dict)
    compression: str = "<compression>true</compression>"
    generation: int = 0
    previous: tuple[str, int] | None = None
    changes: tuple[str, int] | None = None
    """Where the last index of changes after the last complete one is."""

    def __attrs_post_init__(self) -> None:
        self.partitions = [[self.vol1(), None, self.label(letter), None] for letter in LETTERS]

    @property
    def uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.number)

    def vol1(self) -> bytes:
        return f"VOL1{self.barcode:<6}L             LTFS".encode().ljust(79) + b"4"

    def label(self, letter: str) -> bytes:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ltfslabel version="2.4.0">'
            "<creator>tests</creator><formattime>2020-01-01T00:00:00Z</formattime>"
            f"<volumeuuid>{self.uuid}</volumeuuid><location><partition>{letter}</partition></location>"
            "<partitions><index>a</index><data>b</data></partitions>"
            f"<blocksize>{self.block_size}</blocksize>{self.compression}</ltfslabel>"
        ).encode()

    def append(self, letter: str, data: bytes, sizes: Sequence[int] = ()) -> int:
        """Write records, full ones but for the given sizes of the first; return the first block."""
        items = self.partitions[LETTERS.index(letter)]
        first, at = len(items), 0
        for size in (*sizes, *[self.block_size] * (len(data) // self.block_size + 1)):
            if at < len(data):
                items.append(data[at : at + size])
                at += size
        return first

    def add(
        self, path: str, data: bytes, *, letter: str = "b", sizes: Sequence[int] = ()
    ) -> "VolumeWriter":
        """Write a file in one extent."""
        block = self.append(letter, data, sizes)
        extents = [Extent(0, letter, block, 0, len(data))] if data else []
        self.files[path] = (len(data), extents)
        return self

    def filemark(self, letter: str = "b") -> None:
        self.partitions[LETTERS.index(letter)].append(None)

    def finish(self) -> "VolumeWriter":
        """Write an index to the data partition, and then to the index partition."""
        self.generation += 1
        self.write_index("b")
        del self.partitions[0][4:]
        return self.write_index("a")

    def write_index(
        self, letter: str, *, root: str = "ltfsindex", contents: str | None = None
    ) -> "VolumeWriter":
        items = self.partitions[LETTERS.index(letter)]
        items.append(None)
        place = letter, len(items)
        self.append(letter, self.index(place, root, contents))
        items.append(None)
        if letter == "b" and root == "ltfsindex":
            self.previous, self.changes = place, None
        return self

    def write_changes(self, contents: str, *, chained: bool = False) -> tuple[str, int]:
        """Write an index of changes; ``chained`` names it as the generation before the next one."""
        self.generation += 1
        place = "b", len(self.partitions[1]) + 1
        self.write_index("b", root="ltfsincrementalindex", contents=contents)
        if chained:
            self.previous = place
        else:
            self.changes = place
        return place

    def index(
        self,
        place: tuple[str, int] = ("a", 5),
        root: str = "ltfsindex",
        contents: str | None = None,
    ) -> bytes:
        """Return the XML."""
        previous = "".join(
            f"<{name}><partition>{found[0]}</partition><startblock>{found[1]}</startblock></{name}>"
            for name, found in (
                ("previousgenerationlocation", self.previous),
                ("previousincrementallocation", self.changes),
            )
            if found is not None
        )
        contents = self._tree("") if contents is None else contents
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} version="{self.version}">'
            f"<creator>tests</creator><volumeuuid>{self.uuid}</volumeuuid>"
            f"<generationnumber>{self.generation}</generationnumber>"
            f"<updatetime>2020-01-01T00:00:00Z</updatetime><location>"
            f"<partition>{place[0]}</partition><startblock>{place[1]}</startblock></location>"
            f"{previous}<allowpolicyupdate>true</allowpolicyupdate>"
            f"<directory><name>{self.barcode}</name><contents>{contents}</contents>"
            f"</directory></{root}>"
        ).encode()

    def _tree(self, folder: str) -> str:
        folders, found = [], []
        for path, (length, extents) in self.files.items():
            if not path.startswith(folder):
                continue
            name, _, deeper = path[len(folder) :].partition("/")
            if deeper and name not in folders:
                folders.append(name)
            elif not deeper:
                found.append(
                    f"<file><name>{escape(name)}</name><length>{length}</length>"
                    f"<extentinfo>{''.join(extent.xml() for extent in extents)}</extentinfo></file>"
                )
        found += [
            f"<directory><name>{escape(name)}</name><contents>{self._tree(f'{folder}{name}/')}"
            "</contents></directory>"
            for name in folders
        ]
        return "".join(found)
