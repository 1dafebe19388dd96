"""Spoilt stores are spoilt where they should be and nowhere else."""

import random
import struct

import pytest

from tests.unit.windows_store.walking import newest_header, record_at, table_of, u32, value_of, walk
from tests.windows_store.containers import Container
from tests.windows_store.damage import (
    CTHR_FIELDS,
    EXTREMES,
    MAP_INFO_FIELDS,
    RECORD_FIELDS,
    RRTL_FIELDS,
    SMAP_FIELDS,
    STUB_FIELDS,
    extremes_of,
    flip,
    reseal_header,
    reseal_record,
    reseal_stub,
    reseal_table,
    set_field,
    spoil_header,
    spoil_record,
    spoil_table,
)
from tests.windows_store.store import FORMATS, WindowsStore
from tests.windows_store.structures import SMAP_DTYPE, XPRESS, crc32, redirection_table

DATA = random.Random(3).randbytes(50_000)


def filled(*, moved: bool = False) -> Container:
    store = WindowsStore()
    store.add_file(DATA, chunks=10_000)
    return store.compact("Data", 1, 2) if moved else store.container("Data", 1)


def everything(container: Container) -> bytes:
    return container.image.read(0, container.image.size)


def changes(before: bytes, after: bytes) -> list[int]:
    assert len(before) == len(after)
    return [at for at in range(len(before)) if before[at] != after[at]]


@pytest.mark.parametrize("where", [*RECORD_FIELDS, "payload", "payload_crc", "header_crc", 0x30])
def test_one_byte_of_a_record_is_turned_over(where: str | int) -> None:
    container = filled()
    before = everything(container)
    at = spoil_record(container, 3, where)
    assert changes(before, everything(container)) == [at]
    assert container.spots[3].offset <= at < sum(container.spots[3])
    with pytest.raises(AssertionError):
        list(walk(everything(container)))


def test_a_resealed_record_is_right_but_for_the_field() -> None:
    container = filled()
    spoil_record(container, 2, "digest", 5, reseal=True)
    spoil_record(container, 3, "payload", reseal=True)
    spoil_record(container, 4, "local_id", 77, reseal=True)
    found = list(walk_lightly(container))
    assert found[1][8:] == (5).to_bytes(32, "little")
    assert record_at(everything(container), container.spots[4].offset).local_id == 77


def walk_lightly(container: Container) -> list[bytes]:
    data = everything(container)
    return [record_at(data, spot.offset).extension for spot in container.spots.values()]


def test_a_record_of_a_stream_map_has_its_digest_elsewhere() -> None:
    store = WindowsStore()
    store.add_file(DATA)
    streams = store.container("Stream", 0x10000)
    offset = streams.spots[1].offset
    assert spoil_record(streams, 1, "digest") == offset + 0x38
    assert spoil_record(streams, 1, "payload") == offset + 0x68


def test_a_record_without_room_for_its_checksums_stays_as_it_is() -> None:
    record = filled().record(1)
    assert reseal_record(record) == record
    wide = set_field(record[:0x40], RECORD_FIELDS["extension"], 0xFFFF)
    assert reseal_record(wide) == wide
    shorter = reseal_record(set_field(record, RECORD_FIELDS["stored"], 9))
    assert record_at(shorter, 0).payload == record[0x58 : 0x58 + 9]


def test_copies_of_the_container_header_are_spoilt_one_by_one() -> None:
    container = filled()
    before = everything(container)
    spoil_header(container, copies=(0, 2))
    assert changes(before, everything(container)) == [0x38, 0x2038]
    other = filled()
    spoil_header(other, "container_id", 9, reseal=True)
    assert u32(newest_header(everything(other)), 0x10) == 9
    assert reseal_header(before[:0x40]) == before[:0x40]


def test_redirection_tables_are_spoilt_one_by_one() -> None:
    container = filled(moved=True)
    before = everything(container)
    spoil_table(container)
    assert changes(before, everything(container)) == [0x3018]
    spoil_table(container)
    spoil_table(container, "entries_crc", primary=False, backup=True)
    assert changes(before, everything(container)) == [0x4010]
    other = filled(moved=True)
    spoil_table(other, "first_offset", 0x7000, backup=True, reseal=True)
    assert table_of(everything(other))[1] == 0x7000
    table = redirection_table([(1, 0x5000), (2, 0x6000)])
    assert reseal_table(table) == table
    assert reseal_table(redirection_table([])) == redirection_table([])


@pytest.mark.parametrize("stub", FORMATS)
def test_fields_of_stubs_are_where_they_are_said_to_be(stub: str) -> None:
    store = WindowsStore()
    file = store.add_file(DATA, stub=stub, compression=XPRESS)
    fields = STUB_FIELDS[stub]
    at, width = fields["guid"]
    assert file.stub[at : at + width] == store.guid.bytes_le
    at, width = fields["size"]
    assert int.from_bytes(file.stub[at : at + width], "little") == len(DATA)
    base, _ = fields["info"]
    infos = {name: at + base for name, (at, _) in MAP_INFO_FIELDS.items()}
    assert u32(file.stub, infos["offset"]) == file.maps[0].offset
    assert u32(file.stub, infos["map_size"]) == file.maps[0].stored
    assert file.stub[infos["digest"] :][:16] == file.maps[0].digest[:16]
    if stub != "1.2":
        assert struct.unpack_from("<QQ", file.stub, infos["end"]) == (len(DATA), 0)
    assert reseal_stub(file.stub) == file.stub


def test_a_resealed_stub_has_right_checksums_inside_and_out() -> None:
    stub = WindowsStore().add_file(DATA, stub="3.1").stub
    changed = set_field(stub, MAP_INFO_FIELDS["offset"], 8, base=STUB_FIELDS["3.1"]["info"][0])
    assert crc32(changed[8:-4]) != u32(changed, len(stub) - 4)
    sealed = reseal_stub(changed)
    assert crc32(sealed[8:-4]) == u32(sealed, len(stub) - 4)
    outer = sealed[0x0C:-4]
    for block in (outer, value_of(outer, 7), value_of(outer, 8)):
        assert u32(block, 4) == crc32(block[8:])


def test_integer_fields_take_extreme_values() -> None:
    record = filled().record(1)
    made = list(extremes_of(record, RECORD_FIELDS))
    assert len(made) == (len(RECORD_FIELDS) - 1) * len(EXTREMES)
    for name, value, changed in made:
        at, width = RECORD_FIELDS[name]
        assert int.from_bytes(changed[at : at + width], "little") == value % (1 << 8 * width)
        assert changed[:at] + changed[at + width :] == record[:at] + record[at + width :]
    wide = [value for name, value, _ in extremes_of(bytes(64), SMAP_FIELDS) if name == "end"]
    assert wide == [*EXTREMES, (1 << 64) - 1]


def test_field_tables_agree_with_the_structures() -> None:
    names = SMAP_DTYPE.fields
    assert names is not None
    offsets = {name: (int(field[1]), field[0].itemsize) for name, field in names.items()}
    assert offsets == SMAP_FIELDS
    header = newest_header(everything(filled()))
    assert int.from_bytes(header[0x18:0x1C], "little") == 5
    assert CTHR_FIELDS["chunk_count"] == (0x18, 4)
    assert RRTL_FIELDS["count"] == (8, 4)
    assert flip(b"abc", -1, 1) == b"abb"
