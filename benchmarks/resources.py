"""The cases about memory, about writing a store, and about where the time goes."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import planner
from benchmarks.bench import IMAGE, Bench, engine_store
from benchmarks.contenders import find_ls, rehydrate
from benchmarks.engine import WarmEngine
from benchmarks.figures import Limit, differences, ratios
from benchmarks.phases import PHASES
from benchmarks.runs import Run, RunError, remove

__all__ = ["hot_loop", "large", "memory", "optimize", "plans"]

_MIB: Final = 1 << 20
_DEFAULT_BUDGET: Final = 256
_MOST: Final = Limit(400)
_ABOVE_BUDGET: Final = 150


def memory(bench: Bench) -> None:
    """Sample the memory of whole programs from outside; these runs are not timed."""
    tree, store = bench.tree("mixed"), bench.store("mixed")
    fresh = bench.memory / "fresh-store"
    cases: dict[str, Callable[[], Run]] = {
        "restore all": partial(_restore, bench, store),
        "restore an image": partial(_restore, bench, store, IMAGE),
        "restore 1 %": partial(
            _restore, bench, store, "--files-from", bench.list_of(bench.sample())
        ),
        "plan all": partial(rehydrate, "plan", store, sample=True),
        "optimize new": partial(rehydrate, "optimize", tree, fresh, sample=True),
        "optimize unchanged": partial(rehydrate, "optimize", tree, fresh, sample=True),
    }
    for name, run in cases.items():
        _add_memory(bench, name, run(), _MOST)
        bench.clear()
    remove(fresh)


def _restore(bench: Bench, store: Path, *arguments: str | Path, target: Path | None = None) -> Run:
    return rehydrate("restore", store, *arguments, "-o", target or bench.target, sample=True)


def _add_memory(bench: Bench, name: str, run: Run, limit: Limit) -> None:
    values = [run.memory / _MIB] if run.memory else []
    note = f"in {run.wall:.1f} s" if values else "no /proc"
    bench.add("memory", name, "MiB", values, limit=limit, note=note)


def large(bench: Bench) -> None:
    """Sample memory with 200,000 small files and with 20 GiB of duplicates.

    Trees and targets are on the disk, the tree is removed once it is stored, and everything goes
    at the end: the second needs 41 GiB at its peak.
    """
    for kind in ("many-small", "highly-duplicated"):
        tree, store = bench.work / "large-tree", bench.work / "large-store"
        for path in (tree, store, bench.disk_target):
            remove(path)
        bench.make(kind, tree)
        limit = Limit(_DEFAULT_BUDGET + _ABOVE_BUDGET)
        run = rehydrate("optimize", tree, store, sample=True)
        _add_memory(bench, f"optimize {kind}", run, limit)
        remove(tree)
        run = _restore(bench, store, target=bench.disk_target)
        _add_memory(bench, f"restore {kind}, default budget", run, limit)
        remove(bench.disk_target)
        run = _restore(bench, store, "--memory", "64M", target=bench.disk_target)
        _add_memory(bench, f"restore {kind}, --memory 64M", run, Limit(64 + _ABOVE_BUDGET))
        for path in (store, bench.disk_target):
            remove(path)


def optimize(bench: Bench) -> None:
    """Store new data beside the bare loop, and unchanged data beside ``find -ls``."""
    tree, fresh = bench.tree("mixed"), bench.memory / "fresh-store"
    contenders: dict[str, Callable[[], Run]] = {
        "rehydrate": partial(rehydrate, "optimize", tree, fresh),
        "bare loop": partial(_bare, "optimize", str(tree)),
    }
    found = bench.race("optimize", contenders, before=partial(remove, fresh))
    sums = [sum(run.details.values()) for run in found["bare loop"]]
    walls = [run.wall for run in found["rehydrate"]]
    values = [total / wall for total, wall in zip(sums, walls, strict=True)]
    steps = _medians(found["bare loop"])
    note = f"{statistics.median(walls):.2f} s; " + ", ".join(
        f"{name} {seconds:.2f}" for name, seconds in steps.items()
    )
    limit = Limit(0.7, at_least=True)
    bench.add("optimize", "new: one-thread sum / optimize", "x", values, limit=limit, note=note)

    rehydrate("optimize", tree, fresh)
    nothing, empty = bench.memory / "nothing", bench.memory / "empty-store"
    nothing.mkdir()
    rehydrate("optimize", nothing, empty)
    contenders = {
        "rehydrate": partial(rehydrate, "optimize", tree, fresh),
        "find": partial(find_ls, tree),
        "rehydrate, nothing": partial(rehydrate, "optimize", nothing, empty),
    }
    found = bench.race("optimize unchanged", contenders, before=lambda: None)
    runs = (found["rehydrate"], found["find"])
    bench.compare("optimize", "unchanged / find -ls", runs, limit=Limit(2.0))
    idle = [run.wall for run in found["rehydrate, nothing"]]
    apart = differences([run.wall for run in found["rehydrate"]], idle)
    values = ratios(apart, [run.wall for run in found["find"]])
    name = "unchanged / find -ls, less the run on an empty tree"
    bench.add("optimize", name, "x", values, note=f"{statistics.median(idle):.3f} s")
    for path in (fresh, nothing, empty):
        remove(path)


def _bare(*arguments: str, names: Sequence[str] = ()) -> Run:
    """Run a bare loop in a process of its own; its seconds are in the details."""
    command = [sys.executable, "-m", "benchmarks.phases", *arguments]
    said = subprocess.run(
        command, input="\n".join(names), capture_output=True, check=False, text=True
    )
    if said.returncode:
        raise RunError(said.stderr)
    seconds = json.loads(said.stdout)
    return Run(wall=sum(seconds.values()), cpu=0.0, details=seconds)


def _medians(runs: Sequence[Run]) -> dict[str, float]:
    names = runs[0].details
    return {name: statistics.median(run.details[name] for run in runs) for name in names}


def hot_loop(bench: Bench) -> None:
    """Show where the processor time of one worker goes: bare phases, the rest to the interpreter."""
    cases = {"image": ("mixed", [IMAGE]), "tiny files": ("all-tiny", [])}
    for name, (kind, names) in cases.items():
        store = engine_store(bench, kind)
        with WarmEngine(store) as warm:
            contenders: dict[str, Callable[[], Run]] = {
                "engine": partial(warm.restore, bench.target, names or None, jobs=1),
                "bare loop": partial(_bare, "restore", str(store), str(bench.target), names=names),
            }
            found = bench.race(f"hot loop {name}", contenders)
        whole = [run.cpu for run in found["engine"]]
        middle = statistics.median(whole)
        bench.add("hot loop", f"{name}: engine, one worker", "s", whole)
        for phase in PHASES:
            values = [run.details[phase] for run in found["bare loop"]]
            note = f"{statistics.median(values) / middle:.0%}"
            bench.add("hot loop", f"{name}: {phase}", "s", values, note=note)
        left = [wall - run.wall for wall, run in zip(whole, found["bare loop"], strict=True)]
        note = f"{statistics.median(left) / middle:.0%}"
        bench.add("hot loop", f"{name}: interpreter (the rest)", "s", left, note=note)


def plans(bench: Bench) -> None:
    """Make plans of a million and of ten million references."""
    counts = [1_000_000] if bench.quick else [1_000_000, 10_000_000]
    records = planner.run(counts=counts, runs=1 if bench.quick else 3)
    for record in records:
        kind = f"{record['references']:,} {record['order']}"
        kind += ", spilled" if record["spill"] else ""
        low, high = record["find_ns_spread"]
        bench.add(
            "planner",
            f"{kind}: time a reference",
            "ns",
            [record["find_ns"]] if low == high else [low, record["find_ns"], high],
            limit=Limit(planner.NANOSECONDS_WANTED),
            note=f"and {record['round_ns']:.0f} ns for the rounds",
        )
        size = record["find_bytes"]
        values = [] if size is None else [size]
        limit = Limit(planner.BYTES_WANTED)
        bench.add("planner", f"{kind}: memory a reference", "B", values, limit=limit)
