"""What is asked for twice, counted twice, forgotten or waited for without end: nothing."""

import json
from pathlib import Path

import attrs
import pytest

from rehydrate import StoreError, StorePath, StoreReadError
from rehydrate.errors import CorruptMetadataError
from rehydrate.media.prices import DEFAULT_TABLE, parse_table
from rehydrate.media.tiers import DAY, ThawOptions
from rehydrate.stores.objects.archive import Stage
from rehydrate.stores.objects.thawing import ThawingStore
from tests.unit.stores.objects.thaws import (
    GB,
    HOUR,
    FakeClock,
    FakeService,
    Frozen,
    ordered,
    preview,
    refused,
    store_of,
)

SLOW_READER = ThawOptions(days=1, read_rate=10_000_000)
THROTTLED = StoreReadError("slow down", code="object.throttled", retryable=True)
LOST = StoreReadError("no answer", code="object.network", retryable=True)
DENIED = StoreReadError("no", code="object.denied", retryable=False)


def price_of_one(service: FakeService, job: Path) -> int:
    """Return the price of a gigabyte in the usual way."""
    service.objects["z"] = Frozen(GB)
    quote = store_of(service, job).quote([StorePath("z")], speed="standard")
    del service.objects["z"]
    return quote.total


@pytest.mark.parametrize("error", [THROTTLED, LOST])
def test_refused_request_is_counted_once_after_a_restart(
    service: FakeService, job: Path, error: StoreError
) -> None:
    once = price_of_one(service, job)
    service.objects = {"a": Frozen(GB)}
    service.refuse = lambda _key, _speed: error
    options = ThawOptions(days=1, max_cost=once)
    store = store_of(service, job, options=options)
    assert preview(store, "a") is not None
    assert store.spent == (once if error is LOST else 0)  # a lost answer may be a thaw
    service.refuse = lambda _key, _speed: None
    store = store_of(service, job, options=options)
    assert preview(store, "a") is not None
    assert store.spent == once
    assert service.asked_for == "a"


def test_denied_request_costs_nothing_and_leaves_the_limit_to_others(
    service: FakeService, job: Path
) -> None:
    once = price_of_one(service, job)
    service.objects = {name: Frozen(GB) for name in "ab"}
    service.refuse = lambda key, _speed: DENIED if key == "a" else None
    store = store_of(service, job, options=ThawOptions(days=1, max_cost=once))
    assert refused(store, "a").code == "thaw.refused"
    assert store.spent == 0
    assert preview(store, "b") is not None
    assert store.spent == once


@pytest.mark.parametrize("error", [KeyboardInterrupt(), THROTTLED, LOST])
def test_what_a_copy_cost_before_it_expired_is_not_forgotten(
    service: FakeService, clock: FakeClock, job: Path, error: BaseException
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    once = store.spent
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    clock.now += 2 * DAY
    again = store_of(service, job)

    def fail(_key: str, _speed: str) -> Exception | None:
        if isinstance(error, Exception):
            return error
        raise error

    service.refuse = fail  # it is killed after it saved that it asks
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            preview(again, "a")
    else:
        preview(again, "a")
    service.refuse = lambda _key, _speed: None
    limited = ThawOptions(days=1, max_cost=2 * once - 1)
    assert refused(store_of(service, job, options=limited), "a").code == "thaw.max-cost"
    store = store_of(service, job, options=ThawOptions(days=1, max_cost=2 * once))
    assert preview(store, "a") is not None
    assert store.spent == 2 * once


def test_price_in_the_job_is_that_of_the_plan(service: FakeService, job: Path) -> None:
    names = "abcdefghijklmnop"
    service.objects = {name: Frozen(12_345) for name in names}
    store = store_of(service, job)
    ordered(store, names)
    quote = store.quote([StorePath(name) for name in names], speed="standard")
    preview(store, "a")
    assert store.spent == quote.total


def test_renewal_is_saved_before_it_is_asked_for(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "ab"}
    store = store_of(service, job)
    ordered(store, "ab")
    preview(store, "a")
    before = store.spent
    clock.now += 4 * HOUR + DAY - 1000

    def die(_key: str, _speed: str) -> Exception | None:
        raise KeyboardInterrupt

    service.refuse = die
    with pytest.raises(KeyboardInterrupt):
        preview(store, "a")
    assert store_of(service, job).spent > before


def test_renewals_leave_the_price_of_later_waves(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(450 * GB) for name in "abc"}
    first = store_of(service, job.with_name("price"), options=SLOW_READER)
    total = first.quote([StorePath(name) for name in "abc"], speed="standard").total
    limited = attrs.evolve(SLOW_READER, max_cost=total)
    store = store_of(service, job, options=limited)
    ordered(store, "abc")
    preview(store, "a")
    clock.now += 4 * HOUR + DAY - 1000
    assert preview(store, "a") is None
    assert preview(store, "b") is not None
    assert "aa" not in service.asked_for
    assert store.spent <= total


def test_renewal_of_a_copy_of_others_is_counted_and_refused_ones_are_not(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    soon = Frozen(GB, ready_at=clock.now - 10, expires_at=clock.now + 100)
    service.objects = {"a": soon, "b": attrs.evolve(soon)}
    service.refuse = lambda key, _speed: DENIED if key == "b" else None
    store = store_of(service, job)
    assert preview(store, "b") is None
    assert store.spent == 0
    assert preview(store, "a") is None
    assert service.asked_for == "a"
    assert store.spent == store_of(service, job).spent > 0


def test_copies_that_wait_for_a_slow_reader_are_renewed(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "abc"}
    store = store_of(service, job)
    ordered(store, "abc")
    preview(store, "a")
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    assert service.asked_for == "abc"
    clock.now += DAY - HOUR - 3000  # b and c were never looked at
    assert preview(store, "a") is None
    assert sorted(service.asked_for) == list("aabbcc")
    clock.now += 2 * HOUR
    assert preview(store, "b") is None
    assert preview(store, "c") is None
    assert len(service.asked) == 6


def test_program_that_was_stopped_for_days_thaws_again(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "ab"}
    store = store_of(service, job)
    ordered(store, "ab")
    preview(store, "a")
    preview(store, "b")
    clock.now += 10 * DAY
    for name in "ab":
        while (wait := preview(store, name)) is not None:
            clock.now += int(wait) + 1
    assert service.asked_for == "abab"


def test_thaw_that_ended_unseen_is_not_late(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "ab"}
    store = store_of(service, job, options=ThawOptions(days=3))
    ordered(store, "ab")
    preview(store, "a")
    clock.now += DAY  # much later than twice the longest time, and never looked at
    assert preview(store, "b") is None


def test_thaw_of_somebody_else_is_not_late_by_an_old_job(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    clock.now += 30 * DAY
    service.objects["a"] = Frozen(GB, ready_at=clock.now + HOUR, expires_at=clock.now + DAY)
    assert preview(store_of(service, job), "a") is not None


def test_limit_of_bytes_an_hour_makes_no_thaw_late(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(50 << 30, tier="azure-archive") for name in "ab"}
    service.takes = 10 * HOUR  # 100 GiB at 10 GiB an hour
    store = store_of(service, job, "high")
    ordered(store, "ab")
    while (wait := preview(store, "a")) is not None:
        outlook = store.outlook()
        assert outlook is not None
        assert outlook.due_ns == (service.asked[0][2] + 11 * HOUR) * 1_000_000_000
        clock.now += int(wait) + 1
    assert preview(store_of(service, job, "high"), "b") is None


def test_restart_asks_for_no_wave_too_early(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(500 * GB) for name in "abcd"}
    store = store_of(service, job, options=SLOW_READER)
    ordered(store, "abcd")
    preview(store, "a")
    for hours in (0, 5):  # while the first is thawed, and when it can be read
        clock.now += hours * HOUR
        store = store_of(service, job, options=SLOW_READER)
        ordered(store, "abcd")
        assert preview(store, "b") is not None
        assert service.asked_for == "a"
    assert preview(store, "a") is None
    assert preview(store, "b") is not None
    assert service.asked_for == "ab"


def test_restart_asks_at_once_for_the_rest_of_a_wave_that_fits(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(400 * GB) for name in "ab"}
    preview(store_of(service, job, options=SLOW_READER), "a")
    store = store_of(service, job, options=SLOW_READER)
    service.objects["b"].size = GB
    ordered(store, "ab")
    preview(store, "a")
    assert service.asked_for == "ab"


def test_objects_that_nobody_reads_any_more_hold_no_wave_back(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(400 * GB) for name in "abc"}
    store = store_of(service, job, options=SLOW_READER)
    ordered(store, "abc")
    preview(store, "a")
    assert "c" not in service.asked_for
    for _ in range(100):
        if preview(store, "c") is None:
            break
        clock.now += HOUR // 2
    assert service.asked_for.count("c") == 1


def test_object_that_cannot_be_thawed_costs_no_others(service: FakeService, job: Path) -> None:
    service.objects = {
        "a": Frozen(100_000 * GB), "b": Frozen(GB), "c": Frozen(GB, tier="nobody's"),
        "d": Frozen(GB, tier="s3-deep-archive"),
    }  # fmt: skip
    store = store_of(service, job)
    ordered(store, "abcd")
    assert refused(store, "a").code == "thaw.days"
    assert refused(store, "c").code == "thaw.offer"
    assert preview(store, "b") is not None
    assert service.asked_for == "bd"


def test_throttled_objects_are_asked_for_together(
    service: FakeService, clock: FakeClock, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "abcdefgh"
    service.objects = {name: Frozen(GB) for name in names}
    service.refuse = lambda _key, _speed: THROTTLED
    store = store_of(service, job)
    ordered(store, names)
    for name in names:
        preview(store, name)
    service.refuse = lambda _key, _speed: None
    clock.now += HOUR
    assert preview(store, "a") is not None
    assert sorted(service.asked_for) == list(names)


def test_due_waves_are_counted_without_going_through_all_objects(
    service: FakeService, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [StorePath(f"{number:03}") for number in range(300)]
    service.objects = {name: Frozen(5 * GB) for name in names}
    store = store_of(service, job, options=SLOW_READER)
    store.order_containers_restore(names)
    preview(store, "000")
    assert len(service.asked) < len(names)
    calls = 0
    stage = store._survey.stage

    def counted(path: StorePath) -> Stage:
        nonlocal calls
        calls += 1
        return stage(path)

    monkeypatch.setattr(store._survey, "stage", counted)
    for name in names:
        preview(store, name)
    assert calls < 20 * len(names)


def test_clock_that_is_set_back_delays_no_look(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    clock.now -= 10 * DAY
    wait = preview(store, "a")
    assert wait is not None
    assert wait <= 1800


def test_another_program_with_the_same_job_is_noticed(service: FakeService, job: Path) -> None:
    service.objects = {name: Frozen(GB) for name in "abc"}
    one, other = store_of(service, job), store_of(service, job)
    assert preview(one, "a") is not None
    error = refused(other, "b")
    assert error.code == "thaw.job"
    assert "another program uses the thaw job" in error.message
    assert preview(one, "c") is not None
    job.unlink()
    service.objects["d"] = Frozen(GB)
    assert preview(one, "d") is not None
    assert len(json.loads(job.read_text())["objects"]) == 3
    assert service.asked_for == "acd"


def test_job_counts_in_one_currency_and_a_slash_makes_no_other_store(
    service: FakeService, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    preview(store_of(service, job), "a")
    euros = parse_table(DEFAULT_TABLE.replace("USD", "EUR"))
    with pytest.raises(CorruptMetadataError, match="another currency"):
        store_of(service, job, table=euros)
    text = json.loads(job.read_text())
    text["store"] = "client:"  # as with the slashes at its end
    del text["currency"], text["saved"]
    for entry in text["objects"].values():
        del entry["paid"]
    job.write_text(json.dumps(text))
    store: ThawingStore = store_of(service, job, table=euros)
    spent = store.spent
    service.objects["b"] = Frozen(GB)
    assert preview(store, "b") is not None
    assert store_of(service, job, table=euros).spent == 2 * spent
