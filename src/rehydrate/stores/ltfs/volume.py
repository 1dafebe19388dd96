"""One LTFS volume as a store knows it: label, index, and what is known of its tape.

All of it can be known before the volume is mounted, from saved copies of label and index. Saved
copies stay good: data on tape is only ever appended, until a volume is formatted again and gets
another identity, which every mount checks.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import attrs

from rehydrate.errors import ContainerNotFoundError, CorruptMetadataError, StoreReadError
from rehydrate.media.geometry import TapeFormat, reported_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.pricing import Tape
from rehydrate.stores.ltfs.changes import apply_changes, incomplete
from rehydrate.stores.ltfs.index import parse_document, parse_index
from rehydrate.stores.ltfs.label import LtfsLabel, parse_label
from rehydrate.stores.ltfs.newest import TapeLabels, newest_index, read_labels
from rehydrate.stores.ltfs.table import Index
from rehydrate.stores.tape.drive import TapeDrive, TellsVolume, TellsWraps
from rehydrate.stores.tape.typed import typed

__all__ = ["READ_THROUGH", "LtfsVolume", "TapeExtent"]

READ_THROUGH: Final = 1 << 30
"""Gap that is read through instead of located over; the break-even is 2 to 3 GB on LTO-8 and 9."""
_MOST_BLOCKS: Final = 1 << 48
_FIRST_BLOCK: Final = 4  # behind VOL1 label, filemark, LTFS label and filemark


@attrs.frozen(order=True)
class TapeExtent:
    """A part of a file that lies in consecutive blocks.

    All blocks but the last are usually full; a writer may end one early anywhere, so ``blocks`` is
    the least number and byte ``k`` is in block ``block + (skip + k) // block_size`` or later.

    Attributes:
        partition: Number of the partition.
        block: First block.
        skip: Bytes to skip in it.
        count: Length in bytes.
        offset: First byte of the file that it holds.
        blocks: Blocks that it has at least.
    """

    partition: int
    block: int
    skip: int
    count: int
    offset: int
    blocks: int


@attrs.frozen(kw_only=True, eq=False)
class LtfsVolume:
    """A volume, mounted or not.

    Attributes:
        name: Its barcode, as a library knows it.
        label: Its label.
        index: Its newest index.
        numbers: Number of the partition of each letter.
        written: Blocks that are written in each partition, by letter, where known.
        tape: Geometry and times, counted in blocks; empty = not known.
        full_blocks: Whether all blocks of a file but the last are full, as writers of whole files
            make them: then places inside an extent are gone to directly. Where a short block shows
            that it is not so, the rest of the extent is read from its beginning.
        read_through: Bytes that are rather read through than located over.
        inner_barcode: Barcode in the VOL1 label; empty = not known.
    """

    name: str
    label: LtfsLabel
    index: Index
    numbers: Mapping[str, int]
    written: Mapping[str, int] = attrs.Factory(dict)
    tape: Tape = attrs.Factory(Tape)
    full_blocks: bool = False
    read_through: int = READ_THROUGH
    inner_barcode: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse an index of another volume, and one that holds changes only.

        Raises:
            CorruptMetadataError: With code ``"ltfs.identity"``.
            UnsupportedFormatError: With code ``"ltfs.incremental"``.
        """
        if self.index.head.incremental:
            raise incomplete(self.index.head, "the complete one is missing")
        if self.index.head.volume_uuid != str(self.label.volume_uuid):
            raise CorruptMetadataError(
                f"the index of {self.name} belongs to volume {self.index.head.volume_uuid}, its "
                f"label to {self.label.volume_uuid}",
                code="ltfs.identity",
            )

    @classmethod
    def saved(
        cls, name: str, label: bytes, index: Iterable[bytes], *, tape: Tape | None = None,
        increments: Sequence[Iterable[bytes]] = (),
    ) -> Self:  # fmt: skip
        """Make a volume from saved copies; the index partition is taken to be number 0.

        Args:
            name: Its barcode.
            label: The XML of its label.
            index: The XML of its complete index, in pieces.
            tape: Geometry and times, if known.
            increments: The XML of each index of changes since then, in pieces; in any order. Those
                that are not newer than the complete one count for nothing.

        Raises:
            CorruptMetadataError: One of them is damaged, they are of different volumes, or changes
                contradict what they are applied to (``"ltfs.changes"``).
            UnsupportedFormatError: The index has a format that is not known; or, with code
                ``"ltfs.incremental"``, an index between two others is missing.
            LimitError: One of them is beyond all limits.
        """
        found = parse_label(label)
        numbers = {found.index_partition: 0, found.data_partition: 1}
        content = parse_index(index)
        later = [parse_document(pieces) for pieces in increments]
        later = [one for one in later if one.head.generation > content.head.generation]
        content = apply_changes(content, sorted(later, key=lambda one: one.head.generation))
        return cls(name=name, label=found, index=content, numbers=numbers, tape=tape or Tape())

    @classmethod
    def read(
        cls, drive: TapeDrive, name: str | None = None, *, tape: Tape | None = None,
        older: bool = False,
    ) -> Self:  # fmt: skip
        """Read label and newest index from the volume in a drive.

        Args:
            drive: The drive.
            name: Its barcode; that of its VOL1 label if ``None``.
            tape: Geometry and times, if known.
            older: See :func:`~rehydrate.stores.ltfs.newest.newest_index`.

        Raises:
            RestoreError: It is no LTFS volume, or not readable; see there.
        """
        labels = read_labels(drive)
        index = newest_index(drive, labels, older=older)
        written = {}
        for letter, number in labels.numbers.items():
            typed(drive).locate_end(number)
            written[letter] = typed(drive).position().block
        return cls(
            name=labels.barcode if name is None else name,
            label=labels.label,
            index=index,
            numbers=labels.numbers,
            written=written,
            tape=tape or Tape(),
            inner_barcode=labels.barcode,
        )

    def check_mounted(self, drive: TapeDrive) -> None:
        """Make sure that this volume is in the drive.

        Args:
            drive: The drive.

        Raises:
            StoreReadError: With code ``"tape.wrong-volume"`` if another one is.
            StoreError: The drive cannot read.
        """
        if isinstance(drive, TellsVolume):
            if drive.volume_uuid() != self.label.volume_uuid:
                raise self._wrong_volume(f"it is volume {drive.volume_uuid()}")
            return
        try:
            found = read_labels(drive, both=False)
        except CorruptMetadataError as error:
            raise self._wrong_volume(error.message) from error
        if found.label.volume_uuid != self.label.volume_uuid:
            raise self._wrong_volume(f"it is volume {found.label.volume_uuid} ({found.barcode})")
        if self.inner_barcode and found.barcode and found.barcode != self.inner_barcode:
            raise self._wrong_volume(
                f"its label says {found.barcode}: two volumes have the identity "
                f"{found.label.volume_uuid}"
            )
        self._check_numbers(found)

    def measured(self, drive: TapeDrive, tape_format: TapeFormat) -> Self:
        """Return the volume with the geometry that the drive tells of it; unchanged if it does not.

        Args:
            drive: The drive that holds it.
            tape_format: The generation of its tape.

        Raises:
            RestoreError: The drive cannot tell, or tells what cannot be.
        """
        ends = drive.wrap_ends() if isinstance(drive, TellsWraps) else ()
        if not ends:
            return self
        geometry = reported_geometry(
            tape_format,
            ends,
            unit_bytes=float(self.label.block_size),
            partly_written=tuple(self.numbers.values()),
        )
        return attrs.evolve(self, tape=Tape(model=model_of(tape_format), geometry=geometry))

    def extents(self, path: str) -> tuple[TapeExtent, ...]:
        """Return where a file lies, by ascending offset in the file.

        Args:
            path: Its path on the volume.

        Raises:
            ContainerNotFoundError: There is no such file.
            CorruptMetadataError: With code ``"ltfs.file"`` if its entry contradicts itself, or
                ``"ltfs.extent"`` if an extent lies outside the volume.
        """
        found = self.index.extents(self._node(path))
        size = self.label.block_size
        extents = []
        for at in range(len(found)):
            letter, block = found.partition[at], found.block[at]
            blocks = -(-(found.skip[at] + found.count[at]) // size)
            end = self.written.get(letter, _MOST_BLOCKS)
            inside = _FIRST_BLOCK <= block <= end - blocks
            if letter not in self.numbers or found.skip[at] >= size or not inside:
                raise CorruptMetadataError(
                    f"an extent of {path!r} lies outside the volume {self.name}: "
                    f"{letter}:{block}, {blocks} blocks",
                    code="ltfs.extent",
                )
            extents.append(
                TapeExtent(self.numbers[letter], block, found.skip[at], found.count[at],
                           found.offset[at], blocks)
            )  # fmt: skip
        return tuple(extents)

    def size_of(self, path: str) -> int:
        """Return the size of a file in bytes.

        Args:
            path: Its path on the volume.

        Raises:
            ContainerNotFoundError: There is no such file.
            CorruptMetadataError: With code ``"ltfs.file"`` if its entry contradicts itself.
        """
        node = self._node(path)
        self.index.check(node)
        return self.index.length(node)

    def _node(self, path: str) -> int:
        node = self.index.find(path)
        if node is None:
            raise ContainerNotFoundError(f"the volume {self.name} has no file {path!r}")
        return node

    def _check_numbers(self, found: TapeLabels) -> None:
        if found.numbers != self.numbers:
            raise self._wrong_volume("its partitions are numbered otherwise")

    def _wrong_volume(self, problem: str) -> StoreReadError:
        return StoreReadError(
            f"the drive was to hold {self.name}, but {problem}",
            code="tape.wrong-volume",
            retryable=False,
        )
