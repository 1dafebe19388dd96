from pathlib import Path

from benchmarks.counting import CountingStore
from rehydrate.protocols import DeclaresConcurrency, DeclaresReadHints, ListsContainers
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import StorePath


def test_bytes_visits_and_repeats_are_counted_as_they_come(tmp_path: Path) -> None:
    for name in ("Data/1", "Data/2", "Stream/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    with DirectoryStore(tmp_path) as inner:
        store = CountingStore(inner)
        store.read_backup_file(StorePath("Stream/3"), 0, 30)
        store.read_backup_file(StorePath("Data/1"), 0, 50)
        store.read_backup_file_into(StorePath("Data/1"), 40, memoryview(bytearray(40)))
        store.read_backup_file(StorePath("Data/2"), 90, 50)
        store.read_backup_file(StorePath("Data/1"), 0, 10)
    found = store.counted()
    assert (found.reads, found.data_bytes, found.other_bytes) == (5, 50 + 40 + 10 + 10, 30)
    assert found.again == 10 + 10
    assert (found.visits, found.containers, found.media) == (3, 2, 3)


def test_the_wrapper_offers_what_the_store_offers(tmp_path: Path) -> None:
    with DirectoryStore(tmp_path) as inner:
        store = CountingStore(inner)
        public = {name for name in dir(inner) if not name.startswith("_")}
        assert public <= set(dir(store))
        assert isinstance(store, ListsContainers)
        assert isinstance(store, DeclaresReadHints)
        assert isinstance(store, DeclaresConcurrency) == isinstance(inner, DeclaresConcurrency)
