"""The least that a vendor writes, as a complete program: restore files out of a directory.

    python samples/minimal_store.py STORE OUT [PATH ...]

STORE is the directory of a native store, OUT the directory to restore into. Only the given paths
(and what is below them) are restored, or everything. Without arguments an example is made first.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rehydrate import RestoreReport, RestoreRequest, StorePath, TargetRoot, restore_files
from rehydrate.native import NativeCatalogue, create_store, optimize


class MinimalStore:
    """Reads containers from files below one directory; no other method is required."""

    def __init__(self, folder: Path) -> None:
        """Serve the files below ``folder``."""
        self._folder = folder

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return ``size`` bytes; a missing file raises FileNotFoundError by itself."""
        with (self._folder / path).open("rb") as container:
            container.seek(offset)
            return container.read(size)


def restore(folder: Path, out: Path, selection: Sequence[str]) -> RestoreReport:
    """Restore the selected paths of the newest version."""
    with NativeCatalogue.open(folder) as catalogue, TargetRoot(out) as target:
        newest = catalogue.versions()[-1].number
        entries = catalogue.entries(newest, [path.encode() for path in selection])
        requests = [RestoreRequest(entry.stub, entry.path) for entry in entries]
        return restore_files(requests, MinimalStore(folder), target)


def example(folder: Path) -> None:
    """Make a small tree, store it, and restore a part of it."""
    (folder / "tree" / "letters").mkdir(parents=True)
    for letter in "abc":
        (folder / "tree" / "letters" / f"{letter}.txt").write_text(letter * 100_000)
    (folder / "tree" / "other.txt").write_text("not selected")
    create_store(folder / "store")
    optimize(folder / "tree", folder / "store")
    show(restore(folder / "store", folder / "out", ["letters"]))
    for path in sorted((folder / "tree" / "letters").iterdir()):
        if (folder / "out" / "letters" / path.name).read_bytes() != path.read_bytes():
            sys.exit(f"{path.name} is wrong")


def show(report: RestoreReport) -> None:
    """Print one line for each file that failed, and the sums."""
    for result in report.failures:
        print(f"{result.target}: {result.error}")
    counts = ", ".join(f"{count} {status.name}" for status, count in report.counts.items())
    print(f"{counts}; {report.counters.reads} reads, {report.counters.bytes_read} bytes")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            with tempfile.TemporaryDirectory() as scratch:
                example(Path(scratch))
        case [folder, out, *selection]:
            done = restore(Path(folder), Path(out), selection)
            show(done)
            sys.exit(0 if done.ok else 1)
        case _:
            sys.exit("usage: minimal_store.py STORE OUT [PATH ...]")
