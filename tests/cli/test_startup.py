"""What each line loads: modules are counted, as times depend on what else the machine does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"numpy", "attr", "zstandard", "blake3", "typer", "rich", "pydantic"}
FOR_TYPER = {"typer"}
ENGINE = {"numpy", "attr", "zstandard", "blake3"}


def loaded(*words: str | Path, **environment: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rehydrate.cli", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    modules = re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    assert "rehydrate.cli" in modules
    return {module.partition(".")[0] for module in modules} & HEAVY


def test_version_loads_nothing() -> None:
    assert loaded("--version") == set()


@pytest.mark.parametrize("words", [["--help"], ["restore", "--help"], ["restore"], []])
def test_help_loads_typer_and_nothing_behind_it(words: list[str]) -> None:
    assert loaded(*words) == FOR_TYPER


@pytest.mark.parametrize(
    "environment",
    [
        {"_REHYDRATE_COMPLETE": "complete_bash", "COMP_WORDS": "rehydrate re", "COMP_CWORD": "1"},
        {"_REHYDRATE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "rehydrate restore s --o"},
        {
            "_REHYDRATE_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "rehydrate ",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    ],
    ids=["bash", "zsh", "fish"],
)
def test_completion_loads_typer_and_nothing_behind_it(environment: dict[str, str]) -> None:
    assert loaded(**environment) == FOR_TYPER


def test_a_correct_line_does_not_load_typer_and_rich(stage: Path) -> None:
    assert loaded("restore", stage / "store", "-o", stage / "out", "--jobs", "1") == ENGINE
    assert loaded("ls", stage / "store", "*.raw", "--version", "1") == ENGINE


def test_completion_completes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rehydrate.cli"],
        env={
            **os.environ,
            "_REHYDRATE_COMPLETE": "complete_bash",
            "COMP_WORDS": "rehydrate restore store --over",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["--overwrite"]
