"""Takes the inventory of a volume, from wherever it can be had, and saves it."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, RequestError, RestoreError, StoreReadError
from rehydrate.media.geometry import WrapEnd
from rehydrate.stores.ltfs.documents import index_document, label_document
from rehydrate.stores.ltfs.index import IndexParser
from rehydrate.stores.ltfs.inventory import (
    BARCODE,
    SUFFIX,
    Inventory,
    Told,
    pieces_of,
    read_told,
    read_whole,
    with_generation,
)
from rehydrate.stores.ltfs.label import LARGEST_LABEL
from rehydrate.stores.ltfs.mounted import mount_identity, mounted_facts, mounted_volume
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.replacing import replace_file
from rehydrate.stores.tape.drive import TapeDrive, TellsWraps
from rehydrate.stores.tape.typed import typed

__all__ = [
    "Taken",
    "generation_of",
    "save_inventory",
    "take_from_drive",
    "take_from_files",
    "take_from_mount",
]

_BY_BARCODE: Final = {
    "L5": "LTO-5",
    "L6": "LTO-6",
    "L7": "LTO-7",
    "M8": "LTO-7M",
    "L8": "LTO-8",
    "L9": "LTO-9",
}
"""How barcodes of LTO cartridges end: the generation, behind six characters."""
_LONG_BARCODE: Final = 8
_GENERIC: Final = "generic"
_CODE: Final = "tape.inventory"


@attrs.frozen(kw_only=True, eq=False)
class Taken:
    """An inventory that is to be saved.

    Attributes:
        inventory: What is known.
        label: The label as XML.
        index: Reads the index as XML as it is, in pieces; ``None`` = there is no such document, and
            one is made of what is known.
    """

    inventory: Inventory
    label: bytes
    index: Callable[[], Iterator[bytes]] | None = None


def generation_of(barcode: str, given: str | None) -> str:
    """Tell the generation of a tape: as it was given, or as its barcode ends.

    Args:
        barcode: The barcode.
        given: ``"generic"`` = nothing is to be known.
    """
    if given is not None:
        return "" if given == _GENERIC else given
    return _BY_BARCODE.get(barcode[-2:].upper(), "") if len(barcode) == _LONG_BARCODE else ""


def take_from_drive(
    drive: TapeDrive, barcode: str | None, generation: str | None, *, native: bool = False
) -> Taken:
    """Read label and newest index from the volume in a drive.

    Args:
        drive: The drive.
        barcode: Name of the volume; that of its label if ``None``.
        generation: Generation of its tape; as its barcode ends if ``None``.
        native: Its data are known to be stored at native size.

    Raises:
        RequestError: It has no usable barcode, or there is no such generation.
        RestoreError: It is no LTFS volume, or cannot be read.
    """
    found = LtfsVolume.read(drive)
    name = _usable(barcode or found.name)
    ends: tuple[WrapEnd, ...] = ()
    if isinstance(drive, TellsWraps):
        with suppress(StoreReadError):
            ends = tuple(drive.wrap_ends())
    known = generation_of(name, generation)
    volume = with_generation(attrs.evolve(found, name=name), known, ends, native=native)
    letter, block = volume.index.head.location
    return Taken(
        inventory=Inventory(volume=volume, generation=known, wrap_ends=ends, native=native),
        label=_label(drive),
        index=lambda: _records(drive, volume.numbers[letter], block),
    )


def take_from_mount(
    folder: Path, barcode: str | None, generation: str | None, *, native: bool = False
) -> Taken:
    """Look at a mounted volume.

    Args:
        folder: Where it is mounted.
        barcode: Name of the volume; what the mount tells if ``None``.
        generation: Generation of its tape; as its barcode ends if ``None``.
        native: Its data are known to be stored at native size.

    Raises:
        RequestError: It has no usable barcode, or there is no such generation.
        CorruptMetadataError: It is no LTFS mount.
        StoreReadError: It cannot be read.
    """
    mount_identity(folder)
    facts = mounted_facts(folder)
    name = _usable(barcode or facts.barcode)
    found, drive = mounted_volume(folder, name, block_size=facts.block_size)
    drive.close()
    index = found.index
    index.head = attrs.evolve(index.head, generation=facts.generation)
    known = generation_of(name, generation)
    volume = with_generation(found, known, native=native)
    return Taken(
        inventory=Inventory(volume=volume, generation=known, mounted=True, native=native),
        label=label_document(volume.label),
    )


def take_from_files(
    label: Path, index: Path, barcode: str, generation: str | None, *, native: bool = False
) -> Taken:
    """Take label and index that an LTFS program saved; the index partition is number 0.

    Args:
        label: File with the label as XML.
        index: File with the index as XML.
        barcode: Name of the volume.
        generation: Generation of its tape; as its barcode ends if ``None``.
        native: Its data are known to be stored at native size.

    Raises:
        RequestError: The barcode cannot be used, or there is no such generation.
        RestoreError: A file is damaged, they are of different volumes, or cannot be read.
    """
    name = _usable(barcode)
    raw = read_whole(label, LARGEST_LABEL)
    known = generation_of(name, generation)
    volume = LtfsVolume.saved(name, raw, pieces_of(index))
    volume = with_generation(volume, known, native=native)
    if volume.index.head.incremental:
        raise CorruptMetadataError(
            f"{index} holds changes only: save the newest complete index", code="ltfs.incremental"
        )
    return Taken(
        inventory=Inventory(volume=volume, generation=known, native=native),
        label=raw,
        index=lambda: pieces_of(index),
    )


def save_inventory(taken: Taken, folder: Path) -> Path:
    """Save an inventory; an older one of the same volume is replaced by it.

    Args:
        taken: The inventory.
        folder: Where to; made if it is not there.

    Returns:
        Its JSON file.

    Raises:
        RequestError: With code ``"tape.inventory"`` if what is there is newer, or of another volume
            with this barcode, or of this volume with another barcode.
        StoreReadError: With the same code if it cannot be written, or as the drive says it.
    """
    volume = taken.inventory.volume
    path = folder / f"{volume.name}{SUFFIX}"
    number = volume.index.head.generation
    told = Told(
        barcode=volume.name,
        identity=volume.label.volume_uuid,
        index_generation=number,
        label=f"{volume.name}.{number}.label.xml",
        index=f"{volume.name}.{number}.index.xml",
        numbers=volume.numbers,
        written=volume.written,
        generation=taken.inventory.generation,
        wrap_ends=taken.inventory.wrap_ends,
        label_barcode=volume.inner_barcode,
        mounted=taken.inventory.mounted,
        native=taken.inventory.native,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse(told, folder)
        if taken.index is None or not _copied(taken.index, volume, folder / told.index):
            replace_file(folder / told.index, index_document(volume.index))
        replace_file(folder / told.label, [taken.label])
        replace_file(path, [json.dumps(told.as_record(), indent=1).encode(), b"\n"])
        for old in _outdated(told, folder):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise StoreReadError(
            f"cannot save the inventory {path}: {error.strerror}", code=_CODE, retryable=False
        ) from error
    return path


def _usable(barcode: str) -> str:
    if not BARCODE.fullmatch(barcode):
        what = f"{barcode!r} cannot be used as a barcode" if barcode else "the volume tells none"
        raise RequestError(
            f"{what}: name one with letters, digits and . _ - (--barcode)", code="tape.barcode"
        )
    return barcode


def _refuse(told: Told, folder: Path) -> None:
    """Refuse to replace what is newer or of another volume."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        there = read_told(path)
        if there.barcode != told.barcode and there.identity == told.identity:
            raise RequestError(
                f"this volume is in {folder} already, as {there.barcode}: say --barcode"
                f" {there.barcode}, or remove {path.name}",
                code=_CODE,
            )
        if there.barcode != told.barcode and there.barcode.upper() == told.barcode.upper():
            raise RequestError(
                f"{folder} has an inventory of {there.barcode}: barcodes that differ in case only"
                f" are one; say --barcode {there.barcode}",
                code=_CODE,
            )
        if there.barcode != told.barcode:
            continue
        if there.identity != told.identity:
            raise RequestError(
                f"{folder} has an inventory of another volume {told.barcode}: if the tape was"
                f" formatted again, remove {path.name}",
                code=_CODE,
            )
        if told.mounted and not there.mounted and there.index_generation == told.index_generation:
            raise RequestError(
                f"{folder} has an inventory of {told.barcode} that a drive gave, which knows more than"
                f" a mounted volume tells: to replace it, remove {path.name}",
                code=_CODE,
            )
        if there.index_generation > told.index_generation:
            raise RequestError(
                f"{folder} has a newer inventory of {told.barcode} (generation"
                f" {there.index_generation}, this is {told.index_generation or 'not known'})",
                code=_CODE,
            )


def _outdated(told: Told, folder: Path) -> list[Path]:
    pattern = re.compile(rf"{re.escape(told.barcode)}\.[0-9]+\.(label|index)\.xml")
    keep = {told.label, told.index}
    return [
        path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.name not in keep
    ]


def _copied(read: Callable[[], Iterator[bytes]], volume: LtfsVolume, path: Path) -> bool:
    """Copy a document as it is; false if it is not all there is to know of the volume.

    That is so where later indexes with changes only belong to it.
    """
    parser = IndexParser()

    def parsed() -> Iterator[bytes]:
        for piece in read():
            parser.feed(piece)
            yield piece

    try:
        replace_file(path, parsed())
        return parser.close().head == volume.index.head
    except RestoreError:
        return False


def _label(drive: TapeDrive) -> bytes:
    """Read the XML of the label, which was found to be valid before."""
    drive = typed(drive)
    drive.locate(0, 0)
    drive.space_filemarks(1)
    return b"".join(iter(drive.read_record, None))


def _records(drive: TapeDrive, partition: int, block: int) -> Iterator[bytes]:
    drive = typed(drive)
    drive.locate(partition, block)
    while (record := drive.read_record()) is not None:
        yield record
