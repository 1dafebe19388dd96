"""Indexes of changes: applied where the chain is whole and fits, refused by name where not."""

import attrs
import pytest

from rehydrate.errors import (
    ContainerNotFoundError,
    CorruptMetadataError,
    LimitError,
    RestoreError,
    UnsupportedFormatError,
)
from rehydrate.stores.ltfs.changes import apply_changes
from rehydrate.stores.ltfs.index import parse_document, parse_index
from rehydrate.stores.ltfs.newest import newest_index, older_indexes, read_labels
from rehydrate.stores.ltfs.store import LtfsStore
from rehydrate.stores.ltfs.table import Document, Index
from rehydrate.stores.ltfs.volume import LtfsVolume
from rehydrate.stores.tape.drive import TapePosition
from rehydrate.values import StorePath
from tests.ltfs_volume import (
    CountingDrive,
    Extent,
    Library,
    Node,
    VolumeWriter,
    changes_xml,
    contents_xml,
    gone_xml,
)

BASE = {
    "d": Node(2, entries={"x": Node.file(3), "y": Node.file(4), "e": Node(9, entries={})}),
    "z": Node.file(5),
}
CHANGES = "ltfsincrementalindex"


def file(name: str, uid: int | None = None, block: int = 8) -> str:
    return Node.file(uid or 0, block).xml(name, uids=uid is not None)


def folder(name: str, inside: str | None, uid: int | None = None) -> str:
    kept = "" if inside is None else f"<contents>{inside}</contents>"
    kept += "" if uid is None else f"<fileuid>{uid}</fileuid>"
    return f"<directory><name>{name}</name>{kept}</directory>"


def based(*, uids: bool = True) -> VolumeWriter:
    """Return a volume with a complete index of generation 1 on both partitions."""
    made = VolumeWriter(version="2.5.0", generation=1)
    contents = contents_xml(BASE, uids=uids)
    return made.write_index("b", contents=contents).write_index("a", contents=contents)


def newest(made: VolumeWriter, *, older: bool = False) -> Index:
    drive = CountingDrive(made.partitions)
    return newest_index(drive, read_labels(drive), older=older)


def merged(*later: str, uids: bool = True) -> dict[str, int]:
    """Apply changes; return the first block of each file."""
    made = based(uids=uids)
    for contents in later:
        made.write_changes(contents)
    index = newest(made)
    return {index.path(node): index.extents(node).block[0] for node in index.files()}


def refused(*later: str, uids: bool = True) -> str:
    with pytest.raises(RestoreError) as caught:
        merged(*later, uids=uids)
    return f"{caught.value.code} {caught.value.message}"


def test_changes_are_applied_when_a_volume_is_read() -> None:
    made = VolumeWriter(version="2.5.0").add("kept", b"k" * 10).add("old", b"o" * 10).finish()
    block = made.append("b", b"new" * 2000)
    found = Node(7, (Extent(0, "b", block, 0, 6000),)).xml("new")
    made.write_changes(found + "<file><name>old</name><deleted/></file>")
    volume = LtfsVolume.read(CountingDrive(made.partitions))
    with LtfsStore([volume], Library({"TAPE01": made.partitions})) as store:
        assert store.read_backup_file(StorePath("new"), 0, 9000) == b"new" * 2000
        assert store.read_backup_file(StorePath("kept"), 0, 9000) == b"k" * 10
        with pytest.raises(ContainerNotFoundError):
            store.read_backup_file(StorePath("old"), 0, 1)


def test_a_complete_index_makes_changes_before_it_void() -> None:
    made = based()
    made.write_changes(file("new"))
    made.generation += 1
    made.write_index("b", contents=file("only"))
    assert newest(made).find("only") is not None
    assert len(newest(made)) == 2
    made.write_changes(file("after"))
    assert newest(made).find("after") is not None
    assert newest(made).find("new") is None


@pytest.mark.parametrize("chained", [False, True])
def test_older_indexes_are_the_complete_ones(*, chained: bool) -> None:
    made = based()
    made.write_changes(file("one"), chained=chained)
    made.write_changes(file("two"), chained=chained)
    made.generation += 1
    made.write_index("b", contents=file("only"))
    made.write_changes(file("three"), chained=chained)
    made.write_changes(file("four"), chained=chained)
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    index = newest_index(drive, labels)
    assert (index.head.generation, len(index)) == (6, 4)
    assert [found.head.generation for found in older_indexes(drive, labels, index)] == [4, 1]


def test_entries_are_told_apart_by_their_number() -> None:
    was = {"d/x": 4, "d/y": 4, "z": 4}
    assert merged("") == was
    assert merged(folder("d", file("x", 3))) == was | {"d/x": 8}
    assert merged(folder("d", file("x", 3), 2)) == was | {"d/x": 8}
    assert merged(folder("d", file("x", 33), 22)) == {"d/x": 8, "z": 4}
    assert merged(folder("d", file("x", 33), 22), folder("d", file("y", 34))) == {
        "d/x": 8, "d/y": 8, "z": 4,
    }  # fmt: skip
    assert merged(file("z", 50)) == was | {"z": 8}
    assert merged(folder("d", None), folder("d", None, 2)) == was
    assert merged(file("d", 50)) == {"d": 8, "z": 4}
    assert merged(folder("z", file("x", 51), 50)) == {"d/x": 4, "d/y": 4, "z/x": 8}


def test_without_numbers_entries_are_told_apart_by_name() -> None:
    was = {"d/x": 4, "d/y": 4, "z": 4}
    assert merged(folder("d", file("x")), uids=False) == was | {"d/x": 8}
    assert merged(folder("d", file("x", 33), 22), uids=False) == was | {"d/x": 8}
    # ... and the number that it gets then counts from then on.
    again = folder("d", file("x", 43), 42)
    assert merged(folder("d", "", 22), again, uids=False) == {"d/x": 8, "z": 4}


def test_what_is_deleted_may_be_made_anew_in_the_same_index() -> None:
    gone = gone_xml("d", BASE["d"])
    for both in (gone + folder("d", file("x")), folder("d", file("x")) + gone, file("d") + gone):
        assert merged(both) == {"z": 4} | ({"d": 8} if both[:5] == "<file" else {"d/x": 8})
    assert merged(gone, folder("d", ""), folder("d", file("q"))) == {"d/q": 8, "z": 4}
    assert merged(folder("d", gone_xml("e", BASE["d"])), gone) == {"z": 4}


def test_a_deep_tree_goes_with_the_directory_above() -> None:
    deep = file("x")
    for _ in range(300):
        deep = folder("n", deep)
    assert merged(folder("top", deep), folder("top", "", 77), file("q"), uids=False)["q"] == 8
    gone = "<directory><name>top</name><deleted/></directory>"
    assert merged(folder("top", deep), gone) == {"d/x": 4, "d/y": 4, "z": 4}
    assert len(merged(folder("top", deep, 6), folder("top", folder("n", file("new"))))) == 5


GONE_FILE = "<file><name>{}</name><deleted/></file>"
GONE_FOLDER = "<directory><name>{}</name><deleted/></directory>"


@pytest.mark.parametrize(
    ("later", "text"),
    [
        (GONE_FILE.format("none"), "was not there"),
        (GONE_FOLDER.format("none"), "was not there"),
        (GONE_FILE.format("d"), "a directory and a file"),
        (GONE_FOLDER.format("z"), "a directory and a file"),
        ("<file><name>z</name><fileuid>6</fileuid><deleted/></file>", "was not there"),
        (file("d"), "a directory and a file"),
        (file("d", 2), "a directory and a file"),
        (folder("z", file("x")), "a directory and a file"),
        (folder("none", None), "the directory was not there"),
        (folder("d", None, 22), "the directory was not there"),
        (file("z") + file("z"), "twice in one index"),
        (GONE_FILE.format("z") * 2, "twice in one index"),
        (folder("d", "") + folder("d", ""), "twice in one index"),
        (folder("z", "", 8) + file("z"), "twice in one index"),
        (file("copy", 5), "number 5 is at two paths"),
        (folder("copy", "", 2), "number 2 is at two paths"),
        (folder("new", file("one", 8) + file("two", 8)), "number 8 is at two paths"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(later: str, text: str) -> None:
    assert refused(later).startswith("ltfs.changes ")
    assert text in refused(later)
    made = based()
    made.write_changes(later)
    assert newest(made, older=True).head.generation == 1


def test_a_path_that_stood_there_twice_cannot_be_changed() -> None:
    made = VolumeWriter(version="2.5.0", generation=1)
    made.write_index("b", contents=file("x") + file("x") + file("y"))
    made.write_changes(file("y"))
    assert newest(made).head.generation == 2
    made.write_changes(GONE_FILE.format("x"))
    with pytest.raises(CorruptMetadataError, match="complete index twice") as caught:
        newest(made)
    assert caught.value.code == "ltfs.changes"


@pytest.mark.parametrize(
    "contents",
    [
        folder("d", "") .replace("<contents>", "<deleted/><contents>"),
        file("x", 5).replace("<fileuid>5", "<fileuid>x"),
        file("x", 5).replace("<fileuid>5", "<fileuid>18446744073709551616"),
        file("x").replace("<length>", "<size>").replace("</length>", "</size>"),
        "<file><deleted/></file>",
        GONE_FILE.format("x").replace("<deleted/>", "<deleted/><deleted/>"),
    ],
)  # fmt: skip
def test_damaged_changes_do_not_count(contents: str) -> None:
    """As with complete indexes: what was not written to its end is no index."""
    made = based()
    made.write_changes(file("good"))
    made.write_changes(contents)
    index = newest(made)
    assert (index.head.generation, index.find("good") is not None) == (2, True)


def test_the_root_cannot_be_deleted() -> None:
    raw = VolumeWriter().index(root=CHANGES, contents="")
    raw = raw.replace(b"<contents></contents>", b"<deleted/>")
    with pytest.raises(CorruptMetadataError, match="is deleted and is not"):
        parse_document([raw])


def test_a_complete_index_deletes_nothing() -> None:
    """There, such elements are unknown ones; and a number that is none is no harm."""
    contents = file("x", 5).replace("<length>", "<deleted/><length>").replace("uid>5", "uid>many")
    nothing = "<previousincrementallocation><partition>?</partition></previousincrementallocation>"
    raw = (
        VolumeWriter()
        .index(contents=contents + folder("d", None))
        .replace(b"<allow", nothing.encode() + b"<allow", 1)
    )
    index = parse_index([raw])
    assert [index.path(node) for node in range(3)] == ["", "x", "d"]
    assert index.columns.uid.tolist() == [0, 0, 0]
    assert index.columns.kind.tolist() == [0, 1, 0]
    assert index.head.previous_changes is None


def test_names_that_are_none_cost_their_entry_only() -> None:
    bad = file("a/b"), GONE_FILE.format("."), folder("..", None), folder("", file("in"), 8)
    made = based()
    made.write_changes("".join(bad) + file("new"))
    index = newest(made)
    assert len(index) == 6 + 4
    assert index.find("new") is not None
    assert sum(index.columns.problem.tolist()) == 2


def test_a_damaged_file_in_changes_is_its_own() -> None:
    made = based()
    made.write_changes(file("new").replace("<length>10", "<length>9") + file("z"))
    index = newest(made)
    new, other = index.find("new") or 0, index.find("z") or 0
    assert index.extents(other).block == (8,)
    with pytest.raises(CorruptMetadataError, match="reach beyond"):
        index.extents(new)


def chain() -> VolumeWriter:
    made = based()
    for name in ("one", "two", "three"):
        made.write_changes(file(name))
    return made


def damage(made: VolumeWriter, number: int, old: bytes, new: bytes) -> VolumeWriter:
    """Replace in an index of the data partition; 0 is the complete one."""
    items = made.partitions[1]
    places = [at for at, item in enumerate(items) if item and b"incrementalindex" in item[:80]]
    at = ([5, *places])[number]
    raw = items[at] or b""
    assert old in raw
    items[at] = raw.replace(old, new)
    return made


def broken(made: VolumeWriter) -> str:
    with pytest.raises(UnsupportedFormatError) as caught:
        newest(made)
    assert caught.value.code == "ltfs.incremental"
    assert newest(made, older=True).head.generation == 1
    return caught.value.message


def where(tag: str, block: int, letter: str = "b") -> bytes:
    return (
        f"<{tag}><partition>{letter}</partition><startblock>{block}</startblock></{tag}>"
    ).encode()


FULL, BEFORE = "previousgenerationlocation", "previousincrementallocation"


def test_a_whole_chain_is_read_with_as_few_locates_as_possible() -> None:
    made = chain()
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    drive.forget()
    assert newest_index(drive, labels).head.generation == 4
    assert (
        len(drive.locates) == 4
    )  # two candidates, two more of changes; the complete one is at hand


@pytest.mark.parametrize(
    ("number", "old", "new", "text"),
    [
        (2, b"</directory>", b"x", "b:11 cannot be read"),
        (1, b"generationnumber>2", b"generationnumber>3", "generation 3"),
        (1, b"generationnumber>2", b"generationnumber>7", "generation 7"),
        (3, where(BEFORE, 11), where(BEFORE, 14), "later"),
        (3, where(BEFORE, 11), where(BEFORE, 17), "later"),
        (3, where(BEFORE, 11), where(BEFORE, 1), "none names generation 3"),
        (3, where(BEFORE, 11), where(BEFORE, 99, "z"), "no partition"),
        (2, where(BEFORE, 8), where(BEFORE, 14), "later"),
        (1, where(FULL, 5), b"", "names none before it"),
        (1, where(FULL, 5), where(FULL, 8), "later"),
        (1, where(FULL, 5), where(FULL, 3), "b:3 cannot be read"),
        (3, where(FULL, 5), where(FULL, 7), "names b:7 as the complete"),
        (3, where(FULL, 5), where(FULL, 12), "b:12 cannot be read"),
    ],
)  # fmt: skip
def test_a_chain_with_a_gap_is_refused(number: int, old: bytes, new: bytes, text: str) -> None:
    """Whether pointers lead nowhere, forward, in a circle, or to what cannot be read."""
    assert text in broken(damage(chain(), number, old, new))


def test_a_circle_over_both_partitions_is_refused() -> None:
    made = chain()
    made.generation, made.previous, made.changes = 9, ("a", 8), None
    made.write_index("b", root=CHANGES, contents="")
    made.previous = ("b", 17)
    made.write_index("a", root=CHANGES, contents="")
    with pytest.raises(UnsupportedFormatError, match="the one before it is generation 9") as caught:
        newest(made)
    assert caught.value.code == "ltfs.incremental"


def test_the_copy_of_the_complete_index_does_as_well() -> None:
    made = damage(chain(), 0, b"</directory>", b"x")
    assert newest(made).find("three") is not None
    made.partitions[0][5] = b"x"
    with pytest.raises(UnsupportedFormatError, match="b:5 cannot be read"):
        newest(made)
    made = chain()
    made.partitions[0][5] = b"x"  # the original does, too
    assert newest(made).find("three") is not None
    made = chain()
    drive = CountingDrive(made.partitions, failing={TapePosition(1, 11): 9})
    labels = read_labels(drive)
    with pytest.raises(UnsupportedFormatError, match="medium"):
        newest_index(drive, labels)


def test_a_complete_index_that_the_chain_leaves_out_is_told() -> None:
    made = chain()
    del made.partitions[0][4:]
    made.generation, made.previous, made.changes = 3, ("b", 6), None
    made.write_index("a", contents="")
    with pytest.raises(UnsupportedFormatError, match="leave out the complete one of generation 3"):
        newest(made)
    assert newest(made, older=True).head.generation == 3


def test_changes_without_any_complete_index() -> None:
    made = VolumeWriter(version="2.5.0")
    made.write_changes(file("x"))
    for older in (False, True):
        with pytest.raises(RestoreError) as caught:
            newest(made, older=older)
        assert caught.value.code == ("ltfs.index" if older else "ltfs.incremental")


def test_too_many_changes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("newest", "changes"):
        monkeypatch.setattr(f"rehydrate.stores.ltfs.{module}.MOST_CHANGES", 5)
        with pytest.raises(LimitError) as caught:
            newest(chain())
        assert caught.value.code == "ltfs.limit"
        monkeypatch.undo()


def copies(made: VolumeWriter) -> tuple[bytes, list[bytes]]:
    items = made.partitions[1]
    found = [item or b"" for item in items if item and b"incrementalindex" in item[:80]]
    return items[5] or b"", found


def saved(made: VolumeWriter, base: bytes, later: list[bytes]) -> LtfsVolume:
    return LtfsVolume.saved("TAPE01", made.label("a"), [base], increments=[[raw] for raw in later])


def test_saved_copies_of_changes() -> None:
    made = chain()
    base, later = copies(made)
    assert [
        path for path in ("one", "two", "three") if saved(made, base, later[:2]).index.find(path)
    ] == ["one", "two"]
    assert len(saved(made, base, later[::-1]).index) == 9
    assert len(saved(made, made.partitions[0][5] or b"", later).index) == 9
    assert len(saved(made, base, []).index) == 6
    made.generation += 1
    assert len(saved(made, made.index(("b", 20), contents=""), later).index) == 1
    for missing in ([later[0], later[2]], later[1:]):
        with pytest.raises(UnsupportedFormatError, match="it needs the one at") as caught:
            saved(made, base, missing)
        assert caught.value.code == "ltfs.incremental"
    again = later[1].replace(b"<generationnumber>3", b"<generationnumber>2")
    with pytest.raises(UnsupportedFormatError, match="the one before it is generation 2"):
        saved(made, base, [later[0], again])
    made.generation = 7
    with pytest.raises(UnsupportedFormatError, match="complete itself"):
        saved(made, base, [made.index(("b", 20))])


def test_saved_copies_of_changes_only_are_no_volume() -> None:
    made = chain()
    base, later = copies(made)
    for first, others in ((later[0], []), (later[0], later[1:])):
        with pytest.raises(UnsupportedFormatError, match="complete one is missing"):
            saved(made, first, others)
    other = VolumeWriter(number=9, generation=2, previous=("b", 5)).index(("b", 8), CHANGES, "")
    with pytest.raises(CorruptMetadataError) as caught:
        saved(made, base, [other])
    assert caught.value.code == "ltfs.identity"


def test_pointers_of_a_later_complete_index_win_over_those_of_changes() -> None:
    """A writer that goes on naming old changes behind a complete index."""
    made = chain()
    changes = made.changes
    made.generation += 1
    made.write_index("b", contents=file("only"))
    made.changes = changes
    made.write_changes(file("after"))
    assert sorted(index_paths(newest(made))) == ["after", "only"]


def index_paths(index: Index) -> list[str]:
    return [index.path(node) for node in index.files()]


def test_columns_without_numbers_are_merged_by_name() -> None:
    """As those of an index that was made otherwise than by reading XML."""
    made = chain()
    base, later = (parse_document([raw]) for raw in (copies(made)[0], copies(made)[1][0]))
    bare = [
        Document(found.head, attrs.evolve(found.columns, uid=found.columns.uid[:0]))
        for found in (base, later)
    ]
    index = apply_changes(Index(bare[0].head, bare[0].columns), bare[1:])
    assert sorted(index_paths(index)) == ["d/x", "d/y", "one", "z"]


def test_numbers_that_become_known_stay_known() -> None:
    made = based(uids=False)
    made.write_changes(folder("d", file("x", 3), 2))
    index = newest(made)
    assert {index.path(node): int(index.columns.uid[node]) for node in range(len(index))} == {
        "": 0, "d": 2, "d/x": 3, "d/y": 0, "d/e": 0, "z": 0,
    }  # fmt: skip


def test_entities_and_depth_in_changes_are_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    raw = VolumeWriter().index(root=CHANGES)
    for hostile, code in (
        (raw.replace(b"<ltfs", bomb + b"<ltfs", 1), "ltfs.entity"),
        (raw.replace(b"<contents>", b"<contents><directory><contents>" * 600, 1), "ltfs.limit"),
        (raw.replace(b"<contents>", b"<contents>" + b"<deleted>" * 2000, 1), "ltfs.limit"),
        (raw.replace(b"<contents>", b"<fileuid>" + b"1" * 70_000 + b"</fileuid><contents>", 1), "ltfs.limit"),
    ):  # fmt: skip
        with pytest.raises(RestoreError) as caught:
            parse_document([hostile])
        assert caught.value.code == code


def test_many_changes_to_a_large_tree_keep_to_columns() -> None:
    files = {f"f{number:05}": Node.file(number + 10) for number in range(3000)}
    made = VolumeWriter(version="2.5.0", generation=1)
    made.write_index("b", contents=contents_xml({"d": Node(2, entries=files)}))
    for turn in range(20):
        new = {name: attrs.evolve(node, extents=Node.file(0, turn + 5).extents)
               for name, node in list(files.items())[turn::20]}  # fmt: skip
        made.write_changes(
            changes_xml({"d": Node(2, entries=files)}, {"d": Node(2, entries=files | new)})
        )
        files |= new
    index = newest(made)
    assert len(index) == 3002
    assert {index.extents(node).block[0] for node in index.files()} == set(range(5, 25))
    assert index.nbytes < 3100 * (38 + 6 + 20 + 8 + 29)
