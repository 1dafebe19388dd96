"""Makes the NTFS volume that the tests read, and finds places in it to spoil."""

import os
import random
import struct
from pathlib import Path
from typing import Final

import attrs

from rehydrate.errors import StoreReadError
from rehydrate.stores.ntfs import NtfsVolume
from rehydrate.stores.volume import VolumeEntry
from tests.windows_store.volume import Entry, ntfs_image, ntfs_mounted

STORE: Final = "12345678-1234-1234-1234-123456789abc"
FOLDER: Final = "System Volume Information/Dedup/ChunkStore/{%s}.ddp"
TIMES: Final = (132223104000000001, 132223104012345672, 132223104000000013, 0)
RECORD: Final = 1024
SIZE: Final = 32 << 20
MANY: Final = 2000
SETTING: Final = b"<x/>" * 500
DEPTH: Final = 400
SID: Final = struct.pack("<BB6s5I", 1, 5, b"\0\0\0\0\0\x05", 21, 1, 2, 3, 1105)
DESCRIPTOR: Final = (
    struct.pack("<BBHIIII", 1, 0, 0x8004, 20, 48, 0, 76)
    + SID
    + SID
    + struct.pack("<BBHHH", 2, 0, 16 + len(SID), 1, 0)
    + struct.pack("<BBHI", 0, 3, 8 + len(SID), 0x1F01FF)
    + SID
)
PIECES: Final = ((0, 9000), (70_000, 9000), ((3 << 30) + 5, 9000), ((9 << 30) + 100, 5))
"""What is written into a sparse file of 10 GiB."""
HUGE: Final = 10 << 30


@attrs.define
class MemorySource:
    """A source in memory that can be changed between reads."""

    data: bytearray = attrs.field(converter=bytearray)
    closed: bool = False
    broken: range = range(0)

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(self.data)
        if self.broken and offset < self.broken.stop and offset + size > self.broken.start:
            raise StoreReadError("the disk is broken", offset=offset, length=size)
        return bytes(self.data[offset : offset + size])

    def close(self) -> None:
        self.closed = True


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def reparse(size: int) -> bytes:
    return struct.pack("<IHH", 0x80000013, size, 0) + noise(size, size)


def extended_attribute(name: bytes, value: bytes) -> bytes:
    """One item as it is on disk, where the last one, too, says how long it is."""
    item = struct.pack("<BBH", 0, len(name), len(value)) + name + b"\0" + value
    item += bytes(-len(item) % 4)
    return struct.pack("<I", len(item) + 4) + item


EXTENDED: Final = extended_attribute(b"ONE", b"abc") + extended_attribute(b"SECOND", b"defgh")
COMPRESSIBLE: Final = b"abcdefgh" * 100_000 + noise(3, 100_000) + bytes(200_000)


def tree() -> list[Entry]:
    folder = FOLDER % STORE.upper()
    other = FOLDER % "00000000-0000-0000-0000-00000000000a"
    return [
        Entry("attributes.txt", data=b"secret", attributes=0x26, times=TIMES),
        Entry("big.bin", data=noise(1, 300_000), streams={"small": b"s", "large": bytes(9000)}),
        Entry("Docs/stub resident", reparse=reparse(120)),
        Entry("Docs/stub.d/stub non-resident", reparse=reparse(3000)),
        Entry("Docs/stub.txt", data=b"after its neighbour"),
        Entry("Docs/empty"),
        Entry("link two", link_to="big.bin"),
        Entry("Docs/link three", link_to="big.bin"),
        Entry(f"{folder}/Data/00000001.00000001.ccc", data=noise(4, 200_000)),
        Entry(f"{folder}/Stream/00010000.00000002.ccc", data=noise(5, 5000)),
        Entry(f"{folder}/stamp.dat", data=b""),
        Entry(f"{other}/Data", directory=True),
        Entry("System Volume Information/Dedup/ChunkStore/readme.txt", data=b"no store"),
        Entry("System Volume Information/Dedup/ChunkStore/{12}.ddp", directory=True),
        Entry(f"System Volume Information/Dedup/ChunkStore/{{{'-' * 36}}}.ddp", directory=True),
        Entry("System Volume Information/Dedup/Settings/dedupConfig.01.xml", data=SETTING),
        Entry("System Volume Information/Dedup/Settings/Deep", directory=True),
        Entry("System Volume Information/Dedup/Settings/big.xml", data=bytes((1 << 20) + 1)),
    ]


def make_image(path: Path) -> None:
    """Make the volume.

    Raises:
        NeedsNtfs: That cannot be done here.
    """
    ntfs_image(path, tree(), size=SIZE, label="Vol \xdc")
    with ntfs_mounted(path, "compression") as root:
        (root / "many").mkdir()
        for number in range(MANY):
            (root / "many" / f"file number {number}").write_bytes(bytes([number & 255]))
        _sparse(root / "huge", HUGE, {at: noise(at & 255, size) for at, size in PIECES})
        container = root / (FOLDER % STORE.upper()) / "Data" / "00000002.00000001.ccc"
        _sparse(container, HUGE, {at: noise(at & 255, size) for at, size in PIECES})
        _sparse(root / "holes only", 1 << 30, {})
        _sparse(root / "in pieces", 16 << 20, {at << 13: b"%4096d" % at for at in range(1500)})
        (root / "packed").mkdir()
        _set(root / "packed", "attrib", struct.pack("<I", 0x810))
        (root / "packed" / "text").write_bytes(COMPRESSIBLE)
        for name in (b"\xed\xb1\x81 alone", "\U0001f600 \u00e9.txt".encode(), b"cafe^"):
            Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
        _set(root / "big.bin", "ea", EXTENDED)
        _set(root / "attributes.txt", "acl", DESCRIPTOR)
        (root / "a name with a short one.txt").write_bytes(b"")
        _set(root / "a name with a short one.txt", "dos_name", b"ANAMEW~1.TXT")
        (root / "named").mkdir()
        (root / "named" / "first").write_bytes(b"x")
        for number in range(60):
            (root / "named" / f"{number:0100}").hardlink_to(root / "named" / "first")
        _deep(root / "deep")
        (root / "gone").write_bytes(b"")
        (root / "gone").unlink()


def _deep(path: Path) -> None:
    path.mkdir()
    above = os.open(path, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=above)
        below = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)


def _sparse(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    with path.open("wb") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def _set(path: Path, name: str, value: bytes) -> None:
    os.setxattr(path, f"system.ntfs_{name}", value)


def opened(data: "bytes | bytearray | MemorySource") -> NtfsVolume:
    source = data if isinstance(data, MemorySource) else MemorySource(data)
    return NtfsVolume(source, described="test image")


def listed(volume: NtfsVolume, *prefixes: bytes) -> dict[bytes, VolumeEntry]:
    return {entry.path: entry for entry in volume.entries(prefixes)}


def record_at(data: bytes | bytearray, number: int) -> int:
    """Offset of a record; the master file table is in one piece."""
    return int.from_bytes(data[48:56], "little") * 4096 + number * RECORD


def attribute_at(data: bytes | bytearray, number: int, kind: int, named: str = "") -> int:
    """Offset of an attribute of a record, its header included."""
    start = record_at(data, number)
    position = start + int.from_bytes(data[start + 20 : start + 22], "little")
    while True:
        found, length, _resident, name_length, name_at = struct.unpack_from(
            "<IIBBH", data, position
        )
        assert found != 0xFFFFFFFF, "no such attribute"
        name = bytes(data[position + name_at : position + name_at + 2 * name_length])
        if found == kind and name.decode("utf-16-le") == named:
            return position
        position += length
