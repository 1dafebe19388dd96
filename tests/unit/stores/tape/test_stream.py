"""Reading ahead: in order, bounded, from where the last read ended, and past what is lost."""

import contextlib
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.errors import StoreError, StoreReadError
from rehydrate.stores.tape.drive import END_OF_DATA, TapePosition
from rehydrate.stores.tape.stream import Lost, RecordStream, _Run
from tests.ltfs_volume import CountingDrive

RECORDS = [bytes([number]) * 10 for number in range(20)]


def drive(**failing: int) -> CountingDrive:
    failures = {TapePosition(0, int(block[1:])): count for block, count in failing.items()}
    return CountingDrive([[*RECORDS], []], failing=failures)


def taken(stream: RecordStream, count: int) -> list[int]:
    return [stream.take()[0] for _ in range(count)]


def test_records_come_in_order_after_one_locate() -> None:
    tape = drive()
    stream = RecordStream(tape)
    stream.begin(0, 3, 50)
    assert [stream.take() for _ in range(5)] == [(n, RECORDS[n]) for n in range(3, 8)]
    stream.stop()
    assert tape.locates == [TapePosition(0, 3)]
    assert tape.at == TapePosition(0, 8)


def test_reading_on_needs_no_locate() -> None:
    tape = drive()
    stream = RecordStream(tape)
    stream.begin(0, 0, 20)
    assert taken(stream, 2) == [0, 1]
    stream.begin(0, 2, 30)
    assert taken(stream, 3) == [2, 3, 4]
    assert taken(stream, 1) == [5]  # more than was announced
    stream.stop()
    stream.begin(0, 6, 10)
    assert taken(stream, 1) == [6]
    stream.close()
    assert tape.locates == [TapePosition(0, 0)]
    assert tape.closed


def test_what_was_read_ahead_and_not_taken_is_read_again() -> None:
    tape = drive()
    stream = RecordStream(tape)
    stream.begin(0, 0, 100)
    assert taken(stream, 1) == [0]
    stream.begin(0, 15, 10)
    assert taken(stream, 1) == [15]
    stream.begin(0, 1, 10)
    assert stream.take() == (1, RECORDS[1])
    stream.stop()


def test_the_ring_is_bounded() -> None:
    tape = drive()
    full = threading.Event()
    real = CountingDrive.read_record

    class Watched(CountingDrive):
        def read_record(self) -> bytes | None:
            if self.records == 2:
                full.set()
            return real(self)

    watched = Watched([[record * 10 for record in RECORDS]])
    stream = RecordStream(watched, ring_bytes=300)
    stream.begin(0, 0, 2000)
    assert full.wait(10)
    while watched.records < 3:  # the thread is on its way to the bound
        full.wait(0.001)
    assert watched.records == 3
    assert taken(stream, 20) == list(range(20))
    stream.stop()
    assert tape.records == 0


def test_blocks_on_the_way_are_read_through_and_do_not_count() -> None:
    tape = drive()
    stream = RecordStream(tape)
    stream.begin(0, 0, 10)
    assert taken(stream, 1) == [0]
    stream.skip_to(6, 20)
    assert taken(stream, 2) == [6, 7]
    stream.stop()
    stream.skip_to(10, 10)
    assert taken(stream, 1) == [10]
    stream.stop()
    assert tape.locates == [TapePosition(0, 0)]
    assert tape.records == 11


def test_a_lost_record_on_the_way_is_gone_around() -> None:
    tape = drive(b2=9)
    stream = RecordStream(tape)
    stream.begin(0, 0, 10)
    taken(stream, 1)
    stream.skip_to(6, 10)
    assert taken(stream, 1) == [6]
    stream.stop()


def test_a_record_that_fails_is_tried_again() -> None:
    tape = drive(b2=2)
    stream = RecordStream(tape)
    stream.begin(0, 0, 50)
    assert [stream.take()[1] for _ in range(5)] == RECORDS[:5]
    stream.stop()
    assert tape.locates == [TapePosition(0, 0), TapePosition(0, 2), TapePosition(0, 2)]


def test_a_record_that_stays_bad_is_lost_and_the_others_come() -> None:
    tape = drive(b2=99)
    stream = RecordStream(tape)
    stream.begin(0, 0, 40)
    found = [stream.take()[1] for _ in range(5)]
    assert isinstance(found[2], Lost)
    assert found[2].error.retryable
    assert "block 2 of partition 0" in str(found[2].error)
    assert [found[0], found[1], found[3], found[4]] == [RECORDS[n] for n in (0, 1, 3, 4)]
    stream.stop()


class Raising(CountingDrive):
    """A vendor's drive with a fault in its program."""

    def read_record(self) -> bytes | None:
        if self.position().block == 2:
            raise KeyError("slot")
        return super().read_record()


def test_what_a_vendors_drive_raises_costs_a_record_and_not_the_reader() -> None:
    stream = RecordStream(Raising((RECORDS, ())))
    stream.begin(0, 0, 40)
    found = [stream.take()[1] for _ in range(5)]
    assert isinstance(found[2], Lost)
    assert "KeyError: 'slot'" in str(found[2].error)
    assert [found[0], found[1], found[3], found[4]] == [RECORDS[n] for n in (0, 1, 3, 4)]
    stream.stop()


def test_a_drive_that_loses_everything_is_given_up() -> None:
    tape = drive(**{f"b{number}": 99 for number in range(20)})
    stream = RecordStream(tape)
    stream.begin(0, 0, 200)
    assert all(isinstance(stream.take()[1], Lost) for _ in range(3))
    with pytest.raises(StoreReadError, match="given up"):
        stream.take()
    tape.failing.clear()
    stream.begin(0, 1, 10)
    assert stream.take() == (1, RECORDS[1])
    stream.stop()


def test_a_run_that_was_given_up_is_not_continued() -> None:
    tape = drive(**{f"b{number}": 99 for number in range(3)})
    stream = RecordStream(tape)
    stream.begin(0, 0, 200)
    for _ in range(3):
        stream.take()
    stream.begin(0, 3, 10)
    assert stream.take() == (3, RECORDS[3])
    stream.stop()
    assert tape.locates[-1] == TapePosition(0, 3)


def test_a_run_that_was_given_up_is_gone_around() -> None:
    stream = RecordStream(drive(**{f"b{number}": 99 for number in range(3)}))
    stream.begin(0, 0, 200)
    for _ in range(3):
        stream.take()
    stream.skip_to(6, 10)
    assert stream.take() == (6, RECORDS[6])
    stream.stop()


def test_a_drive_that_cannot_go_on_behind_a_lost_record_is_given_up() -> None:
    class Stuck(CountingDrive):
        def locate(self, partition: int, block: int, /) -> None:
            if block == 3:
                raise OSError(5, "stuck")
            super().locate(partition, block)

    stream = RecordStream(Stuck([[*RECORDS]], failing={TapePosition(0, 2): 99}))
    stream.begin(0, 2, 100)
    assert isinstance(stream.take()[1], Lost)
    with pytest.raises(StoreReadError):
        stream.take()


def test_the_end_of_data_is_not_tried_again() -> None:
    tape = drive()
    stream = RecordStream(tape)
    stream.begin(0, 19, 1000)
    assert taken(stream, 1) == [19]
    found = stream.take()[1]
    assert isinstance(found, Lost)
    assert found.error.code == END_OF_DATA
    assert tape.locates == [TapePosition(0, 19)]
    with pytest.raises(StoreError):
        stream.begin(0, 21, 1)
    assert tape.locates == [TapePosition(0, 19)]


def test_a_locate_is_tried_again_and_then_told() -> None:
    class Moody(CountingDrive):
        moods = 4

        def locate(self, partition: int, block: int, /) -> None:
            self.moods -= 1
            if self.moods > 0:
                raise OSError(5, "moody")
            super().locate(partition, block)

    stream = RecordStream(Moody([[*RECORDS]]))
    with pytest.raises(StoreReadError, match="cannot go to block 1 of partition 0"):
        stream.begin(0, 1, 10)
    stream.begin(0, 1, 10)
    assert stream.take() == (1, RECORDS[1])
    stream.stop()


def test_without_a_begin_there_is_nothing() -> None:
    stream = RecordStream(drive())
    assert stream.next_block is None
    with pytest.raises(StoreReadError):
        stream.take()
    with pytest.raises(StoreReadError):
        stream.skip_to(4, 1)


def test_filemarks_and_tiny_records_fill_the_ring_as_well() -> None:
    tape = CountingDrive([[None if number % 2 else b"x" for number in range(1000)]])
    stream = RecordStream(tape, ring_bytes=640)
    stream.begin(0, 0, 1 << 30)
    blocks = taken(stream, 3)
    stream.stop()
    assert blocks == [0, 1, 2]
    assert 3 <= tape.at.block <= 13


def test_a_thread_that_ends_late_does_not_break_the_next_one() -> None:
    """The first thread is done, and only just about to end, when more is asked for."""
    ends, late = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    class Late(RecordStream):
        def _has_room(self, run: _Run, block: int) -> bool:
            goes_on = super()._has_room(run, block)
            if not goes_on and not ends.is_set():
                threads.append(threading.current_thread())
                ends.set()
                late.wait(10)
            return goes_on

    tape = drive()
    stream = Late(tape, ring_bytes=10)
    stream.begin(0, 0, 10)
    assert stream.take() == (0, RECORDS[0])
    assert ends.wait(10)
    stream.begin(0, 1, 60)  # the next thread waits for room in the ring
    late.set()
    threads[0].join(10)
    assert [stream.take() for _ in range(6)] == [(n, RECORDS[n]) for n in range(1, 7)]
    stream.stop()
    stream.begin(0, 7, 10)
    assert stream.take() == (7, RECORDS[7])
    stream.stop()
    assert tape.locates == [TapePosition(0, 0)]


class Astray(CountingDrive):
    """Goes to another block than it was sent to, some times."""

    wrong: int = 0
    tells: bool = True

    def locate(self, partition: int, block: int, /) -> None:
        self.wrong -= 1
        super().locate(partition, block + 2 if self.wrong >= 0 else block)

    def position(self) -> TapePosition:
        if not self.tells:
            raise OSError(5, "no position")
        return super().position()


def test_a_drive_that_stands_elsewhere_is_sent_again() -> None:
    tape = Astray([[*RECORDS]])
    tape.wrong = 2
    stream = RecordStream(tape)
    stream.begin(0, 4, 10)
    assert stream.take() == (4, RECORDS[4])
    tape.wrong = 99
    with pytest.raises(StoreReadError, match="stands before block 3 of partition 0"):
        stream.begin(0, 1, 10)
    tape.wrong, tape.tells = 0, False
    stream.begin(0, 1, 10)
    assert stream.take() == (1, RECORDS[1])
    stream.stop()


def test_a_drive_that_stands_elsewhere_behind_a_lost_record_is_given_up() -> None:
    class Slips(Astray):
        def locate(self, partition: int, block: int, /) -> None:
            self.wrong = 1 if block == 3 else 0
            super().locate(partition, block)

    stream = RecordStream(Slips([[*RECORDS]], failing={TapePosition(0, 2): 99}))
    stream.begin(0, 1, 100)
    assert stream.take() == (1, RECORDS[1])
    assert isinstance(stream.take()[1], Lost)
    with pytest.raises(StoreReadError, match="given up"):
        stream.take()


@given(data=st.data())
def test_no_record_is_lost_doubled_or_swapped(data: st.DataObject) -> None:
    """Random walks over random tapes with failing records give what is written there."""
    sizes = data.draw(st.lists(st.integers(-1, 300), min_size=1, max_size=30))
    records = [None if n < 0 else bytes([at]) * n for at, n in enumerate(sizes)]
    failing = data.draw(st.dictionaries(st.integers(0, 29), st.integers(1, 4), max_size=6))
    tape = CountingDrive([records], failing={TapePosition(0, n): k for n, k in failing.items()})
    given_up = sum(count > 2 for count in failing.values()) > 2  # three in a row, it may be
    stream = RecordStream(tape, ring_bytes=data.draw(st.integers(1, 2000)))
    for _ in range(data.draw(st.integers(1, 6))):
        here = stream.next_block
        block = data.draw(st.integers(0, len(records) - 1))
        wanted = data.draw(st.integers(1, 1500))
        skips = here is not None and here.block <= block and data.draw(st.booleans())
        count = min(data.draw(st.integers(0, 9)), len(records) - block)
        with contextlib.suppress(StoreReadError) if given_up else contextlib.nullcontext():
            go = partial(stream.skip_to, block) if skips else partial(stream.begin, 0, block)
            go(wanted)
            for number in range(block, block + count):
                at, found = stream.take()
                assert at == number
                assert isinstance(found, Lost) or found == records[number]
    stream.close()
