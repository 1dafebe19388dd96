"""A volume in memory, for what no folder copy and no image can show: odd names, tables, failures.

::

    volume = FakeVolume([Entry("Docs/report.bin", file=file), Entry("docs/x", data=b"x")], store)
    catalogue = fake_catalogue(volume)  # or several: the versions of one source
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

import numpy as np
import numpy.typing as npt

from rehydrate.catalogue.windows import VolumeCatalogue, VolumeVersion
from rehydrate.errors import StoreReadError
from rehydrate.protocols import BackupStore
from rehydrate.stores.volume import (
    ChunkStore,
    NamedStream,
    StoreFile,
    VolumeEntry,
    VolumeFacts,
)
from rehydrate.values import FileExtent, StoreId, StorePath
from tests.windows_store.shelf import Shelf
from tests.windows_store.volume import Entry

__all__ = ["FakeVolume", "ascii_table", "fake_catalogue"]

_ARCHIVE, _DIRECTORY, _REPARSE = 0x20, 0x10, 0x400


def ascii_table() -> npt.NDArray[np.uint16]:
    """Return a case table that knows the letters of ASCII."""
    table = np.arange(0x10000, dtype=np.uint16)
    table[ord("a") : ord("z") + 1] -= 0x20
    return table


class _Store:
    """A chunk store in memory."""

    def __init__(self, shelf: Shelf) -> None:
        self._files = shelf.as_mapping()
        self._by_upper = {path.upper(): data for path, data in self._files.items()}
        self.store_id = shelf.guid

    def files(self) -> tuple[StoreFile, ...]:
        return tuple(
            StoreFile(StorePath(path), len(data)) for path, data in sorted(self._files.items())
        )

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        data = self._by_upper.get(path.upper())
        if data is None:
            raise FileNotFoundError(path)
        return bytes(data[offset : offset + size])


class FakeVolume:
    """Implements :class:`~rehydrate.stores.volume.Volume`."""

    def __init__(
        self,
        tree: Sequence[Entry],
        *shelves: Shelf,
        table: npt.NDArray[np.uint16] | None = None,
        facts: VolumeFacts | None = None,
        settings: Mapping[str, bytes] | None = None,
        problems: Sequence[str] = (),
        unreadable: Sequence[str] = (),
        knows_own_ranges: bool = True,
    ) -> None:
        """Make a volume; parents of entries are made.

        Args:
            tree: What is in it.
            shelves: Its chunk stores.
            table: Its case table.
            facts: What it says of itself.
            settings: Its settings files.
            problems: What it cannot read.
            unreadable: Paths of entries whose reparse data cannot be read.
            knows_own_ranges: Whether it can tell the own ranges of stubs.
        """
        self._entries: dict[bytes, tuple[VolumeEntry, Entry]] = {}
        self._stores = {shelf.guid: _Store(shelf) for shelf in shelves}
        self.case_table = ascii_table() if table is None else table
        self.facts = facts or VolumeFacts(source="fake volume", file_system="NTFS")
        self.problems = tuple(problems)
        self.remarks: tuple[str, ...] = ()
        self.closed = False
        self._settings = dict(settings or {})
        self._unreadable = set(unreadable)
        self._knows = knows_own_ranges
        for entry in tree:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        path = entry.path.encode("utf-8", "surrogatepass")
        above = entry.path.rpartition("/")[0]
        if above and above.encode("utf-8", "surrogatepass") not in self._entries:
            self._add(Entry(above, directory=True))
        stub = entry.stub or b""
        tag = int.from_bytes(stub[:4], "little")
        usual = _DIRECTORY if entry.directory else _ARCHIVE | (_REPARSE if tag else 0)
        times = entry.times or (0, 0, 0, 0)
        found = VolumeEntry(
            path=path,
            number=len(self._entries),
            directory=entry.directory,
            size=0 if entry.directory else len(entry.content),
            attributes=usual if entry.attributes is None else entry.attributes,
            reparse_tag=tag,
            created=times[0],
            modified=times[1],
            accessed=times[2],
            changed=times[3],
            owner="S-1-5-32-544",
            streams=tuple(
                NamedStream(name, len(data)) for name, data in sorted(entry.streams.items())
            ),
        )
        self._entries[path] = found, entry

    def entries(self, prefixes: Sequence[bytes] = ()) -> Iterator[VolumeEntry]:
        """Iterate names in tree order, ASCII letters without case."""
        wanted = [prefix.upper() for prefix in prefixes]
        for path in sorted(self._entries, key=lambda path: path.replace(b"/", b"\0")):
            upper = path.upper()
            if not wanted or any(
                upper == prefix or upper.startswith(prefix + b"/") for prefix in wanted
            ):
                yield self._entries[path][0]

    def reparse_data(self, entry: VolumeEntry) -> bytes:
        """Return the reparse buffer."""
        made = self._entries[entry.path][1]
        if made.path in self._unreadable:
            raise StoreReadError("its attribute list is damaged")
        return made.stub or b""

    def own_ranges(self, entry: VolumeEntry) -> tuple[FileExtent, ...] | None:
        """Return what a stub holds itself."""
        made = self._entries[entry.path][1]
        if made.file is not None:
            own = tuple(FileExtent(offset=at, length=len(data)) for at, data in made.file.own)
            return own if self._knows else None
        return (FileExtent(offset=0, length=entry.size),) if entry.size else ()

    def read(self, entry: VolumeEntry, offset: int, size: int, stream: str = "") -> bytes:
        """Return bytes of a stream."""
        made = self._entries[entry.path][1]
        data = made.streams[stream] if stream else made.content
        return data[offset : offset + size]

    def security(self, entry: VolumeEntry) -> bytes | None:
        """Return nothing."""
        del entry
        return None

    def extended_attributes(self, entry: VolumeEntry) -> bytes | None:
        """Return nothing."""
        del entry
        return None

    def chunk_stores(self) -> Sequence[ChunkStore]:
        """Return the stores, sorted by identity."""
        return [ChunkStore(guid, self._stores[guid].files()) for guid in sorted(self._stores)]

    def store(self, identity: StoreId) -> BackupStore:
        """Return a store."""
        return self._stores[UUID(str(identity))]

    def settings(self) -> Mapping[str, bytes]:
        """Return the settings files."""
        return self._settings

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def fake_catalogue(
    *volumes: FakeVolume, names: Sequence[str] = (), source: str = "fake"
) -> VolumeCatalogue:
    """Return a catalogue of volumes, oldest first.

    Args:
        volumes: The volumes.
        names: Their names as versions; numbered otherwise.
        source: What was opened.
    """

    def opening(volume: FakeVolume) -> Callable[[], FakeVolume]:
        return lambda: volume

    return VolumeCatalogue(
        [
            VolumeVersion(
                name=names[number] if names else f"version {number + 1}",
                created_ns=number * 10**18,
                open=opening(volume),
            )
            for number, volume in enumerate(volumes)
        ],
        source=source,
    )
