"""The honesty counters see every way to weaken a check."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tools import honesty

# Spelt in two parts, or this file would count itself.
NO_COVER = "# pragma: " + "no cover"
NO_BRANCH = "# pragma: " + "no branch"
IGNORE = "# type: " + "ignore[arg-type]"
NOQA = "# no" + "qa: S101"


def count(folder: Path, source: str) -> dict[str, int]:
    path = folder / "a.py"
    path.write_text(source, encoding="utf-8")
    return {kind: number for kind, number in honesty.count_source([path]).items() if number}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(f"x = 1  {NO_COVER}\n", {"no cover": 1}, id="no-cover"),
        pytest.param(f"if x:  {NO_BRANCH}\n    y = 1\n", {"no cover": 1}, id="no-branch"),
        pytest.param(f"x = 1  {IGNORE}\n", {"type: ignore": 1}, id="type-ignore"),
        pytest.param(f"x = 1  {NOQA}\n", {"noqa": 1}, id="noqa"),
        pytest.param(f"x = 1  {IGNORE}  {NOQA}\n", {"noqa": 1, "type: ignore": 1}, id="both"),
        pytest.param(f"x = '{NOQA}'\n", {}, id="text-is-no-comment"),
        pytest.param("@pytest.mark.skipif(True)\ndef f(): ...\n", {"skip": 1}, id="skipif"),
        pytest.param("pytest.skip('no')\n", {"skip": 1}, id="skip-call"),
        pytest.param("pytest.importorskip('x')\n", {"skip": 1}, id="importorskip"),
        pytest.param("marks=pytest.mark.xfail\n", {"xfail": 1}, id="xfail"),
        pytest.param("skip = 1\n", {}, id="plain-name"),
    ],
)
def test_source_is_counted(source: str, expected: dict[str, int], tmp_path: Path) -> None:
    assert count(tmp_path, source) == expected


def test_skipped_tests_of_a_run_are_counted(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text('<testsuites><testsuite skipped="2"/><testsuite skipped="1"/></testsuites>')
    assert honesty.count_run(junit) == 3


def test_growth_is_a_fault_and_shrinking_is_none() -> None:
    announced = {"noqa": 2, "skip": 1}
    assert not list(honesty.grown(Counter({"noqa": 2, "skip": 0}), announced))
    (fault,) = honesty.grown(Counter({"noqa": 3, "skip": 1}), announced)
    assert fault.startswith("grew unannounced: noqa: 3, announced 2")
    (fault,) = honesty.grown(Counter({"xfail": 1}), announced)
    assert fault.startswith("grew unannounced: xfail: 1, announced 0")


@pytest.mark.parametrize(
    ("comment", "faults"),
    [
        pytest.param(NOQA, 1, id="noqa-bare"),
        pytest.param(f"{NOQA} - a reason", 0, id="noqa-explained"),
        pytest.param(f"{IGNORE} a reason", 1, id="ignore-without-dash"),
        pytest.param(f"{IGNORE} # a reason", 0, id="ignore-explained"),
        pytest.param(f"{NO_COVER} - a reason", 0, id="no-cover-explained"),
        pytest.param(f"{IGNORE}  {NOQA} - a reason", 1, id="two-with-one-reason"),
        pytest.param("# why - not", 0, id="plain-comment"),
    ],
)
def test_line_left_alone_needs_a_reason(comment: str, faults: int, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"x = 1  {comment}\n", encoding="utf-8")
    assert len(list(honesty.unexplained([path]))) == faults


def test_unannounced_growth_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "tools").mkdir()
    (tmp_path / "src" / "a.py").write_text(f"x = 1  {NOQA} - why\n")
    for announced, code in [(0, 1), (1, 0)]:
        (tmp_path / "tools" / "honesty.json").write_text(json.dumps({"noqa": announced}))
        assert honesty.main([]) == code
    assert "grew unannounced: noqa: 1, announced 0" in capsys.readouterr().out
