import json
import math
from typing import Any

import numpy as np
import pytest

from rehydrate.plan.estimates import (
    ComparedOrder,
    PlanEstimates,
    PlannedMedium,
    Price,
    TapeDrawing,
    TapePass,
    seconds_at,
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
    assert json.loads(json.dumps(PlanEstimates().as_record()))["price"] is None


def test_bytes_become_seconds() -> None:
    estimates = PlanEstimates(extent_seconds=((10.0, 20.0), (100.0, 150.0)))
    read = np.array([0, 125, 250, 375, 500])
    assert seconds_at(PLAN, estimates, read) == [0.0, 15.0, 20.0, 125.0, 150.0]


def test_no_times_of_extents_give_no_seconds() -> None:
    assert seconds_at(PLAN, PlanEstimates(), np.zeros(1, np.int64)) is None
