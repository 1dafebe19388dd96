"""The pages tell the truth about what can be checked: exported names, make targets, paths, code."""

import ast
import re
from pathlib import Path

import pytest

import rehydrate

TREE = Path(__file__).resolve().parents[2]
DIRECTIVE = re.compile(
    r"^\.\. (?:autoclass|autofunction|autoexception|autodata|py:data):: (\w+)$", re.MULTILINE
)
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]


def documented() -> list[str]:
    pages = sorted((TREE / "docs" / "reference").glob("*.md"))
    return [name for page in pages for name in DIRECTIVE.findall(page.read_text("utf-8"))]


def code_of_readme() -> str:
    text = (TREE / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert isinstance(block, str)
    return block


def test_every_exported_name_is_documented_once_and_nothing_else_is() -> None:
    assert sorted(documented()) == sorted(rehydrate.__all__)


def test_adapter_in_the_readme_is_short_and_uses_the_face_only() -> None:
    tree = ast.parse(code_of_readme())
    lines = [line for line in code_of_readme().splitlines() if line.strip()]
    assert len(lines) <= 20
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "rehydrate"
        for alias in node.names
    }
    assert imported
    assert imported <= set(rehydrate.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_named_on_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^(\w+):", (TREE / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(
        re.findall(r"^make (\w+)|`make (\w+)`", (TREE / page).read_text("utf-8"), re.MULTILINE)
    )
    assert {name for pair in named for name in pair if name} <= targets


@pytest.mark.parametrize("page", PAGES)
def test_paths_named_on_a_page_exist(page: str) -> None:
    text = (TREE / page).read_text("utf-8")
    named = re.findall(r"`((?:docs|tools|tests|samples|src)/[\w./-]*)`", text)
    assert [path for path in named if not (TREE / path).exists()] == []
