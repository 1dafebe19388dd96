"""Encoders, reference decoders and libfwnt agree; damaged chunks are refused, or are whole."""

import hashlib
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehydrate.formats.windows.codec.codec import decompress, fast_path
from tests.unit.formats.hostile import cut_short
from tests.unit.formats.windows_codecs.texts import (
    IDS,
    REFERENCE,
    answer,
    text,
    type_of_decoder,
)
from tests.windows_store.encoders import encode, encode_literal
from tests.windows_store.vectors import vector

METHODS = pytest.mark.parametrize("method", [1, 2, 3], ids=IDS)
CHUNKS = {1: 1500, 2: 1500, 3: 700}

PARTS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda part, times: part * times, st.binary(max_size=9), st.integers(0, 900)),
    st.sampled_from([bytes(4095), bytes(4096), bytes(65536), bytes(range(256)) * 33]),
)
TEXTS = st.lists(PARTS, max_size=8).map(b"".join)
SAMPLES = [b"a", b"abc" * 12, b"no match", bytes(50), b"one, one, two, one, two, three" * 2]


@METHODS
@given(whole=TEXTS)
@settings(max_examples=60, deadline=None)
def test_what_was_encoded_comes_back(method: int, whole: bytes) -> None:
    some = whole[:3000]
    assert REFERENCE[method](encode_literal(method, some), len(some)) == some
    stored = encode(method, whole)
    assert REFERENCE[method](stored, len(whole)) == whole
    assert decompress(method, stored, len(whole)) == whole


@METHODS
@given(stored=st.binary(max_size=300), size=st.integers(0, 5000))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_or_give_the_size(method: int, stored: bytes, size: int) -> None:
    out = answer(REFERENCE[method], stored, size)
    assert out is None or len(out) == size


@METHODS
@pytest.mark.parametrize("whole", SAMPLES, ids=range(len(SAMPLES)))
def test_every_cut_is_refused_unless_nothing_is_missing(method: int, whole: bytes) -> None:
    """Without its end mark, a chunk is whole."""
    for stored in cut_short(encode(method, whole)):
        assert answer(REFERENCE[method], stored, len(whole)) in (None, whole)


@METHODS
@pytest.mark.parametrize("whole", SAMPLES, ids=range(len(SAMPLES)))
def test_every_changed_bit_is_refused_or_gives_the_size(method: int, whole: bytes) -> None:
    stored = encode(method, whole)
    for bit in range(8 * len(stored)):
        spoilt = bytearray(stored)
        spoilt[bit >> 3] ^= 1 << (bit & 7)
        out = answer(REFERENCE[method], bytes(spoilt), len(whole))
        assert out is None or len(out) == len(whole)


@METHODS
@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_another_size_is_refused(method: int, wrong: int) -> None:
    for whole in SAMPLES[1:]:
        assert answer(REFERENCE[method], encode(method, whole), len(whole) + wrong) is None


@pytest.fixture(scope="module")
def libfwnt() -> Mapping[int, type_of_decoder]:
    """The decoders of libfwnt, which raise ``OSError``."""
    module = pytest.importorskip("pyfwnt", reason="needs libfwnt-python (extra windows)")
    return {
        1: module.lznt1_decompress,
        2: module.lzxpress_decompress,
        3: module.lzxpress_huffman_decompress,
    }


@METHODS
def test_the_reference_and_libfwnt_agree(
    libfwnt: Mapping[int, type_of_decoder], method: int
) -> None:
    """Thousands of chunks as they were made, and as many with damage.

    Whatever the reference accepts, libfwnt accepts, too, and gives the same bytes.
    """
    rng = random.Random(method)
    taken = 0
    for number in range(CHUNKS[method]):
        whole = text(rng)
        stored = (encode if number % 4 else encode_literal)(method, whole)
        assert libfwnt[method](stored, len(whole)) == whole
        assert REFERENCE[method](stored, len(whole)) == whole
        for _ in range(2):
            spoilt = bytearray(stored)
            spoilt[rng.randrange(len(stored))] ^= 1 << rng.randrange(8)
            out = answer(REFERENCE[method], bytes(spoilt), len(whole))
            if out is not None:
                taken += 1
                assert libfwnt[method](bytes(spoilt), len(whole)) == out
    assert taken > CHUNKS[method] // 4


def test_the_reference_knows_longer_matches_than_libfwnt(
    libfwnt: Mapping[int, type_of_decoder],
) -> None:
    known, longer = bytes(32772), bytes(32773)
    assert libfwnt[2](encode(2, known), len(known)) == known
    with pytest.raises(OSError, match="out of bounds"):
        libfwnt[2](encode(2, longer), len(longer))
    noise = random.Random(1).randbytes(1000)
    assert fast_path() is not None
    assert decompress(2, encode(2, noise + longer), 1000 + len(longer)) == noise + longer


@pytest.mark.parametrize("way", ["reference", "libfwnt"])
def test_a_chunk_that_windows_wrote_decodes(way: str, request: pytest.FixtureRequest) -> None:
    """Record 53 of a container of Server 2019: 39,901 bytes of XPRESS, 66,483 logical bytes."""
    record = vector("chunk_2019_xpress_record53.bin")
    decode = REFERENCE[2] if way == "reference" else request.getfixturevalue("libfwnt")[2]
    out = decode(record[0x58:], 66483)
    assert len(record) == 0x58 + 39901
    assert hashlib.sha512(out).digest()[:32] == record[0x28:0x48]
