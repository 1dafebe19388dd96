"""Programs that load volumes: what they leave behind, how much they say, and how they are ended."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from rehydrate.cli import load_program
from rehydrate.cli.interrupt import cancelled_by_signals
from rehydrate.cli.load_program import run_loader
from rehydrate.errors import Cancelled


@pytest.fixture
def life(tmp_path: Path) -> Path:
    """Return a pipe; it ends when nobody has it open any more."""
    path = tmp_path / "life"
    os.mkfifo(path)
    return path


def ended(reader: int) -> bool:
    """Tell whether all writers of a pipe are gone, waiting for them."""
    while select.select([reader], [], [], 60)[0]:
        if not os.read(reader, 1):
            return True
    return False


def test_what_a_program_leaves_behind_is_not_waited_for(life: Path) -> None:
    """A file system that mounts a volume goes on, and keeps the output of who started it."""
    code, said = run_loader(["sh", "-c", f"echo one; cat {life} & echo two"])
    reader = os.open(life, os.O_WRONLY)
    os.close(reader)
    assert (code, said) == (0, ["one", "two"])


def test_the_end_of_what_is_said_is_kept() -> None:
    text = f"{sys.executable} -c \"print('x' * 70000); [print(n) for n in range(100000)]\""
    code, said = run_loader(["sh", "-c", text])
    assert code == 0
    assert said == [str(number) for number in range(99_980, 100_000)]


@pytest.mark.parametrize("deaf", ["", "trap '' TERM;"])
def test_all_that_a_program_started_ends_with_the_restore(
    deaf: str, life: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_program, "_POLL", 0.05)
    monkeypatch.setattr(load_program, "_GRACE", 3)
    reader = os.open(life, os.O_RDONLY | os.O_NONBLOCK)
    with cancelled_by_signals("nothing") as token:
        token.cancel()
        with pytest.raises(Cancelled):
            run_loader(["sh", "-c", f"exec 5> {life}; {deaf} sleep 1000; sleep 1000"])
    assert ended(reader)
    os.close(reader)


def test_what_cannot_be_started_is_told() -> None:
    assert run_loader(["/no/such/program"]) == (127, ["No such file or directory"])
    code, (said,) = run_loader(["echo", "a\0b"])
    assert code == 127
    assert "null byte" in said


def test_programs_end_with_this_process(life: Path) -> None:
    """The restore may be over before the thread that waits for the program sees it."""
    code = (
        "import threading\n"
        "from rehydrate.cli.load_program import _RUNNING, run_loader\n"
        f"words = ['sh', '-c', 'exec 5> {life}; echo > {life}; sleep 1000']\n"
        "threading.Thread(target=run_loader, args=(words,), daemon=True).start()\n"
        f"open({str(life)!r}).readline()\n"
        "while not _RUNNING:\n    pass\n"
    )
    reader = os.open(life, os.O_RDONLY | os.O_NONBLOCK)
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert ended(reader)
    os.close(reader)


def test_a_signal_that_was_seen_counts_after_the_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told then that the volume cannot be had."""
    asked = iter([True])
    monkeypatch.setattr(load_program, "stop_asked", lambda: next(asked, False))
    with pytest.raises(Cancelled):
        run_loader(["sleep", "1000"])
