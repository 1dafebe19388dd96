"""What is asked of a reader of NTFS: records with their attributes, and the bytes of these."""

from typing import Final, Protocol

import attrs

from rehydrate.stores.ntfs.layout import Boot
from rehydrate.values import FileExtent

__all__ = ["DAMAGED", "Attribute", "Patch", "Record", "Records"]

DAMAGED: Final = "volume.damaged"
"""Code of errors for structures of the file system that make no sense."""

Patch = tuple[int, bytes]
"""A place of a volume and the bytes to take for what stands there."""


@attrs.frozen
class Attribute:
    """One attribute of a record, all its pieces together.

    Attributes:
        kind: Type of the attribute (:mod:`~rehydrate.stores.ntfs.layout`).
        number: Tells attributes of one type in one record apart.
        name: Its name, UTF-8 as the library gives it; empty = none.
        size: Bytes.
        resident: Whether the bytes are in the record itself.
        compressed: Whether NTFS compressed it.
        encrypted: Whether NTFS encrypted it.
    """

    kind: int
    number: int
    name: bytes
    size: int
    resident: bool
    compressed: bool
    encrypted: bool


@attrs.frozen(eq=False)
class Record:
    """One record of the master file table that is in use.

    Attributes:
        number: Its number.
        sequence: How often it was used.
        directory: Whether it is a directory.
        attributes: All its attributes, wherever they are.
        file: The reader's own object.
    """

    number: int
    sequence: int
    directory: bool
    attributes: tuple[Attribute, ...]
    file: object

    def find(self, kind: int, name: bytes = b"") -> Attribute | None:
        """Return the first attribute of a type and name; ``None`` = there is none."""
        for attribute in self.attributes:
            if attribute.kind == kind and attribute.name == name:
                return attribute
        return None


class Records(Protocol):
    """Reads one NTFS file system. All methods may be called from several threads."""

    @property
    def boot(self) -> Boot:
        """What the boot sector says."""
        ...

    def record(self, number: int, what: str, sequence: int = 0) -> Record:
        """Open a record that is in use.

        Args:
            number: Its number.
            what: What it is, for messages: a path.
            sequence: The sequence number that a reference to it gives; 0 = not said.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: The record is damaged, not in use, or used anew since.
        """
        ...

    def read(self, record: Record, attribute: Attribute, place: FileExtent, what: str) -> bytes:
        """Return exactly the bytes of a range of an attribute; holes are zeros.

        Args:
            record: The record.
            attribute: One of its attributes.
            place: The range, inside the attribute.
            what: What is read, for messages.

        Raises:
            StoreReadError: The range is not inside, or the image cannot be read.
            CorruptMetadataError: The clusters lead nowhere.
        """
        ...

    def value(self, record: Record, attribute: Attribute, limit: int, what: str) -> bytes:
        """Return a whole small attribute.

        Args:
            record: The record.
            attribute: One of its attributes.
            limit: Most bytes that make sense.
            what: What is read, for messages.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: It is larger than that, or its clusters lead nowhere.
        """
        ...

    def ranges(self, record: Record, attribute: Attribute, what: str) -> tuple[FileExtent, ...]:
        """Return the allocated ranges of an attribute, ascending, merged and cut at its size.

        Of a compressed attribute a whole compression unit counts as soon as one cluster of it is
        on disk. A resident attribute is one range.

        Args:
            record: The record.
            attribute: One of its attributes.
            what: What it is, for messages.

        Raises:
            CorruptMetadataError: The clusters do not cover the attribute one after the other.
        """
        ...

    def close(self) -> None:
        """Let everything go; every later call is refused."""
        ...
