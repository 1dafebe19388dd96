"""The record walk: what it finds, and that fakes cost it little."""

import random
from collections.abc import Sequence

import attrs
import numpy as np
import pytest

from rehydrate.formats.native import layout
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.record import NativeDecoder
from rehydrate.formats.native.repair import finder
from rehydrate.formats.scan import RecordFinder
from rehydrate.formats.walk import DATA, STREAM, RecordRef
from rehydrate.values import StorePath
from tests.spec.small_store import ContainerWriter

AT = layout.HEADER_SIZE
TEXTS = [b"first", b"second" * 20, b"third" * 300]


def feed(scanner: RecordFinder, data: bytes, block: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    for at in range(0, len(data), block):
        found += scanner.feed(memoryview(data[at : at + block]))
    return found


def make(texts: Sequence[bytes] = TEXTS) -> tuple[bytes, list[RecordRef]]:
    writer = ContainerWriter(DATA, 1)
    refs = [writer.add_chunk(text) for text in texts]
    writer.commit()
    return bytes(writer.data[AT:]), refs


def record(data: bytes, ref: RecordRef) -> bytes:
    return data[ref.offset - AT :][: ref.length]


@pytest.mark.parametrize("block", [1, 7, 8, 64, 71, 72, 73, 4096, 1 << 20])
def test_records_are_found_however_the_container_is_fed(block: int) -> None:
    data, refs = make()
    found = feed(finder([refs[2], refs[0]]), data, block)
    assert found == [(1, record(data, refs[0])), (0, record(data, refs[2]))]


def test_record_is_given_to_all_who_want_it_and_once() -> None:
    data, refs = make([b"same", b"other", b"same"])
    found = feed(finder([refs[0], refs[1], refs[2]]), data, 64)
    assert [number for number, _ in found] == [0, 2, 1]


def test_nothing_wanted_finds_nothing() -> None:
    assert feed(finder([]), make()[0], 64) == []


def test_compressed_record_and_stream_map_are_found() -> None:
    writer = ContainerWriter(DATA, 1)
    ref = writer.add_chunk(b"abc" * 1000, compress=True)
    assert feed(finder([ref]), bytes(writer.data[AT:]), 64)[0][0] == 0
    stream = ContainerWriter(STREAM, 2)
    part = stream.add(layout.KIND_STREAM_MAP, bytes(64))
    found = feed(NATIVE.scanner(StorePath(stream.path), [part]), bytes(stream.data[AT:]), 64)
    assert [number for number, _ in found] == [0]


def test_damage_before_a_record_hides_nothing() -> None:
    data, refs = make()
    noise = random.Random(3).randbytes(refs[1].offset - AT)
    assert [n for n, _ in feed(finder(refs), noise + data[len(noise) :], 64)] == [1, 2]


def test_record_at_a_place_that_is_not_aligned_is_none() -> None:
    data, refs = make([b"first"])
    assert feed(finder(refs), bytes(4) + data, 64) == []
    assert len(feed(finder(refs), bytes(8) + data, 64)) == 1


def test_record_with_other_bytes_is_passed_by() -> None:
    data, refs = make([b"first", b"again", b"first"])
    wrong = bytearray(data)
    wrong[refs[0].offset - AT + layout.RECORD_SIZE] ^= 1
    assert feed(finder(refs[:1]), bytes(wrong), 64) == [(0, record(data, refs[2]))]


def test_reference_with_another_size_gets_nothing() -> None:
    data, refs = make()
    wrong = [attrs.evolve(refs[0], logical_size=4), attrs.evolve(refs[1], length=191)]
    assert feed(finder(wrong), data, 64) == []


def test_record_cut_off_by_the_end_of_the_container_is_none() -> None:
    data, refs = make([b"first", b"second" * 50])
    assert [n for n, _ in feed(finder(refs), data[: refs[1].offset - AT + 300], 64)] == [0]


class Counted:
    """Counts how often records are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        decode = NativeDecoder.decode

        def counted(*args: object) -> object:
            self.calls += 1
            return decode(*args)  # type: ignore[arg-type] # passed on as they came

        monkeypatch.setattr(NativeDecoder, "decode", counted)


def fakes(ref: RecordRef, data: bytes, count: int, step: int = 72) -> bytes:
    """Return many headers that claim to be a record, one behind the other."""
    header = record(data, ref)[: layout.RECORD_SIZE]
    return b"".join(header.ljust(step, b"\0") for _ in range(count)).ljust(len(header) * count)


def test_flood_of_fakes_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    data, refs = make([b"x" * 100_000, b"other"])
    counted = Counted(monkeypatch)
    flood = fakes(refs[0], data, 5000)
    scanner = finder(refs)
    found = feed(scanner, flood + bytes(200_000) + data, 1 << 16)
    assert counted.calls == 8 + 1
    assert [number for number, _ in found] == [1]


def test_some_fakes_do_not_hide_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    data, refs = make([b"x" * 1000])
    counted = Counted(monkeypatch)
    found = feed(finder(refs), fakes(refs[0], data, 7) + data, 100)
    assert found == [(0, record(data, refs[0]))]
    assert counted.calls == 8


def test_record_is_decoded_once_however_often_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, refs = make([b"same"] * 100)
    counted = Counted(monkeypatch)
    assert len(feed(finder(refs[:1]), data, 64)) == 1
    assert counted.calls == 1


def test_magic_everywhere_is_looked_at_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    _, refs = make()
    counted = Counted(monkeypatch)
    looked: list[int] = []
    candidates = RecordFinder._candidates

    def spied(self: RecordFinder, data: bytes, end: int) -> list[int]:
        found = candidates(self, data, end)
        looked.append(len(found))
        return found

    monkeypatch.setattr(RecordFinder, "_candidates", spied)
    feed(finder(refs), b"RHR1\0\0\0\0" * 100_000, 1 << 16)
    assert sum(looked) == counted.calls == 0
    assert len(looked) <= 800_000 // (1 << 16) + 1


def test_memory_is_that_of_one_record_and_one_block() -> None:
    data, refs = make([b"x" * 300_000])
    scanner = finder(refs)
    held = 0
    for at in range(0, len(data), 1000):
        scanner.feed(memoryview(data[at : at + 1000]))
        held = max(held, sum(map(len, scanner._blocks)))
    assert held <= refs[0].length + 2000


def test_large_record_in_small_blocks_is_not_looked_at_again_with_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, refs = make([b"x" * 300_000])
    looked: list[int] = []
    candidates = RecordFinder._candidates

    def spied(self: RecordFinder, block: bytes, end: int) -> list[int]:
        looked.append(len(block))
        return candidates(self, block, end)

    monkeypatch.setattr(RecordFinder, "_candidates", spied)
    assert len(feed(finder(refs), data, 1000)) == 1
    assert sum(looked) < 2 * len(data)


def test_digests_that_begin_alike_are_told_apart() -> None:
    data, refs = make()
    alike = attrs.evolve(refs[0], digest=refs[0].digest[:8] + bytes(24))
    assert feed(finder([alike]), data, 64) == []
    assert [n for n, _ in feed(finder([alike, refs[0]]), data, 64)] == [1]


def test_random_bytes_between_records() -> None:
    source = random.Random(5)
    data, refs = make([source.randbytes(source.randrange(1, 2000)) for _ in range(50)])
    records = [record(data, ref) for ref in refs]
    order = source.sample(range(50), 50)
    mixed = b"".join(
        source.randbytes(8 * source.randrange(20))
        + records[number].ljust(layout.align(len(records[number])), b"\0")
        for number in order
    )
    for block in (40, 1000, 100_000):
        assert [number for number, _ in feed(finder(refs), mixed, block)] == order
    assert np.array_equal(sorted(order), range(50))
