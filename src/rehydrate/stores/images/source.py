"""Opens a disk image, whatever its layer, as the bytes of the disk inside.

The layer is told by the content, never by the suffix; the suffix only says which files are parts of
a split image. Nothing is ever opened for writing.
"""

from pathlib import Path
from typing import Self

import attrs

from rehydrate.stores.images.bytesource import ByteSource, FileSource

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

    Args:
        path: The image; of a split one its first part.

    Raises:
        ContainerNotFoundError: The file, or one that belongs to it, is missing.
        StoreReadError: It cannot be read.
    """
    return OpenedImage(source=FileSource(path), layer="raw", files=(path,))
