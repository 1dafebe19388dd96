import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from rehydrate.catalogue.export import export_stubs
from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.catalogue.reading import read_whole
from rehydrate.catalogue.selection import Selection
from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    FormatError,
    PublishError,
    RequestError,
    StoreError,
    StoreReadError,
)
from rehydrate.formats.native.catalogue import (
    encode_manifest,
    seal_manifest,
    tree_key,
)
from rehydrate.formats.native.stub import parse_stub
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store
from rehydrate.protocols import Catalogue
from rehydrate.stores.directory import DirectoryStore
from rehydrate.stores.layout import read_configuration
from rehydrate.values import StorePath


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 2,000 entries: several segments."""
    root = tmp_path_factory.mktemp("source")
    for folder in range(20):
        path = root / f"folder{folder:02d}"
        path.mkdir()
        for number in range(100):
            (path / f"file{number:03d}").touch()
    (root / "folder03.txt").write_bytes(b"not in folder03")
    (root / "link").symlink_to("folder03")
    return root


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "store"
    create_store(path)
    optimize(source, path)
    return path


class Counting(DirectoryStore):
    """Counts reads and bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[tuple[str, int]] = []

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.reads.append((path, size))
        return super().read_backup_file(path, offset, size)


def counting(store: Path) -> tuple[NativeCatalogue, Counting]:
    reader = Counting(store)
    return NativeCatalogue(reader, read_configuration(store)), reader


def test_implements_the_protocol(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        required: Catalogue = catalogue
        assert required.store_id == read_configuration(store).store
        assert catalogue.configuration.store == required.store_id


def test_lists_everything_in_tree_order(store: Path, source: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        entries = list(catalogue.entries(1))
        paths, stubs = catalogue.stubs(1)
    assert [entry.path for entry in entries] == paths
    assert [entry.stub for entry in entries] == stubs
    assert paths == sorted(paths, key=tree_key)
    assert len(paths) == sum(1 for _ in source.rglob("*"))
    assert len(catalogue.manifest(1).segments) > 5


def test_a_prefix_is_the_path_and_what_is_below_it(store: Path) -> None:
    with NativeCatalogue.open(store) as catalogue:
        paths, stubs = catalogue.stubs(1, [b"folder03/"])
        assert paths == [b"folder03", *(b"folder03/file%03d" % n for n in range(100))]
        assert len(stubs) == 101
        assert [e.path for e in catalogue.entries(1, [b"link", b"folder03.txt"])] == [
            b"folder03.txt",
            b"link",
        ]
        assert catalogue.stubs(1, [b"folder3"]) == ([], [])
        twice = catalogue.stubs(1, [b"folder03", b"folder03/file001", b"folder03"])
        assert twice == (paths, stubs)
        assert len(catalogue.stubs(1, [b"folder03", b"/"])[0]) == 2022


def test_single_paths_read_one_segment_each_and_the_manifest_once(store: Path) -> None:
    catalogue, reader = counting(store)
    manifest = catalogue.manifest(1)
    wanted = [b"folder%02d/file050" % number for number in range(0, 20, 4)]
    reader.reads.clear()
    assert catalogue.stubs(1, wanted)[0] == wanted
    assert len(reader.reads) <= len(wanted)
    reader.reads.clear()
    catalogue.stubs(1, [b"folder07"])
    size = sum(int(row["length"]) for row in manifest.segments)
    share = sum(length for _, length in reader.reads) / size
    assert share < 0.05 + 2 / len(manifest.segments)
    reader.close()


def test_versions_are_cached_and_unknown_ones_named(store: Path) -> None:
    catalogue, reader = counting(store)
    assert catalogue.versions() == catalogue.versions()
    assert len(reader.reads) == 1
    with pytest.raises(RequestError, match=r"there is no version 7 .*there are: 1"):
        list(catalogue.entries(7))
    catalogue.close()
    reader.close()


def test_a_directory_that_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no rehydrate store"):
        NativeCatalogue.open(tmp_path)


class Odd:
    """A store of two files that misbehaves."""

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        if path == "gone":
            raise FileNotFoundError(path)
        if path == "bad":
            raise OSError(5, "Input/output error")
        return b"abc"

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        return ["x.rhm", "7.rhm", "\u0661.rhm", "8"]

    def size_of(self, path: StorePath, /) -> int:
        if path == "missing":
            raise FileNotFoundError(path)
        if path == "unseen":
            raise OSError(13, "Permission denied")
        return 0 if path == "empty" else 5


def test_errors_of_a_store_are_typed(store: Path) -> None:
    odd = Odd()
    cases: list[tuple[str, type[Exception]]] = [
        ("gone", ContainerNotFoundError),
        ("missing", ContainerNotFoundError),
        ("bad", StoreReadError),
        ("unseen", StoreReadError),
        ("short", CorruptMetadataError),
    ]
    for path, kind in cases:
        with pytest.raises(kind):
            read_whole(odd, StorePath(path), 100)
    with pytest.raises(CorruptMetadataError, match="larger than 4"):
        read_whole(odd, StorePath("short"), 4)
    assert read_whole(odd, StorePath("empty"), 4) == b""
    assert NativeCatalogue(odd, read_configuration(store)).numbers() == [7]


def test_a_manifest_under_another_number_is_refused(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    (copy / "versions/00000001.rhm").rename(copy / "versions/00000002.rhm")
    with NativeCatalogue.open(copy) as catalogue, pytest.raises(FormatError, match="of version 1"):
        catalogue.manifest(2)


class TestResealed:
    """Manifests that are consistent with themselves and wrong: typed errors, no others."""

    @pytest.fixture
    def copy(self, store: Path, tmp_path: Path) -> Path:
        shutil.copytree(store, tmp_path / "copy")
        return tmp_path / "copy"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("container", 77), ("container", 2), ("container", 0xFFFFFFFF),
            ("generation", 2), ("generation", 0xFFFFFFFF),
            ("offset", 8), ("offset", 1 << 40), ("offset", (1 << 62)),
            ("local_id", 5000), ("length", 80), ("length", 73), ("length", (1 << 20) + 72),
        ],
    )  # fmt: skip
    def test_a_wrong_place_of_a_segment(self, copy: Path, field: str, value: int) -> None:
        with NativeCatalogue.open(copy) as catalogue:
            manifest = catalogue.manifest(1)
        rows = manifest.segments.copy()
        rows[field][1] = value
        payload = encode_manifest(attrs.evolve(manifest, segments=rows))
        (copy / "versions/00000001.rhm").write_bytes(seal_manifest(payload))
        with NativeCatalogue.open(copy) as catalogue, pytest.raises((FormatError, StoreError)):
            list(catalogue.entries(1))

    def test_segments_in_the_wrong_order(self, copy: Path) -> None:
        with NativeCatalogue.open(copy) as catalogue:
            manifest = catalogue.manifest(1)
        rows = manifest.segments.copy()
        rows["digest"][[0, 1]] = rows["digest"][[1, 0]]
        payload = encode_manifest(attrs.evolve(manifest, segments=rows))
        (copy / "versions/00000001.rhm").write_bytes(seal_manifest(payload))
        with NativeCatalogue.open(copy) as catalogue, pytest.raises(FormatError):
            list(catalogue.entries(1))


class TestExport:
    def test_writes_stubs_of_files(self, store: Path, tmp_path: Path) -> None:
        target = tmp_path / "out"
        with NativeCatalogue.open(store) as catalogue:
            selection = Selection.of(["folder03", "folder03.txt", "link", "none"])
            report = export_stubs(catalogue, 1, target, selection=selection)
        assert (report.files, report.directories, report.left) == (101, 1, (b"link",))
        assert report.unmatched == ("none",)
        stub = parse_stub((target / "folder03.txt").read_bytes())
        assert stub.size == 15
        assert stub.store == read_configuration(store).store
        assert (target / "folder03" / "file099").stat().st_mode & 0o777 == 0o600

    def test_parents_are_made_and_whole_versions_are_written(
        self, store: Path, tmp_path: Path
    ) -> None:
        with NativeCatalogue.open(store) as catalogue:
            selection = Selection.of(["folder05/file001", "folder05/file002"])
            assert export_stubs(catalogue, 1, tmp_path / "few", selection=selection).files == 2
            report = export_stubs(catalogue, 1, tmp_path / "all")
        assert (report.files, report.directories) == (2001, 20)

    def test_what_exists_is_not_replaced_and_links_are_not_followed(
        self, store: Path, tmp_path: Path
    ) -> None:
        with NativeCatalogue.open(store) as catalogue:
            one = Selection.of(["folder03.txt"])
            export_stubs(catalogue, 1, tmp_path, selection=one)
            with pytest.raises(PublishError, match="File exists"):
                export_stubs(catalogue, 1, tmp_path, selection=one)
            (tmp_path / "elsewhere").mkdir()
            (tmp_path / "folder03").symlink_to(tmp_path / "elsewhere")
            with pytest.raises(PublishError):
                export_stubs(catalogue, 1, tmp_path, selection=Selection.of(["folder03"]))
            assert list((tmp_path / "elsewhere").iterdir()) == []
            with pytest.raises(PublishError):
                export_stubs(catalogue, 1, tmp_path / "folder03.txt" / "x")

    def test_a_bad_stub_is_a_typed_error(self, store: Path, tmp_path: Path) -> None:
        class Lying(NativeCatalogue):
            def stubs(
                self, version: int, prefixes: Sequence[bytes] = ()
            ) -> tuple[list[bytes], list[bytes]]:
                paths, stubs = super().stubs(version, prefixes)
                return paths, [*stubs[:-1], stubs[-1][:-1]]

        with Lying.open(store) as catalogue, pytest.raises(FormatError):
            export_stubs(catalogue, 1, tmp_path)

    @pytest.mark.parametrize("path", [b"../x", b"/x", b"a//b", b"..", b"a/../../b"])
    def test_a_path_that_leaves_the_target_is_refused(
        self, store: Path, tmp_path: Path, path: bytes
    ) -> None:
        class Lying(NativeCatalogue):
            def stubs(
                self, version: int, prefixes: Sequence[bytes] = ()
            ) -> tuple[list[bytes], list[bytes]]:
                stubs = super().stubs(version, [b"folder03.txt"])[1]
                return [path], stubs

        with Lying.open(store) as catalogue, pytest.raises(PublishError, match="no safe path"):
            export_stubs(catalogue, 1, tmp_path / "target")
        assert uuid.UUID(int=0) != catalogue.store_id
