"""Every command once, as a user starts it, and the shape of its JSON."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from rehydrate.cli.registry import COMMANDS
from tests.cli.stage import PROGRAM, called, program
from tests.ltfs_volume.image import write_image
from tests.ltfs_volume.writer import VolumeWriter

TREE = Path(__file__).resolve().parents[2]
SELECTION_KEYS = {"store_version", "patterns", "paths", "excludes"}


def same_tree(one: Path, other: Path) -> bool:
    command: list[str | Path] = ["diff", "-r", "--no-dereference", one, other]
    return subprocess.run(command, check=False).returncode == 0


def test_optimize_says_what_was_stored_and_the_next_run_what_changed(stage: Path) -> None:
    (stage / "source" / "new").write_text("new")
    text = called("optimize", stage / "source", stage / "store")
    assert text.code == 0
    assert "version 2" in text.out
    found = called("optimize", stage / "source", stage / "store", "--json").document
    assert found["format"] == "rehydrate-optimize"
    assert found["store_version"] == 3
    assert found["store_made"] is False
    assert found["new_bytes"] == 0
    assert found["skipped"] == []


def test_optimize_names_what_cannot_be_stored(stage: Path) -> None:
    subprocess.run(["mkfifo", stage / "source" / "pipe"], check=True)
    done = called("optimize", stage / "source", stage / "store")
    assert done.code == 0
    assert done.lines == ["rehydrate: left out: a fifo is not stored: pipe"]


def test_versions_as_table_and_json(stage: Path) -> None:
    done = called("versions", stage / "store")
    assert done.out.splitlines()[0].split() == ["version", "time", "entries", "size", "source"]
    (version,) = called("versions", stage / "store", "--json").document["versions"]
    assert version["number"] == 1
    assert version["partial"] is False
    assert set(version) == {
        "number", "created_ns", "parent", "source", "entries", "logical_bytes", "partial",
    }  # fmt: skip


def test_ls_prints_paths_that_restore_can_take(stage: Path) -> None:
    listed = called("ls", stage / "store", "docs").out
    assert listed.splitlines() == ["docs", "docs/a.txt", "docs/deep", "docs/deep/blob.raw"]
    done = called(
        "restore", stage / "store", "--files-from", "-", "-o", stage / "out", data=listed.encode()
    )
    assert done.code == 0
    assert same_tree(stage / "source" / "docs", stage / "out" / "docs")


def test_ls_long_tree_null_and_json(stage: Path) -> None:
    store = stage / "store"
    assert "-rw-r--r--" in called("ls", store, "-l", "docs/a.txt").out
    assert "└── docs/" in called("ls", store, "--tree", "docs/a.txt").out
    assert called("ls", store, "-0", "docs/a.txt").out == "docs/a.txt\0"
    found = called("ls", store, "link", "sparse", "--json").document
    assert [entry["kind"] for entry in found["entries"]] == ["link", "file"]
    assert found["entries"][0]["link"] == "docs/a.txt"
    assert found["unmatched"] == []


def test_a_pattern_without_a_slash_fits_at_any_depth(stage: Path) -> None:
    store = stage / "store"
    listed = called("ls", store, "*.raw", "--exclude", "same*").out.splitlines()
    assert listed == ["copy.raw", "docs/deep/blob.raw"]
    assert called("ls", store, "docs/*.raw").code == 2


def test_info_as_text_and_json(stage: Path) -> None:
    assert "fastcdc" in called("info", stage / "store").out
    found = called("info", stage / "store", "--json").document
    assert found["containers"]["Data"]["count"] == 1
    assert found["newest"]["number"] == 1
    assert set(found["configuration"]) >= {"store", "chunker", "compression"}


def test_plan_shows_the_reads_and_writes_nothing(stage: Path) -> None:
    before = sorted(path.name for path in stage.iterdir())
    text = called("plan", stage / "store")
    assert "amplification" in text.out
    assert "Data/" in text.out
    found = called("plan", stage / "store", "docs", "--json").document
    assert found["format"] == "rehydrate-selected-plan"
    assert set(found["selection"]) == SELECTION_KEYS
    assert found["plan"]["format"] == "rehydrate-plan"
    assert sorted(path.name for path in stage.iterdir()) == before


def test_a_saved_plan_is_restored_as_planned(stage: Path) -> None:
    store, plan, out = stage / "store", stage / "plan.json", stage / "out"
    assert called("plan", store, "docs", "--exclude", "*.txt", "--save", plan).code == 0
    found = called("restore", store, "--plan", plan, "-o", out, "--json").document
    assert found["exit_code"] == 0
    assert [result["path"] for result in found["results"]] == [
        "docs",
        "docs/deep",
        "docs/deep/blob.raw",
    ]
    assert called("restore", store, "docs", "--plan", plan, "-o", out).code == 2


def test_dry_run_is_the_plan(stage: Path) -> None:
    done = called("restore", stage / "store", "-o", stage / "out", "-n")
    assert done.out == called("plan", stage / "store").out
    assert not (stage / "out").exists()


def test_restore_brings_everything_back_and_says_so_in_json(stage: Path) -> None:
    done = called("restore", stage / "store", "-o", stage / "out", "--json")
    assert done.code == 0
    assert done.err == ""
    found = done.document
    assert found["counts"] == {"restored": len(found["results"])}
    assert 1.0 <= found["counters"]["amplification"] <= 1.02
    assert {result["status"] for result in found["results"]} == {"restored"}
    assert same_tree(stage / "source", stage / "out")
    assert (stage / "out" / "copy.raw").stat().st_nlink == 2
    again = called("restore", stage / "store", "-o", stage / "out", "--json").document
    assert again["counts"] == {"skipped_same": len(again["results"])}


def test_directories_above_a_selection_get_their_metadata_once(stage: Path) -> None:
    called("restore", stage / "store", "docs/deep/blob.raw", "-o", stage / "out")
    made, source = stage / "out" / "docs", stage / "source" / "docs"
    assert made.stat().st_mode == source.stat().st_mode
    assert made.stat().st_mtime_ns == source.stat().st_mtime_ns
    made.chmod(0o700)
    called("restore", stage / "store", "docs/a.txt", "-o", stage / "out")
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("policy", "text"), [("never", "mine"), ("always", "the sea\n")])
def test_overwrite_decides_about_what_is_there(stage: Path, policy: str, text: str) -> None:
    out = stage / "out"
    out.mkdir()
    (out / "a.txt").write_text("mine")
    (out / "docs").mkdir()
    (out / "docs" / "a.txt").write_text("mine")
    done = called("restore", stage / "store", "docs/a.txt", "-o", out, "--overwrite", policy)
    assert done.code == 0
    assert (out / "docs" / "a.txt").read_text() == text


def test_checksum_finds_what_size_and_time_do_not(stage: Path) -> None:
    store, out = stage / "store", stage / "out"
    called("restore", store, "-o", out)
    status = (out / "copy.raw").stat()
    with (out / "copy.raw").open("r+b") as file:
        file.write(b"X")
    os.utime(out / "copy.raw", ns=(status.st_atime_ns, status.st_mtime_ns))
    called("restore", store, "-o", out)
    assert (out / "copy.raw").read_bytes()[:1] == b"X"
    called("restore", store, "-o", out, "--checksum")
    assert (out / "copy.raw").read_bytes()[:1] == b"\0"


def test_cat_gives_the_range_that_is_asked_for(stage: Path) -> None:
    whole = (stage / "source" / "copy.raw").read_bytes()
    done = subprocess.run(
        [*PROGRAM, "cat", stage / "store", "copy.raw", "--offset", "100K", "--length", "5000"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == whole[100 << 10 :][:5000]
    assert called("cat", stage / "store", "/docs/a.txt").out == "the sea\n"


def test_verify_names_what_is_damaged(stage: Path) -> None:
    store = stage / "store"
    assert called("verify", store, "--read-data").code == 0
    (container,) = (store / "Data").iterdir()
    data = bytearray(container.read_bytes())
    data[4096 + 200] ^= 1
    container.write_bytes(data)
    done = called("verify", store, "--read-data", "--json")
    assert done.code == 1
    found = done.document
    assert found["ok"] is False
    assert found["damaged_records"][0]["offset"] == 4096
    assert {file["path"] for file in found["damaged_files"]}
    assert "damaged files" in called("verify", store, "--read-data").out


def test_export_stubs_and_rebuild_and_clean(stage: Path) -> None:
    store = stage / "store"
    found = called("export-stubs", store, "docs", "-o", stage / "stubs", "--json").document
    assert (found["files"], found["directories"]) == (2, 2)
    (store / "rehydrate-store.json").unlink()
    assert called("ls", store).code == 3
    found = called("rebuild", store, "--json").document
    assert found["configuration_made"] is True
    assert called("ls", store).code == 0
    found = called("clean", stage, "--json").document
    assert found["removed"] == []


def test_every_key_of_every_document_is_on_the_page(stage: Path) -> None:
    page = (TREE / "docs" / "reference" / "cli.md").read_text("utf-8")
    rows = dict(
        re.findall(r"^\|(?:[^|]*\|)? `(rehydrate-[a-z-]+)` \| (.*) \|$", page, re.MULTILINE)
    )
    store, out = stage / "store", stage / "out"
    tape = write_image(VolumeWriter().finish().partitions, stage / "tape.json")
    runs = [
        ("optimize", stage / "source", store),
        ("versions", store),
        ("ls", store),
        ("info", store),
        ("plan", store),
        ("restore", store, "-o", out),
        ("verify", store),
        ("export-stubs", store, "-o", stage / "stubs"),
        ("rebuild", store),
        ("clean", out),
        ("inventory", tape, "-o", stage / "inventories"),
        ("ls", stage / "nowhere"),
    ]
    seen = set()
    for words in runs:
        found = called(*words, "--json").document
        name = found.pop("format")
        assert found.pop("version") == 1
        seen.add(name)
        named = set(re.findall(r"`([a-z_]+)`", rows[name]))
        listed = next((found[key] for key in ("entries", "results", "versions") if key in found), 0)
        first = listed[0] if isinstance(listed, list) else {}
        assert set(found) | set(first) <= named, name
    assert seen == set(rows)


def test_the_program_as_it_is_started(stage: Path) -> None:
    assert program("--version").out.startswith("rehydrate ")
    assert program("ls", stage / "store").out == called("ls", stage / "store").out
    done = program("restore", stage / "store", "-o", stage / "out")
    assert done.code == 0
    assert same_tree(stage / "source", stage / "out")


def test_options_before_and_after_arguments_mean_the_same(stage: Path) -> None:
    assert called("--version").out.startswith("rehydrate ")
    assert (
        called("ls", "--json", stage / "store").out == called("ls", stage / "store", "--json").out
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_use_is_code_2_with_a_hint(name: str) -> None:
    done = called(name, "--no-such-option")
    assert done.code == 2
    assert "No such option" in done.err


def test_damage_that_verify_finds_is_healed_by_the_next_optimize(stage: Path) -> None:
    store = stage / "store"
    container = next((store / "Data").iterdir())
    data = bytearray(container.read_bytes())
    data[4096 + 100] ^= 1
    container.write_bytes(data)
    assert called("verify", store, "--read-data").code == 1
    assert called("restore", store, "-o", stage / "before").code == 1
    assert called("optimize", stage / "source", store).code == 0
    assert called("restore", store, "-o", stage / "after").code == 0
    assert same_tree(stage / "source", stage / "after")
