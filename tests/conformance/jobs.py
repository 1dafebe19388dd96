"""Worlds, stores that misbehave on purpose, and one restore with everything it left behind."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import attrs

from rehydrate.conformance import RecordingStore, World
from rehydrate.conformance.faults import LIST, ORDER, PREVIEW, READ
from rehydrate.engine.restore import restore_files
from rehydrate.engine.threads import Submits
from rehydrate.protocols import BackupStore
from rehydrate.requests import Durability, RestoreOptions, RestoreRequest
from rehydrate.results import AtTarget, FileStatus, RestoreEvent, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.values import ContainerExtent, StorePath

ONE = StorePath("Data/00000001.00000001.rhc")
TWO = StorePath("Data/00000002.00000001.rhc")
MAPS = StorePath("Stream/00000064.00000001.rhc")
OLD = b"what stood here before"
T = TypeVar("T")
FAR = 8192  # further apart than reads are merged


def noise(number: int, size: int = 1000) -> bytes:
    """Return bytes that differ for each number."""
    return (number.to_bytes(4, "big") * (size // 4 + 1))[:size]


def two_containers() -> World:
    """Return a world with two data containers, a map container, and files over one and both."""
    world = World()
    first, second = [], []
    for number in range(3):
        first.append(world.chunk(noise(number), 1))
        world.data(1).pad(FAR)
        second.append(world.chunk(noise(100 + number), 2))
        world.data(2).pad(FAR)
    world.file("one", [first[0]])
    world.file("two", [second[0]])
    world.file("both", [first[1], second[1]])
    world.mapped_file("mapped", [[first[2], second[2]], [first[0]]])
    return world.seal()


def one_container(count: int = 4) -> World:
    """Return a world with files ``f0`` ..., a chunk and a read each, in container 1."""
    world = World()
    for number in range(count):
        chunk = world.chunk(noise(number))
        world.data().pad(FAR)
        world.file(f"f{number}", [chunk])
    return world.seal()


class Fake:
    """A store whose methods can be replaced one by one; those not given are the inner store's."""

    def __init__(self, inner: BackupStore, **methods: object) -> None:
        self._inner = inner
        self.__dict__.update(methods)

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        return bytes(memoryview(self._inner.read_backup_file(path, offset, size)))

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Observes(Protocol):
    def on_event(self, event: RestoreEvent, /) -> None: ...


class Events:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.seen: list[RestoreEvent] = []

    def on_event(self, event: RestoreEvent, /) -> None:
        self.seen.append(event)

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.seen if isinstance(event, kind)]


@attrs.frozen(eq=False)
class Job:
    """One restore and what it left behind."""

    world: World
    report: RestoreReport
    store: RecordingStore
    out: Path

    def statuses(self) -> dict[str, FileStatus]:
        return {result.target: result.status for result in self.report.results}

    def failed(self) -> set[str]:
        return {name for name, status in self.statuses().items() if status is FileStatus.FAILED}

    def error_of(self, target: str) -> object:
        (found,) = (result.error for result in self.report.results if result.target == target)
        return found

    def check(self, *, cancelled: bool = False) -> None:
        """Every target is the whole new file or the whole old one, and the report says which."""
        assert self.report.counters.reads == len(self.store.reads)
        for result in self.report.results:
            assert cancelled or result.status is not FileStatus.CANCELLED, result
            assert "fault of ours" not in str(result.error), result
            there = (self.out / result.target).read_bytes()
            if result.status is FileStatus.RESTORED:
                assert there == self.world.expected[result.target], result
                assert result.at_target is AtTarget.NEW
                assert result.error is None
            else:
                assert there == OLD, result
                assert result.at_target is AtTarget.OLD, result
                assert result.error is not None

    @property
    def sequence(self) -> list[str]:
        """The calls in short: O(rder), P(review), R(ead), L(ist)."""
        letters = {ORDER: "O", PREVIEW: "P", READ: "R", LIST: "L"}
        return [letters[call.name] for call in self.store.calls if call.name in letters]


def prepare(world: World, out: Path) -> None:
    """Put an old file at each target."""
    for target in world.expected:
        path = out / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(OLD)


def run(
    world: World,
    out: Path,
    store: BackupStore | None = None,
    *,
    observer: Observes | None = None,
    requests: Sequence[RestoreRequest] | None = None,
    executor: Submits | None = None,
    old: bool = True,
    **options: object,
) -> Job:
    """Restore a world over old files through a recording wrapper, one worker, no syncs."""
    if old:
        prepare(world, out)
    recording = RecordingStore(world.store() if store is None else store)
    chosen = RestoreOptions(**{"jobs": 1, "durability": Durability.NONE, **options})  # type: ignore[arg-type] # options by name
    with TargetRoot(out) as root:
        report = restore_files(
            world.requests if requests is None else requests,
            recording,
            root,
            options=chosen,
            observer=observer,
            executor=executor,
        )
    return Job(world, report, recording, out)


def ordered(world: World, answer: Callable[[Sequence[StorePath]], object]) -> Fake:
    """Return the world's store with an order method."""
    return Fake(world.store(), order_containers_restore=answer)


def whole(*indexes: int) -> list[ContainerExtent]:
    """Return whole containers in some order."""
    return [ContainerExtent(index=index) for index in indexes]


def broken(world: World, path: StorePath, offset: int) -> None:
    """Flip a byte of a container."""
    data = bytearray(world.files[path])
    data[offset] ^= 0xFF
    world.files[path] = bytes(data)
