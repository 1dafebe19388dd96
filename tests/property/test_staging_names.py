"""No accepted name leaves the root, whatever is tried; and ranges merge as sets of bytes."""

import os

from hypothesis import given
from hypothesis import strategies as st

from rehydrate.errors import UnsafeTargetError
from rehydrate.staging.hints import merged
from rehydrate.staging.paths import check_target, collision_key, stays_inside

PARTS = st.sampled_from([b"a", b"..", b".", b"", b"b\0", b".rehydrate-x", b"\xff", b"x" * 256])
PATHS = st.one_of(st.binary(max_size=40), st.lists(PARTS, max_size=6).map(b"/".join))


@given(path=PATHS, portable=st.booleans())
def test_an_accepted_name_stays_below_the_root(path: bytes, *, portable: bool) -> None:
    try:
        accepted = check_target(path, portable_names=portable, windows=False)
    except UnsafeTargetError:
        return
    assert accepted == path
    joined = os.path.normpath(b"/some/target/" + path)
    assert joined == b"/some/target/" + path
    assert b"\0" not in path
    assert isinstance(collision_key(path), str)


@given(st.text(max_size=20))
def test_text_is_accepted_or_refused_and_nothing_else(path: str) -> None:
    try:
        accepted = check_target(path, portable_names=True)
    except UnsafeTargetError:
        return
    assert accepted == path.encode()


@given(
    st.lists(st.sampled_from([b"a", b"b"]), min_size=1, max_size=4).map(b"/".join),
    st.lists(st.sampled_from([b"a", b"..", b".", b""]), max_size=8).map(b"/".join),
)
def test_a_link_that_stays_inside_does(path: bytes, text: bytes) -> None:
    if stays_inside(path, text):
        end = os.path.normpath(b"/".join([b"/x", *path.split(b"/")[:-1], text]))
        assert end == b"/x" or end.startswith(b"/x/")


RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=12,
)


@given(RANGES)
def test_merged_ranges_are_sorted_apart_and_hold_the_same_bytes(
    ranges: list[tuple[int, int]],
) -> None:
    result = merged(ranges)
    flat = [edge for pair in result for edge in pair]
    assert flat == sorted(set(flat))
    assert {n for a, b in result for n in range(a, b)} == {
        n for a, b in ranges for n in range(a, b)
    }
