"""Data streams of records, opened once and kept open for the reads that follow, in bounds."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import attrs

from rehydrate.errors import UnsupportedFormatError
from rehydrate.stores.ntfs.records import Attribute, Record, Records
from rehydrate.values import FileExtent

__all__ = ["Content", "OpenContents"]

_MAX_OPEN: Final = 64


@attrs.frozen(eq=False)
class Content:
    """A data stream whose list of clusters was checked.

    Attributes:
        record: The record that holds it.
        attribute: The stream; ``None`` = the record has no such stream.
        ranges: Its allocated ranges, ascending.
    """

    record: Record
    attribute: Attribute | None
    ranges: tuple[FileExtent, ...]

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return 0 if self.attribute is None else self.attribute.size

    @classmethod
    def of(
        cls, records: Records, record: Record, attribute: Attribute | None, what: str
    ) -> "Content":
        """Check a stream.

        Args:
            records: The file system.
            record: The record.
            attribute: One of its data attributes.
            what: What it is, for messages.

        Raises:
            StoreReadError: The image cannot be read.
            FormatError: The stream is damaged, or encrypted by Windows.
        """
        if attribute is None:
            return cls(record, None, ())
        if attribute.encrypted:
            raise UnsupportedFormatError(
                f"{what} is encrypted by Windows (EFS); only its owner's key can undo that",
                code="volume.encrypted",
            )
        return cls(record, attribute, records.ranges(record, attribute, what))


class OpenContents:
    """Keeps streams by a key of the caller; the one that was not used for longest goes first."""

    def __init__(self, limit: int = _MAX_OPEN) -> None:
        """Start with none.

        Args:
            limit: Streams kept open, at least 1.
        """
        self._limit = limit
        self._lock = threading.Lock()
        self._open: OrderedDict[Hashable, Content] = OrderedDict()

    def get(self, key: Hashable, opened: Callable[[], Content]) -> Content:
        """Return the stream of a key.

        Args:
            key: Tells streams apart.
            opened: Opens it where it is not open; its errors pass.
        """
        with self._lock:
            content = self._open.get(key)
            if content is not None:
                self._open.move_to_end(key)
                return content
        content = opened()
        with self._lock:
            self._open[key] = content
            if len(self._open) > self._limit:
                self._open.popitem(last=False)
        return content

    def clear(self) -> None:
        """Let all streams go."""
        with self._lock:
            self._open.clear()
