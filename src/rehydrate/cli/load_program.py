"""Runs the program that loads volumes, which may hang, print without end, or leave others behind."""

import atexit
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Final

from rehydrate.cli.interrupt import stop_asked
from rehydrate.errors import Cancelled, RequestError

__all__ = ["end_loaders", "load_words", "run_loader"]

_NOT_RUN: Final = 127  # as shells say it
_POLL: Final = 0.2
_GRACE: Final = 50  # turns of waiting between the request to end and the end
_LINES: Final = 20
_KEPT: Final = 1 << 14


_RUNNING: Final[set["subprocess.Popen[bytes]"]] = set()
"""Programs that run; nobody waits for them any more when this process ends."""


def load_words(command: str) -> list[str]:
    """Split the command that loads volumes into words, as a shell would.

    Args:
        command: The command; no shell runs it.

    Raises:
        RequestError: With code ``"tape.load"`` if it has an open quote, or there is no such program.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise RequestError(f"--load: {error}: {command!r}", code="tape.load") from error
    if not words or shutil.which(words[0]) is None:
        name = f"there is no program {words[0]}" if words else "name a program"
        raise RequestError(f"--load: {name}", code="tape.load")
    return words


def run_loader(words: Sequence[str]) -> tuple[int, list[str]]:
    """Run a program; return its code and the last lines that it said.

    It is done when the program itself ends: what it started may go on, and may keep what it writes
    to. It gets a session of its own, so that Ctrl-C does not reach it in the middle of a change.

    Args:
        words: The program and its arguments.

    Raises:
        Cancelled: A signal came; the program, and what it started, was asked to end, and killed if
            it did not.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the program that the operator named; no shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return _NOT_RUN, [getattr(error, "strerror", None) or str(error)]
    _RUNNING.add(process)
    said = bytearray()
    reader = threading.Thread(
        target=_listen, args=(process.stdout, said), name="rehydrate-load", daemon=True
    )
    reader.start()
    code, turns = None, 0
    while code is None:
        try:
            code = process.wait(_POLL)
        except subprocess.TimeoutExpired:
            if stop_asked():
                _end(process, kill=turns >= _GRACE)
                turns += 1
    _RUNNING.discard(process)
    reader.join(_POLL)
    if turns or stop_asked():
        raise Cancelled("stopped while a volume was loaded")
    return code, bytes(said).decode("utf-8", "replace").splitlines()[-_LINES:]


@atexit.register
def end_loaders() -> None:
    """Ask the programs that still run to end: a restore that was stopped does not wait for them."""
    for process in tuple(_RUNNING):
        _end(process, kill=False)


def _listen(stream: IO[bytes] | None, said: bytearray) -> None:
    """Keep the end of what is said until nobody can say anything any more."""
    if stream is not None:
        with stream:
            while piece := os.read(stream.fileno(), _KEPT):
                said += piece
                del said[:-_KEPT]


def _end(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    """Ask a program and what it started to end, or kill them."""
    if hasattr(os, "killpg") and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
    elif kill:
        process.kill()
    else:
        process.terminate()
