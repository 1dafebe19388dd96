"""Spoils generated stores: single bytes, single fields, and fields with all checksums made right.

The first half works on plain bytes and serves property tests (each byte, each truncation, each
integer field); the second works on the containers of a `tests.windows_store.store.WindowsStore`.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from tests.windows_store.containers import Container
from tests.windows_store.structures import EMPTY_CRC, TABLE_AT, crc32, crc64

__all__ = [
    "CTHR_FIELDS",
    "EXTREMES",
    "MAP_INFO_FIELDS",
    "RECORD_FIELDS",
    "RRTL_FIELDS",
    "SMAP_FIELDS",
    "STUB_FIELDS",
    "Field",
    "extremes_of",
    "flip",
    "reseal_header",
    "reseal_record",
    "reseal_stub",
    "reseal_table",
    "set_field",
    "spoil_header",
    "spoil_record",
    "spoil_table",
]

Field = tuple[int, int]
"""Offset and width of a field in bytes."""

EXTREMES: Final = (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
"""What each integer field is set to."""

RECORD_FIELDS: Final[Mapping[str, Field]] = {
    "magic": (0x00, 4),
    "major": (0x04, 1),
    "minor": (0x05, 1),
    "version": (0x06, 2),
    "local_id": (0x08, 4),
    "stored": (0x0C, 4),
    "kind": (0x10, 2),
    "extension": (0x12, 2),
    "eights": (0x14, 4),
    "compression": (0x20, 4),
    "second_word": (0x24, 4),
    "digest": (0x28, 32),
}
"""Fields of the record of a data chunk; in one of a stream map the digest is at 38."""

CTHR_FIELDS: Final[Mapping[str, Field]] = {
    "magic": (0x00, 4),
    "major": (0x04, 1),
    "sequence": (0x08, 8),
    "container_id": (0x10, 4),
    "generation": (0x14, 4),
    "chunk_count": (0x18, 4),
    "next_local_id": (0x1C, 4),
    "valid_length": (0x20, 4),
    "flags": (0x24, 4),
    "appended": (0x28, 8),
    "backup_at": (0x30, 4),
    "reconciled": (0x34, 4),
    "crc": (0x38, 8),
}
RRTL_FIELDS: Final[Mapping[str, Field]] = {
    "magic": (0x00, 4),
    "major": (0x04, 1),
    "count": (0x08, 4),
    "width": (0x0C, 4),
    "entries_crc": (0x10, 8),
    "crc": (0x18, 8),
    "first_local_id": (0x20, 4),
    "first_offset": (0x24, 4),
}
SMAP_FIELDS: Final[Mapping[str, Field]] = {
    "local_id": (0x00, 4),
    "container": (0x04, 4),
    "offset": (0x08, 4),
    "generation": (0x0C, 4),
    "end": (0x10, 8),
    "digest": (0x18, 32),
    "stored": (0x38, 4),
    "zero": (0x3C, 4),
}
"""Fields of an entry; entry ``i`` begins at 8 + 64 i of the map."""
MAP_INFO_FIELDS: Final[Mapping[str, Field]] = {
    "local_id": (0x00, 4),
    "container": (0x04, 4),
    "offset": (0x08, 4),
    "generation": (0x0C, 4),
    "one": (0x10, 4),
    "worst": (0x14, 4),
    "map_size": (0x18, 4),
    "zero": (0x1C, 4),
    "digest": (0x20, 16),
    "end": (0x30, 8),
    "begin": (0x38, 8),
}
"""Fields of a stream map info; in format 1.2 the last two are the second half of the digest."""
STUB_FIELDS: Final[Mapping[str, Mapping[str, Field]]] = {
    "1.2": {"tag": (0, 4), "length": (4, 2), "inner_length": (0xA, 2), "size": (0x10, 8),
            "guid": (0x20, 16), "info_at": (0x30, 2), "info_size": (0x32, 2),
            "bitmap_at": (0x34, 2), "bitmap_size": (0x36, 2), "time": (0x38, 8),
            "info": (0x40, 64)},
    "2.1": {"tag": (0, 4), "length": (4, 2), "inner_length": (0xA, 2), "rows": (0xC, 4),
            "guid_row": (0x30, 8), "infos_row": (0x50, 8), "guid": (0x7C, 16),
            "time": (0x8C, 8), "size": (0x94, 8), "info": (0x9C, 64)},
    "3.1": {"tag": (0, 4), "length": (4, 2), "inner_length": (0xA, 2), "block": (0xC, 4),
            "block_crc": (0x10, 4), "block_length": (0x14, 4), "elements": (0x1A, 2),
            "first_element": (0x1C, 8), "dedup_element": (0x5C, 8), "guid": (0x6C, 16),
            "time": (0x7C, 8), "size": (0x84, 8), "recall": (0x94, 4), "dedup": (0x114, 4),
            "info": (0x148, 64)},
}  # fmt: skip
"""Fields of stubs by format; of 3.1 in the long form."""


def flip(data: bytes, at: int, mask: int = 0xFF) -> bytes:
    """Return the bytes with some bits of one changed; ``at`` may count from the end."""
    spoilt = bytearray(data)
    spoilt[at] ^= mask
    return bytes(spoilt)


def set_field(data: bytes, field: Field, value: int, *, base: int = 0) -> bytes:
    """Return the bytes with an integer in a field.

    Args:
        data: The bytes.
        field: Its offset and width.
        value: The integer; cut to the width.
        base: Where the structure begins in the bytes.
    """
    at, width = field
    at += base
    value &= (1 << 8 * width) - 1
    return data[:at] + value.to_bytes(width, "little") + data[at + width :]


def extremes_of(
    data: bytes, fields: Mapping[str, Field], *, base: int = 0
) -> Iterator[tuple[str, int, bytes]]:
    """Yield name of a field, value and changed bytes for each integer field and extreme value."""
    for name, field in fields.items():
        if field[1] > 8:
            continue
        for value in (*EXTREMES, (1 << 64) - 1) if field[1] == 8 else EXTREMES:
            yield name, value, set_field(data, field, value, base=base)


def reseal_record(record: bytes) -> bytes:
    """Return a record with both checksums right for what it says now.

    The payload is as long as its header says, or as there are bytes; so a changed size is seen as
    a size. A header that leaves no room for its checksums stays as it is.
    """
    stored, extra = _u32(record, 0x0C), int.from_bytes(record[0x12:0x14], "little")
    end = 0x30 + extra
    if end > len(record):
        return record
    payload = record[end : end + stored]
    head = record[: end - 16] + _u64(crc64(payload))
    return head + _u64(crc64(head)) + record[end:]


def reseal_header(header: bytes) -> bytes:
    """Return a ``Cthr``, and what follows it, with its checksum right."""
    return header[:0x38] + _u64(crc64(header[:0x38])) + header[0x40:]


def reseal_table(table: bytes) -> bytes:
    """Return an ``Rrtl``, and what follows it, with both checksums right for its count."""
    count = _u32(table, 8)
    entries = table[0x20 : 0x20 + 8 * count]
    head = table[:0x10] + _u64(crc64(entries) if entries else EMPTY_CRC)
    return head + _u64(crc64(head)) + table[0x20:]


def reseal_stub(stub: bytes) -> bytes:
    """Return a stub with the checksums of its property blocks, innermost first, and its own."""
    sealed = bytearray(stub)
    for magic in (b"DdRp", b"RbRp", b"FeRp"):
        at = sealed.find(magic)
        if at >= 0:
            length = _u32(sealed, at + 8)
            struct.pack_into("<I", sealed, at + 4, crc32(sealed[at + 8 : at + length]))
    end = len(sealed) - 4
    struct.pack_into("<I", sealed, end, crc32(sealed[8:end]))
    return bytes(sealed)


def spoil_record(
    container: Container,
    local_id: int,
    where: str | int,
    value: int | None = None,
    *,
    reseal: bool = False,
) -> int:
    """Spoil one record of a container.

    Args:
        container: The container, sealed.
        local_id: Number of the record.
        where: A field of `RECORD_FIELDS`, ``"payload"``, ``"payload_crc"``, ``"header_crc"``, or
            an offset in the record.
        value: What is put into the field; None turns all bits of one byte over.
        reseal: Make the checksums right again.

    Returns:
        Offset in the container of the byte, or first byte, that was changed.
    """
    spot = container.spots[local_id]
    record = container.record(local_id)
    end = 0x30 + int.from_bytes(record[0x12:0x14], "little")
    places = {
        **RECORD_FIELDS,
        "payload": (end, 1),
        "payload_crc": (end - 16, 8),
        "header_crc": (end - 8, 8),
        "digest": (end - 48, 32),
    }
    field = places[where] if isinstance(where, str) else (where, 1)
    changed = flip(record, field[0]) if value is None else set_field(record, field, value)
    container.image.patch(spot.offset, reseal_record(changed) if reseal else changed)
    return spot.offset + field[0]


def spoil_header(
    container: Container,
    name: str = "crc",
    value: int | None = None,
    *,
    copies: Collection[int] = (0, 1, 2),
    reseal: bool = False,
) -> None:
    """Spoil copies of the ``Cthr``; arguments as in `spoil_record`."""
    for copy in copies:
        _spoil(container, 0x1000 * copy, 0x40, CTHR_FIELDS[name], value, reseal=reseal)


def spoil_table(
    container: Container,
    name: str = "crc",
    value: int | None = None,
    *,
    primary: bool = True,
    backup: bool = False,
    reseal: bool = False,
) -> None:
    """Spoil one redirection table or both; arguments as in `spoil_record`."""
    size = container.backup_at - TABLE_AT
    for at, wanted in ((TABLE_AT, primary), (container.backup_at, backup)):
        if wanted:
            _spoil(container, at, size, RRTL_FIELDS[name], value, reseal=reseal)


def _spoil(
    container: Container, at: int, size: int, field: Field, value: int | None, *, reseal: bool
) -> None:
    data = container.image.read(at, size)
    changed = flip(data, field[0]) if value is None else set_field(data, field, value)
    if reseal:
        changed = reseal_header(changed) if size == 0x40 else reseal_table(changed)
    container.image.patch(at, changed)


def _u32(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")
