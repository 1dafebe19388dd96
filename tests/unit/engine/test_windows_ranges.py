"""Ranges of deduplicated files of Windows: the stub's own data win, and doubt is refused."""

import random
from collections.abc import Mapping

import pytest

from rehydrate.engine.random_access import read_range
from rehydrate.errors import RequestError
from rehydrate.requests import OwnExtent, Recall
from rehydrate.values import FileExtent, StorePath
from tests.windows_store.store import File, WindowsStore
from tests.windows_store.structures import XPRESS


class InMemory:
    """Containers in a mapping."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.reads = 0

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.reads += 1
        return self._files[path][offset : offset + size]


def own_data(file: File) -> list[OwnExtent]:
    def read(at: int, size: int) -> bytes:
        return file.data[at : at + size]

    return [OwnExtent(FileExtent(offset, len(data)), read) for offset, data in file.own]


@pytest.fixture
def made() -> tuple[WindowsStore, File]:
    store = WindowsStore()
    data = random.Random(5).randbytes(3000) * 100
    return store, store.add_file(data, stub="2.1", chunks=40_000, compression=XPRESS, parts=3)


def test_ranges_of_a_file_in_parts(made: tuple[WindowsStore, File]) -> None:
    store, file = made
    memory = InMemory(store.as_mapping())
    for offset, length in [(0, file.size), (99_990, 20), (file.size - 1, 9), (120_000, 100_001)]:
        found = b"".join(read_range(file.stub, memory, offset, length, own_data=()))
        assert found == file.data[offset : offset + length]


def test_own_data_win_and_zeros_follow_the_map(made: tuple[WindowsStore, File]) -> None:
    store, file = made
    new = file.recalled({10: b"new", 70_000: b"n" * 5000, file.size + 9000: b"end"})
    own = own_data(new)
    memory = InMemory(store.as_mapping())
    pieces = read_range(new.stub, memory, size=new.size, own_data=own)
    assert b"".join(pieces) == new.data
    reads = memory.reads
    found = read_range(new.stub, memory, 69_632, 4096, size=new.size, own_data=own)
    assert b"".join(found) == new.data[69_632 : 69_632 + 4096]
    assert memory.reads == reads, "nothing is read for bytes that the stub holds"


def test_doubt_is_refused_unless_told_otherwise(made: tuple[WindowsStore, File]) -> None:
    store, file = made
    memory = InMemory(store.as_mapping())
    with pytest.raises(RequestError) as caught:
        list(read_range(file.stub, memory, size=file.size + 1))
    assert caught.value.code == "recall.unknown"
    found = read_range(file.stub, memory, size=file.size + 5, recall=Recall.IGNORE)
    assert b"".join(found) == file.data + bytes(5)
