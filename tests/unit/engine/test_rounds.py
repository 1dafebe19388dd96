"""The view of an extent's reads, and what a job learns about containers."""

import attrs
import numpy as np
import pytest

from rehydrate.chunks import Ints
from rehydrate.engine.reads import Containers
from rehydrate.engine.rounds import ReadsView
from rehydrate.errors import ContainerNotFoundError, StoreReadError
from rehydrate.plan.rounds import RoundPlan
from rehydrate.values import FileExtent, StorePath

ONE, TWO = StorePath("Data/1"), StorePath("Data/2")


def view(first: int, end: int) -> ReadsView:
    nothing: Ints = np.zeros(0, np.int64)
    columns = {field.name: nothing for field in attrs.fields(RoundPlan)}
    columns["read_offset"], columns["read_size"] = np.arange(0, 100, 10), np.arange(1, 11)
    plan = RoundPlan(**columns)
    return ReadsView(plan, first, end)


def test_view_is_a_sequence_of_its_part() -> None:
    reads = view(2, 5)
    expected = [FileExtent(20, 3), FileExtent(30, 4), FileExtent(40, 5)]
    assert len(reads) == 3
    assert list(reads) == expected
    assert [reads[0], reads[1], reads[-1]] == expected
    assert reads[1:] == tuple(expected[1:])
    assert reads[::-1] == tuple(reversed(expected))
    assert reads.index(expected[1]) == 1
    assert FileExtent(50, 6) not in reads
    for outside in (3, -4):
        with pytest.raises(IndexError):
            reads[outside]


def test_container_is_given_up_after_failures_in_a_row() -> None:
    containers = Containers(3)
    errors = [StoreReadError(str(number)) for number in range(5)]
    containers.failed(ONE, errors[0])
    containers.failed(ONE, errors[1])
    containers.worked(ONE)
    containers.failed(ONE, errors[2])
    containers.failed(ONE, errors[3])
    assert containers.given_up(ONE) is None
    containers.failed(ONE, errors[4])
    assert containers.given_up(ONE) is errors[4]
    assert containers.given_up(TWO) is None


def test_missing_container_is_given_up_at_once_and_for_good() -> None:
    containers = Containers(3)
    missing = ContainerNotFoundError("gone")
    containers.failed(ONE, missing)
    assert containers.given_up(ONE) is missing
    containers.second_chance()
    assert containers.given_up(ONE) is missing


def test_second_chance_is_one_read() -> None:
    containers = Containers(2)
    containers.failed(ONE, StoreReadError("a"))
    containers.failed(ONE, StoreReadError("b"))
    containers.second_chance()
    assert containers.given_up(ONE) is None
    containers.failed(ONE, StoreReadError("c"))
    assert containers.given_up(ONE) is not None


def test_second_chance_that_works_clears_the_failures() -> None:
    containers = Containers(2)
    containers.give_up(ONE, StoreReadError("a"))
    containers.second_chance()
    containers.worked(ONE)
    containers.failed(ONE, StoreReadError("b"))
    assert containers.given_up(ONE) is None
