import math

import numpy as np
import pytest

from rehydrate.media.geometry import FORMATS, native_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.ordering import order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import schedule
from rehydrate.plan import tape_estimates
from rehydrate.plan.estimates import PlanEstimates
from rehydrate.plan.tape_estimates import estimate_tapes

LTO9 = FORMATS["LTO-9"]
GEOMETRY = native_geometry(LTO9)
WRAP = int(GEOMETRY.end[0])
KNOWN = Tape(model=model_of(LTO9), geometry=GEOMETRY)


def estimated(rows: list[tuple[int, int, int]], tapes: dict[int, Tape]) -> PlanEstimates:
    volume, start, length = np.array(rows, np.int64).reshape(-1, 3).T
    segments = Segments(volume, np.zeros(len(rows), np.int64), start, length)
    ordering = order_segments(segments, tapes)
    mounts = schedule(ordering, tapes)
    return estimate_tapes(
        segments, ordering, mounts, tapes=tapes, names={1: "A", 2: "B"},
        containers=np.arange(len(rows)), steps=np.arange(len(rows)),
    )  # fmt: skip


def test_media_come_in_mount_order_with_what_is_read() -> None:
    found = estimated(
        [(2, 5, 100), (1, 9 * WRAP, 200), (1, 0, 50), (1, 40 * WRAP, 7)], {1: KNOWN, 2: KNOWN}
    )
    assert [(each.name, each.containers, each.bytes_to_read) for each in found.media] == [
        ("A", 3, 257),
        ("B", 1, 100),
    ]
    assert [order.name for order in found.orders] == ["as asked", "logical", "best"]
    assert [order.taken for order in found.orders] == [False, False, True]
    assert found.total_seconds is not None
    assert found.total_seconds >= found.extent_seconds[-1][1] > 0
    assert [tape.name for tape in found.tapes] == ["A", "B"]


def test_a_segment_over_the_end_of_a_wrap_is_two_stretches() -> None:
    found = estimated([(1, WRAP - 1000, 3000)], {1: KNOWN})
    one, other = found.tapes[0].passes
    assert (one.wrap, other.wrap) == (0, 1)
    assert one.begin_m < one.end_m == pytest.approx(GEOMETRY.length_m)
    assert other.end_m < other.begin_m == pytest.approx(GEOMETRY.length_m)
    assert one.seconds is not None
    assert other.seconds == 0
    assert one.container == other.container == 0


def test_what_is_not_known_is_left_out() -> None:
    found = estimated([(1, 100, 50), (1, UNKNOWN, 10)], {})
    assert found.tapes == ()
    assert found.orders == ()
    assert found.media[0].locate_seconds is None
    assert found.locate_seconds is None
    assert found.at_least
    lost = estimated([(UNKNOWN, 100, 50)], {1: KNOWN})
    assert np.isnan(lost.extent_seconds).all()
    assert (lost.media, lost.total_seconds, lost.at_least) == ((), None, False)


def test_a_head_beyond_the_tape_is_drawn_at_the_load_point() -> None:
    segments = Segments([1], [0], [0], [5])
    outside = Tape(model=KNOWN.model, geometry=GEOMETRY, at=(0, 10_000 * WRAP))
    ordering = order_segments(segments, {1: KNOWN})
    (tape,) = estimate_tapes(
        segments, ordering, schedule(ordering, {1: KNOWN}), tapes={1: outside}, names={}
    ).tapes
    assert (tape.at_wrap, tape.at_m) == (0, 0.0)


def test_segments_beyond_the_tape_are_not_drawn() -> None:
    found = estimated([(1, 0, 5), (1, 10_000 * WRAP, 50)], {1: KNOWN})
    assert found.tapes == ()
    assert found.media[0].bytes_to_read == 55


def test_long_orders_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_estimates, "MOST_PASSES", 3)
    found = estimated([(1, n * WRAP, 5) for n in range(7)], {1: KNOWN})
    (tape,) = found.tapes
    assert (len(tape.passes), tape.left_out) == (3, 4)
    assert all(math.isfinite(each.seconds or 0) for each in tape.passes)
