"""A directory of containers that lies on a mounted LTFS volume, read in the order of the tape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rehydrate.protocols import BackupStore
from rehydrate.stores.ltfs.mounted import Attributes, tape_place
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.wrapping import Wrapper
from rehydrate.values import MAX_OFFSET, ContainerExtent, StorePath

__all__ = ["OnMountedTape"]

_NOWHERE: Final = (1 << 62, 0)


class OnMountedTape(Wrapper):
    """A store in a directory of a mounted volume; containers come in the order of the tape.

    Files without a place on tape (empty ones, and those that were not written there yet) come last.
    """

    max_gap = LtfsStore.max_gap
    max_read = LtfsStore.max_read
    read_timeout = LtfsStore.read_timeout

    def __init__(
        self, store: BackupStore, root: Path, *, attribute: Attributes | None = None
    ) -> None:
        """Wrap a store.

        Args:
            store: The store.
            root: Directory that store paths are relative to.
            attribute: Reads extended attributes.
        """
        super().__init__(store)
        self._root, self._attribute = root, attribute

    def order_containers_restore(
        self, containers: Sequence[StorePath], /
    ) -> Sequence[ContainerExtent]:
        """Return the containers as they lie on the tape.

        Args:
            containers: The containers of the round.
        """
        places = [tape_place(self._root / path, self._attribute) for path in containers]
        order = sorted(range(len(places)), key=lambda index: (places[index] or _NOWHERE, index))
        return [ContainerExtent(index=index, offset=0, length=MAX_OFFSET) for index in order]
