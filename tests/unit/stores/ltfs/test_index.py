"""The index parser: what it takes, and what it refuses; one bad file does not cost the others."""

import random
import re
import uuid
from xml.etree import ElementTree as ET

import pytest

from rehydrate.errors import (
    CorruptMetadataError,
    FormatError,
    LimitError,
    RestoreError,
    UnsupportedFormatError,
)
from rehydrate.stores.ltfs.index import IndexParser, parse_index
from rehydrate.stores.ltfs.table import Index, Kind
from tests.ltfs_volume import Extent, VolumeWriter


def written(version: str = "2.4.0") -> bytes:
    writer = VolumeWriter(version=version, generation=3)
    writer.files = {
        "three & <four>": (10, [Extent(0, "a", 4, 0, 10)]),
        "a/one": (100, [Extent(60, "b", 9, 5, 40), Extent(0, "b", 7, 0, 50)]),
        "a/b/two": (0, []),
    }
    return writer.index()


def changed(old: str, new: str) -> bytes:
    raw = written().decode()
    assert old in raw
    return raw.replace(old, new, 1).encode()


def node_of(index: Index, path: str) -> int:
    node = index.find(path)
    assert node is not None
    return node


def refused(raw: bytes) -> RestoreError:
    with pytest.raises((FormatError, LimitError)) as caught:
        parse_index([raw])
    return caught.value


@pytest.mark.parametrize("version", ["2.0.1", "2.2.0", "2.3.0", "2.4.0", "2.5.0", "2.5.1", "2.4"])
def test_known_versions_are_read(version: str) -> None:
    index = parse_index([written(version)])
    assert index.head.volume_uuid == str(uuid.UUID(int=1))
    assert (index.head.generation, index.head.location) == (3, ("a", 5))
    assert [index.path(node) for node in index.files()] == ["three & <four>", "a/one", "a/b/two"]
    found = index.extents(node_of(index, "a/one"))
    assert (found.offset, found.block, found.skip, found.count) == (
        (0, 60),
        (7, 9),
        (0, 5),
        (50, 40),
    )
    assert len(index) == 6


@pytest.mark.parametrize("version", ["1.0", "1.9.9", "2.6.0", "3.0.0"])
def test_other_versions_are_refused_by_name(version: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=re.escape(version)) as caught:
        parse_index([written(version)])
    assert caught.value.code == "ltfs.version"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_pieces_may_be_cut_anywhere(size: int) -> None:
    raw = written()
    index = parse_index(raw[at : at + size] for at in range(0, len(raw), size))
    assert index.find("a/b/two") is not None


def test_paths_are_found_and_listed() -> None:
    index = parse_index([written()])
    assert index.find("") == 0
    assert index.find("a/none") is None
    assert index.find("a/one/more") is None
    assert index.find("a//one") is None
    assert index.find("\ud800") is None
    assert [index.name(node) for node in index.children(node_of(index, "a"))] == ["one", "b"]
    assert [index.name(node) for node in index.children(0)] == ["three & <four>", "a"]
    assert list(index.children(node_of(index, "a/one"))) == []


def test_folders_and_links_are_no_files() -> None:
    raw = changed("<extentinfo>", "<symlink>x</symlink><extentinfo>")
    index = parse_index([raw])
    with pytest.raises(CorruptMetadataError, match="no regular file"):
        index.extents(node_of(index, "a"))
    links = [n for n in range(len(index)) if index.columns.kind[n] == Kind.LINK]
    assert len(links) == 1
    with pytest.raises(CorruptMetadataError, match="no regular file"):
        index.extents(links[0])


@pytest.mark.parametrize("seed", range(5))
def test_elements_may_stand_in_any_order(seed: int) -> None:
    """They differ between writers and versions."""
    lot = random.Random(seed)
    root = ET.fromstring(written())
    for element in list(root.iter()):
        inside = list(element)
        lot.shuffle(inside)
        element[:] = inside
    one, other = parse_index([written()]), parse_index([ET.tostring(root)])
    assert one.head == other.head
    assert all(one.find(other.path(node)) is not None for node in range(len(other)))
    for path in ("three & <four>", "a/one", "a/b/two"):
        found = [index.extents(node_of(index, path)) for index in (one, other)]
        assert found[0] == found[1]


def test_a_composed_name_is_found_by_its_other_form() -> None:
    raw = changed("<name>one</name>", "<name>caf\xe9</name>")
    assert (
        parse_index([raw]).find("a/cafe\u0301") == parse_index([raw]).find("a/caf\xe9") is not None
    )
    assert parse_index([raw]).find("a/CAF\xc9") is None
    both = raw.replace(b"<name>two</name>", "<name>u\u0308</name>".encode())
    index = parse_index([both])  # what is written against the rules is found as it is written
    assert index.find("a/b/u\u0308") is not None
    assert index.find("a/b/\xfc") is None


def test_what_else_may_stand_in_a_document() -> None:
    assert len(parse_index([b"\xef\xbb\xbf" + written()])) == 6
    for bom, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        text = written().decode().replace("UTF-8", "UTF-16")
        assert len(parse_index([bom + text.encode(encoding)])) == 6
    for old, new in (
        ("<ltfsindex", "<?any instruction?><!-- any comment --><ltfsindex"),
        ("<ltfsindex", "<ltfsindex xmlns='urn:any' xmlns:v='urn:v' v:more='x'"),
        ("<extentinfo>", "<v:more><file/></v:more><openforwrite>true</openforwrite><extentinfo>"),
        ("<name>one</name>", "<name><![CDATA[one]]></name>"),
        ("<name>one</name>", "<name>&#111;n<?any thing?>e</name>"),
        ("</ltfsindex>", "</ltfsindex>\n <?any end?>\n"),
    ):
        index = parse_index([changed(old, new)])
        assert index.length(node_of(index, "a/one")) == 100


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ltfsindex", "ltfs:ltfsindex"), ("</ltfsindex>", "</ltfsindex>\0\0"),
        ("</ltfsindex>", "</ltfsindex><ltfsindex/>"), ("<name>one", "<name>&#0;"),
        ("<name>one", "<name>&#xD800;"), ("<name>one", "<name>&nbsp;"),
        ("UTF-8", "unicode_escape"), ("UTF-8", "iso2022_jp"), ("UTF-8", "cp1252"), ("UTF-8", "x" * 9000),
        ("UTF-8", "UTF-16"), ("UTF-8", "UTF-7"), ("<?xml", " <?xml"),
    ],
)  # fmt: skip
def test_what_is_no_document_of_ltfs_is_refused(old: str, new: str) -> None:
    raw = written().decode()
    assert old in raw
    assert refused(raw.replace(old, new).encode()).code == "ltfs.index"


def test_texts_that_are_too_long_cost_their_file_only() -> None:
    for size in (5000, 65_537, 200_000):
        raw = changed("<name>one</name>", f"<name>{'x' * size}</name>")
        index = parse_index([raw[at : at + 999] for at in range(0, len(raw), 999)])
        assert index.find("a/b/two") is not None
        assert sum(bool(problem) for problem in index.columns.problem) == 1
        raw = changed("<name>one</name>", f"<name>&#111;{'x' * size}</name>")
        assert parse_index([raw]).find("a/o") is None
        raw = changed("<extentinfo>", f"<symlink>{'x' * size}</symlink><extentinfo>")
        assert parse_index([raw]).find("a/one") is not None


def test_names_may_be_encoded() -> None:
    raw = changed("<name>one</name>", '<name percentencoded="true">o%3An%C3%A9</name>')
    assert parse_index([raw]).find("a/o:n\xe9") is not None
    raw = changed("<name>one</name>", "<name>o%3An</name>")
    assert parse_index([raw]).find("a/o%3An") is not None


@pytest.mark.parametrize("name", ["", ".", "..", "x/y", "x" * 5000, "\U00010000" * 2000])
def test_names_that_are_none_hide_their_file_only(name: str) -> None:
    index = parse_index([changed("<name>one</name>", f"<name>{name}</name>")])
    assert index.find("a/b/two") is not None
    bad = next(node for node in index.files() if index.length(node) == 100)
    with pytest.raises(CorruptMetadataError, match="name is none"):
        index.extents(bad)


@pytest.mark.parametrize(
    "name", ["%00", "x%2Fy", "%FF%FE", "%2e%2E", "%ED%A0%80", "%C0%AF", "a%2f"]
)
def test_encoded_names_that_are_none_hide_their_file_only(name: str) -> None:
    raw = changed("<name>one</name>", f'<name percentencoded="true">{name}</name>')
    index = parse_index([raw])
    assert sum(bool(problem) for problem in index.columns.problem) == 1
    assert index.find("a/b/two") is not None


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("<fileoffset>60", "<fileoffset>49", "overlap"),
        ("<bytecount>40", "<bytecount>41", "length"),
        ("<fileoffset>60", "<fileoffset>61", "length"),
        ("<name>two</name>", "<name>two</name>", None),
    ],
)
def test_contradictions_of_a_file_are_its_own(old: str, new: str, text: str | None) -> None:
    index = parse_index([changed(old, new)])
    assert len(index.extents(node_of(index, "three & <four>"))) == 1
    if text is not None:
        with pytest.raises(CorruptMetadataError, match=text) as caught:
            index.extents(node_of(index, "a/one"))
        assert caught.value.code == "ltfs.file"


def test_a_path_that_stands_there_twice_is_refused() -> None:
    twin = "<file><name>one</name><length>1</length></file>"
    index = parse_index([changed("<file><name>one", f"{twin}<file><name>one")])
    twins = [node for node in index.files() if index.name(node) == "one"]
    assert len(twins) == 2
    for node in twins:
        with pytest.raises(CorruptMetadataError, match="twice"):
            index.extents(node)


def test_a_name_behind_the_contents_counts_as_well() -> None:
    raw = written().decode()
    raw = raw.replace("<name>b</name><contents>", "<contents>", 1)
    raw = raw.replace("two</name><length>0</length><extentinfo></extentinfo></file></contents>",
                      "two</name><length>0</length></file></contents><name>b</name>", 1)  # fmt: skip
    index = parse_index([raw.encode()])
    assert index.find("a/b/two") is not None
    assert index.find("a/one") is not None


def test_unknown_elements_are_skipped() -> None:
    extra = "<new><directory><name>x</name></directory>text</new>"
    for place in ("<extentinfo>", "<contents>", "<directory>", "<creator>", "<extent>"):
        index = parse_index([changed(place, f"{extra}{place}")])
        assert len(index) == 6
    inside = changed("<creator>tests", "<creator>te<sub>hidden</sub>sts")
    assert parse_index([inside]).head.creator == "tests"
    assert len(parse_index([changed("<bytecount>40", "<bytecount>0")]).columns.block) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<ltfsindex", "<other"), ('version="2.4.0"', 'version="x"'), ('version="2.4.0"', ""),
        ("<generationnumber>3", "<generationnumber>-3"), ("<generationnumber>3", "<generationnumber>"),
        ("<generationnumber>3", "<generationnumber>9223372036854775808"),
        ("<generationnumber>3", "<generationnumber>" + "9" * 5000),
        ("<generationnumber>3", "<generationnumber>0x3"), ("<generationnumber>3", "<generationnumber>\u0663"),
        ("<startblock>5", "<startblock>5.0"), ("<partition>a", "<partition>aa"),
        ("<partition>a", "<partition>A"), ("<partition>b", "<partition>"), ("<length>100", "<length>1e2"),
        ("<volumeuuid>0", "<volumeuuid>x"), ("<length>100</length>", ""),
        ("<length>100</length>", "<length>100</length><length>100</length>"),
        ("<extentinfo>", "<extentinfo></extentinfo><extentinfo>"),
        ("<fileoffset>60</fileoffset>", ""), ("<bytecount>40", "<bytecount>9223372036854775807"),
        ("<byteoffset>5", "<byteoffset>4294967296"), ("<name>one</name>", ""),
        ("<location><partition>a</partition><startblock>5</startblock></location>", ""),
        ("<name>b</name>", ""), ("</location>", ""), ("</ltfsindex>", ""),
        ("</ltfsindex>", "<directory><name>x</name></directory></ltfsindex>"),
        ('encoding="UTF-8"', 'encoding="UTF-9"'),
    ],
)  # fmt: skip
def test_contradictions_refuse_the_index(old: str, new: str) -> None:
    raw = changed(old, new)
    if old.startswith("<ltfsindex"):
        raw = raw.replace(b"</ltfsindex>", b"</other>")
    assert refused(raw).code == "ltfs.index"


def test_an_index_that_is_its_own_predecessor_is_refused() -> None:
    place = "<partition>a</partition><startblock>5</startblock>"
    raw = changed(
        "<allow", f"<previousgenerationlocation>{place}</previousgenerationlocation><allow"
    )
    assert refused(raw).code == "ltfs.pointer"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">'
    ']><ltfsindex version="2.4.0"><creator>&b;</creator></ltfsindex>'
)


@pytest.mark.parametrize(
    "raw",
    [BOMB, '<!DOCTYPE x SYSTEM "file:///etc/passwd"><ltfsindex/>', "<!DOCTYPE x><ltfsindex/>"],
)
def test_types_and_entities_are_refused(raw: str) -> None:
    assert refused(raw.encode()).code == "ltfs.entity"


@pytest.mark.parametrize(
    "raw",
    [
        "<ltfsindex version='2.4.0'>" + "<directory><contents>" * 600,
        "<ltfsindex version='2.4.0'>" + "<x>" * 2000,
        "<ltfsindex version='2.4.0'><creator>" + "x" * 70_000,
        "<ltfsindex version='2.4.0'><!--" + "x" * 3_000_000,
        "<ltfsindex version='" + "x" * 3_000_000,
    ],
)
def test_depth_and_length_are_bounded(raw: str) -> None:
    assert refused(raw.encode()).code == "ltfs.limit"


def test_a_long_value_that_nobody_wants_is_no_harm() -> None:
    raw = changed("<extentinfo>", "<extendedattributes><xattr><value>" + "x" * 3_000_000
                  + "</value></xattr></extendedattributes><extentinfo>")  # fmt: skip
    assert len(parse_index([raw])) == 6


def test_an_index_of_changes_is_told_apart() -> None:
    writer = VolumeWriter(generation=2)
    assert parse_index([writer.index(root="ltfsincrementalindex")]).head.incremental


def test_nothing_at_all_is_no_index() -> None:
    assert refused(b"").code == "ltfs.index"
    with pytest.raises(CorruptMetadataError):
        IndexParser().close()


def test_memory_for_a_file_and_an_extent() -> None:
    writer = VolumeWriter()
    count = 5000
    writer.files = {
        f"c/{number:08}": (20, [Extent(0, "b", number, 0, 10), Extent(10, "b", number, 0, 10)])
        for number in range(count)
    }
    index = parse_index([writer.index()])
    assert index.nbytes < count * (38 + 8 + 24 + 2 * 30)
