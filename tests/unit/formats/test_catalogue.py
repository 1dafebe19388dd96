"""Segments and manifests: what comes back, what is refused."""

import json
from typing import Any

import attrs
import numpy as np
import pytest

from rehydrate.chunks import Rows
from rehydrate.errors import CorruptMetadataError, FormatError, LimitError, UnsupportedFormatError
from rehydrate.formats.native import layout
from rehydrate.formats.native.catalogue import (
    ContainerState,
    Manifest,
    decode_manifest,
    decode_segment,
    encode_manifest,
    encode_segment,
    is_entry_path,
    manifest_name,
    seal_manifest,
    tree_key,
    unseal_manifest,
)
from tests.spec.small_store import T0, make_row

PATHS = [b"a", b"a/b", b"a/b/c", b"a/c", b"a.txt", b"\xff"]
STUBS = [b"1", b"22", b"", b"4444", b"5", b"66"]


def segment_of(
    paths: list[bytes],
    stubs: list[bytes] | None = None,
    /,
    *,
    path_ends: list[int] | None = None,
    behind: bytes = b"",
    **fields: Any,
) -> bytes:
    """Return a segment with some fields changed."""
    stubs = [b"" for _ in paths] if stubs is None else stubs
    ends = np.cumsum([len(path) for path in paths]).tolist() if path_ends is None else path_ends
    stub_ends = np.cumsum([len(stub) for stub in stubs], dtype=np.int64).tolist()
    head = {
        "magic": b"RHSG",
        "version": 1,
        "reserved": 0,
        "count": len(paths),
        "paths": sum(map(len, paths)),
        "stubs": sum(map(len, stubs)),
    } | fields
    columns = np.array([*ends, *stub_ends], "<u4").tobytes()
    packed = layout.SEGMENT.pack(*head.values())
    return packed + columns + b"".join(paths) + b"".join(stubs) + behind


def test_segment_comes_back() -> None:
    assert decode_segment(encode_segment(PATHS, STUBS)) == (PATHS, STUBS)
    assert segment_of(PATHS, STUBS) == encode_segment(PATHS, STUBS)


def test_tree_order_keeps_the_content_of_a_directory_together() -> None:
    assert sorted([b"a.txt", b"a/c", b"a/b/c", b"a", b"\xff", b"a/b"], key=tree_key) == PATHS


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "segment.magic", id="nothing"),
        pytest.param(encode_segment(PATHS, STUBS)[:19], "segment.magic", id="head cut short"),
        pytest.param(segment_of(PATHS, magic=b"RHSX"), "segment.magic", id="magic"),
        pytest.param(segment_of(PATHS, version=2), "format.unsupported", id="version"),
        pytest.param(segment_of(PATHS, reserved=1), "segment.size", id="reserved"),
        pytest.param(segment_of([], []), "segment.size", id="no entry"),
        pytest.param(segment_of(PATHS, count=2**32 - 1), "segment.size", id="many entries"),
        pytest.param(segment_of(PATHS, count=5), "segment.size", id="fewer entries"),
        pytest.param(segment_of(PATHS, paths=2**32 - 1), "segment.size", id="many paths"),
        pytest.param(segment_of(PATHS, stubs=2**32 - 1), "segment.size", id="many stubs"),
        pytest.param(segment_of(PATHS, behind=b"x"), "segment.size", id="byte behind"),
        pytest.param(segment_of([b"a", b"b"], [b"", bytes(65500)]), "segment.size", id="64 KiB"),
        pytest.param(segment_of([b"a"], [bytes(1 << 20)]), "segment.size", id="1 MiB"),
        pytest.param(segment_of([b"a", b"b"], path_ends=[2, 1]), "segment.column", id="last end"),
        pytest.param(segment_of([b"a", b"b"], path_ends=[1, 1]), "segment.column", id="early end"),
        pytest.param(segment_of([b"a", b"b"], path_ends=[1, 3]), "segment.column", id="late end"),
        pytest.param(
            segment_of([b"aaa", b"b", b"c"], path_ends=[3, 2, 5]), "segment.column", id="end falls"
        ),
        pytest.param(
            segment_of([b"aaa", b"b"], path_ends=[2**32 - 1, 4]), "segment.column", id="end huge"
        ),
        pytest.param(segment_of([b"b", b"a"]), "segment.order", id="order"),
        pytest.param(segment_of([b"a.txt", b"a/b"]), "segment.order", id="tree order"),
        pytest.param(segment_of([b"a", b"a"]), "segment.order", id="path twice"),
        pytest.param(segment_of([b"a", b"b"], path_ends=[0, 2]), "segment.path", id="empty path"),
    ],
)
def test_segment_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_segment(data)
    assert caught.value.code == code


NO_PATHS = [
    b"",
    b"/",
    b"/a",
    b"a/",
    b"a//b",
    b".",
    b"..",
    b"./a",
    b"a/.",
    b"a/./b",
    b"../a",
    b"a/..",
    b"a/../b",
    b"a\0b",
    b"\0",
    b"a" * 32769,
]


@pytest.mark.parametrize("path", NO_PATHS, ids=lambda path: repr(path[:9]))
def test_path_that_is_none_is_refused_by_both_sides(path: bytes) -> None:
    assert not is_entry_path(path)
    with pytest.raises(CorruptMetadataError) as caught:
        decode_segment(segment_of([path]))
    assert caught.value.code == "segment.path"
    with pytest.raises(LimitError):
        encode_segment([path], [b""])


@pytest.mark.parametrize(
    "path",
    [
        b"a",
        b"...",
        b".a",
        b"..a/.b",
        b"a/...",
        b"a\nb",
        b"\xff\xfe",
        b"\\",
        b"a" * 32768,
        b"a/" * 16383 + b"a",
    ],
    ids=lambda path: repr(path[:9]),
)
def test_strange_path_is_kept(path: bytes) -> None:
    assert decode_segment(encode_segment([path], [b"x"])) == ([path], [b"x"])


def test_newline_at_the_end_does_not_hide_a_dotted_part() -> None:
    assert is_entry_path(b"..\n")
    assert is_entry_path(b"a\n")


@pytest.mark.parametrize(
    ("paths", "stubs"),
    [([], []), ([b"a", b"b"], [bytes(65500), b""]), ([b"a"], [bytes(1 << 20)])],
    ids=["no entry", "64 KiB", "1 MiB"],
)
def test_writer_refuses_a_segment_that_no_reader_accepts(
    paths: list[bytes], stubs: list[bytes]
) -> None:
    with pytest.raises(LimitError):
        encode_segment(paths, stubs)


@pytest.mark.parametrize(
    ("paths", "stubs"),
    [([b"a", b"b"], [bytes(65536 - 20 - 16 - 2), b""]), ([b"a"], [bytes((1 << 20) - 29)])],
    ids=["64 KiB", "1 MiB"],
)
def test_largest_segments_come_back(paths: list[bytes], stubs: list[bytes]) -> None:
    assert decode_segment(encode_segment(paths, stubs)) == (paths, stubs)


ROW = make_row(
    container=2, generation=1, offset=4096, local_id=1, length=172, end=5, digest=b"d" * 32
)
LATER = ROW.copy()
LATER["end"] = 9
STATE = ContainerState(
    kind="Data", container=1, generation=1, valid_length=8192, sequence=1, digest="ab" * 32
)
MANIFEST = Manifest(
    version=3,
    created_ns=T0,
    parent=2,
    source=b"/home/\xff\xc3\xa4",
    entries=9,
    files=4,
    logical_bytes=2**63 - 1,
    new_bytes=0,
    partial=True,
    containers=(STATE, attrs.evolve(STATE, kind="Stream", container=2)),
    segments=np.concatenate([ROW, LATER]),
    first_paths=(b"a", b"a/b"),
)
FIRST = attrs.evolve(
    MANIFEST,
    version=1,
    parent=None,
    partial=False,
    entries=0,
    containers=(),
    segments=ROW[:0],
    first_paths=(),
)


def same(first: Manifest, second: Manifest) -> bool:
    one = attrs.asdict(first, recurse=False)
    two = attrs.asdict(second, recurse=False)
    return bool(np.array_equal(one.pop("segments"), two.pop("segments"))) and one == two


@pytest.mark.parametrize("manifest", [MANIFEST, FIRST], ids=["full", "empty"])
def test_manifest_comes_back(manifest: Manifest) -> None:
    assert same(decode_manifest(encode_manifest(manifest)), manifest)


def test_manifest_file_is_sealed() -> None:
    data = seal_manifest(encode_manifest(MANIFEST))
    assert unseal_manifest(data) == encode_manifest(MANIFEST)
    for wrong in (b"", data[:31], data[:-1], data + b"\0", bytes([data[0] ^ 1]) + data[1:]):
        with pytest.raises(CorruptMetadataError) as caught:
            unseal_manifest(wrong)
        assert caught.value.code == "manifest.digest"


def test_manifest_names() -> None:
    assert manifest_name(1) == "00000001.rhm"
    assert manifest_name(123456789) == "123456789.rhm"


DESCRIBED: dict[str, Any] = {
    "version": 3,
    "created_ns": T0,
    "parent": 2,
    "source": "/home",
    "entries": 9,
    "files": 4,
    "logical_bytes": 7,
    "new_bytes": 0,
    "containers": [["Data", 1, 1, 8192, 1, "ab" * 32]],
}


def manifest_of(
    text: bytes | None = None,
    rows: Rows = MANIFEST.segments,
    paths: tuple[bytes, ...] = (b"a", b"b"),
    behind: bytes = b"",
    **fields: Any,
) -> bytes:
    """Return a manifest payload with some parts changed; ``described`` changes the description."""
    described = DESCRIBED | fields.pop("described", {})
    body = json.dumps(described).encode() if text is None else text
    head = {
        "magic": b"RHMF",
        "version": 1,
        "flags": 0,
        "text": len(body),
        "count": len(rows),
        "paths": sum(map(len, paths)),
        "reserved": 0,
    } | fields
    ends = np.cumsum([len(path) for path in paths]).astype("<u4").tobytes()
    packed = layout.MANIFEST.pack(*head.values())
    return packed + body + rows.tobytes() + ends + b"".join(paths) + behind


def row_with(**changes: int) -> Rows:
    rows = MANIFEST.segments.copy()
    for name, value in changes.items():
        rows[name][0] = value
    return rows


def ends(*numbers: int) -> Rows:
    rows = np.repeat(ROW, len(numbers))
    rows["end"] = numbers
    return rows


def without(name: str) -> bytes:
    described = dict(DESCRIBED)
    del described[name]
    return json.dumps(described).encode()


def state(**changes: Any) -> dict[str, Any]:
    names = ("kind", "container", "generation", "valid_length", "sequence", "digest")
    good = dict(zip(names, DESCRIBED["containers"][0], strict=True))
    return {"described": {"containers": [list((good | changes).values())]}}


WRAPPED = ends(5, 2**63, 2**64 - 1, 9)
NO_STATES: list[object] = [None, 1, True, "Data11", {}, {"Data": 1}]
BAD_NUMBERS: list[object] = [-1, 2**63, True, "1", None, []]
BAD_STATES: list[tuple[str, Any]] = [
    *(("kind", value) for value in ("data", "", 1, None)),
    *(("container", value) for value in (0, 2**32, -1, True, "1")),
    *(("generation", value) for value in (0, 2**32, -1, True)),
    *(("valid_length", value) for value in (4095, 2**63, -1, True)),
    *(("sequence", value) for value in (-1, 2**63, True)),
    *(("digest", value) for value in ("ab" * 31, "AB" * 32, "zz" * 32, "ab" * 32 + "\n", 1)),
]
BAD_MANIFESTS = [
    pytest.param(b"", "manifest.magic", id="nothing"),
    pytest.param(manifest_of()[:23], "manifest.magic", id="head cut short"),
    pytest.param(manifest_of(magic=b"RHMX"), "manifest.magic", id="magic"),
    pytest.param(manifest_of(version=2), "format.unsupported", id="version"),
    pytest.param(manifest_of(flags=2), "manifest.size", id="flag"),
    pytest.param(manifest_of(reserved=1), "manifest.size", id="reserved"),
    pytest.param(manifest_of(text=b"{}", behind=b"x"), "manifest.size", id="byte behind"),
    pytest.param(manifest_of(count=2**32 - 1), "manifest.size", id="many segments"),
    pytest.param(manifest_of(count=1), "manifest.size", id="fewer segments"),
    pytest.param(manifest_of()[:-1], "manifest.size", id="cut short"),
    pytest.param(manifest_of(paths=(b"a", b"")), "manifest.path", id="empty path"),
    pytest.param(manifest_of(paths=(b"a", b"../b")), "manifest.path", id="path"),
    pytest.param(manifest_of(paths=(b"b", b"a")), "manifest.order", id="order"),
    pytest.param(manifest_of(paths=(b"a", b"a")), "manifest.order", id="path twice"),
    pytest.param(manifest_of(rows=ends(5, 8)), "manifest.rows", id="entries"),
    pytest.param(manifest_of(rows=ends(9, 9)), "manifest.rows", id="ends do not rise"),
    pytest.param(manifest_of(rows=ends(10, 9)), "manifest.rows", id="ends fall"),
    pytest.param(manifest_of(rows=ends(0, 9)), "manifest.rows", id="segment without entry"),
    pytest.param(
        manifest_of(rows=WRAPPED, paths=(b"a", b"b", b"c", b"d")), "manifest.rows", id="ends wrap"
    ),
    pytest.param(manifest_of(rows=row_with(container=0)), "manifest.rows", id="container"),
    pytest.param(manifest_of(rows=row_with(generation=0)), "manifest.rows", id="generation"),
    pytest.param(manifest_of(rows=row_with(local_id=0)), "manifest.rows", id="local id"),
    pytest.param(manifest_of(rows=row_with(offset=2**63)), "manifest.rows", id="offset"),
    pytest.param(manifest_of(rows=row_with(length=72)), "manifest.rows", id="length"),
    pytest.param(
        manifest_of(rows=row_with(length=72 + (1 << 20) + 1)), "manifest.rows", id="large segment"
    ),
    pytest.param(
        manifest_of(rows=ROW[:0], paths=(), described={"entries": 1}), "manifest.rows", id="none"
    ),
    pytest.param(manifest_of(b""), "json.syntax", id="no description"),
    pytest.param(manifest_of(b"[" * 100_000), "json.syntax", id="100,000 lists"),
    pytest.param(manifest_of(b'{"a":' * 100_000), "json.syntax", id="100,000 objects"),
    pytest.param(manifest_of(b"9" * 100_000), "json.syntax", id="100,000 digits"),
    pytest.param(manifest_of(b'{"version":1,"version":1}'), "json.syntax", id="name twice"),
    *(
        pytest.param(manifest_of(text), "manifest.json", id=f"description is {text.decode()}")
        for text in (b"[]", b"{}", b"null", b"1", b"true", b'"text"')
    ),
    pytest.param(
        manifest_of(described={"version": 0, "parent": None}), "manifest.json", id="first is 0"
    ),
    *(
        pytest.param(manifest_of(described={"containers": [entry]}), "manifest.json", id=f"{entry}")
        for entry in NO_STATES
    ),
    pytest.param(manifest_of(described={"more": 1}), "manifest.json", id="unknown member"),
    pytest.param(manifest_of(described={"source": 1}), "manifest.json", id="source number"),
    pytest.param(manifest_of(described={"source": "\ud800"}), "manifest.json", id="surrogate"),
    pytest.param(manifest_of(described={"source": "\udc41"}), "manifest.json", id="escaped ASCII"),
    pytest.param(manifest_of(described={"version": 0}), "manifest.json", id="version 0"),
    pytest.param(manifest_of(described={"parent": 0}), "manifest.json", id="parent 0"),
    pytest.param(manifest_of(described={"parent": 3}), "manifest.json", id="parent is itself"),
    pytest.param(manifest_of(described={"parent": True}), "manifest.json", id="parent true"),
    pytest.param(manifest_of(described={"parent": "2"}), "manifest.json", id="parent text"),
    pytest.param(manifest_of(described={"containers": {}}), "manifest.json", id="containers"),
    pytest.param(manifest_of(described={"containers": ["Data"]}), "manifest.json", id="state"),
    pytest.param(manifest_of(described={"containers": [[]]}), "manifest.json", id="short state"),
    pytest.param(
        manifest_of(described={"containers": DESCRIBED["containers"] * 2}),
        "manifest.json",
        id="container twice",
    ),
    *(
        pytest.param(manifest_of(without(name)), "manifest.json", id=f"without {name}")
        for name in DESCRIBED
    ),
    *(
        pytest.param(manifest_of(described={name: value}), "manifest.json", id=f"{name} {value}")
        for name in ("version", "created_ns", "entries", "files", "logical_bytes", "new_bytes")
        for value in BAD_NUMBERS
    ),
    *(
        pytest.param(manifest_of(**state(**{name: value})), "manifest.json", id=f"{name} {value}")
        for name, value in BAD_STATES
    ),
]


def test_manifest_that_is_fine_before_it_is_changed() -> None:
    assert decode_manifest(manifest_of()).entries == 9
    assert decode_manifest(manifest_of(**state(sequence=0, valid_length=4096))).version == 3


def test_largest_segment_row() -> None:
    length = 72 + (1 << 20)
    rows = row_with(length=length, offset=2**63 - 1 - length)
    assert np.array_equal(decode_manifest(manifest_of(rows=rows)).segments, rows)
    assert decode_manifest(manifest_of(described={"version": 1, "parent": None})).version == 1


@pytest.mark.parametrize(("data", "code"), BAD_MANIFESTS)
def test_manifest_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_manifest(data)
    assert caught.value.code == code


def test_versions_are_named() -> None:
    with pytest.raises(UnsupportedFormatError, match="manifest format 7 "):
        decode_manifest(manifest_of(version=7))
    with pytest.raises(UnsupportedFormatError, match="segment format 7 "):
        decode_segment(segment_of(PATHS, version=7))


def test_manifest_above_its_size_is_refused_by_both_sides() -> None:
    large = attrs.evolve(FIRST, source=b"a" * layout.MAX_MANIFEST)
    with pytest.raises(LimitError):
        encode_manifest(large)
    described = DESCRIBED | {"source": "a" * layout.MAX_MANIFEST, "entries": 0}
    data = manifest_of(json.dumps(described).encode(), ROW[:0], ())
    with pytest.raises(CorruptMetadataError) as caught:
        decode_manifest(data)
    assert caught.value.code == "manifest.size"


def test_writer_refuses_a_manifest_without_a_path_for_each_segment() -> None:
    with pytest.raises(LimitError):
        encode_manifest(attrs.evolve(MANIFEST, first_paths=(b"a",)))
