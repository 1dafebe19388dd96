"""The face of the package: one list in four places, and nothing loaded before it is used."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import rehydrate
from rehydrate.cli.__main__ import VERSION

FACE = Path(rehydrate.__file__)


def imported_by_the_stub() -> dict[str, str]:
    tree = ast.parse(FACE.with_suffix(".pyi").read_text("utf-8"))
    return {
        alias.asname or alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_programs_see_the_same_names() -> None:
    assert sorted(imported_by_the_stub()) == sorted(rehydrate.__all__) == sorted(dir(rehydrate))


@pytest.mark.parametrize("name", rehydrate.__all__)
def test_exported_name_is_the_thing_that_the_stub_names(name: str) -> None:
    home = import_module(imported_by_the_stub()[name])
    assert getattr(rehydrate, name) is getattr(home, name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_this'"):
        getattr(rehydrate, "nothing_" + "like_this")


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, rehydrate; print(sorted({'numpy', 'attr', 'zstandard'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_one_of_the_project() -> None:
    with (FACE.parents[2] / "pyproject.toml").open("rb") as stream:
        assert tomllib.load(stream)["project"]["version"] == VERSION
