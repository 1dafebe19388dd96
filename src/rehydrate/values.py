"""Small values that cross every border: paths in the store, ranges of bytes, buffers.

All ranges are half-open, ``[offset, offset + length)``, and all sizes are bytes.
"""

import uuid
from typing import Final, NewType, Protocol, SupportsIndex

import attrs

__all__ = [
    "DEDUP_TAG",
    "FILETIME_OF_1970",
    "MAX_OFFSET",
    "NO_MODE",
    "NO_OWNER",
    "NO_TIME",
    "STORES_FOLDER",
    "ContainerExtent",
    "FileExtent",
    "ReadableBuffer",
    "StoreId",
    "StorePath",
    "as_windows",
    "store_folder",
]

MAX_OFFSET: Final = 2**63 - 1
"""Largest file offset; no range ends beyond it (COM passes offsets as signed 64-bit numbers)."""

NO_MODE: Final = 0xFFFFFFFF
"""The mode is not known: the file gets what a new file gets."""
NO_OWNER: Final = 0xFFFFFFFF
"""The owner (or group) is not known: the file keeps that of the process."""
NO_TIME: Final = -(2**63)
"""The modification time is not known: the file keeps the time of its restore."""

StorePath = NewType("StorePath", str)
"""Path of a container relative to the volume of the stub: forward slashes, no leading slash."""

StoreId = uuid.UUID
"""Identity of a chunk store, as stubs name it."""


DEDUP_TAG: Final = 0x80000013
"""Reparse tag of deduplicated files, IO_REPARSE_TAG_DEDUP (MS-FSCC 2.1.2.1)."""
FILETIME_OF_1970: Final = 116_444_736_000_000_000
"""1970-01-01 as FILETIME: 100 ns since 1601, UTC."""
STORES_FOLDER: Final = StorePath("System Volume Information/Dedup/ChunkStore")
"""Folder of all chunk stores of a Windows volume."""


def store_folder(store: StoreId) -> StorePath:
    """Return the folder of a chunk store, spelt exactly as store paths begin.

    Args:
        store: Identity of the store.
    """
    return StorePath(f"{STORES_FOLDER}/{{{str(store).upper()}}}.ddp")


class ReadableBuffer(Protocol):
    """Any C-contiguous object with the buffer protocol, such as ``bytes`` or a memoryview.

    ``collections.abc.Buffer`` says the same from Python 3.12 on.
    """

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the bytes."""
        ...


def as_windows(path: StorePath) -> str:
    r"""Return the form in which the COM callback names the file.

    Args:
        path: A store path with forward slashes.

    Returns:
        The path with backslashes, one leading, and without a drive:
        ``\System Volume Information\Dedup\ChunkStore\...``.
    """
    return "\\" + path.replace("/", "\\")


def _plain_int(_instance: object, attribute: "attrs.Attribute[int]", value: SupportsIndex) -> None:
    if type(value) is not int or value < 0:
        msg = f"{attribute.name} must be an int of at least 0, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(order=True)
class FileExtent:
    """A range of bytes in one container that is about to be read.

    Attributes:
        offset: First byte, at least 0.
        length: Number of bytes, at least 0.
    """

    offset: int = attrs.field(validator=_plain_int)
    length: int = attrs.field(validator=_plain_int)

    @property
    def end(self) -> int:
        """First byte behind the range."""
        return self.offset + self.length


@attrs.frozen(kw_only=True)
class ContainerExtent:
    """One entry of a vendor's answer to ``order_containers_restore``.

    Values are not checked here: the engine checks the whole answer and names the adapter when it
    is wrong.

    Attributes:
        index: Position of the container in the argument of the call, from 0.
        offset: First byte of the extent in the container.
        length: Number of bytes; the end is cut at ``2**63 - 1``, so ``length=MAX_OFFSET`` means
            "to the end" from any offset. Zero lengths are ignored.
    """

    index: int
    offset: int = 0
    length: int = MAX_OFFSET
