"""``rehydrate optimize``: a source tree becomes the next version of a store."""

from typing import Annotated

from rehydrate.cli.declare import Argument
from rehydrate.cli.parameters import AsJson, Jobs

__all__ = ["optimize"]


def optimize(
    source: Annotated[
        str,
        Argument("SOURCE", "Directory to back up; it is not changed."),
    ],
    store: Annotated[
        str,
        Argument("STORE", "Directory of the store; made if it is not there."),
    ],
    *,
    jobs: Jobs = 0,
    as_json: AsJson = False,
) -> int:
    """Back up a directory into a store; each run is a version.

    Only what the store does not have yet is written. After an interruption run it again: it goes
    on from the last checkpoint.
    """
    from rehydrate.cli.sources import local, only_native
    from rehydrate.cli.storing import store_tree

    tree, place = local(source, "optimize"), local(store, "optimize")
    only_native(place, "Windows' chunk stores are only read; name a directory for a store of ours")
    return store_tree(tree, place, jobs=jobs, as_json=as_json)
