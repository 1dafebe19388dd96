"""Trees become folder copies and real NTFS images."""

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.windows_store.walking import restored
from tests.windows_store.store import FORMATS, WindowsStore
from tests.windows_store.stubs import reparse_buffer, symlink_buffer
from tests.windows_store.volume import (
    ATTRIBUTES,
    DISK_START,
    SECURITY,
    STUB_ATTRIBUTES,
    TIMES,
    Entry,
    NeedsNtfs,
    folder_copy,
    needs_ntfs,
    ntfs_image,
    ntfs_mounted,
    partitioned,
    reparse_data,
    security_of,
)

DATA = random.Random(4).randbytes(300_000)
WHEN = (132_000_000_000_000_000, 132_000_000_000_000_010, 132_000_000_000_000_020, 0)
GONE = "/nowhere"
OWNED = security_of([21, 1, 2, 3, 1000])


@pytest.fixture
def needed() -> None:
    try:
        needs_ntfs()
    except NeedsNtfs as missing:
        pytest.skip(str(missing))


def tree_of(store: WindowsStore) -> list[Entry]:
    files = {stub: store.add_file(DATA, stub=stub, chunks=50_000) for stub in FORMATS}
    return [
        Entry("Docs", directory=True, attributes=0x12, times=WHEN),
        *(Entry(f"Docs/{stub}.bin", file=file, times=WHEN) for stub, file in files.items()),
        Entry("hard.bin", link_to="Docs/1.2.bin"),
        Entry("recalled.bin", file=files["2.1"].recalled({100_000: b"new", 299_999: b"end"})),
        Entry("hidden.bin", file=files["3.1"], attributes=0x623, streams={"Zone": b"3"}),
        Entry("owned.bin", file=files["1.2"], security=OWNED),
        Entry(
            "plain.txt",
            data=b"p" * 5000,
            times=WHEN,
            security=OWNED,
            streams={"a": b"1", "b": b"2" * 9000},
        ),
        Entry("PLAIN.TXT", data=b"other case"),
        Entry("link", reparse=symlink_buffer("plain.txt")),
        Entry("cloud", reparse=reparse_buffer(0x9000001A, bytes(16))),
    ]


def own_ranges(path: Path) -> Iterator[tuple[int, int]]:
    """Yield where a file has data."""
    size, end = path.stat().st_size, 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while end < size:
            try:
                begin = os.lseek(descriptor, end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
            yield begin, end
    finally:
        os.close(descriptor)


def test_a_folder_copy_has_sparse_stubs_with_their_buffers_beside(tmp_path: Path) -> None:
    store = WindowsStore()
    tree = tree_of(store)
    folder_copy(tmp_path, tree, store)
    for entry in tree:
        path = tmp_path / entry.path
        if entry.file is not None:
            assert path.with_name(path.name + ".reparse").read_bytes() == entry.file.stub
            assert path.stat().st_size == entry.file.size
            assert not any(path.read_bytes()[:90_000])
        elif entry.data:
            assert path.read_bytes() == entry.data
    assert tree[1].file is not None
    assert restored(store.as_mapping(), tree[1].file).stale == 0
    assert (tmp_path / "hard.bin").samefile(tmp_path / "Docs" / "1.2.bin")
    assert (tmp_path / "plain.txt").stat().st_mtime_ns == (WHEN[1] - 116_444_736 * 10**9) * 100
    assert (tmp_path / "Docs").stat().st_atime_ns == (WHEN[2] - 116_444_736 * 10**9) * 100
    ranges = list(own_ranges(tmp_path / "recalled.bin"))
    assert ranges in ([(98_304, 102_400), (299_008, 300_002)], [(0, 300_002)])
    assert (tmp_path / store.path / "stamp.dat").is_file()
    folder_copy(tmp_path / "filled", tree[:2], sidecar=".stub", filled=True)
    filled = tmp_path / "filled" / "Docs" / "1.2.bin"
    assert filled.read_bytes() == bytes(len(DATA))
    assert filled.stat().st_blocks * 512 >= len(DATA)
    assert filled.with_name("1.2.bin.stub").is_file()


@pytest.mark.usefixtures("needed")
def test_an_ntfs_image_keeps_all_that_was_asked_for(tmp_path: Path) -> None:
    store = WindowsStore()
    tree = tree_of(store)
    image = tmp_path / "volume.img"
    ntfs_image(image, tree, store, label="data")
    assert image.read_bytes()[3:7] == b"NTFS"
    with ntfs_mounted(image, "ro") as root:
        for entry in tree:
            path = root / entry.path
            if entry.stub is not None:
                assert reparse_data(path) == entry.stub
            elif entry.data:
                assert path.read_bytes() == entry.data
            if entry.times is not None:
                times = os.getxattr(path, TIMES, follow_symlinks=False)
                assert struct.unpack("<3Q", times[:24]) == entry.times[:3]
            if entry.security is not None:
                found = os.getxattr(path, SECURITY, follow_symlinks=False)
                assert found == entry.security
            attributes = os.getxattr(path, ATTRIBUTES, follow_symlinks=False)
            assert (
                struct.unpack("<I", attributes)[0] & 0x3FF
                == (entry.attributes or (STUB_ATTRIBUTES if entry.file or entry.link_to else 0x20))
                & 0x3FF
            )
        with pytest.raises(OSError, match="no reparse data"):
            reparse_data(root / "plain.txt")
        assert os.getxattr(root / "plain.txt", "user.b") == b"2" * 9000
        stored = {name: (root / name).read_bytes() for name in store.as_mapping()}
    assert stored == store.as_mapping()
    assert not image.with_name("volume.img.mounted").exists()


@pytest.mark.usefixtures("needed")
@pytest.mark.parametrize("scheme", ["gpt", "dos"])
def test_a_volume_goes_into_a_disk(tmp_path: Path, scheme: str) -> None:
    volume, disk = tmp_path / "volume.img", tmp_path / "disk.img"
    ntfs_image(volume, [Entry("a", data=b"x" * 70_000)], size=8 << 20)
    try:
        start = partitioned(volume, disk, scheme=scheme, before=1 << 20)
    except NeedsNtfs as missing:
        pytest.skip(str(missing))
    assert start == DISK_START + (1 << 20)
    with disk.open("rb") as file:
        table = file.read(1024)
        file.seek(start)
        assert file.read(8 << 20) == volume.read_bytes()
    assert table[510:512] == b"\x55\xaa"
    assert (table[512:520] == b"EFI PART") == (scheme == "gpt")
    assert partitioned(volume, disk, scheme=scheme) == DISK_START


@pytest.mark.usefixtures("needed")
def test_the_driver_has_ended_when_the_image_is_handed_out(tmp_path: Path) -> None:
    image = tmp_path / "volume.img"
    ntfs_image(image, [], size=4 << 20)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(os.fsencode(image) in line for line in running)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.windows_store.volume._program", lambda name: None)
    with pytest.raises(NeedsNtfs, match="mkntfs"):
        ntfs_image(tmp_path / "image", [])
    with pytest.raises(NeedsNtfs, match="sfdisk"):
        partitioned(tmp_path / "image", tmp_path / "disk")
    monkeypatch.setattr("tests.windows_store.volume._program", lambda name: GONE)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NeedsNtfs, match="root"):
        needs_ntfs()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(NeedsNtfs, match="/dev/fuse"):
        needs_ntfs()


@pytest.mark.usefixtures("needed")
def test_a_program_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(NeedsNtfs, match="mkntfs fails"):
        ntfs_image(tmp_path / "image", [], size=4096)
    (tmp_path / "junk").write_bytes(bytes(8192))
    with pytest.raises(NeedsNtfs, match="ntfs-3g fails"), ntfs_mounted(tmp_path / "junk"):
        pass
