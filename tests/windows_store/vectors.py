"""Bytes of real Windows volumes, which are not part of this repository.

They are looked for in ``REHYDRATE_VECTORS`` (a folder with ``windows-dedup-vectors`` in it), else
in ``../shared/reference`` beside the repository; tests that want them are skipped without them.
"""

import json
import os
from pathlib import Path
from typing import Final

import pytest

__all__ = ["hex_vector", "json_vector", "vector"]

_BESIDE: Final = Path(__file__).resolve().parents[3] / "shared" / "reference"


def vector(name: str) -> bytes:
    """Return the bytes of a file of vectors; skip the test without it."""
    root = Path(os.environ.get("REHYDRATE_VECTORS") or _BESIDE)
    path = root / "windows-dedup-vectors" / name
    if not path.is_file():
        pytest.skip(
            f"needs the real vectors: REHYDRATE_VECTORS has no windows-dedup-vectors/{name}"
        )
    return path.read_bytes()


def hex_vector(name: str) -> bytes:
    """Return what a file of hexadecimal digits says; lines with ``#`` are comments."""
    lines = vector(name).decode().splitlines()
    return bytes.fromhex(" ".join(line for line in lines if not line.startswith("#")))


def json_vector(name: str) -> dict[str, object]:
    """Return what a JSON file says."""
    found: dict[str, object] = json.loads(vector(name))
    return found
