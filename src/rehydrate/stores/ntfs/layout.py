"""Structures of NTFS that are read here and not by The Sleuth Kit, with every bound checked.

Sources: the public NTFS documentation of the Linux-NTFS project for on-disk structures, MS-FSCC
2.6 (attributes), MS-DTYP 2.4.2 and 2.4.6 (security identifiers and descriptors). All numbers are
little-endian. Every function raises :class:`~rehydrate.CorruptMetadataError` for bytes that break
the rules; the caller names the path.
"""

import struct
from collections.abc import Iterator
from typing import Final

import attrs

from rehydrate.errors import CorruptMetadataError, FormatError, UnsupportedFormatError

__all__ = [
    "ATTRIBUTE_BITMAP",
    "ATTRIBUTE_DATA",
    "ATTRIBUTE_EA",
    "ATTRIBUTE_FILE_NAME",
    "ATTRIBUTE_INDEX_ALLOCATION",
    "ATTRIBUTE_INDEX_ROOT",
    "ATTRIBUTE_REPARSE_POINT",
    "ATTRIBUTE_SECURITY_DESCRIPTOR",
    "ATTRIBUTE_STANDARD_INFORMATION",
    "ATTRIBUTE_VOLUME_NAME",
    "BOOT_SIZE",
    "COMPRESSION_UNIT",
    "DOS_NAMESPACE",
    "FIRST_USER_RECORD",
    "MIRRORED",
    "NAMESPACE_OFFSET",
    "RECORD_MAGIC",
    "RECORD_MASK",
    "RECORD_ROOT",
    "RECORD_SECURE",
    "RECORD_TABLE",
    "RECORD_UPCASE",
    "RECORD_VOLUME",
    "Boot",
    "IndexName",
    "StandardInformation",
    "block_names",
    "ea_list",
    "enlarged",
    "owner_of",
    "read_boot",
    "read_standard_information",
    "root_names",
]

ATTRIBUTE_STANDARD_INFORMATION: Final = 0x10
ATTRIBUTE_FILE_NAME: Final = 0x30
ATTRIBUTE_SECURITY_DESCRIPTOR: Final = 0x50
ATTRIBUTE_VOLUME_NAME: Final = 0x60
ATTRIBUTE_DATA: Final = 0x80
ATTRIBUTE_INDEX_ROOT: Final = 0x90
ATTRIBUTE_INDEX_ALLOCATION: Final = 0xA0
ATTRIBUTE_BITMAP: Final = 0xB0
ATTRIBUTE_REPARSE_POINT: Final = 0xC0
ATTRIBUTE_EA: Final = 0xE0
"""Types of attributes."""

RECORD_TABLE: Final = 0
RECORD_VOLUME: Final = 3
RECORD_ROOT: Final = 5
RECORD_SECURE: Final = 9
RECORD_UPCASE: Final = 10
FIRST_USER_RECORD: Final = 16
"""Records of the master file table; those below 16 belong to the file system, the root included."""
MIRRORED: Final = 4
"""Records at the start of the master file table that the volume keeps twice."""
RECORD_MAGIC: Final = b"FILE"
RECORD_MASK: Final = (1 << 48) - 1
"""A reference is a record number in 48 bits and a sequence number in the 16 above."""
COMPRESSION_UNIT: Final = 16
"""Clusters that are compressed together; NTFS writes no other number."""

DOS_NAMESPACE: Final = 2
"""A name that only is the 8.3 form of another one."""
NAMESPACE_OFFSET: Final = 65
"""Byte of a ``$FILE_NAME`` value that says its namespace."""
_NAME_OFFSET: Final = 66
_LENGTH_OFFSET: Final = 64

BOOT_SIZE: Final = 512
_BOOT = struct.Struct("<3x8sHB26xQQQb7xQ")
_LARGEST_PLAIN: Final = 0x80
"""Sectors of a cluster are 1 to 128, or, above, minus the exponent of two (over 64 KiB)."""
_REFUSED: Final = {
    b"ReFS\0\0\0\0": ("volume.refs", "ReFS volumes are not supported"),
    b"-FVE-FS-": ("volume.bitlocker", "BitLocker volumes are not supported: decrypt it first"),
}
_SECTOR_OFFSET: Final = 11
_TOTAL_OFFSET: Final = 40
_MOST_CLUSTERS: Final = 1 << 32
_SECTORS: Final = (256, 512, 1024, 2048, 4096)
_MAX_CLUSTER: Final = 2 << 20
_MAX_RECORD: Final = 64 << 10

_STANDARD = struct.Struct("<QQQQI")
_SECURITY_ID_OFFSET: Final = 52
_NORMAL: Final = 0x80
"""FILE_ATTRIBUTE_NORMAL: what Windows says of a file without any attribute (MS-FSCC 2.6)."""
_KNOWN_BITS: Final = 0x0FFFFFFF
"""The bits above are NTFS's own marks of directories and view indexes."""

_INDEX_ROOT = struct.Struct("<III4x")
_INDEX_HEADER = struct.Struct("<III")
_INDEX_ENTRY = struct.Struct("<QHHH2x")
_ENTRY_LAST: Final = 2
_BLOCK = struct.Struct("<4sHH8xQ")
_FIX_STRIDE: Final = 512

_EA = struct.Struct("<IxBH")
_DESCRIPTOR = struct.Struct("<BxHIIII")
_SID_HEAD: Final = 8
_MAX_SUB_AUTHORITIES: Final = 15


@attrs.frozen(kw_only=True)
class Boot:
    """The boot sector of an NTFS volume.

    Attributes:
        sector: Bytes of a sector.
        cluster: Bytes of a cluster.
        record: Bytes of a record of the master file table.
        table: Where the master file table begins, in bytes.
        mirror: Where the copy of its first four records lies, in bytes.
        size: Bytes of the volume, without the copy of the boot sector behind it.
        serial: Serial number of the volume.
    """

    sector: int
    cluster: int
    record: int
    table: int
    mirror: int
    size: int
    serial: int


@attrs.frozen
class StandardInformation:
    """``$STANDARD_INFORMATION`` of a file.

    Attributes:
        created: FILETIME, as the next three.
        modified: Last write.
        changed: Last change of metadata.
        accessed: Last access.
        attributes: File attributes; FILE_ATTRIBUTE_NORMAL where none is set.
        security: Key of the security descriptor in ``$Secure``; 0 = it is not there.
    """

    created: int
    modified: int
    changed: int
    accessed: int
    attributes: int
    security: int


@attrs.frozen
class IndexName:
    """One name in a directory.

    Attributes:
        name: The name, unpaired surrogates kept.
        record: Number of its record.
        sequence: How often that record was used, 0 = not said.
    """

    name: str
    record: int
    sequence: int


def read_boot(sector: bytes) -> Boot:
    """Read a boot sector.

    Args:
        sector: The first 512 bytes of a volume.

    Raises:
        UnsupportedFormatError: Another file system, named where it is known.
        CorruptMetadataError: It says NTFS and makes no sense.
    """
    if len(sector) < BOOT_SIZE:
        raise UnsupportedFormatError("too short for a volume", code="volume.file-system")
    name, sector_size, sectors, total, table, mirror, records, serial = _BOOT.unpack_from(sector)
    if name in _REFUSED:
        code, message = _REFUSED[name]
        raise UnsupportedFormatError(message, code=code)
    if name != b"NTFS    ":
        raise UnsupportedFormatError("no NTFS volume", code="volume.file-system")
    per_cluster = sectors if sectors <= _LARGEST_PLAIN else 1 << (256 - sectors)
    cluster = sector_size * per_cluster
    # clusters, or, below 0, minus the exponent of two
    record = records * cluster if records > 0 else 1 << -records
    if (
        sector_size not in _SECTORS
        or per_cluster & (per_cluster - 1)
        or not 0 < cluster <= _MAX_CLUSTER
        or not 0 < total < 1 << 54
        or not _FIX_STRIDE <= record <= _MAX_RECORD
    ):
        raise CorruptMetadataError("the boot sector is damaged", code="volume.damaged")
    return Boot(
        sector=sector_size,
        cluster=cluster,
        record=record,
        table=table * cluster,
        mirror=mirror * cluster,
        size=total * sector_size,
        serial=serial,
    )


def enlarged(sector: bytes, boot: Boot) -> bytes:
    """Return a boot sector that claims the largest volume that NTFS can have.

    The Sleuth Kit refuses holes that are longer than the volume. A deduplicated file has such
    holes as soon as it is larger than the volume that it needs no room on. It refuses clusters of
    more than 128 sectors, too, so larger sectors are claimed for these; nothing else is counted in
    sectors.

    Args:
        sector: The boot sector.
        boot: What it says.
    """
    size = max(boot.sector, boot.cluster // _LARGEST_PLAIN)
    sectors = max(boot.size, _MOST_CLUSTERS * boot.cluster) // size
    changed = bytearray(sector)
    struct.pack_into("<HB", changed, _SECTOR_OFFSET, size, boot.cluster // size)
    struct.pack_into("<Q", changed, _TOTAL_OFFSET, sectors)
    return bytes(changed)


def read_standard_information(value: bytes) -> StandardInformation:
    """Read ``$STANDARD_INFORMATION``; old volumes have 48 bytes of it, newer ones 72.

    Args:
        value: The value of the attribute.

    Raises:
        CorruptMetadataError: It is too short.
    """
    if len(value) < _STANDARD.size:
        raise CorruptMetadataError("the standard information is too short")
    created, modified, changed, accessed, attributes = _STANDARD.unpack_from(value)
    security = 0
    if len(value) >= _SECURITY_ID_OFFSET + 4:
        security = int.from_bytes(value[_SECURITY_ID_OFFSET : _SECURITY_ID_OFFSET + 4], "little")
    return StandardInformation(
        created, modified, changed, accessed, attributes & _KNOWN_BITS or _NORMAL, security
    )


def root_names(value: bytes, directory: int) -> tuple[int, list[IndexName]]:
    """Read ``$INDEX_ROOT`` of a directory.

    Args:
        value: The value of the attribute.
        directory: Number of the directory's record, which every name must point back to.

    Returns:
        Bytes of each block of ``$INDEX_ALLOCATION``, and the names in the root itself.

    Raises:
        CorruptMetadataError: It is no index of names, or an entry leaves it.
    """
    if len(value) < _INDEX_ROOT.size + _INDEX_HEADER.size:
        raise CorruptMetadataError("the index root is too short")
    kind, _order, block = _INDEX_ROOT.unpack_from(value)
    if kind != ATTRIBUTE_FILE_NAME or block & (block - 1) or not _FIX_STRIDE <= block <= 1 << 20:
        raise CorruptMetadataError("the index root is damaged")
    return block, list(_names(value, _INDEX_ROOT.size, directory))


def block_names(block: bytes, directory: int) -> list[IndexName]:
    """Read one block of ``$INDEX_ALLOCATION``.

    Args:
        block: The whole block as it is on disk.
        directory: Number of the directory's record.

    Raises:
        CorruptMetadataError: The block was not written completely, or an entry leaves it.
    """
    magic, fix_offset, fix_count, _vcn = _BLOCK.unpack_from(block)
    pieces = fix_count - 1
    if magic != b"INDX" or pieces < 1 or len(block) % pieces:
        raise CorruptMetadataError("an index block is damaged")
    stride = len(block) // pieces
    fixes = block[fix_offset : fix_offset + 2 * fix_count]
    if stride % _FIX_STRIDE or len(fixes) != 2 * fix_count:
        raise CorruptMetadataError("an index block is damaged")
    fixed = bytearray(block)
    for piece in range(1, fix_count):
        end = piece * stride
        if fixed[end - 2 : end] != fixes[:2]:
            raise CorruptMetadataError("an index block was not written completely")
        fixed[end - 2 : end] = fixes[2 * piece : 2 * piece + 2]
    return list(_names(bytes(fixed), _BLOCK.size, directory))


def _names(node: bytes, header: int, directory: int) -> Iterator[IndexName]:
    first, total, _allocated = _INDEX_HEADER.unpack_from(node, header)
    position, end = header + first, header + total
    if end > len(node):
        raise CorruptMetadataError("an index leaves its block")
    while position + _INDEX_ENTRY.size <= end:
        reference, length, key_length, flags = _INDEX_ENTRY.unpack_from(node, position)
        if flags & _ENTRY_LAST:
            return
        key = node[position + _INDEX_ENTRY.size : position + _INDEX_ENTRY.size + key_length]
        if length < _INDEX_ENTRY.size + key_length or position + length > end:
            raise CorruptMetadataError("an index entry leaves its block")
        name = _name(key, directory)
        if key[NAMESPACE_OFFSET] != DOS_NAMESPACE:
            yield IndexName(name, reference & RECORD_MASK, reference >> 48)
        position += length
    raise CorruptMetadataError("an index has no end")


def _name(key: bytes, directory: int) -> str:
    if len(key) < _NAME_OFFSET or len(key) < _NAME_OFFSET + 2 * key[_LENGTH_OFFSET]:
        raise CorruptMetadataError("an index entry is too short for its name")
    if int.from_bytes(key[:6], "little") != directory:
        raise CorruptMetadataError("an index entry belongs to another directory")
    raw = key[_NAME_OFFSET : _NAME_OFFSET + 2 * key[_LENGTH_OFFSET]]
    return raw.decode("utf-16-le", "surrogatepass")


def ea_list(value: bytes) -> bytes:
    """Return the value of ``$EA`` as a FILE_FULL_EA_INFORMATION list (MS-FSCC 2.4.16).

    On disk the last item may give its own length as the way to the next; in a list that is 0.

    Args:
        value: The value of the attribute.

    Raises:
        CorruptMetadataError: An item leaves the value.
    """
    position = 0
    while True:
        if position + _EA.size > len(value):
            raise CorruptMetadataError("the extended attributes are damaged")
        step, name_length, value_length = _EA.unpack_from(value, position)
        needed = _EA.size + name_length + 1 + value_length
        if position + needed > len(value) or 0 < step < needed:
            raise CorruptMetadataError("the extended attributes are damaged")
        if not step or position + step >= len(value):
            return value[:position] + bytes(4) + value[position + 4 :]
        position += step


def owner_of(descriptor: bytes) -> str | None:
    """Return the owner of a self-relative security descriptor as SID text.

    Args:
        descriptor: The descriptor (MS-DTYP 2.4.6).

    Returns:
        Such as ``S-1-5-32-544``; ``None`` = the descriptor names no owner.

    Raises:
        FormatError: The descriptor is damaged.
    """
    if len(descriptor) < _DESCRIPTOR.size or descriptor[0] != 1:
        raise FormatError("a security descriptor is damaged")
    offset = _DESCRIPTOR.unpack_from(descriptor)[2]
    if not offset:
        return None
    sid = descriptor[offset : offset + _SID_HEAD + 4 * _MAX_SUB_AUTHORITIES]
    count = sid[1] if len(sid) >= _SID_HEAD else 0
    if not 0 < count <= _MAX_SUB_AUTHORITIES or sid[0] != 1 or len(sid) < _SID_HEAD + 4 * count:
        raise FormatError("a security identifier is damaged")
    authority = int.from_bytes(sid[2:_SID_HEAD], "big")
    parts = struct.unpack_from(f"<{count}I", sid, _SID_HEAD)
    first = str(authority) if authority < 1 << 32 else f"0x{authority:012X}"
    return "-".join(["S-1", first, *map(str, parts)])
