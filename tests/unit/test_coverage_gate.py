"""The coverage gate lets nothing through that it should stop."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import coverage_gate


def entry(lines: tuple[int, int], branches: tuple[int, int]) -> dict[str, Any]:
    return {
        "summary": {
            "covered_lines": lines[0],
            "num_statements": lines[1],
            "missing_lines": lines[1] - lines[0],
            "covered_branches": branches[0],
            "num_branches": branches[1],
            "missing_branches": branches[1] - branches[0],
        },
        "missing_lines": [7] * (lines[1] - lines[0]),
        "missing_branches": [[3, 5]] * (branches[1] - branches[0]),
    }


def report(name: str, total: dict[str, Any], *, branch: bool = True) -> dict[str, Any]:
    return {
        "meta": {"branch_coverage": branch},
        "totals": total["summary"],
        "files": {name: total},
    }


@pytest.mark.parametrize(
    ("lines", "branches", "faults"),
    [
        pytest.param((95, 100), (0, 0), 0, id="exactly-95"),
        pytest.param((9499, 10000), (0, 0), 1, id="just-below"),
        pytest.param((90, 90), (0, 10), 1, id="branches-count"),
        pytest.param((0, 0), (0, 0), 0, id="nothing-to-run"),
    ],
)
def test_overall_gate(lines: tuple[int, int], branches: tuple[int, int], faults: int) -> None:
    found = list(coverage_gate.faults_of(report("src/rehydrate/a.py", entry(lines, branches))))
    assert len(found) == faults


@pytest.mark.parametrize("room", ["formats", "staging"])
@pytest.mark.parametrize(
    ("lines", "branches"),
    [
        pytest.param((999, 1000), (0, 0), id="line"),
        pytest.param((1000, 1000), (999, 1000), id="branch"),
    ],
)
def test_parsers_and_replace_code_must_be_complete(
    room: str, lines: tuple[int, int], branches: tuple[int, int]
) -> None:
    name = f"src/rehydrate/{room}/x.py"
    (fault,) = coverage_gate.faults_of(report(name, entry(lines, branches)))
    assert name in fault
    assert ("7" in fault) == (lines[0] < lines[1])
    assert ("3->5" in fault) == (branches[0] < branches[1])


def test_report_without_branches_fails() -> None:
    total = entry((1, 1), (0, 0))
    found = list(coverage_gate.faults_of(report("src/rehydrate/a.py", total, branch=False)))
    assert found == ["branches were not measured"]


def test_exit_code_follows_the_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage.json"
    for covered, code in [(1, 1), (100, 0)]:
        path.write_text(json.dumps(report("src/rehydrate/a.py", entry((covered, 100), (0, 0)))))
        assert coverage_gate.main([str(path)]) == code
    assert "100.00 % over all, 0 faults" in capsys.readouterr().out
