"""Both real volumes: every file comes back with the hash that its own implementation gave."""

import hashlib
import json
from collections.abc import Iterator, Mapping

import pytest

from rehydrate.stores.ltfs.newest import older_indexes, read_labels
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition
from rehydrate.stores.tape.image import TapeImage
from rehydrate.values import FileExtent, StorePath
from tests.ltfs_volume import SAMPLES, CountingDrive, Library, sample


def truth(name: str) -> Mapping[str, Mapping[str, str | int]]:
    found: Mapping[str, Mapping[str, str | int]] = json.loads(
        sample(f"{name}.files.json").read_text("utf-8")
    )
    return found


def saved(name: str) -> LtfsVolume:
    label, index = (sample(f"{name}.{part}.xml").read_bytes() for part in ("label", "index"))
    return LtfsVolume.saved(name, label, [index])


@pytest.fixture
def image() -> Iterator[TapeImage]:
    with TapeImage(sample("mixedvol-64k.blocks.json"), sample("mixedvol-64k.blocks.bin")) as tape:
        yield tape


@pytest.mark.parametrize("name", SAMPLES)
def test_the_index_names_every_file_with_its_length(name: str) -> None:
    volume = saved(name)
    index = volume.index
    found = {index.path(node): index.length(node) for node in index.files()}
    assert found == {path: facts["length"] for path, facts in truth(name).items()}
    for path, length in found.items():
        assert index.path(index.find(path) or 0) == path
        assert sum(extent.count for extent in volume.extents(path)) <= length


def test_every_file_of_the_awkward_volume_comes_back(image: TapeImage) -> None:
    volume = LtfsVolume.read(image)
    assert (volume.name, volume.index.head.generation) == ("TAP002", 4)
    assert dict(volume.written) == {"a": 8, "b": 43}
    store = LtfsStore([volume], Library({volume.name: lambda: image}))
    for path, facts in truth("mixedvol-64k").items():
        data = store.read_backup_file(StorePath(path), 0, 1 << 20)
        assert len(data) == facts["length"], path
        assert hashlib.sha256(data).hexdigest() == facts["sha256"], path


def test_reading_in_the_answered_order_takes_one_locate(image: TapeImage) -> None:
    partitions: list[list[bytes | None]] = []
    for number, size in enumerate((8, 43)):
        image.locate(number, 0)
        partitions.append([image.read_record() for _ in range(size)])
    library = Library({"TAP002": partitions})
    volume = LtfsVolume.read(CountingDrive(partitions))
    facts = truth("mixedvol-64k")
    paths = [StorePath(path) for path in sorted(facts) if path != "small.txt"]
    data = {path: bytearray(int(facts[path]["length"])) for path in paths}
    with LtfsStore([volume], library) as store:
        for extent in store.order_containers_restore(paths):
            path = paths[extent.index]
            end = min(extent.offset + extent.length, len(data[path]))
            for at in range(extent.offset, end, 7001):
                size = min(7001, end - at)
                store.preview_container_read(path, [FileExtent(at, size)])
                data[path][at : at + size] = store.read_backup_file(path, at, size)
    for path in paths:
        assert hashlib.sha256(data[path]).hexdigest() == facts[path]["sha256"], path
    (drive,) = library.drives
    assert drive.locates == [TapePosition(0, 0), TapePosition(1, 7)]
    assert drive.records == 4 + 33  # the labels, and every record and filemark once


def test_older_generations_are_found_by_the_back_pointers(image: TapeImage) -> None:
    labels = read_labels(image)
    newest = LtfsVolume.read(image).index
    older = list(older_indexes(image, labels, newest))
    assert [(index.head.generation, index.head.location) for index in older] == [
        (4, ("b", 41)), (2, ("b", 37)), (1, ("b", 5)),
    ]  # fmt: skip


def content(path: str, length: int) -> bytes:
    """Make what the README of the samples says: a counter stream, ``SHA-256("name:counter")``."""
    name = path.rpartition("/")[2]
    if name.startswith("name:"):
        return b"special name\n"
    tag = f"A{int(name[:8], 16)}" if name.endswith(".ccc") else f"n{name[5:6]}"
    blocks = [hashlib.sha256(f"{tag}:{at}".encode()).digest() for at in range(-(-length // 32))]
    return b"".join(blocks)[:length]


@pytest.mark.slow
def test_every_file_of_the_container_volume_comes_back() -> None:
    """Its blocks are not kept, but its content can be made again and put where the index says."""
    volume, facts = saved("containervol-512k"), truth("containervol-512k")
    partitions: list[list[bytes | None]] = [[None] * 13, [None] * 248]
    size = volume.label.block_size
    for path, known in facts.items():
        data = content(path, int(known["length"]))
        for extent in volume.extents(path):
            assert extent.skip == 0
            part = data[extent.offset : extent.offset + extent.count]
            for number in range(extent.blocks):
                kept = partitions[extent.partition]
                assert kept[extent.block + number] is None
                kept[extent.block + number] = part[number * size : (number + 1) * size]
    for number, letter in enumerate("ab"):
        partitions[number][:4] = [
            b"VOL1TAP001L             LTFS".ljust(79) + b"4",
            None,
            sample("containervol-512k.label.xml")
            .read_bytes()
            .replace(b"<partition>a</partition>", b"<partition>%c</partition>" % ord(letter)),
            None,
        ]
    library = Library({volume.name: partitions})
    paths = [StorePath(path) for path in facts]
    with LtfsStore([volume], library) as store:
        for step in store.order_containers_restore(paths):
            path = paths[step.index]
            data = store.read_backup_file(path, 0, 1 << 30)
            assert hashlib.sha256(data).hexdigest() == facts[path]["sha256"], path
    (drive,) = library.drives
    assert drive.backward == []
