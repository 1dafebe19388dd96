"""Reads Windows stores with nothing but a standard library, written from the format page alone.

It takes containers by their store paths, whole and in memory, and checks all that the page says can
be checked. Chunks are plain or XPRESS.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

Containers = Mapping[str, bytes]
STORES = "System Volume Information/Dedup/ChunkStore"
NAME = re.compile("([0-9a-f]{8})[.]([0-9a-f]{8})[.]ccc", re.IGNORECASE)


class Ref(NamedTuple):
    local_id: int
    container: int
    offset: int
    generation: int
    stored: int
    digest: bytes
    begin: int
    end: int


class Stub(NamedTuple):
    store: UUID
    size: int
    parts: list[Ref]


def need(claim: object, what: str) -> None:
    if not claim:
        raise ValueError(what)


def crc64(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
    return value ^ 0xFFFFFFFFFFFFFFFF


def head(data: bytes, magic: bytes) -> None:
    need(data[:4] == magic and data[4] == 1, f"no {magic.decode()} of major version 1")


def read_stub(stub: bytes) -> Stub:
    tag, length, _, major, minor, again = struct.unpack_from("<IHHBBH", stub)
    need(tag == 0x80000013 and length == again, "the frame of a stub")
    body = stub[: 4 + length]
    need(zlib.crc32(body[8:]) == struct.unpack_from("<I", stub, 4 + length)[0], "CRC-32")
    if (major, minor) == (1, 2):
        size, guid, infos = struct.unpack_from("<Q", body, 0x10)[0], body[0x20:0x30], body[0x40:]
        *place, stored = struct.unpack_from("<IIII8xI", infos)
        parts = [Ref._make((*place, stored, infos[0x20:0x40], 0, size))]
    else:
        need((major, minor) in ((2, 1), (3, 1)), "the format of a stub")
        guid, infos = rows_of(body) if major == 2 else blocks_of(body)
        parts = sorted(infos_of(infos), key=lambda part: part.begin)
    need([part.begin for part in parts] == [0, *(part.end for part in parts[:-1])], "parts")
    return Stub(UUID(bytes_le=guid), parts[-1].end, parts)


def rows_of(body: bytes) -> tuple[bytes, bytes]:
    (count,) = struct.unpack_from("<I", body, 0x0C)
    rows = list(struct.iter_unpack("<IHH", body[0x10 : 0x10 + 8 * count]))
    guid, infos = (body[8 + at : 8 + at + size] for _, size, at in (rows[4], rows[8]))
    return guid, infos


def block_of(data: bytes, magic: bytes) -> list[bytes]:
    found, check, length, _, count = struct.unpack_from("<4sIIHH", data)
    need(found == magic and zlib.crc32(data[8:length]) == check, f"property block {found!r}")
    table = struct.iter_unpack("<HHI", data[0x10 : 0x10 + 8 * count])
    return [data[at : at + size] for _, size, at in table]


def blocks_of(body: bytes) -> tuple[bytes, bytes]:
    outer = block_of(body[0x0C:], b"FeRp")
    inner = block_of(outer[8], b"DdRp")
    need(inner[1] == inner[2][:8], "the first stream map is named twice")
    return outer[2], inner[2]


def infos_of(infos: bytes) -> Iterator[Ref]:
    for *place, stored, digest, end, begin in struct.iter_unpack("<IIII8xI4x16sQQ", infos):
        yield Ref._make((*place, stored, digest, begin, end))


def read_record(data: bytes, at: int, ref: Ref, kind: int) -> bytes:
    need(len(data) >= at + 0x30, "a record lies outside")
    head(data[at:], b"Ckhr")
    local_id, stored, found, extra = struct.unpack_from("<IIHH", data, at + 8)
    start = at + 0x30 + extra
    payload_sum, header_sum = struct.unpack_from("<QQ", data, at + 0x20 + extra)
    need(header_sum == crc64(data[at : start - 8]), "CRC-64 of a header")
    payload, extension = data[start : start + stored], data[at + 0x20 : at + 0x20 + extra]
    need((local_id, stored, found) == (ref.local_id, ref.stored, kind), "another record")
    need(extension[-32:].startswith(ref.digest), "another digest")
    need(payload_sum == crc64(payload), "CRC-64 of a payload")
    if kind == 1 and stored != ref.end - ref.begin:
        need(extension[:4] == b"\x02\0\0\0", "not XPRESS")
        payload = xpress(payload, ref.end - ref.begin)
    digest = hashlib.sha512(payload).digest()[:32]
    need(kind == 2 or digest == ref.digest, "digest of a chunk")
    return payload


def places(data: bytes, ref: Ref) -> Iterator[int]:
    yield ref.offset
    headers = [data[at : at + 0x40] for at in (0x0000, 0x1000, 0x2000)]
    valid = [one for one in headers if crc64(one[:-8]) == int.from_bytes(one[-8:], "little")]
    newest = max(valid, key=lambda one: int.from_bytes(one[8:16], "little"))
    head(newest, b"Cthr")
    for table in (0x3000, int.from_bytes(newest[0x30:0x34], "little")):
        head(data[table:], b"Rrtl")
        (count,) = struct.unpack_from("<I", data, table + 8)
        entries = struct.iter_unpack("<II", data[table + 0x20 : table + 0x20 + 8 * count])
        yield from (place for local_id, place in entries if local_id == ref.local_id)
    yield from (at for at in range(0x5000, len(data), 8) if data[at : at + 4] == b"Ckhr")


def find(containers: Containers, folder: str, ref: Ref, kind: int) -> bytes:
    names = {path: NAME.fullmatch(path.rpartition("/")[2]) for path in containers}
    live = [
        (int(name[2], 16) != ref.generation, -int(name[2], 16), path)
        for path, name in names.items()
        if name and path.startswith(folder) and int(name[1], 16) == ref.container
    ]
    for *_, path in sorted(live):
        for at in places(containers[path], ref):
            try:
                return read_record(containers[path], at, ref, kind)
            except ValueError:
                continue
    raise ValueError("no good copy of a record")


def read_file(containers: Containers, stub: bytes) -> bytes:
    store, size, parts = read_stub(stub)
    folder = f"{STORES}/{{{str(store).upper()}}}.ddp"
    data, at = b"", 0
    for part in parts:
        payload = find(containers, f"{folder}/Stream/", part, 2)
        head(payload, b"Smap")
        for *place, end, digest, stored in struct.iter_unpack("<IIIIQ32sI4x", payload[8:]):
            ref = Ref._make((*place, stored, digest, at, end))
            data += find(containers, f"{folder}/Data/", ref, 1)
            at = end
        need(at == part.end, "a map does not end where its part does")
    need(len(data) == size, "the size of the file")
    return data


def xpress(data: bytes, size: int) -> bytes:
    out, at, nibble = bytearray(), 0, -1
    flags = 1 << 32  # a one behind the last flag says that they are used up

    def take(width: int) -> int:
        nonlocal at
        at += width
        return int.from_bytes(data[at - width : at], "little")

    while len(out) < size:
        if flags == 1 << 32:
            flags = take(4) << 1 | 1
        is_match, flags = flags >> 32, flags << 1 & 0x1FFFFFFFF
        if not is_match:
            out.append(take(1))
            continue
        match = take(2)
        length = match & 7
        if length == 7:
            nibble, more = (-1, data[nibble] >> 4) if nibble >= 0 else (at, take(1) & 15)
            length += more
            if more == 15:
                byte = take(1)
                length = length + byte if byte < 255 else take(2) or take(4)
        for _ in range(length + 3):
            out.append(out[-(match >> 3) - 1])
    need(len(out) == size, "XPRESS")
    return bytes(out)
