"""Run the benchmarks: ``python -m benchmarks [--case NAME] [--quick] [--json FILE]``."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from benchmarks import cases, objects, resources, windows
from benchmarks.bench import Bench, memory_folder, surroundings
from benchmarks.dataset import NoRoomError
from benchmarks.figures import markdown
from benchmarks.runs import RunError, remove
from benchmarks.tape_order import tape_order

CASES: Final[dict[str, Callable[[Bench], None]]] = {
    "startup": cases.startup,
    "engine": cases.engine,
    "program": cases.program,
    "full": cases.full,
    "workers": cases.workers,
    "amplification": cases.amplification,
    "identity": cases.identity,
    "memory": resources.memory,
    "optimize": resources.optimize,
    "durability": cases.durability,
    "planner": resources.plans,
    "hot-loop": resources.hot_loop,
    "windows": windows.windows,
    "objects": objects.objects,
    "tape-order": tape_order,
    "large": resources.large,
}
ON_REQUEST: Final = frozenset({"large"})


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--case",
        action="append",
        choices=[*CASES, "all"],
        help="only this one; may be repeated. Without it all but `large` are run, which takes "
        "41 GiB of disk; `all` includes it.",
    )
    parser.add_argument("--quick", action="store_true", help="a try: scale 0.05, 3 pairs")
    parser.add_argument("--scale", type=float, help="fraction of files and bytes (1)")
    parser.add_argument("--pairs", type=int, help="rounds that count (7)")
    parser.add_argument("--json", type=Path, help="write figures and all single runs to this file")
    parser.add_argument(
        "--work", type=Path, default=Path("build/benchmarks"),
        help="directory on the disk to be measured; trees and stores are kept in it (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-folder", type=Path, help="directory on a memory file system (found)"
    )
    return parser.parse_args(arguments)


def _as_installed(work: Path) -> None:
    """Let the programs under test have their compiled files, as an installed package has them."""
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(work / "bytecode")


def _run(bench: Bench, name: str) -> None:
    print(f"case {name}", file=sys.stderr, flush=True)
    begin = time.perf_counter()
    try:
        CASES[name](bench)
    except (RunError, NoRoomError, OSError) as error:
        text = str(error).strip().splitlines()
        bench.add(name, "could not be run", "", [], note=text[-1] if text else repr(error))
        print(*text[-3:], sep="\n", file=sys.stderr, flush=True)
    print(f"  {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)


def _save(bench: Bench, around: dict[str, str], path: Path | None) -> None:
    """Write what there is so far: a run that is broken off keeps its cases."""
    if path is None:
        return
    found = {
        "surroundings": around,
        "figures": [figure.as_json() for figure in bench.figures],
        "runs": {
            name: {who: [attrs.asdict(run) for run in runs] for who, runs in sides.items()}
            for name, sides in bench.raw.items()
        },
    }
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the cases and print the table.

    Args:
        arguments: Command line.

    Returns:
        The exit code: 0, whatever the figures are.
    """
    options = _options(arguments)
    asked = options.case or [name for name in CASES if name not in ON_REQUEST]
    names = list(CASES) if "all" in asked else [name for name in CASES if name in asked]
    options.work.mkdir(parents=True, exist_ok=True)
    memory = (options.memory_folder or memory_folder()) / "rehydrate-benchmarks"
    remove(memory)
    memory.mkdir(parents=True)
    _as_installed(options.work.resolve())
    bench = Bench(
        work=options.work.resolve(),
        memory=memory.resolve(),
        scale=options.scale or (0.05 if options.quick else 1.0),
        pairs=options.pairs or (3 if options.quick else 7),
        quick=options.quick,
    )
    try:
        around = surroundings(bench)
        for name in names:
            _run(bench, name)
            _save(bench, around, options.json)
    finally:
        remove(memory)
        remove(bench.disk_target)
    for name in CASES:
        if name not in names:
            bench.add(name, "not asked for", "", [])
    _save(bench, around, options.json)
    print("\n".join(f"{key}: {value}" for key, value in around.items()), end="\n\n")
    print(markdown(bench.figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
