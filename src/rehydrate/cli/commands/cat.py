"""``rehydrate cat``: the bytes of one file, without restoring it."""

from typing import Annotated

from rehydrate.cli.declare import Argument, Option
from rehydrate.cli.parameters import Store, Version
from rehydrate.cli.sizes import parse_size

__all__ = ["cat"]


def cat(
    store: Store,
    path: Annotated[str, Argument("PATH", "A regular file.")],
    *,
    version: Version = None,
    offset: Annotated[
        int,
        Option(
            "--offset",
            metavar="SIZE",
            convert=parse_size,
            text="First byte: a number, or such as 4K or 1.5G.",
        ),
    ] = 0,
    length: Annotated[
        int | None,
        Option(
            "--length",
            metavar="SIZE",
            convert=parse_size,
            text="Number of bytes; to the end otherwise.",
            default=False,
        ),
    ] = None,
) -> int:
    """Write a file, or a part of it, to standard output.

    Only the chunks that hold the part are read, and each is verified before it is written.
    """
    from rehydrate.cli.cat import write_range

    return write_range(store, path, version, offset, length)
