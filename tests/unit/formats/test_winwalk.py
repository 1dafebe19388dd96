"""The walk over the records of a Windows container, fed from plain bytes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.errors import CorruptMetadataError
from rehydrate.formats.windows import walking
from rehydrate.formats.windows.layout import KIND_PADDING
from rehydrate.formats.windows.walking import FoundRecord, RecordWalk, WalkFault, said
from tests.windows_store.damage import flip, reseal_record, set_field
from tests.windows_store.structures import (
    DATA,
    data_record,
    digest_of,
    padding_header,
    padding_record,
    record,
)

FIRST = 0x5000
ONE = 0xC0
"""Bytes of a chunk of 100 bytes with its header, aligned."""
Event = FoundRecord | WalkFault


def chunk(number: int, size: int = 100) -> bytes:
    payload = random.Random(number).randbytes(size)
    return data_record(number, payload, digest=digest_of(payload))


def aligned(*records: bytes) -> bytes:
    return b"".join(each.ljust(-(-len(each) // 8) * 8, b"\0") for each in records)


def walked(
    data: bytes,
    *,
    end: int | None = None,
    sure: int | None = None,
    payloads: bool = True,
    searching: bool = False,
    told: int | None = None,
) -> list[Event]:
    """Walk bytes that lie at ``FIRST``; ``told`` is the end that the walk is told, if not theirs."""
    end = FIRST + len(data) if end is None else end
    walk = RecordWalk(FIRST, told or end, sure=sure, payloads=payloads, searching=searching)
    events: list[Event] = []
    while (asked := walk.request()) is not None:
        offset, size = asked
        assert size > 0
        events += walk.feed(data[offset - FIRST : min(offset + size, end) - FIRST])
    return events


def numbers(events: list[Event]) -> list[int]:
    return [event.header.local_id for event in events if isinstance(event, FoundRecord)]


def faults(events: list[Event]) -> list[tuple[str, int, int, int]]:
    return [
        (event.check, event.offset - FIRST, event.length, event.local_id)
        for event in events
        if isinstance(event, WalkFault)
    ]


def test_records_come_in_order_with_their_bytes() -> None:
    records = [chunk(1), chunk(2, 77), chunk(3, 4096)]
    data = aligned(*records) + padding_record(4096)
    events = walked(data)
    assert numbers(events) == [1, 2, 3, 0]
    found = [event for event in events if isinstance(event, FoundRecord)]
    assert [bytes(event.body) for event in found[:3]] == records
    assert found[3].header.kind == KIND_PADDING
    assert [event.offset for event in found[:2]] == [FIRST, FIRST + len(aligned(records[0]))]
    assert not faults(events)


def test_headers_alone_come_without_reading_payloads() -> None:
    data = aligned(chunk(1, 100_000), chunk(2, 77), padding_record(50_000), chunk(3, 100_000))
    walk = RecordWalk(FIRST, FIRST + len(data), payloads=False)
    events: list[Event] = []
    read = 0
    while (asked := walk.request()) is not None:
        read += asked[1]
        events += walk.feed(data[asked[0] - FIRST :][: asked[1]])
    assert numbers(events) == [1, 2, 0, 3]
    assert read < 1000
    assert not faults(events)


@pytest.mark.parametrize("block", [1, 8, 13, 100, 4096])
@pytest.mark.parametrize("payloads", [True, False])
def test_blocks_of_any_size_give_the_same(
    monkeypatch: pytest.MonkeyPatch, block: int, *, payloads: bool
) -> None:
    data = aligned(
        chunk(1), flip(chunk(2), 0x58 - 1), padding_record(333 + 0x30), chunk(3, 1000), chunk(4, 3)
    )
    whole = walked(data, payloads=payloads)
    monkeypatch.setattr(walking, "BLOCK", block)
    pieces = walked(data, payloads=payloads)
    assert numbers(pieces) == numbers(whole) == [1, 0, 3, 4]
    assert faults(pieces) == faults(whole)
    assert faults(whole)[0] == ("record.header-crc", ONE, ONE, 0)


def test_behind_a_damaged_header_the_next_record_is_found() -> None:
    one, two, three = chunk(1), flip(chunk(2), 0x0C), chunk(3)
    events = walked(aligned(one, two, three))
    assert numbers(events) == [1, 3]
    (fault,) = (event for event in events if isinstance(event, WalkFault))
    assert fault.check == "record.header-crc"
    assert fault.offset == FIRST + len(aligned(one))
    assert fault.length == len(aligned(two))
    assert fault.expected.startswith("0x")
    assert fault.found.startswith("0x")
    assert fault.expected != fault.found


def test_a_place_without_a_record_is_told_with_all_up_to_the_next() -> None:
    data = aligned(chunk(1), b"\xaa" * 640, chunk(2))
    assert faults(walked(data)) == [("record.magic", ONE, 640, 0)]


def test_what_looks_like_a_record_and_is_none_is_passed_by() -> None:
    headless = b"Ckhr" + bytes(44)
    wide = set_field(chunk(9), (0x12, 2), 0x3000)
    data = aligned(b"\xaa" * 64, headless, wide, b"\xaa" * 0x3100, chunk(1))
    events = walked(data)
    assert numbers(events) == [1]
    assert faults(events) == [("record.magic", 0, len(data) - len(aligned(chunk(1))), 0)]


def test_a_damaged_header_at_the_end_is_told_up_to_the_end() -> None:
    data = aligned(chunk(1), flip(chunk(2), 4))
    assert faults(walked(data)) == [("record.header-crc", ONE, len(data) - ONE, 0)]


@pytest.mark.parametrize("cut", [0x20, 0x30, 0x50, 0x58, 0x60])
def test_a_record_that_is_cut_off_is_told(cut: int) -> None:
    data = aligned(chunk(1)) + chunk(2)[:cut]
    events = walked(data)
    assert numbers(events) == [1]
    ((check, offset, length, local_id),) = faults(events)
    assert (offset, length) == (ONE, cut)
    assert (check, local_id) == {
        0x20: ("record.magic", 0),
        0x30: ("record.header", 0),
        0x50: ("record.header", 0),
    }.get(cut, ("record.truncated", 2))


def test_a_container_shorter_than_told_ends_where_it_ends() -> None:
    data = aligned(chunk(1), chunk(2))
    events = walked(data[:-8], told=FIRST + len(data))
    assert numbers(events) == [1]
    assert faults(events)[0][0] == "record.truncated"
    assert not faults(walked(aligned(chunk(1)), told=FIRST + 4096))


def test_a_size_beyond_the_end_hides_no_record() -> None:
    huge = reseal_record(set_field(chunk(1), (0x0C, 4), 1 << 31))
    events = walked(aligned(huge, chunk(2)))
    assert numbers(events) == [2]
    assert faults(events) == [("record.truncated", 0, ONE, 1)]


def test_bytes_between_records_must_be_zeros() -> None:
    one = chunk(1, 97)
    data = one + b"\0\xff\0\0\0\0\0"[: -len(one) % 8] + chunk(2)
    events = walked(data)
    assert numbers(events) == [1, 2]
    assert faults(events) == [("record.gap", len(one), -len(one) % 8, 1)]


def test_a_padding_must_be_zeros_and_is_skipped_whatever_it_is() -> None:
    spoilt = bytearray(padding_record(1000))
    spoilt[0x30 + 5] = spoilt[0x30 + 9] = 0x7F
    events = walked(aligned(bytes(spoilt), chunk(1)))
    assert numbers(events) == [0, 1]
    assert faults(events) == [("padding.zeros", 0x35, 5, 0)]
    assert [event.found for event in events if isinstance(event, WalkFault)] == ["0x7F"]


def test_a_padding_has_the_checksum_of_zeros() -> None:
    wrong = record(KIND_PADDING, 0, b"", b"", payload_crc=1, stored=16) + bytes(16)
    assert faults(walked(aligned(wrong, chunk(1)))) == [("record.payload-crc", 0, 0x40, 0)]


def test_a_padding_that_is_cut_off_by_a_short_read_ends_the_walk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walking, "BLOCK", 500)
    data = padding_record(4096)
    assert not faults(walked(data[:2000], told=FIRST + 4096))


def test_a_padding_of_odd_size_is_aligned() -> None:
    events = walked(aligned(padding_record(0x30 + 3), chunk(1)))
    assert numbers(events) == [0, 1]
    assert not faults(events)


def test_a_padding_without_payload_is_no_end() -> None:
    assert numbers(walked(aligned(padding_header(0x30), chunk(1)))) == [0, 1]


def test_rest_that_has_no_room_for_a_record_may_be_zeros() -> None:
    assert not faults(walked(aligned(chunk(1)) + bytes(0x28)))
    assert faults(walked(aligned(chunk(1)) + bytes(0x27) + b"x"))[0][0] == "record.magic"


def test_a_payload_that_nobody_accepts_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "MAX_PAYLOAD", 1000)
    data = aligned(chunk(1, 1001), chunk(2, 1000))
    events = walked(data)
    assert numbers(events) == [2]
    assert faults(events) == [("record.too-large", 0, 0x58 + 1001, 1)]


def test_kinds_that_are_not_known_are_skipped_by_their_size() -> None:
    other = record(77, 5, bytes(8), b"what is this")
    events = walked(aligned(chunk(1), other, chunk(2)))
    assert numbers(events) == [1, 5, 2]
    assert not faults(events)


def test_beyond_the_sure_end_the_first_thing_that_is_no_record_ends_the_walk() -> None:
    data = aligned(chunk(1), chunk(2)) + b"\xaa" * 512 + aligned(chunk(3))
    sure = FIRST + ONE
    assert numbers(walked(data, sure=sure)) == [1, 2]
    assert not faults(walked(data, sure=sure))
    cut = aligned(chunk(1)) + reseal_record(set_field(chunk(2), (0x0C, 4), 1 << 30))
    assert not faults(walked(cut, sure=sure))


def test_the_first_record_is_searched_for_where_its_place_is_not_known() -> None:
    data = bytes(4096) + aligned(chunk(1), chunk(2))
    events = walked(data, searching=True)
    assert numbers(events) == [1, 2]
    assert not faults(events)
    assert not walked(bytes(4096), searching=True)


def test_an_empty_stretch_asks_for_nothing() -> None:
    assert RecordWalk(FIRST, FIRST).request() is None
    assert RecordWalk(FIRST, 100).request() is None


def test_a_major_version_that_is_not_known_is_told() -> None:
    newer = reseal_record(set_field(chunk(1), (4, 1), 2))
    assert faults(walked(aligned(newer, chunk(2))))[0][0] == "record.version"


def test_errors_are_told_in_two_parts() -> None:
    assert said(CorruptMetadataError("digest: expected a, found b")) == ("a", "b")
    assert said(CorruptMetadataError("no record")) == ("", "no record")


SMALL = aligned(chunk(1, 40), padding_record(0x48), chunk(2, 33), chunk(3, 64))


def test_any_byte_that_changes_costs_at_most_its_record() -> None:
    whole = walked(SMALL)
    assert numbers(whole) == [1, 0, 2, 3]
    found = {event.offset: event for event in whole if isinstance(event, FoundRecord)}
    starts = sorted(found)
    for at in range(len(SMALL)):
        own = max(start for start in starts if start <= FIRST + at)
        events = walked(flip(SMALL, at))
        rest = {event.offset for event in events if isinstance(event, FoundRecord)}
        assert set(starts) - {own} <= rest, at
        header = FIRST + at - own < found[own].header.header_size
        assert bool(faults(events)) == (header or found[own].header.kind != DATA or _gap(at)), at


def _gap(at: int) -> bool:
    end = len(aligned(chunk(1, 40), padding_record(0x48)))
    return end + 0x58 + 33 <= at < end + len(aligned(chunk(2, 33)))


def test_every_truncation_ends_and_tells_at_most_one_thing() -> None:
    for end in range(len(SMALL)):
        events = walked(SMALL[:end])
        assert len(faults(events)) <= 1
        assert numbers(events) == [1, 0, 2, 3][: len(numbers(events))]


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.integers(0, 50).map(lambda size: chunk(7, size)),
            st.integers(0x30, 0x60).map(padding_record),
            st.tuples(st.integers(0, 0xFFFF), st.integers(0, 1 << 32)).map(
                lambda pair: reseal_record(
                    set_field(set_field(chunk(8), (0x10, 2), pair[0]), (0x0C, 4), pair[1])
                )
            ),
        ),
        max_size=8,
    ),
    block=st.integers(1, 200),
    payloads=st.booleans(),
)
def test_anything_is_walked_to_its_end(pieces: list[bytes], block: int, *, payloads: bool) -> None:
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "BLOCK", block)
        small = walked(data, payloads=payloads)
    large = walked(data, payloads=payloads)
    assert numbers(small) == numbers(large)
    places = [event.offset for event in large if isinstance(event, FoundRecord)]
    assert places == sorted(set(places))
    headers = [f for f in faults(large) if f[0] != "padding.zeros"]
    assert headers == [f for f in faults(small) if f[0] != "padding.zeros"]
