"""Folder copies on a volume that ntfs-3g has mounted, as far as one can be mounted here."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehydrate.errors import StoreReadError
from rehydrate.stores.folder_copy import FolderCopy
from rehydrate.stores.host_tree import Folder, HostTree
from rehydrate.stores.ntfs_attributes import DriverAttributes, owner_sid
from rehydrate.stores.volume import NamedStream, VolumeEntry
from rehydrate.values import DEDUP_TAG, FileExtent
from tests.windows_store.store import File, WindowsStore
from tests.windows_store.stubs import symlink_buffer
from tests.windows_store.volume import Entry, NeedsNtfs, ntfs_image, ntfs_mounted

TIMES = (131_000_000_123_456_789, 132_000_000_000_000_001, 133_000_000_000_000_007, 0)


@pytest.fixture(scope="module")
def store() -> WindowsStore:
    return WindowsStore()


@pytest.fixture(scope="module")
def stub(store: WindowsStore) -> File:
    return store.add_file(b"chunk" * 20_000)


@pytest.fixture(scope="module")
def mounted(
    store: WindowsStore, stub: File, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    image = tmp_path_factory.mktemp("ntfs") / "volume.img"
    tree = [
        Entry("Docs/stub.bin", file=stub),
        Entry(
            "Docs/plain.txt",
            data=b"plain",
            streams={"Zone.Identifier": b"[ZoneTransfer]"},
            attributes=0x23,
            times=TIMES,
        ),
        Entry("Docs/other name.txt", link_to="Docs/plain.txt"),
        Entry("link", reparse=symlink_buffer("Docs")),
    ]
    try:
        ntfs_image(image, tree, store, size=24 << 20)
        with ntfs_mounted(image) as root:
            yield root
    except NeedsNtfs as why:
        pytest.skip(str(why))


@pytest.fixture
def volume(mounted: Path) -> Iterator[FolderCopy]:
    opened = FolderCopy(mounted)
    yield opened
    opened.close()


@pytest.fixture
def entries(volume: FolderCopy) -> dict[bytes, VolumeEntry]:
    return {entry.path: entry for entry in volume.entries()}


def test_the_driver_is_recognised(volume: FolderCopy) -> None:
    assert volume.facts.source == "mounted volume (ntfs-3g)"
    assert volume.facts.file_system == "NTFS"


def test_stubs_are_found_however_the_driver_shows_them(
    volume: FolderCopy, entries: dict[bytes, VolumeEntry], stub: File
) -> None:
    entry = entries[b"Docs/stub.bin"]
    assert entry.reparse_tag == DEDUP_TAG
    assert volume.reparse_data(entry) == stub.stub
    assert volume.own_ranges(entry) is None
    assert entry.size in (0, stub.size)
    assert entry.attributes & 0x600 == 0x600


def test_other_reparse_points_are_listed_with_their_tag(
    volume: FolderCopy, entries: dict[bytes, VolumeEntry]
) -> None:
    link = entries[b"link"]
    assert link.reparse_tag == 0xA000000C
    assert volume.reparse_data(link) == symlink_buffer("Docs")
    assert b"link/plain.txt" not in entries


def test_metadata_is_that_of_ntfs(volume: FolderCopy, entries: dict[bytes, VolumeEntry]) -> None:
    plain = entries[b"Docs/plain.txt"]
    assert (plain.created, plain.modified, plain.accessed) == TIMES[:3]
    assert plain.attributes == 0x23
    assert plain.owner is not None
    assert plain.owner.startswith("S-1-5-")
    assert owner_sid(volume.security(plain) or b"") == plain.owner
    assert volume.extended_attributes(plain) is None
    assert (plain.links, plain.file_id) == (2, entries[b"Docs/other name.txt"].file_id)
    assert entries[b"Docs"].directory
    assert volume.own_ranges(plain) == (FileExtent(0, 5),)


def test_alternate_streams_are_read(volume: FolderCopy, entries: dict[bytes, VolumeEntry]) -> None:
    plain = entries[b"Docs/plain.txt"]
    assert plain.streams == (NamedStream("Zone.Identifier", 14),)
    assert volume.read(plain, 5, 4, "Zone.Identifier") == b"Tran"
    for offset, size, name in ((10, 5, "Zone.Identifier"), (0, 1, "none")):
        with pytest.raises(StoreReadError):
            volume.read(plain, offset, size, name)


def test_a_store_is_found_and_read(volume: FolderCopy, store: WindowsStore) -> None:
    (found,) = volume.chunk_stores()
    assert found.store == store.guid
    reader = volume.store(found.store)
    for path, data in store.as_mapping().items():
        (file,) = (one for one in found.files if one.path == path)
        assert reader.read_backup_file(file.path, 0, file.size) == data


def test_an_attribute_is_read_although_the_driver_hides_that_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"")
    try:
        os.setxattr(tmp_path / "a", "user.large", b"x" * 1000)
    except OSError:
        pytest.skip("the file system for temporary files has no extended attributes")

    def refuse(*_: object, **_more: object) -> bytes:
        raise OSError(errno.EIO, "as ntfs-3g does")

    monkeypatch.setattr(os, "getxattr", refuse)
    tree = HostTree(tmp_path)
    with tree.folder(b"") as folder:
        assert folder.attribute(b"a", "user.large") == b"x" * 1000
        assert folder.attribute(b"a", "user.none") is None
        assert folder.attribute_names(b"a") == ["user.large"]
        assert folder.attribute_names(b"none") == []
        monkeypatch.delattr(os, "getxattr")
        monkeypatch.delattr(os, "listxattr")
        assert folder.attribute(b"a", "user.large") is None
        assert folder.attribute_names(b"a") == []
    tree.close()


class FakeFolder(Folder):
    """A directory on a driver that answers what a test wants."""

    def __init__(self, attributes: dict[str, bytes | None]) -> None:
        self._attributes = attributes

    def attribute(self, name: bytes, attribute: str) -> bytes | None:
        return self._attributes.get(attribute)

    def attribute_names(self, name: bytes) -> list[str]:
        return sorted(self._attributes)


class TestDrivers:
    def test_a_reparse_point_that_is_not_shown_is_told_and_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "stub").write_bytes(bytes(10))
        (tmp_path / "file").write_bytes(b"x")
        (tmp_path / "$MFT").write_bytes(b"x")

        def answer(_folder: Folder, name: bytes, attribute: str) -> bytes | None:
            if attribute != "system.ntfs_attrib_be":
                return None
            return struct.pack(">I", 0x420 if name == b"stub" else 0x20)

        monkeypatch.setattr(Folder, "attribute", answer)
        volume = FolderCopy(tmp_path)
        assert volume.facts.source == "mounted volume (ntfs3)"
        assert [entry.path for entry in volume.entries()] == [b"file"]
        (problem,) = volume.problems
        assert problem.startswith("stub is a reparse point that the ntfs3 driver does not show")
        volume.close()

    def test_a_stub_that_a_driver_shows_as_a_file_has_unknown_own_ranges(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        buffer = struct.pack("<IHH", DEDUP_TAG, 4, 0) + b"stub"
        with (tmp_path / "stub").open("wb") as file:
            file.truncate(1 << 20)

        def answer(_folder: Folder, name: bytes, attribute: str) -> bytes | None:
            if attribute == "system.ntfs_reparse_data":
                return buffer if name == b"stub" else None
            return bytes(32) if attribute == "system.ntfs_times_be" else None

        monkeypatch.setattr(Folder, "attribute", answer)
        volume = FolderCopy(tmp_path)
        (entry,) = volume.entries()
        assert (entry.size, entry.reparse_tag) == (1 << 20, DEDUP_TAG)
        assert volume.own_ranges(entry) is None
        assert volume.reparse_data(entry) == buffer
        monkeypatch.setattr(Folder, "attribute", lambda *_: None)
        with pytest.raises(StoreReadError):
            volume.reparse_data(entry)
        volume.close()

    def test_a_stream_that_is_too_large_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(b"x")
        answers = {"system.ntfs_times_be": bytes(32)}
        monkeypatch.setattr(Folder, "attribute", lambda _self, _name, key: answers.get(key))
        monkeypatch.setattr(Folder, "attribute_names", lambda _self, _name: ["user.large"])
        volume = FolderCopy(tmp_path)
        (entry,) = volume.entries()
        assert entry.streams == ()
        assert volume.remarks == ("stream 'large' of file is too large for the driver to show",)
        assert volume.security(entry) is None
        volume.close()

    def test_the_driver_of_the_kernel_tells_less(self) -> None:
        folder = FakeFolder(
            {
                "system.ntfs_attrib_be": struct.pack(">I", 0x420),
                "system.ntfs_security": b"descriptor",
                "user.ea": b"no stream",
            }
        )
        driver = DriverAttributes.of(folder)
        assert driver.name == "ntfs3"
        assert driver.attributes(folder, b"a") == 0x420
        assert driver.security(folder, b"a") == b"descriptor"
        assert driver.times(folder, b"a") is None
        assert driver.reparse_data(folder, b"a") is None
        assert driver.streams(folder, b"a") == ([], [])
        assert driver.stream(folder, b"a", "ea") is None

    def test_answers_of_odd_size_are_not_known(self) -> None:
        folder = FakeFolder(
            {"system.ntfs_attrib_be": b"123", "system.ntfs_times_be": b"x", "user.big": None}
        )
        driver = DriverAttributes.of(folder)
        assert driver.name == "ntfs-3g"
        assert driver.attributes(folder, b"a") == 0
        assert driver.times(folder, b"a") is None
        assert driver.security(folder, b"a") is None
        assert driver.streams(folder, b"a") == ([], ["big"])

    def test_no_driver_tells_nothing(self) -> None:
        folder = FakeFolder({"system.ntfs_acl": b"descriptor", "user.a": b"b"})
        driver = DriverAttributes.of(folder)
        assert driver.name == ""
        assert driver.attributes(folder, b"a") == 0
        assert driver.security(folder, b"a") is None
        assert driver.extended_attributes(folder, b"a") is None


ADMINISTRATORS = bytes([1, 2, 0, 0, 0, 0, 0, 5]) + struct.pack("<2I", 32, 544)


@pytest.mark.parametrize(
    ("descriptor", "owner"),
    [
        (bytes(4) + struct.pack("<I", 20) + bytes(12) + ADMINISTRATORS, "S-1-5-32-544"),
        (bytes(4) + struct.pack("<I", 8) + b"\1\0\xff\0\0\0\0\1", "S-1-280375465082881"),
        (b"", None),
        (bytes(30), None),
        (bytes(4) + struct.pack("<I", 23) + bytes(12) + ADMINISTRATORS, None),
        (bytes(4) + struct.pack("<I", 0xFFFFFFFF) + bytes(12) + ADMINISTRATORS, None),
        (bytes(4) + struct.pack("<I", 20) + bytes(12) + b"\2" + ADMINISTRATORS[1:], None),
        (bytes(4) + struct.pack("<I", 20) + bytes(12) + ADMINISTRATORS[:-1], None),
        (bytes(4) + struct.pack("<I", 8) + b"\1\x10" + bytes(80), None),
    ],
)
def test_the_owner_in_a_security_descriptor(descriptor: bytes, owner: str | None) -> None:
    assert owner_sid(descriptor) == owner
