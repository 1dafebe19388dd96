"""Hostile indexes: whatever is changed, the answer is an index or one of our errors."""

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.errors import RestoreError
from rehydrate.stores.ltfs.catalogue import WholeFiles
from rehydrate.stores.ltfs.index import parse_index
from rehydrate.stores.ltfs.label import parse_label
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.values import FileExtent, StorePath
from tests.ltfs_volume import CountingDrive, Library, VolumeWriter

EXTREMES = (0, 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, -1, -(2**63))


def written() -> VolumeWriter:
    made = VolumeWriter(block_size=512)
    made.add("c/one", b"1" * 1500, sizes=(10,)).add("c/two", b"2" * 600).finish()
    return made.add("three", b"3" * 20).finish()


MADE = written()
INDEX = MADE.index(("a", 5))
LABEL = MADE.label("a")


def read_everything(label: bytes, index: bytes) -> None:
    """Do with the volume all that a restore does; only our errors come out, or bytes of the tape."""
    try:
        volume = LtfsVolume.saved("TAPE01", label, [index])
    except RestoreError:
        return
    drive = CountingDrive(MADE.partitions)
    with LtfsStore(
        [volume], Library({"TAPE01": lambda: drive}), catalogue=WholeFiles([volume])
    ) as store:
        paths = [StorePath(volume.index.path(node)) for node in volume.index.files()]
        store.order_containers_restore(paths)
        for path in paths:
            with suppress(RestoreError):
                store.preview_container_read(path, [FileExtent(0, 1000)])
                assert len(store.read_backup_file(path, 0, 1000)) <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_every_flipped_byte_of_an_index(flip: int) -> None:
    for at in range(len(INDEX)):
        read_everything(LABEL, INDEX[:at] + bytes((INDEX[at] ^ flip,)) + INDEX[at + 1 :])


def test_every_truncation_of_an_index_is_refused() -> None:
    for size in range(len(INDEX)):
        with pytest.raises(RestoreError):
            parse_index([INDEX[:size]])


def test_every_flipped_byte_and_truncation_of_a_label() -> None:
    for at in range(len(LABEL)):
        for changed in (LABEL[:at], LABEL[:at] + bytes((LABEL[at] ^ 1,)) + LABEL[at + 1 :]):
            with suppress(RestoreError):
                assert parse_label(changed).block_size >= 512


def test_every_number_replaced_by_extremes() -> None:
    for match in re.finditer(rb">[0-9]+<", INDEX):
        for extreme in EXTREMES:
            changed = b">%d<" % extreme
            read_everything(LABEL, INDEX[: match.start()] + changed + INDEX[match.end() :])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_pieces_of_an_index_in_any_order(data: st.DataObject) -> None:
    pieces = re.findall(rb"<[^>]*>|[^<]+", INDEX)
    chosen = data.draw(st.lists(st.sampled_from(range(len(pieces))), max_size=4))
    for at in chosen:
        pieces[at] = pieces[data.draw(st.integers(0, len(pieces) - 1))]
    read_everything(LABEL, b"".join(pieces))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    for parse in (lambda: parse_index([raw]), lambda: parse_label(raw)):
        with pytest.raises(RestoreError):
            parse()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.data())
def test_ranges_of_files_with_short_blocks(sizes: list[int], data: st.DataObject) -> None:
    """Whatever the lengths of blocks, each range is the same as in the file."""
    whole = bytes(number % 251 for number in range(sum(min(size, 512) for size in sizes) + 600))
    made = VolumeWriter(block_size=512).add("x", b"before")
    made.add("f", whole, sizes=[min(size, 512) for size in sizes]).finish()
    volume = LtfsVolume.read(CountingDrive(made.partitions))
    with LtfsStore([volume], Library({"TAPE01": made.partitions})) as store:
        for _ in range(5):
            first = data.draw(st.integers(0, len(whole)))
            size = data.draw(st.integers(0, 1500))
            assert (
                store.read_backup_file(StorePath("f"), first, size) == whole[first : first + size]
            )
