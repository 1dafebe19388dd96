"""Deduplicated files of Windows come back, however their store looks."""

import random
from itertools import pairwise, product
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from rehydrate.engine.restore import restore_files
from rehydrate.errors import DDP_E_PATH_NOT_FOUND, ContainerNotFoundError
from rehydrate.requests import Recall, RestoreRequest
from rehydrate.results import FileStatus, RestoreEvent, RoundStarted
from rehydrate.staging.root import TargetRoot
from tests.unit.engine.windows_jobs import (
    OLD,
    Backwards,
    Concurrent,
    Lists,
    Silent,
    Strict,
    named,
    restore,
)
from tests.windows_store.damage import spoil_record
from tests.windows_store.store import FORMATS, Chunk, File, WindowsStore
from tests.windows_store.structures import (
    LZNT1,
    NONE,
    SMAP_DTYPE,
    XPRESS,
    XPRESS_HUFFMAN,
    data_record,
    digest_of,
)

METHODS: dict[str, int | tuple[int, ...]] = {
    "plain": NONE,
    "lznt1": LZNT1,
    "xpress": XPRESS,
    "huffman": XPRESS_HUFFMAN,
    "mixed": (NONE, LZNT1, XPRESS, XPRESS_HUFFMAN),
}
STORES = pytest.mark.parametrize("kind", [Lists, Strict, Backwards, Concurrent, Silent])


def text(number: int, size: int) -> bytes:
    """Return bytes that compress to about half, and differ for each number."""
    rng = random.Random(number)
    words = [rng.randbytes(6) for _ in range(20)]
    return b"".join(rng.choices(words, k=size // 6 + 1))[:size]


def noise(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def variants(store: WindowsStore) -> list[File]:
    """Store a file of each stub format with each compression, in one part and in several."""
    files = []
    for number, (stub, method) in enumerate(product(FORMATS, METHODS.values())):
        for parts in (1,) if stub == "1.2" else (1, 3):
            data = text(100 * number + parts, 11_000 + number)
            files.append(
                store.add_file(data, stub=stub, chunks=1500, compression=method, parts=parts)
            )
    files.append(store.add_file(text(7, 9000), stub="3.1", short=True))
    files.append(store.add_file(bytes(300_000), stub="3.1", chunks=131_072, compression=XPRESS))
    files.append(store.add_file(files[0].data, stub="3.1", chunks=1500))
    return files


@STORES
def test_every_variant_comes_back(tmp_path: Path, kind: type[Silent]) -> None:
    store = WindowsStore(data_limit=60_000, stream_limit=40_000)
    files = variants(store)
    memory = kind.of(store)
    done = restore(files, memory, tmp_path)
    assert not done.failed()
    assert done.report.counts == {FileStatus.RESTORED: len(files)}
    assert len(files) > 25
    if isinstance(memory, Lists):
        assert len(memory.orders) == 2
    containers = len(memory.containers)
    assert containers > 3, "several Data and Stream containers"


@STORES
@pytest.mark.parametrize("keep_old", [False, True])
def test_moved_records_are_found(tmp_path: Path, kind: type[Silent], *, keep_old: bool) -> None:
    store = WindowsStore()
    files = variants(store)
    store.compact("Data", 1, 0x10000, keep_old=keep_old)
    store.compact("Stream", 0x10000, 2, keep_old=keep_old)
    memory = kind.of(store)
    done = restore(files, memory, tmp_path)
    failed = done.failed()
    if keep_old or kind is not Silent:
        assert not failed
    else:
        assert set(failed.values()) == {"store.container-missing"}, "nobody lists the folder"
    if isinstance(memory, Lists):
        assert len(memory.orders) == 2 if keep_old else len(memory.orders) <= 6


@STORES
def test_a_container_that_shrank_gives_what_is_left(tmp_path: Path, kind: type[Silent]) -> None:
    # The old offsets lie beyond its end, so that reads there fail: it must not be given up.
    store = WindowsStore()
    files = [store.add_file(noise(n, 9000 + n), stub="2.1") for n in range(60)]
    wanted = files[40::3]
    store.compact("Data", 1, 2, drop=range(1, 41))
    store.compact("Stream", 0x10000, 2, drop=range(1, 41))
    done = restore(wanted, kind.of(store), tmp_path)
    assert len(done.failed()) == (len(wanted) if kind is Silent else 0)


@STORES
def test_stale_hints_beyond_the_end_in_the_same_generation(
    tmp_path: Path, kind: type[Silent]
) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 9000 + n), stub="3.1") for n in range(60)]
    container = store.container("Data", 1)
    moved = container.compacted(1, range(41, 61))
    memory = kind.of(store)
    memory.containers[store.path_of(container)] = moved
    done = restore(files[40::3], memory, tmp_path)
    assert not done.failed()


@STORES
@pytest.mark.parametrize("folder", ["Data", "Stream"])
def test_stale_hints_inside_the_same_generation(
    tmp_path: Path, kind: type[Silent], folder: str
) -> None:
    store = WindowsStore()
    files = variants(store)
    container = store.container(folder, 1 if folder == "Data" else 0x10000)
    numbers = list(container.spots)
    memory = kind.of(store)
    memory.containers[store.path_of(container)] = container.compacted(
        container.generation, numbers[::-1]
    )
    assert not restore(files, memory, tmp_path).failed()


def test_padding_in_mid_container_and_offsets_beyond_two_gigabytes(tmp_path: Path) -> None:
    store = WindowsStore()
    files = [store.add_file(text(1, 20_000), chunks=3000)]
    store.end_run()
    files.append(store.add_file(text(2, 20_000), chunks=3000, stub="2.1"))
    store.skip_to("Data", (1 << 31) + 8)
    store.skip_to("Stream", (1 << 31) + (1 << 29))
    files.append(store.add_file(text(3, 20_000), chunks=3000, stub="3.1", compression=XPRESS))
    store.skip_to("Data", (1 << 32) - (1 << 16))
    files.append(store.add_file(text(4, 9_000), chunks=3000))
    assert files[-1].chunks[-1].offset > (1 << 32) - (1 << 16)
    memory = Strict.of(store)
    assert not restore(files, memory, tmp_path / "direct").failed()
    assert len(memory.orders) == 2
    store.compact("Data", 1, 2)
    assert not restore(files, Strict.of(store), tmp_path / "moved").failed()


def test_tables_of_several_pages(tmp_path: Path) -> None:
    store = WindowsStore()
    files = [store.add_file(text(n, 6000), chunks=20, stub="2.1") for n in range(5)]
    moved = store.compact("Data", 1, 2)
    assert moved.backup_at >= 0x6000, "three pages or more"
    memory = Strict.of(store)
    assert not restore(files, memory, tmp_path).failed()
    assert len(memory.orders) <= 1 + 4 + 4


@pytest.mark.slow
def test_one_bad_stub_among_ten_thousand_files_that_make_two_order_calls(tmp_path: Path) -> None:
    store = WindowsStore()
    files = [store.add_file(b"%05d" % number, stub=FORMATS[number % 3]) for number in range(10_000)]
    bad = bytearray(files[4711].stub)
    bad[0x40] ^= 1
    wanted = named(files)
    requests = [
        RestoreRequest(bytes(bad) if name == "f04711" else file.stub, name, size=5, own_data=())
        for name, file in wanted.items()
    ]
    memory = Lists.of(store)
    done = restore(wanted, memory, tmp_path, requests=requests)
    assert done.failed() == {"f04711": "stub.crc"}
    assert done.report.counts[FileStatus.RESTORED] == 9_999
    assert len(memory.orders) == done.report.counters.order_calls == 2
    for folder in ("Stream", "Data"):
        places = [(offset, offset + size) for _, offset, size in memory.reads_of(folder)]
        assert all(left[1] <= right[0] for left, right in pairwise(places)), "once each"
        assert len(places) == 1, "all in one read"


@pytest.mark.slow
def test_a_map_of_a_hundred_thousand_chunks(tmp_path: Path) -> None:
    store = WindowsStore()
    pieces = [Chunk(data=b"%03d" % number) for number in range(1000)]
    references = [store.add_chunk(piece) for piece in pieces]
    picked = np.random.default_rng(1).integers(0, 1000, 100_000)
    table = np.zeros(1000, SMAP_DTYPE)
    for row, place in enumerate(references):
        table[row]["local_id"], table[row]["offset"] = place.local_id, place.offset
        table[row]["digest"] = np.frombuffer(place.digest, np.uint8)
    table["container"] = table["generation"] = 1
    table["stored"] = 3
    rows = table[picked]
    rows["end"] = 3 * np.arange(1, 100_001)
    data = b"".join(pieces[number].data for number in picked.tolist())
    place = store.add_map(b"Smap\x01\x04\x04\x01" + rows.tobytes(), len(data))
    file = File(stub=store.make_stub([place], "2.1"), data=data, chunks=(), maps=(place,))
    memory = Lists.of(store)
    done = restore([file], memory, tmp_path)
    assert not done.failed()
    assert len(memory.reads_of("Stream")) == 1, "6.4 MB in one read"
    assert len(memory.reads_of("Data")) == 1, "each chunk once"


def test_two_stores_in_one_job(tmp_path: Path) -> None:
    first = WindowsStore()
    second = WindowsStore(UUID(int=0xABCDEF))
    files = {"one": first.add_file(text(1, 5000)), "two": second.add_file(text(2, 5000))}
    files["three"] = first.add_file(text(3, 5000), stub="3.1")
    apart = {first.guid: Lists.of(first), second.guid: Lists.of(second)}
    assert not restore(files, apart, tmp_path / "apart").failed()
    together = Lists.of(first, second)
    assert not restore(files, together, tmp_path / "together").failed()
    done = restore(files, {second.guid: Lists.of(second)}, tmp_path / "half")
    assert done.failed() == {"one": "store.other", "three": "store.other"}


def test_damaged_identity_is_told_as_damage_of_the_stub(tmp_path: Path) -> None:
    store = WindowsStore()
    file = store.add_file(b"x" * 50_000)
    stub = bytearray(file.stub)
    stub[0x21] ^= 1  # in the GUID of format 1.2
    memory = Lists.of(store)
    with TargetRoot(tmp_path) as root:
        report = restore_files([RestoreRequest(bytes(stub), "one")], {store.guid: memory}, root)
    (failed,) = report.failures
    assert failed.error is not None
    assert failed.error.code == "stub.crc"


@STORES
def test_a_store_that_is_not_there(tmp_path: Path, kind: type[Silent]) -> None:
    store, other = WindowsStore(), WindowsStore(UUID(int=5))
    files = {"lost": store.add_file(text(1, 5000)), "good": other.add_file(text(2, 5000))}
    done = restore(files, kind.of(other), tmp_path)
    assert done.failed() == {"lost": "store.container-missing"}
    error = done.error("lost")
    assert isinstance(error, ContainerNotFoundError)
    assert error.hresult == DDP_E_PATH_NOT_FOUND
    assert str(store.guid).upper() in str(error)


def test_names_with_more_behind_them_are_no_containers(tmp_path: Path) -> None:
    store = WindowsStore()
    files = variants(store)
    store.compact("Data", 1, 2)
    memory = Lists.of(store)
    memory.more = {
        "Data": ["00000001.00000009.ccc.tmp", "x00000001.0000000a.ccc", "00000001.0000000b.ccc\n"],
        "Stream": ["00010000.00000001.delete.log"],
    }
    assert not restore(files, memory, tmp_path).failed()
    assert {path[-21:] for path, _, _ in memory.reads_of("Data")} <= {
        "00000001.00000001.ccc",
        "00000001.00000002.ccc",
    }


def test_names_of_any_case_are_containers(tmp_path: Path) -> None:
    store = WindowsStore(generation=0xA)
    files = variants(store)
    store.compact("Data", 1, 0xAB)
    memory = Lists.of(store)
    memory.more = {"Data": ["00000001.000000AB.CCC"]}
    assert not restore(files, memory, tmp_path).failed()


@pytest.mark.parametrize("folder", ["Data", "Hotspot"])
def test_a_copy_is_taken_by_its_digest(tmp_path: Path, folder: str) -> None:
    store = WindowsStore()
    data = noise(1, 30_000)
    hot = store.add_file(data, chunks=10_000)
    for place in hot.chunks:
        store.add_hotspot(place, kind=3 if folder == "Hotspot" else 1)
    container = store.container("Data", 1)
    for place in hot.chunks:
        container.image.patch(place.offset + 0x60, b"damage")
    for kind in (Lists, Backwards):
        assert not restore([hot], kind.of(store), tmp_path / kind.__name__).failed()


@STORES
def test_hotspots_are_all_that_is_left(tmp_path: Path, kind: type[Silent]) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 30_000), chunks=10_000, stub=FORMATS[n]) for n in range(3)]
    for file in files:
        for place in file.chunks:
            store.add_hotspot(place)
    memory = kind.of(store)
    del memory.containers[store.path_of(store.container("Data", 1))]
    failed = restore(files, memory, tmp_path).failed()
    if kind is Silent:
        assert set(failed.values()) == {"store.container-missing"}
    else:
        assert not failed


@STORES
def test_a_record_that_no_table_lists_is_found_by_a_walk(
    tmp_path: Path, kind: type[Silent]
) -> None:
    # The last record must be found in a store that refuses reads beyond the end, too.
    store = WindowsStore()
    files = [store.add_file(noise(number, 9000), stub="2.1") for number in range(40)]
    moved = store.compact("Data", 1, 1, keep_old=True)
    moved.redirect(())
    memory = kind.of(store)
    assert not restore(files, memory, tmp_path).failed()
    ends = [offset + size for _, offset, size in memory.reads_of("Data")]
    assert max(ends) < moved.image.size + (512 << 10), "a walk ends with its container"


def test_a_walk_ends_when_everything_is_found(tmp_path: Path) -> None:
    store = WindowsStore()
    first = store.add_file(noise(1, 5000))
    store.add_file(noise(2, 3_000_000), chunks=100_000)
    container = store.container("Data", 1)
    record = container.record(1)
    container.image.patch(container.spots[1].offset, bytes(0x58))
    again = container.append(1, record)
    container.seal()
    store.add_file(noise(3, 3_000_000), chunks=100_000)
    memory = Lists.of(store)
    assert not restore([first], memory, tmp_path).failed()
    farthest = max(offset + size for _, offset, size in memory.reads_of("Data"))
    assert again < farthest < again + (1 << 20) < container.image.size


def recalled(store: WindowsStore) -> File:
    file = store.add_file(text(9, 50_000), chunks=9000, stub="3.1")
    return file.recalled({10: b"new", 30_000: b"n" * 9000, 60_000: b"end"})


def test_own_data_of_a_stub_win(tmp_path: Path) -> None:
    store = WindowsStore()
    assert not restore([recalled(store)], Strict.of(store), tmp_path).failed()


def test_unknown_own_data_are_refused_or_ignored(tmp_path: Path) -> None:
    store = WindowsStore()
    grown = recalled(store)
    plain = store.add_file(text(10, 50_000), chunks=9000)
    files = {"grown": grown, "plain": plain}
    requests = [RestoreRequest(f.stub, name, size=f.size) for name, f in files.items()]
    done = restore(files, Lists.of(store), tmp_path, requests=requests)
    assert done.failed() == {"grown": "recall.unknown"}

    requests = [RestoreRequest(grown.stub, "grown", size=grown.size)]
    done = restore(
        {"grown": grown}, Lists.of(store), tmp_path, requests=requests, recall=Recall.IGNORE
    )
    (result,) = done.report.results
    assert result.status is FileStatus.STORE_VERSION
    assert (tmp_path / "grown").read_bytes()[:9000] == text(9, 50_000)[:9000]


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    store = WindowsStore()
    whole = store.add_file(text(11, 50_000), chunks=9000, stub="2.1")
    cut = {str(size): whole.recalled({}, size=size) for size in (0, 1, 9000, 49_999)}
    codes = restore(cut, Lists.of(store), tmp_path).failed()
    assert codes == dict.fromkeys(cut, "recall.truncated"), "bytes that nobody wants any more"


def test_a_file_that_is_no_stub_is_left_alone(tmp_path: Path) -> None:
    store = WindowsStore()
    file = store.add_file(text(1, 5000))
    linked = bytes.fromhex("0c0000a0") + file.stub[4:]
    requests = [RestoreRequest(linked, "link", size=5000, own_data=())]
    done = restore({"link": file}, Lists.of(store), tmp_path, requests=requests)
    (result,) = done.report.results
    assert result.status is FileStatus.NOT_DEDUPLICATED
    assert (tmp_path / "link").read_bytes() == OLD


def test_a_chunk_with_compressed_bytes_as_many_as_logical_ones(tmp_path: Path) -> None:
    store = WindowsStore()
    data = noise(5, 4000)
    file = store.add_file(data, compression=NONE)
    container = store.container("Data", 1)
    record = data_record(1, data, digest=digest_of(data), compression=XPRESS)
    container.image.patch(container.spots[1].offset, record)
    assert not restore([file], Lists.of(store), tmp_path).failed(), "stored plain, whatever it says"


def test_a_walk_in_tiny_reads_takes_little_memory(tmp_path: Path) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(number, 100)) for number in range(3)]
    spoil_record(store.container("Data", 1), 2, "payload")
    seen: list[RoundStarted] = []

    class Watches:
        def on_event(self, event: RestoreEvent, /) -> None:
            if isinstance(event, RoundStarted):
                seen.append(event)

    done = restore(files, Lists.of(store), tmp_path, observer=Watches(), max_read=1)
    assert done.failed() == {"f00001": "record.payload-crc"}
    assert max(event.reads for event in seen) < 1 << 19
