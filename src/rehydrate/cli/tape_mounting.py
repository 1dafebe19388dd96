"""Gets volumes into drives: by a program, by the person at the terminal, or not at all."""

import os
import select
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from rehydrate.cli.interrupt import stop_asked
from rehydrate.cli.load_program import run_loader
from rehydrate.cli.output import shown, tell
from rehydrate.cli.progress import without_bar
from rehydrate.cli.sizes import counted, duration, size
from rehydrate.errors import Cancelled, NotReadyError, RequestError, RestoreError, StoreReadError
from rehydrate.stores.ltfs.mounted import MountedDrive, MountedFile, mount_identity
from rehydrate.stores.ltfs.newest import read_labels
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import MountRequest, TapeDrive
from rehydrate.stores.tape.opening import DriveKind, kind_of_drive, open_drive

__all__ = ["DriveMounts", "NoMounts", "place_in"]

_BARCODE: Final = "{barcode}"
_DRIVE: Final = "{drive}"
_LATER: Final = 75  # EX_TEMPFAIL of sysexits.h
_LATER_SECONDS: Final = 60.0
_POLL: Final = 0.2
_READY_POLL: Final = 1.0
_READY_TURNS: Final = 300
"""Turns of waiting for a drive that says that it is about to be ready; loading takes 12 to 20 s."""
_TOLD: Final = 1.0  # seconds; where positioning is not known, less would be no time at all
_NEXT_SHOWN: Final = 4
_LINE: Final = 4096


def place_in(place: str, barcode: str) -> str:
    """Return where a volume comes up: most drives are the same for all.

    Args:
        place: The drive, ``{barcode}`` in it stands for the volume.
        barcode: The volume.
    """
    return place.replace(_BARCODE, barcode)


class NoMounts:
    """Mounts nothing: for plans."""

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        """Refuse.

        Args:
            wanted: The volume.

        Raises:
            StoreReadError: Always.
        """
        raise StoreReadError(
            f"it lies on volume {wanted.barcode}, and a plan mounts nothing: have the stream maps"
            " (the folder Stream) in the directory",
            code="tape.plan",
            retryable=False,
        )


@attrs.frozen
class _Inside:
    """What is in a drive.

    Attributes:
        identity: Identity of the volume; ``None`` = there is none that could be read.
        name: What people call it.
        barcode: Its barcode; ``None`` = there is no inventory of it.
    """

    identity: uuid.UUID | None
    name: str
    barcode: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class DriveMounts:
    """Implements :class:`~rehydrate.stores.tape.drive.MountsVolumes` for the command.

    Attributes:
        drives: The drives, as they were named.
        volumes: All volumes by barcode.
        load: Words of the program that loads; empty = there is none.
        files: For drives that are directories: the files of a volume, in the order of the tape.
        asks: Whether there is somebody to ask.
    """

    drives: Sequence[str]
    volumes: Mapping[str, LtfsVolume]
    load: Sequence[str] = ()
    files: Callable[[str], tuple[MountedFile, ...]] | None = None
    asks: Callable[[], bool] = attrs.Factory(lambda: somebody_is_there)
    _one: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _stopped: threading.Event = attrs.field(factory=threading.Event, init=False)
    _told: list[str] = attrs.field(factory=list, init=False)

    def mount(self, wanted: MountRequest, /) -> TapeDrive | None:
        """Return the drive with the volume in it.

        Args:
            wanted: The volume.

        Raises:
            NotReadyError: The program says that it comes later.
            StoreReadError: The program says that it loaded it, and it is not there.
            Cancelled: The person wants to stop.
        """
        place = place_in(self.drives[wanted.drive], wanted.barcode)
        inside = self._inside(place)
        if inside.identity != self._identity(wanted):
            if self.load:
                if not self._load(wanted, place) or not self._is_loaded(wanted, place):
                    return None
            elif not self.asks():
                self._tell_alone(wanted, place, inside)
                return None
            elif not self._ask(wanted, place, inside):
                return None
        return self._open(place, wanted.barcode)

    def loaded(self) -> Mapping[int, str]:
        """Look which of the volumes are in drives already, by number of the drive.

        Raises:
            RequestError: With code ``"tape.drive"`` if one is in two drives: then it is one drive
                with two names, or a copy is in the other one, and neither can be worked with.
        """
        places: dict[str, str] = {}
        found: dict[int, str] = {}
        for number, place in enumerate(self.drives):
            barcode = None if _BARCODE in place else self._inside(place).barcode
            if barcode is None:
                continue
            if barcode in places:
                raise RequestError(
                    f"--drive: {barcode} is in {places[barcode]} and in {place}: name each drive"
                    " once, and unload a copy of the volume",
                    code="tape.drive",
                )
            found[number], places[barcode] = barcode, place
        return found

    def _identity(self, wanted: MountRequest) -> uuid.UUID:
        return self.volumes[wanted.barcode].label.volume_uuid

    def _open(self, place: str, barcode: str) -> TapeDrive:
        volume = self.volumes[barcode]
        if self.files is None:
            return open_drive(place, record_bytes=volume.label.block_size)
        folder = Path(place)
        label = attrs.evolve(volume.label, volume_uuid=mount_identity(folder))
        return MountedDrive(folder, label, self.files(barcode))

    def _inside(self, place: str) -> _Inside:
        """Look what is in a drive; whatever cannot be read is nothing that we know."""
        try:
            identity, name = _look_when_ready(place)
        except Cancelled:
            raise
        except RestoreError as error:
            return _Inside(None, f"nothing that can be read ({error.message})")
        known = [
            volume.name for volume in self.volumes.values() if volume.label.volume_uuid == identity
        ]
        if known:
            return _Inside(identity, known[0], known[0])
        return _Inside(identity, f"{name or 'a volume'}, of no inventory")

    def _load(self, wanted: MountRequest, place: str) -> bool:
        """Have the program load a volume; return whether it did."""
        words = [
            word.replace(_BARCODE, wanted.barcode).replace(_DRIVE, place) for word in self.load
        ]
        code, said = run_loader(words)
        with without_bar():
            for line in said:
                tell(f"{words[0]}: {shown(line)}")
            if code == _LATER:
                tell(f"rehydrate: volume {wanted.barcode} comes later")
                raise NotReadyError(
                    f"the volume {wanted.barcode} comes later", retry_after=_LATER_SECONDS
                )
            if code:
                tell(
                    f"rehydrate: volume {wanted.barcode} cannot be had: {shlex.join(words)} ended"
                    f" with code {code}"
                )
        return not code

    def _tell_alone(self, wanted: MountRequest, place: str, inside: _Inside) -> None:
        """Say that a volume is left out as there is nobody to ask; what to do about it once."""
        todo = "" if self._told else ": say --load COMMAND, or run it in a terminal"
        self._told.append(wanted.barcode)
        tell(
            f"rehydrate: volume {wanted.barcode} is wanted; in {shown(place)} is {inside.name}, and"
            f" there is nobody to ask{todo}"
        )

    def _is_loaded(self, wanted: MountRequest, place: str) -> bool:
        """Tell whether anything can be read; another volume is found out, and said, when it is."""
        inside = self._inside(place)
        if inside.identity is None:
            with without_bar():
                tell(
                    f"rehydrate: volume {wanted.barcode} was to be loaded, but in {shown(place)} is"
                    f" {inside.name}"
                )
        return inside.identity is not None

    def _ask(self, wanted: MountRequest, place: str, inside: _Inside) -> bool:
        """Ask the person for a volume until it is there; false = go on without it."""
        with self._one, without_bar():
            if self._stopped.is_set():  # when the volume of another drive was asked for
                raise Cancelled("stopped at a change of volumes")
            for line in _request(wanted, place, inside):
                tell(line)
            while True:
                answer = _answer(
                    f"Put {wanted.barcode} into {shown(place)}."
                    " Enter = it is there, s = skip it, q = stop: "
                )
                if answer == "q":
                    self._stopped.set()
                    raise Cancelled("stopped at a change of volumes")
                if answer == "s":
                    return False
                if answer:
                    continue
                inside = self._inside(place)
                if inside.identity == self._identity(wanted):
                    return True
                tell(f"In {shown(place)} is {inside.name}, not {wanted.barcode}.")


def somebody_is_there() -> bool:
    """Tell whether a person sees what is asked, and can answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _look(place: str) -> tuple[uuid.UUID, str]:
    """Return identity and name of the volume in a drive."""
    if kind_of_drive(place) is DriveKind.MOUNT:
        return mount_identity(Path(place)), ""
    drive = open_drive(place)
    try:
        labels = read_labels(drive, both=False)
    finally:
        drive.close()
    return labels.label.volume_uuid, labels.barcode


def _look_when_ready(place: str) -> tuple[uuid.UUID, str]:
    """Look into a drive, and wait for one that is loading; programs rarely do."""
    for _ in range(_READY_TURNS):
        try:
            return _look(place)
        except NotReadyError:
            if stop_asked():
                raise Cancelled("stopped while a volume was loaded") from None
            time.sleep(_READY_POLL)
    return _look(place)


def _request(wanted: MountRequest, place: str, inside: _Inside) -> list[str]:
    """Say which volume, why, for how long, and what comes then."""
    why = []
    if wanted.wanted_bytes:
        why.append(f"{counted(wanted.containers, 'container')}, {size(wanted.wanted_bytes)}")
    if wanted.seconds is not None and wanted.seconds >= _TOLD:
        why.append(f"for about {duration(wanted.seconds)}")
    facts = f" ({', '.join(why)})" if why else ""
    lines = [
        "",
        f"Volume {wanted.barcode} is wanted{facts}.",
        f"In {shown(place)} is {inside.name}.",
    ]
    if wanted.then:
        more = (
            f" and {len(wanted.then) - _NEXT_SHOWN} more" if len(wanted.then) > _NEXT_SHOWN else ""
        )
        lines.append(f"Then: {', '.join(wanted.then[:_NEXT_SHOWN])}{more}.")
    return lines


def _answer(question: str) -> str:
    """Ask a question; the end of the input is an answer, too: stop.

    Signals do not end a read in Python, so the input is waited for in short turns.

    Raises:
        Cancelled: A signal came.
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    while not stop_asked():
        if os.name == "nt" or select.select([sys.stdin], [], [], _POLL)[0]:
            line = os.read(sys.stdin.fileno(), _LINE)
            return line.decode("utf-8", "replace").strip().lower() if line else "q"
    raise Cancelled("stopped at a change of volumes")
