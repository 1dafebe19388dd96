"""Signals: a resumable end, the exact command to go on, and a hard end for the impatient."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.stage import PROGRAM, program

FILES = 6
SIZE = 24 << 20

# Each read of a container takes a little while, so that a signal comes in the middle.
SLOW = """
import time
from rehydrate.stores import directory
real = directory.DirectoryStore.read_backup_file_into
def slow(self, path, offset, buffer, /):
    time.sleep(0.05)
    return real(self, path, offset, buffer)
directory.DirectoryStore.read_backup_file_into = slow
from rehydrate.cli.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    (root / "source").mkdir()
    for number in range(FILES):
        (root / "source" / f"f{number}").write_bytes(os.urandom(SIZE))
    assert program("optimize", root / "source", root / "store").code == 0
    return root


def start(*words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_staging(out: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        staged = [path for path in out.glob(".rehydrate-*/*") if path.stat().st_size >= SIZE]
        if staged:
            return
        time.sleep(0.02)
    pytest.fail("nothing was staged")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_restore_that_goes_on(
    large: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start("restore", large / "store", "-o", out, "--json", "--jobs", "1")
    wait_for_staging(out)
    time.sleep(0.3)
    process.send_signal(number)
    text, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    found = json.loads(text)
    assert found["exit_code"] == 130
    assert found["counts"]["cancelled"] >= 1
    assert "to go on" in errors.decode()
    words = shlex.split(found["resume"])
    assert words[-2:] == ["--version", "1"]
    again = program(*words[1:])
    assert again.code == 0
    assert again.document["counters"]["bytes_resumed"] > 0
    for path in (large / "source").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_loses_nothing(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("restore", large / "store", "-o", out, "--jobs", "1")
    wait_for_staging(out)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert program("restore", large / "store", "-o", out).code == 0
    assert (out / "f0").read_bytes() == (large / "source" / "f0").read_bytes()
    assert list(out.glob(".rehydrate-*")) == []


@pytest.mark.slow
def test_clean_removes_what_an_interrupted_restore_left(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("restore", large / "store", "-o", out, "--jobs", "1")
    wait_for_staging(out)
    running = program("clean", out)
    assert running.code == 1
    assert "stays" in running.lines[0]
    process.kill()
    process.communicate(timeout=30)
    done = program("clean", out)
    assert done.code == 0
    assert done.out.startswith("removed .rehydrate-")
    assert list(out.glob(".rehydrate-*")) == []


@pytest.mark.slow
def test_an_interrupted_backup_goes_on(large: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "optimize", large / "source", tmp_path / "store", "--json", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)
    text, errors = process.communicate(timeout=30)
    if process.returncode == 130 and text:
        assert shlex.split(json.loads(text)["resume"])[:2] == ["rehydrate", "optimize"]
        assert "To go on" in errors.decode()
    assert program("optimize", large / "source", tmp_path / "store").code == 0
    assert program("restore", tmp_path / "store", "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "f5").read_bytes() == (large / "source" / "f5").read_bytes()
