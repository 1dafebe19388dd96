"""Build the wheel, install it into a fresh environment, and use it from outside the tree.

What the tests import is the source tree; what a user installs is the wheel. This finds files that
were left out of it and dependencies that are not declared.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command that must end well.

    Args:
        command: Program and arguments.
        folder: Where to run it.

    Returns:
        What it printed.

    Raises:
        SystemExit: It failed; its output is part of the message.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        line = " ".join(str(part) for part in command)
        raise SystemExit(f"wheel: failed ({done.returncode}): {line}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel of this tree.

    Args:
        folder: Where to put it.

    Returns:
        The wheel, which is known to hold the typing marker and the licence.
    """
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, TREE], folder)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("rehydrate/py.typed", "/licenses/LICENSE"):
        if not any(name.endswith(needed) for name in names):
            raise SystemExit(f"wheel: {needed} is missing")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel and what it depends on into a fresh environment.

    Args:
        wheel: The wheel.
        folder: Where to make the environment.

    Returns:
        The directory of its programs.
    """
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", str(wheel)], folder)
    run([*pip, "check"], folder)
    return programs


def use(programs: Path, folder: Path) -> None:
    """Back up a small tree and restore it with the installed command.

    Args:
        programs: Directory of the installed programs.
        folder: An empty directory to work in.
    """
    source, store, out = folder / "source", folder / "store", folder / "out"
    (source / "sub").mkdir(parents=True)
    (source / "empty").write_bytes(b"")
    (source / "sub" / "data.bin").write_bytes(bytes(range(256)) * 4096)
    command = programs / "rehydrate"
    print(f"wheel: {run([command, '--version'], folder).strip()}")
    run([command, "optimize", source, store], folder)
    run([command, "restore", store, "-o", out], folder)
    for name in ("empty", "sub/data.bin"):
        found = [path for path in (out / name, out / "source" / name) if path.is_file()]
        if len(found) != 1 or not filecmp.cmp(source / name, found[0], shallow=False):
            raise SystemExit(f"wheel: {name} was not restored as it was")


def main() -> int:
    """Build, install, use.

    Returns:
        The exit code.
    """
    with tempfile.TemporaryDirectory(prefix="rehydrate-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        programs = install(wheel, folder / "environment")
        where = run(
            [programs / "python", "-c", "import rehydrate; print(rehydrate.__file__)"], folder
        )
        if str(TREE) in where:
            raise SystemExit(f"wheel: the source tree was imported: {where}")
        work = folder / "work"
        work.mkdir()
        use(programs, work)
        print(f"wheel: {wheel.name} installs and works outside the tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
