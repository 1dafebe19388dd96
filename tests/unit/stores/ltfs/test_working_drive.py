"""A drive that works by itself: in the order of previews, whatever the order of arrivals."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import pytest

from rehydrate.errors import NotReadyError, StoreError, StoreReadError
from rehydrate.ports import SystemClock
from rehydrate.stores.ltfs.mounting import Drive, Refusals
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.ltfs.working import Place, WorkingDrive
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

SECONDS = 20
A, B = StorePath("a"), StorePath("b")


def reads(path: StorePath, count: int) -> list[Place]:
    return [(path, at * 10, 10) for at in range(count)]


@attrs.define(eq=False)
class Notebook:
    """Reads that only note what was read; some fail, some wait."""

    made: list[Place] = attrs.field(factory=list)
    went: list[str] = attrs.field(factory=list)
    failing: set[Place] = attrs.field(factory=set)
    gates: dict[Place, threading.Event] = attrs.field(factory=dict)

    def fetch(self, place: Place) -> bytes:
        if place in self.gates:
            assert self.gates[place].wait(SECONDS)
        self.made.append(place)
        if place in self.failing:
            raise StoreReadError("bad")
        return repr(place).encode()

    def go(self, name: str) -> Callable[[], None]:
        return lambda: self.went.append(name)


@pytest.fixture
def working() -> WorkingDrive:
    drive = Drive(Library({}), 1000, Refusals(SystemClock()))
    return WorkingDrive(drive, in_flight=3, name="test")


def get(working: WorkingDrive, book: Notebook, places: Sequence[Place]) -> None:
    for place in places:
        assert working.read(place, book.fetch) == repr(place).encode()


def test_reads_are_made_as_previewed_whatever_comes_first(working: WorkingDrive) -> None:
    book, places = Notebook(), reads(A, 6)
    working.visit(book.go("a"), places, book.fetch)
    get(working, book, [places[at] for at in (2, 0, 1, 4, 5, 3)])
    assert book.made == places
    assert book.went == ["a"]
    working.close()


def test_little_is_read_before_it_is_asked_for(working: WorkingDrive) -> None:
    book, places = Notebook(), reads(A, 20)
    working.visit(book.go("a"), places, book.fetch)
    get(working, book, places[:3])
    get(working, book, [(B, 0, 10)])  # made when the two reads ahead are, or before
    working.close()
    assert set(book.made) <= {*places[:5], (B, 0, 10)}


def test_what_no_preview_showed_is_read_at_once(working: WorkingDrive) -> None:
    book, places = Notebook(), reads(A, 2)
    get(working, book, [(B, 5, 1)])
    working.visit(book.go("a"), places, book.fetch)
    get(working, book, [(B, 6, 1), *places, places[0]])
    assert book.made.count(places[0]) == 2
    working.close()


def test_reads_that_never_come_stop_nothing(working: WorkingDrive) -> None:
    book, first, second = Notebook(), reads(A, 30), reads(B, 3)
    working.visit(book.go("a"), first, book.fetch)
    get(working, book, first[:2])
    working.all_begun()
    working.visit(book.go("b"), second, book.fetch)
    get(working, book, second)
    assert book.went == ["a", "b"]
    assert len([place for place in book.made if place in first]) <= 2 + 2 + 3
    get(working, book, [first[10]])  # one that came late all the same
    working.close()


def test_a_read_that_comes_much_later_than_those_behind_it_is_kept(working: WorkingDrive) -> None:
    book, places = Notebook(), reads(A, 40)
    working.visit(book.go("a"), places, book.fetch)
    get(working, book, [*places[1:], places[0]])
    assert book.made == places
    working.close()


def test_what_was_read_and_not_asked_for_is_not_kept_for_ever(working: WorkingDrive) -> None:
    book, places = Notebook(), reads(A, 10)
    working.visit(book.go("a"), places, book.fetch)
    get(working, book, [places[1]])  # the first one is made before it
    get(working, book, [places[9]])
    get(working, book, [places[0], places[8]])
    assert book.made.count(places[0]) == 2
    assert book.made.count(places[8]) == 1
    working.close()


def test_behind_a_failed_read_nothing_is_read_ahead(working: WorkingDrive) -> None:
    book, first, second = Notebook(), reads(A, 30), reads(B, 1)
    book.failing.add(first[0])
    working.visit(book.go("a"), first, book.fetch)
    with pytest.raises(StoreReadError, match="bad"):
        working.read(first[0], book.fetch)
    get(working, book, [first[1]])
    working.all_begun()
    working.visit(book.go("b"), second, book.fetch)
    get(working, book, second)
    assert book.made == [first[0], first[1], second[0]]
    working.close()


def test_an_extent_whose_reads_are_past_is_not_gone_to(working: WorkingDrive) -> None:
    book, held = Notebook(), threading.Event()
    blocker = (B, 0, 1)
    book.gates[blocker] = held
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(working.read, blocker, book.fetch)
        working.visit(book.go("a"), reads(A, 2), book.fetch)
        working.visit(book.go("b"), reads(B, 5), book.fetch)
        working.all_begun()
        held.set()
        waiting.result(SECONDS)
    get(working, book, reads(B, 5))
    assert book.went == ["b"]
    working.close()


def test_closing_ends_those_who_wait(working: WorkingDrive) -> None:
    book, places, gate = Notebook(), reads(A, 4), threading.Event()
    book.gates[places[0]] = gate
    working.visit(book.go("a"), places, book.fetch)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(working.read, places[0], book.fetch)
        others = [pool.submit(working.read, place, book.fetch) for place in (places[2], (B, 0, 1))]
        closing = pool.submit(working.close)
        codes = set()
        for other in others:
            error = other.exception(SECONDS)
            assert isinstance(error, StoreReadError)
            codes.add(error.code)
        assert codes == {"tape.closed"}
        gate.set()
        closing.result(SECONDS)
        first.exception(SECONDS)
    with pytest.raises(StoreReadError, match="closed"):
        working.read(places[3], book.fetch)
    assert isinstance(working.mount(volume_of(VolumeWriter().finish())).exception(), StoreError)


def test_another_round_drops_what_was_planned(working: WorkingDrive) -> None:
    book, places, gate = Notebook(), reads(A, 9), threading.Event()
    book.gates[places[0]] = gate
    working.visit(book.go("a"), places, book.fetch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(working.read, places[0], book.fetch)
        late = pool.submit(working.read, places[8], book.fetch)
        while not late.running():
            gate.wait(0.001)
        while working._planned.keys() & {places[0], places[8]}:
            gate.wait(0.001)
        working.forget()
        assert isinstance(late.exception(SECONDS), StoreReadError)
        gate.set()
        assert first.result(SECONDS)
    working.close()


def volume_of(writer: VolumeWriter) -> LtfsVolume:
    return LtfsVolume.read(CountingDrive(writer.partitions))


class TestMounts:
    @pytest.fixture
    def two(self) -> tuple[list[LtfsVolume], Library]:
        writers = [VolumeWriter(at, f"TAPE0{at}").add("a", b"x").finish() for at in (1, 2)]
        library = Library({writer.barcode: writer.partitions for writer in writers})
        return [volume_of(writer) for writer in writers], library

    def test_a_volume_comes_after_the_reads_of_the_one_before(
        self, two: tuple[list[LtfsVolume], Library]
    ) -> None:
        (one, other), library = two
        working = WorkingDrive(
            Drive(library, 1000, Refusals(SystemClock()), 7), in_flight=3, name="test"
        )
        book, places = Notebook(), reads(A, 3)
        assert not working.has(one)
        working.mount(one).result(SECONDS)
        assert working.mount(one).done()
        working.visit(book.go("a"), places, lambda place: book.fetch(place) if (
            working.drive.volume is one) else b"")  # fmt: skip
        working.all_begun()
        mounted = working.mount(other)
        assert working.mount(other) is mounted
        assert working.target is other
        mounted.result(SECONDS)
        assert working.has(other)
        assert not working.has(one)
        get(working, book, places)
        assert [request.drive for request in library.requests] == [7, 7]
        working.close()
        assert all(drive.closed for drive in library.drives)

    def test_closing_does_not_wait_for_a_mount(self, two: tuple[list[LtfsVolume], Library]) -> None:
        (one, other), library = two
        begun, gate, closed = threading.Event(), threading.Event(), threading.Event()
        records = library.shelf["TAPE01"]

        class Closing(CountingDrive):
            def close(self) -> None:
                super().close()
                closed.set()

        def slow() -> CountingDrive:
            begun.set()
            assert gate.wait(SECONDS)
            assert not callable(records)
            return Closing(records)

        library.shelf["TAPE01"] = slow
        working = WorkingDrive(
            Drive(library, 1000, Refusals(SystemClock())), in_flight=3, name="test"
        )
        mounting, queued = working.mount(one), working.mount(other)
        assert begun.wait(SECONDS)
        working.close()
        assert isinstance(queued.exception(SECONDS), StoreReadError)
        assert not closed.is_set()
        gate.set()
        mounting.result(SECONDS)
        assert closed.wait(SECONDS)

    def test_what_a_mount_raises_is_handed_on(self, two: tuple[list[LtfsVolume], Library]) -> None:
        (one, _), library = two

        def later() -> None:
            raise NotReadyError

        library.shelf["TAPE01"] = later
        working = WorkingDrive(
            Drive(library, 1000, Refusals(SystemClock())), in_flight=3, name="test"
        )
        mounted: Future[None] = working.mount(one)
        assert isinstance(mounted.exception(SECONDS), NotReadyError)
        while working.target is not None:
            threading.Event().wait(0.001)
        assert working.idle
        working.close()
