"""CC-ERR: what comes out when something goes wrong, and what stays as it was."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rehydrate.conformance import FailingStore, MemoryStore, World
from rehydrate.conformance.faults import LIST, ORDER, PREVIEW, READ
from rehydrate.engine.restore import restore_files
from rehydrate.errors import (
    DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS,
    DDP_E_PATH_NOT_FOUND,
    S_FALSE,
    S_OK,
    ChunkMismatchError,
    ContainerNotFoundError,
    FormatError,
    NotReadyError,
    RestoreError,
    ShortReadError,
    StoreContractError,
    StoreError,
    StoreReadError,
    UnsafeTargetError,
)
from rehydrate.requests import RestoreRequest
from rehydrate.results import AtTarget, FileStatus
from rehydrate.staging.root import TargetRoot
from rehydrate.values import StorePath
from tests.conformance.jobs import (
    MAPS,
    OLD,
    ONE,
    TWO,
    Fake,
    Job,
    broken,
    noise,
    one_container,
    ordered,
    prepare,
    run,
    two_containers,
)


def failing_at(world: World, number: int, error: Callable[[], BaseException]) -> Fake:
    """Return a store whose reads of one record fail, always."""
    place = world.data().refs[number].offset

    def read(path: StorePath, offset: int, size: int) -> bytes:
        if path == ONE and offset <= place < offset + size:
            raise error()
        return world.files[path][offset : offset + size]

    return Fake(world.store(), read_backup_file=read)


@pytest.mark.rule("CC-ERR-1")
def test_missing_container_without_listing(tmp_path: Path) -> None:
    world = two_containers()
    del world.files[TWO]
    store = Fake(world.store(), list_containers=None)
    job = run(world, tmp_path, store)
    job.check()
    assert job.failed() == {"two", "both", "mapped"}
    error = job.error_of("two")
    assert isinstance(error, ContainerNotFoundError)
    assert isinstance(error, FileNotFoundError)
    assert error.container == TWO
    assert error.hresult == DDP_E_PATH_NOT_FOUND


@pytest.mark.rule("CC-ERR-1", "CC-PATH-4")
def test_missing_map_container_is_found_in_another_generation(tmp_path: Path) -> None:
    world = two_containers()
    old = world.stream()
    new = world.stream(100, 2)
    for ref in old.refs:
        data = world.files[MAPS][ref.offset + 72 : ref.offset + ref.length]
        new._add(2, data, data, 0)
    world.files[new.path] = new.committed()
    del world.files[MAPS]
    job = run(world, tmp_path)
    job.check()
    assert job.report.ok
    assert [call.path for call in job.store.named(LIST)] == ["Stream"]


class VendorError(Exception):
    """An exception with the attributes that are honoured."""

    def __init__(self, **attributes: object) -> None:
        super().__init__("vendor")
        self.__dict__.update(attributes)


@pytest.mark.rule("CC-ERR-2")
@pytest.mark.parametrize("code", [0x8007001F, -2147024865, 0, 5])
def test_code_of_the_vendor_passes_unchanged(tmp_path: Path, code: int) -> None:
    world = one_container()
    job = run(world, tmp_path, failing_at(world, 1, lambda: VendorError(hresult=code)))
    job.check()
    assert job.failed() == {"f1"}
    error = job.error_of("f1")
    assert isinstance(error, StoreReadError)
    assert error.hresult == code
    assert isinstance(error.__cause__, VendorError)


@pytest.mark.rule("CC-ERR-2")
@pytest.mark.parametrize("code", ["x", None, True, 1.5])
def test_code_that_is_no_number_is_ignored(tmp_path: Path, code: object) -> None:
    world = one_container()
    job = run(world, tmp_path, failing_at(world, 1, lambda: VendorError(hresult=code)))
    error = job.error_of("f1")
    assert isinstance(error, StoreReadError)
    assert error.hresult == StoreReadError.default_hresult


@pytest.mark.rule("CC-ERR-2")
def test_not_found_with_a_code_keeps_it(tmp_path: Path) -> None:
    class GoneError(FileNotFoundError):
        hresult = 0x80310001

    world = one_container()
    job = run(world, tmp_path, FailingStore(world.store(), GoneError, once=False))
    job.check()
    error = job.error_of("f0")
    assert isinstance(error, ContainerNotFoundError)
    assert error.hresult == 0x80310001


@pytest.mark.rule("CC-ERR-3")
@pytest.mark.parametrize(
    ("attributes", "asked"),
    [({"retryable": False}, 1), ({"retryable": True}, 2), ({}, 2), ({"retryable": 0}, 1)],
)
def test_not_retryable_bytes_are_not_asked_for_again(
    tmp_path: Path, attributes: dict[str, object], asked: int
) -> None:
    world = one_container()
    place = world.data().refs[1]
    job = run(world, tmp_path, failing_at(world, 1, lambda: VendorError(**attributes)))
    job.check()
    again = [call for call in job.store.reads if (call.offset, call.size) == (place.offset, 1072)]
    assert len(again) == asked
    error = job.error_of("f1")
    assert isinstance(error, StoreReadError)
    assert error.retryable is (asked == 2)
    if asked == 1:
        covering = [c for c in job.store.reads if c.offset <= place.offset < c.offset + c.size]
        assert len(covering) == 1


KINDS = [
    OSError(5, "medium"),
    ValueError("x"),
    StopIteration(3),
    StopAsyncIteration(),
    KeyError("k"),
    RecursionError(),
    MemoryError(),
    AssertionError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "y"),
    ExceptionGroup("several", [ValueError(), OSError()]),
    NotImplementedError(),
    TimeoutError(),
    RuntimeError("generator raised StopIteration"),
]


@pytest.mark.rule("CC-ERR-4")
@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("jobs", [1, 3])
def test_any_exception_of_a_read_costs_its_files_only(
    tmp_path: Path, error: Exception, jobs: int
) -> None:
    world = one_container()
    store = failing_at(world, 2, lambda: error)
    job = run(world, tmp_path, Fake(store, concurrent_reads=jobs), jobs=jobs)
    job.check()
    assert job.failed() == {"f2"}
    found = job.error_of("f2")
    assert isinstance(found, StoreReadError)
    assert found.__cause__ is error
    assert (found.container, found.file) == (ONE, "f2")


@pytest.mark.rule("CC-ERR-4")
@pytest.mark.parametrize(
    "error",
    [
        NotReadyError("later"),
        ShortReadError("short", wanted=5, got=1, container=ONE, offset=0),
        StoreReadError("own words", code="vendor.own"),
        ContainerNotFoundError("not here"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_store_errors_pass_as_they_are(tmp_path: Path, error: StoreError) -> None:
    world = one_container()
    job = run(world, tmp_path, failing_at(world, 0, lambda: error))
    job.check()
    found = job.error_of("f0")
    assert type(found) is type(error)
    assert isinstance(found, StoreError)
    assert found.code == error.code


@pytest.mark.rule("CC-ERR-4")
@pytest.mark.parametrize(
    "error",
    [FormatError("x"), UnsafeTargetError("x"), ChunkMismatchError("x", retryable=False)],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_other_sides_out_of_a_store_are_the_stores(
    tmp_path: Path, error: RestoreError
) -> None:
    world = one_container()
    job = run(world, tmp_path, failing_at(world, 0, lambda: error))
    job.check()
    assert job.failed() == {"f0"}
    found = job.error_of("f0")
    assert isinstance(found, StoreReadError)
    assert found.__cause__ is error


@pytest.mark.rule("CC-ERR-4", "CC-PHASE-5")
def test_failure_that_passes_is_repaired(tmp_path: Path) -> None:
    world = two_containers()
    for at in range(7):
        store = FailingStore(world.store(), lambda: OSError("flaky"), at=at)
        job = run(world, tmp_path / str(at), store)
        job.check()
        assert job.report.ok
        assert store.seen > at


@pytest.mark.rule("CC-ERR-5")
@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
@pytest.mark.parametrize("name", [ORDER, PREVIEW, READ, LIST])
@pytest.mark.parametrize("jobs", [1, 3])
def test_exits_come_out_unchanged_and_staging_is_closed(
    tmp_path: Path, kind: type[BaseException], name: str, jobs: int
) -> None:
    world = two_containers()
    good = dict(world.files)
    broken(world, ONE, world.data(1).refs[0].offset + 90)
    prepare(world, tmp_path)
    raised = kind("of the vendor")
    inner = Fake(
        ordered(world, lambda containers: None),
        preview_container_read=lambda path, reads: None,
        concurrent_reads=jobs,
    )
    store = FailingStore(inner, lambda: raised, at=0 if name == LIST else 1, names=(name,))
    with pytest.raises(kind) as caught:
        run(world, tmp_path, store, jobs=jobs)
    assert caught.value is raised
    for target, data in world.expected.items():
        assert (tmp_path / target).read_bytes() in (OLD, data)
    # The workspace is unlocked and the same call goes on.
    world.files.update(good)
    again = run(world, tmp_path, old=False)
    assert again.report.ok


@pytest.mark.rule("CC-ERR-6")
def test_results_stand_in_the_order_of_the_requests_and_say_what_is_there(tmp_path: Path) -> None:
    world = two_containers()
    broken(world, TWO, world.data(2).refs[0].offset + 1000)
    stub = bytearray(world.requests[0].stub)
    stub[-1] ^= 1
    requests = [
        RestoreRequest(bytes(stub), "bad-stub"),
        *world.requests,
        RestoreRequest(b"no stub at all", "plain"),
        RestoreRequest(world.requests[0].stub, "../outside"),
        RestoreRequest(bytes(stub), "new-bad-stub"),
    ]
    prepare(world, tmp_path)
    for name in ("bad-stub", "plain"):
        (tmp_path / name).write_bytes(OLD)
    job = run(world, tmp_path, requests=requests, old=False)
    results = list(job.report.results)
    assert [result.index for result in results] == list(range(len(requests)))
    assert [result.target for result in results] == [
        "bad-stub", "one", "two", "both", "mapped", "plain", "../outside", "new-bad-stub"
    ]  # fmt: skip
    there = {result.target: result.at_target for result in results}
    assert there == {
        "bad-stub": AtTarget.OLD,
        "one": AtTarget.NEW,
        "two": AtTarget.OLD,
        "both": AtTarget.NEW,
        "mapped": AtTarget.NEW,
        "plain": AtTarget.OLD,
        "../outside": AtTarget.ABSENT,
        "new-bad-stub": AtTarget.ABSENT,
    }
    for name in ("bad-stub", "plain", "two"):
        assert (tmp_path / name).read_bytes() == OLD
    with pytest.raises(ExceptionGroup) as caught:
        job.report.raise_for_failures()
    assert len(caught.value.exceptions) == 4


@pytest.mark.rule("CC-ERR-7")
def test_all_restored_or_nothing_to_do_is_s_ok(tmp_path: Path) -> None:
    world = two_containers()
    assert run(world, tmp_path).report.hresult == S_OK
    again = run(world, tmp_path, old=False)
    assert set(again.report.counts) == {FileStatus.SKIPPED_SAME}
    assert again.report.hresult == S_OK
    assert again.store.reads == []
    assert run(world, tmp_path, requests=[]).report.hresult == S_OK


@pytest.mark.rule("CC-ERR-8")
def test_some_failed_is_partial_success(tmp_path: Path) -> None:
    world = two_containers()
    del world.files[TWO]
    assert run(world, tmp_path).report.hresult == DDP_E_JOB_COMPLETED_PARTIAL_SUCCESS


@pytest.mark.rule("CC-ERR-8")
def test_none_restored_is_the_error_of_the_first(tmp_path: Path) -> None:
    world = one_container()
    store = FailingStore(world.store(), lambda: VendorError(hresult=0x8007045D), once=False)
    job = run(world, tmp_path, store)
    assert job.report.hresult == 0x8007045D


@pytest.mark.rule("CC-ERR-9")
def test_nothing_deduplicated_is_s_false_without_a_call(tmp_path: Path) -> None:
    world = World()
    requests = [RestoreRequest(data, f"f{len(data)}") for data in (b"", b"x" * 10, b"y" * 999)]
    job = run(world, tmp_path, MemoryStore({}), requests=requests)
    assert job.report.counts == {FileStatus.NOT_DEDUPLICATED: 3}
    assert job.report.hresult == S_FALSE
    assert job.report.ok
    assert job.store.calls == []


@pytest.mark.rule("CC-ERR-9")
def test_some_not_deduplicated_is_no_failure(tmp_path: Path) -> None:
    world = one_container(1)
    job = run(world, tmp_path, requests=[*world.requests, RestoreRequest(b"plain", "plain")])
    assert job.report.hresult == S_OK
    assert job.report.ok


class Declares:
    """A store with declarations that may raise."""

    def __init__(self, **values: object) -> None:
        self._values = values

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        raise AssertionError("no call may be made")

    def __getattr__(self, name: str) -> object:
        value = self.__dict__["_values"].get(name, AttributeError(name))
        if isinstance(value, Exception):
            raise value
        return value


@pytest.mark.rule("CC-ERR-10")
@pytest.mark.parametrize(
    "values",
    [
        {"concurrent_reads": 0},
        {"concurrent_reads": -1},
        {"concurrent_reads": True},
        {"concurrent_reads": 2.0},
        {"concurrent_reads": 10**6},
        {"max_gap": -1},
        {"max_gap": "4096"},
        {"max_read": 0},
        {"max_read": 2**31},
        {"concurrent_reads": ZeroDivisionError()},
        {"read_timeout": ZeroDivisionError()},
        {"order_containers_restore": ZeroDivisionError()},
        {"store_id": ZeroDivisionError()},
    ],
    ids=str,
)
def test_bad_declaration_is_a_contract_error_before_any_call(
    tmp_path: Path, values: dict[str, object]
) -> None:
    world = one_container()
    (name,) = values
    with pytest.raises(StoreContractError, match=name):
        run(world, tmp_path, Declares(**values))


@pytest.mark.rule("CC-ERR-10")
def test_store_that_cannot_read_is_a_contract_error(tmp_path: Path) -> None:
    class Nothing:
        read_backup_file = None

    with pytest.raises(StoreContractError, match="read_backup_file"):
        run_bare(one_container(), tmp_path, Nothing())


def run_bare(world: World, out: Path, store: object) -> object:
    with TargetRoot(out) as root:
        return restore_files(world.requests, store, root)  # type: ignore[arg-type] # wrong on purpose


def damage_each(world: World) -> Sequence[tuple[StorePath, int]]:
    return [
        (path, offset)
        for path, builder in ((ONE, world.data(1)), (MAPS, world.stream()))
        for ref in builder.refs[:1]
        for offset in range(ref.offset, ref.offset + ref.length, 13)
    ]


@pytest.mark.rule("CC-ERR-11")
def test_flipped_byte_costs_only_files_that_need_it_or_nothing(tmp_path: Path) -> None:
    world = two_containers()
    good = dict(world.files)
    for number, (path, offset) in enumerate(damage_each(world)):
        world.files = dict(good)
        broken(world, path, offset)
        job = run(world, tmp_path / str(number))
        job.check()
        allowed = {"one", "mapped"} if path == ONE else {"mapped"}
        assert job.failed() <= allowed
        for name in job.failed():
            assert isinstance(job.error_of(name), FormatError)


@pytest.mark.rule("CC-ERR-11")
def test_error_of_a_shared_record_names_each_file(tmp_path: Path) -> None:
    world = World()
    chunk = world.chunk(noise(5))
    for name in ("a", "b", "c"):
        world.file(name, [chunk])
    world.seal()
    broken(world, ONE, chunk.offset + 100)
    job: Job = run(world, tmp_path)
    job.check()
    assert [getattr(job.error_of(name), "file", None) for name in "abc"] == ["a", "b", "c"]
