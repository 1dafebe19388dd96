"""Each kind of bad input: one clear line, the documented code, nothing lost."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.stage import called, program, small_tree


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def change_configuration(store: Path, part: str, key: str | None, value: int) -> None:
    file = store / "rehydrate-store.json"
    found = json.loads(file.read_text())
    if key is None:
        found[part] = value
    else:
        found[part][key] = value
    file.write_text(json.dumps(found))


@pytest.mark.parametrize(
    "words",
    [["ls"], ["info"], ["versions"], ["plan"], ["verify"], ["rebuild"], ["restore", "-o", "o"]],
)
def test_unknown_store(tmp_path: Path, words: list[str]) -> None:
    command, *rest = words
    done = called(command, tmp_path / "nowhere", *rest)
    assert done.code == 3
    (line,) = done.lines
    assert str(tmp_path / "nowhere") in line
    assert not (tmp_path / "nowhere").exists()


def test_foreign_directory_is_refused_for_reading_and_writing(stage: Path) -> None:
    for done in (
        called("ls", stage / "source"),
        called("optimize", stage / "store", stage / "source"),
    ):
        assert done.code == 3
        (line,) = done.lines
        assert "no rehydrate store" in line


def test_newer_format_names_the_feature_bit(stage: Path) -> None:
    change_configuration(stage / "store", "features", "incompat", 1 << 5)
    done = program("restore", stage / "store", "-o", stage / "out", "--json")
    assert done.code == 3
    (line,) = done.lines
    assert "feature bit 5" in line
    assert str(stage / "store") in line
    assert "newer rehydrate" in line
    assert done.document["error"]["code"] == "store.feature"


def test_newer_version_of_the_format(stage: Path) -> None:
    change_configuration(stage / "store", "version", None, 9)
    done = called("ls", stage / "store")
    assert done.code == 3
    assert "store format 9 is newer" in done.lines[0]


def test_store_locked_by_another_process(stage: Path) -> None:
    with (stage / "store" / "lock").open("r+b") as lock:
        lock.truncate()
        lock.write(b'{"host": "elsewhere", "boot": "b", "pid": 4242}')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        for words in (["optimize", str(stage / "source")], ["rebuild"]):
            done = program(*words, stage / "store")
            assert done.code == 3
            (line,) = done.lines
            assert "process 4242 on host elsewhere" in line
        assert program("ls", stage / "store").code == 0


def test_missing_container_fails_its_files_and_the_rest_goes_on(stage: Path) -> None:
    container = only(stage / "store" / "Data")
    kept = container.rename(stage / "kept")
    done = program("restore", stage / "store", "-o", stage / "out")
    assert done.code == 1
    line, follows = done.lines
    assert f"Data/{container.name}" in line
    assert "run this again" in line
    assert follows.startswith("rehydrate: same.raw: the first name of the inode")
    assert (stage / "out" / "link").is_symlink()
    kept.rename(container)
    assert program("restore", stage / "store", "-o", stage / "out").code == 0


def test_container_cut_short_fails_its_files_only(stage: Path) -> None:
    container = only(stage / "store" / "Data")
    whole = container.stat().st_size
    os.truncate(container, whole // 2)
    done = called("restore", stage / "store", "-o", stage / "out", "--json")
    assert done.code == 1
    results = {result["path"]: result for result in done.document["results"]}
    assert results["sparse"]["status"] == "restored"
    failed = {path for path, result in results.items() if result["status"] == "failed"}
    assert failed == {"copy.raw", "same.raw", "docs/a.txt", "docs/deep/blob.raw"}
    assert results["copy.raw"]["error"]["container"] == f"Data/{container.name}"
    assert any("cut short" in line for line in done.lines)


def test_stream_container_cut_short_makes_the_store_unusable(stage: Path) -> None:
    os.truncate(only(stage / "store" / "Stream"), 5000)
    done = called("ls", stage / "store")
    assert done.code == 3
    (line,) = done.lines
    assert "Stream/" in line
    assert "rehydrate verify" in line


def test_stub_of_another_store(stage: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert called("optimize", stage / "source", other).code == 0
    for folder in ("Stream", "versions"):
        shutil.rmtree(other / folder)
        shutil.copytree(stage / "store" / folder, other / folder)
    done = called("restore", other, "-o", stage / "out")
    assert done.code == 1
    (line,) = done.lines
    assert "belongs to store" in line


@pytest.mark.parametrize("pattern", ["../x", "docs/../../x"])
def test_path_outside_is_refused(stage: Path, pattern: str) -> None:
    done = called("restore", stage / "store", pattern, "-o", stage / "out")
    assert done.code == 2
    (line,) = done.lines
    assert "leads outside" in line


def test_link_in_the_way_is_not_followed(stage: Path) -> None:
    out, elsewhere = stage / "out", stage / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "docs").symlink_to(elsewhere)
    done = called("restore", stage / "store", "docs", "-o", out)
    assert done.code == 1
    assert all("link" in line for line in done.lines)
    assert list(elsewhere.iterdir()) == []


def test_directory_where_a_file_must_go(stage: Path) -> None:
    out = stage / "out"
    (out / "copy.raw" / "inside").mkdir(parents=True)
    done = called("restore", stage / "store", "copy.raw", "docs/a.txt", "-o", out)
    assert done.code == 1
    (line,) = done.lines
    assert "a directory stands where the file 'copy.raw' must go" in line
    assert (out / "copy.raw" / "inside").is_dir()
    assert (out / "docs" / "a.txt").read_text() == "the sea\n"


def test_same_target_twice_is_restored_once(stage: Path) -> None:
    words = ["docs/a.txt", "/docs/a.txt", "docs//a.txt", "docs"]
    done = called("restore", stage / "store", *words, "-o", stage / "out", "--json")
    assert done.code == 0
    targets = [result["path"] for result in done.document["results"]]
    assert len(targets) == len(set(targets))


def test_what_matches_nothing_is_named(stage: Path) -> None:
    done = called("restore", stage / "store", "nope", "docs/a.txt", "-o", stage / "out", "--json")
    assert done.code == 1
    assert done.document["unmatched"] == ["nope"]
    assert "nope" in done.lines[0]
    done = called("restore", stage / "store", "nope", "-o", stage / "other")
    assert done.code == 2
    assert not (stage / "other").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "STORE", "-o", "OUT", "--version", "9"],
        ["restore", "STORE", "-o", "OUT", "--files-from", "/nowhere/list"],
        ["restore", "STORE", "-o", "OUT", "--plan", "/nowhere/plan"],
        ["restore", "STORE", "-o", "OUT", "--plan", "STORE/rehydrate-store.json"],
        ["cat", "STORE", "nope"],
        ["cat", "STORE", "docs"],
        ["optimize", "/nowhere/source", "STORE"],
        ["clean", "/nowhere"],
    ],
)
def test_wrong_requests_are_code_2(stage: Path, words: list[str]) -> None:
    places = {"STORE": str(stage / "store"), "OUT": str(stage / "out")}
    for word, place in places.items():
        words = [text.replace(word, place) for text in words]
    done = called(*words)
    assert done.code == 2
    assert len(done.lines) == 1


def test_plan_of_other_files_is_refused(stage: Path) -> None:
    plan = stage / "plan"
    assert called("plan", stage / "store", "docs", "--save", plan).code == 0
    found = json.loads(plan.read_text())
    found["selection"]["patterns"] = ["copy.raw"]
    plan.write_text(json.dumps(found))
    done = called("restore", stage / "store", "--plan", plan, "-o", stage / "out")
    assert done.code == 2
    assert "plan" in done.lines[0]


def test_target_that_cannot_be_a_directory(stage: Path) -> None:
    done = called("restore", stage / "store", "-o", stage / "source" / "copy.raw")
    assert done.code == 1
    (line,) = done.lines
    assert "name a directory" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an empty file system of 256 KiB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_is_told_before_any_data_is_read(stage: Path, small_disk: Path) -> None:
    done = program("restore", stage / "store", "-o", small_disk, "--json")
    assert done.code == 1
    (line,) = done.lines
    assert "make room" in line
    assert done.document["error"]["code"] == "fs.nospace"
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_read_only_target(stage: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for out in (small_disk, small_disk / "below"):
        done = called("restore", stage / "store", "-o", out)
        assert done.code == 1
        (line,) = done.lines
        assert "it is read-only: choose another target" in line


def test_names_that_are_hard_on_a_terminal_stay_on_their_line(tmp_path: Path) -> None:
    source = small_tree(tmp_path)
    (source / "two\nlines").write_text("x")
    (source / "\x1b[31mred").write_text("x")
    assert called("optimize", source, tmp_path / "store").code == 0
    only(tmp_path / "store" / "Data").unlink()
    done = called("restore", tmp_path / "store", "*lines", "*red", "-o", tmp_path / "out")
    assert done.code == 1
    (line,) = done.lines
    assert "\x1b" not in line
    assert "\\x0a" in line


@pytest.mark.parametrize("command", ["ls", "cat"])
def test_a_reader_that_goes_away_is_quiet(stage: Path, command: str) -> None:
    words = {"ls": ["ls", "--json"], "cat": ["cat"]}[command]
    name = {"ls": [], "cat": ["copy.raw"]}[command]
    process = subprocess.Popen(
        [sys.executable, "-m", "rehydrate.cli", words[0], stage / "store", *name, *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()
