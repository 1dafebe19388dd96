"""Waves, renewals and refusals by a clock of our own: no server, no waiting."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate import (
    Cancelled,
    RequestError,
    StoreError,
    StorePath,
    StoreReadError,
)
from rehydrate.errors import CorruptMetadataError, LimitError
from rehydrate.media.prices import DEFAULT_TABLE, parse_table
from rehydrate.media.tiers import DAY, ThawOptions
from rehydrate.stores.objects.archive import ObjectState
from rehydrate.stores.objects.asking import ThawChoice
from rehydrate.stores.objects.quote import Outlook, ThawQuote
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from tests.unit.stores.objects.thaws import (
    GB,
    HOUR,
    NS,
    TIER,
    FakeClock,
    FakeService,
    Frozen,
    ordered,
    preview,
    refused,
    store_of,
)


def test_what_is_ready_comes_first_and_ordering_asks_for_nothing(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {
        "a": Frozen(GB), "b": Frozen(GB, ready_at=clock.now + 50, expires_at=clock.now + DAY),
        "c": Frozen(GB, tier=""), "d": Frozen(GB),
    }  # fmt: skip
    store = store_of(service, job)
    assert ordered(store, "abcde") == "cebad"  # nobody knows e: its reads will tell
    assert service.asked == []
    assert not job.exists()
    assert preview(store, "c") is None
    assert service.asked == []


def test_all_that_fits_is_asked_for_at_once_and_looked_at_ever_more_rarely(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "abc"}
    store = store_of(service, job)
    ordered(store, "abc")
    waits = []
    service.looks.clear()
    while (wait := preview(store, "a")) is not None:
        waits.append(wait)
        clock.now += int(wait) + 1
    assert service.asked_for == "abc"
    assert waits[:2] == [600, 900]
    assert waits == sorted(waits)
    assert max(waits) <= 1800
    assert len(service.looks) == len(waits)
    assert bytes(memoryview(store.read_backup_file(StorePath("a"), 0, 3))) == b"aaa"
    room = bytearray(2)
    assert store.read_backup_file_into(StorePath("a"), 0, memoryview(room)) == 2
    assert store.list_containers(StorePath("")) == ["a", "b", "c"]
    assert store.size_of(StorePath("b")) == GB


def test_job_says_in_the_end_that_all_is_ready(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "ab"}
    store = store_of(service, job)
    ordered(store, "ab")
    assert preview(store, "a") is not None
    assert preview(store, "b") is not None
    clock.now += 5 * HOUR
    for name in "ab":
        assert preview(store, name) is None
    found = json.loads(job.read_text())["objects"]
    assert [entry["progress"] for entry in found.values()] == ["ready", "ready"]
    assert found["a"]["expires_ns"] == (clock.now - HOUR + DAY) * NS


def test_asking_too_early_makes_no_request(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    assert preview(store, "a") == 600
    looks = len(service.looks)
    clock.now += 100
    assert preview(store, "a") == 500
    assert len(service.looks) == looks


def test_next_wave_is_asked_for_before_the_last_is_read(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(450 * GB) for name in "abcd"}
    options = ThawOptions(days=1, read_rate=10_000_000)
    store = store_of(service, job, options=options)
    ordered(store, "abcd")
    assert preview(store, "a") is not None
    assert (
        service.asked_for == "a"
    )  # 450 GB at 10 MB/s are 12.5 hours: two of them would not fit into the day
    clock.now += 5 * HOUR
    assert preview(store, "b") is not None
    assert service.asked_for == "a"  # a is still to be read: 12.5 hours
    assert preview(store, "a") is None
    assert preview(store, "b") is not None
    assert service.asked_for == "ab"


def test_copy_near_its_end_is_renewed(service: FakeService, clock: FakeClock, job: Path) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    assert preview(store, "a") is not None
    spent = json.loads(job.read_text())["objects"]["a"]["price"]
    clock.now += 4 * HOUR + DAY - 1000
    assert preview(store, "a") is None
    assert service.asked_for == "aa"
    assert service.objects["a"].expires_at == clock.now + DAY
    assert preview(store, "a") is None  # has a day again
    assert service.asked_for == "aa"
    found = json.loads(job.read_text())["objects"]["a"]
    assert found["progress"] == "ready"
    assert found["price"] > spent
    assert found["expires_ns"] == (clock.now + DAY) * NS


def test_copy_is_not_renewed_beyond_the_limit_of_cost_or_without_a_price(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {
        "a": Frozen(GB),
        "b": Frozen(GB, tier="s3-deep-archive", ready_at=0, expires_at=clock.now + 2000),
    }
    store = store_of(service, job, options=ThawOptions(days=1, max_cost=10_900))
    assert preview(store, "a") is not None
    clock.now += 4 * HOUR + DAY - 1000
    assert preview(store, "a") is None
    assert service.asked_for == "a"
    clock.now -= 4 * HOUR + DAY - 1000
    other = store_of(service, job.with_name("other"), "expedited")
    assert preview(other, "b") is None
    assert service.asked_for == "a"


def test_expired_copy_is_thawed_again_and_paid_again(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    once = json.loads(job.read_text())["objects"]["a"]["price"]
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    clock.now += 2 * DAY
    with pytest.raises(StoreReadError) as caught:
        store.read_backup_file_into(StorePath("a"), 0, memoryview(bytearray(1)))
    assert (caught.value.code, caught.value.retryable) == ("thaw.expired", True)
    assert preview(store, "a") is not None
    assert service.asked_for == "aa"
    assert json.loads(job.read_text())["objects"]["a"]["price"] == 2 * once
    clock.now += 5 * HOUR
    assert preview(store, "a") is None


def test_copy_that_expired_unread_is_thawed_again(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    clock.now += 2 * DAY
    assert preview(store, "a") is not None


def test_copy_that_vanished_before_its_time_is_thawed_again(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    preview(store, "a")
    clock.now += 5 * HOUR
    assert preview(store, "a") is None
    service.vanished = True
    with pytest.raises(StoreReadError, match="expired"):
        store.read_backup_file(StorePath("a"), 0, 1)
    assert preview(store, "a") is not None


def test_object_frozen_behind_our_back_is_met_by_the_read(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB, tier="")}
    store = store_of(service, job)
    assert preview(store, "a") is None
    service.objects["a"].tier = TIER
    with pytest.raises(StoreReadError) as caught:
        store.read_backup_file(StorePath("a"), 0, 1)
    assert (caught.value.code, caught.value.retryable) == ("object.archived", True)
    assert preview(store, "a") is not None


def test_thaw_that_takes_too_long_is_given_up(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.takes = 10 * DAY
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    assert preview(store, "a") is not None
    clock.now += 9 * HOUR
    assert preview(store, "a") is not None
    clock.now += 2 * HOUR
    assert (refused(store, "a").code, refused(store, "a").retryable) == ("thaw.late", True)


def test_full_service_is_asked_for_the_cheaper_way(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    full = StoreReadError("full", code="thaw.capacity")
    service.refuse = lambda _key, speed: full if speed == "expedited" else None
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job, "expedited")
    assert preview(store, "a") is not None
    assert [speed for _, speed, _ in service.asked] == ["standard"]
    entry = json.loads(job.read_text())["objects"]["a"]
    assert (entry["speed"], entry["progress"]) == ("standard", "asked")
    assert entry["price"] < 15_000  # that of the standard way
    strict = store_of(service, job.with_name("strict"), "expedited", fallback=None)
    service.objects["a"] = Frozen(GB)
    assert refused(strict, "a").code == "thaw.capacity"


def test_cheaper_way_is_not_taken_where_the_service_denies(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    denied = StoreReadError("no", code="object.denied", retryable=False)
    service.refuse = lambda _key, speed: denied if speed == "expedited" else None
    service.objects = {"a": Frozen(GB)}
    assert refused(store_of(service, job, "expedited"), "a").code == "thaw.refused"
    assert service.asked == []


def test_throttled_requests_are_made_again_and_given_up_at_last(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    slow = StoreReadError("slow down", code="object.throttled", retryable=True)
    service.refuse = lambda key, _speed: slow if key == "a" else None
    service.objects = {"a": Frozen(GB), "b": Frozen(GB)}
    store = store_of(service, job)
    ordered(store, "ab")
    for _ in range(2):
        wait = preview(store, "a")
        assert wait is not None
        clock.now += int(wait) + 1
    assert service.asked_for == "b"
    service.refuse = lambda _key, _speed: None
    assert preview(store, "a") is not None
    assert service.asked_for == "ba"
    service.refuse = lambda _key, _speed: slow
    service.objects["c"] = Frozen(GB)
    for _ in range(5):
        with pytest.raises(StoreError):
            store.preview_container_read(StorePath("c"), ())
        clock.now += 2000
    assert refused(store, "c").code == "thaw.refused"


def test_service_that_does_not_answer_is_asked_again_later(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job)
    assert preview(store, "a") is not None
    service.silent = True
    clock.now += 5 * HOUR
    assert preview(store, "a") is not None
    service.silent = False
    clock.now += HOUR
    assert preview(store, "a") is None


def test_limit_of_cost_is_that_of_the_whole_job(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(GB) for name in "ab"}
    options = ThawOptions(max_cost=15_000)  # a gigabyte is some 10,800
    assert preview(store_of(service, job, options=options), "a") is not None
    again = store_of(service, job, options=options)
    error = refused(again, "b")
    assert (error.code, error.retryable) == ("thaw.max-cost", False)
    assert "costs 0.0124 USD, more than 0.0027 USD" in error.message
    assert service.asked_for == "a"


def test_request_that_was_about_to_be_made_is_not_counted_twice(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    options = ThawOptions(max_cost=15_000)
    preview(store_of(service, job, options=options), "a")
    text = job.read_text().replace('"asked"', '"asking"')
    job.write_text(text)
    service.objects["a"] = Frozen(GB)  # the program died before the service was asked
    service.asked.clear()
    assert preview(store_of(service, job, options=options), "a") is not None
    assert service.asked_for == "a"


@pytest.mark.parametrize(
    ("tier", "speed"),
    [
        pytest.param("s3-deep-archive", "expedited", id="no-such-way"),
        pytest.param("gcs-archive", "none", id="needs-no-thaw"),
        pytest.param("nobody's", "standard", id="unknown-tier"),
    ],
)
def test_objects_without_a_way_fail_and_others_do_not(
    service: FakeService, clock: FakeClock, job: Path, tier: str, speed: str
) -> None:
    service.objects = {"a": Frozen(GB, tier=tier)}
    assert refused(store_of(service, job, speed), "a").code == "thaw.offer"
    assert service.asked == []


def test_object_that_cannot_be_read_in_its_days_is_refused(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(100_000 * GB)}
    assert refused(store_of(service, job), "a").code == "thaw.days"


def test_object_thawed_by_others_is_awaited(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {
        "a": Frozen(GB, tier="nobody's", ready_at=clock.now + HOUR, expires_at=clock.now + DAY)
    }
    store = store_of(service, job)
    assert preview(store, "a") == 600
    clock.now += 2 * HOUR
    assert preview(store, "a") is None
    assert service.asked == []


def test_nothing_is_asked_for_if_the_job_cannot_be_written(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job / "no such folder" / "job")
    assert refused(store, "a").code == "thaw.job"
    assert service.asked == []


def test_without_a_choice_frozen_objects_fail_and_say_why(
    service: FakeService, clock: FakeClock
) -> None:
    service.objects = {"a": Frozen(GB), "b": Frozen(GB, tier="")}
    store = store_of(service, None)
    assert refused(store, "a").code == "object.archived"
    assert preview(store, "b") is None
    assert "no way to thaw" in refused(store, "a").message


def test_other_refusals_of_reads_pass(service: FakeService, clock: FakeClock, job: Path) -> None:
    service.objects = {"a": Frozen(GB, tier="")}
    store = store_of(service, job)
    assert preview(store, "a") is None
    service.silent = True
    with pytest.raises(StoreReadError) as caught:
        store.read_backup_file(StorePath("a"), 0, 1)
    assert caught.value.code == "object.throttled"


def test_declarations_are_those_of_the_object_store(service: FakeService) -> None:
    store, plain = store_of(service, None), ObjectStore(service)
    assert store.concurrent_reads == plain.concurrent_reads
    assert store.max_gap == plain.max_gap
    assert store.max_read == plain.max_read
    assert store.read_timeout == plain.read_timeout


def test_quote_by_tier_and_its_limit(service: FakeService, clock: FakeClock) -> None:
    service.objects = {
        "a": Frozen(2 * GB), "b": Frozen(GB, tier="s3-deep-archive"), "c": Frozen(GB, tier=""),
        "d": Frozen(GB, ready_at=clock.now + 50, expires_at=clock.now + DAY),
    }  # fmt: skip
    store = store_of(service, None)
    paths = [StorePath(name) for name in "abcde"]
    quote = store.quote(paths, speed="standard")
    assert (quote.frozen, quote.thawing, quote.readable, quote.unknown) == (2, 1, 1, 1)
    assert quote.retrieval == 2 * 10_000 + 20_000
    assert quote.requests == 50 + 100
    assert quote.total == quote.retrieval + quote.requests + quote.kept
    assert quote.currency == "USD"
    assert quote.seconds > 12 * HOUR
    dear = parse_table(DEFAULT_TABLE.replace('"per_gigabyte": 0.01', '"per_gigabyte": 100'))
    assert store.quote(paths, speed="standard", table=dear).retrieval == 200_020_000
    with pytest.raises(LimitError):
        store.quote(paths, speed="standard", options=ThawOptions(max_cost=100))
    assert service.asked == []
    assert store.quote([], speed="bulk").total == 0


GOOD = {
    "progress": "asked", "speed": "standard", "days": 1, "size": 5, "price": 7, "asked_ns": 1,
    "expires_ns": None, "version": None,
}  # fmt: skip


def job_text(**changes: object) -> str:
    found: dict[str, object] = {
        "format": "rehydrate thaw job", "version": 1, "store": "client://", "objects": {"a": GOOD},
    }  # fmt: skip
    return json.dumps(found | changes)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="torn"),
        pytest.param("[]", id="list"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("\x00\xff", id="no-text"),
        pytest.param(job_text(format="x"), id="format"),
        pytest.param(job_text(version=2), id="version"),
        pytest.param(job_text(store="s3://other"), id="store"),
        pytest.param(job_text(objects=[]), id="objects"),
        pytest.param(job_text(objects={"a": 5}), id="entry"),
        pytest.param(job_text(objects={"a": {}}), id="fields"),
        pytest.param(job_text(objects={"a": GOOD | {"progress": "eaten"}}), id="progress"),
        pytest.param(job_text(objects={"a": GOOD | {"speed": 5}}), id="speed"),
        pytest.param(job_text(objects={"a": GOOD | {"price": -1}}), id="negative"),
        pytest.param(job_text(objects={"a": GOOD | {"price": 2**63}}), id="huge"),
        pytest.param(job_text(objects={"a": GOOD | {"size": True}}), id="bool"),
        pytest.param(job_text(objects={"a": GOOD | {"version": 5}}), id="version-id"),
    ],
)
def test_damaged_job_is_refused(service: FakeService, job: Path, text: str) -> None:
    job.write_text(text, encoding="latin-1")
    with pytest.raises(CorruptMetadataError) as caught:
        store_of(service, job)
    assert caught.value.code == "thaw.job"


def test_job_that_cannot_be_read(service: FakeService, tmp_path: Path) -> None:
    with pytest.raises(StoreReadError) as caught:
        store_of(service, tmp_path)
    assert caught.value.code == "thaw.job"


def test_job_is_replaced_as_a_whole(
    service: FakeService, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.objects = {"a": Frozen(GB), "b": Frozen(GB)}
    preview(store_of(service, job), "a")
    before = job.read_bytes()

    def fail(_self: Path, _to: Path) -> Path:
        raise OSError(28, "no room")

    monkeypatch.setattr(Path, "replace", fail)
    assert refused(store_of(service, job), "b").code == "thaw.job"
    assert job.read_bytes() == before
    assert [path.name for path in job.parent.iterdir()] == ["job"]


def test_round_is_priced_and_approved_before_anything_is_asked_for(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB), "b": Frozen(GB, tier=""), "c": Frozen(GB)}
    told: list[tuple[str, object]] = []

    def approve(containers: Sequence[StorePath], found: object) -> None:
        assert service.asked == []
        told.append(("".join(containers), found))

    store = store_of(service, job, approve=approve, options=ThawOptions(max_cost=1))
    assert ordered(store, "abc") == "bac"
    ((containers, quote),) = told
    assert containers == "abc"
    assert isinstance(quote, ThawQuote)
    assert (quote.frozen, quote.readable, quote.spent) == (2, 1, 0)
    assert (quote.quick_seconds, quote.slow_seconds) == (3 * HOUR, 5 * HOUR)
    assert quote.total > 20_000  # told without the limit, which holds nevertheless
    assert refused(store, "a").code == "thaw.max-cost"
    assert service.asked == []


def test_round_that_is_not_approved_is_not_thawed(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {"a": Frozen(GB)}

    def refuse(containers: Sequence[StorePath], found: object) -> None:
        raise Cancelled

    store = store_of(service, job, approve=refuse)
    with pytest.raises(Cancelled):
        ordered(store, "a")
    assert service.asked == []


def test_why_there_is_no_price_is_shown(service: FakeService, clock: FakeClock, job: Path) -> None:
    service.objects = {"a": Frozen(GB, tier="s3-deep-archive")}
    told: list[object] = []
    store = store_of(
        service, job, "expedited", approve=lambda _containers, found: told.append(found)
    )
    ordered(store, "a")
    (error,) = told
    assert isinstance(error, RequestError)
    assert error.code == "thaw.offer"


def test_later_round_knows_what_is_spent_and_what_is_about_to_be(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(450 * GB) for name in "abc"}
    service.objects["d"] = Frozen(GB)
    told: list[ThawQuote] = []

    def approve(containers: Sequence[StorePath], found: object) -> None:
        assert isinstance(found, ThawQuote)
        told.append(found)

    options = ThawOptions(days=1, read_rate=10_000_000, max_cost=14_540_000)
    store = store_of(service, job, approve=approve, options=options)
    ordered(store, "abc")
    assert preview(store, "a") is not None
    assert service.asked_for == "a"  # b and c come in waves of their own
    ordered(store, "d")
    assert told[1].spent == told[0].total
    assert refused(store, "d").code == "thaw.max-cost"  # although only a is asked for so far


def test_outlook_counts_what_is_ready_thawing_later_and_refused(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    service.objects = {name: Frozen(450 * GB) for name in "ab"}
    service.objects["c"] = Frozen(GB, tier="")
    store = store_of(service, job, options=ThawOptions(days=1, read_rate=10_000_000))
    ordered(store, "abc")
    assert store.asked_about == ("a", "b")
    assert preview(store, "a") is not None
    due = (clock.now + 5 * HOUR) * NS
    assert store.outlook() == Outlook(ready=0, thawing=1, later=1, refused=0, due_ns=due)
    clock.now += 5 * HOUR
    denied = StoreReadError("no", code="object.denied", retryable=False)
    service.refuse = lambda _key, _speed: denied
    assert preview(store, "a") is None
    clock.now += 8 * HOUR
    assert refused(store, "b").code == "thaw.refused"
    assert store.outlook() == Outlook(ready=1, thawing=0, later=0, refused=1, due_ns=None)
    assert store_of(service, None).outlook() is None


def test_plans_never_thaw(service: FakeService, clock: FakeClock, job: Path) -> None:
    service.objects = {"a": Frozen(GB)}
    store = store_of(service, job).for_plans
    assert ordered(store, "a") == "a"
    with pytest.raises(StoreReadError) as caught:
        store.preview_container_read(StorePath("a"), [])
    assert caught.value.code == "object.archived"
    assert (service.asked, len(service.looks), job.exists()) == ([], 1, False)


def test_fallback_without_a_price_or_above_the_limit_is_not_taken(
    service: FakeService, clock: FakeClock, job: Path
) -> None:
    full = StoreReadError("full", code="thaw.capacity")
    service.refuse = lambda _key, speed: full if speed == "bulk" else None
    service.objects = {"a": Frozen(GB)}
    dearer = store_of(service, job, "bulk", options=ThawOptions(max_cost=1_000_000))
    assert refused(dearer, "a").code == "thaw.capacity"
    nameless = store_of(service, job.with_name("other"), "bulk", fallback="soon")
    assert refused(nameless, "a").code == "thaw.capacity"
    assert service.asked == []


@pytest.mark.parametrize("tier", ["s3-glacier-flexible", "s3-deep-archive", "azure-archive"])
def test_every_way_of_the_table_works_without_options(
    service: FakeService, clock: FakeClock, job: Path, tier: str
) -> None:
    service.objects = {name: Frozen(GB, tier=tier) for name in "ab"}
    table = parse_table()
    for offer in (offer for offer in table.offers if offer.tier == tier):
        store = ThawingStore(
            ObjectStore(service),
            service,
            choice=ThawChoice(speed=offer.speed, job=job.with_name(offer.speed)),
            clock=clock,
        )
        ordered(store, "ab")
        service.asked.clear()
        assert preview(store, "a") is not None
        assert service.asked_for == "ab"
        for name in "ab":
            service.objects[name] = Frozen(GB, tier=tier)


class SdkError(Exception):
    """What the client of a vendor may raise: nothing of ours."""

    retryable = False


@pytest.mark.parametrize("error", [SdkError("not today"), ConnectionError("lost")])
def test_foreign_exception_of_a_thaw_is_a_refusal_and_nothing_waits_for_it(
    service: FakeService, clock: FakeClock, job: Path, error: Exception
) -> None:
    service.objects = {"a": Frozen(GB), "b": Frozen(GB)}
    service.refuse = lambda key, _speed: error if key == "a" else None
    store = store_of(service, job)
    ordered(store, "ab")
    for _ in range(4):
        if isinstance(error, ConnectionError):
            assert preview(store, "a") is not None
        clock.now += 2000
    found = refused(store, "a")
    assert found.code == "thaw.refused"
    assert type(error).__name__ in found.message
    assert service.asked_for == "b"


def test_archive_may_cancel_out_of_a_thaw(service: FakeService, job: Path) -> None:
    service.objects = {"a": Frozen(GB)}
    service.refuse = lambda _key, _speed: Cancelled()
    store = store_of(service, job)
    with pytest.raises(Cancelled):
        preview(store, "a")


def test_broken_connection_to_the_archive_costs_no_other_object(
    service: FakeService, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.objects = {"a": Frozen(GB, tier=""), "b": Frozen(GB)}
    known = service.state

    def state(key: str, version: str | None, /) -> ObjectState:
        if key == "a":
            raise ConnectionError
        return known(key, version)

    monkeypatch.setattr(service, "state", state)
    store = store_of(service, job)
    assert ordered(store, "ba") == "ab"  # as if it could be read: the read tells
    assert preview(store, "b") is not None
