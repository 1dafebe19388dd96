import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    StoreError,
    StoreReadError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.source import OpenedImage, open_image
from tests.unit.stores.images.disks import MIB, Block, Vhdx

Needs = Callable[..., None]
Qemu = Callable[..., None]

QEMU = {
    "vpc dynamic": (("vpc", "subformat=dynamic,force_size=on"), "vhd", None),
    "vpc fixed": (("vpc", "subformat=fixed,force_size=on"), "vhd", None),
    "vhdx dynamic": (("vhdx", "subformat=dynamic"), "vhdx", None),
    "vhdx fixed": (("vhdx", "subformat=fixed"), "vhdx", None),
    "vhdx large blocks": (("vhdx", "block_size=8M"), "vhdx", None),
    "qcow2": (("qcow2", "compat=1.1"), "qcow2", "pyqcow"),
    "qcow2 old": (("qcow2", "compat=0.10"), "qcow2", "pyqcow"),
    "qcow2 small clusters": (("qcow2", "cluster_size=512"), "qcow2", "pyqcow"),
    "vmdk one sparse": (("vmdk", "subformat=monolithicSparse"), "vmdk", "pyvmdk"),
    "vmdk one flat": (("vmdk", "subformat=monolithicFlat"), "vmdk", "pyvmdk"),
    "vmdk split sparse": (("vmdk", "subformat=twoGbMaxExtentSparse"), "vmdk", "pyvmdk"),
    "vmdk split flat": (("vmdk", "subformat=twoGbMaxExtentFlat"), "vmdk", "pyvmdk"),
    "vmdk stream": (("vmdk", "subformat=streamOptimized"), "vmdk", "pyvmdk"),
}


def everything(image: OpenedImage) -> bytes:
    return image.source.read(0, image.source.size)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("case", QEMU)
def test_a_disk_comes_back_out_of_every_layer(
    case: str, disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    (kind, option), layer, binding = QEMU[case]
    needs(*([binding] if binding else []))
    qemu_img("convert", "-O", kind, "-o", option, "disk.raw", "image.bin")
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    sums = {file: hashlib.sha256(file.read_bytes()).digest() for file in tmp_path.iterdir()}
    before = open_descriptors()
    with open_image(tmp_path / "image.bin") as image:
        assert image.layer == layer
        assert image.files[0] == tmp_path / "image.bin"
        assert set(image.files) == {file for file in sums if file.name.startswith("image")}
        assert everything(image) == disk
        for offset, size in [(0, 0), (1, 3), (MIB - 5, 10), (MIB - 700_001, 1_900_003)]:
            assert image.source.read(offset, size) == disk[offset : offset + size]
        for offset, size in [(len(disk), 1), (-1, 2), (0, len(disk) + 1)]:
            with pytest.raises(StoreReadError):
                image.source.read(offset, size)
        image.source.close()
        with pytest.raises(StoreReadError):
            image.source.read(0, 1)
    assert open_descriptors() == before
    assert {file: hashlib.sha256(file.read_bytes()).digest() for file in sums} == sums


def test_compressed_clusters_are_read(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyqcow")
    qemu_img("convert", "-c", "-O", "qcow2", "disk.raw", "c.qcow2")
    with open_image(tmp_path / "c.qcow2") as image:
        assert everything(image) == disk


def test_a_library_is_read_by_one_thread_at_a_time(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyqcow")
    qemu_img("convert", "-O", "qcow2", "disk.raw", "d.qcow2")
    wrong: list[int] = []
    with open_image(tmp_path / "d.qcow2") as image:

        def work(first: int) -> None:
            wrong.extend(
                offset
                for offset in range(first, len(disk) - 5000, 40_000)
                if image.source.read(offset, 5000) != disk[offset : offset + 5000]
            )

        threads = [threading.Thread(target=work, args=(n * 7919,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "case",
    [
        ("qcow2", "pyqcow", "libqcow-python"),
        ("vmdk", "pyvmdk", "libvmdk-python"),
    ],
    ids=str,
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    case: tuple[str, str, str],
    disk: bytes,
    tmp_path: Path,
    qemu_img: Qemu,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, module, package = case
    qemu_img("convert", "-O", kind, "disk.raw", "image.bin")
    monkeypatch.setitem(sys.modules, module, None)
    before = open_descriptors()
    with pytest.raises(StoreError, match=package) as caught:
        open_image(tmp_path / "image.bin")
    assert caught.value.code == "store.extra-missing"
    assert "pip install 'rehydrate[windows]'" in str(caught.value)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("d.001", "d.002", "d.003"), "d.001"),
        (("d.000", "d.001", "d.002"), "d.001"),
        (("d.img.01", "d.img.02", "d.img.03"), "d.img.03"),
        (("d.aa", "d.ab", "d.ac"), "d.aa"),
        (("d.aaa", "d.aab", "d.aac"), "d.aab"),
    ],
    ids=str,
)
def test_parts_of_a_split_image_are_put_together(
    names: tuple[str, ...], named: str, disk: bytes, tmp_path: Path
) -> None:
    third = len(disk) // 3
    for number, name in enumerate(names):
        end = (number + 1) * third if number < 2 else len(disk)
        (tmp_path / name).write_bytes(disk[number * third : end])
    (tmp_path / "d.txt").write_bytes(b"not a part")
    with open_image(tmp_path / named) as image:
        assert image.layer == "split raw"
        assert image.files == tuple(tmp_path / name for name in names)
        assert everything(image) == disk


@pytest.mark.parametrize("lost", ["d.001", "d.002"])
def test_a_lost_part_is_named_and_not_read_over(lost: str, tmp_path: Path) -> None:
    for number in range(1, 5):
        (tmp_path / f"d.00{number}").write_bytes(b"x" * 600)
    (tmp_path / lost).unlink()
    with pytest.raises(ContainerNotFoundError, match=f"part {lost[-1]} of d is missing"):
        open_image(tmp_path / "d.004")


@pytest.mark.parametrize("name", ["d.001", "d.aa", "d.az", "d.qcow2", "d", "d.1", "d.0001", ".001"])
def test_a_lone_file_is_an_image_whatever_its_name_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x" * 600)
    (tmp_path / "other.002").write_bytes(b"y")
    with open_image(tmp_path / name) as image:
        assert (image.layer, everything(image)) == ("raw", b"x" * 600)


def test_an_empty_file_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with open_image(tmp_path / "empty") as image:
        assert (image.layer, image.source.size) == ("raw", 0)
    with pytest.raises(ContainerNotFoundError):
        open_image(tmp_path / "none")
    with pytest.raises(ContainerNotFoundError):
        open_image(tmp_path / "none.001")
    with pytest.raises(StoreReadError):
        open_image(tmp_path / "no folder" / "none.001")


def test_a_split_file_of_another_layer_is_that_layer(tmp_path: Path) -> None:
    data = os.urandom(MIB)
    file = Vhdx(size=MIB, blocks={0: Block(state="full", data=data)}).packed()
    for number in range(4):
        (tmp_path / f"d.00{number + 1}").write_bytes(
            file[number * MIB * 2 : (number + 1) * MIB * 2]
        )
    with open_image(tmp_path / "d.001") as image:
        assert (image.layer, everything(image)) == ("vhdx", data)


REFUSED = {
    "VDI": bytes(0x40) + b"\x7f\x10\xda\xbe",
    "AFF": b"AFF10\r\n\0",
    "L01": b"LVF\x09\x0d\x0a\xff\0",
    "WIM": b"MSWIM\0\0\0",
    "gzip": b"\x1f\x8b\x08",
    "zstd": b"\x28\xb5\x2f\xfd",
    "Ex01": b"EVF2\x0d\x0a\x81\x00",
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_kinds_are_refused_by_name(what: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(REFUSED[what] + bytes(1000))
    with pytest.raises(UnsupportedFormatError, match=what):
        open_image(tmp_path / "image")


def test_an_extent_is_looked_for_beside_the_image_and_nowhere_else(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyvmdk")
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", "disk.raw", "d.vmdk")
    text = (tmp_path / "d.vmdk").read_text()
    (tmp_path / "d.vmdk").write_text(text.replace("d-flat.vmdk", "/etc/passwd"))
    with pytest.raises(ContainerNotFoundError, match="'passwd' beside it"):
        open_image(tmp_path / "d.vmdk")
    (tmp_path / "d.vmdk").write_text(text.replace("d-flat.vmdk", "C:\\vm\\D-FLAT.vmdk"))
    with open_image(tmp_path / "d.vmdk") as image:
        assert everything(image) == disk
    (tmp_path / "d-flat.vmdk").unlink()
    with pytest.raises(ContainerNotFoundError, match="FLAT"):
        open_image(tmp_path / "d.vmdk")


def test_a_short_extent_is_refused_and_one_that_became_short_is_an_error_with_its_place(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyvmdk")
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", "disk.raw", "d.vmdk")
    with open_image(tmp_path / "d.vmdk") as image:
        os.truncate(tmp_path / "d-flat.vmdk", MIB)
        assert image.source.read(0, 100) == disk[:100]
        with pytest.raises(StoreReadError, match=r"d-flat\.vmdk ended") as caught:
            image.source.read(2 * MIB, 512)
        assert image.source.read(0, 100) == disk[:100]
    assert caught.value.offset == 2 * MIB
    assert caught.value.container == str(tmp_path / "d.vmdk")
    before = open_descriptors()
    with pytest.raises(CorruptMetadataError, match="size"):
        open_image(tmp_path / "d.vmdk")
    assert open_descriptors() == before


def test_a_file_that_cannot_be_read_is_named_by_the_layer_above(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyqcow")
    qemu_img("convert", "-O", "qcow2", "disk.raw", "d.qcow2")
    with open_image(tmp_path / "d.qcow2") as image:
        assert image.source.read(0, 512) == disk[:512]
        os.truncate(tmp_path / "d.qcow2", 4096)
        with pytest.raises(StoreReadError, match="ended before the read did") as caught:
            image.source.read(3 * MIB, 512)
    assert caught.value.offset == 3 * MIB


def test_vmdk_variants_that_the_library_reads_wrongly_are_refused(
    disk: bytes, tmp_path: Path, qemu_img: Qemu, needs: Needs
) -> None:
    needs("pyvmdk")
    qemu_img("create", "-f", "vmdk", "-o", "zeroed_grain=on", "z.vmdk", "4M")
    with pytest.raises(UnsupportedFormatError, match="zeroed grains"):
        open_image(tmp_path / "z.vmdk")
    qemu_img("convert", "-O", "vmdk", "disk.raw", "base.vmdk")
    qemu_img("create", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "snap.vmdk")
    with pytest.raises(UnsupportedFormatError, match=r"snapshot on top of 'base.vmdk'"):
        open_image(tmp_path / "snap.vmdk")
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "disk.raw", "s.vmdk")
    with pytest.raises((CorruptMetadataError, UnsupportedFormatError), match="s001"):
        open_image(tmp_path / "s-s001.vmdk")
