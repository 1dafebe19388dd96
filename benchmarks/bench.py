"""What all cases share: folders, trees, stores, the number of pairs, and the figures so far."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from benchmarks import dataset, quick_store
from benchmarks.contenders import rehydrate
from benchmarks.figures import Figure, Limit, figure_of, ratios
from benchmarks.runs import Run, RunError, alternate, remove

__all__ = ["IMAGE", "PROJECT", "Bench", "engine_store", "memory_folder", "surroundings"]

IMAGE: Final = "machines/0/disk-1.img"
PROJECT: Final = "project"


def memory_folder() -> Path:
    """Return a writable directory on a memory file system, the one with the most room.

    Raises:
        RunError: There is none.
    """
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        mounts = []
    folders = [Path(fields[1]) for fields in map(str.split, mounts) if fields[2] == "tmpfs"]
    usable = [folder for folder in folders if os.access(folder, os.W_OK)]
    if not usable:
        raise RunError("no memory file system can be written; name one with --memory-folder")
    return max(usable, key=lambda folder: shutil.disk_usage(folder).free)


@attrs.define(kw_only=True, eq=False)
class Bench:
    """One run of the benchmarks.

    Attributes:
        work: Directory on a disk; trees, stores and repositories are kept in it.
        memory: Directory on a memory file system; targets are made in it.
        scale: Fraction of files and bytes.
        pairs: Rounds that count.
        quick: Whether this is only a try.
        figures: What was measured so far.
        raw: All single runs by comparison and contender.
    """

    work: Path
    memory: Path
    scale: float
    pairs: int
    quick: bool
    figures: list[Figure] = attrs.field(factory=list)
    raw: dict[str, dict[str, list[Run]]] = attrs.field(factory=dict)

    @property
    def target(self) -> Path:
        """The target on the memory file system; removed before each run."""
        return self.memory / "target"

    @property
    def has_command(self) -> bool:
        """Whether our command can make stores."""
        return (self.work / "stores" / f"mixed-{self.scale:g}").exists()

    @property
    def disk_target(self) -> Path:
        """The target on the disk."""
        return self.work / "target"

    def clear(self) -> None:
        """Remove the target on the memory file system."""
        remove(self.target)

    def tree(self, kind: str) -> Path:
        """Return a tree of the data set, made once and kept."""
        return self._kept("trees", kind, partial(self.make, kind))

    def make(self, kind: str, path: Path) -> None:
        """Make a tree of the data set."""
        made = dataset.make(kind, path, self.scale)
        print(f"{kind}: {made}", file=sys.stderr, flush=True)

    def store(self, kind: str) -> Path:
        """Return the store of a tree, made by our command once and kept."""
        tree = self.tree(kind)
        return self._kept("stores", kind, lambda path: rehydrate("optimize", tree, path))

    def quick_store(self, kind: str) -> Path:
        """Return a store made by the encoders alone; only where the command is not there yet."""
        tree = self.tree(kind)
        return self._kept("quick-stores", kind, lambda path: quick_store.build(tree, path))

    def files(self, kind: str) -> list[str]:
        """Return the names of the regular files of a tree."""
        return dataset.regular_files(self.tree(kind))

    def sample(self) -> list[str]:
        """Return 1 % of the files of the mixed tree, drawn at random."""
        return dataset.one_in_a_hundred(self.files("mixed"))

    def list_of(self, names: Sequence[str]) -> Path:
        """Write names to a file, one a line, and return its path."""
        path = self.work / "names.txt"
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return path

    def _kept(self, folder: str, kind: str, make: Callable[[Path], object]) -> Path:
        path = self.work / folder / f"{kind}-{self.scale:g}"
        if not path.exists():
            print(f"making {path.name} in {folder}", file=sys.stderr, flush=True)
            partial = path.with_name(f"{path.name}.partial")
            remove(partial)
            partial.parent.mkdir(parents=True, exist_ok=True)
            make(partial)
            partial.rename(path)
        return path

    def race(
        self,
        name: str,
        contenders: Mapping[str, Callable[[], Run]],
        *,
        before: Callable[[], None] | None = None,
        pairs: int | None = None,
    ) -> dict[str, list[Run]]:
        """Run contenders in turn and keep their runs under a name; see :func:`alternate`."""
        rounds = pairs or self.pairs

        def progress(done: int) -> None:
            print(f"  {name}: {done} of {rounds} rounds", file=sys.stderr, flush=True)

        found = alternate(contenders, pairs=rounds, before=before or self.clear, progress=progress)
        self.raw[name] = found
        return found

    def compare(
        self,
        case: str,
        name: str,
        runs: tuple[Sequence[Run], Sequence[Run]],
        *,
        limit: Limit | None = None,
    ) -> None:
        """Add the pairwise ratio of wall times, with seconds and processor time in its note.

        Args:
            case: Name of the case.
            name: Name of the figure.
            runs: Ours and the other's, in rounds.
            limit: What to reach.
        """
        ours, theirs = ([run.wall for run in side] for side in runs)
        cpu = ratios([run.cpu for run in runs[0]], [max(run.cpu, 1e-6) for run in runs[1]])
        seconds = " against ".join(f"{_middle(values):.3f}" for values in (ours, theirs))
        note = f"{seconds} s; processor {_middle(cpu):.2f}x"
        self.add(case, name, "x", ratios(ours, theirs), limit=limit, note=note)

    def add(
        self,
        case: str,
        name: str,
        unit: str,
        values: Sequence[float],
        *,
        limit: Limit | None = None,
        note: str = "",
    ) -> None:
        """Add a figure."""
        self.figures.append(figure_of(case, name, unit, values, limit=limit, note=note))


def engine_store(bench: Bench, kind: str) -> Path:
    """Return the store of a tree; before there is a command, one from the encoders alone."""
    try:
        return bench.store(kind)
    except Exception as error:  # noqa: BLE001 - said, and measured with the other store
        print(f"`rehydrate optimize` failed ({error}); using a quick store", file=sys.stderr)
        return bench.quick_store(kind)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def surroundings(bench: Bench) -> dict[str, str]:
    """Return what the figures depend on, apart from us."""
    system = os.uname()
    found = {
        "system": f"{system.sysname} {system.release} {system.machine}",
        "processors": str(os.cpu_count()),
        "python": platform.python_version(),
        "scale": f"{bench.scale:g}",
        "pairs": str(bench.pairs),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "disk": _file_system(bench.work),
        "memory file system": _file_system(bench.memory),
    }
    for program, argument in (("cp", "--version"), ("restic", "version"), ("borg", "--version")):
        if shutil.which(program):
            said = subprocess.run([program, argument], capture_output=True, check=False, text=True)
            found[program] = said.stdout.splitlines()[0] if said.stdout else "?"
        else:
            found[program] = "not installed"
    return found


def _file_system(folder: Path) -> str:
    command = ["stat", "-f", "-c", "%T", str(folder)]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()
