import sys
from pathlib import Path

import pytest

from benchmarks.runs import Run, RunError, alternate, measure, remove


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    seen: list[str] = []

    def contender(name: str) -> Run:
        seen.append(name)
        return Run(wall=float(len(seen)), cpu=0.0)

    found = alternate(
        {"a": lambda: contender("a"), "b": lambda: contender("b")},
        pairs=2,
        before=lambda: seen.append("-"),
    )
    assert "".join(seen) == "-a-b" * 3 + "-"
    assert [run.wall for run in found["a"]] == [6.0, 10.0]
    assert [run.wall for run in found["b"]] == [8.0, 12.0]


def test_processor_time_of_children_is_counted() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    run = measure([sys.executable, "-c", code])
    assert run.cpu >= 0.2
    assert run.wall >= 0.2


def test_waiting_is_no_processor_time() -> None:
    run = measure([sys.executable, "-c", "import time; time.sleep(0.3)"])
    assert run.wall >= 0.3
    assert run.cpu < 0.3


def test_a_program_that_fails_is_no_measurement() -> None:
    with pytest.raises(RunError, match="exit 3: no luck"):
        measure(
            [sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"]
        )


def test_trees_and_files_are_removed_and_nothing_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    for name in ("tree", "file", "nothing"):
        remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
