"""The tree of a real volume, and what its entries hold."""

import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    SessionError,
    StoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.bytesource import FileSource
from rehydrate.stores.ntfs import NtfsVolume
from rehydrate.stores.volume import (
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    NamedStream,
    Volume,
    VolumeEntry,
)
from rehydrate.values import DEDUP_TAG, FileExtent
from tests.unit.stores.ntfs.images import (
    COMPRESSIBLE,
    DESCRIPTOR,
    HUGE,
    MANY,
    PIECES,
    SETTING,
    SIZE,
    TIMES,
    MemorySource,
    attribute_at,
    listed,
    noise,
    opened,
    reparse,
)
from tests.windows_store.volume import Entry, ntfs_image

Tree = dict[bytes, VolumeEntry]


def content(volume: NtfsVolume, entry: VolumeEntry, stream: str = "") -> bytes:
    size = entry.size
    if stream:
        size = next(found.size for found in entry.streams if found.name == stream)
    return volume.read(entry, 0, size, stream)


def test_names_come_in_tree_order_and_each_once(volume: NtfsVolume) -> None:
    paths = [entry.path for entry in volume.entries()]
    assert paths == sorted(set(paths), key=lambda path: path.split(b"/"))
    assert len([path for path in paths if path.startswith(b"many/")]) == MANY
    hidden = (b"$", b"System Volume", b".", b"gone", b"ANAMEW~1")
    assert not [path for path in paths if path.startswith(hidden)]
    assert not volume.problems


def test_facts_name_the_volume(volume: NtfsVolume, image: bytes) -> None:
    complete: Volume = volume
    facts = complete.facts
    assert (facts.source, facts.label, facts.file_system) == ("test image", "Vol \xdc", "NTFS")
    assert facts.serial == int.from_bytes(image[72:80], "little") != 0
    assert facts.size == SIZE - 512
    assert facts.snapshot is None
    shadow = NtfsVolume(MemorySource(image), described="shadow copy", snapshot="{1}")
    assert shadow.facts.snapshot == "{1}"


def test_names_keep_emoji_accents_carets_and_unpaired_surrogates(
    volume: NtfsVolume, tree: Tree
) -> None:
    for name in ("\U0001f600 \u00e9.txt".encode(), b"cafe^", b"\xed\xb1\x81 alone"):
        assert content(volume, tree[name]) == name


def test_times_have_100_nanoseconds_and_attributes_are_those_of_the_file(tree: Tree) -> None:
    entry = tree[b"attributes.txt"]
    assert (entry.created, entry.modified, entry.accessed) == TIMES[:3]
    assert entry.changed > TIMES[0]
    assert entry.attributes == 0x26
    assert tree[b"Docs"].attributes & FILE_ATTRIBUTE_DIRECTORY
    assert (tree[b"Docs"].directory, tree[b"Docs"].size, tree[b"Docs"].links) == (True, 0, 1)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        pytest.param(b"Docs/stub resident", 120, id="resident"),
        pytest.param(b"Docs/stub.d/stub non-resident", 3000, id="non-resident"),
    ],
)
def test_reparse_data_is_whole_wherever_it_lies(
    volume: NtfsVolume, tree: Tree, path: bytes, size: int
) -> None:
    assert tree[path].reparse_tag == DEDUP_TAG
    assert tree[path].attributes & FILE_ATTRIBUTE_REPARSE_POINT
    assert volume.reparse_data(tree[path]) == reparse(size)


def test_a_file_without_reparse_data_says_so(volume: NtfsVolume, tree: Tree) -> None:
    assert tree[b"big.bin"].reparse_tag == 0
    with pytest.raises(CorruptMetadataError, match=r"big\.bin has no reparse data"):
        volume.reparse_data(tree[b"big.bin"])


def test_hard_links_are_one_file_and_short_names_are_none(tree: Tree) -> None:
    names = [tree[name] for name in (b"big.bin", b"link two", b"Docs/link three")]
    assert {entry.links for entry in names} == {3}
    assert len({entry.file_id for entry in names}) == 1
    assert tree[b"a name with a short one.txt"].links == 1
    assert tree[b"named/first"].links == 61  # more names than fit into one record
    assert len({entry.file_id for entry in tree.values()}) == len(tree) - 2 - 60


def test_streams_are_listed_and_read(volume: NtfsVolume, tree: Tree) -> None:
    entry = tree[b"big.bin"]
    assert entry.streams == (NamedStream("large", 9000), NamedStream("small", 1))
    assert content(volume, entry, "small") == b"s"
    assert content(volume, entry, "large") == bytes(9000)
    assert content(volume, entry) == noise(1, 300_000)
    assert volume.read(entry, 299_990, 10) == noise(1, 300_000)[-10:]
    with pytest.raises(StoreReadError, match="no stream none"):
        volume.read(entry, 0, 1, "none")


@pytest.mark.parametrize(("offset", "size"), [(300_000, 1), (-1, 5), (0, -1), (0, 1 << 62)])
def test_reads_outside_a_file_are_refused(
    volume: NtfsVolume, tree: Tree, offset: int, size: int
) -> None:
    with pytest.raises(StoreReadError, match="not inside") as caught:
        volume.read(tree[b"big.bin"], offset, size)
    assert caught.value.file == "big.bin"


def test_an_empty_file_has_no_bytes_and_no_ranges(volume: NtfsVolume, tree: Tree) -> None:
    for name in (b"Docs/empty", b"Docs"):
        assert volume.read(tree[name], 0, 0) == b""
        assert volume.own_ranges(tree[name]) == ()


def test_own_ranges_are_the_clusters_on_disk(volume: NtfsVolume, tree: Tree) -> None:
    assert volume.own_ranges(tree[b"holes only"]) == ()
    assert volume.own_ranges(tree[b"Docs/stub.txt"]) == (FileExtent(0, 19),)
    assert volume.own_ranges(tree[b"big.bin"]) == (FileExtent(0, 300_000),)
    assert volume.own_ranges(tree[b"huge"]) == (
        FileExtent(0, 12288),
        FileExtent(69632, 12288),
        FileExtent(3 << 30, 12288),
        FileExtent(9 << 30, 4096),
    )
    pieces = volume.own_ranges(tree[b"in pieces"])  # its runs fill several records
    assert pieces == tuple(FileExtent(at << 13, 4096) for at in range(1500))


def test_holes_larger_than_the_volume_read_as_zeros(volume: NtfsVolume, tree: Tree) -> None:
    assert tree[b"huge"].size == HUGE
    for offset, size in PIECES:
        assert volume.read(tree[b"huge"], offset, size) == noise(offset & 255, size)
    assert volume.read(tree[b"huge"], HUGE - 100_000, 100_000) == bytes(100_000)
    assert volume.read(tree[b"huge"], (9 << 30) + 90, 20) == bytes(10) + noise(100, 5) + bytes(5)
    assert volume.read(tree[b"in pieces"], (1499 << 13) - 4, 8) == bytes(4) + b"    "


def test_compressed_files_are_read_and_own_whole_units(volume: NtfsVolume, tree: Tree) -> None:
    entry = tree[b"packed/text"]
    assert content(volume, entry) == COMPRESSIBLE
    assert volume.own_ranges(entry) == (FileExtent(0, 14 << 16),)


def test_bytes_beyond_the_initialized_size_are_zeros(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"big.bin"].number, 0x80)
    data[header + 56 : header + 64] = (100_001).to_bytes(8, "little")
    volume = opened(data)
    found = content(volume, tree[b"big.bin"])
    assert found == noise(1, 300_000)[:100_001] + bytes(199_999)


def test_security_descriptors_and_owners(volume: NtfsVolume, tree: Tree) -> None:
    assert volume.security(tree[b"attributes.txt"]) == DESCRIPTOR  # from $Secure
    assert tree[b"attributes.txt"].owner == "S-1-5-21-1-2-3-1105"
    own = volume.security(tree[b"big.bin"])  # from its own attribute
    assert own is not None
    assert own[:4] == b"\1\0\4\x80"
    assert tree[b"big.bin"].owner == "S-1-5-32-544"


def test_extended_attributes_are_a_list_that_ends(volume: NtfsVolume, tree: Tree) -> None:
    found = volume.extended_attributes(tree[b"big.bin"])
    assert found is not None
    assert found[:4] == struct.pack("<I", 16)
    assert found[16:] == struct.pack("<IBBH", 0, 0, 6, 5) + b"SECOND\0defgh"
    assert volume.extended_attributes(tree[b"Docs"]) is None


def test_the_case_table_is_that_of_the_volume(volume: NtfsVolume) -> None:
    table = volume.case_table
    assert table is not None
    assert table.shape == (65536,)
    assert table.dtype == np.uint16
    assert chr(table[ord("\xe9")]) == "\xc9"
    assert not table.flags.writeable


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        pytest.param([b"docs/STUB.d"], [b"Docs/stub.d", b"Docs/stub.d/stub non-resident"], id="d"),
        pytest.param([b"/Big.BIN/"], [b"big.bin"], id="slashes"),
        pytest.param(
            [b"\xf0\x9f\x98\x80 \xc3\x89.TXT"], ["\U0001f600 \u00e9.txt".encode()], id="e"
        ),
        pytest.param([b"docs/stub"], [], id="component"),
        pytest.param([b"packed/text/below", b"\xff\xfe", b"$MFT"], [], id="none"),
        pytest.param([b"System Volume Information"], [], id="system"),
        pytest.param(
            [b"DOCS/EMPTY", b"packed", b"packed/text"],
            [b"Docs/empty", b"packed", b"packed/text"],
            id="several",
        ),
    ],
)
def test_prefixes_choose_whole_components_without_regard_to_case(
    volume: NtfsVolume, prefixes: list[bytes], expected: list[bytes]
) -> None:
    assert [entry.path for entry in volume.entries(prefixes)] == expected


def test_prefixes_leave_other_directories_unread(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"many"].number, 0x90, "$I30")
    data[header + 32 : header + 36] = b"\xff\xff\xff\xff"  # what the index holds
    volume = opened(data)
    assert list(listed(volume, b"Docs/stub.txt")) == [b"Docs/stub.txt"]
    assert not volume.problems
    rest = listed(volume)
    assert b"many" in rest
    assert len(rest) == len(tree) - MANY
    assert ["many: the index root is damaged" in line for line in volume.problems] == [True]


def test_without_its_case_table_only_ascii_is_compared(image: bytes) -> None:
    data = bytearray(image)
    header = attribute_at(data, 10, 0x80)
    data[header + 48 : header + 56] = (5).to_bytes(8, "little")
    volume = opened(data)
    assert volume.case_table is None
    assert list(listed(volume, b"DOCS/Empty")) == [b"Docs/empty"]
    assert not listed(volume, b"\xf0\x9f\x98\x80 \xc3\x89.TXT")


def test_settings_are_the_small_files(
    volume: NtfsVolume, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert volume.settings() == {"dedupConfig.01.xml": SETTING}
    monkeypatch.setattr("rehydrate.stores.ntfs.folders._CACHED", 1)
    monkeypatch.setattr("rehydrate.stores.ntfs.stores._MAX_SETTINGS", 1)
    again = opened(image)
    assert again.settings() == volume.settings()
    assert len(again._system._listed) == 1


def test_reads_of_an_attribute_are_checked_once_more(volume: NtfsVolume, tree: Tree) -> None:
    content = volume._content(tree[b"big.bin"], "")
    assert content.attribute is not None
    read = partial(volume._records.read, content.record, content.attribute, what="big.bin")
    assert read(FileExtent(300_000, 0)) == b""
    with pytest.raises(StoreReadError, match="not inside"):
        read(FileExtent(300_000, 1))


def test_encrypted_files_are_refused_by_name(image: bytes, tree: Tree) -> None:
    data = bytearray(image)
    header = attribute_at(data, tree[b"big.bin"].number, 0x80)
    data[header + 13] = 0x40
    with pytest.raises(UnsupportedFormatError, match=r"big\.bin is encrypted") as caught:
        opened(data).read(tree[b"big.bin"], 0, 1)
    assert caught.value.code == "volume.encrypted"


def test_a_closed_volume_is_refused_and_its_image_closed(image: bytes, tree: Tree) -> None:
    source = MemorySource(image)
    volume = opened(source)
    walk = volume.entries()
    next(walk)
    volume.read(tree[b"big.bin"], 0, 1)
    volume.close()
    assert source.closed
    with pytest.raises(SessionError, match="closed"):
        next(walk)
    for call in (volume.security, volume.own_ranges, volume.reparse_data):
        with pytest.raises(SessionError, match="closed"):
            call(tree[b"big.bin"])
    with pytest.raises(SessionError, match="closed"):
        list(volume.entries())


@pytest.mark.parametrize("cluster", [512, 64 << 10, 1 << 20])
@pytest.mark.usefixtures("image")  # skips where none can be made
def test_volumes_with_small_and_large_clusters(tmp_path: Path, cluster: int) -> None:
    data = noise(6, 100_000)
    files = [Entry(f"d/a long name of a file {number}", data=b"x") for number in range(50)]
    path = tmp_path / "volume.img"
    ntfs_image(path, [Entry("r", data=data), *files], size=300 << 20, cluster=cluster)
    volume = NtfsVolume(FileSource(path), described="another cluster")
    found = listed(volume)
    assert len(found) == 52
    assert content(volume, found[b"r"]) == data
    assert volume.own_ranges(found[b"r"]) == (FileExtent(0, 100_000),)
    assert not volume.problems
    volume.close()


def test_many_threads_may_read_at_once(volume: NtfsVolume, tree: Tree) -> None:
    start = threading.Barrier(8)
    expected = noise(1, 300_000)

    def work(number: int) -> bool:
        start.wait()
        at = number * 30_000
        pieces = [volume.read(tree[b"big.bin"], at + step, 100) for step in range(0, 3000, 100)]
        return b"".join(pieces) == expected[at : at + 3000] and len(listed(volume, b"many")) > MANY

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_without_the_package_the_extra_is_named(
    image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytsk3", None)
    monkeypatch.delitem(sys.modules, "rehydrate.stores.ntfs.tsk")
    with pytest.raises(StoreError, match=r"pip install 'rehydrate\[windows\]'") as caught:
        opened(image)
    assert caught.value.code == "store.extra-missing"
