"""Puts a new file in the place of an old one, in one step."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["replace_file"]

_USUAL: Final = 0o666
_PRIVATE: Final = 0o600


def replace_file(path: Path, pieces: Iterable[bytes], *, private: bool = False) -> None:
    """Write a file under another name, durably, and give it its name then.

    At every moment the old content or the new one stands there, after a power loss, too.

    Args:
        path: The file.
        pieces: Its new content.
        private: Only its owner may read it; else what the umask leaves.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(beside, flags, _PRIVATE if private else _USUAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
