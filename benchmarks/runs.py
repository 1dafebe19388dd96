"""Running programs and measuring them: wall time, processor time of all children, memory."""

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.sampling import MemorySampler

__all__ = ["Run", "RunError", "alternate", "measure", "remove", "series"]


class RunError(Exception):
    """A program that is measured did not do its work."""


@attrs.frozen(kw_only=True)
class Run:
    """One measured run.

    Attributes:
        wall: Seconds.
        cpu: Processor seconds, user and system, of the program and its descendants.
        memory: Peak of anonymous bytes; 0 if not sampled.
        details: Anything else that the contender said.
    """

    wall: float
    cpu: float
    memory: int = 0
    details: Mapping[str, Any] = attrs.field(factory=dict)


def measure(
    command: Sequence[str | os.PathLike[str]],
    *,
    folder: Path | None = None,
    extra: Mapping[str, str] | None = None,
    good: Sequence[int] = (0,),
    sample: bool = False,
) -> Run:
    """Run a program to its end, output thrown away.

    Args:
        command: Program and arguments.
        folder: Its working directory.
        extra: Added to the environment.
        good: Exit codes of success.
        sample: Whether to sample memory; it takes a little processor time.

    Raises:
        RunError: Another exit code; the message has the end of what it said.
    """
    environment = {**os.environ, **(extra or {})}
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=folder,
            env=environment,
        )
        sampler = MemorySampler(child.pid)
        with sampler if sample else contextlib.nullcontext():
            _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in good:
            said.seek(max(said.tell() - 2000, 0))
            raise RunError(f"{command}: exit {child.returncode}: {said.read().decode()}")
    return Run(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=sampler.peak)


def remove(path: Path) -> None:
    """Remove a tree, whatever its modes are."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


Contender = Callable[[], Run]


def series(
    contenders: Mapping[str, Contender], *, before: Callable[[], None]
) -> Iterator[dict[str, Run]]:
    """Run all contenders in turn, round after round, for as long as somebody asks.

    Args:
        contenders: What to run, by name, in order.
        before: Clears the way before each run; not measured.

    Yields:
        The runs of a round.
    """
    while True:
        found = {}
        for name, contender in contenders.items():
            before()
            gc.collect()
            found[name] = contender()
        yield found


def alternate(
    contenders: Mapping[str, Contender],
    *,
    pairs: int,
    before: Callable[[], None],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, list[Run]]:
    """Run contenders in turn: A B A B ..., after one round that does not count.

    Args:
        contenders: What to run, by name, in order.
        pairs: Rounds that count.
        before: Clears the way before each run; not measured.
        progress: Told how many rounds are done.

    Returns:
        The runs of each contender; those of one index were made one after the other.
    """
    rounds = series(contenders, before=before)
    next(rounds)
    found: dict[str, list[Run]] = {name: [] for name in contenders}
    for done in range(pairs):
        progress(done)
        for name, run in next(rounds).items():
            found[name].append(run)
    before()
    return found
