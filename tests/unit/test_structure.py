"""The check of sizes and late imports finds what it is there to find, and nothing in our source."""

from pathlib import Path

import pytest

from tools import structure

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "rehydrate"


def write(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return path


def faults(folder: Path, name: str, source: str) -> list[str]:
    return list(structure.faults_of(write(folder, name, source), folder))


LATE = "def f():\n    import os\n    return os\n"


@pytest.mark.parametrize("room", ["cli", "stores"])
def test_late_import_is_allowed_in(room: str, tmp_path: Path) -> None:
    assert faults(tmp_path, f"{room}/a.py", LATE) == []


@pytest.mark.parametrize("name", ["engine/a.py", "formats/native/a.py", "values.py"])
def test_late_import_is_found_in(name: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, name, LATE)
    assert fault.endswith(":2: import inside a function")


def test_late_import_in_a_nested_function_or_method_is_found_once(tmp_path: Path) -> None:
    source = "class A:\n    def f(self):\n        def g():\n            from os import sep\n"
    (fault,) = faults(tmp_path, "engine/a.py", source)
    assert ":4:" in fault


def test_import_at_the_top_or_under_a_condition_is_no_late_import(tmp_path: Path) -> None:
    source = "import os\nif os.sep == '/':\n    import posixpath\n"
    assert faults(tmp_path, "engine/a.py", source) == []


def test_long_function_is_found_and_its_docstring_is_not_counted(tmp_path: Path) -> None:
    docstring = '    """' + "\n" * 80 + '    """\n'
    body = "    x = 1\n"
    fits = "def f():\n" + docstring + body * 59
    assert faults(tmp_path, "a.py", fits) == []
    (fault,) = faults(tmp_path, "a.py", fits + body)
    assert "function f has 61 lines" in fault


def test_long_class_and_long_module_are_found(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "a.py", "class A:\n" + "    x = 1\n" * 250)
    assert "class A has 251 lines" in fault
    (fault,) = faults(tmp_path, "b.py", "x = 1\n" * 501)
    assert "501 lines, at most 500" in fault


def test_name_that_says_nothing_is_found(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "utils.py", "")
    assert "name the thing" in fault


def test_our_package_has_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert structure.main([str(PACKAGE)]) == 0, capsys.readouterr().out


def test_package_without_modules_fails(tmp_path: Path) -> None:
    assert structure.main([str(tmp_path)]) == 1
