import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.media.media_file import MediaFile, parse_media
from rehydrate.media.segments import UNKNOWN
from rehydrate.plan.read_plan import PlannedExtent, PlannedRound
from rehydrate.plan.tape_rounds import Drives, TapeRound, order_round
from rehydrate.values import MAX_OFFSET, StorePath

GB = 10**9


def media(
    pieces: list[dict[str, Any]], *, drives: int = 1, kind: str = "LTO-9", block: int = 1
) -> MediaFile:
    native = {"partitions": [140]} if kind == "LTO-9" else {}
    rows = [{"name": name, "generation": kind, "block_size": block, **native} for name in "ABCD"]
    content = {"format": "rehydrate-media", "version": 1, "drives": drives}
    return parse_media(json.dumps(content | {"volumes": rows, "pieces": pieces}))


def piece(container: str, volume: str, start: int = UNKNOWN, **more: int) -> dict[str, Any]:
    return {"container": container, "volume": volume, "start": start, **more}


def planned(*extents: tuple[int, int, int], kind: str = "data") -> PlannedRound:
    """Return a round that reads ranges of containers c0, c1, ..., one extent each."""
    count = max(container for container, _, _ in extents) + 1
    return PlannedRound(
        kind,
        tuple(StorePath(f"c{number}") for number in range(count)),
        tuple(
            PlannedExtent(
                container=container, offset=first, length=MAX_OFFSET - first, first=first, end=end,
                reads=1, bytes_needed=end - first, bytes_to_read=end - first,
            )
            for container, first, end in extents
        ),
    )  # fmt: skip


def order(found: TapeRound) -> list[tuple[str, int]]:
    """Return the pieces in the order of reading."""
    return [key for _, key in sorted(zip(found.rank.tolist(), found.keys, strict=True))]


def test_needs_of_a_piece_are_one_segment_from_the_first_byte_to_the_last() -> None:
    at = media([piece("c0", "A", 1000, length=500), piece("c0", "B", 70, offset=500)], block=100)
    found = order_round(planned((0, 150, 160), (0, 420, 430), (0, 790, 801)), at, Drives(), None)
    segments = found.segments
    assert found.keys == [("c0", 0), ("c0", 500)]
    assert segments.volume.tolist() == [0, 1]
    assert segments.start.tolist() == [1001, 72]
    assert segments.length.tolist() == [4, 2]


def test_what_is_nowhere_comes_last_and_is_told() -> None:
    at = media([piece("c1", "A", 10, offset=100, length=100)])
    found = order_round(planned((0, 0, 5), (1, 20, 30), (1, 120, 130)), at, Drives(), None)
    assert order(found)[0] == ("c1", 100)
    assert found.homeless == {"c0", "c1"}
    assert [mount.volume for mount in found.mounts] == [0]
    assert found.sizes(planned((0, 0, 5), (1, 20, 30), (1, 120, 130)))[UNKNOWN] == 15


def test_an_address_beyond_all_addresses_is_beyond_the_tape() -> None:
    at = media([piece("c0", "A", MAX_OFFSET)])
    found = order_round(planned((0, 1 << 40, 1 << 41)), at, Drives(), None)
    assert "beyond the end of the tape" in found.ordering.volumes[0].kept


def test_a_round_begins_with_what_the_one_before_left_in_the_drive() -> None:
    at = media(
        [piece("c0", "A", 17_000 * GB), piece("c1", "B", 0), piece("c2", "A", 17_000 * GB + 5)]
    )
    maps = order_round(planned((0, 0, 10), kind="stream"), at, Drives(), None)
    assert maps.begin_s == 0 < maps.after.now_s == maps.mounts[-1].done_s
    assert maps.after.holds == (0,)
    assert maps.after.heads == {0: (0, 17_000 * GB + 9)}
    data = order_round(planned((1, 0, 10), (2, 0, 10)), at, maps.after, None)
    first, second = data.mounts
    assert (first.volume, first.wanted_s, first.ready_s) == (0, maps.after.now_s, maps.after.now_s)
    # The head is where it is wanted: no way from the load point.
    cold = order_round(planned((1, 0, 10), (2, 0, 10)), at, Drives(holds=(0,), leave_s=(0,)), None)
    assert first.done_s - first.ready_s < 10 < cold.mounts[0].done_s - cold.mounts[0].ready_s
    drawn, _ = data.estimates(planned((1, 0, 10), (2, 0, 10))).tapes
    way = drawn.passes[0].begin_m - drawn.at_m
    assert drawn.at_wrap == drawn.passes[0].wrap > 0
    assert abs(way) < 0.001 < drawn.at_m
    assert second.volume == 1
    assert second.ready_s - second.wanted_s > 0
    # What was read must go back before another volume comes.
    other = order_round(planned((1, 0, 10)), at, maps.after, None)
    fresh = order_round(planned((1, 0, 10)), at, Drives(holds=(0,), leave_s=(0,)), None)
    waits = [each.mounts[0].ready_s - each.mounts[0].wanted_s for each in (other, fresh)]
    assert waits[0] - waits[1] == pytest.approx(maps.ordering.volumes[0].rewind_s)
    assert waits[0] > waits[1]
    assert other.after.heads == {1: (0, 9)}


def test_what_is_at_hand_comes_first_with_any_number_of_drives() -> None:
    pieces = [piece(f"c{n}", "ABCD"[n % 4], n * 100 * GB) for n in range(16)]
    needs = planned(*((n, 0, GB) for n in range(16)))
    for drives in (1, 2, 3):
        found = order_round(needs, media(pieces, drives=drives), Drives(), {1, 3})
        volumes = [int(path[1:]) % 4 for path, _ in order(found)]
        assert set(volumes[:8]) == {1, 3}
        assert set(volumes[8:]) == {0, 2}
        here = max(mount.done_s for mount in found.mounts if mount.volume in {1, 3})
        assert all(mount.wanted_s >= here for mount in found.mounts if mount.volume in {0, 2})


def test_media_and_times_of_extents() -> None:
    at = media([piece(f"c{n}", "AB"[n % 2], n * 500 * GB) for n in range(6)], drives=2)
    needs = planned(*((n, 0, 40 * GB) for n in range(6)))
    found = order_round(needs, at, Drives(now_s=100.0), None)
    told = found.estimates(needs)
    assert [(each.name, each.drive, each.containers) for each in told.media] == [
        ("B", 1, 3),
        ("A", 2, 3),
    ]
    assert [each.bytes_to_read for each in told.media] == [120 * GB, 120 * GB]
    begins, ends = np.array(told.extent_seconds).T
    assert (begins > 100).all()
    assert (begins < ends).all()
    by_rank = ends[np.argsort(found.rank)]
    assert (np.diff(by_rank) >= 0).all()
    assert by_rank[-1] == pytest.approx(told.total_seconds)


def test_maps_are_told_as_maps() -> None:
    at = media([piece("c0", "A", 0)])
    needs = planned((0, 0, 10), kind="stream")
    told = order_round(needs, at, Drives(), None).estimates(needs)
    (medium,) = told.media
    assert (medium.phase, medium.containers, medium.mounted) == ("maps", 1, True)
    assert told.tapes[0].phase == "maps"
    assert told.tapes[0].passes[0].container is None
    assert told.extent_seconds == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 17_000)), min_size=1, max_size=12),
    st.integers(1, 3),
    st.sampled_from(["LTO-9", "generic", "LTO-10"]),
    st.none() | st.sets(st.integers(0, 3)),
    st.permutations([0, 1, 2, 3]),
)
def test_any_layout_has_a_whole_order_and_possible_mounts(
    places: list[tuple[int, int]],
    drives: int,
    kind: str,
    at_hand: set[int] | None,
    inside: list[int],
) -> None:
    pieces = [
        piece(f"c{n}", "ABCD"[volume], start * GB if start >= 0 else UNKNOWN)
        for n, (volume, start) in enumerate(places)
        if volume < 4
    ]
    needs = planned(*((n, 0, GB) for n in range(len(places))))
    holds = tuple(inside[:drives])
    before = Drives(now_s=5.0, holds=holds, leave_s=(7.0,) * drives)
    found = order_round(needs, media(pieces, drives=drives, kind=kind), before, at_hand)
    assert sorted(found.rank.tolist()) == list(range(len(places)))
    wanted = {volume for volume, _ in places if volume < 4}
    assert sorted(mount.volume for mount in found.mounts) == sorted(wanted)
    free = [5.0] * drives
    for mount in found.mounts:
        assert mount.wanted_s >= free[mount.drive]
        assert mount.wanted_s <= mount.ready_s <= mount.done_s <= mount.free_s
        free[mount.drive] = mount.done_s
    assert len(set(found.after.holds)) == len(found.after.holds) <= drives
    assert found.after.now_s == max([5.0, *(mount.done_s for mount in found.mounts)])
    told = found.estimates(needs)
    assert sum(each.bytes_to_read for each in told.media) == GB * sum(v < 4 for v, _ in places)
    assert len(told.extent_seconds) == len(places)
