"""Plain XPRESS, token by token."""

import tracemalloc

import pytest

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec import xpress
from tests.windows_store.encoders import encode_literal, encode_xpress, xpress_of_steps

ALPHABET = bytes(range(ord("a"), ord("z") + 1))


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        pytest.param("3f000000" + ALPHABET.hex(), ALPHABET, id="no-match"),
        pytest.param("ffffff1f 616263 1700 0f ff 2601", b"abc" * 100, id="long-match"),
    ],
)
def test_the_examples_of_the_specification_decode(stored: str, text: bytes) -> None:
    """[MS-XCA] 3.1 and 3.2 print these bytes; the encoder makes the same ones."""
    assert xpress.decode(bytes.fromhex(stored), len(text)) == text
    assert encode_xpress(text) == bytes.fromhex(stored)


@pytest.mark.parametrize("length", [*range(3, 30), 278, 279, 280, 281, 3000, 65538, 65539, 131071])
def test_matches_of_every_form_of_length_decode(length: int) -> None:
    stored = xpress_of_steps([(b"ab", length, 2), (b"", length, 1), (b"xyz", length, 3)])
    once = (b"ab" * length)[: length + 2]
    text = once + once[-1:] * length + (b"xyz" * length)[: length + 3]
    assert xpress.decode(stored, len(text)) == text


def test_two_long_matches_share_a_byte_whatever_lies_between() -> None:
    stored = xpress_of_steps(
        [(b"a", 12, 1), (b"bcd", 5, 3), (b"e", 300, 1), (b"f", 20, 1), (b"g", 30, 1)]
    )
    text = b"a" * 13 + b"bcdbcdbc" + b"e" * 301 + b"f" * 21 + b"g" * 31
    assert xpress.decode(stored, len(text)) == text


def test_a_match_reaches_back_the_whole_window() -> None:
    head = bytes(range(256)) * 32
    stored = xpress_of_steps([(head, 8192, 8192)])
    assert xpress.decode(stored, 16384) == head * 2


def test_a_chunk_of_zeros_is_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def counting(out: bytearray, offset: int, length: int) -> None:
        calls.append((offset, length))
        out += bytes(length)

    monkeypatch.setattr(xpress, "repeat", counting)
    stored = encode_xpress(bytes(1 << 17))
    assert len(stored) == 15
    assert xpress.decode(stored, 1 << 17) == bytes(1 << 17)
    assert calls == [(1, (1 << 17) - 1)]


def test_memory_follows_the_output_and_not_the_claim() -> None:
    stored = encode_xpress(bytes(1 << 20))
    tracemalloc.start()
    try:
        xpress.decode(stored, 1 << 20)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with pytest.raises(ChunkMismatchError):
            xpress.decode(stored[:6], 1 << 40)
        wasted = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 1.3 * (1 << 20)
    assert wasted < 1 << 16


@pytest.mark.parametrize(
    ("stored", "size", "message"),
    [
        pytest.param("", 1, "middle of a token", id="nothing"),
        pytest.param("000000", 1, "middle of a token", id="cut-flags"),
        pytest.param("ffffff7f 61", 3, "middle of a token", id="no-match-word"),
        pytest.param("ffffff7f 61 07 00", 20, "middle of a token", id="no-nibble"),
        pytest.param("ffffff7f 61 0700 0f", 90, "middle of a token", id="no-byte"),
        pytest.param("ffffff7f 61 0700 0f ff 00", 90, "middle of a token", id="half-word"),
        pytest.param("ffffff7f 61 0700 0f ff 0000 000001", 90, "middle of", id="cut-long-word"),
        pytest.param("ffffff0f 61 62", 4, "run of literals", id="cut-literals"),
        pytest.param("00000000 6162", 40, "middle of a token", id="cut-literals-and-flags"),
        pytest.param("ffffffff 0000", 3, "1 bytes before the start", id="match-first"),
        pytest.param("ffffff7f 61 0800", 4, "1 bytes before the start", id="offset-too-far"),
        pytest.param("ffffff7f 61 0000", 3, "match of 3 bytes where 2 are left", id="too-long"),
        pytest.param("ffffff7f 61 0700 0f ff 1500", 90, "21 is below 22", id="short-word"),
        pytest.param("ffffff7f 61 0700 0f ff 0000 15000000", 90, "21 is below", id="short-long"),
        pytest.param("ffffff7f 61 0000 00", 4, "1 bytes follow", id="one-byte-more"),
        pytest.param("ffffff7f 61 0000 ffffffff", 4, "4 bytes follow", id="flags-not-used-up"),
        pytest.param("00000000" + "61" * 32, 5, "27 bytes follow", id="literals-beyond-the-size"),
        pytest.param("00000000" + "61" * 32 + "ffffffff 00", 32, "5 bytes follow", id="five-more"),
        pytest.param("00000000" + "61" * 9, 5, "4 bytes follow", id="four-bytes-no-flags"),
        pytest.param("00", 0, "1 bytes follow", id="something-for-nothing"),
    ],
)
def test_damage_is_told_with_its_place(stored: str, size: int, message: str) -> None:
    with pytest.raises(ChunkMismatchError, match=message) as caught:
        xpress.decode(bytes.fromhex(stored), size)
    assert caught.value.code == "chunk.compressed"
    assert "input byte" in caught.value.message


@pytest.mark.parametrize("unused", ["ffffff0f", "00000000", "00000008"])
def test_unused_flags_may_have_any_value(unused: str) -> None:
    assert xpress.decode(bytes.fromhex(unused) + b"abcd", 4) == b"abcd"


@pytest.mark.parametrize("extra", ["", "ffffffff", "00000000"])
def test_a_flag_word_may_follow_one_that_is_used_up(extra: str) -> None:
    text = bytes(range(32))
    assert xpress.decode(bytes(4) + text + bytes.fromhex(extra), 32) == text
    assert encode_literal(2, text) == bytes(4) + text + b"\xff\xff\xff\xff"


@pytest.mark.parametrize("stored", ["", "ffffffff"])
def test_an_empty_chunk_may_have_flags_or_not(stored: str) -> None:
    assert xpress.decode(bytes.fromhex(stored), 0) == b""
