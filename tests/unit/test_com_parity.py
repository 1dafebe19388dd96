"""The pages about COM tell the truth: result codes as they come out, and a port that works."""

import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import pytest

from rehydrate import errors, requests
from rehydrate.conformance import MemoryStore, RecordingStore, World
from rehydrate.conformance.faults import ORDER
from rehydrate.conformance.kit import StoreConformance
from rehydrate.engine.restore import restore_files
from rehydrate.errors import (
    Cancelled,
    ChunkMismatchError,
    RequestError,
    RestoreError,
    StoreContractError,
)
from rehydrate.protocols import BackupStore
from rehydrate.requests import RestoreOptions, RestoreRequest, TargetIdentity
from rehydrate.results import AtTarget, FileResult, FileStatus, RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.values import MAX_OFFSET, ContainerExtent, FileExtent, StoreId, StorePath, as_windows
from tests.windows_store.damage import flip, reseal_stub
from tests.windows_store.store import WindowsStore

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs" / "reference" / "com-parity.md").read_text("utf-8")
GUIDE = (TREE / "docs" / "how-to" / "port-a-com-callback.md").read_text("utf-8")
CONTAINER = StorePath("Data/00000001.00000001.rhc")


def rows_below(first_cell: str, text: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with a cell."""
    found = re.search(
        rf"^\| {re.escape(first_cell)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    assert found is not None, first_cell
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines()]


@attrs.frozen
class CodeRow:
    """A row of the table of result codes."""

    name: str
    value: int
    classes: frozenset[str]
    codes: frozenset[str]


def code_rows() -> list[CodeRow]:
    return [
        CodeRow(
            name.strip("`"),
            int(value.strip("`"), 16),
            frozenset(re.findall(r"~rehydrate\.(\w+)`", classes)),
            frozenset(re.findall(r"`([\w.-]+)`", codes)),
        )
        for name, value, _, classes, codes in rows_below("result code", PAGE)
    ]


def constants() -> dict[str, int]:
    found = {name: getattr(errors, name) for name in errors.__all__}
    return {name: value for name, value in found.items() if type(value) is int}


CLASSES: Final = {
    name: found
    for name in errors.__all__
    if isinstance(found := getattr(errors, name), type) and issubclass(found, RestoreError)
}


def test_page_names_every_result_code_with_its_value_once() -> None:
    rows = code_rows()
    assert len({row.name for row in rows}) == len({row.value for row in rows}) == len(rows)
    assert {row.name: row.value for row in rows} == constants()


def test_page_gives_every_class_of_error_its_result_code() -> None:
    named = [(name, row.value) for row in code_rows() for name in row.classes]
    assert len(named) == len(CLASSES)
    assert dict(named) == {name: found.default_hresult for name, found in CLASSES.items()}


def test_page_gives_codes_of_errors_their_result_code() -> None:
    named = {code: row.value for row in code_rows() for code in row.codes}
    assert named == dict(errors.HRESULT_OF_CODE)
    for code, value in named.items():
        assert RestoreError("m", code=code).hresult == value


STATUSES: Final = (
    FileStatus.RESTORED,
    FileStatus.SKIPPED_SAME,
    FileStatus.NOT_DEDUPLICATED,
    FileStatus.FAILED,
    FileStatus.CANCELLED,
)


def report_of(counts: list[int]) -> RestoreReport:
    statuses = [
        status for status, count in zip(STATUSES, counts, strict=True) for _ in range(count)
    ]
    made: Mapping[FileStatus, Callable[[], RestoreError]] = {
        FileStatus.FAILED: lambda: ChunkMismatchError("bad"),
        FileStatus.CANCELLED: Cancelled,
    }
    return RestoreReport(
        targets=[b"f%d" % number for number in range(len(statuses))],
        statuses=np.array(statuses, np.uint8),
        at_targets=np.zeros(len(statuses), np.uint8),
        sizes=np.zeros(len(statuses), np.int64),
        errors={index: made[status]() for index, status in enumerate(statuses) if status in made},
    )


@pytest.mark.parametrize("row", rows_below("restored", PAGE), ids=" ".join)
def test_code_of_the_whole_call_is_the_one_of_the_page(row: list[str]) -> None:
    *counts, said = row
    report = report_of([int(count) for count in counts])
    if said == "the code of the first failed request":
        assert report.hresult == errors.DDP_E_FILE_CORRUPT
    else:
        assert report.hresult == constants()[said.strip("`")]


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (FileStatus.RESTORED, None, errors.S_OK),
        (FileStatus.RESTORED, errors.PublishError("no mode"), errors.S_OK),
        (FileStatus.SKIPPED_SAME, None, errors.S_OK),
        (FileStatus.NOT_DEDUPLICATED, None, errors.S_FALSE),
        (FileStatus.FAILED, ChunkMismatchError("bad"), errors.DDP_E_FILE_CORRUPT),
        (FileStatus.CANCELLED, Cancelled(), errors.E_CANCELLED),
        (FileStatus.FAILED, None, errors.DDP_E_UNEXPECTED),
    ],
    ids=str,
)
def test_code_of_a_file_is_that_of_its_status_and_error(
    status: FileStatus, error: RestoreError | None, expected: int
) -> None:
    assert FileResult(0, "f", status, AtTarget.OLD, 1, error).hresult == expected


# What comes out of whole jobs.


def small_world() -> World:
    world = World()
    for name in ("a", "b"):
        world.file(name, [world.chunk(name.encode() * 1000)])
    return world.seal()


def job(
    folder: Path,
    change: Callable[[World], BackupStore | Mapping[StoreId, BackupStore] | None],
) -> RestoreReport:
    world = small_world()
    changed = change(world)
    store = MemoryStore(world.files) if changed is None else changed
    with TargetRoot(folder) as root:
        return restore_files(world.requests, store, root, options=RestoreOptions(jobs=1))


def without_container(world: World) -> None:
    del world.files[CONTAINER]


def with_damage(world: World) -> None:
    data = bytearray(world.files[CONTAINER])
    for ref in world.data().refs:
        data[ref.offset + ref.length - 1] ^= 1
    world.files[CONTAINER] = bytes(data)


def cut_short(world: World) -> None:
    world.files[CONTAINER] = world.files[CONTAINER][:-1000][: world.data().refs[0].offset + 10]


class Raises(MemoryStore):
    """A store whose reads raise."""

    def __init__(self, error: Exception) -> None:
        super().__init__({})
        self._error = error

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda _: None, "S_OK"),
        (without_container, "DDP_E_PATH_NOT_FOUND"),
        (with_damage, "DDP_E_FILE_CORRUPT"),
        (cut_short, "DDP_E_INVALID_DATA"),
        (lambda _: {}, "DDP_E_NOT_FOUND"),
        (lambda _: Raises(ZeroDivisionError()), "DDP_E_UNEXPECTED"),
        (lambda _: Raises(errors.NotReadyError()), "E_NOT_READY"),
        (lambda _: Raises(Cancelled()), "E_CANCELLED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_result_code_of_a_job(
    tmp_path: Path, change: Callable[[World], BackupStore | None], name: str
) -> None:
    assert f"0x{job(tmp_path, change).hresult:08X}" == f"0x{constants()[name]:08X}"


def test_code_of_a_target_that_must_not_change_is_access_denied(tmp_path: Path) -> None:
    world = small_world()
    (tmp_path / "a").write_bytes(b"old")
    identity = TargetIdentity(device=0, inode=0, size=0, mtime_ns=0, ctime_ns=0)
    request = RestoreRequest(world.requests[0].stub, "a", replaces=identity)
    with TargetRoot(tmp_path) as root:
        report = restore_files([request], world.store(), root)
    assert report.hresult == errors.E_ACCESSDENIED
    assert (tmp_path / "a").read_bytes() == b"old"


def test_target_outside_is_an_invalid_argument(tmp_path: Path) -> None:
    world = small_world()
    with TargetRoot(tmp_path) as root:
        request = RestoreRequest(world.requests[0].stub, "../x")
        report = restore_files([request], world.store(), root)
    assert report.hresult == errors.E_INVALIDARG


def test_nothing_that_is_a_stub_is_s_false(tmp_path: Path) -> None:
    with TargetRoot(tmp_path) as root:
        report = restore_files([RestoreRequest(b"no stub", "x")], MemoryStore({}), root)
    assert report.hresult == errors.S_FALSE


def test_more_files_than_com_takes_are_one_call(tmp_path: Path) -> None:
    with TargetRoot(tmp_path) as root:
        many = (RestoreRequest(b"no stub", f"f{number}") for number in range(10_001))
        assert len(restore_files(many, MemoryStore({}), root)) == 10_001


def test_flags_are_the_ones_of_the_header_and_one_is_refused() -> None:
    assert requests.DEDUP_RECONSTRUCT_UNOPTIMIZED == 1
    assert RestoreOptions().flags == 1
    for flags in (0, requests.DEDUP_RECONSTRUCT_OPTIMIZED, 3):
        with pytest.raises(RequestError):
            RestoreOptions(flags=flags)


def test_structures_have_the_fields_of_the_page_in_its_order() -> None:
    rows = {row[0]: row[1:] for row in rows_below("COM", PAGE.partition("## Structures")[2])}
    extent, read = rows["`DEDUP_CONTAINER_EXTENT`"], rows["`DDP_FILE_EXTENT`"]
    assert re.findall(r"\w+", extent[0]) == ["ContainerIndex", "StartOffset", "Length"]
    assert re.findall(r"\w+", read[0]) == ["Length", "Offset"]
    ours = [[field.name for field in attrs.fields(kind)] for kind in (ContainerExtent, FileExtent)]
    assert ours == [["index", "offset", "length"], ["offset", "length"]]
    assert ours[0] == re.findall(r"`(\w+)`", extent[2])
    assert ours[1] == re.findall(r"`(\w+)`", read[2])
    by_position: Callable[..., object] = ContainerExtent
    with pytest.raises(TypeError):
        by_position(0, 0, 1)


# The porting guide.


@pytest.fixture(scope="session")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """The names that the code of the page defines."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    module = tmp_path_factory.mktemp("guide") / "ported.py"
    module.write_text("\n\n".join(blocks), "utf-8")
    return runpy.run_path(str(module))


def on_medium(containers: Mapping[StorePath, bytes], folder: Path) -> dict[str, Path]:
    """Write containers to files; return them by the names of COM, in another case."""
    files = {}
    for number, (path, data) in enumerate(containers.items()):
        file = folder / f"{number}.bin"
        file.write_bytes(data)
        files[as_windows(path).lower()] = file
    return files


def ported(guide: Mapping[str, object], files: Mapping[str, Path]) -> BackupStore:
    make = guide["PortedCallback"]
    assert callable(make)
    store: BackupStore = make(files)
    return store


class TestPortedCallback(StoreConformance):
    """The class of the page passes the kit."""

    @pytest.fixture(autouse=True)
    def _bind(self, guide: Mapping[str, object]) -> Iterator[None]:
        self._guide = guide
        self._files: dict[str, Path] = {}
        yield
        self._files.clear()

    def make_store(self, containers: Mapping[StorePath, bytes], folder: Path) -> BackupStore:
        self._files = on_medium(containers, folder)
        return ported(self._guide, self._files)

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        del store
        return self._files[as_windows(path).lower()].read_bytes()

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        del store
        self._files[as_windows(path).lower()].unlink()


def test_call_of_the_guide_restores_and_returns_the_code_of_com(
    tmp_path: Path, guide: Mapping[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    world = small_world()
    medium, out = tmp_path / "medium", tmp_path / "out"
    medium.mkdir()
    store = ported(guide, on_medium(world.files, medium))
    restore = guide["restore"]
    assert callable(restore)
    stubs = {str(request.target): request.stub for request in world.requests}
    out.mkdir()
    assert restore(stubs, store, out).hresult == errors.S_OK
    assert (out / "a").read_bytes() == b"a" * 1000
    assert getattr(store, "reads_ahead", 0) > 0
    other = ported(guide, {})
    (out / "a").write_bytes(b"old")
    assert restore({"a": stubs["a"]}, other, out).hresult == errors.DDP_E_PATH_NOT_FOUND
    assert capsys.readouterr().out.startswith("a: 0x80565304 ")
    assert (out / "a").read_bytes() == b"old"


# The same out of Windows stores, which is where the codes come from.


@attrs.frozen
class Windows:
    """A Windows store in memory with two files in one Data container."""

    containers: dict[StorePath, bytes]
    stubs: list[bytes]
    chunks: list[int]

    def path(self, folder: str) -> StorePath:
        (path,) = (path for path in self.containers if f"/{folder}/" in path)
        return path

    def spoil(self, folder: str, *places: int) -> None:
        path = self.path(folder)
        for place in places:
            self.containers[path] = flip(self.containers[path], place)


def windows_store(stub: str = "2.1") -> Windows:
    store = WindowsStore()
    files = [store.add_file(bytes([seed]) * 40_000 + b"end", stub=stub) for seed in (1, 2)]
    return Windows(
        containers={StorePath(path): data for path, data in store.as_mapping().items()},
        stubs=[file.stub for file in files],
        chunks=[file.chunks[0].offset for file in files],
    )


def without_data(windows: Windows) -> None:
    del windows.containers[windows.path("Data")]


def without_maps(windows: Windows) -> None:
    del windows.containers[windows.path("Stream")]


def with_bad_chunks(windows: Windows) -> None:
    windows.spoil("Data", *(place + 0x58 for place in windows.chunks))


def with_one_bad_chunk(windows: Windows) -> None:
    windows.spoil("Data", windows.chunks[1] + 0x58)


def with_bad_stubs(windows: Windows) -> None:
    windows.stubs[:] = [flip(stub, 0x40) for stub in windows.stubs]


def with_stubs_of_tomorrow(windows: Windows) -> None:
    windows.stubs[:] = [reseal_stub(flip(stub, 8, 6)) for stub in windows.stubs]


def with_stubs_of_another_filter(windows: Windows) -> None:
    windows.stubs[:] = [flip(stub, 0) for stub in windows.stubs]


WINDOWS_CASES: Final = [
    (lambda _: None, "S_OK"),
    (without_data, "DDP_E_PATH_NOT_FOUND"),
    (without_maps, "DDP_E_PATH_NOT_FOUND"),
    (with_bad_chunks, "DDP_E_FILE_CORRUPT"),
    (with_one_bad_chunk, "DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS"),
    (with_bad_stubs, "DDP_E_FILE_CORRUPT"),
    (with_stubs_of_tomorrow, "DDP_E_INVALID_DATA"),
    (with_stubs_of_another_filter, "S_FALSE"),
]


@pytest.mark.parametrize(("change", "name"), WINDOWS_CASES)
def test_result_code_of_a_job_on_a_windows_store(
    tmp_path: Path, change: Callable[[Windows], None], name: str
) -> None:
    windows = windows_store()
    change(windows)
    requests = [RestoreRequest(stub, str(at)) for at, stub in enumerate(windows.stubs)]
    with TargetRoot(tmp_path) as root:
        report = restore_files(requests, MemoryStore(windows.containers), root)
    assert f"0x{report.hresult:08X}" == f"0x{constants()[name]:08X}"


def test_windows_files_of_one_call_are_two_order_calls_with_paths_of_com(
    tmp_path: Path, guide: Mapping[str, object]
) -> None:
    windows = windows_store()
    medium = tmp_path / "medium"
    medium.mkdir()
    files = on_medium(windows.containers, medium)
    assert {name.rpartition("\\chunkstore\\")[0] for name in files} == {
        "\\system volume information\\dedup"
    }
    store = RecordingStore(ported(guide, files))
    requests = [RestoreRequest(stub, str(at)) for at, stub in enumerate(windows.stubs)]
    (tmp_path / "out").mkdir()
    with TargetRoot(tmp_path / "out") as root:
        report = restore_files(requests, store, root)
    assert report.hresult == errors.S_OK
    assert len(store.named(ORDER)) == report.counters.order_calls == 2
    assert (tmp_path / "out" / "1").read_bytes() == b"\2" * 40_000 + b"end"


def test_order_of_the_guide_is_in_two_passes_to_the_end(
    tmp_path: Path, guide: Mapping[str, object]
) -> None:
    store = ported(guide, on_medium({CONTAINER: bytes(1000)}, tmp_path))
    order = getattr(store, "order_containers_restore", None)
    assert callable(order)
    assert order([StorePath("Data/gone"), CONTAINER]) == [
        ContainerExtent(index=1, offset=0, length=100),
        ContainerExtent(index=1, offset=100, length=MAX_OFFSET),
    ]


def test_failure_of_the_medium_keeps_its_code(tmp_path: Path, guide: Mapping[str, object]) -> None:
    world = small_world()
    (tmp_path / "out").mkdir()
    store = ported(guide, {as_windows(path): tmp_path for path in world.files})
    with TargetRoot(tmp_path / "out") as root:
        report = restore_files(world.requests, store, root)
    assert report.hresult == 0x8007001E


def test_half_covered_container_is_raised_with_its_code(tmp_path: Path) -> None:
    class Half(MemoryStore):
        def order_containers_restore(self, containers: object, /) -> list[ContainerExtent]:
            del containers
            return [ContainerExtent(index=0, length=1)]

    with pytest.raises(StoreContractError) as caught:
        job(tmp_path, lambda world: Half(world.files))
    assert caught.value.hresult == errors.E_INVALIDARG
