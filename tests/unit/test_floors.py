"""The floors of the package: every wrong arrow breaks the contract, and the docs draw the contract.

That our own source keeps the contract is checked by ``make static``. Here a small package with one
arrow too many is checked against the same contract.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from docs._ext import floors_picture

TREE = Path(__file__).resolve().parents[2]
PYPROJECT = TREE / "pyproject.toml"
FLOORS = floors_picture.floors_of(PYPROJECT)
ROOMS = [room for floor in FLOORS for room in floor]


def lint(folder: Path, arrows: dict[str, str]) -> tuple[int, str]:
    """Make a package with every room and the given imports, and hold the contract against it."""
    package = folder / "rehydrate"
    modules = {f"{room}/__init__.py": "" for room in ROOMS}
    modules |= {
        "__init__.py": "",
        "formats/detect.py": "",
        "formats/walk.py": "",
        "formats/native/__init__.py": "",
        "formats/windows/__init__.py": "",
    }
    for name, source in (modules | arrows).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-logo", "--no-cache", "--config", PYPROJECT],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_empty_rooms_and_arrows_downwards_are_kept(tmp_path: Path) -> None:
    arrows = {
        f"{high[0]}/downwards.py": f"import rehydrate.{low[0]}\n"
        for high, low in itertools.pairwise(FLOORS)
        if low[0] not in {"protocols", "ports"} and high[0] not in {"media", "protocols"}
    }
    code, output = lint(tmp_path, arrows)
    assert (code, "3 kept, 0 broken" in output) == (0, True), output


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        pytest.param("values/a.py", "import rehydrate.results", "floors", id="one-up"),
        pytest.param("errors/a.py", "import rehydrate.cli", "floors", id="bottom-to-top"),
        pytest.param("plan/a.py", "import rehydrate.formats", "floors", id="beside-plan"),
        pytest.param("staging/a.py", "import rehydrate.stores", "floors", id="beside-staging"),
        pytest.param("engine/a.py", "import rehydrate.ingest", "floors", id="beside-engine"),
        pytest.param("ports/a.py", "import rehydrate.protocols", "floors", id="ports-to-protocols"),
        pytest.param(
            "engine/a.py",
            "def f():\n    import rehydrate.cli",
            "floors",
            id="inside-a-function",
        ),
        pytest.param("oddments/__init__.py", "", "floors", id="room-not-listed"),
        pytest.param(
            "formats/native/a.py",
            "import rehydrate.formats.windows",
            "formats do not know each other",
            id="native-to-windows",
        ),
        pytest.param(
            "formats/walk.py",
            "import rehydrate.formats.native",
            "formats do not know each other",
            id="walk-to-native",
        ),
        *(
            pytest.param(
                f"{room}/a.py",
                f"import {world}",
                "formats, plan and media never touch the world",
                id=f"{room}-to-{world}",
            )
            for room, world in [
                ("formats/native", "os"),
                ("formats", "io"),
                ("plan", "threading"),
                ("plan", "logging"),
                ("media", "time"),
                ("formats", "rehydrate.protocols"),
                ("plan", "rehydrate.ports"),
            ]
        ),
        pytest.param(
            "plan/a.py",
            "import rehydrate.results.clock",
            "formats, plan and media never touch the world",
            id="world-by-a-detour",
        ),
    ],
)
def test_wrong_arrow_breaks(module: str, source: str, broken: str, tmp_path: Path) -> None:
    code, output = lint(tmp_path, {"results/clock.py": "import time\n", module: f"{source}\n"})
    assert code == 1, output
    assert f"{broken} BROKEN" in output, output


def test_every_room_of_the_package_is_on_a_floor() -> None:
    package = TREE / "src" / "rehydrate"
    found = {path.stem for path in package.iterdir() if path.suffix == ".py"}
    found |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert found - {"__init__"} <= set(ROOMS)


def test_picture_shows_each_room_once_and_higher_floors_higher() -> None:
    root = ET.fromstring(floors_picture.picture(FLOORS))
    name = "{http://www.w3.org/2000/svg}text"
    tops = {str(text.text): float(text.attrib["y"]) for text in root.iter(name)}
    drawn = [str(text.text) for text in root.iter(name)]
    assert sorted(drawn) == sorted(ROOMS)
    for high, low in itertools.pairwise(FLOORS):
        assert max(tops[room] for room in high) < min(tops[room] for room in low)


def test_picture_without_a_contract_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.importlinter]\ncontracts = []\n", encoding="utf-8")
    with pytest.raises(LookupError, match="no contract named 'floors'"):
        floors_picture.floors_of(path)
