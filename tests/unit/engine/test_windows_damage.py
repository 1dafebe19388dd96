"""Damaged and hostile stores of Windows: each file is right or fails alone, with a place."""

import random
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rehydrate.engine.random_access import read_range
from rehydrate.errors import (
    DDP_E_FILE_CORRUPT,
    DDP_E_INVALID_DATA,
    DDP_E_PATH_NOT_FOUND,
    RestoreError,
)
from rehydrate.requests import RestoreRequest
from rehydrate.results import FileStatus
from tests.unit.engine.windows_jobs import Backwards, Lists, Silent, Strict, restore
from tests.windows_store.damage import (
    CTHR_FIELDS,
    EXTREMES,
    MAP_INFO_FIELDS,
    RECORD_FIELDS,
    RRTL_FIELDS,
    SMAP_FIELDS,
    STUB_FIELDS,
    extremes_of,
    reseal_stub,
    set_field,
    spoil_header,
    spoil_record,
    spoil_table,
)
from tests.windows_store.store import FORMATS, File, WindowsStore
from tests.windows_store.structures import XPRESS, Reference, digest_of, smap_payload

STORES = pytest.mark.parametrize("kind", [Lists, Strict, Backwards, Silent])
GOOD = "good"
FOUND = "found all the same"
"""A walk takes the record by its digest."""


def noise(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def tells_of(error: RestoreError, place: Reference) -> bool:
    """Whether an error tells of a read that holds a record, or of the record itself."""
    assert error.offset is not None
    assert error.length is not None
    end = place.offset + place.stored
    return error.offset < end and place.offset < error.offset + error.length


def check_place(error: RestoreError, store: WindowsStore, folder: str, place: Reference) -> None:
    """Check that an error says all that is known about a record."""
    container = store.container(folder, place.container, place.generation)
    assert error.container == store.path_of(container)
    assert error.offset == place.offset
    assert error.length == place.stored + (0x58 if folder == "Data" else 0x68)
    assert f"offset {place.offset}" in str(error)
    assert error.container in str(error)
    record = error.as_record()
    assert (record["container"], record["offset"]) == (error.container, place.offset)
    assert error.resumable or folder == "Stream"


CASES: dict[str, tuple[str | int, int | None, bool, str]] = {
    "magic": ("magic", None, False, "record.magic"),
    "header": ("header_crc", None, False, "record.header-crc"),
    "header, by a field": ("stored", 5, False, "record.header-crc"),
    "payload": ("payload", None, False, "record.payload-crc"),
    "payload checksum, sealed": ("payload", None, True, "chunk.digest"),
    "digest, sealed": ("digest", 5, True, "record.digest"),
    "LocalId, sealed": ("local_id", 77, True, FOUND),
    "kind, sealed": ("kind", 2, True, "record.kind"),
    "version, sealed": ("major", 9, True, "record.version"),
    "stored size, sealed": ("stored", 0xFFFFFFFF, True, "record.size"),
}


@STORES
@pytest.mark.parametrize("case", CASES)
def test_damage_of_a_data_record(tmp_path: Path, kind: type[Silent], case: str) -> None:
    where, value, reseal, code = CASES[case]
    store = WindowsStore()
    files = [store.add_file(noise(n, 6000), chunks=2000, stub=FORMATS[n]) for n in range(3)]
    place = files[1].chunks[1]
    spoil_record(store.container("Data", 1), place.local_id, where, value, reseal=reseal)
    done = restore(files, kind.of(store), tmp_path)
    assert done.failed() == ({} if code == FOUND else {"f00001": code})
    if code == FOUND:
        return
    error = done.error("f00001")
    check_place(error, store, "Data", place)
    unsupported = code == "record.version"
    assert error.hresult == (DDP_E_INVALID_DATA if unsupported else DDP_E_FILE_CORRUPT)
    if "crc" in code or code in ("record.size", "record.digest"):
        assert "expected" in error.message
        assert "found" in error.message


def test_damage_of_a_compressed_payload_that_is_sealed_again(tmp_path: Path) -> None:
    store = WindowsStore()
    files = [
        store.add_file(b"again and again %d. " % n * 400, compression=XPRESS) for n in range(9)
    ]
    container = store.container("Data", 1)
    for number, file in enumerate(files[1:], 1):
        local_id = file.chunks[0].local_id
        spoil_record(container, local_id, 0x58 + number, None, reseal=True)
    failed = restore(files, Lists.of(store), tmp_path).failed()
    assert "f00000" not in failed
    assert len(failed) > 4, "some bits of a compressed chunk say nothing"
    assert set(failed.values()) <= {"chunk.digest", "chunk.compressed"}, failed


@STORES
@pytest.mark.parametrize("where", ["payload", "digest", "header_crc", "magic", "kind", "local_id"])
@pytest.mark.parametrize("reseal", [False, True])
def test_damage_of_a_stream_record(
    tmp_path: Path, kind: type[Silent], where: str, *, reseal: bool
) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 6000), chunks=2000, stub="2.1", parts=3) for n in range(3)]
    place = files[1].maps[1]
    container = store.container("Stream", 0x10000)
    if reseal and where == "payload":
        spoil_record(container, place.local_id, 0x68, reseal=True)
    elif where == "digest" and reseal:
        spoil_record(container, place.local_id, 0x38, reseal=True)
    else:
        value = None if where in ("payload", "digest", "header_crc", "magic") else 9
        spoil_record(container, place.local_id, where, value, reseal=reseal)
    done = restore(files, kind.of(store), tmp_path)
    found = reseal and where in ("header_crc", "local_id")
    assert set(done.failed()) == (set() if found else {"f00001"})
    if done.failed():
        check_place(done.error("f00001"), store, "Stream", place)
        assert done.error("f00001").hresult == DDP_E_FILE_CORRUPT


def with_map(store: WindowsStore, payload: bytes, data: bytes, stub: str = "1.2") -> File:
    """Store a map of any bytes, sealed, with a stub."""
    place = store.add_map(payload, len(data))
    return File(stub=store.make_stub([place], stub), data=data, chunks=(), maps=(place,))


def test_a_map_of_another_version_costs_only_its_file(tmp_path: Path) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    payload = store.container("Stream", 0x10000).record(1)[0x68:]
    files = {GOOD: good}
    for name, spoilt in {
        "version": payload[:4] + b"\2" + payload[5:],
        "magic": b"Spam" + payload[4:],
        "size": payload + b"odd",
        "empty": payload[:8],
        "nothing": b"",
        "container": set_field(payload, (8 + 4, 4), 0),
    }.items():
        files[name] = with_map(store, spoilt, good.data)
    done = restore(files, Lists.of(store), tmp_path)
    assert done.failed() == {
        "version": "map.version",
        "magic": "map.magic",
        "size": "map.size",
        "empty": "map.part",
        "nothing": "map.part",
        "container": "map.container",
    }
    for name in ("version", "magic", "size", "empty", "container"):
        check_place(done.error(name), store, "Stream", files[name].maps[0])


def test_every_extreme_number_in_a_map_sealed(tmp_path: Path) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    payload = store.container("Stream", 0x10000).record(1)[0x68:]
    files = {GOOD: good}
    for entry in range(3):
        spoilt_ones = extremes_of(payload, SMAP_FIELDS, base=8 + 64 * entry)
        for field, value, spoilt in spoilt_ones:
            files[f"{entry}-{field}-{value:x}"] = with_map(store, spoilt, good.data)
    done = restore(files, Lists.of(store), tmp_path)
    failed = done.failed()
    assert GOOD not in failed
    assert not [name for name in failed if "zero" in name], "a field that nobody reads"
    hints = [n for n in files if n.split("-")[1:2] in (["offset"], ["generation"])]
    assert not set(hints) & set(failed), "hints are only hints"
    for name in set(files) - set(failed) - {GOOD, *hints}:
        # A walk goes by digest and logical size alone.
        if "-stored-" in name or "-local_id-" in name:
            continue
        # An entry that holds the value anyway, or a number that changes nothing.
        assert "zero" in name or "container-1" in name, name
    for name in failed:
        error = done.error(name)
        assert error.container is not None, (name, error)
        assert error.offset is not None, (name, error)


MAPS: dict[str, Callable[[list[Reference]], tuple[list[Reference], list[int]]]] = {
    "overlapping": lambda refs: (refs, [2000, 1500, 6000]),
    "descending": lambda refs: (refs, [6000, 4000, 2000]),
    "beyond": lambda refs: (refs, [2000, 4000, 1 << 63]),
    "wrapping": lambda refs: (refs, [2000, (1 << 64) - 1, 6000]),
    "huge chunk": lambda refs: (refs, [2000, 4000, 1 << 40]),
    "twice the same end": lambda refs: (refs, [2000, 2000, 6000]),
    "other sizes": lambda refs: (refs, [1999, 4000, 6000]),
}


@pytest.mark.parametrize("stub", FORMATS)
def test_maps_that_overlap_descend_and_lie(tmp_path: Path, stub: str) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=[2000, 2000, 2000])
    files = {GOOD: good}
    for name, make in MAPS.items():
        refs, ends = make(list(good.chunks))
        files[name] = with_map(store, smap_payload(refs, ends=ends), good.data, stub)
    done = restore(files, Lists.of(store), tmp_path)
    failed = done.failed()
    assert set(failed) == set(MAPS)
    assert {failed[name] for name in ("overlapping", "descending")} <= {"map.order", "map.part"}
    for name in MAPS:
        error = done.error(name)
        assert error.container is not None
        assert error.offset is not None


def test_the_part_that_is_at_fault_is_named(tmp_path: Path) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 9000), chunks=1000, stub="2.1", parts=3)
    files = {GOOD: good}
    for bad in range(3):
        maps = []
        for part in range(3):
            refs = good.chunks[3 * part : 3 * part + 3]
            begin = 3000 * part
            ends = [begin + 1000, begin + 2000, begin + 3000]
            if part == bad:
                ends[1] = begin + 1000
            maps.append(store.add_map(smap_payload(refs, ends=ends), 3000))
        stub = store.make_stub(maps, "3.1")
        files[str(bad)] = File(stub=stub, data=good.data, chunks=(), maps=tuple(maps))
    done = restore(files, Lists.of(store), tmp_path)
    assert done.failed() == {"0": "map.order", "1": "map.order", "2": "map.order"}
    for bad in range(3):
        check_place(done.error(str(bad)), store, "Stream", files[str(bad)].maps[bad])


def test_parts_that_end_elsewhere_than_the_stub_says(tmp_path: Path) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    payload = store.container("Stream", 0x10000).record(1)[0x68:]
    place = store.add_map(payload, 6000)
    wrong = place._replace(size=5999)
    files = {GOOD: good, "short": File(stub=store.make_stub([wrong], "2.1"), data=good.data[:-1],
             chunks=(), maps=(place,))}  # fmt: skip
    done = restore(files, Lists.of(store), tmp_path)
    assert done.failed() == {"short": "map.part"}
    assert "6000" in done.error("short").message
    assert "5999" in done.error("short").message
    check_place(done.error("short"), store, "Stream", place)


def test_a_map_that_refers_to_its_own_stream_container_goes_nowhere(tmp_path: Path) -> None:
    # There are no references from data to maps, so the nearest thing to a cycle is a map whose
    # chunks have the place and the digest of the map itself, in Data.
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    place = good.maps[0]
    cyclic = place._replace(size=6000)
    payload = smap_payload([cyclic._replace(container=1)])
    own = smap_payload([cyclic])
    files = {
        GOOD: good,
        "place": with_map(store, payload, good.data),
        "container": with_map(store, own, good.data),
    }
    failed = restore(files, Lists.of(store), tmp_path).failed()
    assert set(failed) == {"place", "container"}
    assert failed["container"] == "store.container-missing"


def huge(path: Path, limit: int) -> Mapping[str, str]:
    """Restore stubs that claim huge maps, and maps that claim huge chunks."""
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    place = good.maps[0]
    files = {GOOD: good}
    sizes = (8 + 64 * 10_000, (64 << 20) - 56, 1 << 27, (1 << 32) - 200, (1 << 32) - 1)
    for size in sizes:
        stub = store.make_stub([place._replace(stored=size)], "1.2")
        files[f"map-{size:x}"] = File(stub=stub, data=good.data, chunks=(), maps=(place,))
    for stored in (1 << 20, (1 << 20) + (64 << 10), 1 << 31, (1 << 32) - 1):
        payload = smap_payload([good.chunks[0]._replace(stored=stored)])
        files[f"chunk-{stored:x}"] = with_map(store, payload, good.data[:2000])
    for end in (1 << 20, 1 << 30, 16 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        place = store.add_map(smap_payload([good.chunks[0]], ends=[end]), 2000)
        stub = reseal_stub(set_field(store.make_stub([place], "2.1"), (0x9C + 0x30, 8), end))
        files[f"end-{end:x}"] = File(stub=stub, data=good.data, chunks=(), maps=(place,))
    tracemalloc.start()
    try:
        requests = [
            RestoreRequest(file.stub, name, own_data=(), size=None) for name, file in files.items()
        ]
        done = restore(files, Lists.of(store), path, requests=requests)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit
    failed = done.failed()
    # A walk finds the chunk whose stored size is a lie that a read can hold.
    assert set(failed) == set(files) - {GOOD, "chunk-100000"}
    return failed


def test_huge_claims_are_not_believed(tmp_path: Path) -> None:
    failed = huge(tmp_path, 300 << 20)
    assert {failed[name] for name in failed if name.startswith("end-")} <= {
        "limit",
        "map.chunk-size",
        "chunk.compressed",
        "store.short-read",
    }, failed


STUB_FIELDS_OF = {
    name: {**fields, **{f"info-{key}": (fields["info"][0] + at, width)
                        for key, (at, width) in MAP_INFO_FIELDS.items()}}
    for name, fields in STUB_FIELDS.items()
}  # fmt: skip


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("reseal", [False, True])
def test_every_extreme_number_in_a_stub(tmp_path: Path, version: str, *, reseal: bool) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000, stub=version)
    files, requests = {GOOD: good}, []
    for field, value, spoilt in extremes_of(good.stub, STUB_FIELDS_OF[version]):
        name = f"{field}-{value:x}"
        files[name] = good
        stub = reseal_stub(spoilt) if reseal else spoilt
        requests.append(RestoreRequest(stub, name, size=6000, own_data=()))
    requests.append(RestoreRequest(good.stub, GOOD, size=6000, own_data=()))
    done = restore(files, Lists.of(store), tmp_path, requests=requests)
    spared = {r.target for r in done.report.results if r.status is FileStatus.NOT_DEDUPLICATED}
    assert all(name.startswith("tag-") for name in spared)
    assert done.report.counts[FileStatus.RESTORED] >= 1
    for result in done.report.results:
        if result.status is FileStatus.FAILED:
            error = result.error
            assert error is not None
            assert error.code not in ("internal", "error"), (result.target, error)
            assert error.file == result.target
        elif result.target not in spared:
            assert (tmp_path / result.target).read_bytes() == good.data, result.target
    if reseal:
        hints = [name for name in files if name.startswith(("info-offset", "info-generation"))]
        restored = {r.target for r in done.report.results if r.status is FileStatus.RESTORED}
        assert set(hints) <= restored
    (last,) = (r for r in done.report.results if r.target == GOOD)
    assert last.status is FileStatus.RESTORED


def test_every_extreme_number_in_a_record(tmp_path: Path) -> None:
    cases = [
        (field, value, reseal)
        for field, (_, width) in RECORD_FIELDS.items()
        if width <= 8
        for value in EXTREMES
        for reseal in (False, True)
    ]
    store = WindowsStore()
    files = [store.add_file(noise(n, 300), chunks=100) for n in range(len(cases) + 1)]
    container = store.container("Data", 1)
    for number, (field, value, reseal) in enumerate(cases, 1):
        local_id = files[number].chunks[1].local_id
        spoil_record(container, local_id, field, value, reseal=reseal)
    done = restore(files, Lists.of(store), tmp_path)
    failed = done.failed()
    assert "f00000" not in failed
    assert len(failed) > 60
    for name in failed:
        number = int(name[1:])
        check_place(done.error(name), store, "Data", files[number].chunks[1])


@pytest.mark.parametrize("kind", [Lists, Strict])
@pytest.mark.parametrize("field", CTHR_FIELDS)
def test_any_container_header(tmp_path: Path, kind: type[Silent], field: str) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 6000), chunks=2000) for n in range(4)]
    moved = store.compact("Data", 1, 1, keep_old=True)
    head = moved.image.read(0, 0x3000)
    width = CTHR_FIELDS[field][1]
    extremes = EXTREMES if width < 8 else (*EXTREMES, (1 << 64) - 1)
    for value, reseal in (*((value, True) for value in extremes), (5, False)):
        spoil_header(moved, field, value, reseal=reseal)
        failed = restore(files, kind.of(store), tmp_path / f"{value:x}-{reseal}").failed()
        if not reseal or field not in ("container_id", "generation"):
            assert not failed, "tables and walks do without the header"
        assert set(failed.values()) <= {"record.local-id"}, "it is that of another container"
        moved.image.patch(0, head)


@pytest.mark.parametrize("kind", [Lists, Strict])
@pytest.mark.parametrize("field", RRTL_FIELDS)
def test_any_redirection_table(tmp_path: Path, kind: type[Silent], field: str) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 6000), chunks=2000) for n in range(4)]
    moved = store.compact("Data", 1, 1, keep_old=True)
    table = moved.image.read(0x3000, 0x1000)
    ways = [(value, True, backup) for value in EXTREMES for backup in (True, False)]
    for value, reseal, backup in (*ways, (5, False, True), (5, False, False)):
        spoil_table(moved, field, value, backup=backup, reseal=reseal)
        out = tmp_path / f"{value:x}-{reseal}-{backup}"
        done = restore(files, kind.of(store), out)
        assert not done.failed(), "the backup, or a walk, finds everything"
        moved.image.patch(0x3000, table)
        moved.image.patch(moved.backup_at, table)


@STORES
def test_a_wrong_container_in_the_place_of_another(tmp_path: Path, kind: type[Silent]) -> None:
    store = WindowsStore(data_limit=30_000)
    files = [store.add_file(noise(n, 4000), chunks=2000) for n in range(6)]
    first, second = store.container("Data", 1), store.container("Data", 2)
    store.misname(first, second.id, second.generation)
    done = restore(files, kind.of(store), tmp_path)
    failed = done.failed()
    gone = {
        f"f{n:05}" for n, file in enumerate(files) if any(c.container == 2 for c in file.chunks)
    }
    assert set(failed) == gone
    assert 0 < len(gone) < len(files)
    for name in gone:
        error = done.error(name)
        assert error.container == store.path_of(second)
        assert error.offset is not None


@STORES
@pytest.mark.parametrize("folder", ["Data", "Stream"])
def test_a_missing_container(tmp_path: Path, kind: type[Silent], folder: str) -> None:
    store = WindowsStore(data_limit=30_000, stream_limit=21_000)
    files = [store.add_file(noise(n, 4000), chunks=2000) for n in range(8)]
    places = [file.chunks[0] if folder == "Data" else file.maps[0] for file in files]
    numbers = sorted({place.container for place in places})
    assert len(numbers) > 1
    memory = kind.of(store)
    del memory.containers[store.path_of(store.container(folder, numbers[1]))]
    done = restore(files, memory, tmp_path)
    failed = done.failed()
    assert 0 < len(failed) < len(files)
    assert set(failed.values()) == {"store.container-missing"}
    for name in failed:
        error = done.error(name)
        assert error.hresult == DDP_E_PATH_NOT_FOUND
        file = files[int(name[1:])]
        missing = [
            place
            for place in (file.chunks if folder == "Data" else file.maps)
            if place.container == numbers[1]
        ]
        assert any(tells_of(error, place) for place in missing), "each file has its own place"


@pytest.mark.parametrize("folder", ["Data", "Stream"])
def test_each_file_of_a_missing_container_has_its_own_place(tmp_path: Path, folder: str) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 9000), chunks=100) for n in range(7)]
    memory = Lists.of(store)
    del memory.containers[
        store.path_of(store.container(folder, 1 if folder == "Data" else 0x10000))
    ]
    done = restore(files[::3], memory, tmp_path)
    assert set(done.failed().values()) == {"store.container-missing"}
    for number, file in enumerate(files[::3]):
        error = done.error(f"f{number:05}")
        places = file.chunks if folder == "Data" else file.maps
        assert any(tells_of(error, place) for place in places)


@STORES
def test_a_truncated_container(tmp_path: Path, kind: type[Silent]) -> None:
    store = WindowsStore()
    files = [store.add_file(noise(n, 9000), chunks=9000) for n in range(40)]
    memory = kind.of(store)
    container = store.container("Data", 1)
    container.image.size = files[20].chunks[0].offset + 100
    done = restore(files, memory, tmp_path)
    failed = done.failed()
    expected = {f"f{n:05}" for n in range(20, 40)}
    if kind is Strict:
        assert expected <= set(failed)
    else:
        assert set(failed) == expected
    for name in expected:
        error = done.error(name)
        assert error.container == store.path_of(container)
        assert tells_of(error, files[int(name[1:])].chunks[0])


def test_stale_references_do_not_pile_up_in_memory(tmp_path: Path) -> None:
    # Moved records are passed on as they come, by the table and by a walk.
    store = WindowsStore()
    piece = 65_536
    block = noise(1, piece - 8)
    chunks = [block + number.to_bytes(8, "little") for number in range(640)]
    file = store.add_file(b"".join(chunks), chunks=piece, stub="2.1")
    assert file.size == 40 << 20
    moved = store.compact("Data", 1, 2)
    for walked in (False, True):
        if walked:
            moved.redirect(())
        memory = Lists.of(store)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            done = restore([file], memory, tmp_path / str(walked), memory=16 << 20)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert peak < 30 << 20, "less than half of what was moved"
        assert not done.failed()


def test_a_digest_that_two_references_dispute(tmp_path: Path) -> None:
    store = WindowsStore()
    data = noise(1, 2000)
    good = store.add_file(data)
    lie = good.chunks[0]._replace(digest=digest_of(b"something else"))
    files = {GOOD: good, "lie": with_map(store, smap_payload([lie]), data)}
    done = restore(files, Lists.of(store), tmp_path)
    assert done.failed() == {"lie": "record.digest"}
    check_place(done.error("lie"), store, "Data", lie)


def test_maps_that_are_too_much_together_are_not_read(tmp_path: Path) -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000)
    part = good.maps[0]._replace(stored=(64 << 20) - 56)
    stub = store.make_stub([part] * 17, "2.1")
    files = {GOOD: good, "huge": File(stub=stub, data=good.data * 17, chunks=(), maps=(part,) * 17)}
    memory = Lists.of(store)
    assert restore(files, memory, tmp_path).failed() == {"huge": "limit"}
    assert max(size for _, _, size in memory.reads_of("Stream")) < 1000


def test_ranges_of_damaged_files_fail_with_the_same_errors() -> None:
    store = WindowsStore()
    good = store.add_file(noise(1, 6000), chunks=2000, stub="2.1", parts=3)
    payload = store.container("Stream", 0x10000).record(1)[0x68:]
    bad = store.add_file(noise(2, 6000), chunks=2000, stub="3.1")
    spoil_record(store.container("Data", 1), bad.chunks[1].local_id, "payload")
    files = {"record.payload-crc": bad}
    spoilt = set_field(payload, (8 + 0x10, 8), 0)
    files["map.order"] = with_map(store, spoilt, good.data[:2000])
    files["map.version"] = with_map(store, payload[:4] + b"\2" + payload[5:], good.data[:2000])
    for kind in (Lists, Strict, Silent):
        memory = kind.of(store)
        assert b"".join(read_range(good.stub, memory, own_data=())) == good.data
        for code, file in files.items():
            with pytest.raises(RestoreError) as caught:
                b"".join(read_range(file.stub, memory, own_data=()))
            assert caught.value.code == code
            assert caught.value.container is not None
        first = read_range(bad.stub, memory, 0, 2000, own_data=())
        assert b"".join(first) == bad.data[:2000], "what is not damaged can be read"
    moved = store.compact("Data", 1, 2)
    store.compact("Stream", 0x10000, 2)
    for walked in (False, True):
        if walked:
            moved.redirect(())
        for kind in (Lists, Strict):
            pieces = read_range(good.stub, kind.of(store), 100, 5000, own_data=())
            assert b"".join(pieces) == good.data[100:5100]
