"""The work of ``rehydrate cat``."""

import os
import sys

from rehydrate.cli.chosen import numbered
from rehydrate.cli.exit_codes import OK
from rehydrate.cli.sources import Source
from rehydrate.requests import Recall
from rehydrate.values import MAX_OFFSET

__all__ = ["write_range"]


def write_range(
    source: Source, path: str, version: str | None, offset: int, length: int | None, *, recall: str
) -> int:
    """Write a range of one file to standard output.

    Args:
        source: Where it is.
        path: Path in the version.
        version: Number or name of the version; ``None`` = the newest.
        offset: First byte.
        length: Number of bytes; ``None`` = to the end.
        recall: What to do where newer data may lie elsewhere, as :class:`~rehydrate.Recall` says.

    Returns:
        The exit code.

    Raises:
        RequestError: There is no such file.
    """
    name = os.fsencode(path).strip(b"/")
    number = source.pick_version(numbered(version))
    length = MAX_OFFSET if length is None else length
    out = sys.stdout.buffer
    for piece in source.read(number, name, offset, length, Recall(recall)):
        out.write(piece)
    out.flush()
    return OK
