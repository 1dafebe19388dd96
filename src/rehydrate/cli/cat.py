"""The work of ``rehydrate cat``."""

import os
import sys
from pathlib import Path

from rehydrate.cli.exit_codes import OK
from rehydrate.cli.output import shown
from rehydrate.cli.stores import opened_catalogue, pick_version
from rehydrate.engine.random_access import read_range
from rehydrate.errors import RequestError
from rehydrate.values import MAX_OFFSET

__all__ = ["write_range"]


def write_range(
    store: Path, path: str, version: int | None, offset: int, length: int | None
) -> int:
    """Write a range of one file to standard output.

    Args:
        store: Directory of the store.
        path: Path in the version.
        version: Number of the version; ``None`` = the newest.
        offset: First byte.
        length: Number of bytes; ``None`` = to the end.

    Returns:
        The exit code.

    Raises:
        RequestError: There is no such file.
    """
    name = os.fsencode(path).strip(b"/")
    with opened_catalogue(store) as catalogue:
        number = pick_version(catalogue, version)
        found = next((e for e in catalogue.entries(number, [name]) if e.path == name), None)
        if found is None:
            raise RequestError(
                f"{shown(path)} is not in version {number}; `rehydrate ls {store}` lists what is"
            )
        out = sys.stdout.buffer
        length = MAX_OFFSET if length is None else length
        try:
            for piece in read_range(found.stub, catalogue.store, offset, length):
                out.write(piece)
        except RequestError as error:
            raise error.at(file=path) from None
        out.flush()
    return OK
