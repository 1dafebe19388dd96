import enum
import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest

from rehydrate.errors import StoreContractError
from rehydrate.plan.coalesce import EXTENTS_PER_CONTAINER, Extents, accept_order
from rehydrate.values import MAX_OFFSET, ContainerExtent
from tests.unit.plan.oracle import needs_of

NEEDS = needs_of([(0, 10, 10), (0, 40, 10), (1, 0, 5), (2, 100, 1)], 3)


def extent(index: Any, offset: Any = 0, length: Any = MAX_OFFSET) -> ContainerExtent:
    return ContainerExtent(index=index, offset=offset, length=length)


WHOLE = [extent(0), extent(1), extent(2)]


def rows(extents: Extents) -> list[tuple[int, int, int]]:
    columns = (extents.container, extents.start, extents.end)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="None"),
        pytest.param([], id="empty list"),
        pytest.param(iter(()), id="empty iterator"),
        pytest.param([extent(1, 0, 0)], id="only zero lengths"),
    ],
)
def test_no_order_is_our_order(answer: Any) -> None:
    extents, missing = accept_order(answer, NEEDS, containers=3)
    assert rows(extents) == [(index, 0, MAX_OFFSET) for index in range(3)]
    assert missing.tolist() == []


def test_the_answer_is_kept_in_its_order() -> None:
    answer = [extent(2), extent(0, 35, 100), extent(1), extent(0, 0, 35)]
    extents, missing = accept_order(answer, NEEDS, containers=3)
    end = MAX_OFFSET
    assert rows(extents) == [(2, 0, end), (0, 35, 135), (1, 0, end), (0, 0, 35)]
    assert missing.tolist() == []


def test_a_container_without_an_extent_is_unavailable() -> None:
    extents, missing = accept_order([extent(1), extent(0, 5, 0)], NEEDS, containers=3)
    assert rows(extents) == [(1, 0, MAX_OFFSET)]
    assert missing.tolist() == [0, 2]


def test_zero_lengths_are_ignored_wherever_they_are() -> None:
    answer = [extent(0, 7, 0), *WHOLE, extent(1, MAX_OFFSET, 5)]
    assert len(accept_order(answer, NEEDS, containers=3)[0]) == 3


@pytest.mark.parametrize("offset", [1, 9, MAX_OFFSET - 1])
def test_the_end_is_cut_at_the_largest_offset(offset: int) -> None:
    answer = [*WHOLE, extent(0, offset, MAX_OFFSET)]
    assert rows(accept_order(answer, NEEDS, containers=3)[0])[-1] == (0, offset, MAX_OFFSET)


def test_a_need_may_end_at_the_largest_offset() -> None:
    needs = needs_of([(0, MAX_OFFSET - 3, 3)], 1)
    for answer in (
        None,
        [extent(0, 5)],
        [extent(0, MAX_OFFSET - 2, 9), extent(0, 1, MAX_OFFSET - 3)],
    ):
        assert accept_order(answer, needs, containers=1)[1].tolist() == []


class Odd(int):
    def __lt__(self, other: object) -> bool:
        return True


class Name(enum.IntEnum):
    FIRST = 0


@attrs.frozen(kw_only=True)
class VendorExtent(ContainerExtent):
    tape: str = "A1"


class LookAlike:
    index, offset, length = 0, 0, MAX_OFFSET


BAD_VALUES = [
    pytest.param(True, id="bool"),
    pytest.param(np.int64(0), id="numpy int"),
    pytest.param(0.0, id="float"),
    pytest.param("0", id="text"),
    pytest.param(None, id="None"),
    pytest.param(Odd(0), id="subclass of int"),
    pytest.param(Name.FIRST, id="IntEnum"),
    pytest.param(-1, id="negative"),
    pytest.param(2**63, id="beyond the largest offset"),
    pytest.param(10**30, id="huge"),
]


@pytest.mark.parametrize("field", ["index", "offset", "length"])
@pytest.mark.parametrize("value", BAD_VALUES)
def test_values_must_be_plain_ints_in_range(field: str, value: Any) -> None:
    wrong = attrs.evolve(extent(0), **{field: value})
    with pytest.raises(StoreContractError, match=field):
        accept_order([*WHOLE, wrong], NEEDS, containers=3)


def test_the_largest_values_are_accepted() -> None:
    accept_order([*WHOLE, extent(2, MAX_OFFSET, MAX_OFFSET)], NEEDS, containers=3)


def test_an_index_must_be_one_of_the_containers() -> None:
    with pytest.raises(StoreContractError, match="index is 3"):
        accept_order([*WHOLE, extent(3)], NEEDS, containers=3)


def test_even_an_ignored_extent_must_be_in_range() -> None:
    with pytest.raises(StoreContractError, match="index is 3"):
        accept_order([*WHOLE, extent(3, 0, 0)], NEEDS, containers=3)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(5, id="no iterable"),
        pytest.param([None], id="None inside"),
        pytest.param([(0, 0, 5)], id="tuple"),
        pytest.param("abc", id="text"),
        pytest.param({0: extent(0)}, id="mapping"),
        pytest.param([LookAlike()], id="look-alike"),
    ],
)
def test_elements_must_be_extents(answer: Any) -> None:
    with pytest.raises(StoreContractError):
        accept_order(answer, NEEDS, containers=3)


def test_a_vendor_may_subclass_the_extent() -> None:
    answer = [VendorExtent(index=index) for index in range(3)]
    assert len(accept_order(answer, NEEDS, containers=3)[0]) == 3


class Counted:
    """Endless, and counts how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[ContainerExtent]:
        for number in itertools.count():
            self.taken += 1
            yield extent(number % 3)


@pytest.mark.parametrize("max_extra", [0, 7, 10_000])
def test_an_endless_answer_is_given_up(max_extra: int) -> None:
    answer = Counted()
    with pytest.raises(StoreContractError, match="more than"):
        accept_order(answer, NEEDS, containers=3, max_extra=max_extra)
    assert answer.taken == 3 * EXTENTS_PER_CONTAINER + max_extra + 1


def test_as_many_extents_as_allowed_are_accepted() -> None:
    answer = itertools.islice(Counted(), 3 * EXTENTS_PER_CONTAINER + 5)
    extents, _ = accept_order(answer, NEEDS, containers=3, max_extra=5)
    assert len(extents) == 3 * EXTENTS_PER_CONTAINER + 5


def test_zero_lengths_count_towards_the_limit() -> None:
    with pytest.raises(StoreContractError, match="more than"):
        accept_order(itertools.repeat(extent(0, 0, 0)), NEEDS, containers=3)


def test_an_exception_out_of_the_answer_passes() -> None:
    def answer() -> Iterator[ContainerExtent]:
        yield extent(0)
        msg = "library door is open"
        raise ConnectionError(msg)

    with pytest.raises(ConnectionError, match="door"):
        accept_order(answer(), NEEDS, containers=3)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        pytest.param([(11, 100)], (10, 10), id="first byte"),
        pytest.param([(0, 49)], (40, 10), id="last byte"),
        pytest.param([(0, 15), (16, 100)], (10, 10), id="inside"),
        pytest.param([(0, 20)], (40, 10), id="second need"),
        pytest.param([(60, 100)], (10, 10), id="everything"),
    ],
)
def test_a_partly_covered_container_stops_the_job(
    parts: list[tuple[int, int]], missing: tuple[int, int]
) -> None:
    answer = [*WHOLE[1:], *(extent(0, start, end - start) for start, end in parts)]
    with pytest.raises(StoreContractError, match="container 1 ") as caught:
        accept_order(answer, NEEDS, containers=3)
    assert (caught.value.offset, caught.value.length) == missing


def test_bytes_that_nobody_needs_may_be_left_out() -> None:
    answer = [*WHOLE[1:], extent(0, 40, 10), extent(0, 15, 5), extent(0, 10, 5)]
    extents, missing = accept_order(answer, NEEDS, containers=3)
    assert len(extents) == 5
    assert missing.tolist() == []


def test_containers_beyond_the_needs_may_be_ordered() -> None:
    _, missing = accept_order([*WHOLE, extent(3, 5, 5)], NEEDS, containers=5)
    assert missing.tolist() == [4]
