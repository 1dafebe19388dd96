"""Plans of what lies on tape, by the command: volumes, times, orders, what is at hand."""

import json
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from rehydrate.cli.media_forecast import MediaForecast
from rehydrate.engine.calls import StoreCalls, store_for_plans
from rehydrate.media.media_file import parse_media
from rehydrate.values import StorePath
from tests.cli.stage import called

DATA = "Data/00000001.00000001.rhc"
TAPE = 17_000_000_000_000
SIZE = 300_000
FILES = 24


@pytest.fixture(scope="module")
def taped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a store of files that do not compress."""
    root = tmp_path_factory.mktemp("taped")
    (root / "source").mkdir()
    noise = random.Random(1)
    for number in range(FILES):
        (root / "source" / f"f{number:02}").write_bytes(noise.randbytes(SIZE))
    assert called("optimize", root / "source", root / "store").code == 0
    return root


def volume(name: str = "A00001L9", **more: object) -> dict[str, object]:
    told = "wrap_ends" in more or "generation" in more
    native = {} if told else {"partitions": [140]}
    return {"name": name, "generation": "LTO-9", **native, **more}


def media(path: Path, volumes: list[dict[str, object]], pieces: list[dict[str, object]]) -> Path:
    content = {"format": "rehydrate-media", "version": 1, "volumes": volumes, "pieces": pieces}
    path.write_text(json.dumps(content))
    return path


def scattered(names: list[str], count: int = FILES) -> list[dict[str, object]]:
    """Return pieces of the one container, far from each other, in no order."""
    places = random.Random(7)
    pieces: list[dict[str, object]] = [
        {
            "container": DATA,
            "offset": number * SIZE,
            "length": SIZE,
            "volume": names[number * len(names) // count],
            "start": places.randrange(TAPE),
        }
        for number in range(count)
    ]
    del pieces[-1]["length"]
    return pieces


def plan(taped: Path, file: Path, *words: str | Path) -> dict[str, Any]:
    done = called("plan", taped / "store", "--media", file, *words, "--json")
    assert done.code == 0, done.err
    return done.document


def test_the_plan_reads_in_the_order_that_the_tape_wants(taped: Path, tmp_path: Path) -> None:
    file = media(tmp_path / "m.json", [volume()], scattered(["A00001L9"]))
    found = plan(taped, file)
    estimates = found["estimates"]
    (medium,) = estimates["media"]
    assert (medium["name"], medium["kind"], medium["containers"]) == ("A00001L9", "LTO-9", 1)
    orders = {order["name"]: order for order in estimates["orders"]}
    assert orders["best"]["taken"]
    assert orders["best"]["seconds"] < orders["logical"]["seconds"] < orders["as asked"]["seconds"]
    assert medium["locate_seconds"] == pytest.approx(orders["best"]["seconds"])
    extents = found["plan"]["rounds"][-1]["extents"]
    assert medium["bytes_to_read"] == sum(extent["bytes_to_read"] for extent in extents)
    offsets = [extent["offset"] for extent in extents]
    assert len(offsets) == FILES
    assert offsets != sorted(offsets)
    finish = [row["finish_seconds"] for row in found["files"]]
    assert finish == sorted(finish)
    assert 0 < finish[0] < finish[-1] <= estimates["total_seconds"]


def test_volumes_are_told_in_mount_order_as_text_and_as_page(taped: Path, tmp_path: Path) -> None:
    names = ["A00001L9", "B00002L9", "C00003L9"]
    rows = [volume(names[0]), volume(names[1]), volume(names[2], loaded=True)]
    pieces = scattered(names)
    pieces.append({"pattern": "Stream/*", "volume": "A00001L9"})
    file = media(tmp_path / "m.json", rows, pieces)
    page = tmp_path / "plan.html"
    done = called("plan", taped / "store", "--media", file, "--html", page)
    assert (done.code, done.err) == (0, "")
    lines = [line.split()[0] for line in done.out.splitlines() if "LTO-9" in line]
    # Maps are read first; the volume with them is in the drive when data are read.
    assert lines == ["A00001L9", "A00001L9", "B00002L9", "C00003L9"]
    assert [line.split()[2] for line in done.out.splitlines() if "LTO-9" in line] == [
        "maps",
        *["data"] * 3,
    ]
    for text in (
        "3 volumes needed, 3 mounts (4 as asked)",
        "all stream maps are read after",
        "times that are not known count nothing",
        "wraps are assumed to be of native size",
        "everything is read after",
        "... and 4 more files; --json lists all",
    ):
        assert text in done.out
    html = page.read_text("utf-8")
    assert all(name in html for name in names)
    found = plan(taped, file)["estimates"]
    assert [medium["mounted"] for medium in found["media"]] == [True, False, True, True]
    assert (found["volumes"], found["mounts"], found["at_least"]) == (3, 3, True)
    del pieces[-1]
    found = plan(taped, media(file, rows, pieces))["estimates"]
    assert [medium["name"] for medium in found["media"]] == [names[2], names[0], names[1]]
    assert found["media"][0]["ready_seconds"] == 0 < found["media"][1]["ready_seconds"]
    assert (found["mounts"], found["at_least"]) == (2, False)


def test_files_that_the_volumes_at_hand_complete_are_told(taped: Path, tmp_path: Path) -> None:
    names = ["A00001L9", "B00002L9", "C00003L9"]
    file = media(tmp_path / "m.json", [volume(name) for name in names], scattered(names))
    found = plan(taped, file, "--at-hand", " B00002L9, ")
    media_rows = found["estimates"]["media"]
    assert media_rows[0]["name"] == "B00002L9"
    assert ["NOT AT HAND" in row["note"] for row in media_rows] == [False, True, True]
    here = {row["path"] for row in found["files"] if row["at_hand"]}
    assert 0 < len(here) < FILES
    # Files lie in the order of their names: those of one volume follow each other.
    numbers = sorted(int(path[1:]) for path in here)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    note = f"{len(here)} of {FILES} files with data from the volumes at hand; the others also need"
    assert f"{note} A00001L9, C00003L9" in found["estimates"]["notes"]
    text = called("plan", taped / "store", "--media", file, "--at-hand", "B00002L9").out
    shown = {line.split()[0] for line in text.splitlines() if line.startswith("f")} - {"file"}
    assert here == {name for name in shown if name[1:].isdigit()}
    everything = plan(taped, file, "--at-hand", ",".join(names))
    assert all(row["at_hand"] for row in everything["files"])
    nothing = plan(taped, file, "--at-hand", "")
    assert not any(row["at_hand"] for row in nothing["files"])


def test_what_is_not_known_is_no_error(taped: Path, tmp_path: Path) -> None:
    file = media(
        tmp_path / "m.json",
        [volume(generation="generic")],
        [{"container": DATA, "length": 500_000, "volume": "A00001L9", "start": 0}],
    )
    found = plan(taped, file)["estimates"]
    assert found["orders"] == []
    assert found["media"][0]["locate_seconds"] is None
    assert any("1 container on no volume of the media file" in note for note in found["notes"])
    assert any("1 container of stream maps on no volume" in note for note in found["notes"])
    assert found["total_seconds"] is found["ready_seconds"] is None
    pattern = media(tmp_path / "p.json", [volume()], [{"pattern": "*", "volume": "A00001L9"}])
    assert plan(taped, pattern)["estimates"]["media"][0]["name"] == "A00001L9"
    nothing = media(tmp_path / "n.json", [volume()], [])
    assert plan(taped, nothing)["estimates"]["media"] == []


def test_blocks_are_counted_from_the_first_needed_byte(taped: Path, tmp_path: Path) -> None:
    size = 1000
    ends = [[0, 0, 10**6], [1, 0, 2 * 10**6]]
    row = volume(block_size=size, wrap_ends=ends)
    piece: dict[str, object] = {"container": DATA, "volume": "A00001L9", "start": 10**6 - 5}
    found = plan(taped, media(tmp_path / "m.json", [row], [piece]))["estimates"]
    assert not any("native size" in note for note in found["notes"])
    beyond = media(tmp_path / "b.json", [row], [piece | {"start": 2 * 10**6}])
    (medium,) = plan(taped, beyond)["estimates"]["media"]
    assert "beyond the end of the tape" in medium["order"]
    # Room for the first files of the container, and not for the last one.
    tight = media(tmp_path / "t.json", [row], [piece | {"start": 2 * 10**6 - 1000}])
    for name, lies_beyond in (("f00", False), (f"f{FILES - 1}", True)):
        (medium,) = plan(taped, tight, name)["estimates"]["media"]
        assert ("beyond the end of the tape" in medium["order"]) is lies_beyond


def test_a_saved_plan_restores_in_the_order_of_the_tape(taped: Path, tmp_path: Path) -> None:
    file = media(tmp_path / "m.json", [volume()], scattered(["A00001L9"]))
    saved, out = tmp_path / "plan.json", tmp_path / "out"
    extents = plan(taped, file, "--save", saved)["plan"]["rounds"][-1]["extents"]
    kept = json.loads(saved.read_text())["plan"]["rounds"][-1]["extents"]
    assert [extent["offset"] for extent in kept] == [extent["offset"] for extent in extents]
    done = called("restore", taped / "store", "--plan", saved, "-o", out)
    assert (done.code, done.err) == (0, "")
    for path in (taped / "source").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_several_drives_take_less_time(taped: Path, tmp_path: Path) -> None:
    names = ["A00001L9", "B00002L9", "C00003L9"]
    rows = [volume(name) for name in names]
    file = media(tmp_path / "m.json", rows, scattered(names))
    one = plan(taped, file)["estimates"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"drives": 3}))
    three = plan(taped, file)["estimates"]
    assert three["total_seconds"] < one["total_seconds"] / 2
    assert {medium["drive"] for medium in one["media"]} == {None}
    assert {medium["drive"] for medium in three["media"]} == {1, 2, 3}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--at-hand", "A"], 2, "say with --media FILE or --tapes DIR what lies where"),
        (["--media", "none.json"], 2, "cannot read the media file none.json"),
        (["--media", "M", "--at-hand", "A00001L9,Z"], 2, "has no volume Z"),
        (["--media", "BAD"], 3, "the media file is no JSON"),
    ],
)
def test_wrong_use_is_said(
    words: list[str], code: int, message: str, taped: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text("{")
    files = {"M": media(tmp_path / "m.json", [volume()], []), "BAD": tmp_path / "bad.json"}
    done = called("plan", taped / "store", *(files.get(word, word) for word in words))
    assert done.code == code
    assert message in done.err


def test_times_that_are_not_known_make_lower_bounds(taped: Path, tmp_path: Path) -> None:
    names = ["A00001L9", "B00002L9"]
    rows = [volume(names[0]), volume(names[1], generation="generic")]
    file = media(tmp_path / "m.json", rows, scattered(names))
    found = plan(taped, file)
    estimates = found["estimates"]
    assert estimates["at_least"]
    assert estimates["total_seconds"] > 0
    known, unknown = estimates["media"]
    assert known["ready_seconds"] > 0
    assert [unknown[f"{part}_seconds"] for part in ("ready", "locate", "read")] == [None] * 3
    seconds = [row["finish_seconds"] for row in found["files"]]
    # Files of the volume without times come last, and have none.
    assert None in seconds
    assert all(each is None for each in seconds[seconds.index(None) :])
    done = called("plan", taped / "store", "--media", file)
    assert "at least" in next(line for line in done.out.splitlines() if "everything is" in line)
    assert "finished after at least" in done.out


def test_files_without_data_are_finished_when_maps_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "data").write_bytes(random.Random(4).randbytes(SIZE))
    with (source / "hole").open("wb") as hole:
        hole.truncate(1 << 20)
    assert called("optimize", source, tmp_path / "store").code == 0
    pieces: list[dict[str, object]] = [{"container": DATA, "volume": "A00001L9", "start": 10**12}]
    found = plan(tmp_path, media(tmp_path / "m.json", [volume()], pieces))
    seconds = {row["path"]: row["finish_seconds"] for row in found["files"]}
    assert seconds["data"] > 0
    assert seconds.get("hole", 0) == 0


def test_a_store_that_plans_call_instead_is_ordered() -> None:
    class Inner:
        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            return f"inner {path}".encode()[offset : offset + size]

    class Costly(Inner):
        for_plans = Inner()

        def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
            pytest.fail(f"read {size} bytes of {path} at {offset}")

    pieces = [{"container": "one", "volume": "A", "start": 5}, {"container": "two", "volume": "A"}]
    content = {"format": "rehydrate-media", "version": 1, "pieces": pieces}
    text = json.dumps(content | {"volumes": [{"name": "A", "generation": "LTO-9"}]})
    forecast = MediaForecast(parse_media(text), None)
    owner = uuid.UUID(int=1)
    store = store_for_plans(forecast.stores({owner: Costly()})[owner])
    assert store.read_backup_file(StorePath("x"), 0, 5) == b"inner"
    order = StoreCalls(store).order([StorePath("two"), StorePath("one")], 10)
    assert order is not None
    assert [extent.index for extent in order] == [0, 1]
