"""Puts emulated volumes into files, as a tape in files is kept."""

import json
from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_image"]

LETTERS = "ab"


def write_image(partitions: Sequence[Sequence[bytes | None]], table: Path) -> Path:
    """Write table and records; return the table, whose name ends with ``.json``."""
    rows, at = [], 0
    with table.with_suffix(".bin").open("wb") as records:
        for letter, items in zip(LETTERS, partitions, strict=True):
            for block, record in enumerate(items):
                kind = "filemark" if record is None else "record"
                length = len(record or b"")
                rows.append({"partition": letter, "block": block, "kind": kind,
                             "length": length, "at": at})  # fmt: skip
                records.write(record or b"")
                at += length
    table.write_text(json.dumps(rows), encoding="utf-8")
    return table
