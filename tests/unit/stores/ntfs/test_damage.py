"""Volumes that are damaged, cut off or made to deceive: typed errors, and the rest comes back."""

import importlib
import inspect
import random
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    RestoreError,
    StoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.ntfs import NtfsVolume
from rehydrate.stores.volume import FILE_ATTRIBUTE_DIRECTORY, VolumeEntry
from rehydrate.values import FileExtent
from tests.unit.stores.ntfs.images import (
    DEPTH,
    DESCRIPTOR,
    MANY,
    SIZE,
    STORE,
    MemorySource,
    attribute_at,
    listed,
    opened,
    record_at,
)

Tree = dict[bytes, VolumeEntry]
BIG = 1 << 20
OTHERS = (b"Docs/stub.txt", b"named/first", b"packed/text")
"""Files that no damage of another one may take away."""


def spelt(text: str) -> bytes:
    return text.encode("utf-16-le")


def survives(source: MemorySource) -> bool:
    """Use all of a volume: no error but typed ones may come out; return whether it had a tree."""
    with suppress(RestoreError):
        return use_everything(opened(source)) > 0
    return False


def use_everything(volume: NtfsVolume) -> int:
    entries = list(volume.entries([b"Docs", b"big.bin", b"huge", b"packed", b"in pieces"]))
    for entry in entries:
        for ask in (volume.own_ranges, volume.security, volume.extended_attributes):
            attempt(partial(ask, entry))
        attempt(partial(volume.reparse_data, entry))
        attempt(partial(volume.read, entry, 0, min(entry.size, BIG)))
    volume.settings()
    for found in volume.chunk_stores():
        store = volume.store(found.store)
        for file in found.files:
            attempt(partial(store.read_backup_file, file.path, 0, BIG))
    return len(entries)


def attempt(call: Callable[[], object]) -> None:
    with suppress(RestoreError):
        call()


def index_blocks(data: bytes | bytearray, number: int) -> list[int]:
    """Offsets of the index blocks of a directory, in the order of the disk."""
    blocks = []
    at = data.find(b"INDX")
    while at >= 0:
        start = at + 24 + int.from_bytes(data[at + 24 : at + 28], "little") + 16
        if data[start : start + 4] == number.to_bytes(4, "little"):
            blocks.append(at)
        at = data.find(b"INDX", at + 4096)
    return blocks


def test_random_damage_of_records_gives_typed_errors(image: bytes) -> None:
    rng = random.Random(20)
    numbers = (*range(12), *range(64, 84), *range(2090, 2110))
    source = MemorySource(image)
    opened_at_all = 0
    for _ in range(200):
        places = [
            record_at(image, rng.choice(numbers)) + rng.randrange(rng.choice((60, 400, 1024)))
            for _ in range(rng.choice((1, 1, 4)))
        ]
        for place in places:
            source.data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        opened_at_all += survives(source)
        for place in places:
            source.data[place] = image[place]
    assert opened_at_all > 100
    assert source.data == image


@pytest.mark.parametrize("size", [512, 20_000, 100_000, 1 << 20, 20 << 20, SIZE - 4096])
def test_an_image_that_is_cut_off_says_so(image: bytes, size: int) -> None:
    assert survives(MemorySource(image[:size])) == (size > 1 << 20)
    if size > 1 << 20:
        assert f"the image is cut off: it has {size} of" in opened(image[:size]).problems[0]


def test_the_end_of_a_volume_may_be_missing(image: bytes, tree: Tree) -> None:
    volume = opened(image[: len(image) - 512])
    assert len(listed(volume)) == len(tree)
    assert not volume.problems
    volume = opened(image[: len(image) - 4096])
    assert len(volume.problems) == 1


def test_the_copy_of_the_boot_sector_helps(image: bytes, tree: Tree) -> None:
    volume = opened(bytes(512) + image[512:])
    assert len(listed(volume)) == len(tree)
    assert volume.problems == (
        "the boot sector is damaged; its copy at the end of the volume is used",
    )
    assert volume.facts.size == SIZE - 512
    damaged = bytearray(image)
    damaged[48:56] = (16000).to_bytes(8, "little")  # where the master file table is not
    assert len(listed(opened(damaged))) == len(tree)


def test_the_copy_of_a_former_volume_is_no_volume(image: bytes) -> None:
    data = bytearray(image)
    data[3:11] = b"MSDOS5.0"
    with pytest.raises(UnsupportedFormatError, match="no NTFS volume"):
        opened(data)


@pytest.mark.parametrize("number", [0, 1])
def test_the_copy_of_the_first_records_helps(image: bytes, tree: Tree, number: int) -> None:
    data = bytearray(image)
    data[record_at(data, number) : record_at(data, number + 1)] = bytes(1024)
    volume = opened(data)
    assert len(listed(volume)) == len(tree)
    assert ["master file table is damaged" in line for line in volume.problems] == [True][number:]


def test_a_volume_without_a_file_table_is_damaged(image: bytes) -> None:
    data = bytearray(image)
    data[record_at(data, 0) : record_at(data, 16)] = bytes(16 << 10)
    mirror = int.from_bytes(data[56:64], "little") * 4096
    data[mirror : mirror + 4096] = bytes(4096)
    with pytest.raises(CorruptMetadataError, match="test image: the file system") as caught:
        opened(data)
    data[56:64] = b"\xff" * 8
    with pytest.raises(CorruptMetadataError):
        opened(data)
    assert caught.value.code == "volume.damaged"


def test_an_unreadable_image_is_the_stores_fault(image: bytes, tree: Tree) -> None:
    source = MemorySource(image)
    volume = opened(source)
    source.broken = range(record_at(source.data, 64), len(image))
    with pytest.raises(StoreReadError, match="cannot read"):
        volume.read(tree[b"big.bin"], 0, 300_000)
    source.broken = range(len(image))
    with pytest.raises(StoreReadError, match="the disk is broken"):
        opened(source)


def test_a_deep_tree_is_walked_without_nesting_calls(volume: NtfsVolume) -> None:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + DEPTH // 2)
    try:
        found = [entry.path for entry in volume.entries([b"deep"])]
    finally:
        sys.setrecursionlimit(usual)
    assert found == [b"/".join([b"deep"] + [b"d"] * depth) for depth in range(DEPTH + 1)]


def test_paths_longer_than_any_are_left_out(
    image: bytes, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehydrate.stores.ntfs.tree._MAX_PATH", 100)
    volume = opened(image)
    found = listed(volume, b"deep", b"Docs")
    assert max(map(len, found)) == 100
    assert "longer than any path" in volume.problems[0]


def test_a_circle_of_directories_ends(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    number = tree[b"packed"].number
    header = attribute_at(data, number, 0x90, "$I30")
    reference = header + int.from_bytes(data[header + 20 : header + 22], "little") + 32
    assert data[reference : reference + 4] == tree[b"packed/text"].number.to_bytes(4, "little")
    data[reference : reference + 4] = number.to_bytes(4, "little")
    volume = opened(data)
    assert set(tree) - set(listed(volume)) == {b"packed/text"}
    assert volume.problems == ("packed/text is a directory that was met before; it is left out",)


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        pytest.param(22, b"\0", "not in use", id="deleted"),
        pytest.param(16, b"\x09", "another file", id="used anew"),
        pytest.param(0, b"BAAD", "", id="bad"),
        pytest.param(20, b"\xff\xff", "", id="attributes outside"),
    ],
)
def test_a_file_whose_record_is_lost_is_told(
    image: bytes, tree: Tree, offset: int, value: bytes, why: str
) -> None:
    data = bytearray(image)
    at = record_at(data, tree[b"Docs/empty"].number) + offset
    data[at : at + len(value)] = value
    volume = opened(data)
    assert set(tree) - set(listed(volume)) == {b"Docs/empty"}
    (problem,) = volume.problems
    assert "Docs/empty" in problem
    assert why in problem


def test_a_stub_without_its_reparse_data_is_not_taken_for_a_file(image: bytes, tree: Tree) -> None:
    for size in (None, 2):
        data = bytearray(image)
        header = attribute_at(data, tree[b"Docs/stub resident"].number, 0xC0)
        if size is None:
            data[header : header + 4] = (0xD0).to_bytes(4, "little")
        else:
            data[header + 16 : header + 20] = size.to_bytes(4, "little")
        volume = opened(data)
        assert set(tree) - set(listed(volume)) == {b"Docs/stub resident"}
        assert "has lost its reparse data" in volume.problems[0]


def test_reparse_data_of_an_impossible_size_is_refused(image: bytes, tree: Tree) -> None:
    entry = tree[b"Docs/stub.d/stub non-resident"]
    data = bytearray(image)
    header = attribute_at(data, entry.number, 0xC0)
    data[header + 44] = data[header + 52] = 1
    with pytest.raises(CorruptMetadataError, match="claims 42949"):
        opened(data).reparse_data(entry)


def test_a_size_beyond_the_clusters_is_damage(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"big.bin"].number, 0x80)
    data[header + 44] = data[header + 52] = 1
    volume = opened(data)
    entry = listed(volume, b"big.bin")[b"big.bin"]
    assert entry.size == 300_000 + (1 << 32)
    for ask in (volume.own_ranges, partial(volume.read, offset=0, size=1)):
        with pytest.raises(CorruptMetadataError, match=r"big\.bin is damaged: .* gap"):
            ask(entry)


def test_a_negative_size_is_damage(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"big.bin"].number, 0x80)
    data[header + 55] = 0xFF
    volume = opened(data)
    assert b"big.bin" not in listed(volume, b"big.bin", b"Docs")
    assert "attribute 0x80 claims -" in volume.problems[0]


def test_a_damaged_block_of_an_index_costs_only_its_names(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    blocks = index_blocks(data, tree[b"many"].number)
    assert len(blocks) > 10
    data[blocks[3] + 2] = 0
    volume = opened(data)
    left = len([path for path in listed(volume) if path.startswith(b"many/")])
    assert MANY - 50 < left < MANY
    assert volume.problems == ("many: an index block is damaged; names in it are left out",)


def test_an_unreadable_block_of_an_index_costs_only_names(image: bytes, tree: Tree) -> None:
    source = MemorySource(image)
    volume = opened(source)
    at = index_blocks(image, tree[b"many"].number)[5]
    source.broken = range(at, at + 1)
    assert set(OTHERS) <= set(listed(volume))
    assert "the disk is broken" in volume.problems[0]


@pytest.mark.parametrize("kind", [0x90, 0xB0])
def test_a_directory_without_a_part_of_its_index_is_told(
    image: bytes, tree: Tree, kind: int
) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"many"].number, kind, "$I30")
    name = header + int.from_bytes(data[header + 10 : header + 12], "little")
    data[name : name + 8] = spelt("$I31")
    volume = opened(data)
    found = listed(volume)
    assert set(OTHERS) <= set(found)
    assert len(found) <= len(tree) - MANY
    assert "many" in volume.problems[0]


def test_an_index_with_holes_is_refused(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"many"].number, 0xA0, "$I30")
    runs = header + int.from_bytes(data[header + 32 : header + 34], "little")
    clusters = int.from_bytes(data[header + 40 : header + 48], "little") >> 12
    data[runs : runs + 4] = b"\x02" + clusters.to_bytes(2, "little") + b"\0"
    volume = opened(data)
    assert len(listed(volume)) == len(tree) - MANY
    assert "many: the index of names has holes" in volume.problems[0]


def test_names_in_blocks_that_are_not_used_never_show(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"many"].number, 0xB0, "$I30")
    value = header + int.from_bytes(data[header + 20 : header + 22], "little")
    size = int.from_bytes(data[header + 16 : header + 20], "little")
    data[value : value + size] = bytes(size)
    volume = opened(data)
    assert len(tree) - MANY <= len(listed(volume)) < len(tree) - MANY + 50
    assert not volume.problems


@pytest.mark.parametrize("bad", ["ca/e^", "ca\0e^"])
def test_names_that_lead_elsewhere_are_left_out(image: bytes, tree: Tree, bad: str) -> None:
    volume = opened(image.replace(spelt("cafe^"), spelt(bad)))
    assert set(tree) - set(listed(volume)) == {b"cafe^"}
    assert "a file named" in volume.problems[0]


def test_a_name_that_is_there_twice_is_told(image: bytes, tree: Tree) -> None:
    data = image.replace(spelt("file number 1998"), spelt("file number 1997"))
    volume = opened(data)
    assert len(listed(volume)) == len(tree) - 1
    assert volume.problems == ("many/file number 1997 is there twice; one of them is left out",)


def test_a_directory_with_damaged_times_still_leads_on(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"Docs"].number, 0x10)
    data[header + 16] = 8
    volume = opened(data)
    found = listed(volume)
    assert set(found) == set(tree)
    assert (found[b"Docs"].attributes, found[b"Docs"].created) == (FILE_ATTRIBUTE_DIRECTORY, 0)
    assert "Docs: the standard information is too short" in volume.problems[0]
    data[header : header + 4] = b"\x20\0\0\0"
    volume = opened(data)
    assert set(OTHERS) - {b"Docs/stub.txt"} <= set(listed(volume))
    assert volume.problems


def test_missing_security_descriptors_are_told(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"attributes.txt"].number, 0x10)
    assert data[header + 24 + 52 : header + 24 + 56] != bytes(4)
    data[header + 24 + 52 : header + 24 + 56] = (9999).to_bytes(4, "little")
    volume = opened(data)
    entry = listed(volume)[b"attributes.txt"]
    assert entry.owner is None
    with pytest.raises(CorruptMetadataError, match="descriptor 9999 is missing"):
        volume.security(entry)


def test_a_volume_may_lack_what_describes_it(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    for number in (3, 9, 10):
        data[record_at(data, number)] = 0
    volume = opened(data)
    found = listed(volume)
    assert set(found) == set(tree)
    assert volume.facts.label == ""
    assert volume.case_table is None
    assert found[b"attributes.txt"].owner is None
    assert volume.security(found[b"attributes.txt"]) is None
    assert volume.security(tree[b"big.bin"]) is not None


def test_secure_without_its_stream_and_a_file_without_a_good_owner(
    image: bytes, tree: Tree
) -> None:
    data = bytearray(image)
    header = attribute_at(data, 9, 0x80, "$SDS")
    name = header + int.from_bytes(data[header + 10 : header + 12], "little")
    data[name : name + 8] = spelt("$SDX")
    own = attribute_at(data, tree[b"big.bin"].number, 0x50)
    data[own + 24] = 9
    found = listed(opened(data))
    assert found[b"attributes.txt"].owner is None
    assert found[b"big.bin"].owner is None
    data = bytearray(image.replace(DESCRIPTOR, b"\x09" + DESCRIPTOR[1:]))
    assert listed(opened(data))[b"attributes.txt"].owner is None


def test_damaged_extended_attributes_name_their_file(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"big.bin"].number, 0xE0)
    data[header + 24] = 3
    with pytest.raises(CorruptMetadataError, match=r"big\.bin: the extended attributes"):
        opened(data).extended_attributes(tree[b"big.bin"])


def test_a_volume_without_its_system_folder_has_no_stores(image: bytes) -> None:
    volume = opened(
        image.replace(spelt("System Volume Information"), spelt("Former Volume Information"))
    )
    assert volume.chunk_stores() == []
    assert volume.settings() == {}
    with pytest.raises(StoreError, match="no chunk store"):
        volume.store(uuid.UUID(STORE))


def test_lost_containers_and_settings_are_told(image: bytes) -> None:
    data = bytearray(image)
    whole = opened(image)
    lost = {
        "Data/00000001.00000001.ccc": whole._system.find(
            f"Dedup/ChunkStore/{{{STORE}}}.ddp/Data/00000001.00000001.ccc".split("/")
        ),
        "dedupConfig.01.xml": whole._system.find(("Dedup", "Settings", "dedupConfig.01.xml")),
    }
    for record in lost.values():
        assert record is not None
        data[record_at(data, record.number)] = 0
    volume = opened(data)
    assert len(volume.chunk_stores()[1].files) == 3
    assert volume.settings() == {}
    for name, problem in zip(lost, volume.problems, strict=True):
        assert name in problem


def test_a_circle_in_a_store_ends_and_encrypted_settings_are_told(image: bytes) -> None:
    data = bytearray(image)
    whole = opened(image)._system
    folder = whole.find(f"Dedup/ChunkStore/{{{STORE}}}.ddp/Data".split("/"))
    settings = whole.find(("Dedup", "Settings", "dedupConfig.01.xml"))
    assert folder is not None
    assert settings is not None
    header = attribute_at(data, folder.number, 0x90, "$I30")
    reference = header + int.from_bytes(data[header + 20 : header + 22], "little") + 32
    data[reference : reference + 8] = (folder.number | folder.sequence << 48).to_bytes(8, "little")
    data[attribute_at(data, settings.number, 0x80) + 13] = 0x40
    volume = opened(data)
    assert len(volume.chunk_stores()[1].files) == 3
    assert volume.settings() == {}
    circle, encrypted = volume.problems
    assert "was met before" in circle
    assert "encrypted" in encrypted


def test_problems_are_kept_in_bounds(image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehydrate.stores.ntfs.volume._MAX_PROBLEMS", 3)
    data = bytearray(image)
    for number in range(100, 120):
        data[record_at(data, number)] = 0
    volume = opened(data)
    listed(volume)
    assert len(volume.problems) == 3


@pytest.mark.parametrize(
    ("fault", "becomes"),
    [
        (OSError("x\nsecond line"), CorruptMetadataError),
        (SystemError("x"), CorruptMetadataError),
        (MemoryError(), StoreReadError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (StoreError("own"), StoreError),
    ],
)
def test_whatever_the_library_raises_is_typed(
    image: bytes, fault: BaseException, becomes: type[BaseException]
) -> None:
    tsk = importlib.import_module("rehydrate.stores.ntfs.tsk")
    lock = threading.Lock()
    with (
        pytest.raises(becomes) as caught,
        tsk._Call(lock, tsk._Bridge(MemorySource(image), []), "a file"),
    ):
        raise fault
    assert not lock.locked()
    assert "second line" not in str(caught.value)


def test_a_short_answer_of_the_library_is_no_answer(
    volume: NtfsVolume, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = volume._content(tree[b"big.bin"], "")
    assert content.attribute is not None

    tsk = importlib.import_module("rehydrate.stores.ntfs.tsk")
    methods = {"__init__": lambda _self: None, "read_random": lambda *_: b"abc"}
    short = type("Short", (tsk.pytsk3.File,), methods)
    for file, error in ((short(), StoreReadError), (None, CorruptMetadataError)):
        record = attrs.evolve(content.record, file=file)
        with pytest.raises(error):
            volume._records.read(record, content.attribute, FileExtent(0, 9), "a file")
