"""Finds the files that belong to an image: parts of a split one, parents, extents.

An image names other files by paths that its maker chose. Only the last name of such a path counts,
and only beside the image: no image can make us read ``/etc/shadow``.
"""

import re
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Final

from rehydrate.errors import ContainerNotFoundError, CorruptMetadataError, StoreReadError
from rehydrate.stores.images.bytesource import ByteSource, FileSource, RowSource

__all__ = ["file_beside", "open_parts"]

_SUFFIX: Final = re.compile(r"[0-9]{2,3}|a{1,2}[a-z]")
_SHOWN: Final = 200


def file_beside(image: Path, named: str) -> Path:
    """Return the file beside an image that a path inside the image means.

    Args:
        image: The image.
        named: The path that it gives, with slashes or backslashes, absolute or not.

    Raises:
        CorruptMetadataError: The path has no last name.
        ContainerNotFoundError: There is no such file beside the image.
    """
    last = re.split(r"[/\\:]", named)[-1]
    if last in {"", ".", ".."} or "\0" in last:
        raise CorruptMetadataError(
            f"{image} belongs to a file without a name: {named[:_SHOWN]!r}", container=str(image)
        )
    folder = image.parent
    if (folder / last).exists():
        return folder / last
    for other in _names(folder):
        if other.casefold() == last.casefold():
            return folder / other
    raise ContainerNotFoundError(
        f"{image} needs {last[:_SHOWN]!r} beside it, which is not there", container=str(image)
    )


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise StoreReadError(f"cannot list {folder}: {error}", container=str(folder)) from error


def open_parts(path: Path) -> tuple[ByteSource, tuple[Path, ...]]:
    """Open a file, or all parts of a file that was split.

    Parts are named ``.001``, ``.002`` … (from ``.000`` or ``.001`` on, two or three digits) or
    ``.aa``, ``.ab`` … (two or three letters). A lone ``.001`` is a file like any other.

    Args:
        path: The file, or any of its parts.

    Returns:
        The bytes of all parts in a row, and the parts in this order.

    Raises:
        ContainerNotFoundError: There is no such file, or a part in the middle is missing.
        StoreReadError: One of the files cannot be read.
    """
    parts = _parts(path)
    if len(parts) == 1:
        return FileSource(path), (path,)
    with ExitStack() as opened:
        sources: list[FileSource] = []
        for part in parts:
            sources.append(FileSource(part))
            opened.callback(sources[-1].close)
        opened.pop_all()
    return RowSource(sources, name=str(path)), tuple(parts)


def _parts(path: Path) -> list[Path]:
    stem, dot, suffix = path.name.rpartition(".")
    if not dot or not _SUFFIX.fullmatch(suffix):
        return [path]
    present = {
        _number(name[len(stem) + 1 :]): name
        for name in _names(path.parent)
        if name.startswith(f"{stem}.")
        and len(name) == len(path.name)
        and _SUFFIX.fullmatch(name[len(stem) + 1 :])
        and name[-1].isdigit() == suffix.isdigit()
    }
    if len(present) <= 1:
        return [path]
    numbers = sorted(present)
    first = min(numbers[0], 1) if suffix.isdigit() else 0
    wanted = range(first, first + len(numbers))
    lost = next((want for want, have in zip(wanted, numbers, strict=True) if want != have), None)
    if lost is not None:
        raise ContainerNotFoundError(
            f"part {lost + 1 - first} of {stem} is missing: {present[numbers[0]]} to "
            f"{present[numbers[-1]]} have a gap",
            container=str(path),
        )
    return [path.parent / present[number] for number in numbers]


def _number(suffix: str) -> int:
    if suffix.isdigit():
        return int(suffix)
    return reduce(lambda number, letter: number * 26 + ord(letter) - ord("a"), suffix, 0)
