"""A restore onto a mounted NTFS volume keeps what Windows knew about the files."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.catalogue.opening import open_volumes
from rehydrate.catalogue.windows_metadata import WindowsMetadata, default_form
from rehydrate.engine.restore import restore_files
from rehydrate.staging.root import TargetRoot
from rehydrate.stores.volume import VolumeEntry
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import (
    Entry,
    NeedsNtfs,
    ntfs_image,
    ntfs_mounted,
    security_of,
)

TIMES = (130_000_000_000_000_001, 130_000_000_000_000_012, 130_000_000_000_000_023, 0)
SECURITY = security_of((32, 544))
HIDDEN_ARCHIVE = 0x22


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "source.img"
    store = WindowsStore()
    stub = store.add_file(b"words " * 20_000, stub="3.1", chunks=40_000)
    tree = [
        Entry("Docs/stub.bin", file=stub, times=TIMES, attributes=0x622, security=SECURITY),
        Entry(
            "Docs/plain.txt",
            data=b"plain",
            streams={"note": b"a stream"},
            times=TIMES,
            attributes=HIDDEN_ARCHIVE,
            security=SECURITY,
        ),
    ]
    try:
        ntfs_image(path, tree, store)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "target.img"
    try:
        ntfs_image(image, [])
        with ntfs_mounted(image, "umask=077") as mounted:
            yield mounted
    except NeedsNtfs as missing:
        pytest.skip(str(missing))


def entries(image: Path) -> dict[bytes, VolumeEntry]:
    with open_volumes(image) as catalogue:
        return {entry.path: entry.found for entry in catalogue.entries(1)}


def test_metadata_lie_on_the_volume_as_they_did(source: Path, target: Path) -> None:
    assert default_form(target) is WindowsMetadata.NTFS3G
    with open_volumes(source) as catalogue, TargetRoot(target) as root:
        found = list(catalogue.entries(1))
        report = restore_files(
            catalogue.requests(1, found, WindowsMetadata.NTFS3G), catalogue.stores(1), root
        )
    assert report.ok, list(report.failures)
    lost = {result.target: result.metadata_lost for result in report.results}
    assert set(lost["Docs/stub.bin"]) <= {"change time"}
    assert set(lost["Docs/plain.txt"]) <= {"change time"}
    assert (target / "Docs/stub.bin").read_bytes() == b"words " * 20_000
    listed = subprocess.run(
        ["getfattr", "--absolute-names", "-d", "-m", "-", str(target / "Docs/plain.txt")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert 'user.note="a stream"' in listed.stdout


def test_another_reader_finds_them_again(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "target.img"
    ntfs_image(image, [])
    with (
        ntfs_mounted(image, "umask=077") as mounted,
        open_volumes(source) as catalogue,
        TargetRoot(mounted) as root,
    ):
        chosen = list(catalogue.entries(1))
        restore_files(
            catalogue.requests(1, chosen, WindowsMetadata.NTFS3G), catalogue.stores(1), root
        ).raise_for_failures()
    before, after = entries(source), entries(image)
    assert before.keys() == after.keys()
    for path in (b"Docs/stub.bin", b"Docs/plain.txt"):
        old, new = before[path], after[path]
        assert (new.created, new.modified, new.accessed) == TIMES[:3]
        assert new.owner == old.owner == "S-1-5-32-544"
        assert new.streams == old.streams
        assert new.reparse_tag == 0
        assert new.attributes & 0x7 == old.attributes & 0x7
    assert after[b"Docs/stub.bin"].attributes & 0x600 == 0, "the restored file is no stub"
