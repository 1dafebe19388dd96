"""Waves of thaw requests and what they cost."""

import itertools

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from rehydrate.errors import LimitError, RequestError
from rehydrate.media.prices import Offer, parse_table
from rehydrate.media.tiers import DAY, ThawOptions, Wave, price, thaw_plan, waves

TABLE = parse_table()
FLEXIBLE = TABLE.offer("s3-glacier-flexible", "standard")
BULK = TABLE.offer("s3-deep-archive", "bulk")
GB = 10**9


def test_published_example_costs_what_is_published() -> None:
    cost = price(TABLE, FLEXIBLE, 1000, 1000 * GB, 1)
    assert (cost.requests, cost.retrieval) == (50_000, 10_000_000)
    assert cost.kept == pytest.approx(770_000, rel=0.01)
    assert cost.total == cost.requests + cost.retrieval + cost.kept


def test_parts_of_a_millionth_are_rounded_up() -> None:
    cost = price(TABLE, FLEXIBLE, 1, 1, 1)
    assert (cost.requests, cost.retrieval, cost.kept) == (50, 1, 1)


def test_all_goes_out_at_once_where_it_fits() -> None:
    (wave,) = waves([GB] * 1000, TABLE, FLEXIBLE)
    assert (wave.first, wave.end, wave.stored_bytes) == (0, 1000, 1000 * GB)
    assert (wave.request_s, wave.ready_s, wave.read_s) == (0, 5 * 3600, 5 * 3600 + 10_000)
    assert wave.expires_s == 3 * 3600 + 3 * DAY


def test_waves_are_read_before_they_expire_and_follow_each_other_without_a_pause() -> None:
    options = ThawOptions(days=1, read_rate=50_000_000)
    found = waves([GB] * 12_000, TABLE, FLEXIBLE, options)
    assert len(found) > 2
    assert [wave.first for wave in found] == [0, *[wave.end for wave in found[:-1]]]
    assert found[-1].end == 12_000
    check_none_expires_unread(found, FLEXIBLE, options)
    for one, other in itertools.pairwise(found):
        assert other.ready_s == one.read_s
        # The next object would not have fit; a later wave also waits for the one before.
        wait = 0 if one is found[0] else 2 * 3600
        size = one.stored_bytes + GB
        assert size / options.read_rate > DAY - options.margin_s - wait


def check_none_expires_unread(found: tuple[Wave, ...], offer: Offer, options: ThawOptions) -> None:
    """Check it where all copies are as early as may be and the wave before is as late."""
    free = 0
    for wave in found:
        begin = max(free, wave.request_s + offer.quick_s)
        reading = -(-wave.stored_bytes // options.read_rate)
        assert begin + reading + options.margin_s <= wave.expires_s
        assert wave.ready_s + reading + options.margin_s <= wave.ready_s + options.days * DAY
        assert wave.request_s >= 0
        free = wave.read_s


@pytest.mark.parametrize("days", [1, 3])
@pytest.mark.parametrize("offer", [offer for offer in TABLE.offers if offer.thaws], ids=str)
def test_one_object_and_many_fit_every_offer(offer: Offer, days: int) -> None:
    options = ThawOptions(days=days)
    assert len(waves([GB], TABLE, offer, options)) == 1
    (wave,) = waves([GB] * 1000, TABLE, offer, options)  # copies are read as they become ready
    check_none_expires_unread((wave,), offer, options)


def test_waves_that_must_not_be_early_are_asked_for_later() -> None:
    options = ThawOptions(days=1)  # less than between the quickest and the slowest copy
    found = waves([GB] * 20_000, TABLE, BULK, options)
    assert len(found) > 2
    check_none_expires_unread(found, BULK, options)
    assert all(wave.lead_s < BULK.slow_s for wave in found[1:])
    assert all(other.request_s > one.request_s for one, other in itertools.pairwise(found))


def test_more_days_need_fewer_waves() -> None:
    counts = [
        len(waves([GB] * 50_000, TABLE, BULK, ThawOptions(days=days, read_rate=10**8)))
        for days in (3, 4, 10)
    ]
    assert counts[0] > counts[1] > counts[2] == 1


def test_a_wave_stays_in_its_budget() -> None:
    options = ThawOptions(days=1, wave_budget=1_000_000)
    found = waves([GB] * 1000, TABLE, FLEXIBLE, options)
    assert all(wave.price.total <= 1_000_000 for wave in found)
    assert all(wave.end - wave.first == found[0].end for wave in found[:-1])
    assert price(TABLE, FLEXIBLE, found[0].end + 1, (found[0].end + 1) * GB, 1).total > 1_000_000


def test_a_limit_of_bytes_an_hour_delays_the_last_object() -> None:
    high = TABLE.offer("azure-archive", "high")
    (wave,) = waves([2**30] * 20, TABLE, high)
    assert wave.ready_s == 3600 + 2 * 3600


def test_small_objects_are_billed_with_their_minimum() -> None:
    least = attrs.evolve(FLEXIBLE, minimum_bytes=GB)
    plan = thaw_plan([1, 2 * GB], TABLE, least)
    assert plan.price.billed_bytes == 3 * GB
    assert plan.waves[0].stored_bytes == 2 * GB + 1


def test_nothing_to_thaw_still_has_its_price() -> None:
    plan = thaw_plan([GB] * 10, TABLE, TABLE.offer("gcs-archive", "none"))
    assert (plan.waves, plan.seconds) == ((), 100)
    assert plan.price.total == plan.price.requests + plan.price.retrieval > 0
    empty = thaw_plan([], TABLE, FLEXIBLE)
    assert (empty.waves, empty.price.total, empty.seconds) == ((), 0, 0)


def test_sum_is_that_of_the_waves() -> None:
    plan = thaw_plan([GB] * 12_000, TABLE, FLEXIBLE, ThawOptions(read_rate=50_000_000))
    assert plan.price.total == sum(wave.price.total for wave in plan.waves)
    assert plan.price.objects == 12_000
    assert plan.seconds == plan.waves[-1].read_s


def test_too_dear_is_refused_with_both_amounts() -> None:
    with pytest.raises(LimitError, match=r"10\.82 USD, more than 5\.00 USD") as caught:
        thaw_plan([GB] * 1000, TABLE, FLEXIBLE, ThawOptions(days=1, max_cost=5_000_000))
    assert caught.value.code == "thaw.max-cost"
    cost = thaw_plan([GB] * 1000, TABLE, FLEXIBLE).price.total
    assert thaw_plan([GB] * 1000, TABLE, FLEXIBLE, ThawOptions(max_cost=cost)).price.total == cost


def test_an_object_that_cannot_be_read_in_time() -> None:
    with pytest.raises(LimitError) as caught:
        waves([GB, 10**13], TABLE, FLEXIBLE, ThawOptions(days=1, read_rate=10**8))
    assert caught.value.code == "thaw.days"
    assert "object 1" in caught.value.message


def test_an_object_dearer_than_a_wave() -> None:
    with pytest.raises(LimitError) as caught:
        waves([GB], TABLE, FLEXIBLE, ThawOptions(wave_budget=1))
    assert caught.value.code == "thaw.budget"


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([-1], id="negative"),
        pytest.param([0.5], id="fraction"),
        pytest.param([[1]], id="shape"),
        pytest.param([2**51], id="huge"),
        pytest.param(np.full(5000, 2**50), id="huge together"),
    ],
)
def test_sizes_that_are_none(sizes: npt.ArrayLike) -> None:
    with pytest.raises((RequestError, LimitError)) as caught:
        waves(sizes, TABLE, FLEXIBLE)
    assert caught.value.code == "thaw.options"


@pytest.mark.parametrize(
    ("days", "rate", "margin", "cost"), [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -1, 0), (1, 1, 0, -1)]
)
def test_options_without_meaning(days: int, rate: int, margin: int, cost: int) -> None:
    with pytest.raises(RequestError):
        ThawOptions(days=days, read_rate=rate, margin_s=margin, max_cost=cost)
