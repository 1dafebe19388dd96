"""Disk images made by hand: what no free program writes, or writes only as root."""

import random
import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anycrc
import attrs

MIB: Final = 1 << 20
SECTOR: Final = 512
BASIC: Final = uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
NO_ID: Final = uuid.UUID(int=0)
PARENT_ID: Final = uuid.UUID(int=7)
CHILD_ID: Final = uuid.UUID(int=8)
LOG_ID: Final = uuid.UUID(int=3)
PAYLOAD: Final = {"absent": 0, "undefined": 1, "zero": 2, "unmapped": 3, "full": 6, "partial": 7}

_CRC32C: Final = anycrc.Model("CRC32-ISCSI")


def disk_bytes(size: int = 4 * MIB, seed: int = 1) -> bytes:
    """Noise with two holes, so that sparse layers have something to leave out."""
    noise = bytearray(random.Random(seed).randbytes(size))
    noise[MIB : MIB + MIB // 2] = bytes(MIB // 2)
    noise[-MIB // 2 : -MIB // 4] = bytes(MIB // 4)
    return bytes(noise)


def boot_sector(name: bytes = b"NTFS    ", *, sectors: int = 8) -> bytes:
    """The parts of a boot sector that tell the file system, and the size for NTFS."""
    sector = bytearray(SECTOR)
    place = 82 if name.startswith(b"FAT32") else 3
    sector[place : place + 8] = name
    sector[11:14] = struct.pack("<HB", SECTOR, 8)
    sector[40:48] = struct.pack("<Q", sectors - 1)
    if name.startswith(b"NTFS"):
        sector[48:69] = struct.pack("<QQb3xb", 4, 2, -10, 1)  # MFT, its mirror, record sizes
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def mbr(*slots: tuple[int, int, int]) -> bytes:
    """A master boot record: type, first sector and number of sectors of each slot."""
    table = b"".join(struct.pack("<B3xB3xII", 0, *slot) for slot in slots)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


@attrs.frozen(kw_only=True)
class Slot:
    """One entry of a GPT; sectors are inclusive, as they are stored."""

    first: int
    last: int
    kind: uuid.UUID = BASIC
    name: str = ""

    def packed(self, size: int) -> bytes:
        return struct.pack(
            "<16s16sQQQ72s",
            self.kind.bytes_le,
            uuid.UUID(int=self.first).bytes_le,
            self.first,
            self.last,
            0,
            self.name.encode("utf-16-le"),
        ).ljust(size, b"\0")


def with_gpt(
    disk: bytearray, slots: Sequence[Slot | None], *, sector: int = SECTOR, entry: int = 128
) -> None:
    """Write a protective MBR and both tables into a disk."""
    last = len(disk) // sector - 1
    entries = b"".join(slot.packed(entry) if slot else bytes(entry) for slot in slots).ljust(
        128 * entry, b"\0"
    )
    length = -(-len(entries) // sector)
    disk[:SECTOR] = mbr((0xEE, 1, min(last, 0xFFFFFFFF)))
    for own, other, table in ((1, last, 2), (last, 1, last - length)):
        fields = struct.pack(
            "<8s4sII4xQQQQ16sQIII", b"EFI PART", b"\0\0\1\0", 92, 0, own, other, 2 + length,
            last - length - 1, bytes(16), table, 128, entry, zlib.crc32(entries),
        )  # fmt: skip
        fields = fields[:16] + struct.pack("<I", zlib.crc32(fields)) + fields[20:]
        disk[own * sector : own * sector + len(fields)] = fields
        disk[table * sector : table * sector + len(entries)] = entries


def _summed(block: bytes) -> bytes:
    return block[:4] + struct.pack("<I", _CRC32C.calc(block)) + block[8:]


@attrs.frozen(kw_only=True)
class Block:
    """One payload block of a VHDX: its state, its bytes, and which sectors are its own."""

    state: str
    data: bytes = b""
    own: frozenset[int] = frozenset()


@attrs.frozen(kw_only=True)
class Vhdx:
    """A VHDX file to be written, by [MS-VHDX]; blocks of 1 MiB, sectors of 512 bytes.

    Layout: headers, region tables, log at 1 MiB, metadata at 2 MiB, allocation table at 3 MiB,
    sector bitmap of the only chunk at 4 MiB, payload from 5 MiB on.
    """

    size: int
    blocks: Mapping[int, Block]
    data_id: uuid.UUID = PARENT_ID
    parent: Mapping[str, str] | None = None
    log_id: uuid.UUID = NO_ID
    log: bytes = b""
    stale: Mapping[int, bytes] = attrs.Factory(dict)
    required_item: uuid.UUID | None = None
    required_region: uuid.UUID | None = None
    bitmap: bool = True
    version: int = 1

    def bat_entry(self, block: int) -> tuple[int, bytes]:
        """Return place and bytes of the allocation table's entry of a block."""
        chosen = self.blocks.get(block)
        value = 0 if chosen is None else PAYLOAD[chosen.state]
        if chosen is not None and chosen.data:
            value |= (5 + block) << 20
        return 3 * MIB + block * 8, struct.pack("<Q", value)

    def packed(self) -> bytes:
        file = bytearray((5 + self.size // MIB) * MIB)
        file[:8] = b"vhdxfile"
        for place, sequence in ((64 << 10, 5), (128 << 10, 6)):
            file[place : place + 4096] = self._header(sequence)
        for place in (192 << 10, 256 << 10):
            file[place : place + (64 << 10)] = self._regions()
        file[MIB : MIB + len(self.log)] = self.log
        self._metadata(file)
        for block, chosen in self.blocks.items():
            place, entry = self.bat_entry(block)
            file[place : place + 8] = entry
            start = (5 + block) * MIB
            file[start : start + len(chosen.data)] = chosen.data
            for sector in chosen.own:
                bit = block * (MIB // SECTOR) + sector
                file[4 * MIB + bit // 8] |= 1 << bit % 8
        if self.bitmap:
            place = 3 * MIB + 4096 * 8
            file[place : place + 8] = struct.pack("<Q", 4 << 20 | 6)
        for place, data in self.stale.items():
            file[place : place + len(data)] = data
        return bytes(file)

    def _header(self, sequence: int) -> bytes:
        return _summed(
            struct.pack(
                "<4sIQ16s16s16sHHIQ", b"head", 0, sequence, bytes(16), self.data_id.bytes_le,
                self.log_id.bytes_le, 0, self.version, MIB, MIB,
            ).ljust(4096, b"\0")
        )  # fmt: skip

    def _regions(self) -> bytes:
        regions = [
            ("2DC27766-F623-4200-9D64-115E9BFD4A08", 3 * MIB),
            ("8B7CA206-4790-4B9A-B8FE-575F050F886E", 2 * MIB),
        ]
        rows = b"".join(
            struct.pack("<16sQII", uuid.UUID(kind).bytes_le, place, MIB, 1)
            for kind, place in regions
        )
        if self.required_region is not None:
            rows += struct.pack("<16sQII", self.required_region.bytes_le, 4 * MIB, MIB, 1)
        head = struct.pack("<4sIII", b"regi", 0, len(rows) // 32, 0)
        return _summed((head + rows).ljust(64 << 10, b"\0"))

    def _metadata(self, file: bytearray) -> None:
        flags = 2 if self.parent is not None else 0
        items = [
            ("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", struct.pack("<II", MIB, flags)),
            ("2FA54224-CD1B-4876-B211-5DBED83BF4B8", struct.pack("<Q", self.size)),
            ("8141BF1D-A96F-4709-BA47-F233A8FAAB5F", struct.pack("<I", SECTOR)),
            ("CDA348C7-445D-4471-9CC9-E9885251C556", struct.pack("<I", 4096)),
            ("BECA12AB-B2E6-4523-93EF-C309E000C746", uuid.UUID(int=9).bytes_le),
        ]
        if self.parent is not None:
            items.append(("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", self._locator(self.parent)))
        if self.required_item is not None:
            items.append((str(self.required_item), b"abcd"))
        table = struct.pack("<8sHH20x", b"metadata", 0, len(items))
        place = 64 << 10
        for kind, data in items:
            table += struct.pack("<16sIIII", uuid.UUID(kind).bytes_le, place, len(data), 4, 0)
            file[2 * MIB + place : 2 * MIB + place + len(data)] = data
            place += len(data)
        file[2 * MIB : 2 * MIB + len(table)] = table

    @staticmethod
    def _locator(pairs: Mapping[str, str]) -> bytes:
        head = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913").bytes_le
        head += struct.pack("<HH", 0, len(pairs))
        place = 20 + 12 * len(pairs)
        rows = texts = b""
        for key, value in pairs.items():
            raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le")
            rows += struct.pack("<IIHH", place, place + len(raw_key), len(raw_key), len(raw_value))
            place += len(raw_key) + len(raw_value)
            texts += raw_key + raw_value
        return head + rows + texts

    def write(self, path: Path) -> Path:
        path.write_bytes(self.packed())
        return path


@attrs.frozen(kw_only=True)
class LogEntry:
    """One entry of a VHDX log: pages to write and ranges to clear, in this order."""

    sequence: int
    tail: int
    file_size: int
    pages: Mapping[int, bytes] = attrs.Factory(dict)
    zeros: Sequence[tuple[int, int]] = ()
    log_id: uuid.UUID = LOG_ID
    row_sequence: int | None = None
    data_sequence: int | None = None

    def packed(self) -> bytes:
        number = self.sequence if self.row_sequence is None else self.row_sequence
        rows = b"".join(
            struct.pack("<4s4xQQQ", b"zero", size, place, number) for place, size in self.zeros
        )
        data = b""
        high, low = divmod(
            self.sequence if self.data_sequence is None else self.data_sequence, 1 << 32
        )
        for place, page in self.pages.items():
            rows += struct.pack("<4s4s8sQQ", b"desc", page[-4:], page[:8], place, number)
            data += struct.pack("<4sI", b"data", high) + page[8:-4] + struct.pack("<I", low)
        count = len(self.zeros) + len(self.pages)
        sectors = -(-(64 + len(rows)) // 4096)
        size = sectors * 4096 + len(data)
        head = struct.pack(
            "<4sIIIQII16sQQ", b"loge", 0, size, self.tail, self.sequence, count, 0,
            self.log_id.bytes_le, self.file_size, self.file_size,
        )  # fmt: skip
        return _summed((head + rows).ljust(sectors * 4096, b"\0") + data)
