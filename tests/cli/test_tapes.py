"""Stores whose containers lie on tapes, by the command: inventories, plans, restores."""

import filecmp
import json
import os
import random
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store
from rehydrate.stores.layout import ChunkerSettings
from tests.cli.stage import PROGRAM, Done, called
from tests.ltfs_volume import VolumeWriter
from tests.ltfs_volume.image import write_image

NAMES = ("ABC001L9", "ABC002L9", "ABC003L9")
FILES = 18
SIZE = 60_000
QUESTION = b"q = stop: "


@attrs.frozen
class Stage:
    """A store without its data, tapes that have them, and inventories of the tapes."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tapes(self) -> Path:
        return self.root / "inventories"

    @property
    def drive(self) -> Path:
        return self.root / "shelf" / "drive.json"

    def put(self, name: str) -> None:
        self.drive.unlink(missing_ok=True)
        self.drive.symlink_to(f"{name}.json")

    def plan(self, *words: str | Path) -> Done:
        return called("plan", self.home, "--tapes", self.tapes, *words)

    def line(self, *words: str | Path) -> list[str | Path]:
        return ["restore", self.home, "--tapes", self.tapes, "--drive", self.drive,
                "-o", self.root / "out", *words]  # fmt: skip

    def restore(self, *words: str | Path) -> Done:
        return called(*self.line(*words))

    @property
    def loads(self) -> list[str]:
        """The program that loads, which notes what it loaded."""
        return ["--load", f"{self.root / 'load'} {{barcode}} {{drive}}"]

    @property
    def loaded(self) -> list[str]:
        log = self.root / "load.log"
        return log.read_text().split() if log.exists() else []

    def script(self, text: str = "") -> None:
        program = self.root / "load"
        program.write_text(
            f'#!/bin/sh\n{text}\necho "$1" >> "{self.root}/load.log"\nln -sfn "$1.json" "$2"\n'
        )
        program.chmod(0o700)

    def restored(self) -> set[str]:
        out, tree = self.root / "out", self.root / "tree"
        found = {path.name for path in out.iterdir() if path.is_file()} if out.is_dir() else set()
        assert all(filecmp.cmp(out / name, tree / name, shallow=False) for name in found)
        return found

    @property
    def everything(self) -> set[str]:
        return {path.name for path in (self.root / "tree").iterdir()}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tapes")
    noise = random.Random(5)
    for folder in ("tree", "shelf"):
        (root / folder).mkdir()
    for number in range(FILES):
        (root / "tree" / f"f{number:02}").write_bytes(noise.randbytes(SIZE))
    chunker = ChunkerSettings(min_size=4096, avg_size=8192, max_size=16384)
    create_store(root / "store", capacity=200_000, chunker=chunker)
    optimize(root / "tree", root / "store")
    containers = sorted((root / "store" / "Data").iterdir())
    for number, name in enumerate(NAMES):
        writer = VolumeWriter(number=number + 1, barcode=name[:6], block_size=4096)
        for path in reversed(containers[number :: len(NAMES)]):
            writer.add(f"b/{path.relative_to(root / 'store').as_posix()}", path.read_bytes())
        write_image(writer.finish().partitions, root / "shelf" / f"{name}.json")
        done = called("inventory", root / "shelf" / f"{name}.json", "-o", root / "inventories",
                      "--barcode", name, "--native")  # fmt: skip
        assert done.code == 0, done.err
    shutil.copytree(root / "store", root / "home", ignore=shutil.ignore_patterns("Data"))
    return root


@pytest.fixture
def stage(made_once: Path, tmp_path: Path) -> Stage:
    for name in ("home", "inventories", "shelf"):
        shutil.copytree(made_once / name, tmp_path / name)
    (tmp_path / "tree").symlink_to(made_once / "tree")
    (tmp_path / "store").symlink_to(made_once / "store")
    made = Stage(tmp_path)
    made.script()
    return made


def test_a_plan_tells_volumes_times_and_orders_without_any_tape(stage: Stage) -> None:
    shutil.rmtree(stage.root / "shelf")
    done = stage.plan("--json")
    assert done.code == 0, done.err
    estimates = done.document["estimates"]
    assert [medium["name"] for medium in estimates["media"]] == list(NAMES)
    assert {medium["kind"] for medium in estimates["media"]} == {"LTO-9"}
    assert estimates["total_seconds"] > 0
    assert len(done.document["files"]) == FILES
    page = stage.root / "plan.html"
    text = stage.plan("--html", page, "--at-hand", NAMES[1].lower())
    assert text.code == 0
    assert "3 volumes needed, 3 mounts" in text.out
    assert "native size where the inventory has no ends of wraps" in text.out
    assert "NOT AT HAND" in text.out
    assert NAMES[2] in page.read_text("utf-8")


def test_the_plan_is_that_of_a_media_file_that_says_the_same(stage: Stage) -> None:
    """The inventories stand in for a media file made by hand."""
    pieces = []
    for name in NAMES:
        told = json.loads((stage.tapes / f"{name}.volume.json").read_text())
        assert told["partitions"] == {"a": 0, "b": 1}
        block = 4
        containers = sorted((stage.root / "store" / "Data").iterdir())[
            NAMES.index(name) :: len(NAMES)
        ]
        for path in reversed(containers):
            pieces.append(
                {"container": f"Data/{path.name}", "volume": name, "partition": 1, "start": block}
            )
            block += -(-path.stat().st_size // 4096)
    volumes = [
        {"name": name, "generation": "LTO-9", "partitions": [1, 137], "block_size": 4096}
        for name in NAMES
    ]
    media = stage.root / "media.json"
    media.write_text(json.dumps({"format": "rehydrate-media", "version": 1, "volumes": volumes,
                                 "pieces": [*pieces, {"pattern": "Stream/*", "volume": NAMES[0]}]}))  # fmt: skip
    by_hand = called("plan", stage.root / "store", "--media", media, "--json").document
    found = stage.plan("--json").document
    assert found["plan"]["rounds"][-1] == by_hand["plan"]["rounds"][-1]
    assert found["estimates"]["orders"] == by_hand["estimates"]["orders"]


def test_what_is_in_the_directory_comes_from_there(stage: Stage) -> None:
    shutil.copytree(stage.root / "store" / "Data", stage.home / "Data")
    (gone,) = [path for path in (stage.home / "Data").iterdir() if path.name.startswith("00000002")]
    gone.unlink()
    done = stage.plan("--json", "--at-hand", "")
    (medium,) = done.document["estimates"]["media"]
    assert medium["name"] == NAMES[1]
    extents = done.document["plan"]["rounds"][-1]["extents"]
    assert [extent["container"] for extent in extents][-1] == 1
    ready = [row["at_hand"] for row in done.document["files"]]
    assert ready == sorted(ready, reverse=True)
    assert 0 < ready.count(True) < FILES
    notes = done.document["estimates"]["notes"]
    assert any(note.startswith(f"{ready.count(True)} of {FILES} files with") for note in notes)
    times = [row["finish_seconds"] for row in done.document["files"]]
    assert times == sorted(times)
    assert times[0] == 0 < times[-1]
    assert stage.restore(*stage.loads).code == 0
    assert stage.loaded == [NAMES[1]]
    assert stage.restored() == stage.everything
    shutil.copytree(stage.root / "store" / "Data", stage.home / "Data", dirs_exist_ok=True)
    assert "no tape is needed" in stage.plan().out


@pytest.mark.parametrize("saved", [False, True])
def test_a_program_loads_what_is_wanted(saved: int, stage: Stage) -> None:
    words: list[str | Path] = []
    if saved:
        assert stage.plan("--save", stage.root / "plan.json").code == 0
        words = ["--plan", stage.root / "plan.json"]
    done = stage.restore(*stage.loads, *words)
    assert (done.code, done.err) == (0, "")
    assert sorted(stage.loaded) == list(NAMES)
    assert stage.restored() == stage.everything


def test_volumes_that_cannot_be_had_cost_their_files_until_they_can(stage: Stage) -> None:
    stage.script('[ "$1" = ABC002L9 ] && { echo "no such slot"; exit 1; }')
    done = stage.restore(*stage.loads)
    assert done.code == 1
    assert sorted(stage.loaded) == [NAMES[0], NAMES[2]]
    assert "load: no such slot" in done.err
    assert f"volume {NAMES[1]} cannot be had: " in done.err
    assert "run the same command again when it can be mounted" in done.err
    some = stage.restored()
    assert 0 < len(some) < FILES
    stage.script()
    assert stage.restore(*stage.loads).code == 0
    assert stage.loaded[2:] == [NAMES[1]]
    assert stage.restored() == stage.everything


def test_a_volume_that_comes_later_is_asked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.cli.tape_mounting._LATER_SECONDS", 0.01)
    stage.script(f'[ -e "{stage.root}/asked" ] || {{ touch "{stage.root}/asked"; exit 75; }}')
    done = stage.restore(*stage.loads)
    assert done.code == 0, done.err
    assert "comes later" in done.err
    assert stage.restored() == stage.everything


def test_without_anybody_only_what_is_in_the_drive_is_read(stage: Stage) -> None:
    stage.put(NAMES[2])
    done = stage.restore()
    assert done.code == 1
    assert 0 < len(stage.restored()) < FILES
    assert f"volume {NAMES[0]} is wanted" in done.err
    assert f"is {NAMES[2]}, and there is nobody to ask: say --load COMMAND" in done.err


def test_drives_may_be_named_by_barcode(stage: Stage) -> None:
    done = called("restore", stage.home, "--tapes", stage.tapes, "-o", stage.root / "out",
                  "--drive", stage.root / "shelf" / "{barcode}.json", "--json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert stage.restored() == stage.everything


def test_what_is_in_the_drive_comes_first(stage: Stage) -> None:
    stage.put(NAMES[1])
    assert stage.restore(*stage.loads).code == 0
    assert stage.loaded == [NAMES[0], NAMES[2]]
    assert stage.restored() == stage.everything


def test_several_drives_share_the_volumes(stage: Stage) -> None:
    second = stage.drive.with_name("second.json")
    second.symlink_to(f"{NAMES[2]}.json")
    one = stage.plan("--json").document["estimates"]
    two = stage.plan("--json", "--drive", stage.drive, "--drive", second).document["estimates"]
    assert two["total_seconds"] < one["total_seconds"]
    assert {medium["drive"] for medium in two["media"]} == {1, 2}
    done = stage.restore("--drive", second, *stage.loads)
    assert (done.code, done.err) == (0, "")
    assert sorted(stage.loaded) == [NAMES[0], NAMES[1]]
    assert stage.restored() == stage.everything
    dry = stage.restore("--drive", second, *stage.loads, "-n")
    assert dry.code == 0
    assert len(stage.loaded) == 2


def test_maps_may_lie_on_tape_in_a_restore_but_not_in_a_plan(stage: Stage) -> None:
    writer = VolumeWriter(number=9, barcode="MAPS01")
    for path in (stage.home / "Stream").iterdir():
        writer.add(f"b/Stream/{path.name}", path.read_bytes())
    write_image(writer.finish().partitions, stage.root / "shelf" / "MAPS01.json")
    done = called("inventory", stage.root / "shelf" / "MAPS01.json", "-o", stage.tapes)
    assert done.code == 0, done.err
    assert "tape        not known" in done.out
    shutil.rmtree(stage.home / "Stream")
    plan = stage.plan()
    assert plan.code == 3
    assert "it lies on volume MAPS01, and a plan mounts nothing: have the stream maps" in plan.err
    assert stage.restore(*stage.loads).code == 0
    assert stage.restored() == stage.everything
    assert stage.loaded[0] == "MAPS01"


def test_a_dry_run_tells_the_tapes(stage: Stage) -> None:
    done = called("restore", stage.home, "--tapes", stage.tapes, "-o", stage.root / "out", "-n")
    assert done.code == 0
    assert "3 volumes needed" in done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["plan", "HOME", "--tape-folder", "b"], 2, "--tape-folder: say with --tapes DIR"),
        (["plan", "HOME", "--tapes", "TAPES", "--tape-folder", "c"], 2, "in the folder 'c' of any"),
        (["plan", "HOME", "--tapes", "TAPES", "--media", "x"], 2, "both say what lies on which"),
        (["plan", "HOME", "--tapes", "TAPES", "--at-hand", "A,B"], 2, "no inventory of A, B"),
        (["plan", "HOME", "--tapes", "HOME"], 2, "holds no inventory"),
        (["plan", "s3://x/y", "--tapes", "TAPES"], 2, "is a URL: name a directory"),
        (["plan", "NONE", "--tapes", "TAPES"], 2, "is no directory: name one with"),
        (["plan", "HOME", "--tapes", "TAPES", "--thaw", "bulk"], 2, "only for stores of objects"),
        (["restore", "HOME", "-o", "OUT", "--drive", "x"], 2, "--drive: say with --tapes DIR"),
        (["restore", "HOME", "-o", "OUT", "--tapes", "TAPES"], 2, "say with --drive where"),
        (["restore", "HOME", "-o", "OUT", "--tapes", "TAPES", "--load", "x"], 2, "--load: say"),
        (["restore", "HOME", "-o", "OUT", "--tapes", "TAPES", "--drive", "HOME", "--drive", "a.json"],
         2, "either all are directories"),
        (["restore", "HOME", "-o", "OUT", "--tapes", "TAPES", "--drive", "a.json", "--load", "no-such"],
         2, "there is no program no-such"),
        (["inventory", "-o", "OUT"], 2, "name a drive, or say --label FILE --index FILE"),
        (["inventory", "NONE", "--label", "x", "-o", "OUT"], 2, "instead of a drive"),
        (["inventory", "NONE", "-o", "OUT"], 3, "no LTFS volume is mounted"),
        (["inventory", "NONE.json", "-o", "OUT"], 3, "nothing is in"),
    ],
)  # fmt: skip
def test_wrong_use_is_said(words: list[str], code: int, message: str, stage: Stage) -> None:
    places: dict[str, str | Path] = {
        "HOME": stage.home, "TAPES": stage.tapes, "OUT": stage.root / "out",
        "NONE": stage.root / "none", "NONE.json": stage.root / "none.json",
    }  # fmt: skip
    done = called(*(places.get(word, word) for word in words))
    assert message in done.err
    assert done.code == code
    assert not (stage.root / "out").exists()


def test_inventories_are_told_as_document_and_from_files(stage: Stage) -> None:
    table = stage.root / "shelf" / "ABC001L9.json"
    done = called("inventory", table, "-o", stage.tapes, "--barcode", NAMES[0], "--json")
    assert done.code == 0
    found = done.document
    assert (found["format"], found["barcode"], found["generation"]) == (
        "rehydrate-inventory",
        NAMES[0],
        "LTO-9",
    )
    assert found["files"] == len(sorted((stage.root / "store" / "Data").iterdir())[::3])
    assert found["bytes"] > SIZE
    assert found["saved"].endswith("ABC001L9.volume.json")
    assert found["geometry"] is None, "the label says that drives were to compress"
    plain = called("inventory", table, "-o", stage.tapes, "--barcode", NAMES[0])
    assert "wraps       not known: no times for positioning" in plain.out
    plan = stage.plan("--json").document["estimates"]
    assert plan["at_least"]
    assert [medium["locate_seconds"] is None for medium in plan["media"]] == [True, False, False]
    assert all(medium["read_seconds"] > 0 for medium in plan["media"])
    native = called(
        "inventory", table, "-o", stage.tapes, "--barcode", NAMES[0], "--native", "--json"
    )
    assert native.document["geometry"] == "native"
    done = called("inventory", "--label", stage.tapes / "ABC001L9.1.label.xml",
                  "--index", stage.tapes / "ABC001L9.1.index.xml", "--barcode", "COPY01",
                  "--generation", "generic", "-o", stage.root / "other")  # fmt: skip
    assert done.code == 0, done.err
    assert (stage.root / "other" / "COPY01.volume.json").exists()
    assert "wraps" not in done.out


def answering(words: Sequence[str | Path], *steps: Callable[[], bytes]) -> tuple[int, str]:
    """Run the program in a terminal, and answer each question by the next step; no bytes = Ctrl-C."""
    terminal, inside = os.openpty()
    with subprocess.Popen(
        [*PROGRAM, *map(str, words)], stdin=inside, stdout=inside, stderr=inside
    ) as process:
        os.close(inside)
        said, mark, left = b"", 0, list(steps)
        while True:
            if not select.select([terminal], [], [], 60)[0]:
                process.kill()
            try:
                data = os.read(terminal, 1 << 16)
            except OSError:  # so Linux says that the other side was closed
                break
            said += data
            if QUESTION in said[mark:] and left:
                mark = len(said)
                answer = left.pop(0)()
                if answer:
                    os.write(terminal, answer)
                else:
                    process.send_signal(signal.SIGINT)
    os.close(terminal)
    assert not left, said
    return process.returncode, said.decode()


@pytest.mark.slow
def test_a_person_is_asked_told_of_wrong_tapes_skips_stops_and_goes_on(stage: Stage) -> None:
    def puts(name: str) -> Callable[[], bytes]:
        def act() -> bytes:
            stage.put(name)
            return b"\n"

        return act

    code, said = answering(
        stage.line(), puts(NAMES[1]), puts(NAMES[0]), lambda: b"s\n", puts(NAMES[2])
    )
    assert code == 1, said
    assert f"Volume {NAMES[0]} is wanted (" in said
    assert f"Then: {NAMES[1]}, {NAMES[2]}." in said
    assert f"is {NAMES[1]}, not {NAMES[0]}." in said
    assert "cannot be had" in said
    some = stage.restored()
    assert 0 < len(some) < FILES
    code, said = answering(stage.line(), lambda: b"q\n")
    assert code == 130
    assert "interrupted; to go on: rehydrate restore" in said
    code, said = answering(stage.line(), bytes)
    assert code == 130
    assert stage.plan("--save", stage.root / "plan.json").code == 0
    again = stage.line("--plan", stage.root / "plan.json")
    code, said = answering(again, lambda: b"q\n")
    assert code == 130
    assert f"Volume {NAMES[1]} is wanted (" in said, "a saved plan tells as much as an order"
    code, said = answering(stage.line(), puts(NAMES[1]))
    assert code == 0
    assert stage.restored() == stage.everything


def test_a_source_on_a_mounted_volume_is_read_in_the_order_of_the_tape(stage: Stage) -> None:
    store = stage.root / "copy"
    shutil.copytree(stage.root / "store", store)
    paths = sorted((store / "Data").iterdir())
    try:
        os.setxattr(store, "user.ltfs.volumeUUID", b"x")
        for place, path in enumerate(reversed(paths[1:])):
            os.setxattr(path, "user.ltfs.partition", b"b")
            os.setxattr(path, "user.ltfs.startblock", str(place).encode())
    except OSError:
        pytest.skip(f"needs extended attributes of users in {store}")
    extents = called("plan", store, "--json").document["plan"]["rounds"][-1]
    order = [extents["containers"][extent["container"]] for extent in extents["extents"]]
    assert order == [f"Data/{path.name}" for path in (*reversed(paths[1:]), paths[0])]
    done = called("restore", store, "-o", stage.root / "out")
    assert done.code == 0
    assert "it lies on an LTFS volume: containers are read as they lie on the tape" in done.err
    assert stage.restored() == stage.everything


def test_mounted_volumes_are_drives_and_have_inventories(stage: Stage) -> None:
    inventories = stage.root / "mounted"
    for number, name in enumerate(NAMES):
        mount = stage.root / "ltfs" / name
        (mount / "b" / "Data").mkdir(parents=True)
        for place, path in enumerate(sorted((stage.root / "store" / "Data").iterdir())[number::3]):
            target = mount / "b" / "Data" / path.name
            shutil.copy(path, target)
            try:
                os.setxattr(target, "user.ltfs.partition", b"b")
                os.setxattr(target, "user.ltfs.startblock", str(5 + 100 * place).encode())
                identity = f"00000000-0000-0000-0000-{number + 1:012}"
                os.setxattr(mount, "user.ltfs.volumeUUID", identity.encode())
            except OSError:
                pytest.skip(f"needs extended attributes of users in {mount}")
        done = called("inventory", mount, "-o", inventories, "--barcode", name)
        assert done.code == 0, done.err
    for tapes in (inventories, stage.tapes):  # the latter know blocks, which mounts do not show
        done = called("restore", stage.home, "--tapes", tapes, "-o", stage.root / "out",
                      "--drive", stage.root / "ltfs" / "{barcode}")  # fmt: skip
        assert (done.code, done.err) == (0, "")
        assert stage.restored() == stage.everything
        shutil.rmtree(stage.root / "out")
    done = called("restore", stage.home, "--tapes", inventories, "-o", stage.root / "out",
                  "--drive", stage.drive)  # fmt: skip
    assert done.code == 2
    assert "was taken of a mounted volume, which does not tell where all pieces" in done.err
