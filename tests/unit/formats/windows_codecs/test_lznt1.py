"""LZNT1, piece by piece."""

import pytest

from rehydrate.errors import ChunkMismatchError
from rehydrate.formats.windows.codec import lznt1
from tests.windows_store.encoders import encode_lznt1, lznt1_body, lznt1_framed, lznt1_plain

SONG = bytes.fromhex(
    "38b08846232000204720410010a24701a045204400084501507900c045200524138805b4024a44ef0358028c09160148"
    "4500be009e000401189000"
)
NOTES = (
    b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E "
    b"F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0"
)


def test_the_example_of_the_specification_decodes() -> None:
    """[MS-XCA] 3.3 prints these bytes."""
    assert lznt1.decode(SONG, len(NOTES)) == NOTES


@pytest.mark.parametrize("at", [1, 2, 15, 16, 17, 32, 33, 64, 65, 128, 129, 2048, 2049, 4092, 4093])
def test_the_split_of_a_match_moves_with_its_place(at: int) -> None:
    """The match goes back to the first byte of the piece, the farthest that its place allows."""
    head = b"!" + b"a" * (at - 1)
    before = (b"!a", at - 2, 1) if at >= 5 else (head, 0, 0)
    body = lznt1_body([before, (b"", 3, at)])
    assert lznt1.decode(lznt1_framed(body), at + 3) == (head * 4)[: at + 3]


def test_pieces_of_both_kinds_follow_each_other() -> None:
    plain, run = bytes(range(256)) * 16, b"\7" * 4096
    packed = lznt1_framed(lznt1_body([(b"\7", 4095, 1)]))
    stored = lznt1_plain(plain) + packed + lznt1_plain(plain) + lznt1_plain(b"end")
    assert lznt1.decode(stored, 3 * 4096 + 3) == plain + run + plain + b"end"


def test_a_chunk_of_zeros_is_one_copy_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def counting(out: bytearray, offset: int, length: int) -> None:
        calls.append((offset, length))
        out += bytes(length)

    monkeypatch.setattr(lznt1, "repeat", counting)
    stored = encode_lznt1(bytes(1 << 17))
    assert lznt1.decode(stored, 1 << 17) == bytes(1 << 17)
    assert calls == [(1, 4095)] * 32


@pytest.mark.parametrize("mark", [b"", b"\0\0"])
def test_an_end_mark_may_follow(mark: bytes) -> None:
    assert lznt1.decode(lznt1_plain(b"abc") + mark, 3) == b"abc"
    assert lznt1.decode(mark, 0) == b""


@pytest.mark.parametrize(
    ("stored", "size", "message"),
    [
        pytest.param("", 1, "middle of a piece", id="nothing"),
        pytest.param("00", 1, "middle of a piece", id="half-a-header"),
        pytest.param("0230 6162", 3, "middle of a piece", id="cut-plain"),
        pytest.param("0000 00", 3, "no piece starts with 0x0000", id="end-mark-too-early"),
        pytest.param("00a0 61", 1, "no piece starts with 0xa000", id="signature"),
        pytest.param("0230 616263", 2, "gives 3 bytes where 2 are due", id="plain-too-long"),
        pytest.param("0230 616263", 4, "gives 3 bytes where 4 are due", id="plain-too-short"),
        pytest.param("01b0 0061", 2, "gives 1 bytes where 2 are due", id="packed-too-short"),
        pytest.param("02b0 006162", 1, "gives 2 bytes where 1 are due", id="packed-too-long"),
        pytest.param("02b0 01 0000", 3, "without a place", id="match-first"),
        pytest.param("02b0 02 61 00", 4, "without a place", id="half-a-match"),
        pytest.param("05b0 04 61 62 0000 00", 2, "without a place", id="match-when-full"),
        pytest.param("03b0 02 61 0010", 4, "3 bytes from 2 back, at 1 of 4", id="offset-too-far"),
        pytest.param("03b0 02 61 0100", 4, "4 bytes from 1 back, at 1 of 4", id="too-long"),
        pytest.param("0030 61 00", 1, "1 bytes follow", id="one-byte-more"),
        pytest.param("0030 61 0000 00", 1, "3 bytes follow", id="bytes-behind-the-mark"),
        pytest.param("0030 61 0030 61", 2, "gives 1 bytes where 2 are due", id="short-piece-first"),
    ],
)
def test_damage_is_told_with_its_place(stored: str, size: int, message: str) -> None:
    with pytest.raises(ChunkMismatchError, match=message) as caught:
        lznt1.decode(bytes.fromhex(stored), size)
    assert caught.value.code == "chunk.compressed"
    assert "input byte" in caught.value.message
