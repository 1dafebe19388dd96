"""What people read: summaries, lists of damage, notices, progress on a terminal."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.cli import storing
from rehydrate.cli.chosen import Wanted
from rehydrate.cli.direct import read
from rehydrate.cli.plan_output import PlanOutput
from rehydrate.cli.planning import show_plan
from rehydrate.cli.registry import command
from rehydrate.cli.sources import opened
from rehydrate.errors import Cancelled
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.report import OptimizeOptions, OptimizeReport, Skipped
from rehydrate.protocols import CatalogueEntry
from tests.cli.stage import PROGRAM, called


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_an_empty_store_says_what_makes_a_version(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    assert called("optimize", tmp_path / "source", tmp_path / "store").code == 0
    only(tmp_path / "store" / "versions").unlink()
    assert called("versions", tmp_path / "store").out == "no versions yet\n"
    assert "newest" not in called("info", tmp_path / "store").out
    done = called("ls", tmp_path / "store")
    assert done.code == 2
    assert "`rehydrate optimize` makes one" in done.lines[0]


def test_rebuild_says_what_it_made(stage: Path) -> None:
    store = stage / "store"
    only(store / "versions").unlink()
    done = called("rebuild", store)
    assert done.code == 0
    assert done.out.splitlines() == [
        "configuration: was right",
        "versions: 1 version made again",
        "index: made again",
    ]
    os.truncate(only(store / "Stream"), 5000)
    only(store / "versions").write_bytes(b"damaged")
    done = called("rebuild", store)
    assert done.code == 1
    assert done.lines[0].startswith("rehydrate: version 1 is lost: ")


def test_export_says_what_it_left_out_and_what_it_did_not_find(stage: Path) -> None:
    done = called("export-stubs", stage / "store", "docs", "link", "nope", "-o", stage / "stubs")
    assert done.code == 1
    assert done.lines == ["rehydrate: nope: nothing in version 1 matches"]
    assert done.out.splitlines() == [
        "version 1: 2 stubs in 2 directories",
        "left out: 1 link, which have no stub file",
    ]
    again = called("export-stubs", stage / "store", "docs", "-o", stage / "stubs")
    assert again.code == 1
    assert "choose an empty directory" in again.lines[0]


def test_clean_says_what_it_removed_and_what_it_left(stage: Path) -> None:
    (stage / ".rehydrate-0123456789abcdef").mkdir(mode=0o700)
    (stage / ".rehydrate-open").mkdir(mode=0o755)
    (stage / ".rehydrate-open").chmod(0o755)
    done = called("clean", stage)
    assert done.out == "removed .rehydrate-0123456789abcdef\n"
    assert done.code == 1
    assert ".rehydrate-open stays" in done.lines[0]
    (stage / ".rehydrate-open").rmdir()
    assert called("clean", stage).out == "nothing to clean\n"


def test_verify_lists_damage_by_kind_and_only_so_many_lines(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stage / "store"
    assert "as far as headers and references tell" in called("verify", store).out
    only(store / "Data").unlink()
    monkeypatch.setattr("rehydrate.cli.output._LINES", 2)
    text = called("verify", store).out
    assert "damaged containers (1):" in text
    assert "it is missing" in text
    assert "... and 2 more; --json lists all" in text


def test_verify_lists_damaged_versions(stage: Path) -> None:
    only(stage / "store" / "versions").write_bytes(b"damaged")
    done = called("verify", stage / "store")
    assert done.code == 1
    assert "damaged versions (1):" in done.out


def test_plan_of_many_containers_is_cut(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehydrate.cli.planning._ROWS", 0)
    done = called("plan", stage / "store")
    assert "... and 1 more container; --json lists all" in done.out


def test_plan_of_nothing_is_refused(stage: Path) -> None:
    done = called("plan", stage / "store", "--files-from", "-")
    assert done.code == 2
    assert "nothing to plan" in done.lines[0]


def test_optimize_names_what_failed_and_how_many(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = optimize

    def some_missing(source: Path, store: Path, **how: object) -> OptimizeReport:
        return attrs.evolve(
            real(source, store),
            skipped=tuple(Skipped(b"file %d" % n, "no right", failed=True) for n in range(15)),
            inconsistent=(b"busy",),
            left_attributes={b"security.x": 2},
            damaged_containers=("Data/1",),
        )

    monkeypatch.setattr(storing, "optimize", some_missing)
    done = called("optimize", stage / "source", stage / "store")
    assert done.code == 1
    assert done.lines[0].endswith("file 8, file 9 and 5 more")
    assert "changed while it was read" in done.lines[1]
    assert "security.x is not stored (2 entries)" in done.lines[2]
    assert "Data/1 is damaged" in done.lines[3]


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
def test_an_interrupted_backup_says_the_command(
    stage: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def stopped(source: Path, store: Path, *, options: OptimizeOptions, **how: object) -> None:
        raise Cancelled

    monkeypatch.setattr(storing, "optimize", stopped)
    done = called("optimize", stage / "source", stage / "store", *words)
    assert done.code == 130
    assert f"rehydrate optimize {stage}/source {stage}/store" in done.lines[0]
    if words:
        assert done.document["resume"].startswith("rehydrate optimize ")


def test_a_store_without_configuration_is_not_made_anew(stage: Path) -> None:
    (stage / "store" / "rehydrate-store.json").unlink()
    done = called("optimize", stage / "source", stage / "store")
    assert done.code == 3
    assert "rehydrate rebuild" in done.lines[0]


def test_a_damaged_stub_is_listed_as_damaged(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = CatalogueEntry(b"broken", b"RHST" + bytes(200))
    monkeypatch.setattr(NativeCatalogue, "entries", lambda *_: iter([broken]))
    assert "damaged stub" in called("ls", stage / "store", "-l").out
    assert "damaged stub" in called("ls", stage / "store", "--tree").out
    assert called("ls", stage / "store", "--json").document["entries"][0]["kind"] == "damaged"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "STORE", "-o", "OUT"],
        ["optimize", "SOURCE", "STORE"],
        ["verify", "STORE", "--read-data"],
    ],
)
def test_progress_is_drawn_on_a_terminal_and_never_on_stdout(
    stage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    for word, place in (("STORE", "store"), ("OUT", "out"), ("SOURCE", "source")):
        words = [text.replace(word, str(stage / place)) for text in words]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    values = read(command(words[0]), [*words[1:], "--json"])
    assert values is not None
    assert command(words[0])(**values) == 0
    assert "\x1b[" in terminal.getvalue()
    assert json.loads(capsys.readouterr().out)["format"] == f"rehydrate-{words[0]}"


def test_plan_takes_a_file_name_for_what_it_saves(stage: Path) -> None:
    with opened(stage / "store") as source:
        code = show_plan(source, Wanted(), PlanOutput(save=stage / "plan"), memory=64 << 20)
    assert code == 0
    assert json.loads((stage / "plan").read_text())["selection"]["store_version"] == 1


def test_output_that_cannot_be_written_is_told(stage: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "ls", stage / "store", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "rehydrate: No space left on device\n"
