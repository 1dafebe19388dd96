"""What a restore that thaws tells and refuses, without a service."""

from pathlib import Path

import attrs
import pytest

from rehydrate.cli import watchers
from rehydrate.cli.thaw_desk import ThawDesk, time_of
from rehydrate.cli.thaw_pricing import compare_thaws
from rehydrate.cli.watchers import RestoreWatcher, watcher_of
from rehydrate.errors import Cancelled, LimitError
from rehydrate.media.prices import parse_table
from rehydrate.media.tiers import ThawOptions
from rehydrate.requests import CancelToken
from rehydrate.results import Notice, Waiting
from rehydrate.stores.objects.quote import Outlook, ThawQuote
from rehydrate.stores.objects.store import ObjectStore
from rehydrate.stores.objects.thawing import ThawingStore
from rehydrate.values import StorePath
from tests.unit.cli.test_progress import Noted
from tests.unit.stores.objects.thaws import FakeClock, FakeService, Frozen

MAPS, DATA = [StorePath("Stream/1")], [StorePath("Data/1"), StorePath("Data/2")]
QUOTE = ThawQuote(
    speed="standard", readable=0, thawing=0, frozen=2, unknown=0, frozen_bytes=2048, waves=1,
    seconds=100, requests=100, retrieval=20_000, kept=3, currency="USD", quick_seconds=60,
    slow_seconds=120, tiers=("s3-glacier-flexible",),
)  # fmt: skip
WAIT = Waiting(2, 3, 90.0, "Data/1 is being thawed")


@attrs.define
class Fake:
    """A store that thaws."""

    found: Outlook | None = None
    spent: int = 0

    def outlook(self) -> Outlook | None:
        return self.found

    def order_containers_restore(self, containers: object) -> None:
        """Nothing is approved."""

    def preview_container_read(self, path: object, reads: object) -> None:
        """All is ready."""


def desk_of(limit: int | None = None, **remarks: str) -> ThawDesk:
    named = {name.replace("_", "-"): text for name, text in remarks.items()}
    return ThawDesk(Path("job"), parse_table(), limit, named)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.removeprefix("rehydrate: ") for line in capsys.readouterr().err.splitlines()]


def test_price_is_told_with_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    desk = desk_of(s3_glacier_flexible="and that is not all", azure_archive="not this")
    desk.approve(DATA, attrs.evolve(QUOTE, waves=2, thawing=1, spent=10_000))
    assert told(capsys) == [
        "asked for before, and nothing to pay: 1 object",
        (
            "thaw of 2 objects of 2.00 KiB, standard, in 2 waves: 0.0202 USD (requests 0.0001 USD,"
            " bytes 0.02 USD, copies 0.0001 USD), readable after 1 min 00 s to 2 min 00 s"
        ),
        "0.01 USD were spent before by job",
        "and that is not all",
    ]
    assert desk.refusal is None


def test_nothing_frozen_is_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    desk = desk_of(0)
    desk.approve(DATA, attrs.evolve(QUOTE, frozen=0))
    assert told(capsys) == []
    assert desk.as_record()["rounds"] == []
    assert desk.summary() == ""


def test_limit_is_for_what_was_spent_too() -> None:
    total = QUOTE.total
    desk_of(total).approve(DATA, QUOTE)
    for limit, spent in [(total - 1, 0), (total + 9, 10)]:
        desk = desk_of(limit)
        with pytest.raises(Cancelled):
            desk.approve(DATA, attrs.evolve(QUOTE, spent=spent))
        assert isinstance(desk.refusal, LimitError)
        assert desk.refusal.code == "thaw.max-cost"
        assert ("spent before by job" in desk.refusal.message) == bool(spent)


def test_maps_and_data_are_refused_as_a_whole_and_repairs_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = desk_of(QUOTE.total)
    desk.approve(MAPS, attrs.evolve(QUOTE, frozen=0))
    desk.approve(DATA, QUOTE)
    assert len(told(capsys)) == 1
    desk.approve(DATA[:1], attrs.evolve(QUOTE, spent=1))
    (line,) = told(capsys)
    assert line.startswith("repairs need archived objects that are not thawed: the thaw of 2 obj")
    assert desk.refusal is None
    desk = desk_of()
    desk.approve(MAPS, QUOTE)
    assert "these hold entries and maps" in told(capsys)[-1]
    desk.approve(MAPS, QUOTE)
    assert told(capsys)[0].startswith("repairs need the thaw of 2 objects")
    with pytest.raises(Cancelled):
        desk.approve(DATA, LimitError("too long", code="thaw.days"))
    assert desk.refusal is not None
    assert desk.refusal.code == "thaw.days"


def test_waiting_is_told_at_first_then_rarely(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    store = Fake(Outlook(ready=0, thawing=2, later=1, refused=0, due_ns=1_800_000_000 * 10**9))
    desk = desk_of()
    assert desk.waits(WAIT) == "waiting for a thaw"
    desk.watch(store)
    assert desk.waits(WAIT) == "waiting for the thaw: 0 of 3 ready"
    (line,) = told(capsys)
    assert line.startswith("waiting for the thaw of 2 objects, ready by 2027-01-1")
    assert "at the latest, and then 1 more are asked for; interrupt it if you like" in line
    clock[0] += 299
    desk.waits(WAIT)
    store.found = Outlook(ready=1, thawing=1, later=1, refused=0, due_ns=None)
    desk.waits(WAIT)
    assert told(capsys) == []
    clock[0] += 1
    assert desk.waits(WAIT) == "waiting for the thaw: 1 of 3 ready"
    assert told(capsys) == ["1 of 3 objects thawed; the next look is in 1 min 30 s"]
    clock[0] += 3599
    desk.waits(WAIT)
    assert told(capsys) == []
    clock[0] += 1
    desk.waits(WAIT)
    assert told(capsys) == ["1 of 3 objects thawed; the next look is in 1 min 30 s"]
    desk.approve(DATA, attrs.evolve(QUOTE, frozen=0))  # another round
    desk.waits(WAIT)
    assert told(capsys)[0].startswith("waiting for the thaw of 1 object, ready at some time, and")


def test_watchers_draw_or_print_waiting(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    store = Fake(Outlook(ready=1, thawing=2, later=0, refused=0, due_ns=None))
    desk = desk_of()
    desk.watch(store)
    bar = Noted()
    drawn = watcher_of(bar, desk)
    assert isinstance(drawn, RestoreWatcher)
    drawn.on_event(WAIT)
    assert bar.shown == [("waiting for the thaw: 1 of 3 ready", 0, "next look in 1 min 30 s")]
    RestoreWatcher(bar).on_event(WAIT)
    assert bar.shown[-1] == ("waiting: 1 of 3 ready", 0, "next look in 1 min 30 s")
    told(capsys)
    other = desk_of()
    other.watch(store)
    printed = watcher_of(None, other)
    assert printed is not None
    printed.on_event(Notice("not this"))
    assert told(capsys) == []
    printed.on_event(WAIT)
    assert len(told(capsys)) == 1
    assert watchers.watcher_of(None, None) is None


def test_times_of_a_thaw() -> None:
    assert time_of(QUOTE) == "1 min 00 s to 2 min 00 s"
    assert time_of(attrs.evolve(QUOTE, quick_seconds=0)) == "up to 2 min 00 s"


def test_thawing_first_waits_for_nothing_that_is_ready() -> None:
    desk = desk_of()
    desk.thaw_first(MAPS, None)  # without a store nothing is thawed
    desk.watch(Fake(spent=20_000))
    desk.thaw_first(MAPS, CancelToken())
    assert desk.summary() == "thaws cost 0.02 USD by the price table; job lists them"


def test_ways_are_compared_with_why_some_cannot_be_taken(tmp_path: Path) -> None:
    clock = FakeClock()
    service = FakeService(clock)
    service.objects = {
        "a": Frozen(10**9), "b": Frozen(10**9, tier="s3-deep-archive"), "c": Frozen(1, tier=""),
    }  # fmt: skip
    store = ThawingStore(ObjectStore(service), service, clock=clock)
    paths = [StorePath(name) for name in "abc"]
    states = [service.state(path, None) for path in paths]
    terms = parse_table(), ThawOptions(max_cost=0)
    found = {way.speed: way for way in compare_thaws(store, paths, states, terms, taken="bulk")}
    assert list(found) == ["expedited", "standard", "bulk"]
    way = found["expedited"]
    assert (way.problem, way.price, way.objects) == ("not for s3-deep-archive", None, 2)
    assert found["standard"].total_seconds == 12 * 3600 + 10
    assert [way.taken for way in found.values()] == [False, False, True]
    slow = parse_table(), ThawOptions(read_rate=1)
    (bulk,) = list(compare_thaws(store, paths[:1], states[:1], slow, taken=""))[2:]
    assert "cannot be read within the 3 days" in bulk.problem
    assert service.asked == []


def test_objects_without_a_state_are_told_as_they_are_in_no_price(
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk_of().approve(DATA, attrs.evolve(QUOTE, unknown=3))
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(
        "rehydrate: the service says nothing of 3 objects: what they may cost"
    )
    assert "thaw of 2 objects" in told[1]
