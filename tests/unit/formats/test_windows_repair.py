"""The repair walk of Windows stores, driven by hand: what is asked in which round."""

import random

import attrs
import pytest

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.formats.walk import (
    DATA,
    STREAM,
    Answer,
    ListFolder,
    Read,
    RecordRef,
    RecordScanner,
    Scan,
)
from rehydrate.formats.windows.container import MAX_TABLE_SIZE
from rehydrate.formats.windows.format import WINDOWS, WindowsFormat
from rehydrate.formats.windows.layout import HEAD_SIZE, MAX_CONTAINER
from rehydrate.values import StorePath
from tests.unit.formats.repairing import RepairDriver
from tests.windows_store.containers import Container
from tests.windows_store.damage import spoil_header, spoil_record, spoil_table
from tests.windows_store.store import File, WindowsStore
from tests.windows_store.structures import PAGE, XPRESS, data_record, digest_of

FORMAT = WindowsFormat(WindowsStore().guid.bytes)
SLACK = 128 << 20
ANY = StorePath("any container")


class Driver(RepairDriver[Container]):
    scanned_at_once = 8192

    def __init__(self, store: WindowsStore, *, lists: bool = True) -> None:
        super().__init__(FORMAT, store.by_path(), lists=lists)

    def size(self, container: Container) -> int:
        return container.image.size

    def bytes_at(self, container: Container, offset: int, size: int) -> bytes:
        return container.image.read(offset, size)

    def shape(self) -> list[str]:
        """Return what the rounds behind the listing asked, as letters."""
        assert [type(request) for request in self.rounds[0]] == [ListFolder, ListFolder]
        return ["".join(type(r).__name__[0] for r in asked) for asked in self.rounds[1:]]

    def names(self, number: int) -> list[str]:
        """Return the names of the containers that a round asked."""
        return [
            r.path.rpartition("ddp/")[2]
            for r in self.rounds[number]
            if not isinstance(r, ListFolder)
        ]


def made(count: int = 6) -> tuple[WindowsStore, File]:
    store = WindowsStore()
    data = random.Random(1).randbytes(count * 3000)
    return store, store.add_file(data, chunks=3000, stub="2.1", parts=2)


def ref_of(file: File, number: int = 2, *, kind: str = DATA) -> RecordRef:
    place = (file.chunks if kind == DATA else file.maps)[number]
    overhead = 0x58 if kind == DATA else 0x68
    half = place.digest[:16] + bytes(16)
    return RecordRef(
        kind=kind,
        container=place.container,
        generation=place.generation,
        offset=place.offset,
        length=place.stored + overhead,
        local_id=place.local_id,
        logical_size=place.size if kind == DATA else place.stored,
        digest=place.digest if kind == DATA else half,
    )


def piece(file: File, number: int = 2) -> bytes:
    return file.data[number * 3000 : number * 3000 + 3000]


def lost(driver: Driver, ref: RecordRef) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        driver.run(ref)
    assert caught.value.code == "record.lost"


def test_a_second_read_is_enough() -> None:
    store, file = made()
    driver, ref = Driver(store), ref_of(file)
    assert driver.run(ref) == piece(file)
    assert driver.shape() == ["RR"]
    path = StorePath(store.path_of(store.container("Data", 1)))
    assert set(driver.rounds[1]) == {Read(path, ref.offset, ref.length), Read(path, 0, HEAD_SIZE)}
    folders = [r.folder for r in driver.rounds[0] if isinstance(r, ListFolder)]
    assert folders == [f"{store.path}/Data", f"{store.path}/Hotspot"]


@pytest.mark.parametrize("kind", [DATA, STREAM])
@pytest.mark.parametrize("lists", [True, False])
def test_moved_records_are_read_where_the_table_says(kind: str, *, lists: bool) -> None:
    store, file = made()
    ref = ref_of(file, 1, kind=kind)
    moved = store.container(kind, ref.container).compacted(
        1, [*range(6, 0, -1)] if kind == DATA else [2, 1]
    )
    driver = Driver(store, lists=lists)
    driver.containers[store.path_of(moved)] = moved
    found = driver.run(ref)
    assert found == (piece(file, 1) if kind == DATA else moved.record(2)[0x68:])
    assert driver.shape() == ["RR", "R"]
    (place,) = driver.rounds[2]
    assert place == Read(
        StorePath(store.path_of(moved)), moved.spots[ref.local_id].offset, ref.length
    )


@pytest.mark.parametrize("kind", [DATA, STREAM])
def test_another_generation_is_asked_by_its_table_first(kind: str) -> None:
    store, file = made()
    ref = ref_of(file, 1, kind=kind)
    store.compact(kind, ref.container, 2)
    store.compact(kind, ref.container, 0x10000, keep_old=True)
    driver = Driver(store)
    assert driver.run(ref)
    assert driver.shape() == ["R", "R"], "no read at the old offset"
    assert {name[-12:] for name in driver.names(1) + driver.names(2)} == {"00010000.ccc"}, "newest"


def test_a_record_that_did_not_move_is_read_at_its_hint() -> None:
    store, file = made()
    old = store.container("Data", 1)
    same = Container("Data", 1, 2)
    for number in old.spots:
        same.append(number, old.record(number))
    same.seal()
    driver, ref = Driver(store), ref_of(file)
    del driver.containers[store.path_of(old)]
    driver.containers[store.path_of(same)] = same
    assert driver.run(ref) == piece(file)
    assert driver.shape() == ["R", "R"]


def test_the_exact_generation_is_preferred_and_newer_ones_are_walked() -> None:
    store, file = made()
    ref = ref_of(file)
    spoil_record(store.container("Data", 1), ref.local_id, "payload")
    old = store.container("Data", 1)
    good = WindowsStore()
    good.add_file(file.data, chunks=3000)
    for generation in (3, 2):
        driver = Driver(store)
        newer = good.container("Data", 1).compacted(generation, [3])
        driver.containers[store.path_of(newer)] = newer
        assert driver.run(ref) == piece(file)
        assert driver.shape() == ["RR", "R", "SSSS"]
        assert driver.names(2) == [f"Data/{newer.name}"]
        assert driver.names(3)[-1] == f"Data/{newer.name}"
        assert driver.names(1) == [f"Data/{old.name}"] * 2


def test_at_most_eight_generations_are_walked_newest_first() -> None:
    store, file = made()
    ref = ref_of(file)
    spoil_record(store.container("Data", 1), ref.local_id, "digest")
    driver = Driver(store)
    for generation in range(2, 30):
        empty = Container("Data", 1, generation)
        driver.containers[store.path_of(empty)] = empty
    lost(driver, ref)
    walked = [name[-12:-4] for name in driver.names(3) if name.endswith("ccc")]
    assert walked == ["00000001"] * 2 + [f"{n:08x}" for n in range(29, 21, -1)]


def test_tables_of_many_pages_are_read_whole() -> None:
    store = WindowsStore()
    data = random.Random(2).randbytes(1200 * 8)
    file = store.add_file(data, chunks=8)
    moved = store.compact("Data", 1, 2)
    assert moved.backup_at == 0x6000
    for spoilt in (None, "primary"):
        if spoilt:
            spoil_table(moved, "first_local_id", 0xFFFFFFFF, reseal=True)
        driver = Driver(store)
        ref = ref_of(file, 1100)
        assert driver.run(ref) == data[8800:8808]
        assert driver.shape() == ["R", "RR", "R"]
        sizes = [r.size for r in driver.rounds[2] if isinstance(r, Read)]
        assert sizes == [0x20 + 8 * 1200, 3 * PAGE]


@pytest.mark.parametrize("head", ["good", "spoilt"])
def test_the_backup_table_stands_in_for_the_primary(head: str) -> None:
    store, file = made()
    moved = store.compact("Data", 1, 2)
    spoil_table(moved)
    if head == "spoilt":
        spoil_header(moved)
    driver = Driver(store)
    assert driver.run(ref_of(file)) == piece(file)
    assert driver.shape() == (["R", "R"] if head == "good" else ["R", "R", "S"])


def test_tables_that_lie_are_followed_to_the_end_and_no_further() -> None:
    store, file = made()
    moved = store.compact("Data", 1, 2)
    ref = ref_of(file)
    table = [
        (number, 0xFFFFFFF8 if number == ref.local_id else spot.offset)
        for number, spot in sorted(moved.spots.items())
    ]
    moved.redirect(table)
    driver = Driver(store)
    assert driver.run(ref) == piece(file)
    assert driver.shape() == ["R", "R", "SS"]
    reads = [r for asked in driver.rounds for r in asked if isinstance(r, Read)]
    assert all(r.size <= max(HEAD_SIZE, ref.length) for r in reads)


@pytest.mark.parametrize("both", [True, False])
def test_a_spoilt_table_costs_a_walk(*, both: bool) -> None:
    store, file = made()
    moved = store.compact("Data", 1, 2)
    spoil_table(moved, "first_local_id", 0xFFFFFFFF, backup=True, reseal=True)
    if both:
        spoil_table(moved, backup=True)
    driver = Driver(store)
    assert driver.run(ref_of(file)) == piece(file)
    assert driver.shape() == ["R", "R", "SS"]
    (first, second) = driver.rounds[3]
    assert isinstance(first, Scan)
    assert isinstance(second, Scan)
    assert (first.start, first.end) == (0x5000, moved.image.size)
    assert second.end == (1 << 30) + SLACK


def test_a_walk_reaches_behind_far_hints_and_ends_at_four_gigabytes() -> None:
    store, file = made()
    container = store.container("Data", 1)
    spoil_record(container, 3, "payload")
    for offset in (0x9000_0000, 0xFFFF_FF00):
        driver = Driver(store)
        lost(driver, attrs.evolve(ref_of(file), offset=offset))
        last = driver.rounds[-1][-1]
        assert isinstance(last, Scan)
        assert last.end == min(offset + 3088 + SLACK, MAX_CONTAINER)


def test_a_foreign_container_is_not_walked() -> None:
    store, file = made()
    ref = ref_of(file)
    spoil_record(store.container("Data", 1), ref.local_id, "payload")
    for field in ("container_id", "generation"):
        other, _ = made()
        container = other.container("Data", 1)
        spoil_record(container, ref.local_id, "payload")
        spoil_header(container, field, 77, reseal=True)
        driver = Driver(other)
        lost(driver, ref)
        assert driver.shape() == ["RR", ""], "nothing is left to ask"
    good, _ = made()
    spoil_header(good.container("Data", 1), "container_id", 77, reseal=True)
    assert Driver(good).run(ref) == piece(file), "what has the digest is the record"


def test_a_foreign_container_of_another_generation() -> None:
    store, file = made()
    moved = store.compact("Data", 1, 2)
    spoil_header(moved, "generation", 1, reseal=True)
    lost(Driver(store), ref_of(file))


@pytest.mark.parametrize("value", [0, 1, 0x2FFF, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_any_place_of_a_backup_table(value: int) -> None:
    store, file = made()
    moved = store.compact("Data", 1, 2)
    spoil_header(moved, "backup_at", value, reseal=True)
    for spoilt in (False, True):
        if spoilt:
            spoil_table(moved)
        driver = Driver(store)
        assert driver.run(ref_of(file)) == piece(file)
        reads = [r for asked in driver.rounds for r in asked if isinstance(r, Read)]
        assert all(r.size <= MAX_TABLE_SIZE for r in reads)


def test_hotspot_copies_stand_in() -> None:
    store, file = made()
    ref = ref_of(file)
    store.add_hotspot(file.chunks[2])
    spoil_record(store.container("Data", 1), ref.local_id, "payload")
    driver = Driver(store)
    assert driver.run(ref) == piece(file)
    assert driver.shape() == ["RR", "R", "SSSS"]
    assert driver.names(3)[-1].startswith("Hotspot/")
    driver = Driver(store)
    driver.containers = {p: c for p, c in driver.containers.items() if "/Hotspot/" in p}
    assert driver.run(ref) == piece(file), "nothing else is left of the store"


def test_hotspots_have_no_stream_maps_and_are_not_many() -> None:
    store, file = made()
    ref = ref_of(file, 0, kind=STREAM)
    spoil_record(store.container("Stream", 0x10000), 1, "payload")
    driver = Driver(store)
    for number in range(1, 40):
        container = Container("Hotspot", number, 1)
        driver.containers[store.path_of(container)] = container
    lost(driver, ref)
    assert not any("Hotspot" in name for name in driver.names(2))
    spoil_record(store.container("Data", 1), 3, "payload")
    lost(driver, ref_of(file))
    assert sum("Hotspot" in name for name in driver.names(len(driver.rounds) - 1)) == 16


def test_there_are_never_more_than_four_rounds() -> None:
    store = WindowsStore()
    file = store.add_file(random.Random(2).randbytes(1200 * 8), chunks=8)
    moved = store.compact("Data", 1, 2)
    store.compact("Data", 1, 3, keep_old=True)
    store.add_hotspot(file.chunks[5]._replace(generation=2))
    moved = store.container("Data", 1)
    moved.redirect((number, 0x7008) for number in sorted(moved.spots))
    driver = Driver(store)
    assert driver.run(ref_of(file, 1100)) == file.data[8800:8808]
    assert driver.shape() == ["R", "RR", "R", "SSSS"], "no round is left for first pages"


def test_a_missing_container_is_lost_without_wrong_reads() -> None:
    store, file = made()
    driver, ref = Driver(store), ref_of(file)
    driver.containers.clear()
    lost(driver, ref)
    assert driver.shape() == ["RR", "S"]


@pytest.mark.parametrize(
    "answer", [None, b"", b"Cthr", bytes(HEAD_SIZE), ("a", "b"), StoreReadError("x")]
)
def test_answers_of_any_kind_are_survived(answer: Answer) -> None:
    _, file = made()
    walk = FORMAT.repair(ref_of(file))

    def drive() -> None:
        requests = next(walk)
        while True:
            requests = walk.send([answer] * len(requests))

    with pytest.raises(CorruptMetadataError):
        drive()


def fed(scanner: RecordScanner, data: bytes, step: int) -> list[tuple[int, bytes]]:
    return [
        found
        for at in range(0, len(data), step)
        for found in scanner.feed(memoryview(data)[at : at + step])
    ]


@pytest.mark.parametrize("step", [1, 7, 8, 104, 4096, 1 << 20])
def test_a_scanner_finds_what_is_wanted(step: int) -> None:
    store = WindowsStore()
    data = random.Random(3).randbytes(3000)
    file = store.add_file(data, chunks=[100, 1000, 1500, 400])
    store.add_file(bytes(9000), chunks=9000, compression=XPRESS)
    container = store.container("Data", 1)
    refs = [ref_of(file, number) for number in (2, 0, 2)]
    body = container.image.read(0x5000, container.image.size)
    found = fed(WINDOWS.scanner(ANY, refs), body, step)
    assert [number for number, _ in found] == [1, 0, 2]
    assert found[1][1] == container.record(3)


def test_a_scanner_gives_liars_up() -> None:
    wanted = b"wanted " * 30
    liar = bytearray(data_record(1, wanted, digest=digest_of(wanted)))
    liar[-1] ^= 1
    good = data_record(2, wanted, digest=digest_of(wanted))
    ref = RecordRef(DATA, 1, 1, 0, len(good), 2, len(wanted), digest_of(wanted))
    gap = bytes(-len(good) % 8)
    for liars, found in ((7, 1), (8, 0)):
        body = (bytes(liar) + gap) * liars + good + gap + bytes(200)
        assert len(fed(WINDOWS.scanner(ANY, [ref]), body, 64)) == found
    body = (good + gap) * 3 + bytes(200)
    assert len(fed(WINDOWS.scanner(ANY, [ref]), body, 64)) == 1, "one copy is enough"


def test_a_scanner_passes_by_what_makes_no_sense() -> None:
    wanted = b"wanted " * 30
    good = data_record(2, wanted, digest=digest_of(wanted))
    ref = RecordRef(DATA, 1, 1, 0, len(good), 2, len(wanted), digest_of(wanted))
    broken = bytearray(good)
    broken[0x0C] ^= 1
    huge = data_record(2, b"", digest=digest_of(wanted), payload_crc=0, stored=0xFFFFFFF0)
    wide = bytearray(good)
    wide[0x12:0x14] = b"\xff\xff"
    body = bytes(broken) + bytes(6) + huge + bytes(8) + bytes(wide) + bytes(6)
    body = body.ljust(-(-len(body) // 8) * 8, b"\0") + good + bytes(200)
    assert [record for _, record in fed(WINDOWS.scanner(ANY, [ref]), body, 64)] == [good]
