"""An NTFS volume inside an image, through The Sleuth Kit (``pytsk3``, an optional package).

The tree is walked through the indexes of the directories, so that a few paths cost a few reads
however large the volume is. What an entry says comes from its record, not from the copies that
indexes hold. Nothing is written, and nothing is mounted.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.errors import CorruptMetadataError, StoreError, StoreReadError
from rehydrate.stores.images.bytesource import ByteSource
from rehydrate.stores.ntfs.contents import Content, OpenContents
from rehydrate.stores.ntfs.details import Details, case_table_of, label_of, stream_name
from rehydrate.stores.ntfs.folders import Folders, SystemFolder
from rehydrate.stores.ntfs.layout import (
    ATTRIBUTE_DATA,
    ATTRIBUTE_EA,
    ATTRIBUTE_REPARSE_POINT,
    ea_list,
)
from rehydrate.stores.ntfs.names import Fold
from rehydrate.stores.ntfs.opening import open_records
from rehydrate.stores.ntfs.records import DAMAGED, Record
from rehydrate.stores.ntfs.store import NtfsStore
from rehydrate.stores.ntfs.stores import find_stores, read_settings
from rehydrate.stores.ntfs.tree import Tree
from rehydrate.stores.volume import ChunkStore, VolumeEntry, VolumeFacts
from rehydrate.values import FileExtent, StoreId

__all__ = ["NtfsVolume"]

_MAX_REPARSE: Final = 1 << 20
_MAX_EA: Final = 1 << 20
"""Windows allows 16 KiB and 64 KiB; what claims more than this is damage."""
_MAX_PROBLEMS: Final = 10_000


class NtfsVolume:
    """Implements :class:`~rehydrate.stores.volume.Volume`, where the methods are described."""

    def __init__(self, source: ByteSource, *, described: str, snapshot: str | None = None) -> None:
        """Open the volume.

        Args:
            source: Its bytes, which the volume takes over: :meth:`close` closes them.
            described: What was opened, such as ``"VHDX image, partition 2 (GPT)"``.
            snapshot: Identity of the shadow copy; ``None`` = the volume itself.

        Raises:
            UnsupportedFormatError: It is no NTFS: ReFS (``code = "volume.refs"``), BitLocker
                (``"volume.bitlocker"``) or anything else (``"volume.file-system"``).
            CorruptMetadataError: It is damaged (``code = "volume.damaged"``).
            StoreReadError: The image cannot be read.
            StoreError: ``pytsk3`` is not installed (``code = "store.extra-missing"``).
        """
        self._source = source
        self._records, self._problems = open_records(source, described)
        boot = self._records.boot
        self._facts = VolumeFacts(
            source=described,
            label=label_of(self._records),
            file_system="NTFS",
            serial=boot.serial,
            size=boot.size,
            snapshot=snapshot,
        )
        self._case_table = case_table_of(self._records)
        self._fold = Fold.of(self._case_table)
        folders = Folders(self._records, self._tell)
        self._details = Details(self._records)
        self._tree = Tree(self._records, folders, self._details, self._fold, self._tell)
        self._system = SystemFolder(self._records, folders, self._fold)
        self._contents = OpenContents()

    @property
    def facts(self) -> VolumeFacts:
        """What the volume is."""
        return self._facts

    @property
    def case_table(self) -> npt.NDArray[np.uint16] | None:
        """Upper case of each UTF-16 unit, from ``$UpCase``; ``None`` = it cannot be read."""
        return self._case_table

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read so far, one line each; at most 10,000 lines are kept."""
        return tuple(self._problems)

    @property
    def remarks(self) -> Sequence[str]:
        """Nothing: what is odd about a volume may cost bytes of it."""
        return ()

    def entries(self, prefixes: Sequence[bytes] = ()) -> Iterator[VolumeEntry]:
        """Iterate names in tree order: parents before children, siblings sorted by bytes.

        Directories that cannot lead to a prefix are not read.

        Args:
            prefixes: Only these paths and what is below them; empty = everything.

        Raises:
            StoreReadError: The root directory cannot be read.
            CorruptMetadataError: It is damaged.
        """
        return self._tree.entries(prefixes)

    def reparse_data(self, entry: VolumeEntry) -> bytes:
        """Return the whole reparse buffer, tag and length included."""
        record, what = self._record(entry)
        found = record.find(ATTRIBUTE_REPARSE_POINT)
        if found is None:
            raise CorruptMetadataError(f"{what} has no reparse data", code=DAMAGED)
        return self._records.value(record, found, _MAX_REPARSE, what)

    def own_ranges(self, entry: VolumeEntry) -> tuple[FileExtent, ...]:
        """Return the allocated ranges of the unnamed stream, ascending, cut at the size."""
        return self._content(entry, "").ranges

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        """Return exactly ``size`` bytes of a data stream; holes read as zeros."""
        content, what = self._content(entry, stream), _text(entry)
        if min(offset, size) < 0 or offset + size > content.size:
            raise StoreReadError(
                f"{what} has {content.size} bytes; the read is not inside",
                file=what,
                offset=offset,
                length=size,
            )
        if content.attribute is None or not size:
            return b""
        place = FileExtent(offset, size)
        return self._records.read(content.record, content.attribute, place, what)

    def security(self, entry: VolumeEntry) -> bytes | None:
        """Return the self-relative security descriptor (MS-DTYP 2.4.6); ``None`` = not known."""
        record, what = self._record(entry)
        return self._details.security(record, what)

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        """Return the extended attributes as a FILE_FULL_EA_INFORMATION list; ``None`` = none."""
        record, what = self._record(entry)
        found = record.find(ATTRIBUTE_EA)
        if found is None or not found.size:
            return None
        value = self._records.value(record, found, _MAX_EA, what)
        try:
            return ea_list(value)
        except CorruptMetadataError as error:
            raise CorruptMetadataError(f"{what}: {error.message}", code=DAMAGED) from error

    def chunk_stores(self) -> Sequence[ChunkStore]:
        """Return the chunk stores of the volume, sorted by identity."""
        return find_stores(self._records, self._system, self._tell)

    def store(self, identity: StoreId) -> NtfsStore:
        """Return the chunk store with that identity, to be read.

        Args:
            identity: Its identity.

        Raises:
            StoreError: There is no such store on this volume (``code = "store.unknown"``).
            FormatError: The system folder is damaged.
        """
        store = NtfsStore(identity, self._records, self._system, self._fold)
        if not store.exists():
            raise StoreError(
                f"{self._facts.source} has no chunk store {identity}", code="store.unknown"
            )
        return store

    def settings(self) -> Mapping[str, bytes]:
        """Return the files of ``System Volume Information/Dedup/Settings`` by name.

        At most 64 files, of at most 1 MiB each.
        """
        return read_settings(self._records, self._system, self._tell)

    def close(self) -> None:
        """Close the image; every later call is refused."""
        self._contents.clear()
        self._records.close()
        self._source.close()

    def _record(self, entry: VolumeEntry) -> tuple[Record, str]:
        what = _text(entry)
        return self._records.record(entry.number, what, entry.file_id >> 48), what

    def _content(self, entry: VolumeEntry, stream: str) -> Content:
        return self._contents.get((entry.number, stream), lambda: self._opened(entry, stream))

    def _opened(self, entry: VolumeEntry, stream: str) -> Content:
        record, what = self._record(entry)
        for attribute in record.attributes:
            if attribute.kind == ATTRIBUTE_DATA and stream_name(attribute.name) == stream:
                return Content.of(self._records, record, attribute, what)
        if stream:
            raise StoreReadError(f"{what} has no stream {stream}", file=what)
        return Content.of(self._records, record, None, what)

    def _tell(self, problem: str) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(problem)


def _text(entry: VolumeEntry) -> str:
    return entry.path.decode("utf-8", "replace")
