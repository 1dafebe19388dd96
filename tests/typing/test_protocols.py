"""What matches the Protocols and what does not, as mypy sees it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
REPORT = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+)(?::\d+)?: error: .*\[(?P<code>[\w-]+)\]$")
MARK = re.compile(r"#\s*E: (?P<code>[\w-]+)$")


def reported(path: Path) -> set[tuple[int, str]]:
    """Run mypy with the settings of the project; give the line and code of each error in the file."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", str(path)],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = [REPORT.match(line) for line in done.stdout.splitlines() if ": error: " in line]
    assert all(found), done.stdout
    return {
        (int(match["line"]), match["code"])
        for match in found
        if match and (TREE / match["file"]).resolve() == path
    }


def marked(path: Path) -> set[tuple[int, str]]:
    """Give the line and code of each mark."""
    found = enumerate(map(MARK.search, path.read_text(encoding="utf-8").splitlines()), start=1)
    return {(line, match["code"]) for line, match in found if match}


@pytest.mark.slow
def test_vendor_classes_of_every_kind_match() -> None:
    assert reported(TREE / "tests/typing/vendors_that_match.py") == set()


@pytest.mark.slow
def test_wrong_vendor_classes_are_reported_and_nothing_else_is() -> None:
    path = TREE / "tests/typing/must_fail/vendors.py"
    expected = marked(path)
    assert len(expected) > 10
    assert reported(path) == expected


@pytest.mark.slow
def test_adapter_in_the_readme_is_well_typed(tmp_path: Path) -> None:
    text = (TREE / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "readme.py"
    path.write_text(block, encoding="utf-8")
    assert reported(path) == set()
