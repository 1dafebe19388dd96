"""Stubs of all formats and variants come back byte by byte through folder copies."""

import random
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from rehydrate.engine.restore import restore_files
from rehydrate.requests import OwnExtent, RestoreRequest
from rehydrate.results import RestoreReport
from rehydrate.staging.root import TargetRoot
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.values import DEDUP_TAG
from tests.windows_store.store import FORMATS, WindowsStore
from tests.windows_store.volume import Entry, NeedsNtfs, folder_copy, ntfs_image, ntfs_mounted

PLAIN, LZNT1, XPRESS, HUFFMAN = range(4)
METHODS = {"plain": [PLAIN], "xpress": [XPRESS], "mixed": [XPRESS, PLAIN, LZNT1, HUFFMAN]}


def text(seed: int, size: int) -> bytes:
    words = [bytes(random.Random(n).choices(b"abcdefgh ", k=12)) for n in range(50)]
    return b"".join(random.Random(seed).choices(words, k=size // 12 + 1))[:size]


def variants(store: WindowsStore) -> Iterator[Entry]:
    """Name files of every format: plain, compressed, mixed, in parts, recalled, moved later."""
    for number, (stub, method) in enumerate(product(FORMATS, METHODS)):
        for size in (40_000, 66_000, 100_001):
            data = text(number * 7 + size, size)
            made = store.add_file(data, stub=stub, chunks=33_000, compression=METHODS[method])
            yield Entry(f"{stub}/{method}-{size}.bin", file=made)
            if size > 70_000 and method == "mixed":
                newer = made.recalled({0: b"first", 70_000: b"newer" * 1000})
                yield Entry(f"{stub}/recalled.bin", file=newer)
        if stub != "1.2":
            made = store.add_file(text(number, 150_000), stub=stub, chunks=25_000, parts=3)
            yield Entry(f"{stub}/parts-{method}.bin", file=made)
    for kind in ("plain", "again"):
        yield Entry(f"zeros-{kind}.bin", file=store.add_file(bytes(131_072), compression=XPRESS))


@pytest.fixture(scope="module")
def store() -> WindowsStore:
    return WindowsStore(data_limit=500_000)


@pytest.fixture(scope="module")
def tree(store: WindowsStore) -> list[Entry]:
    made = list(variants(store))
    store.compact("Data", 1, 0x10000)
    store.compact("Stream", 0x10000, 2)
    assert len(made) >= 30
    return made


def restored(source: Path, out: Path) -> RestoreReport:
    requests = []
    with closing(FolderCopy(source)) as volume, TargetRoot(out) as target:
        for entry in volume.entries():
            if entry.reparse_tag == DEDUP_TAG:
                ranges, read = volume.own_ranges(entry), partial(volume.read, entry)
                own = None if ranges is None else [OwnExtent(extent, read) for extent in ranges]
                stub, size = volume.reparse_data(entry), entry.size or None
                requests.append(RestoreRequest(stub, entry.path, size=size, own_data=own))
        stores = {found.store: volume.store(found.store) for found in volume.chunk_stores()}
        return restore_files(requests, stores, target)


def test_from_a_folder_copy(store: WindowsStore, tree: list[Entry], tmp_path: Path) -> None:
    folder_copy(tmp_path / "copy", tree, store)
    report = restored(tmp_path / "copy", tmp_path / "out")
    report.raise_for_failures()
    assert len(report) == len(tree)
    for entry in tree:
        assert (tmp_path / "out" / entry.path).read_bytes() == entry.content, entry.path
    assert report.unchecked == frozenset()


def test_from_a_copy_of_another_spelling_without_stub_files(
    store: WindowsStore, tree: list[Entry], tmp_path: Path
) -> None:
    unchanged = [entry for entry in tree if entry.file and not entry.file.own]
    copy = tmp_path / "copy"
    folder_copy(copy, unchanged, store)
    for path in sorted(copy.rglob("*"), reverse=True):
        if path.suffix == ".bin":
            path.unlink()  # the sidecars alone
        elif "System Volume Information" in path.relative_to(copy).parts:
            path.rename(path.with_name(path.name.swapcase()))
    report = restored(copy, tmp_path / "out")
    report.raise_for_failures()
    assert len(report) == len(unchanged)
    for entry in unchanged:
        assert (tmp_path / "out" / entry.path).read_bytes() == entry.content, entry.path
    assert len(report.unchecked) == len(unchanged)


def test_from_a_mounted_volume(store: WindowsStore, tree: list[Entry], tmp_path: Path) -> None:
    unchanged = [entry for entry in tree if entry.file and not entry.file.own]
    try:
        ntfs_image(tmp_path / "volume.img", unchanged, store)
        with ntfs_mounted(tmp_path / "volume.img") as root:
            report = restored(root, tmp_path / "out")
    except NeedsNtfs as why:
        pytest.skip(str(why))
    report.raise_for_failures()
    assert len(report) == len(unchanged)
    for entry in unchanged:
        assert (tmp_path / "out" / entry.path).read_bytes() == entry.content, entry.path
