"""The engine alone, in a process that is warm: from the call of ``restore_files`` to its return.

The process that measures starts this one, waits until everything is imported and the stubs are in
memory, and asks for one restore after the other: a line of JSON in, a line of JSON out. The time
holds all that happens between call and return: the last rename, and the sync of the last batch
behind it.

Run as ``python -m benchmarks.engine STORE``.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from benchmarks.counting import CountingStore, needed_records
from benchmarks.runs import Run, RunError
from benchmarks.stubs import Entries, stubs_of
from rehydrate import (
    DirectoryStore,
    Durability,
    Links,
    RestoreOptions,
    RestoreReport,
    RestoreRequest,
    TargetRoot,
    restore_files,
)

__all__ = ["WarmEngine", "restore_once", "selected"]


def selected(entries: Entries, names: Iterable[str] | None) -> Entries:
    """Return the entries of the names, or all; a directory stands for all that is below it.

    Args:
        entries: Path and stub of everything.
        names: Paths; ``None`` for all.
    """
    if names is None:
        return entries
    wanted = {name.encode() for name in names}
    return [
        (path, stub)
        for path, stub in entries
        if path in wanted or any(path.startswith(name + b"/") for name in _above(path, wanted))
    ]


def _above(path: bytes, wanted: set[bytes]) -> Iterable[bytes]:
    parts = path.split(b"/")
    above = (b"/".join(parts[:count]) for count in range(1, len(parts)))
    return (name for name in above if name in wanted)


def restore_once(
    store: DirectoryStore | CountingStore,
    entries: Entries,
    target: str,
    options: RestoreOptions,
) -> tuple[RestoreReport, Run]:
    """Restore, and measure from call to return.

    Args:
        store: Where to read.
        entries: Path and stub of each entry.
        target: Directory to make.
        options: How to restore.
    """
    requests = [RestoreRequest(stub, path) for path, stub in entries]
    gc.collect()
    cpu, begin = time.process_time(), time.perf_counter()
    with TargetRoot(target) as root:
        report = restore_files(requests, store, root, options=options)
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    report.raise_for_failures()
    return report, Run(wall=wall, cpu=cpu)


def _answer(store: Path, entries: Entries, asked: dict[str, Any]) -> dict[str, Any]:
    chosen = selected(entries, asked["names"])
    options = RestoreOptions(
        jobs=asked["jobs"], durability=Durability(asked["durability"]), links=Links.VERBATIM
    )
    with DirectoryStore(store) as inner:
        if not asked["count"]:
            _, run = restore_once(inner, chosen, asked["target"], options)
            return {"wall": run.wall, "cpu": run.cpu}
        counting = CountingStore(inner)
        report, run = restore_once(counting, chosen, asked["target"], options)
        needed = needed_records((stub for _, stub in chosen), inner)
    return {
        "wall": run.wall,
        "cpu": run.cpu,
        "counted": attrs.asdict(counting.counted()),
        "reported": attrs.asdict(report.counters),
        "needed": needed,
    }


class WarmEngine:
    """A process with the engine in it; restores on request."""

    def __init__(self, store: Path) -> None:
        """Prepare.

        Args:
            store: Directory of the store.
        """
        self._command = [sys.executable, "-m", "benchmarks.engine", str(store)]

    def __enter__(self) -> Self:
        """Start the process and wait until it is warm."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._receive()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.communicate()

    def restore(
        self,
        target: Path,
        names: Sequence[str] | None = None,
        *,
        jobs: int = 0,
        durability: str = "batch",
        count: bool = False,
    ) -> Run:
        """Restore into a fresh target.

        Args:
            target: Directory to make.
            names: Paths in the store; ``None`` for all.
            jobs: Worker threads; 0 for the default.
            durability: One of the levels.
            count: Whether to count what the store is asked for; the counts are in the details.

        Raises:
            RunError: It failed; the process has said why.
        """
        asked = {
            "target": str(target),
            "names": names,
            "jobs": jobs,
            "durability": durability,
            "count": count,
        }
        if self._process.stdin is None:
            raise RunError("the engine's process has no input")
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found = self._receive()
        return Run(wall=found["wall"], cpu=found["cpu"], details=found)

    def _receive(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RunError("the engine's process ended; what it said stands above")
        found: dict[str, Any] = json.loads(line)
        return found


def main() -> int:
    """Answer requests until there are no more."""
    store = Path(sys.argv[1])
    entries = stubs_of(store)
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(store, entries, json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
