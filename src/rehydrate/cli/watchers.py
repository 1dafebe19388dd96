"""The observer that draws what the engine tells on a progress bar."""

from typing import Final

from rehydrate.cli.progress import Bar
from rehydrate.results import FileFinished, JobStarted, Notice, Progress, RestoreEvent, RoundStarted

__all__ = ["RestoreWatcher"]

_PHASES: Final = {"stream": "reading maps", "data": "restoring", "repair": "repairing"}


class RestoreWatcher:
    """Draws a restore: logical bytes written, and the container that is read."""

    def __init__(self, bar: Bar) -> None:
        """Draw on ``bar``."""
        self._bar = bar
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
            case FileFinished() | Notice():
                pass  # the report tells all of this once
