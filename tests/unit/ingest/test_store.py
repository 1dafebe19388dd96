import os
import shutil
from pathlib import Path

import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.verify import verify_store
from rehydrate.errors import (
    ContainerNotFoundError,
    FormatError,
    PublishError,
    StoreError,
    UnsupportedFormatError,
)
from rehydrate.formats.native.stub import parse_stub
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.rebuild import rebuild_store
from rehydrate.ingest.store import World, create_store, opened_store
from rehydrate.ingest.suspicion import note_damage
from rehydrate.stores.layout import ChunkerSettings, read_configuration
from tests.fault.broken_files import BrokenFiles, failing
from tests.unit.ingest.test_optimize import LATER, noise
from tests.unit.ingest.trees import of_tree, of_version, rows_of

SMALL = ChunkerSettings(min_size=1024, avg_size=2048, max_size=4096)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    for number in range(5):
        (root / f"file{number}").write_bytes(noise(10_000, number))
    return root


@pytest.fixture
def store(tmp_path: Path, source: Path) -> Path:
    path = tmp_path / "store"
    create_store(path, chunker=SMALL)
    optimize(source, path, world=LATER)
    (source / "file5").write_bytes(noise(10_000, 5))
    optimize(source, path, world=LATER)
    return path


def containers(store: Path, kind: str) -> list[Path]:
    return sorted((store / kind).glob("*.rhc"))


def spoil(path: Path, offset: int, data: bytes = b"\xa5\xa5\xa5\xa5") -> None:
    with path.open("r+b") as stream:
        stream.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        stream.write(data)


def test_a_directory_that_holds_something_else_is_no_place_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with pytest.raises(StoreError, match=r"is not empty .it has letter. and no rehydrate store"):
        create_store(tmp_path)
    with pytest.raises(StoreError, match="cannot create"):
        create_store(tmp_path / "letter" / "store")
    with pytest.raises(StoreError, match=r"cannot create|cannot open"):
        create_store(tmp_path / "letter")


def test_a_store_is_not_created_twice_nor_over_orphaned_containers(store: Path) -> None:
    with pytest.raises(StoreError, match="is a store already"):
        create_store(store)
    (store / "rehydrate-store.json").unlink()
    with pytest.raises(StoreError, match="it has containers"):
        create_store(store)


def test_a_store_that_needs_a_newer_writer_is_refused_for_writing(
    store: Path, source: Path
) -> None:
    path = store / "rehydrate-store.json"
    path.write_text(path.read_text().replace('"read-compat": 0', '"read-compat": 2'))
    with NativeCatalogue.open(store) as catalogue:
        assert len(catalogue.versions()) == 2
    with pytest.raises(UnsupportedFormatError, match="feature bit 1"):
        optimize(source, store)


def test_missing_folders_are_made_again(store: Path, source: Path) -> None:
    shutil.rmtree(store / "index")
    assert optimize(source, store).new_bytes == 0
    assert list((store / "index").iterdir()) == []
    (source / "more").write_bytes(noise(10_000, 1))
    report = optimize(source, store)
    assert report.new_bytes == 0
    assert len(list((store / "index").iterdir())) == 1


def test_a_folder_that_is_a_link_is_refused(store: Path, source: Path, tmp_path: Path) -> None:
    (store / "Data").rename(tmp_path / "away")
    (store / "Data").symlink_to(tmp_path / "away")
    with pytest.raises(StoreError, match=r"cannot open .*Data"):
        optimize(source, store)


def test_the_index_is_disposable_and_a_damaged_one_is_not_believed(
    store: Path, source: Path
) -> None:
    (index,) = list((store / "index").iterdir())[:1]
    for offset in (0, 20, 60, -100, -5):
        (source / "again").write_bytes(noise(10_000, 2) + bytes([offset % 256]))
        spoil(index, offset)
        report = optimize(source, store)
        assert report.new_bytes < 5000
        assert of_version(store, report.version) == of_tree(source)
        (index, *_) = sorted((store / "index").iterdir())
    index.write_bytes(b"")
    assert optimize(source, store).new_bytes == 0


def test_index_files_are_merged_when_they_become_many(store: Path, source: Path) -> None:
    for number in range(20, 34):
        (source / "changing").write_bytes(noise(5000, number))
        assert optimize(source, store, world=LATER).new_bytes > 5000
        assert len(list((store / "index").iterdir())) <= 8
    for number in range(20, 34):
        (source / f"old{number}").write_bytes(noise(5000, number))
    assert optimize(source, store).new_bytes == 0


def test_an_index_of_another_store_or_of_lost_containers_is_thrown_away(
    store: Path, source: Path, tmp_path: Path
) -> None:
    create_store(tmp_path / "other", chunker=SMALL)
    for path in (store / "index").iterdir():
        shutil.copy(path, tmp_path / "other" / "index")
    assert optimize(source, tmp_path / "other").new_bytes > 50_000
    assert verify_store(tmp_path / "other", read_data=True).ok


def test_a_lost_data_container_is_reported_and_its_chunks_are_stored_again(
    store: Path, source: Path
) -> None:
    (container,) = containers(store, "Data")
    container.unlink()
    (source / "copy").write_bytes(noise(10_000, 1))
    report = optimize(source, store)
    assert report.damaged_containers == (f"Data/{container.name}",)
    assert report.new_bytes > 10_000
    assert of_version(store, 3) == of_tree(source)


def test_a_chunk_known_to_be_damaged_is_stored_again_and_heals_its_files(
    store: Path, source: Path
) -> None:
    """Inline maps and maps in parts alike; what is not concerned is not read."""
    (source / "long").write_bytes(noise(60_000, 9))
    optimize(source, store, world=LATER)
    with NativeCatalogue.open(store) as catalogue:
        stubs = {entry.path: parse_stub(entry.stub) for entry in catalogue.entries(3)}
    (container,) = containers(store, "Data")
    for path in (b"file1", b"long"):
        spoil(container, int(rows_of(store, stubs[path])[1]["offset"]) + 100)
    found = verify_store(store, read_data=True)
    assert [damage.path for damage in found.damaged_files if damage.version == 3] == [
        b"file1",
        b"long",
    ]
    note_damage(store, [(1, record.local_id) for record in found.damaged_records])
    report = optimize(source, store, world=LATER)
    assert report.unchanged == report.entries - 2
    assert report.new_chunks == 2
    assert of_version(store, 4) == of_tree(source)
    found = verify_store(store, read_data=True)
    assert {damage.version for damage in found.damaged_files} == {1, 2, 3}


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"[[1]]", b'[["x", 1]]', b"7"])
def test_an_unreadable_note_of_damage_is_as_good_as_none(
    store: Path, source: Path, text: bytes
) -> None:
    (store / "index" / "damaged").write_bytes(text)
    assert optimize(source, store).unchanged == 6


@pytest.mark.parametrize("kind", ["Data", "Stream"])
@pytest.mark.parametrize("where", ["header", "commit", "short"])
def test_a_damaged_container_is_left_alone_and_a_new_one_begun(
    store: Path, source: Path, kind: str, where: str
) -> None:
    (container,) = containers(store, kind)
    if where == "short":
        with container.open("r+b") as stream:
            stream.truncate(container.stat().st_size // 2)
    elif where == "header":
        spoil(container, 200)
    else:
        spoil(container, container.stat().st_size - 4096 * (2 if kind == "Stream" else 1) + 8,
              b"\xa5" * 4000)  # fmt: skip
    before = container.read_bytes()
    (source / "more").write_bytes(noise(10_000, 77))
    report = optimize(source, store)
    assert report.damaged_containers == (f"{kind}/{container.name}",)
    assert container.read_bytes() == before
    assert of_version(store, report.version) == of_tree(source)


def test_a_container_without_header_that_nobody_knows_is_skipped(store: Path, source: Path) -> None:
    (store / "Data" / "000000ff.00000001.rhc").write_bytes(b"never finished")
    (store / "Data" / "notes.txt").touch()
    (source / "more").write_bytes(noise(10_000, 77))
    report = optimize(source, store)
    assert report.damaged_containers == ()
    assert of_version(store, 3) == of_tree(source)
    found = verify_store(store, read_data=True)
    assert found.ok
    assert len(found.notices) == 2


def test_a_container_under_a_wrong_name_is_not_used(store: Path, source: Path) -> None:
    (container,) = containers(store, "Data")
    container.rename(container.with_name("00000063.00000001.rhc"))
    report = optimize(source, store)
    assert report.damaged_containers == (f"Data/{container.name}",)


def test_a_damaged_manifest_is_left_alone_and_nothing_is_cut(store: Path, source: Path) -> None:
    spoil(store / "versions" / "00000002.rhm", 50)
    before = [path.read_bytes() for kind in ("Data", "Stream") for path in containers(store, kind)]
    (source / "more").write_bytes(noise(10_000, 77))
    report = optimize(source, store)
    assert report.version == 3
    after = [path.read_bytes() for kind in ("Data", "Stream") for path in containers(store, kind)]
    assert all(content in after for content in before)
    assert of_version(store, 3) == of_tree(source)
    assert rebuild_store(store).versions == (2,)
    assert verify_store(store, read_data=True).ok


def test_a_damaged_parent_segment_costs_a_reading_of_its_files(store: Path, source: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        row = catalogue.manifest(2).segments[0]
    (container,) = containers(store, "Stream")
    spoil(container, int(row["offset"]) + 500)
    report = optimize(source, store)
    assert report.unchanged < report.entries
    assert of_version(store, 3) == of_tree(source)


def test_an_unreadable_store_is_a_store_error(store: Path, source: Path) -> None:
    def refuse(_fd: int) -> list[str]:
        raise OSError(5, "Input/output error")

    files = BrokenFiles()
    vars(files)["listdir"] = refuse
    with pytest.raises(StoreError, match="Input/output error"):
        optimize(source, store, world=World(files=files))
    with pytest.raises(StoreError, match=r"cannot open .*nowhere"):
        opened_store_of(store, World(files=Refusing()))


class Refusing(BrokenFiles):
    """Opens nothing without a directory to start from."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)["open"] = self.refuse

    @staticmethod
    def refuse(*_: object, **__: object) -> int:
        raise OSError(5, "nowhere")


def opened_store_of(store: Path, world: World) -> None:
    with opened_store(store, world):
        pass


def test_leftovers_are_removed_and_one_that_stays_is_an_error(store: Path, source: Path) -> None:
    (store / "versions" / ".00000003.rhm.new").touch()
    (store / "index" / ".x.new").touch()
    optimize(source, store)
    assert not list(store.glob("*/.*"))
    (store / "versions" / ".00000009.rhm.new").touch()
    with pytest.raises(PublishError, match="cannot remove"):
        optimize(source, store, world=World(files=BrokenFiles(errors=failing("unlink", 1, 5))))


class TestRebuild:
    def test_everything_comes_back_from_the_containers(self, store: Path, source: Path) -> None:
        configuration = (store / "rehydrate-store.json").read_bytes()
        manifests = {path.name: path.read_bytes() for path in (store / "versions").iterdir()}
        (store / "rehydrate-store.json").unlink()
        shutil.rmtree(store / "versions")
        shutil.rmtree(store / "index")
        report = rebuild_store(store)
        assert report.configuration
        assert (report.versions, report.kept, report.unreadable) == ((1, 2), (), {})
        assert (store / "rehydrate-store.json").read_bytes() == configuration
        assert {
            path.name: path.read_bytes() for path in (store / "versions").iterdir()
        } == manifests
        assert of_version(store, 2) == of_tree(source)
        (source / "copy").write_bytes(noise(10_000, 1))
        assert optimize(source, store).new_bytes == 0
        assert verify_store(store, read_data=True).ok

    def test_what_is_whole_is_kept(self, store: Path) -> None:
        report = rebuild_store(store)
        assert not report.configuration
        assert (report.versions, report.kept) == ((), (1, 2))

    @pytest.mark.parametrize("text", [b"{", b"{}"])
    def test_a_damaged_configuration_is_made_again(self, store: Path, text: bytes) -> None:
        before = read_configuration(store)
        (store / "rehydrate-store.json").write_bytes(text)
        assert rebuild_store(store).configuration
        assert read_configuration(store) == before

    def test_manifests_behind_damage_are_found(self, store: Path, source: Path) -> None:
        """The first record of the stream container is lost; its check covers its place only."""
        (container,) = containers(store, "Stream")
        spoil(container, 4096 + 40)
        shutil.rmtree(store / "versions")
        report = rebuild_store(store)
        assert report.versions == (1, 2)
        assert report.damaged_containers == ()

    def test_a_damaged_record_is_no_manifest(self, store: Path) -> None:
        payload = (store / "versions" / "00000001.rhm").read_bytes()[:-32]
        (container,) = containers(store, "Stream")
        spoil(container, container.read_bytes().index(payload) + 30)
        (store / "versions" / "00000001.rhm").write_bytes(b"")
        report = rebuild_store(store)
        assert report.kept == (2,)
        assert list(report.unreadable) == [1]

    def test_a_manifest_without_a_commit_behind_it_does_not_count(self, store: Path) -> None:
        (container,) = containers(store, "Stream")
        with container.open("r+b") as stream:
            stream.truncate(container.stat().st_size - 8)
        shutil.rmtree(store / "versions")
        assert rebuild_store(store).versions == (1,)

    def test_there_must_be_something_to_rebuild_from(self, tmp_path: Path, store: Path) -> None:
        with pytest.raises(StoreError, match="nothing to rebuild from"):
            rebuild_store(tmp_path)
        (tmp_path / "empty" / "Data").mkdir(parents=True)
        with pytest.raises(StoreError, match="no container with a valid header"):
            rebuild_store(tmp_path / "empty")
        create_store(tmp_path / "other")
        shutil.copytree(store / "Data", tmp_path / "other" / "Data", dirs_exist_ok=True)
        assert rebuild_store(tmp_path / "other").configuration
        assert read_configuration(tmp_path / "other") == read_configuration(store)

    def test_containers_of_two_stores_are_not_mixed(
        self, tmp_path: Path, store: Path, source: Path
    ) -> None:
        create_store(tmp_path / "other")
        optimize(source, tmp_path / "other")
        for number, path in enumerate(containers(tmp_path / "other", "Data")):
            (store / "Data" / f"000000{number + 64:02x}.00000001.rhc").write_bytes(
                path.read_bytes()
            )
        report = rebuild_store(store)
        assert not report.configuration
        for path in containers(tmp_path / "other", "Data"):
            path.rename(store / "Data" / path.name)
        with pytest.raises(StoreError, match="belong to several stores"):
            rebuild_store(store)


def test_errors_of_a_catalogue_name_the_place(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        catalogue.manifest(1)
        (containers(store, "Stream")[0]).unlink()
        with pytest.raises(ContainerNotFoundError):
            list(catalogue.entries(1))
    (store / "versions" / "00000001.rhm").write_bytes(b"x" * 100)
    with (
        NativeCatalogue.open(store) as catalogue,
        pytest.raises(FormatError, match=r"00000001\.rhm"),
    ):
        catalogue.versions()
