"""Make a plan page for readers to try: of a small store whose containers lie on two tapes.

The page is made by the command itself when the documentation is built, so that it is never out of
date. It is written beside the page ``how-to/read-a-plan``, which shows it in a frame.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sphinx.application import Sphinx

from rehydrate.native import create_store, optimize

NAME = "plan-example.html"
PROGRAM = [sys.executable, "-m", "rehydrate.cli"]
TAPES = ("ARC017L9", "ARC018L9")
FOLDERS = ("accounts", "drawings", "letters", "maps", "photos", "scans")
BLOCK = 524288
CAPACITY = 1 << 20


def tree(folder: Path, chance: np.random.Generator) -> None:
    """Write files that share parts.

    Args:
        folder: Where to.
        chance: Makes the same bytes every time.
    """
    shared = [chance.bytes(int(chance.integers(100_000, 400_000))) for _ in range(12)]
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        for number in range(8):
            own = chance.bytes(int(chance.integers(50_000, 900_000)))
            parts = [shared[chance.integers(len(shared))], own]
            (folder / name / f"{name}-{number:02}.tif").write_bytes(b"".join(parts))


def media(store: Path, chance: np.random.Generator) -> dict[str, object]:
    """Say on which tape each container lies: here and there, as if many jobs had written.

    Args:
        store: Directory of the store.
        chance: Chooses places.
    """
    names = sorted(path.relative_to(store).as_posix() for path in store.glob("*/*.rhc"))
    places = 1000 + 997 * chance.choice(30_000, len(names), replace=False)
    return {
        "format": "rehydrate-media",
        "version": 1,
        "volumes": [
            {"name": name, "generation": "LTO-9", "partitions": [1, 137], "block_size": BLOCK}
            for name in TAPES
        ],
        "pieces": [
            {
                "container": name,
                "volume": TAPES[chance.integers(2)],
                "partition": 1,
                "start": int(place),
            }
            for name, place in zip(names, places, strict=True)
        ],
    }


def example(out: Path) -> None:
    """Make the page.

    Args:
        out: File to write.
    """
    chance = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tree(folder / "tree", chance)
        create_store(folder / "archive", capacity=CAPACITY)
        optimize(folder / "tree", folder / "archive")
        described = folder / "media.json"
        described.write_text(json.dumps(media(folder / "archive", chance)), encoding="utf-8")
        words = ["plan", "archive", "maps", "photos", "letters", "--media", str(described)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(
            [*PROGRAM, *words, "--html", str(out)],
            cwd=folder, env=environment, capture_output=True, check=True,
        )  # fmt: skip


def finished(app: Sphinx, problem: Exception | None) -> None:
    """Put the example beside the page that shows it.

    Args:
        app: The application.
        problem: What stopped the build, if anything did.
    """
    if problem is None and app.builder.format == "html":
        example(Path(app.outdir) / "how-to" / NAME)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to sphinx.

    Args:
        app: The application.

    Returns:
        What sphinx wants to know about the extension.
    """
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
