"""The labels of a volume."""

import pytest

from rehydrate.errors import CorruptMetadataError, LimitError, UnsupportedFormatError
from rehydrate.stores.ltfs.label import LARGEST_LABEL, parse_label, parse_vol1
from tests.ltfs_volume import VolumeWriter


def test_a_label_is_read() -> None:
    writer = VolumeWriter(number=7, block_size=65536)
    label = parse_label(writer.label("b"))
    assert (label.volume_uuid, label.block_size, label.partition) == (writer.uuid, 65536, "b")
    assert label.letters == ("a", "b")
    assert label.creator == "tests"
    assert parse_vol1(writer.vol1()) == "TAPE01"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<index>a", "<index>b"), ("<index>a", "<index>"), ("<partition>a", "<partition>c"),
        ("<blocksize>4096", "<blocksize>0"), ("<blocksize>4096", "<blocksize>99999999"),
        ("<blocksize>4096", "<blocksize>-1"), ("<blocksize>4096", "<blocksize>9999999999"),
        ("<volumeuuid>0", "<volumeuuid>g"), ("<blocksize>4096</blocksize>", ""),
        ("<creator>", "<creator></creator><creator>"), ("ltfslabel", "label"), ("</ltfslabel>", ""),
        ("<creator>", "<creator>" + "<x>" * 20), ("UTF-8", "EBCDIC-NO"),
        ("UTF-8", "cp037"), (' version="2.4.0"', ""), ('"2.4.0"', '"2"'), ('"2.4.0"', '"2.x"'),
        ('"2.4.0"', '"9999999999.0"'),
    ],
)  # fmt: skip
def test_contradictions_are_refused(old: str, new: str) -> None:
    raw = VolumeWriter().label("a").decode()
    assert old in raw
    with pytest.raises(CorruptMetadataError) as caught:
        parse_label(raw.replace(old, new).encode())
    assert caught.value.code == "ltfs.label"


@pytest.mark.parametrize("version", ["1.0.0", "2.0", "2.2.0", "2.5.9"])
def test_labels_of_known_formats_are_read(version: str) -> None:
    """A label keeps the version of the day on which the volume was formatted."""
    raw = VolumeWriter().label("a").replace(b"2.4.0", version.encode())
    assert parse_label(raw).block_size == 4096


@pytest.mark.parametrize("version", ["2.6.0", "3.0"])
def test_labels_of_newer_formats_are_refused_by_name(version: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=version) as caught:
        parse_label(VolumeWriter().label("a").replace(b"2.4.0", version.encode()))
    assert caught.value.code == "ltfs.version"


def test_a_label_of_a_megabyte_is_none() -> None:
    with pytest.raises(LimitError):
        parse_label(b" " * (LARGEST_LABEL + 1))


@pytest.mark.parametrize("raw", [b"", b"VOL1", b"VOL2" + b" " * 76, b"VOL1" + b" " * 76])
def test_other_tapes_are_told(raw: bytes) -> None:
    with pytest.raises(CorruptMetadataError):
        parse_vol1(raw)
