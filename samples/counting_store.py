"""A store that implements every method and prints each call: see what the engine asks, and when.

    python samples/counting_store.py

The job has two data containers. One of them was compacted after the backup: its records moved, and
a tombstone in its place says where to. The engine notices that in the data phase and follows the
tombstone in repair rounds.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rehydrate import (
    ContainerExtent,
    FileExtent,
    RestoreOptions,
    StorePath,
    TargetRoot,
    restore_files,
)
from rehydrate.conformance import World


class CountingStore:
    """Serves containers out of a dict and records every call as a line of text."""

    def __init__(self, containers: dict[StorePath, bytes]) -> None:
        """Serve ``containers``."""
        self.containers = containers
        self.calls: list[str] = []

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Read the last container first, as if the tape stood at its end."""
        self.calls.append(f"order    {', '.join(containers)}")
        return [ContainerExtent(index=index) for index in reversed(range(len(containers)))]

    def preview_container_read(self, path: StorePath, reads: Sequence[FileExtent], /) -> None:
        """A tape would be mounted and wound here."""
        shown = ", ".join(f"{read.offset}+{read.length}" for read in reads)
        self.calls.append(f"preview  {path}: {shown}")

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Return the bytes, fewer where the container ends."""
        if path not in self.containers:
            raise FileNotFoundError(path)
        data = self.containers[path][offset : offset + size]
        self.calls.append(f"read     {path}: {offset}+{size} -> {len(data)} bytes")
        return data

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        """Name the containers in a folder; asked only when nothing else helped."""
        self.calls.append(f"list     {folder}")
        return [path.rpartition("/")[2] for path in self.containers if path.startswith(folder)]


def example() -> World:
    """Make a store with two data containers, the second of them compacted since."""
    world = World()
    first, second = (world.chunk(f"chunk {n} ".encode() * 500, n) for n in (1, 2))
    world.data(1).pad(8192)
    far = world.chunk(b"far away " * 500, 1)
    world.file("one.txt", [first])
    world.file("two.txt", [second])
    world.mapped_file("both.txt", [[first, second, far]])
    world.seal().move(2)
    return world


def main() -> None:
    """Restore the example and print the calls."""
    world = example()
    store = CountingStore(world.files)
    with tempfile.TemporaryDirectory() as out, TargetRoot(out) as target:
        report = restore_files(world.requests, store, target, options=RestoreOptions(jobs=1))
        report.raise_for_failures()
        for name, content in world.expected.items():
            if (Path(out) / name).read_bytes() != content:
                raise SystemExit(f"{name} is wrong")
    for number, call in enumerate(store.calls, 1):
        print(f"{number:3}  {call}")
    counters = report.counters
    print(
        f"{len(report)} files; {counters.order_calls} order calls, {counters.previews} previews, "
        f"{counters.reads} reads; bytes: {counters.metadata_bytes} of maps, "
        f"{counters.bytes_read} of data, {counters.repair_bytes} for repairs"
    )


if __name__ == "__main__":
    main()
