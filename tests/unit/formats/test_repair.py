"""The repair walk, driven by a store in a dictionary: what is asked in which round."""

from typing import Any

import attrs
import pytest

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.formats.native import layout
from rehydrate.formats.native.container import container_path, encode_header
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.repair import repair
from rehydrate.formats.walk import (
    DATA,
    STREAM,
    ListFolder,
    Read,
    RecordRef,
    Scan,
)
from rehydrate.values import MAX_OFFSET, StorePath
from tests.spec.small_store import ContainerWriter, tombstone
from tests.unit.formats.repairing import RepairDriver

TEXT = b"the bytes that are looked for"
OTHER = b"other bytes"


class Driver(RepairDriver[bytes]):
    scanned_at_once = 64

    def __init__(self, containers: dict[str, bytes], *, lists: bool = True) -> None:
        super().__init__(NATIVE, containers, lists=lists)

    def size(self, container: bytes) -> int:
        return len(container)

    def bytes_at(self, container: bytes, offset: int, size: int) -> bytes:
        return container[offset : offset + size]

    def shape(self) -> list[list[str]]:
        return [[type(request).__name__ for request in requests] for requests in self.rounds]


FIRST = ["Read", "Read", "Read"]
WALK = ["Scan", "ListFolder"]


def container(*texts: bytes, generation: int = 1, kind: str = DATA) -> ContainerWriter:
    writer = ContainerWriter(kind, 1, generation)
    record = layout.KIND_CHUNK if kind == DATA else layout.KIND_STREAM_MAP
    for text in texts:
        writer.add(record, text)
    writer.commit()
    return writer


def ref_to(number: int, *texts: bytes, kind: str = DATA) -> RecordRef:
    writer = ContainerWriter(kind, 1)
    record = layout.KIND_CHUNK if kind == DATA else layout.KIND_STREAM_MAP
    return [writer.add(record, text) for text in texts][number]


REF = ref_to(1, OTHER, TEXT)
PATH = container_path(DATA, 1, 1)
NEWER = container_path(DATA, 1, 2)


def damaged(writer: ContainerWriter, ref: RecordRef = REF) -> bytes:
    """Return the container with a changed payload of one record."""
    data = bytearray(writer.data)
    data[ref.offset + layout.RECORD_SIZE] ^= 1
    return bytes(data)


def test_second_read_is_enough() -> None:
    driver = Driver({PATH: bytes(container(OTHER, TEXT).data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST]
    assert driver.rounds[0] == (
        Read(StorePath(PATH), REF.offset, REF.length),
        Read(StorePath(PATH), 0, 4096),
        Read(StorePath(PATH), 4096 + 32, 32),
    )


def test_stream_map_is_repaired_in_its_folder() -> None:
    ref = ref_to(0, TEXT, kind=STREAM)
    driver = Driver({"Stream/00000001.00000001.rhc": bytes(container(TEXT, kind=STREAM).data)})
    assert driver.run(ref) == TEXT
    moved = container(OTHER, TEXT, kind=STREAM)
    driver = Driver({"Stream/00000001.00000001.rhc": bytes(moved.data)})
    assert driver.run(ref) == TEXT
    assert driver.rounds[1][1] == ListFolder(StorePath("Stream"))


def test_moved_record_is_read_through_its_tombstone_in_the_second_round() -> None:
    new = ContainerWriter(DATA, 1, 2)
    new.add_chunk(b"something before")
    moved = new.add_chunk(TEXT)
    old = tombstone(ContainerWriter(DATA, 1).header, [None, moved])
    driver = Driver({PATH: old, NEWER: bytes(new.data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, ["Read"]]
    assert driver.rounds[1] == (Read(StorePath(NEWER), moved.offset, moved.length),)


def test_record_that_moved_to_another_container_is_found() -> None:
    new = ContainerWriter(DATA, 9, 3)
    moved = new.add_chunk(TEXT)
    old = tombstone(ContainerWriter(DATA, 1).header, [None, moved])
    driver = Driver({PATH: old, new.path: bytes(new.data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, ["Read"]]


def test_container_that_a_tombstone_names_is_walked_if_the_record_is_not_there() -> None:
    new = ContainerWriter(DATA, 9, 3)
    place = new.add_chunk(TEXT)
    old = tombstone(
        ContainerWriter(DATA, 1).header, [None, attrs.evolve(place, offset=place.offset + 8)]
    )
    driver = Driver({PATH: old, new.path: bytes(new.data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, ["Read"], WALK]
    (scan, _) = driver.rounds[2]
    assert isinstance(scan, Scan)
    assert scan.path == new.path


def test_generation_that_a_tombstone_named_is_not_walked_twice() -> None:
    new = ContainerWriter(DATA, 1, 2)
    place = attrs.evolve(new.add_chunk(OTHER), length=REF.length)
    old = tombstone(ContainerWriter(DATA, 1).header, [None, place])
    driver = Driver({PATH: old, NEWER: bytes(new.data).ljust(9000, b"\0")})
    with pytest.raises(CorruptMetadataError):
        driver.run(REF)
    assert driver.shape() == [FIRST, ["Read"], WALK]


def entry_of(**changes: Any) -> bytes:
    """Return a tombstone whose entry of the record was changed after it was sealed."""
    new = attrs.evolve(ContainerWriter(DATA, 1, 2).add_chunk(TEXT), **changes)
    return tombstone(ContainerWriter(DATA, 1).header, [None, new])


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


GOOD_ENTRY = entry_of()
OTHERS_HEADER = tombstone(
    ContainerWriter(DATA, 2).header, [None, ContainerWriter(DATA, 1, 2).add_chunk(TEXT)]
)
OLDER_HEADER = tombstone(
    ContainerWriter(DATA, 1, 2).header, [None, ContainerWriter(DATA, 1, 2).add_chunk(TEXT)]
)


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(flip(GOOD_ENTRY, 4096 + 32 + 4), id="generation changed"),
        pytest.param(flip(GOOD_ENTRY, 4096 + 32 + 31), id="check changed"),
        pytest.param(flip(GOOD_ENTRY, 40), id="page damaged"),
        pytest.param(GOOD_ENTRY[: 4096 + 63], id="entry cut short"),
        pytest.param(entry_of(container=0), id="record gone"),
        pytest.param(entry_of(length=REF.length + 8), id="other length"),
        pytest.param(entry_of(offset=MAX_OFFSET - REF.length + 1), id="beyond the largest offset"),
        pytest.param(entry_of(offset=2**64 - 1), id="wraps"),
        pytest.param(OTHERS_HEADER, id="tombstone of another container"),
        pytest.param(OLDER_HEADER, id="tombstone of another generation"),
        pytest.param(
            encode_header(ContainerWriter(DATA, 1).header) + GOOD_ENTRY[4096:], id="no tombstone"
        ),
    ],
)
def test_entry_that_cannot_be_trusted_is_not_followed(old: bytes) -> None:
    new = ContainerWriter(DATA, 1, 2)
    new.add_chunk(TEXT)
    driver = Driver({PATH: old, NEWER: bytes(new.data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, WALK, ["Scan"]]


def test_entry_of_a_wrong_length_from_a_store_is_not_followed() -> None:
    walk = repair(REF)
    next(walk)
    requests = walk.send((None, GOOD_ENTRY[:4096], GOOD_ENTRY[4096 + 32 : -1]))
    assert [type(request) for request in requests] == [Scan, ListFolder]


def test_tombstone_may_lead_to_a_record_with_another_local_id() -> None:
    moved = attrs.evolve(ContainerWriter(DATA, 1, 2).add_chunk(TEXT), local_id=7)
    new = ContainerWriter(DATA, 1, 2)
    new.add_chunk(TEXT)
    old = tombstone(ContainerWriter(DATA, 1).header, [None, moved])
    driver = Driver({PATH: old, NEWER: bytes(new.data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, ["Read"], WALK], "the entry claims a local id; it must be kept"


def test_record_walk_finds_a_record_at_another_place_in_the_third_round() -> None:
    driver = Driver({PATH: bytes(container(b"longer than the other text" * 3, OTHER, TEXT).data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, WALK]
    assert driver.rounds[1] == (
        Scan(StorePath(PATH), 4096, (1 << 30) + (128 << 20), REF),
        ListFolder(StorePath("Data")),
    )


def test_other_generation_is_walked_in_the_last_round() -> None:
    driver = Driver({PATH: damaged(container(OTHER, TEXT)), NEWER: bytes(container(TEXT).data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, WALK, ["Scan"]]


def test_missing_container_is_found_in_another_generation() -> None:
    driver = Driver({NEWER: bytes(container(TEXT).data)})
    assert driver.run(REF) == TEXT
    assert driver.shape() == [FIRST, WALK, ["Scan"]]


def test_newest_generations_come_first_and_only_some_are_walked() -> None:
    names = {container_path(DATA, 1, generation): b"" for generation in range(1, 100)}
    strangers = {container_path(DATA, 2, 500): b"", "Data/README": b""}
    driver = Driver(names | strangers | {PATH: damaged(container(OTHER, TEXT))})
    with pytest.raises(CorruptMetadataError):
        driver.run(REF)
    assert [request.path for request in driver.rounds[2] if isinstance(request, Scan)] == [
        container_path(DATA, 1, generation) for generation in range(99, 91, -1)
    ]


def test_answer_to_a_scan_that_is_no_record_is_nothing() -> None:
    for answer in (b"", b"short", bytes(71), bytes(72), bytes(200)):
        walk = repair(REF)
        next(walk)
        walk.send((None, None, None))
        with pytest.raises(CorruptMetadataError):
            walk.send((answer, ()))


def test_entry_with_the_largest_offset_is_followed() -> None:
    page = entry_of(offset=MAX_OFFSET - REF.length)
    walk = repair(REF)
    next(walk)
    requests = walk.send((None, page[:4096], page[4096 + 32 :][:32]))
    assert requests == (Read(StorePath(NEWER), MAX_OFFSET - REF.length, REF.length),)


def test_name_that_comes_twice_is_walked_once() -> None:
    walk = repair(REF)
    next(walk)
    walk.send((None, None, None))
    names = ("00000001.00000002.rhc",) * 3
    assert len(walk.send((None, names))) == 1


@pytest.mark.parametrize("lists", [True, False])
def test_nothing_found_is_an_error_of_ours(lists: bool) -> None:  # noqa: FBT001 - a parameter of the case
    driver = Driver({PATH: damaged(container(OTHER, TEXT))}, lists=lists)
    with pytest.raises(CorruptMetadataError) as caught:
        driver.run(REF)
    assert caught.value.code == "record.lost"
    assert driver.shape() == [FIRST, WALK]


def test_store_that_only_fails_is_an_error_of_ours() -> None:
    driver = Driver({})
    with pytest.raises(CorruptMetadataError):
        driver.run(REF)
    assert driver.shape() == [FIRST, WALK]


def test_failed_listing_is_no_listing() -> None:
    walk = repair(REF)
    next(walk)
    walk.send((None, None, None))
    with pytest.raises(CorruptMetadataError):
        walk.send((None, StoreReadError("no")))


@pytest.mark.parametrize(
    ("ref", "end"),
    [
        pytest.param(REF, REF.offset + REF.length + (128 << 20), id="small"),
        pytest.param(attrs.evolve(REF, offset=MAX_OFFSET - 200), 4 << 30, id="far"),
    ],
)
def test_walk_of_a_container_without_header_is_bounded(ref: RecordRef, end: int) -> None:
    walk = repair(ref)
    next(walk)
    scan, _ = walk.send((None, None, None))
    assert isinstance(scan, Scan)
    assert (scan.start, scan.end) == (4096, end)


def test_capacity_that_lies_does_not_make_a_walk_endless() -> None:
    header = attrs.evolve(ContainerWriter(DATA, 1).header, capacity=MAX_OFFSET)
    walk = repair(REF)
    next(walk)
    scan, _ = walk.send((None, encode_header(header), None))
    assert isinstance(scan, Scan)
    assert scan.end == 4 << 30


def test_numbers_at_their_ends_make_requests_that_a_store_can_be_asked() -> None:
    for local_id in (0, 1, 2**32 - 1):
        walk = repair(attrs.evolve(REF, local_id=local_id))
        for request in next(walk):
            assert isinstance(request, Read)
            assert 0 <= request.offset <= MAX_OFFSET - request.size
