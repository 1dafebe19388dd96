"""The observers of a restore: one that draws on a progress bar, one that prints waiting only."""

from typing import Final

from rehydrate.cli.progress import Bar
from rehydrate.cli.sizes import duration
from rehydrate.cli.thaw_desk import ThawDesk
from rehydrate.protocols import RestoreObserver
from rehydrate.results import (
    FileFinished,
    JobStarted,
    Notice,
    Progress,
    RestoreEvent,
    RoundStarted,
    Waiting,
)

__all__ = ["RestoreWatcher", "watcher_of"]

_PHASES: Final = {"stream": "reading maps", "data": "restoring", "repair": "repairing"}


class RestoreWatcher:
    """Draws a restore: logical bytes written, and the container that is read."""

    def __init__(self, bar: Bar, desk: ThawDesk | None = None) -> None:
        """Draw.

        Args:
            bar: What to draw on.
            desk: Knows about thaws, where there are any.
        """
        self._bar, self._desk = bar, desk
        self._what = "planning"
        self._done = 0

    def on_event(self, event: RestoreEvent, /) -> None:
        """Take notice of one event."""
        match event:
            case JobStarted():
                self._bar.total(event.bytes_to_write)
            case RoundStarted():
                self._what = _PHASES.get(event.kind, event.kind)
                self._bar.show(self._what, self._done)
            case Progress():
                self._done = event.bytes_written
                self._bar.show(self._what, self._done, event.container or "")
            case Waiting():
                ready = event.extents - event.waiting
                what = f"waiting: {ready:,} of {event.extents:,} ready"
                if self._desk is not None:
                    what = self._desk.waits(event)
                note = f"next look in {duration(event.seconds)}"
                self._bar.show(what, self._done, note)
            case FileFinished() | Notice():
                pass  # the report tells all of this once


class _WaitingOnly:
    """Prints what a desk has to say of waiting."""

    def __init__(self, desk: ThawDesk) -> None:
        self._desk = desk

    def on_event(self, event: RestoreEvent, /) -> None:
        """Take notice of one event."""
        if isinstance(event, Waiting):
            self._desk.waits(event)


def watcher_of(bar: Bar | None, desk: ThawDesk | None) -> RestoreObserver | None:
    """Return who watches a restore, or None where nobody has to.

    Args:
        bar: What to draw on; ``None`` = there is no terminal.
        desk: Knows about thaws; ``None`` = nothing is thawed.
    """
    if bar is not None:
        return RestoreWatcher(bar, desk)
    return None if desk is None else _WaitingOnly(desk)
