"""Deduplicated volumes as catalogues: images, disks in image layers, folder copies, orphans."""

import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from rehydrate.catalogue.opening import open_volumes
from rehydrate.catalogue.windows import PLAIN_STORE, VolumeCatalogue
from rehydrate.catalogue.windows_metadata import WindowsMetadata
from rehydrate.engine.restore import restore_files
from rehydrate.errors import RequestError, StoreError, UnsupportedFormatError
from rehydrate.requests import RestoreOptions
from rehydrate.results import FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.values import StorePath
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, NeedsNtfs, folder_copy, ntfs_image, partitioned

METHODS = (0, 2, 1, 3)
FORMATS = ("1.2", "2.1", "3.1")
STUBS = 36


@attrs.frozen
class Made:
    """A volume that was made.

    Attributes:
        store: Its chunk store.
        tree: What it holds.
        want: Bytes of every file by its path.
    """

    store: WindowsStore
    tree: list[Entry]
    want: Mapping[str, bytes]


@pytest.fixture(scope="module")
def made() -> Made:
    generator = random.Random(36)
    words = [generator.randbytes(6) for _ in range(300)]
    store = WindowsStore()
    tree = []
    for number in range(STUBS):
        stub = FORMATS[number % 3]
        size = 60_000 + number * 3001
        data = b"".join(generator.choice(words) for _ in range(size // 6 + 1))[:size]
        parts = 1 if stub == "1.2" else 1 + number % 3
        method = METHODS[number % len(METHODS)]
        file = store.add_file(data, stub=stub, chunks=20_000, compression=method, parts=parts)
        if number % 9 == 8:
            file = file.recalled({5000: b"x" * 9000, size + 100: b"appended"})
        tree.append(Entry(f"Shares/Finance/f{number:02}.xlsx", file=file))
    tree += [
        Entry("plain.txt", data=b"hello" * 5000, streams={"Zone.Identifier": b"[ZoneTransfer]"}),
        Entry("empty", data=b""),
        Entry("again.txt", link_to="plain.txt"),
        Entry("folder", directory=True),
    ]
    want = {entry.path: entry.content for entry in tree if not entry.directory}
    want["again.txt"] = want["plain.txt"]
    return Made(store, tree, want)


@pytest.fixture(scope="module")
def image(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "volume.img"
    try:
        ntfs_image(path, made.tree, made.store, label="DATA")
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    return path


@pytest.fixture(scope="module")
def copied(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copy") / "volume"
    folder_copy(path, made.tree, made.store)
    return path


def restored(
    catalogue: VolumeCatalogue, out: Path, form: WindowsMetadata = WindowsMetadata.NONE
) -> RestoreReport:
    version = catalogue.numbers()[-1]
    entries = list(catalogue.entries(version))
    out.mkdir()
    with TargetRoot(out) as target:
        return restore_files(
            catalogue.requests(version, entries, form),
            catalogue.stores(version),
            target,
            options=RestoreOptions(jobs=2),
        )


def check(report: RestoreReport, out: Path, want: Mapping[str, bytes]) -> None:
    assert report.ok, list(report.failures)
    assert set(report.counts) == {FileStatus.RESTORED}
    found = {path: (out / path).read_bytes() for path in want}
    assert found == want


def test_every_stub_comes_out_of_an_image(made: Made, image: Path, tmp_path: Path) -> None:
    before = image.stat()
    with open_volumes(image) as catalogue:
        report = restored(catalogue, tmp_path / "out")
        check(report, tmp_path / "out", made.want)
        assert report.counters.order_calls == 2
        stubs = [entry for entry in catalogue.entries(1) if entry.deduplicated]
        assert len(stubs) == STUBS
        assert catalogue.store_id == made.store.guid
        assert catalogue.volume(1).facts.label == "DATA"
        assert not catalogue.warnings
    lost = {result.target: result.metadata_lost for result in report.results}
    assert "stream:Zone.Identifier" in lost["plain.txt"]
    one, two = (tmp_path / "out" / name for name in ("plain.txt", "again.txt"))
    assert one.stat().st_ino == two.stat().st_ino, "names of one file stay names of one file"
    assert (image.stat().st_mtime_ns, image.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("layer", ["raw", "vhdx", "vpc", "qcow2", "vmdk"])
def test_the_same_from_a_disk_in_any_layer(
    made: Made, image: Path, tmp_path: Path, layer: str
) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("needs the program qemu-img")
    raw, disk = tmp_path / "disk.img", tmp_path / f"disk.{layer}"
    try:
        partitioned(image, raw, before=1 << 20)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    subprocess.run(["qemu-img", "convert", "-O", layer, raw, disk], check=True)
    with open_volumes(disk) as catalogue:
        check(restored(catalogue, tmp_path / "out"), tmp_path / "out", made.want)
        assert "partition 2" in catalogue.volume(1).facts.source


def test_every_stub_comes_out_of_a_folder_copy(made: Made, copied: Path, tmp_path: Path) -> None:
    with open_volumes(copied) as catalogue:
        report = restored(catalogue, tmp_path / "out")
        check(report, tmp_path / "out", made.want)
        (info,) = catalogue.versions()
        assert (info.number, info.entries, info.logical_bytes) == (1, None, None)
    assert report.counters.order_calls == 2


def test_sidecars_lie_beside_what_they_describe(image: Path, tmp_path: Path) -> None:
    with open_volumes(image) as catalogue:
        report = restored(catalogue, tmp_path / "out", WindowsMetadata.SIDECAR)
    assert report.ok
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "plain.txt.ntfs.json" in names
    (stream,) = (tmp_path / "out").glob("plain.txt.ntfs-stream.*")
    assert stream.read_bytes() == b"[ZoneTransfer]"


@pytest.fixture
def orphans(made: Made, tmp_path: Path) -> tuple[Path, Path]:
    """Stubs without their store, and the store alone."""
    stubs, store = tmp_path / "stubs", tmp_path / "store"
    folder_copy(stubs, made.tree, made.store)
    shutil.move(stubs / "System Volume Information", store)
    return stubs, store


def test_orphans_fail_by_the_name_of_their_store(
    made: Made, orphans: tuple[Path, Path], tmp_path: Path
) -> None:
    with open_volumes(orphans[0]) as catalogue:
        report = restored(catalogue, tmp_path / "out")
        with pytest.raises(StoreError) as caught:
            _ = catalogue.store_id
    assert caught.value.code == "volume.no-store"
    failed = {result.target: result.error for result in report.failures}
    assert len(failed) == STUBS
    assert all(str(made.store.guid) in str(error) for error in failed.values())
    assert (tmp_path / "out" / "plain.txt").read_bytes() == made.want["plain.txt"]


def test_orphans_are_reunited_with_a_store_from_elsewhere(
    made: Made, orphans: tuple[Path, Path], copied: Path, tmp_path: Path
) -> None:
    for number, place in enumerate((orphans[1], copied)):
        out = tmp_path / f"out{number}"
        with open_volumes(orphans[0], stores=[place]) as catalogue:
            check(restored(catalogue, out), out, made.want)


def test_store_on_an_image_serves_orphans(
    made: Made, orphans: tuple[Path, Path], image: Path, tmp_path: Path
) -> None:
    with open_volumes(orphans[0], stores=[image]) as catalogue:
        check(restored(catalogue, tmp_path / "out"), tmp_path / "out", made.want)


def test_place_without_a_store_is_told(orphans: tuple[Path, Path]) -> None:
    with pytest.raises(StoreError) as caught:
        open_volumes(orphans[0], stores=[orphans[0]])
    assert caught.value.code == "volume.no-store"


def test_partitions_are_chosen_by_number_or_refused(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    try:
        partitioned(image, disk, before=1 << 20)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    with open_volumes(disk, partition=2) as catalogue:
        assert catalogue.volume(1).chunk_stores()
    with pytest.raises(RequestError, match="has no partition 7"):
        open_volumes(disk, partition=7)
    with open_volumes(disk, partition="1") as catalogue, pytest.raises(UnsupportedFormatError):
        catalogue.volume(1)


def test_folders_have_no_partitions(copied: Path) -> None:
    with pytest.raises(RequestError):
        open_volumes(copied, partition=1)
    with pytest.raises(StoreError):
        open_volumes(copied / "nowhere")


def test_versions_are_checked_and_plain_entries_need_no_store(copied: Path) -> None:
    with open_volumes(copied) as catalogue:
        with pytest.raises(RequestError, match="there is no version 2"):
            catalogue.volume(2)
        none = catalogue.stores(1)[PLAIN_STORE]
        with pytest.raises(FileNotFoundError):
            none.read_backup_file(StorePath("anything"), 0, 1)
