"""A device that can only read forward: a whole restore works in one pass, ordered by position.

    python samples/sequential_device.py

The stream holds every container once, in the order in which a backup wrote them: the maps first.
The device has no seek at all; what it has passed is gone. The order callback sorts by position, and
the engine never goes back within a round: the maps are one round, all data is another, and repairs
have rounds of their own, in which a real device would be rewound.
"""

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehydrate import (
    ContainerExtent,
    RestoreOptions,
    RestoreRequest,
    StorePath,
    TargetRoot,
    restore_files,
)
from rehydrate.native import NativeCatalogue, create_store, optimize


class ForwardOnly:
    """Bytes that come once."""

    def __init__(self, data: bytes) -> None:
        """Stand at the beginning."""
        self._stream = io.BytesIO(data)
        self.position = 0
        self.passed = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Read forward to ``offset``, throw that away, and return what follows."""
        if offset < self.position:
            raise SystemExit(f"cannot go back from {self.position} to {offset}")
        self.passed += offset - self.position
        self._stream.read(offset - self.position)
        data = self._stream.read(size)
        self.position = offset + len(data)
        return data


class SequentialStore:
    """Containers at known places of a device that only reads forward."""

    def __init__(self, device: ForwardOnly, places: Mapping[str, tuple[int, int]]) -> None:
        """Keep the device and the catalogue: first byte and size of each container."""
        self.device, self.places = device, places
        self.rounds = 0

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Sort by position; each call is another round."""
        self.rounds += 1
        known = [at for at, path in enumerate(containers) if path in self.places]
        order = sorted(known, key=lambda at: self.places[containers[at]])
        return [ContainerExtent(index=index) for index in order]

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        """Read on; the device fails the program if it would have to go back."""
        if path not in self.places:
            raise FileNotFoundError(path)
        first, length = self.places[path]
        return self.device.read_at(first + offset, min(size, max(length - offset, 0)))


def example(folder: Path) -> None:
    """Make a tree of files that share chunks, and store it in small containers."""
    (folder / "tree").mkdir()
    shared = b"".join(number.to_bytes(4, "big") for number in range(100_000))
    for number in range(8):
        own = bytes([number]) * (1 + number) * 30_000
        (folder / "tree" / f"file-{number}").write_bytes(shared[number * 4000 :] + own + shared)
    create_store(folder / "store", capacity=200_000)
    optimize(folder / "tree", folder / "store")


def on_device(store: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Write all containers one after the other, the maps first; return the bytes and the places."""
    written, places = bytearray(), dict[str, tuple[int, int]]()
    containers = [*sorted(store.glob("Stream/*")), *sorted(store.glob("Data/*"), reverse=True)]
    for path in containers:
        data = path.read_bytes()
        places[path.relative_to(store).as_posix()] = len(written), len(data)
        written += data
    return bytes(written), places


def main() -> None:
    """Restore the example from the device and compare every file."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        example(folder)
        data, places = on_device(folder / "store")
        store = SequentialStore(ForwardOnly(data), places)
        with NativeCatalogue.open(folder / "store") as catalogue:
            entries = list(catalogue.entries(catalogue.versions()[-1].number))
        requests = [RestoreRequest(entry.stub, entry.path) for entry in entries]
        with TargetRoot(folder / "out") as target:
            report = restore_files(requests, store, target, options=RestoreOptions(jobs=1))
        report.raise_for_failures()
        for path in sorted((folder / "tree").iterdir()):
            if (folder / "out" / path.name).read_bytes() != path.read_bytes():
                raise SystemExit(f"{path.name} is wrong")
        print(
            f"{len(report)} files from {len(places)} containers in one pass over {len(data)} bytes: "
            f"{store.rounds} rounds, {report.counters.reads} reads, never back, "
            f"{store.device.passed} bytes passed unread"
        )


if __name__ == "__main__":
    main()
