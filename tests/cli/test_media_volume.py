"""Plans of Windows volumes on tape: several chunk stores, maps and data, several drives."""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest

from rehydrate.engine.calls import StoreCalls
from rehydrate.values import ContainerExtent, StorePath
from tests.cli.stage import called
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy

FIRST, SECOND = UUID(int=1), UUID(int=2)
NAMES = ("A00001L9", "B00002L9", "C00003L9")
SIZE = 60_000
FILES = 8


@attrs.frozen
class Stage:
    """A folder copy with two chunk stores.

    Attributes:
        copy: Where it is.
        data: Paths of the container with data, by store.
        maps: Paths of the container with stream maps, by store.
    """

    copy: Path
    data: dict[UUID, str]
    maps: dict[UUID, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    root, noise = tmp_path_factory.mktemp("volume"), random.Random(3)
    stores = {FIRST: WindowsStore(FIRST), SECOND: WindowsStore(SECOND)}
    tree = [Entry("plain.txt", data=b"plain")]
    for number in range(FILES):
        store = stores[FIRST if number < FILES // 2 else SECOND]
        tree.append(Entry(f"f{number}", file=store.add_file(noise.randbytes(SIZE))))
    folder_copy(root / "copy", tree, stores[FIRST])
    stores[SECOND].write(root / "copy")
    found = called("plan", root / "copy", "--json").document
    data, maps = {}, {}
    for each in found["plans"]:
        kinds = {planned["kind"]: planned["containers"] for planned in each["plan"]["rounds"]}
        (data[UUID(each["store"])],) = kinds["data"]
        (maps[UUID(each["store"])],) = kinds["stream"]
    return Stage(root / "copy", data, maps)


def media(path: Path, pieces: list[dict[str, object]], **more: object) -> Path:
    rows = [{"name": name, "generation": "LTO-9", "partitions": [140]} for name in NAMES]
    content = {"format": "rehydrate-media", "version": 1, "volumes": rows, "pieces": pieces}
    path.write_text(json.dumps(content | more))
    return path


def whole(container: str, volume: str, start: int) -> dict[str, object]:
    return {"container": container, "volume": volume, "start": start}


def spread(made: Stage) -> list[dict[str, object]]:
    """Return both stores on two tapes: maps on one of them, data on both."""
    first, second, third = NAMES
    return [
        whole(made.maps[FIRST], first, 10**9),
        whole(made.data[FIRST], second, 5 * 10**12),
        whole(made.maps[SECOND], first, 2 * 10**9),
        {
            "container": made.data[SECOND],
            "length": 2 * SIZE,
            "volume": third,
            "start": 10**12,
        },
        {"container": made.data[SECOND], "offset": 2 * SIZE, "volume": first, "start": 0},
    ]


def plan(made: Stage, file: Path, *words: str) -> dict[str, Any]:
    done = called("plan", made.copy, "--media", file, *words, "--json")
    assert done.code == 0, done.err
    return done.document


def test_stores_are_restored_one_after_the_other(made: Stage, tmp_path: Path) -> None:
    found = plan(made, media(tmp_path / "m.json", spread(made)))
    all_media = found["estimates"]["media"]
    assert [(each["name"], each["phase"], UUID(each["store"])) for each in all_media] == [
        (NAMES[0], "maps", FIRST),
        (NAMES[1], "data", FIRST),
        (NAMES[0], "maps", SECOND),
        (NAMES[0], "data", SECOND),
        (NAMES[2], "data", SECOND),
    ]
    # The second store finds its data on the tape that its maps were read from.
    assert [each["mounted"] for each in all_media] == [True, True, True, False, True]
    assert (found["estimates"]["volumes"], found["estimates"]["mounts"]) == (3, 4)
    assert f"mounted more than once: {NAMES[0]}" in found["estimates"]["notes"]
    wanted = [each["wanted_seconds"] for each in all_media]
    assert wanted == sorted(wanted)
    first, second = (each["estimates"] for each in found["plans"])
    assert first["begin_seconds"] == 0 < first["data_seconds"] < first["total_seconds"]
    assert first["total_seconds"] == second["begin_seconds"] < second["data_seconds"]
    assert found["estimates"]["total_seconds"] == second["total_seconds"]
    for part in ("ready_seconds", "locate_seconds", "read_seconds"):
        total = found["estimates"][part]
        assert total == pytest.approx(first[part] + second[part])
        assert total == pytest.approx(sum(each[part] for each in all_media))
    # Tapes go back to the load point before they leave a drive: that is in no column.
    parts = ("ready_seconds", "locate_seconds", "read_seconds")
    assert sum(second[part] for part in parts) <= second["total_seconds"] - second["begin_seconds"]
    times = {file["path"]: file["finish_seconds"] for file in found["files"]}
    limits = {path: second if int(path[1]) >= FILES // 2 else first for path in times}
    assert len(times) == FILES
    for path, seconds in times.items():
        assert limits[path]["data_seconds"] < seconds <= limits[path]["total_seconds"]


def test_text_and_page_have_one_list_for_all_stores(made: Stage, tmp_path: Path) -> None:
    file, page = media(tmp_path / "m.json", spread(made)), tmp_path / "plan.html"
    done = called("plan", made.copy, "--media", file, "--html", page)
    assert (done.code, done.err) == (0, "")
    text, _, last = done.out.partition("all 2 stores, one after the other:")
    for path in (*made.data.values(), *made.maps.values()):
        folder = path.rpartition("/")[0].rpartition("/")[0]
        assert f"containers in {folder}/\n" in text
    lines = [line.split() for line in last.splitlines() if "LTO-9" in line]
    assert [(line[0], line[3]) for line in lines] == [
        (NAMES[0], "maps"),
        (NAMES[1], "data"),
        (NAMES[0], "maps"),
        (NAMES[0], "data"),
        (NAMES[2], "data"),
    ]
    assert "3 volumes needed, 4 mounts" in last
    assert "finished after" in text
    html = page.read_text("utf-8")
    assert html.count("Media in mount order") == 1
    assert html.index("All stores, one after the other") < html.index(f"Store {FIRST}")
    assert html.count("<figcaption>Tape A00001L9, stream maps: 1 stretch on 1 wrap") == 2


def test_one_store_has_its_list_once(made: Stage, tmp_path: Path) -> None:
    file, page = media(tmp_path / "m.json", spread(made)), tmp_path / "plan.html"
    done = called("plan", made.copy, "f0", "--media", file, "--html", page)
    assert done.code == 0
    assert "one after the other" not in done.out
    assert done.out.count("2 volumes needed, 2 mounts") == 1
    html = page.read_text("utf-8")
    assert html.count("Media in mount order") == 1
    assert "All stores" not in html


def test_files_of_each_store_that_are_complete_at_hand(made: Stage, tmp_path: Path) -> None:
    file = media(tmp_path / "m.json", spread(made))
    found = plan(made, file, "--at-hand", f"{NAMES[0]},{NAMES[1]}")
    here = {row["path"] for row in found["files"] if row["at_hand"]}
    assert {f"f{number}" for number in range(FILES // 2)} < here
    assert 0 < len(here) < FILES
    assert [each["at_hand"] for each in found["estimates"]["media"]] == [True] * 4 + [False]
    notes = found["plans"][1]["estimates"]["notes"]
    assert any(note.endswith(f"the others also need {NAMES[2]}") for note in notes)
    without_maps = plan(made, file, "--at-hand", f"{NAMES[1]},{NAMES[2]}")
    notes = without_maps["plans"][0]["estimates"]["notes"]
    assert any(note.startswith(f"stream maps lie on {NAMES[0]}, too") for note in notes)


def test_what_is_in_a_drive_is_at_hand(made: Stage, tmp_path: Path) -> None:
    file = media(tmp_path / "m.json", spread(made))
    content = json.loads(file.read_text())
    content["volumes"][2]["loaded"] = True
    file.write_text(json.dumps(content))
    found = plan(made, file, "--at-hand", NAMES[0])
    hand = {each["name"]: each["at_hand"] for each in found["estimates"]["media"]}
    assert hand == {NAMES[0]: True, NAMES[1]: False, NAMES[2]: True}


def test_several_drives_are_busy_together(made: Stage, tmp_path: Path) -> None:
    slices: list[dict[str, object]] = [
        {
            "container": made.data[FIRST],
            "offset": number * SIZE // 4,
            "length": SIZE // 4,
            "volume": NAMES[number % 2],
            "start": 4 * 10**12 + (number * 7 % 16) * 10**11,
        }
        for number in range(16)
    ]
    del slices[-1]["length"]
    file = media(tmp_path / "m.json", slices, drives=2)
    found = plan(made, file, "f0", "f1", "f2", "f3")
    (only,) = found["plans"]
    assert {each["drive"] for each in only["estimates"]["media"]} == {1, 2}
    extents = only["plan"]["rounds"][-1]["extents"]
    drives = [extent["offset"] // (SIZE // 4) % 2 for extent in extents]
    # Drives take turns, as they do in a restore.
    assert sum(one != other for one, other in pairwise(drives)) > 4
    seconds = [row["finish_seconds"] for row in found["files"]]
    assert seconds == sorted(seconds)
    total = only["estimates"]["total_seconds"]
    assert seconds[-1] == pytest.approx(total)
    one = plan(made, media(tmp_path / "one.json", slices), "f0", "f1", "f2", "f3")
    assert total < one["plans"][0]["estimates"]["total_seconds"]


def test_a_restore_asks_in_the_order_of_the_plans(
    made: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    order = StoreCalls.order

    def noted(
        calls: StoreCalls, containers: Sequence[StorePath], most: int
    ) -> list[ContainerExtent] | None:
        asked.extend(containers)
        return order(calls, containers, most)

    monkeypatch.setattr(StoreCalls, "order", noted)
    assert called("restore", made.copy, "-o", tmp_path / "out").code == 0
    found = plan(made, media(tmp_path / "m.json", spread(made)))
    kinds = {"maps": made.maps, "data": made.data}
    told = [
        kinds[each["phase"]][UUID(each["store"])]
        for each in found["estimates"]["media"]
        if each["name"] != NAMES[2]
    ]
    assert asked[: len(told)] == told
