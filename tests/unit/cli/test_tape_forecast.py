"""What inventories say to plans."""

import pytest

from rehydrate.cli.tape_forecast import media_of
from rehydrate.cli.tapes import Tapes
from rehydrate.media.media_file import Piece
from rehydrate.media.segments import UNKNOWN
from rehydrate.stores.ltfs.beside import CopiedFiles
from rehydrate.stores.ltfs.inventory import Inventory
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import MAX_OFFSET
from tests.ltfs_volume import CountingDrive, Extent, Library, VolumeWriter


@pytest.fixture
def tapes() -> Tapes:
    writer = VolumeWriter(block_size=1000).add("Data/plain", b"x" * 2500)
    extents = [
        Extent(0, "b", 9, 0, 2000),
        Extent(5000, "b", 40, 7, 100),
        Extent(7000, "a", 4, 0, 9),
    ]
    writer.files["Data/woven"] = (9000, extents)
    writer.files["Data/late"] = (2000, [Extent(1500, "b", 70, 0, 10)])
    writer.files["Data/many"] = (100, [Extent(at, "b", 80 + at, 0, 1) for at in range(100)])
    writer.files["Data/bad"] = (1, [Extent(0, "b", 9, 0, 100)])
    writer.files["Data/hole"] = (1000, [])
    writer.append("b", bytes(300_000))
    volume = LtfsVolume.read(CountingDrive(writer.finish().partitions))
    files = CopiedFiles([volume])
    return Tapes(
        inventories=[Inventory(volume=volume)],
        folder="",
        files=files,
        store=LtfsStore([volume], Library({}), catalogue=files),
        drives=2,
    )


def test_pieces_follow_each_other_and_holes_go_with_those_before(tapes: Tapes) -> None:
    media = media_of(tapes)
    assert media.drives == 2
    assert (media.volumes[0].kind, media.volumes[0].unit) == ("generic", 1000)
    assert media.pieces("Data/plain") == (Piece(0, MAX_OFFSET, 0, 1, 4),)
    assert media.pieces("Data/woven") == (
        Piece(0, 5000, 0, 1, 9),
        Piece(5000, 7000, 0, 1, 40),
        Piece(7000, MAX_OFFSET, 0, 0, 4),
    )
    assert media.pieces("Data/late") == (Piece(0, MAX_OFFSET, 0, 1, 70),)
    many = media.pieces("Data/many")
    assert len(many) == 64
    assert many[-1] == Piece(63, MAX_OFFSET, 0, 1, 143)


@pytest.mark.parametrize("name", ["Data/bad", "Data/hole", "Data/none"])
def test_what_has_no_place_lies_on_no_known_volume(name: str, tapes: Tapes) -> None:
    media = media_of(tapes)
    assert media.pieces(name) == (Piece(0, MAX_OFFSET, UNKNOWN),)
    assert (len(media.exact), list(media.exact)) == (0, [])
