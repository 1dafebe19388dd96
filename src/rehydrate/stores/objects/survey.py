"""What is known of the state of objects: asked once each, and again where something is expected."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import attrs

from rehydrate.errors import StoreError
from rehydrate.ports import Clock
from rehydrate.stores.objects.archive import CALLS_AT_ONCE, Archive, ObjectState, Stage
from rehydrate.values import StorePath

__all__ = ["Survey", "at_once"]

T = TypeVar("T")
R = TypeVar("R")

_SLICE: Final = 4096


def at_once(call: Callable[[T], R], arguments: Sequence[T]) -> list[R]:
    """Make calls on a few threads.

    Args:
        call: What to call; must not raise.
        arguments: One for each call.

    Returns:
        The answers, in the order of the arguments.
    """
    if len(arguments) <= 1:
        return [call(argument) for argument in arguments]
    found: list[R] = []
    with ThreadPoolExecutor(min(CALLS_AT_ONCE, len(arguments)), "rehydrate-archive") as pool:
        for first in range(0, len(arguments), _SLICE):  # a queue of a million calls is large
            found += pool.map(call, arguments[first : first + _SLICE])
    return found


class Survey:
    """States of objects; may be used from several threads.

    Attributes:
        version_of: Which version of an object is meant.
    """

    def __init__(
        self, archive: Archive, version_of: Callable[[StorePath], str | None], clock: Clock
    ) -> None:
        """Begin without knowledge.

        Args:
            archive: Where to ask.
            version_of: Which version of an object is meant.
            clock: Time.
        """
        self._archive, self.version_of, self._clock = archive, version_of, clock
        self._lock = threading.Lock()
        self._known: dict[StorePath, ObjectState | None] = {}

    def look(self, paths: Iterable[StorePath], *, again: bool = False) -> None:
        """Ask for the states that are not known.

        Args:
            paths: Objects.
            again: Ask for the known ones, too.
        """
        with self._lock:
            asked = [path for path in paths if again or path not in self._known]
        found = at_once(self._ask, asked)
        with self._lock:
            for path, state in zip(asked, found, strict=True):
                # What was known stays while the service does not answer.
                self._known[path] = self._known.get(path) if state is None else state

    def _ask(self, path: StorePath) -> ObjectState | None:
        try:
            return self._archive.state(path, self.version_of(path))
        except (StoreError, OSError):
            return None

    def state(self, path: StorePath) -> ObjectState | None:
        """Return what is known now; a copy that expired is frozen.

        Args:
            path: The object.

        Returns:
            Its state; ``None`` if the service would not say: a read will tell why.
        """
        self.look((path,))
        with self._lock:
            state = self._known[path]
        if state is None or state.expires_ns is None:
            return state
        if state.stage is Stage.READABLE and state.expires_ns <= self._clock.time_ns():
            return attrs.evolve(state, stage=Stage.FROZEN, expires_ns=None)
        return state

    def stage(self, path: StorePath) -> Stage:
        """Return the stage of an object; one without known state counts as readable.

        Args:
            path: The object.
        """
        state = self.state(path)
        return Stage.READABLE if state is None else state.stage

    def turned(self, path: StorePath, stage: Stage) -> None:
        """Take notice of a change that was caused or met.

        Args:
            path: The object.
            stage: Its stage now.
        """
        with self._lock:
            state = self._known.get(path)
            if state is not None:
                self._known[path] = attrs.evolve(state, stage=stage, expires_ns=None)
