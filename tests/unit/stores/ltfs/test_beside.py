"""A directory with tapes beside it: what comes from where, in which order, and which copy counts."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehydrate.errors import ContainerNotFoundError, RequestError, RestoreError
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.ltfs.beside import (
    CopiedFiles,
    TapedStore,
    container_folder,
    windows_stores,
)
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import FileExtent, StorePath, store_folder
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

ID = uuid.UUID("11111111-2222-3333-4444-55555555aaaa")
CHUNKS = f"System Volume Information/Dedup/ChunkStore/{{{ID}}}.ddp"


def volume(number: int, files: dict[str, bytes]) -> tuple[LtfsVolume, VolumeWriter]:
    writer = VolumeWriter(number=number, barcode=f"TAPE0{number}")
    for path, data in files.items():
        writer.add(path, data)
    writer.finish()
    return LtfsVolume.read(CountingDrive(writer.partitions)), writer


@contextmanager
def beside(
    folder: Path, *tapes: dict[str, bytes], any_case: bool = False
) -> Iterator[tuple[TapedStore, Library]]:
    made = [volume(number, files) for number, files in enumerate(tapes, 1)]
    volumes = [found for found, _ in made]
    library = Library({writer.barcode: writer.partitions for _, writer in made})
    files = CopiedFiles(volumes, any_case=any_case)
    with DirectoryStore(folder) as store, LtfsStore(volumes, library, catalogue=files) as ltfs:
        yield TapedStore(store, files, ltfs), library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Data").mkdir()
    for name in ("2.rhc", "9.rhc"):
        (tmp_path / "Data" / name).write_bytes(b"here " + name.encode())
    return tmp_path


def test_what_is_in_the_directory_is_read_there_and_first(folder: Path) -> None:
    tape = {f"Data/{number}.rhc": b"tape %d" % number for number in (9, 3, 1)}
    with beside(folder, tape) as (store, library):
        paths = [StorePath(f"Data/{number}.rhc") for number in (1, 2, 3, 9)]
        answer = store.order_containers_restore(paths)
        assert [paths[one.index][5:6] for one in answer] == ["2", "9", "3", "1"]
        for path in paths:
            store.preview_container_read(path, [FileExtent(0, 4)])
        read = [bytes(store.read_backup_file(path, 0, 100)) for path in paths]
        assert read == [b"tape 1", b"here 2.rhc", b"tape 3", b"here 9.rhc"]
        assert store.list_containers(StorePath("Data")) == ["1.rhc", "2.rhc", "3.rhc", "9.rhc"]
        assert [store.size_of(path) for path in paths] == [6, 10, 6, 10]
        assert library.names == ["TAPE01"]
        with pytest.raises(
            ContainerNotFoundError, match="neither in the directory nor on a volume"
        ):
            store.size_of(StorePath("Data/7.rhc"))
        with pytest.raises(ContainerNotFoundError):
            store.read_backup_file(StorePath("Data/7.rhc"), 0, 1)


def test_a_plan_made_before_tells_the_tapes_what_comes(folder: Path) -> None:
    with beside(folder, {"Data/1.rhc": b"a"}, {"Data/3.rhc": b"bb"}) as (store, library):
        store.expect([StorePath(f"Data/{number}.rhc") for number in (2, 3, 1)])
        store.read_backup_file(StorePath("Data/2.rhc"), 0, 1)
        store.order_containers_restore(
            [StorePath("Stream/9.rhc")]
        )  # maps have an order of their own
        store.preview_container_read(StorePath("Data/3.rhc"), [FileExtent(0, 1)])
        assert library.requests[0].wanted_bytes == 2
        assert library.requests[0].containers == 1


def test_the_longest_copy_counts_and_of_equals_the_first(folder: Path) -> None:
    name = "Data/1.rhc"
    for tapes, wanted in (
        (({name: b"aa"}, {name: b"aaa"}), "TAPE02"),
        (({name: b"aaa"}, {name: b"aa"}), "TAPE01"),
        (({name: b"aa"}, {name: b"aa"}), "TAPE01"),
    ):
        with beside(folder, *tapes) as (store, library):
            store.read_backup_file(StorePath(name), 0, 1)
            assert library.names == [wanted]


def test_the_case_of_names_matters_where_it_does(folder: Path) -> None:
    tape = {"DATA/00ab.RHC": b"x", "plain": b"y"}
    with beside(folder, tape, any_case=True) as (store, _):
        assert store.read_backup_file(StorePath("Data/00AB.rhc"), 0, 9) == b"x"
        assert "00ab.RHC" in store.list_containers(StorePath("Data"))
        assert store.list_containers(StorePath("Other/Data")) == []
        with pytest.raises(ContainerNotFoundError):
            store.read_backup_file(StorePath("Data/1.rhc"), 0, 9)
        with pytest.raises(ContainerNotFoundError):
            store.read_backup_file(StorePath("None/1.rhc"), 0, 9)
    with beside(folder, tape) as (store, _), pytest.raises(ContainerNotFoundError):
        store.read_backup_file(StorePath("Data/00AB.rhc"), 0, 9)


def test_there_may_be_tapes_alone(folder: Path) -> None:
    with beside(folder, {"Data/2.rhc": b"tape"}) as (store, _):
        alone = TapedStore(None, store._files, store._tapes)
        assert alone.read_backup_file(StorePath("Data/2.rhc"), 0, 9) == b"tape"
        assert alone.list_containers(StorePath("Data")) == ["2.rhc"]
        assert alone.size_of(StorePath("Data/2.rhc")) == 4
        assert alone.store_id is None


def test_the_folder_is_found_where_only_one_fits() -> None:
    native = volume(1, {"b/s/Data/1.rhc": b"a", "Data/readme": b"x", "b/s/versions/1.rhm": b"z"})[0]
    more = volume(2, {"b/s/Stream/2.rhc": b"a", f"w/{CHUNKS}/Data/1.ccc": b"x"})[0]
    assert container_folder([native, more], None) == "b/s"
    assert container_folder([native, more], "/b/s/") == "b/s"
    assert container_folder([native, more], None, windows=True) == "w"
    assert windows_stores([native, more], "w") == {ID}
    assert windows_stores([native, more], "") == frozenset()
    root = volume(3, {"Data/1.rhc": b"a", f"{CHUNKS.upper()}/DATA/1.CCC": b"x"})[0]
    assert container_folder([root], None) == ""
    assert container_folder([root], None, windows=True) == ""
    assert windows_stores([root], "") == {ID}
    assert store_folder(ID).upper() == CHUNKS.upper()


@pytest.mark.parametrize(
    ("given", "windows", "message"),
    [
        (None, 0, r"containers of a native store .* in '/', 'old': say with --tape-folder"),
        ("new", 0, r"in the folder 'new' of any volume; the volumes have .* in '/', 'old'"),
        (None, 1, "there are no containers of a chunk store of Windows on any volume"),
        ("old", 1, "there are no containers of a chunk store of Windows in the folder 'old'"),
    ],
)
def test_folders_that_are_not_clear_are_told(given: str | None, windows: int, message: str) -> None:
    found = volume(1, {"old/Data/1.rhc": b"a", "Stream/2.rhc": b"b"})[0]
    with pytest.raises(RequestError, match=message) as caught:
        container_folder([found], given, windows=bool(windows))
    assert caught.value.code == "tape.folder"


def test_a_volume_that_is_damaged_fails_in_its_reads_only(folder: Path) -> None:
    with beside(folder, {"Data/1.rhc": b"a" * 9000}) as (store, library):
        library.shelf["TAPE01"] = lambda: None
        with pytest.raises(RestoreError) as caught:
            store.preview_container_read(StorePath("Data/1.rhc"), [FileExtent(0, 1)])
        assert caught.value.code == "tape.refused"
        assert store.read_backup_file(StorePath("Data/2.rhc"), 0, 4) == b"here"
