"""Several drives at once: each in its own order, all of them busy, none waiting for another."""

import random
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
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
)
from rehydrate.media.geometry import FORMATS
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
from rehydrate.stores.tape.drive import MountRequest, TapeDrive, TapePosition
from rehydrate.values import StorePath
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
