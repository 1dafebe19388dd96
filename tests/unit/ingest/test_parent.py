"""What counts as unchanged: each field on its own, for a file, a directory and a link."""

import stat
import uuid
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from rehydrate.formats.native.catalogue import encode_segment, segment_columns, tree_key
from rehydrate.formats.native.stub import NativeStub, encode_stub
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK
from rehydrate.ingest.containers import RecordPlace
from rehydrate.ingest.parent import Kept, Parent, Shared, ToRead, compare
from rehydrate.ingest.segments import ParentSegment
from rehydrate.ingest.source import STAT_DTYPE, Batch

STORE = uuid.UUID(int=9)
TYPES = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK}
BASE: dict[str, Any] = {
    "store": STORE, "mtime_ns": -5, "ctime_ns": 1000, "device": 2**64 - 1, "inode": 2**64 - 2,
}  # fmt: skip
STUBS = {
    b"a": NativeStub(**BASE, kind=DIRECTORY),
    b"a/b": NativeStub(**BASE, kind=FILE, size=0),
    b"a/l": NativeStub(**BASE, kind=SYMLINK, link_text=b"x"),
    b"b": NativeStub(**BASE, kind=FILE),
}


class Segments(Parent):
    """Gives segments out of memory."""

    def __init__(self, *segments: ParentSegment) -> None:
        self._segments_given = segments

    def segments(self) -> Iterator[ParentSegment]:
        return iter(self._segments_given)


def segment(stubs: dict[bytes, NativeStub], **changes: Any) -> ParentSegment:
    paths = list(stubs)
    columns = segment_columns(encode_segment(paths, [encode_stub(stub) for stub in stubs.values()]))
    return attrs.evolve(
        ParentSegment(
            place=RecordPlace(1, 1, 4096, 1, 100),
            digest=bytes(32),
            columns=columns,
            paths=paths,
            whole=True,
            trusted_before=2000,
            first_key=tree_key(paths[0]),
            last_key=tree_key(paths[-1]),
            store=np.frombuffer(STORE.bytes, "V16")[0],
        ),
        **changes,
    )


def listed(paths: list[bytes]) -> Batch:
    rows = np.zeros(len(paths), STAT_DTYPE)
    kinds = {DIRECTORY: 4096, SYMLINK: 1, FILE: 0}
    for row, path in zip(rows, paths, strict=True):
        kind = STUBS[path].kind if path in STUBS else FILE
        row["mode"], row["size"], row["nlink"] = TYPES[kind] | 0o644, kinds[kind], 1
    rows["mtime"], rows["ctime"] = -5, 1000
    rows["device"], rows["inode"] = 2**64 - 1, 2**64 - 2
    return Batch(paths, rows)


def outcome(batches: list[Batch], *segments: ParentSegment) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for finding in compare(batches, Segments(*segments)):
        if isinstance(finding, Shared):
            found.append(("shared", tuple(finding.segment.paths)))
        else:
            found.append(("kept" if isinstance(finding, Kept) else "read", finding.path))
            assert isinstance(finding, Kept | ToRead)
    return found


def test_what_is_the_same_is_shared_whole() -> None:
    paths = list(STUBS)
    assert outcome([listed(paths)], segment(STUBS)) == [("shared", tuple(paths))]
    assert outcome([listed(paths[:2]), listed(paths[2:])], segment(STUBS)) == [
        ("shared", tuple(paths))
    ]


@pytest.mark.parametrize("path", list(STUBS))
@pytest.mark.parametrize(
    ("field", "value"),
    [("mtime", -4), ("ctime", 1001), ("ctime", 999), ("device", 1), ("inode", 1),
     ("mode", stat.S_IFSOCK)],
)  # fmt: skip
def test_each_field_alone_makes_an_entry_changed(path: bytes, field: str, value: int) -> None:
    paths = list(STUBS)
    batch = listed(paths)
    if field == "mode":
        value = TYPES[DIRECTORY if STUBS[path].kind == FILE else FILE]
    batch.stats[field][paths.index(path)] = value
    assert outcome([batch], segment(STUBS)) == [
        ("read" if other == path else "kept", other) for other in paths
    ]


def test_the_size_counts_for_files_only() -> None:
    batch = listed(list(STUBS))
    batch.stats["size"] += 1
    assert outcome([batch], segment(STUBS)) == [
        ("kept", b"a"),
        ("read", b"a/b"),
        ("kept", b"a/l"),
        ("read", b"b"),
    ]


def test_what_changed_shortly_before_the_scan_is_not_trusted() -> None:
    batch = listed(list(STUBS))
    young = segment(STUBS, trusted_before=1000)
    assert {what for what, _ in outcome([batch], young)} == {"read"}
    assert outcome([batch], segment(STUBS, trusted_before=1001))[0][0] == "shared"


def test_an_inconsistent_file_is_read_again() -> None:
    stubs = {**STUBS, b"b": attrs.evolve(STUBS[b"b"], inconsistent=True)}
    assert outcome([listed(list(STUBS))], segment(stubs))[-1] == ("read", b"b")


def test_a_suspicious_entry_is_read_again() -> None:
    mask: npt.NDArray[np.bool_] = np.array([False, True, False, False])
    found = outcome([listed(list(STUBS))], segment(STUBS, suspicious=mask))
    assert [what for what, _ in found] == ["kept", "read", "kept", "kept"]


def test_a_segment_that_is_not_whole_is_not_shared() -> None:
    found = outcome([listed(list(STUBS))], segment(STUBS, whole=False))
    assert [what for what, _ in found] == ["kept"] * 4


def test_new_and_vanished_entries_between() -> None:
    first = segment({path: STUBS[path] for path in (b"a", b"a/b")})
    second = segment({path: STUBS[path] for path in (b"a/l", b"b")})
    assert outcome([listed([b"0", b"a", b"a/b", b"a/c", b"a/l", b"b", b"z"])], first, second) == [
        ("read", b"0"),
        ("shared", (b"a", b"a/b")),
        ("read", b"a/c"),
        ("shared", (b"a/l", b"b")),
        ("read", b"z"),
    ]
    assert outcome([listed([b"a", b"b"])], first, second) == [("kept", b"a"), ("kept", b"b")]
    assert outcome([listed([])], first, second) == []
    assert outcome([listed([b"q"])]) == [("read", b"q")]


def test_any_cut_of_the_listing_into_batches_gives_the_same() -> None:
    names = [b"0", b"a", b"a/b", b"a/c", b"a/l", b"b", b"z"]
    first = segment({path: STUBS[path] for path in (b"a", b"a/b")})
    second = segment({path: STUBS[path] for path in (b"a/l", b"b")})
    whole = outcome([listed(names)], first, second)
    for cut in range(len(names)):
        for other in range(cut, len(names)):
            parts = [names[:cut], names[cut:other], names[other:]]
            assert outcome([listed(part) for part in parts], first, second) == whole
