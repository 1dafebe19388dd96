"""Stubs: what comes back, what is refused, and what a bad stub leaves in the columns."""

import random
import struct
from typing import Any

import attrs
import numpy as np
import pytest

from rehydrate.chunks import Rows
from rehydrate.errors import FormatError, LimitError, RestoreError, UnsupportedFormatError
from rehydrate.formats.native import layout
from rehydrate.formats.native.format import NATIVE
from rehydrate.formats.native.layout import MAP_INLINE, MAP_NONE, MAP_PARTS
from rehydrate.formats.native.properties import Xattrs, encode_properties, parse_properties
from rehydrate.formats.native.stub import (
    NativeStub,
    decode_stubs,
    encode_stub,
    parse_stub,
    store_key,
)
from rehydrate.formats.walk import DIRECTORY, FILE, SYMLINK, Limits
from tests.spec.small_store import STORE, T0, hole_row, make_row, zero_row

LIMITS = Limits()
ROW = make_row(
    container=1, generation=1, offset=4096, local_id=1, length=1072, end=1000, digest=b"d" * 32
)
PART = make_row(
    container=2, generation=1, offset=4096, local_id=1, length=72 + 64, end=1000, digest=b"p" * 32
)
FILE_STUB = NativeStub(store=STORE, size=1000, map_kind=MAP_INLINE, rows=ROW, mtime_ns=T0)
PARTS_STUB = attrs.evolve(FILE_STUB, map_kind=MAP_PARTS, rows=PART)
LINK = NativeStub(store=STORE, kind=SYMLINK, link_text=b"../a")
EMPTY = NativeStub(store=STORE)
NAMES = layout.STUB_DTYPE.names or ()


def seal(body: bytes) -> bytes:
    return body + layout.crc64(body).to_bytes(8, "little")


def changed(stub: NativeStub, behind: bytes = b"", **fields: Any) -> bytes:
    """Return a sealed stub some of whose head's fields were changed."""
    data = encode_stub(stub)
    head = dict(zip(NAMES, layout.STUB_HEAD.unpack_from(data), strict=True))
    body = data[layout.STUB_HEAD.size : -8] + behind
    return seal(layout.STUB_HEAD.pack(*(head | fields).values()) + body)


def with_properties(stub: NativeStub, properties: bytes) -> bytes:
    total = len(encode_stub(stub)) + len(properties)
    size = len(encode_properties(stub.link_text, stub.xattrs)) + len(properties)
    return changed(stub, properties, total=total, properties=size)


def rows_of(*rows: Rows) -> Rows:
    return np.concatenate(rows)


def same(first: NativeStub, second: NativeStub) -> bool:
    one, two = attrs.asdict(first), attrs.asdict(second)
    return bool(np.array_equal(one.pop("rows"), two.pop("rows"))) and one == two


EVERY_FIELD = NativeStub(
    store=STORE,
    size=8000,
    mode=0o7777,
    uid=2**32 - 1,
    gid=2**32 - 2,
    nlink=2**32 - 3,
    mtime_ns=-(2**63),
    ctime_ns=2**63 - 1,
    device=2**64 - 1,
    inode=2**64 - 2,
    link_group=2**64 - 3,
    inconsistent=True,
    digest=bytes(range(32)),
    map_kind=MAP_INLINE,
    rows=rows_of(ROW, zero_row(2000), hole_row(3000), ROW),
    xattrs=((b"user.a", b""), (b"user.b", bytes(range(256)))),
)


@pytest.mark.parametrize(
    "stub",
    [
        pytest.param(EVERY_FIELD, id="every field"),
        pytest.param(FILE_STUB, id="inline"),
        pytest.param(PARTS_STUB, id="parts"),
        pytest.param(LINK, id="link"),
        pytest.param(attrs.evolve(LINK, xattrs=((b"user.a", b"1"),)), id="link with attribute"),
        pytest.param(EMPTY, id="empty file"),
        pytest.param(attrs.evolve(EMPTY, map_kind=MAP_INLINE), id="empty file, empty map"),
        pytest.param(NativeStub(store=STORE, kind=DIRECTORY, mode=0o1755), id="directory"),
    ],
)
def test_stub_comes_back(stub: NativeStub) -> None:
    data = encode_stub(stub)
    assert len(data) % 8 == 0
    assert same(parse_stub(data), stub)


def test_columns_hold_what_the_stubs_say() -> None:
    table = decode_stubs([encode_stub(stub) for stub in (EVERY_FIELD, PARTS_STUB, LINK)], LIMITS)
    assert not table.errors
    assert table.kind.tolist() == [FILE, FILE, SYMLINK]
    assert table.size.tolist() == [8000, 1000, 0]
    assert table.mode.tolist() == [0o7777, 0o644, 0o644]
    assert table.uid.tolist() == [2**32 - 1, 0, 0]
    assert table.gid.tolist() == [2**32 - 2, 0, 0]
    assert table.mtime_ns.tolist() == [-(2**63), T0, 0]
    assert table.link_group.tolist() == [2**64 - 3, 0, 0]
    assert table.row_ptr.tolist() == [0, 4, 5, 5]
    assert table.rows["end"].tolist() == [1000, 2000, 3000, 1000, 1000]
    assert table.in_parts.tolist() == [False, True, False]
    assert table.recall_sign.tolist() == [False, False, False]
    assert table.inconsistent.tolist() == [True, False, False]
    assert table.digests[0].tobytes() == bytes(range(32))
    assert table.texts == {2: b"../a"}
    assert table.xattrs == {0: EVERY_FIELD.xattrs}


def test_no_stubs_are_an_empty_table() -> None:
    table = decode_stubs([], LIMITS)
    assert len(table.kind) == len(table.rows) == len(table.errors) == 0
    assert table.row_ptr.tolist() == [0]


def xattr_property(value: bytes) -> bytes:
    return layout.PROPERTY.pack(layout.PROPERTY_XATTRS, 0, len(value)) + value.ljust(
        layout.align(len(value)), b"\0"
    )


BAD_STUBS = [
    pytest.param(b"", "stub.magic", id="nothing"),
    pytest.param(encode_stub(EMPTY)[:-1], "stub.magic", id="shorter than any"),
    pytest.param(b"MZ" + bytes(500), "stub.magic", id="foreign"),
    pytest.param(changed(FILE_STUB, magic=b"RHSX"), "stub.magic", id="magic"),
    pytest.param(changed(FILE_STUB, version=2), "format.unsupported", id="version"),
    pytest.param(encode_stub(FILE_STUB)[:-8], "stub.truncated", id="cut short"),
    pytest.param(encode_stub(FILE_STUB) + bytes(8), "stub.truncated", id="bytes behind"),
    pytest.param(changed(FILE_STUB, rows=2), "stub.parts", id="more rows than bytes"),
    pytest.param(changed(FILE_STUB, rows=0), "stub.parts", id="more bytes than rows"),
    pytest.param(changed(FILE_STUB, properties=2**32 - 1), "stub.parts", id="properties"),
    pytest.param(changed(FILE_STUB, flags=2), "stub.fields", id="flag"),
    pytest.param(changed(EMPTY, kind=0), "stub.fields", id="kind 0"),
    pytest.param(changed(EMPTY, kind=4), "stub.fields", id="kind 4"),
    pytest.param(changed(FILE_STUB, map_kind=3), "stub.fields", id="map 3"),
    pytest.param(
        changed(FILE_STUB, map_kind=MAP_NONE, size=0), "stub.fields", id="rows without map"
    ),
    pytest.param(changed(FILE_STUB, kind=SYMLINK), "stub.fields", id="link with map"),
    pytest.param(changed(EMPTY, size=1), "stub.fields", id="size without map"),
    pytest.param(
        changed(
            attrs.evolve(FILE_STUB, map_kind=MAP_PARTS, rows=rows_of(*[ROW] * 5)),
            map_kind=MAP_INLINE,
        ),
        "stub.fields",
        id="five rows inline",
    ),
    pytest.param(changed(EMPTY, map_kind=MAP_PARTS), "stub.fields", id="parts without rows"),
    pytest.param(
        changed(
            attrs.evolve(PARTS_STUB, rows=rows_of(*[PART] * 8192)),
            PART.tobytes(),
            rows=8193,
            total=144 + 64 * 8193,
        ),
        "stub.fields",
        id="8193 parts",
    ),
    pytest.param(changed(FILE_STUB, kind=DIRECTORY), "stub.fields", id="directory with map"),
    pytest.param(changed(EMPTY, kind=DIRECTORY, size=1), "stub.fields", id="directory with size"),
    pytest.param(changed(LINK, size=4), "stub.fields", id="link with size"),
    pytest.param(changed(FILE_STUB, mode=0o10000), "stub.fields", id="mode"),
    pytest.param(changed(FILE_STUB, reserved=1), "stub.fields", id="reserved"),
    pytest.param(changed(FILE_STUB, size=2**63), "stub.fields", id="size 2^63"),
    pytest.param(changed(FILE_STUB, size=(16 << 40) + 1), "limit", id="size above the limit"),
    pytest.param(encode_stub(FILE_STUB)[:-1] + b"\0", "stub.crc", id="CRC-64"),
    pytest.param(changed(LINK, kind=FILE), "stub.link", id="file with link text"),
    pytest.param(changed(EMPTY, kind=SYMLINK), "stub.link", id="link without text"),
    pytest.param(
        with_properties(EMPTY, b"\3\0\0\0\0\0\0"), "stub.property", id="head of property cut short"
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(3, 0, 9) + bytes(8)),
        "stub.property",
        id="value",
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(3, 0, 2**32 - 1)), "stub.property", id="huge"
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(3, 1, 0)), "stub.property", id="reserved bits"
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(3, 0, 1) + b"a\0\0\0\0\0\0b"),
        "stub.property",
        id="padding",
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(3, 0, 0) * 2), "stub.property", id="type twice"
    ),
    pytest.param(
        with_properties(EMPTY, layout.PROPERTY.pack(0x8003, 0, 0)), "format.unsupported", id="must"
    ),
    pytest.param(
        with_properties(
            attrs.evolve(EMPTY, kind=SYMLINK), layout.PROPERTY.pack(1, 0, 3) + b"a\0b\0\0\0\0\0"
        ),
        "stub.link",
        id="zero byte in link text",
    ),
    pytest.param(
        with_properties(
            attrs.evolve(EMPTY, kind=SYMLINK), layout.PROPERTY.pack(1, 0, 32776) + b"a" * 32776
        ),
        "stub.link",
        id="long link text",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(b"\1\0\0\0\0\0\0")), "stub.xattr", id="xattr head"
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(1, 1, 0) + b"a")),
        "stub.xattr",
        id="xattr reserved",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(0, 0, 1) + b"a")),
        "stub.xattr",
        id="xattr without name",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(256, 0, 0) + b"a" * 256)),
        "stub.xattr",
        id="xattr long name",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(2, 0, 0) + b"a")),
        "stub.xattr",
        id="xattr name cut short",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(3, 0, 0) + b"a\0b")),
        "stub.xattr",
        id="xattr zero byte in name",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property((layout.XATTR.pack(1, 0, 1) + b"ab") * 2)),
        "stub.xattr",
        id="xattr twice",
    ),
    pytest.param(
        with_properties(EMPTY, xattr_property(layout.XATTR.pack(1, 0, 2) + b"ab")),
        "stub.xattr",
        id="xattr value cut short",
    ),
    pytest.param(
        with_properties(
            EMPTY,
            xattr_property(b"".join(layout.XATTR.pack(4, 0, 0) + b"%04d" % n for n in range(1025))),
        ),
        "stub.xattr",
        id="1025 xattrs",
    ),
    pytest.param(
        with_properties(
            EMPTY, xattr_property(layout.XATTR.pack(1, 0, 65528) + b"a" + bytes(65528))
        ),
        "stub.xattr",
        id="64 KiB and one byte of xattrs",
    ),
]
BAD_PARTS = [
    ({"container": 0}, "stub.part"),
    ({"generation": 0}, "stub.part"),
    ({"local_id": 0}, "stub.part"),
    ({"offset": 2**63}, "stub.part"),
    ({"offset": 2**64 - 1}, "stub.part"),
    ({"length": 0}, "stub.part"),
    ({"length": 72}, "stub.part"),
    ({"length": 72 + 63}, "stub.part"),
    ({"length": 72 + 64 * 262145}, "stub.part"),
    ({"length": 2**32 - 1}, "stub.part"),
    ({"end": 0}, "stub.part"),
    ({"end": 999}, "map.size"),
    ({"end": 2**64 - 1}, "map.size"),
]


def part_stub(**changes: int) -> bytes:
    row = PART.copy()
    for name, value in changes.items():
        row[name] = value
    return encode_stub(attrs.evolve(PARTS_STUB, rows=row, xattrs=((b"user.a", b"1"),)))


BAD_STUBS += [
    pytest.param(part_stub(**changes), code, id=f"part {changes}") for changes, code in BAD_PARTS
]


@pytest.mark.parametrize(("data", "code"), BAD_STUBS)
def test_stub_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(RestoreError) as caught:
        parse_stub(data)
    assert caught.value.code == code


@pytest.mark.parametrize(("data", "code"), BAD_STUBS)
def test_bad_stub_leaves_zeros_and_its_neighbours_alone(data: bytes, code: str) -> None:
    good = encode_stub(EVERY_FIELD), encode_stub(PARTS_STUB), encode_stub(LINK)
    table = decode_stubs([good[0], data, good[1], data, good[2], data], LIMITS)
    assert {index: error.code for index, error in table.errors.items()} == {
        1: code,
        3: code,
        5: code,
    }
    bad = [1, 3, 5]
    for column in ("kind", "size", "mode", "uid", "gid", "mtime_ns", "link_group"):
        assert not getattr(table, column)[bad].any(), column
    for flags in (table.in_parts, table.recall_sign, table.inconsistent):
        assert not flags[bad].any()
    assert not any(table.digests[bad].tobytes())
    assert table.row_ptr.tolist() == [0, 4, 4, 5, 5, 5, 5]
    assert table.rows["end"].tolist() == [1000, 2000, 3000, 1000, 1000]
    assert table.texts == {4: b"../a"}
    assert set(table.xattrs) == {0}


def test_parts_must_rise_in_each_stub_and_only_there() -> None:
    later = PART.copy()
    later["end"] = 2000
    good = encode_stub(attrs.evolve(PARTS_STUB, size=2000, rows=rows_of(PART, later)))
    table = decode_stubs([good, encode_stub(PARTS_STUB), encode_stub(EMPTY), good], LIMITS)
    assert not table.errors
    for first, second in ((later, later), (later, PART)):
        bad = encode_stub(attrs.evolve(PARTS_STUB, size=2000, rows=rows_of(first, second)))
        table = decode_stubs([good, bad], LIMITS)
        assert {index: error.code for index, error in table.errors.items()} == {1: "stub.part"}


def test_largest_parts() -> None:
    most = PART.repeat(8192)
    most["end"] = np.arange(1, 8193)
    stub = attrs.evolve(PARTS_STUB, size=8192, rows=most)
    assert same(parse_stub(encode_stub(stub)), stub)
    largest = PART.copy()
    largest["length"] = 72 + 64 * 262144
    largest["offset"] = 2**63 - 1 - (72 + 64 * 262144)
    stub = attrs.evolve(PARTS_STUB, rows=largest)
    assert same(parse_stub(encode_stub(stub)), stub)


def test_largest_size() -> None:
    stub = attrs.evolve(FILE_STUB, size=2**63 - 1, rows=hole_row(2**63 - 1))
    assert same(parse_stub(encode_stub(stub), Limits(file_size=2**64)), stub)
    with pytest.raises(FormatError) as caught:
        parse_stub(changed(stub, size=2**63), Limits(file_size=2**64))
    assert caught.value.code == "stub.fields"


def test_parts_count_against_the_limit_of_maps() -> None:
    later = PART.copy()
    later["end"] = 2000
    data = encode_stub(attrs.evolve(PARTS_STUB, size=2000, rows=rows_of(PART, later)))
    assert not decode_stubs([data], Limits(map_size=128)).errors
    (error,) = decode_stubs([data], Limits(map_size=127)).errors.values()
    assert isinstance(error, LimitError)


def test_limits_of_the_caller_are_kept() -> None:
    data = encode_stub(FILE_STUB)
    assert parse_stub(data, Limits(file_size=1000)).size == 1000
    with pytest.raises(LimitError):
        parse_stub(data, Limits(file_size=999))


def test_unknown_property_is_stepped_over() -> None:
    data = with_properties(
        attrs.evolve(FILE_STUB, xattrs=((b"user.a", b"1"),)),
        layout.PROPERTY.pack(9, 0, 3) + b"abc\0\0\0\0\0",
    )
    assert parse_stub(data).xattrs == ((b"user.a", b"1"),)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"size": 2**64}, id="large"),
        pytest.param({"size": -1}, id="negative"),
        pytest.param({"mtime_ns": 2**63}, id="late"),
        pytest.param({"mtime_ns": -(2**63) - 1}, id="early"),
        pytest.param({"uid": 2**32}, id="owner"),
        pytest.param({"rows": rows_of(*[ROW] * 5)}, id="five rows inline"),
        pytest.param({"map_kind": MAP_NONE}, id="rows without map"),
        pytest.param({"map_kind": MAP_PARTS, "rows": rows_of(*[PART] * 8193)}, id="8193 parts"),
        pytest.param({"link_text": b"a" * 32769}, id="link text"),
        pytest.param({"xattrs": ((b"", b"1"),)}, id="xattr without name"),
        pytest.param({"xattrs": ((b"a" * 256, b"1"),)}, id="xattr with long name"),
        pytest.param({"xattrs": ((b"a", bytes(65528)),)}, id="xattr bytes"),
        pytest.param({"xattrs": tuple((b"%d" % n, b"") for n in range(1025))}, id="1025 xattrs"),
    ],
)
def test_writer_refuses_what_no_reader_accepts(changes: dict[str, Any]) -> None:
    with pytest.raises(LimitError):
        encode_stub(attrs.evolve(FILE_STUB, **changes))


@pytest.mark.parametrize(
    ("text", "xattrs"),
    [
        (b"a" * 32768, ()),
        (b"", ((b"a" * 255, bytes(65536 - 8 - 255)),)),
        (b"", tuple((b"%04d" % n, b"") for n in range(1024))),
        (b"l", ((b"user.a", b"1"),)),
    ],
    ids=["link text", "bytes", "attributes", "both"],
)
def test_largest_properties_come_back(text: bytes, xattrs: Xattrs) -> None:
    assert parse_properties(encode_properties(text, xattrs)) == (text, xattrs)


def test_store_key_is_that_of_a_native_stub_only() -> None:
    data = encode_stub(EMPTY)
    assert store_key(data) == NATIVE.store_key(data) == STORE.bytes
    assert store_key(data[:136]) == STORE.bytes
    assert store_key(data[:135]) is None
    assert store_key(b"RHSX" + data[4:]) is None
    assert store_key(b"") is None


def test_error_names_the_version() -> None:
    with pytest.raises(UnsupportedFormatError, match="stub format 258 "):
        parse_stub(changed(EMPTY, version=258))
    with pytest.raises(FormatError):
        parse_stub(struct.pack("<4sH", b"RHST", 258))


def test_many_stubs_in_any_order_and_alignment() -> None:
    source = random.Random(11)
    kinds = [EVERY_FIELD, FILE_STUB, PARTS_STUB, LINK, EMPTY]
    stubs = [source.choice(kinds) for _ in range(500)]
    noise = {n: source.randbytes(source.randrange(300)) for n in range(0, 500, 7)}
    data = [noise.get(number, encode_stub(stub)) for number, stub in enumerate(stubs)]
    table = decode_stubs(data, LIMITS)
    assert set(table.errors) == set(noise)
    for number, stub in enumerate(stubs):
        if number not in noise:
            rows = table.rows[table.row_ptr[number] : table.row_ptr[number + 1]]
            assert np.array_equal(rows, stub.rows)
            assert table.size[number] == stub.size
