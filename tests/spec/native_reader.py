"""Reads a native store with nothing but a standard library, written from the format page alone.

Damage is found by CRC-64 and by contradictions; digests are compared with digests but not
computed, as BLAKE3 is in no standard library. Compressed payloads need a function that is given.
"""

import json
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

Fields = dict[str, Any]
Inflate = Callable[[bytes], bytes]
ROW = struct.Struct("<IIQIIQ32s")  # container, generation, offset, local id, length, end, digest


def crc64(data: bytes) -> int:
    value = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
    return value ^ 0xFFFFFFFFFFFFFFFF


def need(claim: object, what: str) -> None:
    if not claim:
        raise ValueError(what)


def unpack(form: str, names: str, data: bytes, at: int = 0) -> Fields:
    return dict(zip(names.split(), struct.unpack_from(form, data, at), strict=True))


def read_header(page: bytes) -> Fields:
    names = "magic version kind size store container generation salt compat read_compat incompat"
    header = unpack("<8sHHI16sII16sQQQQQII", f"{names} created capacity text zero", page)
    need(header["magic"] in (b"RHYDCONT", b"RHYDTOMB") and header["version"] == 1, "container")
    need(not header["incompat"], f"unknown feature bits {header['incompat']:#x}")
    need(header["size"] == 4096 and header["kind"] in (1, 2) and not header["zero"], "header")
    return header | {"configuration": json.loads(page[104 : 104 + header["text"]].decode())}


def place_of(header: Fields, offset: int) -> bytes:
    names = ("salt", "container", "generation")
    return struct.pack("<16sIIQ", *(header[name] for name in names), offset)


def read_record(data: bytes, at: int, header: Fields) -> Fields:
    names = "magic size kind flags compression cipher digest_kind slot local_id stored logical"
    record = unpack("<4sHBBBBBBIII32sQQ", f"{names} digest crc check", data, at)
    need(record["magic"] == b"RHR1" and record["size"] >= 72, "no record here")
    start, end = at + record["size"], at + record["size"] + record["stored"]
    checked = place_of(header, at) + data[at : at + 64] + data[at + 72 : start]
    need(crc64(checked) == record["check"], "record of another place")
    need(not record["cipher"] and not record["slot"], "encrypted")
    need(end <= len(data) and crc64(data[start:end]) == record["crc"], "payload")
    return record | {"payload": data[start:end], "next": (end + 7) // 8 * 8, "at": at}


def read_commit(record: Fields) -> Fields:
    names = "store container generation sequence valid_length records previous digest"
    commit = unpack("<16sIIQQQQ32s", names, record["payload"])
    need(record["kind"] == 5 and not any(record["payload"][88:]), "commit")
    need(commit["valid_length"] == record["next"] and record["next"] % 4096 == 0, "commit end")
    return commit | {"sealed": bool(record["flags"] & 1)}


def walk(data: bytes) -> Iterator[Fields]:
    header, at = read_header(data), 4096
    while at < len(data):
        yield (record := read_record(data, at, header))
        at = record["next"]


def read_stub(data: bytes) -> Fields:
    names = "magic version flags length kind map rows store size mode uid gid nlink mtime ctime"
    names += " device inode link_group properties zero digest"
    stub = unpack("<4sHHIBBH16sQIIIIQQQQQII32s", names, data)
    need(stub["magic"] == b"RHST" and stub["version"] == 1, "stub")
    need(stub["length"] == len(data) == 144 + 64 * stub["rows"] + stub["properties"], "size")
    need(crc64(data[:-8]) == int.from_bytes(data[-8:], "little"), "stub CRC")
    at = 136 + 64 * stub["rows"]
    stub |= {"rows": list(ROW.iter_unpack(data[136:at])), "link": b"", "xattrs": {}}
    stub |= {"mtime": stub["mtime"] - 2**63, "ctime": stub["ctime"] - 2**63}
    while at < len(data) - 8:
        kind, _, size = struct.unpack_from("<HHI", data, at)
        value, at = data[at + 8 : at + 8 + size], at + 8 + (size + 7) // 8 * 8
        need(kind < 0x8000, "a property that must be known")
        stub["link"] = value if kind == 1 else stub["link"]
        while kind == 2 and value:
            name, _, size = struct.unpack_from("<HHI", value)
            stub["xattrs"][value[8 : 8 + name]] = value[8 + name : 8 + name + size]
            value = value[8 + name + size :]
    return stub


def read_column(data: bytes, at: int, count: int, start: int) -> list[bytes]:
    ends = [0, *struct.unpack_from(f"<{count}I", data, at)]
    return [data[start + a : start + b] for a, b in pairwise(ends)]


def read_segment(data: bytes) -> dict[bytes, bytes]:
    magic, version, _, count, paths, stubs = struct.unpack_from("<4sHHIII", data)
    need((magic, version, len(data)) == (b"RHSG", 1, 20 + 8 * count + paths + stubs), "segment")
    names = read_column(data, 20, count, 20 + 8 * count)
    column = read_column(data, 20 + 4 * count, count, 20 + 8 * count + paths)
    return dict(zip(names, column, strict=True))


def read_manifest(data: bytes) -> Fields:
    magic, version, flags, text, count, paths, _ = struct.unpack_from("<4sHHIIII", data)
    need(magic == b"RHMF" and version == 1, "manifest")
    at = 24 + text
    need(len(data) in (at + 68 * count + paths, at + 68 * count + paths + 32), "manifest size")
    first = read_column(data, at + 64 * count, count, at + 68 * count)
    rows = list(ROW.iter_unpack(data[at : at + 64 * count]))
    found: Fields = json.loads(data[24:at].decode())
    return found | {"partial": bool(flags & 1), "rows": rows, "first_paths": first}


def read_tombstone(data: bytes, local_id: int) -> tuple[int, ...]:
    at = 4096 + 32 * (local_id - 1)
    container, generation, offset, length, new_id, check = struct.unpack_from("<IIQIIQ", data, at)
    need(check == crc64(place_of(read_header(data), at) + data[at : at + 24]), "redirection")
    return container, generation, offset, new_id, length


def fetch(store: Path, folder: str, row: tuple[Any, ...], inflate: Inflate) -> bytes:
    data = (store / folder / f"{row[0]:08x}.{row[1]:08x}.rhc").read_bytes()
    if (header := read_header(data))["magic"] == b"RHYDTOMB":
        return fetch(store, folder, (*read_tombstone(data, row[3]), *row[5:]), inflate)
    record = read_record(data, row[2], header)
    need((record["local_id"], record["digest"]) == (row[3], row[6]), "another record")
    payload = inflate(record["payload"]) if record["compression"] else bytes(record["payload"])
    need(len(payload) == record["logical"], "size of a payload")
    return payload


def content(store: Path, stub: Fields, inflate: Inflate) -> bytes:
    rows, data = stub["rows"], b""
    if stub["map"] == 2:
        rows = [r for part in rows for r in ROW.iter_unpack(fetch(store, "Stream", part, inflate))]
    for row in rows:
        data += fetch(store, "Data", row, inflate) if row[0] else bytes(row[5] - len(data))
        need(len(data) == row[5], "a chunk ends elsewhere")
    need(len(data) == stub["size"], "size of a file")
    return data
