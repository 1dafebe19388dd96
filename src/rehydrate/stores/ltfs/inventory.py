"""Saved inventories: what is on LTFS volumes, kept in a directory, so that plans need no tape.

An inventory is three files, named by the barcode and the generation of the index:
``BARCODE.volume.json`` says what is known of the volume and names the other two, which are its label
and its index as XML. It is written last, so that an inventory is there as a whole or not at all. All
of it may have been changed since; what is read is bounded and checked as if it came from a tape.
"""

import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import (
    CorruptMetadataError,
    RequestError,
    RestoreError,
    StoreReadError,
)
from rehydrate.media.geometry import (
    FORMATS,
    TapeFormat,
    TapeGeometry,
    WrapEnd,
    native_geometry,
    reported_geometry,
)
from rehydrate.media.locate import model_of
from rehydrate.media.pricing import Tape
from rehydrate.stores.ltfs.index import parse_index
from rehydrate.stores.ltfs.label import LARGEST_LABEL, parse_label, parse_uuid
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.strict_json import Fields, load

__all__ = [
    "BARCODE",
    "SUFFIX",
    "Inventory",
    "Told",
    "load_inventories",
    "load_inventory",
    "pieces_of",
    "read_told",
    "read_whole",
    "with_generation",
]

BARCODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a barcode may be: it becomes the name of files, and a word of commands."""
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SUFFIX: Final = ".volume.json"
"""What the name of the JSON file ends with; the barcode comes before it."""
FORMAT: Final = "rehydrate-volume"
VERSION: Final = 1
MOST_VOLUMES: Final = 100_000
_LARGEST: Final = 1 << 24
_MOST_WRAPS: Final = 4096
_WRAP_COLUMNS: Final = 3
_PIECE: Final = 1 << 20
_PARTITIONS: Final = 2
_MOST_BLOCKS: Final = 1 << 48
_CODE: Final = "tape.inventory"


@attrs.frozen(kw_only=True, eq=False)
class Inventory:
    """What is known of a volume.

    Attributes:
        volume: The volume, with its index, geometry and times.
        generation: Generation of its tape, such as ``"LTO-9"``; empty = not known.
        wrap_ends: Where wraps end, as the drive told; empty = not known.
        mounted: It was taken from a mounted volume: only where files begin is known, so that it can
            be read by its files only.
        native: Somebody said that its data are stored at native size.
    """

    volume: LtfsVolume
    generation: str = ""
    wrap_ends: tuple[WrapEnd, ...] = ()
    mounted: bool = False
    native: bool = False


def with_generation(
    volume: LtfsVolume, generation: str, ends: Sequence[WrapEnd] = (), *, native: bool = False
) -> LtfsVolume:
    """Return a volume with the times of its generation.

    Where the drive did not tell the ends of wraps, there is a geometry only if the data are known
    to be stored at native size, as a plan by wraps of the wrong size may be worse than none. Then
    the layout is the usual one of LTFS: one wrap pair for the index, the others for data.

    Args:
        volume: The volume.
        generation: Name of the generation; empty = nothing is known.
        ends: Ends of wraps as the drive told.
        native: The data are stored at native size, even if the label does not say so.

    Raises:
        RequestError: With code ``"tape.generation"`` if there is no such generation, or
            ``"tape.geometry"`` if the ends contradict it.
    """
    unit = float(volume.label.block_size)
    if not generation:
        return attrs.evolve(volume, tape=Tape(unit_bytes=unit))
    known = FORMATS.get(generation)
    if known is None:
        raise RequestError(
            f"{generation!r} is no known generation; there are {', '.join(FORMATS)}",
            code="tape.generation",
        )
    geometry = None
    if ends or native or volume.label.compressed is False:
        geometry = _geometry(known, ends, unit, volume)
    return attrs.evolve(volume, tape=Tape(model_of(known), geometry, unit_bytes=unit))


def _geometry(
    known: TapeFormat, ends: Sequence[WrapEnd], unit: float, volume: LtfsVolume
) -> TapeGeometry | None:
    if ends:
        written = tuple(volume.numbers.values())
        return reported_geometry(known, ends, unit_bytes=unit, partly_written=written)
    if known.wraps is None:
        return None
    pairs = [0, 0]
    pairs[volume.numbers[volume.label.index_partition]] = 1
    data = known.wraps // 2 - known.guard_pairs - 1
    pairs[volume.numbers[volume.label.data_partition]] = data
    return native_geometry(known, pairs=pairs, unit_bytes=unit)


def load_inventories(folder: Path) -> tuple[Inventory, ...]:
    """Read all inventories of a directory, by ascending barcode.

    Args:
        folder: The directory.

    Raises:
        RequestError: With code ``"tape.inventory"`` if there is none, or too many; with
            ``"tape.volumes"`` if two are of the same volume.
        CorruptMetadataError: One is damaged; so do the parsers of labels and indexes say it.
        StoreReadError: One cannot be read.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise RequestError(
            f"cannot read the inventories in {folder}: {error.strerror}", code=_CODE
        ) from error
    if not 0 < len(names) <= MOST_VOLUMES:
        raise RequestError(
            f"{folder} holds {'too many inventories' if names else 'no inventory'}:"
            " `rehydrate inventory DRIVE -o DIR` makes one of a volume",
            code=_CODE,
        )
    found = tuple(load_inventory(folder / name) for name in names)
    seen: dict[uuid.UUID, str] = {}
    for each in found:
        volume = each.volume
        other = seen.setdefault(volume.label.volume_uuid, volume.name)
        if other != volume.name:
            raise RequestError(
                f"{folder} says that {other} and {volume.name} are both volume"
                f" {volume.label.volume_uuid}",
                code="tape.volumes",
            )
    return found


def load_inventory(path: Path) -> Inventory:
    """Read an inventory.

    Args:
        path: Its JSON file.

    Raises:
        CorruptMetadataError: With code ``"tape.inventory"``, or as the parsers of labels and indexes
            say it.
        StoreReadError: A file cannot be read.
    """
    told = read_told(path)
    label = parse_label(read_whole(path.with_name(told.label), LARGEST_LABEL))
    try:
        index = parse_index(pieces_of(path.with_name(told.index)))
    except RestoreError as error:
        if told.barcode not in error.message:
            error.message = f"the inventory of {told.barcode}: {error.message}"
        raise
    same = index.head.generation == told.index_generation and told.identity == label.volume_uuid
    if not same or set(told.numbers) != set(label.letters):
        raise _wrong(path)("contradicts its label or its index: take it again")
    volume = LtfsVolume(
        name=told.barcode,
        label=label,
        index=index,
        numbers=told.numbers,
        written=told.written,
        full_blocks=told.mounted,
        inner_barcode=told.label_barcode,
    )
    if told.mounted:
        volume = attrs.evolve(volume, read_through=0)
    try:
        volume = with_generation(volume, told.generation, told.wrap_ends, native=told.native)
    except RequestError as error:
        raise _wrong(path)(f"has a tape that cannot be: {error.message}") from error
    return Inventory(
        volume=volume,
        generation=told.generation,
        wrap_ends=told.wrap_ends,
        mounted=told.mounted,
        native=told.native,
    )


@attrs.frozen(kw_only=True)
class Told:
    """What the JSON file says.

    Attributes:
        barcode: Name of the volume.
        identity: Identity of the volume.
        index_generation: Number of the index; 0 = not known.
        label: Name of the file with the label.
        index: Name of the file with the index.
        numbers: Number of the partition of each letter.
        written: Blocks that are written in each partition, by letter, where known.
        generation: Generation of the tape, or empty.
        wrap_ends: Ends of wraps.
        label_barcode: Barcode in the VOL1 label, or empty.
        mounted: See :class:`Inventory`.
        native: See :class:`Inventory`.
    """

    barcode: str
    identity: uuid.UUID
    index_generation: int
    label: str
    index: str
    numbers: Mapping[str, int]
    written: Mapping[str, int]
    generation: str
    wrap_ends: tuple[WrapEnd, ...]
    label_barcode: str
    mounted: bool
    native: bool = False

    def as_record(self) -> dict[str, object]:
        """Return what is written."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "barcode": self.barcode,
            "volume_uuid": str(self.identity),
            "index_generation": self.index_generation,
            "label": self.label,
            "index": self.index,
            "partitions": dict(self.numbers),
            "written": dict(self.written),
            "generation": self.generation,
            "wrap_ends": [[end.wrap, end.partition, end.last] for end in self.wrap_ends],
            "label_barcode": self.label_barcode,
            "mounted": self.mounted,
            "native": self.native,
        }


def read_told(path: Path) -> Told:
    """Read the JSON file of an inventory.

    Args:
        path: The file.

    Raises:
        CorruptMetadataError: With code ``"tape.inventory"``.
        StoreReadError: It cannot be read.
    """
    wrong = _wrong(path)
    fields = Fields(load(read_whole(path, _LARGEST), wrong), "the file", wrong)
    if fields.text("format") != FORMAT or fields.number("version") != VERSION:
        raise wrong("is of another format or version")
    ends = fields.items("wrap_ends", [])
    if len(ends) > _MOST_WRAPS:
        raise wrong("has more ends of wraps than any tape")
    told = Told(
        barcode=fields.text("barcode"),
        identity=parse_uuid(fields.text("volume_uuid"), _CODE),
        index_generation=fields.number("index_generation"),
        label=fields.text("label"),
        index=fields.text("index"),
        numbers=_by_letter(fields, "partitions", _PARTITIONS - 1),
        written=_by_letter(fields, "written", _MOST_BLOCKS),
        generation=fields.text("generation", least=0, default=""),
        wrap_ends=tuple(_wrap_end(fields, end) for end in ends),
        label_barcode=fields.text("label_barcode", least=0, default=""),
        mounted=fields.flag("mounted", default=False),
        native=fields.flag("native", default=False),
    )
    fields.done()
    if not BARCODE.fullmatch(told.barcode) or path.name != f"{told.barcode}{SUFFIX}":
        raise wrong("is that of another barcode")
    if not all(_FILE.fullmatch(name) for name in (told.label, told.index)):
        raise wrong("names files that are not beside it")
    if sorted(told.numbers.values()) != list(range(_PARTITIONS)):
        raise wrong("has no two partitions")
    return told


def _by_letter(fields: Fields, name: str, most: int) -> dict[str, int]:
    found = fields.take(name, {})
    if not isinstance(found, dict) or not all(re.fullmatch("[a-z]", letter) for letter in found):
        raise fields.unusable(name)
    return {letter: fields.whole(number, name, 0, most) for letter, number in found.items()}


def _wrap_end(fields: Fields, row: object) -> WrapEnd:
    if not isinstance(row, list) or len(row) != _WRAP_COLUMNS:
        raise fields.unusable("wrap_ends")
    wrap, partition, last = (fields.whole(value, "wrap_ends", 0, _MOST_BLOCKS) for value in row)
    return WrapEnd(wrap, partition, last)


def pieces_of(path: Path) -> Iterator[bytes]:
    """Read a regular file piece by piece.

    Args:
        path: The file.

    Raises:
        StoreReadError: It cannot be read, or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreReadError(f"{path} is no file", code=_CODE)
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise StoreReadError(f"cannot read {path}: {error.strerror}", code=_CODE) from error


def read_whole(path: Path, limit: int) -> bytes:
    """Read a small regular file.

    Args:
        path: The file.
        limit: Most bytes.

    Raises:
        CorruptMetadataError: With code ``"tape.inventory"`` if it is longer.
        StoreReadError: It cannot be read, or is no regular file.
    """
    data = b""
    for piece in pieces_of(path):
        data += piece
        if len(data) > limit:
            raise _wrong(path)("is too long")
    return data


@attrs.frozen
class _Wrong:
    """Makes errors about one file."""

    path: Path

    def __call__(self, problem: str) -> CorruptMetadataError:
        return CorruptMetadataError(f"the inventory {self.path} {problem}", code=_CODE)


def _wrong(path: Path) -> _Wrong:
    return _Wrong(path)
