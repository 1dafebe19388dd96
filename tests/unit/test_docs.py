"""The pages tell the truth about what can be checked: exported names, make targets, paths, code."""

import ast
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import rehydrate

TREE = Path(__file__).resolve().parents[2]
DIRECTIVE = re.compile(
    r"^\.\. (autoclass|autofunction|autoexception|autodata|py:data|currentmodule):: ([\w.]+)$",
    re.MULTILINE,
)
FACES = ["rehydrate", *(f"rehydrate.{name}" for name in ("native", "objects", "tapes", "windows"))]
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]


def documented(face: str) -> list[str]:
    """Return the bare names on the pages of a face; what has dots is no part of it."""
    found = []
    for page in sorted((TREE / "docs" / "reference").glob("*.md")):
        module = "rehydrate"
        for directive, name in DIRECTIVE.findall(page.read_text("utf-8")):
            if directive == "currentmodule":
                module = name
            elif module == face and "." not in name:
                found.append(name)
    return found


def code_of_readme() -> str:
    text = (TREE / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert isinstance(block, str)
    return block


@cache
def help_of(command: str) -> str:
    """Return what the program says about itself or one of its commands."""
    words = [] if command.startswith("-") else [command]
    done = subprocess.run(
        [sys.executable, "-m", "rehydrate.cli", *words, "--help"],
        env=os.environ | {"COLUMNS": "200", "TERMINAL_WIDTH": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("face", FACES)
def test_every_exported_name_is_documented_once_and_nothing_else_is(face: str) -> None:
    assert sorted(documented(face)) == sorted(import_module(face).__all__)


@pytest.mark.parametrize(
    "sample", sorted((TREE / "samples").glob("*.py")), ids=lambda path: path.stem
)
def test_samples_use_what_is_public(sample: Path) -> None:
    nodes = ast.walk(ast.parse(sample.read_text("utf-8")))
    homes = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {home for home in homes if home.partition(".")[0] == "rehydrate"}
    assert ours <= {*FACES, "rehydrate.conformance"}


def test_no_name_means_two_things() -> None:
    names = [name for face in FACES for name in import_module(face).__all__]
    assert len(set(names)) == len(names)


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


@pytest.mark.slow
def test_commands_of_the_tutorial_run_as_printed(tmp_path: Path) -> None:
    text = (TREE / "docs" / "tutorial" / "first-restore.md").read_text("utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    programs = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "2025" / "beach.raw").stat().st_size == 3_000_000


def test_commands_and_options_named_on_pages_exist() -> None:
    pages = [TREE / "README.md", *sorted((TREE / "docs").rglob("*.md"))]
    lines = [
        match
        for page in pages
        for match in re.findall(r"^(?:\$ )?rehydrate (.*)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert lines
    for command, *words in [shlex.split(line, comments=True) for line in lines]:
        shown = help_of(command)
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert {option for option in options if option not in shown} == set(), command


def test_every_command_has_its_help_on_the_page() -> None:
    page = (TREE / "docs" / "reference" / "cli.md").read_text("utf-8")
    shown = set(re.findall(r"^HELP: (\S+)$", page, re.MULTILINE))
    described = help_of("--help").partition("Commands:")[2]
    listed = re.findall(r"^ +([a-z][a-z-]+)(?: {2,}|$)", described, re.MULTILINE)
    assert shown == set(listed)
