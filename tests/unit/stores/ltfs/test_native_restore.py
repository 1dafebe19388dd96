"""A native store whose containers lie on tapes: restored in the order of the tapes, by the engine."""

import random
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.engine.planning import plan_restore
from rehydrate.engine.restore import restore_files
from rehydrate.errors import NotReadyError
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions, RestoreRequest
from rehydrate.results import RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.stores.layout import ChunkerSettings
from rehydrate.stores.ltfs.catalogue import Piece, Pieces
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

CAPACITY = 200_000


@attrs.frozen
class Native:
    """A native store, and what its files hold."""

    folder: Path
    requests: list[RestoreRequest]
    expected: Mapping[str, bytes]
    containers: Mapping[str, bytes]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Native:
    folder = tmp_path_factory.mktemp("native")
    seed = random.Random(4)
    tree = folder / "tree"
    tree.mkdir()
    expected = {f"f{number:02}": seed.randbytes(90_000) for number in range(16)}
    expected["copy"] = expected["f03"] + expected["f12"]
    for name, data in expected.items():
        (tree / name).write_bytes(data)
    chunker = ChunkerSettings(min_size=4096, avg_size=8192, max_size=16384)
    create_store(folder / "store", capacity=CAPACITY, chunker=chunker)
    optimize(tree, folder / "store")
    with NativeCatalogue.open(folder / "store") as catalogue:
        entries = list(catalogue.entries(catalogue.versions()[-1].number))
    store = folder / "store"
    containers = {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*.rhc"))
    }
    requests = [RestoreRequest(entry.stub, entry.path) for entry in entries]
    return Native(store, requests, expected, containers)


def restored(native: Native, store: BackupStore, out: Path) -> RestoreReport:
    with TargetRoot(out) as target:
        return restore_files(native.requests, store, target, options=RestoreOptions(jobs=1))


def check(native: Native, report: RestoreReport, out: Path) -> None:
    report.raise_for_failures()
    for name, data in native.expected.items():
        assert (out / name).read_bytes() == data


def failed(report: RestoreReport) -> set[str]:
    return {str(result.target) for result in report.failures}


def volume_of(writer: VolumeWriter) -> LtfsVolume:
    return LtfsVolume.read(CountingDrive(writer.partitions))


def shuffled(containers: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    return random.Random(7).sample(sorted(containers.items()), len(containers))


def test_one_pass_for_each_phase_and_no_way_back(native: Native, tmp_path: Path) -> None:
    writer = VolumeWriter(block_size=4096)
    for path, data in shuffled(native.containers):
        writer.add(path, data, sizes=(100, 4096, 7) if len(path) % 2 else ())
    volume = volume_of(writer.finish())
    library = Library({"TAPE01": writer.partitions})
    with LtfsStore([volume], library) as store:
        check(native, restored(native, store, tmp_path), tmp_path)
    (drive,) = library.drives
    assert len(drive.backward) <= 1  # from the last map container to the first data container
    assert len(drive.locates) <= 3  # the label, and the beginning of both phases
    assert library.names == ["TAPE01"]


def test_pieces_of_containers_on_several_volumes(native: Native, tmp_path: Path) -> None:
    """A full backup, an increment with the tails of containers, and one with a newer middle."""
    full, tails, middle = (
        VolumeWriter(number=number, barcode=f"TAPE0{number}", block_size=4096)
        for number in (1, 2, 3)
    )
    pieces: dict[StorePath, list[Piece]] = {}
    for path, data in shuffled(native.containers):
        cut = len(data) * 2 // 3
        full.add(f"full/{path}", data[:1000] + b"?" * 2000 + data[3000:cut])
        tails.add(f"tails/{path}", b"head" + data[cut:])
        middle.add(path, data[1000:3000])
        pieces[StorePath(path)] = [
            Piece("TAPE01", f"full/{path}"),
            Piece("TAPE02", f"tails/{path}", cut, None, 4),
            Piece("TAPE03", path, 1000, min(2000, len(data) - 1000)),
        ]
    writers = [full.finish(), tails.finish(), middle.finish()]
    library = Library({writer.barcode: writer.partitions for writer in writers})
    volumes = [volume_of(writer) for writer in writers]
    with LtfsStore(volumes, library, catalogue=Pieces(pieces)) as store:
        check(native, restored(native, store, tmp_path), tmp_path)
    assert len(library.names) <= 6  # each volume once in each phase
    assert all(len(drive.backward) <= 1 for drive in library.drives)


def test_a_volume_that_cannot_be_had_fails_only_its_files(native: Native, tmp_path: Path) -> None:
    first, second = (VolumeWriter(number=n, barcode=f"TAPE0{n}") for n in (1, 2))
    lost = max(path for path in native.containers if path.startswith("Data/"))
    for path, data in native.containers.items():
        (second if path == lost else first).add(path, data)
    writers = [first.finish(), second.finish()]
    library = Library({"TAPE01": first.partitions, "TAPE02": lambda: None})
    with LtfsStore([volume_of(writer) for writer in writers], library) as store:
        report = restored(native, store, tmp_path / "out")
        planned = plan_restore(native.requests, store.at_hand({"TAPE01"}))
        at_hand = restored(native, store.at_hand({"TAPE01"}), tmp_path / "hand")
        needed = store.volumes_needed([StorePath(path) for path in native.containers])
    assert 0 < len(failed(report)) < len(native.expected) // 2
    assert {result.error.code for result in report.failures if result.error} == {"tape.refused"}
    for name in set(native.expected) - failed(report):
        assert (tmp_path / "out" / name).read_bytes() == native.expected[name]
    assert library.names.count("TAPE02") == 1
    assert failed(at_hand) == failed(report)
    assert planned is not None
    assert [need.name for need in needed] == ["TAPE01", "TAPE02"]
    assert needed[1].containers == 1
    assert needed[1].wanted_bytes == len(native.containers[lost])


def test_a_volume_that_comes_later_defers_its_extents(native: Native, tmp_path: Path) -> None:
    writers = [VolumeWriter(number=n, barcode=f"TAPE0{n}") for n in (1, 2)]
    for number, (path, data) in enumerate(native.containers.items()):
        writers[number % 2].add(path, data)
    for writer in writers:
        writer.finish()
    waits = iter([True, True, False, False, False, False])

    def later() -> CountingDrive:
        if next(waits):
            raise NotReadyError("the robot is busy")
        return CountingDrive(writers[0].partitions)

    library = Library({"TAPE01": later, "TAPE02": writers[1].partitions})
    with LtfsStore([volume_of(writer) for writer in writers], library) as store:
        check(native, restored(native, store, tmp_path), tmp_path)


def test_a_bad_record_costs_only_the_files_that_need_it(native: Native, tmp_path: Path) -> None:
    writer = VolumeWriter(block_size=4096)
    for path, data in native.containers.items():
        writer.add(path, data)
    volume = volume_of(writer.finish())
    container = max(path for path in native.containers if path.startswith("Data/"))
    (extent,) = volume.extents(container)
    bad = TapePosition(extent.partition, extent.block + 3)
    library = Library({"TAPE01": writer.partitions}, failing={bad: 1 << 30})
    with LtfsStore([volume], library) as store:
        report = restored(native, store, tmp_path / "bad")
        library.failing.clear()
        check(native, restored(native, store, tmp_path / "good"), tmp_path / "good")
    assert 0 < len(failed(report)) <= 3
    assert {result.error.code for result in report.failures if result.error} == {"tape.read"}
    for name in set(native.expected) - failed(report):
        assert (tmp_path / "bad" / name).read_bytes() == native.expected[name]


def test_a_container_that_ends_too_soon_costs_only_the_files_that_need_its_end(
    native: Native, tmp_path: Path
) -> None:
    writer = VolumeWriter(block_size=4096)
    cut = max(path for path in native.containers if path.startswith("Data/"))
    for path, data in native.containers.items():
        writer.add(path, data[: len(data) // 2] if path == cut else data)
    library = Library({"TAPE01": writer.finish().partitions})
    with LtfsStore([volume_of(writer)], library) as store:
        report = restored(native, store, tmp_path)
    assert 0 < len(failed(report)) <= 3
    assert {result.error.code for result in report.failures if result.error} == {"store.short-read"}
    for name in set(native.expected) - failed(report):
        assert (tmp_path / name).read_bytes() == native.expected[name]


def test_short_blocks_in_a_volume_said_to_be_even_cost_a_second_look(
    native: Native, tmp_path: Path
) -> None:
    writer = VolumeWriter(block_size=4096)
    for path, data in native.containers.items():
        writer.add(path, data, sizes=(4096, 50, 4096))
    volume = attrs.evolve(volume_of(writer.finish()), full_blocks=True, read_through=0)
    library = Library({"TAPE01": writer.partitions})
    with LtfsStore([volume], library) as store:
        check(native, restored(native, store, tmp_path), tmp_path)
