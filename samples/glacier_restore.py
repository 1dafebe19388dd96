"""Restore from an archive tier: price it, thaw what is needed, read what is ready, survive a restart.

    python samples/glacier_restore.py

The service here is a fake one in this file, so that the sample runs without a network and a thaw
takes a second instead of hours. For S3 use ``ObjectStore("s3://bucket/prefix")`` and
``S3Archive("s3://bucket/prefix")`` in its place; the rest stays as it is.
"""

import tempfile
import time
from pathlib import Path

from rehydrate import (
    RestoreReport,
    StorePath,
    StoreReadError,
    TargetRoot,
    plan_restore,
    restore_files,
)
from rehydrate.conformance import World
from rehydrate.objects import (
    Fetched,
    ObjectState,
    ObjectStore,
    Stage,
    ThawChoice,
    ThawingStore,
    ThawOptions,
    parse_table,
)

THAW_SECONDS = 1.0
DAY_NS = 86_400_000_000_000


class FakeService:
    """A bucket whose data containers lie in a deep archive: to read and to thaw."""

    def __init__(self, files: dict[StorePath, bytes]) -> None:
        """Freeze all data containers."""
        self.files = files
        self.ready: dict[str, float] = {}

    def state(self, key: str, version: str | None, /) -> ObjectState:
        """Say whether an object can be read: what HEAD does."""
        if not key.startswith("Data/"):
            return ObjectState(stage=Stage.READABLE, size=self.size(key, version=version))
        ready = self.ready.get(key)
        stage = Stage.FROZEN if ready is None else Stage.THAWING
        if ready is not None and time.monotonic() >= ready:
            stage = Stage.READABLE
        return ObjectState(
            stage=stage,
            storage_class="DEEP_ARCHIVE",
            tier="s3-deep-archive",
            size=self.size(key, version=version),
            expires_ns=time.time_ns() + DAY_NS if stage is Stage.READABLE else None,
        )

    def thaw(
        self, key: str, version: str | None, state: ObjectState, /, *, speed: str, days: int
    ) -> None:
        """Begin to thaw: what POST ?restore does."""
        print(f"  thaw   {key}: {speed}, kept for {days} days")
        self.ready.setdefault(key, time.monotonic() + THAW_SECONDS)

    def fetch(self, key: str, offset: int, size: int, *, version: str | None, tag: str) -> Fetched:
        """Get a range: what GET does."""
        if self.state(key, version).stage is not Stage.READABLE:
            raise StoreReadError(f"{key} is archived", code="object.archived")
        print(f"  read   {key}: {size} bytes from {offset}")
        return Fetched(self.files[StorePath(key)][offset : offset + size], "tag")

    def size(self, key: str, *, version: str | None) -> int:
        """Return the bytes of an object."""
        return len(self.files[StorePath(key)])

    def sizes(self, folder: str) -> dict[str, int]:
        """List a folder: names and bytes."""
        names = sorted(path for path in self.files if path.startswith(f"{folder}/"))
        return {name[len(folder) + 1 :]: len(self.files[name]) for name in names}


def example() -> World:
    """Make a store of three data containers; two files need two of them."""
    world = World()
    for number in (1, 2):
        parts = [[world.chunk(bytes([number, part]) * 4000, number)] for part in range(6)]
        world.mapped_file(f"file-{number}.bin", parts, number=100)
    world.data(3).pad(1 << 20)  # nobody needs it: it stays frozen
    return world.seal()


def restore(world: World, service: FakeService, job: Path | None, out: Path) -> RestoreReport:
    """Restore all files; thaw only if there is a job."""
    choice = None
    if job is not None:
        options = ThawOptions(days=3, max_cost=5_000_000)  # at most 5.00
        choice = ThawChoice(speed="bulk", job=job, options=options, looks=(0.2, 0.5))
    store = ThawingStore(ObjectStore(service), service, choice=choice)
    with TargetRoot(out) as target:
        return restore_files(world.requests, store, target)


def main() -> None:
    """Show the whole course."""
    world = example()
    service = FakeService(world.files)
    with tempfile.TemporaryDirectory() as folder:
        job, out = Path(folder) / "thaw.json", Path(folder) / "out"
        out.mkdir()
        print("What would it take? Nothing is asked for yet.")
        store = ThawingStore(ObjectStore(service), service)
        plan = plan_restore(world.requests, store)
        needed = [path for planned in plan.rounds for path in planned.containers]
        table = parse_table()
        for speed in ("standard", "bulk"):
            quote = store.quote(needed, speed=speed)
            print(
                f"  {speed}: {quote.frozen} objects, {quote.frozen_bytes} bytes, "
                f"{table.money(quote.total)}, {quote.seconds / 3600:.0f} hours"
            )
        print("Without a choice of speed nothing is thawed, and nothing restored:")
        report = restore(world, service, None, out)
        for result in report.results:
            print(f"  {result.target}: {result.error}")
        print("With one, the restore waits and reads what is ready:")
        report = restore(world, service, job, out)
        report.raise_for_failures()
        for name, content in world.expected.items():
            if (out / name).read_bytes() != content:
                raise SystemExit(f"{name} is wrong")
        print(f"{len(report)} files restored; the job was kept in {job.name}")
        if len(service.ready) != len(world.expected):
            raise SystemExit("more was thawed than needed")


if __name__ == "__main__":
    main()
