"""Opens a disk image, whatever its layer, as the bytes of the disk inside.

The layer is told by the content, never by the suffix; the suffix only says which files are parts of
a split image. Nothing is ever opened for writing.
"""

from pathlib import Path
from typing import Self

import attrs

from rehydrate.errors import UnsupportedFormatError
from rehydrate.stores.images.beside import file_beside, open_parts
from rehydrate.stores.images.bytesource import ByteSource
from rehydrate.stores.images.ewf import open_ewf
from rehydrate.stores.images.layers import (
    MAX_CHAIN,
    Layer,
    layer_of,
    open_vmdk,
)
from rehydrate.stores.images.qcow import open_qcow
from rehydrate.stores.images.vhd import open_vhd
from rehydrate.stores.images.vhdx import open_vhdx

__all__ = ["ByteSource", "OpenedImage", "open_image"]


@attrs.frozen(kw_only=True)
class OpenedImage:
    """An image that is open; a context manager that closes it.

    Attributes:
        source: Bytes of the disk (or of the volume, where the image has no partition table).
        layer: ``"raw"``, ``"split raw"``, ``"vhd"``, ``"vhdx"``, ``"ewf"``, ``"qcow2"`` or
            ``"vmdk"``.
        files: All files that make up the image, the one that was named first.
    """

    source: ByteSource
    layer: str
    files: tuple[Path, ...]

    def __enter__(self) -> Self:
        """Return the image itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files of the image."""
        self.close()

    def close(self) -> None:
        """Close all files of the image."""
        self.source.close()


def open_image(path: Path) -> OpenedImage:
    """Open an image for reading.

    Files that an image names (parents, backing files, extents) are looked for beside it, by the
    last name of the path that it gives, and nowhere else.

    Args:
        path: The image; of a split or segmented one its first part, of a VMDK the descriptor.

    Raises:
        ContainerNotFoundError: The file, or one that belongs to it, is missing.
        UnsupportedFormatError: It is of a kind, version or variant that is not read.
        CorruptMetadataError: The layer contradicts itself, or a parent was changed since
            (code ``"image.parent-changed"``).
        StoreError: The layer needs a package that is not installed (code
            ``"store.extra-missing"``); only QCOW2 and VMDK do.
        StoreReadError: A file cannot be read.
    """
    return _open(path, depth=0)


def _open(path: Path, *, depth: int, known_raw: bool = False) -> OpenedImage:
    if depth > MAX_CHAIN:
        raise UnsupportedFormatError(
            f"{path} has more than {MAX_CHAIN} images above it", container=str(path)
        )
    file, files = open_parts(path)
    try:
        layer = Layer.RAW if known_raw else layer_of(path, file)
        if layer == Layer.RAW:
            kind = Layer.RAW if len(files) == 1 else Layer.SPLIT_RAW
            return OpenedImage(source=file, layer=kind, files=files)
        source, more = _open_layer(layer, path, file, depth)
    except BaseException:
        file.close()
        raise
    return OpenedImage(source=source, layer=layer, files=files + more)


def _open_layer(
    layer: str, path: Path, file: ByteSource, depth: int
) -> tuple[ByteSource, tuple[Path, ...]]:
    below: list[Path] = []

    def open_below(named: str, form: str = "") -> ByteSource:
        opened = _open(file_beside(path, named), depth=depth + 1, known_raw=form == "raw")
        below.extend(opened.files)
        return opened.source

    if layer == Layer.VHDX:
        return open_vhdx(path, file, open_below), tuple(below)
    if layer == Layer.QCOW2:
        return open_qcow(path, file, open_below), tuple(below)
    if layer == Layer.VHD:
        return open_vhd(path, file, open_below), tuple(below)
    return (open_ewf if layer == Layer.EWF else open_vmdk)(path, file)
