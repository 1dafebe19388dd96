"""A catalogue of a vendor that fails for one container costs that one only."""

from collections.abc import Sequence

import pytest

from rehydrate.errors import StoreReadError
from rehydrate.stores.ltfs.catalogue import Piece
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

GOOD, BAD = StorePath("Data/good"), StorePath("Data/bad")


class Database:
    """Knows one container, and loses its connection for the other one."""

    def pieces(self, path: StorePath, /) -> Sequence[Piece]:
        if path == BAD:
            raise StoreReadError("the database is gone", code="my.database")
        return (Piece("TAPE01", "file"),)

    def names(self, folder: StorePath, /) -> Sequence[str]:
        return ("good",)


def test_error_of_a_catalogue_costs_its_container_only() -> None:
    made = VolumeWriter().add("file", b"content").finish()
    volume = LtfsVolume.read(CountingDrive(made.partitions))
    store = LtfsStore([volume], Library({"TAPE01": made.partitions}), catalogue=Database())
    answer = store.order_containers_restore([BAD, GOOD])
    assert [extent.index for extent in answer] == [1, 0]
    with pytest.raises(StoreReadError, match="the database is gone") as caught:
        store.read_backup_file(BAD, 0, 5)
    assert caught.value.container == BAD
    assert store.read_backup_file(GOOD, 0, 7) == b"content"
