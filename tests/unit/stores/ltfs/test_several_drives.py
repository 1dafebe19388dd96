"""Several drives at once: each in its own order, all of them busy, none waiting for another."""

import itertools
import random
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.conformance.corpus import Corpus
from rehydrate.conformance.kit import StoreConformance
from rehydrate.conformance.world import World
from rehydrate.engine.planning import plan_restore
from rehydrate.engine.restore import restore_files
from rehydrate.errors import (
    Cancelled,
    NotReadyError,
    RequestError,
    StoreReadError,
)
from rehydrate.media.geometry import FORMATS, native_geometry
from rehydrate.media.locate import model_of
from rehydrate.media.pricing import Tape
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.stores.ltfs import sharing
from rehydrate.stores.ltfs.catalogue import Piece, Pieces, WholeFiles
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.ltfs.working import WorkingDrive
from rehydrate.stores.tape.drive import MountRequest, Stretch, TapeDrive, TapePosition
from rehydrate.values import FileExtent, StorePath
from tests.ltfs_volume import CountingDrive, VolumeWriter

SECONDS = 20  # after which a test that hangs fails
Layout = Mapping[str, Sequence[StorePath]]


def build(containers: int, size: int) -> Corpus:
    """Return a store with files that need several containers each."""
    source, world = random.Random(6), World()
    chunks = [
        world.chunk(source.randbytes(size), 1 + at % containers) for at in range(containers * 4)
    ]
    for at in range(0, len(chunks), 2):
        world.file(f"plain/{at}", [chunks[at], chunks[(at + 5) % len(chunks)]])
    world.mapped_file("mapped", [chunks[::3], chunks[1::3]])
    world.seal()
    return Corpus(dict(world.files), tuple(world.requests), dict(world.expected))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build(12, 30_000)


def data_of(corpus: Corpus) -> list[StorePath]:
    return sorted(path for path in corpus.containers if path.startswith("Data/"))


def written(layout: Layout, containers: Mapping[StorePath, bytes]) -> list[VolumeWriter]:
    """Write containers to volumes."""
    made = []
    for number, (barcode, paths) in enumerate(layout.items(), 1):
        writer = VolumeWriter(number=number, barcode=barcode)
        for path in paths:
            writer.add(path, containers[path], sizes=(100, 4096, 7) if len(path) % 2 else ())
        made.append(writer.finish())
    return made


def volumes_of(writers: Sequence[VolumeWriter]) -> list[LtfsVolume]:
    return [LtfsVolume.read(CountingDrive(writer.partitions)) for writer in writers]


class Robot:
    """A library of several drives that checks what is asked of it."""

    def __init__(self, writers: Sequence[VolumeWriter]) -> None:
        self.records = {writer.barcode: writer.partitions for writer in writers}
        self.instead: dict[str, Callable[[], TapeDrive | None]] = {}
        self.made: Callable[[str], CountingDrive] = self.plain
        self.requests: list[MountRequest] = []
        self.drives: dict[str, list[CountingDrive]] = {}
        self.holds: dict[int, str] = {}
        self.faults: list[str] = []
        self.lock = threading.Lock()

    def plain(self, barcode: str) -> CountingDrive:
        return CountingDrive(self.records[barcode])

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        with self.lock:
            self.requests.append(wanted)
            for drive, barcode in self.holds.items():
                if barcode == wanted.barcode and drive != wanted.drive:
                    self.faults.append(f"{barcode} is in drive {drive}")
            self.holds[wanted.drive] = wanted.barcode
        instead = self.instead.get(wanted.barcode)
        if instead is not None:
            return instead()
        made = self.made(wanted.barcode)
        with self.lock:
            for old in self.drives.get(wanted.barcode, ()):
                if not old.closed:
                    self.faults.append(f"{wanted.barcode} was not given back")
            self.drives.setdefault(wanted.barcode, []).append(made)
        return made

    @property
    def names(self) -> list[str]:
        return [request.barcode for request in self.requests]

    def of(self, barcode: str) -> CountingDrive:
        return self.drives[barcode][0]


def dealt(corpus: Corpus, count: int) -> Layout:
    """Deal the containers out to volumes."""
    paths = sorted(corpus.containers, key=lambda path: (len(path), path[::-1]))
    return {f"TAPE0{at + 1}": paths[at::count] for at in range(count)}


def restored(corpus: Corpus, store: BackupStore, out: Path, jobs: int = 2) -> RestoreReport:
    with TargetRoot(out) as target:
        return restore_files(corpus.requests, store, target, options=RestoreOptions(jobs=jobs))


def check(corpus: Corpus, report: RestoreReport, out: Path) -> None:
    report.raise_for_failures()
    for name, data in corpus.expected.items():
        assert (out / name).read_bytes() == data


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers of tests are small; they are to be cut all the same."""
    monkeypatch.setattr(sharing, "_SLICE_BYTES", 8192)


def forward_only(robot: Robot) -> bool:
    """Whether no drive went back but from the maps to the data."""
    return all(len(drive.backward) <= 1 for tape in robot.drives.values() for drive in tape)


@pytest.mark.usefixtures("small_slices")
class TestRestore:
    @pytest.mark.parametrize(
        ("drives", "tapes", "jobs"), [(2, 2, 1), (2, 5, 2), (3, 4, 8), (4, 1, 4)]
    )
    def test_every_volume_is_mounted_once_in_a_phase_and_read_forward(
        self, corpus: Corpus, tmp_path: Path, drives: int, tapes: int, jobs: int
    ) -> None:
        writers = written(dealt(corpus, tapes), corpus.containers)
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=drives) as store:
            check(corpus, restored(corpus, store, tmp_path, jobs), tmp_path)
        assert not robot.faults
        assert len(robot.names) <= 2 * tapes
        assert {request.drive for request in robot.requests} == set(range(min(drives, tapes)))
        assert forward_only(robot)
        assert all(drive.closed for tape in robot.drives.values() for drive in tape)

    def test_the_drives_read_at_the_same_time(self, corpus: Corpus, tmp_path: Path) -> None:
        """Each drive stops at each of its data containers until the other one is at one, too."""
        paths = data_of(corpus)
        maps = [path for path in corpus.containers if path not in paths]
        writers = written(
            {"TAPE01": maps, "TAPE02": paths[::2], "TAPE03": paths[1::2]}, corpus.containers
        )
        model = attrs.evolve(model_of(FORMATS["LTO-9"]), load_s=0, change_s=0, unload_s=0)
        volumes = [attrs.evolve(one, tape=Tape(model=model)) for one in volumes_of(writers)]
        meeting = threading.Barrier(2)

        class Meeting(CountingDrive):
            stops: frozenset[int] = frozenset()

            def read_record(self) -> bytes | None:
                if self.at.partition and self.at.block in self.stops:
                    meeting.wait(SECONDS)
                return super().read_record()

        robot = Robot(writers)

        def made(barcode: str) -> CountingDrive:
            drive = Meeting(robot.records[barcode])
            if barcode != "TAPE01":
                volume = next(volume for volume in volumes if volume.name == barcode)
                mine = paths[::2] if barcode == "TAPE02" else paths[1::2]
                drive.stops = frozenset(volume.extents(path)[0].block for path in mine)
            return drive

        robot.made = made
        with LtfsStore(volumes, robot, drives=2) as store:
            check(corpus, restored(corpus, store, tmp_path), tmp_path)
        assert not meeting.broken
        assert not robot.faults

    def test_a_slow_mount_does_not_stop_the_other_drive(
        self, corpus: Corpus, tmp_path: Path
    ) -> None:
        """The mount of one volume ends when all of the others was read."""
        layout = dealt(corpus, 3)
        writers = written(layout, corpus.containers)
        volumes = volumes_of(writers)
        left = set(data_of(corpus)) - set(layout["TAPE02"])
        done = threading.Event()

        class Counting(LtfsStore):
            def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
                found = super().read_backup_file(path, offset, size)
                left.discard(path)
                if not left:
                    done.set()
                return found

        def slow() -> CountingDrive:
            data_phase = robot.names.count("TAPE02") > (2 if mapped else 0)
            assert data_phase or done.wait(SECONDS)
            robot.drives["TAPE02"] = [robot.plain("TAPE02")]
            return robot.of("TAPE02")

        mapped = any(path.startswith("Stream/") for path in layout["TAPE02"])
        assert not mapped
        robot = Robot(writers)
        robot.instead["TAPE02"] = slow
        with Counting(volumes, robot, drives=2, patience=0) as store:
            check(corpus, restored(corpus, store, tmp_path), tmp_path)
        assert not robot.faults
        assert not robot.of("TAPE02").backward
        assert robot.names.count("TAPE02") == 1

    def test_a_volume_that_cannot_be_had_fails_only_its_files(
        self, corpus: Corpus, tmp_path: Path
    ) -> None:
        lost = data_of(corpus)[3]
        layout = {"LOST01": [lost], "TAPE01": [], "TAPE02": []}
        for number, path in enumerate(path for path in corpus.containers if path != lost):
            layout[f"TAPE0{number % 2 + 1}"].append(path)
        writers = written(layout, corpus.containers)
        for instead, code in (
            (lambda: None, "tape.refused"),
            (lambda: CountingDrive(writers[1].partitions), "tape.wrong-volume"),
        ):
            robot = Robot(writers)
            robot.instead["LOST01"] = instead
            with LtfsStore(volumes_of(writers), robot, drives=2) as store:
                report = restored(corpus, store, tmp_path / code)
                assert {one.error.code for one in report.failures if one.error} == {code}
                assert 0 < len(list(report.failures)) < len(corpus.expected) // 2
                del robot.instead["LOST01"]
                store.ask_again()
                check(corpus, restored(corpus, store, tmp_path / code), tmp_path / code)
            assert robot.names.count("LOST01") == 2
            assert not robot.faults

    def test_a_volume_that_comes_later_is_read_when_it_comes(
        self, corpus: Corpus, tmp_path: Path
    ) -> None:
        writers = written(dealt(corpus, 4), corpus.containers)
        robot = Robot(writers)
        waits = iter([True, True])

        def later() -> CountingDrive:
            if next(waits, False):
                raise NotReadyError("the robot is busy", retry_after=float("nan"))
            robot.drives["TAPE02"] = [robot.plain("TAPE02")]
            return robot.of("TAPE02")

        robot.instead["TAPE02"] = later
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            check(corpus, restored(corpus, store, tmp_path), tmp_path)
        assert not robot.faults
        assert len(robot.of("TAPE02").backward) <= 1

    def test_a_mount_cancels_the_job(self, corpus: Corpus, tmp_path: Path) -> None:
        writers = written(dealt(corpus, 2), corpus.containers)
        robot = Robot(writers)

        def cancelled() -> CountingDrive:
            raise Cancelled

        robot.instead["TAPE02"] = cancelled
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            report = restored(corpus, store, tmp_path)
            assert FileStatus.CANCELLED in {result.status for result in report.results}
            del robot.instead["TAPE02"]
            check(corpus, restored(corpus, store, tmp_path), tmp_path)

    def test_a_drive_that_fails_costs_only_its_files(self, corpus: Corpus, tmp_path: Path) -> None:
        layout = dealt(corpus, 2)
        writers = written(layout, corpus.containers)
        volumes = volumes_of(writers)
        bad = next(path for path in layout["TAPE02"] if path.startswith("Data/"))
        (extent,) = volumes[1].extents(bad)
        robot = Robot(writers)

        def made(barcode: str) -> CountingDrive:
            drive = robot.plain(barcode)
            if barcode == "TAPE02":
                drive.failing = {TapePosition(extent.partition, extent.block + 3): 1 << 30}
            return drive

        robot.made = made
        with LtfsStore(volumes, robot, drives=2) as store:
            report = restored(corpus, store, tmp_path)
        assert 0 < len(list(report.failures)) < len(corpus.expected) // 2
        assert {one.error.code for one in report.failures if one.error} == {"tape.read"}
        assert len(robot.of("TAPE01").backward) <= 1

    def test_a_plan_made_before_is_read_by_any_drive(self, corpus: Corpus, tmp_path: Path) -> None:
        writers = written(dealt(corpus, 4), corpus.containers)
        with LtfsStore(volumes_of(writers), Robot(writers), drives=2) as store:
            plan = plan_restore(corpus.requests, store)
        assert plan is not None
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=2) as store, TargetRoot(tmp_path) as root:
            check(corpus, restore_files(corpus.requests, store, root, plan=plan), tmp_path)
        assert not robot.faults
        assert len(robot.names) <= 6

    def test_what_is_at_hand_is_restored_by_all_drives(
        self, corpus: Corpus, tmp_path: Path
    ) -> None:
        lost = data_of(corpus)[0]
        layout = {"LOST01": [lost], "TAPE01": [], "TAPE02": []}
        for number, path in enumerate(path for path in corpus.containers if path != lost):
            layout[f"TAPE0{number % 2 + 1}"].append(path)
        writers = written(layout, corpus.containers)
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            some = store.at_hand({"TAPE01", "TAPE02"})
            assert some.concurrent_reads == store.concurrent_reads == 8
            report = restored(corpus, some, tmp_path)
        assert 0 < len(list(report.failures)) < len(corpus.expected) // 2
        assert set(robot.names) == {"TAPE01", "TAPE02"}
        assert {request.drive for request in robot.requests} == {0, 1}

    def test_pieces_on_several_volumes(self, corpus: Corpus, tmp_path: Path) -> None:
        """Tails, and middles in so many parts that one extent of the answer has several."""
        full, tails = VolumeWriter(1, "FULL01"), VolumeWriter(2, "TAIL01")
        pieces: dict[StorePath, list[Piece]] = {}
        for path, data in corpus.containers.items():
            cut = len(data) // 2
            full.add(path, data[:cut])
            tails.add(path, data[cut:])
            pieces[path] = [Piece("FULL01", path), Piece("TAIL01", path, cut)]
            for at in range(cut, len(data) - 40, len(data) // 200 or 1):
                pieces[path].append(Piece("TAIL01", path, at, 20, at - cut))
        writers = [full.finish(), tails.finish()]
        robot = Robot(writers)
        catalogue = Pieces(pieces)
        with LtfsStore(volumes_of(writers), robot, drives=2, catalogue=catalogue) as store:
            check(corpus, restored(corpus, store, tmp_path), tmp_path)
        assert not robot.faults
        assert sorted(robot.names) == ["FULL01", "TAIL01"]


@settings(max_examples=15, deadline=None)
@given(
    deal=st.lists(st.integers(0, 4), min_size=14, max_size=14),
    drives=st.integers(2, 4),
    jobs=st.integers(1, 4),
    slow=st.sets(st.integers(1, 5), max_size=2),
)
def test_any_layout_comes_back_in_order(
    deal: list[int], drives: int, jobs: int, slow: set[int]
) -> None:
    corpus = build(12, 3000)
    layout: dict[str, list[StorePath]] = {f"TAPE0{at}": [] for at in range(1, 6)}
    for path, at in zip(sorted(corpus.containers), deal, strict=False):
        layout[f"TAPE0{at + 1}"].append(path)
    writers = written(layout, corpus.containers)
    robot = Robot(writers)
    waits = {f"TAPE0{at}": iter([True]) for at in slow}

    def made(barcode: str) -> CountingDrive:
        if next(waits.get(barcode, iter(())), False):
            raise NotReadyError("busy")
        return robot.plain(barcode)

    robot.made = made
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as folder,
        LtfsStore(volumes_of(writers), robot, drives=drives) as store,
    ):
        patch.setattr(sharing, "_SLICE_BYTES", 4096)
        check(corpus, restored(corpus, store, Path(folder), jobs), Path(folder))
    assert not robot.faults
    assert forward_only(robot)


class TestConformance(StoreConformance):
    def make_store(self, containers: Mapping[StorePath, bytes], folder: Path) -> BackupStore:
        paths = sorted(containers)
        layout = {f"TAPE0{at + 1}": paths[at::3] for at in range(3)}
        self.writers = written(layout, containers)
        self.gone: set[StorePath] = set()
        volumes = volumes_of(self.writers)
        self.catalogue = WholeFiles(volumes)
        self.containers = dict(containers)
        pieces = {path: self.catalogue.pieces(path) for path in paths}
        self.pieces = pieces
        return LtfsStore(volumes, Robot(self.writers), drives=2, catalogue=Pieces(pieces))

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        return self.containers[path]

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        del self.pieces[path]


def tapes(count: int, size: int = 9000) -> tuple[list[VolumeWriter], dict[StorePath, bytes]]:
    """Return volumes with two containers each."""
    paths = [StorePath(f"{at}/{part}") for at in range(count) for part in "ab"]
    containers = {path: bytes([at + 1]) * size for at, path in enumerate(paths)}
    layout = {f"TAPE0{at + 1}": paths[at * 2 : at * 2 + 2] for at in range(count)}
    return written(layout, containers), containers


def show(store: LtfsStore, path: StorePath, offset: int = 0, length: int = 5) -> None:
    store.preview_container_read(path, [FileExtent(offset, length)])


def come(store: LtfsStore, path: StorePath) -> None:
    """Preview an extent until it is ready, as the engine does."""
    for _ in range(20 * SECONDS):
        try:
            show(store, path)
        except NotReadyError:
            continue
        return
    pytest.fail(f"{path} does not come")


def put_off(store: LtfsStore, *paths: StorePath) -> float:
    """Preview extents that are not ready; return when to ask for the last one again."""
    after = 0.0
    for path in paths:
        with pytest.raises(NotReadyError) as caught:
            show(store, path)
        after = caught.value.retry_after
    return after


class Watch:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TestMounts:
    def test_drives_are_loaded_at_the_same_time(self) -> None:
        writers, containers = tapes(2)
        robot, meeting = Robot(writers), threading.Barrier(2)

        def made(barcode: str) -> CountingDrive:
            meeting.wait(SECONDS)
            return robot.plain(barcode)

        robot.made = made
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            store.order_containers_restore(sorted(containers))
            show(store, StorePath("0/a"))
            show(store, StorePath("1/a"))
        assert sorted(robot.names) == ["TAPE01", "TAPE02"]

    def test_the_next_volume_is_mounted_when_the_one_before_is_read(self) -> None:
        """Before anybody asks for it, and only if a container lies on it alone."""
        writers, containers = tapes(4)
        robot, ahead = Robot(writers), threading.Event()

        def made(barcode: str) -> CountingDrive:
            if barcode in {"TAPE03", "TAPE04"}:
                ahead.set()
            return robot.plain(barcode)

        robot.made = made
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            paths = sorted(containers)
            extents = store.order_containers_restore(paths)
            for extent in extents[:3]:
                show(store, paths[extent.index])
                assert store.read_backup_file(paths[extent.index], 0, 5)
            assert not ahead.is_set()
            show(store, paths[extents[3].index])  # of the other drive: this one is done
            assert ahead.wait(SECONDS)
        for barcode in ("TAPE01", "TAPE02"):
            request = next(one for one in robot.requests if one.barcode == barcode)
            assert len(request.then) == 1

    def test_a_volume_that_may_not_be_needed_is_not_mounted_ahead(self) -> None:
        writers = [VolumeWriter(at, f"TAPE0{at}") for at in (1, 2)]
        for writer, size in zip(writers, (500, 9000), strict=True):
            writer.add("a", b"x" * size).finish()
        parts = StorePath("parts")
        catalogue = Pieces({parts: [Piece("TAPE01", "a"), Piece("TAPE02", "a", 500)]})
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=2, catalogue=catalogue) as store:
            extents = store.order_containers_restore([parts])
            assert [one.offset for one in extents] == [0, 500]
            assert not any(need.sure for need in store.volumes_needed([parts]))
            show(store, parts)
            assert store._several is not None
            assert [one.volume for one in store._several.held()] == ["TAPE01"]
            assert store.read_backup_file(parts, 0, 5) == b"xxxxx"
        assert robot.names == ["TAPE01"]

    def test_reads_that_never_come_hold_up_no_mount(self) -> None:
        writers, containers = tapes(3)
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=2, patience=SECONDS) as store:
            paths = sorted(containers)
            store.order_containers_restore(paths)
            reads = [FileExtent(at * 100, 10) for at in range(50)]
            store.preview_container_read(paths[0], reads)
            show(store, StorePath("2/a"))
        assert [(one.barcode, one.drive) for one in robot.requests if one.drive == 0] == [
            ("TAPE01", 0), ("TAPE03", 0),
        ]  # fmt: skip

    def test_a_mount_that_fails_ahead_is_told_when_its_volume_is_wanted(self) -> None:
        writers, containers = tapes(2)
        robot, failed = Robot(writers), threading.Event()

        def broken() -> None:
            failed.set()
            raise RuntimeError("the arm is stuck")

        robot.instead["TAPE02"] = broken
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            store.order_containers_restore(sorted(containers))
            show(store, StorePath("0/a"))
            assert failed.wait(SECONDS)
            with pytest.raises(RuntimeError, match="stuck"):
                show(store, StorePath("1/a"))
            with pytest.raises(RuntimeError, match="stuck"):
                store.read_backup_file(StorePath("1/a"), 0, 5)
            assert store.read_backup_file(StorePath("0/a"), 0, 5) == b"\1" * 5

    def test_a_cancellation_reaches_whoever_asks_next(self) -> None:
        writers, containers = tapes(2)
        robot = Robot(writers)

        def cancelled() -> None:
            raise Cancelled

        robot.instead["TAPE02"] = cancelled
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            store.order_containers_restore(sorted(containers))

            def read_on() -> None:
                show(store, StorePath("0/a"))
                for _ in range(10_000):
                    store.read_backup_file(StorePath("0/a"), 0, 5)

            with pytest.raises(Cancelled):
                read_on()

    def test_extents_of_a_slow_volume_keep_their_order(self) -> None:
        writers, containers = tapes(2)
        robot, gate, entered = Robot(writers), threading.Event(), threading.Event()

        def made(barcode: str) -> CountingDrive:
            if barcode == "TAPE01":
                entered.set()
                assert gate.wait(SECONDS)
            return robot.plain(barcode)

        robot.made = made
        one_a, one_b = StorePath("0/a"), StorePath("0/b")
        with LtfsStore(volumes_of(writers), robot, drives=2, patience=0) as store:
            store.order_containers_restore(sorted(containers))
            assert put_off(store, one_a) == 0
            come(store, StorePath("1/a"))
            assert store.read_backup_file(StorePath("1/a"), 0, 5) == b"\3" * 5
            assert entered.wait(SECONDS)
            gate.set()
            put_off(store, one_b)  # its turn is behind the first one
            come(store, one_a)
            come(store, one_b)

    def test_an_extent_that_never_comes_again_is_not_waited_for(self) -> None:
        writers, containers = tapes(3)
        robot, gate = Robot(writers), threading.Event()
        robot.instead["TAPE01"] = lambda: (gate.wait(SECONDS), robot.plain("TAPE01"))[1]
        with LtfsStore(volumes_of(writers), robot, drives=2, patience=0) as store:
            store.order_containers_restore(sorted(containers))
            drives = {need.name: need.drive for need in store.volumes_needed(sorted(containers))}
            assert drives["TAPE01"] == drives["TAPE03"] == 0
            paths = [StorePath(name) for name in ("0/a", "0/b", "2/a")]
            put_off(store, *paths)
            gate.set()
            put_off(store, paths[1], paths[2])  # the first one was given up by the engine
            come(store, paths[1])
            come(store, paths[2])
            assert store.read_backup_file(paths[2], 0, 5) == b"\5" * 5

    def test_later_is_as_late_for_all_extents_of_a_volume(self) -> None:
        writers, containers = tapes(2)
        robot, watch = Robot(writers), Watch()

        def later() -> None:
            raise NotReadyError("in an hour", retry_after=3600)

        robot.instead["TAPE01"] = later
        with LtfsStore(volumes_of(writers), robot, drives=2, clock=watch) as store:
            store.order_containers_restore(sorted(containers))
            assert put_off(store, StorePath("0/a")) == 3600
            watch.now += 600
            assert put_off(store, StorePath("0/b")) == 3000
            assert robot.names.count("TAPE01") == 1
            watch.now += 3000
            del robot.instead["TAPE01"]
            show(store, StorePath("0/a"))
            show(store, StorePath("0/b"))

    def test_without_an_order_volumes_go_to_the_drive_not_used_for_longest(self) -> None:
        writers, containers = tapes(4)
        robot = Robot(writers)
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            for name in ("0/a", "1/a", "0/b", "2/a", "0/a", "3/a"):
                path = StorePath(name)
                show(store, path)
                assert store.read_backup_file(path, 0, 5) == containers[path][:5]
            assert (
                store.read_backup_file(StorePath("3/b"), 0, 5) == containers[StorePath("3/b")][:5]
            )
            assert (
                store.read_backup_file(StorePath("1/b"), 0, 5) == containers[StorePath("1/b")][:5]
            )
        assert [(one.barcode, one.drive) for one in robot.requests] == [
            ("TAPE01", 0), ("TAPE02", 1), ("TAPE03", 1), ("TAPE04", 1), ("TAPE02", 0),
        ]  # fmt: skip
        assert not robot.faults

    def test_a_closed_store_can_be_used_again(self) -> None:
        writers, _ = tapes(2)
        robot = Robot(writers)
        store = LtfsStore(volumes_of(writers), robot, drives=2)
        for _ in range(2):
            assert store.read_backup_file(StorePath("0/a"), 0, 5) == b"\1" * 5
            store.close()
        assert robot.names == ["TAPE01", "TAPE01"]
        assert not robot.faults

    @pytest.mark.parametrize("reading", [False, True])
    def test_a_call_from_before_a_close_mounts_nothing(
        self, monkeypatch: pytest.MonkeyPatch, *, reading: bool
    ) -> None:
        """Such as one that a job that was cancelled left behind."""
        writers, _ = tapes(2)
        robot = Robot(writers)
        path = StorePath("0/a")
        closing: list[LtfsStore] = []

        store = LtfsStore(volumes_of(writers), robot, drives=2)
        several = store._several
        assert several is not None
        checked = several._checked

        def left() -> list[WorkingDrive]:
            drives = checked()
            if closing:  # somebody closes the store in the middle of the call
                closing.pop().close()
            return drives

        monkeypatch.setattr(several, "_checked", left)
        closing.append(store)
        read = partial(store.read_backup_file, path, 0, 5)
        call = read if reading else partial(store.preview_container_read, path, [FileExtent(0, 5)])
        with pytest.raises(StoreReadError, match="was closed"):
            call()
        assert not robot.names
        assert store.read_backup_file(path, 0, 5) == b"\1" * 5
        store.close()

    @pytest.mark.parametrize("drives", [0, 65])
    def test_numbers_of_drives_that_are_none_are_refused(self, drives: int) -> None:
        writers, _ = tapes(1)
        with pytest.raises(RequestError, match="1 to 64") as caught:
            LtfsStore(volumes_of(writers), Robot(writers), drives=drives)
        assert caught.value.code == "tape.options"


class TestOrder:
    @pytest.mark.usefixtures("small_slices")
    def test_the_answer_takes_from_the_drives_in_turns(self) -> None:
        writers, containers = tapes(2, size=50_000)
        paths = sorted(containers)
        with LtfsStore(volumes_of(writers), Robot(writers), drives=2) as store:
            extents = store.order_containers_restore(paths)
            alone = store.order_containers_restore(paths[:2])
        assert [(one.index, one.offset) for one in alone] == [(0, 0), (1, 0)]
        assert len(extents) == 4 * 7
        on_first = [one.index < 2 for one in extents]
        assert all(sum(on_first[at : at + 2]) == 1 for at in range(0, len(extents), 2))
        for index in range(4):
            mine = [one for one in extents if one.index == index]
            assert mine[0].offset == 0
            assert all(a.offset + a.length == b.offset for a, b in itertools.pairwise(mine))
            assert mine[-1].offset + mine[-1].length == 2**63 - 1

    def test_needs_tell_drives_and_times(self) -> None:
        writers, containers = tapes(3)
        model = model_of(FORMATS["LTO-9"])
        geometry = native_geometry(FORMATS["LTO-9"], pairs=(1, 137), unit_bytes=4096)
        known = Tape(model=model, geometry=geometry)
        volumes = volumes_of(writers)
        paths = sorted(containers)
        with LtfsStore(volumes, Robot(writers), drives=2) as store:
            needs = store.volumes_needed(paths)
            assert [(need.name, need.drive) for need in needs] == [
                ("TAPE01", 0), ("TAPE02", 1), ("TAPE03", 0),
            ]  # fmt: skip
            assert [need.wanted_s for need in needs] == [0, 0, None]
            assert {need.done_s for need in needs} == {None}
        volumes = [attrs.evolve(volume, tape=known) for volume in volumes]
        with LtfsStore(volumes, Robot(writers), drives=2) as store:
            first, second, third = store.volumes_needed(paths)
            assert (first.drive, second.drive) == (0, 1)
            for need in (first, second, third):
                assert need.wanted_s is not None
                assert need.ready_s is not None
                assert need.done_s is not None
                assert need.seconds is not None
                assert need.sure
                assert need.ready_s == pytest.approx(need.wanted_s + model.load_s)
                assert need.done_s == pytest.approx(need.ready_s + need.seconds)
            assert third.wanted_s is not None
            assert first.done_s is not None
            assert third.wanted_s > first.done_s
            store.read_backup_file(StorePath("2/a"), 0, 1)
            again = store.volumes_needed(paths)
            assert (again[0].name, again[0].drive, again[0].ready_s) == ("TAPE03", 0, 0)

    def test_a_drive_that_recommends_is_asked(self) -> None:
        writers, containers = tapes(2)
        robot = Robot(writers)

        class Advising(CountingDrive):
            def recommended_order(self, stretches: Sequence[Stretch], /) -> Sequence[int]:
                return range(len(stretches))[::-1]

        robot.made = lambda barcode: Advising(robot.records[barcode])
        paths = sorted(containers)
        with LtfsStore(volumes_of(writers), robot, drives=2) as store:
            store.read_backup_file(paths[0], 0, 1)
            store.read_backup_file(paths[2], 0, 1)
            extents = store.order_containers_restore(paths)
            assert {need.kept for need in store.volumes_needed(paths)} == {
                "as the drive recommends"
            }
            places = [one.index for one in extents]
            assert places.index(1) < places.index(0)
            assert places.index(3) < places.index(2)

    def test_slices_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sharing, "_SLICE_BYTES", 1)
        writers, containers = tapes(2, size=5000)
        with LtfsStore(volumes_of(writers), Robot(writers), drives=2) as store:
            assert len(store.order_containers_restore(sorted(containers))) == 4 * 64
            monkeypatch.setattr(sharing, "_FEW_SLICES", 8)
            assert len(store.order_containers_restore(sorted(containers))) == 8
            assert [one.index for one in store.order_containers_restore([StorePath("none")])] == [0]
            assert list(store.order_containers_restore([])) == []

    @pytest.mark.usefixtures("small_slices")
    def test_reading_goes_on_into_the_next_slice(self) -> None:
        """What takes all of a slice lets its drive read the next one, too; a part of one does not."""
        writers, containers = tapes(2, size=80_000)
        paths = sorted(containers)
        for length, least, most in ((None, 15, 99), (10, 0, 7)):
            robot = Robot(writers)
            with LtfsStore(volumes_of(writers), robot, drives=2) as store:
                store.max_gap = 0
                extents = store.order_containers_restore(paths)
                show(store, paths[0], 0, length or extents[0].length)
                assert extents[0].index == 0
                store.read_backup_file(paths[0], 0, 1)
                assert store.read_backup_file(paths[0], 0, 1) == b"\1"
                if length is None:
                    for number in range(0, 80_000, 8000):  # without a preview
                        store.read_backup_file(paths[0], number, 1)
            assert least <= robot.of("TAPE01").records - 3 <= most
