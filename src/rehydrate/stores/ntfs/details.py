"""What a record says about its file: times, attributes, owner, links and streams."""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from rehydrate.errors import CorruptMetadataError, FormatError, StoreError
from rehydrate.stores.ntfs.layout import (
    ATTRIBUTE_DATA,
    ATTRIBUTE_FILE_NAME,
    ATTRIBUTE_REPARSE_POINT,
    ATTRIBUTE_SECURITY_DESCRIPTOR,
    ATTRIBUTE_STANDARD_INFORMATION,
    ATTRIBUTE_VOLUME_NAME,
    DOS_NAMESPACE,
    NAMESPACE_OFFSET,
    RECORD_SECURE,
    RECORD_UPCASE,
    RECORD_VOLUME,
    StandardInformation,
    owner_of,
    read_standard_information,
)
from rehydrate.stores.ntfs.records import DAMAGED, Record, Records
from rehydrate.stores.ntfs.security import MAX_DESCRIPTOR, SecurityTable
from rehydrate.stores.volume import (
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    NamedStream,
    VolumeEntry,
)
from rehydrate.values import FileExtent

__all__ = ["Details", "case_table_of", "label_of", "stream_name"]

_MAX_STANDARD: Final = 4096
_MAX_LABEL: Final = 1024
_TAG_SIZE: Final = 4
_UNITS: Final = 1 << 16


_owner_of = functools.lru_cache(maxsize=256)(owner_of)
"""Volumes without ``$Secure`` repeat few descriptors in many records."""


class Details:
    """Makes entries of records."""

    def __init__(self, records: Records) -> None:
        """Open the table of security descriptors, if the volume has one.

        Args:
            records: The file system.
        """
        self._records = records
        self._security = _security_table(records)

    def entry(self, path: bytes, record: Record, what: str) -> VolumeEntry:
        """Return the entry of a name.

        Args:
            path: The path.
            record: The record that the name leads to.
            what: The path, for messages.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: The record is damaged.
        """
        standard = self._standard(record, what)
        data = None if record.directory else record.find(ATTRIBUTE_DATA)
        attributes = standard.attributes
        if record.directory:
            attributes |= FILE_ATTRIBUTE_DIRECTORY
        return VolumeEntry(
            path=path,
            number=record.number,
            directory=record.directory,
            size=0 if data is None else data.size,
            attributes=attributes,
            reparse_tag=self._tag(record, standard, what),
            created=standard.created,
            modified=standard.modified,
            accessed=standard.accessed,
            changed=standard.changed,
            links=1 if record.directory else self._links(record, what),
            file_id=record.sequence << 48 | record.number,
            owner=self._owner(record, standard, what),
            streams=_streams(record),
        )

    def security(self, record: Record, what: str) -> bytes | None:
        """Return the security descriptor of a record; ``None`` = not known.

        Args:
            record: The record.
            what: Its path, for messages.

        Raises:
            StoreReadError: The image cannot be read.
            CorruptMetadataError: The record is damaged, or names a descriptor that is not there.
        """
        return self._descriptor(record, self._standard(record, what), what)

    def _descriptor(self, record: Record, standard: StandardInformation, what: str) -> bytes | None:
        key = standard.security
        if key and self._security is not None:
            descriptor = self._security.descriptor(key)
            if descriptor is None:
                raise CorruptMetadataError(
                    f"{what}: its security descriptor {key} is missing or damaged", code=DAMAGED
                )
            return descriptor
        own = record.find(ATTRIBUTE_SECURITY_DESCRIPTOR)
        return None if own is None else self._records.value(record, own, MAX_DESCRIPTOR, what)

    def _owner(self, record: Record, standard: StandardInformation, what: str) -> str | None:
        if standard.security and self._security is not None:
            return self._security.owner(standard.security)
        try:
            descriptor = self._descriptor(record, standard, what)
            return None if descriptor is None else _owner_of(descriptor)
        except (StoreError, FormatError):
            return None

    def _standard(self, record: Record, what: str) -> StandardInformation:
        found = record.find(ATTRIBUTE_STANDARD_INFORMATION)
        if found is None:
            raise CorruptMetadataError(f"{what} has no standard information", code=DAMAGED)
        value = self._records.value(record, found, _MAX_STANDARD, what)
        try:
            return read_standard_information(value)
        except CorruptMetadataError as error:
            raise CorruptMetadataError(f"{what}: {error.message}", code=DAMAGED) from error

    def _tag(self, record: Record, standard: StandardInformation, what: str) -> int:
        found = record.find(ATTRIBUTE_REPARSE_POINT)
        if found is not None and found.size >= _TAG_SIZE:
            tag = self._records.read(record, found, FileExtent(0, _TAG_SIZE), what)
            return int.from_bytes(tag, "little")
        if found is not None or standard.attributes & FILE_ATTRIBUTE_REPARSE_POINT:
            # taken for an ordinary file, a stub would be restored as zeros
            raise CorruptMetadataError(f"{what} has lost its reparse data", code=DAMAGED)
        return 0

    def _links(self, record: Record, what: str) -> int:
        names = [found for found in record.attributes if found.kind == ATTRIBUTE_FILE_NAME]
        if len(names) <= 1:
            return 1
        place = FileExtent(NAMESPACE_OFFSET, 1)
        dos = bytes((DOS_NAMESPACE,))
        return max(sum(self._records.read(record, name, place, what) != dos for name in names), 1)


def stream_name(name: bytes) -> str:
    """Return the name of a data stream as the library gives it, as text."""
    return name.decode("utf-8", "replace")


def label_of(records: Records) -> str:
    """Return the label of a volume; empty = none, or it cannot be read."""
    try:
        record = records.record(RECORD_VOLUME, "$Volume")
        found = record.find(ATTRIBUTE_VOLUME_NAME)
        value = b"" if found is None else records.value(record, found, _MAX_LABEL, "$Volume")
    except (StoreError, FormatError):
        return ""
    return value.decode("utf-16-le", "replace")


def case_table_of(records: Records) -> npt.NDArray[np.uint16] | None:
    """Return the upper case of each UTF-16 unit; ``None`` = it cannot be read."""
    try:
        record = records.record(RECORD_UPCASE, "$UpCase")
        found = record.find(ATTRIBUTE_DATA)
        if found is None or found.size != 2 * _UNITS:
            return None
        value = records.value(record, found, 2 * _UNITS, "$UpCase")
    except (StoreError, FormatError):
        return None
    table = np.frombuffer(value, dtype="<u2").astype(np.uint16)
    table.flags.writeable = False
    return table


def _security_table(records: Records) -> SecurityTable | None:
    try:
        record = records.record(RECORD_SECURE, "$Secure")
        stream = record.find(ATTRIBUTE_DATA, b"$SDS")
        if stream is None:
            return None
        records.ranges(record, stream, "$Secure")
    except (StoreError, FormatError):
        return None
    return SecurityTable(
        lambda offset, size: records.read(record, stream, FileExtent(offset, size), "$Secure"),
        stream.size,
    )


def _streams(record: Record) -> tuple[NamedStream, ...]:
    found = {
        stream_name(attribute.name): attribute.size
        for attribute in record.attributes
        if attribute.kind == ATTRIBUTE_DATA and attribute.name
    }
    return tuple(NamedStream(name, found[name]) for name in sorted(found))
