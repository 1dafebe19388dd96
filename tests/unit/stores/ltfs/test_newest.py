"""Which index of a tape counts."""

import pytest

from rehydrate.errors import CorruptMetadataError, RestoreError, StoreReadError
from rehydrate.stores.ltfs.newest import newest_index, older_indexes, read_index_at, read_labels
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition
from tests.ltfs_volume import CountingDrive, VolumeWriter


def writer() -> VolumeWriter:
    """Three generations; the last two files are in the last one only."""
    made = VolumeWriter()
    made.add("one", b"1" * 5000).finish()
    made.add("two", b"2" * 10).finish()
    return made.add("three", b"3" * 10).finish()


def newest(made: VolumeWriter, *, older: bool = False) -> int:
    drive = CountingDrive(made.partitions)
    return newest_index(drive, read_labels(drive), older=older).head.generation


def code(made: VolumeWriter) -> str:
    with pytest.raises(RestoreError) as caught:
        newest(made)
    return caught.value.code


def spoil(made: VolumeWriter, partition: int, block: int) -> None:
    record = made.partitions[partition][block]
    assert record is not None
    made.partitions[partition][block] = record[:-20] + b"x" * 20


def test_the_index_partition_has_the_newest() -> None:
    assert newest(writer()) == 3


def test_after_a_crash_the_data_partition_has_it() -> None:
    made = writer()
    made.add("four", b"4").generation += 1
    made.write_index("b")
    assert newest(made) == 4


def test_data_without_an_index_behind_the_last_one_is_nothing() -> None:
    made = writer()
    made.append("b", b"lost" * 3000)
    assert newest(made) == 3
    made.filemark()
    made.append("b", b"lost" * 3000)
    made.filemark()
    assert newest(made) == 3


@pytest.mark.parametrize("partition", [0, 1])
def test_a_damaged_copy_is_replaced_by_the_other(partition: int) -> None:
    made = writer()
    spoil(made, partition, len(made.partitions[partition]) - 2)
    assert newest(made) == 3


def test_if_both_are_damaged_the_one_before_counts() -> None:
    made = writer()
    spoil(made, 0, len(made.partitions[0]) - 2)
    spoil(made, 1, len(made.partitions[1]) - 2)
    assert newest(made) == 2


def test_a_partition_that_cannot_be_read_is_left_out() -> None:
    made = writer()
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    drive.failing[TapePosition(0, 5)] = 99
    with pytest.raises(StoreReadError, match="medium"):
        read_index_at(drive, labels, "a", 5)
    assert newest_index(drive, labels).head.location[0] == "b"


def test_an_index_of_another_volume_or_place_does_not_count() -> None:
    made = writer()
    other = VolumeWriter(number=9, generation=50)
    made.partitions[0][-2] = other.index(("a", 5))
    assert newest(made) == 3
    made.generation = 50
    made.partitions[0][-2] = made.index(("a", 6))
    assert newest(made) == 3
    made.previous = ("z", 4)
    made.partitions[0][-2] = made.index(("a", 5))
    assert newest(made) == 3


def test_without_any_index_the_reason_is_told() -> None:
    made = VolumeWriter()
    assert code(made) == "ltfs.index"
    made.finish()
    spoil(made, 0, 5)
    spoil(made, 1, 5)
    assert code(made) == "ltfs.index"
    for partition in made.partitions:
        del partition[1:]
    assert code(made) == "tape.end-of-data"
    for partition in made.partitions:
        partition[:] = [b"other"]
    assert code(made) == "ltfs.label"


def test_labels_of_two_volumes_contradict() -> None:
    made = writer()
    other = VolumeWriter(number=2)
    for replaced in ((made.partitions[0], other.partitions[1]), (made.partitions[0],) * 2):
        with pytest.raises(CorruptMetadataError) as caught:
            read_labels(CountingDrive(replaced))
        assert caught.value.code == "ltfs.label"
    made.partitions[0][1] = b"no filemark"
    with pytest.raises(CorruptMetadataError, match="filemark"):
        read_labels(CountingDrive(made.partitions))


def test_partitions_may_be_numbered_the_other_way() -> None:
    made = writer()
    labels = read_labels(CountingDrive(made.partitions[::-1]))
    assert labels.numbers == {"b": 0, "a": 1}
    volume = LtfsVolume.read(CountingDrive(made.partitions[::-1]))
    assert volume.extents("one")[0].partition == 0


def test_a_label_without_end_is_cut() -> None:
    made = writer()
    made.partitions[0][3] = b"x" * 700_000
    made.partitions[0][4:4] = [b"x" * 700_000]
    with pytest.raises(RestoreError):
        read_labels(CountingDrive(made.partitions))


def test_back_pointers_lead_to_the_first_generation() -> None:
    made = writer()
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    found = list(older_indexes(drive, labels, newest_index(drive, labels)))
    assert [index.head.generation for index in found] == [3, 2, 1]
    assert [index.head.location[0] for index in found] == ["b", "b", "b"]


def test_back_pointers_in_a_circle_are_refused() -> None:
    made = writer()
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    newest_one = newest_index(drive, labels)
    last = made.previous
    assert last is not None
    made.generation = 3
    made.previous = ("b", last[1] + 10)
    made.partitions[1][last[1]] = made.index(last)  # forward
    with pytest.raises(CorruptMetadataError) as caught:
        list(older_indexes(drive, labels, newest_one))
    assert caught.value.code == "ltfs.pointer"
    made.generation, made.previous = 5, None
    made.partitions[1][last[1]] = made.index(last)  # newer than the one that names it
    with pytest.raises(CorruptMetadataError) as caught:
        list(older_indexes(drive, labels, newest_one))
    assert caught.value.code == "ltfs.pointer"


def test_back_pointers_in_a_circle_over_both_partitions_are_refused() -> None:
    """Only the copy on the index partition may name one of its own generation."""
    made = VolumeWriter(generation=5)
    made.previous = ("a", 5)
    made.write_index("b")
    made.previous = ("b", 5)
    made.write_index("a")
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    found = older_indexes(drive, labels, newest_index(drive, labels))
    assert next(found).head.location == ("b", 5)
    with pytest.raises(CorruptMetadataError) as caught:
        next(found)
    assert caught.value.code == "ltfs.pointer"


def test_a_drive_without_data_is_told() -> None:
    with pytest.raises(StoreReadError):
        read_labels(CountingDrive([[], []]))


def test_only_so_many_filemarks_are_gone_back_over() -> None:
    made = VolumeWriter().finish()
    for _ in range(70):
        made.append("b", b"no index")
        made.filemark()
    assert newest(made) == 1
    made.partitions[0][5] = b"damaged"
    assert code(made) == "ltfs.index"
