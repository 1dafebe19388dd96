"""Stubs that were copied without their chunk store: whose they are.

A copying tool that does not know deduplication takes the stubs of a volume and leaves the store,
which no ordinary program may open. The bytes are not lost as long as the store is somewhere.
"""

from collections.abc import Callable, Sequence

from rehydrate.errors import RestoreError
from rehydrate.stores.volume import Volume, VolumeEntry
from rehydrate.values import DEDUP_TAG, StoreId

__all__ = ["orphan_stubs"]


def orphan_stubs(
    volume: Volume,
    owner_of: Callable[[bytes], StoreId | None],
    prefixes: Sequence[bytes] = (),
) -> dict[StoreId, list[VolumeEntry]]:
    """Group the stubs whose chunk store is not on their volume.

    Stubs that cannot be read, or that name no store, are left out: a restore tells why.

    Args:
        volume: Where the stubs are.
        owner_of: Tells the store that a stub names; ``None`` or all zero = it names none. May
            raise :class:`~rehydrate.RestoreError`.
        prefixes: As in :meth:`~rehydrate.stores.volume.Volume.entries`.

    Returns:
        The stubs of each missing store, in tree order, the stores sorted by identity.

    Raises:
        StoreError: The stores of the volume cannot be listed.
    """
    present = {found.store for found in volume.chunk_stores()}
    orphans: dict[StoreId, list[VolumeEntry]] = {}
    for entry in volume.entries(prefixes):
        if entry.reparse_tag != DEDUP_TAG:
            continue
        try:
            owner = owner_of(volume.reparse_data(entry))
        except RestoreError:
            continue
        if owner is not None and owner.int and owner not in present:
            orphans.setdefault(owner, []).append(entry)
    return dict(sorted(orphans.items()))
