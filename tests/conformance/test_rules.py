"""The page and the tests name the same rules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
PAGE = TREE / "docs" / "reference" / "call-contract.md"
KIT = TREE / "src" / "rehydrate" / "conformance" / "kit.py"
RULE = re.compile(r"CC-[A-Z]+-[0-9]+")


def rules_of_the_page() -> list[str]:
    """Return the ids that stand as the term of a definition."""
    text = PAGE.read_text("utf-8")
    return re.findall(r"^(CC-[A-Z]+-[0-9]+)\n: ", text, re.MULTILINE)


def marked(path: Path) -> Iterator[tuple[str, str]]:
    """Return ``(id, test)`` of each marker in a test module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and ast.unparse(decorator.func) == "pytest.mark.rule"
            ):
                for argument in decorator.args:
                    assert isinstance(argument, ast.Constant)
                    yield str(argument.value), node.name


def rules_of_the_tests() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("test_contract_*.py")):
        for rule, test in marked(path):
            found.setdefault(rule, []).append(test)
    return found


def test_page_has_rules_of_every_kind_once_each_and_counted_without_a_gap() -> None:
    rules = rules_of_the_page()
    assert len(rules) == len(set(rules))
    kinds: dict[str, list[int]] = {}
    for rule in rules:
        _, kind, number = rule.split("-")
        kinds.setdefault(kind, []).append(int(number))
    assert set(kinds) == {
        "PHASE", "ORDER", "PREVIEW", "READ", "THREAD", "TIME", "SIZE", "ERR", "PATH", "FLAG"
    }  # fmt: skip
    for numbers in kinds.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_rule_has_a_test() -> None:
    assert set(rules_of_the_page()) - set(rules_of_the_tests()) == set()


def test_no_test_names_an_unknown_rule() -> None:
    assert set(rules_of_the_tests()) - set(rules_of_the_page()) == set()


def test_every_contract_test_names_a_rule() -> None:
    for path in sorted(HERE.glob("test_contract_*.py")):
        tests = {
            node.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        assert tests
        assert tests == {test for _, test in marked(path)}


def test_rules_mentioned_on_the_page_in_the_kit_and_in_the_source_exist() -> None:
    known = set(rules_of_the_page())
    assert set(RULE.findall(PAGE.read_text("utf-8"))) <= known
    assert set(RULE.findall(KIT.read_text("utf-8"))) <= known
    for path in (TREE / "src").rglob("*.py"):
        assert set(RULE.findall(path.read_text("utf-8"))) <= known, path
