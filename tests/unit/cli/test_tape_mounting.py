"""Volumes get into drives: by a program, by a person, or not at all."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from rehydrate.cli import progress, tape_mounting
from rehydrate.cli.interrupt import cancelled_by_signals
from rehydrate.cli.load_program import load_words
from rehydrate.cli.tape_mounting import DriveMounts, NoMounts
from rehydrate.errors import Cancelled, NotReadyError, RequestError, RestoreError
from rehydrate.stores.ltfs.mounted import as_mounted
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountRequest
from rehydrate.stores.tape.image import TapeImage
from tests.ltfs_volume import CountingDrive, VolumeWriter
from tests.ltfs_volume.image import write_image

NAMES = ("ABC001L9", "ABC002L9")


@pytest.fixture
def shelf(tmp_path: Path) -> dict[str, LtfsVolume]:
    volumes = {}
    for number, name in enumerate(NAMES, 1):
        writer = VolumeWriter(number=number, barcode=name[:6]).add("file", b"data").finish()
        write_image(writer.partitions, tmp_path / f"{name}.json")
        found = LtfsVolume.read(CountingDrive(writer.partitions))
        volumes[name] = attrs.evolve(found, name=name)
    return volumes


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return tmp_path / "drive.json"


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return where to write what a person types."""
    typed, terminal = os.openpty()
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield typed
    os.close(typed)


def put(drive: Path, name: str) -> None:
    drive.unlink(missing_ok=True)
    drive.symlink_to(f"{name}.json")


def asked(name: str = NAMES[0], **more: Any) -> MountRequest:
    request = MountRequest(
        barcode=name, reason="why", containers=2, wanted_bytes=3 << 20, seconds=90.0,
        then=("X1", "X2", "X3", "X4", "X5"),
    )  # fmt: skip
    return attrs.evolve(request, **more)


def mounts(
    shelf: dict[str, LtfsVolume], drive: Path | str, *load: str, person: bool = False
) -> DriveMounts:
    return DriveMounts(drives=[str(drive)], volumes=shelf, load=load, asks=lambda: person)


def holds(found: object, name: str) -> bool:
    assert isinstance(found, TapeImage)
    raw = found.read_record() or b""
    found.close()
    return raw[4:10] == name[:6].encode()


def test_what_is_in_the_drive_needs_nobody(shelf: dict[str, LtfsVolume], drive: Path) -> None:
    put(drive, NAMES[0])
    assert holds(mounts(shelf, drive, "false").mount(asked()), NAMES[0])
    for name in NAMES:
        places = str(drive.with_name("{barcode}.json"))
        assert holds(mounts(shelf, places).mount(asked(name)), name)


def test_without_anybody_other_volumes_are_refused(
    shelf: dict[str, LtfsVolume], drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = mounts(shelf, drive)
    assert alone.mount(asked()) is None
    put(drive, NAMES[1])
    assert alone.mount(asked()) is None
    first, second = capsys.readouterr().err.splitlines()
    assert "is nothing that can be read (nothing is in" in first
    assert first.endswith("there is nobody to ask: say --load COMMAND, or run it in a terminal")
    assert f"volume {NAMES[0]} is wanted" in second
    assert second.endswith(f"is {NAMES[1]}, and there is nobody to ask")


def script(folder: Path, text: str) -> str:
    path = folder / "load"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_loads(
    shelf: dict[str, LtfsVolume], drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = script(drive.parent, 'ln -sfn "$1.json" "$2"; printf "a\\033b\\n"; cat')
    found = mounts(shelf, drive, program, "{barcode}", "{drive}").mount(asked(NAMES[1]))
    assert holds(found, NAMES[1])
    assert capsys.readouterr().err == f"{program}: a\\x1bb\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo empty slot; exit 3", "ended with code 3"),
        ("exit 0", "was to be loaded, but in"),
        ("kill -9 $$", "ended with code -9"),
    ],
)
def test_a_program_that_cannot_load_refuses_the_volume(
    text: str, message: str, shelf: dict[str, LtfsVolume], drive: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert mounts(shelf, drive, script(drive.parent, text)).mount(asked()) is None
    assert message in capsys.readouterr().err


def test_a_program_that_is_not_there_any_more_refuses_the_volume(
    shelf: dict[str, LtfsVolume], drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mounts(shelf, drive, str(drive.parent / "gone")).mount(asked()) is None
    assert "No such file or directory" in capsys.readouterr().err


def test_a_program_that_loads_another_one_is_found_out(
    shelf: dict[str, LtfsVolume], drive: Path
) -> None:
    program = script(drive.parent, f'ln -sfn "{NAMES[1]}.json" {drive}')
    found = mounts(shelf, drive, program).mount(asked())
    assert found is not None
    with pytest.raises(RestoreError) as caught:
        shelf[NAMES[0]].check_mounted(found)
    found.close()
    assert caught.value.code == "tape.wrong-volume"


def test_a_program_may_say_later(shelf: dict[str, LtfsVolume], drive: Path) -> None:
    with pytest.raises(NotReadyError, match="comes later") as caught:
        mounts(shelf, drive, script(drive.parent, "exit 75")).mount(asked())
    assert caught.value.retry_after == 60


def test_a_program_is_ended_with_the_restore(shelf: dict[str, LtfsVolume], drive: Path) -> None:
    program = script(drive.parent, f"echo $$ > {drive}.pid; exec cat < {drive}.pipe")
    os.mkfifo(f"{drive}.pipe")
    with cancelled_by_signals("nothing") as token:
        token.cancel()
        with pytest.raises(Cancelled):
            mounts(shelf, drive, program).mount(asked())


def test_a_person_is_asked_until_it_is_there(
    shelf: dict[str, LtfsVolume], drive: Path, keyboard: int,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    put(drive, NAMES[1])
    os.write(keyboard, b"what?\n\n\n")
    real = tape_mounting._look
    turns: list[str] = []

    def look(place: str) -> object:
        turns.append(place)
        if len(turns) == 3:
            put(drive, NAMES[0])
        return real(place)

    monkeypatch.setattr(tape_mounting, "_look", look)
    assert holds(mounts(shelf, drive, person=True).mount(asked()), NAMES[0])
    said = capsys.readouterr().err
    assert f"Volume {NAMES[0]} is wanted (2 containers, 3.00 MiB, for about 1 min 30 s)." in said
    assert f"In {drive} is {NAMES[1]}.\nThen: X1, X2, X3, X4 and 1 more.\n" in said
    assert f"In {drive} is {NAMES[1]}, not {NAMES[0]}." in said
    assert said.count("Enter = it is there, s = skip it, q = stop: ") == 3


def test_a_person_may_skip_or_stop(
    shelf: dict[str, LtfsVolume], drive: Path, keyboard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = mounts(shelf, drive, person=True)
    os.write(keyboard, b"S\n")
    assert found.mount(asked(seconds=0.2, wanted_bytes=0, then=())) is None
    assert f"Volume {NAMES[0]} is wanted.\n" in capsys.readouterr().err
    for answer in (b"q\n", b"\x04"):
        os.write(keyboard, answer)
        with pytest.raises(Cancelled):
            found.mount(asked())
    with cancelled_by_signals("nothing") as token:
        token.cancel()
        with pytest.raises(Cancelled):
            found.mount(asked())


def test_volumes_of_no_inventory_are_told_by_their_label(
    shelf: dict[str, LtfsVolume], drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(drive, NAMES[1])
    known = {NAMES[0]: shelf[NAMES[0]]}
    assert mounts(known, drive).mount(asked()) is None
    assert "is ABC002, of no inventory" in capsys.readouterr().err


def test_directories_are_drives(shelf: dict[str, LtfsVolume], tmp_path: Path) -> None:
    flat, places = as_mounted(shelf[NAMES[0]])
    found = DriveMounts(
        drives=[str(tmp_path)], volumes={NAMES[0]: flat}, files=lambda _: places,
        asks=lambda: False,
    )  # fmt: skip
    assert found.mount(asked()) is None
    try:
        os.setxattr(tmp_path, "user.ltfs.volumeUUID", str(flat.label.volume_uuid).encode())
    except OSError:
        pytest.skip(f"needs extended attributes of users in {tmp_path}")
    (tmp_path / "file").write_bytes(b"data")
    drive = found.mount(asked())
    assert drive is not None
    drive.locate(places[0].partition, places[0].block)
    assert drive.read_record() == b"data"
    drive.close()


def test_nobody_is_there_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tape_mounting.somebody_is_there()
    monkeypatch.setattr(sys, "stdin", None)
    assert not tape_mounting.somebody_is_there()


def test_plans_mount_nothing() -> None:
    with pytest.raises(RestoreError, match="it lies on volume ABC001L9, and a plan mounts nothing"):
        NoMounts().mount(asked())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "name a program"),
        ("'open", "No closing quotation"),
        ("no-such-program x", "no program"),
    ],
)
def test_commands_that_cannot_be_run_are_refused_at_once(command: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        load_words(command)
    assert caught.value.code == "tape.load"
    assert load_words("cat '{barcode} x'") == ["cat", "{barcode} x"]


def test_bars_are_off_the_terminal_while_somebody_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    class Bar:
        def start(self) -> None:
            calls.append("start")

        def stop(self) -> None:
            calls.append("stop")

    monkeypatch.setattr(progress, "_drawn_now", [Bar()])
    with progress.without_bar():
        calls.append("asked")
    assert calls == ["stop", "asked", "start"]


def test_a_drive_that_is_loading_is_waited_for(
    shelf: dict[str, LtfsVolume], drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(drive, NAMES[0])
    real, turns = tape_mounting._look, [1, 1]

    def look(place: str) -> object:
        if turns:
            turns.pop()
            raise NotReadyError("it is loading", retry_after=5)
        return real(place)

    monkeypatch.setattr(tape_mounting, "_look", look)
    monkeypatch.setattr(tape_mounting, "_READY_POLL", 0.0)
    assert holds(mounts(shelf, drive, "false").mount(asked()), NAMES[0])
    turns.extend([1] * 1000)
    assert mounts(shelf, drive).mount(asked()) is None, "not without end"
    with cancelled_by_signals("nothing") as token:
        token.cancel()
        with pytest.raises(Cancelled):
            mounts(shelf, drive).mount(asked())


def test_who_stops_at_one_drive_is_not_asked_at_the_next(
    shelf: dict[str, LtfsVolume], drive: Path, keyboard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    both = DriveMounts(drives=[str(drive), f"{drive}.json"], volumes=shelf, asks=lambda: True)
    os.write(keyboard, b"q\n")
    for number, name in enumerate(NAMES):
        with pytest.raises(Cancelled):
            both.mount(asked(name, drive=number))
    assert capsys.readouterr().err.count("q = stop") == 1


def test_one_volume_in_two_drives_is_one_drive_with_two_names(
    shelf: dict[str, LtfsVolume], drive: Path
) -> None:
    put(drive, NAMES[1])
    second = drive.with_name("second.json")
    put(second, NAMES[0])
    both = DriveMounts(drives=[str(drive), str(second)], volumes=shelf)
    assert both.loaded() == {0: NAMES[1], 1: NAMES[0]}
    put(second, NAMES[1])
    with pytest.raises(RequestError, match=r"ABC002L9 is in .* and in .*second") as caught:
        both.loaded()
    assert caught.value.code == "tape.drive"
