"""Backup streams: what is written is found again, and bytes that make no sense are told."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehydrate.errors import CorruptMetadataError, LimitError, RestoreError
from rehydrate.stores import backup_stream
from rehydrate.stores.backup_stream import (
    ALTERNATE_DATA,
    DATA,
    EA_DATA,
    REPARSE_DATA,
    SECURITY_DATA,
    SPARSE,
    SPARSE_BLOCK,
    BackupStream,
    BackupStreamWriter,
    DataStream,
    alternate_name,
    parse_backup_stream,
    part_header,
)
from rehydrate.values import FileExtent


def reader(raw: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: raw[offset : offset + size]


def parsed(raw: bytes) -> BackupStream:
    return parse_backup_stream(reader(raw), len(raw))


def written(build: Callable[[BackupStreamWriter], None]) -> bytes:
    pieces: list[bytes] = []
    build(BackupStreamWriter(pieces.append))
    return b"".join(pieces)


def content(raw: bytes, stream: DataStream | None) -> bytes:
    assert stream is not None
    return stream.read(reader(raw), 0, stream.size)


def test_the_header_is_laid_out_as_in_the_sdk() -> None:
    name = ":z:$DATA".encode("utf-16-le")
    expected = struct.pack("<IIQI", 4, 8, 5, len(name)) + name
    assert part_header(ALTERNATE_DATA, 5, attributes=SPARSE, name=":z:$DATA") == expected


def test_a_file_with_everything_comes_back() -> None:
    def build(writer: BackupStreamWriter) -> None:
        writer.part(SECURITY_DATA, b"descriptor", attributes=2)
        writer.part(EA_DATA, b"attributes")
        writer.data(11, reader(b"hello world"))
        writer.data(6, reader(b"[Zone]"), name="Zone.Identifier")
        writer.data(0, reader(b""), name="empty")
        writer.part(REPARSE_DATA, b"\x13\0\0\x80\0\0\0\0")
        writer.part(77, b"nobody knows", attributes=0x40, name="odd\ud800")

    raw = written(build)
    found = parsed(raw)
    assert content(raw, found.data) == b"hello world"
    assert [stream.name for stream in found.alternates] == ["Zone.Identifier", "empty"]
    assert content(raw, found.alternate("Zone.Identifier")) == b"[Zone]"
    assert found.alternate("zone.identifier") is None
    kept = {part.kind: raw[part.offset : part.offset + part.size] for part in found.parts}
    assert kept[SECURITY_DATA] == b"descriptor"
    assert kept[EA_DATA] == b"attributes"
    assert kept[REPARSE_DATA][:4] == b"\x13\0\0\x80"
    assert kept[77] == b"nobody knows"
    unknown = found.part(77)
    assert unknown is not None
    assert (unknown.name, unknown.attributes) == ("odd\ud800", 0x40)
    assert found.part(5) is None


def test_nothing_is_a_file_without_streams() -> None:
    found = parsed(b"")
    assert (found.parts, found.data, found.alternates) == ((), None, ())


def test_a_hole_at_the_end_keeps_the_size() -> None:
    data = bytes(100) + b"x" * 50 + bytes(100)
    raw = written(lambda w: w.data(250, reader(data), ranges=[FileExtent(100, 50)]))
    stream = parsed(raw).data
    assert stream is not None
    assert (stream.sparse, stream.size) == (True, 250)
    assert [block.extent for block in stream.blocks] == [FileExtent(100, 50)]
    assert content(raw, stream) == data
    assert stream.read(reader(raw), 90, 20) == data[90:110]
    assert stream.read(reader(raw), 240, 100) == bytes(10)
    assert stream.read(reader(raw), 300, 5) == b""


def test_a_stream_of_nothing_but_hole_has_known_ranges() -> None:
    raw = written(lambda w: w.data(1 << 40, reader(b""), ranges=()))
    stream = parsed(raw).data
    assert stream is not None
    assert (stream.sparse, stream.size, stream.blocks) == (True, 1 << 40, ())
    assert stream.read(reader(raw), 1 << 39, 3) == bytes(3)


def test_a_sparse_alternate_stream_has_its_own_blocks() -> None:
    def build(writer: BackupStreamWriter) -> None:
        writer.data(30, reader(bytes(20) + b"b" * 10), ranges=[FileExtent(20, 10)])
        writer.data(9, reader(b"aa" + bytes(7)), ranges=[FileExtent(0, 2)], name="alt")

    raw = written(build)
    found = parsed(raw)
    assert content(raw, found.data) == bytes(20) + b"b" * 10
    assert content(raw, found.alternate("alt")) == b"aa" + bytes(7)


def test_large_data_is_written_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_stream, "_PIECE", 10)
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return bytes([offset]) * size

    raw = written(lambda w: w.data(25, read))
    assert asked == [10, 10, 5]
    assert content(raw, parsed(raw).data) == bytes(10) + b"\x0a" * 10 + b"\x14" * 5


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        (":a:$DATA", "a"),
        (":a:b:$data", "a:b"),
        ("a:$DATA", None),
        (":a", None),
        ("::$DATA", None),
        ("", None),
    ],
)
def test_names_of_alternate_streams(stored: str, plain: str | None) -> None:
    assert alternate_name(stored) == plain


def test_an_alternate_stream_of_another_type_is_kept_as_a_part_only() -> None:
    raw = part_header(ALTERNATE_DATA, 1, name=":$I30:$INDEX_ALLOCATION") + b"x"
    found = parsed(raw)
    assert found.alternates == ()
    assert found.parts[0].name == ":$I30:$INDEX_ALLOCATION"


def block(offset: int, size: int, *, data: bytes = b"") -> bytes:
    return part_header(SPARSE_BLOCK, size) + struct.pack("<Q", offset) + data


SPARSE_HEAD = part_header(DATA, 0, attributes=SPARSE)

BAD = {
    "half a header": ("truncated", part_header(DATA, 0)[:19]),
    "more data than there is": ("truncated", part_header(DATA, 2) + b"x"),
    "2**63 bytes": ("truncated", part_header(DATA, 1 << 63)),
    "2**64-1 bytes": ("truncated", part_header(DATA, (1 << 64) - 1) + b"x" * 40),
    "half a name": ("truncated", part_header(ALTERNATE_DATA, 0, name=":a:$DATA")[:-1]),
    "odd name": ("name", struct.pack("<IIQI", 4, 0, 0, 3) + b"abc"),
    "huge name": ("name", struct.pack("<IIQI", 4, 0, 0, 0xFFFFFFFE)),
    "two data streams": ("twice", part_header(DATA, 0) * 2),
    "two of one name": ("twice", part_header(ALTERNATE_DATA, 0, name=":a:$DATA") * 2),
    "two reparse buffers": ("twice", part_header(REPARSE_DATA, 0) * 2),
    "block of nothing": ("block", block(0, 8)),
    "block of a stream that is not sparse": ("block", part_header(DATA, 0) + block(0, 8)),
    "block without an offset": ("block", SPARSE_HEAD + part_header(SPARSE_BLOCK, 7) + bytes(7)),
    "blocks that overlap": ("block", SPARSE_HEAD + block(8, 10, data=b"ab") + block(9, 8)),
    "block in front of the data": (
        "block",
        part_header(DATA, 3, attributes=SPARSE) + b"abc" + block(2, 8),
    ),
    "block at 2**63": ("block", SPARSE_HEAD + block(1 << 63, 8)),
    "block at 2**64-1": ("block", SPARSE_HEAD + block((1 << 64) - 1, 8)),
    "block that ends at 2**63": ("block", SPARSE_HEAD + block((1 << 63) - 1, 9, data=b"x")),
}


@pytest.mark.parametrize(("code", "raw"), BAD.values(), ids=BAD)
def test_what_makes_no_sense_is_told(code: str, raw: bytes) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parsed(raw)
    assert caught.value.code == f"backup.{code}"
    assert caught.value.offset is not None


def test_a_sparse_stream_with_data_of_its_own_goes_on_in_blocks() -> None:
    raw = part_header(DATA, 3, attributes=SPARSE) + b"abc" + block(5, 10, data=b"fg")
    assert content(raw, parsed(raw).data) == b"abc\0\0fg"


def test_too_many_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_stream, "_MAX_PARTS", 3)
    assert len(parsed(part_header(5, 0) * 3).parts) == 3
    with pytest.raises(LimitError) as caught:
        parsed(part_header(5, 0) * 4)
    assert caught.value.code == "backup.parts"


def test_a_reader_that_gives_too_little_is_told() -> None:
    raw = part_header(DATA, 4) + b"data"
    with pytest.raises(CorruptMetadataError):
        parse_backup_stream(lambda offset, size: raw[offset : offset + size - 1], len(raw))
    stream = parsed(raw).data
    assert stream is not None
    with pytest.raises(CorruptMetadataError):
        stream.read(lambda _offset, _size: b"da", 0, 4)


names = st.text(st.characters(exclude_characters=":"), min_size=1, max_size=20)
ranges_and_size = st.lists(st.integers(1, 50), max_size=12)


@given(
    steps=ranges_and_size,
    alternates=st.dictionaries(names, st.binary(max_size=40), max_size=4),
    parts=st.dictionaries(st.sampled_from([2, 3, 7, 8, 99, 2**32 - 1]), st.binary(max_size=40)),
    sparse=st.booleans(),
    window=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_everything_that_is_written_is_read(
    *,
    steps: list[int],
    alternates: dict[str, bytes],
    parts: dict[int, bytes],
    sparse: bool,
    window: tuple[int, int],
) -> None:
    data, extents = bytearray(), []
    for number, step in enumerate(steps):  # hole, data, hole, ...
        if number % 2:
            extents.append(FileExtent(len(data), step))
        data += bytes(step) if number % 2 == 0 else bytes([number]) * step

    def build(writer: BackupStreamWriter) -> None:
        for kind, payload in parts.items():
            writer.part(kind, payload)
        writer.data(len(data), reader(bytes(data)), ranges=extents if sparse else None)
        for name, payload in alternates.items():
            writer.data(len(payload), reader(payload), name=name)

    raw = written(build)
    found = parsed(raw)
    stream = found.data
    assert stream is not None
    assert (stream.size, stream.sparse) == (len(data), sparse)
    assert content(raw, stream) == data
    offset, size = window
    assert stream.read(reader(raw), offset, size) == data[offset : offset + size]
    if sparse:
        assert [block.extent for block in stream.blocks] == extents
    assert {one.name: content(raw, one) for one in found.alternates} == alternates
    for kind, payload in parts.items():
        part = found.part(kind)
        assert part is not None
        assert raw[part.offset : part.offset + part.size] == payload


def sample() -> bytes:
    def build(writer: BackupStreamWriter) -> None:
        writer.part(SECURITY_DATA, b"security")
        writer.data(90, reader(bytes(90)), ranges=[FileExtent(3, 5), FileExtent(30, 9)])
        writer.data(4, reader(b"abcd"), name="alt")
        writer.part(REPARSE_DATA, b"\x13\0\0\x80\0\0\0\0")

    return written(build)


def test_every_truncation_is_told_or_ends_behind_a_part() -> None:
    raw = sample()
    ends = {0} | {part.offset + part.size for part in parsed(raw).parts}
    for size in range(len(raw)):
        if size in ends:
            assert parsed(raw[:size]).parts == parsed(raw).parts[: sorted(ends).index(size)]
            continue
        with pytest.raises(CorruptMetadataError):
            parsed(raw[:size])


@given(at=st.integers(0, len(sample()) - 1), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_typed_error_or_sound_streams(at: int, value: int) -> None:
    raw = bytearray(sample())
    raw[at] = value
    code = "backup."
    streams: tuple[DataStream | None, ...] = ()
    try:
        found = parsed(bytes(raw))
    except RestoreError as error:
        code = error.code
    else:
        streams = (found.data, *found.alternates)
    assert code.startswith("backup.")
    for stream in streams:
        if stream is not None:
            assert len(stream.read(reader(bytes(raw)), 0, min(stream.size, 1000))) <= 1000
