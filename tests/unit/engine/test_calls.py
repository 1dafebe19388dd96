"""The seam to foreign code: what is bound, what is asked, and what an answer may be."""

import uuid
from collections.abc import Iterator, Sequence

import pytest

from rehydrate.conformance import MemoryStore, RecordingStore, World
from rehydrate.engine.calls import ObserverCalls, StoreCalls, attempt, declared_store
from rehydrate.engine.random_access import read_range
from rehydrate.errors import (
    Cancelled,
    ContainerNotFoundError,
    NotReadyError,
    ShortReadError,
    StoreContractError,
    StoreReadError,
)
from rehydrate.results import Notice, RestoreEvent
from rehydrate.values import ContainerExtent, FileExtent, StorePath

PATH = StorePath("Data/x")


def store(**methods: object) -> MemoryStore:
    """Return a small store with more or other attributes."""
    found = MemoryStore({PATH: bytes(range(100))})
    found.__dict__.update(methods)
    return found


def test_least_store_has_the_defaults() -> None:
    calls = StoreCalls(store())
    assert (calls.concurrent_reads, calls.max_gap, calls.max_read) == (1, 4096, 8 << 20)
    assert calls.read_timeout == 300
    assert not calls.reads_into
    assert calls.order([PATH], 10) is None
    assert calls.preview(PATH, [FileExtent(0, 1)]) is None


def test_wrapper_that_hands_attributes_through_has_the_methods_of_the_inner_store() -> None:
    inner = store(
        max_gap=7,
        max_read=8,
        concurrent_reads=2,
        read_timeout=None,
        order_containers_restore=lambda containers: [ContainerExtent(index=0)],
    )
    calls = StoreCalls(RecordingStore(inner))
    assert (calls.concurrent_reads, calls.max_gap, calls.max_read) == (2, 7, 8)
    assert calls.read_timeout is None
    assert calls.order([PATH], 10) == [ContainerExtent(index=0)]


def test_attributes_that_cannot_be_called_are_no_methods() -> None:
    calls = StoreCalls(store(order_containers_restore=5, preview_container_read=None))
    assert calls.order([PATH], 10) is None
    assert calls.preview(PATH, ()) is None


def test_attempt_passes_what_is_no_exception() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted)
    assert isinstance(attempt(int, "x"), ValueError)
    assert attempt(int, "5") == 5


def test_order_takes_one_more_than_is_allowed_and_no_more() -> None:
    taken = []

    def endless(containers: Sequence[StorePath]) -> Iterator[ContainerExtent]:
        while True:
            taken.append(1)
            yield ContainerExtent(index=0)

    answer = StoreCalls(store(order_containers_restore=endless)).order([PATH], 5)
    assert answer is not None
    assert len(answer) == len(taken) == 6


@pytest.mark.parametrize("answer", [5, object(), 1.5])
def test_order_answer_that_is_no_iterable(answer: object) -> None:
    calls = StoreCalls(store(order_containers_restore=lambda containers: answer))
    with pytest.raises(StoreContractError, match=type(answer).__name__):
        calls.order([PATH], 5)


def test_cancelled_out_of_the_answer_of_an_order_call() -> None:
    def answer(containers: Sequence[StorePath]) -> Iterator[ContainerExtent]:
        yield ContainerExtent(index=0)
        raise Cancelled

    with pytest.raises(Cancelled):
        StoreCalls(store(order_containers_restore=answer)).order([PATH], 5)


@pytest.mark.parametrize(
    ("given", "waits"),
    [(5, 5.0), (2.5, 2.5), (-1, 0.0), (float("nan"), 0.0), (float("inf"), 0.0), ("5", 0.0)],
)
def test_delay_of_a_preview(given: float, waits: float) -> None:
    def preview(path: StorePath, reads: object) -> None:
        raise NotReadyError(retry_after=given)

    calls = StoreCalls(store(preview_container_read=preview))
    with pytest.raises(NotReadyError) as caught:
        calls.preview(PATH, ())
    assert caught.value.retry_after == waits


@pytest.mark.parametrize("room", [None, bytearray(200)], ids=["no-room", "room"])
@pytest.mark.parametrize("most", [100, 7, 30])
def test_read_gives_exactly_the_bytes(room: bytearray | None, most: int) -> None:
    data = bytes(range(100))

    def read(path: StorePath, offset: int, size: int) -> bytearray:
        return bytearray(data[offset : offset + min(size, most)])

    calls = StoreCalls(store(read_backup_file=read))
    size = min(60, most * 5)
    assert bytes(calls.read(PATH, 20, size, room)) == data[20 : 20 + size]
    assert calls.reads_made == -(-size // most)


def test_short_read_says_what_came_and_where() -> None:
    with pytest.raises(ShortReadError) as caught:
        StoreCalls(store()).read(PATH, 90, 20, bytearray(20))
    error = caught.value
    assert (error.container, error.offset, error.wanted, error.got) == (PATH, 90, 20, 10)


def test_missing_container() -> None:
    with pytest.raises(ContainerNotFoundError) as caught:
        StoreCalls(store()).read(StorePath("Data/y"), 0, 5, None)
    assert caught.value.container == "Data/y"


def test_method_that_is_called_again_gives_a_fresh_place_to_a_shared_error() -> None:
    shared = StoreReadError("always the same object")

    def read(path: StorePath, offset: int, size: int) -> bytes:
        raise shared

    calls = StoreCalls(store(read_backup_file=read))
    seen = []
    for path in (PATH, StorePath("Data/z")):
        with pytest.raises(StoreReadError) as caught:
            calls.read(path, 0, 5, None)
        seen.append(caught.value.container)
    assert seen == [PATH, "Data/z"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["a", b"b", 5, "c"], ("a", "c")), ((), ()), (iter(["x"]), ("x",)), (5, ())],
)
def test_listing_keeps_names(names: object, expected: tuple[str, ...]) -> None:
    calls = StoreCalls(store(list_containers=lambda folder: names))
    assert calls.list_folder(StorePath("Data")) == expected


def test_store_without_a_listing_has_empty_folders() -> None:
    assert StoreCalls(store(list_containers=None)).list_folder(StorePath("Data")) == ()


def test_cancelled_out_of_a_listing() -> None:
    def listing(folder: StorePath) -> list[str]:
        raise Cancelled

    with pytest.raises(Cancelled):
        StoreCalls(store(list_containers=listing)).list_folder(StorePath("Data"))


def test_declared_store() -> None:
    identity = uuid.uuid4()
    assert declared_store(store()) is None
    assert declared_store(store(store_id=identity)) == identity
    with pytest.raises(StoreContractError, match="store_id"):
        declared_store(store(store_id=str(identity)))


def test_observer_is_switched_off_by_its_first_exception() -> None:
    seen: list[RestoreEvent] = []

    class Fails:
        def on_event(self, event: RestoreEvent, /) -> None:
            seen.append(event)
            raise ValueError("broken")

    calls = ObserverCalls(Fails())
    calls.notice("one")
    calls.notice("two")
    assert seen == [Notice("one")]
    assert not calls.active
    assert isinstance(calls.failure, ValueError)


def test_no_observer_is_no_fault() -> None:
    calls = ObserverCalls(None)
    calls.notice("nobody listens")
    assert not calls.active
    assert calls.failure is None


def test_declaration_that_raises_is_typed_also_for_a_range_of_a_file() -> None:
    class Raises(MemoryStore):
        @property
        def store_id(self) -> uuid.UUID:
            raise ZeroDivisionError

    world = World()
    world.file("f", [world.chunk(b"data")])
    with pytest.raises(StoreContractError, match="store_id"):
        list(read_range(world.requests[0].stub, Raises(world.seal().files)))
