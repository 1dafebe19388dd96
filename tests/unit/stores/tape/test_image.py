"""The tape image: a drive over two files."""

import json
from pathlib import Path

import pytest

from rehydrate.errors import CorruptMetadataError, StoreReadError
from rehydrate.stores.tape.drive import END_OF_DATA, TapePosition
from rehydrate.stores.tape.image import TapeImage

ROWS = [
    {"partition": "a", "block": 0, "kind": "record", "length": 3, "at": 0},
    {"partition": "a", "block": 1, "kind": "filemark", "length": 0, "at": 3},
    {"partition": "a", "block": 2, "kind": "record", "length": 2, "at": 3},
    {"partition": "b", "block": 0, "kind": "record", "length": 9, "at": 5},
]


def make(tmp_path: Path, table: str | None = None) -> TapeImage:
    (tmp_path / "table").write_text(json.dumps(ROWS) if table is None else table)
    (tmp_path / "records").write_bytes(b"onetwo")
    return TapeImage(tmp_path / "table", tmp_path / "records")


def test_records_and_filemarks_come_in_order(tmp_path: Path) -> None:
    with make(tmp_path) as tape:
        assert [tape.read_record() for _ in range(3)] == [b"one", None, b"tw"]
        assert tape.position() == TapePosition(0, 3)
        with pytest.raises(StoreReadError) as caught:
            tape.read_record()
        assert caught.value.code == END_OF_DATA


def test_filemarks_are_gone_over_both_ways(tmp_path: Path) -> None:
    with make(tmp_path) as tape:
        tape.locate_end(0)
        tape.space_filemarks(-1)
        assert tape.position() == TapePosition(0, 1)
        with pytest.raises(StoreReadError):
            tape.space_filemarks(-1)
        tape.locate(0, 0)
        tape.space_filemarks(1)
        assert tape.read_record() == b"tw"
        with pytest.raises(StoreReadError):
            tape.space_filemarks(1)


def test_what_is_not_there_is_the_end_of_data(tmp_path: Path) -> None:
    with make(tmp_path) as tape:
        for partition, block in ((0, 4), (0, -1), (2, 0)):
            with pytest.raises(StoreReadError) as caught:
                tape.locate(partition, block)
            assert caught.value.code == END_OF_DATA
        tape.locate(1, 0)
        with pytest.raises(StoreReadError, match="too short"):
            tape.read_record()
    tape.close()


@pytest.mark.parametrize(
    "table",
    [
        "", "[", "{}", "[1]", '[{"partition": "c"}]', '[{"partition": 1}]', "[" * 100_000,
        '[{"partition": "a", "block": 1, "kind": "record"}]',
        '[{"partition": "a", "block": 0, "kind": "gap"}]',
        '[{"partition": "a", "block": 0, "kind": []}]',
        '[{"partition": "a", "block": false, "kind": "filemark", "at": 0}]',
        '[{"partition": "a", "block": 0, "kind": "record", "length": 16777216, "at": 0}]',
        '[{"partition": "a", "block": 0, "kind": "record", "length": 4611686018427387904, "at": 0}]',
        '[{"partition": "a", "block": 0, "kind": "record", "length": -1, "at": 0}]',
        '[{"partition": "a", "block": 0, "kind": "record", "length": 1, "at": true}]',
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        make(tmp_path, table)
    assert caught.value.code == "tape.image"


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreReadError, match="cannot open"):
        TapeImage(tmp_path / "none", tmp_path / "none")


def test_a_place_that_no_file_has_is_told(tmp_path: Path) -> None:
    row = {"partition": "a", "block": 0, "kind": "record", "length": 3, "at": 2**63 - 1}
    with make(tmp_path, json.dumps([row])) as tape, pytest.raises(StoreReadError):
        tape.read_record()
