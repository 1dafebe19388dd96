"""Container headers, names, configurations and commit records."""

import struct
import uuid

import attrs
import pytest
from blake3 import blake3

from rehydrate.errors import CorruptMetadataError, FormatError, LimitError, UnsupportedFormatError
from rehydrate.formats.native import layout
from rehydrate.formats.native.container import (
    Commit,
    Configuration,
    ContainerHeader,
    container_name,
    container_path,
    encode_commit,
    encode_header,
    load_json,
    parse_commit,
    parse_container_header,
    parse_container_name,
)
from rehydrate.formats.native.record import RecordHeader, parse_header
from rehydrate.formats.walk import DATA, STREAM
from tests.spec.small_store import STORE, T0, ContainerWriter

HEADER = ContainerWriter(STREAM, 5, 2).header
PAGE = encode_header(HEADER)
NAMES = [
    "magic",
    "version",
    "kind",
    "size",
    "store",
    "container",
    "generation",
    "salt",
    "compat",
    "read_compat",
    "incompat",
    "created",
    "capacity",
    "configuration",
    "reserved",
]


def sealed(text: bytes | None = None, padding: bytes = b"", **changes: int | bytes) -> bytes:
    """Return a page with these fields and this configuration, whose digest is right."""
    fields = dict(zip(NAMES, layout.CONTAINER_HEADER.unpack_from(PAGE), strict=True))
    old = PAGE[layout.CONTAINER_HEADER.size :][: fields["configuration"]]
    body = old if text is None else text
    fields.update({"configuration": len(body), **changes})
    page = layout.CONTAINER_HEADER.pack(*fields.values()) + body + padding
    page = page.ljust(layout.HEADER_DIGEST_AT, b"\0")[: layout.HEADER_DIGEST_AT]
    return page + blake3(page).digest()


def test_header_comes_back() -> None:
    assert sealed() == PAGE
    assert len(PAGE) == 4096
    assert parse_container_header(PAGE) == HEADER
    tombstone = attrs.evolve(HEADER, tombstone=True, compat=1 << 63, read_compat=3)
    assert parse_container_header(encode_header(tombstone) + b"more") == tombstone


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(PAGE[:-1], "container.truncated", id="cut short"),
        pytest.param(sealed(magic=b"RHYDCONX"), "container.magic", id="magic"),
        pytest.param(sealed(version=2), "format.unsupported", id="version"),
        pytest.param(PAGE[:-1] + b"\0", "container.digest", id="digest"),
        pytest.param(sealed(incompat=1), "format.unsupported", id="feature bit"),
        pytest.param(sealed(size=4095), "container.fields", id="size"),
        pytest.param(sealed(kind=0), "container.fields", id="kind 0"),
        pytest.param(sealed(kind=3), "container.fields", id="kind 3"),
        pytest.param(sealed(configuration=3961), "container.fields", id="configuration too long"),
        pytest.param(sealed(configuration=2**32 - 1), "container.fields", id="configuration huge"),
        pytest.param(sealed(reserved=1), "container.fields", id="reserved"),
        pytest.param(sealed(padding=b"\0x"), "container.fields", id="padding"),
        pytest.param(sealed(container=0), "container.fields", id="container"),
        pytest.param(sealed(generation=0), "container.fields", id="generation"),
        pytest.param(sealed(capacity=2**63), "container.fields", id="capacity"),
    ],
)
def test_header_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_container_header(data)
    assert caught.value.code == code


def test_unknown_feature_bits_are_named() -> None:
    with pytest.raises(UnsupportedFormatError, match="feature bit 0, 5, 63,"):
        parse_container_header(sealed(incompat=1 | 1 << 5 | 1 << 63))


def test_largest_capacity() -> None:
    assert parse_container_header(sealed(capacity=2**63 - 1)).capacity == 2**63 - 1


def test_feature_bits_that_may_be_ignored_are_given_on() -> None:
    header = parse_container_header(sealed(compat=1, read_compat=2))
    assert (header.compat, header.read_compat) == (1, 2)


def test_newer_version_is_named_even_if_its_digest_is_elsewhere() -> None:
    with pytest.raises(UnsupportedFormatError, match="container format 2 "):
        parse_container_header(sealed(version=2)[:-1] + b"\0")


DEEP = b'{"a":' * 400 + b"1" + b"}" * 400


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"", "json.syntax", id="nothing"),
        pytest.param(b"{", "json.syntax", id="cut short"),
        pytest.param(b"{} {}", "json.syntax", id="more behind"),
        pytest.param(b'{"a":1,"a":1}', "json.syntax", id="same name twice"),
        pytest.param(b'{"a":{"b":1,"b":2}}', "json.syntax", id="same name twice within"),
        pytest.param(b'{"a":NaN}', "json.syntax", id="NaN"),
        pytest.param(b'{"a":Infinity}', "json.syntax", id="infinity"),
        pytest.param(b'{"a":-Infinity}', "json.syntax", id="minus infinity"),
        pytest.param(b'{"a":1.0}', "json.syntax", id="fraction"),
        pytest.param(b'{"a":1e3}', "json.syntax", id="exponent"),
        pytest.param(b'{"a":1e999}', "json.syntax", id="large exponent"),
        pytest.param(b'{"a":' + b"9" * 21 + b"}", "json.syntax", id="21 digits"),
        pytest.param(b'{"a":' + b"9" * 3900 + b"}", "json.syntax", id="3900 digits"),
        pytest.param(b'{"a":\xff}', "json.syntax", id="no UTF-8"),
        pytest.param(b'{"\xed\xa0\x80":1}', "json.syntax", id="surrogate in UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", "json.syntax", id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), "json.syntax", id="UTF-16"),
        pytest.param('{"a":1}'.encode("utf-32-le"), "json.syntax", id="UTF-32"),
        pytest.param(b"[" * 3900, "json.syntax", id="3900 lists"),
        pytest.param(b"1", "json.type", id="number"),
        pytest.param(b"[]", "json.type", id="list"),
        pytest.param(b"null", "json.type", id="null"),
        pytest.param(b'{"a":[]}', "json.type", id="list within"),
        pytest.param(b'{"a":null}', "json.type", id="null within"),
        pytest.param(b'{"a":{"b":{"c":{"d":{"e":1}}}}}', "json.type", id="five deep"),
        pytest.param(DEEP, "json.type", id="400 deep"),
        pytest.param(b'{"a":9223372036854775808}', "json.number", id="2^63"),
        pytest.param(b'{"a":-9223372036854775808}', "json.number", id="-2^63"),
        pytest.param(b'{"a":"\\ud800"}', "json.text", id="half a pair"),
        pytest.param(b'{"\\udc00":1}', "json.text", id="half a pair as name"),
        pytest.param(b'{"a":{"\\udfff":1}}', "json.text", id="half a pair within"),
    ],
)
def test_configuration_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_container_header(sealed(text))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"a": {"b": {"c": {"d": 1}}}},
        {"a": 2**63 - 1, "b": -(2**63) + 1, "c": True, "d": "\U0001f600\u00e9", "": {}},
    ],
    ids=["empty", "four deep", "values"],
)
def test_configuration_comes_back(configuration: Configuration) -> None:
    header = attrs.evolve(HEADER, configuration=configuration)
    assert parse_container_header(encode_header(header)).configuration == configuration


def test_configuration_that_does_not_fit_is_refused_by_the_writer() -> None:
    fits = attrs.evolve(HEADER, configuration={"a": "x" * (3960 - 8)})
    assert parse_container_header(encode_header(fits)) == fits
    with pytest.raises(LimitError):
        encode_header(attrs.evolve(HEADER, configuration={"a": "x" * (3960 - 7)}))


def test_configuration_that_no_reader_accepts_is_refused_by_the_writer() -> None:
    with pytest.raises(CorruptMetadataError):
        encode_header(attrs.evolve(HEADER, configuration={"a": "\ud800"}))


def test_errors_of_json_name_what_it_is() -> None:
    with pytest.raises(CorruptMetadataError, match="a letter is no JSON"):
        load_json(b"", "letter")


def test_names_and_paths() -> None:
    assert container_name(0x12, 0xABC) == "00000012.00000abc.rhc"
    assert container_path(DATA, 0x12, 0xABC) == "Data/00000012.00000abc.rhc"
    assert container_path(STREAM, 1, 1) == "Stream/00000001.00000001.rhc"
    assert parse_container_name("00000012.00000abc.rhc") == (0x12, 0xABC)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "00000012.00000abc.rh",
        "00000012.00000abc.rhx",
        "00000012-00000abc.rhc",
        "0000012.000000abc.rhc",
        "00000012.00000ABC.rhc",
        "+0000012.00000abc.rhc",
        " 0000012.00000abc.rhc",
        "0000_012.00000abc.rhc",
        "\u0660000012.00000abc.rhcx",
        "\u06600000012.0000abc.rhc",
        "00000012.00000abc.rhc.rhc",
    ],
)
def test_other_names_are_no_containers(name: str) -> None:
    assert parse_container_name(name) is None


COMMIT = Commit(
    store=STORE,
    container=5,
    generation=2,
    sequence=3,
    valid_length=12288,
    records=9,
    previous=4200,
    digest=bytes(range(32)),
)
AT = 8192 + 40


def split(record: bytes, offset: int = AT) -> tuple[RecordHeader, bytes]:
    header = parse_header(record, HEADER.place(offset))
    return header, record[header.header_size :]


@pytest.mark.parametrize(
    ("offset", "end"),
    [
        pytest.param(4096, 8192, id="first"),
        pytest.param(8192 - 160, 8192, id="fits exactly"),
        pytest.param(8192 - 152, 12288, id="does not fit by one step"),
        pytest.param(8192 - 8, 12288, id="before a border"),
    ],
)
def test_commit_ends_on_a_page(offset: int, end: int) -> None:
    first = attrs.evolve(COMMIT, sequence=1, previous=0)
    record = encode_commit(HEADER.place(offset), first)
    assert offset + len(record) == end
    found = parse_commit(*split(record, offset), offset)
    assert found == attrs.evolve(first, valid_length=end)


def test_sealing_commit_says_so() -> None:
    record = encode_commit(HEADER.place(AT), attrs.evolve(COMMIT, sealed=True))
    assert parse_commit(*split(record), AT).sealed


def commit_of(
    padding: bytes = b"", size: int = 4096 - 40 - 72, **changes: int
) -> tuple[RecordHeader, bytes]:
    fields = {
        "store": STORE.bytes,
        "container": 5,
        "generation": 2,
        "sequence": 3,
        "valid_length": 12288,
        "records": 9,
        "previous": 4200,
        "digest": bytes(32),
    } | changes
    payload = (layout.COMMIT.pack(*fields.values()) + padding).ljust(size, b"\0")[:size]
    header, _ = split(encode_commit(HEADER.place(AT), COMMIT))
    return attrs.evolve(header, stored_size=size, payload_crc=layout.crc64(payload)), payload


@pytest.mark.parametrize(
    ("commit", "code"),
    [
        pytest.param(commit_of(size=87), "commit.size", id="cut short"),
        pytest.param(commit_of(b"x"), "commit.size", id="padding"),
        pytest.param(commit_of(valid_length=16384), "commit.place", id="end"),
        pytest.param(
            commit_of(size=4096 - 48 - 72, valid_length=12280), "commit.place", id="no page"
        ),
        pytest.param(commit_of(previous=AT), "commit.place", id="previous is itself"),
        pytest.param(commit_of(previous=2**64 - 1), "commit.place", id="previous behind"),
        pytest.param(commit_of(previous=4088), "commit.place", id="previous in header"),
        pytest.param(commit_of(previous=4201), "commit.place", id="previous not aligned"),
        pytest.param(commit_of(previous=0), "commit.place", id="no previous"),
        pytest.param(commit_of(sequence=1), "commit.place", id="first with previous"),
        pytest.param(commit_of(sequence=0), "commit.place", id="sequence"),
        pytest.param(commit_of(container=0), "commit.place", id="container"),
        pytest.param(commit_of(generation=0), "commit.place", id="generation"),
        pytest.param(
            commit_of(records=12288 // 72 + 1), "commit.place", id="more records than bytes"
        ),
    ],
)
def test_commit_is_refused(commit: tuple[RecordHeader, bytes], code: str) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_commit(*commit, AT)
    assert caught.value.code == code


def test_commit_that_is_fine_before_it_is_changed() -> None:
    assert parse_commit(*commit_of(), AT).records == 9
    assert parse_commit(*commit_of(previous=4096, records=12288 // 72), AT).previous == 4096


def test_commit_with_other_bytes_than_its_header_says_is_refused() -> None:
    header, payload = commit_of()
    for wrong in (payload[:-8], payload + bytes(8), payload[:-1] + b"x"):
        with pytest.raises(CorruptMetadataError) as caught:
            parse_commit(header, wrong, AT)
        assert caught.value.code == "commit.crc"


def test_later_commit() -> None:
    found = parse_commit(*split(encode_commit(HEADER.place(AT), COMMIT)), AT)
    assert found == COMMIT


def test_header_holds_times_and_identity_exactly() -> None:
    header = attrs.evolve(HEADER, store=uuid.UUID(int=2**128 - 1), created_ns=T0 + 1)
    page = encode_header(header)
    assert struct.unpack_from("<Q", page, 80)[0] == T0 + 1
    assert isinstance(parse_container_header(page), ContainerHeader)
    assert parse_container_header(page).store.int == 2**128 - 1
