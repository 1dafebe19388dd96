"""A volume with files, stubs and chunk stores, wherever its bytes lie: what adapters provide.

A folder copy, a volume image, a shadow copy inside an image and a set of backup streams all look
the same from here: a tree of entries, what each of them holds, and the chunk stores of the volume.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from rehydrate.protocols import BackupStore
from rehydrate.values import FileExtent, StoreId, StorePath

__all__ = [
    "FILE_ATTRIBUTE_DIRECTORY",
    "FILE_ATTRIBUTE_READONLY",
    "FILE_ATTRIBUTE_REPARSE_POINT",
    "FILE_ATTRIBUTE_SPARSE_FILE",
    "ChunkStore",
    "NamedStream",
    "StoreFile",
    "Volume",
    "VolumeEntry",
    "VolumeFacts",
]

FILE_ATTRIBUTE_READONLY: Final = 0x1
FILE_ATTRIBUTE_DIRECTORY: Final = 0x10
FILE_ATTRIBUTE_SPARSE_FILE: Final = 0x200
FILE_ATTRIBUTE_REPARSE_POINT: Final = 0x400
"""File attributes (MS-FSCC 2.6)."""


@attrs.frozen
class NamedStream:
    """An alternate data stream.

    Attributes:
        name: Its name, without colons and type; never empty.
        size: Bytes.
    """

    name: str
    size: int


@attrs.frozen(kw_only=True)
class VolumeEntry:
    """One name in the tree of a volume.

    Attributes:
        path: Path from the root of the volume, ``/`` between components, UTF-8; unpaired
            surrogates of Windows names are encoded as ``surrogatepass`` does.
        number: How the adapter finds the entry again; means nothing to anybody else.
        directory: Whether it is a directory.
        size: Bytes of the unnamed data stream; 0 for a directory.
        attributes: Windows file attributes (``FILE_ATTRIBUTE_``); 0 = not known.
        reparse_tag: Tag of the reparse data; 0 = no reparse point.
        created: Creation time, FILETIME (100 ns since 1601, UTC); 0 = not known. So are the next.
        modified: Time of the last write.
        accessed: Time of the last access.
        changed: Time of the last change of metadata.
        links: Number of names of the file; directories have 1.
        file_id: Equal for names of one file; 0 = not known.
        owner: Owner as SID text (``S-1-5-...``), ``None`` = not known.
        streams: Alternate data streams, sorted by name.
    """

    path: bytes
    number: int
    directory: bool
    size: int
    attributes: int = 0
    reparse_tag: int = 0
    created: int = 0
    modified: int = 0
    accessed: int = 0
    changed: int = 0
    links: int = 1
    file_id: int = 0
    owner: str | None = None
    streams: tuple[NamedStream, ...] = ()


@attrs.frozen
class StoreFile:
    """One file of a chunk store.

    Attributes:
        path: Store path: :func:`~rehydrate.store_folder`, then ``Data/00000001.00000001.ccc`` and the like.
        size: Bytes.
    """

    path: StorePath
    size: int


@attrs.frozen
class ChunkStore:
    """A chunk store found on a volume.

    Attributes:
        store: Its identity: the GUID in the name of its folder.
        files: All files below its folder, sorted by path.
    """

    store: StoreId
    files: tuple[StoreFile, ...]


@attrs.frozen(kw_only=True)
class VolumeFacts:
    """What a volume is, for people.

    Attributes:
        source: What was opened, such as ``"folder copy"`` or ``"VHDX image, partition 2 (GPT)"``.
        label: Label of the volume; empty = none or not known.
        file_system: Such as ``"NTFS"``; empty = not known.
        serial: Serial number of the volume; 0 = not known.
        size: Bytes of the volume; 0 = not known.
        snapshot: Identity of the shadow copy, ``None`` = the volume itself.
    """

    source: str
    label: str = ""
    file_system: str = ""
    serial: int = 0
    size: int = 0
    snapshot: str | None = None


class Volume(Protocol):
    """A volume opened read-only. All methods may be called from several threads.

    Every method raises :class:`~rehydrate.StoreError` (or a subclass) for bytes that cannot be
    read, and :class:`~rehydrate.FormatError` for structures that make no sense; both name the path.
    """

    @property
    def facts(self) -> VolumeFacts:
        """What the volume is."""
        ...

    @property
    def case_table(self) -> npt.NDArray[np.uint16] | None:
        """Upper case of each UTF-16 unit, shape ``(65536,)``: ``$UpCase`` of the volume, if known."""
        ...

    def entries(self, prefixes: Sequence[bytes] = ()) -> Iterator[VolumeEntry]:
        """Iterate names in tree order: parents before children, siblings sorted by bytes.

        The root itself and everything below ``System Volume Information`` are left out, so are the
        metadata files of the file system. A directory or record that cannot be read is told to
        :attr:`problems` and left out; the others go on.

        Args:
            prefixes: Only these paths and what is below them; empty = everything. Matched without
                regard to case where the volume does so.
        """
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read so far, one line each: some of the volume is missing."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What is worth knowing and leaves nothing of Windows out, one line each."""
        ...

    def reparse_data(self, entry: VolumeEntry) -> bytes:
        """Return the whole reparse buffer, tag and length included."""
        ...

    def own_ranges(self, entry: VolumeEntry) -> tuple[FileExtent, ...] | None:
        """Return the allocated ranges of the unnamed stream, ascending, cut at the size.

        ``None`` = not known: then a stub is restored as "unchecked".
        """
        ...

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        """Return exactly ``size`` bytes of a data stream; holes read as zeros."""
        ...

    def security(self, entry: VolumeEntry) -> bytes | None:
        """Return the self-relative security descriptor (MS-DTYP 2.4.6); ``None`` = not known."""
        ...

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        """Return the extended attributes as a FILE_FULL_EA_INFORMATION list; ``None`` = none."""
        ...

    def chunk_stores(self) -> Sequence[ChunkStore]:
        """Return the chunk stores of the volume, sorted by identity."""
        ...

    def store(self, identity: StoreId) -> BackupStore:
        """Return the chunk store with that identity, to be read.

        It takes store paths as :func:`~rehydrate.store_folder` spells them, finds them without regard to
        case, lists containers, and raises FileNotFoundError for containers that are not there.

        Raises:
            StoreError: There is no such store on this volume (``code = "store.unknown"``).
        """
        ...

    def settings(self) -> Mapping[str, bytes]:
        """Return the files of ``System Volume Information/Dedup/Settings`` by name, small ones."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...
