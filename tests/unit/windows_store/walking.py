"""An own small reader of generated stores, by the page on the format: walk, check, resolve."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.windows_store.encoders import encode
from tests.windows_store.store import File
from tests.windows_store.structures import crc64, digest_of

EXTENSIONS = {1: 0x28, 2: 0x38, 3: 0x28, 4: 0}
Containers = Mapping[tuple[int, int], bytes]


class Walked(NamedTuple):
    """A record whose two checksums are right."""

    offset: int
    local_id: int
    kind: int
    extension: bytes
    payload: bytes


def u32(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value


def u64(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<Q", data, at)[0]
    return value


def record_at(data: bytes, offset: int) -> Walked:
    assert data[offset : offset + 8] == b"Ckhr\x01\x03\x03\x01", hex(offset)
    local_id, size, kind, extra, *eights = struct.unpack_from("<IIHH3I", data, offset + 8)
    assert eights == [8, 8, 8]
    assert extra == EXTENSIONS.get(kind), hex(offset)
    end = offset + 0x30 + extra
    payload = data[end : end + size]
    assert len(payload) == size
    assert u64(data, end - 16) == crc64(payload)
    assert u64(data, end - 8) == crc64(data[offset : end - 8])
    return Walked(offset, local_id, kind, data[offset + 0x20 : end - 16], payload)


def newest_header(data: bytes) -> bytes:
    copies = [data[at : at + 0x40] for at in (0, 0x1000, 0x2000)]
    for at, copy in zip((0, 0x1000, 0x2000), copies, strict=True):
        assert copy[:8] == b"Cthr\x01\x04\x04\x01"
        assert u64(copy, 0x38) == crc64(copy[:0x38])
        assert not any(data[at + 0x40 : at + 0x1000])
    assert u64(copies[0], 8) <= u64(copies[1], 8)
    return copies[1]


def table_of(data: bytes) -> dict[int, int]:
    """Return the redirection table; both copies are equal and their checksums right."""
    backup = u32(newest_header(data), 0x30)
    size = backup - 0x3000
    table = data[0x3000:backup]
    assert table == data[backup : backup + size]
    assert table[:8] == b"Rrtl\x01\x03\x03\x01"
    count, width, checksum = struct.unpack_from("<IIQ", table, 8)
    end = 0x20 + 8 * count
    assert width == 8
    assert checksum == crc64(table[0x20:end])
    assert u64(table, 0x18) == crc64(table[:0x18])
    assert not any(table[end:])
    entries = list(struct.iter_unpack("<II", table[0x20:end]))
    assert entries == sorted(entries)
    return dict(entries)


def walk(data: bytes) -> Iterator[Walked]:
    """Walk a container from behind its tables up to its valid length, checking all on the way."""
    head = newest_header(data)
    valid, at = u32(head, 0x20), 2 * u32(head, 0x30) - 0x3000
    assert valid % 4096 == 0
    assert valid <= len(data)
    found, highest = 0, 0
    while at < valid:
        record = record_at(data, at)
        yield record
        found += record.kind != 4
        highest = max(highest, record.local_id)
        end = at + 0x30 + len(record.extension) + len(record.payload)
        at = -(-end // 8) * 8
        assert not any(data[end:at])
    assert at == valid
    assert found == u32(head, 0x18)
    assert highest < u32(head, 0x1C)
    assert not any(data[valid:])


def containers_of(mapping: Mapping[str, bytes], folder: str) -> dict[tuple[int, int], bytes]:
    """Return the containers of a folder by id and generation, all of them walked."""
    found = {}
    for path, data in mapping.items():
        *_, where, name = path.split("/")
        if where == folder and len(name) == 21:
            number, generation = int(name[:8], 16), int(name[9:17], 16)
            assert struct.unpack_from("<II", newest_header(data), 0x10) == (number, generation)
            assert len({record.local_id for record in walk(data) if record.local_id}) == u32(
                newest_header(data), 0x18
            )
            found[number, generation] = data
    return found


def resolve(containers: Containers, reference: bytes, digest: bytes) -> tuple[Walked, bool]:
    """Return the record of a 16-byte reference, and whether its hint was right."""
    local_id, container, offset, generation = struct.unpack("<4I", reference)
    if (container, generation) not in containers:
        generation = max(g for c, g in containers if c == container)
    data = containers[container, generation]
    direct = data[offset : offset + 4] == b"Ckhr" and u32(data, offset + 8) == local_id
    if not direct:
        offset = table_of(data)[local_id]
    found = record_at(data, offset)
    assert found.local_id == local_id
    assert found.extension[-32:][: len(digest)] == digest
    return found, direct


def infos_of(stub: bytes) -> list[bytes]:
    """Return the stream map infos of a stub, found by its rows or its element tables."""
    major = stub[8]
    if major == 1:
        at, size = struct.unpack_from("<HH", stub, 0x30)
        found = stub[at : at + size]
    elif major == 2:
        size, at = struct.unpack_from("<HH", stub, 0x10 + 8 * 8 + 4)
        found = stub[8 + at : 8 + at + size]
    else:
        found = value_of(value_of(stub[0x0C:-4], 8), 2)
    return [found[at : at + 64] for at in range(0, len(found), 64)]


def value_of(block: bytes, index: int) -> bytes:
    """Return the value of an element of a property block."""
    size, at = struct.unpack_from("<HI", block, 0x10 + 8 * index + 2)
    return block[at : at + size]


class Resolved(NamedTuple):
    """How many references of a file were right as they are, and how many were stale."""

    direct: int
    stale: int


def restored(mapping: Mapping[str, bytes], file: File) -> Resolved:
    """Resolve a file from its stub down to stored bytes, and compare each with its data."""
    streams, containers = containers_of(mapping, "Stream"), containers_of(mapping, "Data")
    end, hits = 0, []
    for info in infos_of(file.stub):
        wanted = info[0x20:] if file.stub[8] == 1 else info[0x20:0x30]
        stream, direct = resolve(streams, info[:16], wanted)
        hits.append(direct)
        assert len(stream.payload) == u32(info, 0x18)
        assert stream.payload[:8] == b"Smap\x01\x04\x04\x01"
        if file.stub[8] != 1:
            assert u64(info, 0x38) == end
        for at in range(8, len(stream.payload), 64):
            entry = stream.payload[at : at + 64]
            begin, end = end, u64(entry, 0x10)
            record, direct = resolve(containers, entry[:16], entry[0x18:0x38])
            hits.append(direct)
            assert len(record.payload) == u32(entry, 0x38)
            piece = file.data[begin:end]
            method = u32(record.extension, 0)
            assert record.payload == (encode(method, piece) if method else piece)
            assert record.extension[8:] == digest_of(piece)
        if file.stub[8] != 1:
            assert u64(info, 0x30) == end
    assert end == file.size
    return Resolved(hits.count(True), hits.count(False))
