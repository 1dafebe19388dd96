"""Every structure of the Windows format, damaged in every way, raw and sealed again.

A changed structure is refused with an error of ours that has a code, or gives values that pass; no
other exception comes out, and no claim of the bytes is believed when memory is asked for.
"""

import random
import struct
from collections.abc import Callable, Iterator
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.chunks import ChunkTable
from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.detect import owner_of
from rehydrate.formats.maps import check_maps
from rehydrate.formats.walk import (
    DATA,
    STREAM,
    Answer,
    Limits,
    ListFolder,
    RecordRef,
    Request,
    Scan,
    StubTable,
)
from rehydrate.formats.windows.container import (
    MAX_TABLE_SIZE,
    RedirectionTable,
    parse_container_header,
    parse_table,
)
from rehydrate.formats.windows.format import WINDOWS
from rehydrate.formats.windows.layout import HEAD_SIZE, MAX_CONTAINER
from rehydrate.formats.windows.record import (
    RecordHeader,
    WindowsDecoder,
    decode_copy,
    parse_header,
)
from rehydrate.values import MAX_OFFSET, ReadableBuffer, StorePath
from tests.unit.formats.hostile import Parser, cut_short, flipped, stretched, sweep
from tests.windows_store.damage import (
    reseal_header,
    reseal_record,
    reseal_stub,
    reseal_table,
)
from tests.windows_store.encoders import encode
from tests.windows_store.store import WindowsStore
from tests.windows_store.structures import (
    LZNT1,
    NONE,
    XPRESS,
    XPRESS_HUFFMAN,
    Reference,
    container_header,
    data_record,
    digest_of,
    redirection_table,
    smap_payload,
    stream_record,
)
from tests.windows_store.stubs import stub_1_2, stub_2_1, stub_3_1

GUID = UUID("0F5E3C2A-8B7D-4E61-9A20-6C1D2E3F4A5B")
LIMITS = Limits()
TEXT = b"the quick brown fox jumps over the lazy dog. " * 3
DIGEST = digest_of(TEXT)
REFS = [Reference(n, 1, 0x5000 * n, 1, 60, bytes([n]) * 32, 100) for n in range(1, 4)]
MAP = smap_payload(REFS)
MAP_DIGEST = bytes(range(32))
PARTS = [
    Reference(3, 0x10000, 0x5260, 1, 8 + 64 * 2, MAP_DIGEST, 90_593),
    Reference(4, 0x10000, 0x6260, 1, 8 + 64 * 2, MAP_DIGEST, 80_593),
]


def plain(data: bytes) -> bytes:
    """Seal what has no checksum of its own."""
    return data


def any_fields(size: int) -> list[tuple[int, int]]:
    """Return every place that an integer of 2, 4 or 8 bytes may have; the wide ones are aligned."""
    return [
        (at, width)
        for width, step in ((2, 2), (4, 4), (8, 4))
        for at in range(0, size - width + 1, step)
    ]


def decode_stub(data: bytes) -> StubTable:
    table = WINDOWS.decode_stubs([data], LIMITS)
    WINDOWS.store_key(data)
    owner_of(data)
    for error in table.errors.values():
        assert error.code != "error"
        raise error
    return table


def settle_stub(value: object, data: bytes) -> None:
    assert isinstance(value, StubTable)
    assert owner_of(data) is not None
    rows = value.rows
    assert 0 < int(value.size[0]) <= LIMITS.file_size
    assert rows["end"].tolist() == sorted(set(rows["end"].tolist()))
    assert int(rows["end"][-1]) == int(value.size[0])
    assert rows["container"].all()
    assert (rows["length"] >= WINDOWS.map_overhead).all()


def decode_data(data: bytes) -> ReadableBuffer:
    return WindowsDecoder(DATA).decode(memoryview(data), 7, len(TEXT), DIGEST)


def settle_data(value: object, data: bytes) -> None:
    assert bytes(memoryview(value)) == TEXT  # type: ignore[arg-type] # bytes of some kind


def decode_stream(data: bytes) -> object:
    found = WindowsDecoder(STREAM).decode(memoryview(data), 7, len(MAP), MAP_DIGEST)
    return WINDOWS.decode_map(bytes(memoryview(found)))


def settle_rows(value: object, data: bytes) -> None:
    assert isinstance(value, np.ndarray)
    assert (value["length"] >= 0x58).all()
    assert value["container"].all()
    table = ChunkTable(value, np.array([0, len(value)], np.int64))
    ends = value["end"].tolist()
    good = not check_maps(table, np.array([min(ends[-1], MAX_OFFSET)] if ends else [0]), LIMITS)
    if good and ends:
        sizes = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        assert all(0 < size <= LIMITS.chunk_size for size in sizes)


def settle_header(value: object, data: bytes) -> None:
    assert isinstance(value, RecordHeader)
    assert value.header_size <= len(data)
    assert len(value.digest) in (0, 32)
    assert 0 <= value.size < 1 << 33


def settle_anything(value: object, data: bytes) -> None:
    assert value is not None


def settle_table(value: object, data: bytes) -> None:
    assert isinstance(value, RedirectionTable)
    assert len(value.entries) * 8 + 0x20 <= len(data)
    for entry in value.entries.tolist():
        assert value.place(entry[0]) == entry[1]
    assert value.place(1) is None or value.place(1) == int(value.entries["offset"][0])


def seal_any_stub(data: bytes) -> bytes:
    blocks = [data.find(magic) for magic in (b"FeRp", b"RbRp", b"DdRp")]
    return data if len(data) < max(16, *(at + 8 for at in blocks)) else reseal_stub(data)


def whole_stub(data: bytes) -> bytes:
    """Give a stub that was cut the lengths of what is left, and seal it."""
    if len(data) < 16:
        return data
    size = struct.pack("<H", len(data) - 8)
    return seal_any_stub(data[:4] + size + data[6:10] + size + data[12:])


def parser(
    name: str,
    sample: bytes,
    parse: Callable[[bytes], object],
    settle: Callable[[object, bytes], None],
    reseal: Callable[[bytes], bytes],
    *,
    covered: bool = True,
) -> Parser:
    return Parser(
        name=name,
        sample=sample,
        parse=parse,
        settle=settle,
        reseal=reseal,
        fields=any_fields(len(sample)),
        covered=covered,
    )


PACKED = {
    "plain": data_record(7, TEXT, digest=DIGEST),
    "lznt1": data_record(7, encode(LZNT1, TEXT), digest=DIGEST, compression=LZNT1),
    "xpress": data_record(7, encode(XPRESS, TEXT), digest=DIGEST, compression=XPRESS),
}
HUFFMAN = data_record(7, encode(XPRESS_HUFFMAN, TEXT), digest=DIGEST, compression=XPRESS_HUFFMAN)
HEADER = container_header(
    container_id=1,
    generation=2,
    sequence=3,
    chunk_count=4,
    next_local_id=5,
    valid_length=0x9000,
    appended=7,
)
TABLE = redirection_table([(2, 0x5000), (3, 0x7000), (9, 0x6000)], pages=False)
STREAMED = stream_record(7, MAP, digest=MAP_DIGEST)
STUBS = [
    parser("stub 1.2", stub_1_2(GUID, PARTS[0]), decode_stub, settle_stub, seal_any_stub),
    parser("stub 2.1", stub_2_1(GUID, PARTS), decode_stub, settle_stub, seal_any_stub),
    parser("stub 3.1", stub_3_1(GUID, PARTS), decode_stub, settle_stub, seal_any_stub),
    parser("short 3.1", stub_3_1(GUID, PARTS[:1], short=True), decode_stub, settle_stub,
           seal_any_stub),
]  # fmt: skip
OTHERS = [
    *(parser(f"Ckhr {name}", data, decode_data, settle_data, reseal_record)
      for name, data in PACKED.items()),
    parser("Ckhr of a map", STREAMED, decode_stream, settle_rows, reseal_record),
    parser("Ckhr header", reseal_record(STREAMED[:0x68]), parse_header, settle_header, reseal_record),
    parser("Cthr", HEADER, parse_container_header, settle_anything, reseal_header),
    parser("Smap", MAP, WINDOWS.decode_map, settle_rows, plain, covered=False),
    parser("Rrtl", TABLE, parse_table, settle_table, reseal_table, covered=False),
]  # fmt: skip
ALL = [*STUBS, *OTHERS]
EACH = pytest.mark.parametrize("given", ALL, ids=lambda given: given.name)


@EACH
def test_the_sample_is_good(given: Parser) -> None:
    assert given.answer(given.sample)
    assert given.reseal(given.sample) == given.sample


@EACH
def test_every_cut(given: Parser) -> None:
    accepted, asked = sweep(given, cut_short(given.sample))
    assert asked == len(given.sample)
    if given.name == "Smap":
        assert accepted == 3, "whole entries less, which the checksum of the record covers"
    else:
        assert accepted == 0


@EACH
def test_every_flipped_byte_as_it_is(given: Parser) -> None:
    accepted, asked = sweep(given, flipped(given.sample))
    assert asked == 3 * len(given.sample)
    if given in STUBS:
        assert accepted == 3 * 2, "two reserved bytes in front of what the checksum covers"
    elif given.covered:
        assert accepted == 0


@EACH
def test_every_extreme_number_as_it_is(given: Parser) -> None:
    accepted, asked = sweep(given, stretched(given.sample, given.fields))
    assert asked > len(given.sample)
    if given.covered and given not in STUBS:
        assert accepted == 0


@EACH
def test_every_flipped_byte_sealed_again(given: Parser) -> None:
    accepted, asked = sweep(given, map(given.reseal, flipped(given.sample)))
    assert asked > 0
    assert accepted < asked


@EACH
def test_every_extreme_number_sealed_again(given: Parser) -> None:
    accepted, asked = sweep(given, map(given.reseal, stretched(given.sample, given.fields)))
    assert 0 < accepted < asked, "some numbers are not checked, as nobody knows what they mean"


@pytest.mark.parametrize("given", STUBS, ids=lambda given: given.name)
def test_every_cut_of_a_stub_with_right_lengths_and_checksum(given: Parser) -> None:
    accepted, _ = sweep(given, map(whole_stub, cut_short(given.sample)))
    unread = 32 + 8  # the last two values of format 2.1, which nobody understands
    assert accepted == (unread if given.name == "stub 2.1" else 0)


def cuts_of_records(sample: bytes) -> Iterator[bytes]:
    """Cut the payload, with the size in the header right."""
    for size in range(len(sample) - 0x58):
        shorter = bytearray(sample[: 0x58 + size])
        struct.pack_into("<I", shorter, 0x0C, size)
        yield reseal_record(bytes(shorter))


@pytest.mark.parametrize("name", PACKED)
def test_every_cut_of_a_payload_with_right_size_and_checksums(name: str) -> None:
    given = parser(name, PACKED[name], decode_data, settle_data, reseal_record)
    sweep(given, cuts_of_records(given.sample))


def test_damage_of_a_huffman_chunk() -> None:
    given = parser("huffman", HUFFMAN, decode_data, settle_data, reseal_record)
    picked = random.Random(1).sample(list(flipped(HUFFMAN)), 150)
    sweep(given, map(reseal_record, picked))
    sweep(given, random.Random(2).sample(list(cuts_of_records(HUFFMAN)), 60))
    sweep(given, map(reseal_record, stretched(HUFFMAN, any_fields(0x58)[::3])))


def changes(data: bytes) -> Iterator[bytes]:
    yield from flipped(data)
    yield from stretched(data, any_fields(len(data)))


BODY = b"".join(
    record + bytes(-len(record) % 8)
    for record in (
        data_record(1, TEXT[1:], digest=digest_of(TEXT[1:])),
        PACKED["xpress"],
        data_record(3, TEXT[2:], digest=digest_of(TEXT[2:])),
    )
)
WANTED = [
    RecordRef(DATA, 1, 1, 0, 0x58 + len(text), 1, len(text), digest_of(text))
    for text in (TEXT[1:], TEXT, TEXT[2:])
]


def scan(data: bytes, step: int) -> dict[int, bytes]:
    scanner = WINDOWS.scanner(StorePath("any"), WANTED)
    pieces = [memoryview(data)[at : at + step] for at in range(0, len(data), step)]
    found = dict(pair for piece in pieces for pair in scanner.feed(piece))
    for number, record in found.items():
        ref = WANTED[number]
        copy = decode_copy(memoryview(record), DATA, ref.logical_size, ref.digest)
        assert copy is not None
        assert digest_of(bytes(memoryview(copy))) == ref.digest
    return found


def test_a_walk_finds_all_records_but_the_damaged_one() -> None:
    whole = BODY + bytes(0x100)
    assert set(scan(whole, 64)) == {0, 1, 2}
    for at in range(0, len(BODY), 3):
        spoilt = bytearray(whole)
        spoilt[at] ^= 0x55
        assert len(scan(bytes(spoilt), 96)) >= 2


def size_of(record: bytes) -> int:
    return parse_header(record).size


def test_a_walk_survives_records_that_are_sealed_again() -> None:
    record = PACKED["plain"]
    for spoilt in changes(record[:0x58]):
        data = reseal_record(spoilt + record[0x58:])
        body = data + bytes(-len(data) % 8) + BODY + bytes(0x100)
        found = scan(body, 1 << 20)
        # A sealed record that claims to be longer is waited for, up to the end of the container.
        assert len(found) >= 2 or size_of(data) > len(data)


STORE = WindowsStore()
FILE = STORE.add_file(random.Random(1).randbytes(900), chunks=300)
MOVED = STORE.compact("Data", 1, 1)
REF = RecordRef(DATA, 1, 1, 0x5000, 0x58 + 300, 2, 300, FILE.chunks[1].digest)


def drive(head: bytes, tables: bytes, names: tuple[str, ...]) -> bytes | None:
    """Drive a repair walk over a container whose first pages are given."""

    def answer(request: Request) -> Answer:
        if isinstance(request, ListFolder):
            return names
        if isinstance(request, Scan):
            assert 0 <= request.start < request.end <= MAX_CONTAINER
            return None
        assert request.offset < 1 << 32
        assert request.size <= MAX_TABLE_SIZE
        if (request.offset, request.size) == (0, HEAD_SIZE):
            return head
        if request.size == REF.length:
            return MOVED.image.read(request.offset, request.size)
        return tables

    walk = WINDOWS.repair(REF)
    requests = next(walk)
    for _ in range(8):
        assert len(requests) < 40
        try:
            requests = walk.send([answer(request) for request in requests])
        except StopIteration as end:
            data: bytes = end.value
            return data
        except CorruptMetadataError:
            return None
    pytest.fail("a walk without an end")


def test_repair_survives_any_header_and_any_table() -> None:
    head = MOVED.image.read(0, HEAD_SIZE)
    right = FILE.data[300:600]
    names = (MOVED.name,)
    assert drive(head, b"", names) == right
    for spoilt in changes(head[:0x40]):
        for seal in (plain, reseal_header):
            copy = seal(spoilt).ljust(0x1000, b"\0")
            assert drive(copy * 3 + head[0x3000:], head[0x3000:0x4000], names) in (right, None)
    used = 0x20 + 8 * 3
    for spoilt in changes(head[0x3000 : 0x3000 + used]):
        for seal_table in (plain, reseal_table):
            table = seal_table(spoilt).ljust(0x1000, b"\0")
            found = drive(head[:0x3000] + table + head[0x4000:], table, names)
            assert found == right, "the backup is good"
            assert drive(head[:0x3000] + table * 2, table, names) in (right, None)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_names_in_folders_are_survived(data: st.DataObject) -> None:
    name = st.from_regex(r"\A[0-9a-fA-F]{8}\.[0-9a-fA-F]{8}\.(ccc|CCC)(\.tmp|\n)?\Z") | st.text()
    names = tuple(data.draw(st.lists(name | st.just(MOVED.name), max_size=40)))
    head = MOVED.image.read(0, HEAD_SIZE)
    assert drive(head, b"", names) == FILE.data[300:600]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.sampled_from([b"", *(one.sample[:16] for one in ALL)]))
def test_any_bytes_are_answered(data: bytes, begin: bytes) -> None:
    for one in ALL:
        one.answer(begin + data)
        one.answer(one.reseal(begin + data) if len(begin + data) > 0x60 else data)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
    st.sampled_from(["1.2", "2.1", "3.1"]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**32 - 1),
)
def test_stubs_come_back(sizes: list[int], version: str, offset: int, container: int) -> None:
    sizes = sizes[:1] if version == "1.2" else sizes
    parts = [Reference(7, container, offset, 2**32 - 1, 72, MAP_DIGEST, size) for size in sizes]
    stub = {"2.1": stub_2_1(GUID, parts), "3.1": stub_3_1(GUID, parts)}.get(version)
    table = decode_stub(stub_1_2(GUID, parts[0]) if stub is None else stub)
    assert table.size.tolist() == [sum(sizes)]
    assert np.diff(np.concatenate([[0], table.rows["end"].astype(np.int64)])).tolist() == sizes
    assert set(table.rows["offset"].tolist()) == {offset}
    assert set(table.rows["container"].tolist()) == {container}


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4000), st.sampled_from([NONE, LZNT1, XPRESS, XPRESS_HUFFMAN]))
def test_records_come_back(data: bytes, method: int) -> None:
    stored = encode(method, data * 3) if method and data else data * 3
    record = data_record(9, stored, digest=digest_of(data * 3), compression=method)
    found = WindowsDecoder(DATA).decode(memoryview(record), 9, len(data * 3), digest_of(data * 3))
    assert bytes(memoryview(found)) == data * 3
