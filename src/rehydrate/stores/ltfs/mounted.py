"""An LTFS volume that the operating system has mounted, read through its files.

The file system tells where a file begins in extended attributes (``user.ltfs.partition``,
``user.ltfs.startblock``, ``user.ltfs.volumeUUID`` on Linux; without ``user.`` elsewhere), and nothing
about further extents. So files are taken as one extent each. Their order is that of the tape; where
a fragmented file would overlap the next one, the next one is moved behind it, which keeps the order.
"""

import os
import re
import stat
import uuid
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import attrs
import numpy as np

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.media.pricing import Tape
from rehydrate.ports import Files, SystemFiles
from rehydrate.stores.ltfs.label import LtfsLabel, parse_uuid
from rehydrate.stores.ltfs.table import Columns, Index, IndexHead, Kind
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition, end_of_data, read_failed

__all__ = [
    "Attributes",
    "MountFacts",
    "MountedDrive",
    "MountedFile",
    "as_mounted",
    "mount_identity",
    "mounted_facts",
    "mounted_volume",
    "tape_place",
]

_BLOCK_SIZE: Final = 512 << 10
_BLOCK_SIZES: Final = (512, (1 << 24) - 1)
_MOST_BLOCK: Final = 1 << 47
_LETTERS: Final = ("a", "b")
_DIGITS: Final = re.compile("[0-9]{1,15}")


class Attributes(Protocol):
    """Reads an extended attribute; ``os.getxattr`` by default."""

    def __call__(self, path: Path, name: str, /) -> bytes:
        """Return the value.

        Raises:
            OSError: There is none.
        """
        ...


@attrs.frozen(order=True)
class MountedFile:
    """A file in the order of the tape.

    Attributes:
        partition: Number of its partition.
        block: Its first block; it may have been moved behind the file before it.
        path: Its path on the volume.
        size: Its size in bytes.
    """

    partition: int
    block: int
    path: str
    size: int


def mounted_volume(
    folder: Path,
    name: str,
    *,
    block_size: int = _BLOCK_SIZE,
    tape: Tape | None = None,
    attribute: Attributes | None = None,
) -> tuple[LtfsVolume, "MountedDrive"]:
    """Take a mounted LTFS volume as a volume and the drive that holds it.

    Files without a first block (empty ones) have no extent.

    Args:
        folder: Where it is mounted.
        name: Its barcode.
        block_size: Bytes that are read at a time; that of the volume if it is known.
        tape: Geometry and times, counted in blocks of this size.
        attribute: Reads extended attributes.

    Raises:
        CorruptMetadataError: With code ``"ltfs.attributes"`` if the attributes are none: it is no
            LTFS mount.
        StoreReadError: It cannot be read.
    """
    read = _system_attribute if attribute is None else attribute
    try:
        identity = parse_uuid(_text(read, folder, "volumeUUID"), "ltfs.attributes")
        found = sorted(_places(folder, read))
    except OSError as error:
        raise StoreReadError(f"cannot read the LTFS mount {folder}: {error}") from error
    places = _side_by_side(found, block_size)
    label = LtfsLabel(identity, _LETTERS[0], _LETTERS[0], _LETTERS[1], block_size, "mounted")
    volume = LtfsVolume(
        name=name,
        label=label,
        index=_index(identity, places),
        numbers={letter: number for number, letter in enumerate(_LETTERS)},
        tape=tape or Tape(),
        full_blocks=True,
        read_through=0,
        inner_barcode="",
    )
    return volume, MountedDrive(folder, label, places)


@attrs.frozen
class MountFacts:
    """What a mounted volume tells of itself besides its identity.

    Attributes:
        barcode: Its barcode; empty = not told.
        block_size: Size of its blocks; the usual one if it is not told.
        generation: Number of its index; 0 = not told.
    """

    barcode: str = ""
    block_size: int = _BLOCK_SIZE
    generation: int = 0


def mounted_facts(folder: Path, attribute: Attributes | None = None) -> MountFacts:
    """Ask a mounted volume for what it may tell.

    The names of these attributes (``volumeSerial``, ``volumeBlocksize``, ``indexGeneration``) are
    INFERRED: they are those of the reference implementation. Nothing depends on their being there.

    Args:
        folder: Where it is mounted.
        attribute: Reads extended attributes.
    """
    read = _system_attribute if attribute is None else attribute
    size = _number(read, folder, "volumeBlocksize")
    try:
        barcode = _text(read, folder, "volumeSerial").strip()
    except OSError:
        barcode = ""
    return MountFacts(
        barcode=barcode,
        block_size=size if _BLOCK_SIZES[0] <= size <= _BLOCK_SIZES[1] else _BLOCK_SIZE,
        generation=_number(read, folder, "indexGeneration"),
    )


def mount_identity(folder: Path, attribute: Attributes | None = None) -> uuid.UUID:
    """Return the identity of the volume that is mounted in a directory.

    Args:
        folder: The directory.
        attribute: Reads extended attributes.

    Raises:
        CorruptMetadataError: With code ``"ltfs.attributes"`` if it is none.
        StoreReadError: No LTFS volume is mounted there.
    """
    read = _system_attribute if attribute is None else attribute
    try:
        return parse_uuid(_text(read, folder, "volumeUUID"), "ltfs.attributes")
    except OSError as error:
        raise StoreReadError(
            f"no LTFS volume is mounted in {folder}: {error.strerror}", code="ltfs.attributes"
        ) from error


def tape_place(path: Path, attribute: Attributes | None = None) -> tuple[int, int] | None:
    """Return where a file begins on tape, as partition and block; ``None`` if it does not tell.

    Args:
        path: The file.
        attribute: Reads extended attributes.
    """
    read = _system_attribute if attribute is None else attribute
    try:
        place = _place(read, path, path.name, 1)
    except (OSError, CorruptMetadataError):
        return None
    return place.partition, place.block


def as_mounted(volume: LtfsVolume, below: str = "") -> tuple[LtfsVolume, tuple[MountedFile, ...]]:
    """Take a volume that is known from its index as one that is read by its files.

    Args:
        volume: The volume.
        below: Only files below this folder of it.

    Returns:
        The volume with one extent for each file, and its files in the order of the tape. These are
        for :class:`MountedDrive`.
    """
    index, columns = volume.index, volume.index.columns
    prefix = f"{below.strip('/')}/" if below.strip("/") else ""
    found = []
    for node in index.files():
        first = int(columns.extent_at[node])
        if first == columns.extent_at[node + 1] or columns.problem[node]:
            continue
        path = index.path(node)
        if path.startswith(prefix):
            own = chr(columns.partition[first]) == volume.label.index_partition
            block = min(int(columns.block[first]), _MOST_BLOCK)
            found.append(MountedFile(0 if own else 1, block, path, index.length(node)))
    places = _side_by_side(sorted(found), volume.label.block_size)
    label = attrs.evolve(
        volume.label, partition=_LETTERS[0], index_partition=_LETTERS[0], data_partition=_LETTERS[1]
    )
    flat = attrs.evolve(
        volume,
        label=label,
        index=_index(label.volume_uuid, places),
        numbers={letter: number for number, letter in enumerate(_LETTERS)},
        written={},
        full_blocks=True,
        read_through=0,
    )
    return flat, places


class MountedDrive:
    """A :class:`~rehydrate.stores.tape.drive.TapeDrive` over the files of a mounted volume."""

    def __init__(
        self,
        folder: Path,
        label: LtfsLabel,
        places: tuple[MountedFile, ...],
        *,
        files: Files | None = None,
    ) -> None:
        """Bind; :func:`mounted_volume` makes it.

        Args:
            folder: Where the volume is mounted.
            label: What stands for its label.
            places: Its files in the order of the tape.
            files: The file-system calls to make; the real ones by default.
        """
        self._folder, self._label, self._places = folder, label, places
        self._files: Files = SystemFiles() if files is None else files
        self._starts = [(place.partition, place.block) for place in places]
        self._at = TapePosition(0, 0)
        self._open: tuple[MountedFile, int] | None = None

    def locate(self, partition: int, block: int, /) -> None:
        """Go to a block; nothing moves before the read."""
        if partition not in range(len(_LETTERS)):
            raise end_of_data(f"the volume has no partition {partition}")
        self._at = TapePosition(partition, block)

    def locate_end(self, partition: int, /) -> None:
        """Go behind the last file of a partition."""
        ends = [place for place in self._places if place.partition == partition]
        size = self._label.block_size
        self.locate(partition, ends[-1].block + -(-ends[-1].size // size) if ends else 0)

    def space_filemarks(self, count: int, /) -> None:
        """Refuse: a mounted volume shows no filemarks."""
        raise read_failed(f"a mounted volume cannot go over {count} filemarks")

    def read_record(self) -> bytes:
        """Return the next block of the file that lies here."""
        partition, block = self._at.partition, self._at.block
        number = bisect_right(self._starts, (partition, block)) - 1
        place = self._places[number] if number >= 0 else None
        if place is None or place.partition != partition:
            raise end_of_data(f"no file of the mounted volume is at block {block}")
        offset = (block - place.block) * self._label.block_size
        data = b"" if offset >= place.size else self._read(place, offset)
        if not data:
            raise end_of_data(f"no file of the mounted volume is at block {block}")
        self._at = attrs.evolve(self._at, block=block + 1)
        return data

    def position(self) -> TapePosition:
        """Return where the next read begins."""
        return self._at

    def volume_uuid(self) -> uuid.UUID:
        """Return the identity of the mounted volume: it has no label that could be read."""
        return self._label.volume_uuid

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._files.close(self._open[1])
        self._open = None

    def _read(self, place: MountedFile, offset: int) -> bytes:
        if self._open is None or self._open[0] != place:
            self.close()
            flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
            flags |= getattr(os, "O_NONBLOCK", 0)  # what is a pipe now is not waited for
            path = os.fsencode(self._folder / place.path)
            self._open = place, self._files.open(path, flags | getattr(os, "O_BINARY", 0))
        size = min(self._label.block_size, place.size - offset)
        data = self._files.pread(self._open[1], size, offset)
        while data and len(data) < size:
            more = self._files.pread(self._open[1], size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data


def _system_attribute(path: Path, name: str, /) -> bytes:
    if not hasattr(os, "getxattr"):
        raise OSError("this system has no extended attributes that we can read")
    return os.getxattr(path, name, follow_symlinks=False)


def _text(read: Attributes, path: Path, name: str) -> str:
    try:
        raw = read(path, f"user.ltfs.{name}")
    except OSError:
        raw = read(path, f"ltfs.{name}")
    return raw.decode("ascii", "replace").strip("\0 \n")


def _number(read: Attributes, path: Path, name: str) -> int:
    """Return a number that an attribute tells; 0 if there is none."""
    try:
        text = _text(read, path, name)
    except OSError:
        return 0
    return int(text) if _DIGITS.fullmatch(text) else 0


def _places(folder: Path, read: Attributes) -> Iterator[MountedFile]:
    """Walk all regular files that have bytes; links are not followed."""
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(Path(entry.path))
                elif stat.S_ISREG(status.st_mode) and status.st_size:
                    path = Path(entry.path)
                    relative = path.relative_to(folder).as_posix()
                    yield _place(read, path, relative, status.st_size)


def _place(read: Attributes, path: Path, relative: str, size: int) -> MountedFile:
    letter, block = _text(read, path, "partition"), _text(read, path, "startblock")
    valid = letter in _LETTERS and _DIGITS.fullmatch(block)
    if not valid or int(block) > _MOST_BLOCK:
        raise CorruptMetadataError(
            f"the file {relative!r} of the LTFS mount has no valid place", code="ltfs.attributes"
        )
    return MountedFile(_LETTERS.index(letter), int(block), relative, size)


def _side_by_side(places: list[MountedFile], block_size: int) -> tuple[MountedFile, ...]:
    """Move files so that none overlaps the one before it."""
    found: list[MountedFile] = []
    for place in places:
        least = 0
        if found and found[-1].partition == place.partition:
            least = found[-1].block + -(-found[-1].size // block_size)
        found.append(attrs.evolve(place, block=max(place.block, least)))
    return tuple(found)


def _index(identity: uuid.UUID, places: tuple[MountedFile, ...]) -> Index:
    """Make the columns of an index that holds the files with their paths."""
    nodes: dict[str, int] = {"": 0}
    parent, kind, names, order = [0], [Kind.DIRECTORY], [b""], [-1]
    for number, place in enumerate(places):
        parts = place.path.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if path not in nodes:
                nodes[path] = len(parent)
                parent.append(nodes["/".join(parts[: depth - 1])])
                last = depth == len(parts)
                kind.append(Kind.FILE if last else Kind.DIRECTORY)
                names.append(parts[depth - 1].encode("utf-8", "surrogateescape"))
                order.append(number if last else -1)
    extents = [places[number] for number in order if number >= 0]
    count = np.array([place.size for place in extents], np.int64)
    of_node = np.array(order, np.int64) >= 0
    length = np.zeros(len(parent), np.int64)
    length[of_node] = count
    columns = Columns(
        parent=np.array(parent, np.int32),
        kind=np.array(kind, np.uint8),
        length=length,
        name_at=np.concatenate(([0], np.cumsum([len(name) for name in names]))).astype(np.int64),
        names=b"".join(names),
        extent_at=np.concatenate(([0], np.cumsum(of_node))).astype(np.int64),
        offset=np.zeros(len(extents), np.int64),
        partition=np.array([ord(_LETTERS[place.partition]) for place in extents], np.uint8),
        block=np.array([place.block for place in extents], np.int64),
        skip=np.zeros(len(extents), np.uint32),
        count=count,
        problem=np.zeros(len(parent), np.uint8),
    )
    head = IndexHead(
        version=(2, 4), volume_uuid=str(identity), generation=0, location=("a", 0), previous=None,
        creator="mounted",
    )  # fmt: skip
    return Index(head, columns)
