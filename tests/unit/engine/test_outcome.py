"""The outcome of each request: decided once, told once, reported by columns."""

import pytest

from rehydrate.engine.calls import ObserverCalls
from rehydrate.engine.outcome import Outcome
from rehydrate.errors import PublishError, StoreReadError
from rehydrate.results import AtTarget, FileFinished, FileStatus, ReadCounters
from tests.conformance.jobs import Events

TARGETS = [b"a", b"b/c", b"\xff"]


def make(events: Events | None = None) -> Outcome:
    return Outcome(TARGETS, ObserverCalls(events))


def test_second_decision_is_ignored() -> None:
    events = Events()
    outcome = make(events)
    outcome.decide(0, FileStatus.RESTORED)
    outcome.fail(0, StoreReadError("late"))
    assert outcome.status(0) == FileStatus.RESTORED
    assert outcome.first_error is None
    assert len(events.of(FileFinished)) == outcome.decided == 1


def test_error_gets_the_name_of_its_file() -> None:
    outcome = make()
    shared = StoreReadError("shared")
    named = StoreReadError("named").at(file="elsewhere")
    outcome.fail(2, shared)
    outcome.fail(1, shared)
    outcome.fail(0, named)
    report = outcome.report(ReadCounters())
    assert [report.errors[n].file for n in range(3)] == ["elsewhere", "b/c", "\udcff"]
    assert shared.file is None
    assert outcome.first_error is report.errors[0]


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("version", [True, False])
def test_many_are_restored_at_once(*, watched: bool, version: bool) -> None:
    events = Events()
    outcome = make(events if watched else None)
    outcome.fail(1, StoreReadError("before"))
    if version:
        outcome.store_version.add(2)
    outcome.restored([0, 1, 2])
    last = FileStatus.STORE_VERSION if version else FileStatus.RESTORED
    assert [outcome.status(n) for n in range(3)] == [FileStatus.RESTORED, FileStatus.FAILED, last]
    assert outcome.decided == 3
    assert len(events.of(FileFinished)) == (3 if watched else 0)
    report = outcome.report(ReadCounters())
    assert [result.at_target for result in report.results] == [
        AtTarget.NEW,
        AtTarget.ABSENT,
        AtTarget.NEW,
    ]


def test_metadata_that_is_lost_is_kept_beside_a_restored_file() -> None:
    outcome = make()
    outcome.decide(0, FileStatus.RESTORED, PublishError("mode"), ("mode", "user.x"))
    report = outcome.report(ReadCounters())
    assert report[0].metadata_lost == ("mode", "user.x")
    assert report[0].status is FileStatus.RESTORED
    assert not report[0].ok


def test_places_that_nobody_looked_at() -> None:
    outcome = make()
    outcome.looked_at([1])
    outcome.decide(0, FileStatus.RESTORED)
    assert outcome.unknown_places() == [2]
    outcome.present(2, AtTarget.OLD)
    assert outcome.undecided() == [1, 2]
    assert outcome.alive([0, 1, 2]) == [1, 2]
    assert outcome.is_decided(0)
    outcome.fail(2, StoreReadError("x"))
    assert outcome.report(ReadCounters())[2].at_target is AtTarget.OLD
