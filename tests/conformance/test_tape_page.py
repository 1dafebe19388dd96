"""The code on the page about the order of a tape is an adapter that passes the kit."""

import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rehydrate import BackupStore, StorePath
from rehydrate.conformance.kit import StoreConformance

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tape-order.md"
BLOCK = 4096


def code(folder: Path, number: int) -> dict[str, Any]:
    """Run a block of the page, with blocks of 4 KiB."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    script = folder / "page.py"
    script.write_text(blocks[number].replace("BLOCK = 524288", f"BLOCK = {BLOCK}"), "utf-8")
    return runpy.run_path(str(script))


class TestPlannedTapeStore(StoreConformance):
    """Halves of containers on two tapes."""

    def make_store(self, containers: Mapping[StorePath, bytes], folder: Path) -> BackupStore:
        page = code(folder, 1)
        assert page["BLOCK"] == BLOCK
        self.tapes: tuple[list[bytes], list[bytes]] = [], []
        self.rows: list[Any] = []
        for number, (path, data) in enumerate(sorted(containers.items())):
            cut = len(data) // 2
            for tape, offset, part in (
                (number % 2, 0, data[:cut]),
                (1 - number % 2, cut, data[cut:]),
            ):
                row = page["Row"](path, offset, len(part), tape, len(self.tapes[tape]))
                self.rows.append(row)
                self.tapes[tape].extend(part[at : at + BLOCK] for at in range(0, len(part), BLOCK))
        store: BackupStore = page["PlannedTapeStore"](self.rows, self.block)
        return store

    def block(self, tape: int, number: int) -> bytes:
        return self.tapes[tape][number]

    def raw_get(self, store: BackupStore, path: StorePath) -> bytes:
        data = bytearray()
        for row in sorted(row for row in self.rows if row.path == path):
            blocks = range(row.block, row.block - (-row.length // BLOCK))
            data += b"".join(self.block(row.tape, number) for number in blocks)
        return bytes(data)

    def raw_remove(self, store: BackupStore, path: StorePath) -> None:
        known: dict[StorePath, list[Any]] = vars(store)["_rows"]
        del known[path]


def test_order_by_position_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    store = code(tmp_path, 0)["TapeStore"]({"b": 1, "a": 7})
    answer = store.order_containers_restore([StorePath("a"), StorePath("b"), StorePath("c")])
    assert [extent.index for extent in answer] == [1, 0]


def test_planned_order_goes_tape_by_tape_and_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    page = code(tmp_path, 1)
    rows = [page["Row"](path, 0, 9000, tape, block) for path, tape, block in
            (("a", 1, 500), ("b", 0, 900), ("c", 1, 20))]  # fmt: skip
    store = page["PlannedTapeStore"](rows, lambda _tape, _block: bytes(BLOCK))
    answer = store.order_containers_restore([StorePath(path) for path in "abcd"])
    assert [extent.index for extent in answer] == [1, 2, 0]
    with pytest.raises(FileNotFoundError):
        store.read_backup_file(StorePath("d"), 0, 1)
