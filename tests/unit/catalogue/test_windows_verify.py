"""Verifying the chunk stores of Windows volumes: damage in each place, and the files it breaks."""

import copy
import json
import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast
from uuid import UUID

import attrs
import pytest

from rehydrate.catalogue import windows_heads, windows_stubs, windows_tables, windows_walks
from rehydrate.catalogue.opening import open_volumes
from rehydrate.catalogue.windows_damage import Finding, WindowsVerifyReport
from rehydrate.catalogue.windows_verify import bytes_to_verify, verify_volume
from rehydrate.engine.restore import restore_files
from rehydrate.errors import Cancelled, RequestError, StoreError, StoreReadError
from rehydrate.formats.windows import walking
from rehydrate.formats.windows.codec import codec
from rehydrate.staging.root import TargetRoot
from rehydrate.stores.volume import VolumeEntry
from rehydrate.values import StorePath
from tests.windows_store import fake_volume
from tests.windows_store.damage import (
    CTHR_FIELDS,
    RRTL_FIELDS,
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
from tests.windows_store.fake_volume import FakeVolume, fake_catalogue
from tests.windows_store.store import Chunk, WindowsStore
from tests.windows_store.structures import crc64, smap_payload
from tests.windows_store.vectors import hex_vector, json_vector, vector
from tests.windows_store.volume import Entry, folder_copy

PLAIN, LZNT1, XPRESS, HUFFMAN = range(4)
FORMATS = ("1.2", "2.1", "3.1")
CHUNK = 5000


def text(seed: int, size: int) -> bytes:
    """Return bytes that compress."""
    generator = random.Random(seed)
    words = [generator.randbytes(6) for _ in range(64)]
    return b"".join(generator.choice(words) for _ in range(size // 6 + 1))[:size]


@attrs.frozen
class World:
    """A store with nine files of four chunks, of all formats and methods; parts where there can be.

    File ``i`` has the records ``4 i + 1`` to ``4 i + 4`` of its ``Data`` container.
    """

    store: WindowsStore
    tree: list[Entry]

    def verify(self, *, stubs: bool = True, read_data: bool = True) -> WindowsVerifyReport:
        catalogue = fake_catalogue(FakeVolume(self.tree, self.store))
        report = verify_volume(catalogue, 1, stubs=stubs, read_data=read_data, jobs=2)
        json.dumps(report.as_record())
        return report


@pytest.fixture(scope="module")
def made() -> World:
    store = WindowsStore()
    tree = []
    for number in range(9):
        file = store.add_file(
            text(number, 4 * CHUNK),
            stub=FORMATS[number % 3],
            chunks=CHUNK,
            compression=(PLAIN, XPRESS, LZNT1, HUFFMAN)[number % 4],
            parts=1 if number % 3 == 0 else 2,
        )
        tree.append(Entry(f"Docs/{number}", file=file))
    return World(store, [*tree, Entry("plain", data=b"x" * 99)])


@pytest.fixture
def world(made: World) -> World:
    """Return a copy that can be spoilt."""
    return World(copy.deepcopy(made.store), made.tree)


def only(report: WindowsVerifyReport) -> Finding:
    assert not report.ok
    assert len(report.damage) == 1, [str(finding) for finding in report.damage]
    return report.damage[0]


def checks(report: WindowsVerifyReport) -> list[str]:
    return [finding.check for finding in report.damage]


def broken(report: WindowsVerifyReport) -> dict[bytes, tuple[str, int]]:
    return {file.path: (file.check, file.at) for file in report.files}


def name_of(finding: Finding) -> str:
    return finding.container.partition(".ddp/")[2]


def test_a_whole_store_is_whole(world: World) -> None:
    report = world.verify()
    assert report.ok
    assert not report.notices
    counts = report.counts
    assert (counts.stores, counts.containers, counts.paddings) == (1, 2, 2)
    assert (counts.chunks, counts.by_digest) == (36, 36)
    assert counts.compressed == sum(4 for number in range(9) if number % 4)
    assert counts.maps == counts.by_checksum == 3 + 6 * 2
    assert (counts.files, counts.whole) == (9, 9)
    assert (counts.unreferenced_chunks, counts.unreferenced_maps) == (0, 0)
    assert counts.bytes == sum(len(data) for data in world.store.as_mapping().values())


def test_without_stubs_and_without_data(world: World) -> None:
    report = world.verify(stubs=False)
    assert report.ok
    # First chunks of second parts, where compressed: nothing but the stub tells their size.
    assert report.counts.by_digest < 36
    assert report.counts.by_digest + report.counts.by_checksum == 36 + report.counts.maps
    assert (report.counts.files, report.counts.unreferenced_maps) == (0, 0)
    report = world.verify(read_data=False)
    assert report.ok
    assert (report.counts.by_digest, report.counts.by_header) == (0, 36)
    assert report.counts.whole == 9


@pytest.mark.parametrize("number", [1, 7, 18, 30, 36])
@pytest.mark.parametrize(
    ("where", "check"),
    [
        ("payload", "record.payload-crc"),
        ("payload_crc", "record.header-crc"),
        ("header_crc", "record.header-crc"),
        ("digest", "record.header-crc"),
        ("local_id", "record.header-crc"),
        ("magic", "record.magic"),
        ("stored", "record.header-crc"),
    ],
)
def test_one_damaged_chunk_is_named_with_its_file(
    world: World, number: int, where: str, check: str
) -> None:
    container = world.store.container("Data", 1)
    spoil_record(container, number, where)
    report = world.verify()
    finding = only(report)
    file = (number - 1) // 4
    assert (finding.check, finding.local_id) == (check, number)
    assert finding.offset == container.spots[number].offset
    assert name_of(finding) == f"Data/{container.name}"
    assert finding.files == (f"Docs/{file}".encode(),)
    assert finding.expected != finding.found
    at = (number - 1) % 4 * CHUNK
    assert broken(report) == {f"Docs/{file}".encode(): (check, at)}
    assert report.files[0].reason == str(finding)
    assert finding.reason in str(finding)
    assert (report.counts.files, report.counts.whole) == (9, 8)


def test_a_chunk_whose_checksums_are_right_is_known_by_its_digest(world: World) -> None:
    for number in (2, 6):
        spoil_record(world.store.container("Data", 1), number, "payload", reseal=True)
    report = world.verify()
    assert [finding.local_id for finding in report.damage] == [2, 6]
    assert [finding.check[:6] for finding in report.damage] == ["chunk."] * 2
    assert set(broken(report)) == {b"Docs/0", b"Docs/1"}


def test_without_the_libraries_damage_is_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_fast", lambda: None)
    spoil_record(world.store.container("Data", 1), 6, "payload", reseal=True)
    assert only(world.verify()).files == (b"Docs/1",)


def test_another_digest_in_a_whole_header_is_told_as_such(world: World) -> None:
    spoil_record(world.store.container("Data", 1), 3, "digest", 5, reseal=True)
    report = world.verify()
    assert only(report).check == "chunk.digest"
    # Where only headers are read, the reference tells.
    report = world.verify(read_data=False)
    finding = only(report)
    assert finding.check == "record.digest"
    assert finding.found.startswith("05000000")
    assert broken(report) == {b"Docs/0": ("record.digest", 2 * CHUNK)}


def test_a_stream_map_that_is_damaged_breaks_its_file(world: World) -> None:
    spoil_record(world.store.container("Stream", 0x10000), 3, "payload")
    report = world.verify()
    finding = only(report)
    assert finding.check == "record.payload-crc"
    assert finding.files == (b"Docs/1",)
    # Its second part, of two.
    assert broken(report) == {b"Docs/1": ("record.payload-crc", 2 * CHUNK)}
    assert report.counts.unreferenced_chunks == 2


def test_files_that_share_a_chunk_are_all_named() -> None:
    store = WindowsStore()
    shared, own = text(1, CHUNK), text(2, CHUNK)
    tree = [
        Entry("one", file=store.add_file(shared + own, chunks=CHUNK)),
        Entry("two", file=store.add_file(own + shared + shared, stub="3.1", chunks=CHUNK)),
        Entry("three", file=store.add_file(own, stub="2.1", chunks=CHUNK)),
    ]
    spoil_record(store.container("Data", 1), 1, "payload")
    report = World(store, tree).verify()
    assert only(report).files == (b"one", b"two")
    assert broken(report) == {
        b"one": ("record.payload-crc", 0),
        b"two": ("record.payload-crc", CHUNK),
    }
    assert report.counts.whole == 1


def test_the_first_damage_of_a_file_is_told(world: World) -> None:
    for number in (4, 2, 3):
        spoil_record(world.store.container("Data", 1), number, "payload")
    report = world.verify()
    assert len(report.damage) == 3
    assert broken(report) == {b"Docs/0": ("record.payload-crc", CHUNK)}
    assert "record 2" in report.files[0].reason


@pytest.mark.parametrize("kind", [1, 3])
def test_a_copy_in_hotspot_heals(world: World, kind: int) -> None:
    for number in (1, 2):
        place = world.tree[number].file
        assert place is not None
        world.store.add_hotspot(place.chunks[1], kind=kind)
    report = world.verify()
    assert report.ok
    assert report.counts.hotspots == 2
    for number in (6, 10):
        spoil_record(world.store.container("Data", 1), number, "payload")
    report = world.verify()
    assert not report.ok
    assert len(report.damage) == 2
    assert not report.files
    assert report.counts.whole == 9
    assert "a good copy exists in Hotspot/00000001.00000001.ccc at 20480" in str(report.damage[0])
    assert not report.damage[0].files


@pytest.mark.parametrize("kind", [1, 3])
@pytest.mark.parametrize("reseal", [True, False])
def test_a_damaged_copy_in_hotspot_is_told_and_heals_nothing(
    world: World, kind: int, *, reseal: bool
) -> None:
    file = world.tree[1].file
    assert file is not None
    world.store.add_hotspot(file.chunks[1], kind=kind)
    spoil_record(world.store.container("Hotspot", 1), 1, "payload", reseal=reseal)
    report = world.verify()
    assert name_of(only(report)).startswith("Hotspot/")
    assert not report.files
    assert reseal != (only(report).check == "record.payload-crc")
    spoil_record(world.store.container("Data", 1), 6, "payload")
    assert set(broken(world.verify())) == {b"Docs/1"}


def test_damage_over_several_records_is_healed_only_if_all_are(world: World) -> None:
    file = world.tree[1].file
    assert file is not None
    world.store.add_hotspot(file.chunks[0])
    container = world.store.container("Data", 1)
    for number in (5, 6):
        spoil_record(container, number, "magic")
    finding = only(world.verify())
    assert (finding.local_id, finding.copy, finding.files) == (5, "", (b"Docs/1",))
    spoil_record(container, 6, "magic")  # it is right again
    world.store.add_hotspot(file.chunks[1])
    spoil_record(container, 6, "magic")
    finding = only(world.verify())
    assert finding.copy.startswith("Hotspot/")
    assert not finding.files


def test_half_a_digest_is_enough_for_maps_only(world: World) -> None:
    store = world.store
    place = store.add_chunk(Chunk(data=text(60, CHUNK)))
    half = place._replace(digest=place.digest[:16] + bytes(16))
    stub = store.make_stub([store.add_map(smap_payload([half]), CHUNK)], "2.1")
    report = World(store, [*world.tree, Entry("odd", reparse=stub)]).verify()
    assert only(report).check == "record.digest"
    assert set(broken(report)) == {b"odd"}


def test_the_first_damage_is_told_whatever_the_order_of_maps(world: World) -> None:
    store = world.store
    places = [store.add_chunk(Chunk(data=text(60 + n, CHUNK))) for n in range(2)]
    second = store.add_map(smap_payload(places[1:], begin=CHUNK), CHUNK)
    first = store.add_map(smap_payload(places[:1]), CHUNK)
    stub = store.make_stub([first, second], "2.1")
    for place in places:
        spoil_record(store.container("Data", 1), place.local_id, "payload")
    report = World(store, [*world.tree, Entry("odd", reparse=stub)]).verify()
    assert broken(report) == {b"odd": ("record.payload-crc", 0)}
    assert f"record {places[0].local_id}" in report.files[0].reason


def test_a_chunk_that_is_nowhere_but_in_hotspot_is_told(world: World) -> None:
    file = world.tree[0].file
    assert file is not None
    world.store.add_hotspot(file.chunks[1])
    world.store.compact("Data", 1, 2, drop=[2])
    finding = only(world.verify())
    assert (finding.check, finding.local_id) == ("record.missing", 2)
    assert finding.copy.startswith("Hotspot/")
    assert not finding.files


def test_moved_records_are_found_through_their_tables(world: World) -> None:
    world.store.compact("Data", 1, 0x10000)
    world.store.compact("Stream", 0x10000, 2)
    report = world.verify()
    assert report.ok
    assert report.counts.whole == 9
    spoil_record(world.store.container("Data", 1), 5, "payload")
    spoil_record(world.store.container("Stream", 0x10000), 1, "magic")
    report = world.verify()
    assert {finding.local_id for finding in report.damage} == {5, 1}
    assert set(broken(report)) == {b"Docs/0", b"Docs/1"}
    spoil_record(world.store.container("Data", 1), 9, "header_crc")
    assert b"Docs/2" in broken(world.verify()), "its table leads to the damaged place"


def test_another_generation_heals(world: World) -> None:
    world.store.compact("Data", 1, 2, keep_old=True)
    assert world.verify().ok
    assert world.verify().counts.unreferenced_chunks == 0
    spoil_record(world.store.container("Data", 1, 1), 5, "payload")
    spoil_record(world.store.container("Data", 1, 2), 9, "header_crc")
    report = world.verify()
    assert checks(report) == ["record.payload-crc", "record.header-crc"]
    assert report.damage[0].copy.startswith("Data/00000001.00000002.ccc")
    assert not report.files
    spoil_record(world.store.container("Data", 1, 2), 5, "payload")
    report = world.verify()
    assert set(broken(report)) == {b"Docs/1"}


def test_a_stream_map_in_another_generation_heals(world: World) -> None:
    world.store.compact("Stream", 0x10000, 2, keep_old=True)
    spoil_record(world.store.container("Stream", 0x10000, 1), 3, "payload")
    report = world.verify()
    assert only(report).copy.startswith("Stream/00010000.00000002.ccc")
    assert not report.files


def test_a_stream_map_under_another_number_is_taken(world: World) -> None:
    file = world.tree[1].file
    assert file is not None
    container = world.store.container("Stream", 0x10000)
    payload = container.record(2)[0x68:]
    world.store.add_map(payload, file.maps[0].size, digest=file.maps[0].digest)
    spoil_record(world.store.container("Stream", 0x10000), 2, "payload")
    report = world.verify()
    finding = only(report)
    assert finding.copy.startswith("Stream/")
    assert not report.files
    assert (report.counts.by_digest, report.counts.unreferenced_chunks) == (36, 0)
    # What it refers to counts.
    spoil_record(world.store.container("Data", 1), 5, "payload")
    assert set(broken(world.verify())) == {b"Docs/1"}


def test_a_missing_container_is_one_finding(world: World) -> None:
    mapping = world.store.as_mapping()
    report = verify(world, {path: data for path, data in mapping.items() if "/Data/" not in path})
    finding = only(report)
    assert finding.check == "container.missing"
    assert name_of(finding) == "Data/00000001.00000001.ccc"
    assert len(finding.files) == len(report.files) == 9
    assert report.counts.whole == 0
    report = verify(world, {path: data for path, data in mapping.items() if "/Stream/" not in path})
    assert name_of(only(report)) == "Stream/00010000.00000001.ccc"
    assert len(report.files) == 9
    report = verify(world, {})
    assert len(report.files) == 9
    report = verify(
        world, {path: d for path, d in mapping.items() if "/Data/" not in path}, stubs=False
    )
    assert only(report).check == "container.missing"
    assert not report.files


class Bytes(WindowsStore):
    """A store whose files are any bytes."""

    def __init__(self, world: World, files: Mapping[str, bytes]) -> None:
        super().__init__(world.store.guid)
        self.files = dict(files)

    def as_mapping(self) -> dict[str, bytes]:
        return self.files


def verify(
    world: World,
    files: Mapping[str, bytes],
    *,
    stubs: bool = True,
    read_data: bool = True,
) -> WindowsVerifyReport:
    """Verify the volume with other container files."""
    volume = FakeVolume(world.tree, Bytes(world, files))
    return verify_volume(fake_catalogue(volume), 1, stubs=stubs, read_data=read_data)


def data_file(world: World) -> tuple[str, bytes]:
    return next(pair for pair in world.store.as_mapping().items() if "/Data/" in pair[0])


def changed(world: World, data: bytes) -> dict[str, bytes]:
    return world.store.as_mapping() | {data_file(world)[0]: data}


def test_a_container_that_is_cut_off(world: World) -> None:
    _, data = data_file(world)
    container = world.store.container("Data", 1)
    cut = container.spots[20].offset + 100
    report = verify(world, changed(world, data[:cut]))
    assert checks(report)[:3] == ["record.truncated", "container.truncated", "record.missing"]
    truncated = next(f for f in report.damage if f.check == "container.truncated")
    assert (truncated.expected, truncated.found) == (f"{len(data)} bytes", str(cut))
    assert {f.local_id for f in report.damage if f.check == "record.missing"} == set(range(21, 37))
    assert set(broken(report)) == {f"Docs/{number}".encode() for number in range(4, 9)}
    assert report.counts.bytes < len(data) + container.image.size
    missing = next(f for f in report.damage if f.check == "record.missing")
    assert missing.found == f"the end of the data at {cut}"


@pytest.mark.parametrize("size", [0, 10, 0x40, 0x1000, 0x3010, 0x4FFF, 0x5000])
def test_a_container_of_less_than_its_head(world: World, size: int) -> None:
    _, data = data_file(world)
    report = verify(world, changed(world, data[:size]))
    assert any(check.startswith("container.") for check in checks(report))
    assert len(report.files) == 9


def test_what_lies_behind_the_valid_length_is_ignored(world: World) -> None:
    _, data = data_file(world)
    garbage = flip(world.store.container("Data", 1).record(1), 0x60) + b"\xaa" * 9999
    report = verify(world, changed(world, data + garbage))
    assert report.ok
    world.store.container("Data", 1).preallocate(1 << 20)
    assert world.verify().ok


def test_a_wrong_container_is_told(world: World) -> None:
    other = WindowsStore(world.store.guid)
    other.add_file(text(77, 4 * CHUNK), chunks=CHUNK)
    other.new_container("Data")
    other.add_file(text(78, 4 * CHUNK), chunks=CHUNK)
    (swapped,) = (data for path, data in other.as_mapping().items() if "Data/00000002" in path)
    report = verify(world, changed(world, swapped))
    foreign = [finding for finding in report.damage if finding.check == "container.foreign"]
    assert len(foreign) == 3
    assert foreign[0].expected == "00000001.00000001.ccc"
    assert foreign[0].found == "00000002.00000001.ccc"
    assert len(report.files) == 9
    assert {"record.digest", "record.missing"} <= set(checks(report))
    assert report.counts.unreferenced_chunks in range(5)


@pytest.mark.parametrize("copy", [0, 1, 2])
def test_each_copy_of_the_header_is_checked(world: World, copy: int) -> None:
    spoil_header(world.store.container("Data", 1), "flags", copies=[copy])
    finding = only(world.verify())
    assert (finding.check, finding.offset) == ("container.header-copy", 0x1000 * copy)
    assert finding.expected != finding.found
    assert not world.verify().files


def test_behind_an_older_header_the_walk_goes_on(world: World) -> None:
    world.store.end_run()
    late = world.store.add_file(text(50, 3 * CHUNK), chunks=CHUNK)
    whole = World(world.store, [*world.tree, Entry("late", file=late)])
    assert whole.verify().ok
    for folder, number in (("Data", 1), ("Stream", 0x10000)):
        spoil_header(whole.store.container(folder, number), copies=[1, 2])
    report = whole.verify()
    assert set(checks(report)) == {"container.header-copy"}
    assert not report.files


def test_without_any_header_all_is_walked(world: World) -> None:
    spoil_header(world.store.container("Data", 1))
    report = world.verify()
    assert only(report).check == "container.header"
    assert report.counts.by_digest == 36
    assert not report.files


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("magic", None, "table.magic"),
        ("count", None, "table.crc"),
        ("crc", None, "table.crc"),
    ],
)
@pytest.mark.parametrize("primary", [True, False])
def test_each_table_is_checked(
    world: World, name: str, value: int | None, check: str, *, primary: bool
) -> None:
    world.store.compact("Data", 1, 2)
    container = world.store.container("Data", 1)
    spoil_table(container, name, value, primary=primary, backup=not primary)
    report = world.verify()
    finding = only(report)
    assert finding.check == check
    assert finding.offset == (0x3000 if primary else container.backup_at)
    assert not report.files


def test_tables_must_agree_and_lead_to_their_records(world: World) -> None:
    world.store.compact("Data", 1, 2)
    container = world.store.container("Data", 1)
    spoil_table(container, "first_offset", 0x5008, reseal=True)
    report = world.verify()
    assert checks(report) == ["table.entry", "table.disagree"]
    entry = report.damage[0]
    assert (entry.local_id, entry.expected) == (1, "record 1 at 20488")
    assert not report.files
    spoil_table(container, "first_offset", 0x5008, primary=False, backup=True, reseal=True)
    assert checks(world.verify()) == ["table.entry"]


def test_many_wrong_entries_are_listed_once(world: World) -> None:
    world.store.compact("Data", 1, 2)
    container = world.store.container("Data", 1)
    container.redirect((number, 8 * number) for number in range(1, 251))
    report = world.verify()
    assert checks(report) == ["table.entry"] * 100
    assert any("250 entries" in notice for notice in report.notices)


def test_the_checksum_of_entries_is_no_damage(world: World) -> None:
    world.store.compact("Data", 1, 2)
    container = world.store.container("Data", 1)
    table = container.image.read(0x3000, 0x1000)
    head = set_field(table, RRTL_FIELDS["entries_crc"], 7)[:0x18]
    sealed = reseal_table(head + table[0x18:])
    # Only the sum of the head is made right again.
    wrong = head + struct.pack("<Q", crc64(head)) + sealed[0x20:]
    container.image.patch(0x3000, wrong)
    report = world.verify()
    assert report.ok
    assert any("CRC-64 of the entries" in notice for notice in report.notices)


@pytest.mark.parametrize("value", [0, 0x3000, 1 << 31])
def test_a_backup_table_that_is_nowhere_is_told(world: World, value: int) -> None:
    spoil_header(world.store.container("Data", 1), "backup_at", value, reseal=True)
    report = world.verify()
    assert only(report).check == "table.backup-place"
    assert not report.files


def test_tables_over_a_page() -> None:
    store = WindowsStore()
    tree = [
        Entry(f"{number}", file=store.add_file(text(number, 65536), chunks=100, stub="2.1"))
        for number in range(2)
    ]
    store.compact("Data", 1, 2)
    container = store.container("Data", 1)
    assert container.begin > 0x5000
    world = World(store, tree)
    assert world.verify().ok
    spoil_record(container, 600, "payload")
    assert only(world.verify()).local_id == 600


def test_numbers_of_records_are_checked(world: World) -> None:
    container = world.store.container("Data", 1)
    record = container.record(3)
    container.image.patch(container.spots[3].offset, reseal_record(set_field(record, (8, 4), 2)))
    report = world.verify()
    assert checks(report) == ["local-id.twice", "record.missing"]
    assert report.damage[1].copy, "its digest is there, under another number"
    assert not report.files
    container.image.patch(container.spots[3].offset, reseal_record(set_field(record, (8, 4), 99)))
    report = world.verify()
    assert checks(report) == ["local-id.range", "record.missing", "local-id.order"]


def test_numbers_need_not_ascend_where_a_table_tells_them(world: World) -> None:
    world.store.compact("Data", 1, 2, order=list(range(36, 0, -1)))
    assert world.verify().ok


def test_a_wrong_count_of_records_is_worth_knowing(world: World) -> None:
    spoil_header(world.store.container("Data", 1), "chunk_count", 5, reseal=True)
    report = world.verify()
    assert report.ok
    assert "counts 5 records, there are 36" in report.notices[0]


def test_a_record_of_another_kind_does_not_belong_here(world: World) -> None:
    container = world.store.container("Data", 1)
    spoil_record(container, 3, "kind", 2, reseal=True)
    report = world.verify()
    finding = only(report)
    assert (finding.check, finding.files) == ("record.kind", (b"Docs/0",))
    spoil_record(container, 3, "kind", 77, reseal=True)
    report = world.verify()
    assert report.counts.others == 1
    spoil_record(container, 3, "payload")
    assert only(world.verify()).check == "record.payload-crc"


def test_a_record_that_the_walk_does_not_come_by_is_found_at_its_place(world: World) -> None:
    for folder, number, header in (("Data", 1, 0x58), ("Stream", 0x10000, 0x68)):
        container = world.store.container(folder, number)
        stored = container.spots[4].offset - container.spots[2].offset - header
        spoil_record(container, 2, "stored", stored, reseal=True)
    report = world.verify()
    hidden = [finding for finding in report.damage if finding.check == "record.hidden"]
    assert [finding.local_id for finding in hidden] == [3, 3]
    assert set(broken(report)) == {b"Docs/0", b"Docs/1"}, "those that need the records 2"
    assert world.verify(read_data=False).damage


def test_a_hidden_record_that_is_no_map_breaks_its_file(world: World) -> None:
    container = world.store.container("Stream", 0x10000)
    stored = container.spots[4].offset - container.spots[2].offset - 0x68
    spoil_record(container, 3, 0x68, 0, reseal=True)
    spoil_record(container, 2, "stored", stored, reseal=True)
    report = world.verify()
    assert set(broken(report)) == {b"Docs/1"}
    hidden = next(finding for finding in report.damage if finding.check == "record.hidden")
    assert hidden.files == (b"Docs/1",)


def test_records_behind_the_valid_length_are_hidden(world: World) -> None:
    container = world.store.container("Data", 1)
    valid = container.spots[35].offset
    spoil_header(container, "valid_length", valid, reseal=True)
    report = world.verify()
    assert checks(report) == ["record.hidden"] * 2
    assert not report.files


def test_gaps_and_paddings_are_checked(world: World) -> None:
    container = world.store.container("Data", 1)
    last = container.spots[36]
    container.image.patch(container.image.size - 1, b"x")
    spot = next(s for s in container.spots.values() if (s.offset + s.size) % 8)
    container.image.patch(spot.offset + spot.size, b"x")
    report = world.verify()
    assert sorted(checks(report)) == ["padding.zeros", "record.gap"]
    assert report.damage[-1].offset > last.offset
    assert not report.files


def test_compressed_chunks_that_nobody_names_have_only_a_checksum(world: World) -> None:
    store = world.store
    store.add_chunk(Chunk(data=text(91, 5000), method=XPRESS))
    store.add_chunk(Chunk(data=text(92, 5000)))
    report = world.verify()
    assert report.ok
    assert report.counts.by_checksum == report.counts.maps + 1
    assert report.counts.unreferenced_chunks == 2
    spoil_record(store.container("Data", 1), 37, "payload")
    report = world.verify()
    finding = only(report)
    assert (finding.check, finding.local_id, finding.files) == ("record.payload-crc", 37, ())


def test_maps_that_nobody_names_are_counted_and_break_nothing(world: World) -> None:
    gone = world.store.add_file(text(93, 2 * CHUNK), chunks=CHUNK, compression=XPRESS)
    report = world.verify()
    assert report.ok
    assert (report.counts.unreferenced_maps, report.counts.unreferenced_chunks) == (1, 2)
    assert report.counts.by_digest == 38
    world.store.compact("Data", 1, 2, drop=[place.local_id for place in gone.chunks])
    assert world.verify().ok, "garbage collection may be half done"
    assert world.verify(stubs=False).damage[0].check == "record.missing"


def _ends(world: World, ends: Sequence[int], parts: int = 1) -> World:
    store = world.store
    places = [store.add_chunk(Chunk(data=text(60 + n, CHUNK))) for n in range(len(ends))]
    place = store.add_map(smap_payload(places, ends=ends), len(ends) * CHUNK)
    stub = store.make_stub([place], "2.1")
    return World(store, [*world.tree, Entry("odd", reparse=stub)])


@pytest.mark.parametrize(
    ("ends", "check"),
    [
        ([5000, 5000, 15000], "map.order"),
        ([9000, 7000, 15000], "map.order"),
        ([5000, 10000, 15001], "map.end"),
        ([5000, 1 << 63, 15000], "map.order"),
    ],
)
def test_a_map_that_does_not_tile_its_part(world: World, ends: list[int], check: str) -> None:
    report = _ends(world, ends).verify()
    finding = only(report)
    assert (finding.check, finding.files) == (check, (b"odd",))


def test_a_chunk_that_is_too_large_for_any_reader(world: World) -> None:
    store = world.store
    place = store.add_chunk(Chunk(data=text(60, CHUNK)))
    large = place._replace(size=1 << 21)
    stub = store.make_stub([store.add_map(smap_payload([large]), 1 << 21)], "2.1")
    report = World(store, [*world.tree, Entry("odd", reparse=stub)]).verify()
    assert only(report).check == "map.chunk-size"
    assert World(store, world.tree).verify(stubs=False).ok, "it may be a second part"


def test_a_map_that_claims_another_size(world: World) -> None:
    report = _ends(world, [5001, 10000, 15000]).verify()
    assert set(checks(report)) == {"record.size"}
    assert [(f.expected, f.found) for f in report.damage] == [("5001", "5000"), ("4999", "5000")]
    assert broken(report) == {b"odd": ("record.size", 0)}


def test_a_map_that_is_none(world: World) -> None:
    store = world.store
    stubs = [
        store.make_stub([store.add_map(payload, 5000)], "2.1")
        for payload in (b"no map at all!!!", smap_payload([])[:4] + b"\2\0\0\2", smap_payload([]))
    ]
    tree = [Entry(f"odd{number}", reparse=stub) for number, stub in enumerate(stubs)]
    report = World(store, [*world.tree, *tree]).verify()
    assert checks(report) == ["map.magic", "map.version", "map.end"]
    assert [finding.files for finding in report.damage] == [(b"odd0",), (b"odd1",), (b"odd2",)]


def test_damaged_stubs_are_broken_files(world: World) -> None:
    file = world.tree[1].file
    assert file is not None
    stubs = {
        "crc": flip(file.stub, -1),
        "gap": reseal_stub(set_field(file.stub, (0x9C + 0x38, 8), 77)),
        "short": file.stub[:20],
    }
    tree = [*world.tree, *(Entry(name, reparse=stub) for name, stub in stubs.items())]
    volume = FakeVolume(tree, world.store, unreadable=["Docs/0"])
    report = verify_volume(fake_catalogue(volume), 1)
    assert not report.ok
    assert not report.damage
    assert {path: check for path, (check, _) in broken(report).items()} == {
        b"Docs/0": "store.read",
        b"crc": "stub.crc",
        b"gap": "stub.parts",
        b"short": "stub.length",
    }
    assert (report.counts.files, report.counts.whole) == (12, 8)


def test_orphans_are_listed_apart(world: World) -> None:
    other = WindowsStore(UUID(int=0x77 << 96))
    file = other.add_file(text(5, 9000))
    tree = [*world.tree, Entry("lost/b", file=file), Entry("lost/a", file=file)]
    volume = FakeVolume(tree, world.store)
    report = verify_volume(fake_catalogue(volume), 1)
    assert not report.ok
    (orphans,) = report.orphans
    assert orphans.files == (b"lost/a", b"lost/b")
    assert (orphans.store, orphans.elsewhere) == (str(other.guid), False)
    assert (report.counts.files, report.counts.whole) == (9, 9)
    both = verify_volume(fake_catalogue(FakeVolume(tree, world.store, other)), 1)
    assert both.ok
    assert (both.counts.stores, both.counts.files) == (2, 11)
    alone = verify_volume(fake_catalogue(FakeVolume(tree)), 1)
    assert len(alone.orphans) == 2
    assert alone.counts.stores == 0


def test_a_volume_without_anything_to_verify_is_refused() -> None:
    catalogue = fake_catalogue(FakeVolume([Entry("plain", data=b"x")]))
    with pytest.raises(StoreError) as caught:
        verify_volume(catalogue, 1)
    assert caught.value.code == "volume.no-store"
    with pytest.raises(RequestError):
        verify_volume(catalogue, 2)


def test_progress_adds_up(world: World) -> None:
    catalogue = fake_catalogue(FakeVolume(world.tree, world.store))
    for read_data in (True, False):
        steps: list[int] = []
        verify_volume(catalogue, 1, tell=steps.append, read_data=read_data)
        assert sum(steps) == bytes_to_verify(catalogue, 1)
        assert all(step >= 0 for step in steps)


def test_other_files_of_a_store_are_no_containers(world: World) -> None:
    container = world.store.container("Data", 1)
    world.store.suffixed(container, ".tmp")
    world.store.extra["Data/00000009.00000001.bitmap"] = b"bits"
    world.store.extra["stamp.dat"] = bytes(28)
    report = world.verify()
    assert report.ok
    assert report.counts.containers == 2


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[range, Exception]]:
    """Let reads of ``Data`` fail where they touch a range."""
    ranges: list[tuple[range, Exception]] = []
    whole = fake_volume._Store.read_backup_file

    def read(self: fake_volume._Store, path: StorePath, offset: int, size: int, /) -> bytes:
        for bad, error in ranges if "/Data/" in path else ():
            if offset < bad.stop and bad.start < offset + size:
                raise error
        return whole(self, path, offset, size)

    monkeypatch.setattr(fake_volume._Store, "read_backup_file", read)
    return ranges


def test_bytes_that_cannot_be_read_cost_only_what_they_hold(
    world: World, failing: list[tuple[range, Exception]]
) -> None:
    spot = world.store.container("Data", 1).spots[30]
    failing.append((range(spot.offset, spot.offset + 8), StoreReadError("bad sector")))
    report = world.verify()
    assert "container.unreadable" in checks(report)
    assert b"Docs/7" in broken(report)
    assert b"Docs/0" not in broken(report)
    failing[0] = (range(1 << 40), OSError(5, "Input/output error"))
    report = world.verify()
    assert len(report.files) == 9
    assert "container.unreadable" in checks(report)


def test_a_container_that_cannot_be_read_at_all_is_given_up(
    failing: list[tuple[range, Exception]],
) -> None:
    store = WindowsStore()
    data = random.Random(5).randbytes(5 << 20)
    world = World(store, [Entry("large", file=store.add_file(data, stub="2.1"))])
    failing.append((range(1 << 40), PermissionError(13, "denied")))
    report = world.verify()
    assert any("given up" in notice for notice in report.notices)
    assert checks(report).count("container.unreadable") >= 1
    assert set(broken(report)) == {b"large"}


def test_a_cancelled_read_ends_it(world: World, failing: list[tuple[range, Exception]]) -> None:
    failing.append((range(1 << 40), Cancelled()))
    with pytest.raises(Cancelled):
        world.verify()


def test_the_pages_of_a_container_that_cannot_be_read(
    world: World, failing: list[tuple[range, Exception]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows_heads, "_MOST_FAILURES", 1)
    failing.append((range(1 << 40), PermissionError(13, "denied")))
    report = world.verify()
    assert set(checks(report)) == {"container.unreadable", "record.missing"}
    assert len(report.files) == 9


def test_a_cancelled_read_of_a_piece_or_a_stub_ends_it(
    world: World, failing: list[tuple[range, Exception]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole block fails, then one of its pieces.
    failing.append((range(0x5000, 0x5001), StoreReadError("bad")))
    failing.append((range(0x16000, 0x16001), Cancelled()))
    with pytest.raises(Cancelled):
        world.verify()
    failing.clear()

    def cancelled(self: FakeVolume, entry: VolumeEntry) -> bytes:
        raise Cancelled

    monkeypatch.setattr(FakeVolume, "reparse_data", cancelled)
    with pytest.raises(Cancelled):
        world.verify()


def test_small_steps_give_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 17):
        spoil_record(world.store.container("Data", 1), number, "payload")
    spoil_record(world.store.container("Data", 1), 30, "magic")
    whole, headers = world.verify(), world.verify(read_data=False)
    monkeypatch.setattr(walking, "BLOCK", 1000)
    monkeypatch.setattr(windows_tables, "_PENDING", 5)
    monkeypatch.setattr(windows_stubs, "_BATCH", 2)
    monkeypatch.setattr(windows_walks, "_HEADERS", 4)
    assert world.verify() == whole
    assert world.verify(read_data=False) == headers


def test_many_records_are_quick() -> None:
    store = WindowsStore()
    generator = random.Random(9)
    chunks = [Chunk(data=generator.randbytes(64)) for _ in range(50_000)]
    file = store.add_chunks(chunks, stub="3.1", parts=4)
    world = World(store, [Entry("many", file=file)])
    for number in (1, 25_000, 50_000):
        spoil_record(store.container("Data", 1), number, "payload")
    report = world.verify()
    assert report.counts.by_digest == 50_000 - 3
    assert [finding.local_id for finding in report.damage] == [1, 25_000, 50_000]
    assert broken(report) == {b"many": ("record.payload-crc", 0)}


def _spoilt_somehow(world: World, seed: int) -> None:
    """Spoil a few records, tables, headers and bytes, with copies of some chunks around."""
    generator = random.Random(seed)
    store = world.store
    for entry in generator.sample(world.tree[:-1], 2):
        assert entry.file is not None
        store.add_hotspot(generator.choice(entry.file.chunks))
    for folder, number, step in (("Data", 1, 2), ("Stream", 0x10000, 5)):
        if generator.random() < 0.5:
            store.compact(folder, number, step, keep_old=generator.random() < 0.5)
    for container in store.containers():
        for _ in range(generator.randrange(4)):
            number = generator.choice(list(container.spots))
            where = generator.choice(
                ["payload", "payload_crc", "header_crc", "digest", "local_id", "magic", "stored"]
            )
            # A map that is made up has no digest to fail by: nothing but its container is asked.
            reseal = container.folder != "Stream" and generator.random() < 0.3
            spoil_record(container, number, where, reseal=reseal)
        if generator.random() < 0.3:
            spoil_table(container, generator.choice(["crc", "count", "first_offset"]))
        if generator.random() < 0.2:
            spoil_header(container, copies=generator.sample(range(3), generator.randint(1, 3)))
        for _ in range(generator.randrange(3)):
            at = generator.randrange(container.begin, container.image.size)
            container.image.patch(at, generator.randbytes(1))


@pytest.mark.parametrize("seed", range(25))
def test_files_are_broken_just_where_a_restore_fails(
    world: World, tmp_path: Path, seed: int
) -> None:
    _spoilt_somehow(world, seed)
    folder_copy(tmp_path / "copy", world.tree, world.store)
    (tmp_path / "out").mkdir()
    with open_volumes(tmp_path / "copy") as catalogue, TargetRoot(tmp_path / "out") as target:
        report = verify_volume(catalogue, 1)
        entries = list(catalogue.entries(1))
        done = restore_files(catalogue.requests(1, entries), catalogue.stores(1), target)
    failed = {result.target for result in done.failures}
    assert {path.decode() for path in broken(report)} == failed


def test_the_headers_of_a_real_container_are_whole() -> None:
    facts = json_vector("container_2019_records.json")
    data = bytearray(cast("int", facts["size"]))
    head = hex_vector("container_2019_tables.hex")
    for place, at, size in zip(
        range(0, 0x5000, 0x1000),
        (0, 0x40, 0x80, 0xC0, 0xE0),
        (0x40,) * 3 + (0x20,) * 2,
        strict=True,
    ):
        data[place : place + size] = head[at : at + size]
    for record in cast("list[dict[str, str]]", facts["records"]):
        header = bytes.fromhex(record["header"])
        at = int(record["offset"], 16)
        data[at : at + len(header)] = header
    last = vector("chunk_2019_xpress_record53.bin")
    data[at_of(facts, 53) : at_of(facts, 53) + len(last)] = last
    world = World(WindowsStore(), [])
    path = f"{world.store.path}/Data/00000001.00000001.ccc"
    report = verify(world, {path: bytes(data)}, read_data=False)
    assert report.ok, list(map(str, report.damage))
    assert not report.notices
    counts = report.counts
    assert (counts.chunks, counts.compressed, counts.paddings) == (53, 8, 2)
    # Payloads are known of the paddings and of the last record.
    report = verify(world, {path: bytes(data)})
    assert {finding.local_id for finding in report.damage} == set(range(1, 53))
    assert {finding.check for finding in report.damage} == {"record.payload-crc"}


def at_of(facts: dict[str, object], number: int) -> int:
    records = cast("list[dict[str, object]]", facts["records"])
    (found,) = (str(record["offset"]) for record in records if record["local_id"] == number)
    return int(found, 16)


def test_a_folder_copy_is_verified_in_place(world: World, tmp_path: Path) -> None:
    spoil_record(world.store.container("Data", 1), 5, "payload")
    folder_copy(tmp_path / "copy", world.tree, world.store)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*")}
    with open_volumes(tmp_path / "copy") as catalogue:
        report = verify_volume(catalogue, 1)
    assert only(report).files == (b"Docs/1",)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*")} == before


def test_the_record_for_programs_says_everything(world: World) -> None:
    spoil_record(world.store.container("Data", 1), 5, "payload")
    plain = world.verify().as_record()
    again = json.loads(json.dumps(plain))
    assert again["ok"] is False
    assert again["counts"]["chunks"] == 36
    (damage,) = again["damage"]
    assert set(damage) == {
        "check",
        "container",
        "offset",
        "length",
        "local_id",
        "expected",
        "found",
        "copy",
        "files",
        "reason",
    }
    assert damage["files"] == ["Docs/1"]
    assert again["files"][0]["path"] == "Docs/1"
    assert again["notices"] == again["orphans"] == []


def test_findings_read_well() -> None:
    one = Finding(check="container.truncated", container="c", offset=5, found="too short")
    assert str(one) == "c at 5: the container is cut off: too short"
    other = Finding(check="new.check", container="c", offset=5, local_id=3)
    assert str(other) == "c at 5, record 3: new.check"


def test_every_byte_of_a_head_can_be_damaged(world: World) -> None:
    world.store.compact("Data", 1, 2)
    _, data = data_file(world)
    for at in (*range(0x40), *range(0x3000, 0x3000 + 0x60), *range(0x4000, 0x4060)):
        report = verify(world, changed(world, flip(data, at)))
        assert not report.files, at
        assert report.damage, at


def test_every_field_of_a_header_can_say_anything(world: World) -> None:
    container = world.store.container("Data", 1)
    _, data = data_file(world)
    for name, field in CTHR_FIELDS.items():
        for value in (0, 1, (1 << 31) - 1, (1 << 32) - 1):
            head = reseal_header(set_field(data[:0x40], field, value))
            spoilt = bytearray(data)
            for place in (0, 0x1000, 0x2000):
                spoilt[place : place + 0x40] = head
            report = verify(world, changed(world, bytes(spoilt)))
            assert report.counts.files == 9, (name, value)
            if name not in ("valid_length", "backup_at"):
                assert not report.files, (name, value)
    assert container.spots
