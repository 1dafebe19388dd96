"""Which layer an image has, and the one that a library reads alone: VMDK."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from rehydrate.errors import (
    CorruptMetadataError,
    UnsupportedFormatError,
)
from rehydrate.stores.images.beside import file_beside
from rehydrate.stores.images.bindings import ForeignOpen, LibrarySource, NeedsPackage
from rehydrate.stores.images.bytesource import ByteSource, FileSource, FileView
from rehydrate.stores.images.ewf import SIGNATURE as EWF_SIGNATURE
from rehydrate.stores.images.ewf import SIGNATURE_2 as EWF_SIGNATURE_2
from rehydrate.stores.images.qcow import SIGNATURE as QCOW_SIGNATURE
from rehydrate.stores.images.vhd import COOKIE as VHD_COOKIE
from rehydrate.stores.images.vhd import FOOTER_SIZE as VHD_FOOTER
from rehydrate.stores.images.vhdx import SIGNATURE as VHDX_SIGNATURE

__all__ = ["MAX_CHAIN", "Layer", "layer_of", "open_vmdk"]

MAX_CHAIN: Final = 32
"""Most parents that an image may have, one below the other."""
_VMDK_SPARSE: Final = b"KDMV"
_VMDK_COW: Final = b"COWD"
_VMDK_TEXT: Final = b"# disk descriptorfile"
_MOST_EXTENTS: Final = 4096
_NO_PARENT: Final = 0xFFFFFFFF
_VMDK_ZEROED_GRAINS: Final = 4  # flag "grain table entry 1 is a grain of zeros"
_REFUSED: Final[Mapping[tuple[int, bytes], str]] = {
    (0, b"AFF10\r\n\x00"): "an AFF image",
    (0, b"LVF\x09\x0d\x0a\xff\x00"): "a logical evidence file (L01), which has files but no disk",
    (0, b"LEF2\x0d\x0a\x81\x00"): "a logical evidence file (Lx01), which has files but no disk",
    (0, b"MSWIM\x00\x00\x00"): "a WIM archive",
    (0, b"PK\x03\x04"): "a ZIP archive; unpack it first",
    (0, b"\x1f\x8b\x08"): "compressed by gzip; unpack it first",
    (0, b"\xfd7zXZ\x00"): "compressed by xz; unpack it first",
    (0, b"\x28\xb5\x2f\xfd"): "compressed by zstd; unpack it first",
    (0, b"7z\xbc\xaf\x27\x1c"): "a 7z archive; unpack it first",
    (0x40, b"\x7f\x10\xda\xbe"): "a VirtualBox VDI image",
    (0, b"WithoutFreeSpace"): "a Parallels image",
    (0, b"WithouFreSpacExt"): "a Parallels image",
}
"""Kinds that are known by name only: place and bytes of their signature."""


class _Extent(Protocol):
    def get_filename(self) -> str | None: ...


class _Vmdk(Protocol):
    """What :func:`_extent_names` asks a handle of the binding."""

    def get_parent_content_identifier(self) -> int | None: ...
    def get_parent_filename(self) -> str | None: ...
    def get_number_of_extents(self) -> int: ...
    def get_extent_descriptor(self, extent_index: int) -> _Extent: ...


class Layer:
    """Names of the layers, as :class:`~.source.OpenedImage` gives them."""

    RAW: Final = "raw"
    SPLIT_RAW: Final = "split raw"
    VHD: Final = "vhd"
    VHDX: Final = "vhdx"
    EWF: Final = "ewf"
    QCOW2: Final = "qcow2"
    VMDK: Final = "vmdk"


def layer_of(path: Path, file: ByteSource) -> str:
    """Tell the layer by the first bytes, and by the last for a fixed VHD.

    Args:
        path: The file, for messages.
        file: Its bytes.

    Returns:
        One of the names of :class:`Layer`; ``"raw"`` where nothing else is recognised.

    Raises:
        UnsupportedFormatError: It is a kind that is known, but not read.
        StoreReadError: It cannot be read.
    """
    head = file.read(0, min(file.size, 512))
    for (place, signature), what in _REFUSED.items():
        if head[place : place + len(signature)] == signature:
            raise UnsupportedFormatError(f"{path} is {what}", container=str(path))
    starts = {
        Layer.VHDX: (VHDX_SIGNATURE,),
        Layer.VHD: (VHD_COOKIE,),
        Layer.EWF: (EWF_SIGNATURE, EWF_SIGNATURE_2),
        Layer.QCOW2: (QCOW_SIGNATURE,),
        Layer.VMDK: (_VMDK_SPARSE, _VMDK_COW),
    }
    for layer, signatures in starts.items():
        if head.startswith(signatures):
            return layer
    if head.lstrip().lower().startswith(_VMDK_TEXT):
        return Layer.VMDK
    if file.size > VHD_FOOTER and file.read(file.size - VHD_FOOTER, 8) == VHD_COOKIE:
        return Layer.VHD
    return Layer.RAW


def open_vmdk(path: Path, file: ByteSource) -> tuple[ByteSource, tuple[Path, ...]]:
    """Open a VMDK image and its extents, which lie beside it.

    Args:
        path: The descriptor, or the only file of the image.
        file: Its bytes; closed with the result, but not if the call fails.

    Returns:
        The disk, and the paths of the extents that are files of their own.

    Raises:
        ContainerNotFoundError: An extent is missing.
        CorruptMetadataError: The descriptor or an extent contradicts itself.
        UnsupportedFormatError: It is a snapshot on top of another image, or has zeroed grains, or
            names devices.
        StoreError: The binding is not installed, code ``"store.extra-missing"``.
        StoreReadError: A file cannot be read.
    """
    with NeedsPackage("libvmdk-python"):
        import pyvmdk
    name = str(path)
    view = FileView(file)
    handle = pyvmdk.handle()
    embedded = file.read(0, 4) == _VMDK_SPARSE
    with ForeignOpen(name, Layer.VMDK, [view]):
        handle.open_file_object(view)
        size = handle.get_media_size()
        named = _extent_names(handle, name)
    with ExitStack() as opened:
        extents: list[ByteSource] = []
        paths: list[Path] = []
        if embedded and len(named) == 1:
            extents.append(file)  # whatever it was called when it was made
            named = []
        for each in named:
            paths.append(file_beside(path, each))
            extra = FileSource(paths[-1])
            opened.callback(extra.close)
            extents.append(extra)
        for extent in extents:
            _refuse_zeroed_grains(extent, name)
        views = [view, *(FileView(extent) for extent in extents)]
        with ForeignOpen(name, Layer.VMDK, views):
            handle.open_extent_data_files_as_file_objects(views[1:])
        kept = opened.pop_all()
    source = LibrarySource(handle, size, name=name, views=views, closes=[handle, file, kept])
    return source, tuple(paths)


def _extent_names(handle: _Vmdk, name: str) -> list[str]:
    """Return the file names of the extents, in order.

    Raises:
        UnsupportedFormatError: See :func:`open_vmdk`.
    """
    if handle.get_parent_content_identifier() not in {None, _NO_PARENT}:
        raise UnsupportedFormatError(
            f"{name} is a VMDK snapshot on top of {handle.get_parent_filename()!r}; "
            "consolidate it first",
            container=name,
        )
    count = handle.get_number_of_extents()
    if not 0 < count <= _MOST_EXTENTS:
        raise CorruptMetadataError(f"{name} has {count} extents", container=name)
    named = [handle.get_extent_descriptor(index).get_filename() for index in range(count)]
    if any(not each for each in named):
        raise UnsupportedFormatError(f"{name} has an extent without a file", container=name)
    return [each for each in named if each]


def _refuse_zeroed_grains(extent: ByteSource, name: str) -> None:
    """Refuse what the library reads wrongly: it takes entry 1, a grain of zeros, for an address."""
    head = extent.read(0, min(extent.size, 12))
    flags = int.from_bytes(head[8:12], "little")
    if head[:4] == _VMDK_SPARSE and flags & _VMDK_ZEROED_GRAINS:
        raise UnsupportedFormatError(
            f"{name} has zeroed grains; qemu-img convert makes a copy without", container=name
        )
