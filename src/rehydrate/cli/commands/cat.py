"""``rehydrate cat``: the bytes of one file, without restoring it."""

from typing import Annotated

from rehydrate.cli.declare import Argument, Option
from rehydrate.cli.parameters import Partition, Recall, Source, Stores, Version
from rehydrate.cli.sizes import parse_size

__all__ = ["cat"]


def cat(
    source: Source,
    path: Annotated[str, Argument("PATH", "A regular file.")],
    *,
    version: Version = None,
    partition: Partition = None,
    stores: Stores = None,
    recall: Recall = "refuse",
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
    from rehydrate.cli.sources import opened

    with opened(source, partition, stores) as found:
        return write_range(found, path, version, offset, length, recall=recall)
