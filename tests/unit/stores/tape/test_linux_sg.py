"""The generic SCSI device, worked with a device that answers at the place of the ioctl."""

import ctypes
import errno
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from rehydrate.errors import CorruptMetadataError, LimitError, NotReadyError, StoreReadError
from rehydrate.media import rao
from rehydrate.media.geometry import WrapEnd
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape import drive_orders
from rehydrate.stores.tape.drive import END_OF_DATA, Stretch, TapePosition
from rehydrate.stores.tape.linux_sg import SG_HEADER, SG_IO, SgDrive, linux_ioctl
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

BLANK, MEDIUM, ATTENTION, ILLEGAL, RECOVERED = 8, 3, 6, 5, 1


DONE = {0, RECOVERED}


def sense(key: int, flags: int = 0, residue: int = 0, *, kind: int = 0xF0, code: int = 0) -> bytes:
    head = bytes((kind, 0, key | flags)) + residue.to_bytes(4, "big", signed=True)
    return head + bytes(5) + code.to_bytes(2, "big") + bytes(4)


@attrs.define(eq=False)
class FakeDevice:
    """A drive behind SG_IO: decodes the header and the command, writes where the pointers say."""

    tape: CountingDrive
    commands: list[bytes] = attrs.field(factory=list)
    trouble: list[tuple[int, int, int, bytes]] = attrs.field(factory=list)
    rao: bool = True
    lost: bool = False
    ordered: bytes = b""
    limits: bytes = bytes((0, 4, 0, 32))
    spoil: Callable[[bytes], bytes] = lambda answer: answer

    def __call__(self, fd: int, request: int, buffer: bytearray, /) -> int:
        assert request == SG_IO
        header = list(SG_HEADER.unpack(buffer))
        assert header[0] == ord("S")
        assert header[9] >= 60_000  # minutes
        cdb = ctypes.string_at(header[7], header[2])
        self.commands.append(cdb)
        status, host, driver, told, data = 0, 0, 0, b"", b""
        if self.trouble:
            status, host, driver, told = self.trouble.pop(0)
        if not (told and told[2] & 0xF not in DONE) and not host and not status & ~2:
            sent = ctypes.string_at(header[6], header[5]) if header[1] == -2 else b""
            answer = self.answer(cdb, sent)
            told, data = (told or answer[0]), answer[1]
        status = 2 if told else status
        data = data[: header[5]]
        if data:
            ctypes.memmove(header[6], data, len(data))
        if told:
            ctypes.memmove(header[8], told, min(len(told), header[3]))
        residue = header[5] - len(data) if header[1] == -3 else 0
        header[13:20] = [status, 0, 0, len(told), host, driver, residue]
        buffer[:] = SG_HEADER.pack(*header)
        return 0

    def answer(self, cdb: bytes, sent: bytes) -> tuple[bytes, bytes]:
        match cdb[0]:
            case 0x92:
                return self.locate(cdb)
            case 0x08:
                return self.read(int.from_bytes(cdb[2:5], "big"))
            case 0x11:
                self.tape.space_filemarks(int.from_bytes(cdb[2:5], "big", signed=True))
                return b"", b""
            case 0x34:
                at = self.tape.position()
                return b"", bytes((4 * self.lost, 0, 0, 0)) + at.partition.to_bytes(
                    4, "big"
                ) + at.block.to_bytes(8, "big") + bytes(16)
            case _:
                return self.ordering(cdb, sent)

    def locate(self, cdb: bytes) -> tuple[bytes, bytes]:
        if cdb[1] & 0x38:
            self.tape.locate_end(cdb[3])
            return b"", b""
        try:
            self.tape.locate(cdb[3], int.from_bytes(cdb[4:12], "big"))
        except StoreReadError:
            return sense(BLANK), b""
        return b"", b""

    def read(self, asked: int) -> tuple[bytes, bytes]:
        try:
            record = self.tape.read_record()
        except StoreReadError:
            return sense(BLANK), b""
        except OSError:
            return sense(MEDIUM), b""
        if record is None:
            return sense(0, 0x80, asked), b""
        if len(record) != asked:
            return sense(0, 0x20, asked - len(record)), record
        return b"", record

    def ordering(self, cdb: bytes, sent: bytes) -> tuple[bytes, bytes]:
        if not self.rao:
            return sense(ILLEGAL), b""
        if cdb[:2] == b"\xa3\x1f":
            return b"", bytes((0, 14, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9))
        if cdb[1] & 0x80:
            return b"", self.limits
        if cdb[0] == 0xA4:
            start, *others = rao.decode_parameter_list(sent)
            listed = rao.encode_parameter_list([start, *reversed(others)])
            if cdb[2] == rao.Process.ESTIMATE:
                listed = sent
            tail = bytes(int.from_bytes(self.limits[2:]) - 32)
            body = b"".join(
                (30 + len(tail)).to_bytes(2) + listed[at + 2 : at + 32] + tail
                for at in range(8, len(listed), 32)
            )
            self.ordered = bytes((cdb[2], 0, 0, 0)) + len(body).to_bytes(4) + body
            return b"", b""
        return b"", self.spoil(self.ordered)[int.from_bytes(cdb[2:6]) :]


def drive_of(tmp_path: Path, made: VolumeWriter, *, size: int = 4096) -> tuple[SgDrive, FakeDevice]:
    (tmp_path / "sg").touch()
    device = FakeDevice(CountingDrive(made.partitions))
    return SgDrive(str(tmp_path / "sg"), record_bytes=size, ioctl=device), device


def volume() -> VolumeWriter:
    made = VolumeWriter().add("one", b"1" * 10_000, sizes=(100,)).add("two", b"2" * 5_000)
    return made.finish()


def test_a_volume_is_read(tmp_path: Path) -> None:
    made = volume()
    drive, device = drive_of(tmp_path, made)
    found = LtfsVolume.read(drive)
    assert found.inner_barcode == "TAPE01"
    with LtfsStore([found], Library({"TAPE01": lambda: drive})) as store:
        assert store.read_backup_file(StorePath("one"), 90, 9_000) == b"1" * 9_000
        assert store.read_backup_file(StorePath("two"), 0, 9_000) == b"2" * 5_000
    assert device.tape.backward
    drive.close()


def test_places_that_are_not_there_are_the_end_of_data(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    with drive:
        for partition, block in ((1, 999), (1, -1), (300, 0), (0, 1 << 64)):
            with pytest.raises(StoreReadError) as caught:
                drive.locate(partition, block)
            assert caught.value.code == END_OF_DATA
        drive.locate_end(1)
        with pytest.raises(StoreReadError) as caught:
            drive.read_record()
        assert caught.value.code == END_OF_DATA
        assert len(device.commands) == 3


def test_a_drive_that_tells_of_a_new_volume_is_asked_again(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    device.trouble = [(0, 0, 8, sense(ATTENTION))] * 2
    drive.locate(1, 0)
    assert len(device.commands) == 3
    device.trouble = [(0, 0, 8, sense(ATTENTION))] * 9
    with pytest.raises(StoreReadError, match="6h"):
        drive.locate(1, 0)
    device.trouble = [(0, 0, 8, sense(ATTENTION))]
    assert drive.position() == TapePosition(1, 0)
    device.trouble = [(0, 0, 8, sense(ATTENTION))] * 2
    assert drive.wrap_ends()


@pytest.mark.parametrize("code", [0x0401, 0x0407])
def test_a_drive_that_is_loading_comes_later(code: int, tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    device.trouble = [(0, 0, 8, sense(2, code=code))]
    with pytest.raises(NotReadyError, match="about to be ready") as caught:
        drive.locate(0, 0)
    assert caught.value.retry_after > 0
    drive.locate(0, 0)
    device.trouble = [(0, 0, 8, sense(2, code=0x3A00))]
    with pytest.raises(StoreReadError, match="2h/3Ah"):
        drive.locate(0, 0)


def test_a_way_from_an_unknown_place_is_not_gone(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    device.trouble = [(0, 0, 8, sense(ATTENTION))]
    with pytest.raises(StoreReadError, match="6h"):
        drive.space_filemarks(1)
    assert device.tape.position() == TapePosition(0, 0)


def test_nothing_is_read_from_a_volume_that_came_in_between(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    changed = (0, 0, 8, sense(ATTENTION, code=0x2800))
    device.trouble = [changed]
    drive.locate(1, 0)  # the one that was just put in
    device.trouble = [changed]
    for action in (drive.read_record, lambda: drive.locate(1, 0), drive.position):
        with pytest.raises(StoreReadError, match="changed meanwhile") as caught:
            action()
        assert caught.value.code == "tape.wrong-volume"
    assert len(device.commands) == 3


def test_recovered_errors_are_none(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, VolumeWriter(), size=80)
    device.trouble = [(2, 0, 8, sense(RECOVERED))]
    assert drive.read_record() == VolumeWriter().vol1()


def test_no_byte_is_added_to_a_record_where_more_is_asked_for_than_a_drive_reads(
    tmp_path: Path,
) -> None:
    drive, _ = drive_of(tmp_path, VolumeWriter(), size=(1 << 24) + 100)
    assert drive.read_record() == VolumeWriter().vol1()


@pytest.mark.parametrize(
    ("told", "size"),
    [(sense(0, 0x40), 80), (sense(RECOVERED, 0x20, 20), 100), (sense(0, 0x60, 20), 100)],
)
def test_a_record_that_came_is_taken(tmp_path: Path, told: bytes, size: int) -> None:
    drive, device = drive_of(tmp_path, VolumeWriter(), size=size)
    device.trouble = [(2, 0, 8, told)]
    assert drive.read_record() == VolumeWriter().vol1()


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(sense(0, 0x20, 20, kind=0x70), id="length not told"),
        pytest.param(sense(RECOVERED, kind=0x71), id="about a command before"),
        pytest.param(sense(MEDIUM, 0x80), id="failed at a filemark"),
        pytest.param(sense(0), id="nothing told"),
    ],
)
def test_a_record_that_may_not_have_come_is_not_taken(tmp_path: Path, told: bytes) -> None:
    drive, device = drive_of(tmp_path, VolumeWriter(), size=100)
    device.trouble = [(2, 0, 8, told)]
    with pytest.raises(StoreReadError, match="read a record"):
        drive.read_record()


def test_records_that_are_too_long_are_refused(tmp_path: Path) -> None:
    drive, _ = drive_of(tmp_path, VolumeWriter(), size=79)
    with pytest.raises(StoreReadError, match="80 bytes, more than 79"):
        drive.read_record()


@pytest.mark.parametrize(
    "trouble",
    [(0, 0, 8, sense(MEDIUM)), (8, 0, 0, b""), (0x18, 0, 0, b""), (0, 3, 0, b""), (0, 0, 6, b"")],
)
def test_failures_are_told(tmp_path: Path, trouble: tuple[int, int, int, bytes]) -> None:
    drive, device = drive_of(tmp_path, volume())
    actions = (
        drive.read_record, drive.position, drive.wrap_ends, lambda: drive.locate(0, 0),
    )  # fmt: skip
    for action in actions:
        device.trouble = [trouble]
        with pytest.raises(StoreReadError) as caught:
            action()
        assert caught.value.retryable


def test_a_position_that_is_not_known_is_told(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    assert drive.position() == TapePosition(0, 0)
    device.lost = True
    with pytest.raises(StoreReadError, match="does not know"):
        drive.position()


def test_ends_of_wraps_and_order_come_from_the_drive(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    assert drive.wrap_ends() == [WrapEnd(0, 1, 9)]
    stretches = [Stretch(1, number * 10, number * 10 + 5) for number in range(7)]
    assert drive.recommended_order(stretches) == [1, 0, 3, 2, 6, 5, 4]
    assert drive.recommended_order([]) == []
    device.limits = bytes((0, 1, 0, 32))
    assert drive.recommended_order(stretches) is None
    device.rao = False
    assert drive.wrap_ends() == ()
    assert drive.recommended_order(stretches) is None


def test_long_answers_come_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive_orders, "LIST_BYTES", 50)
    drive, device = drive_of(tmp_path, volume())
    device.limits = bytes((0, 9, 0, 52))
    stretches = [Stretch(1, number * 10, number * 10 + 5) for number in range(7)]
    assert drive.recommended_order(stretches) == [6, 5, 4, 3, 2, 1, 0]
    portions = [cdb for cdb in device.commands if cdb[:2] == b"\xa3\x1d"]
    assert [int.from_bytes(cdb[2:6]) for cdb in portions] == list(range(0, 8 + 8 * 52, 50))


def test_an_order_is_estimated_as_it_is(tmp_path: Path) -> None:
    drive, device = drive_of(tmp_path, volume())
    device.limits = bytes((0, 4, 0, 52))
    stretches = [Stretch(1, 90, 95), Stretch(0, 2, 2), Stretch(1, 10, 15)]
    answer = drive.estimated_order(stretches)
    assert answer is not None
    assert answer.process is rao.Process.ESTIMATE
    assert [one.first for one in answer.segments[1:]] == [90, 2, 10]
    assert answer.behind == (bytes(20),) * 4
    with pytest.raises(LimitError):
        drive.estimated_order(stretches * 2)
    for spoil in (
        lambda raw: b"\x02" + raw[1:], lambda raw: raw[:60] + raw[112:164] + raw[60:112] + raw[164:]
    ):  # fmt: skip
        device.spoil = spoil
        with pytest.raises(CorruptMetadataError):
            drive.estimated_order(stretches)
    device.rao = False
    assert drive.estimated_order(stretches) is None


@pytest.mark.parametrize("known", [1, 2, 3])
def test_a_drive_that_knows_only_some_commands_gives_no_order(tmp_path: Path, known: int) -> None:
    drive, device = drive_of(tmp_path, volume())
    drive.position()
    device.trouble = [(0, 0, 8, sense(RECOVERED))] * known + [(0, 0, 8, sense(ILLEGAL))]
    assert drive.recommended_order([Stretch(1, 10, 15)]) is None


def test_an_order_that_contradicts_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drive, device = drive_of(tmp_path, volume())
    stretches = [Stretch(1, 10, 15), Stretch(1, 20, 25)]
    for spoil in (lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw[:-1] + b"\xff"):
        device.spoil = spoil
        assert drive.recommended_order(stretches) is None
    device.limits = b""
    assert drive.recommended_order(stretches) is None
    assert len(caplog.records) == 4


def test_commands_that_the_system_refuses_are_told(tmp_path: Path) -> None:
    def refuse(fd: int, request: int, buffer: bytearray, /) -> int:
        raise OSError(errno.EPERM, "not permitted")

    (tmp_path / "sg").touch()
    drive = SgDrive(str(tmp_path / "sg"), ioctl=refuse)
    with pytest.raises(StoreReadError, match="not permitted"):
        drive.read_record()
    drive.close()
    with pytest.raises(StoreReadError, match="cannot open"):
        SgDrive(str(tmp_path / "none"))


def test_the_real_call_reaches_the_system(tmp_path: Path) -> None:
    text = "nappropriate|nvalid|ermitted|mplemented"
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match=text):
        linux_ioctl(file.fileno(), SG_IO, bytearray(SG_HEADER.size))
