"""The writer makes real bytes of Windows again from their field values."""

import struct
from typing import TypedDict, cast
from uuid import UUID

from tests.windows_store.containers import Container
from tests.windows_store.damage import reseal_record, reseal_stub
from tests.windows_store.structures import (
    PAGE,
    XPRESS,
    Reference,
    crc32,
    crc64,
    data_record,
    padding_header,
    smap_payload,
    stream_record,
)
from tests.windows_store.stubs import (
    DEDUP_TAG,
    EMPTY,
    Element,
    property_block,
    stub_1_2,
    stub_2_1,
    stub_3_1,
)
from tests.windows_store.vectors import hex_vector, json_vector, vector

SECOND_RUN = 40
"""First LocalId of the second append run of the real container."""


class Fact(TypedDict):
    size: int
    stream_digest: str
    chunks: list[dict[str, int | str]]


class Record(TypedDict):
    offset: str
    local_id: int
    kind: int
    stored: int
    compression: int
    header: str


def u64(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<Q", data, at)[0]
    return value


def fact(name: str) -> dict[str, object]:
    return cast("dict[str, object]", json_vector("facts.json")[name])


def first_file() -> tuple[Fact, list[Reference]]:
    """Return the first file of the 2012 R2 volume, and its chunks."""
    file = cast("list[Fact]", fact("volume_2012r2")["files"])[0]
    chunks, begin = [], 0
    for chunk in file["chunks"]:
        end = int(chunk["end"])
        digest = bytes.fromhex(str(chunk["digest"]))
        offset = int(str(chunk["offset"]), 16)
        stored = int(chunk["stored"])
        local_id = int(chunk["local_id"])
        chunks.append(Reference(local_id, 1, offset, 1, stored, digest, end - begin))
        begin = end
    return file, chunks


def test_checksums_have_their_check_values() -> None:
    facts = fact("crc64")
    assert f"{crc64(b'123456789'):#x}" == facts["check_123456789"]
    assert crc64(bytes(1000)) == crc64(b"") == 0xFFFF_FFFF_FFFF_FFFF


def test_the_stub_of_a_2012_r2_volume_comes_out_byte_for_byte() -> None:
    real = hex_vector("stub_1_2.hex")
    file, _ = first_file()
    digest = bytes.fromhex(file["stream_digest"])
    guid = UUID(str(fact("volume_2012r2")["store_guid"]))
    stream = Reference(3, 0x10000, 0x5260, 1, 8 + 64 * 2, digest, file["size"])
    assert stub_1_2(guid, stream, time=0x01DC28AAA5192080) == real
    assert f"{crc32(real[8:-4]):#x}" == fact("crc32")["stub_1_2"]
    assert reseal_stub(real) == real


def test_the_stub_of_a_second_volume_comes_out_byte_for_byte() -> None:
    real = hex_vector("stub_1_2_b.hex")
    digest = hex_vector("stream_header_1_2_b.hex")[0x38:0x58]
    stream = Reference(1, 0x10000, 0x5000, 1, 8 + 64 * 7, digest, 626_454)
    guid = UUID("2ee490e5-44f0-4f9a-8d59-d6d8a2b5652c")
    assert stub_1_2(guid, stream, time=0x01D1B06EC1B2F4F5) == real


def test_a_whole_stream_record_comes_out_byte_for_byte() -> None:
    file, chunks = first_file()
    digest = bytes.fromhex(file["stream_digest"])
    real = hex_vector("stream_record_1_2.hex")
    assert stream_record(3, smap_payload(chunks), digest=digest) == real
    assert reseal_record(real) == real


def test_headers_of_single_records_come_out_byte_for_byte() -> None:
    _, chunks = first_file()
    checksum = int(str(fact("crc64")["data_payload_of_61095_bytes"]), 16)
    plain = data_record(7, b"", digest=chunks[0].digest, payload_crc=checksum, stored=61_095)
    assert plain == hex_vector("data_record_header.hex")

    real = hex_vector("data_header_1_2_b_xpress.hex")
    compressed = data_record(
        1,
        b"",
        digest=real[0x28:0x48],
        compression=XPRESS,
        second_word=0,
        payload_crc=u64(real, 0x48),
        stored=0xA7ED,
    )
    assert compressed == real

    real = hex_vector("stream_header_1_2_b.hex")
    stream = stream_record(
        1, b"", digest=real[0x38:0x58], payload_crc=u64(real, 0x58), stored=8 + 64 * 7
    )
    assert stream == real


def real_records() -> list[Record]:
    return cast("list[Record]", json_vector("container_2019_records.json")["records"])


def rebuilt() -> Container:
    """Build the real container anew: its payloads are holes, their checksums are taken over."""
    container = Container("Data", 1, 1, appended=0x01D788FE4A69ED8E)
    for record in real_records():
        if record["kind"] == 1:
            if record["local_id"] == SECOND_RUN:
                container.seal()
                container.appended = 0x01D7CED019B6082F
            real = bytes.fromhex(record["header"])
            head = data_record(
                container.take_local_id(),
                b"",
                digest=real[0x28:0x48],
                compression=record["compression"],
                payload_crc=u64(real, 0x48),
                stored=record["stored"],
            )
            container.append(record["local_id"], head, missing=record["stored"])
    container.seal()
    return container


def test_all_records_of_a_2019_container_come_out_at_their_places() -> None:
    container, records = rebuilt(), real_records()
    assert len(records) == 55
    assert container.image.size == json_vector("container_2019_records.json")["size"]
    for record in records:
        header = bytes.fromhex(record["header"])
        assert container.image.read(int(record["offset"], 16), len(header)) == header


def test_paddings_of_a_2019_container_come_out_byte_for_byte() -> None:
    paddings = [record for record in real_records() if record["kind"] == 4]
    assert len(paddings) == 2
    for record in paddings:
        assert padding_header(0x30 + record["stored"]).hex() == record["header"]


def test_headers_and_tables_of_a_2019_container_come_out_byte_for_byte() -> None:
    image = rebuilt().image
    pieces = [(0, 0x40), (PAGE, 0x40), (2 * PAGE, 0x40), (3 * PAGE, 0x20), (4 * PAGE, 0x20)]
    made = b"".join(image.read(*piece) for piece in pieces)
    assert made == hex_vector("container_2019_tables.hex")


def test_a_compressed_record_with_its_payload_comes_out_byte_for_byte() -> None:
    real = vector("chunk_2019_xpress_record53.bin")
    made = data_record(53, real[0x58:], digest=real[0x28:0x48], compression=XPRESS)
    assert made == real
    assert reseal_record(real) == real


def test_the_known_rows_of_a_2_1_stub_come_out() -> None:
    facts = fact("volume_2_1")
    guid = UUID(str(facts["store_guid"]))
    stub = stub_2_1(guid, [Reference(1, 0x20000, 0x5000, 2, 8 + 64, bytes(32), 1000)])
    rows = [list(row) for row in struct.iter_unpack("<IHH", stub[0x10:0x68])]
    assert rows == [
        [*row[:2], int(str(row[2]), 16)] for row in cast("list[list[int]]", facts["stub_rows"])
    ]
    assert stub[:16] == bytes.fromhex(str(facts["stub_head"]))
    assert len(stub) == 0x108
    assert stub[0x7C:0x8C] == guid.bytes_le


def test_the_known_part_of_a_3_1_stub_comes_out() -> None:
    real = hex_vector("stub_3_1_partial.hex")
    assert len(real) == 205
    guid, time, size = UUID(bytes_le=real[0x64:0x74]), u64(real, 0x74), u64(real, 0x7C)
    stub = stub_3_1(guid, [Reference(1, 0x10000, 0x5000, 1, 8 + 64, bytes(32), size)], time=time)
    made = bytearray(stub[8 : 8 + len(real)])
    for at in (0x08, 0x90):  # checksums of FeRp and RbRp, over bytes that are cut off
        made[at : at + 4] = real[at : at + 4]
    assert bytes(made) == real
    assert len(stub) == 0x18C


def test_a_property_block_of_cloud_files_comes_out_byte_for_byte() -> None:
    real = hex_vector("ferp_cloudfiles.hex")
    elements: list[Element] = [(7, b"\x01"), (0x0A, struct.pack("<I", 62)), *[EMPTY] * 8]
    made = property_block(b"FeRp", elements, flags=2, align=4)
    assert struct.pack("<HH", 1, len(made) + 4) + made == real
    assert f"{crc32(made[8:]):#x}" == fact("crc32")["ferp_cloudfiles_block"]


def test_the_tag_is_that_of_deduplication() -> None:
    assert int.from_bytes(hex_vector("stub_1_2.hex")[:4], "little") == DEDUP_TAG
