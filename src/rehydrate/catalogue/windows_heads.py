"""The first pages of a container: its header copies and its redirection tables, all checked."""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np

from rehydrate.catalogue.windows_damage import Finding
from rehydrate.errors import (
    Cancelled,
    CorruptMetadataError,
    FormatError,
    RestoreError,
    StoreReadError,
)
from rehydrate.formats.windows.container import (
    ContainerHeader,
    RedirectionTable,
    parse_container_header,
    parse_table,
    table_size,
)
from rehydrate.formats.windows.layout import (
    CONTAINER_HEADER,
    CONTAINER_HEADER_PLACES,
    ENTRY_DTYPE,
    FIRST_RECORD,
    HEAD_SIZE,
    TABLE,
    TABLE_HEAD_SIZE,
    TABLE_PLACE,
    container_name,
    crc64,
)
from rehydrate.formats.windows.walking import said
from rehydrate.protocols import BackupStore
from rehydrate.values import StorePath

__all__ = ["ContainerPlace", "Head", "PatientReader", "look_at_head"]

_PIECE: Final = 64 << 10
_MOST_FAILURES: Final = 64
"""Pieces that cannot be read, after which a container is given up."""
_PAGE: Final = 0x1000
_ENTRIES_SUM: Final = -2
"""Position of the CRC-64 of the entries among the fields of a table's head."""


@attrs.frozen(kw_only=True)
class ContainerPlace:
    """A live container.

    Attributes:
        number: Its number in this verification.
        path: Store path.
        folder: Position of its folder in :data:`~rehydrate.catalogue.windows_tables.FOLDERS`.
        container: Id by its name.
        generation: Generation by its name.
        size: Bytes of the file.
    """

    number: int
    path: StorePath
    folder: int
    container: int
    generation: int
    size: int


class PatientReader:
    """Reads one container; what cannot be read is told, and is zeros.

    Attributes:
        findings: One for each stretch that could not be read.
    """

    def __init__(self, store: BackupStore, place: ContainerPlace) -> None:
        """Read the container at a place."""
        self._store = store
        self._place = place
        self._failures = 0
        self.findings: list[Finding] = []

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end of the file.

        Raises:
            StoreReadError: Too much cannot be read.
            Cancelled: The store says so.
        """
        try:
            return self._continued(offset, size)
        except Cancelled:
            raise
        except (OSError, RestoreError):
            pieces = range(offset, offset + size, _PIECE)
            return b"".join(self._piece(at, min(_PIECE, offset + size - at)) for at in pieces)

    def _piece(self, offset: int, size: int) -> bytes:
        try:
            return self._continued(offset, size)
        except Cancelled:
            raise
        except (OSError, RestoreError) as error:
            self._failures += 1
            self._tell(offset, size, str(error))
            if self._failures >= _MOST_FAILURES:
                raise StoreReadError(f"{self._place.path} cannot be read") from error
            return bytes(size)

    def _continued(self, offset: int, size: int) -> bytes:
        path, data = self._place.path, b""
        while len(data) < size:
            more = self._store.read_backup_file(path, offset + len(data), size - len(data))
            if not memoryview(more):
                break
            data = data + more if data else bytes(more)
        return data

    def _tell(self, offset: int, size: int, why: str) -> None:
        before = self.findings[-1] if self.findings else None
        if before is not None and before.offset + before.length == offset:
            self.findings[-1] = attrs.evolve(before, length=before.length + size)
            return
        self.findings.append(
            Finding(
                check="container.unreadable",
                container=self._place.path,
                offset=offset,
                length=size,
                found=why,
            )
        )


@attrs.frozen(eq=False, kw_only=True)
class Head:
    """What the first pages say.

    Attributes:
        header: The newest valid header, if any is valid.
        whole: Whether all copies of the header are valid and those of this container.
        first: Where the first record is.
        tables: Redirection tables that are whole, each different one once, with their places.
        findings: What is wrong.
        notices: What is worth knowing.
    """

    header: ContainerHeader | None
    whole: bool
    first: int
    tables: tuple[tuple[int, RedirectionTable], ...]
    findings: tuple[Finding, ...]
    notices: tuple[str, ...]


def look_at_head(reader: PatientReader, place: ContainerPlace) -> Head:
    """Read and check the first pages of a container.

    Args:
        reader: Reads it.
        place: The container.

    Raises:
        StoreReadError: It cannot be read.
    """
    page = reader.read(0, min(HEAD_SIZE, place.size))
    findings = list(_wrong_copies(page, place))
    header = None
    try:
        header = parse_container_header(page)
    except CorruptMetadataError as error:
        findings = [_finding(place, error.code, 0, HEAD_SIZE)]
    else:
        if header.valid_size > place.size:
            findings.append(
                _finding(
                    place,
                    "container.truncated",
                    place.size,
                    header.valid_size - place.size,
                    (f"{header.valid_size} bytes", f"{place.size}"),
                )
            )
    whole = not findings or all(found.check == "container.truncated" for found in findings)
    backup = FIRST_RECORD - _PAGE if header is None else header.backup_table
    looked = _Tables(reader, place)
    if not TABLE_PLACE < backup < place.size:
        findings.append(_finding(place, "table.backup-place", backup, 0, ("", str(backup))))
        looked.look(TABLE_PLACE)
        backup = FIRST_RECORD - _PAGE
    else:
        looked.look(TABLE_PLACE)
        looked.look(backup)
    return Head(
        header=header,
        whole=whole,
        # Both tables have the same room (R19 for one page; INFERRED for more).
        first=max(2 * backup - TABLE_PLACE, FIRST_RECORD),
        tables=tuple(looked.tables),
        findings=(*findings, *looked.findings),
        notices=tuple(looked.notices),
    )


def _wrong_copies(page: bytes, place: ContainerPlace) -> Iterator[Finding]:
    """Check each copy of the header by itself; an older one is no fault (R19)."""
    for at in CONTAINER_HEADER_PLACES:
        copy = page[at : at + CONTAINER_HEADER.size]
        try:
            header = parse_container_header(copy)
        except CorruptMetadataError:
            *_, expected = CONTAINER_HEADER.unpack(copy.ljust(CONTAINER_HEADER.size, b"\0"))
            values = f"CRC-64 0x{expected:016X}", f"0x{crc64(copy[:-8]):016X}"
            yield _finding(place, "container.header-copy", at, CONTAINER_HEADER.size, values)
            continue
        if (header.container, header.generation) != (place.container, place.generation):
            values = (
                container_name(place.container, place.generation),
                container_name(header.container, header.generation),
            )
            yield _finding(place, "container.foreign", at, CONTAINER_HEADER.size, values)


class _Tables:
    """Reads the redirection tables of a container."""

    def __init__(self, reader: PatientReader, place: ContainerPlace) -> None:
        self._reader = reader
        self._place = place
        self.tables: list[tuple[int, RedirectionTable]] = []
        self.findings: list[Finding] = []
        self.notices: list[str] = []

    def look(self, at: int) -> None:
        """Read the table at a place."""
        try:
            head = self._reader.read(at, TABLE_HEAD_SIZE)
            size = table_size(head)
            data = self._reader.read(at, size)
            table = parse_table(data)
        except FormatError as error:
            found = _finding(self._place, error.code, at, TABLE_HEAD_SIZE, said(error))
            self.findings.append(found)
            return
        sums = TABLE.unpack(head)[_ENTRIES_SUM], crc64(data[TABLE_HEAD_SIZE:])
        if sums[0] != sums[1]:
            # No table with entries was ever seen in real bytes: what the sum covers is INFERRED.
            self.notices.append(
                f"{self._place.path}: CRC-64 of the entries of the redirection table at {at}:"
                f" expected 0x{sums[0]:016X}, found 0x{sums[1]:016X}"
            )
        for other, known in self.tables:
            if np.array_equal(known.entries, table.entries):
                return
            here = f"{len(table.entries)} entries at {at}"
            values = f"{len(known.entries)} entries as at {other}", f"other ones: {here}"
            length = size - TABLE_HEAD_SIZE or ENTRY_DTYPE.itemsize
            self.findings.append(_finding(self._place, "table.disagree", at, length, values))
        self.tables.append((at, table))


def _finding(
    place: ContainerPlace,
    check: str,
    offset: int,
    length: int,
    values: tuple[str, str] = ("", ""),
) -> Finding:
    return Finding(
        check=check,
        container=place.path,
        offset=offset,
        length=length,
        expected=values[0],
        found=values[1],
    )
