import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rehydrate.plan.groups import COLOURS, FileGroup, group_files


def grouped(files: dict[bytes, int]) -> tuple[tuple[FileGroup, ...], dict[bytes, bytes]]:
    groups, group = group_files(list(files), np.array(list(files.values()), np.int64))
    names = {name: groups[number].name for name, number in zip(files, group.tolist(), strict=True)}
    return groups, names


def test_no_files_need_no_group() -> None:
    groups, names = grouped({})
    assert groups == ()
    assert names == {}


def test_few_files_have_a_colour_each() -> None:
    groups, names = grouped({b"b": 2, b"a/x": 1, b"a": 3})
    assert [group.name for group in groups] == [b"a", b"a/x", b"b"]
    assert all(name == group for name, group in names.items())
    assert len({group.colour for group in groups}) == 3


def test_many_files_are_grouped_by_directory() -> None:
    files = {b"top/%s/%d" % (folder, n): 10 for folder in (b"x", b"y") for n in range(50)}
    groups, names = grouped(files)
    assert [(group.name, group.files, group.size) for group in groups] == [
        (b"top/x/", 50, 500),
        (b"top/y/", 50, 500),
    ]
    assert not any(group.rest for group in groups)
    assert names[b"top/x/7"] == b"top/x/"


def test_a_large_file_stands_out_of_its_directory() -> None:
    files = {b"d/%03d" % n: 1 for n in range(100)} | {b"d/huge": 1000}
    groups, names = grouped(files)
    assert [(group.name, group.files, group.rest) for group in groups] == [
        (b"", 100, True),
        (b"d/huge", 1, False),
    ]
    assert names[b"d/huge"] == b"d/huge"


def test_a_flat_directory_of_equal_files_is_one_group() -> None:
    groups, _ = grouped({b"%04d" % n: 5 for n in range(1000)})
    assert [(group.name, group.files, group.rest) for group in groups] == [(b"", 1000, False)]


def test_a_name_that_occurs_twice_is_no_endless_work() -> None:
    groups, group = group_files([b"a"] * 20, np.ones(20, np.int64))
    assert [(each.files, each.size) for each in groups] == [(20, 20)]
    assert group.tolist() == [0] * 20


def test_a_group_keeps_its_colour_in_another_plan() -> None:
    one, _ = grouped({b"a": 1, b"b": 1})
    other, _ = grouped({b"b": 9})
    assert one[1].colour == other[0].colour


PART = st.binary(min_size=1, max_size=2).filter(lambda part: not set(b"/\0") & set(part))
NAMES = st.lists(PART, min_size=1, max_size=4).map(b"/".join)


@pytest.mark.slow
@example({b"x/y": 1} | {b"%c" % letter: 1 for letter in b"lmnopqrstuvwx"})
@given(st.dictionaries(NAMES, st.integers(0, 2**62), max_size=60))
def test_each_file_is_in_one_group_that_is_above_it(files: dict[bytes, int]) -> None:
    groups, names = grouped(files)
    assert len(groups) <= COLOURS
    assert sum(group.files for group in groups) == len(files)
    assert len({group.colour for group in groups}) == len(groups)
    for name, group in names.items():
        assert group in {b"", name} or (group.endswith(b"/") and name.startswith(group))
