"""The outcome of every request while a job runs: columns, and events for the observer."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from rehydrate.engine.calls import ObserverCalls
from rehydrate.errors import RestoreError
from rehydrate.results import AtTarget, FileFinished, FileStatus, ReadCounters, RestoreReport

__all__ = ["Outcome"]

_NEW: Final = list(AtTarget).index(AtTarget.NEW)
_PLACE: Final = {place: number for number, place in enumerate(AtTarget)}
_UNDECIDED: Final = 0


class Outcome:
    """One row for each request; every request is decided exactly once.

    Attributes:
        targets: Relative target paths.
        unchecked: Requests whose recall state is unknown.
        store_version: Requests whose stubs may hold newer data, restored all the same.
        notices: Things said once.
    """

    def __init__(
        self,
        targets: Sequence[bytes],
        observer: ObserverCalls,
        left_out: Mapping[int, tuple[str, ...]] | None = None,
    ) -> None:
        """Start with nothing decided.

        Args:
            targets: Relative target paths.
            observer: Is told what is decided.
            left_out: Metadata that requests could not carry, by request.
        """
        self._left_out = {} if left_out is None else left_out
        count = len(targets)
        self.targets = targets
        self._statuses = np.zeros(count, np.uint8)
        self._places = np.full(count, _PLACE[AtTarget.ABSENT], np.uint8)
        self.sizes = np.zeros(count, np.int64)
        self._errors: dict[int, RestoreError] = {}
        self._lost: dict[int, tuple[str, ...]] = {}
        self.unchecked: set[int] = set()
        self.store_version: set[int] = set()
        self.notices: list[str] = []
        self._observer = observer
        self._looked = np.zeros(count, np.bool_)
        self.decided = 0

    def present(self, index: int, place: AtTarget) -> None:
        """Note what is at a target before anything is done."""
        self._places[index] = _PLACE[place]

    def looked_at(self, indexes: Sequence[int]) -> None:
        """Note that it is known what stands at these targets."""
        self._looked[indexes] = True

    def unknown_places(self) -> list[int]:
        """Return the requests that are not restored and whose targets were not looked at."""
        return np.flatnonzero(~self._looked & (self._statuses != FileStatus.RESTORED)).tolist()

    def is_decided(self, index: int) -> bool:
        """Whether the request has a status."""
        return bool(self._statuses[index])

    def status(self, index: int) -> int:
        """Return the status number of a request; 0 if it has none."""
        return int(self._statuses[index])

    def undecided(self) -> list[int]:
        """Return the requests without a status."""
        return np.flatnonzero(self._statuses == _UNDECIDED).tolist()

    def decide(
        self,
        index: int,
        status: FileStatus,
        error: RestoreError | None = None,
        lost: tuple[str, ...] = (),
    ) -> None:
        """Give a request its status; a second decision is ignored."""
        if self._statuses[index]:
            return
        if status is FileStatus.RESTORED:
            self._places[index] = _NEW
            if index in self.store_version:
                status = FileStatus.STORE_VERSION
        self._statuses[index] = status
        self.decided += 1
        if error is not None:
            error = error.for_file(self._name(index)) if error.file is None else error
            self._errors[index] = error
        if lost:
            self._lost[index] = lost
        if self._observer.active:
            self._observer(FileFinished(index, self._name(index), status, error))

    def restored(self, indexes: Sequence[int]) -> None:
        """Decide that requests were restored and that there is nothing more to say of them."""
        if self._observer.active or self.store_version:
            for index in indexes:
                self.decide(index, FileStatus.RESTORED)
            return
        chosen = np.array(indexes, np.int64)
        chosen = chosen[self._statuses[chosen] == _UNDECIDED]
        self._statuses[chosen] = FileStatus.RESTORED
        self._places[chosen] = _NEW
        self.decided += len(chosen)

    def alive(self, indexes: Sequence[int]) -> list[int]:
        """Return those of some requests that have no status."""
        chosen = np.array(indexes, np.int64)
        found: list[int] = chosen[self._statuses[chosen] == _UNDECIDED].tolist()
        return found

    def fail(self, index: int, error: RestoreError) -> None:
        """Decide that a request failed."""
        self.decide(index, FileStatus.FAILED, error)

    def _name(self, index: int) -> str:
        return self.targets[index].decode("utf-8", "surrogateescape")

    @property
    def first_error(self) -> RestoreError | None:
        """The error of the first request that failed."""
        return self._errors[min(self._errors)] if self._errors else None

    def report(self, counters: ReadCounters) -> RestoreReport:
        """Return the report; what is undecided by now counts as failed by a fault of ours."""
        for index, names in self._left_out.items():
            if self._statuses[index] in (FileStatus.RESTORED, FileStatus.STORE_VERSION):
                self._lost[index] = (*self._lost.get(index, ()), *names)
        return RestoreReport(
            targets=self.targets,
            statuses=self._statuses,
            at_targets=self._places,
            sizes=self.sizes,
            errors=self._errors,
            lost=self._lost,
            unchecked=frozenset(self.unchecked),
            counters=counters,
            notices=tuple(self.notices),
        )
