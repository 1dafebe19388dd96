"""The reader on real bytes of Windows, which are not part of this repository."""

import hashlib
import struct
from typing import TypedDict, cast
from uuid import UUID

import pytest

from rehydrate.errors import CorruptMetadataError, UnsupportedFormatError
from rehydrate.formats.detect import owner_of
from rehydrate.formats.walk import DATA, STREAM, Limits
from rehydrate.formats.windows.container import parse_container_header, parse_table, table_size
from rehydrate.formats.windows.format import WINDOWS
from rehydrate.formats.windows.layout import HEAD_SIZE, align, crc64
from rehydrate.formats.windows.record import WindowsDecoder, decode_copy, parse_header
from rehydrate.formats.windows.stub import parse_stub, store_key
from tests.windows_store.damage import reseal_stub
from tests.windows_store.structures import Reference
from tests.windows_store.stubs import stub_3_1
from tests.windows_store.vectors import hex_vector, json_vector, vector


class Chunk(TypedDict):
    local_id: int
    offset: str
    stored: int
    end: int
    digest: str


class Fact(TypedDict):
    size: int
    stream_local_id: int
    stream_offset: str
    stream_digest: str
    chunks: list[Chunk]


class Volume(TypedDict):
    store_guid: str
    files: list[Fact]


class Record(TypedDict):
    offset: str
    local_id: int
    kind: int
    stored: int
    logical: int
    compression: int
    header: str


def volume() -> Volume:
    return cast("Volume", json_vector("facts.json")["volume_2012r2"])


def records() -> list[Record]:
    return cast("list[Record]", json_vector("container_2019_records.json")["records"])


def test_the_stub_of_a_2012_r2_volume() -> None:
    real, facts = hex_vector("stub_1_2.hex"), volume()
    file = facts["files"][0]
    stub = parse_stub(real)
    assert (stub.version, stub.size, stub.recall_sign) == ((1, 2), file["size"], False)
    assert stub.store == UUID(facts["store_guid"])
    (part,) = stub.parts
    assert (part.local_id, part.container) == (file["stream_local_id"], 0x10000)
    assert (part.offset, part.generation) == (int(file["stream_offset"], 16), 1)
    assert (part.size, part.digest.hex()) == (8 + 64 * 2, file["stream_digest"])
    owner = owner_of(real)
    assert owner is not None
    assert (owner.name, owner.store_id) == ("windows", stub.store)
    table = WINDOWS.decode_stubs([real], Limits())
    assert (table.size.tolist(), table.rows["length"].tolist()) == ([90_593], [0x68 + 136])


def test_the_stub_of_a_second_2012_r2_volume() -> None:
    stub = parse_stub(hex_vector("stub_1_2_b.hex"))
    assert (stub.version, stub.size) == ((1, 2), 626_454)
    assert stub.store == UUID("2ee490e5-44f0-4f9a-8d59-d6d8a2b5652c")
    (part,) = stub.parts
    header = parse_header(hex_vector("stream_header_1_2_b.hex"))
    assert (part.local_id, part.digest, part.size) == (
        header.local_id,
        header.digest,
        header.stored_size,
    )


def test_every_changed_byte_of_a_real_stub_is_noticed() -> None:
    real = hex_vector("stub_1_2.hex")
    good = parse_stub(real)
    for at in range(len(real)):
        spoilt = bytearray(real)
        spoilt[at] ^= 0x10
        if at in (6, 7):  # reserved, and outside of the checksum
            assert parse_stub(bytes(spoilt)) == good
            continue
        with pytest.raises((CorruptMetadataError, UnsupportedFormatError)):
            parse_stub(bytes(spoilt))


def test_a_whole_stream_record_from_stub_to_rows() -> None:
    file = volume()["files"][0]
    (part,) = parse_stub(hex_vector("stub_1_2.hex")).parts
    record = memoryview(hex_vector("stream_record_1_2.hex"))
    payload = WindowsDecoder(STREAM).decode(record, part.local_id, part.size, part.digest)
    rows = WINDOWS.decode_map(payload)
    chunks = file["chunks"]
    assert rows["local_id"].tolist() == [chunk["local_id"] for chunk in chunks]
    assert rows["offset"].tolist() == [int(chunk["offset"], 16) for chunk in chunks]
    assert rows["length"].tolist() == [0x58 + chunk["stored"] for chunk in chunks]
    assert rows["end"].tolist() == [chunk["end"] for chunk in chunks]
    assert [row.tobytes().hex() for row in rows["digest"]] == [c["digest"] for c in chunks]
    assert (rows["container"].tolist(), rows["generation"].tolist()) == ([1, 1], [1, 1])
    assert decode_copy(record, STREAM, part.size, part.digest) == payload
    header = parse_header(hex_vector("data_record_header.hex"))
    assert (header.local_id, header.stored_size) == (7, 61_095)
    assert header.digest.hex() == chunks[0]["digest"]


def test_headers_of_a_compressed_chunk_of_2012_r2() -> None:
    header = parse_header(hex_vector("data_header_1_2_b_xpress.hex"))
    assert (header.local_id, header.stored_size, header.compression) == (1, 0xA7ED, 2)


def test_all_headers_of_a_2019_container() -> None:
    found = records()
    assert len(found) == 55
    at = 0x5000
    for record in found:
        header = parse_header(bytes.fromhex(record["header"]))
        assert int(record["offset"], 16) == at, "a walk with the sizes meets every record"
        assert (header.local_id, header.kind) == (record["local_id"], record["kind"])
        assert (header.stored_size, header.compression) == (record["stored"], record["compression"])
        assert header.header_size == len(record["header"]) // 2
        assert len(header.digest) == (32 if record["kind"] == 1 else 0)
        at = align(at + header.size)
    assert at == json_vector("container_2019_records.json")["size"]


def test_a_real_compressed_chunk_is_decoded_and_verified() -> None:
    real = vector("chunk_2019_xpress_record53.bin")
    (fact,) = (record for record in records() if record["local_id"] == 53)
    header = parse_header(real)
    assert header.size == len(real)
    found = WindowsDecoder(DATA).decode(memoryview(real), 53, fact["logical"], header.digest)
    data = bytes(found)
    assert len(data) == fact["logical"] == 66_483
    assert hashlib.sha512(data).digest()[:32] == header.digest
    assert decode_copy(memoryview(real), DATA, fact["logical"], header.digest) == data


def test_a_changed_byte_of_a_real_chunk_is_noticed() -> None:
    real = vector("chunk_2019_xpress_record53.bin")
    digest = parse_header(real).digest
    for at in (*range(0x60), len(real) // 2, len(real) - 1):
        spoilt = bytearray(real)
        spoilt[at] ^= 1
        assert decode_copy(memoryview(spoilt), DATA, 66_483, digest) is None, at


def test_headers_and_tables_of_a_2019_container() -> None:
    real = hex_vector("container_2019_tables.hex")
    page = bytearray(HEAD_SIZE)
    places = ((0, 0x40), (0x1000, 0x40), (0x2000, 0x40), (0x3000, 0x20), (0x4000, 0x20))
    at = 0
    for place, size in places:
        page[place : place + size] = real[at : at + size]
        at += size
    assert at == len(real)
    header = parse_container_header(bytes(page))
    assert (header.sequence, header.copies) == (2, 3), "the copy at 0 is older"
    assert (header.container, header.generation, header.chunks) == (1, 1, 53)
    assert (header.next_local_id, header.valid_size) == (54, 0x3C9000)
    assert (header.backup_table, header.flags) == (0x4000, 0)
    assert parse_container_header(bytes(page[:0x1000])).sequence == 1
    for place in (0x3000, 0x4000):
        table = bytes(page[place : place + 0x1000])
        assert table_size(table) == 0x20
        assert parse_table(table).place(1) is None
    assert crc64(b"") == struct.unpack_from("<Q", page, 0x3010)[0]


def test_the_known_part_of_a_3_1_stub_is_read_once_its_end_is_filled_in() -> None:
    # 205 bytes from the frame's inside on are known; the rest is what the writer puts there.
    real = hex_vector("stub_3_1_partial.hex")
    guid = UUID(bytes_le=real[0x64:0x74])
    time, size = struct.unpack_from("<QQ", real, 0x74)
    made = stub_3_1(guid, [Reference(1, 0x10000, 0x5000, 1, 72, bytes(range(32)), size)], time=0)
    whole = reseal_stub(made[:8] + real + made[8 + len(real) :])
    stub = parse_stub(whole)
    assert (stub.version, stub.store, stub.optimized, stub.size) == ((3, 1), guid, time, size)
    assert store_key(whole) == guid.bytes
    # As it is, cut off, it is still told as a stub, and refused.
    cut = made[:8] + real
    assert store_key(cut) is not None
    with pytest.raises(CorruptMetadataError):
        parse_stub(cut)


@pytest.mark.parametrize("tag", [0x9000001A, 0x9000601A, 0x9000F01A])
def test_buffers_of_cloud_files_are_refused_by_their_tag(tag: int) -> None:
    real = hex_vector("ferp_cloudfiles.hex")
    buffer = struct.pack("<IHH", tag, len(real), 0) + real
    assert store_key(buffer) is None
    assert owner_of(buffer) is None
    with pytest.raises(UnsupportedFormatError, match=f"0x{tag:08X}") as caught:
        parse_stub(buffer)
    assert caught.value.code == "stub.tag"
