"""A sample of what the benchmark of tape orders sweeps: no order loses to the logical sort."""

import numpy as np
import pytest

from benchmarks import tape_order
from rehydrate.media.ordering import Method, OrderOptions, order_segments
from rehydrate.media.segments import Segments

GEOMETRY_END = 17_000 * tape_order.GB


def overlaps(segments: Segments) -> bool:
    order = np.argsort(segments.start)
    ends = (segments.start + segments.length)[order]
    return bool((ends[:-1] > segments.start[order][1:]).any())


def test_no_random_scenario_loses_a_hundredth() -> None:
    found = tape_order.sweep(60)
    assert found.kept.total() == 60
    assert max(found.worst_motion, found.worst_regression) <= 1.01


@pytest.mark.parametrize("kind", ["uniform", "container-sized", "clustered", "small"])
def test_scenes_do_not_overlap_and_the_bound_is_one(kind: str) -> None:
    segments = tape_order.scene(kind, 80, GEOMETRY_END, np.random.default_rng(1))
    assert not overlaps(segments)
    tape = tape_order.tape_of("LTO-9")
    bound = tape_order.bound_of(segments, tape)
    (found,) = order_segments(segments, {0: tape}, OrderOptions(method=Method.SEARCH)).volumes
    assert bound is None or bound <= found.alternatives[2].motion_s + 1e-6
