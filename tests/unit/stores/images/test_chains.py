import importlib
import struct
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.source import open_image
from tests.unit.stores.images.disks import MIB, SECTOR

Run = Callable[..., None]


def everything(path: Path) -> bytes:
    with open_image(path) as image:
        return image.source.read(0, image.source.size)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def overlay(
    request: pytest.FixtureRequest, disk: bytes, tmp_path: Path, qemu_img: Run, needs: Run
) -> tuple[Path, bytes]:
    """A QCOW2 file with own bytes, zeros and holes over a backing file, and what it should hold."""
    needs("qemu-io", "pyqcow")
    form = getattr(request, "param", "qcow2")
    qemu_img("convert", "-O", form, "disk.raw", f"base.{form}")
    qemu_img("create", "-f", "qcow2", "-b", f"base.{form}", "-F", form, "top.qcow2", "5M")
    commands = ("write -z 64k 128k", "write -P 7 300k 4k", "write -P 9 4500k 100k")
    for command in commands:
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, "top.qcow2"], cwd=tmp_path,
                       check=True, capture_output=True)  # fmt: skip
    expected = bytearray(disk + bytes(MIB))
    expected[64 << 10 : 192 << 10] = bytes(128 << 10)
    expected[300 << 10 : 304 << 10] = bytes([7]) * 4096
    expected[4500 << 10 : 4600 << 10] = bytes([9]) * (100 << 10)
    return tmp_path / "top.qcow2", bytes(expected)


@pytest.mark.parametrize("overlay", ["qcow2", "raw", "vhdx"], indirect=True)
def test_what_a_qcow2_file_does_not_hold_comes_from_its_backing_file(
    overlay: tuple[Path, bytes], tmp_path: Path, qemu_img: Run
) -> None:
    path, expected = overlay
    before = open_descriptors()
    with open_image(path) as image:
        assert image.layer == "qcow2"
        assert len(image.files) == 2
        assert image.source.size == 5 * MIB
        assert image.source.read(0, 5 * MIB) == expected
        for offset, size in [(65535, 2), (300 << 10, 5000), (MIB - 1, MIB + 2), (4 * MIB - 5, 9)]:
            assert image.source.read(offset, size) == expected[offset : offset + size]
        with pytest.raises(StoreReadError):
            image.source.read(5 * MIB, 1)
    assert open_descriptors() == before
    qemu_img("convert", "-O", "raw", "top.qcow2", "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == expected


def test_a_chain_of_three_is_read(
    overlay: tuple[Path, bytes], tmp_path: Path, qemu_img: Run
) -> None:
    qemu_img("create", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", "last.qcow2")
    assert everything(tmp_path / "last.qcow2") == overlay[1]


def test_a_raw_backing_file_is_not_taken_for_another_layer(
    tmp_path: Path, qemu_img: Run, needs: Run
) -> None:
    needs("pyqcow")
    hostile = b"QFI\xfb" + bytes(range(256)) * 255
    (tmp_path / "base.raw").write_bytes(hostile)
    qemu_img("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
    assert everything(tmp_path / "top.qcow2")[: len(hostile)] == hostile


def test_a_backing_file_is_looked_for_beside_the_image_and_nowhere_else(
    overlay: tuple[Path, bytes], tmp_path: Path
) -> None:
    path, expected = overlay
    data = path.read_bytes()
    elsewhere = data.replace(b"base.qcow2", b"../passwdxx"[:10])
    path.write_bytes(elsewhere)
    before = open_descriptors()
    with pytest.raises(ContainerNotFoundError, match="beside it"):
        open_image(path)
    path.write_bytes(data.replace(b"base.qcow2", b"top.qcow2\0"[:10]))
    with pytest.raises(CorruptMetadataError):
        open_image(path)
    assert open_descriptors() == before
    path.write_bytes(data)
    (tmp_path / "base.qcow2").rename(tmp_path / "BASE.qcow2")
    assert everything(path) == expected


def test_a_circle_of_backing_files_ends(tmp_path: Path, qemu_img: Run, needs: Run) -> None:
    needs("pyqcow")
    qemu_img("create", "-f", "qcow2", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2", "1M")
    qemu_img("create", "-f", "qcow2", "-u", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2", "1M")
    before = open_descriptors()
    with pytest.raises(UnsupportedFormatError, match="more than 32"):
        open_image(tmp_path / "a.qcow2")
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("extended_l2=on", "'4'"),
        ("compression_type=zstd", "compression type"),
        ("data_file=other.raw", "external data file"),
    ],
)
def test_features_that_are_not_known_are_refused_by_name(
    option: str, name: str, disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    qemu_img("create", "-f", "qcow2", "-o", option, "top.qcow2", "1M")
    with pytest.raises(UnsupportedFormatError, match=name):
        open_image(tmp_path / "top.qcow2")


def test_broken_qcow2_headers_are_refused(
    disk: bytes, tmp_path: Path, qemu_img: Run, needs: Run
) -> None:
    needs("pyqcow")
    qemu_img("convert", "-O", "qcow2", "disk.raw", "top.qcow2")
    path = tmp_path / "top.qcow2"
    good = path.read_bytes()
    for place, width, values in (
        (4, 4, (0, 1, 4, 2**32 - 1)),  # version
        (8, 8, (2**64 - 1, 2**40)),  # place of the backing file's name
        (16, 4, (1024, 2**32 - 1)),  # its length
        (20, 4, (0, 8, 22, 2**32 - 1)),  # cluster bits
        (24, 8, (2**64 - 1, 2**63, 2**50)),  # size
        (36, 4, (0, 2**32 - 1)),  # entries of the first table
        (40, 8, (2**64 - 1, 2**40)),  # place of the first table
    ):
        for value in values:
            bad = bytearray(good)
            bad[place : place + width] = value.to_bytes(width, "big")
            path.write_bytes(bad)
            with pytest.raises((CorruptMetadataError, UnsupportedFormatError)):
                open_image(path)
    path.write_bytes(good[:100])
    with pytest.raises(CorruptMetadataError, match="without a header"):
        open_image(path)


def test_a_differencing_vhd_is_read_over_its_parent(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    expected = vhd_pair(disk, tmp_path, qemu_img)
    before = open_descriptors()
    with open_image(tmp_path / "child.vhd") as image:
        assert image.layer == "vhd"
        assert image.files == (tmp_path / "child.vhd", tmp_path / "parent.vhd")
        assert image.source.read(0, len(disk)) == expected
        for offset, size in [(511, 2), (100, 5000), (7 * SECTOR + 1, SECTOR), (2 * MIB - 600, 900)]:
            assert image.source.read(offset, size) == expected[offset : offset + size]
    assert open_descriptors() == before


def test_the_parent_of_a_vhd_is_named_by_a_locator_or_by_the_header(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    expected = vhd_pair(disk, tmp_path, qemu_img)
    child = tmp_path / "child.vhd"
    data = bytearray(child.read_bytes())
    path = ".\\parent.vhd".encode("utf-16-le")
    wrong = "C:\\wrong.vhd".encode("utf-16-be")
    data[512 + 64 : 512 + 64 + len(wrong)] = wrong
    data[512 + 576 : 512 + 600] = struct.pack(
        ">4sIIIQ", b"W2ru", 512, len(path), 0, len(data) - 512
    )
    data[512 + 36 : 512 + 40] = vhd_sum(data[512 : 512 + 1024], 36)
    child.write_bytes(bytes(data[:-512]) + path.ljust(512, b"\0") + bytes(data[-512:]))
    assert everything(child) == expected


def test_a_lost_changed_or_circular_parent_of_a_vhd_is_refused(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    vhd_pair(disk, tmp_path, qemu_img)
    parent = tmp_path / "parent.vhd"
    good = parent.read_bytes()
    data = bytearray(good)
    for footer in (0, len(data) - 512):
        data[footer + 68] ^= 1
        data[footer + 64 : footer + 68] = vhd_sum(data[footer : footer + 512], 64)
    before = open_descriptors()
    for other in (bytes(data), disk):
        parent.write_bytes(other)
        with pytest.raises(CorruptMetadataError) as caught:
            open_image(tmp_path / "child.vhd")
        assert caught.value.code == "image.parent-changed"
    parent.unlink()
    with pytest.raises(ContainerNotFoundError, match=r"parent\.vhd"):
        open_image(tmp_path / "child.vhd")
    (tmp_path / "child.vhd").rename(parent)
    with pytest.raises(UnsupportedFormatError, match="more than 32"):
        open_image(parent)
    assert open_descriptors() == before


def test_the_copy_of_a_vhd_footer_is_used_and_hostile_numbers_are_refused(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    qemu_img("convert", "-O", "vpc", "-o", "force_size=on", "disk.raw", "d.vhd")
    path = tmp_path / "d.vhd"
    good = path.read_bytes()
    for place in (20, len(good) - 512 + 20):
        bad = bytearray(good)
        bad[place] ^= 1
        path.write_bytes(bad)
        assert everything(path) == disk
    path.write_bytes(good[: len(good) - 100])
    assert everything(path) == disk
    errors = (CorruptMetadataError, UnsupportedFormatError)
    for place, width, values in (
        (12, 4, (0, 0x20000)),  # version
        (16, 8, (2**64 - 1, 100)),  # place of the header
        (48, 8, (2**64 - 1, 2**40)),  # size
        (60, 4, (0, 1, 5)),  # kind
        (512, 8, (0,)),  # cookie of the header
        (512 + 16, 8, (2**64 - 1, 2**40)),  # place of the table
        (512 + 24, 4, (0, 0x20000)),  # version of the header
        (512 + 28, 4, (0, 1, 2**32 - 1)),  # entries
        (512 + 32, 4, (0, 1, 511, 3 << 20, 2**31)),  # size of a block
    ):
        for value in values:
            bad = bytearray(good)
            for start in (place, place + len(bad) - 512) if place < 512 else (place,):
                bad[start : start + width] = value.to_bytes(width, "big")
            for start, size, total in ((0, 512, 64), (len(bad) - 512, 512, 64), (512, 1024, 36)):
                bad[start + total : start + total + 4] = vhd_sum(bad[start : start + size], total)
            path.write_bytes(bad)
            with pytest.raises(errors):
                open_image(path)
    bad = bytearray(good)
    bad[20] ^= 1
    bad[len(bad) - 512 + 20] ^= 1
    path.write_bytes(bad)
    with pytest.raises(CorruptMetadataError, match="neither"):
        open_image(path)
    fixed = bytearray(good[-512:])
    fixed[60:64] = struct.pack(">I", 2)
    fixed[64:68] = vhd_sum(fixed, 64)
    path.write_bytes(disk[:-1] + fixed)
    with pytest.raises(CorruptMetadataError, match="too short"):
        open_image(path)


def test_sectors_of_a_dynamic_vhd_that_were_never_written_are_zeros(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    vhd_pair(disk, tmp_path, qemu_img)
    data = bytearray((tmp_path / "child.vhd").read_bytes())
    for footer in (0, len(data) - 512):
        data[footer + 60 : footer + 64] = struct.pack(">I", 3)
        data[footer + 64 : footer + 68] = vhd_sum(data[footer : footer + 512], 64)
    (tmp_path / "child.vhd").write_bytes(data)
    newer = (tmp_path / "newer.raw").read_bytes()
    found = everything(tmp_path / "child.vhd")
    assert found[:SECTOR] == newer[:SECTOR]
    assert found[SECTOR : 2 * SECTOR] == bytes(SECTOR)


def test_a_block_beyond_the_end_of_a_vhd_is_an_error_of_that_block_only(
    disk: bytes, tmp_path: Path, qemu_img: Run
) -> None:
    qemu_img("convert", "-O", "vpc", "-o", "force_size=on", "disk.raw", "d.vhd")
    data = bytearray((tmp_path / "d.vhd").read_bytes())
    table = struct.unpack_from(">Q", data, 512 + 16)[0]
    data[table : table + 4] = struct.pack(">I", 0x7FFFFFFF)
    (tmp_path / "d.vhd").write_bytes(data)
    with open_image(tmp_path / "d.vhd") as image:
        with pytest.raises(StoreReadError):
            image.source.read(0, 1)
        assert image.source.read(2 * MIB, 2 * MIB) == disk[2 * MIB :]


def vhd_sum(block: bytes | bytearray, place: int) -> bytes:
    total = sum(block[:place]) + sum(block[place + 4 :])
    return struct.pack(">I", ~total & 0xFFFFFFFF)


def vhd_pair(disk: bytes, folder: Path, qemu_img: Run) -> bytes:
    """Make a child out of a dynamic VHD: type, parent, and bitmaps with every other sector unset.

    Returns:
        What the child should show.
    """
    option = ("-O", "vpc", "-o", "force_size=on")
    qemu_img("convert", *option, "disk.raw", "parent.vhd")
    newer = bytes(255 - byte for byte in disk[: 2 * MIB]) + bytes(2 * MIB)
    (folder / "newer.raw").write_bytes(newer)
    qemu_img("convert", *option, "newer.raw", "child.vhd")
    child = bytearray((folder / "child.vhd").read_bytes())
    parent_id = (folder / "parent.vhd").read_bytes()[68:84]
    for footer in (0, len(child) - 512):
        child[footer + 60 : footer + 64] = struct.pack(">I", 4)
        child[footer + 68 : footer + 84] = uuid.uuid4().bytes
        child[footer + 64 : footer + 68] = vhd_sum(child[footer : footer + 512], 64)
    child[512 + 40 : 512 + 56] = parent_id
    name = "C:\\vm\\parent.vhd".encode("utf-16-be")
    child[512 + 64 : 512 + 64 + len(name)] = name
    child[512 + 36 : 512 + 40] = vhd_sum(child[512 : 512 + 1024], 36)
    table = struct.unpack_from(">Q", child, 512 + 16)[0]
    start = struct.unpack_from(">I", child, table)[0] * 512
    assert struct.unpack_from(">I", child, table + 4)[0] == 0xFFFFFFFF
    child[start : start + 512] = b"\xaa" * 512  # the highest bit is the first sector
    (folder / "child.vhd").write_bytes(child)
    return b"".join(
        (newer if number % 2 == 0 and number < 2 * MIB // SECTOR else disk)[
            number * SECTOR : (number + 1) * SECTOR
        ]
        for number in range(len(disk) // SECTOR)
    )


def test_the_library_takes_zeros_from_the_backing_file(
    overlay: tuple[Path, bytes], disk: bytes, tmp_path: Path
) -> None:
    """Where this fails, the library was mended, and the reason for looking ourselves is gone."""
    pyqcow = importlib.import_module("pyqcow")
    with overlay[0].open("rb") as above, (tmp_path / "base.qcow2").open("rb") as below:
        lower, upper = pyqcow.file(), pyqcow.file()
        lower.open_file_object(below)
        upper.open_file_object(above)
        upper.set_parent(lower)
        got = upper.read_buffer_at_offset(4096, 64 << 10)
    assert got == disk[64 << 10 : 68 << 10] != overlay[1][64 << 10 : 68 << 10]


def test_the_library_takes_sectors_of_the_parent_for_those_of_the_child(
    disk: bytes, tmp_path: Path, qemu_img: Run, needs: Run
) -> None:
    """Where this fails, the library was mended, and the reason for an own reader is gone."""
    needs("pyvhdi")
    pyvhdi = importlib.import_module("pyvhdi")
    expected = vhd_pair(disk, tmp_path, qemu_img)
    below, above = (tmp_path / "parent.vhd").open("rb"), (tmp_path / "child.vhd").open("rb")
    with below, above:
        lower, upper = pyvhdi.file(), pyvhdi.file()
        lower.open_file_object(below)
        upper.open_file_object(above)
        upper.set_parent(lower)
        assert upper.read_buffer_at_offset(4096, 0) != expected[:4096]
