"""Shadow copies (VSS snapshots) that lie inside a volume, as volumes of their own.

A snapshot shows the whole volume as it was, so a stub and its chunk store always come from the same
moment. Snapshots that an NTFS volume keeps on another volume cannot be read from it alone.
"""

import uuid
from typing import Final

import attrs

from rehydrate.errors import RequestError, StoreReadError
from rehydrate.stores.images.bindings import ForeignOpen, LibrarySource, NeedsPackage
from rehydrate.stores.images.bytesource import ByteSource, FileView
from rehydrate.values import FILETIME_OF_1970, MAX_OFFSET

__all__ = ["Shadow", "shadow_source", "snapshots"]

_HEADER: Final = 0x1E00  # of the volume; the first 16 bytes are the provider's identity
_HEADER_SIZE: Final = 512
_VSS: Final = uuid.UUID("3808876B-C176-4E48-B7AE-04046E6CC752").bytes_le
_CATALOG: Final = slice(48, 56)  # where the header says where the catalogue is; 0 for none
_MOST_SHADOWS: Final = 4096
"""Windows keeps up to 512 of a volume."""


@attrs.frozen(kw_only=True)
class Shadow:
    """One snapshot.

    Attributes:
        number: From 1, the oldest first.
        identifier: Shadow copy ID, as ``vssadmin list shadows`` shows it; all zeros where the
            snapshot keeps its data on another volume.
        set_identifier: ID of the set that was made at the same moment.
        created_ns: When, in nanoseconds since 1970.
        size: Size of the volume at that time in bytes.
    """

    number: int
    identifier: uuid.UUID
    set_identifier: uuid.UUID
    created_ns: int
    size: int


def _has_catalogue(source: ByteSource) -> bool:
    """Tell whether a volume has ever had snapshots, so that others need no library."""
    if source.size < _HEADER + _HEADER_SIZE:
        return False
    header = source.read(_HEADER, _HEADER_SIZE)
    return header[:16] == _VSS and any(header[_CATALOG])


def _identity(text: str | None) -> uuid.UUID:
    return uuid.UUID(text) if text else uuid.UUID(int=0)


def snapshots(source: ByteSource) -> tuple[Shadow, ...]:
    """List the shadow copies of a volume.

    Args:
        source: One volume, not a disk.

    Returns:
        All snapshots, oldest first; none where the volume has none.

    Raises:
        CorruptMetadataError: The catalogue of snapshots contradicts itself.
        StoreError: The binding is not installed, code ``"store.extra-missing"``.
        StoreReadError: The volume cannot be read.
    """
    if not _has_catalogue(source):
        return ()
    with NeedsPackage("libvshadow-python"):
        import pyvshadow
    view = FileView(source)
    volume = pyvshadow.volume()
    found: list[Shadow] = []
    with ForeignOpen("the volume", "a volume with shadow copies", [view]):
        volume.open_file_object(view)
        for index in range(min(volume.get_number_of_stores(), _MOST_SHADOWS)):
            store = volume.get_store(index)
            created = store.get_creation_time_as_integer() - FILETIME_OF_1970
            found.append(
                Shadow(
                    number=index + 1,
                    identifier=_identity(store.get_copy_identifier()),
                    set_identifier=_identity(store.get_copy_set_identifier()),
                    created_ns=created * 100,
                    size=min(store.get_volume_size(), MAX_OFFSET),
                )
            )
        volume.close()
    return tuple(found)


def shadow_source(source: ByteSource, number: int) -> ByteSource:
    """Return the bytes of a volume as they were when a snapshot was made.

    Args:
        source: The volume; it stays open when the snapshot is closed.
        number: As :func:`snapshots` gives it.

    Raises:
        RequestError: There is no such snapshot.
        CorruptMetadataError: The catalogue of snapshots contradicts itself.
        StoreError: The binding is not installed, code ``"store.extra-missing"``.
        StoreReadError: The volume cannot be read, or the snapshot keeps its data on another one.
    """
    count = len(snapshots(source))
    if not 1 <= number <= count:
        raise RequestError(f"there is no shadow copy {number}; the volume has {count}")
    with NeedsPackage("libvshadow-python"):
        import pyvshadow
    name = f"shadow copy {number}"
    view = FileView(source)
    volume = pyvshadow.volume()
    with ForeignOpen(name, "a volume with shadow copies", [view]):
        volume.open_file_object(view)
        store = volume.get_store(number - 1)
        here = store.has_in_volume_data()
        size = store.get_volume_size()
    if not here:
        raise StoreReadError(f"{name} keeps its data on another volume")
    return LibrarySource(store, size, name=name, views=[view], closes=[volume])
