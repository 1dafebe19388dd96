"""Mounts, drives, batches for drives, and what is complete without a mount."""

import attrs
import numpy as np
import pytest

from rehydrate.errors import RequestError
from rehydrate.media.geometry import FORMATS, native_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.ordering import Method, Ordering, OrderOptions, order_segments
from rehydrate.media.pricing import Tape
from rehydrate.media.segments import UNKNOWN, Segments
from rehydrate.media.volumes import batches, complete_files, schedule, step_ends

GB = 10**9
MODEL = model_of(FORMATS["LTO-9"])
TAPE = Tape(MODEL, native_geometry(FORMATS["LTO-9"]))
TAPES = dict.fromkeys(range(4), TAPE)


def ordered(counts: dict[int, int], *, drives: int = 1) -> Ordering:
    """Order one run of so many gigabytes on each volume."""
    volumes = list(counts)
    segments = Segments(volumes, [0] * len(volumes), [0] * len(volumes),
                        [size * GB for size in counts.values()])  # fmt: skip
    return order_segments(segments, TAPES, OrderOptions(method=Method.SEARCH, drives=drives))


def test_one_drive_takes_one_volume_after_the_other() -> None:
    first, second = schedule(ordered({0: 4, 1: 8}), TAPES)
    assert (first.wanted_s, first.ready_s, first.done_s) == (0, 17, 27)
    back = MODEL.rewind_seconds(np.array([4 / 64.285 * 1035 * 0.965]))[0]
    assert first.free_s == pytest.approx(27 + back + 30)
    assert second.wanted_s == first.free_s
    assert second.needed_s == pytest.approx(17 + 20)


def test_a_loaded_volume_needs_no_load_and_another_one_must_go_first() -> None:
    order = ordered({0: 4, 1: 4}, drives=1)
    assert schedule(order, TAPES, loaded=(0,))[0].ready_s == 0
    assert schedule(order, TAPES, loaded=(3,))[0].ready_s == 30 + 17


def test_several_drives_share_the_volumes_longest_first() -> None:
    order = ordered({0: 40, 1: 400, 2: 40, 3: 40}, drives=2)
    mounts = schedule(order, TAPES, drives=2)
    assert [(mount.volume, mount.drive) for mount in mounts] == [(1, 0), (0, 1), (2, 1), (3, 1)]
    assert mounts[0].free_s == mounts[0].done_s
    loaded = schedule(order, TAPES, drives=2, loaded=(3, 1))
    assert (loaded[0].volume, loaded[0].drive) == (1, 1)


def test_an_empty_drive_is_taken_before_one_that_must_be_unloaded() -> None:
    mounts = schedule(ordered({0: 4}), TAPES, drives=2, loaded=(3,))
    assert (mounts[0].drive, mounts[0].ready_s) == (1, 17)


@pytest.mark.parametrize(("drives", "loaded"), [(0, ()), (1, (1, 2)), (2, (1, 1))])
def test_drives_that_cannot_be(drives: int, loaded: tuple[int, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        schedule(ordered({0: 4}), TAPES, drives=drives, loaded=loaded)
    assert caught.value.code == "tape.options"


def test_steps_end_one_after_the_other_and_never_without_a_mount() -> None:
    segments = Segments([0, 0, UNKNOWN, 1], [0] * 4, [0, GB, 0, UNKNOWN], [GB, GB, GB, 4 * GB])
    order = order_segments(segments, {0: TAPE})
    mounts = schedule(order, {0: TAPE})
    ends = step_ends(order, mounts)
    assert ends[:2].tolist() == pytest.approx([19.5, 22.0])
    assert mounts[1].ready_s == ends[2] == mounts[0].free_s
    assert np.isinf(ends[3])
    assert np.isinf(step_ends(order, mounts[:1])[2])


def test_batches_are_cut_from_the_logically_sorted_list_of_each_volume() -> None:
    starts = np.random.default_rng(1).permutation(25)
    volume = np.where(starts < 20, 1, 0)
    segments = Segments(volume, starts * 0, starts, starts * 0 + 1)
    segments = attrs.evolve(segments, start=np.where(starts == 24, UNKNOWN, starts))
    found = [segments.start[batch].tolist() for batch in batches(segments, 8)]
    assert found == [[20, 21, 22, 23], list(range(7)), list(range(7, 14)), list(range(14, 20))]
    with pytest.raises(RequestError):
        next(batches(segments, 0))


def test_files_complete_with_the_volumes_at_hand() -> None:
    file, volume = np.array([0, 0, 1, 2, 3]), np.array([1, 2, 1, 2, UNKNOWN])
    assert complete_files(5, file, volume, [1, UNKNOWN]).tolist() == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert complete_files(5, file, volume, {1, 2}).tolist() == [True, True, True, False, True]


def test_what_was_read_before_goes_back_before_it_leaves_the_drive() -> None:
    order = ordered({0: 4, 1: 4})
    mounts = schedule(order, TAPES, drives=2, loaded=(3, 1), leave_s=(50.0,))
    ready = {mount.volume: mount.ready_s for mount in mounts}
    assert ready == {0: 30 + 17 + 50, 1: 0}
