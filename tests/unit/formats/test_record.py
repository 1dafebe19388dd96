"""Record headers and the decoder: what each check is there for."""

from typing import Any

import attrs
import pytest
import zstandard
from blake3 import blake3

from rehydrate.errors import (
    ChunkMismatchError,
    CorruptMetadataError,
    FormatError,
    UnsupportedFormatError,
)
from rehydrate.formats.native import layout
from rehydrate.formats.native.record import (
    NO_DIGEST,
    NativeDecoder,
    Place,
    encode_record,
    parse_header,
    place_check,
)

PLACE = Place(b"saltsaltsaltsalt", 3, 2, 8192)
TEXT = b"some bytes of a file"
DIGEST = blake3(TEXT).digest()
NAMES = [
    "magic",
    "header_size",
    "kind",
    "flags",
    "compression",
    "cipher",
    "digest_kind",
    "key_slot",
    "local_id",
    "stored_size",
    "logical_size",
    "digest",
    "payload_crc",
    "check",
]
GOOD: dict[str, Any] = {
    "magic": b"RHR1",
    "header_size": 72,
    "kind": layout.KIND_CHUNK,
    "flags": 0,
    "compression": 0,
    "cipher": 0,
    "digest_kind": 1,
    "key_slot": 0,
    "local_id": 7,
    "stored_size": len(TEXT),
    "logical_size": len(TEXT),
    "digest": DIGEST,
    "payload_crc": layout.crc64(TEXT),
    "check": 0,
}
COMMIT: dict[str, Any] = {
    "kind": layout.KIND_COMMIT,
    "digest_kind": 0,
    "local_id": 0,
    "digest": NO_DIGEST,
}


def sealed(extension: bytes = b"", **changes: Any) -> bytes:
    """Return a header with these fields, whose check is right."""
    fields = {**GOOD, "header_size": 72 + len(extension), **changes}
    fixed = layout.RECORD.pack(*(fields[name] for name in NAMES))[: layout.CHECKED_SIZE]
    return fixed + place_check(PLACE, fixed + extension).to_bytes(8, "little") + extension


def test_encoder_makes_commits_without_digest() -> None:
    header = encode_record(PLACE, layout.KIND_COMMIT, 0, TEXT, logical_size=20, digest=NO_DIGEST)
    assert header == sealed(**COMMIT)


def test_encoder_makes_the_header_that_the_page_describes() -> None:
    header = encode_record(PLACE, layout.KIND_CHUNK, 7, TEXT, logical_size=len(TEXT), digest=DIGEST)
    assert header == sealed()
    found = parse_header(header, PLACE)
    assert attrs.asdict(found) | {"check": 0} == {
        name: value for name, value in GOOD.items() if name not in ("magic", "key_slot")
    }
    assert (found.length, found.step) == (92, 96)


def test_extension_is_stepped_over_and_covered_by_the_check() -> None:
    data = sealed(b"extended")
    found = parse_header(data, PLACE)
    assert (found.header_size, found.length) == (80, 100)
    with pytest.raises(CorruptMetadataError) as caught:
        parse_header(data[:-1] + b"D", PLACE)
    assert caught.value.code == "record.check"


@pytest.mark.parametrize(
    "other",
    [
        Place(b"SALTsaltsaltsalt", 3, 2, 8192),
        attrs.evolve(PLACE, container=4),
        attrs.evolve(PLACE, generation=1),
        PLACE.at(8200),
    ],
    ids=["salt", "container", "generation", "offset"],
)
def test_record_of_another_place_is_refused(other: Place) -> None:
    with pytest.raises(CorruptMetadataError) as caught:
        parse_header(sealed(), other)
    assert caught.value.code == "record.check"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "record.truncated", id="nothing"),
        pytest.param(sealed()[:71], "record.truncated", id="cut short"),
        pytest.param(sealed(b"extended")[:79], "record.header-size", id="extension cut short"),
        pytest.param(sealed(magic=b"RHR2"), "record.magic", id="magic"),
        pytest.param(sealed(header_size=64), "record.header-size", id="header too small"),
        pytest.param(sealed(b"1234"), "record.header-size", id="header not aligned"),
        pytest.param(
            sealed(stored_size=2**26 + 1, logical_size=2**26 + 1), "record.size", id="stored"
        ),
        pytest.param(sealed(compression=1, logical_size=2**26 + 1), "record.size", id="logical"),
        pytest.param(
            sealed(kind=77, stored_size=2**26 + 1), "record.size", id="stored, unknown kind"
        ),
        pytest.param(sealed(logical_size=21), "record.fields", id="plain of two sizes"),
        pytest.param(sealed(local_id=0), "record.fields", id="no local id"),
        pytest.param(sealed(digest_kind=0), "record.fields", id="no digest"),
        pytest.param(
            sealed(kind=layout.KIND_STREAM_MAP, compression=1), "record.fields", id="packed map"
        ),
        pytest.param(sealed(**COMMIT, compression=1), "record.fields", id="packed commit"),
        pytest.param(sealed(**COMMIT | {"local_id": 1}), "record.fields", id="numbered commit"),
        pytest.param(sealed(**COMMIT | {"digest": DIGEST}), "record.fields", id="digest in commit"),
        pytest.param(sealed(**COMMIT | {"digest_kind": 1}), "record.fields", id="kind in commit"),
        pytest.param(sealed(cipher=1), "format.unsupported", id="cipher"),
        pytest.param(sealed(key_slot=1), "format.unsupported", id="key slot"),
        pytest.param(sealed(digest_kind=2), "format.unsupported", id="keyed digest"),
        pytest.param(sealed(compression=2), "format.unsupported", id="compression"),
        pytest.param(sealed(flags=1), "format.unsupported", id="flag of a chunk"),
        pytest.param(sealed(**COMMIT, flags=2), "format.unsupported", id="flag of a commit"),
    ],
)
def test_header_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_header(data, PLACE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(sealed(kind=200, flags=3, compression=9, cipher=4, key_slot=1), id="unknown"),
        pytest.param(sealed(compression=1, stored_size=2**26, logical_size=2**26), id="largest"),
        pytest.param(sealed(compression=1, stored_size=9), id="two sizes"),
        pytest.param(sealed(**COMMIT, flags=1), id="sealing commit"),
    ],
)
def test_header_is_accepted(data: bytes) -> None:
    assert parse_header(data, PLACE).length == 72 + parse_header(data, PLACE).stored_size


def decode(
    data: bytes, *, local_id: int = 7, size: int = len(TEXT), digest: bytes = DIGEST
) -> bytes:
    return bytes(NativeDecoder().decode(memoryview(data), local_id, size, digest))


def test_decoder_returns_a_view_of_a_plain_record() -> None:
    record = memoryview(sealed() + TEXT)
    data = NativeDecoder().decode(record, 7, len(TEXT), DIGEST)
    assert isinstance(data, memoryview)
    assert data.obj is record.obj
    assert data == TEXT


def test_decoder_steps_over_an_extension() -> None:
    assert decode(sealed(b"extended") + TEXT) == TEXT


@pytest.mark.parametrize(
    ("record", "code"),
    [
        pytest.param(sealed()[:71], "record.truncated", id="cut short"),
        pytest.param(sealed(magic=b"RHR2") + TEXT, "record.magic", id="magic"),
        pytest.param(sealed(local_id=8) + TEXT, "record.other", id="local id"),
        pytest.param(sealed(kind=layout.KIND_SEGMENT) + TEXT, "record.other", id="kind"),
        pytest.param(sealed(logical_size=19) + TEXT, "record.other", id="logical size"),
        pytest.param(sealed(digest=NO_DIGEST) + TEXT, "record.other", id="digest"),
        pytest.param(sealed() + TEXT[:-1], "record.other", id="payload cut short"),
        pytest.param(sealed() + TEXT + b"\0", "record.other", id="byte behind"),
        pytest.param(sealed(cipher=1) + TEXT, "format.unsupported", id="cipher"),
        pytest.param(sealed(digest_kind=2) + TEXT, "format.unsupported", id="keyed digest"),
        pytest.param(sealed(digest_kind=0) + TEXT, "format.unsupported", id="no digest"),
        pytest.param(sealed(compression=2) + TEXT, "format.unsupported", id="compression"),
        pytest.param(sealed(stored_size=21) + TEXT + b"\0", "chunk.size", id="plain of two sizes"),
        pytest.param(sealed() + TEXT[:-1] + b"!", "chunk.digest", id="bytes"),
        pytest.param(sealed(compression=1) + TEXT, "zstd.frame", id="no frame"),
    ],
)
def test_decoder_refuses(record: bytes, code: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(record)
    assert caught.value.code == code


def test_decoder_compares_the_bytes_of_a_frame_with_the_digest() -> None:
    frame = zstandard.ZstdCompressor().compress(TEXT[::-1])
    with pytest.raises(ChunkMismatchError) as caught:
        decode(sealed(compression=1, stored_size=len(frame)) + frame)
    assert caught.value.code == "chunk.digest"


def test_record_without_payload_is_a_record() -> None:
    digest = blake3(b"").digest()
    data = sealed(stored_size=0, logical_size=0, digest=digest)
    assert decode(data, size=0, digest=digest) == b""
    assert parse_header(data, PLACE).length == 72


def test_errors_of_the_decoder_name_what_is_not_supported() -> None:
    with pytest.raises(UnsupportedFormatError, match="cipher 3"):
        decode(sealed(cipher=3) + TEXT)
    with pytest.raises(UnsupportedFormatError, match="compression 9"):
        decode(sealed(compression=9) + TEXT)
