"""Complete index plus indexes of changes is the tree as it is at the end, whatever was done to it."""

from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.errors import RestoreError
from rehydrate.stores.ltfs.changes import apply_changes
from rehydrate.stores.ltfs.index import parse_document, parse_index
from rehydrate.stores.ltfs.newest import newest_index, read_labels
from rehydrate.stores.ltfs.table import Index, Kind
from rehydrate.stores.ltfs.volume import LtfsVolume
from tests.ltfs_volume import CountingDrive, Extent, Node, VolumeWriter, changes_xml, contents_xml

NAMES = ("a", "b", "\xe9")
Tree = dict[str, Node]


@attrs.define
class Changing:
    """A tree to which things are done by lot."""

    data: st.DataObject
    tree: Tree = attrs.field(factory=dict)
    used: int = 1

    def act(self) -> None:
        place = self.place()
        what = self.data.draw(st.sampled_from(("folder", "file", "remove", "move", "change")))
        here = self.find(place)
        if what == "remove":
            self.put(place, None)
        elif what == "change" and here is not None and here.entries is None:
            self.put(place, attrs.evolve(here, extents=self.extents()))
        elif what == "move" and here is not None:
            target = self.place()
            if target[: len(place)] != place and place[: len(target)] != target:
                self.put(place, None)
                self.put(target, here)
        elif what in {"file", "folder"}:
            self.put(place, self.new(folder=what == "folder"))

    def new(self, *, folder: bool) -> Node:
        self.used += 1
        if not folder:
            return Node(self.used, self.extents())
        uid, names = self.used, self.data.draw(st.sets(st.sampled_from(NAMES)))
        return Node(uid, entries={name: self.new(folder=False) for name in sorted(names)})

    def place(self) -> list[str]:
        """Return a path in a directory that is there."""
        found = [self.data.draw(st.sampled_from(NAMES))]
        while len(found) < 4 and self.data.draw(st.booleans()):
            node = self.find(found)
            if node is None or node.entries is None:
                break
            found.append(self.data.draw(st.sampled_from(NAMES)))
        return found

    def extents(self) -> tuple[Extent, ...]:
        sizes = self.data.draw(st.lists(st.integers(1, 9), max_size=3))
        return tuple(
            Extent(sum(sizes[:at]), "b", 4 + size, at, size) for at, size in enumerate(sizes)
        )

    def find(self, place: list[str]) -> Node | None:
        node: Node | None = Node(1, entries=self.tree)
        for name in place:
            node = None if node is None or node.entries is None else node.entries.get(name)
        return node

    def put(self, place: list[str], new: Node | None) -> None:
        self.tree = dict(_put(self.tree, place, new))


def _put(tree: Mapping[str, Node], place: list[str], new: Node | None) -> Mapping[str, Node]:
    name, *deeper = place
    made = dict(tree)
    if not deeper:
        made.pop(name, None)
        if new is not None:
            made[name] = new
    elif name in made and made[name].entries is not None:
        made[name] = attrs.evolve(made[name], entries=_put(made[name].entries or {}, deeper, new))
    return made


def flat(tree: Mapping[str, Node], above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, node in tree.items():
        found[above + name] = None if node.entries is not None else list(node.extents)
        found |= flat(node.entries or {}, f"{above}{name}/")
    return found


def flat_index(index: Index) -> dict[str, object]:
    found: dict[str, object] = {}
    for node in range(1, len(index)):
        path = index.path(node)
        assert index.find(path) == node
        assert path not in found
        if index.columns.kind[node] == Kind.DIRECTORY:
            found[path] = None
            continue
        parts = index.extents(node)
        assert sum(parts.count) == index.length(node)
        found[path] = [Extent(*row) for row in zip(parts.offset, parts.partition, parts.block, parts.skip,
                                                   parts.count, strict=True)]  # fmt: skip
    for node in range(len(index)):
        assert all(index.columns.parent[child] == node for child in index.children(node))
    return found


@settings(max_examples=200, deadline=None)
@given(data=st.data(), uids=st.booleans(), chained=st.booleans(), seed=st.integers(0, 2**31))
def test_changes_lead_to_the_same_tree(
    data: st.DataObject, *, uids: bool, chained: bool, seed: int
) -> None:
    made, changing = VolumeWriter(version="2.5.0"), Changing(data)
    for _ in range(data.draw(st.integers(1, 8))):
        changing.act()
    made.generation = 1
    contents = contents_xml(changing.tree, uids=uids)
    made.write_index("b", contents=contents).write_index("a", contents=contents)
    base = made.index(("b", 5), contents=contents).replace(b"<previousgen", b"<other", 1)
    base = base.replace(b"</previousgen", b"</other", 1)
    later = []
    for number in range(data.draw(st.integers(0, 4))):
        old = changing.tree
        for _ in range(data.draw(st.integers(0, 6))):
            changing.act()
        if data.draw(st.integers(0, 5)) == 0:
            made.generation += 1
            made.write_index("b", contents=contents_xml(changing.tree, uids=uids))
            continue
        wanted = changes_xml(old, changing.tree, uids=uids, seed=seed + number)
        later.append(made.write_changes(wanted, chained=chained))
    drive = CountingDrive(made.partitions)
    labels = read_labels(drive)
    found = newest_index(drive, labels)
    assert flat_index(found) == flat(changing.tree)
    assert found.head.generation == made.generation
    assert not found.head.incremental
    if made.generation == 1 + len(later):  # no complete one between
        raw = [b"".join(r or b"" for r in _records(made, place)) for place in later]
        saved = LtfsVolume.saved("TAPE01", made.label("a"), [base], increments=[[x] for x in raw])
        assert flat_index(saved.index) == flat(changing.tree)


def _records(made: VolumeWriter, place: tuple[str, int]) -> list[bytes | None]:
    items = made.partitions[1]
    return items[place[1] : items.index(None, place[1])]


BASE = {"d": Node(2, entries={"x": Node.file(3), "y": Node.file(4)}), "z": Node.file(5)}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_changes_are_refused_or_applied(data: st.DataObject) -> None:
    """Only our errors come out, and an index whose nodes hang together."""
    after = {
        "d": Node(2, entries={"y": Node.file(4, 9), "w": Node.file(6)}),
        "z": Node(7, entries={}),
    }
    made = VolumeWriter(version="2.5.0", generation=1)
    made.write_index("b", contents=contents_xml(BASE))
    first = parse_index([made.partitions[1][5] or b""])
    place = made.write_changes(changes_xml(BASE, after))
    raw = bytearray(made.partitions[1][place[1]] or b"")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        if data.draw(st.booleans()):
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            other = data.draw(st.integers(0, len(raw) - 1))
            raw[at:at] = raw[other : other + data.draw(st.integers(1, 60))]
    try:
        found = apply_changes(first, [parse_document([bytes(raw)])])
    except RestoreError:
        return
    assert (found.columns.parent[1:] < range(1, len(found))).all()
    for node in found.files():
        found.path(node)


def test_every_truncation_of_changes_is_refused() -> None:
    made = VolumeWriter(version="2.5.0", generation=1, previous=("b", 5))
    raw = made.index(("b", 9), "ltfsincrementalindex", changes_xml(BASE, {}))
    for size in range(len(raw)):
        with pytest.raises(RestoreError):
            parse_document([raw[:size]])
