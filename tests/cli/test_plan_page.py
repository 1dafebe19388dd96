import json
import random
from pathlib import Path

import pytest

from rehydrate.plan.read_plan import ReadPlan
from tests.cli.stage import called
from tests.windows_store.store import WindowsStore
from tests.windows_store.volume import Entry, folder_copy


def test_a_page_is_written_beside_the_table(stage: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    done = called("plan", stage / "store", "docs", "--exclude", "*.txt", "--html", path)
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"page in {path}"
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    for words in (
        "docs/deep/blob.raw",
        "*.txt",
        str(stage / "store"),
        "Containers in reading order",
    ):
        assert words in page
    again = tmp_path / "again.html"
    assert called("plan", stage / "store", "docs", "--exclude", "*.txt", "--html", again).code == 0
    assert again.read_text(encoding="utf-8") == page


def test_a_page_and_a_document_go_together(stage: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    found = called("plan", stage / "store", "--html", path, "--json").document
    assert path.stat().st_size > 10_000
    plan = ReadPlan.from_json(json.dumps(found["plan"]))
    assert found["estimates"] is None
    finished = [file["finishes_after"] for file in found["files"]]
    assert finished == sorted(finished)
    assert finished[-1] == plan.bytes_to_read
    assert all(0 <= file["begins_after"] <= file["finishes_after"] for file in found["files"])
    assert len(found["files"]) == plan.files
    assert all(file["finish_seconds"] is None for file in found["files"])


def test_a_page_that_cannot_be_written_is_told(stage: Path, tmp_path: Path) -> None:
    done = called("plan", stage / "store", "--html", tmp_path / "missing" / "plan.html")
    assert done.code != 0
    assert "No such file or directory" in done.err


def test_a_plan_that_is_kept_holds_no_files(stage: Path, tmp_path: Path) -> None:
    kept = tmp_path / "plan"
    found = called("plan", stage / "store", "--save", kept, "--json").document
    assert found["files"]
    assert '"files": [' not in kept.read_text()
    out = tmp_path / "out"
    assert called("restore", stage / "store", "--plan", kept, "-o", out).code == 0


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    store = WindowsStore()
    content = random.Random(5).randbytes(300_000)
    tree = [
        Entry("Shares/a.bin", file=store.add_file(content)),
        Entry("Shares/b.bin", file=store.add_file(content[:120_000])),
        Entry("Shares/plain.txt", data=b"plain"),
    ]
    folder_copy(tmp_path / "copy", tree, store)
    return tmp_path / "copy"


def test_a_volume_has_a_part_for_each_store(volume: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    found = called("plan", volume, "--html", path, "--json").document
    page = path.read_text(encoding="utf-8")
    (plan,) = found["plans"]
    assert plan["estimates"] is None
    assert f"Store {plan['store']}" in page
    assert {(file["store"], file["path"]) for file in found["files"]} == {
        (plan["store"], "Shares/a.bin"),
        (plan["store"], "Shares/b.bin"),
    }
    assert "Shares/a.bin" in page
