"""Ranges of single files: the right bytes, and no reads but those that hold them."""

import os
import random
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehydrate.catalogue.native import NativeCatalogue
from rehydrate.engine.random_access import read_range
from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    FormatError,
    RequestError,
    StoreError,
)
from rehydrate.ingest.optimize import optimize
from rehydrate.ingest.store import create_store
from rehydrate.stores.directory import DirectoryStore
from rehydrate.values import StoreId, StorePath

SIZE = 3_000_000
HOLE_AT = 1 << 20
HOLE_END = 2 << 20


class Counting:
    """Counts what is read of a directory of containers."""

    def __init__(self, path: Path, *, store_id: StoreId | None = None, max_read: int = 8 << 20):
        self._store = DirectoryStore(path)
        self._id = store_id
        self.max_read = max_read
        self.max_gap = 4096
        self.reads: list[tuple[str, int, int]] = []

    @property
    def store_id(self) -> StoreId | None:
        return self._id

    def read_backup_file(self, path: StorePath, offset: int, size: int, /) -> bytes:
        self.reads.append((path, offset, size))
        return self._store.read_backup_file(path, offset, size)

    def list_containers(self, folder: StorePath, /) -> Sequence[str]:
        return self._store.list_containers(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("random-access")
    source = root / "source"
    source.mkdir()
    generator = random.Random(1)
    (source / "large").write_bytes(generator.randbytes(SIZE))
    (source / "small").write_bytes(b"four words and more")
    (source / "empty").touch()
    with (source / "holes").open("wb") as file:
        file.write(generator.randbytes(HOLE_AT))
        file.seek(HOLE_END)
        file.write(generator.randbytes(1000))
    (source / "link").symlink_to("small")
    create_store(root / "store")
    optimize(source, root / "store")
    return root


def stub_of(made: Path, name: str) -> bytes:
    with NativeCatalogue.open(made / "store") as catalogue:
        return {entry.path: entry.stub for entry in catalogue.entries(1)}[os.fsencode(name)]


RANGES = [
    (0, SIZE),
    (0, 1),
    (SIZE - 1, 1),
    (SIZE - 1, 100),
    (SIZE, 1),
    (SIZE + 5, 1),
    (123_456, 0),
    (100_000, 250_000),
    (1_999_999, 2),
]


@pytest.mark.parametrize(("offset", "length"), RANGES)
@pytest.mark.parametrize("name", ["large", "small", "empty", "holes"])
def test_any_range_has_the_bytes_of_the_file(
    made: Path, name: str, offset: int, length: int
) -> None:
    found = b"".join(read_range(stub_of(made, name), Counting(made / "store"), offset, length))
    assert found == (made / "source" / name).read_bytes()[offset : offset + length]


def test_random_ranges_and_small_reads_give_the_same(made: Path) -> None:
    generator = random.Random(2)
    whole = (made / "source" / "large").read_bytes()
    stub = stub_of(made, "large")
    for _ in range(40):
        offset, length = generator.randrange(SIZE), generator.randrange(SIZE // 4)
        store = Counting(made / "store", max_read=generator.choice([1000, 70_000, 1 << 20]))
        assert b"".join(read_range(stub, store, offset, length)) == whole[offset:][:length]
        assert max(size for _, _, size in store.reads) <= store.max_read


def test_a_byte_costs_one_map_record_and_one_chunk(made: Path) -> None:
    store = Counting(made / "store")
    assert len(b"".join(read_range(stub_of(made, "large"), store, 1_500_000, 1))) == 1
    (map_path, _, _), (data_path, _, size) = store.reads
    assert map_path.startswith("Stream/")
    assert data_path.startswith("Data/")
    assert size <= (128 << 10) + 100


def test_a_small_file_needs_no_map(made: Path) -> None:
    store = Counting(made / "store")
    b"".join(read_range(stub_of(made, "small"), store))
    assert [path.partition("/")[0] for path, _, _ in store.reads] == ["Data"]


def test_holes_are_not_read(made: Path) -> None:
    store = Counting(made / "store")
    pieces = list(read_range(stub_of(made, "holes"), store, HOLE_AT + 10, HOLE_END - HOLE_AT - 10))
    assert not any(any(piece) for piece in pieces)
    assert [path for path, _, _ in store.reads if path.startswith("Data/")] == []


def test_pieces_are_bounded(made: Path) -> None:
    store = Counting(made / "store")
    assert all(
        len(piece) <= 1 << 20
        for name in ("large", "holes")
        for piece in read_range(stub_of(made, name), store)
    )
    assert all(size <= 4 << 20 for _, _, size in store.reads)


def copy_of(made: Path, root: Path) -> Path:
    store = root / "store"
    for file in (made / "store").rglob("*"):
        if file.is_file():
            target = store / file.relative_to(made / "store")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return store


def test_a_damaged_chunk_is_never_handed_out(made: Path, tmp_path: Path) -> None:
    store = copy_of(made, tmp_path)
    (container,) = (store / "Data").iterdir()
    data = bytearray(container.read_bytes())
    data[len(data) // 2] ^= 1
    container.write_bytes(data)
    got: list[bytes] = []
    whole = (made / "source" / "large").read_bytes()
    with pytest.raises(FormatError) as caught:
        got.extend(read_range(stub_of(made, "large"), Counting(store)))
    assert 0 < len(b"".join(got)) < SIZE
    assert whole.startswith(b"".join(got))
    assert caught.value.container == f"Data/{container.name}"
    assert caught.value.offset is not None


def test_a_record_that_moved_is_found(made: Path, tmp_path: Path) -> None:
    store = copy_of(made, tmp_path)
    (container,) = (store / "Data").iterdir()
    name = container.name.replace(".00000001.", ".00000002.")
    container.rename(container.with_name(name))
    found = b"".join(read_range(stub_of(made, "small"), Counting(store)))
    assert found == b"four words and more"


def test_a_missing_container_is_named(made: Path, tmp_path: Path) -> None:
    store = copy_of(made, tmp_path)
    (container,) = (store / "Data").iterdir()
    container.unlink()
    with pytest.raises(ContainerNotFoundError) as caught:
        list(read_range(stub_of(made, "large"), Counting(store)))
    assert caught.value.container == f"Data/{container.name}"


def test_a_lost_map_fails_the_file(made: Path, tmp_path: Path) -> None:
    store = copy_of(made, tmp_path)
    (container,) = (store / "Stream").iterdir()
    os.truncate(container, 4096)
    with pytest.raises(StoreError):
        list(read_range(stub_of(made, "large"), Counting(store)))


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, -1)], ids=["negative offset", "negative length"]
)
def test_a_negative_range_is_refused(made: Path, offset: int, length: int) -> None:
    with pytest.raises(RequestError):
        list(read_range(stub_of(made, "small"), Counting(made / "store"), offset, length))


def test_only_stubs_of_regular_files_have_bytes(made: Path) -> None:
    store = Counting(made / "store")
    with pytest.raises(RequestError, match="no stub"):
        list(read_range(b"anything", store))
    with pytest.raises(RequestError, match="regular files"):
        list(read_range(stub_of(made, "link"), store))
    assert store.reads == []


def test_a_damaged_stub_is_refused(made: Path) -> None:
    stub = bytearray(stub_of(made, "small"))
    stub[-1] ^= 1
    with pytest.raises(CorruptMetadataError):
        list(read_range(bytes(stub), Counting(made / "store")))


def test_another_store_is_told_by_its_identity(made: Path) -> None:
    store = Counting(made / "store", store_id=uuid.UUID(int=7))
    with pytest.raises(StoreError, match="belongs to store"):
        list(read_range(stub_of(made, "small"), store))
    assert store.reads == []
