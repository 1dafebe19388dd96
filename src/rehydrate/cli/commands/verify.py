"""``rehydrate verify``: whether a store is whole."""

from typing import Annotated

from rehydrate.cli.declare import Option
from rehydrate.cli.parameters import AsJson, Jobs, Partition, Source, Stores, Version

__all__ = ["verify"]


def verify(
    source: Source,
    *,
    read_data: Annotated[
        bool, Option("--read-data", text="Also read and hash every chunk.")
    ] = False,
    version: Version = None,
    partition: Partition = None,
    stores: Stores = None,
    jobs: Jobs = 0,
    as_json: AsJson = False,
) -> int:
    """Check a store and list exactly what is damaged.

    Every reference of every version must lead to a whole record. What does not is named: containers,
    records, files and versions.
    """
    from rehydrate.cli.verifying import verify_and_show

    return verify_and_show(
        source, version, partition, stores, read_data=read_data, jobs=jobs, as_json=as_json
    )
