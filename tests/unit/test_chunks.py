"""Rows of many files as columns."""

import numpy as np

from rehydrate.chunks import ROW_DTYPE, ChunkTable


def _table() -> ChunkTable:
    rows = np.zeros(4, ROW_DTYPE)
    rows["container"] = [1, 0, 2, 1]
    rows["end"] = [10, 30, 5, 9]
    return ChunkTable(rows, np.array([0, 2, 2, 3, 4, 4]))


def test_a_row_is_64_bytes() -> None:
    assert ROW_DTYPE.itemsize == 64


def test_rows_begin_where_the_row_before_ends_in_the_same_file() -> None:
    assert _table().starts().tolist() == [0, 10, 0, 0]


def test_files_without_rows_have_none() -> None:
    table = _table()
    assert table.files == 5
    assert table.file_of_row().tolist() == [0, 0, 2, 3]


def test_rows_without_stored_bytes_are_told() -> None:
    assert _table().stored().tolist() == [True, False, True, True]


def test_an_empty_table_has_no_starts() -> None:
    table = ChunkTable(np.zeros(0, ROW_DTYPE), np.zeros(1, np.int64))
    assert table.files == 0
    assert table.starts().tolist() == []
