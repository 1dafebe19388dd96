"""``rehydrate cat``: the bytes of one file, without restoring it."""

from typing import Annotated

import typer

from rehydrate.cli.guard import guarded
from rehydrate.cli.parameters import Store, Version, size_option

__all__ = ["cat"]


@guarded
def cat(
    store: Store,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A regular file.", show_default=False)
    ],
    *,
    version: Version = None,
    offset: Annotated[
        int,
        typer.Option(
            metavar="SIZE", parser=size_option, help="First byte: a number, or such as 4K or 1.5G."
        ),
    ] = 0,
    length: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=size_option,
            help="Number of bytes; to the end otherwise.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Write a file, or a part of it, to standard output.

    Only the chunks that hold the part are read, and each is verified before it is written.
    """
    from rehydrate.cli.cat import write_range

    return write_range(store, path, version, offset, length)
