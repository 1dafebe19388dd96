import pytest

from benchmarks.figures import Figure, Limit, differences, figure_of, markdown, ratios


def made(values: list[float], limit: Limit | None = None) -> Figure:
    return figure_of("case", "name", "x", values, limit=limit)


def test_ratios_are_made_of_runs_of_one_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_a_difference_does_not_fall_below_its_least() -> None:
    assert differences([3.0, 1.0], [1.0, 2.0], least=0.5) == [2.0, 0.5]


def test_the_median_decides_and_the_spread_is_kept() -> None:
    figure = made([9.0, 1.0, 2.0], Limit(2.0))
    assert (figure.median, figure.low, figure.high) == (2.0, 1.0, 9.0)
    assert figure.verdict == "met"


@pytest.mark.parametrize(
    ("values", "limit", "verdict"),
    [
        pytest.param([2.1], Limit(2.0), "MISSED", id="above-the-most"),
        pytest.param([2.0], Limit(2.0), "met", id="at-the-most"),
        pytest.param([1.3], Limit(1.4, at_least=True), "MISSED", id="below-the-least"),
        pytest.param([1.4], Limit(1.4, at_least=True), "met", id="at-the-least"),
        pytest.param([2.0], None, "", id="only-shown"),
        pytest.param([], Limit(2.0), "not run", id="no-value"),
        pytest.param([1.00004], Limit(1.0), "met", id="printed-as-the-limit"),
        pytest.param([1.001], Limit(1.0), "MISSED", id="printed-above-the-limit"),
        pytest.param([400.4], Limit(400), "met", id="large-numbers-in-whole-units"),
    ],
)
def test_verdict(values: list[float], limit: Limit | None, verdict: str) -> None:
    assert made(values, limit).verdict == verdict


def test_misses_stay_in_the_table() -> None:
    table = markdown([made([3.0, 4.0, 5.0], Limit(2.0)), made([])])
    head, rule, missed, empty = table.splitlines()
    assert "spread" in head
    assert set(rule) == {"|", "-"}
    assert [cell.strip() for cell in missed.split("|")[3:-1]] == [
        "<= 2x", "4.00x", "3.00 to 5.00", "3", "MISSED",
    ]  # fmt: skip
    assert empty.count("not run") == 1


def test_json_has_every_value() -> None:
    found = made([1.0, 2.0, 4.0], Limit(2.0)).as_json()
    assert found["values"] == [1.0, 2.0, 4.0]
    assert found["limit"] == {"value": 2.0, "at_least": False}
    assert "median" not in made([]).as_json()
