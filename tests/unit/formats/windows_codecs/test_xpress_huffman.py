"""XPRESS Huffman, block by block."""

import pytest

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec import huffman
from tests.windows_store.encoders import encode_huffman, huffman_of_blocks, type_of_steps

ALPHABET = bytes(range(ord("a"), ord("z") + 1))


def table(lengths: dict[int, str]) -> bytes:
    """Lay bytes out in a table of code lengths that is zero elsewhere."""
    out = bytearray(256)
    for at, part in lengths.items():
        out[at : at + len(bytes.fromhex(part))] = bytes.fromhex(part)
    return bytes(out)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        pytest.param(
            table({48: "50 55555555555555555555 45 44 04", 128: "04"})
            + bytes.fromhex("d8523ed794115be9195ff9d67cdf8d0400000000"),
            ALPHABET,
            id="no-match",
        ),
        pytest.param(
            table({48: "3023", 128: "02", 143: "20"}) + bytes.fromhex("a8dc0000ff2601"),
            b"abc" * 100,
            id="long-match",
        ),
    ],
)
def test_the_examples_of_the_specification_decode(stored: bytes, text: bytes) -> None:
    """[MS-XCA] 3.2 prints these bytes; the mark at their end is not needed."""
    assert huffman.decode(stored, len(text)) == text


@pytest.mark.parametrize("length", [3, 4, 17, 18, 19, 272, 273, 274, 3000, 65531])
@pytest.mark.parametrize("end_mark", [True, False], ids=["marked", "unmarked"])
def test_matches_of_every_form_of_length_decode(length: int, *, end_mark: bool) -> None:
    stored = huffman_of_blocks([[(b"abc", length, 3), (b"xy", 0, 0)]], end_mark=end_mark)
    text = (b"abc" * length)[: length + 3] + b"xy"
    assert huffman.decode(stored, len(text)) == text


@pytest.mark.parametrize("length", [65538, 65539, 131071])
def test_a_match_may_cross_the_end_of_its_block(length: int) -> None:
    stored = huffman_of_blocks([[(b"ab", length, 2)], [(b"next", 5, 4)]])
    text = (b"ab" * length)[: length + 2] + b"nextnextn"
    assert huffman.decode(stored, len(text)) == text


@pytest.mark.parametrize("width", range(16))
def test_matches_reach_back_by_offsets_of_every_width(width: int) -> None:
    head = bytes((i * i >> 7) & 255 for i in range(1 << 16))[:65535]
    steps: type_of_steps = [(b"", 9, 1 << width), (b"-", 9, (2 << width) - 1)]
    stored = huffman_of_blocks([[(head, 0, 0), (b"!", 0, 0)], steps])
    text = bytearray(head + b"!")
    for literals, length, offset in steps:
        text += literals
        for _ in range(length):
            text.append(text[-offset])
    assert huffman.decode(stored, len(text)) == text


def test_rare_symbols_have_long_codes() -> None:
    text = b"".join(bytes([symbol]) * (1 << symbol) for symbol in range(15))
    text = b"".join(bytes([byte]) for byte in sorted(text, key=lambda byte: byte * 37 % 11))
    stored = huffman_of_blocks([[(text, 0, 0)]])
    assert 15 in {*(byte & 15 for byte in stored[:256]), *(byte >> 4 for byte in stored[:256])}
    assert huffman.decode(stored, len(text)) == text


def test_a_full_block_may_have_its_end_mark_in_a_block_of_its_own() -> None:
    own = huffman_of_blocks([[]])
    assert len(own) == 260
    full = huffman_of_blocks([[(b"a", 65535, 1)]], end_mark=False)
    for stored in (full, full + own, huffman_of_blocks([[(b"a", 65535, 1)]])):
        assert huffman.decode(stored, 65536) == b"a" * 65536
    with pytest.raises(ChunkMismatchError, match="520 bytes follow"):
        huffman.decode(full + own + own, 65536)
    with pytest.raises(ChunkMismatchError, match="260 bytes follow"):
        huffman.decode(full + huffman_of_blocks([[(b"a", 0, 0)]], end_mark=False), 65536)


def test_an_empty_chunk_is_nothing_or_an_end_mark() -> None:
    assert huffman.decode(b"", 0) == b""
    assert huffman.decode(encode_huffman(b""), 0) == b""
    with pytest.raises(ChunkMismatchError, match="1 bytes follow"):
        huffman.decode(b"\0", 0)


def test_an_end_mark_before_the_end_is_a_match() -> None:
    """Symbol 256 is also a match of three bytes from one byte back, by [MS-XCA] 2.2."""
    stored = huffman_of_blocks([[(b"a", 3, 1), (b"bc", 0, 0)]])
    assert huffman.decode(stored, 6) == b"aaaabc"


def test_a_symbol_too_many_is_seen_even_in_the_last_word() -> None:
    stored = huffman_of_blocks([[(b"abc", 0, 0)]])
    with pytest.raises(ChunkMismatchError, match="another symbol follows"):
        huffman.decode(stored, 2)


def test_words_are_taken_when_the_format_says() -> None:
    """An end mark that needs one more word has it, and no more."""
    for size in range(1, 200):
        text = bytes(i * 7 % 13 for i in range(size))
        stored = huffman_of_blocks([[(text, 0, 0)]])
        assert huffman.decode(stored, size) == text
        with pytest.raises(ChunkMismatchError, match=r"bytes follow|bytes where"):
            huffman.decode(stored + b"\0\0", size)


SIMPLE = table({0: "11"})  # symbols 0 and 1, one bit each
# Two bits each: 00 is a zero byte, 01 the end mark, 10 a long match from one byte back, 11 a match
# of three bytes from two or three back.
MATCHES = table({0: "02", 128: "02", 135: "20", 136: "02"})


@pytest.mark.parametrize(
    ("stored", "size", "message"),
    [
        pytest.param(b"", 1, "ends in a table", id="nothing"),
        pytest.param(SIMPLE[:255], 1, "ends in a table", id="cut-table"),
        pytest.param(SIMPLE, 1, "ends too early", id="no-words"),
        pytest.param(SIMPLE + bytes(3), 1, "ends too early", id="half-a-word"),
        pytest.param(SIMPLE + bytes(4), 33, "ends too early", id="too-few-words"),
        pytest.param(SIMPLE + bytes(6), 1, "2 bytes follow", id="a-word-too-many"),
        pytest.param(bytes(256) + bytes(4), 1, "make 0 codes of 32768", id="no-codes"),
        pytest.param(table({0: "01"}) + bytes(4), 1, "make 16384 codes", id="half-the-codes"),
        pytest.param(table({0: "1101"}) + bytes(4), 1, "make 49152 codes", id="too-many-codes"),
        pytest.param(MATCHES + b"\0\x40\0\0", 3, "1 bytes before the start", id="match-first"),
        pytest.param(MATCHES + b"\0\x30\0\0", 4, "1 bytes before the start", id="too-far"),
        pytest.param(MATCHES + b"\0\x10\0\0", 3, "3 bytes where 2 are left", id="too-long"),
        pytest.param(MATCHES + b"\0\x20\0\0", 90, "ends too early", id="no-length"),
        pytest.param(MATCHES + b"\0\x20\0\0\xff\0", 90, "ends too early", id="half-a-length"),
        pytest.param(MATCHES + b"\0\x20\0\0\xff\x0e\0", 90, "14 is below 15", id="short-length"),
        pytest.param(
            MATCHES + b"\0\x20\0\0\xff\0\0\x0e\0\0\0", 90, "14 is below 15", id="short-long"
        ),
    ],
)
def test_damage_is_told_with_its_place(stored: bytes, size: int, message: str) -> None:
    with pytest.raises(ChunkMismatchError, match=message) as caught:
        huffman.decode(stored, size)
    assert caught.value.code == "chunk.compressed"
    assert "input byte" in caught.value.message
