"""A file that says on which volumes containers lie, as JSON; ``docs/reference/media-file.md``.

It is written by whoever put the containers there: a vendor's catalogue, a script of an operator.
Nothing in it is believed: numbers are bounded, names are unique, pieces of a container do not
overlap, and unknown fields are refused.
"""

import bisect
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from operator import attrgetter
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, RequestError
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
from rehydrate.media.segments import UNKNOWN
from rehydrate.strict_json import Fields, load
from rehydrate.values import MAX_OFFSET

__all__ = ["MediaFile", "Piece", "Volume", "parse_media"]

GENERIC: Final = "generic"
MAX_TEXT: Final = 1 << 30
MAX_VOLUMES: Final = 100_000
MAX_DRIVES: Final = 1000
MAX_PIECES: Final = 64
"""Pieces of one container, with gaps between them and what is behind the last, so that an order of
many containers stays within the call contract."""
MAX_BLOCK: Final = 1 << 24
MAX_PARTITION: Final = 255
_WRAP_COLUMNS: Final = 3


@attrs.frozen(eq=False)
class Volume:
    """A volume of the file.

    Attributes:
        name: Barcode, or what else people call it.
        kind: Generation, such as ``"LTO-9"``, or ``"generic"``.
        unit: Bytes of an address: the size of a block, or 1.
        tape: What is known of it.
        loaded: It is in a drive.
    """

    name: str
    kind: str
    unit: int
    tape: Tape
    loaded: bool


@attrs.frozen
class Piece:
    """A range of a container, ``[offset, end)``, and where it lies.

    Attributes:
        offset: First byte in the container.
        end: End in the container; ``MAX_OFFSET`` = the end of the container.
        volume: Number of the volume, or ``UNKNOWN``.
        partition: Partition of the volume.
        start: Address of the first byte in the partition, or ``UNKNOWN``.
    """

    offset: int
    end: int
    volume: int = UNKNOWN
    partition: int = 0
    start: int = UNKNOWN


@attrs.frozen(eq=False)
class MediaFile:
    """Volumes, and what lies on them.

    Attributes:
        volumes: The volumes; their places here are their numbers.
        drives: Drives that read at a time.
        exact: Pieces by path of the container, ascending and without overlap.
        patterns: Patterns of other containers, and the volume on which they lie somewhere.
    """

    volumes: tuple[Volume, ...]
    drives: int
    exact: Mapping[str, tuple[Piece, ...]]
    patterns: tuple[tuple[str, int], ...]
    _fitting: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)

    def pieces(self, path: str) -> tuple[Piece, ...]:
        """Return pieces that cover a container from its first byte to ``MAX_OFFSET``.

        Args:
            path: Path of the container. What the file does not say lies on no known volume.
        """
        known = self.exact.get(path)
        if known is None:
            return (Piece(0, MAX_OFFSET, self._volume_by_pattern(path)),)
        return _without_gaps(known)

    def _volume_by_pattern(self, path: str) -> int:
        """Return the volume of the first pattern that fits; each path is looked at once."""
        found = self._fitting.get(path)
        if found is None:
            volumes = (number for pattern, number in self.patterns if fnmatchcase(path, pattern))
            found = self._fitting[path] = next(volumes, UNKNOWN)
        return found

    def piece_at(self, path: str, offset: int) -> Piece:
        """Return the piece of a container that holds a byte.

        Args:
            path: Path of the container.
            offset: The byte.
        """
        pieces = self.pieces(path)
        return pieces[bisect.bisect_right(pieces, offset, key=attrgetter("offset")) - 1]


def parse_media(text: str) -> MediaFile:
    """Read a media file.

    Args:
        text: What it holds.

    Raises:
        CorruptMetadataError: With code ``"media.file"``; the message says what is wrong.
    """
    if len(text) > MAX_TEXT:
        raise _wrong("is too long")
    top = Fields(load(text, _wrong), "the file", _wrong)
    if top.text("format") != "rehydrate-media":
        raise _wrong("is of another format")
    if top.number("version", least=0) != 1:
        raise _wrong("is of another version")
    drives = top.number("drives", least=1, most=MAX_DRIVES, default=1)
    rows = top.items("volumes")
    if not 1 <= len(rows) <= MAX_VOLUMES:
        raise _wrong("has no volumes, or too many")
    volumes = tuple(_volume(row, number) for number, row in enumerate(rows))
    numbers = {volume.name: number for number, volume in enumerate(volumes)}
    if len(numbers) != len(volumes):
        raise _wrong("has two volumes of one name")
    if sum(volume.loaded for volume in volumes) > drives:
        raise _wrong("has more volumes loaded than drives")
    exact: dict[str, list[Piece]] = {}
    patterns: list[tuple[str, int]] = []
    for place, row in enumerate(top.items("pieces")):
        _take_piece(Fields(row, f"piece {place}", _wrong), numbers, exact, patterns)
    top.done()
    return MediaFile(
        volumes=volumes,
        drives=drives,
        exact={path: _in_order(path, pieces) for path, pieces in exact.items()},
        patterns=tuple(patterns),
    )


def _volume(row: object, number: int) -> Volume:
    fields = Fields(row, f"volume {number}", _wrong)
    name, kind = fields.text("name"), fields.text("generation")
    unit = fields.number("block_size", least=1, most=MAX_BLOCK, default=1)
    loaded = fields.flag("loaded", default=False)
    pairs = [
        fields.whole(size, "partitions", 1, 1 << 16) for size in fields.items("partitions", [])
    ]
    ends = [_wrap_end(fields, row) for row in fields.items("wrap_ends", [])]
    fields.done()
    if kind == GENERIC:
        if pairs or ends:
            raise _wrong(f"gives a geometry to {name!r}, which is generic")
        return Volume(name, kind, unit, Tape(unit_bytes=float(unit)), loaded)
    if kind not in FORMATS:
        raise _wrong(
            f"has {name!r} of no known generation; there are {', '.join(FORMATS)}, {GENERIC}"
        )
    if pairs and ends:
        raise _wrong(f"has both partitions and wrap_ends for {name!r}")
    tape = FORMATS[kind]
    try:
        geometry = _geometry(tape, pairs, ends, unit)
    except RequestError as error:
        raise _wrong(f"has a volume {name!r} that cannot be: {error.message}") from error
    model = model_of(tape)
    return Volume(name, kind, unit, Tape(model, geometry, unit_bytes=float(unit)), loaded)


def _geometry(
    tape: TapeFormat, pairs: list[int], ends: list[WrapEnd], unit: int
) -> TapeGeometry | None:
    if ends:
        return reported_geometry(tape, ends, unit_bytes=float(unit))
    if not pairs:
        return None
    return native_geometry(tape, pairs=pairs, unit_bytes=float(unit))


def _wrap_end(fields: Fields, row: object) -> WrapEnd:
    if not isinstance(row, list) or len(row) != _WRAP_COLUMNS:
        raise _wrong(f"has {fields.what} with an end of a wrap that is no [wrap, partition, last]")
    wrap, partition, last = (fields.whole(value, "wrap_ends", 0, MAX_OFFSET - 1) for value in row)
    return WrapEnd(wrap, partition, last)


def _take_piece(
    fields: Fields,
    numbers: Mapping[str, int],
    exact: dict[str, list[Piece]],
    patterns: list[tuple[str, int]],
) -> None:
    name = fields.text("volume")
    if name not in numbers:
        raise _wrong(f"has {fields.what} on {name!r}, which is none of its volumes")
    if fields.has("pattern"):
        patterns.append((fields.text("pattern"), numbers[name]))
        fields.done()
        return
    path = fields.text("container")
    offset = fields.number("offset", default=0)
    length = fields.number("length", least=1, default=MAX_OFFSET)
    start = fields.number("start", least=UNKNOWN, default=UNKNOWN)
    partition = fields.number("partition", most=MAX_PARTITION, default=0)
    fields.done()
    end = min(offset + length, MAX_OFFSET)
    if start > MAX_OFFSET - (end - offset if length < MAX_OFFSET else 0):
        raise _wrong(f"has {fields.what} that ends beyond {MAX_OFFSET}")
    exact.setdefault(path, []).append(Piece(offset, end, numbers[name], partition, start))


def _in_order(path: str, pieces: list[Piece]) -> tuple[Piece, ...]:
    ordered = sorted(pieces, key=attrgetter("offset"))
    for before, after in pairwise(ordered):
        if after.offset < before.end:
            raise _wrong(f"has pieces of {path!r} that overlap at byte {after.offset}")
    if len(_without_gaps(ordered)) > MAX_PIECES:
        raise _wrong(
            f"has more than {MAX_PIECES} pieces of {path!r}: gaps between them and what is behind"
            " the last count as well"
        )
    return tuple(ordered)


def _without_gaps(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return pieces with others between and behind them, up to ``MAX_OFFSET``."""
    found: list[Piece] = []
    end = 0
    for piece in pieces:
        if piece.offset > end:
            found.append(Piece(end, piece.offset))
        found.append(piece)
        end = piece.end
    if end < MAX_OFFSET:
        found.append(Piece(end, MAX_OFFSET))
    return tuple(found)


def _wrong(what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"the media file {what}", code="media.file")
