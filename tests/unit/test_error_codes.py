"""Every code that an error of the package can have is on the page, and none that it cannot."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TREE: Final = Path(__file__).parents[2]
PAGE: Final = TREE / "docs" / "reference" / "errors.md"
CODE: Final = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.[a-z]+(?:-[a-z]+)*)+")
FILES: Final = (".json", ".txt", ".py", ".html")


def constants(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield node, child.value


def trees() -> Iterator[ast.AST]:
    for path in sorted((TREE / "src").rglob("*.py")):
        yield ast.parse(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def said() -> set[str]:
    """Return all strings of the package but its documentation."""
    return {
        text for tree in trees() for node, text in constants(tree) if not isinstance(node, ast.Expr)
    }


@pytest.fixture(scope="module")
def codes(said: set[str]) -> set[str]:
    """Return the codes: what is given as ``code``, and what is of the family of one."""
    given = {
        text
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "code"
        for _, text in constants(ast.Module([ast.Expr(node.value)], []))
    }
    given = {code for code in given if CODE.fullmatch(code)}
    families = {code.partition(".")[0] for code in given}
    alike = {text for text in said if CODE.fullmatch(text) and not text.endswith(FILES)}
    return given | {code for code in alike if code.partition(".")[0] in families}


@pytest.fixture(scope="module")
def listed() -> set[str]:
    """Return the codes on the page."""
    _, _, part = PAGE.read_text("utf-8").partition("\n## Codes\n")
    rows = [line.rpartition(" | ")[2] for line in part.splitlines() if line.startswith("| ")]
    return {code for row in rows for code in re.findall(r"`([a-z.-]+)`", row)}


def test_every_code_is_on_the_page(codes: set[str], listed: set[str]) -> None:
    assert len(codes) > 200
    assert codes - listed == set()


def test_every_code_on_the_page_can_be_met(listed: set[str], said: set[str]) -> None:
    """Some are put together from a family and a kind."""
    strange = {code for code in listed if not {code, code.rpartition(".")[2]} & said}
    assert strange == set()
