"""Structures that are read here, from bytes made by hand."""

import struct

import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    FormatError,
    RestoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.ntfs.layout import (
    IndexName,
    block_names,
    ea_list,
    owner_of,
    read_boot,
    read_standard_information,
    root_names,
)
from rehydrate.stores.ntfs.security import SecurityTable
from tests.unit.stores.ntfs.images import DESCRIPTOR, EXTENDED, opened


def boot(
    name: bytes = b"NTFS    ",
    /,
    *,
    sector: int = 512,
    cluster: int = 8,
    total: int = 1 << 20,
    record: int = -10,
) -> bytes:
    head = b"\xeb\x52\x90" + name + struct.pack("<HB", sector, cluster)
    return head.ljust(40, b"\0") + struct.pack("<QQQb", total, 4, 2, record).ljust(472, b"\0")


def entry(name: str, *, record: int = 70, parent: int = 5, space: int = 1, last: int = 0) -> bytes:
    raw = name.encode("utf-16-le", "surrogatepass")
    key = (
        struct.pack("<Q", parent | 3 << 48) + bytes(56) + bytes((len(raw) // 2, space)) + raw
    ) * (not last)
    length = 16 + len(key) + -len(key) % 8
    return (struct.pack("<QHHH2x", record | 9 << 48, length, len(key), last) + key).ljust(
        length, b"\0"
    )


END = entry("", last=2)


def root(*entries: bytes, kind: int = 0x30, block: int = 4096) -> bytes:
    rows = b"".join(entries)
    header = struct.pack("<IIII", 16, 16 + len(rows), 16 + len(rows), 0)
    return struct.pack("<III4x", kind, 1, block) + header + rows


def block(*entries: bytes, size: int = 1024) -> bytes:
    rows = b"".join(entries)
    data = bytearray(b"INDX" + struct.pack("<HH8xQ", 40, size // 512 + 1, 0))
    data += struct.pack("<IIII", 24, 24 + len(rows), size - 24, 0) + bytes(8) + rows
    data += bytes(size - len(data))
    data[40:42] = b"\x07\x00"
    for number, end in enumerate(range(512, size + 1, 512), 1):
        data[40 + 2 * number : 42 + 2 * number] = data[end - 2 : end]
        data[end - 2 : end] = b"\x07\x00"
    return bytes(data)


@pytest.mark.parametrize(
    ("cluster", "expected"), [(1, 512), (128, 65536), (0xF8, 128 << 10), (0xF4, 2 << 20)]
)
def test_clusters_up_to_2_mib_are_told(cluster: int, expected: int) -> None:
    assert read_boot(boot(cluster=cluster)).cluster == expected


@pytest.mark.parametrize(("field", "expected"), [(0xF6, 1024), (0xF4, 4096), (2, 8192)])
def test_records_are_counted_in_clusters_or_as_a_power_of_two(field: int, expected: int) -> None:
    sector = boot()
    assert read_boot(sector[:64] + bytes((field,)) + sector[65:]).record == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"sector": 0},
        {"sector": 513},
        {"cluster": 0},
        {"cluster": 3},
        {"cluster": 0x81},
        {"cluster": 0xF3},
        {"total": 0},
        {"total": 1 << 60},
        {"record": 0},
        {"record": -63},
        {"record": 127},
    ],
    ids=str,
)
def test_a_boot_sector_without_sense_is_damaged(changed: dict[str, int]) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        read_boot(boot(**changed))
    assert caught.value.code == "volume.damaged"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (b"ReFS\0\0\0\0", "volume.refs", "ReFS volumes are not supported"),
        (b"-FVE-FS-", "volume.bitlocker", "BitLocker"),
        (b"EXFAT   ", "volume.file-system", "no NTFS"),
        (b"\0" * 8, "volume.file-system", "no NTFS"),
    ],
)
def test_other_volumes_are_refused_by_name(name: bytes, code: str, message: str) -> None:
    sector = boot(name)[:510] + b"\x55\xaa"
    with pytest.raises(UnsupportedFormatError, match=f"test image: .*{message}") as caught:
        opened(sector + bytes(8192))
    assert caught.value.code == code


def test_a_short_sector_is_no_volume() -> None:
    with pytest.raises(UnsupportedFormatError, match="too short"):
        read_boot(boot()[:511])


@pytest.mark.parametrize("size", [0, 100, 512, 5000])
def test_a_source_without_a_volume_is_refused(size: int) -> None:
    with pytest.raises(UnsupportedFormatError, match="test image") as caught:
        opened(bytes(size))
    assert caught.value.code == "volume.file-system"


def test_standard_information_of_old_and_new_volumes() -> None:
    old = struct.pack("<QQQQI", 1, 2, 3, 4, 0) + bytes(12)
    found = read_standard_information(old)
    assert (found.created, found.modified, found.changed, found.accessed) == (1, 2, 3, 4)
    assert (found.attributes, found.security) == (0x80, 0)
    new = read_standard_information(old[:32] + struct.pack("<I16xI16x", 0x10000020, 257))
    assert (new.attributes, new.security) == (0x20, 257)
    with pytest.raises(CorruptMetadataError):
        read_standard_information(old[:35])


def test_names_of_roots_and_blocks_without_short_ones() -> None:
    rows = (entry("a\udc41"), entry("SHORT~1", space=2), entry("\U0001f600", record=71), END)
    expected = [IndexName("a\udc41", 70, 9), IndexName("\U0001f600", 71, 9)]
    assert root_names(root(*rows), 5) == (4096, expected)
    assert block_names(block(*rows), 5) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(root(END, kind=0x60), id="another index"),
        pytest.param(root(END, block=4095), id="block size"),
        pytest.param(root(END)[:-4], id="cut"),
        pytest.param(root(entry("a")), id="no end"),
        pytest.param(root(entry("a", parent=6), END), id="another directory"),
        pytest.param(root(entry("abc")[:80] + b"\xff" + entry("abc")[81:], END), id="key ends"),
        pytest.param(root(b"\0" * 16, END), id="no length"),
        pytest.param(root(struct.pack("<QHHH2x", 70, 16, 0, 0), END), id="no key"),
        pytest.param(root(b"\0" * 8 + b"\xff\xff" + entry("a")[10:], END), id="length"),
    ],
)
def test_damaged_roots_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        root_names(value, 5)


def test_each_byte_of_an_index_may_be_anything() -> None:
    whole, row = block(entry("abc"), END), root(entry("abc"), END)
    for position in range(130):
        for value in (0, 1, 0x7F, 0xFF):
            for data, read in ((whole, block_names), (row, root_names)):
                changed = bytearray(data)
                changed[position % len(data)] = value
                try:
                    read(bytes(changed), 5)
                except CorruptMetadataError:
                    continue


@pytest.mark.parametrize(("position", "value"), [(0, 0), (6, 1), (6, 4), (510, 1), (4, 255)])
def test_blocks_that_were_not_written_completely_are_refused(position: int, value: int) -> None:
    data = bytearray(block(END))
    data[position] = value
    with pytest.raises(CorruptMetadataError):
        block_names(bytes(data), 5)


def test_extended_attributes_end_with_no_next_one() -> None:
    assert ea_list(EXTENDED)[16:20] == bytes(4)
    assert ea_list(ea_list(EXTENDED)) == ea_list(EXTENDED)


@pytest.mark.parametrize(
    "value",
    [b"", b"1234567", EXTENDED[:-12], b"\x05" + EXTENDED[1:], EXTENDED[:16] + b"\0" * 7],
)
def test_damaged_extended_attributes_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        ea_list(value)


def test_owners_as_text() -> None:
    assert owner_of(DESCRIPTOR) == "S-1-5-21-1-2-3-1105"
    assert owner_of(DESCRIPTOR[:4] + bytes(4) + DESCRIPTOR[8:]) is None
    large = bytearray(DESCRIPTOR)
    large[22:28] = b"\x01\x00\x00\x00\x00\x05"
    assert owner_of(bytes(large)) == "S-1-0x010000000005-21-1-2-3-1105"


@pytest.mark.parametrize(
    ("position", "value"), [(0, 2), (4, 255), (5, 1), (20, 2), (21, 0), (21, 16), (4, 90)]
)
def test_damaged_descriptors_are_refused(position: int, value: int) -> None:
    data = bytearray(DESCRIPTOR)
    data[position] = value
    with pytest.raises(FormatError):
        owner_of(bytes(data))
    with pytest.raises(FormatError):
        owner_of(b"\1")


def hashed(descriptor: bytes) -> int:
    value = 0
    for (word,) in struct.iter_unpack("<I", descriptor):
        value = (word + (value << 3 | value >> 29)) & 0xFFFFFFFF
    return value


BLOCK = 256 << 10


def secured(*descriptors: bytes) -> bytearray:
    data = bytearray()
    for key, descriptor in enumerate(descriptors, 256):
        head = struct.pack("<IIQI", hashed(descriptor), key, len(data), 20 + len(descriptor))
        data += head + descriptor
        data += bytes(-len(data) % 16)
    return data.ljust(BLOCK, b"\0") + data


def table(data: bytes | bytearray, broken: range = range(0)) -> SecurityTable:
    def read(offset: int, size: int) -> bytes:
        if offset in broken or offset + size > len(data):
            raise StoreReadError("broken")
        return bytes(data[offset : offset + size])

    return SecurityTable(read, len(data))


def test_descriptors_are_found_by_key() -> None:
    found = table(secured(DESCRIPTOR, DESCRIPTOR[:72]))
    assert found.descriptor(256) == DESCRIPTOR
    assert found.descriptor(257) == DESCRIPTOR[:72]
    assert found.owner(256) == found.owner(256) == "S-1-5-21-1-2-3-1105"
    assert found.descriptor(258) is None
    assert found.owner(258) is None


@pytest.mark.parametrize("position", [0, 4, 8, 16, 19, 40])
def test_a_damaged_descriptor_is_taken_from_its_copy(position: int) -> None:
    data = secured(DESCRIPTOR, DESCRIPTOR[:72])
    data[position] ^= 0x81
    found = table(data)
    assert (found.descriptor(256), found.descriptor(257)) == (DESCRIPTOR, DESCRIPTOR[:72])


def test_descriptors_without_a_good_copy_are_none() -> None:
    data = secured(DESCRIPTOR, b"\1" * 24)
    data[40] ^= 1
    data[BLOCK + 40] ^= 1
    assert table(data).descriptor(256) is None
    assert table(data).owner(257) is None
    lost = secured(DESCRIPTOR, DESCRIPTOR[:72])
    found = table(lost)
    assert found.descriptor(257)
    lost.clear()
    assert found.descriptor(256) is None
    assert table(secured(DESCRIPTOR), range(BLOCK)).descriptor(256) == DESCRIPTOR
    with pytest.raises(RestoreError):
        table(secured(DESCRIPTOR))._read(1 << 40, 5)


def test_few_descriptors_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehydrate.stores.ntfs.security._CACHED", 1)
    found = table(secured(DESCRIPTOR, DESCRIPTOR[:72]))
    for key in (256, 257, 256):
        assert found.descriptor(key)
        assert list(found._descriptors) == [key]
