"""Generated stores are what the page on the format says, in every variant."""

import random
import struct
from pathlib import Path
from uuid import UUID

import pytest

from tests.unit.windows_store.walking import (
    containers_of,
    record_at,
    restored,
    table_of,
    u32,
    value_of,
    walk,
)
from tests.windows_store.store import FORMATS, Chunk, WindowsStore
from tests.windows_store.structures import (
    LZNT1,
    NONE,
    SMAP_DTYPE,
    XPRESS,
    XPRESS_HUFFMAN,
    crc32,
    padding_record,
    record,
    redirection_table,
    smap_payload,
    table_size,
)
from tests.windows_store.stubs import symlink_buffer

RANDOM = random.Random(20)
NOISE = RANDOM.randbytes(300_001)
TEXT = b"".join(b"line %d of a text that repeats itself\n" % line for line in range(9000))


def kinds(data: bytes) -> list[int]:
    return [found.kind for found in walk(data)]


@pytest.mark.parametrize("stub", FORMATS)
def test_files_of_each_stub_format_resolve(stub: str) -> None:
    store = WindowsStore()
    parts = 1 if stub == "1.2" else 3
    files = [
        store.add_file(data, stub=stub, compression=[XPRESS, NONE, LZNT1, XPRESS_HUFFMAN])
        for data in (NOISE, TEXT, b"", b"x")
    ]
    files.append(store.add_file(TEXT[1:], stub=stub, chunks=30_000, parts=parts))
    for file in files:
        assert restored(store.as_mapping(), file).stale == 0
        assert crc32(file.stub[8:-4]) == int.from_bytes(file.stub[-4:], "little")
        assert struct.unpack_from("<H", file.stub, 4) == struct.unpack_from("<H", file.stub, 10)
        assert struct.unpack_from("<H", file.stub, 4)[0] + 8 == len(file.stub)
    assert len(files[-1].maps) == parts


def test_property_blocks_of_both_sizes_are_sealed() -> None:
    store = WindowsStore()
    for short, size in ((False, 0x18C), (True, 0x188)):
        stub = store.add_file(TEXT, stub="3.1", short=short).stub
        assert len(stub) == size
        outer = stub[0x0C:-4]
        blocks = {b"FeRp": outer, b"RbRp": value_of(outer, 7), b"DdRp": value_of(outer, 8)}
        for magic, block in blocks.items():
            assert block[:4] == magic
            assert u32(block, 4) == crc32(block[8:])
            assert u32(block, 8) == len(block)


def test_equal_chunks_are_stored_once() -> None:
    store = WindowsStore()
    first, second = (store.add_file(NOISE, chunks=50_000) for _ in range(2))
    assert first.chunks == second.chunks
    assert first.maps != second.maps
    again = store.add_chunk(Chunk(data=NOISE[:50_000]), again=True)
    assert again.local_id == len(first.chunks) + 1
    apart = WindowsStore(dedupe=False).add_file(bytes(300), chunks=100)
    assert [place.local_id for place in apart.chunks] == [1, 2, 3]


def test_a_chunk_that_gets_no_smaller_is_stored_plain() -> None:
    store = WindowsStore()
    file = store.add_file(NOISE[:60_000] + TEXT[:60_000], chunks=60_000, compression=XPRESS)
    data = store.container("Data", 1).image.read(0, 1 << 20)
    words = [struct.unpack_from("<II", record_at(data, c.offset).extension) for c in file.chunks]
    assert words == [(0, 0), (2, 2)]
    with pytest.raises(ValueError, match="chunks of 5 bytes"):
        store.add_file(b"123456", chunks=[2, 3])
    with pytest.raises(ValueError, match="2 chunks in 3 parts"):
        store.add_file(b"123456", chunks=3, stub="2.1", parts=3)
    with pytest.raises(ValueError, match="no stub format"):
        store.add_file(b"123456", stub="4.0")


def test_files_are_spread_over_containers() -> None:
    store = WindowsStore(data_limit=200_000, stream_limit=21_300, generation=0x10000)
    files = [store.add_file(RANDOM.randbytes(150_000), chunks=40_000) for _ in range(6)]
    mapping = store.as_mapping()
    assert [number for number, _ in containers_of(mapping, "Data")] == [*range(1, 7)]
    streams = containers_of(mapping, "Stream")
    assert list(streams) == [(number, 0x10000) for number in (0x10000, 0x20000, 0x30000)]
    for file in files:
        assert restored(mapping, file).stale == 0


def test_append_runs_end_with_paddings_in_mid_container() -> None:
    store = WindowsStore()
    for size in (100, 5000, 40_000):
        store.add_file(RANDOM.randbytes(size))
        store.end_run()
    store.end_run()
    data = store.container("Data", 1).image.read(0, 1 << 20)
    assert kinds(data) == [1, 4, 1, 4, 1, 4]
    assert (u32(data, 8), u32(data, 0x1008), u32(data, 0x18), u32(data, 0x1018)) == (2, 3, 2, 3)
    older, newer = (struct.unpack_from("<Q", data, at)[0] for at in (0x28, 0x1028))
    assert newer - older == 10_000_000


@pytest.mark.parametrize("room", [0, 8, 40, 48, 56])
def test_a_run_ends_at_a_page_whatever_room_is_left(room: int) -> None:
    store = WindowsStore()
    store.add_file(RANDOM.randbytes(4096 - 0x58 - room))
    store.end_run()
    store.add_file(b"more")
    data = store.container("Data", 1).image.read(0, 1 << 20)
    assert kinds(data)[0] == 1
    assert next(found.offset for found in walk(data) if found.local_id == 2) % 4096 == 0


def test_compaction_moves_all_records_and_leaves_references_stale() -> None:
    store = WindowsStore()
    old = store.add_file(NOISE, stub="2.1", chunks=50_000, parts=2, compression=XPRESS)
    store.compact("Data", 1, 0x10000)
    store.compact("Stream", 0x10000, 2)
    mapping = store.as_mapping()
    assert list(containers_of(mapping, "Data")) == [(1, 0x10000)]
    assert restored(mapping, old).direct == 0
    for place in old.chunks:
        moved = store.now("Data", place)
        assert moved.generation == 0x10000
        assert moved.offset != place.offset
    new = store.add_file(NOISE + b"more", chunks=50_000)
    assert restored(store.as_mapping(), new).stale == 0


def test_after_compaction_another_record_may_be_at_the_old_place() -> None:
    store = WindowsStore()
    file = store.add_file(NOISE[:80_000], chunks=10_000)
    store.compact("Data", 1, 2)
    data = store.container("Data", 1).image.read(0, 1 << 20)
    met = [record_at(data, place.offset).local_id for place in file.chunks]
    assert met == [2, 3, 4, 5, 6, 7, 8, 1]
    store.compact("Data", 1, 3, order=[1, 3, 5], keep_old=True)
    kept = [found.local_id for found in walk(store.container("Data", 1).image.read(0, 1 << 20))]
    assert kept == [1, 3, 5, 0]


def test_compaction_moves_a_lonely_record_and_forgets_dropped_ones() -> None:
    store = WindowsStore()
    chunks = [store.add_chunk(Chunk(data=bytes([number]) * 5000)) for number in range(3)]
    store.compact("Data", 1, 2, drop={1})
    assert store.now("Data", chunks[1]).offset != chunks[1].offset
    store.compact("Data", 1, 3, drop={1, 2})
    assert store.add_chunk(Chunk(data=bytes(5000))).local_id == 4
    only = store.add_chunk(Chunk(data=bytes([2]) * 5000))
    assert only == store.now("Data", chunks[2])
    assert (only.generation, only.local_id) == (3, 3)


def test_two_generations_are_there_at_once() -> None:
    store = WindowsStore()
    file = store.add_file(NOISE, chunks=50_000)
    store.compact("Data", 1, 2, keep_old=True)
    store.compact("Stream", 0x10000, 0x10000, keep_old=True)
    mapping = store.as_mapping()
    assert list(containers_of(mapping, "Data")) == [(1, 1), (1, 2)]
    assert list(containers_of(mapping, "Stream")) == [(0x10000, 1), (0x10000, 0x10000)]
    assert restored(mapping, file).stale == 0


def test_tables_over_a_page_move_the_backup_and_the_first_record() -> None:
    assert [table_size(count) for count in (0, 508, 509, 1020, 1021)] == [
        4096, 4096, 8192, 8192, 12288,
    ]  # fmt: skip
    store = WindowsStore()
    file = store.add_file(RANDOM.randbytes(1200 * 16), chunks=16)
    moved = store.compact("Data", 1, 2)
    assert (moved.backup_at, moved.begin) == (0x6000, 0x9000)
    assert len(table_of(moved.image.read(0, 1 << 20))) == 1200
    assert restored(store.as_mapping(), file).stale == 1200
    with pytest.raises(ValueError, match="ascends"):
        redirection_table([(2, 0), (1, 0)])


def test_records_lie_beyond_two_gib_in_sparse_containers(tmp_path: Path) -> None:
    store = WindowsStore()
    store.add_file(NOISE)
    store.skip_to("Data", (1 << 31) + 8)
    file = store.add_file(TEXT)
    store.skip_to("Data", (1 << 32) - (1 << 20))
    last = store.add_chunk(Chunk(data=b"near the end"))
    assert file.chunks[0].offset == (1 << 31) + 8
    assert last.offset == (1 << 32) - (1 << 20)
    with pytest.raises(ValueError, match="holes"):
        store.as_mapping()
    folder = store.write(tmp_path)
    container = folder / "Data" / "00000001.00000001.ccc"
    status = container.stat()
    assert status.st_size > (1 << 32) - (1 << 20)
    assert status.st_blocks * 512 < 8 << 20
    path = f"{store.path}/Data/{container.name}"
    for place in (*file.chunks, last):
        found = record_at(store.read(path, place.offset, 1 << 18), 0)
        assert found.local_id == place.local_id
    with container.open("rb") as opened:
        opened.seek(last.offset)
        assert record_at(opened.read(4096), 0).payload == b"near the end"
    full = store.container("Data", 1)
    full.append(98, bytes(1 << 20))
    with pytest.raises(ValueError, match="4 GiB"):
        full.append(99, b"")
    assert store.add_chunk(Chunk(data=b"too far")).container == 2


def test_a_map_has_a_hundred_thousand_entries() -> None:
    store = WindowsStore()
    file = store.add_file(RANDOM.randbytes(800_000), chunks=8, stub="3.1")
    assert len(file.chunks) == 100_000
    payload = store.container("Stream", 0x10000).record(1)[0x68:]
    assert len(payload) == file.maps[0].stored == 8 + 64 * 100_000
    assert payload[-64:] == smap_payload(file.chunks[-1:], begin=799_992)[8:]
    assert SMAP_DTYPE.itemsize == 64


def test_hotspots_hold_copies_of_chunks() -> None:
    store = WindowsStore()
    file = store.add_file(TEXT, compression=XPRESS)
    copies = [store.add_hotspot(place) for place in file.chunks]
    (data,) = containers_of(store.as_mapping(), "Hotspot").values()
    assert kinds(data)[:-1] == [3] * len(copies)
    for place, copy in zip(file.chunks, copies, strict=True):
        assert record_at(data, copy.offset).extension[8:] == place.digest
        assert copy.stored == place.stored


def test_neighbours_misnamed_and_suffixed_files_are_written(tmp_path: Path) -> None:
    store = WindowsStore(UUID("01234567-89ab-cdef-0123-456789abcdef"))
    store.add_file(NOISE, chunks=50_000)
    store.new_container("Data", generation=7)
    store.add_file(TEXT)
    first, second = store.container("Data", 1), store.container("Data", 2)
    assert second.generation == 7
    store.misname(second, 1, 1)
    suffixed = store.suffixed(first, ".tmp")
    second.preallocate(100_000)
    store.extra["Data/notes.txt"] = b"mine"
    folder = store.write(tmp_path)
    assert folder == tmp_path / store.path
    assert folder.name == "{01234567-89AB-CDEF-0123-456789ABCDEF}.ddp"
    assert (folder / "stamp.dat").stat().st_size == 28
    assert (folder / "Data" / "00000001.00000001.ccc").read_bytes()[0x10] == 2
    assert (folder / "Hotspot").is_dir()
    for name in ("Settings/dedupConfig.02.xml", "State/chunkStoreStatistics.xml"):
        assert (folder.parent.parent / name).is_file()
    for path, data in store.as_mapping().items():
        assert (tmp_path / path).read_bytes() == data
    assert (tmp_path / suffixed).read_bytes() == first.image.read(0, first.image.size)
    list(walk(second.image.read(0, second.image.size)))
    bare = store.write(tmp_path / "bare", with_neighbours=False)
    assert not (bare / "stamp.dat").exists()


def test_recalled_files_own_whole_clusters() -> None:
    file = WindowsStore().add_file(NOISE, chunks=50_000)
    changed = file.recalled({5000: b"new", 8190: b"2 clusters", 290_000: b"later"})
    assert changed.stub == file.stub
    assert [(at, len(data)) for at, data in changed.own] == [(4096, 8192), (286_720, 4096)]
    assert changed.data[5000:5003] == b"new"
    assert changed.size == file.size
    longer = file.recalled({300_000: b"appended"})
    assert longer.data == NOISE[:300_000] + b"appended"
    assert longer.own == ((299_008, longer.data[299_008:]),)
    far = file.recalled({310_000: b"behind a gap"})
    assert [(at, len(data)) for at, data in far.own] == [(299_008, 310_012 - 299_008)]
    assert file.recalled({}, size=100).own == ()
    assert file.recalled({}, size=100).data == NOISE[:100]


def test_odd_structures_can_be_made_too() -> None:
    store = WindowsStore()
    file = store.add_file(NOISE, chunks=50_000)
    for stub in FORMATS:
        made = store.make_stub(file.maps, stub, size=5, trailing=b"more")
        plain = store.make_stub(file.maps, stub, size=5)
        assert made[-8:-4] == b"more"
        assert crc32(made[8:-4]) == int.from_bytes(made[-4:], "little")
        assert len(made) == len(plain) + 4
    assert len(padding_record(0x30)) == 0x30
    for wrong in (0x2F, 1 << 32):
        with pytest.raises(ValueError, match="a padding"):
            padding_record(wrong)
    with pytest.raises(ValueError, match="32 bytes"):
        store.add_map(b"", 0, digest=b"short")
    ends = smap_payload(file.chunks[:2], ends=[1 << 63, 5])
    assert struct.unpack_from("<Q", ends, 0x18 + 64)[0] == 5
    unknown = record(77, 5, b"extension", b"payload")
    assert unknown[0x10:0x14] == b"\x4d\0\x09\0"
    link = symlink_buffer("a")
    assert link[:4] == bytes.fromhex("0c0000a0")
    assert len(link) == 8 + int.from_bytes(link[4:6], "little")
