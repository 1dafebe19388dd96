import json
import math
from typing import Any

import attrs
import numpy as np
import pytest

from rehydrate.plan.estimates import (
    ComparedOrder,
    PlanEstimates,
    PlannedMedium,
    Price,
    TapeDrawing,
    TapePass,
    after_each_other,
    mount_notes,
    seconds_at,
    short_stores,
    together,
)
from tests.unit.plan.test_read_plan import PLAN


@pytest.mark.parametrize(
    ("micros", "expected"),
    [(0, "0.00 USD"), (1, "0.000001 USD"), (1_043_500, "1.0435 USD"), (2_500_000_000_000, "2,500,000.00 USD")],
)  # fmt: skip
def test_money_is_exact(micros: int, expected: str) -> None:
    assert str(Price(micros=micros, currency="USD")) == expected


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", True])
def test_times_are_times(value: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        ComparedOrder(name="best", seconds=value)
    with pytest.raises(ValueError, match="seconds"):
        PlanEstimates(total_seconds=value)


@pytest.mark.parametrize("value", [-1, 1.0, True])
def test_counts_are_counts(value: Any) -> None:
    with pytest.raises(ValueError, match="containers"):
        PlannedMedium(name="a", containers=value)


@pytest.mark.parametrize(
    "outside",
    [
        pytest.param(TapePass(wrap=4, begin_m=0.0, end_m=1.0), id="wrap"),
        pytest.param(TapePass(wrap=0, begin_m=0.0, end_m=11.0), id="end"),
        pytest.param(TapePass(wrap=0, begin_m=11.0, end_m=1.0), id="begin"),
    ],
)
def test_a_pass_lies_on_its_tape(outside: TapePass) -> None:
    with pytest.raises(ValueError, match="outside the tape"):
        TapeDrawing(name="A", length_m=10.0, wraps=4, passes=(outside,))


def test_estimates_are_json() -> None:
    made = PlanEstimates(
        media=(PlannedMedium(name="A", read_seconds=2.5),),
        orders=(ComparedOrder(name="best", seconds=1, taken=True),),
        price=Price(micros=5, currency="EUR"),
        notes=("assumed",),
    )
    found = json.loads(json.dumps(made.as_record()))
    assert found["media"][0]["name"] == "A"
    assert found["media"][0]["locate_seconds"] is None
    assert found["orders"][0]["taken"] is True
    assert found["price"] == {"micros": 5, "currency": "EUR"}
    assert found["total_seconds"] is None
    # Media that are not mounted are not counted as volumes.
    assert found["volumes"] is found["mounts"] is None
    assert json.loads(json.dumps(PlanEstimates().as_record()))["price"] is None


def test_bytes_become_seconds() -> None:
    estimates = PlanEstimates(extent_seconds=((10.0, 20.0), (100.0, 150.0)))
    read = np.array([0, 125, 250, 375, 500])
    assert seconds_at(PLAN, estimates, read) == [0.0, 15.0, 20.0, 125.0, 150.0]


def test_no_times_of_extents_give_no_seconds() -> None:
    assert seconds_at(PLAN, PlanEstimates(), np.zeros(1, np.int64)) is None


def test_what_drives_read_at_the_same_time_is_done_before_what_comes_later() -> None:
    # The second extent ends after the first one, and begins before it.
    estimates = PlanEstimates(extent_seconds=((10.0, 20.0), (0.0, 40.0)), data_seconds=5.0)
    read = np.array([0, 1, 250, 251, 500])
    found = seconds_at(PLAN, estimates, read)
    assert found is not None
    assert found[0] == 5.0
    assert found[2:] == [20.0, 20.0, 40.0]
    later = PlanEstimates(extent_seconds=((10.0, 20.0), (0.0, 40.0)), begin_seconds=3.0)
    assert seconds_at(PLAN, later, read[:1]) == [3.0]


def test_times_that_are_not_known_stay_so() -> None:
    estimates = PlanEstimates(extent_seconds=((math.nan, math.nan), (10.0, 20.0)))
    assert seconds_at(PLAN, estimates, np.array([100, 500])) == [None, 20.0]


def medium(name: str, **more: Any) -> PlannedMedium:
    return PlannedMedium(name=name, **more)


def test_rounds_follow_each_other() -> None:
    maps = PlanEstimates(
        media=(medium("A", phase="maps", mounted=True),),
        orders=(ComparedOrder(name="best", seconds=1, other_seconds=2, taken=True),),
        ready_seconds=1.0, locate_seconds=2.0, read_seconds=None, rewind_seconds=0.0,
        total_seconds=9.0, notes=("same",),
    )  # fmt: skip
    data = PlanEstimates(
        media=(medium("A", mounted=False), medium("B", mounted=True)),
        orders=(ComparedOrder(name="best", seconds=10, other_seconds=None, taken=True),),
        ready_seconds=10.0, locate_seconds=20.0, read_seconds=30.0, rewind_seconds=4.0,
        total_seconds=90.0, at_least=True, extent_seconds=((1.0, 2.0),), notes=("same", "other"),
    )  # fmt: skip
    found = after_each_other([maps, data])
    assert [each.name for each in found.media] == ["A", "A", "B"]
    assert found.orders == (ComparedOrder(name="best", seconds=11, taken=True),)
    assert (found.ready_seconds, found.locate_seconds, found.read_seconds) == (11, 22, None)
    assert (found.rewind_seconds, found.total_seconds, found.data_seconds) == (4, 90, 9)
    assert found.at_least
    assert found.extent_seconds == data.extent_seconds
    assert found.notes == ("same", "other")
    alone = after_each_other([data])
    assert (alone.data_seconds, alone.total_seconds) == (None, 90)
    # Maps that lie on no medium are in no time.
    homeless = after_each_other([PlanEstimates(), data])
    assert (homeless.ready_seconds, homeless.data_seconds) == (10, None)


def test_stores_are_told_together() -> None:
    price = Price(micros=5, currency="EUR")
    first = PlanEstimates(media=(medium("A", mounted=True),), total_seconds=5.0, price=price)
    second = PlanEstimates(
        media=(medium("A", mounted=True), medium("B", mounted=True)),
        begin_seconds=5.0, total_seconds=7.0, price=price,
    )  # fmt: skip
    assert together([]) is None
    found = together([("s1", first), ("s2", second)])
    assert found is not None
    assert [(each.name, each.store) for each in found.media] == [
        ("A", "s1"),
        ("A", "s2"),
        ("B", "s2"),
    ]
    assert found.price == Price(micros=10, currency="EUR")
    assert (found.begin_seconds, found.total_seconds) == (0, 7)
    assert found.notes == ("2 volumes needed, 3 mounts", "mounted more than once: A")
    record: Any = found.as_record()
    assert (record["volumes"], record["mounts"]) == (2, 3)
    dollars = attrs.evolve(second, price=Price(micros=1, currency="USD"))
    mixed = together([("s1", first), ("s2", dollars)])
    assert mixed is not None
    assert mixed.price is None


def test_mounts_are_told_where_something_is_mounted() -> None:
    assert mount_notes([medium("DEEP_ARCHIVE")], 7) == ()
    assert mount_notes([medium("A", mounted=False)], 3) == (
        "1 volume needed, 0 mounts (3 as asked)",
    )
    many = [medium(f"T{number:02}", mounted=True) for number in range(20)] * 2
    _, again = mount_notes(many)
    assert again.startswith("mounted more than once: T00, T01, ")
    assert again.endswith("T07 and 12 more")


def test_stores_are_short_as_long_as_they_differ() -> None:
    far = [medium("A", store="12345678-aaaa"), medium("A", store="87654321-aaaa")]
    assert short_stores(far) == ["12345678", "87654321"]
    near = [medium("A", store="12345678-aaaa"), medium("A", store="12345678-bbbb")]
    assert short_stores(near) == ["12345678-aaaa", "12345678-bbbb"]


def test_a_phase_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="phase"):
        medium("A", phase="other")
