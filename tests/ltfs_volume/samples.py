"""Two real LTFS volumes, which are not part of this repository.

They are looked for in ``REHYDRATE_VECTORS`` (a folder with ``ltfs-samples`` in it), else in
``../shared/reference`` beside the repository; tests that want them are skipped without them.
"""

import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["SAMPLES", "sample"]

_BESIDE: Final = Path(__file__).resolve().parents[3] / "shared" / "reference"
SAMPLES: Final = ("containervol-512k", "mixedvol-64k")


def sample(name: str) -> Path:
    """Return a file of the samples; skip the test without it."""
    path = Path(os.environ.get("REHYDRATE_VECTORS") or _BESIDE) / "ltfs-samples" / name
    if not path.is_file():
        pytest.skip(f"needs the real volumes: REHYDRATE_VECTORS has no ltfs-samples/{name}")
    return path
