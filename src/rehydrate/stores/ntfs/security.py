"""Security descriptors of a volume: ``$Secure``, which holds each of them once.

``$SDS`` is a row of entries in blocks of 256 KiB, each block followed by its copy (Linux-NTFS
documentation, ``$Secure``). Descriptors are found by their key, the security id of a file.
"""

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from rehydrate.errors import FormatError, StoreError
from rehydrate.stores.ntfs.layout import owner_of

__all__ = ["MAX_DESCRIPTOR", "SecurityTable"]

MAX_DESCRIPTOR: Final = 1 << 20
"""Bytes above which a descriptor is taken for damage; Windows itself makes none over 64 KiB."""
_BLOCK: Final = 256 << 10
_ENTRY = struct.Struct("<IIQI")
_MAX_STREAM: Final = 1 << 30
_CACHED: Final = 1024

Reader = Callable[[int, int], bytes]
"""Reads ``size`` bytes of ``$SDS`` at an offset."""


class SecurityTable:
    """Finds descriptors in ``$SDS``; the stream is gone through once, at the first question."""

    def __init__(self, read: Reader, size: int) -> None:
        """Remember where to read.

        Args:
            read: Reads exactly ``size`` bytes at an offset.
            size: Bytes of the stream.
        """
        self._read = read
        self._size = min(size, _MAX_STREAM)
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int]] | None = None
        self._owners: dict[int, str | None] = {}
        self._descriptors: OrderedDict[int, bytes] = OrderedDict()

    def descriptor(self, key: int) -> bytes | None:
        """Return a descriptor; ``None`` = there is none with that key that is whole.

        Args:
            key: The security id of a file.
        """
        with self._lock:
            if key not in self._descriptors:
                found = self._find(key)
                if found is None:
                    return None
                self._descriptors[key] = found
                if len(self._descriptors) > _CACHED:
                    self._descriptors.popitem(last=False)
            return self._descriptors[key]

    def owner(self, key: int) -> str | None:
        """Return the owner in a descriptor as SID text; ``None`` = not known.

        Args:
            key: The security id of a file.
        """
        if key not in self._owners:
            descriptor = self.descriptor(key)
            try:
                self._owners[key] = None if descriptor is None else owner_of(descriptor)
            except FormatError:
                self._owners[key] = None
        return self._owners[key]

    def _find(self, key: int) -> bytes | None:
        if self._places is None:
            self._places = self._index()
        place = self._places.get(key)
        if place is None:
            return None
        offset, length = place
        for start in (offset, offset ^ _BLOCK):  # the entry, or the same one in the copied block
            try:
                entry = self._read(start, length)
            except (StoreError, FormatError):
                continue
            if _ENTRY.unpack_from(entry)[:2] == (_hash(entry[_ENTRY.size :]), key):
                return entry[_ENTRY.size :]
        return None

    def _index(self) -> dict[int, tuple[int, int]]:
        places: dict[int, tuple[int, int]] = {}
        for start in range(0, self._size, _BLOCK):
            try:
                block = self._read(start, min(_BLOCK, self._size - start))
            except (StoreError, FormatError):
                continue
            for offset, key, length in _entries(block):
                places.setdefault(key, (start + offset, length))
        return places


def _entries(block: bytes) -> list[tuple[int, int, int]]:
    """Return offset, key and length of each entry of a block, up to the first that is none."""
    found: list[tuple[int, int, int]] = []
    position = 0
    while position + _ENTRY.size <= len(block):
        _check, key, offset, length = _ENTRY.unpack_from(block, position)
        inside = _ENTRY.size < length <= min(len(block) - position, MAX_DESCRIPTOR)
        # the offset of a copied entry is that of the first one
        if not key or not inside or offset % _BLOCK != position:
            break
        found.append((position, key, length))
        position += length + -length % 16
    return found


def _hash(descriptor: bytes) -> int:
    """Return the hash that ``$SDS`` keeps: each 32-bit word added to a rotation by 3 to the left."""
    value = 0
    for (word,) in struct.iter_unpack("<I", descriptor[: len(descriptor) & ~3]):
        value = (word + (value << 3 | value >> 29)) & 0xFFFFFFFF
    return value
